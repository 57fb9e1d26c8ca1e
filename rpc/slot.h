/* rpc/slot.h - which of the 16384 slots a key belongs to.
 *
 * CRC16 of the key modulo 16384, as in Redis Cluster: when the key has a `{` and
 * behind it a `}` with at least one byte between them, only those bytes count, so
 * that related keys can share a slot: {user1}.name and {user1}.mail.
 *
 * Needs:    raft/base/crc.h, rpc/limits.h.
 * Used by:  rpc/map, server/router, client/.
 * Threads:  any.
 * Source:   Redis Cluster specification, "Hash tags".
 */
#ifndef KV_RPC_SLOT_H
#define KV_RPC_SLOT_H

#include <stdint.h>

#include "raft/base/bytes.h"
#include "rpc/limits.h"

/* The part of the key that decides: between the first `{` and the first `}` behind
 * it, or the whole key. A view into `key`. */
struct kv_bytes slot_tag(struct kv_bytes key);

/* Returns the slot, 0..KV_SLOTS-1. Any key will do, the empty one too. */
uint16_t slot_of(struct kv_bytes key);

#endif
