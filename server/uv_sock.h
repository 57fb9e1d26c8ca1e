/* server/uv_sock.h - one socket of a client or a peer.
 *
 * Whoever holds an id may ask for anything at any time: what is gone is KV_ECLOSED or
 * nothing. Memory goes back only when libuv's close callback came and no request of
 * libuv points into it.
 *
 * Needs:    libuv, rpc/buf.h.
 * Used by:  server/uv_net.c, uv_env.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_UV_SOCK_H
#define KV_SERVER_UV_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "rpc/buf.h"

struct uv_net;

enum {
    UV_SOCK_CLIENT_OUT_MAX = 33 * 1024 * 1024, /* Queued for one client. */
    UV_SOCK_LINK_OUT_MAX = 64 * 1024 * 1024,   /* Queued for one peer. */
    UV_SOCK_LINGER_MS =
        1000,               /* After the last byte out, for the other side to close. */
    UV_SOCK_SLOT_BITS = 20, /* An id is a counter above and the slot below. */
    UV_SOCK_MAGIC = 0x534f434b,
};

enum uv_sock_kind {
    UV_SOCK_CLIENT,
    UV_SOCK_LINK_IN,
    UV_SOCK_LINK_OUT,
    UV_SOCK_KINDS_COUNT,
};

/*  DIALING ──► OPEN ──► FLUSHING ──► LINGERING ──► CLOSING ──► (free)
 *     │          │          │                          ▲
 *     └──────────┴──────────┴──────────────────────────┘  */
enum uv_sock_phase {
    UV_SOCK_DIALING, /* Resolving or connecting. */
    UV_SOCK_OPEN,
    UV_SOCK_FLUSHING,  /* The node closed it; output is still being written. */
    UV_SOCK_LINGERING, /* Our side is shut down; input is read and dropped. */
    UV_SOCK_CLOSING,   /* uv_close() was called. */
    UV_SOCK_PHASES_COUNT,
};

/* One socket of a client or a peer. */
struct uv_sock {
    uint32_t magic;
    enum uv_sock_kind kind;
    enum uv_sock_phase phase;
    uint64_t id; /* A counter and the slot; never reused. 0: turned away at accept. */
    struct uv_net *net;

    bool tell;      /* The node wants to hear of the end. */
    bool refused;   /* The dial met nobody who listens. */
    bool reading;   /* uv_read_start() was called, uv_read_stop() not yet. */
    bool writing;   /* uv_write() is under way with `flying`. */
    bool in_flush;  /* Is in net->flush. */
    bool resolving; /* A name is being looked up; memory stays until that ends. */
    bool closed;    /* The close callback came. */
    uint16_t port;  /* Where a dial goes. */

    struct buf out;    /* Gathered in this turn, or while `writing`. */
    struct buf flying; /* Given to libuv. */
    size_t queued;     /* Bytes of both that the kernel has not taken, as accounted. */
    size_t stalled_bytes; /* Write queue at the last look; less means progress. */
    uint64_t deadline_ms; /* 0 none. Dial, stalled write, linger. In net->timed. */

    struct uv_sock *flush_next;
    struct uv_sock *timed_prev, *timed_next;

    uv_tcp_t tcp;
    union {
        uv_connect_t connect;
        uv_getaddrinfo_t resolve;
    } dial;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

/* ---- life ---- */

/* Makes a socket without a slot; NULL without memory. */
KV_MUST_CHECK struct uv_sock *uv_sock_new(struct uv_net *net, enum uv_sock_kind kind);
/* Gives it a slot and an id. False when there is none. */
KV_MUST_CHECK bool uv_sock_place(struct uv_net *net, struct uv_sock *s);
/* Moves the phase; asserts that the move is in the picture. */
void uv_sock_move(struct uv_sock *s, enum uv_sock_phase to);
/* It is connected: reads it and tells the node. */
void uv_sock_open(struct uv_sock *s);
/* Closes it; the node hears of it from the close callback if it still wants to. */
void uv_sock_close(struct uv_sock *s);
/* Gives the memory back if nothing in libuv points to it; else the last one does. */
void uv_sock_free(struct uv_sock *s);
/* Sets or moves the deadline; 0 takes it away. */
void uv_sock_deadline(struct uv_sock *s, uint64_t deadline_ms);

/* ---- work: the contract of struct env_ops ---- */

int uv_sock_send(struct uv_net *net, uint64_t id, bool client, struct kv_bytes bytes);
uint64_t uv_sock_queued(const struct uv_net *net, uint64_t id, bool client);
void uv_sock_end(struct uv_net *net, uint64_t id, bool client, bool now);
void uv_sock_read(struct uv_net *net, uint64_t id, bool on);
/* Writes what this turn queued. */
void uv_sock_flush_all(struct uv_net *net);

#endif
