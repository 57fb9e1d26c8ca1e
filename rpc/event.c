/* rpc/event.c - notifications of watches, written and read. */
#include "rpc/event.h"

#include "rpc/pack.h"
#include "rpc/unpack.h"

static const char event_method[] = "kv.event";

static const char *const event_names[RPC_EVENTS_COUNT] = {
#define EVENT_NAME(name, wire) [name] = wire,
    RPC_EVENT_MAP(EVENT_NAME)
#undef EVENT_NAME
};

const char *rpc_event_name(enum rpc_event_type type)
{
    KV_ASSERT(type < RPC_EVENTS_COUNT);
    return event_names[type];
}

/* ---- writing ---- */

void rpc_event_begin(struct rpc_event_writer *w, struct buf *b, uint64_t watch)
{
    static const uint8_t array32[5] = {0xdd}; /* The number is set at the end. */

    *w = (struct rpc_event_writer){.b = b, .mark = buf_mark(b)};
    pack_array(b, 3);
    pack_uint(b, RPC_NOTIFICATION);
    pack_str(b, event_method);
    pack_array(b, 3);
    pack_uint(b, watch);
    w->count_at = buf_mark(b) + 1;
    buf_append(b, array32, sizeof array32);
}

void rpc_event_add(struct rpc_event_writer *w, const struct rpc_event *event)
{
    pack_array(w->b, 5);
    pack_str(w->b, event_names[event->type]);
    pack_bin_or_nil(w->b, event->key.len > 0, event->key);
    pack_bin_or_nil(w->b, event->has_value, event->value);
    pack_uint(w->b, event->rev);
    pack_bin_or_nil(w->b, event->has_prev, event->prev);
    w->count++;
}

void rpc_event_end(struct rpc_event_writer *w, struct kv_bytes pos)
{
    if (w->count == 0) {
        buf_rewind(w->b, w->mark);
        return;
    }
    pack_bin(w->b, pos);
    if (w->b->error == 0) {
        kv_put_u32be(w->b->data + w->count_at, w->count);
    }
}

/* ---- reading ---- */

static bool type_find(struct kv_bytes name, enum rpc_event_type *out)
{
    for (uint32_t i = 0; i < RPC_EVENTS_COUNT; i++) {
        if (kv_bytes_equal(kv_bytes_str(event_names[i]), name)) {
            *out = (enum rpc_event_type)i;
            return true;
        }
    }
    return false;
}

/* Bytes or nil. */
static bool read_bytes(const msgpack_object *o, bool *out_has, struct kv_bytes *out)
{
    *out_has = !unpack_is_nil(o);
    return !*out_has || unpack_bytes(o, out);
}

static bool read_event(const msgpack_object *o, struct rpc_event *out)
{
    const msgpack_object *items = o->via.array.ptr;
    struct kv_bytes name;
    bool has_key;

    *out = (struct rpc_event){0};
    return unpack_is_array(o, 5) && unpack_bytes(&items[0], &name) &&
           type_find(name, &out->type) && read_bytes(&items[1], &has_key, &out->key) &&
           read_bytes(&items[2], &out->has_value, &out->value) &&
           unpack_uint(&items[3], UINT64_MAX, &out->rev) &&
           read_bytes(&items[4], &out->has_prev, &out->prev);
}

int rpc_events_decode(struct rpc_decoder *d, struct kv_bytes message,
                      struct rpc_events *out)
{
    const msgpack_object *items;
    struct rpc_event sink;
    struct kv_bytes name;
    msgpack_object o;
    int rc = unpack_message(d, message, &o);

    if (rc != 0) {
        return rc;
    }
    if (!unpack_is_array(&o, 3) || !unpack_bytes(&o.via.array.ptr[1], &name)) {
        return KV_EPROTO;
    }
    if (!kv_bytes_equal(name, kv_bytes_str(event_method))) {
        return KV_ENOTFOUND;
    }
    if (!unpack_is_array(&o.via.array.ptr[2], 3)) {
        return KV_EPROTO;
    }
    items = o.via.array.ptr[2].via.array.ptr;
    if (!unpack_uint(&items[0], UINT64_MAX, &out->watch) ||
        items[1].type != MSGPACK_OBJECT_ARRAY || !unpack_bytes(&items[2], &out->pos)) {
        return KV_EPROTO;
    }
    for (uint32_t i = 0; i < items[1].via.array.size; i++) {
        if (!read_event(&items[1].via.array.ptr[i], &sink)) {
            return KV_EPROTO;
        }
    }
    out->events = (struct rpc_list){items[1].via.array.ptr, items[1].via.array.size};
    return 0;
}

void rpc_event_get(const struct rpc_events *e, uint32_t i, struct rpc_event *out)
{
    bool ok;

    KV_ASSERT(i < e->events.count);
    ok = read_event((const msgpack_object *)e->events.objects + i, out);
    KV_ASSERT(ok);
}
