/* tests/rpc/test_reply_decode.c - what a client believes of what a server says. */
#include "tests/rpc/rpc_test.h"

#include "rpc/map.h"
#include "rpc/msg.h"
#include "rpc/pack.h"
#include "rpc/scan.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static const struct rpc_at at = {
    .group = 3, .rev = 41, .term = 2, .node = 1, .level = RPC_STALE, .age_ms = 12};

struct fixture {
    struct rpc_decoder decoder;
    struct rpc_reply r;
    struct buf b;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    buf_init(&f->b, KV_RESPONSE_BYTES_MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    rpc_decoder_close(&f->decoder);
    buf_close(&f->b);
    free(f);
    return 0;
}

static int decode(struct fixture *f, enum rpc_method method)
{
    assert_int_equal(f->b.error, 0);
    assert_int_equal(scan_whole(&scan_limits_response, f->b.data, f->b.len), 0);
    return rpc_reply_decode(&f->decoder, buf_bytes(&f->b), method, &f->r);
}

static void assert_at(const struct rpc_at *got)
{
    assert_int_equal(got->group, at.group);
    assert_int_equal(got->rev, at.rev);
    assert_int_equal(got->term, at.term);
    assert_int_equal(got->node, at.node);
    assert_int_equal(got->level, at.level);
    assert_int_equal(got->age_ms, at.age_ms);
}

static void reads_what_get_found(void **state)
{
    struct fixture *f = *state;
    struct rpc_item item = {.value = BYTES("value"), .rev = UINT64_MAX};
    struct rpc_at first;

    rpc_reply_get(&f->b, 0xffffffff, &at, &item);
    assert_int_equal(decode(f, RPC_KV_GET), 0);
    assert_int_equal(f->r.error, 0);
    assert_true(f->r.msgid == 0xffffffff);
    assert_true(f->r.found);
    test_assert_text(f->r.value, "value");
    assert_true(f->r.rev == UINT64_MAX);
    assert_at(&f->r.at);
    assert_int_equal(f->r.ats.count, 1);
    rpc_reply_at_get(&f->r, 0, &first);
    assert_at(&first);

    buf_reset(&f->b);
    rpc_reply_get(&f->b, 2, &at, NULL);
    assert_int_equal(decode(f, RPC_KV_GET), 0);
    assert_false(f->r.found);
    assert_false(f->r.has_value);
}

static void reads_what_writes_did(void **state)
{
    struct fixture *f = *state;
    struct rpc_cas_result cas = {.rev = 9, .has_value = true, .value = BYTES("now")};

    rpc_reply_put(&f->b, 1, &at, 5);
    assert_int_equal(decode(f, RPC_KV_PUT), 0);
    assert_int_equal(f->r.rev, 5);
    buf_reset(&f->b);
    rpc_reply_del(&f->b, 1, &at, true, 6);
    assert_int_equal(decode(f, RPC_KV_DEL), 0);
    assert_true(f->r.deleted);
    buf_reset(&f->b);
    rpc_reply_incr(&f->b, 1, &at, INT64_MIN, 7);
    assert_int_equal(decode(f, RPC_KV_INCR), 0);
    assert_true(f->r.has_number);
    assert_true(f->r.number == INT64_MIN);
    buf_reset(&f->b);
    rpc_reply_cas(&f->b, 1, &at, &cas);
    assert_int_equal(decode(f, RPC_KV_CAS), 0);
    assert_false(f->r.swapped);
    assert_true(f->r.has_value);
    test_assert_text(f->r.value, "now");
}

static void reads_a_range_of_many_items(void **state)
{
    enum {
        ITEMS = 5000
    };
    struct fixture *f = *state;
    struct rpc_item *items = calloc(ITEMS, sizeof *items);
    const struct rpc_at ats[] = {at, at, at};
    struct rpc_range_result range = {.ats = ats,
                                     .ats_count = 3,
                                     .items = items,
                                     .items_count = ITEMS,
                                     .more = true,
                                     .next = BYTES("next")};

    assert_non_null(items);
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i] =
            (struct rpc_item){.key = BYTES("key"), .value = BYTES("v"), .rev = i};
    }
    rpc_reply_range(&f->b, 1, &range);
    assert_int_equal(decode(f, RPC_KV_RANGE), 0);
    assert_int_equal(f->r.items.count, ITEMS);
    assert_int_equal(f->r.ats.count, 3);
    assert_true(f->r.more);
    test_assert_text(f->r.next, "next");
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct rpc_item item;

        rpc_reply_item_get(&f->r, i, &item);
        test_assert_text(item.key, "key");
        test_assert_text(item.value, "v");
        assert_int_equal(item.rev, i);
    }
    free(items);
}

static void reads_hello_status_and_map(void **state)
{
    static struct map m, got;
    struct fixture *f = *state;
    struct rpc_hello hello = {.server = BYTES("kvd"),
                              .version = BYTES("0.1.0"),
                              .proto = 1,
                              .node = 2,
                              .cluster = 0xfedcba9876543210u,
                              .time_ms = 99};
    struct rpc_group_status groups[2] = {
        {.id = 1, .leader = 2, .term = 3, .commit = 4, .applied = 5, .w = 2},
        {.id = 2, .voters_count = 3, .voters = {7, 8, 9}}};
    struct rpc_group_status group;
    const uint32_t leaders[] = {2};
    struct arena scratch;

    rpc_reply_hello(&f->b, 1, &at, &hello);
    assert_int_equal(decode(f, RPC_HELLO), 0);
    test_assert_text(f->r.server, "kvd");
    test_assert_text(f->r.version, "0.1.0");
    assert_true(f->r.cluster == hello.cluster);
    assert_int_equal(f->r.time_ms, 99);

    map_init(&m, hello.cluster);
    m.epoch = 6;
    m.nodes_count = 1;
    m.nodes[0] = (struct map_node){
        .id = 2, .host = "localhost", .client_port = 1, .peer_port = 2};
    m.groups_count = 1;
    m.groups[0] =
        (struct map_group){.id = 1, .replicas_count = 1, .replicas = {{1, 2}}};
    buf_reset(&f->b);
    rpc_reply_status(&f->b, 1, &at, &m, groups, 2);
    assert_int_equal(decode(f, RPC_CLUSTER_STATUS), 0);
    assert_int_equal(f->r.groups.count, 2);
    assert_int_equal(f->r.epoch, 6);
    rpc_reply_group_get(&f->r, 0, &group);
    assert_int_equal(group.leader, 2);
    assert_int_equal(group.applied, 5);
    rpc_reply_group_get(&f->r, 1, &group);
    assert_int_equal(group.id, 2);
    assert_int_equal(group.voters_count, 3);
    assert_int_equal(group.voters[2], 9);

    buf_reset(&f->b);
    rpc_reply_map(&f->b, 1, &at, &m, leaders);
    assert_int_equal(decode(f, RPC_CLUSTER_MAP), 0);
    assert_int_equal(f->r.leaders.count, 1);
    assert_int_equal(rpc_reply_leader_get(&f->r, 0), 2);
    arena_init(&scratch, 256 * 1024, 0);
    assert_int_equal(map_decode_reply(f->r.result, &scratch, &got), 0);
    assert_int_equal(got.epoch, 6);
    assert_int_equal(got.slots[77], 1);
    arena_close(&scratch);
}

static void knows_every_error_by_its_word(void **state)
{
    struct fixture *f = *state;

    for (int code = KV_ERR_FIRST; code <= KV_ERR_LAST; code++) {
        struct rpc_error e;

        if (kv_err_word(code)[0] == '\0') {
            continue;
        }
        (void)rpc_error_set(&e, code, "because of %d", 3);
        buf_reset(&f->b);
        rpc_reply_error(&f->b, 7, &e);
        assert_int_equal(decode(f, RPC_KV_PUT), 0);
        assert_int_equal(f->r.error, code);
        test_assert_text(f->r.error_detail, "because of 3");
        assert_int_equal(f->r.msgid, 7);
    }
}

/* Whatever the client does not understand leaves the outcome open. */
static void takes_strange_errors_for_unknown(void **state)
{
    static const struct {
        const char *tail;
        size_t len;
    } strange[] = {{"\xa8NEW_WORD\xc0", 10}, {"\xa0\xc0", 2},
                   {"\x92\x01\xa1x\xc0", 5}, {"\x05\xc0", 2},
                   {"\xa5 BUSY\xc0", 7},     {"\xc3\xc0", 2}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        buf_reset(&f->b);
        rpc_response_join(&f->b, 1, kv_bytes(strange[i].tail, strange[i].len));
        assert_int_equal(decode(f, RPC_KV_PUT), 0);
        assert_int_equal(f->r.error, KV_EUNKNOWN);
        assert_int_equal(kv_err_outcome(f->r.error), KV_OUTCOME_UNKNOWN);
    }
}

static void begin_result(struct fixture *f, uint32_t pairs)
{
    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_RESPONSE);
    pack_uint(&f->b, 1);
    pack_nil(&f->b);
    pack_map(&f->b, pairs);
}

static void pack_at(struct fixture *f)
{
    pack_str(&f->b, "at");
    pack_array(&f->b, 6);
    for (int i = 0; i < 4; i++) {
        pack_uint(&f->b, 1);
    }
    pack_str(&f->b, "stale");
    pack_uint(&f->b, 0);
}

static void passes_over_what_later_servers_add(void **state)
{
    struct fixture *f = *state;

    begin_result(f, 3);
    pack_at(f);
    pack_bin(&f->b, BYTES("rev"));
    pack_uint(&f->b, 5);
    pack_str(&f->b, "trace");
    pack_array(&f->b, 1);
    pack_map(&f->b, 0);
    assert_int_equal(decode(f, RPC_KV_PUT), 0);
    assert_int_equal(f->r.rev, 5);
}

static void refuses_missing_double_and_mistyped_fields(void **state)
{
    struct fixture *f = *state;

    begin_result(f, 1);
    pack_at(f);
    assert_int_equal(decode(f, RPC_KV_PUT), KV_EPROTO);
    begin_result(f, 1);
    pack_str(&f->b, "rev");
    pack_uint(&f->b, 5);
    assert_int_equal(decode(f, RPC_KV_PUT), KV_EPROTO);
    begin_result(f, 3);
    pack_at(f);
    pack_str(&f->b, "rev");
    pack_uint(&f->b, 5);
    pack_str(&f->b, "rev");
    pack_uint(&f->b, 6);
    assert_int_equal(decode(f, RPC_KV_PUT), KV_EPROTO);
    begin_result(f, 2);
    pack_at(f);
    pack_str(&f->b, "rev");
    pack_str(&f->b, "5");
    assert_int_equal(decode(f, RPC_KV_PUT), KV_EPROTO);
    /* A found key without a value. */
    begin_result(f, 4);
    pack_at(f);
    pack_str(&f->b, "rev");
    pack_uint(&f->b, 5);
    pack_str(&f->b, "found");
    pack_bool(&f->b, true);
    pack_str(&f->b, "value");
    pack_nil(&f->b);
    assert_int_equal(decode(f, RPC_KV_GET), KV_EPROTO);
    /* Another method's answer. */
    buf_reset(&f->b);
    rpc_reply_put(&f->b, 1, &at, 5);
    assert_int_equal(decode(f, RPC_KV_GET), KV_EPROTO);
    assert_int_equal(decode(f, RPC_KV_INCR), KV_EPROTO);
}

static void refuses_what_is_no_response(void **state)
{
    struct fixture *f = *state;
    static const uint8_t request[] = "\x94\x00\x05\xa5hello\x90";
    static const uint8_t list[] = "\x94\x01\x05\xc0\x90";

    assert_int_equal(rpc_reply_decode(&f->decoder,
                                      kv_bytes(request, sizeof request - 1), RPC_HELLO,
                                      &f->r),
                     KV_EPROTO);
    assert_int_equal(rpc_reply_decode(&f->decoder, kv_bytes(list, sizeof list - 1),
                                      RPC_HELLO, &f->r),
                     KV_EPROTO);
}

static void refuses_every_truncation(void **state)
{
    struct fixture *f = *state;
    const struct rpc_item items[] = {{BYTES("a"), BYTES("1"), 10}};
    struct rpc_range_result range = {
        .ats = &at, .ats_count = 1, .items = items, .items_count = 1};

    rpc_reply_range(&f->b, 1, &range);
    assert_int_equal(decode(f, RPC_KV_RANGE), 0);
    for (size_t cut = 0; cut < f->b.len; cut++) {
        uint8_t *copy = test_copy(f->b.data, cut);

        assert_int_equal(
            rpc_reply_decode(&f->decoder, kv_bytes(copy, cut), RPC_KV_RANGE, &f->r),
            KV_EPROTO);
        free(copy);
    }
}

/* Any mutation: a verdict, and lists whose getters do not fail. */
static void every_mutated_reply_gets_a_verdict(void **state)
{
    struct fixture *f = *state;
    const struct rpc_item items[] = {{BYTES("a"), BYTES("1"), 10},
                                     {BYTES("b"), BYTES("2"), 11}};
    struct rpc_range_result range = {
        .ats = &at, .ats_count = 1, .items = items, .items_count = 2};
    uint32_t accepted = 0;
    uint32_t refused = 0;
    struct prng p;

    test_seed(&p, 7);
    for (int round = 0; round < 30000; round++) {
        uint8_t *copy;

        buf_reset(&f->b);
        rpc_reply_range(&f->b, 1, &range);
        for (uint64_t n = 1 + prng_below(&p, 3); n > 0; n--) {
            f->b.data[prng_below(&p, f->b.len)] ^= (uint8_t)(1 << prng_below(&p, 8));
        }
        copy = test_copy(f->b.data, f->b.len);
        if (scan_whole(&scan_limits_response, copy, f->b.len) == 0) {
            int rc = rpc_reply_decode(&f->decoder, kv_bytes(copy, f->b.len),
                                      RPC_KV_RANGE, &f->r);

            accepted += rc == 0;
            refused += rc != 0;
            for (uint32_t i = 0; rc == 0 && i < f->r.items.count; i++) {
                struct rpc_item item;

                rpc_reply_item_get(&f->r, i, &item);
            }
        }
        free(copy);
    }
    assert_true(accepted > 100 && refused > 100);
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(reads_what_get_found),
    TEST(reads_what_writes_did),
    TEST(reads_a_range_of_many_items),
    TEST(reads_hello_status_and_map),
    TEST(knows_every_error_by_its_word),
    TEST(takes_strange_errors_for_unknown),
    TEST(passes_over_what_later_servers_add),
    TEST(refuses_missing_double_and_mistyped_fields),
    TEST(refuses_what_is_no_response),
    TEST(refuses_every_truncation),
    TEST(every_mutated_reply_gets_a_verdict),
};

TEST_MAIN("rpc/reply_decode", tests)
