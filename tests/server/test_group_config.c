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

/* ---- cluster.set_w ---- */

static uint64_t set_w(struct fake_node *f, uint32_t w, uint32_t deadline_ms)
{
    struct request *req = fake_request(f, RPC_CLUSTER_SET_W, "", NULL);

    req->rpc.w = w;
    req->rpc.group = f->world->group_id;
    req->deadline_ms = f->world->now_ms + deadline_ms;
    return fake_submit(f, req);
}

static void an_operator_raises_and_lowers_w(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    uint64_t up = set_w(f, 3, 1000);
    uint64_t down = set_w(f, 0, 1000); /* Waits for the first one. */

    fake_pass_ms(w, 300);
    assert_int_equal(fake_reply_of(w, up)->error, 0);
    assert_int_equal(fake_reply_of(w, up)->w, 3);
    assert_int_equal(fake_reply_of(w, down)->error, 0);
    assert_int_equal(fake_reply_of(w, down)->w, 2);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(group_config(w->nodes[id].group)->w, 0);
        assert_int_equal(group_config(w->nodes[id].group)->voters_old_count, 0);
    }
    fake_put_ok(f, "a", "1");
    assert_converged(w);
}

static void w_below_the_majority_or_above_all_is_refused(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    uint64_t low = set_w(f, 1, 1000);
    uint64_t high = set_w(f, 4, 1000);

    fake_pass_ms(w, 50);
    assert_int_equal(fake_reply_of(w, low)->error, KV_EBADQUORUM);
    assert_int_equal(fake_reply_of(w, high)->error, KV_EBADQUORUM);
    assert_non_null(strstr(fake_reply_of(w, high)->text, "2 to 3"));
    assert_int_equal(group_config(f->group)->w, 0);
}

/* Lowering W needs the old W as well: with one node down it does not end. */
static void w_is_not_lowered_without_both_quorums(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    uint64_t ticket = set_w(f, 3, 1000);

    fake_pass_ms(w, 300);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    fake_crash(follower_of(w, f));
    ticket = set_w(f, 2, 400);
    fake_pass_ms(w, 300);
    assert_false(fake_reply_of(w, ticket)->done);
    fake_pass_ms(w, 300);
    assert_int_equal(fake_reply_of(w, ticket)->error, KV_EUNKNOWN);
}

static void another_leader_makes_a_change_of_w_unknown(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    uint64_t ticket;

    w->dropped_from = id_of(f);
    ticket = set_w(f, 3, 5000);
    fake_pass_ms(w, 2000);
    w->dropped_from = 0;
    fake_pass_ms(w, 500);
    assert_int_equal(fake_reply_of(w, ticket)->error, KV_EUNKNOWN);
    assert_int_equal(group_config(fake_leader(w)->group)->w, 0);
}

/* ---- option w of a write ---- */

static uint64_t put_w(struct fake_node *f, uint32_t w, uint32_t deadline_ms)
{
    struct request *req = fake_request(f, RPC_KV_PUT, "k", "v");

    req->rpc.options.w = w;
    req->deadline_ms = f->world->now_ms + deadline_ms;
    return fake_submit(f, req);
}

static void a_write_may_ask_for_more_replicas_than_w(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    struct fake_node *other = follower_of(w, f);
    uint64_t ticket = put_w(f, 3, 1000);

    fake_pass_ms(w, 100);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->replicas, 3);

    fake_crash(other);
    ticket = put_w(f, 3, 400);
    fake_pass_ms(w, 200);
    assert_false(fake_reply_of(w, ticket)->done); /* Applied, but two hold it. */
    fake_get_is(f, "k", "v");
    fake_pass_ms(w, 300);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->replicas, 2); /* It is told. */

    ticket = put_w(f, 2, 400);
    fake_pass_ms(w, 100);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->replicas, 2);
}

/* What was applied is done, also for a leader that is deposed meanwhile. */
static void a_deposed_leader_says_how_many_hold_what_it_applied(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    struct fake_node *other = follower_of(w, f);
    uint64_t ticket;

    fake_crash(other);
    ticket = put_w(f, 3, 60000);
    fake_pass_ms(w, 100);
    assert_false(fake_reply_of(w, ticket)->done);
    w->dropped_from = id_of(f);
    fake_pass_ms(w, 3000);
    assert_true(fake_reply_of(w, ticket)->done);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->replicas, 2);
}

static void more_replicas_than_there_are_is_refused_before_anything(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = fake_leader(w);
    uint64_t ticket = put_w(f, 4, 1000);

    fake_pass_ms(w, 100);
    assert_int_equal(fake_reply_of(w, ticket)->error, KV_EBADQUORUM);
    fake_get_is(f, "k", NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(w_may_be_raised_to_all_replicas),
        CASE(a_replica_may_learn_and_vote_again),
        CASE(only_the_leader_takes_what_can_be),
        CASE(an_operator_raises_and_lowers_w),
        CASE(w_below_the_majority_or_above_all_is_refused),
        CASE(w_is_not_lowered_without_both_quorums),
        CASE(another_leader_makes_a_change_of_w_unknown),
        CASE(a_write_may_ask_for_more_replicas_than_w),
        CASE(a_deposed_leader_says_how_many_hold_what_it_applied),
        CASE(more_replicas_than_there_are_is_refused_before_anything),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_config", tests, NULL, NULL);
}
