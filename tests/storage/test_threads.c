/* tests/storage/test_threads.c - the verbs of the three threads, at the same time.
 *
 * The disk thread writes the log, the checkpoint thread writes the state, makes
 * snapshots, sweeps and scrubs, the loop thread reads. Meant for the thread sanitizer;
 * in every build it checks that a reader sees each finished write, and states only as
 * checkpoints left them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "storage/row.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    THREADS_WRITES = 4000,
    THREADS_GROUP = 1,
    THREADS_ROWS = 50,
    THREADS_EVERY = 20, /* Writes between checkpoints. */
};

struct shared {
    struct store *s;
    _Atomic uint64_t written;    /* Last index whose write is finished. */
    _Atomic uint64_t checkpoint; /* Applied index of the last finished checkpoint. */
    atomic_bool is_done;         /* The writer has finished. */
    atomic_int failures;
};

static void expect(struct shared *sh, bool fact, const char *what)
{
    if (!fact) {
        fprintf(stderr, "not so: %s\n", what); /* cmocka is for one thread only. */
        atomic_fetch_add(&sh->failures, 1);
    }
}

static void *disk_thread(void *arg)
{
    struct shared *sh = arg;
    const struct store_ops *ops = sh->s->ops;
    struct raft_meta last = {0};
    struct raft_base base[THREADS_WRITES + 1];

    for (uint64_t i = 1; i <= THREADS_WRITES; i++) {
        struct kv_bytes record = model_record(&last, 1, i, 50, i, &last);
        uint64_t to = atomic_load(&sh->checkpoint);
        struct log_write w = {.group = THREADS_GROUP,
                              .records = &record,
                              .records_count = 1,
                              .first_index = i,
                              .commit_hint = i};

        base[i] = (struct raft_base){last.pos, last.hash, last.time_ms};
        if (i % 50 == 0 && to > 0) {
            w.compact_to = &base[to];
        }
        expect(sh, ops->log_write(sh->s, &w, 1) == 0, "the log is written");
        kv_mem_free((void *)(uintptr_t)record.data);
        atomic_store(&sh->written, i);
    }
    atomic_store(&sh->is_done, true);
    return NULL;
}

/* All rows say which checkpoint they are of: its index is their revision. */
static int checkpoint_at(struct shared *sh, uint64_t index, uint64_t base_hash)
{
    struct row rows[THREADS_ROWS];
    char keys[THREADS_ROWS][8];
    struct state_meta meta = {.applied = {.pos = {index, 1}, .hash = base_hash}};

    for (uint32_t i = 0; i < THREADS_ROWS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%02u", i);
        rows[i] =
            (struct row){.kind = ROW_KV, .rev = index, .key = kv_bytes_str(keys[i])};
        meta.rows_count++;
        meta.rows_bytes += rows[i].key.len;
        meta.state_hash += row_hash(&rows[i]);
    }
    return sh->s->ops->checkpoint(sh->s, THREADS_GROUP, &meta, rows, THREADS_ROWS);
}

static void *checkpoint_thread(void *arg)
{
    struct shared *sh = arg;
    const struct store_ops *ops = sh->s->ops;
    uint64_t last = 0;

    while (!atomic_load(&sh->is_done)) {
        uint64_t index = atomic_load(&sh->written);
        struct store_scrub scrub = {0};
        struct raft_snapshot snap;
        bool more;

        if (index >= last + THREADS_EVERY) {
            expect(sh, checkpoint_at(sh, index, 7) == 0, "a checkpoint is written");
            last = index;
            atomic_store(&sh->checkpoint, index);
            expect(sh, ops->snapshot_make(sh->s, THREADS_GROUP, &snap) == 0,
                   "a snapshot is made");
        }
        expect(sh, ops->sweep(sh->s, &more) == 0, "it sweeps");
        expect(sh, ops->scrub(sh->s, 2000, &scrub) == 0, "it scrubs");
        expect(sh, !scrub.found, "nothing is damaged");
    }
    return NULL;
}

/* One look of the loop thread at everything. */
static void loop_look(struct shared *sh, struct arena *arena)
{
    const struct store_ops *ops = sh->s->ops;
    uint64_t index = atomic_load(&sh->written);
    uint64_t checkpoint = atomic_load(&sh->checkpoint);
    struct raft_meta meta;
    struct log_state head;
    struct state_meta sm;
    struct store_stats stats;
    struct row *rows = NULL;
    uint32_t count = 0;
    int rc = index == 0 ? 0 : ops->log_meta(sh->s, THREADS_GROUP, index, &meta);

    expect(sh, rc == 0 || rc == KV_ECOMPACTED, "a finished write is seen");
    expect(sh, ops->log_load(sh->s, THREADS_GROUP, &head) == 0, "the head is read");
    expect(sh, head.last.pos.index >= index, "the head is not older");
    expect(sh, ops->state_load(sh->s, THREADS_GROUP, &sm) == 0, "the meta is read");
    expect(sh, sm.applied.pos.index >= checkpoint, "a finished checkpoint is seen");
    arena_reset(arena);
    rc = ops->state_range(sh->s, THREADS_GROUP, ROW_KV, kv_bytes(NULL, 0),
                          kv_bytes(NULL, 0), 1000, arena, &rows, &count);
    expect(sh, rc == 0 && (count == 0 || count == THREADS_ROWS), "all rows or none");
    for (uint32_t i = 1; rc == 0 && i < count; i++) {
        expect(sh, rows[i].rev == rows[0].rev, "all rows are of one checkpoint");
    }
    ops->stats(sh->s, &stats);
    expect(sh, !stats.log_full, "there is space");
}

static void all_verbs_at_once(struct store *s)
{
    struct shared sh = {.s = s};
    struct arena arena;
    pthread_t disk;
    pthread_t side;

    arena_init(&arena, 4096, 0);
    assert_int_equal(pthread_create(&disk, NULL, disk_thread, &sh), 0);
    assert_int_equal(pthread_create(&side, NULL, checkpoint_thread, &sh), 0);
    while (!atomic_load(&sh.is_done)) {
        loop_look(&sh, &arena);
    }
    assert_int_equal(pthread_join(disk, NULL), 0);
    assert_int_equal(pthread_join(side, NULL), 0);
    arena_close(&arena);
    assert_int_equal(atomic_load(&sh.failures), 0);
    assert_true(atomic_load(&sh.checkpoint) > 0);
}

static void lmdb_serves_three_threads(void **unused)
{
    char dir[STORE_DIR_BYTES];
    struct store *s;

    (void)unused;
    store_dir_make_fast(dir);
    assert_int_equal(store_dir_open(dir, &s), 0);
    all_verbs_at_once(s);
    s->ops->close(s);
    store_dir_remove(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lmdb_serves_three_threads),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/threads", tests, NULL, NULL);
}
