/* server/request.c - the pool of requests, their phases, and lists of them. */
#include "server/request.h"

#include "raft/base/err.h"

enum {
    REQUEST_ARENA_BLOCK_BYTES =
        1024, /* A usual put fits; kept when a request is recycled. */
    REQUEST_ARENA_BYTES_MAX =
        16 * 1024 * 1024, /* The largest range reply, with room. */
    REQUEST_SLAB_COUNT = 64,
    REQUEST_MAGIC_FREE = 0x46524545,
};

/* What the pool knows of a request beyond its contract. */
struct pooled {
    struct request req; /* First. */
    struct request_pool *pool;
    struct pooled *next_free;
    size_t counted_bytes; /* Of the pool's budget. */
};

struct request_slab {
    struct request_slab *next;
    struct pooled items[REQUEST_SLAB_COUNT];
};

/* count <= requests_max; bytes <= bytes_max + one message. */
struct request_pool {
    struct node *node;
    uint32_t requests_max;
    size_t bytes_max;
    uint32_t count; /* In use. */
    size_t bytes;   /* Of messages in use. */
    struct pooled *free;
    struct request_slab *slabs;
    uint32_t slab_used; /* Items of the newest slab that were ever handed out. */
};

/* ---- lists ---- */

void request_list_push(struct request_list *l, struct request *req)
{
    KV_ASSERT(req->prev == NULL && req->next == NULL && l->head != req);
    req->prev = l->tail;
    if (l->tail == NULL) {
        l->head = req;
    } else {
        l->tail->next = req;
    }
    l->tail = req;
    l->count++;
}

void request_list_remove(struct request_list *l, struct request *req)
{
    KV_ASSERT(l->count > 0);
    KV_ASSERT(req->prev != NULL || l->head == req);
    KV_ASSERT(req->next != NULL || l->tail == req);
    if (req->prev == NULL) {
        l->head = req->next;
    } else {
        req->prev->next = req->next;
    }
    if (req->next == NULL) {
        l->tail = req->prev;
    } else {
        req->next->prev = req->prev;
    }
    req->prev = NULL;
    req->next = NULL;
    l->count--;
}

/* ---- phases ---- */

#define PHASE_BIT(phase) (1u << (phase))

static const struct {
    const char *text;
    unsigned next; /* PHASE_BITs */
} request_phases[REQ_PHASES_COUNT] = {
    [REQ_READING] = {"reading", PHASE_BIT(REQ_WAITING) | PHASE_BIT(REQ_FORWARDED) |
                                    PHASE_BIT(REQ_PROPOSED) |
                                    PHASE_BIT(REQ_READ_INDEX) | PHASE_BIT(REQ_REPLIED)},
    [REQ_WAITING] = {"waiting", PHASE_BIT(REQ_WAITING) | PHASE_BIT(REQ_FORWARDED) |
                                    PHASE_BIT(REQ_PROPOSED) |
                                    PHASE_BIT(REQ_READ_INDEX) | PHASE_BIT(REQ_REPLIED)},
    /* Back to waiting only after an answer that it certainly did nothing. */
    [REQ_FORWARDED] = {"forwarded", PHASE_BIT(REQ_WAITING) | PHASE_BIT(REQ_REPLIED)},
    /* The same: another entry was applied at its index. */
    [REQ_PROPOSED] = {"proposed", PHASE_BIT(REQ_WAITING) | PHASE_BIT(REQ_REPLIED)},
    [REQ_READ_INDEX] = {"read_index", PHASE_BIT(REQ_WAITING) | PHASE_BIT(REQ_REPLIED)},
    [REQ_REPLIED] = {"replied", 0},
};

void request_move(struct request *req, enum request_phase to)
{
    KV_ASSERT(req->magic == REQUEST_MAGIC);
    KV_ASSERT(req->phase < REQ_PHASES_COUNT && to < REQ_PHASES_COUNT);
    KV_ASSERT((request_phases[req->phase].next & PHASE_BIT(to)) != 0);
    req->phase = to;
}

const char *request_phase_text(enum request_phase phase)
{
    KV_ASSERT(phase < REQ_PHASES_COUNT);
    return request_phases[phase].text;
}

/* ---- the pool ---- */

int request_pool_new(struct node *n, uint32_t requests_max, size_t bytes_max,
                     struct request_pool **out)
{
    struct request_pool *p = kv_mem_zalloc(sizeof *p);

    KV_ASSERT(requests_max > 0 && bytes_max > 0);
    if (p == NULL) {
        return KV_ENOMEM;
    }
    p->node = n;
    p->requests_max = requests_max;
    p->bytes_max = bytes_max;
    p->slab_used = REQUEST_SLAB_COUNT;
    *out = p;
    return 0;
}

void request_pool_free(struct request_pool *p)
{
    if (p == NULL) {
        return;
    }
    while (p->slabs != NULL) {
        struct request_slab *slab = p->slabs;

        p->slabs = slab->next;
        for (size_t i = 0; i < REQUEST_SLAB_COUNT; i++) {
            if (slab->items[i].pool != NULL) {
                arena_close(&slab->items[i].req.arena);
            }
        }
        kv_mem_free(slab);
    }
    kv_mem_free(p);
}

/* Takes an item that was never used, from the newest slab or another one. */
static struct pooled *pool_grow(struct request_pool *p)
{
    struct pooled *item;

    if (p->slab_used == REQUEST_SLAB_COUNT) {
        struct request_slab *slab = kv_mem_zalloc(sizeof *slab);

        if (slab == NULL) {
            return NULL;
        }
        slab->next = p->slabs;
        p->slabs = slab;
        p->slab_used = 0;
    }
    item = &p->slabs->items[p->slab_used++];
    item->pool = p;
    arena_init(&item->req.arena, REQUEST_ARENA_BLOCK_BYTES, REQUEST_ARENA_BYTES_MAX);
    return item;
}

static struct pooled *pool_take(struct request_pool *p)
{
    struct pooled *item = p->free;

    if (item == NULL) {
        return pool_grow(p);
    }
    p->free = item->next_free;
    item->next_free = NULL;
    return item;
}

static void pool_give(struct request_pool *p, struct pooled *item)
{
    item->req.magic = REQUEST_MAGIC_FREE;
    item->next_free = p->free;
    p->free = item;
}

int request_new(struct request_pool *p, struct kv_bytes message, struct request **out)
{
    struct pooled *item;
    struct arena arena;

    if (p->count >= p->requests_max || message.len > p->bytes_max ||
        p->bytes > p->bytes_max - message.len) {
        return KV_EBUSY;
    }
    item = pool_take(p);
    if (item == NULL) {
        return KV_EBUSY;
    }
    arena = item->req.arena;
    item->req = (struct request){
        .magic = REQUEST_MAGIC, .phase = REQ_READING, .node = p->node, .arena = arena};
    if (arena_copy(&item->req.arena, message, &item->req.message) != 0) {
        pool_give(p, item);
        return KV_EBUSY;
    }
    item->counted_bytes = KV_MAX(message.len, (size_t)REQUEST_ARENA_BLOCK_BYTES);
    p->bytes += item->counted_bytes;
    p->count++;
    *out = &item->req;
    return 0;
}

void request_free(struct request *req)
{
    struct pooled *item = (struct pooled *)(void *)req;
    struct request_pool *p = item->pool;

    KV_ASSERT(req->magic == REQUEST_MAGIC);
    KV_ASSERT(req->phase == REQ_REPLIED);
    KV_ASSERT(req->prev == NULL && req->next == NULL);
    KV_ASSERT(p->count > 0 && p->bytes >= item->counted_bytes);
    p->count--;
    p->bytes -= item->counted_bytes;
    arena_reset(&req->arena);
    pool_give(p, item);
}

uint32_t request_pool_count(const struct request_pool *p)
{
    return p->count;
}

size_t request_pool_bytes(const struct request_pool *p)
{
    return p->bytes;
}
