/* rpc/scan.c - one pass over headers; contents are only counted.
 *
 * An item is counted when its first byte is seen: it then leaves `left` of its
 * container and `pending`, and, being a container, adds what it declares to both.
 * Each pending item takes at least one byte, so the byte limit bounds the sum of all
 * declarations, however they are nested.
 */
#include "rpc/scan.h"

#include <string.h>

#include "raft/base/bytes.h"
#include "raft/base/err.h"

const struct scan_limits scan_limits_request = {
    .bytes_max = KV_REQUEST_BYTES_MAX,
    .nodes_max = KV_REQUEST_NODES_MAX,
    .depth_max = KV_MSG_DEPTH_MAX,
    .is_rpc = true,
};

const struct scan_limits scan_limits_response = {
    .bytes_max = KV_RESPONSE_BYTES_MAX,
    .nodes_max = KV_RESPONSE_NODES_MAX,
    .depth_max = KV_MSG_DEPTH_MAX,
    .is_rpc = true,
};

const struct scan_limits scan_limits_peer = {
    .bytes_max = KV_PEER_BODY_BYTES_MAX,
    .nodes_max = KV_PEER_NODES_MAX,
    .depth_max = KV_MSG_DEPTH_MAX,
};

enum scan_class {
    SCAN_FIXED, /* `arg` more bytes and done: nil, booleans, numbers. */
    SCAN_BYTES, /* str or bin; `arg` bytes of length follow. */
    SCAN_ARRAY, /* `arg` bytes of count follow. */
    SCAN_MAP,   /* `arg` bytes of count follow, each counts two items. */
    SCAN_EXT,   /* Not used by us. */
    SCAN_NEVER, /* 0xc1 */
};

struct scan_row {
    uint8_t class;
    uint8_t arg;
};

/* First bytes 0xc0..0xdf; the others carry their own count. */
static const struct scan_row scan_rows[32] = {
    {SCAN_FIXED, 0}, {SCAN_NEVER, 0},
    {SCAN_FIXED, 0}, {SCAN_FIXED, 0}, /* c0 nil false */
    {SCAN_BYTES, 1}, {SCAN_BYTES, 2},
    {SCAN_BYTES, 4}, {SCAN_EXT, 0}, /* c4 bin */
    {SCAN_EXT, 0},   {SCAN_EXT, 0},
    {SCAN_FIXED, 4}, {SCAN_FIXED, 8}, /* c8 ext float */
    {SCAN_FIXED, 1}, {SCAN_FIXED, 2},
    {SCAN_FIXED, 4}, {SCAN_FIXED, 8}, /* cc uint */
    {SCAN_FIXED, 1}, {SCAN_FIXED, 2},
    {SCAN_FIXED, 4}, {SCAN_FIXED, 8}, /* d0 int */
    {SCAN_EXT, 0},   {SCAN_EXT, 0},
    {SCAN_EXT, 0},   {SCAN_EXT, 0}, /* d4 fixext */
    {SCAN_EXT, 0},   {SCAN_BYTES, 1},
    {SCAN_BYTES, 2}, {SCAN_BYTES, 4}, /* d8 str */
    {SCAN_ARRAY, 2}, {SCAN_ARRAY, 4},
    {SCAN_MAP, 2},   {SCAN_MAP, 4}, /* dc */
};

void scan_init(struct scan *s, const struct scan_limits *limits)
{
    KV_ASSERT(limits->depth_max >= 1 && limits->depth_max <= KV_MSG_DEPTH_MAX);
    KV_ASSERT(limits->bytes_max >= 1 && limits->nodes_max >= 1);
    /* left[] and head[] are written before they are read. */
    s->limits = *limits;
    s->why = NULL;
    s->seen = 0;
    s->skip = 0;
    s->nodes = 0;
    s->pending = 0;
    s->depth = 0;
    s->head_have = 0;
    s->done = false;
}

static int scan_refuse(struct scan *s, int code, const char *why)
{
    s->why = why;
    return code;
}

/* Bytes of the header that starts with `first`, the first one included. */
static uint32_t scan_head_bytes(uint8_t first)
{
    const struct scan_row *row;

    if (first < 0xc0 || first >= 0xe0) {
        return 1;
    }
    row = &scan_rows[first - 0xc0];
    return row->class == SCAN_BYTES || row->class == SCAN_ARRAY ||
                   row->class == SCAN_MAP
               ? 1u + row->arg
               : 1u;
}

/* The big-endian number of 1, 2 or 4 bytes behind the first byte. */
static uint32_t scan_number(const uint8_t *head, uint32_t bytes)
{
    switch (bytes) {
    case 1:
        return head[1];
    case 2:
        return (uint32_t)head[1] << 8 | head[2];
    default:
        return kv_get_u32be(head + 1);
    }
}

/* What a whole header says: its class, and bytes to skip or items to expect. */
static enum scan_class scan_parse(const uint8_t *head, uint64_t *out_count)
{
    uint8_t first = head[0];
    const struct scan_row *row;

    if (first < 0x80 || first >= 0xe0) { /* fixint */
        *out_count = 0;
        return SCAN_FIXED;
    }
    if (first < 0x90) { /* fixmap */
        *out_count = 2u * (first & 0x0fu);
        return SCAN_MAP;
    }
    if (first < 0xa0) { /* fixarray */
        *out_count = first & 0x0f;
        return SCAN_ARRAY;
    }
    if (first < 0xc0) { /* fixstr */
        *out_count = first & 0x1f;
        return SCAN_BYTES;
    }
    row = &scan_rows[first - 0xc0];
    *out_count = row->arg;
    if (row->class == SCAN_BYTES || row->class == SCAN_ARRAY) {
        *out_count = scan_number(head, row->arg);
    } else if (row->class == SCAN_MAP) {
        *out_count = 2 * (uint64_t)scan_number(head, row->arg);
    }
    return (enum scan_class)row->class;
}

/* Opens a container that declares `count` items. */
static int scan_open(struct scan *s, uint64_t count)
{
    if (s->depth >= s->limits.depth_max) {
        return scan_refuse(s, KV_ETOOLARGE, "nested too deeply");
    }
    if (count + s->pending + s->nodes > s->limits.nodes_max) {
        return scan_refuse(s, KV_ETOOLARGE, "too many items");
    }
    if (count + s->pending + s->seen > s->limits.bytes_max) {
        return scan_refuse(s, KV_ETOOLARGE, "more items declared than a message holds");
    }
    s->left[s->depth++] = (uint32_t)count;
    s->pending += (uint32_t)count;
    return 0;
}

/* Takes one whole header, whose bytes are counted in seen already. */
static int scan_head(struct scan *s, const uint8_t *head)
{
    uint64_t count;
    enum scan_class class = scan_parse(head, &count);

    if (class == SCAN_EXT) {
        return scan_refuse(s, KV_EPROTO, "ext types are not used here");
    }
    if (class == SCAN_NEVER) {
        return scan_refuse(s, KV_EPROTO, "byte c1 is not MessagePack");
    }
    if (s->depth > 0) {
        s->left[s->depth - 1]--;
        s->pending--;
    } else if (s->limits.is_rpc && (class != SCAN_ARRAY || count < 3 || count > 4)) {
        return scan_refuse(s, KV_EPROTO, "not a MessagePack-RPC message");
    }
    s->nodes++;
    if (class == SCAN_ARRAY || class == SCAN_MAP) {
        return scan_open(s, count);
    }
    if (count + s->pending + s->seen > s->limits.bytes_max) {
        return scan_refuse(s, KV_ETOOLARGE, "longer than a message may be");
    }
    s->skip = (uint32_t)count;
    return 0;
}

/* Refuses a first byte that no RPC message has, before the rest of its header. */
static bool scan_is_rpc_head(uint8_t first)
{
    return first == 0x94 || first == 0x93 || first == 0xdc || first == 0xdd;
}

/* Finds one whole header at *data or over several feeds. Returns where it lies, or NULL
 * when bytes are missing; *io_at moves on. */
static const uint8_t *scan_gather(struct scan *s, const uint8_t *data, size_t len,
                                  size_t *io_at)
{
    uint32_t need = scan_head_bytes(s->head_have > 0 ? s->head[0] : data[*io_at]);
    size_t take = KV_MIN((size_t)(need - s->head_have), len - *io_at);
    const uint8_t *head = data + *io_at;

    if (s->head_have > 0 || take < need) {
        memcpy(s->head + s->head_have, head, take);
        s->head_have = (uint8_t)(s->head_have + take);
        head = s->head;
    }
    *io_at += take;
    s->seen += (uint32_t)take;
    if (s->head_have > 0) {
        if (s->head_have < need) {
            return NULL;
        }
        s->head_have = 0;
    }
    return head;
}

/* Passes over contents, then closes containers that are complete.
 * Returns true when the item before is complete. */
static bool scan_pass(struct scan *s, size_t len, size_t *io_at)
{
    size_t take = KV_MIN((size_t)s->skip, len - *io_at);

    *io_at += take;
    s->seen += (uint32_t)take;
    s->skip -= (uint32_t)take;
    if (s->skip > 0) {
        return false;
    }
    while (s->depth > 0 && s->left[s->depth - 1] == 0) {
        s->depth--;
    }
    return true;
}

int scan_feed(struct scan *s, const uint8_t *data, size_t len, size_t *out_used)
{
    size_t at = 0;

    if (s->why != NULL) {
        return KV_EPROTO;
    }
    if (s->done) {
        scan_init(s, &s->limits);
    }
    while (s->skip == 0 || at < len) {
        const uint8_t *head;
        int rc;

        if (s->skip == 0) {
            if (at == len) {
                return KV_EAGAIN;
            }
            if (s->seen == 0 && s->limits.is_rpc && !scan_is_rpc_head(data[at])) {
                return scan_refuse(s, KV_EPROTO, "not a MessagePack-RPC message");
            }
            if (s->seen >= s->limits.bytes_max) {
                return scan_refuse(s, KV_ETOOLARGE, "longer than a message may be");
            }
            head = scan_gather(s, data, len, &at);
            if (head == NULL) {
                return KV_EAGAIN;
            }
            rc = scan_head(s, head);
            if (rc != 0) {
                return rc;
            }
        }
        if (!scan_pass(s, len, &at)) {
            return KV_EAGAIN;
        }
        if (s->depth == 0) {
            s->done = true;
            *out_used = s->seen;
            return 0;
        }
    }
    return KV_EAGAIN;
}

int scan_whole(const struct scan_limits *limits, const uint8_t *data, size_t len)
{
    struct scan s;
    size_t used;
    int rc;

    scan_init(&s, limits);
    rc = scan_feed(&s, data, len, &used);
    if (rc == KV_EAGAIN) {
        return KV_EPROTO;
    }
    return rc == 0 && used != len ? KV_EPROTO : rc;
}

const char *scan_why(const struct scan *s)
{
    return s->why == NULL ? "" : s->why;
}
