/* tests/lib/store_model.h - a naive store that does what a real one does, by steps.
 *
 * Plain arrays, nothing clever: what it holds is right by inspection. model_step() does
 * one random verb on the model and on the store; model_check() compares all that can be
 * read. Log and state of a few groups, checkpoints and compaction through struct state.
 *
 * Needs:    storage/state.h.
 * Used by:  tests/storage.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_STORE_MODEL_H
#define KV_TESTS_LIB_STORE_MODEL_H

#include "raft/base/prng.h"
#include "storage/state.h"
#include "storage/store.h"

enum {
    MODEL_GROUPS = 3,
    MODEL_PRINT_GROUPS = 5,   /* Fingerprints cover two more, for what tests add. */
    MODEL_ENTRIES_MAX = 4096, /* Per group, compacted ones included. */
    MODEL_KEYS = 200,
};

struct model_entry {
    struct raft_entry entry; /* Payload owned. */
    struct kv_bytes record;  /* Owned. */
};

struct model_row {
    bool exists;
    uint16_t slot;
    uint64_t rev;
    uint32_t value_seed; /* The value's bytes and length follow from it. */
};

struct model_group {
    struct log_state head;
    struct model_entry
        *entries; /* entries[i] is index i + 1; those up to base are gone. */
    raft_index last;
    struct model_row now[MODEL_KEYS];  /* As applied. */
    struct model_row disk[MODEL_KEYS]; /* As of the last checkpoint. */
    struct state_meta disk_meta;
    struct model_row frozen[MODEL_KEYS];
    struct state_frozen frozen_state;
    bool is_frozen;
    struct state *state;
};

struct store_model {
    struct store *store; /* Borrowed. */
    struct prng prng;
    uint64_t time_ms;
    uint32_t value_bytes_max;
    uint32_t batch_max;
    struct model_group groups[MODEL_GROUPS];
};

/* ---- life ---- */

/* An empty model beside an empty store. */
void model_init(struct store_model *m, struct store *s, uint64_t seed);

/* Frees everything; the store is not closed. */
void model_close(struct store_model *m);

/* The store was closed and opened again: deltas in memory are gone. */
void model_reopened(struct store_model *m, struct store *s);

/* ---- work ---- */

/* One random verb on both; asserts that it succeeds. */
void model_step(struct store_model *m);

/* Compares everything that can be read; asserts equality. */
void model_check(struct store_model *m);

/* Appends `count` entries to the group, in model and store, in one commit. Returns the
 * store's code; the model changes only on 0. */
int model_append(struct store_model *m, group_id group, uint32_t count);

/* A hash of all that can be read of log or state of groups [0, MODEL_PRINT_GROUPS). */
uint64_t model_print_log(struct store *s);
uint64_t model_print_state(struct store *s);

/* ---- parts for other tests ---- */

/* Makes the entry that follows (prev) with a payload of random bytes; both out
 * values are owned by the caller (kv_mem_free of record.data). */
struct kv_bytes model_record(const struct raft_meta *prev, raft_term term,
                             uint64_t time_ms, uint32_t payload_bytes, uint64_t seed,
                             struct raft_meta *out);

#endif
