/* jepsen/workload/ids.c - unique ids: kv.incr as a generator.
 *
 * Each lane is a generator of its own; its number is mixed in, so that ids are unique
 * over all of them.
 */
#include <stdio.h>

#include "jepsen/workload/workload.h"

static void ids_next(struct workload_state *s, struct work *w)
{
    /* Always the lane's first key: a generator does not start again at 1. */
    w->key = w->worker % s->setup.keys;
    w->f = HISTORY_GENERATE;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "ids/%u", w->key);
}

static struct kv_request ids_request(struct workload_state *s, struct work *w)
{
    (void)s;
    return kv_incr(kv_str(w->name), 1);
}

static enum work_step ids_result(struct workload_state *s, struct work *w,
                                 const struct kv_result *r)
{
    if (r->number <= 0 || r->number > INT64_MAX / WORKLOAD_LANES_MAX) {
        return WORK_BAD;
    }
    w->kind = HISTORY_INT;
    workload_push(w, r->number * s->setup.keys + w->key);
    return WORK_OK;
}

const struct workload workload_ids = {
    .name = "ids",
    .what = "unique ids from increments",
    .history = HISTORY_UNIQUE,
    .checks = {WORKLOAD_CHECK_IDS, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_GENERATE},
    .fs_count = 1,
    .next = ids_next,
    .request = ids_request,
    .result = ids_result,
};
