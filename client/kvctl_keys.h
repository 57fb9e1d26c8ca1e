/* client/kvctl_keys.h - which key a benchmark asks for next.
 *
 * Numbers in [0, count), drawn from a seed: the same seed gives the same keys.
 *
 * Needs:    raft/base/prng.h.
 * Used by:  client/kvctl_load.c.
 * Threads:  one owner at a time.
 * Source:   zipfian: W. Hoermann, G. Derflinger, "Rejection-inversion to generate
 *           variates from monotone discrete distributions", 1996.
 */
#ifndef KV_CLIENT_KVCTL_KEYS_H
#define KV_CLIENT_KVCTL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/prng.h"

enum {
    KEYS_MAX = 1000 * 1000 * 1000
};

enum keys_kind {
    KEYS_UNIFORM,
    KEYS_ZIPFIAN,    /* Rank r has weight r^-skew; ranks lie scattered over the keys. */
    KEYS_SEQUENTIAL, /* 0, 1, 2 ... and again from 0. */
    KEYS_HOT,        /* A share of the draws is key 0, the rest is uniform. */
};

struct keys {
    enum keys_kind kind;
    uint64_t count;
    double skew;  /* zipfian: > 0, 0.99 is YCSB's. */
    double share; /* hot: in [0, 1]. */
    struct prng prng;
    uint64_t next;                   /* sequential */
    double area_low, area_high, cut; /* zipfian: see keys.c. */
};

/* Reads "uniform", "zipfian[:SKEW]", "sequential" or "hot[:PERCENT]" and prepares
 * `k`, which the caller owns, for `count` keys, 1 to KEYS_MAX.
 * Returns false where the text is none of these. */
bool keys_init(struct keys *k, const char *text, uint64_t count, uint64_t seed);

/* The next key. */
uint64_t keys_next(struct keys *k);

#endif
