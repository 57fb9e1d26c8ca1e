/* server/uv_http.h - the HTTP port: GET and HEAD of what operators look at.
 *
 * HTTP/1.0 and 1.1 with keep-alive and pipelining. Requests are small and have no
 * body; answers come from admin_get() at once. Never blocks the loop. Nobody can hold
 * its few connections: when all are taken, the one that was of no use for the longest
 * time makes room, so that a health check gets through.
 *
 * Needs:    libuv, llhttp, rpc/buf.h, server/node.h (admin_get).
 * Used by:  server/uv_env.c, tests.
 * Threads:  loop thread.
 * Source:   RFC 9110, RFC 9112.
 */
#ifndef KV_SERVER_UV_HTTP_H
#define KV_SERVER_UV_HTTP_H

#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "raft/base/check.h"
#include "rpc/buf.h"
#include "server/config.h"

struct uv_env;
struct uv_http;

enum {
    UV_HTTP_CONNS_MAX = 64,
    UV_HTTP_PLACES = UV_HTTP_CONNS_MAX + 16, /* With those that are on their way out. */
    UV_HTTP_HEAD_BYTES_MAX = 8 * 1024,       /* Request line and headers. */
    UV_HTTP_URL_BYTES_MAX = 2 * 1024,
    UV_HTTP_BODY_BYTES_MAX = 16 * 1024 * 1024, /* Of one answer. */
    UV_HTTP_OUT_BYTES = 256 * 1024, /* More waiting than this: the connection ends after
                                     * what is queued; the client asks again. */
    UV_HTTP_HEAD_MS = 10000,        /* A request's head must be complete within this. */
    UV_HTTP_IDLE_MS = 60000,        /* Between requests. */
    UV_HTTP_WRITE_MS = 10000,       /* A client that does not read its answer. */
    UV_HTTP_LINGER_MS = 1000,       /* After the last byte out. */
    UV_HTTP_MAGIC = 0x48545450,
};

/* One HTTP connection; all of them lie in uv_http.conns. */
struct uv_http_conn {
    uint32_t magic;
    bool used;       /* Taken; from accept to the close callback. */
    bool closing;    /* uv_close() was called. */
    bool writing;    /* uv_write() is under way with `flying`. */
    bool ending;     /* No further request is read; closes when all is written. */
    bool shut;       /* Our side is shut down; input is dropped. */
    bool head_begun; /* Bytes of a request came, and it is not complete. */
    struct uv_http *http;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    llhttp_t parser;
    uint32_t head_bytes; /* Of the request that is being read. */
    uint32_t url_bytes;
    bool url_too_long;
    bool has_body;
    bool keep_alive;
    uint64_t used_at; /* uv_http.uses at its accept or its last whole request. */
    uint64_t deadline_ms;
    struct buf out;    /* Answers that are not yet written. */
    struct buf flying; /* Given to libuv. */
    char url[UV_HTTP_URL_BYTES_MAX + 1];
};

struct uv_http {
    struct uv_env *e;
    uv_tcp_t listener;
    bool open;
    bool blocked;   /* A connection waits to be accepted: all places are taken. */
    uint32_t count; /* Of conns in use. */
    uint64_t uses;  /* Counts accepts and requests. */
    struct uv_http_conn *conns; /* UV_HTTP_PLACES */
    llhttp_settings_t settings;
    struct buf body;   /* Of the answer that is being made. */
    uint64_t requests; /* Answered since start, errors included. */
};

/* Prepares; opens nothing. 0 or KV_ENOMEM. */
KV_MUST_CHECK int uv_http_init(struct uv_http *h, struct uv_env *e);
/* Binds and listens, as uv_net_listen(). */
KV_MUST_CHECK int uv_http_listen(struct uv_http *h, const struct config_address *at,
                                 uint16_t *out_port, char *error, size_t error_bytes);
/* Looks after deadlines. */
void uv_http_sweep(struct uv_http *h, uint64_t now_ms);
/* Stops listening and closes everything. Done when uv_http_count() is 0. */
void uv_http_stop(struct uv_http *h);
uint32_t uv_http_count(const struct uv_http *h);
/* Gives memory back; uv_http_count() must be 0. */
void uv_http_close(struct uv_http *h);

#endif
