/* server/conn.h - clients' connections: byte streams in, whole messages out and back.
 *
 * A conn finds whole messages in its stream (rpc/scan.h), makes requests of them and
 * collects the replies of a turn, which go out in one piece at the turn's end. It
 * bounds everything: requests in flight, bytes of a partial message, bytes not yet
 * read by a slow client. An idle conn holds no buffer.
 *
 *   OPEN ──► PAUSED (too much in flight or unread; the rest waits in its buffer)
 *     │ ◄──────┘
 *     └─────► CLOSING (protocol broken: written out, then closed)
 *
 * Needs:    server/node.h, server/idmap.h, rpc/scan.h, rpc/buf.h.
 * Used by:  server/node.c, server/reply.c (conn_reply_*), server/metrics.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_CONN_H
#define KV_SERVER_CONN_H

#include "rpc/buf.h"
#include "server/node.h"

enum {
    /* Bytes written but unread by the client: above the first the conn is not read any
     * more, above the second it is closed. */
    CONN_OUTPUT_PAUSE_BYTES = 1024 * 1024,
    CONN_OUTPUT_BYTES_MAX = 32 * 1024 * 1024,
    /* A message that was begun must be whole after this. */
    CONN_PARTIAL_MS_MAX = 30 * 1000,
};

/* ---- life ---- */

/* Makes the table of connections. memory_bytes_max bounds all their input buffers
 * together, and all their unread output. 0 or KV_ENOMEM. */
KV_MUST_CHECK int conns_new(struct node *n, uint32_t connections_max,
                            size_t memory_bytes_max, struct conns **out);
void conns_free(struct conns *cs);

/* ---- events (node.c hands them on) ---- */

/* False when there are too many. */
bool conn_open(struct node *n, uint64_t id);
void conn_data(struct node *n, uint64_t id, const uint8_t *data, size_t len);
void conn_closed(struct node *n, uint64_t id);
/* Turn end, first: goes on with those that have room again. */
void conns_resume(struct node *n);
/* Turn end, last: sends what was answered. */
void conns_flush(struct node *n);
/* Closes what is too slow, looks after paused ones. */
void conns_tick(struct node *n);
/* When conns_tick() has something to do; UINT64_MAX when nothing. */
uint64_t conns_deadline_ms(const struct conns *cs);
/* Closes all of them after what is queued was written. */
void conns_close_all(struct node *n);

/* ---- replies (reply.c only) ---- */

/* Where the answer to a request FROM_CONN is appended, whole: the conn's buffer of
 * this turn, or NULL when the client has gone. Each begin is followed by one end. */
struct buf *conn_reply_begin(struct node *n, const struct request *req);
/* The answer is complete, or there was nobody to answer. Counts it.
 * code  0 or the KV_E* it was answered with. */
void conn_reply_end(struct node *n, const struct request *req, int code);

/* ---- notifications (watch_feed.c, news.c) ---- */

/* Where a notification is appended, whole; it goes out at the turn's end. NULL: the
 * client has not read enough of what it was sent (1 MiB), or all clients have not; or
 * it has gone. */
struct buf *conn_notify_begin(struct node *n, uint64_t conn);

/* ---- looking in ---- */

struct conns_stats {
    uint32_t open;
    uint32_t paused;
    uint64_t accepted, refused; /* Refused: too many. */
    uint64_t closed_protocol;   /* Garbage. */
    uint64_t closed_slow;       /* Slow readers and senders. */
    uint64_t bytes_in, bytes_out;
    uint64_t busy;                    /* Answered BUSY before a request was made. */
    size_t input_bytes, output_bytes; /* Held now. */
};
void conns_stats_get(const struct conns *cs, struct conns_stats *out);

#endif
