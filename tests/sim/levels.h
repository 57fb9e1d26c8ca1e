/* tests/sim/levels.h - how fresh clients want their reads, and whether they were.
 *
 * stale: an answer of age A holds everything that was committed A before it was asked.
 * session: a client never reads from a position, or of a key a revision, before one
 * that it has seen: its own writes, what it read, and what others passed on to it with
 * their tokens. quorum and linearizable reads go into the history of linear.h.
 *
 * Needs:    tests/sim/sim.h, rpc/token.h.
 * Used by:  tests/sim/workload.c, run.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_LEVELS_H
#define KV_TESTS_SIM_LEVELS_H

#include "tests/sim/sim.h"

/* Picks level, bound and token of a request; notes the level in the client. */
void levels_choose(struct sim *s, struct sim_client *c, struct rpc_request *q);
/* Looks at a success. */
void levels_check(struct sim *s, struct sim_client *c, const struct rpc_reply *r);
/* After each event: what is committed in each group since when. */
void levels_note(struct sim *s);
void levels_free(struct sim *s);

#endif
