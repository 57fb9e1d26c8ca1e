/* tests/jepsen/test_histories.c - histories of ours keep the verdicts that they had. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "jepsen/checker/append.h"
#include "jepsen/checker/counter.h"
#include "jepsen/checker/linear.h"
#include "jepsen/checker/replay.h"
#include "jepsen/checker/set.h"
#include "jepsen/format/read.h"
#include "raft/base/check.h"
#include "tests/lib/history_rules.h"

#define FOLDER "tests/jepsen/histories/"

static void judge(const struct history *h, enum history_workload workload,
                  struct verdict *v)
{
    switch (workload) {
    case HISTORY_REGISTER:
        linear_check(h, &LINEAR_LIMITS_DEFAULT, v);
        return;
    case HISTORY_SET:
        set_check(h, SET_FRESH, v);
        return;
    case HISTORY_COUNTER:
        counter_check(h, v);
        return;
    default:
        append_check(h, v);
        return;
    }
}

static void check_file(const char *name, const char *workload, const char *valid,
                       const char *kind)
{
    enum history_workload w = history_workload_find(workload);
    struct read_error error;
    struct history h;
    struct verdict v;
    char path[256];

    assert_true(w != HISTORY_WORKLOADS);
    snprintf(path, sizeof path, FOLDER "%s", name);
    if (read_history_file(path, w, &h, &error) != 0) {
        fail_msg("%s:%d: %s", name, (int)error.line, error.text);
    }
    judge(&h, w, &v);
    if (strcmp(verdict_name(v.valid), valid) != 0) {
        fail_msg("%s: %s %s", name, verdict_name(v.valid), v.text);
    }
    if (kind[0] != '-') {
        assert_string_equal(v.anomalies[0].kind, kind);
    }
    verdict_close(&v);
    if (w == HISTORY_REGISTER) { /* The replies name an order: it says the same. */
        replay_check(&h, &v);
        assert_string_equal(verdict_name(v.valid), valid);
        verdict_close(&v);
    }
    history_close(&h);
}

static void keep_their_verdicts(void **state)
{
    FILE *verdicts = fopen(FOLDER "verdicts.tsv", "r");
    char name[64];
    char workload[32];
    char valid[32];
    char kind[64];
    int count = 0;

    (void)state;
    assert_non_null(verdicts);
    while (fscanf(verdicts, "%63s %31s %31s %63s", name, workload, valid, kind) == 4) {
        check_file(name, workload, valid, kind);
        count++;
    }
    fclose(verdicts);
    assert_int_equal(count, 8);
}

static void obey_the_rules_of_the_format(void **state)
{
    static const char *const names[] = {"register-good.edn", "append-good.edn",
                                        "set-good.edn", "counter-good.edn"};

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        static char text[1 << 18];
        char path[256];
        size_t rows;
        size_t len;
        FILE *in;

        snprintf(path, sizeof path, FOLDER "%s", names[i]);
        in = fopen(path, "r");
        assert_non_null(in);
        len = fread(text, 1, sizeof text, in);
        fclose(in);
        assert_null(history_rules(kv_bytes(text, len), &rows));
        assert_int_equal(rows, 260);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_their_verdicts),
        cmocka_unit_test(obey_the_rules_of_the_format),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/histories", tests, NULL, NULL);
}
