/* client/kvctl_hist.c - a log-linear histogram of latencies. */
#include "client/kvctl_hist.h"

#include "raft/base/check.h"

uint32_t hist_bucket(uint64_t value)
{
    uint32_t shift;

    if (value < HIST_PARTS) {
        return (uint32_t)value;
    }
    shift = 63 - (uint32_t)__builtin_clzll(value) - HIST_PARTS_BITS;
    /* The leading bit and the seven behind it: 128..255. */
    return shift * HIST_PARTS + (uint32_t)(value >> shift);
}

uint64_t hist_bucket_max(uint32_t bucket)
{
    uint32_t shift;

    KV_ASSERT(bucket < HIST_BUCKETS);
    if (bucket < 2 * HIST_PARTS) {
        return bucket;
    }
    shift = bucket / HIST_PARTS - 1;
    return ((((uint64_t)bucket % HIST_PARTS + HIST_PARTS) << shift) |
            ((UINT64_C(1) << shift) - 1));
}

void hist_record(struct hist *h, uint64_t value)
{
    h->counts[hist_bucket(value)]++;
    h->count++;
    h->max = KV_MAX(h->max, value);
    h->sum += (double)value;
}

void hist_add(struct hist *h, const struct hist *more)
{
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        h->counts[i] += more->counts[i];
    }
    h->count += more->count;
    h->max = KV_MAX(h->max, more->max);
    h->sum += more->sum;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    double wanted = q * (double)h->count;
    uint64_t seen = 0;

    KV_ASSERT(q > 0 && q <= 1);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            return KV_MIN(hist_bucket_max(i), h->max);
        }
    }
    return h->max;
}

double hist_mean(const struct hist *h)
{
    return h->count == 0 ? 0 : h->sum / (double)h->count;
}
