/* tests/sim/store_lmdb.c - the real store on a simulated disk. */
#include "tests/sim/store_lmdb.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "tests/lib/fault_disk.h"
#include "tests/lib/fault_io.h"
#include "tests/lib/store_dir.h"
#include "tests/sim/sim.h"

enum {
    LMDB_MAP_BYTES = 64 * 1024 * 1024,
    LMDB_RESERVE_BYTES = 64 * 1024,
    LMDB_GROUPS_MAX = 80,
    LMDB_OPEN_CUTS_MAX = 3, /* Crashes in a row while it opens. */
    LMDB_OPEN_CUT_ODDS = 6, /* One open of so many. */
    LMDB_DIR_BYTES = STORE_DIR_BYTES + 16,
};

struct store_lmdb {
    char dir[LMDB_DIR_BYTES];
    struct store *store; /* NULL: the power is off. */
    struct fault_disk *disk;
    struct prng prng;
    uint64_t incarnation;
    int64_t space;    /* Left on the disk. */
    uint64_t fail_at; /* The call that fails, counted from now; 0: none. */
    struct sim_counts *counts;
};

/* ---- writing down ---- */

static void record_begin(struct store_lmdb *l, struct fault_recording *r)
{
    fault_io_begin(l->dir);
    fault_io_skip_syncs(true);
    fault_io_space(l->space);
    fault_io_record(r);
}

/* Nothing is of interest until the next record_begin(). */
static void record_end(struct store_lmdb *l)
{
    l->space = fault_io_space_left();
    fault_io_record_end();
    fault_io_begin("");
}

/* The first `count` calls happened; the next one was under way. */
static void replay(struct store_lmdb *l, struct fault_recording *r, size_t count)
{
    l->counts->disk_calls += count;
    for (size_t i = 0; i < count; i++) {
        fault_disk_start(l->disk, &r->ops[i]);
        fault_disk_finish(l->disk, &r->ops[i]);
    }
    if (count < r->count) {
        fault_disk_start(l->disk, &r->ops[count]);
    }
    fault_recording_close(r);
}

/* ---- crashes ---- */

/* Draws what survives, and puts it in the place of the disk. */
static void crash(struct store_lmdb *l)
{
    size_t pending = fault_disk_contents(l->disk);
    bool *chosen = kv_mem_zalloc(pending + 1);
    struct fault_choice choice = {
        .contents = chosen, .torn = SIZE_MAX, .prng = &l->prng};
    /* All, none, or some with odds of their own. */
    uint64_t odds = prng_below(&l->prng, 7);
    struct fault_disk *after;

    KV_ASSERT(chosen != NULL);
    for (size_t i = 0; i < pending; i++) {
        chosen[i] = odds == 6 || prng_below(&l->prng, 6) < odds;
        l->counts->disk_kept += chosen[i];
        l->counts->disk_lost += !chosen[i];
    }
    choice.names = prng_below(&l->prng, fault_disk_names(l->disk) + 1);
    if (pending > 0 && prng_below(&l->prng, 2) == 0) {
        size_t at = prng_below(&l->prng, pending);

        if (chosen[at] && fault_disk_can_tear(l->disk, at)) {
            choice.torn = at;
            l->counts->disk_torn++;
        }
    }
    after = fault_disk_crash(l->disk, &choice);
    fault_disk_free(l->disk);
    l->disk = after;
    kv_mem_free(chosen);
}

void store_lmdb_stop(struct store_lmdb *l, struct disk_job *jobs[DISK_LANES_COUNT])
{
    uint32_t first = (uint32_t)prng_below(&l->prng, DISK_LANES_COUNT);
    struct fault_recording r;
    size_t cut;

    record_begin(l, &r);
    for (uint32_t i = 0; i < DISK_LANES_COUNT; i++) {
        struct disk_job *job = jobs[(first + i) % DISK_LANES_COUNT];

        if (job != NULL) {
            disk_job_run(job);
        }
    }
    record_end(l);
    cut = prng_below(&l->prng, r.count + 1);
    l->counts->disk_cuts += cut > 0 && cut < r.count;
    l->counts->jobs_lost += cut == 0 && r.count > 0;
    replay(l, &r, cut);
    crash(l);
}

/* ---- life ---- */

/* Says where it happened without the folder's name, which differs from run to run. */
static void text_strip(const struct store_lmdb *l, char *text)
{
    size_t len = strlen(l->dir);
    char *at;

    while ((at = strstr(text, l->dir)) != NULL) {
        memmove(at, at + len, strlen(at + len) + 1);
    }
}

/* Opens the store, in one piece or up to a cut. */
static int open_once(struct store_lmdb *l, bool may_cut, bool *out_was_cut, char *text,
                     size_t text_bytes)
{
    struct store_options o = {
        .dir = l->dir,
        .map_bytes = LMDB_MAP_BYTES,
        .reserve_bytes = LMDB_RESERVE_BYTES,
        .groups_max = LMDB_GROUPS_MAX,
        .incarnation_seed = l->incarnation,
    };
    struct fault_recording r;
    size_t cut;
    int rc;

    record_begin(l, &r);
    rc = store_open(&o, &l->store, text, text_bytes);
    record_end(l);
    text_strip(l, text);
    *out_was_cut = rc == 0 && may_cut && prng_below(&l->prng, LMDB_OPEN_CUT_ODDS) == 0;
    cut = *out_was_cut ? prng_below(&l->prng, r.count + 1) : r.count;
    replay(l, &r, cut);
    return rc;
}

int store_lmdb_start(struct store_lmdb *l, char *text, size_t text_bytes)
{
    l->fail_at = 0;
    for (uint32_t cuts = 0;; cuts++) {
        bool was_cut;
        int rc;

        if (l->store != NULL) {
            l->store->ops->close(l->store);
            l->store = NULL;
        }
        fault_disk_put(l->disk, l->dir);
        rc = open_once(l, cuts < LMDB_OPEN_CUTS_MAX, &was_cut, text, text_bytes);
        if (!was_cut) {
            return rc;
        }
        l->counts->disk_open_cuts++;
        crash(l);
    }
}

int store_lmdb_new(const char *dir, uint64_t incarnation, uint64_t seed,
                   struct sim_counts *counts, struct store_lmdb **out, char *text,
                   size_t text_bytes)
{
    struct store_lmdb *l = kv_mem_zalloc(sizeof *l);
    int rc;

    if (l == NULL) {
        return KV_ENOMEM;
    }
    KV_ASSERT(strlen(dir) < sizeof l->dir);
    snprintf(l->dir, sizeof l->dir, "%s", dir);
    l->incarnation = incarnation;
    l->counts = counts;
    l->space = FAULT_IO_ENDLESS;
    l->disk = fault_disk_new();
    prng_init(&l->prng, seed);
    rc = store_lmdb_start(l, text, text_bytes);
    if (rc != 0) {
        store_lmdb_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

void store_lmdb_free(struct store_lmdb *l)
{
    if (l == NULL) {
        return;
    }
    if (l->store != NULL) {
        l->store->ops->close(l->store);
    }
    fault_disk_free(l->disk);
    kv_mem_free(l);
}

struct store *store_lmdb_base(struct store_lmdb *l)
{
    KV_ASSERT(l->store != NULL);
    return l->store;
}

bool store_lmdb_is_open(const struct store_lmdb *l)
{
    return l->store != NULL;
}

void store_lmdb_run(struct store_lmdb *l, struct disk_job *job)
{
    struct fault_recording r;

    record_begin(l, &r);
    fault_io_fail(l->fail_at, EIO);
    disk_job_run(job);
    if (fault_io_failed()[0] != '\0') {
        l->counts->disk_errors++;
        l->fail_at = 0;
    } else if (l->fail_at > 0) {
        l->fail_at -= fault_io_calls();
    }
    l->counts->disk_no_space += job->result == KV_ENOSPACE;
    record_end(l);
    replay(l, &r, r.count);
}

void store_lmdb_fail(struct store_lmdb *l, uint64_t nth)
{
    l->fail_at = nth;
}

void store_lmdb_space(struct store_lmdb *l, int64_t bytes)
{
    l->space = bytes;
}
