/* jepsen/status.h - do all replicas hold the same state? Asked of the living nodes.
 *
 * Needs:    jepsen/run.h, env/cluster.h; jansson.
 * Used by:  jepsen/run.c.
 * Threads:  blocks; when no clients work any more.
 */
#ifndef KV_JEPSEN_STATUS_H
#define KV_JEPSEN_STATUS_H

#include <stdint.h>

#include "jepsen/env/cluster.h"
#include "jepsen/verdict.h"

struct run;

/* One replica's state, as its node tells it. */
struct status_state {
    uint32_t group; /* 0 is meta. */
    uint32_t node;
    uint64_t index; /* Last entry that it contains. */
    char hash[17];  /* 16 hexadecimal digits. */
};

/* Reads the states out of a node's /v1/status.
 * out [out, cap]. Returns how many there are (more than cap are left out), or KV_EPROTO
 * when the text is none of kvd's. */
KV_MUST_CHECK int status_parse(const char *text, uint32_t node,
                               struct status_state *out, uint32_t cap);

/* Compares the states of all nodes. Fills v: invalid where two replicas differ at one
 * index; unknown, with *out_same false, where one is behind another. */
void status_judge(const struct status_state *states, uint32_t count, struct verdict *v,
                  bool *out_same);

/* Asks all nodes that should be up until their states are equal, at most `ms`; adds the
 * run's verdict "state": invalid when they differ, or when a replica stays behind. */
void status_compare(struct run *r, struct cluster *c, uint32_t ms);

#endif
