/* jepsen/env/link.c - what one direction of a link does to a piece that passes. */
#include "jepsen/env/link.h"

enum {
    LINK_PPM = 1000000
};

static bool chance(struct prng *p, uint32_t ppm)
{
    return ppm != 0 && prng_below(p, LINK_PPM) < ppm;
}

static uint64_t delay_ns(const struct fault_link *s, struct prng *p)
{
    uint64_t low = s->delay_us > s->jitter_us ? s->delay_us - s->jitter_us : 0;

    if (s->jitter_us == 0) {
        return s->delay_us * 1000ull;
    }
    return prng_between(p, low * 1000, ((uint64_t)s->delay_us + s->jitter_us) * 1000);
}

/* When the wire has sent a piece that it gets now. */
static uint64_t wire_ns(struct link *l, uint64_t now_ns, size_t bytes)
{
    uint64_t begin = KV_MAX(now_ns, l->free_ns);

    if (l->shape.rate_bytes_per_s == 0) {
        return now_ns;
    }
    l->free_ns = begin + bytes * 1000000000ull / l->shape.rate_bytes_per_s;
    return l->free_ns;
}

struct link_fate link_packet(struct link *l, struct prng *p, uint64_t now_ns,
                             size_t bytes)
{
    const struct fault_link *s = &l->shape;
    struct link_fate fate = {.copies = 0};
    uint64_t sent_ns;

    if (l->cut || chance(p, s->loss_ppm) ||
        (s->rate_bytes_per_s != 0 && l->free_ns > now_ns + LINK_QUEUE_NS)) {
        l->lost++;
        return fate;
    }
    l->passed++;
    sent_ns = wire_ns(l, now_ns, bytes);
    fate.copies = chance(p, s->duplicate_ppm) ? 2 : 1;
    for (uint32_t i = 0; i < fate.copies; i++) {
        fate.due_ns[i] = sent_ns;
        if (!chance(p, s->reorder_ppm)) {
            fate.due_ns[i] += delay_ns(s, p);
        }
    }
    return fate;
}

uint64_t link_piece(struct link *l, struct prng *p, uint64_t now_ns, size_t bytes)
{
    uint64_t due = wire_ns(l, now_ns, bytes) + delay_ns(&l->shape, p);

    if (chance(p, l->shape.loss_ppm)) {
        due += LINK_RESEND_NS;
        l->lost++;
    }
    l->passed++;
    l->last_ns = KV_MAX(l->last_ns, due);
    return l->last_ns;
}
