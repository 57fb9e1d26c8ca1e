/* server/number.h - values that kv.incr counts in: decimal int64.
 *
 * Needs:    raft/base/bytes.h.
 * Used by:  server/apply.c, apply_txn.c.
 * Threads:  any.
 */
#ifndef KV_SERVER_NUMBER_H
#define KV_SERVER_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"

enum {
    NUMBER_BYTES_MAX = 20, /* "-9223372036854775808" */
};

/* Reads an optional minus and digits, nothing else. False: it is no int64. */
bool number_parse(struct kv_bytes text, int64_t *out);

/* Writes it; `out` holds NUMBER_BYTES_MAX bytes. Returns the bytes used. */
size_t number_print(int64_t number, uint8_t *out);

#endif
