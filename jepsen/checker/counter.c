/* jepsen/checker/counter.c - do reads of each counter lie within what was added? */
#include "jepsen/checker/counter.h"

#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/keys.h"
#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

/* A counter at a row. Sums of what was added above and below zero. */
struct sums {
    int64_t up_done, up_begun;
    int64_t down_done, down_begun;
    int64_t highest; /* Highest value of a read that ended. */
    uint64_t highest_row;
};

struct counter {
    const struct history *h;
    struct verdict *v;
    struct pairs numbers; /* (key, 0) -> sums */
    struct sums *sums;
    struct sums *before; /* [rows] sums when a read began. */
    uint64_t adds, reads, sure;
};

static void judge_read(struct counter *c, const struct history_op *end,
                       const struct sums *now)
{
    const struct sums *before = &c->before[end->mate];
    int64_t value =
        end->value.kind == HISTORY_INT ? history_ints(c->h, &end->value)[0] : 0;
    int64_t low = before->up_done + now->down_begun;
    int64_t high = now->up_begun + before->down_done;
    struct verdict_anomaly a = {
        .key = end->key, .ops = {end->mate, end->index}, .ops_count = 2};

    c->reads++;
    c->sure += low == high;
    if (value < low || value > high) {
        snprintf(a.kind, sizeof a.kind, "%s", value < low ? "below" : "above");
        snprintf(a.text, sizeof a.text,
                 "row %" PRIu64 " read %" PRId64 " of counter %" PRIu32
                 ", which was between %" PRId64 " and %" PRId64,
                 end->index, value, end->key, low, high);
        verdict_add(c->v, &a);
    } else if (now->down_begun == 0 && value < before->highest) {
        snprintf(a.kind, sizeof a.kind, "backwards");
        snprintf(a.text, sizeof a.text,
                 "row %" PRIu64 " read %" PRId64 " of counter %" PRIu32
                 ", but row %" PRIu64 " had read %" PRId64 " before it began",
                 end->index, value, end->key, before->highest_row, before->highest);
        a.ops[a.ops_count++] = before->highest_row;
        verdict_add(c->v, &a);
    }
}

/* Adds up without leaving 64 bits: what does not fit is known no longer. */
static void sum_up(struct counter *c, int64_t *sum, int64_t delta)
{
    int64_t bigger;

    if (__builtin_add_overflow(*sum, delta, &bigger)) {
        bigger = delta > 0 ? INT64_MAX : INT64_MIN;
        verdict_doubt(c->v, "the sum of all adds does not fit into 64 bits");
    }
    *sum = bigger;
}

static void judge_row(struct counter *c, const struct history_op *op, struct sums *s)
{
    const struct history_op *call =
        op->type == HISTORY_INVOKE || op->mate == HISTORY_NO_MATE
            ? op
            : &c->h->ops[op->mate];
    int64_t delta;

    if (op->f == HISTORY_READ) {
        if (op->type == HISTORY_INVOKE) {
            c->before[op->index] = *s;
        } else if (op->type == HISTORY_OK) {
            judge_read(c, op, s);
            if (op->value.kind == HISTORY_INT &&
                history_ints(c->h, &op->value)[0] > s->highest) {
                s->highest = history_ints(c->h, &op->value)[0];
                s->highest_row = op->index;
            }
        }
        return;
    }
    if (call->value.kind != HISTORY_INT || keys_end(c->h, call) == HISTORY_FAIL) {
        return;
    }
    delta = history_ints(c->h, &call->value)[0];
    if (op->type == HISTORY_INVOKE) {
        c->adds++;
        sum_up(c, delta > 0 ? &s->up_begun : &s->down_begun, delta);
    } else if (op->type == HISTORY_OK) {
        sum_up(c, delta > 0 ? &s->up_done : &s->down_done, delta);
    }
}

void counter_check(const struct history *h, struct verdict *out)
{
    struct counter c = {.h = h, .v = out};
    int rc = 0;

    verdict_init(out, "counter");
    pairs_init(&c.numbers);
    c.sums = kv_mem_zalloc((h->count + 1) * sizeof *c.sums);
    c.before = kv_mem_zalloc((h->count + 1) * sizeof *c.before);
    if (c.sums == NULL || c.before == NULL) {
        rc = KV_ENOMEM;
    }
    for (size_t i = 0; i < h->count && rc == 0; i++) {
        const struct history_op *op = &h->ops[i];
        uint64_t *at;

        if (op->f != HISTORY_ADD && op->f != HISTORY_READ) {
            continue;
        }
        at = pairs_at(&c.numbers, op->key, 0, c.numbers.count);
        if (at == NULL) {
            rc = KV_ENOMEM;
        } else {
            judge_row(&c, op, &c.sums[*at]);
        }
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (c.reads == 0) {
        verdict_doubt(out, "no counter was read");
    }
    verdict_fact(out, "adds", (double)c.adds);
    verdict_fact(out, "reads", (double)c.reads);
    verdict_fact(out, "sure", (double)c.sure);
    pairs_close(&c.numbers);
    kv_mem_free(c.sums);
    kv_mem_free(c.before);
}
