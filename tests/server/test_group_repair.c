/* tests/server/test_group_repair.c - damaged entries and rows. */
#include "tests/server/fake_cluster.h"

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

    /* Not believed: the record of another index, and another record of this one. */
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

static void flip_row(struct fake_node *n, const char *key)
{
    assert_true(mem_store_flip_row(n->mem, FAKE_GROUP, ROW_KV, kv_bytes_str(key), 77));
}

/* The others go on; it comes back with a snapshot, which ends before what it holds. */
static void a_leader_with_a_damaged_row_steps_down_and_takes_a_snapshot(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *old = fake_leader(w);
    uint32_t old_id = id_of(old);
    struct raft_status status;
    uint64_t get;

    fake_put_ok(old, "a", "1");
    fake_pass_ms(w, 3000); /* Checkpointed, out of the delta. */
    fake_put_ok(old, "b", "1");
    flip_row(old, "a");
    get = fake_get(old, "a");
    fake_settle(w);

    assert_int_equal(fake_reply_of(w, get)->error, KV_EDAMAGED);
    assert_int_equal(group_halted(old->group), 0);
    assert_false(group_is_leader(old->group));
    group_raft_status(old->group, &status);
    assert_true(status.impaired);
    get = fake_get(old, "b"); /* Not from a state that is damaged. */
    assert_int_equal(old->rerouted.count, 1);
    fake_pass_ms(w, 2000);
    assert_non_null(fake_leader(w));
    assert_int_not_equal(id_of(fake_leader(w)), old_id);
    fake_get_is(fake_leader(w), "a", "1");
    fake_put_ok(fake_leader(w), "c", "1");
    fake_pass_ms(w, 2000);

    group_raft_status(old->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
    fake_crash(old);
    fake_restart(w, old_id); /* So does its disk. */
    fake_pass_ms(w, 1000);
    assert_converged(w);
}

/* Nothing is written meanwhile, and the follower's log is as long as the leader's. */
static void a_follower_with_a_damaged_row_takes_a_snapshot(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct fake_node *victim = follower_of(w, leader);
    struct store_damage damage = {.group = FAKE_GROUP, .in_state = true};
    struct raft_status status;

    fake_put_ok(leader, "a", "1");
    fake_pass_ms(w, 3000);
    flip_row(victim, "a");
    fake_turn_begin(victim);
    group_on_damage(victim->group, &damage);
    fake_turn_end(victim);
    fake_settle(w);
    group_raft_status(victim->group, &status);
    assert_true(status.impaired);
    fake_pass_ms(w, 2000);

    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_ptr_equal(fake_leader(w), leader);
    assert_converged(w);
    fake_put_ok(leader, "a", "2"); /* It reads and writes the row again. */
    fake_pass_ms(w, 3000);
    assert_converged(w);
}

/* The others' logs do not go back so far any more: their state takes its place. */
static void an_entry_that_nobody_has_any_more_is_replaced_by_a_snapshot(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct fake_node *victim;
    struct raft_status status;
    raft_index index;
    uint32_t id;

    (void)state;
    fake_world_start(w);
    victim = follower_of(w, fake_elect(w));
    id = id_of(victim);
    for (int i = 0; i < 40; i++) {
        fake_put_ok(fake_leader(w), "a", "1");
    }
    fake_pass_ms(w, 200);
    index = group_state_meta(victim->group)->applied.pos.index;
    fake_crash(victim); /* Nothing of it is checkpointed there. */
    assert_true(mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, index - 5, 99));
    w->options.log_window = 4;
    for (uint32_t other = 1; other <= 3; other++) {
        if (other != id) {
            fake_crash(&w->nodes[other]);
            fake_restart(w, other);
        }
    }
    (void)fake_elect(w);
    for (int i = 0; i < 10; i++) {
        fake_put_ok(fake_leader(w), "c", "1");
    }
    fake_pass_ms(w, 5000);
    fake_restart(w, id);
    fake_pass_ms(w, 5000);

    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
    fake_put_ok(fake_leader(w), "b", "1");
    assert_converged(w);
    fake_world_free(w);
}

/* The leader knows that it acked everything: it has nothing to send by itself. */
static void an_acked_entry_that_nobody_has_any_more_is_replaced_too(void **state)
{
    struct fake_world *w = fake_world_new(3);
    struct store_damage damage = {.group = FAKE_GROUP};
    struct fake_node *victim;
    struct raft_status status;
    uint32_t id;

    (void)state;
    w->options.tail_bytes_max = 2048;
    w->options.checkpoint_ms_max = 1000000;
    fake_world_start(w);
    victim = follower_of(w, fake_elect(w));
    id = id_of(victim);
    for (int i = 0; i < 200; i++) {
        fake_put_ok(fake_leader(w), "a", "1");
    }
    w->options.log_window = 4;
    for (uint32_t other = 1; other <= 3; other++) {
        if (other != id) {
            fake_crash(&w->nodes[other]);
            fake_restart(w, other);
        }
    }
    if (fake_elect(w) == victim) {
        assert_int_equal(group_transfer(victim->group, id % 3 + 1), 0);
        fake_pass_ms(w, 500);
    }
    for (int i = 0; i < 10; i++) {
        fake_put_ok(fake_leader(w), "c", "1");
        fake_pass_ms(w, 100);
    }
    fake_pass_ms(w, 1000);
    assert_converged(w);
    damage.index = 50;
    assert_true(mem_store_flip_entry(victim->mem, FAKE_GROUP, damage.index, 99));
    fake_turn_begin(victim);
    group_on_damage(victim->group, &damage);
    fake_turn_end(victim);
    group_raft_status(victim->group, &status);
    assert_true(status.impaired);
    fake_pass_ms(w, 5000);

    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
    fake_world_free(w);
}

/* A file that rotted at the sender is found by who gets it, and made again. */
static void a_damaged_snapshot_file_is_made_again(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    struct fake_node *victim = follower_of(w, leader);
    struct store_damage damage = {.group = FAKE_GROUP, .in_state = true};
    struct raft_status status;
    struct group_stats stats;

    fake_put_ok(leader, "a", "1");
    fake_pass_ms(w, 3000);
    fake_turn_begin(victim);
    group_on_damage(victim->group, &damage);
    fake_turn_end(victim);
    mem_store_full(victim->mem, true); /* It is made, and cannot be stored yet. */
    fake_pass_ms(w, 500);
    assert_true(mem_store_flip_file(leader->mem, FAKE_GROUP, false, 805));
    mem_store_full(victim->mem, false);
    fake_pass_ms(w, 3000);
    group_stats_get(leader->group, &stats);
    assert_true(stats.snapshots_made >= 2);
    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
}

/* The rows that a group reads when it opens are rows like others. */
static void a_start_survives_a_damaged_row(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *victim = follower_of(w, fake_leader(w));
    uint32_t id = id_of(victim);
    struct raft_status status;

    fake_put_ok(fake_leader(w), "a", "1");
    fake_pass_ms(w, 3000);
    fake_crash(victim);
    assert_true(mem_store_flip_row(victim->mem, FAKE_GROUP, ROW_OWNED,
                                   kv_bytes_str("slots"), 77));
    fake_restart(w, id);
    fake_pass_ms(w, 2000);

    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    fake_put_ok(fake_leader(w), "b", "1");
    assert_converged(w);
    assert_int_equal(group_transfer(fake_leader(w)->group, id), 0);
    fake_pass_ms(w, 1000);
    assert_ptr_equal(fake_leader(w), victim);
    fake_put_ok(victim, "c", "1"); /* It knows which slots are its own. */
}

/* There is nobody who could send it a snapshot. */
static void a_damaged_row_halts_the_only_voter(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct fake_node *n;

    (void)state;
    fake_world_start(w);
    n = fake_elect(w);
    fake_put_ok(n, "a", "1");
    fake_pass_ms(w, 3000);
    flip_row(n, "a");
    (void)fake_get(n, "a");
    fake_settle(w);
    assert_int_equal(group_halted(n->group), KV_EDAMAGED);
    fake_world_free(w);
}

static void a_damaged_entry_halts_the_only_voter(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct fake_node *n;
    raft_index index;

    (void)state;
    fake_world_start(w);
    n = fake_elect(w);
    for (int i = 0; i < 10; i++) {
        fake_put_ok(n, "a", "1");
    }
    index = group_state_meta(n->group)->applied.pos.index;
    fake_crash(n); /* Nothing of it is checkpointed. */
    assert_true(mem_store_flip_entry(n->mem, FAKE_GROUP, index - 3, 99));
    fake_restart(w, 1);
    fake_pass_ms(w, 1000);
    assert_int_equal(group_halted(w->nodes[1].group), KV_EDAMAGED);
    fake_world_free(w);
}

/* Answers a node's newest question as its peers would. */
static bool answer_fetch(struct fake_world *w, struct fake_node *victim)
{
    struct kv_bytes record;
    struct raft_entry entry;

    if (victim->fetch_index == 0 ||
        group_records(fake_leader(w)->group, victim->fetch_index - 1, 1, &record) !=
            1 ||
        raft_record_decode(record, &entry) != 0 ||
        (victim->fetch_hash != 0 && victim->fetch_hash != entry.hash)) {
        return false;
    }
    fake_turn_begin(victim);
    group_on_fetched(victim->group, victim->fetch_index, record);
    victim->fetch_index = 0;
    fake_turn_end(victim);
    fake_settle(w);
    return true;
}

/* A damaged page takes neighbours along, up to the end of the log. */
static void neighbours_that_are_damaged_together_are_repaired(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *victim;
    struct raft_status status;
    raft_index last;
    uint32_t id;

    for (int i = 0; i < 30; i++) {
        fake_put_ok(fake_leader(w), "a", "1");
    }
    fake_pass_ms(w, 200);
    victim = follower_of(w, fake_leader(w));
    id = id_of(victim);
    last = group_state_meta(victim->group)->applied.pos.index;
    fake_crash(victim);
    for (raft_index i = last - 20; i < last - 10; i++) {
        assert_true(mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, i, 99));
    }
    for (raft_index i = last - 3; i <= last; i++) {
        assert_true(mem_store_flip_entry(w->nodes[id].mem, FAKE_GROUP, i, 77));
    }
    fake_restart(w, id);
    for (int i = 0; i < 60; i++) {
        fake_pass_ms(w, 100);
        (void)answer_fetch(w, victim);
    }
    group_raft_status(victim->group, &status);
    assert_false(status.impaired);
    assert_converged(w);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_damaged_entry_is_fetched_from_a_peer),
        CASE(neighbours_that_are_damaged_together_are_repaired),
        CASE(a_damaged_entry_that_is_overwritten_is_forgotten),
        cmocka_unit_test(a_damaged_entry_is_found_when_it_is_sent),
        CASE(damage_behind_the_checkpoint_is_compacted_away),
        CASE(a_start_survives_damage_behind_the_checkpoint),
        CASE(a_leader_with_a_damaged_row_steps_down_and_takes_a_snapshot),
        CASE(a_follower_with_a_damaged_row_takes_a_snapshot),
        cmocka_unit_test(an_entry_that_nobody_has_any_more_is_replaced_by_a_snapshot),
        cmocka_unit_test(an_acked_entry_that_nobody_has_any_more_is_replaced_too),
        CASE(a_damaged_snapshot_file_is_made_again),
        CASE(a_start_survives_a_damaged_row),
        cmocka_unit_test(a_damaged_row_halts_the_only_voter),
        cmocka_unit_test(a_damaged_entry_halts_the_only_voter),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_repair", tests, NULL, NULL);
}
