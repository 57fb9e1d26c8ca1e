/* storage/lmdb_env.c - one LMDB environment. */
#include "storage/lmdb_env.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "raft/base/crc.h"
#include "raft/base/err.h"
#include "storage/failpoint.h"
#include "storage/lmdb_page.h"

enum {
    ENV_STEP_SMALL_BYTES = 256 * 1024, /* The file grows in these steps ... */
    ENV_STEP_LARGE_BYTES = 16 * 1024 * 1024,
    ENV_SMALL_BYTES_MAX = 64 * 1024 * 1024, /* ... up to here, then in large ones. */
    ENV_MARK_BYTES = 12,
    ENV_SMALL_MAP_BYTES = 1024 * 1024 * 1024,
};

/* Behind every row: no group has this number. */
static const uint8_t mark_key[8] = {0xff, 0xff, 0xff, 0xff, 'm', 'a', 'r', 'k'};

int lmdb_error(int rc)
{
    if (rc >= KV_ERR_FIRST && rc <= KV_ERR_LAST) {
        return rc;
    }
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return KV_ENOTFOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return KV_ENOSPACE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return KV_EDAMAGED;
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return KV_EFORMAT;
    case ENOMEM:
        return KV_ENOMEM;
    default:
        return KV_EIO;
    }
}

/* ---- marks ---- */

static int marks_put(struct lmdb_env *e, MDB_txn *txn)
{
    uint8_t mark[ENV_MARK_BYTES];
    MDB_val key = {sizeof mark_key, (void *)(uintptr_t)mark_key};
    int rc = 0;

    kv_put_u64le(mark + 4, (uint64_t)mdb_txn_id(txn));
    kv_put_u32le(mark, kv_crc32c(0, mark + 4, 8));
    for (uint32_t i = 0; rc == 0 && i < e->marked_count; i++) {
        MDB_val value = {sizeof mark, mark};

        rc = mdb_put(txn, e->dbis[i], &key, &value, 0);
    }
    return rc;
}

static int marks_check(struct lmdb_env *e, MDB_txn *txn, const char **out_reason)
{
    MDB_val key = {sizeof mark_key, (void *)(uintptr_t)mark_key};

    for (uint32_t i = 0; i < e->marked_count; i++) {
        MDB_val value;
        const uint8_t *p;
        int rc = mdb_get(txn, e->dbis[i], &key, &value);

        if (rc != 0 && rc != MDB_NOTFOUND) {
            return lmdb_error(rc);
        }
        p = value.mv_data;
        if (rc != 0 || value.mv_size != ENV_MARK_BYTES ||
            kv_get_u32le(p) != kv_crc32c(0, p + 4, 8) ||
            kv_get_u64le(p + 4) != (uint64_t)mdb_txn_id(txn)) {
            *out_reason = "its newest commit is not the one that its meta page names";
            return KV_EDAMAGED;
        }
    }
    return 0;
}

/* The table of names must hold our databases, each once, in a leaf that is well formed:
 * a name that leads to another's tree would make that one change under both. */
static int names_check(struct lmdb_env *e, MDB_txn *txn, const char **out_reason)
{
    struct kv_bytes before = {0};
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint32_t count = 0;
    int rc = mdb_cursor_open(txn, 1, &cursor);

    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (!lmdb_page_leaf_ok(key.mv_data) ||
            (count > 0 && kv_bytes_compare(before, lmdb_bytes(&key)) >= 0)) {
            break;
        }
        before = lmdb_bytes(&key);
        count++;
    }
    mdb_cursor_close(cursor);
    if (rc == 0 || (rc == MDB_NOTFOUND && count != e->dbis_count)) {
        *out_reason = "its table of databases is damaged";
        rc = MDB_CORRUPTED;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- space ---- */

/* Pages in use by all databases, LMDB's own two included. */
static int pages_used(struct lmdb_env *e, MDB_txn *txn, uint64_t *out)
{
    uint64_t pages = 2; /* Meta pages. */

    for (uint32_t i = 0; i < e->dbis_count + 2; i++) {
        MDB_dbi dbi = i < 2 ? i : e->dbis[i - 2]; /* 0: free list, 1: names. */
        MDB_stat st;
        int rc = mdb_stat(txn, dbi, &st);

        if (rc != 0) {
            return rc;
        }
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    *out = pages;
    return 0;
}

/* Pages on the free list; 0 as soon as it makes no sense. Needs a read transaction. */
static int pages_free(MDB_txn *txn, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint64_t pages = 0;
    int rc = mdb_cursor_open(txn, 0, &cursor);

    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t count;

        if (value.mv_size < sizeof count) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(&count, value.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
    *out = pages;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static uint64_t last_page(const struct lmdb_env *e)
{
    MDB_envinfo info;

    (void)mdb_env_info(e->env, &info); /* Cannot fail with these arguments. */
    return info.me_last_pgno;
}

static void space_note(struct lmdb_env *e, uint64_t pages_used)
{
    uint64_t end = (last_page(e) + 1) * LMDB_PAGE_BYTES;
    uint64_t used = pages_used * LMDB_PAGE_BYTES;

    atomic_store(&e->shared.used_bytes, used);
    atomic_store(&e->shared.free_bytes, end > used ? end - used : 0);
}

/* One try to make the file `end` bytes long, with blocks where the file system can. */
static int file_extend(struct lmdb_env *e, uint64_t end)
{
    int rc = KV_FAILPOINT(env_grow);

    if (rc != 0) {
        return rc == KV_ENOSPACE ? ENOSPC : EIO;
    }
    do {
        rc =
            fallocate(e->fd, 0, (off_t)e->file_bytes, (off_t)(end - e->file_bytes)) == 0
                ? 0
                : errno;
    } while (rc == EINTR);
    if (rc == EOPNOTSUPP || rc == ENOSYS) {
        rc = ftruncate(e->fd, (off_t)end) == 0 ? 0 : errno;
    }
    if (rc == 0) {
        e->file_bytes = end;
        (void)KV_FAILPOINT(env_grown);
    }
    return rc;
}

/* Makes the file at least `need` bytes long; an urgent write takes from the ballast. */
static int file_reserve(struct lmdb_env *e, uint64_t need, bool urgent)
{
    uint64_t step =
        need < ENV_SMALL_BYTES_MAX ? ENV_STEP_SMALL_BYTES : ENV_STEP_LARGE_BYTES;
    uint64_t end = KV_MIN((need + step - 1) / step * step, e->map_bytes);
    int rc;

    need = KV_MIN(need, e->map_bytes);
    if (need <= e->file_bytes) {
        return 0;
    }
    rc = file_extend(e, end);
    if (rc == ENOSPC || rc == EDQUOT) {
        rc = file_extend(e, need); /* Perhaps just what is needed fits. */
    }
    while ((rc == ENOSPC || rc == EDQUOT) && urgent &&
           ballast_give(e->ballast, need - e->file_bytes)) {
        rc = file_extend(e, need);
    }
    return rc;
}

/* Is there space for `d`? Makes it where it can. Writer only. */
static int space_make(struct lmdb_env *e, const struct lmdb_demand *d)
{
    uint64_t used = atomic_load(&e->shared.used_bytes);
    uint64_t end = (last_page(e) + 1) * LMDB_PAGE_BYTES;
    uint64_t inside = end > used ? end - used : 0; /* Free pages of the file. */
    uint64_t need = d->pages * LMDB_PAGE_BYTES;

    if (!d->urgent) {
        if (used + need > e->quota_bytes) {
            return KV_ENOSPACE;
        }
        /* What urgent writes took comes back before ordinary ones go on, on the disk or
         * as free pages of the file. */
        if (!ballast_is_full(e->ballast) && !ballast_restore(e->ballast) &&
            inside < 2 * need + e->ballast->full_bytes) {
            return KV_ENOSPACE;
        }
    }
    /* Free pages of the file need not lie side by side: runs may go to its end. */
    if (inside >= 2 * need) {
        need = d->run_pages * LMDB_PAGE_BYTES;
    }
    return lmdb_error(file_reserve(e, end + need, d->urgent));
}

/* ---- writing ---- */

int lmdb_write_begin(struct lmdb_env *e, const struct lmdb_demand *d, MDB_txn **out)
{
    MDB_txn *txn;
    int rc;

    if (atomic_load(&e->shared.is_broken)) {
        return KV_EIO;
    }
    rc = mdb_txn_begin(e->env, NULL, 0, &txn);
    if (rc != 0) {
        return lmdb_error(rc);
    }
    rc = space_make(e, d);
    if (rc != 0) {
        mdb_txn_abort(txn);
        if (rc == KV_ENOSPACE) {
            atomic_store(&e->shared.is_full, true);
        } else {
            atomic_store(&e->shared.is_broken, true);
        }
        return rc;
    }
    if (!d->urgent) {
        atomic_store(&e->shared.is_full, false);
    }
    *out = txn;
    return 0;
}

/* After a commit that met a full disk: LMDB says by its next transaction whether the
 * meta page was touched. */
static int broken_probe(struct lmdb_env *e)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->env, NULL, 0, &txn);

    if (rc == 0) {
        mdb_txn_abort(txn);
    }
    return rc;
}

static int commit(struct lmdb_env *e, MDB_txn *txn)
{
    uint64_t pages = 0;
    uint64_t end;
    int rc = marks_put(e, txn);

    if (rc == 0) {
        rc = pages_used(e, txn, &pages);
    }
    if (rc == 0 && KV_FAILPOINT(env_commit) != 0) {
        rc = EIO;
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* Frees txn, also when it fails. */
    (void)KV_FAILPOINT(env_committed);
    if (rc != 0) {
        return (rc == ENOSPC || rc == EDQUOT) && broken_probe(e) != 0 ? EIO : rc;
    }
    end = (last_page(e) + 1) * LMDB_PAGE_BYTES;
    space_note(e, pages);
    atomic_fetch_add(&e->shared.commits, 1);
    if (end > e->file_bytes) {
        /* LMDB leaves out pages at the end that became free again in the same
         * transaction. The file must still be as long as the meta page says, or it
         * would look truncated at the next open. */
        struct stat st;

        e->file_bytes = end;
        if (fstat(e->fd, &st) == 0 && (uint64_t)st.st_size < end &&
            ftruncate(e->fd, (off_t)end) != 0) {
            e->file_bytes = (uint64_t)st.st_size; /* Next time; this commit is done. */
        }
    }
    return 0;
}

int lmdb_write_end(struct lmdb_env *e, MDB_txn *txn, int rc)
{
    bool ours = rc >= KV_ERR_FIRST && rc <= KV_ERR_LAST;

    if (rc != 0) {
        mdb_txn_abort(txn);
    } else {
        rc = commit(e, txn);
    }
    rc = lmdb_error(rc);
    if (rc == KV_ENOSPACE) {
        atomic_store(&e->shared.is_full, true);
    } else if (rc != 0 && !ours) {
        atomic_store(&e->shared.is_broken, true);
    }
    return rc;
}

/* ---- reading ---- */

int lmdb_read_begin(struct lmdb_env *e, struct lmdb_reader *r)
{
    int rc = r->txn == NULL ? mdb_txn_begin(e->env, NULL, MDB_RDONLY, &r->txn)
                            : mdb_txn_renew(r->txn);

    return lmdb_error(rc);
}

void lmdb_read_end(struct lmdb_reader *r)
{
    mdb_txn_reset(r->txn);
}

void lmdb_reader_close(struct lmdb_reader *r)
{
    if (r->txn != NULL) {
        mdb_txn_abort(r->txn);
        r->txn = NULL;
    }
}

/* ---- life ---- */

/* A file that is shorter than its meta page says would be SIGBUS later. */
static int size_check(struct lmdb_env *e, const char **out_reason)
{
    struct stat st;

    if (fstat(e->fd, &st) != 0) {
        return KV_EIO;
    }
    e->file_bytes = (uint64_t)st.st_size;
    if (e->file_bytes < (last_page(e) + 1) * LMDB_PAGE_BYTES) {
        *out_reason = "its data file is shorter than its meta page says";
        return KV_EDAMAGED;
    }
    return 0;
}

/* Opens the databases, or makes them in a new environment. */
static int databases_open(struct lmdb_env *e, const struct lmdb_env_options *o)
{
    MDB_envinfo info;
    MDB_txn *txn;
    bool is_new;
    int rc;

    (void)mdb_env_info(e->env, &info);
    is_new = info.me_last_txnid == 0;
    rc = mdb_txn_begin(e->env, NULL, is_new ? 0 : MDB_RDONLY, &txn);
    for (uint32_t i = 0; rc == 0 && i < o->databases_count; i++) {
        rc = mdb_dbi_open(txn, o->databases[i], is_new ? MDB_CREATE : 0, &e->dbis[i]);
        if (rc == MDB_NOTFOUND) {
            rc = MDB_CORRUPTED;
        }
        if (rc != 0) {
            mdb_txn_abort(txn);
        }
    }
    if (rc != 0) {
        return rc;
    }
    e->dbis_count = o->databases_count;
    e->marked_count = o->marked_count;
    return is_new ? commit(e, txn) : mdb_txn_commit(txn);
}

static int env_open(struct lmdb_env *e, const struct lmdb_env_options *o,
                    uint64_t map_bytes)
{
    int rc = mdb_env_create(&e->env);

    if (rc != 0) {
        e->env = NULL;
        return rc;
    }
    rc = mdb_env_set_mapsize(e->env, map_bytes);
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(e->env, LMDB_DATABASES_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxreaders(e->env, LMDB_READERS_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_open(e->env, o->path, MDB_NOTLS | o->flags, 0600);
    }
    if (rc != 0) {
        mdb_env_close(e->env);
        e->env = NULL;
    }
    return rc;
}

/* Makes the environment's folder and its entry durable. */
static int folder_make(const struct lmdb_env_options *o)
{
    if (mkdirat(o->dir_fd, o->name, 0700) != 0 && errno != EEXIST) {
        return errno;
    }
    return fsync(o->dir_fd) == 0 ? 0 : errno;
}

/* Makes the data file's directory entry durable. */
static int folder_sync(const struct lmdb_env_options *o)
{
    int fd = openat(o->dir_fd, o->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0) {
        return errno;
    }
    rc = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return rc;
}

int lmdb_env_open(struct lmdb_env *e, const struct lmdb_env_options *o,
                  const char **out_reason)
{
    int dead = 0;
    int rc = folder_make(o);

    *e = (struct lmdb_env){.ballast = o->ballast,
                           .map_bytes = o->map_bytes,
                           .quota_bytes = o->quota_bytes};
    *out_reason = "";
    if (rc == 0) {
        rc = env_open(e, o, o->map_bytes);
        if (rc == ENOMEM && o->map_bytes > ENV_SMALL_MAP_BYTES) {
            /* Address space is limited (valgrind, ulimit -v): a smaller map may fit. */
            e->map_bytes = ENV_SMALL_MAP_BYTES;
            e->quota_bytes =
                KV_MIN(o->quota_bytes, (uint64_t)ENV_SMALL_MAP_BYTES / 8 * 7);
            rc = env_open(e, o, e->map_bytes);
        }
    }
    if (rc != 0) {
        *out_reason =
            rc == MDB_INVALID ? "its meta pages are damaged" : mdb_strerror(rc);
        return lmdb_error(rc);
    }
    (void)mdb_env_get_fd(e->env, &e->fd);
    (void)mdb_reader_check(e->env, &dead);
    rc = folder_sync(o);
    if (rc == 0) {
        rc = size_check(e, out_reason);
    }
    if (rc == 0) {
        rc = databases_open(e, o);
    }
    if (rc != 0) {
        if (**out_reason == 0) {
            *out_reason =
                rc == MDB_CORRUPTED ? "its databases are damaged" : mdb_strerror(rc);
        }
        lmdb_env_close(e);
    }
    return lmdb_error(rc);
}

int lmdb_env_verify(struct lmdb_env *e, const char **out_reason)
{
    struct lmdb_reader r = {0};
    uint64_t used = 0;
    uint64_t unused = 0;
    int rc = lmdb_read_begin(e, &r);

    if (rc != 0) {
        return rc;
    }
    rc = names_check(e, r.txn, out_reason);
    if (rc == 0) {
        rc = marks_check(e, r.txn, out_reason);
    }
    if (rc == 0) {
        rc = pages_used(e, r.txn, &used);
    }
    if (rc == 0) {
        rc = pages_free(r.txn, &unused);
    }
    if (rc == 0 && used + unused > last_page(e) + 1) {
        *out_reason = "more pages are in use than its meta page counts";
        rc = KV_EDAMAGED;
    }
    if (rc == 0) {
        space_note(e, used);
    }
    lmdb_reader_close(&r);
    return lmdb_error(rc);
}

void lmdb_env_close(struct lmdb_env *e)
{
    if (e->env != NULL) {
        mdb_env_close(e->env);
        e->env = NULL;
    }
}
