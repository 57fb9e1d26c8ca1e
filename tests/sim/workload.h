/* tests/sim/workload.h - what clients ask for, and what the answers mean.
 *
 * Keys are registers of 8 bytes ("key-") or counters ("cnt-"). A range is as many reads
 * as it covers keys, all with the same call and return. Some requests are wrong on
 * purpose.
 *
 * Needs:    tests/sim/sim.h.
 * Used by:  tests/sim/client.c, peace.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_WORKLOAD_H
#define KV_TESTS_SIM_WORKLOAD_H

#include "tests/sim/sim.h"

/* Picks the client's next request, notes it in the client and encodes it. */
void workload_choose(struct sim *s, struct sim_client *c, struct buf *b);
/* The same, a put of a key of this group that nobody else uses. */
void workload_probe(struct sim *s, struct sim_client *c, uint32_t group, struct buf *b);
/* Reads the answer to it. KV_EPROTO: it is none. Else the request is over, and in the
 * history. */
KV_MUST_CHECK int workload_answer(struct sim *s, struct sim_client *c,
                                  struct kv_bytes message, uint32_t *out_msgid);
/* It ended without an answer. */
void workload_silence(struct sim *s, struct sim_client *c);

#endif
