/* tests/jepsen/test_linear_search.c - the search against one that tries every order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/linear_search.h"
#include "jepsen/checker/linear_shrink.h"
#include "raft/base/prng.h"

enum {
    OPS_MAX = 9,
    HISTORIES = 20000,
};

static const struct linear_limits wide = {1000000, 1 << 24};

/* Every order, by hand: the next one is any operation that was called before the first
 * return of those that must still come. */
static bool naive(const struct linear_op *ops, uint32_t count, uint32_t taken,
                  uint32_t state)
{
    uint64_t first_return = LINEAR_NO_RETURN;
    bool done = true;

    for (uint32_t i = 0; i < count; i++) {
        if ((taken >> i & 1) == 0 && !ops[i].optional) {
            done = false;
            first_return = KV_MIN(first_return, ops[i].ret);
        }
    }
    if (done) {
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t next = state;
        bool fits = true;

        if ((taken >> i & 1) != 0 || ops[i].call > first_return) {
            continue;
        }
        switch (ops[i].f) {
        case LINEAR_READ:
            fits = state == LINEAR_ANY || state == ops[i].a;
            next = ops[i].a;
            break;
        case LINEAR_WRITE:
            next = ops[i].a;
            break;
        case LINEAR_CAS:
            fits = state == LINEAR_ANY || state == ops[i].a;
            next = ops[i].b;
            break;
        case LINEAR_MISMATCH:
            fits = state != ops[i].a;
            break;
        }
        if (fits && naive(ops, count, taken | 1u << i, next)) {
            return true;
        }
    }
    return false;
}

/* Operations of `threads` clients whose calls and returns fall as they like; values are
 * few, so that about half of the histories have an order. */
static uint32_t random_ops(struct prng *p, struct linear_op *out)
{
    uint32_t count = 1 + (uint32_t)prng_below(p, OPS_MAX);
    uint32_t threads = 1 + (uint32_t)prng_below(p, 4);
    uint32_t values = 2 + (uint32_t)prng_below(p, 2);
    uint64_t open[4] = {0}; /* 1 + the operation that is open. */
    uint64_t position = 0;
    uint32_t n = 0;

    while (n < count) {
        uint64_t t = prng_below(p, threads);

        position++;
        if (open[t] != 0) {
            out[open[t] - 1].ret = position;
            open[t] = 0;
            continue;
        }
        out[n] = (struct linear_op){.f = (enum linear_f)prng_below(p, 4),
                                    .a = (uint32_t)prng_below(p, values),
                                    .b = (uint32_t)prng_below(p, values),
                                    .call = position,
                                    .ret = LINEAR_NO_RETURN};
        if (out[n].f == LINEAR_WRITE && out[n].a == LINEAR_NIL) {
            out[n].a = 1;
        }
        open[t] = ++n;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool changes = out[i].f == LINEAR_WRITE || out[i].f == LINEAR_CAS;

        if (out[i].ret == LINEAR_NO_RETURN && !changes) {
            out[i].ret = ++position;
        } else if (changes && prng_below(p, 5) == 0) {
            out[i].ret = LINEAR_NO_RETURN;
        }
        out[i].optional = out[i].ret == LINEAR_NO_RETURN;
    }
    return n;
}

/* The order that was returned is one. */
static void check_order(const struct linear_op *ops, uint32_t count,
                        const struct linear_outcome *found)
{
    uint32_t state = LINEAR_NIL;
    uint32_t taken = 0;

    for (uint32_t i = 0; i < found->order_count; i++) {
        const struct linear_op *op = &ops[found->order[i]];

        for (uint32_t j = 0; j < count; j++) {
            assert_true((taken >> j & 1) != 0 || ops[j].ret >= op->call);
        }
        assert_true((taken >> found->order[i] & 1) == 0);
        taken |= 1u << found->order[i];
        if (op->f == LINEAR_READ || op->f == LINEAR_CAS) {
            assert_int_equal(state, op->a);
        }
        assert_true(op->f != LINEAR_MISMATCH || state != op->a);
        state = op->f == LINEAR_WRITE ? op->a : op->f == LINEAR_CAS ? op->b : state;
    }
    for (uint32_t j = 0; j < count && found->answer == LINEAR_YES; j++) {
        assert_true((taken >> j & 1) != 0 || ops[j].optional);
    }
}

/* Nothing that ended before the farthest return is in the way: the prefix before it has
 * an order, the one with it has none. */
static void check_farthest(const struct linear_op *ops, uint32_t count,
                           const struct linear_outcome *found)
{
    uint64_t end = ops[found->farthest].ret;

    for (uint64_t until = end - 1; until <= end; until++) {
        struct linear_op prefix[OPS_MAX];
        uint32_t n = 0;

        for (uint32_t i = 0; i < count; i++) {
            bool looks = ops[i].f == LINEAR_READ || ops[i].f == LINEAR_MISMATCH;

            if (ops[i].call > until || (looks && ops[i].ret > until)) {
                continue;
            }
            prefix[n] = ops[i];
            prefix[n++].optional = ops[i].ret > until;
        }
        assert_int_equal(naive(prefix, n, 0, LINEAR_NIL), until < end);
    }
}

static void agrees_with_trying_every_order(void **state)
{
    uint32_t yes = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct linear_op ops[OPS_MAX + 1];
        uint32_t order[OPS_MAX + 1];
        struct linear_outcome found = {.order = order};
        struct prng p;
        uint32_t count;
        bool expected;

        prng_init(&p, seed);
        count = random_ops(&p, ops);
        expected = naive(ops, count, 0, LINEAR_NIL);
        linear_search(ops, count, LINEAR_NIL, &wide, &found);
        if (found.answer != (expected ? LINEAR_YES : LINEAR_NO)) {
            fail_msg("seed %llu: %d, expected %d", (unsigned long long)seed,
                     found.answer, expected);
        }
        check_order(ops, count, &found);
        if (!expected) {
            check_farthest(ops, count, &found);
        }
        yes += expected;
    }
    /* Both kinds were there. */
    assert_in_range(yes, HISTORIES / 5, HISTORIES * 4 / 5);
}

/* What is left is a proof: with all writes that were taken away back, as optional ones,
 * there is no order, either from the first value on or, where only what was over before
 * the rest began is left out, from any value. */
static void check_proof(const struct linear_op *all, uint32_t count,
                        const struct linear_op *left, uint32_t left_count)
{
    uint64_t begin = LINEAR_NO_RETURN; /* Of what is left and must happen. */
    bool has_order = true;

    for (uint32_t i = 0; i < left_count; i++) {
        begin = left[i].optional ? begin : KV_MIN(begin, left[i].call);
    }
    for (int from_any = 0; from_any <= 1 && has_order; from_any++) {
        struct linear_op ops[OPS_MAX + 1];
        uint32_t n = 0;

        for (uint32_t i = 0; i < count; i++) {
            uint32_t j = 0;

            while (j < left_count && left[j].call != all[i].call) {
                j++;
            }
            if (j < left_count) {
                ops[n++] = left[j];
            } else if ((all[i].f == LINEAR_WRITE || all[i].f == LINEAR_CAS) &&
                       (from_any == 0 || all[i].ret > begin)) {
                ops[n] = all[i];
                ops[n++].optional = true;
            }
        }
        has_order = naive(ops, n, 0, from_any == 0 ? LINEAR_NIL : LINEAR_ANY);
    }
    assert_false(has_order);
}

static void what_shrinking_leaves_has_no_order(void **state)
{
    uint64_t before = 0;
    uint64_t after = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct linear_op all[OPS_MAX + 1];
        struct linear_op ops[OPS_MAX + 1];
        struct linear_outcome found = {0};
        struct prng p;
        uint32_t count;
        uint32_t left;

        prng_init(&p, seed);
        count = random_ops(&p, all);
        linear_search(all, count, LINEAR_NIL, &wide, &found);
        if (found.answer != LINEAR_NO) {
            continue;
        }
        memcpy(ops, all, sizeof ops);
        left = linear_shrink(ops, count, found.farthest);
        before += count;
        after += left;
        assert_in_range(left, 1, OPS_MAX);
        check_proof(all, count, ops, left);
    }
    assert_true(after * 10 < before * 6);
}

/* Two writes, then a read of the first: three operations of two hundred. */
static void shrinks_a_stale_read_to_its_three_operations(void **state)
{
    struct linear_op ops[200];
    struct linear_outcome found = {0};
    uint32_t count;

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        ops[i] = (struct linear_op){.f = i % 2 == 0 ? LINEAR_WRITE : LINEAR_READ,
                                    .a = i / 2 % 5 + 1,
                                    .call = 2 * i + 1,
                                    .ret = 2 * i + 2};
    }
    ops[151].a = ops[149].a;
    linear_search(ops, 200, LINEAR_NIL, &wide, &found);
    assert_int_equal(found.answer, LINEAR_NO);
    assert_int_equal(found.farthest, 151);
    count = linear_shrink(ops, 200, found.farthest);
    assert_int_equal(count, 2); /* The read, and the write of another value. */
    assert_int_equal(ops[0].call, 301);
    assert_int_equal(ops[1].call, 303);
}

/* Forty unknown writes of five values: not 2^40 sets, nor 9^5 by their kinds. */
static void many_unknown_operations_stay_few_configurations(void **state)
{
    struct linear_op ops[240];
    struct linear_outcome found = {0};
    uint32_t n = 0;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        ops[n] = (struct linear_op){
            .f = LINEAR_WRITE, .a = i % 5 + 1, .call = n + 1, .optional = true};
        ops[n++].ret = LINEAR_NO_RETURN;
    }
    for (uint32_t i = 0; i < 200; i++, n++) {
        ops[n] = (struct linear_op){
            .f = LINEAR_READ, .a = i / 50 % 5 + 1, .call = 1000 + 2 * i};
        ops[n].ret = ops[n].call + 1;
    }
    linear_search(ops, n, LINEAR_NIL, &wide, &found);
    assert_int_equal(found.answer, LINEAR_YES);
    ops[n - 1].a = 77; /* Nobody wrote it. */
    linear_search(ops, n, LINEAR_NIL, &wide, &found);
    assert_int_equal(found.answer, LINEAR_NO);
    assert_int_equal(found.farthest, n - 1);
    assert_true(found.configurations < 1000);
}

static void says_what_it_ran_out_of(void **state)
{
    struct linear_op ops[26];
    struct linear_outcome found = {0};
    struct linear_limits limits = {1000, 1 << 24};

    (void)state;
    for (uint32_t i = 0; i < 26; i++) {
        ops[i] = (struct linear_op){
            .f = LINEAR_WRITE, .a = i + 1, .call = i + 1, .ret = 100 + i};
    }
    ops[25].f = LINEAR_READ;
    ops[25].a = 99;
    linear_search(ops, 26, LINEAR_NIL, &limits, &found);
    assert_int_equal(found.answer, LINEAR_STEPS);
    limits = (struct linear_limits){UINT64_MAX, 1 << 20};
    linear_search(ops, 26, LINEAR_NIL, &limits, &found);
    assert_int_equal(found.answer, LINEAR_BYTES);
    assert_true(found.bytes <= 1 << 20);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_trying_every_order),
        cmocka_unit_test(what_shrinking_leaves_has_no_order),
        cmocka_unit_test(shrinks_a_stale_read_to_its_three_operations),
        cmocka_unit_test(many_unknown_operations_stay_few_configurations),
        cmocka_unit_test(says_what_it_ran_out_of),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/linear_search", tests, NULL, NULL);
}
