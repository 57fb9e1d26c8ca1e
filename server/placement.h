/* server/placement.h - which nodes hold the replicas of each group, and who leads.
 *
 * A pure function of nodes, zones, number of groups and replicas: everybody who
 * knows these computes the same. Each group walks a ring of nodes from its own
 * point; nodes that hold fewer replicas come first, then the order of the walk, and
 * no zone gets a second replica while another has none. The first replica in a
 * group's list is where its leader should be; these are spread evenly.
 *
 * Needs:    rpc/map.h, rpc/ring.h.
 * Used by:  server/meta.c.
 * Threads:  any.
 */
#ifndef KV_SERVER_PLACEMENT_H
#define KV_SERVER_PLACEMENT_H

#include <stdint.h>

#include "raft/base/check.h"
#include "rpc/map.h"

enum {
    PLACEMENT_VNODES = 64 /* Points of each node on the ring of nodes. */
};

/* Fills m->groups with `groups` data groups (ids 1...) placed on m->nodes, replica
 * number = node id, w 0. Fewer nodes than `replicas`: one replica on each.
 *
 * m  [inout]  nodes ascending by id and set, groups are replaced; slots and epoch are
 *             left alone.
 * Returns 0; KV_EINVAL: no nodes, groups not in 1..KV_GROUPS_MAX-1, replicas not in
 * 1..KV_REPLICAS_MAX. */
KV_MUST_CHECK int placement_make(struct map *m, uint32_t groups, uint32_t replicas);

/* Node that should lead the group. */
uint32_t placement_preferred(const struct map_group *g);

#endif
