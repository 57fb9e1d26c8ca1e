/* jepsen/checker/session.h - does nobody see less than he, or who gave him his token,
 * has seen?
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 * Source:   Terry et al., "Session Guarantees for Weakly Consistent Replicated Data",
 *           1994.
 */
#ifndef KV_JEPSEN_CHECKER_SESSION_H
#define KV_JEPSEN_CHECKER_SESSION_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Judges `write` and `read` of keys that are never deleted, by the revisions that
 * answers name. A process must read of a key at least the revision that it wrote (read
 * your writes), read before (monotonic reads), or that a process had written or read
 * whose token it was given: a read that is begun with a number was given that of this
 * process (causality). Its writes must have higher revisions (monotonic writes), and a
 * revision has one value. Facts: reads, writes, given (tokens), behind (reads that had
 * something to see). Unknown without a read that had. *out is initialised here. */
void session_check(const struct history *h, struct verdict *out);

#endif
