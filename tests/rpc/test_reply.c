/* tests/rpc/test_reply.c - the replies' exact shapes, as other clients read them. */
#include "tests/rpc/rpc_test.h"

#include <msgpack.h>

#include "rpc/map.h"
#include "rpc/msg.h"
#include "rpc/scan.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static const struct rpc_at at = {
    .group = 3, .rev = 41, .term = 2, .node = 1, .level = RPC_LINEARIZABLE};

/* msgpack-c's own printer makes shapes readable. */
static void expect_text(const struct buf *b, const char *want)
{
    static char text[4096];
    msgpack_zone zone;
    msgpack_object o;
    size_t used = 0;
    int len;

    assert_int_equal(b->error, 0);
    assert_int_equal(scan_whole(&scan_limits_response, b->data, b->len), 0);
    assert_true(msgpack_zone_init(&zone, 4096));
    assert_int_equal(msgpack_unpack((const char *)b->data, b->len, &used, &zone, &o),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(used, b->len);
    len = msgpack_object_print_buffer(text, sizeof text, o);
    assert_in_range(len, 1, sizeof text - 1);
    assert_string_equal(text, want);
    msgpack_zone_destroy(&zone);
}

static int set_up(void **state)
{
    struct buf *b = malloc(sizeof *b);

    assert_non_null(b);
    buf_init(b, KV_RESPONSE_BYTES_MAX);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    buf_close(*state);
    free(*state);
    return 0;
}

#define AT "\"at\"=>[3, 41, 2, 1, \"linearizable\", 0]"

static void get_says_found_value_and_rev(void **state)
{
    struct rpc_item item = {.key = BYTES("not sent"), .value = BYTES("v"), .rev = 7};

    rpc_reply_get(*state, 5, &at, &item);
    expect_text(*state,
                "[1, 5, nil, {" AT ", \"found\"=>true, \"rev\"=>7, \"value\"=>\"v\"}]");
    buf_reset(*state);
    rpc_reply_get(*state, 5, &at, NULL);
    expect_text(*state,
                "[1, 5, nil, {" AT ", \"found\"=>false, \"rev\"=>0, \"value\"=>nil}]");
}

static void writes_say_what_they_did(void **state)
{
    struct rpc_cas_result lost = {.rev = 4, .has_value = true, .value = BYTES("now")};
    struct rpc_cas_result won = {.swapped = true, .rev = 42};

    rpc_reply_put(*state, 1, &at, 42);
    expect_text(*state, "[1, 1, nil, {" AT ", \"rev\"=>42}]");
    buf_reset(*state);
    rpc_reply_del(*state, 2, &at, true, 43);
    expect_text(*state, "[1, 2, nil, {" AT ", \"deleted\"=>true, \"rev\"=>43}]");
    buf_reset(*state);
    rpc_reply_cas(*state, 3, &at, &won);
    expect_text(*state, "[1, 3, nil, {" AT
                        ", \"swapped\"=>true, \"rev\"=>42, \"value\"=>nil}]");
    buf_reset(*state);
    rpc_reply_cas(*state, 3, &at, &lost);
    expect_text(*state, "[1, 3, nil, {" AT
                        ", \"swapped\"=>false, \"rev\"=>4, \"value\"=>\"now\"}]");
    buf_reset(*state);
    rpc_reply_incr(*state, 4, &at, -9, 44);
    expect_text(*state, "[1, 4, nil, {" AT ", \"value\"=>-9, \"rev\"=>44}]");
}

/* docs/protocol.md prints these bytes. */
static void the_documented_example_is_right(void **state)
{
    const struct rpc_at example = {.group = 3, .rev = 12, .term = 2, .node = 1};
    struct rpc_request q;
    struct buf *b = *state;

    rpc_reply_put(b, 1, &example, 12);
    test_assert_bytes(buf_bytes(b),
                      BYTES("\x94\x01\x01\xc0\x82\xa2\x61\x74\x96\x03\x0c\x02\x01\xac"
                            "\x6c\x69\x6e\x65\x61\x72\x69\x7a\x61\x62\x6c\x65\x00"
                            "\xa3\x72\x65\x76\x0c"));
    buf_reset(b);
    rpc_request_init(&q, RPC_KV_PUT, 1);
    q.key = BYTES("k");
    q.value = BYTES("v");
    rpc_request_encode(b, &q);
    test_assert_bytes(buf_bytes(b),
                      BYTES("\x94\x00\x01\xa6\x6b\x76\x2e\x70\x75\x74\x92\xc4"
                            "\x01\x6b\xc4\x01\x76"));
}

static void range_has_one_at_per_group(void **state)
{
    const struct rpc_at ats[] = {at, {.group = 4, .rev = 5, .term = 1, .node = 2}};
    const struct rpc_item items[] = {{BYTES("a"), BYTES("1"), 10},
                                     {BYTES("b"), BYTES("2"), 11}};
    struct rpc_range_result r = {.ats = ats,
                                 .ats_count = 2,
                                 .items = items,
                                 .items_count = 2,
                                 .more = true,
                                 .next = BYTES("c")};

    rpc_reply_range(*state, 1, &r);
    expect_text(*state,
                "[1, 1, nil, {\"at\"=>[[3, 41, 2, 1, \"linearizable\", 0], "
                "[4, 5, 1, 2, \"linearizable\", 0]], \"more\"=>true, \"next\"=>\"c\", "
                "\"items\"=>[[\"a\", \"1\", 10], [\"b\", \"2\", 11]]}]");
    r = (struct rpc_range_result){0};
    buf_reset(*state);
    rpc_reply_range(*state, 1, &r);
    expect_text(*state, "[1, 1, nil, {\"at\"=>[], \"more\"=>false, \"next\"=>nil, "
                        "\"items\"=>[]}]");
}

static void hello_names_the_cluster_in_hex(void **state)
{
    struct rpc_hello hello = {.server = BYTES("kvd"),
                              .version = BYTES("0.1.0"),
                              .proto = RPC_PROTO,
                              .node = 1,
                              .cluster = 0xfedcba9876543210u,
                              .time_ms = 99};

    rpc_reply_hello(*state, 0, &at, &hello);
    expect_text(*state,
                "[1, 0, nil, {" AT ", \"server\"=>\"kvd\", \"version\"=>\"0.1.0\", "
                "\"proto\"=>1, \"node\"=>1, \"cluster\"=>\"fedcba9876543210\", "
                "\"features\"=>[], \"time\"=>99}]");
}

static void status_lists_nodes_and_groups(void **state)
{
    static struct map m;
    struct rpc_group_status groups[] = {{.id = 1,
                                         .leader = 2,
                                         .term = 3,
                                         .commit = 4,
                                         .applied = 5,
                                         .w = 2,
                                         .voters_count = 2,
                                         .voters = {1, 2}}};

    map_init(&m, 1);
    m.epoch = 6;
    m.nodes_count = 1;
    m.nodes[0] = (struct map_node){.id = 1,
                                   .host = "h",
                                   .client_port = 7410,
                                   .peer_port = 7411,
                                   .http_port = 7412,
                                   .zone = "z"};
    rpc_reply_status(*state, 8, &at, &m, groups, 1);
    expect_text(*state,
                "[1, 8, nil, {" AT ", \"node\"=>1, \"cluster\"=>\"0000000000000001\", "
                "\"epoch\"=>6, \"nodes\"=>[{\"id\"=>1, \"host\"=>\"h\", "
                "\"client\"=>7410, \"peer\"=>7411, \"http\"=>7412, \"zone\"=>\"z\"}], "
                "\"groups\"=>[{\"id\"=>1, \"leader\"=>2, \"term\"=>3, \"commit\"=>4, "
                "\"applied\"=>5, \"w\"=>2, \"voters\"=>[1, 2]}]}]");
}

static void errors_are_a_word_and_a_text(void **state)
{
    struct rpc_error e;

    (void)rpc_error_set(&e, KV_ENOTLEADER, "127.0.0.1:7410");
    rpc_reply_error(*state, 5, &e);
    expect_text(*state, "[1, 5, \"NOT_LEADER 127.0.0.1:7410\", nil]");
    (void)rpc_error_set(&e, KV_EBUSY, "%s", "");
    buf_reset(*state);
    rpc_reply_error(*state, 5, &e);
    expect_text(*state, "[1, 5, \"BUSY\", nil]");
}

/* An error that has no word must not claim that nothing was done. */
static void internal_errors_do_not_leave_as_such(void **state)
{
    struct rpc_error e;

    (void)rpc_error_set(&e, KV_ENOMEM, "no memory");
    rpc_reply_error(*state, 5, &e);
    expect_text(*state, "[1, 5, \"BUSY no memory\", nil]");
    (void)rpc_error_set(&e, KV_EIO, "disk");
    buf_reset(*state);
    rpc_reply_error(*state, 5, &e);
    expect_text(*state, "[1, 5, \"UNKNOWN disk\", nil]");
}

static void error_texts_are_cut_at_their_limit(void **state)
{
    struct buf *b = *state;
    struct rpc_error e = {.code = KV_EBADREQUEST, .len = KV_ERROR_TEXT_MAX};

    memset(e.text, 'x', KV_ERROR_TEXT_MAX);
    rpc_reply_error(b, 5, &e);
    assert_int_equal(b->error, 0);
    /* array, type, msgid, str8 header of two bytes, text, nil */
    assert_int_equal(b->len, 3 + 2 + KV_ERROR_TEXT_MAX + 1);
    assert_int_equal(b->data[4], KV_ERROR_TEXT_MAX);
}

static void a_full_buffer_is_an_error_not_a_torn_reply(void **state)
{
    struct buf tiny;

    (void)state;
    buf_init(&tiny, 20);
    rpc_reply_put(&tiny, 1, &at, 1);
    assert_int_equal(tiny.error, KV_ENOMEM);
    buf_close(&tiny);
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(get_says_found_value_and_rev),
    TEST(writes_say_what_they_did),
    TEST(the_documented_example_is_right),
    TEST(range_has_one_at_per_group),
    TEST(hello_names_the_cluster_in_hex),
    TEST(status_lists_nodes_and_groups),
    TEST(errors_are_a_word_and_a_text),
    TEST(internal_errors_do_not_leave_as_such),
    TEST(error_texts_are_cut_at_their_limit),
    TEST(a_full_buffer_is_an_error_not_a_torn_reply),
};

TEST_MAIN("rpc/reply", tests)
