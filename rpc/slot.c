/* rpc/slot.c - the tag, then CRC16. */
#include "rpc/slot.h"

#include <string.h>

#include "raft/base/crc.h"

struct kv_bytes slot_tag(struct kv_bytes key)
{
    const uint8_t *open;
    const uint8_t *close;
    size_t rest;

    if (key.len == 0) {
        return key;
    }
    open = memchr(key.data, '{', key.len);
    if (open == NULL) {
        return key;
    }
    rest = key.len - (size_t)(open - key.data) - 1;
    close = rest == 0 ? NULL : memchr(open + 1, '}', rest);
    if (close == NULL || close == open + 1) {
        return key;
    }
    return kv_bytes(open + 1, (size_t)(close - open - 1));
}

uint16_t slot_of(struct kv_bytes key)
{
    struct kv_bytes tag = slot_tag(key);

    return (uint16_t)(kv_crc16(tag.data, tag.len) & (KV_SLOTS - 1));
}
