/* server/apply_parts.h - what the files of the state machine share. Private to them.
 *
 * Needs:    server/apply.h.
 * Used by:  server/apply*.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_APPLY_PARTS_H
#define KV_SERVER_APPLY_PARTS_H

#include "server/apply.h"

/* ---- server/apply_txn.c ---- */

/* Carries out a KV_TXN: all of its operations, or none. Returns and fills *out as
 * apply_entry(); out->rev is set. */
KV_MUST_CHECK int apply_txn(struct apply *a, const struct command *c,
                            struct arena *keep, struct apply_result *out);

#endif
