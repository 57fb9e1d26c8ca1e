/* tests/rpc/test_unpack.c - strict getters, and a zone that is used again. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "rpc/unpack.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static struct rpc_decoder decoder;

static int set_up(void **state)
{
    (void)state;
    return rpc_decoder_init(&decoder);
}

static int tear_down(void **state)
{
    (void)state;
    rpc_decoder_close(&decoder);
    return 0;
}

static msgpack_object unpacked(struct kv_bytes bytes)
{
    msgpack_object o;

    assert_int_equal(unpack_message(&decoder, bytes, &o), 0);
    return o;
}

static void wants_exactly_one_object(void **state)
{
    msgpack_object o;

    (void)state;
    assert_int_equal(unpack_message(&decoder, BYTES("\x91\x05"), &o), 0);
    assert_int_equal(unpack_message(&decoder, BYTES("\x91"), &o), KV_EPROTO);
    assert_int_equal(unpack_message(&decoder, BYTES("\x05\x05"), &o), KV_EPROTO);
    assert_int_equal(unpack_message(&decoder, BYTES("\xc1"), &o), KV_EPROTO);
    assert_int_equal(unpack_message(&decoder, kv_bytes(NULL, 0), &o), KV_EPROTO);
}

static void wants_exactly_two_objects_as_a_pair(void **state)
{
    msgpack_object a, b;
    size_t second;

    (void)state;
    assert_int_equal(unpack_pair(&decoder, BYTES("\x91\x05\xa1x"), &a, &b, &second), 0);
    assert_int_equal(second, 2);
    assert_true(unpack_is_array(&a, 1));
    assert_int_equal(b.type, MSGPACK_OBJECT_STR);
    assert_int_equal(unpack_pair(&decoder, BYTES("\x05"), &a, &b, &second), KV_EPROTO);
    assert_int_equal(unpack_pair(&decoder, BYTES("\x05\x05\x05"), &a, &b, &second),
                     KV_EPROTO);
}

static void numbers_keep_to_their_bounds(void **state)
{
    msgpack_object o = unpacked(BYTES("\xcd\x01\x00"));
    uint64_t u64 = 1;
    uint32_t u32 = 1;
    uint16_t u16 = 1;
    int64_t i64 = 1;

    (void)state;
    assert_false(unpack_uint(&o, 255, &u64));
    assert_false(unpack_u32(&o, 255, &u32));
    assert_int_equal(u64 + u32, 2);
    assert_true(unpack_uint(&o, 256, &u64));
    assert_true(unpack_u32(&o, 256, &u32));
    assert_true(unpack_u16(&o, &u16));
    assert_int_equal(u64 + u32 + u16, 3 * 256);
    o = unpacked(BYTES("\xce\x00\x01\x00\x00"));
    assert_false(unpack_u16(&o, &u16));
    o = unpacked(BYTES("\xff"));
    assert_false(unpack_uint(&o, UINT64_MAX, &u64));
    assert_true(unpack_int(&o, &i64));
    assert_int_equal(i64, -1);
    o = unpacked(BYTES("\xcf\x80\0\0\0\0\0\0\0"));
    assert_false(unpack_int(&o, &i64));
    o = unpacked(BYTES("\xca\0\0\0\0"));
    assert_false(unpack_uint(&o, UINT64_MAX, &u64));
    assert_false(unpack_int(&o, &i64));
}

static void names_are_short_printable_and_terminated(void **state)
{
    char name[4];
    msgpack_object o;

    (void)state;
    o = unpacked(BYTES("\xa3"
                       "abc"));
    assert_true(unpack_name(&o, 1, name, sizeof name));
    assert_string_equal(name, "abc");
    o = unpacked(BYTES("\xa4"
                       "abcd"));
    assert_false(unpack_name(&o, 1, name, sizeof name));
    o = unpacked(BYTES("\xa0"));
    assert_false(unpack_name(&o, 1, name, sizeof name));
    assert_true(unpack_name(&o, 0, name, sizeof name));
    assert_string_equal(name, "");
    o = unpacked(BYTES("\xa2"
                       "a\0"));
    assert_false(unpack_name(&o, 1, name, sizeof name));
    o = unpacked(BYTES("\x05"));
    assert_false(unpack_name(&o, 0, name, sizeof name));
}

static void every_type_has_a_name(void **state)
{
    static const struct {
        const char *byte;
        const char *name;
    } rows[] = {{"\xc0", "nil"}, {"\xc2", "bool"},     {"\x05", "int"},
                {"\xff", "int"}, {"\x90", "array"},    {"\x80", "map"},
                {"\xa0", "str"}, {"\xca@@@@", "float"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        msgpack_object o = unpacked(kv_bytes_str(rows[i].byte));

        assert_string_equal(unpack_type_name(&o), rows[i].name);
    }
}

/* A large message must not make the decoder keep its memory, nor leak. */
static void a_large_message_leaves_the_decoder_as_it_was(void **state)
{
    uint8_t *large = calloc(1, 60003);

    (void)state;
    assert_non_null(large);
    memcpy(large, "\xdc\xea\x60", 3); /* 60,000 zeros: 1.4 MB of objects */
    for (int i = 0; i < 50; i++) {
        msgpack_object o = unpacked(kv_bytes(large, 60003));

        assert_int_equal(o.via.array.size, 60000);
        o = unpacked(BYTES("\x93\x01\x02\x03"));
        assert_int_equal(o.via.array.ptr[2].via.u64, 3);
    }
    free(large);
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(wants_exactly_one_object),
    TEST(wants_exactly_two_objects_as_a_pair),
    TEST(numbers_keep_to_their_bounds),
    TEST(names_are_short_printable_and_terminated),
    TEST(every_type_has_a_name),
    TEST(a_large_message_leaves_the_decoder_as_it_was),
};

TEST_MAIN("rpc/unpack", tests)
