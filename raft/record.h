/* raft/record.h - one entry as bytes: the same on disk and on the wire.
 *
 * An entry is encoded once; the log store writes these bytes and AppendEntries
 * carry them to every peer. All integers little-endian:
 *
 *   0  u32  CRC32C of everything from byte 4 on
 *   4  u8   format version (1)
 *   5  u8   entry type
 *   6  u16  0
 *   8  u64  index
 *  16  u64  term
 *  24  u64  replicated time, ms
 *  32  u64  chain hash up to and including this entry
 *  40  u32  payload bytes
 *  44  ...  payload
 *
 * Needs:    raft/types.h, raft/base/crc.h, hash.h.
 * Used by:  storage/, rpc/peer, server/.
 * Threads:  any.
 */
#ifndef KV_RAFT_RECORD_H
#define KV_RAFT_RECORD_H

#include "raft/base/check.h"
#include "raft/types.h"

enum {
    RAFT_RECORD_HEAD_BYTES = 44,
    RAFT_RECORD_VERSION = 1,
    RAFT_RECORD_PAYLOAD_MAX = 2 * 1024 * 1024, /* More is never written nor believed. */
};

/* Bytes of the encoding of an entry with a payload of `payload_bytes`. */
size_t raft_record_bytes(size_t payload_bytes);

/* Writes the entry to `out`, raft_record_bytes(entry->payload.len) bytes. Cannot
 * fail; asserts the payload's size. */
void raft_record_encode(const struct raft_entry *entry, uint8_t *out);

/* Reads an entry from exactly `record`; the payload is a view into it.
 * Returns 0; KV_EDAMAGED (checksum or lengths do not fit); KV_EFORMAT (another
 * version with a right checksum). The type is not judged here. */
KV_MUST_CHECK int raft_record_decode(struct kv_bytes record, struct raft_entry *out);

/* The chain hash of an entry from that of its predecessor (0 before index 1) and
 * the entry's own index, term, type, time and payload; entry->hash is not read. */
uint64_t raft_entry_hash(uint64_t prev_hash, const struct raft_entry *entry);

/* Encodes a configuration for a CONFIG entry or a snapshot.
 * out  at least RAFT_CONFIG_BYTES_MAX bytes. Returns the bytes used. */
enum {
    RAFT_CONFIG_BYTES_MAX = 1 + 5 * 4 + 3 * 4 * RAFT_REPLICAS_MAX
};
size_t raft_config_encode(const struct raft_config *c, uint8_t *out);

/* Returns 0, or KV_ECORRUPT for anything that raft_config_valid() refuses. */
KV_MUST_CHECK int raft_config_decode(struct kv_bytes bytes, struct raft_config *out);

/* Checks counts, order, disjointness and write quorums. Input may be anything. */
bool raft_config_valid(const struct raft_config *c);

#endif
