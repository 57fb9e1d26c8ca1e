/* jepsen/workload/set.c - sets of unique elements: add one, read all.
 *
 * Each element is a key of its own below the set's prefix, so a set lies in many slots
 * and groups; a read is a range over the prefix, page by page. Pages and groups are
 * read one after the other, so a read promises only what a set checker asks: every
 * element whose add ended before the read began.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/workload/workload.h"

enum {
    SET_PAGE = 256 /* Items per request. */
};

static void read_make(struct work *w)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    snprintf(w->name, sizeof w->name, "set/%u/", w->key);
    snprintf(w->end, sizeof w->end, "set/%u0", w->key); /* '0' follows '/'. */
}

static void set_next(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = workload_lane(s, w);

    if (prng_below(w->prng, 5) == 0) { /* One read to four adds. */
        read_make(w);
        return;
    }
    w->f = HISTORY_ADD;
    w->kind = HISTORY_INT;
    workload_push(w, lane->counter);
    snprintf(w->name, sizeof w->name, "set/%u/%" PRId64, w->key, lane->counter);
    lane->counter++;
}

static struct kv_request set_request(struct workload_state *s, struct work *w)
{
    struct kv_request request;

    (void)s;
    if (w->f == HISTORY_ADD) {
        return kv_put(kv_str(w->name), kv_str("x"));
    }
    request = kv_range(w->stage == 0 ? kv_str(w->name) : kv_mem(w->text, w->text_len),
                       kv_str(w->end));
    request.limit = SET_PAGE;
    return request;
}

/* The element of a key "set/KEY/ELEMENT"; false when the key is none of this set. */
static bool element_of(const struct work *w, struct kv_view key, int64_t *out)
{
    char prefix[WORKLOAD_KEY_BYTES];
    size_t len;

    snprintf(prefix, sizeof prefix, "set/%u/", w->key);
    len = strlen(prefix);
    if (key.len <= len || memcmp(key.data, prefix, len) != 0) {
        return false;
    }
    return workload_number(kv_mem((const char *)key.data + len, key.len - len), out);
}

static enum work_step set_result(struct workload_state *s, struct work *w,
                                 const struct kv_result *r)
{
    int64_t element;

    (void)s;
    if (w->f == HISTORY_ADD) {
        return WORK_OK;
    }
    w->kind = HISTORY_LIST;
    for (size_t i = 0; i < r->items_count; i++) {
        if (!element_of(w, r->items[i].key, &element)) {
            return WORK_BAD;
        }
        workload_push(w, element);
    }
    if (!r->more) {
        return WORK_OK;
    }
    if (r->next.len == 0) {
        return WORK_BAD;
    }
    workload_text(w, r->next.data, r->next.len); /* It may hold any bytes. */
    return WORK_MORE;
}

static bool set_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    read_make(w);
    return true;
}

const struct workload workload_set = {
    .name = "set",
    .what = "add unique elements over all groups, read all of them by range",
    .history = HISTORY_SET,
    .checks = {WORKLOAD_CHECK_SET, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_READ, HISTORY_ADD},
    .fs_count = 2,
    .next = set_next,
    .request = set_request,
    .result = set_result,
    .last = set_last,
};
