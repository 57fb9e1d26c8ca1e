/* tests/sim/mutants_main.c - kvmutants: does a simulator notice each planted bug?
 *
 * Reads the table of bugs (tests/sim/mutants.tsv). For each that the simulators are to
 * find it runs seeds in a child process until one fails, several times from different
 * first seeds, and prints a row of the table in tests/sim/MUTANTS.md. Without a bug the
 * same seeds must all pass. Builds with MODE=mutants only.
 */
#include "tests/lib/fault_interpose.h" /* First: tests/sim/store_lmdb.h. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raft/base/arena.h"
#include "tests/lib/bug.h"
#include "tests/sim/options.h"

enum {
    RUNS_MAX = 32,
    LINE_BYTES = 1024,
    CAUSE_BYTES = 100,
    HANG_S = 20, /* A seed that takes so long hangs. */
};

struct options {
    const char *table, *core;
    const char *only; /* One bug; NULL: all. */
    uint32_t runs, seeds, time_s;
    uint64_t first;
    bool tap; /* Print that instead of a table. */
};

/* One row of the table; the fields point into its line. */
struct mutant {
    char line[LINE_BYTES];
    char *name, *bench, *where;
};

/* What became of one bug. */
struct verdict {
    uint32_t killed;
    uint64_t seeds[RUNS_MAX]; /* Needed, of the runs that killed it; ascending. */
    char cause[RUNS_MAX][CAUSE_BYTES];
};

/* A seed of the core's test costs a tenth of one of kvsim: it gets more of them. */
static uint32_t seeds_of(const struct options *o, const char *bench)
{
    return strcmp(bench, "core") == 0 ? 10 * o->seeds : o->seeds;
}

/* ---- one run, in a child ---- */

/* Shared with the child, which may die at any time. */
static struct shared {
    uint64_t seed; /* Under way. */
    enum judge_number violated;
} * shared;

static void run_kvsim(const struct options *o, uint32_t bug, uint64_t first,
                      uint64_t end)
{
    const struct sim_options how = {
        .time_ms = o->time_s * 1000, .fixed = {.bug = bug}, .silent = true};
    struct sim_result result;

    for (uint64_t seed = first; seed < end; seed++) {
        struct sim *s = kv_mem_zalloc(sizeof *s);

        KV_ASSERT(s != NULL);
        shared->seed = seed;
        alarm(HANG_S);
        if (!sim_run(s, seed, &how, &result)) {
            shared->violated = result.violated;
            _exit(1);
        }
        kv_mem_free(s);
    }
    _exit(0);
}

static void run_core(const struct options *o, const char *name, uint64_t first,
                     uint64_t end)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, first);
    setenv("SEED", text, 1);
    snprintf(text, sizeof text, "%" PRIu64, end - first);
    setenv("SEEDS", text, 1);
    setenv("KV_BUG", name, 1);
    alarm(10 * HANG_S);
    execl(o->core, o->core, (char *)NULL);
    fprintf(stderr, "%s: %s\n", o->core, strerror(errno));
    _exit(127);
}

/* The tests of the paper's rules, beside the core's; nothing in them is random. */
static void run_paper(const struct options *o, const char *name)
{
    const char *slash = strrchr(o->core, '/');
    int folder = slash == NULL ? 0 : (int)(slash + 1 - o->core);
    char path[LINE_BYTES];

    snprintf(path, sizeof path, "%.*stest_paper", folder, o->core);
    setenv("KV_BUG", name, 1);
    alarm(10 * HANG_S);
    execl(path, path, (char *)NULL);
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

/* Says why the child failed; for the core's test finds the seed in what it printed. */
static void cause_find(FILE *printed, int status, char *cause)
{
    char line[LINE_BYTES];

    if (shared->violated != JUDGE_NOTHING) {
        snprintf(cause, CAUSE_BYTES, "%d %s", (int)shared->violated,
                 judge_name(shared->violated));
        return;
    }
    snprintf(cause, CAUSE_BYTES, "%s",
             WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it hangs"
                                                                : "a test's assertion");
    rewind(printed);
    while (fgets(line, sizeof line, printed) != NULL) {
        static const char failed[] = "[  FAILED  ] ";
        const char *test = strstr(line, failed);
        const char *at = strstr(line, "ASSERTION failed: ");
        const char *file = at == NULL ? NULL : strrchr(at, '(');
        const char *seed = strrchr(line, '\r');

        if (test != NULL) { /* Of cmocka: its name. */
            snprintf(cause, CAUSE_BYTES, "%.*s", (int)strcspn(test, "\n") - 13,
                     test + sizeof failed - 1);
            return;
        }
        if (seed != NULL && strncmp(seed, "\rseed ", 6) == 0) {
            shared->seed = strtoull(seed + 6, NULL, 10);
        }
        if (file != NULL) {
            snprintf(cause, CAUSE_BYTES, "assertion, %.*s", (int)strcspn(file + 1, ":"),
                     file + 1);
            return;
        }
    }
}

/* Runs seeds [first, end) with a bug until one fails. Returns that seed; 0: none. */
static uint64_t run_range(const struct options *o, const struct mutant *m,
                          uint64_t first, uint64_t end, char *cause)
{
    FILE *printed = tmpfile();
    int status = 0;
    pid_t child;

    KV_ASSERT(printed != NULL);
    fflush(stdout);
    *shared = (struct shared){.seed = first};
    child = fork();
    KV_ASSERT(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &none);
        dup2(fileno(printed), STDOUT_FILENO);
        dup2(fileno(printed), STDERR_FILENO);
        if (strcmp(m->bench, "core") == 0) {
            run_core(o, m->name, first, end);
        } else if (strcmp(m->bench, "paper") == 0) {
            run_paper(o, m->name);
        } else {
            run_kvsim(o, bug_find(m->name), first, end);
        }
    }
    KV_ASSERT(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        fclose(printed);
        return 0;
    }
    cause_find(printed, status, cause);
    fclose(printed);
    return shared->seed;
}

/* The same, but a seed that fails without the bug, too, says nothing. Returns how many
 * seeds were needed; 0: it survives. */
static uint64_t run_once(const struct options *o, const struct mutant *m,
                         uint64_t first, char *cause)
{
    uint64_t end = first + seeds_of(o, m->bench);
    struct mutant none = *m;
    char ignored[CAUSE_BYTES];
    uint64_t at = first, seed;

    none.name = (char *)(uintptr_t) "none";
    while (at < end) {
        seed = run_range(o, m, at, end, cause);
        if (seed == 0 || run_range(o, &none, seed, seed + 1, ignored) == 0) {
            return seed == 0 ? 0 : seed - first + 1;
        }
        at = seed + 1;
    }
    return 0;
}

/* ---- one bug ---- */

static void verdict_add(struct verdict *v, uint64_t seeds, const char *cause)
{
    uint32_t at = v->killed;

    while (at > 0 && v->seeds[at - 1] > seeds) {
        v->seeds[at] = v->seeds[at - 1];
        at--;
    }
    v->seeds[at] = seeds;
    snprintf(v->cause[v->killed], CAUSE_BYTES, "%s", cause);
    v->killed++;
}

/* What killed it most often. */
static const char *verdict_cause(const struct verdict *v)
{
    uint32_t best = 0, best_count = 0;

    for (uint32_t i = 0; i < v->killed; i++) {
        uint32_t count = 0;

        for (uint32_t k = 0; k < v->killed; k++) {
            count += strcmp(v->cause[i], v->cause[k]) == 0;
        }
        if (count > best_count) {
            best = i;
            best_count = count;
        }
    }
    return v->cause[best];
}

static void verdict_print(const struct options *o, const struct mutant *m,
                          const struct verdict *v, uint32_t row)
{
    const char *what = bug_what(bug_find(m->name));
    const char *cause = v->killed > 0 ? verdict_cause(v) : "";
    bool killed = v->killed == o->runs;

    if (o->tap) {
        printf("%sok %" PRIu32 " - %s %s: killed in %" PRIu32 " of %" PRIu32
               " runs: %s\n",
               killed ? "" : "not ", row, m->name, what, v->killed, o->runs, cause);
    } else if (killed) {
        printf("| %s | %s | %s | %s | %" PRIu64 " | %" PRIu64 " |\n", m->name, what,
               m->bench, cause, v->seeds[v->killed / 2], v->seeds[v->killed - 1]);
    } else {
        printf("| %s | %s | %s | **survives** %" PRIu32 " of %" PRIu32
               " runs; %s | | |\n",
               m->name, what, m->bench, o->runs - v->killed, o->runs, cause);
    }
}

/* Runs one bug and prints its row; false when it survives. */
static bool try_bug(const struct options *o, const struct mutant *m, uint32_t row)
{
    struct verdict v = {0};
    uint32_t bug = bug_find(m->name);
    char cause[CAUSE_BYTES];

    if (bug == 0) {
        fprintf(stderr, "kvmutants: %s is not in this build\n", m->name);
        return false;
    }
    for (uint32_t run = 0; run < o->runs; run++) {
        uint64_t first = o->first + (uint64_t)run * seeds_of(o, m->bench);
        uint64_t seeds = run_once(o, m, first, cause);

        if (seeds != 0) {
            verdict_add(&v, seeds, cause);
        }
    }
    verdict_print(o, m, &v, row);
    return v.killed == o->runs;
}

/* The same seeds without a bug: a simulator that fails anyway kills everything. */
static bool try_none(const struct options *o, const char *bench)
{
    struct mutant m = {.name = (char *)(uintptr_t) "none"};
    uint64_t count = seeds_of(o, bench), end = o->first + o->runs * count;
    uint64_t at = o->first;
    bool ok = true;

    m.bench = (char *)(uintptr_t)bench;
    while (at < end) {
        char cause[CAUSE_BYTES];
        uint64_t seed = run_range(o, &m, at, end, cause);

        if (seed == 0) {
            break;
        }
        printf("%swithout a bug, seed %" PRIu64 " of %s fails: %s\n",
               o->tap ? "not ok 1 - " : "", seed, bench, cause);
        ok = false;
        at = seed + 1;
    }
    return ok;
}

/* ---- the table ---- */

/* Splits a row at tabs. False: a comment or an empty line. */
static bool mutant_read(struct mutant *m, FILE *in, bool *out_end)
{
    char *tab;

    *out_end = fgets(m->line, sizeof m->line, in) == NULL;
    if (*out_end || m->line[0] == '#' || m->line[0] == '\n') {
        return false;
    }
    m->line[strcspn(m->line, "\n")] = '\0';
    m->name = m->line;
    tab = strchr(m->name, '\t');
    if (tab == NULL) {
        return false;
    }
    *tab = '\0';
    m->bench = tab + 1;
    tab = strchr(m->bench, '\t');
    m->where = tab == NULL ? m->bench + strlen(m->bench) : tab + 1;
    if (tab != NULL) {
        *tab = '\0';
    }
    return true;
}

static bool is_run(const struct mutant *m)
{
    return strcmp(m->bench, "kvsim") == 0 || strcmp(m->bench, "core") == 0 ||
           strcmp(m->bench, "paper") == 0;
}

static int run_table(const struct options *o)
{
    FILE *in = fopen(o->table, "r");
    uint32_t tried = 0, killed = 0, open = 0;
    struct mutant m;
    bool end = false;

    if (in == NULL) {
        fprintf(stderr, "kvmutants: %s: %s\n", o->table, strerror(errno));
        return 2;
    }
    if (!o->tap) {
        puts("| bug | what is broken | looked for by | killed by | seeds, median "
             "| maximum |\n|---|---|---|---|---|---|");
    }
    while (!end) {
        bool is_row = mutant_read(&m, in, &end);

        open += is_row && strcmp(m.bench, "open") == 0;
        if (!is_row || !(is_run(&m) || (o->only != NULL && bug_find(m.name) != 0)) ||
            (o->only != NULL && strcmp(o->only, m.name) != 0)) {
            continue;
        }
        tried++;
        killed += try_bug(o, &m, tried + 1);
    }
    fclose(in);
    printf("%s%" PRIu32 " of %" PRIu32 " bugs killed in each of %" PRIu32
           " runs of at most %" PRIu32 " seeds; %" PRIu32 " more are open\n",
           o->tap ? "# " : "\n", killed, tried, o->runs, o->seeds, open);
    if (o->tap) {
        printf("1..%" PRIu32 "\n", tried + 1);
    }
    return killed == tried && tried > 0 ? 0 : 1;
}

/* ---- the command ---- */

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && (*end == '\0' || strcmp(end, "s") == 0) &&
           *out >= min && *out <= max;
}

static bool option(int c, const char *arg, struct options *o, bool *out_control)
{
    uint64_t v = 0;

    switch (c) {
    case 'r':
        if (!number(arg, 1, RUNS_MAX, &v)) {
            return false;
        }
        o->runs = (uint32_t)v;
        return true;
    case 's':
        if (!number(arg, 1, 1000, &v)) {
            return false;
        }
        o->seeds = (uint32_t)v;
        return true;
    case 't':
        if (!number(arg, 1, 1000, &v)) {
            return false;
        }
        o->time_s = (uint32_t)v;
        return true;
    case 'f':
        return number(arg, 1, UINT32_MAX, &o->first);
    case 'T':
        o->tap = true;
        return true;
    case 'b':
        o->only = arg;
        *out_control = false;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"runs", required_argument, NULL, 'r'},
        {"seeds", required_argument, NULL, 's'},
        {"time", required_argument, NULL, 't'},
        {"first", required_argument, NULL, 'f'},
        {"bug", required_argument, NULL, 'b'},
        {"tap", no_argument, NULL, 'T'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.runs = 5, .seeds = 1000, .time_s = 20, .first = 1};
    bool control = true, sound = true;
    int c, rc;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (!option(c, optarg, &o, &control)) {
            fputs("kvmutants: bad option or value\n", stderr);
            return 2;
        }
    }
    if (argc - optind != 2) {
        fputs(
            "usage: kvmutants [--runs 5] [--seeds 1000] [--time 20s] [--first 1] "
            "[--bug B05] [--tap] "
            "tests/sim/mutants.tsv PATH/tests/raft/test_random\n"
            "Exit status: 0 all killed, 1 one survived or no bug was needed, 2 usage\n",
            stderr);
        return 2;
    }
    o.table = argv[optind];
    o.core = argv[optind + 1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KV_ASSERT(shared != MAP_FAILED);
    if (control) {
        sound = try_none(&o, "kvsim");
        sound = try_none(&o, "core") && sound;
        sound = try_none(&o, "paper") && sound;
    }
    if (o.tap && sound) {
        puts("ok 1 - without a bug the same seeds pass");
    }
    rc = run_table(&o);
    return sound ? rc : 1;
}
