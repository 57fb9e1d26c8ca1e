/* server/range.h - a range over all groups: parts in parallel, merged in key order.
 *
 * Keys are spread over the groups by hash, so every range asks every group. Each part
 * is a request of its own (FROM_INTERNAL) that the router sends where the group's
 * leader is. A part asks for little more than its share; where a group turns out to
 * have more in the merged order, it is asked again from there.
 *
 * Each part is linearizable by itself; there is no snapshot across groups.
 *
 * Needs:    server/node.h, request.h, rpc/msg.h.
 * Used by:  server/node_request.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_RANGE_H
#define KV_SERVER_RANGE_H

#include "server/node.h"

enum {
    RANGE_PART_ITEMS_MIN = 16, /* Asked of a group at least. */
};

/* memory_bytes_max  over the items that all ranges hold while they are merged; a new
 *                   range gets BUSY above it. 0 or KV_ENOMEM. */
KV_MUST_CHECK int ranges_new(struct node *n, size_t memory_bytes_max,
                             struct ranges **out);
/* All parts must have ended. */
void ranges_free(struct ranges *rs);

/* Takes a decoded kv.range of a client. */
void range_submit(struct node *n, struct request *req);

/* Ranges under way. */
uint32_t ranges_count(const struct ranges *rs);

#endif
