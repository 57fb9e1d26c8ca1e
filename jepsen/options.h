/* jepsen/options.h - the command line of kvjepsen.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/main.c, run.c, report/.
 * Threads:  any, one at a time.
 */
#ifndef KV_JEPSEN_OPTIONS_H
#define KV_JEPSEN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"

enum {
    OPTIONS_ARGS_MAX = 64, /* Words of --kvd-args. */
};

struct options {
    /* What is tested. */
    const char *workload;
    const char *nemesis;
    uint32_t nodes;
    uint32_t groups;
    uint32_t replicas; /* 0: as many as nodes. */
    const char *env;   /* "auto", "netns", "veth", "proxy" */
    const char *kvd;   /* Program; NULL: beside this one. */
    const char *kvd_args;
    /* How much. */
    uint32_t time_s;      /* Clean phase and faults together. */
    uint32_t clean_s;     /* Before the first fault. */
    uint32_t quiet_s;     /* Clients go on so long after all is healed. */
    uint32_t interval_s;  /* Length of a period of the nemesis. */
    uint32_t period_ms;   /* The same; 0: interval_s says it. */
    uint32_t fault_ms;    /* A fault begins with its period and lasts so long; 0: both
                           * are drawn. */
    uint32_t rate;        /* Operations per second. */
    uint32_t rate_min;    /* Fewer before the first fault: unknown. */
    uint32_t concurrency; /* Workers; 0: 2 * nodes * keys. */
    uint32_t keys;        /* Worked on at once. */
    uint32_t ops_per_key;
    uint32_t deadline_ms;
    const char *read_level; /* NULL: the workload's. */
    uint64_t seed;          /* 0: drawn. */
    /* Where it goes. */
    const char *store;
    const char *name; /* NULL: WORKLOAD-NEMESIS. */
    bool keep_data;
    bool bare_disk; /* Without the disk layer. */
    bool quiet;     /* No status lines. */
    /* Not from the command line: derived by options_finish(). */
    char name_text[128];
    char args_text[1024];
    char replicas_text[16];
    const char *args[OPTIONS_ARGS_MAX]; /* For kvd, NULL-terminated. */
};

/* Fills in the defaults. */
void options_init(struct options *o);

/* Reads "--name value" pairs; `argv` is borrowed for as long as `o` lives. `error`
 * says what is wrong. Returns 0 or KV_EINVAL. */
KV_MUST_CHECK int options_parse(struct options *o, int argc, char **argv, char *error,
                                size_t error_bytes);

/* Checks the values against each other and derives what was not given; the seed must
 * be set. Returns 0 or KV_EINVAL. */
KV_MUST_CHECK int options_finish(struct options *o, char *error, size_t error_bytes);

/* The number of the level that --read-level names, as in enum kv_level; below 0: it was
 * not given, or is none. */
int options_level(const struct options *o);

/* Writes the table of options to standard output. */
void options_help(void);

/* Writes the command that repeats the run. */
void options_command(const struct options *o, char *out, size_t bytes);

#endif
