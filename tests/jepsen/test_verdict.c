/* tests/jepsen/test_verdict.c - the worst verdict stays, with the first reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/verdict.h"

static void doubt_does_not_excuse_an_anomaly(void **state)
{
    struct verdict v;

    (void)state;
    verdict_init(&v, "linear");
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_doubt(&v, "rate %d", 499);
    verdict_doubt(&v, "something else");
    assert_int_equal(v.valid, VERDICT_UNKNOWN);
    assert_string_equal(v.text, "rate 499");
    verdict_add(&v, &(struct verdict_anomaly){.kind = "a", .text = "first"});
    verdict_add(&v, &(struct verdict_anomaly){.kind = "b", .text = "second"});
    verdict_doubt(&v, "late");
    assert_int_equal(v.valid, VERDICT_INVALID);
    assert_string_equal(v.text, "first");
    assert_int_equal(v.anomalies_count, 2);
    verdict_close(&v);
}

static void keeps_rows_ascending_and_once(void **state)
{
    struct verdict v;
    struct verdict_anomaly a = {.ops = {9, 2, 9, 0, 2}, .ops_count = 5};

    (void)state;
    verdict_init(&v, "x");
    verdict_add(&v, &a);
    assert_int_equal(v.anomalies[0].ops_count, 3);
    assert_int_equal(v.anomalies[0].ops[0], 0);
    assert_int_equal(v.anomalies[0].ops[1], 2);
    assert_int_equal(v.anomalies[0].ops[2], 9);
    verdict_close(&v);
}

static void counts_what_it_does_not_keep(void **state)
{
    struct verdict v;

    (void)state;
    verdict_init(&v, "x");
    for (int i = 0; i < VERDICT_ANOMALIES_MAX + 5; i++) {
        verdict_add(&v, &(struct verdict_anomaly){.kind = "a"});
        verdict_fact(&v, "n", i);
    }
    assert_int_equal(v.anomalies_count, VERDICT_ANOMALIES_MAX);
    assert_int_equal(v.anomalies_total, VERDICT_ANOMALIES_MAX + 5);
    assert_int_equal(v.facts_count, 32);
    verdict_close(&v);
}

static void the_worse_of_two_wins(void **state)
{
    (void)state;
    assert_int_equal(verdict_worse(VERDICT_VALID, VERDICT_UNKNOWN), VERDICT_UNKNOWN);
    assert_int_equal(verdict_worse(VERDICT_INVALID, VERDICT_UNKNOWN), VERDICT_INVALID);
    assert_string_equal(verdict_name(VERDICT_INVALID), "invalid");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubt_does_not_excuse_an_anomaly),
        cmocka_unit_test(keeps_rows_ascending_and_once),
        cmocka_unit_test(counts_what_it_does_not_keep),
        cmocka_unit_test(the_worse_of_two_wins),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/verdict", tests, NULL, NULL);
}
