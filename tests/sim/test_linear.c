/* tests/sim/test_linear.c - the search against a naive one, and known histories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/base/check.h"
#include "raft/base/prng.h"
#include "tests/sim/linear.h"

enum {
    OPS_MAX = 7
};

static bool apply(const struct linear_op *op, uint64_t *state)
{
    uint64_t sum;

    switch (op->kind) {
    case LINEAR_READ:
        return *state == op->value;
    case LINEAR_WRITE:
        *state = op->value;
        return true;
    case LINEAR_CAS:
        if (op->outcome == LINEAR_OK && op->condition != (*state == op->expected)) {
            return false;
        }
        if (op->outcome == LINEAR_OK && op->has_shown && op->shown != *state) {
            return false;
        }
        *state = *state == op->expected ? op->value : *state;
        return true;
    case LINEAR_DELETE:
        if (op->outcome == LINEAR_OK && op->condition != (*state != 0)) {
            return false;
        }
        *state = 0;
        return true;
    case LINEAR_ADD: /* Sums of small numbers here. */
        sum = linear_counter((*state == 0 ? 0 : linear_number(*state)) +
                             (int64_t)op->expected);
        if (op->outcome == LINEAR_OK && op->value != sum) {
            return false;
        }
        *state = sum;
        return true;
    case LINEAR_EXPIRE:
        if (*state != op->expected) {
            return false;
        }
        *state = 0;
        return true;
    }
    return false;
}

/* Tries every order that real time allows; unknown ones may be left out. */
static bool naive(const struct linear_op *ops, size_t n, uint32_t placed,
                  uint64_t state)
{
    bool all = true;

    for (size_t i = 0; i < n; i++) {
        all = all && ((placed >> i & 1) != 0 || ops[i].outcome != LINEAR_OK);
    }
    if (all) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t next = state;
        bool may = (placed >> i & 1) == 0 && ops[i].outcome != LINEAR_FAIL;

        for (size_t j = 0; j < n && may; j++) {
            may = (placed >> j & 1) != 0 || ops[j].outcome != LINEAR_OK ||
                  ops[j].return_us >= ops[i].call_us;
        }
        if (may && ops[i].outcome == LINEAR_UNKNOWN && ops[i].kind == LINEAR_READ) {
            may = false;
        }
        if (may && apply(&ops[i], &next) &&
            naive(ops, n, placed | (uint32_t)1 << i, next)) {
            return true;
        }
    }
    return false;
}

static enum linear_verdict check(const struct linear_op *ops, size_t n)
{
    const struct linear_op *list[OPS_MAX];
    const struct linear_op *bad = NULL;

    for (size_t i = 0; i < n; i++) {
        list[i] = &ops[i];
    }
    return linear_check(list, n, 1000000, &bad);
}

static void agrees_with_trying_every_order(void **ctx)
{
    struct prng p;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 10) : 7;
    uint32_t valid = 0, invalid = 0;

    (void)ctx;
    print_message("seed %llu\n", (unsigned long long)seed);
    prng_init(&p, seed);
    for (int round = 0; round < 20000; round++) {
        struct linear_op ops[OPS_MAX] = {{0}};
        size_t n = prng_between(&p, 1, OPS_MAX);
        bool counts = prng_below(&p, 3) == 0;
        bool want;

        for (size_t i = 0; i < n; i++) {
            static const enum linear_kind counting[] = {LINEAR_READ, LINEAR_DELETE,
                                                        LINEAR_ADD, LINEAR_ADD};
            uint64_t call = prng_below(&p, 20);

            ops[i] = (struct linear_op){
                .process = (uint32_t)i,
                .kind = (enum linear_kind)prng_below(&p, 4),
                .outcome = prng_below(&p, 4) != 0
                               ? LINEAR_OK
                               : (enum linear_outcome)prng_below(&p, 3),
                .condition = prng_below(&p, 2) == 0,
                .expected = prng_below(&p, 3),
                .value = prng_below(&p, 3),
                .call_us = call,
                .return_us = call + prng_below(&p, 10)};
            if (counts) {
                ops[i].kind = counting[prng_below(&p, 4)];
                ops[i].value = linear_counter((int64_t)ops[i].value);
            } else if (prng_below(&p, 6) == 0) {
                ops[i].kind = LINEAR_EXPIRE;
                ops[i].outcome = LINEAR_UNKNOWN;
                ops[i].expected = 1 + prng_below(&p, 2);
            } else if (ops[i].kind == LINEAR_CAS && !ops[i].condition) {
                ops[i].has_shown = prng_below(&p, 2) == 0;
                ops[i].shown = prng_below(&p, 3);
            }
        }
        want = naive(ops, n, 0, 0);
        assert_int_equal(check(ops, n), want ? LINEAR_VALID : LINEAR_INVALID);
        valid += want;
        invalid += !want;
    }
    assert_true(valid > 1000);
    assert_true(invalid > 1000);
}

static void finds_a_stale_read(void **ctx)
{
    const struct linear_op ops[] = {
        {.kind = LINEAR_WRITE, .value = 1, .call_us = 0, .return_us = 10},
        {.kind = LINEAR_WRITE, .value = 2, .call_us = 20, .return_us = 30},
        {.kind = LINEAR_READ, .value = 1, .call_us = 40, .return_us = 50},
    };

    (void)ctx;
    assert_int_equal(check(ops, KV_ARRAY_COUNT(ops)), LINEAR_INVALID);
}

static void lets_an_unknown_write_happen_late_or_never(void **ctx)
{
    const struct linear_op late[] = {
        {.kind = LINEAR_WRITE, .value = 1, .call_us = 0, .return_us = 10},
        {.kind = LINEAR_WRITE, .value = 2, .outcome = LINEAR_UNKNOWN, .call_us = 20},
        {.kind = LINEAR_READ, .value = 1, .call_us = 40, .return_us = 50},
        {.kind = LINEAR_READ, .value = 2, .call_us = 60, .return_us = 70},
    };
    const struct linear_op twice[] = {
        {.kind = LINEAR_WRITE, .value = 2, .outcome = LINEAR_UNKNOWN, .call_us = 0},
        {.kind = LINEAR_READ, .value = 2, .call_us = 10, .return_us = 20},
        {.kind = LINEAR_DELETE, .condition = true, .call_us = 30, .return_us = 40},
        {.kind = LINEAR_READ, .value = 2, .call_us = 50, .return_us = 60},
    };

    (void)ctx;
    assert_int_equal(check(late, KV_ARRAY_COUNT(late)), LINEAR_VALID);
    assert_int_equal(check(twice, KV_ARRAY_COUNT(twice)), LINEAR_INVALID);
}

static void refuses_a_sum_that_does_not_fit(void **ctx)
{
    const struct linear_op ops[] = {
        {.kind = LINEAR_ADD,
         .expected = INT64_MAX,
         .value = linear_counter(INT64_MAX),
         .call_us = 0,
         .return_us = 10},
        {.kind = LINEAR_ADD,
         .expected = 1,
         .outcome = LINEAR_UNKNOWN, /* It was refused: nothing happened. */
         .call_us = 20},
        {.kind = LINEAR_READ,
         .value = linear_counter(INT64_MAX),
         .call_us = 40,
         .return_us = 50},
    };
    struct linear_op wrapped[2] = {ops[0], ops[1]};

    (void)ctx;
    wrapped[1].outcome = LINEAR_OK;
    wrapped[1].value = linear_counter(INT64_MIN);
    wrapped[1].return_us = 30;
    assert_int_equal(check(ops, KV_ARRAY_COUNT(ops)), LINEAR_VALID);
    assert_int_equal(check(wrapped, KV_ARRAY_COUNT(wrapped)), LINEAR_INVALID);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_stale_read),
        cmocka_unit_test(lets_an_unknown_write_happen_late_or_never),
        cmocka_unit_test(refuses_a_sum_that_does_not_fit),
        cmocka_unit_test(agrees_with_trying_every_order),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sim/linear", tests, NULL, NULL);
}
