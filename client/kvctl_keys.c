/* client/kvctl_keys.c - which key a benchmark asks for next. */
#include "client/kvctl_keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/check.h"

/* Greater than any count and prime: multiplying by it modulo the count only shuffles,
 * and KEYS_MAX times it fits into 64 bits. */
static const uint64_t scatter = 4294967311u;

static const double skew_default = 0.99;
static const double share_default = 0.9;

static double uniform01(struct prng *p)
{
    return (double)(prng_next(p) >> 11) * 0x1p-53;
}

/* ---- zipfian ---- */

/* The weight of rank x, and the area under it from 1 to x. */
static double weight(const struct keys *k, double x)
{
    return exp(-k->skew * log(x));
}

static double area(const struct keys *k, double x)
{
    double power = 1 - k->skew;

    return fabs(power) < 1e-9 ? log(x) : (exp(power * log(x)) - 1) / power;
}

static double area_inverse(const struct keys *k, double y)
{
    double power = 1 - k->skew;

    return fabs(power) < 1e-9 ? exp(y) : exp(log(KV_MAX(1 + y * power, 0.0)) / power);
}

static void zipfian_init(struct keys *k)
{
    k->area_low = area(k, 1.5) - 1;
    k->area_high = area(k, (double)k->count + 0.5);
    k->cut = 2 - area_inverse(k, area(k, 2.5) - weight(k, 2));
}

/* Draws a point below the smooth curve, takes the rank beside it, and draws again in
 * the few cases where the rank's own bar is lower there. */
static uint64_t zipfian_rank(struct keys *k)
{
    double y, x, rank;

    do {
        y = k->area_high + uniform01(&k->prng) * (k->area_low - k->area_high);
        x = area_inverse(k, y);
        rank = floor(x + 0.5);
        rank = KV_MIN(KV_MAX(rank, 1.0), (double)k->count);
    } while (rank - x > k->cut && y < area(k, rank + 0.5) - weight(k, rank));
    return (uint64_t)rank - 1;
}

/* ---- all ---- */

/* Reads what stands behind the colon; `value` stays where there is none. */
static bool parameter(const char *text, const char *name, double *value)
{
    size_t len = strlen(name);
    char *end = NULL;

    if (strncmp(text, name, len) != 0) {
        return false;
    }
    if (text[len] == '\0') {
        return true;
    }
    if (text[len] != ':') {
        return false;
    }
    *value = strtod(text + len + 1, &end);
    return end != text + len + 1 && *end == '\0' && isfinite(*value) && *value > 0;
}

bool keys_init(struct keys *k, const char *text, uint64_t count, uint64_t seed)
{
    double skew = skew_default;
    double percent = share_default * 100;
    double none = 0;

    KV_ASSERT(count >= 1 && count <= KEYS_MAX);
    *k = (struct keys){.count = count};
    prng_init(&k->prng, seed);
    if (parameter(text, "uniform", &none) && none == 0) {
        k->kind = KEYS_UNIFORM;
    } else if (parameter(text, "sequential", &none) && none == 0) {
        k->kind = KEYS_SEQUENTIAL;
    } else if (parameter(text, "zipfian", &skew) && skew <= 10) {
        k->kind = KEYS_ZIPFIAN;
        k->skew = skew;
        zipfian_init(k);
    } else if (parameter(text, "hot", &percent) && percent <= 100) {
        k->kind = KEYS_HOT;
        k->share = percent / 100;
    } else {
        return false;
    }
    return true;
}

uint64_t keys_next(struct keys *k)
{
    switch (k->kind) {
    case KEYS_UNIFORM:
        return prng_below(&k->prng, k->count);
    case KEYS_ZIPFIAN:
        return zipfian_rank(k) * scatter % k->count;
    case KEYS_SEQUENTIAL:
        return k->next++ % k->count;
    case KEYS_HOT:
        return uniform01(&k->prng) < k->share ? 0 : prng_below(&k->prng, k->count);
    }
    KV_UNREACHABLE();
}
