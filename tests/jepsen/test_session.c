/* tests/jepsen/test_session.c - the checkers of sessions and of increments that count
 * once, on histories made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/once.h"
#include "jepsen/checker/session.h"

/* An operation that ends before the next one begins, unless `open`. */
struct step {
    int32_t process;
    enum history_f f;
    uint32_t key;
    int64_t asked; /* -1: nil. A read: whose token. */
    enum history_type end;
    int64_t answer; /* -1: nil */
    uint64_t rev;
};

static void make(struct history *h, const struct step *steps, uint32_t count)
{
    history_init(h);
    for (uint32_t i = 0; i < count; i++) {
        const struct step *s = &steps[i];
        struct history_op op = {.process = s->process, .f = s->f, .key = s->key};

        assert_int_equal(history_append(h, &op,
                                        s->asked < 0 ? HISTORY_NIL : HISTORY_INT,
                                        &s->asked, s->asked >= 0),
                         0);
        op.type = s->end;
        op.rev = s->rev;
        op.at_rev = s->rev;
        assert_int_equal(history_append(h, &op,
                                        s->answer < 0 ? HISTORY_NIL : HISTORY_INT,
                                        &s->answer, s->answer >= 0),
                         0);
    }
}

static void expect(void (*check)(const struct history *h, struct verdict *out),
                   const struct step *steps, uint32_t count, const char *kind)
{
    struct history h;
    struct verdict v;

    make(&h, steps, count);
    check(&h, &v);
    if (kind[0] == '?') {
        assert_int_equal(v.valid, VERDICT_UNKNOWN);
    } else if (kind[0] == '\0') {
        assert_int_equal(v.valid, VERDICT_VALID);
    } else {
        assert_int_equal(v.valid, VERDICT_INVALID);
        assert_string_equal(v.anomalies[0].kind, kind);
    }
    verdict_close(&v);
    history_close(&h);
}

#define EXPECT(check, kind, ...)                                                \
    do {                                                                        \
        const struct step steps[] = {__VA_ARGS__};                              \
        expect(check, steps, (uint32_t)(sizeof steps / sizeof steps[0]), kind); \
    } while (0)

/* Process, key, value or whose token, revision. */
#define PUT(p, k, v, r)                          \
    {                                            \
        p, HISTORY_WRITE, k, v, HISTORY_OK, v, r \
    }
#define GET(p, k, v, r)                          \
    {                                            \
        p, HISTORY_READ, k, -1, HISTORY_OK, v, r \
    }
#define TAKE(p, k, g, v, r)                     \
    {                                           \
        p, HISTORY_READ, k, g, HISTORY_OK, v, r \
    }
#define ADD(p, e)                     \
    {                                 \
        p, HISTORY_ADD, 0, 1, e, 1, 0 \
    }
#define SUM(p, v)                                \
    {                                            \
        p, HISTORY_READ, 0, -1, HISTORY_OK, v, 0 \
    }

static void a_session_sees_its_own_writes_and_what_it_read(void **state)
{
    (void)state;
    EXPECT(session_check, "", PUT(0, 1, 5, 10), GET(0, 1, 5, 10));
    EXPECT(session_check, "", PUT(0, 1, 5, 10), GET(0, 1, 6, 12));
    EXPECT(session_check, "own-write-unseen", PUT(0, 1, 5, 10), GET(0, 1, 4, 9));
    EXPECT(session_check, "own-write-unseen", PUT(0, 1, 5, 10), GET(0, 1, -1, 0));
    EXPECT(session_check, "read-backwards", PUT(1, 1, 4, 9), PUT(1, 1, 5, 10),
           GET(0, 1, 5, 10), GET(0, 1, 4, 9));
    EXPECT(session_check, "write-backwards", PUT(0, 1, 5, 10), PUT(0, 1, 6, 9));
    /* Others may lag, and keys say nothing about each other. */
    EXPECT(session_check, "", PUT(0, 1, 5, 10), GET(1, 1, -1, 0), GET(0, 2, -1, 0),
           GET(0, 1, 5, 10));
    EXPECT(session_check, "?", PUT(0, 1, 5, 10), GET(1, 1, 5, 10));
}

static void a_token_brings_all_that_its_giver_has_seen(void **state)
{
    (void)state;
    EXPECT(session_check, "", PUT(0, 1, 5, 10), TAKE(1, 1, 0, 5, 10));
    EXPECT(session_check, "not-causal", PUT(0, 1, 5, 10), TAKE(1, 1, 0, -1, 0));
    /* Across keys, and through a third one who never touched the first key. */
    EXPECT(session_check, "not-causal", PUT(0, 1, 5, 10), TAKE(1, 2, 0, -1, 0),
           TAKE(2, 3, 1, -1, 0), GET(2, 1, -1, 0));
    EXPECT(session_check, "", PUT(0, 1, 5, 10), TAKE(1, 2, 0, -1, 0),
           TAKE(2, 3, 1, -1, 0), GET(2, 1, 5, 10));
    /* What the giver saw later does not come with it. */
    EXPECT(session_check, "", PUT(0, 1, 4, 9), TAKE(1, 2, 0, -1, 0), PUT(0, 1, 5, 10),
           GET(1, 1, 4, 9));
}

static void a_revision_has_one_value(void **state)
{
    (void)state;
    EXPECT(session_check, "two-values", PUT(0, 1, 5, 10), GET(0, 1, 6, 10));
    EXPECT(session_check, "two-values", GET(0, 1, 5, 10), GET(1, 1, 6, 10));
}

static void increments_count_exactly_once(void **state)
{
    (void)state;
    EXPECT(once_check, "", ADD(0, HISTORY_OK), ADD(1, HISTORY_OK), SUM(0, 2));
    EXPECT(once_check, "lost", ADD(0, HISTORY_OK), ADD(1, HISTORY_OK), SUM(0, 1));
    EXPECT(once_check, "twice", ADD(0, HISTORY_OK), ADD(1, HISTORY_OK), SUM(0, 3));
    EXPECT(once_check, "twice", ADD(0, HISTORY_FAIL), ADD(0, HISTORY_OK), SUM(0, 2));
    /* Reads in between are the counter checker's. */
    EXPECT(once_check, "", SUM(2, 9), ADD(0, HISTORY_OK), SUM(0, 1));
    EXPECT(once_check, "?", ADD(0, HISTORY_OK), SUM(0, 1), ADD(0, HISTORY_OK));
    EXPECT(once_check, "?", SUM(0, 0));
}

static void unknown_increments_are_bounded(void **state)
{
    struct step steps[202];

    (void)state;
    for (int32_t i = 0; i < 200; i++) {
        steps[i] = (struct step)ADD(i, i < 2 ? HISTORY_INFO : HISTORY_OK);
    }
    steps[200] = (struct step)SUM(500, 198);
    expect(once_check, steps, 201, "");
    steps[200] = (struct step)SUM(500, 200);
    expect(once_check, steps, 201, "");
    steps[200] = (struct step)SUM(500, 201);
    expect(once_check, steps, 201, "twice");
    steps[2].end = HISTORY_INFO;
    steps[200] = (struct step)SUM(500, 200);
    expect(once_check, steps, 201, "?");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_sees_its_own_writes_and_what_it_read),
        cmocka_unit_test(a_token_brings_all_that_its_giver_has_seen),
        cmocka_unit_test(a_revision_has_one_value),
        cmocka_unit_test(increments_count_exactly_once),
        cmocka_unit_test(unknown_increments_are_bounded),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/session", tests, NULL, NULL);
}
