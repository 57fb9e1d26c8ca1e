/* rpc/peer.c - frames, and the bodies that are not Raft's. */
#include "rpc/peer.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "rpc/pack.h"
#include "rpc/peer_body.h"
#include "rpc/scan.h"

/* Offsets in the header, see peer.h. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 5,
    AT_FLAGS = 6,
    AT_BODY_BYTES = 8,
    AT_CRC = 12,
    AT_CLUSTER = 16,
    AT_FROM = 24,
    AT_TO = 28,
    AT_BOOT_NONCE = 32,
    AT_INCARNATION = 40,
};

_Static_assert(AT_INCARNATION + 8 == PEER_HEAD_BYTES,
               "the header has no gap at its end");

/* ---- frames ---- */

/* CRC32C of a whole frame with its CRC field taken as zero. */
static uint32_t frame_crc(const uint8_t *frame, size_t len)
{
    static const uint8_t zero[4] = {0};
    uint32_t crc = kv_crc32c(0, frame, AT_CRC);

    crc = kv_crc32c(crc, zero, sizeof zero);
    return kv_crc32c(crc, frame + AT_CLUSTER, len - AT_CLUSTER);
}

size_t peer_frame_begin(struct buf *b, const struct peer_head *head)
{
    size_t mark = buf_mark(b);
    uint8_t *at = buf_reserve(b, PEER_HEAD_BYTES);

    KV_ASSERT(head->kind >= PEER_HELLO && head->kind < PEER_KINDS_END);
    if (at != NULL) {
        kv_put_u32le(at + AT_MAGIC, PEER_MAGIC);
        at[AT_VERSION] = PEER_VERSION;
        at[AT_KIND] = head->kind;
        kv_put_u16le(at + AT_FLAGS, head->flags);
        kv_put_u32le(at + AT_BODY_BYTES, 0);
        kv_put_u32le(at + AT_CRC, 0);
        kv_put_u64le(at + AT_CLUSTER, head->cluster);
        kv_put_u32le(at + AT_FROM, head->from);
        kv_put_u32le(at + AT_TO, head->to);
        kv_put_u64le(at + AT_BOOT_NONCE, head->boot_nonce);
        kv_put_u64le(at + AT_INCARNATION, head->incarnation);
    }
    return mark;
}

int peer_frame_end(struct buf *b, size_t mark)
{
    size_t frame_bytes;
    int rc = b->error;

    if (rc == 0) {
        KV_ASSERT(b->len >= mark + PEER_HEAD_BYTES);
        rc = b->len - mark > PEER_FRAME_BYTES_MAX ? KV_ETOOLARGE : 0;
    }
    if (rc != 0) {
        buf_rewind(b, mark);
        return rc;
    }
    frame_bytes = b->len - mark;
    kv_put_u32le(b->data + mark + AT_BODY_BYTES,
                 (uint32_t)(frame_bytes - PEER_HEAD_BYTES));
    kv_put_u32le(b->data + mark + AT_CRC, frame_crc(b->data + mark, frame_bytes));
    return 0;
}

int peer_frame_decode(const uint8_t *data, size_t len, struct peer_frame *out,
                      size_t *out_need)
{
    uint32_t body_bytes;
    size_t frame_bytes;

    /* Strangers are sent away at the first bytes, not after 48. */
    if (len >= 4 && kv_get_u32le(data + AT_MAGIC) != PEER_MAGIC) {
        return KV_EPROTO;
    }
    if (len < PEER_HEAD_BYTES) {
        *out_need = PEER_HEAD_BYTES;
        return KV_EAGAIN;
    }
    if (data[AT_VERSION] != PEER_VERSION) {
        return KV_EFORMAT;
    }
    if (data[AT_KIND] < PEER_HELLO || data[AT_KIND] >= PEER_KINDS_END) {
        return KV_EPROTO;
    }
    body_bytes = kv_get_u32le(data + AT_BODY_BYTES);
    if (body_bytes > KV_PEER_BODY_BYTES_MAX) {
        return KV_ETOOLARGE;
    }
    frame_bytes = PEER_HEAD_BYTES + (size_t)body_bytes;
    if (len < frame_bytes) {
        *out_need = frame_bytes;
        return KV_EAGAIN;
    }
    if (kv_get_u32le(data + AT_CRC) != frame_crc(data, frame_bytes)) {
        return KV_EPROTO;
    }
    *out = (struct peer_frame){
        .head = {.kind = data[AT_KIND],
                 .flags = kv_get_u16le(data + AT_FLAGS),
                 .cluster = kv_get_u64le(data + AT_CLUSTER),
                 .from = kv_get_u32le(data + AT_FROM),
                 .to = kv_get_u32le(data + AT_TO),
                 .boot_nonce = kv_get_u64le(data + AT_BOOT_NONCE),
                 .incarnation = kv_get_u64le(data + AT_INCARNATION)},
        .body = kv_bytes(data + PEER_HEAD_BYTES, body_bytes),
        .frame_bytes = frame_bytes,
    };
    return 0;
}

/* ---- bodies ---- */

int peer_unpack(struct rpc_decoder *d, struct kv_bytes body, msgpack_object *out)
{
    int rc = scan_whole(&scan_limits_peer, body.data, body.len);

    return rc != 0 ? rc : unpack_message(d, body, out);
}

int peer_unpack_array(struct rpc_decoder *d, struct kv_bytes body, uint32_t count,
                      const msgpack_object **out_items)
{
    msgpack_object o;
    int rc = peer_unpack(d, body, &o);

    if (rc != 0) {
        return rc;
    }
    if (!unpack_is_array(&o, count)) {
        return KV_EPROTO;
    }
    *out_items = o.via.array.ptr;
    return 0;
}

void peer_hello_encode(struct buf *b, const struct peer_hello *hello)
{
    pack_array(b, 6);
    pack_str(b, hello->host);
    pack_uint(b, hello->client_port);
    pack_uint(b, hello->peer_port);
    pack_uint(b, hello->http_port);
    pack_str(b, hello->zone);
    pack_uint(b, hello->features);
}

int peer_hello_decode(struct rpc_decoder *d, struct kv_bytes body,
                      struct peer_hello *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, 6, &items);

    if (rc != 0) {
        return rc;
    }
    return unpack_name(&items[0], 1, out->host, sizeof out->host) &&
                   unpack_u16(&items[1], &out->client_port) &&
                   unpack_u16(&items[2], &out->peer_port) &&
                   unpack_u16(&items[3], &out->http_port) &&
                   unpack_name(&items[4], 0, out->zone, sizeof out->zone) &&
                   unpack_uint(&items[5], UINT64_MAX, &out->features)
               ? 0
               : KV_EPROTO;
}

void peer_forward_encode(struct buf *b, const struct peer_forward *forward)
{
    pack_array(b, 3);
    pack_uint(b, forward->id);
    pack_uint(b, forward->deadline_ms);
    pack_bin(b, forward->request);
}

int peer_forward_decode(struct rpc_decoder *d, struct kv_bytes body,
                        struct peer_forward *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, 3, &items);

    if (rc != 0) {
        return rc;
    }
    if (!unpack_uint(&items[0], UINT64_MAX, &out->id) ||
        !unpack_u32(&items[1], UINT32_MAX, &out->deadline_ms) ||
        !unpack_bytes(&items[2], &out->request) || out->deadline_ms == 0) {
        return KV_EPROTO;
    }
    return out->request.len > KV_REQUEST_BYTES_MAX ? KV_ETOOLARGE : 0;
}

void peer_forward_reply_encode(struct buf *b, const struct peer_forward_reply *reply)
{
    pack_array(b, 2);
    pack_uint(b, reply->id);
    pack_bin(b, reply->tail);
}

/* A tail goes to clients, or into a decoder, as it is: two objects, within the limits
 * of a response, and nothing behind them. */
static int forward_reply_check(struct kv_bytes tail)
{
    struct scan_limits limits = scan_limits_response;
    struct scan s;
    size_t error_bytes;
    size_t result_bytes;
    int rc;

    if (tail.len > KV_RESPONSE_BYTES_MAX) {
        return KV_ETOOLARGE;
    }
    limits.is_rpc = false;
    scan_init(&s, &limits);
    rc = scan_feed(&s, tail.data, tail.len, &error_bytes);
    if (rc == 0) {
        rc = scan_feed(&s, tail.data + error_bytes, tail.len - error_bytes,
                       &result_bytes);
    }
    if (rc == 0 && error_bytes + result_bytes != tail.len) {
        rc = KV_EPROTO;
    }
    return rc == KV_EAGAIN ? KV_EPROTO : rc;
}

int peer_forward_reply_decode(struct rpc_decoder *d, struct kv_bytes body,
                              struct peer_forward_reply *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, 2, &items);

    if (rc != 0) {
        return rc;
    }
    if (!unpack_uint(&items[0], UINT64_MAX, &out->id) ||
        !unpack_bytes(&items[1], &out->tail)) {
        return KV_EPROTO;
    }
    return forward_reply_check(out->tail);
}

void peer_fetch_encode(struct buf *b, const struct peer_fetch *fetch)
{
    pack_array(b, 4);
    pack_uint(b, fetch->id);
    pack_uint(b, fetch->group);
    pack_uint(b, fetch->index);
    pack_uint(b, fetch->hash);
}

/* What request and reply have in common. */
static bool fetch_decode_head(const msgpack_object *items, struct peer_fetch *out)
{
    *out = (struct peer_fetch){0};
    return unpack_uint(&items[0], UINT64_MAX, &out->id) &&
           unpack_u32(&items[1], UINT32_MAX, &out->group) &&
           unpack_uint(&items[2], UINT64_MAX, &out->index) && out->index > 0;
}

int peer_fetch_decode(struct rpc_decoder *d, struct kv_bytes body,
                      struct peer_fetch *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, 4, &items);

    if (rc != 0) {
        return rc;
    }
    return fetch_decode_head(items, out) &&
                   unpack_uint(&items[3], UINT64_MAX, &out->hash)
               ? 0
               : KV_EPROTO;
}

void peer_fetch_reply_encode(struct buf *b, const struct peer_fetch *fetch)
{
    pack_array(b, 4);
    pack_uint(b, fetch->id);
    pack_uint(b, fetch->group);
    pack_uint(b, fetch->index);
    pack_bin_or_nil(b, fetch->found, fetch->record);
}

int peer_fetch_reply_decode(struct rpc_decoder *d, struct kv_bytes body,
                            struct peer_fetch *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, 4, &items);

    if (rc != 0) {
        return rc;
    }
    if (!fetch_decode_head(items, out)) {
        return KV_EPROTO;
    }
    out->found = !unpack_is_nil(&items[3]);
    if (out->found && !unpack_bytes(&items[3], &out->record)) {
        return KV_EPROTO;
    }
    return out->record.len > KV_RECORD_BYTES_MAX ? KV_ETOOLARGE : 0;
}

void peer_state_encode(struct buf *b, const struct peer_state *states, uint32_t count)
{
    KV_ASSERT(count <= KV_GROUPS_MAX);
    pack_array(b, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(b, 4);
        pack_uint(b, states[i].group);
        pack_uint(b, states[i].leader);
        pack_uint(b, states[i].term);
        pack_uint(b, states[i].applied);
    }
}

int peer_state_decode(struct rpc_decoder *d, struct kv_bytes body, struct arena *arena,
                      struct peer_state **out, uint32_t *out_count)
{
    struct peer_state *states;
    msgpack_object o;
    int rc = peer_unpack(d, body, &o);

    if (rc != 0) {
        return rc;
    }
    if (o.type != MSGPACK_OBJECT_ARRAY) {
        return KV_EPROTO;
    }
    if (o.via.array.size > KV_GROUPS_MAX) {
        return KV_ETOOLARGE;
    }
    states = arena_alloc(arena, o.via.array.size * sizeof *states);
    if (states == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < o.via.array.size; i++) {
        const msgpack_object *one = &o.via.array.ptr[i];
        const msgpack_object *items = one->via.array.ptr;

        if (!unpack_is_array(one, 4) ||
            !unpack_u32(&items[0], UINT32_MAX, &states[i].group) ||
            !unpack_u32(&items[1], UINT32_MAX, &states[i].leader) ||
            !unpack_uint(&items[2], UINT64_MAX, &states[i].term) ||
            !unpack_uint(&items[3], UINT64_MAX, &states[i].applied)) {
            return KV_EPROTO;
        }
    }
    *out = states;
    *out_count = o.via.array.size;
    return 0;
}
