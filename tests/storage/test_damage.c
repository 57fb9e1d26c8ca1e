/* tests/storage/test_damage.c - flipped bits, zeroed blocks, lost and cut files.
 *
 * A small store is damaged in one place at a time, then opened and read by a child process.
 * Each answer must be the right one or an error; a process that dies inside LMDB counts as
 * stopped. A wrong answer without an error fails the test.
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
    DAMAGE_FLIPS = 5,   /* Per block. */
    CHILD_RIGHT = 0,    /* Every answer was right. */
    CHILD_ERROR = 10,   /* Some were errors, none was wrong. */
    CHILD_REFUSED = 11, /* It did not open. */
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

static void read_log(struct store *s, group_id g, struct answers *a)
{
    const struct log_state *h = &a->heads[g];
    struct log_state now = {0};
    int rc = s->ops->log_load(s, g, &now);

    answer(a, rc, &now, sizeof now);
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
        answer(a, rc, &meta, sizeof meta);
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
    assert_true(b.errors + b.refused > 50);
    bench_close(&b);
}

static void no_block_of_the_state_gives_wrong_answers(void **unused)
{
    struct bench b;

    (void)unused;
    bench_open(&b);
    damage_every_block(&b, "state/data.mdb");
    assert_true(b.errors + b.refused > 20);
    bench_close(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_block_of_the_log_gives_wrong_answers),
        cmocka_unit_test(no_block_of_the_state_gives_wrong_answers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/damage", tests, NULL, NULL);
}
