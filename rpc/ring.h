/* rpc/ring.h - the consistent hash ring: which group owns each slot.
 *
 * Each group stands at `vnodes` points of the ring of 64-bit numbers: XXH3 of
 * (group, number of the virtual node), both u32 little-endian. Slot s stands at
 * s * 2^50 and belongs to the first point at or after it, clockwise; at equal
 * points the lower group id wins. So adding a group moves only slots that become
 * its own, removing one moves only its own, and everybody who knows the ids and
 * `vnodes` computes the same table.
 *
 * Needs:    raft/base, rpc/limits.h.
 * Used by:  rpc/map, server/place, kvctl ring.
 * Threads:  any.
 * Source:   Karger et al., "Consistent Hashing and Random Trees", 1997.
 */
#ifndef KV_RPC_RING_H
#define KV_RPC_RING_H

#include <stdint.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "rpc/limits.h"

enum {
    RING_NO_GROUP = 0xffff
}; /* Owner of every slot of an empty ring. */

/* The point of one virtual node. */
uint64_t ring_point(uint32_t id, uint32_t vnode);

/* Computes the owner of each slot.
 *
 * groups   [in]  count group ids, in any order, each < RING_NO_GROUP.
 * vnodes   1..KV_VNODES_MAX, per group.
 * scratch  takes 128 KiB from it; the caller resets it.
 * slots    [out] KV_SLOTS group ids; RING_NO_GROUP throughout when count is 0.
 * Returns 0 or KV_ENOMEM. Cost: count * vnodes hashes, no sorting. */
KV_MUST_CHECK int ring_build(const uint16_t *groups, uint32_t count, uint32_t vnodes,
                             struct arena *scratch, uint16_t *slots);

/* Walks a second ring, of nodes, clockwise from a position and says in which order
 * it meets them: where the replicas of a group go. Its points are hashed with
 * another seed than those of groups, so that equal ids do not meet.
 *
 * ids    [in]  count of them, 1..KV_NODES_MAX, all different; each stands at `vnodes`
 *              points (1..KV_VNODES_MAX).
 * from   where the walk begins, e.g. ring_point(group, 0).
 * order  [out] all ids, the first met first; ties: the lower id. */
void ring_walk(const uint32_t *ids, uint32_t count, uint32_t vnodes, uint64_t from,
               uint32_t *order);

#endif
