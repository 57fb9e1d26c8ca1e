/* tests/jepsen/test_linear.c - registers: by hand, and the public etcd histories.
 *
 * The 51 histories are read from $KV_HISTORIES or ../shared/histories; where they are
 * not there, that test is skipped and says so.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/linear.h"
#include "raft/base/err.h"

/* Appends "0 invoke write 3", "1 ok read nil", "2 fail cas 1 2" of a key. A cas that
 * failed looked and did not match. */
static void say(struct history *h, uint32_t key, const char *line)
{
    struct history_op op = {.key = key};
    char type[16];
    char f[16];
    char a[32] = "nil";
    long long b = 0;
    int process;
    int words = sscanf(line, "%d %15s %15s %31s %lld", &process, type, f, a, &b);
    int64_t ints[2] = {strtoll(a, NULL, 10), b};
    enum history_kind kind = strcmp(a, "nil") == 0 ? HISTORY_NIL : HISTORY_INT;

    assert_true(words >= 3);
    op.process = process;
    op.type = type[0] == 'o'              ? HISTORY_OK
              : type[0] == 'f'            ? HISTORY_FAIL
              : strcmp(type, "info") == 0 ? HISTORY_INFO
                                          : HISTORY_INVOKE;
    op.f = f[0] == 'r' ? HISTORY_READ : f[0] == 'w' ? HISTORY_WRITE : HISTORY_CAS;
    if (op.f == HISTORY_CAS) {
        kind = HISTORY_PAIR;
        op.at_rev = op.type == HISTORY_FAIL;
    }
    assert_int_equal(history_append(h, &op, kind, ints,
                                    kind == HISTORY_NIL   ? 0
                                    : kind == HISTORY_INT ? 1
                                                          : 2),
                     0);
}

static void judge(const char *const *lines, struct verdict *out)
{
    struct history h;

    history_init(&h);
    for (; *lines != NULL; lines++) {
        say(&h, 7, *lines);
    }
    linear_check(&h, &LINEAR_LIMITS_DEFAULT, out);
    history_close(&h);
}

static void concurrent_reads_may_see_either_value(void **state)
{
    const char *const lines[] = {
        "0 invoke write 1", "0 ok write 1",  "0 invoke write 2",
        "1 invoke read",    "2 invoke read", "1 ok read 2",
        "2 ok read 1",      "0 ok write 2",  NULL};
    struct verdict v;

    (void)state;
    judge(lines, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
}

static void a_stale_read_is_shown_with_its_key_and_rows(void **state)
{
    const char *const lines[] = {
        "0 invoke write 1", "0 ok write 1",  "0 invoke write 2",
        "0 ok write 2",     "1 invoke read", "1 ok read 1",
        "2 invoke read",    "2 ok read 2",   NULL};
    struct verdict v;

    (void)state;
    judge(lines, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    assert_int_equal(v.anomalies_count, 1);
    assert_int_equal(v.anomalies[0].key, 7);
    assert_int_equal(v.anomalies[0].ops_count, 4);
    assert_int_equal(v.anomalies[0].ops[0], 2); /* write 2 */
    assert_int_equal(v.anomalies[0].ops[3], 5); /* read 1 */
    verdict_close(&v);
}

static void an_unknown_write_may_happen_later_or_never(void **state)
{
    const char *const later[] = {"0 invoke write 1", "0 info write 1", "1 invoke read",
                                 "1 ok read nil",    "2 invoke read",  "2 ok read 1",
                                 "1 invoke read",    "1 ok read 1",    NULL};
    const char *const twice[] = {"0 invoke write 1", "1 invoke write 2",
                                 "1 ok write 2",     "2 invoke read",
                                 "2 ok read 1",      "1 invoke write 2",
                                 "1 ok write 2",     "2 invoke read",
                                 "2 ok read 1",      NULL};
    struct verdict v;

    (void)state;
    judge(later, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
    judge(twice, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    verdict_close(&v);
}

static void a_failed_write_must_not_be_seen(void **state)
{
    const char *const lines[] = {"0 invoke write 1", "0 fail write 1", "1 invoke read",
                                 "1 ok read 1", NULL};
    struct verdict v;

    (void)state;
    judge(lines, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    verdict_close(&v);
}

static void a_cas_that_did_not_match_says_what_it_saw(void **state)
{
    const char *const lines[] = {"0 invoke write 1", "0 ok write 1", "1 invoke cas 1 2",
                                 "1 fail cas 1 2", NULL};
    struct verdict v;

    (void)state;
    judge(lines, &v);
    assert_int_equal(v.valid, VERDICT_INVALID);
    verdict_close(&v);
}

static void keys_are_judged_apart(void **state)
{
    struct history h;
    struct verdict v;

    (void)state;
    history_init(&h);
    say(&h, 1, "0 invoke write 1");
    say(&h, 1, "0 ok write 1");
    say(&h, 2, "0 invoke read");
    say(&h, 2, "0 ok read nil");
    linear_check(&h, &LINEAR_LIMITS_DEFAULT, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
    history_close(&h);
}

static void out_of_bounds_is_unknown(void **state)
{
    const struct linear_limits limits = {2, 1 << 20};
    const char *const nothing[] = {"0 invoke write 1", NULL};
    struct history h;
    struct verdict v;

    (void)state;
    history_init(&h);
    for (int i = 0; i < 3; i++) {
        say(&h, 1, "0 invoke write 1");
        say(&h, 1, "0 ok write 1");
    }
    linear_check(&h, &limits, &v);
    assert_int_equal(v.valid, VERDICT_UNKNOWN);
    verdict_close(&v);
    history_close(&h);
    judge(nothing, &v);
    assert_int_equal(v.valid, VERDICT_VALID);
    verdict_close(&v);
}

static void shows_the_longest_order(void **state)
{
    struct history h;
    uint64_t rows[4];

    (void)state;
    history_init(&h);
    say(&h, 1, "0 invoke write 1");
    say(&h, 1, "1 invoke read");
    say(&h, 1, "1 ok read 1");
    say(&h, 1, "0 ok write 1");
    say(&h, 1, "1 invoke read");
    say(&h, 1, "1 ok read 5");
    assert_int_equal(linear_longest(&h, 1, &LINEAR_LIMITS_DEFAULT, rows, 4), 2);
    assert_int_equal(rows[0], 0);
    assert_int_equal(rows[1], 1);
    assert_int_equal(linear_longest(&h, 2, &LINEAR_LIMITS_DEFAULT, rows, 4), 0);
    history_close(&h);
}

/* ---- the public histories ---- */

/* "INFO  jepsen.util - 0 :invoke :cas [3 0]"; a process that timed out
 * completes as :info. */
static void load_line(struct history *h, const char *line)
{
    char text[128];
    char type[16];
    char f[16];
    char value[64];
    int process;
    long long a;
    long long b;

    if (sscanf(line, "INFO jepsen.util - %d :%15s :%15s %63[^\n]", &process, type, f,
               value) != 4) {
        return;
    }
    if (sscanf(value, "[%lld %lld]", &a, &b) == 2) {
        snprintf(text, sizeof text, "%d %s %s %lld %lld", process, type, f, a, b);
    } else if (sscanf(value, "%lld", &a) == 1) {
        snprintf(text, sizeof text, "%d %s %s %lld", process, type, f, a);
    } else {
        snprintf(text, sizeof text, "%d %s %s nil", process, type, f);
    }
    /* ":fail :read :timed-out" and ":info :cas :timed-out" keep the invocation's value
     * in ours; only the kind matters. */
    say(h, 0, text);
}

static enum verdict_valid judge_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[256];
    struct history h;
    struct verdict v;

    if (file == NULL) {
        fail_msg("%s cannot be opened", path);
    }
    history_init(&h);
    while (fgets(line, sizeof line, file) != NULL) {
        load_line(&h, line);
    }
    fclose(file);
    assert_in_range(h.count, 100, 10000);
    linear_check(&h, &LINEAR_LIMITS_DEFAULT, &v);
    history_close(&h);
    verdict_close(&v);
    return v.valid;
}

static void agrees_with_the_51_public_verdicts(void **state)
{
    const char *folder = getenv("KV_HISTORIES");
    char path[512];
    char name[64];
    char word[32];
    FILE *verdicts;
    int count = 0;

    (void)state;
    folder = folder == NULL ? "../shared/histories" : folder;
    snprintf(path, sizeof path, "%s/verdicts.tsv", folder);
    verdicts = fopen(path, "r");
    if (verdicts == NULL) {
        print_message("%s is not there: set KV_HISTORIES to run this test\n", path);
        skip();
    }
    while (fscanf(verdicts, "%63s %31s", name, word) == 2) {
        enum verdict_valid expected =
            strcmp(word, "linearizable") == 0 ? VERDICT_VALID : VERDICT_INVALID;

        snprintf(path, sizeof path, "%s/etcd-cas-register/%s", folder, name);
        if (judge_file(path) != expected) {
            fail_msg("%s should be %s", name, word);
        }
        count++;
    }
    fclose(verdicts);
    assert_int_equal(count, 51);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concurrent_reads_may_see_either_value),
        cmocka_unit_test(a_stale_read_is_shown_with_its_key_and_rows),
        cmocka_unit_test(an_unknown_write_may_happen_later_or_never),
        cmocka_unit_test(a_failed_write_must_not_be_seen),
        cmocka_unit_test(a_cas_that_did_not_match_says_what_it_saw),
        cmocka_unit_test(keys_are_judged_apart),
        cmocka_unit_test(out_of_bounds_is_unknown),
        cmocka_unit_test(shows_the_longest_order),
        cmocka_unit_test(agrees_with_the_51_public_verdicts),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/linear", tests, NULL, NULL);
}
