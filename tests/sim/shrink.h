/* tests/sim/shrink.h - a smaller run that fails in the same way.
 *
 * Tries, one after the other and again until nothing helps: a shorter time, faults
 * switched off, fewer groups, nodes, clients and keys, single faults left out. Prints
 * the smallest run that still violates the same invariant, and its command.
 *
 * Needs:    tests/sim/jobs.h.
 * Used by:  tests/sim/main.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_SHRINK_H
#define KV_TESTS_SIM_SHRINK_H

#include "tests/sim/jobs.h"

/* Returns false when the seed does not fail at all. */
bool shrink_run(const struct sim_command *c);

#endif
