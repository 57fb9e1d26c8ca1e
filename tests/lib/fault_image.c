/* tests/lib/fault_image.c - crash images out of a recording. */
#include "tests/lib/fault_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "raft/base/check.h"
#include "raft/base/prng.h"
#include "tests/lib/store_dir.h"

enum {
    IMAGE_INODES_MAX = 64,
    IMAGE_NAMES_MAX = 64,
    IMAGE_PENDING_MAX = 4096,
    IMAGE_EXHAUSTIVE_MAX = 8,
    IMAGE_RANDOM = 64,
    IMAGE_SECTOR_BYTES = 512,
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
    struct name list[IMAGE_NAMES_MAX];
    size_t count;
};

/* A change that is not durable yet. */
struct pending {
    const struct fault_op *op;
    int inode; /* Of a WRITE or SIZE. */
};

struct disk {
    struct inode inodes[IMAGE_INODES_MAX]; /* As far as it is durable. */
    int inodes_count;
    struct names live;    /* As the program sees it. */
    struct names durable; /* As a crash would leave it, if nothing pending survived. */
    struct pending contents[IMAGE_PENDING_MAX];
    size_t contents_count;
    struct pending changes[IMAGE_NAMES_MAX]; /* Of names, in order. */
    size_t changes_count;
    /* The run. */
    const char *dir;
    struct prng prng;
    fault_image_check check;
    void *ctx;
    uint32_t acks;
    uint64_t bad_max;
    struct fault_image_result result;
};

/* ---- names and bytes ---- */

static struct name *name_find(struct names *n, const char *path)
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
        KV_ASSERT(n->count < IMAGE_NAMES_MAX);
        name = &n->list[n->count++];
        snprintf(name->path, sizeof name->path, "%s", path);
    }
    return name;
}

/* Applies a change of names. `inode` is that of a file that is created. */
static void name_change(struct names *n, const struct fault_op *op, int inode)
{
    struct name *from;
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
        from = name_make(n, op->path);
        to = name_make(n, op->path2);
        from->is_there = false;
        to->is_there = true;
        to->is_dir = from->is_dir;
        to->inode = from->inode;
        break;
    default:
        KV_UNREACHABLE();
    }
}

static void inode_write(struct inode *i, uint64_t offset, const uint8_t *data,
                        size_t len)
{
    size_t end = (size_t)offset + len;

    if (end > i->room) {
        size_t room = end * 2;

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
    size_t keep = 0;

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
        keep = prng_below(prng, op->len / IMAGE_SECTOR_BYTES + 1) * IMAGE_SECTOR_BYTES;
        inode_write(i, op->offset, op->data, KV_MIN(keep, op->len));
        return;
    }
    for (size_t at = 0; at < op->len;
         at += IMAGE_SECTOR_BYTES) { /* ... or any of them. */
        size_t len = KV_MIN((size_t)IMAGE_SECTOR_BYTES, op->len - at);

        if (prng_below(prng, 2) == 0) {
            inode_write(i, op->offset + at, op->data + at, len);
        }
    }
}

static bool can_tear(const struct fault_op *op)
{
    return op->kind == FAULT_WRITE &&
           op->offset / IMAGE_SECTOR_BYTES !=
               (op->offset + op->len - 1) / IMAGE_SECTOR_BYTES;
}

/* ---- building ---- */

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

static void image_put(const char *dir, const struct names *names,
                      const struct inode *inodes)
{
    char full[400];

    store_dir_remove(dir);
    KV_ASSERT(mkdir(dir, 0700) == 0);
    for (size_t i = 0; i < names->count; i++) {
        const struct name *n = &names->list[i];

        if (n->is_there && n->is_dir) {
            snprintf(full, sizeof full, "%s/%s", dir, n->path);
            KV_ASSERT(mkdir(full, 0700) == 0 || errno == EEXIST || errno == ENOENT);
        }
    }
    for (size_t i = 0; i < names->count; i++) {
        const struct name *n = &names->list[i];

        if (n->is_there && !n->is_dir) {
            file_put(dir, n->path, &inodes[n->inode]);
        }
    }
}

/* One image: of the pending contents those with a bit in `chosen`, of the changes of
 * names the first few. torn: which of the chosen is torn; SIZE_MAX: none. */
static void image_judge(struct disk *d, const bool *chosen, size_t names_count,
                        size_t torn)
{
    static struct inode copies[IMAGE_INODES_MAX]; /* Their buffers are used again. */
    struct names names = d->durable;

    if (d->result.bad >= d->bad_max) {
        return;
    }
    for (int i = 0; i < d->inodes_count; i++) {
        copies[i].used = 0;
        copies[i].size = 0;
        if (d->inodes[i].used > 0) {
            inode_write(&copies[i], 0, d->inodes[i].data, d->inodes[i].used);
        }
        copies[i].size = d->inodes[i].size;
    }
    for (size_t i = 0; i < d->contents_count; i++) {
        if (chosen[i]) {
            inode_apply(&copies[d->contents[i].inode], d->contents[i].op,
                        i == torn ? &d->prng : NULL);
        }
    }
    for (size_t i = 0; i < names_count; i++) {
        name_change(&names, d->changes[i].op, d->changes[i].inode);
    }
    image_put(d->dir, &names, copies);
    d->result.images++;
    d->result.torn += torn != SIZE_MAX;
    if (!d->check(d->ctx, d->dir, d->acks)) {
        d->result.bad++;
    }
}

/* Every subset, each with every number of changed names; then torn ones. */
static void judge_all(struct disk *d)
{
    bool chosen[IMAGE_EXHAUSTIVE_MAX + 1] = {false};
    size_t n = d->contents_count;

    for (size_t names = 0; names <= d->changes_count; names++) {
        for (unsigned set = 0; set < 1U << n; set++) {
            for (size_t i = 0; i < n; i++) {
                chosen[i] = (set >> i & 1) != 0;
            }
            image_judge(d, chosen, names, SIZE_MAX);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!can_tear(d->contents[i].op)) {
            continue;
        }
        memset(chosen, 1, sizeof chosen); /* All are there, this one in part; ... */
        image_judge(d, chosen, d->changes_count, i);
        image_judge(d, chosen, d->changes_count, i);
        memset(chosen, 0, sizeof chosen);
        chosen[i] = true; /* ... or only a part of this one. */
        image_judge(d, chosen, d->changes_count, i);
    }
}

static void judge_random(struct disk *d)
{
    static bool chosen[IMAGE_PENDING_MAX];

    for (int round = 0; round < IMAGE_RANDOM; round++) {
        size_t torn = SIZE_MAX;
        uint64_t odds = prng_between(&d->prng, 2, 6); /* 1/2 ... 5/6 of them survive. */

        for (size_t i = 0; i < d->contents_count; i++) {
            chosen[i] = prng_below(&d->prng, odds) != 0;
        }
        if (prng_below(&d->prng, 3) == 0) {
            torn = prng_below(&d->prng, d->contents_count);
            torn = can_tear(d->contents[torn].op) ? torn : SIZE_MAX;
        }
        image_judge(d, chosen, prng_below(&d->prng, d->changes_count + 1), torn);
    }
}

static void judge(struct disk *d)
{
    if (d->check == NULL) {
        return;
    }
    d->result.points++;
    if (d->contents_count + (d->changes_count > 0) <= IMAGE_EXHAUSTIVE_MAX) {
        judge_all(d);
    } else {
        judge_random(d);
    }
}

/* ---- replaying ---- */

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

/* Makes durable what a sync of a file or folder covers. */
static void sync_apply(struct disk *d, const char *path)
{
    struct name *n = name_find(&d->live, path);
    size_t kept = 0;

    if (n != NULL && !n->is_dir) {
        for (size_t i = 0; i < d->contents_count; i++) {
            if (d->contents[i].inode == n->inode) {
                inode_apply(&d->inodes[n->inode], d->contents[i].op, NULL);
            } else {
                d->contents[kept++] = d->contents[i];
            }
        }
        d->contents_count = kept;
        return;
    }
    for (size_t i = 0; i < d->changes_count; i++) {
        if (is_in(d->changes[i].op->path, path)) {
            name_change(&d->durable, d->changes[i].op, d->changes[i].inode);
        } else {
            d->changes[kept++] = d->changes[i];
        }
    }
    d->changes_count = kept;
}

/* Does a sync of `path` change anything? */
static bool sync_matters(struct disk *d, const char *path)
{
    struct name *n = name_find(&d->live, path);

    if (n == NULL || n->is_dir) {
        return d->changes_count > 0;
    }
    for (size_t i = 0; i < d->contents_count; i++) {
        if (d->contents[i].inode == n->inode) {
            return true;
        }
    }
    return false;
}

/* Two changes of one file that share a page of the page cache: whoever writes the later
 * one through, writes the earlier one through as well. */
static bool shares_page(const struct fault_op *a, const struct fault_op *b)
{
    uint64_t page = 4096;

    return a->kind == FAULT_WRITE && b->kind == FAULT_WRITE &&
           a->offset / page <= (b->offset + b->len - 1) / page &&
           b->offset / page <= (a->offset + a->len - 1) / page;
}

/* A write that is durable when it returns. */
static void dsync_apply(struct disk *d, const struct pending *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->contents_count; i++) {
        if (d->contents[i].inode == p->inode && shares_page(d->contents[i].op, p->op)) {
            inode_apply(&d->inodes[p->inode], d->contents[i].op, NULL);
        } else {
            d->contents[kept++] = d->contents[i];
        }
    }
    d->contents_count = kept;
    inode_apply(&d->inodes[p->inode], p->op, NULL);
}

static void content_add(struct disk *d, const struct fault_op *op)
{
    struct name *n = name_find(&d->live, op->path);

    KV_ASSERT(n != NULL && n->is_there && !n->is_dir);
    KV_ASSERT(d->contents_count < IMAGE_PENDING_MAX);
    d->contents[d->contents_count++] = (struct pending){op, n->inode};
    if (op->kind == FAULT_WRITE && op->is_dsync) {
        judge(d); /* It may or may not have arrived; then it has. */
        d->contents_count--;
        dsync_apply(d, &(struct pending){op, n->inode});
    }
}

static void change_add(struct disk *d, const struct fault_op *op)
{
    int inode = -1;

    if (op->kind == FAULT_CREATE) {
        KV_ASSERT(d->inodes_count < IMAGE_INODES_MAX);
        inode = d->inodes_count++;
    }
    name_change(&d->live, op, inode);
    KV_ASSERT(d->changes_count < IMAGE_NAMES_MAX);
    d->changes[d->changes_count++] = (struct pending){op, inode};
}

static void replay_one(struct disk *d, const struct fault_op *op)
{
    switch (op->kind) {
    case FAULT_WRITE:
    case FAULT_SIZE:
        content_add(d, op);
        break;
    case FAULT_SYNC:
        if (sync_matters(d, op->path)) {
            judge(d);
            sync_apply(d, op->path);
        }
        break;
    case FAULT_ACK:
        d->acks++;
        if (d->contents_count > 0 || d->changes_count > 0) {
            judge(d); /* Acknowledged, but not all of it is safe? */
        }
        break;
    default:
        change_add(d, op);
        break;
    }
}

static struct disk *disk_new(const char *dir, uint64_t seed)
{
    struct disk *d = kv_mem_zalloc(sizeof *d);

    KV_ASSERT(d != NULL);
    d->dir = dir;
    prng_init(&d->prng, seed);
    return d;
}

static void disk_free(struct disk *d)
{
    for (int i = 0; i < d->inodes_count; i++) {
        kv_mem_free(d->inodes[i].data);
    }
    kv_mem_free(d);
}

void fault_image_all(const struct fault_recording *r, const char *dir, uint64_t seed,
                     uint64_t bad_max, fault_image_check check, void *ctx,
                     struct fault_image_result *out)
{
    struct disk *d = disk_new(dir, seed);

    d->check = check;
    d->ctx = ctx;
    d->bad_max = bad_max;
    for (size_t i = 0; i < r->count && d->result.bad < bad_max; i++) {
        replay_one(d, &r->ops[i]);
    }
    *out = d->result;
    disk_free(d);
}

void fault_image_at(const struct fault_recording *r, const char *dir, uint32_t acks)
{
    struct disk *d = disk_new(dir, 0);

    for (size_t i = 0; i < r->count && d->acks < acks; i++) {
        replay_one(d, &r->ops[i]);
    }
    for (size_t i = 0; i < d->contents_count; i++) {
        inode_apply(&d->inodes[d->contents[i].inode], d->contents[i].op, NULL);
    }
    image_put(dir, &d->live, d->inodes);
    disk_free(d);
}
