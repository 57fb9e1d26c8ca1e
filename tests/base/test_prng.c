/* tests/base/test_prng.c - one seed gives one sequence, within bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/prng.h"

/* Source: the reference implementation of xoshiro256** seeded by splitmix64(0). */
static void gives_the_sequence_of_the_reference(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 0);
    assert_int_equal(prng_next(&p), 0x99ec5f36cb75f2b4u);
    assert_int_equal(prng_next(&p), 0xbf6e1f784956452au);
    assert_int_equal(prng_next(&p), 0x1a5f849d4933e6e0u);
}

static void one_seed_gives_one_sequence_and_another_gives_another(void **state)
{
    struct prng a;
    struct prng b;
    struct prng c;
    size_t same = 0;

    (void)state;
    prng_init(&a, 42);
    prng_init(&b, 42);
    prng_init(&c, 43);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t x = prng_next(&a);

        assert_int_equal(x, prng_next(&b));
        same += x == prng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void below_stays_below_and_reaches_everything_evenly(void **state)
{
    size_t counts[10] = {0};
    struct prng p;

    (void)state;
    prng_init(&p, 7);
    for (size_t i = 0; i < 100000; i++) {
        uint64_t x = prng_below(&p, 10);

        assert_true(x < 10);
        counts[x]++;
    }
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_int_equal(prng_below(&p, 1), 0);
}

static void between_includes_both_ends(void **state)
{
    struct prng p;
    size_t low = 0;
    size_t high = 0;

    (void)state;
    prng_init(&p, 7);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t x = prng_between(&p, 150, 152);

        assert_in_range(x, 150, 152);
        low += x == 150;
        high += x == 152;
    }
    assert_true(low > 250 && high > 250);
    assert_int_equal(prng_between(&p, 9, 9), 9);
    (void)prng_between(&p, 0, UINT64_MAX);
    assert_in_range(prng_between(&p, UINT64_MAX - 1, UINT64_MAX), UINT64_MAX - 1,
                    UINT64_MAX);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_sequence_of_the_reference),
        cmocka_unit_test(one_seed_gives_one_sequence_and_another_gives_another),
        cmocka_unit_test(below_stays_below_and_reaches_everything_evenly),
        cmocka_unit_test(between_includes_both_ends),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/prng", tests, NULL, NULL);
}
