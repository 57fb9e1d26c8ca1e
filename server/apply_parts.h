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

/* ---- server/apply_delrange.c ---- */

/* Carries out a KV_DELRANGE: deletes the first keys of the range that the group has.
 * out->number says how many, out->more that there are others, out->next (in `keep`)
 * where. Returns as apply_entry(). */
KV_MUST_CHECK int apply_delrange(struct apply *a, const struct command *c,
                                 struct arena *keep, struct apply_result *out);

/* A step that was done before comes again: sets out->more and out->next only, as they
 * are now. */
KV_MUST_CHECK int apply_delrange_next(struct apply *a, const struct command *c,
                                      struct arena *keep, struct apply_result *out);

/* ---- server/apply_ttl.c ---- */

/* When a key that is written with this time to live (0: none) ends. */
struct ttl apply_ttl_of(const struct apply *a, uint32_t ttl_ms, uint64_t rev,
                        uint16_t ordinal);

/* Every change of a client's key goes through these: its time to live ends to count,
 * or is the new one. Return what apply_entry() returns for rows. */
KV_MUST_CHECK int apply_key_put(struct apply *a, const struct row *row,
                                const struct ttl *t);
KV_MUST_CHECK int apply_key_del(struct apply *a, struct kv_bytes key,
                                bool *out_existed);

/* Carries out an EXPIRE: deletes keys whose time ended at the entry's or before, those
 * that ended first, as many as it names or 1 MiB. */
KV_MUST_CHECK int apply_ttl_expire(struct apply *a, const struct command *c);

#endif
