/* server/uv_net.h - sockets of clients and peers: listeners, bytes in, bytes out.
 *
 * Delivers bytes and ends to the node and carries out what it wants sent; knows
 * nothing of messages. A socket that is idle holds no buffer: bytes are read into one
 * buffer of the loop and handed on at once, and what is to be sent is gathered in a
 * buffer that is borrowed from a stack until the kernel has taken it. All that a turn
 * queued for a socket leaves in one write at the end of the turn.
 *
 * The end of a socket is always told from libuv's close callback, never to somebody
 * who is still on the stack.
 *
 * Needs:    libuv, server/uv_sock.h, server/config.h (addresses).
 * Used by:  server/uv_env.c, tests.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_UV_NET_H
#define KV_SERVER_UV_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "rpc/buf.h"
#include "rpc/limits.h"
#include "server/config.h"
#include "server/uv_sock.h"

struct uv_env;
struct uv_net;

enum {
    UV_NET_LINKS_IN_MAX = 4 * KV_NODES_MAX,  /* Connections that peers opened. */
    UV_NET_LINKS_OUT_MAX = 4 * KV_NODES_MAX, /* Connections that were dialled. */
    UV_NET_SPARES = 64,                      /* Buffers kept for the next turn. */
    UV_NET_SPARE_BYTES_MAX = 64 * 1024,      /* Larger ones are given back. */
    UV_NET_DIAL_MS = 1000,                   /* Resolving and connecting. */
    UV_NET_RESOLVES_MAX = 64, /* Look-ups that outlive their dial; then names fail. */
    UV_NET_BACKLOG = 1024,
};

struct uv_listener {
    struct uv_net *net;
    enum uv_sock_kind kind;
    uv_tcp_t tcp;
    bool open;
    bool
        blocked; /* A connection waits that could not be accepted for want of memory. */
};

struct uv_net_stats {
    uint64_t accepted, turned_away, dialed, stalled; /* Since start. */
    uint64_t bytes_in, bytes_out;
};

struct uv_net {
    struct uv_env *e;
    uint32_t max_connections;
    uint32_t slow_ms;
    uint32_t unacked_ms;    /* A link that nobody acknowledges bytes of for so long is
                             * given up; 0: when the kernel thinks so. */
    size_t clients_out_max; /* Over all clients. */

    struct uv_listener clients;
    struct uv_listener peers;

    struct uv_sock **slots; /* slots_cap; NULL where free. */
    uint32_t *slots_free;   /* Stack of free slot numbers. */
    uint32_t slots_cap;
    uint32_t slots_free_count;
    uint64_t id_counter;
    uint32_t counts[UV_SOCK_KINDS_COUNT]; /* In slots, by kind. */
    uint32_t unplaced; /* Without a slot and not yet given back: turned away, or still
                        * resolving a name that nobody waits for any more. */

    size_t clients_queued; /* Sum of queued over clients. */
    struct uv_sock *flush; /* Those with something to write at turn end. */
    struct uv_sock *timed; /* Those with a deadline. */
    struct buf spares[UV_NET_SPARES];
    uint32_t spares_count;
    struct uv_net_stats stats;
};

/* ---- life ---- */

/* Prepares; opens nothing. clients_out_max: bytes queued over all clients.
 * 0 or KV_ENOMEM. */
KV_MUST_CHECK int uv_net_init(struct uv_net *net, struct uv_env *e,
                              uint32_t max_connections, uint32_t slow_ms,
                              size_t clients_out_max);
/* Binds and listens. A port of 0 takes any free one. *out_port: the port it has.
 * 0, or KV_ECONNECT with one clear line in `error`. */
KV_MUST_CHECK int uv_net_listen(struct uv_net *net, enum uv_sock_kind kind,
                                const struct config_address *at, uint16_t *out_port,
                                char *error, size_t error_bytes);
/* Stops listening; sockets live on. */
void uv_net_listen_stop(struct uv_net *net);
/* Closes everything without telling the node. Done when uv_net_count() is 0. */
void uv_net_stop(struct uv_net *net);
/* Gives memory back; uv_net_count() must be 0. */
void uv_net_close(struct uv_net *net);

/* ---- work ---- */

/* As env_ops.link_dial. */
uint64_t uv_net_dial(struct uv_net *net, const char *host, uint16_t port);
/* Looks after deadlines; to be called every UV_ENV_SWEEP_MS. */
void uv_net_sweep(struct uv_net *net, uint64_t now_ms);
/* Sockets that are not yet given back, those turned away included. */
uint32_t uv_net_count(const struct uv_net *net);

/* ---- shared with uv_http.c ---- */

/* Resolves (blocks), binds and listens; the handle is initialised here. After an
 * error the handle is closing: wait for the loop before reusing it.
 * 0, or KV_ECONNECT with one clear line in `error`. */
KV_MUST_CHECK int uv_net_bind(struct uv_env *e, uv_tcp_t *tcp, const char *flag,
                              const struct config_address *at,
                              uv_connection_cb on_connection, uint16_t *out_port,
                              char *error, size_t error_bytes);

#endif
