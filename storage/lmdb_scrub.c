/* storage/lmdb_scrub.c - reads everything in the background and checks it.
 *
 * One round walks the entries of all groups, then all rows that are in use. Each call
 * reads a bounded number of bytes from where the last one stopped.
 */
#include "raft/base/err.h"
#include "raft/record.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

enum {
    SCRUB_ROWS = LOG_SHARDS, /* Number of the part with the rows. */
    GROUP_KEY_BYTES = 4,     /* Each key begins with its group. */
};

/* One call under way. */
struct scrub_run {
    struct lmdb_store *ls;
    MDB_txn *txn;
    size_t bytes_left;
    struct store_scrub *out;
    uintptr_t page; /* Number in memory of the leaf that was looked at last. */
    /* What is known of the group that is being read. */
    bool has_group;
    group_id group;
    struct log_state head;
    bool head_is_bad;
    raft_index next; /* Index that must follow; 0: unknown. */
    uint64_t hash;   /* Chain hash before it. */
    uint32_t generation;
};

static void damage_found(struct scrub_run *r, bool in_state, raft_index index)
{
    r->out->found = true;
    r->out->damage =
        (struct store_damage){.group = r->group, .in_state = in_state, .index = index};
}

/* ---- entries ---- */

static void log_group_begin(struct scrub_run *r, group_id group, raft_index first)
{
    r->has_group = true;
    r->group = group;
    r->next = 0;
    r->head_is_bad = lmdb_log_head(r->ls, r->txn, group, &r->head) != 0;
    if (r->head_is_bad) {
        damage_found(r, false, 0);
    }
    (void)first;
}

static void entry_check(struct scrub_run *r, raft_index index, struct kv_bytes record)
{
    struct raft_entry entry;

    if (r->head_is_bad || index <= r->head.base.pos.index ||
        index > r->head.last.pos.index) {
        return; /* Not judged; or compacted, and not yet swept. */
    }
    if (index == r->head.base.pos.index + 1) {
        r->next = index;
        r->hash = r->head.base.hash;
    }
    if (r->next != 0 && index != r->next) {
        damage_found(r, false, r->next); /* It is missing. */
    } else if (raft_record_decode(record, &entry) != 0 || entry.pos.index != index ||
               (r->next != 0 && raft_entry_hash(r->hash, &entry) != entry.hash)) {
        damage_found(r, false, index);
        r->next = 0;
        return;
    } else {
        r->hash = entry.hash;
    }
    r->next = r->out->found ? 0 : index + 1;
}

static void entry_visit(struct scrub_run *r, const MDB_val *key, const MDB_val *value)
{
    const uint8_t *p = key->mv_data;
    group_id group;
    raft_index index;

    if (key->mv_size != LOG_KEY_BYTES) {
        r->group = key->mv_size >= 4 ? kv_get_u32be(p) : 0;
        damage_found(r, false, 0);
        return;
    }
    group = kv_get_u32be(p);
    index = kv_get_u64be(p + 4);
    if (!r->has_group || group != r->group) {
        log_group_begin(r, group, index);
    }
    if (!r->out->found) {
        entry_check(r, index, lmdb_bytes(value));
    }
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

static void place_next(struct scrub_place *p)
{
    p->key_len = 0;
    p->database++;
    if (p->database > SCRUB_ROWS) {
        p->database = 0;
        p->rounds++;
    }
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

/* Reads on in one database. 0, MDB_NOTFOUND at its end, other LMDB codes. */
static int database_walk(struct scrub_run *r, struct scrub_place *p, MDB_dbi dbi)
{
    MDB_val key = {p->key_len, p->key};
    MDB_val value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(r->txn, dbi, &cursor);

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
        if (p->database == SCRUB_ROWS) {
            row_visit(r, &key, &value);
        } else {
            entry_visit(r, &key, &value);
        }
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

/* One part of the round, within one environment. */
static int part_walk(struct scrub_run *r, struct scrub_place *p)
{
    bool in_rows = p->database == SCRUB_ROWS;
    struct lmdb_env *e = in_rows ? &r->ls->state : &r->ls->log;
    struct lmdb_reader *reader =
        in_rows ? &r->ls->side_state_reader : &r->ls->side_log_reader;
    MDB_dbi dbi = in_rows ? e->dbis[STATE_ROWS] : e->dbis[LOG_ENTRIES + p->database];
    int rc = lmdb_read_begin(e, reader);

    if (rc != 0) {
        return rc;
    }
    r->txn = reader->txn;
    r->has_group = false;
    r->page = 0;
    rc = database_walk(r, p, dbi);
    lmdb_read_end(reader);
    return rc;
}

/* A page that LMDB will not take: the group that was being read, and perhaps the next
 * one, is damaged. Goes on behind it. */
static void page_lost(struct scrub_run *r, struct scrub_place *p)
{
    r->group = p->key_len >= GROUP_KEY_BYTES ? kv_get_u32be(p->key) : 0;
    damage_found(r, p->database == SCRUB_ROWS, 0);
    if (r->group >= r->ls->groups_max - 1) {
        place_next(p);
    } else {
        kv_put_u32be(p->key, r->group + 1);
        p->key_len = GROUP_KEY_BYTES;
    }
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
        rc = part_walk(&r, p);
        if (rc == MDB_NOTFOUND) {
            place_next(p);
            rc = 0;
        } else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND) {
            page_lost(&r, p);
            rc = 0;
        }
    }
    if (rc == 0) {
        done.round = p->rounds;
        *out = done;
    }
    return lmdb_error(rc);
}
