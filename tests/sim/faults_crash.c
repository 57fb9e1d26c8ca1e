/* tests/sim/faults_crash.c - nodes die between events, inside a turn, inside a job. */
#include "server/disk.h"
#include "tests/lib/mem_store.h"
#include "tests/sim/sim.h"

enum {
    HUNT_MS = 1500,
    HUNT_CALLS_MAX = 15, /* Calls to the outside that a new leader lives to make. */
};

/* Jobs that a node may die of. Two of them are writes to the log of a special kind. */
enum sim_job_doom {
    DOOM_LOG,
    DOOM_RESET,
    DOOM_COMPACT,
    DOOM_REPAIR,
    DOOM_IDENTITY,
    DOOM_CHECKPOINT,
    DOOM_SNAPSHOT_MAKE,
    DOOM_CHUNK,
    DOOM_INSTALL,
    DOOM_MARK_CLEAR,
    DOOMS_COUNT,
    DOOM_SELDOM = DOOM_REPAIR, /* From here on they are seldom, or about snapshots. */
};

void faults_node_died(struct sim *s, uint32_t node)
{
    world_crash_node(s, node);
    heap_push(s, (struct sim_event){.at_us = faults_until_us(s, s->swarm.f.restart_ms),
                                    .kind = EV_RESTART,
                                    .node = node,
                                    .life = s->nodes[node].life});
}

void faults_crash_idle(struct sim *s, uint32_t node)
{
    if (world_is_up(s, node)) {
        s->counts.crash_idle++;
        faults_node_died(s, node);
    }
}

/* Between storing and sending, between two sends, ... */
void faults_crash_turn(struct sim *s, uint32_t node)
{
    s->nodes[node].doom_in = faults_draw_between(s, 1, 20);
}

void faults_crash_job(struct sim *s, uint32_t node)
{
    uint32_t first = faults_coin(s) ? 0 : DOOM_SELDOM;

    s->nodes[node].doom_job = 1 + faults_draw_between(s, first, DOOMS_COUNT - 1);
    s->nodes[node].doom_job_after = faults_coin(s);
}

void faults_all_down(struct sim *s, uint32_t node)
{
    (void)node;
    s->counts.all_down++;
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        faults_crash_idle(s, i);
    }
}

/* As when the work of leading is what kills: the next one dies of it, too. */
void faults_hunt(struct sim *s, uint32_t node)
{
    s->hunted_group = faults_draw_between(s, 0, s->swarm.groups);
    s->hunt_until_us = faults_until_us(s, HUNT_MS);
    s->counts.hunts++;
    sim_note(s, node, "leaders are hunted");
}

void faults_elected(struct sim *s, uint32_t node, uint32_t group)
{
    if (group == s->hunted_group && s->now_us < s->hunt_until_us && !s->healed) {
        /* Before it says so, in the middle, or a little later. */
        s->nodes[node].doom_in =
            1 + (uint32_t)prng_below(&s->nodes[node].prng, HUNT_CALLS_MAX);
        s->counts.hunted++;
    }
}

void faults_stall(struct sim *s, uint32_t node)
{
    uint32_t seldom = faults_draw_between(s, DOOM_SELDOM, DOOMS_COUNT - 1);
    uint32_t dice = faults_draw_between(s, 0, 2);

    s->nodes[node].stall_job = 1 + (dice == 0   ? DOOM_LOG
                                    : dice == 1 ? DOOM_CHECKPOINT
                                                : seldom);
    s->nodes[node].stall_us = 1000 * faults_draw_between(s, 100, 3000);
}

/* ---- inside a job ---- */

static bool log_job_is(const struct disk_job *job, enum sim_job_doom doom)
{
    for (uint32_t i = 0; i < job->u.log.count; i++) {
        const struct log_write *w = &job->u.log.writes[i];

        if ((doom == DOOM_RESET && w->reset_to != NULL) ||
            (doom == DOOM_COMPACT && w->compact_to != NULL)) {
            return true;
        }
    }
    return doom == DOOM_LOG;
}

static bool job_is(const struct disk_job *job, enum sim_job_doom doom)
{
    static const enum disk_kind kinds[DOOMS_COUNT] = {
        [DOOM_LOG] = DISK_LOG,
        [DOOM_RESET] = DISK_LOG,
        [DOOM_COMPACT] = DISK_LOG,
        [DOOM_REPAIR] = DISK_REPAIR,
        [DOOM_IDENTITY] = DISK_IDENTITY,
        [DOOM_CHECKPOINT] = DISK_CHECKPOINT,
        [DOOM_SNAPSHOT_MAKE] = DISK_SNAPSHOT_MAKE,
        [DOOM_CHUNK] = DISK_CHUNK_STORE,
        [DOOM_INSTALL] = DISK_INSTALL,
        [DOOM_MARK_CLEAR] = DISK_MARK_CLEAR,
    };

    return job->kind == kinds[doom] && (job->kind != DISK_LOG || log_job_is(job, doom));
}

uint64_t faults_job_stall_us(struct sim *s, uint32_t node, const struct disk_job *job)
{
    struct sim_node *n = &s->nodes[node];

    if (n->stall_job == 0 || !job_is(job, (enum sim_job_doom)(n->stall_job - 1))) {
        return 0;
    }
    n->stall_job = 0;
    s->counts.stalls++;
    s->counts.stalled_installs += job->kind == DISK_INSTALL;
    sim_note(s, node, "its disk hangs");
    return n->stall_us;
}

static void doom_count(struct sim_counts *c, enum sim_job_doom doom)
{
    c->crash_at_log += doom == DOOM_LOG;
    c->crash_at_reset += doom == DOOM_RESET;
    c->crash_at_compact += doom == DOOM_COMPACT;
    c->crash_at_repair += doom == DOOM_REPAIR;
    c->crash_at_identity += doom == DOOM_IDENTITY;
    c->crash_at_checkpoint += doom == DOOM_CHECKPOINT;
    c->crash_at_snapshot_make += doom == DOOM_SNAPSHOT_MAKE;
    c->crash_at_chunk += doom == DOOM_CHUNK;
    c->crash_at_install += doom == DOOM_INSTALL;
    c->crash_at_mark_clear += doom == DOOM_MARK_CLEAR;
}

bool faults_job_kills(struct sim *s, uint32_t node, struct disk_job *job)
{
    struct sim_node *n = &s->nodes[node];
    enum sim_job_doom doom = (enum sim_job_doom)(n->doom_job - 1);
    char line[64];

    if (n->doom_job == 0 || s->healed || !job_is(job, doom)) {
        return false;
    }
    n->doom_job = 0;
    doom_count(&s->counts, doom);
    if (n->lmdb != NULL) { /* The crash cuts it somewhere. */
        snprintf(line, sizeof line, "dies in job %s", disk_kind_text(job->kind));
        sim_note(s, node, line);
        return true;
    }
    if (n->doom_job_after) {
        disk_job_run(job);
        s->counts.crash_after_job++;
    } else if (doom == DOOM_CHUNK && faults_coin(s)) {
        struct raft_chunk *chunk = &job->u.chunk.chunk;

        /* Its beginning got into the file. */
        chunk->len = (uint32_t)prng_below(&s->prng, (uint64_t)chunk->len + 1);
        chunk->data.len = chunk->len;
        disk_job_run(job);
        s->counts.crash_at_chunk_torn++;
    } else {
        s->counts.jobs_lost++;
        s->counts.crash_before_job++;
    }
    snprintf(line, sizeof line, "dies %s job %s",
             n->doom_job_after ? "after" : "before", disk_kind_text(job->kind));
    sim_note(s, node, line);
    return true;
}
