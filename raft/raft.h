/* raft/raft.h - the Raft core: one event in, one update out.
 *
 * The core decides and does nothing else. It has no I/O, clock, randomness or
 * malloc: time comes in the event, randomness from a seed, memory from the caller,
 * and what has to be done goes out as a list of duties (struct raft_update). It
 * keeps positions, terms and hashes of entries, not their payloads: those stay
 * with the caller, who puts them into messages when it encodes them.
 *
 * Ownership: whoever calls raft_step() owns everything it passes in. What the core
 * hands out is valid until the next raft_step() on the same object; payloads in
 * update->entries are the views that the event brought, or the core's own buffer.
 *
 * Needs:    raft/types.h, raft/base.
 * Used by:  server/group.c, tests/raft, tests/sim.
 * Threads:  one owner at a time; no state outside struct raft.
 * Source:   Ongaro and Ousterhout, "In Search of an Understandable Consensus
 *           Algorithm (Extended Version)", cited as §n; Ongaro's dissertation,
 *           cited as diss. §n.
 */
#ifndef KV_RAFT_RAFT_H
#define KV_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/types.h"

struct raft; /* Opaque: raft/state.h, for raft/ and its tests only. */

/* ---- what goes in ---- */

enum raft_event_kind {
    RAFT_EV_TICK,    /* Only time passed. */
    RAFT_EV_MESSAGE, /* A message of a peer arrived. */
    RAFT_EV_PROPOSE, /* Clients' commands, in order. Leader only. */
    /* Another set of voters, learners and W. Leader only. */
    RAFT_EV_PROPOSE_CONFIG,
    RAFT_EV_READ, /* Reads want a ReadIndex. Leader only. */
    /* Hand leadership to u.peer, 0: to the best follower. */
    RAFT_EV_TRANSFER,
    RAFT_EV_PERSISTED,       /* The duties "store" up to u.persisted are durable. */
    RAFT_EV_APPLIED,         /* The state machine has applied up to u.index. */
    RAFT_EV_COMPACTED,       /* The log now begins behind u.base. */
    RAFT_EV_SNAPSHOT_READY,  /* A snapshot to send exists: u.snapshot. */
    RAFT_EV_SNAPSHOT_STORED, /* A received chunk is durable: u.stored. */
    /* The received snapshot is the state now: u.snapshot. */
    RAFT_EV_SNAPSHOT_INSTALLED,
    /* Making, storing or installing it failed: u.snapshot_id. */
    RAFT_EV_SNAPSHOT_FAILED,
    /* A hint that u.peer's process died (design.md section 4). */
    RAFT_EV_PEER_DOWN,
    /* u.impaired: an entry is damaged; no vote, ack or lead. False: it is whole. */
    RAFT_EV_IMPAIRED,
    /* The state is damaged: it does not lead until a snapshot that does not end before
     * u.index, which is committed, is the state (_INSTALLED). It may end before what is
     * applied: then applied goes back to it; log and commit index stay. It goes on to
     * vote and to ack: both are promises about term, vote and log, which are whole. */
    RAFT_EV_STATE_LOST,
};

/* What is durable after a disk job: pass back what the update named. */
struct raft_persisted {
    raft_term term; /* Hard state of the newest job that is done. */
    raft_id vote;   /* Belongs to term. */
    /* Last entry that the newest done job that stored entries wrote; {0, 0} when
     * none did since the last event. */
    struct raft_pos last;
};

struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ms;  /* Monotonic; never goes back between events of one object. */
    uint64_t wall_ms; /* The caller's wall clock: a leader stamps entries with it. */
    union {
        const struct raft_msg *message; /* Borrowed for the call. */
        struct {
            const struct raft_proposal *items; /* Borrowed for the call. */
            uint32_t count;                    /* 1..RAFT_PROPOSALS_MAX */
        } propose;
        /* Borrowed. The simple target: voters, learners, w; the core makes the joint
         * steps itself. */
        const struct raft_config *config;
        /* Caller's name of a batch of reads; it must never be used twice on one
         * object (B05). */
        uint64_t read_tag;
        raft_id peer; /* TRANSFER, PEER_DOWN. */
        struct raft_persisted persisted;
        raft_index index;      /* APPLIED, STATE_LOST. */
        struct raft_base base; /* COMPACTED. */
        /* SNAPSHOT_READY, _INSTALLED. Borrowed. */
        const struct raft_snapshot *snapshot;
        struct raft_stored {
            uint64_t snapshot_id;
            uint64_t offset; /* All bytes before it are durable. */
        } stored;
        uint64_t snapshot_id; /* SNAPSHOT_FAILED. */
        bool impaired;
    } u;
};

/* ---- what comes out ---- */

/* An answer to RAFT_EV_READ. */
struct raft_read {
    uint64_t tag;
    raft_index index; /* Serve the read once this index is applied. Unused on error. */
    /* 0, or KV_ENOTLEADER: leadership ended before it was confirmed. */
    int error;
};

/* What the caller has to do now, in this order:
 *   1. store_hard: store term and vote,              \ one storage transaction
 *      entries_count > 0: store the entries; they    /
 *      replace everything from entries[0].pos.index on,
 *   2. send messages: they promise nothing that is not durable already (a leader's
 *      AppendEntries go out while its own disk still works, diss. §10.2.1),
 *   3. once duty 1 is durable, in a later turn: feed RAFT_EV_PERSISTED; its update
 *      holds the votes and acks that had to wait for the disk,
 *   4. apply entries up to commit in memory, then feed RAFT_EV_APPLIED,
 *   5. answer reads, start snapshot work,
 *   6. feed RAFT_EV_TICK no later than deadline_ms.
 * A second update may ask to store before the first is durable. Entries, chunks and
 * installs are done, and reported, in the order in which they were handed out;
 * PERSISTED may stand for several jobs. */
struct raft_update {
    /* 1 */
    bool store_hard;
    raft_term term; /* Always the current term, also when store_hard is false. */
    raft_id vote;
    const struct raft_entry *entries;
    uint32_t entries_count;
    /* 2 */
    const struct raft_msg *messages;
    uint32_t messages_count;
    /* 4 */
    raft_index commit; /* Never goes back. */
    /* 5 */
    const struct raft_read *reads;
    uint32_t reads_count;
    /* A peer needs one: make it (or reuse one), feed SNAPSHOT_READY with last >= the
     * log's base, or SNAPSHOT_FAILED. Repeated in each update until then. */
    bool snapshot_wanted;
    raft_index snapshot_least; /* snapshot_wanted: last.index is at least this. */
    /* A peer got all of this snapshot and could not use it: its bytes may be damaged
     * here, so make another one, of the same content if need be. 0: none. */
    uint64_t snapshot_bad;
    /* Store these bytes, then feed _STORED; NULL when there is nothing. */
    const struct raft_chunk *chunk_store;
    const struct raft_snapshot *chunk_snapshot; /* Whose bytes they are. */
    /* Complete: verify, install, then feed _INSTALLED or _FAILED. NULL when none. */
    const struct raft_snapshot *install;
    /* 6 */
    uint64_t deadline_ms;
    /* For the caller's books. */
    enum raft_role role;
    raft_id leader;      /* 0 when unknown. */
    bool role_changed;   /* role, leader or term differ from the previous update. */
    bool config_changed; /* raft_config_get() differs from the previous update. */
};

/* ---- the log below the core's own window ---- */

/* Read-only access to stored entries; must not wait for a disk write. */
struct raft_log_reader {
    void *ctx;
    /* Reads position, type, time, hash and size of the entry at `index`. Asked only
     * for what was durable before.
     * Returns 0, KV_ECOMPACTED (before the log's base), KV_ENOTFOUND (behind its
     * end), KV_EDAMAGED (checksum). */
    int (*meta)(void *ctx, raft_index index, struct raft_meta *out_meta);
    /* Reads a whole entry; the payload is borrowed until the next call. Used at
     * raft_init() for configuration entries. Errors as meta. */
    int (*entry)(void *ctx, raft_index index, struct raft_entry *out_entry);
};

/* ---- life ---- */

struct raft_options {
    raft_id id;                   /* This replica; >= 1. */
    uint64_t seed;                /* For election timeouts. */
    uint32_t election_timeout_ms; /* Shortest; drawn from [t, 2t). Default 150. */
    /* Default 50; heartbeats happen at multiples of it, so that those of many groups
     * can share a message. */
    uint32_t heartbeat_ms;
    /* Entries whose meta the core keeps in memory, a power of two; also the cap of
     * entries not yet durable. */
    uint32_t window;
    uint32_t flight_messages_max; /* AppendEntries not yet answered, per peer. */
    uint32_t append_entries_max;  /* Entries per AppendEntries. */
    /* Payload bytes per AppendEntries, at least one entry. */
    uint32_t append_bytes_max;
    /* Payload bytes not yet answered, per peer; 0: no limit. */
    uint32_t flight_bytes_max;
    uint32_t snapshot_chunk_bytes; /* Bytes per snapshot chunk. */
    uint32_t snapshot_flight_max;  /* Chunks not yet answered. */
    /* A proposal's stamp may lead the clock by this much. */
    uint64_t stamp_ahead_ms_max;
#ifdef KV_MUTANTS
    uint32_t bug; /* Planted: enum kv_bug in raft/base/bug.h; 0: none. */
#endif
};

/* What storage found at start. */
struct raft_restore {
    raft_term term;
    raft_id vote;
    struct raft_base base; /* The position just before the first kept entry. */
    /* Last stored entry; base.pos.index when there is none. */
    raft_index last;
    /* The state on disk holds up to here; base <= applied <= last. */
    raft_index applied;
    raft_index commit_hint;    /* Known committed when it was stored; may be 0. */
    struct raft_config config; /* In force at `applied`. */
    /* Of the entry that brought it; 0 for the initial one. */
    raft_index config_index;
    bool impaired; /* A stored entry behind `applied` is damaged. */
};

/* Fills in the defaults for replica `id`. */
void raft_options_init(struct raft_options *o, raft_id id, uint64_t seed);

/* Bytes of memory that raft_init() needs for these options. */
size_t raft_bytes(const struct raft_options *o);

/* Makes a follower from what storage holds.
 *
 * mem       [borrowed until the object is no longer used]  raft_bytes(o) bytes,
 *           aligned to 16.
 * o, found  [in]
 * reader    [in]  copied; its ctx must outlive the object.
 * now_ms    time of the first event or earlier.
 * out       [out] the object, inside mem.
 * Returns 0; KV_EINVAL (options that contradict each other); KV_ECORRUPT (found
 * contradicts itself or the log); KV_EFORMAT (an entry of unknown type); the
 * reader's errors. There is no close: forget the memory. */
KV_MUST_CHECK int raft_init(void *mem, const struct raft_options *o,
                            const struct raft_restore *found,
                            const struct raft_log_reader *reader, uint64_t now_ms,
                            struct raft **out);

/* ---- work ---- */

/* Takes one event and says what has to be done.
 *
 * Returns 0, or an error with *out_update still valid (it then only repeats the
 * standing facts): KV_ENOTLEADER (PROPOSE, PROPOSE_CONFIG, READ, TRANSFER at a
 * replica that does not lead; PROPOSE, PROPOSE_CONFIG also while it hands over),
 * KV_EBUSY (the window is full: nothing was appended; RAFT_READS_MAX reads wait; a
 * configuration change or transfer is going on, or it is too early for one),
 * KV_EINVAL (a configuration that cannot be), KV_EPROTO (a message that no correct
 * peer sends; ignored). Fatal, the group must stop: KV_ECORRUPT (a peer's entry
 * contradicts a committed one), KV_EFORMAT (unknown entry type), and the reader's
 * KV_EDAMAGED; with that one the update is whole: carry it out, then stop or feed
 * RAFT_EV_IMPAIRED. */
KV_MUST_CHECK int raft_step(struct raft *r, const struct raft_event *ev,
                            struct raft_update *out_update);

/* ---- looking in ---- */

struct raft_peer_status {
    raft_id id;
    raft_index match;   /* Known durable there. */
    raft_index next;    /* Next entry to send. */
    uint64_t active_ms; /* When it last answered; 0 never in this term. */
    bool in_snapshot;   /* A snapshot is on its way to it. */
    bool amnesiac;      /* Its log went back behind what it acked: not counted. */
};

struct raft_status {
    enum raft_role role;
    raft_id id;
    raft_id leader;
    raft_term term;
    raft_id vote;
    struct raft_base base;
    struct raft_pos last;
    raft_index last_durable;
    raft_index commit;
    raft_index applied; /* Goes back only when a lost state is replaced. */
    uint64_t last_hash;
    uint64_t last_time_ms;
    bool can_read; /* Leader whose no-op is committed. */
    bool transferring;
    bool impaired;        /* An entry or the state is damaged. */
    uint32_t peers_count; /* Filled for leaders. */
    struct raft_peer_status peers[RAFT_REPLICAS_MAX];
};

void raft_status_get(const struct raft *r, struct raft_status *out);

/* How old the applied state can be at most, in ms of this replica's own clock: it knows
 * everything that was acknowledged before now_ms - *out_ms. False: nothing is known,
 * since no leader was heard of since raft_init(), or a lost state was replaced. */
bool raft_age_get(const struct raft *r, uint64_t now_ms, uint64_t *out_ms);

/* The configuration in force (the newest in the log, committed or not, §6), and the
 * index of its entry. The pointer is valid until the next step. */
const struct raft_config *raft_config_get(const struct raft *r, raft_index *out_index);

/* The configuration in force and the one before it, which is committed. Pointers are
 * valid until the next step. */
struct raft_config_view {
    const struct raft_config *now;
    const struct raft_config *before;
    raft_index now_index;
    raft_index before_index;
    bool is_committed; /* This replica knows that `now` is. */
};
void raft_config_view_get(const struct raft *r, struct raft_config_view *out);

/* Position, hash, time and size of any entry in the log, from the window or the
 * reader. Errors as raft_log_reader.meta. */
KV_MUST_CHECK int raft_meta_get(const struct raft *r, raft_index index,
                                struct raft_meta *out_meta);

/* Walks the whole state and asserts the local invariants (reliability.md 4.1:
 * 2, 6, 7, 8, 10, 16). Called after each step in builds with KV_DEBUG_CHECKS. */
void raft_check(const struct raft *r);

#endif
