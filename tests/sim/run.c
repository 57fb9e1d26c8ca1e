/* tests/sim/run.c - one seed: faults for a while, then peace, then the verdict. */
#include <stdarg.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "tests/sim/chain.h"
#include "tests/sim/holders.h"
#include "tests/sim/kinds.h"
#include "tests/sim/levels.h"
#include "tests/sim/options.h"
#include "tests/sim/peace.h"
#include "tests/sim/truth.h"

void sim_fail(struct sim *s, const char *format, ...)
{
    char text[sizeof s->judge.why];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    judge_fail(&s->judge, JUDGE_HEALTH, "%s", text);
}

void sim_note(struct sim *s, uint32_t node, const char *line)
{
    trace_text(&s->trace, s->now_us, node, line);
}

static void dispatch(struct sim *s, struct sim_event *ev)
{
    struct sim_node *n = ev->node <= SIM_NODES_MAX ? &s->nodes[ev->node] : NULL;

    switch (ev->kind) {
    case EV_LINK_CONNECT:
    case EV_LINK_OPEN:
    case EV_LINK_DATA:
    case EV_LINK_CLOSED:
        net_event(s, ev);
        return;
    case EV_CLIENT_DATA:
    case EV_CLIENT_CLOSED:
    case EV_CLIENT_WAKE:
        client_event(s, ev);
        return;
    case EV_RESTART:
    case EV_NEMESIS:
        faults_event(s, ev);
        return;
    default:
        break;
    }
    if (n->node == NULL || n->life != ev->life) {
        return;
    }
    switch (ev->kind) {
    case EV_TICK:
        if (ev->arg != n->tick_at_us) {
            return; /* An earlier deadline took its place. */
        }
        n->tick_at_us = 0;
        memory_enter(&n->memory_in);
        node_tick(n->node);
        memory_leave();
        break;
    case EV_DISK:
        world_disk_event(s, ev->node, (enum disk_lane)ev->arg);
        return;
    case EV_CONN_OPEN:
        if (!node_conn_open(n->node, ev->id)) {
            client_close_from_node(s, ev->node, ev->id);
        }
        break;
    case EV_CONN_DATA:
        memory_enter(&n->memory_in);
        node_conn_data(n->node, ev->id, ev->data, ev->len);
        memory_leave();
        break;
    case EV_CONN_CLOSED:
        node_conn_closed(n->node, ev->id);
        break;
    default:
        KV_UNREACHABLE();
    }
    world_turn_end(s, ev->node);
}

/* Clients and the world do not pause; nodes do: their events wait. */
static bool waits(struct sim *s, const struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_TICK:
    case EV_DISK:
    case EV_LINK_CONNECT:
    case EV_LINK_OPEN:
    case EV_LINK_DATA:
    case EV_LINK_CLOSED:
    case EV_CONN_OPEN:
    case EV_CONN_DATA:
    case EV_CONN_CLOSED:
        return s->nodes[ev->node].paused_until_us > s->now_us;
    default:
        return false;
    }
}

static bool step(struct sim *s, uint64_t until_us)
{
    struct sim_event ev;

    if (s->heap_count == 0 || s->heap[0].at_us > until_us || sim_failed(s)) {
        return false;
    }
    (void)heap_pop(s, &ev);
    s->now_us = ev.at_us;
    s->counts.events++;
    trace_mix(&s->trace, ev.at_us << 16 ^ (uint64_t)ev.node << 8 ^ ev.kind ^ ev.len);
    if (waits(s, &ev)) {
        ev.at_us = s->nodes[ev.node].paused_until_us;
        if (ev.kind == EV_TICK && ev.life == s->nodes[ev.node].life &&
            ev.arg == s->nodes[ev.node].tick_at_us) {
            s->nodes[ev.node].tick_at_us = ev.arg = ev.at_us;
        }
        heap_push(s, ev);
        return true;
    }
    dispatch(s, &ev);
    levels_note(s);
    kv_mem_free(ev.data);
    return true;
}

/* The faults end at the worst moment of the next seconds, in half of the seeds. */
static void run_to_a_worse_moment(struct sim *s)
{
    uint64_t until_us = s->end_us + (uint64_t)PEACE_WORSE_MS * 1000;

    if (!faults_coin(s)) {
        return;
    }
    while (s->end_us < until_us && !sim_failed(s) && !peace_is_hard(s)) {
        s->end_us += (uint64_t)PEACE_STEP_MS * 1000;
        while (step(s, s->end_us)) {
        }
    }
}

/* After the faults: within a bound everything must be as one wishes. */
static void run_to_peace(struct sim *s)
{
    struct peace p;
    uint64_t begin_us = s->now_us = s->end_us;

    peace_begin(s, &p);
    s->counts.peace_partial += p.partial;
    for (uint64_t ms = 0; ms <= PEACE_LIMIT_MS && !sim_failed(s); ms += PEACE_STEP_MS) {
        while (step(s, begin_us + ms * 1000)) {
        }
        s->now_us = KV_MAX(s->now_us, begin_us + ms * 1000);
        if (!sim_failed(s) && peace_reached(s, &p)) {
            kinds_check(s, &p);
            return;
        }
    }
    judge_fail(&s->judge, JUDGE_LIVENESS, "no peace %d s after the last fault: %s",
               PEACE_LIMIT_MS / 1000, p.why);
}

static void world_free(struct sim *s)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        if (s->nodes[i].node != NULL) {
            node_free(s->nodes[i].node);
        }
    }
    store_free_all(s);
    for (size_t i = 0; i < s->heap_count; i++) {
        kv_mem_free(s->heap[i].data);
    }
    client_free_all(s);
    truth_close(s);
    holders_free(s);
    chain_free(s);
    judge_close(&s->judge);
    kv_mem_free(s->heap);
    kv_mem_free(s->links);
    kv_mem_free(s->ops);
    levels_free(s);
    arena_close(&s->peek);
}

/* In every other seed the clocks pass 24.8 or 49.7 days: 32 bits of milliseconds. */
static uint64_t clock_base_us(struct sim *s)
{
    uint64_t days =
        prng_below(&s->prng, 2) == 0 ? (uint64_t)1 << 31 : (uint64_t)1 << 32;

    return prng_below(&s->prng, 2) == 0
               ? 0
               : (days - prng_below(&s->prng, s->options->time_ms + 1)) * 1000;
}

static void world_make(struct sim *s)
{
    uint64_t base_us = clock_base_us(s);
    char text[256] = "";
    int rc;

    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        struct sim_node *n = &s->nodes[i];

        n->env.ops = &world_env_ops;
        n->sim = s;
        n->id = i;
        n->clock_base_us = base_us;
        n->rate_ppm =
            s->swarm.f.rate_ppm == 0
                ? 0
                : (int64_t)prng_below(&s->prng, 2u * s->swarm.f.rate_ppm + 1) -
                      s->swarm.f.rate_ppm;
        rc = store_make(s, i, text, sizeof text);
        if (rc != 0) {
            sim_fail(s, "node %u: no store: %s %s", i, kv_err_name(rc), text);
            return;
        }
    }
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        world_start_node(s, i);
    }
}

/* All that is random comes from here. */
static void chances_init(struct sim *s)
{
    uint64_t at = s->seed << 8;

    prng_init(&s->prng, at++);
    s->dice = &s->prng;
    for (uint32_t i = 0; i < CHANCES_COUNT; i++) {
        prng_init(&s->chances[i], at++);
    }
    for (uint32_t i = 1; i <= SIM_NODES_MAX; i++) {
        prng_init(&s->nodes[i].prng, at++);
    }
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++) {
        prng_init(&s->clients[i].prng, at++);
    }
    KV_ASSERT(at <= (s->seed + 1) << 8);
}

bool sim_run(struct sim *s, uint64_t seed, const struct sim_options *o,
             struct sim_result *out)
{
    s->seed = seed;
    s->trace.print = o->trace;
    s->trace.heartbeats = o->heartbeats;
    s->now_us = 1000000; /* Time 0 means "never" in places. */
    s->options = o;
    chances_init(s);
    swarm_draw(s, &o->fixed);
    options_apply(o, &s->swarm);
    arena_init(&s->peek, 4096, 0);
    watch_init(s);
    world_make(s);
    client_init_all(s);
    faults_start(s);
    s->end_us = s->now_us + (uint64_t)o->time_ms * 1000;
    while (step(s, s->end_us)) {
    }
    run_to_a_worse_moment(s);
    if (!sim_failed(s)) {
        run_to_peace(s);
    }
    if (!sim_failed(s)) {
        check_history(s);
    }
    s->counts.leaders = s->judge.leaders;
    s->counts.commits = s->judge.commits;
    *out = (struct sim_result){.violated = s->judge.violated,
                               .sim_us = s->now_us,
                               .failed_us = s->now_us,
                               .peace_us = s->now_us - KV_MIN(s->now_us, s->end_us),
                               .digest = s->trace.digest,
                               .faults = s->faults,
                               .swarm = s->swarm,
                               .counts = s->counts,
                               .cover = s->cover};
    if (sim_failed(s) && !o->silent) {
        report_failure(s, o);
    }
    world_free(s);
    return out->violated == JUDGE_NOTHING;
}
