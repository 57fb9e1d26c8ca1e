/* tests/storage/test_damage.c - flipped bits, zeroed blocks, lost and cut files.
 *
 * A small store is damaged in one place at a time, then opened and read by a child
 * process. Each answer must be the right one or an error; a process that dies inside
 * LMDB counts as stopped. A wrong answer without an error fails the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "raft/base/prng.h"
#include "raft/record.h"
#include "storage/row.h"
#include "tests/lib/fault_script.h"
#include "tests/lib/mem_store.h"
#include "tests/lib/store_dir.h"
#include "tests/lib/store_model.h"

enum {
    DAMAGE_GROUPS = MODEL_PRINT_GROUPS,
    DAMAGE_KEYS = 700,
    DAMAGE_ANSWERS_MAX = 8192,
    DAMAGE_BLOCK_BYTES = 4096,
    DAMAGE_FLIPS = STORE_DIR_SLOW ? 1 : 3, /* Per block. */
    CHILD_RIGHT = 0,                       /* Every answer was right. */
    CHILD_ERROR = 10,                      /* Some were errors, none was wrong. */
    CHILD_REFUSED = 11,                    /* It did not open. */
    CHILD_WRONG = 12,
};

/* ---- answers of a store ---- */

/* What a read gave: its code, and a hash of what it returned. */
struct answer {
    int rc;
    uint64_t hash;
};

struct answers {
    struct answer list[DAMAGE_ANSWERS_MAX];
    size_t count;
    struct log_state heads[DAMAGE_GROUPS]; /* Whose entries to ask for. */
};

static void answer(struct answers *a, int rc, const void *data, size_t len)
{
    assert_true(a->count < DAMAGE_ANSWERS_MAX);
    a->list[a->count++] = (struct answer){rc, rc == 0 ? kv_hash64(data, len) : 0};
}

/* Field by field: between fields lies whatever lay there before. */
static void answer_meta(struct answers *a, int rc, const struct raft_meta *m)
{
    const uint64_t words[] = {m->pos.index,     m->pos.term, (uint64_t)m->type,
                              m->payload_bytes, m->time_ms,  m->hash};

    answer(a, rc, words, sizeof words);
}

static void answer_head(struct answers *a, int rc, const struct log_state *h)
{
    const uint64_t words[] = {h->term,           h->vote,          h->commit_hint,
                              h->base.pos.index, h->base.pos.term, h->base.hash,
                              h->base.time_ms};

    answer(a, rc, words, sizeof words);
    answer_meta(a, rc, &h->last);
}

static void read_log(struct store *s, group_id g, struct answers *a)
{
    const struct log_state *h = &a->heads[g];
    struct log_state now = {0};
    int rc = s->ops->log_load(s, g, &now);

    answer_head(a, rc, &now);
    for (raft_index i = h->base.pos.index + 1; i <= h->last.pos.index; i++) {
        struct kv_bytes *records = NULL;
        struct raft_meta meta = {0};
        struct arena arena;
        uint32_t count = 0;

        arena_init(&arena, 4096, 0);
        rc = s->ops->log_read(s, g, i, i + 1, 1, &arena, &records, &count);
        answer(a, rc, rc == 0 ? records[0].data : NULL, rc == 0 ? records[0].len : 0);
        arena_close(&arena);
        rc = s->ops->log_meta(s, g, i, &meta);
        answer_meta(a, rc, &meta);
    }
}

static void read_state(struct store *s, group_id g, struct answers *a)
{
    struct state_meta meta = {0};
    struct row *rows = NULL;
    uint32_t count = 0;
    uint64_t hash = 0;
    struct arena arena;
    int rc = s->ops->state_load(s, g, &meta);

    answer(a, rc, &meta, sizeof meta);
    arena_init(&arena, 4096, 0);
    for (uint32_t i = 0; i < DAMAGE_KEYS; i++) {
        char key[24];
        struct row row = {0};
        uint8_t kind = i % 5 == 0 ? ROW_META : ROW_KV;

        snprintf(key, sizeof key, "key-%04u", i);
        rc = s->ops->state_get(s, g, kind, kv_bytes_str(key), &arena, &row);
        hash = rc == 0 ? row_hash(&row) : 0;
        answer(a, rc, &hash, sizeof hash);
    }
    for (uint8_t kind = ROW_KV; kind <= ROW_META; kind++) {
        rc = s->ops->state_range(s, g, kind, kv_bytes(NULL, 0), kv_bytes(NULL, 0),
                                 10000, &arena, &rows, &count);
        hash = 0;
        for (uint32_t i = 0; rc == 0 && i < count; i++) {
            uint64_t one = row_hash(&rows[i]);

            hash = kv_hash64_seed(&one, sizeof one, hash);
        }
        answer(a, rc, &hash, sizeof hash);
    }
    arena_close(&arena);
}

static void read_all(struct store *s, struct answers *a)
{
    struct store_identity id = {0};
    int rc = s->ops->identity_load(s, &id);

    id.boots = 0;
    answer(a, rc, &id, sizeof id);
    for (group_id g = 0; g < DAMAGE_GROUPS; g++) {
        read_log(s, g, a);
        read_state(s, g, a);
    }
}

static bool is_honest_error(int rc)
{
    return rc == KV_EDAMAGED || rc == KV_EFORMAT || rc == KV_EIO || rc == KV_ENOMEM ||
           rc == KV_ECORRUPT;
}

/* ---- a damaged copy, read by a child ---- */

struct bench {
    char whole[STORE_DIR_BYTES]; /* Never changed. */
    char dir[STORE_DIR_BYTES];
    struct answers want;
    uint64_t right, errors, refused, died, wrong;
    char note[200];
};

static int child_run(const struct bench *b)
{
    static struct answers got;
    struct store *s;
    bool error = false;

    if (store_dir_open(b->dir, &s) != 0) {
        return CHILD_REFUSED;
    }
    memcpy(got.heads, b->want.heads, sizeof got.heads);
    read_all(s, &got);
    for (size_t i = 0; i < b->want.count; i++) {
        if (got.list[i].rc == b->want.list[i].rc &&
            got.list[i].hash == b->want.list[i].hash) {
            continue;
        }
        if (!is_honest_error(got.list[i].rc)) {
            return CHILD_WRONG;
        }
        error = true;
    }
    s->ops->close(s);
    return error ? CHILD_ERROR : CHILD_RIGHT;
}

/* Opens and reads the folder in a child; counts how it went. */
static void judge(struct bench *b, const char *what)
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
        struct sigaction plain = {.sa_handler = SIG_DFL};
        struct rlimit none = {0, 0};
        int null = open("/dev/null", O_WRONLY);

        for (size_t i = 0; i < KV_ARRAY_COUNT(deadly); i++) {
            (void)sigaction(deadly[i], &plain, NULL); /* cmocka has handlers. */
        }
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(null, STDERR_FILENO);
        (void)alarm(20); /* A loop in a damaged tree is a stop as well. */
        _exit(child_run(b));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status)) {
        b->died++;
    } else if (WEXITSTATUS(status) == CHILD_RIGHT) {
        b->right++;
    } else if (WEXITSTATUS(status) == CHILD_ERROR) {
        b->errors++;
    } else if (WEXITSTATUS(status) == CHILD_REFUSED) {
        b->refused++;
    } else if (WEXITSTATUS(status) == CHILD_WRONG) {
        b->wrong++;
        if (b->note[0] == 0) {
            snprintf(b->note, sizeof b->note, "%s", what);
        }
    } else {
        b->died++; /* A sanitizer's report, an assertion of LMDB. */
    }
}

static void restore(struct bench *b)
{
    store_dir_remove(b->dir);
    store_dir_copy(b->whole, b->dir);
}

static void bench_open(struct bench *b)
{
    struct fault_script script;
    struct store *s;

    *b = (struct bench){0};
    store_dir_make_fast(b->whole);
    store_dir_make_fast(b->dir);
    fault_script_open(&script);
    assert_int_equal(store_dir_open(b->whole, &s), 0);
    for (uint32_t i = 0; i < script.steps; i++) {
        assert_int_equal(fault_script_step(&script, s, i), 0);
    }
    assert_int_equal(fault_script_fill(s, 2, 3, DAMAGE_KEYS - 20), 0);
    for (group_id g = 0; g < DAMAGE_GROUPS; g++) {
        assert_int_equal(s->ops->log_load(s, g, &b->want.heads[g]), 0);
    }
    read_all(s, &b->want);
    s->ops->close(s);
    fault_script_close(&script);
}

static void bench_close(struct bench *b)
{
    store_dir_remove(b->whole);
    store_dir_remove(b->dir);
}

static int file_open(const struct bench *b, const char *name)
{
    char path[2 * STORE_DIR_BYTES];
    int fd;

    snprintf(path, sizeof path, "%s/%s", b->dir, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

/* Zeroes block `block`, or (bit != UINT64_MAX) flips that bit of it. */
static void block_damage(const struct bench *b, const char *name, off_t block,
                         uint64_t bit)
{
    uint8_t data[DAMAGE_BLOCK_BYTES];
    int fd = file_open(b, name);

    assert_int_equal(pread(fd, data, sizeof data, block * DAMAGE_BLOCK_BYTES),
                     sizeof data);
    if (bit == UINT64_MAX) {
        memset(data, 0, sizeof data);
    } else {
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(pwrite(fd, data, sizeof data, block * DAMAGE_BLOCK_BYTES),
                     sizeof data);
    close(fd);
}

static bool block_is_zero(const struct bench *b, const char *name, off_t block)
{
    static const uint8_t zero[DAMAGE_BLOCK_BYTES];
    uint8_t data[DAMAGE_BLOCK_BYTES] = {0};
    int fd = file_open(b, name);
    ssize_t len = pread(fd, data, sizeof data, block * DAMAGE_BLOCK_BYTES);

    close(fd);
    return len <= 0 || memcmp(data, zero, sizeof data) == 0;
}

static off_t blocks_of(const struct bench *b, const char *name)
{
    int fd = file_open(b, name);
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    return st.st_size / DAMAGE_BLOCK_BYTES;
}

static void damage_every_block(struct bench *b, const char *name)
{
    const char *more = getenv("KV_TEST_FLIPS"); /* For a long run by hand. */
    int flips = more != NULL ? (int)strtol(more, NULL, 10) : DAMAGE_FLIPS;
    struct prng p;

    prng_init(&p, (uint64_t)flips);
    restore(b);
    for (off_t block = 0; block < blocks_of(b, name); block++) {
        if (block_is_zero(b, name, block)) {
            continue; /* Not in use, nothing to lose. */
        }
        for (int kind = 0; kind <= flips; kind++) {
            /* The first flips hit the page's head and its list of places. */
            uint64_t bits = kind <= flips / 2 ? 64 * 8 : DAMAGE_BLOCK_BYTES * 8;
            uint64_t bit = kind == 0 ? UINT64_MAX : prng_below(&p, bits);
            char what[100];

            snprintf(what, sizeof what, "%s block %lld bit %lld", name,
                     (long long)block, (long long)bit);
            restore(b);
            block_damage(b, name, block, bit);
            judge(b, what);
        }
        restore(b);
    }
    print_message(
        "%s: %llu right, %llu with errors, %llu refused, %llu stopped, %llu wrong\n",
        name, (unsigned long long)b->right, (unsigned long long)b->errors,
        (unsigned long long)b->refused, (unsigned long long)b->died,
        (unsigned long long)b->wrong);
    if (b->wrong > 0) {
        fail_msg("%llu wrong answers, first with %s", (unsigned long long)b->wrong,
                 b->note);
    }
}

static void no_block_of_the_log_gives_wrong_answers(void **unused)
{
    struct bench b;

    (void)unused;
    bench_open(&b);
    restore(&b);
    judge(&b, "nothing");
    assert_int_equal(b.right, 1);
    damage_every_block(&b, "log/data.mdb");
    assert_true(b.errors + b.refused > 25);
    bench_close(&b);
}

static void no_block_of_the_state_gives_wrong_answers(void **unused)
{
    struct bench b;

    (void)unused;
    bench_open(&b);
    damage_every_block(&b, "state/data.mdb");
    assert_true(b.errors + b.refused > 10);
    bench_close(&b);
}

/* ---- lost, cut and foreign files ---- */

static int open_text(const struct bench *b, char *text, size_t text_bytes)
{
    struct store_options o = {.dir = b->dir,
                              .map_bytes = 64 * 1024 * 1024,
                              .reserve_bytes = 64 * 1024,
                              .groups_max = 8,
                              .incarnation_seed = 999};
    struct store *s;
    int rc = store_open(&o, &s, text, text_bytes);

    if (rc == 0) {
        s->ops->close(s);
    }
    return rc;
}

static void path_of(const struct bench *b, const char *name, char out[600])
{
    snprintf(out, 600, "%s/%s", b->dir, name);
}

static void a_lost_environment_is_a_lost_node(void **unused)
{
    static const char *const parts[] = {"log", "state"};
    char path[600];
    char text[300];
    struct bench b;

    (void)unused;
    bench_open(&b);
    for (size_t i = 0; i < KV_ARRAY_COUNT(parts); i++) {
        restore(&b);
        path_of(&b, parts[i], path);
        store_dir_remove(path);
        assert_int_equal(open_text(&b, text, sizeof text), KV_ELOST);
        assert_non_null(strstr(text, parts[i]));
        assert_non_null(strstr(text, "lost"));
        /* And it stays that way: opening has not made a new one of it. */
        assert_int_equal(open_text(&b, text, sizeof text), KV_ELOST);
    }
    bench_close(&b);
}

static void environments_of_two_directories_do_not_mix(void **unused)
{
    char from[600];
    char to[600];
    char text[300];
    struct bench a;
    struct bench b;

    (void)unused;
    bench_open(&a);
    bench_open(&b);
    restore(&b);
    restore(&a);
    store_dir_remove(a.dir);
    assert_int_equal(open_text(&a, text, sizeof text), 0); /* New, incarnation 999. */
    path_of(&a, "state", from);
    path_of(&b, "state", to);
    store_dir_remove(to);
    store_dir_copy(from, to);
    assert_int_equal(open_text(&b, text, sizeof text), KV_ELOST);
    bench_close(&a);
    bench_close(&b);
}

/* An older copy of one environment beside the newer other one. */
static void a_rolled_back_part_is_a_lost_node(void **unused)
{
    char from[600];
    char to[600];
    char text[300];
    struct bench b;
    struct store *s;
    struct fault_script script;

    (void)unused;
    b = (struct bench){0};
    store_dir_make_fast(b.whole);
    store_dir_make_fast(b.dir);
    fault_script_open(&script);
    assert_int_equal(store_dir_open(b.dir, &s), 0);
    assert_int_equal(fault_script_step(&script, s, 0), 0); /* Entries only. */
    s->ops->close(s);
    store_dir_copy(b.dir, b.whole);
    for (int part = 0; part < 2; part++) {
        restore(&b);
        assert_int_equal(store_dir_open(b.dir, &s), 0);
        for (uint32_t i = 1; i <= 12; i++) { /* Checkpoints, compactions. */
            assert_int_equal(fault_script_step(&script, s, i), 0);
        }
        s->ops->close(s);
        snprintf(from, sizeof from, "%s/%s", b.whole, part == 0 ? "log" : "state");
        path_of(&b, part == 0 ? "log" : "state", to);
        store_dir_remove(to);
        store_dir_copy(from, to);
        assert_int_equal(open_text(&b, text, sizeof text), KV_ELOST);
    }
    fault_script_close(&script);
    bench_close(&b);
}

static void a_cut_file_is_refused_and_not_a_bus_error(void **unused)
{
    static const char *const names[] = {"log/data.mdb", "state/data.mdb"};
    char text[300];
    struct bench b;

    (void)unused;
    bench_open(&b);
    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        restore(&b);
        for (off_t blocks = 0; blocks < blocks_of(&b, names[i]);
             blocks += STORE_DIR_SLOW ? 16 : 3) {
            int fd = file_open(&b, names[i]);
            int rc;

            assert_int_equal(ftruncate(fd, blocks * DAMAGE_BLOCK_BYTES), 0);
            close(fd);
            rc = open_text(&b, text, sizeof text);
            assert_true(rc == 0 || rc == KV_EDAMAGED || rc == KV_ELOST);
            assert_true(rc != 0 || blocks >= 10); /* Cut behind the last page in use. */
            assert_int_equal(rc == 0, text[0] == 0 || strstr(text, "tmpfs") != NULL);
            restore(&b);
        }
    }
    bench_close(&b);
}

static void a_second_opening_is_refused_with_the_pid(void **unused)
{
    char text[300];
    char path[600];
    char pid[32];
    struct bench b;
    struct store *s;

    (void)unused;
    bench_open(&b);
    restore(&b);
    assert_int_equal(store_dir_open(b.dir, &s), 0);
    assert_int_equal(open_text(&b, text, sizeof text), KV_EEXIST);
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    assert_non_null(strstr(text, pid));
    /* Also where somebody cleaned up. */
    snprintf(path, sizeof path, "%s/LOCK", b.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_text(&b, text, sizeof text), KV_EEXIST);
    s->ops->close(s);
    assert_int_equal(open_text(&b, text, sizeof text), 0);
    bench_close(&b);
}

/* ---- found while it runs ---- */

/* Finds the record of (group, index) in the file and flips a bit of its payload. */
static void record_flip(const struct bench *b, struct store *s, group_id group,
                        raft_index index)
{
    static uint8_t file[4 << 20];
    struct kv_bytes *records;
    struct arena arena;
    uint32_t count;
    int fd = file_open(b, "log/data.mdb");
    ssize_t len = pread(fd, file, sizeof file, 0);
    int found = 0;

    arena_init(&arena, 4096, 0);
    assert_int_equal(
        s->ops->log_read(s, group, index, index + 1, 1, &arena, &records, &count), 0);
    for (ssize_t at = 0; at + (ssize_t)records[0].len <= len; at += 2) {
        if (memcmp(file + at, records[0].data, records[0].len) == 0) {
            uint8_t byte = file[at + (ssize_t)records[0].len - 1] ^ 1;

            assert_int_equal(pwrite(fd, &byte, 1, at + (ssize_t)records[0].len - 1), 1);
            found++;
        }
    }
    assert_true(found > 0);
    close(fd);
    arena_close(&arena);
}

static void the_scrubber_finds_an_entry_and_repair_brings_it_back(void **unused)
{
    struct bench b;
    struct store *s;
    struct store_scrub scrub = {0};
    struct kv_bytes *records;
    struct raft_meta meta;
    struct arena arena;
    uint32_t count;

    (void)unused;
    bench_open(&b);
    restore(&b);
    arena_init(&arena, 4096, 0);
    assert_int_equal(store_dir_open(b.dir, &s), 0);
    assert_int_equal(s->ops->log_read(s, 1, 4, 5, 1, &arena, &records, &count), 0);
    record_flip(&b, s, 1, 4);
    assert_int_equal(s->ops->log_meta(s, 1, 4, &meta), KV_EDAMAGED);
    assert_int_equal(s->ops->log_read(s, 1, 2, 8, 100000, &arena,
                                      &(struct kv_bytes *){NULL}, &count),
                     0);
    assert_int_equal(count, 2); /* 2 and 3: what lies before it. */
    while (!scrub.found && scrub.round == 0) {
        assert_int_equal(s->ops->scrub(s, 500, &scrub), 0);
    }
    assert_true(scrub.found);
    assert_int_equal(scrub.damage.group, 1);
    assert_int_equal(scrub.damage.index, 4);
    assert_false(scrub.damage.in_state);
    assert_int_equal(s->ops->log_repair(s, 1, 4, records[0]), 0);
    assert_int_equal(s->ops->log_meta(s, 1, 4, &meta), 0);
    while (scrub.round == 0) {
        assert_int_equal(s->ops->scrub(s, 5000, &scrub), 0);
        assert_false(scrub.found);
    }
    s->ops->close(s);
    arena_close(&arena);
    bench_close(&b);
}

/* What was acked behind a snapshot stays, whatever cannot be read where they meet. */
static void a_reset_over_damaged_entries_keeps_what_is_behind(void **unused)
{
    (void)unused;
    for (uint32_t damaged = 1; damaged <= 2; damaged++) {
        struct bench b;
        struct store *s;
        struct raft_meta meta;
        struct log_state before, after;
        struct raft_base to;
        struct log_write w = {.group = 1, .reset_to = &to};

        bench_open(&b);
        restore(&b);
        assert_int_equal(store_dir_open(b.dir, &s), 0);
        assert_int_equal(s->ops->log_load(s, 1, &before), 0);
        assert_int_equal(s->ops->log_meta(s, 1, 4, &meta), 0);
        to = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
        record_flip(&b, s, 1, 4);
        if (damaged == 2) {
            record_flip(&b, s, 1, 5);
        }
        assert_int_equal(s->ops->log_write(s, &w, 1), 0);
        assert_int_equal(s->ops->log_load(s, 1, &after), 0);
        assert_int_equal(after.base.pos.index, 4);
        assert_int_equal(after.last.pos.index, before.last.pos.index);
        assert_int_equal(s->ops->log_meta(s, 1, 5, &meta),
                         damaged == 2 ? KV_EDAMAGED : 0);
        assert_int_equal(s->ops->log_meta(s, 1, 6, &meta), 0);
        s->ops->close(s);
        bench_close(&b);
    }
}

/* The group of the rows on a leaf page; UINT32_MAX: it holds none. */
static uint32_t rows_page_group(const struct bench *b, off_t block, uint16_t *out_rows)
{
    uint8_t page[DAMAGE_BLOCK_BYTES];
    uint16_t flags, lower, offset, key_bytes;
    int fd = file_open(b, "state/data.mdb");

    assert_int_equal(pread(fd, page, sizeof page, block * DAMAGE_BLOCK_BYTES),
                     sizeof page);
    close(fd);
    memcpy(&flags, page + 10, 2);
    memcpy(&lower, page + 12, 2);
    memcpy(&offset, page + 16, 2);
    if (flags != 2 || lower <= 18 || lower > sizeof page || offset > sizeof page - 24) {
        return UINT32_MAX;
    }
    memcpy(&key_bytes, page + offset + 6, 2);
    *out_rows = (uint16_t)((lower - 16) / 2);
    return key_bytes > 9 ? kv_get_u32be(page + offset + 8) : UINT32_MAX;
}

/* Makes a page of an open store hide its last row; true: the page was in use, so that
 * a reader got an error, and the scrubber found it. */
static bool scrub_finds_hidden(struct bench *b, off_t block)
{
    struct store_scrub scrub = {0};
    struct store *s;
    struct arena arena;
    struct row *rows;
    uint32_t count;
    uint16_t on_page = 0;
    uint32_t group = rows_page_group(b, block, &on_page);
    uint8_t lower[2] = {(uint8_t)((14 + 2 * on_page) % 256),
                        (uint8_t)((14 + 2 * on_page) / 256)};
    bool is_used;
    int fd;

    if (group >= DAMAGE_GROUPS) {
        return false;
    }
    restore(b);
    arena_init(&arena, 4096, 0);
    assert_int_equal(store_dir_open(b->dir, &s), 0);
    fd = file_open(b, "state/data.mdb");
    assert_int_equal(pwrite(fd, lower, 2, block * DAMAGE_BLOCK_BYTES + 12), 2);
    close(fd);
    is_used = s->ops->state_range(s, group, ROW_KV, kv_bytes(NULL, 0),
                                  kv_bytes(NULL, 0), 10000, &arena, &rows, &count) != 0;
    for (int calls = 0; calls < 1000 && !scrub.found && scrub.round == 0; calls++) {
        assert_int_equal(s->ops->scrub(s, 700, &scrub), 0);
    }
    if (is_used) {
        assert_true(scrub.found);
        assert_true(scrub.damage.in_state);
        assert_int_equal(scrub.damage.group, group);
    }
    s->ops->close(s);
    arena_close(&arena);
    return is_used;
}

/* No row is damaged, but one is missing. */
static void the_scrubber_finds_pages_that_hide_rows(void **unused)
{
    struct bench b;
    int found = 0;

    (void)unused;
    bench_open(&b);
    restore(&b);
    for (off_t block = 2; block < blocks_of(&b, "state/data.mdb"); block++) {
        found += scrub_finds_hidden(&b, block) ? 1 : 0;
        restore(&b);
    }
    assert_true(found > 1);
    bench_close(&b);
}

/* Rows that were hidden are known to be missing, and a snapshot brings them back. */
static void a_damaged_state_is_replaced_by_a_snapshot(void **unused)
{
    struct raft_snapshot snap;
    struct fault_script script;
    struct state_meta meta;
    struct raft_chunk chunk;
    struct store *from;
    struct store *s;
    struct bench b;
    struct row row;
    struct arena arena;
    uint8_t *data;
    int rc = 0;

    (void)unused;
    bench_open(&b);
    fault_script_open(&script);
    from = mem_store_base(script.source_disk);
    assert_int_equal(from->ops->snapshot_make(from, SCRIPT_GROUP, &snap), 0);
    data = kv_mem_zalloc(snap.bytes);
    for (off_t block = 2; rc != KV_EDAMAGED; block++) {
        restore(&b);
        assert_true(block < blocks_of(&b, "state/data.mdb"));
        if (block_is_zero(&b, "state/data.mdb", block)) {
            continue;
        }
        /* Bit 1 of `lower`: one row more or less in the list. */
        block_damage(&b, "state/data.mdb", block, 12 * 8 + 1);
        if (store_dir_open(b.dir, &s) == 0) {
            rc = s->ops->state_load(s, SCRIPT_GROUP, &meta);
            if (rc != KV_EDAMAGED) {
                s->ops->close(s);
            }
        }
    }
    arena_init(&arena, 4096, 0);
    assert_int_equal(s->ops->state_get(s, SCRIPT_GROUP, ROW_KV,
                                       kv_bytes_str("key-0001"), &arena, &row),
                     KV_EDAMAGED);
    assert_int_equal(from->ops->snapshot_read(from, SCRIPT_GROUP, snap.id, 0,
                                              (uint32_t)snap.bytes, data),
                     0);
    chunk = (struct raft_chunk){.snapshot_id = snap.id,
                                .len = (uint32_t)snap.bytes,
                                .done = true,
                                .data = kv_bytes(data, snap.bytes)};
    assert_int_equal(s->ops->chunk_store(s, SCRIPT_GROUP, &snap, &chunk), 0);
    assert_int_equal(s->ops->install(s, SCRIPT_GROUP, &snap), 0);
    assert_int_equal(s->ops->state_load(s, SCRIPT_GROUP, &meta), 0);
    assert_int_equal(meta.state_hash, snap.state_hash);
    assert_int_equal(s->ops->state_get(s, SCRIPT_GROUP, ROW_KV,
                                       kv_bytes_str("key-0001"), &arena, &row),
                     0);
    s->ops->close(s);
    arena_close(&arena);
    kv_mem_free(data);
    fault_script_close(&script);
    bench_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_block_of_the_log_gives_wrong_answers),
        cmocka_unit_test(no_block_of_the_state_gives_wrong_answers),
        cmocka_unit_test(a_lost_environment_is_a_lost_node),
        cmocka_unit_test(environments_of_two_directories_do_not_mix),
        cmocka_unit_test(a_rolled_back_part_is_a_lost_node),
        cmocka_unit_test(a_cut_file_is_refused_and_not_a_bus_error),
        cmocka_unit_test(a_second_opening_is_refused_with_the_pid),
        cmocka_unit_test(a_reset_over_damaged_entries_keeps_what_is_behind),
        cmocka_unit_test(the_scrubber_finds_an_entry_and_repair_brings_it_back),
        cmocka_unit_test(the_scrubber_finds_pages_that_hide_rows),
        cmocka_unit_test(a_damaged_state_is_replaced_by_a_snapshot),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/damage", tests, NULL, NULL);
}
