/* tests/lib/store_dir.h - temporary folders with a store in them.
 *
 * Needs:    storage/store.h.
 * Used by:  tests/storage, tests/bench.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_STORE_DIR_H
#define KV_TESTS_LIB_STORE_DIR_H

#include "storage/store.h"

enum {
    STORE_DIR_BYTES = 256
};

/* Sanitizers make mapping and unmapping slow: tests that open thousands of stores do a
 * part of it there, and all of it in the other builds. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STORE_DIR_SLOW 1
#else
#define STORE_DIR_SLOW 0
#endif

/* Makes an empty folder below $TMPDIR or /tmp. Ends the test program when it cannot. */
void store_dir_make(char path[STORE_DIR_BYTES]);

/* The same, in memory where the system has /dev/shm: for tests that build thousands of
 * folders and sync none of them. */
void store_dir_make_fast(char path[STORE_DIR_BYTES]);

/* Copies the files of a folder and of the folders in it. */
void store_dir_copy(const char *from, const char *to);

/* Deletes a folder and all below it. */
void store_dir_remove(const char *path);

/* Opens a small store there: 64 MiB maps, 64 KiB reserve. Returns store_open()'s
 * code. */
KV_MUST_CHECK int store_dir_open(const char *path, struct store **out);

#endif
