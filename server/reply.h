/* server/reply.h - the only place that ends a request, exactly once.
 *
 * Encodes error or result, sends it where the request came from, and frees it. After
 * any of these calls the request is gone.
 *
 * Needs:    server/request.h, rpc/msg.h.
 * Used by:  server/group.c, apply.c, router.c, range.c, node.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_REPLY_H
#define KV_SERVER_REPLY_H

#include "raft/base/check.h"
#include "server/request.h"

/* Ends it with an error: word of `code` and a text (printf-like, one line). */
void reply_error(struct request *req, int code, const char *format, ...)
    KV_PRINTF(3, 4);

/* Ends it with a result; fields that the method does not have are ignored. */
struct reply_result {
    struct rpc_at at;
    bool found, deleted, swapped;
    int64_t number; /* incr; delrange: keys deleted. */
    struct kv_bytes
        value; /* get: the value; cas: the current one, where not swapped. */
    bool has_value;
    uint64_t rev;
    const struct row *rows; /* range; key, value, rev are used. */
    uint32_t rows_count;
    bool more;
    struct kv_bytes next;
    bool succeeded; /* txn */
    const struct rpc_txn_result *results;
    uint32_t results_count;
    struct rpc_lock_result lock; /* acquire; keepalive: ttl_ms. */
    bool released;               /* release */
    struct rpc_lock_info info;   /* info */
    uint32_t w;                  /* set_w */
};
void reply_result(struct request *req, const struct reply_result *result);

/* Ends it with the tail (error and result) of another node's response. */
void reply_tail(struct request *req, struct kv_bytes tail);

#endif
