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

static void round_trip(const struct rpc_request *q)
{
    struct rpc_decoder decoder;
    struct rpc_request again;
    struct rpc_error error;
    struct buf b;
    int rc = rpc_decoder_init(&decoder);

    KV_ASSERT(rc == 0);
    buf_init(&b, 2 * KV_REQUEST_BYTES_MAX);
    rpc_request_encode(&b, q);
    KV_ASSERT(b.error == 0);
    rc = rpc_request_decode(&decoder, buf_bytes(&b), &again, &error);
    KV_ASSERT(rc == 0);
    assert_same(q, &again);
    rpc_decoder_close(&decoder);
    buf_close(&b);
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
