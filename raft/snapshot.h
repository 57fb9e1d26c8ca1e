/* raft/snapshot.h - sending a snapshot to a peer that is too far behind; taking one.
 *
 * The core moves offsets, never bytes: the caller reads chunks from a file when it
 * sends, and stores them when they arrive. (id, offset) names a place in a transfer,
 * so it goes on after a lost message, and under a new leader with the same snapshot.
 *
 * Needs:    raft/raft.h, progress.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §7; diss. §5.1-§5.3; B14, B15, B31, B43-B45.
 */
#ifndef KV_RAFT_SNAPSHOT_H
#define KV_RAFT_SNAPSHOT_H

#include "raft/progress.h"
#include "raft/raft.h"

/* ---- leader ---- */

/* Sends chunks to a peer in state SNAPSHOT, or asks for a snapshot. */
void raft_snapshot_send(struct raft *r, struct raft_progress *p);

/* The peer has lost its state: it gets a snapshot that does not end before `least`. */
void raft_snapshot_state_lost(struct raft *r, struct raft_progress *p,
                              raft_index least);

/* With each heartbeat: sends again where no answer came. */
void raft_snapshot_tick(struct raft *r);

/* RAFT_EV_SNAPSHOT_READY. */
void raft_snapshot_ready(struct raft *r, const struct raft_snapshot *s);

/* ---- follower ---- */

/* A peer that has all of the snapshot could not install it. */
void raft_snapshot_refused(struct raft *r, struct raft_progress *p);

/* state_lost: a snapshot that ends before this is of no use. */
raft_index raft_snapshot_least(const struct raft *r);

/* Does it come too late? It could only take acknowledged entries away; to who has lost
 * its state, it is of use unless entries behind it are gone. */
bool raft_snapshot_late(const struct raft *r, const struct raft_snapshot *s);

/* Takes the chunk of a checked SNAPSHOT message of our leader. */
void raft_snapshot_take(struct raft *r, const struct raft_msg *m);

/* RAFT_EV_SNAPSHOT_STORED: answers with the offset, or hands out the whole. */
void raft_snapshot_stored(struct raft *r, const struct raft_stored *stored);

/* RAFT_EV_SNAPSHOT_INSTALLED. Returns 0, KV_EINVAL (no such install under way),
 * KV_ECORRUPT (the log holds another entry with that index and term, or another
 * committed one with that index), or the reader's error. */
KV_MUST_CHECK int raft_snapshot_installed(struct raft *r,
                                          const struct raft_snapshot *s);

/* Hands out a complete snapshot once nothing else is on its way to the disk. */
void raft_snapshot_settle(struct raft *r);

/* ---- both ---- */

/* RAFT_EV_SNAPSHOT_FAILED. */
void raft_snapshot_failed(struct raft *r, uint64_t id);

#endif
