/* tests/lib/history_gen.c - histories of a store that works, or that has one bug. */
#include "tests/lib/history_gen.h"

#include <stdlib.h>

#include "raft/base/arena.h"
#include "raft/base/prng.h"

enum {
    GEN_TXN_MAX = 8,
};

/* A list as of one transaction; older ones stay for stale reads. */
struct list {
    int64_t *ids;
    uint32_t count, cap;
    uint32_t before; /* Its length before the last append. */
};

struct cell {
    bool is_nil, was_nil;
    int64_t value, was; /* Now, and before the last write. */
    uint64_t rev, was_rev;
    struct list list;
};

enum phase {
    PHASE_IDLE,
    PHASE_SENT, /* Takes effect at its next step. */
    PHASE_DONE, /* Answers at its next step. */
};

/* What a client waits for. */
struct wait {
    enum phase phase;
    int32_t process;
    bool reads_only;
    enum history_f f;
    uint32_t key;
    int64_t a, b;
    enum history_type end;
    struct history_op reply;
    enum history_kind kind;
    struct history_micro micros[GEN_TXN_MAX];
    uint32_t micros_count;
    int64_t *ints; /* Packed micro-operations of the reply. */
    uint32_t ints_count, ints_cap;
};

struct gen {
    const struct gen_options *o;
    struct history *h;
    struct prng prng;
    struct cell *cells;
    uint32_t keys;      /* Retired ones included. */
    uint32_t *key_of;   /* [o->keys] the key that is in use. */
    uint32_t *key_left; /* [o->keys] */
    uint64_t *revs;     /* [o->groups] */
    struct wait *waits;
    int64_t next_id;
    int64_t time_ns;
    int32_t next_process;
    uint32_t struck;
    bool is_append;
};

static bool chance(struct gen *g, uint32_t per_thousand)
{
    return prng_below(&g->prng, 1000) < per_thousand;
}

static bool strikes(struct gen *g, enum gen_bug bug)
{
    bool yes = g->o->bug == bug && chance(g, g->o->bug_rate);

    g->struck += yes;
    return yes;
}

static void put(struct gen *g, const struct history_op *op, enum history_kind kind,
                const int64_t *ints, uint32_t count)
{
    struct history_op row = *op;
    int rc;

    g->time_ns += (int64_t)prng_below(&g->prng, 100000);
    row.time_ns = g->time_ns;
    rc = history_append(g->h, &row, kind, ints, count);
    KV_ASSERT(rc == 0);
}

/* ---- lists ---- */

static void list_push(struct list *l, int64_t id)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 8 : l->cap * 2;
        l->ids = kv_mem_realloc(l->ids, l->cap * sizeof *l->ids);
        KV_ASSERT(l->ids != NULL);
    }
    l->before = l->count;
    l->ids[l->count++] = id;
}

static void pack(struct wait *w)
{
    uint32_t n = history_micro_pack(w->micros, w->micros_count, w->ints, w->ints_cap);

    if (n > w->ints_cap) {
        w->ints_cap = 2 * n;
        w->ints = kv_mem_realloc(w->ints, w->ints_cap * sizeof *w->ints);
        KV_ASSERT(w->ints != NULL);
        n = history_micro_pack(w->micros, w->micros_count, w->ints, w->ints_cap);
    }
    w->ints_count = n;
}

/* ---- invoking ---- */

static uint32_t pick_key(struct gen *g)
{
    uint32_t i = (uint32_t)prng_below(&g->prng, g->o->keys);

    if (g->o->key_ops != 0 && g->key_left[i]-- == 0) {
        g->key_of[i] = g->keys++;
        g->key_left[i] = g->o->key_ops - 1;
    }
    return g->key_of[i];
}

static void invoke_txn(struct gen *g, struct wait *w)
{
    w->f = HISTORY_TXN;
    w->micros_count = 1 + (uint32_t)prng_below(&g->prng, g->o->txn_max);
    for (uint32_t i = 0; i < w->micros_count; i++) {
        struct history_micro *m = &w->micros[i];

        *m = (struct history_micro){.key = pick_key(g), .is_nil = true};
        if (chance(g, 500)) {
            m->is_append = true;
            m->element = ++g->next_id;
        }
    }
    pack(w);
}

static void invoke(struct gen *g, struct wait *w)
{
    struct history_op op = {.process = w->process};
    uint64_t kind = w->reads_only ? 0 : prng_below(&g->prng, 3);
    int64_t ints[2];

    if (g->is_append) {
        invoke_txn(g, w);
        op.f = HISTORY_TXN;
        put(g, &op, HISTORY_MICRO, w->ints, w->ints_count);
    } else {
        w->f = kind == 0 ? HISTORY_READ : kind == 1 ? HISTORY_WRITE : HISTORY_CAS;
        w->key = pick_key(g);
        ints[0] = w->a = (int64_t)prng_below(&g->prng, g->o->values);
        ints[1] = w->b = (int64_t)prng_below(&g->prng, g->o->values);
        op.f = w->f;
        op.key = w->key;
        put(g, &op,
            kind == 0   ? HISTORY_NIL
            : kind == 1 ? HISTORY_INT
                        : HISTORY_PAIR,
            ints, (uint32_t)kind);
    }
    w->phase = PHASE_SENT;
}

/* ---- taking effect ---- */

static void cell_write(struct gen *g, struct wait *w, int64_t value)
{
    struct cell *c = &g->cells[w->key];

    c->was = c->value;
    c->was_nil = c->is_nil;
    c->was_rev = c->rev;
    c->value = value;
    c->is_nil = false;
    c->rev = ++g->revs[w->key % g->o->groups];
    w->reply.rev = w->reply.at_rev = c->rev;
}

static void read_effect(struct gen *g, struct wait *w)
{
    const struct cell *c = &g->cells[w->key];
    bool stale = c->rev != 0 && strikes(g, GEN_STALE);

    w->a = stale ? c->was : c->value;
    w->kind = (stale ? c->was_nil : c->is_nil) ? HISTORY_NIL : HISTORY_INT;
    w->reply.rev = stale ? c->was_rev : c->rev;
    w->reply.at_rev = g->revs[w->key % g->o->groups];
}

static void register_effect(struct gen *g, struct wait *w)
{
    struct cell *c = &g->cells[w->key];

    if (w->f == HISTORY_READ) {
        read_effect(g, w);
        return;
    }
    w->kind = w->f == HISTORY_WRITE ? HISTORY_INT : HISTORY_PAIR;
    if (w->f == HISTORY_CAS && (c->is_nil || c->value != w->a) &&
        !strikes(g, GEN_BLIND)) {
        w->end = HISTORY_FAIL;
        w->reply.rev = c->rev;
        w->reply.at_rev = ++g->revs[w->key % g->o->groups]; /* An entry as well. */
        return;
    }
    if (strikes(g, GEN_LOSE)) {
        w->reply.rev = w->reply.at_rev = ++g->revs[w->key % g->o->groups];
        return;
    }
    cell_write(g, w, w->f == HISTORY_CAS ? w->b : w->a);
    if (strikes(g, GEN_TWICE)) {
        struct history_op first = w->reply;

        cell_write(g, w, w->f == HISTORY_CAS ? w->b : w->a);
        w->reply = first;
    } else if (strikes(g, GEN_FAILED)) {
        w->end = HISTORY_FAIL;
        w->reply.rev = w->reply.at_rev = 0;
    }
}

static void txn_effect(struct gen *g, struct wait *w)
{
    bool lose = strikes(g, GEN_LOSE);
    bool twice = strikes(g, GEN_TWICE);
    bool stale = strikes(g, GEN_STALE);

    for (uint32_t i = 0; i < w->micros_count; i++) {
        struct history_micro *m = &w->micros[i];
        struct list *l = &g->cells[m->key].list;

        if (m->is_append && !lose) {
            list_push(l, m->element);
            if (twice) {
                list_push(l, m->element);
            }
        } else if (!m->is_append) {
            m->is_nil = false;
            m->ids_count = stale ? l->before : l->count;
        }
    }
    for (uint32_t i = 0; i < w->micros_count; i++) { /* Lists move while they grow. */
        w->micros[i].ids = g->cells[w->micros[i].key].list.ids;
    }
    w->kind = HISTORY_MICRO;
    if (strikes(g, GEN_FAILED)) {
        w->end = HISTORY_FAIL;
    }
    pack(w);
}

static void take_effect(struct gen *g, struct wait *w)
{
    w->end = HISTORY_OK;
    w->reply = (struct history_op){.group = w->key % g->o->groups + 1, .term = 1};
    if (g->is_append) {
        txn_effect(g, w);
    } else {
        register_effect(g, w);
    }
    w->phase = PHASE_DONE;
}

/* ---- answering ---- */

static void answer(struct gen *g, struct wait *w)
{
    struct history_op op = w->reply;
    const int64_t ints[2] = {w->a, w->b};

    op.process = w->process;
    op.f = w->f;
    op.key = g->is_append ? 0 : w->key;
    op.type = w->end;
    if (g->is_append) {
        put(g, &op, HISTORY_MICRO, w->ints, w->ints_count);
    } else {
        put(g, &op, w->kind, ints,
            w->kind == HISTORY_NIL   ? 0
            : w->kind == HISTORY_INT ? 1
                                     : 2);
    }
    w->phase = PHASE_IDLE;
}

/* No answer comes; what is not done yet is done now, or never. */
static void give_up(struct gen *g, struct wait *w)
{
    struct history_op op = {.process = w->process, .f = w->f, .type = HISTORY_INFO};
    const int64_t ints[2] = {w->a, w->b};

    op.key = g->is_append ? 0 : w->key;
    if (g->is_append) {
        for (uint32_t i = 0; i < w->micros_count; i++) {
            w->micros[i].is_nil = true;
        }
        pack(w);
        put(g, &op, HISTORY_MICRO, w->ints, w->ints_count);
    } else {
        put(g, &op,
            w->f == HISTORY_READ    ? HISTORY_NIL
            : w->f == HISTORY_WRITE ? HISTORY_INT
                                    : HISTORY_PAIR,
            ints,
            w->f == HISTORY_READ    ? 0
            : w->f == HISTORY_WRITE ? 1
                                    : 2);
    }
    if (w->phase == PHASE_SENT && chance(g, 500)) {
        take_effect(g, w);
    }
    w->process = g->next_process++;
    w->phase = PHASE_IDLE;
}

/* ---- all of it ---- */

static void step(struct gen *g, uint32_t *left)
{
    struct wait *w = &g->waits[prng_below(&g->prng, g->o->clients)];

    if (w->phase == PHASE_IDLE) {
        if (*left > 0) {
            invoke(g, w);
            (*left)--;
        }
    } else if (chance(g, g->o->unknown / 2)) {
        give_up(g, w);
    } else if (w->phase == PHASE_SENT) {
        take_effect(g, w);
    } else {
        answer(g, w);
    }
}

static bool all_idle(const struct gen *g)
{
    for (uint32_t i = 0; i < g->o->clients; i++) {
        if (g->waits[i].phase != PHASE_IDLE) {
            return false;
        }
    }
    return true;
}

static uint32_t run(struct history *h, const struct gen_options *o, bool is_append)
{
    struct gen g = {.o = o, .h = h, .keys = o->keys, .is_append = is_append};
    uint32_t left = o->ops;
    uint32_t micros = is_append ? o->txn_max : 1;
    uint32_t keys_max =
        o->keys + (o->key_ops == 0 ? 0 : o->ops * micros / o->key_ops + 1);

    KV_ASSERT(o->txn_max <= GEN_TXN_MAX && o->groups >= 1);
    prng_init(&g.prng, o->seed);
    g.cells = kv_mem_zalloc(keys_max * sizeof *g.cells);
    g.key_of = kv_mem_zalloc(o->keys * sizeof *g.key_of);
    g.key_left = kv_mem_zalloc(o->keys * sizeof *g.key_left);
    g.revs = kv_mem_zalloc(o->groups * sizeof *g.revs);
    g.waits = kv_mem_zalloc(o->clients * sizeof *g.waits);
    KV_ASSERT(g.cells != NULL && g.key_of != NULL && g.key_left != NULL &&
              g.revs != NULL && g.waits != NULL);
    for (uint32_t i = 0; i < keys_max; i++) {
        g.cells[i].is_nil = g.cells[i].was_nil = true;
    }
    for (uint32_t i = 0; i < o->keys; i++) {
        g.key_of[i] = i;
        g.key_left[i] = o->key_ops;
    }
    for (uint32_t i = 0; i < o->clients; i++) {
        g.waits[i].process = g.next_process++;
        g.waits[i].reads_only = i % 2 == 1;
    }
    while (left > 0 || !all_idle(&g)) {
        step(&g, &left);
    }
    for (uint32_t i = 0; i < keys_max; i++) {
        kv_mem_free(g.cells[i].list.ids);
    }
    for (uint32_t i = 0; i < o->clients; i++) {
        kv_mem_free(g.waits[i].ints);
    }
    kv_mem_free(g.cells);
    kv_mem_free(g.key_of);
    kv_mem_free(g.key_left);
    kv_mem_free(g.revs);
    kv_mem_free(g.waits);
    return g.struck;
}

uint32_t gen_register(struct history *h, const struct gen_options *o)
{
    return run(h, o, false);
}

uint32_t gen_append(struct history *h, const struct gen_options *o)
{
    return run(h, o, true);
}
