/* tests/storage/test_failpoint.c - arming, counting, dying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "tests/lib/store_dir.h"

#ifdef KV_FAILPOINTS

static void the_nth_time_counts(void **state)
{
    (void)state;
    assert_true(failpoint_arm("log_write=error@3"));
    assert_int_equal(KV_FAILPOINT(log_write), 0);
    assert_int_equal(KV_FAILPOINT(log_write), 0);
    assert_int_equal(KV_FAILPOINT(log_write), KV_EIO);
    assert_int_equal(KV_FAILPOINT(log_write), 0);
}

static void two_dots_go_on(void **state)
{
    (void)state;
    assert_true(failpoint_arm("env_grow=nospace@2..,log_write=off"));
    assert_int_equal(KV_FAILPOINT(env_grow), 0);
    assert_int_equal(KV_FAILPOINT(env_grow), KV_ENOSPACE);
    assert_int_equal(KV_FAILPOINT(env_grow), KV_ENOSPACE);
    assert_true(failpoint_arm("env_grow=off"));
    assert_int_equal(KV_FAILPOINT(env_grow), 0);
}

static void what_cannot_be_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",          "log_write",          "log_writ=panic", "log_write=panic@0",
        "=panic",    "log_write=panic@1x", "reply=error",    "reply=torn",
        "reply=bad", "log_write=torn",     "reply=panic,",   "snap_write=error",
    };

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(wrong); i++) {
        if (failpoint_arm(wrong[i])) {
            fail_msg("%s was taken", wrong[i]);
        }
    }
    assert_true(failpoint_arm("reply=off"));
}

static void hits_are_counted(void **state)
{
    struct failpoint_about about;
    size_t count = 0;
    uint64_t hits = 0;

    (void)state;
    (void)KV_FAILPOINT(stop_done);
    (void)KV_FAILPOINT(stop_done);
    while (failpoint_about(count, &about)) {
        hits = strcmp(about.name, "stop_done") == 0 ? about.hits : hits;
        count++;
    }
    assert_int_equal(count, FAILPOINTS_COUNT);
    assert_true(count >= 45);
    assert_int_equal(hits, 2);
}

/* Runs `child` in a process of its own; its exit status. */
static int status_of(void (*child)(int fd), int fd)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        child(fd);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void child_panics(int fd)
{
    (void)fd;
    (void)KV_FAILPOINT(reply);
}

static void child_writes(int fd)
{
    KV_FAILPOINT_WRITE(chunk_write, fd, "01234567", 8, 2);
}

static void panic_and_torn_end_the_process(void **state)
{
    char path[STORE_DIR_BYTES];
    char file[STORE_DIR_BYTES + 8];
    char got[16] = "";
    FILE *f;

    (void)state;
    assert_true(failpoint_arm("reply=panic"));
    assert_int_equal(status_of(child_panics, 0), 99);
    assert_true(failpoint_arm("reply=off,chunk_write=torn"));
    store_dir_make(path);
    snprintf(file, sizeof file, "%s/f", path);
    f = fopen(file, "w+");
    assert_non_null(f);
    assert_int_equal(status_of(child_writes, fileno(f)), 99);
    assert_int_equal(fread(got, 1, sizeof got, f), 6); /* A half, at its offset. */
    assert_memory_equal(got + 2, "0123", 4);
    (void)fclose(f);
    store_dir_remove(path);
    assert_true(failpoint_arm("chunk_write=off"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_time_counts),
        cmocka_unit_test(two_dots_go_on),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(hits_are_counted),
        cmocka_unit_test(panic_and_torn_end_the_process),
    };

    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void other_builds_have_none(void **state)
{
    (void)state;
    assert_int_equal(KV_FAILPOINT(reply), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(other_builds_have_none)};

    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
