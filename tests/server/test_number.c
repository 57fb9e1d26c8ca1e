/* tests/server/test_number.c - decimal int64, to its ends and no further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "raft/base/prng.h"
#include "server/number.h"

static void numbers_come_back(void **state)
{
    static const int64_t ends[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    uint8_t text[NUMBER_BYTES_MAX];
    struct prng p;
    int64_t back;

    (void)state;
    prng_init(&p, 3);
    for (int i = 0; i < 20000; i++) {
        int64_t n = i < 6 ? ends[i] : (int64_t)(prng_next(&p) >> prng_below(&p, 64));

        assert_true(number_parse(kv_bytes(text, number_print(n, text)), &back));
        assert_true(back == n);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "0x1",
                                        "--1",
                                        "9223372036854775808",
                                        "1a",
                                        "a1",
                                        "-9223372036854775809",
                                        "99999999999999999999",
                                        "000000000000000000001"};
    int64_t out;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (number_parse(kv_bytes_str(texts[i]), &out)) {
            fail_msg("\"%s\" is a number", texts[i]);
        }
    }
    assert_true(number_parse(kv_bytes_str("-9223372036854775808"), &out));
    assert_true(number_parse(kv_bytes_str("007"), &out) && out == 7);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(what_is_no_number_is_refused),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/number", tests, NULL, NULL);
}
