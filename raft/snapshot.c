/* raft/snapshot.c - chunks out, chunks in, and the log after an install. */
#include "raft/snapshot.h"

#include "raft/base/err.h"
#include "raft/config.h"
#include "raft/election.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "raft/update.h"

/* ---- leader ---- */

static void want_snapshot(struct raft *r, const struct raft_progress *p)
{
    if (r->now_ms >= r->snapshot_wanted_from_ms) {
        r->snapshot_wanted = true;
    }
    if (p->state_lost) {
        r->snapshot_least = KV_MAX(r->snapshot_least, p->snapshot_least);
    }
}

/* Does the snapshot at hand lead this peer on? */
static bool helps(const struct raft *r, const struct raft_progress *p)
{
    raft_index last = r->outgoing.last.pos.index;

    return r->outgoing_ready && last >= r->log.base.pos.index &&
           (p->state_lost ? last >= p->snapshot_least : last > p->match);
}

void raft_snapshot_state_lost(struct raft *r, struct raft_progress *p, raft_index least)
{
    if (p->state != RAFT_PROGRESS_SNAPSHOT || !p->state_lost ||
        least > p->snapshot_least) {
        raft_progress_probe(p, p->match + 1);
        raft_progress_snapshot(p, r->now_ms);
    }
    p->state_lost = true;
    p->snapshot_least = least;
}

static bool send_chunk(struct raft *r, struct raft_progress *p)
{
    uint64_t left = r->outgoing.bytes - p->offset_sent;
    struct raft_msg *m = raft_update_message(r, RAFT_MSG_SNAPSHOT, p->id);

    if (m == NULL) {
        return false;
    }
    KV_ASSERT(left > 0);
    m->snapshot = r->outgoing;
    m->chunk.snapshot_id = r->outgoing.id;
    m->chunk.offset = p->offset_sent;
    m->chunk.len = (uint32_t)KV_MIN(left, r->o.snapshot_chunk_bytes);
    m->chunk.done = m->chunk.len == left;
    p->offset_sent += m->chunk.len;
    return true;
}

void raft_snapshot_send(struct raft *r, struct raft_progress *p)
{
    uint64_t flight_bytes =
        (uint64_t)r->o.snapshot_flight_max * r->o.snapshot_chunk_bytes;
    bool under_way = r->outgoing_ready && p->snapshot_id == r->outgoing.id;

    KV_ASSERT(p->state == RAFT_PROGRESS_SNAPSHOT);
    if (!under_way) {
        if (!helps(r, p)) {
            want_snapshot(r, p); /* The one at hand, if any, does not lead on. */
            return;
        }
        p->snapshot_id = r->outgoing.id;
        p->offset_sent = 0;
        p->offset_acked = 0;
        p->offset_rewound = UINT64_MAX;
        p->moved_ms = r->now_ms;
    }
    while (p->offset_sent < r->outgoing.bytes &&
           p->offset_sent < p->offset_acked + flight_bytes && send_chunk(r, p)) {
    }
}

/* Goes back to what is known to be stored. When that is everything, the last chunk
 * once more asks whether it is installed; the peer may also have lost all of it, so
 * what it answers counts from there. */
static void send_again(struct raft *r, struct raft_progress *p)
{
    uint64_t bytes = r->outgoing.bytes;

    if (p->offset_acked == bytes) {
        p->offset_acked = bytes - KV_MIN(bytes, r->o.snapshot_chunk_bytes);
    }
    p->offset_sent = p->offset_acked;
    p->offset_rewound = UINT64_MAX;
    p->moved_ms = r->now_ms;
}

void raft_snapshot_tick(struct raft *r)
{
    for (uint32_t i = 0; i < r->peers_count; i++) {
        struct raft_progress *p = &r->peers[i];

        if (p->state == RAFT_PROGRESS_SNAPSHOT && r->outgoing_ready &&
            p->snapshot_id == r->outgoing.id &&
            r->now_ms - p->moved_ms >= r->o.election_timeout_ms) {
            send_again(r, p);
        }
    }
}

void raft_snapshot_refused(struct raft *r, struct raft_progress *p)
{
    r->snapshot_bad = r->outgoing.id;
    r->outgoing_ready = false;
    r->snapshot_wanted_from_ms = r->now_ms + r->o.heartbeat_ms;
    p->snapshot_id = 0; /* From the beginning, also when the next one is its equal. */
    p->moved_ms = r->now_ms;
}

void raft_snapshot_ready(struct raft *r, const struct raft_snapshot *s)
{
    KV_ASSERT(s->id != 0 && s->bytes >= 1);
    KV_ASSERT(raft_config_valid(&s->config));
    if (!raft_leads(r)) {
        return;
    }
    /* If it does not help everybody, the next one is not wanted at once. */
    r->snapshot_wanted_from_ms = r->now_ms + r->o.heartbeat_ms;
    /* Who joined later does not know who voted before the first configuration in its
     * log, so its snapshot may lack one. */
    if (s->config.voters_count > 0 && s->last.pos.index >= r->log.base.pos.index &&
        s->last.pos.index <= r->commit) {
        r->outgoing = *s;
        r->outgoing_ready = true;
    }
}

/* ---- follower ---- */

/* Answers the leader, if there is one and our term is durable. `done` promises what is
 * committed already, so a damaged entry does not forbid it; a lost state does: the
 * leader must go on to a snapshot that replaces it. */
static void answer(struct raft *r, uint64_t id, uint64_t offset, bool done, bool gap)
{
    struct raft_msg *m;

    if (r->leader == 0 || raft_leads(r) || r->term_durable != r->term ||
        (done && r->state_lost)) {
        return;
    }
    m = raft_update_message(r, RAFT_MSG_SNAPSHOT_REPLY, r->leader);
    if (m != NULL) {
        m->chunk.snapshot_id = id;
        m->chunk.offset = offset;
        m->chunk.done = done;
        m->rejected = gap;
    }
}

raft_index raft_snapshot_least(const struct raft *r)
{
    return KV_MAX(r->state_least, r->log.base.pos.index);
}

bool raft_snapshot_late(const struct raft *r, const struct raft_snapshot *s)
{
    return r->state_lost ? s->last.pos.index < raft_snapshot_least(r)
                         : s->last.pos.index <= r->commit;
}

void raft_snapshot_take(struct raft *r, const struct raft_msg *m)
{
    struct raft_incoming *in = &r->incoming;
    const struct raft_snapshot *s = &m->snapshot;

    if (raft_installing(r)) {
        return; /* Asked again by then. */
    }
    if (raft_snapshot_late(r, s) && !KV_BUG(r->o, B44)) {
        in->state = RAFT_INCOMING_NONE;
        if (r->log.last_durable >= s->last.pos.index) {
            answer(r, s->id, s->bytes, true, false);
        }
        return;
    }
    if (in->state == RAFT_INCOMING_RECEIVING && in->snapshot.id != s->id &&
        in->term == m->term && s->last.pos.index < in->snapshot.last.pos.index) {
        return; /* This leader has sent a newer one since (B44). */
    }
    if (in->state == RAFT_INCOMING_NONE || in->snapshot.id != s->id) {
        *in = (struct raft_incoming){.state = RAFT_INCOMING_RECEIVING, .snapshot = *s};
    }
    in->term = m->term;
    if (m->chunk.offset == in->offset_next) {
        r->chunk = m->chunk;
        r->chunk_snapshot = *s;
        r->chunk_out = true;
        in->offset_next += m->chunk.len;
    } else if (m->chunk.offset > in->offset_next) {
        answer(r, s->id, in->offset_next, false, true);
    } else {
        answer(r, s->id, in->offset_stored, false, false);
    }
}

void raft_snapshot_stored(struct raft *r, const struct raft_stored *stored)
{
    struct raft_incoming *in = &r->incoming;

    if (in->state != RAFT_INCOMING_RECEIVING ||
        in->snapshot.id != stored->snapshot_id) {
        return;
    }
    in->offset_stored =
        KV_MAX(in->offset_stored, KV_MIN(stored->offset, in->offset_next));
    answer(r, in->snapshot.id, in->offset_stored, false, false);
    if (in->offset_stored < in->snapshot.bytes) {
        return;
    }
    if (raft_snapshot_late(r, &in->snapshot) && !KV_BUG(r->o, B44)) {
        in->state = RAFT_INCOMING_NONE; /* The log was faster. */
        return;
    }
    /* From here on the log stands still, and nobody who installs campaigns (B31). */
    raft_election_follow(r, r->term, r->role == RAFT_FOLLOWER ? r->leader : 0);
    in->state = RAFT_INCOMING_INSTALLING;
    in->handed_out = false;
}

void raft_snapshot_settle(struct raft *r)
{
    struct raft_incoming *in = &r->incoming;

    if (in->state == RAFT_INCOMING_INSTALLING && !in->handed_out &&
        r->log.last_durable == r->log.last.index) {
        in->handed_out = true;
        r->install_out = true;
    }
}

/* Storage has moved its base to the snapshot already: what followed is there, whole or
 * damaged, unless the entry at that place was another one. */
static bool is_kept_behind(const struct raft *r, const struct raft_snapshot *s)
{
    const struct raft_log_reader *reader = &r->log.reader;
    struct raft_meta next;

    return r->log.last.index > s->last.pos.index &&
           reader->meta(reader->ctx, s->last.pos.index + 1, &next) != KV_ENOTFOUND;
}

/* The log after the install: what follows a matching entry stays, else nothing. */
static int move_log(struct raft *r, const struct raft_snapshot *s)
{
    struct raft_meta ours;
    int rc = raft_log_meta(&r->log, s->last.pos.index, &ours);
    bool committed = s->last.pos.index <= r->commit;

    if (rc == 0 && ours.pos.term != s->last.pos.term && committed) {
        return KV_ECORRUPT;
    }
    /* What is committed is the same everywhere, also when ours cannot be read (any
     * more: storage has moved its base already). */
    if (!KV_BUG(r->o, K10) &&
        ((rc == 0 && ours.pos.term == s->last.pos.term) || (rc != 0 && committed) ||
         (rc == KV_ECOMPACTED && is_kept_behind(r, s)))) {
        if (rc == 0 && ours.hash != s->last.hash) {
            return KV_ECORRUPT;
        }
        raft_log_compact(&r->log, &s->last);
        if (r->configs.now_index > s->last.pos.index && !KV_BUG(r->o, B14)) {
            r->configs.before = s->config;
            r->configs.before_index = s->config_index;
            return 0;
        }
    } else if (rc == 0 || rc == KV_ENOTFOUND || rc == KV_ECOMPACTED || r->impaired) {
        raft_log_reset(&r->log, &s->last);
    } else {
        return rc;
    }
    raft_config_init(r, &s->config, s->config_index);
    return 0;
}

int raft_snapshot_installed(struct raft *r, const struct raft_snapshot *s)
{
    struct raft_incoming *in = &r->incoming;
    int rc;

    if (!raft_installing(r) || !in->handed_out || in->snapshot.id != s->id) {
        return KV_EINVAL;
    }
    KV_ASSERT(r->role == RAFT_FOLLOWER);
    KV_ASSERT(!raft_snapshot_late(r, &in->snapshot));
    rc = move_log(r, &in->snapshot);
    if (rc != 0) {
        return rc;
    }
    /* Term and vote stay what they are (B15, B45). */
    if (KV_BUG(r->o, B15)) {
        r->vote = 0;
        r->hard_dirty = true;
    }
    r->applied = in->snapshot.last.pos.index;
    r->commit = KV_MAX(r->commit, r->applied);
    r->state_lost = false;
    r->proven = KV_MAX(r->proven, r->commit);
    in->state = RAFT_INCOMING_NONE;
    answer(r, in->snapshot.id, in->snapshot.bytes, true, false);
    return 0;
}

/* ---- both ---- */

void raft_snapshot_failed(struct raft *r, uint64_t id)
{
    struct raft_incoming *in = &r->incoming;

    if (in->state != RAFT_INCOMING_NONE && in->snapshot.id == id) {
        in->state = RAFT_INCOMING_NONE;
        answer(r, id, 0, false, true); /* From the beginning. */
        return;
    }
    if (raft_leads(r)) {
        r->outgoing_ready = r->outgoing_ready && r->outgoing.id != id;
        r->snapshot_wanted_from_ms = r->now_ms + r->o.heartbeat_ms;
    }
}
