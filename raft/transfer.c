/* raft/transfer.c - one transfer at a time. */
#include "raft/transfer.h"

#include "raft/base/err.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "raft/update.h"

static bool fit(const struct raft *r, const struct raft_progress *p)
{
    const struct raft_config *c = &r->configs.now;

    return raft_quorum_lists(c->voters, c->voters_count, p->id) && !p->amnesiac &&
           p->state != RAFT_PROGRESS_SNAPSHOT && p->active_ms != 0 &&
           r->now_ms - p->active_ms < r->o.election_timeout_ms;
}

/* The voter that is alive and holds most; NULL when nobody is fit. */
static struct raft_progress *best_follower(struct raft *r)
{
    struct raft_progress *best = NULL;

    for (uint32_t i = 0; i < r->peers_count; i++) {
        struct raft_progress *p = &r->peers[i];

        if (fit(r, p) && (best == NULL || p->match > best->match)) {
            best = p;
        }
    }
    return best;
}

int raft_transfer_start(struct raft *r, raft_id to)
{
    const struct raft_config *c = &r->configs.now;

    if (!raft_leads(r)) {
        return KV_ENOTLEADER;
    }
    if (r->transfer_to != 0) {
        return KV_EBUSY;
    }
    if (to == 0) {
        struct raft_progress *best = best_follower(r);

        if (best == NULL) {
            return KV_EBUSY;
        }
        to = best->id;
    } else if (to == r->o.id || !raft_quorum_lists(c->voters, c->voters_count, to)) {
        return KV_EINVAL;
    }
    r->transfer_to = to;
    r->transfer_told = false;
    r->transfer_until_ms = r->now_ms + r->o.election_timeout_ms;
    return 0;
}

void raft_transfer_advance(struct raft *r)
{
    struct raft_progress *p;

    if (r->transfer_to == 0) {
        return;
    }
    p = raft_replication_find(r, r->transfer_to);
    if (p == NULL || p->amnesiac || !raft_quorum_votes(&r->configs.now, p->id)) {
        r->transfer_to = 0; /* It can no longer become the leader. */
        return;
    }
    if (!r->transfer_told && p->match == r->log.last.index) {
        r->transfer_told = raft_update_message(r, RAFT_MSG_TIMEOUT_NOW, p->id) != NULL;
    }
}

void raft_transfer_tick(struct raft *r)
{
    if (r->transfer_to == 0) {
        return;
    }
    if (r->now_ms >= r->transfer_until_ms) {
        r->transfer_to = 0;
    } else if (r->now_ms >= r->heartbeat_at_ms) {
        r->transfer_told = false;
    }
}

void raft_transfer_farewell(struct raft *r)
{
    struct raft_progress *best = best_follower(r);

    if (best != NULL) {
        (void)raft_update_message(r, RAFT_MSG_TIMEOUT_NOW, best->id);
    }
}
