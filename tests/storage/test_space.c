/* tests/storage/test_space.c - a full quota, a full disk: what still works, and how it
 * ends.
 *
 * The disk is a small memory file system in a mount namespace of its own; where that is
 * not allowed the cases with it are skipped, the ones with the quota are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/state.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    SPACE_RESERVE_BYTES = 1024 * 1024,
    SPACE_DISK_BYTES = 12 * 1024 * 1024,
    SPACE_QUOTA_BYTES = 3 * 1024 * 1024,
};

struct fixture {
    char dir[STORE_DIR_BYTES];
    char mount[STORE_DIR_BYTES]; /* "": no disk of its own. */
    struct store *s;
    raft_term term;
};

static int store_get(struct fixture *f, uint64_t quota_bytes)
{
    struct store_options o = {
        .dir = f->dir,
        .map_bytes = 64 * 1024 * 1024,
        .quota_bytes = quota_bytes,
        .reserve_bytes = SPACE_RESERVE_BYTES,
        .groups_max = 8,
        .incarnation_seed = 5,
    };
    char text[300];

    return store_open(&o, &f->s, text, sizeof text);
}

static int setup_quota(void **state)
{
    struct fixture *f = kv_mem_zalloc(sizeof *f);

    assert_non_null(f);
    store_dir_make_fast(f->dir);
    assert_int_equal(store_get(f, SPACE_QUOTA_BYTES), 0);
    *state = f;
    return 0;
}

static int setup_disk(void **state)
{
    struct fixture *f = kv_mem_zalloc(sizeof *f);
    char options[64];

    assert_non_null(f);
    *state = f;
    store_dir_make(f->mount);
    snprintf(options, sizeof options, "size=%d", SPACE_DISK_BYTES);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", f->mount, "tmpfs", 0, options) != 0) {
        rmdir(f->mount);
        f->mount[0] = 0;
        return 0; /* The case sees that, and is skipped. */
    }
    snprintf(f->dir, sizeof f->dir, "%.200s/data", f->mount);
    assert_int_equal(store_get(f, 0), 0);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->s != NULL) {
        f->s->ops->close(f->s);
        store_dir_remove(f->dir);
    }
    if (f->mount[0] != 0) {
        (void)umount2(f->mount, MNT_DETACH);
        (void)rmdir(f->mount);
    }
    kv_mem_free(f);
    return 0;
}

/* ---- verbs ---- */

static int append(struct fixture *f, group_id group, uint32_t payload_bytes)
{
    struct log_state head;
    struct kv_bytes record;
    struct log_write w = {.group = group, .records = &record, .records_count = 1};
    struct raft_meta meta;
    int rc;

    assert_int_equal(f->s->ops->log_load(f->s, group, &head), 0);
    record = model_record(&head.last, 1, 1, payload_bytes, head.last.pos.index, &meta);
    w.first_index = meta.pos.index;
    rc = f->s->ops->log_write(f->s, &w, 1);
    kv_mem_free((void *)(uintptr_t)record.data);
    return rc;
}

static int vote(struct fixture *f)
{
    struct log_write w = {.group = 2, .store_hard = true, .vote = 1, .urgent = true};

    f->term++;
    w.term = f->term;
    return f->s->ops->log_write(f->s, &w, 1);
}

static raft_index last_of(struct fixture *f, group_id group)
{
    struct log_state head;

    assert_int_equal(f->s->ops->log_load(f->s, group, &head), 0);
    return head.last.pos.index;
}

/* Checkpoints the group at its last entry and compacts up to there. */
static void free_space(struct fixture *f, group_id group)
{
    struct log_state head;
    struct raft_base base;
    struct state_frozen frozen;
    struct state *st;
    struct row row = {
        .kind = ROW_KV, .key = kv_bytes_str("k"), .value = kv_bytes_str("v")};
    struct log_write w = {.group = group, .compact_to = &base, .urgent = true};
    bool more = true;

    assert_int_equal(f->s->ops->log_load(f->s, group, &head), 0);
    base = (struct raft_base){head.last.pos, head.last.hash, head.last.time_ms};
    assert_int_equal(state_open(f->s, group, 1 << 20, &st), 0);
    assert_int_equal(state_put(st, &row), 0);
    state_applied(st, &base, NULL, 0);
    assert_int_equal(state_freeze(st, &frozen), 0);
    assert_int_equal(f->s->ops->checkpoint(f->s, group, &frozen.meta, frozen.rows,
                                           frozen.rows_count),
                     0);
    state_close(st);
    assert_int_equal(f->s->ops->log_write(f->s, &w, 1), 0);
    while (more) {
        assert_int_equal(f->s->ops->sweep(f->s, &more), 0);
    }
}

static struct store_stats stats(struct fixture *f)
{
    struct store_stats out;

    f->s->ops->stats(f->s, &out);
    return out;
}

/* Appends until there is no space; returns how many went in. */
static int fill(struct fixture *f, uint32_t payload_bytes)
{
    int rc = 0;
    int count = 0;

    while (rc == 0) {
        raft_index before = last_of(f, 1);

        rc = append(f, 1, payload_bytes);
        count += rc == 0;
        assert_int_equal(last_of(f, 1), before + (rc == 0)); /* All or nothing. */
        assert_true(count < 100000);
    }
    assert_int_equal(rc, KV_ENOSPACE);
    return count;
}

/* ---- cases ---- */

static void a_full_quota_leaves_room_for_what_is_urgent(void **state)
{
    struct fixture *f = *state;

    assert_true(fill(f, 3000) > 100);
    assert_true(stats(f).log_full);
    assert_true(stats(f).log_bytes <= SPACE_QUOTA_BYTES);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(vote(f), 0);
    }
    assert_int_equal(append(f, 1, 3000), KV_ENOSPACE);
    free_space(f, 1);
    assert_false(stats(f).log_full);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(append(f, 1, 3000), 0);
    }
}

/* Checkpoints a thousand rows: with these values, or without them. */
static void rows_set(struct fixture *f, bool present)
{
    static const uint8_t value[4000];
    struct log_state head;
    struct raft_base base;
    struct state_frozen frozen;
    struct state *st;
    char key[16];
    bool existed;

    assert_int_equal(append(f, 1, 10), 0);
    assert_int_equal(f->s->ops->log_load(f->s, 1, &head), 0);
    base = (struct raft_base){head.last.pos, head.last.hash, head.last.time_ms};
    assert_int_equal(state_open(f->s, 1, 16 << 20, &st), 0);
    for (int i = 0; i < 1000; i++) {
        struct row row = {.kind = ROW_KV, .value = kv_bytes(value, sizeof value)};

        snprintf(key, sizeof key, "k%d", i);
        row.key = kv_bytes_str(key);
        assert_int_equal(present ? state_put(st, &row)
                                 : state_del(st, ROW_KV, row.key, &existed),
                         0);
    }
    state_applied(st, &base, NULL, 0);
    assert_int_equal(state_freeze(st, &frozen), 0);
    assert_int_equal(
        f->s->ops->checkpoint(f->s, 1, &frozen.meta, frozen.rows, frozen.rows_count),
        0);
    state_close(st);
}

/* Checkpoints are always carried out, so the quota of the state is kept at the door. */
static void a_state_over_its_quota_is_full(void **state)
{
    struct fixture *f = *state;

    assert_false(stats(f).state_full);
    rows_set(f, true);
    assert_true(stats(f).state_bytes > SPACE_QUOTA_BYTES);
    assert_true(stats(f).state_full);
    rows_set(f, false);
    rows_set(f, false); /* LMDB frees the pages of the last but one commit. */
    assert_false(stats(f).state_full);
}

static void file_fill(struct fixture *f, const char *name)
{
    char path[2 * STORE_DIR_BYTES];
    static uint8_t block[4096];
    int fd;

    snprintf(path, sizeof path, "%s/%s", f->mount, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
        /* Until nothing is left for anybody. */
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void file_drop(struct fixture *f, const char *name)
{
    char path[2 * STORE_DIR_BYTES];

    snprintf(path, sizeof path, "%s/%s", f->mount, name);
    assert_int_equal(unlink(path), 0);
}

static off_t ballast_bytes(struct fixture *f)
{
    char path[2 * STORE_DIR_BYTES];
    struct stat st;

    snprintf(path, sizeof path, "%s/ballast", f->dir);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void a_full_disk_keeps_votes_reads_and_its_word(void **state)
{
    struct fixture *f = *state;
    struct raft_meta meta;
    raft_index last;

    if (f->mount[0] == 0) {
        print_message("no disk of our own here: skipped\n");
        skip();
    }
    for (int i = 0; i < 200; i++) {
        assert_int_equal(append(f, 1, 3000), 0);
    }
    file_fill(f, "other");
    assert_true(fill(f, 3000) < 400);
    assert_true(stats(f).log_full);
    assert_int_equal(ballast_bytes(f), SPACE_RESERVE_BYTES);
    last = last_of(f, 1);

    /* Votes and compaction get through; so does opening. */
    for (int i = 0; i < 200; i++) {
        assert_int_equal(vote(f), 0);
    }
    assert_int_equal(f->s->ops->log_meta(f->s, 1, last, &meta), 0);
    assert_int_equal(append(f, 1, 3000), KV_ENOSPACE);
    f->s->ops->close(f->s);
    assert_int_equal(store_get(f, 0), 0);
    assert_int_equal(last_of(f, 1), last);
    assert_int_equal(vote(f), 0);
    free_space(f, 1);
    assert_int_equal(last_of(f, 1), last);

    /* It heals by itself, and the reserve is whole again. */
    file_drop(f, "other");
    assert_int_equal(append(f, 1, 3000), 0);
    assert_false(stats(f).log_full);
    assert_int_equal(ballast_bytes(f), SPACE_RESERVE_BYTES);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(append(f, 1, 3000), 0);
    }
}

/* Many urgent writes on a full disk take from the reserve, bit by bit. */
static void the_reserve_is_given_up_in_parts_and_restored(void **state)
{
    struct fixture *f = *state;
    off_t least = SPACE_RESERVE_BYTES;
    int rc = 0;
    int count = 0;

    if (f->mount[0] == 0) {
        print_message("no disk of our own here: skipped\n");
        skip();
    }
    file_fill(f, "other");
    while (rc == 0) {
        struct log_state head;
        struct kv_bytes record;
        struct raft_meta meta;
        struct log_write w = {
            .group = 3, .records = &record, .records_count = 1, .urgent = true};

        assert_int_equal(f->s->ops->log_load(f->s, 3, &head), 0);
        record = model_record(&head.last, 1, 1, 20000, 1, &meta);
        w.first_index = meta.pos.index;
        rc = f->s->ops->log_write(f->s, &w, 1);
        kv_mem_free((void *)(uintptr_t)record.data);
        count += rc == 0;
        least = KV_MIN(least, ballast_bytes(f));
    }
    assert_int_equal(rc, KV_ENOSPACE);
    assert_true(count > 30);
    assert_true(least < SPACE_RESERVE_BYTES / 4);
    file_drop(f, "other");
    assert_int_equal(append(f, 1, 100), 0);
    assert_int_equal(ballast_bytes(f), SPACE_RESERVE_BYTES);
}

/* LMDB's file never becomes shorter: what is free inside of it counts as space. */
static void a_disk_full_of_our_own_log_heals_by_compaction(void **state)
{
    struct fixture *f = *state;

    if (f->mount[0] == 0) {
        print_message("no disk of our own here: skipped\n");
        skip();
    }
    assert_true(fill(f, 3000) > 2000);
    assert_true(stats(f).log_full);
    free_space(f, 1);
    assert_false(stats(f).log_full);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(append(f, 1, 3000), 0);
    }
    assert_false(stats(f).log_full);
}

/* A copied directory may have a hole in place of the reserve: its length is right, but
 * there is no space. */
static void a_hole_is_no_reserve(void **state)
{
    struct fixture *f = *state;
    char path[2 * STORE_DIR_BYTES];
    struct stat st;

    f->s->ops->close(f->s);
    snprintf(path, sizeof path, "%s/ballast", f->dir);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, SPACE_RESERVE_BYTES), 0);
    assert_int_equal(store_get(f, 0), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, SPACE_RESERVE_BYTES);
    assert_true(512 * st.st_blocks >= SPACE_RESERVE_BYTES);
}

static void snapshots_on_a_full_disk_say_so_and_leave_nothing(void **state)
{
    struct fixture *f = *state;
    struct raft_snapshot snap = {.id = 5, .bytes = 3 << 20};
    struct raft_snapshot made;
    struct state_frozen frozen;
    struct raft_base base = {.pos = {1, 1}};
    struct raft_meta meta;
    struct state *st;
    uint8_t *data = kv_mem_zalloc(1 << 20);
    struct raft_chunk chunk = {
        .snapshot_id = 5, .len = 1 << 20, .data = kv_bytes(data, 1 << 20)};
    uint64_t offset;

    if (f->mount[0] == 0) {
        kv_mem_free(data);
        print_message("no disk of our own here: skipped\n");
        skip();
    }
    assert_int_equal(append(f, 1, 100), 0);
    assert_int_equal(f->s->ops->log_meta(f->s, 1, 1, &meta), 0);
    base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    assert_int_equal(state_open(f->s, 1, 8 << 20, &st), 0);
    for (int i = 0; i < 20; i++) {
        char key[16];
        struct row row = {.kind = ROW_KV, .value = kv_bytes(data, 100000)};

        snprintf(key, sizeof key, "%d", i);
        row.key = kv_bytes_str(key);
        assert_int_equal(state_put(st, &row), 0);
    }
    state_applied(st, &base, NULL, 0);
    assert_int_equal(state_freeze(st, &frozen), 0);
    assert_int_equal(
        f->s->ops->checkpoint(f->s, 1, &frozen.meta, frozen.rows, frozen.rows_count),
        0);
    state_close(st);
    file_fill(f, "other");
    assert_int_equal(f->s->ops->snapshot_make(f->s, 1, &made), KV_ENOSPACE);
    assert_int_equal(f->s->ops->chunk_store(f->s, 3, &snap, &chunk), KV_ENOSPACE);
    assert_int_equal(f->s->ops->chunk_offset(f->s, 3, 5, &offset), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(vote(f), 0);
    file_drop(f, "other");
    assert_int_equal(f->s->ops->snapshot_make(f->s, 1, &made), 0);
    assert_int_equal(f->s->ops->chunk_store(f->s, 3, &snap, &chunk), 0);
    kv_mem_free(data);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_quota_leaves_room_for_what_is_urgent,
                                        setup_quota, teardown),
        cmocka_unit_test_setup_teardown(a_state_over_its_quota_is_full, setup_quota,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_keeps_votes_reads_and_its_word,
                                        setup_disk, teardown),
        cmocka_unit_test_setup_teardown(the_reserve_is_given_up_in_parts_and_restored,
                                        setup_disk, teardown),
        cmocka_unit_test_setup_teardown(a_disk_full_of_our_own_log_heals_by_compaction,
                                        setup_disk, teardown),
        cmocka_unit_test_setup_teardown(a_hole_is_no_reserve, setup_quota, teardown),
        cmocka_unit_test_setup_teardown(
            snapshots_on_a_full_disk_say_so_and_leave_nothing, setup_disk, teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/space", tests, NULL, NULL);
}
