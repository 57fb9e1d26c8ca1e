/* storage/row.c - rows as bytes. */
#include "storage/row.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

bool row_fits(const struct row *r)
{
    return r->key.len >= 1 && r->key.len <= ROW_KEY_BYTES_MAX &&
           r->value.len <= ROW_VALUE_BYTES_MAX && r->kind != 0;
}

uint64_t row_hash(const struct row *r)
{
    uint8_t head[19];
    uint64_t hash;

    head[0] = r->kind;
    kv_put_u16le(head + 1, r->slot);
    kv_put_u64le(head + 3, r->rev);
    kv_put_u32le(head + 11, (uint32_t)r->key.len);
    kv_put_u32le(head + 15, (uint32_t)r->value.len);
    hash = kv_hash64(head, sizeof head);
    hash = kv_hash64_seed(r->key.data, r->key.len, hash);
    return kv_hash64_seed(r->value.data, r->value.len, hash);
}

static uint32_t row_crc(group_id group, uint8_t kind, struct kv_bytes key,
                        const uint8_t *tail, size_t tail_len)
{
    uint8_t head[5];
    uint32_t crc;

    kv_put_u32le(head, group);
    head[4] = kind;
    crc = kv_crc32c(0, head, sizeof head);
    crc = kv_crc32c(crc, key.data, key.len);
    return kv_crc32c(crc, tail, tail_len);
}

void row_encode(group_id group, const struct row *r, uint8_t *out)
{
    KV_ASSERT(row_fits(r));
    KV_ASSERT(!r->deleted);
    out[4] = ROW_VERSION;
    out[5] = r->kind;
    kv_put_u16le(out + 6, r->slot);
    kv_put_u64le(out + 8, r->rev);
    if (r->value.len > 0) {
        memcpy(out + ROW_HEAD_BYTES, r->value.data, r->value.len);
    }
    kv_put_u32le(out, row_crc(group, r->kind, r->key, out + 4,
                              ROW_HEAD_BYTES - 4 + r->value.len));
}

int row_decode(group_id group, uint8_t kind, struct kv_bytes key, struct kv_bytes value,
               struct row *out)
{
    const uint8_t *p = value.data;

    if (value.len < ROW_HEAD_BYTES ||
        value.len > ROW_HEAD_BYTES + ROW_VALUE_BYTES_MAX || key.len < 1 ||
        key.len > ROW_KEY_BYTES_MAX) {
        return KV_EDAMAGED;
    }
    if (kv_get_u32le(p) != row_crc(group, kind, key, p + 4, value.len - 4) ||
        p[5] != kind) {
        return KV_EDAMAGED;
    }
    if (p[4] != ROW_VERSION) {
        return KV_EFORMAT;
    }
    *out = (struct row){
        .kind = kind,
        .slot = kv_get_u16le(p + 6),
        .rev = kv_get_u64le(p + 8),
        .key = key,
        .value = kv_bytes(p + ROW_HEAD_BYTES, value.len - ROW_HEAD_BYTES),
    };
    return 0;
}

int row_copy(struct arena *arena, const struct row *r, struct row *out)
{
    uint8_t *data = arena_alloc(arena, r->key.len + r->value.len);

    if (data == NULL) {
        return KV_ENOMEM;
    }
    *out = *r;
    if (r->key.len > 0) {
        memcpy(data, r->key.data, r->key.len);
    }
    if (r->value.len > 0) {
        memcpy(data + r->key.len, r->value.data, r->value.len);
    }
    out->key = kv_bytes(data, r->key.len);
    out->value = kv_bytes(data + r->key.len, r->value.len);
    return 0;
}
