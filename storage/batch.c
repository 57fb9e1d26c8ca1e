/* storage/batch.c - the entries of one commit as one value. */
#include "storage/batch.h"

#include "raft/base/crc.h"
#include "raft/base/err.h"

void batch_item_put(uint8_t *batch, uint32_t slot, const struct batch_item *item)
{
    uint8_t *p = batch + batch_directory_bytes(slot);

    KV_ASSERT(item->offset >= batch_directory_bytes(slot + 1));
    kv_put_u32le(p, item->group);
    kv_put_u32le(p + 4, item->offset);
    kv_put_u32le(p + 8, item->bytes);
    kv_put_u32le(p + 12, 0);
    kv_put_u64le(p + 16, item->index);
}

void batch_seal(uint8_t *batch, uint64_t number, uint32_t count)
{
    memset(batch, 0, BATCH_HEAD_BYTES);
    batch[4] = BATCH_VERSION;
    kv_put_u64le(batch + 8, number);
    kv_put_u32le(batch + 16, count);
    kv_put_u32le(batch, kv_crc32c(0, batch + 4, batch_directory_bytes(count) - 4));
}

int batch_item_get(struct kv_bytes batch, uint32_t slot, struct batch_item *out)
{
    const uint8_t *p;

    if (batch.len < batch_directory_bytes(0) ||
        slot >= (batch.len - batch_directory_bytes(0)) / BATCH_ITEM_BYTES) {
        return KV_EDAMAGED;
    }
    p = batch.data + batch_directory_bytes(slot);
    out->group = kv_get_u32le(p);
    out->offset = kv_get_u32le(p + 4);
    out->bytes = kv_get_u32le(p + 8);
    out->index = kv_get_u64le(p + 16);
    if (out->offset > batch.len || out->bytes > batch.len - out->offset) {
        return KV_EDAMAGED;
    }
    return 0;
}

int batch_check(struct kv_bytes batch, uint64_t number, uint32_t *out_count)
{
    uint32_t count;

    if (batch.len < BATCH_HEAD_BYTES) {
        return KV_EDAMAGED;
    }
    count = kv_get_u32le(batch.data + 16);
    if (count > (batch.len - BATCH_HEAD_BYTES) / BATCH_ITEM_BYTES ||
        kv_get_u32le(batch.data) !=
            kv_crc32c(0, batch.data + 4, batch_directory_bytes(count) - 4) ||
        kv_get_u64le(batch.data + 8) != number) {
        return KV_EDAMAGED;
    }
    if (batch.data[4] != BATCH_VERSION) {
        return KV_EFORMAT;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct batch_item item;

        if (batch_item_get(batch, i, &item) != 0) {
            return KV_EDAMAGED;
        }
    }
    *out_count = count;
    return 0;
}
