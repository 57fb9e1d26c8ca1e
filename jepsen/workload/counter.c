/* jepsen/workload/counter.c - counters: add by kv.incr, read by kv.get.
 *
 * An increment that is applied twice, or lost, shows in the reads that follow.
 */
#include <stdio.h>

#include "jepsen/workload/workload.h"

enum {
    COUNTER_DELTA_MAX = 5
};

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "counter/%u", w->key);
}

static void counter_next(struct workload_state *s, struct work *w)
{
    workload_lane(s, w);
    read_make(w);
    if (!workload_is_reader(s, w->worker)) {
        w->f = HISTORY_ADD;
        w->kind = HISTORY_INT;
        workload_push(w, (int64_t)prng_between(w->prng, 1, COUNTER_DELTA_MAX));
    }
}

static struct kv_request counter_request(struct workload_state *s, struct work *w)
{
    (void)s;
    if (w->f == HISTORY_READ) {
        return kv_get(kv_str(w->name));
    }
    return kv_incr(kv_str(w->name), w->ints[0]);
}

static enum work_step counter_result(struct workload_state *s, struct work *w,
                                     const struct kv_result *r)
{
    int64_t value = 0;

    (void)s;
    if (w->f == HISTORY_ADD) {
        return WORK_OK;
    }
    if (r->found && !workload_number(r->value, &value)) {
        return WORK_BAD;
    }
    w->kind = HISTORY_INT; /* A counter that nobody added to is 0. */
    workload_push(w, value);
    return WORK_OK;
}

static bool counter_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_counter = {
    .name = "counter",
    .what = "increments and reads of counters",
    .history = HISTORY_COUNTER,
    .checks = {WORKLOAD_CHECK_COUNTER},
    .fs = {HISTORY_READ, HISTORY_ADD},
    .fs_count = 2,
    .next = counter_next,
    .request = counter_request,
    .result = counter_result,
    .last = counter_last,
};
