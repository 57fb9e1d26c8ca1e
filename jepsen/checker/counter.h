/* jepsen/checker/counter.h - do reads of each counter lie within what was added?
 *
 * A read lies between the sum of the adds that had succeeded when it began (and of
 * negative ones begun until it ended) and that of the adds begun until it ended (and of
 * negative ones that had succeeded when it began). Where nothing negative was added, a
 * read is not below one that ended before it began. A lost add, one that took effect
 * twice, and a stale read leave these bounds; two errors of one moment may cancel out.
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 * Source:   jepsen.checker/counter.
 */
#ifndef KV_JEPSEN_CHECKER_COUNTER_H
#define KV_JEPSEN_CHECKER_COUNTER_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Judges add and read of a history, key by key; nil reads as 0. Facts: adds, reads,
 * sure (reads with one possible value). Unknown without a read. *out is initialised
 * here. */
void counter_check(const struct history *h, struct verdict *out);

#endif
