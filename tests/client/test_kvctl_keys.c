/* tests/client/test_kvctl_keys.c - distributions of keys against their formulas. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/kvctl_keys.h"
#include "raft/base/check.h"

enum {
    COUNT = 1000,
    DRAWS = 1000 * 1000,
};

static uint32_t seen[COUNT];

/* How often each key comes in DRAWS draws. */
static void draw(const char *text)
{
    struct keys keys;

    memset(seen, 0, sizeof seen);
    assert_true(keys_init(&keys, text, COUNT, 42));
    for (int i = 0; i < DRAWS; i++) {
        uint64_t key = keys_next(&keys);

        assert_true(key < COUNT);
        seen[key]++;
    }
}

static int descending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x > y ? -1 : x < y;
}

static void uniform_draws_all_keys_alike(void **state)
{
    (void)state;
    draw("uniform");
    for (int i = 0; i < COUNT; i++) {
        assert_in_range(seen[i], DRAWS / COUNT * 8 / 10, DRAWS / COUNT * 12 / 10);
    }
}

static void sequential_counts_and_begins_again(void **state)
{
    struct keys keys;

    (void)state;
    assert_true(keys_init(&keys, "sequential", 3, 1));
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(keys_next(&keys), i % 3);
    }
}

static void a_hot_key_gets_its_share(void **state)
{
    (void)state;
    draw("hot:50");
    assert_in_range(seen[0], DRAWS * 49 / 100, DRAWS * 51 / 100);
    draw("hot");
    assert_in_range(seen[0], DRAWS * 89 / 100, DRAWS * 91 / 100);
}

/* The r-th most frequent key comes with probability r^-s / sum of i^-s. */
static void zipfian_at(const char *text, double skew)
{
    double sum = 0;

    for (int i = 1; i <= COUNT; i++) {
        sum += pow(i, -skew);
    }
    draw(text);
    qsort(seen, COUNT, sizeof seen[0], descending);
    for (int r = 1; r <= 100; r++) {
        double expected = DRAWS * pow(r, -skew) / sum;

        if (expected < 500) {
            break; /* Too few to judge. */
        }
        assert_true(fabs(seen[r - 1] - expected) < 0.1 * expected + 3 * sqrt(expected));
    }
}

static void zipfian_follows_its_law(void **state)
{
    (void)state;
    zipfian_at("zipfian", 0.99);
    zipfian_at("zipfian:1", 1);
    zipfian_at("zipfian:0.5", 0.5);
    zipfian_at("zipfian:2", 2);
}

static void ranks_are_scattered_over_all_keys(void **state)
{
    int reached = 0;

    (void)state;
    draw("zipfian");
    for (int i = 0; i < COUNT; i++) {
        reached += seen[i] > 0;
    }
    assert_int_equal(reached, COUNT);
    /* The two most frequent ones are no neighbours. */
    assert_true(seen[0] < DRAWS / 5 || seen[1] < DRAWS / 20);
}

static void one_key_is_enough(void **state)
{
    static const char *const texts[] = {"uniform", "zipfian", "sequential", "hot"};
    struct keys keys;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(texts); i++) {
        assert_true(keys_init(&keys, texts[i], 1, 9));
        assert_int_equal(keys_next(&keys), 0);
    }
}

static void refuses_what_is_no_distribution(void **state)
{
    static const char *const texts[] = {
        "",        "gauss", "uniform:3",  "zipfian:",    "zipfian:-1",
        "hot:101", "hot:x", "zipfian:1x", "zipfian:nan", "zipfian:inf"};
    struct keys keys;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(texts); i++) {
        assert_false(keys_init(&keys, texts[i], 10, 1));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_draws_all_keys_alike),
        cmocka_unit_test(sequential_counts_and_begins_again),
        cmocka_unit_test(a_hot_key_gets_its_share),
        cmocka_unit_test(zipfian_follows_its_law),
        cmocka_unit_test(ranks_are_scattered_over_all_keys),
        cmocka_unit_test(one_key_is_enough),
        cmocka_unit_test(refuses_what_is_no_distribution),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/kvctl_keys", tests, NULL, NULL);
}
