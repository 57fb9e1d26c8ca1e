/* tests/lib/node_net.h - whole nodes over a virtual clock, links, disks, clients.
 *
 * Each node is the real struct node over an environment of this file: links deliver
 * whole sends in order after a fixed delay, disk jobs end after a fixed time, nothing
 * is random that is not seeded. A killed process takes its links and memory with it,
 * its disk (tests/lib/mem_store.h) stays. One turn per event, as in kvd.
 *
 * Needs:    server/node.h, tests/lib/mem_store.h, rpc/.
 * Used by:  tests/server/test_node*.c, test_peers.c, test_meta.c and others there.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_NODE_NET_H
#define KV_TESTS_LIB_NODE_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/prng.h"
#include "rpc/buf.h"
#include "rpc/msg.h"
#include "rpc/peer.h"
#include "rpc/scan.h"
#include "server/env.h"
#include "server/node.h"
#include "tests/lib/mem_store.h"

enum {
    NET_NODES_MAX = 8,
    NET_LINKS_MAX = 4096,
    NET_CLIENTS_MAX = 512,
    NET_LOG_LINES = 4096,
    NET_PEER_PORT = 2000, /* + id */
    NET_CLIENT_PORT = 1000,
};

struct net;

struct net_event {
    uint64_t at_us, seq;
    int kind;
    uint32_t node; /* Who gets it. */
    uint32_t life; /* Only that life of the node. */
    uint64_t id;   /* Link or conn. */
    uint64_t other;
    bool flag;
    uint8_t *data;
    size_t len;
    struct disk_job *job;
};

/* One end of a link. */
struct net_link {
    uint32_t owner, peer;
    uint32_t life;
    uint64_t other; /* Id of the other end; 0: none yet. */
    bool open;
    struct buf raw; /* peer 0: what the node sent to the test. */
};

struct net_client {
    bool used, open;
    uint32_t node;
    uint64_t conn;
    bool reading;    /* The node wants its bytes. */
    struct buf in;   /* What the node sent. */
    size_t at;       /* Read so far. */
    uint64_t queued; /* Bytes that the client does not read: see net_stall(). */
    bool stalled;
    uint32_t msgid;
};

struct net_node {
    struct env env; /* First. */
    struct net *net;
    uint32_t id;
    bool up;
    uint32_t life;
    bool fresh; /* Nobody ever ran on this disk. */
    struct node *node;
    struct mem_store *store;
    struct node_config config;
    struct disk_job *running[DISK_LANES_COUNT];
    struct disk_job *queue[DISK_LANES_COUNT];
    int halt_code;
    char halt_text[256];
    char error_text[256];
};

struct net {
    uint64_t now_us, seq;
    uint32_t nodes_count;
    uint32_t delay_us, disk_us;
    struct prng prng;
    struct net_node nodes[NET_NODES_MAX + 1]; /* By id. */
    struct net_link links[NET_LINKS_MAX];     /* Id - 1. */
    uint32_t links_count;
    struct net_client clients[NET_CLIENTS_MAX];
    uint64_t conn_id;
    bool cut[NET_NODES_MAX + 1][NET_NODES_MAX + 1]; /* [from][to]: nothing arrives. */
    struct net_event *heap;
    uint32_t heap_count, heap_cap;
    char (*lines)[160]; /* Log lines of all nodes. */
    uint32_t lines_count;
    bool trace; /* Print them. */
    uint64_t events;
    /* Sees every send between nodes before it travels; true: lose it. May be NULL. */
    bool (*lose)(struct net *net, uint32_t from, uint32_t to, struct kv_bytes frames);
    void *lose_ctx;
};

struct net_options {
    uint32_t nodes, groups, replicas;
    const char *zones[NET_NODES_MAX + 1]; /* By id; NULL: none. */
};

/* ---- life ---- */

/* Makes empty disks and configurations; starts nobody. Aborts without memory. */
struct net *net_new(const struct net_options *o);
void net_free(struct net *net);

/* Starts a node's process on its disk. 0 or node_new()'s error (error_text). */
int net_start(struct net *net, uint32_t id);
void net_start_all(struct net *net);
/* kill -9. */
void net_kill(struct net *net, uint32_t id);
/* Its disk is replaced by an empty one. */
void net_wipe(struct net *net, uint32_t id);
/* Nothing arrives from a at b and back. */
void net_cut(struct net *net, uint32_t a, uint32_t b, bool cut);
void net_isolate(struct net *net, uint32_t id, bool cut);

/* A link to a node whose other end is the test: what the node sends is kept. */
uint64_t net_raw_open(struct net *net, uint32_t node);
void net_raw_send(struct net *net, uint64_t link, struct kv_bytes bytes);
/* What came so far; false in *out_open: the node closed it. */
struct kv_bytes net_raw_received(struct net *net, uint64_t link, bool *out_open);

/* ---- time ---- */

void net_run_ms(struct net *net, uint64_t ms);
/* Runs until `done` is true; false when that takes longer than max_ms. */
bool net_run_until(struct net *net, bool (*done)(struct net *net, void *ctx), void *ctx,
                   uint64_t max_ms);
/* Every data group has a leader that all running nodes know. */
bool net_is_ready(struct net *net, void *ctx);

/* ---- clients ---- */

/* Connects to a node; NULL when it refuses or is down. */
struct net_client *net_connect(struct net *net, uint32_t node);
void net_disconnect(struct net *net, struct net_client *c);
/* Sends raw bytes. */
void net_send(struct net *net, struct net_client *c, const void *data, size_t len);
/* Sends a request; returns its msgid. */
uint32_t net_ask(struct net *net, struct net_client *c, struct rpc_request *q);
/* The client reads nothing from now on (or again); what is sent is counted. */
void net_stall(struct net_client *c, bool stalled);
/* Takes the next whole response that has arrived; false when there is none. */
bool net_take(struct net_client *c, struct kv_bytes *out);
/* Asks and runs until the answer is there. The reply lives until the next call with the
 * same decoder. 0; KV_ETIMEOUT (none within max_ms), KV_ECLOSED. */
int net_call(struct net *net, struct net_client *c, struct rpc_request *q,
             struct rpc_decoder *d, struct rpc_reply *out);
/* Shorthands on a fresh connection: the reply's error, or KV_ECLOSED, KV_ETIMEOUT. */
int net_put(struct net *net, uint32_t node, const char *key, const char *value);
/* *out_found false: no such key. value: at least 64 bytes. */
int net_get(struct net *net, uint32_t node, const char *key, bool *out_found,
            char *value);

/* ---- looking in ---- */

/* Leader of a group as the running nodes see it, 0 when none or several. */
uint32_t net_leader(struct net *net, uint32_t group);
/* How often a log line containing `part` was written. */
uint32_t net_lines(const struct net *net, const char *part);

#endif
