/* tests/jepsen/test_history.c - rows that do not follow are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/history.h"
#include "raft/base/err.h"

static int setup(void **state)
{
    static struct history h;

    history_init(&h);
    *state = &h;
    return 0;
}

static int teardown(void **state)
{
    history_close(*state);
    return 0;
}

static struct history_op row(int32_t process, enum history_type type, enum history_f f)
{
    return (struct history_op){.process = process, .type = type, .f = f};
}

static int put(struct history *h, struct history_op op, int64_t value)
{
    return history_append(h, &op, HISTORY_INT, &value, 1);
}

static void pairs_invocations_with_completions(void **state)
{
    struct history *h = *state;

    assert_int_equal(put(h, row(3, HISTORY_INVOKE, HISTORY_WRITE), 7), 0);
    assert_int_equal(put(h, row(100, HISTORY_INVOKE, HISTORY_READ), 0), 0);
    assert_int_equal(put(h, row(3, HISTORY_OK, HISTORY_WRITE), 7), 0);
    assert_int_equal(put(h, row(100, HISTORY_FAIL, HISTORY_READ), 0), 0);
    assert_int_equal(put(h, row(3, HISTORY_INVOKE, HISTORY_READ), 0), 0);

    assert_int_equal(h->count, 5);
    for (size_t i = 0; i < h->count; i++) {
        assert_int_equal(h->ops[i].index, i);
    }
    assert_int_equal(h->ops[0].mate, 2);
    assert_int_equal(h->ops[2].mate, 0);
    assert_int_equal(h->ops[1].mate, 3);
    assert_int_equal(h->ops[3].mate, 1);
    assert_true(h->ops[4].mate == HISTORY_NO_MATE);
    assert_int_equal(history_ints(h, &h->ops[2].value)[0], 7);
}

static void refuses_rows_that_do_not_follow(void **state)
{
    struct history *h = *state;
    struct history_op late = row(1, HISTORY_INVOKE, HISTORY_READ);
    struct history_op other_key = row(0, HISTORY_OK, HISTORY_WRITE);

    late.time_ns = 100;
    other_key.time_ns = 100;
    other_key.key = 1;
    assert_int_equal(put(h, row(0, HISTORY_OK, HISTORY_WRITE), 1), KV_EINVAL);
    assert_int_equal(put(h, row(-2, HISTORY_INVOKE, HISTORY_WRITE), 1), KV_EINVAL);
    assert_int_equal(
        put(h, row(HISTORY_PROCESSES_MAX, HISTORY_INVOKE, HISTORY_READ), 1), KV_EINVAL);
    assert_int_equal(put(h, row(0, HISTORY_INVOKE, HISTORY_FAULT), 1), KV_EINVAL);
    assert_int_equal(put(h, row(HISTORY_NEMESIS, HISTORY_OK, HISTORY_FAULT), 1),
                     KV_EINVAL);
    assert_int_equal(h->count, 0);

    assert_int_equal(put(h, row(0, HISTORY_INVOKE, HISTORY_WRITE), 1), 0);
    assert_int_equal(put(h, row(0, HISTORY_INVOKE, HISTORY_WRITE), 1), KV_EINVAL);
    assert_int_equal(put(h, row(0, HISTORY_OK, HISTORY_READ), 1), KV_EINVAL);
    assert_int_equal(put(h, late, 1), 0);
    assert_int_equal(put(h, row(0, HISTORY_OK, HISTORY_WRITE), 1),
                     KV_EINVAL); /* time */
    assert_int_equal(put(h, other_key, 1), KV_EINVAL);
    assert_int_equal(h->count, 2);
}

static void a_process_is_silent_after_an_info(void **state)
{
    struct history *h = *state;

    assert_int_equal(put(h, row(0, HISTORY_INVOKE, HISTORY_WRITE), 1), 0);
    assert_int_equal(put(h, row(0, HISTORY_INFO, HISTORY_WRITE), 1), 0);
    assert_int_equal(put(h, row(0, HISTORY_INVOKE, HISTORY_WRITE), 1), KV_EINVAL);
    assert_int_equal(put(h, row(0, HISTORY_OK, HISTORY_WRITE), 1), KV_EINVAL);
    assert_int_equal(put(h, row(5, HISTORY_INVOKE, HISTORY_WRITE), 1), 0);
}

static void keeps_texts_of_its_own(void **state)
{
    struct history *h = *state;
    char text[] = "start-partition n1 | n2,n3";
    struct history_op op = row(HISTORY_NEMESIS, HISTORY_INFO, HISTORY_FAULT);

    op.text = text;
    assert_int_equal(history_append(h, &op, HISTORY_TEXT, NULL, 0), 0);
    memset(text, 'x', sizeof text - 1);
    assert_string_equal(h->ops[0].text, "start-partition n1 | n2,n3");
    assert_true(h->ops[0].mate == HISTORY_NO_MATE);
}

static void unpacks_the_micro_operations_that_were_packed(void **state)
{
    struct history *h = *state;
    const int64_t ids[] = {4, -1, INT64_MAX};
    const struct history_micro in[] = {
        {.is_append = true, .key = UINT32_MAX, .element = INT64_MIN},
        {.key = 2, .is_nil = true},
        {.key = 3, .ids = ids, .ids_count = 3},
        {.key = 4},
    };
    struct history_micro m;
    int64_t ints[16];
    uint32_t n = history_micro_pack(in, 4, ints, 16);
    struct history_op op = row(0, HISTORY_INVOKE, HISTORY_TXN);
    uint32_t at = 0;

    assert_int_equal(n, 2 + 1 + 5 + 2);
    assert_int_equal(history_micro_pack(in, 4, NULL, 0), n);
    assert_int_equal(history_append(h, &op, HISTORY_MICRO, ints, n), 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(history_micro_next(h, &h->ops[0].value, &at, &m));
        assert_int_equal(m.is_append, in[i].is_append);
        assert_int_equal(m.key, in[i].key);
        assert_int_equal(m.is_nil, in[i].is_nil);
        assert_int_equal(m.element, in[i].element);
        assert_int_equal(m.ids_count, in[i].ids_count);
        assert_true(m.ids_count == 0 || memcmp(m.ids, ids, sizeof ids) == 0);
    }
    assert_false(history_micro_next(h, &h->ops[0].value, &at, &m));
}

static void does_not_believe_a_packed_count(void **state)
{
    struct history *h = *state;
    const int64_t longer[] = {2, 3, 1, 1};
    const int64_t negative[] = {2, -1};
    const int64_t cut[] = {0};
    const struct {
        const int64_t *ints;
        uint32_t count;
    } cases[] = {{longer, 4}, {negative, 2}, {cut, 1}};
    struct history_micro m;

    for (int32_t i = 0; i < 3; i++) {
        struct history_op op = row(i, HISTORY_INVOKE, HISTORY_TXN);
        uint32_t at = 0;

        assert_int_equal(
            history_append(h, &op, HISTORY_MICRO, cases[i].ints, cases[i].count), 0);
        assert_false(history_micro_next(h, &h->ops[i].value, &at, &m));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pairs_invocations_with_completions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_rows_that_do_not_follow, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_process_is_silent_after_an_info, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(keeps_texts_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(unpacks_the_micro_operations_that_were_packed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(does_not_believe_a_packed_count, setup,
                                        teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/history", tests, NULL, NULL);
}
