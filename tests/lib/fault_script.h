/* tests/lib/fault_script.h - a fixed row of verbs, and one source for its snapshot.
 *
 * Every verb of the store that writes, in an order that makes sense, always the same:
 * so that a failure at the nth call means the same thing in each run. Steps read what
 * they need from the store, so a step that failed can be made again.
 *
 * Needs:    tests/lib/mem_store.h, store_model.h.
 * Used by:  tests/storage/test_fault.c, test_damage.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_FAULT_SCRIPT_H
#define KV_TESTS_LIB_FAULT_SCRIPT_H

#include "storage/store.h"

enum {
    SCRIPT_GROUP = 3, /* Gets the snapshot. */
    SCRIPT_ROWS = 40, /* Of the snapshot. */
    SCRIPT_STEPS_MAX = 64,
};

struct fault_script {
    struct mem_store *source_disk; /* Where the snapshot comes from. */
    struct raft_snapshot snapshot;
    uint32_t steps; /* How many there are. */
};

void fault_script_open(struct fault_script *f);
void fault_script_close(struct fault_script *f);

/* Name of a step, for messages. */
const char *fault_script_name(const struct fault_script *f, uint32_t step);

/* Does step number `step` [0, steps); returns the verb's code. */
int fault_script_step(const struct fault_script *f, struct store *s, uint32_t step);

/* Checkpoints `rows` small rows of a group at its entry `index`; "key-0000" and so on,
 * every fourth is deleted, every fifth of kind ROW_META. */
int fault_script_fill(struct store *s, group_id group, raft_index index, uint32_t rows);

#endif
