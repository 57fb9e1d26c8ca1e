/* tests/sim/linear.h - is the history of one register linearizable?
 *
 * Wing and Gong's search with Lowe's memory of configurations: walk the calls in
 * order, try each pending one that the model accepts, go back where a return is met
 * whose call was not yet placed. Operations with unknown outcome may take effect at
 * any later time or never.
 *
 * Needs:    raft/base.
 * Used by:  tests/sim/check.c.
 * Threads:  one.
 * Source:   Wing and Gong 1993; Lowe, "Testing for linearizability", 2017.
 */
#ifndef KV_TESTS_SIM_LINEAR_H
#define KV_TESTS_SIM_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind {
    LINEAR_READ,
    LINEAR_WRITE,
    LINEAR_CAS,
    LINEAR_DELETE,
    LINEAR_ADD,
    LINEAR_EXPIRE, /* The key ends by itself while it holds `expected`, or never. */
};

enum linear_outcome {
    LINEAR_OK,
    LINEAR_FAIL,    /* Certainly no effect: left out of the search. */
    LINEAR_UNKNOWN, /* Reads: left out. Writes: may take effect from call on. */
};

/* Values are numbers that no two writes share; 0 stands for "no such key". A key that
 * is counted with holds linear_counter() of its number. */
struct linear_op {
    uint32_t key;
    uint32_t process;
    enum linear_kind kind;
    enum linear_outcome outcome;
    bool condition;    /* CAS: it swapped; DELETE: there was a value. */
    bool has_shown;    /* CAS that did not swap: the reply said what the value was. */
    uint64_t expected; /* CAS; ADD: what is added, as int64_t. */
    uint64_t value;    /* WRITE, CAS: new one. READ: the one that was read. ADD: sum. */
    uint64_t shown;    /* has_shown */
    uint64_t call_us, return_us;
    uint64_t group, rev, term; /* From the reply's `at`, for messages. */
    uint32_t node;
};

enum linear_verdict {
    LINEAR_VALID,
    LINEAR_INVALID,
    LINEAR_TOO_HARD
};

/* The value that stands for a number of a counter; its own inverse but for the type. */
static inline uint64_t linear_counter(int64_t number)
{
    return (uint64_t)number ^ 0x9e3779b97f4a7c15u;
}
static inline int64_t linear_number(uint64_t value)
{
    return (int64_t)(value ^ 0x9e3779b97f4a7c15u);
}

/* Checks the ops of one key, in any order.
 * steps_max   bound of the search; beyond it: LINEAR_TOO_HARD.
 * out_op      [out] on INVALID: an operation that could not be placed. */
enum linear_verdict linear_check(const struct linear_op *const *ops, size_t count,
                                 uint64_t steps_max, const struct linear_op **out_op);

#endif
