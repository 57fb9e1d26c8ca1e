/* tests/server/test_group_snapshot.c - snapshots between groups. */
#include "tests/server/fake_cluster.h"

static void a_node_that_was_away_too_long_catches_up_by_snapshot(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct group_stats stats;
    struct fake_node *away;
    uint32_t id;

    (void)state;
    w->options.log_window = 64;
    w->options.checkpoint_ms_max = 300;
    fake_world_start(w);
    away = follower_of(w, fake_elect(w));
    id = id_of(away);
    catch_up(w, id, 1000);

    group_stats_get(away->group, &stats);
    assert_true(stats.snapshots_installed >= 1);
    assert_converged(w);
    fake_put_ok(fake_leader(w), "behind", "1");
    assert_converged(w);

    /* And the installed state survives a crash of its own. */
    fake_crash(away);
    fake_restart(w, id);
    fake_pass_ms(w, 500);
    assert_converged(w);
    fake_world_free(w);
}

/* The log is reset in another transaction than the rows are switched in: a crash
 * between them is finished at the next start. */
static void a_crash_while_installing_is_finished_at_the_next_start(void **state)
{
    for (uint32_t stop = 0; stop < 6; stop++) {
        struct fake_world *w = fake_world_new(3);
        struct fake_node *away;
        uint32_t steps = 0;
        uint32_t id;

        (void)state;
        w->options.log_window = 64;
        w->options.checkpoint_ms_max = 300;
        fake_world_start(w);
        away = follower_of(w, fake_elect(w));
        id = id_of(away);
        fake_crash(away);
        (void)fake_elect(w);
        for (int i = 0; i < 500; i++) {
            char key[16];

            (void)snprintf(key, sizeof key, "k%d", i % 50);
            fake_put_ok(fake_leader(w), key, "new");
        }
        fake_pass_ms(w, 1000);
        fake_restart(w, id);
        /* Until the chunk, then the install is under way: crash after `stop` jobs. */
        for (int i = 0; i < 4000 && steps < stop; i++) {
            w->now_ms += 5;
            for (uint32_t n = 1; n <= 3; n++) {
                fake_turn_begin(&w->nodes[n]);
                group_tick(w->nodes[n].group);
                fake_turn_end(&w->nodes[n]);
                if (n != id) {
                    (void)fake_run_jobs(&w->nodes[n]);
                }
            }
            while (fake_deliver(w)) {
            }
            /* A slow lane: what is due meanwhile must not keep the node awake. */
            steps += i % 100 == 99 && fake_run_job(away, DISK_LANE_STATE);
            (void)fake_run_job(away, DISK_LANE_LOG);
            assert_true(group_deadline_ms(away->group) > w->now_ms);
        }
        fake_crash(away);
        fake_restart(w, id);
        fake_pass_ms(w, 3000);
        assert_converged(w);
        fake_world_free(w);
    }
}

/* Not even the reserve has room for the last step: it is tried again. */
static void a_full_disk_while_installing_is_waited_for(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct fake_node *away;
    struct group_stats stats;
    bool full = false;
    uint32_t id;

    (void)state;
    w->options.log_window = 64;
    w->options.checkpoint_ms_max = 300;
    fake_world_start(w);
    away = follower_of(w, fake_elect(w));
    id = id_of(away);
    fake_crash(away);
    (void)fake_elect(w);
    for (int i = 0; i < 500; i++) {
        fake_put_ok(fake_leader(w), "a", "new");
    }
    fake_pass_ms(w, 1000);
    fake_restart(w, id);
    for (int i = 0; i < 4000 && !full; i++) {
        w->now_ms += 5;
        for (uint32_t n = 1; n <= 3; n++) {
            fake_turn_begin(&w->nodes[n]);
            group_tick(w->nodes[n].group);
            fake_turn_end(&w->nodes[n]);
            if (n != id) {
                (void)fake_run_jobs(&w->nodes[n]);
            }
        }
        while (fake_deliver(w)) {
        }
        full = away->jobs_count[DISK_LANE_STATE] > 0 &&
               away->jobs[DISK_LANE_STATE][0]->kind == DISK_MARK_CLEAR;
        if (!full) {
            (void)fake_run_job(away, DISK_LANE_STATE);
            (void)fake_run_job(away, DISK_LANE_LOG);
        }
    }
    assert_true(full);
    mem_store_full_to_the_brim(away->mem);
    fake_pass_ms(w, 3000);
    group_stats_get(away->group, &stats);
    assert_int_equal(stats.snapshots_installed, 0);
    assert_int_equal(away->halt_code, 0);
    mem_store_full(away->mem, false);
    fake_pass_ms(w, 3000);
    group_stats_get(away->group, &stats);
    assert_true(stats.snapshots_installed >= 1);
    assert_converged(w);
    fake_world_free(w);
}

/* Nobody can say any more which entry was at the index of a write. */
static void a_write_below_a_snapshot_is_unknown(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct fake_node *old;
    struct group_stats stats;
    struct request *req;
    uint64_t put;

    (void)state;
    w->options.log_window = 64;
    w->options.checkpoint_ms_max = 300;
    fake_world_start(w);
    old = fake_elect(w);
    w->dropped_from = id_of(old);
    req = fake_request(old, RPC_KV_PUT, "a", "1");
    req->deadline_ms = w->now_ms + 600000;
    put = fake_submit(old, req);
    (void)fake_elect(w);
    for (int i = 0; i < 500; i++) {
        fake_put_ok(fake_leader(w), "b", "2");
    }
    fake_pass_ms(w, 1000);
    w->dropped_from = 0;
    fake_pass_ms(w, 3000);

    group_stats_get(old->group, &stats);
    assert_true(stats.snapshots_installed >= 1);
    assert_int_equal(fake_reply_of(w, put)->error, KV_EUNKNOWN);
    assert_converged(w);
    fake_world_free(w);
}

/* A late snapshot never drops entries that were acknowledged behind it. */
static void a_snapshot_keeps_the_entries_behind_it(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct fake_node *slow = follower_of(w, leader);
    struct group_stats stats;
    struct raft_status status;
    raft_index begin = group_state_meta(leader->group)->applied.pos.index;
    raft_index snapshot_last;

    w->dropped_from = id_of(slow);
    for (int i = 0; i < 10; i++) {
        fake_put_ok(leader, "a", "1");
    }
    fake_pass_ms(w, 3000); /* Checkpointed. */
    for (int i = 0; i < 6; i++) {
        fake_put_ok(leader, "b", "2");
    }
    /* It has everything, and does not know that it is committed. */
    for (raft_index at = begin; at < begin + 16; at += 4) {
        send_entries(leader, slow, at, 4, begin);
        (void)fake_run_jobs(slow);
    }
    group_raft_status(slow->group, &status);
    assert_int_equal(status.last.index, begin + 16);
    assert_int_equal(status.commit, begin);
    send_snapshot(leader, slow, &snapshot_last);
    fake_settle(w);
    group_stats_get(slow->group, &stats);
    assert_int_equal(stats.snapshots_installed, 1);
    group_raft_status(slow->group, &status);
    assert_int_equal(status.base.pos.index, snapshot_last);
    assert_int_equal(status.last.index, begin + 16);
    assert_int_equal(status.last_durable, begin + 16);

    /* And goes on behind them. */
    w->dropped_from = 0;
    fake_pass_ms(w, 500);
    fake_put_ok(fake_leader(w), "c", "3");
    assert_converged(w);
    fake_crash(slow);
    fake_restart(w, (uint32_t)(slow - w->nodes));
    assert_converged(w);
}

/* While a snapshot is being installed a due checkpoint has to wait, asleep. */
static void a_checkpoint_that_waits_for_an_install_keeps_nobody_awake(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct fake_node *slow = follower_of(w, leader);
    raft_index begin = group_state_meta(leader->group)->applied.pos.index;
    struct group_stats stats;
    raft_index last;

    fake_pass_ms(w, 3000);
    w->dropped_from = id_of(slow);
    for (int i = 0; i < 10; i++) {
        fake_put_ok(leader, "a", "1");
    }
    fake_pass_ms(w, 3000);
    send_entries(leader, slow, begin, 4, begin + 4);
    while (fake_run_job(slow, DISK_LANE_LOG)) {
    }
    assert_int_equal(group_state_meta(slow->group)->applied.pos.index, begin + 4);
    send_snapshot(leader, slow, &last);
    assert_true(fake_run_job(slow, DISK_LANE_STATE)); /* The chunk. */
    assert_int_equal(slow->jobs_count[DISK_LANE_STATE], 1);
    assert_int_equal(slow->jobs[DISK_LANE_STATE][0]->kind, DISK_INSTALL);
    for (int i = 0; i < 600; i++) {
        w->now_ms += 5;
        fake_turn_begin(slow);
        group_tick(slow->group);
        fake_turn_end(slow);
        while (fake_run_job(slow, DISK_LANE_LOG)) {
        }
        assert_true(group_deadline_ms(slow->group) > w->now_ms);
    }
    fake_settle(w);
    group_stats_get(slow->group, &stats);
    assert_int_equal(stats.snapshots_installed, 1);
}

/* What a peer needs behind the snapshot that it is being sent is not compacted away. */
static void compaction_waits_for_a_snapshot_on_its_way(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct fake_node *leader;
    struct fake_node *away;
    struct group_stats stats;
    uint32_t id;

    (void)state;
    w->options.log_window = 64;
    w->options.checkpoint_ms_max = 200;
    fake_world_start(w);
    away = follower_of(w, fake_elect(w));
    id = id_of(away);
    fake_crash(away);
    leader = fake_elect(w);
    for (int i = 0; i < 500; i++) {
        fake_put_ok(leader, "a", "1");
    }
    fake_pass_ms(w, 500);
    fake_restart(w, id);
    /* Its state lane stands still with the first chunk on it. */
    for (int i = 0; i < 300; i++) {
        w->now_ms += 5;
        for (uint32_t n = 1; n <= 3; n++) {
            fake_turn_begin(&w->nodes[n]);
            group_tick(w->nodes[n].group);
            if (&w->nodes[n] == leader) {
                group_submit(leader->group, fake_request(leader, RPC_KV_PUT, "b", "2"));
            }
            fake_turn_end(&w->nodes[n]);
            if (n != id) {
                (void)fake_run_jobs(&w->nodes[n]);
            }
            (void)fake_run_job(&w->nodes[n], DISK_LANE_LOG);
        }
        while (fake_deliver(w)) {
        }
    }
    assert_true(away->jobs_count[DISK_LANE_STATE] > 0);
    fake_pass_ms(w, 1000);
    group_stats_get(away->group, &stats);
    assert_int_equal(stats.snapshots_installed, 1);
    assert_converged(w);
    fake_world_free(w);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_was_away_too_long_catches_up_by_snapshot),
        cmocka_unit_test(a_crash_while_installing_is_finished_at_the_next_start),
        cmocka_unit_test(a_full_disk_while_installing_is_waited_for),
        cmocka_unit_test(a_write_below_a_snapshot_is_unknown),
        CASE(a_snapshot_keeps_the_entries_behind_it),
        CASE(a_checkpoint_that_waits_for_an_install_keeps_nobody_awake),
        cmocka_unit_test(compaction_waits_for_a_snapshot_on_its_way),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_snapshot", tests, NULL, NULL);
}
