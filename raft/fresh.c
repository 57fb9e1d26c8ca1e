/* raft/fresh.c - stamps out, echoes in, and what they say about the state's age. */
#include "raft/fresh.h"

#include "raft/state.h"

enum {
    FRESH_MARK_SHIFT = 48, /* Milliseconds below it last for 8,900 years. */
};

/* The mark of this object in the high bits. */
static uint64_t mark_of(const struct raft *r)
{
    return (r->o.seed * 0x9e3779b97f4a7c15u) >> FRESH_MARK_SHIFT;
}

/* 0 stands for none. */
static uint64_t stamp_of(const struct raft *r, uint64_t ms)
{
    KV_ASSERT(ms >= r->fresh.begin_ms);
    return mark_of(r) << FRESH_MARK_SHIFT | (ms - r->fresh.begin_ms + 1);
}

uint64_t raft_fresh_stamp(const struct raft *r)
{
    return stamp_of(r, r->now_ms);
}

/* ---- what is known ---- */

/* Takes what was coming, once it is applied. */
static void settle(struct raft_fresh *f, raft_index applied)
{
    if (f->coming.is_set && f->coming.index <= applied) {
        f->known = f->coming;
        f->coming.is_set = false;
    }
}

void raft_fresh_heard(struct raft *r, uint64_t stamp, raft_index index)
{
    struct raft_fresh *f = &r->fresh;
    uint64_t since = stamp & (((uint64_t)1 << FRESH_MARK_SHIFT) - 1);

    if (stamp == 0 || stamp >> FRESH_MARK_SHIFT != mark_of(r) || since == 0 ||
        since - 1 > r->now_ms - f->begin_ms) {
        return; /* None, or another process' of this replica. */
    }
    settle(f, r->applied);
    if (!f->coming.is_set) {
        /* One at a time: who lags behind would never catch up with the newest. */
        f->coming = (struct raft_fresh_fact){
            .ms = f->begin_ms + since - 1, .index = index, .is_set = true};
        settle(f, r->applied);
    }
}

bool raft_age_get(const struct raft *r, uint64_t now_ms, uint64_t *out_ms)
{
    struct raft_fresh f = r->fresh;

    settle(&f, r->applied);
    /* A replaced state may have gone back behind what it had applied. */
    if (!f.known.is_set || f.known.index > r->applied) {
        return false;
    }
    *out_ms = now_ms > f.known.ms ? now_ms - f.known.ms : 0;
    return true;
}

/* ---- leaders ---- */

void raft_fresh_received(const struct raft *r, struct raft_echo *e, uint64_t stamp)
{
    KV_ASSERT(raft_leads(r));
    if (stamp != 0 && e->waiting == 0) {
        e->waiting = stamp;
        e->waiting_round = r->round + 1;
    }
}

void raft_fresh_round(struct raft *r)
{
    struct raft_echo *own = &r->fresh.own;

    if (own->waiting == 0) {
        own->waiting = raft_fresh_stamp(r);
        own->waiting_round = r->round;
    }
}

/* Returns true when a stamp became certain. */
static bool confirm(const struct raft *r, struct raft_echo *e, uint64_t round)
{
    if (e->waiting == 0 || e->waiting_round > round) {
        return false;
    }
    e->stamp = e->waiting;
    e->index = r->commit;
    e->waiting = 0;
    return true;
}

void raft_fresh_confirmed(struct raft *r, uint64_t round)
{
    /* Before its no-op is committed a leader does not know what else is. */
    if (!raft_leads_surely(r)) {
        return;
    }
    for (uint32_t i = 0; i < r->peers_count; i++) {
        (void)confirm(r, &r->peers[i].echo, round);
    }
    if (confirm(r, &r->fresh.own, round)) {
        raft_fresh_heard(r, r->fresh.own.stamp, r->fresh.own.index);
    }
}
