/* tests/server/test_disk.c - the group commit, merging, full disks, who gets what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "raft/record.h"
#include "server/disk.h"
#include "server/env.h"
#include "server/node.h"
#include "tests/lib/mem_store.h"

enum {
    GROUPS = 8
};

struct group {
    raft_index last;
    uint64_t hash;
    uint64_t writes_done;
    struct raft_persisted persisted;
    uint32_t jobs;
    int job_result;
    uint32_t pressed;
};

struct world {
    struct env env; /* First. */
    struct node *node;
    struct mem_store *mem;
    struct disk *disk;
    struct group groups[GROUPS];
    struct disk_job *jobs[16];
    uint32_t jobs_count;
    bool halted;
    int halt_code;
    uint8_t bytes[1 << 20]; /* Records; never reused within a test. */
    size_t used;
};

/* ---- what other files define ---- */

static struct world *world_of(const struct node *n)
{
    return (struct world *)(void *)n->env;
}

void node_log(struct node *n, enum log_level level, const char *format, ...)
{
    (void)n;
    (void)level;
    (void)format;
}

void node_halt(struct node *n, int code, const char *format, ...)
{
    (void)format;
    n->phase = NODE_HALTED;
    world_of(n)->halted = true;
    world_of(n)->halt_code = code;
}

void group_on_log_done(struct group *g, const struct raft_persisted *persisted,
                       uint32_t writes)
{
    g->writes_done += writes;
    g->persisted = *persisted;
}

void group_on_job(struct group *g, struct disk_job *job)
{
    g->jobs++;
    g->job_result = job->result;
}

void group_on_no_space(struct group *g)
{
    g->pressed++;
}

static uint64_t now_us(struct env *e)
{
    return ((struct world *)(void *)e)->node->now_ms * 1000;
}

static void submit(struct env *e, struct disk_job *job)
{
    struct world *w = (struct world *)(void *)e;

    assert_true(w->jobs_count < KV_ARRAY_COUNT(w->jobs));
    w->jobs[w->jobs_count++] = job;
}

static const struct env_ops ops = {.now_us = now_us, .disk_submit = submit};

/* ---- the world ---- */

static int setup(void **state)
{
    struct world *w = kv_mem_zalloc(sizeof *w);

    assert_non_null(w);
    w->env.ops = &ops;
    w->node = kv_mem_zalloc(sizeof *w->node);
    assert_non_null(w->node);
    w->node->env = &w->env;
    w->node->phase = NODE_RUNNING;
    w->node->now_ms = 1000;
    w->node->groups = kv_mem_zalloc(GROUPS * sizeof(struct group *));
    w->node->groups_cap = GROUPS;
    for (uint32_t i = 0; i < GROUPS; i++) {
        w->node->groups[i] = &w->groups[i];
    }
    assert_int_equal(mem_store_new(1, &w->mem), 0);
    assert_int_equal(disk_new(w->node, &w->env, mem_store_base(w->mem), &w->disk), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    disk_free(w->disk);
    mem_store_free(w->mem);
    kv_mem_free(w->node->groups);
    kv_mem_free(w->node);
    kv_mem_free(w);
    return 0;
}

/* Adds `count` entries of `term` behind the group's last one. */
static void add(struct world *w, group_id id, raft_term term, uint32_t count,
                bool urgent)
{
    struct group *g = &w->groups[id];
    struct kv_bytes records[32];
    struct log_write lw = {.group = id, .urgent = urgent, .records = records};
    struct raft_persisted p = {.term = term};

    assert_true(count <= KV_ARRAY_COUNT(records));
    lw.first_index = g->last + 1;
    lw.records_count = count;
    lw.store_hard = true;
    lw.term = term;
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry e = {.pos = {g->last + 1, term}, .type = RAFT_ENTRY_NOOP};
        size_t len = raft_record_bytes(0);

        e.hash = raft_entry_hash(g->hash, &e);
        g->hash = e.hash;
        g->last++;
        assert_true(w->used + len <= sizeof w->bytes);
        raft_record_encode(&e, w->bytes + w->used);
        records[i] = kv_bytes(w->bytes + w->used, len);
        w->used += len;
        p.last = e.pos;
    }
    disk_log_add(w->disk, &lw, &p);
    memset(records, 0xee, sizeof records); /* The array was copied. */
}

/* Runs the job handed out last. */
static void run(struct world *w)
{
    struct disk_job *job;

    assert_true(w->jobs_count > 0);
    job = w->jobs[--w->jobs_count];
    disk_job_run(job);
    disk_done(w->disk, job);
}

static raft_index stored(struct world *w, group_id id)
{
    struct log_state log;
    struct store *s = mem_store_base(w->mem);

    assert_int_equal(s->ops->log_load(s, id, &log), 0);
    return log.last.pos.index;
}

static void one_job_carries_what_all_groups_queued(void **state)
{
    struct world *w = *state;
    struct disk_stats stats;

    add(w, 1, 1, 1, false);
    disk_flush(w->disk);
    add(w, 1, 1, 2, false);
    add(w, 2, 1, 3, false);
    add(w, 1, 1, 1, false);
    disk_flush(w->disk); /* The first one is still under way. */
    assert_int_equal(w->jobs_count, 1);
    run(w);
    assert_int_equal(w->groups[1].writes_done, 1);
    assert_int_equal(w->groups[1].persisted.last.index, 1);
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 1);
    assert_int_equal(w->jobs[0]->u.log.count, 2); /* One merged write per group. */
    run(w);

    assert_int_equal(w->groups[1].writes_done, 3);
    assert_int_equal(w->groups[1].persisted.last.index, 4);
    assert_int_equal(w->groups[2].writes_done, 1);
    assert_int_equal(stored(w, 1), 4);
    assert_int_equal(stored(w, 2), 3);
    disk_stats_get(w->disk, &stats);
    assert_int_equal(stats.log_jobs, 2);
    assert_int_equal(stats.log_records, 7);
}

static void an_idle_disk_hands_out_nothing(void **state)
{
    struct world *w = *state;

    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 0);
    assert_true(disk_deadline_ms(w->disk) == UINT64_MAX);
}

static void the_newest_hard_state_wins_in_a_merge(void **state)
{
    struct world *w = *state;
    struct log_write lw = {.group = 1, .store_hard = true, .term = 5, .vote = 2};
    struct raft_persisted p = {.term = 5, .vote = 2};
    struct log_state log;
    struct store *s = mem_store_base(w->mem);

    add(w, 1, 4, 1, false);
    disk_log_add(w->disk, &lw, &p);
    disk_flush(w->disk);
    run(w);
    assert_int_equal(s->ops->log_load(s, 1, &log), 0);
    assert_int_equal(log.term, 5);
    assert_int_equal(log.vote, 2);
    assert_int_equal(w->groups[1].persisted.term, 5);
    assert_int_equal(w->groups[1].persisted.last.index, 1); /* Kept from the entries. */
}

static void a_later_write_replaces_entries_that_wait(void **state)
{
    struct world *w = *state;
    uint64_t hash;

    add(w, 1, 1, 2, false);
    hash = w->groups[1].hash;
    add(w, 1, 1, 3, false);
    w->groups[1].last = 2;
    w->groups[1].hash = hash;
    add(w, 1, 2, 1, false); /* Index 3 again, of term 2. */
    disk_flush(w->disk);
    assert_int_equal(w->jobs[0]->u.log.count, 1);
    assert_int_equal(w->jobs[0]->u.log.writes[0].records_count, 3);
    run(w);
    assert_int_equal(stored(w, 1), 3);
    assert_int_equal(w->groups[1].persisted.last.term, 2);
}

static void a_reset_stands_alone_and_keeps_its_place(void **state)
{
    struct world *w = *state;
    struct raft_base base = {.pos = {100, 3}, .hash = 77};
    struct log_write lw = {.group = 1, .reset_to = &base, .urgent = true};
    struct raft_persisted p = {.term = 3};

    add(w, 1, 3, 2, false);
    disk_log_add(w->disk, &lw, &p);
    memset(&base, 0, sizeof base); /* It was copied. */
    w->groups[1].last = 100;
    w->groups[1].hash = 77;
    add(w, 1, 3, 2, false);
    disk_flush(w->disk);
    assert_int_equal(w->jobs[0]->u.log.count, 3);
    run(w);
    assert_int_equal(stored(w, 1), 102);
    assert_int_equal(w->groups[1].writes_done, 3);
}

static void a_full_disk_keeps_everything_and_lets_the_urgent_go_first(void **state)
{
    struct world *w = *state;

    mem_store_full(w->mem, true);
    add(w, 1, 1, 2, false);
    add(w, 2, 1, 1, false);
    disk_flush(w->disk);
    run(w);
    assert_true(disk_no_space(w->disk));
    assert_int_equal(w->groups[1].writes_done, 0);
    assert_int_equal(w->groups[1].pressed,
                     1); /* All are told, also who wrote nothing. */
    assert_int_equal(w->groups[3].pressed, 1);
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 0); /* Nothing urgent, too early to try again. */

    add(w, 3, 1, 1, true);
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 1);
    assert_int_equal(w->jobs[0]->u.log.count, 1);
    run(w);
    assert_int_equal(w->groups[3].writes_done, 1);
    assert_int_equal(stored(w, 1), 0);

    /* Something urgent of group 1 takes its earlier writes along, in order. */
    add(w, 1, 1, 1, true);
    disk_flush(w->disk);
    run(w);
    assert_int_equal(stored(w, 1), 3);
    assert_int_equal(w->groups[1].writes_done, 2);
    assert_int_equal(stored(w, 2), 0);
    assert_true(disk_no_space(w->disk));

    mem_store_full(w->mem, false);
    assert_true(disk_deadline_ms(w->disk) > w->node->now_ms);
    w->node->now_ms += 1000;
    disk_flush(w->disk);
    run(w);
    assert_int_equal(stored(w, 2), 1);
    disk_flush(w->disk);
    assert_false(disk_no_space(w->disk));
    assert_false(w->halted);
}

/* Writes that came back wait in front of those that came later, also twice. */
static void what_came_back_keeps_its_order(void **state)
{
    struct world *w = *state;
    struct raft_base base = {.pos = {10, 1}, .hash = 5};
    struct log_write lw = {.group = 1, .reset_to = &base};
    struct raft_persisted p = {.term = 1};

    add(w, 1, 1, 1, false);
    disk_log_add(w->disk, &lw, &p);
    w->groups[1].last = 10;
    w->groups[1].hash = 5;
    add(w, 1, 1, 1, false);
    mem_store_full(w->mem, true);
    for (int i = 0; i < 3; i++) {
        disk_flush(w->disk);
        add(w, 1, 1, 1, false);
        run(w);
        w->node->now_ms += 1000;
    }
    disk_flush(w->disk);
    run(w);
    add(w, 1, 1, 1, false); /* Merged with what came back. */
    w->node->now_ms += 1000;
    mem_store_full(w->mem, false);
    disk_flush(w->disk);
    run(w);
    assert_int_equal(stored(w, 1), 15);
    assert_int_equal(w->groups[1].writes_done, 7);
}

static void any_other_failure_ends_the_node(void **state)
{
    struct world *w = *state;

    add(w, 1, 1, 1, false);
    disk_flush(w->disk);
    mem_store_fail(w->mem, 1, KV_EIO, true);
    run(w);
    assert_true(w->halted);
    assert_int_equal(w->halt_code, KV_EIO);
    assert_int_equal(w->groups[1].writes_done, 0);
    add(w, 1, 1, 1, false);
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 0);
}

static void group_jobs_come_back_to_their_group(void **state)
{
    struct world *w = *state;
    struct disk_job job = {.kind = DISK_SNAPSHOT_MAKE, .group = 3};

    disk_submit(w->disk, &job);
    run(w);
    assert_int_equal(w->groups[3].jobs, 1);
    assert_int_equal(w->groups[3].job_result, KV_ENOTFOUND); /* No checkpoint yet. */
    assert_false(w->halted);
}

static void every_kind_has_a_lane_and_a_name(void **state)
{
    (void)state;
    for (int kind = 0; kind < DISK_KINDS_COUNT; kind++) {
        assert_true(disk_job_lane((enum disk_kind)kind) < DISK_LANES_COUNT);
        assert_true(strlen(disk_kind_text((enum disk_kind)kind)) > 0);
    }
    assert_int_equal(disk_job_lane(DISK_LOG), DISK_LANE_LOG);
    assert_int_equal(disk_job_lane(DISK_REPAIR), DISK_LANE_LOG);
    assert_int_equal(disk_job_lane(DISK_CHECKPOINT), DISK_LANE_STATE);
}

static void a_commit_is_bounded_in_bytes_and_nothing_is_left_behind(void **state)
{
    struct world *w = *state;
    static uint8_t big[RAFT_RECORD_HEAD_BYTES + RAFT_RECORD_PAYLOAD_MAX];
    struct raft_entry e = {.type = RAFT_ENTRY_NOOP};

    for (uint32_t i = 0; i < 40; i++) {
        struct log_write lw = {.group = 1 + i % 4, .first_index = 1 + i / 4};
        struct raft_persisted p = {.term = 1};
        struct kv_bytes record = kv_bytes(big, sizeof big);

        lw.records = &record;
        lw.records_count = 1;
        p.last = (struct raft_pos){lw.first_index, 1};
        disk_log_add(w->disk, &lw, &p);
    }
    (void)e;
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 1);
    assert_true(w->jobs[0]->u.log.count < 4);
    w->jobs[0]->result = 0; /* As if it had run. */
    disk_done(w->disk, w->jobs[--w->jobs_count]);
    disk_flush(w->disk);
    assert_int_equal(w->jobs_count, 1);
    w->jobs[0]->result = 0;
    disk_done(w->disk, w->jobs[--w->jobs_count]);
    for (group_id id = 1; id <= 4; id++) {
        assert_int_equal(w->groups[id].writes_done, 10);
    }
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_job_carries_what_all_groups_queued),
        CASE(an_idle_disk_hands_out_nothing),
        CASE(the_newest_hard_state_wins_in_a_merge),
        CASE(a_later_write_replaces_entries_that_wait),
        CASE(a_reset_stands_alone_and_keeps_its_place),
        CASE(a_full_disk_keeps_everything_and_lets_the_urgent_go_first),
        CASE(what_came_back_keeps_its_order),
        CASE(any_other_failure_ends_the_node),
        CASE(group_jobs_come_back_to_their_group),
        CASE(every_kind_has_a_lane_and_a_name),
        CASE(a_commit_is_bounded_in_bytes_and_nothing_is_left_behind),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/disk", tests, NULL, NULL);
}
