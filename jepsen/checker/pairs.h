/* jepsen/checker/pairs.h - pairs of integers to one integer, for millions of them.
 *
 * Open addressing, no removal: checkers fill it, look in, and throw it away.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/checker/.
 * Threads:  one.
 */
#ifndef KV_JEPSEN_CHECKER_PAIRS_H
#define KV_JEPSEN_CHECKER_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"

#define PAIRS_NONE UINT64_MAX

struct pairs_slot {
    uint64_t a, b;
    uint64_t value; /* PAIRS_NONE: the slot is empty. */
};

/* At most half of the slots are taken. */
struct pairs {
    struct pairs_slot *slots;
    size_t cap;   /* 0 or a power of two. */
    size_t count; /* Pairs in it. */
};

/* Makes an empty map; takes no memory yet. */
void pairs_init(struct pairs *m);

/* Gives its memory back. */
void pairs_close(struct pairs *m);

/* The value of the pair, PAIRS_NONE where it is not in. */
uint64_t pairs_find(const struct pairs *m, uint64_t a, uint64_t b);

/* Sets the value (not PAIRS_NONE) of the pair. Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int pairs_put(struct pairs *m, uint64_t a, uint64_t b, uint64_t value);

/* The value of the pair; where it is not in, puts `value` first. NULL: no memory.
 * The pointer is good until the next call that puts. */
KV_MUST_CHECK uint64_t *pairs_at(struct pairs *m, uint64_t a, uint64_t b,
                                 uint64_t value);

#endif
