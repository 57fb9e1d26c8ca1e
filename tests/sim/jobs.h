/* tests/sim/jobs.h - seeds in processes of their own, so that a crash is one failure.
 *
 * Each process runs seeds in memory that it shares with the parent: when it dies of an
 * assertion or takes too long, the parent still sees which seed it was and what its
 * nodes did last.
 *
 * Needs:    tests/sim/options.h.
 * Used by:  tests/sim/main.c, shrink.c.
 * Threads:  one per process.
 */
#ifndef KV_TESTS_SIM_JOBS_H
#define KV_TESTS_SIM_JOBS_H

#include "tests/sim/options.h"

enum {
    JOBS_SEED_REAL_S = 300, /* A seed that takes longer hangs. */
};

struct jobs_total {
    uint64_t seeds, failed, compared;
    uint64_t sim_us;
    struct sim_counts counts;
    struct sim_cover cover;
};

/* Runs the seeds of the command; reports failures as they come. */
void jobs_run(const struct sim_command *c, struct jobs_total *out);
/* Runs one seed in a process of its own, without a report. A death of the process
 * counts as a violation of 18. */
void jobs_try(uint64_t seed, const struct sim_options *o, struct sim_result *out);

#endif
