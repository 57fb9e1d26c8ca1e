/* raft/election.h - roles, terms, votes and the timers behind them.
 *
 *               timeout        pre-votes of a quorum       votes of a quorum,
 *   FOLLOWER ─────────► PRE_CANDIDATE ─────────► CANDIDATE ──────────────► LEADER
 *     ▲  │                │    ▲                   │   │  own vote durable   │
 *     │  └─ TIMEOUT_NOW ──┼────┼──────────────────►┘   │                     │
 *     │                   │    └────── timeout ────────┘                     │
 *     └── newer term, leader of this term, impaired; leader: no quorum ──────┘
 *
 * Pre-vote (diss. §9.6) and check-quorum always work together: a replica that was
 * cut off does not disturb a working leader, and a leader that lost its quorum
 * does not stay one (B26-B29).
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §5.2, §5.4.1; diss. §3.10 (transfer), §9.6 (pre-vote).
 */
#ifndef KV_RAFT_ELECTION_H
#define KV_RAFT_ELECTION_H

#include "raft/raft.h"

/* ---- roles ---- */

/* Becomes, or stays, a follower in `term`, which is not older than ours. The vote is
 * forgotten with the old term and only with it (B16). leader may be 0. */
void raft_election_follow(struct raft *r, raft_term term, raft_id leader);

/* Stands for election at once, in the next term. */
void raft_election_campaign(struct raft *r, bool transfer);

/* ---- events ---- */

/* Campaigns when the election timer has run out. Not for leaders. */
void raft_election_tick(struct raft *r);

/* A message of this term's leader arrived. */
void raft_election_heard(struct raft *r);

/* A voter said yes to the current pre-vote or vote. */
void raft_election_granted(struct raft *r, raft_id voter);

/* RAFT_EV_PEER_DOWN. */
void raft_election_peer_down(struct raft *r, raft_id peer);

/* RAFT_EV_STATE_LOST. */
void raft_election_state_lost(struct raft *r, raft_index least);

/* RAFT_EV_IMPAIRED. */
KV_MUST_CHECK int raft_election_impaired(struct raft *r, bool impaired);

/* Gives our vote of this term; the reply waits for the disk. */
void raft_election_vote(struct raft *r, raft_id candidate);

/* What a candidate does once its own vote is durable: ask, and lead when it has won. */
void raft_election_settle(struct raft *r);

/* ---- questions ---- */

/* True while a working leader was heard of recently: (pre-)votes are refused. */
bool raft_election_leased(const struct raft *r);

/* True for a voter that is whole and not installing a snapshot; also for one whose
 * removal is not known to be committed (diss. §4.2.2). */
bool raft_election_may_campaign(const struct raft *r);

/* True when a log that ends at `last` is at least as up to date as ours (§5.4.1). */
bool raft_election_up_to_date(const struct raft *r, struct raft_pos last);

/* Draws a new election timeout. */
void raft_election_timer_reset(struct raft *r);

#endif
