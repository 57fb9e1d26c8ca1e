/* jepsen/main.c - kvjepsen: runs a test, judges a stored history, cleans up.
 *
 * Exit status: 0 valid, 1 invalid, 2 unknown, 3 the harness failed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "jepsen/format/read.h"
#include "jepsen/judge.h"
#include "jepsen/report/report.h"
#include "jepsen/run.h"
#include "jepsen/store.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    EXIT_HARNESS = 3
};

static const int exit_of[] = {
    [VERDICT_VALID] = 0,
    [VERDICT_INVALID] = 1,
    [VERDICT_UNKNOWN] = 2,
};

static int usage(FILE *to)
{
    fputs("usage: kvjepsen [--workload W] [--nemesis N] [--time SECONDS] ...\n"
          "       kvjepsen list            workloads and nemeses\n"
          "       kvjepsen check FILE [--workload W]\n"
          "                                judge a stored history.edn again\n"
          "       kvjepsen index [STORE]   write STORE/index.html over all runs\n"
          "       kvjepsen help            all options\n"
          "exit status: 0 valid, 1 invalid, 2 unknown, 3 the harness failed\n",
          to);
    return EXIT_HARNESS;
}

static int list_all(void)
{
    const struct workload *w;
    const struct nemesis_kind *k;

    printf("workloads:\n");
    for (uint32_t i = 0; (w = workload_at(i)) != NULL; i++) {
        printf("  %-12s %s\n", w->name, w->what);
    }
    printf("nemeses (NAME, NAME:TARGET, several with commas):\n");
    for (uint32_t i = 0; (k = nemesis_kind(i)) != NULL; i++) {
        printf("  %-12s %s%s%s\n", k->name, k->help,
               k->targets[0] != '\0' ? "\n"
                                       "               targets: "
                                     : "",
               k->targets);
    }
    return 0;
}

/* ---- the verdict on one screen ---- */

static const char *verdict_word(enum verdict_valid valid)
{
    return valid == VERDICT_VALID     ? "VALID"
           : valid == VERDICT_UNKNOWN ? "UNKNOWN"
                                      : "INVALID";
}

static void print_verdicts(const struct run *r)
{
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        const struct verdict *v = &r->verdicts[i];

        printf("  %-10s %-8s", v->checker, verdict_name(v->valid));
        if (v->text[0] != '\0') {
            printf(" %.200s", v->text);
        } else {
            for (uint32_t j = 0; j < KV_MIN(v->facts_count, 5); j++) {
                printf(" %s=%.10g", v->facts[j].name, v->facts[j].value);
            }
        }
        printf("\n");
        for (uint32_t j = 1; j < KV_MIN(v->anomalies_count, 3); j++) {
            printf("  %-19s %.200s\n", "", v->anomalies[j].text);
        }
        if (v->anomalies_total > 3) {
            printf("  %-19s and %" PRIu64 " more\n", "", v->anomalies_total - 3);
        }
    }
}

/* The worst time to recover over all faults. */
static double worst_recovery(const struct run *r)
{
    double worst = 0;

    for (uint32_t i = 0; i < r->faults_count; i++) {
        const struct run_fault *f = &r->faults[i];
        double ms = f->recover_ms >= 0 ? f->recover_ms : f->recover_end_ms;

        worst = KV_MAX(worst, ms);
    }
    return worst;
}

static void print_run(const struct run *r)
{
    double seconds = (double)KV_MAX(r->times.quiet_ns, 1) / 1e9;
    uint64_t all = r->count.ok + r->count.fail + r->count.info;

    printf("\n%s  %s, %s, %u nodes (%s)\n", r->o->name, r->workload->name,
           r->o->nemesis, r->o->nodes, r->env);
    printf("  operations %" PRIu64 " (%.0f/s): ok %" PRIu64 ", fail %" PRIu64
           ", info %" PRIu64 "\n",
           all, (double)all / seconds, r->count.ok, r->count.fail, r->count.info);
    printf(
        "  faults     %u, of these %u seen by their probes; worst recovery %.0f ms\n",
        r->nemesis.begun, r->nemesis.effective, worst_recovery(r));
    print_verdicts(r);
    printf("  repeat     %s\n", r->command);
    printf("  report     %s/report.html\n", r->dir);
    printf("\n%s\n", verdict_word(r->valid));
}

/* ---- run ---- */

static int run_all(struct run *r)
{
    int rc = store_begin(r);

    if (rc == 0) {
        printf("%s\n", r->command);
        fflush(stdout);
        rc = run_cluster(r);
    }
    if (rc == 0) {
        judge_run(r);
        rc = store_write(r);
    }
    if (rc == 0) {
        rc = report_write(r);
    }
    if (rc == 0) {
        rc = report_index(r->o->store);
    }
    store_trim(r);
    if (rc != 0) {
        fprintf(stderr, "kvjepsen: %s\n",
                r->error[0] != '\0' ? r->error : kv_err_text(rc));
        return EXIT_HARNESS;
    }
    print_run(r);
    return exit_of[r->valid];
}

static int run_main(int argc, char **argv)
{
    struct run *r = kv_mem_zalloc(sizeof *r);
    struct options o;
    char error[256];
    int rc;

    options_init(&o);
    if (r == NULL || options_parse(&o, argc, argv, error, sizeof error) != 0) {
        goto usage;
    }
    if (o.seed == 0) {
        o.seed = (uv_hrtime() ^ (uint64_t)getpid() << 40) % UINT64_C(1000000000) + 1;
    }
    if (options_finish(&o, error, sizeof error) != 0) {
        goto usage;
    }
    rc = run_open(r, &o);
    if (rc != 0) {
        snprintf(error, sizeof error, "%.250s",
                 r->error[0] != '\0' ? r->error : kv_err_text(rc));
        goto usage;
    }
    rc = run_all(r);
    run_close(r);
    kv_mem_free(r);
    return rc;

usage:
    kv_mem_free(r);
    fprintf(stderr, "kvjepsen: %s; try `kvjepsen help`\n", error);
    return EXIT_HARNESS;
}

/* ---- check ---- */

/* What a run would have counted, out of the rows. */
static void count_rows(struct run *r)
{
    const struct history *h = &r->history;

    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        uint64_t second = (uint64_t)op->time_ns / 1000000000;
        bool has_room = second < r->seconds_cap;
        struct run_second *s = &r->seconds[has_room ? second : 0];

        if (op->process == HISTORY_NEMESIS || op->type == HISTORY_INVOKE) {
            continue;
        }
        r->count.ok += op->type == HISTORY_OK;
        r->count.fail += op->type == HISTORY_FAIL;
        r->count.info += op->type == HISTORY_INFO;
        if (has_room) {
            s->ok += op->type == HISTORY_OK;
            s->fail += op->type == HISTORY_FAIL;
            s->info += op->type == HISTORY_INFO;
            r->seconds_count = (uint32_t)second + 1;
        }
        r->times.quiet_ns = op->time_ns;
    }
}

/* Judges a file; writes it into a store where one was named. */
static int check_file(struct run *r, const char *path, bool stored)
{
    struct read_error error;
    int rc = read_history_file(path, r->workload->history, &r->history, &error);

    if (rc != 0) {
        fprintf(stderr, "kvjepsen: %s:%" PRIu64 ": %s\n", path, error.line, error.text);
        return EXIT_HARNESS;
    }
    count_rows(r);
    snprintf(r->env, sizeof r->env, "stored");
    judge_history(r);
    if (stored && (store_begin(r) != 0 || store_write(r) != 0 || report_write(r) != 0 ||
                   report_index(r->o->store) != 0)) {
        fprintf(stderr, "kvjepsen: %s\n", r->error);
        return EXIT_HARNESS;
    }
    printf("%s  %s\n", path, r->workload->name);
    print_verdicts(r);
    if (stored) {
        printf("  report     %s/report.html\n", r->dir);
    }
    printf("\n%s\n", verdict_word(r->valid));
    return exit_of[r->valid];
}

/* check FILE [--workload W] [--store DIR] [--name N] */
static int check_main(int argc, char **argv)
{
    struct run *r = kv_mem_zalloc(sizeof *r);
    struct options o;
    const char *usual;
    char error[256] = "check: which file?";
    int rc;

    options_init(&o);
    usual = o.store;
    if (r == NULL || argc < 1 ||
        options_parse(&o, argc - 1, argv + 1, error, sizeof error) != 0 ||
        options_finish(&o, error, sizeof error) != 0) {
        goto usage;
    }
    if (run_open(r, &o) != 0) {
        snprintf(error, sizeof error, "%.250s", r->error);
        goto usage;
    }
    rc = check_file(r, argv[0], o.store != usual);
    run_close(r);
    kv_mem_free(r);
    return rc;

usage:
    kv_mem_free(r);
    fprintf(stderr, "kvjepsen: %s\n", error);
    return EXIT_HARNESS;
}

int main(int argc, char **argv)
{
    /* As kv.h asks for a loop of one's own: a killed node must not end us. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const char *verb = argc > 1 ? argv[1] : "";

    sigaction(SIGPIPE, &ignore, NULL);
    if (strcmp(verb, "list") == 0) {
        return list_all();
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0) {
        usage(stdout);
        printf("options:\n");
        options_help();
        return 0;
    }
    if (strcmp(verb, "check") == 0) {
        return check_main(argc - 2, argv + 2);
    }
    if (strcmp(verb, "index") == 0) {
        struct options o;

        options_init(&o);
        return report_index(argc > 2 ? argv[2] : o.store) == 0 ? 0 : EXIT_HARNESS;
    }
    if (verb[0] != '\0' && verb[0] != '-') {
        return usage(stderr);
    }
    return run_main(argc - 1, argv + 1);
}
