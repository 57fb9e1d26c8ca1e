/* tests/sim/peace.h - liveness: the faults end for a core, and it must work.
 *
 * In half of the seeds that damaged no disk the core is a random quorum of the nodes,
 * and the others are dead or cut off for ever; else it is everybody. Within a bound
 * each group whose quorums lie in the core must have a leader that the core knows, must
 * commit new entries that are written through the core, and all its replicas in the
 * core must have applied the same; no request may wait anywhere.
 *
 * Needs:    tests/sim/sim.h.
 * Used by:  tests/sim/run.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_PEACE_H
#define KV_TESTS_SIM_PEACE_H

#include "tests/sim/sim.h"

enum {
    PEACE_LIMIT_MS = 30000,
    PEACE_STEP_MS = 100,   /* Between two looks. */
    PEACE_WORSE_MS = 5000, /* How long the faults may go on for a worse moment. */
};

struct peace {
    bool core[SIM_NODES_MAX + 1]; /* By node. */
    bool probed[SIM_GROUPS_MAX];  /* A new write of this group was answered. */
    bool partial;                 /* Not everybody is in the core. */
    char why[256];                /* What is still missing. */
};

/* No fault of this seed harms what is on a disk. Else a group may need the very disk
 * that was harmed: then everybody has to be there. */
bool peace_disks_are_whole(const struct sim *s);
/* Would the faults end at a bad moment: might a core be chosen that is hard to
 * reconcile, since it lacks who was between its longest log and its newest term? */
bool peace_is_hard(struct sim *s);
/* Ends the faults and chooses the core. */
void peace_begin(struct sim *s, struct peace *p);
/* Must this group work again? By every configuration that a replica in the core goes
 * by, and its disks. */
bool peace_lives(const struct sim *s, const struct peace *p, uint32_t group);
/* Has the replica of a running node a whole state and log? */
bool peace_can_tell(const struct sim *s, uint32_t node, uint32_t group);
/* Asks for what was not yet written; true when all is well. */
bool peace_reached(struct sim *s, struct peace *p);

#endif
