/* tests/jepsen/test_availability.c - gaps and times to recover, per kind of fault. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/availability.h"

#define MS 1000000ll

/* Successes at these times, each begun 1 ms before. */
static void fill(struct history *h, const int64_t *ms, size_t count)
{
    history_init(h);
    for (size_t i = 0; i < count; i++) {
        struct history_op op = {.time_ns = (ms[i] - 1) * MS, .f = HISTORY_READ};

        assert_int_equal(history_append(h, &op, HISTORY_NIL, NULL, 0), 0);
        op.time_ns = ms[i] * MS;
        op.type = HISTORY_OK;
        assert_int_equal(history_append(h, &op, HISTORY_NIL, NULL, 0), 0);
    }
}

static double fact_of(const struct verdict *v, const char *name)
{
    for (uint32_t i = 0; i < v->facts_count; i++) {
        if (strcmp(v->facts[i].name, name) == 0) {
            return v->facts[i].value;
        }
    }
    fail_msg("no fact %s", name);
    return 0;
}

static void a_gap_reaches_from_success_to_success(void **state)
{
    const int64_t ms[] = {10, 20, 30, 230, 240, 250, 400};
    struct history h;

    (void)state;
    fill(&h, ms, KV_ARRAY_COUNT(ms));
    assert_true(availability_gap_ms(&h, 35 * MS, 245 * MS) == 200);
    assert_true(availability_gap_ms(&h, 12 * MS, 18 * MS) == 10);
    assert_true(availability_gap_ms(&h, 245 * MS, 300 * MS) == 150);
    assert_true(availability_gap_ms(&h, 390 * MS, 1400 * MS) == 1000);
    history_close(&h);
    history_init(&h);
    assert_true(availability_gap_ms(&h, 5 * MS, 15 * MS) == 10);
    history_close(&h);
}

static void kinds_are_measured_apart(void **state)
{
    const int64_t ms[] = {10, 20, 220};
    const struct availability_fault faults[] = {
        {"kill", 25 * MS, 100 * MS, 195},
        {"partition", 100 * MS, 200 * MS, 40},
        {"kill", 100 * MS, 200 * MS, 5},
        {"kill", 200 * MS, 210 * MS, -1},
    };
    struct history h;
    struct verdict v;

    (void)state;
    fill(&h, ms, KV_ARRAY_COUNT(ms));
    availability_check(&h, faults, KV_ARRAY_COUNT(faults), &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    assert_true(fact_of(&v, "kill_recover_max_ms") == 195);
    assert_true(fact_of(&v, "kill_never") == 1);
    assert_true(fact_of(&v, "kill_gap_max_ms") == 200);
    assert_true(fact_of(&v, "partition_recover_p50_ms") == 40);
    assert_true(fact_of(&v, "partition_never") == 0);
    verdict_close(&v);
    history_close(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_reaches_from_success_to_success),
        cmocka_unit_test(kinds_are_measured_apart),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/availability", tests, NULL, NULL);
}
