/* tests/server/test_apply_txn.c - transactions against a state, and against a model. */
#include "tests/lib/txn_make.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "raft/record.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "tests/lib/mem_store.h"

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    raft_index last;
};

static void apply_command(struct machine *m, const struct command *c,
                          struct apply_result *out)
{
    uint8_t *payload = kv_mem_zalloc(command_bytes(c));
    struct raft_entry e = {.pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND};

    assert_non_null(payload);
    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
    assert_int_equal(apply_entry(&m->apply, &e, &m->keep, out), 0);
    m->last++;
    kv_mem_free(payload);
}

static struct machine *machine_new(void)
{
    struct machine *m = kv_mem_zalloc(sizeof *m);
    struct command c = {.kind = COMMAND_OWN_SLOTS};
    struct apply_result r;
    uint8_t all[COMMAND_SLOTS_BYTES];

    assert_non_null(m);
    assert_int_equal(mem_store_new(1, &m->mem), 0);
    assert_int_equal(state_open(mem_store_base(m->mem), 1, 64 << 20, &m->st), 0);
    assert_int_equal(apply_open(&m->apply, m->st), 0);
    arena_init(&m->keep, 4096, 0);
    memset(all, 0xff, sizeof all);
    c.slots = kv_bytes(all, sizeof all);
    apply_command(m, &c, &r);
    return m;
}

static void machine_free(struct machine *m)
{
    apply_close(&m->apply);
    state_close(m->st);
    mem_store_free(m->mem);
    arena_close(&m->keep);
    kv_mem_free(m);
}

static struct apply_result run(struct machine *m, const struct rpc_txn *txn)
{
    struct command c = {.kind = COMMAND_KV_TXN};
    struct rpc_error error;
    struct apply_result r;
    struct arena arena;

    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(txn, &arena, &c.txn, &c.slot, &error), 0);
    apply_command(m, &c, &r);
    arena_close(&arena);
    return r;
}

static struct apply_result run_ops(struct machine *m, const struct rpc_txn_op *ops,
                                   uint32_t count)
{
    const struct rpc_txn txn = {NULL, {ops, NULL}, 0, {count, 0}};

    return run(m, &txn);
}

static struct rpc_txn_op op_of(enum rpc_txn_verb verb, const char *key,
                               const char *value)
{
    return (struct rpc_txn_op){.verb = verb,
                               .key = kv_bytes_str(key),
                               .value = kv_bytes_str(value == NULL ? "" : value)};
}

static void expect_text(struct kv_bytes got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static void operations_see_what_those_before_them_did(void **state)
{
    struct machine *m = machine_new();
    struct rpc_txn_op ops[] = {
        op_of(RPC_TXN_GET, "{a}1", NULL),    op_of(RPC_TXN_PUT, "{a}1", "41"),
        op_of(RPC_TXN_INCR, "{a}1", NULL),   op_of(RPC_TXN_GET, "{a}1", NULL),
        op_of(RPC_TXN_PUT, "{a}2", "two"),   op_of(RPC_TXN_RANGE, "{a}", "{a}~"),
        op_of(RPC_TXN_DEL, "{a}1", NULL),    op_of(RPC_TXN_DEL, "{a}1", NULL),
        op_of(RPC_TXN_RANGE, "{a}", "{a}~"),
    };
    struct apply_result r;

    (void)state;
    ops[2].delta = 1;
    r = run_ops(m, ops, KV_ARRAY_COUNT(ops));
    assert_int_equal(r.code, 0);
    assert_true(r.succeeded);
    assert_int_equal(r.results_count, 9);
    assert_false(r.results[0].found);
    assert_int_equal(r.results[1].rev, r.rev);
    assert_int_equal(r.results[2].number, 42);
    assert_true(r.results[3].found);
    expect_text(r.results[3].value, "42");
    assert_int_equal(r.results[3].rev, r.rev);
    assert_int_equal(r.results[5].items_count, 2);
    expect_text(r.results[5].items[0].key, "{a}1");
    expect_text(r.results[5].items[1].value, "two");
    assert_true(r.results[6].deleted);
    assert_false(r.results[7].deleted);
    assert_int_equal(r.results[8].items_count, 1);
    machine_free(m);
}

/* A lock with the keys' tag, held with one token and no other. */
static void a_token_that_is_not_held_any_more_stops_a_transaction(void **state)
{
    struct machine *m = machine_new();
    struct rpc_txn_op put = op_of(RPC_TXN_PUT, "{a}1", "5");
    struct rpc_txn_compare compare = {.what = RPC_TXN_LOCK,
                                      .key = kv_bytes_str("{a}l")};
    const struct rpc_txn txn = {&compare, {&put, NULL}, 1, {1, 0}};
    struct command acquire = {.kind = COMMAND_LOCK_ACQUIRE,
                              .slot = slot_of(compare.key),
                              .key = compare.key,
                              .owner = kv_bytes_str("o"),
                              .permits = 1,
                              .ttl_ms = 1000};
    struct command release = {
        .kind = COMMAND_LOCK_RELEASE, .slot = acquire.slot, .key = compare.key};
    struct apply_result r;

    (void)state;
    compare.rev = 1;
    assert_false(run(m, &txn).succeeded);
    apply_command(m, &acquire, &r);
    release.token = compare.rev = r.lock.token;
    assert_true(run(m, &txn).succeeded);
    compare.test = RPC_TXN_NE;
    assert_false(run(m, &txn).succeeded);
    apply_command(m, &release, &r);
    assert_int_equal(r.lock.ended, release.token);
    assert_true(run(m, &txn).succeeded);
    compare.test = RPC_TXN_EQ;
    assert_false(run(m, &txn).succeeded);
    machine_free(m);
}

/* One compare of each kind, with what it must say about a key "5" of some rev. */
static void compares_decide_which_list_is_carried_out(void **state)
{
    static const struct {
        enum rpc_txn_what what;
        enum rpc_txn_test test;
        const char *key, *value;
        int rev; /* Added to that of the key. */
        bool exists, holds;
    } rows[] = {
        {RPC_TXN_VALUE, RPC_TXN_EQ, "{a}1", "5", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_EQ, "{a}1", "", 0, false, false},
        {RPC_TXN_VALUE, RPC_TXN_NE, "{a}1", "6", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_LT, "{a}1", "6", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_LT, "{a}1", "5", 0, false, false},
        {RPC_TXN_VALUE, RPC_TXN_GT, "{a}1", "4", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_LE, "{a}1", "5", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_GE, "{a}1", "50", 0, false, false},
        {RPC_TXN_VALUE, RPC_TXN_EQ, "{a}2", "", 0, false, false},
        {RPC_TXN_VALUE, RPC_TXN_NE, "{a}2", "", 0, false, true},
        {RPC_TXN_VALUE, RPC_TXN_LE, "{a}2", "z", 0, false, false},
        {RPC_TXN_REV, RPC_TXN_EQ, "{a}1", NULL, 0, false, true},
        {RPC_TXN_REV, RPC_TXN_EQ, "{a}1", NULL, 1, false, false},
        {RPC_TXN_REV, RPC_TXN_LT, "{a}1", NULL, 1, false, true},
        {RPC_TXN_REV, RPC_TXN_GT, "{a}1", NULL, -1, false, true},
        {RPC_TXN_REV, RPC_TXN_GE, "{a}1", NULL, 1, false, false},
        {RPC_TXN_REV, RPC_TXN_LT, "{a}2", NULL, 0, false, true},
        {RPC_TXN_EXISTS, RPC_TXN_EQ, "{a}1", NULL, 0, true, true},
        {RPC_TXN_EXISTS, RPC_TXN_EQ, "{a}1", NULL, 0, false, false},
        {RPC_TXN_EXISTS, RPC_TXN_NE, "{a}2", NULL, 0, true, true},
        {RPC_TXN_EXISTS, RPC_TXN_EQ, "{a}2", NULL, 0, false, true},
    };
    struct machine *m = machine_new();
    struct rpc_txn_op put = op_of(RPC_TXN_PUT, "{a}1", "5");
    struct rpc_txn_op mark[] = {op_of(RPC_TXN_GET, "{a}1", NULL),
                                op_of(RPC_TXN_GET, "{a}2", NULL)};
    uint64_t rev = run_ops(m, &put, 1).rev;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        const struct rpc_txn_compare compares[] = {
            {RPC_TXN_EXISTS, RPC_TXN_EQ, kv_bytes_str("{a}1"), kv_bytes(NULL, 0), 0,
             true},
            {rows[i].what, rows[i].test, kv_bytes_str(rows[i].key),
             kv_bytes_str(rows[i].value == NULL ? "" : rows[i].value),
             rows[i].what == RPC_TXN_REV ? rev + (uint64_t)(int64_t)rows[i].rev : 0,
             rows[i].exists},
        };
        const struct rpc_txn txn = {compares, {mark, mark}, 2, {1, 2}};
        struct apply_result r = run(m, &txn);

        if (r.succeeded != rows[i].holds) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(r.results_count, rows[i].holds ? 1 : 2);
        assert_true(r.results[0].found); /* Not what the list was passed over for. */
    }
    machine_free(m);
}

static void what_fails_leaves_no_trace(void **state)
{
    struct machine *m = machine_new();
    struct rpc_txn_op before[] = {op_of(RPC_TXN_PUT, "{a}1", "one"),
                                  op_of(RPC_TXN_PUT, "{a}9", "9223372036854775807")};
    struct rpc_txn_op ops[] = {
        op_of(RPC_TXN_PUT, "{a}1", "changed"), op_of(RPC_TXN_PUT, "{a}1", "again"),
        op_of(RPC_TXN_DEL, "{a}9", NULL),      op_of(RPC_TXN_PUT, "{a}3", "new"),
        op_of(RPC_TXN_INCR, "{a}1", NULL),
    };
    struct apply_result r;
    uint64_t hash;
    uint64_t rows;

    (void)state;
    (void)run_ops(m, before, 2);
    hash = state_meta_get(m->st)->state_hash;
    rows = state_meta_get(m->st)->rows_count;
    r = run_ops(m, ops, 5);
    assert_int_equal(r.code, KV_EBADREQUEST);
    assert_int_equal(state_meta_get(m->st)->state_hash, hash);
    assert_int_equal(state_meta_get(m->st)->rows_count, rows);
    ops[2] = op_of(RPC_TXN_PUT, "{a}2", "x");
    ops[4] = op_of(RPC_TXN_INCR, "{a}9", NULL);
    ops[4].delta = 1;
    r = run_ops(m, ops, 5);
    assert_int_equal(r.code, KV_EOVERFLOW);
    assert_int_equal(state_meta_get(m->st)->state_hash, hash);
    assert_int_equal(state_meta_get(m->st)->applied.pos.index, m->last);
    machine_free(m);
}

/* Results are bounded, and alike on a replica where nobody waits for them. */
static void what_reads_too_much_is_refused_everywhere(void **state)
{
    enum {
        LARGE = KV_VALUE_BYTES_MAX
    };
    uint8_t *large = kv_mem_zalloc(LARGE);
    struct rpc_txn_op gets[3];
    struct rpc_txn_op put = op_of(RPC_TXN_PUT, "{a}1", NULL);
    struct command c = {.kind = COMMAND_KV_TXN};
    struct machine *m = machine_new();
    struct rpc_error error;
    struct apply_result r;
    struct arena arena;
    struct rpc_txn txn = {NULL, {gets, NULL}, 0, {3, 0}};

    (void)state;
    assert_non_null(large);
    put.value = kv_bytes(large, LARGE);
    (void)run_ops(m, &put, 1);
    for (int i = 0; i < 3; i++) {
        gets[i] = op_of(RPC_TXN_GET, "{a}1", NULL);
    }
    assert_int_equal(run(m, &txn).code, KV_ETOOLARGE);
    arena_init(&arena, 4096, 0);
    assert_int_equal(txn_make(&txn, &arena, &c.txn, &c.slot, &error), 0);
    {
        uint8_t payload[256];
        struct raft_entry e = {.pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND};

        command_encode(&c, payload);
        e.payload = kv_bytes(payload, command_bytes(&c));
        assert_int_equal(apply_entry(&m->apply, &e, NULL, &r), 0);
        assert_int_equal(r.code, KV_ETOOLARGE);
        m->last++;
    }
    txn.ops_count[0] = 2;
    assert_int_equal(run(m, &txn).code, 0);
    arena_close(&arena);
    machine_free(m);
    kv_mem_free(large);
}

/* ---- a model: eight keys with small numbers ---- */

enum {
    MODEL_KEYS = 8,
    MODEL_OPS = 6,
};

struct model {
    int64_t number[MODEL_KEYS]; /* -1: no such key; 100: a word, not a number. */
};

static const char *const model_keys[MODEL_KEYS] = {"{a}0", "{a}1", "{a}2", "{a}3",
                                                   "{a}4", "{a}5", "{a}6", "{a}7"};

/* Carries the list out on a copy; false: it fails, and nothing changes. */
static bool model_run(struct model *m, const struct rpc_txn_op *ops, uint32_t count,
                      struct rpc_txn_result *results)
{
    struct model copy = *m;

    for (uint32_t i = 0; i < count; i++) {
        int k = ops[i].key.data[3] - '0';
        struct rpc_txn_result *r = &results[i];

        *r = (struct rpc_txn_result){.verb = ops[i].verb};
        switch (ops[i].verb) {
        case RPC_TXN_GET:
            r->found = copy.number[k] >= 0;
            r->number = copy.number[k];
            break;
        case RPC_TXN_PUT:
            copy.number[k] =
                ops[i].value.data[0] == 'w' ? 100 : ops[i].value.data[0] - '0';
            break;
        case RPC_TXN_DEL:
            r->deleted = copy.number[k] >= 0;
            copy.number[k] = -1;
            break;
        case RPC_TXN_INCR:
            if (copy.number[k] == 100) {
                return false;
            }
            copy.number[k] = (copy.number[k] < 0 ? 0 : copy.number[k]) + ops[i].delta;
            r->number = copy.number[k];
            break;
        default:
            for (int n = k; n < MODEL_KEYS; n++) {
                r->items_count += copy.number[n] >= 0;
            }
            break;
        }
    }
    *m = copy;
    return true;
}

static struct rpc_txn_op random_op(struct prng *p)
{
    static const char *const values[] = {"0", "1", "2", "w"};
    struct rpc_txn_op op = op_of((enum rpc_txn_verb)prng_below(p, RPC_TXN_VERBS_COUNT),
                                 model_keys[prng_below(p, MODEL_KEYS)], NULL);

    if (op.verb == RPC_TXN_PUT) {
        op.value = kv_bytes_str(values[prng_below(p, 4)]);
    } else if (op.verb == RPC_TXN_RANGE) {
        op.value = kv_bytes_str("{a}~");
    }
    op.delta = op.verb == RPC_TXN_INCR ? 1 : 0;
    return op;
}

static void result_expect(const struct rpc_txn_result *got,
                          const struct rpc_txn_result *want)
{
    char text[16];

    assert_int_equal(got->verb, want->verb);
    assert_int_equal(got->found, want->found);
    assert_int_equal(got->deleted, want->deleted);
    assert_int_equal(got->items_count, want->items_count);
    if (want->verb == RPC_TXN_INCR) {
        assert_int_equal(got->number, want->number);
    } else if (want->verb == RPC_TXN_GET && want->found) {
        (void)snprintf(text, sizeof text, "%d", (int)want->number);
        expect_text(got->value, want->number == 100 ? "w" : text);
    }
}

static void it_does_what_a_naive_model_does(void **state)
{
    struct rpc_txn_result want[MODEL_OPS];
    struct rpc_txn_op ops[MODEL_OPS];
    struct machine *m = machine_new();
    struct model model;
    struct prng p;
    int failed = 0;

    (void)state;
    prng_init(&p, 4711);
    for (int k = 0; k < MODEL_KEYS; k++) {
        model.number[k] = -1;
    }
    for (int round = 0; round < 20000; round++) {
        uint32_t count = 1 + (uint32_t)prng_below(&p, MODEL_OPS);
        struct apply_result r;

        for (uint32_t i = 0; i < count; i++) {
            ops[i] = random_op(&p);
        }
        for (int k = 0; k < MODEL_KEYS; k++) {
            if (model.number[k] > 50 && model.number[k] < 100) {
                ops[0] = op_of(RPC_TXN_DEL, model_keys[k], NULL); /* Stays small. */
            }
        }
        arena_reset(&m->keep);
        r = run_ops(m, ops, count);
        if (!model_run(&model, ops, count, want)) {
            assert_int_equal(r.code, KV_EBADREQUEST);
            failed++;
            continue;
        }
        assert_int_equal(r.code, 0);
        assert_int_equal(r.results_count, count);
        for (uint32_t i = 0; i < count; i++) {
            result_expect(&r.results[i], &want[i]);
        }
    }
    assert_in_range(failed, 1000, 19000);
    machine_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_see_what_those_before_them_did),
        cmocka_unit_test(compares_decide_which_list_is_carried_out),
        cmocka_unit_test(a_token_that_is_not_held_any_more_stops_a_transaction),
        cmocka_unit_test(what_fails_leaves_no_trace),
        cmocka_unit_test(what_reads_too_much_is_refused_everywhere),
        cmocka_unit_test(it_does_what_a_naive_model_does),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_txn", tests, NULL, NULL);
}
