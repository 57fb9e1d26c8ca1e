/* jepsen/env/cluster.h - a cluster of real kvd processes in an environment of its own.
 *
 * Opening one forks a keeper: a small process that is the parent of all nodes, owns
 * their network and their limits, and outlives the harness. When the harness ends in
 * whatever way, the keeper kills the nodes and goes; when the keeper is killed, the
 * kernel kills the nodes. Namespaces have no names, so nothing of them can be left.
 * Nodes are numbered from 1; a set of nodes is a mask with bit I-1 for node I.
 *
 * Three environments with the same verbs:
 *   netns  (root) one network namespace per node, joined by a user-space switch; the
 *          thread that opens the cluster moves into the clients' namespace, and with
 *          it each thread that it starts later. cluster_close() moves it back.
 *   veth   (root) the same namespaces, joined by the kernel's own bridge over veth
 *          pairs; cuts are an nft set. Links cannot be shaped. Needs ip and nft.
 *   proxy  (no root) loopback addresses; a TCP proxy stands in each peer link and
 *          before each client port.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/main, jepsen/nemesis, tests/jepsen.
 * Threads:  open and close: one thread, and open while no other thread runs, for it
 *           forks. All other verbs: any thread, they take turns.
 */
#ifndef KV_JEPSEN_ENV_CLUSTER_H
#define KV_JEPSEN_ENV_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "raft/base/check.h"

enum {
    CLUSTER_NODES_MAX = 9,
    CLUSTER_ADDRESS_BYTES = 48, /* "127.255.255.101:65535" and more. */
    CLUSTER_PATH_BYTES = 512,
    CLUSTER_ERROR_BYTES = 256,
};

/* Bit of node I (1...) in a mask of nodes, and the mask of the first `n` nodes. */
#define CLUSTER_BIT(node) (1u << ((node)-1))
#define CLUSTER_ALL(n)    ((1u << (n)) - 1)

enum cluster_env {
    CLUSTER_AUTO = 0, /* netns where it can be had, else proxy. */
    CLUSTER_NETNS,
    CLUSTER_VETH,
    CLUSTER_PROXY,
};

/* The environment called "auto", "netns", "veth" or "proxy"; false: none is. */
KV_MUST_CHECK bool cluster_env_of(const char *name, enum cluster_env *out_env);

struct cluster_options {
    enum cluster_env env;
    uint32_t nodes;   /* 1 to CLUSTER_NODES_MAX. */
    uint32_t groups;  /* 0: kvd's default. */
    const char *kvd;  /* The program; NULL: "kvd" beside the running program. */
    const char *dir;  /* Is made if missing; node I lives in DIR/nI. */
    const char *pcap; /* netns: all packets of the switch go there; NULL: none. */
    uint64_t seed;    /* Of delays, losses and torn writes. */
    bool bare_disk;   /* Without the disk layer: no power, disk and clock faults. */
    const char *const
        *kvd_args; /* More flags for each node, NULL-terminated; or NULL. */
};

struct cluster;

enum cluster_node_state {
    CLUSTER_NODE_DOWN, /* Never started, or ended because we asked for it. */
    CLUSTER_NODE_UP,   /* The process runs; a paused one as well. */
    CLUSTER_NODE_DIED, /* It ended although nobody asked: see exit_status. */
};

struct cluster_node_info {
    enum cluster_node_state state;
    pid_t pid;       /* 0 unless up. */
    int exit_status; /* As of waitpid(); of the last process that ended. */
    uint32_t starts; /* Processes started so far. */
    uint32_t deaths; /* Of these, how many ended although nobody asked. */
    char client[CLUSTER_ADDRESS_BYTES]; /* "HOST:PORT" for clients (kv_open). */
    char http
        [CLUSTER_ADDRESS_BYTES]; /* "HOST:PORT", past all faults but cuts of netns. */
    char data_dir[CLUSTER_PATH_BYTES];
    char
        log_path[CLUSTER_PATH_BYTES]; /* Standard output and error of all its starts. */
};

/* ---- life ---- */

/* Prepares keeper, network and folders; starts no node yet. All errors are told in
 * `error`, CLUSTER_ERROR_BYTES long.
 * Returns 0; KV_EINVAL for options that cannot be; KV_EDENIED when the environment
 * needs rights that we lack; KV_EIO when a system call failed, or ip or nft. */
KV_MUST_CHECK int cluster_open(const struct cluster_options *o, struct cluster **out_c,
                               char *error);

/* Kills all nodes, removes network, limits and mounts, and the helper files of the
 * disk layer; leaves data and logs in DIR. NULL is fine. */
void cluster_close(struct cluster *c);

/* ---- nodes ---- */

/* Starts each node of the mask that is not up. 0, or KV_EIO with the reason in
 * cluster_error(). */
KV_MUST_CHECK int cluster_start(struct cluster *c, uint32_t mask);

/* The same with failpoints armed (storage/failpoint.h): "NAME=panic@3"; "" is none.
 * A node that ends at one has not died on its own: it is down. */
KV_MUST_CHECK int cluster_start_armed(struct cluster *c, uint32_t mask,
                                      const char *points);

/* Sends SIGTERM and waits for the end, SIGKILL after `wait_ms`. A paused node is let
 * go first. 0, or KV_ETIMEOUT when one had to be killed. */
KV_MUST_CHECK int cluster_stop(struct cluster *c, uint32_t mask, uint32_t wait_ms);

/* Sends SIGKILL to all of the mask, then waits until they are gone. */
void cluster_kill(struct cluster *c, uint32_t mask);

/* Stops (SIGSTOP) and continues processes; waits until /proc shows it. */
void cluster_pause(struct cluster *c, uint32_t mask);
void cluster_resume(struct cluster *c, uint32_t mask);

/* Waits until all nodes of the mask say on /readyz that they are ready: formed, a
 * known leader in each group. 0; KV_ETIMEOUT; KV_EIO when one of them died. */
KV_MUST_CHECK int cluster_wait_ready(struct cluster *c, uint32_t mask,
                                     uint32_t timeout_ms);

/* ---- looking in ---- */

uint32_t cluster_size(const struct cluster *c);
enum cluster_env cluster_env(const struct cluster *c);

/* "netns", "veth" or "proxy"; never CLUSTER_AUTO's. */
const char *cluster_env_name(const struct cluster *c);

void cluster_node(struct cluster *c, uint32_t node, struct cluster_node_info *out);

/* Does the environment still stand? false: keeper or network broke down, and what the
 * nodes did since says nothing about kvd. */
bool cluster_stands(struct cluster *c);

/* Nodes that are up; a paused one counts. */
uint32_t cluster_up(struct cluster *c);

/* Is the node's process stopped at this moment (/proc: T)? */
bool cluster_is_stopped(struct cluster *c, uint32_t node);

/* Why the last verb that failed did; "" when none did. Valid until the next verb. */
const char *cluster_error(const struct cluster *c);

/* Asks node's HTTP port for `path`; writes the body, ended by NUL, cut at `room`.
 * Returns the HTTP status, or KV_ECONNECT, KV_ETIMEOUT, KV_EPROTO. */
KV_MUST_CHECK int cluster_http(struct cluster *c, uint32_t node, const char *path,
                               char *out, size_t room, uint32_t timeout_ms);

/* The nodes that themselves believe to lead `group` (after a cut these may be two).
 * Nodes that do not answer within 300 ms are left out. */
uint32_t cluster_leaders(struct cluster *c, uint32_t group);

/* Groups that hold keys; 0 while no node answers. Their ids are 1...count. */
uint32_t cluster_groups(struct cluster *c);

#endif
