/* tests/rpc/test_txn.c - kv.txn's lists and results, there and back. */
#include "tests/rpc/rpc_test.h"

#include <msgpack.h>

#include "rpc/msg.h"
#include "rpc/pack.h"
#include "rpc/scan.h"

struct fixture {
    struct rpc_decoder decoder;
    struct rpc_request q;
    struct rpc_error error;
    struct buf params; /* Packed lists. */
    struct buf b;      /* The message. */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    buf_init(&f->params, 8 << 20);
    buf_init(&f->b, 8 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    rpc_decoder_close(&f->decoder);
    buf_close(&f->params);
    buf_close(&f->b);
    free(f);
    return 0;
}

/* Sends the lists as a client does and reads them as a server does. */
static int send_lists(struct fixture *f, const struct rpc_txn *txn)
{
    struct rpc_request q;

    buf_reset(&f->params);
    buf_reset(&f->b);
    rpc_txn_encode(&f->params, txn);
    rpc_request_init(&q, RPC_KV_TXN, 7);
    q.type = RPC_REQUEST;
    q.txn_packed = buf_bytes(&f->params);
    rpc_request_encode(&f->b, &q);
    assert_int_equal(f->b.error, 0);
    return rpc_request_decode(&f->decoder, buf_bytes(&f->b), &f->q, &f->error);
}

static struct kv_bytes random_bytes(struct prng *p, uint8_t *room, size_t least,
                                    size_t most)
{
    size_t len = least + prng_below(p, (uint32_t)(most - least + 1));

    test_random_bytes(p, room, len);
    return kv_bytes(room, len);
}

static void compare_expect(const struct rpc_txn_compare *got,
                           const struct rpc_txn_compare *want)
{
    assert_int_equal(got->what, want->what);
    assert_int_equal(got->test, want->test);
    test_assert_bytes(got->key, want->key);
    test_assert_bytes(got->value, want->value);
    assert_int_equal(got->rev, want->rev);
    assert_int_equal(got->exists, want->exists);
}

static void op_expect(const struct rpc_txn_op *got, const struct rpc_txn_op *want)
{
    assert_int_equal(got->verb, want->verb);
    test_assert_bytes(got->key, want->key);
    test_assert_bytes(got->value, want->value);
    assert_int_equal(got->delta, want->delta);
    assert_int_equal(got->limit, want->limit);
    assert_int_equal(got->ttl_ms, want->ttl_ms);
}

enum {
    ITEMS_MAX = 12
};

/* Random lists with room for their bytes. */
struct sample {
    uint8_t bytes[3 * ITEMS_MAX][2][64];
    struct rpc_txn_compare compares[ITEMS_MAX];
    struct rpc_txn_op ops[2][ITEMS_MAX];
    struct rpc_txn txn;
};

static void sample_make(struct sample *s, struct prng *p)
{
    memset(s, 0, sizeof *s);
    s->txn.compares = s->compares;
    s->txn.compares_count = (uint32_t)prng_below(p, ITEMS_MAX + 1);
    for (uint32_t i = 0; i < s->txn.compares_count; i++) {
        struct rpc_txn_compare *c = &s->compares[i];

        c->what = (enum rpc_txn_what)prng_below(p, RPC_TXN_WHATS_COUNT);
        c->test = (enum rpc_txn_test)prng_below(
            p, c->what >= RPC_TXN_EXISTS ? 2 : RPC_TXN_TESTS_COUNT);
        c->key = random_bytes(p, s->bytes[i][0], 1, 64);
        if (c->what == RPC_TXN_VALUE) {
            c->value = random_bytes(p, s->bytes[i][1], 0, 64);
        }
        c->rev = c->what == RPC_TXN_REV || c->what == RPC_TXN_LEASE ? test_random_u64(p)
                 : c->what == RPC_TXN_LOCK ? test_random_u64(p) | 1
                                           : 0;
        c->exists = c->what == RPC_TXN_EXISTS && prng_below(p, 2) == 0;
    }
    for (uint32_t l = 0; l < 2; l++) {
        s->txn.ops[l] = s->ops[l];
        s->txn.ops_count[l] = (uint32_t)prng_below(p, ITEMS_MAX + 1);
        for (uint32_t i = 0; i < s->txn.ops_count[l]; i++) {
            uint8_t(*room)[64] = s->bytes[(l + 1) * ITEMS_MAX + i];
            struct rpc_txn_op *op = &s->ops[l][i];

            op->verb = (enum rpc_txn_verb)prng_below(p, RPC_TXN_VERBS_COUNT);
            op->key = random_bytes(p, room[0], 1, 64);
            if (op->verb == RPC_TXN_PUT || op->verb == RPC_TXN_RANGE) {
                op->value = random_bytes(p, room[1], op->verb == RPC_TXN_RANGE, 64);
            }
            op->delta = op->verb == RPC_TXN_INCR ? (int64_t)test_random_u64(p) : 0;
            op->ttl_ms = op->verb == RPC_TXN_PUT && prng_below(p, 2) == 0
                             ? 1 + (uint32_t)prng_below(p, KV_TTL_MS_MAX)
                             : 0;
            op->limit = op->verb == RPC_TXN_RANGE ? (uint32_t)prng_below(p, 10001) : 0;
        }
    }
}

static void what_a_client_sends_is_what_a_server_reads(void **state)
{
    struct fixture *f = *state;
    struct sample *s = calloc(1, sizeof *s);
    struct rpc_txn_compare compare;
    struct rpc_txn_op op;
    struct prng p;

    assert_non_null(s);
    test_seed(&p, 41);
    for (int round = 0; round < 2000; round++) {
        sample_make(s, &p);
        assert_int_equal(send_lists(f, &s->txn), 0);
        assert_int_equal(f->q.txn[RPC_TXN_COMPARES].count, s->txn.compares_count);
        for (uint32_t i = 0; i < s->txn.compares_count; i++) {
            rpc_txn_compare_get(&f->q.txn[RPC_TXN_COMPARES], i, &compare);
            compare_expect(&compare, &s->compares[i]);
        }
        for (uint32_t l = 0; l < 2; l++) {
            const struct rpc_txn_items *list = &f->q.txn[RPC_TXN_THEN + l];

            assert_int_equal(list->count, s->txn.ops_count[l]);
            for (uint32_t i = 0; i < list->count; i++) {
                rpc_txn_op_get(list, i, &op);
                op_expect(&op, &s->ops[l][i]);
            }
        }
    }
    free(s);
}

/* Begins [0, 9, "kv.txn", [ , , ]] with `before` empty lists. */
static void lists_begin(struct fixture *f, uint32_t before)
{
    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_REQUEST);
    pack_uint(&f->b, 9);
    pack_str(&f->b, "kv.txn");
    pack_array(&f->b, 3);
    for (uint32_t i = 0; i < before; i++) {
        pack_nil(&f->b);
    }
}

/* The words of one item: "s:text", "i:5", "t:" true, "l:480" so many bytes. */
static void item_pack(struct fixture *f, const char *const *words)
{
    static const char zeroes[KV_VALUE_BYTES_MAX + 1];
    uint32_t count = 0;

    while (words[count] != NULL) {
        count++;
    }
    pack_array(&f->b, 1);
    pack_array(&f->b, count);
    for (uint32_t i = 0; i < count; i++) {
        const char *text = words[i] + 2;

        if (words[i][0] == 's') {
            pack_str(&f->b, text);
        } else if (words[i][0] == 'i') {
            pack_int(&f->b, strtoll(text, NULL, 10));
        } else if (words[i][0] == 't') {
            pack_bool(&f->b, true);
        } else {
            pack_bin(&f->b, kv_bytes(zeroes, strtoul(text, NULL, 10)));
        }
    }
}

static void a_wrong_item_is_refused_by_name(void **state)
{
    static const struct {
        uint32_t list;
        const char *words[6];
        int code;
        const char *text;
    } rows[] = {
        {0, {NULL}, KV_EBADREQUEST, "compare 1: it must be an array"},
        {0, {"s:value", "s:k"}, KV_EBADREQUEST, "must be [what, key, op, operand]"},
        {0, {"s:size", "s:k", "s:=", "i:1"}, KV_EBADREQUEST, "what must be"},
        {0, {"i:1", "s:k", "s:=", "i:1"}, KV_EBADREQUEST, "what must be"},
        {0, {"s:value", "s:", "s:=", "s:v"}, KV_EBADREQUEST, "not empty"},
        {0, {"s:value", "l:481", "s:=", "s:v"}, KV_ETOOLARGE, "more than 480"},
        {0, {"s:value", "s:k", "s:==", "s:v"}, KV_EBADREQUEST, "op must be one of"},
        {0, {"s:value", "s:k", "s:=", "i:1"}, KV_EBADREQUEST, "value must be bin"},
        {0, {"s:value", "s:k", "s:=", "l:1048577"}, KV_ETOOLARGE, "than 1048576"},
        {0, {"s:rev", "s:k", "s:=", "i:-1"}, KV_EBADREQUEST, "rev must be an int"},
        {0, {"s:exists", "s:k", "s:<", "t:"}, KV_EBADREQUEST, "by = and != only"},
        {0, {"s:exists", "s:k", "s:=", "i:1"}, KV_EBADREQUEST, "with true or false"},
        {1, {"s:cas", "s:k"}, KV_EBADREQUEST, "then 1: it must be get, put"},
        {1, {"s:get", "s:k", "s:k"}, KV_EBADREQUEST, "wrong number of arguments"},
        {1, {"s:put", "s:k"}, KV_EBADREQUEST, "wrong number of arguments"},
        {2, {"s:put", "s:k", "i:5"}, KV_EBADREQUEST, "else 1: its value must be"},
        {1, {"s:del", "i:5"}, KV_EBADREQUEST, "its key must be"},
        {1, {"s:incr", "s:k", "s:5"}, KV_EBADREQUEST, "delta must be an int"},
        {1, {"s:range", "s:a", "s:"}, KV_EBADREQUEST, "end must be 1 to 480"},
        {1, {"s:range", "s:a", "l:481"}, KV_EBADREQUEST, "end must be 1 to 480"},
        {1, {"s:range", "s:a", "s:b", "i:0"}, KV_EBADREQUEST, "limit must be an int"},
        {1, {"s:range", "s:a", "s:b", "i:10001"}, KV_EBADREQUEST, "limit must be"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        lists_begin(f, rows[i].list);
        item_pack(f, rows[i].words);
        for (uint32_t l = rows[i].list + 1; l < 3; l++) {
            pack_nil(&f->b);
        }
        assert_int_equal(
            rpc_request_decode(&f->decoder, buf_bytes(&f->b), &f->q, &f->error),
            rows[i].code);
        if (strstr(f->error.text, rows[i].text) == NULL) {
            fail_msg("row %zu: \"%s\"", i, f->error.text);
        }
        assert_int_equal(f->q.msgid, 9);
    }
}

static void a_list_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    struct rpc_txn_op ops[KV_TXN_OPS_MAX + 1] = {0};
    struct rpc_txn txn = {.ops = {ops, ops}, .ops_count = {0, KV_TXN_OPS_MAX}};

    for (size_t i = 0; i < KV_ARRAY_COUNT(ops); i++) {
        ops[i].key = kv_bytes_str("k");
    }
    assert_int_equal(send_lists(f, &txn), 0);
    txn.ops_count[1]++;
    assert_int_equal(send_lists(f, &txn), KV_ETOOLARGE);
    assert_string_equal(f->error.text,
                        "kv.txn: the else list has 129 items, at most 128 are allowed");
}

static void results_go_there_and_back(void **state)
{
    struct fixture *f = *state;
    const struct rpc_item items[] = {{kv_bytes_str("a"), kv_bytes_str("1"), 3},
                                     {kv_bytes_str("b"), kv_bytes_str(""), 4}};
    const struct rpc_txn_result results[] = {
        {.verb = RPC_TXN_GET, .found = true, .value = kv_bytes_str("v"), .rev = 9},
        {.verb = RPC_TXN_GET},
        {.verb = RPC_TXN_PUT, .rev = 10},
        {.verb = RPC_TXN_DEL, .deleted = true, .rev = 10},
        {.verb = RPC_TXN_INCR, .number = INT64_MIN, .rev = 10},
        {.verb = RPC_TXN_RANGE,
         .items = items,
         .items_count = 2,
         .more = true,
         .next = kv_bytes("b\0", 2)},
    };
    const struct rpc_at at = {.group = 3, .node = 2, .rev = 10, .term = 4};
    struct rpc_reply reply;
    struct rpc_reply_op op;
    struct rpc_item item;

    rpc_reply_txn(&f->b, 8, &at, true, 10, results, KV_ARRAY_COUNT(results));
    assert_int_equal(
        rpc_reply_decode(&f->decoder, buf_bytes(&f->b), RPC_KV_TXN, &reply), 0);
    assert_int_equal(reply.msgid, 8);
    assert_true(reply.succeeded);
    assert_int_equal(reply.rev, 10);
    assert_int_equal(reply.at.group, 3);
    assert_int_equal(reply.results.count, 6);
    rpc_reply_result_get(&reply, 0, &op);
    assert_true(op.found && op.has_value && op.rev == 9);
    test_assert_text(op.value, "v");
    rpc_reply_result_get(&reply, 1, &op);
    assert_false(op.found || op.has_value);
    rpc_reply_result_get(&reply, 2, &op);
    assert_int_equal(op.rev, 10);
    rpc_reply_result_get(&reply, 3, &op);
    assert_true(op.deleted);
    rpc_reply_result_get(&reply, 4, &op);
    assert_true(op.has_number && op.number == INT64_MIN);
    rpc_reply_result_get(&reply, 5, &op);
    assert_true(op.more && op.items.count == 2);
    test_assert_bytes(op.next, kv_bytes("b\0", 2));
    rpc_reply_list_item_get(&op.items, 1, &item);
    test_assert_text(item.key, "b");
    assert_int_equal(item.rev, 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_client_sends_is_what_a_server_reads,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_item_is_refused_by_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_list_too_long_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(results_go_there_and_back, set_up, tear_down),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("rpc/txn", tests, NULL, NULL);
}
