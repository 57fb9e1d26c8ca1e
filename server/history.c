/* server/history.c - batches of changes in chunks, the oldest chunk goes first.
 *
 * A batch: u64 rev, u32 count, u32 bytes of changes, u32 bytes of keys and values, u32
 * bytes of values before; then each change: u8 cause, u8 has_prev, u16 key bytes, u32
 * value bytes, u32 prev bytes, key, value, prev. In this process' memory only.
 */
#include "server/history.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    HISTORY_BATCH_HEAD = 24,
    HISTORY_CHANGE_HEAD = 12,
    HISTORY_CHUNK_MIN = 4 * 1024,
    HISTORY_CHUNK_MAX = 64 * 1024,
    HISTORY_CHUNKS = 16,                        /* In a history, about. */
    HISTORY_BATCH_BYTES_MAX = 64 * 1024 * 1024, /* A txn replaces at most 16 MiB. */
    HISTORY_SPARE_BYTES = 64 * 1024,            /* Kept for the next batch. */
};

struct history_chunk {
    struct history_chunk *prev, *next;
    uint64_t last_rev; /* Of its last batch. */
    size_t len, cap;
    size_t last_at; /* Where its last batch begins. */
    uint8_t data[];
};

/* ---- life ---- */

void history_init(struct history *h, size_t bytes_max)
{
    *h = (struct history){0};
    history_limit(h, bytes_max);
    buf_init(&h->batch, HISTORY_BATCH_BYTES_MAX);
}

static void drop_first(struct history *h)
{
    struct history_chunk *c = h->first;

    h->first = c->next;
    if (h->first == NULL) {
        h->last = NULL;
    } else {
        h->first->prev = NULL;
    }
    h->floor = c->last_rev;
    h->taken_bytes -= c->cap;
    kv_mem_free(c);
}

void history_reset(struct history *h, uint64_t rev)
{
    while (h->first != NULL) {
        drop_first(h);
    }
    h->floor = rev;
    h->is_open = false;
}

void history_close(struct history *h)
{
    history_reset(h, 0);
    buf_close(&h->batch);
}

/* Drops what is too much; the newest chunk stays. */
static void trim(struct history *h)
{
    while (h->taken_bytes > h->bytes_max && h->first != h->last) {
        drop_first(h);
    }
}

void history_limit(struct history *h, size_t bytes_max)
{
    size_t part = bytes_max / HISTORY_CHUNKS;

    h->bytes_max = bytes_max;
    h->chunk_bytes =
        KV_MAX(KV_MIN(part, (size_t)HISTORY_CHUNK_MAX), (size_t)HISTORY_CHUNK_MIN);
    trim(h);
}

/* ---- making ---- */

void history_begin(struct history *h, uint64_t rev, enum history_cause cause)
{
    KV_ASSERT(!h->is_open);
    h->is_open = true;
    h->is_lost = false;
    h->rev = rev;
    h->cause = cause;
    h->count = 0;
    buf_reset(&h->batch);
}

static struct history_change change_read(const uint8_t *p)
{
    struct history_change c = {.cause = (enum history_cause)p[0],
                               .has_prev = p[1] != 0};
    size_t key = (size_t)p[2] | (size_t)p[3] << 8;
    size_t value = kv_get_u32le(p + 4);
    size_t prev = kv_get_u32le(p + 8);

    p += HISTORY_CHANGE_HEAD;
    c.key = kv_bytes(p, key);
    c.value = kv_bytes(p + key, value);
    c.prev = kv_bytes(p + key + value, prev);
    return c;
}

bool history_take(struct kv_bytes *io_changes, struct history_change *out)
{
    size_t used;

    if (io_changes->len == 0) {
        return false;
    }
    *out = change_read(io_changes->data);
    used = HISTORY_CHANGE_HEAD + out->key.len + out->value.len + out->prev.len;
    KV_ASSERT(used <= io_changes->len);
    *io_changes = kv_bytes(io_changes->data + used, io_changes->len - used);
    return true;
}

static void change_append(struct buf *b, const struct history_change *c)
{
    uint8_t head[HISTORY_CHANGE_HEAD] = {(uint8_t)c->cause, c->has_prev,
                                         (uint8_t)c->key.len,
                                         (uint8_t)(c->key.len >> 8)};

    kv_put_u32le(head + 4, (uint32_t)c->value.len);
    kv_put_u32le(head + 8, (uint32_t)c->prev.len);
    buf_append(b, head, sizeof head);
    buf_append_bytes(b, c->key);
    buf_append_bytes(b, c->value);
    buf_append_bytes(b, c->prev);
}

/* The key was written before by this entry: takes that change out. What it replaced is
 * what the whole entry replaces. Returns false when there was none. */
static bool take_earlier(struct history *h, struct kv_bytes key, struct buf *out_prev,
                         bool *out_has_prev)
{
    struct kv_bytes rest = buf_bytes(&h->batch);
    struct history_change c;
    const uint8_t *begin = rest.data;

    while (history_take(&rest, &c)) {
        if (kv_bytes_equal(c.key, key)) {
            *out_has_prev = c.has_prev;
            buf_append_bytes(out_prev, c.prev);
            memmove(h->batch.data + (begin - h->batch.data), rest.data, rest.len);
            h->batch.len -= (size_t)(rest.data - begin);
            h->count--;
            return true;
        }
        begin = rest.data;
    }
    return false;
}

void history_changing(void *ctx, const struct row *before, const struct row *after)
{
    struct history *h = ctx;
    struct history_change c = {.cause = after->deleted ? h->cause : HISTORY_PUT,
                               .has_prev = before != NULL,
                               .key = after->key};
    struct buf earlier;

    if (after->kind != ROW_KV || !h->is_open) {
        return;
    }
    c.value = after->deleted ? kv_bytes(NULL, 0) : after->value;
    c.prev = before == NULL ? kv_bytes(NULL, 0) : before->value;
    buf_init(&earlier, HISTORY_BATCH_BYTES_MAX);
    /* Only a list of operations meets a key twice; what else is long does not. */
    if (h->cause == HISTORY_DEL && h->count > 0 &&
        take_earlier(h, c.key, &earlier, &c.has_prev)) {
        c.prev = buf_bytes(&earlier);
    }
    if (!after->deleted || c.has_prev) { /* Else it came and went: nothing happened. */
        change_append(&h->batch, &c);
        h->count++;
    }
    h->is_lost = h->is_lost || h->batch.error != 0 || earlier.error != 0;
    buf_close(&earlier);
}

void history_abort(struct history *h)
{
    h->is_open = false;
    if (h->batch.cap > HISTORY_SPARE_BYTES) {
        buf_close(&h->batch);
    }
}

/* Room for a batch in the newest chunk, or in a new one; NULL: no memory. */
static struct history_chunk *chunk_for(struct history *h, size_t bytes)
{
    struct history_chunk *c = h->last;
    size_t cap = KV_MAX(bytes, h->chunk_bytes);

    if (c != NULL && c->cap - c->len >= bytes) {
        return c;
    }
    c = kv_mem_zalloc(sizeof *c + cap);
    if (c == NULL) {
        return NULL;
    }
    c->cap = cap;
    c->prev = h->last;
    if (h->last == NULL) {
        h->first = c;
    } else {
        h->last->next = c;
    }
    h->last = c;
    h->taken_bytes += cap;
    trim(h);
    return c;
}

/* Bytes of keys and values of the batch at hand, and of values before. */
static void batch_sums(const struct history *h, uint32_t *out_bytes, uint32_t *out_prev)
{
    struct kv_bytes rest = buf_bytes(&h->batch);
    struct history_change c;

    *out_bytes = 0;
    *out_prev = 0;
    while (history_take(&rest, &c)) {
        *out_bytes += (uint32_t)(c.key.len + c.value.len);
        *out_prev += (uint32_t)c.prev.len;
    }
}

int history_commit(struct history *h)
{
    size_t bytes = HISTORY_BATCH_HEAD + h->batch.len;
    uint32_t sum, prev_sum;
    struct history_chunk *c;
    uint8_t *p;

    KV_ASSERT(h->is_open);
    if (h->count == 0 && !h->is_lost) {
        history_abort(h);
        return 0;
    }
    c = h->is_lost ? NULL : chunk_for(h, bytes);
    if (c == NULL) {
        history_reset(h, h->rev);
        history_abort(h);
        return KV_ENOMEM;
    }
    batch_sums(h, &sum, &prev_sum);
    p = c->data + c->len;
    kv_put_u64le(p, h->rev);
    kv_put_u32le(p + 8, h->count);
    kv_put_u32le(p + 12, (uint32_t)h->batch.len);
    kv_put_u32le(p + 16, sum);
    kv_put_u32le(p + 20, prev_sum);
    memcpy(p + HISTORY_BATCH_HEAD, h->batch.data, h->batch.len);
    c->last_at = c->len;
    c->last_rev = h->rev;
    c->len += bytes;
    h->added_bytes += bytes;
    history_abort(h);
    return 1;
}

/* ---- reading ---- */

bool history_next(struct history_place *io, struct history_batch *out)
{
    const struct history_chunk *c = io->chunk;
    const uint8_t *p;

    if (c == NULL) {
        return false;
    }
    if (io->at == c->len && c->next != NULL) {
        c = c->next;
        *io = (struct history_place){c, 0};
    }
    if (io->at == c->len) {
        return false;
    }
    p = c->data + io->at;
    out->rev = kv_get_u64le(p);
    out->count = kv_get_u32le(p + 8);
    out->bytes = kv_get_u32le(p + 16);
    out->prev_bytes = kv_get_u32le(p + 20);
    out->changes = kv_bytes(p + HISTORY_BATCH_HEAD, kv_get_u32le(p + 12));
    io->at += HISTORY_BATCH_HEAD + out->changes.len;
    return true;
}

struct history_place history_newest(const struct history *h)
{
    KV_ASSERT(h->last != NULL && h->last->len > 0);
    return (struct history_place){h->last, h->last->last_at};
}

struct history_place history_find(const struct history *h, uint64_t rev)
{
    const struct history_chunk *c = h->last;
    struct history_place place = {0};
    struct history_place next;
    struct history_batch batch;

    KV_ASSERT(rev >= h->floor);
    if (c == NULL) {
        return place;
    }
    while (c->prev != NULL && c->prev->last_rev > rev) {
        c = c->prev;
    }
    place.chunk = c;
    next = place;
    while (history_next(&next, &batch) && batch.rev <= rev) {
        place = next;
    }
    return place;
}
