/* tests/sim/sim.h - the simulated world: real nodes over a heap of events.
 *
 * One process, one thread, one seed: nodes are the real struct node with the real
 * core, groups, codecs and state; clock, network, disk threads and clients are
 * simulated. Everything random comes from the seed, so a seed and a commit give one
 * run, byte for byte.
 *
 * Needs:    server/node.h, tests/lib/mem_store.h, rpc/.
 * Used by:  tests/sim/ (files in reading order: README.md there).
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_SIM_H
#define KV_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "raft/base/prng.h"
#include "rpc/msg.h"
#include "rpc/scan.h"
#include "rpc/token.h"
#include "server/env.h"
#include "server/node.h"
#include "storage/store.h"
#include "tests/lib/store_dir.h"
#include "tests/sim/coverage.h"
#include "tests/sim/faults.h"
#include "tests/sim/judge.h"
#include "tests/sim/linear.h"
#include "tests/sim/memory.h"
#include "tests/sim/trace.h"

enum {
    SIM_NODES_MAX = 7,
    SIM_CLIENTS_MAX = 64,
    SIM_GROUPS_MAX = 65,
    SIM_PORT_CLIENT = 1000, /* + node id */
    SIM_PORT_PEER = 2000,   /* + node id */
};

/* What one seed does; drawn in swarm.c unless an option fixes it. */
struct sim_swarm {
    uint32_t nodes, groups, replicas, clients, keys;
    uint32_t ops_per_s;                   /* Over all clients. */
    uint32_t kinds;                       /* Of clients: bits, kinds.h. */
    uint32_t delay_us_min, delay_us_mean; /* One way. */
    uint32_t disk_us_min, disk_us_mean;
    uint32_t bug;           /* Planted (tests/lib/bug.h); never drawn. */
    struct sim_strengths f; /* Faults: faults.h. */
    uint32_t log_window, checkpoint_ms;
    bool lmdb; /* The real store on a simulated disk. */
    bool keep; /* Leave its folders behind. */
};

/* Counted where it happens; printed as the table of what happened. disk_*: with
 * --store lmdb, calls on the disk; crashes between the calls of a job, and of an
 * opening; writes that a crash kept, lost and tore; calls that failed; jobs without
 * space. */
#define SIM_COUNT_MAP(X) \
    X(events)            \
    X(turns)             \
    X(ops)               \
    X(ops_ok)            \
    X(ops_fail)          \
    X(ops_unknown)       \
    X(quorum_reads)      \
    X(quorum_ok)         \
    X(stale_reads)       \
    X(local_by_leader)   \
    X(session_reads)     \
    X(once_sessions)     \
    X(once_new)          \
    X(once_keys)         \
    X(once_txns)         \
    X(once_done_later)   \
    X(once_done_again)   \
    X(once_expired)      \
    X(once_gave_up)      \
    X(once_ahead)        \
    X(once_copies)       \
    X(once_copies_same)  \
    X(once_copies_old)   \
    X(once_other)        \
    X(once_looks)        \
    X(delranges)         \
    X(delrange_keys)     \
    X(delrange_more)     \
    X(ttl_puts)          \
    X(ttl_ended)         \
    X(if_rev_puts)       \
    X(bank_sums)         \
    X(bank_transfers)    \
    X(bank_not_there)    \
    X(bank_cross_slot)   \
    X(watch_opened)      \
    X(watch_resumed)     \
    X(watch_events)      \
    X(watch_marks)       \
    X(watch_overflow)    \
    X(watch_replaced)    \
    X(watch_cut_off)     \
    X(watch_compacted)   \
    X(watch_no_replica)  \
    X(watch_unclear)     \
    X(locks_taken)       \
    X(locks_taken_later) \
    X(locks_places)      \
    X(locks_not_got)     \
    X(locks_kept)        \
    X(locks_released)    \
    X(locks_infos)       \
    X(locks_sleeps)      \
    X(locks_ended)       \
    X(locks_expired)     \
    X(locks_changes)     \
    X(locks_changes_far) \
    X(locks_fenced)      \
    X(locks_fenced_far)  \
    X(locks_unsure)      \
    X(frames)            \
    X(log_jobs)          \
    X(state_jobs)        \
    X(leaders)           \
    X(commits)           \
    X(checkpoints)       \
    X(snapshots)         \
    X(halts)             \
    X(peace_partial)     \
    X(left_dead)         \
    X(left_cut_off)      \
    X(probes)            \
    X(reconnects)        \
    X(disk_calls)        \
    X(disk_cuts)         \
    X(disk_open_cuts)    \
    X(disk_kept)         \
    X(disk_lost)         \
    X(disk_torn)         \
    X(disk_errors)       \
    X(disk_no_space)     \
    SIM_FAULT_COUNT_MAP(X)

struct sim_counts {
#define SIM_COUNT_FIELD(name) uint64_t name;
    SIM_COUNT_MAP(SIM_COUNT_FIELD)
#undef SIM_COUNT_FIELD
};

struct sim;
struct client_kind;
struct sim_options;
struct peace;
struct mem_store;
struct holders;
struct chains;
struct store_lmdb;

struct sim_node {
    struct env env; /* First: the node's env pointer is this. */
    struct sim *sim;
    struct prng prng; /* What it draws, and how its disk is. */
    uint32_t id;
    struct mem_store *disk; /* Survives crashes. NULL: it is the other one. */
    struct store_lmdb *lmdb;
    struct node *node; /* NULL while it is down. */
    uint64_t life;     /* Counts starts; events of an older life are dropped. */
    bool halted;
    bool dying; /* Being crashed: nothing that it says or does is seen. */
    /* What it is going to die of; 0: nothing. */
    uint32_t doom_in;    /* Calls of its env until it dies in that turn. */
    uint32_t doom_job;   /* 1 + enum sim_job_doom. */
    uint32_t stall_job;  /* The same, of a job that will hang: */
    uint64_t stall_us;   /* so much longer. */
    bool doom_job_after; /* The job is done when it dies. */
    int halt_code;
    char halt_why[256];
    uint64_t paused_until_us;
    int64_t rate_ppm;
    uint64_t clock_base_us; /* What its clock showed when the world began. */
    /* What is wrong with its disk (faults_disk.c). */
    bool is_lost;      /* Its directory or a vote of it: it must not take part again. */
    bool has_misread;  /* A read of this life will fail, or did. */
    bool has_io_error; /* A write of this life will fail, or did. */
    uint64_t disk_slow_until_us;
    uint32_t memory_in;    /* Allocations until one fails (memory.h). */
    bool has_memory_fault; /* One will fail in this life, or did. */
    int64_t wall_off_ms;   /* What steps of the wall clock add up to. */
    uint64_t tick_at_us;   /* When the next tick event fires; 0 none. */
    struct disk_job *running[DISK_LANES_COUNT];
    struct disk_job *queue_head[DISK_LANES_COUNT], *queue_tail[DISK_LANES_COUNT];
};

/* One end of a connection between two nodes. */
struct sim_link {
    uint32_t owner, peer_node;
    uint64_t life;  /* Of the owner. */
    uint64_t other; /* The other end, 0 while dialing. */
    uint64_t last_at_us;
    bool open;
};

enum sim_event_kind {
    EV_TICK,
    EV_DISK,
    EV_LINK_CONNECT, /* At the dialed node. */
    EV_LINK_OPEN,    /* At the dialing node. */
    EV_LINK_DATA,
    EV_LINK_CLOSED,
    EV_CONN_OPEN,
    EV_CONN_DATA,
    EV_CONN_CLOSED, /* At the node. */
    EV_CLIENT_DATA,
    EV_CLIENT_CLOSED,
    EV_CLIENT_WAKE,
    EV_RESTART,
    EV_NEMESIS,
};

struct sim_event {
    uint64_t at_us, seq;
    enum sim_event_kind kind;
    uint32_t node; /* Whose event; clients: number of the client. */
    uint64_t life; /* Of the node. */
    uint64_t id;   /* Link, conn. */
    uint64_t arg;
    uint8_t *data; /* Owned by the event. */
    uint32_t len;
};

enum {
    SIM_KEYS_MAX = 900,
    SIM_TOKEN_BYTES = TOKEN_HEAD_BYTES + SIM_GROUPS_MAX * TOKEN_GROUP_BYTES_MAX,
};

/* What was committed since when (levels.c). */
struct sim_fact {
    uint64_t at_us;
    uint32_t group;
    raft_index commit;
};

struct sim_past {
    struct sim_fact *facts; /* In order of time. */
    size_t count, cap;
    raft_index newest[SIM_GROUPS_MAX];
};

struct sim_client {
    struct prng prng; /* What it asks for. */
    uint32_t number;
    const struct client_kind *kind;   /* Of the client, */
    const struct client_kind *asking; /* and whose the request under way is. */
    void *own;                        /* Of the kind. */
    uint32_t node;                    /* Connected to; 0 not. */
    uint64_t conn;                    /* 0: none. */
    uint32_t msgid;
    bool busy;
    bool *probe; /* Set when the write under way is done; NULL: it is no probe. */
    /* The request under way (workload.c). */
    enum rpc_method method;
    int wants;       /* Error that it must get; 0: any outcome. */
    bool in_history; /* op goes there when it ends. */
    bool is_range;   /* Reads the keys [range_from, range_to) of a family; to
                      * UINT32_MAX: all. */
    uint32_t range_from, range_to;
    uint32_t ttl_ms; /* Of the put under way; 0: none (vanish.c). */
    struct linear_op op;
    raft_index least[SIM_GROUPS_MAX];     /* What was committed when it was asked, */
    raft_term least_term[SIM_GROUPS_MAX]; /* and the newest term that had a leader. */
    uint64_t asked_step;                  /* Steps judged before it was asked. */
    enum rpc_level level;                 /* levels.c: asked for, */
    uint32_t max_age_ms;                  /* with this bound; UINT32_MAX: none, */
    bool has_token;                       /* and with a token. */
    uint8_t token[SIM_TOKEN_BYTES];
    size_t token_len;
    uint64_t seen[SIM_GROUPS_MAX]; /* What the token stands for. */
    uint64_t seen_key[SIM_KEYS_MAX];
    uint64_t deadline_us;
    uint64_t deaf_until_us; /* watcher.c: it reads nothing. */
    uint64_t wake_us;       /* The kind wants to go on then; 0: after thinking. */
    struct scan scan;
    uint8_t *in;
    size_t in_len, in_cap;
    struct rpc_decoder decoder;
};

/* What a revision changed (truth.h). */
struct sim_truth_rev {
    uint8_t *changes; /* [len] */
    uint32_t len;
    uint32_t node; /* That showed it first. */
    bool is_known;
};
struct sim_truth {
    struct sim_truth_rev *revs; /* [cap] */
    size_t cap;
    uint64_t newest; /* That is known. */
};
/* Up to where a process was looked at. */
struct sim_truth_seen {
    uint64_t life;
    uint64_t rev;
};

struct sim {
    uint64_t seed;
    struct prng prng; /* The world's: networks, clients, and what happens at the end. */
    struct prng chances[CHANCES_COUNT];
    struct prng *dice;           /* What faults_draw() takes. */
    uint64_t begun[SIM_NEMESES]; /* Faults by kind. */
    uint32_t slow_factor;        /* Of disks that are slow. */
    uint32_t hunted_group;       /* Its new leaders die, */
    uint64_t hunt_until_us;      /* until then. */
    uint64_t now_us, end_us, seq, next_id;
    bool healed; /* Second phase: no new faults. */
    bool gone;   /* Its process died: what its pointers lead to is not there. */
    const struct sim_options *options;
    uint64_t faults; /* The highest number of one that began or was left out. */
    struct sim_swarm swarm;
    struct sim_counts counts;
    struct sim_event *heap;
    size_t heap_count, heap_cap;
    struct sim_node nodes[SIM_NODES_MAX + 1];       /* By id; [0] unused. */
    bool cut[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1]; /* [from][to] */
    bool is_ruined[SIM_GROUPS_MAX]; /* What it has lost nobody else has. */
    uint64_t clogged_until_us[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    uint32_t under_way[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1]; /* Deliveries. */
    struct sim_link *links;
    size_t links_cap; /* Link ids are 1 + index. */
    struct sim_client clients[SIM_CLIENTS_MAX];
    struct linear_op *ops;
    size_t ops_count, ops_cap;
    uint64_t next_value;
    struct sim_past past;
    struct sim_truth truth[SIM_GROUPS_MAX];
    struct sim_truth_seen truth_seen[SIM_NODES_MAX + 1][SIM_GROUPS_MAX];
    struct holders *holders;   /* Locks; NULL: no client locks. */
    struct chains *chains;     /* What is changed under them. */
    struct arena peek;         /* kinds.c: a value of the state. */
    char dir[STORE_DIR_BYTES]; /* With the folders of all nodes; "": none. */
    struct sim_cover cover;
    struct trace trace;
    struct judge judge; /* The first violation is in it. */
};

/* ---- world.c: nodes, clocks, disks ---- */
void world_start_node(struct sim *s, uint32_t id);
void world_crash_node(struct sim *s, uint32_t id);
bool world_is_up(const struct sim *s, uint32_t id);
void world_turn_end(struct sim *s, uint32_t id);
void world_disk_event(struct sim *s, uint32_t id, enum disk_lane lane);
extern const struct env_ops world_env_ops;

/* ---- store.c: a node's store, in memory or on a simulated disk ---- */
/* Makes a new one. 0, or a KV_E* with a line in `text`. */
KV_MUST_CHECK int store_make(struct sim *s, uint32_t id, char *text, size_t text_bytes);
void store_free_all(struct sim *s);
/* The open store, also of a node that is down; another one after a crash. */
struct store *store_of(struct sim_node *n);
void store_run(struct sim_node *n, struct disk_job *job);
/* A write will fail; there is no space, with the reserve gone as well, or there is. */
void store_fail_write(struct sim_node *n);
void store_full(struct sim_node *n, bool full);
void store_full_to_the_brim(struct sim_node *n);
/* The power fails: what was under way may have happened, in part or as a whole. */
void store_crash_begin(struct sim_node *n);
/* The node is gone: what is left can be looked at with store_of(). */
void store_crash_end(struct sim_node *n);
/* Before a node starts. Returns as store_make(). */
KV_MUST_CHECK int store_start(struct sim_node *n, char *text, size_t text_bytes);

/* ---- heap.c ---- */
void heap_push(struct sim *s, struct sim_event ev);
bool heap_pop(struct sim *s, struct sim_event *out);

/* ---- net.c ---- */
/* Both ends hear that the connections between these nodes are gone; other 0: all. */
void net_reset(struct sim *s, uint32_t node, uint32_t other);
uint64_t net_dial(struct sim *s, uint32_t from, uint16_t port);
int net_link_send(struct sim *s, uint32_t from, uint64_t link, struct kv_bytes frames);
uint64_t net_link_queued(struct sim *s, uint64_t link);
void net_link_close(struct sim *s, uint32_t from, uint64_t link);
void net_event(struct sim *s, struct sim_event *ev);
void net_node_down(struct sim *s, uint32_t id);
uint64_t net_delay_us(struct sim *s);

/* ---- client.c ---- */
void client_init_all(struct sim *s);
void client_event(struct sim *s, struct sim_event *ev);
void client_from_node(struct sim *s, uint32_t node, uint64_t conn,
                      struct kv_bytes bytes);
void client_close_from_node(struct sim *s, uint32_t node, uint64_t conn);
void client_node_down(struct sim *s, uint32_t node);
bool client_all_idle(const struct sim *s);
/* It has no request under way: its connection ends, the next one goes elsewhere. */
void client_hang_up(struct sim *s, struct sim_client *c);
/* An idle client writes to this group, through a node of the core. */
void client_probe(struct sim *s, struct peace *p, uint32_t group);
void client_free_all(struct sim *s);

/* ---- watcher.c ---- */
/* What a connection has not taken yet. */
uint64_t watcher_queued(const struct sim *s, uint64_t conn);

/* ---- watch.c: what the judge is told ---- */
void watch_init(struct sim *s);
void watch_stepped(struct env *e, const struct env_step *step);
/* A process starts over its disk; one ended, or its disk was changed. */
void watch_start(struct sim *s, uint32_t id);
void watch_crash(struct sim *s, uint32_t id);
/* A turn of the node ended. */
void watch_turn(struct sim *s, uint32_t id);
void watch_frames(struct sim *s, struct kv_bytes frames);

/* ---- check.c ---- */
void check_history(struct sim *s);

/* ---- report.c ---- */
void report_failure(const struct sim *s, const struct sim_options *o);

/* ---- run.c ---- */
/* Notes a failure of invariant 18: a node does not work. Others: judge_fail(). */
void sim_fail(struct sim *s, const char *format, ...) KV_PRINTF(2, 3);
void sim_note(struct sim *s, uint32_t node, const char *line);
static inline bool sim_failed(const struct sim *s)
{
    return s->judge.violated != JUDGE_NOTHING;
}

/* What came of it. */
struct sim_result {
    enum judge_number violated; /* JUDGE_NOTHING: all is well. */
    int death; /* The signal that its process died of; 0: it did not. */
    uint64_t sim_us, failed_us; /* Simulated; when it failed. */
    uint64_t peace_us;          /* From the last fault until all was well. */
    uint64_t digest;
    uint64_t faults; /* Their highest number. */
    struct sim_swarm swarm;
    struct sim_counts counts;
    struct sim_cover cover;
};

/* Runs one seed in `s`, which the caller took from kv_mem_zalloc() or a zeroed shared
 * mapping; true when all is well. */
bool sim_run(struct sim *s, uint64_t seed, const struct sim_options *o,
             struct sim_result *out);

#endif
