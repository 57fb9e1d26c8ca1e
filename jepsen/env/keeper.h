/* jepsen/env/keeper.h - the process that owns nodes and network, and its messages.
 *
 * cluster.c forks it and speaks to it over a socket: one request, one reply. It ends
 * when that socket ends, and takes all that it made along: the nodes are its children,
 * the namespaces are held by its descriptors only.
 *
 * Needs:    jepsen/env/net.h.
 * Used by:  jepsen/env/cluster.c, faults.c.
 * Threads:  the keeper has one.
 */
#ifndef KV_JEPSEN_ENV_KEEPER_H
#define KV_JEPSEN_ENV_KEEPER_H

#include "jepsen/env/net.h"

enum {
    KEEPER_ARGS_MAX = 64,
    KEEPER_POINTS_BYTES = 96,
    KEEPER_EXIT_POINT = 99, /* kvd's exit status at a failpoint that was armed. */
    KEEPER_TAG_CONTROL = 1,
    KEEPER_TAG_SIGNAL,
    KEEPER_TAG_NET,
};

enum keeper_verb {
    KEEPER_READY, /* Its own first word: the network stands, or why it does not. */
    KEEPER_START,
    KEEPER_SIGNAL,
    KEEPER_NODES,
    KEEPER_CPU,
    KEEPER_CUT,
    KEEPER_SHAPE,
    KEEPER_HEAL,
    KEEPER_PROBE,
    KEEPER_CLOSE,
};

struct keeper_request {
    enum keeper_verb verb;
    uint32_t mask; /* START, SIGNAL: of nodes. */
    int signal;    /* SIGNAL. */
    bool expected; /* SIGNAL: an end of the process is what we want. */
    uint32_t node; /* CPU. */
    uint32_t percent;
    uint32_t from; /* SHAPE, PROBE: ends. */
    uint32_t to;
    uint32_t count; /* PROBE. */
    uint32_t wait_ms;
    char points[KEEPER_POINTS_BYTES]; /* START: KVD_FAILPOINTS; "" for none. */
    struct fault_grudge grudge;
    struct fault_link link;
};

/* A node as the keeper sees it. */
struct keeper_node {
    enum cluster_node_state state;
    pid_t pid;
    int exit_status;
    uint32_t starts;
    uint32_t deaths;
};

struct keeper_reply {
    int rc;
    char error[CLUSTER_ERROR_BYTES];
    struct keeper_node nodes[CLUSTER_NODES_MAX]; /* NODES; [I - 1] is node I. */
    struct fault_probe probe;                    /* PROBE. */
    char host_seen[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES]; /* READY, as the next. */
    char host_own[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES];
};

/* What the keeper has to know before it begins. Texts are its own: it is a copy of
 * the process. */
struct keeper_config {
    const struct net_ops *net;
    uint32_t nodes;
    uint32_t groups;
    uint64_t seed;
    const char *kvd;
    const char *dir; /* Absolute. */
    const char *pcap;
    const char *preload; /* LD_PRELOAD of the nodes; NULL: no disk layer. */
    const char *const *kvd_args;
};

/* The keeper's life, in the new process. `control` is its end of the socket. */
__attribute__((noreturn)) void keeper_main(int control, const struct keeper_config *k);

#endif
