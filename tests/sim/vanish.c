/* tests/sim/vanish.c - range deletes, keys that end, and writes that depend. */
#include "tests/sim/vanish.h"

#include <stdio.h>

enum {
    VANISH_FAMILY = 3,     /* Every third key is a counter. */
    VANISH_KEYS_MAX = 4,   /* Of a family, in one range. */
    VANISH_TTL_MS = 3000,  /* At most. */
    VANISH_TTL_ONE_IN = 8, /* Of the puts. */
};

/* ---- range deletes ---- */

void vanish_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    char begin[ASK_NAME_BYTES], end[ASK_NAME_BYTES];
    uint32_t from = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    uint32_t many = 1 + (uint32_t)prng_below(&c->prng, VANISH_KEYS_MAX);
    struct rpc_request q;

    ask_begin(s, c, &q, RPC_KV_DELRANGE, LINEAR_WRITE);
    s->counts.delranges++;
    c->range_from = from;
    c->range_to = from + VANISH_FAMILY * many;
    q.begin = ask_key_name(from, begin);
    /* Of the same family: the number behind may be of another. */
    snprintf(end, sizeof end, "%.4s%03u", begin, c->range_to);
    q.end = kv_bytes_str(end);
    if (ask_chance(c, 3)) {
        q.options.limit = 1;
        q.options.has |= RPC_OPT_BIT(RPC_OPT_limit);
    }
    if (ask_chance(c, 3)) {
        q.options.deadline_ms = (uint32_t)prng_between(&c->prng, 5, 3000);
        q.options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
    ask_send(s, c, &q, b);
}

/* Each key of the range was deleted, if it lies before `next`; else perhaps. */
static void delete_all(struct sim *s, const struct sim_client *c, struct kv_bytes next,
                       bool is_done)
{
    char name[ASK_NAME_BYTES];

    for (uint32_t key = c->range_from; key < c->range_to && key < s->swarm.keys;
         key++) {
        struct linear_op op = c->op;

        if (ask_is_counter(key) != ask_is_counter(c->range_from)) {
            continue;
        }
        op.key = key;
        op.outcome = is_done && (next.len == 0 ||
                                 kv_bytes_compare(ask_key_name(key, name), next) < 0)
                         ? LINEAR_OK
                         : LINEAR_UNKNOWN;
        ask_history(s, &op);
    }
}

void vanish_answer(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    enum linear_outcome outcome = r->error == 0 ? LINEAR_OK : ask_outcome(r->error);

    ask_finish(s, c, outcome, r->error);
    s->counts.delrange_keys += r->error == 0 ? r->deleted_count : 0;
    s->counts.delrange_more += r->error == 0 && r->more;
    if (outcome != LINEAR_FAIL) {
        delete_all(s, c, r->more ? r->next : kv_bytes(NULL, 0), outcome == LINEAR_OK);
    }
}

void vanish_silence(struct sim *s, struct sim_client *c)
{
    ask_finish(s, c, LINEAR_UNKNOWN, 0);
    delete_all(s, c, kv_bytes(NULL, 0), false);
}

/* ---- puts that are more than puts ---- */

void vanish_dress(struct sim *s, struct sim_client *c, struct rpc_request *q)
{
    if (q->method != RPC_KV_PUT) {
        return;
    }
    if (ask_chance(c, VANISH_TTL_ONE_IN)) {
        c->ttl_ms = 1 + (uint32_t)prng_below(&c->prng, VANISH_TTL_MS);
        q->options.ttl_ms = c->ttl_ms;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_ttl_ms);
        s->counts.ttl_puts++;
    }
    switch (prng_below(&c->prng, 16)) {
    case 0:
    case 1:
        q->method = c->method = RPC_KV_GETSET;
        s->cover.method[RPC_KV_PUT]--;
        s->cover.method[RPC_KV_GETSET]++;
        return;
    case 2:
        c->op.kind = LINEAR_CAS; /* Of nothing. */
        c->op.expected = 0;
        q->options.if_rev = 0;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_if_rev);
        s->counts.if_rev_puts++;
        return;
    default:
        return;
    }
}

void vanish_take(struct sim_client *c, const struct rpc_reply *r)
{
    struct linear_op *op = &c->op;

    if (c->method == RPC_KV_GETSET) {
        op->kind = LINEAR_CAS;
        op->condition = true;
        op->expected = r->found ? ask_value_of(op->key, r->value) : 0;
    } else if (c->method == RPC_KV_PUT && op->kind == LINEAR_CAS) {
        op->has_shown = false; /* It says only which revision there is. */
    }
}

void vanish_after(struct sim *s, const struct sim_client *c)
{
    struct linear_op end = c->op;

    if (c->ttl_ms == 0 || c->op.outcome == LINEAR_FAIL ||
        (c->op.kind == LINEAR_CAS && c->op.outcome == LINEAR_OK && !c->op.condition)) {
        return;
    }
    end.kind = LINEAR_EXPIRE;
    end.outcome = LINEAR_UNKNOWN;
    end.expected = end.value;
    ask_history(s, &end);
}
