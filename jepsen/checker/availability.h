/* jepsen/checker/availability.h - how long did nothing succeed, per kind of fault?
 *
 * Only measures: what is too long is for who knows the faults to say.
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 */
#ifndef KV_JEPSEN_CHECKER_AVAILABILITY_H
#define KV_JEPSEN_CHECKER_AVAILABILITY_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* One fault of a run; times since it began. */
struct availability_fault {
    const char *kind; /* "partition", at most 15 letters of it are shown. */
    int64_t begin_ns;
    int64_t end_ns;    /* > begin_ns */
    double recover_ms; /* Until writes succeeded again; -1: not before its end. */
};

enum {
    AVAILABILITY_KINDS_MAX = 6, /* More are left out: a verdict has 32 facts. */
};

/* The longest time without a success of any client that overlaps [begin, end), in ms;
 * 0 where there was none longer than that between two operations. */
double availability_gap_ms(const struct history *h, int64_t begin_ns, int64_t end_ns);

/* Measures. Facts per kind: KIND_recover_p50_ms, _p99_ms, _max_ms, KIND_gap_max_ms,
 * KIND_never (faults in which writes did not succeed again). Valid; unknown without
 * memory. *out is initialised here. */
void availability_check(const struct history *h,
                        const struct availability_fault *faults, size_t count,
                        struct verdict *out);

#endif
