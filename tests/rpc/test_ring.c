/* tests/rpc/test_ring.c - ownership against a naive ring, spread, and what moves. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "rpc/ring.h"
#include "rpc/slot.h"

enum {
    KEYS_COUNT = 100000,
    GROUPS_TRIED = 64
};

static void build(const uint16_t *groups, uint32_t count, uint32_t vnodes,
                  uint16_t *slots)
{
    struct arena scratch;

    arena_init(&scratch, 256 * 1024, 0);
    assert_int_equal(ring_build(groups, count, vnodes, &scratch, slots), 0);
    arena_close(&scratch);
}

/* Groups 1..count. */
static void build_first(uint32_t count, uint16_t *slots)
{
    uint16_t groups[GROUPS_TRIED + 1];

    for (uint32_t i = 0; i < count; i++) {
        groups[i] = (uint16_t)(i + 1);
    }
    build(groups, count, KV_VNODES_DEFAULT, slots);
}

/* The definition, word by word: of all points the nearest clockwise. */
static uint16_t owner_by_definition(const uint16_t *groups, uint32_t count,
                                    uint32_t vnodes, uint32_t slot)
{
    uint64_t position = (uint64_t)slot << 50;
    uint64_t best = 0;
    uint16_t owner = RING_NO_GROUP;

    for (uint32_t g = 0; g < count; g++) {
        for (uint32_t v = 0; v < vnodes; v++) {
            uint64_t distance = ring_point(groups[g], v) - position; /* wraps */

            if (owner == RING_NO_GROUP || distance < best ||
                (distance == best && groups[g] < owner)) {
                best = distance;
                owner = groups[g];
            }
        }
    }
    return owner;
}

static void agrees_with_the_definition(void **state)
{
    static uint16_t slots[KV_SLOTS];
    struct prng p;

    (void)state;
    test_seed(&p, 3);
    for (int round = 0; round < 12; round++) {
        uint16_t groups[8];
        uint32_t count = 1 + (uint32_t)prng_below(&p, 8);
        /* Few points, then so many that cells hold several of them. */
        uint32_t vnodes = 1 + (uint32_t)prng_below(&p, round < 6 ? 3 : 1500);

        for (uint32_t i = 0; i < count; i++) {
            groups[i] = (uint16_t)(1000 * i + prng_below(&p, 1000));
        }
        build(groups, count, vnodes, slots);
        for (uint32_t s = 0; s < KV_SLOTS; s += 1 + (uint32_t)prng_below(&p, 60)) {
            assert_int_equal(slots[s], owner_by_definition(groups, count, vnodes, s));
        }
        assert_int_equal(slots[0], owner_by_definition(groups, count, vnodes, 0));
        assert_int_equal(slots[KV_SLOTS - 1],
                         owner_by_definition(groups, count, vnodes, KV_SLOTS - 1));
    }
}

/* The table is a promise to every client and node: it must never change. */
static void computes_the_same_table_forever(void **state)
{
    static uint16_t slots[KV_SLOTS];
    uint64_t sum = 0;

    (void)state;
    assert_int_equal(ring_point(1, 0), 0x2fbc593564db792eu);
    build_first(8, slots);
    for (uint32_t s = 0; s < KV_SLOTS; s++) {
        sum = sum * 31 + slots[s];
    }
    assert_int_equal(sum, 0x5b7e7793e9eb0d84u);
}

static void does_not_depend_on_the_order_of_groups(void **state)
{
    static uint16_t forward[KV_SLOTS], backward[KV_SLOTS];
    static const uint16_t up[] = {3, 5, 9, 200}, down[] = {200, 9, 5, 3};

    (void)state;
    build(up, 4, 64, forward);
    build(down, 4, 64, backward);
    assert_memory_equal(forward, backward, sizeof forward);
}

static void gives_an_empty_ring_no_owner_and_a_single_group_everything(void **state)
{
    static uint16_t slots[KV_SLOTS];
    static const uint16_t one[] = {7};

    (void)state;
    build(NULL, 0, 512, slots);
    assert_int_equal(slots[0], RING_NO_GROUP);
    assert_int_equal(slots[KV_SLOTS - 1], RING_NO_GROUP);
    build(one, 1, 1, slots);
    for (uint32_t s = 0; s < KV_SLOTS; s++) {
        assert_int_equal(slots[s], 7);
    }
}

static void needs_its_scratch_memory(void **state)
{
    static uint16_t slots[KV_SLOTS];
    static const uint16_t one[] = {7};
    struct arena scratch;

    (void)state;
    arena_init(&scratch, 4096, 4096);
    assert_int_equal(ring_build(one, 1, 1, &scratch, slots), KV_ENOMEM);
    arena_close(&scratch);
}

/* ---- 100,000 keys over 2 to 64 groups ---- */

struct keys {
    uint16_t slots[KEYS_COUNT];
};

static int make_keys(void **state)
{
    struct keys *keys = malloc(sizeof *keys);

    if (keys == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < KEYS_COUNT; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "key:%u", i);

        keys->slots[i] = slot_of(kv_bytes(key, (size_t)len));
    }
    *state = keys;
    return 0;
}

static int drop_keys(void **state)
{
    free(*state);
    return 0;
}

struct spread {
    double low;  /* Fewest keys of a group, in percent from even. */
    double high; /* Most keys. */
};

static struct spread spread_of(const struct keys *keys, const uint16_t *slots,
                               uint32_t count)
{
    uint32_t per_group[GROUPS_TRIED + 2] = {0};
    double even = (double)KEYS_COUNT / count;
    uint32_t low = KEYS_COUNT;
    uint32_t high = 0;

    for (uint32_t i = 0; i < KEYS_COUNT; i++) {
        per_group[slots[keys->slots[i]]]++;
    }
    for (uint32_t g = 1; g <= count; g++) {
        low = per_group[g] < low ? per_group[g] : low;
        high = per_group[g] > high ? per_group[g] : high;
    }
    return (struct spread){.low = 100.0 * (low / even - 1),
                           .high = 100.0 * (high / even - 1)};
}

static void spreads_keys_evenly(void **state)
{
    static uint16_t slots[KV_SLOTS];
    const struct keys *keys = *state;

    print_message("%d keys, %d virtual nodes per group\n", KEYS_COUNT,
                  KV_VNODES_DEFAULT);
    print_message("groups  fewest keys  most keys   (from even)\n");
    for (uint32_t count = 2; count <= GROUPS_TRIED; count++) {
        struct spread spread;

        build_first(count, slots);
        spread = spread_of(keys, slots, count);
        print_message("%6u  %+10.1f%%  %+8.1f%%\n", count, spread.low, spread.high);
        if (count == 8) {
            assert_true(spread.low >= -15.0 && spread.high <= 15.0);
        }
        /* No group is left with nothing or with double its share. */
        assert_true(spread.low >= -50.0 && spread.high <= 100.0);
    }
}

static void adding_a_group_moves_only_keys_that_become_its_own(void **state)
{
    static uint16_t before[KV_SLOTS], after[KV_SLOTS];
    const struct keys *keys = *state;

    build_first(1, before);
    print_message("groups  keys moved by one more  (even share)\n");
    for (uint32_t count = 2; count <= GROUPS_TRIED; count++) {
        uint32_t moved = 0;

        build_first(count, after);
        for (uint32_t s = 0; s < KV_SLOTS; s++) {
            assert_true(after[s] == before[s] || after[s] == count);
        }
        for (uint32_t i = 0; i < KEYS_COUNT; i++) {
            moved += after[keys->slots[i]] != before[keys->slots[i]];
        }
        if ((count & (count - 1)) == 0) {
            print_message("%6u  %12.2f%%  %12.2f%%\n", count,
                          100.0 * moved / KEYS_COUNT, 100.0 / count);
        }
        assert_true(moved > 0);
        memcpy(before, after, sizeof before);
    }
}

static void removing_a_group_moves_only_its_keys(void **state)
{
    static uint16_t before[KV_SLOTS], after[KV_SLOTS];
    static const uint32_t counts[] = {2, 3, 8, 16, 64};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        build_first(counts[i], before);
        for (uint32_t gone = 1; gone <= counts[i]; gone += 1 + counts[i] / 8) {
            uint16_t groups[GROUPS_TRIED];
            uint32_t count = 0;

            for (uint32_t g = 1; g <= counts[i]; g++) {
                if (g != gone) {
                    groups[count++] = (uint16_t)g;
                }
            }
            build(groups, count, KV_VNODES_DEFAULT, after);
            for (uint32_t s = 0; s < KV_SLOTS; s++) {
                assert_true(after[s] == before[s] || before[s] == gone);
                assert_int_not_equal(after[s], gone);
            }
        }
    }
}

/* ---- the walk over nodes ---- */

static void walks_over_every_node_once(void **state)
{
    uint32_t ids[KV_NODES_MAX], order[KV_NODES_MAX];
    struct prng p;

    (void)state;
    test_seed(&p, 4);
    for (int round = 0; round < 200; round++) {
        uint32_t count = 1 + (uint32_t)prng_below(&p, KV_NODES_MAX);
        bool met[KV_NODES_MAX + 1] = {false};

        for (uint32_t i = 0; i < count; i++) {
            ids[i] = i + 1;
        }
        ring_walk(ids, count, 16, prng_next(&p), order);
        for (uint32_t i = 0; i < count; i++) {
            assert_in_range(order[i], 1, count);
            assert_false(met[order[i]]);
            met[order[i]] = true;
        }
    }
}

/* Another node changes an order only by standing in it. */
static void walk_keeps_its_order_when_a_node_joins(void **state)
{
    static const uint32_t five[] = {1, 2, 3, 4, 5};
    uint32_t before[5], after[5];

    (void)state;
    for (uint32_t group = 1; group <= 200; group++) {
        uint32_t kept = 0;

        ring_walk(five, 4, 64, ring_point(group, 0), before);
        ring_walk(five, 5, 64, ring_point(group, 0), after);
        for (uint32_t i = 0; i < 5; i++) {
            if (after[i] != 5) {
                assert_int_equal(after[i], before[kept++]);
            }
        }
    }
}

/* Each node comes first for about as many groups as any other. */
static void walk_spreads_first_places(void **state)
{
    static const uint32_t ids[] = {1, 2, 3, 4, 5};
    uint32_t firsts[6] = {0};
    uint32_t order[5];

    (void)state;
    for (uint32_t group = 1; group <= 5000; group++) {
        ring_walk(ids, 5, 256, ring_point(group, 0), order);
        firsts[order[0]]++;
    }
    for (uint32_t id = 1; id <= 5; id++) {
        assert_in_range(firsts[id], 700, 1300);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_with_the_definition),
    cmocka_unit_test(computes_the_same_table_forever),
    cmocka_unit_test(does_not_depend_on_the_order_of_groups),
    cmocka_unit_test(gives_an_empty_ring_no_owner_and_a_single_group_everything),
    cmocka_unit_test(needs_its_scratch_memory),
    cmocka_unit_test_setup_teardown(spreads_keys_evenly, make_keys, drop_keys),
    cmocka_unit_test_setup_teardown(adding_a_group_moves_only_keys_that_become_its_own,
                                    make_keys, drop_keys),
    cmocka_unit_test(removing_a_group_moves_only_its_keys),
    cmocka_unit_test(walks_over_every_node_once),
    cmocka_unit_test(walk_keeps_its_order_when_a_node_joins),
    cmocka_unit_test(walk_spreads_first_places),
};

TEST_MAIN("rpc/ring", tests)
