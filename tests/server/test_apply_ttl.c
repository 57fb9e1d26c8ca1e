/* tests/server/test_apply_ttl.c - keys that end, against a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "server/history.h"
#include "server/txn.h"
#include "tests/lib/mem_store.h"

enum {
    KEYS = 12,
    T0 = 1000000,
};

/* What the model knows of a key. */
struct known {
    bool there;
    uint64_t until_ms; /* 0: it does not end. */
};

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    struct history history;
    raft_index last;
    uint64_t time_ms;
    struct known model[KEYS];
};

static struct apply_result run(struct machine *m, const struct command *c)
{
    static uint8_t payload[KV_VALUE_BYTES_MAX + 4096];
    struct apply_result r = {0};
    struct raft_entry e = {.pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND};

    assert_true(command_bytes(c) <= sizeof payload);
    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
    e.time_ms = m->time_ms;
    arena_reset(&m->keep);
    assert_int_equal(apply_entry(&m->apply, &e, &m->keep, &r), 0);
    m->last++;
    return r;
}

static int setup(void **state)
{
    static uint8_t all[COMMAND_SLOTS_BYTES];
    struct command own = {.kind = COMMAND_OWN_SLOTS};
    struct machine *m = kv_mem_zalloc(sizeof *m);
    struct state_observer observer;

    assert_non_null(m);
    assert_int_equal(mem_store_new(1, &m->mem), 0);
    assert_int_equal(state_open(mem_store_base(m->mem), 1, 1 << 24, &m->st), 0);
    assert_int_equal(apply_open(&m->apply, m->st), 0);
    arena_init(&m->keep, 4096, 0);
    history_init(&m->history, 1 << 20);
    observer = (struct state_observer){history_changing, &m->history, ROW_KV};
    state_observe(m->st, &observer);
    m->apply.history = &m->history;
    m->time_ms = T0;
    memset(all, 0xff, sizeof all);
    own.slots = kv_bytes(all, sizeof all);
    (void)run(m, &own);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct machine *m = *state;

    apply_close(&m->apply);
    history_close(&m->history);
    state_close(m->st);
    mem_store_free(m->mem);
    arena_close(&m->keep);
    kv_mem_free(m);
    return 0;
}

static struct kv_bytes key_of(uint32_t i, char *out)
{
    snprintf(out, 16, "{t}%02u", i);
    return kv_bytes_str(out);
}

static struct command command_for(enum command_kind kind, uint32_t key, char *name)
{
    struct command c = {.kind = kind, .key = key_of(key, name)};

    c.slot = slot_of(c.key);
    return c;
}

static struct apply_result put(struct machine *m, uint32_t key, const char *value,
                               uint32_t ttl_ms)
{
    char name[16];
    struct command c = command_for(COMMAND_KV_PUT, key, name);

    c.value = kv_bytes_str(value);
    c.ttl_ms = ttl_ms;
    return run(m, &c);
}

static void expire(struct machine *m, uint16_t most)
{
    struct command c = {.kind = COMMAND_EXPIRE, .rows_max = most};

    assert_int_equal(run(m, &c).code, 0);
}

static bool is_there(struct machine *m, uint32_t key)
{
    char name[16];
    struct row row;
    int rc = state_get(m->st, ROW_KV, key_of(key, name), &m->keep, &row);

    assert_true(rc == 0 || rc == KV_ENOTFOUND);
    return rc == 0;
}

static uint32_t rows_of(struct machine *m, uint8_t kind)
{
    struct row *rows;
    uint32_t count;
    bool more;

    assert_int_equal(state_range(m->st, kind, kv_bytes(NULL, 0), kv_bytes(NULL, 0),
                                 10000, 1 << 24, &m->keep, &rows, &count, &more),
                     0);
    return count;
}

/* A txn of one operation list, made as a server makes it. */
static struct apply_result txn(struct machine *m, const struct rpc_txn *t)
{
    struct command c = {.kind = COMMAND_KV_TXN};
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_error error;
    struct buf lists, message;
    struct apply_result r;

    buf_init(&lists, 1 << 16);
    buf_init(&message, 1 << 16);
    rpc_txn_encode(&lists, t);
    rpc_request_init(&q, RPC_KV_TXN, 1);
    q.txn_packed = buf_bytes(&lists);
    rpc_request_encode(&message, &q);
    assert_int_equal(rpc_decoder_init(&d), 0);
    assert_int_equal(rpc_request_decode(&d, buf_bytes(&message), &q, &error), 0);
    arena_reset(&m->keep);
    assert_int_equal(txn_encode(&q, &m->keep, &c.txn, &c.slot, &error), 0);
    {
        uint8_t body[4096];

        assert_true(c.txn.len <= sizeof body);
        memcpy(body, c.txn.data, c.txn.len);
        c.txn = kv_bytes(body, c.txn.len);
        r = run(m, &c);
    }
    rpc_decoder_close(&d);
    buf_close(&lists);
    buf_close(&message);
    return r;
}

/* ---- the rules ---- */

static void a_key_ends_when_an_entry_says_so_and_not_before_its_time(void **state)
{
    struct machine *m = *state;

    (void)put(m, 1, "x", 1000);
    m->time_ms += 999;
    expire(m, 100);
    assert_true(is_there(m, 1));
    m->time_ms += 1;
    assert_true(is_there(m, 1)); /* No entry yet. */
    expire(m, 100);
    assert_false(is_there(m, 1));
    assert_int_equal(rows_of(m, ROW_LEASE) + rows_of(m, ROW_DUE), 0);
    assert_false(m->apply.has_leases);
}

static void who_overwrites_a_key_takes_its_time_away(void **state)
{
    struct machine *m = *state;
    char name[16];
    struct command c;

    for (uint32_t key = 0; key < 6; key++) {
        (void)put(m, key, "1", 1000);
    }
    (void)put(m, 0, "x", 0);
    (void)put(m, 1, "x", 5000);
    c = command_for(COMMAND_KV_INCR, 2, name);
    (void)run(m, &c);
    c = command_for(COMMAND_KV_CAS, 3, name);
    c.has_expected = c.has_replacement = true;
    c.expected = kv_bytes_str("1");
    c.replacement = kv_bytes_str("2");
    assert_true(run(m, &c).swapped);
    c = command_for(COMMAND_KV_DEL, 4, name);
    (void)run(m, &c);
    (void)put(m, 4, "again", 0);
    c = command_for(COMMAND_KV_GETSET, 5, name);
    c.value = kv_bytes_str("y");
    (void)run(m, &c);
    m->time_ms += 2000;
    expire(m, 100);
    for (uint32_t key = 0; key < 6; key++) {
        assert_true(is_there(m, key));
    }
    m->time_ms += 3000;
    expire(m, 100);
    assert_false(is_there(m, 1));
    assert_int_equal(rows_of(m, ROW_KV), 5);
}

static void what_does_not_write_leaves_the_time_alone(void **state)
{
    struct machine *m = *state;
    char name[16];
    struct command c = command_for(COMMAND_KV_PUT, 1, name);

    (void)put(m, 1, "word", 1000);
    c.value = kv_bytes_str("x");
    c.has_if_rev = true;
    c.if_rev = 9999;
    assert_false(run(m, &c).swapped);
    c = command_for(COMMAND_KV_INCR, 1, name);
    assert_int_equal(run(m, &c).code, KV_EBADREQUEST);
    m->time_ms += 1000;
    expire(m, 100);
    assert_false(is_there(m, 1));
}

static void one_entry_ends_so_many_the_first_ones_first(void **state)
{
    struct machine *m = *state;

    for (uint32_t key = 0; key < KEYS; key++) {
        (void)put(m, key, "x", 1000 - key);
    }
    m->time_ms += 1000;
    expire(m, 5);
    assert_int_equal(rows_of(m, ROW_KV), KEYS - 5);
    assert_false(is_there(m, KEYS - 1));
    assert_true(is_there(m, 0));
    assert_true(m->apply.due_ms == T0 + 1000 - (KEYS - 6));
    expire(m, 100);
    assert_int_equal(rows_of(m, ROW_KV), 0);
}

/* What a watcher's history gets from one entry is bounded. */
static void one_entry_ends_about_a_megabyte(void **state)
{
    struct machine *m = *state;
    char *value = kv_mem_zalloc(400 * 1024 + 1);

    memset(value, 'x', 400 * 1024);
    for (uint32_t key = 0; key < 5; key++) {
        (void)put(m, key, value, 10);
    }
    m->time_ms += 10;
    expire(m, 100);
    assert_int_equal(rows_of(m, ROW_KV), 2);
    kv_mem_free(value);
}

static void watches_hear_that_it_expired(void **state)
{
    struct machine *m = *state;
    struct history_place place;
    struct history_batch batch;
    struct history_change change;

    (void)put(m, 1, "x", 10);
    m->time_ms += 10;
    expire(m, 100);
    place = history_newest(&m->history);
    assert_true(history_next(&place, &batch));
    assert_int_equal(batch.count, 1);
    assert_true(history_take(&batch.changes, &change));
    assert_int_equal(change.cause, HISTORY_EXPIRE);
    assert_true(kv_bytes_equal(change.prev, kv_bytes_str("x")));
}

/* Who opens the same state finds the same. */
static void who_opens_the_state_knows_what_is_due(void **state)
{
    struct machine *m = *state;

    (void)put(m, 1, "x", 5000);
    (void)put(m, 2, "x", 4000);
    m->apply.has_leases = false;
    m->apply.due_ms = UINT64_MAX;
    assert_int_equal(apply_reload(&m->apply), 0);
    assert_true(m->apply.has_leases && m->apply.due_ms == T0 + 4000);
}

/* ---- transactions ---- */

static struct rpc_txn_op op_put(struct kv_bytes key, uint32_t ttl_ms)
{
    return (struct rpc_txn_op){
        .verb = RPC_TXN_PUT, .key = key, .value = kv_bytes_str("t"), .ttl_ms = ttl_ms};
}

static void keys_of_one_transaction_end_each_by_itself(void **state)
{
    struct machine *m = *state;
    char names[3][16];
    struct rpc_txn_op ops[] = {
        op_put(key_of(1, names[0]), 1000), op_put(key_of(2, names[1]), 1000),
        op_put(key_of(3, names[2]), 1000), op_put(key_of(3, names[2]), 0)};
    struct rpc_txn t = {.ops = {ops, NULL}, .ops_count = {4, 0}};

    assert_int_equal(txn(m, &t).code, 0);
    assert_int_equal(rows_of(m, ROW_DUE), 2);
    m->time_ms += 1000;
    expire(m, 100);
    assert_false(is_there(m, 1) || is_there(m, 2));
    assert_true(is_there(m, 3));
}

static void a_transaction_that_fails_gives_the_time_back(void **state)
{
    struct machine *m = *state;
    char names[2][16];
    struct rpc_txn_op ops[] = {
        op_put(key_of(1, names[0]), 0),
        op_put(key_of(2, names[1]), 50),
        {.verb = RPC_TXN_INCR, .key = key_of(1, names[0]), .delta = 1}};
    struct rpc_txn t = {.ops = {ops, NULL}, .ops_count = {3, 0}};
    uint64_t hash;

    (void)put(m, 1, "word", 1000);
    hash = state_meta_get(m->st)->state_hash;
    assert_int_equal(txn(m, &t).code, KV_EBADREQUEST);
    assert_true(state_meta_get(m->st)->state_hash == hash);
    m->time_ms += 1000;
    expire(m, 100);
    assert_false(is_there(m, 1));
}

static void leases_compare_by_what_is_left(void **state)
{
    static const struct {
        uint32_t key;
        enum rpc_txn_test test;
        uint64_t ms;
        bool holds;
    } rows[] = {
        {1, RPC_TXN_EQ, 600, true},  {1, RPC_TXN_GT, 600, false},
        {1, RPC_TXN_LE, 599, false}, {1, RPC_TXN_NE, 0, true},
        {2, RPC_TXN_EQ, 0, true},    {3, RPC_TXN_EQ, 0, true},
        {4, RPC_TXN_EQ, 1, true}, /* Due, and still there. */
    };
    struct machine *m = *state;

    (void)put(m, 1, "x", 1000);
    (void)put(m, 2, "x", 0);
    (void)put(m, 4, "x", 100);
    m->time_ms += 400;
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        char name[16];
        struct rpc_txn_compare c = {.what = RPC_TXN_LEASE,
                                    .test = rows[i].test,
                                    .key = key_of(rows[i].key, name),
                                    .rev = rows[i].ms};
        struct rpc_txn t = {.compares = &c, .compares_count = 1};

        if (txn(m, &t).succeeded != rows[i].holds) {
            fail_msg("row %zu", i);
        }
    }
}

/* ---- at random ---- */

static void random_write(struct machine *m, struct prng *p)
{
    uint32_t key = (uint32_t)prng_below(p, KEYS);
    uint32_t ttl = prng_below(p, 3) == 0 ? 0 : 1 + (uint32_t)prng_below(p, 400);
    struct known *k = &m->model[key];
    char name[16];
    struct command c;

    switch (prng_below(p, 6)) {
    case 0:
        c = command_for(COMMAND_KV_DEL, key, name);
        assert_int_equal(run(m, &c).deleted, k->there);
        *k = (struct known){0};
        return;
    case 1: { /* Half of them fail: the key holds no number. */
        c = command_for(COMMAND_KV_INCR, key, name);
        if (run(m, &c).code == 0) {
            *k = (struct known){.there = true};
        }
        return;
    }
    case 2: {
        struct rpc_txn_op op = op_put(key_of(key, name), ttl);
        struct rpc_txn t = {.ops = {&op, NULL}, .ops_count = {1, 0}};

        assert_int_equal(txn(m, &t).code, 0);
        break;
    }
    case 3:
        c = (struct command){.kind = COMMAND_KV_DELRANGE, .rows_max = 1};
        c.begin = key_of(key, name);
        while (key < KEYS && !m->model[key].there) {
            key++;
        }
        assert_int_equal(run(m, &c).number, key < KEYS);
        if (key < KEYS) {
            m->model[key] = (struct known){0};
        }
        return;
    default:
        assert_int_equal(put(m, key, prng_below(p, 2) == 0 ? "5" : "x", ttl).code, 0);
        break;
    }
    *k = (struct known){.there = true, .until_ms = ttl == 0 ? 0 : m->time_ms + ttl};
}

static void random_writes_and_time_do_what_the_model_says(void **state)
{
    struct machine *m = *state;
    struct prng p;

    prng_init(&p, 23);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t ends = 0;

        random_write(m, &p);
        m->time_ms += prng_below(&p, 30);
        if (prng_below(&p, 5) == 0) {
            expire(m, 100);
            for (uint32_t i = 0; i < KEYS; i++) {
                if (m->model[i].until_ms != 0 && m->model[i].until_ms <= m->time_ms) {
                    m->model[i] = (struct known){0};
                }
            }
        }
        for (uint32_t i = 0; i < KEYS; i++) {
            assert_int_equal(is_there(m, i), m->model[i].there);
            ends += m->model[i].until_ms != 0;
        }
        if (round % 16 == 0) {
            assert_int_equal(rows_of(m, ROW_LEASE), ends);
            assert_int_equal(rows_of(m, ROW_DUE), ends);
        }
    }
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_key_ends_when_an_entry_says_so_and_not_before_its_time),
        T(who_overwrites_a_key_takes_its_time_away),
        T(what_does_not_write_leaves_the_time_alone),
        T(one_entry_ends_so_many_the_first_ones_first),
        T(one_entry_ends_about_a_megabyte),
        T(watches_hear_that_it_expired),
        T(who_opens_the_state_knows_what_is_due),
        T(keys_of_one_transaction_end_each_by_itself),
        T(a_transaction_that_fails_gives_the_time_back),
        T(leases_compare_by_what_is_left),
        T(random_writes_and_time_do_what_the_model_says),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_ttl", tests, NULL, NULL);
}
