/* storage/lmdb_snapfile.h - snapshot files: names, whole reads and writes, frames.
 *
 * DIR/snap/<group>-<id>.snap is a stream that was made here, .tmp one that is being
 * made, .recv one that is being received. What a name says is never believed: id and
 * rows are checked against the stream's own head. Private to storage/.
 *
 * Needs:    storage/lmdb_store.h, storage/snapshot.h.
 * Used by:  storage/lmdb_snap*.c.
 * Threads:  the caller's; the table of files has its own lock.
 */
#ifndef KV_STORAGE_LMDB_SNAPFILE_H
#define KV_STORAGE_LMDB_SNAPFILE_H

#include <sys/types.h>

#include "storage/lmdb_store.h"
#include "storage/snapshot.h"

enum {
    SNAP_NAME_BYTES = 48,
    SNAP_BUFFER_BYTES = 256 * 1024,
};

/* ---- storage/lmdb_snapfile.c ---- */

/* What errno says: KV_ENOSPACE or KV_EIO. */
int snap_errno(void);

/* Writes the file's name into `room` and returns it; kind "snap", "tmp" or "recv". */
const char *snap_name(group_id group, uint64_t id, const char *kind,
                      char room[SNAP_NAME_BYTES]);
void snap_delete(struct lmdb_store *ls, group_id group, uint64_t id, const char *kind);

/* Writes all of it; restarts what a signal or a short write interrupted. 0,
 * KV_ENOSPACE, KV_EIO. */
int snap_write_all(int fd, const uint8_t *data, size_t len, uint64_t offset);

/* Reads up to `len` bytes; fewer at the end of the file. -1 on failure. */
ssize_t snap_read_some(int fd, uint8_t *out, size_t len, uint64_t offset);

/* The group's files; made when first needed. NULL: no memory. The lock is held. */
struct snapshot_slot *snap_slot(struct lmdb_store *ls, group_id group);

/* ---- storage/lmdb_snap_recv.c: a received file, read frame by frame ---- */

struct snap_frames {
    int fd;
    uint8_t *buffer; /* SNAPSHOT_FRAME_BYTES_MAX + SNAP_BUFFER_BYTES */
    size_t at, filled;
    uint64_t offset; /* Of buffer[at] in the file. */
    struct snapshot_reader reader;
};

/* Opens the received file. 0, KV_ENOMEM, KV_ENOTFOUND (no such file), KV_EIO. */
int snap_frames_open(struct snap_frames *f, struct lmdb_store *ls, group_id group,
                     uint64_t id);
void snap_frames_close(struct snap_frames *f);

/* The next frame. 0; KV_ENOTFOUND at a clean end (also of a part of a stream);
 * KV_EDAMAGED; KV_EFORMAT; KV_EIO. out_row lives until the next call. */
int snap_frames_next(struct snap_frames *f, enum snapshot_item *out_item,
                     struct row *out_row);

/* Reads the whole file: is it exactly the snapshot `snap`? 0, KV_EDAMAGED (no), and as
 * snap_frames_next(). */
int snap_verify(struct lmdb_store *ls, group_id group,
                const struct raft_snapshot *snap);

/* At open: keeps the whole frames of a partly received file. False: it is worth
 * nothing. */
bool snap_received_keep(struct lmdb_store *ls, group_id group, uint64_t id);

#endif
