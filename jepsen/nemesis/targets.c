/* jepsen/nemesis/targets.c - which nodes, and who shall not hear whom. */
#include "jepsen/nemesis/targets.h"

#include <string.h>

uint32_t targets_count(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

/* The nodes 1...n in random order. */
static void shuffled(struct prng *p, uint32_t n, uint32_t out[CLUSTER_NODES_MAX])
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)prng_below(p, i + 1);

        out[i] = out[k];
        out[k] = i + 1;
    }
}

uint32_t targets_draw(struct prng *p, uint32_t n, uint32_t count)
{
    uint32_t order[CLUSTER_NODES_MAX] = {0};
    uint32_t mask = 0;

    KV_ASSERT(n <= CLUSTER_NODES_MAX);
    shuffled(p, n, order);
    for (uint32_t i = 0; i < KV_MIN(count, n); i++) {
        mask |= CLUSTER_BIT(order[i]);
    }
    return mask;
}

uint32_t targets_nodes(struct prng *p, uint32_t n, const char *word)
{
    uint32_t minority = KV_MAX((n - 1) / 2, 1u);

    if (strcmp(word, "one") == 0) {
        return targets_draw(p, n, 1);
    }
    if (strcmp(word, "minority") == 0) {
        return targets_draw(p, n, (uint32_t)prng_between(p, 1, minority));
    }
    if (strcmp(word, "minority-third") == 0) {
        return targets_draw(p, n, KV_MAX((n - 1) / 3, 1u));
    }
    if (strcmp(word, "halves") == 0) {
        return targets_draw(p, n, n / 2);
    }
    if (strcmp(word, "majority") == 0) {
        return targets_draw(p, n, n / 2 + 1);
    }
    return strcmp(word, "all") == 0 ? CLUSTER_ALL(n) : 0;
}

uint32_t targets_any(struct prng *p, uint32_t mask)
{
    uint32_t skip = (uint32_t)prng_below(p, targets_count(mask));

    for (uint32_t i = 1; i <= CLUSTER_NODES_MAX; i++) {
        if ((mask & CLUSTER_BIT(i)) != 0 && skip-- == 0) {
            return i;
        }
    }
    KV_UNREACHABLE();
}

/* ---- grudges ---- */

static void deafen(struct fault_grudge *g, uint32_t to, uint32_t from)
{
    if (to != from) {
        g->from[to] |= 1u << from;
    }
}

bool targets_cuts(const struct fault_grudge *g, uint32_t from, uint32_t to)
{
    return (g->from[to] >> from & 1) != 0;
}

/* Cuts the nodes of `side` from all others. */
static void side_cut(struct fault_grudge *g, uint32_t n, uint32_t side,
                     enum targets_way way)
{
    for (uint32_t a = 1; a <= n; a++) {
        for (uint32_t b = 1; b <= n; b++) {
            if ((side & CLUSTER_BIT(a)) == 0 || (side & CLUSTER_BIT(b)) != 0) {
                continue;
            }
            if (way != TARGETS_OUT) {
                deafen(g, a, b);
            }
            if (way != TARGETS_IN) {
                deafen(g, b, a);
            }
        }
    }
}

/* Each node hears the majority around it in a random ring. */
static void ring_cut(struct prng *p, struct fault_grudge *g, uint32_t n)
{
    uint32_t order[CLUSTER_NODES_MAX] = {0};
    uint32_t majority = n / 2 + 1;

    shuffled(p, n, order);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to =
            order[(i + majority / 2) % n]; /* The middle of [i, i + majority). */

        for (uint32_t k = majority; k < n; k++) {
            deafen(g, to, order[(i + k) % n]);
        }
    }
}

static void bridge_cut(struct prng *p, struct fault_grudge *g, uint32_t n)
{
    uint32_t order[CLUSTER_NODES_MAX] = {0};
    uint32_t half = n / 2;

    shuffled(p, n, order);
    for (uint32_t i = 0; i < half; i++) {
        for (uint32_t k = half + 1; k < n; k++) {
            deafen(g, order[i], order[k]);
            deafen(g, order[k], order[i]);
        }
    }
}

/* Of each pair that is cut both ways, heals one way. */
static void pairs_halve(struct prng *p, struct fault_grudge *g, uint32_t n)
{
    for (uint32_t a = 1; a <= n; a++) {
        for (uint32_t b = a + 1; b <= n; b++) {
            if (!targets_cuts(g, a, b) || !targets_cuts(g, b, a)) {
                continue;
            }
            if (prng_below(p, 2) == 0) {
                g->from[a] &= ~(1u << b);
            } else {
                g->from[b] &= ~(1u << a);
            }
        }
    }
}

bool targets_grudge(struct prng *p, uint32_t n, const char *shape, enum targets_way way,
                    uint32_t leaders, struct fault_grudge *out)
{
    struct fault_grudge g = {{0}};

    if (n < 2 || (n < 3 && strcmp(shape, "one") != 0)) {
        return false;
    }
    if (strcmp(shape, "majorities-ring") == 0) {
        ring_cut(p, &g, n);
    } else if (strcmp(shape, "bridge") == 0) {
        bridge_cut(p, &g, n);
    } else if (strcmp(shape, "leaders") == 0) {
        for (uint32_t i = 1; i <= n; i++) {
            if ((leaders & CLUSTER_BIT(i)) != 0) {
                side_cut(&g, n, CLUSTER_BIT(i), way);
            }
        }
        *out = g;
        return leaders != 0;
    } else {
        uint32_t side = targets_nodes(p, n, shape);

        if (side == 0 || side == CLUSTER_ALL(n)) {
            return false;
        }
        side_cut(&g, n, side, way);
        *out = g;
        return true;
    }
    if (way != TARGETS_BOTH) {
        pairs_halve(p, &g, n);
    }
    *out = g;
    return true;
}
