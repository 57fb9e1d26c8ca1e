/* tests/rpc/test_buf.c - growth, cap, sticky error. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"

static void keeps_what_was_appended_over_many_growths(void **state)
{
    struct buf b;
    size_t total = 0;

    (void)state;
    buf_init(&b, 1 << 20);
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t bytes[40];

        memset(bytes, (int)(i & 0xff), sizeof bytes);
        buf_append(&b, bytes, i % sizeof bytes);
        total += i % sizeof bytes;
    }

    assert_int_equal(b.error, 0);
    assert_int_equal(b.len, total);
    for (uint32_t i = 0, at = 0; i < 3000; i++) {
        for (uint32_t j = 0; j < i % 40; j++) {
            assert_int_equal(b.data[at++], i & 0xff);
        }
    }
    buf_close(&b);
}

static void takes_exactly_its_cap_and_not_a_byte_more(void **state)
{
    uint8_t kilobyte[1000] = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    buf_append(&b, kilobyte, sizeof kilobyte);
    assert_int_equal(b.error, 0);
    assert_int_equal(b.len, 1000);

    buf_append(&b, kilobyte, 1);
    assert_int_equal(b.error, KV_ENOMEM);
    assert_int_equal(b.len, 1000);
    buf_close(&b);
}

static void takes_nothing_after_an_error_until_it_is_reset(void **state)
{
    uint8_t bytes[64] = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_append(&b, bytes, 64);
    buf_append(&b, bytes, 64);
    assert_int_equal(b.error, KV_ENOMEM);
    buf_append(&b, bytes, 1);
    assert_int_equal(b.len, 64);
    assert_null(buf_reserve(&b, 1));

    buf_reset(&b);
    buf_append(&b, bytes, 1);
    assert_int_equal(b.error, 0);
    assert_int_equal(b.len, 1);
    buf_close(&b);
}

static void rewinds_to_what_was_complete(void **state)
{
    struct buf b;
    size_t mark;

    (void)state;
    buf_init(&b, 10);
    buf_append(&b, "whole", 5);
    mark = buf_mark(&b);
    buf_append(&b, "half", 4);
    buf_append(&b, "does not fit", 12);
    assert_int_equal(b.error, KV_ENOMEM);

    buf_rewind(&b, mark);

    assert_int_equal(b.error, 0);
    test_assert_text(buf_bytes(&b), "whole");
    buf_close(&b);
}

static void survives_a_length_that_would_overflow(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    buf_append(&b, "x", 1);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.error, KV_ENOMEM);
    assert_int_equal(b.len, 1);
    buf_close(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(keeps_what_was_appended_over_many_growths),
    cmocka_unit_test(takes_exactly_its_cap_and_not_a_byte_more),
    cmocka_unit_test(takes_nothing_after_an_error_until_it_is_reset),
    cmocka_unit_test(rewinds_to_what_was_complete),
    cmocka_unit_test(survives_a_length_that_would_overflow),
};

TEST_MAIN("rpc/buf", tests)
