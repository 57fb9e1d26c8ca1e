/* server/tail.h - the newest records of a group's log, encoded once, in memory.
 *
 * A record is encoded when its entry is handed out by the core, and these bytes serve
 * the disk job, every peer and apply. Records lie in chunks of memory, in the order in
 * which they came; a chunk goes back as a whole, once no record in it is kept and no
 * disk job reads from it. So freeing at the front is cheap, and cutting at the back
 * while a job is in flight frees nothing under its feet.
 *
 *   begin ........ [records] ........ end
 *
 * Needs:    raft/record.h, raft/base.
 * Used by:  server/group*.c.
 * Threads:  loop thread; record bytes are read by the log lane between
 *           tail_handed_out() and tail_written().
 */
#ifndef KV_SERVER_TAIL_H
#define KV_SERVER_TAIL_H

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/types.h"

struct tail_chunk;
struct tail_slot;

enum {
    TAIL_CHUNK_BYTES = 16 * 1024, /* Larger records get a chunk of their own. */
};

/* begin <= end; the tail holds [begin, end). */
struct tail {
    raft_index begin;
    raft_index end;
    size_t bytes;             /* Of the records in it. */
    struct tail_slot *slots;  /* Record of index i at i % slots_cap; NULL at first. */
    uint32_t slots_cap;       /* 0 or a power of two. */
    struct tail_chunk *first; /* Oldest chunk. */
    struct tail_chunk *last;  /* The one that is being filled. */
    struct tail_chunk *spare; /* One empty chunk of usual size, kept for what comes. */
    struct tail_chunk *fresh; /* Oldest with a record not handed out; NULL: none. */
    size_t chunks_bytes;      /* Taken for chunks, the spare one included. */
    uint64_t writes_done;     /* Highest number given to tail_written(). */
};

/* ---- life ---- */

/* Makes an empty tail whose first record will be that of `next`. Takes no memory. */
void tail_init(struct tail *t, raft_index next);
/* Frees everything. No job may be in flight. */
void tail_close(struct tail *t);
/* Drops all records; the next one will be that of `next`. */
void tail_reset(struct tail *t, raft_index next);

/* ---- work ---- */

/* Encodes an entry at the end. *out_record is valid until the record is dropped and no
 * job reads it. Needs entry->pos.index == t->end. Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int tail_append(struct tail *t, const struct raft_entry *entry,
                              struct kv_bytes *out_record);

/* Drops [from, end). Needs from >= begin. */
void tail_cut(struct tail *t, raft_index from);

/* Drops [begin, upto). */
void tail_drop(struct tail *t, raft_index upto);

/* Records appended since the last call now belong to disk write number `write`, which
 * grows from call to call. */
void tail_handed_out(struct tail *t, uint64_t write);

/* Disk writes up to number `write` are done: their memory may go. */
void tail_written(struct tail *t, uint64_t write);

/* ---- looking in ---- */

static inline bool tail_has(const struct tail *t, raft_index index)
{
    return index >= t->begin && index < t->end;
}

/* The record of `index`; needs tail_has(). */
struct kv_bytes tail_get(const struct tail *t, raft_index index);

#endif
