/* rpc/token.c - positions by group, as few bytes, checked and merged. */
#include "rpc/token.h"

#include "raft/base/crc.h"

enum {
    TOKEN_VERSION = 1,
    TOKEN_AT_CRC = 1,
    TOKEN_AT_CLUSTER = 5,
};

uint32_t token_fold(uint64_t cluster)
{
    return (uint32_t)(cluster ^ cluster >> 32);
}

/* ---- varints ---- */

static size_t varint_put(uint64_t value, uint8_t *out)
{
    size_t len = 0;

    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

/* Takes one off the front. False: none, or not the shortest form. */
static bool varint_take(struct kv_bytes *io, uint64_t *out)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < 10 && i < io->len; i++) {
        uint64_t bits = io->data[i] & 0x7f;

        if (i == 9 && bits > 1) {
            return false;
        }
        value |= bits << (7 * i);
        if ((io->data[i] & 0x80) == 0) {
            if (i > 0 && bits == 0) {
                return false;
            }
            *io = kv_bytes(io->data + i + 1, io->len - i - 1);
            *out = value;
            return true;
        }
    }
    return false;
}

/* ---- positions ---- */

/* Walks the positions of a token. */
struct token_walk {
    struct kv_bytes left;
    uint64_t group_end; /* The group just read, and one. */
    uint64_t rev;       /* 0: there is no more. */
};

/* Reads the next position; false: it is none. */
static bool walk_next(struct token_walk *w)
{
    uint64_t gap;

    w->rev = 0;
    if (w->left.len == 0) {
        return true;
    }
    if (!varint_take(&w->left, &gap) || !varint_take(&w->left, &w->rev) || gap == 0 ||
        w->rev == 0 || gap > KV_GROUPS_MAX - w->group_end) {
        return false;
    }
    w->group_end += gap;
    return true;
}

/* Begins at the first position. */
static struct token_walk walk_begin(struct kv_bytes token)
{
    struct token_walk w = {0};

    if (token.len > TOKEN_HEAD_BYTES) {
        w.left = kv_bytes(token.data + TOKEN_HEAD_BYTES, token.len - TOKEN_HEAD_BYTES);
    }
    return w;
}

/* The next position of a valid token. */
static void walk_on(struct token_walk *w)
{
    bool ok = walk_next(w);

    KV_ASSERT(ok);
}

/* ---- tokens ---- */

/* Closes a token of `len` bytes. */
static size_t seal(uint8_t *token, size_t len)
{
    token[0] = TOKEN_VERSION;
    kv_put_u32le(token + TOKEN_AT_CRC,
                 kv_crc32c(0, token + TOKEN_AT_CLUSTER, len - TOKEN_AT_CLUSTER));
    return len;
}

size_t token_make(uint64_t cluster, uint32_t group, uint64_t rev, uint8_t *out)
{
    size_t len = TOKEN_HEAD_BYTES;

    KV_ASSERT(group < KV_GROUPS_MAX);
    if (rev == 0) {
        return 0;
    }
    kv_put_u32le(out + TOKEN_AT_CLUSTER, token_fold(cluster));
    len += varint_put((uint64_t)group + 1, out + len);
    len += varint_put(rev, out + len);
    return seal(out, len);
}

size_t token_build(uint64_t cluster, const struct token_at *ats, uint32_t count,
                   uint8_t *out)
{
    size_t len = TOKEN_HEAD_BYTES;
    uint32_t group_end = 0;

    if (count == 0) {
        return 0;
    }
    kv_put_u32le(out + TOKEN_AT_CLUSTER, token_fold(cluster));
    for (uint32_t i = 0; i < count; i++) {
        KV_ASSERT(ats[i].group >= group_end && ats[i].group < KV_GROUPS_MAX);
        KV_ASSERT(ats[i].rev > 0);
        len += varint_put((uint64_t)ats[i].group + 1 - group_end, out + len);
        len += varint_put(ats[i].rev, out + len);
        group_end = ats[i].group + 1;
    }
    return seal(out, len);
}

bool token_is_valid(struct kv_bytes token, uint64_t cluster)
{
    struct token_walk w = walk_begin(token);

    if (token.len == 0) {
        return true;
    }
    if (token.len <= TOKEN_HEAD_BYTES || token.len > KV_TOKEN_BYTES_MAX ||
        token.data[0] != TOKEN_VERSION ||
        kv_get_u32le(token.data + TOKEN_AT_CRC) !=
            kv_crc32c(0, token.data + TOKEN_AT_CLUSTER, token.len - TOKEN_AT_CLUSTER) ||
        (cluster != 0 &&
         kv_get_u32le(token.data + TOKEN_AT_CLUSTER) != token_fold(cluster))) {
        return false;
    }
    while (w.left.len > 0) {
        if (!walk_next(&w)) {
            return false;
        }
    }
    return true;
}

uint64_t token_rev(struct kv_bytes token, uint32_t group)
{
    struct token_walk w = walk_begin(token);

    for (walk_on(&w); w.rev != 0; walk_on(&w)) {
        if (w.group_end == (uint64_t)group + 1) {
            return w.rev;
        }
    }
    return 0;
}

bool token_is_kin(struct kv_bytes a, struct kv_bytes b)
{
    return a.len == 0 || b.len == 0 ||
           kv_get_u32le(a.data + TOKEN_AT_CLUSTER) ==
               kv_get_u32le(b.data + TOKEN_AT_CLUSTER);
}

size_t token_merge(struct kv_bytes a, struct kv_bytes b, uint8_t *out)
{
    struct token_walk x = walk_begin(a);
    struct token_walk y = walk_begin(b);
    size_t len = TOKEN_HEAD_BYTES;
    uint64_t group_end = 0;

    KV_ASSERT(token_is_kin(a, b));
    if (a.len == 0 && b.len == 0) {
        return 0;
    }
    walk_on(&x);
    walk_on(&y);
    while (x.rev != 0 || y.rev != 0) {
        bool takes_x = y.rev == 0 || (x.rev != 0 && x.group_end <= y.group_end);
        bool takes_y = x.rev == 0 || (y.rev != 0 && y.group_end <= x.group_end);
        uint64_t at = takes_x ? x.group_end : y.group_end;

        len += varint_put(at - group_end, out + len);
        len += varint_put(
            KV_MAX(takes_x ? x.rev : (uint64_t)0, takes_y ? y.rev : (uint64_t)0),
            out + len);
        group_end = at;
        if (takes_x) {
            walk_on(&x);
        }
        if (takes_y) {
            walk_on(&y);
        }
    }
    memmove(out + TOKEN_AT_CLUSTER, (a.len > 0 ? a.data : b.data) + TOKEN_AT_CLUSTER,
            4);
    return seal(out, len);
}

/* ---- as an array ---- */

uint32_t token_cluster(struct kv_bytes token)
{
    KV_ASSERT(token.len > TOKEN_HEAD_BYTES);
    return kv_get_u32le(token.data + TOKEN_AT_CLUSTER);
}

uint32_t token_raise(struct kv_bytes token, uint64_t *io_revs)
{
    struct token_walk w = walk_begin(token);
    uint32_t end = 0;

    for (walk_on(&w); w.rev != 0; walk_on(&w)) {
        uint64_t group = w.group_end - 1;

        KV_ASSERT(group < KV_GROUPS_MAX);
        io_revs[group] = KV_MAX(io_revs[group], w.rev);
        end = (uint32_t)w.group_end;
    }
    return end;
}

size_t token_pack(uint32_t cluster, const uint64_t *revs, uint32_t end, uint8_t *out)
{
    size_t len = TOKEN_HEAD_BYTES;
    uint32_t last_end = 0;

    KV_ASSERT(end <= KV_GROUPS_MAX);
    for (uint32_t group = 0; group < end; group++) {
        if (revs[group] != 0) {
            len += varint_put((uint64_t)group + 1 - last_end, out + len);
            len += varint_put(revs[group], out + len);
            last_end = group + 1;
        }
    }
    if (last_end == 0) {
        return 0;
    }
    kv_put_u32le(out + TOKEN_AT_CLUSTER, cluster);
    return seal(out, len);
}
