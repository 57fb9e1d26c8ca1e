/* tests/raft/test_election.c - timers, leases, hints and who may stand. */
#include "tests/raft/raft_test.h"

static void follower_sleeps_until_its_deadline(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t at = c->nodes[1].deadline_ms;

    (void)state;
    c->now_ms = at - 1;
    (void)raft_cluster_tick(c, 1);
    assert_int_equal(c->nodes[1].role, RAFT_FOLLOWER);
    assert_int_equal(c->nodes[1].deadline_ms, at);
    c->now_ms = at;
    (void)raft_cluster_tick(c, 1);
    assert_int_equal(c->nodes[1].role, RAFT_PRE_CANDIDATE);
    raft_cluster_free(c);
}

static void a_leader_heard_puts_the_election_off(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 2, .term = 1};

    (void)state;
    for (int i = 0; i < 20; i++) {
        c->now_ms += 140;
        assert_int_equal(send_msg(c, &m), 0);
        assert_in_range(c->nodes[2].deadline_ms, c->now_ms + 150, c->now_ms + 299);
        assert_int_equal(c->nodes[2].role, RAFT_FOLLOWER);
        m.round++;
    }
    raft_cluster_free(c);
}

static void different_seeds_draw_different_timeouts(void **state)
{
    struct raft_cluster *c = cluster_of(5);
    uint64_t different = 0;

    (void)state;
    for (raft_id id = 2; id <= 5; id++) {
        different += c->nodes[id].deadline_ms != c->nodes[id - 1].deadline_ms;
    }
    assert_true(different >= 3);
    raft_cluster_free(c);
}

/* A vote that was given puts the own election off; one that was refused does not. */
static void only_a_granted_vote_resets_the_timer(void **state)
{
    struct raft_cluster *c = stopped_cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_VOTE, .from = 1, .to = 2, .term = 2};
    uint64_t before;

    (void)state;
    disk_entry(c, 2, 1);
    raft_cluster_start(c, 2);
    before = c->nodes[2].deadline_ms;
    c->now_ms += 100;
    assert_int_equal(send_msg(c, &m), 0); /* Its log is behind. */
    assert_int_equal(c->nodes[2].deadline_ms, before);
    m.term = 3;
    m.last = (struct raft_pos){1, 1};
    assert_int_equal(send_msg(c, &m), 0);
    assert_true(c->nodes[2].deadline_ms >= c->now_ms + 150);
    raft_cluster_free(c);
}

static void lease_lasts_the_shortest_timeout(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    const struct raft *r;

    (void)state;
    elect(c, 1);
    r = c->nodes[2].raft;
    assert_true(raft_election_leased(r));
    c->now_ms += 149;
    (void)raft_cluster_tick(c, 2);
    assert_true(raft_election_leased(r));
    c->now_ms += 1;
    (void)raft_cluster_tick(c, 2);
    assert_false(raft_election_leased(r));
    assert_true(raft_election_leased(c->nodes[1].raft)); /* Check-quorum ends that. */
    raft_cluster_free(c);
}

static void hint_shortens_the_wait_to_half_a_heartbeat(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_PEER_DOWN, .u.peer = 1};

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    assert_in_range(c->nodes[2].deadline_ms, c->now_ms, c->now_ms + 25);
    assert_false(raft_election_leased(c->nodes[2].raft));
    /* And again soon, because the others may get their hint later. */
    time_out(c, 2);
    assert_int_equal(c->nodes[2].role, RAFT_PRE_CANDIDATE);
    assert_true(c->nodes[2].deadline_ms <= raft_cluster_now_ms(c, 2) + 75);
    raft_cluster_free(c);
}

static void hint_about_a_follower_restarts_its_pipeline(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_PEER_DOWN, .u.peer = 2};

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    assert_int_equal(c->nodes[1].role, RAFT_LEADER);
    assert_int_equal(raft_replication_find(c->nodes[1].raft, 2)->state,
                     RAFT_PROGRESS_PROBE);
    assert_int_equal(raft_replication_find(c->nodes[1].raft, 3)->state,
                     RAFT_PROGRESS_REPLICATE);
    raft_cluster_free(c);
}

static void only_voters_may_campaign(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = {
        .voters_count = 1, .voters = {1}, .learners_count = 1, .learners = {2}};
    const struct raft_config none = {0};

    (void)state;
    for (raft_id id = 1; id <= 3; id++) {
        (void)raft_cluster_make(c, id, id == 3 ? &none : &config);
        raft_cluster_start(c, id);
    }
    assert_true(raft_election_may_campaign(c->nodes[1].raft));
    assert_false(raft_election_may_campaign(c->nodes[2].raft));
    assert_false(raft_election_may_campaign(c->nodes[3].raft));
    (void)send_msg(c, &(struct raft_msg){
                          .type = RAFT_MSG_TIMEOUT_NOW, .from = 1, .to = 2, .term = 1});
    assert_int_equal(c->nodes[2].role, RAFT_FOLLOWER);
    raft_cluster_free(c);
}

/* B20, B24: strangers' votes are not even kept. */
static void votes_of_strangers_are_nothing(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    time_out(c, 1);
    for (raft_id from = 10; from < 200; from++) {
        struct raft_msg m = {.type = RAFT_MSG_PRE_VOTE_REPLY,
                             .from = from,
                             .to = 1,
                             .term = 1,
                             .granted = true};

        assert_int_equal(send_msg(c, &m), 0);
    }
    assert_int_equal(c->nodes[1].role, RAFT_PRE_CANDIDATE);
    raft_cluster_free(c);
}

/* The longest a leader rules without its quorum is one election timeout. */
static void leader_without_quorum_ends_in_one_timeout(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t cut_ms;

    (void)state;
    elect(c, 1);
    raft_cluster_settle(c);
    cut_ms = raft_cluster_now_ms(c, 1);
    while (c->nodes[1].role == RAFT_LEADER) {
        drop_all(c);
        time_out(c, 1); /* Exactly at its own deadlines. */
        assert_true(raft_cluster_now_ms(c, 1) <= cut_ms + 150);
    }
    raft_cluster_free(c);
}

/* A leader that hears its quorum, however late in the interval, stays. */
static void leader_with_quorum_stays(void **state)
{
    struct raft_cluster *c = cluster_of(5);

    (void)state;
    elect(c, 1);
    raft_cluster_crash(c, 4, 0);
    raft_cluster_crash(c, 5, 0);
    for (int i = 0; i < 50; i++) {
        pass_ms(c, 50);
        raft_cluster_settle(c);
        assert_int_equal(c->nodes[1].role, RAFT_LEADER);
    }
    raft_cluster_free(c);
}

static void impaired_candidate_gives_up(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)state;
    time_out(c, 1);
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    assert_int_equal(c->nodes[1].role, RAFT_FOLLOWER);
    for (int i = 0; i < 5; i++) {
        time_out(c, 1);
        assert_int_equal(c->nodes[1].role, RAFT_FOLLOWER);
    }
    ev.u.impaired = false;
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    time_out(c, 1);
    assert_int_equal(c->nodes[1].role, RAFT_PRE_CANDIDATE);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follower_sleeps_until_its_deadline),
        cmocka_unit_test(a_leader_heard_puts_the_election_off),
        cmocka_unit_test(different_seeds_draw_different_timeouts),
        cmocka_unit_test(only_a_granted_vote_resets_the_timer),
        cmocka_unit_test(lease_lasts_the_shortest_timeout),
        cmocka_unit_test(hint_shortens_the_wait_to_half_a_heartbeat),
        cmocka_unit_test(hint_about_a_follower_restarts_its_pipeline),
        cmocka_unit_test(only_voters_may_campaign),
        cmocka_unit_test(votes_of_strangers_are_nothing),
        cmocka_unit_test(leader_without_quorum_ends_in_one_timeout),
        cmocka_unit_test(leader_with_quorum_stays),
        cmocka_unit_test(impaired_candidate_gives_up),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/election", tests, NULL, NULL);
}
