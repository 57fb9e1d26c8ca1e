/* tests/sim/swarm.c - what a seed may do: a random subset of faults and strengths.
 *
 * Swarm testing (Groce et al. 2012): a seed with everything on would hide what only a
 * quiet or a one-sided run shows. About half of the seeds have a given fault.
 */
#include "tests/sim/kinds.h"

static uint32_t draw(struct sim *s, uint32_t low, uint32_t high)
{
    return faults_draw_between(s, low, high);
}

static bool coin(struct sim *s)
{
    return faults_coin(s);
}

/* Off, or between the two: small ones more often than large ones, so that the large
 * ones do not stop everything in each other seed. */
static uint32_t strength(struct sim *s, uint32_t low, uint32_t high)
{
    uint32_t a = draw(s, low, high), b = draw(s, low, high);

    return coin(s) ? 0 : coin(s) ? KV_MIN(a, b) : a;
}

/* One seed in `of` has it: a fault with heavy consequences. */
static uint32_t seldom(struct sim *s, uint32_t of, uint32_t low, uint32_t high)
{
    uint32_t value = draw(s, low, high);

    return draw(s, 1, of) == 1 ? value : 0;
}

static void draw_network(struct sim *s, struct sim_strengths *f)
{
    f->loss_ppm = strength(s, 100, 300000);
    f->dup_ppm = strength(s, 100, 500000);
    f->reorder_ppm = strength(s, 100, 500000);
    f->replay_ppm = strength(s, 100, 100000);
    f->replay_ms = draw(s, 20, 3000);
    f->stray_ppm = seldom(s, 6, 50, 3000);
    f->reset_every_ms = seldom(s, 3, 200, 5000);
    f->cut_every_ms = strength(s, 500, 6000);
    f->cut_ms = draw(s, 50, 5000);
    f->clog_every_ms = seldom(s, 3, 500, 8000);
    f->clog_ms = draw(s, 10, 2500);
    f->capacity = seldom(s, 4, 2, 20);
    f->capacity_busy = draw(s, 0, 1);
}

static void draw_nodes(struct sim *s, struct sim_strengths *f)
{
    f->config_every_ms = seldom(s, 3, 200, 6000);
    f->transfer_every_ms = seldom(s, 3, 100, 4000);
    f->crash_every_ms = strength(s, 500, 8000);
    f->turn_crash_every_ms = seldom(s, 3, 500, 8000);
    f->job_crash_every_ms = seldom(s, 3, 500, 8000);
    f->restart_ms = draw(s, 10, 4000);
    f->all_down_every_ms = seldom(s, 4, 4000, 20000);
    f->pause_every_ms = strength(s, 500, 6000);
    f->pause_ms = draw(s, 10, 2000);
    f->rate_ppm = strength(s, 0, 50000);
    f->step_every_ms = seldom(s, 3, 200, 5000);
    f->step_ms = draw(s, 1, 5000);
    f->memory_every_ms = seldom(s, 6, 500, 8000);
    f->hunt_every_ms = seldom(s, 3, 2000, 10000);
}

static void draw_disks(struct sim *s, struct sim_strengths *f)
{
    f->rot_entry_every_ms = seldom(s, 4, 200, 5000);
    f->rot_row_every_ms = seldom(s, 4, 200, 5000);
    f->rot_file_every_ms = seldom(s, 4, 200, 5000);
    f->ruin_every_ms = seldom(s, 6, 500, 10000);
    f->lose_node_every_ms = seldom(s, 8, 2000, 20000);
    f->write_error_every_ms = seldom(s, 4, 1000, 10000);
    f->misread_every_ms = seldom(s, 4, 200, 5000);
    f->full_every_ms = seldom(s, 4, 500, 5000);
    f->full_ms = draw(s, 10, 3000);
    f->slow_every_ms = seldom(s, 4, 500, 8000);
    f->slow_ms = draw(s, 10, 2000);
    f->stall_every_ms = seldom(s, 3, 500, 6000);
}

/* Leaves of the disks' faults those that a real store can have, and crashes more often
 * in the middle of jobs. */
static void only_real_stores(struct sim *s, struct sim_strengths *f)
{
    struct sim_strengths none = {0};

#define KEEP(name) none.name = f->name
    KEEP(write_error_every_ms);
    KEEP(full_every_ms);
    KEEP(full_ms);
    KEEP(slow_every_ms);
    KEEP(slow_ms);
    KEEP(stall_every_ms);
#undef KEEP
    draw_network(s, &none);
    draw_nodes(s, &none);
    none.job_crash_every_ms = seldom(s, 4, 1, 1) != 0 ? 0 : draw(s, 50, 2000);
    *f = none;
}

void swarm_draw(struct sim *s, const struct sim_swarm *fixed)
{
    struct sim_swarm *w = &s->swarm;

    *w = (struct sim_swarm){
        .nodes = coin(s)   ? 3
                 : coin(s) ? 5
                           : 1 + draw(s, 0, 6),
        .groups = draw(s, 1, 8),
        .clients = draw(s, 2, 12),
        .keys = draw(s, 1, 20),
        .ops_per_s = draw(s, 1, 8) == 1 ? draw(s, 60, 300) : draw(s, 20, 60),
        .delay_us_min = draw(s, 50, 2000),
        .delay_us_mean = draw(s, 100, 8000),
        .disk_us_min = draw(s, 20, 500),
        .disk_us_mean = draw(s, 50, 5000),
        .log_window = coin(s)   ? draw(s, 1, 16)
                      : coin(s) ? draw(s, 16, 64)
                                : draw(s, 64, 4096),
        .checkpoint_ms = draw(s, 20, 2000),
        .bug = fixed->bug,
        .kinds = kinds_draw(s),
    };
    w->replicas = coin(s) ? 3 : 1 + draw(s, 0, 4);
    draw_network(s, &w->f);
    draw_nodes(s, &w->f);
    w->lmdb = fixed->lmdb;
    w->keep = fixed->keep;
    draw_disks(s, &w->f);
    if (w->lmdb) {
        only_real_stores(s, &w->f);
    }
    limits_draw(s);
    if (w->f.stall_every_ms != 0 && coin(s)) {
        w->f.limit_delta = draw(s, 200, 1000); /* A checkpoint that hangs fills it. */
    }
    if (fixed->nodes != 0) {
        w->nodes = fixed->nodes;
    }
    if (fixed->groups != 0) {
        w->groups = fixed->groups;
    }
    if (fixed->replicas != 0) {
        w->replicas = fixed->replicas;
    }
    if (fixed->clients != 0) {
        w->clients = fixed->clients;
    }
    if (fixed->keys != 0) {
        w->keys = fixed->keys;
    }
    if (fixed->kinds != 0) {
        w->kinds = fixed->kinds;
    }
    if (fixed->ops_per_s != 0) {
        w->ops_per_s = fixed->ops_per_s;
    }
    w->replicas = KV_MIN(w->replicas, w->nodes);
    /* An even number of replicas is fine for Raft, but nobody runs it. */
    w->replicas -= w->replicas % 2 == 0;
    s->counts.loss_above_10_percent += w->f.loss_ppm > 100000;
    s->counts.loss_above_25_percent += w->f.loss_ppm > 250000;
    s->counts.dup_above_40_percent += w->f.dup_ppm > 400000;
}
