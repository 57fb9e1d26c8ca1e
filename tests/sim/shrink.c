/* tests/sim/shrink.c - leaves things out while it still fails. */
#include "tests/sim/shrink.h"

#include <inttypes.h>
#include <time.h>

#include "tests/sim/kinds.h"

enum {
    SHRINK_TRIES_MAX = 600,
    SHRINK_REAL_S = 600, /* No new try begins after that. */
};

struct shrink {
    uint64_t seed;
    struct sim_options best;
    struct sim_result result; /* Of the best. */
    uint32_t tries;
    time_t until; /* CLOCK_MONOTONIC */
};

static time_t now_s(void)
{
    struct timespec t;

    KV_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return t.tv_sec;
}

static bool is_over(const struct shrink *k)
{
    return k->tries >= SHRINK_TRIES_MAX || now_s() >= k->until;
}

/* Keeps `o` when it fails in the same way. */
static bool try_one(struct shrink *k, const struct sim_options *o)
{
    struct sim_result result;

    if (is_over(k)) {
        return false;
    }
    k->tries++;
    jobs_try(k->seed, o, &result);
    if (result.violated != k->result.violated || result.death != k->result.death) {
        return false;
    }
    k->best = *o;
    k->result = result;
    printf("  still fails:");
    options_print(o, stdout);
    printf("\n");
    fflush(stdout);
    return true;
}

/* ---- what can be left out ---- */

static bool shorter(struct shrink *k)
{
    struct sim_options o = k->best;
    uint32_t until_ms = (uint32_t)(k->result.failed_us / 1000); /* Begins at 1 s. */
    bool done = false;

    if (until_ms < o.time_ms) {
        o.time_ms = KV_MAX(until_ms, 1u);
        done = try_one(k, &o);
    }
    for (uint32_t step = k->best.time_ms / 2; step >= 100; step /= 2) {
        o = k->best;
        o.time_ms -= KV_MIN(step, o.time_ms - 1);
        done = try_one(k, &o) || done;
    }
    return done;
}

static bool fewer_kinds(struct shrink *k)
{
    bool done = false;

    for (uint32_t i = 0; options_fault_name(i) != NULL; i++) {
        struct sim_options o = k->best;

        if (options_fault_is_on(&k->result.swarm, i) &&
            (o.without & options_fault_bit(i)) == 0) {
            o.without |= options_fault_bit(i);
            done = try_one(k, &o) || done;
        }
    }
    return done;
}

/* Tries `least`, then halves, then one less. */
static bool lower(struct shrink *k, uint32_t sim_least, size_t at, uint32_t now)
{
    bool done = false;

    while (now > sim_least) {
        const uint32_t steps[] = {sim_least, now / 2, now - 1};
        bool better = false;

        for (size_t i = 0; i < KV_ARRAY_COUNT(steps) && !better; i++) {
            struct sim_options o = k->best;
            uint32_t *field = (uint32_t *)(void *)((uint8_t *)&o.fixed + at);

            *field = KV_MAX(steps[i], sim_least);
            if (*field < now && try_one(k, &o)) {
                now = *field;
                better = true;
            }
        }
        if (!better) {
            break;
        }
        done = true;
    }
    return done;
}

static bool fewer_kinds_of_clients(struct shrink *k)
{
    bool done = false;

    for (uint32_t i = 0; kinds_name(i) != NULL; i++) {
        struct sim_options o = k->best;

        o.fixed.kinds = k->result.swarm.kinds & ~(1u << i);
        if (o.fixed.kinds != 0 && o.fixed.kinds != k->result.swarm.kinds) {
            done = try_one(k, &o) || done;
        }
    }
    return done;
}

static bool fewer_parts(struct shrink *k)
{
    struct sim_swarm w = k->result.swarm;
    bool done = lower(k, 1, offsetof(struct sim_swarm, groups), w.groups);

    done = fewer_kinds_of_clients(k) || done;
    done = lower(k, 1, offsetof(struct sim_swarm, clients), w.clients) || done;
    done = lower(k, 1, offsetof(struct sim_swarm, keys), w.keys) || done;
    done = lower(k, 1, offsetof(struct sim_swarm, replicas), w.replicas) || done;
    done = lower(k, 1, offsetof(struct sim_swarm, nodes), w.nodes) || done;
    return lower(k, 1, offsetof(struct sim_swarm, ops_per_s), w.ops_per_s) || done;
}

/* Leaves out halves, quarters, ... of the single faults. */
static bool fewer_faults(struct shrink *k)
{
    uint64_t count = KV_MIN(k->result.faults, (uint64_t)OPTIONS_SKIP_MAX - 1);
    bool done = false;

    for (uint64_t size = count; size >= 1; size /= 2) {
        for (uint64_t first = 1; first <= count; first += size) {
            struct sim_options o = k->best;
            bool news = false;

            for (uint64_t i = first; i < first + size && i <= count; i++) {
                news = news || !options_skips(&o, i);
                options_skip(&o, i, true);
            }
            done = (news && try_one(k, &o)) || done;
        }
    }
    return done;
}

/* Single faults that happen in the best run. */
static uint64_t faults_left(const struct shrink *k)
{
    uint64_t left = 0;

    for (uint64_t i = 1; i <= k->result.faults; i++) {
        left += !options_skips(&k->best, i);
    }
    return left;
}

bool shrink_run(const struct sim_command *c)
{
    struct shrink k = {
        .seed = c->first, .best = c->run, .until = now_s() + SHRINK_REAL_S};
    struct sim_options last;
    uint64_t faults_begin;

    jobs_try(k.seed, &k.best, &k.result);
    if (k.result.violated == JUDGE_NOTHING) {
        printf("seed %" PRIu64 " does not fail\n", k.seed);
        return false;
    }
    faults_begin = faults_left(&k);
    printf("seed %" PRIu64 " violates %d, %s\n", k.seed, (int)k.result.violated,
           judge_name(k.result.violated));
    for (bool better = true; better && !is_over(&k);) {
        better = shorter(&k);
        better = fewer_kinds(&k) || better;
        better = fewer_parts(&k) || better;
        better = fewer_faults(&k) || better;
    }
    printf("smallest of %u runs%s, %" PRIu64 " faults in it, at first %" PRIu64
           ":\n  %s --seed %" PRIu64,
           k.tries, is_over(&k) ? " (there was no time for more)" : "", faults_left(&k),
           faults_begin, c->run.program, k.seed);
    last = k.best;
    last.trace = false;
    options_print(&last, stdout);
    printf(" --trace\n");
    return true;
}
