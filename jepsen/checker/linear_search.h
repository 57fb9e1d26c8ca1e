/* jepsen/checker/linear_search.h - is there an order of these register operations?
 *
 * The search of Wing and Gong with Lowe's memory: calls and returns lie in a doubly
 * linked list; what may come first is lifted out, a return that is reached sends the
 * search back. A configuration (set of lifted operations, state) is entered once; they
 * are compared exactly, not by their hashes. Four cuts keep it small, none of which
 * loses an answer:
 *
 *   - A read that fits the state may always be taken at once: it changes nothing, so
 *     whatever order has it later is still an order with it here.
 *   - An optional operation that would not change the state is left alone.
 *   - No write follows directly on an optional operation: nobody saw what that did, so
 *     the order without it is as good.
 *   - Of equal optional operations that may be taken, the one called first is.
 *
 * Values are small numbers that the caller gave out; it is pure and repeatable: bounds
 * are counted in steps and bytes, never in time.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/checker/linear.c.
 * Threads:  any; one search per call.
 * Source:   Wing and Gong 1993; Lowe, "Testing for linearizability", 2017;
 *           Horn and Kroening, "Faster linearizability checking", 2015.
 */
#ifndef KV_JEPSEN_CHECKER_LINEAR_SEARCH_H
#define KV_JEPSEN_CHECKER_LINEAR_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"

enum {
    LINEAR_NIL = 0,         /* The register was never written. */
    LINEAR_ANY = 0x7ffffff, /* As initial state: nobody knows. The first operation that
                             * looks decides. */
};

#define LINEAR_NO_RETURN UINT64_MAX

enum linear_f {
    LINEAR_READ,     /* The state is a. */
    LINEAR_WRITE,    /* The state becomes a. */
    LINEAR_CAS,      /* The state is a and becomes b. */
    LINEAR_MISMATCH, /* The state is not a. */
};

/* One operation. It took effect once between call and return; an optional one has no
 * return and may also have no effect. Positions differ from each other. */
struct linear_op {
    enum linear_f f;
    uint32_t a, b;
    bool optional;
    uint64_t call;
    uint64_t ret; /* LINEAR_NO_RETURN if and only if optional. */
};

struct linear_limits {
    uint64_t steps_max; /* Operations tried. A million take about 0.02 s. */
    size_t bytes_max;   /* For configurations. */
};

enum linear_answer {
    LINEAR_YES,
    LINEAR_NO,
    LINEAR_STEPS, /* Ran out of steps. */
    LINEAR_BYTES, /* Ran out of memory, ours or the machine's. */
};

struct linear_outcome {
    enum linear_answer answer;
    uint32_t farthest; /* no: the operation whose return nobody could pass; all orders
                        * of what returned before end there. */
    uint32_t *order;   /* [inout, count of the caller's operations] yes: an order; no:
                        * the longest that was found. May be NULL. */
    uint32_t order_count;
    uint64_t steps;
    uint64_t configurations;
    size_t bytes;
};

/* Searches an order of `ops` [in, count, ascending by call] that starts at `initial`.
 * Fills *out. Never fails otherwise than by its answer. */
void linear_search(const struct linear_op *ops, uint32_t count, uint32_t initial,
                   const struct linear_limits *limits, struct linear_outcome *out);

#endif
