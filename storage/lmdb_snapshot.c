/* storage/lmdb_snapshot.c - snapshot files: made here, received, installed.
 *
 * DIR/snap/<group>-<id>.snap is a stream that was made here, .tmp one that is being
 * made, .recv one that is being received. What a name says is never believed: id and
 * rows are checked against the stream's own head.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_store.h"
#include "storage/snapshot.h"

enum {
    SNAP_NAME_BYTES = 48,
    SNAP_BUFFER_BYTES = 256 * 1024,
    SNAP_SYNC_BYTES = 8 * 1024 * 1024, /* Written back in parts, not in one burst. */
    INSTALL_PAGES = 2048, /* What one transaction of an install may dirty. */
};

static int errno_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? KV_ENOSPACE : KV_EIO;
}

static const char *file_name(group_id group, uint64_t id, const char *kind,
                             char room[SNAP_NAME_BYTES])
{
    (void)snprintf(room, SNAP_NAME_BYTES, "%" PRIu32 "-%016" PRIx64 ".%s", group, id,
                   kind);
    return room;
}

static void file_delete(struct lmdb_store *ls, group_id group, uint64_t id,
                        const char *kind)
{
    char room[SNAP_NAME_BYTES];

    (void)unlinkat(ls->snap_fd, file_name(group, id, kind, room), 0);
}

/* Writes all of it; restarts what a signal or a short write interrupted. */
static int write_all(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t done = pwrite(fd, data, len, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? errno_error() : KV_EIO;
        }
        data += done;
        len -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

/* Reads up to `len` bytes; fewer at the end of the file. -1 on failure. */
static ssize_t read_some(int fd, uint8_t *out, size_t len, uint64_t offset)
{
    size_t got = 0;

    while (got < len) {
        ssize_t done = pread(fd, out + got, len - got, (off_t)(offset + got));

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return -1;
        }
        if (done == 0) {
            break;
        }
        got += (size_t)done;
    }
    return (ssize_t)got;
}

/* The group's files; made when first needed. NULL: no memory. The lock is held. */
static struct snapshot_slot *slot_of(struct lmdb_store *ls, group_id group)
{
    if (ls->files[group] == NULL) {
        ls->files[group] = kv_mem_zalloc(sizeof **ls->files);
    }
    return ls->files[group];
}

/* ---- making ---- */

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
    rc = write_all(w->fd, w->buffer, w->filled, w->written);

    if (rc != 0) {
        return rc;
    }
    w->written += w->filled;
    w->filled = 0;
    if (w->written - w->synced >= SNAP_SYNC_BYTES) {
        w->synced = w->written;
        return fdatasync(w->fd) == 0 ? 0 : errno_error();
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
    rc = write_all(w->fd, large, snapshot_row_encode(r, large), w->written);
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
        rc = errno_error();
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
    file_name(head->group, id, "tmp", tmp);
    w.fd = openat(ls->snap_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    rc = w.fd < 0 ? errno_error() : stream_write(ls, txn, head, generation, &w);
    if (w.fd >= 0) {
        (void)close(w.fd);
    }
    kv_mem_free(w.buffer);
    if (rc == 0) {
        rc = KV_FAILPOINT(snap_rename);
    }
    if (rc == 0 && renameat(ls->snap_fd, tmp, ls->snap_fd,
                            file_name(head->group, id, "snap", name)) != 0) {
        rc = errno_error();
    }
    (void)KV_FAILPOINT(snap_renamed);
    if (rc == 0 && fsync(ls->snap_fd) != 0) {
        rc = errno_error();
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
    slot = slot_of(ls, group);
    if (slot != NULL) {
        old = slot->made.id;
        slot->made = (struct snapshot_file){
            .id = about->id, .bytes = about->bytes, .about = *about};
    }
    pthread_mutex_unlock(&ls->files_lock);
    if (old != 0 && old != about->id) {
        file_delete(ls, group, old, "snap");
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
    fd = openat(ls->snap_fd, file_name(group, id, "snap", room), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? KV_ENOTFOUND : KV_EIO; /* Just replaced by another. */
    }
    got = read_some(fd, out, len, offset);
    (void)close(fd);
    return got == (ssize_t)len ? 0 : KV_EIO;
}

/* ---- receiving ---- */

/* Writes the chunk at the file's end and syncs it. */
static int chunk_write(struct lmdb_store *ls, group_id group,
                       const struct raft_chunk *c)
{
    char room[SNAP_NAME_BYTES];
    bool is_new = c->offset == 0;
    int flags = O_WRONLY | O_CLOEXEC | (is_new ? O_CREAT | O_TRUNC : 0);
    int fd = openat(ls->snap_fd, file_name(group, c->snapshot_id, "recv", room), flags,
                    0600);
    int rc;

    if (fd < 0) {
        return errno_error();
    }
    if (is_new) {
        (void)KV_FAILPOINT(chunk_new);
    }
    KV_FAILPOINT_WRITE(chunk_write, fd, c->data.data, c->data.len, (off_t)c->offset);
    rc = write_all(fd, c->data.data, c->data.len, c->offset);
    if (rc == 0) {
        rc = KV_FAILPOINT(chunk_sync);
    }
    if (rc == 0 && fdatasync(fd) != 0) {
        rc = errno_error();
    }
    if (is_new) {
        (void)KV_FAILPOINT(chunk_folder);
    }
    if (rc == 0 && is_new && fsync(ls->snap_fd) != 0) {
        rc = errno_error();
    }
    if (rc == KV_ENOSPACE && ftruncate(fd, (off_t)c->offset) != 0) {
        rc = KV_EIO;
    }
    (void)close(fd);
    return rc;
}

int lmdb_snapshot_chunk_store(struct store *s, group_id group,
                              const struct raft_snapshot *snap,
                              const struct raft_chunk *chunk)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    struct snapshot_slot *slot;
    struct snapshot_file now = {0};
    int rc;

    if (group >= ls->groups_max || snap->id == 0 || chunk->snapshot_id != snap->id ||
        chunk->len != chunk->data.len || chunk->offset > snap->bytes ||
        chunk->len > snap->bytes - chunk->offset) {
        return KV_EINVAL;
    }
    pthread_mutex_lock(&ls->files_lock);
    slot = slot_of(ls, group);
    if (slot != NULL) {
        now = slot->received;
        if (chunk->offset == 0) {
            slot->received = (struct snapshot_file){0}; /* Ends what was there. */
        }
    }
    pthread_mutex_unlock(&ls->files_lock);
    if (slot == NULL) {
        return KV_ENOMEM;
    }
    if (chunk->offset != 0 && (now.id != snap->id || now.bytes != chunk->offset)) {
        return KV_EINVAL;
    }
    if (chunk->offset == 0 && now.id != 0 && now.id != snap->id) {
        file_delete(ls, group, now.id, "recv");
    }
    rc = chunk_write(ls, group, chunk);
    if (rc == 0) {
        (void)KV_FAILPOINT(chunk_stored);
        pthread_mutex_lock(&ls->files_lock);
        slot->received.id = snap->id;
        slot->received.bytes = chunk->offset + chunk->len;
        pthread_mutex_unlock(&ls->files_lock);
    }
    return rc;
}

int lmdb_snapshot_chunk_offset(struct store *s, group_id group, uint64_t id,
                               uint64_t *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);

    *out = 0;
    if (group >= ls->groups_max) {
        return KV_EINVAL;
    }
    pthread_mutex_lock(&ls->files_lock);
    if (id != 0 && ls->files[group] != NULL && ls->files[group]->received.id == id) {
        *out = ls->files[group]->received.bytes;
    }
    pthread_mutex_unlock(&ls->files_lock);
    return 0;
}

/* ---- reading a received file ---- */

/* A file that is read frame by frame. */
struct frames {
    int fd;
    uint8_t *buffer; /* SNAPSHOT_FRAME_BYTES_MAX + SNAP_BUFFER_BYTES */
    size_t at, filled;
    uint64_t offset; /* Of buffer[at] in the file. */
    struct snapshot_reader reader;
};

static int frames_open(struct frames *f, struct lmdb_store *ls, group_id group,
                       uint64_t id)
{
    char room[SNAP_NAME_BYTES];

    *f = (struct frames){.fd = -1};
    f->buffer = kv_mem_zalloc(SNAPSHOT_FRAME_BYTES_MAX + SNAP_BUFFER_BYTES);
    if (f->buffer == NULL) {
        return KV_ENOMEM;
    }
    f->fd =
        openat(ls->snap_fd, file_name(group, id, "recv", room), O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) {
        int rc = errno == ENOENT ? KV_ENOTFOUND : KV_EIO;

        kv_mem_free(f->buffer);
        return rc;
    }
    snapshot_reader_init(&f->reader);
    return 0;
}

static void frames_close(struct frames *f)
{
    (void)close(f->fd);
    kv_mem_free(f->buffer);
}

/* The next frame. 0; KV_ENOTFOUND at a clean end (also of a part of a stream);
 * KV_EDAMAGED; KV_EFORMAT; KV_EIO. out_row lives until the next call. */
static int frames_next(struct frames *f, enum snapshot_item *out_item,
                       struct row *out_row)
{
    size_t used;
    ssize_t got;
    int rc =
        snapshot_reader_next(&f->reader, kv_bytes(f->buffer + f->at, f->filled - f->at),
                             &used, out_item, out_row);

    if (rc == KV_EAGAIN) {
        memmove(f->buffer, f->buffer + f->at, f->filled - f->at);
        f->filled -= f->at;
        f->at = 0;
        got = read_some(f->fd, f->buffer + f->filled,
                        SNAPSHOT_FRAME_BYTES_MAX + SNAP_BUFFER_BYTES - f->filled,
                        f->offset + f->filled);
        if (got < 0) {
            return KV_EIO;
        }
        if (got == 0) {
            return KV_ENOTFOUND;
        }
        f->filled += (size_t)got;
        rc = snapshot_reader_next(&f->reader, kv_bytes(f->buffer, f->filled), &used,
                                  out_item, out_row);
        if (rc == KV_EAGAIN) {
            return KV_ENOTFOUND; /* It ends within a frame. */
        }
    }
    if (rc == 0) {
        f->at += used;
        f->offset += used;
    }
    return rc;
}

/* Reads the whole file: is it exactly the snapshot `snap`? */
static int file_verify(struct lmdb_store *ls, group_id group,
                       const struct raft_snapshot *snap)
{
    struct frames f;
    enum snapshot_item item;
    struct row row;
    int rc = frames_open(&f, ls, group, snap->id);

    if (rc != 0) {
        return rc == KV_ENOTFOUND ? KV_EDAMAGED : rc;
    }
    do {
        rc = frames_next(&f, &item, &row);
    } while (rc == 0);
    if (rc == KV_ENOTFOUND) {
        rc = f.reader.last == SNAPSHOT_END && f.offset == snap->bytes &&
                     snapshot_head_is(&f.reader.head, group, snap)
                 ? 0
                 : KV_EDAMAGED;
    }
    frames_close(&f);
    return rc;
}

/* ---- installing ---- */

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
static int install_rows(struct install *in, struct frames *f)
{
    enum snapshot_item item = SNAPSHOT_HEAD;
    int rc = install_begin(in);

    if (rc == 0) {
        rc = lmdb_state_generation_new(in->ls, in->txn, in->group, &in->generation);
    }
    while (rc == 0 && item != SNAPSHOT_END) {
        struct row row;

        rc = frames_next(f, &item, &row);
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
    struct frames f;
    struct state_meta meta;
    int rc = frames_open(&f, ls, group, snap->id);

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
    frames_close(&f);
    return rc;
}

static void received_forget(struct lmdb_store *ls, group_id group, uint64_t id)
{
    pthread_mutex_lock(&ls->files_lock);
    if (ls->files[group] != NULL && ls->files[group]->received.id == id) {
        ls->files[group]->received = (struct snapshot_file){0};
    }
    pthread_mutex_unlock(&ls->files_lock);
    file_delete(ls, group, id, "recv");
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
    rc = file_verify(ls, group, snap);
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

/* ---- at open ---- */

/* Keeps the whole frames of a partly received file. False: it is worth nothing. */
static bool received_keep(struct lmdb_store *ls, group_id group, uint64_t id)
{
    char room[SNAP_NAME_BYTES];
    struct frames f;
    struct snapshot_slot *slot;
    enum snapshot_item item;
    struct row row;
    uint64_t whole;
    bool is_ours;

    if (group >= ls->groups_max || frames_open(&f, ls, group, id) != 0) {
        return false;
    }
    while (frames_next(&f, &item, &row) == 0) {
        /* Only to find where the whole frames end. */
    }
    whole = f.offset;
    is_ours =
        whole > 0 && f.reader.head.group == group && snapshot_id(&f.reader.head) == id;
    frames_close(&f);
    if (is_ours) {
        int fd = openat(ls->snap_fd, file_name(group, id, "recv", room),
                        O_WRONLY | O_CLOEXEC);

        is_ours = fd >= 0 && ftruncate(fd, (off_t)whole) == 0 && fsync(fd) == 0;
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    slot = is_ours ? slot_of(ls, group) : NULL;
    if (slot == NULL || slot->received.id != 0) {
        return false;
    }
    slot->received = (struct snapshot_file){.id = id, .bytes = whole};
    return true;
}

/* Reads "<group>-<id>.<kind>". */
static bool name_split(const char *name, group_id *out_group, uint64_t *out_id,
                       const char **out_kind)
{
    char *end;
    unsigned long group;

    errno = 0;
    group = strtoul(name, &end, 10);
    if (errno != 0 || end == name || *end != '-' || group >= UINT32_MAX) {
        return false;
    }
    name = end + 1;
    *out_id = strtoull(name, &end, 16);
    if (errno != 0 || end != name + 16 || *end != '.') {
        return false;
    }
    *out_group = (group_id)group;
    *out_kind = end + 1;
    return true;
}

/* Goes through the folder's files: keeps what was being received, deletes the rest. */
static int files_tidy(struct lmdb_store *ls)
{
    int fd = openat(ls->dir_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return KV_EIO;
    }
    while ((entry = readdir(dir)) != NULL) {
        group_id group;
        uint64_t id;
        const char *kind;

        if (!name_split(entry->d_name, &group, &id, &kind)) {
            continue; /* ".", "..", and what is not ours. */
        }
        if (strcmp(kind, "recv") != 0 || !received_keep(ls, group, id)) {
            (void)unlinkat(ls->snap_fd, entry->d_name, 0);
        }
    }
    (void)closedir(dir);
    return fsync(ls->snap_fd) == 0 ? 0 : KV_EIO;
}

int lmdb_snapshot_open(struct lmdb_store *ls)
{
    if (mkdirat(ls->dir_fd, "snap", 0700) == 0) {
        if (fsync(ls->dir_fd) != 0) {
            return errno_error();
        }
    } else if (errno != EEXIST) {
        return errno_error();
    }
    ls->snap_fd = openat(ls->dir_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return ls->snap_fd < 0 ? KV_EIO : files_tidy(ls);
}

void lmdb_snapshot_close(struct lmdb_store *ls)
{
    for (uint32_t i = 0; ls->files != NULL && i < ls->groups_max; i++) {
        kv_mem_free(ls->files[i]);
    }
    kv_mem_free(ls->files);
    ls->files = NULL;
    if (ls->snap_fd >= 0) {
        (void)close(ls->snap_fd);
        ls->snap_fd = -1;
    }
}
