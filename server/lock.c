/* server/lock.c - holders and waiters of one lock. */
#include "server/lock.h"

#include "raft/base/err.h"
#include "server/fields.h"

enum {
    LOCK_VERSION = 1,
    LOCK_HEAD_BYTES = 15,
    LOCK_CLAIM_HEAD_BYTES = 15,
};

#define LOCK_NOWHERE UINT32_MAX

static uint32_t claims_count(const struct lock *l)
{
    return l->holders_count + l->waiters_count;
}

/* ---- bytes ---- */

size_t lock_bytes(const struct lock *l)
{
    size_t bytes = LOCK_HEAD_BYTES;

    for (uint32_t i = 0; i < claims_count(l); i++) {
        bytes +=
            LOCK_CLAIM_HEAD_BYTES + l->claims[i].owner.len + l->claims[i].value.len;
    }
    return bytes;
}

void lock_encode(const struct lock *l, uint8_t *out)
{
    uint8_t *p = fields_put_u8(out, LOCK_VERSION);

    KV_ASSERT(claims_count(l) > 0 && claims_count(l) <= KV_LOCK_CLAIMS_MAX);
    p = fields_put_u16(p, l->permits);
    p = fields_put_u16(p, l->holders_count);
    p = fields_put_u16(p, l->waiters_count);
    p = fields_put_u64(p, l->last_token);
    for (uint32_t i = 0; i < claims_count(l); i++) {
        const struct lock_claim *c = &l->claims[i];

        p = fields_put_u64(p, c->id);
        p = fields_put_u32(p, c->ttl_ms);
        p = fields_put_u8(p, c->owner.len);
        p = fields_put_u16(p, c->value.len);
        p = fields_put_bytes(p, c->owner);
        p = fields_put_bytes(p, c->value);
    }
    KV_ASSERT((size_t)(p - out) == lock_bytes(l));
}

static void claim_decode(struct fields *f, struct lock_claim *out)
{
    size_t owner_len;
    size_t value_len;

    out->id = fields_u64(f);
    out->ttl_ms = fields_u32(f);
    owner_len = fields_u8(f);
    value_len = fields_u16(f);
    out->owner = fields_bytes(f, owner_len, 1, KV_LOCK_OWNER_BYTES_MAX);
    out->value = fields_bytes(f, value_len, 0, KV_LOCK_VALUE_BYTES_MAX);
    f->bad = f->bad || out->id == 0;
}

static bool head_is_sound(const struct lock *l)
{
    return l->permits >= 1 && l->permits <= KV_LOCK_PERMITS_MAX &&
           l->holders_count >= 1 && l->holders_count <= l->permits &&
           (l->waiters_count == 0 || l->holders_count == l->permits) &&
           claims_count(l) <= KV_LOCK_CLAIMS_MAX;
}

int lock_decode(struct kv_bytes value, struct arena *arena, struct lock *out)
{
    struct fields f = fields_of(value);
    struct lock l = {0};

    if (value.len > 0) {
        if (fields_u8(&f) != LOCK_VERSION) {
            return KV_EFORMAT;
        }
        l.permits = fields_u16(&f);
        l.holders_count = fields_u16(&f);
        l.waiters_count = fields_u16(&f);
        l.last_token = fields_u64(&f);
        if (f.bad || !head_is_sound(&l)) {
            return KV_EFORMAT;
        }
    }
    l.claims = arena_alloc(arena, (claims_count(&l) + 1) * sizeof *l.claims);
    if (l.claims == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < claims_count(&l); i++) {
        claim_decode(&f, &l.claims[i]);
    }
    if (f.bad || f.left > 0) {
        return KV_EFORMAT;
    }
    *out = l;
    return 0;
}

/* ---- finding ---- */

static uint32_t find_owner(const struct lock *l, struct kv_bytes owner)
{
    for (uint32_t i = 0; i < claims_count(l); i++) {
        if (kv_bytes_equal(l->claims[i].owner, owner)) {
            return i;
        }
    }
    return LOCK_NOWHERE;
}

static uint32_t find_token(const struct lock *l, uint64_t token)
{
    for (uint32_t i = 0; i < l->holders_count; i++) {
        if (l->claims[i].id == token) {
            return i;
        }
    }
    return LOCK_NOWHERE;
}

const struct lock_claim *lock_holder(const struct lock *l, uint64_t token)
{
    uint32_t i = find_token(l, token);

    return i == LOCK_NOWHERE ? NULL : &l->claims[i];
}

const struct lock_claim *lock_waiter(const struct lock *l, uint32_t i)
{
    KV_ASSERT(i < l->waiters_count);
    return &l->claims[l->holders_count + i];
}

/* ---- changing ---- */

/* Says what the claim at `i` has: a token or a place. */
static void tell_claim(const struct lock *l, uint32_t i, struct lock_change *out)
{
    out->own = l->claims[i];
    out->held = i < l->holders_count;
    out->token = out->held ? l->claims[i].id : 0;
    out->place = out->held ? 0 : i - l->holders_count + 1;
}

static void claim_remove(struct lock *l, uint32_t i)
{
    uint32_t count = claims_count(l);

    KV_ASSERT(i < count);
    memmove(&l->claims[i], &l->claims[i + 1], (count - i - 1) * sizeof *l->claims);
    if (i < l->holders_count) {
        l->holders_count--;
    } else {
        l->waiters_count--;
    }
}

/* Gives a permit that came free to the first of the queue. */
static void grant_next(struct lock *l, uint64_t rev, struct lock_change *out)
{
    struct lock_claim *c = &l->claims[l->holders_count];

    if (l->waiters_count == 0 || l->holders_count == l->permits) {
        return;
    }
    out->waited = c->id;
    out->granted = rev;
    c->id = rev;
    out->next = *c;
    l->last_token = rev;
    l->holders_count++;
    l->waiters_count--;
}

void lock_acquire(struct lock *l, const struct lock_ask *ask, uint64_t rev,
                  struct lock_change *out)
{
    uint32_t i = find_owner(l, ask->claim.owner);
    uint32_t count = claims_count(l);

    KV_ASSERT(ask->permits >= 1 && ask->permits <= KV_LOCK_PERMITS_MAX);
    KV_ASSERT(rev > l->last_token);
    *out = (struct lock_change){0};
    if (l->permits != 0 && l->permits != ask->permits) {
        out->code = KV_EBADREQUEST;
        return;
    }
    if (i != LOCK_NOWHERE) {
        tell_claim(l, i, out);
        return;
    }
    if (l->holders_count == l->permits && l->permits != 0) {
        if (!ask->may_wait) {
            return;
        }
        if (count == KV_LOCK_CLAIMS_MAX) {
            out->code = KV_EBUSY;
            return;
        }
        l->waiters_count++;
    } else {
        KV_ASSERT(l->waiters_count == 0);
        l->permits = ask->permits;
        l->last_token = rev;
        l->holders_count++;
    }
    l->claims[count] = ask->claim;
    l->claims[count].id = rev;
    out->changed = true;
    tell_claim(l, count, out);
}

void lock_release(struct lock *l, uint64_t token, uint64_t rev, struct lock_change *out)
{
    uint32_t i = find_token(l, token);

    KV_ASSERT(rev > l->last_token);
    *out = (struct lock_change){0};
    if (i == LOCK_NOWHERE) {
        return;
    }
    out->changed = true;
    out->released = true;
    out->ended = token;
    claim_remove(l, i);
    grant_next(l, rev, out);
}

void lock_cancel(struct lock *l, struct kv_bytes owner, bool give_back, uint64_t rev,
                 struct lock_change *out)
{
    uint32_t i = find_owner(l, owner);

    *out = (struct lock_change){0};
    if (i == LOCK_NOWHERE) {
        return;
    }
    if (i >= l->holders_count) {
        out->changed = true;
        out->ended = l->claims[i].id;
        claim_remove(l, i);
    } else if (give_back) {
        lock_release(l, l->claims[i].id, rev, out);
    } else {
        tell_claim(l, i, out);
    }
}
