/* rpc/txn.h - the parameters and results of kv.txn.
 *
 *   compare    [what, key, op, operand]      what "value", "rev", "exists"; "lock": the
 *                                            key is a lock's name, the operand a token;
 *                                            "lease": ms that its time to live has left
 *   operation  ["get", key]  ["put", key, value, ttl_ms?]  ["del", key]
 *              ["incr", key, delta]  ["range", begin, end, limit?]
 *   result     a map per operation that was carried out, as of the method of that name
 *
 * The request's lists are checked when it is decoded, so that the getters cannot fail.
 * Include rpc/msg.h, which includes this.
 *
 * Needs:    rpc/msg.h.
 * Used by:  rpc/request.c, request_encode.c, reply.c, reply_decode.c; server/txn.c;
 *           client/.
 * Threads:  any.
 * Source:   docs/protocol.md.
 */
#ifndef KV_RPC_TXN_H
#define KV_RPC_TXN_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

struct buf;
struct rpc_error;

/* X(name, wire name) */
#define RPC_TXN_WHAT_MAP(X)     \
    X(RPC_TXN_VALUE, "value")   \
    X(RPC_TXN_REV, "rev")       \
    X(RPC_TXN_EXISTS, "exists") \
    X(RPC_TXN_LOCK, "lock")     \
    X(RPC_TXN_LEASE, "lease")

enum rpc_txn_what {
#define RPC_TXN_ENUM(name, wire) name,
    RPC_TXN_WHAT_MAP(RPC_TXN_ENUM) RPC_TXN_WHATS_COUNT,
};

#define RPC_TXN_TEST_MAP(X) \
    X(RPC_TXN_EQ, "=")      \
    X(RPC_TXN_NE, "!=")     \
    X(RPC_TXN_LT, "<")      \
    X(RPC_TXN_GT, ">")      \
    X(RPC_TXN_LE, "<=")     \
    X(RPC_TXN_GE, ">=")

enum rpc_txn_test {
    RPC_TXN_TEST_MAP(RPC_TXN_ENUM) RPC_TXN_TESTS_COUNT,
};

#define RPC_TXN_VERB_MAP(X) \
    X(RPC_TXN_GET, "get")   \
    X(RPC_TXN_PUT, "put")   \
    X(RPC_TXN_DEL, "del")   \
    X(RPC_TXN_INCR, "incr") \
    X(RPC_TXN_RANGE, "range")

enum rpc_txn_verb {
    RPC_TXN_VERB_MAP(RPC_TXN_ENUM)
#undef RPC_TXN_ENUM
    RPC_TXN_VERBS_COUNT,
};

/* The three lists, in the order of the parameters. */
enum rpc_txn_list {
    RPC_TXN_COMPARES = 0,
    RPC_TXN_THEN,
    RPC_TXN_ELSE,
    RPC_TXN_LISTS_COUNT,
};

struct rpc_txn_compare {
    enum rpc_txn_what what;
    enum rpc_txn_test test;
    struct kv_bytes key;   /* 1..KV_KEY_BYTES_MAX bytes. */
    struct kv_bytes value; /* RPC_TXN_VALUE: the operand. */
    uint64_t rev;          /* RPC_TXN_REV: the operand; RPC_TXN_LOCK: the token, = where
                            * it is held with that one; only = and !=; RPC_TXN_LEASE:
                            * ms, 0: the key does not end. */
    bool exists;           /* RPC_TXN_EXISTS: the operand; only = and !=. */
};

struct rpc_txn_op {
    enum rpc_txn_verb verb;
    struct kv_bytes key;   /* range: where it begins. 1..KV_KEY_BYTES_MAX bytes. */
    struct kv_bytes value; /* put: the value. range: the end, not empty. */
    int64_t delta;         /* incr */
    uint32_t limit;  /* range: items at most, 1..KV_RANGE_ITEMS_MAX; 0: default. */
    uint32_t ttl_ms; /* put: 1..KV_TTL_MS_MAX; 0: the key does not end. */
};

/* A list of a decoded request. Valid until the decoder's next message. */
struct rpc_txn_items {
    const void *objects; /* msgpack-c's, in the decoder's zone. */
    uint32_t count;      /* 0..KV_TXN_OPS_MAX */
};

/* ---- servers ---- */

/* The i-th item, i < count, of a list that was decoded. */
void rpc_txn_compare_get(const struct rpc_txn_items *l, uint32_t i,
                         struct rpc_txn_compare *out);
void rpc_txn_op_get(const struct rpc_txn_items *l, uint32_t i, struct rpc_txn_op *out);

/* Checks the object of parameter `list` (msgpack_object, private to rpc/).
 * 0; KV_EBADREQUEST and KV_ETOOLARGE with a text that names list and item. */
KV_MUST_CHECK int rpc_txn_decode(const void *object, enum rpc_txn_list list,
                                 struct rpc_txn_items *out,
                                 struct rpc_error *out_error);

/* ---- clients ---- */

/* What a client sends: borrowed lists. */
struct rpc_txn {
    const struct rpc_txn_compare *compares;
    const struct rpc_txn_op *ops[2]; /* then, else */
    uint32_t compares_count;
    uint32_t ops_count[2];
};

/* Appends the three parameters: rpc_request.txn_packed. */
void rpc_txn_encode(struct buf *b, const struct rpc_txn *txn);

/* ---- names ---- */

const char *rpc_txn_what_name(enum rpc_txn_what what);
const char *rpc_txn_test_name(enum rpc_txn_test test);
const char *rpc_txn_verb_name(enum rpc_txn_verb verb);
/* False when there is no such name. */
bool rpc_txn_what_find(struct kv_bytes name, enum rpc_txn_what *out);
bool rpc_txn_test_find(struct kv_bytes name, enum rpc_txn_test *out);
bool rpc_txn_verb_find(struct kv_bytes name, enum rpc_txn_verb *out);

#endif
