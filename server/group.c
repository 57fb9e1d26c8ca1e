/* server/group.c - a group's life, its events, and what others may ask of it. */
#include "server/group_internal.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    GROUP_BATCH_BLOCK_BYTES = 4096,
    GROUP_RECORDS_BLOCK_BYTES = 4096,
    GROUP_LOG_LINE_BYTES = 512,
};

/* ---- speaking ---- */

void group_log(struct group *g, enum log_level level, const char *format, ...)
{
    char line[GROUP_LOG_LINE_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    node_log(g->node, level, "group=%u %s", g->id, line);
}

void group_halt(struct group *g, int code, const char *why)
{
    if (g->halted != 0) {
        return;
    }
    g->halted = code;
    g->role = RAFT_FOLLOWER;
    g->leader = 0;
    g->changed = true;
    group_log(g, LOG_ERROR, "is=halted error=%s why=\"%s\"", kv_err_name(code), why);
    group_wake(g);
}

/* ---- life ---- */

void group_limits_init(struct group_limits *l)
{
    *l = (struct group_limits){
        .queued_max = 8192,
        .batch_max = RAFT_PROPOSALS_MAX,
        .batch_bytes_max = (size_t)4 * 1024 * 1024,
        .ring_max = GROUP_RING_CAP,
        .undurable_bytes_max = (size_t)32 * 1024 * 1024,
        .read_batches_max = GROUP_READ_BATCHES,
        .read_count_max = 4096,
        .serve_bytes_max = (size_t)4 * 1024 * 1024,
        .apply_flush_max = 2048,
        .read_ahead_count = 256,
        .read_ahead_bytes = (size_t)1024 * 1024,
        .chunks_max = 32,
        .retention_ms = KV_RETENTION_MS,
        .results_max = RECORD_RESULTS_MAX,
    };
    raft_options_init(&l->raft, 1, 0);
}

static void options_check(const struct group_options *o)
{
    const struct group_limits *l = &o->limits;

    KV_ASSERT(l->queued_max > 0 && l->batch_bytes_max > 0);
    KV_ASSERT(l->batch_max > 0 && l->batch_max <= RAFT_PROPOSALS_MAX);
    KV_ASSERT(l->ring_max > 0 && l->ring_max <= GROUP_RING_CAP);
    KV_ASSERT(l->read_batches_max > 0 && l->read_batches_max <= GROUP_READ_BATCHES);
    KV_ASSERT(l->read_count_max > 0 && l->serve_bytes_max > 0);
    KV_ASSERT(l->apply_flush_max > 0 && l->read_ahead_count > 0);
    KV_ASSERT(l->read_ahead_bytes > 0 && l->chunks_max >= l->raft.snapshot_flight_max);
    KV_ASSERT(l->retention_ms > 0);
    KV_ASSERT(l->results_max > 0 && l->results_max <= RECORD_RESULTS_MAX);
    KV_ASSERT(o->self != 0);
    KV_ASSERT(o->delta_bytes_max > 0 && o->tail_bytes_max > 0);
    KV_ASSERT(o->log_window > 0 && o->checkpoint_ms_max > 0);
}

/* What storage holds, as the core wants it. */
static int restore_of(struct group *g, const struct log_state *log,
                      struct raft_restore *out)
{
    const struct state_meta *m = state_meta_get(g->st);

    *out = (struct raft_restore){.term = log->term,
                                 .vote = log->vote,
                                 .base = log->base,
                                 .last = log->last.pos.index,
                                 .applied = m->applied.pos.index,
                                 .commit_hint = log->commit_hint,
                                 .config = m->config,
                                 .config_index = m->config_index};
    if (out->applied > out->last || out->applied < out->base.pos.index || m->mark) {
        return KV_ELOST; /* Parts of the directory do not belong together. */
    }
    if (out->config.voters_count == 0 && out->config_index == 0) {
        out->config = g->options.initial;
    }
    g->damage.index = group_repair_scan(g, out->applied + 1, out->last);
    out->impaired = g->damage.index != 0;
    g->damage.told = out->impaired;
    return 0;
}

static int open_raft(struct group *g, const struct raft_restore *found)
{
    struct raft_options o = g->options.limits.raft;
    struct raft_log_reader reader = group_reader(g);
    struct env *env = g->node->env;

    o.id = g->self;
    o.seed = env->ops->random(env);
    o.election_timeout_ms = g->options.election_timeout_ms;
    o.heartbeat_ms = g->options.heartbeat_ms;
#ifdef KV_MUTANTS
    o.bug = g->node->config.bug;
#endif
    if (g->raft_memory == NULL) {
        g->raft_memory = kv_mem_zalloc(raft_bytes(&o));
    }
    if (g->raft_memory == NULL) {
        return KV_ENOMEM;
    }
    g->now_ms = env->ops->now_ms(env);
    return raft_init(g->raft_memory, &o, found, &reader, g->now_ms, &g->raft);
}

/* Changes are kept from here on; what the log brings again is among them. */
static void history_begin_at(struct group *g)
{
    struct state_observer observer = {history_changing, &g->history, ROW_KV};

    history_reset(&g->history, KV_BUG(g->node->config, K54) ? 0 : group_rev(g));
    g->apply.history = &g->history;
    state_observe(g->st, &observer);
}

static int open_parts(struct group *g)
{
    struct store *s = g->node->store;
    struct raft_restore found;
    struct raft_status status;
    struct log_state log;
    int rc;

    rc = s->ops->log_load(s, g->id, &log);
    if (rc == 0) {
        rc = state_open(s, g->id, g->options.delta_bytes_max, &g->st);
    }
    if (rc == 0) {
        rc = apply_open(&g->apply, g->st);
        g->apply.retention_ms = g->options.limits.retention_ms;
        g->apply.results_max = g->options.limits.results_max;
        history_begin_at(g);
#ifdef KV_MUTANTS
        g->apply.bug = g->node->config.bug;
        g->pending.bug = g->node->config.bug;
#endif
    }
    if (rc == KV_EDAMAGED && g->apply.st != NULL) {
        group_state_damaged(g); /* As any row: a snapshot brings it back. */
        rc = 0;
    }
    if (rc != 0) {
        return rc;
    }
    tail_init(&g->tail, log.last.pos.index + 1);
    rc = restore_of(g, &log, &found);
    if (rc == 0) {
        rc = open_raft(g, &found);
    }
    if (rc == KV_EDAMAGED && !found.impaired) {
        /* An entry that the checkpoint covers is damaged: nobody needs it. The log is
         * compacted past it in the first flush (group_repair.c). */
        found.base = state_meta_get(g->st)->applied;
        rc = open_raft(g, &found);
    }
    if (rc != 0) {
        return rc;
    }
    raft_status_get(g->raft, &status);
    g->role = status.role;
    g->leader = status.leader;
    g->term = status.term;
    g->commit = status.commit;
    g->last = log.last.pos;
    g->durable = log.last.pos.index;
    g->hard_term = log.term;
    g->hard_vote = log.vote;
    return 0;
}

/* Frees the parts; anything may be missing. */
static void group_free(struct group *g)
{
    group_chunks_free(g);
    if (g->apply.st != NULL) {
        apply_close(&g->apply);
    }
    state_close(g->st);
    tail_close(&g->tail);
    pending_close(&g->pending);
    history_close(&g->history);
    arena_close(&g->records_arena);
    arena_close(&g->ahead_arena);
    arena_close(&g->batch);
    leases_clear(&g->locks.leases);
    kv_mem_free(g->ring);
    kv_mem_free(g->damage.record);
    kv_mem_free(g->raft_memory);
    g->magic = 0;
    kv_mem_free(g);
}

int group_open(struct node *n, const struct group_options *o, struct group **out)
{
    struct group *g;
    int rc;

    options_check(o);
    g = kv_mem_zalloc(sizeof *g);
    if (g == NULL) {
        return KV_ENOMEM;
    }
    g->magic = GROUP_MAGIC;
    g->id = o->id;
    g->self = o->self;
    g->node = n;
    g->options = *o;
    g->expire_ms = UINT64_MAX;
    g->checkpoint_ms = UINT64_MAX;
    g->quiet_ms = UINT64_MAX;
    g->tag_begin = 1;
    g->tag_end = 1;
    tail_init(&g->tail, 1);
    history_init(&g->history, group_history_bytes(n, false));
    pending_init(&g->pending);
    arena_init(&g->records_arena, GROUP_RECORDS_BLOCK_BYTES, 0);
    arena_init(&g->ahead_arena, GROUP_RECORDS_BLOCK_BYTES, 0);
    arena_init(&g->batch, GROUP_BATCH_BLOCK_BYTES, 0);
    g->ring = kv_mem_zalloc(GROUP_RING_CAP * sizeof *g->ring);
    rc = g->ring == NULL ? KV_ENOMEM : open_parts(g);
    if (rc != 0) {
        group_free(g);
        return rc;
    }
    g->dirty = true; /* What is known to be committed wants to be applied. */
    *out = g;
    return 0;
}

/* Ends or reroutes every request; the group takes none any more. */
static void drop_requests(struct group *g, const char *why)
{
    group_lock_stop(g);
    group_write_end_all(g, why);
    group_read_reroute_all(g);
    group_read_serve(g);
}

void group_close(struct group *g)
{
    struct request_list *l = &g->rerouted;

    KV_ASSERT(g->magic == GROUP_MAGIC && !g->feeding);
    drop_requests(g, "the node is stopping");
    while (l->head != NULL) {
        struct request *req = l->head;

        request_list_remove(l, req);
        reply_error(req, KV_ENOLEADER,
                    "group %u: the node is stopping; try another node", g->id);
    }
    group_free(g);
}

/* ---- events ---- */

void group_on_message(struct group *g, const struct raft_msg *msg)
{
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE};

    if (msg->to != g->self) {
        return; /* For a replica that this node had in an earlier life. */
    }
    ev.u.message = msg;
    g->propose_blocked = false;
    (void)group_feed(g, &ev);
    if (g->queued.head != NULL || group_w_waits(g)) {
        group_wake(g);
    }
}

void group_on_log_done(struct group *g, const struct raft_persisted *persisted,
                       uint32_t writes)
{
    struct raft_event ev = {.kind = RAFT_EV_PERSISTED};

    g->writes_done += writes;
    KV_ASSERT(g->writes_done <= g->writes_added);
    tail_written(&g->tail, g->writes_done);
    if (persisted->last.index > 0) {
        g->durable = persisted->last.index;
    }
    g->propose_blocked = false;
    group_wake(g);
    ev.u.persisted = *persisted;
    (void)group_feed(g, &ev);
    group_snapshot_written(g);
}

void group_on_job(struct group *g, struct disk_job *job)
{
    KV_ASSERT(g->magic == GROUP_MAGIC && job->group == g->id);
    group_wake(g);
    switch (job->kind) {
    case DISK_CHECKPOINT:
        group_store_job(g, job);
        return;
    case DISK_REPAIR:
        group_repair_job(g, job);
        return;
    default:
        group_snapshot_job(g, job);
        return;
    }
}

void group_on_peer_down(struct group *g, uint32_t node)
{
    struct raft_event ev = {.kind = RAFT_EV_PEER_DOWN};

    ev.u.peer = node_replica_on(g->node, g->id, node);
    if (ev.u.peer != 0) {
        (void)group_feed(g, &ev);
    }
}

int group_transfer(struct group *g, uint32_t node)
{
    struct raft_event ev = {.kind = RAFT_EV_TRANSFER};
    int rc;

    ev.u.peer = node == 0 ? 0 : node_replica_on(g->node, g->id, node);
    if (!group_leads(g)) {
        return KV_ENOTLEADER;
    }
    if (node != 0 && ev.u.peer == 0) {
        return KV_EINVAL;
    }
    rc = group_feed(g, &ev);
    if (rc == 0 && group_leads(g)) {
        struct raft_status status;

        raft_status_get(g->raft, &status);
        g->handing_over = status.transferring;
        group_wake(g);
    }
    return rc;
}

int group_propose_config(struct group *g, const struct raft_config *config)
{
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE_CONFIG};

    KV_ASSERT(g->magic == GROUP_MAGIC);
    if (!group_leads(g)) {
        return KV_ENOTLEADER;
    }
    ev.u.config = config;
    return group_feed(g, &ev);
}

void group_tick(struct group *g)
{
    uint64_t now_ms = g->node->now_ms;

    group_expire(g, now_ms);
    if (now_ms >= g->raft_deadline_ms) {
        g->propose_blocked = false;
        (void)group_feed_kind(g, RAFT_EV_TICK);
        if (g->queued.head != NULL || group_wants_slots(g) || group_w_waits(g)) {
            group_wake(g);
        }
    }
    if (now_ms >= group_store_deadline_ms(g) || now_ms >= group_repair_deadline_ms(g) ||
        now_ms >= group_snapshot_deadline_ms(g) ||
        now_ms >= group_record_deadline_ms(g) || now_ms >= group_ttl_deadline_ms(g) ||
        now_ms >= group_lock_deadline_ms(g)) {
        group_wake(g);
    }
}

void group_flush(struct group *g)
{
    KV_ASSERT(g->magic == GROUP_MAGIC);
    g->now_ms = KV_MAX(g->now_ms, g->node->now_ms);
    g->dirty = false;
    if (g->halted == 0) {
        group_repair_flush(g);
        group_write_flush(g);
        group_read_flush(g);
        group_apply_flush(g);
        group_w_flush(g);
        group_record_flush(g);
        group_ttl_flush(g);
        group_read_serve(g);
        group_local_serve(g);
        group_lock_flush(g);
        group_store_flush(g);
        group_snapshot_flush(g);
    }
    if (g->halted != 0 && !g->requests_dropped) {
        g->requests_dropped = true;
        drop_requests(g, "this replica has stopped");
    }
    if (g->changed) {
        g->changed = false;
        node_group_changed(g->node, g);
    }
    group_reroute_flush(g);
}

/* ---- looking in ---- */

group_id group_id_get(const struct group *g)
{
    return g->id;
}

uint64_t group_deadline_ms(const struct group *g)
{
    uint64_t at = KV_MIN(g->raft_deadline_ms, g->expire_ms);

    if (g->halted != 0) {
        return UINT64_MAX;
    }
    if (g->dirty) {
        return 0;
    }
    at = KV_MIN(at, group_store_deadline_ms(g));
    at = KV_MIN(at, group_snapshot_deadline_ms(g));
    at = KV_MIN(at, group_record_deadline_ms(g));
    at = KV_MIN(at, group_ttl_deadline_ms(g));
    at = KV_MIN(at, group_lock_deadline_ms(g));
    return KV_MIN(at, group_repair_deadline_ms(g));
}

bool group_is_dirty(const struct group *g)
{
    return g->dirty;
}

bool group_is_leader(const struct group *g)
{
    return group_leads(g) && !g->handing_over;
}

uint32_t group_leader_node(const struct group *g)
{
    if (g->leader == g->self && g->leader != 0) {
        return g->node->config.id;
    }
    return g->leader == 0 ? 0 : node_of_replica(g->node, g->id, g->leader);
}

void group_raft_status(const struct group *g, struct raft_status *out)
{
    raft_status_get(g->raft, out);
    if (g->halted != 0) {
        out->role = RAFT_FOLLOWER;
        out->leader = 0;
    }
}

const struct raft_config *group_config(const struct group *g)
{
    raft_index index;

    return raft_config_get(g->raft, &index);
}

const struct raft *group_raft(const struct group *g)
{
    return g->raft;
}

const struct state_meta *group_state_meta(const struct group *g)
{
    return state_meta_get(g->st);
}

struct state *group_state(struct group *g)
{
    return g->st;
}

uint64_t group_rev(const struct group *g)
{
    return apply_rev(&g->apply, group_applied(g));
}

struct history *group_history(struct group *g)
{
    return &g->history;
}

size_t group_history_bytes(const struct node *n, bool is_watched)
{
    size_t share = n->config.memory_bytes_max / 4 / KV_MAX(n->config.groups, 1u);
    size_t bytes = KV_MIN(n->config.history_bytes_max, share);

    return is_watched ? bytes : bytes / 8;
}

uint32_t group_requests_count(const struct group *g)
{
    return g->queued.count + g->proposed_count + g->reads_queued.count +
           g->reads_waiting + g->reads_local.count + g->locks.held.count +
           g->w.queued.count + g->w.held.count;
}

int group_halted(const struct group *g)
{
    return g->halted;
}

bool group_state_is_whole(const struct group *g)
{
    return g->halted == 0 && !g->lost.is_lost && g->node->phase != NODE_HALTED;
}

void group_stats_get(const struct group *g, struct group_stats *out)
{
    *out = g->stats;
    out->tail_bytes = g->tail.bytes;
    out->delta_bytes = state_delta_bytes(g->st);
    out->state_lost = g->lost.is_lost;
}
