/* jepsen/run_data.c - what is kept of a run: life, verdicts, times to recover. */
#include <stdio.h>
#include <string.h>

#include "jepsen/run.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

#define NS_PER_MS INT64_C(1000000)

/* ---- life ---- */

int run_open(struct run *r, const struct options *o)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->workload = workload_find(o->workload);
    if (r->workload == NULL) {
        snprintf(r->error, sizeof r->error, "--workload %s: no such workload",
                 o->workload);
        return KV_EINVAL;
    }
    history_init(&r->history);
    options_command(o, r->command, sizeof r->command);
    r->seconds_cap = o->time_s + o->quiet_s + 300;
    r->seconds = kv_mem_zalloc(r->seconds_cap * sizeof *r->seconds);
    r->faults = kv_mem_zalloc(RUN_FAULTS_MAX * sizeof *r->faults);
    if (r->seconds == NULL || r->faults == NULL) {
        run_close(r);
        return KV_ENOMEM;
    }
    return 0;
}

void run_close(struct run *r)
{
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        verdict_close(&r->verdicts[i]);
    }
    r->verdicts_count = 0;
    history_close(&r->history);
    kv_mem_free(r->seconds);
    kv_mem_free(r->faults);
    r->seconds = NULL;
    r->faults = NULL;
}

struct verdict *run_verdict(struct run *r, const char *checker)
{
    struct verdict *v = &r->verdicts[KV_MIN(r->verdicts_count, RUN_VERDICTS_MAX - 1)];

    if (r->verdicts_count < RUN_VERDICTS_MAX) {
        r->verdicts_count++;
        verdict_init(v, checker);
    }
    return v;
}

/* ---- recovery ---- */

/* The first row at or after a time. */
static size_t row_at(const struct history *h, int64_t time_ns)
{
    size_t low = 0;
    size_t high = h->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (h->ops[middle].time_ns < time_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* From `from_ns` until the last lane had a write that began after it; -1 when one lane
 * had none that ended before `until_ns`. */
static double recovery(const struct run *r, int64_t from_ns, int64_t until_ns)
{
    const struct history *h = &r->history;
    bool seen[WORKLOAD_LANES_MAX] = {false};
    uint32_t left = r->o->keys;

    for (size_t i = row_at(h, from_ns); i < h->count && left > 0; i++) {
        const struct history_op *op = &h->ops[i];
        uint32_t lane;

        if (op->type != HISTORY_OK || op->f == HISTORY_READ || op->f == HISTORY_WATCH ||
            h->ops[op->mate].time_ns < from_ns) {
            continue;
        }
        if (op->time_ns >= until_ns) {
            break;
        }
        lane = (uint32_t)op->process % r->o->concurrency % r->o->keys;
        if (!seen[lane]) {
            seen[lane] = true;
            left--;
        }
        if (left == 0) {
            return (double)(op->time_ns - from_ns) / (double)NS_PER_MS;
        }
    }
    return -1;
}

void run_recoveries(struct run *r)
{
    for (uint32_t i = 0; i < r->faults_count; i++) {
        struct run_fault *f = &r->faults[i];
        int64_t end = f->ended ? f->end_ns : r->times.faults_ns;

        f->recover_ms = recovery(r, f->begin_ns, end);
        f->recover_end_ms =
            recovery(r, end, r->times.quiet_ns > 0 ? r->times.quiet_ns : INT64_MAX);
    }
}
