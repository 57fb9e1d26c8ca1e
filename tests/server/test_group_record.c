/* tests/server/test_group_record.c - sessions over leaders, restarts and time. */
#include "server/group_internal.h"
#include "tests/server/fake_cluster.h"

enum {
    RETENTION_MS = 2000,
    WALL_MS0 = 1700000000, /* fake_wall_ms() at 0, in thousands. */
};

static int setup_small(void **state)
{
    struct fake_world *w = fake_world_new(3);

    w->options.limits.retention_ms = RETENTION_MS;
    fake_world_start(w);
    fake_elect(w);
    *state = w;
    return 0;
}

static uint64_t wall_ms(const struct fake_world *w)
{
    return (uint64_t)WALL_MS0 * 1000 + w->now_ms;
}

/* A put of session `session`; each key is a request of its own. */
static uint64_t put(struct fake_node *f, const char *key, uint64_t session,
                    uint64_t stamp_ms)
{
    struct request *req = fake_request(f, RPC_KV_PUT, key, "v");

    req->rpc.options.session = session;
    req->rpc.options.seq = 1;
    req->rpc.options.stamp = stamp_ms;
    req->rpc.options.has |= RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq) |
                            RPC_OPT_BIT(RPC_OPT_stamp);
    return fake_submit(f, req);
}

static const struct fake_reply *put_done(struct fake_node *f, const char *key,
                                         uint64_t session, uint64_t stamp_ms)
{
    uint64_t ticket = put(f, key, session, stamp_ms);

    fake_settle(f->world);
    assert_true(fake_reply_of(f->world, ticket)->done);
    return fake_reply_of(f->world, ticket);
}

static uint32_t records(struct fake_node *f)
{
    struct arena arena;
    struct row *rows;
    uint32_t count;
    bool more;

    arena_init(&arena, 4096, 0);
    assert_int_equal(state_range(group_state(f->group), ROW_RECORD, kv_bytes(NULL, 0),
                                 kv_bytes(NULL, 0), 1000, 1 << 20, &arena, &rows,
                                 &count, &more),
                     0);
    arena_close(&arena);
    return count;
}

static void a_retry_at_the_next_leader_finds_the_result(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t stamp = wall_ms(w);
    uint64_t rev = put_done(leader, "a", 7, stamp)->rev;
    const struct fake_reply *again;

    fake_crash(leader);
    leader = fake_elect(w);
    again = put_done(leader, "a", 7, stamp);
    assert_int_equal(again->error, 0);
    assert_true(again->rev == rev);
}

static void all_restart_and_a_retry_finds_the_result(void **state)
{
    struct fake_world *w = *state;
    uint64_t stamp = wall_ms(w);
    uint64_t rev = put_done(fake_leader(w), "a", 7, stamp)->rev;

    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        fake_crash(&w->nodes[id]);
    }
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        fake_restart(w, id);
    }
    assert_true(put_done(fake_elect(w), "a", 7, stamp)->rev == rev);
}

/* The node that was away has the record from the snapshot alone, and leads later. */
static void a_retry_finds_the_result_in_a_snapshot(void **state)
{
    struct fake_world *w = fake_world_new(3);
    const struct fake_reply *again;
    struct group_stats stats;
    struct fake_node *away;
    uint64_t stamp;
    uint64_t rev;
    uint32_t id;

    (void)state;
    w->options.log_window = 64;
    w->options.checkpoint_ms_max = 300;
    fake_world_start(w);
    away = follower_of(w, fake_elect(w));
    id = id_of(away);
    fake_crash(away);
    stamp = wall_ms(w);
    rev = put_done(fake_elect(w), "a", 7, stamp)->rev;
    for (int i = 0; i < 1000; i++) { /* Its entry is compacted away. */
        fake_put_ok(fake_leader(w), "b", "new");
        if (i % 100 == 0) {
            fake_pass_ms(w, 100);
        }
    }
    fake_restart(w, id);
    fake_pass_ms(w, 3000);
    group_stats_get(away->group, &stats);
    assert_true(stats.snapshots_installed >= 1);
    assert_int_equal(records(away), 1);

    for (uint32_t i = 0; i < 30 && fake_leader(w) != away; i++) {
        uint32_t leads = id_of(fake_leader(w));

        fake_crash(fake_leader(w));
        (void)fake_elect(w);
        fake_restart(w, leads);
        fake_pass_ms(w, 500);
    }
    assert_true(fake_leader(w) == away);
    again = put_done(away, "a", 7, stamp);
    assert_int_equal(again->error, 0);
    assert_true(again->rev == rev);
    assert_converged(w);
    fake_world_free(w);
}

static void the_leader_forgets_in_time_and_not_before(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t stamp = wall_ms(w);

    (void)put_done(leader, "a", 7, stamp);
    fake_pass_ms(w, RETENTION_MS / 2);
    (void)put_done(fake_leader(w), "a", 8, wall_ms(w));
    fake_pass_ms(w, RETENTION_MS / 2 - 100);
    assert_int_equal(records(fake_leader(w)), 2);
    fake_pass_ms(w, 500);
    assert_int_equal(records(fake_leader(w)), 1);
    fake_pass_ms(w, RETENTION_MS);
    assert_int_equal(records(fake_leader(w)), 0);
    assert_int_equal(put_done(fake_leader(w), "a", 7, stamp)->error, KV_ESESSION);
    assert_converged(w);
}

static void many_records_are_forgotten_in_steps(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    uint64_t stamp = wall_ms(w);

    for (uint64_t session = 1; session <= 2 * RECORD_SWEEP_ROWS_MAX + 10; session++) {
        (void)put(leader, "a", session, stamp);
        if (session % 50 == 0) {
            fake_settle(w);
        }
    }
    fake_settle(w);
    assert_int_equal(records(leader), 2 * RECORD_SWEEP_ROWS_MAX + 10);
    fake_pass_ms(w, RETENTION_MS + 1000);
    assert_int_equal(records(fake_leader(w)), 0);
    assert_converged(w);
}

/* Nothing is looked at, and nothing proposed, for a group without records. */
static void without_records_there_is_nothing_to_do(void **state)
{
    struct fake_world *w = *state;
    struct fake_node *leader = fake_leader(w);
    raft_index last;

    fake_put_ok(leader, "a", "1");
    fake_pass_ms(w, 1000);
    last = group_state_meta(leader->group)->applied.pos.index;
    fake_pass_ms(w, 5 * RETENTION_MS);
    assert_true(fake_leader(w) == leader);
    assert_int_equal(group_state_meta(leader->group)->applied.pos.index, last);
    assert_true(group_record_deadline_ms(leader->group) == UINT64_MAX);
}

/* While apply waits for a checkpoint it cannot be done: to be due would be to spin. */
static void nothing_is_due_while_apply_lags_behind(void **state)
{
    struct fake_world *w = *state;
    struct group *g = fake_leader(w)->group;

    (void)put_done(fake_leader(w), "a", 7, wall_ms(w));
    assert_true(group_record_deadline_ms(g) < UINT64_MAX);
    g->commit++;
    assert_true(group_record_deadline_ms(g) == UINT64_MAX);
    g->commit--;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_retry_at_the_next_leader_finds_the_result),
        CASE(all_restart_and_a_retry_finds_the_result),
        cmocka_unit_test(a_retry_finds_the_result_in_a_snapshot),
        CASE(the_leader_forgets_in_time_and_not_before),
        CASE(many_records_are_forgotten_in_steps),
        CASE(without_records_there_is_nothing_to_do),
        CASE(nothing_is_due_while_apply_lags_behind),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_record", tests, NULL, NULL);
}
