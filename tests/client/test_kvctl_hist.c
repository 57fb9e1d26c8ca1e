/* tests/client/test_kvctl_hist.c - the histogram against sorted values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/kvctl_hist.h"
#include "raft/base/check.h"
#include "raft/base/prng.h"

static struct hist hist, other;

static int setup(void **state)
{
    (void)state;
    memset(&hist, 0, sizeof hist);
    memset(&other, 0, sizeof other);
    return 0;
}

static void every_value_lies_in_its_bucket(void **state)
{
    (void)state;
    for (uint64_t v = 0; v < 100000; v++) {
        uint32_t b = hist_bucket(v);

        assert_true(v <= hist_bucket_max(b));
        assert_true(b == 0 || v > hist_bucket_max(b - 1));
    }
    for (uint32_t b = 0; b < HIST_BUCKETS; b++) {
        assert_int_equal(hist_bucket(hist_bucket_max(b)), b);
    }
    assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
    assert_true(hist_bucket_max(HIST_BUCKETS - 1) == UINT64_MAX);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void quantiles_are_those_of_the_sorted_values(void **state)
{
    enum {
        COUNT = 20000
    };
    static uint64_t values[COUNT];
    static const double qs[] = {0.0001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    struct prng prng;

    (void)state;
    prng_init(&prng, 7);
    for (int i = 0; i < COUNT; i++) {
        values[i] = prng_next(&prng) >> prng_between(&prng, 10, 60);
        hist_record(i % 2 == 0 ? &hist : &other, values[i]);
    }
    hist_add(&hist, &other);
    qsort(values, COUNT, sizeof values[0], compare);
    assert_int_equal(hist.count, COUNT);
    assert_true(hist.max == values[COUNT - 1]);
    for (size_t i = 0; i < KV_ARRAY_COUNT(qs); i++) {
        uint64_t exact = values[(int)(qs[i] * COUNT + 0.5) - 1];
        uint64_t got = hist_quantile(&hist, qs[i]);

        assert_true(got >= exact);
        assert_true((double)got <= (double)exact * 1.008 + 1);
    }
}

static void an_empty_one_has_no_quantiles(void **state)
{
    (void)state;
    assert_int_equal(hist_quantile(&hist, 0.99), 0);
    assert_true(hist_mean(&hist) == 0);
}

static void a_single_value_is_exact(void **state)
{
    (void)state;
    hist_record(&hist, 1234567);
    assert_int_equal(hist_quantile(&hist, 0.5), 1234567);
    assert_int_equal(hist_quantile(&hist, 1), 1234567);
    assert_true(hist_mean(&hist) == 1234567);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_value_lies_in_its_bucket, setup),
        cmocka_unit_test_setup(quantiles_are_those_of_the_sorted_values, setup),
        cmocka_unit_test_setup(an_empty_one_has_no_quantiles, setup),
        cmocka_unit_test_setup(a_single_value_is_exact, setup),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/kvctl_hist", tests, NULL, NULL);
}
