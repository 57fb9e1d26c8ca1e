/* raft/transfer.h - handing leadership to a chosen follower.
 *
 * While a transfer is under way the leader takes no commands; once the target holds
 * the whole log it is told to campaign at once. After an election timeout the
 * leader gives up and goes on leading.
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   diss. §3.10.
 */
#ifndef KV_RAFT_TRANSFER_H
#define KV_RAFT_TRANSFER_H

#include "raft/raft.h"

/* RAFT_EV_TRANSFER. Returns 0; KV_ENOTLEADER; KV_EBUSY (one is under way, or with
 * `to` 0 nobody is fit); KV_EINVAL (`to` does not vote, or is us). */
KV_MUST_CHECK int raft_transfer_start(struct raft *r, raft_id to);

/* Tells the target to campaign once it has everything. */
void raft_transfer_advance(struct raft *r);

/* Gives up when the time is over; repeats TIMEOUT_NOW with the heartbeats. */
void raft_transfer_tick(struct raft *r);

/* A leader that was voted out names its successor, so that nobody waits. */
void raft_transfer_farewell(struct raft *r);

#endif
