/* tests/sim/vanish.h - shared keys that go without a del: range deletes, times to live.
 *
 * What the plain clients ask for besides single operations, as a history of registers
 * sees it: a range delete writes nothing into every key of its range; a key that is put
 * with a time to live may end by itself at any later time while it holds that value,
 * and never otherwise; a getset is a cas of what it answers, a put with if_rev 0 is a
 * cas of nothing.
 *
 * Needs:    tests/sim/ask.h.
 * Used by:  tests/sim/workload.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_VANISH_H
#define KV_TESTS_SIM_VANISH_H

#include "tests/sim/ask.h"

/* Asks for a range delete of some keys of a family. */
void vanish_choose(struct sim *s, struct sim_client *c, struct buf *b);
/* It was answered, or was not. */
void vanish_answer(struct sim *s, struct sim_client *c, const struct rpc_reply *r);
void vanish_silence(struct sim *s, struct sim_client *c);

/* Makes a put of a register one with a time to live, a getset, or one with if_rev 0, or
 * leaves it as it is. */
void vanish_dress(struct sim *s, struct sim_client *c, struct rpc_request *q);
/* Its success, behind ask_take(): what the register has seen. */
void vanish_take(struct sim_client *c, const struct rpc_reply *r);
/* It is over, behind ask_finish(): from now on its value may end. */
void vanish_after(struct sim *s, const struct sim_client *c);

#endif
