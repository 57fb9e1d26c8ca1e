/* rpc/news.c - who leads which group, written and read. */
#include "rpc/news.h"

#include "rpc/pack.h"
#include "rpc/unpack.h"

static const char leaders_method[] = "cluster.leaders";

void rpc_leaders_begin(struct buf *b, uint32_t count)
{
    pack_array(b, 3);
    pack_uint(b, RPC_NOTIFICATION);
    pack_str(b, leaders_method);
    pack_array(b, 1);
    pack_array(b, count);
}

void rpc_leaders_add(struct buf *b, const struct rpc_leader *leader)
{
    pack_array(b, 3);
    pack_uint(b, leader->group);
    pack_uint(b, leader->node);
    pack_uint(b, leader->term);
}

static bool read_leader(const msgpack_object *o, struct rpc_leader *out)
{
    return unpack_is_array(o, 3) &&
           unpack_u32(&o->via.array.ptr[0], UINT32_MAX, &out->group) &&
           unpack_u32(&o->via.array.ptr[1], UINT32_MAX, &out->node) &&
           unpack_uint(&o->via.array.ptr[2], UINT64_MAX, &out->term);
}

int rpc_leaders_decode(struct rpc_decoder *d, struct kv_bytes message,
                       struct rpc_list *out)
{
    const msgpack_object *list;
    struct rpc_leader sink;
    struct kv_bytes name;
    msgpack_object o;
    int rc = unpack_message(d, message, &o);

    if (rc != 0) {
        return rc;
    }
    if (!unpack_is_array(&o, 3) || !unpack_bytes(&o.via.array.ptr[1], &name)) {
        return KV_EPROTO;
    }
    if (!kv_bytes_equal(name, kv_bytes_str(leaders_method))) {
        return KV_ENOTFOUND;
    }
    if (!unpack_is_array(&o.via.array.ptr[2], 1)) {
        return KV_EPROTO;
    }
    list = &o.via.array.ptr[2].via.array.ptr[0];
    if (list->type != MSGPACK_OBJECT_ARRAY) {
        return KV_EPROTO;
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!read_leader(&list->via.array.ptr[i], &sink)) {
            return KV_EPROTO;
        }
    }
    *out = (struct rpc_list){list->via.array.ptr, list->via.array.size};
    return 0;
}

void rpc_leader_get(const struct rpc_list *leaders, uint32_t i, struct rpc_leader *out)
{
    bool ok;

    KV_ASSERT(i < leaders->count);
    ok = read_leader((const msgpack_object *)leaders->objects + i, out);
    KV_ASSERT(ok);
}
