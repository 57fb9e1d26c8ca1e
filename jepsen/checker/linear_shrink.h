/* jepsen/checker/linear_shrink.h - the fewest operations that have no order.
 *
 * Each step only takes constraints away, so what is left still has no order, whatever
 * the register held before: a shorter end, a later beginning, reads that are not
 * needed, and operations that need not have happened.
 *
 * Needs:    jepsen/checker/linear_search.h.
 * Used by:  jepsen/checker/linear.c.
 * Threads:  any.
 */
#ifndef KV_JEPSEN_CHECKER_LINEAR_SHRINK_H
#define KV_JEPSEN_CHECKER_LINEAR_SHRINK_H

#include "jepsen/checker/linear_search.h"

/* Shrinks `ops` [inout, count] in place. `farthest` is what linear_search() said of
 * them, with LINEAR_NO. Returns how many are left, in order of call; some of them
 * optional now. Bounded: when its steps are spent, what is reached so far stays. */
uint32_t linear_shrink(struct linear_op *ops, uint32_t count, uint32_t farthest);

#endif
