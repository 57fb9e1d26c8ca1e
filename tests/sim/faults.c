/* tests/sim/faults.c - what goes wrong: a swarm drawn per seed, at random times.
 *
 * Each seed enables a random subset of the faults with random strengths (swarm
 * testing, Groce et al. 2012): a seed with everything on would hide what only a
 * quiet or a one-sided run shows.
 */
#include "tests/sim/sim.h"

enum nemesis {
    NEM_CRASH,
    NEM_CUT,
    NEM_HEAL,
    NEM_PAUSE,
    NEM_ALL_DOWN
};

static uint32_t draw(struct sim *s, uint32_t low, uint32_t high)
{
    return (uint32_t)prng_between(&s->prng, low, high);
}

static bool coin(struct sim *s)
{
    return prng_below(&s->prng, 2) == 0;
}

void faults_draw(struct sim *s, const struct sim_swarm *fixed)
{
    struct sim_swarm *w = &s->swarm;

    *w = (struct sim_swarm){
        .nodes = coin(s)   ? 3
                 : coin(s) ? 5
                           : 1 + draw(s, 0, 6),
        .groups = draw(s, 1, 8),
        .clients = draw(s, 2, 12),
        .keys = draw(s, 1, 20),
        .ops_per_s = draw(s, 20, 60),
        .delay_us_min = draw(s, 50, 2000),
        .delay_us_mean = draw(s, 100, 8000),
        .disk_us_min = draw(s, 20, 500),
        .disk_us_mean = draw(s, 50, 5000),
        .loss_ppm = coin(s) ? draw(s, 100, 200000) : 0,
        .dup_ppm = coin(s) ? draw(s, 100, 300000) : 0,
        .reorder_ppm = coin(s) ? draw(s, 100, 300000) : 0,
        .crash_every_ms = coin(s) ? draw(s, 500, 8000) : 0,
        .restart_ms = draw(s, 10, 4000),
        .cut_every_ms = coin(s) ? draw(s, 500, 6000) : 0,
        .cut_ms = draw(s, 50, 5000),
        .pause_every_ms = coin(s) ? draw(s, 500, 6000) : 0,
        .pause_ms = draw(s, 10, 2000),
        .all_down_every_ms = draw(s, 0, 3) == 0 ? draw(s, 4000, 20000) : 0,
        .rate_ppm = coin(s) ? draw(s, 0, 50000) : 0,
        .log_window = coin(s) ? draw(s, 8, 64) : draw(s, 64, 4096),
        .checkpoint_ms = draw(s, 20, 2000),
    };
    w->replicas = coin(s) ? 3 : 1 + draw(s, 0, 4);
    if (fixed->nodes != 0) {
        w->nodes = fixed->nodes;
    }
    if (fixed->groups != 0) {
        w->groups = fixed->groups;
    }
    if (fixed->replicas != 0) {
        w->replicas = fixed->replicas;
    }
    w->replicas = KV_MIN(w->replicas, w->nodes);
    /* An even number of replicas is fine for Raft, but nobody runs it. */
    w->replicas -= w->replicas % 2 == 0;
}

static void plan(struct sim *s, enum nemesis what, uint32_t every_ms)
{
    if (every_ms != 0) {
        heap_push(s,
                  (struct sim_event){
                      .at_us = s->now_us + 1000 * prng_below(&s->prng, 2u * every_ms),
                      .kind = EV_NEMESIS,
                      .arg = what});
    }
}

void faults_start(struct sim *s)
{
    plan(s, NEM_CRASH, s->swarm.crash_every_ms);
    plan(s, NEM_CUT, s->swarm.cut_every_ms);
    plan(s, NEM_PAUSE, s->swarm.pause_every_ms);
    plan(s, NEM_ALL_DOWN, s->swarm.all_down_every_ms);
}

static void crash(struct sim *s, uint32_t id)
{
    if (!world_is_up(s, id)) {
        return;
    }
    world_crash_node(s, id);
    heap_push(s, (struct sim_event){
                     .at_us = s->now_us +
                              1000 * prng_below(&s->prng, 2u * s->swarm.restart_ms + 1),
                     .kind = EV_RESTART,
                     .node = id,
                     .life = s->nodes[id].life});
}

/* Cuts links: one node, halves, a ring of majorities, a bridge, or one way only. */
static void cut(struct sim *s)
{
    uint32_t n = s->swarm.nodes, shape = draw(s, 0, 4), one = draw(s, 1, n);
    uint32_t side = (uint32_t)prng_next(&s->prng);
    bool one_way = draw(s, 0, 3) == 0;

    if (n < 2) {
        return;
    }
    s->counts.cuts++;
    s->counts.one_way += one_way;
    for (uint32_t a = 1; a <= n; a++) {
        for (uint32_t b = 1; b <= n; b++) {
            bool gone;

            switch (shape) {
            case 0: /* One node alone. */
                gone = (a == one) != (b == one);
                break;
            case 1: /* Two sides. */
                gone = ((side >> a) & 1) != ((side >> b) & 1);
                break;
            case 2: /* Ring: each sees its neighbours only. */
                gone = a != b && (a + 1) % n != b % n && (b + 1) % n != a % n;
                break;
            case 3: /* Bridge: two sides that share one node. */
                gone = a != one && b != one && ((side >> a) & 1) != ((side >> b) & 1);
                break;
            default: /* One link. */
                gone = (a == one && b == one % n + 1) || (b == one && a == one % n + 1);
                break;
            }
            s->cut[a][b] = gone && (!one_way || a < b);
        }
    }
    sim_note(s, 0, "cut");
    heap_push(
        s, (struct sim_event){
               .at_us = s->now_us + 1000 * prng_below(&s->prng, 2u * s->swarm.cut_ms),
               .kind = EV_NEMESIS,
               .arg = NEM_HEAL});
}

static void heal_links(struct sim *s)
{
    memset(s->cut, 0, sizeof s->cut);
    s->counts.heals++;
    sim_note(s, 0, "healed");
}

static void pause_node(struct sim *s, uint32_t id)
{
    if (world_is_up(s, id)) {
        s->nodes[id].paused_until_us =
            s->now_us + 1000 * prng_below(&s->prng, 2u * s->swarm.pause_ms + 1);
        s->counts.pauses++;
        sim_note(s, id, "paused");
    }
}

void faults_event(struct sim *s, struct sim_event *ev)
{
    uint32_t id = draw(s, 1, s->swarm.nodes);

    if (ev->kind == EV_RESTART) {
        if (!world_is_up(s, ev->node) && s->nodes[ev->node].life == ev->life) {
            world_start_node(s, ev->node);
        }
        return;
    }
    if (s->healed) {
        return;
    }
    switch ((enum nemesis)ev->arg) {
    case NEM_CRASH:
        crash(s, id);
        plan(s, NEM_CRASH, s->swarm.crash_every_ms);
        break;
    case NEM_CUT:
        cut(s);
        plan(s, NEM_CUT, s->swarm.cut_every_ms);
        break;
    case NEM_HEAL:
        heal_links(s);
        break;
    case NEM_PAUSE:
        pause_node(s, id);
        plan(s, NEM_PAUSE, s->swarm.pause_every_ms);
        break;
    case NEM_ALL_DOWN:
        s->counts.all_down++;
        for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
            crash(s, i);
        }
        plan(s, NEM_ALL_DOWN, s->swarm.all_down_every_ms);
        break;
    }
}

void faults_heal(struct sim *s)
{
    s->healed = true;
    heal_links(s);
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        s->nodes[i].paused_until_us = 0;
        if (!world_is_up(s, i)) {
            world_start_node(s, i);
        }
    }
}
