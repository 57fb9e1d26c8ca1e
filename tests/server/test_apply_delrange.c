/* tests/server/test_apply_delrange.c - range deletes against a sorted list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "server/history.h"
#include "tests/lib/mem_store.h"

enum {
    KEYS_MAX = 300,
    T0 = 1000000,
};

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    struct history history;
    raft_index last;
    char keys[KEYS_MAX][8]; /* The model: ascending. */
    uint32_t keys_count;
};

static struct apply_result run(struct machine *m, const struct command *c)
{
    static uint8_t payload[KV_VALUE_BYTES_MAX + 4096];
    struct apply_result r = {0};
    struct raft_entry e = {
        .pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND, .time_ms = T0};

    assert_true(command_bytes(c) <= sizeof payload);
    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
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

static void put_bytes(struct machine *m, const char *key, struct kv_bytes value)
{
    struct command c = {.kind = COMMAND_KV_PUT, .key = kv_bytes_str(key)};

    c.slot = slot_of(c.key);
    c.value = value;
    assert_int_equal(run(m, &c).code, 0);
}

static void put(struct machine *m, const char *key)
{
    uint32_t i = m->keys_count;

    put_bytes(m, key, kv_bytes_str(key));
    for (uint32_t k = 0; k < m->keys_count; k++) {
        if (strcmp(m->keys[k], key) == 0) {
            return;
        }
    }
    assert_true(i < KEYS_MAX);
    for (; i > 0 && strcmp(m->keys[i - 1], key) > 0; i--) {
        memcpy(m->keys[i], m->keys[i - 1], sizeof m->keys[i]);
    }
    snprintf(m->keys[i], sizeof m->keys[i], "%s", key);
    m->keys_count++;
}

static struct command delrange(const char *begin, const char *end, uint16_t limit)
{
    return (struct command){.kind = COMMAND_KV_DELRANGE,
                            .begin = kv_bytes_str(begin),
                            .end = kv_bytes_str(end),
                            .rows_max = limit};
}

static uint64_t rows_count(struct machine *m)
{
    struct row *rows;
    uint32_t count;
    bool more;

    assert_int_equal(state_range(m->st, ROW_KV, kv_bytes(NULL, 0), kv_bytes(NULL, 0),
                                 10000, 1 << 26, &m->keep, &rows, &count, &more),
                     0);
    assert_false(more);
    return count;
}

/* The model's step: returns how many go. */
static uint32_t model_delete(struct machine *m, const char *begin, const char *end,
                             uint32_t limit, bool *out_more)
{
    uint32_t from = 0, to;

    while (from < m->keys_count && strcmp(m->keys[from], begin) < 0) {
        from++;
    }
    to = from;
    while (to < m->keys_count && to - from < limit &&
           (end[0] == '\0' || strcmp(m->keys[to], end) < 0)) {
        to++;
    }
    *out_more = to < m->keys_count && to - from == limit &&
                (end[0] == '\0' || strcmp(m->keys[to], end) < 0);
    memmove(m->keys[from], m->keys[to], (m->keys_count - to) * sizeof m->keys[0]);
    m->keys_count -= to - from;
    return to - from;
}

/* ---- steps ---- */

static void deletes_what_a_sorted_list_says(void **state)
{
    struct machine *m = *state;
    struct prng r;

    prng_init(&r, 11);
    for (uint32_t round = 0; round < 400; round++) {
        char begin[8] = "", end[8] = "", key[8];
        uint16_t limit = (uint16_t)(1 + prng_below(&r, 9));
        struct apply_result result;
        struct command c;
        bool more;

        for (uint32_t i = 0; i < 3; i++) {
            snprintf(key, sizeof key, "%x", (unsigned)prng_below(&r, 256));
            put(m, key);
        }
        if (prng_below(&r, 4) > 0) {
            snprintf(begin, sizeof begin, "%x", (unsigned)prng_below(&r, 256));
        }
        if (prng_below(&r, 4) > 0) {
            snprintf(end, sizeof end, "%x", (unsigned)prng_below(&r, 256));
        }
        c = delrange(begin, end, limit);
        result = run(m, &c);
        assert_int_equal(result.code, 0);
        if (end[0] != '\0' && strcmp(begin, end) >= 0) {
            assert_int_equal(result.number, 0);
            assert_false(result.more);
            continue;
        }
        assert_int_equal(result.number, model_delete(m, begin, end, limit, &more));
        assert_int_equal(result.more, more);
        assert_int_equal(rows_count(m), m->keys_count);
        for (uint32_t i = 0; i < m->keys_count; i++) {
            struct row row;

            assert_int_equal(
                state_get(m->st, ROW_KV, kv_bytes_str(m->keys[i]), &m->keep, &row), 0);
        }
    }
}

static void next_goes_on_where_it_ended(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("", "", 2);
    struct apply_result r;

    for (char key[2] = "a"; key[0] <= 'e'; key[0]++) {
        put(m, key);
    }
    r = run(m, &c);
    assert_int_equal(r.number, 2);
    assert_true(r.more);
    assert_true(kv_bytes_equal(r.next, kv_bytes("b\0", 2)));
    c.begin = kv_bytes("b\0", 2);
    r = run(m, &c);
    assert_true(r.more && kv_bytes_equal(r.next, kv_bytes("d\0", 2)));
    c.begin = kv_bytes("d\0", 2);
    r = run(m, &c);
    assert_int_equal(r.number, 1);
    assert_false(r.more);
    assert_int_equal(r.next.len, 0);
}

static void one_step_deletes_about_a_megabyte(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("", "", 100);
    struct kv_bytes value =
        kv_bytes(kv_mem_zalloc(400 * 1024), 400 * 1024); /* Three reach it. */
    struct apply_result r;

    for (char key[2] = "a"; key[0] <= 'e'; key[0]++) {
        put_bytes(m, key, value);
    }
    r = run(m, &c);
    assert_int_equal(r.number, 3);
    assert_true(r.more);
    assert_int_equal(rows_count(m), 2);
    kv_mem_free((void *)(uintptr_t)value.data);
}

static void a_group_without_slots_deletes_nothing(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("", "", 100);

    put(m, "a");
    m->apply.has_slots = false;
    assert_int_equal(run(m, &c).code, KV_ENOTFOUND);
    assert_int_equal(rows_count(m), 1);
}

/* ---- once, fences, events ---- */

static void a_step_that_comes_again_deletes_nothing_more(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("a", "z", 2);
    struct apply_result r;

    c.session = (struct command_session){77, 5, 5, T0};
    for (char key[2] = "a"; key[0] <= 'e'; key[0]++) {
        put(m, key);
    }
    assert_int_equal(run(m, &c).number, 2);
    put(m, "aa");
    r = run(m, &c);
    assert_true(r.is_repeated);
    assert_int_equal(r.number, 2);
    assert_true(r.more);
    assert_true(kv_bytes_equal(r.next, kv_bytes_str("aa"))); /* The first one now. */
    assert_int_equal(rows_count(m), 4);
    c.rows_max = 3;
    assert_int_equal(run(m, &c).code, KV_EEXIST); /* Another request. */
    assert_int_equal(rows_count(m), 4);
}

/* Its seqs have a floor of their own: puts of the same session and slot do not raise
 * it, and it does not raise theirs. */
static void range_deletes_have_a_floor_of_their_own(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("b", "c", 2);
    struct command incr = {.kind = COMMAND_KV_INCR, .key = kv_bytes_str("n")};

    incr.delta = 1;
    incr.slot = slot_of(incr.key);
    c.slot = incr.slot;
    incr.session = (struct command_session){77, 9, 9, T0};
    assert_int_equal(run(m, &incr).code, 0);
    c.session = (struct command_session){77, 8, 8, T0};
    assert_int_equal(run(m, &c).code, 0);
    incr.session = (struct command_session){77, 10, 9, T0};
    assert_int_equal(run(m, &incr).number, 2);
    c.session = (struct command_session){77, 7, 7, T0};
    assert_int_equal(run(m, &c).code, KV_ESESSION);
}

static void an_old_token_deletes_nothing(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("", "", 10);

    put(m, "a");
    memset(m->apply.slots, 0, sizeof m->apply.slots); /* The lock is another group's. */
    command_slot_set(m->apply.slots, c.slot);
    c.fence = (struct command_fence){kv_bytes_str("lock"), 9};
    c.begin = kv_bytes_str("x");
    assert_int_equal(run(m, &c).code, 0);
    c.begin = kv_bytes_str("");
    c.fence.token = 8;
    assert_int_equal(run(m, &c).code, KV_EFENCED);
    assert_int_equal(rows_count(m), 1);
}

static void watches_hear_of_each_key_with_its_value(void **state)
{
    struct machine *m = *state;
    struct command c = delrange("a", "c", 10);
    struct history_place place;
    struct history_batch batch;
    struct history_change change;

    put(m, "a");
    put(m, "b");
    put(m, "c");
    assert_true(run(m, &c).is_change);
    place = history_newest(&m->history);
    assert_true(history_next(&place, &batch));
    assert_int_equal(batch.count, 2);
    for (const char *key = "ab"; *key != '\0'; key++) {
        assert_true(history_take(&batch.changes, &change));
        assert_int_equal(change.cause, HISTORY_DELRANGE);
        assert_true(change.has_prev);
        assert_true(kv_bytes_equal(change.key, kv_bytes(key, 1)));
        assert_true(kv_bytes_equal(change.prev, kv_bytes(key, 1)));
    }
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deletes_what_a_sorted_list_says),
        T(next_goes_on_where_it_ended),
        T(one_step_deletes_about_a_megabyte),
        T(a_group_without_slots_deletes_nothing),
        T(a_step_that_comes_again_deletes_nothing_more),
        T(range_deletes_have_a_floor_of_their_own),
        T(an_old_token_deletes_nothing),
        T(watches_hear_of_each_key_with_its_value),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_delrange", tests, NULL, NULL);
}
