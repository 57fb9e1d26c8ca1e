/* tests/sim/truth.c - what each revision changed; do all replicas say the same? */
#include "tests/sim/truth.h"

#include <inttypes.h>

#include "raft/base/arena.h"
#include "raft/base/hash.h"
#include "server/group.h"
#include "server/history.h"
#include "tests/sim/kinds.h"

enum {
    TRUTH_KEYS = 4096, /* Of a seed, at most half of that. */
};

/* ---- taking in ---- */

static struct sim_truth_rev *rev_of(struct sim *s, uint32_t group, uint64_t rev)
{
    struct sim_truth *t = &s->truth[group];

    if (rev >= t->cap) {
        size_t cap = KV_MAX((size_t)rev + 1, KV_MAX(t->cap * 2, (size_t)1024));

        t->revs = kv_mem_realloc(t->revs, cap * sizeof *t->revs);
        KV_ASSERT(t->revs != NULL);
        memset(t->revs + t->cap, 0, (cap - t->cap) * sizeof *t->revs);
        t->cap = cap;
    }
    return &t->revs[rev];
}

static void rev_note(struct sim *s, uint32_t node, uint32_t group, uint64_t rev,
                     struct kv_bytes changes)
{
    struct sim_truth_rev *r = rev_of(s, group, rev);

    if (r->is_known) {
        if (!kv_bytes_equal(kv_bytes(r->changes, r->len), changes)) {
            judge_fail(&s->judge, JUDGE_WATCHES,
                       "group %u: node %u tells of revision %" PRIu64
                       " other changes than node %u did",
                       group, node, rev, r->node);
        }
        return;
    }
    r->is_known = true;
    r->node = node;
    r->len = (uint32_t)changes.len;
    s->truth[group].newest = KV_MAX(s->truth[group].newest, rev);
    if (changes.len > 0) {
        r->changes = kv_mem_zalloc(changes.len);
        KV_ASSERT(r->changes != NULL);
        memcpy(r->changes, changes.data, changes.len);
    }
}

static void group_look(struct sim *s, uint32_t id, struct group *g)
{
    uint32_t group = group_id_get(g);
    struct sim_truth_seen *seen = &s->truth_seen[id][group];
    const struct history *h = group_history(g);
    uint64_t newest, from;
    struct history_place place;
    struct history_batch batch;

    if (!group_can_show(g) || !group_state_is_whole(g)) {
        return;
    }
    newest = group_rev(g);
    if (seen->life != s->nodes[id].life) {
        *seen = (struct sim_truth_seen){.life = s->nodes[id].life};
    }
    from = KV_MAX(seen->rev, h->floor);
    seen->rev = KV_MAX(seen->rev, newest);
    if (from >= newest) {
        return;
    }
    place = history_find(h, from);
    while (history_next(&place, &batch) && batch.rev <= newest) {
        while (++from < batch.rev) {
            rev_note(s, id, group, from, kv_bytes(NULL, 0));
        }
        rev_note(s, id, group, batch.rev, batch.changes);
    }
    while (++from <= newest) {
        rev_note(s, id, group, from, kv_bytes(NULL, 0));
    }
}

void truth_look(struct sim *s, uint32_t node)
{
    struct node *n = s->nodes[node].node;

    if (n == NULL || (s->swarm.kinds & 1u << KINDS_watch) == 0) {
        return;
    }
    for (uint32_t i = 1; i < n->groups_cap && i < SIM_GROUPS_MAX; i++) {
        struct group *g = node_group(n, i);

        if (g != NULL) {
            group_look(s, node, g);
        }
    }
}

/* ---- looking in ---- */

bool truth_find(const struct sim *s, uint32_t group, uint64_t rev, struct kv_bytes *out)
{
    const struct sim_truth *t = &s->truth[group];

    if (rev >= t->cap || !t->revs[rev].is_known) {
        return false;
    }
    *out = kv_bytes(t->revs[rev].changes, t->revs[rev].len);
    return true;
}

void truth_close(struct sim *s)
{
    for (uint32_t g = 0; g < SIM_GROUPS_MAX; g++) {
        for (size_t i = 0; i < s->truth[g].cap; i++) {
            kv_mem_free(s->truth[g].revs[i].changes);
        }
        kv_mem_free(s->truth[g].revs);
    }
}

/* ---- at peace ---- */

/* The last change of a key. */
struct last {
    struct kv_bytes key; /* len 0: the cell is free. */
    struct kv_bytes value;
    bool is_there;
    uint64_t rev;
};

static struct last *last_of(struct last *table, struct kv_bytes key)
{
    uint64_t at = kv_hash64(key.data, key.len);

    while (table[at % TRUTH_KEYS].key.len > 0 &&
           !kv_bytes_equal(table[at % TRUTH_KEYS].key, key)) {
        at++;
    }
    return &table[at % TRUTH_KEYS];
}

static void follow(struct sim *s, struct last *table, uint32_t group, uint64_t rev,
                   const struct history_change *c)
{
    struct last *l = last_of(table, c->key);

    if (l->key.len > 0 && (l->is_there != c->has_prev ||
                           (l->is_there && !kv_bytes_equal(l->value, c->prev)))) {
        judge_fail(&s->judge, JUDGE_WATCHES,
                   "group %u: the value of %.*s before revision %" PRIu64
                   " is not that of revision %" PRIu64,
                   group, (int)c->key.len, (const char *)c->key.data, rev, l->rev);
    }
    s->counts.ttl_ended += c->cause == HISTORY_EXPIRE;
    *l = (struct last){.key = c->key,
                       .value = c->value,
                       .is_there = c->cause == HISTORY_PUT,
                       .rev = rev};
}

static void group_check(struct sim *s, const struct peace *p, struct last *table,
                        uint32_t group)
{
    const struct sim_truth *t = &s->truth[group];

    memset(table, 0, TRUTH_KEYS * sizeof *table);
    for (uint64_t rev = 1; rev <= t->newest; rev++) {
        struct history_change c;
        struct kv_bytes changes;

        if (!truth_find(s, group, rev, &changes)) {
            memset(table, 0, TRUTH_KEYS * sizeof *table); /* Who knows. */
            continue;
        }
        while (history_take(&changes, &c)) {
            follow(s, table, group, rev, &c);
        }
    }
    for (uint32_t i = 0; i < TRUTH_KEYS; i++) {
        struct kv_bytes value;

        if (table[i].key.len > 0 && kinds_peek(s, p, table[i].key, &value) &&
            !kv_bytes_equal(value,
                            table[i].is_there ? table[i].value : kv_bytes(NULL, 0))) {
            judge_fail(&s->judge, JUDGE_WATCHES,
                       "group %u: %.*s is not what revision %" PRIu64 " made it", group,
                       (int)table[i].key.len, (const char *)table[i].key.data,
                       table[i].rev);
        }
    }
}

void truth_check(struct sim *s, const struct peace *p)
{
    struct last *table = kv_mem_zalloc(TRUTH_KEYS * sizeof *table);

    KV_ASSERT(table != NULL);
    for (uint32_t g = 1; g <= s->swarm.groups && !sim_failed(s); g++) {
        if (peace_lives(s, p, g)) {
            group_check(s, p, table, g);
        }
    }
    kv_mem_free(table);
}
