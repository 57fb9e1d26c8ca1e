/* tests/server/test_group_cluster.c - three groups wired together, with faults. */
#include <stdlib.h>

#include "tests/server/fake_env.h"

static int setup(void **state)
{
    struct fake_world *w = fake_world_new(3);

    fake_world_start(w);
    fake_elect(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    fake_world_free(*state);
    return 0;
}

static struct fake_node *follower_of(struct fake_world *w,
                                     const struct fake_node *leader)
{
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        if (&w->nodes[id] != leader && w->nodes[id].node != NULL) {
            return &w->nodes[id];
        }
    }
    fail();
    return NULL;
}

static uint32_t id_of(const struct fake_node *f)
{
    return f->node->config.id;
}

/* All live nodes hold the same state. */
static void assert_converged(struct fake_world *w)
{
    const struct state_meta *first = NULL;

    fake_pass_ms(w, 300);
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        if (w->nodes[id].node != NULL) {
            const struct state_meta *m = group_state_meta(w->nodes[id].group);

            first = first == NULL ? m : first;
            assert_int_equal(m->applied.pos.index, first->applied.pos.index);
            assert_int_equal(m->applied.hash, first->applied.hash);
            assert_int_equal(m->state_hash, first->state_hash);
        }
    }
}

static void drop_network(struct fake_world *w)
{
    while (w->head != NULL) {
        struct fake_msg *m = w->head;

        w->head = m->next;
        fake_msg_free(m);
    }
    w->tail = NULL;
}

/* Submits what a node's groups gave back to whoever leads now, as the router does. */
static void resubmit(struct fake_node *from, struct fake_node *to)
{
    while (from->rerouted.head != NULL) {
        struct request *req = from->rerouted.head;

        request_list_remove(&from->rerouted, req);
        if (to == from) {
            (void)fake_submit(to, req);
        } else { /* Another node would get a copy. */
            request_move(req, REQ_REPLIED);
            request_free(req);
        }
    }
}

/* An append as the leader sends it once it has found where the logs agree. */
static void send_entries(struct fake_node *leader, struct fake_node *to,
                         raft_index prev, uint32_t count, raft_index commit)
{
    struct kv_bytes records[8];
    struct raft_entry entries[9];
    struct raft_status status;
    struct raft_msg msg = {.type = RAFT_MSG_APPEND, .entries_count = count};

    assert_true(count < KV_ARRAY_COUNT(records));
    group_raft_status(leader->group, &status);
    assert_int_equal(group_records(leader->group, prev - 1, count + 1, records),
                     count + 1);
    for (uint32_t i = 0; i <= count; i++) {
        assert_int_equal(raft_record_decode(records[i], &entries[i]), 0);
    }
    msg.from = id_of(leader) + 10;
    msg.to = id_of(to) + 10;
    msg.term = status.term;
    msg.prev = entries[0].pos;
    msg.prev_hash = entries[0].hash;
    msg.commit = commit;
    msg.entries = entries + 1;
    msg.round = 1;
    fake_turn_begin(to);
    group_on_message(to->group, &msg);
    fake_turn_end(to);
}

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

static void catch_up(struct fake_world *w, uint32_t id, int writes)
{
    struct fake_node *leader;

    fake_crash(&w->nodes[id]);
    leader = fake_elect(w);
    for (int i = 0; i < writes; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i % 50);
        fake_put_ok(leader, key, "new");
        if (i % 100 == 0) {
            fake_pass_ms(w, 100);
        }
    }
    fake_restart(w, id);
    fake_pass_ms(w, 3000);
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

/* ---- what must not happen ---- */

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

/* A snapshot of the leader's last checkpoint, as its node would send it. */
static void send_snapshot(struct fake_node *leader, struct fake_node *to,
                          raft_index *out_last)
{
    struct store *s = mem_store_base(leader->mem);
    struct raft_status status;
    struct raft_msg msg = {.type = RAFT_MSG_SNAPSHOT};
    uint8_t *data;

    group_raft_status(leader->group, &status);
    assert_int_equal(s->ops->snapshot_make(s, FAKE_GROUP, &msg.snapshot), 0);
    data = kv_mem_zalloc(msg.snapshot.bytes);
    assert_non_null(data);
    assert_int_equal(s->ops->snapshot_read(s, FAKE_GROUP, msg.snapshot.id, 0,
                                           (uint32_t)msg.snapshot.bytes, data),
                     0);
    msg.from = id_of(leader) + 10;
    msg.to = id_of(to) + 10;
    msg.term = status.term;
    msg.chunk = (struct raft_chunk){.snapshot_id = msg.snapshot.id,
                                    .len = (uint32_t)msg.snapshot.bytes,
                                    .done = true};
    msg.chunk.data = kv_bytes(data, msg.snapshot.bytes);
    fake_turn_begin(to);
    group_on_message(to->group, &msg);
    fake_turn_end(to);
    kv_mem_free(data);
    *out_last = msg.snapshot.last.pos.index;
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

/* ---- damage ---- */

static void a_damaged_entry_is_fetched_from_a_peer(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *victim;
    struct kv_bytes record;
    struct raft_status status;
    struct raft_entry entry, before;
    uint8_t other[512];
    raft_index index;
    uint32_t id;

    for (int i = 0; i < 20; i++) {
        fake_put_ok(fake_leader(w), "a", "1");
    }
    fake_pass_ms(w, 200);
    victim = follower_of(w, fake_leader(w));
    id = id_of(victim);
    index = group_state_meta(victim->group)->applied.pos.index - 5;
    fake_crash(victim);
    assert_true(mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, index, 500));
    fake_restart(w, id);
    fake_pass_ms(w, 300);
    group_raft_status(victim->group, &status);
    assert_true(status.impaired);
    assert_true(group_state_meta(victim->group)->applied.pos.index < index);
    assert_int_equal(victim->fetch_index, index);

    /* Wrong records are not believed: that of another index, and another of this one. */
    assert_int_equal(group_records(fake_leader(w)->group, index, 1, &record), 1);
    fake_turn_begin(victim);
    group_on_fetched(victim->group, index, record);
    assert_int_equal(group_records(fake_leader(w)->group, index - 1, 1, &record), 1);
    assert_int_equal(raft_record_decode(record, &entry), 0);
    entry.time_ms++;
    raft_record_encode(&entry, other); /* With a right checksum. */
    group_on_fetched(victim->group, index, kv_bytes(other, record.len));
    assert_int_equal(group_records(fake_leader(w)->group, index - 2, 1, &record), 1);
    assert_int_equal(raft_record_decode(record, &before), 0);
    entry.hash = raft_entry_hash(before.hash, &entry);
    raft_record_encode(&entry, other); /* And a right chain to its predecessor. */
    group_on_fetched(victim->group, index,
                     kv_bytes(other, raft_record_bytes(entry.payload.len)));
    fake_turn_end(victim);
    fake_settle(w);
    group_raft_status(victim->group, &status);
    assert_true(status.impaired);

    assert_int_equal(group_records(fake_leader(w)->group, index - 1, 1, &record), 1);
    fake_turn_begin(victim);
    group_on_fetched(victim->group, index, record);
    fake_turn_end(victim);
    fake_settle(w);
    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
}

/* An entry that a leader replaces need not be repaired. */
static void a_damaged_entry_that_is_overwritten_is_forgotten(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    uint32_t id = id_of(old);
    struct raft_status status;

    w->dropped_from = id;
    for (int i = 0; i < 3; i++) {
        (void)fake_put(old, "a", "lost");
        fake_settle(w);
    }
    group_raft_status(old->group, &status);
    fake_crash(old);
    assert_true(
        mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, status.last.index - 1, 9));
    (void)fake_elect(w);
    for (int i = 0; i < 10; i++) {
        fake_put_ok(fake_leader(w), "b", "2");
    }
    fake_restart(w, id);
    group_raft_status(old->group, &status);
    assert_true(status.impaired);
    w->dropped_from = 0;
    send_entries(fake_leader(w), old, status.last.index - 3, 4, status.last.index - 3);
    group_raft_status(old->group, &status);
    assert_true(status.impaired); /* Until the new entries are durable. */
    fake_pass_ms(w, 1000);

    group_raft_status(old->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
}

/* A leader that finds a damaged entry while it serves a slow follower steps down. */
static void a_damaged_entry_is_found_when_it_is_sent(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct fake_node *leader;
    struct fake_node *away;
    struct raft_status status;
    raft_index index;
    uint32_t id;

    (void)state;
    w->options.tail_bytes_max = 2048;
    fake_world_start(w);
    leader = fake_elect(w);
    away = follower_of(w, leader);
    id = id_of(away);
    fake_crash(away);
    for (int i = 0; i < 200; i++) {
        fake_put_ok(fake_leader(w), "a", "1");
    }
    index = group_state_meta(leader->group)->applied.pos.index - 150;
    assert_true(mem_store_flip_entry(leader->mem, FAKE_GROUP, index, 99));
    fake_restart(w, id);
    fake_pass_ms(w, 500);

    /* Nothing of it is checkpointed: it asks the others for the entry. */
    group_raft_status(leader->group, &status);
    assert_true(status.impaired);
    assert_int_equal(leader->fetch_index, index);
    assert_true(leader->fetch_hash != 0);
    assert_ptr_not_equal(fake_leader(w), leader);
    fake_world_free(w);
}

static void damage_behind_the_checkpoint_is_compacted_away(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct store_damage damage = {.group = FAKE_GROUP};
    struct raft_status status;

    for (int i = 0; i < 20; i++) {
        fake_put_ok(leader, "a", "1");
    }
    fake_pass_ms(w, 3000);
    damage.index = group_state_meta(leader->group)->applied.pos.index - 5;
    fake_turn_begin(leader);
    group_on_damage(leader->group, &damage);
    fake_turn_end(leader);
    fake_settle(w);

    group_raft_status(leader->group, &status);
    assert_false(status.impaired);
    assert_true(status.base.pos.index >= damage.index);
    fake_put_ok(fake_leader(w), "b", "1");
    assert_converged(w);
}

static void a_start_survives_damage_behind_the_checkpoint(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint32_t id = id_of(leader);
    struct raft_status status;
    raft_index index;

    for (int i = 0; i < 20; i++) {
        fake_put_ok(leader, "a", "1");
    }
    fake_pass_ms(w, 3000);
    index = group_state_meta(leader->group)->applied.pos.index;
    fake_put_ok(leader, "b", "1");
    fake_crash(leader);
    assert_true(mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, index - 3, 99));
    fake_restart(w, id);
    fake_pass_ms(w, 1000);

    group_raft_status(w->nodes[id].group, &status);
    assert_false(status.impaired);
    assert_int_equal(status.base.pos.index, index);
    fake_put_ok(fake_leader(w), "c", "1");
    assert_converged(w);
    fake_crash(&w->nodes[id]);
    fake_restart(w, id); /* It is compacted on the disk as well. */
    assert_converged(w);
}

static void a_damaged_row_stops_the_replica_and_the_others_go_on(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    uint32_t old_id = id_of(old);
    uint64_t get;

    fake_put_ok(old, "a", "1");
    fake_pass_ms(w, 3000); /* Checkpointed, out of the delta. */
    assert_true(
        mem_store_flip_row(old->mem, FAKE_GROUP, ROW_KV, kv_bytes_str("a"), 77));
    get = fake_get(old, "a");
    fake_settle(w);

    assert_int_equal(fake_reply_of(w, get)->error, KV_EDAMAGED);
    assert_int_equal(group_halted(old->group), KV_EDAMAGED);
    assert_false(group_is_leader(old->group));
    fake_pass_ms(w, 1000);
    assert_non_null(fake_leader(w));
    assert_int_not_equal(id_of(fake_leader(w)), old_id);
    fake_get_is(fake_leader(w), "a", "1");
    get = fake_get(old, "a");
    assert_int_equal(old->rerouted.count, 1);
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
        CASE(replicates_to_all),
        CASE(a_follower_gives_requests_back_to_the_router),
        CASE(no_reply_without_a_majority),
        CASE(a_leader_may_reply_before_its_own_disk),
        CASE(an_overwritten_write_goes_back_to_the_router),
        CASE(a_write_that_survived_the_change_is_done),
        CASE(a_write_of_a_cut_off_leader_ends_as_unknown),
        CASE(a_cut_off_leader_answers_no_reads),
        CASE(a_leader_that_comes_back_keeps_old_and_new_apart),
        CASE(leadership_is_handed_over_on_request),
        CASE(all_crash_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_node_that_was_away_catches_up_from_the_log),
        cmocka_unit_test(a_node_that_was_away_too_long_catches_up_by_snapshot),
        cmocka_unit_test(a_crash_while_installing_is_finished_at_the_next_start),
        CASE(a_slow_disk_holds_its_checkpoint_back),
        cmocka_unit_test(a_read_waits_for_its_index),
        cmocka_unit_test(a_write_below_a_snapshot_is_unknown),
        CASE(old_requests_may_wait_behind_the_end_of_the_log),
        CASE(messages_to_another_replica_are_ignored),
        CASE(a_snapshot_keeps_the_entries_behind_it),
        CASE(a_checkpoint_that_waits_for_an_install_keeps_nobody_awake),
        cmocka_unit_test(compaction_waits_for_a_snapshot_on_its_way),
        CASE(a_damaged_entry_is_fetched_from_a_peer),
        CASE(a_damaged_entry_that_is_overwritten_is_forgotten),
        cmocka_unit_test(a_damaged_entry_is_found_when_it_is_sent),
        CASE(damage_behind_the_checkpoint_is_compacted_away),
        CASE(a_start_survives_damage_behind_the_checkpoint),
        CASE(a_damaged_row_stops_the_replica_and_the_others_go_on),
        cmocka_unit_test(survives_a_storm),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_cluster", tests, NULL, NULL);
}
