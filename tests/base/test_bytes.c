/* tests/base/test_bytes.c - views compare bytewise, integers go to and fro. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/bytes.h"

static void orders_bytewise_with_a_prefix_first(void **state)
{
    (void)state;
    assert_true(kv_bytes_compare(kv_bytes_str("a"), kv_bytes_str("b")) < 0);
    assert_true(kv_bytes_compare(kv_bytes_str("a"), kv_bytes_str("aa")) < 0);
    assert_true(kv_bytes_compare(kv_bytes_str("b"), kv_bytes_str("aa")) > 0);
    assert_true(kv_bytes_compare(kv_bytes("\xff", 1), kv_bytes("\x01", 1)) > 0);
    assert_true(kv_bytes_compare(kv_bytes(NULL, 0), kv_bytes_str("a")) < 0);
    assert_int_equal(kv_bytes_compare(kv_bytes(NULL, 0), kv_bytes("", 0)), 0);
    assert_true(kv_bytes_equal(kv_bytes(NULL, 0), kv_bytes_str("")));
    assert_false(kv_bytes_equal(kv_bytes_str("a"), kv_bytes_str("ab")));
    assert_true(kv_bytes_equal(kv_bytes("a\0b", 3), kv_bytes("a\0b", 3)));
}

static void little_endian_puts_the_lowest_byte_first(void **state)
{
    uint8_t p[8];

    (void)state;
    kv_put_u64le(p, 0x0102030405060708u);
    assert_int_equal(p[0], 8);
    assert_int_equal(p[7], 1);
    assert_int_equal(kv_get_u64le(p), 0x0102030405060708u);
    assert_int_equal(kv_get_u32le(p), 0x05060708u);
    assert_int_equal(kv_get_u16le(p), 0x0708u);
    kv_put_u32le(p, UINT32_MAX);
    assert_int_equal(kv_get_u32le(p), UINT32_MAX);
    kv_put_u16le(p, 0x8001);
    assert_int_equal(kv_get_u16le(p), 0x8001);
}

static void big_endian_keeps_the_order_of_numbers(void **state)
{
    const uint64_t numbers[] = {0,     1,        255,        256,
                                65535, 1u << 31, 1ull << 32, UINT64_MAX};
    uint8_t a[8];
    uint8_t b[8];

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        kv_put_u64be(a, numbers[i]);
        assert_int_equal(kv_get_u64be(a), numbers[i]);
        if (i > 0) {
            kv_put_u64be(b, numbers[i - 1]);
            assert_true(memcmp(b, a, 8) < 0);
        }
    }
    kv_put_u32be(a, 0x01020304);
    assert_int_equal(a[0], 1);
    assert_int_equal(kv_get_u32be(a), 0x01020304);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_bytewise_with_a_prefix_first),
        cmocka_unit_test(little_endian_puts_the_lowest_byte_first),
        cmocka_unit_test(big_endian_keeps_the_order_of_numbers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/bytes", tests, NULL, NULL);
}
