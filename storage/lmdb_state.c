/* storage/lmdb_state.c - rows and meta of all groups in the state environment. */
#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

enum {
    STATE_NEIGHBOUR_BYTES_MAX =
        64 * 1024, /* Larger neighbours are not read for a miss. */
    STATE_SMALL_ROW_BYTES = 1000,
};

/* ---- keys ---- */

/* Key bytes of a row; `key` longer than a key can be is cut where no key differs. */
static struct kv_bytes row_key(group_id group, uint32_t generation, uint8_t kind,
                               struct kv_bytes key, uint8_t room[STATE_KEY_BYTES_MAX])
{
    size_t len = KV_MIN(key.len, (size_t)ROW_BEGIN_BYTES_MAX);

    kv_put_u32be(room, group);
    kv_put_u32be(room + 4, generation);
    room[8] = kind;
    if (len > 0) {
        memcpy(room + STATE_KEY_HEAD_BYTES, key.data, len);
    }
    return kv_bytes(room, STATE_KEY_HEAD_BYTES + len);
}

bool lmdb_state_key_split(const MDB_val *key, group_id *out_group,
                          uint32_t *out_generation, uint8_t *out_kind,
                          struct kv_bytes *out_key)
{
    const uint8_t *p = key->mv_data;

    if (key->mv_size <= STATE_KEY_HEAD_BYTES || key->mv_size > STATE_KEY_BYTES_MAX) {
        return false;
    }
    *out_group = kv_get_u32be(p);
    *out_generation = kv_get_u32be(p + 4);
    *out_kind = p[8];
    *out_key = kv_bytes(p + STATE_KEY_HEAD_BYTES, key->mv_size - STATE_KEY_HEAD_BYTES);
    return true;
}

static bool same_prefix(const MDB_val *key, struct kv_bytes wanted)
{
    return key->mv_size > STATE_KEY_HEAD_BYTES &&
           memcmp(key->mv_data, wanted.data, STATE_KEY_HEAD_BYTES) == 0;
}

/* ---- meta ---- */

int lmdb_state_meta(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                    struct state_meta *out, uint32_t *out_generation)
{
    uint8_t room[4];
    MDB_val key = lmdb_val(lmdb_group_key(group, room));
    MDB_val value;
    int rc = mdb_get(txn, ls->state.dbis[STATE_GROUPS], &key, &value);

    if (rc == MDB_NOTFOUND) {
        if (group < ls->groups_max && lmdb_is_known(&ls->state_known[group], txn)) {
            return KV_EDAMAGED; /* It was there. */
        }
        *out = (struct state_meta){0};
        *out_generation = 0;
        return 0;
    }
    if (rc == 0 && lmdb_is_reader(ls, txn) && !lmdb_page_leaf_ok(value.mv_data)) {
        return KV_EDAMAGED;
    }
    return rc != 0 ? rc
                   : meta_state_decode(group, lmdb_bytes(&value), out, out_generation);
}

int lmdb_state_meta_put(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                        const struct state_meta *meta, uint32_t generation)
{
    uint8_t room[4];
    uint8_t record[META_STATE_BYTES_MAX];
    MDB_val key = lmdb_val(lmdb_group_key(group, room));
    MDB_val value = {meta_state_encode(group, meta, generation, record), record};

    return mdb_put(txn, ls->state.dbis[STATE_GROUPS], &key, &value, 0);
}

int lmdb_state_load(struct store *s, group_id group, struct state_meta *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    uint32_t generation = 0;
    int rc;

    if (group >= ls->groups_max) {
        return KV_EINVAL;
    }
    rc = lmdb_read_begin(&ls->state, &ls->state_reader);
    if (rc != 0) {
        return rc;
    }
    rc = lmdb_state_meta(ls, ls->state_reader.txn, group, out, &generation);
    lmdb_read_end(&ls->state_reader);
    if (rc == 0) {
        atomic_store(&ls->generations[group], generation);
        if (generation != 0 && generation == atomic_load(&ls->damaged[group])) {
            rc = KV_EDAMAGED;
        }
    }
    return lmdb_error(rc);
}

/* ---- reading rows ---- */

/* The generation to read: 0, KV_ENOTFOUND (nothing stored yet), KV_EDAMAGED. */
static int generation_of(struct lmdb_store *ls, group_id group, uint32_t *out)
{
    *out = atomic_load(&ls->generations[group]);
    if (*out == 0) {
        return KV_ENOTFOUND;
    }
    return *out == atomic_load(&ls->damaged[group]) ? KV_EDAMAGED : 0;
}

/* A row next to a place where one was missed: it must be whole, or the missing one may
 * be this one with a damaged key. */
static int neighbour_check(const MDB_val *key, const MDB_val *value)
{
    group_id group;
    uint32_t generation;
    uint8_t kind;
    struct kv_bytes bytes;
    struct row row;

    if (!lmdb_page_leaf_ok(key->mv_data)) {
        return KV_EDAMAGED;
    }
    if (!lmdb_state_key_split(key, &group, &generation, &kind, &bytes) ||
        value->mv_size > STATE_NEIGHBOUR_BYTES_MAX) {
        return 0; /* The mark, or too large to read just for that. */
    }
    return row_decode(group, kind, bytes, lmdb_bytes(value), &row);
}

/* Is there truly no row at `wanted`? A flipped bit in a key, in a page's order or in a
 * branch page would make LMDB miss it: then the rows around the place are out of order
 * or fail their checksums. 0 or KV_EDAMAGED. The cursor is left on the row behind. */
static int miss_check(MDB_cursor *cursor, struct kv_bytes wanted, MDB_val *key,
                      MDB_val *value)
{
    MDB_val before_key = lmdb_val(wanted);
    MDB_val before_value;
    int rc;

    *key = lmdb_val(wanted);
    rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND) {
        return KV_EDAMAGED; /* The mark is behind every row. */
    }
    if (rc == 0 && kv_bytes_compare(lmdb_bytes(key), wanted) < 0) {
        return KV_EDAMAGED;
    }
    if (rc == 0) {
        rc = neighbour_check(key, value);
    }
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &before_key, &before_value, MDB_PREV);
        if (rc == MDB_NOTFOUND) {
            return mdb_cursor_get(cursor, key, value, MDB_FIRST);
        }
        if (rc == 0 && kv_bytes_compare(lmdb_bytes(&before_key), wanted) >= 0) {
            return KV_EDAMAGED;
        }
        if (rc == 0) {
            rc = neighbour_check(&before_key, &before_value);
        }
        if (rc == 0) {
            rc = mdb_cursor_get(cursor, key, value, MDB_NEXT);
        }
    }
    return rc == KV_EFORMAT ? KV_EDAMAGED : rc;
}

static int missing_row(struct lmdb_store *ls, struct kv_bytes wanted)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(ls->state_reader.txn, ls->state.dbis[STATE_ROWS], &cursor);

    if (rc == 0) {
        rc = miss_check(cursor, wanted, &key, &value);
        if (rc == 0 && kv_bytes_equal(lmdb_bytes(&key), wanted)) {
            rc = KV_EDAMAGED; /* Found on the second look only. */
        }
        mdb_cursor_close(cursor);
    }
    return rc == 0 ? KV_ENOTFOUND : rc;
}

int lmdb_state_get(struct store *s, group_id group, uint8_t kind, struct kv_bytes key,
                   struct arena *arena, struct row *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    uint8_t room[STATE_KEY_BYTES_MAX];
    uint32_t generation;
    struct kv_bytes wanted;
    struct row row;
    MDB_val mkey;
    MDB_val value;
    int rc;

    if (group >= ls->groups_max || key.len < 1 || key.len > ROW_KEY_BYTES_MAX) {
        return KV_EINVAL;
    }
    rc = generation_of(ls, group, &generation);
    if (rc == 0) {
        rc = lmdb_read_begin(&ls->state, &ls->state_reader);
    }
    if (rc != 0) {
        return rc;
    }
    wanted = row_key(group, generation, kind, key, room);
    mkey = lmdb_val(wanted);
    rc = mdb_get(ls->state_reader.txn, ls->state.dbis[STATE_ROWS], &mkey, &value);
    if (rc == MDB_NOTFOUND) {
        rc = missing_row(ls, wanted);
    } else if (rc == 0 && lmdb_page_is_inline(mkey.mv_size, value.mv_size) &&
               !lmdb_page_leaf_ok(value.mv_data)) {
        rc = KV_EDAMAGED;
    } else if (rc == 0) {
        rc = row_decode(group, kind, key, lmdb_bytes(&value), &row);
        if (rc == 0) {
            rc = row_copy(arena, &row, out);
        }
    }
    lmdb_read_end(&ls->state_reader);
    return lmdb_error(rc);
}

/* A range under way. */
struct range {
    group_id group;
    uint8_t kind;
    struct kv_bytes begin; /* LMDB key of the first row. */
    struct kv_bytes end;   /* Row key; empty: none. */
    uint32_t rows_max;
    struct arena *arena;
    struct row *rows;
    uint32_t count;
    uint32_t room;
};

static int range_add(struct range *r, const struct row *row)
{
    if (r->count == r->room) {
        uint32_t room = KV_MIN(r->rows_max, KV_MAX(16, 2 * r->room));
        struct row *rows = arena_alloc(r->arena, room * sizeof *rows);

        if (rows == NULL) {
            return KV_ENOMEM;
        }
        if (r->count > 0) {
            memcpy(rows, r->rows, r->count * sizeof *rows);
        }
        r->rows = rows;
        r->room = room;
    }
    if (row_copy(r->arena, row, &r->rows[r->count]) != 0) {
        return KV_ENOMEM;
    }
    r->count++;
    return 0;
}

/* Takes the row behind the cursor. 0; MDB_NOTFOUND at the end of the range; others. */
static int range_take(struct range *r, const MDB_val *key, const MDB_val *value)
{
    struct kv_bytes bytes;
    struct row row;
    int rc;

    if (!same_prefix(key, r->begin)) {
        /* Another kind, generation or group begins, or it is the mark. */
        return kv_bytes_compare(lmdb_bytes(key), r->begin) < 0 ? KV_EDAMAGED
                                                               : MDB_NOTFOUND;
    }
    bytes = kv_bytes((const uint8_t *)key->mv_data + STATE_KEY_HEAD_BYTES,
                     key->mv_size - STATE_KEY_HEAD_BYTES);
    rc = row_decode(r->group, r->kind, bytes, lmdb_bytes(value), &row);
    if (rc != 0) {
        return rc == KV_EFORMAT ? rc : KV_EDAMAGED;
    }
    if (r->count > 0 && kv_bytes_compare(r->rows[r->count - 1].key, bytes) >= 0) {
        return KV_EDAMAGED;
    }
    if (r->end.len > 0 && kv_bytes_compare(bytes, r->end) >= 0) {
        return MDB_NOTFOUND;
    }
    return range_add(r, &row);
}

static int range_read(struct lmdb_store *ls, struct range *r)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(ls->state_reader.txn, ls->state.dbis[STATE_ROWS], &cursor);

    if (rc != 0) {
        return rc;
    }
    rc = miss_check(cursor, r->begin, &key, &value);
    while (rc == 0 && r->count < r->rows_max) {
        rc = range_take(r, &key, &value);
        if (rc == 0 && r->count < r->rows_max) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
            if (rc == MDB_NOTFOUND) {
                rc = KV_EDAMAGED; /* The mark is behind every row. */
            }
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_state_range(struct store *s, group_id group, uint8_t kind,
                     struct kv_bytes begin, struct kv_bytes end, uint32_t rows_max,
                     struct arena *arena, struct row **out_rows, uint32_t *out_count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    uint8_t room[STATE_KEY_BYTES_MAX];
    struct range r = {
        .group = group, .kind = kind, .end = end, .rows_max = rows_max, .arena = arena};
    uint32_t generation;
    int rc;

    if (group >= ls->groups_max) {
        return KV_EINVAL;
    }
    rc = generation_of(ls, group, &generation);
    if (rc == 0) {
        rc = lmdb_read_begin(&ls->state, &ls->state_reader);
        if (rc != 0) {
            return rc;
        }
        r.begin = row_key(group, generation, kind, begin, room);
        rc = range_read(ls, &r);
        lmdb_read_end(&ls->state_reader);
    }
    if (rc != 0 && rc != KV_ENOTFOUND) {
        return lmdb_error(rc);
    }
    *out_rows = r.rows;
    *out_count = r.count;
    return 0;
}

/* ---- writing ---- */

uint64_t lmdb_state_row_pages(const struct row *r)
{
    size_t len = r->key.len + r->value.len;

    /* A small row dirties a leaf and its share of branch pages; a large one has pages
     * of its own besides. */
    return len <= STATE_SMALL_ROW_BYTES ? 2 : 3 + len / LMDB_PAGE_BYTES;
}

int lmdb_state_row_put(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                       uint32_t generation, const struct row *r)
{
    uint8_t room[STATE_KEY_BYTES_MAX];
    MDB_val key = lmdb_val(row_key(group, generation, r->kind, r->key, room));
    MDB_val value = {ROW_HEAD_BYTES + r->value.len, NULL};
    int rc = mdb_put(txn, ls->state.dbis[STATE_ROWS], &key, &value, MDB_RESERVE);

    if (rc == 0) {
        row_encode(group, r, value.mv_data);
    }
    return rc;
}

/* Writes or deletes the rows of a delta. */
static int rows_write(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                      uint32_t generation, const struct row *rows, size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint8_t room[STATE_KEY_BYTES_MAX];
        MDB_val key;

        KV_ASSERT(row_fits(&rows[i]));
        if (!rows[i].deleted) {
            rc = lmdb_state_row_put(ls, txn, group, generation, &rows[i]);
            continue;
        }
        key = lmdb_val(row_key(group, generation, rows[i].kind, rows[i].key, room));
        rc = mdb_del(txn, ls->state.dbis[STATE_ROWS], &key, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : rc; /* It came and went between checkpoints. */
    }
    return rc;
}

int lmdb_state_generation_new(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                              uint32_t *out)
{
    uint8_t room[STATE_KEY_BYTES_MAX];
    MDB_val key = lmdb_val(row_key(group, UINT32_MAX, 0xff, kv_bytes(NULL, 0), room));
    MDB_val value;
    MDB_cursor *cursor;
    struct state_meta meta;
    uint32_t newest = 0;
    int rc = lmdb_state_meta(ls, txn, group, &meta, &newest);

    if (rc == 0 || rc == KV_EDAMAGED || rc == KV_EFORMAT) { /* The rows say enough. */
        rc = mdb_cursor_open(txn, ls->state.dbis[STATE_ROWS], &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); /* At worst the mark. */
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    }
    if (rc == 0 && key.mv_size > STATE_KEY_HEAD_BYTES &&
        kv_get_u32be(key.mv_data) == group) {
        newest = KV_MAX(newest, kv_get_u32be((const uint8_t *)key.mv_data + 4));
    }
    mdb_cursor_close(cursor);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    if (newest == UINT32_MAX) {
        return KV_EOVERFLOW;
    }
    *out = newest + 1;
    return 0;
}

/* What a checkpoint does inside its transaction. */
static int checkpoint_apply(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                            const struct state_meta *meta, const struct row *rows,
                            size_t count, uint32_t *out_generation)
{
    struct state_meta old;
    struct state_meta next = *meta;
    uint32_t generation;
    int rc = lmdb_state_meta(ls, txn, group, &old, &generation);

    if (rc == 0 && meta->applied.pos.index < old.applied.pos.index) {
        rc = KV_EINVAL; /* The state never goes back. */
    }
    if (rc == 0 && generation == 0) {
        rc = lmdb_state_generation_new(ls, txn, group, &generation);
    }
    if (rc == 0) {
        rc = rows_write(ls, txn, group, generation, rows, count);
    }
    if (rc == 0) {
        next.mark = old.mark; /* mark_clear is its own verb. */
        rc = lmdb_state_meta_put(ls, txn, group, &next, generation);
    }
    *out_generation = generation;
    return rc;
}

int lmdb_state_checkpoint(struct store *s, group_id group,
                          const struct state_meta *meta, const struct row *rows,
                          size_t count)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_demand d = {.pages = 32, .urgent = true};
    uint32_t generation = 0;
    uint32_t none = 0;
    uint64_t never = 0;
    uint64_t id;
    MDB_txn *txn;
    int rc;

    if (group >= ls->groups_max) {
        return KV_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        d.pages += lmdb_state_row_pages(&rows[i]);
    }
    rc = KV_FAILPOINT(checkpoint);
    if (rc == 0) {
        rc = lmdb_write_begin(&ls->state, &d, &txn);
    }
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_apply(ls, txn, group, meta, rows, count, &generation);
    if (rc == 0) {
        rc = KV_FAILPOINT(checkpoint_rows);
    }
    id = (uint64_t)mdb_txn_id(txn);
    rc = lmdb_write_end(&ls->state, txn, rc);
    (void)KV_FAILPOINT(checkpoint_written);
    if (rc == 0) {
        atomic_fetch_add(&ls->checkpoints, 1);
        (void)atomic_compare_exchange_strong(&ls->state_known[group], &never, id);
        /* The group's first: from now on there is something to read. */
        (void)atomic_compare_exchange_strong(&ls->generations[group], &none,
                                             generation);
    }
    return rc;
}

int lmdb_state_mark_clear(struct store *s, group_id group)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_demand d = {.pages = 16, .urgent = true};
    struct state_meta meta;
    uint32_t generation;
    MDB_txn *txn;
    int rc = lmdb_write_begin(&ls->state, &d, &txn);

    if (rc != 0) {
        return rc;
    }
    rc = lmdb_state_meta(ls, txn, group, &meta, &generation);
    if (rc == 0 && generation == 0) {
        rc = KV_EINVAL;
    }
    if (rc == 0) {
        meta.mark = false;
        rc = lmdb_state_meta_put(ls, txn, group, &meta, generation);
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(mark_clear);
    }
    rc = lmdb_write_end(&ls->state, txn, rc);
    (void)KV_FAILPOINT(mark_cleared);
    return rc;
}

/* ---- sweeping ---- */

/* May rows of this generation go? */
static int is_garbage(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                      uint32_t generation, bool *out)
{
    struct state_meta meta;
    uint32_t current;
    int rc = lmdb_state_meta(ls, txn, group, &meta, &current);

    *out =
        generation != current &&
        (group >= ls->groups_max || generation != atomic_load(&ls->generations[group]));
    return rc == KV_EDAMAGED || rc == KV_EFORMAT ? KV_ENOTFOUND : rc;
}

/* Walks from generation to generation until rows may be deleted. 0 with *out_found and
 * the cursor on the first of them; an LMDB code. */
static int garbage_seek(struct lmdb_store *ls, MDB_txn *txn, MDB_cursor *cursor,
                        bool *out_found)
{
    uint8_t room[STATE_KEY_BYTES_MAX];
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);

    *out_found = false;
    while (rc == 0) {
        group_id group;
        uint32_t generation;
        uint8_t kind;
        struct kv_bytes bytes;

        if (!lmdb_state_key_split(&key, &group, &generation, &kind, &bytes)) {
            return 0; /* The mark: the end. */
        }
        rc = is_garbage(ls, txn, group, generation, out_found);
        if (rc == KV_ENOTFOUND) {
            *out_found = false; /* Its meta cannot be read: touch nothing. */
            rc = 0;
        }
        if (rc != 0 || *out_found) {
            return rc;
        }
        /* The first key behind this generation: the next number over both fields. */
        kv_put_u64be(room, ((uint64_t)group << 32 | generation) + 1);
        key = (MDB_val){8, room};
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Deletes rows of the generation under the cursor. */
static int garbage_delete(MDB_cursor *cursor)
{
    uint8_t prefix[8];
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT);

    if (rc != 0) {
        return rc;
    }
    memcpy(prefix, key.mv_data, sizeof prefix);
    for (uint32_t i = 0; rc == 0 && i < SWEEP_STEP; i++) {
        if (key.mv_size <= STATE_KEY_HEAD_BYTES ||
            memcmp(key.mv_data, prefix, sizeof prefix) != 0) {
            break;
        }
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int sweep_in(struct lmdb_store *ls, MDB_txn *txn, bool delete, bool *out_found)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, ls->state.dbis[STATE_ROWS], &cursor);

    if (rc != 0) {
        return rc;
    }
    rc = garbage_seek(ls, txn, cursor, out_found);
    if (rc == 0 && *out_found && delete) {
        rc = garbage_delete(cursor);
    }
    mdb_cursor_close(cursor);
    return rc;
}

int lmdb_state_sweep(struct lmdb_store *ls, bool *out_more)
{
    struct lmdb_demand d = {.pages = 256, .urgent = true};
    bool found;
    MDB_txn *txn;
    int rc = lmdb_read_begin(&ls->state, &ls->side_state_reader);

    if (rc != 0) {
        return rc;
    }
    rc = sweep_in(ls, ls->side_state_reader.txn, false, out_more);
    lmdb_read_end(&ls->side_state_reader);
    if (rc != 0 || !*out_more) {
        return lmdb_error(rc);
    }
    (void)KV_FAILPOINT(state_sweep);
    rc = lmdb_write_begin(&ls->state, &d, &txn);
    if (rc != 0) {
        return rc;
    }
    rc = sweep_in(ls, txn, true, &found);
    rc = lmdb_write_end(&ls->state, txn, rc);
    (void)KV_FAILPOINT(state_swept);
    return rc;
}
