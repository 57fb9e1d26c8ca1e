/* storage/lmdb_verify.c - what is checked at open, before anything is believed.
 *
 * LMDB 0.9 has no checksums. Rows have ours, but a bit in a page's list of rows can make
 * rows invisible without touching any of them. So the small tables are counted, and the
 * rows of each group are summed up and compared with what the group's meta says. That
 * reads the whole state; above VERIFY_BYTES_MAX it is left to the scrubber, which says
 * later what this would have said now.
 */
#include "raft/base/err.h"
#include "storage/lmdb_store.h"
#include "storage/meta.h"

#define VERIFY_BYTES_MAX (1ULL << 30) /* About a second. */

/* ---- small tables ---- */

/* Called for each group's row. */
typedef void (*group_visit)(struct lmdb_store *ls, group_id group,
                            const MDB_val *value);

static void head_visit(struct lmdb_store *ls, group_id group, const MDB_val *value)
{
    (void)value;
    atomic_store(&ls->log_known[group], true);
}

static void meta_visit(struct lmdb_store *ls, group_id group, const MDB_val *value)
{
    struct state_meta meta;
    uint32_t generation;

    if (meta_state_decode(group, lmdb_bytes(value), &meta, &generation) == 0) {
        atomic_store(&ls->generations[group], generation);
    }
}

/* Walks a table of groups; its rows must be as many as LMDB counts. */
static int table_walk(struct lmdb_store *ls, MDB_txn *txn, MDB_dbi dbi,
                      group_visit visit)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    MDB_stat st;
    size_t count = 0;
    int rc = mdb_stat(txn, dbi, &st);

    if (rc == 0) {
        rc = mdb_cursor_open(txn, dbi, &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        group_id group = key.mv_size == 4 ? kv_get_u32be(key.mv_data) : UINT32_MAX;

        if (group < ls->groups_max) {
            visit(ls, group, &value);
            ls->groups_end = KV_MAX(ls->groups_end, group + 1);
        }
        count++;
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

static int rows_walk(struct lmdb_store *ls, MDB_txn *txn)
{
    struct sums sums = {0};
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(txn, ls->state.dbis[STATE_ROWS], &cursor);

    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        group_id group;
        uint32_t generation;
        uint8_t kind;
        struct kv_bytes bytes;

        if (!lmdb_state_key_split(&key, &group, &generation, &kind, &bytes)) {
            continue; /* The mark. */
        }
        if (group != sums.group || generation != sums.generation) {
            rc = sums_judge(ls, txn, &sums);
            if (rc != 0) {
                break;
            }
            sums = (struct sums){.group = group, .generation = generation};
        }
        sums_add(&sums, kind, bytes, &value);
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        rc = sums_judge(ls, txn, &sums);
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
    lmdb_read_end(&ls->log_reader);
    return lmdb_error(rc);
}

int lmdb_verify(struct lmdb_store *ls)
{
    int rc = log_verify(ls);

    return rc != 0 ? rc : state_verify(ls);
}
