/* tests/sim/main.c - kvsim: runs seeds, prints what happened, says how to repeat. */
#include "tests/lib/fault_interpose.h" /* First: the simulated disk of --store lmdb. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/sim.h"

struct options {
    uint64_t first, last;
    uint32_t time_s;
    struct sim_swarm fixed;
    bool trace, quiet;
};

static void usage(FILE *out)
{
    fputs(
        "kvsim - a whole cluster in one process, from one seed\n"
        "\n"
        "  kvsim --seeds 1..1000 --time 60s     run many seeds\n"
        "  kvsim --seed 42 --trace              tell the story of one\n"
        "\n"
        "  --nodes N  --groups N  --replicas N  instead of drawing them from the seed\n"
        "  --store lmdb                         the real stores on a simulated disk\n"
        "  --keep                               leave their folders behind\n"
        "  --quiet                              no table of what happened\n"
        "Exit status: 0 all seeds passed, 1 a seed failed, 2 usage.\n",
        out);
}

/* Reads a whole non-negative number with at most one letter behind it. */
static bool number(const char *text, char suffix, uint64_t *out)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || text[0] == '-') {
        return false;
    }
    if (*end == suffix && suffix != '\0') {
        end++;
    }
    *out = v;
    return *end == '\0';
}

static bool seeds(const char *text, struct options *o)
{
    const char *dots = strstr(text, "..");
    char first[32];

    if (dots == NULL) {
        o->last = o->first;
        return number(text, '\0', &o->first) && number(text, '\0', &o->last);
    }
    if ((size_t)(dots - text) >= sizeof first) {
        return false;
    }
    snprintf(first, sizeof first, "%.*s", (int)(dots - text), text);
    return number(first, '\0', &o->first) && number(dots + 2, '\0', &o->last) &&
           o->first <= o->last;
}

static bool option(int c, const char *arg, struct options *o)
{
    uint64_t v = 0;

    switch (c) {
    case 's':
        return seeds(arg, o);
    case 't':
        if (!number(arg, 's', &v) || v < 1 || v > 100000) {
            return false;
        }
        o->time_s = (uint32_t)v;
        return true;
    case 'n':
        o->fixed.nodes = number(arg, '\0', &v) ? (uint32_t)v : 0;
        return v >= 1 && v <= SIM_NODES_MAX;
    case 'g':
        o->fixed.groups = number(arg, '\0', &v) ? (uint32_t)v : 0;
        return v >= 1 && v < SIM_GROUPS_MAX;
    case 'r':
        o->fixed.replicas = number(arg, '\0', &v) ? (uint32_t)v : 0;
        return v >= 1 && v <= SIM_NODES_MAX;
    case 'T':
        o->trace = true;
        return true;
    case 'S':
        o->fixed.lmdb = strcmp(arg, "lmdb") == 0;
        return o->fixed.lmdb || strcmp(arg, "memory") == 0;
    case 'k':
        o->fixed.keep = true;
        return true;
    case 'q':
        o->quiet = true;
        return true;
    default:
        return false;
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 's'},
        {"time", required_argument, NULL, 't'},
        {"nodes", required_argument, NULL, 'n'},
        {"groups", required_argument, NULL, 'g'},
        {"replicas", required_argument, NULL, 'r'},
        {"store", required_argument, NULL, 'S'},
        {"keep", no_argument, NULL, 'k'},
        {"trace", no_argument, NULL, 'T'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            return 1;
        }
        if (!option(c, optarg, o)) {
            fprintf(stderr, "kvsim: bad option or value%s%s. Try: kvsim --help\n",
                    optarg == NULL ? "" : ": ", optarg == NULL ? "" : optarg);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "kvsim: unexpected argument: %s. Try: kvsim --help\n",
                argv[optind]);
        return 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1, .last = 1, .time_s = 20};
    struct sim_counts total = {0};
    uint64_t sim_us = 0, failed = 0, runs = 0;
    struct timespec begin, end;
    double real_s;
    int rc = parse(argc, argv, &o);

    if (rc != 0) {
        return rc == 1 ? 0 : rc;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint64_t seed = o.first; seed <= o.last; seed++, runs++) {
        failed += !sim_run(seed, o.time_s, &o.fixed, o.trace, &total, &sim_us);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    real_s = (double)(end.tv_sec - begin.tv_sec) +
             (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    if (!o.quiet) {
#define PRINT(name) printf("  %-18s %12" PRIu64 "\n", #name, total.name);
        SIM_COUNT_MAP(PRINT)
#undef PRINT
        fprintf(stderr, "%.0f simulated seconds in %.1f s: %.0f times real time\n",
                (double)sim_us / 1e6, real_s, (double)sim_us / 1e6 / (real_s + 1e-9));
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", runs, failed);
    return failed == 0 ? 0 : 1;
}
