/* server/lease.c - a heap of deadlines, and a table to find them. */
#include "server/lease.h"

#include "raft/base/arena.h"
#include "raft/base/hash.h"

enum {
    LEASES_CELLS_MIN = 64,
};

/* ---- the heap ---- */

static void heap_put(struct leases *t, uint32_t at, struct lease *l)
{
    t->heap[at] = l;
    l->heap_at = at;
}

static void heap_up(struct leases *t, uint32_t at)
{
    struct lease *l = t->heap[at];

    while (at > 0 && t->heap[(at - 1) / 2]->deadline_ms > l->deadline_ms) {
        heap_put(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(t, at, l);
}

static void heap_down(struct leases *t, uint32_t at)
{
    struct lease *l = t->heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < t->count &&
            t->heap[child + 1]->deadline_ms < t->heap[child]->deadline_ms) {
            child++;
        }
        if (child >= t->count || t->heap[child]->deadline_ms >= l->deadline_ms) {
            break;
        }
        heap_put(t, at, t->heap[child]);
        at = child;
    }
    heap_put(t, at, l);
}

/* ---- the table ---- */

static uint32_t cell_of(const struct leases *t, struct kv_bytes name, uint64_t id)
{
    return (uint32_t)kv_hash64_seed(name.data, name.len, id) & (t->cells_count - 1);
}

static bool cells_grow(struct leases *t)
{
    struct leases grown = *t;

    grown.cells_count = KV_MAX(2 * t->cells_count, (uint32_t)LEASES_CELLS_MIN);
    grown.cells = kv_mem_zalloc(grown.cells_count * sizeof *grown.cells);
    if (grown.cells == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->count; i++) {
        struct lease *l = t->heap[i];
        uint32_t cell = cell_of(&grown, l->name, l->id);

        l->next = grown.cells[cell];
        grown.cells[cell] = l;
    }
    kv_mem_free(t->cells);
    *t = grown;
    return true;
}

static bool make_room(struct leases *t)
{
    struct lease **heap;
    uint32_t cap = KV_MAX(2 * t->heap_cap, (uint32_t)LEASES_CELLS_MIN);

    if (t->count >= t->cells_count && !cells_grow(t)) {
        return false;
    }
    if (t->count < t->heap_cap) {
        return true;
    }
    heap = kv_mem_realloc(t->heap, cap * sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    t->heap = heap;
    t->heap_cap = cap;
    return true;
}

/* ---- outside ---- */

void leases_clear(struct leases *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        KV_ASSERT(t->heap[i]->req == NULL);
        kv_mem_free(t->heap[i]);
    }
    kv_mem_free(t->heap);
    kv_mem_free(t->cells);
    *t = (struct leases){0};
}

struct lease *leases_add(struct leases *t, const struct lease_ask *ask)
{
    size_t bytes = ask->name.len + ask->owner.len;
    struct lease *l;
    uint32_t cell;

    KV_ASSERT(ask->name.len > 0 && ask->owner.len > 0 && ask->id > 0);
    KV_ASSERT(leases_find(t, ask->name, ask->id) == NULL);
    l = make_room(t) ? kv_mem_zalloc(sizeof *l + bytes) : NULL;
    if (l == NULL) {
        return NULL;
    }
    l->id = ask->id;
    l->deadline_ms = ask->deadline_ms;
    l->ttl_ms = ask->ttl_ms;
    l->slot = ask->slot;
    l->is_holder = ask->is_holder;
    memcpy(l->data, ask->name.data, ask->name.len);
    memcpy(l->data + ask->name.len, ask->owner.data, ask->owner.len);
    l->name = kv_bytes(l->data, ask->name.len);
    l->owner = kv_bytes(l->data + ask->name.len, ask->owner.len);
    cell = cell_of(t, l->name, l->id);
    l->next = t->cells[cell];
    t->cells[cell] = l;
    t->heap[t->count] = l;
    heap_up(t, t->count++);
    return l;
}

struct lease *leases_find(const struct leases *t, struct kv_bytes name, uint64_t id)
{
    struct lease *l = t->cells_count == 0 ? NULL : t->cells[cell_of(t, name, id)];

    while (l != NULL && (l->id != id || !kv_bytes_equal(l->name, name))) {
        l = l->next;
    }
    return l;
}

void leases_remove(struct leases *t, struct lease *l)
{
    struct lease **link = &t->cells[cell_of(t, l->name, l->id)];
    uint32_t at = l->heap_at;
    struct lease *last = t->heap[t->count - 1];

    KV_ASSERT(l->req == NULL && t->heap[at] == l);
    while (*link != l) {
        link = &(*link)->next;
    }
    *link = l->next;
    t->count--;
    if (last != l) {
        heap_put(t, at, last);
        heap_up(t, at);
        heap_down(t, last->heap_at);
    }
    kv_mem_free(l);
}

struct lease *leases_first(const struct leases *t)
{
    return t->count == 0 ? NULL : t->heap[0];
}

void leases_set(struct leases *t, struct lease *l, uint64_t deadline_ms)
{
    l->deadline_ms = deadline_ms;
    heap_up(t, l->heap_at);
    heap_down(t, l->heap_at);
}
