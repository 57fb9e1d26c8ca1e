/* tests/fuzz/fuzz_request.c - a client's bytes: scan, decode, encode again.
 *
 * What was accepted and is served must survive being encoded and decoded: the same
 * method, parameters and options.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/msg.h"
#include "rpc/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void assert_same(const struct rpc_request *a, const struct rpc_request *b)
{
    KV_ASSERT(a->type == b->type && a->msgid == b->msgid && a->method == b->method);
    KV_ASSERT(kv_bytes_equal(a->key, b->key) && kv_bytes_equal(a->value, b->value));
    KV_ASSERT(a->has_expected == b->has_expected);
    KV_ASSERT(a->has_replacement == b->has_replacement);
    KV_ASSERT(kv_bytes_equal(a->expected, b->expected));
    KV_ASSERT(kv_bytes_equal(a->replacement, b->replacement));
    KV_ASSERT(kv_bytes_equal(a->begin, b->begin) && kv_bytes_equal(a->end, b->end));
    KV_ASSERT(a->delta == b->delta && a->options.has == b->options.has);
    KV_ASSERT(a->options.level == b->options.level);
    KV_ASSERT(a->options.forward == b->options.forward);
    KV_ASSERT(a->options.deadline_ms == b->options.deadline_ms);
    KV_ASSERT(a->options.limit == b->options.limit);
    KV_ASSERT(a->options.session == b->options.session);
    KV_ASSERT(a->options.fence_token == b->options.fence_token);
    KV_ASSERT(kv_bytes_equal(a->options.idem, b->options.idem));
    KV_ASSERT(kv_bytes_equal(a->options.token, b->options.token));
    KV_ASSERT(kv_bytes_equal(a->options.fence_lock, b->options.fence_lock));
}

/* A txn's lists as a client has them. */
struct lists {
    struct rpc_txn_compare compares[KV_TXN_OPS_MAX];
    struct rpc_txn_op ops[2][KV_TXN_OPS_MAX];
};

static void lists_take(const struct rpc_request *q, struct lists *l)
{
    for (uint32_t i = 0; i < q->txn[RPC_TXN_COMPARES].count; i++) {
        rpc_txn_compare_get(&q->txn[RPC_TXN_COMPARES], i, &l->compares[i]);
    }
    for (uint32_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < q->txn[RPC_TXN_THEN + k].count; i++) {
            rpc_txn_op_get(&q->txn[RPC_TXN_THEN + k], i, &l->ops[k][i]);
        }
    }
}

static void lists_pack(const struct rpc_request *q, const struct lists *l,
                       struct buf *out)
{
    const struct rpc_txn txn = {
        .compares = l->compares,
        .ops = {l->ops[0], l->ops[1]},
        .compares_count = q->txn[RPC_TXN_COMPARES].count,
        .ops_count = {q->txn[RPC_TXN_THEN].count, q->txn[RPC_TXN_ELSE].count},
    };

    rpc_txn_encode(out, &txn);
    KV_ASSERT(out->error == 0);
}

static void round_trip(const struct rpc_request *q)
{
    struct rpc_request sent = *q;
    struct rpc_decoder decoder;
    struct rpc_request again;
    struct rpc_error error;
    struct lists lists;
    struct buf params;
    struct buf twice;
    struct buf b;
    int rc = rpc_decoder_init(&decoder);

    KV_ASSERT(rc == 0);
    buf_init(&b, 2 * KV_REQUEST_BYTES_MAX);
    buf_init(&params, 2 * KV_REQUEST_BYTES_MAX);
    buf_init(&twice, 2 * KV_REQUEST_BYTES_MAX);
    if (q->method == RPC_KV_TXN) {
        lists_take(q, &lists);
        lists_pack(q, &lists, &params);
        sent.txn_packed = buf_bytes(&params);
    }
    rpc_request_encode(&b, &sent);
    KV_ASSERT(b.error == 0);
    rc = rpc_request_decode(&decoder, buf_bytes(&b), &again, &error);
    KV_ASSERT(rc == 0);
    assert_same(q, &again);
    if (q->method == RPC_KV_TXN) {
        lists_take(&again, &lists);
        lists_pack(&again, &lists, &twice);
        KV_ASSERT(kv_bytes_equal(buf_bytes(&params), buf_bytes(&twice)));
    }
    rpc_decoder_close(&decoder);
    buf_close(&b);
    buf_close(&params);
    buf_close(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rpc_decoder decoder;
    struct rpc_request q;
    struct rpc_error error;
    size_t used;
    struct scan s;
    int rc;

    scan_init(&s, &scan_limits_request);
    if (scan_feed(&s, data, len, &used) != 0) {
        return 0;
    }
    rc = rpc_decoder_init(&decoder);
    KV_ASSERT(rc == 0);
    rc = rpc_request_decode(&decoder, kv_bytes(data, used), &q, &error);
    if (rc == 0) {
        (void)rpc_options_refuse(&q.options, 1u << RPC_LINEARIZABLE, &error);
        round_trip(&q);
    } else {
        KV_ASSERT(error.code == rc && error.len > 0 && error.len <= KV_ERROR_TEXT_MAX);
        KV_ASSERT(strlen(error.text) == error.len);
    }
    rpc_decoder_close(&decoder);
    return 0;
}
