/* tests/storage/test_log_index.c - the index against arrays, by random changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "storage/log_index.h"

enum {
    GROUPS = 3,
    ENTRIES_MAX = 4000,
    STEPS = 3000,
    AT_ONCE = 20,
    RECORD_BYTES = 10,
};

/* What must come out: for each entry the batch it lies in. */
struct naive {
    uint64_t batch[GROUPS][ENTRIES_MAX]; /* [index]; 0: not there. */
    raft_index base[GROUPS], last[GROUPS];
    uint64_t number; /* Of the newest batch. */
};

static struct naive naive;

static uint32_t naive_live(uint64_t number)
{
    uint32_t live = 0;

    for (int g = 0; g < GROUPS; g++) {
        for (raft_index i = naive.base[g] + 1; i <= naive.last[g]; i++) {
            live += naive.batch[g][i] == number;
        }
    }
    return live;
}

static void compare(struct log_index *ix)
{
    uint64_t live_bytes = 0;
    struct log_batch b;

    for (group_id g = 0; g < GROUPS; g++) {
        raft_index count = naive.last[g] - naive.base[g];

        assert_int_equal(log_index_count(ix, g, naive.base[g] + 1), count);
        assert_int_equal(log_index_count(ix, g, 0), count);
        for (raft_index i = naive.base[g]; i <= naive.last[g] + 1; i++) {
            bool is_there = i > naive.base[g] && i <= naive.last[g];
            struct log_place place;

            log_index_get(ix, g, i, i + 1, &place);
            assert_int_equal(place.batch, is_there ? naive.batch[g][i] : 0);
        }
        live_bytes += count * RECORD_BYTES;
    }
    assert_int_equal(ix->live_bytes, live_bytes);
    for (size_t i = 0; log_index_oldest(ix, i, &b); i++) {
        assert_int_equal(b.live, naive_live(b.number));
    }
}

/* One write of one group: a cut, a new base, new entries, or some of them. */
static void step(struct log_index *ix, struct prng *p)
{
    struct log_change c = {.group = (group_id)prng_below(p, GROUPS), .cut = UINT64_MAX};
    struct log_place places[AT_ONCE];
    raft_index *base = &naive.base[c.group];
    raft_index *last = &naive.last[c.group];

    if (prng_below(p, 8) == 0 && *last > *base) {
        c.cut = prng_between(p, *base + 1, *last);
        *last = c.cut - 1;
    }
    if (prng_below(p, 4) == 0) {
        c.base = prng_between(p, *base, *last);
        *base = c.base;
    }
    c.count = (uint32_t)prng_below(p, AT_ONCE);
    if (*last + c.count + 1 >= ENTRIES_MAX) {
        c.count = 0;
    }
    c.first = *last + 1;
    assert_int_equal(log_index_reserve(ix, c.group, c.count, 1), 0);
    if (c.count > 0) {
        naive.number += prng_between(p, 1, 3);
        assert_int_equal(log_index_batch(ix, naive.number, 100, false), 0);
    }
    for (uint32_t i = 0; i < c.count; i++) {
        places[i] =
            (struct log_place){.batch = naive.number, .slot = i, .bytes = RECORD_BYTES};
        naive.batch[c.group][c.first + i] = naive.number;
    }
    *last += c.count;
    log_index_change(ix, &c, places);
}

static void sweep(struct log_index *ix)
{
    uint64_t dead[4];
    uint32_t count = log_index_dead(ix, 4, dead);

    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(naive_live(dead[i]), 0);
        log_index_oldest_gone(ix, dead[i]);
    }
}

static void follows_a_naive_one(void **state)
{
    struct log_index ix;
    struct prng p;

    (void)state;
    memset(&naive, 0, sizeof naive);
    prng_init(&p, 11);
    assert_int_equal(log_index_open(&ix, GROUPS), 0);
    for (int i = 0; i < STEPS; i++) {
        step(&ix, &p);
        if (i % 7 == 0) {
            sweep(&ix);
        }
        if (i % 50 == 0) {
            compare(&ix);
        }
    }
    compare(&ix);
    log_index_close(&ix);
}

/* Built at open: later batches win, what is outside of the log is passed over. */
static void is_built_from_directories(void **state)
{
    struct log_index ix;
    struct log_place places[4];

    (void)state;
    assert_int_equal(log_index_open(&ix, GROUPS), 0);
    assert_int_equal(log_index_group(&ix, 1, 10, 14), 0); /* 11..14 */
    assert_int_equal(ix.holes, 4);
    assert_int_equal(log_index_batch(&ix, 5, 100, false), 0);
    for (raft_index i = 9; i <= 16; i++) {
        log_index_found(&ix, 1, i, (uint32_t)i, RECORD_BYTES);
    }
    log_index_found(&ix, GROUPS + 1, 11, 0, RECORD_BYTES); /* No such group. */
    assert_int_equal(log_index_batch(&ix, 8, 100, false), 0);
    log_index_found(&ix, 1, 13, 0, RECORD_BYTES);

    log_index_get(&ix, 1, 11, 15, places);
    assert_int_equal(places[0].batch, 5);
    assert_int_equal(places[1].slot, 12);
    assert_int_equal(places[2].batch, 8);
    assert_int_equal(places[3].batch, 5);
    assert_int_equal(ix.holes, 0);
    assert_int_equal(ix.live_bytes, 4 * RECORD_BYTES);
    log_index_close(&ix);
}

/* A batch that cannot be read may hold what is missing: it stays until nothing is. */
static void damage_is_not_swept_away(void **state)
{
    const struct log_place place = {.batch = 9, .bytes = RECORD_BYTES};
    struct log_index ix;
    uint64_t dead;

    (void)state;
    assert_int_equal(log_index_open(&ix, GROUPS), 0);
    assert_int_equal(log_index_group(&ix, 1, 10, 11), 0);
    assert_int_equal(log_index_batch(&ix, 5, 100, true), 0);
    assert_int_equal(log_index_dead(&ix, 1, &dead), 0);

    assert_int_equal(log_index_batch(&ix, 9, 100, false), 0); /* It was repaired. */
    log_index_move(&ix, 1, 11, &place);
    assert_int_equal(log_index_dead(&ix, 1, &dead), 1);
    assert_int_equal(dead, 5);
    log_index_close(&ix);
}

static void waste_is_more_than_half_and_the_slack(void **state)
{
    const struct log_place place = {.batch = 1, .bytes = 400};
    const struct log_change add = {
        .group = 0, .cut = UINT64_MAX, .first = 1, .count = 1};
    struct log_index ix;

    (void)state;
    assert_int_equal(log_index_open(&ix, GROUPS), 0);
    assert_int_equal(log_index_reserve(&ix, 0, 1, 1), 0);
    assert_int_equal(log_index_batch(&ix, 1, 1000, false), 0);
    log_index_change(&ix, &add, &place);
    assert_false(log_index_wasteful(&ix, 200));
    assert_true(log_index_wasteful(&ix, 199));
    log_index_close(&ix);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_naive_one),
        cmocka_unit_test(is_built_from_directories),
        cmocka_unit_test(damage_is_not_swept_away),
        cmocka_unit_test(waste_is_more_than_half_and_the_slack),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("storage/log_index", tests, NULL, NULL);
}
