/* jepsen/workload/workload.c - the list of workloads, and what they share. */
#include "jepsen/workload/workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"

/* A workload is known by standing here. */
static const struct workload *const workloads[] = {
    &workload_register, &workload_set, &workload_counter,
    &workload_append,   &workload_ids,
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
    *s = (struct workload_state){.setup = *setup};
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

static void bytes_set(struct work *w, char **text, size_t *cap, size_t *out_len,
                      struct kv_view v)
{
    size_t need = v.len + WORKLOAD_ROOM;

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
        memcpy(*text, v.data, v.len);
    }
    *out_len = v.len;
}

void workload_text(struct work *w, const void *data, size_t len)
{
    bytes_set(w, &w->text, &w->text_cap, &w->text_len, kv_mem(data, len));
}

void workload_expect(struct work *w, const void *data, size_t len)
{
    bytes_set(w, &w->expected, &w->expected_cap, &w->expected_len, kv_mem(data, len));
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

void workload_work_close(struct work *w)
{
    kv_mem_free(w->ints);
    kv_mem_free(w->text);
    kv_mem_free(w->expected);
    *w = (struct work){.worker = w->worker};
}
