/* tests/sim/options.h - how to run a seed, as a command line says it and repeats it.
 *
 * Whatever narrows a run down can be said on the command line, so that a failure
 * prints the command that repeats it, and --shrink one that is smaller.
 *
 * Needs:    tests/sim/sim.h.
 * Used by:  tests/sim/main.c, run.c, report.c, jobs.c, shrink.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_OPTIONS_H
#define KV_TESTS_SIM_OPTIONS_H

#include <stdio.h>

#include "tests/sim/sim.h"

enum {
    OPTIONS_SKIP_MAX = 4096, /* Faults that can be left out by number. */
};

/* How to run a seed. */
struct sim_options {
    uint32_t time_ms;       /* Of faults. */
    struct sim_swarm fixed; /* What is not 0 stands in for what the seed draws. */
    uint64_t without;       /* Bits: strengths that are off, options_fault_name(). */
    uint8_t skip[OPTIONS_SKIP_MAX / 8]; /* Bits: faults by number, from 1. */
    bool trace, heartbeats;
    bool silent;         /* No report of a failure. */
    const char *program; /* For the command that repeats it; NULL: build/kvsim. */
};

/* The whole command. */
struct sim_command {
    struct sim_options run;
    uint64_t first, last; /* Seeds. */
    uint32_t jobs;        /* Processes; 0: in this one. */
    bool quiet, shrink, twice;
    const char *coverage; /* File, or NULL. */
};

/* Returns 0; 1: all is said, exit with 0; 2: wrong usage, said on stderr. */
int options_parse(int argc, char **argv, struct sim_command *out);
/* Writes " --time 7s --without crash,loss": what differs from a plain run. */
void options_print(const struct sim_options *o, FILE *out);

/* Faults that can be switched off, numbered from 0; NULL behind the last. Several
 * strengths of a fault share its name: all of them are meant. */
const char *options_fault_name(uint32_t number);
/* Its bit in `without`. */
uint64_t options_fault_bit(uint32_t number);
bool options_fault_is_on(const struct sim_swarm *w, uint32_t number);
/* Switches off what the options leave out. */
void options_apply(const struct sim_options *o, struct sim_swarm *w);

static inline bool options_skips(const struct sim_options *o, uint64_t fault)
{
    return fault < OPTIONS_SKIP_MAX && ((o->skip[fault / 8] >> (fault % 8)) & 1) != 0;
}
static inline void options_skip(struct sim_options *o, uint64_t fault, bool on)
{
    uint8_t bit = (uint8_t)(1u << (fault % 8));

    if (fault < OPTIONS_SKIP_MAX) {
        o->skip[fault / 8] =
            (uint8_t)(on ? o->skip[fault / 8] | bit : o->skip[fault / 8] & ~bit);
    }
}

#endif
