/* tests/sim/judge_lead.c - 13: who is cut off disturbs nobody and leads nobody; 8: what
 * a leader counts is there.
 *
 * Pre-vote: time alone never raises the term where others have a vote (diss. §9.6).
 * Check-quorum: who leads was heard by a quorum not long ago.
 */
#include "raft/base/err.h"
#include "raft/quorum.h"
#include "tests/sim/judge_facts.h"

enum {
    /* Much more than an election timeout: a leader looks when that is over. */
    LEAD_ALONE_MS = 1000,
};

struct alive {
    const struct judge_view *v;
    uint64_t now_ms;
};

/* When `id` last answered the leader, as the leader sees it. */
static uint64_t alive_at(const void *ctx, raft_id id)
{
    const struct alive *a = ctx;
    const struct raft_status *st = &a->v->st;

    for (uint32_t i = 0; i < st->peers_count; i++) {
        if (st->peers[i].id == id) {
            return st->peers[i].amnesiac ? 0 : st->peers[i].active_ms;
        }
    }
    return id == st->id ? a->now_ms : 0;
}

void judge_stands(struct judge *j, const struct judge_view *v,
                  const struct judge_last *p, const struct raft_event *ev)
{
    bool alone = p->config.voters_count == 1 && p->config.voters_old_count == 0;

    if (ev->kind == RAFT_EV_TICK && p->life == v->life && v->st.term > p->term &&
        p->config.voters_count > 0 && !alone) {
        judge_fail(j, JUDGE_LIVENESS,
                   "group %u: node %u raises its term from %llu to %llu, nobody said "
                   "that it would have a vote",
                   v->group, v->node, (unsigned long long)p->term,
                   (unsigned long long)v->st.term);
    }
}

void judge_leads(struct judge *j, const struct judge_view *v, struct judge_last *p,
                 const struct raft_event *ev)
{
    const struct alive a = {.v = v, .now_ms = ev->now_ms};
    uint64_t heard_ms;

    if (v->st.role != RAFT_LEADER) {
        return;
    }
    if (p->role != RAFT_LEADER || p->term != v->st.term || p->life != v->life ||
        p->config_index != v->config_index) {
        p->leads_ms = ev->now_ms;
    }
    heard_ms = KV_MAX(raft_quorum_majority(v->config, alive_at, &a), p->leads_ms);
    if (heard_ms + LEAD_ALONE_MS <= ev->now_ms) {
        judge_fail(j, JUDGE_LIVENESS,
                   "group %u: node %u leads term %llu and has not heard from a quorum "
                   "for %llu ms",
                   v->group, v->node, (unsigned long long)v->st.term,
                   (unsigned long long)(ev->now_ms - heard_ms));
    }
}

/* What the leader takes `peer` to hold, it promised in this term: its disk knows the
 * term, and has that entry as long as it does not follow a newer one. */
static void check_trust(struct judge *j, const struct judge_view *v,
                        const struct raft_peer_status *peer)
{
    struct raft_meta ours, theirs;
    struct log_state head;
    int rc;

    if (j->eyes.is_lost(j->eyes.ctx, peer->id) ||
        j->eyes.head(j->eyes.ctx, peer->id, v->group, &head) != 0) {
        return;
    }
    if (head.term < v->st.term) {
        judge_fail(
            j, JUDGE_DURABLE,
            "group %u: leader %u of term %llu counts on %u up to %llu, whose disk "
            "is at term %llu",
            v->group, v->node, (unsigned long long)v->st.term, peer->id,
            (unsigned long long)peer->match, (unsigned long long)head.term);
    }
    if (head.term != v->st.term ||
        j->eyes.log(j->eyes.ctx, v->node, v->group, peer->match, &ours) != 0) {
        return;
    }
    rc = j->eyes.disk(j->eyes.ctx, peer->id, v->group, peer->match, &theirs);
    if ((rc == 0 && theirs.hash != ours.hash) || rc == KV_ENOTFOUND) {
        judge_fail(
            j, JUDGE_DURABLE,
            "group %u: leader %u counts on %u up to %llu, its disk does not have "
            "that entry",
            v->group, v->node, peer->id, (unsigned long long)peer->match);
    }
}

void judge_trusts(struct judge *j, const struct judge_view *v, struct judge_last *p,
                  const struct raft_event *ev)
{
    if (v->st.role != RAFT_LEADER || ev->kind != RAFT_EV_MESSAGE) {
        return;
    }
    for (uint32_t i = 0; i < v->st.peers_count; i++) {
        const struct raft_peer_status *peer = &v->st.peers[i];

        if (peer->id != ev->u.message->from || peer->id > JUDGE_NODES_MAX ||
            peer->match == 0) {
            continue;
        }
        if (p->trusted_term[peer->id] != v->st.term ||
            p->trusted_match[peer->id] != peer->match) {
            p->trusted_term[peer->id] = v->st.term;
            p->trusted_match[peer->id] = peer->match;
            check_trust(j, v, peer);
        }
    }
}
