/* storage/lmdb_page.h - is a leaf page of LMDB well formed?
 *
 * Our checksums cover rows, not the page around them. A bit in the page's list of rows
 * can hide rows, or bring up what lies behind them: a remnant, or another page's older
 * row with a right checksum. A well-formed leaf leaves no room for that: its rows fill
 * the space between `upper` and the page's end exactly, each once. This reads LMDB
 * 0.9's page format (data version 1), which mdb.c defines and which files of that
 * version have had since 2013:
 *
 *   0  u64  page number        10  u16  flags (2: leaf)    12  u16  lower
 *   8  u16  padding            14  u16  upper              16  u16  offset of each row
 *   a row, at an even offset: u32 data bytes (as two u16), u16 flags (1: data lies on
 *   pages of its own, here only their u64 number), u16 key bytes, key, data
 *
 * Needs:    lmdb.
 * Used by:  storage/lmdb_*.c.
 * Threads:  any, inside a transaction.
 */
#ifndef KV_STORAGE_LMDB_PAGE_H
#define KV_STORAGE_LMDB_PAGE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>

/* Checks the leaf page that holds these bytes: a key that a cursor returned, or a value
 * for which lmdb_page_is_inline(). */
bool lmdb_page_leaf_ok(const void *inside);

/* Does a value of this size lie beside its key? */
bool lmdb_page_is_inline(size_t key_bytes, size_t value_bytes);

#endif
