/* jepsen/judge.c - what a run has to show, and who judges what its clients saw. */
#include "jepsen/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/checker/append.h"
#include "jepsen/checker/bank.h"
#include "jepsen/checker/availability.h"
#include "jepsen/checker/counter.h"
#include "jepsen/checker/linear.h"
#include "jepsen/checker/once.h"
#include "jepsen/checker/replay.h"
#include "jepsen/checker/session.h"
#include "jepsen/checker/set.h"
#include "jepsen/checker/unique.h"
#include "jepsen/checker/watch.h"
#include "raft/base/arena.h"

enum {
    JUDGE_LINE_BYTES = 512
};

static void anomaly(struct verdict *v, const char *kind, const char *format, ...)
    KV_PRINTF(3, 4);
static void anomaly(struct verdict *v, const char *kind, const char *format, ...)
{
    struct verdict_anomaly a = {.key = 0};
    va_list args;

    snprintf(a.kind, sizeof a.kind, "%s", kind);
    va_start(args, format);
    vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    verdict_add(v, &a);
}

/* ---- what makes a run worth believing ---- */

static void judge_rate(struct run *r)
{
    struct verdict *v = run_verdict(r, "rate");

    verdict_fact(v, "ops_per_s", r->clean_rate);
    if (r->o->clean_s > 0 && r->clean_rate < r->o->rate_min) {
        verdict_doubt(v, "%.0f operations per second before the first fault, %u needed",
                      r->clean_rate, r->o->rate_min);
    }
}

static void judge_stats(struct run *r)
{
    struct verdict *v = run_verdict(r, "stats");
    const struct workload *w = r->workload;

    verdict_fact(v, "ok", (double)r->count.ok);
    verdict_fact(v, "fail", (double)r->count.fail);
    verdict_fact(v, "info", (double)r->count.info);
    for (uint32_t i = 0; i < w->fs_count; i++) {
        verdict_fact(v, history_f_name(w->fs[i]), (double)r->ok_by_f[w->fs[i]]);
        if (r->ok_by_f[w->fs[i]] == 0) {
            verdict_doubt(v, "no %s ever succeeded", history_f_name(w->fs[i]));
        }
    }
    if (r->bad[0] != '\0') {
        anomaly(v, "nonsense", "%s", r->bad);
    }
}

static void judge_nemesis(struct run *r)
{
    struct verdict *v = run_verdict(r, "nemesis");
    const struct nemesis_summary *s = &r->nemesis;
    bool wanted = strcmp(r->o->nemesis, "none") != 0;
    bool draws = strstr(r->o->nemesis, "swarm") != NULL;

    verdict_fact(v, "begun", s->begun);
    verdict_fact(v, "effective", s->effective);
    verdict_fact(v, "without_effect", s->failed);
    if (s->wrongs > 0) {
        anomaly(v, "not-refused", "%u times: %s", s->wrongs, s->wrong);
    }
    if (s->points > 0) {
        verdict_fact(v, "failpoints", s->points);
    }
    if (wanted && (s->begun == 0 || s->effective == 0)) {
        verdict_doubt(v, "no fault had an effect that its probe saw");
    }
    if (!draws && s->kinds_unproven > 0) { /* A swarm may not have drawn them. */
        verdict_doubt(v, "%u of %u kinds of faults never had an effect",
                      s->kinds_unproven, s->kinds);
    }
}

static void judge_availability(struct run *r)
{
    struct verdict *v = run_verdict(r, "availability");
    struct availability_fault *faults =
        kv_mem_zalloc((r->faults_count + 1) * sizeof *faults);
    size_t count = 0;

    if (faults == NULL) {
        verdict_doubt(v, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < r->faults_count; i++) {
        const struct run_fault *f = &r->faults[i];
        int64_t end_ns = f->ended ? f->end_ns : r->times.heal_ns;

        if (f->effective && end_ns > f->begin_ns) {
            faults[count++] = (struct availability_fault){f->kind, f->begin_ns, end_ns,
                                                          f->recover_ms};
        }
    }
    availability_check(&r->history, faults, count, v);
    kv_mem_free(faults);
}

/* ---- nodes ---- */

static void judge_nodes(struct run *r)
{
    struct verdict *v = run_verdict(r, "nodes");

    if (!r->healed) {
        anomaly(v, "not-healed", "the cluster is not ready after all was healed: %s",
                r->heal_why);
    }
    for (uint32_t i = 0; i < r->o->nodes; i++) {
        const struct cluster_node_info *n = &r->nodes[i];

        verdict_fact(v, "starts", n->starts);
        if (n->deaths > 0 && (r->damaged & CLUSTER_BIT(i + 1)) == 0) {
            anomaly(v, "died",
                    "node %u ended %u times although nobody asked, see its log", i + 1,
                    n->deaths);
        }
        if ((r->stops_late & CLUSTER_BIT(i + 1)) != 0) {
            anomaly(v, "no-end", "node %u did not end in time when SIGTERM asked it to",
                    i + 1);
        }
    }
    if ((r->final_failed & ~r->damaged) != 0) {
        for (uint32_t i = 1; i <= r->o->nodes; i++) {
            if ((r->final_failed & ~r->damaged & CLUSTER_BIT(i)) != 0) {
                anomaly(v, "no-final-read",
                        "a final read through node %u never succeeded, long after all "
                        "was healed",
                        i);
            }
        }
    }
}

/* Blanks the run's folder out: its name may be that of a nemesis. */
static void folder_blank(char *line, const char *log_path)
{
    const char *slash = strrchr(log_path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - log_path);

    for (char *p = line; len > 0 && *p != '\0'; p++) {
        if (strncmp(p, log_path, len) == 0) {
            memset(p, '.', len);
        }
    }
}

void judge_log(const char *path, uint32_t node, struct verdict *v)
{
    static const char *const patterns[] = {
        "assertion failed", "Sanitizer", "runtime error", "panic", "segmentation fault",
    };
    char line[JUDGE_LINE_BYTES];
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        verdict_doubt(v, "node %u has no log", node);
        return;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "kvd: failpoint ", 15) == 0) {
            continue; /* The nemesis wanted it. */
        }
        folder_blank(line, path);
        for (size_t i = 0; i < KV_ARRAY_COUNT(patterns); i++) {
            if (strcasestr(line, patterns[i]) != NULL) {
                line[strcspn(line, "\n")] = '\0';
                anomaly(v, "log", "node %u: %.400s", node, line);
                break;
            }
        }
    }
    fclose(f);
}

static void judge_logs(struct run *r)
{
    struct verdict *v = run_verdict(r, "logs");

    for (uint32_t i = 0; i < r->o->nodes; i++) {
        if ((r->damaged & CLUSTER_BIT(i + 1)) == 0) {
            judge_log(r->nodes[i].log_path, i + 1, v);
        }
    }
}

/* ---- what clients saw ---- */

static void check_run(struct run *r, enum workload_check check)
{
    struct verdict *v = run_verdict(r, "append");

    switch (check) {
    case WORKLOAD_CHECK_LINEAR:
        linear_check(&r->history, &LINEAR_LIMITS_DEFAULT, v);
        break;
    case WORKLOAD_CHECK_REPLAY:
        if (options_level(r->o) == KV_LEVEL_QUORUM) {
            replay_check_values(&r->history, v);
        } else {
            replay_check(&r->history, v);
        }
        break;
    case WORKLOAD_CHECK_SET: /* A read asks group after group: it is no one look. */
        set_check(&r->history, SET_FRESH, v);
        break;
    case WORKLOAD_CHECK_COUNTER:
        counter_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_IDS:
        unique_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_ONCE:
        once_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_SESSION:
        session_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_APPEND:
        append_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_BANK: /* Of all banks at once: each has the same total. */
        bank_check(&r->history, WORKLOAD_BANK_TOTAL, v);
        break;
    case WORKLOAD_CHECK_WATCH:
        watch_check(&r->history, v);
        break;
    case WORKLOAD_CHECK_END:
        break;
    }
}

/* ---- all ---- */

void judge_history(struct run *r)
{
    for (const enum workload_check *c = r->workload->checks; *c != WORKLOAD_CHECK_END;
         c++) {
        check_run(r, *c);
    }
    r->valid = VERDICT_VALID;
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        r->valid = verdict_worse(r->valid, r->verdicts[i].valid);
    }
}

void judge_run(struct run *r)
{
    judge_rate(r);
    judge_stats(r);
    judge_nemesis(r);
    judge_availability(r);
    judge_nodes(r);
    judge_logs(r);
    judge_history(r);
}
