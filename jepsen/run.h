/* jepsen/run.h - one run: a cluster, clients, faults, and what was seen of them.
 *
 * Phases, each with its end in run_times:
 *
 *   clean ──► faults ──► heal ──► quiet ──► drain ──► final ──► over
 *
 * Clients work from clean to quiet; a nemesis does one step after the other in the
 * second, on a thread of libuv's pool, for its verbs block. Then everything is healed,
 * clients go on for a moment, end what is under way, and do the final reads.
 *
 * Needs:    jepsen/worker.h, options.h, env/cluster.h, nemesis/nemesis.h; libuv.
 * Used by:  jepsen/main.c, judge.c, store.c, report/.
 * Threads:  the main thread; nothing else may run when run_cluster() is called.
 */
#ifndef KV_JEPSEN_RUN_H
#define KV_JEPSEN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "jepsen/env/cluster.h"
#include "jepsen/history.h"
#include "jepsen/nemesis/nemesis.h"
#include "jepsen/options.h"
#include "jepsen/verdict.h"
#include "jepsen/worker.h"

enum {
    RUN_FAULTS_MAX = 4096, /* More are in the history, but not in the report. */
    RUN_VERDICTS_MAX = 24,
};

/* One fault from its beginning to its end; times since the run began. */
struct run_fault {
    char kind[32];    /* Name of the nemesis: "partition". */
    char value[160];  /* What was asked, ":bridge", and what was done. */
    char why[160];    /* When it was not effective: what its probe saw. */
    uint32_t number;  /* The nemesis' own. */
    bool effective;   /* Its probe saw it. */
    bool ended;       /* Else it lasted until all was healed. */
    int64_t begin_ns; /* Its first step was begun. */
    int64_t begun_ns; /* ... and was done, the probe included. */
    int64_t end_ns;   /* The step that ends it was begun. */
    int64_t ended_ns; /* ... and was done. */
    /* Until each lane had a write again that began after the fault did, the worst
     * lane; -1: that never happened before the fault ended. */
    double recover_ms;
    double recover_end_ms; /* The same from the end of the fault on. */
};

/* When phases ended, since the run began. 0: never. */
struct run_times {
    int64_t clean_ns, faults_ns, heal_ns, quiet_ns, drain_ns, final_ns;
};

/* What happened within one second. */
struct run_second {
    uint32_t ok, fail, info;
};

struct run {
    const struct options *o; /* Borrowed. */
    const struct workload *workload;
    char dir[CLUSTER_PATH_BYTES]; /* Of this run, in the store. */
    char begun[32];               /* Local time, the name of that folder. */
    char command[1024];           /* Repeats it. */
    char env[16];                 /* "netns", "veth" or "proxy". */
    struct history history;
    struct workers_count count; /* Final reads included. */
    uint64_t ok_by_f[HISTORY_F_COUNT];
    uint32_t final_failed; /* Nodes with a final read that never succeeded, a mask. */
    char bad[256];         /* First answer that made no sense; "" none. */
    struct run_fault *faults; /* [RUN_FAULTS_MAX] */
    uint32_t faults_count;
    struct nemesis_summary nemesis;
    uint32_t damaged; /* Nodes that were damaged on purpose, a mask. */
    bool healed;      /* All nodes were ready again at the end. */
    char heal_why[NEMESIS_WHY_BYTES];
    struct run_times times;
    struct run_second *seconds; /* [seconds_count] */
    uint32_t seconds_count, seconds_cap;
    double clean_rate; /* Known completions per second before the first fault. */
    struct cluster_node_info nodes[CLUSTER_NODES_MAX];
    uint32_t stops_late; /* Nodes that SIGTERM did not end in time, a mask. */
    struct verdict verdicts[RUN_VERDICTS_MAX];
    uint32_t verdicts_count;
    enum verdict_valid valid; /* The worst of them. */
    bool interrupted;
    char error[512]; /* Why the harness failed; "" it did not. */
};

/* ---- life ---- */

/* Prepares a run by options that options_finish() accepted. 0, KV_ENOMEM, KV_EINVAL
 * (no such workload; `error` of the run). */
KV_MUST_CHECK int run_open(struct run *r, const struct options *o);
void run_close(struct run *r);

/* ---- work ---- */

/* Starts the cluster, lets clients and nemesis work, does the final reads, compares
 * states, stops the cluster. Adds the verdicts on what only a living cluster shows.
 * Returns 0; KV_EIO: the harness could not do its work, the reason is in `error`. */
KV_MUST_CHECK int run_cluster(struct run *r);

/* A fresh verdict of the run; when there are too many, the last one again. */
struct verdict *run_verdict(struct run *r, const char *checker);

/* Computes when each fault was recovered from, out of history and faults. */
void run_recoveries(struct run *r);

#endif
