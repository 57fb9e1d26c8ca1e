/* rpc/map_decode.c - the map from bytes, strictly: stored state must not be guessed.
 *
 * All three kinds of maps in it (whole, node, group) are read alike: names are looked
 * up in a list, each must come exactly once.
 */
#include "raft/base/err.h"
#include "rpc/map.h"
#include "rpc/scan.h"
#include "rpc/text.h"
#include "rpc/unpack.h"

/* A position in `names`, by the key; `extra` lets unknown names pass (names_count).
 * Returns KV_EPROTO for unknown or double ones. */
static int field_of(const msgpack_object *key, const char *const *names,
                    uint32_t names_count, bool extra, uint32_t *io_seen)
{
    struct kv_bytes name;
    uint32_t f = 0;

    if (!unpack_bytes(key, &name)) {
        return KV_EPROTO;
    }
    while (f < names_count && !kv_bytes_equal(kv_bytes_str(names[f]), name)) {
        f++;
    }
    if (f == names_count) {
        return extra ? (int)names_count : KV_EPROTO;
    }
    if ((*io_seen & (1u << f)) != 0) {
        return KV_EPROTO;
    }
    *io_seen |= 1u << f;
    return (int)f;
}

static bool decode_node(const msgpack_object *o, struct map_node *n)
{
    static const char *const names[] = {"id", "host", "client", "peer", "http", "zone"};
    uint32_t seen = 0;
    bool ok = o->type == MSGPACK_OBJECT_MAP;

    for (uint32_t i = 0; ok && i < o->via.map.size; i++) {
        const msgpack_object *value = &o->via.map.ptr[i].val;

        switch (field_of(&o->via.map.ptr[i].key, names, KV_ARRAY_COUNT(names), false,
                         &seen)) {
        case 0:
            ok = unpack_u32(value, UINT32_MAX, &n->id);
            break;
        case 1:
            ok = unpack_name(value, 1, n->host, sizeof n->host);
            break;
        case 2:
            ok = unpack_u16(value, &n->client_port);
            break;
        case 3:
            ok = unpack_u16(value, &n->peer_port);
            break;
        case 4:
            ok = unpack_u16(value, &n->http_port);
            break;
        case 5:
            ok = unpack_name(value, 0, n->zone, sizeof n->zone);
            break;
        default:
            ok = false;
        }
    }
    return ok && seen == (1u << KV_ARRAY_COUNT(names)) - 1;
}

static bool decode_replicas(const msgpack_object *o, struct map_group *g)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > KV_REPLICAS_MAX) {
        return false;
    }
    g->replicas_count = (uint8_t)o->via.array.size;
    for (uint32_t i = 0; i < g->replicas_count; i++) {
        const msgpack_object *pair = &o->via.array.ptr[i];

        if (!unpack_is_array(pair, 2) ||
            !unpack_u32(&pair->via.array.ptr[0], UINT32_MAX, &g->replicas[i].replica) ||
            !unpack_u32(&pair->via.array.ptr[1], UINT32_MAX, &g->replicas[i].node)) {
            return false;
        }
    }
    return true;
}

static bool decode_group(const msgpack_object *o, struct map_group *g)
{
    static const char *const names[] = {"id", "w", "replicas"};
    uint32_t seen = 0;
    uint32_t w = 0;
    bool ok = o->type == MSGPACK_OBJECT_MAP;

    for (uint32_t i = 0; ok && i < o->via.map.size; i++) {
        const msgpack_object *value = &o->via.map.ptr[i].val;

        switch (field_of(&o->via.map.ptr[i].key, names, KV_ARRAY_COUNT(names), false,
                         &seen)) {
        case 0:
            ok = unpack_u16(value, &g->id);
            break;
        case 1:
            ok = unpack_u32(value, KV_REPLICAS_MAX, &w);
            g->w = (uint8_t)w;
            break;
        case 2:
            ok = decode_replicas(value, g);
            break;
        default:
            ok = false;
        }
    }
    return ok && seen == (1u << KV_ARRAY_COUNT(names)) - 1;
}

static bool decode_nodes(const msgpack_object *o, struct map *m)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > KV_NODES_MAX) {
        return false;
    }
    m->nodes_count = o->via.array.size;
    for (uint32_t i = 0; i < m->nodes_count; i++) {
        if (!decode_node(&o->via.array.ptr[i], &m->nodes[i])) {
            return false;
        }
    }
    return true;
}

static bool decode_groups(const msgpack_object *o, struct map *m)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > KV_GROUPS_MAX) {
        return false;
    }
    m->groups_count = o->via.array.size;
    for (uint32_t i = 0; i < m->groups_count; i++) {
        if (!decode_group(&o->via.array.ptr[i], &m->groups[i])) {
            return false;
        }
    }
    return true;
}

static bool decode_cluster(const msgpack_object *o, struct map *m)
{
    struct kv_bytes text;

    return unpack_bytes(o, &text) && text_parse_hex64(text, &m->cluster);
}

static int decode_map(const msgpack_object *o, bool extra, struct map *m)
{
    static const char *const names[] = {"v",      "cluster", "epoch",
                                        "vnodes", "nodes",   "groups"};
    uint32_t seen = 0;
    uint32_t version = 0;
    bool ok = o->type == MSGPACK_OBJECT_MAP;

    for (uint32_t i = 0; ok && i < o->via.map.size; i++) {
        const msgpack_object *value = &o->via.map.ptr[i].val;

        switch (field_of(&o->via.map.ptr[i].key, names, KV_ARRAY_COUNT(names), extra,
                         &seen)) {
        case 0:
            ok = unpack_u32(value, UINT32_MAX, &version);
            if (ok && version != MAP_FORMAT) {
                return KV_EFORMAT;
            }
            break;
        case 1:
            ok = decode_cluster(value, m);
            break;
        case 2:
            ok = unpack_uint(value, UINT64_MAX, &m->epoch);
            break;
        case 3:
            ok = unpack_u32(value, KV_VNODES_MAX, &m->vnodes);
            break;
        case 4:
            ok = decode_nodes(value, m);
            break;
        case 5:
            ok = decode_groups(value, m);
            break;
        case KV_ARRAY_COUNT(names): /* One more key of a reply. */
            break;
        default:
            ok = false;
        }
    }
    return ok && seen == (1u << KV_ARRAY_COUNT(names)) - 1 ? 0 : KV_EPROTO;
}

static int decode_bytes(struct kv_bytes bytes, bool extra, struct arena *scratch,
                        struct map *out)
{
    struct scan_limits limits = scan_limits_response;
    struct rpc_decoder decoder;
    msgpack_object o;
    int rc;

    limits.is_rpc = false;
    if (scan_whole(&limits, bytes.data, bytes.len) != 0) {
        return KV_EPROTO;
    }
    rc = rpc_decoder_init(&decoder);
    if (rc != 0) {
        return rc;
    }
    map_init(out, 0);
    rc = unpack_message(&decoder, bytes, &o);
    if (rc == 0) {
        rc = decode_map(&o, extra, out);
    }
    rpc_decoder_close(&decoder);
    if (rc != 0) {
        return rc;
    }
    if (map_validate(out, NULL) != 0) {
        return KV_EPROTO;
    }
    return map_derive_slots(out, scratch);
}

int map_decode(struct kv_bytes bytes, struct arena *scratch, struct map *out)
{
    return decode_bytes(bytes, false, scratch, out);
}

int map_decode_reply(struct kv_bytes result, struct arena *scratch, struct map *out)
{
    return decode_bytes(result, true, scratch, out);
}
