/* tests/lib/history_gen.h - histories of a store that works, or that has one bug.
 *
 * A tiny store with groups, revisions and clients that wait: each operation takes
 * effect once somewhere between its invocation and its completion, some get no answer
 * and take effect later or never. With a bug planted, some operations do what they must
 * not. One seed gives one history.
 *
 * Needs:    jepsen/history.h, raft/base/prng.h.
 * Used by:  tests/jepsen, tests/bench/bench_check.c.
 * Threads:  any.
 */
#ifndef KV_TESTS_LIB_HISTORY_GEN_H
#define KV_TESTS_LIB_HISTORY_GEN_H

#include "jepsen/history.h"

enum gen_bug {
    GEN_NONE,
    GEN_STALE,  /* A read answers with what was before the last write. */
    GEN_LOSE,   /* A write or append is acknowledged and not done. */
    GEN_TWICE,  /* It takes effect twice. */
    GEN_FAILED, /* It takes effect and says that it failed. */
    GEN_BLIND,  /* A cas swaps what it did not match. */
    GEN_BUGS,
};

struct gen_options {
    uint64_t seed;
    uint32_t ops; /* Invocations. */
    uint32_t clients;
    uint32_t keys;
    uint32_t key_ops; /* After so many a key is retired for a new one; 0: never. */
    uint32_t groups;
    uint32_t values;   /* register: values 0 .. values - 1 */
    uint32_t unknown;  /* Operations per thousand without an answer. */
    uint32_t bug_rate; /* Operations per thousand that meet the bug. */
    enum gen_bug bug;
    uint32_t txn_max; /* append: micro-operations per transaction. */
};

/* Appends the history of registers (a third each of reads, writes, cas; half of the
 * clients only read) to `h`, empty before. Asserts that there is memory.
 * Returns how often the bug struck. */
uint32_t gen_register(struct history *h, const struct gen_options *o);

/* The same with transactions of appends and reads over lists. */
uint32_t gen_append(struct history *h, const struct gen_options *o);

#endif
