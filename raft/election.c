/* raft/election.c - who may stand, who has won, and who steps down. */
#include "raft/election.h"

#include "raft/base/err.h"
#include "raft/read.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "raft/update.h"

/* ---- timer ---- */

void raft_election_timer_reset(struct raft *r)
{
    uint64_t shortest = r->o.election_timeout_ms;

    r->election_at_ms = r->now_ms + shortest + prng_below(&r->prng, shortest);
    if (KV_BUG(r->o, B48)) {
        r->election_at_ms = (uint64_t)(int32_t)r->election_at_ms;
    }
}

/* While the leader is known dead, waiting a whole timeout would be a waste. */
static void timer_set_soon(struct raft *r, uint64_t from_ms)
{
    r->election_at_ms = from_ms + prng_between(&r->prng, 0, r->o.heartbeat_ms / 2);
}

/* ---- votes ---- */

static uint64_t tally_of(const void *ctx, raft_id id)
{
    const struct raft_tally *tally = ctx;

    return raft_quorum_lists(tally->granted, tally->count, id);
}

/* A majority of each half said yes. */
static bool tally_wins(const struct raft *r)
{
    uint32_t need = r->configs.now.voters_count / 2 + !KV_BUG(r->o, B23);

    if (KV_BUG(r->o, B20) || KV_BUG(r->o, B23)) {
        return r->tally.count >= need;
    }
    return raft_quorum_majority(&r->configs.now, tally_of, &r->tally) == 1;
}

static void tally_start(struct raft *r)
{
    r->tally.count = 1;
    r->tally.granted[0] = r->o.id;
}

/* Asks every other voter of both halves. */
static void ask_voters(struct raft *r, enum raft_msg_type type)
{
    const struct raft_config *c = &r->configs.now;

    for (uint32_t i = 0; i < c->voters_count + c->voters_old_count; i++) {
        bool old = i >= c->voters_count;
        raft_id id = old ? c->voters_old[i - c->voters_count] : c->voters[i];
        struct raft_msg *m;

        if (id == r->o.id ||
            (old && raft_quorum_lists(c->voters, c->voters_count, id))) {
            continue;
        }
        m = raft_update_message(r, type, id);
        if (m == NULL) {
            return; /* Asked again after the next timeout. */
        }
        m->last = r->log.last;
        m->hint = r->hint;
        if (type == RAFT_MSG_PRE_VOTE) {
            m->term = r->term + 1;
        } else {
            m->transfer = r->campaign_transfer;
        }
    }
}

void raft_election_vote(struct raft *r, raft_id candidate)
{
    KV_ASSERT(r->vote == 0 || r->vote == candidate); /* Once per term (§5.2). */
    KV_ASSERT(!r->impaired);
    if (r->vote == 0) {
        r->vote = candidate;
        r->hard_dirty = true;
    }
}

bool raft_election_up_to_date(const struct raft *r, struct raft_pos last)
{
    /* §5.4.1: the later term wins; only equal terms are compared by length (B22). */
    if (last.term != r->log.last.term && !KV_BUG(r->o, B22)) {
        return last.term > r->log.last.term;
    }
    return last.index >= r->log.last.index;
}

bool raft_election_leased(const struct raft *r)
{
    if (raft_leads(r)) {
        return true; /* Check-quorum ends that. */
    }
    return r->leader != 0 && !r->hint &&
           r->now_ms - r->heard_ms < r->o.election_timeout_ms;
}

bool raft_election_may_campaign(const struct raft *r)
{
    const struct raft_configs *c = &r->configs;
    /* diss. §4.2.2: while the configuration that leaves us out is not known to be
     * committed, our log may be needed to commit it; our own vote does not count. */
    bool votes = raft_quorum_votes(&c->now, r->o.id) ||
                 (c->now_index > r->commit && raft_quorum_votes(&c->before, r->o.id));

    return (votes || KV_BUG(r->o, B25)) && !raft_impaired(r) &&
           (!raft_installing(r) || KV_BUG(r->o, B31));
}

/* ---- roles ---- */

/* What belongs to one term ends with it. */
static void enter_term(struct raft *r, raft_term term, raft_id vote)
{
    KV_ASSERT(term > r->term);
    r->term = term;
    r->vote = vote;
    r->hard_dirty = true;
    r->proven = r->commit;
    r->round_seen = 0;
    r->owed = (struct raft_owed){0};
    if (KV_BUG(r->o, B45)) {
        r->incoming.state = RAFT_INCOMING_NONE;
    }
}

void raft_election_follow(struct raft *r, raft_term term, raft_id leader)
{
    KV_ASSERT(term >= r->term);
    KV_ASSERT(leader != r->o.id);
    if (raft_leads(r)) {
        raft_read_fail_all(r);
        raft_replication_stop(r);
    }
    if (term > r->term) {
        enter_term(r, term, 0);
    } else if (KV_BUG(r->o, B16) && r->role != RAFT_FOLLOWER) {
        r->vote = 0;
        r->hard_dirty = true;
    }
    if (r->role != RAFT_FOLLOWER) {
        r->role = RAFT_FOLLOWER;
        r->tally.count = 0;
        raft_election_timer_reset(r);
    }
    r->leader = leader;
}

void raft_election_campaign(struct raft *r, bool transfer)
{
    KV_ASSERT(raft_election_may_campaign(r));
    KV_ASSERT(!raft_leads(r));
    enter_term(r, r->term + 1, r->o.id);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->votes_asked = false;
    r->campaign_transfer = transfer;
    tally_start(r);
    raft_election_timer_reset(r);
}

/* diss. §9.6: would others vote for us? Nothing changes before they said so. */
static void pre_campaign(struct raft *r)
{
    r->role = RAFT_PRE_CANDIDATE;
    r->leader = 0;
    tally_start(r);
    raft_election_timer_reset(r);
    if (r->hint) {
        timer_set_soon(r, r->now_ms + r->o.heartbeat_ms);
    }
    if (tally_wins(r) || KV_BUG(r->o, B26)) {
        raft_election_campaign(r, false);
        return;
    }
    ask_voters(r, RAFT_MSG_PRE_VOTE);
}

static void lead(struct raft *r)
{
    KV_ASSERT(r->role == RAFT_CANDIDATE);
    KV_ASSERT(r->term_durable == r->term && r->vote_durable == r->o.id);
    /* Jobs end in order, so everything older than our vote is on disk too. */
    KV_ASSERT(r->log.last_durable == r->log.last.index);
    r->role = RAFT_LEADER;
    r->leader = r->o.id;
    r->hint = false;
    r->tally.count = 0;
    r->incoming.state = RAFT_INCOMING_NONE; /* Half a snapshot is of no use any more. */
    raft_replication_start(r);
}

/* ---- events ---- */

void raft_election_tick(struct raft *r)
{
    KV_ASSERT(!raft_leads(r));
    if (r->now_ms < r->election_at_ms) {
        return;
    }
    if (raft_election_may_campaign(r)) {
        pre_campaign(r);
        return;
    }
    /* A learner, a replica that waits to be told, an impaired one. */
    raft_election_follow(r, r->term, 0);
    raft_election_timer_reset(r);
}

void raft_election_heard(struct raft *r)
{
    KV_ASSERT(r->role == RAFT_FOLLOWER && r->leader != 0);
    r->heard_ms = r->now_ms;
    r->hint = false;
    raft_election_timer_reset(r);
}

void raft_election_granted(struct raft *r, raft_id voter)
{
    struct raft_tally *tally = &r->tally;

    KV_ASSERT(r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE);
    /* Who does not vote here, or was counted before, does not count (B20, B24). */
    if (!raft_quorum_votes(&r->configs.now, voter) ||
        (raft_quorum_lists(tally->granted, tally->count, voter) &&
         !KV_BUG(r->o, B20))) {
        return;
    }
    KV_ASSERT(tally->count < KV_ARRAY_COUNT(tally->granted));
    tally->granted[tally->count++] = voter;
    if (r->role == RAFT_PRE_CANDIDATE && tally_wins(r)) {
        raft_election_campaign(r, false);
    }
}

void raft_election_settle(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE || r->term_durable != r->term ||
        r->vote_durable != r->o.id) {
        return;
    }
    if (!r->votes_asked) {
        /* Asked only now: else a crash could bring us back into this term with a
         * shorter log, while votes for the longer one are still on their way. */
        r->votes_asked = true;
        ask_voters(r, RAFT_MSG_VOTE);
    }
    if (tally_wins(r)) {
        lead(r);
    }
}

void raft_election_peer_down(struct raft *r, raft_id peer)
{
    if (raft_leads(r)) {
        struct raft_progress *p = raft_replication_find(r, peer);

        /* What was in flight to that process is lost. */
        if (p != NULL && p->state == RAFT_PROGRESS_REPLICATE) {
            raft_progress_probe(p, p->match + 1);
        }
        return;
    }
    if (r->role == RAFT_FOLLOWER && peer != 0 && r->leader == peer) {
        uint64_t at_ms = r->election_at_ms;

        r->hint = true;
        timer_set_soon(r, r->now_ms);
        r->election_at_ms = KV_MIN(r->election_at_ms, at_ms);
    }
}

static void step_back(struct raft *r)
{
    raft_election_follow(r, r->term, raft_leads(r) ? 0 : r->leader);
}

void raft_election_state_lost(struct raft *r, raft_index least)
{
    r->state_lost = true;
    r->state_least = least;
    step_back(r);
}

int raft_election_impaired(struct raft *r, bool impaired)
{
    if (impaired) {
        r->impaired = true;
        r->owed.votes_count = 0;
        step_back(r);
        return 0;
    }
    if (r->impaired) {
        int rc = raft_log_repair(&r->log);

        if (rc == 0) {
            rc = raft_config_scan(r, KV_MAX(r->applied, r->configs.now_index), false);
        }
        if (rc != 0) {
            return rc;
        }
        r->impaired = false;
    }
    return 0;
}
