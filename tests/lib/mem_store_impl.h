/* tests/lib/mem_store_impl.h - what the files of mem_store share.
 *
 * Needs:    tests/lib/mem_store.h.
 * Used by:  tests/lib/mem_*.c only.
 */
#ifndef KV_TESTS_LIB_MEM_STORE_IMPL_H
#define KV_TESTS_LIB_MEM_STORE_IMPL_H

#include <pthread.h>

#include "tests/lib/mem_store.h"

enum {
    MEM_GROUPS_MAX = 4096
};

/* One group's log. slots[begin + i] is the record of base.index + 1 + i. */
struct mem_log {
    struct log_state head; /* `last` is kept with every change. */
    bool hard_damaged;
    struct kv_bytes *slots; /* Owned records. */
    size_t begin, count, room;
};

/* A checkpointed row: never changed, shared by versions of the state. */
struct mem_row {
    uint32_t references;
    uint64_t hash; /* row_hash() when it was stored. */
    struct row row;
    uint8_t bytes[]; /* Key, then value. */
};

/* One version of a group's rows: ascending. */
struct mem_rows {
    struct mem_row **rows;
    size_t count;
};

/* Bytes of a snapshot file. */
struct mem_file {
    struct raft_snapshot about;
    uint8_t *data;
    size_t len, room;
};

struct mem_group {
    struct mem_log log;
    struct state_meta meta;
    struct mem_rows rows;
    struct mem_file made;
    struct mem_file received;
};

/* How to take back one group's share of a verb. Those of the log are many, so they are
 * small. */
enum mem_undo_kind {
    MEM_UNDO_LOG,      /* head, and the records that went away */
    MEM_UNDO_REPAIR,   /* one record */
    MEM_UNDO_ROWS,     /* meta and rows */
    MEM_UNDO_CHUNK,    /* the received file's length, or its whole former self */
    MEM_UNDO_IDENTITY, /* identity */
};

struct mem_undo_more {
    /* MEM_UNDO_ROWS */
    struct state_meta meta;
    struct mem_rows rows;
    bool has_rows; /* Else only the meta changed. */
    /* MEM_UNDO_CHUNK */
    struct mem_file file;
    bool has_file; /* Else only file.len counts. */
    /* MEM_UNDO_IDENTITY */
    struct store_identity identity;
};

struct mem_undo {
    struct mem_undo *older;
    enum mem_undo_kind kind;
    enum mem_env env;
    uint64_t verb; /* Number of the verb that it belongs to. */
    struct mem_group *group;
    /* MEM_UNDO_LOG: what of [keep_begin, keep_end) is in the log is not new. */
    struct log_state head;
    bool hard_damaged;
    raft_index keep_begin, keep_end;
    struct kv_bytes *front, *back; /* Records that were before and behind it. */
    size_t front_count, back_count;
    /* MEM_UNDO_REPAIR */
    raft_index index;
    struct kv_bytes record;
    struct mem_undo_more *more; /* The other kinds: owned. */
};

struct mem_store {
    struct store base; /* First: store.h. */
    pthread_mutex_t lock;
    struct store_identity identity;
    struct mem_group *groups[MEM_GROUPS_MAX];
    uint32_t groups_end;     /* Group numbers in use are below it. */
    struct mem_undo *newest; /* Since the last sync. */
    uint64_t verbs;          /* Writing verbs so far. */
    uint32_t pending[2];     /* Undoable verbs by environment. */
    bool hold;
    bool is_full;
    bool is_reserve_used;  /* is_full: urgent writes do not fit either. */
    uint32_t read_fail_in; /* Reading verbs until the one that fails; 0: none. */
    bool is_observed;      /* A test reads: no faults of reading verbs. */
    uint64_t faults_met;   /* Verbs that met a fault. */
    uint32_t fail_in;      /* Writing verbs until the one that fails; 0: none. */
    int fail_code;
    bool fail_done;
    struct store_stats stats;
    group_id scrub_group; /* Where the scrubber goes on. */
    bool scrub_state;
    uint64_t scrub_at;
    uint64_t scrub_rounds;
};

/* ---- mem_store.c ---- */

/* The group, made when it was never seen. */
struct mem_group *mem_store_group(struct mem_store *m, group_id group);

/* A new undo record of the verb under way, newest first. */
struct mem_undo *mem_store_undo_new(struct mem_store *m, enum mem_undo_kind kind,
                                    enum mem_env env, struct mem_group *g);

/* Copies bytes into an object of their own. */
struct kv_bytes mem_store_copy(struct kv_bytes src);

/* ---- mem_log.c ---- */

int mem_log_apply(struct mem_store *m, const struct log_write *w);
int mem_log_repair(struct mem_store *m, group_id group, raft_index index,
                   struct kv_bytes record);
int mem_log_record(const struct mem_log *log, raft_index index, struct kv_bytes *out);
int mem_log_meta(const struct mem_log *log, raft_index index, struct raft_meta *out);
void mem_log_undo(struct mem_undo *u);
void mem_log_forget(struct mem_undo *u);
void mem_log_close(struct mem_log *log);

/* ---- mem_rows.c ---- */

int mem_rows_checkpoint(struct mem_store *m, group_id group,
                        const struct state_meta *meta, const struct row *rows,
                        size_t count);
/* The first row at or behind (kind, key). */
size_t mem_rows_seek(const struct mem_rows *v, uint8_t kind, struct kv_bytes key);
bool mem_rows_intact(const struct mem_row *row);
void mem_rows_drop(struct mem_rows *v);
int mem_rows_snapshot(struct mem_group *g, group_id group);
int mem_rows_chunk(struct mem_store *m, group_id group,
                   const struct raft_snapshot *snap, const struct raft_chunk *chunk);
int mem_rows_install(struct mem_store *m, group_id group,
                     const struct raft_snapshot *snap);
void mem_rows_undo(struct mem_undo *u);
void mem_rows_forget(struct mem_undo *u);
void mem_rows_file_close(struct mem_file *f);

#endif
