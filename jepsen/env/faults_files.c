/* jepsen/env/faults_files.c - the files of a node: damaged, saved, wiped, cloned. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jepsen/env/cluster_own.h"
#include "jepsen/env/faults.h"
#include "jepsen/env/power.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    FILES_MAX = 256,
    FILES_DEPTH_MAX = 4,
    PAGE = 4096,
};

/* ---- trees ---- */

/* Calls `each` for all names in a folder; stops at the first that says false. */
static bool names_walk(const char *path, bool (*each)(const char *path, void *ctx),
                       void *ctx)
{
    char below[PATH_MAX];
    struct dirent *e;
    bool ok = true;
    DIR *d = opendir(path);

    while (d != NULL && ok && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        ok = snprintf(below, sizeof below, "%s/%s", path, e->d_name) < PATH_MAX &&
             each(below, ctx);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return ok && d != NULL;
}

static bool tree_remove(const char *path, void *ctx)
{
    struct stat st;

    if (lstat(path, &st) != 0) {
        return errno == ENOENT;
    }
    if (!S_ISDIR(st.st_mode)) {
        return unlink(path) == 0;
    }
    return names_walk(path, tree_remove, ctx) && rmdir(path) == 0;
}

static bool file_copy(const char *from, const char *to, off_t bytes)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(from);
    bool ok = in >= 0 && out >= 0;

    if (ok && len > 8 && strcmp(from + len - 8, "/ballast") == 0) {
        ok = ftruncate(out, bytes) == 0; /* Of no content, and large. */
        bytes = 0;
    }
    while (ok && bytes > 0) {
        ssize_t sent = sendfile(out, in, NULL, (size_t)bytes);

        ok = sent > 0;
        bytes -= sent > 0 ? sent : 0;
    }
    if (in >= 0) {
        (void)close(in);
    }
    return out >= 0 && close(out) == 0 && ok;
}

/* Copies a tree; ctx is the target's path. */
static bool tree_copy(const char *from, const char *to, int depth)
{
    char a[PATH_MAX];
    char b[PATH_MAX];
    struct dirent *e;
    struct stat st;
    bool ok = true;
    DIR *d = opendir(from);

    if (d == NULL || (mkdir(to, 0700) != 0 && errno != EEXIST)) {
        ok = false;
    }
    while (ok && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        ok = snprintf(a, sizeof a, "%s/%s", from, e->d_name) < PATH_MAX &&
             snprintf(b, sizeof b, "%s/%s", to, e->d_name) < PATH_MAX &&
             stat(a, &st) == 0;
        if (ok && S_ISDIR(st.st_mode)) {
            ok = depth < FILES_DEPTH_MAX && tree_copy(a, b, depth + 1);
        } else if (ok) {
            ok = file_copy(a, b, st.st_size);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return ok;
}

/* ---- places ---- */

/* The node's data folder; KV_EINVAL when it runs. What the layer noted of its files
 * is void: they are about to be others. */
static int data_of(struct cluster *c, uint32_t node, char *out)
{
    char state[CLUSTER_PATH_BYTES];

    KV_ASSERT(node >= 1 && node <= c->nodes);
    if ((cluster_up(c) & CLUSTER_BIT(node)) != 0) {
        return cluster_fail(c, KV_EINVAL, "node %u is up", node);
    }
    cluster_path(c, node, "data", out);
    cluster_path(c, node, "layer", state);
    power_forget(state);
    return 0;
}

static int replace(struct cluster *c, const char *to, const char *from)
{
    if (!tree_remove(to, NULL) || !tree_copy(from, to, 0)) {
        return cluster_fail(c, KV_EIO, "copying %.100s: %s", from, strerror(errno));
    }
    return 0;
}

int fault_save(struct cluster *c, uint32_t node)
{
    bool up = (cluster_up(c) & CLUSTER_BIT(node)) != 0;
    char data[CLUSTER_PATH_BYTES];
    char saved[CLUSTER_PATH_BYTES];
    int rc;

    KV_ASSERT(node >= 1 && node <= c->nodes);
    cluster_path(c, node, "data", data);
    cluster_path(c, node, "saved", saved);
    if (up) {
        cluster_pause(c, CLUSTER_BIT(node));
    }
    rc = replace(c, saved, data);
    if (up) {
        cluster_resume(c, CLUSTER_BIT(node));
    }
    return rc;
}

int fault_restore(struct cluster *c, uint32_t node)
{
    char data[CLUSTER_PATH_BYTES];
    char saved[CLUSTER_PATH_BYTES];
    int rc = data_of(c, node, data);

    cluster_path(c, node, "saved", saved);
    if (rc == 0 && access(saved, F_OK) != 0) {
        rc = cluster_fail(c, KV_ENOTFOUND, "nothing was saved of node %u", node);
    }
    return rc == 0 ? replace(c, data, saved) : rc;
}

int fault_wipe(struct cluster *c, uint32_t node)
{
    char data[CLUSTER_PATH_BYTES];
    int rc = data_of(c, node, data);

    if (rc == 0 && (!tree_remove(data, NULL) || mkdir(data, 0700) != 0)) {
        rc = cluster_fail(c, KV_EIO, "wiping %.100s: %s", data, strerror(errno));
    }
    return rc;
}

int fault_clone(struct cluster *c, uint32_t from, uint32_t node, bool shared)
{
    char data[CLUSTER_PATH_BYTES];
    char theirs[CLUSTER_PATH_BYTES];
    bool up = (cluster_up(c) & CLUSTER_BIT(from)) != 0;
    int rc = data_of(c, node, data);

    KV_ASSERT(from >= 1 && from <= c->nodes && from != node);
    cluster_path(c, from, "data", theirs);
    if (rc != 0) {
        return rc;
    }
    if (shared) {
        return tree_remove(data, NULL) && symlink(theirs, data) == 0
                   ? 0
                   : cluster_fail(c, KV_EIO, "linking %.100s: %s", data,
                                  strerror(errno));
    }
    if (up) {
        cluster_pause(c, CLUSTER_BIT(from));
    }
    rc = replace(c, data, theirs);
    if (up) {
        cluster_resume(c, CLUSTER_BIT(from));
    }
    return rc;
}

/* ---- damage ---- */

struct candidate {
    char path[CLUSTER_PATH_BYTES];
    off_t bytes;
};

struct candidates {
    struct candidate *all;
    size_t count;
};

/* Files with content of ours: neither locks nor the ballast. */
static bool candidate_add(const char *path, void *ctx)
{
    struct candidates *list = ctx;
    const char *name = strrchr(path, '/') + 1;
    struct stat st;

    if (lstat(path, &st) != 0) {
        return true;
    }
    if (S_ISDIR(st.st_mode)) {
        (void)names_walk(path, candidate_add, ctx);
    } else if (S_ISREG(st.st_mode) && st.st_size > 0 && strcmp(name, "ballast") != 0 &&
               strcmp(name, "LOCK") != 0 && strcmp(name, "lock.mdb") != 0 &&
               list->count < FILES_MAX && strlen(path) < CLUSTER_PATH_BYTES) {
        memcpy(list->all[list->count].path, path, strlen(path) + 1);
        list->all[list->count++].bytes = st.st_size;
    }
    return true;
}

static int larger_first(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    if (x->bytes != y->bytes) {
        return x->bytes > y->bytes ? -1 : 1;
    }
    return strcmp(x->path, y->path);
}

/* A page that holds something: most of a sparse file's do not. */
static off_t page_pick(int fd, off_t pages, struct prng *p)
{
    static const uint8_t empty[PAGE];
    uint8_t page[PAGE];
    off_t at = 0;

    for (int tries = 0; tries < 256; tries++) {
        at = (off_t)prng_below(p, (uint64_t)pages) * PAGE;
        if (pread(fd, page, PAGE, at) > 0 && memcmp(page, empty, PAGE) != 0) {
            break;
        }
    }
    return at;
}

static bool bit_flip(int fd, off_t bytes, struct prng *p)
{
    off_t at = page_pick(fd, (bytes + PAGE - 1) / PAGE, p);
    uint8_t byte;

    at += (off_t)prng_below(p, (uint64_t)KV_MIN(bytes - at, (off_t)PAGE));
    if (pread(fd, &byte, 1, at) != 1) {
        return false;
    }
    byte ^= (uint8_t)(1u << prng_below(p, 8));
    return pwrite(fd, &byte, 1, at) == 1;
}

static bool page_copy(int fd, off_t bytes, struct prng *p)
{
    off_t pages = (bytes + PAGE - 1) / PAGE;
    uint8_t page[PAGE];
    ssize_t len = pread(fd, page, PAGE, page_pick(fd, pages, p));

    return len > 0 && pwrite(fd, page, (size_t)len, page_pick(fd, pages, p)) == len;
}

static bool file_damage(const struct candidate *f, enum fault_damage how,
                        uint64_t amount, uint64_t seed)
{
    struct prng p;
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    bool ok = fd >= 0;

    prng_init(&p, seed);
    if (ok && how == FAULT_TRUNCATE) {
        ok = ftruncate(fd, f->bytes - KV_MIN((off_t)amount, f->bytes)) == 0;
    }
    for (uint64_t i = 0; ok && how != FAULT_TRUNCATE && i < amount; i++) {
        ok = how == FAULT_BITFLIP ? bit_flip(fd, f->bytes, &p)
                                  : page_copy(fd, f->bytes, &p);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

int fault_damage(struct cluster *c, uint32_t node, uint32_t which,
                 const struct fault_damage_how *how, char *out_file)
{
    char data[CLUSTER_PATH_BYTES];
    struct candidates list = {.count = 0};
    int rc = data_of(c, node, data);

    if (rc != 0) {
        return rc;
    }
    list.all = kv_mem_zalloc(FILES_MAX * sizeof list.all[0]);
    if (list.all == NULL) {
        return cluster_fail(c, KV_EIO, "no memory");
    }
    (void)names_walk(data, candidate_add, &list);
    qsort(list.all, list.count, sizeof list.all[0], larger_first);
    if (which >= list.count) {
        rc = cluster_fail(c, KV_ENOTFOUND, "node %u has %zu files", node, list.count);
    } else if (!file_damage(&list.all[which], how->kind, how->amount, how->seed)) {
        rc = cluster_fail(c, KV_EIO, "%.100s: %s", list.all[which].path,
                          strerror(errno));
    } else {
        memcpy(out_file, list.all[which].path, sizeof list.all[which].path);
    }
    kv_mem_free(list.all);
    return rc;
}
