/* jepsen/run.c - the phases of a run. */
#include "jepsen/run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "jepsen/status.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    RUN_TICK_MS = 10,
    RUN_READY_MS = 60000, /* For the first start of all nodes. */
    RUN_HEAL_MS = 60000,  /* For all to be ready again. */
    RUN_FINAL_MS = 30000, /* For all final reads. */
    RUN_EQUAL_MS = 20000, /* For all states to become equal. */
    RUN_STOP_MS = 10000,  /* For a node to end by SIGTERM. */
    RUN_FAULT_WORD_BYTES = 1024,
};

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

enum run_phase {
    RUN_CLEAN,
    RUN_FAULTS,
    RUN_HEAL,
    RUN_QUIET,
    RUN_DRAIN,
    RUN_FINAL,
    RUN_OVER,
};

/* What lives only while the loop runs. */
struct run_loop {
    struct run *r;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t on_int, on_term;
    struct cluster *cluster;
    struct nemesis *nemesis;
    struct workers workers;
    enum run_phase phase;
    uint64_t begin_ns; /* uv_hrtime() of the run's time 0. */
    uint64_t seed_workers, seed_nemesis;
    const char *endpoints[CLUSTER_NODES_MAX];
    /* The nemesis. */
    uv_work_t job;
    bool job_runs;
    bool has_step;
    struct nemesis_step step;
    struct nemesis_outcome outcome;
    struct run_fault *fault; /* Of the job; NULL: healing, or too many. */
    char now_broken[64];     /* For the status line. */
    /* The status line. */
    struct workers_count second_count;
    int64_t second_end_ns;
    bool tty;
};

static int64_t now_ns(const struct run_loop *l)
{
    return (int64_t)(uv_hrtime() - l->begin_ns);
}

/* ---- the status line ---- */

static const char *phase_text(enum run_phase phase)
{
    static const char *const texts[] = {
        [RUN_CLEAN] = "clean", [RUN_FAULTS] = "faults", [RUN_HEAL] = "healing",
        [RUN_QUIET] = "quiet", [RUN_DRAIN] = "drain",   [RUN_FINAL] = "final reads",
        [RUN_OVER] = "over",
    };

    return texts[phase];
}

static void status_print(struct run_loop *l, const struct run_second *s)
{
    const struct run *r = l->r;
    const char *what = l->now_broken[0] != '\0' ? l->now_broken : phase_text(l->phase);

    if (r->o->quiet) {
        return;
    }
    printf("%s%4" PRId64 "/%u s  %6u ops/s  ok %-8" PRIu64 " fail %-6" PRIu64
           " info %-6" PRIu64 " %-40.40s%s",
           l->tty ? "\r" : "", l->second_end_ns / NS_PER_S, r->o->time_s,
           s->ok + s->fail + s->info, l->workers.count.ok, l->workers.count.fail,
           l->workers.count.info, what, l->tty ? "" : "\n");
    fflush(stdout);
}

/* Closes the seconds that are over. */
static void seconds_count(struct run_loop *l)
{
    struct run *r = l->r;
    const struct workers_count *c = &l->workers.count;

    while (now_ns(l) >= l->second_end_ns) {
        struct run_second s = {
            .ok = (uint32_t)(c->ok - l->second_count.ok),
            .fail = (uint32_t)(c->fail - l->second_count.fail),
            .info = (uint32_t)(c->info - l->second_count.info),
        };

        if (r->seconds_count < r->seconds_cap) {
            r->seconds[r->seconds_count++] = s;
        }
        l->second_count = *c;
        status_print(l, &s);
        l->second_end_ns += NS_PER_S;
    }
}

/* ---- the nemesis ---- */

static void nemesis_row(struct run_loop *l, const char *f, const char *value)
{
    char text[RUN_FAULT_WORD_BYTES];
    const struct history_op op = {
        .time_ns = now_ns(l),
        .process = HISTORY_NEMESIS,
        .type = HISTORY_INFO,
        .f = HISTORY_FAULT,
        .text = text,
    };

    snprintf(text, sizeof text, "%s %s", f, value);
    if (history_append(&l->r->history, &op, HISTORY_NIL, NULL, 0) != 0) {
        l->workers.failed = true;
    }
}

static struct run_fault *fault_find(struct run *r, uint32_t number)
{
    for (uint32_t i = r->faults_count; i > 0; i--) {
        if (r->faults[i - 1].number == number) {
            return &r->faults[i - 1];
        }
    }
    return NULL;
}

/* Notes that a step begins; returns its fault, NULL where there is no room. */
static struct run_fault *fault_note(struct run_loop *l)
{
    struct run *r = l->r;
    const struct nemesis_step *step = &l->step;
    struct run_fault *f = NULL;

    if (!step->begins) {
        f = fault_find(r, step->fault);
        if (f != NULL) {
            f->ended = true;
            f->end_ns = now_ns(l);
        }
        return f;
    }
    if (r->faults_count == RUN_FAULTS_MAX) {
        return NULL;
    }
    f = &r->faults[r->faults_count++];
    *f = (struct run_fault){.number = step->fault, .begin_ns = now_ns(l)};
    snprintf(f->kind, sizeof f->kind, "%s", step->kind);
    return f;
}

static void job_work(uv_work_t *job)
{
    struct run_loop *l = job->data;

    if (l->phase == RUN_HEAL) {
        nemesis_heal(l->nemesis, RUN_HEAL_MS, &l->outcome);
    } else {
        nemesis_do(l->nemesis, &l->step, &l->outcome);
    }
}

static void job_done(uv_work_t *job, int status)
{
    struct run_loop *l = job->data;
    struct run *r = l->r;
    struct run_fault *f = l->fault;

    (void)status; /* Nobody cancels it. */
    l->job_runs = false;
    if (l->phase == RUN_HEAL) {
        nemesis_row(l, "healed", l->outcome.value);
        r->healed = l->outcome.effective;
        snprintf(r->heal_why, sizeof r->heal_why, "%s", l->outcome.why);
        r->times.heal_ns = now_ns(l);
        l->now_broken[0] = '\0';
        l->phase = RUN_QUIET;
        return;
    }
    nemesis_row(l, l->step.f, l->outcome.value);
    if (f != NULL && l->step.begins) {
        f->begun_ns = now_ns(l);
        f->effective = l->outcome.effective;
        snprintf(f->value, sizeof f->value, "%.60s %.90s", l->step.value,
                 l->outcome.value);
        snprintf(f->why, sizeof f->why, "%.159s", l->outcome.why);
    } else if (f != NULL) {
        f->ended_ns = now_ns(l);
    }
    l->has_step = nemesis_next(l->nemesis, &l->step);
}

static void job_begin(struct run_loop *l)
{
    l->job_runs = true;
    l->job.data = l;
    if (uv_queue_work(&l->loop, &l->job, job_work, job_done) != 0) {
        KV_UNREACHABLE(); /* Only for a NULL callback. */
    }
}

static void faults_turn(struct run_loop *l)
{
    struct run *r = l->r;
    int64_t ms = (now_ns(l) - r->times.clean_ns) / NS_PER_MS;

    if (l->job_runs) {
        return;
    }
    if (now_ns(l) >= r->o->time_s * NS_PER_S) {
        r->times.faults_ns = now_ns(l);
        l->phase = RUN_HEAL;
        nemesis_row(l, "heal", "nil");
        job_begin(l);
        return;
    }
    if (l->has_step && (int64_t)l->step.at_ms <= ms) {
        l->fault = fault_note(l);
        nemesis_row(l, l->step.f, l->step.value);
        if (l->step.begins) {
            snprintf(l->now_broken, sizeof l->now_broken, "%s %.40s", l->step.f,
                     l->step.value);
        } else {
            l->now_broken[0] = '\0';
        }
        job_begin(l);
    }
}

/* ---- phases ---- */

static void run_on_idle(void *ctx)
{
    struct run_loop *l = ctx;
    struct run *r = l->r;

    if (l->phase == RUN_DRAIN) {
        r->times.drain_ns = now_ns(l);
        l->phase = RUN_FINAL;
        workers_read_last(&l->workers, RUN_FINAL_MS);
        return;
    }
    KV_ASSERT(l->phase == RUN_FINAL);
    r->times.final_ns = now_ns(l);
    l->phase = RUN_OVER;
    uv_stop(&l->loop);
}

static void run_on_tick(uv_timer_t *timer)
{
    struct run_loop *l = timer->data;
    struct run *r = l->r;

    if (l->workers.failed) {
        snprintf(r->error, sizeof r->error, "the history took no more rows");
        uv_stop(&l->loop);
        return;
    }
    seconds_count(l);
    switch (l->phase) {
    case RUN_CLEAN:
        if (now_ns(l) >= r->o->clean_s * NS_PER_S) {
            r->times.clean_ns = now_ns(l);
            r->clean_rate = (double)(l->workers.count.ok + l->workers.count.fail) *
                            1e9 / (double)now_ns(l);
            l->has_step = nemesis_next(l->nemesis, &l->step);
            l->phase = RUN_FAULTS;
        }
        break;
    case RUN_FAULTS:
        faults_turn(l);
        break;
    case RUN_QUIET:
        if (now_ns(l) - r->times.heal_ns >= r->o->quiet_s * NS_PER_S) {
            r->times.quiet_ns = now_ns(l);
            l->phase = RUN_DRAIN;
            workers_stop(&l->workers);
        }
        break;
    case RUN_HEAL:
    case RUN_DRAIN:
    case RUN_FINAL:
    case RUN_OVER:
        break;
    }
}

static void run_on_signal(uv_signal_t *handle, int number)
{
    struct run_loop *l = handle->data;

    l->r->interrupted = true;
    snprintf(l->r->error, sizeof l->r->error, "ended by %s",
             number == SIGINT ? "Ctrl-C" : "SIGTERM");
    uv_stop(&l->loop);
}

static int loop_open(struct run_loop *l)
{
    struct run *r = l->r;
    struct workers_options wo = {
        .loop = &l->loop,
        .workload = r->workload,
        .setup = {.keys = r->o->keys,
                  .workers = r->o->concurrency,
                  .nodes = r->o->nodes,
                  .ops_per_key = r->o->ops_per_key},
        .endpoints = l->endpoints,
        .rate = r->o->rate,
        .deadline_ms = r->o->deadline_ms,
        .level = options_level(r->o) < 0 ? r->workload->level
                                         : (enum kv_level)options_level(r->o),
        .seed = l->seed_workers,
        .history = &r->history,
        .on_idle = run_on_idle,
        .ctx = l,
    };
    int rc = uv_loop_init(&l->loop);

    KV_ASSERT(rc == 0);
    l->begin_ns = uv_hrtime();
    l->second_end_ns = NS_PER_S;
    l->tty = isatty(STDOUT_FILENO) == 1;
    wo.begin_ns = l->begin_ns;
    uv_timer_init(&l->loop, &l->tick);
    uv_signal_init(&l->loop, &l->on_int);
    uv_signal_init(&l->loop, &l->on_term);
    l->tick.data = l->on_int.data = l->on_term.data = l;
    return workers_open(&l->workers, &wo);
}

static void loop_close(struct run_loop *l)
{
    workers_close(&l->workers);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->on_int, NULL);
    uv_close((uv_handle_t *)&l->on_term, NULL);
    uv_run(&l->loop, UV_RUN_DEFAULT); /* Also waits for a job under way. */
    uv_loop_close(&l->loop);
}

/* Lets clients and nemesis work. */
static void loop_run(struct run_loop *l)
{
    struct run *r = l->r;

    if (loop_open(l) != 0) {
        snprintf(r->error, sizeof r->error, "cannot make the clients");
    } else {
        uv_signal_start(&l->on_int, run_on_signal, SIGINT);
        uv_signal_start(&l->on_term, run_on_signal, SIGTERM);
        uv_timer_start(&l->tick, run_on_tick, RUN_TICK_MS, RUN_TICK_MS);
        workers_start(&l->workers);
        uv_run(&l->loop, UV_RUN_DEFAULT);
        if (l->tty && !r->o->quiet) {
            printf("\n");
        }
    }
    r->count = l->workers.count;
    memcpy(r->ok_by_f, l->workers.ok_by_f, sizeof r->ok_by_f);
    r->final_failed = l->workers.final_failed;
    snprintf(r->bad, sizeof r->bad, "%s", l->workers.bad);
    loop_close(l);
}

/* ---- around the loop ---- */

static int cluster_begin(struct run_loop *l)
{
    struct run *r = l->r;
    char error[CLUSTER_ERROR_BYTES] = "";
    struct cluster_options co = {
        .nodes = r->o->nodes,
        .groups = r->o->groups,
        .kvd = r->o->kvd,
        .dir = r->dir,
        .seed = r->o->seed,
        .bare_disk = r->o->bare_disk,
        .kvd_args = r->o->args,
    };
    const struct nemesis_options no = {
        .text = r->o->nemesis,
        .seed = l->seed_nemesis,
        .interval_ms = r->o->period_ms != 0 ? r->o->period_ms : r->o->interval_s * 1000,
        .fault_ms = r->o->fault_ms,
    };

    if (!cluster_env_of(r->o->env, &co.env)) {
        return KV_EINVAL; /* options_finish() has looked. */
    }
    if (cluster_open(&co, &l->cluster, error) != 0) {
        snprintf(r->error, sizeof r->error, "environment: %s", error);
        return KV_EIO;
    }
    snprintf(r->env, sizeof r->env, "%s", cluster_env_name(l->cluster));
    if (nemesis_open(l->cluster, &no, &l->nemesis, error) != 0) {
        snprintf(r->error, sizeof r->error, "nemesis %s: %s", r->o->nemesis, error);
        return KV_EIO;
    }
    if (cluster_start(l->cluster, CLUSTER_ALL(r->o->nodes)) != 0 ||
        cluster_wait_ready(l->cluster, CLUSTER_ALL(r->o->nodes), RUN_READY_MS) != 0) {
        snprintf(r->error, sizeof r->error, "the cluster does not start: %s",
                 cluster_error(l->cluster));
        return KV_EIO;
    }
    for (uint32_t i = 0; i < r->o->nodes; i++) {
        cluster_node(l->cluster, i + 1, &r->nodes[i]);
        l->endpoints[i] = r->nodes[i].client;
    }
    return 0;
}

static void cluster_end(struct run_loop *l)
{
    struct run *r = l->r;

    if (l->nemesis != NULL) {
        nemesis_summary(l->nemesis, &r->nemesis);
        r->damaged = nemesis_damaged(l->nemesis);
    }
    if (l->cluster != NULL && r->error[0] == '\0' && !cluster_stands(l->cluster)) {
        snprintf(r->error, sizeof r->error, "environment: %s",
                 cluster_error(l->cluster));
    }
    if (r->error[0] == '\0') {
        status_compare(r, l->cluster, RUN_EQUAL_MS);
    }
    /* Deaths are counted before SIGTERM; then each node has to end by itself. */
    for (uint32_t i = 0; l->cluster != NULL && i < r->o->nodes; i++) {
        cluster_node(l->cluster, i + 1, &r->nodes[i]);
    }
    if (l->cluster != NULL && r->error[0] == '\0') {
        for (uint32_t i = 1; i <= r->o->nodes; i++) {
            if (r->nodes[i - 1].state == CLUSTER_NODE_UP &&
                cluster_stop(l->cluster, CLUSTER_BIT(i), RUN_STOP_MS) != 0) {
                r->stops_late |= CLUSTER_BIT(i);
            }
        }
    }
    nemesis_close(l->nemesis);
    cluster_close(l->cluster);
}

int run_cluster(struct run *r)
{
    struct run_loop *l = kv_mem_zalloc(sizeof *l);
    struct prng seeds;

    if (l == NULL) {
        return KV_ENOMEM;
    }
    l->r = r;
    prng_init(&seeds, r->o->seed);
    l->seed_workers = prng_next(&seeds);
    l->seed_nemesis = prng_next(&seeds);
    if (cluster_begin(l) == 0) {
        loop_run(l);
    }
    cluster_end(l);
    kv_mem_free(l);
    run_recoveries(r);
    return r->error[0] == '\0' ? 0 : KV_EIO;
}
