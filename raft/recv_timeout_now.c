/* raft/recv_timeout_now.c - the leader wants us to take over. */
#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/recv.h"
#include "raft/state.h"

int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m)
{
    if (m->term < r->term) {
        return 0;
    }
    if (raft_recv_rival(r, m)) {
        return KV_EPROTO;
    }
    raft_recv_follow(r, m);
    if (raft_election_may_campaign(r)) {
        raft_election_campaign(r, true); /* diss. §3.10: at once, without a pre-vote. */
    }
    return 0;
}
