/* rpc/map.c - the map's rules, its slots, and its encoding. */
#include "rpc/map.h"

#include "raft/base/err.h"
#include "rpc/pack.h"
#include "rpc/slot.h"
#include "rpc/text.h"

void map_init(struct map *m, uint64_t cluster)
{
    memset(m, 0, sizeof *m);
    m->cluster = cluster;
    m->vnodes = KV_VNODES_DEFAULT;
    for (uint32_t s = 0; s < KV_SLOTS; s++) {
        m->slots[s] = RING_NO_GROUP;
    }
}

/* ---- rules ---- */

/* NUL-terminated within size, printable, at least `least` bytes. */
static bool map_text_ok(const char *text, size_t size, size_t least)
{
    size_t len = strnlen(text, size);

    return len < size && len >= least && text_is_name(kv_bytes(text, len), size - 1);
}

static const char *map_check_nodes(const struct map *m)
{
    if (m->nodes_count > KV_NODES_MAX) {
        return "too many nodes";
    }
    for (uint32_t i = 0; i < m->nodes_count; i++) {
        const struct map_node *n = &m->nodes[i];

        if (n->id == 0 || (i > 0 && n->id <= m->nodes[i - 1].id)) {
            return "node ids must be >= 1 and ascend";
        }
        if (!map_text_ok(n->host, sizeof n->host, 1)) {
            return "a node's host must be 1 to 63 printable characters";
        }
        if (!map_text_ok(n->zone, sizeof n->zone, 0)) {
            return "a node's zone must be at most 31 printable characters";
        }
        if (n->client_port == 0 || n->peer_port == 0) {
            return "a node needs a client port and a peer port";
        }
    }
    return NULL;
}

static const char *map_check_replicas(const struct map *m, const struct map_group *g)
{
    if (g->replicas_count > KV_REPLICAS_MAX) {
        return "a group has too many replicas";
    }
    if (g->w > g->replicas_count || (g->w > 0 && g->w < g->replicas_count / 2 + 1)) {
        return "a group's w must be 0 or from the majority to the number of replicas";
    }
    for (uint32_t i = 0; i < g->replicas_count; i++) {
        if (g->replicas[i].replica == 0 ||
            map_node_find(m, g->replicas[i].node) == NULL) {
            return "a replica needs a number and a known node";
        }
        for (uint32_t j = 0; j < i; j++) {
            if (g->replicas[j].replica == g->replicas[i].replica ||
                g->replicas[j].node == g->replicas[i].node) {
                return "a group names a replica or node twice";
            }
        }
    }
    return NULL;
}

static const char *map_check(const struct map *m)
{
    const char *why = map_check_nodes(m);

    if (why != NULL) {
        return why;
    }
    if (m->vnodes < 1 || m->vnodes > KV_VNODES_MAX) {
        return "vnodes out of range";
    }
    if (m->groups_count > KV_GROUPS_MAX) {
        return "too many groups";
    }
    for (uint32_t i = 0; i < m->groups_count; i++) {
        if (m->groups[i].id >= RING_NO_GROUP ||
            (i > 0 && m->groups[i].id <= m->groups[i - 1].id)) {
            return "group ids must ascend";
        }
        why = map_check_replicas(m, &m->groups[i]);
        if (why != NULL) {
            return why;
        }
    }
    return NULL;
}

int map_validate(const struct map *m, const char **out_why)
{
    const char *why = map_check(m);

    if (why != NULL && out_why != NULL) {
        *out_why = why;
    }
    return why == NULL ? 0 : KV_EINVAL;
}

int map_derive_slots(struct map *m, struct arena *scratch)
{
    uint16_t *ids = arena_alloc(scratch, KV_GROUPS_MAX * sizeof *ids);
    uint32_t count = 0;

    if (ids == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < m->groups_count; i++) {
        if (m->groups[i].id != MAP_GROUP_META) {
            ids[count++] = m->groups[i].id;
        }
    }
    return ring_build(ids, count, m->vnodes, scratch, m->slots);
}

/* ---- as bytes ---- */

void map_encode_nodes(struct buf *b, const struct map *m)
{
    pack_array(b, m->nodes_count);
    for (uint32_t i = 0; i < m->nodes_count; i++) {
        const struct map_node *n = &m->nodes[i];

        pack_map(b, 6);
        pack_str(b, "id");
        pack_uint(b, n->id);
        pack_str(b, "host");
        pack_str(b, n->host);
        pack_str(b, "client");
        pack_uint(b, n->client_port);
        pack_str(b, "peer");
        pack_uint(b, n->peer_port);
        pack_str(b, "http");
        pack_uint(b, n->http_port);
        pack_str(b, "zone");
        pack_str(b, n->zone);
    }
}

static void map_encode_groups(struct buf *b, const struct map *m)
{
    pack_array(b, m->groups_count);
    for (uint32_t i = 0; i < m->groups_count; i++) {
        const struct map_group *g = &m->groups[i];

        pack_map(b, 3);
        pack_str(b, "id");
        pack_uint(b, g->id);
        pack_str(b, "w");
        pack_uint(b, g->w);
        pack_str(b, "replicas");
        pack_array(b, g->replicas_count);
        for (uint32_t r = 0; r < g->replicas_count; r++) {
            pack_array(b, 2);
            pack_uint(b, g->replicas[r].replica);
            pack_uint(b, g->replicas[r].node);
        }
    }
}

void map_encode_fields(struct buf *b, const struct map *m)
{
    char hex[TEXT_HEX64_BYTES];

    pack_str(b, "v");
    pack_uint(b, MAP_FORMAT);
    pack_str(b, "cluster");
    pack_str(b, text_hex64(m->cluster, hex));
    pack_str(b, "epoch");
    pack_uint(b, m->epoch);
    pack_str(b, "vnodes");
    pack_uint(b, m->vnodes);
    pack_str(b, "nodes");
    map_encode_nodes(b, m);
    pack_str(b, "groups");
    map_encode_groups(b, m);
}

void map_encode(struct buf *b, const struct map *m)
{
    pack_map(b, MAP_FIELDS_COUNT);
    map_encode_fields(b, m);
}

/* ---- looking in ---- */

uint16_t map_group_for_key(const struct map *m, struct kv_bytes key)
{
    return m->slots[slot_of(key)];
}

const struct map_node *map_node_find(const struct map *m, uint32_t id)
{
    for (uint32_t i = 0; i < m->nodes_count; i++) {
        if (m->nodes[i].id == id) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

const struct map_group *map_group_find(const struct map *m, uint16_t id)
{
    uint32_t low = 0;
    uint32_t high = m->groups_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (m->groups[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->groups_count && m->groups[low].id == id ? &m->groups[low] : NULL;
}

uint32_t map_node_of_replica(const struct map_group *g, raft_id replica)
{
    for (uint32_t i = 0; i < g->replicas_count; i++) {
        if (g->replicas[i].replica == replica) {
            return g->replicas[i].node;
        }
    }
    return 0;
}

raft_id map_replica_on_node(const struct map_group *g, uint32_t node)
{
    for (uint32_t i = 0; i < g->replicas_count; i++) {
        if (g->replicas[i].node == node) {
            return g->replicas[i].replica;
        }
    }
    return 0;
}
