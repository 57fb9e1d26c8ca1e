/* tests/jepsen/test_power.c - the disk layer: what a power failure takes and leaves.
 *
 * The program runs itself again with the layer before it, as the one that writes; it
 * is killed, and its files are put back.
 */
#include "tests/jepsen/env_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "jepsen/env/power.h"
#include "jepsen/env/preload.h"
#include "raft/base/prng.h"

enum {
    PAGE = 4096
};

struct power_test {
    char root[64];
    char data[80];
    char state[80];
    struct layer_control *control;
};

static void setup(struct power_test *t)
{
    snprintf(t->root, sizeof t->root, "/tmp/kvj-power.XXXXXX");
    assert_non_null(mkdtemp(t->root));
    snprintf(t->data, sizeof t->data, "%s/data", t->root);
    snprintf(t->state, sizeof t->state, "%s/state", t->root);
    assert_int_equal(mkdir(t->data, 0700), 0);
    t->control = power_layer_open(t->state);
    assert_non_null(t->control);
}

static void teardown(struct power_test *t)
{
    power_layer_close(t->control, t->state);
    assert_int_equal(access(t->state, F_OK), -1);
    env_dir_remove(t->root);
}

/* What is loaded before the writer: the layer, which lies beside kvd. */
static void layer_load(void)
{
    char layer[512], text[600];

    if (preload_beside("libkvlayer.so", layer, sizeof layer) &&
        preload_text("/proc/self/exe", layer, text, sizeof text)) {
        setenv("LD_PRELOAD", text, 1);
    }
}

/* Runs a writer below the layer until it ends or kills itself. */
static int writer_run(struct power_test *t, const char *script, const char *seed)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        layer_load();
        setenv("KVLAYER_DIR", t->data, 1);
        setenv("KVLAYER_STATE", t->state, 1);
        if (chdir(t->data) == 0) {
            execl("/proc/self/exe", "test_power", "--writer", script, seed,
                  (char *)NULL);
        }
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static uint64_t power(struct power_test *t, uint32_t keep_ppm, uint64_t seed)
{
    uint64_t lost = 0;

    assert_int_equal(t->control->broken, 0);
    assert_int_equal(power_fail(t->data, t->state, keep_ppm, seed, &lost), 0);
    return lost;
}

/* ---- the writer's side ---- */

static void must(int ok, int line)
{
    if (!ok) {
        dprintf(2, "writer: line %d failed\n", line);
        _exit(1);
    }
}
#define MUST(x) must((x) ? 1 : 0, __LINE__)

static int file(const char *name, int flags)
{
    int fd = open(name, O_RDWR | O_CREAT | flags, 0600);

    MUST(fd >= 0);
    return fd;
}

static void put(int fd, char byte, size_t len, off_t at)
{
    char data[4 * PAGE];

    memset(data, byte, sizeof data);
    MUST(len <= sizeof data && pwrite(fd, data, len, at) == (ssize_t)len);
}

static void folder_sync(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY);

    MUST(fd >= 0 && fsync(fd) == 0 && close(fd) == 0);
}

static void script_content(void)
{
    int a = file("a", 0), d, w;

    put(a, '1', 3 * PAGE, 0);
    MUST(fdatasync(a) == 0);
    put(a, '2', PAGE, PAGE);     /* Not synced: goes. */
    put(a, '3', PAGE, 3 * PAGE); /* The file gets longer: goes. */
    d = file("d", 0);
    put(d, '1', 2 * PAGE, 0);
    MUST(fdatasync(d) == 0);
    put(d, '2', PAGE, 0);
    w = open("d", O_WRONLY | O_DSYNC);
    MUST(w >= 0);
    put(w, '3', 100, PAGE + 200); /* Synchronous: holds. */
    MUST(ftruncate(a, 2 * PAGE) == 0);
}

static void script_names(void)
{
    int a = file("old", 0), b = file("target", 0), c = file("gone", 0), n;

    put(a, 'a', 10, 0);
    put(b, 'b', 10, 0);
    put(c, 'c', 10, 0);
    MUST(fsync(a) == 0 && fsync(b) == 0 && fsync(c) == 0);
    folder_sync();
    MUST(rename("old", "target") == 0 && unlink("gone") == 0);
    n = file("new", 0);
    put(n, 'n', 10, 0); /* Nobody syncs it. */
    n = file("synced", 0);
    put(n, 's', 10, 0);
    MUST(fsync(n) == 0);
}

static void script_names_synced(void)
{
    script_names();
    folder_sync();
}

static void script_first(void)
{
    int a = file("a", 0);

    put(a, '1', PAGE, 0);
    MUST(fsync(a) == 0);
    put(a, '2', PAGE, 0);
}

static void script_second(void)
{
    put(file("a", 0), '3', 100, 0);
}

static void script_full(void)
{
    int a = file("a", 0);
    struct statvfs s;
    char byte = 'x';

    errno = 0;
    MUST(pwrite(a, &byte, 1, 0) == -1 && errno == ENOSPC);
    MUST(posix_fallocate(a, 0, PAGE) == ENOSPC);
    MUST(fstatvfs(a, &s) == 0 && s.f_bavail == 0);
}

static void script_failing(void)
{
    int a = file("a", 0);
    char byte = 'x';

    MUST(pwrite(a, &byte, 1, 0) == -1 && errno == EIO);
    MUST(fsync(a) == -1 && errno == EIO);
}

static void script_clock(void)
{
    struct timespec t;
    FILE *f = fopen("../clock", "we");

    MUST(f != NULL && clock_gettime(CLOCK_REALTIME, &t) == 0);
    fprintf(f, "%lld", (long long)t.tv_sec);
    MUST(fclose(f) == 0);
}

/* Random writes and syncs of two files, with what must hold in a file beside them. */
static void script_random(uint64_t seed)
{
    uint8_t holds[2][8 * PAGE] = {{0}}, now[2][8 * PAGE] = {{0}};
    size_t size[2] = {0, 0}, size_holds[2] = {0, 0};
    int fd[2] = {file("r0", 0), file("r1", 0)};
    int sync_fd[2] = {open("r0", O_WRONLY | O_DSYNC), open("r1", O_WRONLY | O_DSYNC)};
    struct prng p;
    int out;

    prng_init(&p, seed);
    folder_sync();
    for (uint64_t i = prng_between(&p, 1, 60); i > 0; i--) {
        size_t k = prng_below(&p, 2);
        size_t at = prng_below(&p, 7 * PAGE), len = prng_between(&p, 1, PAGE);
        char byte = (char)prng_between(&p, 1, 255);

        if (prng_below(&p, 4) == 0) {
            MUST(fdatasync(fd[k]) == 0);
            memcpy(holds[k], now[k], sizeof now[k]);
            size_holds[k] = size[k];
        } else if (prng_below(&p, 4) == 0) {
            /* A synchronous write carries its pages; only where they are clean is it
             * simple to say what holds, so sync first. */
            MUST(fdatasync(fd[k]) == 0);
            put(sync_fd[k], byte, len, (off_t)at);
            memset(now[k] + at, byte, len);
            size[k] = KV_MAX(size[k], at + len);
            memcpy(holds[k], now[k], sizeof now[k]);
            size_holds[k] = size[k];
        } else if (prng_below(&p, 8) == 0) {
            size_t cut = prng_below(&p, size[k] + 1);

            MUST(ftruncate(fd[k], (off_t)cut) == 0);
            memset(now[k] + cut, 0, sizeof now[k] - cut);
            size[k] = cut;
        } else {
            put(fd[k], byte, len, (off_t)at);
            memset(now[k] + at, byte, len);
            size[k] = KV_MAX(size[k], at + len);
        }
    }
    out = open("../holds", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(write(out, size_holds, sizeof size_holds) == sizeof size_holds);
    MUST(write(out, holds, sizeof holds) == sizeof holds);
}

static int writer_main(const char *script, const char *seed)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        {"content", script_content},
        {"names", script_names},
        {"names_synced", script_names_synced},
        {"first", script_first},
        {"second", script_second},
        {"full", script_full},
        {"failing", script_failing},
        {"clock", script_clock},
    };

    if (strcmp(script, "random") == 0) {
        script_random(strtoull(seed, NULL, 10));
    }
    for (size_t i = 0; i < KV_ARRAY_COUNT(all); i++) {
        if (strcmp(all[i].name, script) == 0) {
            all[i].run();
        }
    }
    kill(getpid(), SIGKILL);
    return 1;
}

/* ---- the test's side ---- */

static size_t content(struct power_test *t, const char *name, uint8_t *out, size_t room)
{
    char path[160];
    ssize_t len;
    int fd;

    snprintf(path, sizeof path, "%s/%s", t->data, name);
    fd = open(path, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    len = read(fd, out, room);
    assert_true(len >= 0);
    (void)close(fd);
    return (size_t)len;
}

/* Is it `len` bytes long, and all of them `byte`? */
static bool is_all(struct power_test *t, const char *name, char byte, size_t len)
{
    uint8_t got[8 * PAGE];

    if (content(t, name, got, sizeof got) != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (got[i] != (uint8_t)byte) {
            return false;
        }
    }
    return true;
}

static void killed(int status)
{
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_power_failure_takes_what_was_not_synced(void **state)
{
    struct power_test t;
    uint8_t d[4 * PAGE];

    (void)state;
    setup(&t);
    killed(writer_run(&t, "content", ""));
    assert_true(power(&t, 0, 1) > 0);
    assert_true(is_all(&t, "a", '1', 3 * PAGE));
    assert_int_equal(content(&t, "d", d, sizeof d), 2 * PAGE);
    assert_int_equal(d[0], '1');          /* Not synced. */
    assert_int_equal(d[PAGE + 250], '3'); /* Synchronous. */
    assert_int_equal(d[PAGE + 100], '1');
    assert_int_equal(d[PAGE + 300], '1');
    teardown(&t);
}

static void a_kill_alone_takes_nothing(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    killed(writer_run(&t, "first", ""));
    assert_true(is_all(&t, "a", '2', PAGE));
    teardown(&t);
}

static void names_need_a_sync_of_their_folder(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    killed(writer_run(&t, "names", ""));
    assert_true(is_all(&t, "target", 'a', 10));
    (void)power(&t, 0, 1);
    assert_true(is_all(&t, "old", 'a', 10));
    assert_true(is_all(&t, "target", 'b', 10));
    assert_true(is_all(&t, "gone", 'c', 10));
    assert_true(is_all(&t, "new", 0, 0));
    assert_true(is_all(&t, "synced", 's', 10)); /* The file's own sync will do. */
    teardown(&t);
}

static void names_with_a_synced_folder_hold(void **state)
{
    struct power_test t;
    uint8_t byte;

    (void)state;
    setup(&t);
    killed(writer_run(&t, "names_synced", ""));
    (void)power(&t, 0, 1);
    assert_true(is_all(&t, "target", 'a', 10));
    assert_int_equal(content(&t, "old", &byte, 1), 0);
    assert_int_equal(content(&t, "gone", &byte, 1), 0);
    assert_true(is_all(&t, "new", 0, 0)); /* Its name holds, its content does not. */
    teardown(&t);
}

static void a_restart_syncs_nothing(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    killed(writer_run(&t, "first", ""));
    killed(writer_run(&t, "second", ""));
    (void)power(&t, 0, 1);
    assert_true(is_all(&t, "a", '1', PAGE));
    teardown(&t);
}

static void chance_keeps_whole_sectors(void **state)
{
    uint32_t kept = 0, mixed = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct power_test t;
        uint8_t a[2 * PAGE];

        setup(&t);
        killed(writer_run(&t, "first", ""));
        (void)power(&t, 500000, seed);
        assert_int_equal(content(&t, "a", a, sizeof a), PAGE);
        for (size_t i = 0; i < PAGE; i++) {
            assert_true(a[i] == '1' || a[i] == '2');
            mixed += a[i] != a[i / LAYER_SECTOR_BYTES * LAYER_SECTOR_BYTES];
            kept += i % LAYER_SECTOR_BYTES == 0 && a[i] == '2';
        }
        teardown(&t);
    }
    assert_int_equal(mixed, 0);
    assert_in_range(kept, 40, 120); /* Of 160. */
}

static void random_writes_come_back_as_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        static uint8_t want[2 * sizeof(size_t) + 16 * PAGE];
        uint8_t got[8 * PAGE];
        struct power_test t;
        size_t size[2];
        char text[24];

        setup(&t);
        snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
        killed(writer_run(&t, "random", text));
        (void)power(&t, 0, seed);
        assert_int_equal(content(&t, "../holds", want, sizeof want), sizeof want);
        memcpy(size, want, sizeof size);
        for (size_t k = 0; k < 2; k++) {
            const char *name = k == 0 ? "r0" : "r1";

            if (content(&t, name, got, sizeof got) != size[k] ||
                memcmp(got, want + sizeof size + k * 8 * PAGE, size[k]) != 0) {
                fail_msg("seed %llu, %s", (unsigned long long)seed, name);
            }
        }
        teardown(&t);
    }
}

static void a_full_disk_refuses_growth(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    t.control->full = 1;
    killed(writer_run(&t, "full", ""));
    assert_int_equal(t.control->refused, 2);
    teardown(&t);
}

static void a_failing_disk_fails(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    t.control->failing = 1;
    killed(writer_run(&t, "failing", ""));
    assert_int_equal(t.control->failed, 2);
    teardown(&t);
}

static void a_slow_disk_is_slow(void **state)
{
    struct power_test t;

    (void)state;
    setup(&t);
    t.control->sync_delay_us = 50000;
    killed(writer_run(&t, "first", ""));
    assert_in_range(t.control->sync_us_max, 50000, 5000000);
    teardown(&t);
}

static void the_wall_clock_is_shifted(void **state)
{
    struct power_test t;
    struct timespec now;
    char text[32] = "";

    (void)state;
    setup(&t);
    t.control->clock_offset_ms = -100000500;
    killed(writer_run(&t, "clock", ""));
    clock_gettime(CLOCK_REALTIME, &now);
    assert_true(content(&t, "../clock", (uint8_t *)text, sizeof text - 1) > 0);
    assert_in_range(now.tv_sec - strtoll(text, NULL, 10), 100000, 100060);
    teardown(&t);
}

static void a_log_that_is_not_whole_is_refused(void **state)
{
    struct power_test t;
    char path[160];
    uint64_t lost;
    int fd;

    (void)state;
    setup(&t);
    killed(writer_run(&t, "first", ""));
    snprintf(path, sizeof path, "%s/undo", t.state);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pwrite(fd, "damage", 6, 0) == 6);
    (void)close(fd);
    assert_int_equal(power_fail(t.data, t.state, 0, 1, &lost), KV_ECORRUPT);
    teardown(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_failure_takes_what_was_not_synced),
        cmocka_unit_test(a_kill_alone_takes_nothing),
        cmocka_unit_test(names_need_a_sync_of_their_folder),
        cmocka_unit_test(names_with_a_synced_folder_hold),
        cmocka_unit_test(a_restart_syncs_nothing),
        cmocka_unit_test(chance_keeps_whole_sectors),
        cmocka_unit_test(random_writes_come_back_as_synced),
        cmocka_unit_test(a_full_disk_refuses_growth),
        cmocka_unit_test(a_failing_disk_fails),
        cmocka_unit_test(a_slow_disk_is_slow),
        cmocka_unit_test(the_wall_clock_is_shifted),
        cmocka_unit_test(a_log_that_is_not_whole_is_refused),
    };

    if (argc > 3 && strcmp(argv[1], "--writer") == 0) {
        return writer_main(argv[2], argv[3]);
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
