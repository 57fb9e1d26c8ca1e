/* tests/lib/fault_io.h - system calls that fail, are skipped, or are written down.
 *
 * A test that includes tests/lib/fault_interpose.h (first of all, once) defines
 * pwrite(), fdatasync() and their like itself, so that the calls of storage/ and of
 * LMDB's shared library arrive here. They do the real thing, unless told otherwise.
 * Only calls on files below one folder are touched.
 *
 * Needs:    Linux's system calls.
 * Used by:  tests/storage.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_FAULT_IO_H
#define KV_TESTS_LIB_FAULT_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Back to normal; the calls of interest are those below `dir` (copied). */
void fault_io_begin(const char *dir);

/* The nth call of interest from now (1: the next) fails with `err`; 0: none. */
void fault_io_fail(uint64_t nth, int err);

/* Calls of interest since fault_io_begin() or fault_io_fail(). */
uint64_t fault_io_calls(void);

/* Name of the call that failed last, "" when none did. */
const char *fault_io_failed(void);

/* Space left on the disk for files below the folder. What makes a file longer takes
 * from it and fails with ENOSPC when there is less, what makes it shorter gives back.
 * FAULT_IO_ENDLESS, as after fault_io_begin(): no limit. */
#define FAULT_IO_ENDLESS INT64_MAX
void fault_io_space(int64_t bytes);
int64_t fault_io_space_left(void);

/* Syncs return 0 and do nothing: for tests whose disk need not be safe. */
void fault_io_skip_syncs(bool skip);

/* ---- writing down ---- */

enum fault_op_kind {
    FAULT_WRITE,  /* offset, data */
    FAULT_SIZE,   /* offset is the new size */
    FAULT_SYNC,   /* Of a file or folder. */
    FAULT_CREATE, /* A file. */
    FAULT_MKDIR,  /* A folder. */
    FAULT_RENAME, /* path to path2 */
    FAULT_UNLINK, /* A file. */
    FAULT_ACK,    /* fault_io_ack(): what came before was acknowledged. */
};

struct fault_op {
    enum fault_op_kind kind;
    bool is_dsync; /* A write that is durable when it returns. */
    char path[64]; /* Below the folder; "" is the folder itself. */
    char path2[64];
    uint64_t offset;
    uint8_t *data; /* Owned by the recording. */
    size_t len;
};

struct fault_recording {
    struct fault_op *ops;
    size_t count;
    size_t room;
};

/* From now on the calls are written down. */
void fault_io_record(struct fault_recording *r);

/* Syncs of files are not written down any more, as if the code had forgotten them. */
void fault_io_drop_syncs(bool drop);

/* Stops; the recording belongs to the caller. */
void fault_io_record_end(void);
void fault_recording_close(struct fault_recording *r);

/* Notes that everything so far was acknowledged. */
void fault_io_ack(void);

/* ---- what the interposed functions call ---- */

ssize_t fault_io_pwrite(int fd, const void *data, size_t len, off_t offset);
ssize_t fault_io_write(int fd, const void *data, size_t len);
ssize_t fault_io_writev(int fd, const struct iovec *parts, int count);
ssize_t fault_io_pwritev(int fd, const struct iovec *parts, int count, off_t offset);
int fault_io_fdatasync(int fd);
int fault_io_fsync(int fd);
int fault_io_msync(void *at, size_t len, int flags);
int fault_io_ftruncate(int fd, off_t size);
int fault_io_fallocate(int fd, int mode, off_t offset, off_t len);
int fault_io_posix_fallocate(int fd, off_t offset, off_t len);
int fault_io_open(const char *path, int flags, mode_t mode);
int fault_io_openat(int dir, const char *path, int flags, mode_t mode);
int fault_io_renameat(int dir, const char *path, int dir2, const char *path2);
int fault_io_unlinkat(int dir, const char *path, int flags);
int fault_io_mkdir(const char *path, mode_t mode);
int fault_io_mkdirat(int dir, const char *path, mode_t mode);

#endif
