/* client/client.h - libkv inside: the client, its calls and its connections.
 *
 * One call is in exactly one place at a time: waiting (for a retry), queued on a
 * connection that has not taken it yet (certainly not sent), or sent. It ends once, in
 * kv_call_end(). Symbols begin with kv_ and the file's noun, because a static libkv
 * shares its name space with the program that links it.
 *
 * Needs:    uv, rpc/msg.h, rpc/map.h, rpc/scan.h, rpc/token.h, raft/base.
 * Used by:  client/ except kvctl.
 * Threads:  the loop's thread only.
 */
#ifndef KV_CLIENT_CLIENT_H
#define KV_CLIENT_CLIENT_H

#include <uv.h>

#include "client/kv.h"
#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "rpc/buf.h"
#include "rpc/map.h"
#include "rpc/msg.h"
#include "rpc/news.h"
#include "rpc/scan.h"
#include "rpc/token.h"

enum {
    CLIENT_CALLS_MAX = 8192,             /* Under way per client. */
    CLIENT_CONNS_MAX = 2 * KV_NODES_MAX, /* Endpoints and nodes of the map. */
    CLIENT_ENDPOINTS_MAX = 32,           /* That the user may name. */
    CLIENT_NAME_MAX = 270,               /* "host:port" with its NUL. */
    CLIENT_TEXT_MAX = 1024,              /* A line for people, with its NUL. */
    CLIENT_CAUSE_MAX = 192,              /* Part of such a line. */
    CONN_INFLIGHT_MAX = KV_INFLIGHT_PER_CONN_MAX,
    CONN_BYTES_MAX = 64 * 1024 * 1024, /* Keys and values of a conn's calls. */
    CONN_BATCH_BYTES = 256 * 1024,     /* A write goes out when it is so long. */
    CONN_READ_BYTES = 64 * 1024,
    CONN_ADDRS_MAX = 4, /* Of one host name. */
    SESSION_BUCKETS = 256,
};

/* A ring with a sentinel: empty when it points at itself. */
struct call_link {
    struct call_link *prev;
    struct call_link *next;
};

/* ---- a call ---- */

/*  WAITING ──► QUEUED ──► SENT ──► ended (freed)
 *     ▲           │        │
 *     └───────────┴────────┘ certainly not done, or a read: again */
enum call_phase {
    CALL_WAITING, /* For its next try; on no connection. */
    CALL_QUEUED,  /* On conn->queued: not one byte was handed to the system. */
    CALL_SENT,    /* On conn->sent, in a slot. */
};

struct kv_call;

/* Ends an internal call: reply NULL after an error. */
typedef void (*kv_call_hook)(struct kv_client *c, const struct kv_call *call,
                             const struct rpc_reply *reply);

/* deadline_at is fixed at the start; wake_at <= deadline_at. */
struct kv_call {
    struct call_link link; /* First member. In conn->queued or conn->sent. */
    uint32_t magic;        /* CALL_MAGIC while it lives. */
    enum call_phase phase;
    struct kv_client *client;
    struct kv_conn *conn;  /* Where it is queued or sent; NULL while waiting. */
    struct kv_conn *avoid; /* Failed it last: another one if there is any. */
    struct kv_conn *hint;  /* Named by NOT_LEADER; NULL. */
    struct kv_conn *last;  /* Was asked last; NULL before. */
    enum kv_op op;         /* What the user asked; 0 for internal calls. */
    uint32_t moves;        /* How often it left a node that did not answer. */
    bool is_write;         /* Its outcome can be unknown. */
    bool is_repeatable;    /* A write that may be sent again: session or idem. */
    bool is_unknown;       /* A sending of it ended without saying what it did. */
    bool is_outdated;      /* Another node leads than the one that it was sent to. */
    bool is_restamped;     /* Its stamp was refused; a second one is the last. */
    uint16_t slot;         /* Of a repeatable write with a number. */
    uint64_t ordinal;      /* Among the numbered ones of the slot. */
    uint64_t newest;       /* Of the oldest one: the last ordinal that was given. */
    uint64_t seq;          /* Its number in the session; 0: not let through yet. */
    uint64_t stamp_ms;     /* Cluster's time of its first sending; 0: none yet. */
    struct call_link session_link; /* In a bucket of the session; next NULL: in none. */
    kv_callback callback;          /* The user's. */
    kv_call_hook hook;             /* Or, of an internal call, this. */
    void *ctx;                     /* The user's. */
    uint32_t deadline_ms;          /* The total, for texts. */
    uint64_t deadline_at;          /* On the client's clock, ms. */
    uint64_t wake_at;              /* When the timer must look at it. */
    uint64_t sent_at;              /* Last sending. */
    uint32_t heap_at;              /* Its place in client->heap. */
    uint32_t msgid;                /* Of this sending; the low bits are the slot. */
    uint32_t sendings;             /* How often it went out. */
    uint32_t failures;             /* Tries that ended in an error, sent or not. */
    uint32_t connect_failures;     /* Those that found nobody. */
    int last_error;                /* KV_E* of the last try; 0. */
    char last_cause[CLIENT_CAUSE_MAX]; /* Its text. */
    struct rpc_request request;        /* Views into bytes[]. */
    uint32_t bytes_count;
    uint8_t bytes[]; /* Copies of key, value, expected. */
};

/* What a call is made from. */
struct kv_call_spec {
    struct kv_request request;
    enum rpc_method method;
    kv_callback callback;
    kv_call_hook hook;
    void *ctx;
    struct kv_conn *conn;                 /* To be asked if it can be; NULL: any. */
    const struct kv_watch_options *watch; /* kv.watch: key, end and expected are its
                                           * key, end and position. */
    uint32_t watch_group;                 /* kv.watch; 0: all groups. */
    uint64_t watch_id;                    /* kv.unwatch */
};

/* ---- a connection ---- */

/*  IDLE ──► RESOLVING ──► CONNECTING ──► GREETING ──► OPEN
 *   ▲           │              │            │          │
 *   └───────────┴── CLOSING ◄──┴────────────┴──────────┘
 * GREETING: `hello` is under way. A process that was stopped, or is no kvd, accepts
 * connections too; no request is sent before the other side has answered once. CLOSING:
 * the socket's handle closes. */
enum conn_state {
    CONN_IDLE,
    CONN_RESOLVING,
    CONN_CONNECTING,
    CONN_GREETING,
    CONN_OPEN,
    CONN_CLOSING,
};

/* calls_count = calls on queued and sent <= CONN_INFLIGHT_MAX. */
struct kv_conn {
    struct kv_client *client;
    char name[CLIENT_NAME_MAX]; /* "host:port", for people and for finding it. */
    char host[CLIENT_NAME_MAX]; /* Without brackets. */
    char port[8];
    enum conn_state state;
    bool is_endpoint; /* The user named it: it stays. */
    bool is_retired;  /* Not in the map any more. */
    bool is_suspect;  /* A call timed out in silence: no new calls. */
    bool is_writing;  /* uv_write is under way over `out`. */
    bool is_reading;  /* on_read is on the stack. */
    bool is_failing;  /* The timer will break it with `error`. */
    bool gai_busy;    /* uv_getaddrinfo has not called back. */
    bool has_timer;   /* `timer` was initialized. */

    uv_tcp_t tcp; /* Live from CONNECTING to CLOSING. */
    uv_timer_t timer;
    uv_getaddrinfo_t gai;
    uv_connect_t connect;
    uv_write_t write;
    struct sockaddr_storage addrs[CONN_ADDRS_MAX];
    uint32_t addrs_count;
    uint32_t addr_next; /* The next one to try. */

    struct call_link queued;
    struct call_link sent;
    uint32_t calls_count;
    size_t calls_bytes;

    struct kv_call *slots[CONN_INFLIGHT_MAX]; /* By msgid % CONN_INFLIGHT_MAX. */
    uint16_t slots_free[CONN_INFLIGHT_MAX];   /* A stack. */
    uint32_t slots_free_count;
    uint32_t round; /* High bits of the next msgid. */

    struct buf out;    /* What uv_write works on. */
    struct buf in;     /* Received, not consumed. */
    size_t in_scanned; /* Of the message at in.data, bytes the scan has seen. */
    struct scan scan;

    uint64_t heard_at; /* Last byte received, ms. */
    uint64_t asked_at; /* For a sign of life, for its watches. */
    uint64_t retry_at; /* No connecting before that. */
    uint32_t failures; /* In a row. */
    int error;         /* Of the last failure, KV_E*. */
    char cause[CLIENT_CAUSE_MAX];
};

/* ---- the client ---- */

/* Where requests go. Leaders are guesses: any node forwards. */
struct kv_route {
    struct map *map;                     /* NULL until the first one came. */
    struct kv_conn *conns[KV_NODES_MAX]; /* Of map->nodes[i]; NULL: no room. */
    uint32_t leaders[KV_GROUPS_MAX];     /* Node of map->groups[i]; 0 unknown. */
    uint64_t terms[KV_GROUPS_MAX];       /* In which it led, as was told; 0: unknown. */
    struct kv_call *fetch;               /* cluster.map under way; NULL. */
    bool is_stale;                       /* Wants a fetch. */
    uint64_t fetch_at;                   /* Not before. */
    uint32_t fetch_failures;
    struct arena scratch; /* For decoding the map. */
};

/* Numbered writes by slot, oldest first. */
struct kv_session_bucket {
    struct call_link live;    /* With a number, not ended. */
    struct call_link waiting; /* For a number. */
};

/* The client as a session; see session.c. */
struct kv_session {
    uint64_t id; /* Random; 0: writes have no numbers. */
    uint64_t seq_next;
    bool has_time;     /* A node has told the cluster's time, */
    uint64_t ahead_ms; /* which is the client's clock plus this (it may wrap). */
    struct kv_session_bucket buckets[SESSION_BUCKETS];
};

/* What the client has seen of each group: what a session token says. */
struct kv_seen {
    uint64_t revs[KV_GROUPS_MAX]; /* By group id; 0: nothing. */
    uint32_t end;                 /* All of them are below it. */
    uint32_t cluster;             /* token_cluster() */
    bool has_cluster;
    uint8_t token[KV_TOKEN_BYTES_MAX]; /* Made when it is asked for. */
};

enum client_state {
    CLIENT_OPEN,
    CLIENT_CLOSING, /* kv_close(): no new calls. */
    CLIENT_ENDING,  /* Handles are closing; freed with the last one. */
};

struct kv_client {
    uint32_t magic;
    enum client_state state;
    uv_loop_t *loop;
    uv_loop_t *own_loop; /* NULL when the loop is the user's. */
    bool is_freeing;     /* kv_free() is calling back. */
    struct kv_options options;
    struct prng prng;
    uint32_t handles;     /* uv handles and lookups that must still call back. */
    uint32_t calls_count; /* Of the user. */
    uint64_t cluster;     /* The first one that a node named; 0: none yet. */

    uv_timer_t timer;      /* For the earliest wake_at. */
    uint64_t timer_at;     /* Armed for; 0: not. */
    struct kv_call **heap; /* All calls, the earliest wake_at first. */
    uint32_t heap_count;
    uint32_t heap_cap;

    struct kv_conn *conns[CLIENT_CONNS_MAX]; /* Endpoints first, in the user's order. */
    uint32_t conns_count;
    uint32_t endpoints_count;
    uint32_t cursor; /* Endpoint to begin with. */
    struct kv_route route;
    struct kv_session session;
    struct kv_seen seen;

    struct kv_watch *watches;
    uv_timer_t watch_timer; /* When one of them is due; live with has_watch_timer. */
    bool has_watch_timer;

    struct rpc_decoder decoder;
    struct arena results; /* Lists of the result being called back. */
    void (*on_closed)(void *ctx);
    void *on_closed_ctx;
    char last_error[CLIENT_TEXT_MAX];
};

/* ---- client.c ---- */

/* Milliseconds on the client's monotonic clock. */
uint64_t kv_client_now(const struct kv_client *c);

/* Goes on closing when nothing is left to wait for. */
void kv_client_settle(struct kv_client *c);

/* A handle or lookup has called back for the last time. May free the client. */
void kv_client_unhold(struct kv_client *c);

/* Hands a line to the user's log. */
void kv_client_log(const struct kv_client *c, enum kv_log_level level,
                   const char *format, ...) KV_PRINTF(3, 4);

/* Splits "host:port" or "[v6]:port" of `len` bytes; host has CLIENT_NAME_MAX bytes.
 * Returns the port, 0 when the text is not an address. */
uint32_t kv_client_address(const char *text, size_t len, char *host);

/* Finds or makes the connection for host and port; NULL when there is no room. */
struct kv_conn *kv_client_conn(struct kv_client *c, const char *host, uint32_t port);

/* ---- call.c ---- */

/* Returns 0 (the call is under way); KV_EBUSY, KV_ENOMEM (nothing was begun). */
KV_MUST_CHECK int kv_call_begin(struct kv_client *c, const struct kv_call_spec *spec,
                                struct kv_call **out_call);

/* An answer for a sent call, already taken off its connection. */
void kv_call_reply(struct kv_call *call, const struct rpc_reply *reply);

/* A try has failed, the call is off its connection: again, or the end. The outcome is
 * that of this try; for a read it is always KV_OUTCOME_NOT_DONE. */
void kv_call_failed(struct kv_call *call, int error, enum kv_outcome outcome,
                    const char *cause);

/* Its bytes are going to the system: from now on the outcome may become unknown. */
void kv_call_sent(struct kv_call *call);

/* Milliseconds that the server may take, for the option deadline_ms. */
uint32_t kv_call_server_ms(const struct kv_call *call);

/* Another node leads the call's group than the one that was asked: it goes there,
 * unless an answer comes at once. */
void kv_call_outdated(struct kv_call *call);

/* Takes the call off its connection, if it is on one. */
void kv_call_detach(struct kv_call *call);

/* Ends every call, for kv_free() and for the rest at kv_close(). */
void kv_call_end_all(struct kv_client *c, bool only_internal);

/* The client's timer. */
void kv_call_on_timer(uv_timer_t *timer);

/* A line about a failed call into text[CLIENT_TEXT_MAX]. */
void kv_call_text(const struct kv_call *call, int error, enum kv_outcome outcome,
                  char *text);

/* ---- conn.c ---- */

/* Makes an idle connection. NULL: no memory. */
struct kv_conn *kv_conn_new(struct kv_client *c, const char *host, uint32_t port);

/* Gives one to another host; it must be idle and without calls. */
void kv_conn_name(struct kv_conn *conn, const char *host, uint32_t port);

/* Takes over a call (phase WAITING) and sees to it that it is sent. */
void kv_conn_take(struct kv_conn *conn, struct kv_call *call);

/* Connects if nothing keeps it from that. */
void kv_conn_wake(struct kv_conn *conn);

/* Has room for one more call of so many bytes. */
bool kv_conn_has_room(const struct kv_conn *conn, size_t bytes);

/* Closes the connection when no call is on it: after a silence, or retired. */
void kv_conn_settle(struct kv_conn *conn);

/* Closes its handles for good, without a word to its calls (there are none). */
void kv_conn_end(struct kv_conn *conn);

/* Frees the memory, after the last handle closed. */
void kv_conn_free(struct kv_conn *conn);

/* ---- session.c ---- */

/* Draws the session's number. Returns 0 or KV_EIO. */
KV_MUST_CHECK int kv_session_init(struct kv_client *c);

/* Servers take a number or an idempotency key with these methods. */
bool kv_session_takes(enum rpc_method method);

/* Sees whether a new call may be sent again; it has its request. */
void kv_session_join(struct kv_call *call);

/* Gives the call its number where it needs one. False: too many writes of its slot are
 * under way; it is woken when one has ended. */
KV_MUST_CHECK bool kv_session_admit(struct kv_call *call);

/* Sets the options by which the server knows the call again. For each sending. */
void kv_session_stamp(struct kv_call *call);

/* The call ends. */
void kv_session_leave(struct kv_call *call);

/* The first call that waits for a number in the slot of this one; NULL. */
struct kv_call *kv_session_next(const struct kv_call *call);

/* A node has told the cluster's time. */
void kv_session_time(struct kv_client *c, uint64_t time_ms);

/* The server refused the call's stamp, said the time, and no sending may have done
 * anything: takes the time over. True: it may be sent again, with a new stamp. */
KV_MUST_CHECK bool kv_session_restamp(struct kv_call *call,
                                      const struct rpc_reply *reply);

/* Notes what a reply shows, and sets the token of a read of level session. */
void kv_session_saw(struct kv_client *c, const struct rpc_reply *reply);
void kv_session_token(struct kv_call *call);

/* ---- route.c ---- */

void kv_route_init(struct kv_client *c);
void kv_route_close(struct kv_client *c);

/* Chooses a connection for a call; NULL: wait *out_wait_ms, then ask again. */
struct kv_conn *kv_route_pick(struct kv_client *c, const struct kv_call *call,
                              uint64_t *out_wait_ms);

/* There is more than one connection to choose from. */
bool kv_route_has_choice(const struct kv_client *c);

/* Learns from a reply: who leads, which epoch there is. */
void kv_route_learn(struct kv_client *c, const struct kv_call *call,
                    const struct rpc_reply *reply);

/* Takes "host:port ..." of NOT_LEADER; returns the connection or NULL. */
struct kv_conn *kv_route_hint(struct kv_client *c, struct kv_bytes detail);

/* Takes a notification that says who leads. 0; KV_ENOTFOUND: it is another one;
 * KV_EPROTO, KV_ENOMEM: the connection is of no use. */
KV_MUST_CHECK int kv_route_news(struct kv_client *c, struct kv_bytes message);

/* A leader is gone or not the leader: forget it, fetch the map. */
void kv_route_doubt(struct kv_client *c, const struct kv_conn *conn);

/* Fetches the map when it is wanted and allowed by now. */
void kv_route_refresh(struct kv_client *c);

/* ---- result.c ---- */

/* Fills in a result from a reply; lists go into c->results. Returns 0 or KV_ENOMEM,
 * KV_EPROTO (a map that does not decode). */
KV_MUST_CHECK int kv_result_build(struct kv_client *c, const struct kv_call *call,
                                  const struct rpc_reply *reply, struct kv_result *out);

/* Bytes of a reply as a view; never nil. */
struct kv_view kv_result_view(struct kv_bytes bytes);

/* A list of items in c->results. 0 or KV_ENOMEM. */
KV_MUST_CHECK int kv_result_items(struct kv_client *c, const struct rpc_list *list,
                                  const struct kv_item **out_items, size_t *out_count);

/* Copies a result with all that it points to; never NULL. */
const struct kv_result *kv_result_copy(const struct kv_result *from);

/* ---- watch.c ---- */

/* The connection is closing: its watches go on elsewhere, in a later turn. */
void kv_watch_conn_lost(struct kv_conn *conn);

/* A notification; what is none of ours is passed over. Calls back. 0; KV_EPROTO,
 * KV_ENOMEM: the connection is of no use. */
KV_MUST_CHECK int kv_watch_deliver(struct kv_conn *conn, struct kv_bytes message);

/* Ends all watches: the client is going. */
void kv_watch_end_all(struct kv_client *c);

/* ---- txn.c ---- */

/* Checks a transaction and packs its parameters. *out_key: its first key, borrowed.
 * 0; KV_EINVAL, KV_ETOOLARGE, KV_ENOMEM with a text. */
KV_MUST_CHECK int kv_txn_pack(const struct kv_txn *txn, struct buf *out,
                              struct kv_view *out_key, const char **out_wrong);

/* The results of a reply, in c->results. 0 or KV_ENOMEM. */
KV_MUST_CHECK int kv_txn_results(struct kv_client *c, const struct rpc_reply *reply,
                                 struct kv_result *out);

/* A result that is only an error, for kv_wait(). */
const struct kv_result *kv_result_error(enum kv_op op, int error, const char *text);

#endif
