/* storage/lmdb_page.c - the look of a leaf page. */
#include "storage/lmdb_page.h"

#include <stdint.h>
#include <string.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_HEAD_BYTES = 16,
    PAGE_LEAF = 0x02,
    NODE_HEAD_BYTES = 8,
    NODE_BIG = 0x01, /* The data lies on overflow pages. */
    NODE_BYTES_MAX =
        ((PAGE_BYTES - PAGE_HEAD_BYTES) / 2 / 2 * 2) - 2, /* LMDB's me_nodemax. */
    PAGE_UNITS = PAGE_BYTES / 2,
};

/* The file is mapped in this machine's byte order. */
static uint16_t u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

bool lmdb_page_is_inline(size_t key_bytes, size_t value_bytes)
{
    return NODE_HEAD_BYTES + key_bytes + value_bytes <= NODE_BYTES_MAX;
}

/* Bytes that the row at `offset` takes, even; 0 when it cannot be. */
static size_t node_bytes(const uint8_t *page, size_t offset)
{
    const uint8_t *node = page + offset;
    size_t data;
    size_t bytes;

    if (offset % 2 != 0 || offset + NODE_HEAD_BYTES > PAGE_BYTES) {
        return 0;
    }
    data = (u16_at(node + 4) & NODE_BIG) != 0
               ? sizeof(uint64_t)
               : (size_t)u16_at(node) | (size_t)u16_at(node + 2) << 16;
    bytes = NODE_HEAD_BYTES + u16_at(node + 6) + data;
    bytes += bytes % 2;
    return bytes <= PAGE_BYTES - offset ? bytes : 0;
}

bool lmdb_page_leaf_ok(const void *inside)
{
    const uint8_t *page = (const uint8_t *)inside - (uintptr_t)inside % PAGE_BYTES;
    uint64_t starts[PAGE_UNITS / 64] = {
        0}; /* A bit for each even offset where a row begins. */
    size_t lower = u16_at(page + 12);
    size_t upper = u16_at(page + 14);
    size_t total = 0;

    if (u16_at(page + 10) != PAGE_LEAF || lower < PAGE_HEAD_BYTES || lower % 2 != 0 ||
        upper < lower || upper > PAGE_BYTES) {
        return false;
    }
    for (size_t at = PAGE_HEAD_BYTES; at < lower; at += 2) {
        size_t offset = u16_at(page + at);
        size_t bytes = offset >= upper ? node_bytes(page, offset) : 0;
        size_t unit = offset / 2;

        if (bytes == 0 || (starts[unit / 64] >> unit % 64 & 1) != 0) {
            return false;
        }
        starts[unit / 64] |= 1ULL << unit % 64;
        total += bytes;
    }
    return total == PAGE_BYTES - upper;
}
