/* storage/meta.h - small records: a group's log, a group's state, the node's identity.
 *
 * One row per group and environment, rewritten with every commit that changes it, so
 * that it always tells what the same transaction left behind. Little-endian, each with
 * the CRC32C of everything from byte 4 on, its own key included:
 *
 * log of a group:    0 u32 CRC, 4 u8 version (1), 5 u8 0, 6 u16 0, 8 u64 term,
 *                    16 u32 vote, 20 u32 0, 24 u64 commit hint,
 *                    32 base: u64 index, u64 term, u64 hash, u64 time ms,
 *                    64 last: u64 index, u64 term, u64 hash, u64 time ms,
 *                    96 u32 payload bytes of last, 100 u8 type of last, 101 u8[3] 0
 * state of a group:  0 u32 CRC, 4 u8 version (1), 5 u8 mark, 6 u16 config bytes,
 *                    8 u32 generation, 12 u32 0, 16 applied: u64 index, u64 term,
 *                    u64 hash, u64 time ms, 48 u64 config index, 56 u64 state hash,
 *                    64 u64 rows, 72 u64 bytes of keys and values, 80 configuration
 * identity:          0 u32 CRC, 4 u8 version (1), 5 u8[3] 0, 8 u64 cluster, 16 u32
 * node,
 *                    20 u32 peers, 24 u64 incarnation, 32 u64 boots, then per peer
 *                    u32 node, u64 incarnation
 *
 * Needs:    storage/store.h, raft/record.h, raft/base/crc.h.
 * Used by:  storage/lmdb_*.c, storage/snapshot.c.
 * Threads:  any.
 */
#ifndef KV_STORAGE_META_H
#define KV_STORAGE_META_H

#include "raft/record.h"
#include "storage/store.h"

enum {
    META_VERSION = 1,
    META_LOG_BYTES = 104,
    META_STATE_BYTES = 80, /* Without the configuration. */
    META_STATE_BYTES_MAX = META_STATE_BYTES + RAFT_CONFIG_BYTES_MAX,
    META_IDENTITY_BYTES = 40, /* Without peers. */
    META_IDENTITY_BYTES_MAX = META_IDENTITY_BYTES + 12 * STORE_NODES_MAX,
};

/* Encodes `s` as the log record of `group`, META_LOG_BYTES bytes. */
void meta_log_encode(group_id group, const struct log_state *s, uint8_t *out);

/* 0, KV_EDAMAGED, KV_EFORMAT. */
KV_MUST_CHECK int meta_log_decode(group_id group, struct kv_bytes in,
                                  struct log_state *out);

/* Encodes `m` and the generation of its rows, at most META_STATE_BYTES_MAX bytes.
 * Returns the bytes used. */
size_t meta_state_encode(group_id group, const struct state_meta *m,
                         uint32_t generation, uint8_t *out);

/* 0, KV_EDAMAGED, KV_EFORMAT. */
KV_MUST_CHECK int meta_state_decode(group_id group, struct kv_bytes in,
                                    struct state_meta *out, uint32_t *out_generation);

/* At most META_IDENTITY_BYTES_MAX bytes; returns the bytes used. */
size_t meta_identity_encode(const struct store_identity *id, uint8_t *out);

/* 0, KV_EDAMAGED, KV_EFORMAT. */
KV_MUST_CHECK int meta_identity_decode(struct kv_bytes in, struct store_identity *out);

#endif
