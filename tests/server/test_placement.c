/* tests/server/test_placement.c - properties of the placement over many clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/placement.h"

static const uint32_t sizes[] = {3, 5, 7};
static const uint32_t copies[] = {1, 3, 5};

/* zones 0: none; else node i lies in zone i % zones. */
static struct map *make(uint32_t nodes, uint32_t zones)
{
    struct map *m = kv_mem_zalloc(sizeof(*m));
    uint32_t i;

    assert_non_null(m);
    map_init(m, 7);
    m->vnodes = KV_VNODES_DEFAULT;
    m->nodes_count = nodes;
    for (i = 0; i < nodes; i++) {
        m->nodes[i].id = 10 * (i + 1);
        m->nodes[i].client_port = 1;
        m->nodes[i].peer_port = 2;
        snprintf(m->nodes[i].host, sizeof(m->nodes[i].host), "h%u", i);
        if (zones > 0) {
            snprintf(m->nodes[i].zone, sizeof(m->nodes[i].zone), "z%u", i % zones);
        }
    }
    return m;
}

static uint32_t spread(const uint32_t *counts, uint32_t n)
{
    uint32_t least = UINT32_MAX, most = 0, i;

    for (i = 0; i < n; i++) {
        least = KV_MIN(least, counts[i]);
        most = KV_MAX(most, counts[i]);
    }
    return most - least;
}

static void count(const struct map *m, uint32_t *held, uint32_t *leading)
{
    uint32_t g, r, i;

    memset(held, 0, KV_NODES_MAX * sizeof(*held));
    memset(leading, 0, KV_NODES_MAX * sizeof(*leading));
    for (g = 0; g < m->groups_count; g++) {
        for (r = 0; r < m->groups[g].replicas_count; r++) {
            for (i = 0; i < m->nodes_count; i++) {
                if (m->nodes[i].id == m->groups[g].replicas[r].node) {
                    held[i]++;
                    leading[i] += r == 0 ? 1 : 0;
                }
            }
        }
    }
}

static void spreads_replicas_and_leaders_evenly(void **state)
{
    uint32_t held[KV_NODES_MAX], leading[KV_NODES_MAX];
    uint32_t s, c, groups;
    const char *why = "";

    (void)state;
    for (s = 0; s < KV_ARRAY_COUNT(sizes); s++) {
        for (c = 0; c < KV_ARRAY_COUNT(copies); c++) {
            for (groups = 1; groups <= 64; groups++) {
                struct map *m = make(sizes[s], 0);

                assert_int_equal(placement_make(m, groups, copies[c]), 0);
                assert_int_equal(m->groups_count, groups);
                assert_int_equal(map_validate(m, &why), 0);
                count(m, held, leading);
                assert_true(spread(held, sizes[s]) <= 1);
                assert_true(spread(leading, sizes[s]) <= 1);
                kv_mem_free(m);
            }
        }
    }
}

/* Zones of equal size keep the evenness; a group uses as many zones as it can. */
static void uses_distinct_zones_first(void **state)
{
    static const struct {
        uint32_t nodes, zones, replicas;
    } cases[] = {{3, 3, 3}, {6, 3, 3}, {6, 2, 3}, {6, 3, 5},
                 {7, 3, 3}, {5, 2, 3}, {5, 5, 5}};
    uint32_t held[KV_NODES_MAX], leading[KV_NODES_MAX];
    uint32_t c, groups, g, r, z;

    (void)state;
    for (c = 0; c < KV_ARRAY_COUNT(cases); c++) {
        for (groups = 1; groups <= 64; groups++) {
            struct map *m = make(cases[c].nodes, cases[c].zones);

            assert_int_equal(placement_make(m, groups, cases[c].replicas), 0);
            for (g = 0; g < groups; g++) {
                uint32_t in_zone[8] = {0}, used = 0, most = 0;

                for (r = 0; r < m->groups[g].replicas_count; r++) {
                    in_zone[(m->groups[g].replicas[r].node / 10 - 1) %
                            cases[c].zones]++;
                }
                for (z = 0; z < cases[c].zones; z++) {
                    used += in_zone[z] > 0 ? 1 : 0;
                    most = KV_MAX(most, in_zone[z]);
                }
                assert_int_equal(used, KV_MIN(cases[c].zones, cases[c].replicas));
                assert_true(most <=
                            (cases[c].replicas + cases[c].zones - 1) / cases[c].zones);
            }
            if (cases[c].nodes % cases[c].zones == 0) {
                count(m, held, leading);
                assert_true(spread(held, cases[c].nodes) <= 2);
                assert_true(spread(leading, cases[c].nodes) <= 1);
            }
            kv_mem_free(m);
        }
    }
}

static void is_the_same_everywhere(void **state)
{
    struct map *a = make(5, 0), *b = make(5, 0);

    (void)state;
    assert_int_equal(placement_make(a, 16, 3), 0);
    assert_int_equal(placement_make(b, 16, 3), 0);
    assert_memory_equal(a->groups, b->groups, sizeof(a->groups));
    kv_mem_free(a);
    kv_mem_free(b);
}

static void puts_one_replica_on_each_of_too_few_nodes(void **state)
{
    struct map *m = make(2, 0);

    (void)state;
    assert_int_equal(placement_make(m, 4, 3), 0);
    assert_int_equal(m->groups[0].replicas_count, 2);
    assert_int_not_equal(m->groups[0].replicas[0].node, m->groups[0].replicas[1].node);
    assert_int_equal(placement_preferred(&m->groups[0]), m->groups[0].replicas[0].node);
    kv_mem_free(m);
}

static void refuses_numbers_out_of_range(void **state)
{
    struct map *m = make(3, 0);

    (void)state;
    assert_int_equal(placement_make(m, 0, 3), KV_EINVAL);
    assert_int_equal(placement_make(m, KV_GROUPS_MAX, 3), KV_EINVAL);
    assert_int_equal(placement_make(m, 1, 0), KV_EINVAL);
    assert_int_equal(placement_make(m, 1, KV_REPLICAS_MAX + 1), KV_EINVAL);
    m->nodes_count = 0;
    assert_int_equal(placement_make(m, 1, 1), KV_EINVAL);
    kv_mem_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spreads_replicas_and_leaders_evenly),
        cmocka_unit_test(uses_distinct_zones_first),
        cmocka_unit_test(is_the_same_everywhere),
        cmocka_unit_test(puts_one_replica_on_each_of_too_few_nodes),
        cmocka_unit_test(refuses_numbers_out_of_range),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/placement", tests, NULL, NULL);
}
