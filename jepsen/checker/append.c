/* jepsen/checker/append.c - are transactions over lists strictly serializable? */
#include "jepsen/checker/append.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "jepsen/checker/cycles.h"
#include "jepsen/checker/keys.h"
#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

#define NONE     UINT32_MAX
#define NONE_ROW HISTORY_NO_MATE

enum {
    TAIL_MAX = 8, /* Appends per key behind the longest read that get edges. */
};

/* A transaction that succeeded or may have. */
struct txn {
    uint64_t call; /* Row. */
    uint64_t end;  /* Row of the success; NONE_ROW: unknown. */
};

/* An append that was asked for. */
struct element {
    uint32_t txn; /* NONE: it failed. */
    uint32_t key; /* Number of the key. */
    uint64_t call;
    uint32_t place;      /* In the key's order of versions; NONE: never seen. */
    bool is_last;        /* The transaction's last append to the key. */
    uint64_t seen_twice; /* Set once it was reported. */
};

/* A list. The fields after `txn` are of the transaction that is being looked at. */
struct list {
    uint32_t key;
    const int64_t *longest; /* Points into the history. */
    uint32_t count;         /* Of the longest read. */
    uint64_t row;           /* That read it; NONE_ROW: nobody read more than nothing. */
    bool is_broken;         /* Its order cannot be relied on. */
    uint32_t *order;        /* [count] element numbers; NONE: invented. */
    uint32_t tail[TAIL_MAX]; /* Elements of acknowledged appends that nobody saw. */
    uint32_t tail_count;

    uint64_t mark;       /* Call of the transaction that the rest is about. */
    uint32_t last;       /* Element of its last append so far; NONE. */
    uint32_t appends;    /* Since its last read. */
    const int64_t *read; /* Its last read. */
    uint32_t read_count;
    bool has_read;
    bool updates; /* It read, then appended: counted once. */
};

struct append {
    const struct history *h;
    struct verdict *v;
    struct arena arena;
    struct pairs numbers; /* (key, 0) -> list */
    struct list *lists;
    size_t lists_count, lists_cap;
    struct pairs by_id; /* (list, id) -> element */
    struct element *elements;
    size_t elements_count, elements_cap;
    struct txn *txns;
    uint32_t txns_count;
    struct pairs updates; /* (list, length read) -> txn that appended to it. */
    struct cycles graph;
    int rc; /* First error; nothing goes on after it. */
};

static void blame(struct append *a, const char *kind, uint32_t key,
                  const uint64_t *rows, uint32_t count, const char *format, ...)
    KV_PRINTF(6, 7);

/* Reports with these rows and their mates; NONE_ROW is left out. */
static void blame(struct append *a, const char *kind, uint32_t key,
                  const uint64_t *rows, uint32_t count, const char *format, ...)
{
    struct verdict_anomaly anomaly = {.key = key};
    va_list args;

    snprintf(anomaly.kind, sizeof anomaly.kind, "%s", kind);
    for (uint32_t i = 0; i < count && anomaly.ops_count + 2 <= VERDICT_OPS_MAX; i++) {
        if (rows[i] != NONE_ROW) {
            anomaly.ops[anomaly.ops_count++] = rows[i];
            if (a->h->ops[rows[i]].mate != NONE_ROW) {
                anomaly.ops[anomaly.ops_count++] = a->h->ops[rows[i]].mate;
            }
        }
    }
    va_start(args, format);
    vsnprintf(anomaly.text, sizeof anomaly.text, format, args);
    va_end(args);
    verdict_add(a->v, &anomaly);
}

/* ---- tables ---- */

static void *grown(struct append *a, void *array, size_t *cap, size_t bytes)
{
    size_t more = *cap == 0 ? 256 : *cap * 2;
    void *bigger = kv_mem_realloc(array, more * bytes);

    if (bigger == NULL) {
        a->rc = KV_ENOMEM;
        return array;
    }
    *cap = more;
    return bigger;
}

/* The list of a key, made where it is new. Only while transactions are collected may
 * lists move. NULL after an error. */
static struct list *list_of(struct append *a, uint32_t key)
{
    uint64_t *at = pairs_at(&a->numbers, key, 0, a->lists_count);

    if (at == NULL) {
        a->rc = KV_ENOMEM;
        return NULL;
    }
    if (*at < a->lists_count) {
        return &a->lists[*at];
    }
    if (a->lists_count == a->lists_cap) {
        a->lists = grown(a, a->lists, &a->lists_cap, sizeof *a->lists);
        if (a->rc != 0) {
            return NULL;
        }
    }
    a->lists[a->lists_count] =
        (struct list){.key = key, .row = NONE_ROW, .mark = NONE_ROW, .last = NONE};
    return &a->lists[a->lists_count++];
}

static uint32_t number_of(const struct append *a, const struct list *l)
{
    return (uint32_t)(l - a->lists);
}

/* The element with this id in the list; NULL: nobody asked for it. */
static struct element *element_of(struct append *a, const struct list *l, int64_t id)
{
    uint64_t at = pairs_find(&a->by_id, number_of(a, l), (uint64_t)id);

    return at == PAIRS_NONE ? NULL : &a->elements[at];
}

/* ---- what was asked for ---- */

static void append_collect(struct append *a, const struct history_op *call,
                           uint32_t txn, const struct history_micro *m)
{
    struct list *l = list_of(a, m->key);
    uint64_t *at;

    if (l != NULL && a->elements_count == a->elements_cap) {
        a->elements = grown(a, a->elements, &a->elements_cap, sizeof *a->elements);
    }
    if (a->rc != 0) {
        return;
    }
    at = pairs_at(&a->by_id, number_of(a, l), (uint64_t)m->element, a->elements_count);
    if (at == NULL) {
        a->rc = KV_ENOMEM;
        return;
    }
    if (*at < a->elements_count) {
        verdict_doubt(a->v,
                      "row %" PRIu64 " appends %" PRId64 " to list %" PRIu32
                      ", as row %" PRIu64 " did: elements must be unique",
                      call->index, m->element, m->key, a->elements[*at].call);
        return;
    }
    if (l->mark == call->index && l->last != NONE) {
        a->elements[l->last].is_last = false;
    }
    l->mark = call->index;
    l->last = (uint32_t)a->elements_count;
    a->elements[a->elements_count++] = (struct element){.txn = txn,
                                                        .key = number_of(a, l),
                                                        .call = call->index,
                                                        .place = NONE,
                                                        .is_last = true};
}

/* Takes in a read that succeeded: the longest per key is kept. */
static void read_collect(struct append *a, uint64_t row, const struct history_micro *m)
{
    struct list *l = list_of(a, m->key);

    if (l != NULL && m->ids_count > l->count) {
        l->longest = m->ids;
        l->count = m->ids_count;
        l->row = row;
    }
}

static void collect(struct append *a)
{
    struct history_micro m;

    for (size_t i = 0; i < a->h->count && a->rc == 0; i++) {
        const struct history_op *call = &a->h->ops[i];
        enum history_type end;
        uint32_t txn = NONE;
        uint32_t at = 0;

        if (call->f != HISTORY_TXN || call->type != HISTORY_INVOKE) {
            continue;
        }
        end = keys_end(a->h, call);
        if (end != HISTORY_FAIL) {
            txn = a->txns_count++;
            a->txns[txn] = (struct txn){i, end == HISTORY_OK ? call->mate : NONE_ROW};
        }
        while (a->rc == 0 && history_micro_next(a->h, &call->value, &at, &m)) {
            if (m.is_append) {
                append_collect(a, call, txn, &m);
            }
        }
        if (end != HISTORY_OK) {
            continue;
        }
        at = 0;
        while (a->rc == 0 &&
               history_micro_next(a->h, &a->h->ops[call->mate].value, &at, &m)) {
            if (!m.is_append) {
                read_collect(a, i, &m);
            }
        }
    }
}

/* ---- the order of versions ---- */

static void seen_judge(struct append *a, struct list *l, uint64_t row, int64_t id,
                       const struct element *e)
{
    uint64_t rows[2] = {row, e == NULL ? NONE_ROW : e->call};

    if (e == NULL) {
        blame(a, "garbage-read", l->key, rows, 1,
              "row %" PRIu64 " read element %" PRId64 " of list %" PRIu32
              ", which nobody appended",
              a->h->ops[row].mate, id, l->key);
    } else if (e->txn == NONE) {
        blame(a, "G1a", l->key, rows, 2,
              "row %" PRIu64 " read element %" PRId64 " of list %" PRIu32
              ", whose append had certainly failed",
              a->h->ops[row].mate, id, l->key);
    }
}

static void order_make(struct append *a, struct list *l)
{
    const struct element *before = NULL;

    l->order = arena_alloc(&a->arena, (l->count + 1) * sizeof *l->order);
    if (l->order == NULL) {
        a->rc = KV_ENOMEM;
        return;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct element *e = element_of(a, l, l->longest[i]);

        seen_judge(a, l, l->row, l->longest[i], e);
        l->order[i] = e == NULL ? NONE : (uint32_t)(e - a->elements);
        if (e == NULL) {
            l->is_broken = true;
            continue;
        }
        if (e->place != NONE) {
            l->is_broken = true;
            blame(a, "duplicate-elements", l->key, (uint64_t[]){l->row, e->call}, 2,
                  "row %" PRIu64 " read element %" PRId64 " of list %" PRIu32 " twice",
                  a->h->ops[l->row].mate, l->longest[i], l->key);
            continue;
        }
        e->place = i;
        if (before != NULL && before->txn == NONE && e->txn != NONE &&
            a->txns[e->txn].end != NONE_ROW) {
            blame(a, "dirty-update", l->key,
                  (uint64_t[]){l->row, before->call, e->call}, 3,
                  "an append to list %" PRIu32 " succeeded on top of one that failed: "
                  "rows %" PRIu64 " and %" PRIu64,
                  l->key, e->call, before->call);
        }
        before = e;
    }
}

/* A read that is no beginning of the longest one: what else is wrong with it? */
static void other_order(struct append *a, struct list *l, uint64_t row,
                        const struct history_micro *m)
{
    l->is_broken = true;
    blame(a, "incompatible-order", l->key, (uint64_t[]){row, l->row}, 2,
          "list %" PRIu32 ": what row %" PRIu64
          " read is no beginning of what row %" PRIu64 " read",
          l->key, a->h->ops[row].mate, a->h->ops[l->row].mate);
    for (uint32_t i = 0; i < m->ids_count; i++) {
        struct element *e = element_of(a, l, m->ids[i]);

        seen_judge(a, l, row, m->ids[i], e);
        if (e == NULL) {
            continue;
        }
        if (e->seen_twice == row + 1) {
            blame(a, "duplicate-elements", l->key, (uint64_t[]){row, e->call}, 2,
                  "row %" PRIu64 " read element %" PRId64 " of list %" PRIu32 " twice",
                  a->h->ops[row].mate, m->ids[i], l->key);
        }
        e->seen_twice = row + 1;
    }
}

/* Acknowledged appends that no read saw stand behind the longest read. */
static void tails_make(struct append *a)
{
    for (size_t i = 0; i < a->elements_count; i++) {
        const struct element *e = &a->elements[i];
        struct list *l = &a->lists[e->key];

        if (e->place == NONE && e->txn != NONE && a->txns[e->txn].end != NONE_ROW &&
            l->tail_count < TAIL_MAX) {
            l->tail[l->tail_count++] = (uint32_t)i;
        }
    }
}

/* ---- within one transaction ---- */

/* A read after the transaction's own reads and appends must fit them. */
static bool fits_own(struct append *a, const struct list *l, uint32_t txn,
                     const struct history_micro *m)
{
    uint32_t own = l->appends;

    if (m->ids_count < own ||
        (l->has_read &&
         (m->ids_count != l->read_count + own ||
          (l->read_count > 0 &&
           memcmp(m->ids, l->read, l->read_count * sizeof *m->ids) != 0)))) {
        return false;
    }
    for (uint32_t i = m->ids_count - own; i < m->ids_count; i++) {
        const struct element *e = element_of(a, l, m->ids[i]);

        if (e == NULL || e->txn != txn) {
            return false;
        }
    }
    return true;
}

static void edge(struct append *a, uint32_t from, uint32_t to, enum cycles_kind kind)
{
    if (a->rc == 0 && from != NONE && to != NONE) {
        a->rc = cycles_edge(&a->graph, from, to, kind);
    }
}

static uint32_t txn_at(const struct append *a, const struct list *l, uint32_t place)
{
    return l->order[place] == NONE ? NONE : a->elements[l->order[place]].txn;
}

/* The first read of a list in a transaction saw the version with `count` elements. */
static void version_read(struct append *a, struct list *l, uint32_t txn, uint32_t count)
{
    if (l->is_broken) {
        return;
    }
    if (count > 0) {
        const struct element *e = &a->elements[l->order[count - 1]];

        if (e->txn != NONE && e->txn != txn && !e->is_last) {
            blame(a, "G1b", l->key, (uint64_t[]){a->txns[txn].call, e->call}, 2,
                  "row %" PRIu64 " read list %" PRIu32
                  " in the middle of the transaction of row %" PRIu64,
                  a->txns[txn].end, l->key, e->call);
        }
        edge(a, e->txn, txn, CYCLES_WR);
    }
    if (count < l->count) {
        edge(a, txn, txn_at(a, l, count), CYCLES_RW);
        return;
    }
    for (uint32_t i = 0; i < l->tail_count; i++) {
        edge(a, txn, a->elements[l->tail[i]].txn, CYCLES_RW);
    }
}

static void txn_read(struct append *a, struct list *l, uint32_t txn,
                     const struct history_micro *m)
{
    uint64_t row = a->txns[txn].call;
    bool is_beginning = m->ids_count == 0 ||
                        memcmp(m->ids, l->longest, m->ids_count * sizeof *m->ids) == 0;

    if (!is_beginning) {
        other_order(a, l, row, m);
    }
    if (!fits_own(a, l, txn, m)) {
        blame(a, "internal", l->key, &row, 1,
              "row %" PRIu64 " read of list %" PRIu32
              " what contradicts its own reads and appends before",
              a->txns[txn].end, l->key);
    } else if (!l->has_read && is_beginning) {
        version_read(a, l, txn, m->ids_count - l->appends);
    }
    l->has_read = true;
    l->read = m->ids;
    l->read_count = m->ids_count;
    l->appends = 0;
}

static void txn_append(struct append *a, struct list *l, uint32_t txn,
                       const struct history_micro *m)
{
    const struct element *e = element_of(a, l, m->element);
    uint64_t *at;

    if (e != NULL && e->place != NONE && l->has_read && e->place < l->read_count &&
        !l->is_broken) {
        blame(a, "future-read", l->key, &a->txns[txn].call, 1,
              "row %" PRIu64 " read of list %" PRIu32 " element %" PRId64
              ", which it appended only then",
              a->txns[txn].end, l->key, m->element);
    }
    l->appends++;
    if (!l->has_read || l->updates) {
        return;
    }
    l->updates = true;
    at = pairs_at(&a->updates, number_of(a, l), l->read_count, txn);
    if (at == NULL) {
        a->rc = KV_ENOMEM;
    } else if (*at != txn) {
        blame(a, "lost-update", l->key,
              (uint64_t[]){a->txns[*at].call, a->txns[txn].call}, 2,
              "rows %" PRIu64 " and %" PRIu64 " both read the first %" PRIu32
              " elements of list %" PRIu32 " and appended to them",
              a->txns[*at].end, a->txns[txn].end, l->read_count, l->key);
    }
}

static void txns_judge(struct append *a)
{
    struct history_micro m;

    for (uint32_t t = 0; t < a->txns_count && a->rc == 0; t++) {
        uint32_t at = 0;

        if (a->txns[t].end == NONE_ROW) {
            continue;
        }
        while (a->rc == 0 &&
               history_micro_next(a->h, &a->h->ops[a->txns[t].end].value, &at, &m)) {
            struct list *l = list_of(a, m.key);

            if (l == NULL) {
                return;
            }
            if (l->mark != a->txns[t].end) {
                l->mark = a->txns[t].end;
                l->appends = 0;
                l->has_read = false;
                l->updates = false;
                l->read_count = 0;
            }
            if (m.is_append) {
                txn_append(a, l, t, &m);
            } else {
                txn_read(a, l, t, &m);
            }
        }
    }
}

/* ---- edges of versions and of time ---- */

static void version_edges(struct append *a)
{
    for (size_t i = 0; i < a->lists_count && a->rc == 0; i++) {
        const struct list *l = &a->lists[i];

        if (l->is_broken) {
            continue;
        }
        for (uint32_t j = 1; j < l->count; j++) {
            edge(a, txn_at(a, l, j - 1), txn_at(a, l, j), CYCLES_WW);
        }
        for (uint32_t j = 0; j < l->tail_count && l->count > 0; j++) {
            edge(a, txn_at(a, l, l->count - 1), a->elements[l->tail[j]].txn, CYCLES_WW);
        }
    }
}

/* Walks the history once: each success is a moment, moments follow each other, and what
 * begins comes after the last of them. */
static void time_edges(struct append *a)
{
    uint32_t *last = kv_mem_realloc(NULL, (a->h->open_cap + 1) * sizeof *last);
    uint32_t moment = NONE;
    uint32_t next_moment = a->txns_count;
    uint32_t t = 0;

    if (last == NULL) {
        a->rc = KV_ENOMEM;
        return;
    }
    memset(last, 0xff, (a->h->open_cap + 1) * sizeof *last);
    for (size_t i = 0; i < a->h->count && a->rc == 0; i++) {
        const struct history_op *op = &a->h->ops[i];

        if (op->f != HISTORY_TXN) {
            continue;
        }
        if (op->type == HISTORY_INVOKE && keys_end(a->h, op) != HISTORY_FAIL) {
            KV_ASSERT(a->txns[t].call == i);
            edge(a, last[op->process], t, CYCLES_PROCESS);
            edge(a, moment, t, CYCLES_REALTIME);
            last[op->process] = t++;
        } else if (op->type == HISTORY_OK) {
            edge(a, moment, next_moment, CYCLES_REALTIME);
            edge(a, last[op->process], next_moment, CYCLES_REALTIME);
            moment = next_moment++;
        }
    }
    kv_mem_free(last);
}

static void cycle_report(void *ctx, const struct cycles_found *found)
{
    struct append *a = ctx;
    uint64_t rows[CYCLES_PATH_MAX];
    char text[400];
    size_t len = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < found->count; i++) {
        rows[i] = a->txns[found->nodes[i]].call;
        if (len < sizeof text - 48) {
            len += (size_t)snprintf(text + len, sizeof text - len,
                                    "row %" PRIu64 " -%s-> ", rows[i],
                                    cycles_kind_name(found->kinds[i]));
        }
    }
    if (found->count == 0) {
        blame(a, found->name, 0, rows, 0,
              "transactions depend on each other in a circle, too large to be shown");
    } else {
        blame(a, found->name, 0, rows, found->count, "%srow %" PRIu64, text, rows[0]);
    }
}

/* ---- all of it ---- */

static uint64_t graph_judge(struct append *a)
{
    uint64_t components = 0;

    if (a->rc == 0) {
        version_edges(a);
    }
    if (a->rc == 0) {
        time_edges(a);
    }
    if (a->rc == 0) {
        a->rc = cycles_find(&a->graph, cycle_report, &components, a);
    }
    return components;
}

void append_check(const struct history *h, struct verdict *out)
{
    struct append a = {.h = h, .v = out};
    uint64_t successes = 0;
    uint64_t components;

    verdict_init(out, "append");
    arena_init(&a.arena, 1 << 20, 0);
    pairs_init(&a.numbers);
    pairs_init(&a.by_id);
    pairs_init(&a.updates);
    a.txns = kv_mem_zalloc((h->count + 1) * sizeof *a.txns);
    a.rc = a.txns == NULL || h->count >= NONE / 4 ? KV_ENOMEM : 0;
    if (a.rc == 0) {
        collect(&a);
    }
    for (uint32_t t = 0; t < a.txns_count; t++) {
        successes += a.txns[t].end != NONE_ROW;
    }
    cycles_init(&a.graph, a.txns_count, (uint32_t)successes);
    for (size_t i = 0; i < a.lists_count && a.rc == 0; i++) {
        order_make(&a, &a.lists[i]);
    }
    if (a.rc == 0) {
        tails_make(&a);
        txns_judge(&a);
    }
    components = graph_judge(&a);
    if (a.rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (successes == 0) {
        verdict_doubt(out, "no transaction succeeded");
    }
    verdict_fact(out, "txns", (double)a.txns_count);
    verdict_fact(out, "keys", (double)a.lists_count);
    verdict_fact(out, "appends", (double)a.elements_count);
    verdict_fact(out, "edges", (double)a.graph.count);
    verdict_fact(out, "components", (double)components);
    cycles_close(&a.graph);
    pairs_close(&a.numbers);
    pairs_close(&a.by_id);
    pairs_close(&a.updates);
    kv_mem_free(a.lists);
    kv_mem_free(a.elements);
    kv_mem_free(a.txns);
    arena_close(&a.arena);
}
