/* tests/lib/naive_order.c - is there an order of these operations? Tries them all. */
#include "tests/lib/naive_order.h"

static bool try_all(const struct history *h, naive_model *model,
                    const struct history_op *const *calls, uint32_t count,
                    uint32_t taken, int64_t state)
{
    uint64_t first_end = HISTORY_NO_MATE;
    bool done = true;

    for (uint32_t i = 0; i < count; i++) {
        bool has_end = calls[i]->mate != HISTORY_NO_MATE &&
                       h->ops[calls[i]->mate].type == HISTORY_OK;

        if ((taken >> i & 1) == 0 && has_end) {
            done = false;
            first_end = KV_MIN(first_end, calls[i]->mate);
        }
    }
    for (uint32_t i = 0; i < count && !done; i++) {
        const struct history_op *end =
            calls[i]->mate == HISTORY_NO_MATE ? NULL : &h->ops[calls[i]->mate];
        int64_t next = state;

        if ((taken >> i & 1) == 0 && calls[i]->index < first_end &&
            model(h, calls[i], end != NULL && end->type == HISTORY_OK ? end : NULL,
                  &next)) {
            done = try_all(h, model, calls, count, taken | 1u << i, next);
        }
    }
    return done;
}

bool naive_order(const struct history *h, naive_model *model)
{
    const struct history_op *calls[NAIVE_OPS_MAX];
    uint32_t count = 0;

    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];

        if (op->type == HISTORY_INVOKE &&
            (op->mate == HISTORY_NO_MATE || h->ops[op->mate].type != HISTORY_FAIL)) {
            KV_ASSERT(count < NAIVE_OPS_MAX);
            calls[count++] = op;
        }
    }
    return try_all(h, model, calls, count, 0, 0);
}

bool naive_set(const struct history *h, const struct history_op *call,
               const struct history_op *end, int64_t *state)
{
    int64_t sum = 0;

    if (call->f == HISTORY_ADD) {
        *state |= (int64_t)1 << history_ints(h, &call->value)[0];
        return true;
    }
    for (uint32_t i = 0; end != NULL && i < end->value.count; i++) {
        sum |= (int64_t)1 << history_ints(h, &end->value)[i];
    }
    return end == NULL || sum == *state;
}

bool naive_counter(const struct history *h, const struct history_op *call,
                   const struct history_op *end, int64_t *state)
{
    if (call->f == HISTORY_ADD) {
        *state += history_ints(h, &call->value)[0];
        return true;
    }
    return end == NULL || history_ints(h, &end->value)[0] == *state;
}
