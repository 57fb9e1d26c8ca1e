/* client/kvctl_hist.h - a log-linear histogram of latencies.
 *
 * Each power of two is cut into 128 equal buckets, so a value is off by less than
 * 0.8 % wherever it lies, from nanoseconds to hours, in one fixed array: recording
 * is one increment, and histograms of the same kind add up.
 *
 * Needs:    libc.
 * Used by:  client/kvctl_bench.c, kvctl_load.c.
 * Threads:  one owner at a time.
 * Source:   the layout of Gil Tene's HdrHistogram.
 */
#ifndef KV_CLIENT_KVCTL_HIST_H
#define KV_CLIENT_KVCTL_HIST_H

#include <stdint.h>

enum {
    HIST_PARTS_BITS = 7,
    HIST_PARTS = 1 << HIST_PARTS_BITS, /* Buckets per power of two. */
    /* Values below 2 * HIST_PARTS have a bucket of their own. */
    HIST_BUCKETS = (64 - HIST_PARTS_BITS + 1) * HIST_PARTS
};

/* All zero is an empty one. */
struct hist {
    uint64_t counts[HIST_BUCKETS];
    uint64_t count; /* Of all values. */
    uint64_t max;   /* Exactly; 0 while empty. */
    double sum;     /* For the mean. */
};

/* Counts a value (ns, in kvctl bench). */
void hist_record(struct hist *h, uint64_t value);

/* Adds all of `more` to `h`. */
void hist_add(struct hist *h, const struct hist *more);

/* The smallest value such that a share `q` in (0, 1] of all values is not greater, as
 * the upper end of its bucket, never above max. 0 while empty. */
uint64_t hist_quantile(const struct hist *h, double q);

/* 0 while empty. */
double hist_mean(const struct hist *h);

/* The bucket of a value, and the greatest value of a bucket. */
uint32_t hist_bucket(uint64_t value);
uint64_t hist_bucket_max(uint32_t bucket);

#endif
