/* server/node.h - one node: its groups, its peers, its clients, its cluster map.
 *
 * A node is a value without globals: kvd makes one, the simulator seven. It is told
 * what happened through the events in server/env.h and acts through struct env. This
 * header is for server/ itself, server/uv_*.c and tests; struct node is opened here
 * because its parts (router, peers, meta, balance) are files of their own.
 *
 * Needs:    server/env.h, disk.h, group.h, request.h, rpc/map.h.
 * Used by:  server/, tests/server, tests/sim.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_NODE_H
#define KV_SERVER_NODE_H

#include "raft/base/arena.h"
#include "raft/base/bug.h"
#include "rpc/map.h"
#include "server/disk.h"
#include "server/env.h"
#include "server/group.h"
#include "server/request.h"
#include "storage/store.h"

enum {
    NODE_META_GROUP = 0,
    NODE_DEADLINE_MS_MAX = 60 * 1000, /* Of any request. */
};

/* One node of --initial-cluster. */
struct node_address {
    uint32_t id;
    char host[64];
    uint16_t client_port;
    uint16_t peer_port;
    uint16_t http_port; /* 0 unknown. */
    char zone[32];      /* "" unless it is this node's own --zone. */
};

struct node_config {
    uint32_t id;
    struct node_address
        nodes[STORE_NODES_MAX]; /* Ascending by id; this node included. */
    uint32_t nodes_count;
    char zone[32];
    uint32_t groups;          /* Data groups to form the cluster with; default 8. */
    uint32_t replicas;        /* Per group; default 3. */
    uint32_t vnodes;          /* Points of a group on the ring of keys; default 512. */
    uint32_t max_connections; /* Default 4096. */
    uint32_t election_timeout_ms, heartbeat_ms; /* 150, 50 */
    uint32_t log_window;                        /* See group.h. */
    uint64_t log_bytes_max;                     /* See group.h; 128 MiB. */
    size_t memory_bytes_max; /* Budget over requests, buffers and queues; 256 MiB. */
    size_t delta_bytes_max;  /* Of one delta of one group. */
    size_t tail_bytes_max;   /* See group.h; 0: a share of the memory, 1 MiB at most. */
    size_t history_bytes_max; /* Of a watched group's changes, for watches that resume;
                                 * default 8 MiB, an eighth of it while none watches. */
    uint32_t checkpoint_ms_max;   /* Default 30000. */
    uint64_t scrub_bytes_per_s;   /* Default 8 MiB; 0 off. */
    uint32_t request_deadline_ms; /* Default 5000; and at most 60000. */
#ifdef KV_MUTANTS
    uint32_t bug; /* Planted: enum kv_bug in raft/base/bug.h; 0: none. */
#endif
    uint32_t requests_max;      /* Under way on this node; more get BUSY; 65536. */
    uint32_t waiting_max;       /* For a leader, per group; more get BUSY; 8192. */
    struct group_limits limits; /* Of each group. */
};

/* Fills in the defaults; id and nodes stay to be set. */
void node_config_init(struct node_config *c);

enum node_phase {
    NODE_FORMING, /* Waits until it has seen every initial node; groups do not run. */
    NODE_RUNNING,
    NODE_STOPPING, /* Hands its leaderships over, then it may be closed. */
    NODE_HALTED,   /* A fatal error was reported to the environment. */
};

struct peers;
struct router;
struct conns;
struct meta;
struct balance;
struct metrics;
struct ranges;
struct quorums;
struct timers;
struct upkeep;
struct watches;
struct news;

enum {
    NODE_MAGIC = 0x4e4f4445,
    NODE_GROUP_WORDS = (KV_GROUPS_MAX + 64) / 64, /* Of a bit set over group ids. */
};

struct node {
    uint32_t magic;
    enum node_phase phase;
    struct node_config config;
    struct env *env;
    struct store *store;
    struct store_identity identity;
    uint64_t boot_nonce; /* Random per process. */
    uint64_t now_ms;     /* Of this turn. */

    struct map map; /* Current cluster map; epoch 0 until meta has one. */
    bool map_known;
    struct group **groups; /* By group id, [0, groups_cap); NULL: not on this node. */
    uint32_t groups_cap;
    uint32_t groups_end; /* Groups that were ever opened have ids below it. */

    struct disk *disk;       /* server/disk.c */
    struct peers *peers;     /* server/peers.c: links, hello, coalescing, forwards */
    struct router *router;   /* server/router.c: waiting and forwarded requests */
    struct conns *conns;     /* server/conn.c */
    struct meta *meta;       /* server/meta.c: forming the cluster, map changes */
    struct balance *balance; /* server/balance.c */
    struct metrics *metrics; /* server/metrics.c */
    struct upkeep *upkeep;   /* server/upkeep.c: sweeping and scrubbing */
    struct ranges *ranges;   /* server/range.c */
    struct quorums *quorums; /* server/quorum.c: quorum reads */
    struct watches *watches; /* server/watch.c */
    struct news *news;       /* server/news.c */
    struct timers *timers;   /* server/timers.c: deadlines of the groups */
    struct request_pool *requests;
    struct rpc_decoder decoder; /* For the message at hand. */

    uint64_t touched[NODE_GROUP_WORDS]; /* Groups that had an event this turn. */
    uint64_t flushed[NODE_GROUP_WORDS]; /* Groups whose deadlines are to be asked. */
    uint64_t waiting[NODE_GROUP_WORDS]; /* Groups that hold requests with deadlines. */
    uint64_t expire_next_ms;            /* When their deadlines are looked at. */
    uint64_t start_ms;                  /* Of this process, for its age. */
    uint64_t stop_next_ms;              /* STOPPING: when to hand over again. */
    size_t served_bytes;                /* Values given to readers in this turn. */
    bool decoder_open;
    bool in_turn_end; /* node_turn_end() is on the stack. */

    uint32_t leader_hints[1024 + 1]; /* Node that was last said to lead a group; 0. */
    char waiting_for[160]; /* What a starting node waits for; "" when nothing. */
};

/* ---- life ---- */

/* Makes a node over an open store [borrowed]. Loads the identity, opens the groups it
 * hosts, dials nobody yet (the first node_tick does).
 * error_text  one clear line when it fails.
 * 0, KV_EINVAL (config), KV_ELOST (identity of another node or cluster), errors of
 * group_open. */
KV_MUST_CHECK int node_new(const struct node_config *c, struct env *env,
                           struct store *store, struct node **out, char *error_text,
                           size_t error_bytes);
/* Starts a clean stop: hands leaderships over, takes no new requests. Done when
 * node_stopped() is true or the caller's patience ends. */
void node_stop(struct node *n);
bool node_stopped(const struct node *n);
/* Frees everything; links and conns are the environment's to close. No job running. */
void node_free(struct node *n);

/* ---- for the files of server/ ---- */

static inline struct group *node_group(const struct node *n, group_id id)
{
    return id < n->groups_cap ? n->groups[id] : NULL;
}

/* The group had an event: it is flushed at the turn's end, and its deadline is asked
 * again. Whoever calls a group_*() that may change it calls this, too. */
static inline void node_group_touch(struct node *n, group_id id)
{
    n->touched[id / 64] |= (uint64_t)1 << (id % 64);
}

/* Logs through the environment, printf-like. */
void node_log(struct node *n, enum log_level level, const char *format, ...)
    KV_PRINTF(3, 4);
/* Reports a fatal error once and moves to NODE_HALTED. */
void node_halt(struct node *n, int code, const char *format, ...) KV_PRINTF(3, 4);
/* Opens a replica of a data group on this node (meta.c, when the map names it). */
KV_MUST_CHECK int node_group_open(struct node *n, group_id id);
/* The meta group applied another map: adopted at the end of this turn. */
void node_map_applied(struct node *n, struct kv_bytes encoded);
/* Node that hosts `replica` of `group` by the map, 0 if unknown; and back. */
uint32_t node_of_replica(const struct node *n, group_id group, raft_id replica);
raft_id node_replica_on(const struct node *n, group_id group, uint32_t node);
/* A group's role, leader or term changed: hints, waiting requests, log line. */
void node_group_changed(struct node *n, struct group *g);

/* ---- stations of a request (server/README.md tells the story) ---- */

/* A whole message of a client or a forwarding node: decodes and routes it. */
void node_request(struct node *n, struct request *req);
/* Where to: local leader, another node, or waiting for a leader. */
void router_submit(struct node *n, struct request *req);
/* Sends a raft message to the node of msg->to; entries are fetched with
 * group_records(). Cannot fail: what cannot be sent is lost, as on any network. */
void peers_send_raft(struct node *n, struct group *g, const struct raft_msg *msg);
/* Asks the nodes of a group's other replicas for a damaged entry; hash 0: not known,
 * any entry at that index will be looked at. */
void peers_fetch_entry(struct node *n, struct group *g, raft_index index,
                       uint64_t hash);
/* Records (begin, begin + count] of a group for a message, from the tail or the log:
 * encoded bytes, valid until the next call or turn end. Returns how many, maybe 0. */
uint32_t group_records(struct group *g, raft_index begin, uint32_t count,
                       struct kv_bytes *out_records);
/* Bytes of a snapshot chunk to send; 0 or an error of snapshot_read. */
KV_MUST_CHECK int group_chunk(struct group *g, const struct raft_chunk *chunk,
                              uint8_t *out);

/* ---- what operators see ---- */

/* Answers GET `path` of the HTTP port into `out` (server/admin.c).
 * Returns the HTTP status; *out_type the content type (static). */
struct buf;
int admin_get(struct node *n, const char *path, const char *query, struct buf *out,
              const char **out_type);

#endif
