/* raft/replication.c - appends, sends, counts; heartbeats and check-quorum. */
#include "raft/replication.h"

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/read.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "raft/transfer.h"
#include "raft/update.h"

/* ---- peers ---- */

struct raft_progress *raft_replication_find(struct raft *r, raft_id id)
{
    for (uint32_t i = 0; i < r->peers_count; i++) {
        if (r->peers[i].id == id) {
            return &r->peers[i];
        }
    }
    return NULL;
}

/* A stretch of flight_items that no peer in [0, count) uses. */
static struct raft_flight_item *spare_flight(const struct raft *r,
                                             const struct raft_progress *used,
                                             uint32_t count)
{
    for (uint32_t i = 0; i < RAFT_REPLICAS_MAX; i++) {
        struct raft_flight_item *items =
            r->flight_items + (size_t)i * r->o.flight_messages_max;
        bool taken = false;

        for (uint32_t k = 0; k < count; k++) {
            taken = taken || used[k].flight.items == items;
        }
        if (!taken) {
            return items;
        }
    }
    KV_UNREACHABLE();
}

void raft_replication_sync_peers(struct raft *r)
{
    const struct raft_config *c = &r->configs.now;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < r->peers_count; i++) {
        if (raft_quorum_member(c, r->peers[i].id)) {
            r->peers[kept++] = r->peers[i];
        }
    }
    r->peers_count = kept;
    for (uint32_t i = 0; i < c->voters_count + c->voters_old_count + c->learners_count;
         i++) {
        uint32_t old_end = c->voters_count + c->voters_old_count;
        raft_id id = i < c->voters_count ? c->voters[i]
                     : i < old_end       ? c->voters_old[i - c->voters_count]
                                         : c->learners[i - old_end];

        if (id == r->o.id || raft_replication_find(r, id) != NULL) {
            continue;
        }
        KV_ASSERT(r->peers_count < RAFT_REPLICAS_MAX);
        raft_progress_init(&r->peers[r->peers_count], id, r->log.last.index + 1,
                           spare_flight(r, r->peers, r->peers_count),
                           r->o.flight_messages_max);
        r->peers_count++;
    }
}

/* ---- a term as leader ---- */

/* Heartbeats of all groups of a node happen at the same multiples. */
static uint64_t next_heartbeat_ms(const struct raft *r)
{
    return (r->now_ms / r->o.heartbeat_ms + 1) * r->o.heartbeat_ms;
}

void raft_replication_start(struct raft *r)
{
    KV_ASSERT(raft_leads(r));
    KV_ASSERT(r->reads_waiting_count == 0);
    r->term_begin = r->log.last.index + 1;
    r->led_since_ms = r->now_ms;
    r->heartbeat_at_ms = next_heartbeat_ms(r);
    r->check_quorum_at_ms = r->now_ms + r->o.election_timeout_ms;
    r->round++;
    r->transfer_to = 0;
    r->outgoing_ready = false;
    r->snapshot_wanted = false;
    r->snapshot_wanted_from_ms = 0;
    r->peers_count = 0;
    raft_replication_sync_peers(r);
    if (r->configs.now_index == 0) {
        /* The group's first entry is its initial configuration, in place of the no-op:
         * who joins later learns from the log alone who voted when. */
        raft_config_append(r, &r->configs.now);
    } else if (!KV_BUG(r->o, B02)) {
        raft_replication_append(r, RAFT_ENTRY_NOOP, kv_bytes(NULL, 0), 0);
    }
}

void raft_replication_stop(struct raft *r)
{
    r->peers_count = 0;
    r->fresh.own = (struct raft_echo){0};
    r->transfer_to = 0;
    r->outgoing_ready = false;
    r->snapshot_wanted = false;
    r->snapshot_least = 0;
}

/* ---- appending ---- */

/* Replicated time: never behind the previous entry, the leader's clock or the
 * request's stamp; a stamp may lead the clock only so far. */
static uint64_t entry_time_ms(const struct raft *r, uint64_t stamp_ms)
{
    uint64_t ahead_max = r->wall_ms + r->o.stamp_ahead_ms_max;
    uint64_t stamp = KV_MIN(stamp_ms, KV_MAX(ahead_max, r->wall_ms));

    return KV_BUG(r->o, K04) ? r->wall_ms
                             : KV_MAX(KV_MAX(r->log.last_time_ms, r->wall_ms), stamp);
}

void raft_replication_append(struct raft *r, enum raft_entry_type type,
                             struct kv_bytes payload, uint64_t stamp_ms)
{
    struct raft_entry entry = {
        .pos = {.index = r->log.last.index + 1, .term = r->term},
        .type = (uint8_t)type,
        .time_ms = entry_time_ms(r, stamp_ms),
        .payload = payload,
    };

    KV_ASSERT(raft_leads(r));
    entry.hash = raft_entry_hash(r->log.last_hash, &entry);
    raft_update_entry(r, &entry);
}

int raft_replication_propose(struct raft *r, const struct raft_proposal *items,
                             uint32_t count)
{
    raft_index uncommitted = r->log.last.index - r->commit;

    if (!raft_leads(r) || r->transfer_to != 0) {
        return KV_ENOTLEADER;
    }
    if (count == 0 || count > RAFT_PROPOSALS_MAX) {
        return KV_EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].payload.len > RAFT_RECORD_PAYLOAD_MAX) {
            return KV_EINVAL;
        }
    }
    /* The window bounds what is not durable here, and what is not committed. */
    if (raft_update_entry_room(r) < count + RAFT_WINDOW_SLACK ||
        uncommitted + count + RAFT_WINDOW_SLACK > r->log.window) {
        return KV_EBUSY;
    }
    for (uint32_t i = 0; i < count; i++) {
        raft_replication_append(r, RAFT_ENTRY_COMMAND, items[i].payload,
                                items[i].stamp_ms);
    }
    return 0;
}

/* ---- commit ---- */

/* What `id` holds durably, as far as it counts. */
static uint64_t held_by(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;

    if (id == r->o.id) {
        /* Not before our own disk has it (B37). */
        return KV_BUG(r->o, K03) || (KV_BUG(r->o, B37) && r->peers_count == 0)
                   ? r->log.last.index
                   : r->log.last_durable;
    }
    if (KV_BUG(r->o, B13) &&
        !raft_quorum_lists(r->configs.now.voters, r->configs.now.voters_count, id)) {
        return r->log.last_durable;
    }
    for (uint32_t i = 0; i < r->peers_count; i++) {
        if (r->peers[i].id == id ||
            (KV_BUG(r->o, B24) &&
             !raft_quorum_votes(&r->configs.now, r->peers[i].id))) {
            return r->peers[i].amnesiac ? 0 : r->peers[i].match;
        }
    }
    return 0;
}

void raft_replication_commit(struct raft *r)
{
    raft_index agreed = raft_quorum_written(&r->configs.now, held_by, r);

    KV_ASSERT(raft_leads(r));
    KV_ASSERT(agreed <= r->log.last.index);
    /* §5.4.2, Figure 8: only entries of our own term are committed by counting. */
    if ((agreed >= r->term_begin || KV_BUG(r->o, B01)) && agreed > r->commit) {
        r->commit = agreed;
    }
}

/* ---- sending ---- */

/* How many entries from p->next on go into one message. */
static int batch_of(const struct raft *r, const struct raft_progress *p,
                    uint32_t *out_count, uint32_t *out_bytes)
{
    uint64_t bytes = 0;
    uint32_t count = 0;

    while (count < r->o.append_entries_max && p->next + count <= r->log.last.index) {
        struct raft_meta meta;
        int rc = raft_log_meta(&r->log, p->next + count, &meta);

        if (rc != 0) {
            return rc;
        }
        if (count > 0 && bytes + meta.payload_bytes > r->o.append_bytes_max) {
            break;
        }
        bytes += meta.payload_bytes;
        count++;
    }
    *out_count = count;
    *out_bytes = (uint32_t)KV_MIN(bytes, UINT32_MAX);
    return 0;
}

/* Sends one AppendEntries from p->next on, possibly without entries. Returns false
 * when nothing was sent: no room, a damaged entry, or the peer needs a snapshot. */
static bool send_append(struct raft *r, struct raft_progress *p)
{
    struct raft_meta prev;
    uint32_t count;
    uint32_t bytes;
    struct raft_msg *m;
    int rc = raft_log_meta(&r->log, p->next - 1, &prev);

    if (rc == 0) {
        rc = batch_of(r, p, &count, &bytes);
    }
    if (rc == KV_ECOMPACTED && KV_BUG(r->o, B36)) {
        prev = (struct raft_meta){.pos.index = p->next - 1};
        count = 0;
        rc = 0;
    }
    if (rc == KV_ECOMPACTED) {
        raft_progress_snapshot(p, r->now_ms);
        return false;
    }
    if (rc != 0) {
        raft_update_defer(r, rc);
        return false;
    }
    m = raft_update_message(r, RAFT_MSG_APPEND, p->id);
    if (m == NULL) {
        return false;
    }
    m->prev = prev.pos;
    m->prev_hash = prev.hash;
    m->commit = r->commit;
    m->round = r->round;
    m->entries_count = count;
    p->commit_sent = r->commit;
    if (p->state == RAFT_PROGRESS_REPLICATE && count > 0) {
        raft_progress_sent(p, p->next + count - 1, bytes, r->now_ms);
    }
    return true;
}

static void flush_peer(struct raft *r, struct raft_progress *p)
{
    if (p->state == RAFT_PROGRESS_PROBE && !p->probe_sent) {
        p->probe_sent = send_append(r, p);
        p->moved_ms = r->now_ms;
    }
    while (p->state == RAFT_PROGRESS_REPLICATE && p->next <= r->log.last.index &&
           !raft_progress_full(p, r->flight_bytes_max) && send_append(r, p)) {
    }
    /* Nothing to send, but it should know what it may apply. */
    if (p->state == RAFT_PROGRESS_REPLICATE && p->next > r->log.last.index &&
        p->commit_sent < r->commit) {
        (void)send_append(r, p);
    }
    if (p->state == RAFT_PROGRESS_SNAPSHOT) {
        raft_snapshot_send(r, p);
    }
}

void raft_replication_flush(struct raft *r)
{
    KV_ASSERT(raft_leads(r));
    r->snapshot_wanted = false;
    r->snapshot_least = 0;
    for (uint32_t i = 0; i < r->peers_count; i++) {
        flush_peer(r, &r->peers[i]);
    }
}

/* ---- rounds and timers ---- */

void raft_replication_round(struct raft *r, bool voters_only)
{
    KV_ASSERT(raft_leads(r));
    r->round += !(KV_BUG(r->o, B05) && voters_only); /* B05: never used twice. */
    raft_fresh_round(r);
    for (uint32_t i = 0; i < r->peers_count; i++) {
        struct raft_progress *p = &r->peers[i];
        struct raft_msg *m;

        if (voters_only && !raft_quorum_votes(&r->configs.now, p->id)) {
            continue;
        }
        m = raft_update_message(r, RAFT_MSG_HEARTBEAT, p->id);
        if (m == NULL) {
            return;
        }
        /* No further than what this peer is known to hold: it proves nothing. */
        m->commit = KV_BUG(r->o, B39) ? r->commit : KV_MIN(p->match, r->commit);
        m->round = r->round;
        m->stamp = p->echo.stamp;
        m->fresh = p->echo.index;
        p->commit_sent = KV_MAX(p->commit_sent, m->commit);
    }
}

/* When `id` gave its last sign of life, as far as it counts. */
static uint64_t alive_at(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;

    if (id == r->o.id) {
        return r->now_ms;
    }
    for (uint32_t i = 0; i < r->peers_count; i++) {
        if (r->peers[i].id == id) {
            return r->peers[i].amnesiac
                       ? 0
                       : KV_MAX(r->peers[i].active_ms, r->led_since_ms);
        }
    }
    return 0;
}

/* Returns false when the quorum was not heard within an election timeout. */
static bool check_quorum(struct raft *r)
{
    uint64_t heard_ms = raft_quorum_majority(&r->configs.now, alive_at, r);

    if (KV_BUG(r->o, B29) || KV_BUG(r->o, K17)) {
        heard_ms = r->now_ms;
    }
    if (heard_ms + r->o.election_timeout_ms <= r->now_ms) {
        return false;
    }
    r->check_quorum_at_ms = heard_ms + r->o.election_timeout_ms;
    return true;
}

void raft_replication_tick(struct raft *r)
{
    KV_ASSERT(raft_leads(r));
    if (r->now_ms >= r->check_quorum_at_ms && !check_quorum(r)) {
        raft_election_follow(r, r->term, 0);
        return;
    }
    raft_transfer_tick(r);
    if (r->now_ms >= r->heartbeat_at_ms) {
        r->heartbeat_at_ms = next_heartbeat_ms(r);
        raft_read_round(r, false);
        raft_snapshot_tick(r);
    }
}

uint64_t raft_replication_deadline(const struct raft *r)
{
    uint64_t at_ms = KV_MIN(r->heartbeat_at_ms, r->check_quorum_at_ms);

    return r->transfer_to != 0 ? KV_MIN(at_ms, r->transfer_until_ms) : at_ms;
}
