/* tests/jepsen/test_options.c - the command line: what is refused, what is derived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/options.h"
#include "raft/base/err.h"

static struct options o;
static char error[256];

static int parse(char *a, char *b)
{
    char *argv[] = {a, b};

    options_init(&o);
    error[0] = '\0';
    return options_parse(&o, b == NULL ? 1 : 2, argv, error, sizeof error);
}

static void refuses_what_it_does_not_know(void **state)
{
    (void)state;
    assert_int_equal(parse("--nonsense", NULL), KV_EINVAL);
    assert_string_equal(error, "--nonsense: no such option");
    assert_int_equal(parse("nodes", "3"), KV_EINVAL);
    assert_int_equal(parse("--nodes", NULL), KV_EINVAL);
    assert_string_equal(error, "--nodes: needs a value");
    assert_int_equal(parse("--workload", ""), KV_EINVAL);
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    assert_int_equal(parse("--nodes", "9"), 0);
    assert_int_equal(o.nodes, 9);
    assert_int_equal(parse("--nodes", "10"), KV_EINVAL);
    assert_string_equal(error, "--nodes 10: a number of 1 to 9");
    assert_int_equal(parse("--nodes", "0"), KV_EINVAL);
    assert_int_equal(parse("--nodes", "-1"), KV_EINVAL);
    assert_int_equal(parse("--nodes", "3x"), KV_EINVAL);
    assert_int_equal(parse("--seed", "18446744073709551615"), 0);
    assert_true(o.seed == UINT64_MAX);
    assert_int_equal(parse("--seed", "18446744073709551616"), KV_EINVAL);
}

static void a_read_level_is_checked(void **state)
{
    (void)state;
    assert_int_equal(parse("--read-level", "stale"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), 0);
    assert_int_equal(options_level(&o), 3);
    assert_int_equal(parse("--read-level", "fresh"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_int_equal(parse("--read-level", "quorum"), 0);
    assert_int_equal(options_level(&o), 1);
    o.workload = "set"; /* It reads by range. */
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_int_equal(parse("--nodes", "3"), 0);
    assert_int_equal(options_level(&o), -1);
}

static void an_environment_is_checked(void **state)
{
    (void)state;
    assert_int_equal(parse("--env", "veth"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), 0);
    assert_int_equal(parse("--env", "vet"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_string_equal(error, "--env vet: auto, netns, veth or proxy");
}

static void derives_what_was_not_given(void **state)
{
    (void)state;
    assert_int_equal(parse("--nemesis", "partition:one,kill"), 0);
    o.seed = 1;
    assert_int_equal(options_finish(&o, error, sizeof error), 0);
    assert_int_equal(o.replicas, 5);
    assert_int_equal(o.concurrency, 40);
    assert_string_equal(o.name, "register-partition_one_kill");
    assert_string_equal(o.args[0], "--replicas");
    assert_string_equal(o.args[1], "5");
    assert_null(o.args[2]);
}

static void splits_the_flags_for_kvd(void **state)
{
    (void)state;
    assert_int_equal(parse("--kvd-args", " --zone a  --x"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), 0);
    assert_string_equal(o.args[2], "--zone");
    assert_string_equal(o.args[3], "a");
    assert_string_equal(o.args[4], "--x");
    assert_null(o.args[5]);
}

static void refuses_values_that_contradict(void **state)
{
    (void)state;
    assert_int_equal(parse("--replicas", "9"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_int_equal(parse("--concurrency", "3"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_int_equal(parse("--clean", "60"), 0);
    assert_int_equal(options_finish(&o, error, sizeof error), KV_EINVAL);
    assert_non_null(strstr(error, "--clean 60"));
}

static void says_the_command_that_repeats_a_run(void **state)
{
    char text[1024];

    (void)state;
    assert_int_equal(parse("--kvd-args", "--zone a"), 0);
    o.seed = 77;
    o.keep_data = true;
    assert_int_equal(options_finish(&o, error, sizeof error), 0);
    options_command(&o, text, sizeof text);
    assert_string_equal(text,
                        "kvjepsen --workload register --nemesis none --replicas 5 "
                        "--kvd-args '--zone a' --concurrency 40 --seed 77 --keep-data");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(a_read_level_is_checked),
        cmocka_unit_test(an_environment_is_checked),
        cmocka_unit_test(derives_what_was_not_given),
        cmocka_unit_test(splits_the_flags_for_kvd),
        cmocka_unit_test(refuses_values_that_contradict),
        cmocka_unit_test(says_the_command_that_repeats_a_run),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
