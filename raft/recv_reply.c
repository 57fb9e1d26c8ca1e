/* raft/recv_reply.c - what followers answer to AppendEntries and heartbeats. */
#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/fresh.h"
#include "raft/read.h"
#include "raft/recv.h"
#include "raft/replication.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "raft/update.h"

/* Claims that cannot be true: more than we have, rounds that we never sent. */
static bool claims_too_much(const struct raft *r, const struct raft_msg *m)
{
    return m->match > r->log.last.index || m->round > r->round ||
           m->conflict.index > r->log.last.index ||
           (m->type == RAFT_MSG_APPEND_REPLY && m->rejected &&
            (m->prev.index == 0 || m->conflict.index > m->prev.index));
}

/* A sign of life. Returns false when the peer's log is not ours at `match`: its
 * answers are worth nothing until this term ends. */
static bool heard_from(struct raft *r, struct raft_progress *p,
                       const struct raft_msg *m)
{
    struct raft_meta ours;
    int rc = raft_log_meta(&r->log, m->match, &ours);

    p->active_ms = r->now_ms;
    p->round = KV_MAX(p->round, m->round);
    if (rc == 0 && ours.hash != m->hash) {
        raft_progress_forgot(p, m->match + 1);
        return false;
    }
    raft_update_defer(r, rc);
    return true;
}

/* The peer said no: its log does not hold our entry at m->prev. */
static void rejected(struct raft *r, struct raft_progress *p, const struct raft_msg *m)
{
    struct raft_pos back;

    if (m->prev.index <= p->match) {
        /* It acked that place before. Old news, unless it was said after we knew of
         * the ack: then its log went back behind what it had promised (B46). */
        if (m->round > p->match_round) {
            raft_progress_forgot(p, m->conflict.index + 1);
        }
        return;
    }
    if (p->state == RAFT_PROGRESS_SNAPSHOT ||
        (p->state == RAFT_PROGRESS_PROBE && m->prev.index + 1 != p->next) ||
        m->prev.index >= p->next) {
        return; /* An answer to something older. */
    }
    /* §5.3, fast back-up: over a whole term of ours that it does not have. */
    back = raft_log_back_up(&r->log, m->conflict.index, m->conflict.term, p->match);
    raft_progress_probe(p, KV_MIN(m->prev.index, back.index + 1));
}

int raft_recv_append_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p;

    if (m->term == r->term && raft_leads(r) && claims_too_much(r, m)) {
        return KV_EPROTO;
    }
    if (!raft_recv_answers_us(r, m)) {
        return 0;
    }
    p = raft_replication_find(r, m->from);
    if (p == NULL || !heard_from(r, p, m)) {
        return 0;
    }
    if (m->rejected) {
        rejected(r, p, m); /* Moves nothing forward (B34). */
        if (KV_BUG(r->o, B34)) {
            (void)raft_progress_ack(p, m->conflict.index, r->round, r->now_ms);
        }
        return 0;
    }
    (void)raft_progress_ack(p, m->match, r->round, r->now_ms);
    if (p->state == RAFT_PROGRESS_PROBE) {
        raft_progress_replicate(p);
    } else if (p->state == RAFT_PROGRESS_SNAPSHOT && !p->state_lost &&
               p->match >= r->log.base.pos.index) {
        raft_progress_probe(p, p->match + 1);
    }
    return 0;
}

/* Was something in flight to it lost? */
static bool stalled(const struct raft *r, const struct raft_progress *p)
{
    return p->flight.count > 0 && r->now_ms - p->moved_ms >= 2 * r->o.heartbeat_ms;
}

int raft_recv_heartbeat_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p;
    bool waited;

    if (m->term == r->term && raft_leads(r) && claims_too_much(r, m)) {
        return KV_EPROTO;
    }
    if (!raft_recv_answers_us(r, m)) {
        return 0;
    }
    p = raft_replication_find(r, m->from);
    if (p == NULL || !heard_from(r, p, m)) {
        return 0;
    }
    raft_fresh_confirmed(r, raft_read_confirmed(r));
    raft_fresh_received(r, &p->echo, m->stamp);
    waited = r->now_ms - p->moved_ms >= r->o.heartbeat_ms;
    (void)raft_progress_ack(p, m->match, r->round, r->now_ms);
    /* Its acks may be what we need to get as far as the snapshot has to reach. */
    if (m->rejected && m->conflict.index <= r->commit) {
        raft_snapshot_state_lost(r, p, m->conflict.index);
        return 0;
    }
    switch (p->state) {
    case RAFT_PROGRESS_PROBE:
        /* Once more, if the last one may be lost. */
        p->probe_sent = p->probe_sent && !waited;
        break;
    case RAFT_PROGRESS_REPLICATE:
        /* Less than it acked: it started anew and has to be asked what it holds. */
        if (stalled(r, p) || (m->match < p->match && m->round > p->match_round)) {
            raft_progress_probe(p, p->match + 1);
        }
        break;
    default:
        if (p->match >= r->log.base.pos.index) {
            raft_progress_probe(p, p->match + 1);
        }
        break;
    }
    return 0;
}
