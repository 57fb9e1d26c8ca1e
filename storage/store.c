/* storage/store.c - opens a data directory and hands out the table of verbs. */
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_store.h"
#include "storage/recover.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STORE_MAP_BYTES (1ULL << 30)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STORE_MAP_BYTES (1ULL << 30)
#endif
#endif
#ifndef STORE_MAP_BYTES
#define STORE_MAP_BYTES (48ULL << 30)
#endif

enum {
    STORE_RESERVE_BYTES = 64 * 1024 * 1024,
    STORE_LOG_RESERVE_PART =
        8, /* The quota leaves this part of the map to urgent writes. */
    STORE_PATH_BYTES = 4096,
    STORE_ROOM_BYTES = 8 * 1024 * 1024, /* Free on the disk before "full" ends. */
};

/* File systems whose locks or syncs are not to be trusted: f_type of statfs(2). */
static const struct {
    uint32_t type;
    const char *name;
} odd_filesystems[] = {
    {0x6969, "NFS"},      {0x517b, "SMB"},           {0xff534d42, "CIFS"},
    {0xfe534d42, "SMB2"}, {0x794c7630, "overlayfs"}, {0x65735546, "FUSE"},
    {0x01021997, "9p"},   {0x01021994, "tmpfs"},     {0x858458f6, "ramfs"},
    {0x00c36400, "Ceph"},
};

/* ---- verbs of the whole store ---- */

static int store_sweep(struct store *s, bool *out_more)
{
    struct lmdb_store *ls = lmdb_store_of(s);
    bool log_more = false;
    bool state_more = false;
    int rc = lmdb_log_sweep(ls, &log_more);

    if (rc == 0 && !log_more) {
        rc = lmdb_state_sweep(ls, &state_more);
    }
    if (rc == 0) {
        *out_more = log_more || state_more;
    }
    return rc;
}

/* Is the environment over its quota, or still as full as its last ordinary write found
 * it? Checkpoints are urgent and never refused: the state's quota is kept here, by what
 * the groups admit. */
static bool is_full(struct lmdb_store *ls, struct lmdb_env *e)
{
    uint64_t room = KV_MIN((uint64_t)STORE_ROOM_BYTES, e->quota_bytes / 8);
    uint64_t used = atomic_load(&e->shared.used_bytes);
    uint64_t missing = 0;
    struct statvfs fs;

    if (!atomic_load(&e->shared.is_full)) {
        return used > e->quota_bytes;
    }
    if (used + STORE_ROOM_BYTES / 8 > e->quota_bytes) {
        return true;
    }
    if (!ballast_is_full(&ls->ballast)) {
        missing = ls->ballast.full_bytes; /* At most. */
    }
    /* LMDB's file never becomes shorter, so what is free inside of it counts. */
    if (atomic_load(&e->shared.free_bytes) >= room + missing) {
        return false;
    }
    return fstatvfs(ls->dir_fd, &fs) != 0 ||
           (uint64_t)fs.f_bavail * fs.f_frsize < 2 * missing + room;
}

static void store_stats(struct store *s, struct store_stats *out)
{
    struct lmdb_store *ls = lmdb_store_of(s);

    *out = (struct store_stats){
        .log_bytes = atomic_load(&ls->log.shared.used_bytes),
        .log_bytes_max = ls->log.quota_bytes,
        .state_bytes = atomic_load(&ls->state.shared.used_bytes),
        .state_bytes_max = ls->state.quota_bytes,
        .commits = atomic_load(&ls->log.shared.commits),
        .checkpoints = atomic_load(&ls->checkpoints),
        .log_full = is_full(ls, &ls->log),
        .state_full = is_full(ls, &ls->state),
    };
}

static void store_free(struct lmdb_store *ls)
{
    lmdb_reader_close(&ls->log_reader);
    lmdb_reader_close(&ls->state_reader);
    lmdb_reader_close(&ls->side_log_reader);
    lmdb_reader_close(&ls->side_state_reader);
    lmdb_env_close(&ls->log);
    lmdb_env_close(&ls->state);
    if (ls->files != NULL) {
        lmdb_snapshot_close(ls);
    }
    if (ls->ballast.fd >= 0) {
        ballast_close(&ls->ballast);
    }
    if (ls->lock_fd >= 0) {
        (void)close(ls->lock_fd);
    }
    if (ls->dir_fd >= 0) {
        (void)close(ls->dir_fd); /* Last: the directory is free for others now. */
    }
    log_index_close(&ls->log_index);
    lmdb_log_plan_close(&ls->plan);
    kv_mem_free((void *)ls->generations);
    kv_mem_free((void *)ls->damaged);
    kv_mem_free((void *)ls->verified);
    kv_mem_free((void *)ls->log_known);
    kv_mem_free((void *)ls->state_known);
    pthread_mutex_destroy(&ls->files_lock);
    pthread_mutex_destroy(&ls->log_writer);
    kv_mem_free(ls);
}

static void store_close(struct store *s)
{
    store_free(lmdb_store_of(s));
}

static const struct store_ops lmdb_ops = {
    .identity_load = identity_load,
    .identity_save = identity_save,
    .log_write = lmdb_log_write,
    .log_load = lmdb_log_load,
    .log_meta = lmdb_log_meta,
    .log_read = lmdb_log_read,
    .log_repair = lmdb_log_repair,
    .state_load = lmdb_state_load,
    .state_get = lmdb_state_get,
    .state_range = lmdb_state_range,
    .checkpoint = lmdb_state_checkpoint,
    .snapshot_make = lmdb_snapshot_make,
    .snapshot_read = lmdb_snapshot_read,
    .chunk_store = lmdb_snapshot_chunk_store,
    .chunk_offset = lmdb_snapshot_chunk_offset,
    .install = lmdb_snapshot_install,
    .mark_clear = lmdb_state_mark_clear,
    .sweep = store_sweep,
    .scrub = lmdb_scrub,
    .stats = store_stats,
    .close = store_close,
};

/* ---- opening ---- */

/* One open under way, and what to say when it fails. */
struct opening {
    const struct store_options *o;
    struct lmdb_store *ls;
    char *text;
    size_t text_bytes;
};

/* Writes the line for the operator; returns `code`. */
KV_PRINTF(3, 4)
static int open_failed(const struct opening *op, int code, const char *format, ...)
{
    va_list args;

    if (op->text_bytes > 0) {
        va_start(args, format);
        (void)vsnprintf(op->text, op->text_bytes, format, args);
        va_end(args);
    }
    return code;
}

static int errno_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? KV_ENOSPACE : KV_EIO;
}

/* Makes DIR if it is missing, and its entry durable. */
static int dir_open(const struct opening *op)
{
    const char *dir = op->o->dir;
    int parent;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return open_failed(op, errno_error(), "cannot make %s: %s", dir,
                           strerror(errno));
    }
    op->ls->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (op->ls->dir_fd < 0) {
        return open_failed(op, KV_EIO, "cannot open %s: %s", dir, strerror(errno));
    }
    parent = openat(op->ls->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >=
        0) { /* Not ours perhaps, and not readable: then it was there before. */
        (void)fsync(parent);
        (void)close(parent);
    }
    return 0;
}

/* Takes the lock that keeps every other process out: on the directory itself, because
 * a file can be deleted and made again. LOCK only says who holds it. */
static int lock_take(const struct opening *op)
{
    struct lmdb_store *ls = op->ls;
    char pid[24] = "";

    ls->lock_fd = openat(ls->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (ls->lock_fd < 0) {
        return open_failed(op, errno_error(), "cannot open %s/LOCK: %s", op->o->dir,
                           strerror(errno));
    }
    if (flock(ls->dir_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t len = pread(ls->lock_fd, pid, sizeof pid - 1, 0);

        pid[len > 0 ? len : 0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        return open_failed(op, KV_EEXIST, "%s is in use by another process%s%s",
                           op->o->dir, pid[0] == 0 ? "" : ", pid ", pid);
    }
    (void)snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(ls->lock_fd, 0) != 0 ||
        pwrite(ls->lock_fd, pid, strlen(pid), 0) != (ssize_t)strlen(pid)) {
        pid[0] = 0; /* Only for people to read. */
    }
    (void)KV_FAILPOINT(open_lock);
    return 0;
}

/* ---- a directory that is being made ----
 *
 * LMDB writes the first pages of a new environment without a sync, so that a crash then
 * can leave files that look damaged. The file NEW lies in the directory from before
 * that until the identity is durable: as long as it is there, nobody was ever told that
 * the directory exists, and what lies beside it is thrown away. */

static const char *const new_files[] = {"log/data.mdb", "log/lock.mdb",
                                        "state/data.mdb", "state/lock.mdb"};

/* Writes NEW when there is nothing; throws away what lies beside an old one. */
static int new_begin(const struct opening *op, bool *out_is_new)
{
    int dir = op->ls->dir_fd;
    bool is_new = faccessat(dir, "NEW", F_OK, 0) == 0;
    int fd;

    *out_is_new = is_new || (faccessat(dir, "log", F_OK, 0) != 0 &&
                             faccessat(dir, "state", F_OK, 0) != 0);
    if (!*out_is_new) {
        return 0;
    }
    for (size_t i = 0; is_new && i < KV_ARRAY_COUNT(new_files); i++) {
        if (unlinkat(dir, new_files[i], 0) != 0 && errno != ENOENT &&
            errno != ENOTDIR) {
            return open_failed(op, errno_error(), "cannot delete %s/%s: %s", op->o->dir,
                               new_files[i], strerror(errno));
        }
    }
    fd = openat(dir, "NEW", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || close(fd) != 0 || fsync(dir) != 0) {
        return open_failed(op, errno_error(), "cannot write to %s: %s", op->o->dir,
                           strerror(errno));
    }
    (void)KV_FAILPOINT(open_new);
    return 0;
}

static int new_end(const struct opening *op)
{
    int dir = op->ls->dir_fd;
    int rc = unlinkat(dir, "NEW", 0);

    (void)KV_FAILPOINT(open_new_gone);
    if (rc != 0 || fsync(dir) != 0) {
        return open_failed(op, errno_error(), "cannot write to %s: %s", op->o->dir,
                           strerror(errno));
    }
    return 0;
}

static int env_open(const struct opening *op, struct lmdb_env *e, const char *name,
                    struct lmdb_env_options *eo)
{
    char path[STORE_PATH_BYTES];
    const char *reason = "";
    int rc;

    if (snprintf(path, sizeof path, "%s/%s", op->o->dir, name) >= (int)sizeof path) {
        return open_failed(op, KV_EINVAL, "the path of the data directory is too long");
    }
    eo->dir_fd = op->ls->dir_fd;
    eo->path = path;
    eo->name = name;
    eo->map_bytes = op->o->map_bytes != 0 ? op->o->map_bytes : STORE_MAP_BYTES;
    eo->quota_bytes = op->o->quota_bytes != 0
                          ? op->o->quota_bytes
                          : eo->map_bytes - eo->map_bytes / STORE_LOG_RESERVE_PART;
    eo->ballast = &op->ls->ballast;
    rc = lmdb_env_open(e, eo, &reason);
    if (rc == 0) {
        rc = lmdb_env_verify(e, &reason);
    }
    if (rc != 0) {
        return open_failed(op, rc, "%s: %s", path,
                           reason[0] != 0 ? reason : kv_err_text(rc));
    }
    return 0;
}

static int envs_open(const struct opening *op)
{
    static const char *const log_names[] = {"heads", "node", "batches"};
    static const char *const state_names[] = {"groups", "rows", "node"};
    struct lmdb_env_options log_options = {
        .databases = log_names, .databases_count = LOG_BATCHES + 1, .marked_count = 1};
    struct lmdb_env_options state_options = {.flags = MDB_NORDAHEAD,
                                             .databases = state_names,
                                             .databases_count = STATE_NODE + 1,
                                             .marked_count = 2};
    int rc = env_open(op, &op->ls->log, "log", &log_options);

    _Static_assert(KV_ARRAY_COUNT(log_names) == LOG_BATCHES + 1, "all databases");
    _Static_assert(KV_ARRAY_COUNT(log_names) <= LMDB_DATABASES_MAX, "all fit");
    if (rc != 0) {
        return rc;
    }
    (void)KV_FAILPOINT(open_log);
    rc = env_open(op, &op->ls->state, "state", &state_options);
    (void)KV_FAILPOINT(open_state);
    return rc;
}

/* Groups that either environment knows tell one story. */
static int groups_recover(const struct opening *op)
{
    struct store *s = &op->ls->base;

    for (group_id g = 0; g < op->ls->groups_end; g++) {
        const char *reason = "";
        int rc;

        rc = recover_group(s, g, &reason);
        if (rc == KV_EDAMAGED) {
            continue; /* The group finds the damage when it loads, and says so. */
        }
        if (rc != 0) {
            return open_failed(op, rc, "%s, group %u: %s", op->o->dir, (unsigned)g,
                               reason[0] != 0 ? reason : kv_err_text(rc));
        }
    }
    return 0;
}

/* A warning for file systems on which a commit may not be one. */
static void filesystem_warn(const struct opening *op)
{
    struct statfs fs;

    if (fstatfs(op->ls->dir_fd, &fs) != 0) {
        return;
    }
    for (size_t i = 0; i < KV_ARRAY_COUNT(odd_filesystems); i++) {
        if ((uint32_t)fs.f_type == odd_filesystems[i].type) {
            (void)open_failed(op, 0,
                              "%s is on %s: a crash there may lose acknowledged writes",
                              op->o->dir, odd_filesystems[i].name);
        }
    }
}

static int tables_make(const struct opening *op)
{
    struct lmdb_store *ls = op->ls;

    ls->groups_max = KV_MAX(op->o->groups_max, (uint32_t)GROUPS_MAX_DEFAULT);
    ls->generations = kv_mem_zalloc(ls->groups_max * sizeof *ls->generations);
    ls->damaged = kv_mem_zalloc(ls->groups_max * sizeof *ls->damaged);
    ls->verified = kv_mem_zalloc(ls->groups_max * sizeof *ls->verified);
    ls->log_known = kv_mem_zalloc(ls->groups_max * sizeof *ls->log_known);
    ls->state_known = kv_mem_zalloc(ls->groups_max * sizeof *ls->state_known);
    ls->files = kv_mem_zalloc(ls->groups_max * sizeof *ls->files);
    return ls->generations != NULL && ls->damaged != NULL && ls->verified != NULL &&
                   ls->log_known != NULL && ls->state_known != NULL && ls->files != NULL
               ? log_index_open(&ls->log_index, ls->groups_max)
               : KV_ENOMEM;
}

static int open_parts(const struct opening *op)
{
    const char *reason = "";
    uint64_t reserve = op->o->reserve_bytes;
    bool is_new = false;
    int rc = dir_open(op);

    if (rc == 0) {
        rc = lock_take(op);
    }
    if (rc == 0) {
        rc = ballast_open(&op->ls->ballast, op->ls->dir_fd,
                          reserve != 0 ? reserve : STORE_RESERVE_BYTES);
    }
    if (rc == 0) {
        rc = new_begin(op, &is_new);
    }
    if (rc == 0) {
        rc = envs_open(op);
    }
    if (rc == 0) {
        rc = identity_open(op->ls, op->o->incarnation_seed, &reason);
        if (rc != 0 && reason[0] != 0) {
            return open_failed(op, rc, "%s: %s", op->o->dir, reason);
        }
    }
    if (rc == 0 && is_new) {
        rc = new_end(op);
    }
    if (rc == 0) {
        rc = lmdb_snapshot_open(op->ls);
    }
    if (rc == 0) {
        (void)KV_FAILPOINT(open_snapshots);
        rc = lmdb_verify(op->ls);
    }
    if (rc == 0) {
        (void)KV_FAILPOINT(open_verified);
        rc = groups_recover(op);
    }
    return rc;
}

int store_open(const struct store_options *o, struct store **out, char *error_text,
               size_t error_bytes)
{
    struct opening op = {.o = o, .text = error_text, .text_bytes = error_bytes};
    int rc;

    if (error_bytes > 0) {
        error_text[0] = 0;
    }
    op.ls = kv_mem_zalloc(sizeof *op.ls);
    if (op.ls == NULL) {
        return open_failed(&op, KV_ENOMEM, "out of memory");
    }
    op.ls->base.ops = &lmdb_ops;
#ifdef KV_MUTANTS
    op.ls->base.bug = o->bug;
#endif
    op.ls->dir_fd = -1;
    op.ls->lock_fd = -1;
    op.ls->snap_fd = -1;
    op.ls->ballast.fd = -1;
    pthread_mutex_init(&op.ls->files_lock, NULL);
    pthread_mutex_init(&op.ls->log_writer, NULL);
    rc = tables_make(&op);
    if (rc == 0) {
        rc = open_parts(&op);
    }
    if (rc != 0) {
        if (error_bytes > 0 && error_text[0] == 0) {
            (void)open_failed(&op, rc, "%s: %s", o->dir, kv_err_text(rc));
        }
        store_free(op.ls);
        return rc;
    }
    filesystem_warn(&op);
    (void)KV_FAILPOINT(open_done);
    *out = &op.ls->base;
    return 0;
}
