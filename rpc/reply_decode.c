/* rpc/reply_decode.c - replies as clients read them.
 *
 * The result's map is read by a table: name, kind, where it goes. Unknown names are
 * passed over (later servers say more), double ones and wrong types are not. Lists are
 * checked as a whole, so that their getters cannot fail.
 */
#include <stddef.h>

#include "rpc/method.h"
#include "rpc/reply.h"
#include "rpc/text.h"
#include "rpc/unpack.h"

enum field_kind {
    FIELD_BOOL,
    FIELD_U32,
    FIELD_U64,
    FIELD_BYTES, /* str or bin */
    FIELD_BYTES_OR_NIL,
    FIELD_HEX64,
    FIELD_VALUE,   /* nil, str or bin; an int for kv.incr */
    FIELD_AT,      /* one at, or a list of them for kv.range and kv.delrange */
    FIELD_DELETED, /* an int of kv.delrange, else bool */
    FIELD_ITEMS,
    FIELD_GROUPS, /* status: maps with a leader; map: passed over */
    FIELD_LEADERS,
    FIELD_RESULTS, /* txn: maps, one per operation */
    FIELD_HOLDERS, /* lock.info: maps */
    FIELD_TOKEN,   /* an int of lock.acquire, else bytes */
};

/* X(name on the wire, kind, member of struct rpc_reply) */
#define FIELD_MAP(X)                     \
    X(at, FIELD_AT, ats)                 \
    X(rev, FIELD_U64, rev)               \
    X(value, FIELD_VALUE, value)         \
    X(found, FIELD_BOOL, found)          \
    X(deleted, FIELD_DELETED, deleted)   \
    X(swapped, FIELD_BOOL, swapped)      \
    X(items, FIELD_ITEMS, items)         \
    X(more, FIELD_BOOL, more)            \
    X(next, FIELD_BYTES_OR_NIL, next)    \
    X(node, FIELD_U32, node)             \
    X(cluster, FIELD_HEX64, cluster)     \
    X(epoch, FIELD_U64, epoch)           \
    X(groups, FIELD_GROUPS, groups)      \
    X(leaders, FIELD_LEADERS, leaders)   \
    X(server, FIELD_BYTES, server)       \
    X(version, FIELD_BYTES, version)     \
    X(proto, FIELD_U32, proto)           \
    X(time, FIELD_U64, time_ms)          \
    X(w, FIELD_U32, w)                   \
    X(replicas, FIELD_U32, replicas)     \
    X(succeeded, FIELD_BOOL, succeeded)  \
    X(results, FIELD_RESULTS, results)   \
    X(session, FIELD_U64, session)       \
    X(closed, FIELD_BOOL, closed)        \
    X(repeated, FIELD_BOOL, repeated)    \
    X(acquired, FIELD_BOOL, acquired)    \
    X(released, FIELD_BOOL, released)    \
    X(token, FIELD_TOKEN, lock_token)    \
    X(ttl_ms, FIELD_U32, ttl_ms)         \
    X(place, FIELD_U32, place)           \
    X(waiting, FIELD_U32, waiting)       \
    X(permits, FIELD_U32, permits)       \
    X(last_token, FIELD_U64, last_token) \
    X(holders, FIELD_HOLDERS, holders)   \
    X(watch, FIELD_U64, watch)           \
    X(pos, FIELD_BYTES, pos)             \
    X(ended, FIELD_BOOL, ended)

enum field {
#define FIELD_ENUM(name, kind, member) F_##name,
    FIELD_MAP(FIELD_ENUM)
#undef FIELD_ENUM
    FIELDS_COUNT,
};

static const struct field_row {
    const char *name;
    uint8_t len;
    uint8_t kind;
    uint16_t offset;
} field_rows[FIELDS_COUNT] = {
#define FIELD_ROW(name, kind, member) \
    {#name, sizeof(#name) - 1, kind, offsetof(struct rpc_reply, member)},
    FIELD_MAP(FIELD_ROW)
#undef FIELD_ROW
};

_Static_assert(FIELDS_COUNT <= 64, "each field has a bit");

#define FBIT(name) ((uint64_t)1 << F_##name)

/* Fields without which a reply of this method is none. */
static uint64_t field_required(enum rpc_method method)
{
    switch (method) {
    case RPC_KV_GET:
        return FBIT(at) | FBIT(found) | FBIT(value) | FBIT(rev);
    case RPC_KV_GETSET:
        return FBIT(at) | FBIT(found) | FBIT(value) | FBIT(rev);
    case RPC_KV_PUT:
        return FBIT(at) | FBIT(rev);
    case RPC_KV_DEL:
        return FBIT(at) | FBIT(deleted) | FBIT(rev);
    case RPC_KV_CAS:
        return FBIT(at) | FBIT(swapped) | FBIT(rev) | FBIT(value);
    case RPC_KV_INCR:
        return FBIT(at) | FBIT(value) | FBIT(rev);
    case RPC_KV_RANGE:
        return FBIT(at) | FBIT(items) | FBIT(more) | FBIT(next);
    case RPC_KV_DELRANGE:
        return FBIT(at) | FBIT(deleted) | FBIT(more) | FBIT(next);
    case RPC_KV_TXN:
        return FBIT(at) | FBIT(succeeded) | FBIT(results) | FBIT(rev);
    case RPC_HELLO:
        return FBIT(server) | FBIT(version) | FBIT(proto) | FBIT(node);
    case RPC_SESSION_OPEN:
        return FBIT(at) | FBIT(session) | FBIT(ttl_ms) | FBIT(time);
    case RPC_SESSION_KEEPALIVE:
        return FBIT(at) | FBIT(ttl_ms) | FBIT(time);
    case RPC_SESSION_CLOSE:
        return FBIT(at) | FBIT(closed);
    case RPC_KV_WATCH:
        return FBIT(at) | FBIT(watch) | FBIT(pos);
    case RPC_KV_UNWATCH:
        return FBIT(at) | FBIT(ended);
    case RPC_CLUSTER_STATUS:
        return FBIT(at) | FBIT(node) | FBIT(cluster) | FBIT(epoch) | FBIT(groups);
    case RPC_CLUSTER_SET_W:
        return FBIT(at) | FBIT(w);
    case RPC_CLUSTER_MAP:
        return FBIT(at) | FBIT(node) | FBIT(cluster) | FBIT(epoch) | FBIT(groups);
    default:
        break;
    }
    switch (rpc_method_lock(method)) {
    case RPC_LOCK_ACQUIRE:
        return FBIT(at) | FBIT(acquired) | FBIT(token) | FBIT(ttl_ms) | FBIT(place);
    case RPC_LOCK_KEEPALIVE:
        return FBIT(at) | FBIT(ttl_ms);
    case RPC_LOCK_RELEASE:
        return FBIT(at) | FBIT(released);
    case RPC_LOCK_INFO:
        return FBIT(at) | FBIT(holders) | FBIT(waiting) | FBIT(permits) |
               FBIT(last_token);
    default:
        return 0;
    }
}

/* ---- lists and what they hold ---- */

static bool decode_at(const msgpack_object *o, struct rpc_at *out)
{
    const msgpack_object *items = o->via.array.ptr;
    struct kv_bytes level;

    return unpack_is_array(o, 6) && unpack_u32(&items[0], UINT32_MAX, &out->group) &&
           unpack_uint(&items[1], UINT64_MAX, &out->rev) &&
           unpack_uint(&items[2], UINT64_MAX, &out->term) &&
           unpack_u32(&items[3], UINT32_MAX, &out->node) &&
           unpack_bytes(&items[4], &level) && method_find_level(level, &out->level) &&
           unpack_uint(&items[5], UINT64_MAX, &out->age_ms);
}

static bool decode_item(const msgpack_object *o, struct rpc_item *out)
{
    const msgpack_object *items = o->via.array.ptr;

    return unpack_is_array(o, 3) && unpack_bytes(&items[0], &out->key) &&
           unpack_bytes(&items[1], &out->value) &&
           unpack_uint(&items[2], UINT64_MAX, &out->rev);
}

static bool decode_voters(const msgpack_object *o, struct rpc_group_status *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY ||
        o->via.array.size > KV_ARRAY_COUNT(out->voters)) {
        return false;
    }
    out->voters_count = o->via.array.size;
    for (uint32_t i = 0; i < out->voters_count; i++) {
        if (!unpack_u32(&o->via.array.ptr[i], UINT32_MAX, &out->voters[i])) {
            return false;
        }
    }
    return true;
}

static bool decode_group_field(const msgpack_object_kv *pair, struct kv_bytes name,
                               struct rpc_group_status *out)
{
    const struct {
        const char *name;
        uint32_t *u32;
        uint64_t *u64;
    } rows[] = {
        {"id", &out->id, NULL},         {"leader", &out->leader, NULL},
        {"w", &out->w, NULL},           {"term", NULL, &out->term},
        {"commit", NULL, &out->commit}, {"applied", NULL, &out->applied},
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        if (kv_bytes_equal(kv_bytes_str(rows[i].name), name)) {
            return rows[i].u32 != NULL
                       ? unpack_u32(&pair->val, UINT32_MAX, rows[i].u32)
                       : unpack_uint(&pair->val, UINT64_MAX, rows[i].u64);
        }
    }
    return !kv_bytes_equal(kv_bytes_str("voters"), name) ||
           decode_voters(&pair->val, out);
}

static bool decode_group(const msgpack_object *o, struct rpc_group_status *out)
{
    *out = (struct rpc_group_status){0};
    if (o->type != MSGPACK_OBJECT_MAP) {
        return false;
    }
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        struct kv_bytes name;

        if (!unpack_bytes(&o->via.map.ptr[i].key, &name) ||
            !decode_group_field(&o->via.map.ptr[i], name, out)) {
            return false;
        }
    }
    return true;
}

static bool decode_list(const msgpack_object *o, enum field_kind kind,
                        struct rpc_list *out);

static bool decode_op_field(const msgpack_object_kv *pair, struct kv_bytes name,
                            struct rpc_reply_op *out)
{
    if (kv_bytes_equal(kv_bytes_str("found"), name)) {
        return unpack_bool(&pair->val, &out->found);
    }
    if (kv_bytes_equal(kv_bytes_str("deleted"), name)) {
        return unpack_bool(&pair->val, &out->deleted);
    }
    if (kv_bytes_equal(kv_bytes_str("more"), name)) {
        return unpack_bool(&pair->val, &out->more);
    }
    if (kv_bytes_equal(kv_bytes_str("rev"), name)) {
        return unpack_uint(&pair->val, UINT64_MAX, &out->rev);
    }
    if (kv_bytes_equal(kv_bytes_str("next"), name)) {
        return unpack_is_nil(&pair->val) || unpack_bytes(&pair->val, &out->next);
    }
    if (kv_bytes_equal(kv_bytes_str("items"), name)) {
        return decode_list(&pair->val, FIELD_ITEMS, &out->items);
    }
    if (kv_bytes_equal(kv_bytes_str("value"), name)) {
        out->has_number = unpack_int(&pair->val, &out->number);
        out->has_value = !out->has_number && !unpack_is_nil(&pair->val);
        return !out->has_value || unpack_bytes(&pair->val, &out->value);
    }
    return true;
}

static bool decode_op(const msgpack_object *o, struct rpc_reply_op *out)
{
    *out = (struct rpc_reply_op){0};
    if (o->type != MSGPACK_OBJECT_MAP) {
        return false;
    }
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        struct kv_bytes name;

        if (!unpack_bytes(&o->via.map.ptr[i].key, &name) ||
            !decode_op_field(&o->via.map.ptr[i], name, out)) {
            return false;
        }
    }
    return true;
}

static bool decode_holder(const msgpack_object *o, struct rpc_lock_holder *out)
{
    *out = (struct rpc_lock_holder){0};
    if (o->type != MSGPACK_OBJECT_MAP) {
        return false;
    }
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        const msgpack_object_kv *pair = &o->via.map.ptr[i];
        struct kv_bytes name;
        bool ok = unpack_bytes(&pair->key, &name);

        if (ok && kv_bytes_equal(kv_bytes_str("token"), name)) {
            ok = unpack_uint(&pair->val, UINT64_MAX, &out->token);
        } else if (ok && kv_bytes_equal(kv_bytes_str("owner"), name)) {
            ok = unpack_bytes(&pair->val, &out->owner);
        } else if (ok && kv_bytes_equal(kv_bytes_str("value"), name)) {
            ok = unpack_bytes(&pair->val, &out->value);
        } else if (ok && kv_bytes_equal(kv_bytes_str("left_ms"), name)) {
            ok = unpack_u32(&pair->val, UINT32_MAX, &out->left_ms);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool decode_one(const msgpack_object *o, enum field_kind kind)
{
    union {
        struct rpc_at at;
        struct rpc_item item;
        struct rpc_group_status group;
        struct rpc_reply_op op;
        struct rpc_lock_holder holder;
        uint32_t leader;
    } sink;

    switch (kind) {
    case FIELD_AT:
        return decode_at(o, &sink.at);
    case FIELD_ITEMS:
        return decode_item(o, &sink.item);
    case FIELD_GROUPS:
        return decode_group(o, &sink.group);
    case FIELD_RESULTS:
        return decode_op(o, &sink.op);
    case FIELD_HOLDERS:
        return decode_holder(o, &sink.holder);
    default:
        return unpack_u32(o, UINT32_MAX, &sink.leader);
    }
}

static bool decode_list(const msgpack_object *o, enum field_kind kind,
                        struct rpc_list *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY) {
        return false;
    }
    for (uint32_t i = 0; i < o->via.array.size; i++) {
        if (!decode_one(&o->via.array.ptr[i], kind)) {
            return false;
        }
    }
    *out = (struct rpc_list){.objects = o->via.array.ptr, .count = o->via.array.size};
    return true;
}

/* The list's i-th object: the unpacked message's own memory. */
static const msgpack_object *list_object(const struct rpc_list *l, uint32_t i)
{
    KV_ASSERT(i < l->count);
    return (const msgpack_object *)l->objects + i;
}

void rpc_reply_at_get(const struct rpc_reply *r, uint32_t i, struct rpc_at *out)
{
    bool ok = decode_at(list_object(&r->ats, i), out);

    KV_ASSERT(ok);
}

void rpc_reply_list_item_get(const struct rpc_list *l, uint32_t i, struct rpc_item *out)
{
    bool ok = decode_item(list_object(l, i), out);

    KV_ASSERT(ok);
}

void rpc_reply_item_get(const struct rpc_reply *r, uint32_t i, struct rpc_item *out)
{
    rpc_reply_list_item_get(&r->items, i, out);
}

void rpc_reply_result_get(const struct rpc_reply *r, uint32_t i,
                          struct rpc_reply_op *out)
{
    bool ok = decode_op(list_object(&r->results, i), out);

    KV_ASSERT(ok);
}

void rpc_reply_group_get(const struct rpc_reply *r, uint32_t i,
                         struct rpc_group_status *out)
{
    bool ok = decode_group(list_object(&r->groups, i), out);

    KV_ASSERT(ok);
}

void rpc_reply_holder_get(const struct rpc_reply *r, uint32_t i,
                          struct rpc_lock_holder *out)
{
    bool ok = decode_holder(list_object(&r->holders, i), out);

    KV_ASSERT(ok);
}

uint32_t rpc_reply_leader_get(const struct rpc_reply *r, uint32_t i)
{
    uint32_t leader = 0;
    bool ok = unpack_u32(list_object(&r->leaders, i), UINT32_MAX, &leader);

    KV_ASSERT(ok);
    return leader;
}

/* ---- the result's map ---- */

static bool decode_value(const msgpack_object *o, enum rpc_method method,
                         struct rpc_reply *out)
{
    if (method == RPC_KV_INCR) {
        out->has_number = true;
        return unpack_int(o, &out->number);
    }
    out->has_value = !unpack_is_nil(o);
    return !out->has_value || unpack_bytes(o, &out->value);
}

/* A range goes on from `next`, and is answered by any number of groups. */
static bool is_range(enum rpc_method method)
{
    return method == RPC_KV_RANGE || method == RPC_KV_DELRANGE;
}

/* Everything but a range was answered by one group. */
static bool decode_ats(const msgpack_object *o, enum rpc_method method,
                       struct rpc_reply *out)
{
    if (is_range(method)) {
        return decode_list(o, FIELD_AT, &out->ats) &&
               (out->ats.count == 0 || decode_at(out->ats.objects, &out->at));
    }
    out->ats = (struct rpc_list){.objects = o, .count = 1};
    return decode_at(o, &out->at);
}

static bool decode_field(const struct field_row *row, const msgpack_object *o,
                         enum rpc_method method, struct rpc_reply *out)
{
    void *at = (char *)out + row->offset;
    struct kv_bytes text;

    switch ((enum field_kind)row->kind) {
    case FIELD_BOOL:
        return unpack_bool(o, at);
    case FIELD_U32:
        return unpack_u32(o, UINT32_MAX, at);
    case FIELD_U64:
        return unpack_uint(o, UINT64_MAX, at);
    case FIELD_BYTES:
        return unpack_bytes(o, at);
    case FIELD_BYTES_OR_NIL:
        return unpack_is_nil(o) || unpack_bytes(o, at);
    case FIELD_TOKEN:
        return rpc_method_lock(method) == RPC_UNKNOWN ? unpack_bytes(o, &out->token)
                                                      : unpack_uint(o, UINT64_MAX, at);
    case FIELD_HEX64:
        return unpack_bytes(o, &text) && text_parse_hex64(text, at);
    case FIELD_VALUE:
        return decode_value(o, method, out);
    case FIELD_DELETED:
        return method == RPC_KV_DELRANGE
                   ? unpack_uint(o, UINT64_MAX, &out->deleted_count)
                   : unpack_bool(o, at);
    case FIELD_AT:
        return decode_ats(o, method, out);
    case FIELD_GROUPS:
        return method != RPC_CLUSTER_STATUS || decode_list(o, FIELD_GROUPS, at);
    case FIELD_ITEMS:
    case FIELD_LEADERS:
    case FIELD_RESULTS:
    case FIELD_HOLDERS:
        return decode_list(o, (enum field_kind)row->kind, at);
    }
    KV_UNREACHABLE();
}

static int decode_result(const msgpack_object *o, enum rpc_method method,
                         struct rpc_reply *out)
{
    uint64_t seen = 0;

    if (o->type != MSGPACK_OBJECT_MAP) {
        return KV_EPROTO;
    }
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        const msgpack_object_kv *pair = &o->via.map.ptr[i];
        struct kv_bytes name;
        uint32_t f = 0;

        if (!unpack_bytes(&pair->key, &name)) {
            return KV_EPROTO;
        }
        while (f < FIELDS_COUNT &&
               (field_rows[f].len != name.len ||
                memcmp(field_rows[f].name, name.data, name.len) != 0)) {
            f++;
        }
        if (f == FIELDS_COUNT) {
            continue;
        }
        if ((seen & ((uint64_t)1 << f)) != 0 ||
            !decode_field(&field_rows[f], &pair->val, method, out)) {
            return KV_EPROTO;
        }
        seen |= (uint64_t)1 << f;
    }
    /* A found key has a value, more keys have a place to go on from. */
    if ((field_required(method) & ~seen) != 0 ||
        (method == RPC_KV_GET && out->found != out->has_value) ||
        (is_range(method) && out->more && out->next.len == 0)) {
        return KV_EPROTO;
    }
    return 0;
}

/* ---- the whole ---- */

/* "CODE text": the word decides, an unknown one is taken for KV_EUNKNOWN. */
static int decode_error(const msgpack_object *o, struct rpc_reply *out)
{
    struct kv_bytes text;
    const uint8_t *space;
    size_t word_len;

    if (!unpack_bytes(o, &text)) {
        out->error = KV_EUNKNOWN;
        out->error_text = kv_bytes_str("the server sent an error that is not a text");
        out->error_detail = out->error_text;
        return 0;
    }
    space = text.len == 0 ? NULL : memchr(text.data, ' ', text.len);
    word_len = space == NULL ? text.len : (size_t)(space - text.data);
    out->error = word_len == 0 ? KV_EUNKNOWN
                               : kv_err_from_word((const char *)text.data, word_len);
    out->error_text = text;
    out->error_detail = space == NULL ? kv_bytes(NULL, 0)
                                      : kv_bytes(space + 1, text.len - word_len - 1);
    return 0;
}

int rpc_reply_decode_tail(struct rpc_decoder *d, struct kv_bytes tail,
                          enum rpc_method method, struct rpc_reply *out)
{
    msgpack_object error;
    msgpack_object result;
    size_t used;
    int rc;

    *out = (struct rpc_reply){0};
    rc = unpack_pair(d, tail, &error, &result, &used);
    if (rc != 0) {
        return rc;
    }
    if (!unpack_is_nil(&error)) {
        return decode_error(&error, out);
    }
    out->result = kv_bytes(tail.data + used, tail.len - used);
    return decode_result(&result, method, out);
}

int rpc_reply_decode(struct rpc_decoder *d, struct kv_bytes message,
                     enum rpc_method method, struct rpc_reply *out)
{
    struct kv_bytes tail;
    uint32_t msgid;
    int rc = rpc_response_split(message, &msgid, &tail);

    if (rc == 0) {
        rc = rpc_reply_decode_tail(d, tail, method, out);
        out->msgid = msgid;
    }
    return rc;
}
