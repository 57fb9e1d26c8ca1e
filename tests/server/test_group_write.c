/* tests/server/test_group_write.c - outcomes of writes while leaders change. */
#include "tests/server/fake_cluster.h"

static void replicates_to_all(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);

    for (int i = 0; i < 20; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        fake_put_ok(leader, key, "v");
    }
    fake_get_is(leader, "k7", "v");
    assert_converged(w);
}

static void a_follower_gives_requests_back_to_the_router(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *follower = follower_of(w, fake_leader(w));
    uint64_t put = fake_put(follower, "a", "1");

    assert_int_equal(follower->rerouted.count, 1);
    assert_false(fake_reply_of(w, put)->done);
    assert_int_equal(group_leader_node(follower->group), id_of(fake_leader(w)));
}

static void no_reply_without_a_majority(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t put = fake_put(leader, "a", "1");

    drop_network(w);
    while (fake_run_job(leader, DISK_LANE_LOG)) {
    }
    assert_false(fake_reply_of(w, put)->done);
    drop_network(w);
    fake_pass_ms(w, 200); /* Sent again. */
    assert_true(fake_reply_of(w, put)->done);
    assert_int_equal(fake_reply_of(w, put)->error, 0);
}

/* The leader's own disk may be the slow one: two others are a majority. */
static void a_leader_may_reply_before_its_own_disk(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t put = fake_put(leader, "a", "1");

    for (int i = 0; i < 10; i++) {
        while (fake_deliver(w)) {
        }
        for (uint32_t id = 1; id <= 3; id++) {
            if (&w->nodes[id] != leader) {
                (void)fake_run_jobs(&w->nodes[id]);
            }
        }
    }
    assert_int_equal(leader->jobs_count[DISK_LANE_LOG], 1);
    assert_true(fake_reply_of(w, put)->done);
    fake_settle(w);
    assert_converged(w);
}

/* A write that only the old leader has is overwritten: certainly not done, so it is
 * tried again; what another term committed at its index decides. */
static void an_overwritten_write_goes_back_to_the_router(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    struct fake_node *leader;
    uint64_t put;

    w->dropped_from = id_of(old);
    put = fake_put(old, "a", "lost");
    leader = fake_elect(w);
    assert_ptr_not_equal(leader, old);
    fake_put_ok(leader, "b", "2");
    w->dropped_from = 0;
    fake_pass_ms(w, 500);

    assert_false(fake_reply_of(w, put)->done);
    assert_int_equal(old->rerouted.count, 1);
    assert_converged(w);
    fake_get_is(fake_leader(w), "a", NULL);
}

/* A write that the others had already committed is done, whoever leads by then. */
static void a_write_that_survived_the_change_is_done(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    uint64_t put = fake_put(old, "a", "kept");

    /* The others store it; their acks are lost. */
    while (fake_deliver(w)) {
    }
    for (uint32_t id = 1; id <= 3; id++) {
        if (&w->nodes[id] != old) {
            (void)fake_run_jobs(&w->nodes[id]);
        }
    }
    drop_network(w);
    (void)fake_run_jobs(old);
    w->dropped_from = id_of(old);
    (void)fake_elect(w);
    assert_false(fake_reply_of(w, put)->done);
    w->dropped_from = 0;
    fake_pass_ms(w, 500);

    assert_true(fake_reply_of(w, put)->done);
    assert_int_equal(fake_reply_of(w, put)->error, 0);
    fake_get_is(fake_leader(w), "a", "kept");
    assert_converged(w);
}

static void a_write_of_a_cut_off_leader_ends_as_unknown(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    struct request *req = fake_request(old, RPC_KV_PUT, "a", "1");
    uint64_t put;

    req->deadline_ms = w->now_ms + 1000;
    w->dropped_from = id_of(old);
    put = fake_submit(old, req);
    fake_pass_ms(w, 1500);

    assert_int_equal(fake_reply_of(w, put)->error, KV_EUNKNOWN);
    assert_int_equal(group_requests_count(old->group), 0);
}

/* Old pending writes and new ones of a later term may meet at one index. */
static void a_leader_that_comes_back_keeps_old_and_new_apart(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *first = fake_leader(w);
    uint64_t old[10];
    uint64_t fresh;
    uint32_t ended = 0;
    uint32_t transfers = 0;

    w->dropped_from = id_of(first);
    for (int i = 0; i < 10; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "old%d", i);
        old[i] = fake_put(first, key, "x");
    }
    (void)fake_elect(w);
    w->dropped_from = 0;
    fake_pass_ms(w, 50); /* Long enough to be overwritten, too short to apply all. */
    for (int i = 0; i < 40 && fake_leader(w) != first; i++) {
        struct fake_node *leader = fake_leader(w);

        if (leader != NULL) {
            fake_turn_begin(leader);
            transfers += group_transfer(leader->group, id_of(first)) == 0;
            fake_turn_end(leader);
        }
        fake_pass_ms(w, 50);
    }
    assert_true(transfers > 0 || fake_leader(w) == first);
    assert_ptr_equal(fake_leader(w), first);
    for (int i = 0; i < 20; i++) {
        fresh = fake_put(first, "fresh", "y");
        fake_settle(w);
        assert_int_equal(fake_reply_of(w, fresh)->error, 0);
    }
    for (int i = 0; i < 10; i++) {
        ended += fake_reply_of(w, old[i])->done;
    }
    assert_int_equal(ended + first->rerouted.count, 10);
    assert_int_equal(ended, 0);
    resubmit(first, first);
    fake_settle(w);
    for (int i = 0; i < 10; i++) {
        assert_true(fake_reply_of(w, old[i])->done);
        assert_int_equal(fake_reply_of(w, old[i])->error, 0);
    }
    assert_converged(w);
}

static void leadership_is_handed_over_on_request(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    struct fake_node *next = follower_of(w, old);

    fake_put_ok(old, "a", "1");
    fake_turn_begin(old);
    assert_int_equal(group_transfer(old->group, id_of(next)), 0);
    fake_turn_end(old);
    fake_settle(w);

    assert_true(group_is_leader(next->group));
    assert_false(group_is_leader(old->group));
    fake_get_is(next, "a", "1");
}

/* Indexes of a new term may lie before those at which old requests still wait. */
static void old_requests_may_wait_behind_the_end_of_the_log(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *first = fake_leader(w);
    struct raft_status status;
    uint64_t kept[10];
    raft_index high;

    w->dropped_from = id_of(first);
    for (int i = 0; i < 20; i++) {
        struct request *req = fake_request(first, RPC_KV_PUT, "short", "x");

        req->deadline_ms = w->now_ms + 10;
        (void)fake_submit(first, req);
    }
    fake_pass_ms(w, 20);
    assert_int_equal(group_requests_count(first->group), 0);
    assert_true(group_is_leader(first->group));
    for (int i = 0; i < 10; i++) {
        struct request *req = fake_request(first, RPC_KV_PUT, "long", "x");

        req->deadline_ms = w->now_ms + 600000;
        kept[i] = fake_submit(first, req);
    }
    group_raft_status(first->group, &status);
    high = status.last.index;
    (void)fake_elect(w);
    w->dropped_from = 0;
    fake_pass_ms(w, 100);
    for (int i = 0; i < 40 && fake_leader(w) != first; i++) {
        struct fake_node *leader = fake_leader(w);

        if (leader != NULL) {
            fake_turn_begin(leader);
            assert_int_equal(group_transfer(leader->group, id_of(first)), 0);
            fake_turn_end(leader);
        }
        fake_pass_ms(w, 50);
    }
    assert_ptr_equal(fake_leader(w), first);
    group_raft_status(first->group, &status);
    assert_true(status.last.index + 10 < high);

    for (int i = 0; i < 40; i++) {
        fake_put_ok(first, "new", "y");
    }
    for (int i = 0; i < 10; i++) {
        assert_false(fake_reply_of(w, kept[i])->done);
    }
    assert_int_equal(first->rerouted.count, 10); /* Certainly not done, all of them. */
    assert_int_equal(group_requests_count(first->group), 0);
    assert_converged(w);
}

static void messages_to_another_replica_are_ignored(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct raft_msg msg = {
        .type = RAFT_MSG_HEARTBEAT, .from = 12, .to = 99, .term = 1000};
    struct raft_status status;

    fake_turn_begin(leader);
    group_on_message(leader->group, &msg);
    fake_turn_end(leader);
    group_raft_status(leader->group, &status);
    assert_true(status.term < 1000);
    assert_true(group_is_leader(leader->group));
}

/* However small the bounds are: what is durable makes room. */
static void little_room_delays_writes_and_never_stops_them(void **state)
{
    struct fake_world *w = fake_world_new(1);

    (void)state;
    w->options.tail_bytes_max = 1;
    w->options.limits.undurable_bytes_max = 1;
    fake_world_start(w);
    (void)fake_elect(w);
    for (int i = 0; i < 200; i++) {
        fake_put_ok(&w->nodes[1], "a", "a value that takes some room in the log");
    }
    fake_world_free(w);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(replicates_to_all),
        CASE(a_follower_gives_requests_back_to_the_router),
        CASE(no_reply_without_a_majority),
        CASE(a_leader_may_reply_before_its_own_disk),
        CASE(an_overwritten_write_goes_back_to_the_router),
        CASE(a_write_that_survived_the_change_is_done),
        CASE(a_write_of_a_cut_off_leader_ends_as_unknown),
        CASE(a_leader_that_comes_back_keeps_old_and_new_apart),
        CASE(leadership_is_handed_over_on_request),
        CASE(old_requests_may_wait_behind_the_end_of_the_log),
        CASE(messages_to_another_replica_are_ignored),
        cmocka_unit_test(little_room_delays_writes_and_never_stops_them),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_write", tests, NULL, NULL);
}
