/* storage/snapshot.h - a group's state as a stream of checksummed records.
 *
 * Logical rows, never LMDB's pages. The stream depends only on the state and the
 * position it was taken at, so that all replicas make the same bytes of the same
 * position, and a transfer can be resumed from another one. Little-endian frames:
 *
 *   0  u32  CRC32C of everything from byte 4 on
 *   4  u32  body bytes
 *   8  u8   type: 1 head, 2 row, 3 end
 *   9  ...  body
 *
 * head: "KVDSNAP\n" (8), u16 format version (1), u32 group, u64 index, u64 term,
 *       u64 chain hash, u64 time ms, u64 config index, u64 state hash, u64 rows,
 *       u64 bytes of keys and values, configuration (raft_config_encode()).
 * row:  u8 kind, u16 slot, u64 rev, u16 key bytes, key, value. Strictly ascending.
 * end:  u64 rows, u64 state hash, as counted while writing.
 *
 * Needs:    storage/store.h, raft/record.h, raft/base/crc.h, hash.h.
 * Used by:  storage/lmdb_snap*.c, tests/lib/mem_store.c.
 * Threads:  one owner at a time.
 */
#ifndef KV_STORAGE_SNAPSHOT_H
#define KV_STORAGE_SNAPSHOT_H

#include "raft/record.h"
#include "storage/row.h"
#include "storage/store.h"

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_FRAME_HEAD_BYTES = 9,
    SNAPSHOT_HEAD_BODY_BYTES = 78, /* Without the configuration. */
    SNAPSHOT_HEAD_BYTES_MAX =
        SNAPSHOT_FRAME_HEAD_BYTES + SNAPSHOT_HEAD_BODY_BYTES + RAFT_CONFIG_BYTES_MAX,
    SNAPSHOT_ROW_BODY_BYTES = 13, /* Without key and value. */
    SNAPSHOT_END_BYTES = SNAPSHOT_FRAME_HEAD_BYTES + 16,
    SNAPSHOT_BODY_BYTES_MAX =
        SNAPSHOT_ROW_BODY_BYTES + ROW_KEY_BYTES_MAX + ROW_VALUE_BYTES_MAX,
    SNAPSHOT_FRAME_BYTES_MAX = SNAPSHOT_FRAME_HEAD_BYTES + SNAPSHOT_BODY_BYTES_MAX,
};

/* What a stream says about itself; meta.mark is not part of it. */
struct snapshot_head {
    group_id group;
    struct state_meta meta;
};

/* ---- writing ---- */

/* Writes the head frame, at most SNAPSHOT_HEAD_BYTES_MAX bytes; returns its bytes. */
size_t snapshot_head_encode(const struct snapshot_head *h, uint8_t *out);

/* The name of the stream with this head: a hash of it, never 0. */
uint64_t snapshot_id(const struct snapshot_head *h);

/* Bytes of a row's frame. */
size_t snapshot_row_bytes(const struct row *r);

/* Writes the frame of `r`; returns its bytes. */
size_t snapshot_row_encode(const struct row *r, uint8_t *out);

/* Writes the end frame, SNAPSHOT_END_BYTES bytes. */
size_t snapshot_end_encode(uint64_t rows_count, uint64_t state_hash, uint8_t *out);

/* ---- reading ---- */

enum snapshot_item {
    SNAPSHOT_HEAD = 1,
    SNAPSHOT_ROW = 2,
    SNAPSHOT_END = 3,
};

/* Reads a stream frame by frame and checks it as a whole: head first, rows strictly
 * ascending, count, bytes and state hash as the head says, end last. */
struct snapshot_reader {
    struct snapshot_head head;
    enum snapshot_item last;                     /* 0 before the head. */
    uint64_t rows_count, rows_bytes, state_hash; /* So far. */
    uint8_t kind;                                /* Of the last row. */
    size_t key_len;
    uint8_t key[ROW_KEY_BYTES_MAX];
};

void snapshot_reader_init(struct snapshot_reader *r);

/* Takes one frame from the front of `in`.
 * out_used  bytes of the frame.
 * out_row   for SNAPSHOT_ROW: views into `in`.
 * Returns 0; KV_EAGAIN (the frame is longer than `in`; nothing taken); KV_EDAMAGED
 * (a checksum, a length, the order or a sum is wrong, or bytes behind the end);
 * KV_EFORMAT (another version). */
KV_MUST_CHECK int snapshot_reader_next(struct snapshot_reader *r, struct kv_bytes in,
                                       size_t *out_used, enum snapshot_item *out_item,
                                       struct row *out_row);

/* True when the head is that of the snapshot `s` of `group`. */
bool snapshot_head_is(const struct snapshot_head *h, group_id group,
                      const struct raft_snapshot *s);

/* Describes a stream of `bytes` bytes with this head. */
void snapshot_describe(const struct snapshot_head *h, uint64_t bytes,
                       struct raft_snapshot *out);

#endif
