/* storage/lmdb_snap_recv.c - a snapshot file is received, and read again. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_snapfile.h"

/* ---- receiving ---- */

/* Writes the chunk at the file's end and syncs it. */
static int chunk_write(struct lmdb_store *ls, group_id group,
                       const struct raft_chunk *c)
{
    char room[SNAP_NAME_BYTES];
    bool is_new = c->offset == 0;
    int flags = O_WRONLY | O_CLOEXEC | (is_new ? O_CREAT | O_TRUNC : 0);
    int fd = openat(ls->snap_fd, snap_name(group, c->snapshot_id, "recv", room), flags,
                    0600);
    int rc;

    if (fd < 0) {
        return snap_errno();
    }
    if (is_new) {
        (void)KV_FAILPOINT(chunk_new);
    }
    KV_FAILPOINT_WRITE(chunk_write, fd, c->data.data, c->data.len, (off_t)c->offset);
    rc = snap_write_all(fd, c->data.data, c->data.len, c->offset);
    if (rc == 0) {
        rc = KV_FAILPOINT(chunk_sync);
    }
    if (rc == 0 && fdatasync(fd) != 0) {
        rc = snap_errno();
    }
    if (is_new) {
        (void)KV_FAILPOINT(chunk_folder);
    }
    if (rc == 0 && is_new && fsync(ls->snap_fd) != 0) {
        rc = snap_errno();
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
    slot = snap_slot(ls, group);
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
        snap_delete(ls, group, now.id, "recv");
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

int snap_frames_open(struct snap_frames *f, struct lmdb_store *ls, group_id group,
                     uint64_t id)
{
    char room[SNAP_NAME_BYTES];

    *f = (struct snap_frames){.fd = -1};
    f->buffer = kv_mem_zalloc(SNAPSHOT_FRAME_BYTES_MAX + SNAP_BUFFER_BYTES);
    if (f->buffer == NULL) {
        return KV_ENOMEM;
    }
    f->fd =
        openat(ls->snap_fd, snap_name(group, id, "recv", room), O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) {
        int rc = errno == ENOENT ? KV_ENOTFOUND : KV_EIO;

        kv_mem_free(f->buffer);
        return rc;
    }
    snapshot_reader_init(&f->reader);
    return 0;
}

void snap_frames_close(struct snap_frames *f)
{
    (void)close(f->fd);
    kv_mem_free(f->buffer);
}

int snap_frames_next(struct snap_frames *f, enum snapshot_item *out_item,
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
        got = snap_read_some(f->fd, f->buffer + f->filled,
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

int snap_verify(struct lmdb_store *ls, group_id group, const struct raft_snapshot *snap)
{
    struct snap_frames f;
    enum snapshot_item item;
    struct row row;
    int rc = snap_frames_open(&f, ls, group, snap->id);

    if (rc != 0) {
        return rc == KV_ENOTFOUND ? KV_EDAMAGED : rc;
    }
    do {
        rc = snap_frames_next(&f, &item, &row);
    } while (rc == 0);
    if (rc == KV_ENOTFOUND) {
        rc = f.reader.last == SNAPSHOT_END && f.offset == snap->bytes &&
                     snapshot_head_is(&f.reader.head, group, snap)
                 ? 0
                 : KV_EDAMAGED;
    }
    snap_frames_close(&f);
    return rc;
}

/* ---- at open ---- */

bool snap_received_keep(struct lmdb_store *ls, group_id group, uint64_t id)
{
    char room[SNAP_NAME_BYTES];
    struct snap_frames f;
    struct snapshot_slot *slot;
    enum snapshot_item item;
    struct row row;
    uint64_t whole;
    bool is_ours;

    if (group >= ls->groups_max || snap_frames_open(&f, ls, group, id) != 0) {
        return false;
    }
    while (snap_frames_next(&f, &item, &row) == 0) {
        /* Only to find where the whole frames end. */
    }
    whole = f.offset;
    is_ours =
        whole > 0 && f.reader.head.group == group && snapshot_id(&f.reader.head) == id;
    snap_frames_close(&f);
    if (is_ours) {
        int fd = openat(ls->snap_fd, snap_name(group, id, "recv", room),
                        O_WRONLY | O_CLOEXEC);

        is_ours = fd >= 0 && ftruncate(fd, (off_t)whole) == 0 && fsync(fd) == 0;
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    slot = is_ours ? snap_slot(ls, group) : NULL;
    if (slot == NULL || slot->received.id != 0) {
        return false;
    }
    slot->received = (struct snapshot_file){.id = id, .bytes = whole};
    return true;
}
