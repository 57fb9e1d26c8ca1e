/* tests/sim/ask.c - names and values of the keys, requests begun, answers noted. */
#include "tests/sim/ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"

/* ---- keys and values ---- */

bool ask_is_counter(uint32_t key)
{
    return key % 3 == 2;
}

struct kv_bytes ask_key_name(uint32_t key, char *out)
{
    snprintf(out, ASK_NAME_BYTES, "%s-%03u", ask_is_counter(key) ? "cnt" : "key", key);
    return kv_bytes_str(out);
}

/* UINT32_MAX: not one of these keys. */
uint32_t ask_key_number(struct kv_bytes name)
{
    char text[ASK_NAME_BYTES];
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
struct kv_bytes ask_value_bytes(uint32_t key, uint64_t value, char *out)
{
    if (!ask_is_counter(key)) {
        kv_put_u64le((uint8_t *)out, value);
        return kv_bytes(out, 8);
    }
    snprintf(out, ASK_NAME_BYTES, "%" PRId64, linear_number(value));
    return kv_bytes_str(out);
}

/* And back; 0 for what nobody wrote. */
uint64_t ask_value_of(uint32_t key, struct kv_bytes bytes)
{
    char text[ASK_NAME_BYTES];
    char *end;
    int64_t number;

    if (!ask_is_counter(key)) {
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

/* ---- a request ---- */

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

void ask_begin(struct sim *s, struct sim_client *c, struct rpc_request *q,
               enum rpc_method method, enum linear_kind kind)
{
    c->method = method;
    c->wants = 0;
    c->is_range = method == RPC_KV_RANGE;
    c->in_history = false;
    c->ttl_ms = 0;
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

void ask_send(struct sim *s, struct sim_client *c, const struct rpc_request *q,
              struct buf *b)
{
    tell(s, c, TRACE_CALL, 0);
    rpc_request_encode(b, q);
    KV_ASSERT(b->error == 0);
}

/* ---- what came of it ---- */

void ask_history(struct sim *s, const struct linear_op *op)
{
    if (s->ops_count == s->ops_cap) {
        s->ops_cap = s->ops_cap == 0 ? 1024 : s->ops_cap * 2;
        s->ops = kv_mem_realloc(s->ops, s->ops_cap * sizeof *s->ops);
        KV_ASSERT(s->ops != NULL);
    }
    s->ops[s->ops_count++] = *op;
}

void ask_finish(struct sim *s, struct sim_client *c, enum linear_outcome outcome,
                int error)
{
    c->op.outcome = outcome;
    c->op.return_us = s->now_us;
    s->counts.ops_ok += outcome == LINEAR_OK;
    s->counts.ops_fail += outcome == LINEAR_FAIL;
    s->counts.ops_unknown += outcome == LINEAR_UNKNOWN;
    tell(s, c, TRACE_RETURN, error);
    if (c->in_history) {
        ask_history(s, &c->op);
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

void ask_take(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct linear_op *op = &c->op;

    op->group = r->at.group;
    op->rev = r->rev;
    op->term = r->at.term;
    op->node = r->at.node;
    switch (op->kind) {
    case LINEAR_READ:
        op->value = r->found ? ask_value_of(op->key, r->value) : 0;
        if (r->found && op->value == 0) {
            sim_fail(s, "node %u: a value of %zu bytes was read, none was written",
                     c->node, r->value.len);
        }
        break;
    case LINEAR_CAS:
        op->condition = r->swapped;
        op->has_shown = !r->swapped;
        op->shown = r->has_value ? ask_value_of(op->key, r->value) : 0;
        break;
    case LINEAR_DELETE:
        op->condition = r->deleted;
        break;
    case LINEAR_ADD:
        op->value = linear_counter(r->number);
        break;
    case LINEAR_WRITE:
    case LINEAR_EXPIRE:
        break;
    }
    check_revision(s, c, r);
    if (c->method == RPC_KV_GET && c->level == RPC_LINEARIZABLE &&
        r->at.group <= s->swarm.groups) {
        judge_reply_round(&s->judge, r->at.group, r->at.node, c->asked_step);
    }
}
