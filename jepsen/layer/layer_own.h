/* jepsen/layer/layer_own.h - inside of the disk layer: its one state, its undo log.
 *
 * Needs:    jepsen/layer/layer.h.
 * Used by:  jepsen/layer/layer.c, undo.c.
 * Threads:  any; what is behind the lock says so.
 */
#ifndef KV_JEPSEN_LAYER_LAYER_OWN_H
#define KV_JEPSEN_LAYER_LAYER_OWN_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "jepsen/layer/layer.h"

enum {
    LAYER_FDS_MAX = 65536,  /* Descriptors above are not followed: that breaks it. */
    LAYER_FILES_MAX = 4096, /* Files with something not synced; a power of two. */
    LAYER_COPY_BYTES = 65536,
    LAYER_KEPT_MAX = 1024,       /* Removed files; more of them break it. */
    LAYER_FRESH_BYTES = 1 << 20, /* The log is emptied only when longer. */
};

/* A followed descriptor; ino 0: not followed. */
struct followed {
    ino_t ino;
    int read_fd; /* Where old content can be read: itself, or one of our own. */
    bool folder;
    bool sync; /* Opened O_SYNC or O_DSYNC. */
};

/* A file or folder with records in the log. What is open lies in (synced, last]. */
struct dirty {
    ino_t ino; /* 0: free. */
    uint64_t last;
    uint64_t synced;
};

/* All that the library has. One process, one of it: it cannot be handed around. */
struct layer {
    struct layer_control *control; /* NULL: the layer is off. */
    char dir[PATH_MAX];
    size_t dir_len;
    char state[PATH_MAX];
    int undo_fd;
    pthread_mutex_t lock; /* Everything below. */
    uint64_t number;      /* Of the last record. */
    off_t undo_bytes;
    unsigned dirty_count;
    unsigned kept_count;
    uint64_t kept[LAYER_KEPT_MAX]; /* Numbers of the records whose files we keep. */
    struct dirty files[LAYER_FILES_MAX];
    struct followed fds[LAYER_FDS_MAX];
};

extern struct layer g;

/* The real functions. */
struct layer_real {
    int (*openat)(int, const char *, int, ...);
    int (*close)(int);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    ssize_t (*writev)(int, const struct iovec *, int);
    int (*ftruncate)(int, off_t);
    int (*fallocate)(int, int, off_t, off_t);
    int (*fsync)(int);
    int (*fdatasync)(int);
    int (*renameat)(int, const char *, int, const char *);
    int (*unlinkat)(int, const char *, int);
    int (*mkdirat)(int, const char *, mode_t);
    int (*fstatvfs)(int, struct statvfs *);
    int (*clock_gettime)(clockid_t, struct timespec *);
};

extern struct layer_real real;

/* ---- the undo log; all with the lock held ---- */

/* The log cannot be trusted any more: the harness will not cut the power. */
void undo_give_up(void);

/* Takes up the log of a process that was killed: what it did not sync is still not
 * synced. */
void undo_resume(void);

/* Notes old content in [offset, offset + length). Returns the record's number. */
uint64_t undo_content(const struct followed *f, enum layer_kind kind, off_t offset,
                      off_t length);

/* Notes that names change. The file that loses its name was kept before. */
void undo_name(enum layer_kind kind, const char *name, const char *other);

/* Keeps a file that is about to lose its name, for the record that comes next. */
void undo_keep(const char *path);

/* A synchronous write, records [first, last], has returned; `before` is what
 * undo_last() said before it. */
void undo_written(ino_t ino, uint64_t first, uint64_t last, uint64_t before);

/* A sync has returned that covers all records up to `until`. */
void undo_synced(const struct followed *f, uint64_t until);

/* The last record of a file; 0 when it has none. */
uint64_t undo_last(ino_t ino);

#endif
