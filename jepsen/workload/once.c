/* jepsen/workload/once.c - increments by clients that send again, read by kv.get.
 *
 * The workers' clients have sessions and retries on and know every node: an increment
 * whose answer was lost is sent again, and must count once. So a counter is in the end
 * exactly what was acknowledged, and hardly anything is unknown.
 */
#include <stdio.h>

#include "jepsen/workload/workload.h"

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "once/%u", w->key);
}

static void once_next(struct workload_state *s, struct work *w)
{
    workload_lane(s, w);
    read_make(w);
    if (!workload_is_reader(s, w->worker) || prng_below(w->prng, 2) == 0) {
        w->f = HISTORY_ADD;
        w->kind = HISTORY_INT;
        workload_push(w, 1);
    }
}

static struct kv_request once_request(struct workload_state *s, struct work *w)
{
    (void)s;
    if (w->f == HISTORY_READ) {
        return kv_get(kv_str(w->name));
    }
    return kv_incr(kv_str(w->name), w->ints[0]);
}

static enum work_step once_result(struct workload_state *s, struct work *w,
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

static bool once_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_once = {
    .name = "once",
    .what = "increments by clients that send again what got no answer",
    .history = HISTORY_COUNTER,
    .checks = {WORKLOAD_CHECK_COUNTER, WORKLOAD_CHECK_ONCE},
    .fs = {HISTORY_READ, HISTORY_ADD},
    .fs_count = 2,
    .retries = true,
    .next = once_next,
    .request = once_request,
    .result = once_result,
    .last = once_last,
};
