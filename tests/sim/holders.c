/* tests/sim/holders.c - tokens seen in the state, and the promises they stand for. */
#include "tests/sim/holders.h"

#include <inttypes.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "tests/lib/mem_store.h"
#include "tests/sim/kinds.h"

enum {
    /* A node's clock may be fast by 50,000 ppm, and counts whole milliseconds. */
    LEASE_PERCENT = 106,
    LEASE_MS = 2,
    QUEUE_MAX = KV_LOCK_CLAIMS_MAX,
};

/* One token. */
struct holder {
    uint64_t token;
    uint64_t until_us; /* Its client counts on it until then; 0: it was told nothing. */
    uint64_t ended_us; /* When the state was first seen without it; 0: not yet. */
    bool seen;         /* In the state. */
    bool given_up;
};

struct held_lock {
    struct holder *holders; /* By token, ascending; kv_mem. */
    uint32_t count, cap;
    uint32_t live;             /* All before this one have ended. */
    uint64_t newest;           /* The highest token seen in the state. */
    raft_index applied;        /* What the group had applied when it was seen last, */
    uint64_t queue[QUEUE_MAX]; /* and the claims that waited then, by arrival, */
    uint64_t owner[QUEUE_MAX]; /* whose they were. */
    uint32_t queue_count;
    uint64_t shown[SIM_GROUPS_MAX]; /* Highest token that had access to the group. */
};

struct holders {
    struct held_lock locks[HOLDERS_LOCKS];
    uint32_t group[HOLDERS_LOCKS]; /* 0: not known yet. */
};

void holders_open(struct sim *s)
{
    if (s->holders == NULL) {
        s->holders = kv_mem_zalloc(sizeof *s->holders);
        KV_ASSERT(s->holders != NULL);
    }
}

void holders_free(struct sim *s)
{
    for (uint32_t i = 0; s->holders != NULL && i < HOLDERS_LOCKS; i++) {
        kv_mem_free(s->holders->locks[i].holders);
    }
    kv_mem_free(s->holders);
    s->holders = NULL;
}

struct kv_bytes holders_name(uint32_t lock, char *out)
{
    snprintf(out, HOLDERS_NAME_BYTES, "{lock%u}l", lock);
    return kv_bytes_str(out);
}

uint32_t holders_permits(uint32_t lock)
{
    return lock == HOLDERS_SEM ? HOLDERS_SEM_PERMITS : 1;
}

/* ---- tokens ---- */

/* The first one whose token is not lower. */
static uint32_t place_of(const struct held_lock *l, uint64_t token)
{
    uint32_t i = l->count;

    while (i > 0 && l->holders[i - 1].token >= token) {
        i--;
    }
    return i;
}

static struct holder *find(const struct held_lock *l, uint64_t token)
{
    uint32_t i = place_of(l, token);

    return i < l->count && l->holders[i].token == token ? &l->holders[i] : NULL;
}

static struct holder *find_or_add(struct held_lock *l, uint64_t token)
{
    uint32_t i = place_of(l, token);

    if (i < l->count && l->holders[i].token == token) {
        return &l->holders[i];
    }
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->holders = kv_mem_realloc(l->holders, l->cap * sizeof *l->holders);
        KV_ASSERT(l->holders != NULL);
    }
    memmove(&l->holders[i + 1], &l->holders[i], (l->count - i) * sizeof *l->holders);
    l->holders[i] = (struct holder){.token = token};
    l->count++;
    l->live = KV_MIN(l->live, i);
    return &l->holders[i];
}

static bool is_promised(const struct sim *s, const struct holder *h)
{
    return !h->given_up && h->until_us > s->now_us;
}

/* ---- promises ---- */

uint64_t holders_until_us(uint64_t sent_us, uint32_t ttl_ms)
{
    uint64_t us = (uint64_t)(ttl_ms - KV_MIN(ttl_ms, (uint32_t)LEASE_MS)) * 1000;

    return sent_us + us * 100 / LEASE_PERCENT;
}

static void broken(struct sim *s, uint32_t lock, const struct holder *h)
{
    judge_fail(&s->judge, JUDGE_LOCK,
               "lock %u: token %" PRIu64
               " has ended, its client was told that it holds "
               "for %" PRIu64 " us more",
               lock, h->token, h->until_us - s->now_us);
}

void holders_told(struct sim *s, uint32_t lock, uint64_t token, uint64_t until_us)
{
    struct held_lock *l = &s->holders->locks[lock];
    struct holder *h = find_or_add(l, token);
    uint32_t count = 0;

    h->until_us = KV_MAX(h->until_us, until_us);
    if (h->ended_us != 0 && is_promised(s, h)) {
        broken(s, lock, h);
    }
    for (uint32_t i = l->live; i < l->count; i++) {
        count += is_promised(s, &l->holders[i]);
    }
    if (count > holders_permits(lock)) {
        judge_fail(&s->judge, JUDGE_LOCK, "lock %u has %u holders, token %" PRIu64,
                   lock, count, token);
    }
}

void holders_given_up(struct sim *s, uint32_t lock, uint64_t token)
{
    find_or_add(&s->holders->locks[lock], token)->given_up = true;
}

bool holders_is_promised(const struct sim *s, uint32_t lock, uint64_t token)
{
    const struct holder *h = find(&s->holders->locks[lock], token);

    return h != NULL && is_promised(s, h);
}

bool holders_had_ended(const struct sim *s, uint32_t lock, uint64_t token,
                       uint64_t at_us)
{
    const struct holder *h = find(&s->holders->locks[lock], token);

    return h != NULL && h->ended_us != 0 && h->ended_us <= at_us;
}

void holders_show(struct sim *s, uint32_t lock, uint32_t group, uint64_t token)
{
    uint64_t *shown = s->holders->locks[lock].shown;

    KV_ASSERT(group < SIM_GROUPS_MAX);
    shown[group] = KV_MAX(shown[group], token);
}

void holders_shown(const struct sim *s, uint32_t lock, uint64_t out[SIM_GROUPS_MAX])
{
    memcpy(out, s->holders->locks[lock].shown, SIM_GROUPS_MAX * sizeof *out);
}

/* ---- the state ---- */

static uint64_t hash_of(struct kv_bytes owner)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < owner.len; i++) {
        hash = (hash ^ owner.data[i]) * 1099511628211u;
    }
    return hash;
}

/* When a holder that is new arrived, at the latest: everybody in the queue who came
 * before that ought to have been served first. */
static uint64_t arrival_of(const struct held_lock *l, const struct lock_claim *c)
{
    uint64_t owner = hash_of(c->owner);

    for (uint32_t i = 0; i < l->queue_count; i++) {
        if (l->owner[i] == owner) {
            return l->queue[i];
        }
    }
    return l->applied + 1;
}

static void see_granted(struct sim *s, uint32_t lock, const struct lock *now,
                        const struct lock_claim *c)
{
    struct held_lock *l = &s->holders->locks[lock];
    struct holder *h = find_or_add(l, c->id);
    uint64_t arrival = arrival_of(l, c);

    if (h->ended_us != 0 || (!h->seen && c->id <= l->newest)) {
        judge_fail(&s->judge, JUDGE_LOCK,
                   "lock %u: token %" PRIu64 " is given, the newest was %" PRIu64, lock,
                   c->id, l->newest);
    }
    for (uint32_t i = 0; i < now->waiters_count && !h->seen; i++) {
        if (lock_waiter(now, i)->id < arrival) {
            judge_fail(&s->judge, JUDGE_LOCK,
                       "lock %u: token %" PRIu64 " is given to who came at %" PRIu64
                       ", somebody waits since %" PRIu64,
                       lock, c->id, arrival, lock_waiter(now, i)->id);
        }
    }
}

static void see_ended(struct sim *s, uint32_t lock, raft_index applied,
                      const struct lock *now)
{
    struct held_lock *l = &s->holders->locks[lock];

    for (uint32_t i = l->live; i < l->count; i++) {
        struct holder *h = &l->holders[i];

        if (h->ended_us == 0 && h->token <= applied &&
            lock_holder(now, h->token) == NULL) {
            h->ended_us = s->now_us;
            s->counts.locks_ended++;
            s->counts.locks_expired += !h->given_up;
            if (is_promised(s, h)) {
                broken(s, lock, h);
            }
        }
        if (h->ended_us != 0 && i == l->live) {
            l->live++;
        }
    }
}

static void see_queue(struct held_lock *l, const struct lock *now)
{
    l->queue_count = now->waiters_count;
    for (uint32_t i = 0; i < now->waiters_count; i++) {
        l->queue[i] = lock_waiter(now, i)->id;
        l->owner[i] = hash_of(lock_waiter(now, i)->owner);
    }
}

void holders_see(struct sim *s, uint32_t lock, raft_index applied,
                 struct kv_bytes value)
{
    struct held_lock *l = &s->holders->locks[lock];
    struct lock now;

    if (lock_decode(value, &s->peek, &now) != 0 ||
        (now.permits != 0 && now.permits != holders_permits(lock))) {
        judge_fail(&s->judge, JUDGE_LOCK, "lock %u has a row that is none", lock);
        return;
    }
    for (uint32_t i = 0; i < now.holders_count; i++) {
        see_granted(s, lock, &now, &now.claims[i]);
    }
    for (uint32_t i = 0; i < now.holders_count; i++) {
        find_or_add(l, now.claims[i].id)->seen = true;
        l->newest = KV_MAX(l->newest, now.claims[i].id);
    }
    see_ended(s, lock, applied, &now);
    see_queue(l, &now);
    l->applied = applied;
}

/* The row of a lock in a replica's state. False: it cannot tell. */
static bool read_row(struct sim *s, uint32_t node, struct group *g, uint32_t lock,
                     struct kv_bytes *out)
{
    char name[HOLDERS_NAME_BYTES];
    struct mem_store *disk = s->nodes[node].disk;
    struct row row;
    int rc;

    if (disk != NULL) {
        mem_store_observe(disk, true);
    }
    arena_reset(&s->peek);
    rc = state_get(group_state(g), ROW_LOCK, holders_name(lock, name), &s->peek, &row);
    if (disk != NULL) {
        mem_store_observe(disk, false);
    }
    *out = rc == 0 ? row.value : kv_bytes(NULL, 0);
    return rc == 0 || rc == KV_ENOTFOUND;
}

static uint32_t group_of(struct sim *s, uint32_t lock)
{
    char name[HOLDERS_NAME_BYTES];

    if (s->holders->group[lock] == 0) {
        s->holders->group[lock] = kinds_group_of(s, holders_name(lock, name));
    }
    return s->holders->group[lock];
}

void holders_look(struct sim *s, uint32_t node, uint32_t group, raft_index applied)
{
    struct group *g = node_group(s->nodes[node].node, group);

    /* The group meta has none, and an unknown group is 0 as well. */
    for (uint32_t i = 0; i < HOLDERS_LOCKS && group != 0; i++) {
        struct kv_bytes value;

        if (applied > s->holders->locks[i].applied && group_of(s, i) == group &&
            group_state_is_whole(g) && read_row(s, node, g, i, &value)) {
            holders_see(s, i, applied, value);
        }
    }
}

bool holders_are_gone(struct sim *s, const struct peace *p, uint32_t *out_lock)
{
    for (uint32_t i = 0; s->holders != NULL && i < HOLDERS_LOCKS; i++) {
        const struct held_lock *l = &s->holders->locks[i];

        if ((l->live < l->count || l->queue_count > 0) && group_of(s, i) != 0 &&
            peace_lives(s, p, group_of(s, i))) {
            *out_lock = i;
            return false;
        }
    }
    return true;
}
