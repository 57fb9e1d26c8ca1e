/* rpc/map.h - the cluster map: nodes, groups, and the slots that follow from them.
 *
 * The group `meta` replicates it, everybody else caches it by epoch. It only
 * routes: which slots a group owns and who votes in it is decided by the group's
 * own log. The slot table is derived, never sent.
 *
 * As bytes (state of `meta`, reply of cluster.map): a MessagePack map
 *   {"v": 1, "cluster": "16 hex digits", "epoch": n, "vnodes": n,
 *    "nodes":  [{"id", "host", "client", "peer", "http", "zone"}...]   ascending ids
 *    "groups": [{"id", "w", "replicas": [[replica, node]...]}...]}     ascending ids
 *
 * Needs:    rpc/limits.h, ring.h, slot.h, buf.h.
 * Used by:  server/meta, server/router, client/, kvctl.
 * Threads:  one owner at a time.
 */
#ifndef KV_RPC_MAP_H
#define KV_RPC_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/types.h"
#include "rpc/buf.h"
#include "rpc/limits.h"
#include "rpc/ring.h"

enum {
    MAP_FORMAT = 1,
    MAP_GROUP_META = 0, /* The group `meta`: may be listed, never owns a slot. */
};

struct map_node {
    uint32_t id; /* >= 1 */
    uint16_t client_port;
    uint16_t peer_port;
    uint16_t http_port;               /* 0: none. */
    char host[KV_HOST_BYTES_MAX + 1]; /* Printable ASCII, NUL-terminated, not empty. */
    char zone[KV_ZONE_BYTES_MAX + 1]; /* Printable ASCII or empty. */
};

struct map_replica {
    raft_id replica; /* >= 1, never reused within its group. */
    uint32_t node;   /* One of the map's nodes; each at most once per group. */
};

struct map_group {
    uint16_t id;
    uint8_t w; /* Write quorum; 0: the majority. */
    uint8_t replicas_count;
    struct map_replica replicas[KV_REPLICAS_MAX];
};

/* About 120 KiB: lives in its owner's memory (kv_mem_zalloc), not on the stack. */
struct map {
    uint64_t cluster; /* Cluster id; 0 before the cluster exists. */
    uint64_t epoch;   /* Grows with every change; 0: empty map. */
    uint32_t vnodes;
    uint32_t nodes_count;
    uint32_t groups_count;
    struct map_node nodes[KV_NODES_MAX];    /* Ascending ids. */
    struct map_group groups[KV_GROUPS_MAX]; /* Ascending ids. */
    uint16_t slots[KV_SLOTS];               /* Derived: group id or RING_NO_GROUP. */
};

/* ---- life ---- */

/* Makes an empty map without nodes and groups. */
void map_init(struct map *m, uint64_t cluster);

/* Checks everything that the comments above promise, but the slots.
 * Returns 0 or KV_EINVAL; *out_why then names the cause (static text). out_why may
 * be NULL. */
KV_MUST_CHECK int map_validate(const struct map *m, const char **out_why);

/* Derives slots[] from groups and vnodes; call it after changing either.
 * Returns 0 or KV_ENOMEM (128 KiB from scratch). */
KV_MUST_CHECK int map_derive_slots(struct map *m, struct arena *scratch);

/* ---- as bytes ---- */

/* Appends the encoding; the buffer's error tells whether it fitted. */
void map_encode(struct buf *b, const struct map *m);

/* Appends only the keys and values of that map, MAP_FIELDS_COUNT pairs, for a caller
 * who adds pairs of its own. */
enum {
    MAP_FIELDS_COUNT = 6
};
void map_encode_fields(struct buf *b, const struct map *m);

/* Appends only the list of nodes. */
void map_encode_nodes(struct buf *b, const struct map *m);

/* Reads exactly one encoded map, strictly: unknown, missing or double keys, wrong
 * types, bytes behind it and whatever map_validate() refuses are errors. Slots are
 * derived. `scratch` is used and not reset.
 * Returns 0; KV_EPROTO; KV_EFORMAT (another "v"); KV_ENOMEM. *out is undefined after
 * an error. */
KV_MUST_CHECK int map_decode(struct kv_bytes bytes, struct arena *scratch,
                             struct map *out);

/* The same from the result of cluster.map, whose other keys are passed over. */
KV_MUST_CHECK int map_decode_reply(struct kv_bytes result, struct arena *scratch,
                                   struct map *out);

/* ---- looking in ---- */

/* The group that owns the key's slot, RING_NO_GROUP while the map has none. */
uint16_t map_group_for_key(const struct map *m, struct kv_bytes key);

/* NULL when the map has no such node or group. Borrowed from the map. */
const struct map_node *map_node_find(const struct map *m, uint32_t id);
const struct map_group *map_group_find(const struct map *m, uint16_t id);

/* The node that holds a replica of the group, 0 when nobody does; and the reverse. */
uint32_t map_node_of_replica(const struct map_group *g, raft_id replica);
raft_id map_replica_on_node(const struct map_group *g, uint32_t node);

#endif
