/* tests/rpc/test_method.c - names of methods and levels. */
#include "tests/rpc/rpc_test.h"

#include "rpc/method.h"

static void knows_every_method_by_its_name_and_no_other(void **state)
{
    (void)state;
    for (int m = RPC_UNKNOWN + 1; m < RPC_METHODS_COUNT; m++) {
        enum rpc_method method = (enum rpc_method)m;

        assert_int_equal(method_find(kv_bytes_str(rpc_method_name(method))), method);
        assert_true(method_rows[m].params_max == method_rows[m].params_min + 1);
    }
    assert_int_equal(method_find(kv_bytes_str("kv.ge")), RPC_UNKNOWN);
    assert_int_equal(method_find(kv_bytes_str("kv.gett")), RPC_UNKNOWN);
    assert_int_equal(method_find(kv_bytes_str("?")), RPC_UNKNOWN);
    assert_int_equal(method_find(kv_bytes_str("")), RPC_UNKNOWN);
}

static void knows_which_methods_write(void **state)
{
    (void)state;
    assert_true(rpc_method_is_write(RPC_KV_PUT));
    assert_true(rpc_method_is_write(RPC_KV_DEL));
    assert_true(rpc_method_is_write(RPC_KV_CAS));
    assert_true(rpc_method_is_write(RPC_KV_INCR));
    assert_false(rpc_method_is_write(RPC_KV_GET));
    assert_false(rpc_method_is_write(RPC_KV_RANGE));
    assert_false(rpc_method_is_write(RPC_CLUSTER_MAP));
    /* What nobody knows may write. */
    assert_true(rpc_method_is_write(RPC_UNKNOWN));
}

static void knows_every_level_by_its_name(void **state)
{
    enum rpc_level level;

    (void)state;
    for (int l = 0; l < RPC_LEVELS_COUNT; l++) {
        assert_true(
            method_find_level(kv_bytes_str(rpc_level_name((enum rpc_level)l)), &level));
        assert_int_equal(level, l);
    }
    assert_false(method_find_level(kv_bytes_str("Stale"), &level));
    assert_false(method_find_level(kv_bytes_str(""), &level));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(knows_every_method_by_its_name_and_no_other),
    cmocka_unit_test(knows_which_methods_write),
    cmocka_unit_test(knows_every_level_by_its_name),
};

TEST_MAIN("rpc/method", tests)
