/* server/apply_txn.c - kv.txn: compares, then one of two lists, all of it or nothing.
 *
 * Operations change the state one after the other and see what the ones before them
 * did. Where one fails, the rows as they were are put back, newest first.
 */
#include "raft/base/err.h"
#include "server/apply_parts.h"
#include "server/number.h"
#include "server/txn.h"

/* A row as it was before an operation. */
struct txn_undo {
    bool existed;
    struct row row; /* In `scratch`; only the key where it did not exist. */
    struct ttl ttl;
};

struct txn_run {
    struct apply *a;
    const struct command *c;
    struct arena *keep; /* NULL: nobody waits for the results. */
    uint64_t rev;
    struct txn_undo undo[KV_TXN_OPS_MAX];
    uint32_t undo_count;
    size_t undo_bytes;
    struct rpc_txn_result *results; /* NULL: they are not kept. */
    uint32_t results_count;
    size_t result_bytes;   /* Counted whether they are kept or not: */
    uint32_t result_items; /* all replicas must come to the same end. */
    bool lost;             /* No memory for a result. */
    int code;              /* Why the operations are taken back; 0: they are not. */
};

static int row_find(struct txn_run *t, struct kv_bytes key, struct row *out,
                    bool *out_found)
{
    int rc = state_get(t->a->st, ROW_KV, key, &t->a->scratch, out);

    *out_found = rc == 0;
    return rc == KV_ENOTFOUND ? 0 : rc;
}

/* ---- compares ---- */

static bool test_holds(enum rpc_txn_test test, int order)
{
    switch (test) {
    case RPC_TXN_EQ:
        return order == 0;
    case RPC_TXN_NE:
        return order != 0;
    case RPC_TXN_LT:
        return order < 0;
    case RPC_TXN_GT:
        return order > 0;
    case RPC_TXN_LE:
        return order <= 0;
    case RPC_TXN_GE:
        return order >= 0;
    case RPC_TXN_TESTS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

/* Is the lock held, or is it not, with this token? */
static int lock_holds(struct txn_run *t, const struct rpc_txn_compare *c, bool *out)
{
    struct lock lock;
    int rc = apply_lock_read(t->a->st, c->key, &t->a->scratch, &lock);

    if (rc == 0) {
        *out = test_holds(c->test, lock_holder(&lock, c->rev) == NULL);
    }
    return rc;
}

/* What is left of a key's time to live, in ms: at least 1; 0: it does not end. */
static int lease_holds(struct txn_run *t, const struct rpc_txn_compare *c, bool *out)
{
    struct ttl ttl;
    uint64_t left = 0;
    int rc = apply_ttl_find(t->a, c->key, &t->a->scratch, &ttl);

    if (rc == 0 && ttl.until_ms != 0) {
        left = ttl.until_ms > t->a->time_ms ? ttl.until_ms - t->a->time_ms : 1;
    }
    *out = test_holds(c->test, (left > c->rev) - (left < c->rev));
    return rc;
}

/* A key that does not exist has rev 0, and a value that differs from every other. */
static int compare_holds(struct txn_run *t, const struct rpc_txn_compare *c, bool *out)
{
    struct row row;
    uint64_t rev;
    bool found;
    int rc;

    if (c->what == RPC_TXN_LOCK) {
        return lock_holds(t, c, out);
    }
    if (c->what == RPC_TXN_LEASE) {
        return lease_holds(t, c, out);
    }
    rc = row_find(t, c->key, &row, &found);
    if (rc != 0) {
        return rc;
    }
    switch (c->what) {
    case RPC_TXN_VALUE:
        *out = found ? test_holds(c->test, kv_bytes_compare(row.value, c->value))
                     : c->test == RPC_TXN_NE;
        return 0;
    case RPC_TXN_REV:
        rev = found ? row.rev : 0;
        *out = test_holds(c->test, (rev > c->rev) - (rev < c->rev));
        return 0;
    case RPC_TXN_EXISTS:
        *out = test_holds(c->test, found != c->exists);
        return 0;
    case RPC_TXN_LOCK:
    case RPC_TXN_LEASE:
    case RPC_TXN_WHATS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

/* ---- changes, and taking them back ---- */

/* Remembers the key's row before it is changed. */
static int undo_note(struct txn_run *t, struct kv_bytes key)
{
    struct txn_undo *u = &t->undo[t->undo_count];
    struct row row;
    int rc = row_find(t, key, &row, &u->existed);

    if (rc != 0) {
        return rc;
    }
    u->row = (struct row){.kind = ROW_KV, .key = key};
    if (u->existed) {
        t->undo_bytes += row.value.len;
        if (t->undo_bytes > APPLY_TXN_UNDO_BYTES_MAX) {
            t->code = KV_ETOOLARGE;
            return 0;
        }
        u->row.slot = row.slot;
        u->row.rev = row.rev;
        rc = arena_copy(&t->a->scratch, row.value, &u->row.value);
    }
    if (rc == 0) {
        rc = apply_ttl_find(t->a, key, &t->a->scratch, &u->ttl);
    }
    t->undo_count += rc == 0;
    return rc;
}

static int undo_all(struct txn_run *t)
{
    bool existed;
    int rc = 0;

    while (t->undo_count > 0 && rc == 0) {
        const struct txn_undo *u = &t->undo[--t->undo_count];

        rc = u->existed ? apply_key_put(t->a, &u->row, &u->ttl)
                        : apply_key_del(t->a, u->row.key, &existed);
    }
    return rc;
}

static int row_set(struct txn_run *t, struct kv_bytes key, struct kv_bytes value,
                   uint32_t ttl_ms)
{
    struct row row = {
        .kind = ROW_KV, .slot = t->c->slot, .rev = t->rev, .key = key, .value = value};
    int rc = undo_note(t, key);
    struct ttl ttl = apply_ttl_of(t->a, ttl_ms, t->rev, (uint16_t)t->undo_count);

    return rc != 0 || t->code != 0 ? rc : apply_key_put(t->a, &row, &ttl);
}

/* ---- operations ---- */

/* Counts what is read. False: it is too much. */
static bool read_fits(struct txn_run *t, size_t bytes, uint32_t items)
{
    t->result_bytes += bytes;
    t->result_items += items;
    if (t->result_bytes > APPLY_TXN_RESULT_BYTES_MAX ||
        t->result_items > KV_RANGE_ITEMS_MAX) {
        t->code = KV_ETOOLARGE;
    }
    return t->code == 0;
}

/* Copies bytes of a result for whoever waits. */
static struct kv_bytes keep_bytes(struct txn_run *t, struct kv_bytes bytes)
{
    struct kv_bytes out = {0};

    if (t->results != NULL && arena_copy(t->keep, bytes, &out) != 0) {
        t->lost = true;
    }
    return out;
}

static int do_get(struct txn_run *t, const struct rpc_txn_op *op,
                  struct rpc_txn_result *out)
{
    struct row row;
    int rc = row_find(t, op->key, &row, &out->found);

    if (rc == 0 && out->found && read_fits(t, row.value.len, 0)) {
        out->rev = row.rev;
        out->value = keep_bytes(t, row.value);
    }
    return rc;
}

static int do_del(struct txn_run *t, const struct rpc_txn_op *op,
                  struct rpc_txn_result *out)
{
    int rc = undo_note(t, op->key);

    out->rev = t->rev;
    return rc != 0 || t->code != 0 ? rc : apply_key_del(t->a, op->key, &out->deleted);
}

static int do_incr(struct txn_run *t, const struct rpc_txn_op *op,
                   struct rpc_txn_result *out)
{
    uint8_t text[NUMBER_BYTES_MAX];
    struct row row;
    int64_t number = 0;
    bool found;
    int rc = row_find(t, op->key, &row, &found);

    if (rc != 0) {
        return rc;
    }
    if (found && !number_parse(row.value, &number)) {
        t->code = KV_EBADREQUEST;
        return 0;
    }
    if (__builtin_add_overflow(number, op->delta, &number)) {
        t->code = KV_EOVERFLOW;
        return 0;
    }
    out->number = number;
    out->rev = t->rev;
    return row_set(t, op->key, kv_bytes(text, number_print(number, text)), 0);
}

/* Copies rows for whoever waits, and where a range goes on. */
static void keep_rows(struct txn_run *t, const struct row *rows, uint32_t count,
                      struct rpc_txn_result *out)
{
    struct rpc_item *items;
    uint8_t *next;

    if (t->results == NULL) {
        return;
    }
    items = arena_alloc(t->keep, (count + 1) * sizeof *items);
    if (items == NULL) {
        t->lost = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        items[i] = (struct rpc_item){keep_bytes(t, rows[i].key),
                                     keep_bytes(t, rows[i].value), rows[i].rev};
    }
    out->items = items;
    out->items_count = count;
    if (out->more) {
        const struct kv_bytes *last = &rows[count - 1].key;

        next = arena_alloc(t->keep, last->len + 1);
        if (next == NULL) {
            t->lost = true;
            return;
        }
        memcpy(next, last->data, last->len);
        next[last->len] = 0;
        out->next = kv_bytes(next, last->len + 1);
    }
}

static int do_range(struct txn_run *t, const struct rpc_txn_op *op,
                    struct rpc_txn_result *out)
{
    uint32_t limit = op->limit == 0 ? KV_RANGE_ITEMS_DEFAULT : op->limit;
    struct row *rows = NULL;
    uint32_t count = 0;
    size_t bytes = 0;
    int rc = 0;

    if (kv_bytes_compare(op->key, op->value) < 0) {
        rc = state_range(t->a->st, ROW_KV, op->key, op->value, limit,
                         APPLY_TXN_RESULT_BYTES_MAX, &t->a->scratch, &rows, &count,
                         &out->more);
    }
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        bytes += rows[i].key.len + rows[i].value.len;
    }
    if (read_fits(t, bytes, count)) {
        keep_rows(t, rows, count, out);
    }
    return 0;
}

static int op_run(struct txn_run *t, const struct rpc_txn_op *op,
                  struct rpc_txn_result *out)
{
    *out = (struct rpc_txn_result){.verb = op->verb};
    switch (op->verb) {
    case RPC_TXN_GET:
        return do_get(t, op, out);
    case RPC_TXN_PUT:
        out->rev = t->rev;
        return row_set(t, op->key, op->value, op->ttl_ms);
    case RPC_TXN_DEL:
        return do_del(t, op, out);
    case RPC_TXN_INCR:
        return do_incr(t, op, out);
    case RPC_TXN_RANGE:
        return do_range(t, op, out);
    case RPC_TXN_VERBS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

/* ---- the whole ---- */

/* Reads the compares; are all of them true? */
static int compares_run(struct txn_run *t, struct txn_reader *r, bool *out)
{
    struct rpc_txn_compare compare;
    bool holds = true;
    int rc = 0;

    *out = true;
    for (uint32_t i = 0; i < r->counts[RPC_TXN_COMPARES] && rc == 0; i++) {
        txn_next_compare(r, &compare);
        if (*out) {
            rc = compare_holds(t, &compare, &holds);
            *out = holds;
        }
    }
    return rc;
}

static int list_run(struct txn_run *t, struct txn_reader *r, uint32_t count)
{
    struct rpc_txn_result dropped;
    struct rpc_txn_op op;
    int rc = 0;

    if (t->keep != NULL) {
        t->results = arena_alloc(t->keep, (count + 1) * sizeof *t->results);
        t->lost = t->results == NULL;
    }
    for (uint32_t i = 0; i < count && rc == 0 && t->code == 0; i++) {
        txn_next_op(r, &op);
        rc = op_run(t, &op, t->results == NULL ? &dropped : &t->results[i]);
    }
    t->results_count = count;
    return rc;
}

int apply_txn(struct apply *a, const struct command *c, struct arena *keep,
              struct apply_result *out)
{
    struct txn_run t = {.a = a, .c = c, .keep = keep, .rev = out->rev};
    struct rpc_txn_op passed_over;
    struct txn_reader r;
    enum rpc_txn_list list;
    int rc;

    txn_reader_init(&r, c->txn);
    rc = compares_run(&t, &r, &out->succeeded);
    if (rc != 0) {
        return rc;
    }
    list = out->succeeded ? RPC_TXN_THEN : RPC_TXN_ELSE;
    for (uint32_t i = 0; list == RPC_TXN_ELSE && i < r.counts[RPC_TXN_THEN]; i++) {
        txn_next_op(&r, &passed_over);
    }
    rc = list_run(&t, &r, r.counts[list]);
    KV_ASSERT(!r.fields.bad); /* It was checked when it was decoded. */
    if (rc != 0 || t.code != 0) {
        int undone = undo_all(&t);

        out->code = t.code;
        return undone != 0 ? undone : rc;
    }
    out->results = t.results;
    out->results_count = t.results == NULL ? 0 : t.results_count;
    out->results_lost = keep != NULL && t.lost;
    return 0;
}
