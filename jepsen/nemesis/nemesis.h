/* jepsen/nemesis/nemesis.h - who breaks what and when, by a seed, and proves it.
 *
 * A nemesis is opened from a text such as "partition", "partition:bridge,kill:leaders"
 * or "swarm". It hands out steps in order of time; the runner waits until a step is
 * due, writes its row, carries it out, and writes the row of its outcome. Each step
 * that begins a fault ends with a probe: an outcome without effect says so, and a run
 * in which a nemesis had none is 'unknown'.
 *
 * The plan depends on text, seed and number of nodes only; `leaders` are looked up
 * when the step is carried out.
 *
 * Needs:    jepsen/env/cluster.h.
 * Used by:  jepsen/main, the run loop; tests/jepsen.
 * Threads:  one owner. nemesis_do() blocks, from milliseconds up to some seconds.
 */
#ifndef KV_JEPSEN_NEMESIS_NEMESIS_H
#define KV_JEPSEN_NEMESIS_NEMESIS_H

#include "jepsen/env/cluster.h"

enum {
    NEMESIS_VALUE_BYTES = 512,
    NEMESIS_WHY_BYTES = 256,
};

/* A row of the registry. */
struct nemesis_kind {
    const char *name;    /* "partition" */
    const char *targets; /* Words that may follow a colon: "one halves bridge ..." */
    const char *help;    /* One line. */
    bool needs_disk;     /* The disk layer (not bare_disk). */
    bool needs_shape;    /* Links that can be shaped: not veth. */
    bool in_swarm;       /* "swarm" draws it. */
};

struct nemesis_options {
    const char *text; /* NULL or "none": no faults. */
    uint64_t seed;
    uint32_t interval_ms; /* Length of a period; 0: 10,000. */
    uint32_t fault_ms;    /* Of each fault, from its period's start; 0: drawn. */
};

struct nemesis;

/* Something to do. The runner reads the first five fields only. */
struct nemesis_step {
    uint64_t at_ms;   /* Due, from the start of the faults on. */
    const char *f;    /* :f of the history's row: "start-partition", "kill" ... */
    const char *kind; /* Name in the registry; for shading in plots. */
    bool begins;      /* It begins a fault; false: it ends one. */
    char value[NEMESIS_VALUE_BYTES]; /* :value of the row before, as EDN. */
    uint32_t fault; /* Number of the fault, the same in its beginning and end. */
    uint32_t slot;  /* Ours: the fault's place in the table. */
};

/* What came of a step. */
struct nemesis_outcome {
    bool effective; /* The probe saw it. For an end: the fault is gone. */
    char value[NEMESIS_VALUE_BYTES]; /* :value of the row after, as EDN. */
    char why[NEMESIS_WHY_BYTES];     /* When not effective: what was seen; else "". */
    bool wrong; /* What was seen is the cluster's failure, not the nemesis': invalid. */
};

/* Sums over a run. */
struct nemesis_summary {
    uint32_t begun;     /* Faults begun. */
    uint32_t effective; /* Of these, proven by their probe. */
    uint32_t failed;    /* Steps without effect, endings included. */
    uint32_t kinds;     /* Kinds asked for, and of these, how many were never proven: */
    uint32_t kinds_unproven;
    uint32_t points; /* Different failpoints at which a node ended. */
    uint32_t wrongs; /* Outcomes that were wrong, and the first's why. */
    char wrong[NEMESIS_WHY_BYTES];
};

/* ---- registry ---- */

/* The kinds by number, NULL behind the last. */
const struct nemesis_kind *nemesis_kind(uint32_t i);

/* ---- life ---- */

/* Reads the text. `error` (CLUSTER_ERROR_BYTES) says what is wrong with it, or what
 * the cluster's environment lacks. 0, KV_EINVAL, KV_ENOMEM. */
KV_MUST_CHECK int nemesis_open(struct cluster *c, const struct nemesis_options *o,
                               struct nemesis **out_n, char *error);
void nemesis_close(struct nemesis *n);

/* ---- work ---- */

/* The next step; false when there will be none (nemesis "none"). */
bool nemesis_next(struct nemesis *n, struct nemesis_step *out);

/* Carries a step out, and probes. Never fails: what went wrong is in the outcome. */
void nemesis_do(struct nemesis *n, const struct nemesis_step *step,
                struct nemesis_outcome *out);

/* Ends everything: heals, starts what is down, and waits until the cluster is ready
 * (at most timeout_ms). The outcome's `effective` says whether it is. */
void nemesis_heal(struct nemesis *n, uint32_t timeout_ms, struct nemesis_outcome *out);

/* ---- looking in ---- */

void nemesis_summary(const struct nemesis *n, struct nemesis_summary *out);

/* Mask of nodes whose files were damaged or replaced on purpose: their logs may
 * complain, and they may have ended on their own. */
uint32_t nemesis_damaged(const struct nemesis *n);

#endif
