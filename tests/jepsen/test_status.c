/* tests/jepsen/test_status.c - states of replicas, read and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/status.h"
#include "raft/base/err.h"

static const char page[] =
    "{\"node\":2,\"meta\":{\"id\":0,\"state_index\":4,"
    "\"state_hash\":\"00000000000000aa\"},"
    "\"groups\":[{\"id\":1,\"state_index\":9,\"state_hash\":\"00000000000000bb\"},"
    "{\"id\":2,\"leader\":1}]}";

static void reads_the_states_of_a_node(void **state)
{
    struct status_state out[4];

    (void)state;
    assert_int_equal(status_parse(page, 2, out, 4), 2);
    assert_int_equal(out[0].group, 0);
    assert_int_equal(out[1].group, 1);
    assert_int_equal(out[1].node, 2);
    assert_int_equal(out[1].index, 9);
    assert_string_equal(out[1].hash, "00000000000000bb");
}

static void refuses_what_is_no_status(void **state)
{
    static const char *const bad[] = {
        "", "[]", "{}", "{\"meta\":{\"id\":0},\"groups\":[1]}",
        "{\"meta\":{\"id\":0,\"state_hash\":\"12\"},\"groups\":[]}"};
    struct status_state out[4];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(status_parse(bad[i], 1, out, 4), KV_EPROTO);
    }
    assert_int_equal(status_parse(page, 1, out, 0), 2); /* Counted, not written. */
}

static enum verdict_valid judge(const struct status_state *s, uint32_t n, bool *same)
{
    struct verdict v;
    enum verdict_valid valid;

    verdict_init(&v, "state");
    status_judge(s, n, &v, same);
    valid = v.valid;
    verdict_close(&v);
    return valid;
}

static void equal_states_are_valid(void **state)
{
    const struct status_state s[] = {{1, 1, 5, "a"}, {2, 1, 6, "b"}, {1, 2, 5, "a"}};
    bool same = false;

    (void)state;
    assert_int_equal(judge(s, 3, &same), VERDICT_VALID);
    assert_true(same);
}

static void another_hash_at_the_same_index_is_invalid(void **state)
{
    const struct status_state s[] = {{1, 1, 5, "a"}, {1, 2, 5, "b"}};
    bool same = true;

    (void)state;
    assert_int_equal(judge(s, 2, &same), VERDICT_INVALID);
    assert_false(same);
}

static void another_index_is_unknown(void **state)
{
    const struct status_state s[] = {{1, 1, 5, "a"}, {1, 2, 6, "b"}};
    bool same = true;

    (void)state;
    assert_int_equal(judge(s, 2, &same), VERDICT_UNKNOWN);
    assert_false(same);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_states_of_a_node),
        cmocka_unit_test(refuses_what_is_no_status),
        cmocka_unit_test(equal_states_are_valid),
        cmocka_unit_test(another_hash_at_the_same_index_is_invalid),
        cmocka_unit_test(another_index_is_unknown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
