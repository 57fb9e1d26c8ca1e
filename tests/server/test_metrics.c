/* tests/server/test_metrics.c - counting, and the rules of the text format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/metrics.h"
#include "tests/lib/node_net.h"

static char text[1 << 20];

static struct net *ready(void)
{
    struct net_options o = {.nodes = 3, .groups = 4, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

static void scrape(struct net *net, uint32_t id)
{
    struct buf b;

    buf_init(&b, sizeof(text) - 1);
    metrics_write(net->nodes[id].node, &b);
    assert_int_equal(b.error, 0);
    memcpy(text, b.data, b.len);
    text[b.len] = '\0';
    buf_close(&b);
}

/* The value of a sample by its exact name and labels; -1 when it is not there. */
static double value(const char *name)
{
    const char *at = text;
    size_t len = strlen(name);

    while ((at = strstr(at, name)) != NULL) {
        if ((at == text || at[-1] == '\n') && at[len] == ' ') {
            return strtod(at + len, NULL);
        }
        at += len;
    }
    return -1;
}

static void counts_by_method_and_outcome(void **state)
{
    struct net *net = ready();
    struct rpc_request q;
    bool found;
    char v[64];

    (void)state;
    (void)q;
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    assert_int_equal(net_put(net, 1, "b", "1"), 0);
    assert_int_equal(net_get(net, 1, "a", &found, v), 0);
    node_stop(net->nodes[1].node);
    assert_int_equal(net_put(net, 1, "a", "1"), KV_ENOLEADER);

    scrape(net, 1);
    assert_int_equal(value("kvd_requests_total{method=\"kv.put\",outcome=\"ok\"}"), 2);
    assert_int_equal(
        value("kvd_requests_total{method=\"kv.put\",outcome=\"NO_LEADER\"}"), 1);
    assert_int_equal(value("kvd_requests_total{method=\"kv.get\",outcome=\"ok\"}"), 1);
    assert_int_equal(value("kvd_request_duration_seconds_count{method=\"kv.put\"}"), 3);
    assert_int_equal(
        value("kvd_request_duration_seconds_bucket{method=\"kv.put\",le=\"+Inf\"}"), 3);
    assert_true(value("kvd_request_duration_seconds_sum{method=\"kv.put\"}") > 0);
    assert_int_equal(metrics_requests(net->nodes[1].node->metrics, RPC_KV_PUT, 0), 2);
    /* Forwarded ones are counted where they came in, once. */
    scrape(net, 2);
    assert_int_equal(value("kvd_requests_total{method=\"kv.put\",outcome=\"ok\"}"), 0);
    net_free(net);
}

static void groups_have_their_figures(void **state)
{
    struct net *net = ready();
    char name[64];
    uint32_t g, id, leaders;

    (void)state;
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    for (g = 0; g <= 4; g++) {
        leaders = 0;
        for (id = 1; id <= 3; id++) {
            scrape(net, id);
            snprintf(name, sizeof(name), "kvd_group_has_leader{group=\"%u\"}", g);
            assert_int_equal(value(name), 1);
            snprintf(name, sizeof(name), "kvd_group_is_leader{group=\"%u\"}", g);
            leaders += value(name) == 1 ? 1 : 0;
            snprintf(name, sizeof(name), "kvd_group_applied_index{group=\"%u\"}", g);
            assert_true(value(name) >= 1);
        }
        assert_int_equal(leaders, 1);
    }
    net_free(net);
}

/* What promtool would say: HELP and TYPE before each family, once; names in order. */
static void follows_the_text_format(void **state)
{
    struct net *net = ready();
    char *save = NULL, *l;
    char current[128] = "";
    uint32_t families = 0;

    (void)state;
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    scrape(net, 1);
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save)) {
        if (strncmp(l, "# HELP ", 7) == 0) {
            size_t len = strcspn(l + 7, " ");

            assert_true(len < sizeof(current));
            memcpy(current, l + 7, len);
            current[len] = '\0';
            assert_true(strlen(l + 7 + len) > 1);
            families++;
            l = strtok_r(NULL, "\n", &save);
            assert_non_null(l);
            assert_int_equal(strncmp(l, "# TYPE ", 7), 0);
            assert_int_equal(strncmp(l + 7, current, len), 0);
            if (strcmp(l + 7 + len, " counter") == 0) {
                assert_string_equal(current + len - 6, "_total");
            }
        } else {
            const char *rest;
            char *end;

            assert_int_equal(strncmp(l, "kvd_", 4), 0);
            assert_int_equal(strncmp(l, current, strlen(current)), 0);
            rest = l + strlen(current) +
                   strspn(l + strlen(current), "_abcdefghijklmnopqrstuvwxyz");
            assert_true(*rest == ' ' || *rest == '{');
            rest = strrchr(l, ' ');
            assert_non_null(rest);
            (void)strtod(rest + 1, &end);
            assert_true(end != rest + 1 && *end == '\0');
        }
    }
    assert_true(families > 50);
    net_free(net);
}

static void buckets_add_up(void **state)
{
    struct net *net = ready();
    struct metrics *m = net->nodes[1].node->metrics;
    static const uint64_t us[] = {0, 100, 101, 999999, 10000000, 10000001, 99999999};
    double last = 0;
    static const char *const bounds[] = {
        "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
        "0.025",  "0.05",    "0.1",    "0.25",  "1",      "10",    "+Inf"};
    uint32_t i;

    (void)state;
    for (i = 0; i < KV_ARRAY_COUNT(us); i++) {
        metrics_count(m, RPC_KV_CAS, 0, us[i]);
    }
    scrape(net, 1);
    for (i = 0; i < KV_ARRAY_COUNT(bounds); i++) {
        char name[128];

        snprintf(name, sizeof(name),
                 "kvd_request_duration_seconds_bucket{method=\"kv.cas\",le=\"%s\"}",
                 bounds[i]);
        assert_true(value(name) >= last);
        last = value(name);
        if (i == 0) {
            assert_int_equal(last, 2);
        }
        if (i == 12) {
            assert_int_equal(last, 5);
        }
    }
    assert_int_equal(last, 7);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_method_and_outcome),
        cmocka_unit_test(groups_have_their_figures),
        cmocka_unit_test(follows_the_text_format),
        cmocka_unit_test(buckets_add_up),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/metrics", tests, NULL, NULL);
}
