/* tests/raft/test_crc.c - the fast CRC32C says what the definition says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/crc.h"
#include "raft/base/prng.h"

enum {
    BYTES_MAX = 2300, /* Two rounds of the longest lanes, and what is left of them. */
    SHIFTS = 8,
};

/* Bit by bit, as RFC 3720 has it. */
static uint32_t by_definition(uint32_t crc, const uint8_t *p, size_t len)
{
    crc = ~crc;
    while (len-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

static void fill(uint8_t *bytes, size_t len, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)prng_next(&prng);
    }
}

static void check_value_of_the_standard(void **state)
{
    (void)state;
    assert_int_equal(kv_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(kv_crc32c(0, "", 0), 0);
    assert_int_equal(kv_crc16("123456789", 9), 0x31c3);
}

static void every_length_is_that_of_the_definition(void **state)
{
    uint8_t bytes[BYTES_MAX + SHIFTS];
    uint32_t want = 0;

    (void)state;
    fill(bytes, sizeof bytes, 7);
    for (size_t len = 0; len <= BYTES_MAX; len++) {
        assert_int_equal(kv_crc32c(0, bytes, len), want);
        want = by_definition(want, bytes + len, 1);
    }
}

static void any_place_in_memory_will_do(void **state)
{
    uint8_t bytes[BYTES_MAX + SHIFTS];

    (void)state;
    fill(bytes, sizeof bytes, 8);
    for (size_t shift = 0; shift < SHIFTS; shift++) {
        for (size_t len = 90; len < BYTES_MAX; len += 101) {
            assert_int_equal(kv_crc32c(0, bytes + shift, len),
                             by_definition(0, bytes + shift, len));
        }
    }
}

static void continues_from_any_sum(void **state)
{
    uint8_t bytes[BYTES_MAX];
    uint32_t whole;

    (void)state;
    fill(bytes, sizeof bytes, 9);
    whole = by_definition(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 13) {
        uint32_t crc = kv_crc32c(0, bytes, cut);

        assert_int_equal(kv_crc32c(crc, bytes + cut, sizeof bytes - cut), whole);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_value_of_the_standard),
        cmocka_unit_test(every_length_is_that_of_the_definition),
        cmocka_unit_test(any_place_in_memory_will_do),
        cmocka_unit_test(continues_from_any_sum),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("raft/base/crc", tests, NULL, NULL);
}
