/* jepsen/layer/undo.c - the undo log: what stood where, and what holds by now. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jepsen/layer/layer_own.h"

void undo_give_up(void)
{
    atomic_store(&g.control->broken, 1);
}

static struct dirty *dirty_of(ino_t ino)
{
    size_t i = (size_t)ino * 0x9e3779b97f4a7c15ull >> 52; /* 12 bits. */

    for (size_t step = 0; step < LAYER_FILES_MAX; step++) {
        struct dirty *d = &g.files[(i + step) % LAYER_FILES_MAX];

        if (d->ino == ino || d->ino == 0) {
            d->ino = ino;
            return d;
        }
    }
    return NULL;
}

static void note_last(ino_t ino, uint64_t number)
{
    struct dirty *d = dirty_of(ino);

    if (d == NULL) {
        undo_give_up();
        return;
    }
    g.dirty_count += d->last <= d->synced;
    d->last = number;
}

uint64_t undo_last(ino_t ino)
{
    const struct dirty *d = dirty_of(ino);

    return d == NULL ? UINT64_MAX : d->last;
}

static void note_synced(ino_t ino, uint64_t until)
{
    struct dirty *d = dirty_of(ino);

    if (d != NULL && until > d->synced) {
        bool was = d->last > d->synced;

        d->synced = until;
        g.dirty_count -= was && d->last <= d->synced;
    }
}

/* A synchronous write holds: if it was the only thing open, nothing is. */
static void note_written(ino_t ino, uint64_t last, uint64_t before)
{
    struct dirty *d = dirty_of(ino);

    if (d != NULL && d->last == last && before <= d->synced) {
        note_synced(ino, last);
    }
}

/* Writes a record and what is behind it; the lock is held. */
static void record_put(struct layer_record *r, const struct iovec *more, int count)
{
    struct iovec all[4] = {{.iov_base = r, .iov_len = sizeof *r}};
    size_t bytes = sizeof *r;

    r->magic = LAYER_MAGIC;
    r->number = ++g.number;
    for (int i = 0; i < count; i++) {
        all[i + 1] = more[i];
        r->bytes += more[i].iov_len;
    }
    bytes += r->bytes;
    if (real.writev(g.undo_fd, all, count + 1) != (ssize_t)bytes) {
        undo_give_up();
    }
    g.undo_bytes += (off_t)bytes;
}

static void kept_path(uint64_t number, char out[PATH_MAX + 32])
{
    snprintf(out, PATH_MAX + 32, "%s/kept.%llu", g.state, (unsigned long long)number);
}

/* Empties the log when nothing in it is needed any more. Kept files go only now: as
 * long as records name an inode, no other file may get its number. */
static void undo_empty(void)
{
    char path[PATH_MAX + 32];

    if (g.dirty_count != 0 ||
        (g.undo_bytes < LAYER_FRESH_BYTES && g.kept_count < LAYER_KEPT_MAX / 2)) {
        return;
    }
    while (g.kept_count > 0) {
        kept_path(g.kept[--g.kept_count], path);
        (void)real.unlinkat(AT_FDCWD, path, 0);
    }
    if (real.ftruncate(g.undo_fd, 0) == 0) {
        g.undo_bytes = 0;
        memset(g.files, 0, sizeof g.files);
    }
}

uint64_t undo_content(const struct followed *f, enum layer_kind kind, off_t offset,
                      off_t length)
{
    static uint8_t old[LAYER_COPY_BYTES]; /* Behind the lock. */
    struct stat st;
    off_t end = offset + length;

    if (fstat(f->read_fd, &st) != 0) {
        undo_give_up();
        return 0;
    }
    do {
        off_t part = end - offset < LAYER_COPY_BYTES ? end - offset : LAYER_COPY_BYTES;
        ssize_t got = pread(f->read_fd, old, (size_t)part, offset);
        struct iovec more = {.iov_base = old, .iov_len = got > 0 ? (size_t)got : 0};
        struct layer_record r = {
            .kind = kind,
            .file = f->ino,
            .offset = (uint64_t)offset,
            .length = (uint64_t)part,
            .old_size = (uint64_t)st.st_size,
        };

        if (got < 0) {
            undo_give_up();
        }
        record_put(&r, &more, 1);
        offset += part;
    } while (offset < end);
    note_last(f->ino, g.number);
    return g.number;
}

static void undo_mark(enum layer_kind kind, ino_t ino, uint64_t first, uint64_t until)
{
    struct layer_record r = {
        .kind = kind, .file = ino, .offset = first, .until = until};

    record_put(&r, NULL, 0);
}

void undo_written(ino_t ino, uint64_t first, uint64_t last, uint64_t before)
{
    undo_mark(LAYER_WRITTEN, ino, first, last);
    note_written(ino, last, before);
    undo_empty();
}

void undo_synced(const struct followed *f, uint64_t until)
{
    undo_mark(f->folder ? LAYER_DIR_SYNCED : LAYER_SYNCED, f->ino, 0, until);
    note_synced(f->ino, until);
    undo_empty();
}

/* The folder's inode that holds path. */
static ino_t folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (slash == NULL || slash == path) {
        return 0;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return stat(folder, &st) == 0 ? st.st_ino : 0;
}

void undo_name(enum layer_kind kind, const char *name, const char *other)
{
    ino_t folder = folder_of(name);
    struct iovec more[2] = {
        {.iov_base = (void *)(uintptr_t)name, .iov_len = strlen(name) + 1},
        {.iov_base = (void *)(uintptr_t)other, .iov_len = strlen(other) + 1},
    };
    struct layer_record r = {.kind = kind, .file = folder};

    record_put(&r, more, 2);
    note_last(folder, g.number);
}

void undo_keep(const char *path)
{
    char kept[PATH_MAX + 32];

    if (access(path, F_OK) != 0) {
        return;
    }
    kept_path(g.number + 1, kept);
    if (g.kept_count == LAYER_KEPT_MAX || link(path, kept) != 0) {
        undo_give_up();
        return;
    }
    g.kept[g.kept_count++] = g.number + 1;
}

void undo_resume(void)
{
    struct layer_record r;
    off_t at = 0;

    while (pread(g.undo_fd, &r, sizeof r, at) == (ssize_t)sizeof r &&
           r.magic == LAYER_MAGIC) {
        g.number = r.number;
        if (r.kind == LAYER_SYNCED || r.kind == LAYER_DIR_SYNCED) {
            note_synced(r.file, r.until);
        } else if (r.kind != LAYER_WRITTEN) {
            note_last(r.file, r.number);
        }
        if ((r.kind == LAYER_REMOVED || r.kind == LAYER_RENAMED) &&
            g.kept_count < LAYER_KEPT_MAX) {
            g.kept[g.kept_count++] = r.number;
        }
        at += (off_t)(sizeof r + r.bytes);
    }
    /* A record that a kill cut off belongs to a write that did not happen. */
    (void)real.ftruncate(g.undo_fd, at);
    g.undo_bytes = at;
}
