/* jepsen/env/power.c - takes back what a killed process wrote and did not sync. */
#include "jepsen/env/power.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

enum {
    POWER_FILES_MAX = 512, /* Files of a node, kept ones included. */
    POWER_DEPTH_MAX = 4,   /* Folders in folders. */
    POWER_PPM = 1000000,
};

/* A file or folder of the node. */
struct file {
    ino_t ino;
    int fd; /* -1: not opened yet. */
    bool folder;
    uint64_t synced; /* Records up to here hold. */
    bool resized;    /* Its size is to become new_size... */
    uint64_t new_size;
    uint64_t end_kept; /* ...but at least this: content up to here was kept. */
    char path[PATH_MAX];
};

/* A synchronous write that returned: these records, then these pages hold. */
struct range {
    ino_t ino;
    uint64_t first; /* Records. */
    uint64_t last;
    uint64_t begin; /* Pages, in bytes; begin == end until its record was met. */
    uint64_t end;
};

struct power {
    const char *state_dir;
    uint32_t keep_ppm;
    uint64_t seed;
    const uint8_t *log;
    size_t log_bytes;
    const struct layer_record **records;
    size_t records_count;
    struct file *files;
    size_t files_count;
    struct range *ranges;
    size_t ranges_count;
    uint64_t lost_bytes;
    int rc;
};

/* Is a piece that was not synced kept all the same? */
static bool kept_by_chance(const struct power *p, uint64_t file, uint64_t piece)
{
    uint64_t key[2] = {file, piece};

    return p->keep_ppm != 0 &&
           kv_hash64_seed(key, sizeof key, p->seed) % POWER_PPM < p->keep_ppm;
}

/* ---- what there is ---- */

static struct file *file_find(struct power *p, uint64_t ino)
{
    for (size_t i = 0; i < p->files_count; i++) {
        if (p->files[i].ino == ino) {
            return &p->files[i];
        }
    }
    return NULL;
}

static void tree_scan(struct power *p, const char *path, int depth)
{
    struct file *f;
    struct stat st;
    struct dirent *e;
    DIR *d;

    if (lstat(path, &st) != 0 || file_find(p, st.st_ino) != NULL) {
        return;
    }
    if (p->files_count == POWER_FILES_MAX) {
        p->rc = KV_EIO;
        return;
    }
    f = &p->files[p->files_count++];
    *f = (struct file){.ino = st.st_ino, .fd = -1, .folder = S_ISDIR(st.st_mode)};
    snprintf(f->path, sizeof f->path, "%s", path);
    d = f->folder && depth < POWER_DEPTH_MAX ? opendir(path) : NULL;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char below[PATH_MAX];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (snprintf(below, sizeof below, "%s/%s", path, e->d_name) < PATH_MAX) {
            tree_scan(p, below, depth + 1);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

/* Splits the log; a record that a kill cut off at the end is of no write. */
static int log_split(struct power *p)
{
    size_t at = 0;
    size_t count = 0;

    for (int pass = 0; pass < 2; pass++) {
        at = 0;
        count = 0;
        while (at + sizeof(struct layer_record) <= p->log_bytes) {
            struct layer_record r;

            memcpy(&r, p->log + at, sizeof r);
            if (r.magic != LAYER_MAGIC) {
                return KV_ECORRUPT;
            }
            if (r.bytes > p->log_bytes - at - sizeof r) {
                break;
            }
            if (pass == 1) {
                p->records[count] =
                    (const struct layer_record *)(const void *)(p->log + at);
            }
            count++;
            at += sizeof r + r.bytes;
        }
        if (pass == 0) {
            p->records = kv_mem_zalloc((count + 1) * sizeof(struct layer_record *));
            if (p->records == NULL) {
                return KV_ENOMEM;
            }
        }
    }
    p->records_count = count;
    return 0;
}

/* Copies a record out: in the log it stands wherever the one before it ended. */
static struct layer_record record_get(const struct power *p, size_t i,
                                      const uint8_t **out_bytes)
{
    struct layer_record r;

    memcpy(&r, (const void *)p->records[i], sizeof r);
    *out_bytes = (const uint8_t *)(const void *)p->records[i] + sizeof r;
    return r;
}

/* First over all records: what is certain to hold. */
static void syncs_collect(struct power *p)
{
    const uint8_t *bytes;

    for (size_t i = 0; i < p->records_count; i++) {
        struct layer_record r = record_get(p, i, &bytes);
        struct file *f = file_find(p, r.file);

        if (r.kind == LAYER_SYNCED || r.kind == LAYER_DIR_SYNCED) {
            if (f != NULL) {
                f->synced = KV_MAX(f->synced, r.until);
            }
        } else if (r.kind == LAYER_WRITTEN) {
            p->ranges[p->ranges_count++] =
                (struct range){.ino = r.file, .first = r.offset, .last = r.until};
        }
    }
}

/* ---- content ---- */

/* Did this write return from a disk that had it? Then its pages hold from here on. */
static bool written(struct power *p, const struct layer_record *r)
{
    for (size_t i = 0; i < p->ranges_count; i++) {
        struct range *x = &p->ranges[i];

        if (x->ino == r->file && r->number >= x->first && r->number <= x->last) {
            uint64_t begin = r->offset / LAYER_PAGE_BYTES * LAYER_PAGE_BYTES;
            uint64_t end = (r->offset + r->length + LAYER_PAGE_BYTES - 1) /
                           LAYER_PAGE_BYTES * LAYER_PAGE_BYTES;

            x->begin = x->begin == x->end ? begin : KV_MIN(begin, x->begin);
            x->end = KV_MAX(end, x->end);
            return true;
        }
    }
    return false;
}

static bool page_holds(const struct power *p, uint64_t ino, uint64_t at)
{
    for (size_t i = 0; i < p->ranges_count; i++) {
        if (p->ranges[i].ino == ino && at >= p->ranges[i].begin &&
            at < p->ranges[i].end) {
            return true;
        }
    }
    return false;
}

static bool file_ready(struct power *p, struct file *f)
{
    if (f->fd < 0) {
        f->fd = open(f->path, O_RDWR | O_CLOEXEC);
    }
    if (f->fd < 0) {
        p->rc = KV_EIO;
    }
    return f->fd >= 0;
}

/* Puts the old content of a write back, sector by sector. */
static void write_undo(struct power *p, struct file *f, const struct layer_record *r,
                       const uint8_t *old)
{
    uint64_t end = r->offset + r->length;

    for (uint64_t at = r->offset; at < end;) {
        uint64_t sector = at / LAYER_SECTOR_BYTES;
        uint64_t next = KV_MIN((sector + 1) * LAYER_SECTOR_BYTES, end);
        uint64_t have = r->offset + r->bytes; /* Old content ends here. */

        if (page_holds(p, r->file, at) || kept_by_chance(p, r->file, sector)) {
            f->end_kept = KV_MAX(f->end_kept, next);
        } else {
            p->lost_bytes += next - at;
            if (at < have) {
                size_t len = (size_t)(KV_MIN(next, have) - at);

                if (pwrite(f->fd, old + (at - r->offset), len, (off_t)at) !=
                    (ssize_t)len) {
                    p->rc = KV_EIO;
                }
            }
        }
        at = next;
    }
    f->resized = true;
    f->new_size = r->old_size;
}

static void content_undo(struct power *p, const struct layer_record *r,
                         const uint8_t *old)
{
    struct file *f = file_find(p, r->file);

    if (f == NULL || r->number <= f->synced || !file_ready(p, f)) {
        return;
    }
    if (r->kind == LAYER_WRITE) {
        if (!written(p, r)) {
            write_undo(p, f, r, old);
        } else if (r->offset + r->length > f->end_kept) {
            f->end_kept = r->offset + r->length;
        }
        return;
    }
    /* All parts of one change of size share its old size: kept or not as a whole. */
    if (kept_by_chance(p, r->file, ~r->old_size)) {
        return;
    }
    if (r->bytes > 0 &&
        pwrite(f->fd, old, r->bytes, (off_t)r->offset) != (ssize_t)r->bytes) {
        p->rc = KV_EIO;
    }
    p->lost_bytes += r->bytes;
    f->resized = true;
    f->new_size = r->old_size;
}

static void sizes_set(struct power *p)
{
    for (size_t i = 0; i < p->files_count; i++) {
        struct file *f = &p->files[i];
        struct stat st;
        uint64_t size;

        if (f->fd < 0 || !f->resized || fstat(f->fd, &st) != 0) {
            continue;
        }
        /* A kept piece behind the old end makes the file longer, no more than it is. */
        size = KV_MAX(f->new_size, KV_MIN(f->end_kept, (uint64_t)st.st_size));
        if (ftruncate(f->fd, (off_t)size) != 0) {
            p->rc = KV_EIO;
        }
    }
}

/* ---- names ---- */

static uint64_t synced_of(struct power *p, uint64_t ino)
{
    const struct file *f = file_find(p, ino);

    return f == NULL ? 0 : f->synced;
}

static void created_undo(struct power *p, const struct layer_record *r,
                         const char *name)
{
    struct stat st;

    if (lstat(name, &st) != 0 || r->number <= synced_of(p, st.st_ino)) {
        return; /* A sync of a new file makes its name durable as well. */
    }
    if (S_ISDIR(st.st_mode)) {
        (void)rmdir(name); /* With something durable in it, it stays. */
    } else if (unlink(name) != 0) {
        p->rc = KV_EIO;
    }
}

static void name_undo(struct power *p, const struct layer_record *r, const char *names)
{
    const char *other = names + strlen(names) + 1;
    char kept[PATH_MAX + 32];

    if (r->number <= synced_of(p, r->file) || kept_by_chance(p, r->file, ~r->number)) {
        return;
    }
    snprintf(kept, sizeof kept, "%s/kept.%llu", p->state_dir,
             (unsigned long long)r->number);
    if (r->kind == LAYER_CREATED) {
        created_undo(p, r, names);
    } else if (r->kind == LAYER_REMOVED) {
        if (link(kept, names) != 0 && errno != EEXIST) {
            p->rc = KV_EIO;
        }
    } else if (access(other, F_OK) == 0) {
        if (rename(other, names) != 0 ||
            (access(kept, F_OK) == 0 && link(kept, other) != 0)) {
            p->rc = KV_EIO;
        }
    }
}

/* ---- all ---- */

static bool is_name(const struct layer_record *r, const uint8_t *bytes)
{
    return (r->kind == LAYER_CREATED || r->kind == LAYER_REMOVED ||
            r->kind == LAYER_RENAMED) &&
           r->bytes >= 3 && bytes[r->bytes - 1] == '\0' &&
           memchr(bytes, '\0', r->bytes - 1) != NULL;
}

static void undo_all(struct power *p)
{
    const uint8_t *bytes;

    for (size_t i = p->records_count; i > 0 && p->rc == 0; i--) {
        struct layer_record r = record_get(p, i - 1, &bytes);

        if (r.kind == LAYER_WRITE || r.kind == LAYER_CUT || r.kind == LAYER_GROW) {
            content_undo(p, &r, bytes);
        }
    }
    sizes_set(p);
    for (size_t i = p->records_count; i > 0 && p->rc == 0; i--) {
        struct layer_record r = record_get(p, i - 1, &bytes);

        if (is_name(&r, bytes)) {
            name_undo(p, &r, (const char *)bytes);
        }
    }
}

/* Removes all files of the layer's folder but `spare`. */
static void state_clear(const char *state_dir, const char *spare)
{
    DIR *d = opendir(state_dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.' && strcmp(e->d_name, spare) != 0) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

/* Maps the log; an empty or missing one has nothing to undo. */
static int log_map(struct power *p)
{
    char path[PATH_MAX];
    struct stat st;
    void *map = NULL;
    int fd;

    snprintf(path, sizeof path, "%s/undo", p->state_dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : KV_EIO;
    }
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        p->log_bytes = (size_t)st.st_size;
    }
    (void)close(fd);
    p->log = map;
    return map == MAP_FAILED ? KV_EIO : 0;
}

int power_fail(const char *data_dir, const char *state_dir, uint32_t keep_ppm,
               uint64_t seed, uint64_t *out_lost_bytes)
{
    struct power p = {.state_dir = state_dir, .keep_ppm = keep_ppm, .seed = seed};

    p.files = kv_mem_zalloc(POWER_FILES_MAX * sizeof p.files[0]);
    p.rc = p.files == NULL ? KV_ENOMEM : log_map(&p);
    if (p.rc == 0) {
        p.rc = log_split(&p);
    }
    if (p.rc == 0) {
        p.ranges = kv_mem_zalloc((p.records_count + 1) * sizeof p.ranges[0]);
        p.rc = p.ranges == NULL ? KV_ENOMEM : 0;
    }
    if (p.rc == 0) {
        tree_scan(&p, data_dir, 0);
        tree_scan(&p, state_dir, 0);
        syncs_collect(&p);
        undo_all(&p);
    }
    for (size_t i = 0; i < p.files_count; i++) {
        if (p.files[i].fd >= 0) {
            (void)close(p.files[i].fd);
        }
    }
    if (p.log != NULL && p.log != MAP_FAILED) {
        (void)munmap((void *)(uintptr_t)p.log, p.log_bytes);
    }
    kv_mem_free(p.records);
    kv_mem_free(p.files);
    kv_mem_free(p.ranges);
    if (p.rc == 0) {
        state_clear(state_dir, "control");
        *out_lost_bytes = p.lost_bytes;
    }
    return p.rc;
}

void power_forget(const char *state_dir)
{
    state_clear(state_dir, "control");
}

struct layer_control *power_layer_open(const char *state_dir)
{
    char path[PATH_MAX];
    void *page;
    int fd;

    if (mkdir(state_dir, 0700) != 0 && errno != EEXIST) {
        return NULL;
    }
    state_clear(state_dir, "");
    snprintf(path, sizeof path, "%s/control", state_dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return NULL;
    }
    page = ftruncate(fd, sizeof(struct layer_control)) != 0
               ? MAP_FAILED
               : mmap(NULL, sizeof(struct layer_control), PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    (void)close(fd);
    return page == MAP_FAILED ? NULL : page;
}

void power_layer_close(struct layer_control *control, const char *state_dir)
{
    (void)munmap(control, sizeof *control);
    power_layer_remove(state_dir);
}

void power_layer_remove(const char *state_dir)
{
    state_clear(state_dir, "");
    (void)rmdir(state_dir);
}
