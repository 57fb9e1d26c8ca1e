/* server/lock.c - holders and waiters of one lock. */
#include "server/lock.h"

#include "raft/base/err.h"

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

static uint8_t *put_bytes(uint8_t *p, struct kv_bytes b)
{
    if (b.len > 0) {
        memcpy(p, b.data, b.len);
    }
    return p + b.len;
}

void lock_encode(const struct lock *l, uint8_t *out)
{
    uint8_t *p = out + LOCK_HEAD_BYTES;

    KV_ASSERT(claims_count(l) > 0 && claims_count(l) <= KV_LOCK_CLAIMS_MAX);
    out[0] = LOCK_VERSION;
    kv_put_u16le(out + 1, (uint16_t)l->permits);
    kv_put_u16le(out + 3, (uint16_t)l->holders_count);
    kv_put_u16le(out + 5, (uint16_t)l->waiters_count);
    kv_put_u64le(out + 7, l->last_token);
    for (uint32_t i = 0; i < claims_count(l); i++) {
        const struct lock_claim *c = &l->claims[i];

        kv_put_u64le(p, c->id);
        kv_put_u32le(p + 8, c->ttl_ms);
        p[12] = (uint8_t)c->owner.len;
        kv_put_u16le(p + 13, (uint16_t)c->value.len);
        p = put_bytes(p + LOCK_CLAIM_HEAD_BYTES, c->owner);
        p = put_bytes(p, c->value);
    }
    KV_ASSERT((size_t)(p - out) == lock_bytes(l));
}

/* Reads one claim at *at. False: it is not one. */
static bool claim_decode(struct kv_bytes value, size_t *at, struct lock_claim *out)
{
    const uint8_t *p = value.data + *at;
    size_t left = value.len - *at;
    size_t owner_len;
    size_t value_len;

    if (left < LOCK_CLAIM_HEAD_BYTES) {
        return false;
    }
    owner_len = p[12];
    value_len = kv_get_u16le(p + 13);
    if (owner_len == 0 || owner_len > KV_LOCK_OWNER_BYTES_MAX ||
        value_len > KV_LOCK_VALUE_BYTES_MAX ||
        left - LOCK_CLAIM_HEAD_BYTES < owner_len + value_len) {
        return false;
    }
    out->id = kv_get_u64le(p);
    out->ttl_ms = kv_get_u32le(p + 8);
    out->owner = kv_bytes(p + LOCK_CLAIM_HEAD_BYTES, owner_len);
    out->value = kv_bytes(p + LOCK_CLAIM_HEAD_BYTES + owner_len, value_len);
    *at += LOCK_CLAIM_HEAD_BYTES + owner_len + value_len;
    return out->id > 0;
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
    struct lock l = {0};
    size_t at = LOCK_HEAD_BYTES;

    if (value.len > 0) {
        if (value.len < LOCK_HEAD_BYTES || value.data[0] != LOCK_VERSION) {
            return KV_EFORMAT;
        }
        l.permits = kv_get_u16le(value.data + 1);
        l.holders_count = kv_get_u16le(value.data + 3);
        l.waiters_count = kv_get_u16le(value.data + 5);
        l.last_token = kv_get_u64le(value.data + 7);
        if (!head_is_sound(&l)) {
            return KV_EFORMAT;
        }
    }
    l.claims = arena_alloc(arena, (claims_count(&l) + 1) * sizeof *l.claims);
    if (l.claims == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < claims_count(&l); i++) {
        if (!claim_decode(value, &at, &l.claims[i])) {
            return KV_EFORMAT;
        }
    }
    if (value.len > 0 && at != value.len) {
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
