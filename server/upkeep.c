/* server/upkeep.c - when to sweep and to scrub. */
#include "server/upkeep.h"

#include "raft/base/err.h"

struct upkeep {
    struct disk_job sweep, scrub;
    bool sweeping, scrubbing; /* The job is under way. */
    bool scrub_on;
    uint64_t sweep_ms, scrub_ms; /* When the next one begins. */
    size_t scrub_step_bytes;
    struct upkeep_stats stats;
};

int upkeep_new(struct node *n, struct upkeep **out)
{
    struct upkeep *u = kv_mem_zalloc(sizeof(*u));

    if (u == NULL) {
        return KV_ENOMEM;
    }
    u->scrub_on = n->config.scrub_bytes_per_s > 0;
    u->scrub_step_bytes =
        (size_t)KV_MAX(n->config.scrub_bytes_per_s / (1000 / UPKEEP_SCRUB_MS), 1);
    u->sweep_ms = n->now_ms + UPKEEP_SWEEP_MS;
    u->scrub_ms = u->scrub_on ? n->now_ms + UPKEEP_SCRUB_MS : UINT64_MAX;
    *out = u;
    return 0;
}

void upkeep_free(struct upkeep *u)
{
    kv_mem_free(u);
}

void upkeep_tick(struct node *n)
{
    struct upkeep *u = n->upkeep;

    if (!u->sweeping && n->now_ms >= u->sweep_ms) {
        u->sweep = (struct disk_job){.kind = DISK_SWEEP, .store = n->store};
        u->sweeping = true;
        disk_submit(n->disk, &u->sweep);
    }
    if (u->scrub_on && !u->scrubbing && n->now_ms >= u->scrub_ms) {
        u->scrub = (struct disk_job){.kind = DISK_SCRUB, .store = n->store};
        u->scrub.u.scrub.bytes = u->scrub_step_bytes;
        u->scrubbing = true;
        disk_submit(n->disk, &u->scrub);
    }
}

uint64_t upkeep_deadline_ms(const struct upkeep *u)
{
    uint64_t sweep = u->sweeping ? UINT64_MAX : u->sweep_ms;
    uint64_t scrub = !u->scrub_on || u->scrubbing ? UINT64_MAX : u->scrub_ms;

    return KV_MIN(sweep, scrub);
}

static void scrub_done(struct node *n, const struct disk_job *job)
{
    struct upkeep *u = n->upkeep;
    const struct store_scrub *done = &job->u.scrub.done;
    const struct store_damage *damage = &done->damage;
    struct group *g;

    u->stats.scrubs++;
    u->stats.scrub_bytes += done->bytes;
    u->stats.scrub_rounds = done->round;
    if (!done->found) {
        return;
    }
    u->stats.damages++;
    node_log(n, LOG_ERROR, "group=%u node=%u damaged=%s index=%llu found_by=scrubber",
             damage->group, n->config.id, damage->in_state ? "state" : "log",
             (unsigned long long)damage->index);
    g = node_group(n, damage->group);
    if (g != NULL) {
        node_group_touch(n, damage->group);
        group_on_damage(g, damage);
    }
}

void upkeep_on_job(struct node *n, struct disk_job *job)
{
    struct upkeep *u = n->upkeep;

    if (job == &u->sweep) {
        u->sweeping = false;
        u->stats.sweeps++;
        u->sweep_ms = job->result == 0 && job->u.sweep.more
                          ? n->now_ms
                          : n->now_ms + UPKEEP_SWEEP_MS;
    } else {
        KV_ASSERT(job == &u->scrub);
        u->scrubbing = false;
        u->scrub_ms = n->now_ms + UPKEEP_SCRUB_MS;
        if (job->result == 0) {
            scrub_done(n, job);
        }
    }
    if (job->result != 0 && job->result != KV_ENOSPACE) {
        node_halt(n, job->result, "%s failed: %s", disk_kind_text(job->kind),
                  kv_err_text(job->result));
    }
}

void upkeep_stats_get(const struct upkeep *u, struct upkeep_stats *out)
{
    *out = u->stats;
}
