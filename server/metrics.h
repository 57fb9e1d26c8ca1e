/* server/metrics.h - counters of requests, and everything as Prometheus text 0.0.4.
 *
 * Needs:    server/node.h, rpc/msg.h, rpc/buf.h.
 * Used by:  server/conn.c (counts), admin.c (text).
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_METRICS_H
#define KV_SERVER_METRICS_H

#include "rpc/buf.h"
#include "rpc/msg.h"
#include "server/node.h"

enum {
    METRICS_BUCKETS = 14, /* Upper bounds: 100 us to 10 s, and infinity. */
};

KV_MUST_CHECK int metrics_new(struct metrics **out);
void metrics_free(struct metrics *m);

/* A client's request was answered with `code` (0 or KV_E*) after `us` microseconds. */
void metrics_count(struct metrics *m, enum rpc_method method, int code, uint64_t us);

/* Requests of a method that ended with `code`. */
uint64_t metrics_requests(const struct metrics *m, enum rpc_method method, int code);

/* Appends all metrics of the node. The buffer's error tells whether they fitted. */
void metrics_write(struct node *n, struct buf *b);

#endif
