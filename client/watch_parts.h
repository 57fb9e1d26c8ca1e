/* client/watch_parts.h - what the files of the watches share. Private to them.
 *
 *   watch.c        one watch: begun again at any node; the user's calls
 *   watch_joint.c  a watch over groups of which no node has all
 *
 * Needs:    client/client.h.
 * Used by:  client/watch.c, watch_joint.c.
 * Threads:  the loop's.
 */
#ifndef KV_CLIENT_WATCH_PARTS_H
#define KV_CLIENT_WATCH_PARTS_H

#include "client/client.h"

enum {
    WATCH_MAGIC = 0x6b767774,
};

enum watch_state {
    WATCH_WAITING,
    WATCH_ASKING,
    WATCH_OPEN,
    WATCH_PARKED, /* A part: it knows where it begins, and waits for the others. */
    WATCH_JOINT,  /* It has parts, and is in no list. */
};

struct kv_watch {
    uint32_t magic;
    struct kv_watch *prev, *next; /* Of the client. */
    struct kv_client *client;
    enum watch_state state;
    bool is_stopped; /* ASKING: freed when the answer is here. */
    bool is_over;    /* The user is being told; freed then. */
    uint64_t due_at; /* WAITING */
    uint32_t failures;
    struct kv_conn *conn;   /* OPEN: where it is. */
    struct kv_conn *avoid;  /* Has just ended it, or does not have its group. */
    struct kv_conn *prefer; /* Has, as that one said; NULL: not known. */
    uint64_t id;            /* OPEN: its number there. */
    uint64_t
        compacted[CLIENT_CONNS_MAX / 64]; /* Nodes that do not keep its position. */
    bool is_compacted;                    /* One has said so. */
    struct kv_watch *joint;               /* Of which it is a part; NULL: of none. */
    uint32_t group;                       /* A part: what this group owns; else 0. */
    struct kv_watch **parts;              /* JOINT: [parts_count]; owned. */
    uint32_t parts_count;
    uint32_t placeless; /* JOINT: parts that do not know yet where they begin. */
    struct buf pos;
    struct kv_watch_options options; /* key, end and pos point behind the struct. */
    uint8_t bytes[];
};

/* ---- watch.c ---- */

/* Makes one in the client's list that does nothing yet. 0 or KV_ENOMEM. */
KV_MUST_CHECK int kv_watch_new(struct kv_client *c,
                               const struct kv_watch_options *options,
                               struct kv_watch **out);
void kv_watch_free(struct kv_watch *w);
void kv_watch_unlink(struct kv_watch *w);
/* It is asked for, at once or after its failures. */
void kv_watch_wait(struct kv_watch *w);
/* It cannot go on: the user is told last of all. */
void kv_watch_fail(struct kv_watch *w, int error, const char *text);
/* Copies its position. 0 or KV_ENOMEM. */
KV_MUST_CHECK int kv_watch_pos(struct kv_watch *w, struct kv_bytes pos);
/* Nobody wants it any more: the server may forget it. */
void kv_watch_forget(struct kv_client *c, struct kv_conn *conn, uint64_t id);

/* ---- watch_joint.c ---- */

/* Asks for the groups, and goes on as a joint watch. */
void kv_watch_joint_ask(struct kv_watch *w);
/* What a part has to tell: its group's changes, with the position of all. */
void kv_watch_joint_tell(struct kv_watch *part, const struct kv_watch_batch *batch);
/* Ends all parts and frees it. */
void kv_watch_joint_stop(struct kv_watch *w);

#endif
