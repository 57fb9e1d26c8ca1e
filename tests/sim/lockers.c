/* tests/sim/lockers.c - clients that lock, change things, and sleep for too long.
 *
 * A client takes a lock, a place in a semaphore or an election, keeps it alive (often
 * in the last moment), reads a list and writes it back with its token, sleeps longer
 * than its lease in between, gives the lock back, or just forgets it. Whoever does not
 * know what became of a write does nothing more with that token: the write may come
 * later. Each round is another owner. Ended tokens are shown again on purpose.
 */
#include <inttypes.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "tests/sim/ask.h"
#include "tests/sim/chain.h"
#include "tests/sim/holders.h"

enum {
    LOCKER_TTL_MS_MAX = 4000,
    LOCKER_ROUNDS_MAX = 8, /* That one asks as the same owner. */
};

enum locker_wish {
    LOCKER_ACQUIRE,
    LOCKER_CANCEL, /* Whatever the owner has. */
    LOCKER_KEEPALIVE,
    LOCKER_RELEASE,
    LOCKER_INFO,
    LOCKER_READ,
    LOCKER_WRITE,
};

enum locker_stage {
    LOCKER_FREE,
    LOCKER_ASKS, /* It may have a place, or hold. */
    LOCKER_HOLDS,
    LOCKER_HAS_READ,
};

struct locker {
    enum locker_stage stage;
    enum locker_wish wish;
    bool is_old; /* The request shows a token that has ended, or will soon. */
    uint32_t lock, ttl_ms, wait_ms, rounds, owners;
    char owner[ASK_NAME_BYTES];
    uint64_t token;
    uint64_t sent_us;    /* The request under way. */
    uint64_t renewed_us; /* What the lease counts from. */
    uint64_t asleep_until_us;
    bool at_edge; /* It wakes up for a keepalive in the last moment. */
    /* A change: what was read, where, what it is to be. */
    struct chain_place at;
    struct chain_list list;
    uint32_t least;
    /* The highest token of the lock that had access, by group, when it was asked. */
    uint64_t shown[SIM_GROUPS_MAX];
    /* A token that it had before. */
    uint32_t old_lock;
    uint64_t old_token;
};

/* ---- rounds ---- */

static uint64_t lease_end_us(const struct locker *l)
{
    return l->renewed_us + (uint64_t)l->ttl_ms * 1000;
}

/* Goes on as somebody else. */
static void forget(struct locker *l)
{
    if (l->token != 0) {
        l->old_lock = l->lock;
        l->old_token = l->token;
    }
    l->token = 0;
    l->stage = LOCKER_FREE;
    l->at_edge = false;
}

static void round_begin(struct sim *s, struct sim_client *c, struct locker *l)
{
    uint64_t dice = prng_below(&c->prng, 10);

    l->lock = (uint32_t)prng_below(&c->prng, HOLDERS_LOCKS);
    if (ask_chance(c, 2)) {
        l->lock = (uint32_t)(s->seed % HOLDERS_LOCKS); /* Where the others are, too. */
    }
    l->ttl_ms = (uint32_t)prng_between(&c->prng, KV_LOCK_TTL_MS_MIN,
                                       dice < 5 ? 500 : LOCKER_TTL_MS_MAX);
    l->wait_ms = dice % 2 == 0 ? 0 : (uint32_t)prng_between(&c->prng, 1, 3000);
    l->rounds = 0;
    l->asleep_until_us = 0;
    snprintf(l->owner, sizeof l->owner, "c%u-%u", c->number, ++l->owners);
    l->stage = LOCKER_ASKS;
}

/* For longer than the lease, or until it has nearly run out. */
static void go_to_sleep(struct sim *s, struct sim_client *c, struct locker *l)
{
    uint64_t end_us = lease_end_us(l);

    l->at_edge = ask_chance(c, 2);
    l->asleep_until_us =
        l->at_edge
            ? end_us - KV_MIN(end_us, (uint64_t)20000) + prng_below(&c->prng, 60000)
            : end_us + prng_below(&c->prng, (uint64_t)l->ttl_ms * 1500 + 1);
    s->counts.locks_sleeps++;
}

static void choose_wish(struct sim *s, struct sim_client *c, struct locker *l)
{
    uint64_t dice = prng_below(&c->prng, 100);
    bool may_change = l->lock != HOLDERS_SEM;

    l->is_old = false;
    switch (l->stage) {
    case LOCKER_FREE:
        if (l->old_token != 0 && dice < 12) {
            l->is_old = true;
            l->wish = dice < 3                                 ? LOCKER_KEEPALIVE
                      : dice < 5 || l->old_lock == HOLDERS_SEM ? LOCKER_RELEASE
                      : dice < 9                               ? LOCKER_READ
                                                               : LOCKER_WRITE;
            return;
        }
        round_begin(s, c, l);
        l->wish = dice < 92 ? LOCKER_ACQUIRE : LOCKER_INFO;
        return;
    case LOCKER_ASKS:
        l->wish = l->rounds > LOCKER_ROUNDS_MAX || dice < 15 ? LOCKER_CANCEL
                  : dice < 95                                ? LOCKER_ACQUIRE
                                                             : LOCKER_INFO;
        return;
    case LOCKER_HOLDS:
        if (dice < 12 && !l->at_edge) {
            go_to_sleep(s, c, l);
        }
        l->wish = l->at_edge                ? LOCKER_KEEPALIVE
                  : dice < 50 && may_change ? LOCKER_READ
                  : dice < 75               ? LOCKER_KEEPALIVE
                  : dice < 90               ? LOCKER_RELEASE
                  : dice < 94               ? LOCKER_CANCEL
                  : dice < 97               ? LOCKER_INFO
                                            : LOCKER_ACQUIRE;
        return;
    case LOCKER_HAS_READ:
        if (dice < 20) {
            go_to_sleep(s, c, l);
            l->at_edge = false;
        }
        l->wish = dice < 85 ? LOCKER_WRITE : dice < 95 ? LOCKER_KEEPALIVE : LOCKER_READ;
        return;
    }
}

/* ---- asking ---- */

static enum rpc_method method_of(uint32_t lock, enum locker_wish wish)
{
    static const enum rpc_method methods[3][5] = {
        {RPC_LOCK_ACQUIRE, RPC_LOCK_RELEASE, RPC_LOCK_KEEPALIVE, RPC_LOCK_RELEASE,
         RPC_LOCK_INFO},
        {RPC_SEM_ACQUIRE, RPC_SEM_RELEASE, RPC_SEM_KEEPALIVE, RPC_SEM_RELEASE,
         RPC_SEM_INFO},
        {RPC_ELECTION_CAMPAIGN, RPC_ELECTION_RESIGN, RPC_ELECTION_KEEPALIVE,
         RPC_ELECTION_RESIGN, RPC_ELECTION_LEADER},
    };

    return methods[lock < HOLDERS_SEM ? 0 : lock - HOLDERS_SEM + 1][wish];
}

static void ask_lock(struct sim *s, struct sim_client *c, struct locker *l,
                     struct buf *b)
{
    uint32_t lock = l->is_old ? l->old_lock : l->lock;
    char name[HOLDERS_NAME_BYTES];
    struct rpc_request q;

    ask_begin(s, c, &q, method_of(lock, l->wish), LINEAR_ADD);
    c->op.key = ASK_OTHER_KEYS + lock;
    q.key = holders_name(lock, name);
    q.token = l->wish == LOCKER_CANCEL ? 0 : l->is_old ? l->old_token : l->token;
    c->op.value = q.token;
    if (l->wish == LOCKER_ACQUIRE || l->wish == LOCKER_CANCEL) {
        q.options.owner = kv_bytes_str(l->owner);
        q.options.has |= RPC_OPT_BIT(RPC_OPT_owner);
    }
    if (l->wish == LOCKER_ACQUIRE) {
        l->rounds++;
        q.permits = holders_permits(lock);
        q.value = kv_bytes_str(l->owner);
        q.options.ttl_ms = l->ttl_ms;
        q.options.wait_ms = l->wait_ms;
        q.options.has |= RPC_OPT_BIT(RPC_OPT_ttl_ms) | RPC_OPT_BIT(RPC_OPT_wait_ms);
    }
    if (l->wish == LOCKER_RELEASE) {
        holders_given_up(s, lock, q.token); /* It does not count on it any more. */
    } else if (l->wish == LOCKER_CANCEL && l->token != 0) {
        holders_given_up(s, lock, l->token);
    }
    if (ask_chance(c, 4)) {
        q.options.deadline_ms = (uint32_t)prng_between(&c->prng, 5, 3000);
        q.options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
    ask_send(s, c, &q, b);
}

/* Must a write with the old token be refused? */
static bool is_certainly_over(struct sim *s, const struct locker *l)
{
    char key[CHAIN_NAME_BYTES];
    uint32_t group = kinds_group_of(s, chain_name(&l->at, key));

    return l->at.is_far ? l->old_token < l->shown[group]
                        : holders_had_ended(s, l->old_lock, l->old_token, s->now_us);
}

static void ask_list(struct sim *s, struct sim_client *c, struct locker *l,
                     struct buf *b)
{
    uint32_t lock = l->is_old ? l->old_lock : l->lock;
    char lock_name[HOLDERS_NAME_BYTES], key[CHAIN_NAME_BYTES];
    uint8_t value[4 * CHAIN_MAX];
    struct rpc_request q;

    holders_shown(s, lock, l->shown);
    if (l->wish == LOCKER_READ || l->is_old) {
        l->at = chain_choose(s, lock, ask_chance(c, 2));
        l->list.count = 0;
        l->stage = l->is_old ? l->stage : LOCKER_HOLDS; /* What it had read is gone. */
    }
    if (l->is_old && !is_certainly_over(s, l)) {
        l->wish = LOCKER_READ; /* It would overwrite what is there. */
    }
    ask_begin(s, c, &q, l->wish == LOCKER_READ ? RPC_KV_GET : RPC_KV_PUT, LINEAR_ADD);
    c->op.key = ASK_OTHER_KEYS + lock;
    q.key = chain_name(&l->at, key);
    if (l->wish == LOCKER_WRITE) {
        l->list.numbers[l->list.count++] = chain_number(s);
        for (uint32_t i = 0; i < l->list.count; i++) {
            kv_put_u32le(value + 4 * (size_t)i, l->list.numbers[i]);
        }
        q.value = kv_bytes(value, 4 * (size_t)l->list.count);
    }
    l->least = chain_least(s, &l->at);
    q.options.fence_lock = holders_name(lock, lock_name);
    q.options.fence_token = l->is_old ? l->old_token : l->token;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_fence);
    c->op.value = q.options.fence_token;
    ask_send(s, c, &q, b);
}

static bool locker_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    struct locker *l = c->own;

    if (s->now_us >= l->asleep_until_us) {
        choose_wish(s, c, l);
    }
    if (s->now_us < l->asleep_until_us) {
        c->wake_us = l->asleep_until_us;
        return false;
    }
    l->sent_us = s->now_us;
    if (l->wish == LOCKER_READ || l->wish == LOCKER_WRITE) {
        ask_list(s, c, l, b);
    } else {
        ask_lock(s, c, l, b);
    }
    return true;
}

/* ---- what came of it ---- */

static void acquired(struct sim *s, struct locker *l, const struct rpc_reply *r)
{
    if (r->acquired) {
        if (l->stage == LOCKER_ASKS) {
            s->counts.locks_taken++;
            s->counts.locks_taken_later += l->rounds > 1;
        } else if (r->lock_token != l->token) {
            holders_given_up(s, l->lock, l->token); /* It ended, and is held anew. */
        }
        l->stage = LOCKER_HOLDS;
        l->token = r->lock_token;
        l->ttl_ms = KV_MIN(r->ttl_ms, (uint32_t)LOCKER_TTL_MS_MAX);
        l->renewed_us = l->sent_us;
        holders_told(s, l->lock, l->token, holders_until_us(l->sent_us, r->ttl_ms));
        return;
    }
    s->counts.locks_places += r->place > 0;
    s->counts.locks_not_got += r->place == 0;
    if (l->stage != LOCKER_ASKS || r->place == 0) {
        forget(l);
    }
}

/* Nobody may end a lease that its client counts on. */
static void fenced(struct sim *s, struct locker *l, bool is_far)
{
    uint64_t token = l->is_old ? l->old_token : l->token;
    uint32_t lock = l->is_old ? l->old_lock : l->lock;

    s->counts.locks_fenced++;
    s->counts.locks_fenced_far += is_far;
    if (holders_is_promised(s, lock, token)) {
        judge_fail(&s->judge, JUDGE_LOCK,
                   "lock %u: token %" PRIu64 " is refused, it is held", lock, token);
    }
    if (!l->is_old) {
        forget(l);
    }
}

/* A fenced request was carried out. */
static void let_in(struct sim *s, struct locker *l, const struct rpc_reply *r)
{
    uint64_t token = l->is_old ? l->old_token : l->token;
    uint32_t lock = l->is_old ? l->old_lock : l->lock;

    if (r->at.group <= s->swarm.groups && token < l->shown[r->at.group]) {
        judge_fail(&s->judge, JUDGE_LOCK,
                   "lock %u: token %" PRIu64
                   " had access to group %u after token %" PRIu64,
                   lock, token, r->at.group, l->shown[r->at.group]);
    }
    if (!l->at.is_far && holders_had_ended(s, lock, token, l->sent_us)) {
        judge_fail(&s->judge, JUDGE_LOCK,
                   "lock %u: token %" PRIu64 " had access after its end", lock, token);
    }
    holders_show(s, lock, r->at.group, token);
}

static void list_answered(struct sim *s, struct locker *l, const struct rpc_reply *r)
{
    let_in(s, l, r);
    if (l->wish == LOCKER_WRITE) {
        s->counts.locks_changes++;
        s->counts.locks_changes_far += l->at.is_far;
        chain_written(s, &l->at, &l->list, CHAIN_DONE);
        l->stage = l->is_old ? l->stage : LOCKER_HOLDS;
        return;
    }
    if (chain_decode(s, r->found ? r->value : kv_bytes(NULL, 0), &l->list)) {
        chain_seen(s, &l->at, &l->list, l->least);
    }
    if (!l->is_old && l->list.count < CHAIN_MAX) {
        l->stage = LOCKER_HAS_READ;
    }
}

static void info_answered(struct sim *s, struct locker *l, const struct rpc_reply *r)
{
    s->counts.locks_infos++;
    for (uint32_t i = 0; i < r->holders.count; i++) {
        struct rpc_lock_holder h;

        rpc_reply_holder_get(r, i, &h);
        if (holders_had_ended(s, l->lock, h.token, l->sent_us)) {
            judge_fail(&s->judge, JUDGE_LOCK,
                       "lock %u: token %" PRIu64 " is shown, it has ended", l->lock,
                       h.token);
        }
    }
    if (l->stage == LOCKER_ASKS && l->rounds == 0) {
        forget(l); /* It only wanted to know. */
    }
}

static void success(struct sim *s, struct locker *l, const struct rpc_reply *r)
{
    switch (l->wish) {
    case LOCKER_ACQUIRE:
        acquired(s, l, r);
        break;
    case LOCKER_KEEPALIVE:
        s->counts.locks_kept++;
        if (!l->is_old) {
            l->renewed_us = l->sent_us;
            l->at_edge = false;
            holders_told(s, l->lock, l->token, holders_until_us(l->sent_us, r->ttl_ms));
        }
        break;
    case LOCKER_RELEASE:
    case LOCKER_CANCEL:
        s->counts.locks_released += r->released;
        if (!l->is_old) {
            forget(l);
        }
        break;
    case LOCKER_INFO:
        info_answered(s, l, r);
        break;
    case LOCKER_READ:
    case LOCKER_WRITE:
        list_answered(s, l, r);
        break;
    }
}

/* No answer, or one that does not say what came of it. */
static void failure(struct sim *s, struct locker *l, enum linear_outcome outcome)
{
    if (l->wish == LOCKER_WRITE) {
        chain_written(s, &l->at, &l->list,
                      outcome == LINEAR_FAIL ? CHAIN_NOT : CHAIN_MAYBE);
        l->list.count--;
        if (l->is_old) {
            return;
        }
        if (outcome == LINEAR_UNKNOWN) {
            s->counts.locks_unsure++;
            forget(l);
        }
    } else if (l->wish == LOCKER_RELEASE || l->wish == LOCKER_CANCEL) {
        if (!l->is_old) {
            forget(l); /* It may come later. */
        }
    } else if (l->wish == LOCKER_INFO && l->stage == LOCKER_ASKS && l->rounds == 0) {
        forget(l);
    }
}

static void locker_answer(struct sim *s, struct sim_client *c,
                          const struct rpc_reply *r)
{
    struct locker *l = c->own;
    enum linear_outcome outcome = r->error == 0 ? LINEAR_OK : ask_outcome(r->error);

    if (r->error == 0) {
        success(s, l, r);
    } else {
        failure(s, l, outcome);
        if (r->error == KV_EFENCED) {
            fenced(s, l,
                   (l->wish == LOCKER_READ || l->wish == LOCKER_WRITE) && l->at.is_far);
        }
    }
    if (l->stage == LOCKER_HOLDS && ask_chance(c, 40)) {
        forget(l); /* It dies, and says nothing. */
    }
    ask_finish(s, c, outcome, r->error);
}

static void locker_silence(struct sim *s, struct sim_client *c)
{
    failure(s, c->own, LINEAR_UNKNOWN);
    ask_finish(s, c, LINEAR_UNKNOWN, 0);
}

/* ---- life ---- */

static void locker_open(struct sim *s, struct sim_client *c)
{
    c->own = kv_mem_zalloc(sizeof(struct locker));
    KV_ASSERT(c->own != NULL);
    holders_open(s);
    chain_open(s);
}

/* All values are looked at once. */
static void locker_check(struct sim *s, struct sim_client *c, const struct peace *p)
{
    for (uint32_t i = 0; i < c->number; i++) {
        if (s->clients[i].kind == c->kind) {
            return;
        }
    }
    chain_check(s, p);
}

const struct client_kind kind_lock = {.open = locker_open,
                                      .choose = locker_choose,
                                      .answer = locker_answer,
                                      .silence = locker_silence,
                                      .check = locker_check};
