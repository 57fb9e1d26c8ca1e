/* raft/reply.c - pays votes, acks, rejections and heartbeat replies. */
#include "raft/reply.h"

#include "raft/election.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "raft/update.h"

raft_index raft_reply_match(const struct raft *r)
{
    /* What is committed is in every later leader's log (§5.4.3). */
    return KV_MIN(r->log.last_durable,
                  KV_BUG(r->o, B33) ? r->log.last.index : KV_MAX(r->proven, r->commit));
}

void raft_reply_owe_vote(struct raft *r, raft_id to, bool granted)
{
    struct raft_owed *owed = &r->owed;

    KV_ASSERT_IMPLIES(granted, r->vote == to);
    if (r->impaired) {
        return; /* Neither yes nor no. */
    }
    for (uint32_t i = 0; i < owed->votes_count; i++) {
        if (owed->votes[i].to == to) {
            owed->votes[i].granted = granted;
            return;
        }
    }
    if (owed->votes_count < KV_ARRAY_COUNT(owed->votes)) {
        owed->votes[owed->votes_count++] =
            (struct raft_owed_vote){.to = to, .granted = granted};
    }
}

void raft_reply_stale(struct raft *r, const struct raft_msg *m)
{
    static const uint8_t reply_of[RAFT_MSG_TYPES_COUNT] = {
        [RAFT_MSG_VOTE] = RAFT_MSG_VOTE_REPLY,
        [RAFT_MSG_APPEND] = RAFT_MSG_APPEND_REPLY,
        [RAFT_MSG_HEARTBEAT] = RAFT_MSG_HEARTBEAT_REPLY,
        [RAFT_MSG_SNAPSHOT] = RAFT_MSG_SNAPSHOT_REPLY,
    };
    struct raft_msg *reply;

    KV_ASSERT(m->term < r->term);
    KV_ASSERT(m->type < RAFT_MSG_TYPES_COUNT && reply_of[m->type] != 0);
    if (r->term_durable != r->term || KV_BUG(r->o, B28)) {
        return; /* It will ask again. */
    }
    reply = raft_update_message(r, (enum raft_msg_type)reply_of[m->type], m->from);
    if (reply != NULL) {
        reply->rejected = m->type == RAFT_MSG_APPEND;
        reply->prev = m->prev;
    }
}

/* Fills in what every answer to a leader says: how far we are, and its newest round. */
static bool fill_match(struct raft *r, struct raft_msg *m)
{
    struct raft_meta meta;
    int rc = raft_log_meta(&r->log, raft_reply_match(r), &meta);

    if (rc != 0) {
        raft_update_defer(r, rc);
        return false;
    }
    m->match = meta.pos.index;
    m->hash = meta.hash;
    m->round = r->round_seen;
    return true;
}

/* Sends one answer to the leader; NULL when it could not be sent. */
static struct raft_msg *answer_leader(struct raft *r, enum raft_msg_type type)
{
    struct raft_msg *m = raft_update_message(r, type, r->leader);

    /* Whose log is damaged promises nothing: match and round stay 0. */
    if (m != NULL && !r->impaired && !fill_match(r, m)) {
        r->messages_count--;
        return NULL;
    }
    return m;
}

static void pay_votes(struct raft *r)
{
    struct raft_owed *owed = &r->owed;

    while (owed->votes_count > 0) {
        const struct raft_owed_vote *vote = &owed->votes[owed->votes_count - 1];
        struct raft_msg *m;

        if (vote->granted && r->vote_durable != vote->to) {
            return; /* Not before the disk has it (B18). */
        }
        m = raft_update_message(r, RAFT_MSG_VOTE_REPLY, vote->to);
        if (m == NULL) {
            return;
        }
        m->granted = vote->granted;
        owed->votes_count--;
    }
}

static void pay_reject(struct raft *r)
{
    struct raft_owed *owed = &r->owed;
    raft_index floor = KV_MIN(r->commit, owed->rejected.index);
    raft_index index = KV_MIN(owed->rejected.index, r->log.last.index);
    struct raft_msg *m = answer_leader(r, RAFT_MSG_APPEND_REPLY);
    struct raft_meta meta;

    if (m == NULL) {
        return;
    }
    while (r->impaired && index > floor && raft_log_meta(&r->log, index, &meta) != 0) {
        index--; /* Over what is damaged; no more than the window is uncommitted. */
    }
    m->rejected = true;
    m->prev = owed->rejected;
    m->conflict = raft_log_back_up(&r->log, index, owed->rejected.term, floor);
    owed->reject = false;
}

static void pay_ack(struct raft *r, bool persisted)
{
    struct raft_owed *owed = &r->owed;
    bool all_durable = r->log.last_durable >= KV_MAX(r->proven, r->commit);
    struct raft_msg *m;

    if (!all_durable && !persisted) {
        return; /* The disk is at work: one ack for all of it. */
    }
    if (!all_durable && raft_reply_match(r) == owed->told_match) {
        return;
    }
    m = answer_leader(r, RAFT_MSG_APPEND_REPLY);
    if (m != NULL) {
        owed->told_match = m->match;
        owed->told_round = m->round;
        owed->ack = !all_durable;
    }
}

static void pay_heartbeat(struct raft *r)
{
    struct raft_msg *m = answer_leader(r, RAFT_MSG_HEARTBEAT_REPLY);

    if (m == NULL) {
        return;
    }
    m->stamp = raft_fresh_stamp(r);
    if (r->state_lost) {
        m->rejected = true;
        m->conflict.index = raft_snapshot_least(r);
    }
    r->owed.heartbeat = false;
}

void raft_reply_flush(struct raft *r, bool persisted)
{
    struct raft_owed *owed = &r->owed;

    if (r->term_durable != r->term) {
        return; /* What we would say in this term could be forgotten. */
    }
    pay_votes(r);
    if (r->role != RAFT_FOLLOWER || r->leader == 0) {
        return;
    }
    if (owed->reject) {
        pay_reject(r);
    }
    if (owed->ack && !r->impaired) {
        pay_ack(r, persisted);
    }
    if (owed->heartbeat) {
        pay_heartbeat(r);
    }
}
