/* storage/lmdb_scrub.c - reads everything in the background and checks it.
 *
 * One round walks the entries of all groups, then all rows that are in use. Each call
 * reads a bounded number of bytes from where the last one stopped.
 */
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/batch.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"

enum {
    GROUP_KEY_BYTES = 4, /* Each key of a row begins with its group. */
    SCRUB_ENTRIES = 256, /* Looked up at once. */
};

/* One call under way. */
struct scrub_run {
    struct lmdb_store *ls;
    MDB_txn *txn;
    size_t bytes_left;
    struct store_scrub *out;
    uintptr_t page; /* Number in memory of the leaf that was looked at last. */
    /* What is known of the group whose rows are being read. */
    bool has_group;
    group_id group;
    uint32_t generation;
};

static void damage_found(struct scrub_run *r, bool in_state, raft_index index)
{
    r->out->found = true;
    r->out->damage =
        (struct store_damage){.group = r->group, .in_state = in_state, .index = index};
}

/* ---- entries ---- */

/* Checks one entry: its record, its place in the chain, and the directory of its batch,
 * without which the next open would not find it. places: of index - 1 and index.
 * 0, KV_E* of damage, LMDB codes; *out_bytes of the record where it is whole. */
static int entry_check(struct log_view *v, group_id group, raft_index index,
                       const struct log_place *places, size_t *out_bytes)
{
    struct log_state head;
    struct log_found found;
    uint32_t count;
    int rc = lmdb_log_head(v->ls, v->txn, group, &head);

    if (rc != 0 || index <= head.base.pos.index || index > head.last.pos.index) {
        return rc; /* Compacted or cut off meanwhile. */
    }
    rc = lmdb_log_entry(v, group, index, &places[1], &found);
    if (rc == 0 && v->number != v->checked) {
        v->checked = v->number;
        rc = batch_check(lmdb_bytes(&v->batch), v->number, &count);
    }
    if (rc == 0) {
        *out_bytes = found.record.len;
        rc = lmdb_log_chain(v, group, &head, &found.entry, &places[0]);
    }
    return rc;
}

static bool is_damage(int rc)
{
    return rc == KV_EDAMAGED || rc == KV_EFORMAT || rc == MDB_NOTFOUND ||
           rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND;
}

/* Looks again while nobody writes: what was cut off, or moved, between finding the
 * entry's place and reading it is no damage. */
static int damage_confirm(struct scrub_run *r, group_id group, raft_index index)
{
    struct lmdb_store *ls = r->ls;
    struct log_view v = {.ls = ls};
    struct log_place places[2];
    size_t bytes;
    int rc;

    pthread_mutex_lock(&ls->log_writer);
    log_index_get(&ls->log_index, group, index - 1, index + 1, places);
    rc = lmdb_read_begin(&ls->log, &ls->side_log_reader);
    if (rc == 0) {
        v.txn = ls->side_log_reader.txn;
        rc = entry_check(&v, group, index, places, &bytes);
        lmdb_read_end(&ls->side_log_reader);
    }
    pthread_mutex_unlock(&ls->log_writer);
    if (is_damage(rc)) {
        r->group = group;
        damage_found(r, false, index);
        rc = 0;
    }
    return rc;
}

/* Checks entries of the group behind p->index, some at a time. */
static int entries_walk(struct scrub_run *r, struct scrub_place *p)
{
    struct lmdb_store *ls = r->ls;
    struct log_view v = {.ls = ls};
    struct log_place places[SCRUB_ENTRIES + 1]; /* From p->index on. */
    raft_index begin = p->index;
    uint32_t count = log_index_count(&ls->log_index, p->group, begin + 1);
    int rc;

    count = KV_MIN(count, (uint32_t)SCRUB_ENTRIES);
    log_index_get(&ls->log_index, p->group, begin, begin + count + 1, places);
    rc = lmdb_read_begin(&ls->log, &ls->side_log_reader);
    if (rc != 0) {
        return rc;
    }
    v.txn = ls->side_log_reader.txn;
    for (uint32_t i = 0; i < count && rc == 0 && r->bytes_left > 0; i++) {
        size_t bytes = 0;

        rc = entry_check(&v, p->group, ++p->index, &places[i], &bytes);
        r->out->bytes += bytes;
        r->bytes_left -= KV_MIN(r->bytes_left, bytes);
    }
    lmdb_read_end(&ls->side_log_reader);
    return is_damage(rc) ? damage_confirm(r, p->group, p->index) : rc;
}

/* Goes on with the entries; behind those of the last group come the rows. */
static int entries_part(struct scrub_run *r, struct scrub_place *p)
{
    struct lmdb_store *ls = r->ls;
    raft_index first = log_index_first(&ls->log_index, p->group);

    if (p->index + 1 < first) {
        p->index = first - 1;
    }
    if (log_index_count(&ls->log_index, p->group, p->index + 1) > 0) {
        return entries_walk(r, p);
    }
    p->index = 0;
    p->group++;
    if (p->group == ls->groups_max) {
        p->group = 0;
        p->in_rows = true;
        p->key_len = 0;
    }
    return 0;
}

/* ---- rows ---- */

static void row_visit(struct scrub_run *r, const MDB_val *key, const MDB_val *value)
{
    group_id group;
    uint32_t generation;
    uint8_t kind;
    struct kv_bytes bytes;
    struct row row;

    if (!lmdb_state_key_split(key, &group, &generation, &kind, &bytes)) {
        return; /* The mark. */
    }
    if (!r->has_group || group != r->group) {
        struct state_meta meta;

        r->has_group = true;
        r->group = group;
        if (lmdb_state_meta(r->ls, r->txn, group, &meta, &r->generation) != 0) {
            r->generation = 0;
            damage_found(r, true, 0);
            return;
        }
    }
    if (generation == r->generation &&
        row_decode(group, kind, bytes, lmdb_bytes(value), &row) != 0) {
        damage_found(r, true, 0);
    }
}

/* ---- walking ---- */

static void round_end(struct scrub_place *p)
{
    p->in_rows = false;
    p->key_len = 0;
    p->rounds++;
}

/* Is the leaf page that a key lies on well formed? Looked at once. */
static bool page_ok(struct scrub_run *r, const void *key)
{
    uintptr_t page = (uintptr_t)key / LMDB_PAGE_BYTES;

    if (page == r->page) {
        return true;
    }
    r->page = page;
    return lmdb_page_leaf_ok(key);
}

/* Reads on in the rows. 0, MDB_NOTFOUND at their end, other LMDB codes. */
static int rows_walk(struct scrub_run *r, struct scrub_place *p)
{
    MDB_val key = {p->key_len, p->key};
    MDB_val value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(r->txn, r->ls->state.dbis[STATE_ROWS], &cursor);

    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value,
                        p->key_len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    if (rc == 0 && p->key_len > 0 && key.mv_size == p->key_len &&
        memcmp(key.mv_data, p->key, p->key_len) == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    while (rc == 0) {
        size_t size = key.mv_size + value.mv_size;

        p->key_len = KV_MIN(key.mv_size, sizeof p->key);
        memcpy(p->key, key.mv_data, p->key_len);
        if (!page_ok(r, key.mv_data)) {
            rc = MDB_CORRUPTED; /* Rows may be hidden. */
            break;
        }
        row_visit(r, &key, &value);
        r->out->bytes += size;
        r->bytes_left -= KV_MIN(r->bytes_left, size);
        if (r->out->found || r->bytes_left == 0) {
            break;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* A page that LMDB will not take: the group that was being read, and perhaps the next
 * one, is damaged. Goes on behind it. */
static void page_lost(struct scrub_run *r, struct scrub_place *p)
{
    r->group = p->key_len >= GROUP_KEY_BYTES ? kv_get_u32be(p->key) : 0;
    damage_found(r, true, 0);
    if (r->group >= r->ls->groups_max - 1) {
        round_end(p);
    } else {
        kv_put_u32be(p->key, r->group + 1);
        p->key_len = GROUP_KEY_BYTES;
    }
}

static int rows_part(struct scrub_run *r, struct scrub_place *p)
{
    int rc = lmdb_read_begin(&r->ls->state, &r->ls->side_state_reader);

    if (rc != 0) {
        return rc;
    }
    r->txn = r->ls->side_state_reader.txn;
    r->has_group = false;
    r->page = 0;
    rc = rows_walk(r, p);
    lmdb_read_end(&r->ls->side_state_reader);
    if (rc == MDB_NOTFOUND) {
        round_end(p);
        rc = 0;
    } else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND) {
        page_lost(r, p);
        rc = 0;
    }
    return rc;
}

int lmdb_scrub(struct store *s, size_t bytes, struct store_scrub *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct scrub_place *p = &ls->scrub;
    struct store_scrub done = {0};
    struct scrub_run r = {.ls = ls, .bytes_left = bytes, .out = &done};
    uint64_t round = p->rounds;
    int rc = 0;

    while (rc == 0 && r.bytes_left > 0 && !done.found && p->rounds == round) {
        rc = p->in_rows ? rows_part(&r, p) : entries_part(&r, p);
    }
    if (rc == 0) {
        done.round = p->rounds;
        *out = done;
    }
    return lmdb_error(rc);
}
