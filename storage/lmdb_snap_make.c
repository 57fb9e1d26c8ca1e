/* storage/lmdb_snap_make.c - a snapshot file is made, and read for sending. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_snapfile.h"

enum {
    SNAP_SYNC_BYTES = 8 * 1024 * 1024, /* Written back in parts, not in one burst. */
};

/* A file that is being written through a buffer. */
struct writer {
    int fd;
    uint8_t *buffer; /* SNAP_BUFFER_BYTES */
    size_t filled;
    uint64_t written;
    uint64_t synced;
};

static int writer_flush(struct writer *w)
{
    int rc;

    KV_FAILPOINT_WRITE(snap_write, w->fd, w->buffer, w->filled, (off_t)w->written);
    rc = snap_write_all(w->fd, w->buffer, w->filled, w->written);

    if (rc != 0) {
        return rc;
    }
    w->written += w->filled;
    w->filled = 0;
    if (w->written - w->synced >= SNAP_SYNC_BYTES) {
        w->synced = w->written;
        return fdatasync(w->fd) == 0 ? 0 : snap_errno();
    }
    return 0;
}

/* Makes room for `len` bytes in the buffer; *out points at it. */
static int writer_room(struct writer *w, size_t len, uint8_t **out)
{
    int rc = w->filled + len > SNAP_BUFFER_BYTES ? writer_flush(w) : 0;

    KV_ASSERT(len <= SNAP_BUFFER_BYTES);
    *out = w->buffer + w->filled;
    return rc;
}

static int writer_row(struct writer *w, const struct row *r)
{
    size_t len = snapshot_row_bytes(r);
    uint8_t *large;
    uint8_t *at;
    int rc;

    if (len <= SNAP_BUFFER_BYTES) {
        rc = writer_room(w, len, &at);
        w->filled += rc == 0 ? snapshot_row_encode(r, at) : 0;
        return rc;
    }
    rc = writer_flush(w);
    if (rc != 0) {
        return rc;
    }
    large = kv_mem_zalloc(len);
    if (large == NULL) {
        return KV_ENOMEM;
    }
    rc = snap_write_all(w->fd, large, snapshot_row_encode(r, large), w->written);
    w->written += len;
    kv_mem_free(large);
    return rc;
}

/* Writes the rows of one generation and sums them up. */
static int rows_stream(struct lmdb_store *ls, MDB_txn *txn, group_id group,
                       uint32_t generation, struct writer *w, struct state_meta *sum)
{
    uint8_t begin[8];
    MDB_val key = {sizeof begin, begin};
    MDB_val value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, ls->state.dbis[STATE_ROWS], &cursor);

    if (rc != 0) {
        return lmdb_error(rc);
    }
    kv_put_u32be(begin, group);
    kv_put_u32be(begin + 4, generation);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        group_id row_group;
        uint32_t row_generation;
        uint8_t kind;
        struct kv_bytes bytes;
        struct row row;

        if (!lmdb_state_key_split(&key, &row_group, &row_generation, &kind, &bytes) ||
            row_group != group || row_generation != generation) {
            break;
        }
        rc = row_decode(group, kind, bytes, lmdb_bytes(&value), &row);
        if (rc == 0) {
            rc = writer_row(w, &row);
        }
        if (rc == 0) {
            sum->rows_count++;
            sum->rows_bytes += row.key.len + row.value.len;
            sum->state_hash += row_hash(&row);
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

/* Head, rows, end, synced. KV_EDAMAGED when the rows are not those of the meta. */
static int stream_write(struct lmdb_store *ls, MDB_txn *txn,
                        const struct snapshot_head *head, uint32_t generation,
                        struct writer *w)
{
    struct state_meta sum = {0};
    uint8_t *at;
    int rc = writer_room(w, SNAPSHOT_HEAD_BYTES_MAX, &at);

    if (rc == 0) {
        w->filled += snapshot_head_encode(head, at);
        rc = rows_stream(ls, txn, head->group, generation, w, &sum);
    }
    if (rc == 0 && (sum.rows_count != head->meta.rows_count ||
                    sum.rows_bytes != head->meta.rows_bytes ||
                    sum.state_hash != head->meta.state_hash)) {
        rc = KV_EDAMAGED;
    }
    if (rc == 0) {
        rc = writer_room(w, SNAPSHOT_END_BYTES, &at);
    }
    if (rc == 0) {
        w->filled += snapshot_end_encode(sum.rows_count, sum.state_hash, at);
        rc = writer_flush(w);
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(snap_sync);
    }
    if (rc == 0 && fsync(w->fd) != 0) {
        rc = snap_errno();
    }
    return rc;
}

/* Writes the stream to a temporary file and gives it its name. */
static int file_make(struct lmdb_store *ls, MDB_txn *txn,
                     const struct snapshot_head *head, uint32_t generation,
                     uint64_t *out_bytes)
{
    char tmp[SNAP_NAME_BYTES];
    char name[SNAP_NAME_BYTES];
    uint64_t id = snapshot_id(head);
    struct writer w = {.buffer = kv_mem_zalloc(SNAP_BUFFER_BYTES)};
    int rc;

    if (w.buffer == NULL) {
        return KV_ENOMEM;
    }
    snap_name(head->group, id, "tmp", tmp);
    w.fd = openat(ls->snap_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    rc = w.fd < 0 ? snap_errno() : stream_write(ls, txn, head, generation, &w);
    if (w.fd >= 0) {
        (void)close(w.fd);
    }
    kv_mem_free(w.buffer);
    if (rc == 0) {
        rc = KV_FAILPOINT(snap_rename);
    }
    if (rc == 0 && renameat(ls->snap_fd, tmp, ls->snap_fd,
                            snap_name(head->group, id, "snap", name)) != 0) {
        rc = snap_errno();
    }
    (void)KV_FAILPOINT(snap_renamed);
    if (rc == 0 && fsync(ls->snap_fd) != 0) {
        rc = snap_errno();
    }
    if (rc != 0) {
        (void)unlinkat(ls->snap_fd, tmp, 0);
    }
    *out_bytes = w.written;
    return rc;
}

/* Puts a new file in the place of the group's old one. */
static int made_switch(struct lmdb_store *ls, group_id group,
                       const struct raft_snapshot *about)
{
    struct snapshot_slot *slot;
    uint64_t old = 0;

    (void)KV_FAILPOINT(snap_made);
    pthread_mutex_lock(&ls->files_lock);
    slot = snap_slot(ls, group);
    if (slot != NULL) {
        old = slot->made.id;
        slot->made = (struct snapshot_file){
            .id = about->id, .bytes = about->bytes, .about = *about};
    }
    pthread_mutex_unlock(&ls->files_lock);
    if (old != 0 && old != about->id) {
        snap_delete(ls, group, old, "snap");
    }
    return slot == NULL ? KV_ENOMEM : 0;
}

/* Has the file of this id been made already? */
static bool made_is(struct lmdb_store *ls, group_id group, uint64_t id,
                    struct raft_snapshot *out)
{
    bool found = false;

    pthread_mutex_lock(&ls->files_lock);
    if (ls->files[group] != NULL && ls->files[group]->made.id == id) {
        *out = ls->files[group]->made.about;
        found = true;
    }
    pthread_mutex_unlock(&ls->files_lock);
    return found;
}

int lmdb_snapshot_make(struct store *s, group_id group, struct raft_snapshot *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct lmdb_reader *r = &ls->side_state_reader;
    struct snapshot_head head = {.group = group};
    uint32_t generation = 0;
    uint64_t bytes;
    int rc;

    if (group >= ls->groups_max) {
        return KV_EINVAL;
    }
    rc = lmdb_read_begin(&ls->state, r);
    if (rc != 0) {
        return rc;
    }
    rc = lmdb_state_meta(ls, r->txn, group, &head.meta, &generation);
    if (rc == 0 && generation == 0) {
        rc = KV_ENOTFOUND;
    }
    if (rc == 0) {
        rc = KV_FAILPOINT(snap_make);
        if (rc == 0) {
            rc = file_make(ls, r->txn, &head, generation, &bytes);
        }
        if (rc == 0) {
            snapshot_describe(&head, bytes, out);
            rc = made_switch(ls, group, out);
        }
    }
    lmdb_read_end(r);
    return lmdb_error(rc);
}

int lmdb_snapshot_read(struct store *s, group_id group, uint64_t id, uint64_t offset,
                       uint32_t len, uint8_t *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    char room[SNAP_NAME_BYTES];
    struct raft_snapshot about;
    ssize_t got;
    int fd;

    if (group >= ls->groups_max || id == 0 || !made_is(ls, group, id, &about)) {
        return KV_ENOTFOUND;
    }
    if (offset > about.bytes || len > about.bytes - offset) {
        return KV_EINVAL;
    }
    fd = openat(ls->snap_fd, snap_name(group, id, "snap", room), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? KV_ENOTFOUND : KV_EIO; /* Just replaced by another. */
    }
    got = snap_read_some(fd, out, len, offset);
    (void)close(fd);
    return got == (ssize_t)len ? 0 : KV_EIO;
}
