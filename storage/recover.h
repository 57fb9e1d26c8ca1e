/* storage/recover.h - what to do at open with a group's log and state.
 *
 * The two lie in different environments, so a crash may leave one ahead of the other,
 * but only in ways that are known: the log ahead of the state (always), the state ahead
 * of the log between switching a snapshot in and resetting the log (the mark says so).
 * Anything else means that a part of the directory was lost or replaced.
 *
 * Needs:    storage/store.h.
 * Used by:  storage/lmdb_store.c, tests/lib/mem_store.c.
 * Threads:  the one that opens, before any other uses the store.
 */
#ifndef KV_STORAGE_RECOVER_H
#define KV_STORAGE_RECOVER_H

#include "storage/store.h"

/* Checks that log and state of `group` belong together; finishes a log reset that an
 * installed snapshot left undone, and clears the mark.
 * out_reason  a static text for KV_ELOST.
 * Returns 0, KV_ELOST, or what the store's verbs return. */
KV_MUST_CHECK int recover_group(struct store *s, group_id group,
                                const char **out_reason);

#endif
