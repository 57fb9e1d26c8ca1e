/* rpc/unpack.h - msgpack-c's objects read strictly: each getter checks the type.
 *
 * Private to rpc/. Only messages that rpc/scan.h has let through come here. Bytes are
 * views into the message, msgpack-c does not copy them.
 *
 * Needs:    rpc/msg.h (decoder), msgpack-c.
 * Used by:  rpc/request.c, reply.c, map.c, peer*.c.
 * Threads:  a decoder has one owner at a time.
 */
#ifndef KV_RPC_UNPACK_H
#define KV_RPC_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include <msgpack.h>

#include "raft/base/bytes.h"
#include "rpc/msg.h"

/* Unpacks exactly one object; what the zone held before is gone.
 * Returns 0; KV_EPROTO (not MessagePack, truncated, bytes behind it); KV_ENOMEM. */
KV_MUST_CHECK int unpack_message(struct rpc_decoder *d, struct kv_bytes message,
                                 msgpack_object *out);

/* Unpacks exactly two objects, one behind the other; *out_second_at is where the second
 * begins. Returns as unpack_message(). */
KV_MUST_CHECK int unpack_pair(struct rpc_decoder *d, struct kv_bytes bytes,
                              msgpack_object *out_first, msgpack_object *out_second,
                              size_t *out_second_at);

/* str or bin. */
static inline bool unpack_bytes(const msgpack_object *o, struct kv_bytes *out)
{
    if (o->type == MSGPACK_OBJECT_BIN) {
        *out = kv_bytes(o->via.bin.ptr, o->via.bin.size);
        return true;
    }
    if (o->type == MSGPACK_OBJECT_STR) {
        *out = kv_bytes(o->via.str.ptr, o->via.str.size);
        return true;
    }
    return false;
}

/* Not negative and at most max. */
static inline bool unpack_uint(const msgpack_object *o, uint64_t max, uint64_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max) {
        return false;
    }
    *out = o->via.u64;
    return true;
}

static inline bool unpack_u32(const msgpack_object *o, uint32_t max, uint32_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max) {
        return false;
    }
    *out = (uint32_t)o->via.u64;
    return true;
}

static inline bool unpack_u16(const msgpack_object *o, uint16_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > UINT16_MAX) {
        return false;
    }
    *out = (uint16_t)o->via.u64;
    return true;
}

static inline bool unpack_int(const msgpack_object *o, int64_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *out = o->via.i64;
        return true;
    }
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > INT64_MAX) {
        return false;
    }
    *out = (int64_t)o->via.u64;
    return true;
}

static inline bool unpack_bool(const msgpack_object *o, bool *out)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN) {
        return false;
    }
    *out = o->via.boolean;
    return true;
}

static inline bool unpack_is_nil(const msgpack_object *o)
{
    return o->type == MSGPACK_OBJECT_NIL;
}

/* An array of exactly `count`. */
static inline bool unpack_is_array(const msgpack_object *o, uint32_t count)
{
    return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size == count;
}

/* A short text copied with a NUL: printable ASCII, least..size-1 bytes. */
bool unpack_name(const msgpack_object *o, size_t least, char *out, size_t size);

/* The type's name for error texts: "int", "map"... */
const char *unpack_type_name(const msgpack_object *o);

#endif
