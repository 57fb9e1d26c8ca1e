/* jepsen/checker/linear.h - is each register linearizable?
 *
 * Every key is a register of its own that is nil at first; reads, writes and
 * compare-and-sets must fit into one order that agrees with real time. Failed
 * operations did nothing, but a cas that failed with a position (at_rev) says that it
 * looked and did not match. Unknown ones may have happened at any time after their
 * invocation, or never.
 *
 * For a key that has no order it shows the fewest rows that have none, from whatever
 * value the register had before: the end is the first return that no order passes, the
 * beginning the last row from which that is still so, and in between only operations
 * that are needed.
 *
 * Needs:    jepsen/verdict.h, jepsen/checker/linear_search.h.
 * Used by:  jepsen/checker/judge.c.
 * Threads:  any; the history is only read.
 */
#ifndef KV_JEPSEN_CHECKER_LINEAR_H
#define KV_JEPSEN_CHECKER_LINEAR_H

#include "jepsen/checker/linear_search.h"
#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Steps are over all keys together, bytes per key: 2,000 M steps take about a minute of
 * processor time. */
#define LINEAR_LIMITS_DEFAULT ((struct linear_limits){2000000000u, (size_t)1 << 30})

/* Judges the reads, writes and cas of a history. Facts: ops, keys, steps,
 * configurations, bytes (the largest key). Out of bounds: unknown, with the reason and
 * the key. *out is initialised here. */
void linear_check(const struct history *h, const struct linear_limits *limits,
                  struct verdict *out);

/* The longest order that was found for the operations of a key, as rows of their
 * invocations. out_rows [out, cap]. Returns how many there are, also when that is more
 * than cap. */
uint32_t linear_longest(const struct history *h, uint32_t key,
                        const struct linear_limits *limits, uint64_t *out_rows,
                        uint32_t cap);

#endif
