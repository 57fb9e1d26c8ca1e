/* tests/rpc/test_text.c - quoting of strangers' bytes, hex ids. */
#include "tests/rpc/rpc_test.h"

#include "rpc/text.h"

static void quotes_and_replaces_what_is_not_printable(void **state)
{
    char out[TEXT_QUOTE_BYTES];

    (void)state;
    assert_string_equal(text_quote(kv_bytes_str("level"), out), "\"level\"");
    assert_string_equal(text_quote(kv_bytes_str(""), out), "\"\"");
    assert_string_equal(text_quote(kv_bytes("a\0\n\x7f\xff\"z", 7), out),
                        "\"a?????z\"");
}

static void cuts_long_texts_within_its_buffer(void **state)
{
    uint8_t bytes[100];
    char out[TEXT_QUOTE_BYTES];

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(strlen(text_quote(kv_bytes(bytes, 32), out)), 34);
    assert_int_equal(strlen(text_quote(kv_bytes(bytes, 33), out)), 37);
    assert_string_equal(text_quote(kv_bytes(bytes, 100), out),
                        "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"");
}

static void writes_and_reads_hex(void **state)
{
    static const uint64_t values[] = {0, 1, UINT64_MAX, 0x0123456789abcdefu};
    char out[TEXT_HEX64_BYTES];
    uint64_t value;

    (void)state;
    assert_string_equal(text_hex64(0x0123456789abcdefu, out), "0123456789abcdef");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(text_parse_hex64(kv_bytes_str(text_hex64(values[i], out)), &value));
        assert_true(value == values[i]);
    }
}

static void reads_nothing_but_sixteen_lower_case_digits(void **state)
{
    static const char *const bad[] = {"",
                                      "0123456789abcde",
                                      "0123456789abcdef0",
                                      "0123456789ABCDEF",
                                      "0x23456789abcdef",
                                      " 123456789abcdef"};
    uint64_t value = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(text_parse_hex64(kv_bytes_str(bad[i]), &value));
    }
    assert_int_equal(value, 77);
}

static void knows_a_name(void **state)
{
    (void)state;
    assert_true(text_is_name(kv_bytes_str("node-1.example"), 63));
    assert_true(text_is_name(kv_bytes_str(""), 0));
    assert_false(text_is_name(kv_bytes_str("two words"), 63));
    assert_false(text_is_name(kv_bytes("a\0b", 3), 63));
    assert_false(text_is_name(kv_bytes_str("abcd"), 3));
    assert_false(text_is_name(kv_bytes_str("\xc3\xa4"), 63));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(quotes_and_replaces_what_is_not_printable),
    cmocka_unit_test(cuts_long_texts_within_its_buffer),
    cmocka_unit_test(writes_and_reads_hex),
    cmocka_unit_test(reads_nothing_but_sixteen_lower_case_digits),
    cmocka_unit_test(knows_a_name),
};

TEST_MAIN("rpc/text", tests)
