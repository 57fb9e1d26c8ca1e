/* rpc/request.h - a client's request: struct, decoder for servers, encoder for clients.
 *
 * One struct serves all methods; each uses the fields that its parameters fill. All
 * bytes are views into the message. Include rpc/msg.h, which includes this.
 *
 * Needs:    rpc/msg.h.
 * Used by:  server/conn, server/router, client/.
 * Threads:  a decoder has one owner at a time.
 * Source:   docs/protocol.md.
 */
#ifndef KV_RPC_REQUEST_H
#define KV_RPC_REQUEST_H

#include "rpc/msg.h"
#include "rpc/txn.h"

/* X(name). Each is a key of the options' map; see struct rpc_options. */
#define RPC_OPTION_MAP(X) \
    X(level)              \
    X(r)                  \
    X(w)                  \
    X(token)              \
    X(max_age_ms)         \
    X(session)            \
    X(seq)                \
    X(ack)                \
    X(idem)               \
    X(idem_ttl_ms)        \
    X(stamp)              \
    X(fence)              \
    X(if_rev)             \
    X(ttl_ms)             \
    X(wait_ms)            \
    X(deadline_ms)        \
    X(limit)              \
    X(forward)            \
    X(owner)              \
    X(value)              \
    X(prefix)             \
    X(prev)               \
    X(only)               \
    X(pos)                \
    X(group)              \
    X(leaders)

enum rpc_option {
#define RPC_OPTION_ENUM(name) RPC_OPT_##name,
    RPC_OPTION_MAP(RPC_OPTION_ENUM)
#undef RPC_OPTION_ENUM
    RPC_OPTIONS_COUNT,
};

#define RPC_OPT_BIT(option) (1u << (option))

/* Options that are parsed, but that this version does not carry out: a request that
 * has one is refused (rpc_options_refuse()), never half obeyed. */
#define RPC_OPTIONS_RESERVED RPC_OPT_BIT(RPC_OPT_wait_ms)

/* An option that was not given has its bit in `has` clear and the value below. */
struct rpc_options {
    uint32_t has;               /* RPC_OPT_BIT(...) of each option that was given. */
    enum rpc_level level;       /* RPC_LINEARIZABLE */
    bool forward;               /* true: the node may pass the request on. */
    uint32_t r;                 /* 0: replicas that a quorum read asks. */
    uint32_t w;                 /* 0: replicas that must hold a write. */
    uint32_t limit;             /* 0: items of a range, or keys of each group that
                                 * a delrange deletes, at most. */
    uint32_t deadline_ms;       /* 0: time left when the client sent it; else >= 1. */
    uint32_t max_age_ms;        /* 0: bound of a stale read. */
    uint32_t wait_ms;           /* 0 */
    uint32_t ttl_ms;            /* 0: the key does not end; of locks: the default. */
    uint64_t session;           /* 0 */
    uint64_t seq;               /* 0 */
    uint64_t ack;               /* 0: requests below it have ended; <= seq. */
    uint32_t idem_ttl_ms;       /* 0: how long the result of `idem` is kept. */
    uint64_t stamp;             /* 0: cluster time of the first sending, ms. */
    uint64_t if_rev;            /* 0: the key's revision, or no such key. */
    uint64_t fence_token;       /* 0 */
    struct kv_bytes fence_lock; /* Empty: name of the lock of `fence`. */
    struct kv_bytes idem;       /* Empty. */
    struct kv_bytes token;      /* Empty: what the client has seen (rpc/token.h). */
    struct kv_bytes owner;      /* Empty: who wants a lock. */
    struct kv_bytes value;      /* Empty: what info shows of a lock's holder. */
    bool prefix;                /* false: all keys that begin with `key` are watched. */
    bool prev;                  /* false: events carry the value before. */
    uint8_t only;               /* 0: all; else RPC_ONLY_PUT or RPC_ONLY_DEL. */
    struct kv_bytes pos;        /* Empty: where a watch goes on (a token). */
    uint32_t group;             /* 0: all; a watch: only what this group owns. */
    bool leaders;               /* false: hello subscribes to cluster.leaders. */
};

/* What option `only` lets through: "put", or "del" (expired keys, too). */
enum {
    RPC_ONLY_PUT = 1,
    RPC_ONLY_DEL = 2,
};

struct rpc_request {
    enum rpc_type type; /* RPC_REQUEST or RPC_NOTIFICATION. */
    uint32_t msgid;     /* 0 in a notification. */
    enum rpc_method method;
    struct kv_bytes
        key; /* get put del cas incr getset: 1..KV_KEY_BYTES_MAX bytes; locks:
                            * the name, 1..KV_LOCK_NAME_BYTES_MAX bytes. */
    struct kv_bytes
        value;            /* put getset: 0..KV_VALUE_BYTES_MAX bytes; acquire of a lock:
                            * option value, 0..KV_LOCK_VALUE_BYTES_MAX bytes. */
    bool has_expected;    /* cas: false: the key must not exist. */
    bool has_replacement; /* cas: false: the key is deleted. */
    struct kv_bytes expected;
    struct kv_bytes replacement;
    struct kv_bytes
        begin; /* range, delrange, watch; included; empty: from the first key. */
    struct kv_bytes end; /* The same, excluded; empty: to the last key. */
    bool is_range;       /* watch: begin and end, not `key`. */
    uint64_t watch;      /* unwatch */
    int64_t delta;       /* incr. */
    uint32_t group;      /* set_w */
    uint32_t w;          /* set_w: 0 is the majority. */
    struct rpc_txn_items txn[RPC_TXN_LISTS_COUNT]; /* txn, decoded. */
    struct kv_bytes txn_packed; /* txn, to be encoded: rpc_txn_encode()'s bytes. */
    uint64_t session;           /* session.keepalive, session.close; >= 1. */
    uint32_t permits;           /* acquire of a lock: 1; of a semaphore: 1..most. */
    uint64_t token;             /* keepalive and release of a lock; 0: by owner. */
    struct rpc_options options;
};

/* Prepares a request with default options, for a client to fill in. */
void rpc_request_init(struct rpc_request *q, enum rpc_method method, uint32_t msgid);

/* Reads one whole message that scan_feed() has let through with scan_limits_request.
 *
 * message    [in, borrowed while *out is used]
 * out        [out] also after an error: type, msgid and method as far as they are
 *            known (method RPC_UNKNOWN otherwise).
 * out_error  [out] on error: what, which parameter, why.
 * Returns 0; KV_EBADREQUEST, KV_ETOOLARGE (answer with *out_error when out->type is
 * RPC_REQUEST, pass it over when it is a notification; a method that this version
 * does not serve is KV_EBADREQUEST as well); KV_EPROTO (not a request at all: close
 * the connection); KV_ENOMEM (answer BUSY when out->type is RPC_REQUEST and
 * out->msgid is set). */
KV_MUST_CHECK int rpc_request_decode(struct rpc_decoder *d, struct kv_bytes message,
                                     struct rpc_request *out,
                                     struct rpc_error *out_error);

/* Refuses what this version does not carry out: a reserved option, or a level that is
 * not in `levels` (bits 1u << RPC_LINEARIZABLE...). Returns 0 or KV_EBADREQUEST with a
 * text that names the option or level. */
KV_MUST_CHECK int rpc_options_refuse(const struct rpc_options *options, uint32_t levels,
                                     struct rpc_error *out_error);

/* Appends the request. Options go along where their bit in `has` is set; a method
 * uses only its own fields. The buffer's error tells whether it fitted.
 * q->method must be served (rpc_method_is_served()). */
void rpc_request_encode(struct buf *b, const struct rpc_request *q);

#endif
