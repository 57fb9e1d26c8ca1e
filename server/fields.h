/* server/fields.h - fields one behind the other, little-endian, written and read.
 *
 * For what lies in entries and rows: commands, transactions, locks. Writers return
 * where the next field goes; sizes were checked by whoever made the value. A reader
 * never goes past its bytes: once something does not fit it is `bad`, and gives zeroes
 * from then on.
 *
 * Needs:    raft/base.
 * Used by:  server/command.c, txn.c, lock.c.
 * Threads:  any.
 */
#ifndef KV_SERVER_FIELDS_H
#define KV_SERVER_FIELDS_H

#include "raft/base/bytes.h"
#include "raft/base/check.h"

/* ---- writing ---- */

static inline uint8_t *fields_put_u8(uint8_t *p, size_t v)
{
    KV_ASSERT(v <= UINT8_MAX);
    *p = (uint8_t)v;
    return p + 1;
}

static inline uint8_t *fields_put_u16(uint8_t *p, size_t v)
{
    KV_ASSERT(v <= UINT16_MAX);
    kv_put_u16le(p, (uint16_t)v);
    return p + 2;
}

static inline uint8_t *fields_put_u32(uint8_t *p, size_t v)
{
    KV_ASSERT(v <= UINT32_MAX);
    kv_put_u32le(p, (uint32_t)v);
    return p + 4;
}

static inline uint8_t *fields_put_u64(uint8_t *p, uint64_t v)
{
    kv_put_u64le(p, v);
    return p + 8;
}

static inline uint8_t *fields_put_bytes(uint8_t *p, struct kv_bytes b)
{
    if (b.len > 0) {
        memcpy(p, b.data, b.len);
    }
    return p + b.len;
}

/* ---- reading ---- */

/* What is left of some bytes. */
struct fields {
    const uint8_t *at;
    size_t left;
    bool bad; /* Something did not fit, or was no value of its field. */
};

static inline struct fields fields_of(struct kv_bytes b)
{
    return (struct fields){.at = b.data, .left = b.len};
}

/* The next `bytes` <= 8 of them. */
static inline const uint8_t *fields_raw(struct fields *f, size_t bytes)
{
    static const uint8_t zero[8];
    const uint8_t *at = f->at;

    KV_ASSERT(bytes <= sizeof zero);
    if (f->bad || f->left < bytes) {
        f->bad = true;
        return zero;
    }
    f->at += bytes;
    f->left -= bytes;
    return at;
}

static inline uint8_t fields_u8(struct fields *f)
{
    return *fields_raw(f, 1);
}

static inline uint16_t fields_u16(struct fields *f)
{
    return kv_get_u16le(fields_raw(f, 2));
}

static inline uint32_t fields_u32(struct fields *f)
{
    return kv_get_u32le(fields_raw(f, 4));
}

static inline uint64_t fields_u64(struct fields *f)
{
    return kv_get_u64le(fields_raw(f, 8));
}

/* The next `len` bytes, of which the format allows `least` to `most`; a view. */
static inline struct kv_bytes fields_bytes(struct fields *f, size_t len, size_t least,
                                           size_t most)
{
    struct kv_bytes out = {0};

    if (f->bad || len < least || len > most || len > f->left) {
        f->bad = true;
        return out;
    }
    out = kv_bytes(f->at, len);
    f->at += len;
    f->left -= len;
    return out;
}

#endif
