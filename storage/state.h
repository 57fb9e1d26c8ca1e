/* storage/state.h - one group's state: an ordered delta in memory over the store.
 *
 * Applied entries change the active delta; reads look into the active delta, then
 * the frozen one, then the store, all three at one applied index. A checkpoint
 * freezes the delta, a thread writes it with its applied index and state hash in one
 * transaction, and then it is dropped. So no random write waits for a sync, and
 * overwrites coalesce.
 *
 * Needs:    storage/store.h, storage/delta.h.
 * Used by:  server/apply.c, server/group.c, tests, tests/sim.
 * Threads:  loop thread; a frozen delta's rows may be read by the checkpoint thread
 *           between state_freeze() and state_checkpointed().
 */
#ifndef KV_STORAGE_STATE_H
#define KV_STORAGE_STATE_H

#include "storage/store.h"

struct state; /* Opaque. */

/* ---- life ---- */

/* Opens the state of `group` over `s` [borrowed until state_close].
 * delta_bytes_max  bound of each delta (keys, values and overhead).
 * Returns 0, KV_ENOMEM, or what state_load returns. */
KV_MUST_CHECK int state_open(struct store *s, group_id group, size_t delta_bytes_max,
                             struct state **out);
void state_close(struct state *st);

/* ---- rows ---- */

/* Finds a row. The result is a view: into a delta (valid until the next change of
 * this state) or into `arena`. 0, KV_ENOTFOUND, KV_EDAMAGED, KV_ENOMEM. */
KV_MUST_CHECK int state_get(struct state *st, uint8_t kind, struct kv_bytes key,
                            struct arena *arena, struct row *out);

/* Up to rows_max live rows with begin <= key < end (empty end: none), ascending, and
 * at most about bytes_max bytes (at least one row). Copies into `arena`.
 * *out_more: there are more rows in the range. */
KV_MUST_CHECK int state_range(struct state *st, uint8_t kind, struct kv_bytes begin,
                              struct kv_bytes end, uint32_t rows_max, size_t bytes_max,
                              struct arena *arena, struct row **out_rows,
                              uint32_t *out_count, bool *out_more);

/* Inserts or replaces a row (copied); keeps the state hash, counts and sizes.
 * 0, KV_EDAMAGED (the old row), KV_ENOMEM. */
KV_MUST_CHECK int state_put(struct state *st, const struct row *r);

/* Deletes a row; *out_existed tells whether there was one. Errors as state_put. */
KV_MUST_CHECK int state_del(struct state *st, uint8_t kind, struct kv_bytes key,
                            bool *out_existed);

/* Has each row of one kind shown that is about to change: as it is (NULL: there is
 * none) and as it will be (`deleted`: not any more). Views for the length of the call;
 * the observer must not touch the state. NULL: nobody looks. Installed rows
 * (state_reload()) are not shown. */
struct state_observer {
    void (*changing)(void *ctx, const struct row *before, const struct row *after);
    void *ctx;
    uint8_t kind; /* Of the rows that are shown. */
};
void state_observe(struct state *st, const struct state_observer *observer);

/* ---- where it stands ---- */

/* Moves the applied position; config and config_index change when config != NULL. */
void state_applied(struct state *st, const struct raft_base *applied,
                   const struct raft_config *config, raft_index config_index);

/* Applied position, hash, counts, as of now (deltas included). */
const struct state_meta *state_meta_get(const struct state *st);

/* Applied position of the last checkpoint. */
const struct raft_base *state_checkpoint_base(const struct state *st);

/* True when applying more must wait: the active delta is full, the frozen in use. */
bool state_full(const struct state *st);

/* Bytes in the active delta. */
size_t state_delta_bytes(const struct state *st);

/* ---- checkpoints ---- */

/* What the checkpoint thread gets; valid until state_checkpointed(). */
struct state_frozen {
    struct state_meta meta;
    const struct row *rows; /* Ascending, tombstones included. */
    size_t rows_count;
};

/* Freezes the active delta. Needs that none is frozen. 0 or KV_ENOMEM (unchanged).
 * The caller has made sure that the log holds all of it durably and committed. */
KV_MUST_CHECK int state_freeze(struct state *st, struct state_frozen *out);

/* The frozen delta is on disk (ok) and is dropped; or it is not, and stays frozen so
 * that the same checkpoint can be tried again. */
void state_checkpointed(struct state *st, bool ok);

/* A snapshot was installed in the store: forgets both deltas and reads the meta
 * anew. No checkpoint may be under way. Errors as state_open. */
KV_MUST_CHECK int state_reload(struct state *st);

#endif
