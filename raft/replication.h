/* raft/replication.h - the leader's log on its way to the others, and commit.
 *
 * Needs:    raft/raft.h, progress.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §5.3, §5.4.2, Figure 2 "Leaders"; diss. §10.2 (batching, pipelining).
 */
#ifndef KV_RAFT_REPLICATION_H
#define KV_RAFT_REPLICATION_H

#include "raft/progress.h"
#include "raft/raft.h"

/* ---- a term as leader ---- */

/* Starts this term: progress of all peers, timers, the no-op (§8). */
void raft_replication_start(struct raft *r);

/* Forgets what only a leader knows. */
void raft_replication_stop(struct raft *r);

/* Follows a new configuration: newcomers start as PROBE, the others go on. */
void raft_replication_sync_peers(struct raft *r);

/* The progress of `id`, NULL for strangers and ourselves. */
struct raft_progress *raft_replication_find(struct raft *r, raft_id id);

/* ---- events ---- */

/* RAFT_EV_PROPOSE. Returns 0; KV_ENOTLEADER; KV_EBUSY; KV_EINVAL (a payload too
 * big). */
KV_MUST_CHECK int raft_replication_propose(struct raft *r,
                                           const struct raft_proposal *items,
                                           uint32_t count);

/* Appends one entry of our own making; there must be room. The payload must live
 * until the next step. */
void raft_replication_append(struct raft *r, enum raft_entry_type type,
                             struct kv_bytes payload, uint64_t stamp_ms);

/* Heartbeats and check-quorum, when they are due. */
void raft_replication_tick(struct raft *r);

/* ---- at the end of each step of a leader ---- */

/* Moves commit where the write quorum has an entry of this term. */
void raft_replication_commit(struct raft *r);

/* Sends every peer what it may be sent now. */
void raft_replication_flush(struct raft *r);

/* ---- rounds ---- */

/* Begins a round of confirmation and sends it as heartbeats. */
void raft_replication_round(struct raft *r, bool voters_only);

/* The next moment at which time alone changes something for a leader. */
uint64_t raft_replication_deadline(const struct raft *r);

#endif
