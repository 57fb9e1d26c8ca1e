/* raft/base/prng.c - splitmix64 and xoshiro256**. */
#include "raft/base/prng.h"

#include "raft/base/check.h"

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void prng_init(struct prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        p->s[i] = splitmix64(&seed);
    }
}

uint64_t prng_next(struct prng *p)
{
    uint64_t result = rotl(p->s[1] * 5, 7) * 9;
    uint64_t t = p->s[1] << 17;

    p->s[2] ^= p->s[0];
    p->s[3] ^= p->s[1];
    p->s[1] ^= p->s[2];
    p->s[0] ^= p->s[3];
    p->s[2] ^= t;
    p->s[3] = rotl(p->s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
    __extension__ typedef unsigned __int128 wide;

    /* Lemire's multiply-and-shift; the bias is below bound / 2^64. */
    KV_ASSERT(bound >= 1);
    return (uint64_t)(((wide)prng_next(p) * bound) >> 64);
}

uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high)
{
    KV_ASSERT(low <= high);
    if (high - low == UINT64_MAX) {
        return prng_next(p);
    }
    return low + prng_below(p, high - low + 1);
}
