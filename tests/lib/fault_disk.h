/* tests/lib/fault_disk.h - a disk under a recording: what is safe, what is pending.
 *
 * Fed with the calls of a recording (tests/lib/fault_io.h), it knows which bytes and
 * names were synced and which a crash may lose. A crash makes another disk out of it:
 * of what was pending any part survives, with writes torn at 512 bytes. Names follow
 * the order in which they were changed, and are safe after a sync of their folder.
 *
 * Needs:    tests/lib/fault_io.h, raft/base/prng.h.
 * Used by:  tests/lib/fault_image.c, tests/sim/store_lmdb.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_FAULT_DISK_H
#define KV_TESTS_LIB_FAULT_DISK_H

#include <stdbool.h>
#include <stddef.h>

#include "raft/base/prng.h"
#include "tests/lib/fault_io.h"

struct fault_disk; /* Opaque. */

/* ---- life ---- */

/* An empty disk, that is an empty folder. */
struct fault_disk *fault_disk_new(void);
void fault_disk_free(struct fault_disk *d);

/* ---- what the program does ---- */

/* The call is under way: what it changes is pending. [in] op is copied. */
void fault_disk_start(struct fault_disk *d, const struct fault_op *op);

/* The call that was started last has returned: what it promised is safe. */
void fault_disk_finish(struct fault_disk *d, const struct fault_op *op);

/* Would a sync of this file or folder make something safe? */
bool fault_disk_sync_matters(const struct fault_disk *d, const char *path);

/* ---- a crash ---- */

/* Pending changes: of contents, in any order, and of names, in their order. */
size_t fault_disk_contents(const struct fault_disk *d);
size_t fault_disk_names(const struct fault_disk *d);

/* Does the pending change of contents cross a sector? */
bool fault_disk_can_tear(const struct fault_disk *d, size_t content);

/* What survives. */
struct fault_choice {
    const bool *contents; /* [fault_disk_contents()] */
    size_t names;         /* The first so many of fault_disk_names(). */
    size_t torn;          /* Of the contents: this one in part only; SIZE_MAX: none. */
    struct prng *prng;    /* For how it is torn. */
};

/* The disk after a crash; `d` stays as it is. */
struct fault_disk *fault_disk_crash(const struct fault_disk *d,
                                    const struct fault_choice *c);

/* Puts what the program sees (pending or not) into folder `dir`, which is deleted
 * first. */
void fault_disk_put(const struct fault_disk *d, const char *dir);

#endif
