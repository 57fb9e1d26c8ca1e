/* tests/jepsen/test_replay.c - the order that replies name, right and wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/linear.h"
#include "jepsen/checker/replay.h"
#include "tests/lib/history_gen.h"

enum {
    SEEDS = 3000,
};

/* An operation and its reply; `value` of the reply where it reads. */
struct pair {
    enum history_f f;
    int64_t a, b;
    enum history_type end;
    int64_t value; /* read: answer; -1: nil */
    uint64_t rev, at_rev;
};

/* One client after the other. */
static void judge(const struct pair *pairs, uint32_t count,
                  void (*check)(const struct history *h, struct verdict *out),
                  struct verdict *out)
{
    struct history h;

    history_init(&h);
    for (uint32_t i = 0; i < count; i++) {
        const struct pair *p = &pairs[i];
        struct history_op op = {.process = (int32_t)i, .f = p->f};
        int64_t ints[2] = {p->a, p->b};
        enum history_kind kind = p->f == HISTORY_READ    ? HISTORY_NIL
                                 : p->f == HISTORY_WRITE ? HISTORY_INT
                                                         : HISTORY_PAIR;

        assert_int_equal(history_append(&h, &op, kind, ints, (uint32_t)kind), 0);
        op.type = p->end;
        op.group = 1;
        op.rev = p->rev;
        op.at_rev = p->at_rev;
        if (p->f == HISTORY_READ && p->end == HISTORY_OK && p->value >= 0) {
            kind = HISTORY_INT;
            ints[0] = p->value;
        }
        assert_int_equal(history_append(&h, &op, kind, ints, (uint32_t)kind), 0);
    }
    check(&h, out);
    history_close(&h);
}

/* Without real time, an older position of a group is fine, a wrong value is not. */
static void positions_of_quorum_reads_need_no_order_in_time(void **state)
{
    struct pair pairs[] = {
        {HISTORY_WRITE, 1, 0, HISTORY_OK, -1, 5, 5},
        {HISTORY_READ, 0, 0, HISTORY_OK, 1, 5, 9},
        {HISTORY_READ, 0, 0, HISTORY_OK, 1, 5, 8},
    };
    struct verdict v;

    (void)state;
    judge(pairs, 3, replay_check, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    assert_string_equal(v.anomalies[0].kind, "real-time");
    verdict_close(&v);
    judge(pairs, 3, replay_check_values, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
    pairs[2].value = 2;
    judge(pairs, 3, replay_check_values, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    verdict_close(&v);
}

static void expect(const struct pair *pairs, uint32_t count, const char *kind)
{
    struct verdict v;

    judge(pairs, count, replay_check, &v);
    if (kind == NULL) {
        assert_int_equal(v.valid, VERDICT_VALID);
    } else {
        assert_int_equal(v.valid, VERDICT_INVALID);
        assert_string_equal(v.anomalies[0].kind, kind);
    }
    verdict_close(&v);
}

#define R HISTORY_READ
#define W HISTORY_WRITE
#define C HISTORY_CAS

static void accepts_what_one_store_would_say(void **state)
{
    const struct pair good[] = {
        {R, 0, 0, HISTORY_OK, -1, 0, 4},  {W, 1, 0, HISTORY_OK, 0, 5, 5},
        {R, 0, 0, HISTORY_OK, 1, 5, 5},   {C, 1, 2, HISTORY_OK, 0, 6, 6},
        {C, 1, 2, HISTORY_FAIL, 0, 6, 7}, {R, 0, 0, HISTORY_OK, 2, 6, 9},
        {W, 3, 0, HISTORY_INFO, 0, 0, 0}, {R, 0, 0, HISTORY_OK, 3, 11, 11},
        {W, 4, 0, HISTORY_INFO, 0, 0, 0}, {C, 4, 5, HISTORY_OK, 0, 14, 14},
        {W, 9, 0, HISTORY_FAIL, 0, 0, 0},
    };

    (void)state;
    expect(good, KV_ARRAY_COUNT(good), NULL);
}

static void names_what_is_wrong(void **state)
{
    const struct pair stale[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                 {W, 2, 0, HISTORY_OK, 0, 6, 6},
                                 {R, 0, 0, HISTORY_OK, 1, 5, 6}};
    const struct pair lost[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                {R, 0, 0, HISTORY_OK, -1, 0, 5}};
    const struct pair back[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                {W, 2, 0, HISTORY_OK, 0, 6, 6},
                                {R, 0, 0, HISTORY_OK, 1, 5, 5}};
    const struct pair value[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                 {R, 0, 0, HISTORY_OK, 2, 5, 5}};
    const struct pair twice[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                 {R, 0, 0, HISTORY_OK, 1, 6, 6}};
    const struct pair unknown_twice[] = {{W, 1, 0, HISTORY_INFO, 0, 0, 0},
                                         {R, 0, 0, HISTORY_OK, 1, 5, 5},
                                         {R, 0, 0, HISTORY_OK, 1, 6, 6}};
    const struct pair cas_twice[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                     {C, 1, 2, HISTORY_INFO, 0, 0, 0},
                                     {R, 0, 0, HISTORY_OK, 2, 6, 6},
                                     {W, 1, 0, HISTORY_OK, 0, 7, 7},
                                     {R, 0, 0, HISTORY_OK, 2, 8, 8}};
    const struct pair failed[] = {{W, 1, 0, HISTORY_FAIL, 0, 0, 0},
                                  {R, 0, 0, HISTORY_OK, 1, 5, 5}};
    const struct pair blind[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                 {C, 3, 4, HISTORY_OK, 0, 6, 6}};
    const struct pair refused[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                   {C, 1, 4, HISTORY_FAIL, 0, 5, 6}};
    const struct pair same[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                {W, 2, 0, HISTORY_OK, 0, 5, 5}};
    const struct pair future[] = {{W, 1, 0, HISTORY_OK, 0, 5, 5},
                                  {R, 0, 0, HISTORY_OK, 1, 5, 4}};

    (void)state;
    expect(stale, 3, "stale-read");
    expect(lost, 2, "stale-read");
    expect(back, 3, "real-time");
    expect(value, 2, "wrong-value");
    expect(twice, 2, "phantom-write");
    expect(unknown_twice, 3, "phantom-write");
    expect(cas_twice, 5, "phantom-write");
    expect(failed, 2, "phantom-write");
    expect(blind, 2, "cas-mismatch");
    expect(refused, 2, "false-mismatch");
    expect(same, 2, "real-time");
    expect(future, 2, "real-time");
}

static void without_positions_it_knows_nothing(void **state)
{
    const struct pair none[] = {{W, 1, 0, HISTORY_OK, 0, 0, 0}};
    struct verdict v;

    (void)state;
    judge(none, 1, replay_check, &v);
    assert_int_equal(v.valid, VERDICT_UNKNOWN);
    verdict_close(&v);
}

/* What a working store says passes both checkers. With a bug, whatever the search for
 * an order finds wrong, the replay finds wrong too. */
static void finds_all_that_a_search_for_an_order_finds(void **state)
{
    uint32_t searched[GEN_BUGS] = {0};
    uint32_t replayed[GEN_BUGS] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct gen_options o = {.seed = seed,
                                .ops = 40,
                                .clients = 4,
                                .keys = 2,
                                .groups = 1 + seed % 2,
                                .values = 4,
                                .unknown = 60,
                                .bug_rate = 100,
                                .bug = (enum gen_bug)(seed % GEN_BUGS)};
        struct history h;
        struct verdict by_search;
        struct verdict by_replay;

        history_init(&h);
        gen_register(&h, &o);
        linear_check(&h, &LINEAR_LIMITS_DEFAULT, &by_search);
        replay_check(&h, &by_replay);
        if (o.bug == GEN_NONE &&
            (by_search.valid != VERDICT_VALID || by_replay.valid != VERDICT_VALID)) {
            fail_msg("seed %llu: %s | %s", (unsigned long long)seed, by_search.text,
                     by_replay.text);
        }
        if (by_search.valid == VERDICT_INVALID && by_replay.valid != VERDICT_INVALID) {
            fail_msg("seed %llu: only the search finds: %s", (unsigned long long)seed,
                     by_search.text);
        }
        searched[o.bug] += by_search.valid == VERDICT_INVALID;
        replayed[o.bug] += by_replay.valid == VERDICT_INVALID;
        verdict_close(&by_search);
        verdict_close(&by_replay);
        history_close(&h);
    }
    for (enum gen_bug bug = GEN_NONE + 1; bug < GEN_BUGS; bug++) {
        print_message("bug %d: search %u, replay %u of %d\n", bug, searched[bug],
                      replayed[bug], SEEDS / GEN_BUGS);
        assert_true(replayed[bug] >= searched[bug]);
        assert_true(replayed[bug] > SEEDS / GEN_BUGS / 10);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_of_quorum_reads_need_no_order_in_time),
        cmocka_unit_test(accepts_what_one_store_would_say),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(without_positions_it_knows_nothing),
        cmocka_unit_test(finds_all_that_a_search_for_an_order_finds),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/replay", tests, NULL, NULL);
}
