/* server/request.h - one client request, from its first byte to its reply.
 *
 *   READING ──► WAITING ──► PROPOSED ──► REPLIED
 *      │           │  ▲         │           ▲
 *      │           ▼  │         └───────────┤
 *      │        FORWARDED ──────────────────┤
 *      └──────────────── READ_INDEX ────────┘
 *
 * A request comes from a pool, copies the message once into its own memory, and ends
 * in reply_*() (server/reply.h), exactly once. Every request has a deadline.
 *
 * Needs:    rpc/msg.h, raft/base.
 * Used by:  server/conn.c, router.c, group.c, apply.c, reply.c, range.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_REQUEST_H
#define KV_SERVER_REQUEST_H

#include "raft/base/arena.h"
#include "raft/types.h"
#include "rpc/msg.h"
#include "storage/store.h"

struct node;
struct reply_result;
struct request;

enum request_phase {
    REQ_READING,    /* Being decoded; nothing was done with it. */
    REQ_WAITING,    /* For a leader, in the router or in a group. */
    REQ_FORWARDED,  /* Sent to another node. */
    REQ_PROPOSED,   /* A write in the log at `pos`. */
    REQ_READ_INDEX, /* A read that waits for its index. */
    REQ_REPLIED,    /* Ended. */
    REQ_PHASES_COUNT,
};

enum request_origin {
    REQ_FROM_CONN,     /* A client's connection of this node. */
    REQ_FROM_PEER,     /* Another node forwarded it. */
    REQ_FROM_INTERNAL, /* Part of a range over several groups; see `on_done`. */
};

enum {
    REQUEST_MAGIC = 0x52455155
};

/* Who passed a request on. Numbers begin anew with each process: an answer to one that
 * is gone would end another request of the next one. */
struct request_asker {
    uint32_t node;
    uint64_t nonce; /* Of its process. */
    uint64_t id;    /* Its number for the request. */
};

struct request {
    uint32_t magic;
    enum request_phase phase;
    struct node *node;

    /* Where the answer goes. */
    enum request_origin origin;
    uint64_t conn;              /* FROM_CONN */
    struct request_asker asker; /* FROM_PEER */
    void *owner;                /* FROM_INTERNAL */
    /* FROM_INTERNAL: gets the response tail (error and result, rpc/msg.h), borrowed. */
    void (*on_done)(struct request *req, struct kv_bytes tail);

    /* What is asked. */
    struct kv_bytes message; /* The whole message, in `arena`. */
    struct rpc_request rpc;  /* Views into message. */
    struct kv_bytes txn; /* kv.txn: body of its command (server/txn.h), in `arena`. */
    uint16_t slot;
    group_id group;
    bool is_write;
    bool is_part;         /* Part of a range: `group` is asked, not the key. */
    bool is_local;        /* A read that this replica answers without the leader. */
    uint64_t deadline_ms; /* On the node's clock. */
    uint64_t begin_us;

    /* How it stands. */
    struct raft_pos pos;       /* PROPOSED: where its entry is. */
    struct reply_result *held; /* Its result, while too few replicas hold it. */
    uint64_t read_tag;         /* READ_INDEX: its batch. */
    raft_index read_index;     /* READ_INDEX: 0 until confirmed. */
    uint64_t sent_forward_id;  /* FORWARDED: this node's number for it. */
    uint32_t sent_to;          /* FORWARDED: the node. */
    uint32_t tries;            /* Attempts that certainly did nothing. */
    uint64_t retry_ms;         /* WAITING: not before. */

    struct request *prev, *next; /* Of the one list it is in. */
    struct arena arena;          /* Everything of this request; freed at its end. */
};

/* A list of requests; its owner knows what it means. */
struct request_list {
    struct request *head, *tail;
    uint32_t count;
};

void request_list_push(struct request_list *l, struct request *req);
void request_list_remove(struct request_list *l, struct request *req);

struct request_pool; /* One per node; bounded in number and in bytes. */

KV_MUST_CHECK int request_pool_new(struct node *n, uint32_t requests_max,
                                   size_t bytes_max, struct request_pool **out);
void request_pool_free(struct request_pool *p);

/* Takes a request in REQ_READING with a copy of `message`; rpc is not yet decoded.
 * 0, or KV_EBUSY when the number or the memory budget is used up. */
KV_MUST_CHECK int request_new(struct request_pool *p, struct kv_bytes message,
                              struct request **out);
/* Gives it back; reply.c only. Must be REQ_REPLIED and in no list. */
void request_free(struct request *req);
/* Requests in use. */
uint32_t request_pool_count(const struct request_pool *p);
/* Bytes of the budget that they hold. */
size_t request_pool_bytes(const struct request_pool *p);

/* Moves the phase; asserts that the move is in the table. */
void request_move(struct request *req, enum request_phase to);
const char *request_phase_text(enum request_phase phase);

#endif
