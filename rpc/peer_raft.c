/* rpc/peer_raft.c - Raft messages as MessagePack arrays.
 *
 *   [group, type, from, to, term, mask, field...]
 *
 * mask has a bit for each field that is not zero; the fields follow in the order of the
 * bits, yes-or-no fields are their bit alone. So a heartbeat takes a dozen bytes, every
 * field of struct raft_msg travels with every type, and unknown bits are refused.
 */
#include "raft/base/err.h"
#include "raft/record.h"
#include "rpc/pack.h"
#include "rpc/peer_body.h"
#include "rpc/peer.h"

/* Order on the wire; see peer.h and docs/protocol.md before changing it. */
enum {
    HAS_LAST = 1u << 0, /* index, term */
    HAS_PREV = 1u << 1, /* index, term */
    HAS_PREV_HASH = 1u << 2,
    HAS_COMMIT = 1u << 3,
    HAS_ROUND = 1u << 4,
    HAS_MATCH = 1u << 5,
    HAS_HASH = 1u << 6,
    HAS_CONFLICT = 1u << 7, /* index, term */
    HAS_ENTRIES = 1u << 8,  /* [record (bin)...] */
    HAS_SNAPSHOT = 1u << 9, /* [id, index, term, hash, time, state_hash, bytes, config
                             * (bin), config_index] */
    HAS_CHUNK = 1u << 10,   /* [snapshot_id, offset, data (bin)] */
    IS_GRANTED = 1u << 11,
    IS_REJECTED = 1u << 12,
    IS_TRANSFER = 1u << 13,
    IS_HINT = 1u << 14,
    IS_CHUNK_DONE = 1u << 15,
    HAS_STAMP = 1u << 16,
    HAS_FRESH = 1u << 17,
    MASK_ALL = (1u << 18) - 1,
    MASK_PAIRS = HAS_LAST | HAS_PREV | HAS_CONFLICT,
    MASK_FIELDS = ((1u << 11) - 1) | HAS_STAMP | HAS_FRESH,

    HEAD_FIELDS = 6,
    SNAPSHOT_FIELDS = 9,
    CHUNK_FIELDS = 3,
};

/* ---- encoding ---- */

static bool pos_is_set(struct raft_pos pos)
{
    return pos.index != 0 || pos.term != 0;
}

static uint32_t mask_if(bool set, uint32_t bit)
{
    return set ? bit : 0;
}

static uint32_t encode_mask(const struct raft_msg *m)
{
    const struct raft_chunk *c = &m->chunk;

    return mask_if(pos_is_set(m->last), HAS_LAST) |
           mask_if(pos_is_set(m->prev), HAS_PREV) |
           mask_if(m->prev_hash != 0, HAS_PREV_HASH) |
           mask_if(m->commit != 0, HAS_COMMIT) | mask_if(m->round != 0, HAS_ROUND) |
           mask_if(m->match != 0, HAS_MATCH) | mask_if(m->hash != 0, HAS_HASH) |
           mask_if(pos_is_set(m->conflict), HAS_CONFLICT) |
           mask_if(m->entries_count != 0, HAS_ENTRIES) |
           mask_if(m->type == RAFT_MSG_SNAPSHOT, HAS_SNAPSHOT) |
           mask_if(c->snapshot_id != 0 || c->offset != 0 || c->len != 0, HAS_CHUNK) |
           mask_if(m->granted, IS_GRANTED) | mask_if(m->rejected, IS_REJECTED) |
           mask_if(m->transfer, IS_TRANSFER) | mask_if(m->hint, IS_HINT) |
           mask_if(c->done, IS_CHUNK_DONE) | mask_if(m->stamp != 0, HAS_STAMP) |
           mask_if(m->fresh != 0, HAS_FRESH);
}

static uint32_t mask_fields(uint32_t mask)
{
    return HEAD_FIELDS + (uint32_t)__builtin_popcount(mask & MASK_FIELDS) +
           (uint32_t)__builtin_popcount(mask & MASK_PAIRS);
}

static void encode_pos(struct buf *b, uint32_t mask, uint32_t bit, struct raft_pos pos)
{
    if ((mask & bit) != 0) {
        pack_uint(b, pos.index);
        pack_uint(b, pos.term);
    }
}

static void encode_u64(struct buf *b, uint32_t mask, uint32_t bit, uint64_t value)
{
    if ((mask & bit) != 0) {
        pack_uint(b, value);
    }
}

static void encode_snapshot(struct buf *b, const struct raft_snapshot *s)
{
    uint8_t config[RAFT_CONFIG_BYTES_MAX];
    size_t config_bytes = raft_config_encode(&s->config, config);

    pack_array(b, SNAPSHOT_FIELDS);
    pack_uint(b, s->id);
    pack_uint(b, s->last.pos.index);
    pack_uint(b, s->last.pos.term);
    pack_uint(b, s->last.hash);
    pack_uint(b, s->last.time_ms);
    pack_uint(b, s->state_hash);
    pack_uint(b, s->bytes);
    pack_bin(b, kv_bytes(config, config_bytes));
    pack_uint(b, s->config_index);
}

static void encode_chunk(struct buf *b, const struct raft_msg *m)
{
    const struct raft_chunk *c = &m->chunk;
    bool sends = m->type == RAFT_MSG_SNAPSHOT;

    pack_array(b, CHUNK_FIELDS);
    pack_uint(b, c->snapshot_id);
    pack_uint(b, c->offset);
    pack_bin(b, sends ? kv_bytes(c->data.data, c->len) : kv_bytes(NULL, 0));
}

void peer_raft_begin(struct buf *b, uint32_t count)
{
    KV_ASSERT(count <= KV_PEER_MSGS_MAX);
    pack_array(b, count);
}

void peer_raft_encode(struct buf *b, const struct peer_raft *p)
{
    const struct raft_msg *m = &p->msg;
    uint32_t mask = encode_mask(m);

    KV_ASSERT(m->type > RAFT_MSG_NONE && m->type < RAFT_MSG_TYPES_COUNT);
    KV_ASSERT(m->entries_count <= KV_APPEND_ENTRIES_MAX);
    KV_ASSERT(m->chunk.len <= KV_SNAPSHOT_CHUNK_BYTES_MAX);
    pack_array(b, mask_fields(mask));
    pack_uint(b, p->group);
    pack_uint(b, m->type);
    pack_uint(b, m->from);
    pack_uint(b, m->to);
    pack_uint(b, m->term);
    pack_uint(b, mask);
    encode_pos(b, mask, HAS_LAST, m->last);
    encode_pos(b, mask, HAS_PREV, m->prev);
    encode_u64(b, mask, HAS_PREV_HASH, m->prev_hash);
    encode_u64(b, mask, HAS_COMMIT, m->commit);
    encode_u64(b, mask, HAS_ROUND, m->round);
    encode_u64(b, mask, HAS_MATCH, m->match);
    encode_u64(b, mask, HAS_HASH, m->hash);
    encode_pos(b, mask, HAS_CONFLICT, m->conflict);
    if ((mask & HAS_ENTRIES) != 0) {
        pack_array(b, m->entries_count);
        for (uint32_t i = 0; i < m->entries_count; i++) {
            pack_bin(b, p->records[i]);
        }
    }
    if ((mask & HAS_SNAPSHOT) != 0) {
        encode_snapshot(b, &m->snapshot);
    }
    if ((mask & HAS_CHUNK) != 0) {
        encode_chunk(b, m);
    }
    encode_u64(b, mask, HAS_STAMP, m->stamp);
    encode_u64(b, mask, HAS_FRESH, m->fresh);
}

/* ---- decoding ---- */

/* Walks the fields of one message; `ok` turns false at the first wrong one. */
struct raft_cursor {
    const msgpack_object *at; /* Next field; the count was checked against the mask. */
    uint32_t mask;
    bool ok;
};

static uint64_t decode_u64(struct raft_cursor *c, uint32_t bit)
{
    uint64_t value = 0;

    if ((c->mask & bit) != 0) {
        c->ok = c->ok && unpack_uint(c->at, UINT64_MAX, &value);
        c->at++;
    }
    return value;
}

static struct raft_pos decode_pos(struct raft_cursor *c, uint32_t bit)
{
    struct raft_pos pos = {.index = decode_u64(c, bit)};

    pos.term = decode_u64(c, bit);
    return pos;
}

static bool decode_snapshot(const msgpack_object *o, struct raft_snapshot *out)
{
    const msgpack_object *items = o->via.array.ptr;
    struct kv_bytes config;

    return unpack_is_array(o, SNAPSHOT_FIELDS) &&
           unpack_uint(&items[0], UINT64_MAX, &out->id) &&
           unpack_uint(&items[1], UINT64_MAX, &out->last.pos.index) &&
           unpack_uint(&items[2], UINT64_MAX, &out->last.pos.term) &&
           unpack_uint(&items[3], UINT64_MAX, &out->last.hash) &&
           unpack_uint(&items[4], UINT64_MAX, &out->last.time_ms) &&
           unpack_uint(&items[5], UINT64_MAX, &out->state_hash) &&
           unpack_uint(&items[6], UINT64_MAX, &out->bytes) &&
           unpack_bytes(&items[7], &config) &&
           raft_config_decode(config, &out->config) == 0 &&
           unpack_uint(&items[8], UINT64_MAX, &out->config_index);
}

static bool decode_chunk(const msgpack_object *o, struct raft_chunk *out)
{
    const msgpack_object *items = o->via.array.ptr;

    if (!unpack_is_array(o, CHUNK_FIELDS) ||
        !unpack_uint(&items[0], UINT64_MAX, &out->snapshot_id) ||
        !unpack_uint(&items[1], UINT64_MAX, &out->offset) ||
        !unpack_bytes(&items[2], &out->data) ||
        out->data.len > KV_SNAPSHOT_CHUNK_BYTES_MAX ||
        out->offset > UINT64_MAX - out->data.len) {
        return false;
    }
    out->len = (uint32_t)out->data.len;
    return true;
}

/* Entries: every record verified, every index where it must be. */
static int decode_entries(const msgpack_object *o, struct arena *arena,
                          struct raft_msg *m)
{
    struct raft_entry *entries;
    uint32_t count;

    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0) {
        return KV_EPROTO;
    }
    count = o->via.array.size;
    if (count > KV_APPEND_ENTRIES_MAX) {
        return KV_ETOOLARGE;
    }
    entries = arena_alloc(arena, count * sizeof *entries);
    if (entries == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes record;

        if (!unpack_bytes(&o->via.array.ptr[i], &record) ||
            raft_record_decode(record, &entries[i]) != 0 ||
            entries[i].pos.index != m->prev.index + 1 + i) {
            return KV_EPROTO;
        }
    }
    m->entries = entries;
    m->entries_count = count;
    return 0;
}

/* Group, type, from, to, term, mask. */
static bool decode_head(const msgpack_object *o, struct peer_raft *p,
                        uint32_t *out_mask)
{
    const msgpack_object *items = o->via.array.ptr;
    struct raft_msg *m = &p->msg;
    uint32_t type;

    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < HEAD_FIELDS ||
        !unpack_u32(&items[0], UINT32_MAX, &p->group) ||
        !unpack_u32(&items[1], RAFT_MSG_TYPES_COUNT - 1, &type) ||
        type == RAFT_MSG_NONE || !unpack_u32(&items[2], UINT32_MAX, &m->from) ||
        !unpack_u32(&items[3], UINT32_MAX, &m->to) ||
        !unpack_uint(&items[4], UINT64_MAX, &m->term) ||
        !unpack_u32(&items[5], MASK_ALL, out_mask)) {
        return false;
    }
    m->type = (enum raft_msg_type)type;
    return o->via.array.size == mask_fields(*out_mask) && m->from != 0 && m->to != 0;
}

/* What belongs to one type only. */
static bool mask_fits(uint32_t mask, enum raft_msg_type type)
{
    return ((mask & HAS_ENTRIES) == 0 || type == RAFT_MSG_APPEND) &&
           ((mask & HAS_SNAPSHOT) != 0) == (type == RAFT_MSG_SNAPSHOT) &&
           ((mask & (HAS_CHUNK | IS_CHUNK_DONE)) == 0 || type == RAFT_MSG_SNAPSHOT ||
            type == RAFT_MSG_SNAPSHOT_REPLY);
}

static int decode_message(const msgpack_object *o, struct arena *arena,
                          struct peer_raft *p)
{
    struct raft_msg *m = &p->msg;
    struct raft_cursor c = {.ok = true};

    *p = (struct peer_raft){0};
    if (!decode_head(o, p, &c.mask) || !mask_fits(c.mask, m->type)) {
        return KV_EPROTO;
    }
    c.at = o->via.array.ptr + HEAD_FIELDS;
    m->last = decode_pos(&c, HAS_LAST);
    m->prev = decode_pos(&c, HAS_PREV);
    m->prev_hash = decode_u64(&c, HAS_PREV_HASH);
    m->commit = decode_u64(&c, HAS_COMMIT);
    m->round = decode_u64(&c, HAS_ROUND);
    m->match = decode_u64(&c, HAS_MATCH);
    m->hash = decode_u64(&c, HAS_HASH);
    m->conflict = decode_pos(&c, HAS_CONFLICT);
    m->granted = (c.mask & IS_GRANTED) != 0;
    m->rejected = (c.mask & IS_REJECTED) != 0;
    m->transfer = (c.mask & IS_TRANSFER) != 0;
    m->hint = (c.mask & IS_HINT) != 0;
    if (c.ok && (c.mask & HAS_ENTRIES) != 0) {
        int rc = decode_entries(c.at++, arena, m);

        if (rc != 0) {
            return rc;
        }
    }
    if (c.ok && (c.mask & HAS_SNAPSHOT) != 0) {
        c.ok = decode_snapshot(c.at++, &m->snapshot);
    }
    if (c.ok && (c.mask & HAS_CHUNK) != 0) {
        c.ok = decode_chunk(c.at++, &m->chunk);
    }
    m->chunk.done = (c.mask & IS_CHUNK_DONE) != 0;
    m->stamp = decode_u64(&c, HAS_STAMP);
    m->fresh = decode_u64(&c, HAS_FRESH);
    return c.ok ? 0 : KV_EPROTO;
}

int peer_raft_decode(struct rpc_decoder *d, struct kv_bytes body, struct arena *arena,
                     struct peer_raft **out, uint32_t *out_count)
{
    struct peer_raft *messages;
    uint32_t entries_left = KV_PEER_ENTRIES_MAX;
    msgpack_object o;
    int rc = peer_unpack(d, body, &o);

    if (rc != 0) {
        return rc;
    }
    if (o.type != MSGPACK_OBJECT_ARRAY) {
        return KV_EPROTO;
    }
    if (o.via.array.size > KV_PEER_MSGS_MAX) {
        return KV_ETOOLARGE;
    }
    messages = arena_alloc(arena, o.via.array.size * sizeof *messages);
    if (messages == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < o.via.array.size; i++) {
        rc = decode_message(&o.via.array.ptr[i], arena, &messages[i]);
        if (rc != 0) {
            return rc;
        }
        if (messages[i].msg.entries_count > entries_left) {
            return KV_ETOOLARGE;
        }
        entries_left -= messages[i].msg.entries_count;
    }
    *out = messages;
    *out_count = o.via.array.size;
    return 0;
}
