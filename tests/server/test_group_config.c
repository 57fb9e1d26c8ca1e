/* tests/server/test_group_config.c - W changes, replicas learn and vote again. */
#include "tests/server/fake_cluster.h"

static void propose(struct fake_world *w, struct fake_node *f,
                    const struct raft_config *c, int want)
{
    fake_turn_begin(f);
    assert_int_equal(group_propose_config(f->group, c), want);
    fake_turn_end(f);
    fake_pass_ms(w, 300);
}

static void w_may_be_raised_to_all_replicas(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    struct raft_config c = *group_config(f->group);
    struct fake_node *other = follower_of(w, f);
    uint64_t ticket;

    c.w = 3;
    propose(w, f, &c, 0);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(group_config(w->nodes[id].group)->w, 3);
        assert_int_equal(group_config(w->nodes[id].group)->voters_old_count, 0);
    }
    fake_put_ok(f, "a", "1");

    fake_crash(other);
    ticket = fake_put(f, "b", "1");
    fake_pass_ms(w, 300);
    assert_false(fake_reply_of(w, ticket)->done); /* Two of three do not suffice. */
}

static void a_replica_may_learn_and_vote_again(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    struct raft_config before = *group_config(f->group), c;
    struct fake_node *other = follower_of(w, f);
    raft_id gone = 10 + id_of(other); /* fake_env.h numbers them so. */

    memset(&c, 0, sizeof c);
    for (uint32_t i = 0; i < before.voters_count; i++) {
        if (before.voters[i] != gone) {
            c.voters[c.voters_count++] = before.voters[i];
        }
    }
    c.learners[c.learners_count++] = gone;
    propose(w, f, &c, 0);
    assert_int_equal(group_config(other->group)->voters_count, 2);
    assert_int_equal(group_config(other->group)->learners[0], gone);
    fake_put_ok(f, "a", "1");
    assert_converged(w); /* It still gets everything. */

    propose(w, f, &before, 0);
    assert_int_equal(group_config(other->group)->voters_count, 3);
    assert_converged(w);
}

static void only_the_leader_takes_what_can_be(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    struct raft_config c = *group_config(f->group);

    propose(w, follower_of(w, f), &c, KV_ENOTLEADER);
    c.w = 4;
    propose(w, f, &c, KV_EINVAL);
    c.w = 3;
    fake_turn_begin(f);
    assert_int_equal(group_propose_config(f->group, &c), 0);
    assert_int_equal(group_propose_config(f->group, &c), KV_EBUSY);
    fake_turn_end(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(w_may_be_raised_to_all_replicas),
        CASE(a_replica_may_learn_and_vote_again),
        CASE(only_the_leader_takes_what_can_be),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_config", tests, NULL, NULL);
}
