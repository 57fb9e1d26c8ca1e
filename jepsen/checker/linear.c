/* jepsen/checker/linear.c - is each register linearizable? */
#include "jepsen/checker/linear.h"

#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/keys.h"
#include "jepsen/checker/linear_shrink.h"
#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

#define REGISTER_FS (KEYS_F(HISTORY_READ) | KEYS_F(HISTORY_WRITE) | KEYS_F(HISTORY_CAS))

/* The operations of one key, as the search wants them. */
struct problem {
    struct linear_op *ops;
    uint32_t *order;
    uint32_t count;
    struct pairs values; /* Value -> small number, from 1. */
};

static void problem_close(struct problem *p)
{
    kv_mem_free(p->ops);
    kv_mem_free(p->order);
    pairs_close(&p->values);
}

/* The small number of a value; 0 for nil. Returns KV_ENOMEM. */
static int value_number(struct problem *p, const struct history *h,
                        const struct history_value *v, uint32_t i, uint32_t *out)
{
    uint64_t *number;

    if (v->kind == HISTORY_NIL) {
        *out = LINEAR_NIL;
        return 0;
    }
    number =
        pairs_at(&p->values, (uint64_t)history_ints(h, v)[i], 0, p->values.count + 1);
    if (number == NULL) {
        return KV_ENOMEM;
    }
    *out = (uint32_t)*number;
    return 0;
}

/* What the operation says about the register. Returns 0; KV_EAGAIN: nothing;
 * KV_ENOMEM; KV_EINVAL: it is not one of a register. */
static int op_make(struct problem *p, const struct history *h,
                   const struct history_op *call, struct linear_op *out)
{
    const struct history_op *end = keys_completion(h, call);
    enum history_type type = keys_end(h, call);
    const struct history_value *value = &call->value;
    int rc;

    *out = (struct linear_op){.call = call->index, .ret = LINEAR_NO_RETURN};
    if (type == HISTORY_OK) {
        out->ret = end->index;
    } else if (type == HISTORY_FAIL) {
        if (call->f != HISTORY_CAS || end->at_rev == 0) {
            return KV_EAGAIN;
        }
        out->ret = end->index;
    } else if (call->f == HISTORY_READ) {
        return KV_EAGAIN;
    }
    out->optional = out->ret == LINEAR_NO_RETURN;
    if (call->f == HISTORY_CAS) {
        out->f = type == HISTORY_FAIL ? LINEAR_MISMATCH : LINEAR_CAS;
        if (value->kind != HISTORY_PAIR) {
            return KV_EINVAL;
        }
        rc = value_number(p, h, value, 0, &out->a);
        return rc != 0 ? rc : value_number(p, h, value, 1, &out->b);
    }
    out->f = call->f == HISTORY_READ ? LINEAR_READ : LINEAR_WRITE;
    value = call->f == HISTORY_READ ? &end->value : value;
    if (value->kind != HISTORY_INT &&
        (value->kind != HISTORY_NIL || call->f == HISTORY_WRITE)) {
        return KV_EINVAL;
    }
    return value_number(p, h, value, 0, &out->a);
}

/* Returns 0; KV_ENOMEM; KV_EINVAL with *out_row, which is not a register's. */
static int problem_init(struct problem *p, const struct history *h,
                        const struct keys *keys, uint32_t k, uint64_t *out_row)
{
    uint64_t rows = keys->begin[k + 1] - keys->begin[k];

    memset(p, 0, sizeof *p);
    p->ops = kv_mem_zalloc((rows + 1) * sizeof *p->ops);
    p->order = kv_mem_zalloc((rows + 1) * sizeof *p->order);
    if (p->ops == NULL || p->order == NULL) {
        return KV_ENOMEM;
    }
    for (uint64_t i = keys->begin[k]; i < keys->begin[k + 1]; i++) {
        int rc = op_make(p, h, &h->ops[keys->rows[i]], &p->ops[p->count]);

        if (rc == 0) {
            p->count++;
        } else if (rc != KV_EAGAIN) {
            *out_row = keys->rows[i];
            return rc;
        }
    }
    return 0;
}

/* "read 3", "cas 1 -> 2". */
static void op_print(const struct history *h, const struct history_op *call, char *out,
                     size_t cap)
{
    const struct history_op *end = keys_completion(h, call);
    const struct history_value *v =
        call->f == HISTORY_READ && end != NULL ? &end->value : &call->value;
    const int64_t *p = history_ints(h, v);

    if (v->kind == HISTORY_PAIR) {
        snprintf(out, cap, "%s %" PRId64 " -> %" PRId64, history_f_name(call->f), p[0],
                 p[1]);
    } else if (v->kind == HISTORY_INT) {
        snprintf(out, cap, "%s %" PRId64, history_f_name(call->f), p[0]);
    } else {
        snprintf(out, cap, "%s nil", history_f_name(call->f));
    }
}

static void anomaly_add(const struct history *h, uint32_t key, struct problem *p,
                        const struct linear_outcome *found, struct verdict *v)
{
    struct verdict_anomaly a = {.kind = "not-linearizable", .key = key};
    uint64_t stuck = p->ops[found->farthest].call;
    uint64_t until = p->ops[found->farthest].ret;
    char what[96];
    uint32_t n;

    op_print(h, &h->ops[stuck], what, sizeof what);
    n = linear_shrink(p->ops, p->count, found->farthest);
    for (uint32_t i = 0; i < n && a.ops_count + 2 <= VERDICT_OPS_MAX; i++) {
        a.ops[a.ops_count++] = p->ops[i].call;
        if (h->ops[p->ops[i].call].mate != HISTORY_NO_MATE) {
            a.ops[a.ops_count++] = h->ops[p->ops[i].call].mate;
        }
    }
    snprintf(a.text, sizeof a.text,
             "key %" PRIu32 ": no order explains the history up to row %" PRIu64
             ", the end of %s by process %" PRId32 "; %" PRIu32
             " operations show it, the longest order has %" PRIu32,
             key, until, what, h->ops[stuck].process, n, found->order_count);
    verdict_add(v, &a);
}

struct totals {
    uint64_t ops, steps, configurations;
    size_t bytes; /* The largest key. */
};

static void key_check(const struct history *h, const struct keys *keys, uint32_t k,
                      const struct linear_limits *limits, struct totals *t,
                      struct verdict *v)
{
    struct linear_limits left = *limits;
    struct linear_outcome found = {0};
    struct problem p;
    uint64_t row = 0;
    int rc = problem_init(&p, h, keys, k, &row);

    left.steps_max -= KV_MIN(t->steps, left.steps_max);
    if (rc == KV_EINVAL) {
        verdict_doubt(v, "row %" PRIu64 " is no operation of a register", row);
    } else if (rc != 0) {
        verdict_doubt(v, "key %" PRIu32 ": out of memory", keys->keys[k]);
    } else {
        found.order = p.order;
        linear_search(p.ops, p.count, LINEAR_NIL, &left, &found);
        t->ops += p.count;
        t->steps += found.steps;
        t->configurations += found.configurations;
        t->bytes = KV_MAX(t->bytes, found.bytes);
    }
    if (rc == 0 && found.answer == LINEAR_NO) {
        anomaly_add(h, keys->keys[k], &p, &found, v);
    } else if (rc == 0 && found.answer != LINEAR_YES) {
        verdict_doubt(v,
                      "key %" PRIu32 ": no answer within %s (%" PRIu64
                      " steps, %zu MiB of configurations)",
                      keys->keys[k],
                      found.answer == LINEAR_STEPS ? "the steps" : "the memory",
                      found.steps, found.bytes >> 20);
    }
    problem_close(&p);
}

void linear_check(const struct history *h, const struct linear_limits *limits,
                  struct verdict *out)
{
    struct totals t = {0};
    struct keys keys;

    verdict_init(out, "linear");
    if (keys_init(&keys, h, REGISTER_FS) != 0) {
        verdict_doubt(out, "out of memory");
        return;
    }
    for (uint32_t k = 0; k < keys.count; k++) {
        key_check(h, &keys, k, limits, &t, out);
    }
    if (t.ops == 0) {
        verdict_doubt(out, "no operation of a register has a known end");
    }
    verdict_fact(out, "ops", (double)t.ops);
    verdict_fact(out, "keys", keys.count);
    verdict_fact(out, "steps", (double)t.steps);
    verdict_fact(out, "configurations", (double)t.configurations);
    verdict_fact(out, "bytes", (double)t.bytes);
    keys_close(&keys);
}

uint32_t linear_longest(const struct history *h, uint32_t key,
                        const struct linear_limits *limits, uint64_t *out_rows,
                        uint32_t cap)
{
    struct linear_outcome found = {0};
    struct problem p;
    struct keys keys;
    uint64_t row = 0;
    uint32_t k = 0;

    if (keys_init(&keys, h, REGISTER_FS) != 0) {
        return 0;
    }
    while (k < keys.count && keys.keys[k] != key) {
        k++;
    }
    if (k == keys.count) {
        keys_close(&keys);
        return 0;
    }
    if (problem_init(&p, h, &keys, k, &row) == 0) {
        found.order = p.order;
        linear_search(p.ops, p.count, LINEAR_NIL, limits, &found);
        for (uint32_t i = 0; i < found.order_count && i < cap; i++) {
            out_rows[i] = p.ops[p.order[i]].call;
        }
    }
    problem_close(&p);
    keys_close(&keys);
    return found.order_count;
}
