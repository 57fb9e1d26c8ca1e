/* server/group_snapshot.c - snapshots to a peer that is far behind, and from a leader.
 *
 * Out: checkpoint, write a file from it, announce it to the core; peers read chunks of
 * the file. In: chunks go to the disk one by one; the whole is installed when no
 * checkpoint is under way, then the log is reset, then the mark is cleared.
 */
#include "raft/record.h"
#include "server/group_internal.h"
#include "server/watch.h"

/* ---- what an update says ---- */

static void chunk_dropped(struct group *g, uint64_t snapshot_id)
{
    g->chunk_dropped = true;
    g->chunk_dropped_id = snapshot_id;
    group_wake(g);
}

/* Hands a received chunk to the disk; its bytes are copied. */
static void chunk_store(struct group *g, const struct raft_snapshot *snapshot,
                        const struct raft_chunk *chunk)
{
    struct group_chunk *c = NULL;

    if (g->chunks_count < g->options.limits.chunks_max &&
        chunk->data.len == chunk->len && chunk->len <= KV_SNAPSHOT_CHUNK_BYTES_MAX) {
        c = kv_mem_zalloc(sizeof *c + chunk->len);
    }
    if (c == NULL) {
        chunk_dropped(g, chunk->snapshot_id);
        return;
    }
    if (chunk->len > 0) {
        memcpy(c->data, chunk->data.data, chunk->len);
    }
    c->job = (struct disk_job){.kind = DISK_CHUNK_STORE, .group = g->id};
    c->job.u.chunk.snapshot = *snapshot;
    c->job.u.chunk.chunk = *chunk;
    c->job.u.chunk.chunk.data = kv_bytes(c->data, chunk->len);
    g->chunks_count++;
    disk_submit(g->node->disk, &c->job);
}

void group_snapshot_note(struct group *g, const struct raft_update *up)
{
    if (up->snapshot_wanted && !g->snapshot_wanted) {
        group_wake(g);
    }
    if (up->snapshot_bad != 0 && up->snapshot_bad == g->snapshot.id) {
        group_log(g, LOG_WARN, "snapshot=refused index=%llu by=peer",
                  (unsigned long long)g->snapshot.last.pos.index);
        g->snapshot_made = false;
    }
    g->snapshot_wanted = up->snapshot_wanted;
    g->snapshot_least = up->snapshot_least;
    if (up->chunk_store != NULL) {
        KV_ASSERT(up->chunk_snapshot != NULL);
        chunk_store(g, up->chunk_snapshot, up->chunk_store);
    }
    if (up->install != NULL && g->install_phase == GROUP_INSTALL_NONE) {
        g->install = *up->install;
        g->install_phase = GROUP_INSTALL_WANTED;
        group_wake(g);
    }
}

/* ---- out ---- */

static void feed_failed(struct group *g, uint64_t snapshot_id)
{
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_FAILED};

    ev.u.snapshot_id = snapshot_id;
    (void)group_feed(g, &ev);
}

static void feed_ready(struct group *g)
{
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_READY};

    ev.u.snapshot = &g->snapshot;
    (void)group_feed(g, &ev);
}

/* Where a snapshot must end at least to be of use. */
static raft_index least_of(const struct group *g)
{
    struct raft_status status;

    raft_status_get(g->raft, &status);
    return KV_MAX(status.base.pos.index, g->snapshot_least);
}

static void make_flush(struct group *g)
{
    raft_index checkpoint = state_checkpoint_base(g->st)->pos.index;

    if (g->snapshot_lost) {
        g->snapshot_lost = false;
        g->snapshot_made = g->snapshot_made && g->snapshot.id != g->snapshot_lost_id;
        feed_failed(g, g->snapshot_lost_id);
    }
    if (!g->snapshot_wanted || g->make_running || g->halted != 0) {
        return;
    }
    if (g->snapshot_made && g->snapshot.last.pos.index >= least_of(g)) {
        feed_ready(g);
        return;
    }
    if (g->snapshot_made) {
        g->snapshot_made = false; /* Too old: now a checkpoint is due. */
        group_wake(g);
    }
    if (checkpoint == 0 || checkpoint < least_of(g)) {
        return; /* The checkpoint comes first; it is due. */
    }
    g->make_job = (struct disk_job){.kind = DISK_SNAPSHOT_MAKE, .group = g->id};
    g->make_running = true;
    disk_submit(g->node->disk, &g->make_job);
}

static void make_done(struct group *g, const struct disk_job *job)
{
    g->make_running = false;
    if (job->result == 0) {
        g->snapshot = job->u.snapshot;
        g->snapshot_made = true;
        g->stats.snapshots_made++;
        group_log(g, LOG_INFO, "snapshot=made index=%llu bytes=%llu",
                  (unsigned long long)g->snapshot.last.pos.index,
                  (unsigned long long)g->snapshot.bytes);
        group_wake(g);
        return;
    }
    group_log(g, LOG_WARN, "snapshot=failed error=\"%s\"", kv_err_text(job->result));
    feed_failed(g, 0);
    if (job->result == KV_EDAMAGED) {
        group_state_damaged(g);
    }
}

int group_chunk(struct group *g, const struct raft_chunk *chunk, uint8_t *out)
{
    struct store *s = g->node->store;
    int rc = s->ops->snapshot_read(s, g->id, chunk->snapshot_id, chunk->offset,
                                   chunk->len, out);

    if (rc != 0) {
        g->snapshot_lost = true; /* We may be on the stack of raft_step(). */
        g->snapshot_lost_id = chunk->snapshot_id;
        group_wake(g);
    }
    return rc;
}

/* ---- in: chunks ---- */

static void chunk_done(struct group *g, struct disk_job *job)
{
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_STORED};
    const struct raft_chunk *chunk = &job->u.chunk.chunk;
    uint64_t id = chunk->snapshot_id;
    int rc = job->result;

    g->chunks_count--;
    ev.u.stored = (struct raft_stored){id, chunk->offset + chunk->len};
    job->next = g->chunks_done; /* The caller may still look at it: freed later. */
    g->chunks_done = job;
    group_wake(g);
    if (rc == 0) {
        (void)group_feed(g, &ev);
        return;
    }
    group_log(g, LOG_WARN, "snapshot_chunk=failed error=\"%s\"", kv_err_text(rc));
    feed_failed(g, id);
}

/* ---- in: installing ---- */

static void install_failed(struct group *g, int rc)
{
    group_log(g, LOG_WARN, "snapshot=not_installed error=\"%s\"", kv_err_text(rc));
    g->install_phase = GROUP_INSTALL_NONE;
    group_wake(g);
    feed_failed(g, g->install.id);
}

/* In place of a lost state it may end before what is committed here; then our log has
 * its last entry, or one of the two was changed. */
static bool contradicts_log(struct group *g, const struct raft_base *last)
{
    struct raft_meta meta;

    return last->pos.index <= g->commit &&
           raft_meta_get(g->raft, last->pos.index, &meta) == 0 &&
           (meta.pos.term != last->pos.term || meta.hash != last->hash);
}

static void install_flush(struct group *g)
{
    struct disk_job *job = &g->install_job;

    if (g->install_phase != GROUP_INSTALL_WANTED || g->checkpoint_running ||
        g->make_running) {
        return;
    }
    if (g->install.last.pos.index <= group_applied(g) && !g->lost.is_lost &&
        !KV_BUG(g->node->config, B44)) {
        install_failed(g, KV_EEXIST); /* A late one: the state is further. */
        return;
    }
    if (contradicts_log(g, &g->install.last)) {
        group_halt(g, KV_ECORRUPT,
                   "the leader's snapshot contradicts a committed entry");
        return;
    }
    g->install_phase = GROUP_INSTALL_INSTALLING;
    *job = (struct disk_job){.kind = DISK_INSTALL, .group = g->id};
    job->u.snapshot = g->install;
    disk_submit(g->node->disk, job);
}

/* Does the log hold the snapshot's last entry? Then what is behind it stays. */
static bool log_continues(struct group *g, const struct raft_base *last)
{
    struct raft_meta meta;

    return last->pos.index <= g->commit ||
           (raft_meta_get(g->raft, last->pos.index, &meta) == 0 &&
            meta.pos.term == last->pos.term);
}

static void log_reset(struct group *g)
{
    const struct raft_base *last = &g->install.last;
    struct log_write w = {.reset_to = last, .urgent = true};

    if (log_continues(g, last) && !KV_BUG(g->node->config, K10)) {
        tail_drop(&g->tail, KV_MIN(last->pos.index + 1, g->tail.end));
    } else {
        tail_reset(&g->tail, last->pos.index + 1);
        g->last = last->pos;
        g->durable = last->pos.index;
    }
    g->durable = KV_MAX(g->durable, last->pos.index);
    group_apply_forget(g);
    group_log_add(g, &w);
    g->install_phase = GROUP_INSTALL_RESETTING;
    g->install_write = g->writes_added;
}

/* The rows are switched in: everything in memory about the old state ends here. */
static void install_done(struct group *g, const struct disk_job *job)
{
    int rc = job->result;
    bool damaged;

    if (rc != 0) {
        install_failed(g, rc);
        return;
    }
    if (g->checkpoint_retry) {
        g->checkpoint_retry = false;
        state_checkpointed(g->st,
                           true); /* Dropped; state_reload() reads what is there. */
    }
    g->checkpoint_ms = UINT64_MAX;
    g->quiet_ms = UINT64_MAX;
    rc = state_reload(g->st);
    if (rc == 0) {
        rc = apply_reload(&g->apply);
    }
    damaged = rc == KV_EDAMAGED; /* Since it was verified: it needs another one. */
    if (rc != 0 && !damaged) {
        node_halt(g->node, rc, "group=%u cannot read the installed state: %s", g->id,
                  kv_err_text(rc));
        return;
    }
    if (group_applied(g) != g->install.last.pos.index) {
        node_halt(g->node, KV_ECORRUPT,
                  "group=%u installed another snapshot than asked for", g->id);
        return;
    }
    history_reset(&g->history, group_rev(g));
    if (!KV_BUG(g->node->config, K53)) {
        watches_on_reset(g->node, g);
    }
    group_state_replaced(g);
    group_write_lost(g, g->install.last.pos.index);
    log_reset(g);
    if (damaged) {
        group_state_damaged(g);
    }
}

/* The node must learn of the map now: nothing will bring it later. */
static void announce_map(struct group *g)
{
    struct kv_bytes map;
    uint64_t epoch;
    int rc;

    if (g->id != NODE_META_GROUP) {
        return;
    }
    arena_reset(&g->records_arena);
    rc = apply_map_read(g->st, &g->records_arena, &map, &epoch);
    if (rc == 0) {
        node_map_applied(g->node, map);
    } else if (rc == KV_EDAMAGED) {
        group_state_damaged(g); /* The next snapshot brings it. */
    } else if (rc != KV_ENOTFOUND) {
        node_halt(g->node, rc, "group=%u cannot read the installed map: %s", g->id,
                  kv_err_text(rc));
    }
}

/* Storage may have kept what lies behind a damaged last entry of the snapshot, which
 * the core finds out when it looks there. All of it is durable. */
static void take_over_end(struct group *g)
{
    struct raft_status st;

    raft_status_get(g->raft, &st);
    if (st.last.index > g->last.index) {
        tail_reset(&g->tail, st.last.index + 1);
        group_apply_forget(g);
        g->last = st.last;
        g->durable = KV_MAX(g->durable, st.last_durable);
    }
}

static void install_finished(struct group *g)
{
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED};
    int rc;

    g->install_phase = GROUP_INSTALL_NONE;
    g->stats.snapshots_installed++;
    g->snapshot_made = false;
    g->marks_count = 0;
    group_log(g, LOG_INFO, "snapshot=installed index=%llu term=%llu",
              (unsigned long long)g->install.last.pos.index,
              (unsigned long long)g->install.last.pos.term);
    ev.u.snapshot = &g->install;
    rc = group_feed(g, &ev);
    if (rc != 0 && g->halted == 0 && g->node->phase != NODE_HALTED) {
        group_halt(g, rc, "the core refused a snapshot that is installed");
    }
    if (rc == 0) {
        take_over_end(g);
    }
    announce_map(g);
    group_wake(g);
}

static void mark_clear(struct group *g)
{
    g->clear_ms = 0;
    g->install_job = (struct disk_job){.kind = DISK_MARK_CLEAR, .group = g->id};
    disk_submit(g->node->disk, &g->install_job);
}

void group_snapshot_written(struct group *g)
{
    if (g->install_phase != GROUP_INSTALL_RESETTING ||
        g->writes_done < g->install_write) {
        return;
    }
    g->install_phase = GROUP_INSTALL_CLEARING;
    mark_clear(g);
}

static void mark_cleared(struct group *g, int rc)
{
    if (rc == 0) {
        install_finished(g);
    } else if (rc == KV_ENOSPACE) {
        g->clear_ms = g->now_ms + GROUP_NO_SPACE_MS;
        group_log(g, LOG_WARN, "mark_clear=no_space retry_ms=%d", GROUP_NO_SPACE_MS);
    } else {
        node_halt(g->node, KV_EIO, "group=%u cannot clear the mark: %s", g->id,
                  kv_err_text(rc));
    }
}

uint64_t group_snapshot_deadline_ms(const struct group *g)
{
    return g->clear_ms != 0 ? g->clear_ms : UINT64_MAX;
}

/* ---- events ---- */

void group_chunks_free(struct group *g)
{
    while (g->chunks_done != NULL) {
        struct disk_job *job = g->chunks_done;

        g->chunks_done = job->next;
        kv_mem_free(job); /* First member of its struct group_chunk. */
    }
}

void group_snapshot_flush(struct group *g)
{
    group_chunks_free(g);
    if (g->chunk_dropped) {
        g->chunk_dropped = false;
        feed_failed(g, g->chunk_dropped_id);
    }
    make_flush(g);
    install_flush(g);
    if (g->now_ms >= group_snapshot_deadline_ms(g)) {
        mark_clear(g);
    }
}

void group_snapshot_job(struct group *g, struct disk_job *job)
{
    switch (job->kind) {
    case DISK_SNAPSHOT_MAKE:
        make_done(g, job);
        return;
    case DISK_CHUNK_STORE:
        chunk_done(g, job);
        return;
    case DISK_INSTALL:
        install_done(g, job);
        return;
    case DISK_MARK_CLEAR:
        mark_cleared(g, job->result);
        return;
    default:
        KV_UNREACHABLE();
    }
}
