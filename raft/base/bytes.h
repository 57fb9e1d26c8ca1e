/* raft/base/bytes.h - a view of bytes that somebody else owns, and byte order.
 *
 * Needs:    libc's mem*.
 * Used by:  everything.
 * Threads:  any.
 */
#ifndef KV_RAFT_BASE_BYTES_H
#define KV_RAFT_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed view: nobody frees it. Whoever holds one says until when it lives;
 * who wants it longer copies the bytes. `data` may be NULL when `len` is 0. */
struct kv_bytes {
    const uint8_t *data;
    size_t len; /* bytes */
};

static inline struct kv_bytes kv_bytes(const void *data, size_t len)
{
    return (struct kv_bytes){.data = data, .len = len};
}

/* A view of a C string without its NUL. */
static inline struct kv_bytes kv_bytes_str(const char *text)
{
    return kv_bytes(text, strlen(text));
}

static inline bool kv_bytes_equal(struct kv_bytes a, struct kv_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Bytewise order, a prefix before what it is a prefix of. <0, 0 or >0. */
static inline int kv_bytes_compare(struct kv_bytes a, struct kv_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

/* ---- integers: little-endian (records, frames), big-endian (LMDB keys) ---- */

static inline void kv_put_u16le(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void kv_put_u32le(uint8_t *p, uint32_t v)
{
    kv_put_u16le(p, (uint16_t)v);
    kv_put_u16le(p + 2, (uint16_t)(v >> 16));
}

static inline void kv_put_u64le(uint8_t *p, uint64_t v)
{
    kv_put_u32le(p, (uint32_t)v);
    kv_put_u32le(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t kv_get_u16le(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}

static inline uint32_t kv_get_u32le(const uint8_t *p)
{
    return (uint32_t)kv_get_u16le(p) | (uint32_t)kv_get_u16le(p + 2) << 16;
}

static inline uint64_t kv_get_u64le(const uint8_t *p)
{
    return (uint64_t)kv_get_u32le(p) | (uint64_t)kv_get_u32le(p + 4) << 32;
}

static inline void kv_put_u32be(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline void kv_put_u64be(uint8_t *p, uint64_t v)
{
    kv_put_u32be(p, (uint32_t)(v >> 32));
    kv_put_u32be(p + 4, (uint32_t)v);
}

static inline uint32_t kv_get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t kv_get_u64be(const uint8_t *p)
{
    return (uint64_t)kv_get_u32be(p) << 32 | kv_get_u32be(p + 4);
}

#endif
