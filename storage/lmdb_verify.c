/* storage/lmdb_verify.c - what is checked at open, before anything is believed.
 *
 * LMDB 0.9 has no checksums. Rows have ours, but a bit in a page's list of rows can
 * make rows invisible without touching any of them. So the small tables are counted,
 * and the rows of each group are summed up and compared with what the group's meta
 * says. That reads the whole state; above VERIFY_BYTES_MAX it is left to the scrubber,
 * which says later what this would have said now.
 */
#include "raft/base/err.h"
#include "storage/lmdb_page.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

#define VERIFY_BYTES_MAX (1ULL << 30) /* About a second. */

/* ---- small tables ---- */

/* Called for each group's row. 0, or a code that ends the walk. */
typedef int (*group_visit)(struct lmdb_store *ls, group_id group, const MDB_val *value);

static int head_visit(struct lmdb_store *ls, group_id group, const MDB_val *value)
{
    struct log_state head;
    int rc = meta_log_decode(group, lmdb_bytes(value), &head);

    /* A node whose term or vote cannot be read must not go on: it is a lost node. And
     * the damage may be in the key: then another group has lost its vote. */
    if (rc == 0 && group < ls->groups_max) {
        atomic_store(&ls->log_known[group], 1);
        rc = log_index_group(&ls->log_index, group, head.base.pos.index,
                             head.last.pos.index);
    }
    return rc;
}

static int meta_visit(struct lmdb_store *ls, group_id group, const MDB_val *value)
{
    struct state_meta meta;
    uint32_t generation;

    if (group < ls->groups_max) {
        atomic_store(&ls->state_known[group], 1);
    }
    if (group < ls->groups_max &&
        meta_state_decode(group, lmdb_bytes(value), &meta, &generation) == 0) {
        atomic_store(&ls->generations[group], generation);
    } else if (group < ls->groups_max) {
        atomic_store(&ls->generations[group], UINT32_MAX);
        atomic_store(&ls->damaged[group], UINT32_MAX);
    }
    return 0; /* That replica takes a snapshot: state_load says why. */
}

/* Walks a table of groups: ascending numbers, then the mark, as many as LMDB counts. */
static int table_walk(struct lmdb_store *ls, MDB_txn *txn, MDB_dbi dbi,
                      group_visit visit)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    MDB_stat st;
    size_t count = 0;
    uint64_t next = 0; /* The smallest group that may follow. */
    int rc = mdb_stat(txn, dbi, &st);

    if (rc == 0) {
        rc = mdb_cursor_open(txn, dbi, &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        group_id group;

        count++;
        if (!lmdb_page_leaf_ok(key.mv_data)) {
            rc = MDB_CORRUPTED;
            break;
        }
        if (count == st.ms_entries && key.mv_size == 8) {
            continue; /* The mark; lmdb_env_verify() has read it. */
        }
        group = key.mv_size == 4 ? kv_get_u32be(key.mv_data) : 0;
        if (key.mv_size != 4 || group < next) {
            rc = MDB_CORRUPTED;
            break;
        }
        next = (uint64_t)group + 1;
        if (group < ls->groups_max) {
            ls->groups_end = KV_MAX(ls->groups_end, group + 1);
        }
        rc = visit(ls, group, &value);
        if (rc != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        rc = count == st.ms_entries ? 0 : MDB_CORRUPTED;
    }
    return rc;
}

/* ---- rows ---- */

/* Sums of the generation under way. */
struct sums {
    group_id group;
    uint32_t generation; /* 0: none yet. */
    bool is_bad;         /* A row failed. */
    struct state_meta found;
};

/* Compares the sums of a generation with its group's meta, if it is the current one. */
static int sums_judge(struct lmdb_store *ls, MDB_txn *txn, const struct sums *s)
{
    struct state_meta meta;
    uint32_t current;
    int rc;

    if (s->generation == 0 || s->group >= ls->groups_max) {
        return 0;
    }
    rc = lmdb_state_meta(ls, txn, s->group, &meta, &current);
    if (rc != 0 || current != s->generation) {
        return rc == KV_EDAMAGED || rc == KV_EFORMAT ? 0 : rc; /* state_load says it. */
    }
    atomic_store(&ls->verified[s->group], true);
    if (s->is_bad || s->found.rows_count != meta.rows_count ||
        s->found.rows_bytes != meta.rows_bytes ||
        s->found.state_hash != meta.state_hash) {
        atomic_store(&ls->damaged[s->group], current);
    }
    return 0;
}

static void sums_add(struct sums *s, uint8_t kind, struct kv_bytes key,
                     const MDB_val *value)
{
    struct row row;

    if (row_decode(s->group, kind, key, lmdb_bytes(value), &row) != 0) {
        s->is_bad = true;
        return;
    }
    s->found.rows_count++;
    s->found.rows_bytes += row.key.len + row.value.len;
    s->found.state_hash += row_hash(&row);
}

/* The leaf page under the walk. Where one of its rows is out of order or damaged, a
 * search in it may miss any other, so all groups with rows there are damaged. */
struct leaf {
    uintptr_t page;
    group_id first, last; /* Groups with rows on it. */
    bool is_bad;
};

static void leaf_judge(struct lmdb_store *ls, const struct leaf *l)
{
    for (group_id g = l->first; l->is_bad && g <= l->last && g < ls->groups_end; g++) {
        atomic_store(&ls->damaged[g], atomic_load(&ls->generations[g]));
    }
}

static void leaf_visit(struct lmdb_store *ls, struct leaf *l, const MDB_val *key,
                       group_id group)
{
    uintptr_t page = (uintptr_t)key->mv_data / LMDB_PAGE_BYTES;

    if (page != l->page) {
        leaf_judge(ls, l);
        *l = (struct leaf){.page = page,
                           .first = group,
                           .last = group,
                           .is_bad = !lmdb_page_leaf_ok(key->mv_data)};
    }
    l->first = KV_MIN(l->first, group);
    l->last = KV_MAX(l->last, group);
}

/* One walk over all rows. */
struct walk {
    struct sums sums;
    struct leaf leaf;
    MDB_val before; /* Key of the row before; mv_size 0: none. */
    size_t count;
};

static int row_visit(struct lmdb_store *ls, MDB_txn *txn, struct walk *w,
                     const MDB_val *key, const MDB_val *value)
{
    group_id group;
    uint32_t generation;
    uint8_t kind;
    struct kv_bytes bytes;
    int rc = 0;

    w->count++;
    if (!lmdb_state_key_split(key, &group, &generation, &kind, &bytes)) {
        return key->mv_size == 8 ? 0 : MDB_CORRUPTED; /* The mark. */
    }
    if (group != w->sums.group || generation != w->sums.generation) {
        rc = sums_judge(ls, txn, &w->sums);
        w->sums = (struct sums){.group = group, .generation = generation};
    }
    leaf_visit(ls, &w->leaf, key, group);
    sums_add(&w->sums, kind, bytes, value);
    if (w->sums.is_bad ||
        (w->before.mv_size > 0 &&
         kv_bytes_compare(lmdb_bytes(&w->before), lmdb_bytes(key)) >= 0)) {
        w->sums.is_bad = true;
        w->leaf.is_bad = true;
    }
    w->before = *key;
    return rc;
}

static bool any_damaged(struct lmdb_store *ls)
{
    bool any = false;

    for (group_id g = 0; g < ls->groups_end; g++) {
        any = any || atomic_load(&ls->damaged[g]) != 0;
    }
    return any;
}

/* The walk broke off: none of it is to be believed. */
static void all_damaged(struct lmdb_store *ls)
{
    for (group_id g = 0; g < ls->groups_end; g++) {
        atomic_store(&ls->damaged[g], atomic_load(&ls->generations[g]));
    }
}

static int rows_walk(struct lmdb_store *ls, MDB_txn *txn)
{
    struct walk w = {0};
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    MDB_stat st;
    int rc = mdb_stat(txn, ls->state.dbis[STATE_ROWS], &st);

    if (rc == 0) {
        rc = mdb_cursor_open(txn, ls->state.dbis[STATE_ROWS], &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        rc = row_visit(ls, txn, &w, &key, &value);
        if (rc != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        leaf_judge(ls, &w.leaf);
        rc = sums_judge(ls, txn, &w.sums);
    }
    if (rc == 0 && w.count != st.ms_entries && !any_damaged(ls)) {
        rc = MDB_CORRUPTED; /* Somewhere. */
    }
    return rc;
}

/* Groups whose rows did not show up at all must have none. */
static int absent_judge(struct lmdb_store *ls, MDB_txn *txn)
{
    int rc = 0;

    for (group_id g = 0; rc == 0 && g < ls->groups_end; g++) {
        uint32_t current = atomic_load(&ls->generations[g]);
        struct state_meta meta;

        if (current == 0 || atomic_load(&ls->verified[g])) {
            continue;
        }
        rc = lmdb_state_meta(ls, txn, g, &meta, &current);
        if (rc == 0 && meta.rows_count != 0) {
            atomic_store(&ls->damaged[g], current);
        }
    }
    return rc;
}

static int state_verify(struct lmdb_store *ls)
{
    MDB_txn *txn;
    int rc = lmdb_read_begin(&ls->state, &ls->state_reader);

    if (rc != 0) {
        return rc;
    }
    txn = ls->state_reader.txn;
    rc = table_walk(ls, txn, ls->state.dbis[STATE_GROUPS], meta_visit);
    if (rc == 0 && atomic_load(&ls->state.shared.used_bytes) <= VERIFY_BYTES_MAX) {
        rc = rows_walk(ls, txn);
        if (rc == 0) {
            rc = absent_judge(ls, txn);
        }
        if (lmdb_error(rc) == KV_EDAMAGED) {
            all_damaged(ls); /* Their replicas take snapshots; the log is all right. */
            rc = 0;
        }
    }
    lmdb_read_end(&ls->state_reader);
    return lmdb_error(rc);
}

static int log_verify(struct lmdb_store *ls)
{
    int rc = lmdb_read_begin(&ls->log, &ls->log_reader);

    if (rc != 0) {
        return rc;
    }
    rc = table_walk(ls, ls->log_reader.txn, ls->log.dbis[LOG_HEADS], head_visit);
    if (rc == 0) {
        rc = lmdb_log_index_load(ls, ls->log_reader.txn);
    }
    lmdb_read_end(&ls->log_reader);
    return lmdb_error(rc);
}

int lmdb_verify(struct lmdb_store *ls)
{
    int rc = log_verify(ls);

    return rc != 0 ? rc : state_verify(ls);
}
