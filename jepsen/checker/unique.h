/* jepsen/checker/unique.h - was no id given out twice?
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 * Source:   jepsen.checker/unique-ids.
 */
#ifndef KV_JEPSEN_CHECKER_UNIQUE_H
#define KV_JEPSEN_CHECKER_UNIQUE_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

/* Judges the ids that `generate` answered, over all keys. Facts: ids, lowest, highest.
 * Unknown without an id. *out is initialised here. */
void unique_check(const struct history *h, struct verdict *out);

#endif
