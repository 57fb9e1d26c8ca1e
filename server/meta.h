/* server/meta.h - forming the cluster, and the cluster map in the group `meta`.
 *
 *   new directory ──► every initial node's incarnation is stored here, and each has
 *   confirmed that it stored ours ──► cluster id is stored ──► NODE_RUNNING: the meta
 *   group is opened ──► its leader proposes the first map ──► applied ──► adopted
 *   at the turn's end ──► each node opens the groups that the map puts on it
 *
 * Why so: a node that lost its directory has lost its votes and acks. It comes back
 * with another incarnation, and everybody who ever counted its votes knows the first.
 *
 * Needs:    server/node.h, peers.h, placement.h, command.h.
 * Used by:  server/node*.c, peers_hello.c, admin.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_META_H
#define KV_SERVER_META_H

#include "server/node.h"

/* 0 or KV_ENOMEM. */
KV_MUST_CHECK int meta_new(struct node *n, struct meta **out);
void meta_free(struct meta *m);

/* A formed node opens meta and, when its map is stored, all its groups; another one
 * begins to form. 0 or errors of group_open, map_decode. */
KV_MUST_CHECK int meta_start(struct node *n);

/* Cluster id: the stored one, before that the one that the configuration makes. */
uint64_t meta_cluster(const struct node *n);
/* The id that a configuration makes; ids, addresses, groups and replicas count. */
uint64_t meta_cluster_of(const struct node_config *c);

enum meta_verdict {
    META_KNOWN,    /* This incarnation of the node is stored durably. */
    META_STORING,  /* It will be: peers_identity_stored() follows. */
    META_REPLACED, /* Another incarnation of that node is known: refuse it. */
    META_STRANGER, /* No node of this cluster. */
};

/* A node said hello. */
enum meta_verdict meta_met(struct node *n, uint32_t node, uint64_t incarnation);

/* The meta group applied another map: kept, and adopted by meta_flush(). */
void meta_map_applied(struct node *n, struct kv_bytes encoded);
/* Turn end: adopts a map. True when it did. */
bool meta_flush(struct node *n);
void meta_tick(struct node *n);
uint64_t meta_deadline_ms(const struct node *n);
/* An identity job is done. */
void meta_on_job(struct node *n, struct disk_job *job);

#endif
