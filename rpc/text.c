/* rpc/text.c - see text.h. */
#include "rpc/text.h"

#include "raft/base/check.h"

enum {
    TEXT_QUOTE_MAX = 32
};

static const char text_digits[] = "0123456789abcdef";

const char *text_quote(struct kv_bytes bytes, char out[TEXT_QUOTE_BYTES])
{
    size_t len = KV_MIN(bytes.len, (size_t)TEXT_QUOTE_MAX);
    size_t at = 0;

    out[at++] = '"';
    for (size_t i = 0; i < len; i++) {
        uint8_t c = bytes.data[i];

        out[at++] = c > 0x20 && c < 0x7f && c != '"' ? (char)c : '?';
    }
    if (bytes.len > len) {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

const char *text_hex64(uint64_t value, char out[TEXT_HEX64_BYTES])
{
    for (int i = 0; i < 16; i++) {
        out[i] = text_digits[(value >> (60 - 4 * i)) & 15];
    }
    out[16] = '\0';
    return out;
}

bool text_parse_hex64(struct kv_bytes text, uint64_t *out)
{
    uint64_t value = 0;

    if (text.len != 16) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        uint8_t c = text.data[i];

        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = value;
    return true;
}

bool text_is_name(struct kv_bytes text, size_t max)
{
    if (text.len > max) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}
