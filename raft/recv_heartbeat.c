/* raft/recv_heartbeat.c - a sign of life with a round and a commit index. */
#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/recv.h"
#include "raft/reply.h"
#include "raft/state.h"

int raft_recv_heartbeat(struct raft *r, const struct raft_msg *m)
{
    if (m->term < r->term) {
        raft_reply_stale(r, m);
        return 0;
    }
    if (raft_recv_rival(r, m)) {
        return KV_EPROTO;
    }
    raft_recv_follow(r, m);
    r->round_seen = KV_MAX(r->round_seen, m->round);
    if (!raft_installing(r)) {
        /* Only what this leader has proven: a heartbeat proves nothing itself. */
        r->commit = KV_MAX(
            r->commit, KV_MIN(m->commit, KV_BUG(r->o, B39) ? m->commit : r->proven));
    }
    raft_fresh_heard(r, m->stamp, m->fresh);
    r->owed.heartbeat = true;
    return 0;
}
