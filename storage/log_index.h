/* storage/log_index.h - in memory: in which batch each entry of the log lies.
 *
 * The log on disk is a queue of batches in the order of their commits. The index knows
 * for each group and index the batch with the entry, and for each batch how many of its
 * entries are still part of a log: the oldest batches without any are deleted. It is
 * built anew at each open, from the batches' directories, and changed after each
 * commit: memory follows the disk.
 *
 * Needs:    storage/store.h, pthread.
 * Used by:  storage/lmdb_log*.c.
 * Threads:  a lock of its own guards all of it; it is never held over I/O. Changes come
 *           from one thread at a time (lmdb_store.log_writer).
 */
#ifndef KV_STORAGE_LOG_INDEX_H
#define KV_STORAGE_LOG_INDEX_H

#include <pthread.h>

#include "storage/store.h"

/* Where an entry lies. batch 0: its batch is lost. */
struct log_place {
    uint64_t batch;
    uint32_t slot;  /* Line of the batch's directory. */
    uint32_t bytes; /* Of the record. */
};

/* The entries of one group: [begin, begin + count). */
struct log_places {
    raft_index begin;
    uint32_t count;
    uint32_t cap;           /* A power of two, or 0. */
    struct log_place *ring; /* Entry i is at i mod cap. */
};

struct log_batch {
    uint64_t number;
    uint64_t bytes; /* Of the batch. */
    uint32_t live;  /* Entries that are part of a log. */
    bool is_bad;    /* Its directory cannot be read: who knows what was in it. */
};

struct log_index {
    pthread_mutex_t lock;
    struct log_places *groups; /* [groups_max] */
    uint32_t groups_max;
    struct log_batch *batches; /* Ascending numbers, [first, end) of them in use. */
    size_t first, end, cap;
    uint64_t bytes;      /* Of all batches. */
    uint64_t live_bytes; /* Of the records that are part of a log. */
    uint64_t holes;      /* Places whose batch is lost. */
};

/* What one write does to a group's places, in this order. */
struct log_change {
    group_id group;
    raft_index cut;   /* Entries from here on are dropped; UINT64_MAX: none. */
    raft_index base;  /* Entries up to here are dropped; 0: none. */
    raft_index first; /* Then `count` entries follow, from here on. */
    uint32_t count;
    uint32_t item; /* The first one's number among those of the commit. */
};

/* ---- life ---- */

/* Makes an empty index for groups below groups_max. 0, KV_ENOMEM. */
KV_MUST_CHECK int log_index_open(struct log_index *ix, uint32_t groups_max);

/* Gives the memory back; also that of one that failed to open or is all zero. */
void log_index_close(struct log_index *ix);

/* ---- building it at open ---- */

/* A group's log is (base, last]; all of it counts as lost until it is found.
 * 0, KV_ENOMEM. */
KV_MUST_CHECK int log_index_group(struct log_index *ix, group_id group, raft_index base,
                                  raft_index last);

/* The next batch, with a greater number than the one before; also after a commit. 0,
 * KV_ENOMEM; cannot fail where there was room made for it. */
KV_MUST_CHECK int log_index_batch(struct log_index *ix, uint64_t number, uint64_t bytes,
                                  bool is_bad);

/* An entry in the batch added last; of two with one index the later one counts. What
 * is outside of its group's log is passed over. */
void log_index_found(struct log_index *ix, group_id group, raft_index index,
                     uint32_t slot, uint32_t bytes);

/* ---- looking in ---- */

/* Where the group's entries begin. */
raft_index log_index_first(struct log_index *ix, group_id group);

/* How many entries the group has from `begin` on. */
uint32_t log_index_count(struct log_index *ix, group_id group, raft_index begin);

/* Copies the places of [begin, end) to out[end - begin]; batch 0: it is not there. */
void log_index_get(struct log_index *ix, group_id group, raft_index begin,
                   raft_index end, struct log_place *out);

/* Copies the numbers of the oldest batches, as long as none of their entries is part of
 * a log, to out[max]. Returns how many. */
uint32_t log_index_dead(struct log_index *ix, uint32_t max, uint64_t *out);

/* The oldest batch, behind `skip` others; false when there are not so many. */
bool log_index_oldest(struct log_index *ix, size_t skip, struct log_batch *out);

/* Is more than half of the bytes, and more than `slack`, dead? */
bool log_index_wasteful(struct log_index *ix, uint64_t slack);

/* ---- after a commit; cannot fail once there is room ---- */

/* Makes room for so many more entries of the group, and batches. 0, KV_ENOMEM. */
KV_MUST_CHECK int log_index_reserve(struct log_index *ix, group_id group,
                                    uint32_t entries, uint32_t batches);

/* Carries out a change. places [change->count] are those of its entries. Their batches
 * must have been added. */
void log_index_change(struct log_index *ix, const struct log_change *change,
                      const struct log_place *places);

/* An entry lies elsewhere now: it was moved or repaired. */
void log_index_move(struct log_index *ix, group_id group, raft_index index,
                    const struct log_place *to);

/* The oldest batch is gone. */
void log_index_oldest_gone(struct log_index *ix, uint64_t number);

#endif
