/* server/command.c - commands to bytes and back. */
#include "server/command.h"

#include "raft/base/err.h"
#include "server/txn.h"

enum {
    COMMAND_HEAD_BYTES = 4,
    COMMAND_CAS_EXPECTED = 1,
    COMMAND_CAS_REPLACEMENT = 2,

    /* The mask of prefixes. */
    COMMAND_PREFIX_SESSION = 1,
    COMMAND_PREFIX_IDEM = 2,
    COMMAND_PREFIX_FENCE = 4,
    COMMAND_PREFIX_ALL = 7,
    COMMAND_SESSION_BYTES = 4 * 8,
    COMMAND_IDEM_BYTES = 8 + 4 + 2,
    COMMAND_FENCE_BYTES = 8 + 2,

    COMMAND_LOCK_WAIT = 1,
    COMMAND_LOCK_GIVE_BACK = 1,
};

bool command_has_slot(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_KV_PUT:
    case COMMAND_KV_DEL:
    case COMMAND_KV_CAS:
    case COMMAND_KV_INCR:
    case COMMAND_KV_TXN:
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
        return true;
    case COMMAND_RECORD_SWEEP:
    case COMMAND_MAP_SET:
    case COMMAND_OWN_SLOTS:
        break;
    }
    return false;
}

/* The prefixes that `c` has; 0: it is written as version 1. */
static uint8_t prefix_mask(const struct command *c)
{
    return (uint8_t)((c->session.session != 0 ? COMMAND_PREFIX_SESSION : 0) |
                     (c->idem.key.len > 0 ? COMMAND_PREFIX_IDEM : 0) |
                     (c->fence.lock.len > 0 ? COMMAND_PREFIX_FENCE : 0));
}

/* ---- writing ---- */

static size_t prefix_bytes(const struct command *c)
{
    uint8_t mask = prefix_mask(c);
    size_t bytes = mask != 0 ? 1 : 0;

    if ((mask & COMMAND_PREFIX_SESSION) != 0) {
        bytes += COMMAND_SESSION_BYTES;
    }
    if ((mask & COMMAND_PREFIX_IDEM) != 0) {
        bytes += COMMAND_IDEM_BYTES + c->idem.key.len;
    }
    if ((mask & COMMAND_PREFIX_FENCE) != 0) {
        bytes += COMMAND_FENCE_BYTES + c->fence.lock.len;
    }
    return bytes;
}

static size_t body_bytes(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_KV_PUT:
        return 2 + 4 + c->key.len + c->value.len;
    case COMMAND_KV_DEL:
        return 2 + c->key.len;
    case COMMAND_KV_CAS:
        return 1 + 2 + 4 + 4 + c->key.len + c->expected.len + c->replacement.len;
    case COMMAND_KV_INCR:
        return 8 + 2 + c->key.len;
    case COMMAND_LOCK_ACQUIRE:
        return 1 + 2 + 4 + 2 + 1 + 2 + c->key.len + c->owner.len + c->value.len;
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
        return 8 + 2 + c->key.len;
    case COMMAND_LOCK_CANCEL:
        return 1 + 2 + 1 + c->key.len + c->owner.len;
    case COMMAND_KV_TXN:
        return c->txn.len;
    case COMMAND_RECORD_SWEEP:
        return 2 + 2 + c->key.len;
    case COMMAND_MAP_SET:
        return 8 + 8 + 4 + c->map.len;
    case COMMAND_OWN_SLOTS:
        return 8 + COMMAND_SLOTS_BYTES;
    }
    KV_UNREACHABLE();
}

size_t command_bytes(const struct command *c)
{
    return COMMAND_HEAD_BYTES + prefix_bytes(c) + body_bytes(c);
}

static uint8_t *write_u16(uint8_t *p, size_t v)
{
    KV_ASSERT(v <= UINT16_MAX);
    kv_put_u16le(p, (uint16_t)v);
    return p + 2;
}

static uint8_t *write_u32(uint8_t *p, size_t v)
{
    KV_ASSERT(v <= UINT32_MAX);
    kv_put_u32le(p, (uint32_t)v);
    return p + 4;
}

static uint8_t *write_u64(uint8_t *p, uint64_t v)
{
    kv_put_u64le(p, v);
    return p + 8;
}

static uint8_t *write_bytes(uint8_t *p, struct kv_bytes b)
{
    if (b.len > 0) {
        memcpy(p, b.data, b.len);
    }
    return p + b.len;
}

static uint8_t *write_cas(uint8_t *p, const struct command *c)
{
    KV_ASSERT(c->expected.len <= KV_VALUE_BYTES_MAX);
    KV_ASSERT(c->replacement.len <= KV_VALUE_BYTES_MAX);
    KV_ASSERT_IMPLIES(!c->has_expected, c->expected.len == 0);
    KV_ASSERT_IMPLIES(!c->has_replacement, c->replacement.len == 0);
    *p++ = (uint8_t)((c->has_expected ? COMMAND_CAS_EXPECTED : 0) |
                     (c->has_replacement ? COMMAND_CAS_REPLACEMENT : 0));
    p = write_u16(p, c->key.len);
    p = write_u32(p, c->expected.len);
    p = write_u32(p, c->replacement.len);
    p = write_bytes(p, c->key);
    p = write_bytes(p, c->expected);
    return write_bytes(p, c->replacement);
}

static uint8_t *write_lock(uint8_t *p, const struct command *c)
{
    KV_ASSERT(c->key.len <= KV_LOCK_NAME_BYTES_MAX);
    KV_ASSERT(c->owner.len <= KV_LOCK_OWNER_BYTES_MAX);
    switch ((int)c->kind) {
    case COMMAND_LOCK_ACQUIRE:
        KV_ASSERT(c->permits >= 1 && c->permits <= KV_LOCK_PERMITS_MAX);
        KV_ASSERT(c->value.len <= KV_LOCK_VALUE_BYTES_MAX);
        *p++ = c->may_wait ? COMMAND_LOCK_WAIT : 0;
        p = write_u16(p, c->permits);
        p = write_u32(p, c->ttl_ms);
        p = write_u16(p, c->key.len);
        *p++ = (uint8_t)c->owner.len;
        p = write_u16(p, c->value.len);
        p = write_bytes(p, c->key);
        p = write_bytes(p, c->owner);
        return write_bytes(p, c->value);
    case COMMAND_LOCK_CANCEL:
        *p++ = c->give_back ? COMMAND_LOCK_GIVE_BACK : 0;
        p = write_u16(p, c->key.len);
        *p++ = (uint8_t)c->owner.len;
        p = write_bytes(p, c->key);
        return write_bytes(p, c->owner);
    default:
        p = write_u64(p, c->token);
        p = write_u16(p, c->key.len);
        return write_bytes(p, c->key);
    }
}

static uint8_t *write_body(uint8_t *p, const struct command *c)
{
    switch (c->kind) {
    case COMMAND_KV_PUT:
        KV_ASSERT(c->value.len <= KV_VALUE_BYTES_MAX);
        p = write_u16(p, c->key.len);
        p = write_u32(p, c->value.len);
        p = write_bytes(p, c->key);
        return write_bytes(p, c->value);
    case COMMAND_KV_DEL:
        p = write_u16(p, c->key.len);
        return write_bytes(p, c->key);
    case COMMAND_KV_CAS:
        return write_cas(p, c);
    case COMMAND_KV_INCR:
        p = write_u64(p, (uint64_t)c->delta);
        p = write_u16(p, c->key.len);
        return write_bytes(p, c->key);
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
        return write_lock(p, c);
    case COMMAND_KV_TXN:
        KV_ASSERT(txn_is_valid(c->txn));
        return write_bytes(p, c->txn);
    case COMMAND_RECORD_SWEEP:
        KV_ASSERT(c->rows_max > 0);
        p = write_u16(p, c->rows_max);
        p = write_u16(p, c->key.len);
        return write_bytes(p, c->key);
    case COMMAND_MAP_SET:
        KV_ASSERT(c->map.len > 0 && c->map.len <= COMMAND_MAP_BYTES_MAX);
        KV_ASSERT(c->epoch > c->epoch_replaced);
        p = write_u64(p, c->epoch_replaced);
        p = write_u64(p, c->epoch);
        p = write_u32(p, c->map.len);
        return write_bytes(p, c->map);
    case COMMAND_OWN_SLOTS:
        KV_ASSERT(c->slots.len == COMMAND_SLOTS_BYTES);
        p = write_u64(p, c->rev_offset);
        return write_bytes(p, c->slots);
    }
    KV_UNREACHABLE();
}

static uint8_t *write_prefixes(uint8_t *p, const struct command *c)
{
    uint8_t mask = prefix_mask(c);

    if (mask == 0) {
        return p;
    }
    KV_ASSERT(command_has_slot(c->kind));
    *p++ = mask;
    if ((mask & COMMAND_PREFIX_SESSION) != 0) {
        KV_ASSERT(c->session.ack <= c->session.seq);
        KV_ASSERT((mask & COMMAND_PREFIX_IDEM) == 0);
        p = write_u64(p, c->session.session);
        p = write_u64(p, c->session.seq);
        p = write_u64(p, c->session.ack);
        p = write_u64(p, c->session.stamp_ms);
    }
    if ((mask & COMMAND_PREFIX_IDEM) != 0) {
        KV_ASSERT(c->idem.key.len <= KV_IDEM_BYTES_MAX && c->idem.ttl_ms > 0);
        p = write_u64(p, c->idem.stamp_ms);
        p = write_u32(p, c->idem.ttl_ms);
        p = write_u16(p, c->idem.key.len);
        p = write_bytes(p, c->idem.key);
    }
    if ((mask & COMMAND_PREFIX_FENCE) != 0) {
        KV_ASSERT(c->fence.lock.len <= KV_KEY_BYTES_MAX && c->fence.token > 0);
        p = write_u64(p, c->fence.token);
        p = write_u16(p, c->fence.lock.len);
        p = write_bytes(p, c->fence.lock);
    }
    return p;
}

void command_encode(const struct command *c, uint8_t *out)
{
    uint8_t *end;

    KV_ASSERT(c->slot < KV_SLOTS);
    KV_ASSERT(c->key.len <= KV_KEY_BYTES_MAX);
    out[0] = prefix_mask(c) == 0 ? COMMAND_VERSION : COMMAND_VERSION_PREFIXED;
    out[1] = (uint8_t)c->kind;
    kv_put_u16le(out + 2, c->slot);
    end = write_body(write_prefixes(out + COMMAND_HEAD_BYTES, c), c);
    KV_ASSERT((size_t)(end - out) == command_bytes(c));
}

/* ---- reading ---- */

/* What is left of a payload. `bad` stays once anything did not fit. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *read_raw(struct reader *r, size_t bytes)
{
    static const uint8_t zero[8];
    const uint8_t *at = r->at;

    if (r->bad || r->left < bytes) {
        r->bad = true;
        KV_ASSERT(bytes <= sizeof zero);
        return zero;
    }
    r->at += bytes;
    r->left -= bytes;
    return at;
}

static struct kv_bytes read_bytes(struct reader *r, size_t len, size_t len_max)
{
    struct kv_bytes out = {0};

    if (r->bad || len > len_max || len > r->left) {
        r->bad = true;
        return out;
    }
    out = kv_bytes(r->at, len);
    r->at += len;
    r->left -= len;
    return out;
}

static uint16_t read_u16(struct reader *r)
{
    return kv_get_u16le(read_raw(r, 2));
}

static uint32_t read_u32(struct reader *r)
{
    return kv_get_u32le(read_raw(r, 4));
}

static uint64_t read_u64(struct reader *r)
{
    return kv_get_u64le(read_raw(r, 8));
}

static struct kv_bytes read_key(struct reader *r, size_t len)
{
    r->bad = r->bad || len < KV_KEY_BYTES_MIN;
    return read_bytes(r, len, KV_KEY_BYTES_MAX);
}

static void read_put(struct reader *r, struct command *c)
{
    size_t key_len = read_u16(r);
    size_t value_len = read_u32(r);

    c->key = read_key(r, key_len);
    c->value = read_bytes(r, value_len, KV_VALUE_BYTES_MAX);
}

static void read_cas(struct reader *r, struct command *c)
{
    uint8_t flags = *read_raw(r, 1);
    size_t key_len = read_u16(r);
    size_t expected_len = read_u32(r);
    size_t replacement_len = read_u32(r);

    c->has_expected = (flags & COMMAND_CAS_EXPECTED) != 0;
    c->has_replacement = (flags & COMMAND_CAS_REPLACEMENT) != 0;
    r->bad = r->bad || flags > 3 || (!c->has_expected && expected_len > 0) ||
             (!c->has_replacement && replacement_len > 0);
    c->key = read_key(r, key_len);
    c->expected = read_bytes(r, expected_len, KV_VALUE_BYTES_MAX);
    c->replacement = read_bytes(r, replacement_len, KV_VALUE_BYTES_MAX);
}

static struct kv_bytes read_name(struct reader *r, size_t len)
{
    r->bad = r->bad || len == 0;
    return read_bytes(r, len, KV_LOCK_NAME_BYTES_MAX);
}

static struct kv_bytes read_owner(struct reader *r, size_t len)
{
    r->bad = r->bad || len == 0;
    return read_bytes(r, len, KV_LOCK_OWNER_BYTES_MAX);
}

static void read_acquire(struct reader *r, struct command *c)
{
    uint8_t flags = *read_raw(r, 1);
    size_t name_len;
    size_t owner_len;
    size_t value_len;

    c->may_wait = (flags & COMMAND_LOCK_WAIT) != 0;
    c->permits = read_u16(r);
    c->ttl_ms = read_u32(r);
    name_len = read_u16(r);
    owner_len = *read_raw(r, 1);
    value_len = read_u16(r);
    r->bad = r->bad || flags > COMMAND_LOCK_WAIT || c->permits < 1 ||
             c->permits > KV_LOCK_PERMITS_MAX || c->ttl_ms < KV_LOCK_TTL_MS_MIN;
    c->key = read_name(r, name_len);
    c->owner = read_owner(r, owner_len);
    c->value = read_bytes(r, value_len, KV_LOCK_VALUE_BYTES_MAX);
}

static void read_token(struct reader *r, struct command *c)
{
    c->token = read_u64(r);
    c->key = read_name(r, read_u16(r));
    r->bad = r->bad || c->token == 0;
}

static void read_cancel(struct reader *r, struct command *c)
{
    uint8_t flags = *read_raw(r, 1);
    size_t name_len = read_u16(r);
    size_t owner_len = *read_raw(r, 1);

    c->give_back = (flags & COMMAND_LOCK_GIVE_BACK) != 0;
    r->bad = r->bad || flags > COMMAND_LOCK_GIVE_BACK;
    c->key = read_name(r, name_len);
    c->owner = read_owner(r, owner_len);
}

static void read_map(struct reader *r, struct command *c)
{
    c->epoch_replaced = read_u64(r);
    c->epoch = read_u64(r);
    c->map = read_bytes(r, read_u32(r), COMMAND_MAP_BYTES_MAX);
    r->bad = r->bad || c->epoch <= c->epoch_replaced || c->map.len == 0;
}

static int read_body(struct reader *r, struct command *c)
{
    switch ((int)c->kind) {
    case COMMAND_KV_PUT:
        read_put(r, c);
        return 0;
    case COMMAND_KV_DEL:
        c->key = read_key(r, read_u16(r));
        return 0;
    case COMMAND_KV_CAS:
        read_cas(r, c);
        return 0;
    case COMMAND_KV_INCR:
        c->delta = (int64_t)read_u64(r);
        c->key = read_key(r, read_u16(r));
        return 0;
    case COMMAND_LOCK_ACQUIRE:
        read_acquire(r, c);
        return 0;
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
        read_token(r, c);
        return 0;
    case COMMAND_LOCK_CANCEL:
        read_cancel(r, c);
        return 0;
    case COMMAND_KV_TXN:
        c->txn = read_bytes(r, r->left, KV_REQUEST_BYTES_MAX);
        r->bad = r->bad || !txn_is_valid(c->txn);
        return 0;
    case COMMAND_RECORD_SWEEP:
        c->rows_max = read_u16(r);
        c->key = read_key(r, read_u16(r));
        r->bad = r->bad || c->rows_max == 0;
        return 0;
    case COMMAND_MAP_SET:
        read_map(r, c);
        return 0;
    case COMMAND_OWN_SLOTS:
        c->rev_offset = read_u64(r);
        c->slots = read_bytes(r, COMMAND_SLOTS_BYTES, COMMAND_SLOTS_BYTES);
        return 0;
    default:
        return KV_EFORMAT;
    }
}

static void read_session(struct reader *r, struct command_session *s)
{
    s->session = read_u64(r);
    s->seq = read_u64(r);
    s->ack = read_u64(r);
    s->stamp_ms = read_u64(r);
    r->bad = r->bad || s->session == 0 || s->ack > s->seq;
}

static void read_idem(struct reader *r, struct command_idem *i)
{
    i->stamp_ms = read_u64(r);
    i->ttl_ms = read_u32(r);
    i->key = read_bytes(r, read_u16(r), KV_IDEM_BYTES_MAX);
    r->bad = r->bad || i->key.len == 0 || i->ttl_ms == 0;
}

static void read_fence(struct reader *r, struct command_fence *f)
{
    f->token = read_u64(r);
    f->lock = read_bytes(r, read_u16(r), KV_KEY_BYTES_MAX);
    r->bad = r->bad || f->lock.len == 0 || f->token == 0;
}

static int read_prefixes(struct reader *r, struct command *c)
{
    uint8_t mask = *read_raw(r, 1);

    if (r->bad) {
        return KV_ECORRUPT;
    }
    if ((mask & ~COMMAND_PREFIX_ALL) != 0) {
        return KV_EFORMAT; /* A prefix of a later version. */
    }
    if ((mask & COMMAND_PREFIX_SESSION) != 0) {
        read_session(r, &c->session);
    }
    if ((mask & COMMAND_PREFIX_IDEM) != 0) {
        read_idem(r, &c->idem);
    }
    if ((mask & COMMAND_PREFIX_FENCE) != 0) {
        read_fence(r, &c->fence);
    }
    r->bad = r->bad || mask == 0 ||
             (mask & (COMMAND_PREFIX_SESSION | COMMAND_PREFIX_IDEM)) ==
                 (COMMAND_PREFIX_SESSION | COMMAND_PREFIX_IDEM);
    return 0;
}

/* All behind the version. */
static int read_command(struct reader *r, bool is_prefixed, struct command *c)
{
    int rc;

    c->kind = (enum command_kind) * read_raw(r, 1);
    c->slot = read_u16(r);
    if (r->bad) {
        return KV_ECORRUPT;
    }
    if (is_prefixed) {
        rc = read_prefixes(r, c);
        if (rc != 0) {
            return rc;
        }
    }
    c->body = kv_bytes(r->at, r->left);
    rc = read_body(r, c);
    if (rc != 0) {
        return rc;
    }
    if (r->bad || r->left > 0 || c->slot >= KV_SLOTS ||
        (is_prefixed && !command_has_slot(c->kind))) {
        return KV_ECORRUPT;
    }
    return 0;
}

int command_decode(struct kv_bytes payload, struct command *out)
{
    struct reader r = {.at = payload.data, .left = payload.len};
    struct command c = {0};
    uint8_t version = *read_raw(&r, 1);
    int rc;

    if (r.bad) {
        return KV_ECORRUPT;
    }
    if (version != COMMAND_VERSION && version != COMMAND_VERSION_PREFIXED) {
        return KV_EFORMAT;
    }
    rc = read_command(&r, version == COMMAND_VERSION_PREFIXED, &c);
    if (rc == 0) {
        *out = c;
    }
    return rc;
}

bool command_is_urgent(struct kv_bytes payload)
{
    if (payload.len < COMMAND_HEAD_BYTES ||
        (payload.data[0] != COMMAND_VERSION &&
         payload.data[0] != COMMAND_VERSION_PREFIXED)) {
        return false;
    }
    switch (payload.data[1]) {
    case COMMAND_KV_DEL:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
    case COMMAND_RECORD_SWEEP:
    case COMMAND_MAP_SET:
    case COMMAND_OWN_SLOTS:
        return true;
    default:
        return false;
    }
}
