/* rpc/event.h - notifications of a watch: what changed, in the order in which it did.
 *
 *   [2, "kv.event", [watch, events, pos]]     event: [type, key, value, rev, prev]
 *
 * Types: put, del, expire, delrange; progress (nothing changed, pos moved); end (the
 * watch is over: its value is "CODE text", and pos is where another one may go on).
 * Events of one revision are never split over two notifications.
 *
 * Needs:    rpc/msg.h, rpc/buf.h.
 * Used by:  server/watch.c (encodes), client/watch.c (decodes).
 * Threads:  as rpc/reply.h.
 * Source:   docs/protocol.md.
 */
#ifndef KV_RPC_EVENT_H
#define KV_RPC_EVENT_H

#include "rpc/msg.h"

#define RPC_EVENT_MAP(X)              \
    X(RPC_EVENT_PUT, "put")           \
    X(RPC_EVENT_DEL, "del")           \
    X(RPC_EVENT_EXPIRE, "expire")     \
    X(RPC_EVENT_DELRANGE, "delrange") \
    X(RPC_EVENT_PROGRESS, "progress") \
    X(RPC_EVENT_END, "end")

enum rpc_event_type {
#define RPC_EVENT_ENUM(name, wire) name,
    RPC_EVENT_MAP(RPC_EVENT_ENUM)
#undef RPC_EVENT_ENUM
    RPC_EVENTS_COUNT,
};

struct rpc_event {
    enum rpc_event_type type;
    struct kv_bytes key; /* Empty: progress, end. */
    bool has_value;      /* put; end: its text */
    struct kv_bytes value;
    uint64_t rev;
    bool has_prev; /* The value before was asked for, and there was one. */
    struct kv_bytes prev;
};

const char *rpc_event_name(enum rpc_event_type type);

/* ---- the server's side ---- */

/* A notification that is being written. */
struct rpc_event_writer {
    struct buf *b;
    size_t mark;     /* Where it begins, */
    size_t count_at; /* and where the number of its events stands. */
    uint32_t count;
};

void rpc_event_begin(struct rpc_event_writer *w, struct buf *b, uint64_t watch);
void rpc_event_add(struct rpc_event_writer *w, const struct rpc_event *event);
/* Closes it; without an event it leaves nothing behind. Whether it fitted tells the
 * buffer's error. */
void rpc_event_end(struct rpc_event_writer *w, struct kv_bytes pos);

/* ---- the client's side ---- */

struct rpc_events {
    uint64_t watch;
    struct rpc_list events; /* rpc_event_get() */
    struct kv_bytes pos;
};

/* Reads a notification that scan_feed() has let through.
 * 0; KV_ENOTFOUND (another notification: pass it over), KV_EPROTO, KV_ENOMEM. */
KV_MUST_CHECK int rpc_events_decode(struct rpc_decoder *d, struct kv_bytes message,
                                    struct rpc_events *out);
/* The i-th, i < events.count; views into the message. */
void rpc_event_get(const struct rpc_events *e, uint32_t i, struct rpc_event *out);

#endif
