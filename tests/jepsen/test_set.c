/* tests/jepsen/test_set.c - sets, counters, ids and banks, right and wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/bank.h"
#include "jepsen/checker/counter.h"
#include "jepsen/checker/set.h"
#include "jepsen/checker/unique.h"
#include "jepsen/format/read.h"
#include "raft/base/prng.h"
#include "tests/lib/naive_order.h"

enum {
    SEEDS = 20000,
};

static void load(struct history *h, enum history_workload workload, const char *text)
{
    struct read_error error;
    int rc = read_history(kv_bytes_str(text), workload, h, &error);

    if (rc != 0) {
        fail_msg("line %d: %s", (int)error.line, error.text);
    }
}

/* Expects the kind of the first anomaly; "" valid, "?" unknown. */
static void expect(const struct verdict *v, const char *kind)
{
    if (kind[0] == '\0') {
        assert_int_equal(v->valid, VERDICT_VALID);
    } else if (kind[0] == '?') {
        assert_int_equal(v->valid, VERDICT_UNKNOWN);
    } else {
        assert_int_equal(v->valid, VERDICT_INVALID);
        assert_string_equal(v->anomalies[0].kind, kind);
    }
}

static void expect_set(const char *text, enum set_mode mode, const char *kind)
{
    struct history h;
    struct verdict v;

    load(&h, HISTORY_SET, text);
    set_check(&h, mode, &v);
    expect(&v, kind);
    verdict_close(&v);
    history_close(&h);
}

#define ADD(p, e)                                         \
    "{:type :invoke :process " p " :f :add :value " e "}" \
    "{:type :ok :process " p " :f :add :value " e "}"
#define READ(p, l)                                       \
    "{:type :invoke :process " p " :f :read :value nil}" \
    "{:type :ok :process " p " :f :read :value " l "}"

static void tells_lost_from_stale_elements(void **state)
{
    (void)state;
    expect_set(ADD("0", "1") READ("0", "[1]"), SET_ATOMIC, "");
    expect_set(ADD("0", "1") READ("0", "[]"), SET_EVENTUAL, "lost-element");
    expect_set(ADD("0", "1") READ("0", "[1]") READ("0", "[]"), SET_EVENTUAL,
               "lost-element");
    expect_set(ADD("0", "1") READ("0", "[]") READ("0", "[1]"), SET_FRESH,
               "stale-element");
    expect_set(ADD("0", "1") READ("0", "[]") READ("0", "[1]"), SET_EVENTUAL, "");
    expect_set(ADD("0", "1"), SET_FRESH, "?");
    expect_set(READ("0", "[3]"), SET_FRESH, "phantom-element");
    expect_set(ADD("0", "1") READ("0", "[1 1]"), SET_FRESH, "duplicate-element");
    expect_set("{:type :invoke :process 0 :f :add :value 1}"
               "{:type :fail :process 0 :f :add :value 1}" READ("0", "[1]"),
               SET_FRESH, "failed-element");
    expect_set(ADD("0", "1") ADD("0", "1") READ("0", "[1]"), SET_FRESH, "?");
}

/* Two reads at once, each with an element that the other misses: no order of one-look
 * reads has both, a range over several groups may. */
static void atomic_looks_must_be_nested(void **state)
{
    const char *const text =
        "{:type :invoke :process 0 :f :add :value 1}"
        "{:type :invoke :process 1 :f :add :value 2}"
        "{:type :invoke :process 2 :f :read}{:type :invoke :process 3 :f :read}"
        "{:type :ok :process 2 :f :read :value [1]}"
        "{:type :ok :process 3 :f :read :value [2]}"
        "{:type :ok :process 0 :f :add :value 1}"
        "{:type :ok :process 1 :f :add :value 2}"
        "{:type :invoke :process 0 :f :read}"
        "{:type :ok :process 0 :f :read :value [1 2]}";

    (void)state;
    expect_set(text, SET_FRESH, "");
    expect_set(text, SET_ATOMIC, "incompatible-reads");
}

static void counts_time_from_known_to_stable(void **state)
{
    struct history h;
    struct verdict v;

    (void)state;
    load(&h, HISTORY_SET,
         "{:time 0 :type :invoke :process 0 :f :add :value 1}"
         "{:time 1000000 :type :ok :process 0 :f :add :value 1}"
         "{:time 3000000 :type :invoke :process 0 :f :read}"
         "{:time 4000000 :type :ok :process 0 :f :read :value []}"
         "{:time 5000000 :type :invoke :process 0 :f :read}"
         "{:time 6000000 :type :ok :process 0 :f :read :value [1]}");
    set_check(&h, SET_EVENTUAL, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    assert_string_equal(v.facts[v.facts_count - 1].name, "stable_max_ms");
    assert_true(v.facts[v.facts_count - 1].value == 2.0);
    verdict_close(&v);
    history_close(&h);
}

/* ---- against all orders ---- */

/* Adds and reads of a few clients; reads see what is there, or sometimes something
 * else. `is_set`: elements, else a counter. */
static void random_history(struct history *h, uint64_t seed, bool is_set)
{
    bool open[3] = {false};
    int64_t pending[3] = {0};
    struct prng p;
    int64_t now = 0;
    uint32_t ops = 0;
    int64_t next = 0;

    prng_init(&p, seed);
    history_init(h);
    for (uint32_t i = 0; i < 60 && ops < 9; i++) {
        int32_t c = (int32_t)prng_below(&p, 3);
        struct history_op op = {.process = c};
        int64_t ints[64];
        uint32_t n = 0;

        if (!open[c]) {
            op.f = prng_below(&p, 2) == 0 ? HISTORY_ADD : HISTORY_READ;
            pending[c] = op.f == HISTORY_READ ? -1
                         : is_set             ? next++
                                              : (int64_t)prng_below(&p, 3) + 1;
            ints[0] = pending[c];
            assert_int_equal(
                history_append(h, &op, op.f == HISTORY_READ ? HISTORY_NIL : HISTORY_INT,
                               ints, op.f != HISTORY_READ),
                0);
            open[c] = true;
            ops++;
            continue;
        }
        open[c] = false;
        op.type = HISTORY_OK;
        if (pending[c] >= 0) {
            op.f = HISTORY_ADD;
            ints[0] = pending[c];
            op.type = prng_below(&p, 8) == 0 ? HISTORY_FAIL : HISTORY_OK;
            now = op.type == HISTORY_FAIL ? now
                  : is_set                ? now | (int64_t)1 << pending[c]
                                          : now + pending[c];
            assert_int_equal(history_append(h, &op, HISTORY_INT, ints, 1), 0);
            continue;
        }
        op.f = HISTORY_READ;
        if (!is_set) {
            ints[0] = now + (prng_below(&p, 5) == 0 ? (int64_t)prng_below(&p, 3) : 0);
            assert_int_equal(history_append(h, &op, HISTORY_INT, ints, 1), 0);
            continue;
        }
        for (int64_t e = 0; e < next; e++) {
            bool is_in = (now >> e & 1) != 0;

            if (prng_below(&p, 12) == 0 ? !is_in : is_in) {
                ints[n++] = e;
            }
        }
        assert_int_equal(history_append(h, &op, HISTORY_LIST, ints, n), 0);
    }
}

static void atomic_sets_agree_with_trying_every_order(void **state)
{
    uint32_t valid = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history h;
        struct verdict v;
        bool expected;

        random_history(&h, seed, true);
        expected = naive_order(&h, naive_set);
        set_check(&h, SET_ATOMIC, &v);
        if ((v.valid != VERDICT_INVALID) != expected) {
            fail_msg("seed %d: %s %s", (int)seed, verdict_name(v.valid), v.text);
        }
        valid += expected;
        verdict_close(&v);
        history_close(&h);
    }
    assert_in_range(valid, SEEDS / 5, SEEDS * 4 / 5);
}

/* The bounds are wider than all orders: what they refuse has none, and they refuse most
 * of what has none. */
static void counters_refuse_only_what_has_no_order(void **state)
{
    uint32_t wrong = 0;
    uint32_t found = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history h;
        struct verdict v;
        bool expected;

        random_history(&h, seed, false);
        expected = naive_order(&h, naive_counter);
        counter_check(&h, &v);
        if (v.valid == VERDICT_INVALID && expected) {
            fail_msg("seed %d: %s", (int)seed, v.text);
        }
        wrong += !expected;
        found += v.valid == VERDICT_INVALID;
        verdict_close(&v);
        history_close(&h);
    }
    print_message("counter: %u of %u wrong histories found\n", found, wrong);
    assert_true(wrong > SEEDS / 10 && found * 2 > wrong);
}

/* ---- counters, ids, banks by hand ---- */

static void expect_counter(const char *text, const char *kind)
{
    struct history h;
    struct verdict v;

    load(&h, HISTORY_COUNTER, text);
    counter_check(&h, &v);
    expect(&v, kind);
    verdict_close(&v);
    history_close(&h);
}

static void counters_stay_within_what_was_added(void **state)
{
    const char *const unknown = "{:type :invoke :process 9 :f :add :value 5}"
                                "{:type :info :process 9 :f :add :value 5}";
    char text[1024];

    (void)state;
    expect_counter(ADD("0", "2") READ("0", "2"), "");
    expect_counter(ADD("0", "2") READ("0", "1"), "below");
    expect_counter(ADD("0", "2") READ("0", "4"), "above"); /* twice */
    expect_counter(ADD("0", "-2") READ("0", "-2"), "");
    expect_counter(ADD("0", "-2") READ("0", "0"), "above");
    expect_counter(ADD("0", "1"), "?");
    snprintf(text, sizeof text, "%s%s", unknown, READ("0", "5") READ("0", "5"));
    expect_counter(text, "");
    snprintf(text, sizeof text, "%s%s", unknown, READ("0", "5") READ("0", "0"));
    expect_counter(text, "backwards");
    expect_counter("{:type :invoke :process 0 :f :add :value 2}"
                   "{:type :fail :process 0 :f :add :value 2}" READ("0", "2"),
                   "above");
    expect_counter(
        "{:type :invoke :process 1 :f :add :value 9223372036854775807}"
        "{:type :invoke :process 2 :f :add :value 9223372036854775807}" READ("0", "0"),
        "?");
}

static void an_id_is_given_out_once(void **state)
{
    const char *const text = "{:type :invoke :process 0 :f :generate}"
                             "{:type :ok :process 0 :f :generate :value 4}"
                             "{:type :invoke :process 1 :f :generate}"
                             "{:type :ok :process 1 :f :generate :value %d}";
    char filled[512];
    struct history h;
    struct verdict v;

    (void)state;
    for (int id = 4; id <= 5; id++) {
        snprintf(filled, sizeof filled, text, id);
        load(&h, HISTORY_UNIQUE, filled);
        unique_check(&h, &v);
        expect(&v, id == 4 ? "duplicate-id" : "");
        verdict_close(&v);
        history_close(&h);
    }
    history_init(&h);
    unique_check(&h, &v);
    expect(&v, "?");
    verdict_close(&v);
}

static void a_bank_keeps_its_total(void **state)
{
    static const struct {
        const char *text;
        int64_t total;
        const char *kind;
    } cases[] = {
        {READ("0", "{0 5, 1 5}") READ("0", "{0 7, 1 3}"), 10, ""},
        {READ("0", "{0 5, 1 5}") READ("0", "{0 7, 1 4}"), BANK_TOTAL_UNKNOWN,
         "wrong-total"},
        {READ("0", "{0 5, 1 5}"), 11, "wrong-total"},
        {READ("0", "{0 11, 1 -1}"), 10, "negative-balance"},
        {READ("0", "{0 5, 1 5}") READ("0", "{0 10}"), 10, "wrong-accounts"},
        {"", 10, "?"},
    };

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(cases); i++) {
        struct history h;
        struct verdict v;

        load(&h, HISTORY_BANK, cases[i].text);
        bank_check(&h, cases[i].total, &v);
        expect(&v, cases[i].kind);
        verdict_close(&v);
        history_close(&h);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_lost_from_stale_elements),
        cmocka_unit_test(atomic_looks_must_be_nested),
        cmocka_unit_test(counts_time_from_known_to_stable),
        cmocka_unit_test(atomic_sets_agree_with_trying_every_order),
        cmocka_unit_test(counters_stay_within_what_was_added),
        cmocka_unit_test(counters_refuse_only_what_has_no_order),
        cmocka_unit_test(an_id_is_given_out_once),
        cmocka_unit_test(a_bank_keeps_its_total),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/set", tests, NULL, NULL);
}
