/* storage/ballast.h - a preallocated file that is given up when the disk is full.
 *
 * Votes, no-ops, deletes, compaction and checkpoints must get through on a full disk,
 * or the group can neither elect nor free space. The ballast keeps room for them that
 * nobody else can take: an urgent write that meets a full disk gives up a part of it
 * and tries again; when there is room again, it is restored. Its blocks are really
 * allocated.
 *
 * Needs:    raft/base.
 * Used by:  storage/lmdb_env.c, storage/store.c.
 * Threads:  any; has a lock of its own.
 */
#ifndef KV_STORAGE_BALLAST_H
#define KV_STORAGE_BALLAST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "raft/base/check.h"

/* held_bytes <= full_bytes. */
struct ballast {
    pthread_mutex_t lock;
    int fd;              /* -1: closed. */
    uint64_t full_bytes; /* What it should hold. */
    uint64_t held_bytes; /* What it holds. */
};

/* Opens or makes the file DIR/ballast and fills it as far as the disk allows.
 * dir_fd  of DIR, borrowed for the call. Returns 0 (also when the disk is too full:
 * then less is held) or KV_EIO. */
KV_MUST_CHECK int ballast_open(struct ballast *b, int dir_fd, uint64_t full_bytes);

/* Closes the file; it stays on disk. */
void ballast_close(struct ballast *b);

/* Gives up at least `bytes`, or all that is left. False when nothing was left. */
bool ballast_give(struct ballast *b, uint64_t bytes);

/* Fills it up again if the disk has room for that. True when it is full now. */
bool ballast_restore(struct ballast *b);

/* True when it holds all that it should. */
bool ballast_is_full(struct ballast *b);

#endif
