/* server/txn.h - kv.txn on its way into the log: the body of a KV_TXN command.
 *
 *   body      u8 compares, u8 thens, u8 elses, then these items one behind the other
 *   compare   u8 what, u8 test, u16 key bytes, key, and by what:
 *             value u32 bytes, bytes; rev, lock and lease u64; exists u8
 *   operation u8 verb, u16 key bytes, key, and by verb: put u32 bytes, bytes;
 *             incr i64; range u16 end bytes, end, u32 limit; 6, a put that ends: u32
 *             ttl ms, then as put
 *
 * Little-endian. The numbers of what, test and verb are those of rpc/txn.h plus one:
 * a zero is never right.
 *
 * Needs:    rpc/msg.h, raft/base/arena.h, server/fields.h.
 * Used by:  server/node_request.c (encodes), command.c (checks), apply_txn.c (reads).
 * Threads:  any.
 */
#ifndef KV_SERVER_TXN_H
#define KV_SERVER_TXN_H

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "rpc/msg.h"
#include "server/fields.h"

enum {
    TXN_HEAD_BYTES = 3
};

/* Encodes the lists of a decoded request into `arena`, and finds the one slot that all
 * its keys have. A range counts where both its bounds begin with the same {tag}: all
 * keys between them have it then.
 *
 * Returns 0; KV_EBADREQUEST (no operation and no compare, so no slot); KV_ECROSSSLOT
 * (names two keys); KV_ENOMEM. */
KV_MUST_CHECK int txn_encode(const struct rpc_request *q, struct arena *arena,
                             struct kv_bytes *out_body, uint16_t *out_slot,
                             struct rpc_error *out_error);

/* Is this a body as txn_encode() writes it? */
bool txn_is_valid(struct kv_bytes body);

/* A valid body, item by item: all compares, then `then`, then `else`. */
struct txn_reader {
    uint32_t counts[RPC_TXN_LISTS_COUNT];
    struct fields fields; /* Bad once an item did not fit. */
};

void txn_reader_init(struct txn_reader *r, struct kv_bytes body);

/* The next item; the caller keeps count. Zeroes once bad. Views into the body. */
void txn_next_compare(struct txn_reader *r, struct rpc_txn_compare *out);
void txn_next_op(struct txn_reader *r, struct rpc_txn_op *out);

#endif
