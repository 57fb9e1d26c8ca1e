/* tests/sim/faults.c - when something goes wrong, and the clocks. */
#include "tests/sim/options.h"

uint64_t faults_draw(struct sim *s)
{
    return prng_next(s->dice);
}

uint32_t faults_draw_between(struct sim *s, uint32_t low, uint32_t high)
{
    return (uint32_t)prng_between(s->dice, low, high);
}

bool faults_coin(struct sim *s)
{
    return prng_below(s->dice, 2) == 0;
}

uint64_t faults_until_us(struct sim *s, uint32_t mean_ms)
{
    return s->now_us + 1000 * prng_below(s->dice, 2 * (uint64_t)mean_ms + 1);
}

/* ---- the calendar ---- */

static const struct {
    size_t every_at; /* Its mean distance: in struct sim_strengths. */
    void (*begin)(struct sim *s, uint32_t node);
} nemeses[] = {
#define NEMESIS_ROW(name, begin) {offsetof(struct sim_strengths, name), begin},
    SIM_NEMESIS_MAP(NEMESIS_ROW)
#undef NEMESIS_ROW
};

static void plan(struct sim *s, size_t nemesis)
{
    uint32_t every_ms;

    memcpy(&every_ms, (const char *)&s->swarm.f + nemeses[nemesis].every_at,
           sizeof every_ms);
    if (every_ms != 0) {
        s->dice = &s->chances[CHANCE_NEMESES + nemesis];
        heap_push(s, (struct sim_event){.at_us = faults_until_us(s, every_ms),
                                        .kind = EV_NEMESIS,
                                        .arg = nemesis});
        s->dice = &s->prng;
    }
}

/* Any node, or, once in three times, the one that leads some group. */
static uint32_t target(struct sim *s)
{
    uint32_t node = faults_draw_between(s, 1, s->swarm.nodes);
    uint32_t group = faults_draw_between(s, 0, s->swarm.groups);
    uint32_t leader = 0;

    if (faults_draw_between(s, 1, 3) == 1) {
        leader = operator_leader(s, group);
        s->counts.at_leaders += leader != 0;
    }
    return leader != 0 ? leader : node;
}

/* A fault has a chance of its own, so that leaving it out shifts no other; its number
 * tells its kind and which of that kind it is. */
static void begin(struct sim *s, size_t nemesis)
{
    uint64_t number = 1 + s->begun[nemesis]++ * SIM_NEMESES + nemesis;
    struct prng own;

    prng_init(&own, prng_next(&s->chances[CHANCE_NEMESES + nemesis]));
    s->faults = KV_MAX(s->faults, number);
    if (!options_skips(s->options, number)) {
        s->dice = &own;
        nemeses[nemesis].begin(s, target(s));
        s->dice = &s->prng;
    }
}

void faults_start(struct sim *s)
{
    for (size_t i = 0; i < KV_ARRAY_COUNT(nemeses); i++) {
        plan(s, i);
    }
}

void faults_event(struct sim *s, struct sim_event *ev)
{
    if (ev->kind == EV_RESTART) {
        if (!world_is_up(s, ev->node) && s->nodes[ev->node].life == ev->life) {
            world_start_node(s, ev->node);
        }
        return;
    }
    if (s->healed) {
        return;
    }
    if (ev->arg == FAULTS_END_CUT) {
        faults_cut_end(s);
        return;
    }
    if (ev->arg == FAULTS_END_FULL) {
        faults_full_end(s, ev->node);
        return;
    }
    begin(s, ev->arg);
    plan(s, ev->arg);
}

void faults_heal(struct sim *s)
{
    s->healed = true;
    faults_cut_end(s);
    faults_clog_end(s);
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        struct sim_node *n = &s->nodes[i];

        n->paused_until_us = 0;
        n->doom_in = 0;
        n->doom_job = 0;
        n->stall_job = 0;
        n->memory_in = 0;
        faults_disk_heal(s, i);
        if (!world_is_up(s, i)) {
            world_start_node(s, i);
        }
    }
}

/* ---- clocks ---- */

void faults_pause(struct sim *s, uint32_t node)
{
    if (world_is_up(s, node)) {
        s->nodes[node].paused_until_us = faults_until_us(s, s->swarm.f.pause_ms);
        s->counts.pauses++;
        sim_note(s, node, "paused");
    }
}

void faults_clock_step(struct sim *s, uint32_t node)
{
    int64_t by_ms = (int64_t)faults_draw_between(s, 0, s->swarm.f.step_ms);

    s->nodes[node].wall_off_ms += faults_coin(s) ? by_ms : -by_ms;
    s->counts.clock_steps++;
}

/* ---- memory ---- */

void faults_memory(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    struct store *store = store_of(n);
    struct log_state log;

    if (n->node == NULL || n->is_lost) {
        return;
    }
    for (group_id i = 0; i <= s->swarm.groups; i++) {
        (void)store->ops->log_load(store, i,
                                   &log); /* Room for it: the store is ours. */
    }
    n->memory_in = faults_draw_between(s, 1, 60);
    n->has_memory_fault = true;
    s->counts.memory_faults++;
    sim_note(s, node, "memory will run out");
}
