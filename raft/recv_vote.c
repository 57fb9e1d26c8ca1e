/* raft/recv_vote.c - pre-votes and votes, asked and answered. */
#include "raft/election.h"
#include "raft/recv.h"
#include "raft/reply.h"
#include "raft/state.h"
#include "raft/update.h"

/* Would, or do, we vote for the sender in m->term? It is not older than ours. */
static bool would_grant(const struct raft *r, const struct raft_msg *m)
{
    bool free_vote;

    KV_ASSERT(m->term >= r->term);
    /* §5.2: one vote per term; a new term brings a new one. */
    free_vote =
        m->term > r->term || r->vote == m->from || (r->vote == 0 && r->leader == 0);
    free_vote = free_vote || KV_BUG(r->o, B19);
    return free_vote && !r->impaired &&
           (raft_election_up_to_date(r, m->last) || KV_BUG(r->o, K14));
}

int raft_recv_pre_vote(struct raft *r, const struct raft_msg *m)
{
    bool granted;
    struct raft_msg *reply;

    /* Nothing of ours changes, whatever we answer: no term, no vote, no timer (B17). */
    granted = m->term >= r->term && !raft_election_leased(r) && would_grant(r, m);
    if (r->impaired || (!granted && r->term_durable != r->term) ||
        (KV_BUG(r->o, B27) && m->term < r->term)) {
        return 0;
    }
    if (granted && KV_BUG(r->o, B17)) {
        r->vote = 0;
        r->hard_dirty = true;
    }
    reply = raft_update_message(r, RAFT_MSG_PRE_VOTE_REPLY, m->from);
    if (reply != NULL) {
        reply->granted = granted;
        /* A yes names the term asked for, a no our own (B27). */
        reply->term = granted ? m->term : r->term;
    }
    return 0;
}

int raft_recv_pre_vote_reply(struct raft *r, const struct raft_msg *m)
{
    if (m->granted) {
        if (r->role == RAFT_PRE_CANDIDATE && m->term == r->term + 1) {
            raft_election_granted(r, m->from);
        }
        return 0;
    }
    if (m->term > r->term) {
        raft_election_follow(r, m->term, 0);
    }
    return 0;
}

int raft_recv_vote(struct raft *r, const struct raft_msg *m)
{
    bool granted;

    if (m->term < r->term) {
        raft_reply_stale(r, m);
        return 0;
    }
    /* diss. §4.2.3: while a leader is heard, nobody else is needed, and not even the
     * term is taken over. A transfer is the leader's own wish. */
    if (m->term > r->term && !m->transfer && raft_election_leased(r)) {
        return 0;
    }
    granted = would_grant(r, m);
    if (m->term > r->term) {
        raft_election_follow(r, m->term, 0);
    }
    if (granted) {
        raft_election_vote(r, m->from);
        raft_election_timer_reset(r);
    }
    raft_reply_owe_vote(r, m->from, granted);
    return 0;
}

int raft_recv_vote_reply(struct raft *r, const struct raft_msg *m)
{
    if (m->term > r->term) {
        raft_election_follow(r, m->term, 0);
        return 0;
    }
    /* Answers of an older term are void (B21). */
    if ((m->term == r->term || KV_BUG(r->o, B21)) && r->role == RAFT_CANDIDATE &&
        m->granted) {
        raft_election_granted(r, m->from);
    }
    return 0;
}
