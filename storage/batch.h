/* storage/batch.h - the entries of one commit as one value: a directory, then records.
 *
 * A commit of the log stores its entries, of all groups together, as one value or a
 * few. LMDB puts a long value on pages of its own that lie side by side, so that a
 * commit writes one run of pages instead of some in each group's tree.
 *
 * Little-endian:
 *    0 u32 CRC32C of the directory from byte 4 on, 4 u8 version (1), 5 u8[3] 0,
 *    8 u64 number (the key, too), 16 u32 entries, 20 u32 0, then per entry
 *      u32 group, u32 offset of its record, u32 bytes of it, u32 0, u64 index,
 *    then the records (raft/record.h), each with a checksum of its own.
 *
 * Needs:    storage/store.h, raft/base/crc.h.
 * Used by:  storage/lmdb_log*.c.
 * Threads:  any.
 */
#ifndef KV_STORAGE_BATCH_H
#define KV_STORAGE_BATCH_H

#include "storage/store.h"

enum {
    BATCH_VERSION = 1,
    BATCH_HEAD_BYTES = 24,
    BATCH_ITEM_BYTES = 24,
    /* A batch is closed when it has so many; a longer record is alone in one. */
    BATCH_BYTES_MAX = 256 * 1024,
};

/* One entry in a batch. */
struct batch_item {
    group_id group;
    raft_index index;
    uint32_t offset; /* Of the record, from the begin of the batch. */
    uint32_t bytes;  /* Of the record. */
};

/* Bytes before the first record. */
static inline size_t batch_directory_bytes(uint32_t count)
{
    return BATCH_HEAD_BYTES + (size_t)count * BATCH_ITEM_BYTES;
}

/* Writes line `slot` of a directory that is being made. */
void batch_item_put(uint8_t *batch, uint32_t slot, const struct batch_item *item);

/* Writes the head, once all lines of the directory are there. */
void batch_seal(uint8_t *batch, uint64_t number, uint32_t count);

/* Checks the whole directory of a batch: checksum, number, that all records lie inside.
 * Returns 0 and how many entries there are; KV_EDAMAGED; KV_EFORMAT. */
KV_MUST_CHECK int batch_check(struct kv_bytes batch, uint64_t number,
                              uint32_t *out_count);

/* Reads one line of the directory without looking at its checksum: the record has one
 * of its own. 0; KV_EDAMAGED where it is not in the batch or leads out of it. */
KV_MUST_CHECK int batch_item_get(struct kv_bytes batch, uint32_t slot,
                                 struct batch_item *out);

#endif
