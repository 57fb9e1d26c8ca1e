/* jepsen/checker/linear_shrink.c - the fewest operations that have no order. */
#include "jepsen/checker/linear_shrink.h"

#include <string.h>

#include "raft/base/arena.h"

enum {
    SHRINK_STEPS = 2000000, /* Over all searches. */
    SHRINK_OPS_MAX = 400,   /* More are not taken away one by one. */
    SHRINK_ROUNDS = 4,
};

struct shrink {
    struct linear_op *ops; /* What still has no order. */
    struct linear_op *try; /* The same with something taken away. */
    uint32_t count;
    uint32_t initial;
    uint64_t steps_left;
};

static bool only_looks(const struct linear_op *op)
{
    return op->f == LINEAR_READ || op->f == LINEAR_MISMATCH;
}

static bool has_no_order(struct shrink *s, const struct linear_op *ops, uint32_t count,
                         uint32_t initial)
{
    struct linear_limits limits = {s->steps_left, (size_t)64 << 20};
    struct linear_outcome found = {0};

    linear_search(ops, count, initial, &limits, &found);
    s->steps_left -= KV_MIN(found.steps, s->steps_left);
    return found.answer == LINEAR_NO;
}

/* Copies the operations that matter from position `begin` on, up to position `end`.
 * What began before or ends later may have happened. */
static uint32_t window(const struct linear_op *ops, uint32_t count, uint64_t begin,
                       uint64_t end, struct linear_op *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct linear_op op = ops[i];

        if (op.call > end || (!op.optional && op.ret < begin)) {
            continue;
        }
        if (op.call < begin || op.ret > end) {
            if (only_looks(&op)) {
                continue;
            }
            op.optional = true;
            op.ret = LINEAR_NO_RETURN;
        }
        out[n++] = op;
    }
    return n;
}

/* Tries later beginnings: the last call, the one before it, and so on; the first from
 * which there is no order gives the shortest window. (Halving would not find it: who
 * was cut at its beginning may take effect later than before, so a longer window can
 * have an order that a shorter one has not.) */
static void cut_beginning(struct shrink *s, uint64_t end)
{
    for (uint32_t i = s->count; i > 0 && s->count - i < SHRINK_OPS_MAX; i--) {
        uint64_t begin = s->ops[i - 1].call;
        uint32_t n = window(s->ops, s->count, begin, end, s->try);

        if (has_no_order(s, s->try, n, LINEAR_ANY)) {
            s->initial = LINEAR_ANY;
            s->count = n;
            memcpy(s->ops, s->try, n * sizeof *s->ops);
            return;
        }
    }
}

/* Would anybody notice that the optional operation is gone? A value that nobody looks
 * for is not missed, unless somebody says what he did not see. */
static bool is_missed(const struct shrink *s, uint32_t gone)
{
    const struct linear_op *op = &s->ops[gone];
    uint32_t value = op->f == LINEAR_CAS ? op->b : op->a;

    for (uint32_t i = 0; i < s->count; i++) {
        const struct linear_op *other = &s->ops[i];

        if (i != gone && (other->f == LINEAR_MISMATCH ||
                          ((other->f == LINEAR_READ || other->f == LINEAR_CAS) &&
                           other->a == value))) {
            return true;
        }
    }
    return false;
}

static void drop(struct shrink *s, uint32_t i)
{
    memmove(&s->ops[i], &s->ops[i + 1], (s->count - i - 1) * sizeof *s->ops);
    s->count--;
}

/* Takes one constraint of operation i away, if there is still no order then. Returns
 * whether it did. */
static bool loosen(struct shrink *s, uint32_t i)
{
    uint32_t n = 0;

    if (s->ops[i].optional) {
        if (is_missed(s, i)) {
            return false;
        }
        drop(s, i);
        return true;
    }
    for (uint32_t j = 0; j < s->count; j++) {
        s->try[n] = s->ops[j];
        if (j == i) {
            s->try[n].optional = true;
            s->try[n].ret = LINEAR_NO_RETURN;
        }
        n += j != i || !only_looks(&s->ops[i]);
    }
    if (!has_no_order(s, s->try, n, s->initial)) {
        return false;
    }
    memcpy(s->ops, s->try, n * sizeof *s->ops);
    s->count = n;
    return true;
}

uint32_t linear_shrink(struct linear_op *ops, uint32_t count, uint32_t farthest)
{
    struct shrink s = {.ops = ops,
                       .try = kv_mem_zalloc((count + 1) * sizeof *ops),
                       .count = count,
                       .initial = LINEAR_NIL,
                       .steps_left = SHRINK_STEPS};
    uint64_t end = ops[farthest].ret;
    bool again = true;

    if (s.try == NULL) {
        return count;
    }
    s.count = window(ops, count, 0, end, s.try);
    memcpy(ops, s.try, s.count * sizeof *ops);
    cut_beginning(&s, end);
    for (int round = 0; round < SHRINK_ROUNDS && again; round++) {
        again = false;
        for (uint32_t i = s.count; i > 0 && s.count <= SHRINK_OPS_MAX; i--) {
            again |= loosen(&s, i - 1);
        }
    }
    kv_mem_free(s.try);
    return s.count;
}
