/* jepsen/checker/cycles.c - cycles in a graph of transactions, and their names. */
#include "jepsen/checker/cycles.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"

#define NONE UINT32_MAX

enum {
    SEARCH_STARTS = 256,       /* Nodes of a component from which cycles are sought. */
    SEARCH_STATES = 32,        /* What a path has met so far, see struct wanted. */
    SEARCH_NODES_MAX = 200000, /* Of a component: those that are looked at. */
    SEARCH_STEPS = 20000000,   /* Over all components. */
};

/* ---- the graph ---- */

void cycles_init(struct cycles *c, uint32_t transactions, uint32_t moments)
{
    memset(c, 0, sizeof *c);
    c->transactions = transactions;
    c->moments = moments;
}

void cycles_close(struct cycles *c)
{
    kv_mem_free(c->edges);
    memset(c, 0, sizeof *c);
}

int cycles_edge(struct cycles *c, uint32_t from, uint32_t to, enum cycles_kind kind)
{
    KV_ASSERT(from < c->transactions + c->moments && to < c->transactions + c->moments);
    if (from == to) {
        return 0;
    }
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 1024 : c->cap * 2;
        struct cycles_edge *bigger = kv_mem_realloc(c->edges, cap * sizeof *bigger);

        if (bigger == NULL) {
            return KV_ENOMEM;
        }
        c->edges = bigger;
        c->cap = cap;
    }
    c->edges[c->count++] = (struct cycles_edge){from, to, kind};
    return 0;
}

/* Edges by their beginning: those of node n are [begin[n], begin[n + 1]). */
struct out_edges {
    uint32_t *begin;
    struct out_edge {
        uint32_t to : 29;
        uint32_t kind : 3;
    } * edges;
};

struct finder {
    struct cycles *c;
    uint32_t nodes;
    struct out_edges out;
    uint32_t *component; /* Per node; numbered from 1 as they are found. */
    uint32_t *local;     /* Per node: its number within the component searched. */
    uint64_t steps;      /* Left for searching. */
    cycles_report *report;
    void *ctx;
    uint64_t components; /* With a cycle. */
};

static int out_edges_init(struct finder *f)
{
    struct out_edges *o = &f->out;

    o->begin = kv_mem_zalloc((f->nodes + 2) * sizeof *o->begin);
    o->edges = kv_mem_realloc(NULL, (f->c->count + 1) * sizeof *o->edges);
    if (o->begin == NULL || o->edges == NULL) {
        return KV_ENOMEM;
    }
    for (size_t i = 0; i < f->c->count; i++) {
        o->begin[f->c->edges[i].from + 2]++;
    }
    for (uint32_t n = 2; n < f->nodes + 2; n++) {
        o->begin[n] += o->begin[n - 1];
    }
    for (size_t i = 0; i < f->c->count; i++) {
        const struct cycles_edge *e = &f->c->edges[i];

        o->edges[o->begin[e->from + 1]++] =
            (struct out_edge){.to = e->to & 0x1fffffff, .kind = e->kind & 7};
    }
    return 0;
}

/* ---- one cycle of a kind ---- */

/* What a path may use and must have met when it closes. Its state: bit 0 an edge of
 * `closing`, bit 1 a wr, bits 2-3 rw edges (2: two or more), bit 4 the last was rw. */
struct wanted {
    const char *name;
    unsigned allowed; /* Bits of cycles_kind, besides the closing ones. */
    unsigned rw_max;  /* 2: any number. */
    bool needs_wr;
    unsigned rw_min;
    bool apart; /* No two rw in a row, around the cycle. */
};

static const struct wanted all_wanted[] = {
    {"G0", 1u << CYCLES_WW, 0, false, 0, false},
    {"G1c", 1u << CYCLES_WW | 1u << CYCLES_WR, 0, true, 0, false},
    {"G-single", 1u << CYCLES_WW | 1u << CYCLES_WR | 1u << CYCLES_RW, 1, false, 1,
     false},
    {"G-nonadjacent", 1u << CYCLES_WW | 1u << CYCLES_WR | 1u << CYCLES_RW, 2, false, 2,
     true},
    {"G2-item", 1u << CYCLES_WW | 1u << CYCLES_WR | 1u << CYCLES_RW, 2, false, 1,
     false},
};

/* A component while cycles are sought in it. A place is local node * states + state. */
struct search {
    struct finder *f;
    uint32_t component;
    const uint32_t *nodes; /* [count] */
    uint32_t count;
    const struct wanted *wanted;
    unsigned closing; /* Bits of process or realtime; 0: none. */
    uint32_t stamp;
    uint32_t *seen;  /* Per place: stamp. */
    uint32_t *from;  /* Per place: the place before. */
    uint8_t *by;     /* Per place: kind of the edge that led to it. */
    uint32_t *queue; /* Places. */
    struct cycles_found best;
};

/* The state behind an edge; SEARCH_STATES where it may not be taken. */
static unsigned state_next(const struct search *s, unsigned state, unsigned kind)
{
    const struct wanted *w = s->wanted;
    unsigned rw = state >> 2 & 3;

    if ((s->closing >> kind & 1) != 0) {
        return (state | 1) & ~16u;
    }
    if ((w->allowed >> kind & 1) == 0) {
        return SEARCH_STATES;
    }
    if (kind != CYCLES_RW) {
        return (state | (kind == CYCLES_WR ? 2 : 0)) & ~16u;
    }
    if ((w->apart && (state & 16) != 0) || (w->rw_max < 2 && rw >= w->rw_max)) {
        return SEARCH_STATES;
    }
    return (state & 3) | KV_MIN(rw + 1, 2u) << 2 | 16;
}

/* May a path close with this edge, being in `state` behind it? */
static bool closes(const struct search *s, unsigned state)
{
    const struct wanted *w = s->wanted;

    return (s->closing == 0 || (state & 1) != 0) &&
           (!w->needs_wr || (state & 2) != 0) && (state >> 2 & 3) >= w->rw_min &&
           !(w->apart && (state & 16) != 0);
}

/* Writes down the path that ends at `place` and returns to its start by `kind`, if it
 * is the shortest so far. Moments are left out. */
static void path_keep(struct search *s, uint32_t place, unsigned kind, uint32_t start)
{
    struct cycles_found found = {.count = 0};
    uint32_t transactions = s->f->c->transactions;
    uint32_t count = 0;
    uint32_t at = place;
    unsigned next_kind = kind;

    for (;;) {
        uint32_t node = s->nodes[at / SEARCH_STATES];

        if (node < transactions) {
            if (count < CYCLES_PATH_MAX) {
                found.nodes[count] = node;
                found.kinds[count] = (enum cycles_kind)next_kind;
            }
            count++;
        }
        if (s->from[at] == NONE) {
            break;
        }
        next_kind = s->by[at];
        at = s->from[at];
    }
    KV_ASSERT(at / SEARCH_STATES == start);
    if (s->best.count != 0 && s->best.count <= count) {
        return;
    }
    found.count = KV_MIN(count, (uint32_t)CYCLES_PATH_MAX);
    for (uint32_t i = 0; i < found.count; i++) { /* It was walked backwards. */
        s->best.nodes[i] = found.nodes[found.count - 1 - i];
        s->best.kinds[i] = found.kinds[found.count - 1 - i];
    }
    s->best.count = count;
}

/* Seeks the shortest wanted cycle through local node `start`, breadth first. A cycle
 * with rw edges apart is begun by one of them, so that the last edge may be none. */
static void search_from(struct search *s, uint32_t start)
{
    const struct out_edges *out = &s->f->out;
    uint32_t head = 0;
    uint32_t tail = 0;

    s->stamp++;
    s->queue[tail++] = start * SEARCH_STATES;
    s->seen[start * SEARCH_STATES] = s->stamp;
    s->from[start * SEARCH_STATES] = NONE;
    while (head < tail) {
        uint32_t place = s->queue[head++];
        uint32_t node = s->nodes[place / SEARCH_STATES];
        unsigned state = place % SEARCH_STATES;

        for (uint32_t i = out->begin[node]; i < out->begin[node + 1]; i++) {
            uint32_t to = out->edges[i].to;
            unsigned kind = out->edges[i].kind;
            unsigned next;
            uint32_t next_place;

            if (s->f->component[to] != s->component || s->f->local[to] == NONE ||
                (s->wanted->apart && head == 1 && kind != CYCLES_RW)) {
                continue;
            }
            if (s->f->steps == 0) {
                return;
            }
            s->f->steps--;
            next = state_next(s, state, kind);
            if (next == SEARCH_STATES) {
                continue;
            }
            if (s->f->local[to] == start && closes(s, next)) {
                path_keep(s, place, kind, start);
                return;
            }
            next_place = s->f->local[to] * SEARCH_STATES + next;
            if (s->seen[next_place] != s->stamp) {
                s->seen[next_place] = s->stamp;
                s->from[next_place] = place;
                s->by[next_place] = (uint8_t)kind;
                s->queue[tail++] = next_place;
            }
        }
    }
}

/* Reports the shortest wanted cycle of the component. Returns whether there is one. */
static bool search_wanted(struct search *s, const struct wanted *w, const char *suffix)
{
    uint32_t starts = 0;

    s->wanted = w;
    s->best.count = 0;
    for (uint32_t i = 0; i < s->count && starts < SEARCH_STARTS; i++) {
        if (s->nodes[i] < s->f->c->transactions) {
            starts++;
            search_from(s, i);
        }
        if (s->best.count == 2) {
            break;
        }
    }
    if (s->best.count == 0) {
        return false;
    }
    snprintf(s->best.name, sizeof s->best.name, "%s%s", w->name, suffix);
    s->best.count = KV_MIN(s->best.count, (uint32_t)CYCLES_PATH_MAX);
    s->f->report(s->f->ctx, &s->best);
    return true;
}

/* The strongest names first; with clocks only where there is none without. */
static void search_all(struct search *s)
{
    static const struct {
        unsigned closing;
        const char *suffix;
    } levels[] = {
        {0, ""},
        {1u << CYCLES_PROCESS, "-process"},
        {1u << CYCLES_PROCESS | 1u << CYCLES_REALTIME, "-realtime"},
    };
    struct cycles_found none = {.name = "cycle"};
    bool found = false;

    for (size_t level = 0; level < KV_ARRAY_COUNT(levels) && !found; level++) {
        bool found_rw = false;

        s->closing = levels[level].closing;
        for (size_t i = 0; i < KV_ARRAY_COUNT(all_wanted) && !found_rw; i++) {
            bool yes = search_wanted(s, &all_wanted[i], levels[level].suffix);

            found |= yes;
            found_rw = yes && all_wanted[i].rw_min > 0;
        }
    }
    if (!found) {
        s->f->report(s->f->ctx, &none);
    }
}

/* A component of more than one node, as Tarjan's stack holds it. */
static int component_search(struct finder *f, uint32_t component, const uint32_t *nodes,
                            uint32_t count)
{
    uint32_t looked_at = KV_MIN(count, (uint32_t)SEARCH_NODES_MAX);
    size_t places = (size_t)looked_at * SEARCH_STATES;
    struct search s = {
        .f = f, .component = component, .nodes = nodes, .count = looked_at};
    int rc = 0;

    f->components++;
    s.seen = kv_mem_zalloc(places * sizeof *s.seen);
    s.from = kv_mem_realloc(NULL, places * sizeof *s.from);
    s.by = kv_mem_realloc(NULL, places * sizeof *s.by);
    s.queue = kv_mem_realloc(NULL, places * sizeof *s.queue);
    if (s.seen == NULL || s.from == NULL || s.by == NULL || s.queue == NULL) {
        rc = KV_ENOMEM;
    } else {
        for (uint32_t i = 0; i < looked_at; i++) {
            f->local[nodes[i]] = i;
        }
        search_all(&s);
    }
    kv_mem_free(s.seen);
    kv_mem_free(s.from);
    kv_mem_free(s.by);
    kv_mem_free(s.queue);
    return rc;
}

/* ---- strongly connected components ---- */

/* Tarjan's algorithm with a stack of its own. `order` and `low` count from 1. */
struct tarjan {
    uint32_t *order, *low;
    uint32_t *next;  /* Per node: its next edge. */
    uint32_t *path;  /* The nodes that are being visited. */
    uint32_t *stack; /* Nodes whose component is not known yet. */
    uint32_t depth, height, counter, components;
};

static int component_end(struct finder *f, struct tarjan *t, uint32_t root)
{
    uint32_t top = t->height;
    uint32_t node;

    t->components++;
    do {
        node = t->stack[--t->height];
        f->component[node] = t->components;
    } while (node != root);
    return top - t->height < 2
               ? 0
               : component_search(f, t->components, t->stack + t->height,
                                  top - t->height);
}

static void node_enter(struct finder *f, struct tarjan *t, uint32_t node)
{
    t->order[node] = t->low[node] = ++t->counter;
    t->next[node] = f->out.begin[node];
    t->path[t->depth++] = node;
    t->stack[t->height++] = node;
}

static int tarjan_from(struct finder *f, struct tarjan *t, uint32_t root)
{
    int rc = 0;

    node_enter(f, t, root);
    while (t->depth > 0 && rc == 0) {
        uint32_t node = t->path[t->depth - 1];

        if (t->next[node] < f->out.begin[node + 1]) {
            uint32_t to = f->out.edges[t->next[node]++].to;

            if (t->order[to] == 0) {
                node_enter(f, t, to);
            } else if (f->component[to] == 0) {
                t->low[node] = KV_MIN(t->low[node], t->order[to]);
            }
            continue;
        }
        t->depth--;
        if (t->depth > 0) {
            uint32_t parent = t->path[t->depth - 1];

            t->low[parent] = KV_MIN(t->low[parent], t->low[node]);
        }
        if (t->low[node] == t->order[node]) {
            rc = component_end(f, t, node);
        }
    }
    return rc;
}

int cycles_find(struct cycles *c, cycles_report *report, uint64_t *out_components,
                void *ctx)
{
    struct finder f = {.c = c,
                       .nodes = c->transactions + c->moments,
                       .report = report,
                       .ctx = ctx,
                       .steps = SEARCH_STEPS};
    struct tarjan t = {0};
    size_t bytes = (f.nodes + 1) * sizeof(uint32_t);
    int rc = KV_ENOMEM;

    f.component = kv_mem_zalloc(bytes);
    f.local = kv_mem_realloc(NULL, bytes);
    t.order = kv_mem_zalloc(bytes);
    t.low = kv_mem_zalloc(bytes);
    t.next = kv_mem_zalloc(bytes);
    t.path = kv_mem_zalloc(bytes);
    t.stack = kv_mem_zalloc(bytes);
    if (f.component != NULL && f.local != NULL && t.order != NULL && t.low != NULL &&
        t.next != NULL && t.path != NULL && t.stack != NULL && f.nodes < 1u << 29) {
        memset(f.local, 0xff, bytes);
        rc = out_edges_init(&f);
    }
    for (uint32_t n = 0; n < f.nodes && rc == 0; n++) {
        rc = t.order[n] == 0 ? tarjan_from(&f, &t, n) : 0;
    }
    kv_mem_free(f.out.begin);
    kv_mem_free(f.out.edges);
    kv_mem_free(f.component);
    kv_mem_free(f.local);
    kv_mem_free(t.order);
    kv_mem_free(t.low);
    kv_mem_free(t.next);
    kv_mem_free(t.path);
    kv_mem_free(t.stack);
    *out_components = f.components;
    return rc;
}

const char *cycles_kind_name(enum cycles_kind kind)
{
    static const char *const names[] = {"ww", "wr", "rw", "process", "realtime"};

    KV_ASSERT((unsigned)kind < KV_ARRAY_COUNT(names));
    return names[kind];
}
