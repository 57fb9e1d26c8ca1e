/* tests/raft/test_quorum.c - quorum arithmetic against a naive version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/check.h"
#include "raft/base/prng.h"
#include "raft/quorum.h"

/* Numbers by id. */
static uint64_t number_of(const void *ctx, raft_id id)
{
    return ((const uint64_t *)ctx)[id];
}

/* The highest v that `need` of the voters reach, by trying every candidate. */
static uint64_t naive(const raft_id *voters, uint32_t count, uint32_t need,
                      const uint64_t *numbers)
{
    uint64_t best = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t v = numbers[voters[i]];
        uint32_t reached = 0;

        for (uint32_t k = 0; k < count; k++) {
            reached += numbers[voters[k]] >= v;
        }
        if (reached >= need && v > best) {
            best = v;
        }
    }
    return best;
}

static void random_half(struct prng *p, raft_id *voters, uint32_t *count)
{
    *count = 0;
    for (raft_id id = 1; id <= 10; id++) {
        if (prng_below(p, 2) == 0) {
            voters[(*count)++] = id;
        }
    }
}

static void agrees_with_a_naive_version(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 7);
    for (int round = 0; round < 20000; round++) {
        struct raft_config c = {0};
        uint64_t numbers[11];
        uint64_t majority;
        uint64_t written;

        for (int i = 0; i < 11; i++) {
            numbers[i] = prng_below(&p, 6);
        }
        random_half(&p, c.voters, &c.voters_count);
        if (prng_below(&p, 2) == 0) {
            random_half(&p, c.voters_old, &c.voters_old_count);
        }
        if (c.voters_count == 0) {
            continue;
        }
        c.w = (uint32_t)prng_between(&p, c.voters_count / 2 + 1, c.voters_count);
        majority = naive(c.voters, c.voters_count, c.voters_count / 2 + 1, numbers);
        written = naive(c.voters, c.voters_count, c.w, numbers);
        if (c.voters_old_count > 0) {
            uint64_t old = naive(c.voters_old, c.voters_old_count,
                                 c.voters_old_count / 2 + 1, numbers);

            majority = old < majority ? old : majority;
            written = old < written ? old : written;
        }
        assert_int_equal(raft_quorum_majority(&c, number_of, numbers), majority);
        assert_int_equal(raft_quorum_written(&c, number_of, numbers), written);
    }
}

static void majority_is_more_than_half(void **state)
{
    static const uint32_t expected[] = {1, 1, 2, 2, 3, 3, 4, 4};

    (void)state;
    for (uint32_t n = 0; n < KV_ARRAY_COUNT(expected); n++) {
        assert_int_equal(raft_quorum_majority_of(n), expected[n]);
    }
}

static void nobody_agrees_without_voters(void **state)
{
    const struct raft_config none = {0};
    const uint64_t numbers[11] = {9, 9, 9};

    (void)state;
    assert_int_equal(raft_quorum_majority(&none, number_of, numbers), 0);
    assert_int_equal(raft_quorum_written(&none, number_of, numbers), 0);
}

static void joint_is_not_the_union(void **state)
{
    const struct raft_config c = {.voters_count = 3,
                                  .voters = {1, 2, 3},
                                  .voters_old_count = 3,
                                  .voters_old = {4, 5, 6}};
    const uint64_t numbers[11] = {0, 9, 9, 9, 9, 0, 0}; /* Four of six, one of 4-6. */

    (void)state;
    assert_int_equal(raft_quorum_majority(&c, number_of, numbers), 0);
}

static void w_zero_stands_for_the_majority(void **state)
{
    struct raft_config c = {.voters_count = 5, .voters_old_count = 4};

    (void)state;
    assert_int_equal(raft_quorum_w(&c), 3);
    assert_int_equal(raft_quorum_w_old(&c), 3);
    c.w = 5;
    c.voters_old_count = 0;
    assert_int_equal(raft_quorum_w(&c), 5);
    assert_int_equal(raft_quorum_w_old(&c), 0);
}

static void learners_are_members_and_do_not_vote(void **state)
{
    const struct raft_config c = {.voters_count = 1,
                                  .voters = {1},
                                  .voters_old_count = 1,
                                  .voters_old = {2},
                                  .learners_count = 1,
                                  .learners = {3}};

    (void)state;
    assert_true(raft_quorum_votes(&c, 1));
    assert_true(raft_quorum_votes(&c, 2));
    assert_false(raft_quorum_votes(&c, 3));
    assert_true(raft_quorum_member(&c, 3));
    assert_false(raft_quorum_member(&c, 4));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_version),
        cmocka_unit_test(majority_is_more_than_half),
        cmocka_unit_test(nobody_agrees_without_voters),
        cmocka_unit_test(joint_is_not_the_union),
        cmocka_unit_test(w_zero_stands_for_the_majority),
        cmocka_unit_test(learners_are_members_and_do_not_vote),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/quorum", tests, NULL, NULL);
}
