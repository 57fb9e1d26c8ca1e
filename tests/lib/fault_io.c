/* tests/lib/fault_io.c - the calls behind fault_interpose.h. */
#include "tests/lib/fault_io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"

/* One per program, as the functions that it stands in for. */
static struct {
    char dir[256]; /* Calls below it count; "": none. */
    size_t dir_len;
    uint64_t calls;
    uint64_t fail_at; /* Number of the call that fails; 0: none. */
    int fail_errno;
    const char *failed;
    int64_t space; /* FAULT_IO_ENDLESS: no limit. */
    bool skip_syncs;
    bool drop_syncs;
    struct fault_recording *recording; /* NULL: not written down. */
} io = {.failed = "", .space = FAULT_IO_ENDLESS};

/* The real calls go straight to the kernel: libc's functions of these names are
 * ours. */

/* ---- set-up ---- */

void fault_io_begin(const char *dir)
{
    io.dir_len = strlen(dir);
    KV_ASSERT(io.dir_len < sizeof io.dir);
    memcpy(io.dir, dir, io.dir_len + 1);
    io.calls = 0;
    io.fail_at = 0;
    io.failed = "";
    io.space = FAULT_IO_ENDLESS;
    io.skip_syncs = false;
    io.recording = NULL;
}

void fault_io_fail(uint64_t nth, int err)
{
    io.calls = 0;
    io.fail_at = nth;
    io.fail_errno = err;
    io.failed = "";
}

uint64_t fault_io_calls(void)
{
    return io.calls;
}

const char *fault_io_failed(void)
{
    return io.failed;
}

void fault_io_space(int64_t bytes)
{
    io.space = bytes;
}

int64_t fault_io_space_left(void)
{
    return io.space;
}

void fault_io_skip_syncs(bool skip)
{
    io.skip_syncs = skip;
}

void fault_io_record(struct fault_recording *r)
{
    *r = (struct fault_recording){0};
    io.recording = r;
    io.drop_syncs = false;
}

void fault_io_drop_syncs(bool drop)
{
    io.drop_syncs = drop;
}

void fault_io_record_end(void)
{
    io.recording = NULL;
}

void fault_recording_close(struct fault_recording *r)
{
    for (size_t i = 0; i < r->count; i++) {
        kv_mem_free(r->ops[i].data);
    }
    kv_mem_free(r->ops);
    *r = (struct fault_recording){0};
}

/* ---- which calls count ---- */

/* Files whose content says nothing: locks, and space held back. */
static bool is_boring(const char *path)
{
    return strstr(path, "lock.mdb") != NULL || strstr(path, "LOCK") != NULL ||
           strstr(path, "ballast") != NULL;
}

/* Strips the folder off an absolute path; NULL when it lies elsewhere. */
static const char *below(const char *path)
{
    if (io.dir_len == 0 || strncmp(path, io.dir, io.dir_len) != 0 ||
        (path[io.dir_len] != '/' && path[io.dir_len] != 0)) {
        return NULL;
    }
    return path[io.dir_len] == 0 ? "" : path + io.dir_len + 1;
}

/* Path of an open file below the folder, in `room`; NULL when it lies elsewhere. */
static const char *path_of(int fd, char room[PATH_MAX])
{
    char link[64];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = io.dir_len == 0 ? -1 : readlink(link, room, PATH_MAX - 1);
    if (len < 0) {
        return NULL;
    }
    room[len] = 0;
    return below(room);
}

/* Path of (dir, path); NULL when it lies elsewhere. */
static const char *path_at(int dir, const char *path, char room[PATH_MAX])
{
    char folder[PATH_MAX];
    const char *base;

    if (path[0] == '/') {
        return below(path);
    }
    base = dir == AT_FDCWD ? NULL : path_of(dir, folder);
    if (base == NULL) {
        return NULL;
    }
    snprintf(room, PATH_MAX, "%.2000s%s%.2000s", base, base[0] == 0 ? "" : "/", path);
    return room;
}

/* Counts a call; true when it is the one that fails (errno is set). */
static bool fails(const char *name, const char *path)
{
    if (path == NULL) {
        return false;
    }
    io.calls++;
    if (io.calls != io.fail_at) {
        return false;
    }
    io.failed = name;
    errno = io.fail_errno;
    return true;
}

/* The file is to be `end` bytes long at least: false when there is no space for that
 * (errno is set). */
static bool space_take(const char *path, int fd, uint64_t end)
{
    struct stat st;
    int64_t more;

    if (path == NULL || io.space == FAULT_IO_ENDLESS || fstat(fd, &st) != 0 ||
        end <= (uint64_t)st.st_size) {
        return true;
    }
    more = (int64_t)(end - (uint64_t)st.st_size);
    if (more > io.space) {
        errno = ENOSPC;
        return false;
    }
    io.space -= more;
    return true;
}

/* A file of this size is cut to `end`, or deleted. */
static void space_give(const char *path, const struct stat *st, uint64_t end)
{
    if (path != NULL && io.space != FAULT_IO_ENDLESS && (uint64_t)st->st_size > end) {
        io.space += (int64_t)((uint64_t)st->st_size - end);
    }
}

/* ---- writing down ---- */

/* A new op of a file that is of interest; NULL when nothing is written down. */
static struct fault_op *note(enum fault_op_kind kind, const char *path)
{
    struct fault_recording *r = io.recording;
    struct fault_op *op;

    if (r == NULL || path == NULL || is_boring(path)) {
        return NULL;
    }
    if (r->count == r->room) {
        r->room = r->room == 0 ? 256 : 2 * r->room;
        r->ops = kv_mem_realloc(r->ops, r->room * sizeof *r->ops);
        KV_ASSERT(r->ops != NULL);
    }
    op = &r->ops[r->count++];
    *op = (struct fault_op){.kind = kind};
    KV_ASSERT(strlen(path) < sizeof op->path);
    memcpy(op->path, path, strlen(path) + 1);
    return op;
}

void fault_io_ack(void)
{
    (void)note(FAULT_ACK, "");
}

static void note_write(const char *path, int fd, const void *data, size_t len,
                       off_t offset)
{
    struct fault_op *op = note(FAULT_WRITE, path);

    if (op == NULL) {
        return;
    }
    op->is_dsync = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    op->offset = (uint64_t)offset;
    op->len = len;
    op->data = kv_mem_zalloc(len + 1);
    KV_ASSERT(op->data != NULL);
    memcpy(op->data, data, len);
}

static void note_size(const char *path, uint64_t size)
{
    struct fault_op *op = note(FAULT_SIZE, path);

    if (op != NULL) {
        op->offset = size;
    }
}

/* ---- writes ---- */

ssize_t fault_io_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    ssize_t done;

    if (fails("pwrite", path) || !space_take(path, fd, (uint64_t)offset + len)) {
        return -1;
    }
    done = syscall(SYS_pwrite64, fd, data, len, offset);
    if (done > 0) {
        note_write(path, fd, data, (size_t)done, offset);
    }
    return done;
}

ssize_t fault_io_write(int fd, const void *data, size_t len)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    off_t offset = path == NULL ? 0 : lseek(fd, 0, SEEK_CUR);
    ssize_t done;

    if (fails("write", path)) {
        return -1;
    }
    done = syscall(SYS_write, fd, data, len);
    if (done > 0) {
        note_write(path, fd, data, (size_t)done, offset);
    }
    return done;
}

/* Writes down what a vector wrote, as one write. */
static void note_writev(const char *path, int fd, const struct iovec *parts, int count,
                        size_t done, off_t offset)
{
    uint8_t *all = kv_mem_zalloc(done + 1);
    size_t at = 0;

    KV_ASSERT(all != NULL);
    for (int i = 0; i < count && at < done; i++) {
        size_t len = KV_MIN(parts[i].iov_len, done - at);

        memcpy(all + at, parts[i].iov_base, len);
        at += len;
    }
    note_write(path, fd, all, done, offset);
    kv_mem_free(all);
}

ssize_t fault_io_writev(int fd, const struct iovec *parts, int count)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    off_t offset = path == NULL ? 0 : lseek(fd, 0, SEEK_CUR);
    ssize_t done;

    if (fails("writev", path)) {
        return -1;
    }
    done = syscall(SYS_writev, fd, parts, count);
    if (done > 0 && path != NULL) {
        note_writev(path, fd, parts, count, (size_t)done, offset);
    }
    return done;
}

ssize_t fault_io_pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    uint64_t end = (uint64_t)offset;
    ssize_t done;

    for (int i = 0; i < count; i++) {
        end += parts[i].iov_len;
    }
    if (fails("pwritev", path) || !space_take(path, fd, end)) {
        return -1;
    }
    done = syscall(SYS_pwritev, fd, parts, count, offset, 0);
    if (done > 0 && path != NULL) {
        note_writev(path, fd, parts, count, (size_t)done, offset);
    }
    return done;
}

/* ---- syncs ---- */

static int sync_do(const char *name, int fd, bool is_data)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    struct stat st;

    if (fails(name, path)) {
        return -1;
    }
    if (path != NULL && io.recording != NULL && fstat(fd, &st) == 0 &&
        (!io.drop_syncs || S_ISDIR(st.st_mode))) {
        (void)note(FAULT_SYNC, path);
    }
    if (io.skip_syncs) {
        return 0;
    }
    return (int)syscall(is_data ? SYS_fdatasync : SYS_fsync, fd);
}

int fault_io_fdatasync(int fd)
{
    return sync_do("fdatasync", fd, true);
}

int fault_io_fsync(int fd)
{
    return sync_do("fsync", fd, false);
}

int fault_io_msync(void *at, size_t len, int flags)
{
    KV_ASSERT(io.recording == NULL); /* Nobody writes through a map. */
    return (int)syscall(SYS_msync, at, len, flags);
}

/* ---- sizes ---- */

int fault_io_ftruncate(int fd, off_t size)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    struct stat st;
    bool is_known = path != NULL && fstat(fd, &st) == 0;
    int rc;

    if (fails("ftruncate", path)) {
        return -1;
    }
    rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0 && is_known) {
        space_give(path, &st, (uint64_t)size);
        note_size(path, (uint64_t)size);
    }
    return rc;
}

int fault_io_fallocate(int fd, int mode, off_t offset, off_t len)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);
    struct stat st;
    int rc;

    if (fails("fallocate", path) || !space_take(path, fd, (uint64_t)(offset + len))) {
        return -1;
    }
    rc = (int)syscall(SYS_fallocate, fd, mode, offset, len);
    if (rc == 0 && path != NULL && fstat(fd, &st) == 0) {
        note_size(path, (uint64_t)st.st_size);
    }
    return rc;
}

int fault_io_posix_fallocate(int fd, off_t offset, off_t len)
{
    char room[PATH_MAX];
    const char *path = path_of(fd, room);

    if (fails("posix_fallocate", path)) {
        return io.fail_errno;
    }
    if (!space_take(path, fd, (uint64_t)(offset + len))) {
        return ENOSPC;
    }
    KV_ASSERT(io.recording == NULL || path == NULL || is_boring(path));
    return syscall(SYS_fallocate, fd, 0, offset, len) == 0 ? 0 : errno;
}

/* ---- names ---- */

int fault_io_openat(int dir, const char *path, int flags, mode_t mode)
{
    char room[PATH_MAX];
    const char *name = io.dir_len == 0 ? NULL : path_at(dir, path, room);
    struct stat st;
    bool is_new =
        name != NULL && (flags & O_CREAT) != 0 && fstatat(dir, path, &st, 0) != 0;
    int fd;

    if (fails("open", name)) {
        return -1;
    }
    fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && is_new) {
        (void)note(FAULT_CREATE, name);
    } else if (fd >= 0 && name != NULL && (flags & O_TRUNC) != 0) {
        note_size(name, 0);
    }
    return fd;
}

int fault_io_open(const char *path, int flags, mode_t mode)
{
    return fault_io_openat(AT_FDCWD, path, flags, mode);
}

int fault_io_renameat(int dir, const char *path, int dir2, const char *path2)
{
    char room[PATH_MAX];
    char room2[PATH_MAX];
    const char *from = path_at(dir, path, room);
    const char *to = path_at(dir2, path2, room2);
    struct fault_op *op;
    int rc;

    if (fails("renameat", from)) {
        return -1;
    }
    rc = (int)syscall(SYS_renameat2, dir, path, dir2, path2, 0);
    op = rc == 0 && to != NULL ? note(FAULT_RENAME, from) : NULL;
    if (op != NULL) {
        KV_ASSERT(strlen(to) < sizeof op->path2);
        memcpy(op->path2, to, strlen(to) + 1);
    }
    return rc;
}

int fault_io_unlinkat(int dir, const char *path, int flags)
{
    char room[PATH_MAX];
    const char *name = path_at(dir, path, room);
    struct stat st;
    bool is_known = name != NULL && fstatat(dir, path, &st, 0) == 0;
    int rc;

    if (fails("unlinkat", name)) {
        return -1;
    }
    rc = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (rc == 0) {
        if (is_known) {
            space_give(name, &st, 0);
        }
        (void)note(FAULT_UNLINK, name);
    }
    return rc;
}

int fault_io_mkdirat(int dir, const char *path, mode_t mode)
{
    char room[PATH_MAX];
    const char *name = path_at(dir, path, room);
    int rc;

    if (fails("mkdirat", name)) {
        return -1;
    }
    rc = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (rc == 0) {
        (void)note(FAULT_MKDIR, name);
    }
    return rc;
}

int fault_io_mkdir(const char *path, mode_t mode)
{
    return fault_io_mkdirat(AT_FDCWD, path, mode);
}
