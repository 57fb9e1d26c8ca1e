/* raft/recv.h - one function per message type, and what they share.
 *
 * Each function first checks the message without changing anything: KV_EPROTO and
 * the fatal errors leave the object as it was. Then it deals with the terms, then
 * with the content.
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   Figure 2 (RPCs); diss. §3.10, §9.6.
 */
#ifndef KV_RAFT_RECV_H
#define KV_RAFT_RECV_H

#include "raft/progress.h"
#include "raft/raft.h"

/* Takes any message. Returns 0, KV_EPROTO, or a fatal error. */
KV_MUST_CHECK int raft_recv(struct raft *r, const struct raft_msg *m);

/* ---- by type: recv_vote.c, recv_append.c, … ---- */

KV_MUST_CHECK int raft_recv_pre_vote(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_pre_vote_reply(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_vote(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_vote_reply(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_append(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_append_reply(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_heartbeat(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_heartbeat_reply(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_snapshot(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_snapshot_reply(struct raft *r, const struct raft_msg *m);
KV_MUST_CHECK int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m);

/* ---- shared ---- */

/* Two leaders in one term: no correct peer does that. */
bool raft_recv_rival(const struct raft *r, const struct raft_msg *m);

/* Follows the sender, the leader of m->term, which is not older than ours. */
void raft_recv_follow(struct raft *r, const struct raft_msg *m);

/* For answers to a leader. Returns true when the answer belongs to our leadership
 * of this term; a newer term ends that leadership. */
bool raft_recv_answers_us(struct raft *r, const struct raft_msg *m);

#endif
