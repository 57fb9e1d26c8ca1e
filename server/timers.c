/* server/timers.c - the tree of server/timers.h. */
#include "server/timers.h"

void timers_init(struct timers *t, uint32_t count)
{
    uint32_t i;

    KV_ASSERT(count >= 1 && count <= TIMERS_SLOTS_MAX);
    t->leaves = 1;
    while (t->leaves < count) {
        t->leaves *= 2;
    }
    for (i = 0; i < 2 * TIMERS_SLOTS_MAX; i++) {
        t->tree[i] = TIMERS_NEVER;
    }
}

void timers_set(struct timers *t, uint32_t slot, uint64_t deadline_ms)
{
    uint32_t at = t->leaves + slot;

    KV_ASSERT(slot < t->leaves);
    if (t->tree[at] == deadline_ms) {
        return;
    }
    t->tree[at] = deadline_ms;
    for (at /= 2; at >= 1; at /= 2) {
        uint64_t min = KV_MIN(t->tree[2 * at], t->tree[2 * at + 1]);

        if (t->tree[at] == min) {
            break;
        }
        t->tree[at] = min;
    }
}

uint64_t timers_get(const struct timers *t, uint32_t slot)
{
    KV_ASSERT(slot < t->leaves);
    return t->tree[t->leaves + slot];
}

uint64_t timers_first_ms(const struct timers *t)
{
    return t->tree[1];
}

uint32_t timers_due(const struct timers *t, uint32_t from, uint64_t now_ms)
{
    uint32_t at;

    if (from >= t->leaves) {
        return UINT32_MAX;
    }
    /* Climb until a subtree at or right of `from` holds one that is due. */
    at = t->leaves + from;
    while (t->tree[at] > now_ms) {
        while ((at & 1) == 1) { /* A right child has no right neighbour here. */
            if (at == 1) {
                return UINT32_MAX;
            }
            at /= 2;
        }
        at++;
    }
    /* Descend to its leftmost one. */
    while (at < t->leaves) {
        at *= 2;
        if (t->tree[at] > now_ms) {
            at++;
        }
    }
    return at - t->leaves;
}
