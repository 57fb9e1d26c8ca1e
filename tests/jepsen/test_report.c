/* tests/jepsen/test_report.c - a run on a page: what must be on it, and nothing else.
 *
 * Keeps the page where KV_REPORT says, for tests/e2e/160_jepsen.sh to open it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jepsen/report/report.h"
#include "jepsen/store.h"
#include "raft/base/err.h"

static struct run run;
static struct options options;
static char folder[CLUSTER_PATH_BYTES];
static char page[1 << 20];

#define MS INT64_C(1000000)

static void row(int32_t process, enum history_type type, enum history_f f, int64_t ms,
                int64_t value)
{
    struct history_op op = {.process = process,
                            .type = type,
                            .f = f,
                            .key = 3,
                            .node = 1,
                            .time_ns = ms * MS,
                            .rev = type == HISTORY_OK ? 5 : 0};
    bool nil = f == HISTORY_READ && type == HISTORY_INVOKE;

    op.text = type == HISTORY_INFO ? "UNKNOWN: <gone>" : NULL;
    assert_int_equal(history_append(&run.history, &op, nil ? HISTORY_NIL : HISTORY_INT,
                                    &value, nil ? 0 : 1),
                     0);
}

/* A stale read, a write with an unknown outcome, and one fault. */
static int begin(void **state)
{
    struct verdict_anomaly a = {
        .kind = "stale-read", .key = 3, .ops = {0, 1, 4, 5}, .ops_count = 4};
    const char *keep = getenv("KV_REPORT");
    char error[256];
    struct verdict *v;

    (void)state;
    options_init(&options);
    options.nodes = 3;
    options.seed = 1;
    options.store = folder;
    options.name = "te<st";
    if (keep != NULL) {
        snprintf(folder, sizeof folder, "%s", keep);
    } else {
        memcpy(folder, "/tmp/kvjepsen-store.XXXXXX", 27);
        assert_non_null(mkdtemp(folder));
    }
    assert_int_equal(options_finish(&options, error, sizeof error), 0);
    assert_int_equal(run_open(&run, &options), 0);
    assert_int_equal(store_begin(&run), 0);
    row(0, HISTORY_INVOKE, HISTORY_WRITE, 100, 1);
    row(0, HISTORY_OK, HISTORY_WRITE, 103, 1);
    row(1, HISTORY_INVOKE, HISTORY_WRITE, 110, 2);
    row(1, HISTORY_INFO, HISTORY_WRITE, 1110, 2);
    row(2, HISTORY_INVOKE, HISTORY_READ, 1200, 0);
    row(2, HISTORY_OK, HISTORY_READ, 1201, 0);
    row(3, HISTORY_INVOKE, HISTORY_WRITE, 1300, 4);
    row(3, HISTORY_FAIL, HISTORY_WRITE, 1302, 4);
    run.faults[0] = (struct run_fault){.kind = "partition",
                                       .value = "[:n1 & :n2]",
                                       .begin_ns = 120 * MS,
                                       .end_ns = 900 * MS,
                                       .effective = true,
                                       .ended = true,
                                       .recover_ms = 250,
                                       .recover_end_ms = -1};
    run.faults_count = 1;
    run.seconds[0] = (struct run_second){.ok = 1};
    run.seconds[1] = (struct run_second){.ok = 1, .fail = 1, .info = 1};
    run.seconds_count = 2;
    v = run_verdict(&run, "linear");
    snprintf(a.text, sizeof a.text, "key 3: read \"0\" & not 1");
    verdict_add(v, &a);
    verdict_fact(v, "ops", 4);
    run.valid = VERDICT_INVALID;
    return 0;
}

static int end(void **state)
{
    (void)state;
    run_close(&run);
    if (getenv("KV_REPORT") == NULL) {
        store_remove(folder);
    }
    return 0;
}

static void load(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t len;

    assert_non_null(f);
    len = fread(page, 1, sizeof page - 1, f);
    page[len] = '\0';
    fclose(f);
}

static bool has(const char *part)
{
    return strstr(page, part) != NULL;
}

static void the_page_shows_verdict_faults_points_and_anomaly(void **state)
{
    char path[CLUSTER_PATH_BYTES + 32];

    (void)state;
    assert_int_equal(report_write(&run), 0);
    snprintf(path, sizeof path, "%s/report.html", run.dir);
    load(path);
    assert_true(has("<span id=\"verdict\" class=\"badge invalid\">invalid</span>"));
    assert_true(has("fill=\"#e9dca0\"")); /* The band of a partition. */
    assert_true(has("<title>partition [:n1 &amp; :n2]</title>"));
    assert_true(has("class=\"points ok\" d=\"M"));
    assert_true(has("class=\"points fail\" d=\"M"));
    assert_true(has("class=\"points info\" d=\"M"));
    assert_true(has("key 3: read &quot;0&quot; &amp; not 1"));
    assert_true(has("class=\"op ok marked\""));
    assert_true(has("class=\"op info\""));
    assert_true(has("UNKNOWN: &lt;gone&gt;"));
    assert_true(has("250 ms"));
    assert_true(has("not before its end"));
    assert_false(has("http://"));
    assert_false(has("https://"));
}

static void the_index_lists_runs_with_their_verdicts(void **state)
{
    char path[CLUSTER_PATH_BYTES + 32];

    (void)state;
    assert_int_equal(store_write(&run), 0);
    assert_int_equal(report_write(&run), 0);
    assert_int_equal(report_index(folder), 0);
    snprintf(path, sizeof path, "%s/index.html", folder);
    load(path);
    assert_true(has("<span class=\"badge invalid\">invalid</span>"));
    assert_true(has("te_st"));
    assert_true(has("key 3: read &quot;0&quot; &amp; not 1"));
    snprintf(path, sizeof path, "%s/results.edn", run.dir);
    load(path);
    assert_true(has(":valid? false"));
    assert_true(has("stale-read"));
}

static void a_run_that_never_ended_is_listed_as_failed(void **state)
{
    char path[CLUSTER_PATH_BYTES + 32];

    (void)state;
    assert_int_equal(report_index(folder), 0);
    snprintf(path, sizeof path, "%s/index.html", folder);
    load(path);
    assert_true(has("<span class=\"badge failed\">failed</span>"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(the_page_shows_verdict_faults_points_and_anomaly),
        CASE(the_index_lists_runs_with_their_verdicts),
        CASE(a_run_that_never_ended_is_listed_as_failed),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
