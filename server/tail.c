/* server/tail.c - a ring of views into a chain of chunks. */
#include "server/tail.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/record.h"

enum {
    TAIL_SLOTS_MIN = 64,
    TAIL_SLOTS_MAX = 1 << 24,
};

struct tail_chunk {
    struct tail_chunk *next;
    uint64_t write;    /* Newest disk write that reads from it; 0: none. */
    size_t size_bytes; /* Of data[]. */
    size_t used_bytes; /* Of data[]. */
    uint8_t data[];
};

struct tail_slot {
    const uint8_t *data;
    uint32_t len;
    struct tail_chunk *chunk;
};

/* ---- life ---- */

void tail_init(struct tail *t, raft_index next)
{
    *t = (struct tail){.begin = next, .end = next};
}

void tail_close(struct tail *t)
{
    struct tail_chunk *chunk = t->first;

    while (chunk != NULL) {
        struct tail_chunk *next = chunk->next;

        kv_mem_free(chunk);
        chunk = next;
    }
    kv_mem_free(t->spare);
    kv_mem_free(t->slots);
    tail_init(t, t->end);
}

static struct tail_slot *slot_of_index(const struct tail *t, raft_index index)
{
    return &t->slots[index & (t->slots_cap - 1)];
}

/* Gives chunks at the front back, as long as nobody needs them. */
static void tail_reclaim(struct tail *t)
{
    struct tail_chunk *keep =
        t->begin < t->end ? slot_of_index(t, t->begin)->chunk : NULL;

    while (t->first != NULL && t->first != keep && t->first != t->fresh &&
           t->first->write <= t->writes_done) {
        struct tail_chunk *chunk = t->first;

        t->first = chunk->next;
        if (t->first == NULL) {
            t->last = NULL;
        }
        if (t->spare == NULL && chunk->size_bytes == TAIL_CHUNK_BYTES) {
            t->spare = chunk;
        } else {
            t->chunks_bytes -= chunk->size_bytes;
            kv_mem_free(chunk);
        }
    }
}

void tail_reset(struct tail *t, raft_index next)
{
    t->begin = next;
    t->end = next;
    t->bytes = 0;
    tail_reclaim(t);
}

/* ---- work ---- */

static struct tail_chunk *chunk_new(struct tail *t, size_t bytes)
{
    size_t size = KV_MAX((size_t)TAIL_CHUNK_BYTES, bytes);
    struct tail_chunk *chunk = t->spare;

    if (chunk != NULL && size == TAIL_CHUNK_BYTES) {
        t->spare = NULL;
    } else {
        chunk = kv_mem_zalloc(sizeof *chunk + size);
        if (chunk == NULL) {
            return NULL;
        }
        t->chunks_bytes += size;
    }
    *chunk = (struct tail_chunk){.size_bytes = size};
    if (t->last == NULL) {
        t->first = chunk;
    } else {
        t->last->next = chunk;
    }
    t->last = chunk;
    return chunk;
}

static int slots_grow(struct tail *t)
{
    uint32_t cap = t->slots_cap == 0 ? TAIL_SLOTS_MIN : 2 * t->slots_cap;
    struct tail_slot *slots;

    if (cap > TAIL_SLOTS_MAX) {
        return KV_ENOMEM;
    }
    slots = kv_mem_zalloc(cap * sizeof *slots);
    if (slots == NULL) {
        return KV_ENOMEM;
    }
    for (raft_index i = t->begin; i < t->end; i++) {
        slots[i & (cap - 1)] = *slot_of_index(t, i);
    }
    kv_mem_free(t->slots);
    t->slots = slots;
    t->slots_cap = cap;
    return 0;
}

int tail_append(struct tail *t, const struct raft_entry *entry,
                struct kv_bytes *out_record)
{
    size_t bytes = raft_record_bytes(entry->payload.len);
    struct tail_chunk *chunk = t->last;
    uint8_t *data;
    int rc;

    KV_ASSERT(entry->pos.index == t->end);
    if (t->end - t->begin >= t->slots_cap) {
        rc = slots_grow(t);
        if (rc != 0) {
            return rc;
        }
    }
    if (chunk == NULL || chunk->size_bytes - chunk->used_bytes < bytes) {
        chunk = chunk_new(t, bytes);
        if (chunk == NULL) {
            return KV_ENOMEM;
        }
    }
    data = chunk->data + chunk->used_bytes;
    chunk->used_bytes += bytes;
    raft_record_encode(entry, data);
    *slot_of_index(t, t->end) = (struct tail_slot){data, (uint32_t)bytes, chunk};
    t->end++;
    t->bytes += bytes;
    t->fresh = t->fresh == NULL ? chunk : t->fresh;
    *out_record = kv_bytes(data, bytes);
    return 0;
}

void tail_cut(struct tail *t, raft_index from)
{
    KV_ASSERT(from >= t->begin);
    while (t->end > from) {
        t->end--;
        t->bytes -= slot_of_index(t, t->end)->len;
    }
    tail_reclaim(t);
}

void tail_drop(struct tail *t, raft_index upto)
{
    while (t->begin < t->end && t->begin < upto) {
        t->bytes -= slot_of_index(t, t->begin)->len;
        t->begin++;
    }
    tail_reclaim(t);
}

void tail_handed_out(struct tail *t, uint64_t write)
{
    KV_ASSERT(write > t->writes_done);
    for (struct tail_chunk *chunk = t->fresh; chunk != NULL; chunk = chunk->next) {
        chunk->write = write;
    }
    t->fresh = NULL;
}

void tail_written(struct tail *t, uint64_t write)
{
    KV_ASSERT(write >= t->writes_done);
    t->writes_done = write;
    tail_reclaim(t);
}

/* ---- looking in ---- */

struct kv_bytes tail_get(const struct tail *t, raft_index index)
{
    const struct tail_slot *slot;

    KV_ASSERT(tail_has(t, index));
    slot = slot_of_index(t, index);
    return kv_bytes(slot->data, slot->len);
}
