/* tests/fuzz/fuzz_record.c - whatever lies on disk: entries, rows, small records.
 *
 * The first byte picks the parser and whether the checksum is made right first, so that
 * what lies behind it is reached as well. What is accepted must encode to the same
 * bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "raft/base/crc.h"
#include "raft/record.h"
#include "storage/lmdb_page.h"
#include "storage/meta.h"
#include "storage/row.h"

enum {
    FUZZ_GROUP = 3,
    FUZZ_BYTES_MAX = 8192,
    FUZZ_SEAL = 0x80, /* Bit of the first byte: make the checksum right. */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry_try(uint8_t *p, size_t len, bool seal)
{
    static uint8_t again[FUZZ_BYTES_MAX];
    struct raft_entry entry;

    if (seal && len >= 4) {
        kv_put_u32le(p, kv_crc32c(0, p + 4, len - 4));
    }
    if (raft_record_decode(kv_bytes(p, len), &entry) == 0) {
        raft_record_encode(&entry, again);
        KV_ASSERT(raft_record_bytes(entry.payload.len) == len);
        KV_ASSERT(memcmp(p, again, len) == 0);
    }
}

static void row_try(uint8_t *p, size_t len, bool seal)
{
    static uint8_t again[FUZZ_BYTES_MAX];
    struct kv_bytes key = kv_bytes_str("key");
    uint8_t head[5] = {FUZZ_GROUP, 0, 0, 0, ROW_KV};
    struct row row;

    if (seal && len >= 4) {
        uint32_t crc = kv_crc32c(kv_crc32c(0, head, sizeof head), key.data, key.len);

        kv_put_u32le(p, kv_crc32c(crc, p + 4, len - 4));
    }
    if (row_decode(FUZZ_GROUP, ROW_KV, key, kv_bytes(p, len), &row) == 0) {
        KV_ASSERT(row_fits(&row));
        row_encode(FUZZ_GROUP, &row, again);
        KV_ASSERT(row.value.len + ROW_HEAD_BYTES == len);
        KV_ASSERT(memcmp(p, again, len) == 0);
    }
}

/* kind: 1 log, 2 state, 3 identity, as storage/meta.c numbers them. */
static void meta_try(uint8_t kind, uint8_t *p, size_t len, bool seal)
{
    uint8_t again[META_IDENTITY_BYTES_MAX + META_STATE_BYTES_MAX];
    uint8_t head[5] = {kind, kind == 3 ? 0 : FUZZ_GROUP};
    struct log_state log;
    struct state_meta state;
    struct store_identity id;
    uint32_t generation;

    if (seal && len >= 4) {
        kv_put_u32le(p, kv_crc32c(kv_crc32c(0, head, sizeof head), p + 4, len - 4));
    }
    if (kind == 1 && meta_log_decode(FUZZ_GROUP, kv_bytes(p, len), &log) == 0) {
        KV_ASSERT(log.base.pos.index <= log.last.pos.index);
        meta_log_encode(FUZZ_GROUP, &log, again);
    } else if (kind == 2 && meta_state_decode(FUZZ_GROUP, kv_bytes(p, len), &state,
                                              &generation) == 0) {
        KV_ASSERT(meta_state_encode(FUZZ_GROUP, &state, generation, again) == len);
    } else if (kind == 3 && meta_identity_decode(kv_bytes(p, len), &id) == 0) {
        KV_ASSERT(meta_identity_encode(&id, again) == len);
    }
}

static void page_try(const uint8_t *p, size_t len)
{
    static _Alignas(4096) uint8_t page[4096];

    memset(page, 0, sizeof page);
    memcpy(page, p, len < sizeof page ? len : sizeof page);
    (void)lmdb_page_leaf_ok(page + 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t copy[FUZZ_BYTES_MAX];
    bool seal;

    if (size < 1 || size > sizeof copy) {
        return 0;
    }
    seal = (data[0] & FUZZ_SEAL) != 0;
    memcpy(copy, data + 1, size - 1);
    switch (data[0] & 7) {
    case 0:
        entry_try(copy, size - 1, seal);
        break;
    case 1:
    case 2:
    case 3:
        meta_try(data[0] & 7, copy, size - 1, seal);
        break;
    case 4:
        row_try(copy, size - 1, seal);
        break;
    default:
        page_try(copy, size - 1);
        break;
    }
    return 0;
}
