/* tests/base/test_check.c - a failed assertion says where, and ends the process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raft/base/check.h"

/* Runs `broken` in a child; returns its wait status, its stderr in `out`. */
static int run_child(void (*broken)(void), char *out, size_t out_bytes)
{
    int fds[2];
    int status = 0;
    size_t len = 0;
    ssize_t got;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], 2);
        broken();
        _exit(0);
    }
    close(fds[1]);
    while ((got = read(fds[0], out + len, out_bytes - 1 - len)) > 0) {
        len += (size_t)got;
    }
    out[len] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_wrongly(void)
{
    volatile int two = 2;

    KV_ASSERT(two == 3);
}

static void reach(void)
{
    KV_UNREACHABLE();
}

static void imply(void)
{
    volatile int two = 2;

    KV_ASSERT_IMPLIES(two == 3, two == 4);
    KV_ASSERT_IMPLIES(two == 2, two == 2);
    KV_ASSERT_IMPLIES(two == 2, two == 5);
}

static void a_failed_assertion_names_the_place_and_aborts(void **state)
{
    char text[512];
    int status = run_child(assert_wrongly, text, sizeof text);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "two == 3"));
    assert_non_null(strstr(text, "tests/base/test_check.c:"));
}

static void an_unreachable_place_aborts(void **state)
{
    char text[512];
    int status = run_child(reach, text, sizeof text);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(text, "unreachable"));
}

static void an_implication_fails_only_when_its_premise_holds(void **state)
{
    char text[512];
    int status = run_child(imply, text, sizeof text);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(text, "two == 5"));
}

static void a_true_assertion_evaluates_once_and_goes_on(void **state)
{
    int count = 0;

    (void)state;
    KV_ASSERT(++count == 1);
    assert_int_equal(count, 1);
    assert_int_equal(KV_MIN(3, 2), 2);
    assert_int_equal(KV_MAX(3, 2), 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_assertion_names_the_place_and_aborts),
        cmocka_unit_test(an_unreachable_place_aborts),
        cmocka_unit_test(an_implication_fails_only_when_its_premise_holds),
        cmocka_unit_test(a_true_assertion_evaluates_once_and_goes_on),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/check", tests, NULL, NULL);
}
