/* tests/server/test_group_store.c - checkpoints, restarts, catching up. */
#include <stdlib.h>

#include "tests/server/fake_cluster.h"

static void all_crash_and_nothing_acknowledged_is_lost(void **state)
{
    struct fake_world *w = *state;

    for (int i = 0; i < 100; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        fake_put_ok(fake_leader(w), key, "v");
        if (i == 60) {
            fake_pass_ms(w, 2500);
        }
    }
    for (uint32_t id = 1; id <= 3; id++) {
        fake_crash(&w->nodes[id]);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        fake_restart(w, id);
    }
    fake_elect(w);
    for (int i = 0; i < 100; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        fake_get_is(fake_leader(w), key, "v");
    }
    assert_converged(w);
}

static void a_node_that_was_away_catches_up_from_the_log(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct group_stats stats;

    (void)state;
    w->options.tail_bytes_max = 2048; /* Most of it is no longer in memory. */
    fake_world_start(w);
    catch_up(w, id_of(follower_of(w, fake_elect(w))), 500);
    for (uint32_t id = 1; id <= 3; id++) {
        group_stats_get(w->nodes[id].group, &stats);
        assert_int_equal(stats.snapshots_installed, 0);
    }
    assert_converged(w);
    fake_world_free(w);
}

/* The state on disk never runs ahead of this node's own log, also where a majority
 * without it has committed. mem_store asserts it at each checkpoint. */
static void a_slow_disk_holds_its_checkpoint_back(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct group_stats stats;
    uint64_t put = fake_put(leader, "a", "1");

    for (int i = 0; i < 700; i++) {
        w->now_ms += 5;
        fake_turn_begin(leader);
        group_tick(leader->group);
        fake_turn_end(leader);
        (void)fake_run_job(leader, DISK_LANE_STATE);
        for (uint32_t id = 1; id <= 3; id++) {
            if (&w->nodes[id] != leader) {
                (void)fake_run_jobs(&w->nodes[id]);
            }
        }
        while (fake_deliver(w)) {
        }
    }
    assert_int_equal(leader->jobs_count[DISK_LANE_LOG], 1);
    assert_true(fake_reply_of(w, put)->done);
    group_stats_get(leader->group, &stats);
    assert_int_equal(stats.checkpoints, 0);

    fake_settle(w);
    fake_pass_ms(w, 100);
    group_stats_get(leader->group, &stats);
    assert_int_equal(stats.checkpoints, 1);
}

/* Under load the delta fills; a checkpoint comes when the group is quiet, or late. */
static void a_busy_group_is_checkpointed_later_than_a_quiet_one(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct group_stats stats;

    (void)state;
    w->options.checkpoint_ms_max = 30000;
    fake_world_start(w);
    fake_elect(w);
    for (int i = 0; i < 40; i++) {
        fake_put_ok(&w->nodes[1], "k", "v");
        fake_pass_ms(w, 500);
    }
    group_stats_get(w->nodes[1].group, &stats);
    assert_int_equal(stats.checkpoints, 0);
    fake_pass_ms(w, 1500);
    group_stats_get(w->nodes[1].group, &stats);
    assert_int_equal(stats.checkpoints, 1);

    for (int i = 0; i < 80; i++) {
        fake_put_ok(&w->nodes[1], "k", "v");
        fake_pass_ms(w, 500);
    }
    group_stats_get(w->nodes[1].group, &stats);
    assert_int_equal(stats.checkpoints, 2); /* 30 s are over. */
    fake_world_free(w);
}

/* Random faults: every acknowledged write is there, nothing ends twice. */
static void survives_a_storm(void **state)
{
    struct fake_world *w = fake_world_new(3);
    uint64_t tickets[3000];
    uint32_t done = 0;
    uint64_t last_rev[10] = {0};
    int last_value[10];
    int count = 0;
    uint64_t rng = 7;

    (void)state;
    w->options.log_window = 32;
    w->options.checkpoint_ms_max = 100;
    w->options.tail_bytes_max = 2048;
    fake_world_start(w);
    fake_elect(w);
    for (int step = 0; step < 600; step++) {
        struct fake_node *leader = fake_leader(w);
        uint32_t victim;

        rng = rng * 6364136223846793005u + 1442695040888963407u;
        victim = (uint32_t)(rng >> 33) % 3 + 1;
        for (int i = 0; i < 4 && leader != NULL; i++) {
            struct request *req;
            char key[16], value[16];

            (void)snprintf(key, sizeof key, "k%d", count % 10);
            (void)snprintf(value, sizeof value, "%d", count);
            req = fake_request(leader, RPC_KV_PUT, key, value);
            req->deadline_ms = w->now_ms + 400;
            tickets[count++] = fake_submit(leader, req);
        }
        switch ((rng >> 40) % 12) {
        case 0:
            w->dropped_from = victim;
            break;
        case 1:
        case 2:
            w->dropped_from = 0;
            break;
        case 3:
            if (w->nodes[victim].node != NULL) {
                fake_crash(&w->nodes[victim]);
            }
            break;
        case 4:
            drop_network(w);
            break;
        default:
            break;
        }
        for (uint32_t id = 1; id <= 3; id++) {
            if (w->nodes[id].node == NULL && (rng >> 50) % 4 == id % 4) {
                fake_restart(w, id);
            }
            while (w->nodes[id].node != NULL && w->nodes[id].rerouted.head != NULL) {
                struct request *req = w->nodes[id].rerouted.head;

                request_list_remove(&w->nodes[id].rerouted, req);
                reply_error(req, KV_ENOLEADER, "not done");
            }
        }
        fake_pass_ms(w, 5 * ((rng >> 20) % 6));
    }
    w->dropped_from = 0;
    for (uint32_t id = 1; id <= 3; id++) {
        if (w->nodes[id].node == NULL) {
            fake_restart(w, id);
        }
    }
    fake_elect(w);
    fake_pass_ms(w, 2000);
    assert_converged(w);
    assert_true(count < FAKE_TICKETS_MAX);
    for (int i = 0; i < count; i++) {
        struct fake_reply *r = fake_reply_of(w, tickets[i]);

        if (r->done && r->error == 0 && r->rev > last_rev[i % 10]) {
            last_rev[i % 10] = r->rev;
            last_value[i % 10] = i;
            done++;
        }
    }
    assert_true(done > 200);
    for (int k = 0; k < 10; k++) {
        char key[16];
        uint64_t get;
        struct fake_reply *r;

        (void)snprintf(key, sizeof key, "k%d", k);
        get = fake_get(fake_leader(w), key);
        fake_settle(w);
        r = fake_reply_of(w, get);
        assert_int_equal(r->error, 0);
        assert_true(r->rev >= last_rev[k]);
        if (r->rev == last_rev[k]) {
            assert_int_equal(strtol(r->value, NULL, 10), last_value[k]);
        }
    }
    fake_world_free(w);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(all_crash_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_node_that_was_away_catches_up_from_the_log),
        CASE(a_slow_disk_holds_its_checkpoint_back),
        cmocka_unit_test(a_busy_group_is_checkpointed_later_than_a_quiet_one),
        cmocka_unit_test(survives_a_storm),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_store", tests, NULL, NULL);
}
