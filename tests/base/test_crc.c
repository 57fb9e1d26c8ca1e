/* tests/base/test_crc.c - CRC32C and CRC16: published values, slow reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/crc.h"
#include "raft/base/prng.h"

/* One bit at a time, straight from the definition. */
static uint32_t crc32c_slow(uint32_t crc, const uint8_t *data, size_t len)
{
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
    }
    return ~crc;
}

/* Source: RFC 3720 appendix B.4. */
static void crc32c_gives_the_published_values(void **state)
{
    uint8_t data[32];

    (void)state;
    assert_int_equal(kv_crc32c(0, "123456789", 9), 0xe3069283u);
    memset(data, 0, sizeof data);
    assert_int_equal(kv_crc32c(0, data, sizeof data), 0x8a9136aau);
    memset(data, 0xff, sizeof data);
    assert_int_equal(kv_crc32c(0, data, sizeof data), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = i;
    }
    assert_int_equal(kv_crc32c(0, data, sizeof data), 0x46dd794eu);
    assert_int_equal(kv_crc32c(0, NULL, 0), 0);
}

static void crc32c_agrees_with_the_definition_at_every_length_and_offset(void **state)
{
    uint8_t data[300];
    struct prng p;

    (void)state;
    prng_init(&p, 1);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)prng_next(&p);
    }
    for (size_t begin = 0; begin < 17; begin++) {
        for (size_t len = 0; begin + len <= sizeof data; len++) {
            assert_int_equal(kv_crc32c(0, data + begin, len),
                             crc32c_slow(0, data + begin, len));
        }
    }
}

static void crc32c_in_two_pieces_equals_one(void **state)
{
    const char *text = "the quick brown fox jumps over the lazy dog";
    size_t len = strlen(text);

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        uint32_t crc = kv_crc32c(0, text, cut);

        assert_int_equal(kv_crc32c(crc, text + cut, len - cut),
                         kv_crc32c(0, text, len));
    }
}

/* Source: Redis Cluster specification, appendix A. */
static void crc16_gives_the_value_that_redis_cluster_documents(void **state)
{
    (void)state;
    assert_int_equal(kv_crc16("123456789", 9), 0x31c3);
    assert_int_equal(kv_crc16(NULL, 0), 0);
    assert_int_equal(kv_crc16("foo", 3) % 16384, 12182);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_agrees_with_the_definition_at_every_length_and_offset),
        cmocka_unit_test(crc32c_in_two_pieces_equals_one),
        cmocka_unit_test(crc16_gives_the_value_that_redis_cluster_documents),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/crc", tests, NULL, NULL);
}
