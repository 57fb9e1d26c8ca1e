/* jepsen/workload/workload.c - the list of workloads, and what they share. */
#include "jepsen/workload/workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"

/* A workload is known by standing here. */
static const struct workload *const workloads[] = {
    &workload_register,
    &workload_set,
    &workload_counter,
    &workload_append,
    &workload_ids,
    &workload_txn,
    &workload_bank,
    &workload_once,
    &workload_session,
    &workload_watch,
    &workload_watch_ring,
    &workload_lockset,
    &workload_lockset_unfenced,
};

const struct workload *workload_at(uint32_t at)
{
    return at < KV_ARRAY_COUNT(workloads) ? workloads[at] : NULL;
}

const struct workload *workload_find(const char *name)
{
    for (uint32_t i = 0; i < KV_ARRAY_COUNT(workloads); i++) {
        if (strcmp(workloads[i]->name, name) == 0) {
            return workloads[i];
        }
    }
    return NULL;
}

/* ---- state: lanes and keys ---- */

static void lane_fresh(struct workload_state *s, struct workload_lane *lane,
                       struct prng *prng)
{
    uint32_t n = s->setup.ops_per_key;

    *lane = (struct workload_lane){
        .key = s->keys_count++,
        .ops_max = (uint32_t)prng_between(prng, n - n / 10, n + n / 10),
    };
}

void workload_state_init(struct workload_state *s, const struct workload_setup *setup,
                         struct prng *prng)
{
    KV_ASSERT(setup->keys >= 1 && setup->keys <= WORKLOAD_LANES_MAX);
    KV_ASSERT(setup->workers >= setup->keys);
    KV_ASSERT(setup->nodes >= 1 && setup->ops_per_key >= 1);
    memset(s, 0, sizeof *s);
    s->setup = *setup;
    for (uint32_t i = 0; i < setup->keys; i++) {
        lane_fresh(s, &s->lanes[i], prng);
    }
}

struct workload_lane *workload_lane(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = &s->lanes[w->worker % s->setup.keys];

    if (lane->ops >= lane->ops_max) {
        lane_fresh(s, lane, w->prng);
    }
    lane->ops++;
    w->key = lane->key;
    return lane;
}

bool workload_is_reader(const struct workload_state *s, uint32_t worker)
{
    return worker / s->setup.keys % 2 == 1;
}

uint32_t workload_node(const struct workload_setup *setup, uint32_t worker)
{
    uint32_t lane = worker % setup->keys;
    uint32_t place = worker / setup->keys;

    return (place / 2 + lane) % setup->nodes + 1;
}

/* ---- values ---- */

void workload_push(struct work *w, int64_t v)
{
    if (w->ints_count == w->ints_cap) {
        uint32_t cap = w->ints_cap == 0 ? 16 : w->ints_cap * 2;
        int64_t *ints = kv_mem_realloc(w->ints, cap * sizeof *ints);

        if (ints == NULL) {
            w->failed = true;
            return;
        }
        w->ints = ints;
        w->ints_cap = cap;
    }
    w->ints[w->ints_count++] = v;
}

/* Puts bytes behind the first `at`. */
static void bytes_set(struct work *w, char **text, size_t *cap, size_t *out_len,
                      size_t at, struct kv_view v)
{
    size_t need = at + v.len + WORKLOAD_ROOM;

    if (need > *cap) {
        char *grown = kv_mem_realloc(*text, need);

        if (grown == NULL) {
            w->failed = true;
            return;
        }
        *text = grown;
        *cap = need;
    }
    if (v.len > 0) {
        memcpy(*text + at, v.data, v.len);
    }
    *out_len = at + v.len;
}

void workload_text(struct work *w, const void *data, size_t len)
{
    bytes_set(w, &w->text, &w->text_cap, &w->text_len, 0, kv_mem(data, len));
}

void workload_expect(struct work *w, const void *data, size_t len)
{
    workload_expect_more(w, kv_mem(data, len), true);
}

void workload_expect_more(struct work *w, struct kv_view v, bool first)
{
    bytes_set(w, &w->expected, &w->expected_cap, &w->expected_len,
              first ? 0 : w->expected_len, v);
}

bool workload_number(struct kv_view v, int64_t *out)
{
    char text[24];
    char *rest = NULL;
    long long n;

    if (v.len == 0 || v.len >= sizeof text) {
        return false;
    }
    memcpy(text, v.data, v.len);
    text[v.len] = '\0';
    errno = 0;
    n = strtoll(text, &rest, 10);
    if (errno != 0 || rest != text + v.len || text[0] == ' ' || text[0] == '+') {
        return false;
    }
    *out = n;
    return true;
}

bool workload_list(struct work *w, struct kv_view v)
{
    const char *p = v.data;
    const char *end = p + v.len;
    int64_t number;

    while (p < end) {
        const char *space = memchr(p, ' ', (size_t)(end - p));
        size_t len = (size_t)((space == NULL ? end : space) - p);

        if (!workload_number(kv_mem(p, len), &number)) {
            return false;
        }
        workload_push(w, number);
        p += len + (space != NULL);
        if (space != NULL && p == end) {
            return false;
        }
    }
    return true;
}

void workload_micros(struct work *w, const struct history_micro *micros, uint32_t count)
{
    uint32_t need = history_micro_pack(micros, count, NULL, 0);
    int64_t *packed = kv_mem_zalloc((need + 1) * sizeof *packed);

    w->kind = HISTORY_MICRO;
    if (packed == NULL || w->failed) {
        kv_mem_free(packed);
        w->failed = true;
        w->ints_count = 0;
        return;
    }
    (void)history_micro_pack(micros, count, packed, need);
    kv_mem_free(w->ints);
    w->ints = packed;
    w->ints_count = need;
    w->ints_cap = need + 1;
}

/* ---- transactions ---- */

struct kv_request workload_txn_read(struct work *w)
{
    struct work_txn *t = &w->txn;

    for (uint32_t i = 0; i < t->keys_count; i++) {
        t->ops[i] = (struct kv_txn_op){.op = KV_OP_GET, .key = kv_str(t->keys[i].name)};
    }
    t->txn = (struct kv_txn){.then = t->ops, .then_count = t->keys_count};
    return kv_transact(&t->txn);
}

struct kv_request workload_txn_write(struct work *w, uint32_t ops_count)
{
    struct work_txn *t = &w->txn;

    for (uint32_t i = 0; i < t->keys_count; i++) {
        t->compares[i] = (struct kv_compare){.what = KV_WHAT_REV,
                                             .test = KV_TEST_EQ,
                                             .key = kv_str(t->keys[i].name),
                                             .rev = t->keys[i].rev};
    }
    t->txn = (struct kv_txn){.compares = t->compares,
                             .compares_count = t->keys_count,
                             .then = t->ops,
                             .then_count = ops_count};
    return kv_transact(&t->txn);
}

void workload_work_close(struct work *w)
{
    kv_mem_free(w->ints);
    kv_mem_free(w->text);
    kv_mem_free(w->expected);
    *w = (struct work){.worker = w->worker};
}
