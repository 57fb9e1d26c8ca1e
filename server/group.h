/* server/group.h - one replica of one Raft group: the only caller of raft_step().
 *
 * Owns the core, the tail (encoded records in memory), the state, the requests that
 * wait for it, and its checkpoints, compaction and snapshots. It turns requests into
 * proposals and reads, carries out the duties of each update, and ends requests.
 *
 * Needs:    raft/raft.h, storage/state.h, server/disk.h, request.h.
 * Used by:  server/node.c, router.c, disk.c, peers.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_GROUP_H
#define KV_SERVER_GROUP_H

#include "raft/raft.h"
#include "server/disk.h"
#include "server/request.h"

struct history;

struct group; /* Opaque; starts with a magic number. */

/* Bounds that make something wait, be refused or be done in parts. The defaults are for
 * kvd; the simulator sets them so low that the rare branches behind them are common. */
struct group_limits {
    uint32_t queued_max;    /* Writes not yet proposed; more get BUSY. */
    uint32_t batch_max;     /* Writes in one PROPOSE event, */
    size_t batch_bytes_max; /* and their bytes, at least one write. */
    uint32_t ring_max;      /* Indexes with requests, not yet applied; up to 4096. */
    size_t undurable_bytes_max; /* Above it new writes get BUSY. */
    uint32_t read_batches_max;  /* ReadIndex rounds not yet served; up to 128. */
    uint32_t read_count_max;    /* Requests in one of them. */
    size_t serve_bytes_max;     /* Given to readers in a turn of the node. */
    uint32_t apply_flush_max;   /* Entries applied in one go. */
    uint32_t read_ahead_count;  /* Entries read from the log, when apply is behind, */
    size_t read_ahead_bytes;    /* and their bytes, at least one entry. */
    uint32_t retention_ms;      /* See server/apply.h; the same on all nodes, */
    uint32_t results_max;       /* and this one. */
    /* Received chunks on their way to the disk: at least what a leader keeps in flight
     * (raft.snapshot_flight_max); more come only from two leaders at a time. */
    uint32_t chunks_max;
    struct raft_options raft; /* The core's bounds; its id, seed and times are set. */
};

void group_limits_init(struct group_limits *l);

struct group_options {
    group_id id;
    raft_id self;               /* This node's replica number in the group. */
    struct raft_config initial; /* When nothing is stored; no voters: wait. */
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t log_window;    /* Entries behind a checkpoint that are kept for slow
                                 * followers, at least half as many; default 32768. */
    uint64_t log_bytes_max; /* The same in bytes: whichever is reached first; 0: none,
                                 * default 128 MiB. */
    size_t delta_bytes_max; /* Of each of the two deltas; default 16 MiB. */
    size_t tail_bytes_max;  /* Records in memory beyond what the disk still reads. */
    /* A changed state is checkpointed after this, or when nothing has changed for a
     * thirtieth of it. */
    uint32_t checkpoint_ms_max;
    struct group_limits limits;
};

/* Loads what is stored, makes the core and the state, applies nothing yet.
 * 0, KV_ENOMEM, KV_ELOST, KV_EDAMAGED, KV_ECORRUPT, KV_EFORMAT. */
KV_MUST_CHECK int group_open(struct node *n, const struct group_options *o,
                             struct group **out);
/* Frees it; its requests are ended with errors first, no job may be running. */
void group_close(struct group *g);

/* ---- events ---- */

/* Takes a request whose key belongs to this group. It is answered at once (BUSY,
 * NO_SPACE, ...), or later; where this replica does not lead, it goes back through
 * router_submit(). */
void group_submit(struct group *g, struct request *req);
/* Takes a read of level session or stale, if this replica may answer it: at once, or
 * when it has applied what the token names. False: not taken; nothing was done. */
KV_MUST_CHECK bool group_submit_local(struct group *g, struct request *req);
/* What this replica says to a quorum read of a key; out->ok false: nothing. The value
 * lies in `arena` or in the state, valid until it changes. */
struct peer_quorum_answer;
void group_quorum_answer(struct group *g, struct kv_bytes key, struct arena *arena,
                         struct peer_quorum_answer *out);
/* Proposes an internal command (encoded by server/command.h); leader only. No reply:
 * its effect is seen in the state. 0, KV_ENOTLEADER, KV_EBUSY. */
KV_MUST_CHECK int group_propose(struct group *g, struct kv_bytes command);

/* The disk or quota is full: the log behind the checkpoint is given up. */
void group_on_no_space(struct group *g);
void group_on_message(struct group *g, const struct raft_msg *msg);
/* The oldest `writes` disk_log_add() of this group that were not yet reported are
 * durable. */
void group_on_log_done(struct group *g, const struct raft_persisted *persisted,
                       uint32_t writes);
void group_on_job(struct group *g, struct disk_job *job);
/* A hint that a peer's process died. */
void group_on_peer_down(struct group *g, uint32_t node);
/* A damaged entry or row was found, or a damaged entry came from a peer. */
void group_on_damage(struct group *g, const struct store_damage *damage);
void group_on_fetched(struct group *g, raft_index index, struct kv_bytes record);
void group_tick(struct group *g);
/* Turn end: proposes and reads what queued, applies, serves. */
void group_flush(struct group *g);
/* Ends requests whose deadline passed. */
void group_expire(struct group *g, uint64_t now_ms);
/* Hands leadership to the replica on `node`. 0, KV_ENOTLEADER, KV_EBUSY. */
KV_MUST_CHECK int group_transfer(struct group *g, uint32_t node);

/* Proposes another set of voters, learners and W among the replicas that exist; the
 * core makes the joint steps itself. Leader only; the effect is seen in group_config().
 * The caller tells the node (node_group_touch()). 0, KV_ENOTLEADER (also while it hands
 * over), KV_EBUSY (a change is going on, or the term is too young), KV_EINVAL. */
KV_MUST_CHECK int group_propose_config(struct group *g,
                                       const struct raft_config *config);

/* ---- looking in ---- */

group_id group_id_get(const struct group *g);
uint64_t group_deadline_ms(const struct group *g);
bool group_is_dirty(const struct group *g); /* group_flush() has something to do. */
bool group_is_leader(const struct group *g);
/* Node that leads, 0 when unknown. */
uint32_t group_leader_node(const struct group *g);
void group_raft_status(const struct group *g, struct raft_status *out);
const struct raft_config *group_config(const struct group *g);
/* Its core, to look into with the questions of raft/raft.h. */
const struct raft *group_raft(const struct group *g);
const struct state_meta *group_state_meta(const struct group *g);
struct state *group_state(struct group *g);
/* Its state may be shown to clients: not halted, lost or being replaced. */
bool group_can_show(const struct group *g);
/* How old its state can be (raft/fresh.h); RPC_AGE_UNKNOWN. */
uint64_t group_age_ms(const struct group *g);
/* The revision of what it applied last. */
uint64_t group_rev(const struct group *g);
/* What it changed lately, for watches. */
struct history *group_history(struct group *g);
/* The bound of that: of a group that is watched, or is not. */
size_t group_history_bytes(const struct node *n, bool is_watched);
/* Requests that wait in it, writes and reads. */
uint32_t group_requests_count(const struct group *g);
/* 0, or the KV_E* for which this replica stopped; the node goes on. */
int group_halted(const struct group *g);
/* Is the state that of its applied index? A replica that met damage or had no memory in
 * the middle of an entry may have done a part of it: it serves and stores nothing of
 * that. */
bool group_state_is_whole(const struct group *g);

/* Counters for /metrics. */
struct group_stats {
    uint64_t proposals, applied, reads, not_done, unknown, busy;
    uint64_t role_changes, elections_won, checkpoints, snapshots_made,
        snapshots_installed;
    uint64_t compactions;
    size_t tail_bytes, delta_bytes;
    bool state_lost; /* It waits for a snapshot of a leader. */
};
void group_stats_get(const struct group *g, struct group_stats *out);

#endif
