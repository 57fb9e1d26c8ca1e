/* raft/recv.c - checks the envelope, hands a message to its function. */
#include "raft/recv.h"

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/state.h"

typedef int recv_fn(struct raft *r, const struct raft_msg *m);

static recv_fn *const recv_fns[RAFT_MSG_TYPES_COUNT] = {
    [RAFT_MSG_PRE_VOTE] = raft_recv_pre_vote,
    [RAFT_MSG_PRE_VOTE_REPLY] = raft_recv_pre_vote_reply,
    [RAFT_MSG_VOTE] = raft_recv_vote,
    [RAFT_MSG_VOTE_REPLY] = raft_recv_vote_reply,
    [RAFT_MSG_APPEND] = raft_recv_append,
    [RAFT_MSG_APPEND_REPLY] = raft_recv_append_reply,
    [RAFT_MSG_HEARTBEAT] = raft_recv_heartbeat,
    [RAFT_MSG_HEARTBEAT_REPLY] = raft_recv_heartbeat_reply,
    [RAFT_MSG_SNAPSHOT] = raft_recv_snapshot,
    [RAFT_MSG_SNAPSHOT_REPLY] = raft_recv_snapshot_reply,
    [RAFT_MSG_TIMEOUT_NOW] = raft_recv_timeout_now,
};

/* Terms and indexes grow by one: what lies beyond was never reached by counting. */
static bool numbers_fit(const struct raft_msg *m)
{
    const uint64_t max = UINT64_MAX / 2;

    return m->term <= max && (m->term > 0 || m->type == RAFT_MSG_PRE_VOTE_REPLY) &&
           m->prev.index <= max && m->last.index <= max && m->match <= max &&
           m->snapshot.last.pos.index <= max;
}

int raft_recv(struct raft *r, const struct raft_msg *m)
{
    if ((uint32_t)m->type >= RAFT_MSG_TYPES_COUNT || recv_fns[m->type] == NULL ||
        m->to != r->o.id || m->from == 0 || m->from == r->o.id || !numbers_fit(m)) {
        return KV_EPROTO;
    }
    return recv_fns[m->type](r, m);
}

bool raft_recv_rival(const struct raft *r, const struct raft_msg *m)
{
    return m->term == r->term && r->leader != 0 && r->leader != m->from;
}

void raft_recv_follow(struct raft *r, const struct raft_msg *m)
{
    KV_ASSERT(m->term >= r->term);
    KV_ASSERT(!raft_recv_rival(r, m));
    raft_election_follow(r, m->term, m->from);
    raft_election_heard(r);
}

bool raft_recv_answers_us(struct raft *r, const struct raft_msg *m)
{
    if (m->term > r->term) {
        /* Figure 2, "All Servers": a newer term makes us a follower. */
        raft_election_follow(r, m->term, 0);
        return false;
    }
    /* Older answers are void (B21). */
    return (m->term == r->term || KV_BUG(r->o, K01)) && raft_leads(r);
}
