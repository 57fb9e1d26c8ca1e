/* tests/raft/test_progress.c - the states of a peer and its flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/check.h"
#include "raft/progress.h"

enum {
    FLIGHT = 3
};

static struct raft_flight_item items[FLIGHT];

static struct raft_progress fresh(raft_index next)
{
    struct raft_progress p;

    raft_progress_init(&p, 2, next, items, FLIGHT);
    return p;
}

static void begins_as_probe(void **state)
{
    struct raft_progress p = fresh(7);

    (void)state;
    assert_int_equal(p.state, RAFT_PROGRESS_PROBE);
    assert_int_equal(p.next, 7);
    assert_int_equal(p.match, 0);
}

static void ack_moves_match_and_next_forward_only(void **state)
{
    struct raft_progress p = fresh(7);

    (void)state;
    assert_true(raft_progress_ack(&p, 9, 5, 100));
    assert_int_equal(p.match, 9);
    assert_int_equal(p.next, 10);
    assert_int_equal(p.match_round, 5);
    assert_false(raft_progress_ack(&p, 9, 6, 200));
    assert_false(raft_progress_ack(&p, 3, 6, 200));
    assert_int_equal(p.match, 9);
    assert_int_equal(p.match_round, 5);
    assert_int_equal(p.moved_ms, 100);
}

static void flight_is_bounded_by_messages(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    raft_progress_replicate(&p);
    for (raft_index i = 1; i <= FLIGHT; i++) {
        assert_false(raft_progress_full(&p, 1000));
        raft_progress_sent(&p, i * 10, 5, i);
    }
    assert_true(raft_progress_full(&p, 1000));
    assert_int_equal(p.next, 31);
    assert_int_equal(p.moved_ms, 1); /* When it got something to answer. */
}

static void flight_is_bounded_by_bytes(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    raft_progress_replicate(&p);
    raft_progress_sent(&p, 1, 60, 0);
    assert_false(raft_progress_full(&p, 100));
    raft_progress_sent(&p, 2, 60, 0);
    assert_true(raft_progress_full(&p, 100));
}

/* An ack lands every message up to it, however they were cut. */
static void ack_lands_what_it_covers(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    raft_progress_replicate(&p);
    for (int lap = 0; lap < 5; lap++) { /* The ring wraps. */
        raft_index at = p.next;

        raft_progress_sent(&p, at + 1, 10, 0);
        raft_progress_sent(&p, at + 3, 20, 0);
        (void)raft_progress_ack(&p, at + 2, 1, 0);
        assert_int_equal(p.flight.count, 1);
        assert_int_equal(p.flight.bytes, 20);
        (void)raft_progress_ack(&p, at + 3, 1, 0);
        assert_int_equal(p.flight.count, 0);
        assert_int_equal(p.flight.bytes, 0);
    }
}

static void probe_empties_the_flight_and_stays_behind_match(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    raft_progress_replicate(&p);
    raft_progress_sent(&p, 9, 10, 0);
    (void)raft_progress_ack(&p, 4, 1, 0);
    raft_progress_probe(&p, 2);
    assert_int_equal(p.flight.count, 0);
    assert_int_equal(p.next, 5); /* Never below match + 1. */
    assert_false(p.probe_sent);
}

static void snapshot_leads_back_to_probe(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    raft_progress_snapshot(&p, 77);
    assert_int_equal(p.state, RAFT_PROGRESS_SNAPSHOT);
    assert_int_equal(p.moved_ms, 77);
    raft_progress_probe(&p, 12);
    assert_int_equal(p.next, 12);
}

static void who_forgot_holds_nothing(void **state)
{
    struct raft_progress p = fresh(1);

    (void)state;
    (void)raft_progress_ack(&p, 8, 1, 0);
    raft_progress_replicate(&p);
    raft_progress_forgot(&p, 3);
    assert_true(p.amnesiac);
    assert_int_equal(p.match, 0);
    assert_int_equal(p.next, 3);
    assert_int_equal(p.state, RAFT_PROGRESS_PROBE);
}

static void names_its_states(void **state)
{
    (void)state;
    assert_string_equal(raft_progress_text(RAFT_PROGRESS_PROBE), "probe");
    assert_string_equal(raft_progress_text(RAFT_PROGRESS_REPLICATE), "replicate");
    assert_string_equal(raft_progress_text(RAFT_PROGRESS_SNAPSHOT), "snapshot");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_as_probe),
        cmocka_unit_test(ack_moves_match_and_next_forward_only),
        cmocka_unit_test(flight_is_bounded_by_messages),
        cmocka_unit_test(flight_is_bounded_by_bytes),
        cmocka_unit_test(ack_lands_what_it_covers),
        cmocka_unit_test(probe_empties_the_flight_and_stays_behind_match),
        cmocka_unit_test(snapshot_leads_back_to_probe),
        cmocka_unit_test(who_forgot_holds_nothing),
        cmocka_unit_test(names_its_states),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/progress", tests, NULL, NULL);
}
