/* tests/server/test_log.c - the format of log lines, and what is dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"

/* A sink that writes into a pipe, and what came out of it. */
struct fixture {
    struct log_sink sink;
    int read_fd;
    char text[65536];
};

static int setup(void **state)
{
    static struct fixture f;
    int fds[2];

    memset(&f, 0, sizeof f);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    f.read_fd = fds[0];
    log_sink_init(&f.sink, fds[1], LOG_INFO);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->read_fd);
    close(f->sink.fd);
    return 0;
}

/* Reads what was written since the last call; returns the number of lines. */
static unsigned lines(struct fixture *f)
{
    ssize_t got = read(f->read_fd, f->text, sizeof f->text - 1);
    unsigned count = 0;

    f->text[got > 0 ? got : 0] = '\0';
    for (const char *p = f->text; *p != '\0'; p++) {
        count += *p == '\n';
    }
    return count;
}

static void writes_time_level_and_text_as_one_line(void **state)
{
    struct fixture *f = *state;

    log_sink_write(&f->sink, LOG_INFO, 1795426867123ull,
                   "group=3 node=1 became=leader");

    assert_int_equal(lines(f), 1);
    assert_string_equal(
        f->text, "2026-11-23T09:41:07.123Z INFO  group=3 node=1 became=leader\n");
}

static void drops_what_is_above_the_level(void **state)
{
    struct fixture *f = *state;

    log_sink_write(&f->sink, LOG_DEBUG, 1000, "request=1");
    assert_int_equal(lines(f), 0);
    log_sink_write(&f->sink, LOG_ERROR, 1000, "disk=failed");
    assert_int_equal(lines(f), 1);
    assert_non_null(strstr(f->text, " ERROR disk=failed\n"));
}

static void replaces_bytes_that_could_forge_a_line(void **state)
{
    struct fixture *f = *state;

    log_sink_write(&f->sink, LOG_WARN, 1000, "host=\"a\nb\033[2J\x7f\xc3\xa4\"");

    assert_int_equal(lines(f), 1);
    assert_non_null(strstr(f->text, "host=\"a?b?[2J?\xc3\xa4\"\n"));
}

static void cuts_long_lines(void **state)
{
    struct fixture *f = *state;
    char text[4 * LOG_LINE_BYTES_MAX];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    log_sink_write(&f->sink, LOG_WARN, 1000, text);

    assert_int_equal(lines(f), 1);
    assert_int_equal(strlen(f->text), LOG_LINE_BYTES_MAX - 1);
}

static void counts_repeats_instead_of_writing_them(void **state)
{
    struct fixture *f = *state;
    char text[64];

    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "client=turned_away open=%d", i);
        log_sink_write(&f->sink, LOG_WARN, 5000 + (uint64_t)i, text);
    }
    assert_int_equal(lines(f), LOG_WINDOW_LINES);

    log_sink_flush(&f->sink, 5000 + LOG_WINDOW_MS - 1, false);
    assert_int_equal(lines(f), 0);
    log_sink_flush(&f->sink, 5000 + LOG_WINDOW_MS, false);
    assert_int_equal(lines(f), 1);
    assert_non_null(strstr(f->text, "client=turned_away open=999... and 960 more"));

    log_sink_write(&f->sink, LOG_WARN, 20000, "client=turned_away open=7");
    assert_int_equal(lines(f), 1);
}

static void lets_other_lines_through_while_one_repeats(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        log_sink_write(&f->sink, LOG_WARN, 5000, "peer=2 link=down");
    }
    (void)lines(f);
    log_sink_write(&f->sink, LOG_ERROR, 5000, "halted=1");
    assert_true(lines(f) >= 1);
    assert_non_null(strstr(f->text, "halted=1"));
}

static void reports_open_windows_at_the_end(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < LOG_WINDOW_LINES + 5; i++) {
        log_sink_write(&f->sink, LOG_INFO, 5000, "x=1");
    }
    (void)lines(f);
    log_sink_flush(&f->sink, 5001, true);
    assert_int_equal(lines(f), 1);
    assert_non_null(strstr(f->text, "and 5 more"));
}

static void a_clock_set_back_ends_the_window(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < LOG_WINDOW_LINES; i++) {
        log_sink_write(&f->sink, LOG_INFO, 50000, "x=1");
    }
    (void)lines(f);
    log_sink_write(&f->sink, LOG_INFO, 1000, "x=1");
    assert_int_equal(lines(f), 1);
}

static void reads_the_four_levels_and_nothing_else(void **state)
{
    enum log_level level = LOG_INFO;

    (void)state;
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("DEBUG", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_DEBUG);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(writes_time_level_and_text_as_one_line),
        T(drops_what_is_above_the_level),
        T(replaces_bytes_that_could_forge_a_line),
        T(cuts_long_lines),
        T(counts_repeats_instead_of_writing_them),
        T(lets_other_lines_through_while_one_repeats),
        T(reports_open_windows_at_the_end),
        T(a_clock_set_back_ends_the_window),
        T(reads_the_four_levels_and_nothing_else),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/log", tests, NULL, NULL);
}
