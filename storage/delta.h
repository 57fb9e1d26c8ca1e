/* storage/delta.h - an ordered map of changed rows in memory, dropped all at once.
 *
 * A B+tree over an arena: rows are inserted or overwritten (a deletion is a row with
 * `deleted` set), found, and walked in the order of (kind, key bytes). Nothing is
 * ever taken out one by one, so the tree needs no merging and the memory goes back
 * in one step. Nodes keep the first eight bytes of each row's order beside the
 * pointers, so that most comparisons touch no row.
 *
 * Needs:    storage/store.h (struct row), raft/base/arena.h.
 * Used by:  storage/state.c.
 * Threads:  one owner; reading from two threads is fine while nobody writes.
 */
#ifndef KV_STORAGE_DELTA_H
#define KV_STORAGE_DELTA_H

#include "storage/store.h"

struct delta_node;

/* Rows of the delta, as delta_find() and cursors show them. */
struct delta_row {
    struct row row;    /* Key and value lie in the delta's arena. */
    uint64_t hash;     /* row_hash(); 0 for a tombstone. */
    size_t value_room; /* Bytes there for the value: an overwrite reuses them. */
};

struct delta {
    struct arena arena;      /* Nodes, rows, keys, values. */
    struct delta_node *root; /* NULL while empty. */
    size_t rows_count;       /* Tombstones included. */
};

/* A place between rows; delta_cursor_row() gives the row behind it. Any change of the
 * delta ends it. */
struct delta_cursor {
    const struct delta_node *leaf; /* NULL at the end. */
    uint32_t at;                   /* Of the row in the leaf. */
};

/* ---- life ---- */

/* Prepares an empty delta. bytes_max caps its memory (0: none). Cannot fail. */
void delta_init(struct delta *d, size_t bytes_max);

/* Frees everything. */
void delta_close(struct delta *d);

/* Drops all rows; keeps a block of memory for what comes next. */
void delta_reset(struct delta *d);

/* ---- work ---- */

/* Inserts or overwrites (kind, key) with a copy of `r`; `hash` is its row_hash().
 * r's views may point into this delta. Returns 0 or KV_ENOMEM (nothing changed). */
KV_MUST_CHECK int delta_put(struct delta *d, const struct row *r, uint64_t hash);

/* Finds a row, tombstones included; NULL when there is none. */
const struct delta_row *delta_find(const struct delta *d, uint8_t kind,
                                   struct kv_bytes key);

/* ---- walking ---- */

/* The first row at or behind (kind, key); the empty key is before all of its kind. */
struct delta_cursor delta_seek(const struct delta *d, uint8_t kind,
                               struct kv_bytes key);

/* The row behind the cursor; NULL at the end. */
const struct delta_row *delta_cursor_row(const struct delta_cursor *c);

/* Steps over it. Needs delta_cursor_row() != NULL. */
void delta_cursor_next(struct delta_cursor *c);

/* Makes an array of all rows, ascending, in the delta's own memory.
 * Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int delta_rows(struct delta *d, const struct row **out_rows);

/* ---- looking in ---- */

/* Bytes in use: keys, values, nodes. */
static inline size_t delta_bytes(const struct delta *d)
{
    return d->arena.used_bytes;
}

#endif
