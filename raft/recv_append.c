/* raft/recv_append.c - the follower's side of the log (Figure 2, AppendEntries). */
#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/recv.h"
#include "raft/reply.h"
#include "raft/state.h"
#include "raft/update.h"

/* What a message asks of our log. Made before anything changes. */
struct append_plan {
    bool rejects;    /* The logs do not agree at prev. */
    bool unreadable; /* An own entry is damaged: no opinion of what it says. */
    bool truncates;  /* entries[skip] contradicts what we have from there on. */
    uint32_t skip;   /* entries that we have already. */
};

/* Is this a message that a correct leader can have sent, whatever our log is? */
static int check_entry(const struct raft_msg *m, uint32_t i, uint64_t prev_hash)
{
    const struct raft_entry *e = &m->entries[i];
    raft_term prev_term = i == 0 ? m->prev.term : m->entries[i - 1].pos.term;

    if (e->pos.index != m->prev.index + 1 + i || e->pos.term < prev_term ||
        e->pos.term > m->term || e->payload.len > RAFT_RECORD_PAYLOAD_MAX ||
        (i > 0 && e->time_ms < m->entries[i - 1].time_ms) ||
        e->hash != raft_entry_hash(prev_hash, e)) {
        return KV_EPROTO;
    }
    if (e->type < RAFT_ENTRY_NOOP || e->type > RAFT_ENTRY_CONFIG) {
        return KV_EFORMAT; /* Written by something newer than we are. */
    }
    if (e->type == RAFT_ENTRY_CONFIG) {
        struct raft_config config;

        return raft_config_payload(e->payload, &config) != 0 ? KV_EPROTO : 0;
    }
    return 0;
}

static int check_message(const struct raft_msg *m)
{
    uint64_t hash = m->prev_hash;

    if (m->entries_count > RAFT_ENTRIES_MAX || m->prev.term > m->term ||
        (m->entries_count > 0 && m->entries == NULL) ||
        (m->prev.index == 0 && (m->prev.term != 0 || m->prev_hash != 0))) {
        return KV_EPROTO;
    }
    for (uint32_t i = 0; i < m->entries_count; i++) {
        int rc = check_entry(m, i, hash);

        if (rc != 0) {
            return rc;
        }
        hash = m->entries[i].hash;
    }
    return 0;
}

/* Same index and term, another hash: one of the two logs was changed (§5.3). */
static int contradiction(const struct raft *r, raft_index index)
{
    return index <= r->commit ? KV_ECORRUPT : KV_EPROTO;
}

/* Compares prev with our log. Returns 0 or an error. */
static int plan_prev(const struct raft *r, const struct raft_msg *m,
                     struct append_plan *plan)
{
    struct raft_meta ours;
    int rc;

    rc = raft_log_meta(&r->log, m->prev.index, &ours);
    if (rc == KV_ECOMPACTED) {
        return 0; /* So it is committed, so it is equal. */
    }
    if (rc == KV_ENOTFOUND) {
        plan->rejects = true;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (ours.pos.term != m->prev.term) {
        plan->rejects = true;
        return m->prev.index <= r->commit ? KV_ECORRUPT : 0;
    }
    if (ours.hash != m->prev_hash) {
        return contradiction(r, m->prev.index);
    }
    if (m->entries_count > 0 && m->entries[0].time_ms < ours.time_ms) {
        return KV_EPROTO;
    }
    return 0;
}

/* Behind entries[at], where ours is damaged: is what is whole in our log another one
 * than the leader's? The chain hash of the first that can be read tells for all before
 * it. Only as far as the message takes its place at once: what we cannot read may be
 * committed, and we must not vote without it. */
static bool differs_behind(const struct raft *r, const struct raft_msg *m, uint32_t at)
{
    uint32_t end = KV_MIN(m->entries_count, at + raft_update_entry_room(r));

    for (uint32_t i = at + 1; i < end; i++) {
        const struct raft_entry *e = &m->entries[i];
        struct raft_meta ours;

        if (e->pos.index > r->log.last.index) {
            return true; /* All of it is damaged. */
        }
        if (raft_log_meta(&r->log, e->pos.index, &ours) == 0) {
            return ours.hash != e->hash;
        }
    }
    return end > at && m->entries[end - 1].pos.index >= r->log.last.index;
}

/* May the leader's entry replace our damaged one, which it cannot be compared with?
 * It was certainly another one, or nothing that is whole would go with it. */
static bool may_replace(const struct raft *r, const struct raft_msg *m, uint32_t at)
{
    const struct raft_entry *e = &m->entries[at];

    return e->pos.index > r->commit &&
           (m->term > r->term || e->pos.index > r->proven) &&
           raft_config_keeps(r, e->pos.index) &&
           (e->pos.index == r->log.last.index ||
            (r->log.last.term != 0 && e->pos.term > r->log.last.term) ||
            differs_behind(r, m, at));
}

/* Finds the first entry that is new to us. A message that says less than our log
 * does not shorten it: only a contradiction does (B32). */
static int plan_entries(const struct raft *r, const struct raft_msg *m,
                        struct append_plan *plan)
{
    for (; plan->skip < m->entries_count; plan->skip++) {
        const struct raft_entry *e = &m->entries[plan->skip];
        struct raft_meta ours;
        int rc;

        rc = raft_log_meta(&r->log, e->pos.index, &ours);
        if (rc == KV_ECOMPACTED) {
            continue;
        }
        if (rc == KV_ENOTFOUND) {
            return 0;
        }
        if (rc == KV_EDAMAGED && r->impaired && may_replace(r, m, plan->skip)) {
            plan->truncates = true;
            return 0;
        }
        if (rc != 0) {
            return rc;
        }
        if (ours.pos.term != e->pos.term && KV_BUG(r->o, K15)) {
            continue;
        }
        if (ours.pos.term != e->pos.term) {
            plan->truncates = true;
            if (m->term == r->term && e->pos.index <= r->proven) {
                return KV_EPROTO; /* This leader said something else before. */
            }
            return e->pos.index <= r->commit || !raft_config_keeps(r, e->pos.index)
                       ? KV_ECORRUPT
                       : 0;
        }
        if (ours.hash != e->hash) {
            return contradiction(r, e->pos.index);
        }
    }
    return 0;
}

static int make_plan(const struct raft *r, const struct raft_msg *m,
                     struct append_plan *out_plan)
{
    struct append_plan plan = {0};
    int rc = check_message(m);

    if (rc == 0 && !raft_installing(r)) {
        rc = plan_prev(r, m, &plan);
        /* Uncommitted and damaged: we do not hold it. The leader backs up over it. */
        plan.rejects |= rc == KV_EDAMAGED && m->prev.index > r->commit;
        if (rc == 0 && !plan.rejects) {
            rc = plan_entries(r, m, &plan);
        }
    }
    if (rc == KV_EDAMAGED && r->impaired) {
        plan.unreadable = true;
        rc = 0;
    }
    if (rc == 0) {
        *out_plan = plan;
    }
    return rc;
}

/* Makes our log equal to the message. */
static int take_entries(struct raft *r, const struct raft_msg *m,
                        const struct append_plan *plan)
{
    uint32_t end = m->entries_count;

    if (plan->truncates && r->log.last_durable < r->log.last.index) {
        end = plan->skip; /* Not while an older job is on its way to the disk. */
    } else if (plan->truncates) {
        raft_index from = m->entries[plan->skip].pos.index;
        int rc;

        KV_ASSERT(from > r->commit && from > r->proven);
        rc = raft_log_truncate(&r->log, from);
        if (rc != 0) {
            return rc;
        }
        raft_config_rollback(r, from);
    }
    end = KV_MIN(end, plan->skip + raft_update_entry_room(r));
    for (uint32_t i = plan->skip; i < end; i++) {
        raft_update_entry(r, &m->entries[i]);
    }
    if (KV_BUG(r->o, K13) && plan->truncates) {
        r->log.last_durable = r->log.last.index;
    }
    if (KV_BUG(r->o, B32) && m->prev.index + end < r->log.last.index &&
        m->prev.index + end > r->log.base.pos.index &&
        r->log.last_durable == r->log.last.index) {
        return raft_log_truncate(&r->log, m->prev.index + end + 1);
    }
    r->proven = KV_MAX(r->proven, m->prev.index + end);
    /* Figure 2, AppendEntries 5: no further than the last entry that we know equal. */
    r->commit =
        KV_MAX(r->commit,
               KV_MIN(m->commit, KV_BUG(r->o, K02) ? r->log.last.index : r->proven));
    return 0;
}

int raft_recv_append(struct raft *r, const struct raft_msg *m)
{
    struct append_plan plan;
    bool nothing_new;
    int rc;

    if (m->term < r->term) {
        raft_reply_stale(r, m);
        return 0;
    }
    if (raft_recv_rival(r, m)) {
        return KV_EPROTO;
    }
    rc = make_plan(r, m, &plan);
    if (rc != 0) {
        return rc;
    }
    raft_recv_follow(r, m);
    /* An empty message at a place that was acked in this round asks for no answer:
     * it only brings the commit index. */
    nothing_new = m->entries_count == 0 && m->round == r->owed.told_round &&
                  m->prev.index <= r->owed.told_match;
    r->round_seen = KV_MAX(r->round_seen, m->round);
    if (plan.rejects) {
        r->owed.reject = true;
        r->owed.rejected = m->prev;
    }
    if (raft_installing(r) || plan.unreadable || plan.rejects) {
        return 0;
    }
    r->owed.ack = r->owed.ack || !nothing_new;
    return take_entries(r, m, &plan);
}
