/* tests/client/test_txn.c - what kv_transact() refuses before it costs anything. */
#include "tests/client/probe.h"

static char big[1024 * 1024 + 1];

static void wrong_transactions_are_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct probe p = {0};
    const struct kv_compare no_key = {.what = KV_WHAT_EXISTS};
    const struct kv_compare bad_what = {.what = (enum kv_what)3, .key = kv_str("k")};
    const struct kv_compare bad_test = {
        .what = KV_WHAT_EXISTS, .test = KV_TEST_LT, .key = kv_str("k")};
    const struct kv_compare nil_value = {.key = kv_str("k"), .value = kv_nil()};
    const struct kv_txn_op cas = {.op = KV_OP_CAS, .key = kv_str("k")};
    const struct kv_txn_op nil_put = {.op = KV_OP_PUT, .key = kv_str("k")};
    const struct kv_txn_op long_key = {.op = KV_OP_GET, .key = kv_mem(big, 481)};
    const struct kv_txn_op long_value = {
        .op = KV_OP_PUT, .key = kv_str("k"), .value = kv_mem(big, sizeof big)};
    const struct kv_txn_op limit = {.op = KV_OP_RANGE,
                                    .key = kv_str("{a}"),
                                    .value = kv_str("{a}~"),
                                    .limit = 10001};
    const struct kv_txn_op two[] = {
        {.op = KV_OP_PUT, .key = kv_str("k"), .value = kv_mem(big, 1024 * 1024)},
        {.op = KV_OP_PUT, .key = kv_str("k"), .value = kv_mem(big, 1024 * 1024)},
    };
    const struct {
        struct kv_txn txn;
        int error;
    } rows[] = {
        {{0}, KV_ERR_INVALID},
        {{.compares = &no_key, .compares_count = 1}, KV_ERR_INVALID},
        {{.compares = &bad_what, .compares_count = 1}, KV_ERR_INVALID},
        {{.compares = &bad_test, .compares_count = 1}, KV_ERR_INVALID},
        {{.compares = &nil_value, .compares_count = 1}, KV_ERR_INVALID},
        {{.then = &cas, .then_count = 1}, KV_ERR_INVALID},
        {{.then = &nil_put, .then_count = 1}, KV_ERR_INVALID},
        {{.otherwise = &long_key, .otherwise_count = 1}, KV_ERR_TOO_LARGE},
        {{.otherwise = &long_value, .otherwise_count = 1}, KV_ERR_TOO_LARGE},
        {{.then = &limit, .then_count = 1}, KV_ERR_INVALID},
        {{.then = two, .then_count = 2}, KV_ERR_TOO_LARGE},
        {{.then = two, .then_count = 129}, KV_ERR_TOO_LARGE},
    };

    assert_int_equal(kv_start(rig->client, kv_transact(NULL), probe_on_done, &p),
                     KV_ERR_INVALID);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int error = kv_start(rig->client, kv_transact(&rows[i].txn), probe_on_done, &p);

        if (error != rows[i].error) {
            fail_msg("row %zu: %d", i, error);
        }
        assert_true(strlen(kv_last_error(rig->client)) > 10);
    }
    (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_int_equal(p.calls, 0);
    assert_int_equal(fake_server_connections(rig->server), 0);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(wrong_transactions_are_refused_at_once),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/txn", tests, NULL, NULL);
}
