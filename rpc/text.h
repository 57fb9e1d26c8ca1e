/* rpc/text.h - bounded text: bytes of strangers made printable, ids as hex digits.
 *
 * Needs:    raft/base.
 * Used by:  rpc/, server/log, kvctl.
 * Threads:  any.
 */
#ifndef KV_RPC_TEXT_H
#define KV_RPC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"

enum {
    TEXT_QUOTE_BYTES = 40, /* For text_quote(): 32 characters, dots, quotes, NUL. */
    TEXT_HEX64_BYTES = 17, /* 16 digits and NUL. */
};

/* Writes the bytes in double quotes, what is not printable ASCII as '?', cut with
 * dots behind 32. Returns out. */
const char *text_quote(struct kv_bytes bytes, char out[TEXT_QUOTE_BYTES]);

/* Writes 16 lower-case hex digits. Returns out. */
const char *text_hex64(uint64_t value, char out[TEXT_HEX64_BYTES]);

/* Reads exactly 16 lower-case hex digits; false when they are not. */
bool text_parse_hex64(struct kv_bytes text, uint64_t *out);

/* True when all bytes are printable ASCII (no space) and there are at most max. */
bool text_is_name(struct kv_bytes text, size_t max);

#endif
