/* raft/read.h - ReadIndex: reads that see every write acknowledged before them.
 *
 * A read takes the commit index at its arrival and is answered once a round of
 * confirmation that was sent after its arrival was answered by a majority of each
 * half: no newer leader existed at that time. Rounds are numbered and never used
 * twice, so a late or repeated answer confirms nothing that came after it (B05).
 *
 *   arrived ──round sent──► under way ──confirmed, no-op committed──► answered
 *      │  (joins the next round while one is under way)                    ▲
 *      └───────────────── leadership ends: KV_ENOTLEADER ──────────────────┘
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only.
 * Threads:  the object's owner.
 * Source:   §8; diss. §6.4.
 */
#ifndef KV_RAFT_READ_H
#define KV_RAFT_READ_H

#include "raft/raft.h"

/* RAFT_EV_READ. Returns 0, KV_ENOTLEADER, or KV_EBUSY (RAFT_READS_MAX wait already). */
KV_MUST_CHECK int raft_read_add(struct raft *r, uint64_t tag);

/* Begins a round for all reads that wait for one. */
void raft_read_round(struct raft *r, bool voters_only);

/* Answers what is confirmed; begins the next round if reads wait for it. */
void raft_read_advance(struct raft *r);

/* The newest round that a majority of each half has answered. */
uint64_t raft_read_confirmed(const struct raft *r);

/* Answers all with KV_ENOTLEADER. */
void raft_read_fail_all(struct raft *r);

#endif
