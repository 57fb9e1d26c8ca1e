/* tests/lib/fake_server.h - a node that misbehaves on demand, for tests of clients.
 *
 * Listens on 127.0.0.1 in a thread of its own and speaks MessagePack-RPC through rpc/.
 * Without a script it is a small honest store; a script says what it does instead with
 * the next requests. It counts what it received: that is how a test proves that no
 * write was sent twice.
 *
 * Needs:    rpc/, uv.
 * Used by:  tests/client.
 * Threads:  every function may be called from the test's thread.
 */
#ifndef KV_TESTS_LIB_FAKE_SERVER_H
#define KV_TESTS_LIB_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc/map.h"
#include "rpc/msg.h"

struct fake_server; /* Opaque. */

enum fake_action {
    FAKE_OK,           /* Carries the request out and answers. */
    FAKE_OK_SLOWLY,    /* The same, one byte per write. */
    FAKE_OK_LATE,      /* Carries it out; the answer comes after `ms`. */
    FAKE_ERROR,        /* Answers with the error `code` and `text`. */
    FAKE_ERROR_TWICE,  /* The same answer twice: the second is nobody's. */
    FAKE_SILENT,       /* Carries it out, never answers. */
    FAKE_DROP,         /* Closes the connection when the request has come. */
    FAKE_DROP_DONE,    /* Carries it out, then closes the connection. */
    FAKE_GARBAGE,      /* Sends bytes that are no MessagePack-RPC. */
    FAKE_HUGE,         /* Sends a header that declares 4 GiB. */
    FAKE_HALF_DROP,    /* Half an answer, then closes. */
    FAKE_HALF_SILENT,  /* Half an answer, then nothing. */
    FAKE_WRONG_MSGID,  /* An answer to a request that nobody made. */
    FAKE_WRONG_RESULT, /* An answer that this method cannot have. */
    FAKE_NOTIFIES,     /* An unknown notification, then the right answer. */
    FAKE_ASKS,         /* Sends a request: servers do not do that. */
};

#define FAKE_FOREVER UINT32_MAX

/* What to do with requests; the first step that matches and has times left decides. */
struct fake_step {
    enum rpc_method method; /* RPC_UNKNOWN: any but hello. */
    enum fake_action action;
    int code;         /* KV_E*, for FAKE_ERROR. */
    const char *text; /* Behind the code's word; static. */
    uint32_t ms;      /* For FAKE_OK_LATE and FAKE_ERROR_TWICE. */
    uint32_t times;   /* 0 counts as 1. */
};

/* ---- life ---- */

/* Starts a node; port 0: a free one. NULL when the port is taken. */
struct fake_server *fake_server_start(uint32_t node, uint16_t port);

/* Stops it, closes its connections and frees it. NULL is fine. */
void fake_server_stop(struct fake_server *s);

/* ---- what it is ---- */

uint16_t fake_server_port(const struct fake_server *s);
const char *fake_server_endpoint(const struct fake_server *s); /* "127.0.0.1:port" */

/* ---- what it does ---- */

/* Adds a step behind the others. */
void fake_server_script(struct fake_server *s, struct fake_step step);

/* What cluster.map and cluster.status answer; copied. Leaders: node ids, one per group
 * of the map. Without it there is a map with this node and one group. */
void fake_server_set_map(struct fake_server *s, const struct map *map,
                         const uint32_t *leaders);

/* Tells all its connections who leads, as cluster.map would, in this term (>= 1). */
void fake_server_news(struct fake_server *s, uint64_t term);

/* A range has at most so many items, whatever was asked; 0: as asked. */
void fake_server_limit(struct fake_server *s, uint32_t items);

/* The cluster's time that hello tells; 1 without it. */
void fake_server_time(struct fake_server *s, uint64_t time_ms);

/* Closes all its connections now. */
void fake_server_drop_all(struct fake_server *s);

/* ---- what it saw ---- */

uint32_t fake_server_requests(struct fake_server *s, enum rpc_method method);
uint32_t fake_server_connections(struct fake_server *s); /* Accepted so far. */
uint32_t fake_server_open(struct fake_server *s);        /* Open now. */

/* Options of the newest request of a method; false when there was none. */
bool fake_server_options(struct fake_server *s, enum rpc_method method,
                         struct rpc_options *out);

/* Those of the i-th request of a method, from 0; false when it was not kept. */
bool fake_server_options_at(struct fake_server *s, enum rpc_method method, uint32_t i,
                            struct rpc_options *out);

/* ---- maps ---- */

/* Makes a map of the nodes that these servers are, numbered 1.., each group on all of
 * them; group i has id i. Freed with kv_mem_free(). */
struct map *fake_server_map(struct fake_server *const *servers, uint32_t servers_count,
                            uint32_t groups_count, uint64_t epoch);

#endif
