/* jepsen/checker/once.c - did each acknowledged increment count once? */
#include "jepsen/checker/once.h"

#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/keys.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

/* What was added to a key. */
struct total {
    int64_t done;
    int64_t unknown;
    uint64_t end; /* Row of the last completion; an unknown one may be applied later. */
    uint64_t unknown_count;
    uint64_t done_count;
};

static struct total total_of(const struct history *h, const struct keys *k, uint32_t at)
{
    struct total t = {0};

    for (uint64_t i = k->begin[at]; i < k->begin[at + 1]; i++) {
        const struct history_op *op = &h->ops[k->rows[i]];
        const struct history_op *end = keys_completion(h, op);

        if (op->f != HISTORY_ADD || op->value.kind != HISTORY_INT) {
            continue;
        }
        t.end = KV_MAX(t.end, end != NULL ? end->index : op->index);
        if (keys_end(h, op) == HISTORY_OK) {
            t.done += history_ints(h, &op->value)[0];
            t.done_count++;
        } else if (keys_end(h, op) != HISTORY_FAIL) {
            t.unknown += history_ints(h, &op->value)[0];
            t.unknown_count++;
        }
    }
    return t;
}

/* Judges a read that began when all was added. */
static void judge_read(const struct history *h, const struct history_op *end,
                       const struct total *t, struct verdict *v)
{
    int64_t value =
        end->value.kind == HISTORY_INT ? history_ints(h, &end->value)[0] : 0;
    struct verdict_anomaly a = {
        .key = end->key, .ops = {end->mate, end->index}, .ops_count = 2};

    if (value >= t->done && value <= t->done + t->unknown) {
        return;
    }
    snprintf(a.kind, sizeof a.kind, "%s", value < t->done ? "lost" : "twice");
    snprintf(a.text, sizeof a.text,
             "counter %" PRIu32 " is %" PRId64 " in the end (row %" PRIu64
             "), but %" PRId64 " was acknowledged, and %" PRId64 " is unknown",
             end->key, value, end->index, t->done, t->unknown);
    verdict_add(v, &a);
}

static void judge_key(const struct history *h, const struct keys *k, uint32_t at,
                      const struct total *t, struct verdict *v)
{
    bool was_read = false;

    for (uint64_t i = k->begin[at]; i < k->begin[at + 1]; i++) {
        const struct history_op *op = &h->ops[k->rows[i]];

        if (op->f == HISTORY_READ && op->index > t->end &&
            keys_end(h, op) == HISTORY_OK) {
            judge_read(h, keys_completion(h, op), t, v);
            was_read = true;
        }
    }
    if (!was_read) {
        verdict_doubt(v, "counter %" PRIu32 " was not read after its last increment",
                      k->keys[at]);
    }
}

void once_check(const struct history *h, struct verdict *out)
{
    uint64_t done = 0;
    uint64_t unknown = 0;
    uint64_t exact = 0;
    struct keys k;

    verdict_init(out, "once");
    if (keys_init(&k, h, KEYS_F(HISTORY_ADD) | KEYS_F(HISTORY_READ)) != 0) {
        verdict_doubt(out, "out of memory");
        return;
    }
    for (uint32_t at = 0; at < k.count; at++) {
        struct total t = total_of(h, &k, at);

        judge_key(h, &k, at, &t, out);
        done += t.done_count;
        unknown += t.unknown_count;
        exact += t.unknown_count == 0;
    }
    if (done == 0) {
        verdict_doubt(out, "nothing was added");
    }
    if (unknown * 100 > (done + unknown) * ONCE_UNKNOWN_PERCENT) {
        verdict_doubt(out, "%" PRIu64 " of %" PRIu64 " increments are unknown", unknown,
                      done + unknown);
    }
    verdict_fact(out, "acknowledged", (double)done);
    verdict_fact(out, "unknown", (double)unknown);
    verdict_fact(out, "exact", (double)exact);
    keys_close(&k);
}
