/* server/idmap.h - finds an object by its number: conns, links, forwards.
 *
 * Open addressing with linear probing; deleting shifts back, so that it never
 * degrades. Room is taken once, for twice the most objects that it will ever hold.
 *
 * Needs:    raft/base.
 * Used by:  server/conn.c, peers*.c, router.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_IDMAP_H
#define KV_SERVER_IDMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/check.h"

struct idmap_cell {
    uint64_t id; /* 0: empty. */
    void *object;
};

/* count <= max < cells. */
struct idmap {
    struct idmap_cell *cells;
    uint32_t cells_mask; /* Number of cells, a power of two, minus 1. */
    uint32_t count;
    uint32_t max;
};

/* Takes room for `max` objects. 0 or KV_ENOMEM. */
KV_MUST_CHECK int idmap_init(struct idmap *m, uint32_t max);
void idmap_close(struct idmap *m);

/* Adds an object [borrowed until removed] under an id that is not 0 and not there.
 * 0, or KV_EBUSY when `max` objects are in. */
KV_MUST_CHECK int idmap_add(struct idmap *m, uint64_t id, void *object);
/* The object, NULL when there is none. */
void *idmap_find(const struct idmap *m, uint64_t id);
/* Removes it; returns what it was, or NULL. */
void *idmap_remove(struct idmap *m, uint64_t id);

/* Walks over all objects: *cursor begins at 0; NULL at the end. Adding or removing
 * during a walk may skip or repeat objects. */
void *idmap_next(const struct idmap *m, uint32_t *cursor);

#endif
