/* storage/ballast.c - space held back for urgent writes. */
#include "storage/ballast.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"

enum {
    BALLAST_STEPS = 8
}; /* Given up in parts of this many. */

/* Is there room for `bytes` more, and as much again to live on? */
static bool disk_has_room(int fd, uint64_t bytes)
{
    struct statvfs s;

    if (fstatvfs(fd, &s) != 0) {
        return false;
    }
    return (uint64_t)s.f_bavail * s.f_frsize >= 2 * bytes;
}

/* Allocates up to full_bytes; the lock is held. Never holds a part of a failed try. */
static bool fill(struct ballast *b)
{
    uint64_t more = b->full_bytes - b->held_bytes;

    if (more == 0) {
        return true;
    }
    if (!disk_has_room(b->fd, more)) {
        return false;
    }
    (void)KV_FAILPOINT(ballast_fill);
    if (posix_fallocate(b->fd, (off_t)b->held_bytes, (off_t)more) != 0) {
        /* Give back the part that fitted; if that fails, the file is longer than it
         * counts, and the next try goes over it again. */
        int rc = ftruncate(b->fd, (off_t)b->held_bytes);

        (void)rc;
        return false;
    }
    b->held_bytes = b->full_bytes;
    return true;
}

int ballast_open(struct ballast *b, int dir_fd, uint64_t full_bytes)
{
    struct stat st;

    *b = (struct ballast){.fd = -1, .full_bytes = full_bytes};
    pthread_mutex_init(&b->lock, NULL);
    b->fd = openat(dir_fd, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->fd < 0 || fstat(b->fd, &st) != 0) {
        ballast_close(b);
        return errno == ENOSPC || errno == EDQUOT ? KV_ENOSPACE : KV_EIO;
    }
    b->held_bytes = (uint64_t)st.st_size;
    if ((uint64_t)st.st_blocks * 512 < b->held_bytes) {
        b->held_bytes = 0; /* A copy with holes: it holds nothing for sure. */
    }
    if (b->held_bytes > full_bytes) {
        if (ftruncate(b->fd, (off_t)full_bytes) != 0) {
            ballast_close(b);
            return KV_EIO;
        }
        b->held_bytes = full_bytes;
    }
    (void)fill(b); /* Less is fine: urgent writes then have less. */
    return 0;
}

void ballast_close(struct ballast *b)
{
    if (b->fd >= 0) {
        (void)close(b->fd);
        b->fd = -1;
    }
    pthread_mutex_destroy(&b->lock);
}

bool ballast_give(struct ballast *b, uint64_t bytes)
{
    uint64_t part;
    bool given = false;

    pthread_mutex_lock(&b->lock);
    part = KV_MAX(bytes, b->full_bytes / BALLAST_STEPS);
    part = KV_MIN(part, b->held_bytes);
    (void)KV_FAILPOINT(ballast_give);
    if (part > 0 && ftruncate(b->fd, (off_t)(b->held_bytes - part)) == 0) {
        b->held_bytes -= part;
        given = true;
        (void)KV_FAILPOINT(ballast_given);
    }
    pthread_mutex_unlock(&b->lock);
    return given;
}

bool ballast_restore(struct ballast *b)
{
    bool full;

    pthread_mutex_lock(&b->lock);
    full = fill(b);
    pthread_mutex_unlock(&b->lock);
    return full;
}

bool ballast_is_full(struct ballast *b)
{
    bool full;

    pthread_mutex_lock(&b->lock);
    full = b->held_bytes == b->full_bytes;
    pthread_mutex_unlock(&b->lock);
    return full;
}
