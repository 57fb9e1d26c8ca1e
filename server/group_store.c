/* server/group_store.c - checkpoints, compaction, the tail's front, reading the log. */
#include "server/group_internal.h"
#include "storage/failpoint.h"

/* ---- reading the log ---- */

int group_record(struct group *g, raft_index index, struct arena *arena,
                 struct kv_bytes *out)
{
    struct store *s = g->node->store;
    struct kv_bytes *records;
    uint32_t count = 0;
    int rc;

    if (tail_has(&g->tail, index)) {
        *out = tail_get(&g->tail, index);
        return 0;
    }
    rc = s->ops->log_read(s, g->id, index, index + 1, 1, arena, &records, &count);
    if (rc == 0 && count == 0) {
        rc = KV_ENOTFOUND;
    }
    if (rc == 0) {
        *out = records[0];
    }
    return rc;
}

/* Records (begin, begin + count] that are no longer in the tail. */
static uint32_t records_from_log(struct group *g, raft_index begin, uint32_t count,
                                 struct kv_bytes *out_records)
{
    struct store *s = g->node->store;
    struct kv_bytes *records;
    uint32_t found = 0;
    int rc;

    arena_reset(&g->records_arena);
    rc = s->ops->log_read(s, g->id, begin + 1, begin + 1 + count, KV_RECORD_BYTES_MAX,
                          &g->records_arena, &records, &found);
    if (rc == KV_EDAMAGED) {
        /* Which one: the first that cannot be read. The ones before it are sent. */
        raft_index index = group_repair_scan(g, begin + 1, begin + count);

        if (index != 0) {
            group_entry_damaged(g, index);
        }
        if (index > begin + 1) {
            rc = s->ops->log_read(s, g->id, begin + 1, index, KV_RECORD_BYTES_MAX,
                                  &g->records_arena, &records, &found);
        }
    }
    if (rc != 0) {
        return 0;
    }
    found = KV_MIN(found, count);
    memcpy(out_records, records, found * sizeof *records);
    return found;
}

uint32_t group_records(struct group *g, raft_index begin, uint32_t count,
                       struct kv_bytes *out_records)
{
    uint32_t found = 0;

    KV_ASSERT(g->magic == GROUP_MAGIC);
    if (count > 0 && begin + 1 < g->tail.begin) {
        raft_index log_end = KV_MIN(begin + count, g->tail.begin - 1);

        found = records_from_log(g, begin, (uint32_t)(log_end - begin), out_records);
        if (begin + found < log_end) {
            return found; /* No gap: the rest goes with the next message. */
        }
    }
    while (found < count && tail_has(&g->tail, begin + 1 + found)) {
        out_records[found] = tail_get(&g->tail, begin + 1 + found);
        found++;
    }
    return found;
}

/* ---- the tail's front ---- */

void group_tail_trim(struct group *g)
{
    while (g->tail.bytes > g->options.tail_bytes_max && g->tail.begin <= g->durable &&
           g->tail.begin < g->tail.end) {
        tail_drop(&g->tail, g->tail.begin + 1);
    }
}

/* ---- checkpoints ---- */

/* Writing a row soon costs a page for each row; writing many of them later, when more
 * of them share a page or were changed again, costs a fraction. So a group under load
 * waits until its delta or the log to replay is long enough, and one that has become
 * quiet gives its memory back. */
void group_store_touched(struct group *g)
{
    uint64_t spread = g->options.checkpoint_ms_max / 4 + 1;

    g->quiet_ms = g->now_ms + g->options.checkpoint_ms_max / GROUP_QUIET_PART + 1;
    if (g->checkpoint_ms == UINT64_MAX) {
        /* Groups that are written at the same time need not flush at the same time. */
        g->checkpoint_ms =
            g->now_ms + g->options.checkpoint_ms_max - g->id * 37u % spread;
    }
}

/* Has the log grown by half of what it may be since the last checkpoint? */
static bool log_has_grown(const struct group *g)
{
    uint64_t then = g->marks_count == 0 ? 0 : g->marks[g->marks_count - 1].bytes;

    return g->options.log_bytes_max != 0 &&
           g->log_bytes - then >= g->options.log_bytes_max / 2;
}

static bool checkpoint_is_due(const struct group *g)
{
    raft_index applied = group_applied(g);
    raft_index checkpoint = state_checkpoint_base(g->st)->pos.index;

    if (applied <= checkpoint) {
        return false;
    }
    return g->now_ms >= KV_MIN(g->checkpoint_ms, g->quiet_ms) ||
           state_delta_bytes(g->st) > g->options.delta_bytes_max / 2 ||
           applied - checkpoint >= KV_MAX(g->options.log_window / 2, 1u) ||
           log_has_grown(g) ||
           (g->snapshot_wanted && !g->make_running && !g->snapshot_made);
}

static void checkpoint_start(struct group *g)
{
    struct disk_job *job = &g->checkpoint_job;

    *job = (struct disk_job){.kind = DISK_CHECKPOINT, .group = g->id};
    if (state_freeze(g->st, &job->u.checkpoint) != 0) {
        g->checkpoint_ms = g->now_ms + GROUP_NO_SPACE_MS;
        g->quiet_ms = UINT64_MAX;
        return;
    }
    (void)KV_FAILPOINT(checkpoint_freeze);
    g->checkpoint_running = true;
    g->checkpoint_ms = UINT64_MAX;
    g->quiet_ms = UINT64_MAX;
    disk_submit(g->node->disk, job);
    if (group_applied(g) < g->commit) {
        group_wake(g); /* There is room again. */
    }
}

static bool checkpoint_may_begin(const struct group *g)
{
    return !g->checkpoint_running && g->install_phase == GROUP_INSTALL_NONE &&
           g->halted == 0 && !g->lost.is_lost &&
           /* The state on disk never runs ahead of this node's own durable log. */
           (g->checkpoint_retry || group_applied(g) <= g->durable ||
            KV_BUG(g->node->config, K11));
}

uint64_t group_store_deadline_ms(const struct group *g)
{
    if (!checkpoint_may_begin(g)) {
        return UINT64_MAX;
    }
    return g->checkpoint_retry ? g->checkpoint_ms
                               : KV_MIN(g->checkpoint_ms, g->quiet_ms);
}

static void checkpoint_flush(struct group *g)
{
    if (!checkpoint_may_begin(g)) {
        return;
    }
    if (g->checkpoint_retry) {
        if (g->now_ms >= g->checkpoint_ms) {
            g->checkpoint_retry = false;
            g->checkpoint_running = true;
            g->checkpoint_ms = UINT64_MAX;
            disk_submit(g->node->disk, &g->checkpoint_job);
        }
        return;
    }
    if (checkpoint_is_due(g)) {
        checkpoint_start(g);
    }
}

static void checkpoint_done(struct group *g, const struct disk_job *job)
{
    KV_ASSERT(g->checkpoint_running);
    g->checkpoint_running = false;
    group_wake(g);
    if (job->result == 0) {
        state_checkpointed(g->st, true);
        g->stats.checkpoints++;
        if (state_delta_bytes(g->st) > 0) {
            group_store_touched(g);
        }
        return;
    }
    state_checkpointed(g->st, false);
    if (job->result == KV_EDAMAGED) {
        g->checkpoint_retry = true; /* Until a snapshot takes the place of all of it. */
        group_state_damaged(g);
        return;
    }
    if (job->result != KV_ENOSPACE) {
        node_halt(g->node, KV_EIO, "group=%u checkpoint failed: %s", g->id,
                  kv_err_text(job->result));
        return;
    }
    g->checkpoint_retry = true;
    g->checkpoint_ms = g->now_ms + GROUP_NO_SPACE_MS;
    group_log(g, LOG_WARN, "checkpoint=no_space retry_ms=%d", GROUP_NO_SPACE_MS);
}

/* ---- compaction ---- */

void group_compact(struct group *g, const struct raft_base *base)
{
    struct raft_event ev = {.kind = RAFT_EV_COMPACTED};
    struct log_write w = {.compact_to = base, .urgent = true};

    KV_ASSERT(base->pos.index <= state_checkpoint_base(g->st)->pos.index);
    (void)KV_FAILPOINT(compact);
    ev.u.base = *base;
    if (group_feed(g, &ev) != 0) {
        return;
    }
    tail_drop(&g->tail, KV_MIN(base->pos.index + 1, g->tail.end));
    group_log_add(g, &w);
    g->stats.compactions++;
}

/* Remembers how long the log is at this checkpoint. */
static void mark_add(struct group *g)
{
    raft_index index = state_checkpoint_base(g->st)->pos.index;
    uint32_t keep = 0;

    if (g->marks_count > 0 && g->marks[g->marks_count - 1].index >= index) {
        return;
    }
    if (g->marks_count == GROUP_LOG_MARKS) { /* Every other one is as good. */
        for (uint32_t i = 1; i < g->marks_count; i += 2) {
            g->marks[keep++] = g->marks[i];
        }
        g->marks_count = keep;
    }
    g->marks[g->marks_count++] =
        (struct group_log_mark){.index = index, .bytes = g->log_bytes};
}

/* Bytes of the log behind `index`, as far as marks tell. */
static uint64_t bytes_behind(const struct group *g, raft_index index)
{
    for (uint32_t i = 0; i < g->marks_count; i++) {
        if (g->marks[i].index >= index) {
            return g->log_bytes - g->marks[i].bytes;
        }
    }
    return 0;
}

/* Where the log may be cut so that at least half of its bytes stay; 0: nowhere. */
static raft_index bytes_target(const struct group *g, raft_index base)
{
    uint64_t max = g->options.log_bytes_max;
    raft_index target = 0;

    if (max == 0 || bytes_behind(g, base + 1) <= max) {
        return 0;
    }
    for (uint32_t i = 0; i < g->marks_count; i++) {
        if (g->log_bytes - g->marks[i].bytes >= max / 2) {
            target = g->marks[i].index;
        }
    }
    return target;
}

/* No peer needs the entries up to here that is up and follows closely: all else can
 * wait for a snapshot until there is space. */
static raft_index pressed_target(const struct group *g,
                                 const struct raft_status *status)
{
    raft_index target = state_checkpoint_base(g->st)->pos.index;

    for (uint32_t i = 0; i < status->peers_count; i++) {
        const struct raft_peer_status *p = &status->peers[i];

        if (!p->amnesiac && !p->in_snapshot && p->active_ms != 0 &&
            g->now_ms - p->active_ms < GROUP_NO_SPACE_MS) {
            target = KV_MIN(target, p->match);
        }
    }
    return target;
}

/* Up to where the log may go: a window behind the checkpoint, and not the entries
 * that a peer needs behind the snapshot that it is being sent. */
static raft_index compact_target(const struct group *g,
                                 const struct raft_status *status)
{
    raft_index checkpoint = state_checkpoint_base(g->st)->pos.index;
    raft_index base = status->base.pos.index;
    raft_index target = bytes_target(g, base);

    if (checkpoint > base && checkpoint - base > g->options.log_window) {
        target = KV_MAX(target, checkpoint - g->options.log_window / 2);
    }
    target =
        KV_MIN(target, checkpoint); /* A lost state comes back at an older index. */
    if (g->is_pressed) {
        return KV_MAX(target, pressed_target(g, status));
    }
    for (uint32_t i = 0; i < status->peers_count; i++) {
        raft_index last = g->snapshot.last.pos.index;

        if (status->peers[i].in_snapshot && g->snapshot_made &&
            checkpoint - last < 8ull * g->options.log_window &&
            (g->options.log_bytes_max == 0 ||
             bytes_behind(g, last) <= 8 * g->options.log_bytes_max)) {
            target = KV_MIN(target, last);
        }
    }
    return target;
}

static void compact_flush(struct group *g)
{
    struct raft_status status;
    struct raft_meta meta;
    struct raft_base base;
    raft_index target;

    if (g->install_phase != GROUP_INSTALL_NONE || g->halted != 0) {
        return;
    }
    raft_status_get(g->raft, &status);
    target = compact_target(g, &status);
    if (target <= status.base.pos.index) {
        return;
    }
    if (raft_meta_get(g->raft, target, &meta) == 0) {
        base = (struct raft_base){meta.pos, meta.hash, meta.time_ms};
    } else {
        base = *state_checkpoint_base(g->st); /* Past a damaged entry. */
    }
    group_compact(g, &base);
}

void group_store_flush(struct group *g)
{
    checkpoint_flush(g);
    if (g->is_pressed) {
        compact_flush(g);
        g->is_pressed = disk_no_space(g->node->disk);
    }
    group_tail_trim(g);
}

void group_on_no_space(struct group *g)
{
    g->is_pressed = true;
    group_wake(g);
}

void group_store_job(struct group *g, struct disk_job *job)
{
    checkpoint_done(g, job);
    mark_add(g);
    compact_flush(g);
}
