/* storage/lmdb_env.h - one LMDB environment: open, read, write, space, marks.
 *
 * What log and state environment have in common. Flags are MDB_NOTLS (and MDB_NORDAHEAD
 * for the state), nothing that weakens a commit. Space for a commit is allocated before
 * its transaction begins, so that a full disk shows there and not in the middle of a
 * flush; quota and reserve are kept here.
 *
 * Every commit writes a mark (the transaction's number) into each of the environment's
 * marked databases. At open it must be the number in LMDB's meta page: LMDB 0.9 has no
 * checksums, and one flipped bit there would otherwise silently bring back an older
 * tree.
 *
 * Needs:    lmdb, storage/ballast.h.
 * Used by:  storage/lmdb_*.c, storage/store.c.
 * Threads:  write brackets: one at a time (LMDB's own lock); each reader: one thread;
 *           the numbers in `shared`: any.
 */
#ifndef KV_STORAGE_LMDB_ENV_H
#define KV_STORAGE_LMDB_ENV_H

#include <lmdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "storage/ballast.h"

enum {
    LMDB_DATABASES_MAX = 20,
    LMDB_PAGE_BYTES = 4096,
    LMDB_READERS_MAX = 16,
};

/* What the loop thread may look at while another one writes. */
struct lmdb_shared {
    _Atomic uint64_t used_bytes; /* Pages in use, as of the last commit. */
    _Atomic uint64_t free_bytes; /* Pages of the file that are not. */
    _Atomic uint64_t commits;    /* Since open. */
    atomic_bool is_full;         /* The last ordinary write found no space. */
    atomic_bool is_broken;       /* A commit failed: nothing may be written any more. */
};

struct lmdb_env {
    MDB_env *env;
    int fd;                  /* Of the data file; LMDB's own. */
    struct ballast *ballast; /* Borrowed; shared by the environments. */
    uint64_t map_bytes;
    uint64_t quota_bytes; /* Ordinary writes stop here. */
    uint64_t file_bytes;  /* Size of the data file, as far as it was extended. */
    MDB_dbi dbis[LMDB_DATABASES_MAX];
    uint32_t dbis_count;
    uint32_t marked_count; /* The first so many databases carry marks. */
    struct lmdb_shared shared;
};

struct lmdb_env_options {
    int dir_fd;       /* Of the folder that has the environment's folder. */
    const char *path; /* The environment's folder. */
    const char *name; /* The same, below dir_fd. */
    unsigned flags;   /* MDB_NORDAHEAD or 0. */
    uint64_t map_bytes;
    uint64_t quota_bytes;
    const char *const *databases; /* Names; the marked ones first. */
    uint32_t databases_count;
    uint32_t marked_count;
    struct ballast *ballast;
};

/* A reader: a read transaction that is reset between uses. */
struct lmdb_reader {
    MDB_txn *txn; /* NULL before its first use. */
};

/* ---- life ---- */

/* Opens or makes the environment and its databases.
 * out_reason  a static text for what went wrong.
 * Returns 0, KV_EDAMAGED, KV_EFORMAT, KV_ENOSPACE, KV_ENOMEM, KV_EIO. */
KV_MUST_CHECK int lmdb_env_open(struct lmdb_env *e, const struct lmdb_env_options *o,
                                const char **out_reason);

void lmdb_env_close(struct lmdb_env *e);

/* Checks what LMDB does not: marks, page counts. Call it before anything else of an
 * environment that holds something is believed. Errors as lmdb_env_open(). */
KV_MUST_CHECK int lmdb_env_verify(struct lmdb_env *e, const char **out_reason);

/* ---- reading ---- */

/* Begins to read the newest commit. 0, KV_ENOMEM, KV_EIO, KV_EDAMAGED. */
KV_MUST_CHECK int lmdb_read_begin(struct lmdb_env *e, struct lmdb_reader *r);

/* Ends it: nothing that was read is valid any more. */
void lmdb_read_end(struct lmdb_reader *r);

/* Frees the reader; before lmdb_env_close(). */
void lmdb_reader_close(struct lmdb_reader *r);

/* ---- writing ---- */

/* What a transaction is going to need, roughly. */
struct lmdb_demand {
    uint64_t pages;     /* That it may dirty. */
    uint64_t run_pages; /* Of long values: each lies on pages side by side. */
    bool urgent;        /* May use the reserve. */
};

/* Begins a write transaction for which there is space.
 * Returns 0, KV_ENOSPACE (nothing changed), KV_EIO and others (fatal). */
KV_MUST_CHECK int lmdb_write_begin(struct lmdb_env *e, const struct lmdb_demand *d,
                                   MDB_txn **out);

/* Ends it. rc == 0: marks and commits, fully synced; else aborts.
 * rc  0, or the LMDB code that stopped the work, or a KV_E*.
 * Returns 0; KV_ENOSPACE (nothing changed); a KV_E* that was passed in; else fatal: the
 * environment takes no further writes. */
KV_MUST_CHECK int lmdb_write_end(struct lmdb_env *e, MDB_txn *txn, int rc);

/* ---- codes ---- */

/* Translates LMDB's and the system's codes; KV_E* and 0 pass. */
int lmdb_error(int rc);

static inline MDB_val lmdb_val(struct kv_bytes b)
{
    return (MDB_val){.mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data};
}

static inline struct kv_bytes lmdb_bytes(const MDB_val *v)
{
    return kv_bytes(v->mv_data, v->mv_size);
}

#endif
