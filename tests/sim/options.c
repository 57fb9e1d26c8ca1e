/* tests/sim/options.c - the command line of kvsim, there and back. */
#include "tests/sim/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/bug.h"
#include "tests/sim/kinds.h"

/* ---- faults by name ---- */

static const struct strength {
    const char *field;
    size_t at;
} strengths[] = {
#define OPTIONS_NEMESIS(name, begin) {#name, offsetof(struct sim_strengths, name)},
    SIM_NEMESIS_MAP(OPTIONS_NEMESIS)
#undef OPTIONS_NEMESIS
#define OPTIONS_STRENGTH(name) {#name, offsetof(struct sim_strengths, name)},
        SIM_STRENGTH_MAP(OPTIONS_STRENGTH)
#undef OPTIONS_STRENGTH
};

/* "crash_every_ms" is the fault "crash", "loss_ppm" is "loss". */
static size_t name_length(const char *field)
{
    static const char *const tails[] = {"_every_ms", "_ppm", "_ms"};
    size_t len = strlen(field);

    for (size_t i = 0; i < KV_ARRAY_COUNT(tails); i++) {
        size_t tail = strlen(tails[i]);

        if (len > tail && strcmp(field + len - tail, tails[i]) == 0) {
            return len - tail;
        }
    }
    return len;
}

static bool same_name(uint32_t a, uint32_t b)
{
    size_t len = name_length(strengths[a].field);

    return name_length(strengths[b].field) == len &&
           memcmp(strengths[a].field, strengths[b].field, len) == 0;
}

uint64_t options_fault_bit(uint32_t number)
{
    uint32_t first = 0;

    while (!same_name(first, number)) {
        first++;
    }
    KV_ASSERT(first < 64);
    return (uint64_t)1 << first;
}

const char *options_fault_name(uint32_t number)
{
    return number < KV_ARRAY_COUNT(strengths) ? strengths[number].field : NULL;
}

static uint32_t *strength_of(struct sim_swarm *w, uint32_t number)
{
    return (uint32_t *)(void *)((uint8_t *)&w->f + strengths[number].at);
}

bool options_fault_is_on(const struct sim_swarm *w, uint32_t number)
{
    return *(const uint32_t *)(const void *)((const uint8_t *)&w->f +
                                             strengths[number].at) != 0;
}

void options_apply(const struct sim_options *o, struct sim_swarm *w)
{
    for (uint32_t i = 0; i < KV_ARRAY_COUNT(strengths); i++) {
        if ((o->without & options_fault_bit(i)) != 0) {
            *strength_of(w, i) = 0;
        }
    }
}

static uint64_t faults_all(void)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < KV_ARRAY_COUNT(strengths); i++) {
        all |= options_fault_bit(i);
    }
    return all;
}

/* "crash,loss" or "all": their bits. False: one is not known. */
static bool faults_named(const char *list, uint64_t *out)
{
    *out = 0;
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        bool known = false;

        for (uint32_t i = 0; i < KV_ARRAY_COUNT(strengths); i++) {
            const char *field = strengths[i].field;

            if ((name_length(field) == len && memcmp(field, list, len) == 0) ||
                (len == 3 && memcmp(list, "all", 3) == 0)) {
                *out |= options_fault_bit(i);
                known = true;
            }
        }
        if (!known) {
            return false;
        }
        list += len + (list[len] == ',');
    }
    return true;
}

/* The same with kinds of clients. */
static bool kinds_named(const char *list, uint32_t *out)
{
    *out = 0;
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        uint32_t i = 0;

        while (kinds_name(i) != NULL && (strlen(kinds_name(i)) != len ||
                                         memcmp(kinds_name(i), list, len) != 0)) {
            i++;
        }
        if (kinds_name(i) == NULL) {
            return false;
        }
        *out |= 1u << i;
        list += len + (list[len] == ',');
    }
    return *out != 0;
}

/* ---- numbers ---- */

static bool number(const char *text, const char **out_end, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    *out_end = end;
    return errno == 0 && end != text && text[0] != '-';
}

static bool whole(const char *text, uint64_t least, uint64_t most, uint32_t *out)
{
    const char *end;
    uint64_t v;

    if (!number(text, &end, &v) || *end != '\0' || v < least || v > most) {
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

/* "60s", "60", "1500ms" */
static bool duration(const char *text, uint32_t *out_ms)
{
    const char *end;
    uint64_t v;

    if (!number(text, &end, &v) || v > 4000000) {
        return false;
    }
    if (strcmp(end, "ms") != 0) {
        if (strcmp(end, "s") != 0 && *end != '\0') {
            return false;
        }
        v *= 1000;
    }
    *out_ms = (uint32_t)v;
    return v >= 1 && v <= 100000000;
}

/* "3", "3..9"; of a list "3,7..9" the first item. */
static bool range(const char **text, uint64_t *first, uint64_t *last)
{
    const char *end;

    if (!number(*text, &end, first)) {
        return false;
    }
    *last = *first;
    if (strncmp(end, "..", 2) == 0 && !number(end + 2, &end, last)) {
        return false;
    }
    *text = end;
    return *first <= *last;
}

static bool skips(const char *list, struct sim_options *o)
{
    while (*list != '\0') {
        uint64_t first, last;

        if (!range(&list, &first, &last) || last >= OPTIONS_SKIP_MAX ||
            (*list != ',' && *list != '\0')) {
            return false;
        }
        for (uint64_t i = first; i <= last; i++) {
            options_skip(o, i, true);
        }
        list += *list == ',';
    }
    return true;
}

/* ---- the command line ---- */

static void usage(FILE *out)
{
    fputs("kvsim - a whole cluster in one process, from one seed\n"
          "\n"
          "  kvsim --seeds 1..1000 --time 60s     run many seeds, print what happened\n"
          "  kvsim --seed 42 --trace              tell the story of one\n"
          "  kvsim --seed 42 --shrink             look for a smaller run that fails\n"
          "\n"
          "  --jobs N            processes at a time (1); 0: run in this one\n"
          "  --coverage FILE     how often each thing happened, tab separated\n"
          "  --heartbeats        tell of heartbeats, too\n"
          "  --twice             run each seed twice and compare (else one in 100)\n"
          "  --quiet             no table of what happened\n"
          "  --store lmdb        the real stores on a simulated disk\n"
          "  --keep              leave their folders behind\n"
          "Instead of drawing it from the seed:\n"
          "  --nodes --groups --replicas --clients --keys --ops (per second)  N\n"
          "  --kinds A,B         kinds of clients: plain, once, bank\n"
          "  --only A,B          no other faults than these\n"
          "  --without A,B       faults that are off; all, or of:",
          out);
    for (uint32_t i = 0; i < KV_ARRAY_COUNT(strengths); i++) {
        fprintf(out, "%s%.*s", i % 8 == 0 ? "\n                      " : " ",
                (int)name_length(strengths[i].field), strengths[i].field);
    }
    fputs("\n"
          "  --skip 3,7..9       faults that do not happen, by number\n"
          "Exit status: 0 all seeds passed, 1 a seed failed, 2 usage.\n",
          out);
}

enum option_code {
    OPT_SEED = 256,
    OPT_TIME,
    OPT_NODES,
    OPT_GROUPS,
    OPT_REPLICAS,
    OPT_CLIENTS,
    OPT_KEYS,
    OPT_OPS,
    OPT_KINDS,
    OPT_WITHOUT,
    OPT_ONLY,
    OPT_SKIP,
    OPT_TRACE,
    OPT_HEARTBEATS,
    OPT_JOBS,
    OPT_COVERAGE,
    OPT_TWICE,
    OPT_SHRINK,
    OPT_QUIET,
    OPT_STORE,
    OPT_KEEP,
    OPT_BUG,
};

static bool option(int code, const char *arg, struct sim_command *c)
{
    const uint64_t all = faults_all();
    struct sim_swarm *f = &c->run.fixed;
    uint64_t named;

    switch ((enum option_code)code) {
    case OPT_SEED:
        return range(&arg, &c->first, &c->last) && *arg == '\0';
    case OPT_TIME:
        return duration(arg, &c->run.time_ms);
    case OPT_NODES:
        return whole(arg, 1, SIM_NODES_MAX, &f->nodes);
    case OPT_GROUPS:
        return whole(arg, 1, SIM_GROUPS_MAX - 1, &f->groups);
    case OPT_REPLICAS:
        return whole(arg, 1, SIM_NODES_MAX, &f->replicas);
    case OPT_CLIENTS:
        return whole(arg, 1, SIM_CLIENTS_MAX, &f->clients);
    case OPT_KEYS:
        return whole(arg, 1, SIM_KEYS_MAX, &f->keys);
    case OPT_OPS:
        return whole(arg, 1, 100000, &f->ops_per_s);
    case OPT_KINDS:
        return kinds_named(arg, &f->kinds);
    case OPT_WITHOUT:
    case OPT_ONLY:
        if (!faults_named(arg, &named)) {
            return false;
        }
        c->run.without |= code == OPT_ONLY ? ~named & all : named;
        return true;
    case OPT_SKIP:
        return skips(arg, &c->run);
    case OPT_TRACE:
        return c->run.trace = true;
    case OPT_HEARTBEATS:
        return c->run.heartbeats = true;
    case OPT_JOBS:
        return whole(arg, 0, 256, &c->jobs);
    case OPT_COVERAGE:
        c->coverage = arg;
        return true;
    case OPT_TWICE:
        return c->twice = true;
    case OPT_SHRINK:
        return c->shrink = true;
    case OPT_QUIET:
        return c->quiet = true;
    case OPT_STORE:
        f->lmdb = strcmp(arg, "lmdb") == 0;
        return f->lmdb || strcmp(arg, "memory") == 0;
    case OPT_KEEP:
        return f->keep = true;
    case OPT_BUG:
        f->bug = bug_find(arg);
        return f->bug != 0;
    }
    return false;
}

int options_parse(int argc, char **argv, struct sim_command *out)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, OPT_SEED},
        {"seeds", required_argument, NULL, OPT_SEED},
        {"time", required_argument, NULL, OPT_TIME},
        {"nodes", required_argument, NULL, OPT_NODES},
        {"groups", required_argument, NULL, OPT_GROUPS},
        {"replicas", required_argument, NULL, OPT_REPLICAS},
        {"clients", required_argument, NULL, OPT_CLIENTS},
        {"keys", required_argument, NULL, OPT_KEYS},
        {"ops", required_argument, NULL, OPT_OPS},
        {"kinds", required_argument, NULL, OPT_KINDS},
        {"without", required_argument, NULL, OPT_WITHOUT},
        {"only", required_argument, NULL, OPT_ONLY},
        {"skip", required_argument, NULL, OPT_SKIP},
        {"trace", no_argument, NULL, OPT_TRACE},
        {"heartbeats", no_argument, NULL, OPT_HEARTBEATS},
        {"jobs", required_argument, NULL, OPT_JOBS},
        {"coverage", required_argument, NULL, OPT_COVERAGE},
        {"twice", no_argument, NULL, OPT_TWICE},
        {"shrink", no_argument, NULL, OPT_SHRINK},
        {"store", required_argument, NULL, OPT_STORE},
        {"keep", no_argument, NULL, OPT_KEEP},
        {"quiet", no_argument, NULL, OPT_QUIET},
#ifdef KV_MUTANTS
        {"bug", required_argument, NULL, OPT_BUG}, /* B05: raft/base/bug.h */
#endif
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int code;

    *out = (struct sim_command){.run = {.time_ms = 20000, .program = argv[0]},
                                .first = 1,
                                .last = 1,
                                .jobs = 1};
    while ((code = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (code == 'h') {
            usage(stdout);
            return 1;
        }
        if (!option(code, optarg, out)) {
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

/* ---- and back ---- */

static void print_fixed(const char *name, uint32_t value, FILE *out)
{
    if (value != 0) {
        fprintf(out, " --%s %u", name, value);
    }
}

static void print_names(uint64_t bits, FILE *out)
{
    const char *separator = "";

    for (uint32_t i = 0; i < KV_ARRAY_COUNT(strengths); i++) {
        uint64_t bit = options_fault_bit(i);

        if ((bits & bit) != 0) {
            fprintf(out, "%s%.*s", separator, (int)name_length(strengths[i].field),
                    strengths[i].field);
            separator = ",";
            bits &= ~bit;
        }
    }
}

/* What is off, or what is left, whichever is less to read. */
static void print_without(const struct sim_options *o, FILE *out)
{
    const uint64_t all = faults_all();

    if (o->without == 0) {
        return;
    }
    if (o->without == all) {
        fputs(" --without all", out);
    } else if ((uint32_t)__builtin_popcountll(o->without) * 2 >
               (uint32_t)__builtin_popcountll(all)) {
        fputs(" --only ", out);
        print_names(all & ~o->without, out);
    } else {
        fputs(" --without ", out);
        print_names(o->without, out);
    }
}

void options_print(const struct sim_options *o, FILE *out)
{
    const char *separator = " --skip ";

    if (o->time_ms % 1000 == 0) {
        fprintf(out, " --time %us", o->time_ms / 1000);
    } else {
        fprintf(out, " --time %ums", o->time_ms);
    }
    print_fixed("nodes", o->fixed.nodes, out);
    print_fixed("groups", o->fixed.groups, out);
    print_fixed("replicas", o->fixed.replicas, out);
    print_fixed("clients", o->fixed.clients, out);
    print_fixed("keys", o->fixed.keys, out);
    print_fixed("ops", o->fixed.ops_per_s, out);
    for (uint32_t i = 0; kinds_name(i) != NULL; i++) {
        if ((o->fixed.kinds >> i & 1) != 0) {
            fprintf(out, "%s%s",
                    (o->fixed.kinds & ((1u << i) - 1)) == 0 ? " --kinds " : ",",
                    kinds_name(i));
        }
    }
    fputs(o->fixed.lmdb ? " --store lmdb" : "", out);
    if (o->fixed.bug != 0) {
        fprintf(out, " --bug %s", bug_name(o->fixed.bug));
    }
    print_without(o, out);
    for (uint64_t i = 1; i < OPTIONS_SKIP_MAX; i++) {
        uint64_t last = i;

        if (!options_skips(o, i)) {
            continue;
        }
        while (options_skips(o, last + 1)) {
            last++;
        }
        fprintf(out, last == i ? "%s%" PRIu64 : "%s%" PRIu64 "..%" PRIu64, separator, i,
                last);
        separator = ",";
        i = last;
    }
}
