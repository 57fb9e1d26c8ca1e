/* rpc/news.h - the notification that says who leads which group.
 *
 *   [2, "cluster.leaders", [[[group, node, term], ...]]]
 *
 * Goes to clients that said `hello` with {leaders: true}: what the node knows at once,
 * and each change. It is hearsay: the newest term counts, and a wrong one costs a hop.
 *
 * Needs:    rpc/msg.h, rpc/buf.h.
 * Used by:  server/news.c (encodes), client/route.c (decodes).
 * Threads:  as rpc/reply.h.
 * Source:   docs/protocol.md.
 */
#ifndef KV_RPC_NEWS_H
#define KV_RPC_NEWS_H

#include "rpc/msg.h"

struct rpc_leader {
    uint32_t group;
    uint32_t node; /* 0: none is known. */
    uint64_t term;
};

/* Appends a notification's head for `count` leaders, then each of them. */
void rpc_leaders_begin(struct buf *b, uint32_t count);
void rpc_leaders_add(struct buf *b, const struct rpc_leader *leader);

/* Reads a notification that scan_feed() has let through; the list is for
 * rpc_leader_get(). 0; KV_ENOTFOUND (another notification), KV_EPROTO, KV_ENOMEM. */
KV_MUST_CHECK int rpc_leaders_decode(struct rpc_decoder *d, struct kv_bytes message,
                                     struct rpc_list *out);
/* The i-th, i < count. */
void rpc_leader_get(const struct rpc_list *leaders, uint32_t i, struct rpc_leader *out);

#endif
