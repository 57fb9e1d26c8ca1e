/* tests/server/test_group_ttl.c - keys end over leaders, restarts and full disks. */
#include "server/group_internal.h"
#include "tests/server/fake_cluster.h"

static uint64_t put(struct fake_node *f, const char *key, uint32_t ttl_ms)
{
    struct request *req = fake_request(f, RPC_KV_PUT, key, "v");

    req->rpc.options.ttl_ms = ttl_ms;
    req->rpc.options.has |= RPC_OPT_BIT(RPC_OPT_ttl_ms);
    return fake_submit(f, req);
}

static void put_ok(struct fake_node *f, const char *key, uint32_t ttl_ms)
{
    uint64_t ticket = put(f, key, ttl_ms);

    fake_settle(f->world);
    assert_true(fake_reply_of(f->world, ticket)->done);
    assert_int_equal(fake_reply_of(f->world, ticket)->error, 0);
}

static void a_key_ends_in_its_time(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);

    put_ok(leader, "a", 1000);
    put_ok(leader, "b", 3000);
    fake_pass_ms(w, 950);
    fake_get_is(leader, "a", "v");
    fake_pass_ms(w, 150);
    fake_get_is(leader, "a", NULL);
    fake_get_is(leader, "b", "v");
    fake_pass_ms(w, 2000);
    fake_get_is(leader, "b", NULL);
    assert_converged(w);
}

/* A key that ends sooner than all before it is not slept over. */
static void a_shorter_time_wakes_the_leader(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);

    put_ok(leader, "a", 60000);
    fake_pass_ms(w, 100);
    put_ok(leader, "b", 200);
    fake_pass_ms(w, 300);
    fake_get_is(leader, "b", NULL);
    fake_get_is(leader, "a", "v");
}

static void the_next_leader_goes_on_with_the_same_times(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);

    put_ok(leader, "a", 4000);
    fake_pass_ms(w, 1000);
    fake_crash(leader);
    leader = fake_elect(w);
    assert_true(w->now_ms < 4000);
    fake_get_is(leader, "a", "v");
    fake_pass_ms(w, 4000 - w->now_ms + 2000);
    fake_get_is(leader, "a", NULL);
}

static void all_restart_and_what_was_due_ends(void **state)
{
    struct fake_world *w = *state;

    put_ok(fake_leader(w), "a", 1000);
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        fake_crash(&w->nodes[id]);
    }
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        fake_restart(w, id);
    }
    (void)fake_elect(w);
    fake_pass_ms(w, 1500);
    fake_get_is(fake_leader(w), "a", NULL);
}

/* More keys than one entry takes; others get their turns between. */
static void many_that_end_together_end_in_steps(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    char key[16];
    uint64_t applied;

    for (int i = 0; i < 700; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put_ok(leader, key, 2000);
    }
    fake_pass_ms(w, 1000);
    applied = group_applied(leader->group);
    fake_pass_ms(w, 2500);
    assert_true(group_applied(leader->group) >= applied + 3);
    assert_false(leader->group->apply.has_leases);
    assert_int_equal(group_ttl_deadline_ms(leader->group), UINT64_MAX);
    fake_get_is(leader, "k0", NULL);
    fake_get_is(leader, "k699", NULL);
    assert_converged(w);
}

static void who_asks_hears_what_is_left(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t ticket;

    put_ok(leader, "a", 10000);
    fake_pass_ms(w, 3000);
    ticket = fake_get(leader, "a");
    fake_settle(w);
    assert_in_range(fake_reply_of(w, ticket)->ttl_ms, 6500, 7000);
    put_ok(leader, "a", 0);
    ticket = fake_get(leader, "a");
    fake_settle(w);
    assert_int_equal(fake_reply_of(w, ticket)->ttl_ms, 0);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_key_ends_in_its_time),
        CASE(a_shorter_time_wakes_the_leader),
        CASE(the_next_leader_goes_on_with_the_same_times),
        CASE(all_restart_and_what_was_due_ends),
        CASE(many_that_end_together_end_in_steps),
        CASE(who_asks_hears_what_is_left),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_ttl", tests, NULL, NULL);
}
