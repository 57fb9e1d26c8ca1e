/* raft/types.h - positions, entries, configurations, messages: Raft's nouns.
 *
 * Plain values that the core, the storage and the codecs share. None of them owns
 * memory: payloads are views (raft/base/bytes.h).
 *
 * Needs:    raft/base.
 * Used by:  raft/, rpc/peer, storage/, server/.
 * Threads:  any.
 * Source:   §5.1-§7 and Figure 2; diss. §4 (configurations), §6.4 (reads).
 */
#ifndef KV_RAFT_TYPES_H
#define KV_RAFT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"

typedef uint64_t raft_index; /* Of an entry; the first is 1, 0 means "before all". */
typedef uint64_t raft_term;  /* 0 before the first election. */
typedef uint32_t raft_id;    /* Replica number in its group, never reused; 0 means none. */

enum {
    RAFT_REPLICAS_MAX = 16,   /* Voters, outgoing voters and learners of one group. */
    RAFT_PROPOSALS_MAX = 512, /* Entries in one PROPOSE event. */
    RAFT_ENTRIES_MAX = 512,   /* Entries in one AppendEntries. */
    RAFT_READS_MAX = 64,      /* ReadIndex rounds under way; more get KV_EBUSY. */
};

struct raft_pos {
    raft_index index;
    raft_term term;
};

/* ---- entries ---- */

enum raft_entry_type {
    RAFT_ENTRY_NOOP = 1,    /* Start of a term (§8); empty payload. */
    RAFT_ENTRY_COMMAND = 2, /* For the state machine. */
    RAFT_ENTRY_CONFIG = 3,  /* Payload: raft_config_encode(). */
};

/* hash = XXH3 over (hash of the previous entry, index, term, type, time, payload):
 * equal hashes mean equal logs up to here (raft_entry_hash() in raft/record.h). */
struct raft_entry {
    struct raft_pos pos;
    uint8_t type;            /* enum raft_entry_type; unknown ones halt the group. */
    uint64_t time_ms;        /* Replicated time: never goes back along the log. */
    uint64_t hash;           /* Chain hash up to and including this entry. */
    struct kv_bytes payload; /* Borrowed. */
};

/* An entry without its payload. */
struct raft_meta {
    struct raft_pos pos;
    uint8_t type;
    uint32_t payload_bytes;
    uint64_t time_ms;
    uint64_t hash;
};

/* The position before the first kept entry, as compaction or a snapshot left it. */
struct raft_base {
    struct raft_pos pos;
    uint64_t hash;    /* Chain hash at pos; 0 at index 0. */
    uint64_t time_ms; /* Replicated time at pos. */
};

/* A command that wants to become an entry. */
struct raft_proposal {
    struct kv_bytes payload; /* Borrowed until the entry is stored and no longer needed:
                              * update.entries hands the same view out again. */
    uint64_t stamp_ms;       /* Time that the entry must not be older than; 0: none. */
};

/* ---- configurations ---- */

/* voters_count >= 1 unless the replica waits to be told (no voters: it never
 * campaigns). Joint (diss. §4.3) while voters_old_count > 0: agreement then needs
 * both halves. majority(voters) <= w <= voters_count, 0 stands for the majority. */
struct raft_config {
    uint32_t voters_count;
    uint32_t voters_old_count;
    uint32_t learners_count;
    uint32_t w;                               /* Write quorum of voters[]. */
    uint32_t w_old;                           /* Write quorum of voters_old[]. */
    raft_id voters[RAFT_REPLICAS_MAX];        /* Ascending. */
    raft_id voters_old[RAFT_REPLICAS_MAX];    /* Ascending. */
    raft_id learners[RAFT_REPLICAS_MAX];      /* Ascending; disjoint from voters. */
};

/* ---- snapshots ---- */

struct raft_snapshot {
    uint64_t id;               /* Names the file; (id, offset) makes a transfer resumable. */
    struct raft_base last;     /* The last entry that it contains. */
    uint64_t state_hash;       /* Of the state; verified before it is used. */
    uint64_t bytes;            /* Size of the stream. */
    struct raft_config config; /* In force at last. */
    raft_index config_index;
};

struct raft_chunk {
    uint64_t snapshot_id;
    uint64_t offset;      /* Bytes before this chunk. */
    uint32_t len;         /* Bytes of this chunk. Outgoing: the caller fills `data`. */
    bool done;            /* The last chunk. */
    struct kv_bytes data; /* Incoming: borrowed. Outgoing: empty. */
};

/* ---- roles and messages ---- */

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_PRE_CANDIDATE, /* Asks whether an election could be won (diss. §9.6). */
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

/* X(name, text, fields it uses). term is used by all. */
#define RAFT_MSG_MAP(X)                                                                   \
    X(RAFT_MSG_PRE_VOTE, "pre_vote") /* last, hint (leader is known dead) */              \
    X(RAFT_MSG_PRE_VOTE_REPLY, "pre_vote_reply") /* granted; term of the request if so */ \
    X(RAFT_MSG_VOTE, "vote") /* last, transfer, hint */                                   \
    X(RAFT_MSG_VOTE_REPLY, "vote_reply") /* granted */                                    \
    X(RAFT_MSG_APPEND, "append") /* prev, prev_hash, commit, entries, round */            \
    X(RAFT_MSG_APPEND_REPLY, "append_reply") /* rejected, match, hash, hint pos, round */ \
    X(RAFT_MSG_HEARTBEAT, "heartbeat") /* commit, round */                                \
    X(RAFT_MSG_HEARTBEAT_REPLY, "heartbeat_reply") /* match, hash, round */               \
    X(RAFT_MSG_SNAPSHOT, "snapshot") /* snapshot, chunk */                                \
    X(RAFT_MSG_SNAPSHOT_REPLY, "snapshot_reply") /* chunk.snapshot_id, chunk.offset */    \
    X(RAFT_MSG_TIMEOUT_NOW, "timeout_now") /* leader transfer, diss. §3.10 */

enum raft_msg_type {
    RAFT_MSG_NONE = 0,
#define RAFT_MSG_ENUM(name, text) name,
    RAFT_MSG_MAP(RAFT_MSG_ENUM)
#undef RAFT_MSG_ENUM
    RAFT_MSG_TYPES_COUNT,
};

/* One struct for all types: unused fields are 0. */
struct raft_msg {
    enum raft_msg_type type;
    raft_id from;
    raft_id to;
    raft_term term;        /* Sender's term; of a pre-vote (reply): the term asked for. */
    struct raft_pos last;  /* PRE_VOTE, VOTE: end of the candidate's log.
                            * APPEND, rejected APPEND_REPLY: prev, and where to go on:
                            * see `prev` and `conflict`. */
    struct raft_pos prev;  /* APPEND: position before the first entry. Replies repeat it. */
    uint64_t prev_hash;    /* APPEND: chain hash at prev. */
    raft_index commit;     /* Leader's commit index. */
    uint64_t round;        /* Leader's round of confirmations: a reply to round n confirms
                            * that leadership held after n was sent. Grows, never reused. */
    raft_index match;      /* Replies: durable and equal to the leader's log up to here. */
    uint64_t hash;         /* Replies: chain hash at match; the amnesia check. */
    struct raft_pos conflict; /* Rejection: last position that the follower suggests. */
    bool granted;          /* Vote replies. */
    bool rejected;         /* APPEND_REPLY: prev did not match. */
    bool transfer;         /* VOTE: the old leader asked for it; leases do not refuse it. */
    bool hint;             /* PRE_VOTE, VOTE: the sender knows that its leader's process died. */
    uint32_t entries_count;            /* APPEND. */
    const struct raft_entry *entries;  /* Incoming: borrowed, entries_count of them.
                                        * Outgoing: NULL; the caller fills in the entries
                                        * (prev.index, prev.index + entries_count]. */
    struct raft_snapshot snapshot;     /* SNAPSHOT. */
    struct raft_chunk chunk;           /* SNAPSHOT, SNAPSHOT_REPLY (offset: stored so far;
                                        * done: installed). */
};

#endif
