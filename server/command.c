/* server/command.c - commands to bytes and back. */
#include "server/command.h"

#include "raft/base/err.h"
#include "server/fields.h"
#include "server/txn.h"

enum {
    COMMAND_HEAD_BYTES = 4,
    COMMAND_CAS_EXPECTED = 1,
    COMMAND_CAS_REPLACEMENT = 2,

    /* The mask of prefixes. */
    COMMAND_PREFIX_SESSION = 1,
    COMMAND_PREFIX_IDEM = 2,
    COMMAND_PREFIX_FENCE = 4,
    COMMAND_PREFIX_IF_REV = 8,
    COMMAND_PREFIX_TTL = 16,
    COMMAND_PREFIX_ALL = 31,
    COMMAND_SESSION_BYTES = 4 * 8,
    COMMAND_IDEM_BYTES = 8 + 4 + 2,
    COMMAND_FENCE_BYTES = 8 + 2,
    COMMAND_IF_REV_BYTES = 8,
    COMMAND_TTL_BYTES = 4,

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
    case COMMAND_KV_GETSET:
    case COMMAND_KV_DELRANGE:
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
        return true;
    case COMMAND_RECORD_SWEEP:
    case COMMAND_EXPIRE:
    case COMMAND_FENCE_MARK: /* Its slot is the lock's, which is another group's. */
    case COMMAND_MAP_SET:
    case COMMAND_OWN_SLOTS:
        break;
    }
    return false;
}

bool command_has_if_rev(enum command_kind kind)
{
    return kind == COMMAND_KV_PUT || kind == COMMAND_KV_DEL ||
           kind == COMMAND_KV_GETSET;
}

bool command_has_ttl(enum command_kind kind)
{
    return kind == COMMAND_KV_PUT || kind == COMMAND_KV_GETSET;
}

/* The prefixes that `c` has; 0: it is written as version 1. */
static uint8_t prefix_mask(const struct command *c)
{
    return (
        uint8_t)((c->session.session != 0 ? COMMAND_PREFIX_SESSION : 0) |
                 (c->idem.key.len > 0 ? COMMAND_PREFIX_IDEM : 0) |
                 (c->fence.lock.len > 0 ? COMMAND_PREFIX_FENCE : 0) |
                 (c->has_if_rev ? COMMAND_PREFIX_IF_REV : 0) |
                 (command_has_ttl(c->kind) && c->ttl_ms > 0 ? COMMAND_PREFIX_TTL : 0));
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
    if ((mask & COMMAND_PREFIX_IF_REV) != 0) {
        bytes += COMMAND_IF_REV_BYTES;
    }
    if ((mask & COMMAND_PREFIX_TTL) != 0) {
        bytes += COMMAND_TTL_BYTES;
    }
    return bytes;
}

static size_t body_bytes(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_KV_PUT:
    case COMMAND_KV_GETSET:
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
    case COMMAND_FENCE_MARK:
        return 8 + 2 + c->key.len;
    case COMMAND_LOCK_CANCEL:
        return 1 + 2 + 1 + c->key.len + c->owner.len;
    case COMMAND_KV_TXN:
        return c->txn.len;
    case COMMAND_KV_DELRANGE:
        return 2 + 2 + 2 + c->begin.len + c->end.len;
    case COMMAND_EXPIRE:
        return 2;
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

static uint8_t *write_cas(uint8_t *p, const struct command *c)
{
    KV_ASSERT(c->expected.len <= KV_VALUE_BYTES_MAX);
    KV_ASSERT(c->replacement.len <= KV_VALUE_BYTES_MAX);
    KV_ASSERT_IMPLIES(!c->has_expected, c->expected.len == 0);
    KV_ASSERT_IMPLIES(!c->has_replacement, c->replacement.len == 0);
    *p++ = (uint8_t)((c->has_expected ? COMMAND_CAS_EXPECTED : 0) |
                     (c->has_replacement ? COMMAND_CAS_REPLACEMENT : 0));
    p = fields_put_u16(p, c->key.len);
    p = fields_put_u32(p, c->expected.len);
    p = fields_put_u32(p, c->replacement.len);
    p = fields_put_bytes(p, c->key);
    p = fields_put_bytes(p, c->expected);
    return fields_put_bytes(p, c->replacement);
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
        p = fields_put_u16(p, c->permits);
        p = fields_put_u32(p, c->ttl_ms);
        p = fields_put_u16(p, c->key.len);
        p = fields_put_u8(p, c->owner.len);
        p = fields_put_u16(p, c->value.len);
        p = fields_put_bytes(p, c->key);
        p = fields_put_bytes(p, c->owner);
        return fields_put_bytes(p, c->value);
    case COMMAND_LOCK_CANCEL:
        *p++ = c->give_back ? COMMAND_LOCK_GIVE_BACK : 0;
        p = fields_put_u16(p, c->key.len);
        p = fields_put_u8(p, c->owner.len);
        p = fields_put_bytes(p, c->key);
        return fields_put_bytes(p, c->owner);
    default:
        p = fields_put_u64(p, c->token);
        p = fields_put_u16(p, c->key.len);
        return fields_put_bytes(p, c->key);
    }
}

static uint8_t *write_body(uint8_t *p, const struct command *c)
{
    switch (c->kind) {
    case COMMAND_KV_PUT:
    case COMMAND_KV_GETSET:
        KV_ASSERT(c->value.len <= KV_VALUE_BYTES_MAX);
        p = fields_put_u16(p, c->key.len);
        p = fields_put_u32(p, c->value.len);
        p = fields_put_bytes(p, c->key);
        return fields_put_bytes(p, c->value);
    case COMMAND_KV_DEL:
        p = fields_put_u16(p, c->key.len);
        return fields_put_bytes(p, c->key);
    case COMMAND_KV_CAS:
        return write_cas(p, c);
    case COMMAND_KV_INCR:
        p = fields_put_u64(p, (uint64_t)c->delta);
        p = fields_put_u16(p, c->key.len);
        return fields_put_bytes(p, c->key);
    case COMMAND_LOCK_ACQUIRE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
    case COMMAND_FENCE_MARK:
        return write_lock(p, c);
    case COMMAND_KV_TXN:
        KV_ASSERT(txn_is_valid(c->txn));
        return fields_put_bytes(p, c->txn);
    case COMMAND_KV_DELRANGE:
        KV_ASSERT(c->rows_max > 0 && c->rows_max <= KV_RANGE_ITEMS_MAX);
        KV_ASSERT(c->begin.len <= KV_BOUND_BYTES_MAX);
        KV_ASSERT(c->end.len <= KV_BOUND_BYTES_MAX);
        p = fields_put_u16(p, c->rows_max);
        p = fields_put_u16(p, c->begin.len);
        p = fields_put_u16(p, c->end.len);
        p = fields_put_bytes(p, c->begin);
        return fields_put_bytes(p, c->end);
    case COMMAND_EXPIRE:
        KV_ASSERT(c->rows_max > 0);
        return fields_put_u16(p, c->rows_max);
    case COMMAND_RECORD_SWEEP:
        KV_ASSERT(c->rows_max > 0);
        p = fields_put_u16(p, c->rows_max);
        p = fields_put_u16(p, c->key.len);
        return fields_put_bytes(p, c->key);
    case COMMAND_MAP_SET:
        KV_ASSERT(c->map.len > 0 && c->map.len <= COMMAND_MAP_BYTES_MAX);
        KV_ASSERT(c->epoch > c->epoch_replaced);
        p = fields_put_u64(p, c->epoch_replaced);
        p = fields_put_u64(p, c->epoch);
        p = fields_put_u32(p, c->map.len);
        return fields_put_bytes(p, c->map);
    case COMMAND_OWN_SLOTS:
        KV_ASSERT(c->slots.len == COMMAND_SLOTS_BYTES);
        p = fields_put_u64(p, c->rev_offset);
        return fields_put_bytes(p, c->slots);
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
        p = fields_put_u64(p, c->session.session);
        p = fields_put_u64(p, c->session.seq);
        p = fields_put_u64(p, c->session.ack);
        p = fields_put_u64(p, c->session.stamp_ms);
    }
    if ((mask & COMMAND_PREFIX_IDEM) != 0) {
        KV_ASSERT(c->idem.key.len <= KV_IDEM_BYTES_MAX && c->idem.ttl_ms > 0);
        p = fields_put_u64(p, c->idem.stamp_ms);
        p = fields_put_u32(p, c->idem.ttl_ms);
        p = fields_put_u16(p, c->idem.key.len);
        p = fields_put_bytes(p, c->idem.key);
    }
    if ((mask & COMMAND_PREFIX_FENCE) != 0) {
        KV_ASSERT(c->fence.lock.len <= KV_LOCK_NAME_BYTES_MAX && c->fence.token > 0);
        p = fields_put_u64(p, c->fence.token);
        p = fields_put_u16(p, c->fence.lock.len);
        p = fields_put_bytes(p, c->fence.lock);
    }
    if ((mask & COMMAND_PREFIX_IF_REV) != 0) {
        KV_ASSERT(command_has_if_rev(c->kind));
        p = fields_put_u64(p, c->if_rev);
    }
    if ((mask & COMMAND_PREFIX_TTL) != 0) {
        p = fields_put_u32(p, c->ttl_ms);
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

static struct kv_bytes read_key(struct fields *r, size_t len)
{
    return fields_bytes(r, len, KV_KEY_BYTES_MIN, KV_KEY_BYTES_MAX);
}

static void read_put(struct fields *r, struct command *c)
{
    size_t key_len = fields_u16(r);
    size_t value_len = fields_u32(r);

    c->key = read_key(r, key_len);
    c->value = fields_bytes(r, value_len, 0, KV_VALUE_BYTES_MAX);
}

static void read_cas(struct fields *r, struct command *c)
{
    uint8_t flags = fields_u8(r);
    size_t key_len = fields_u16(r);
    size_t expected_len = fields_u32(r);
    size_t replacement_len = fields_u32(r);

    c->has_expected = (flags & COMMAND_CAS_EXPECTED) != 0;
    c->has_replacement = (flags & COMMAND_CAS_REPLACEMENT) != 0;
    r->bad = r->bad || flags > 3 || (!c->has_expected && expected_len > 0) ||
             (!c->has_replacement && replacement_len > 0);
    c->key = read_key(r, key_len);
    c->expected = fields_bytes(r, expected_len, 0, KV_VALUE_BYTES_MAX);
    c->replacement = fields_bytes(r, replacement_len, 0, KV_VALUE_BYTES_MAX);
}

static struct kv_bytes read_name(struct fields *r, size_t len)
{
    return fields_bytes(r, len, 1, KV_LOCK_NAME_BYTES_MAX);
}

static struct kv_bytes read_owner(struct fields *r, size_t len)
{
    return fields_bytes(r, len, 1, KV_LOCK_OWNER_BYTES_MAX);
}

static void read_acquire(struct fields *r, struct command *c)
{
    uint8_t flags = fields_u8(r);
    size_t name_len;
    size_t owner_len;
    size_t value_len;

    c->may_wait = (flags & COMMAND_LOCK_WAIT) != 0;
    c->permits = fields_u16(r);
    c->ttl_ms = fields_u32(r);
    name_len = fields_u16(r);
    owner_len = fields_u8(r);
    value_len = fields_u16(r);
    r->bad = r->bad || flags > COMMAND_LOCK_WAIT || c->permits < 1 ||
             c->permits > KV_LOCK_PERMITS_MAX || c->ttl_ms < KV_LOCK_TTL_MS_MIN;
    c->key = read_name(r, name_len);
    c->owner = read_owner(r, owner_len);
    c->value = fields_bytes(r, value_len, 0, KV_LOCK_VALUE_BYTES_MAX);
}

static void read_token(struct fields *r, struct command *c)
{
    c->token = fields_u64(r);
    c->key = read_name(r, fields_u16(r));
    r->bad = r->bad || c->token == 0;
}

static void read_cancel(struct fields *r, struct command *c)
{
    uint8_t flags = fields_u8(r);
    size_t name_len = fields_u16(r);
    size_t owner_len = fields_u8(r);

    c->give_back = (flags & COMMAND_LOCK_GIVE_BACK) != 0;
    r->bad = r->bad || flags > COMMAND_LOCK_GIVE_BACK;
    c->key = read_name(r, name_len);
    c->owner = read_owner(r, owner_len);
}

static void read_delrange(struct fields *r, struct command *c)
{
    size_t begin_len;
    size_t end_len;

    c->rows_max = fields_u16(r);
    begin_len = fields_u16(r);
    end_len = fields_u16(r);
    r->bad = r->bad || c->rows_max == 0 || c->rows_max > KV_RANGE_ITEMS_MAX;
    c->begin = fields_bytes(r, begin_len, 0, KV_BOUND_BYTES_MAX);
    c->end = fields_bytes(r, end_len, 0, KV_BOUND_BYTES_MAX);
}

static void read_map(struct fields *r, struct command *c)
{
    c->epoch_replaced = fields_u64(r);
    c->epoch = fields_u64(r);
    c->map = fields_bytes(r, fields_u32(r), 1, COMMAND_MAP_BYTES_MAX);
    r->bad = r->bad || c->epoch <= c->epoch_replaced;
}

static int read_body(struct fields *r, struct command *c)
{
    switch ((int)c->kind) {
    case COMMAND_KV_PUT:
    case COMMAND_KV_GETSET:
        read_put(r, c);
        return 0;
    case COMMAND_KV_DEL:
        c->key = read_key(r, fields_u16(r));
        return 0;
    case COMMAND_KV_CAS:
        read_cas(r, c);
        return 0;
    case COMMAND_KV_INCR:
        c->delta = (int64_t)fields_u64(r);
        c->key = read_key(r, fields_u16(r));
        return 0;
    case COMMAND_LOCK_ACQUIRE:
        read_acquire(r, c);
        return 0;
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_FENCE_MARK:
        read_token(r, c);
        return 0;
    case COMMAND_LOCK_CANCEL:
        read_cancel(r, c);
        return 0;
    case COMMAND_KV_TXN:
        c->txn = fields_bytes(r, r->left, 0, KV_REQUEST_BYTES_MAX);
        r->bad = r->bad || !txn_is_valid(c->txn);
        return 0;
    case COMMAND_KV_DELRANGE:
        read_delrange(r, c);
        return 0;
    case COMMAND_EXPIRE:
        c->rows_max = fields_u16(r);
        r->bad = r->bad || c->rows_max == 0;
        return 0;
    case COMMAND_RECORD_SWEEP:
        c->rows_max = fields_u16(r);
        c->key = read_key(r, fields_u16(r));
        r->bad = r->bad || c->rows_max == 0;
        return 0;
    case COMMAND_MAP_SET:
        read_map(r, c);
        return 0;
    case COMMAND_OWN_SLOTS:
        c->rev_offset = fields_u64(r);
        c->slots = fields_bytes(r, COMMAND_SLOTS_BYTES, COMMAND_SLOTS_BYTES,
                                COMMAND_SLOTS_BYTES);
        return 0;
    default:
        return KV_EFORMAT;
    }
}

static void read_session(struct fields *r, struct command_session *s)
{
    s->session = fields_u64(r);
    s->seq = fields_u64(r);
    s->ack = fields_u64(r);
    s->stamp_ms = fields_u64(r);
    r->bad = r->bad || s->session == 0 || s->ack > s->seq;
}

static void read_idem(struct fields *r, struct command_idem *i)
{
    i->stamp_ms = fields_u64(r);
    i->ttl_ms = fields_u32(r);
    i->key = fields_bytes(r, fields_u16(r), 1, KV_IDEM_BYTES_MAX);
    r->bad = r->bad || i->ttl_ms == 0;
}

static void read_fence(struct fields *r, struct command_fence *f)
{
    f->token = fields_u64(r);
    f->lock = fields_bytes(r, fields_u16(r), 1, KV_LOCK_NAME_BYTES_MAX);
    r->bad = r->bad || f->token == 0;
}

static int read_prefixes(struct fields *r, struct command *c)
{
    uint8_t mask = fields_u8(r);

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
    if ((mask & COMMAND_PREFIX_IF_REV) != 0) {
        c->has_if_rev = true;
        c->if_rev = fields_u64(r);
    }
    if ((mask & COMMAND_PREFIX_TTL) != 0) {
        c->ttl_ms = fields_u32(r);
        r->bad = r->bad || c->ttl_ms == 0 || !command_has_ttl(c->kind);
    }
    r->bad = r->bad || mask == 0 ||
             (mask & (COMMAND_PREFIX_SESSION | COMMAND_PREFIX_IDEM)) ==
                 (COMMAND_PREFIX_SESSION | COMMAND_PREFIX_IDEM);
    return 0;
}

/* All behind the version. */
static int read_command(struct fields *r, bool is_prefixed, struct command *c)
{
    int rc;

    c->kind = (enum command_kind)fields_u8(r);
    c->slot = fields_u16(r);
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
        (is_prefixed && !command_has_slot(c->kind)) ||
        (c->has_if_rev && !command_has_if_rev(c->kind))) {
        return KV_ECORRUPT;
    }
    return 0;
}

int command_decode(struct kv_bytes payload, struct command *out)
{
    struct fields r = fields_of(payload);
    struct command c = {0};
    uint8_t version = fields_u8(&r);
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
    case COMMAND_KV_DELRANGE:
    case COMMAND_LOCK_RELEASE:
    case COMMAND_LOCK_EXPIRE:
    case COMMAND_LOCK_CANCEL:
    case COMMAND_RECORD_SWEEP:
    case COMMAND_EXPIRE:
    case COMMAND_MAP_SET:
    case COMMAND_OWN_SLOTS:
        return true;
    default:
        return false;
    }
}
