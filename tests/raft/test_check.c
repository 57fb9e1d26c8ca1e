/* tests/raft/test_check.c - raft_check() sees each kind of broken state.
 *
 * Each case breaks one field of a healthy leader or follower in a child process and
 * demands that the check ends it.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/raft/raft_test.h"

typedef void breaker(struct raft *r);

static void dies(struct raft *r, breaker *fn)
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int null = dup(STDERR_FILENO);

        (void)null;
        (void)close(STDERR_FILENO);
        fn(r);
        raft_check(r);
        _exit(0); /* The check saw nothing. */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void commit_behind_applied(struct raft *r)
{
    r->applied = r->commit + 1;
}

static void commit_ahead_of_the_log(struct raft *r)
{
    r->commit = r->log.last.index + 1;
}

static void commit_gone_back(struct raft *r)
{
    r->told_commit = r->commit + 1;
}

static void durable_ahead_of_the_log(struct raft *r)
{
    r->log.last_durable = r->log.last.index + 1;
}

static void base_ahead_of_applied(struct raft *r)
{
    r->log.base.pos.index = r->applied + 1;
}

static void durable_term_ahead(struct raft *r)
{
    r->term_durable = r->term + 1;
}

static void vote_changed(struct raft *r)
{
    r->vote = r->vote + 1;
}

static void leader_of_another_name(struct raft *r)
{
    r->leader = 9;
}

static void leader_while_impaired(struct raft *r)
{
    r->impaired = true;
}

static void leader_with_an_undurable_term(struct raft *r)
{
    r->term_durable = r->term - 1;
}

static void peer_beyond_the_log(struct raft *r)
{
    r->peers[0].match = r->log.last.index + 1;
}

static void peer_twice(struct raft *r)
{
    r->peers[1].id = r->peers[0].id;
}

static void peer_that_is_no_member(struct raft *r)
{
    r->peers[1].id = 9;
}

static void round_from_the_future(struct raft *r)
{
    r->peers[0].round = r->round + 1;
}

static void configuration_beyond_the_log(struct raft *r)
{
    r->configs.now_index = r->log.last.index + 1;
}

static void configuration_that_cannot_be(struct raft *r)
{
    r->configs.now.voters[0] = 0;
}

static void two_uncommitted_configurations(struct raft *r)
{
    r->configs.before_index = r->configs.now_index = r->commit + 1;
    r->log.last.index = r->commit + 1;
}

static void too_many_reads(struct raft *r)
{
    r->reads_waiting_count = RAFT_READS_MAX + 1;
}

static void install_below_commit(struct raft *r)
{
    r->role = RAFT_FOLLOWER;
    r->leader = 0;
    r->peers_count = 0;
    r->incoming.state = RAFT_INCOMING_INSTALLING;
    r->incoming.snapshot.last.pos.index = r->commit;
}

static void a_healthy_leader_and_follower_pass(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    for (raft_id id = 1; id <= 3; id++) {
        raft_check(c->nodes[id].raft);
    }
    raft_cluster_free(c);
}

static void each_broken_state_is_seen(void **state)
{
    static breaker *const breakers[] = {
        commit_behind_applied,
        commit_ahead_of_the_log,
        commit_gone_back,
        durable_ahead_of_the_log,
        base_ahead_of_applied,
        durable_term_ahead,
        vote_changed,
        leader_of_another_name,
        leader_while_impaired,
        leader_with_an_undurable_term,
        peer_beyond_the_log,
        peer_twice,
        peer_that_is_no_member,
        round_from_the_future,
        configuration_beyond_the_log,
        configuration_that_cannot_be,
        two_uncommitted_configurations,
        too_many_reads,
        install_below_commit,
    };
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    for (size_t i = 0; i < KV_ARRAY_COUNT(breakers); i++) {
        dies(c->nodes[1].raft, breakers[i]);
    }
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_leader_and_follower_pass),
        cmocka_unit_test(each_broken_state_is_seen),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/check", tests, NULL, NULL);
}
