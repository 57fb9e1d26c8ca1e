/* jepsen/checker/set.c - are all elements of each set there that must be? */
#include "jepsen/checker/set.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/checker/keys.h"
#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

#define NONE HISTORY_NO_MATE

struct element {
    int64_t id;
    uint64_t add;     /* Row of the invocation. */
    uint64_t known;   /* Row from which on it must be seen; NONE. */
    uint64_t present; /* Latest beginning of a read that saw it; NONE. */
    uint64_t absent;  /* ... that missed it. */
    uint64_t misser;  /* The read that missed it then. */
    uint64_t stamp;   /* Number of the last read that saw it. */
};

/* An ok read of the key. */
struct look {
    uint64_t row;   /* Invocation. */
    uint64_t begin; /* It took place at or after this row. */
    uint32_t count;
};

struct set {
    const struct history *h;
    enum set_mode mode;
    struct verdict *v;
    uint32_t key; /* Being checked. */
    struct pairs by_id;
    struct element *elements;
    size_t count;
    struct look *looks;
    size_t looks_count;
    uint64_t *pending; /* Elements that no read missed yet. */
    uint64_t stamp;
    double *stable_ms; /* [stable] of all keys */
    uint64_t adds, reads, stable, stale, lost, never_read;
};

static void blame(struct set *s, const char *kind, uint64_t row, uint64_t other,
                  const char *format, ...) KV_PRINTF(5, 6);

/* Reports two operations by their invocations; NONE: none. */
static void blame(struct set *s, const char *kind, uint64_t row, uint64_t other,
                  const char *format, ...)
{
    struct verdict_anomaly a = {.key = s->key};
    const uint64_t rows[2] = {row, other};
    va_list args;

    snprintf(a.kind, sizeof a.kind, "%s", kind);
    for (int i = 0; i < 2; i++) {
        if (rows[i] != NONE) {
            a.ops[a.ops_count++] = rows[i];
            if (s->h->ops[rows[i]].mate != NONE) {
                a.ops[a.ops_count++] = s->h->ops[rows[i]].mate;
            }
        }
    }
    va_start(args, format);
    vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    verdict_add(s->v, &a);
}

/* ---- collecting ---- */

static int add_collect(struct set *s, const struct history_op *call)
{
    const struct history_op *end = keys_completion(s->h, call);
    int64_t id;
    uint64_t *at;

    if (call->value.kind != HISTORY_INT) {
        verdict_doubt(s->v, "row %" PRIu64 " adds no integer", call->index);
        return 0;
    }
    s->adds++;
    id = history_ints(s->h, &call->value)[0];
    at = pairs_at(&s->by_id, (uint64_t)id, 0, s->count);
    if (at == NULL) {
        return KV_ENOMEM;
    }
    if (*at != s->count) {
        verdict_doubt(s->v, "element %" PRId64 " of key %" PRIu32 " is added twice", id,
                      s->key);
        return 0;
    }
    s->elements[s->count++] = (struct element){
        .id = id,
        .add = call->index,
        .known = end != NULL && end->type == HISTORY_OK ? end->index : NONE,
        .present = NONE,
        .absent = NONE,
        .misser = NONE,
    };
    return 0;
}

/* One element that a read saw. Returns it; NULL where it may not be there. */
static struct element *seen(struct set *s, const struct history_op *call, int64_t id)
{
    uint64_t at = pairs_find(&s->by_id, (uint64_t)id, 0);
    struct element *e = at == PAIRS_NONE ? NULL : &s->elements[at];

    if (e == NULL || e->add > call->mate) {
        blame(s, "phantom-element", call->index, NONE,
              "row %" PRIu64 " read %" PRId64 " of key %" PRIu32
              ", which nobody had begun to add",
              call->mate, id, s->key);
        return NULL;
    }
    if (e->stamp == s->stamp) {
        blame(s, "duplicate-element", call->index, e->add,
              "row %" PRIu64 " read %" PRId64 " of key %" PRIu32 " twice", call->mate,
              id, s->key);
        return NULL;
    }
    if (keys_end(s->h, &s->h->ops[e->add]) == HISTORY_FAIL) {
        blame(s, "failed-element", call->index, e->add,
              "row %" PRIu64 " read %" PRId64 " of key %" PRIu32
              ", whose add had certainly failed",
              call->mate, id, s->key);
    }
    e->stamp = s->stamp;
    return e;
}

/* Takes a read in: what it saw is known from its end on. */
static void read_collect(struct set *s, const struct history_op *call)
{
    const struct history_op *end = keys_completion(s->h, call);
    struct look *look = &s->looks[s->looks_count];

    if (end == NULL || end->type != HISTORY_OK) {
        return;
    }
    if (end->value.kind != HISTORY_LIST) {
        verdict_doubt(s->v, "row %" PRIu64 " read no list", end->index);
        return;
    }
    s->reads++;
    s->stamp++;
    *look = (struct look){call->index, call->index, 0};
    for (uint32_t i = 0; i < end->value.count; i++) {
        struct element *e = seen(s, call, history_ints(s->h, &end->value)[i]);

        if (e != NULL) {
            e->known = KV_MIN(e->known, end->index);
            look->count++;
            if (s->mode == SET_ATOMIC) {
                look->begin = KV_MAX(look->begin, e->add);
            }
        }
    }
    s->looks_count++;
}

/* ---- who saw what last ---- */

static int by_begin_descending(const void *a, const void *b)
{
    const struct look *x = a;
    const struct look *y = b;

    if (x->begin != y->begin) {
        return x->begin > y->begin ? -1 : 1;
    }
    return x->row > y->row ? -1 : x->row < y->row;
}

static int by_count(const void *a, const void *b)
{
    const struct look *x = a;
    const struct look *y = b;

    if (x->count != y->count) {
        return x->count < y->count ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

static void stamp_all(struct set *s, const struct look *look)
{
    const struct history_op *end = &s->h->ops[s->h->ops[look->row].mate];

    s->stamp++;
    for (uint32_t i = 0; i < end->value.count; i++) {
        uint64_t at =
            pairs_find(&s->by_id, (uint64_t)history_ints(s->h, &end->value)[i], 0);

        if (at != PAIRS_NONE) {
            s->elements[at].stamp = s->stamp;
            if (s->elements[at].present == NONE) {
                s->elements[at].present = look->begin;
            }
        }
    }
}

/* The latest reads first: the first that has an element is its last, and so for the
 * first that misses it. Who was missed needs no further look. */
static void looks_back(struct set *s)
{
    size_t pending = s->count;

    for (size_t i = 0; i < s->count; i++) {
        s->pending[i] = i;
    }
    qsort(s->looks, s->looks_count, sizeof *s->looks, by_begin_descending);
    for (size_t i = 0; i < s->looks_count; i++) {
        size_t left = 0;

        stamp_all(s, &s->looks[i]);
        for (size_t j = 0; j < pending; j++) {
            struct element *e = &s->elements[s->pending[j]];

            if (e->stamp == s->stamp) {
                s->pending[left++] = s->pending[j];
            } else {
                e->absent = s->looks[i].begin;
                e->misser = s->looks[i].row;
            }
        }
        pending = left;
    }
}

/* Of two atomic looks one holds the other; by size, each holds the one before. */
static void looks_nested(struct set *s)
{
    qsort(s->looks, s->looks_count, sizeof *s->looks, by_count);
    for (size_t i = 1; i < s->looks_count; i++) {
        const struct history_op *before =
            &s->h->ops[s->h->ops[s->looks[i - 1].row].mate];

        stamp_all(s, &s->looks[i]);
        for (uint32_t j = 0; j < before->value.count; j++) {
            int64_t id = history_ints(s->h, &before->value)[j];
            uint64_t at = pairs_find(&s->by_id, (uint64_t)id, 0);

            if (at != PAIRS_NONE && s->elements[at].stamp != s->stamp) {
                blame(s, "incompatible-reads", s->looks[i - 1].row, s->looks[i].row,
                      "row %" PRIu64 " read %" PRId64 " of key %" PRIu32
                      ", row %" PRIu64 " did not, and has others instead",
                      before->index, id, s->key, s->h->ops[s->looks[i].row].mate);
                break;
            }
        }
    }
}

/* ---- judging ---- */

static void element_judge(struct set *s, const struct element *e)
{
    bool missed = e->known != NONE && e->absent != NONE && e->known < e->absent;
    int64_t late = 0;

    if (missed) {
        late = s->h->ops[e->misser].time_ns - s->h->ops[e->known].time_ns;
    }
    if (missed && (e->present == NONE || e->present < e->absent)) {
        s->lost++;
        blame(s, "lost-element", e->add, e->misser,
              "element %" PRId64 " of key %" PRIu32 " was known at row %" PRIu64
              ", and the read that began at row %" PRIu64 " and all later ones miss it",
              e->id, s->key, e->known, e->misser);
        return;
    }
    if (e->present == NONE || (e->absent != NONE && e->absent > e->present)) {
        s->never_read++;
        return;
    }
    s->stable_ms[s->stable++] = missed && late > 0 ? (double)late / 1e6 : 0;
    if (!missed) {
        return;
    }
    s->stale++;
    if (s->mode != SET_EVENTUAL) {
        blame(s, "stale-element", e->add, e->misser,
              "element %" PRId64 " of key %" PRIu32 " was known at row %" PRIu64
              ", but the read that began at row %" PRIu64 " misses it",
              e->id, s->key, e->known, e->misser);
    }
}

static int key_check(struct set *s, const struct keys *keys, uint32_t k)
{
    int rc = 0;

    s->key = keys->keys[k];
    s->count = 0;
    s->looks_count = 0;
    pairs_init(&s->by_id);
    for (uint64_t i = keys->begin[k]; i < keys->begin[k + 1] && rc == 0; i++) {
        const struct history_op *call = &s->h->ops[keys->rows[i]];

        rc = call->f == HISTORY_ADD ? add_collect(s, call) : 0;
    }
    for (uint64_t i = keys->begin[k]; i < keys->begin[k + 1] && rc == 0; i++) {
        const struct history_op *call = &s->h->ops[keys->rows[i]];

        if (call->f == HISTORY_READ) {
            read_collect(s, call);
        }
    }
    if (rc == 0) {
        looks_back(s);
        for (size_t i = 0; i < s->count; i++) {
            element_judge(s, &s->elements[i]);
        }
        if (s->mode == SET_ATOMIC) {
            looks_nested(s);
        }
    }
    pairs_close(&s->by_id);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void facts(struct set *s)
{
    static const struct {
        const char *name;
        double point;
    } points[] = {{"stable_p50_ms", 0.5},
                  {"stable_p95_ms", 0.95},
                  {"stable_p99_ms", 0.99},
                  {"stable_max_ms", 1}};

    verdict_fact(s->v, "adds", (double)s->adds);
    verdict_fact(s->v, "reads", (double)s->reads);
    verdict_fact(s->v, "stable", (double)s->stable);
    verdict_fact(s->v, "stale", (double)s->stale);
    verdict_fact(s->v, "lost", (double)s->lost);
    verdict_fact(s->v, "never_read", (double)s->never_read);
    qsort(s->stable_ms, s->stable, sizeof *s->stable_ms, by_value);
    for (size_t i = 0; i < KV_ARRAY_COUNT(points) && s->stable > 0; i++) {
        size_t at = (size_t)((double)s->stable * points[i].point);

        verdict_fact(s->v, points[i].name, s->stable_ms[KV_MIN(at, s->stable - 1)]);
    }
}

void set_check(const struct history *h, enum set_mode mode, struct verdict *out)
{
    struct set s = {.h = h, .mode = mode, .v = out};
    struct keys keys;
    int rc;

    verdict_init(out, "set");
    rc = keys_init(&keys, h, KEYS_F(HISTORY_ADD) | KEYS_F(HISTORY_READ));
    if (rc == 0) {
        s.elements = kv_mem_zalloc((h->count + 1) * sizeof *s.elements);
        s.looks = kv_mem_zalloc((h->count + 1) * sizeof *s.looks);
        s.pending = kv_mem_zalloc((h->count + 1) * sizeof *s.pending);
        s.stable_ms = kv_mem_zalloc((h->count + 1) * sizeof *s.stable_ms);
        rc = s.elements == NULL || s.looks == NULL || s.pending == NULL ||
                     s.stable_ms == NULL
                 ? KV_ENOMEM
                 : 0;
        for (uint32_t k = 0; k < keys.count && rc == 0; k++) {
            rc = key_check(&s, &keys, k);
        }
        facts(&s);
        keys_close(&keys);
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (s.stable == 0) {
        verdict_doubt(out, "no read saw an element to the end");
    }
    kv_mem_free(s.elements);
    kv_mem_free(s.looks);
    kv_mem_free(s.pending);
    kv_mem_free(s.stable_ms);
}
