/* tests/lib/raft_cluster.h - a cluster of raft objects in one process, driven by hand.
 *
 * Each replica has a simulated disk; messages lie in one queue until the test
 * delivers, drops or doubles them; time moves when the test says so. Nothing happens
 * on its own, so a run depends on its commands only. The judge looks at every step.
 *
 * Needs:    tests/lib/raft_disk.h, raft_judge.h.
 * Used by:  tests/raft.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_RAFT_CLUSTER_H
#define KV_TESTS_LIB_RAFT_CLUSTER_H

#include "tests/lib/raft_judge.h"

enum {
    RAFT_CLUSTER_NODES_MAX = 9,
    RAFT_CLUSTER_QUEUE_MAX = 2048,
    RAFT_CLUSTER_READS_MAX = 4096,
};

struct raft_cluster_node {
    raft_id id;
    bool made; /* Has a disk. */
    bool up;   /* Has a raft object. */
    void *mem;
    struct raft *raft;
    struct raft_options options;
    struct raft_disk disk;
    struct raft_disk_log view; /* The log as raft sees it: durable or not. */
    raft_index applied;        /* In memory. */
    raft_index commit;
    enum raft_role role;
    raft_id leader;
    raft_term term;
    uint64_t deadline_ms;
    uint64_t clock_ms; /* Added to the cluster's time: clocks of replicas differ. */
    bool snapshot_wanted;
    bool lost; /* Its state is damaged; until a snapshot is installed, or restarted. */
    struct raft_snapshot snapshot; /* The newest that it made; id 0: none. */
};

struct raft_cluster_msg {
    struct raft_msg m; /* Entries are in the arena. */
    uint64_t number;   /* Order of sending. */
};

struct raft_cluster_read {
    raft_id node;
    raft_index commit_max; /* What anybody knew committed when it was asked, */
    raft_term leader_max;  /* and the newest term that had a leader. */
    bool done;
    bool ok;
    raft_index index;
};

struct raft_cluster {
    struct arena arena;
    struct raft_judge *judge;
    uint64_t now_ms;
    uint64_t seed;
    struct raft_cluster_node nodes[RAFT_CLUSTER_NODES_MAX + 1]; /* By id. */
    uint32_t queue_count;
    struct raft_cluster_msg queue[RAFT_CLUSTER_QUEUE_MAX];
    uint64_t messages_sent;
    uint64_t commands_made; /* Payloads are numbers. */
    uint64_t snapshots_made;
    uint32_t reads_count;
    struct raft_cluster_read reads[RAFT_CLUSTER_READS_MAX]; /* Tag - 1. */
    /* What happened so far. */
    uint64_t steps;
    uint64_t truncations;
    uint64_t installs;
    uint64_t configs;
    bool auto_snapshot; /* Make a snapshot as soon as one is wanted. */
    bool auto_apply;    /* Feed APPLIED as soon as something is committed. */
    bool blocked[RAFT_CLUSTER_NODES_MAX + 1]
                [RAFT_CLUSTER_NODES_MAX + 1]; /* [from][to] */
    /* Receives one line per thing that happens; may be NULL. */
    void (*trace)(void *ctx, const char *line);
    void *trace_ctx;
};

/* ---- life ---- */

/* An empty cluster; ends with raft_cluster_free(). */
struct raft_cluster *raft_cluster_new(uint64_t seed);
void raft_cluster_free(struct raft_cluster *c);

/* Gives a replica an empty disk with this initial configuration. Options may be
 * changed before raft_cluster_start(). */
struct raft_cluster_node *raft_cluster_make(struct raft_cluster *c, raft_id id,
                                            const struct raft_config *config);

/* Makes the object from what the disk holds. */
void raft_cluster_start(struct raft_cluster *c, raft_id id);

/* Loses everything that is not durable; the oldest `keep` queued jobs still get
 * through to the disk. */
void raft_cluster_crash(struct raft_cluster *c, raft_id id, uint32_t keep);

/* ---- events; each returns what raft_step() returned ---- */

int raft_cluster_step(struct raft_cluster *c, raft_id id, struct raft_event *ev);
int raft_cluster_tick(struct raft_cluster *c, raft_id id);
int raft_cluster_propose(struct raft_cluster *c, raft_id id, uint32_t count);
int raft_cluster_propose_bytes(struct raft_cluster *c, raft_id id, uint32_t bytes);
int raft_cluster_propose_config(struct raft_cluster *c, raft_id id,
                                const struct raft_config *config);
int raft_cluster_read(struct raft_cluster *c, raft_id id);
int raft_cluster_transfer(struct raft_cluster *c, raft_id id, raft_id to);

/* Finishes up to `jobs` disk jobs. `merge` reports stores in one PERSISTED. Returns
 * how many were done. */
uint32_t raft_cluster_persist(struct raft_cluster *c, raft_id id, uint32_t jobs,
                              bool merge);

/* Its state is damaged; snapshots that end before its checkpoint are of no use. */
void raft_cluster_lose(struct raft_cluster *c, raft_id id);

/* Writes the applied state to disk, as far as the durable log reaches. */
void raft_cluster_checkpoint(struct raft_cluster *c, raft_id id);

/* Drops the log up to `index`, which must be checkpointed; raft hears of it at once or,
 * with tell false, at the next call. */
void raft_cluster_compact(struct raft_cluster *c, raft_id id, raft_index index,
                          bool tell);

/* Makes a snapshot of what is applied up to `index` (0: all) and feeds it. */
void raft_cluster_snapshot(struct raft_cluster *c, raft_id id, raft_index index);

/* Takes the durable entries from `from` on away from a replica that is down. */
void raft_cluster_forget(struct raft_cluster *c, raft_id id, raft_index from);

/* ---- network ---- */

/* Delivers message `at` of the queue; `keep` leaves a copy in it. */
void raft_cluster_deliver(struct raft_cluster *c, uint32_t at, bool keep);
void raft_cluster_drop(struct raft_cluster *c, uint32_t at);

/* Persists and delivers until nothing is left to do. */
void raft_cluster_settle(struct raft_cluster *c);

/* ---- looking in ---- */

/* The replica's own clock. */
uint64_t raft_cluster_now_ms(const struct raft_cluster *c, raft_id id);

/* The replica that leads the highest term; 0: nobody. */
raft_id raft_cluster_leader(const struct raft_cluster *c);

#endif
