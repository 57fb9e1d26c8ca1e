/* tests/jepsen/test_run_data.c - verdicts of a run, and when it recovered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/run.h"
#include "raft/base/err.h"

static struct run run;
static struct options options;

#define MS INT64_C(1000000)

static int begin(void **state)
{
    char error[256];

    (void)state;
    options_init(&options);
    options.nodes = 1;
    options.keys = 2;
    options.concurrency = 4;
    options.seed = 1;
    assert_int_equal(options_finish(&options, error, sizeof error), 0);
    return run_open(&run, &options);
}

static int end(void **state)
{
    (void)state;
    run_close(&run);
    return 0;
}

/* A write of a process from one time to another. */
static void wrote(int32_t process, int64_t begin_ms, int64_t end_ms,
                  enum history_type type)
{
    struct history_op op = {.process = process,
                            .f = HISTORY_WRITE,
                            .type = HISTORY_INVOKE,
                            .time_ns = begin_ms * MS};
    int64_t value = 1;

    assert_int_equal(history_append(&run.history, &op, HISTORY_INT, &value, 1), 0);
    op.type = type;
    op.time_ns = end_ms * MS;
    assert_int_equal(history_append(&run.history, &op, HISTORY_INT, &value, 1), 0);
}

static void fault(int64_t begin_ms, int64_t end_ms)
{
    run.faults[run.faults_count++] = (struct run_fault){
        .begin_ns = begin_ms * MS, .end_ns = end_ms * MS, .ended = true};
    run.times.faults_ns = run.times.quiet_ns = 10000 * MS;
}

static void the_slowest_lane_decides_about_recovery(void **state)
{
    (void)state;
    wrote(0, 90, 95, HISTORY_OK);
    fault(100, 1000);
    wrote(1, 150, 160, HISTORY_OK);   /* Lane 1. */
    wrote(2, 200, 300, HISTORY_FAIL); /* Lane 0, but nothing was written. */
    wrote(4, 310, 450, HISTORY_OK);   /* Lane 0: process 4 is worker 0. */
    run_recoveries(&run);
    assert_int_equal((int)run.faults[0].recover_ms, 350);
}

static void a_write_that_began_before_the_fault_proves_nothing(void **state)
{
    (void)state;
    fault(100, 1000);
    wrote(0, 99, 120, HISTORY_OK);
    wrote(1, 130, 140, HISTORY_OK);
    run_recoveries(&run);
    assert_int_equal((int)run.faults[0].recover_ms, -1);
}

static void recovery_after_the_end_is_counted_from_the_end(void **state)
{
    (void)state;
    fault(100, 1000);
    wrote(0, 1010, 1020, HISTORY_OK);
    wrote(1, 1030, 1050, HISTORY_OK);
    run_recoveries(&run);
    assert_int_equal((int)run.faults[0].recover_ms, -1);
    assert_int_equal((int)run.faults[0].recover_end_ms, 50);
}

static void more_verdicts_than_there_is_room_share_the_last(void **state)
{
    struct verdict *last = NULL;

    (void)state;
    for (int i = 0; i < RUN_VERDICTS_MAX + 5; i++) {
        last = run_verdict(&run, "x");
    }
    assert_int_equal(run.verdicts_count, RUN_VERDICTS_MAX);
    assert_ptr_equal(last, &run.verdicts[RUN_VERDICTS_MAX - 1]);
}

static void an_unknown_workload_is_refused_by_name(void **state)
{
    struct run other;

    (void)state;
    options.workload = "nothing";
    assert_int_equal(run_open(&other, &options), KV_EINVAL);
    assert_string_equal(other.error, "--workload nothing: no such workload");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(the_slowest_lane_decides_about_recovery),
        CASE(a_write_that_began_before_the_fault_proves_nothing),
        CASE(recovery_after_the_end_is_counted_from_the_end),
        CASE(more_verdicts_than_there_is_room_share_the_last),
        CASE(an_unknown_workload_is_refused_by_name),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
