/* jepsen/env/net.h - the keeper's network: links, queues, and the probe.
 *
 * What the environments share. A network has ends (0: the clients, I: node I) and
 * a link in each direction between two of them. The keeper waits for its descriptors
 * and calls net_event(), and net_due() no later than net_next_ns().
 *
 * Needs:    jepsen/env/link.h.
 * Used by:  jepsen/env/keeper.c; carried out by switch.c, veth.c and proxy.c.
 * Threads:  the keeper's only one.
 */
#ifndef KV_JEPSEN_ENV_NET_H
#define KV_JEPSEN_ENV_NET_H

#include "jepsen/env/link.h"

enum {
    NET_PROBES_MAX = 200,
    NET_PROBE_STEP_MS = 10,
    NET_PORT_CLIENT = 7410,
    NET_PORT_PEER = 7411,
    NET_PORT_HTTP = 7412,
};

/* Never: nothing is due. */
#define NET_NEVER UINT64_MAX

struct net;

/* One per environment. All are called with the keeper's struct net. */
struct net_ops {
    const char *name;
    /* Makes everything; 0, KV_EDENIED, KV_EIO with the reason in net->error. */
    int (*open)(struct net *n);
    void (*close)(struct net *n);
    /* A descriptor that was added with `tag` is ready. */
    void (*event)(struct net *n, uint32_t tag, uint32_t events);
    /* Delivers what is due; returns when the next is. */
    uint64_t (*due)(struct net *n, uint64_t now_ns);
    /* In a new child, before exec: go to node's place. 0 or -1. */
    int (*enter)(struct net *n, uint32_t node);
    /* A node's process began or ended. */
    void (*node_up)(struct net *n, uint32_t node, bool up);
    /* Links changed: what was held may go. Sets n->broken when it cannot be done. */
    void (*changed)(struct net *n);
    /* The probe in n->probe begins, sends number `i`, ends. */
    void (*probe_begin)(struct net *n);
    void (*probe_send)(struct net *n, uint32_t i);
    void (*probe_end)(struct net *n);
};

/* One probe at a time: sending while sent < count, then waiting. */
struct net_probe {
    bool active;
    uint32_t id; /* Of this probe; late messages of the last one have another. */
    uint32_t from;
    uint32_t to;
    uint32_t count;
    uint32_t wait_ms;
    uint32_t sent;
    uint64_t next_ns; /* When the next is sent. */
    uint64_t end_ns;  /* When waiting ends, once all are sent. */
    uint64_t sent_ns[NET_PROBES_MAX];
    uint64_t way_ns[NET_PROBES_MAX]; /* 0: not arrived. */
    uint32_t highest;                /* 1 + the highest number that arrived. */
    struct fault_probe result;
};

struct net {
    const struct net_ops *ops;
    void *own;    /* The environment's: struct switch_net, veth_net or proxy_net. */
    int epoll_fd; /* The keeper's. */
    uint32_t nodes;
    struct link links[FAULT_ENDS_MAX][FAULT_ENDS_MAX]; /* [from][to] */
    struct prng prng;
    struct net_probe probe;
    const char *pcap; /* Path or NULL. */
    int clients_ns;   /* netns, veth: descriptor of the clients' namespace; else -1. */
    char host_seen[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES]; /* For others. */
    char host_own[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES];  /* Where the node listens. */
    char host_bind[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES]; /* As kvd is told. */
    bool broken; /* Nobody knows any more which links are cut: the keeper ends. */
    char error[CLUSTER_ERROR_BYTES];
};

extern const struct net_ops switch_ops;
extern const struct net_ops veth_ops;
extern const struct net_ops proxy_ops;

/* ---- for the environments ---- */

/* Monotonic nanoseconds. */
uint64_t net_now_ns(void);

/* Notes "what: strerror"; returns KV_EDENIED after EPERM or EACCES, else KV_EIO. */
int net_fail(struct net *n, const char *what, int error);

/* Waits for a descriptor; the event comes with `tag`. 0 or -1. */
KV_MUST_CHECK int net_watch(struct net *n, int fd, uint32_t tag, uint32_t events);
void net_rewatch(struct net *n, int fd, uint32_t tag, uint32_t events);

/* A message of the probe: its number among them, as 8 bytes. */
void net_probe_message(const struct net *n, uint32_t i, uint8_t out[8]);

/* Such a message arrived. What is of another probe is ignored. */
void net_probe_arrived(struct net *n, const uint8_t message[8], uint64_t now_ns);

/* ---- for the keeper ---- */

void net_cut(struct net *n, const struct fault_grudge *g);
void net_shape(struct net *n, uint32_t from, uint32_t to, const struct fault_link *l);
void net_heal(struct net *n);

void net_probe_start(struct net *n, uint32_t from, uint32_t to, uint32_t count,
                     uint32_t wait_ms);

/* Delivers, sends probes; returns when to be called again. *out_probed is set when a
 * probe has ended; its result is in n->probe.result. */
uint64_t net_due(struct net *n, uint64_t now_ns, bool *out_probed);

#endif
