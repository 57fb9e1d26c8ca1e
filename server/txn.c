/* server/txn.c - the body of a KV_TXN command, there and back. */
#include "server/txn.h"

#include "rpc/slot.h"
#include "rpc/text.h"

enum {
    TXN_PUT_TTL = RPC_TXN_VERBS_COUNT + 1, /* The number of a put that ends. */
};

_Static_assert((int)TXN_PUT_TTL == 6, "it is written in logs");

/* ---- one slot ---- */

/* The slot that the keys seen so far share. */
struct slot_check {
    bool has_slot;
    uint16_t slot;
    struct kv_bytes key; /* The first one. */
    struct rpc_error *error;
};

static int slot_add(struct slot_check *c, struct kv_bytes key)
{
    char one[TEXT_QUOTE_BYTES];
    char two[TEXT_QUOTE_BYTES];
    uint16_t slot = slot_of(key);

    if (c->has_slot && c->slot != slot) {
        return rpc_error_set(c->error, KV_ECROSSSLOT,
                             "kv.txn: %s (slot %u) and %s (slot %u); all keys must "
                             "share one slot, give them the same {tag}",
                             text_quote(c->key, one), c->slot, text_quote(key, two),
                             slot);
    }
    if (!c->has_slot) {
        *c = (struct slot_check){true, slot, key, c->error};
    }
    return 0;
}

/* Both bounds begin with the same bytes up to the end of the tag. */
static int slot_add_range(struct slot_check *c, struct kv_bytes begin,
                          struct kv_bytes end)
{
    char one[TEXT_QUOTE_BYTES];
    char two[TEXT_QUOTE_BYTES];
    struct kv_bytes tag = slot_tag(begin);
    size_t len = (size_t)(tag.data - begin.data) + tag.len + 1;

    if (tag.len == begin.len || end.len < len ||
        memcmp(begin.data, end.data, len) != 0) {
        return rpc_error_set(c->error, KV_ECROSSSLOT,
                             "kv.txn: keys from %s to %s may have several slots; both "
                             "bounds must begin with the same {tag}",
                             text_quote(begin, one), text_quote(end, two));
    }
    return slot_add(c, begin);
}

/* ---- sizes ---- */

static size_t compare_bytes(const struct rpc_txn_compare *c)
{
    static const uint8_t operand[RPC_TXN_WHATS_COUNT] = {[RPC_TXN_VALUE] = 4,
                                                         [RPC_TXN_REV] = 8,
                                                         [RPC_TXN_EXISTS] = 1,
                                                         [RPC_TXN_LOCK] = 8,
                                                         [RPC_TXN_LEASE] = 8};

    return 4 + c->key.len + operand[c->what] + c->value.len;
}

static size_t op_bytes(const struct rpc_txn_op *op)
{
    static const uint8_t argument[RPC_TXN_VERBS_COUNT] = {
        [RPC_TXN_PUT] = 4, [RPC_TXN_INCR] = 8, [RPC_TXN_RANGE] = 6};

    return 3 + op->key.len + argument[op->verb] + op->value.len +
           (op->verb == RPC_TXN_PUT && op->ttl_ms > 0 ? 4u : 0u);
}

/* Adds up the bytes and checks the slots of one list. */
static int list_measure(const struct rpc_request *q, enum rpc_txn_list list,
                        struct slot_check *slots, size_t *io_bytes)
{
    const struct rpc_txn_items *items = &q->txn[list];
    struct rpc_txn_compare compare;
    struct rpc_txn_op op;
    int rc = 0;

    for (uint32_t i = 0; i < items->count && rc == 0; i++) {
        if (list == RPC_TXN_COMPARES) {
            rpc_txn_compare_get(items, i, &compare);
            *io_bytes += compare_bytes(&compare);
            rc = slot_add(slots, compare.key);
        } else {
            rpc_txn_op_get(items, i, &op);
            *io_bytes += op_bytes(&op);
            rc = op.verb == RPC_TXN_RANGE ? slot_add_range(slots, op.key, op.value)
                                          : slot_add(slots, op.key);
        }
    }
    return rc;
}

/* ---- writing ---- */

static uint8_t *write_compare(uint8_t *p, const struct rpc_txn_compare *c)
{
    *p++ = (uint8_t)(c->what + 1);
    *p++ = (uint8_t)(c->test + 1);
    p = fields_put_u16(p, c->key.len);
    p = fields_put_bytes(p, c->key);
    switch (c->what) {
    case RPC_TXN_VALUE:
        p = fields_put_u32(p, c->value.len);
        return fields_put_bytes(p, c->value);
    case RPC_TXN_REV:
    case RPC_TXN_LOCK:
    case RPC_TXN_LEASE:
        return fields_put_u64(p, c->rev);
    case RPC_TXN_EXISTS:
        *p = c->exists;
        return p + 1;
    case RPC_TXN_WHATS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

static uint8_t *write_op(uint8_t *p, const struct rpc_txn_op *op)
{
    bool ends = op->verb == RPC_TXN_PUT && op->ttl_ms > 0;

    *p++ = (uint8_t)(ends ? TXN_PUT_TTL : op->verb + 1);
    p = fields_put_u16(p, op->key.len);
    p = fields_put_bytes(p, op->key);
    if (ends) {
        p = fields_put_u32(p, op->ttl_ms);
    }
    switch (op->verb) {
    case RPC_TXN_PUT:
        p = fields_put_u32(p, op->value.len);
        return fields_put_bytes(p, op->value);
    case RPC_TXN_INCR:
        return fields_put_u64(p, (uint64_t)op->delta);
    case RPC_TXN_RANGE:
        p = fields_put_u16(p, op->value.len);
        p = fields_put_bytes(p, op->value);
        return fields_put_u32(p, op->limit);
    case RPC_TXN_GET:
    case RPC_TXN_DEL:
        return p;
    case RPC_TXN_VERBS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

static uint8_t *write_list(uint8_t *p, const struct rpc_request *q,
                           enum rpc_txn_list list)
{
    const struct rpc_txn_items *items = &q->txn[list];
    struct rpc_txn_compare compare;
    struct rpc_txn_op op;

    for (uint32_t i = 0; i < items->count; i++) {
        if (list == RPC_TXN_COMPARES) {
            rpc_txn_compare_get(items, i, &compare);
            p = write_compare(p, &compare);
        } else {
            rpc_txn_op_get(items, i, &op);
            p = write_op(p, &op);
        }
    }
    return p;
}

int txn_encode(const struct rpc_request *q, struct arena *arena,
               struct kv_bytes *out_body, uint16_t *out_slot,
               struct rpc_error *out_error)
{
    struct slot_check slots = {.error = out_error};
    size_t bytes = TXN_HEAD_BYTES;
    uint8_t *body;
    uint8_t *p;
    int rc = 0;

    for (uint32_t l = 0; l < RPC_TXN_LISTS_COUNT && rc == 0; l++) {
        rc = list_measure(q, (enum rpc_txn_list)l, &slots, &bytes);
    }
    if (rc != 0) {
        return rc;
    }
    if (!slots.has_slot) {
        return rpc_error_set(out_error, KV_EBADREQUEST,
                             "kv.txn: there is neither a compare nor an operation");
    }
    body = arena_alloc(arena, bytes);
    if (body == NULL) {
        return rpc_error_set(out_error, KV_ENOMEM, "no memory for the transaction");
    }
    p = body + TXN_HEAD_BYTES;
    for (uint32_t l = 0; l < RPC_TXN_LISTS_COUNT; l++) {
        KV_ASSERT(q->txn[l].count <= KV_TXN_OPS_MAX);
        body[l] = (uint8_t)q->txn[l].count;
        p = write_list(p, q, (enum rpc_txn_list)l);
    }
    KV_ASSERT(p == body + bytes);
    *out_body = kv_bytes(body, bytes);
    *out_slot = slots.slot;
    return 0;
}

/* ---- reading ---- */

/* A number from 1 to count, made one from 0. */
static uint32_t read_enum(struct fields *f, uint32_t count)
{
    uint32_t number = fields_u8(f);

    if (number == 0 || number > count) {
        f->bad = true;
        return 0;
    }
    return number - 1;
}

static struct kv_bytes read_key(struct fields *f)
{
    return fields_bytes(f, fields_u16(f), KV_KEY_BYTES_MIN, KV_KEY_BYTES_MAX);
}

static struct kv_bytes read_value(struct fields *f)
{
    return fields_bytes(f, fields_u32(f), 0, KV_VALUE_BYTES_MAX);
}

void txn_reader_init(struct txn_reader *r, struct kv_bytes body)
{
    *r = (struct txn_reader){.fields = fields_of(body)};
    for (uint32_t l = 0; l < RPC_TXN_LISTS_COUNT; l++) {
        r->counts[l] = fields_u8(&r->fields);
        r->fields.bad = r->fields.bad || r->counts[l] > KV_TXN_OPS_MAX;
    }
}

void txn_next_compare(struct txn_reader *r, struct rpc_txn_compare *out)
{
    struct fields *f = &r->fields;
    uint8_t exists;

    *out = (struct rpc_txn_compare){0};
    out->what = (enum rpc_txn_what)read_enum(f, RPC_TXN_WHATS_COUNT);
    out->test = (enum rpc_txn_test)read_enum(f, RPC_TXN_TESTS_COUNT);
    out->key = read_key(f);
    switch (out->what) {
    case RPC_TXN_VALUE:
        out->value = read_value(f);
        return;
    case RPC_TXN_REV:
    case RPC_TXN_LEASE:
        out->rev = fields_u64(f);
        return;
    case RPC_TXN_LOCK:
        out->rev = fields_u64(f);
        f->bad = f->bad || out->key.len > KV_LOCK_NAME_BYTES_MAX || out->rev == 0 ||
                 out->test > RPC_TXN_NE;
        return;
    case RPC_TXN_EXISTS:
        exists = fields_u8(f);
        f->bad = f->bad || exists > 1;
        out->exists = exists != 0;
        return;
    case RPC_TXN_WHATS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

void txn_next_op(struct txn_reader *r, struct rpc_txn_op *out)
{
    struct fields *f = &r->fields;
    uint32_t number = read_enum(f, TXN_PUT_TTL) + 1;

    *out = (struct rpc_txn_op){0};
    out->verb = number == TXN_PUT_TTL ? RPC_TXN_PUT : (enum rpc_txn_verb)(number - 1);
    out->key = read_key(f);
    if (number == TXN_PUT_TTL) {
        out->ttl_ms = fields_u32(f);
        f->bad = f->bad || out->ttl_ms == 0;
    }
    switch (out->verb) {
    case RPC_TXN_PUT:
        out->value = read_value(f);
        return;
    case RPC_TXN_INCR:
        out->delta = (int64_t)fields_u64(f);
        return;
    case RPC_TXN_RANGE:
        out->value = read_key(f);
        out->limit = fields_u32(f);
        f->bad = f->bad || out->limit > KV_RANGE_ITEMS_MAX;
        return;
    case RPC_TXN_GET:
    case RPC_TXN_DEL:
        return;
    case RPC_TXN_VERBS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

bool txn_is_valid(struct kv_bytes body)
{
    struct rpc_txn_compare compare;
    struct rpc_txn_op op;
    struct txn_reader r;

    txn_reader_init(&r, body);
    for (uint32_t i = 0; i < r.counts[RPC_TXN_COMPARES] && !r.fields.bad; i++) {
        txn_next_compare(&r, &compare);
    }
    for (uint32_t i = 0;
         i < r.counts[RPC_TXN_THEN] + r.counts[RPC_TXN_ELSE] && !r.fields.bad; i++) {
        txn_next_op(&r, &op);
    }
    return !r.fields.bad && r.fields.left == 0;
}
