/* server/pending.h - which keys the entries touch that are in the log and not applied.
 *
 * A quorum read asks each replica for the highest such entry of a key. Kept is one hash
 * per entry, so what is found may be another key's: then a read waits for nothing worse
 * than that. A transaction counts for all keys of its slot, what changes locks or
 * records for none. An entry that was not seen since the process began, or does not
 * list its keys, counts for every key.
 *
 * Needs:    raft/types.h, raft/base, rpc/slot.h.
 * Used by:  server/group_feed.c, group_quorum.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_PENDING_H
#define KV_SERVER_PENDING_H

#include "raft/base/check.h"
#include "raft/types.h"

/* begin <= end; hashes of [begin, end) are known. */
struct pending {
    raft_index begin;
    raft_index end;
    uint64_t *hashes; /* Of index i at i % cap; NULL at first. */
    uint32_t cap;     /* 0 or a power of two. */
#ifdef KV_MUTANTS
    uint32_t bug; /* As node_config.bug. */
#endif
};

void pending_init(struct pending *p);
void pending_close(struct pending *p);

/* Notes an entry, in place of what was at its index and behind. Entries up to `applied`
 * need not be kept. Without memory it counts for every key. */
void pending_put(struct pending *p, const struct raft_entry *entry, raft_index applied);

/* The highest entry in (applied, last] that may touch the key; 0: none. */
raft_index pending_find(const struct pending *p, struct kv_bytes key,
                        raft_index applied, raft_index last);

#endif
