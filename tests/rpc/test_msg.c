/* tests/rpc/test_msg.c - errors, and heads of messages. */
#include "tests/rpc/rpc_test.h"

#include "rpc/msg.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static void makes_errors_one_printable_line_within_bounds(void **state)
{
    char longer[2 * KV_ERROR_TEXT_MAX];
    struct rpc_error e;

    (void)state;
    assert_int_equal(rpc_error_set(&e, KV_EBUSY, "queue %d\n\x01 is full", 7),
                     KV_EBUSY);
    assert_string_equal(e.text, "queue 7?? is full");
    assert_int_equal(e.len, strlen(e.text));

    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)rpc_error_set(&e, KV_EBUSY, "%s", longer);
    assert_int_equal(e.len, KV_ERROR_TEXT_MAX);
    assert_int_equal(strlen(e.text), KV_ERROR_TEXT_MAX);
}

static void peeks_at_type_and_msgid(void **state)
{
    enum rpc_type type;
    uint32_t msgid;

    (void)state;
    assert_int_equal(rpc_peek(BYTES("\x94\x00\x05\xa1m\x90"), &type, &msgid), 0);
    assert_int_equal(type, RPC_REQUEST);
    assert_int_equal(msgid, 5);
    assert_int_equal(
        rpc_peek(BYTES("\x94\x01\xce\xff\xff\xff\xff\xc0\xc0"), &type, &msgid), 0);
    assert_int_equal(type, RPC_RESPONSE);
    assert_true(msgid == 0xffffffff);
    assert_int_equal(
        rpc_peek(BYTES("\xdc\0\x04\x00\xcf\0\0\0\0\0\0\x01\0\xa1m\x90"), &type, &msgid),
        0);
    assert_int_equal(msgid, 256);
    assert_int_equal(rpc_peek(BYTES("\xdd\0\0\0\x03\xcc\x02\xa1m\x90"), &type, &msgid),
                     0);
    assert_int_equal(type, RPC_NOTIFICATION);
    assert_int_equal(msgid, 0);
}

static void peeks_at_nothing_else(void **state)
{
    static const char *const bad[] = {
        "\x94\x02\x05\xa1m\x90",                            /* a notification of four */
        "\x93\x01\xa1m\x90",                                /* a request of three */
        "\x94\x03\x05\xa1m\x90",                            /* no such type */
        "\x95\x01\x05\xa1m\x90",                            /* an array of five */
        "\x94\x01\xff\xa1m\x90",                            /* msgid -1 */
        "\x94\x01\xa1m\x90",                                /* msgid a str */
        "\xdc\x01\x04\x01\x05\x90",                         /* an array of 260 */
        "\x94\x01\xcf\x01\x01\x01\x01\x01\x01\x01\x01\x90", /* msgid too large */
    };
    enum rpc_type type;
    uint32_t msgid;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(rpc_peek(kv_bytes_str(bad[i]), &type, &msgid), KV_EPROTO);
    }
}

static void peeks_no_further_than_the_bytes_go(void **state)
{
    static const uint8_t whole[] = "\xdd\0\0\0\x04\x01\xcf\0\0\0\0\0\0\0\x09\xc0\xc0";
    size_t len = sizeof whole - 1;
    enum rpc_type type;
    uint32_t msgid;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *copy = test_copy(whole, cut);
        int rc = rpc_peek(kv_bytes(copy, cut), &type, &msgid);

        assert_int_equal(rc, cut < len - 2 ? KV_EPROTO : 0);
        free(copy);
    }
}

static void splits_a_response_and_joins_it_under_another_msgid(void **state)
{
    struct kv_bytes message = BYTES("\xdc\0\x04\xcc\x01\x07\xc0\x81\xa1k\xc3");
    struct kv_bytes tail;
    struct buf b;
    uint32_t msgid;

    (void)state;
    assert_int_equal(rpc_response_split(message, &msgid, &tail), 0);
    assert_int_equal(msgid, 7);
    test_assert_bytes(tail, BYTES("\xc0\x81\xa1k\xc3"));

    buf_init(&b, 1000);
    rpc_response_join(&b, 0xffffffff, tail);
    assert_int_equal(b.error, 0);
    test_assert_bytes(buf_bytes(&b),
                      BYTES("\x94\x01\xce\xff\xff\xff\xff\xc0\x81\xa1k\xc3"));
    buf_close(&b);
}

static void splits_only_responses(void **state)
{
    struct kv_bytes tail;
    uint32_t msgid;

    (void)state;
    assert_int_equal(rpc_response_split(BYTES("\x94\x00\x07\xa1m\x90"), &msgid, &tail),
                     KV_EPROTO);
    assert_int_equal(rpc_response_split(BYTES("\x93\x02\xa1m\x90"), &msgid, &tail),
                     KV_EPROTO);
    assert_int_equal(rpc_response_split(BYTES("\x94\x01\x07"), &msgid, &tail),
                     KV_EPROTO);
    assert_int_equal(rpc_response_split(kv_bytes(NULL, 0), &msgid, &tail), KV_EPROTO);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(makes_errors_one_printable_line_within_bounds),
    cmocka_unit_test(peeks_at_type_and_msgid),
    cmocka_unit_test(peeks_at_nothing_else),
    cmocka_unit_test(peeks_no_further_than_the_bytes_go),
    cmocka_unit_test(splits_a_response_and_joins_it_under_another_msgid),
    cmocka_unit_test(splits_only_responses),
};

TEST_MAIN("rpc/msg", tests)
