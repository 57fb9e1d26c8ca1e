/* tests/sim/truth.h - what each revision changed, as the first replica to apply it saw.
 *
 * Whatever a watch tells is compared with this. It is the nodes' own history
 * (server/history.h), taken before anything is sent, so it is checked in turn:
 * all replicas have the same changes at a revision; the value before each change is
 * the value after the last one of its key; and the last ones are what the states hold
 * in the end. So a change that histories lack, or invent, is found with the next one
 * of its key.
 *
 * Needs:    tests/sim/peace.h, server/history.h.
 * Used by:  tests/sim/world.c, watcher.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_TRUTH_H
#define KV_TESTS_SIM_TRUTH_H

#include "raft/base/bytes.h"
#include "tests/sim/peace.h"
#include "tests/sim/sim.h"

/* Takes in what this node has applied since the last look: before it sends to clients,
 * and at the end of its turns. Nothing, where the seed has no watchers. */
void truth_look(struct sim *s, uint32_t node);

/* The changes of a revision, for history_take(); empty: it changed no keys. False: no
 * node has shown it. */
bool truth_find(const struct sim *s, uint32_t group, uint64_t rev,
                struct kv_bytes *out);

/* At peace: do the changes follow one from another, and lead to what is there? */
void truth_check(struct sim *s, const struct peace *p);

void truth_close(struct sim *s);

#endif
