/* raft/raft.c - one event in, one update out: takes an event to its file. */
#include "raft/raft.h"

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/read.h"
#include "raft/recv.h"
#include "raft/replication.h"
#include "raft/reply.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "raft/transfer.h"
#include "raft/update.h"

/* ---- options and memory ---- */

void raft_options_init(struct raft_options *o, raft_id id, uint64_t seed)
{
    *o = (struct raft_options){
        .id = id,
        .seed = seed,
        .election_timeout_ms = 150,
        .heartbeat_ms = 50,
        .window = 2048,
        .flight_messages_max = 16,
        .append_entries_max = 128,
        .append_bytes_max = 512 * 1024,
        .flight_bytes_max = 4 * 1024 * 1024,
        .snapshot_chunk_bytes = 64 * 1024,
        .snapshot_flight_max = 8,
        .stamp_ahead_ms_max = 10 * 1000,
    };
}

static bool options_fit(const struct raft_options *o)
{
    return o->id != 0 && o->heartbeat_ms >= 1 &&
           o->election_timeout_ms > o->heartbeat_ms && o->window >= RAFT_WINDOW_MIN &&
           o->window <= (1u << 24) && (o->window & (o->window - 1)) == 0 &&
           o->flight_messages_max >= 1 && o->flight_messages_max <= 4096 &&
           o->append_entries_max >= 1 && o->append_entries_max <= RAFT_ENTRIES_MAX &&
           o->append_bytes_max >= 1 && o->snapshot_chunk_bytes >= 1 &&
           o->snapshot_flight_max >= 1;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

size_t raft_bytes(const struct raft_options *o)
{
    return aligned(sizeof(struct raft)) +
           aligned((size_t)o->window * sizeof(struct raft_meta)) +
           aligned((size_t)o->flight_messages_max * RAFT_REPLICAS_MAX *
                   sizeof(struct raft_flight_item));
}

/* ---- life ---- */

static bool found_fits(const struct raft_restore *found)
{
    const struct raft_base *base = &found->base;

    return base->pos.index <= found->applied && found->applied <= found->last &&
           base->pos.term <= found->term &&
           (base->pos.index > 0 || base->pos.term == 0) &&
           (base->pos.index > 0 || base->hash == 0) &&
           found->config_index <= found->applied && raft_config_valid(&found->config);
}

int raft_init(void *mem, const struct raft_options *o, const struct raft_restore *found,
              const struct raft_log_reader *reader, uint64_t now_ms, struct raft **out)
{
    struct raft *r = mem;
    uint8_t *tail = (uint8_t *)mem + aligned(sizeof *r);
    int rc;

    KV_ASSERT((uintptr_t)mem % 16 == 0);
    if (!options_fit(o)) {
        return KV_EINVAL;
    }
    if (!found_fits(found)) {
        return KV_ECORRUPT;
    }
    memset(r, 0, sizeof *r);
    r->o = *o;
    r->flight_bytes_max = o->flight_bytes_max != 0 ? o->flight_bytes_max : UINT32_MAX;
    r->log.reader = *reader;
    r->log.window = o->window;
    r->log.ring = (struct raft_meta *)(void *)tail;
    tail += aligned((size_t)o->window * sizeof(struct raft_meta));
    r->flight_items = (struct raft_flight_item *)(void *)tail;
    prng_init(&r->prng, o->seed);
    r->now_ms = now_ms;
    r->fresh.begin_ms = now_ms;
    r->term = found->term;
    r->vote = found->vote;
    r->term_durable = found->term;
    r->vote_durable = found->vote;
    r->impaired = found->impaired;
    rc = raft_log_load(&r->log, &found->base, found->last, found->impaired);
    if (rc != 0) {
        return rc;
    }
    if (r->log.last.term > r->term) {
        return KV_ECORRUPT;
    }
    /* B38, B39: never behind what is applied, never ahead of what is there. */
    r->commit = KV_BUG(r->o, B40)
                    ? found->commit_hint
                    : KV_MAX(found->applied, KV_MIN(found->commit_hint, found->last));
    r->applied = found->applied;
    r->proven = r->commit;
    raft_config_init(r, &found->config, found->config_index);
    rc = raft_config_scan(r, KV_BUG(r->o, B11) ? found->last : found->applied,
                          found->impaired); /* B11 */
    if (rc != 0) {
        return rc;
    }
    if (KV_BUG(r->o, B12)) {
        r->configs.now.voters_old_count = 0;
    }
    r->told_role = RAFT_FOLLOWER;
    r->told_term = r->term;
    raft_election_timer_reset(r);
    *out = r;
    return 0;
}

/* ---- work ---- */

static void step_persisted(struct raft *r, const struct raft_persisted *p)
{
    KV_ASSERT(p->term >= r->term_durable && p->term <= r->term);
    KV_ASSERT_IMPLIES(p->term == r->term_durable && r->vote_durable != 0,
                      p->vote == r->vote_durable);
    KV_ASSERT_IMPLIES(p->term == r->term && p->vote != 0, p->vote == r->vote);
    r->term_durable = p->term;
    r->vote_durable = p->vote;
    raft_log_persisted(&r->log, p->last);
}

static int step_event(struct raft *r, const struct raft_event *ev)
{
    switch (ev->kind) {
    case RAFT_EV_TICK:
        return 0;
    case RAFT_EV_MESSAGE:
        return raft_recv(r, ev->u.message);
    case RAFT_EV_PROPOSE:
        return raft_replication_propose(r, ev->u.propose.items, ev->u.propose.count);
    case RAFT_EV_PROPOSE_CONFIG:
        return raft_config_propose(r, ev->u.config);
    case RAFT_EV_READ:
        return raft_read_add(r, ev->u.read_tag);
    case RAFT_EV_TRANSFER:
        return raft_transfer_start(r, ev->u.peer);
    case RAFT_EV_PERSISTED:
        step_persisted(r, &ev->u.persisted);
        return 0;
    case RAFT_EV_APPLIED:
        KV_ASSERT(ev->u.index <= r->commit);
        r->applied = KV_MAX(r->applied, ev->u.index);
        return 0;
    case RAFT_EV_COMPACTED:
        KV_ASSERT(ev->u.base.pos.index <= r->applied);
        if (ev->u.base.pos.index > r->log.base.pos.index) {
            raft_log_compact(&r->log, &ev->u.base);
        }
        return 0;
    case RAFT_EV_SNAPSHOT_READY:
        raft_snapshot_ready(r, ev->u.snapshot);
        return 0;
    case RAFT_EV_SNAPSHOT_STORED:
        raft_snapshot_stored(r, &ev->u.stored);
        return 0;
    case RAFT_EV_SNAPSHOT_INSTALLED:
        return raft_snapshot_installed(r, ev->u.snapshot);
    case RAFT_EV_SNAPSHOT_FAILED:
        raft_snapshot_failed(r, ev->u.snapshot_id);
        return 0;
    case RAFT_EV_PEER_DOWN:
        raft_election_peer_down(r, ev->u.peer);
        return 0;
    case RAFT_EV_STATE_LOST:
        KV_ASSERT(ev->u.index <= r->commit);
        raft_election_state_lost(r, ev->u.index);
        return 0;
    case RAFT_EV_IMPAIRED:
        return raft_election_impaired(r, ev->u.impaired);
    default:
        KV_UNREACHABLE();
    }
}

/* What follows from any event: timers, commit, and everything that may be sent. */
static void step_settle(struct raft *r, bool persisted)
{
    if (raft_leads(r)) {
        raft_replication_tick(r);
    } else {
        raft_election_tick(r);
    }
    raft_election_settle(r);
    if (raft_leads(r)) {
        raft_replication_commit(r);
        raft_config_leave_joint(r);
        raft_read_advance(r);
        raft_replication_flush(r);
        raft_transfer_advance(r);
        raft_config_step_down(r);
    }
    raft_snapshot_settle(r);
    raft_reply_flush(r, persisted);
}

int raft_step(struct raft *r, const struct raft_event *ev,
              struct raft_update *out_update)
{
    bool failed;
    int rc;

    raft_update_begin(r);
    r->now_ms = KV_MAX(r->now_ms, ev->now_ms);
    r->wall_ms = ev->wall_ms;
    rc = step_event(r, ev);
    failed = rc != 0;
    if (!failed) {
        step_settle(r, ev->kind == RAFT_EV_PERSISTED);
        rc = r->deferred;
    }
#ifdef KV_DEBUG_CHECKS
    raft_check(r);
#endif
    raft_update_fill(r, failed, out_update);
    return rc;
}

/* ---- looking in ---- */

void raft_status_get(const struct raft *r, struct raft_status *out)
{
    *out = (struct raft_status){
        .role = r->role,
        .id = r->o.id,
        .leader = r->leader,
        .term = r->term,
        .vote = r->vote,
        .base = r->log.base,
        .last = r->log.last,
        .last_durable = r->log.last_durable,
        .commit = r->commit,
        .applied = r->applied,
        .last_hash = r->log.last_hash,
        .last_time_ms = r->log.last_time_ms,
        .can_read = raft_leads_surely(r),
        .transferring = r->transfer_to != 0,
        .impaired = raft_impaired(r),
        .peers_count = r->peers_count,
    };
    for (uint32_t i = 0; i < r->peers_count; i++) {
        const struct raft_progress *p = &r->peers[i];

        out->peers[i] = (struct raft_peer_status){
            .id = p->id,
            .match = p->match,
            .next = p->next,
            .active_ms = p->active_ms,
            .in_snapshot = p->state == RAFT_PROGRESS_SNAPSHOT,
            .amnesiac = p->amnesiac,
        };
    }
}

const struct raft_config *raft_config_get(const struct raft *r, raft_index *out_index)
{
    if (out_index != NULL) {
        *out_index = r->configs.now_index;
    }
    return &r->configs.now;
}

void raft_config_view_get(const struct raft *r, struct raft_config_view *out)
{
    *out = (struct raft_config_view){
        .now = &r->configs.now,
        .before = &r->configs.before,
        .now_index = r->configs.now_index,
        .before_index = r->configs.before_index,
        .is_committed = r->configs.now_index <= r->commit,
    };
}

int raft_meta_get(const struct raft *r, raft_index index, struct raft_meta *out_meta)
{
    return raft_log_meta(&r->log, index, out_meta);
}
