/* tests/server/test_group_read.c - reads that may not be answered, or not yet. */
#include "tests/server/fake_cluster.h"

static void a_cut_off_leader_answers_no_reads(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    uint64_t get;

    fake_put_ok(old, "a", "1");
    w->dropped_from = id_of(old);
    get = fake_get(old, "a");
    fake_pass_ms(w, 1000);

    assert_false(group_is_leader(old->group));
    assert_false(fake_reply_of(w, get)->done);
    assert_int_equal(old->rerouted.count, 1);
}

/* A read whose index is known but not applied waits. */
static void a_read_waits_for_its_index(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct fake_node *f = &w->nodes[1];
    struct raft_status status;
    char value[400];
    char key[32];
    uint64_t waiting = 0;
    uint64_t get;

    (void)state;
    w->options.delta_bytes_max = 16 * 1024;
    fake_world_start(w);
    fake_elect(w);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int round = 0; round < 4; round++) {
        fake_turn_begin(f);
        for (int i = 0; i < 100; i++) {
            (void)snprintf(key, sizeof key, "k%d-%d", round, i);
            group_submit(f->group, fake_request(f, RPC_KV_PUT, key, value));
        }
        fake_turn_end(f);
        while (fake_run_job(f, DISK_LANE_LOG)) {
        }
    }
    assert_true(f->jobs_count[DISK_LANE_STATE] == 1);
    group_raft_status(f->group, &status);
    assert_true(status.applied < status.commit);
    assert_true(state_delta_bytes(group_state(f->group)) < 2 * 16 * 1024);
    for (uint64_t ticket = w->tickets; ticket > 0 && waiting == 0; ticket--) {
        waiting = fake_reply_of(w, ticket)->done ? 0 : ticket;
    }
    assert_true(waiting > 0); /* Committed, not applied. */
    (void)snprintf(key, sizeof key, "k%d-%d", (int)(waiting - 1) / 100,
                   (int)(waiting - 1) % 100);
    get = fake_get(f, key);
    assert_false(fake_reply_of(w, get)->done);
    assert_int_equal(fake_reply_of(w, fake_put(f, "x", "y"))->error, KV_EBUSY);

    fake_settle(w);
    assert_true(fake_reply_of(w, get)->done);
    assert_true(fake_reply_of(w, get)->found);
    fake_put_ok(f, "x", "y");
    fake_world_free(w);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_cut_off_leader_answers_no_reads),
        cmocka_unit_test(a_read_waits_for_its_index),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_read", tests, NULL, NULL);
}
