/* jepsen/checker/once.h - did each acknowledged increment count once?
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 */
#ifndef KV_JEPSEN_CHECKER_ONCE_H
#define KV_JEPSEN_CHECKER_ONCE_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

enum {
    ONCE_UNKNOWN_PERCENT = 1, /* More unknown increments: the verdict is unknown. */
};

/* Judges `add` (above 0) and `read` of counters, key by key. Every read that began
 * after the key's last `add` ended must show what was acknowledged, and what is unknown
 * at most besides. Facts: acknowledged, unknown, exact (keys without an unknown one).
 * Unknown where a key was not read then, and where too many increments are unknown.
 * *out is initialised here. */
void once_check(const struct history *h, struct verdict *out);

#endif
