/* tests/raft/test_read.c - ReadIndex rounds. */
#include "tests/raft/raft_test.h"

static void one_round_serves_all_that_wait(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t before;

    (void)state;
    elect(c, 1);
    before = c->messages_sent;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(raft_cluster_read(c, 1), 0);
    }
    assert_int_equal(c->messages_sent - before, 2); /* The first one's round. */
    deliver(c, 1, 2);
    deliver(c, 2, 1); /* Its answer begins the second round, for the other nine. */
    assert_true(c->reads[0].ok);
    assert_false(c->reads[1].done);
    deliver(c, 1, 2);
    deliver(c, 2, 1);
    for (int i = 1; i < 10; i++) {
        assert_true(c->reads[i].ok);
    }
    raft_cluster_free(c);
}

static void a_single_voter_answers_at_once(void **state)
{
    struct raft_cluster *c = cluster_of(1);

    (void)state;
    time_out(c, 1);
    assert_int_equal(raft_cluster_read(c, 1), KV_ENOTLEADER);
    (void)raft_cluster_persist(c, 1, 1, false);
    assert_int_equal(c->nodes[1].role, RAFT_LEADER);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    assert_false(c->reads[1].done); /* Its first entry is not durable. */
    persist(c, 1);
    assert_true(c->reads[1].ok);
    assert_int_equal(c->reads[1].index, 1);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    assert_true(c->reads[2].ok);
    raft_cluster_free(c);
}

static void too_many_reads_are_busy(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    for (int i = 0; i < RAFT_READS_MAX; i++) {
        assert_int_equal(raft_cluster_read(c, 1), 0);
    }
    assert_int_equal(raft_cluster_read(c, 1), KV_EBUSY);
    raft_cluster_settle(c);
    for (int i = 0; i < RAFT_READS_MAX; i++) {
        assert_true(c->reads[i].ok);
    }
    raft_cluster_free(c);
}

/* A lost round is not the end: the next heartbeat is a round as well. */
static void a_lost_round_is_made_up_by_the_next_heartbeat(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    drop_all(c);
    pass_ms(c, 50);
    raft_cluster_settle(c);
    assert_true(c->reads[0].ok && c->reads[1].ok);
    raft_cluster_free(c);
}

/* An AppendEntries carries the round, and its ack confirms it as well. */
static void acks_confirm_rounds(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    drop_all(c); /* The heartbeats are lost. */
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    deliver(c, 1, 2);
    persist(c, 2);
    deliver(c, 2, 1);
    assert_true(c->reads[0].ok);
    assert_int_equal(c->reads[0].index, 1); /* What was committed when it came. */
    raft_cluster_free(c);
}

static void every_pending_read_is_answered_when_leadership_ends(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)state;
    elect(c, 1);
    for (int i = 0; i < RAFT_READS_MAX; i++) {
        assert_int_equal(raft_cluster_read(c, 1), 0);
    }
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    for (int i = 0; i < RAFT_READS_MAX; i++) {
        assert_true(c->reads[i].done && !c->reads[i].ok);
    }
    raft_cluster_free(c);
}

/* In a joint configuration a round needs a majority of each half. */
static void joint_rounds_need_both_halves(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(3);
    struct raft_config next = {.voters_count = 3, .voters = {1, 4, 5}};
    const struct raft_config none = {0};

    (void)state;
    for (raft_id id = 1; id <= 5; id++) {
        (void)raft_cluster_make(c, id, id <= 3 ? &config : &none);
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    c->blocked[1][4] = c->blocked[1][5] = true;
    assert_int_equal(raft_cluster_propose_config(c, 1, &next), 0);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    raft_cluster_settle(c);
    assert_false(c->reads[0].done);
    c->blocked[1][4] = false;
    pass_ms(c, 50);
    raft_cluster_settle(c);
    assert_true(c->reads[0].ok);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_round_serves_all_that_wait),
        cmocka_unit_test(a_single_voter_answers_at_once),
        cmocka_unit_test(too_many_reads_are_busy),
        cmocka_unit_test(a_lost_round_is_made_up_by_the_next_heartbeat),
        cmocka_unit_test(acks_confirm_rounds),
        cmocka_unit_test(every_pending_read_is_answered_when_leadership_ends),
        cmocka_unit_test(joint_rounds_need_both_halves),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/read", tests, NULL, NULL);
}
