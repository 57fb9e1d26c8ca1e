/* tests/server/test_txn.c - the body of a KV_TXN command: one slot, there and back. */
#include "tests/lib/txn_make.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/prng.h"
#include "rpc/slot.h"

static struct rpc_txn_compare compare_of(const char *key)
{
    return (struct rpc_txn_compare){.what = RPC_TXN_EXISTS, .key = kv_bytes_str(key)};
}

static struct rpc_txn_op op_of(enum rpc_txn_verb verb, const char *key,
                               const char *value)
{
    return (struct rpc_txn_op){.verb = verb,
                               .key = kv_bytes_str(key),
                               .value = kv_bytes_str(value == NULL ? "" : value)};
}

static void a_body_reads_as_it_was_written(void **state)
{
    const struct rpc_txn_compare compares[] = {
        {RPC_TXN_VALUE, RPC_TXN_LE, kv_bytes_str("{a}1"), kv_bytes_str("v"), 0, false},
        {RPC_TXN_REV, RPC_TXN_GT, kv_bytes_str("{a}2"), kv_bytes(NULL, 0), UINT64_MAX,
         false},
        {RPC_TXN_EXISTS, RPC_TXN_NE, kv_bytes_str("{a}3"), kv_bytes(NULL, 0), 0, true},
        {RPC_TXN_LEASE, RPC_TXN_GE, kv_bytes_str("{a}3"), kv_bytes(NULL, 0), 77, false},
    };
    struct rpc_txn_op ops[] = {
        op_of(RPC_TXN_GET, "{a}4", NULL), op_of(RPC_TXN_PUT, "{a}5", "five"),
        op_of(RPC_TXN_DEL, "{a}6", NULL), op_of(RPC_TXN_INCR, "{a}7", NULL),
        op_of(RPC_TXN_PUT, "{a}8", "8"),  op_of(RPC_TXN_RANGE, "{a}", "{a}~"),
    };
    const struct rpc_txn txn = {compares, {ops, ops + 5}, 4, {5, 1}};
    struct rpc_txn_compare compare;
    struct rpc_error error;
    struct txn_reader r;
    struct rpc_txn_op op;
    struct kv_bytes body;
    struct arena arena;
    uint16_t slot;

    (void)state;
    ops[3].delta = INT64_MIN;
    ops[4].ttl_ms = 5000;
    ops[5].limit = 10;
    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(&txn, &arena, &body, &slot, &error), 0);
    assert_int_equal(slot, slot_of(kv_bytes_str("a")));
    assert_true(txn_is_valid(body));
    txn_reader_init(&r, body);
    assert_int_equal(r.counts[0], 4);
    assert_int_equal(r.counts[1], 5);
    assert_int_equal(r.counts[2], 1);
    for (int i = 0; i < 4; i++) {
        txn_next_compare(&r, &compare);
        assert_int_equal(compare.what, compares[i].what);
        assert_int_equal(compare.test, compares[i].test);
        assert_true(kv_bytes_equal(compare.key, compares[i].key));
        assert_true(kv_bytes_equal(compare.value, compares[i].value));
        assert_int_equal(compare.rev, compares[i].rev);
        assert_int_equal(compare.exists, compares[i].exists);
    }
    for (int i = 0; i < 6; i++) {
        txn_next_op(&r, &op);
        assert_int_equal(op.verb, ops[i].verb);
        assert_true(kv_bytes_equal(op.key, ops[i].key));
        assert_true(kv_bytes_equal(op.value, ops[i].value));
        assert_int_equal(op.delta, ops[i].delta);
        assert_int_equal(op.limit, ops[i].limit);
        assert_int_equal(op.ttl_ms, ops[i].ttl_ms);
    }
    assert_false(r.fields.bad);
    assert_int_equal(r.fields.left, 0);
    for (size_t len = 0; len < body.len; len++) {
        assert_false(txn_is_valid(kv_bytes(body.data, len)));
    }
    arena_close(&arena);
}

static void keys_of_two_slots_are_named(void **state)
{
    const struct rpc_txn_compare compare = compare_of("{a}x");
    struct rpc_txn_op op = op_of(RPC_TXN_GET, "{b}x", NULL);
    const struct rpc_txn txn = {&compare, {NULL, &op}, 1, {0, 1}};
    struct rpc_error error;
    struct kv_bytes body;
    struct arena arena;
    uint16_t slot;

    (void)state;
    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(&txn, &arena, &body, &slot, &error), KV_ECROSSSLOT);
    assert_string_equal(error.text,
                        "kv.txn: \"{a}x\" (slot 15495) and \"{b}x\" (slot 3300); all "
                        "keys must share one slot, give them the same {tag}");
    op = op_of(RPC_TXN_GET, "{a}y", NULL);
    assert_int_equal(txn_make(&txn, &arena, &body, &slot, &error), 0);
    arena_close(&arena);
}

static void a_range_stays_behind_one_tag(void **state)
{
    static const struct {
        const char *begin, *end;
        int code;
    } rows[] = {
        {"a", "b", KV_ECROSSSLOT},     {"{a}", "{b}", KV_ECROSSSLOT},
        {"{a}1", "{a}2", 0},           {"{a}", "{a}", 0},
        {"{a}9", "{a}1", 0},           {"{a", "{b", KV_ECROSSSLOT},
        {"x{a}1", "x{a}", 0},          {"x{a}1", "y{a}2", KV_ECROSSSLOT},
        {"{a}1", "{a", KV_ECROSSSLOT}, {"{}a", "{}b", KV_ECROSSSLOT},
        {"{a}{b}1", "{a}{c}1", 0},
    };
    struct rpc_error error;
    struct kv_bytes body;
    struct arena arena;
    uint16_t slot;

    (void)state;
    arena_init(&arena, 4096, 0);
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        const struct rpc_txn_op op = op_of(RPC_TXN_RANGE, rows[i].begin, rows[i].end);
        const struct rpc_txn txn = {NULL, {&op, NULL}, 0, {1, 0}};
        int rc = txn_make(&txn, &arena, &body, &slot, &error);

        if (rc != rows[i].code) {
            fail_msg("%s to %s: %d", rows[i].begin, rows[i].end, rc);
        }
    }
    arena_close(&arena);
}

static void an_empty_txn_is_refused(void **state)
{
    const struct rpc_txn txn = {0};
    struct rpc_error error;
    struct kv_bytes body;
    struct arena arena;
    uint16_t slot;

    (void)state;
    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(&txn, &arena, &body, &slot, &error), KV_EBADREQUEST);
    arena_close(&arena);
}

/* Whatever stands in an entry: no crash, and what is valid is read to its end. */
static void no_bytes_lead_astray(void **state)
{
    uint8_t bytes[80];
    struct prng p;
    int valid = 0;

    (void)state;
    prng_init(&p, 77);
    for (int round = 0; round < 200000; round++) {
        size_t len = prng_below(&p, sizeof bytes);

        for (size_t i = 0; i < len; i++) {
            bytes[i] =
                (uint8_t)(prng_below(&p, 3) == 0 ? prng_next(&p) : prng_below(&p, 6));
        }
        valid += txn_is_valid(kv_bytes(bytes, len));
    }
    assert_true(valid > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_reads_as_it_was_written),
        cmocka_unit_test(keys_of_two_slots_are_named),
        cmocka_unit_test(a_range_stays_behind_one_tag),
        cmocka_unit_test(an_empty_txn_is_refused),
        cmocka_unit_test(no_bytes_lead_astray),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/txn", tests, NULL, NULL);
}
