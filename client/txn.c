/* client/txn.c - kv_transact(): lists to bytes, and results back. */
#include "client/client.h"

#include "rpc/txn.h"

enum {
    PACK_BYTES_MAX =
        16 * 1024, /* All that is not key or value: 384 items and options. */
};

_Static_assert((int)KV_WHAT_LEASE == (int)RPC_TXN_LEASE, "the same numbers");
_Static_assert((int)KV_TEST_GE == (int)RPC_TXN_GE, "the same numbers");

/* The lists as rpc/ wants them. */
struct lists {
    struct rpc_txn_compare compares[KV_TXN_OPS_MAX];
    struct rpc_txn_op ops[2][KV_TXN_OPS_MAX];
};

static int wrong_set(const char **out_wrong, int error, const char *wrong)
{
    *out_wrong = wrong;
    return error;
}

/* A view of the user's; the first key is kept for routing. */
static int key_take(struct kv_view key, struct kv_view *io_first, struct kv_bytes *out,
                    const char **out_wrong)
{
    if (key.data == NULL || key.len < KV_KEY_BYTES_MIN) {
        return wrong_set(out_wrong, KV_EINVAL, "a key of the transaction is empty");
    }
    if (key.len > KV_KEY_BYTES_MAX) {
        return wrong_set(out_wrong, KV_ETOOLARGE,
                         "a key of the transaction is longer than 480 bytes");
    }
    if (io_first->data == NULL) {
        *io_first = key;
    }
    *out = kv_bytes(key.data, key.len);
    return 0;
}

static int value_take(struct kv_view value, struct kv_bytes *out,
                      const char **out_wrong)
{
    if (value.data == NULL) {
        return wrong_set(out_wrong, KV_EINVAL, "a value of the transaction is nil");
    }
    if (value.len > KV_VALUE_BYTES_MAX) {
        return wrong_set(out_wrong, KV_ETOOLARGE,
                         "a value of the transaction is longer than 1 MiB");
    }
    *out = kv_bytes(value.data, value.len);
    return 0;
}

static int compare_take(const struct kv_compare *from, struct kv_view *io_first,
                        struct rpc_txn_compare *out, const char **out_wrong)
{
    int rc = key_take(from->key, io_first, &out->key, out_wrong);

    if (rc == 0 &&
        ((uint32_t)from->what > KV_WHAT_LEASE || (uint32_t)from->test > KV_TEST_GE ||
         ((from->what == KV_WHAT_EXISTS || from->what == KV_WHAT_LOCK) &&
          from->test > KV_TEST_NE))) {
        rc = wrong_set(out_wrong, KV_EINVAL, "a compare that there is not");
    }
    if (rc == 0 && from->what == KV_WHAT_LOCK &&
        (from->key.len > KV_LOCK_NAME_BYTES_MAX || from->rev == 0)) {
        rc = wrong_set(out_wrong, KV_EINVAL,
                       "a lock has up to 256 bytes, and its token is not 0");
    }
    if (rc == 0 && from->what == KV_WHAT_VALUE) {
        rc = value_take(from->value, &out->value, out_wrong);
    }
    out->what = (enum rpc_txn_what)from->what;
    out->test = (enum rpc_txn_test)from->test;
    out->rev = from->rev;
    out->exists = from->exists;
    return rc;
}

static int op_take(const struct kv_txn_op *from, struct kv_view *io_first,
                   struct rpc_txn_op *out, const char **out_wrong)
{
    int rc = key_take(from->key, io_first, &out->key, out_wrong);

    if (rc != 0) {
        return rc;
    }
    out->delta = from->delta;
    out->limit = from->limit;
    switch (from->op) {
    case KV_OP_GET:
        out->verb = RPC_TXN_GET;
        return 0;
    case KV_OP_PUT:
        out->verb = RPC_TXN_PUT;
        out->ttl_ms = from->ttl_ms;
        return from->ttl_ms > KV_TTL_MS_MAX
                   ? wrong_set(out_wrong, KV_EINVAL, "a ttl_ms is more than 30 days")
                   : value_take(from->value, &out->value, out_wrong);
    case KV_OP_DEL:
        out->verb = RPC_TXN_DEL;
        return 0;
    case KV_OP_INCR:
        out->verb = RPC_TXN_INCR;
        return 0;
    case KV_OP_RANGE:
        out->verb = RPC_TXN_RANGE;
        return from->limit > KV_RANGE_ITEMS_MAX
                   ? wrong_set(out_wrong, KV_EINVAL, "the limit is greater than 10000")
                   : value_take(from->value, &out->value, out_wrong);
    default:
        return wrong_set(out_wrong, KV_EINVAL,
                         "a transaction holds get, put, del, incr and range only");
    }
}

/* Fills in the lists. */
static int lists_take(const struct kv_txn *txn, struct lists *l,
                      struct kv_view *out_key, const char **out_wrong)
{
    const struct kv_txn_op *from[2] = {txn->then, txn->otherwise};
    size_t counts[2] = {txn->then_count, txn->otherwise_count};
    int rc = 0;

    for (size_t i = 0; i < txn->compares_count && rc == 0; i++) {
        rc = compare_take(&txn->compares[i], out_key, &l->compares[i], out_wrong);
    }
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < counts[k] && rc == 0; i++) {
            rc = op_take(&from[k][i], out_key, &l->ops[k][i], out_wrong);
        }
    }
    return rc;
}

/* Bytes of all keys and values. */
static size_t lists_bytes(const struct kv_txn *txn, const struct lists *l)
{
    size_t bytes = 0;

    for (size_t i = 0; i < txn->compares_count; i++) {
        bytes += l->compares[i].key.len + l->compares[i].value.len;
    }
    for (size_t i = 0; i < txn->then_count; i++) {
        bytes += l->ops[0][i].key.len + l->ops[0][i].value.len;
    }
    for (size_t i = 0; i < txn->otherwise_count; i++) {
        bytes += l->ops[1][i].key.len + l->ops[1][i].value.len;
    }
    return bytes;
}

int kv_txn_pack(const struct kv_txn *txn, struct buf *out, struct kv_view *out_key,
                const char **out_wrong)
{
    struct lists *l;
    struct rpc_txn packed;
    int rc;

    if (txn == NULL) {
        return wrong_set(out_wrong, KV_EINVAL, "no transaction is given");
    }
    if (txn->compares_count > KV_TXN_OPS_MAX || txn->then_count > KV_TXN_OPS_MAX ||
        txn->otherwise_count > KV_TXN_OPS_MAX) {
        return wrong_set(out_wrong, KV_ETOOLARGE,
                         "a list of the transaction has more than 128 items");
    }
    l = kv_mem_zalloc(sizeof *l);
    if (l == NULL) {
        return wrong_set(out_wrong, KV_ENOMEM, "out of memory");
    }
    *out_key = kv_nil();
    rc = lists_take(txn, l, out_key, out_wrong);
    if (rc == 0 && out_key->data == NULL) {
        rc = wrong_set(out_wrong, KV_EINVAL, "the transaction is empty");
    }
    if (rc == 0 && lists_bytes(txn, l) > KV_REQUEST_BYTES_MAX - PACK_BYTES_MAX) {
        rc = wrong_set(out_wrong, KV_ETOOLARGE,
                       "the transaction is longer than 1.5 MiB");
    }
    if (rc == 0) {
        packed = (struct rpc_txn){
            .compares = l->compares,
            .ops = {l->ops[0], l->ops[1]},
            .compares_count = (uint32_t)txn->compares_count,
            .ops_count = {(uint32_t)txn->then_count, (uint32_t)txn->otherwise_count},
        };
        rpc_txn_encode(out, &packed);
        if (out->error != 0) {
            rc = wrong_set(out_wrong, out->error, "out of memory");
        }
    }
    kv_mem_free(l);
    return rc;
}

int kv_txn_results(struct kv_client *c, const struct rpc_reply *reply,
                   struct kv_result *out)
{
    struct kv_txn_result *results;
    struct rpc_reply_op op;
    int rc = 0;

    if (reply->results.count == 0) {
        return 0;
    }
    results = arena_zalloc(&c->results, reply->results.count * sizeof *results);
    if (results == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < reply->results.count && rc == 0; i++) {
        rpc_reply_result_get(reply, i, &op);
        results[i].found = op.found;
        results[i].deleted = op.deleted;
        results[i].more = op.more;
        results[i].value = op.has_value ? kv_result_view(op.value) : kv_nil();
        results[i].number = op.number;
        results[i].rev = op.rev;
        results[i].next = op.more ? kv_result_view(op.next) : kv_nil();
        rc = kv_result_items(c, &op.items, &results[i].items, &results[i].items_count);
    }
    out->results = results;
    out->results_count = reply->results.count;
    return rc;
}
