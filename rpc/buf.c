/* rpc/buf.c - growing by doubling, up to the cap. */
#include "rpc/buf.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    BUF_BYTES_FIRST = 512
};

void buf_init(struct buf *b, size_t max_bytes)
{
    KV_ASSERT(max_bytes >= 1);
    *b = (struct buf){.max = max_bytes};
}

void buf_close(struct buf *b)
{
    kv_mem_free(b->data);
    buf_init(b, b->max);
}

int buf_grow(struct buf *b, size_t bytes)
{
    size_t need;
    size_t cap;
    uint8_t *data;

    KV_ASSERT(b->len <= b->cap && b->cap <= b->max);
    if (b->error != 0) {
        return b->error;
    }
    if (bytes > b->max - b->len) {
        b->error = KV_ENOMEM;
        return b->error;
    }
    need = b->len + bytes;
    if (need <= b->cap) {
        return 0;
    }
    cap = KV_MAX(b->cap, (size_t)BUF_BYTES_FIRST);
    while (cap < need) {
        cap = cap > b->max / 2 ? b->max : cap * 2;
    }
    cap = KV_MIN(cap, b->max);
    data = kv_mem_realloc(b->data, cap);
    if (data == NULL) {
        b->error = KV_ENOMEM;
        return b->error;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}
