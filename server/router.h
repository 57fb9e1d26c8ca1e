/* server/router.h - where a request goes: local leader, another node, or waiting.
 *
 *   router_submit ──► group_submit            this node leads the group
 *        │       └──► peers_forward           another node does
 *        └──► waiting list of the group ──►   until a leader is known, or the deadline
 *
 * What certainly did nothing is tried again within the deadline. A write whose
 * forward got no answer ends as UNKNOWN: it is never sent a second time.
 *
 * Needs:    server/node.h, server/peers.h, rpc/map.h.
 * Used by:  server/node.c, group.c (router_submit), range.c, peers*.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_ROUTER_H
#define KV_SERVER_ROUTER_H

#include "server/node.h"

enum {
    ROUTER_BACKOFF_MS_MIN = 5, /* After an answer that certainly did nothing. */
    ROUTER_BACKOFF_MS_MAX = 200,
    ROUTER_SWEEP_MS = 10, /* How often deadlines of waiting requests are looked at. */
};

/* ---- life ---- */

/* requests_max  how many can be under way at once. 0 or KV_ENOMEM. */
KV_MUST_CHECK int router_new(struct node *n, uint32_t requests_max,
                             struct router **out);
/* Ends what still waits. */
void router_free(struct router *r);

/* ---- events ---- */

/* Ends a request with NOT_LEADER and the address of that node; 0: NO_LEADER. */
void router_send_to(struct node *n, struct request *req, uint32_t leader);
/* Another node answered a forward: relays it, or tries again. */
void router_forward_done(struct node *n, uint32_t from_node, uint64_t forward_id,
                         struct kv_bytes tail);
/* The link to `node` is lost: whether it did what it was sent is unknown. */
void router_link_lost(struct node *n, uint32_t node);
/* Forwards to `node` from `first_id` on were never sent: they certainly did nothing. */
void router_forward_unsent(struct node *n, uint32_t node, uint64_t first_id);
/* A node says who leads a group. */
void router_hint(struct node *n, group_id group, uint32_t leader, raft_term term);
/* The group's leader may be known now: what waits is routed again at the turn's end. */
void router_wake(struct node *n, group_id group);
void router_wake_all(struct node *n);
/* Turn end. Returns true when it handed something on. */
bool router_flush(struct node *n);
void router_tick(struct node *n);
uint64_t router_deadline_ms(const struct router *r);

/* ---- looking in ---- */

/* Node that leads the group as far as this node knows, 0 when nobody is known. */
uint32_t router_leader(const struct node *n, group_id group);

struct router_stats {
    uint32_t waiting, forwarded; /* Now. */
    uint64_t forwards, retries, forwards_unknown, forwards_stale;
};
void router_stats_get(const struct router *r, struct router_stats *out);

#endif
