/* tests/server/test_group.c - one group alone: durability, reads, results, limits. */
#include "tests/server/fake_env.h"

static int setup(void **state)
{
    struct fake_world *w = fake_world_new(1);

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

static void becomes_leader_and_owns_its_slots(void **state)
{
    struct fake_world *w = *state;

    assert_true(group_is_leader(w->nodes[1].group));
    assert_int_equal(group_leader_node(w->nodes[1].group), 1);
    assert_true(w->nodes[1].changed > 0);
    assert_int_equal(group_state_meta(w->nodes[1].group)->rows_count, 1);
}

static void answers_a_put_only_when_it_is_durable(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t ticket = fake_put(f, "a", "1");

    for (int i = 0; i < 10; i++) {
        w->now_ms += 1;
        fake_turn_begin(f);
        group_tick(f->group);
        fake_turn_end(f);
    }
    assert_int_equal(f->jobs_count[DISK_LANE_LOG], 1);
    assert_false(fake_reply_of(w, ticket)->done);

    assert_true(fake_run_job(f, DISK_LANE_LOG));

    assert_true(fake_reply_of(w, ticket)->done);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_true(fake_reply_of(w, ticket)->rev > 0);
    assert_int_equal(fake_reply_of(w, ticket)->at.group, FAKE_GROUP);
    assert_int_equal(fake_reply_of(w, ticket)->at.node, 1);
    assert_int_equal(fake_reply_of(w, ticket)->at.rev, fake_reply_of(w, ticket)->rev);
}

static void a_get_sees_the_put_before_it(void **state)
{
    struct fake_world *w = *state;

    fake_put_ok(&w->nodes[1], "a", "1");
    fake_get_is(&w->nodes[1], "a", "1");
    fake_put_ok(&w->nodes[1], "a", "2");
    fake_get_is(&w->nodes[1], "a", "2");
    fake_get_is(&w->nodes[1], "b", NULL);
}

/* What queues while the disk works goes in the next commit, all of it. */
static void writes_of_a_turn_share_one_commit(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    struct disk_stats before, after;
    uint64_t tickets[100];

    (void)fake_put(f, "first", "x");
    disk_stats_get(f->node->disk, &before);
    for (int i = 0; i < 100; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        tickets[i] = fake_put(f, key, "v");
    }
    assert_true(fake_run_job(f, DISK_LANE_LOG));
    assert_false(fake_reply_of(w, tickets[0])->done);
    assert_true(fake_run_job(f, DISK_LANE_LOG));
    disk_stats_get(f->node->disk, &after);

    assert_int_equal(after.log_jobs, before.log_jobs + 1);
    for (int i = 0; i < 100; i++) {
        assert_true(fake_reply_of(w, tickets[i])->done);
        assert_int_equal(fake_reply_of(w, tickets[i])->error, 0);
    }
}

static void revisions_grow_and_reads_repeat_them(void **state)
{
    struct fake_world *w = *state;
    uint64_t a = fake_put(&w->nodes[1], "a", "1");
    uint64_t b = fake_put(&w->nodes[1], "b", "1");
    uint64_t get;

    fake_settle(w);
    get = fake_get(&w->nodes[1], "a");
    fake_settle(w);

    assert_true(fake_reply_of(w, b)->rev > fake_reply_of(w, a)->rev);
    assert_int_equal(fake_reply_of(w, get)->rev, fake_reply_of(w, a)->rev);
    assert_true(fake_reply_of(w, get)->at.rev >= fake_reply_of(w, b)->rev);
}

static void delete_says_whether_there_was_one(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t first, second;

    fake_put_ok(f, "a", "1");
    first = fake_submit(f, fake_request(f, RPC_KV_DEL, "a", NULL));
    second = fake_submit(f, fake_request(f, RPC_KV_DEL, "a", NULL));
    fake_settle(w);

    assert_true(fake_reply_of(w, first)->deleted);
    assert_int_equal(fake_reply_of(w, second)->error, 0);
    assert_false(fake_reply_of(w, second)->deleted);
    fake_get_is(f, "a", NULL);
}

static uint64_t cas(struct fake_node *f, const char *key, const char *expected,
                    const char *replacement)
{
    struct request *req = fake_request(f, RPC_KV_CAS, key, NULL);

    req->rpc.has_expected = expected != NULL;
    req->rpc.has_replacement = replacement != NULL;
    req->rpc.expected = expected == NULL ? kv_bytes(NULL, 0) : kv_bytes_str(expected);
    req->rpc.replacement =
        replacement == NULL ? kv_bytes(NULL, 0) : kv_bytes_str(replacement);
    return fake_submit(f, req);
}

static void cas_swaps_only_what_is_expected(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t make = cas(f, "a", NULL, "1");
    uint64_t again = cas(f, "a", NULL, "2");
    uint64_t right = cas(f, "a", "1", "3");
    uint64_t drop = cas(f, "a", "3", NULL);
    uint64_t gone = cas(f, "a", "3", "4");

    fake_settle(w);

    assert_true(fake_reply_of(w, make)->swapped);
    assert_false(fake_reply_of(w, again)->swapped);
    assert_true(fake_reply_of(w, again)->has_value);
    assert_string_equal(fake_reply_of(w, again)->value, "1");
    assert_int_equal(fake_reply_of(w, again)->rev, fake_reply_of(w, make)->rev);
    assert_true(fake_reply_of(w, right)->swapped);
    assert_true(fake_reply_of(w, drop)->swapped);
    assert_false(fake_reply_of(w, gone)->swapped);
    assert_false(fake_reply_of(w, gone)->has_value);
    assert_int_equal(fake_reply_of(w, gone)->rev, 0);
}

static uint64_t incr(struct fake_node *f, const char *key, int64_t delta)
{
    struct request *req = fake_request(f, RPC_KV_INCR, key, NULL);

    req->rpc.delta = delta;
    return fake_submit(f, req);
}

static void incr_counts_and_refuses_what_is_no_number(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t one = incr(f, "n", 5);
    uint64_t two = incr(f, "n", -7);
    uint64_t bad;

    fake_put_ok(f, "text", "12x");
    bad = incr(f, "text", 1);
    fake_settle(w);

    assert_int_equal(fake_reply_of(w, one)->number, 5);
    assert_int_equal(fake_reply_of(w, two)->number, -2);
    fake_get_is(f, "n", "-2");
    assert_int_equal(fake_reply_of(w, bad)->error, KV_EBADREQUEST);
    fake_get_is(f, "text", "12x");
}

static void range_pages_through_the_group(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    struct request *req;
    uint64_t ticket;

    for (int i = 0; i < 20; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%02d", i);
        fake_put_ok(f, key, "v");
    }
    req = fake_request(f, RPC_KV_RANGE, "", NULL);
    req->rpc.begin = kv_bytes_str("k05");
    req->rpc.end = kv_bytes_str("k15");
    req->rpc.options.limit = 4;
    ticket = fake_submit(f, req);
    fake_settle(w);

    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->items, 4);
    assert_string_equal(fake_reply_of(w, ticket)->first_key, "k05");
    assert_string_equal(fake_reply_of(w, ticket)->last_key, "k08");
    assert_true(fake_reply_of(w, ticket)->more);

    req = fake_request(f, RPC_KV_RANGE, "", NULL);
    req->rpc.begin = kv_bytes_str("k15");
    ticket = fake_submit(f, req);
    fake_settle(w);
    assert_int_equal(fake_reply_of(w, ticket)->items, 5);
    assert_false(fake_reply_of(w, ticket)->more);
}

/* Bounds may have one byte more than keys: key + NUL. */
static void range_takes_bounds_longer_than_a_key(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    char longest[KV_KEY_BYTES_MAX + 2] = {0};
    char bound[KV_KEY_BYTES_MAX + 1] = {0};
    struct request *req;
    uint64_t ticket;

    memset(longest, 'm', KV_KEY_BYTES_MAX);
    memcpy(bound, longest, KV_KEY_BYTES_MAX);
    fake_put_ok(f, longest, "v");
    fake_put_ok(f, "z", "v");
    req = fake_request(f, RPC_KV_RANGE, "", NULL);
    req->rpc.begin = kv_bytes(bound, sizeof bound);
    ticket = fake_submit(f, req);
    fake_settle(w);
    assert_int_equal(fake_reply_of(w, ticket)->error, 0);
    assert_int_equal(fake_reply_of(w, ticket)->items, 1);
    assert_string_equal(fake_reply_of(w, ticket)->first_key, "z");

    req = fake_request(f, RPC_KV_RANGE, "", NULL);
    req->rpc.end = kv_bytes(bound, sizeof bound);
    ticket = fake_submit(f, req);
    fake_settle(w);
    assert_int_equal(fake_reply_of(w, ticket)->items, 1);

    memset(bound, 0xff, sizeof bound);
    req = fake_request(f, RPC_KV_RANGE, "", NULL);
    req->rpc.begin = kv_bytes(bound, sizeof bound);
    ticket = fake_submit(f, req);
    fake_settle(w);
    assert_int_equal(fake_reply_of(w, ticket)->items, 0);
}

static void the_group_meta_holds_no_keys(void **state)
{
    struct fake_world *w = fake_world_new(1);
    uint64_t ticket;

    (void)state;
    w->group_id = NODE_META_GROUP;
    fake_world_start(w);
    fake_elect(w);
    ticket = fake_put(&w->nodes[1], "a", "1");
    assert_int_equal(fake_reply_of(w, ticket)->error, KV_EBADREQUEST);
    fake_world_free(w);
}

static void meta_applies_a_map_and_tells_the_node(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct command c = {.kind = COMMAND_MAP_SET, .epoch = 1};
    uint8_t payload[64];

    (void)state;
    w->group_id = NODE_META_GROUP;
    fake_world_start(w);
    fake_elect(w);
    c.map = kv_bytes_str("a map");
    command_encode(&c, payload);
    assert_int_equal(
        group_propose(w->nodes[1].group, kv_bytes(payload, command_bytes(&c))), 0);
    fake_settle(w);
    assert_int_equal(w->nodes[1].maps_applied, 1);

    /* It replaces epoch 0, which is no longer there. */
    assert_int_equal(
        group_propose(w->nodes[1].group, kv_bytes(payload, command_bytes(&c))), 0);
    fake_settle(w);
    assert_int_equal(w->nodes[1].maps_applied, 1);
    fake_world_free(w);
}

/* ---- deadlines and limits ---- */

static void a_write_in_the_log_past_its_deadline_is_unknown(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    struct request *req = fake_request(f, RPC_KV_PUT, "a", "1");
    uint64_t ticket;

    req->deadline_ms = w->now_ms + 10;
    ticket = fake_submit(f, req);
    w->now_ms += 20;
    fake_turn_begin(f);
    group_tick(f->group);
    fake_turn_end(f);

    assert_int_equal(fake_reply_of(w, ticket)->error, KV_EUNKNOWN);
    assert_non_null(strstr(fake_reply_of(w, ticket)->text, "read the key"));
    /* And it may be applied nevertheless. */
    fake_settle(w);
    fake_get_is(f, "a", "1");
}

static void a_write_that_never_was_appended_times_out(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct fake_node *f = &w->nodes[1];
    struct request *req;
    uint64_t ticket;

    (void)state;
    fake_world_start(w);
    f->node->map_known = false; /* The group does not know its slots: requests wait. */
    fake_elect(w);
    req = fake_request(f, RPC_KV_PUT, "a", "1");
    req->deadline_ms = w->now_ms + 100;
    ticket = fake_submit(f, req);
    fake_pass_ms(w, 50);
    assert_false(fake_reply_of(w, ticket)->done);
    fake_pass_ms(w, 100);

    assert_int_equal(fake_reply_of(w, ticket)->error, KV_ETIMEOUT);

    f->node->map_known = true;
    fake_pass_ms(w, 100);
    fake_put_ok(f, "a", "1");
    fake_world_free(w);
}

static void full_disk_refuses_puts_lets_deletes_through_and_heals(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t stuck, refused, del;

    fake_put_ok(f, "a", "1");
    mem_store_full(f->mem, true);
    stuck = fake_put(f, "b", "2");
    fake_settle(w);
    assert_false(fake_reply_of(w, stuck)->done);
    assert_true(disk_no_space(f->node->disk));

    refused = fake_put(f, "c", "3");
    assert_int_equal(fake_reply_of(w, refused)->error, KV_ENOSPACE);
    fake_get_is(f, "a", "1");
    del = fake_submit(f, fake_request(f, RPC_KV_DEL, "a", NULL));
    fake_settle(w);
    assert_true(fake_reply_of(w, del)->done);
    assert_int_equal(fake_reply_of(w, del)->error, 0);
    assert_false(f->halted);

    mem_store_full(f->mem, false);
    fake_pass_ms(w, 1500);
    assert_int_equal(fake_reply_of(w, stuck)->error, 0);
    fake_put_ok(f, "c", "3");
}

static void a_failed_commit_halts_the_node(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t ticket = fake_put(f, "a", "1");

    mem_store_fail(f->mem, 1, KV_EIO, false);
    (void)fake_run_job(f, DISK_LANE_LOG);

    assert_true(f->halted);
    assert_int_equal(f->halt_code, KV_EIO);
    assert_false(fake_reply_of(w, ticket)->done);
}

static void too_many_writes_get_busy_at_once(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint32_t busy = 0;
    uint64_t first = w->tickets + 1;

    w->quiet_replies = true;
    fake_turn_begin(f);
    for (int i = 0; i < 12000; i++) {
        group_submit(f->group, fake_request(f, RPC_KV_PUT, "a", "1"));
    }
    (void)first;
    fake_turn_end(f);
    for (int i = 0; i < FAKE_TICKETS_MAX; i++) {
        busy += w->replies[i].done && w->replies[i].error == KV_EBUSY;
    }
    assert_true(busy > 0);
    fake_settle(w);
    assert_int_equal(group_requests_count(f->group), 0);
    w->quiet_replies = false;
    memset(w->replies, 0, sizeof w->replies);
    fake_put_ok(f, "a", "2");
}

/* ---- restart ---- */

static void a_restart_replays_what_was_acknowledged(void **state)
{
    struct fake_world *w = *state;
    uint64_t hash;

    for (int i = 0; i < 50; i++) {
        char key[16], value[16];

        (void)snprintf(key, sizeof key, "k%d", i % 20);
        (void)snprintf(value, sizeof value, "v%d", i);
        fake_put_ok(&w->nodes[1], key, value);
    }
    hash = group_state_meta(w->nodes[1].group)->state_hash;
    fake_crash(&w->nodes[1]);
    fake_restart(w, 1);
    fake_elect(w);

    assert_int_equal(group_state_meta(w->nodes[1].group)->state_hash, hash);
    fake_get_is(&w->nodes[1], "k9", "v49");
}

static void a_checkpoint_and_a_restart_give_the_same_state(void **state)
{
    struct fake_world *w = *state;
    struct group_stats stats;
    uint64_t hash;

    for (int i = 0; i < 50; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        fake_put_ok(&w->nodes[1], key, "old");
        if (i == 30) {
            fake_pass_ms(w, 2500);
        }
    }
    group_stats_get(w->nodes[1].group, &stats);
    assert_int_equal(stats.checkpoints, 1);
    hash = group_state_meta(w->nodes[1].group)->state_hash;
    fake_crash(&w->nodes[1]);
    fake_restart(w, 1);
    assert_true(group_state_meta(w->nodes[1].group)->applied.pos.index > 30);
    fake_elect(w);

    assert_int_equal(group_state_meta(w->nodes[1].group)->state_hash, hash);
    fake_get_is(&w->nodes[1], "k49", "old");
}

/* The state on disk never runs ahead of the durable log. */
static void no_checkpoint_ahead_of_the_durable_log(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];

    fake_put_ok(f, "a", "1");
    (void)fake_put(f, "b", "1"); /* Its log job does not run. */
    w->now_ms += 3000;
    fake_turn_begin(f);
    group_tick(f->group);
    fake_turn_end(f);
    while (fake_run_job(f, DISK_LANE_STATE)) {
    }
    fake_settle(w); /* mem_store asserts that checkpoint <= log. */
    fake_get_is(f, "b", "1");
}

static void the_log_is_compacted_behind_the_checkpoint(void **state)
{
    struct fake_world *w = fake_world_new(1);
    struct raft_status status;
    struct group_stats stats;

    (void)state;
    w->options.log_window = 64;
    w->options.tail_bytes_max = 4096;
    fake_world_start(w);
    fake_elect(w);
    for (int i = 0; i < 400; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i % 10);
        fake_put_ok(&w->nodes[1], key, "value");
    }
    fake_settle(w);
    group_raft_status(w->nodes[1].group, &status);
    group_stats_get(w->nodes[1].group, &stats);

    assert_true(stats.compactions > 0);
    assert_true(status.base.pos.index > 200);
    assert_true(stats.tail_bytes < 64 * 1024);
    fake_crash(&w->nodes[1]);
    fake_restart(w, 1);
    fake_elect(w);
    fake_get_is(&w->nodes[1], "k9", "value");
    fake_world_free(w);
}

/* Few large values must not take more than many small ones. */
static void the_log_is_bounded_in_bytes_as_well(void **state)
{
    struct fake_world *w = fake_world_new(1);
    static char value[401];
    struct raft_status status;

    (void)state;
    w->options.log_bytes_max = 10000;
    fake_world_start(w);
    fake_elect(w);
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 200; i++) {
        fake_put_ok(&w->nodes[1], "key", value);
        fake_pass_ms(w, 100);
    }
    group_raft_status(w->nodes[1].group, &status);

    /* At least half of what may be kept is; a checkpoint comes with each half. */
    assert_in_range(status.last.index - status.base.pos.index, 5000 / 500,
                    (10000 + 8000 + 8000) / 400);
    fake_crash(&w->nodes[1]);
    fake_restart(w, 1);
    fake_elect(w);
    for (int i = 0; i < 100; i++) { /* What was there before is bounded, too. */
        fake_put_ok(&w->nodes[1], "key", value);
        fake_pass_ms(w, 100);
    }
    group_raft_status(w->nodes[1].group, &status);
    assert_in_range(status.last.index - status.base.pos.index, 5000 / 500,
                    (10000 + 8000 + 8000) / 400);
    fake_world_free(w);
}

/* A full disk: what is in the state need not be in the log. */
static void a_full_disk_gives_up_the_log_behind_the_checkpoint(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    struct raft_status status;
    raft_index checkpoint;

    for (int i = 0; i < 50; i++) {
        fake_put_ok(f, "key", "value");
    }
    fake_pass_ms(w, 2500);
    checkpoint = group_state_meta(f->group)->applied.pos.index;
    assert_true(checkpoint >= 50);
    group_raft_status(f->group, &status);
    assert_int_equal(status.base.pos.index, 0);

    mem_store_full(f->mem, true);
    (void)fake_put(f, "key", "more");
    fake_pass_ms(w, 2500);

    group_raft_status(f->group, &status);
    assert_true(status.base.pos.index >= checkpoint);
}

static void a_full_disk_delays_a_checkpoint_and_nothing_else(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    struct group_stats stats;

    fake_put_ok(f, "a", "1");
    w->now_ms += 3000;
    fake_turn_begin(f);
    group_tick(f->group);
    fake_turn_end(f);
    assert_int_equal(f->jobs_count[DISK_LANE_STATE], 1);
    mem_store_fail(f->mem, 1, KV_ENOSPACE, false);
    assert_true(fake_run_job(f, DISK_LANE_STATE));
    fake_get_is(f, "a", "1");
    fake_put_ok(f, "b", "1");
    group_stats_get(f->group, &stats);
    assert_int_equal(stats.checkpoints, 0);

    fake_pass_ms(w, 4000);
    group_stats_get(f->group, &stats);
    assert_true(stats.checkpoints >= 1);
    assert_false(f->halted);
    fake_crash(f);
    fake_restart(w, 1);
    fake_elect(w);
    fake_get_is(f, "a", "1");
    fake_get_is(f, "b", "1");
}

static void an_idle_group_is_never_dirty(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];

    fake_put_ok(f, "a", "1");
    fake_pass_ms(w, 5000);
    assert_false(group_is_dirty(f->group));
    assert_true(group_deadline_ms(f->group) > w->now_ms);
    fake_turn_begin(f);
    group_expire(f->group, w->now_ms);
    assert_false(group_is_dirty(f->group));
}

/* A request of one group ends when its group ends. */
static void closing_ends_what_is_open(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *f = &w->nodes[1];
    uint64_t put = fake_put(f, "a", "1");

    f->jobs_count[DISK_LANE_LOG] = 0; /* The disk never answers. */
    group_close(f->group);
    assert_int_equal(fake_reply_of(w, put)->error, KV_EUNKNOWN);
    assert_int_equal(request_pool_count(f->node->requests), 0);
    fake_node_free(f);
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(becomes_leader_and_owns_its_slots),
        CASE(answers_a_put_only_when_it_is_durable),
        CASE(a_get_sees_the_put_before_it),
        CASE(writes_of_a_turn_share_one_commit),
        CASE(revisions_grow_and_reads_repeat_them),
        CASE(delete_says_whether_there_was_one),
        CASE(cas_swaps_only_what_is_expected),
        CASE(incr_counts_and_refuses_what_is_no_number),
        CASE(range_pages_through_the_group),
        CASE(range_takes_bounds_longer_than_a_key),
        cmocka_unit_test(the_group_meta_holds_no_keys),
        cmocka_unit_test(meta_applies_a_map_and_tells_the_node),
        CASE(a_write_in_the_log_past_its_deadline_is_unknown),
        cmocka_unit_test(a_write_that_never_was_appended_times_out),
        CASE(full_disk_refuses_puts_lets_deletes_through_and_heals),
        CASE(a_failed_commit_halts_the_node),
        CASE(too_many_writes_get_busy_at_once),
        CASE(a_restart_replays_what_was_acknowledged),
        CASE(a_checkpoint_and_a_restart_give_the_same_state),
        CASE(no_checkpoint_ahead_of_the_durable_log),
        cmocka_unit_test(the_log_is_compacted_behind_the_checkpoint),
        cmocka_unit_test(the_log_is_bounded_in_bytes_as_well),
        CASE(a_full_disk_gives_up_the_log_behind_the_checkpoint),
        CASE(a_full_disk_delays_a_checkpoint_and_nothing_else),
        CASE(an_idle_group_is_never_dirty),
        CASE(closing_ends_what_is_open),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group", tests, NULL, NULL);
}
