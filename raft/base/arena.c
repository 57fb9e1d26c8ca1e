/* raft/base/arena.c - blocks from malloc, bytes from blocks. */
#include "raft/base/arena.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/err.h"

#define ARENA_ALIGN ((size_t)16)

struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* Of data[]. */
    size_t used_bytes; /* Of data[]. */
    _Alignas(16) uint8_t data[];
};

void arena_init(struct arena *a, size_t block_bytes, size_t max_bytes)
{
    KV_ASSERT(block_bytes >= 64);
    *a = (struct arena){.block_bytes = block_bytes, .max_bytes = max_bytes};
}

static void arena_free_blocks(struct arena *a, struct arena_block *keep)
{
    struct arena_block *block = a->head;

    while (block != NULL) {
        struct arena_block *next = block->next;

        if (block != keep) {
            a->taken_bytes -= block->size_bytes;
            free(block);
        }
        block = next;
    }
    a->head = keep;
    if (keep != NULL) {
        keep->next = NULL;
        keep->used_bytes = 0;
    }
    a->used_bytes = 0;
}

void arena_close(struct arena *a)
{
    arena_free_blocks(a, NULL);
    KV_ASSERT(a->taken_bytes == 0);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;

    for (struct arena_block *b = a->head; b != NULL && keep == NULL; b = b->next) {
        if (b->size_bytes == a->block_bytes) {
            keep = b;
        }
    }
    arena_free_blocks(a, keep);
}

static struct arena_block *arena_grow(struct arena *a, size_t bytes)
{
    size_t size = KV_MAX(a->block_bytes, bytes);
    struct arena_block *block;

    if (a->max_bytes != 0 &&
        (size > a->max_bytes || a->taken_bytes > a->max_bytes - size)) {
        return NULL;
    }
    block = malloc(sizeof *block + size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct arena_block){.next = a->head, .size_bytes = size};
    a->head = block;
    a->taken_bytes += size;
    return block;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    struct arena_block *block = a->head;
    size_t need;
    void *out;

    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    need = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (block == NULL || block->size_bytes - block->used_bytes < need) {
        block = arena_grow(a, need);
        if (block == NULL) {
            return NULL;
        }
    }
    out = block->data + block->used_bytes;
    block->used_bytes += need;
    a->used_bytes += need;
    return out;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    void *out = arena_alloc(a, bytes);

    if (out != NULL) {
        memset(out, 0, bytes);
    }
    return out;
}

int arena_copy(struct arena *a, struct kv_bytes src, struct kv_bytes *out_copy)
{
    uint8_t *data = arena_alloc(a, src.len);

    if (data == NULL) {
        return KV_ENOMEM;
    }
    if (src.len > 0) {
        memcpy(data, src.data, src.len);
    }
    *out_copy = kv_bytes(data, src.len);
    return 0;
}

void kv_mem_trim(void)
{
    (void)malloc_trim(0);
}

void *kv_mem_zalloc(size_t bytes)
{
    return calloc(1, bytes);
}

void *kv_mem_realloc(void *old, size_t bytes)
{
    return realloc(old, bytes);
}

void kv_mem_free(void *object)
{
    free(object);
}
