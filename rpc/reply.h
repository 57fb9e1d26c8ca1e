/* rpc/reply.h - a server's replies: encoders for servers, one decoder for clients.
 *
 * Every success is a map with `at`: which group, at which revision and term, on which
 * node, at which level. Include rpc/msg.h, which includes this.
 *
 * Needs:    rpc/msg.h.
 * Used by:  server/reply, server/router (merging ranges), client/.
 * Threads:  a decoder has one owner at a time.
 * Source:   docs/protocol.md.
 */
#ifndef KV_RPC_REPLY_H
#define KV_RPC_REPLY_H

#include "rpc/msg.h"
#include "rpc/txn.h"

struct map;

/* Where and when a reply was true. On the wire:
 * [group, rev, term, node, level (its name), age_ms]. */
struct rpc_at {
    uint32_t group;
    uint32_t node; /* Node that answered. */
    uint64_t rev;  /* Of the group when it answered. */
    uint64_t term;
    enum rpc_level level;
    uint64_t age_ms; /* 0 unless stale; RPC_AGE_UNKNOWN. */
    /* Beside `at` in the result, where they are set: */
    struct kv_bytes token; /* Empty: none. */
    uint32_t ttl_ms;       /* 0: none; a get: what is left of the key's time to live. */
    uint32_t replicas;     /* 0: none; a write with option w: replicas that hold it. */
    bool has_swapped;      /* A write with option if_rev: it was carried out; */
    bool swapped;
    bool repeated; /* A write that was applied before: this is what came of it then. */
};

enum {
    /* No leader was heard of since the process began: age_ms of a stale read. */
    RPC_AGE_UNKNOWN = 0x7fffffff,
};

struct rpc_item {
    struct kv_bytes key;
    struct kv_bytes value;
    uint64_t rev;
};

/* ---- encoders: each appends one whole response ---- */

/* found NULL: no such key, value nil, rev 0. Its key is not sent. */
void rpc_reply_get(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct rpc_item *found);
void rpc_reply_put(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   uint64_t rev);
/* before NULL: there was no value. */
void rpc_reply_getset(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                      const struct rpc_item *before, uint64_t rev);
void rpc_reply_del(struct buf *b, uint32_t msgid, const struct rpc_at *at, bool deleted,
                   uint64_t rev);

struct rpc_cas_result {
    bool swapped;
    uint64_t rev;          /* Of the write; where not swapped: of the current value, 0
                              * when there is none. */
    bool has_value;        /* Not swapped, and the key exists. */
    struct kv_bytes value; /* The current value then. */
};
void rpc_reply_cas(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct rpc_cas_result *result);
void rpc_reply_incr(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                    int64_t value, uint64_t rev);

/* lock.acquire and its kin. */
struct rpc_lock_result {
    bool acquired;
    uint64_t token;  /* acquired; else 0. */
    uint32_t ttl_ms; /* Of the lease, or of the place in the queue. */
    uint32_t place;  /* Not acquired: 1 is the next; 0: not in the queue. */
};
void rpc_reply_acquire(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       const struct rpc_lock_result *result);
void rpc_reply_keepalive(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                         uint32_t ttl_ms);
void rpc_reply_release(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       bool released);

struct rpc_lock_holder {
    uint64_t token;
    struct kv_bytes owner;
    struct kv_bytes value;
    uint32_t left_ms; /* Of the lease, on the leader's clock. */
};
struct rpc_lock_info {
    const struct rpc_lock_holder *holders;
    uint32_t holders_count;
    uint32_t waiting;    /* Claims in the queue. */
    uint32_t permits;    /* 0: nobody holds it. */
    uint64_t last_token; /* 0: nobody holds it. */
};
void rpc_reply_info(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                    const struct rpc_lock_info *info);

struct rpc_range_result {
    const struct rpc_at *ats; /* One per group asked. */
    uint32_t ats_count;
    const struct rpc_item *items; /* Ascending keys. */
    uint32_t items_count;
    bool more;             /* There are keys behind the last item. */
    struct kv_bytes next;  /* more: where to go on; nil on the wire otherwise. */
    struct kv_bytes token; /* Empty: none. */
};
void rpc_reply_range(struct buf *b, uint32_t msgid,
                     const struct rpc_range_result *result);

/* kv.delrange: one step of a range that is deleted. */
struct rpc_delrange_result {
    const struct rpc_at
        *ats; /* One per group asked; the first one's extras are sent. */
    uint32_t ats_count;
    uint64_t deleted;     /* Keys. */
    bool more;            /* There are keys of the range left, */
    struct kv_bytes next; /* from here on; nil on the wire otherwise. */
};
void rpc_reply_delrange(struct buf *b, uint32_t msgid,
                        const struct rpc_delrange_result *result);

/* What came of one operation; fields that its verb does not have are 0. */
struct rpc_txn_result {
    enum rpc_txn_verb verb;
    bool found;                   /* get */
    bool deleted;                 /* del */
    bool more;                    /* range */
    struct kv_bytes value;        /* get: found */
    struct kv_bytes next;         /* range: more */
    int64_t number;               /* incr */
    uint64_t rev;                 /* get: of the value; put, del, incr: of the write. */
    const struct rpc_item *items; /* range */
    uint32_t items_count;
};
/* results: of the list that was carried out, in its order. */
void rpc_reply_txn(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   bool succeeded, uint64_t rev, const struct rpc_txn_result *results,
                   uint32_t results_count);

struct rpc_hello {
    struct kv_bytes server;  /* "kvd" */
    struct kv_bytes version; /* "0.1.0" */
    uint32_t proto;          /* RPC_PROTO */
    uint32_t node;
    uint64_t cluster; /* On the wire: 16 hex digits. */
    uint64_t time_ms; /* The node's wall clock. */
};
void rpc_reply_hello(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                     const struct rpc_hello *hello);

struct rpc_session {
    uint64_t session;
    uint32_t ttl_ms;  /* How long results are kept. */
    uint64_t time_ms; /* Of the cluster, as far as the node knows. */
};
/* One for session.open, with all fields; .keepalive has no session, .close is true. */
void rpc_reply_session(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       const struct rpc_session *session);
void rpc_reply_session_closed(struct buf *b, uint32_t msgid, const struct rpc_at *at);

/* kv.watch: its number, and the position that it begins at. */
void rpc_reply_watch(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                     uint64_t watch, struct kv_bytes pos);
/* kv.unwatch: there was such a watch. */
void rpc_reply_unwatch(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                       bool ended);

/* One group in cluster.status, as the answering node knows it. */
struct rpc_group_status {
    uint32_t id;
    uint32_t leader; /* Node id, 0: unknown. */
    uint64_t term;
    uint64_t commit;
    uint64_t applied; /* On the answering node; 0 when it holds no replica. */
    uint32_t w;
    uint32_t voters_count;
    uint32_t voters[KV_REPLICAS_MAX * 2]; /* Node ids. */
};
void rpc_reply_status(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                      const struct map *map, const struct rpc_group_status *groups,
                      uint32_t groups_count);

/* leaders: one node id (0 unknown) per group of the map, in its order; or NULL. */
void rpc_reply_map(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                   const struct map *map, const uint32_t *leaders);

/* The group's W is `w` now, durably. */
void rpc_reply_set_w(struct buf *b, uint32_t msgid, const struct rpc_at *at,
                     uint32_t w);

/* "CODE text". Codes without a word of their own become BUSY (KV_ENOMEM) or UNKNOWN. */
void rpc_reply_error(struct buf *b, uint32_t msgid, const struct rpc_error *error);

/* ---- the client's side ---- */

/* Lists in a reply, valid as long as the decoder's last message. */
struct rpc_list {
    const void *objects; /* msgpack-c's, in the decoder's zone. */
    uint32_t count;
};

/* A field that the reply does not have is 0, false or empty; `has` tells. */
struct rpc_reply {
    uint32_t msgid;
    int error;                    /* 0, or the KV_E* of the error's word. */
    struct kv_bytes error_text;   /* Whole text, "NOT_LEADER 127.0.0.1:7410". */
    struct kv_bytes error_detail; /* The same behind the word. */
    struct rpc_at at;             /* The first one. */
    struct rpc_list ats;          /* All of them (rpc_reply_at_get()). */
    bool found;                   /* get */
    bool deleted;                 /* del */
    uint64_t deleted_count;       /* delrange: `deleted` */
    bool swapped;                 /* cas */
    bool more;                    /* range, delrange */
    bool succeeded;               /* txn: all compares were true. */
    bool has_value;               /* `value` holds bytes (get, cas). */
    bool acquired;                /* acquire */
    bool released;                /* release */
    uint64_t lock_token;          /* acquire: `token` */
    uint32_t ttl_ms;         /* get; acquire, keepalive; session.open, .keepalive */
    uint32_t place;          /* acquire */
    uint32_t waiting;        /* info */
    uint32_t permits;        /* info */
    uint64_t last_token;     /* info */
    struct rpc_list holders; /* info (rpc_reply_holder_get()) */
    bool has_number;         /* `number` holds incr's value. */
    struct kv_bytes value;
    int64_t number;
    uint64_t rev;
    struct rpc_list items;   /* range (rpc_reply_item_get()) */
    struct kv_bytes next;    /* range, delrange */
    struct rpc_list results; /* txn (rpc_reply_result_get()) */
    uint32_t node;           /* hello, status, map */
    uint32_t proto;          /* hello */
    uint64_t cluster;        /* hello, status, map */
    uint64_t epoch;          /* status, map */
    uint32_t w;              /* set_w */
    uint32_t replicas;       /* writes with option w; else 0 */
    struct kv_bytes token;   /* Where one was asked for. */
    uint64_t time_ms;        /* hello, session.open, .keepalive */
    uint64_t session;        /* session.open */
    bool closed;             /* session.close */
    bool repeated;           /* put del cas incr: see rpc_at. */
    uint64_t watch;          /* watch */
    struct kv_bytes pos;     /* watch */
    bool ended;              /* unwatch */
    struct kv_bytes server;  /* hello */
    struct kv_bytes version; /* hello */
    struct rpc_list groups;  /* status (rpc_reply_group_get()) */
    struct rpc_list leaders; /* map (rpc_reply_leader_get()) */
    struct kv_bytes result;  /* The result's own bytes: map_decode_reply(). */
};

/* Reads one response that scan_feed() has let through with scan_limits_response.
 *
 * message  [in, borrowed while *out is used]
 * method   of the request that it answers.
 * Returns 0 (an error reply too: out->error), KV_EPROTO (not a response, or not one
 * that this method can have), KV_ENOMEM. All lists are checked here: their getters
 * below cannot fail. */
KV_MUST_CHECK int rpc_reply_decode(struct rpc_decoder *d, struct kv_bytes message,
                                   enum rpc_method method, struct rpc_reply *out);

/* The same for a bare tail (rpc_response_split()); out->msgid is 0. */
KV_MUST_CHECK int rpc_reply_decode_tail(struct rpc_decoder *d, struct kv_bytes tail,
                                        enum rpc_method method, struct rpc_reply *out);

/* The i-th of a list, i < count. */
void rpc_reply_at_get(const struct rpc_reply *r, uint32_t i, struct rpc_at *out);
void rpc_reply_item_get(const struct rpc_reply *r, uint32_t i, struct rpc_item *out);
void rpc_reply_group_get(const struct rpc_reply *r, uint32_t i,
                         struct rpc_group_status *out);
/* One operation's result in a reply to kv.txn. */
struct rpc_reply_op {
    bool found, deleted, more;
    bool has_value;        /* get */
    bool has_number;       /* incr */
    struct kv_bytes value; /* get */
    int64_t number;        /* incr */
    uint64_t rev;
    struct rpc_list items; /* range (rpc_reply_list_item_get()) */
    struct kv_bytes next;  /* range with `more` */
};
void rpc_reply_result_get(const struct rpc_reply *r, uint32_t i,
                          struct rpc_reply_op *out);
void rpc_reply_list_item_get(const struct rpc_list *l, uint32_t i,
                             struct rpc_item *out);
uint32_t rpc_reply_leader_get(const struct rpc_reply *r, uint32_t i);
void rpc_reply_holder_get(const struct rpc_reply *r, uint32_t i,
                          struct rpc_lock_holder *out);

#endif
