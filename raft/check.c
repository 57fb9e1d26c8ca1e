/* raft/check.c - the invariants that one replica can check on itself.
 *
 * The numbers are those of reliability.md 4.1; raft/README.md lists them. Checks
 * that compare with the step before keep nothing: they are phrased so that the
 * state itself shows the violation. Cost: O(peers), no walk over the log.
 */
#include "raft/snapshot.h"
#include "raft/state.h"

/* 6: applied <= commit <= last; base <= applied; the ring lies inside the log. */
static void check_indexes(const struct raft *r)
{
    const struct raft_log *log = &r->log;

    KV_ASSERT(log->base.pos.index <= r->applied);
    KV_ASSERT(r->applied <= r->commit);
    KV_ASSERT(r->commit <= log->last.index);
    KV_ASSERT(log->base.pos.index <= log->last_durable);
    KV_ASSERT(log->last_durable <= log->last.index);
    KV_ASSERT(log->base.pos.index < log->ring_begin);
    KV_ASSERT(log->ring_begin <= log->last.index + 1);
    KV_ASSERT(r->proven <= log->last.index);
    KV_ASSERT(r->commit >= r->told_commit);
}

/* 7: a vote belongs to its term; what is durable never overtakes what was decided. */
static void check_terms(const struct raft *r)
{
    KV_ASSERT(r->term_durable <= r->term);
    KV_ASSERT_IMPLIES(r->term_durable == r->term && r->vote_durable != 0,
                      r->vote == r->vote_durable);
    KV_ASSERT(r->log.last.term <= r->term);
    KV_ASSERT_IMPLIES(r->role == RAFT_CANDIDATE || r->role == RAFT_LEADER,
                      r->vote == r->o.id);
    KV_ASSERT_IMPLIES(r->term == 0, r->vote == 0);
}

/* A role's own fields, and those of the others at rest. */
static void check_role(const struct raft *r)
{
    KV_ASSERT_IMPLIES(raft_leads(r), r->leader == r->o.id && !raft_impaired(r));
    KV_ASSERT_IMPLIES(!raft_leads(r), r->leader != r->o.id);
    KV_ASSERT_IMPLIES(!raft_leads(r), r->peers_count == 0 && r->transfer_to == 0 &&
                                          r->reads_waiting_count == 0 &&
                                          !r->snapshot_wanted);
    KV_ASSERT_IMPLIES(r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE,
                      r->leader == 0 && r->tally.count >= 1);
    KV_ASSERT_IMPLIES(raft_installing(r), r->role == RAFT_FOLLOWER);
    KV_ASSERT_IMPLIES(raft_installing(r),
                      !raft_snapshot_late(r, &r->incoming.snapshot));
}

/* 8: a leader speaks, and counts itself, only from what its disk has. */
static void check_durable(const struct raft *r)
{
    if (!raft_leads(r)) {
        return;
    }
    KV_ASSERT(r->term_durable == r->term && r->vote_durable == r->o.id);
    KV_ASSERT(r->term_begin >= 1 && r->term_begin <= r->log.last.index);
    KV_ASSERT(r->log.last.term == r->term);
    for (uint32_t i = 0; i < r->messages_count; i++) {
        const struct raft_msg *m = &r->messages[i];

        KV_ASSERT_IMPLIES(m->type == RAFT_MSG_HEARTBEAT, m->commit <= r->commit);
        KV_ASSERT_IMPLIES(m->type == RAFT_MSG_APPEND,
                          m->prev.index + m->entries_count <= r->log.last.index);
    }
}

/* 8: when a cluster of one commits, its disk has it (B37). */
static void check_alone(const struct raft *r)
{
    const struct raft_config *c = &r->configs.now;

    if (raft_leads(r) && c->voters_count == 1 && c->voters_old_count == 0 &&
        c->voters[0] == r->o.id && r->configs.now_index <= r->commit) {
        KV_ASSERT(r->commit <= r->log.last_durable);
    }
}

/* 10: one uncommitted configuration at most; it is the one in force. */
static void check_configs(const struct raft *r)
{
    const struct raft_configs *c = &r->configs;

    KV_ASSERT(raft_config_valid(&c->now) && raft_config_valid(&c->before));
    KV_ASSERT(c->before_index <= c->now_index);
    KV_ASSERT(c->now_index <= r->log.last.index);
    /* A leader appends one only when the one before is committed. */
    KV_ASSERT_IMPLIES(raft_leads_surely(r), c->before_index <= r->commit);
}

/* 16: what is bounded stays within its bounds; every peer's numbers fit. */
static void check_peers(const struct raft *r)
{
    KV_ASSERT(r->peers_count <= RAFT_REPLICAS_MAX);
    KV_ASSERT(r->reads_waiting_count <= RAFT_READS_MAX);
    KV_ASSERT(r->messages_count <= RAFT_MESSAGES_MAX);
    KV_ASSERT(r->log.last.index - r->log.last_durable <= r->log.window);
    for (uint32_t i = 0; i < r->peers_count; i++) {
        const struct raft_progress *p = &r->peers[i];

        KV_ASSERT(p->id != r->o.id && raft_quorum_member(&r->configs.now, p->id));
        KV_ASSERT(p->match < p->next && p->match <= r->log.last.index);
        KV_ASSERT(p->next <= r->log.last.index + 1);
        KV_ASSERT(p->round <= r->round && p->match_round <= r->round);
        KV_ASSERT(p->flight.count <= r->o.flight_messages_max);
        KV_ASSERT_IMPLIES(p->state != RAFT_PROGRESS_REPLICATE, p->flight.count == 0);
        KV_ASSERT_IMPLIES(p->flight.count == 0, p->flight.bytes == 0);
        for (uint32_t k = 0; k < i; k++) {
            KV_ASSERT(r->peers[k].id != p->id);
            KV_ASSERT(r->peers[k].flight.items != p->flight.items);
        }
    }
}

void raft_check(const struct raft *r)
{
    check_indexes(r);
    check_terms(r);
    check_role(r);
    check_durable(r);
    check_alone(r);
    check_configs(r);
    check_peers(r);
}
