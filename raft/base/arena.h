/* raft/base/arena.h - bump allocation with a named end, and the only malloc.
 *
 * An arena hands out memory that is never freed piece by piece: all of it goes at
 * once, at arena_reset() or arena_close(). It is capped, so that no input can
 * make it grow without bound. Objects of one size that come and go one by one use
 * a pool instead. Nothing else in the house calls malloc.
 *
 * Needs:    bytes.h, check.h.
 * Used by:  everything that needs memory whose size is not known at compile time.
 * Threads:  one owner at a time.
 */
#ifndef KV_RAFT_BASE_ARENA_H
#define KV_RAFT_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

struct arena_block;

/* used_bytes <= taken_bytes <= max_bytes, unless max_bytes is 0 (no cap). */
struct arena {
    struct arena_block *head; /* Newest block first; NULL when nothing was taken. */
    size_t block_bytes;       /* Size of a usual block. */
    size_t max_bytes;         /* Cap over all blocks; 0 means none. */
    size_t taken_bytes;       /* Taken from malloc so far. */
    size_t used_bytes;        /* Handed out since the last reset, padding included. */
};

/* ---- life ---- */

/* Prepares an arena; takes no memory yet. The struct belongs to the caller.
 * block_bytes  size of a usual block, at least 64.
 * max_bytes    cap over all blocks, 0 for none. Cannot fail. */
void arena_init(struct arena *a, size_t block_bytes, size_t max_bytes);

/* Gives everything back. The arena may be used again afterwards. */
void arena_close(struct arena *a);

/* Forgets everything handed out, but keeps one usual block for what comes next. */
void arena_reset(struct arena *a);

/* ---- work ---- */

/* Hands out `bytes` bytes, aligned to 16, not zeroed.
 * Returns NULL when the cap is reached or malloc fails; the arena stays usable. */
KV_MUST_CHECK void *arena_alloc(struct arena *a, size_t bytes);

/* As arena_alloc, zeroed. */
KV_MUST_CHECK void *arena_zalloc(struct arena *a, size_t bytes);

/* Copies `src` into the arena; *out_copy lives until the next reset.
 * Returns 0 or KV_ENOMEM (*out_copy is then left alone). */
KV_MUST_CHECK int arena_copy(struct arena *a, struct kv_bytes src,
                             struct kv_bytes *out_copy);

/* ---- single objects ---- */

/* Takes one zeroed object that lives longer than any arena; NULL when there is no
 * memory. It goes back with kv_mem_free(). For objects made at start (node,
 * group, buffers that grow) and for pools. */
KV_MUST_CHECK void *kv_mem_zalloc(size_t bytes);

/* Resizes as realloc does; NULL leaves the old object as it was. */
KV_MUST_CHECK void *kv_mem_realloc(void *old, size_t bytes);

/* Gives pages of freed objects back to the system that lie between others which stay.
 * Takes milliseconds for a hundred megabytes, and who takes memory soon pays for each
 * page again: for a process that has become quiet. */
void kv_mem_trim(void);

/* Gives back what kv_mem_zalloc() or kv_mem_realloc() handed out; NULL is fine. */
void kv_mem_free(void *object);

#endif
