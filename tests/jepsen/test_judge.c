/* tests/jepsen/test_judge.c - what makes a run unknown or invalid by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "jepsen/judge.h"

static struct run run;
static struct options options;
static char log_path[64];

/* A run of one node about which nothing can be said. */
static int begin(void **state)
{
    char error[256];
    FILE *f;
    int fd;

    (void)state;
    options_init(&options);
    options.nodes = 1;
    options.workload = "ids";
    options.nemesis = "kill";
    options.seed = 1;
    assert_int_equal(options_finish(&options, error, sizeof error), 0);
    assert_int_equal(run_open(&run, &options), 0);
    memcpy(log_path, "/tmp/kvjepsen-log.XXXXXX", 25);
    fd = mkstemp(log_path);
    f = fdopen(fd, "w");
    assert_non_null(f);
    fputs("2026-11-23T09:41:07.123Z INFO  node=1 ready\n", f);
    fclose(f);
    snprintf(run.nodes[0].log_path, sizeof run.nodes[0].log_path, "%s", log_path);
    run.nodes[0].starts = 1;
    run.healed = true;
    run.clean_rate = 1000;
    run.ok_by_f[HISTORY_GENERATE] = 9;
    run.nemesis = (struct nemesis_summary){.begun = 2, .effective = 2, .kinds = 1};
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(log_path);
    run_close(&run);
    return 0;
}

static enum verdict_valid valid_of(const char *checker)
{
    judge_run(&run);
    for (uint32_t i = 0; i < run.verdicts_count; i++) {
        if (strcmp(run.verdicts[i].checker, checker) == 0) {
            return run.verdicts[i].valid;
        }
    }
    fail_msg("no verdict of %s", checker);
    return VERDICT_UNKNOWN;
}

static void a_run_with_all_it_needs_is_valid(void **state)
{
    (void)state;
    assert_int_equal(valid_of("rate"), VERDICT_VALID);
    for (uint32_t i = 0; strcmp(run.verdicts[i].checker, "logs") != 0; i++) {
        assert_int_equal(run.verdicts[i].valid, VERDICT_VALID);
    }
    assert_int_equal(run.valid, VERDICT_UNKNOWN); /* It has no history. */
}

static void too_few_operations_before_the_first_fault_are_unknown(void **state)
{
    (void)state;
    run.clean_rate = 499;
    assert_int_equal(valid_of("rate"), VERDICT_UNKNOWN);
    assert_int_not_equal(run.valid, VERDICT_VALID);
}

static void an_operation_that_never_succeeded_is_unknown(void **state)
{
    (void)state;
    run.ok_by_f[HISTORY_GENERATE] = 0;
    assert_int_equal(valid_of("stats"), VERDICT_UNKNOWN);
}

static void a_nemesis_without_effect_is_unknown(void **state)
{
    (void)state;
    run.nemesis.effective = 0;
    assert_int_equal(valid_of("nemesis"), VERDICT_UNKNOWN);
}

static void one_kind_of_two_without_effect_is_unknown(void **state)
{
    (void)state;
    run.nemesis.kinds = 2;
    run.nemesis.kinds_unproven = 1;
    assert_int_equal(valid_of("nemesis"), VERDICT_UNKNOWN);
}

static void a_swarm_need_not_draw_every_kind(void **state)
{
    (void)state;
    options.nemesis = "swarm";
    run.nemesis.kinds = 9;
    run.nemesis.kinds_unproven = 7;
    assert_int_equal(valid_of("nemesis"), VERDICT_VALID);
}

static void a_swarm_without_any_effect_is_unknown(void **state)
{
    (void)state;
    options.nemesis = "swarm";
    run.nemesis.effective = 0;
    assert_int_equal(valid_of("nemesis"), VERDICT_UNKNOWN);
}

static void a_node_that_should_have_been_refused_is_invalid(void **state)
{
    (void)state;
    run.nemesis.wrongs = 1;
    memcpy(run.nemesis.wrong, "it runs", 8);
    assert_int_equal(valid_of("nemesis"), VERDICT_INVALID);
}

static void a_node_that_died_by_itself_is_invalid(void **state)
{
    (void)state;
    run.nodes[0].deaths = 1;
    assert_int_equal(valid_of("nodes"), VERDICT_INVALID);
    assert_int_equal(run.valid, VERDICT_INVALID);
}

static void a_damaged_node_may_die(void **state)
{
    (void)state;
    run.nodes[0].deaths = 1;
    run.final_failed = run.damaged = CLUSTER_BIT(1);
    assert_int_equal(valid_of("nodes"), VERDICT_VALID);
}

static void a_final_read_that_never_succeeds_is_invalid(void **state)
{
    (void)state;
    run.final_failed = CLUSTER_BIT(1);
    assert_int_equal(valid_of("nodes"), VERDICT_INVALID);
}

static void a_cluster_that_does_not_come_back_is_invalid(void **state)
{
    (void)state;
    run.healed = false;
    assert_int_equal(valid_of("nodes"), VERDICT_INVALID);
}

static void a_node_that_ignores_sigterm_is_invalid(void **state)
{
    (void)state;
    run.stops_late = CLUSTER_BIT(1);
    assert_int_equal(valid_of("nodes"), VERDICT_INVALID);
}

static void an_answer_without_sense_is_invalid(void **state)
{
    (void)state;
    memcpy(run.bad, "x", 2);
    assert_int_equal(valid_of("stats"), VERDICT_INVALID);
}

static void log_has(const char *line)
{
    FILE *f = fopen(log_path, "a");

    assert_non_null(f);
    fprintf(f, "%s\nmore\n", line);
    fclose(f);
}

static void an_assertion_in_a_log_is_invalid(void **state)
{
    (void)state;
    log_has("ASSERTION failed: commit <= last (raft/raft.c:12)");
    assert_int_equal(valid_of("logs"), VERDICT_INVALID);
}

static void a_sanitizer_in_a_log_is_invalid(void **state)
{
    (void)state;
    log_has("==12==ERROR: AddressSanitizer: heap-use-after-free on address 0x1");
    assert_int_equal(valid_of("logs"), VERDICT_INVALID);
}

static void a_failpoint_that_was_armed_is_no_finding(void **state)
{
    (void)state;
    log_has("kvd: failpoint log_write: panic");
    assert_int_equal(valid_of("logs"), VERDICT_VALID);
    run_close(&run);
    assert_int_equal(run_open(&run, &options), 0);
    snprintf(run.nodes[0].log_path, sizeof run.nodes[0].log_path, "%s", log_path);
    log_has("MDB_PANIC: update of meta page failed");
    assert_int_equal(valid_of("logs"), VERDICT_INVALID);
}

static void the_name_of_the_folder_is_no_finding(void **state)
{
    char dir[] = "/tmp/kvjepsen-panic.XXXXXX";
    char path[64];
    struct verdict v;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "node 1, data %s/data\n", dir);
    fclose(f);
    verdict_init(&v, "logs");
    judge_log(path, 1, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
    unlink(path);
    rmdir(dir);
}

static void a_log_that_is_missing_is_unknown(void **state)
{
    (void)state;
    unlink(log_path);
    assert_int_equal(valid_of("logs"), VERDICT_UNKNOWN);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_with_all_it_needs_is_valid),
        CASE(too_few_operations_before_the_first_fault_are_unknown),
        CASE(an_operation_that_never_succeeded_is_unknown),
        CASE(a_nemesis_without_effect_is_unknown),
        CASE(one_kind_of_two_without_effect_is_unknown),
        CASE(a_swarm_need_not_draw_every_kind),
        CASE(a_swarm_without_any_effect_is_unknown),
        CASE(a_node_that_should_have_been_refused_is_invalid),
        CASE(a_node_that_died_by_itself_is_invalid),
        CASE(a_damaged_node_may_die),
        CASE(a_final_read_that_never_succeeds_is_invalid),
        CASE(a_cluster_that_does_not_come_back_is_invalid),
        CASE(a_node_that_ignores_sigterm_is_invalid),
        CASE(an_answer_without_sense_is_invalid),
        CASE(an_assertion_in_a_log_is_invalid),
        CASE(a_sanitizer_in_a_log_is_invalid),
        CASE(a_failpoint_that_was_armed_is_no_finding),
        CASE(the_name_of_the_folder_is_no_finding),
        CASE(a_log_that_is_missing_is_unknown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
