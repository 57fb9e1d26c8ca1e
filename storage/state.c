/* storage/state.c - active delta, frozen delta and store, read as one.
 *
 * A row is looked for in the active delta, then in the frozen one, then in the store;
 * the first that knows it, be it as a tombstone, is right. That also holds while the
 * checkpoint thread is writing the frozen rows into the store: they are the same.
 */
#include "storage/state.h"

#include "raft/base/err.h"
#include "storage/delta.h"
#include "storage/row.h"

enum {
    STATE_SCRATCH_BLOCK_BYTES = 16 * 1024,
    STATE_BATCH_FIRST = 8, /* Rows of the first look into the store for a range. */
    STATE_BATCH_MAX = 256,
    STATE_DELTA_SLACK_BYTES = 8 * 1024 * 1024,
    STATE_LOOKS =
        2, /* A write looks at its key and at its record before it changes them. */
};

/* What a look into the store found, so that the change that follows need not look
 * again. It holds as long as the store does not change: until state_checkpointed() or
 * state_reload(). Deltas are asked first. */
struct store_look {
    uint64_t hash;    /* exists: row_hash(), */
    uint64_t bytes;   /* and what the row counts for. */
    uint16_t key_len; /* 0: no look. */
    uint8_t kind;
    bool exists;
    uint8_t key[ROW_KEY_BYTES_MAX];
};

struct state {
    struct store *store; /* Borrowed. */
    group_id group;
    size_t delta_bytes_max;       /* Soft bound of each delta. */
    struct delta deltas[2];       /* One is active, the other frozen or empty. */
    uint32_t active;              /* Which of them. */
    bool is_frozen;               /* The other one is with the checkpoint thread. */
    struct state_meta meta;       /* As of now. */
    struct raft_base checkpoint;  /* Applied position of the last checkpoint. */
    struct raft_base frozen_base; /* Applied position of the frozen delta. */
    struct arena scratch;         /* Rows from the store, for the length of one call. */
    struct state_observer observer; /* changing NULL: nobody looks. */
    struct store_look looks[STATE_LOOKS];
    uint32_t look_next; /* The one to be replaced. */
};

static struct delta *active_of(struct state *st)
{
    return &st->deltas[st->active];
}

static struct delta *frozen_of(struct state *st)
{
    return &st->deltas[1 - st->active];
}

int state_open(struct store *s, group_id group, size_t delta_bytes_max,
               struct state **out)
{
    struct state *st = kv_mem_zalloc(sizeof *st);
    /* delta_bytes_max is kept by the caller through state_full(); this is the wall
     * behind it, with room for what one entry may add and for the array of rows. */
    size_t wall = 4 * delta_bytes_max + STATE_DELTA_SLACK_BYTES;
    int rc;

    KV_ASSERT(delta_bytes_max > 0);
    if (st == NULL) {
        return KV_ENOMEM;
    }
    st->store = s;
    st->group = group;
    st->delta_bytes_max = delta_bytes_max;
    delta_init(&st->deltas[0], wall);
    delta_init(&st->deltas[1], wall);
    arena_init(&st->scratch, STATE_SCRATCH_BLOCK_BYTES, 0);
    rc = s->ops->state_load(s, group, &st->meta);
    if (rc != 0) {
        state_close(st);
        return rc;
    }
    st->checkpoint = st->meta.applied;
    *out = st;
    return 0;
}

void state_close(struct state *st)
{
    if (st == NULL) {
        return;
    }
    delta_close(&st->deltas[0]);
    delta_close(&st->deltas[1]);
    arena_close(&st->scratch);
    kv_mem_free(st);
}

/* ---- single rows ---- */

/* The row in the deltas, tombstones included; NULL when they do not know it. */
static const struct delta_row *delta_row_of(struct state *st, uint8_t kind,
                                            struct kv_bytes key)
{
    const struct delta_row *row = delta_find(active_of(st), kind, key);

    if (row == NULL && st->is_frozen) {
        row = delta_find(frozen_of(st), kind, key);
    }
    return row;
}

static bool is_observed(const struct state *st, uint8_t kind)
{
    return st->observer.changing != NULL && st->observer.kind == kind;
}

static void looks_forget(struct state *st)
{
    for (uint32_t i = 0; i < STATE_LOOKS; i++) {
        st->looks[i].key_len = 0;
    }
}

/* Keeps what the store said of a key; `row` NULL: there is none. A row that has to be
 * shown when it changes is read again then, so there is no use in keeping it. */
static void look_keep(struct state *st, uint8_t kind, struct kv_bytes key,
                      const struct row *row)
{
    struct store_look *look = &st->looks[st->look_next];

    if (key.len > sizeof look->key || (row != NULL && is_observed(st, kind))) {
        return;
    }
    st->look_next = (st->look_next + 1) % STATE_LOOKS;
    look->kind = kind;
    look->exists = row != NULL;
    look->hash = row == NULL ? 0 : row_hash(row);
    look->bytes = row == NULL ? 0 : row->key.len + row->value.len;
    look->key_len = (uint16_t)key.len;
    memcpy(look->key, key.data, key.len);
}

/* What the store said of the key, if that is all that is needed; NULL: ask it. */
static const struct store_look *look_find(const struct state *st, uint8_t kind,
                                          struct kv_bytes key)
{
    for (uint32_t i = 0; i < STATE_LOOKS; i++) {
        const struct store_look *look = &st->looks[i];

        if (look->key_len > 0 && look->kind == kind &&
            kv_bytes_equal(kv_bytes(look->key, look->key_len), key)) {
            return look->exists && is_observed(st, kind) ? NULL : look;
        }
    }
    return NULL;
}

int state_get(struct state *st, uint8_t kind, struct kv_bytes key, struct arena *arena,
              struct row *out)
{
    const struct delta_row *row = delta_row_of(st, kind, key);
    int rc;

    if (row != NULL) {
        if (row->row.deleted) {
            return KV_ENOTFOUND;
        }
        *out = row->row;
        return 0;
    }
    rc = st->store->ops->state_get(st->store, st->group, kind, key, arena, out);
    if (rc == 0 || rc == KV_ENOTFOUND) {
        look_keep(st, kind, key, rc == 0 ? out : NULL);
    }
    return rc;
}

/* What a row was worth before it changes. */
struct old_row {
    bool exists;
    uint64_t hash;
    uint64_t bytes;
    struct row row; /* exists, of a kind that is observed: a view. */
};

/* Looks up the old row. 0 (also when there is none), KV_EDAMAGED, KV_ENOMEM, KV_EIO. */
static int old_row_read(struct state *st, uint8_t kind, struct kv_bytes key,
                        struct old_row *out)
{
    const struct delta_row *known = delta_row_of(st, kind, key);
    const struct store_look *look;
    struct row row;
    int rc;

    *out = (struct old_row){0};
    if (known != NULL) {
        if (!known->row.deleted) {
            *out =
                (struct old_row){true, known->hash,
                                 known->row.key.len + known->row.value.len, known->row};
        }
        return 0;
    }
    look = look_find(st, kind, key);
    if (look != NULL) {
        *out = (struct old_row){
            .exists = look->exists, .hash = look->hash, .bytes = look->bytes};
        return 0;
    }
    arena_reset(&st->scratch);
    rc = st->store->ops->state_get(st->store, st->group, kind, key, &st->scratch, &row);
    if (rc == KV_ENOTFOUND) {
        return 0;
    }
    if (rc == 0) {
        *out = (struct old_row){true, row_hash(&row), row.key.len + row.value.len, row};
    }
    return rc;
}

static void meta_without(struct state_meta *m, const struct old_row *old)
{
    if (old->exists) {
        KV_ASSERT(m->rows_count > 0);
        KV_ASSERT(m->rows_bytes >= old->bytes);
        m->state_hash -= old->hash;
        m->rows_count--;
        m->rows_bytes -= old->bytes;
    }
}

void state_observe(struct state *st, const struct state_observer *observer)
{
    st->observer = observer == NULL ? (struct state_observer){0} : *observer;
}

static void observe(struct state *st, const struct old_row *old,
                    const struct row *after)
{
    if (is_observed(st, after->kind)) {
        st->observer.changing(st->observer.ctx, old->exists ? &old->row : NULL, after);
    }
}

int state_put(struct state *st, const struct row *r)
{
    struct old_row old;
    uint64_t hash = row_hash(r);
    uint64_t bytes = r->key.len + r->value.len;
    int rc;

    KV_ASSERT(row_fits(r));
    KV_ASSERT(!r->deleted);
    rc = old_row_read(st, r->kind, r->key, &old);
    if (rc != 0) {
        return rc;
    }
    observe(st, &old, r);
    rc = delta_put(active_of(st), r, hash);
    if (rc != 0) {
        return rc;
    }
    meta_without(&st->meta, &old);
    st->meta.state_hash += hash;
    st->meta.rows_count++;
    st->meta.rows_bytes += bytes;
    return 0;
}

int state_del(struct state *st, uint8_t kind, struct kv_bytes key, bool *out_existed)
{
    struct row tombstone = {.kind = kind, .deleted = true, .key = key};
    struct old_row old;
    int rc;

    KV_ASSERT(row_fits(&tombstone));
    rc = old_row_read(st, kind, key, &old);
    if (rc != 0) {
        return rc;
    }
    if (old.exists) {
        observe(st, &old, &tombstone);
        rc = delta_put(active_of(st), &tombstone, 0);
        if (rc != 0) {
            return rc;
        }
        meta_without(&st->meta, &old);
    }
    *out_existed = old.exists;
    return 0;
}

/* ---- ranges: three ordered sources, merged ---- */

/* A range under way. The store's rows come in batches; what a batch covers ends at
 * its last row, unless it was the last batch. */
struct merge {
    struct state *st;
    uint8_t kind;
    struct kv_bytes end; /* Empty: none. */
    struct delta_cursor active;
    struct delta_cursor frozen;
    struct row *batch; /* In the state's scratch arena. */
    uint32_t batch_count;
    uint32_t batch_at;
    bool batch_last; /* The store has nothing behind this batch. */
};

/* The result under way, in the caller's arena. */
struct range_out {
    struct arena *arena;
    struct row *rows;
    uint32_t count;
    uint32_t room;
    uint32_t rows_max;
    size_t bytes;
};

/* The cursor's row while it lies inside the range, else NULL. */
static const struct row *merge_delta_row(const struct merge *m,
                                         const struct delta_cursor *c)
{
    const struct delta_row *row = delta_cursor_row(c);

    if (row == NULL || row->row.kind != m->kind ||
        (m->end.len > 0 && kv_bytes_compare(row->row.key, m->end) >= 0)) {
        return NULL;
    }
    return &row->row;
}

/* Reads the next batch from `begin` on. The old batch's memory ends here. */
static int merge_fetch(struct merge *m, struct kv_bytes begin, uint32_t count)
{
    struct store *s = m->st->store;
    uint8_t copy[ROW_BEGIN_BYTES_MAX];
    int rc;

    KV_ASSERT(begin.len <= sizeof copy);
    if (begin.len > 0) {
        memcpy(copy, begin.data, begin.len); /* It may lie in the scratch arena. */
    }
    arena_reset(&m->st->scratch);
    m->batch_at = 0;
    m->batch_count = 0;
    rc =
        s->ops->state_range(s, m->st->group, m->kind, kv_bytes(copy, begin.len), m->end,
                            count, &m->st->scratch, &m->batch, &m->batch_count);
    m->batch_last = m->batch_count < count;
    return rc;
}

/* Makes sure that the next row of the store is at hand, or that there is none. */
static int merge_refill(struct merge *m, size_t bytes_left, size_t bytes_mean)
{
    uint8_t next[ROW_BEGIN_BYTES_MAX];
    struct kv_bytes last;
    size_t count;

    if (m->batch_at < m->batch_count || m->batch_last) {
        return 0;
    }
    last = m->batch[m->batch_count - 1].key;
    memcpy(next, last.data, last.len);
    next[last.len] = 0; /* The smallest key behind `last`. */
    count = bytes_left / (bytes_mean + 1) + 2;
    return merge_fetch(m, kv_bytes(next, last.len + 1),
                       (uint32_t)KV_MIN(count, (size_t)STATE_BATCH_MAX));
}

/* Takes the smallest next row of the three; the newest source wins among equal keys.
 * NULL at the end. It may be a tombstone. */
static const struct row *merge_next(struct merge *m)
{
    const struct row *a = merge_delta_row(m, &m->active);
    const struct row *f = merge_delta_row(m, &m->frozen);
    const struct row *s = m->batch_at < m->batch_count ? &m->batch[m->batch_at] : NULL;
    const struct row *best = a;

    if (f != NULL && (best == NULL || kv_bytes_compare(f->key, best->key) < 0)) {
        best = f;
    }
    if (s != NULL && (best == NULL || kv_bytes_compare(s->key, best->key) < 0)) {
        best = s;
    }
    if (best == NULL) {
        return NULL;
    }
    if (s != NULL && kv_bytes_equal(s->key, best->key)) {
        m->batch_at++;
    }
    if (f != NULL && kv_bytes_equal(f->key, best->key)) {
        delta_cursor_next(&m->frozen);
    }
    if (a != NULL && kv_bytes_equal(a->key, best->key)) {
        delta_cursor_next(&m->active);
    }
    return best;
}

static int range_add(struct range_out *o, const struct row *r)
{
    if (o->count == o->room) {
        uint32_t room = KV_MIN(o->rows_max, KV_MAX(16, 2 * o->room));
        struct row *rows = arena_alloc(o->arena, room * sizeof *rows);

        if (rows == NULL) {
            return KV_ENOMEM;
        }
        if (o->count > 0) {
            memcpy(rows, o->rows, o->count * sizeof *rows);
        }
        o->rows = rows;
        o->room = room;
    }
    if (row_copy(o->arena, r, &o->rows[o->count]) != 0) {
        return KV_ENOMEM;
    }
    o->count++;
    o->bytes += r->key.len + r->value.len;
    return 0;
}

static int merge_begin(struct merge *m, struct kv_bytes begin)
{
    m->active = delta_seek(active_of(m->st), m->kind, begin);
    if (m->st->is_frozen) {
        m->frozen = delta_seek(frozen_of(m->st), m->kind, begin);
    }
    return merge_fetch(m, begin, STATE_BATCH_FIRST);
}

int state_range(struct state *st, uint8_t kind, struct kv_bytes begin,
                struct kv_bytes end, uint32_t rows_max, size_t bytes_max,
                struct arena *arena, struct row **out_rows, uint32_t *out_count,
                bool *out_more)
{
    struct merge m = {.st = st, .kind = kind, .end = end};
    struct range_out o = {.arena = arena, .rows_max = rows_max};
    bool more = false;
    int rc;

    KV_ASSERT(rows_max > 0);
    /* No key is longer, so what lies behind its first 481 bytes decides nothing. */
    begin.len = KV_MIN(begin.len, (size_t)ROW_BEGIN_BYTES_MAX);
    rc = merge_begin(&m, begin);
    while (rc == 0) {
        const struct row *r;
        size_t mean = o.count == 0 ? 0 : o.bytes / o.count;

        rc = merge_refill(&m, bytes_max > o.bytes ? bytes_max - o.bytes : 0, mean);
        r = rc == 0 ? merge_next(&m) : NULL;
        if (r == NULL) {
            break;
        }
        if (r->deleted) {
            continue;
        }
        if (o.count == rows_max || (o.count > 0 && o.bytes >= bytes_max)) {
            more = true;
            break;
        }
        rc = range_add(&o, r);
    }
    arena_reset(&st->scratch);
    if (rc == 0) {
        *out_rows = o.rows;
        *out_count = o.count;
        *out_more = more;
    }
    return rc;
}

/* ---- where it stands ---- */

void state_applied(struct state *st, const struct raft_base *applied,
                   const struct raft_config *config, raft_index config_index)
{
    KV_ASSERT(applied->pos.index >= st->meta.applied.pos.index);
    KV_ASSERT(applied->pos.term >= st->meta.applied.pos.term);
    st->meta.applied = *applied;
    if (config != NULL) {
        st->meta.config = *config;
        st->meta.config_index = config_index;
    }
}

const struct state_meta *state_meta_get(const struct state *st)
{
    return &st->meta;
}

const struct raft_base *state_checkpoint_base(const struct state *st)
{
    return &st->checkpoint;
}

bool state_full(const struct state *st)
{
    return st->is_frozen && state_delta_bytes(st) >= st->delta_bytes_max;
}

size_t state_delta_bytes(const struct state *st)
{
    return delta_bytes(&st->deltas[st->active]);
}

/* ---- checkpoints ---- */

int state_freeze(struct state *st, struct state_frozen *out)
{
    struct delta *d = active_of(st);
    const struct row *rows;
    int rc;

    KV_ASSERT(!st->is_frozen);
    KV_ASSERT(frozen_of(st)->rows_count == 0);
    rc = delta_rows(d, &rows);
    if (rc != 0) {
        return rc;
    }
    *out = (struct state_frozen){
        .meta = st->meta, .rows = rows, .rows_count = d->rows_count};
    out->meta.mark = false; /* Whoever applies behind a snapshot has reset the log. */
    st->frozen_base = st->meta.applied;
    st->is_frozen = true;
    st->active = 1 - st->active;
    return 0;
}

void state_checkpointed(struct state *st, bool ok)
{
    KV_ASSERT(st->is_frozen);
    if (!ok) {
        return;
    }
    delta_reset(frozen_of(st));
    looks_forget(st);
    st->is_frozen = false;
    st->checkpoint = st->frozen_base;
}

int state_reload(struct state *st)
{
    struct state_meta meta;
    int rc;

    KV_ASSERT(!st->is_frozen);
    rc = st->store->ops->state_load(st->store, st->group, &meta);
    if (rc != 0) {
        return rc;
    }
    delta_reset(&st->deltas[0]);
    delta_reset(&st->deltas[1]);
    looks_forget(st);
    st->meta = meta;
    st->checkpoint = meta.applied;
    return 0;
}
