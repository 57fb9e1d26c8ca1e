/* tests/base/test_err.c - every error of the list has a text, a name and an outcome. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raft/base/check.h"
#include "raft/base/err.h"

static const int codes[] = {
#define ERR_CODE(name, number, word, outcome, text) name,
    KV_ERR_MAP(ERR_CODE)
#undef ERR_CODE
};

static void every_code_has_a_text_a_name_and_lies_in_the_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(codes); i++) {
        assert_in_range(-codes[i], -KV_ERR_LAST, -KV_ERR_FIRST);
        assert_string_not_equal(kv_err_text(codes[i]), "unknown error");
        assert_string_not_equal(kv_err_text(codes[i]), "");
        assert_string_not_equal(kv_err_name(codes[i]), "KV_E?");
        assert_int_not_equal(kv_err_outcome(codes[i]), KV_OUTCOME_DONE);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
        }
    }
}

static void words_lead_back_to_their_codes(void **state)
{
    size_t words = 0;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(codes); i++) {
        const char *word = kv_err_word(codes[i]);

        if (word[0] != '\0') {
            assert_int_equal(kv_err_from_word(word, strlen(word)), codes[i]);
            words++;
        }
    }
    assert_int_equal(words, 16);
    assert_int_equal(kv_err_from_word("BUSYX", 5), KV_EUNKNOWN);
    assert_int_equal(kv_err_from_word("BUS", 3), KV_EUNKNOWN);
    assert_int_equal(kv_err_from_word("", 0), KV_EUNKNOWN);
}

static void only_certain_errors_say_not_done(void **state)
{
    (void)state;
    assert_int_equal(kv_err_outcome(0), KV_OUTCOME_DONE);
    assert_int_equal(kv_err_outcome(KV_EUNKNOWN), KV_OUTCOME_UNKNOWN);
    assert_int_equal(kv_err_outcome(KV_ECLOSED), KV_OUTCOME_UNKNOWN);
    assert_int_equal(kv_err_outcome(KV_EIO), KV_OUTCOME_UNKNOWN);
    assert_int_equal(kv_err_outcome(KV_EBUSY), KV_OUTCOME_NOT_DONE);
    assert_int_equal(kv_err_outcome(KV_ETIMEOUT), KV_OUTCOME_NOT_DONE);
}

static void foreign_codes_are_recognised(void **state)
{
    const int foreign[] = {
        -1, -110, -4095, -30798, 5, KV_ERR_FIRST - 1, KV_ERR_LAST + 1};

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(foreign); i++) {
        assert_string_equal(kv_err_text(foreign[i]), "unknown error");
        assert_string_equal(kv_err_name(foreign[i]), "KV_E?");
        assert_string_equal(kv_err_word(foreign[i]), "");
        assert_int_equal(kv_err_outcome(foreign[i]), KV_OUTCOME_UNKNOWN);
    }
}

static void a_failed_disk_is_fatal_and_weather_is_not(void **state)
{
    (void)state;
    assert_true(kv_err_is_fatal(KV_EIO));
    assert_true(kv_err_is_fatal(KV_ECORRUPT));
    assert_true(kv_err_is_fatal(KV_ELOST));
    assert_true(kv_err_is_fatal(KV_EFORMAT));
    assert_false(kv_err_is_fatal(0));
    assert_false(kv_err_is_fatal(KV_EBUSY));
    assert_false(kv_err_is_fatal(KV_ENOSPACE));
    assert_false(kv_err_is_fatal(KV_ETIMEOUT));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_text_a_name_and_lies_in_the_range),
        cmocka_unit_test(words_lead_back_to_their_codes),
        cmocka_unit_test(only_certain_errors_say_not_done),
        cmocka_unit_test(foreign_codes_are_recognised),
        cmocka_unit_test(a_failed_disk_is_fatal_and_weather_is_not),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
