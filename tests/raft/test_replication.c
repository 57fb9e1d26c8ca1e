/* tests/raft/test_replication.c - time of entries, windows, heartbeats, sending. */
#include "tests/raft/raft_test.h"

static int propose_stamped(struct raft_cluster *c, raft_id id, uint64_t wall_ms,
                           uint64_t stamp_ms, struct raft_update *up)
{
    struct raft_proposal item = {.payload = kv_bytes("x", 1), .stamp_ms = stamp_ms};
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE, .wall_ms = wall_ms};

    ev.now_ms = raft_cluster_now_ms(c, id);
    ev.u.propose.items = &item;
    ev.u.propose.count = 1;
    return raft_step(c->nodes[id].raft, &ev, up);
}

/* The highest of the previous entry's time, the clock, and the stamp as far as it may
 * lead the clock. */
static void replicated_time_never_goes_back(void **state)
{
    struct raft_cluster *c = cluster_of(1);
    struct raft_update up;
    uint64_t start = 50 * 1000 * 1000;

    (void)state;
    elect(c, 1);
    assert_int_equal(propose_stamped(c, 1, start, 0, &up), 0);
    assert_int_equal(up.entries[0].time_ms, start);
    assert_int_equal(propose_stamped(c, 1, start - 9000, 0, &up), 0);
    assert_int_equal(up.entries[0].time_ms, start); /* The clock went back. */
    assert_int_equal(propose_stamped(c, 1, start + 1, start + 700, &up), 0);
    assert_int_equal(up.entries[0].time_ms,
                     start + 700); /* Not older than the stamp. */
    assert_int_equal(propose_stamped(c, 1, start + 800, start + 99000000, &up), 0);
    assert_int_equal(up.entries[0].time_ms, start + 800 + 10000); /* Capped. */
    assert_int_equal(propose_stamped(c, 1, start + 900, UINT64_MAX, &up), 0);
    assert_int_equal(up.entries[0].time_ms, start + 900 + 10000);
    assert_int_equal(propose_stamped(c, 1, start + 20000, 5, &up), 0);
    assert_int_equal(up.entries[0].time_ms, start + 20000);
    raft_cluster_free(c);
}

static void entries_chain_their_hashes(void **state)
{
    struct raft_cluster *c = cluster_of(1);
    struct raft_update up;
    uint64_t before;

    (void)state;
    elect(c, 1);
    before = status_of(c, 1).last_hash;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(propose_stamped(c, 1, 9000000, 0, &up), 0);
        assert_int_equal(up.entries[0].hash, raft_entry_hash(before, &up.entries[0]));
        before = up.entries[0].hash;
    }
    assert_int_equal(status_of(c, 1).last_hash, before);
    raft_cluster_free(c);
}

static void full_window_appends_nothing(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(1);
    raft_index last;

    (void)state;
    raft_cluster_make(c, 1, &config)->options.window = 16;
    raft_cluster_start(c, 1);
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 12), 0);
    last = status_of(c, 1).last.index;
    assert_int_equal(raft_cluster_propose(c, 1, 1), KV_EBUSY);
    assert_int_equal(status_of(c, 1).last.index, last);
    persist(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 13), KV_EBUSY); /* Never fits. */
    assert_int_equal(raft_cluster_propose(c, 1, 12), 0);
    raft_cluster_free(c);
}

static void refuses_proposals_that_cannot_be(void **state)
{
    struct raft_cluster *c = cluster_of(1);
    static const uint8_t byte;
    struct raft_proposal item = {
        .payload = {.data = &byte, .len = RAFT_RECORD_PAYLOAD_MAX + 1}};
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};

    (void)state;
    elect(c, 1);
    ev.u.propose.items = &item;
    ev.u.propose.count = 1;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EINVAL);
    ev.u.propose.count = 0;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EINVAL);
    ev.u.propose.count = RAFT_PROPOSALS_MAX + 1;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EINVAL);
    raft_cluster_free(c);
}

/* All groups of a node beat together: at multiples of the interval. */
static void heartbeats_come_at_multiples(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(c->nodes[1].deadline_ms % 50, 0);
        drop_all(c);
        time_out(c, 1);
        assert_int_equal(c->queue_count, 2);
        assert_int_equal(c->queue[0].m.type, RAFT_MSG_HEARTBEAT);
        raft_cluster_settle(c);
    }
    raft_cluster_free(c);
}

/* An idle group sends heartbeats and their answers, nothing else. */
static void an_idle_group_only_beats(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    uint64_t before;

    (void)state;
    elect(c, 1);
    raft_cluster_settle(c);
    before = c->messages_sent;
    for (int i = 0; i < 20; i++) {
        pass_ms(c, 50);
        raft_cluster_settle(c);
    }
    assert_int_equal(c->messages_sent - before, 20 * 4);
    raft_cluster_free(c);
}

static void a_late_beat_is_not_made_up_for(void **state)
{
    struct raft_cluster *c = cluster_of(1);

    (void)state;
    elect(c, 1);
    c->now_ms += 1234567;
    (void)raft_cluster_tick(c, 1);
    assert_true(c->nodes[1].deadline_ms > raft_cluster_now_ms(c, 1));
    assert_true(c->nodes[1].deadline_ms <= raft_cluster_now_ms(c, 1) + 50);
    raft_cluster_free(c);
}

/* A batch is cut by entries and by bytes; one entry always goes. */
static void batches_are_bounded(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(2);

    (void)state;
    for (raft_id id = 1; id <= 2; id++) {
        struct raft_cluster_node *n = raft_cluster_make(c, id, &config);

        n->options.append_entries_max = 3;
        n->options.append_bytes_max = 100;
        n->options.flight_messages_max = 1;
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 4), 0);
    assert_int_equal(queued(c, 1, RAFT_MSG_APPEND)->entries_count, 3);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_propose_bytes(c, 1, 500), 0);
    assert_int_equal(queued(c, 1, RAFT_MSG_APPEND)->entries_count, 1);
    drop_all(c);
    assert_int_equal(raft_cluster_propose_bytes(c, 1, 60), 0);
    assert_int_equal(raft_cluster_propose_bytes(c, 1, 60), 0);
    assert_int_equal(c->queue_count, 0); /* The flight is full. */
    raft_cluster_free(c);
}

/* Followers learn the commit index without waiting for a heartbeat. */
static void commit_is_told_at_once(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c); /* No time passes. */
    for (raft_id id = 1; id <= 3; id++) {
        assert_int_equal(status_of(c, id).commit, 2);
    }
    raft_cluster_free(c);
}

/* 15 peers, each with a full flight: the array is not big enough for all at once. */
static void goes_on_when_the_messages_do_not_fit(void **state)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = {.voters_count = 3, .voters = {1, 2, 3}};

    (void)state;
    for (raft_id id = 4; id <= 9; id++) {
        config.learners[config.learners_count++] = id;
    }
    for (raft_id id = 1; id <= 9; id++) {
        struct raft_cluster_node *n = raft_cluster_make(c, id, &config);

        n->options.append_entries_max = 1;
        n->options.flight_messages_max = 32;
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    drop_all(c);
    assert_int_equal(raft_cluster_propose(c, 1, 20), 0);
    assert_int_equal(c->queue_count, RAFT_MESSAGES_MAX);
    assert_int_equal(c->nodes[1].deadline_ms, raft_cluster_now_ms(c, 1)); /* At once. */
    (void)raft_cluster_tick(c, 1);
    (void)raft_cluster_tick(c, 1);
    assert_int_equal(c->queue_count, 8 * 20);
    assert_true(c->nodes[1].deadline_ms > raft_cluster_now_ms(c, 1));
    raft_cluster_settle(c);
    assert_int_equal(status_of(c, 9).last.index, status_of(c, 1).last.index);
    raft_cluster_free(c);
}

/* B37: one voter, and its disk. */
static void alone_commits_what_is_durable(void **state)
{
    struct raft_cluster *c = cluster_of(1);

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 3), 0);
    assert_int_equal(status_of(c, 1).commit, 1);
    (void)raft_cluster_persist(c, 1, 1, false);
    assert_int_equal(status_of(c, 1).commit, 4);
    raft_cluster_free(c);
}

static void status_tells_about_peers(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_status s;

    (void)state;
    elect(c, 1);
    s = status_of(c, 1);
    assert_int_equal(s.peers_count, 2);
    assert_int_equal(s.peers[0].id, 2);
    assert_int_equal(s.peers[0].match, 1);
    assert_int_equal(s.peers[0].next, 2);
    assert_true(s.peers[0].active_ms > 0);
    assert_false(s.peers[0].amnesiac || s.peers[0].in_snapshot);
    assert_int_equal(status_of(c, 2).peers_count, 0);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicated_time_never_goes_back),
        cmocka_unit_test(entries_chain_their_hashes),
        cmocka_unit_test(full_window_appends_nothing),
        cmocka_unit_test(refuses_proposals_that_cannot_be),
        cmocka_unit_test(heartbeats_come_at_multiples),
        cmocka_unit_test(an_idle_group_only_beats),
        cmocka_unit_test(a_late_beat_is_not_made_up_for),
        cmocka_unit_test(batches_are_bounded),
        cmocka_unit_test(commit_is_told_at_once),
        cmocka_unit_test(goes_on_when_the_messages_do_not_fit),
        cmocka_unit_test(alone_commits_what_is_durable),
        cmocka_unit_test(status_tells_about_peers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/replication", tests, NULL, NULL);
}
