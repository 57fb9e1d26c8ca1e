/* raft/base/check.h - assertions that stay on in every build.
 *
 * For our own bugs only: arguments out of range, impossible states, broken
 * invariants. Input from the network or the disk is never asserted on, it gets
 * an error code. A failed assertion prints one line and ends the process, so
 * that a safety bug becomes a crash (which Raft survives) and not wrong data.
 *
 * Needs:    nothing of ours.
 * Used by:  everything.
 * Threads:  any.
 */
#ifndef KV_RAFT_BASE_CHECK_H
#define KV_RAFT_BASE_CHECK_H

/* Fails to compile when the result of a function that can fail is dropped. */
#define KV_MUST_CHECK __attribute__((warn_unused_result))

/* printf-like functions let the compiler compare format and arguments. */
#define KV_PRINTF(format_at, args_at) \
    __attribute__((format(printf, format_at, args_at)))

/* Prints "expr (file:line)" to stderr and aborts. Does not return. */
__attribute__((noreturn, cold)) void kv_assert_failed(const char *expr,
                                                      const char *file, int line);

#define KV_ASSERT(expr)                        \
    ((__builtin_expect(!!(expr), 1)) ? (void)0 \
                                     : kv_assert_failed(#expr, __FILE__, __LINE__))

/* Whenever `a` holds, `b` must hold too. */
#define KV_ASSERT_IMPLIES(a, b) KV_ASSERT(!(a) || (b))

/* A place that no execution reaches. */
#define KV_UNREACHABLE() kv_assert_failed("unreachable", __FILE__, __LINE__)

#define KV_ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define KV_MIN(a, b)      ((a) < (b) ? (a) : (b))
#define KV_MAX(a, b)      ((a) > (b) ? (a) : (b))

#endif
