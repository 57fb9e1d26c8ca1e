/* server/group_feed.c - one event into the core, the duties of its update out. */
#include "raft/record.h"
#include "server/disk.h"
#include "server/group_internal.h"
#include "storage/failpoint.h"

enum {
    /* The core hands out at most a full proposal or message, and a few of its own. */
    FEED_ENTRIES_MAX = RAFT_PROPOSALS_MAX + 64,
};
_Static_assert((int)RAFT_ENTRIES_MAX <= (int)RAFT_PROPOSALS_MAX, "one bound for both");

/* ---- duty 1: store ---- */

static void log_add(struct group *g, struct log_write *w, struct raft_pos last)
{
    struct raft_persisted persisted = {
        .term = g->hard_term, .vote = g->hard_vote, .last = last};

    w->group = g->id;
    w->commit_hint =
        KV_BUG(g->node->config, B38) ? g->last.index : KV_MIN(g->commit, g->last.index);
    g->writes_added++;
    tail_handed_out(&g->tail, g->writes_added);
    disk_log_add(g->node->disk, w, &persisted);
}

void group_log_add(struct group *g, struct log_write *w)
{
    log_add(g, w, (struct raft_pos){0, 0});
}

/* Makes the tail end where the new entries begin. */
static void tail_make_room(struct group *g, raft_index first)
{
    if (first == g->tail.end) {
        return;
    }
    KV_ASSERT(first < g->tail.end); /* No gap. */
    group_apply_forget(g);
    if (first < g->tail.begin) {
        tail_reset(&g->tail, first);
    } else {
        tail_cut(&g->tail, first);
    }
}

static bool entry_is_urgent(const struct raft_entry *e)
{
    return e->type != RAFT_ENTRY_COMMAND || command_is_urgent(e->payload);
}

/* Encodes the update's entries into the tail. False when there is no memory. */
static bool encode_entries(struct group *g, const struct raft_update *up,
                           struct kv_bytes *records, bool *out_urgent)
{
    bool urgent = true;

    KV_ASSERT(up->entries_count <= FEED_ENTRIES_MAX);
    tail_make_room(g, up->entries[0].pos.index);
    for (uint32_t i = 0; i < up->entries_count; i++) {
        if (tail_append(&g->tail, &up->entries[i], &records[i]) != 0) {
            return false;
        }
        g->log_bytes += records[i].len;
        pending_put(&g->pending, &up->entries[i], group_applied(g));
        urgent = urgent && entry_is_urgent(&up->entries[i]);
    }
    *out_urgent = urgent;
    return true;
}

static void feed_store(struct group *g, const struct raft_update *up)
{
    struct kv_bytes records[FEED_ENTRIES_MAX];
    struct raft_pos last = {0, 0};
    struct log_write w = {.urgent = true};

    if (!up->store_hard && up->entries_count == 0) {
        return;
    }
    if (up->store_hard) {
        g->hard_term = up->term;
        g->hard_vote = up->vote;
        w.store_hard = true;
        w.term = up->term;
        w.vote = KV_BUG(g->node->config, B18) ? 0 : up->vote;
    }
    if (up->entries_count > 0) {
        bool urgent = false;

        if (!encode_entries(g, up, records, &urgent)) {
            g->halted = KV_ENOMEM; /* Whoever fed the event must not go on with it. */
            node_halt(g->node, KV_ENOMEM, "group=%u no memory for log records", g->id);
            return;
        }
        last = up->entries[up->entries_count - 1].pos;
        w.records = records;
        w.records_count = up->entries_count;
        w.first_index = up->entries[0].pos.index;
        w.urgent = urgent || w.store_hard;
        g->last = last;
        g->durable = KV_MIN(g->durable, w.first_index - 1);
        group_repair_overwritten(g, w.first_index, g->writes_added + 1);
    }
    log_add(g, &w, last);
}

/* ---- duties 2, 4, 5, 6 ---- */

static void feed_send(struct group *g, const struct raft_update *up)
{
    for (uint32_t i = 0; i < up->messages_count; i++) {
        peers_send_raft(g->node, g, &up->messages[i]);
    }
}

static void note_role(struct group *g, const struct raft_update *up)
{
    if (!up->role_changed && !up->config_changed) {
        return;
    }
    if (up->role != g->role || up->leader != g->leader || up->term != g->term) {
        g->stats.role_changes++;
        g->stats.elections_won += up->role == RAFT_LEADER && g->role != RAFT_LEADER;
        g->handing_over = false;
    }
    g->role = up->role;
    g->leader = up->leader;
    g->term = up->term;
    g->changed = true;
    group_wake(g);
}

static void note_commit(struct group *g, const struct raft_update *up)
{
    KV_ASSERT(up->commit >= g->commit);
    if (up->commit > g->commit) {
        g->commit = up->commit;
        group_wake(g);
    }
}

static void feed_note(struct group *g, const struct raft_update *up)
{
    g->raft_deadline_ms = up->deadline_ms;
    note_role(g, up);
    for (uint32_t i = 0; i < up->reads_count; i++) {
        group_read_confirmed(g, &up->reads[i]);
    }
    group_snapshot_note(g, up);
    if (g->handing_over) {
        struct raft_status status;

        raft_status_get(g->raft, &status);
        g->handing_over = status.transferring;
        g->changed = g->changed || !g->handing_over;
        group_wake(g);
    }
}

/* ---- the one call ---- */

static void tell_stepped(const struct group *g, const struct raft_event *ev,
                         const struct raft_update *up, int rc)
{
    struct env *env = g->node->env;
    struct env_step step = {.group = g, .event = ev, .update = up, .rc = rc};

    if (env->ops->stepped != NULL) {
        env->ops->stepped(env, &step);
    }
}

static bool is_fatal(int rc)
{
    return rc == KV_ECORRUPT || rc == KV_EFORMAT || rc == KV_EIO;
}

int group_feed(struct group *g, struct raft_event *ev)
{
    struct raft_update up;
    int rc;

    KV_ASSERT(g->magic == GROUP_MAGIC);
    KV_ASSERT(!g->feeding); /* One event at a time: nothing below may call back in. */
    if (g->halted != 0 || g->node->phase == NODE_HALTED) {
        return g->halted != 0 ? g->halted : KV_ECLOSED;
    }
    g->feeding = true;
    g->now_ms = KV_MAX(g->now_ms, g->node->now_ms);
    ev->now_ms = g->now_ms;
    ev->wall_ms = g->node->env->ops->wall_ms(g->node->env);
    (void)KV_FAILPOINT(feed);
    rc = raft_step(g->raft, ev, &up);
    if (rc == KV_ENOMEM) {
        /* Not this log's fault: the process begins anew, with all its replicas. */
        g->halted = KV_ENOMEM;
        node_halt(g->node, KV_ENOMEM, "group=%u no memory to read its log", g->id);
    } else if (is_fatal(rc)) {
        group_halt(g, rc,
                   "the log of this replica contradicts the others or cannot be read");
    } else {
        note_commit(g, &up);
        (void)KV_FAILPOINT(feed_store);
        feed_store(g, &up);
        (void)KV_FAILPOINT(feed_send);
        feed_send(g, &up);
        feed_note(g, &up);
    }
    tell_stepped(g, ev, &up, rc);
    g->feeding = false;
    return rc != 0 ? rc : g->halted;
}

int group_feed_kind(struct group *g, enum raft_event_kind kind)
{
    struct raft_event ev = {.kind = kind};

    return group_feed(g, &ev);
}

/* ---- the core's eyes ---- */

static int reader_meta(void *ctx, raft_index index, struct raft_meta *out)
{
    struct group *g = ctx;
    struct raft_entry entry;
    int rc;

    if (tail_has(&g->tail, index)) {
        rc = raft_record_decode(tail_get(&g->tail, index), &entry);
        if (rc == 0) {
            *out =
                (struct raft_meta){entry.pos, entry.type, (uint32_t)entry.payload.len,
                                   entry.time_ms, entry.hash};
            return 0;
        }
    }
    rc = g->node->store->ops->log_meta(g->node->store, g->id, index, out);
    if (rc == KV_EDAMAGED) {
        group_entry_damaged(g, index);
    }
    return rc;
}

static int reader_entry(void *ctx, raft_index index, struct raft_entry *out)
{
    struct group *g = ctx;
    struct kv_bytes record;
    int rc;

    arena_reset(&g->records_arena);
    rc = group_record(g, index, &g->records_arena, &record);
    if (rc == 0) {
        rc = raft_record_decode(record, out);
    }
    if (rc == KV_EDAMAGED) {
        group_entry_damaged(g, index);
    }
    return rc;
}

struct raft_log_reader group_reader(struct group *g)
{
    return (struct raft_log_reader){
        .ctx = g, .meta = reader_meta, .entry = reader_entry};
}
