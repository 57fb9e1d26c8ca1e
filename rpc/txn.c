/* rpc/txn.c - compares and operations of kv.txn, checked and packed. */
#include "rpc/txn.h"

#include "rpc/msg.h"
#include "rpc/pack.h"
#include "rpc/unpack.h"

/* ---- names ---- */

#define TXN_NAME(name, wire) [name] = wire,
static const char *const what_names[RPC_TXN_WHATS_COUNT] = {RPC_TXN_WHAT_MAP(TXN_NAME)};
static const char *const test_names[RPC_TXN_TESTS_COUNT] = {RPC_TXN_TEST_MAP(TXN_NAME)};
static const char *const verb_names[RPC_TXN_VERBS_COUNT] = {RPC_TXN_VERB_MAP(TXN_NAME)};
#undef TXN_NAME

static const char *const list_names[RPC_TXN_LISTS_COUNT] = {"compare", "then", "else"};

/* The place of `name` in a table; `count` when it is not there. */
static uint32_t name_find(const char *const *names, uint32_t count,
                          struct kv_bytes name)
{
    uint32_t i = 0;

    while (i < count && !kv_bytes_equal(kv_bytes_str(names[i]), name)) {
        i++;
    }
    return i;
}

const char *rpc_txn_what_name(enum rpc_txn_what what)
{
    KV_ASSERT(what < RPC_TXN_WHATS_COUNT);
    return what_names[what];
}

const char *rpc_txn_test_name(enum rpc_txn_test test)
{
    KV_ASSERT(test < RPC_TXN_TESTS_COUNT);
    return test_names[test];
}

const char *rpc_txn_verb_name(enum rpc_txn_verb verb)
{
    KV_ASSERT(verb < RPC_TXN_VERBS_COUNT);
    return verb_names[verb];
}

bool rpc_txn_what_find(struct kv_bytes name, enum rpc_txn_what *out)
{
    *out = (enum rpc_txn_what)name_find(what_names, RPC_TXN_WHATS_COUNT, name);
    return *out < RPC_TXN_WHATS_COUNT;
}

bool rpc_txn_test_find(struct kv_bytes name, enum rpc_txn_test *out)
{
    *out = (enum rpc_txn_test)name_find(test_names, RPC_TXN_TESTS_COUNT, name);
    return *out < RPC_TXN_TESTS_COUNT;
}

bool rpc_txn_verb_find(struct kv_bytes name, enum rpc_txn_verb *out)
{
    *out = (enum rpc_txn_verb)name_find(verb_names, RPC_TXN_VERBS_COUNT, name);
    return *out < RPC_TXN_VERBS_COUNT;
}

/* ---- one item; the text names what is wrong with it ---- */

struct item {
    const msgpack_object *fields;
    uint32_t count;
    const char *wrong; /* Set on refusal. */
    int code;
};

static bool refuse(struct item *it, int code, const char *wrong)
{
    it->code = code;
    it->wrong = wrong;
    return false;
}

static bool item_key(struct item *it, uint32_t i, struct kv_bytes *out)
{
    if (!unpack_bytes(&it->fields[i], out) || out->len < KV_KEY_BYTES_MIN) {
        return refuse(it, KV_EBADREQUEST, "its key must be bin or str, not empty");
    }
    return out->len <= KV_KEY_BYTES_MAX ||
           refuse(it, KV_ETOOLARGE, "its key has more than 480 bytes");
}

static bool item_value(struct item *it, uint32_t i, struct kv_bytes *out)
{
    if (!unpack_bytes(&it->fields[i], out)) {
        return refuse(it, KV_EBADREQUEST, "its value must be bin or str");
    }
    return out->len <= KV_VALUE_BYTES_MAX ||
           refuse(it, KV_ETOOLARGE, "its value has more than 1048576 bytes");
}

static bool item_begin(struct item *it, const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0) {
        return refuse(it, KV_EBADREQUEST, "it must be an array");
    }
    it->fields = o->via.array.ptr;
    it->count = o->via.array.size;
    return true;
}

static bool compare_lock(struct item *it, struct rpc_txn_compare *out)
{
    if (out->key.len > KV_LOCK_NAME_BYTES_MAX) {
        return refuse(it, KV_ETOOLARGE, "its lock has more than 256 bytes");
    }
    if (out->test != RPC_TXN_EQ && out->test != RPC_TXN_NE) {
        return refuse(it, KV_EBADREQUEST, "a lock is compared by = and != only");
    }
    return (unpack_uint(&it->fields[3], UINT64_MAX, &out->rev) && out->rev > 0) ||
           refuse(it, KV_EBADREQUEST, "a lock is compared with a token, at least 1");
}

static bool compare_read(struct item *it, const msgpack_object *o,
                         struct rpc_txn_compare *out)
{
    struct kv_bytes name;

    *out = (struct rpc_txn_compare){0};
    if (!item_begin(it, o)) {
        return false;
    }
    if (it->count != 4) {
        return refuse(it, KV_EBADREQUEST, "it must be [what, key, op, operand]");
    }
    if (!unpack_bytes(&it->fields[0], &name) || !rpc_txn_what_find(name, &out->what)) {
        return refuse(it, KV_EBADREQUEST,
                      "what must be value, rev, exists, lock or lease");
    }
    if (!item_key(it, 1, &out->key)) {
        return false;
    }
    if (!unpack_bytes(&it->fields[2], &name) || !rpc_txn_test_find(name, &out->test)) {
        return refuse(it, KV_EBADREQUEST, "op must be one of = != < > <= >=");
    }
    switch (out->what) {
    case RPC_TXN_VALUE:
        return item_value(it, 3, &out->value);
    case RPC_TXN_REV:
        return unpack_uint(&it->fields[3], UINT64_MAX, &out->rev) ||
               refuse(it, KV_EBADREQUEST, "a rev must be an int, not negative");
    case RPC_TXN_LEASE:
        return unpack_uint(&it->fields[3], UINT64_MAX, &out->rev) ||
               refuse(it, KV_EBADREQUEST, "a lease must be an int of ms, not negative");
    case RPC_TXN_LOCK:
        return compare_lock(it, out);
    case RPC_TXN_EXISTS:
    case RPC_TXN_WHATS_COUNT:
        break;
    }
    if (out->test != RPC_TXN_EQ && out->test != RPC_TXN_NE) {
        return refuse(it, KV_EBADREQUEST, "exists is compared by = and != only");
    }
    return unpack_bool(&it->fields[3], &out->exists) ||
           refuse(it, KV_EBADREQUEST, "exists is compared with true or false");
}

static bool range_read(struct item *it, struct rpc_txn_op *out)
{
    if (!unpack_bytes(&it->fields[2], &out->value) || out->value.len == 0 ||
        out->value.len > KV_KEY_BYTES_MAX) {
        return refuse(it, KV_EBADREQUEST, "its end must be 1 to 480 bytes");
    }
    return it->count == 3 ||
           (unpack_u32(&it->fields[3], KV_RANGE_ITEMS_MAX, &out->limit) &&
            out->limit > 0) ||
           refuse(it, KV_EBADREQUEST, "its limit must be an int from 1 to 10000");
}

static bool put_read(struct item *it, struct rpc_txn_op *out)
{
    return item_value(it, 2, &out->value) &&
           (it->count == 3 ||
            (unpack_u32(&it->fields[3], KV_TTL_MS_MAX, &out->ttl_ms) &&
             out->ttl_ms > 0) ||
            refuse(it, KV_EBADREQUEST, "its ttl_ms must be an int from 1 to 30 days"));
}

static bool op_read(struct item *it, const msgpack_object *o, struct rpc_txn_op *out)
{
    static const uint8_t fields[RPC_TXN_VERBS_COUNT] = {
        [RPC_TXN_GET] = 2,  [RPC_TXN_PUT] = 3,   [RPC_TXN_DEL] = 2,
        [RPC_TXN_INCR] = 3, [RPC_TXN_RANGE] = 3,
    };
    struct kv_bytes name;

    *out = (struct rpc_txn_op){0};
    if (!item_begin(it, o)) {
        return false;
    }
    if (!unpack_bytes(&it->fields[0], &name) || !rpc_txn_verb_find(name, &out->verb)) {
        return refuse(it, KV_EBADREQUEST, "it must be get, put, del, incr or range");
    }
    if (it->count != fields[out->verb] &&
        !((out->verb == RPC_TXN_RANGE || out->verb == RPC_TXN_PUT) && it->count == 4)) {
        return refuse(it, KV_EBADREQUEST, "it has a wrong number of arguments");
    }
    if (!item_key(it, 1, &out->key)) {
        return false;
    }
    switch (out->verb) {
    case RPC_TXN_PUT:
        return put_read(it, out);
    case RPC_TXN_INCR:
        return unpack_int(&it->fields[2], &out->delta) ||
               refuse(it, KV_EBADREQUEST, "its delta must be an int of 64 bits");
    case RPC_TXN_RANGE:
        return range_read(it, out);
    case RPC_TXN_GET:
    case RPC_TXN_DEL:
    case RPC_TXN_VERBS_COUNT:
        break;
    }
    return true;
}

/* ---- lists ---- */

int rpc_txn_decode(const void *object, enum rpc_txn_list list,
                   struct rpc_txn_items *out, struct rpc_error *out_error)
{
    const msgpack_object *o = object;
    struct rpc_txn_compare compare;
    struct rpc_txn_op op;
    struct item it = {0};
    uint32_t count;

    if (unpack_is_nil(o)) {
        *out = (struct rpc_txn_items){0};
        return 0;
    }
    if (o->type != MSGPACK_OBJECT_ARRAY) {
        return rpc_error_set(out_error, KV_EBADREQUEST,
                             "kv.txn: the %s list must be an array, got %s",
                             list_names[list], unpack_type_name(o));
    }
    count = o->via.array.size;
    if (count > KV_TXN_OPS_MAX) {
        return rpc_error_set(out_error, KV_ETOOLARGE,
                             "kv.txn: the %s list has %u items, at most %d are allowed",
                             list_names[list], count, KV_TXN_OPS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *item = &o->via.array.ptr[i];

        if (list == RPC_TXN_COMPARES ? !compare_read(&it, item, &compare)
                                     : !op_read(&it, item, &op)) {
            return rpc_error_set(out_error, it.code, "kv.txn: %s %u: %s",
                                 list_names[list], i + 1, it.wrong);
        }
    }
    *out = (struct rpc_txn_items){.objects = o->via.array.ptr, .count = count};
    return 0;
}

void rpc_txn_compare_get(const struct rpc_txn_items *l, uint32_t i,
                         struct rpc_txn_compare *out)
{
    struct item it = {0};
    bool ok;

    KV_ASSERT(i < l->count);
    ok = compare_read(&it, (const msgpack_object *)l->objects + i, out);
    KV_ASSERT(ok);
}

void rpc_txn_op_get(const struct rpc_txn_items *l, uint32_t i, struct rpc_txn_op *out)
{
    struct item it = {0};
    bool ok;

    KV_ASSERT(i < l->count);
    ok = op_read(&it, (const msgpack_object *)l->objects + i, out);
    KV_ASSERT(ok);
}

/* ---- packing ---- */

static void compare_pack(struct buf *b, const struct rpc_txn_compare *c)
{
    pack_array(b, 4);
    pack_str(b, rpc_txn_what_name(c->what));
    pack_bin(b, c->key);
    pack_str(b, rpc_txn_test_name(c->test));
    switch (c->what) {
    case RPC_TXN_VALUE:
        pack_bin(b, c->value);
        return;
    case RPC_TXN_REV:
    case RPC_TXN_LOCK:
    case RPC_TXN_LEASE:
        pack_uint(b, c->rev);
        return;
    case RPC_TXN_EXISTS:
        pack_bool(b, c->exists);
        return;
    case RPC_TXN_WHATS_COUNT:
        break;
    }
    KV_UNREACHABLE();
}

static void op_pack(struct buf *b, const struct rpc_txn_op *op)
{
    bool has_limit = op->verb == RPC_TXN_RANGE && op->limit > 0;
    bool has_ttl = op->verb == RPC_TXN_PUT && op->ttl_ms > 0;
    bool is_short = op->verb == RPC_TXN_GET || op->verb == RPC_TXN_DEL;

    pack_array(b, (is_short ? 2u : 3u) + (has_limit || has_ttl ? 1u : 0u));
    pack_str(b, rpc_txn_verb_name(op->verb));
    pack_bin(b, op->key);
    if (op->verb == RPC_TXN_INCR) {
        pack_int(b, op->delta);
    } else if (!is_short) {
        pack_bin(b, op->value);
    }
    if (has_limit || has_ttl) {
        pack_uint(b, has_ttl ? op->ttl_ms : op->limit);
    }
}

void rpc_txn_encode(struct buf *b, const struct rpc_txn *txn)
{
    pack_array(b, txn->compares_count);
    for (uint32_t i = 0; i < txn->compares_count; i++) {
        compare_pack(b, &txn->compares[i]);
    }
    for (uint32_t l = 0; l < 2; l++) {
        pack_array(b, txn->ops_count[l]);
        for (uint32_t i = 0; i < txn->ops_count[l]; i++) {
            op_pack(b, &txn->ops[l][i]);
        }
    }
}
