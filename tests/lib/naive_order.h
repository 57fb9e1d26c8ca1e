/* tests/lib/naive_order.h - is there an order of these operations? Tries them all.
 *
 * For histories of a handful of operations on one key of whatever model: right by
 * inspection, and far too slow for anything else. Failed operations do nothing, unknown
 * ones may.
 *
 * Needs:    jepsen/history.h.
 * Used by:  tests/jepsen.
 * Threads:  any.
 */
#ifndef KV_TESTS_LIB_NAIVE_ORDER_H
#define KV_TESTS_LIB_NAIVE_ORDER_H

#include "jepsen/history.h"

enum {
    NAIVE_OPS_MAX = 16,
};

/* Does `call`, ended by `end` (NULL: unknown), fit at `state`? Then *state follows. */
typedef bool naive_model(const struct history *h, const struct history_op *call,
                         const struct history_op *end, int64_t *state);

/* Tries all orders of the operations of `h`, which start at state 0. */
bool naive_order(const struct history *h, naive_model *model);

/* A set of elements 0 .. 62 as bits; a counter as its value. */
bool naive_set(const struct history *h, const struct history_op *call,
               const struct history_op *end, int64_t *state);
bool naive_counter(const struct history *h, const struct history_op *call,
                   const struct history_op *end, int64_t *state);

#endif
