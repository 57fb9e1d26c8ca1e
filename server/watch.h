/* server/watch.h - clients that watch keys, and how events get to them.
 *
 *   IDLE ──a batch matches──► READY ──told up to the newest──► IDLE
 *                              │  ▲
 *                 no room ──►  ▼  │ every 20 ms
 *                            BLOCKED ──its history was dropped──► ended (OVERFLOW)
 *
 * A watch has no queue: it has a place in the history of each group that it covers
 * (server/history.h), and takes from there what its connection has room for. So a slow
 * reader costs nothing but its place; when the history passes that, it is told so and
 * ended, with the position to go on from. An idle watch costs nothing per change: an
 * index finds the ones that a change belongs to. What is told was applied, so it was
 * committed: nothing is ever taken back, whichever replica serves.
 *
 * Order: the revisions of one group, each whole. Between groups none is promised.
 *
 * Needs:    server/node.h, history.h, watch_index.h, idmap.h.
 * Used by:  server/node.c, node_request.c, conn.c, group_apply.c, group_snapshot.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_WATCH_H
#define KV_SERVER_WATCH_H

#include "server/node.h"

struct watches;

enum {
    WATCHES_MAX = 65536,           /* Of a node; more get BUSY. */
    WATCH_NOTE_BYTES = 256 * 1024, /* A notification ends with the batch behind it. */
    WATCH_PROGRESS_MS = 5000,      /* A position that moved is told so often. */
};

/* ---- life ---- */

/* bytes_max  of all watches together. 0 or KV_ENOMEM. */
KV_MUST_CHECK int watches_new(struct node *n, size_t bytes_max, struct watches **out);
void watches_free(struct watches *ws);

/* ---- requests ---- */

/* kv.watch and kv.unwatch: answered at once, here. */
void watch_submit(struct node *n, struct request *req);
void watch_end_submit(struct node *n, struct request *req);

/* ---- events ---- */

/* The group applied an entry that changed keys: the newest batch of its history. */
void watches_on_batch(struct node *n, struct group *g);
/* The group's history begins anew: who would miss something is ended. */
void watches_on_reset(struct node *n, struct group *g);
/* A client has gone. */
void watches_conn_closed(struct node *n, uint64_t conn);
/* Turn end, before conns_flush(): writes what clients have room for. */
void watches_flush(struct node *n);
void watches_tick(struct node *n);
uint64_t watches_deadline_ms(const struct node *n);

/* ---- looking in ---- */

struct watches_stats {
    uint32_t open;
    uint32_t behind;    /* Not told everything yet. */
    uint64_t events;    /* Sent, without progress. */
    uint64_t overflows; /* Ended because they were too slow. */
    size_t bytes;       /* That the watches take. */
};
void watches_stats_get(const struct watches *ws, struct watches_stats *out);

#endif
