/* tests/lib/fault_interpose.h - puts fault_io between the program and libc.
 *
 * Definitions, not declarations: include it in one file of a test program, before any
 * other header. A program's own symbols win over those of shared libraries, also for
 * the calls that LMDB makes.
 *
 * Needs:    tests/lib/fault_io.h.
 * Used by:  tests/storage/test_fault.c, test_crash.c.
 */
#ifndef KV_TESTS_LIB_FAULT_INTERPOSE_H
#define KV_TESTS_LIB_FAULT_INTERPOSE_H

#undef _FORTIFY_SOURCE /* Its inline functions have the same names. */

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fault_io.h"

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return fault_io_pwrite(fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
    return fault_io_write(fd, data, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fault_io_writev(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return fault_io_pwritev(fd, parts, count, offset);
}

int fdatasync(int fd)
{
    return fault_io_fdatasync(fd);
}

int fsync(int fd)
{
    return fault_io_fsync(fd);
}

int msync(void *at, size_t len, int flags)
{
    return fault_io_msync(at, len, flags);
}

int ftruncate(int fd, off_t size)
{
    return fault_io_ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return fault_io_fallocate(fd, mode, offset, len);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    return fault_io_posix_fallocate(fd, offset, len);
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if ((flags & O_CREAT) != 0) {
        mode = va_arg(args, mode_t);
    }
    va_end(args);
    return fault_io_open(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if ((flags & O_CREAT) != 0) {
        mode = va_arg(args, mode_t);
    }
    va_end(args);
    return fault_io_openat(dir, path, flags, mode);
}

int renameat(int dir, const char *path, int dir2, const char *path2)
{
    return fault_io_renameat(dir, path, dir2, path2);
}

int unlinkat(int dir, const char *path, int flags)
{
    return fault_io_unlinkat(dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return fault_io_mkdir(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    return fault_io_mkdirat(dir, path, mode);
}

#endif
