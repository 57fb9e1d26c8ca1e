/* rpc/ring.c - slots without sorting points.
 *
 * Slot s looks for the first point at or after s * 2^50. Among the points of one cell
 * [s * 2^50, (s + 1) * 2^50) only the lowest can be that point for any slot. So one
 * pass over the points keeps the lowest of each cell, and one pass over the cells,
 * counter-clockwise and twice around the end, hands each empty cell the owner of the
 * next one.
 */
#include "rpc/ring.h"

#include "raft/base/bytes.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

enum {
    RING_CELL_SHIFT = 50
};

_Static_assert((UINT64_MAX >> RING_CELL_SHIFT) + 1 == KV_SLOTS, "one cell per slot");

#define RING_NODE_SEED 1u /* Points of nodes, apart from those of groups. */

static uint64_t ring_hash(uint32_t id, uint32_t vnode, uint64_t seed)
{
    uint8_t bytes[8];

    kv_put_u32le(bytes, id);
    kv_put_u32le(bytes + 4, vnode);
    return seed == 0 ? kv_hash64(bytes, sizeof bytes)
                     : kv_hash64_seed(bytes, sizeof bytes, seed);
}

uint64_t ring_point(uint32_t id, uint32_t vnode)
{
    return ring_hash(id, vnode, 0);
}

int ring_build(const uint16_t *groups, uint32_t count, uint32_t vnodes,
               struct arena *scratch, uint16_t *slots)
{
    uint64_t *lowest = arena_alloc(scratch, KV_SLOTS * sizeof *lowest);
    uint16_t owner = RING_NO_GROUP;

    KV_ASSERT(vnodes >= 1 && vnodes <= KV_VNODES_MAX);
    if (lowest == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t s = 0; s < KV_SLOTS; s++) {
        slots[s] = RING_NO_GROUP;
    }
    for (uint32_t g = 0; g < count; g++) {
        KV_ASSERT(groups[g] < RING_NO_GROUP);
        for (uint32_t v = 0; v < vnodes; v++) {
            uint64_t point = ring_point(groups[g], v);
            uint64_t cell = point >> RING_CELL_SHIFT;

            if (slots[cell] == RING_NO_GROUP || point < lowest[cell] ||
                (point == lowest[cell] && groups[g] < slots[cell])) {
                lowest[cell] = point;
                slots[cell] = groups[g];
            }
        }
    }
    /* The owner of the last empty cells is the first point of the ring. */
    for (uint32_t s = 0; s < KV_SLOTS && owner == RING_NO_GROUP; s++) {
        owner = slots[s];
    }
    for (uint32_t s = KV_SLOTS; s-- > 0;) {
        if (slots[s] == RING_NO_GROUP) {
            slots[s] = owner;
        }
        owner = slots[s];
    }
    return 0;
}

/* Clockwise distance from `from` to the nearest point of `id`. */
static uint64_t ring_distance(uint32_t id, uint32_t vnodes, uint64_t from)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t v = 0; v < vnodes; v++) {
        uint64_t distance = ring_hash(id, v, RING_NODE_SEED) - from;

        best = KV_MIN(best, distance);
    }
    return best;
}

void ring_walk(const uint32_t *ids, uint32_t count, uint32_t vnodes, uint64_t from,
               uint32_t *order)
{
    uint64_t distances[KV_NODES_MAX];

    KV_ASSERT(count >= 1 && count <= KV_NODES_MAX);
    KV_ASSERT(vnodes >= 1 && vnodes <= KV_VNODES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t distance = ring_distance(ids[i], vnodes, from);
        uint32_t at = i;

        while (at > 0 && (distances[at - 1] > distance ||
                          (distances[at - 1] == distance && order[at - 1] > ids[i]))) {
            distances[at] = distances[at - 1];
            order[at] = order[at - 1];
            at--;
        }
        distances[at] = distance;
        order[at] = ids[i];
    }
}
