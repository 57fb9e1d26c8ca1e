/* raft/read.c - reads wait for a round, rounds wait for a majority. */
#include "raft/read.h"

#include "raft/base/err.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "raft/update.h"

int raft_read_add(struct raft *r, uint64_t tag)
{
    if (!raft_leads(r)) {
        return KV_ENOTLEADER;
    }
    if (r->reads_waiting_count == RAFT_READS_MAX) {
        return KV_EBUSY;
    }
    r->reads_waiting[r->reads_waiting_count++] = (struct raft_read_wait){
        .tag = tag,
        /* Before the no-op is committed nobody knows what else is (B03): the no-op
         * itself lies behind everything that an earlier leader acknowledged. */
        .index = KV_BUG(r->o, B03) ? r->commit : KV_MAX(r->commit, r->term_begin),
    };
    return 0;
}

void raft_read_round(struct raft *r, bool voters_only)
{
    raft_replication_round(r, voters_only);
    for (uint32_t i = 0; i < r->reads_waiting_count; i++) {
        if (r->reads_waiting[i].round == 0) {
            r->reads_waiting[i].round = r->round;
        }
    }
}

/* The last round that `id` answered, as far as it counts. */
static uint64_t answered_by(const void *ctx, raft_id id)
{
    const struct raft *r = ctx;

    if (id == r->o.id) {
        return r->round;
    }
    for (uint32_t i = 0; i < r->peers_count; i++) {
        if (r->peers[i].id == id) {
            return r->peers[i].amnesiac ? 0 : r->peers[i].round;
        }
    }
    return 0;
}

uint64_t raft_read_confirmed(const struct raft *r)
{
    return raft_quorum_majority(&r->configs.now, answered_by, r);
}

/* Answers every read whose round is confirmed. */
static void answer_confirmed(struct raft *r)
{
    uint64_t confirmed = raft_read_confirmed(r);
    uint32_t kept = 0;

    KV_ASSERT(confirmed <= r->round);
    for (uint32_t i = 0; i < r->reads_waiting_count; i++) {
        const struct raft_read_wait *w = &r->reads_waiting[i];

        if (w->round != 0 &&
            (w->round <= confirmed || KV_BUG(r->o, B04) || KV_BUG(r->o, K17))) {
            KV_ASSERT(w->index <= r->commit);
            raft_update_read(r, w->tag, w->index, 0);
        } else {
            r->reads_waiting[kept++] = *w;
        }
    }
    r->reads_waiting_count = kept;
}

void raft_read_advance(struct raft *r)
{
    bool under_way = false;

    raft_fresh_confirmed(r, raft_read_confirmed(r));
    if (r->reads_waiting_count == 0) {
        return;
    }
    if (raft_leads_surely(r) || KV_BUG(r->o, B03)) {
        answer_confirmed(r);
    }
    for (uint32_t i = 0; i < r->reads_waiting_count; i++) {
        under_way = under_way || r->reads_waiting[i].round != 0;
    }
    if (r->reads_waiting_count > 0 && !under_way) {
        raft_read_round(r, true);
        if (raft_leads_surely(r)) {
            answer_confirmed(r); /* A majority of one. */
        }
    }
}

void raft_read_fail_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->reads_waiting_count; i++) {
        raft_update_read(r, r->reads_waiting[i].tag, 0, KV_ENOTLEADER);
    }
    r->reads_waiting_count = 0;
}
