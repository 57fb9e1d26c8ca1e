/* server/timers.h - the earliest of many deadlines, cheap with a thousand groups.
 *
 * A tree of minima over slots 0..count-1: setting one costs log2(count) compares,
 * the earliest of all is at the root, and those that are due are found without
 * looking at the others. An idle node touches nothing.
 *
 * Needs:    raft/base.
 * Used by:  server/node.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_TIMERS_H
#define KV_SERVER_TIMERS_H

#include <stdint.h>

#include "raft/base/check.h"

enum {
    TIMERS_SLOTS_MAX = 2048
};

#define TIMERS_NEVER UINT64_MAX

struct timers {
    uint32_t leaves;                     /* A power of two >= the slots in use. */
    uint64_t tree[2 * TIMERS_SLOTS_MAX]; /* [1] is the root; leaves at [leaves...]. */
};

/* All of `count` slots (1..TIMERS_SLOTS_MAX) are at TIMERS_NEVER. */
void timers_init(struct timers *t, uint32_t count);
void timers_set(struct timers *t, uint32_t slot, uint64_t deadline_ms);
uint64_t timers_get(const struct timers *t, uint32_t slot);
/* The earliest of all. */
uint64_t timers_first_ms(const struct timers *t);
/* The lowest slot >= `from` whose deadline is <= now_ms, or UINT32_MAX. */
uint32_t timers_due(const struct timers *t, uint32_t from, uint64_t now_ms);

#endif
