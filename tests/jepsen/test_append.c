/* tests/jepsen/test_append.c - each anomaly of list-append by name, and all orders. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/append.h"
#include "jepsen/format/read.h"
#include "tests/lib/history_gen.h"

enum {
    SEEDS = 12000,
    KEYS = 2,
    LIST_MAX = 40,
    TXNS_MAX = 8,
};

#define BEGIN(p, v) "{:type :invoke :process " p " :f :txn :value " v "}"
#define OK(p, v)    "{:type :ok :process " p " :f :txn :value " v "}"
#define FAIL(p, v)  "{:type :fail :process " p " :f :txn :value " v "}"
#define INFO(p, v)  "{:type :info :process " p " :f :txn :value " v "}"
/* One alone: `a` is asked, `b` answered. */
#define ALONE(p, a, b) BEGIN(p, a) OK(p, b)
#define READ(p, k, l)  ALONE(p, "[[:r " k " nil]]", "[[:r " k " " l "]]")
#define ADD(p, k, e)   ALONE(p, "[[:append " k " " e "]]", "[[:append " k " " e "]]")

/* Names of all anomalies found, in order, with blanks between. */
static void judge(const char *text, char *out, size_t cap,
                  enum verdict_valid *out_valid)
{
    struct read_error error;
    struct history h;
    struct verdict v;
    size_t len = 0;
    int rc = read_history(kv_bytes_str(text), HISTORY_APPEND, &h, &error);

    if (rc != 0) {
        fail_msg("%s", error.text);
    }
    append_check(&h, &v);
    out[0] = '\0';
    for (uint32_t i = 0; i < v.anomalies_count && len < cap; i++) {
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i == 0 ? "" : " ",
                                v.anomalies[i].kind);
    }
    *out_valid = v.valid;
    verdict_close(&v);
    history_close(&h);
}

static void expect(const char *text, const char *names)
{
    enum verdict_valid valid;
    char found[512];

    judge(text, found, sizeof found, &valid);
    assert_string_equal(found, names);
    assert_int_equal(valid, names[0] == '\0' ? VERDICT_VALID : VERDICT_INVALID);
}

static void accepts_what_has_an_order(void **state)
{
    (void)state;
    expect(ADD("0", "1", "1") READ("1", "1", "[1]") ADD("0", "1", "2")
               READ("1", "1", "[1 2]"),
           "");
    expect(ADD("0", "1", "1") READ("1", "2", "nil") READ("1", "2", "[]"), "");
    expect(ALONE("0", "[[:append 1 1] [:r 1 nil] [:append 1 2] [:r 1 nil]]",
                 "[[:append 1 1] [:r 1 [1]] [:append 1 2] [:r 1 [1 2]]]"),
           "");
    /* Unknown, and seen; unknown, and never seen. */
    expect(BEGIN("0", "[[:append 1 1]]") INFO("0", "[[:append 1 1]]")
               READ("1", "1", "[1]"),
           "");
    expect(BEGIN("0", "[[:append 1 1]]") READ("1", "1", "[]"), "");
    /* Two at once see neither or the other: not both neither. */
    expect(BEGIN("0", "[[:append 1 1] [:r 2 nil]]")
               BEGIN("1", "[[:append 2 1] [:r 1 nil]]")
                   OK("0", "[[:append 1 1] [:r 2 []]]")
                       OK("1", "[[:append 2 1] [:r 1 [1]]]"),
           "");
}

static void names_what_no_order_needs(void **state)
{
    enum verdict_valid valid;
    char names[128];

    (void)state;
    expect(READ("0", "1", "[7]"), "garbage-read");
    expect(BEGIN("0", "[[:append 1 1]]") FAIL("0", "[[:append 1 1]]")
               READ("1", "1", "[1]"),
           "G1a");
    expect(BEGIN("0", "[[:append 1 1]]") FAIL("0", "[[:append 1 1]]") ADD("1", "1", "2")
               READ("1", "1", "[1 2]"),
           "G1a dirty-update");
    expect(BEGIN("0", "[[:append 1 1] [:append 1 2]]")
               OK("0", "[[:append 1 1] [:append 1 2]]") READ("1", "1", "[1 2]")
                   READ("1", "1", "[1 2]"),
           "");
    expect(BEGIN("0", "[[:append 1 1] [:append 1 2]]") BEGIN("1", "[[:r 1 nil]]")
               OK("1", "[[:r 1 [1]]]") OK("0", "[[:append 1 1] [:append 1 2]]")
                   READ("1", "1", "[1 2]"),
           "G1b G-single");
    expect(ADD("0", "1", "1") READ("1", "1", "[1 1]"), "duplicate-elements");
    expect(BEGIN("0", "[[:append 1 1]]") BEGIN("1", "[[:append 1 2]]")
               BEGIN("2", "[[:r 1 nil]]") BEGIN("3", "[[:r 1 nil]]")
                   OK("2", "[[:r 1 [1 2]]]") OK("3", "[[:r 1 [2]]]"),
           "incompatible-order");
    expect(ALONE("0", "[[:append 1 1] [:r 1 nil]]", "[[:append 1 1] [:r 1 []]]"),
           "internal");
    expect(BEGIN("1", "[[:append 1 1]]")
               ALONE("0", "[[:r 1 nil] [:r 1 nil]]", "[[:r 1 []] [:r 1 [1]]]")
                   OK("1", "[[:append 1 1]]"),
           "internal");
    expect(ALONE("0", "[[:r 1 nil] [:append 1 1]]", "[[:r 1 [1]] [:append 1 1]]"),
           "future-read");
    judge(ADD("0", "1", "1") ADD("1", "1", "1"), names, sizeof names, &valid);
    assert_int_equal(valid, VERDICT_UNKNOWN);
    judge("", names, sizeof names, &valid);
    assert_int_equal(valid, VERDICT_UNKNOWN);
}

/* All begin before any ends, so that nothing but data makes a cycle. */
static void names_cycles_of_data(void **state)
{
    (void)state;
    /* ww one way for list 1, the other for list 2. */
    expect(BEGIN("0", "[[:append 1 1] [:append 2 1]]")
               BEGIN("1", "[[:append 1 2] [:append 2 2]]")
                   BEGIN("2", "[[:r 1 nil] [:r 2 nil]]")
                       OK("0", "[[:append 1 1] [:append 2 1]]")
                           OK("1", "[[:append 1 2] [:append 2 2]]")
                               OK("2", "[[:r 1 [1 2]] [:r 2 [2 1]]]"),
           "G0");
    /* Each reads what the other wrote. */
    expect(BEGIN("0", "[[:append 1 1] [:r 2 nil]]")
               BEGIN("1", "[[:append 2 1] [:r 1 nil]]")
                   OK("0", "[[:append 1 1] [:r 2 [1]]]")
                       OK("1", "[[:append 2 1] [:r 1 [1]]]"),
           "G1c");
    /* Half of the other's writes is seen. */
    expect(BEGIN("0", "[[:append 1 1] [:append 2 1]]")
               BEGIN("1", "[[:r 1 nil] [:r 2 nil]]")
                   OK("0", "[[:append 1 1] [:append 2 1]]")
                       OK("1", "[[:r 1 [1]] [:r 2 []]]"),
           "G-single");
    /* Both read before the other wrote: write skew. */
    expect(BEGIN("0", "[[:append 1 1] [:r 2 nil]]")
               BEGIN("1", "[[:append 2 1] [:r 1 nil]]")
                   OK("0", "[[:append 1 1] [:r 2 []]]")
                       OK("1", "[[:append 2 1] [:r 1 []]]"),
           "G2-item");
    /* A long fork: two readers see two writes in two orders. */
    expect(BEGIN("0", "[[:append 1 1]]") BEGIN("1", "[[:append 2 1]]")
               BEGIN("2", "[[:r 1 nil] [:r 2 nil]]")
                   BEGIN("3", "[[:r 1 nil] [:r 2 nil]]") OK("0", "[[:append 1 1]]")
                       OK("1", "[[:append 2 1]]") OK("2", "[[:r 1 [1]] [:r 2 []]]")
                           OK("3", "[[:r 1 []] [:r 2 [1]]]"),
           "G-nonadjacent");
    /* Two rw in a row, then a wr. */
    expect(
        BEGIN("0", "[[:r 1 nil] [:r 3 nil]]") BEGIN("1", "[[:append 1 1] [:r 2 nil]]")
            BEGIN("2", "[[:append 2 1] [:append 3 1]]")
                OK("0", "[[:r 1 []] [:r 3 [1]]]") OK("1", "[[:append 1 1] [:r 2 []]]")
                    OK("2", "[[:append 2 1] [:append 3 1]]"),
        "G2-item");
    /* Both build upon the same version. */
    expect(BEGIN("0", "[[:r 1 nil] [:append 1 1]]")
               BEGIN("1", "[[:r 1 nil] [:append 1 2]]")
                   OK("0", "[[:r 1 []] [:append 1 1]]")
                       OK("1", "[[:r 1 []] [:append 1 2]]"),
           "lost-update G2-item");
}

static void names_cycles_of_time(void **state)
{
    (void)state;
    /* One client does not see its own write; another one does not see it either. */
    expect(ADD("0", "1", "1") READ("0", "1", "[]"), "G-single-process");
    expect(ADD("0", "1", "1") READ("1", "1", "[]"), "G-single-realtime");
    expect(ADD("0", "1", "1") READ("1", "1", "[]") READ("2", "1", "[1]"),
           "G-single-realtime");
    expect(ADD("0", "1", "2") ADD("1", "1", "1") READ("2", "1", "[1 2]"),
           "G0-realtime");
    expect(BEGIN("0", "[[:append 1 1]]") READ("1", "1", "[1]") READ("2", "1", "[]")
               OK("0", "[[:append 1 1]]"),
           "G-single-realtime");
    expect(READ("1", "1", "[1]") ADD("0", "1", "1"), "G1c-realtime");
}

static void shows_the_transactions_of_a_cycle(void **state)
{
    struct read_error error;
    struct history h;
    struct verdict v;

    (void)state;
    assert_int_equal(
        read_history(kv_bytes_str(READ("5", "9", "[]") ADD("0", "1", "1")
                                      ADD("5", "9", "3") READ("1", "1", "[]")),
                     HISTORY_APPEND, &h, &error),
        0);
    append_check(&h, &v);
    assert_int_equal(v.anomalies_count, 1);
    assert_int_equal(v.anomalies[0].ops_count, 4);
    assert_int_equal(v.anomalies[0].ops[0], 2);
    assert_int_equal(v.anomalies[0].ops[2], 6);
    assert_non_null(strstr(v.text, "-rw->"));
    assert_non_null(strstr(v.text, "-realtime->"));
    verdict_close(&v);
    history_close(&h);
}

/* ---- against all orders ---- */

struct lists {
    int64_t ids[KEYS][LIST_MAX];
    uint32_t count[KEYS];
};

static bool txn_fits(const struct history *h, const struct history_op *call,
                     const struct history_op *end, struct lists *l)
{
    struct history_micro m;
    uint32_t at = 0;

    while (history_micro_next(h, end == NULL ? &call->value : &end->value, &at, &m)) {
        if (m.is_append) {
            l->ids[m.key][l->count[m.key]++] = m.element;
        } else if (end != NULL &&
                   (m.ids_count != l->count[m.key] ||
                    (m.ids_count > 0 &&
                     memcmp(m.ids, l->ids[m.key], m.ids_count * sizeof *m.ids) != 0))) {
            return false;
        }
    }
    return true;
}

static bool naive(const struct history *h, uint64_t taken, const struct lists *l)
{
    uint64_t first_end = HISTORY_NO_MATE;
    bool done = true;

    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];

        if (op->type == HISTORY_OK && (taken >> op->mate & 1) == 0) {
            first_end = KV_MIN(first_end, i);
            done = false;
        }
    }
    for (size_t i = 0; i < h->count && i < first_end && !done; i++) {
        const struct history_op *op = &h->ops[i];
        const struct history_op *end =
            op->mate == HISTORY_NO_MATE ? NULL : &h->ops[op->mate];
        struct lists next = *l;

        if (op->type != HISTORY_INVOKE || (taken >> i & 1) != 0 ||
            (end != NULL && end->type == HISTORY_FAIL)) {
            continue;
        }
        done = txn_fits(h, op, end == NULL || end->type != HISTORY_OK ? NULL : end,
                        &next) &&
               naive(h, taken | (uint64_t)1 << i, &next);
    }
    return done;
}

static void refuses_only_what_has_no_order(void **state)
{
    uint32_t wrong = 0;
    uint32_t found = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct gen_options o = {.seed = seed,
                                .ops = (uint32_t)(3 + seed % (TXNS_MAX - 2)),
                                .clients = 3,
                                .keys = KEYS,
                                .groups = 1,
                                .unknown = 100,
                                .bug_rate = 200,
                                .bug = (enum gen_bug)(seed % GEN_BUGS),
                                .txn_max = 3};
        struct lists empty = {.count = {0}};
        struct history h;
        struct verdict v;
        bool expected;

        history_init(&h);
        gen_append(&h, &o);
        expected = naive(&h, 0, &empty);
        append_check(&h, &v);
        if (v.valid == VERDICT_INVALID && expected) {
            fail_msg("seed %d: %s: %s", (int)seed, v.anomalies[0].kind, v.text);
        }
        assert_true(o.bug != GEN_NONE || expected);
        wrong += !expected;
        found += v.valid == VERDICT_INVALID;
        verdict_close(&v);
        history_close(&h);
    }
    print_message("append: %u of %u wrong histories found\n", found, wrong);
    assert_true(wrong > SEEDS / 5 && found * 100 >= wrong * 95);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_has_an_order),
        cmocka_unit_test(names_what_no_order_needs),
        cmocka_unit_test(names_cycles_of_data),
        cmocka_unit_test(names_cycles_of_time),
        cmocka_unit_test(shows_the_transactions_of_a_cycle),
        cmocka_unit_test(refuses_only_what_has_no_order),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/append", tests, NULL, NULL);
}
