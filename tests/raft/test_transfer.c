/* tests/raft/test_transfer.c - handing leadership over. */
#include "tests/raft/raft_test.h"

static void leadership_moves_without_a_timeout(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_transfer(c, 1, 3), 0);
    raft_cluster_settle(c); /* No time passes. */
    assert_int_equal(raft_cluster_leader(c), 3);
    assert_int_equal(c->nodes[1].role, RAFT_FOLLOWER);
    raft_cluster_free(c);
}

static void waits_until_the_target_has_everything(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 3), 0);
    assert_int_equal(raft_cluster_transfer(c, 1, 2), 0);
    assert_null(queued(c, 1, RAFT_MSG_TIMEOUT_NOW));
    deliver(c, 1, 2);
    deliver(c, 2, 1);
    assert_null(queued(c, 1, RAFT_MSG_TIMEOUT_NOW)); /* Not durable there. */
    persist(c, 2);
    deliver(c, 2, 1);
    assert_non_null(queued(c, 1, RAFT_MSG_TIMEOUT_NOW));
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_leader(c), 2);
    assert_int_equal(status_of(c, 2).commit, 5);
    raft_cluster_free(c);
}

/* The word is said again with each heartbeat: it may have been lost. */
static void repeats_a_lost_timeout_now(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_transfer(c, 1, 2), 0);
    drop_all(c);
    pass_ms(c, 50);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_leader(c), 2);
    raft_cluster_free(c);
}

static void reads_go_on_while_handing_over(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config two = voters_upto(2);

    (void)state;
    elect(c, 1);
    c->blocked[1][2] = true;
    assert_int_equal(raft_cluster_transfer(c, 1, 2), 0);
    assert_int_equal(raft_cluster_propose(c, 1, 1), KV_ENOTLEADER);
    assert_int_equal(raft_cluster_propose_config(c, 1, &two), KV_ENOTLEADER);
    assert_int_equal(raft_cluster_read(c, 1), 0);
    raft_cluster_settle(c);
    assert_true(c->reads[0].ok);
    raft_cluster_free(c);
}

static void ends_exactly_after_an_election_timeout(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    c->blocked[1][2] = true;
    assert_int_equal(raft_cluster_transfer(c, 1, 2), 0);
    for (int i = 0; i < 149; i++) {
        pass_ms(c, 1);
        raft_cluster_settle(c);
    }
    assert_true(status_of(c, 1).transferring);
    assert_int_equal(c->nodes[1].deadline_ms, raft_cluster_now_ms(c, 1) + 1);
    pass_ms(c, 1);
    assert_false(status_of(c, 1).transferring);
    assert_int_equal(raft_cluster_transfer(c, 1, 3), 0);
    raft_cluster_free(c);
}

static void names_that_cannot_be_are_refused(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_cluster *alone = cluster_of(1);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_transfer(c, 1, 1), KV_EINVAL);
    assert_int_equal(raft_cluster_transfer(c, 1, 9), KV_EINVAL);
    elect(alone, 1);
    assert_int_equal(raft_cluster_transfer(alone, 1, 0), KV_EBUSY);
    raft_cluster_free(alone);
    raft_cluster_free(c);
}

static void a_target_that_was_voted_out_ends_the_transfer(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config two = voters_upto(2);

    (void)state;
    elect(c, 1);
    c->blocked[1][3] = true;
    assert_int_equal(raft_cluster_propose_config(c, 1, &two), 0);
    assert_int_equal(raft_cluster_transfer(c, 1, 3),
                     KV_EINVAL); /* Only in the old half. */
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_transfer(c, 1, 2), 0);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_leader(c), 2);
    raft_cluster_free(c);
}

/* With W=N the transfer leaves nothing behind: the new leader commits at once. */
static void works_with_w_of_all(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(3);

    (void)state;
    config.w = 3;
    for (raft_id id = 1; id <= 3; id++) {
        (void)raft_cluster_make(c, id, &config);
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    assert_int_equal(raft_cluster_transfer(c, 1, 0), 0);
    raft_cluster_settle(c);
    assert_int_not_equal(raft_cluster_leader(c), 1);
    assert_true(status_of(c, raft_cluster_leader(c)).can_read);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leadership_moves_without_a_timeout),
        cmocka_unit_test(waits_until_the_target_has_everything),
        cmocka_unit_test(repeats_a_lost_timeout_now),
        cmocka_unit_test(reads_go_on_while_handing_over),
        cmocka_unit_test(ends_exactly_after_an_election_timeout),
        cmocka_unit_test(names_that_cannot_be_are_refused),
        cmocka_unit_test(a_target_that_was_voted_out_ends_the_transfer),
        cmocka_unit_test(works_with_w_of_all),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/transfer", tests, NULL, NULL);
}
