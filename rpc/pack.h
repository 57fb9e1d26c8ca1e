/* rpc/pack.h - msgpack-c's packer writing straight into a struct buf.
 *
 * Private to rpc/. Errors stay in the buffer (sticky), so no call returns anything.
 *
 * Needs:    rpc/buf.h, msgpack-c.
 * Used by:  rpc/request_encode.c, reply_encode.c, map.c, peer*.c, msg.c.
 * Threads:  one owner at a time.
 */
#ifndef KV_RPC_PACK_H
#define KV_RPC_PACK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <msgpack.h>

#include "rpc/buf.h"

/* The packer's callback. msgpack-c goes on after an error; the buffer keeps it. */
static inline int pack_write(void *ctx, const char *data, size_t len)
{
    buf_append(ctx, data, len);
    return 0;
}

static inline msgpack_packer pack_into(struct buf *b)
{
    return (msgpack_packer){.data = b, .callback = pack_write};
}

static inline void pack_array(struct buf *b, uint32_t count)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_array(&pk, count);
}

static inline void pack_map(struct buf *b, uint32_t pairs)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_map(&pk, pairs);
}

static inline void pack_uint(struct buf *b, uint64_t value)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_uint64(&pk, value);
}

static inline void pack_int(struct buf *b, int64_t value)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_int64(&pk, value);
}

static inline void pack_bool(struct buf *b, bool value)
{
    msgpack_packer pk = pack_into(b);

    (void)(value ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

static inline void pack_nil(struct buf *b)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_nil(&pk);
}

static inline void pack_bin(struct buf *b, struct kv_bytes bytes)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_bin(&pk, bytes.len);
    buf_append_bytes(b, bytes);
}

static inline void pack_str_bytes(struct buf *b, struct kv_bytes bytes)
{
    msgpack_packer pk = pack_into(b);

    (void)msgpack_pack_str(&pk, bytes.len);
    buf_append_bytes(b, bytes);
}

static inline void pack_str(struct buf *b, const char *text)
{
    pack_str_bytes(b, kv_bytes_str(text));
}

/* Bytes, or nil when there are none to speak of. */
static inline void pack_bin_or_nil(struct buf *b, bool has, struct kv_bytes bytes)
{
    if (has) {
        pack_bin(b, bytes);
    } else {
        pack_nil(b);
    }
}

#endif
