/* tests/sim/ask.h - what all kinds of clients need: keys, a request begun, its end.
 *
 * The keys that clients share are registers of 8 bytes ("key-") or counters ("cnt-"),
 * known by number; what is asked of them goes into the history that linear.h judges.
 *
 * Needs:    tests/sim/sim.h.
 * Used by:  tests/sim/workload.c, once.c, bank.c, client.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_ASK_H
#define KV_TESTS_SIM_ASK_H

#include "tests/sim/sim.h"

enum {
    ASK_NAME_BYTES = 24,
    ASK_OTHER_KEYS = 100000, /* op.key from here on: no shared key, in traces only. */
};

/* ---- shared keys and their values ---- */

bool ask_is_counter(uint32_t key);
struct kv_bytes ask_key_name(uint32_t key, char *out);
/* UINT32_MAX: not one of these keys. */
uint32_t ask_key_number(struct kv_bytes name);
/* A value as it travels, and back; 0 for what nobody wrote. */
struct kv_bytes ask_value_bytes(uint32_t key, uint64_t value, char *out);
uint64_t ask_value_of(uint32_t key, struct kv_bytes bytes);

/* ---- a request ---- */

static inline bool ask_chance(struct sim_client *c, uint32_t of)
{
    return prng_below(&c->prng, of) == 0;
}

/* Begins a request: notes in the client what it asks now, and what the answer must not
 * be older than. */
void ask_begin(struct sim *s, struct sim_client *c, struct rpc_request *q,
               enum rpc_method method, enum linear_kind kind);
/* Tells the trace and encodes it. */
void ask_send(struct sim *s, struct sim_client *c, const struct rpc_request *q,
              struct buf *b);
/* Takes a success of a request for one shared key into c->op, and checks revisions. */
void ask_take(struct sim *s, struct sim_client *c, const struct rpc_reply *r);
/* The request is over: counted, told, and in the history where it belongs there. */
void ask_finish(struct sim *s, struct sim_client *c, enum linear_outcome outcome,
                int error);
/* An answer with an error: not done, or unknown. */
static inline enum linear_outcome ask_outcome(int error)
{
    return kv_err_outcome(error) == KV_OUTCOME_NOT_DONE ? LINEAR_FAIL : LINEAR_UNKNOWN;
}
/* Puts an operation on a shared key into the history. */
void ask_history(struct sim *s, const struct linear_op *op);

#endif
