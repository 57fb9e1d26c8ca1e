/* raft/fresh.h - how old a replica's state can be, without trusting anybody's clock.
 *
 *   follower                 leader
 *   reply, stamp T ────────► keeps T, until a round that begins behind it is confirmed
 *   heartbeat (T, C) ◄────── with C, its commit index at that moment
 *
 * A round that began after T was confirmed: no newer leader existed at T. So whatever
 * was acknowledged before T lies at or before C, and who has applied C knows all of it:
 * its state is at most as old as T. T is the follower's own time; nobody compares it
 * with another clock. A leader does the same with itself, at each round it sends.
 *
 * A stamp carries a mark of the process that made it: one that an earlier process of
 * the same replica sent is not taken for our own.
 *
 * Needs:    raft/raft.h.
 * Used by:  raft/ only; the age is asked for with raft_age_get().
 * Threads:  the object's owner.
 * Source:   diss. §6.4 (rounds); bounded staleness as a ReadIndex that follows later.
 */
#ifndef KV_RAFT_FRESH_H
#define KV_RAFT_FRESH_H

#include "raft/raft.h"

/* A leader's book about one replica's stamps. */
struct raft_echo {
    uint64_t waiting;       /* Received; 0: none. */
    uint64_t waiting_round; /* It counts once this round is confirmed. */
    uint64_t stamp;         /* Confirmed last; 0: none. */
    raft_index index;       /* Commit index when it was confirmed. */
};

/* "Everything that was acknowledged before `ms` lies at or before `index`." */
struct raft_fresh_fact {
    uint64_t ms;
    raft_index index;
    bool is_set;
};

struct raft_fresh {
    uint64_t begin_ms;             /* Of this object: stamps count from here. */
    struct raft_fresh_fact known;  /* Applied when it became this. */
    struct raft_fresh_fact coming; /* Not applied yet. */
    struct raft_echo own;          /* A leader's, about itself. */
};

/* The time now, to be sent to the leader. */
uint64_t raft_fresh_stamp(const struct raft *r);

/* ---- followers ---- */

/* A leader says that everything before `stamp` lies at or before `index`. */
void raft_fresh_heard(struct raft *r, uint64_t stamp, raft_index index);

/* ---- leaders ---- */

/* A stamp of a peer arrived; it waits for a round that begins from now on. */
void raft_fresh_received(const struct raft *r, struct raft_echo *e, uint64_t stamp);

/* A round was sent. */
void raft_fresh_round(struct raft *r);

/* Rounds up to `round` are confirmed: stamps that waited for them count. */
void raft_fresh_confirmed(struct raft *r, uint64_t round);

#endif
