/* raft/log.h - what the core knows of its log: positions, hashes, times, no payloads.
 *
 * A ring holds the metas of the newest entries; older ones are asked of the reader.
 * Everything that is not durable yet is in the ring, because the reader sees only
 * what storage has. The log never moves on its own: append, truncate, compact and
 * reset are the four ways to change it.
 *
 *   base.pos.index   ring_begin        last_durable   last.index
 *   ├── reader ──────┼── ring, stored ─┼── ring only ─┤
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §5.3; §7 for the base.
 */
#ifndef KV_RAFT_LOG_H
#define KV_RAFT_LOG_H

#include "raft/raft.h"

/* base.pos.index <= last_durable <= last.index; base.pos.index < ring_begin <= last
 * + 1; last.index - last_durable <= window. */
struct raft_log {
    struct raft_log_reader reader; /* For what is no longer in the ring. */
    struct raft_base base;         /* Before the first kept entry. */
    struct raft_meta *ring;        /* Meta of index i at i % window. */
    uint32_t window;               /* Slots; a power of two. */
    raft_index ring_begin;         /* The ring holds [ring_begin, last.index]. */
    struct raft_pos last;          /* Newest entry, or base.pos. */
    uint64_t last_hash;            /* Chain hash at last. */
    uint64_t last_time_ms;         /* Replicated time at last. */
    raft_index last_durable;       /* Newest entry known to be on disk. */
};

/* Loads the newest metas through the reader. All of (base, last] is durable.
 * Returns 0; KV_ECORRUPT (metas contradict each other); the reader's errors, except
 * that with `tolerant` a damaged entry only ends the ring: what cannot be read has
 * term 0, and a replica in that state is impaired. */
KV_MUST_CHECK int raft_log_load(struct raft_log *log, const struct raft_base *base,
                                raft_index last, bool tolerant);

/* Reads the newest entry again, where it was damaged when the log was loaded.
 * Returns 0 or the reader's error. */
KV_MUST_CHECK int raft_log_repair(struct raft_log *log);

/* Reads position, hash and time at `index`; the base counts as an entry of type 0.
 * Returns 0, KV_ECOMPACTED (before the base), KV_ENOTFOUND (behind last), or the
 * reader's error. Cost: O(1) in the ring. */
KV_MUST_CHECK int raft_log_meta(const struct raft_log *log, raft_index index,
                                struct raft_meta *out_meta);

/* Entries that may still be appended before the ring would lose one that is not
 * durable yet. */
uint32_t raft_log_room(const struct raft_log *log);

/* Adds one entry behind last; there must be room. */
void raft_log_append(struct raft_log *log, const struct raft_meta *meta);

/* Drops [from, last]. Only when everything handed out is durable: then no storage
 * job is under way that a later PERSISTED could mistake for a newer one.
 * from  in (base, last]. Returns 0 or the reader's error; nothing is dropped then. */
KV_MUST_CHECK int raft_log_truncate(struct raft_log *log, raft_index from);

/* Notes that storage has everything up to `pos`, if that entry is still here. */
void raft_log_persisted(struct raft_log *log, struct raft_pos pos);

/* Moves the base up inside the log; the entries behind it stay. */
void raft_log_compact(struct raft_log *log, const struct raft_base *base);

/* Forgets everything: the log is empty behind `base`. */
void raft_log_reset(struct raft_log *log, const struct raft_base *base);

/* Finds the last position at or before `index` whose term is at most `term`, but
 * not below `floor`: where two logs may still agree (§5.3, fast back-up). Looks
 * back over at most `window` entries and stops early where it cannot read. */
struct raft_pos raft_log_back_up(const struct raft_log *log, raft_index index,
                                 raft_term term, raft_index floor);

#endif
