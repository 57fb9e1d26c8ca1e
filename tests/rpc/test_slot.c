/* tests/rpc/test_slot.c - the slots of Redis Cluster. */
#include "tests/rpc/rpc_test.h"

#include "rpc/slot.h"

static uint16_t slot(const char *key)
{
    return slot_of(kv_bytes_str(key));
}

/* Vectors from the Redis Cluster specification and from a Redis server
 * (CLUSTER KEYSLOT). */
static void agrees_with_redis_cluster(void **state)
{
    (void)state;
    assert_int_equal(slot("123456789"), 12739); /* CRC16/XMODEM: 0x31c3 */
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot("hello"), 866);
    assert_int_equal(slot("somekey"), 11058);
    assert_int_equal(slot("foo{hash_tag}"), 2515);
    assert_int_equal(slot(""), 0);
}

static void hashes_only_the_tag(void **state)
{
    (void)state;
    assert_int_equal(slot("{user1000}.following"), slot("{user1000}.followers"));
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_not_equal(slot("{user1000}.following"), slot("{user1001}.following"));
}

static void takes_the_whole_key_where_there_is_no_tag(void **state)
{
    static const char *const keys[] = {"foo{}{bar}", "{}",    "{", "}",
                                       "a{b",        "a}b{c", "}{"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        test_assert_text(slot_tag(kv_bytes_str(keys[i])), keys[i]);
    }
}

static void takes_bytes_of_any_value(void **state)
{
    static const uint8_t tagged[] = {0, '{', 0, 0xff, '}', 0};
    struct kv_bytes tag = slot_tag(kv_bytes(tagged, sizeof tagged));

    (void)state;
    assert_ptr_equal(tag.data, tagged + 2);
    assert_int_equal(tag.len, 2);
}

static void reads_no_byte_outside_of_the_key(void **state)
{
    struct prng p;

    (void)state;
    test_seed(&p, 11);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[12];
        size_t len = prng_below(&p, sizeof bytes + 1);
        uint8_t *key;

        for (size_t j = 0; j < len; j++) {
            bytes[j] = (uint8_t) "{}ab"[prng_below(&p, 4)];
        }
        key = test_copy(bytes, len);
        assert_in_range(slot_of(kv_bytes(key, len)), 0, KV_SLOTS - 1);
        free(key);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_with_redis_cluster),
    cmocka_unit_test(hashes_only_the_tag),
    cmocka_unit_test(takes_the_whole_key_where_there_is_no_tag),
    cmocka_unit_test(takes_bytes_of_any_value),
    cmocka_unit_test(reads_no_byte_outside_of_the_key),
};

TEST_MAIN("rpc/slot", tests)
