/* server/idmap.c - the table of server/idmap.h. */
#include "server/idmap.h"

#include <stddef.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"

/* Ids count up: mix them, so that neighbours do not pile up. */
static uint32_t idmap_home(const struct idmap *m, uint64_t id)
{
    return (uint32_t)((id * 0x9e3779b97f4a7c15u) >> 32) & m->cells_mask;
}

int idmap_init(struct idmap *m, uint32_t max)
{
    uint32_t cells = 16;

    KV_ASSERT(max >= 1 && max < 0x20000000u);
    while (cells < 2 * max) {
        cells *= 2;
    }
    m->cells = kv_mem_zalloc(cells * sizeof(*m->cells));
    if (m->cells == NULL) {
        return KV_ENOMEM;
    }
    m->cells_mask = cells - 1;
    m->count = 0;
    m->max = max;
    return 0;
}

void idmap_close(struct idmap *m)
{
    kv_mem_free(m->cells);
    m->cells = NULL;
    m->count = 0;
}

int idmap_add(struct idmap *m, uint64_t id, void *object)
{
    uint32_t at;

    KV_ASSERT(id != 0 && object != NULL);
    if (m->count == m->max) {
        return KV_EBUSY;
    }
    at = idmap_home(m, id);
    while (m->cells[at].id != 0) {
        KV_ASSERT(m->cells[at].id != id);
        at = (at + 1) & m->cells_mask;
    }
    m->cells[at].id = id;
    m->cells[at].object = object;
    m->count++;
    return 0;
}

/* The cell of `id`, or the empty one where the search for it ends. */
static uint32_t idmap_cell_of(const struct idmap *m, uint64_t id)
{
    uint32_t at = idmap_home(m, id);

    while (m->cells[at].id != 0 && m->cells[at].id != id) {
        at = (at + 1) & m->cells_mask;
    }
    return at;
}

void *idmap_find(const struct idmap *m, uint64_t id)
{
    return id == 0 ? NULL : m->cells[idmap_cell_of(m, id)].object;
}

void *idmap_remove(struct idmap *m, uint64_t id)
{
    uint32_t hole, at;
    void *object;

    if (id == 0) {
        return NULL;
    }
    hole = idmap_cell_of(m, id);
    object = m->cells[hole].object;
    if (object == NULL) {
        return NULL;
    }
    /* Shift back whoever could now be found earlier. */
    for (at = (hole + 1) & m->cells_mask; m->cells[at].id != 0;
         at = (at + 1) & m->cells_mask) {
        uint32_t home = idmap_home(m, m->cells[at].id);

        if (((at - home) & m->cells_mask) >= ((at - hole) & m->cells_mask)) {
            m->cells[hole] = m->cells[at];
            hole = at;
        }
    }
    m->cells[hole] = (struct idmap_cell){0, NULL};
    KV_ASSERT(m->count > 0);
    m->count--;
    return object;
}

void *idmap_next(const struct idmap *m, uint32_t *cursor)
{
    while (m->count > 0 && *cursor <= m->cells_mask) {
        void *object = m->cells[(*cursor)++].object;

        if (object != NULL) {
            return object;
        }
    }
    return NULL;
}
