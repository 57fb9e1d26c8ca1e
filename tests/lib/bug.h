/* tests/lib/bug.h - finds a planted bug by its name (builds with MODE=mutants).
 *
 * Needs:    raft/base/bug.h.
 * Used by:  tests/sim, tests/lib/raft_cluster.c.
 * Threads:  any.
 */
#ifndef KV_TESTS_LIB_BUG_H
#define KV_TESTS_LIB_BUG_H

#include "raft/base/bug.h"

/* The number of the bug with this name; 0 for "none", for an unknown name, and in
 * builds that contain none. */
uint32_t bug_find(const char *name);

/* What it breaks, and where that was seen ("" for our own). bug_find() gave it. */
const char *bug_what(uint32_t bug);
const char *bug_seen(uint32_t bug);

/* Its name; NULL behind the last one. */
const char *bug_name(uint32_t bug);

#endif
