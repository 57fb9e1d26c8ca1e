/* tests/sim/jobs.c - processes that run seeds, and what they leave behind. */
#include "tests/sim/jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared with the process that runs in it. */
struct slot {
    pid_t pid;     /* 0: none runs. */
    uint64_t seed; /* Under way; then the next one. */
    struct jobs_total total;
    struct sim_result result; /* Of the last seed. */
    struct sim sim;
};

static struct slot *slots_new(uint32_t count)
{
    void *p = mmap(NULL, count * sizeof(struct slot), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    KV_ASSERT(p != MAP_FAILED);
    return p;
}

/* ---- one seed ---- */

/* 15. The same seed again must go the same way. */
static bool compare(struct slot *w, const struct sim_options *o, uint64_t digest)
{
    struct sim_options again = *o;
    struct sim_result result;

    again.silent = true;
    again.trace = false;
    memset(&w->sim, 0, sizeof w->sim);
    (void)sim_run(&w->sim, w->seed, &again, &result);
    w->total.compared++;
    if (result.digest == digest) {
        return true;
    }
    printf("seed %" PRIu64 " FAILED\n  violated: %d, %s\n  two runs of it went "
           "different ways\n",
           w->seed, JUDGE_DETERMINISM, judge_name(JUDGE_DETERMINISM));
    return false;
}

static void run_seed(struct slot *w, const struct sim_command *c)
{
    bool ok;

    memset(&w->sim, 0, sizeof w->sim);
    ok = sim_run(&w->sim, w->seed, &c->run, &w->result);
    if (ok && (c->twice || w->seed % 100 == 0)) {
        ok = compare(w, &c->run, w->result.digest);
    }
    w->total.seeds++;
    w->total.failed += !ok;
    w->total.sim_us += w->result.sim_us;
#define JOBS_ADD(name) w->total.counts.name += w->result.counts.name;
    SIM_COUNT_MAP(JOBS_ADD)
#undef JOBS_ADD
    coverage_add(&w->total.cover, &w->result.cover);
    fflush(stdout);
}

/* Runs the slot's seeds: each step-th up to the last. */
static void work(struct slot *w, const struct sim_command *c, uint64_t step)
{
    while (w->seed <= c->last) {
        if (c->jobs > 0) {
            alarm(JOBS_SEED_REAL_S);
        }
        run_seed(w, c);
        w->seed += step;
    }
}

/* ---- processes ---- */

static void spawn(struct slot *w, const struct sim_command *c, uint64_t step)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    KV_ASSERT(pid >= 0);
    if (pid == 0) {
        work(w, c, step);
        fflush(stdout);
        _exit(0);
    }
    w->pid = pid; /* Not in the child: the slot is shared. */
}

static const char *death(int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        return "it hangs: it took too much real time";
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
        return "an assertion failed (see above)";
    }
    return "its process died";
}

/* The process died in the middle of a seed: that one failed, the others go on. */
static void bury(struct slot *w, const struct sim_command *c, int status, uint64_t step)
{
    w->total.seeds++;
    w->total.failed++;
    w->sim.gone = true;
    judge_fail(&w->sim.judge, JUDGE_HEALTH, "%s", death(status));
    report_failure(&w->sim, &c->run);
    fflush(stdout);
    w->seed += step;
    w->pid = 0;
    if (w->seed <= c->last) {
        spawn(w, c, step);
    }
}

static void wait_all(struct slot *slots, const struct sim_command *c)
{
    uint32_t left = c->jobs;

    while (left > 0) {
        int status;
        pid_t pid = wait(&status);

        if (pid < 0) {
            KV_ASSERT(errno == EINTR);
            continue;
        }
        for (uint32_t i = 0; i < c->jobs; i++) {
            struct slot *w = &slots[i];

            if (w->pid != pid) {
                continue;
            }
            w->pid = 0;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                bury(w, c, status, c->jobs);
            }
            left -= w->pid == 0;
        }
    }
}

void jobs_run(const struct sim_command *c, struct jobs_total *out)
{
    uint32_t count = KV_MAX(c->jobs, 1u);
    struct slot *slots = slots_new(count);

    for (uint32_t i = 0; i < count; i++) {
        slots[i].seed = c->first + i;
        if (c->jobs > 0) {
            spawn(&slots[i], c, count);
        } else {
            work(&slots[i], c, count);
        }
    }
    if (c->jobs > 0) {
        wait_all(slots, c);
    }
    *out = (struct jobs_total){0};
    for (uint32_t i = 0; i < count; i++) {
        const struct jobs_total *t = &slots[i].total;

        out->seeds += t->seeds;
        out->failed += t->failed;
        out->compared += t->compared;
        out->sim_us += t->sim_us;
#define JOBS_SUM(name) out->counts.name += t->counts.name;
        SIM_COUNT_MAP(JOBS_SUM)
#undef JOBS_SUM
        coverage_add(&out->cover, &t->cover);
    }
    munmap(slots, count * sizeof *slots);
}

void jobs_try(uint64_t seed, const struct sim_options *o, struct sim_result *out)
{
    struct slot *w = slots_new(1);
    struct sim_options quiet = *o;
    pid_t pid;
    int status;

    quiet.silent = true;
    quiet.trace = false;
    fflush(stdout);
    pid = fork();
    KV_ASSERT(pid >= 0);
    if (pid == 0) {
        KV_ASSERT(freopen("/dev/null", "w", stderr) != NULL);
        alarm(JOBS_SEED_REAL_S);
        (void)sim_run(&w->sim, seed, &quiet, &w->result);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0) {
        KV_ASSERT(errno == EINTR);
    }
    if (!WIFEXITED(status)) {
        w->result.violated = JUDGE_HEALTH;
        w->result.death = WTERMSIG(status);
        w->result.swarm = w->sim.swarm;
        w->result.faults = w->sim.faults;
        w->result.failed_us = w->sim.now_us;
    }
    *out = w->result;
    munmap(w, sizeof *w);
}
