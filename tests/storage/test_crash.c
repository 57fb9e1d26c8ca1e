/* tests/storage/test_crash.c - after a crash: the last acknowledged commit or the next.
 *
 * A workload of log writes, truncations, compactions, checkpoints, snapshots and an
 * install runs once while every write and sync is written down. Then disks are built as
 * a crash at any point may have left them, and opened. What can be read of log and
 * state must be what it was after the last acknowledged verb, or after the one that was
 * under way.
 */
#include "tests/lib/fault_interpose.h"

#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "raft/record.h"
#include "tests/lib/fault_image.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    CRASH_ACKS_MAX = 400,
    CRASH_SEEDS = STORE_DIR_SLOW ? 1 : 3,
    CRASH_IMAGES_MIN = STORE_DIR_SLOW ? 800 : 2000,
    CRASH_GROUP = MODEL_GROUPS, /* Where the snapshot goes. */
};

struct prints {
    uint64_t log;
    uint64_t state;
};

/* A workload under way, and what it should have left behind. */
struct crash {
    char dir[STORE_DIR_BYTES];
    char image[STORE_DIR_BYTES];
    struct store *s;
    struct fault_recording recording;
    struct prints
        live[CRASH_ACKS_MAX]; /* As read in the process, by acknowledgement. */
    struct prints expect[CRASH_ACKS_MAX]; /* As read after opening a clean copy. */
    bool marked[CRASH_ACKS_MAX];          /* An install waits for its log reset. */
    uint32_t acks;
    uint64_t opened;
    char first_bad[200];
};

static struct prints prints_of(struct store *s)
{
    return (struct prints){model_print_log(s), model_print_state(s)};
}

static void ack(struct crash *c)
{
    struct state_meta meta;

    fault_io_ack();
    c->acks++;
    assert_true(c->acks < CRASH_ACKS_MAX);
    c->live[c->acks] = prints_of(c->s);
    assert_int_equal(c->s->ops->state_load(c->s, CRASH_GROUP, &meta), 0);
    c->marked[c->acks] = meta.mark;
}

/* ---- the workload ---- */

/* Makes a snapshot of the group in a memory store: 40 entries, some rows. */
static struct mem_store *source_make(struct raft_snapshot *out)
{
    struct mem_store *disk;
    struct store *s;
    struct state *st;
    struct state_frozen frozen;
    struct raft_meta meta = {0};
    struct raft_base base;

    assert_int_equal(mem_store_new(9, &disk), 0);
    s = mem_store_base(disk);
    assert_int_equal(state_open(s, CRASH_GROUP, 1 << 20, &st), 0);
    for (uint32_t i = 1; i <= 40; i++) {
        struct kv_bytes record = model_record(&meta, 1, i, 20, i, &meta);
        struct log_write w = {.group = CRASH_GROUP,
                              .records = &record,
                              .records_count = 1,
                              .first_index = i};
        char key[16];
        struct row row = {.kind = ROW_KV, .rev = i};

        snprintf(key, sizeof key, "k%u", i);
        row.key = kv_bytes_str(key);
        row.value = kv_bytes(key, i % 16);
        assert_int_equal(s->ops->log_write(s, &w, 1), 0);
        kv_mem_free((void *)(uintptr_t)record.data);
        assert_int_equal(state_put(st, &row), 0);
    }
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    state_applied(st, &base, NULL, 0);
    assert_int_equal(state_freeze(st, &frozen), 0);
    assert_int_equal(s->ops->checkpoint(s, CRASH_GROUP, &frozen.meta, frozen.rows,
                                        frozen.rows_count),
                     0);
    assert_int_equal(s->ops->snapshot_make(s, CRASH_GROUP, out), 0);
    state_close(st);
    return disk;
}

/* Receives and installs it, each verb acknowledged. */
static void snapshot_take(struct crash *c)
{
    struct raft_snapshot snap;
    struct mem_store *disk = source_make(&snap);
    struct store *from = mem_store_base(disk);
    struct log_write reset = {
        .group = CRASH_GROUP, .reset_to = &snap.last, .urgent = true};

    for (uint64_t offset = 0; offset < snap.bytes;) {
        uint8_t data[700];
        uint32_t len = (uint32_t)KV_MIN((uint64_t)sizeof data, snap.bytes - offset);
        struct raft_chunk chunk = {.snapshot_id = snap.id,
                                   .offset = offset,
                                   .len = len,
                                   .data = kv_bytes(data, len)};

        assert_int_equal(
            from->ops->snapshot_read(from, CRASH_GROUP, snap.id, offset, len, data), 0);
        assert_int_equal(c->s->ops->chunk_store(c->s, CRASH_GROUP, &snap, &chunk), 0);
        ack(c);
        offset += len;
    }
    assert_int_equal(c->s->ops->install(c->s, CRASH_GROUP, &snap), 0);
    ack(c);
    assert_int_equal(c->s->ops->log_write(c->s, &reset, 1), 0);
    ack(c);
    assert_int_equal(c->s->ops->mark_clear(c->s, CRASH_GROUP), 0);
    ack(c);
    mem_store_free(disk);
}

/* Entries for which the file must grow, on pages of their own. */
static void large_write(struct crash *c)
{
    struct kv_bytes records[5];
    struct log_state head;
    struct log_write w = {.group = CRASH_GROUP, .records = records, .records_count = 5};

    assert_int_equal(c->s->ops->log_load(c->s, CRASH_GROUP, &head), 0);
    w.first_index = head.last.pos.index + 1;
    for (uint32_t i = 0; i < 5; i++) {
        records[i] = model_record(&head.last, 9, 9, 180 * 1024, i, &head.last);
    }
    assert_int_equal(c->s->ops->log_write(c->s, &w, 1), 0);
    for (uint32_t i = 0; i < 5; i++) {
        kv_mem_free((void *)(uintptr_t)records[i].data);
    }
    ack(c);
}

static void workload(struct crash *c, uint64_t seed, bool drop_syncs, int steps)
{
    struct store_model m;
    struct raft_snapshot snap;
    bool more = true;

    store_dir_make_fast(c->dir);
    store_dir_make_fast(c->image);
    fault_io_begin(c->dir);
    fault_io_skip_syncs(
        true); /* Written down, not done: the disk itself is not tested. */
    fault_io_record(&c->recording);
    assert_int_equal(store_dir_open(c->dir, &c->s), 0);
    ack(c);
    fault_io_drop_syncs(drop_syncs);
    model_init(&m, c->s, seed);
    m.batch_max = 6;
    for (int i = 0; i < steps; i++) {
        model_step(&m);
        ack(c);
        if (i == steps / 3) {
            snapshot_take(c);
        }
    }
    large_write(c);
    if (c->s->ops->snapshot_make(c->s, CRASH_GROUP, &snap) == 0) {
        ack(c);
    }
    while (more) {
        assert_int_equal(c->s->ops->sweep(c->s, &more), 0);
        ack(c);
    }
    model_check(&m);
    fault_io_record_end();
    model_close(&m);
    c->s->ops->close(c->s);
    fault_io_begin("");
}

static void crash_close(struct crash *c)
{
    fault_io_begin("");
    fault_recording_close(&c->recording);
    store_dir_remove(c->dir);
    store_dir_remove(c->image);
    kv_mem_free(c);
}

/* ---- judging ---- */

/* Opens a folder and reads everything. The store's code. */
static int folder_read(const char *dir, struct prints *out, uint64_t *out_incarnation)
{
    struct store_identity id;
    struct store *s;
    int rc;

    fault_io_begin(dir);
    fault_io_skip_syncs(true);
    rc = store_dir_open(dir, &s);
    if (rc == 0) {
        *out = prints_of(s);
        rc = s->ops->identity_load(s, &id);
        *out_incarnation = id.incarnation;
        s->ops->close(s);
    }
    fault_io_begin("");
    return rc;
}

static bool print_is(const struct crash *c, const struct prints *p, uint32_t acks)
{
    return acks <= c->acks && p->log == c->expect[acks].log &&
           p->state == c->expect[acks].state;
}

/* After the crash: what was acknowledged, or with it the verb that was under way. */
static bool image_is_right(void *ctx, const char *dir, uint32_t acks)
{
    struct crash *c = ctx;
    struct prints p = {0};
    uint64_t incarnation = 0;
    int rc = folder_read(dir, &p, &incarnation);
    bool right = rc == 0 && incarnation == 12345 &&
                 (print_is(c, &p, acks) || print_is(c, &p, acks + 1));

    c->opened += rc == 0;
    if (!right && c->first_bad[0] == 0) {
        snprintf(c->first_bad, sizeof c->first_bad, "after %u acks: %s", acks,
                 rc != 0 ? kv_err_name(rc) : "other contents");
    }
    return right;
}

/* What each acknowledgement promised, read from a clean copy; and it is what the
 * process itself saw, unless opening had a log reset to finish. */
static void expectations_make(struct crash *c)
{
    for (uint32_t k = 0; k <= c->acks; k++) {
        uint64_t incarnation;

        fault_image_at(&c->recording, c->image, k);
        assert_int_equal(folder_read(c->image, &c->expect[k], &incarnation), 0);
        if (k > 0 && !c->marked[k]) {
            assert_int_equal(c->expect[k].log, c->live[k].log);
            assert_int_equal(c->expect[k].state, c->live[k].state);
        }
    }
}

static struct crash *crash_new(void)
{
    struct crash *c = kv_mem_zalloc(sizeof *c);

    assert_non_null(c);
    return c;
}

static void every_crash_leaves_the_last_commit_or_the_next(void **unused)
{
    struct fault_image_result total = {0};

    (void)unused;
    for (uint64_t seed = 1; seed <= CRASH_SEEDS; seed++) {
        struct crash *c = crash_new();
        struct fault_image_result r;

        workload(c, seed, false, 60);
        expectations_make(c);
        fault_image_all(&c->recording, c->image, seed, 1, image_is_right, c, &r);
        if (r.bad > 0) {
            fail_msg("seed %llu, image %llu: %s", (unsigned long long)seed,
                     (unsigned long long)r.images, c->first_bad);
        }
        total.images += r.images;
        total.points += r.points;
        total.torn += r.torn;
        crash_close(c);
    }
    print_message("crash images: %llu judged at %llu points, %llu of them with a torn "
                  "write, 0 bad\n",
                  (unsigned long long)total.images, (unsigned long long)total.points,
                  (unsigned long long)total.torn);
    assert_true(total.images >= CRASH_IMAGES_MIN);
}

/* The check above is worth something: the same code on a disk that drops syncs
 * fails. */
static void a_left_out_sync_is_caught(void **unused)
{
    struct crash *c = crash_new();
    struct fault_image_result r;

    (void)unused;
    workload(c, 1, true, 60);
    expectations_make(c);
    fault_image_all(&c->recording, c->image, 1, 5, image_is_right, c, &r);
    print_message("without syncs: %llu of %llu images are bad, first %s\n",
                  (unsigned long long)r.bad, (unsigned long long)r.images,
                  c->first_bad);
    assert_true(r.bad > 0);
    crash_close(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_crash_leaves_the_last_commit_or_the_next),
        cmocka_unit_test(a_left_out_sync_is_caught),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/crash", tests, NULL, NULL);
}
