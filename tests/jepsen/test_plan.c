/* tests/jepsen/test_plan.c - the pure parts: plans, shapes of cuts, links. */
#include "tests/jepsen/env_test.h"

#include "jepsen/env/link.h"
#include "jepsen/nemesis/plan.h"
#include "jepsen/nemesis/targets.h"

/* ---- plan ---- */

static int plan_of(struct plan *p, const char *text, uint64_t seed)
{
    struct nemesis_options o = {.text = text, .seed = seed, .interval_ms = 1000};
    char error[CLUSTER_ERROR_BYTES];

    return plan_init(p, &o, error);
}

static void texts_are_read(void **state)
{
    struct plan p;

    (void)state;
    assert_int_equal(plan_of(&p, "partition:bridge,kill", 1), 0);
    assert_int_equal(p.items_count, 2);
    assert_string_equal(p.items[0].word, "bridge");
    assert_string_equal(nemesis_kind(p.items[1].kind)->name, "kill");
    assert_int_equal(plan_of(&p, "none", 1), 0);
    assert_int_equal(p.items_count, 0);
    assert_int_equal(plan_of(&p, "swarm", 1), 0);
    assert_true(p.swarm && p.items_count > 5);
    assert_int_equal(plan_of(&p, "partitions", 1), KV_EINVAL);
    assert_int_equal(plan_of(&p, "kill:everybody", 1), KV_EINVAL);
    assert_int_equal(plan_of(&p, "kill:", 1), KV_EINVAL);
}

/* Each fault begins once and ends later, in order of time, and the last quarter of
 * each period is quiet. */
static void faults_begin_and_end_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint64_t last_ms = 0, open = 0;
        struct plan p;
        bool begins;

        assert_int_equal(plan_of(&p, "partition,kill,pause:all", seed), 0);
        for (int i = 0; i < 60; i++) {
            int slot = plan_next(&p, &begins);
            const struct plan_fault *f = &p.faults[slot];
            uint64_t at_ms = begins ? f->begin_ms : f->end_ms;

            assert_in_range(slot, 0, 2);
            assert_true(at_ms >= last_ms);
            assert_true((open >> slot & 1) == !begins);
            assert_true(at_ms % 1000 <= 750);
            assert_true(f->word[0] != '\0');
            open ^= 1ull << slot;
            last_ms = at_ms;
        }
        assert_int_equal(open, 0);
        assert_int_equal(p.period, 10);
    }
}

static void a_given_length_is_kept(void **state)
{
    struct nemesis_options o = {
        .text = "partition", .seed = 3, .interval_ms = 1500, .fault_ms = 1000};
    char error[CLUSTER_ERROR_BYTES];
    struct plan p;
    bool begins;

    (void)state;
    assert_int_equal(plan_init(&p, &o, error), 0);
    for (uint64_t i = 0; i < 20; i++) {
        int slot = plan_next(&p, &begins);

        assert_true(begins == (i % 2 == 0));
        assert_int_equal(p.faults[slot].begin_ms, i / 2 * 1500);
        assert_int_equal(p.faults[slot].end_ms, i / 2 * 1500 + 1000);
    }
}

static void the_same_seed_gives_the_same_plan(void **state)
{
    struct plan a, b, c;
    unsigned different = 0;
    bool begins;

    (void)state;
    assert_int_equal(plan_of(&a, "swarm", 5), 0);
    assert_int_equal(plan_of(&b, "swarm", 5), 0);
    assert_int_equal(plan_of(&c, "swarm", 6), 0);
    for (int i = 0; i < 200; i++) {
        int slot = plan_next(&a, &begins);

        assert_int_equal(plan_next(&b, &begins), slot);
        assert_memory_equal(&a.faults[slot], &b.faults[slot], sizeof a.faults[slot]);
        different += plan_next(&c, &begins) != slot;
    }
    assert_true(different > 0);
}

static void a_swarm_rests_a_quarter_of_the_time(void **state)
{
    unsigned faults = 0, rests = 0;
    uint64_t last = 0;
    struct plan p;
    bool begins;

    (void)state;
    assert_int_equal(plan_of(&p, "swarm", 1), 0);
    while (p.period < 1000) {
        (void)plan_next(&p, &begins);
        faults += begins;
        if (p.period != last) {
            rests += (unsigned)(p.period - last - 1);
            last = p.period;
        }
    }
    assert_in_range(rests, 200, 300);
    assert_in_range(faults, 1300, 1700); /* 750 periods, 2 on average. */
}

/* ---- targets ---- */

static unsigned heard(const struct fault_grudge *g, uint32_t n, uint32_t to)
{
    unsigned count = 0;

    for (uint32_t from = 1; from <= n; from++) {
        count += !targets_cuts(g, from, to);
    }
    return count;
}

static void shapes_are_what_they_say(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 1);
    for (int i = 0; i < 200; i++) {
        for (uint32_t n = 3; n <= 7; n += 2) {
            struct fault_grudge g;
            unsigned alone = 0, all = 0, majority = 0;

            assert_true(targets_grudge(&p, n, "one", TARGETS_BOTH, 0, &g));
            for (uint32_t to = 1; to <= n; to++) {
                alone += heard(&g, n, to) == 1;
                all += heard(&g, n, to) == n - 1;
            }
            assert_true(alone == 1 && all == n - 1);
            assert_true(targets_grudge(&p, n, "majorities-ring", TARGETS_BOTH, 0, &g));
            for (uint32_t to = 1; to <= n; to++) {
                assert_int_equal(heard(&g, n, to), n / 2 + 1);
                for (uint32_t b = 1; b < to; b++) {
                    assert_int_not_equal(g.from[to] | 1u << to, g.from[b] | 1u << b);
                }
            }
            assert_true(targets_grudge(&p, n, "bridge", TARGETS_BOTH, 0, &g));
            for (uint32_t to = 1, bridges = 0; to <= n; to++) {
                bridges += heard(&g, n, to) == n;
                assert_true(to < n || bridges == 1);
            }
            assert_true(targets_grudge(&p, n, "majority", TARGETS_BOTH, 0, &g));
            for (uint32_t to = 1; to <= n; to++) {
                majority += heard(&g, n, to) == n / 2 + 1;
            }
            assert_int_equal(majority, n / 2 + 1);
            assert_int_equal(g.from[FAULT_CLIENTS], 0);
        }
    }
}

static void one_way_cuts_are_half_of_a_cut(void **state)
{
    static const char *const shapes[] = {"one", "majority", "bridge", "minority-third"};
    struct prng p;

    (void)state;
    prng_init(&p, 2);
    for (int i = 0; i < 200; i++) {
        for (int way = TARGETS_IN; way <= TARGETS_OUT; way++) {
            struct fault_grudge g;
            unsigned cuts = 0;

            assert_true(
                targets_grudge(&p, 5, shapes[i % 4], (enum targets_way)way, 0, &g));
            for (uint32_t a = 1; a <= 5; a++) {
                for (uint32_t b = 1; b < a; b++) {
                    assert_false(targets_cuts(&g, a, b) && targets_cuts(&g, b, a));
                    cuts += targets_cuts(&g, a, b) || targets_cuts(&g, b, a);
                }
            }
            assert_true(cuts > 0);
        }
    }
}

static void leaders_are_cut_from_all_and_each_other(void **state)
{
    struct fault_grudge g;
    struct prng p;

    (void)state;
    prng_init(&p, 3);
    assert_true(targets_grudge(&p, 5, "leaders", TARGETS_BOTH, 0x9, &g));
    assert_int_equal(heard(&g, 5, 1), 1);
    assert_int_equal(heard(&g, 5, 4), 1);
    assert_int_equal(heard(&g, 5, 2), 3);
    assert_false(targets_grudge(&p, 5, "leaders", TARGETS_BOTH, 0, &g));
    assert_false(targets_grudge(&p, 5, "square", TARGETS_BOTH, 0, &g));
    assert_false(targets_grudge(&p, 2, "bridge", TARGETS_BOTH, 0, &g));
}

static void sets_have_their_size(void **state)
{
    struct prng p;

    (void)state;
    prng_init(&p, 4);
    for (uint32_t n = 1; n <= CLUSTER_NODES_MAX; n++) {
        for (int i = 0; i < 100; i++) {
            assert_int_equal(targets_count(targets_nodes(&p, n, "one")), 1);
            assert_int_equal(targets_count(targets_nodes(&p, n, "majority")),
                             n / 2 + 1);
            assert_int_equal(targets_nodes(&p, n, "all"), CLUSTER_ALL(n));
            assert_in_range(targets_count(targets_nodes(&p, n, "minority")), 1,
                            n < 3 ? 1 : (n - 1) / 2);
            assert_int_equal(targets_nodes(&p, n, "leaders"), 0);
        }
    }
}

/* ---- link ---- */

static void a_link_decides_as_it_is_shaped(void **state)
{
    struct link l = {.shape = {.delay_us = 1000,
                               .jitter_us = 500,
                               .loss_ppm = 200000,
                               .duplicate_ppm = 100000,
                               .reorder_ppm = 100000}};
    unsigned lost = 0, doubled = 0, early = 0;
    struct prng p;

    (void)state;
    prng_init(&p, 5);
    for (int i = 0; i < 10000; i++) {
        struct link_fate f = link_packet(&l, &p, 1000000000, 100);

        lost += f.copies == 0;
        doubled += f.copies == 2;
        for (uint32_t k = 0; k < f.copies; k++) {
            uint64_t late = f.due_ns[k] - 1000000000;

            early += late == 0;
            assert_true(late == 0 || (late >= 500000 && late <= 1500000));
        }
    }
    assert_in_range(lost, 1800, 2200);
    assert_in_range(doubled, 650, 950);
    assert_in_range(early, 700, 1050);
    assert_int_equal(l.lost, lost);
}

static void a_cut_loses_all_and_a_rate_delays(void **state)
{
    struct link cut = {.cut = true};
    struct link slow = {.shape = {.rate_bytes_per_s = 1000}};
    struct prng p;

    (void)state;
    prng_init(&p, 6);
    assert_int_equal(link_packet(&cut, &p, 5, 1).copies, 0);
    assert_int_equal(link_packet(&slow, &p, 0, 500).due_ns[0], 500000000);
    assert_int_equal(link_packet(&slow, &p, 0, 600).due_ns[0], 1100000000);
    assert_int_equal(link_packet(&slow, &p, 0, 1).copies, 0); /* Its queue is full. */
}

static void pieces_of_a_stream_keep_their_order(void **state)
{
    struct link l = {
        .shape = {.delay_us = 50000, .jitter_us = 40000, .loss_ppm = 100000}};
    uint64_t last = 0;
    struct prng p;

    (void)state;
    prng_init(&p, 7);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t due = link_piece(&l, &p, i * 1000000, 10);

        assert_true(due >= last && due >= i * 1000000 + 10000000);
        last = due;
    }
    assert_true(l.lost > 50);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(faults_begin_and_end_in_order),
        cmocka_unit_test(a_given_length_is_kept),
        cmocka_unit_test(the_same_seed_gives_the_same_plan),
        cmocka_unit_test(a_swarm_rests_a_quarter_of_the_time),
        cmocka_unit_test(shapes_are_what_they_say),
        cmocka_unit_test(one_way_cuts_are_half_of_a_cut),
        cmocka_unit_test(leaders_are_cut_from_all_and_each_other),
        cmocka_unit_test(sets_have_their_size),
        cmocka_unit_test(a_link_decides_as_it_is_shaped),
        cmocka_unit_test(a_cut_loses_all_and_a_rate_delays),
        cmocka_unit_test(pieces_of_a_stream_keep_their_order),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
