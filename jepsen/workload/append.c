/* jepsen/workload/append.c - list-append on one key: read the list, add one by cas.
 *
 * A list is a text "1 2 3". A transaction [[:r k nil] [:append k v]] is a get and a cas
 * from what was read; where the cas does not match, nothing happened and it failed. So
 * each transaction reads and writes one key atomically, without kv.txn.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/workload/workload.h"
#include "raft/base/check.h"

enum {
    APPEND_TRIES = 4, /* Fresh reads after a cas that did not match. */
    STAGE_READ = 0,   /* Even stages read, odd ones write. */
};

/* The transaction as it is asked: what the list holds is not known. */
static void txn_make(struct work *w, bool appends)
{
    const struct history_micro micros[2] = {
        {.key = w->key, .is_nil = true},
        {.is_append = true, .key = w->key, .element = w->extra},
    };

    w->f = HISTORY_TXN;
    snprintf(w->name, sizeof w->name, "list/%u", w->key);
    workload_micros(w, micros, appends ? 2 : 1);
}

static void append_next(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = workload_lane(s, w);
    bool appends = !workload_is_reader(s, w->worker);

    w->extra = -1;
    if (appends) {
        w->extra = ++lane->counter;
    }
    txn_make(w, appends);
}

static struct kv_request append_request(struct workload_state *s, struct work *w)
{
    struct kv_view old =
        w->expected_len > 0 ? kv_mem(w->expected, w->expected_len) : kv_nil();

    (void)s;
    if (w->stage % 2 == STAGE_READ) {
        return kv_get(kv_str(w->name));
    }
    return kv_cas(kv_str(w->name), old, kv_mem(w->text, w->text_len));
}

/* The transaction as it was answered: the list that `expected` holds. */
static enum work_step txn_done(struct work *w, bool appends)
{
    struct history_micro micros[2] = {
        {.key = w->key, .is_nil = w->expected_len == 0},
        {.is_append = true, .key = w->key, .element = w->extra},
    };

    w->ints_count = 0;
    if (!workload_list(w, kv_mem(w->expected, w->expected_len))) {
        return WORK_BAD;
    }
    micros[0].ids = w->ints;
    micros[0].ids_count = w->ints_count;
    workload_micros(w, micros, appends ? 2 : 1);
    return WORK_OK;
}

static enum work_step append_result(struct workload_state *s, struct work *w,
                                    const struct kv_result *r)
{
    char element[24];
    int len;

    (void)s;
    if (w->stage % 2 != STAGE_READ) {
        if (r->swapped) {
            return txn_done(w, true);
        }
        return w->stage / 2 + 1 < APPEND_TRIES ? WORK_MORE : WORK_FAIL;
    }
    workload_expect(w, r->found ? r->value.data : "", r->found ? r->value.len : 0);
    if (w->extra < 0) {
        return txn_done(w, false);
    }
    len = snprintf(element, sizeof element, "%s%" PRId64,
                   w->expected_len > 0 ? " " : "", w->extra);
    workload_text(w, w->expected, w->expected_len);
    if (!w->failed) {
        KV_ASSERT(w->text_len + (size_t)len <= w->text_cap); /* WORKLOAD_ROOM */
        memcpy(w->text + w->text_len, element, (size_t)len);
        w->text_len += (size_t)len;
    }
    return WORK_MORE;
}

static bool append_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    w->extra = -1;
    txn_make(w, false);
    return true;
}

const struct workload workload_append = {
    .name = "append",
    .what = "transactions that read and append to one list, by get and cas",
    .history = HISTORY_APPEND,
    .checks = {WORKLOAD_CHECK_APPEND, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_TXN},
    .fs_count = 1,
    .next = append_next,
    .request = append_request,
    .result = append_result,
    .last = append_last,
};
