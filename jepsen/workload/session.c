/* jepsen/workload/session.c - puts of growing numbers, reads of level session.
 *
 * Every worker writes and reads every key, through the node that it knows, so mostly
 * not through the leader. Its client keeps a token; before a third of its reads a
 * worker is given the token of another one, whose process number is the value that the
 * read is begun with.
 */
#include <inttypes.h>
#include <stdio.h>

#include "jepsen/workload/workload.h"

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "session/%u", w->key);
}

static void session_next(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = &s->lanes[prng_below(w->prng, s->setup.keys)];

    w->key = lane->key;
    read_make(w);
    if (prng_below(w->prng, 2) == 0) {
        w->f = HISTORY_WRITE;
        w->kind = HISTORY_INT;
        workload_push(w, ++lane->counter);
    }
}

static struct kv_request session_request(struct workload_state *s, struct work *w)
{
    char text[24];
    int len;

    (void)s;
    if (w->f == HISTORY_READ) {
        return kv_get(kv_str(w->name));
    }
    len = snprintf(text, sizeof text, "%" PRId64, w->ints[0]);
    workload_text(w, text, (size_t)len);
    return kv_put(kv_str(w->name), kv_mem(w->text, w->text_len));
}

static enum work_step session_result(struct workload_state *s, struct work *w,
                                     const struct kv_result *r)
{
    int64_t value;

    (void)s;
    if (w->f == HISTORY_WRITE) {
        return WORK_OK;
    }
    w->ints_count = 0; /* Whose token it was given. */
    w->kind = HISTORY_NIL;
    if (r->found) {
        if (!workload_number(r->value, &value)) {
            return WORK_BAD;
        }
        w->kind = HISTORY_INT;
        workload_push(w, value);
    }
    return WORK_OK;
}

static bool session_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_session = {
    .name = "session",
    .what = "puts and reads of level session, with tokens that are passed on",
    .history = HISTORY_REGISTER,
    .checks = {WORKLOAD_CHECK_SESSION},
    .fs = {HISTORY_READ, HISTORY_WRITE},
    .fs_count = 2,
    .level = KV_LEVEL_SESSION,
    .passes_tokens = true,
    .next = session_next,
    .request = session_request,
    .result = session_result,
    .last = session_last,
};
