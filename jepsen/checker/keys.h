/* jepsen/checker/keys.h - the invocations of a history, sorted by key.
 *
 * Most promises hold key by key, and checking them so is what makes it cheap.
 *
 * Needs:    jepsen/history.h.
 * Used by:  jepsen/checker/.
 * Threads:  one.
 */
#ifndef KV_JEPSEN_CHECKER_KEYS_H
#define KV_JEPSEN_CHECKER_KEYS_H

#include "jepsen/history.h"

/* Rows of keys[i] are rows[begin[i]] up to rows[begin[i + 1]], ascending. Keys come in
 * the order in which the history names them first. */
struct keys {
    uint32_t count;
    uint32_t *keys;  /* [count] */
    uint64_t *begin; /* [count + 1] */
    uint64_t *rows;  /* Invocations. */
};

/* The bit of an operation in a set of them. */
#define KEYS_F(f) (1u << (f))

/* Collects the clients' invocations of the operations in `fs` (KEYS_F() bits).
 * Returns 0 or KV_ENOMEM (nothing is then held). */
KV_MUST_CHECK int keys_init(struct keys *k, const struct history *h, unsigned fs);

/* Gives its memory back. */
void keys_close(struct keys *k);

/* The completion of an invocation; NULL where there is none. */
const struct history_op *keys_completion(const struct history *h,
                                         const struct history_op *invocation);

/* How it ended; HISTORY_INFO where nobody knows. */
enum history_type keys_end(const struct history *h,
                           const struct history_op *invocation);

#endif
