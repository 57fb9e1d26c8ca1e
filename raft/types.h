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
typedef uint32_t raft_id; /* Replica number in its group, never reused; 0 means none. */

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
    /* Payload: raft_config_encode(). Also the very first entry of a group, in place of
     * the no-op: its initial configuration. */
    RAFT_ENTRY_CONFIG = 3,
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
    /* Borrowed until the entry is stored and no longer needed: update.entries hands
     * the same view out again. */
    struct kv_bytes payload;
    uint64_t stamp_ms; /* Time that the entry must not be older than; 0: none. */
};

/* ---- configurations ---- */

/* voters_count >= 1 unless the replica waits to be told (no voters: it never
 * campaigns). Joint (diss. §4.3) while voters_old_count > 0: agreement then needs
 * both halves. majority(voters) <= w <= voters_count, 0 stands for the majority. */
struct raft_config {
    uint32_t voters_count;
    uint32_t voters_old_count;
    uint32_t learners_count;
    uint32_t w;                            /* Write quorum of voters[]. */
    uint32_t w_old;                        /* Write quorum of voters_old[]. */
    raft_id voters[RAFT_REPLICAS_MAX];     /* Ascending. */
    raft_id voters_old[RAFT_REPLICAS_MAX]; /* Ascending. */
    raft_id learners[RAFT_REPLICAS_MAX];   /* Ascending; disjoint from voters. */
};

/* ---- snapshots ---- */

struct raft_snapshot {
    uint64_t id; /* Names the file; (id, offset) makes a transfer resumable. */
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

/* X(name, text). What each type uses besides type, from, to and term:
 *   pre_vote, vote     last, transfer (vote), hint
 *   ..._reply of both  granted; a granted pre-vote repeats the term asked for, every
 *                      other reply names the voter's own
 *   append             prev, prev_hash, commit, round, entries_count, entries
 *   append_reply       match, hash, round; a rejection also prev, conflict, rejected
 *   heartbeat          commit, round, stamp, fresh
 *   heartbeat_reply    match, hash, round, stamp; without a usable state: rejected,
 *                      conflict
 *   snapshot           snapshot, chunk
 *   snapshot_reply     chunk.snapshot_id, .offset, .done; rejected (a gap, or from the
 *                      beginning: go on at offset)
 *   timeout_now        nothing (leader transfer, diss. §3.10)
 * A reply to a sender from an older term says nothing but the newer term. */
#define RAFT_MSG_MAP(X)                            \
    X(RAFT_MSG_PRE_VOTE, "pre_vote")               \
    X(RAFT_MSG_PRE_VOTE_REPLY, "pre_vote_reply")   \
    X(RAFT_MSG_VOTE, "vote")                       \
    X(RAFT_MSG_VOTE_REPLY, "vote_reply")           \
    X(RAFT_MSG_APPEND, "append")                   \
    X(RAFT_MSG_APPEND_REPLY, "append_reply")       \
    X(RAFT_MSG_HEARTBEAT, "heartbeat")             \
    X(RAFT_MSG_HEARTBEAT_REPLY, "heartbeat_reply") \
    X(RAFT_MSG_SNAPSHOT, "snapshot")               \
    X(RAFT_MSG_SNAPSHOT_REPLY, "snapshot_reply")   \
    X(RAFT_MSG_TIMEOUT_NOW, "timeout_now")

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
    /* The sender's; of a pre-vote and its grant: the one asked for. */
    raft_term term;
    /* PRE_VOTE, VOTE: end of the candidate's log. */
    struct raft_pos last;
    /* APPEND: position before the first entry. A rejection repeats it: the follower's
     * log does not hold it. */
    struct raft_pos prev;
    /* APPEND: chain hash at prev. */
    uint64_t prev_hash;
    /* APPEND: the leader's commit index. HEARTBEAT: that, but no further than what the
     * receiver is known to hold. */
    raft_index commit;
    /* The leader's round of confirmations; grows, never reused. Replies name the
     * highest one heard: leadership held after it was sent. */
    uint64_t round;
    /* Replies: durable, and proven equal to the log of this term's leader, up to
     * here. 0, like round, from whose log is damaged: it promises nothing. */
    raft_index match;
    /* Replies: chain hash at match, for the amnesia check. */
    uint64_t hash;
    /* Rejection: the last position at or before prev where the logs may agree.
     * HEARTBEAT_REPLY: a snapshot that ends before conflict.index is of no use. */
    struct raft_pos conflict;
    /* HEARTBEAT_REPLY: the follower's time, for itself. HEARTBEAT: the newest stamp of
     * this peer that came before a confirmed round, 0: none (raft/fresh.h); */
    uint64_t stamp;
    /* and all that was acknowledged before it lies at or before this index. */
    raft_index fresh;
    /* Vote replies. */
    bool granted;
    /* APPEND_REPLY: no such entry at prev. SNAPSHOT_REPLY: a gap. HEARTBEAT_REPLY: the
     * state is lost, a snapshot is needed. */
    bool rejected;
    /* VOTE: the old leader asked for it; leases do not refuse it. */
    bool transfer;
    /* PRE_VOTE, VOTE: the sender knows that its leader's process died. For the record
     * only: a voter trusts the hint that it got itself. */
    bool hint;
    /* APPEND. Incoming entries are borrowed for the call. Outgoing: NULL; the caller
     * fills in the entries (prev.index, prev.index + entries_count]. */
    uint32_t entries_count;
    const struct raft_entry *entries;
    /* SNAPSHOT. */
    struct raft_snapshot snapshot;
    /* SNAPSHOT, SNAPSHOT_REPLY (offset: stored so far, or wanted next; done:
     * installed). */
    struct raft_chunk chunk;
};

#endif
