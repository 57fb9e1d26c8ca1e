/* tests/sim/workload.c - requests drawn at random, answers into the history. */
#include "tests/sim/workload.h"

#include <stdio.h>

#include "rpc/map.h"
#include "tests/sim/ask.h"
#include "tests/sim/levels.h"
#include "tests/sim/vanish.h"

/* ---- asking ---- */

static void choose_options(struct sim_client *c, struct rpc_request *q)
{
    if (ask_chance(c, 4)) {
        q->options.deadline_ms = (uint32_t)prng_between(&c->prng, 5, 3000);
        q->options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
    if (ask_chance(c, 12)) {
        q->options.forward = false;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_forward);
    }
}

/* Requests that touch no key, or that are wrong. */
static void choose_other(struct sim *s, struct sim_client *c, struct rpc_request *q)
{
    static const uint8_t long_key[KV_KEY_BYTES_MAX + 1];

    switch (prng_below(&c->prng, 5)) {
    case 0:
        ask_begin(s, c, q, RPC_HELLO, LINEAR_READ);
        break;
    case 1:
        ask_begin(s, c, q, RPC_CLUSTER_STATUS, LINEAR_READ);
        break;
    case 2:
        ask_begin(s, c, q, RPC_CLUSTER_MAP, LINEAR_READ);
        break;
    case 3:
        ask_begin(s, c, q, RPC_KV_GET, LINEAR_READ);
        c->wants = KV_EBADREQUEST; /* An empty key. */
        break;
    default:
        ask_begin(s, c, q, RPC_KV_PUT, LINEAR_WRITE);
        q->key = kv_bytes(long_key, sizeof long_key);
        c->wants = KV_ETOOLARGE;
        break;
    }
}

/* All keys, or those of a family from one number to another. */
static void choose_range(struct sim *s, struct sim_client *c, struct rpc_request *q,
                         char *begin_name, char *end_name)
{
    uint32_t a = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    uint32_t b = a + 3 * (1 + (uint32_t)prng_below(&c->prng, 4));

    ask_begin(s, c, q, RPC_KV_RANGE, LINEAR_READ);
    c->range_from = a;
    c->range_to = b;
    if (ask_chance(c, 2)) {
        c->range_from = 0;
        c->range_to = UINT32_MAX;
    } else {
        q->begin = ask_key_name(a, begin_name);
        /* Of the same family: the number b itself may be of another. */
        snprintf(end_name, ASK_NAME_BYTES, "%.4s%03u", begin_name, b);
        q->end = kv_bytes_str(end_name);
    }
    if (ask_chance(c, 3)) {
        q->options.limit = (uint32_t)prng_between(&c->prng, 1, 5);
        q->options.has |= RPC_OPT_BIT(RPC_OPT_limit);
    }
}

static void choose_counter(struct sim *s, struct sim_client *c, struct rpc_request *q,
                           char *value)
{
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 35) {
        ask_begin(s, c, q, RPC_KV_GET, LINEAR_READ);
    } else if (dice < 85) {
        ask_begin(s, c, q, RPC_KV_INCR, LINEAR_ADD);
        q->delta =
            ask_chance(c, 100) ? INT64_MAX : (int64_t)prng_below(&c->prng, 11) - 5;
        c->op.expected = (uint64_t)q->delta;
    } else if (dice < 93) {
        ask_begin(s, c, q, RPC_KV_PUT, LINEAR_WRITE);
        c->op.value = linear_counter((int64_t)++s->next_value);
        q->value = ask_value_bytes(2, c->op.value, value);
    } else {
        ask_begin(s, c, q, RPC_KV_DEL, LINEAR_DELETE);
    }
}

static void choose_register(struct sim *s, struct sim_client *c, struct rpc_request *q,
                            char *value, char *expected)
{
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 45) {
        ask_begin(s, c, q, RPC_KV_GET, LINEAR_READ);
        return;
    }
    if (dice >= 94) {
        ask_begin(s, c, q, RPC_KV_DEL, LINEAR_DELETE);
        return;
    }
    ask_begin(s, c, q, dice < 80 ? RPC_KV_PUT : RPC_KV_CAS,
              dice < 80 ? LINEAR_WRITE : LINEAR_CAS);
    c->op.value = ++s->next_value;
    q->value = q->replacement = ask_value_bytes(0, c->op.value, value);
    q->has_replacement = true;
    /* Expect a recent value now and then, or nothing. */
    c->op.expected = ask_chance(c, 3)
                         ? 0
                         : c->op.value - KV_MIN(c->op.value, prng_below(&c->prng, 12));
    q->has_expected = c->op.expected != 0;
    q->expected = ask_value_bytes(0, c->op.expected, expected);
}

static bool plain_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    char name[ASK_NAME_BYTES], value[ASK_NAME_BYTES], expected[ASK_NAME_BYTES];
    uint32_t key = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    struct rpc_request q;
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice == 99) {
        vanish_choose(s, c, b);
        return true;
    }
    if (dice < 2) {
        choose_other(s, c, &q);
    } else if (dice < 8) {
        choose_range(s, c, &q, name, value);
    } else {
        if (ask_is_counter(key)) {
            choose_counter(s, c, &q, value);
        } else {
            choose_register(s, c, &q, value, expected);
            vanish_dress(s, c, &q);
        }
        c->op.key = key;
        c->in_history = true;
        q.key = ask_key_name(key, name);
    }
    if (c->in_history || c->is_range) {
        choose_options(c, &q);
        levels_choose(s, c, &q);
    }
    ask_send(s, c, &q, b);
    return true;
}

void workload_probe(struct sim *s, struct sim_client *c, uint32_t group, struct buf *b)
{
    const struct map *map = NULL;
    char name[ASK_NAME_BYTES], value[ASK_NAME_BYTES];
    struct rpc_request q;

    for (uint32_t i = 1; i <= s->swarm.nodes && map == NULL; i++) {
        if (s->nodes[i].node != NULL && s->nodes[i].node->map_known) {
            map = &s->nodes[i].node->map;
        }
    }
    KV_ASSERT(map != NULL);
    for (uint32_t i = 0;; i++) {
        snprintf(name, sizeof name, "probe-%u-%u", group, i);
        if (map_group_for_key(map, kv_bytes_str(name)) == group) {
            break;
        }
    }
    ask_begin(s, c, &q, RPC_KV_PUT, LINEAR_WRITE);
    c->op.key = s->swarm.keys + group;
    c->op.value = ++s->next_value;
    c->in_history = true;
    q.key = kv_bytes_str(name);
    q.value = ask_value_bytes(0, c->op.value, value);
    ask_send(s, c, &q, b);
}

/* ---- being answered ---- */

/* Is this key in the client's range, and before where the answer stopped? */
static bool range_covers(const struct sim_client *c, uint32_t key, struct kv_bytes next)
{
    char name[ASK_NAME_BYTES];

    if (key < c->range_from || key >= c->range_to) {
        return false;
    }
    if (c->range_to != UINT32_MAX &&
        ask_is_counter(key) != ask_is_counter(c->range_from)) {
        return false;
    }
    return next.len == 0 || kv_bytes_compare(ask_key_name(key, name), next) < 0;
}

/* A read of each key that the range covers; those that are not in it are not there. */
static void range_read(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct kv_bytes next = r->more ? r->next : kv_bytes(NULL, 0);
    uint32_t at = 0;

    /* Items ascend, and so do the keys of a family: counters first. */
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t key = 0; key < s->swarm.keys; key++) {
            struct linear_op op = c->op;

            if (ask_is_counter(key) != (pass == 0) || !range_covers(c, key, next)) {
                continue;
            }
            op.key = key;
            op.value = 0;
            while (at < r->items.count) {
                struct rpc_item item;
                uint32_t number;

                rpc_reply_item_get(r, at, &item);
                number = ask_key_number(item.key);
                if (number != key) {
                    break;
                }
                op.value = ask_value_of(key, item.value);
                at++;
            }
            ask_history(s, &op);
        }
    }
    for (; at < r->items.count; at++) {
        struct rpc_item item;

        rpc_reply_item_get(r, at, &item);
        if (ask_key_number(item.key) != UINT32_MAX) {
            sim_fail(s,
                     "node %u: a range holds keys twice, in no order, or none that "
                     "was asked for",
                     c->node);
        }
    }
}

static void plain_answer(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    if (c->method == RPC_KV_DELRANGE) {
        vanish_answer(s, c, r);
        return;
    }
    if (r->error != 0) {
        ask_finish(s, c, ask_outcome(r->error), r->error);
        vanish_after(s, c);
        return;
    }
    if (c->in_history) {
        ask_take(s, c, r);
        vanish_take(c, r);
    }
    ask_finish(s, c, LINEAR_OK, 0);
    vanish_after(s, c);
    if (c->is_range) {
        range_read(s, c, r);
    }
}

static void plain_silence(struct sim *s, struct sim_client *c)
{
    if (c->method == RPC_KV_DELRANGE) {
        vanish_silence(s, c);
    } else {
        ask_finish(s, c, LINEAR_UNKNOWN, 0);
        vanish_after(s, c);
    }
}

const struct client_kind kind_plain = {
    .choose = plain_choose, .answer = plain_answer, .silence = plain_silence};
