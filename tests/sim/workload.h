/* tests/sim/workload.h - plain clients: every method and level, on a few shared keys.
 *
 * A range is as many reads as it covers keys, all with the same call and return. Some
 * requests are wrong on purpose.
 *
 * Needs:    tests/sim/kinds.h.
 * Used by:  tests/sim/client.c, kinds.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_WORKLOAD_H
#define KV_TESTS_SIM_WORKLOAD_H

#include "tests/sim/kinds.h"

/* Encodes a put of a key of this group that nobody else uses; a plain request. */
void workload_probe(struct sim *s, struct sim_client *c, uint32_t group, struct buf *b);

#endif
