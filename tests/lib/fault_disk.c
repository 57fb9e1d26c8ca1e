/* tests/lib/fault_disk.c - what is safe on a disk, what is pending, what survives. */
#include "tests/lib/fault_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "tests/lib/store_dir.h"

enum {
    DISK_SECTOR_BYTES = 512,
    DISK_PAGE_BYTES = 4096,
};

/* A file's bytes; behind `used` all is zero, up to `size`. */
struct inode {
    uint8_t *data;
    size_t used, room;
    uint64_t size;
};

struct name {
    char path[64];
    bool is_there;
    bool is_dir;
    int inode;
};

struct names {
    struct name *list;
    size_t count, room;
};

/* A change that is not safe yet. */
struct pending {
    struct fault_op op; /* Owns its data. */
    int inode;          /* Of a WRITE, SIZE or CREATE. */
};

struct pendings {
    struct pending *list;
    size_t count, room;
};

struct fault_disk {
    struct inode *inodes; /* As far as their bytes are safe. */
    size_t inodes_count, inodes_room;
    struct names live;        /* As the program sees it. */
    struct names safe;        /* As a crash leaves it, if nothing pending survives. */
    struct pendings contents; /* Of inodes. */
    struct pendings changes;  /* Of names, in order. */
};

/* Makes room for one more element of an array. */
static void *grow(void *list, size_t count, size_t *room, size_t bytes)
{
    if (count == *room) {
        *room = *room == 0 ? 16 : 2 * *room;
        list = kv_mem_realloc(list, *room * bytes);
        KV_ASSERT(list != NULL);
    }
    return list;
}

/* ---- names ---- */

static struct name *name_find(const struct names *n, const char *path)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->list[i].path, path) == 0) {
            return &n->list[i];
        }
    }
    return NULL;
}

static struct name *name_make(struct names *n, const char *path)
{
    struct name *name = name_find(n, path);

    if (name == NULL) {
        n->list = grow(n->list, n->count, &n->room, sizeof *n->list);
        name = &n->list[n->count++];
        *name = (struct name){.inode = -1};
        snprintf(name->path, sizeof name->path, "%s", path);
    }
    return name;
}

/* Applies a change of names. `inode` is that of a file that is created. */
static void name_change(struct names *n, const struct fault_op *op, int inode)
{
    struct name from;
    struct name *to;

    switch (op->kind) {
    case FAULT_CREATE:
    case FAULT_MKDIR:
        to = name_make(n, op->path);
        to->is_there = true;
        to->is_dir = op->kind == FAULT_MKDIR;
        to->inode = inode;
        break;
    case FAULT_UNLINK:
        name_make(n, op->path)->is_there = false;
        break;
    case FAULT_RENAME:
        to = name_make(n, op->path);
        to->is_there = false;
        from = *to;
        to = name_make(n, op->path2);
        to->is_there = true;
        to->is_dir = from.is_dir;
        to->inode = from.inode;
        break;
    default:
        KV_UNREACHABLE();
    }
}

static void names_copy(struct names *to, const struct names *from)
{
    *to = (struct names){.count = from->count, .room = from->count + 1};
    to->list = kv_mem_zalloc(to->room * sizeof *to->list);
    KV_ASSERT(to->list != NULL);
    if (from->count > 0) {
        memcpy(to->list, from->list, from->count * sizeof *to->list);
    }
}

/* ---- bytes ---- */

static void inode_write(struct inode *i, uint64_t offset, const uint8_t *data,
                        size_t len)
{
    size_t end = (size_t)offset + len;

    if (len == 0) {
        return; /* A write of nothing does not make a file longer. */
    }
    if (end > i->room) {
        size_t room = end + end / 2;

        i->data = kv_mem_realloc(i->data, room);
        KV_ASSERT(i->data != NULL);
        i->room = room;
    }
    if (end > i->used) {
        memset(i->data + i->used, 0, end - i->used);
        i->used = end;
    }
    memcpy(i->data + offset, data, len);
    i->size = KV_MAX(i->size, (uint64_t)end);
}

/* Applies a write, all of it or (prng != NULL) some of its sectors; or a size. */
static void inode_apply(struct inode *i, const struct fault_op *op, struct prng *prng)
{
    size_t keep;

    if (op->kind == FAULT_SIZE) {
        i->size = op->offset;
        i->used = KV_MIN(i->used, (size_t)op->offset);
        return;
    }
    if (prng == NULL) {
        inode_write(i, op->offset, op->data, op->len);
        return;
    }
    if (prng_below(prng, 2) == 0) { /* A beginning of it, in sectors ... */
        keep = prng_below(prng, op->len / DISK_SECTOR_BYTES + 1) * DISK_SECTOR_BYTES;
        inode_write(i, op->offset, op->data, KV_MIN(keep, op->len));
        return;
    }
    for (size_t at = 0; at < op->len; at += DISK_SECTOR_BYTES) { /* ... or any. */
        size_t len = KV_MIN((size_t)DISK_SECTOR_BYTES, op->len - at);

        if (prng_below(prng, 2) == 0) {
            inode_write(i, op->offset + at, op->data + at, len);
        }
    }
}

static int inode_new(struct fault_disk *d)
{
    d->inodes = grow(d->inodes, d->inodes_count, &d->inodes_room, sizeof *d->inodes);
    d->inodes[d->inodes_count] = (struct inode){0};
    return (int)d->inodes_count++;
}

/* ---- life ---- */

struct fault_disk *fault_disk_new(void)
{
    struct fault_disk *d = kv_mem_zalloc(sizeof *d);

    KV_ASSERT(d != NULL);
    return d;
}

static void pendings_free(struct pendings *p)
{
    for (size_t i = 0; i < p->count; i++) {
        kv_mem_free(p->list[i].op.data);
    }
    kv_mem_free(p->list);
}

void fault_disk_free(struct fault_disk *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->inodes_count; i++) {
        kv_mem_free(d->inodes[i].data);
    }
    pendings_free(&d->contents);
    pendings_free(&d->changes);
    kv_mem_free(d->inodes);
    kv_mem_free(d->live.list);
    kv_mem_free(d->safe.list);
    kv_mem_free(d);
}

/* ---- what the program does ---- */

static void pendings_add(struct pendings *p, const struct fault_op *op, int inode)
{
    struct pending *one;

    p->list = grow(p->list, p->count, &p->room, sizeof *p->list);
    one = &p->list[p->count++];
    *one = (struct pending){*op, inode};
    one->op.data = NULL;
    if (op->len > 0) {
        one->op.data = kv_mem_zalloc(op->len);
        KV_ASSERT(one->op.data != NULL);
        memcpy(one->op.data, op->data, op->len);
    }
}

void fault_disk_start(struct fault_disk *d, const struct fault_op *op)
{
    const struct name *n;
    int inode = -1;

    switch (op->kind) {
    case FAULT_WRITE:
    case FAULT_SIZE:
        n = name_find(&d->live, op->path);
        KV_ASSERT(n != NULL && n->is_there && !n->is_dir);
        pendings_add(&d->contents, op, n->inode);
        break;
    case FAULT_SYNC:
    case FAULT_ACK:
        break;
    default:
        inode = op->kind == FAULT_CREATE ? inode_new(d) : -1;
        name_change(&d->live, op, inode);
        pendings_add(&d->changes, op, inode);
        break;
    }
}

/* Two changes of one file that share a page of the page cache: whoever writes the later
 * one through, writes the earlier one through as well. */
static bool shares_page(const struct fault_op *a, const struct fault_op *b)
{
    uint64_t page = DISK_PAGE_BYTES;

    return a->kind == FAULT_WRITE && b->kind == FAULT_WRITE &&
           a->offset / page <= (b->offset + b->len - 1) / page &&
           b->offset / page <= (a->offset + a->len - 1) / page;
}

/* Makes changes of a file's contents safe: all of them, or those that share a page with
 * `with`. */
static void contents_settle(struct fault_disk *d, int inode,
                            const struct fault_op *with)
{
    struct pendings *p = &d->contents;
    size_t kept = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct pending *one = &p->list[i];

        if (one->inode == inode && (with == NULL || shares_page(&one->op, with))) {
            inode_apply(&d->inodes[inode], &one->op, NULL);
            kv_mem_free(one->op.data);
        } else {
            p->list[kept++] = *one;
        }
    }
    p->count = kept;
}

/* Is `path` an entry of the folder `dir`? */
static bool is_in(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    const char *rest = path + (len == 0 ? 0 : len + 1);

    if (len > 0 && (strncmp(path, dir, len) != 0 || path[len] != '/')) {
        return false;
    }
    return strchr(rest, '/') == NULL;
}

static bool inode_is_named(const struct names *n, int inode)
{
    for (size_t i = 0; i < n->count; i++) {
        if (n->list[i].is_there && n->list[i].inode == inode) {
            return true;
        }
    }
    return false;
}

/* Forgets names that are nowhere, and the bytes of files without a name. */
static void forget(struct fault_disk *d)
{
    struct names *lists[] = {&d->live, &d->safe};

    if (d->changes.count > 0) {
        return; /* They may need the old names. */
    }
    for (size_t k = 0; k < KV_ARRAY_COUNT(lists); k++) {
        size_t kept = 0;

        for (size_t i = 0; i < lists[k]->count; i++) {
            if (lists[k]->list[i].is_there) {
                lists[k]->list[kept++] = lists[k]->list[i];
            }
        }
        lists[k]->count = kept;
    }
    for (size_t i = 0; i < d->inodes_count; i++) {
        if (d->inodes[i].data != NULL && !inode_is_named(&d->live, (int)i)) {
            contents_settle(d, (int)i, NULL); /* Nobody can ask for it any more. */
            kv_mem_free(d->inodes[i].data);
            d->inodes[i] = (struct inode){0};
        }
    }
}

static void sync_apply(struct fault_disk *d, const char *path)
{
    const struct name *n = name_find(&d->live, path);
    struct pendings *p = &d->changes;
    size_t kept = 0;

    if (n != NULL && !n->is_dir) {
        contents_settle(d, n->inode, NULL);
        return;
    }
    for (size_t i = 0; i < p->count; i++) {
        if (is_in(p->list[i].op.path, path)) {
            name_change(&d->safe, &p->list[i].op, p->list[i].inode);
        } else {
            p->list[kept++] = p->list[i];
        }
    }
    p->count = kept;
    forget(d);
}

void fault_disk_finish(struct fault_disk *d, const struct fault_op *op)
{
    const struct name *n;

    if (op->kind == FAULT_SYNC) {
        sync_apply(d, op->path);
    } else if (op->kind == FAULT_WRITE && op->is_dsync) {
        n = name_find(&d->live, op->path);
        KV_ASSERT(n != NULL);
        contents_settle(d, n->inode, op);
    }
}

bool fault_disk_sync_matters(const struct fault_disk *d, const char *path)
{
    const struct name *n = name_find(&d->live, path);

    if (n == NULL || n->is_dir) {
        return d->changes.count > 0;
    }
    for (size_t i = 0; i < d->contents.count; i++) {
        if (d->contents.list[i].inode == n->inode) {
            return true;
        }
    }
    return false;
}

/* ---- a crash ---- */

size_t fault_disk_contents(const struct fault_disk *d)
{
    return d->contents.count;
}

size_t fault_disk_names(const struct fault_disk *d)
{
    return d->changes.count;
}

bool fault_disk_can_tear(const struct fault_disk *d, size_t content)
{
    const struct fault_op *op = &d->contents.list[content].op;

    return op->kind == FAULT_WRITE &&
           op->offset / DISK_SECTOR_BYTES !=
               (op->offset + op->len - 1) / DISK_SECTOR_BYTES;
}

/* Copies the inodes as far as they are safe, and (all) applies what is pending. */
static void inodes_copy(struct fault_disk *to, const struct fault_disk *from, bool all)
{
    for (size_t i = 0; i < from->inodes_count; i++) {
        int at = inode_new(to);
        struct inode *copy = &to->inodes[at];

        if (from->inodes[i].used > 0) {
            inode_write(copy, 0, from->inodes[i].data, from->inodes[i].used);
        }
        copy->size = from->inodes[i].size;
    }
    for (size_t i = 0; all && i < from->contents.count; i++) {
        const struct pending *p = &from->contents.list[i];

        inode_apply(&to->inodes[p->inode], &p->op, NULL);
    }
}

struct fault_disk *fault_disk_crash(const struct fault_disk *d,
                                    const struct fault_choice *c)
{
    struct fault_disk *after = fault_disk_new();

    inodes_copy(after, d, false);
    names_copy(&after->safe, &d->safe);
    for (size_t i = 0; i < d->contents.count; i++) {
        const struct pending *p = &d->contents.list[i];

        if (c->contents[i]) {
            inode_apply(&after->inodes[p->inode], &p->op,
                        i == c->torn ? c->prng : NULL);
        }
    }
    for (size_t i = 0; i < c->names; i++) {
        name_change(&after->safe, &d->changes.list[i].op, d->changes.list[i].inode);
    }
    names_copy(&after->live, &after->safe);
    forget(after);
    return after;
}

static void file_put(const char *dir, const char *path, const struct inode *i)
{
    char full[400];
    int fd;

    snprintf(full, sizeof full, "%s/%s", dir, path);
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 && errno == ENOENT) {
        return; /* Its folder did not survive. */
    }
    KV_ASSERT(fd >= 0);
    KV_ASSERT(i->used == 0 || pwrite(fd, i->data, i->used, 0) == (ssize_t)i->used);
    KV_ASSERT(ftruncate(fd, (off_t)i->size) == 0);
    KV_ASSERT(close(fd) == 0);
}

void fault_disk_put(const struct fault_disk *d, const char *dir)
{
    struct fault_disk *whole = fault_disk_new();
    char full[400];

    inodes_copy(whole, d, true);
    store_dir_remove(dir);
    KV_ASSERT(mkdir(dir, 0700) == 0);
    for (size_t i = 0; i < d->live.count; i++) {
        const struct name *n = &d->live.list[i];

        if (n->is_there && n->is_dir) {
            snprintf(full, sizeof full, "%s/%s", dir, n->path);
            KV_ASSERT(mkdir(full, 0700) == 0 || errno == EEXIST || errno == ENOENT);
        }
    }
    for (size_t i = 0; i < d->live.count; i++) {
        const struct name *n = &d->live.list[i];

        if (n->is_there && !n->is_dir) {
            file_put(dir, n->path, &whole->inodes[n->inode]);
        }
    }
    fault_disk_free(whole);
}
