/* jepsen/checker/replay.c - do all replies agree with the order that kvd names? */
#include "jepsen/checker/replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/checker/keys.h"
#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum item_kind {
    ITEM_WRITE, /* The value was set: known from its reply, or found by a read. */
    ITEM_CAS,
    ITEM_READ,
    ITEM_MISMATCH,
};

/* Something at a position. */
struct item {
    uint32_t group;
    uint32_t key;
    uint64_t rev; /* Position; of a read where it was true. */
    uint64_t row; /* Completion; of a found write the first read that saw it. */
    enum item_kind kind;
    bool is_found; /* A write that only reads tell of. */
};

/* The register while it is replayed. */
struct cell {
    uint64_t rev; /* 0: never written. */
    uint64_t row; /* Completion of the last write. */
    bool is_nil;
    int64_t value;
};

/* Unknown cas of a pool that expect one value. */
struct pool_cas {
    int64_t expected;
    uint64_t count;
    uint64_t next; /* In the same pool; PAIRS_NONE: none. */
};

/* Unknown operations that leave one value in one key. Who is accounted for is taken
 * out. */
struct pool {
    uint64_t first_row; /* Invocation of the first. */
    uint64_t writes;
    uint64_t cas;  /* First of its pool_cas; PAIRS_NONE: none. */
    bool is_loose; /* One was taken where it could have been another: what is left may
                     * be either. */
};

struct replay {
    const struct history *h;
    struct verdict *v;
    struct item *items;
    size_t count;
    struct pairs by_rev;   /* (group and key, rev) -> row of the write's completion. */
    struct pairs all_rev;  /* (group, rev) -> row, writes of all keys. */
    struct pairs cells_by; /* (group and key, 0) -> cell. */
    struct cell *cells;
    struct pairs pools_by; /* (key, value) -> pool. */
    struct pool *pools;
    struct pool_cas *cas; /* [cas_count] of all pools. */
    uint64_t cas_count;
    uint64_t reads, writes, found;
};

static uint64_t place(uint32_t group, uint32_t key)
{
    return (uint64_t)group << 32 | key;
}

static void blame(struct replay *r, const char *kind, uint64_t row, uint64_t other,
                  const char *format, ...) KV_PRINTF(5, 6);

/* Reports the operation of completion `row`, with that of `other` (HISTORY_NO_MATE:
 * none). */
static void blame(struct replay *r, const char *kind, uint64_t row, uint64_t other,
                  const char *format, ...)
{
    struct verdict_anomaly a = {.key = r->h->ops[row].key};
    const uint64_t rows[2] = {row, other};
    va_list args;

    snprintf(a.kind, sizeof a.kind, "%s", kind);
    for (int i = 0; i < 2; i++) {
        if (rows[i] != HISTORY_NO_MATE) {
            a.ops[a.ops_count++] = rows[i];
            if (r->h->ops[rows[i]].mate != HISTORY_NO_MATE) {
                a.ops[a.ops_count++] = r->h->ops[rows[i]].mate;
            }
        }
    }
    va_start(args, format);
    vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    verdict_add(r->v, &a);
}

static bool has_position(const struct history_op *op)
{
    return op->process != HISTORY_NEMESIS && op->at_rev != 0 &&
           (op->type == HISTORY_OK || op->type == HISTORY_FAIL);
}

static bool is_write(const struct history_op *op)
{
    return op->type == HISTORY_OK &&
           (op->f == HISTORY_WRITE || op->f == HISTORY_CAS || op->f == HISTORY_ADD);
}

/* ---- real time ---- */

/* The highest position whose reply had arrived, when an operation was invoked. */
struct floor {
    uint64_t rev;
    uint64_t row;
};

/* The floors of an invocation, one per group, are kept by number of the floor that was
 * newest then: floors only grow, so an append-only list per group would do; since a
 * completion names its group only later, the list is walked back by the row. */
struct floor_list {
    struct floor *all; /* Ascending in rev and in row. */
    size_t count, cap;
};

static int floor_raise(struct floor_list *l, uint64_t rev, uint64_t row)
{
    if (l->count > 0 && rev <= l->all[l->count - 1].rev) {
        return 0;
    }
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        struct floor *bigger = kv_mem_realloc(l->all, cap * sizeof *bigger);

        if (bigger == NULL) {
            return KV_ENOMEM;
        }
        l->all = bigger;
        l->cap = cap;
    }
    l->all[l->count++] = (struct floor){rev, row};
    return 0;
}

/* The newest floor whose reply arrived before `row`; NULL: none. */
static const struct floor *floor_before(const struct floor_list *l, uint64_t row)
{
    size_t low = 0;
    size_t high = l->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (l->all[middle].row < row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : &l->all[low - 1];
}

static int real_time(struct replay *r)
{
    struct floor_list *lists = NULL;
    size_t count = 0;
    struct pairs groups;
    int rc = 0;

    pairs_init(&groups);
    for (size_t i = 0; i < r->h->count && rc == 0; i++) {
        const struct history_op *op = &r->h->ops[i];
        const struct floor *before;
        uint64_t *at;

        if (!has_position(op)) {
            continue;
        }
        at = pairs_at(&groups, op->group, 0, count);
        rc = at == NULL ? KV_ENOMEM : 0;
        if (rc == 0 && *at == count) {
            struct floor_list *bigger =
                kv_mem_realloc(lists, (count + 1) * sizeof *lists);

            rc = bigger == NULL ? KV_ENOMEM : 0;
            if (rc == 0) {
                lists = bigger;
                lists[count++] = (struct floor_list){0};
            }
        }
        if (rc != 0) {
            break;
        }
        before = floor_before(&lists[*at], op->mate);
        if (before != NULL &&
            (op->at_rev < before->rev || (is_write(op) && op->at_rev == before->rev))) {
            blame(r, "real-time", i, before->row,
                  "row %zu answers at %" PRIu64 " of group %" PRIu32
                  ", but row %" PRIu64 " had answered at %" PRIu64
                  " before it was invoked",
                  i, op->at_rev, op->group, before->row, before->rev);
        }
        rc = floor_raise(&lists[*at], op->at_rev, i);
    }
    for (size_t i = 0; i < count; i++) {
        kv_mem_free(lists[i].all);
    }
    kv_mem_free(lists);
    pairs_close(&groups);
    return rc;
}

/* ---- collecting ---- */

/* What the operation makes of the register. */
static int64_t result_of(const struct history *h, const struct history_op *end)
{
    const struct history_op *call = &h->ops[end->mate];
    const int64_t *ints = history_ints(h, &call->value);

    return call->f == HISTORY_CAS ? ints[1] : ints[0];
}

static bool is_register(const struct history *h, const struct history_op *end)
{
    const struct history_op *call;

    if (end->mate == HISTORY_NO_MATE) {
        return false;
    }
    call = &h->ops[end->mate];
    switch (call->f) {
    case HISTORY_READ:
        return end->value.kind == HISTORY_INT || end->value.kind == HISTORY_NIL;
    case HISTORY_WRITE:
        return call->value.kind == HISTORY_INT;
    case HISTORY_CAS:
        return call->value.kind == HISTORY_PAIR;
    default:
        return false;
    }
}

/* Takes in a write that was answered. */
static int collect_write(struct replay *r, const struct history_op *op)
{
    uint64_t *at = pairs_at(&r->all_rev, op->group, op->rev, op->index);

    if (at == NULL) {
        return KV_ENOMEM;
    }
    if (*at != op->index) {
        blame(r, "duplicate-revision", op->index, *at,
              "rows %" PRIu64 " and %" PRIu64 " both wrote revision %" PRIu64
              " of group %" PRIu32,
              *at, op->index, op->rev, op->group);
        return 0;
    }
    r->writes++;
    r->items[r->count++] = (struct item){
        .group = op->group,
        .key = op->key,
        .rev = op->rev,
        .row = op->index,
        .kind = op->f == HISTORY_CAS ? ITEM_CAS : ITEM_WRITE,
    };
    return pairs_put(&r->by_rev, place(op->group, op->key), op->rev, op->index);
}

static int collect_unknown(struct replay *r, const struct history_op *call)
{
    const int64_t *ints = history_ints(r->h, &call->value);
    bool is_cas = call->f == HISTORY_CAS && call->value.kind == HISTORY_PAIR;
    struct pool *pool;
    uint64_t *at;

    if (!is_cas && (call->f != HISTORY_WRITE || call->value.kind != HISTORY_INT)) {
        return 0;
    }
    at = pairs_at(&r->pools_by, call->key, (uint64_t)ints[is_cas], r->pools_by.count);
    if (at == NULL) {
        return KV_ENOMEM;
    }
    pool = &r->pools[*at];
    if (pool->first_row == HISTORY_NO_MATE) {
        pool->first_row = call->index;
    }
    if (!is_cas) {
        pool->writes++;
        return 0;
    }
    for (uint64_t i = pool->cas; i != PAIRS_NONE; i = r->cas[i].next) {
        if (r->cas[i].expected == ints[0]) {
            r->cas[i].count++;
            return 0;
        }
    }
    r->cas[r->cas_count] = (struct pool_cas){ints[0], 1, pool->cas};
    pool->cas = r->cas_count++;
    return 0;
}

/* A cas of the pool that is left and expects the value, NULL: any value. */
static struct pool_cas *pool_cas(struct replay *r, const struct pool *pool,
                                 const int64_t *expected)
{
    for (uint64_t i = pool->cas; i != PAIRS_NONE; i = r->cas[i].next) {
        if (r->cas[i].count > 0 &&
            (expected == NULL || r->cas[i].expected == *expected)) {
            return &r->cas[i];
        }
    }
    return NULL;
}

static struct pool *pool_find(struct replay *r, uint32_t key, int64_t value,
                              uint64_t row)
{
    uint64_t at = pairs_find(&r->pools_by, key, (uint64_t)value);

    return at == PAIRS_NONE || r->pools[at].first_row > row ? NULL : &r->pools[at];
}

/* Takes whatever is left. */
static bool pool_take_any(struct replay *r, struct pool *pool)
{
    struct pool_cas *cas = pool_cas(r, pool, NULL);

    pool->is_loose |= cas != NULL && pool->writes > 0;
    if (pool->writes > 0) {
        pool->writes--;
    } else if (cas != NULL) {
        cas->count--;
    } else {
        return false;
    }
    return true;
}

/* Accounts for one unknown operation that left `value` behind what is in the cell, and
 * began before `row`: a cas that expects it, else a write, else a cas that found what
 * another unknown one had left. */
static bool pool_take(struct replay *r, const struct cell *cell, uint32_t key,
                      int64_t value, uint64_t row)
{
    struct pool *pool = pool_find(r, key, value, row);
    struct pool_cas *fits;

    if (pool == NULL) {
        return false;
    }
    fits = cell->is_nil ? NULL : pool_cas(r, pool, &cell->value);
    if (fits != NULL) {
        pool->is_loose |= pool->writes > 0;
        fits->count--;
        return true;
    }
    if (pool->writes > 0 || pool->is_loose) {
        return pool_take_any(r, pool);
    }
    for (uint64_t i = pool->cas; i != PAIRS_NONE; i = r->cas[i].next) {
        struct pool *before = pool_find(r, key, r->cas[i].expected, row);

        if (r->cas[i].count > 0 && before != NULL && before != pool &&
            pool_take_any(r, before)) {
            r->cas[i].count--;
            return true;
        }
    }
    return false;
}

/* Takes in a read; the write that it saw must be known, or one of the unknown. */
static int collect_read(struct replay *r, const struct history_op *op)
{
    uint64_t *at;

    r->reads++;
    r->items[r->count++] = (struct item){.group = op->group,
                                         .key = op->key,
                                         .rev = op->at_rev,
                                         .row = op->index,
                                         .kind = ITEM_READ};
    if (op->rev > op->at_rev) {
        blame(r, "future-read", op->index, HISTORY_NO_MATE,
              "row %" PRIu64 " read at %" PRIu64 " what was written at %" PRIu64,
              op->index, op->at_rev, op->rev);
        return 0;
    }
    if (op->rev == 0 || op->value.kind == HISTORY_NIL) {
        return 0;
    }
    at = pairs_at(&r->by_rev, place(op->group, op->key), op->rev, op->index);
    if (at == NULL) {
        return KV_ENOMEM;
    }
    if (*at != op->index) {
        return 0;
    }
    r->found++;
    r->items[r->count++] = (struct item){.group = op->group,
                                         .key = op->key,
                                         .rev = op->rev,
                                         .row = op->index,
                                         .kind = ITEM_WRITE,
                                         .is_found = true};
    return 0;
}

/* Known writes and unknown ones first: reads are held against both. */
static int collect(struct replay *r)
{
    int rc = 0;

    for (size_t i = 0; i < r->h->count && rc == 0; i++) {
        const struct history_op *op = &r->h->ops[i];

        if (op->type == HISTORY_INVOKE && keys_end(r->h, op) == HISTORY_INFO) {
            rc = collect_unknown(r, op);
        } else if (has_position(op) && is_register(r->h, op) && is_write(op)) {
            rc = collect_write(r, op);
        }
    }
    for (size_t i = 0; i < r->h->count && rc == 0; i++) {
        const struct history_op *op = &r->h->ops[i];

        if (!has_position(op) || !is_register(r->h, op)) {
            continue;
        }
        if (op->type == HISTORY_OK && op->f == HISTORY_READ) {
            rc = collect_read(r, op);
        } else if (op->type == HISTORY_FAIL && op->f == HISTORY_CAS) {
            r->items[r->count++] = (struct item){.group = op->group,
                                                 .key = op->key,
                                                 .rev = op->at_rev,
                                                 .row = op->index,
                                                 .kind = ITEM_MISMATCH};
        }
    }
    return rc;
}

/* ---- replaying ---- */

/* By group, then position; what writes comes before what looks there. */
static int item_order(const void *a, const void *b)
{
    const struct item *x = a;
    const struct item *y = b;

    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    if (x->rev != y->rev) {
        return x->rev < y->rev ? -1 : 1;
    }
    return (int)x->kind - (int)y->kind;
}

static void replay_read(struct replay *r, const struct cell *cell,
                        const struct history_op *op)
{
    bool is_nil = op->value.kind == HISTORY_NIL;
    int64_t value = is_nil ? 0 : history_ints(r->h, &op->value)[0];
    uint64_t rev = is_nil ? 0 : op->rev;

    if (rev > op->at_rev) {
        return; /* Reported already. */
    }
    if (rev < cell->rev) {
        blame(r, "stale-read", op->index, cell->row,
              "row %" PRIu64 " read key %" PRIu32 " at %" PRIu64
              " as of revision %" PRIu64 ", but row %" PRIu64 " wrote it at %" PRIu64,
              op->index, op->key, op->at_rev, rev, cell->row, cell->rev);
    } else if (!is_nil && (cell->is_nil || value != cell->value)) {
        blame(r, "wrong-value", op->index, cell->row,
              "row %" PRIu64 " read %" PRId64 " of key %" PRIu32 " at revision %" PRIu64
              ", but %" PRId64 " was written there",
              op->index, value, op->key, rev, cell->value);
    }
}

/* A cas found its expected value; or it did not, and says so. */
static void replay_cas(struct replay *r, const struct cell *cell,
                       const struct history_op *op)
{
    const struct history_op *call = &r->h->ops[op->mate];
    int64_t expected = history_ints(r->h, &call->value)[0];
    bool fits = !cell->is_nil && cell->value == expected;

    if (op->type == HISTORY_OK) {
        /* Another unknown write, which no read saw, may have come in between. */
        if (!fits && !pool_take(r, cell, op->key, expected, op->index)) {
            blame(r, "cas-mismatch", op->index,
                  cell->is_nil ? HISTORY_NO_MATE : cell->row,
                  "row %" PRIu64 " swapped %" PRId64 " of key %" PRIu32 " at %" PRIu64
                  ", where row %" PRIu64 " had left another value",
                  op->index, expected, op->key, op->rev, cell->row);
        }
        return;
    }
    /* A higher revision is that of an unknown write, which no read saw. */
    if (op->rev < cell->rev) {
        blame(r, "stale-read", op->index, cell->row,
              "row %" PRIu64 " looked at key %" PRIu32 " at %" PRIu64
              " as of revision %" PRIu64 ", but row %" PRIu64 " wrote it at %" PRIu64,
              op->index, op->key, op->at_rev, op->rev, cell->row, cell->rev);
    } else if (fits && op->rev == cell->rev) {
        blame(r, "false-mismatch", op->index, cell->row,
              "row %" PRIu64 " found no %" PRId64 " in key %" PRIu32 " at %" PRIu64
              ", but row %" PRIu64 " had left it there",
              op->index, expected, op->key, op->at_rev, cell->row);
    }
}

static int replay_items(struct replay *r)
{
    qsort(r->items, r->count, sizeof *r->items, item_order);
    for (size_t i = 0; i < r->count; i++) {
        const struct item *item = &r->items[i];
        const struct history_op *op = &r->h->ops[item->row];
        uint64_t *at =
            pairs_at(&r->cells_by, place(item->group, item->key), 0, r->cells_by.count);
        struct cell *cell;
        int64_t value;

        if (at == NULL) {
            return KV_ENOMEM;
        }
        cell = &r->cells[*at];
        if (item->kind == ITEM_READ) {
            replay_read(r, cell, op);
            continue;
        }
        if (item->kind == ITEM_CAS || item->kind == ITEM_MISMATCH) {
            replay_cas(r, cell, op);
        }
        if (item->kind == ITEM_MISMATCH) {
            continue;
        }
        value =
            item->is_found ? history_ints(r->h, &op->value)[0] : result_of(r->h, op);
        if (item->is_found && !pool_take(r, cell, item->key, value, item->row)) {
            blame(r, "phantom-write", item->row, HISTORY_NO_MATE,
                  "row %" PRIu64 " read %" PRId64 " of key %" PRIu32
                  ", written at revision %" PRIu64
                  ", where nobody wrote it (or a write took effect twice)",
                  item->row, value, item->key, item->rev);
        }
        *cell = (struct cell){.rev = item->rev, .row = item->row, .value = value};
    }
    return 0;
}

/* ---- all of it ---- */

static int replay_init(struct replay *r, const struct history *h)
{
    size_t rows = h->count + 1;

    r->h = h;
    pairs_init(&r->by_rev);
    pairs_init(&r->all_rev);
    pairs_init(&r->cells_by);
    pairs_init(&r->pools_by);
    r->items = kv_mem_zalloc(2 * rows * sizeof *r->items);
    r->cells = kv_mem_zalloc(rows * sizeof *r->cells);
    r->pools = kv_mem_zalloc(rows * sizeof *r->pools);
    r->cas = kv_mem_zalloc(rows * sizeof *r->cas);
    if (r->items == NULL || r->cells == NULL || r->pools == NULL || r->cas == NULL) {
        return KV_ENOMEM;
    }
    for (size_t i = 0; i < rows; i++) {
        r->cells[i].is_nil = true;
        r->pools[i].first_row = HISTORY_NO_MATE;
        r->pools[i].cas = PAIRS_NONE;
    }
    return 0;
}

static void replay_close(struct replay *r)
{
    pairs_close(&r->by_rev);
    pairs_close(&r->all_rev);
    pairs_close(&r->cells_by);
    pairs_close(&r->pools_by);
    kv_mem_free(r->items);
    kv_mem_free(r->cells);
    kv_mem_free(r->pools);
    kv_mem_free(r->cas);
}

static void check(const struct history *h, bool has_time, struct verdict *out)
{
    struct replay r = {.v = out};
    uint64_t replies = 0;
    int rc;

    verdict_init(out, "replay");
    rc = replay_init(&r, h);
    if (rc == 0 && has_time) {
        rc = real_time(&r);
    }
    if (rc == 0) {
        rc = collect(&r);
    }
    if (rc == 0) {
        rc = replay_items(&r);
    }
    for (size_t i = 0; i < h->count; i++) {
        replies += has_position(&h->ops[i]);
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (replies == 0) {
        verdict_doubt(out, "no reply says where it was true");
    }
    verdict_fact(out, "replies", (double)replies);
    verdict_fact(out, "writes", (double)r.writes);
    verdict_fact(out, "reads", (double)r.reads);
    verdict_fact(out, "found", (double)r.found);
    replay_close(&r);
}

void replay_check(const struct history *h, struct verdict *out)
{
    check(h, true, out);
}

void replay_check_values(const struct history *h, struct verdict *out)
{
    check(h, false, out);
}
