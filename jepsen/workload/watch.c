/* jepsen/workload/watch.c - watchers beside writers, who go on at other nodes.
 *
 * Writers put and delete single keys, and several of one {tag} in a transaction; each
 * write has a number, which is the value that it puts. A watcher listens for a moment
 * through some node and goes on from its position later, mostly through another one: a
 * third of them stay away for thousands of operations. Each has its own keys: one,
 * some, those of a {tag}, of several, all; with or without filter and values before.
 * Rows: jepsen/checker/watch.h.
 *
 * watch-ring: where a node has replicas of some groups only, a client that knows one
 * node cannot watch them all; here each knows all nodes, and libkv goes on by itself.
 *
 * In the end each listens until its position is that of the last write that was
 * acknowledged, or until the node says that it does not keep what came behind it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/watch.h"
#include "jepsen/workload/workload.h"
#include "raft/base/arena.h"
#include "rpc/token.h"

enum {
    WATCH_MS_MIN = 200,
    WATCH_MS_MAX = 1500,
    WATCH_LAST_MS = 9000,   /* A mark of progress comes every 5 s. */
    WATCH_REST_MAX = 100,   /* Operations, */
    WATCH_AWAY_MAX = 3000,  /* of those who stay away for long. */
    WATCH_REFUSED_MAX = 10, /* Then it begins anew. */
    WATCH_SLOT_OF_LAST = 1, /* work.extra: the last one. */
};

_Static_assert((int)WATCH_GROUPS_MAX >= (int)KV_GROUPS_MAX, "a place for each group");
_Static_assert(WORKLOAD_LANES_MAX *WATCH_TAG_KEYS <= WATCH_KEYS_MAX, "and each key");

/* ---- keys ---- */

/* Key numbers and names have the same order. */
static void name_make(char *out, uint32_t key)
{
    snprintf(out, WORKLOAD_KEY_BYTES, "watch/{t%02" PRIu32 "}/%" PRIu32,
             key / WATCH_TAG_KEYS, key % WATCH_TAG_KEYS);
}

static bool digits_read(const char *p, size_t count, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
        *out = *out * 10 + (uint32_t)(p[i] - '0');
    }
    return true;
}

static bool name_read(struct kv_view name, uint32_t *out_key)
{
    static const char form[] = "watch/{t00}/0";
    const char *p = name.data;
    uint32_t tag, sub;

    if (name.len != sizeof form - 1 || memcmp(p, form, 8) != 0 ||
        memcmp(p + 10, "}/", 2) != 0 || !digits_read(p + 8, 2, &tag) ||
        !digits_read(p + 12, 1, &sub) || sub >= WATCH_TAG_KEYS) {
        return false;
    }
    *out_key = tag * WATCH_TAG_KEYS + sub;
    return true;
}

/* What a watcher watches; a function of its number alone. */
static enum kv_watch_what scope_of(const struct workload_state *s, uint32_t watcher,
                                   struct watch_scope *out)
{
    uint32_t tag = watcher % s->setup.keys;
    uint32_t keys = s->setup.keys * WATCH_TAG_KEYS;

    out->only = watcher == 9 ? WATCH_PUTS : watcher == 10 ? WATCH_DELS : WATCH_ALL;
    out->prev = watcher % 2 == 0;
    switch (watcher % 5) {
    case 0: /* One key. */
        out->begin = tag * WATCH_TAG_KEYS + watcher % WATCH_TAG_KEYS;
        out->end = out->begin + 1;
        return KV_WATCH_KEY;
    case 1: /* All of a {tag}. */
        out->begin = tag * WATCH_TAG_KEYS;
        out->end = out->begin + WATCH_TAG_KEYS;
        return KV_WATCH_PREFIX;
    case 2: /* Some of a {tag}. */
        out->begin = tag * WATCH_TAG_KEYS + 1;
        out->end = out->begin + 2;
        return KV_WATCH_RANGE;
    case 3: /* Half of all keys. */
        out->begin = keys / 4;
        out->end = KV_MAX(out->begin + 1, keys * 3 / 4);
        return KV_WATCH_RANGE;
    default:
        out->begin = 0;
        out->end = keys;
        return KV_WATCH_PREFIX;
    }
}

/* ---- watching ---- */

static void watch_make(struct workload_state *s, struct work *w, uint32_t watcher)
{
    struct workload_watcher *wr = &s->watchers[watcher];
    struct watch_scope scope;

    (void)scope_of(s, watcher, &scope);
    w->f = HISTORY_WATCH;
    w->key = watcher;
    w->kind = HISTORY_LIST;
    workload_push(w, scope.begin);
    workload_push(w, scope.end);
    workload_push(w, scope.only);
    workload_push(w, scope.prev);
    workload_push(w, wr->resumes);
    wr->is_busy = true;
    wr->is_slow = watcher % 3 == 2;
}

/* A watcher that is not away; false: none. */
static bool watch_next(struct workload_state *s, struct work *w)
{
    uint32_t at = (uint32_t)prng_below(w->prng, WORKLOAD_WATCHERS);

    for (uint32_t i = 0; i < WORKLOAD_WATCHERS; i++) {
        uint32_t watcher = (at + i) % WORKLOAD_WATCHERS;

        if (!s->watchers[watcher].is_busy && s->watchers[watcher].rest <= s->begun) {
            watch_make(s, w, watcher);
            w->watch_ms = (uint32_t)prng_between(w->prng, WATCH_MS_MIN, WATCH_MS_MAX);
            return true;
        }
    }
    return false;
}

static struct kv_watch_options watch_options(struct workload_state *s, struct work *w)
{
    struct workload_watcher *wr = &s->watchers[w->key];
    struct kv_watch_options o;
    struct watch_scope scope;

    kv_watch_options_init(&o);
    o.what = scope_of(s, w->key, &scope);
    o.only = scope.only == WATCH_PUTS   ? KV_WATCH_PUTS
             : scope.only == WATCH_DELS ? KV_WATCH_DELETES
                                        : KV_WATCH_ALL;
    o.prev = scope.prev;
    name_make(w->name, scope.begin);
    o.key = kv_str(w->name);
    if (o.what == KV_WATCH_PREFIX) { /* "watch/", or "watch/{t00}/" */
        o.key.len = scope.end - scope.begin > WATCH_TAG_KEYS ? 6 : o.key.len - 1;
    } else if (o.what == KV_WATCH_RANGE) {
        name_make(w->end, scope.end);
        o.end = kv_str(w->end);
    }
    if (wr->resumes) {
        o.pos = kv_mem(wr->at.pos, wr->at.len);
        wr->now = wr->at;
    } else {
        memset(&wr->now, 0, sizeof wr->now);
    }
    w->ints_count = 0;
    workload_push(w, WATCH_TIME_OVER);
    return o;
}

/* One event as the checker wants it; false: it makes no sense. */
static bool event_take(struct work *w, const struct kv_event *e, bool prev)
{
    int64_t id = WATCH_NONE;
    int64_t before = prev ? WATCH_NONE : WATCH_NOT_ASKED;
    uint32_t key;

    if (!name_read(e->key, &key) ||
        (e->type == KV_EVENT_PUT && !workload_number(e->value, &id)) ||
        (e->prev.data != NULL && !workload_number(e->prev, &before))) {
        return false;
    }
    workload_push(w, key);
    workload_push(w, e->type == KV_EVENT_PUT   ? WATCH_PUT
                     : e->type == KV_EVENT_DEL ? WATCH_DEL
                                               : WATCH_OTHER);
    workload_push(w, id);
    workload_push(w, (int64_t)e->rev);
    workload_push(w, before);
    return true;
}

/* Takes the position; the groups in which it moved become part of the note. */
static bool position_take(struct workload_watcher *wr, struct work *w,
                          struct kv_view pos, size_t count_at)
{
    uint64_t revs[KV_GROUPS_MAX] = {0};
    struct kv_bytes token = kv_bytes(pos.data, pos.len);
    int64_t moved = 0;

    if (pos.len > sizeof wr->now.pos || !token_is_valid(token, 0)) {
        return false;
    }
    (void)token_raise(token, revs);
    for (uint32_t g = 0; g < KV_GROUPS_MAX; g++) {
        if (revs[g] != wr->now.revs[g]) {
            workload_push(w, g);
            workload_push(w, (int64_t)revs[g]);
            moved++;
        }
    }
    if (w->failed) {
        return true;
    }
    w->ints[count_at] = moved;
    memcpy(wr->now.revs, revs, sizeof revs);
    memcpy(wr->now.pos, pos.data, pos.len);
    wr->now.len = pos.len;
    return true;
}

/* Is everything told that a writer knows of? */
static bool is_level(const struct workload_state *s, const struct workload_watcher *wr)
{
    for (uint32_t g = 0; g < KV_GROUPS_MAX; g++) {
        if (wr->now.revs[g] != 0 && wr->now.revs[g] < s->acked[g]) {
            return false;
        }
    }
    return true;
}

static void watch_rest(struct workload_state *s, struct work *w,
                       struct workload_watcher *wr)
{
    wr->is_busy = false;
    wr->rest = s->begun +
               prng_between(w->prng, 0, wr->is_slow ? WATCH_AWAY_MAX : WATCH_REST_MAX);
}

/* It is over; what was heard counts only where something was. */
static enum work_step watch_end(struct workload_state *s, struct work *w,
                                struct workload_watcher *wr, int error)
{
    bool has_begun = w->ints_count > 1;

    watch_rest(s, w, wr);
    if (error == KV_ERR_COMPACTED) {
        w->ints[0] = WATCH_COMPACTED;
        wr->refused++;
    } else if (!has_begun || (w->extra == WATCH_SLOT_OF_LAST && !is_level(s, wr))) {
        return WORK_FAIL;
    } else {
        wr->refused = 0;
    }
    if (has_begun) {
        wr->at = wr->now;
        wr->resumes = true;
    }
    if (wr->refused >= WATCH_REFUSED_MAX) {
        wr->resumes = false;
        wr->refused = 0;
    }
    return WORK_OK;
}

static enum work_step watch_heard(struct workload_state *s, struct work *w,
                                  const struct kv_watch_batch *batch)
{
    struct workload_watcher *wr = &s->watchers[w->key];
    struct watch_scope scope;
    size_t count_at = w->ints_count + 1;

    if (batch == NULL || batch->error != 0) {
        return watch_end(s, w, wr, batch == NULL ? 0 : batch->error);
    }
    (void)scope_of(s, w->key, &scope);
    workload_push(w, (int64_t)batch->events_count);
    workload_push(w, 0);
    for (size_t i = 0; i < batch->events_count; i++) {
        if (!event_take(w, &batch->events[i], scope.prev)) {
            watch_rest(s, w, wr);
            return WORK_BAD;
        }
    }
    if (!position_take(wr, w, batch->pos, count_at)) {
        watch_rest(s, w, wr);
        return WORK_BAD;
    }
    if (w->extra == WATCH_SLOT_OF_LAST && is_level(s, wr)) {
        return watch_end(s, w, wr, 0);
    }
    return WORK_MORE;
}

/* ---- writing ---- */

static void watch_work_next(struct workload_state *s, struct work *w)
{
    uint64_t puts = 0;
    uint64_t dels = 0;
    uint64_t changes;

    s->begun++;
    if (workload_is_reader(s, w->worker) && watch_next(s, w)) {
        return;
    }
    w->f = HISTORY_WRITE;
    w->key = (uint32_t)prng_below(w->prng, s->setup.keys);
    changes =
        prng_below(w->prng, 3) == 0 ? prng_between(w->prng, 2, WATCH_TAG_KEYS) : 1;
    for (uint64_t i = 0; i < changes; i++) {
        uint64_t bit = UINT64_C(1) << prng_below(w->prng, WATCH_TAG_KEYS);

        if (((puts | dels) & bit) == 0) {
            *(prng_below(w->prng, 4) == 0 ? &dels : &puts) |= bit;
        }
    }
    w->kind = HISTORY_LIST;
    workload_push(w, (int64_t)s->begun);
    workload_push(w, (int64_t)puts);
    workload_push(w, (int64_t)dels);
}

static struct kv_request watch_request(struct workload_state *s, struct work *w)
{
    struct work_txn *t = &w->txn;
    uint64_t puts = (uint64_t)w->ints[1];
    uint64_t dels = (uint64_t)w->ints[2];
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, w->ints[0]);
    uint32_t n = 0;

    (void)s;
    workload_text(w, text, (size_t)len);
    for (uint32_t i = 0; i < WATCH_TAG_KEYS; i++) {
        if (((puts | dels) >> i & 1) != 0) {
            name_make(t->keys[n].name, w->key * WATCH_TAG_KEYS + i);
            t->ops[n] = (struct kv_txn_op){
                .op = (dels >> i & 1) != 0 ? KV_OP_DEL : KV_OP_PUT,
                .key = kv_str(t->keys[n].name),
                .value =
                    (dels >> i & 1) != 0 ? kv_nil() : kv_mem(w->text, w->text_len)};
            n++;
        }
    }
    if (n == 1) {
        return t->ops[0].op == KV_OP_DEL ? kv_del(t->ops[0].key)
                                         : kv_put(t->ops[0].key, t->ops[0].value);
    }
    t->txn = (struct kv_txn){.then = t->ops, .then_count = n};
    return kv_transact(&t->txn);
}

static enum work_step watch_result(struct workload_state *s, struct work *w,
                                   const struct kv_result *r)
{
    uint64_t puts = (uint64_t)w->ints[1];
    uint64_t dels = (uint64_t)w->ints[2];
    uint64_t gone = 0;
    size_t n = 0;

    if (r->op == KV_OP_TXN &&
        (!r->succeeded ||
         r->results_count != (size_t)__builtin_popcountll(puts | dels))) {
        return WORK_BAD;
    }
    for (uint32_t i = 0; i < WATCH_TAG_KEYS; i++) {
        if ((dels >> i & 1) != 0 &&
            (r->op == KV_OP_TXN ? r->results[n].deleted : r->deleted)) {
            gone |= UINT64_C(1) << i;
        }
        n += (puts | dels) >> i & 1;
    }
    w->ints[2] = (int64_t)gone;
    if (r->at.group < KV_GROUPS_MAX && (puts | gone) != 0) {
        s->acked[r->at.group] = KV_MAX(s->acked[r->at.group], r->rev);
    }
    return WORK_OK;
}

/* Each watcher through one node. */
static bool watch_last(struct workload_state *s, uint32_t at, struct work *w)
{
    uint32_t node = workload_node(&s->setup, w->worker);

    if (at >= WORKLOAD_WATCHERS / s->setup.nodes) {
        return false;
    }
    watch_make(s, w, at * s->setup.nodes + node - 1);
    w->extra = WATCH_SLOT_OF_LAST;
    w->watch_ms = WATCH_LAST_MS;
    return true;
}

const struct workload workload_watch = {
    .name = "watch",
    .what = "writers, and watchers who go away and go on at other nodes",
    .history = HISTORY_WATCHES,
    .checks = {WORKLOAD_CHECK_WATCH},
    .fs = {HISTORY_WRITE, HISTORY_WATCH},
    .fs_count = 2,
    .next = watch_work_next,
    .request = watch_request,
    .watch = watch_options,
    .heard = watch_heard,
    .result = watch_result,
    .last = watch_last,
};

const struct workload workload_watch_ring = {
    .name = "watch-ring",
    .what = "the same by clients that know all nodes, for --replicas 3",
    .history = HISTORY_WATCHES,
    .checks = {WORKLOAD_CHECK_WATCH},
    .fs = {HISTORY_WRITE, HISTORY_WATCH},
    .fs_count = 2,
    .knows_all = true,
    .next = watch_work_next,
    .request = watch_request,
    .watch = watch_options,
    .heard = watch_heard,
    .result = watch_result,
    .last = watch_last,
};
