/* rpc/msg.c - error texts, and heads of messages. */
#include "rpc/msg.h"

#include <stdarg.h>
#include <stdio.h>

#include "rpc/pack.h"

/* ---- errors ---- */

int rpc_error_set(struct rpc_error *e, int code, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    e->code = code;
    e->len = len < 0 ? 0 : (uint32_t)KV_MIN((size_t)len, sizeof e->text - 1);
    e->text[e->len] = '\0';
    for (uint32_t i = 0; i < e->len; i++) {
        if ((unsigned char)e->text[i] < 0x20 || (unsigned char)e->text[i] >= 0x7f) {
            e->text[i] = '?';
        }
    }
    return code;
}

/* ---- the envelope ---- */

/* Reads an unsigned integer of any width at *io_at; false when there is none. */
static bool msg_read_uint(struct kv_bytes m, size_t *io_at, uint64_t *out)
{
    static const uint8_t widths[] = {1, 2, 4, 8}; /* of 0xcc..0xcf */
    size_t at = *io_at;
    size_t width;
    uint64_t value = 0;

    if (at >= m.len) {
        return false;
    }
    if (m.data[at] < 0x80) {
        *out = m.data[at];
        *io_at = at + 1;
        return true;
    }
    if (m.data[at] < 0xcc || m.data[at] > 0xcf) {
        return false;
    }
    width = widths[m.data[at] - 0xcc];
    if (m.len - at - 1 < width) {
        return false;
    }
    for (size_t i = 0; i < width; i++) {
        value = value << 8 | m.data[at + 1 + i];
    }
    *out = value;
    *io_at = at + 1 + width;
    return true;
}

/* Reads the head of the array, the type and the msgid. */
static int msg_read_head(struct kv_bytes m, size_t *out_at, enum rpc_type *out_type,
                         uint32_t *out_msgid)
{
    static const struct {
        uint8_t head[5];
        uint8_t len;
        uint8_t count;
    } heads[] = {
        {{0x94}, 1, 4},
        {{0x93}, 1, 3},
        {{0xdc, 0, 4}, 3, 4},
        {{0xdc, 0, 3}, 3, 3},
        {{0xdd, 0, 0, 0, 4}, 5, 4},
        {{0xdd, 0, 0, 0, 3}, 5, 3},
    };
    size_t at = 0;
    uint32_t count = 0;
    uint64_t type;
    uint64_t msgid = 0;

    for (size_t i = 0; i < KV_ARRAY_COUNT(heads) && count == 0; i++) {
        if (m.len >= heads[i].len && memcmp(m.data, heads[i].head, heads[i].len) == 0) {
            at = heads[i].len;
            count = heads[i].count;
        }
    }
    if (count == 0 || !msg_read_uint(m, &at, &type) || type > RPC_NOTIFICATION) {
        return KV_EPROTO;
    }
    if (count != (type == RPC_NOTIFICATION ? 3u : 4u)) {
        return KV_EPROTO;
    }
    if (type != RPC_NOTIFICATION &&
        (!msg_read_uint(m, &at, &msgid) || msgid > UINT32_MAX)) {
        return KV_EPROTO;
    }
    *out_at = at;
    *out_type = (enum rpc_type)type;
    *out_msgid = (uint32_t)msgid;
    return 0;
}

int rpc_peek(struct kv_bytes message, enum rpc_type *out_type, uint32_t *out_msgid)
{
    size_t at;

    return msg_read_head(message, &at, out_type, out_msgid);
}

int rpc_response_split(struct kv_bytes message, uint32_t *out_msgid,
                       struct kv_bytes *out_tail)
{
    enum rpc_type type;
    uint32_t msgid;
    size_t at;
    int rc = msg_read_head(message, &at, &type, &msgid);

    if (rc != 0 || type != RPC_RESPONSE || at == message.len) {
        return KV_EPROTO;
    }
    *out_msgid = msgid;
    *out_tail = kv_bytes(message.data + at, message.len - at);
    return 0;
}

void rpc_response_join(struct buf *b, uint32_t msgid, struct kv_bytes tail)
{
    pack_array(b, 4);
    pack_uint(b, RPC_RESPONSE);
    pack_uint(b, msgid);
    buf_append_bytes(b, tail);
}
