/* jepsen/layer/layer.c - the disk and clock layer that is loaded into a kvd.
 *
 * A shared library of its own: it takes the place of libc's file calls and of the wall
 * clock, and calls the real ones. Files below KVLAYER_DIR are followed by descriptor;
 * all else passes through. Before a followed write the bytes that it replaces go to
 * the undo log, so that the harness can take back, after a kill, what was not synced.
 * Reads need nothing: they see the file as it is, through mmap as well.
 *
 * Not followed: LOCK, lock.mdb and ballast, whose content nobody relies on.
 *
 * Needs:    jepsen/layer/layer.h, libc, libpthread.
 * Used by:  nobody links it; jepsen/env/keeper.c names it in LD_PRELOAD.
 * Threads:  any; the undo log and its tables are behind one lock.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/layer/layer_own.h"

struct layer g = {.undo_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
struct layer_real real;

/* ---- start ---- */

static void real_find(void)
{
    struct {
        const char *name;
        void *at;
    } all[] = {
        {"openat", &real.openat},
        {"close", &real.close},
        {"pwritev", &real.pwritev},
        {"writev", &real.writev},
        {"ftruncate", &real.ftruncate},
        {"fallocate", &real.fallocate},
        {"fsync", &real.fsync},
        {"fdatasync", &real.fdatasync},
        {"renameat", &real.renameat},
        {"unlinkat", &real.unlinkat},
        {"mkdirat", &real.mkdirat},
        {"fstatvfs", &real.fstatvfs},
        {"clock_gettime", &real.clock_gettime},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        void *f = dlsym(RTLD_NEXT, all[i].name);

        if (f == NULL) {
            abort();
        }
        memcpy(all[i].at, &f, sizeof f);
    }
}

static bool state_open(const char *state)
{
    char path[PATH_MAX + 16];
    void *page;
    int fd;

    snprintf(path, sizeof path, "%s/control", state);
    fd = real.openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    page = mmap(NULL, sizeof *g.control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)real.close(fd);
    snprintf(path, sizeof path, "%s/undo", state);
    g.undo_fd =
        real.openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (page == MAP_FAILED || g.undo_fd < 0) {
        return false;
    }
    g.control = page;
    return true;
}

__attribute__((constructor)) static void layer_begin(void)
{
    const char *dir = getenv("KVLAYER_DIR");
    const char *state = getenv("KVLAYER_STATE");

    if (real.openat == NULL) {
        real_find();
    }
    if (dir == NULL || state == NULL || strlen(dir) >= sizeof g.dir ||
        strlen(state) >= sizeof g.state) {
        return;
    }
    memcpy(g.dir, dir, strlen(dir) + 1);
    g.dir_len = strlen(dir);
    memcpy(g.state, state, strlen(state) + 1);
    if (!state_open(state)) {
        dprintf(STDERR_FILENO, "layer: %s: %s\n", state, strerror(errno));
        _exit(127);
    }
    undo_resume();
    atomic_fetch_add(&g.control->loaded, 1);
}

/* A call may come before our constructor: another library's may run first. */
static void begun(void)
{
    if (real.openat == NULL) {
        real_find();
    }
}

/* ---- following descriptors ---- */

static struct followed *followed(int fd)
{
    if (g.control == NULL || fd < 0 || fd >= LAYER_FDS_MAX || g.fds[fd].ino == 0) {
        return NULL;
    }
    return &g.fds[fd];
}

static bool ends_with(const char *path, const char *name)
{
    size_t a = strlen(path), b = strlen(name);

    return a >= b && strcmp(path + a - b, name) == 0;
}

static bool path_is_ours(const char *path)
{
    return g.control != NULL && strncmp(path, g.dir, g.dir_len) == 0 &&
           (path[g.dir_len] == '/' || path[g.dir_len] == '\0') &&
           strstr(path, "/..") == NULL && !ends_with(path, "/LOCK") &&
           !ends_with(path, "/lock.mdb") && !ends_with(path, "/ballast");
}

/* The absolute path of `name` in folder dir_fd. False when it cannot be told. */
static bool path_of(int dir_fd, const char *name, char out[PATH_MAX])
{
    char link[64];
    ssize_t len;

    if (name[0] == '/') {
        return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX;
    }
    snprintf(link, sizeof link,
             dir_fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir_fd);
    len = readlink(link, out, PATH_MAX - 1);
    if (len <= 0 || (size_t)len + strlen(name) + 2 > PATH_MAX) {
        return false;
    }
    snprintf(out + len, (size_t)(PATH_MAX - len), "/%s", name);
    return true;
}

static void follow(int fd, int flags)
{
    struct followed f = {.read_fd = fd};
    struct stat st;
    char self[64];

    if (fd >= LAYER_FDS_MAX || fstat(fd, &st) != 0 ||
        (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
        undo_give_up();
        return;
    }
    f.folder = S_ISDIR(st.st_mode);
    f.sync = (flags & (O_SYNC | O_DSYNC)) != 0;
    if (!f.folder && (flags & O_ACCMODE) == O_RDONLY) {
        /* Followed too: a sync of it counts. */
        f.read_fd = fd;
    } else if (!f.folder && (flags & O_ACCMODE) == O_WRONLY) {
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        f.read_fd = real.openat(AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
        if (f.read_fd < 0) {
            undo_give_up();
            return;
        }
    }
    f.ino = st.st_ino;
    g.fds[fd] = f;
}

/* O_TRUNC of a file that is there, O_CREAT of one that is not: noted before. */
static void opening(const char *path, int flags)
{
    struct followed f;
    struct stat st;

    if (stat(path, &st) != 0) {
        if ((flags & O_CREAT) != 0) {
            undo_name(LAYER_CREATED, path, "");
        }
    } else if ((flags & O_TRUNC) != 0 && st.st_size > 0) {
        f = (struct followed){.ino = st.st_ino};
        f.read_fd = real.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        (void)undo_content(&f, LAYER_CUT, 0, st.st_size);
        (void)real.close(f.read_fd);
    }
}

static int open_any(int dir_fd, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    bool ours;
    int fd;

    begun();
    ours = g.control != NULL && path_of(dir_fd, name, path) && path_is_ours(path);
    if (!ours) {
        return real.openat(dir_fd, name, flags, mode);
    }
    pthread_mutex_lock(&g.lock);
    opening(path, flags);
    fd = real.openat(dir_fd, name, flags, mode);
    if (fd >= 0) {
        follow(fd, flags);
    }
    pthread_mutex_unlock(&g.lock);
    return fd;
}

/* ---- what the harness wants ---- */

static void rest_us(uint32_t us)
{
    struct timespec t = {.tv_sec = us / 1000000,
                         .tv_nsec = (long)(us % 1000000) * 1000};

    while (us != 0 && nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

static uint64_t now_us(void)
{
    struct timespec t;

    real.clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool refuse(_Atomic uint64_t *counter, int error)
{
    atomic_fetch_add(counter, 1);
    errno = error;
    return true;
}

static off_t size_of(const struct followed *f)
{
    struct stat st;

    return fstat(f->read_fd, &st) == 0 ? st.st_size : 0;
}

/* True, with errno, when the disk may not do this: it fails, or has no room for
 * `more` bytes. */
static bool refused(off_t more)
{
    struct layer_control *c = g.control;

    if (atomic_load(&c->failing) != 0) {
        return refuse(&c->failed, EIO);
    }
    if (more > 0 && atomic_load(&c->full) != 0) {
        if (atomic_fetch_sub(&c->free_bytes, more) < more) {
            atomic_fetch_add(&c->free_bytes, more);
            return refuse(&c->refused, ENOSPC);
        }
    }
    return false;
}

static void freed(off_t bytes)
{
    if (bytes > 0 && atomic_load(&g.control->full) != 0) {
        atomic_fetch_add(&g.control->free_bytes, bytes);
    }
}

static void synced_in(uint64_t begin_us)
{
    uint64_t took = now_us() - begin_us;
    uint32_t max = atomic_load(&g.control->sync_us_max);

    atomic_fetch_add(&g.control->syncs, 1);
    while (took > max && !atomic_compare_exchange_weak(&g.control->sync_us_max, &max,
                                                       (uint32_t)took)) {
    }
}

/* ---- writes ---- */

static size_t pieces_bytes(const struct iovec *v, int count)
{
    size_t bytes = 0;

    for (int i = 0; i < count; i++) {
        bytes += v[i].iov_len;
    }
    return bytes;
}

static ssize_t write_at(int fd, const struct followed *f, const struct iovec *v,
                        int count, off_t offset)
{
    off_t bytes = (off_t)pieces_bytes(v, count);
    off_t size = size_of(f);
    uint64_t begin_us = now_us();
    uint64_t first, last, before;
    ssize_t wrote;

    rest_us(atomic_load(&g.control->write_delay_us));
    if (refused(offset + bytes > size ? offset + bytes - size : 0)) {
        return -1;
    }
    atomic_fetch_add(&g.control->writes, 1);
    pthread_mutex_lock(&g.lock);
    first = g.number + 1;
    before = undo_last(f->ino);
    last = undo_content(f, LAYER_WRITE, offset, bytes);
    pthread_mutex_unlock(&g.lock);
    wrote = real.pwritev(fd, v, count, offset);
    if (!f->sync || wrote < 0) {
        return wrote;
    }
    rest_us(atomic_load(&g.control->sync_delay_us));
    pthread_mutex_lock(&g.lock);
    undo_written(f->ino, first, last, before);
    pthread_mutex_unlock(&g.lock);
    synced_in(begin_us);
    return wrote;
}

static ssize_t write_on(int fd, const struct iovec *v, int count)
{
    const struct followed *f = followed(fd);
    off_t at;
    ssize_t wrote;

    begun();
    if (f == NULL || f->folder) {
        return real.writev(fd, v, count);
    }
    at = (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? size_of(f) : lseek(fd, 0, SEEK_CUR);
    wrote = write_at(fd, f, v, count, at);
    if (wrote > 0) {
        (void)lseek(fd, at + wrote, SEEK_SET);
    }
    return wrote;
}

static ssize_t pwrite_on(int fd, const struct iovec *v, int count, off_t offset)
{
    const struct followed *f = followed(fd);

    begun();
    return f == NULL || f->folder ? real.pwritev(fd, v, count, offset)
                                  : write_at(fd, f, v, count, offset);
}

static int truncate_on(int fd, off_t length)
{
    const struct followed *f = followed(fd);
    struct stat st;
    int rc;

    begun();
    if (g.control == NULL || fstat(fd, &st) != 0) {
        return real.ftruncate(fd, length);
    }
    if (f != NULL && refused(0)) {
        return -1;
    }
    if (f != NULL) {
        pthread_mutex_lock(&g.lock);
        if (length < st.st_size) {
            (void)undo_content(f, LAYER_CUT, length, st.st_size - length);
        } else {
            (void)undo_content(f, LAYER_GROW, st.st_size, 0);
        }
        pthread_mutex_unlock(&g.lock);
    }
    rc = real.ftruncate(fd, length);
    if (rc == 0) {
        freed(st.st_size - length); /* The ballast as well, though not followed. */
    }
    return rc;
}

static int allocate_on(int fd, int mode, off_t offset, off_t length)
{
    const struct followed *f = followed(fd);
    struct stat st;
    off_t more;

    begun();
    if (g.control == NULL || fstat(fd, &st) != 0) {
        return real.fallocate(fd, mode, offset, length);
    }
    more = offset + length > st.st_size ? offset + length - st.st_size : 0;
    if (refused(more)) {
        return -1;
    }
    if (f != NULL && more > 0) {
        pthread_mutex_lock(&g.lock);
        (void)undo_content(f, LAYER_GROW, st.st_size, 0);
        pthread_mutex_unlock(&g.lock);
    }
    return real.fallocate(fd, mode, offset, length);
}

static int sync_on(int fd, int (*call)(int))
{
    const struct followed *f = followed(fd);
    uint64_t begin_us;
    struct followed was;
    uint64_t until;
    int rc;

    if (f == NULL) {
        return call(fd);
    }
    begin_us = now_us();
    if (refused(0)) {
        return -1;
    }
    rest_us(atomic_load(&g.control->sync_delay_us));
    was = *f;
    pthread_mutex_lock(&g.lock);
    until = g.number; /* What is written from now on may miss this sync. */
    pthread_mutex_unlock(&g.lock);
    rc = call(fd);
    if (rc == 0) {
        pthread_mutex_lock(&g.lock);
        undo_synced(&was, until);
        pthread_mutex_unlock(&g.lock);
        synced_in(begin_us);
    }
    return rc;
}

/* ---- names ---- */

static int rename_any(int from_fd, const char *from, int to_fd, const char *to)
{
    char a[PATH_MAX];
    char b[PATH_MAX];
    int rc;

    begun();
    if (g.control == NULL || !path_of(from_fd, from, a) || !path_of(to_fd, to, b) ||
        !path_is_ours(a) || !path_is_ours(b)) {
        return real.renameat(from_fd, from, to_fd, to);
    }
    if (refused(0)) {
        return -1;
    }
    pthread_mutex_lock(&g.lock);
    undo_keep(b);
    undo_name(LAYER_RENAMED, a, b);
    rc = real.renameat(from_fd, from, to_fd, to);
    pthread_mutex_unlock(&g.lock);
    return rc;
}

static int unlink_any(int dir_fd, const char *name, int flags)
{
    char path[PATH_MAX];
    struct stat st;
    int rc;

    begun();
    if (g.control == NULL || (flags & AT_REMOVEDIR) != 0 ||
        !path_of(dir_fd, name, path) || !path_is_ours(path) || stat(path, &st) != 0) {
        return real.unlinkat(dir_fd, name, flags);
    }
    if (refused(0)) {
        return -1;
    }
    pthread_mutex_lock(&g.lock);
    undo_keep(path);
    undo_name(LAYER_REMOVED, path, "");
    rc = real.unlinkat(dir_fd, name, flags);
    pthread_mutex_unlock(&g.lock);
    freed(rc == 0 ? st.st_size : 0);
    return rc;
}

static int mkdir_any(int dir_fd, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    struct stat st;
    int rc;

    begun();
    if (g.control == NULL || !path_of(dir_fd, name, path) || !path_is_ours(path) ||
        stat(path, &st) == 0) {
        return real.mkdirat(dir_fd, name, mode);
    }
    if (refused(1)) {
        return -1;
    }
    pthread_mutex_lock(&g.lock);
    undo_name(LAYER_CREATED, path, "");
    rc = real.mkdirat(dir_fd, name, mode);
    pthread_mutex_unlock(&g.lock);
    return rc;
}

/* ---- the names that libc has for these; off_t has 64 bits, so both do ---- */

#define LAYER_API       __attribute__((visibility("default")))
#define LAYER_SAME(old) __attribute__((visibility("default"), alias(#old)))

#define LAYER_MODE(flags, mode)                         \
    do {                                                \
        if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) { \
            va_list args;                               \
            va_start(args, flags);                      \
            mode = va_arg(args, mode_t);                \
            va_end(args);                               \
        }                                               \
    } while (0)

LAYER_API int openat(int dir_fd, const char *name, int flags, ...)
{
    mode_t mode = 0;

    LAYER_MODE(flags, mode);
    return open_any(dir_fd, name, flags, mode);
}

LAYER_API int open(const char *name, int flags, ...)
{
    mode_t mode = 0;

    LAYER_MODE(flags, mode);
    return open_any(AT_FDCWD, name, flags, mode);
}

LAYER_SAME(openat) int openat64(int dir_fd, const char *name, int flags, ...);
LAYER_SAME(open) int open64(const char *name, int flags, ...);

LAYER_API int __open_2(const char *name, int flags);
int __open_2(const char *name, int flags)
{
    return open_any(AT_FDCWD, name, flags, 0);
}
LAYER_SAME(__open_2) int __open64_2(const char *name, int flags);

LAYER_API int __openat_2(int dir_fd, const char *name, int flags);
int __openat_2(int dir_fd, const char *name, int flags)
{
    return open_any(dir_fd, name, flags, 0);
}
LAYER_SAME(__openat_2) int __openat64_2(int dir_fd, const char *name, int flags);

LAYER_API int close(int fd)
{
    const struct followed *f = followed(fd);

    begun();
    if (f != NULL) {
        int own = f->read_fd;

        pthread_mutex_lock(&g.lock);
        g.fds[fd] = (struct followed){0};
        pthread_mutex_unlock(&g.lock);
        if (own != fd) {
            (void)real.close(own);
        }
    }
    return real.close(fd);
}

LAYER_API ssize_t write(int fd, const void *data, size_t bytes)
{
    const struct iovec v = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};

    return write_on(fd, &v, 1);
}

LAYER_API ssize_t writev(int fd, const struct iovec *v, int count)
{
    return write_on(fd, v, count);
}

LAYER_API ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    const struct iovec v = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};

    return pwrite_on(fd, &v, 1, offset);
}
LAYER_SAME(pwrite) ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at);

LAYER_API ssize_t pwritev(int fd, const struct iovec *v, int count, off_t offset)
{
    return pwrite_on(fd, v, count, offset);
}
LAYER_SAME(pwritev) ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at);

LAYER_API int ftruncate(int fd, off_t length)
{
    return truncate_on(fd, length);
}
LAYER_SAME(ftruncate) int ftruncate64(int fd, off_t length);

LAYER_API int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return allocate_on(fd, mode, offset, length);
}
LAYER_SAME(fallocate) int fallocate64(int fd, int mode, off_t offset, off_t length);

LAYER_API int posix_fallocate(int fd, off_t offset, off_t length)
{
    return allocate_on(fd, 0, offset, length) == 0 ? 0 : errno;
}
LAYER_SAME(posix_fallocate) int posix_fallocate64(int fd, off_t offset, off_t length);

LAYER_API int fsync(int fd)
{
    begun();
    return sync_on(fd, real.fsync);
}

LAYER_API int fdatasync(int fd)
{
    begun();
    return sync_on(fd, real.fdatasync);
}

LAYER_API int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return rename_any(from_fd, from, to_fd, to);
}

LAYER_API int rename(const char *from, const char *to)
{
    return rename_any(AT_FDCWD, from, AT_FDCWD, to);
}

LAYER_API int unlinkat(int dir_fd, const char *name, int flags)
{
    return unlink_any(dir_fd, name, flags);
}

LAYER_API int unlink(const char *name)
{
    return unlink_any(AT_FDCWD, name, 0);
}

LAYER_API int mkdirat(int dir_fd, const char *name, mode_t mode)
{
    return mkdir_any(dir_fd, name, mode);
}

LAYER_API int mkdir(const char *name, mode_t mode)
{
    return mkdir_any(AT_FDCWD, name, mode);
}

LAYER_API int fstatvfs(int fd, struct statvfs *out)
{
    int rc;

    begun();
    rc = real.fstatvfs(fd, out);
    if (rc == 0 && g.control != NULL && atomic_load(&g.control->full) != 0) {
        int64_t left = atomic_load(&g.control->free_bytes);

        out->f_bavail = left > 0 ? (fsblkcnt_t)left / out->f_frsize : 0;
        out->f_bfree = out->f_bavail;
    }
    return rc;
}

LAYER_API int fstatvfs64(int fd, struct statvfs64 *out)
{
    struct statvfs s;
    int rc = fstatvfs(fd, &s);

    if (rc == 0) {
        memcpy(out, &s, sizeof s); /* The same struct: off_t has 64 bits. */
    }
    return rc;
}

_Static_assert(sizeof(struct statvfs) == sizeof(struct statvfs64), "one struct");

/* ---- the wall clock ---- */

static void clock_shift(struct timespec *t)
{
    int64_t offset = atomic_load(&g.control->clock_offset_ms);
    uint32_t strobe = atomic_load(&g.control->clock_strobe_ms);
    int64_t ns;

    if (offset == 0 || (strobe != 0 && now_us() / 1000 / strobe % 2 == 0)) {
        return;
    }
    ns = t->tv_nsec + offset % 1000 * 1000000;
    t->tv_sec += offset / 1000;
    if (ns < 0) {
        t->tv_sec--;
        ns += 1000000000;
    } else if (ns >= 1000000000) {
        t->tv_sec++;
        ns -= 1000000000;
    }
    t->tv_nsec = ns;
}

LAYER_API int clock_gettime(clockid_t which, struct timespec *out)
{
    int rc;

    begun();
    rc = real.clock_gettime(which, out);
    if (rc == 0 && g.control != NULL &&
        (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        clock_shift(out);
    }
    return rc;
}
