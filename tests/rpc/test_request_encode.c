/* tests/rpc/test_request_encode.c - what a client sends is what a server reads. */
#include "tests/rpc/rpc_test.h"

#include "rpc/msg.h"
#include "rpc/scan.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static void writes_the_bytes_of_the_specification(void **state)
{
    struct rpc_request q;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    rpc_request_init(&q, RPC_KV_PUT, 0x1234);
    q.key = BYTES("k");
    q.value = BYTES("vv");
    rpc_request_encode(&b, &q);
    test_assert_bytes(buf_bytes(&b), BYTES("\x94\x00\xcd\x12\x34\xa6kv.put\x92\xc4\x01k"
                                           "\xc4\x02vv"));

    buf_reset(&b);
    rpc_request_init(&q, RPC_HELLO, 0);
    q.type = RPC_NOTIFICATION;
    rpc_request_encode(&b, &q);
    test_assert_bytes(buf_bytes(&b), BYTES("\x93\x02\xa5hello\x90"));
    buf_close(&b);
}

static uint32_t random_ms(struct prng *p)
{
    return 1 + (uint32_t)prng_below(p, KV_OPTION_MS_MAX);
}

/* All options, of which the caller keeps those that the method takes. */
static void random_options(struct prng *p, struct rpc_options *o, uint8_t *bytes)
{
    o->level = (enum rpc_level)prng_below(p, RPC_LEVELS_COUNT);
    o->forward = prng_below(p, 2) == 0;
    o->r = 1 + (uint32_t)prng_below(p, KV_QUORUM_MAX);
    o->w = 1 + (uint32_t)prng_below(p, KV_QUORUM_MAX);
    o->limit = 1 + (uint32_t)prng_below(p, KV_RANGE_ITEMS_MAX);
    o->deadline_ms = random_ms(p);
    o->max_age_ms = random_ms(p) - 1;
    o->wait_ms = random_ms(p) - 1;
    o->ttl_ms = random_ms(p);
    o->session = test_random_u64(p);
    o->seq = test_random_u64(p);
    o->ack = test_random_u64(p);
    o->idem_ttl_ms = (uint32_t)prng_between(p, 1, KV_IDEM_TTL_MS_MAX);
    o->stamp = test_random_u64(p);
    o->fence_token = test_random_u64(p) | 1;
    o->fence_lock = kv_bytes(bytes, 1 + prng_below(p, KV_LOCK_NAME_BYTES_MAX));
    o->idem = kv_bytes(bytes + 1, 1 + prng_below(p, KV_IDEM_BYTES_MAX));
    o->token = kv_bytes(bytes + 2, 1 + prng_below(p, 300));
    o->owner = kv_bytes(bytes + 3, 1 + prng_below(p, KV_LOCK_OWNER_BYTES_MAX));
    o->value = kv_bytes(bytes + 4, 1 + prng_below(p, KV_LOCK_VALUE_BYTES_MAX));
    o->has = (uint32_t)prng_next(p) & ((1u << RPC_OPTIONS_COUNT) - 1);
}

/* The options each method takes, as docs/protocol.md lists them. */
static uint32_t options_taken(enum rpc_method method)
{
#define O(name) RPC_OPT_BIT(RPC_OPT_##name)
    const uint32_t any = O(deadline_ms) | O(forward);
    const uint32_t read =
        any | O(level) | O(r) | O(token) | O(max_age_ms) | O(fence) | O(wait_ms);
    const uint32_t write = any | O(w) | O(session) | O(seq) | O(ack) | O(idem) |
                           O(idem_ttl_ms) | O(stamp) | O(fence);

    switch (method) {
    case RPC_KV_GET:
        return read;
    case RPC_KV_RANGE:
        return read | O(limit);
    case RPC_KV_PUT:
        return write | O(ttl_ms);
    case RPC_KV_DEL:
    case RPC_KV_CAS:
    case RPC_KV_INCR:
        return write;
    default:
        return any | O(level);
    }
#undef O
}

/* Options that need or exclude each other: made so that they fit. */
static void options_fit(struct rpc_options *o)
{
    const uint32_t of_session = RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq);
    const uint32_t of_idem = RPC_OPT_BIT(RPC_OPT_idem);

    if ((o->has & of_session) == of_session && o->session != 0) {
        o->has &= ~(of_idem | RPC_OPT_BIT(RPC_OPT_idem_ttl_ms));
        o->has |= RPC_OPT_BIT(RPC_OPT_stamp);
        o->ack = KV_MIN(o->ack, o->seq);
        return;
    }
    o->has &= ~(of_session | RPC_OPT_BIT(RPC_OPT_ack));
    if ((o->has & of_idem) != 0) {
        o->has |= RPC_OPT_BIT(RPC_OPT_stamp);
    } else {
        o->has &= ~(RPC_OPT_BIT(RPC_OPT_stamp) | RPC_OPT_BIT(RPC_OPT_idem_ttl_ms));
    }
}

static void assert_same_options(const struct rpc_options *a,
                                const struct rpc_options *b)
{
#define SAME(name, member)                             \
    if ((a->has & RPC_OPT_BIT(RPC_OPT_##name)) != 0) { \
        assert_true(a->member == b->member);           \
    }
    assert_int_equal(a->has, b->has);
    SAME(level, level)
    SAME(forward, forward)
    SAME(r, r)
    SAME(w, w)
    SAME(limit, limit)
    SAME(deadline_ms, deadline_ms)
    SAME(max_age_ms, max_age_ms)
    SAME(wait_ms, wait_ms)
    SAME(ttl_ms, ttl_ms)
    SAME(session, session)
    SAME(seq, seq)
    SAME(ack, ack)
    SAME(idem_ttl_ms, idem_ttl_ms)
    SAME(stamp, stamp)
    SAME(fence, fence_token)
#undef SAME
    if ((a->has & RPC_OPT_BIT(RPC_OPT_fence)) != 0) {
        test_assert_bytes(b->fence_lock, a->fence_lock);
    }
    if ((a->has & RPC_OPT_BIT(RPC_OPT_idem)) != 0) {
        test_assert_bytes(b->idem, a->idem);
    }
    if ((a->has & RPC_OPT_BIT(RPC_OPT_token)) != 0) {
        test_assert_bytes(b->token, a->token);
    }
}

static void assert_same_params(const struct rpc_request *a, const struct rpc_request *b)
{
    assert_int_equal(b->method, a->method);
    if (a->method == RPC_KV_RANGE) {
        test_assert_bytes(b->begin, a->begin);
        test_assert_bytes(b->end, a->end);
    } else if (a->method != RPC_HELLO && a->method != RPC_CLUSTER_STATUS &&
               a->method != RPC_CLUSTER_MAP) {
        test_assert_bytes(b->key, a->key);
    }
    if (a->method == RPC_KV_PUT) {
        test_assert_bytes(b->value, a->value);
    }
    if (a->method == RPC_KV_INCR) {
        assert_true(a->delta == b->delta);
    }
    if (a->method == RPC_KV_CAS) {
        assert_int_equal(b->has_expected, a->has_expected);
        assert_int_equal(b->has_replacement, a->has_replacement);
        test_assert_bytes(b->expected, a->has_expected ? a->expected : BYTES(""));
        test_assert_bytes(b->replacement,
                          a->has_replacement ? a->replacement : BYTES(""));
    }
}

static void every_random_request_comes_back_as_it_was(void **state)
{
    static uint8_t bytes[70000];
    struct rpc_decoder decoder;
    struct prng p;
    struct buf b;

    (void)state;
    test_seed(&p, 5);
    test_random_bytes(&p, bytes, sizeof bytes);
    assert_int_equal(rpc_decoder_init(&decoder), 0);
    buf_init(&b, 1 << 20);
    for (int round = 0; round < 20000; round++) {
        enum rpc_method method = (enum rpc_method)(1 + prng_below(&p, RPC_CLUSTER_MAP));
        struct rpc_request q, got;
        struct rpc_error error;

        rpc_request_init(&q, method, (uint32_t)test_random_u64(&p));
        q.key = kv_bytes(bytes + 3, 1 + prng_below(&p, KV_KEY_BYTES_MAX));
        q.value =
            kv_bytes(bytes, prng_below(&p, round % 100 == 0 ? sizeof bytes : 300));
        q.expected = kv_bytes(bytes + 5, prng_below(&p, 300));
        q.replacement = kv_bytes(bytes + 6, prng_below(&p, 300));
        q.has_expected = prng_below(&p, 2) == 0;
        q.has_replacement = prng_below(&p, 2) == 0;
        q.begin = kv_bytes(bytes + 7, prng_below(&p, KV_BOUND_BYTES_MAX + 1));
        q.end = kv_bytes(bytes + 8, prng_below(&p, KV_BOUND_BYTES_MAX + 1));
        q.delta = (int64_t)prng_next(&p) >> prng_below(&p, 64);
        random_options(&p, &q.options, bytes);
        q.options.has &= options_taken(method);
        options_fit(&q.options);

        buf_reset(&b);
        rpc_request_encode(&b, &q);
        assert_int_equal(b.error, 0);
        assert_int_equal(scan_whole(&scan_limits_request, b.data, b.len), 0);
        assert_int_equal(rpc_request_decode(&decoder, buf_bytes(&b), &got, &error), 0);
        assert_true(got.msgid == q.msgid);
        assert_same_params(&q, &got);
        assert_same_options(&q.options, &got.options);
    }
    buf_close(&b);
    rpc_decoder_close(&decoder);
}

/* Mutations of valid requests: any verdict, but no crash and a text on refusal. */
static void every_mutated_request_gets_a_verdict(void **state)
{
    static const uint8_t fill[600] = {0};
    struct rpc_decoder decoder;
    uint32_t accepted = 0;
    uint32_t refused = 0;
    struct prng p;
    struct buf b;

    (void)state;
    test_seed(&p, 6);
    assert_int_equal(rpc_decoder_init(&decoder), 0);
    buf_init(&b, 1 << 20);
    for (int round = 0; round < 30000; round++) {
        enum rpc_method method = (enum rpc_method)(1 + prng_below(&p, RPC_CLUSTER_MAP));
        struct rpc_request q, got;
        struct rpc_error error;
        uint8_t *copy;
        int rc;

        rpc_request_init(&q, method, 9);
        q.key = kv_bytes(fill, 1 + prng_below(&p, 20));
        random_options(&p, &q.options, (uint8_t *)(uintptr_t)fill);
        if (prng_below(&p, 2) == 0) {
            q.options.has &= options_taken(method);
            options_fit(&q.options);
        }
        buf_reset(&b);
        rpc_request_encode(&b, &q);
        for (uint64_t n = prng_below(&p, 4); n > 0; n--) {
            b.data[prng_below(&p, b.len)] ^= (uint8_t)(1 << prng_below(&p, 8));
        }
        copy = test_copy(b.data, b.len);
        if (scan_whole(&scan_limits_request, copy, b.len) == 0) {
            rc = rpc_request_decode(&decoder, kv_bytes(copy, b.len), &got, &error);
            accepted += rc == 0;
            refused += rc != 0;
            if (rc != 0) {
                assert_int_equal(error.code, rc);
                assert_true(error.len > 0 && strlen(error.text) == error.len);
            }
        }
        free(copy);
    }
    assert_true(accepted > 100 && refused > 100);
    buf_close(&b);
    rpc_decoder_close(&decoder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(writes_the_bytes_of_the_specification),
    cmocka_unit_test(every_random_request_comes_back_as_it_was),
    cmocka_unit_test(every_mutated_request_gets_a_verdict),
};

TEST_MAIN("rpc/request_encode", tests)
