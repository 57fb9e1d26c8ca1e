/* storage/lmdb_store.h - what the files of the LMDB store share. Private to storage/.
 *
 * Databases of the log environment: "heads" (group u32 BE -> log record of
 * storage/meta.h), "node" ("identity" -> identity record), "batches" (number u64 BE ->
 * the entries of a commit, storage/batch.h). Of the state environment: "groups"
 * (group u32 BE -> state record), "rows" (group u32 BE,
 * generation u32 BE, kind u8, key -> row record of storage/row.h), "node" ("identity").
 *
 * Needs:    storage/lmdb_env.h, storage/snapshot.h.
 * Used by:  storage/lmdb_*.c, storage/store.c.
 */
#ifndef KV_STORAGE_LMDB_STORE_H
#define KV_STORAGE_LMDB_STORE_H

#include <pthread.h>

#include "raft/record.h"
#include "storage/lmdb_env.h"
#include "storage/log_index.h"
#include "storage/row.h"
#include "storage/store.h"

enum {
    LOG_HEADS = 0, /* Places in lmdb_env.dbis. */
    LOG_NODE = 1,
    LOG_BATCHES = 2,
    LOG_KEY_BYTES = 8,
    LOG_DEAD_MAX = 128, /* Old batches that one commit deletes. */
    STATE_GROUPS = 0,
    STATE_ROWS = 1,
    STATE_NODE = 2,
    STATE_KEY_HEAD_BYTES = 9,
    STATE_KEY_BYTES_MAX = STATE_KEY_HEAD_BYTES + ROW_BEGIN_BYTES_MAX,
    GROUPS_MAX_DEFAULT = 4096,
    SWEEP_STEP = 1024, /* Rows that one commit deletes behind the scenes. */
};
_Static_assert(STATE_KEY_HEAD_BYTES <= 31, "the key prefix that design.md allows");
_Static_assert(STATE_KEY_BYTES_MAX <= 511, "LMDB's longest key");

/* A snapshot file, made or received. id 0: there is none. */
struct snapshot_file {
    uint64_t id;
    uint64_t bytes;             /* Made: its size. Received: stored so far. */
    struct raft_snapshot about; /* Made files only. */
};

struct snapshot_slot {
    struct snapshot_file made;
    struct snapshot_file received;
};

/* Where the scrubber goes on. */
struct scrub_place {
    bool in_rows;   /* Else in the entries. */
    group_id group; /* Entries: behind `index` of this group. */
    raft_index index;
    uint8_t key[STATE_KEY_BYTES_MAX]; /* Rows: behind this key. */
    size_t key_len;
    uint64_t rounds;
};

/* What a commit of the log is going to do; kept for its memory. */
struct log_plan {
    struct plan_item {
        group_id group;
        raft_index index;
        struct kv_bytes record; /* Borrowed for the commit. */
    } * items;                  /* [items_cap], entries in the order of their writes. */
    struct log_place *places;   /* [items_cap], where they lie then. */
    struct plan_batch {
        uint32_t first, count; /* Of items. */
        size_t bytes;
    } * batches; /* [items_cap] */
    size_t items_count, items_cap;
    uint32_t batches_count;
    struct log_change *changes; /* [changes_cap], one per write. */
    size_t changes_count, changes_cap;
    uint64_t dead[LOG_DEAD_MAX]; /* Batches that it deletes. */
    uint32_t dead_count;
};

struct lmdb_store {
    struct store base; /* First: store.h. */
    int dir_fd;
    int lock_fd;
    int snap_fd;
    struct ballast ballast;
    struct lmdb_env log;
    struct lmdb_env state;
    struct lmdb_reader log_reader;        /* Loop thread. */
    struct lmdb_reader state_reader;      /* Loop thread. */
    struct lmdb_reader side_log_reader;   /* Checkpoint thread. */
    struct lmdb_reader side_state_reader; /* Checkpoint thread. */
    struct log_index log_index;
    pthread_mutex_t
        log_writer;       /* Held from begin to end of a verb that writes the log. */
    struct log_plan plan; /* Guarded by it. */
    uint32_t groups_max;
    uint32_t groups_end; /* At open, all groups that were ever written are below it. */
    /* The generation that the loop thread reads, by group; 0: nothing stored. Rows of
     * it are not swept, even when an install has switched another one in. */
    _Atomic uint32_t *generations;
    /* By group: the generation that does not add up to what its meta says; 0: none. */
    _Atomic uint32_t *damaged;
    atomic_bool *verified; /* By group: its rows were summed up at open. */
    /* By group: the transaction since which it has a head, or a meta; 0: none yet. A
     * reader of that transaction or a later one who misses it has met damage. */
    _Atomic uint64_t *log_known;
    _Atomic uint64_t *state_known;
    _Atomic uint64_t checkpoints;
    pthread_mutex_t files_lock;   /* Guards `files`. */
    struct snapshot_slot **files; /* By group; NULL until used. */
    struct scrub_place scrub;
};

static inline struct lmdb_store *lmdb_store_of(struct store *s)
{
    return (struct lmdb_store *)s;
}

/* A read transaction: its pages are those of the file, where a writer's may be
 * copies. */
static inline bool lmdb_is_reader(const struct lmdb_store *ls, const MDB_txn *txn)
{
    return txn == ls->log_reader.txn || txn == ls->state_reader.txn ||
           txn == ls->side_log_reader.txn || txn == ls->side_state_reader.txn;
}

/* Was the row there before what this transaction sees? */
static inline bool lmdb_is_known(const _Atomic uint64_t *known, MDB_txn *txn)
{
    uint64_t since = atomic_load(known);

    return since != 0 && (uint64_t)mdb_txn_id(txn) >= since;
}

/* Key of a group in "heads" and "groups". */
static inline struct kv_bytes lmdb_group_key(group_id group, uint8_t room[4])
{
    kv_put_u32be(room, group);
    return kv_bytes(room, 4);
}

/* ---- storage/lmdb_log.c: verbs ---- */

int lmdb_log_write(struct store *s, const struct log_write *writes, size_t count);
int lmdb_log_load(struct store *s, group_id group, struct log_state *out);
int lmdb_log_meta(struct store *s, group_id group, raft_index index,
                  struct raft_meta *out);
int lmdb_log_read(struct store *s, group_id group, raft_index begin, raft_index end,
                  size_t bytes_max, struct arena *arena, struct kv_bytes **out_records,
                  uint32_t *out_count);
int lmdb_log_repair(struct store *s, group_id group, raft_index index,
                    struct kv_bytes record);

/* Deletes old batches of which nothing is left, or moves the rest of them where too
 * much of the file is dead; a bounded step in one commit. Checkpoint thread. */
int lmdb_log_sweep(struct lmdb_store *ls, bool *out_more);

void lmdb_log_plan_close(struct log_plan *p);

struct raft_meta lmdb_log_meta_of(const struct raft_entry *e);

/* ---- storage/lmdb_log_read.c ---- */

/* One transaction's look at the entries. */
struct log_view {
    struct lmdb_store *ls;
    MDB_txn *txn;
    uint64_t number; /* Of the batch that is at hand; 0: none. */
    MDB_val batch;
    uint64_t checked; /* Batch whose directory the scrubber has checked. */
};

/* A whole entry; views that live as long as the transaction. */
struct log_found {
    struct kv_bytes record;
    struct raft_entry entry;
};

/* What the transaction sees of the group's log; all zero when there is nothing.
 * 0, KV_EDAMAGED, KV_EFORMAT, an LMDB code. */
int lmdb_log_head(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                  struct log_state *out);

/* Reads and checks the entry that lies at `place`. 0, KV_EDAMAGED, KV_EFORMAT,
 * MDB_NOTFOUND (the transaction does not see its batch), other LMDB codes. */
int lmdb_log_entry(struct log_view *v, group_id group, raft_index index,
                   const struct log_place *place, struct log_found *out);

/* Does the entry's chain hash follow from its predecessor's? An entry of an older
 * history may be whole and still not belong here. before: place of the predecessor.
 * 0, KV_EDAMAGED, an LMDB code. A predecessor that cannot be read says nothing. */
int lmdb_log_chain(struct log_view *v, group_id group, const struct log_state *h,
                   const struct raft_entry *entry, const struct log_place *before);

/* Reads all directories of batches into the index, which knows the groups' heads.
 * What cannot be read leaves holes there. 0, KV_ENOMEM, an LMDB code. */
int lmdb_log_index_load(struct lmdb_store *ls, MDB_txn *txn);

/* Key of a batch. */
static inline struct kv_bytes lmdb_batch_key(uint64_t number,
                                             uint8_t room[LOG_KEY_BYTES])
{
    kv_put_u64be(room, number);
    return kv_bytes(room, LOG_KEY_BYTES);
}

/* ---- storage/lmdb_state.c: verbs ---- */

int lmdb_state_load(struct store *s, group_id group, struct state_meta *out);
int lmdb_state_get(struct store *s, group_id group, uint8_t kind, struct kv_bytes key,
                   struct arena *arena, struct row *out);
int lmdb_state_range(struct store *s, group_id group, uint8_t kind,
                     struct kv_bytes begin, struct kv_bytes end, uint32_t rows_max,
                     struct arena *arena, struct row **out_rows, uint32_t *out_count);
int lmdb_state_checkpoint(struct store *s, group_id group,
                          const struct state_meta *meta, const struct row *rows,
                          size_t count);
int lmdb_state_mark_clear(struct store *s, group_id group);

/* What the transaction sees of the group's state; all zero when there is nothing. */
int lmdb_state_meta(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                    struct state_meta *out, uint32_t *out_generation);
int lmdb_state_meta_put(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                        const struct state_meta *meta, uint32_t generation);

/* A generation of `group` under which there is no row yet. */
int lmdb_state_generation_new(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                              uint32_t *out);

/* Writes one row. 0 or an LMDB code. */
int lmdb_state_row_put(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                       uint32_t generation, const struct row *r);

/* Splits the key of a row; false when it is too short (the mark) or too long. */
bool lmdb_state_key_split(const MDB_val *key, group_id *out_group,
                          uint32_t *out_generation, uint8_t *out_kind,
                          struct kv_bytes *out_key);

/* Pages that a commit of this row may dirty. */
uint64_t lmdb_state_row_pages(const struct row *r);

/* Deletes rows of generations that nobody reads, at most SWEEP_STEP, in one commit. */
int lmdb_state_sweep(struct lmdb_store *ls, bool *out_more);

/* ---- storage/lmdb_snap_make.c, _recv.c, _install.c, lmdb_snapfile.c: verbs ---- */

int lmdb_snapshot_make(struct store *s, group_id group, struct raft_snapshot *out);
int lmdb_snapshot_read(struct store *s, group_id group, uint64_t id, uint64_t offset,
                       uint32_t len, uint8_t *out);
int lmdb_snapshot_chunk_store(struct store *s, group_id group,
                              const struct raft_snapshot *snap,
                              const struct raft_chunk *chunk);
int lmdb_snapshot_chunk_offset(struct store *s, group_id group, uint64_t id,
                               uint64_t *out);
int lmdb_snapshot_install(struct store *s, group_id group,
                          const struct raft_snapshot *snap);

/* Opens DIR/snap, forgets made files, keeps what was received. 0, KV_EIO, KV_ENOMEM. */
int lmdb_snapshot_open(struct lmdb_store *ls);
void lmdb_snapshot_close(struct lmdb_store *ls);

/* ---- storage/lmdb_verify.c ---- */

/* At open: counts and sums what is stored. Damaged groups are noted (their state_load
 * says so); learns which groups there are. 0, KV_EDAMAGED (tables of groups),
 * KV_EIO. */
int lmdb_verify(struct lmdb_store *ls);

/* ---- storage/lmdb_scrub.c: verb ---- */

int lmdb_scrub(struct store *s, size_t bytes, struct store_scrub *out);

/* ---- storage/identity.c: verbs ---- */

int identity_load(struct store *s, struct store_identity *out);
int identity_save(struct store *s, const struct store_identity *id);

/* Compares the two environments, finishes a directory that was just being made, counts
 * the boot. incarnation: for a new directory.
 * Returns 0, KV_ELOST with *out_reason, others. */
int identity_open(struct lmdb_store *ls, uint64_t incarnation, const char **out_reason);

#endif
