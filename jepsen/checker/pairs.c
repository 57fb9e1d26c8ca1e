/* jepsen/checker/pairs.c - pairs of integers to one integer, for millions of them. */
#include "jepsen/checker/pairs.h"

#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    MAP_CAP_FIRST = 64,
};

void pairs_init(struct pairs *m)
{
    memset(m, 0, sizeof *m);
}

void pairs_close(struct pairs *m)
{
    kv_mem_free(m->slots);
    memset(m, 0, sizeof *m);
}

/* Spreads neighbouring integers over the table (the finisher of splitmix64). */
static size_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u ^ b;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (size_t)(x ^ x >> 31);
}

/* The slot of the pair, or the empty one where it belongs. Needs cap > 0. */
static struct pairs_slot *slot_of(const struct pairs *m, uint64_t a, uint64_t b)
{
    size_t i = mix(a, b) & (m->cap - 1);

    while (m->slots[i].value != PAIRS_NONE &&
           (m->slots[i].a != a || m->slots[i].b != b)) {
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

static int grow(struct pairs *m)
{
    struct pairs bigger = {.cap = m->cap == 0 ? MAP_CAP_FIRST : m->cap * 2};

    if (bigger.cap > SIZE_MAX / sizeof *bigger.slots) {
        return KV_ENOMEM;
    }
    bigger.slots = kv_mem_realloc(NULL, bigger.cap * sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return KV_ENOMEM;
    }
    memset(bigger.slots, 0xff, bigger.cap * sizeof *bigger.slots); /* PAIRS_NONE */
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value != PAIRS_NONE) {
            *slot_of(&bigger, m->slots[i].a, m->slots[i].b) = m->slots[i];
        }
    }
    bigger.count = m->count;
    pairs_close(m);
    *m = bigger;
    return 0;
}

uint64_t pairs_find(const struct pairs *m, uint64_t a, uint64_t b)
{
    return m->cap == 0 ? PAIRS_NONE : slot_of(m, a, b)->value;
}

uint64_t *pairs_at(struct pairs *m, uint64_t a, uint64_t b, uint64_t value)
{
    struct pairs_slot *slot;

    KV_ASSERT(value != PAIRS_NONE);
    if (m->count * 2 >= m->cap && grow(m) != 0) {
        return NULL;
    }
    slot = slot_of(m, a, b);
    if (slot->value == PAIRS_NONE) {
        *slot = (struct pairs_slot){a, b, value};
        m->count++;
    }
    return &slot->value;
}

int pairs_put(struct pairs *m, uint64_t a, uint64_t b, uint64_t value)
{
    uint64_t *at = pairs_at(m, a, b, value);

    if (at == NULL) {
        return KV_ENOMEM;
    }
    *at = value;
    return 0;
}
