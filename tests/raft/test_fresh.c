/* tests/raft/test_fresh.c - how old a state can be, and when nothing is known. */
#include "tests/raft/raft_test.h"

/* The age on the replica's clock now; UINT64_MAX: not known. */
static uint64_t age(const struct raft_cluster *c, raft_id id)
{
    uint64_t ms = UINT64_MAX;

    return raft_age_get(c->nodes[id].raft, raft_cluster_now_ms(c, id), &ms)
               ? ms
               : UINT64_MAX;
}

static void beat(struct raft_cluster *c)
{
    pass_ms(c, 50);
    raft_cluster_settle(c);
}

static void nothing_is_known_before_a_round_came_back(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    assert_true(age(c, 1) == UINT64_MAX && age(c, 2) == UINT64_MAX);
    elect(c, 1);
    assert_true(age(c, 2) == UINT64_MAX); /* Its stamp waits for the next round. */
    raft_cluster_free(c);
}

/* A stamp is confirmed by the round after it and comes back with the one after that. */
static void a_follower_is_two_heartbeats_old_at_most(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    for (int i = 0; i < 10; i++) {
        beat(c);
    }
    for (int i = 0; i < 10; i++) {
        beat(c);
        assert_int_equal(age(c, 1), 0);
        assert_int_equal(age(c, 2), 100);
        assert_int_equal(age(c, 3), 100);
    }
    c->nodes[2].clock_ms += 1000000; /* Its own clock counts, nobody else's. */
    assert_int_equal(age(c, 2), 1000100);
    raft_cluster_free(c);
}

/* A leader without a majority goes on sending heartbeats for a while; its followers
 * must not take these for freshness: another leader may be there already. */
static void a_leader_that_is_cut_off_makes_nobody_fresh(void **state)
{
    struct raft_cluster *c = cluster_of(5);
    uint64_t before;

    (void)state;
    elect(c, 1);
    beat(c);
    beat(c);
    beat(c);
    for (raft_id id = 3; id <= 5; id++) {
        c->blocked[1][id] = c->blocked[id][1] = true;
        c->blocked[2][id] = c->blocked[id][2] = true;
    }
    beat(c);
    before = age(c, 2);
    beat(c);
    assert_int_equal(age(c, 2), before + 50);
    assert_int_equal(c->nodes[1].role, RAFT_LEADER);
    raft_cluster_free(c);
}

/* What was said before an entry is not true of a state without the entry. */
static void who_has_not_applied_grows_old(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_APPLIED};
    uint64_t old;

    (void)state;
    elect(c, 1);
    beat(c);
    beat(c);
    beat(c);
    c->auto_apply = false;
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c);
    for (int i = 0; i < 6; i++) {
        beat(c);
    }
    old = age(c, 2);
    assert_true(old >= 300);
    ev.u.index = c->nodes[2].commit;
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    assert_true(age(c, 2) < old);
    raft_cluster_free(c);
}

/* A stamp of the process before this one counts for nothing. */
static void stamps_of_an_earlier_life_are_not_believed(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m;

    (void)state;
    elect(c, 1);
    for (int i = 0; i < 4; i++) {
        beat(c);
    }
    pass_ms(c, 50);
    assert_non_null(queued(c, 1, RAFT_MSG_HEARTBEAT));
    deliver(c, 1, 3);
    m = *queued(c, 1, RAFT_MSG_HEARTBEAT);
    assert_int_equal(m.to, 2);
    assert_true(m.stamp != 0);
    drop_all(c);
    raft_cluster_checkpoint(c, 2); /* What the stamp speaks of is applied. */
    raft_cluster_settle(c);
    drop_all(c);
    raft_cluster_crash(c, 2, 0);
    c->nodes[2].options.seed ^= 0x1234567;
    raft_cluster_start(c, 2);
    c->now_ms += 1000;
    assert_int_equal(send_msg(c, &m), 0);
    assert_true(age(c, 2) == UINT64_MAX);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_before_a_round_came_back),
        cmocka_unit_test(a_follower_is_two_heartbeats_old_at_most),
        cmocka_unit_test(a_leader_that_is_cut_off_makes_nobody_fresh),
        cmocka_unit_test(who_has_not_applied_grows_old),
        cmocka_unit_test(stamps_of_an_earlier_life_are_not_believed),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
