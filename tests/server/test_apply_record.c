/* tests/server/test_apply_record.c - a write that comes again, too late, or changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "rpc/slot.h"
#include "server/apply.h"
#include "server/apply_record.h"
#include "tests/lib/mem_store.h"

enum {
    T0 = 1000000, /* Replicated time when a test begins, ms. */
    RETENTION = 1000,
    RESULTS = 4,
    SESSION = 77,
};

struct machine {
    struct mem_store *mem;
    struct state *st;
    struct apply apply;
    struct arena keep;
    raft_index last;
    uint64_t time_ms;
};

static struct apply_result run(struct machine *m, const struct command *c)
{
    struct apply_result r = {0};
    uint8_t payload[4096];
    struct raft_entry e = {.pos = {m->last + 1, 1}, .type = RAFT_ENTRY_COMMAND};

    assert_true(command_bytes(c) <= sizeof payload);
    command_encode(c, payload);
    e.payload = kv_bytes(payload, command_bytes(c));
    e.time_ms = m->time_ms;
    assert_int_equal(apply_entry(&m->apply, &e, &m->keep, &r), 0);
    m->last++;
    return r;
}

static void own_all(struct machine *m)
{
    static uint8_t all[COMMAND_SLOTS_BYTES];
    struct command c = {.kind = COMMAND_OWN_SLOTS};

    memset(all, 0xff, sizeof all);
    c.slots = kv_bytes(all, sizeof all);
    (void)run(m, &c);
}

static int setup(void **state)
{
    struct machine *m = kv_mem_zalloc(sizeof *m);

    assert_non_null(m);
    assert_int_equal(mem_store_new(1, &m->mem), 0);
    assert_int_equal(state_open(mem_store_base(m->mem), 1, 1 << 20, &m->st), 0);
    assert_int_equal(apply_open(&m->apply, m->st), 0);
    m->apply.retention_ms = RETENTION;
    m->apply.results_max = RESULTS;
    arena_init(&m->keep, 4096, 0);
    m->time_ms = T0;
    own_all(m);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct machine *m = *state;

    apply_close(&m->apply);
    state_close(m->st);
    mem_store_free(m->mem);
    arena_close(&m->keep);
    kv_mem_free(m);
    return 0;
}

static struct command incr(uint64_t seq, uint64_t ack, int64_t delta)
{
    struct command c = {.kind = COMMAND_KV_INCR, .delta = delta};

    c.key = kv_bytes_str("{c}ounter");
    c.slot = slot_of(c.key);
    c.session = (struct command_session){SESSION, seq, ack, T0};
    return c;
}

static struct command cas(uint64_t seq, const char *expected, const char *value)
{
    struct command c = incr(seq, 1, 0);

    c.kind = COMMAND_KV_CAS;
    c.key = kv_bytes_str("{c}as");
    c.has_expected = expected != NULL;
    c.expected = expected != NULL ? kv_bytes_str(expected) : kv_bytes(NULL, 0);
    c.has_replacement = true;
    c.replacement = kv_bytes_str(value);
    return c;
}

static int64_t value_of_counter(struct machine *m)
{
    struct command c = incr(0, 0, 0);

    c.session.session = 0;
    return run(m, &c).number;
}

static uint64_t records(struct machine *m)
{
    struct row *rows;
    uint32_t count;
    bool more;

    assert_int_equal(state_range(m->st, ROW_RECORD, kv_bytes(NULL, 0),
                                 kv_bytes(NULL, 0), 10000, 1 << 20, &m->keep, &rows,
                                 &count, &more),
                     0);
    return count;
}

/* ---- coming again ---- */

static void what_a_fence_refused_stays_refused(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);
    struct apply_result again;

    memset(m->apply.slots, 0, sizeof m->apply.slots); /* The lock is another group's. */
    command_slot_set(m->apply.slots, c.slot);
    c.fence = (struct command_fence){kv_bytes_str("lock"), 9};
    assert_int_equal(run(m, &c).code, 0);
    c = incr(2, 2, 5);
    c.fence = (struct command_fence){kv_bytes_str("lock"), 8};
    assert_int_equal(run(m, &c).code, KV_EFENCED);
    again = run(m, &c);
    assert_int_equal(again.code, KV_EFENCED);
    assert_true(again.is_repeated);
    assert_int_equal(value_of_counter(m), 5);
}

static void a_write_that_comes_again_is_answered_and_not_applied(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);
    struct apply_result first = run(m, &c);
    struct apply_result again = run(m, &c);

    assert_int_equal(first.code, 0);
    assert_false(first.is_repeated);
    assert_int_equal(again.code, 0);
    assert_true(again.is_repeated);
    assert_true(again.number == 5 && again.rev == first.rev);
    assert_true(value_of_counter(m) == 5);
}

static void results_of_other_requests_stay_until_they_are_acknowledged(void **state)
{
    struct machine *m = *state;
    struct command c[3] = {incr(1, 1, 1), incr(2, 1, 10), incr(3, 1, 100)};

    for (int i = 2; i >= 0; i--) {
        assert_false(run(m, &c[i]).is_repeated);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(run(m, &c[i]).is_repeated);
    }
    assert_true(value_of_counter(m) == 111);
}

static void another_request_under_the_same_number_is_refused(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);

    (void)run(m, &c);
    c.delta = 6;
    assert_int_equal(run(m, &c).code, KV_EEXIST);
    c = cas(1, NULL, "v"); /* Another key and kind, of the same slot. */
    assert_int_equal(run(m, &c).code, KV_EEXIST);
    assert_true(value_of_counter(m) == 5);
}

static void sessions_do_not_know_each_other(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);

    (void)run(m, &c);
    c.session.session++;
    assert_false(run(m, &c).is_repeated);
    assert_true(value_of_counter(m) == 10);
}

static void a_cas_that_did_not_swap_never_swaps(void **state)
{
    struct machine *m = *state;
    struct command c = cas(1, "b", "c");
    struct command put = {.kind = COMMAND_KV_PUT, .slot = c.slot, .key = c.key};
    struct apply_result r;
    uint64_t rev;

    put.value = kv_bytes_str("a");
    rev = run(m, &put).rev;
    assert_false(run(m, &c).swapped);

    r = run(m, &c); /* It repeats the value while it is the same, */
    assert_true(r.is_repeated && !r.swapped && r.has_value && r.rev == rev);
    assert_true(kv_bytes_equal(r.value, kv_bytes_str("a")));

    put.value = kv_bytes_str("b");
    (void)run(m, &put);
    r = run(m, &c); /* and its revision afterwards. */
    assert_true(r.is_repeated && !r.swapped && !r.has_value && r.rev == rev);
    c.session.seq = 2;
    assert_true(run(m, &c).swapped);
}

static void a_del_that_found_nothing_never_deletes(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 0);
    struct command put = incr(2, 1, 7);

    c.kind = COMMAND_KV_DEL;
    assert_false(run(m, &c).deleted);
    (void)run(m, &put);
    assert_true(run(m, &c).is_repeated);
    assert_true(value_of_counter(m) == 7);
}

static void errors_are_repeated_like_results(void **state)
{
    struct machine *m = *state;
    struct command put = {.kind = COMMAND_KV_PUT};
    struct command c = incr(1, 1, INT64_MAX);
    struct command d = incr(2, 1, 1);
    struct command e = incr(3, 1, 1);
    struct apply_result r;

    (void)run(m, &c);
    assert_int_equal(run(m, &d).code, KV_EOVERFLOW);
    put.key = d.key;
    put.slot = d.slot;
    put.value = kv_bytes_str("text");
    (void)run(m, &put);
    r = run(m, &d);
    assert_int_equal(r.code, KV_EOVERFLOW);
    assert_true(r.is_repeated);
    assert_int_equal(run(m, &e).code, KV_EBADREQUEST);
    put.value = kv_bytes_str("1");
    (void)run(m, &put);
    assert_int_equal(run(m, &e).code, KV_EBADREQUEST);
    assert_true(value_of_counter(m) == 1);
}

/* ---- what has ended ---- */

static void below_the_floor_everything_is_refused(void **state)
{
    struct machine *m = *state;
    struct command old = incr(1, 1, 1);
    struct command c = incr(5, 5, 10);

    (void)run(m, &old);
    (void)run(m, &c);
    assert_int_equal(run(m, &old).code, KV_ESESSION); /* Its result is gone. */
    old = incr(4, 1, 1);                              /* It never came. */
    assert_int_equal(run(m, &old).code, KV_ESESSION);
    assert_true(value_of_counter(m) == 11);
}

static void a_later_request_with_a_lower_ack_does_not_lower_the_floor(void **state)
{
    struct machine *m = *state;
    struct command c = incr(5, 5, 10);

    (void)run(m, &c);
    c = incr(6, 2, 10);
    (void)run(m, &c);
    c = incr(4, 1, 1);
    assert_int_equal(run(m, &c).code, KV_ESESSION);
}

static void too_many_results_are_refused_before_anything_is_applied(void **state)
{
    struct machine *m = *state;
    struct command c;

    for (uint64_t seq = 1; seq <= RESULTS; seq++) {
        c = incr(seq, 1, 1);
        assert_int_equal(run(m, &c).code, 0);
    }
    c = incr(RESULTS + 1, 1, 1);
    assert_int_equal(run(m, &c).code, KV_EBUSY);
    assert_true(value_of_counter(m) == RESULTS);
    c.session.ack = 2; /* One of them may go. */
    assert_int_equal(run(m, &c).code, 0);
    assert_true(value_of_counter(m) == RESULTS + 1);
}

/* ---- time ---- */

static void what_may_be_forgotten_is_refused(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 1);

    m->time_ms = T0 + RETENTION + 1;
    assert_int_equal(run(m, &c).code, KV_ESESSION);
    c.session.stamp_ms = T0 + 1;
    assert_int_equal(run(m, &c).code, 0);
    m->time_ms += 5 * RETENTION; /* Not yet swept: the answer is still there. */
    assert_true(run(m, &c).is_repeated);
    assert_int_equal(run(m, &c).code, 0);
    assert_true(value_of_counter(m) == 1);
}

static void sweep(struct machine *m, const char *from)
{
    struct command c = {.kind = COMMAND_RECORD_SWEEP, .rows_max = 100};

    c.key = kv_bytes_str(from);
    assert_int_equal(run(m, &c).code, 0);
}

/* Forgotten is only what is refused from then on: for each stamp, at each time. */
static void whatever_was_forgotten_is_refused(void **state)
{
    struct machine *m = *state;

    for (uint64_t ahead = 0; ahead <= 3000; ahead += 500) {
        struct command c = incr(1, 1, 1);
        uint64_t begin_ms = m->time_ms;
        int64_t before = value_of_counter(m);
        bool was_forgotten = false;

        c.session.session += 1 + ahead;
        c.session.stamp_ms = begin_ms + ahead;
        assert_int_equal(run(m, &c).code, 0);
        while (!was_forgotten) {
            struct apply_result r;

            sweep(m, "\1");
            was_forgotten = records(m) == 0;
            r = run(m, &c);
            assert_true(was_forgotten ? r.code == KV_ESESSION : r.is_repeated);
            m->time_ms += 100;
            assert_true(m->time_ms < begin_ms + 10 * RETENTION);
        }
        assert_true(value_of_counter(m) == before + 1);
    }
}

static void a_row_that_was_made_anew_does_not_answer_for_the_one_before(void **state)
{
    struct machine *m = *state;
    struct command old = incr(9, 1, 1);
    struct command c = incr(10, 1, 10);

    (void)run(m, &old);
    m->time_ms = T0 + RETENTION + 1;
    sweep(m, "\1");
    assert_int_equal(records(m), 0);
    c.session.stamp_ms = m->time_ms;
    (void)run(m, &c); /* Floor 1: seq 9 is not below it. */
    assert_int_equal(run(m, &old).code, KV_ESESSION);
}

static void a_stamp_far_ahead_has_to_wait(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 1);

    c.session.stamp_ms = T0 + KV_STAMP_AHEAD_MS_MAX + 1;
    assert_int_equal(run(m, &c).code, KV_EAGAIN);
    c.session.stamp_ms = UINT64_MAX;
    assert_int_equal(run(m, &c).code, KV_EAGAIN);
    c.session.stamp_ms = T0 + KV_STAMP_AHEAD_MS_MAX;
    assert_int_equal(run(m, &c).code, 0);
}

static void a_sweep_leaves_what_is_needed_and_what_lies_before(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 1);

    (void)run(m, &c);
    m->time_ms = T0 + RETENTION / 2;
    c.session.session++;
    (void)run(m, &c);
    m->time_ms = T0 + RETENTION; /* To the very millisecond. */
    sweep(m, "\1");
    assert_int_equal(records(m), 2);
    m->time_ms++;
    sweep(m, "\xff\xff");
    assert_int_equal(records(m), 2);
    sweep(m, "\1");
    assert_int_equal(records(m), 1);
}

/* ---- idempotency keys ---- */

static void an_idempotency_key_keeps_its_result_for_its_own_time(void **state)
{
    struct machine *m = *state;
    struct command c = incr(0, 0, 3);
    struct apply_result r;

    c.session.session = 0;
    c.idem = (struct command_idem){kv_bytes_str("order-1"), T0, 5 * RETENTION};
    (void)run(m, &c);
    m->time_ms += 5 * RETENTION;
    sweep(m, "\1");
    r = run(m, &c);
    assert_true(r.is_repeated && r.number == 3);
    c.delta = 4;
    assert_int_equal(run(m, &c).code, KV_EEXIST);
    c.delta = 3;
    m->time_ms++;
    sweep(m, "\1");
    assert_int_equal(run(m, &c).code, KV_ESESSION);
    c.idem.key = kv_bytes_str("order-2");
    c.idem.stamp_ms = m->time_ms;
    assert_false(run(m, &c).is_repeated);
    assert_true(value_of_counter(m) == 6);
}

/* ---- with the state ---- */

static void records_are_in_the_state_and_its_hash(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);
    struct state_frozen frozen;
    uint64_t before = state_meta_get(m->st)->state_hash;
    bool found = false;

    (void)run(m, &c);
    assert_true(state_meta_get(m->st)->state_hash != before);
    assert_int_equal(state_freeze(m->st, &frozen), 0);
    for (size_t i = 0; i < frozen.rows_count; i++) {
        found = found ||
                (frozen.rows[i].kind == ROW_RECORD && frozen.rows[i].slot == c.slot);
    }
    assert_true(found);
    state_checkpointed(m->st, false);
}

static void a_row_of_a_later_version_stops_the_replica(void **state)
{
    struct machine *m = *state;
    struct command c = incr(1, 1, 5);
    uint8_t payload[256];
    struct raft_entry e = {.type = RAFT_ENTRY_COMMAND, .time_ms = T0};
    struct apply_result r;
    struct row *rows;
    uint32_t count;
    bool more;

    (void)run(m, &c);
    assert_int_equal(state_range(m->st, ROW_RECORD, kv_bytes(NULL, 0),
                                 kv_bytes(NULL, 0), 1, 4096, &m->keep, &rows, &count,
                                 &more),
                     0);
    ((uint8_t *)(uintptr_t)rows[0].value.data)[0]++;
    assert_int_equal(state_put(m->st, &rows[0]), 0);
    command_encode(&c, payload);
    e.pos = (struct raft_pos){m->last + 1, 1};
    e.payload = kv_bytes(payload, command_bytes(&c));
    assert_int_equal(apply_entry(&m->apply, &e, NULL, &r), KV_EFORMAT);
    assert_true(state_meta_get(m->st)->applied.pos.index == m->last);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_write_that_comes_again_is_answered_and_not_applied),
        CASE(what_a_fence_refused_stays_refused),
        CASE(results_of_other_requests_stay_until_they_are_acknowledged),
        CASE(another_request_under_the_same_number_is_refused),
        CASE(sessions_do_not_know_each_other),
        CASE(a_cas_that_did_not_swap_never_swaps),
        CASE(a_del_that_found_nothing_never_deletes),
        CASE(errors_are_repeated_like_results),
        CASE(below_the_floor_everything_is_refused),
        CASE(a_later_request_with_a_lower_ack_does_not_lower_the_floor),
        CASE(too_many_results_are_refused_before_anything_is_applied),
        CASE(what_may_be_forgotten_is_refused),
        CASE(whatever_was_forgotten_is_refused),
        CASE(a_row_that_was_made_anew_does_not_answer_for_the_one_before),
        CASE(a_stamp_far_ahead_has_to_wait),
        CASE(a_sweep_leaves_what_is_needed_and_what_lies_before),
        CASE(an_idempotency_key_keeps_its_result_for_its_own_time),
        CASE(records_are_in_the_state_and_its_hash),
        CASE(a_row_of_a_later_version_stops_the_replica),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/apply_record", tests, NULL, NULL);
}
