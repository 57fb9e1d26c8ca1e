/* jepsen/workload/register.c - registers with few values: read, write, cas.
 *
 * Values are 0 to 4, so that a stale or lost value is soon contradicted and a cas has
 * a chance to match.
 */
#include <inttypes.h>
#include <stdio.h>

#include "jepsen/workload/workload.h"

enum {
    REGISTER_VALUES = 5
};

static void name_set(struct work *w)
{
    snprintf(w->name, sizeof w->name, "register/%u", w->key);
}

static int64_t value_draw(struct work *w)
{
    return (int64_t)prng_below(w->prng, REGISTER_VALUES);
}

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    name_set(w);
}

static void register_next(struct workload_state *s, struct work *w)
{
    workload_lane(s, w);
    if (workload_is_reader(s, w->worker)) {
        read_make(w);
        return;
    }
    name_set(w);
    if (prng_below(w->prng, 3) == 0) { /* One write to two cas. */
        w->f = HISTORY_WRITE;
        w->kind = HISTORY_INT;
        workload_push(w, value_draw(w));
    } else {
        w->f = HISTORY_CAS;
        w->kind = HISTORY_PAIR;
        workload_push(w, value_draw(w));
        workload_push(w, value_draw(w));
    }
}

static struct kv_request register_request(struct workload_state *s, struct work *w)
{
    char text[24];
    int len;

    (void)s;
    if (w->f == HISTORY_READ) {
        return kv_get(kv_str(w->name));
    }
    len = snprintf(text, sizeof text, "%" PRId64, w->ints[w->ints_count - 1]);
    workload_text(w, text, (size_t)len);
    if (w->f == HISTORY_WRITE) {
        return kv_put(kv_str(w->name), kv_mem(w->text, w->text_len));
    }
    len = snprintf(text, sizeof text, "%" PRId64, w->ints[0]);
    workload_expect(w, text, (size_t)len);
    return kv_cas(kv_str(w->name), kv_mem(w->expected, w->expected_len),
                  kv_mem(w->text, w->text_len));
}

static enum work_step register_result(struct workload_state *s, struct work *w,
                                      const struct kv_result *r)
{
    int64_t value;

    (void)s;
    if (w->f == HISTORY_CAS) {
        return r->swapped ? WORK_OK : WORK_FAIL;
    }
    if (w->f == HISTORY_READ && r->found) {
        if (!workload_number(r->value, &value)) {
            return WORK_BAD;
        }
        w->kind = HISTORY_INT;
        workload_push(w, value);
    }
    return WORK_OK;
}

static bool register_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_register = {
    .name = "register",
    .what = "read, write and cas of registers with the values 0 to 4",
    .history = HISTORY_REGISTER,
    .checks = {WORKLOAD_CHECK_LINEAR, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_READ, HISTORY_WRITE, HISTORY_CAS},
    .fs_count = 3,
    .next = register_next,
    .request = register_request,
    .result = register_result,
    .last = register_last,
};
