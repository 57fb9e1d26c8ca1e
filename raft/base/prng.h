/* raft/base/prng.h - a small seeded random generator, the same on every machine.
 *
 * xoshiro256** by Blackman and Vigna (public domain algorithm), seeded through
 * splitmix64. Not for secrets. Each owner keeps its own state, so that one seed
 * gives one run.
 *
 * Source:   "Scrambled Linear Pseudorandom Number Generators", 2018.
 */
#ifndef KV_RAFT_BASE_PRNG_H
#define KV_RAFT_BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t s[4]; /* Never all zero after prng_init(). */
};

/* Seeds `p`; every seed, 0 included, is fine. */
void prng_init(struct prng *p, uint64_t seed);

/* The next 64 random bits. */
uint64_t prng_next(struct prng *p);

/* A number in [0, bound), without bias worth naming; bound >= 1. */
uint64_t prng_below(struct prng *p, uint64_t bound);

/* A number in [low, high], both included; low <= high. */
uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high);

#endif
