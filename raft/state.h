/* raft/state.h - the core's whole state, and the calls between its files.
 *
 * Private to raft/ and its tests. Each section below names the file that owns it:
 * only that file's functions change it.
 *
 * Needs:    raft/raft.h, log.h, progress.h, quorum.h.
 * Used by:  raft/ and tests/raft only.
 * Threads:  the object's owner.
 */
#ifndef KV_RAFT_STATE_H
#define KV_RAFT_STATE_H

#include "raft/base/bug.h"
#include "raft/base/prng.h"
#include "raft/config.h"
#include "raft/fresh.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/raft.h"
#include "raft/record.h"

enum {
    RAFT_WINDOW_MIN = 16,
    RAFT_WINDOW_SLACK =
        4, /* Slots that commands may not take: no-op, configurations. */
    RAFT_MESSAGES_MAX =
        64, /* Per step; when they are used up, the next step goes on. */
    RAFT_ENTRIES_OUT_MAX = RAFT_PROPOSALS_MAX + RAFT_WINDOW_SLACK,
    RAFT_OWN_PAYLOADS_MAX = 2, /* Configurations that one step may append. */
};
_Static_assert((int)RAFT_ENTRIES_OUT_MAX >= (int)RAFT_ENTRIES_MAX,
               "a step takes a whole message");
_Static_assert((int)RAFT_MESSAGES_MAX >= 3 * (int)RAFT_REPLICAS_MAX,
               "heartbeats, rounds and one more message to each peer fit into a step");

/* ---- what a follower owes, until its disk has it (reply.c) ---- */

struct raft_owed {
    bool ack;                 /* An append_reply, once more is durable. */
    bool heartbeat;           /* A heartbeat_reply, once the term is durable. */
    bool reject;              /* A rejection, once the term is durable. */
    struct raft_pos rejected; /* prev of the message that is rejected. */
    raft_index told_match;    /* What this leader was told last. */
    uint64_t told_round;
    uint32_t votes_count;
    struct raft_owed_vote {
        raft_id to;
        bool granted;
    } votes[RAFT_REPLICAS_MAX]; /* Vote replies of this term, once it is durable. */
};

/* ---- votes collected (election.c) ---- */

struct raft_tally {
    uint32_t count;
    raft_id granted[2 * RAFT_REPLICAS_MAX]; /* Each voter once, ourselves included. */
};

/* ---- a snapshot being received (snapshot.c) ----
 *
 *   NONE ──chunk──► RECEIVING ──all stored──► INSTALLING ──installed, failed──► NONE
 *                       └────────────failed, newer one────────────────────────► NONE
 */
enum raft_incoming_state {
    RAFT_INCOMING_NONE,
    RAFT_INCOMING_RECEIVING,
    RAFT_INCOMING_INSTALLING,
};

/* offset_stored <= offset_next <= snapshot.bytes. */
struct raft_incoming {
    enum raft_incoming_state state;
    bool handed_out; /* INSTALLING: the caller was told. */
    raft_term term;  /* Of the leader that sends it. */
    struct raft_snapshot snapshot;
    uint64_t offset_next;   /* Wanted next; before it all was handed out. */
    uint64_t offset_stored; /* Known durable. */
};

/* ---- reads that wait (read.c) ---- */

struct raft_read_wait {
    uint64_t tag;
    uint64_t round; /* The round that has to be confirmed; 0: not sent yet. */
    raft_index index;
};

/* base.index <= applied <= commit <= last.index; term_durable <= term. */
struct raft {
    /* Fixed (raft.c). */
    struct raft_options o;
    uint32_t flight_bytes_max;
    struct raft_flight_item *flight_items; /* flight_messages_max for each peer slot. */

    /* This step (raft.c). */
    uint64_t now_ms;
    uint64_t wall_ms;
    /* First error that a later part of the step met: reported at its end. */
    int deferred;

    /* Hard state, decided and durable (election.c). */
    raft_term term;
    raft_id vote;
    raft_term term_durable;
    raft_id vote_durable;
    bool hard_dirty; /* (term, vote) was not handed out yet. */

    /* Log and configurations (log.c, config.c). */
    struct raft_log log;
    struct raft_configs configs;
    raft_index commit;
    raft_index applied;

    /* Role (election.c). */
    enum raft_role role;
    raft_id leader;         /* Of this term; 0 when unknown. */
    bool impaired;          /* An entry is damaged. */
    bool state_lost;        /* The state is damaged: only a snapshot helps. */
    raft_index state_least; /* state_lost: an older snapshot is of no use. */
    bool hint;              /* Our leader's process is said to be dead. */
    struct prng prng;
    uint64_t election_at_ms; /* Campaign then, unless a leader is heard. */
    uint64_t heard_ms;       /* When the leader was heard last. */

    /* Candidates (election.c). */
    struct raft_tally tally;
    bool votes_asked; /* VOTE went out, which waits for the own vote to be durable. */
    bool campaign_transfer; /* The old leader asked for this campaign. */

    /* Followers (recv_append.c, reply.c, snapshot.c). */
    raft_index proven;       /* This term's leader proved our log equal up to here. */
    uint64_t round_seen;     /* Highest round heard from this term's leader. */
    struct raft_fresh fresh; /* How old the state can be (fresh.c); leaders as well. */
    struct raft_owed owed;
    struct raft_incoming incoming;

    /* Leaders (replication.c, read.c, transfer.c, snapshot.c). */
    uint32_t peers_count;
    struct raft_progress peers[RAFT_REPLICAS_MAX];
    raft_index term_begin; /* Index of this term's no-op. */
    uint64_t led_since_ms;
    uint64_t heartbeat_at_ms;
    uint64_t check_quorum_at_ms;
    uint64_t round; /* Rounds of confirmation sent so far; never reused. */
    uint32_t reads_waiting_count;
    struct raft_read_wait reads_waiting[RAFT_READS_MAX];
    raft_id transfer_to; /* 0: no transfer under way. */
    bool transfer_told;  /* TIMEOUT_NOW went out in this heartbeat interval. */
    uint64_t transfer_until_ms;
    bool outgoing_ready;   /* `outgoing` may be sent. */
    uint64_t snapshot_bad; /* Of this step: for the update. */
    bool snapshot_wanted;
    raft_index snapshot_least;        /* snapshot_wanted: it must not end before. */
    uint64_t snapshot_wanted_from_ms; /* After a failure: not before this time. */
    struct raft_snapshot outgoing;

    /* The update under construction (raft.c). */
    uint32_t entries_count;
    uint32_t messages_count;
    uint32_t reads_count;
    bool messages_full; /* Something could not be sent: go on at once. */
    bool chunk_out;     /* `chunk` is to be stored. */
    bool install_out;   /* incoming.snapshot is to be installed. */
    bool config_changed;
    struct raft_chunk chunk;
    struct raft_snapshot chunk_snapshot;
    uint32_t own_payloads_count;
    uint8_t own_payloads[RAFT_OWN_PAYLOADS_MAX][RAFT_CONFIG_BYTES_MAX];
    struct raft_entry entries[RAFT_ENTRIES_OUT_MAX];
    struct raft_msg messages[RAFT_MESSAGES_MAX];
    struct raft_read reads[RAFT_READS_MAX];

    /* What the previous update said (raft.c). */
    enum raft_role told_role;
    raft_id told_leader;
    raft_term told_term;
    raft_index told_commit;
};

static inline bool raft_leads(const struct raft *r)
{
    return r->role == RAFT_LEADER;
}

/* Leader whose no-op is committed: it knows what is committed (§8, diss. §6.4). */
static inline bool raft_leads_surely(const struct raft *r)
{
    return raft_leads(r) && r->commit >= r->term_begin;
}

/* Does not lead. An impaired one does not vote and ack either: its log is damaged. */
static inline bool raft_impaired(const struct raft *r)
{
    return r->impaired || r->state_lost;
}

/* True while a received snapshot is being installed: the log stands still. */
static inline bool raft_installing(const struct raft *r)
{
    return r->incoming.state == RAFT_INCOMING_INSTALLING;
}

#endif
