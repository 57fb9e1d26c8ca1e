/* storage/row.h - one row of a group's state as bytes, and its hash.
 *
 * The same encoding of a row lies in the state environment (behind the key) and in
 * snapshots. A row is checked against its group and key whenever it is read: a
 * right value under a wrong key is found as surely as a flipped bit.
 *
 * Value of a row in the state environment, little-endian:
 *
 *   0  u32  CRC32C of group (u32), kind (u8), key, and everything from byte 4 on
 *   4  u8   format version (1)
 *   5  u8   kind
 *   6  u16  slot
 *   8  u64  rev
 *  16  ...  value
 *
 * Needs:    storage/store.h (struct row), raft/base/crc.h, hash.h.
 * Used by:  storage/.
 * Threads:  any.
 */
#ifndef KV_STORAGE_ROW_H
#define KV_STORAGE_ROW_H

#include "storage/store.h"

enum {
    ROW_HEAD_BYTES = 16,
    ROW_VERSION = 1,
    ROW_KEY_BYTES_MAX = 480,
    ROW_BEGIN_BYTES_MAX = 481, /* Of a range: the longest key and a zero byte. */
    ROW_VALUE_BYTES_MAX = 1024 * 1024,
};

/* True when key and value have lengths that a row may have. */
bool row_fits(const struct row *r);

/* Order of rows: kind, then key bytes. <0, 0 or >0. */
static inline int row_compare(uint8_t kind_a, struct kv_bytes key_a, uint8_t kind_b,
                              struct kv_bytes key_b)
{
    return kind_a != kind_b ? (int)kind_a - (int)kind_b
                            : kv_bytes_compare(key_a, key_b);
}

/* Writes the value of `r` to `out`, ROW_HEAD_BYTES + r->value.len bytes. */
void row_encode(group_id group, const struct row *r, uint8_t *out);

/* Reads the value of the row (group, kind, key); out's key and value are views.
 * Returns 0, KV_EDAMAGED (checksum, lengths or kind do not fit), KV_EFORMAT (another
 * version with a right checksum). */
KV_MUST_CHECK int row_decode(group_id group, uint8_t kind, struct kv_bytes key,
                             struct kv_bytes value, struct row *out);

/* Copies key and value of `r` into `arena`. 0 or KV_ENOMEM. */
KV_MUST_CHECK int row_copy(struct arena *arena, const struct row *r, struct row *out);

#endif
