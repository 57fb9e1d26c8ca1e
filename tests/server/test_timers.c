/* tests/server/test_timers.c - the tree of deadlines against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/base/prng.h"
#include "server/timers.h"

static void agrees_with_an_array(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 64, 1000, TIMERS_SLOTS_MAX};
    static struct timers t;
    static uint64_t naive[TIMERS_SLOTS_MAX];
    struct prng prng;
    uint32_t c, step, i;

    (void)state;
    prng_init(&prng, 3);
    for (c = 0; c < KV_ARRAY_COUNT(counts); c++) {
        uint32_t n = counts[c];

        timers_init(&t, n);
        for (i = 0; i < n; i++) {
            naive[i] = TIMERS_NEVER;
        }
        for (step = 0; step < 3000; step++) {
            uint32_t slot = (uint32_t)prng_below(&prng, n);
            uint32_t from = (uint32_t)prng_below(&prng, n + 1);
            uint64_t now = prng_below(&prng, 1000), first = TIMERS_NEVER;
            uint32_t due = UINT32_MAX;

            naive[slot] =
                prng_below(&prng, 4) == 0 ? TIMERS_NEVER : prng_below(&prng, 1000);
            timers_set(&t, slot, naive[slot]);
            for (i = n; i-- > 0;) {
                first = KV_MIN(first, naive[i]);
                due = i >= from && naive[i] <= now ? i : due;
            }
            assert_int_equal(timers_get(&t, slot), naive[slot]);
            assert_true(timers_first_ms(&t) == first);
            assert_int_equal(timers_due(&t, from, now), due);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_array),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/timers", tests, NULL, NULL);
}
