/* rpc/buf.h - an output buffer that grows up to a cap and remembers its first error.
 *
 * Encoders append without looking and ask once, at the end: after an error the
 * buffer takes nothing more. What was complete before a message began can be kept
 * with buf_mark() and buf_rewind().
 *
 * Needs:    raft/base.
 * Used by:  rpc/ encoders, server/conn, server/peers, client/.
 * Threads:  one owner at a time.
 */
#ifndef KV_RPC_BUF_H
#define KV_RPC_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

/* len <= cap <= max. */
struct buf {
    uint8_t *data; /* kv_mem_realloc()ed; NULL while nothing was written. */
    size_t len;    /* Bytes written. */
    size_t cap;    /* Bytes taken. */
    size_t max;    /* Never grows beyond; a cap of bytes, at least 1. */
    int error;     /* 0 or KV_ENOMEM; sticky until buf_reset() or buf_rewind(). */
};

/* ---- life ---- */

/* Prepares an empty buffer; takes no memory yet. */
void buf_init(struct buf *b, size_t max_bytes);

/* Gives the memory back. The buffer may be used again with the same cap. */
void buf_close(struct buf *b);

/* Empties the buffer and its error; keeps the memory for what comes next. */
static inline void buf_reset(struct buf *b)
{
    b->len = 0;
    b->error = 0;
}

/* ---- work ---- */

/* Makes room for `bytes` more behind len. Returns 0 or KV_ENOMEM (cap or memory;
 * also sets the error). For the callers below; rarely needed elsewhere. */
int buf_grow(struct buf *b, size_t bytes);

/* Returns room for `bytes` bytes at the end, already counted in len, or NULL after
 * an error. The pointer is valid until the next append. */
static inline uint8_t *buf_reserve(struct buf *b, size_t bytes)
{
    uint8_t *at;

    if (__builtin_expect(b->error != 0 || b->cap - b->len < bytes, 0)) {
        if (buf_grow(b, bytes) != 0) {
            return NULL;
        }
    }
    at = b->data + b->len;
    b->len += bytes;
    return at;
}

/* Appends a copy of `len` bytes; does nothing after an error. */
static inline void buf_append(struct buf *b, const void *data, size_t len)
{
    uint8_t *at;

    if (len == 0) {
        return;
    }
    at = buf_reserve(b, len);
    if (at != NULL) {
        memcpy(at, data, len);
    }
}

static inline void buf_append_bytes(struct buf *b, struct kv_bytes bytes)
{
    buf_append(b, bytes.data, bytes.len);
}

/* Where the next byte goes: for buf_rewind(). */
static inline size_t buf_mark(const struct buf *b)
{
    return b->len;
}

/* Drops what came after `mark`, and the error. mark <= len. */
static inline void buf_rewind(struct buf *b, size_t mark)
{
    KV_ASSERT(mark <= b->len);
    b->len = mark;
    b->error = 0;
}

/* ---- looking in ---- */

/* What was written, borrowed until the next append. */
static inline struct kv_bytes buf_bytes(const struct buf *b)
{
    return kv_bytes(b->data, b->len);
}

#endif
