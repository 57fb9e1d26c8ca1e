/* tests/jepsen/test_results.c - results are EDN and JSON, and say the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <cmocka.h>

#include "jepsen/format/edn.h"
#include "jepsen/format/results.h"
#include "raft/base/err.h"

static char *written(const struct results *r, enum emit_style style)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    assert_int_equal(results_write(out, r, style), 0);
    fclose(out);
    return text;
}

static void both_forms_can_be_read(void **state)
{
    const struct results_note notes[] = {{"nemesis", "par\"tition\n\x01\xc3\xa9\xff"}};
    struct verdict verdicts[2];
    struct results r = {notes, 1, verdicts, 2};
    struct edn_reader edn;
    struct edn_node *map = NULL;
    struct arena arena;
    json_error_t error;
    json_t *json;
    char *text;

    (void)state;
    verdict_init(&verdicts[0], "linear");
    verdict_fact(&verdicts[0], "ops", 100000);
    verdict_fact(&verdicts[0], "rate", 0.25);
    verdict_init(&verdicts[1], "stats");
    verdict_doubt(&verdicts[1], "cas never succeeded");
    assert_int_equal(results_valid(&r), VERDICT_UNKNOWN);
    verdict_add(&verdicts[0], &(struct verdict_anomaly){.kind = "stale-read",
                                                        .text = "key 1",
                                                        .key = 1,
                                                        .ops = {4, 5},
                                                        .ops_count = 2});
    assert_int_equal(results_valid(&r), VERDICT_INVALID);

    text = written(&r, EMIT_JSON);
    json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    assert_true(json_is_false(json_object_get(json, "valid?")));
    assert_string_equal(json_string_value(json_object_get(json, "nemesis")),
                        "par\"tition\n\x01\xc3\xa9?");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "stats"), "valid?")),
        "unknown");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "linear"), "ops")),
        100000);
    json_decref(json);
    free(text);

    text = written(&r, EMIT_EDN);
    arena_init(&arena, 4096, 1 << 20);
    edn_init(&edn, kv_bytes_str(text));
    assert_int_equal(edn_next(&edn, &arena, &map), 0);
    assert_int_equal(edn_get(map, "valid?")->kind, EDN_BOOL);
    assert_true(edn_is(edn_get(edn_get(map, "stats"), "valid?"), "unknown"));
    assert_int_equal(edn_get(edn_get(map, "linear"), "anomalies")->count, 1);
    assert_int_equal(edn_next(&edn, &arena, &map), KV_ENOTFOUND);
    arena_close(&arena);
    free(text);
    verdict_close(&verdicts[0]);
    verdict_close(&verdicts[1]);
}

static void no_verdict_is_unknown(void **state)
{
    struct results r = {0};

    (void)state;
    assert_int_equal(results_valid(&r), VERDICT_UNKNOWN);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_can_be_read),
        cmocka_unit_test(no_verdict_is_unknown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("jepsen/results", tests, NULL, NULL);
}
