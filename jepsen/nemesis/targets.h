/* jepsen/nemesis/targets.h - which nodes, and who shall not hear whom. Pure.
 *
 * Needs:    jepsen/env/faults.h, raft/base/prng.h.
 * Used by:  the other files of jepsen/nemesis.
 * Threads:  any.
 */
#ifndef KV_JEPSEN_NEMESIS_TARGETS_H
#define KV_JEPSEN_NEMESIS_TARGETS_H

#include "jepsen/env/faults.h"
#include "raft/base/prng.h"

/* Words for sets of nodes: one minority minority-third majority all. */
#define TARGETS_NODES "one minority majority all"

/* Draws `count` different ones of n nodes. */
uint32_t targets_draw(struct prng *p, uint32_t n, uint32_t count);

/* Draws the nodes that a word means; 0 for a word that means none ("leaders"). */
uint32_t targets_nodes(struct prng *p, uint32_t n, const char *word);

uint32_t targets_count(uint32_t mask);

/* One node of a mask that is not empty. */
uint32_t targets_any(struct prng *p, uint32_t mask);

/* Which half of a cut. */
enum targets_way {
    TARGETS_BOTH,
    TARGETS_IN,  /* The drawn side does not hear; it is heard. */
    TARGETS_OUT, /* It hears, and is not heard. */
};

/* Draws the grudge of a shape: one, minority-third, halves, majority (a majority on
 * one side, the rest on the other), majorities-ring (each sees a majority, no two the
 * same), bridge (halves that only one node sees both of), leaders (each of `leaders`).
 * One-way halves of a ring or bridge are drawn per pair. Clients are cut from nobody.
 * False: no such shape, or it needs more nodes. */
bool targets_grudge(struct prng *p, uint32_t n, const char *shape, enum targets_way way,
                    uint32_t leaders, struct fault_grudge *out);

/* Does the grudge cut what `from` sends to `to` (nodes)? */
bool targets_cuts(const struct fault_grudge *g, uint32_t from, uint32_t to);

#endif
