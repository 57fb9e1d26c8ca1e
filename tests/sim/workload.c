/* tests/sim/workload.c - requests drawn at random, answers into the history. */
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "rpc/map.h"
#include "tests/sim/levels.h"

enum {
    KEY_NAME_BYTES = 24,
};

/* ---- keys and values ---- */

static bool is_counter(uint32_t key)
{
    return key % 3 == 2;
}

static struct kv_bytes key_name(uint32_t key, char *out)
{
    snprintf(out, KEY_NAME_BYTES, "%s-%03u", is_counter(key) ? "cnt" : "key", key);
    return kv_bytes_str(out);
}

/* UINT32_MAX: not one of these keys. */
static uint32_t key_number(struct kv_bytes name)
{
    char text[KEY_NAME_BYTES];
    uint32_t key;

    if (name.len != 7) {
        return UINT32_MAX;
    }
    memcpy(text, name.data, 7);
    text[7] = '\0';
    if (memcmp(text, "key-", 4) != 0 && memcmp(text, "cnt-", 4) != 0) {
        return UINT32_MAX;
    }
    key = (uint32_t)strtoul(text + 4, NULL, 10);
    return key;
}

/* A value as it travels. */
static struct kv_bytes value_bytes(uint32_t key, uint64_t value, char *out)
{
    if (!is_counter(key)) {
        kv_put_u64le((uint8_t *)out, value);
        return kv_bytes(out, 8);
    }
    snprintf(out, KEY_NAME_BYTES, "%" PRId64, linear_number(value));
    return kv_bytes_str(out);
}

/* And back; 0 for what nobody wrote. */
static uint64_t value_of(uint32_t key, struct kv_bytes bytes)
{
    char text[KEY_NAME_BYTES];
    char *end;
    int64_t number;

    if (!is_counter(key)) {
        return bytes.len == 8 ? kv_get_u64le(bytes.data) : 0;
    }
    if (bytes.len == 0 || bytes.len >= sizeof text) {
        return 0;
    }
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    number = (int64_t)strtoll(text, &end, 10);
    return *end == '\0' ? linear_counter(number) : 0;
}

/* ---- asking ---- */

static void tell(struct sim *s, const struct sim_client *c, enum trace_kind kind,
                 int error)
{
    const struct trace_call call = {.client = (uint8_t)c->number,
                                    .node = (uint8_t)c->node,
                                    .method = (uint8_t)c->method,
                                    .outcome = (uint8_t)c->op.outcome,
                                    .key = c->op.key,
                                    .error = error,
                                    .value = c->op.value};

    trace_call(&s->trace, s->now_us, kind, &call);
}

static bool chance(struct sim_client *c, uint32_t of)
{
    return prng_below(&c->prng, of) == 0;
}

static void begin(struct sim *s, struct sim_client *c, struct rpc_request *q,
                  enum rpc_method method, enum linear_kind kind)
{
    c->method = method;
    c->wants = 0;
    c->is_range = method == RPC_KV_RANGE;
    c->in_history = false;
    c->level = RPC_LINEARIZABLE;
    c->has_token = false;
    c->op = (struct linear_op){.process = c->number,
                               .kind = kind,
                               .outcome = LINEAR_UNKNOWN,
                               .call_us = s->now_us};
    c->asked_step = s->judge.checked;
    rpc_request_init(q, method, ++c->msgid);
    s->cover.method[method]++;
    for (uint32_t i = 0; i <= s->swarm.groups; i++) {
        c->least[i] = judge_commit_max(&s->judge, i);
        c->least_term[i] = judge_leader_term(&s->judge, i);
    }
}

static void choose_options(struct sim_client *c, struct rpc_request *q)
{
    if (chance(c, 4)) {
        q->options.deadline_ms = (uint32_t)prng_between(&c->prng, 5, 3000);
        q->options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
    if (chance(c, 12)) {
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
        begin(s, c, q, RPC_HELLO, LINEAR_READ);
        break;
    case 1:
        begin(s, c, q, RPC_CLUSTER_STATUS, LINEAR_READ);
        break;
    case 2:
        begin(s, c, q, RPC_CLUSTER_MAP, LINEAR_READ);
        break;
    case 3:
        begin(s, c, q, RPC_KV_GET, LINEAR_READ);
        c->wants = KV_EBADREQUEST; /* An empty key. */
        break;
    default:
        begin(s, c, q, RPC_KV_PUT, LINEAR_WRITE);
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

    begin(s, c, q, RPC_KV_RANGE, LINEAR_READ);
    c->range_from = a;
    c->range_to = b;
    if (chance(c, 2)) {
        c->range_from = 0;
        c->range_to = UINT32_MAX;
    } else {
        q->begin = key_name(a, begin_name);
        /* Of the same family: the number b itself may be of another. */
        snprintf(end_name, KEY_NAME_BYTES, "%.4s%03u", begin_name, b);
        q->end = kv_bytes_str(end_name);
    }
    if (chance(c, 3)) {
        q->options.limit = (uint32_t)prng_between(&c->prng, 1, 5);
        q->options.has |= RPC_OPT_BIT(RPC_OPT_limit);
    }
}

static void choose_counter(struct sim *s, struct sim_client *c, struct rpc_request *q,
                           char *value)
{
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 35) {
        begin(s, c, q, RPC_KV_GET, LINEAR_READ);
    } else if (dice < 85) {
        begin(s, c, q, RPC_KV_INCR, LINEAR_ADD);
        q->delta = chance(c, 100) ? INT64_MAX : (int64_t)prng_below(&c->prng, 11) - 5;
        c->op.expected = (uint64_t)q->delta;
    } else if (dice < 93) {
        begin(s, c, q, RPC_KV_PUT, LINEAR_WRITE);
        c->op.value = linear_counter((int64_t)++s->next_value);
        q->value = value_bytes(2, c->op.value, value);
    } else {
        begin(s, c, q, RPC_KV_DEL, LINEAR_DELETE);
    }
}

static void choose_register(struct sim *s, struct sim_client *c, struct rpc_request *q,
                            char *value, char *expected)
{
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 45) {
        begin(s, c, q, RPC_KV_GET, LINEAR_READ);
        return;
    }
    if (dice >= 94) {
        begin(s, c, q, RPC_KV_DEL, LINEAR_DELETE);
        return;
    }
    begin(s, c, q, dice < 80 ? RPC_KV_PUT : RPC_KV_CAS,
          dice < 80 ? LINEAR_WRITE : LINEAR_CAS);
    c->op.value = ++s->next_value;
    q->value = q->replacement = value_bytes(0, c->op.value, value);
    q->has_replacement = true;
    /* Expect a recent value now and then, or nothing. */
    c->op.expected =
        chance(c, 3) ? 0 : c->op.value - KV_MIN(c->op.value, prng_below(&c->prng, 12));
    q->has_expected = c->op.expected != 0;
    q->expected = value_bytes(0, c->op.expected, expected);
}

void workload_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    char name[KEY_NAME_BYTES], value[KEY_NAME_BYTES], expected[KEY_NAME_BYTES];
    uint32_t key = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    struct rpc_request q;
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 2) {
        choose_other(s, c, &q);
    } else if (dice < 8) {
        choose_range(s, c, &q, name, value);
    } else {
        if (is_counter(key)) {
            choose_counter(s, c, &q, value);
        } else {
            choose_register(s, c, &q, value, expected);
        }
        c->op.key = key;
        c->in_history = true;
        q.key = key_name(key, name);
    }
    if (c->in_history || c->is_range) {
        choose_options(c, &q);
        levels_choose(s, c, &q);
    }
    tell(s, c, TRACE_CALL, 0);
    rpc_request_encode(b, &q);
    KV_ASSERT(b->error == 0);
}

void workload_probe(struct sim *s, struct sim_client *c, uint32_t group, struct buf *b)
{
    const struct map *map = NULL;
    char name[KEY_NAME_BYTES], value[KEY_NAME_BYTES];
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
    begin(s, c, &q, RPC_KV_PUT, LINEAR_WRITE);
    c->op.key = s->swarm.keys + group;
    c->op.value = ++s->next_value;
    c->in_history = true;
    q.key = kv_bytes_str(name);
    q.value = value_bytes(0, c->op.value, value);
    tell(s, c, TRACE_CALL, 0);
    rpc_request_encode(b, &q);
    KV_ASSERT(b->error == 0);
}

/* ---- being answered ---- */

static void history_push(struct sim *s, const struct linear_op *op)
{
    if (s->ops_count == s->ops_cap) {
        s->ops_cap = s->ops_cap == 0 ? 1024 : s->ops_cap * 2;
        s->ops = kv_mem_realloc(s->ops, s->ops_cap * sizeof *s->ops);
        KV_ASSERT(s->ops != NULL);
    }
    s->ops[s->ops_count++] = *op;
}

static void finish(struct sim *s, struct sim_client *c, enum linear_outcome outcome,
                   int error)
{
    c->op.outcome = outcome;
    c->op.return_us = s->now_us;
    s->counts.ops_ok += outcome == LINEAR_OK;
    s->counts.ops_fail += outcome == LINEAR_FAIL;
    s->counts.ops_unknown += outcome == LINEAR_UNKNOWN;
    tell(s, c, TRACE_RETURN, error);
    if (c->in_history) {
        history_push(s, &c->op);
    }
}

/* Is this key in the client's range, and before where the answer stopped? */
static bool range_covers(const struct sim_client *c, uint32_t key, struct kv_bytes next)
{
    char name[KEY_NAME_BYTES];

    if (key < c->range_from || key >= c->range_to) {
        return false;
    }
    if (c->range_to != UINT32_MAX && is_counter(key) != is_counter(c->range_from)) {
        return false;
    }
    return next.len == 0 || kv_bytes_compare(key_name(key, name), next) < 0;
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

            if (is_counter(key) != (pass == 0) || !range_covers(c, key, next)) {
                continue;
            }
            op.key = key;
            op.value = 0;
            while (at < r->items.count) {
                struct rpc_item item;
                uint32_t number;

                rpc_reply_item_get(r, at, &item);
                number = key_number(item.key);
                if (number != key) {
                    break;
                }
                op.value = value_of(key, item.value);
                at++;
            }
            history_push(s, &op);
        }
    }
    for (; at < r->items.count; at++) {
        struct rpc_item item;

        rpc_reply_item_get(r, at, &item);
        if (key_number(item.key) != UINT32_MAX) {
            sim_fail(s,
                     "node %u: a range holds keys twice, in no order, or none that "
                     "was asked for",
                     c->node);
        }
    }
}

/* 11: reads and writes see what was committed before they were asked for. */
static void check_revision(struct sim *s, const struct sim_client *c,
                           const struct rpc_reply *r)
{
    /* A quorum read sees all of its key, whatever else the replica has applied. */
    if (r->at.group <= s->swarm.groups && c->level != RPC_QUORUM &&
        (c->method == RPC_KV_GET || c->method == RPC_KV_PUT ||
         c->method == RPC_KV_INCR)) {
        judge_reply(&s->judge, r->at.group, r->at.rev, c->least[r->at.group]);
        judge_reply_term(&s->judge, r->at.group, r->at.term,
                         c->least_term[r->at.group]);
    }
}

static void take_result(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct linear_op *op = &c->op;

    op->group = r->at.group;
    op->rev = r->rev;
    op->term = r->at.term;
    op->node = r->at.node;
    switch (op->kind) {
    case LINEAR_READ:
        op->value = r->found ? value_of(op->key, r->value) : 0;
        if (r->found && op->value == 0) {
            sim_fail(s, "node %u: a value of %zu bytes was read, none was written",
                     c->node, r->value.len);
        }
        break;
    case LINEAR_CAS:
        op->condition = r->swapped;
        op->has_shown = !r->swapped;
        op->shown = r->has_value ? value_of(op->key, r->value) : 0;
        break;
    case LINEAR_DELETE:
        op->condition = r->deleted;
        break;
    case LINEAR_ADD:
        op->value = linear_counter(r->number);
        break;
    case LINEAR_WRITE:
        break;
    }
    check_revision(s, c, r);
    if (c->method == RPC_KV_GET && c->level == RPC_LINEARIZABLE &&
        r->at.group <= s->swarm.groups) {
        judge_reply_round(&s->judge, r->at.group, r->at.node, c->asked_step);
    }
}

int workload_answer(struct sim *s, struct sim_client *c, struct kv_bytes message,
                    uint32_t *out_msgid)
{
    struct rpc_reply r;

    if (rpc_reply_decode(&c->decoder, message, c->method, &r) != 0) {
        return KV_EPROTO;
    }
    *out_msgid = r.msgid;
    if (!c->busy || r.msgid != c->msgid) {
        return 0;
    }
    cover_error(s->cover.reply_error, r.error);
    /* A node without room need not look at what is wrong. */
    if (c->wants != 0 && r.error != c->wants && r.error != KV_EBUSY) {
        sim_fail(s, "node %u: a wrong request got %s", c->node, kv_err_name(r.error));
    }
    if (r.error != 0) {
        bool sure = kv_err_outcome(r.error) == KV_OUTCOME_NOT_DONE;

        finish(s, c, sure ? LINEAR_FAIL : LINEAR_UNKNOWN, r.error);
        return 0;
    }
    if (c->in_history) {
        take_result(s, c, &r);
    }
    levels_check(s, c, &r);
    finish(s, c, LINEAR_OK, 0);
    if (c->is_range) {
        range_read(s, c, &r);
    }
    return 0;
}

void workload_silence(struct sim *s, struct sim_client *c)
{
    finish(s, c, LINEAR_UNKNOWN, 0);
}
