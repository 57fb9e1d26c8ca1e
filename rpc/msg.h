/* rpc/msg.h - MessagePack-RPC: methods, levels, options, errors, and the envelope.
 *
 *   request       [0, msgid, method, params]
 *   response      [1, msgid, error, result]     error: nil or "CODE text"
 *   notification  [2, method, params]
 *
 * A response splits into its head (type and msgid) and its tail (error and result),
 * so that a node can relay another node's answer under the client's msgid without
 * decoding it. Contents: rpc/request.h and rpc/reply.h, which this header includes.
 *
 * Needs:    raft/base, rpc/buf.h, rpc/limits.h; msgpack-c in the .c files only.
 * Used by:  server/, client/, tests.
 * Threads:  a decoder has one owner at a time; the rest any.
 * Source:   MessagePack-RPC specification (msgpack-rpc/spec.md); docs/protocol.md.
 */
#ifndef KV_RPC_MSG_H
#define KV_RPC_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/base/err.h"
#include "rpc/buf.h"
#include "rpc/limits.h"

/* The number of the client protocol: `proto` in hello's reply. */
enum {
    RPC_PROTO = 1
};

enum rpc_type {
    RPC_REQUEST = 0,
    RPC_RESPONSE = 1,
    RPC_NOTIFICATION = 2,
};

/* X(name, wire name, fewest parameters, most, served by this version). The options'
 * map is the last parameter and may always be left out. */
#define RPC_METHOD_MAP(X)                                       \
    X(RPC_HELLO, "hello", 0, 1, true)                           \
    X(RPC_KV_GET, "kv.get", 1, 2, true)                         \
    X(RPC_KV_PUT, "kv.put", 2, 3, true)                         \
    X(RPC_KV_DEL, "kv.del", 1, 2, true)                         \
    X(RPC_KV_CAS, "kv.cas", 3, 4, true)                         \
    X(RPC_KV_INCR, "kv.incr", 2, 3, true)                       \
    X(RPC_KV_RANGE, "kv.range", 2, 3, true)                     \
    X(RPC_CLUSTER_STATUS, "cluster.status", 0, 1, true)         \
    X(RPC_CLUSTER_MAP, "cluster.map", 0, 1, true)               \
    X(RPC_CLUSTER_SET_W, "cluster.set_w", 2, 3, true)           \
    X(RPC_KV_TXN, "kv.txn", 3, 4, true)                         \
    X(RPC_KV_WATCH, "kv.watch", 1, 2, true)                     \
    X(RPC_KV_UNWATCH, "kv.unwatch", 1, 2, true)                 \
    X(RPC_SESSION_OPEN, "session.open", 0, 1, true)             \
    X(RPC_SESSION_KEEPALIVE, "session.keepalive", 1, 2, true)   \
    X(RPC_SESSION_CLOSE, "session.close", 1, 2, true)           \
    X(RPC_LOCK_ACQUIRE, "lock.acquire", 1, 2, true)             \
    X(RPC_LOCK_KEEPALIVE, "lock.keepalive", 2, 3, true)         \
    X(RPC_LOCK_RELEASE, "lock.release", 2, 3, true)             \
    X(RPC_LOCK_INFO, "lock.info", 1, 2, true)                   \
    X(RPC_SEM_ACQUIRE, "sem.acquire", 2, 3, true)               \
    X(RPC_SEM_KEEPALIVE, "sem.keepalive", 2, 3, true)           \
    X(RPC_SEM_RELEASE, "sem.release", 2, 3, true)               \
    X(RPC_SEM_INFO, "sem.info", 1, 2, true)                     \
    X(RPC_ELECTION_CAMPAIGN, "election.campaign", 2, 3, true)   \
    X(RPC_ELECTION_KEEPALIVE, "election.keepalive", 2, 3, true) \
    X(RPC_ELECTION_RESIGN, "election.resign", 2, 3, true)       \
    X(RPC_ELECTION_LEADER, "election.leader", 1, 2, true)       \
    X(RPC_KV_GETSET, "kv.getset", 2, 3, true)                   \
    X(RPC_KV_DELRANGE, "kv.delrange", 2, 3, true)

enum rpc_method {
    RPC_UNKNOWN = 0, /* A method that this version has never heard of. */
#define RPC_METHOD_ENUM(name, wire, least, most, served) name,
    RPC_METHOD_MAP(RPC_METHOD_ENUM)
#undef RPC_METHOD_ENUM
    RPC_METHODS_COUNT,
};

/* X(name, wire name). How fresh a read must be (design.md section 7). */
#define RPC_LEVEL_MAP(X)                \
    X(RPC_LINEARIZABLE, "linearizable") \
    X(RPC_QUORUM, "quorum")             \
    X(RPC_SESSION, "session")           \
    X(RPC_STALE, "stale")

enum rpc_level {
#define RPC_LEVEL_ENUM(name, wire) name,
    RPC_LEVEL_MAP(RPC_LEVEL_ENUM)
#undef RPC_LEVEL_ENUM
    RPC_LEVELS_COUNT,
};

/* An error as it travels: "CODE text". */
struct rpc_error {
    int code;                         /* KV_E*; 0: none. */
    uint32_t len;                     /* Bytes of text, without the NUL. */
    char text[KV_ERROR_TEXT_MAX + 1]; /* One line without the code, NUL-terminated. */
};

/* Memory for decoding, reused from message to message: what a decode handed out is
 * valid until the next one with the same decoder, and while the message lives. */
struct rpc_decoder {
    struct msgpack_zone *zone; /* Holds arrays of decoded objects, never bytes. */
};

/* ---- life ---- */

/* Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int rpc_decoder_init(struct rpc_decoder *d);
void rpc_decoder_close(struct rpc_decoder *d);

/* ---- names ---- */

const char *rpc_method_name(enum rpc_method method); /* "?" for RPC_UNKNOWN. */
bool rpc_method_is_served(enum rpc_method method);
bool rpc_method_is_write(
    enum rpc_method method); /* May change state: never sent twice. */
/* Semaphores and elections are locks: the method lock.* that does the same, or
 * RPC_UNKNOWN when the method is none of theirs. */
enum rpc_method rpc_method_lock(enum rpc_method method);
const char *rpc_level_name(enum rpc_level level);

/* ---- errors ---- */

/* Fills in an error; the text is cut at KV_ERROR_TEXT_MAX and made one printable
 * line. Returns `code`, so that callers can `return rpc_error_set(...)`. */
int rpc_error_set(struct rpc_error *e, int code, const char *format, ...)
    KV_PRINTF(3, 4);

/* ---- the envelope ---- */

/* Reads type and msgid of a whole message, nothing else. *out_msgid is 0 for
 * notifications. Returns 0 or KV_EPROTO. */
KV_MUST_CHECK int rpc_peek(struct kv_bytes message, enum rpc_type *out_type,
                           uint32_t *out_msgid);

/* Splits a response into msgid and tail (a view: error and result as they are).
 * Returns 0 or KV_EPROTO (not a response). The tail is not looked into. */
KV_MUST_CHECK int rpc_response_split(struct kv_bytes message, uint32_t *out_msgid,
                                     struct kv_bytes *out_tail);

/* Appends a response with this msgid and a tail from rpc_response_split(). */
void rpc_response_join(struct buf *b, uint32_t msgid, struct kv_bytes tail);

#include "rpc/reply.h"
#include "rpc/request.h"

#endif
