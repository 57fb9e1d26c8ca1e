/* tests/sim/heap.c - events by time, then by order of creation. */
#include "raft/base/arena.h"
#include "tests/sim/sim.h"

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void heap_push(struct sim *s, struct sim_event ev)
{
    size_t at = s->heap_count;

    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap == 0 ? 1024 : s->heap_cap * 2;
        s->heap = kv_mem_realloc(s->heap, s->heap_cap * sizeof *s->heap);
        KV_ASSERT(s->heap != NULL);
    }
    ev.seq = ++s->seq;
    if (ev.at_us < s->now_us) {
        ev.at_us = s->now_us;
    }
    s->heap_count++;
    while (at > 0 && event_before(&ev, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = ev;
}

bool heap_pop(struct sim *s, struct sim_event *out)
{
    struct sim_event last;
    size_t at = 0;

    if (s->heap_count == 0) {
        return false;
    }
    *out = s->heap[0];
    last = s->heap[--s->heap_count];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= s->heap_count) {
            break;
        }
        if (child + 1 < s->heap_count &&
            event_before(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!event_before(&s->heap[child], &last)) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return true;
}
