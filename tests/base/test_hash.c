/* tests/base/test_hash.c - XXH3 gives the values that are stored and sent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/hash.h"

/* Stored data and the ring depend on these values: they may never change. */
static void gives_the_values_of_xxh3(void **state)
{
    (void)state;
    assert_int_equal(kv_hash64(NULL, 0), 0x2d06800538d394c2u);
    assert_int_equal(kv_hash64("", 0), 0x2d06800538d394c2u);
    assert_int_equal(kv_hash64("a", 1), 0xe6c632b61e964e1fu);
    assert_int_equal(kv_hash64("abc", 3), 0x78af5f94892f3950u);
}

static void a_seed_makes_another_function(void **state)
{
    (void)state;
    assert_int_equal(kv_hash64_seed("abc", 3, 0), kv_hash64("abc", 3));
    assert_int_not_equal(kv_hash64_seed("abc", 3, 1), kv_hash64("abc", 3));
    assert_int_not_equal(kv_hash64_seed("abc", 3, 1), kv_hash64_seed("abc", 3, 2));
}

static void every_byte_counts_at_every_length(void **state)
{
    uint8_t data[1100];

    (void)state;
    memset(data, 0, sizeof data);
    for (size_t len = 1; len <= sizeof data; len += 37) {
        uint64_t before = kv_hash64(data, len);

        for (size_t i = 0; i < len; i += 13) {
            data[i] ^= 1;
            assert_int_not_equal(kv_hash64(data, len), before);
            data[i] ^= 1;
        }
        assert_int_equal(kv_hash64(data, len), before);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_values_of_xxh3),
        cmocka_unit_test(a_seed_makes_another_function),
        cmocka_unit_test(every_byte_counts_at_every_length),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
