/* server/watch_parts.h - what the files of the watches share. Private to them.
 *
 *   watch.c       life, requests, lists
 *   watch_feed.c  events and marks of progress into clients' buffers
 *
 * Needs:    server/watch.h, history.h, watch_index.h, idmap.h.
 * Used by:  server/watch*.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_WATCH_PARTS_H
#define KV_SERVER_WATCH_PARTS_H

#include "rpc/token.h"
#include "server/history.h"
#include "server/idmap.h"
#include "server/watch.h"
#include "server/watch_index.h"

/* A watch's place in one group. Not pending: it was told everything that the group has
 * applied, or `after`, whichever is further (it may begin ahead of this replica). */
struct watch_part {
    group_id group;
    bool is_pending;         /* Something behind `after` may be for it. */
    uint64_t after;          /* Told up to this revision. */
    uint64_t told;           /* Position that the client was given last. */
    struct history_place at; /* Pending: behind `after`; valid while floor < after. */
};

enum watch_list_id {
    WATCH_IDLE,
    WATCH_READY,
    WATCH_BLOCKED,
    WATCH_LISTS_COUNT,
};

struct watch {
    struct watch_node node; /* First member; its bytes lie behind the parts. */
    uint64_t id;
    uint64_t conn;
    struct watch *prev_of_conn, *next_of_conn;
    struct watch *prev, *next; /* Of its list. */
    enum watch_list_id list;
    bool wants_prev;
    uint8_t only;       /* RPC_ONLY_*; 0: all. */
    int end_code;       /* 0; else it is over, and the client has to be told. */
    uint64_t end_floor; /* end_code: what the history begins behind. */
    size_t bytes;
    uint32_t parts_count;
    struct watch_part parts[]; /* Ascending groups. */
};

/* Of a group: how many watches cover it, and since when none does. */
struct watch_group {
    uint32_t count;
    bool is_wide; /* Its history has the large bound. */
    uint64_t idle_ms;
    uint64_t marked_bytes; /* Of its history, when positions were told last. */
};

struct watches {
    struct node *node;
    struct idmap table;   /* By id. */
    struct idmap by_conn; /* The first watch of each conn. */
    struct watch_index index;
    struct {
        struct watch *head, *tail;
    } lists[WATCH_LISTS_COUNT]; /* WATCH_IDLE is not kept. */
    uint64_t last_id;
    size_t bytes_max;
    uint64_t look_ms;     /* When the blocked are tried again. */
    uint64_t progress_ms; /* When positions are told next. */
    bool is_sweeping;     /* They are being told, */
    uint32_t sweep;       /* from here on. */
    struct watches_stats stats;
    struct watch_group groups[KV_GROUPS_MAX];
    struct token_at ats[KV_GROUPS_MAX];
    uint8_t token[KV_TOKEN_BYTES_MAX];
};

/* ---- watch.c ---- */

/* Moves a watch to a list. */
void watch_move(struct watches *ws, struct watch *w, enum watch_list_id list);
/* Takes it out of everything. */
void watch_remove(struct watches *ws, struct watch *w);
/* Its place in a group; NULL: it does not cover it. */
struct watch_part *watch_part_of(struct watch *w, group_id group);
/* Up to where it was told what there is. */
uint64_t watch_position(const struct node *n, const struct watch_part *part);
/* All positions as a token, in ws->token; once it is on its way, they were told. */
struct kv_bytes watch_token(struct watches *ws, const struct watch *w);
void watch_told(struct watches *ws, struct watch *w);

#endif
