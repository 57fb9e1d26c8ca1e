/* jepsen/checker/availability.c - how long did nothing succeed, per kind of fault? */
#include "jepsen/checker/availability.h"

#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"

/* The first row at or after a time. */
static size_t row_at(const struct history *h, int64_t time_ns)
{
    size_t low = 0;
    size_t high = h->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (h->ops[middle].time_ns < time_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_success(const struct history_op *op)
{
    return op->type == HISTORY_OK && op->process != HISTORY_NEMESIS;
}

double availability_gap_ms(const struct history *h, int64_t begin_ns, int64_t end_ns)
{
    size_t i = row_at(h, begin_ns);
    int64_t last = h->count == 0 ? begin_ns : h->ops[0].time_ns;
    int64_t longest = 0;

    /* From the last success before the fault on, to the first behind it. */
    for (size_t j = i; j > 0; j--) {
        if (is_success(&h->ops[j - 1])) {
            last = h->ops[j - 1].time_ns;
            break;
        }
    }
    for (; i < h->count; i++) {
        if (!is_success(&h->ops[i])) {
            continue;
        }
        longest = KV_MAX(longest, h->ops[i].time_ns - last);
        last = h->ops[i].time_ns;
        if (last >= end_ns) {
            return (double)longest / 1e6;
        }
    }
    longest = KV_MAX(longest, end_ns - last);
    return (double)longest / 1e6;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void fact(struct verdict *v, const char *kind, const char *what, double value)
{
    char name[32];

    snprintf(name, sizeof name, "%.15s_%s", kind, what);
    verdict_fact(v, name, value);
}

/* The faults of faults[first]'s kind. `times` has room for all. */
static void kind_measure(const struct history *h,
                         const struct availability_fault *faults, size_t count,
                         size_t first, double *times, struct verdict *v)
{
    const char *kind = faults[first].kind;
    double gap = 0;
    size_t never = 0;
    size_t n = 0;

    for (size_t i = first; i < count; i++) {
        if (strcmp(faults[i].kind, kind) != 0) {
            continue;
        }
        gap = KV_MAX(gap, availability_gap_ms(h, faults[i].begin_ns, faults[i].end_ns));
        if (faults[i].recover_ms < 0) {
            never++;
        } else {
            times[n++] = faults[i].recover_ms;
        }
    }
    if (n > 0) {
        qsort(times, n, sizeof *times, by_value);
        fact(v, kind, "recover_p50_ms", times[n / 2]);
        fact(v, kind, "recover_p99_ms", times[KV_MIN(n * 99 / 100, n - 1)]);
        fact(v, kind, "recover_max_ms", times[n - 1]);
    }
    fact(v, kind, "gap_max_ms", gap);
    fact(v, kind, "never", (double)never);
}

void availability_check(const struct history *h,
                        const struct availability_fault *faults, size_t count,
                        struct verdict *out)
{
    double *times = kv_mem_zalloc((count + 1) * sizeof *times);
    size_t kinds = 0;

    verdict_init(out, "availability");
    if (times == NULL) {
        verdict_doubt(out, "out of memory");
        return;
    }
    for (size_t i = 0; i < count && kinds < AVAILABILITY_KINDS_MAX; i++) {
        bool is_first = true;

        for (size_t j = 0; j < i && is_first; j++) {
            is_first = strcmp(faults[j].kind, faults[i].kind) != 0;
        }
        if (is_first) {
            kind_measure(h, faults, count, i, times, out);
            kinds++;
        }
    }
    kv_mem_free(times);
}
