/* tests/lib/mem_store.h - the whole store in memory, with crashes and faults on demand.
 *
 * Keeps storage/store.h's contract without a disk, deterministic and fast. One object
 * is one disk: it survives a simulated crash; store->ops->close() only ends the use of
 * it. What a verb wrote is durable when the verb returns, unless mem_store_hold() says
 * that the harness decides: then each writing verb stays undoable, and
 * mem_store_crash() undoes the newest ones, as if the crash had come before they were
 * done. A commit is always whole: that is what the real store promises, and what its
 * crash tests check.
 *
 * It is stricter than the real store: a caller who breaks the contract (a gap in the
 * log, a checkpoint ahead of the log) meets an assertion.
 *
 * Needs:    storage/.
 * Used by:  tests/storage, tests/server, tests/sim.
 * Threads:  any; one lock around every verb. The functions here: no verb may be
 * running.
 */
#ifndef KV_TESTS_LIB_MEM_STORE_H
#define KV_TESTS_LIB_MEM_STORE_H

#include "storage/store.h"

struct mem_store; /* Opaque. */

/* ---- life ---- */

/* Makes an empty disk and opens it: a new directory with this incarnation (not 0),
 * boots 1. Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int mem_store_new(uint64_t incarnation, struct mem_store **out);
void mem_store_free(struct mem_store *m);

/* The store to hand to the code under test; lives as long as `m`. */
struct store *mem_store_base(struct mem_store *m);

/* What store_open() does with an existing directory, in a process that starts: counts
 * the boot, finishes an interrupted log reset. Also ends all faults that were asked
 * for. Returns 0, KV_ELOST, KV_EDAMAGED. */
KV_MUST_CHECK int mem_store_reopen(struct mem_store *m);

/* ---- crashes ---- */

/* The two environments, each of which commits on its own. */
enum mem_env {
    MEM_LOG,   /* log_write, log_repair, identity_save */
    MEM_STATE, /* checkpoint, install, mark_clear, chunk_store */
};

/* From now on writing verbs stay undoable until mem_store_sync(). Turning it off
 * syncs. */
void mem_store_hold(struct mem_store *m, bool hold);

/* Everything written so far is durable. */
void mem_store_sync(struct mem_store *m);

/* Verbs of this environment since the last sync. */
uint32_t mem_store_pending(const struct mem_store *m, enum mem_env env);

/* The process dies: the newest lose_log and lose_state undoable verbs never happened,
 * the rest is durable. Call mem_store_reopen() next. */
void mem_store_crash(struct mem_store *m, uint32_t lose_log, uint32_t lose_state);

/* ---- faults ---- */

/* The nth writing verb from now (1: the next) returns `code`, once. KV_ENOSPACE changes
 * nothing. After another code the verb's effect is there when `done`, else not: the
 * real store does not know either. n = 0 forgets it. */
void mem_store_fail(struct mem_store *m, uint32_t nth, int code, bool done);

/* While full, every writing verb that may not use the reserve returns KV_ENOSPACE: a
 * log_write with a write that is not urgent, chunk_store, snapshot_make, install. */
void mem_store_full(struct mem_store *m, bool full);

/* As full, and the reserve is used up: every writing verb returns KV_ENOSPACE until
 * mem_store_full(false). */
void mem_store_full_to_the_brim(struct mem_store *m);

/* The nth reading verb from now misreads what lies there well, once: KV_EDAMAGED;
 * snapshot_read: KV_EIO. n = 0 forgets it. */
void mem_store_misread(struct mem_store *m, uint32_t nth);
bool mem_store_will_misread(const struct mem_store *m);

/* While it is on, a test looks on by the reading verbs: they meet no misreads. */
void mem_store_observe(struct mem_store *m, bool on);

/* How many verbs met one of these faults so far. */
uint64_t mem_store_faults_met(const struct mem_store *m);

/* Flips bit `bit` (modulo its size) of the entry at `index`, as it lies there.
 * False when there is none. */
bool mem_store_flip_entry(struct mem_store *m, group_id group, raft_index index,
                          uint64_t bit);

/* The same for a row of the checkpointed state. */
bool mem_store_flip_row(struct mem_store *m, group_id group, uint8_t kind,
                        struct kv_bytes key, uint64_t bit);

/* Flips a bit of an entry or a row that `chance` picks. False when there is none. */
bool mem_store_flip_any_entry(struct mem_store *m, group_id group, uint64_t chance,
                              raft_index *out_index);
bool mem_store_flip_any_row(struct mem_store *m, group_id group, uint64_t chance);

/* Flips a bit of the snapshot file made last, or of the one being received. */
bool mem_store_flip_file(struct mem_store *m, group_id group, bool received,
                         uint64_t chance);

/* No entry, row or hard state of the group is damaged. Reads all of it. */
bool mem_store_is_whole(struct mem_store *m, group_id group);

/* Damages term and vote of a group: log_load returns KV_EDAMAGED. */
void mem_store_flip_hard(struct mem_store *m, group_id group);

/* The disk was replaced by an empty one: a new directory, with another incarnation. */
void mem_store_wipe(struct mem_store *m, uint64_t incarnation);

#endif
