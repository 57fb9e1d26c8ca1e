/* jepsen/workload/append.c - list-append on one key: read the list, add one by cas.
 *
 * A list is a text "1 2 3". A transaction [[:r k nil] [:append k v]] is a get and a cas
 * from what was read; where the cas does not match, nothing happened and it failed. So
 * each transaction reads and writes one key atomically, with what kvd offers today.
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

static void micros_set(struct work *w, const struct history_micro *micros,
                       uint32_t count)
{
    uint32_t need = history_micro_pack(micros, count, NULL, 0);

    w->kind = HISTORY_MICRO;
    w->ints_count = 0;
    for (uint32_t i = 0; i < need && !w->failed; i++) {
        workload_push(w, 0);
    }
    if (!w->failed) {
        (void)history_micro_pack(micros, count, w->ints, need);
    }
}

/* The transaction as it is asked: what the list holds is not known. */
static void txn_make(struct work *w, bool appends)
{
    const struct history_micro micros[2] = {
        {.key = w->key, .is_nil = true},
        {.is_append = true, .key = w->key, .element = w->extra},
    };

    w->f = HISTORY_TXN;
    snprintf(w->name, sizeof w->name, "list/%u", w->key);
    micros_set(w, micros, appends ? 2 : 1);
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

/* Reads "1 2 3" into the value's place: ints[0..count). */
static bool list_parse(struct work *w, struct kv_view v)
{
    const char *p = v.data;
    const char *end = p + v.len;
    int64_t element;

    w->ints_count = 0;
    while (p < end) {
        const char *space = memchr(p, ' ', (size_t)(end - p));
        size_t len = (size_t)((space == NULL ? end : space) - p);

        if (!workload_number(kv_mem(p, len), &element)) {
            return false;
        }
        workload_push(w, element);
        p += len + (space != NULL);
        if (space != NULL && p == end) {
            return false;
        }
    }
    return true;
}

/* The transaction as it was answered: the list that `expected` holds. */
static enum work_step txn_done(struct work *w, bool appends)
{
    struct history_micro micros[2] = {
        {.key = w->key, .is_nil = w->expected_len == 0},
        {.is_append = true, .key = w->key, .element = w->extra},
    };
    struct work packed = {.worker = w->worker};

    if (!list_parse(w, kv_mem(w->expected, w->expected_len))) {
        return WORK_BAD;
    }
    micros[0].ids = w->ints;
    micros[0].ids_count = w->ints_count;
    micros_set(&packed, micros, appends ? 2 : 1);
    w->failed = w->failed || packed.failed;
    w->ints_count = 0;
    for (uint32_t i = 0; i < packed.ints_count; i++) {
        workload_push(w, packed.ints[i]);
    }
    w->kind = HISTORY_MICRO;
    workload_work_close(&packed);
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
