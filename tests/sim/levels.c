/* tests/sim/levels.c - levels drawn, tokens kept and passed on, answers judged. */
#include "tests/sim/levels.h"

#include <inttypes.h>

#include "raft/base/arena.h"

enum {
    /* A node's clock may be wrong by 50,000 ppm, and counts whole milliseconds. */
    AGE_PERCENT = 106,
    AGE_MS = 2,
};

/* ---- the past ---- */

void levels_note(struct sim *s)
{
    struct sim_past *p = &s->past;

    for (uint32_t g = 1; g <= s->swarm.groups; g++) {
        raft_index commit = judge_commit_max(&s->judge, g);

        if (commit == p->newest[g]) {
            continue;
        }
        if (p->count == p->cap) {
            p->cap = p->cap == 0 ? 1024 : p->cap * 2;
            p->facts = kv_mem_realloc(p->facts, p->cap * sizeof *p->facts);
            KV_ASSERT(p->facts != NULL);
        }
        p->newest[g] = commit;
        p->facts[p->count++] =
            (struct sim_fact){.at_us = s->now_us, .group = g, .commit = commit};
    }
}

void levels_free(struct sim *s)
{
    kv_mem_free(s->past.facts);
}

/* What was committed in the group at this time. */
static raft_index committed_at(const struct sim *s, uint32_t group, uint64_t at_us)
{
    size_t i = s->past.count;

    while (i > 0 && (s->past.facts[i - 1].group != group ||
                     s->past.facts[i - 1].at_us > at_us)) {
        i--;
    }
    return i == 0 ? 0 : s->past.facts[i - 1].commit;
}

/* ---- asking ---- */

static void give_token(struct sim *s, struct sim_client *c, struct rpc_request *q)
{
    /* Another client passes on what it has seen: from then on it holds here, too. */
    if (prng_below(&c->prng, 8) == 0) {
        const struct sim_client *o =
            &s->clients[prng_below(&c->prng, s->swarm.clients)];
        uint8_t both[2 * SIM_TOKEN_BYTES];

        c->token_len = token_merge(kv_bytes(c->token, c->token_len),
                                   kv_bytes(o->token, o->token_len), both);
        KV_ASSERT(c->token_len <= sizeof c->token);
        memcpy(c->token, both, c->token_len);
        for (uint32_t g = 0; g < SIM_GROUPS_MAX; g++) {
            c->seen[g] = KV_MAX(c->seen[g], o->seen[g]);
        }
        for (uint32_t k = 0; k < s->swarm.keys; k++) {
            c->seen_key[k] = KV_MAX(c->seen_key[k], o->seen_key[k]);
        }
    }
    q->options.token = kv_bytes(c->token, c->token_len);
    q->options.has |= RPC_OPT_BIT(RPC_OPT_token);
}

static void choose_read(struct sim *s, struct sim_client *c, struct rpc_request *q)
{
    uint64_t dice = prng_below(&c->prng, 100);
    /* In some runs nearly all read without a leader. */
    uint64_t quorum_to = s->seed % 3 == 0 ? 92 : 55;

    if (q->method == RPC_KV_GET && dice >= 30 && dice < quorum_to) {
        c->level = RPC_QUORUM;
        s->counts.quorum_reads++;
        if (prng_below(&c->prng, 6) == 0) {
            q->options.r = (uint32_t)prng_between(&c->prng, 1, 5);
            q->options.has |= RPC_OPT_BIT(RPC_OPT_r);
        }
    } else if (dice < 12) {
        c->level = RPC_STALE;
        if (prng_below(&c->prng, 2) == 0) {
            q->options.max_age_ms = (uint32_t)prng_below(&c->prng, 1000);
            q->options.has |= RPC_OPT_BIT(RPC_OPT_max_age_ms);
        }
    } else if (dice < 30) {
        c->level = RPC_SESSION;
        give_token(s, c, q);
    } else {
        return;
    }
    q->options.level = c->level;
    q->options.has |= RPC_OPT_BIT(RPC_OPT_level);
}

void levels_choose(struct sim *s, struct sim_client *c, struct rpc_request *q)
{
    c->level = RPC_LINEARIZABLE;
    c->has_token = false;
    if (q->method == RPC_KV_GET || q->method == RPC_KV_RANGE) {
        choose_read(s, c, q);
    } else if (prng_below(&c->prng, 2) == 0) {
        give_token(s, c, q);
    }
    c->has_token = (q->options.has & RPC_OPT_BIT(RPC_OPT_token)) != 0;
    c->max_age_ms = (q->options.has & RPC_OPT_BIT(RPC_OPT_max_age_ms)) != 0
                        ? q->options.max_age_ms
                        : UINT32_MAX;
    /* A history of one value after the other is not what these promise. */
    if (c->level == RPC_STALE || c->level == RPC_SESSION) {
        c->in_history = false;
        c->is_range = false;
    }
}

/* ---- judging ---- */

static void check_stale(struct sim *s, const struct sim_client *c,
                        const struct rpc_at *at)
{
    uint64_t back_us = (at->age_ms + AGE_MS) * 1000 * AGE_PERCENT / 100;
    uint64_t then_us = c->op.call_us > back_us ? c->op.call_us - back_us : 0;
    raft_index least = committed_at(s, at->group, then_us);

    s->counts.stale_reads++;
    if (at->level == RPC_LINEARIZABLE) {
        s->counts.local_by_leader++; /* The replica was too old, or has no state. */
        return;
    }
    if (at->level != RPC_STALE || at->age_ms > KV_MIN(c->max_age_ms, RPC_AGE_UNKNOWN)) {
        sim_fail(s, "node %u: a stale read of level %s is %" PRIu64 " ms old", at->node,
                 rpc_level_name(at->level), at->age_ms);
    }
    if (at->age_ms != RPC_AGE_UNKNOWN && at->rev < least) {
        sim_fail(s,
                 "node %u: a read that is %" PRIu64 " ms old shows group %u at %" PRIu64
                 ", but %" PRIu64 " was committed before that",
                 at->node, at->age_ms, at->group, at->rev, least);
    }
}

static void check_session(struct sim *s, const struct sim_client *c,
                          const struct rpc_reply *r, const struct rpc_at *at)
{
    s->counts.session_reads++;
    s->counts.local_by_leader += at->level == RPC_LINEARIZABLE;
    if ((at->level != RPC_SESSION && at->level != RPC_LINEARIZABLE) ||
        at->rev < c->seen[at->group]) {
        sim_fail(
            s, "node %u: client %u read group %u at %" PRIu64 ", it has seen %" PRIu64,
            at->node, c->number, at->group, at->rev, c->seen[at->group]);
    }
    if (c->method == RPC_KV_GET && r->found && r->rev < c->seen_key[c->op.key]) {
        sim_fail(s,
                 "node %u: client %u read key %u at %" PRIu64 ", it has seen %" PRIu64,
                 at->node, c->number, c->op.key, r->rev, c->seen_key[c->op.key]);
    }
}

/* What the client has seen with this answer; its token has to say the same. */
static void remember(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    if (!c->has_token) {
        return;
    }
    if (!token_is_valid(r->token, 0) || r->token.len == 0 ||
        r->token.len > sizeof c->token) {
        sim_fail(s, "node %u: a token of %zu bytes", c->node, r->token.len);
        return;
    }
    memcpy(c->token, r->token.data, r->token.len);
    c->token_len = r->token.len;
    for (uint32_t i = 0; i < r->ats.count; i++) {
        struct rpc_at at;

        rpc_reply_at_get(r, i, &at);
        c->seen[at.group] = KV_MAX(c->seen[at.group], at.rev);
    }
    if (c->method != RPC_KV_RANGE) {
        c->seen_key[c->op.key] = KV_MAX(c->seen_key[c->op.key], r->rev);
    }
    for (uint32_t g = 0; g <= s->swarm.groups; g++) {
        if (token_rev(r->token, g) < c->seen[g]) {
            sim_fail(s, "node %u: client %u's token forgot group %u", c->node,
                     c->number, g);
        }
    }
}

void levels_check(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    if (c->level == RPC_QUORUM) {
        s->counts.quorum_ok++;
        if (r->at.level != RPC_QUORUM) {
            sim_fail(s, "node %u: a quorum read of level %s", c->node,
                     rpc_level_name(r->at.level));
        }
    }
    for (uint32_t i = 0; i < r->ats.count; i++) {
        struct rpc_at at;

        rpc_reply_at_get(r, i, &at);
        if (at.group > s->swarm.groups) {
            sim_fail(s, "node %u: an answer of group %u", c->node, at.group);
            return;
        }
        if (c->level == RPC_STALE) {
            check_stale(s, c, &at);
        } else if (c->level == RPC_SESSION) {
            check_session(s, c, r, &at);
        }
    }
    remember(s, c, r);
}
