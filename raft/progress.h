/* raft/progress.h - what a leader knows of one peer, and what it may send next.
 *
 *            accepted                    entries compacted away
 *   PROBE ───────────────► REPLICATE ──────────────────────────► SNAPSHOT
 *     ▲ ▲   rejected, stalled, │                                   ▲   │
 *     │ └──────────────────────┘                                   │   │
 *     │                          entries compacted away            │   │
 *     ├────────────────────────────────────────────────────────────┘   │
 *     └────────────────────────────────────────────────────────────────┘
 *                                 installed
 *
 * PROBE sends one message and waits for its answer: nobody knows where the logs
 * agree. REPLICATE sends ahead of the answers, bounded by the flight. SNAPSHOT
 * sends chunks of a snapshot, bounded by chunks not yet answered.
 *
 * Needs:    raft/types.h, fresh.h.
 * Used by:  replication.c, snapshot.c, recv_reply.c and others of the leader's side.
 * Threads:  the object's owner.
 * Source:   §5.3 (nextIndex, matchIndex); diss. §10.2.1 (pipelining).
 */
#ifndef KV_RAFT_PROGRESS_H
#define KV_RAFT_PROGRESS_H

#include "raft/fresh.h"
#include "raft/types.h"

enum raft_progress_state {
    RAFT_PROGRESS_PROBE,
    RAFT_PROGRESS_REPLICATE,
    RAFT_PROGRESS_SNAPSHOT,
    RAFT_PROGRESS_STATES_COUNT,
};

/* One AppendEntries with entries that was not answered yet. */
struct raft_flight_item {
    raft_index last; /* Its last entry. */
    uint32_t bytes;  /* Payload bytes. */
};

/* A ring of them, oldest first. */
struct raft_flight {
    struct raft_flight_item *items; /* `max` slots in the core's memory. */
    uint32_t max;
    uint32_t begin; /* Slot of the oldest. */
    uint32_t count;
    uint64_t bytes; /* Sum over the items. */
};

/* match < next; match <= the leader's last index. */
struct raft_progress {
    raft_id id;
    enum raft_progress_state state;
    raft_index match;       /* Known durable there and equal to our log. */
    raft_index next;        /* Next entry to send. */
    raft_index commit_sent; /* Commit index that it was told last. */
    uint64_t round;         /* Highest round that it answered. */
    uint64_t match_round;   /* Our round when match rose: later answers are fresh. */
    uint64_t active_ms;     /* When it last answered in this term; 0: never. */
    uint64_t moved_ms; /* When match, the probe or the snapshot's offset last moved. */
    bool probe_sent;   /* PROBE: the one message is under way. */
    bool amnesiac;     /* Its log went back behind what it acked: never counted. */
    struct raft_echo echo;     /* Its stamps: how old its state can be. */
    struct raft_flight flight; /* REPLICATE. */
    /* SNAPSHOT */
    bool state_lost;           /* It needs one whatever its log holds. */
    raft_index snapshot_least; /* state_lost: one that does not end before this. */
    uint64_t snapshot_id;      /* Being sent; 0 while there is none to send yet. */
    uint64_t offset_sent;      /* Bytes handed to the network. */
    uint64_t offset_acked;     /* Bytes stored there. */
    uint64_t offset_rewound; /* Where the last gap was answered; UINT64_MAX: nowhere. */
};

/* ---- life ---- */

/* Starts over for a peer of which nothing is known: PROBE at `next`. `items` has
 * `flight_max` slots. */
void raft_progress_init(struct raft_progress *p, raft_id id, raft_index next,
                        struct raft_flight_item *items, uint32_t flight_max);

/* ---- moves: the only ways to change state ---- */

void raft_progress_probe(struct raft_progress *p, raft_index next);
void raft_progress_replicate(struct raft_progress *p);
void raft_progress_snapshot(struct raft_progress *p, uint64_t now_ms);

/* ---- work ---- */

/* Notes that the peer holds everything up to `match`; `round` is the leader's
 * current round. Returns true when that is news. */
bool raft_progress_ack(struct raft_progress *p, raft_index match, uint64_t round,
                       uint64_t now_ms);

/* Marks the peer as one that forgot what it had acked, until the term ends. */
void raft_progress_forgot(struct raft_progress *p, raft_index next);

/* Notes an AppendEntries with entries up to `last` as sent; there must be room. */
void raft_progress_sent(struct raft_progress *p, raft_index last, uint32_t bytes,
                        uint64_t now_ms);

/* True when no further AppendEntries may be sent before an answer. */
bool raft_progress_full(const struct raft_progress *p, uint64_t flight_bytes_max);

/* A static name: "probe", "replicate", "snapshot". */
const char *raft_progress_text(enum raft_progress_state state);

#endif
