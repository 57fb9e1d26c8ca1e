/* client/kv.h - libkv, the C client of kvd: this header is its reference.
 *
 *     struct kv_client *c = NULL;
 *     int error = kv_open("127.0.0.1:7410,127.0.0.1:7420", &c);
 *     const struct kv_result *r = kv_wait(c, kv_get(kv_str("greeting")));
 *     if (r->error == 0 && r->found) { ... r->value.data, r->value.len ... }
 *     kv_result_free(r);
 *     kv_free(c);
 *
 * A request is a value that kv_get(), kv_put() ... make; kv_wait() carries it out and
 * blocks, kv_start() carries it out on your libuv loop and calls you back. A call has
 * one deadline over everything that happens for it, and ends in one of three
 * outcomes that are never mixed up: done, certainly not done, unknown. What fails is
 * tried again until the deadline unless retries are off, also a write whose outcome is
 * unknown: the client numbers its writes, and the server knows one again that it did
 * (options.sessions). Without sessions such a write is never sent again.
 *
 * Threads:  A kv_client is not thread-safe: use one per thread or lock around it;
 *           different clients may be used from different threads at once.
 * Memory:   the library copies what you pass in, before the call returns.
 * Limits:   key 1 to 480 bytes, value up to 1 MiB, 1,024 requests under way per
 *           connection, one connection per node.
 */
#ifndef KV_H
#define KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KV_API __attribute__((visibility("default")))

#define KV_VERSION_MAJOR 0
#define KV_VERSION_MINOR 1
#define KV_VERSION_PATCH 0

/* ---- errors and outcomes ---- */

/* What is known about a write when its call has ended. A failed read is always
 * KV_NOT_DONE: it changed nothing. */
enum kv_result_outcome {
    KV_DONE = 0,     /* Carried out; the result says how. Only with error 0. */
    KV_NOT_DONE = 1, /* Certainly not applied, now or later: may be tried again. */
    KV_UNKNOWN = 2,  /* Applied, or not, or yet to be: look before you try again. */
};

/* kv_result.error, and what functions return. 0 is success. */
enum kv_error {
    /* Answers of the server. */
    KV_ERR_BAD_REQUEST = -19999,
    KV_ERR_TOO_LARGE = -19998,
    KV_ERR_BAD_QUORUM = -19997,
    KV_ERR_CROSS_SLOT = -19996,
    KV_ERR_FENCED = -19995,
    KV_ERR_SESSION_EXPIRED = -19994,
    KV_ERR_NOT_LEADER = -19993,
    KV_ERR_NO_LEADER = -19992,
    KV_ERR_TIMEOUT = -19991, /* The deadline passed before anything was done. */
    KV_ERR_BUSY = -19990,    /* A queue is full, on the server or here. */
    KV_ERR_NO_SPACE = -19989,
    KV_ERR_DAMAGED = -19988,
    KV_ERR_COMPACTED = -19987,
    KV_ERR_OVERFLOW = -19986,
    KV_ERR_DENIED = -19985,
    KV_ERR_UNKNOWN = -19984, /* The outcome of the write is unknown. */
    /* Found out on this side. */
    KV_ERR_NO_MEMORY = -19979,
    KV_ERR_INVALID = -19978,  /* An argument or option is wrong. */
    KV_ERR_PROTOCOL = -19976, /* The server sent what is not its protocol. */
    KV_ERR_IO = -19973,
    KV_ERR_CONNECT = -19970, /* No endpoint can be reached. */
    KV_ERR_CLOSED = -19969,  /* The connection broke, or the client was closed. */
};

/* Returns a static one-line text for any code, foreign ones included. */
KV_API const char *kv_strerror(int error);

/* Returns the code's word, "BUSY"; "ERROR" for foreign ones. Static. */
KV_API const char *kv_errname(int error);

/* ---- bytes ---- */

/* Somebody else's bytes. `data` NULL means nil (kv_cas); an empty value is a `data`
 * that is not NULL with `len` 0. */
struct kv_view {
    const void *data;
    size_t len;
};

static inline struct kv_view kv_mem(const void *data, size_t len)
{
    struct kv_view view;

    view.data = data == NULL ? "" : data;
    view.len = len;
    return view;
}

static inline struct kv_view kv_str(const char *text)
{
    return kv_mem(text, strlen(text));
}

static inline struct kv_view kv_nil(void)
{
    struct kv_view view = {NULL, 0};

    return view;
}

/* ---- requests ---- */

enum kv_op {
    KV_OP_GET = 1,
    KV_OP_PUT,
    KV_OP_DEL,
    KV_OP_CAS,
    KV_OP_INCR,
    KV_OP_RANGE,
    KV_OP_STATUS, /* How the groups are, as the answering node sees it. */
    KV_OP_MAP,    /* Nodes, groups, replicas and who owns which slot. */
    KV_OP_TXN,    /* Compares, then one of two lists of operations. */
    KV_OP_LOCK,   /* Takes a lock, a permit of a semaphore, or a campaign. */
    KV_OP_LOCK_KEEPALIVE,
    KV_OP_LOCK_RELEASE,
    KV_OP_LOCK_INFO,
    KV_OP_GETSET,   /* Sets a key, and answers what it held. */
    KV_OP_SET_W,    /* An operator changes the write quorum of a group. */
    KV_OP_DELRANGE, /* Deletes the first keys of a range. */
};

/* How fresh a read must be. The server refuses levels that it does not have yet. */
enum kv_level {
    KV_LEVEL_LINEARIZABLE = 0, /* Sees every write acknowledged before it began. */
    KV_LEVEL_QUORUM,           /* The same, without the leader. */
    KV_LEVEL_SESSION,          /* Never older than what this client has seen, from any
                                * replica; see kv_token(). */
    KV_LEVEL_STALE,            /* Whatever the replica has; see max_age_ms. */
};

/* ---- transactions ---- */

enum kv_what {
    KV_WHAT_VALUE = 0, /* Of a key that does not exist: differs from every value. */
    KV_WHAT_REV,       /* Of a key that does not exist: 0. */
    KV_WHAT_EXISTS,
    KV_WHAT_LOCK, /* Key: a lock's name, with the {tag} of the keys. EQ: it is held with
                   * the token `rev`; NE: it is not. */
    KV_WHAT_LEASE, /* Ms that are left of the key's time to live (operand: `rev`);
                    * 0: it has none. */
};

enum kv_test {
    KV_TEST_EQ = 0,
    KV_TEST_NE,
    KV_TEST_LT, /* Values: bytewise. The last two take EQ and NE only. */
    KV_TEST_GT,
    KV_TEST_LE,
    KV_TEST_GE,
};

/* Each uses the operand of its `what`. */
struct kv_compare {
    enum kv_what what;
    enum kv_test test;
    struct kv_view key;
    struct kv_view value;
    uint64_t rev;
    bool exists;
};

/* KV_OP_GET, PUT, DEL, INCR or RANGE; fields as in struct kv_request. A range's bounds
 * must begin with the same {tag}. */
struct kv_txn_op {
    enum kv_op op;
    struct kv_view key;
    struct kv_view value;
    int64_t delta;
    uint32_t limit;
    uint32_t ttl_ms;
};

/* All keys must share one slot: give them the same {tag}. At most 128 of each list. */
struct kv_txn {
    const struct kv_compare *compares;
    const struct kv_txn_op *then;      /* Carried out where all compares are true, */
    const struct kv_txn_op *otherwise; /* else these. */
    size_t compares_count;
    size_t then_count;
    size_t otherwise_count;
};

/* Made by the functions below; then the options may be set. 0 means "default". */
struct kv_request {
    enum kv_op op;
    struct kv_view key;      /* range: where it begins, included. */
    struct kv_view value;    /* put, cas: the new value. range: the end, excluded. */
    struct kv_view expected; /* cas */
    int64_t delta;           /* incr */
    const struct kv_txn
        *txn; /* txn; with all that it points to, until the call began. */

    uint32_t deadline_ms; /* Total for the call; 0: that of the client. */
    enum kv_level level;  /* get, range */
    uint32_t max_age_ms;  /* KV_LEVEL_STALE: refuse older answers; 0: any age. */
    uint32_t limit;       /* range: items at most; 0: the server's default. */
    /* Writes: replicas to hold it durably, where more than the group's W; 0: W.
     * Fewer at the deadline: it is done, and `replicas` of the result says how many.
     * set_w: the new W; 0: the majority. */
    uint32_t w;
    uint32_t group; /* set_w */
    /* put del getset: only where the key has this revision; 0: where it does not exist.
     * -> swapped; where not: rev is the current one, and nothing was changed. */
    uint64_t if_rev;
    bool has_if_rev;
    bool no_forward; /* The node that is asked must answer by itself. */

    struct kv_view owner; /* lock: who asks; another one for each holder. */
    uint32_t permits;     /* lock: of a semaphore; 0 and 1: a lock. */
    uint32_t ttl_ms;      /* lock: of its lease; 0: 10 seconds. put, getset: the key
                           * ends after that, up to 30 days; 0: it does not, and what
                           * it had before does not count any more. */
    uint32_t wait_ms;     /* lock: how long to stand in the queue; 0: not at all. */
    uint64_t lock_token;  /* keepalive, release; 0 in release: by owner. */

    /* get put del cas incr range txn: refused (KV_ERR_FENCED) where a newer holder of
     * the lock was seen. An empty name: no fence. */
    struct kv_view fence_lock;
    uint64_t fence_token;
    /* Writes: a name of your choice, 1 to 255 bytes, under which this one is done once
     * at most, whoever sends it, for idem_ttl_ms (0: 5 minutes; at most a day). */
    struct kv_view idem;
    uint32_t idem_ttl_ms;
};

static inline struct kv_request kv_request_make(enum kv_op op, struct kv_view key)
{
    struct kv_request request;

    memset(&request, 0, sizeof request);
    request.op = op;
    request.key = key;
    return request;
}

/* -> found, value, rev */
static inline struct kv_request kv_get(struct kv_view key)
{
    return kv_request_make(KV_OP_GET, key);
}

/* -> rev */
static inline struct kv_request kv_put(struct kv_view key, struct kv_view value)
{
    struct kv_request request = kv_request_make(KV_OP_PUT, key);

    request.value = value;
    return request;
}

/* Sets the key. -> rev; found, value: what it held before */
static inline struct kv_request kv_getset(struct kv_view key, struct kv_view value)
{
    struct kv_request request = kv_request_make(KV_OP_GETSET, key);

    request.value = value;
    return request;
}

/* -> deleted, rev */
static inline struct kv_request kv_del(struct kv_view key)
{
    return kv_request_make(KV_OP_DEL, key);
}

/* Sets `value` where the key holds `expected`; kv_nil() as expected: where the key
 * does not exist; kv_nil() as value: deletes it. -> swapped, rev; where not swapped:
 * found and value are the current ones */
static inline struct kv_request kv_cas(struct kv_view key, struct kv_view expected,
                                       struct kv_view value)
{
    struct kv_request request = kv_request_make(KV_OP_CAS, key);

    request.expected = expected;
    request.value = value;
    return request;
}

/* The value is a decimal int64; no key counts as 0. -> number, rev */
static inline struct kv_request kv_incr(struct kv_view key, int64_t delta)
{
    struct kv_request request = kv_request_make(KV_OP_INCR, key);

    request.delta = delta;
    return request;
}

/* Keys in [begin, end), bytewise order; empty: from the first, to the last.
 * -> items, more, next */
static inline struct kv_request kv_range(struct kv_view begin, struct kv_view end)
{
    struct kv_request request = kv_request_make(KV_OP_RANGE, begin);

    request.value = end;
    return request;
}

/* One step of a range that is deleted, bounds as in kv_range(): of each group the first
 * `limit` keys in it (0: 1,000), or as many as have 1 MiB. The groups' parts are not
 * one moment. With `more`, go on at `next`. KV_UNKNOWN: some of it may be done.
 * -> number (keys deleted), more, next */
static inline struct kv_request kv_delrange(struct kv_view begin, struct kv_view end)
{
    struct kv_request request = kv_request_make(KV_OP_DELRANGE, begin);

    request.value = end;
    return request;
}

/* Compares and operations, atomic and isolated: nothing else happens in between, and
 * all of a list is carried out, or nothing. -> succeeded, results, rev
 * Errors besides the usual: KV_ERR_CROSS_SLOT; KV_ERR_BAD_REQUEST (incr of a value that
 * is no number), KV_ERR_OVERFLOW, KV_ERR_TOO_LARGE (it reads more than 2 MiB): nothing
 * was changed then. */
static inline struct kv_request kv_transact(const struct kv_txn *txn)
{
    struct kv_request request = kv_request_make(KV_OP_TXN, kv_nil());

    request.txn = txn;
    return request;
}

/* Takes a lock, or waits for it (wait_ms). Asking again as the same owner finds the
 * token, or the place in the queue, so this is sent again until the deadline. Held:
 * count ttl_ms from before you called, and keep it alive by then. An error leaves open
 * whether it is held: release it by owner, or let its lease run out.
 * -> held, token, ttl_ms; not held: place in the queue (0: none) */
static inline struct kv_request kv_lock(struct kv_view name, struct kv_view owner)
{
    struct kv_request request = kv_request_make(KV_OP_LOCK, name);

    request.owner = owner;
    return request;
}

/* -> ttl_ms; KV_ERR_FENCED: it is lost */
static inline struct kv_request kv_lock_keepalive(struct kv_view name, uint64_t token)
{
    struct kv_request request = kv_request_make(KV_OP_LOCK_KEEPALIVE, name);

    request.lock_token = token;
    return request;
}

/* -> released */
static inline struct kv_request kv_lock_release(struct kv_view name, uint64_t token)
{
    struct kv_request request = kv_request_make(KV_OP_LOCK_RELEASE, name);

    request.lock_token = token;
    return request;
}

/* -> items (key: owner, value: what it shows, rev: token), permits, waiting */
static inline struct kv_request kv_lock_info(struct kv_view name)
{
    return kv_request_make(KV_OP_LOCK_INFO, name);
}

/* Changes W, the replicas of a group that must hold a write before it is acknowledged:
 * from the majority to all of them; 0: the majority. Done when both the old and the new
 * W hold the change. With W = all, one node that is down stops the group's writes.
 * -> w. KV_ERR_BAD_QUORUM: a W that cannot be. */
static inline struct kv_request kv_set_w(uint32_t group, uint32_t w)
{
    struct kv_request request = kv_request_make(KV_OP_SET_W, kv_nil());

    request.group = group;
    request.w = w;
    return request;
}

/* -> cluster with groups' leaders, terms and positions */
static inline struct kv_request kv_status(void)
{
    return kv_request_make(KV_OP_STATUS, kv_nil());
}

/* -> cluster with replicas and slots */
static inline struct kv_request kv_map(void)
{
    return kv_request_make(KV_OP_MAP, kv_nil());
}

/* ---- results ---- */

/* Where and when a result was true. */
struct kv_at {
    uint32_t group;
    uint32_t node; /* That answered. */
    uint64_t rev;
    uint64_t term;
    enum kv_level level;
    uint64_t age_ms; /* 0 unless stale. */
};

struct kv_item {
    struct kv_view key;
    struct kv_view value;
    uint64_t rev;
};

/* What came of one operation of a transaction; fields as in struct kv_result. */
struct kv_txn_result {
    bool found;
    bool deleted;
    bool more;
    struct kv_view value;
    int64_t number;
    uint64_t rev;
    const struct kv_item *items;
    size_t items_count;
    struct kv_view next;
};

struct kv_node {
    uint32_t id;
    const char *host;
    uint16_t client_port;
    uint16_t peer_port;
    uint16_t http_port; /* 0: none. */
    const char *zone;   /* "" without. */
};

struct kv_group {
    uint32_t id;           /* 0 is `meta`, which owns no keys. */
    uint32_t leader;       /* Node id; 0: not known. */
    uint32_t w;            /* Replicas that must hold a write; 0: the majority. */
    uint64_t term;         /* status */
    uint64_t commit;       /* status */
    uint64_t applied;      /* status: on the answering node; 0: no replica there. */
    uint32_t slots_count;  /* map: slots that the group owns. */
    const uint32_t *nodes; /* Those of its replicas (map) or voters (status). */
    size_t nodes_count;
};

/* Both lists ascend by id. */
struct kv_cluster {
    uint64_t id;                 /* 0 while the cluster is not formed. */
    uint64_t epoch;              /* Of the map; grows with every change. */
    uint32_t node;               /* That answered. */
    const struct kv_node *nodes; /* status: may be empty. */
    size_t nodes_count;
    const struct kv_group *groups;
    size_t groups_count;
    const uint16_t *slots; /* map: KV_SLOTS_COUNT group ids, 65535: no owner. */
};

enum {
    KV_SLOTS_COUNT = 16384
};

/* One struct serves all requests; fields that a request does not fill are 0. */
struct kv_result {
    enum kv_op op;
    int error;                      /* 0 or KV_ERR_*. */
    enum kv_result_outcome outcome; /* See there. */
    const char *text;     /* On error one line: what, which object, cause, next step;
                       * otherwise "". */
    bool found;           /* get; cas not swapped: the key exists. */
    bool deleted;         /* del */
    bool swapped;         /* cas */
    bool more;            /* range, delrange: there are more items, from `next` on. */
    struct kv_view value; /* get, cas; nil where not found. */
    int64_t number;       /* incr: the new value; delrange: keys deleted. */
    uint64_t rev;         /* Compares within a key. */
    uint32_t replicas;    /* A write with w: that hold it, at least; look at it. */
    uint32_t w;           /* set_w: what W is now. */
    bool held;            /* lock */
    bool released;        /* release */
    uint64_t token;       /* lock: only grows for this lock. */
    uint32_t ttl_ms;      /* lock, keepalive; get: left of its time, 0: no end. */
    uint32_t place;       /* lock, not held: 1 is the next. */
    uint32_t waiting;     /* info */
    uint32_t permits;     /* info; 0: nobody holds it. */
    const struct kv_item *items; /* range, ascending keys; info. */
    size_t items_count;
    struct kv_view next;                 /* With `more`: where the next one begins. */
    bool succeeded;                      /* txn: all compares were true. */
    const struct kv_txn_result *results; /* txn: of the list that was carried out. */
    size_t results_count;
    struct kv_at at;                  /* The first of `ats`. */
    const struct kv_at *ats;          /* One per group that answered. */
    size_t ats_count;                 /* 0 on error. */
    const struct kv_cluster *cluster; /* status, map; NULL otherwise. */
    bool
        repeated; /* A write: an earlier sending did it, this is what came of it then. A
                    * txn then has no results; a cas that did not swap has a value only
                    * while that is the current one. */
    uint32_t sendings;    /* How often the request went out: 0, 1, ... */
    const char *endpoint; /* "host:port" asked last; "" for none. */
};

/* ---- a client ---- */

struct kv_client;
struct uv_loop_s; /* uv_loop_t of <uv.h>. */

enum kv_routing {
    KV_ROUTE_LEADER = 0,   /* Learn the map; ask the leader of the key's group. */
    KV_ROUTE_ENDPOINTS = 1 /* Ask only the endpoints given; they forward. */
};

enum kv_sessions {
    KV_SESSIONS_ON = 0, /* Writes are sent again until their outcome is known. Costs
                         * a fifth of the throughput of small puts at full load. */
    KV_SESSIONS_OFF = 1 /* Not where it is unknown. retries 0 does that, too. */
};

enum kv_log_level {
    KV_LOG_DEBUG,
    KV_LOG_INFO,
    KV_LOG_WARN,
};

enum {
    KV_RETRIES_UNLIMITED = -1
};

struct kv_options {
    size_t size;            /* Of this struct: kv_options_init() sets it. */
    const char *endpoints;  /* "host:port,host:port": some nodes, [v6]:port too. */
    struct uv_loop_s *loop; /* Yours, for kv_start(); NULL: a private one, for
                             * kv_wait(). */
    uint32_t deadline_ms;   /* Total per call: 5000. */
    uint32_t connect_ms;    /* For one attempt to connect: 1000. */
    int32_t retries;        /* Sendings after the first: KV_RETRIES_UNLIMITED (until the
                             * deadline); 0: one sending, and its outcome is yours. */
    uint32_t connect_rounds; /* A call that cannot be sent ends when every endpoint has
                              * failed so often; 0: it tries until the deadline. */
    enum kv_routing routing;
    uint64_t seed; /* For jitter; 0: chosen. */
    /* One line of text, without a newline; NULL: silence. */
    void (*log)(void *ctx, enum kv_log_level level, const char *line);
    void *log_ctx;
    enum kv_sessions sessions;
};

/* Sets the defaults. */
KV_API void kv_options_init(struct kv_options *options);

/* Makes a client; connects to nobody until there is something to send. An open
 * connection keeps your loop alive until kv_close() or kv_free().
 * Returns 0; KV_ERR_INVALID (an endpoint is not host:port, none is given, or
 * options->size is not from kv_options_init()); KV_ERR_NO_MEMORY; KV_ERR_IO. */
KV_API int kv_new(const struct kv_options *options, struct kv_client **out_client);

/* kv_new() with a private loop and defaults, for blocking calls. */
KV_API int kv_open(const char *endpoints, struct kv_client **out_client);

/* The result and all that it points to are valid until the callback returns. The
 * callback may start calls, and close or free the client. */
typedef void (*kv_callback)(struct kv_client *client, const struct kv_result *result,
                            void *ctx);

/* Starts a call on your loop (KV_ERR_INVALID with a private one). Your program must
 * ignore SIGPIPE, as for everything that libuv writes; kv_wait() sees to that itself.
 *
 * Returns 0: `callback` will be called exactly once, from the loop, never before
 * kv_start() has returned: also when the connection breaks, the deadline passes or the
 * client is closed or freed. Otherwise the call was not begun, is certainly not done,
 * and nobody will be called back: KV_ERR_INVALID, KV_ERR_TOO_LARGE, KV_ERR_BUSY (too
 * many calls under way), KV_ERR_CLOSED (after kv_close()), KV_ERR_NO_MEMORY;
 * kv_last_error() has the text. */
KV_API int kv_start(struct kv_client *client, struct kv_request request,
                    kv_callback callback, void *ctx);

/* Carries out a call and waits for its end; only for a client with a private loop
 * (KV_ERR_INVALID otherwise).
 * Returns the result, never NULL, also on errors: give it to kv_result_free(). It is a
 * copy that outlives the client. */
KV_API const struct kv_result *kv_wait(struct kv_client *client,
                                       struct kv_request request);

/* Frees a result of kv_wait(); NULL is fine. */
KV_API void kv_result_free(const struct kv_result *result);

/* Closes gracefully: refuses new calls, lets those under way end by themselves (their
 * deadlines bound that), then closes the connections, frees the client and calls
 * `on_closed` (may be NULL) once. With a private loop it does all that before it
 * returns. Calling it twice does nothing the second time. */
KV_API void kv_close(struct kv_client *client, void (*on_closed)(void *ctx), void *ctx);

/* Frees the client now; NULL is fine. Each call under way is called back first, with
 * KV_ERR_CLOSED and its outcome. The client's handles close as your loop runs on: run
 * it once more before uv_loop_close(). After kv_close(), its callback comes then. */
KV_API void kv_free(struct kv_client *client);

/* ---- session tokens ---- */

/* What this client has seen, in few bytes: 13 for one group, 41 for eight. A client
 * that is given it sees as much in its reads of KV_LEVEL_SESSION. Valid until the
 * client's next call or callback; empty where nothing was seen yet. */
KV_API struct kv_view kv_token(struct kv_client *client);

/* From now on this client's reads of KV_LEVEL_SESSION also see what the token stands
 * for. Returns 0; KV_ERR_INVALID: it is none, was changed, or is another cluster's. */
KV_API int kv_token_add(struct kv_client *client, struct kv_view token);

/* ---- watches ---- */

struct kv_watch;

enum kv_event_type {
    KV_EVENT_PUT = 0,
    KV_EVENT_DEL,
    KV_EVENT_EXPIRE,   /* Its time to live ended. */
    KV_EVENT_DELRANGE, /* A range was deleted that it lies in. */
};

struct kv_event {
    enum kv_event_type type;
    struct kv_view key;
    struct kv_view value; /* put; nil otherwise. */
    struct kv_view prev;  /* The value before, where it was asked for; nil: none. */
    uint64_t rev;         /* All changes of one revision come in one batch. */
};

/* What a watch tells; all of it is valid until the callback returns. No events: it
 * began (again), or only its position moved. */
struct kv_watch_batch {
    int error;        /* Not 0: the watch is over, and freed behind the callback. */
    const char *text; /* error: one line. */
    const struct kv_event *events;
    size_t events_count;
    struct kv_view pos; /* Everything before it was told: keep it, and a watch that
                         * begins with it goes on here without a gap or a repetition. */
};

enum kv_watch_what {
    KV_WATCH_KEY = 0,
    KV_WATCH_PREFIX, /* All keys that begin with `key`; an empty one: all keys. */
    KV_WATCH_RANGE,  /* key <= k < end; an empty end: to the last. */
};

enum kv_watch_only {
    KV_WATCH_ALL = 0,
    KV_WATCH_PUTS,
    KV_WATCH_DELETES, /* Those of expired keys and of ranges, too. */
};

typedef void (*kv_watch_callback)(struct kv_client *client, struct kv_watch *watch,
                                  const struct kv_watch_batch *batch, void *ctx);

struct kv_watch_options {
    size_t size; /* Of this struct: kv_watch_options_init() sets it. */
    enum kv_watch_what what;
    struct kv_view key, end;
    struct kv_view pos; /* Where to go on; nil or empty: from now. */
    bool prev;          /* Events carry the value before. */
    enum kv_watch_only only;
    kv_watch_callback callback;
    void *ctx;
};

/* Sets the defaults. */
KV_API void kv_watch_options_init(struct kv_watch_options *options);

/* Begins a watch on your loop; what you pass in is copied. Every change is told once,
 * in the order of its group's revisions (keys of different groups: in no promised
 * order), and only when it can never be taken back. Where no node has all its groups
 * it is one watch per group, of those that there are when it begins. It goes on by
 * itself, at any node, when a connection breaks, and ends only with an error:
 * KV_ERR_COMPACTED (no node keeps what came behind its position any more: read the keys
 * anew), KV_ERR_BAD_REQUEST, KV_ERR_CLOSED (the client was closed), KV_ERR_NO_MEMORY.
 * Returns 0; KV_ERR_INVALID (options, or a client with a private loop),
 * KV_ERR_TOO_LARGE, KV_ERR_CLOSED, KV_ERR_NO_MEMORY. */
KV_API int kv_watch_start(struct kv_client *client,
                          const struct kv_watch_options *options,
                          struct kv_watch **out_watch);

/* Ends a watch without a further callback; not to be called once it told an error. */
KV_API void kv_watch_stop(struct kv_watch *watch);

/* ---- looking in ---- */

/* The last error of this client as one line, "" when there was none. Valid until its
 * next call or callback. */
KV_API const char *kv_last_error(const struct kv_client *client);

/* Calls that have begun and not ended. */
KV_API size_t kv_calls_count(const struct kv_client *client);

/* The epoch of the map that the client routes by; 0: none yet. */
KV_API uint64_t kv_map_epoch(const struct kv_client *client);

/* The slot of a key, 0..KV_SLOTS_COUNT-1. */
KV_API uint32_t kv_slot(struct kv_view key);

/* "0.1.0", of the library that is linked at run time. */
KV_API const char *kv_version(void);

#ifdef __cplusplus
}
#endif

#endif
