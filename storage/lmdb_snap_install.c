/* storage/lmdb_snap_install.c - a received snapshot becomes the state. */
#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_snapfile.h"

enum {
    INSTALL_PAGES = 2048, /* What one transaction of an install may dirty. */
};

/* The rows of an install on their way, one bounded transaction at a time. */
struct install {
    struct lmdb_store *ls;
    group_id group;
    uint32_t generation; /* The new one. */
    MDB_txn *txn;        /* NULL between transactions. */
    uint64_t pages;      /* That it may have dirtied so far. */
};

static int install_begin(struct install *in)
{
    struct lmdb_demand d = {.pages = INSTALL_PAGES + 512};

    in->pages = 0;
    return lmdb_write_begin(&in->ls->state, &d, &in->txn);
}

static int install_end(struct install *in, int rc)
{
    MDB_txn *txn = in->txn;

    in->txn = NULL;
    return txn == NULL ? lmdb_error(rc) : lmdb_write_end(&in->ls->state, txn, rc);
}

static int install_row(struct install *in, const struct row *r)
{
    int rc = lmdb_state_row_put(in->ls, in->txn, in->group, in->generation, r);

    in->pages += lmdb_state_row_pages(r);
    if (rc == 0 && in->pages >= INSTALL_PAGES) {
        rc = install_end(in, 0);
        (void)KV_FAILPOINT(install_batch);
        if (rc == 0) {
            rc = install_begin(in);
        }
    }
    return rc;
}

/* Writes all rows; the last transaction is left open for the switch. */
static int install_rows(struct install *in, struct snap_frames *f)
{
    enum snapshot_item item = SNAPSHOT_HEAD;
    int rc = install_begin(in);

    if (rc == 0) {
        rc = lmdb_state_generation_new(in->ls, in->txn, in->group, &in->generation);
    }
    while (rc == 0 && item != SNAPSHOT_END) {
        struct row row;

        rc = snap_frames_next(f, &item, &row);
        if (rc == KV_ENOTFOUND) {
            rc = KV_EDAMAGED; /* It was whole when it was verified. */
        }
        if (rc == 0 && item == SNAPSHOT_ROW) {
            rc = install_row(in, &row);
        }
    }
    return rc;
}

/* Verified file to switched-in state. */
static int install_file(struct lmdb_store *ls, group_id group,
                        const struct raft_snapshot *snap)
{
    struct install in = {.ls = ls, .group = group};
    struct snap_frames f;
    struct state_meta meta;
    int rc = snap_frames_open(&f, ls, group, snap->id);

    if (rc != 0) {
        return rc;
    }
    rc = install_rows(&in, &f);
    if (rc == 0) {
        meta = f.reader.head.meta;
        meta.mark = true;
        rc = lmdb_state_meta_put(ls, in.txn, group, &meta, in.generation);
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(install_switch);
    }
    rc = install_end(&in, rc);
    (void)KV_FAILPOINT(install_switched);
    snap_frames_close(&f);
    return rc;
}

static void received_forget(struct lmdb_store *ls, group_id group, uint64_t id)
{
    pthread_mutex_lock(&ls->files_lock);
    if (ls->files[group] != NULL && ls->files[group]->received.id == id) {
        ls->files[group]->received = (struct snapshot_file){0};
    }
    pthread_mutex_unlock(&ls->files_lock);
    snap_delete(ls, group, id, "recv");
}

int lmdb_snapshot_install(struct store *s, group_id group,
                          const struct raft_snapshot *snap)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_reader *r = &ls->side_state_reader;
    struct state_meta old;
    uint32_t generation;
    uint64_t stored;
    int rc = lmdb_snapshot_chunk_offset(s, group, snap->id, &stored);

    if (rc != 0 || stored == 0) {
        return KV_EINVAL;
    }
    rc = lmdb_read_begin(&ls->state, r);
    if (rc != 0) {
        return rc;
    }
    rc = lmdb_state_meta(ls, r->txn, group, &old, &generation);
    lmdb_read_end(r);
    if (rc == 0 && snap->last.pos.index < old.applied.pos.index) {
        return KV_EINVAL; /* The state never goes back. */
    }
    if (rc != 0 && rc != KV_EDAMAGED) { /* A damaged state is what it replaces. */
        return lmdb_error(rc);
    }
    rc = snap_verify(ls, group, snap);
    if (rc == 0) {
        rc = KV_FAILPOINT(install);
    }
    if (rc == 0) {
        rc = install_file(ls, group, snap);
    }
    if (rc == 0 || rc == KV_EDAMAGED || rc == KV_EFORMAT) {
        received_forget(ls, group, snap->id);
        (void)KV_FAILPOINT(install_forgot);
    }
    return rc == KV_EFORMAT ? KV_EDAMAGED : rc;
}
