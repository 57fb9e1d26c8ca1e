/* tests/raft/test_damage.c - entries that cannot be read while the group is running.
 *
 * Old entries are not in the window of 16 and come through the reader; the simulated
 * disk refuses to read one of them.
 */
#include "tests/raft/raft_test.h"

enum {
    ENTRIES = 40
};

/* Two replicas with 40 durable entries of term 1, all but four applied; stopped. */
static struct raft_cluster *long_logs(void)
{
    struct raft_cluster *c = stopped_cluster_of(3);

    for (raft_id id = 1; id <= 2; id++) {
        c->nodes[id].options.window = 16;
        for (int i = 0; i < ENTRIES; i++) {
            disk_entry(c, id, 1);
        }
        c->nodes[id].disk.applied = ENTRIES - 4;
        c->nodes[id].disk.config_index = 1;
    }
    c->nodes[3].options.window = 16;
    return c;
}

static struct raft_msg append_behind(struct raft_cluster *c, raft_index index)
{
    const struct raft_entry *e = raft_disk_log_get(&c->nodes[2].disk.log, index);

    return (struct raft_msg){.type = RAFT_MSG_APPEND,
                             .from = 1,
                             .to = 2,
                             .term = 2,
                             .prev = e->pos,
                             .prev_hash = e->hash};
}

/* Their promises are about logs, which are whole: else nobody would be left to send
 * them a state. */
static void a_majority_without_states_elects_who_has_one(void **state)
{
    struct raft_cluster *c = cluster_of(3);

    (void)state;
    c->auto_snapshot = true;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 20), 0);
    raft_cluster_settle(c);
    for (raft_id id = 1; id <= 3; id++) {
        raft_cluster_checkpoint(c, id);
    }
    raft_cluster_crash(c, 1, 0);
    raft_cluster_lose(c, 2);
    raft_cluster_lose(c, 3);
    for (int i = 0; i < 40; i++) {
        pass_ms(c, 50);
        raft_cluster_settle(c);
    }
    assert_int_equal(raft_cluster_leader(c), 0); /* Neither of them leads. */
    raft_cluster_start(c, 1);
    for (int i = 0; i < 40; i++) {
        pass_ms(c, 50);
        raft_cluster_settle(c);
    }
    assert_int_equal(c->nodes[1].role, RAFT_LEADER);
    assert_false(status_of(c, 2).impaired);
    assert_false(status_of(c, 3).impaired);
    assert_int_equal(raft_cluster_propose(c, 1, 1), 0);
    raft_cluster_settle(c);
    assert_int_equal(status_of(c, 1).commit, status_of(c, 1).last.index);
    raft_cluster_free(c);
}

/* Who cannot ack still says that it is there: a probe that was lost is sent again. */
static void a_lost_probe_to_an_impaired_follower_is_repeated(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)state;
    for (int i = 0; i < ENTRIES; i++) {
        disk_entry(c, 3, 1);
    }
    c->nodes[3].disk.applied = ENTRIES - 4;
    c->nodes[3].disk.config_index = 1;
    for (raft_id id = 1; id <= 3; id++) {
        raft_cluster_start(c, id);
    }
    c->nodes[2].disk.damaged = 5;
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    c->blocked[1][2] = true;
    elect(c, 1);
    drop_all(c);
    c->blocked[1][2] = false;
    for (int i = 0; i < 4; i++) {
        pass_ms(c, 60);
        raft_cluster_settle(c);
    }
    assert_int_equal(status_of(c, 2).last.index, status_of(c, 1).last.index);
    raft_cluster_free(c);
}

/* It cannot compare, so it says so; nothing changes, not even the term. */
static void follower_reports_an_entry_it_cannot_compare(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_msg m = append_behind(c, 5);

    (void)state;
    raft_cluster_start(c, 2);
    c->nodes[2].disk.damaged = 5;
    assert_int_equal(send_msg(c, &m), KV_EDAMAGED);
    assert_int_equal(status_of(c, 2).term, 1);
    raft_cluster_free(c);
}

/* Impaired: the message is heard, without an opinion. */
static void impaired_follower_has_no_opinion(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_msg m = append_behind(c, 5);
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)state;
    raft_cluster_start(c, 2);
    c->nodes[2].disk.damaged = 5;
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 2);
    assert_int_equal(status_of(c, 2).leader, 1);
    assert_int_equal(c->queue_count, 0); /* Neither ack nor rejection. */
    c->nodes[2].disk.damaged = 0;
    ev.u.impaired = false;
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    assert_int_equal(send_msg(c, &m), 0);
    assert_int_equal(queued(c, 2, RAFT_MSG_APPEND_REPLY)->match, ENTRIES - 4);
    raft_cluster_free(c);
}

/* Replica 2 holds three entries of the lost term 2 behind a committed one; those from
 * `damaged` to `end` cannot be read. Replica 1 leads term 4 with others in their place,
 * the first of them of term `first`. */
static struct raft_cluster *lost_term(raft_index damaged, raft_index end,
                                      raft_term first)
{
    struct raft_cluster *c = stopped_cluster_of(3);

    c->nodes[2].disk.damaged = damaged;
    c->nodes[2].disk.damaged_end = end;
    for (raft_id id = 1; id <= 3; id++) {
        disk_entry(c, id, 1);
        c->nodes[id].options.window = 16;
        for (int i = 0; i < 30; i++) {
            disk_entry(c, id, 1);
        }
        for (int i = 0; i < 3; i++) {
            disk_entry(c, id, id == 2 ? 2 : i == 0 ? first : 3);
        }
        c->nodes[id].disk.applied = 30;
        c->nodes[id].disk.commit_hint = 31;
        c->nodes[id].disk.config_index = 1;
        raft_cluster_start(c, id);
    }
    elect(c, 1);
    raft_cluster_settle(c);
    return c;
}

/* The leader hears where the logs do not agree, and replaces what is damaged. */
static void impaired_follower_is_backed_up(void **state)
{
    (void)state;
    for (raft_index damaged = 32; damaged <= 34; damaged++) {
        struct raft_cluster *c = lost_term(damaged, damaged, 3);

        assert_true(status_of(c, 2).impaired);
        assert_int_equal(status_of(c, 2).last.index, 35);
        assert_int_equal(status_of(c, 2).last.term, 4);
        assert_int_equal(hash_at(c, 2, 34), hash_at(c, 1, 34));
        for (uint32_t i = 0; i < status_of(c, 1).peers_count; i++) {
            const struct raft_status s = status_of(c, 1);

            /* But nothing was promised. */
            assert_int_equal(s.peers[i].match, s.peers[i].id == 2 ? 0 : 35);
        }
        raft_cluster_free(c);
    }
}

/* Its first entry is older than ours: that it is another one shows only further on. */
static void a_damaged_entry_is_replaced_by_an_older_one(void **state)
{
    struct raft_cluster *c = lost_term(32, 32, 1);

    (void)state;
    assert_int_equal(status_of(c, 2).last.index, 35);
    assert_int_equal(hash_at(c, 2, 32), hash_at(c, 1, 32));
    assert_int_equal(hash_at(c, 2, 35), hash_at(c, 1, 35));
    raft_cluster_free(c);
}

/* Nothing of ours can be read from there on: the leader's entries take its place. */
static void a_damaged_end_is_replaced_as_a_whole(void **state)
{
    struct raft_cluster *c = lost_term(32, 34, 1);

    (void)state;
    assert_int_equal(status_of(c, 2).last.index, 35);
    assert_int_equal(hash_at(c, 2, 32), hash_at(c, 1, 32));
    assert_int_equal(hash_at(c, 2, 35), hash_at(c, 1, 35));
    raft_cluster_free(c);
}

/* The update of that step is whole: the other peer is served, the step reports. */
static void leader_reports_an_entry_it_cannot_send(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};

    (void)state;
    raft_cluster_start(c, 1);
    raft_cluster_start(c, 2);
    elect(c, 1);
    raft_cluster_start(c, 3); /* Empty: needs everything from 1 on. */
    c->nodes[1].disk.damaged = 5;
    pass_ms(c, 60);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_propose(c, 1, 1), KV_EDAMAGED);
    assert_int_equal(status_of(c, 1).last.index, ENTRIES + 2); /* Appended. */
    raft_cluster_settle(c);
    assert_int_equal(status_of(c, 2).last.index, ENTRIES + 2); /* And sent. */
    assert_int_equal(raft_cluster_step(c, 1, &ev), 0);
    assert_int_equal(status_of(c, 1).role, RAFT_FOLLOWER);
    elect(c, 2); /* The whole one takes over and serves the empty one. */
    assert_int_equal(status_of(c, 3).last.index, status_of(c, 2).last.index);
    raft_cluster_free(c);
}

/* Storage lost an entry that it had: nothing that goes away. */
static void a_missing_entry_is_corruption(void **state)
{
    struct raft_cluster *c = long_logs();

    (void)state;
    raft_cluster_start(c, 1);
    raft_cluster_start(c, 2);
    elect(c, 1);
    raft_cluster_start(c, 3);
    c->nodes[1].disk.missing = 5;
    pass_ms(c, 60);
    raft_cluster_settle(c);
    assert_int_equal(raft_cluster_tick(c, 1), KV_ECORRUPT);
    raft_cluster_free(c);
}

/* An ack cannot be given when its hash cannot be read. */
static void acks_wait_for_a_readable_hash(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_msg m = append_behind(c, 5);

    (void)state;
    c->nodes[2].disk.applied = 2;
    raft_cluster_start(c, 2);
    c->nodes[2].disk.damaged = 6;
    m.prev = raft_disk_log_get(&c->nodes[2].disk.log, 6)->pos;
    m.prev_hash = raft_disk_log_get(&c->nodes[2].disk.log, 6)->hash;
    assert_int_equal(send_msg(c, &m), KV_EDAMAGED);
    c->nodes[2].disk.damaged = 0;
    assert_int_equal(send_msg(c, &m), 0);
    c->nodes[2].disk.damaged = 6; /* Between the message and the answer. */
    persist(c, 2);
    assert_null(queued(c, 2, RAFT_MSG_APPEND_REPLY));
    c->nodes[2].disk.damaged = 0;
    (void)raft_cluster_tick(c, 2);
    assert_int_equal(queued(c, 2, RAFT_MSG_APPEND_REPLY)->match, 6);
    raft_cluster_free(c);
}

/* A leader that begins its log there must be told, or it sends that for ever and never
 * comes to the entries behind it, of which one is damaged. */
static void an_impaired_follower_says_that_it_has_a_snapshot(void **state)
{
    struct raft_cluster *c = long_logs();
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 2, .term = 2};
    struct raft_event ev = {.kind = RAFT_EV_IMPAIRED, .u.impaired = true};
    const struct raft_entry *last =
        raft_disk_log_get(&c->nodes[2].disk.log, ENTRIES - 4);

    (void)state;
    raft_cluster_start(c, 2);
    c->nodes[2].disk.damaged = ENTRIES;
    assert_int_equal(raft_cluster_step(c, 2, &ev), 0);
    m.snapshot = (struct raft_snapshot){.id = 7,
                                        .bytes = 1,
                                        .last = {.pos = last->pos, .hash = last->hash},
                                        .config = voters_upto(3),
                                        .config_index = 1};
    m.chunk = (struct raft_chunk){
        .snapshot_id = 7, .len = 1, .done = true, .data = kv_bytes("x", 1)};
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 2); /* The new term. */
    assert_int_equal(send_msg(c, &m), 0);
    assert_non_null(queued(c, 2, RAFT_MSG_SNAPSHOT_REPLY));
    assert_true(queued(c, 2, RAFT_MSG_SNAPSHOT_REPLY)->chunk.done);
    raft_cluster_free(c);
}

/* Gives node 2 a snapshot that ends at entry 10 with this term; it is installed when
 * storage has moved its base, and entry 10 is too old for the core's window. */
static struct raft_cluster *installed_at_ten(raft_term term, raft_index damaged)
{
    struct raft_cluster *c = long_logs();
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 2, .term = 2};
    const struct raft_entry *last = raft_disk_log_get(&c->nodes[2].disk.log, 10);

    c->nodes[2].disk.applied = 2;
    raft_cluster_start(c, 2);
    m.snapshot = (struct raft_snapshot){
        .id = 7,
        .bytes = 1,
        .last = {.pos = {10, term}, .hash = term == last->pos.term ? last->hash : 77},
        .config = voters_upto(3),
        .config_index = 1};
    m.chunk = (struct raft_chunk){
        .snapshot_id = 7, .len = 1, .done = true, .data = kv_bytes("x", 1)};
    assert_int_equal(send_msg(c, &m), 0);
    c->nodes[2].disk.damaged = damaged;
    for (int i = 0; i < 3; i++) {
        persist(c, 2);
    }
    assert_int_equal(c->installs, 1);
    assert_int_equal(status_of(c, 2).base.pos.index, 10);
    assert_int_equal(status_of(c, 2).applied, 10);
    return c;
}

static void a_snapshot_over_an_old_entry_keeps_what_follows(void **state)
{
    struct raft_cluster *c = installed_at_ten(1, 0);

    (void)state;
    assert_int_equal(status_of(c, 2).last.index, ENTRIES);
    raft_cluster_free(c);
}

/* Damage says nothing about whose history it is: what was acked stays. */
static void a_snapshot_before_a_damaged_entry_keeps_what_follows(void **state)
{
    struct raft_cluster *c = installed_at_ten(1, 11);

    (void)state;
    assert_int_equal(status_of(c, 2).last.index, ENTRIES);
    raft_cluster_free(c);
}

static void a_snapshot_of_another_history_drops_what_follows(void **state)
{
    struct raft_cluster *c = installed_at_ten(2, 0);

    (void)state;
    assert_int_equal(status_of(c, 2).last.index, 10);
    raft_cluster_free(c);
}

/* A snapshot inside the log leaves a newer configuration in force. */
static void a_snapshot_keeps_a_newer_configuration(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_config four = voters_upto(3);
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 2, .term = 1};
    raft_index at;

    (void)state;
    four.learners_count = 1;
    four.learners[0] = 4;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 2), 0);
    assert_int_equal(raft_cluster_propose_config(c, 1, &four), 0);
    deliver(c, 1, 2);
    persist(c, 2);
    m.snapshot = (struct raft_snapshot){
        .id = 1,
        .last = {.pos = {2, 1}, .hash = hash_at(c, 2, 2)},
        .bytes = 1,
        .config = voters_upto(3),
        .config_index = 1,
    };
    m.chunk = (struct raft_chunk){
        .snapshot_id = 1, .len = 1, .done = true, .data = kv_bytes("x", 1)};
    assert_int_equal(send_msg(c, &m), 0);
    persist(c, 2);
    assert_int_equal(status_of(c, 2).base.pos.index, 2);
    assert_int_equal(raft_config_get(c->nodes[2].raft, &at)->learners_count, 1);
    assert_int_equal(at, 4);
    raft_cluster_free(c);
}

/* The same place, another hash: one of the two was changed. */
static void a_snapshot_with_another_hash_is_corruption(void **state)
{
    struct raft_cluster *c = cluster_of(3);
    struct raft_msg m = {.type = RAFT_MSG_SNAPSHOT, .from = 1, .to = 2, .term = 1};
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED};

    (void)state;
    elect(c, 1);
    assert_int_equal(raft_cluster_propose(c, 1, 2), 0);
    deliver(c, 1, 2);
    persist(c, 2);
    m.snapshot = (struct raft_snapshot){.id = 1,
                                        .last = {.pos = {2, 1}, .hash = 77},
                                        .bytes = 1,
                                        .config = voters_upto(3)};
    m.chunk = (struct raft_chunk){
        .snapshot_id = 1, .len = 1, .done = true, .data = kv_bytes("x", 1)};
    assert_int_equal(send_msg(c, &m), 0);
    (void)raft_cluster_persist(c, 2, 1, false);
    ev.u.snapshot = &m.snapshot;
    assert_int_equal(raft_cluster_step(c, 2, &ev), KV_ECORRUPT);
    raft_cluster_free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_majority_without_states_elects_who_has_one),
        cmocka_unit_test(a_lost_probe_to_an_impaired_follower_is_repeated),
        cmocka_unit_test(follower_reports_an_entry_it_cannot_compare),
        cmocka_unit_test(impaired_follower_has_no_opinion),
        cmocka_unit_test(impaired_follower_is_backed_up),
        cmocka_unit_test(a_damaged_entry_is_replaced_by_an_older_one),
        cmocka_unit_test(a_damaged_end_is_replaced_as_a_whole),
        cmocka_unit_test(leader_reports_an_entry_it_cannot_send),
        cmocka_unit_test(a_missing_entry_is_corruption),
        cmocka_unit_test(acks_wait_for_a_readable_hash),
        cmocka_unit_test(an_impaired_follower_says_that_it_has_a_snapshot),
        cmocka_unit_test(a_snapshot_over_an_old_entry_keeps_what_follows),
        cmocka_unit_test(a_snapshot_before_a_damaged_entry_keeps_what_follows),
        cmocka_unit_test(a_snapshot_of_another_history_drops_what_follows),
        cmocka_unit_test(a_snapshot_keeps_a_newer_configuration),
        cmocka_unit_test(a_snapshot_with_another_hash_is_corruption),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/damage", tests, NULL, NULL);
}
