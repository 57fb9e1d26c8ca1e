/* tests/sim/store_lmdb.h - the real store of a simulated node, on a simulated disk.
 *
 * The store works on files below one folder, in memory where the system has /dev/shm.
 * Every write, sync, change of size and change of names that it makes is written down
 * (tests/lib/fault_io.h) and fed to a model of the disk (fault_disk.h), which knows
 * what is safe. A crash cuts the jobs under way after any call, draws from what was
 * not synced a part that survives, some of it torn, and the store opens that: at times
 * to crash again while it opens.
 *
 * The program must include tests/lib/fault_interpose.h in its main file.
 *
 * Needs:    tests/lib/fault_disk.h, fault_io.h, server/disk.h.
 * Used by:  tests/sim/world.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_STORE_LMDB_H
#define KV_TESTS_SIM_STORE_LMDB_H

#include "server/disk.h"
#include "storage/store.h"

struct store_lmdb; /* Opaque. */
struct sim_counts; /* tests/sim/sim.h: the fields disk_*. */

/* Makes and opens an empty store in `dir`, which must not exist.
 * incarnation  of the new directory.
 * seed         for what survives crashes.
 * counts       [borrowed] counted there from now on.
 * Returns 0 or what store_open() returns, with one line in `text`. */
KV_MUST_CHECK int store_lmdb_new(const char *dir, uint64_t incarnation, uint64_t seed,
                                 struct sim_counts *counts, struct store_lmdb **out,
                                 char *text, size_t text_bytes);

/* Closes it; the folder stays. */
void store_lmdb_free(struct store_lmdb *l);

/* The open store; another one after each store_lmdb_start(). */
struct store *store_lmdb_base(struct store_lmdb *l);

/* False after a store_lmdb_start() that failed. */
bool store_lmdb_is_open(const struct store_lmdb *l);

/* Runs a job as a whole. */
void store_lmdb_run(struct store_lmdb *l, struct disk_job *job);

/* The nth call on the disk from now (1: the next) fails with EIO, once; 0: none. Only
 * calls of jobs count, and those of this life. */
void store_lmdb_fail(struct store_lmdb *l, uint64_t nth);

/* The disk has `bytes` left, less than 0: so much has to go before anything fits.
 * FAULT_IO_ENDLESS: no limit. */
void store_lmdb_space(struct store_lmdb *l, int64_t bytes);

/* The power fails while these jobs (at most one per lane, NULL: none) are under way.
 * Then nothing but store_lmdb_start() and store_lmdb_free() may be called. */
void store_lmdb_stop(struct store_lmdb *l, struct disk_job *jobs[DISK_LANES_COUNT]);

/* Opens what is left, as a starting process does. Returns as store_lmdb_new(). */
KV_MUST_CHECK int store_lmdb_start(struct store_lmdb *l, char *text, size_t text_bytes);

#endif
