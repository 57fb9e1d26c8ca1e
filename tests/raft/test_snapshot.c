/* tests/raft/test_snapshot.c - chunks under loss, failures and restarts. */
#include "tests/raft/raft_test.h"

/* 1 leads three; 3 is cut off while the others go on and compact their logs. */
static struct raft_cluster *cluster_with_laggard(void)
{
    struct raft_cluster *c = cluster_of(3);

    elect(c, 1);
    c->blocked[1][3] = true;
    assert_int_equal(raft_cluster_propose(c, 1, 9), 0);
    raft_cluster_settle(c);
    raft_cluster_checkpoint(c, 1);
    raft_cluster_compact(c, 1, 8, true);
    return c;
}

/* The laggard is back and the leader notices. */
static void reconnect(struct raft_cluster *c)
{
    memset(c->blocked, 0, sizeof c->blocked);
    pass_ms(c, 120);
    deliver(c, 1, 0);
    deliver(c, 0, 1);
}

static void wanted_until_one_is_ready(void **state)
{
    struct raft_cluster *c = cluster_with_laggard();

    (void)state;
    c->auto_snapshot = false;
    reconnect(c);
    assert_true(c->nodes[1].snapshot_wanted);
    (void)raft_cluster_tick(c, 1);
    assert_true(c->nodes[1].snapshot_wanted);
    raft_cluster_snapshot(c, 1, 0);
    assert_false(c->nodes[1].snapshot_wanted);
    assert_true(status_of(c, 1).peers[1].in_snapshot);
    raft_cluster_settle(c);
    pass_ms(c, 50);
    raft_cluster_settle(c);
    assert_false(status_of(c, 1).peers[1].in_snapshot);
    assert_int_equal(status_of(c, 3).commit, 10);
    raft_cluster_free(c);
}

/* After a failure it is not asked for again at once. */
static void a_failure_puts_the_wish_off(void **state)
{
    struct raft_cluster *c = cluster_with_laggard();
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_FAILED};

    (void)state;
    c->auto_snapshot = false;
    reconnect(c);
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    assert_false(c->nodes[1].snapshot_wanted);
    pass_ms(c, 50);
    assert_true(c->nodes[1].snapshot_wanted);
    raft_cluster_free(c);
}

static void a_snapshot_before_the_base_is_of_no_use(void **state)
{
    struct raft_cluster *c = cluster_with_laggard();
    struct raft_snapshot old = {.id = 9, .bytes = 10, .config = voters_upto(3)};
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_READY, .u.snapshot = &old};

    (void)state;
    c->auto_snapshot = false;
    reconnect(c);
    old.last.pos = (struct raft_pos){3, 1};
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    assert_null(queued(c, 1, RAFT_MSG_SNAPSHOT));
    raft_cluster_free(c);
}

static void chunks_in_flight_are_bounded(void **state)
{
    struct raft_cluster *c = cluster_with_laggard();
    uint32_t chunks = 0;

    (void)state;
    reconnect(c);
    for (uint32_t i = 0; i < c->queue_count; i++) {
        chunks += c->queue[i].m.type == RAFT_MSG_SNAPSHOT;
    }
    assert_int_equal(chunks, 2); /* Of three: snapshot_flight_max. */
    raft_cluster_free(c);
}

/* The receiver has all of it, and it is damaged: the sender must not send the same
 * bytes for ever. */
static void a_snapshot_that_a_peer_refuses_is_made_anew(void **state)
{
    struct raft_cluster *c = cluster_with_laggard();
    struct raft_msg m = {
        .type = RAFT_MSG_SNAPSHOT_REPLY, .from = 3, .to = 1, .rejected = true};
    struct raft_event ev = {
        .kind = RAFT_EV_MESSAGE, .now_ms = c->now_ms, .u.message = &m};
    struct raft_update up;

    (void)state;
    reconnect(c);
    m.term = status_of(c, 1).term;
    m.chunk.snapshot_id = c->nodes[1].snapshot.id;
    ev.now_ms = raft_cluster_now_ms(c, 1);
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_int_equal(up.snapshot_bad, 0); /* A gap: it has not got all of it yet. */
    m.rejected = false;
    m.chunk.offset = c->nodes[1].snapshot.bytes;
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    m.rejected = true;
    m.chunk.offset = 0;
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_int_equal(up.snapshot_bad, c->nodes[1].snapshot.id);
    assert_false(up.snapshot_wanted); /* Not at once. */
    ev = (struct raft_event){.kind = RAFT_EV_TICK, .now_ms = ev.now_ms + 60};
    assert_int_equal(raft_step(c->nodes[1].raft, &ev, &up), 0);
    assert_int_equal(up.snapshot_bad, 0);
    assert_true(up.snapshot_wanted);
    raft_cluster_free(c);
}

/* Everything that can be lost is lost once; it arrives all the same. */
static void survives_every_single_loss(void **state)
{
    bool more = true;

    (void)state;
    for (uint64_t lost = 0; more && lost < 100; lost++) {
        struct raft_cluster *c = cluster_with_laggard();
        uint64_t seen = 0;

        reconnect(c);
        more = false;
        for (int round = 0; round < 60 && status_of(c, 3).commit < 10; round++) {
            while (c->queue_count > 0) {
                if (seen++ == lost) {
                    more = true;
                    raft_cluster_drop(c, 0);
                    continue;
                }
                raft_cluster_deliver(c, 0, false);
                persist(c, 3);
            }
            pass_ms(c, 30);
        }
        assert_int_equal(status_of(c, 3).commit, 10);
        assert_int_equal(c->nodes[3].role, RAFT_FOLLOWER);
        raft_cluster_free(c);
    }
}

/* The receiver dies at each point of the way; it starts over and arrives. */
static void survives_a_crash_at_every_step(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 14; at++) {
        struct raft_cluster *c = cluster_with_laggard();
        uint64_t seen = 0;

        reconnect(c);
        for (int round = 0; round < 80 && status_of(c, 3).commit < 10; round++) {
            while (c->queue_count > 0) {
                raft_cluster_deliver(c, 0, false);
                if (seen++ == at) {
                    raft_cluster_crash(c, 3, (uint32_t)(at % 2));
                    raft_cluster_start(c, 3);
                }
                (void)raft_cluster_persist(c, 3, 1, false);
            }
            persist(c, 3);
            pass_ms(c, 30);
        }
        assert_int_equal(status_of(c, 3).commit, 10);
        raft_cluster_free(c);
    }
}

/* The same snapshot goes on under a new leader: (id, offset) is enough. */
static void resumes_by_id_and_offset_under_a_new_leader(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 3, .term = 4};

    (void)state;
    m.snapshot = (struct raft_snapshot){.id = 5,
                                        .last = {.pos = {9, 3}, .hash = 1},
                                        .bytes = 8,
                                        .config = voters_upto(3)};
    m.chunk =
        (struct raft_chunk){.snapshot_id = 5, .len = 4, .data = kv_bytes("abcd", 4)};
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 3);
    m.from = 2;
    m.term = 5;
    m.chunk.offset = 4;
    m.chunk.done = true;
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 3);
    assert_int_equal(status_of(c, 3).base.pos.index, 9);
    assert_int_equal(status_of(c, 3).term, 5);
    raft_cluster_free(c);
}

/* Its configuration is checked before it is adopted (B14). */
static void refuses_a_snapshot_with_an_impossible_configuration(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 3, .term = 4};

    (void)state;
    m.snapshot = (struct raft_snapshot){.id = 5, .last = {.pos = {9, 3}}, .bytes = 4};
    m.chunk = (struct raft_chunk){
        .snapshot_id = 5, .len = 4, .done = true, .data = kv_bytes("abcd", 4)};
    assert_int_equal(send_msg(c, &m), KV_EPROTO); /* Nobody votes. */
    m.snapshot.config = voters_upto(3);
    m.snapshot.config.w = 1;
    assert_int_equal(send_msg(c, &m), KV_EPROTO);
    m.snapshot.config.w = 0;
    m.chunk.data.len = 3;
    assert_int_equal(send_msg(c, &m), KV_EPROTO); /* Lengths differ. */
    m.chunk.data.len = 4;
    m.chunk.done = false;
    assert_int_equal(send_msg(c, &m), KV_EPROTO); /* It is the last. */
    m.chunk.done = true;
    assert_int_equal(send_msg(c, &m), 0);
    m.snapshot.bytes = 8;
    m.chunk.done = false;
    assert_int_equal(send_msg(c, &m), KV_EPROTO); /* The same id, another content. */
    raft_cluster_free(c);
}

static void an_install_that_nobody_asked_for_is_refused(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_snapshot s = {
        .id = 5, .last = {.pos = {9, 3}}, .config = voters_upto(3)};
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED, .u.snapshot = &s};

    (void)state;
    assert_int_equal(raft_cluster_step(c, 1, &ev), KV_EINVAL);
    assert_int_equal(status_of(c, 1).base.pos.index, 0);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted_until_one_is_ready),
        cmocka_unit_test(a_failure_puts_the_wish_off),
        cmocka_unit_test(a_snapshot_before_the_base_is_of_no_use),
        cmocka_unit_test(chunks_in_flight_are_bounded),
        cmocka_unit_test(a_snapshot_that_a_peer_refuses_is_made_anew),
        cmocka_unit_test(survives_every_single_loss),
        cmocka_unit_test(survives_a_crash_at_every_step),
        cmocka_unit_test(resumes_by_id_and_offset_under_a_new_leader),
        cmocka_unit_test(refuses_a_snapshot_with_an_impossible_configuration),
        cmocka_unit_test(an_install_that_nobody_asked_for_is_refused),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/snapshot", tests, NULL, NULL);
}
