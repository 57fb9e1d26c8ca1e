/* server/node_parts.h - what the node's own files share: life, groups, requests.
 *
 * node.c: life, events, the turn. node_group.c: groups and the map. node_request.c:
 * decoding, and methods that need no group. node_log.c: lines and halting.
 * node_stop.c: the clean end.
 *
 * Needs:    server/node.h.
 * Used by:  server/node*.c, meta.c, balance.c, admin.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_NODE_PARTS_H
#define KV_SERVER_NODE_PARTS_H

#include "server/node.h"
#include "server/timers.h"

#ifndef KV_VERSION_STRING
#define KV_VERSION_STRING "0.1.0"
#endif

enum {
    NODE_NODES_MAX = 16, /* RAFT_REPLICAS_MAX: each has a replica of meta. */
    NODE_META_VOTERS_MAX = 5,
    NODE_HAND_OVER_MS = 50, /* How often a stopping node tries to hand over. */
    NODE_EXPIRE_MS = 20,    /* How often deadlines inside groups are looked at. */
    NODE_PASSES_MAX = 8,    /* Of a turn's end; what is left waits for the next turn. */
};

/* The next group id of a bit set at or after *cursor; false at the end. */
bool node_bits_next(const uint64_t *bits, uint32_t *cursor, group_id *out);

/* ---- node_group.c ---- */

/* Entry of --initial-cluster, NULL when it is not there. */
const struct node_address *node_address_find(const struct node *n, uint32_t node);
/* Position of a node in config.nodes, UINT32_MAX for strangers. */
uint32_t node_position(const struct node *n, uint32_t node);
/* Opens every replica that the map names and this node does not run yet.
 * 0 or an error of group_open. */
KV_MUST_CHECK int node_groups_open(struct node *n);
/* Makes the map from its encoding the current one. 0, KV_EPROTO, KV_EFORMAT, KV_ENOMEM;
 * an older epoch is passed over. */
KV_MUST_CHECK int node_map_adopt(struct node *n, struct kv_bytes encoded);
void node_groups_close(struct node *n);
/* Flushes groups that had an event; true when there was one. */
bool node_groups_flush(struct node *n);
/* Asks the flushed groups for their deadlines. */
void node_groups_settle(struct node *n);
void node_groups_tick(struct node *n);
/* Groups that this node leads. */
bool node_leads(const struct node *n, group_id group);

/* ---- node_request.c ---- */

/* Ends a request with an encoded whole response. */
struct buf;
void node_reply_encoded(struct request *req, struct buf *b);
/* What cluster.status says of a group. */
struct rpc_group_status;
void node_group_status(const struct node *n, group_id id, struct rpc_group_status *out);

/* ---- node_stop.c ---- */

void node_stop_tick(struct node *n);

#endif
