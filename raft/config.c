/* raft/config.c - adopted at append, rolled back at truncation, two quorums between. */
#include "raft/config.h"

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "raft/transfer.h"
#include "raft/update.h"

bool raft_config_joint(const struct raft_config *c)
{
    return c->voters_old_count > 0;
}

int raft_config_payload(struct kv_bytes payload, struct raft_config *out)
{
    struct raft_config c;
    int rc = raft_config_decode(payload, &c);

    if (rc != 0 || c.voters_count == 0) {
        return KV_ECORRUPT;
    }
    *out = c;
    return 0;
}

/* ---- history ---- */

void raft_config_init(struct raft *r, const struct raft_config *c, raft_index index)
{
    r->configs = (struct raft_configs){
        .now = *c, .now_index = index, .before = *c, .before_index = index};
    r->config_changed = true;
}

int raft_config_scan(struct raft *r, raft_index from, bool tolerant)
{
    for (raft_index i = from + 1; i <= r->log.last.index; i++) {
        struct raft_meta meta;
        struct raft_entry entry;
        struct raft_config config;
        int rc = raft_log_meta(&r->log, i, &meta);

        if (rc == KV_EDAMAGED && tolerant) {
            continue;
        }
        if (rc == 0 && (meta.type < RAFT_ENTRY_NOOP || meta.type > RAFT_ENTRY_CONFIG)) {
            rc = KV_EFORMAT;
        }
        if (rc == 0 && meta.type == RAFT_ENTRY_CONFIG) {
            rc = r->log.reader.entry(r->log.reader.ctx, i, &entry);
            if (rc == KV_EDAMAGED && tolerant) {
                continue;
            }
            if (rc == 0) {
                rc = raft_config_payload(entry.payload, &config);
            }
            if (rc == 0) {
                raft_config_adopt(r, &config, i);
            }
        }
        if (rc != 0) {
            return rc == KV_ENOTFOUND || rc == KV_ECOMPACTED ? KV_ECORRUPT : rc;
        }
    }
    return 0;
}

void raft_config_adopt(struct raft *r, const struct raft_config *c, raft_index index)
{
    KV_ASSERT(c->voters_count > 0);
    KV_ASSERT(index > r->configs.now_index);
    r->configs.before = r->configs.now;
    r->configs.before_index = r->configs.now_index;
    r->configs.now = *c;
    r->configs.now_index = index;
    r->config_changed = true;
    if (raft_leads(r)) {
        raft_replication_sync_peers(r);
    }
}

bool raft_config_keeps(const struct raft *r, raft_index from)
{
    return from > r->configs.before_index;
}

void raft_config_rollback(struct raft *r, raft_index from)
{
    KV_ASSERT(raft_config_keeps(r, from) || from > r->configs.now_index);
    if (from <= r->configs.now_index && !KV_BUG(r->o, B10)) {
        KV_ASSERT(!raft_leads(r)); /* Leaders only append. */
        r->configs.now = r->configs.before;
        r->configs.now_index = r->configs.before_index;
        r->config_changed = true;
    }
}

/* ---- change ---- */

void raft_config_append(struct raft *r, const struct raft_config *c)
{
    uint8_t *payload = r->own_payloads[r->own_payloads_count];

    KV_ASSERT(r->own_payloads_count < RAFT_OWN_PAYLOADS_MAX);
    r->own_payloads_count++;
    raft_replication_append(r, RAFT_ENTRY_CONFIG,
                            kv_bytes(payload, raft_config_encode(c, payload)), 0);
}

/* Only learners differ: every quorum stays what it is, one entry is enough. */
static bool same_quorums(const struct raft_config *a, const struct raft_config *b)
{
    return a->voters_count == b->voters_count && raft_quorum_w(a) == raft_quorum_w(b) &&
           memcmp(a->voters, b->voters, a->voters_count * sizeof a->voters[0]) == 0;
}

int raft_config_propose(struct raft *r, const struct raft_config *target)
{
    const struct raft_config *now = &r->configs.now;
    struct raft_config next = *target;

    if (!raft_leads(r) || r->transfer_to != 0) {
        return KV_ENOTLEADER;
    }
    if (!raft_config_valid(target) || target->voters_count == 0 ||
        raft_config_joint(target)) {
        return KV_EINVAL;
    }
    /* One change at a time (B09), and none before the no-op is committed (B07). */
    if (!raft_leads_surely(r) ||
        (r->configs.now_index > r->commit && !KV_BUG(r->o, B09)) ||
        raft_config_joint(now) || raft_update_entry_room(r) < RAFT_WINDOW_SLACK) {
        return KV_EBUSY;
    }
    if (!same_quorums(now, target) &&
        !(KV_BUG(r->o, K35) && raft_quorum_w(target) < raft_quorum_w(now))) {
        next.voters_old_count = now->voters_count;
        next.w_old = now->w;
        memcpy(next.voters_old, now->voters, sizeof next.voters_old);
        if (!raft_config_valid(&next)) {
            return KV_EINVAL; /* Both together are too many. */
        }
    }
    raft_config_append(r, &next);
    return 0;
}

void raft_config_leave_joint(struct raft *r)
{
    struct raft_config next = r->configs.now;

    if (!raft_leads_surely(r) || r->configs.now_index > r->commit ||
        !raft_config_joint(&next) || raft_update_entry_room(r) == 0) {
        return;
    }
    /* §6: once C_old,new is committed, C_new follows. Whoever leads does it. */
    next.voters_old_count = 0;
    next.w_old = 0;
    memset(next.voters_old, 0, sizeof next.voters_old);
    raft_config_append(r, &next);
}

void raft_config_step_down(struct raft *r)
{
    if (raft_leads_surely(r) && r->configs.now_index <= r->commit &&
        !raft_quorum_votes(&r->configs.now, r->o.id)) {
        /* §6: a leader that is not part of C_new steps down once it is committed. */
        raft_transfer_farewell(r);
        raft_election_follow(r, r->term, 0);
    }
}
