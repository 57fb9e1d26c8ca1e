/* raft/reply.h - what a replica answers, and when it may.
 *
 * A vote, an ack, any answer in a term: each waits until the disk has what it
 * promises. The waiting answers are not stored messages but debts ("an ack is
 * owed"), paid from the state at the moment of paying; so one ack stands for
 * everything that became durable.
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   Figure 2 ("updated on stable storage before responding"); B18, B33, B37.
 */
#ifndef KV_RAFT_REPLY_H
#define KV_RAFT_REPLY_H

#include "raft/raft.h"

/* How far our log is durable and proven equal to that of this term's leader (B33). */
raft_index raft_reply_match(const struct raft *r);

/* Owes a vote reply of this term. */
void raft_reply_owe_vote(struct raft *r, raft_id to, bool granted);

/* Tells a sender from an older term about ours. */
void raft_reply_stale(struct raft *r, const struct raft_msg *m);

/* Pays what can be paid. `persisted` says that this step made something durable. */
void raft_reply_flush(struct raft *r, bool persisted);

#endif
