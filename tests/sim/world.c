/* tests/sim/world.c - nodes that start and die, their clocks and their disks. */
#include <stdio.h>

#include "tests/sim/sim.h"
#include "tests/sim/truth.h"

static struct sim_node *of_env(struct env *e)
{
    return (struct sim_node *)(void *)e;
}

/* ---- struct env_ops ---- */

static uint64_t env_now_us(struct env *e)
{
    struct sim_node *n = of_env(e);

    return n->clock_base_us +
           n->sim->now_us * (uint64_t)(1000000 + n->rate_ppm) / 1000000;
}

static uint64_t env_now_ms(struct env *e)
{
    return env_now_us(e) / 1000;
}

static uint64_t env_wall_ms(struct env *e)
{
    struct sim_node *n = of_env(e);

    return (uint64_t)(1700000000000 +
                      (int64_t)(env_now_ms(e) - n->clock_base_us / 1000) + n->id * 37 +
                      n->wall_off_ms);
}

static uint64_t env_random(struct env *e)
{
    return prng_next(&of_env(e)->prng);
}

/* Every call with an effect outside comes by here. True when nothing of it is to
 * happen, because the node dies in this turn, before this call. */
static bool is_dying(struct sim_node *n)
{
    if (n->doom_in > 0 && !n->dying) {
        n->doom_in--;
        if (n->doom_in == 0) {
            n->dying = true;
            n->sim->counts.crash_in_turn++;
        }
    }
    return n->dying;
}

static void disk_start(struct sim_node *n, enum disk_lane lane)
{
    struct sim *s = n->sim;
    struct disk_job *job = n->queue_head[lane];
    uint64_t us;

    if (job == NULL || n->running[lane] != NULL || n->dying) {
        return;
    }
    n->queue_head[lane] = job->next;
    if (n->queue_head[lane] == NULL) {
        n->queue_tail[lane] = NULL;
    }
    n->running[lane] = job;
    if (lane == DISK_LANE_LOG) {
        s->counts.log_jobs++;
    } else {
        s->counts.state_jobs++;
        s->counts.checkpoints += job->kind == DISK_CHECKPOINT;
        s->counts.snapshots += job->kind == DISK_INSTALL;
    }
    us = s->swarm.disk_us_min +
         prng_below(&n->prng, 2 * (uint64_t)s->swarm.disk_us_mean + 1);
    if (s->now_us < n->disk_slow_until_us) {
        us *= s->slow_factor;
    }
    us += faults_job_stall_us(s, n->id, job);
    heap_push(s, (struct sim_event){.at_us = s->now_us + us,
                                    .kind = EV_DISK,
                                    .node = n->id,
                                    .life = n->life,
                                    .arg = lane});
}

static void env_disk_submit(struct env *e, struct disk_job *job)
{
    MEMORY_OURS();
    struct sim_node *n = of_env(e);
    enum disk_lane lane = disk_job_lane(job->kind);

    (void)is_dying(n); /* Then it stays in the queue and goes with it. */
    job->next = NULL;
    if (n->queue_tail[lane] != NULL) {
        n->queue_tail[lane]->next = job;
    } else {
        n->queue_head[lane] = job;
    }
    n->queue_tail[lane] = job;
    disk_start(n, lane);
}

/* Drops a job that will never come back. Only chunks own their memory: in
 * group_snapshot.c the job is their first member. */
static void job_drop(struct disk_job *job)
{
    if (job->kind == DISK_CHUNK_STORE) {
        kv_mem_free(job);
    }
}

void world_disk_event(struct sim *s, uint32_t id, enum disk_lane lane)
{
    struct sim_node *n = &s->nodes[id];
    struct disk_job *job = n->running[lane];

    KV_ASSERT(job != NULL);
    if (faults_job_kills(s, id, job)) {
        if (n->lmdb == NULL) { /* Else the crash cuts it. */
            n->running[lane] = NULL;
            job_drop(job);
        }
        faults_node_died(s, id);
        return;
    }
    store_run(n, job);
    s->cover.job[job->kind]++;
    cover_error(s->cover.job_error, job->result);
    n->running[lane] = NULL;
    memory_enter(&n->memory_in);
    node_disk_done(n->node, job);
    memory_leave();
    if (n->node != NULL) {
        disk_start(n, lane);
    }
    world_turn_end(s, id);
}

static uint64_t env_link_dial(struct env *e, const char *host, uint16_t port)
{
    MEMORY_OURS();
    (void)host;
    return net_dial(of_env(e)->sim, of_env(e)->id, port);
}

static int env_link_send(struct env *e, uint64_t link, struct kv_bytes frames)
{
    MEMORY_OURS();
    if (is_dying(of_env(e))) {
        return 0;
    }
    return net_link_send(of_env(e)->sim, of_env(e)->id, link, frames);
}

static uint64_t env_link_queued(struct env *e, uint64_t link)
{
    return net_link_queued(of_env(e)->sim, link);
}

static uint64_t env_conn_queued(struct env *e, uint64_t conn)
{
    return watcher_queued(of_env(e)->sim, conn);
}

static void env_link_close(struct env *e, uint64_t link)
{
    MEMORY_OURS();
    net_link_close(of_env(e)->sim, of_env(e)->id, link);
}

static int env_conn_send(struct env *e, uint64_t conn, struct kv_bytes messages)
{
    MEMORY_OURS();
    if (is_dying(of_env(e))) {
        return 0;
    }
    truth_look(of_env(e)->sim, of_env(e)->id);
    client_from_node(of_env(e)->sim, of_env(e)->id, conn, messages);
    return 0;
}

static void env_conn_close(struct env *e, uint64_t conn, bool now)
{
    MEMORY_OURS();
    (void)now;
    client_close_from_node(of_env(e)->sim, of_env(e)->id, conn);
}

static void env_conn_read(struct env *e, uint64_t conn, bool on)
{
    (void)e;
    (void)conn;
    (void)on;
}

/* A replica that stops is seen by what it says: its node may restart before the end. */
static void look_for_halt(struct sim_node *n, const char *line)
{
    unsigned group = 0;

    if (strstr(line, " is=halted ") != NULL && sscanf(line, "group=%u", &group) == 1 &&
        !faults_excuse_group(n->sim, n->id, group)) {
        sim_fail(n->sim, "node %u: %s", n->id, line);
    }
}

static void env_log(struct env *e, enum log_level level, const char *line)
{
    MEMORY_OURS();
    if (level == LOG_ERROR) {
        look_for_halt(of_env(e), line);
    }
    if (level <= LOG_INFO) {
        sim_note(of_env(e)->sim, of_env(e)->id, line);
    }
}

static void env_halt(struct env *e, int code, const char *why)
{
    MEMORY_OURS();
    struct sim_node *n = of_env(e);

    n->halted = true;
    n->halt_code = code;
    snprintf(n->halt_why, sizeof n->halt_why, "%s: %s", kv_err_name(code), why);
}

const struct env_ops world_env_ops = {
    .now_ms = env_now_ms,
    .now_us = env_now_us,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .disk_submit = env_disk_submit,
    .link_dial = env_link_dial,
    .link_send = env_link_send,
    .link_queued = env_link_queued,
    .link_close = env_link_close,
    .conn_send = env_conn_send,
    .conn_queued = env_conn_queued,
    .conn_close = env_conn_close,
    .conn_read = env_conn_read,
    .log = env_log,
    .halt = env_halt,
    .stepped = watch_stepped,
};

/* ---- life ---- */

bool world_is_up(const struct sim *s, uint32_t id)
{
    return s->nodes[id].node != NULL;
}

static void world_config(const struct sim *s, uint32_t id, struct node_config *c)
{
    node_config_init(c);
    c->id = id;
    c->nodes_count = s->swarm.nodes;
    for (uint32_t i = 0; i < s->swarm.nodes; i++) {
        struct node_address *a = &c->nodes[i];

        *a = (struct node_address){.id = i + 1,
                                   .client_port = (uint16_t)(SIM_PORT_CLIENT + i + 1),
                                   .peer_port = (uint16_t)(SIM_PORT_PEER + i + 1)};
        snprintf(a->host, sizeof a->host, "127.0.0.1");
    }
    c->groups = s->swarm.groups;
    c->replicas = s->swarm.replicas;
    c->log_window = s->swarm.log_window;
    c->checkpoint_ms_max = s->swarm.checkpoint_ms;
    c->delta_bytes_max = 1024 * 1024;
    /* Small enough for a start to be cheap, and for limits to be met. */
    c->memory_bytes_max = 16 * 1024 * 1024;
    c->max_connections = 64;
    c->history_bytes_max = 256 * 1024;
    c->requests_max = 4096;
    c->vnodes = 32;
    c->scrub_bytes_per_s = 128 * 1024;
#ifdef KV_MUTANTS
    c->bug = s->swarm.bug;
#endif
    limits_apply(s, c);
}

void world_start_node(struct sim *s, uint32_t id)
{
    struct sim_node *n = &s->nodes[id];
    struct node_config c;
    char text[256] = "";
    int rc;

    KV_ASSERT(n->node == NULL);
    n->life++;
    n->halted = false;
    n->tick_at_us = 0;
    s->counts.restarts++;
    world_config(s, id, &c);
    rc = store_start(n, text, sizeof text);
    if (rc == 0) {
        memory_enter(&n->memory_in);
        rc = node_new(&c, &n->env, store_of(n), &n->node, text, sizeof text);
        memory_leave();
    }
    if (rc != 0) {
        n->node = NULL;
        if (faults_excuse_start(s, id, rc)) {
            sim_note(s, id, text);
            return;
        }
        sim_fail(s, "node %u does not start: %s %s", id, kv_err_name(rc), text);
        return;
    }
    sim_note(s, id, "started");
    watch_start(s, id);
    node_tick(n->node);
    world_turn_end(s, id);
}

void world_crash_node(struct sim *s, uint32_t id)
{
    struct sim_node *n = &s->nodes[id];

    if (n->node == NULL) {
        return;
    }
    sim_note(s, id, "crashed");
    store_crash_begin(n);
    for (int lane = 0; lane < DISK_LANES_COUNT; lane++) {
        if (n->running[lane] != NULL) {
            job_drop(n->running[lane]);
        }
        n->running[lane] = NULL;
        while (n->queue_head[lane] != NULL) {
            struct disk_job *job = n->queue_head[lane];

            n->queue_head[lane] = job->next;
            job_drop(job);
        }
        n->queue_tail[lane] = NULL;
    }
    n->dying = true; /* What node_free() says to clients is not heard. */
    net_node_down(s, id);
    client_node_down(s, id);
    node_free(n->node);
    n->dying = false;
    n->node = NULL;
    store_crash_end(n);
    n->paused_until_us = 0;
    n->doom_in = 0;
    n->doom_job = 0;
    n->has_io_error = false;
    n->has_misread = false;
    n->has_memory_fault = n->memory_in > 0;
    n->life++;
    s->counts.crashes++;
    watch_crash(s, id);
}

/* The node's clock runs faster or slower than the world's, and began earlier. */
static uint64_t world_time_us(const struct sim_node *n, uint64_t node_ms)
{
    uint64_t base_ms = n->clock_base_us / 1000;
    uint64_t ms = node_ms > base_ms ? node_ms - base_ms : 0;
    uint64_t us = KV_MIN(ms, (uint64_t)1 << 30) * 1000;

    return (us * 1000000 + (uint64_t)(1000000 + n->rate_ppm) - 1) /
           (uint64_t)(1000000 + n->rate_ppm);
}

/* After events: the turn's end, the next tick, the checks. */
void world_turn_end(struct sim *s, uint32_t id)
{
    struct sim_node *n = &s->nodes[id];
    uint64_t deadline_us;

    if (n->node == NULL) {
        return;
    }
    if (!n->halted) {
        memory_enter(&n->memory_in);
        node_turn_end(n->node);
        memory_leave();
    }
    s->counts.turns++;
    if (n->dying) {
        faults_node_died(s, id);
        return;
    }
    if (n->halted) {
        s->counts.halts++;
        sim_note(s, id, n->halt_why);
        if (faults_excuse_halt(s, id, n->halt_code)) {
            faults_node_died(s, id);
            return;
        }
        sim_fail(s, "node %u halted: %s", id, n->halt_why);
        world_crash_node(s, id);
        return;
    }
    deadline_us = KV_MAX(world_time_us(n, node_deadline_ms(n->node)), s->now_us);
    if (n->tick_at_us == 0 || deadline_us < n->tick_at_us) {
        n->tick_at_us = deadline_us;
        heap_push(s, (struct sim_event){.at_us = deadline_us,
                                        .kind = EV_TICK,
                                        .node = id,
                                        .life = n->life,
                                        .arg = deadline_us});
    }
    watch_turn(s, id);
    truth_look(s, id);
}
