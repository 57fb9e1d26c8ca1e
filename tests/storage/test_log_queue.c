/* tests/storage/test_log_queue.c - the log as a queue of batches: what is deleted, what
 * is moved, and that no reader misses an entry meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "raft/base/err.h"
#include "storage/lmdb_store.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    BUSY = 1,
    IDLE = 2,
    PAYLOAD_BYTES = 1000,
    SWEEPS_MAX = 10000,
};

struct bed {
    char dir[STORE_DIR_BYTES];
    struct store *s;
};

static int setup(void **state)
{
    static struct bed bed;

    store_dir_make_fast(bed.dir);
    assert_int_equal(store_dir_open(bed.dir, &bed.s), 0);
    *state = &bed;
    return 0;
}

static int teardown(void **state)
{
    struct bed *b = *state;

    b->s->ops->close(b->s);
    store_dir_remove(b->dir);
    return 0;
}

static void append(struct bed *b, group_id group, uint32_t payload_bytes)
{
    struct log_state head;
    struct kv_bytes record;
    struct log_write w = {.group = group, .records = &record, .records_count = 1};
    struct raft_meta meta;

    assert_int_equal(b->s->ops->log_load(b->s, group, &head), 0);
    record = model_record(&head.last, 1, 1, payload_bytes, head.last.pos.index, &meta);
    w.first_index = meta.pos.index;
    assert_int_equal(b->s->ops->log_write(b->s, &w, 1), 0);
    kv_mem_free((void *)(uintptr_t)record.data);
}

/* Everything of the group but the last entry goes, behind a checkpoint. */
static void compact(struct bed *b, group_id group)
{
    struct state_meta state = {
        .config = {.voters = {1}, .voters_count = 1, .w = 1},
    };
    struct log_state head;
    struct raft_meta meta;
    struct raft_base to;
    struct log_write w = {.group = group, .compact_to = &to};

    assert_int_equal(b->s->ops->log_load(b->s, group, &head), 0);
    assert_int_equal(b->s->ops->log_meta(b->s, group, head.last.pos.index - 1, &meta),
                     0);
    to =
        (struct raft_base){.pos = meta.pos, .hash = meta.hash, .time_ms = meta.time_ms};
    state.applied = to;
    assert_int_equal(b->s->ops->checkpoint(b->s, group, &state, NULL, 0), 0);
    assert_int_equal(b->s->ops->log_write(b->s, &w, 1), 0);
}

static uint64_t log_bytes(struct bed *b)
{
    struct store_stats st;

    b->s->ops->stats(b->s, &st);
    return st.log_bytes;
}

static uint32_t sweep_all(struct bed *b)
{
    bool more = true;
    uint32_t steps = 0;

    while (more) {
        assert_int_equal(b->s->ops->sweep(b->s, &more), 0);
        assert_true(++steps < SWEEPS_MAX);
    }
    return steps;
}

static void reopen(struct bed *b)
{
    b->s->ops->close(b->s);
    assert_int_equal(store_dir_open(b->dir, &b->s), 0);
}

/* The file stays as small as what is alive while entries come and go. */
static void the_oldest_batches_go_with_their_entries(void **state)
{
    struct bed *b = *state;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++) {
            append(b, BUSY, PAYLOAD_BYTES);
        }
        compact(b, BUSY);
    }
    assert_true(log_bytes(b) < 400 * 1024);
    (void)sweep_all(b);
    assert_true(log_bytes(b) < 60 * 1024);
}

/* A group that writes once and never again does not hold the log of the others. */
static void one_old_entry_does_not_pin_the_queue(void **state)
{
    struct bed *b = *state;
    struct raft_meta before, after;

    append(b, IDLE, PAYLOAD_BYTES);
    assert_int_equal(b->s->ops->log_meta(b->s, IDLE, 1, &before), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 500; i++) {
            append(b, BUSY, PAYLOAD_BYTES);
        }
        compact(b, BUSY);
        (void)sweep_all(b);
    }
    assert_true(log_bytes(b) < 9 * 1024 * 1024); /* An eighth of the quota, and some. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(b->s->ops->log_meta(b->s, IDLE, 1, &after), 0);
        assert_true(after.hash == before.hash);
        reopen(b);
    }
}

/* A commit may be longer than a batch, and a record, too. */
static void long_commits_are_several_batches(void **state)
{
    enum {
        COUNT = 300
    };
    struct bed *b = *state;
    struct kv_bytes records[COUNT];
    struct raft_meta metas[COUNT], found;
    struct raft_meta before = {0};
    struct log_write w = {
        .group = BUSY, .records = records, .records_count = COUNT, .first_index = 1};

    for (uint32_t i = 0; i < COUNT; i++) {
        records[i] =
            model_record(&before, 1, 1, i == 100 ? 1000 * 1000 : 5000, i, &metas[i]);
        before = metas[i];
    }
    assert_int_equal(b->s->ops->log_write(b->s, &w, 1), 0);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(b->s->ops->log_meta(b->s, BUSY, i + 1, &found), 0);
            assert_true(found.hash == metas[i].hash);
        }
        reopen(b);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        kv_mem_free((void *)(uintptr_t)records[i].data);
    }
}

/* Entries of the same commit that one of its later writes cuts off again. */
static void a_commit_may_cut_off_what_it_appends(void **state)
{
    struct bed *b = *state;
    struct raft_meta first, second, other, found;
    struct kv_bytes one[2], two;
    struct log_write w[2] = {
        {.group = BUSY, .records = one, .records_count = 2, .first_index = 1},
        {.group = BUSY, .records = &two, .records_count = 1, .first_index = 2},
    };

    one[0] = model_record(&(struct raft_meta){0}, 1, 1, 10, 1, &first);
    one[1] = model_record(&first, 1, 1, 10, 2, &second);
    two = model_record(&first, 2, 1, 10, 3, &other);
    assert_int_equal(b->s->ops->log_write(b->s, w, 2), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(b->s->ops->log_meta(b->s, BUSY, 2, &found), 0);
        assert_true(found.hash == other.hash);
        assert_int_equal(b->s->ops->log_meta(b->s, BUSY, 3, &found), KV_ENOTFOUND);
        reopen(b);
    }
    kv_mem_free((void *)(uintptr_t)one[0].data);
    kv_mem_free((void *)(uintptr_t)one[1].data);
    kv_mem_free((void *)(uintptr_t)two.data);
}

/* ---- readers beside a sweep that moves ---- */

struct mover {
    struct bed *bed;
    atomic_bool stop;
    uint32_t steps;
};

static void *sweep_on(void *ctx)
{
    struct mover *m = ctx;

    while (!atomic_load(&m->stop)) {
        bool more;

        assert_int_equal(m->bed->s->ops->sweep(m->bed->s, &more), 0);
        m->steps += more;
    }
    return NULL;
}

static void no_reader_misses_an_entry_that_moves(void **state)
{
    struct bed *b = *state;
    struct mover m = {.bed = b};
    struct raft_meta before, after;
    pthread_t thread;

    for (int i = 0; i < 10; i++) {
        append(b, IDLE, PAYLOAD_BYTES);
    }
    assert_int_equal(b->s->ops->log_meta(b->s, IDLE, 5, &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, sweep_on, &m), 0);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 30; i++) {
            append(b, BUSY, 16 * PAYLOAD_BYTES);
        }
        compact(b, BUSY);
        for (int i = 0; i < 500; i++) {
            assert_int_equal(b->s->ops->log_meta(b->s, IDLE, 5, &after), 0);
            assert_true(after.hash == before.hash);
        }
    }
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
    assert_true(m.steps > 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_batches_go_with_their_entries, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_old_entry_does_not_pin_the_queue, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(long_commits_are_several_batches, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_commit_may_cut_off_what_it_appends, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_reader_misses_an_entry_that_moves, setup,
                                        teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/log_queue", tests, NULL, NULL);
}
