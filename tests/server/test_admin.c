/* tests/server/test_admin.c - what the HTTP port says in each state of a node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "raft/base/err.h"
#include "rpc/buf.h"
#include "server/admin.h"
#include "tests/lib/node_net.h"

static char body[1 << 20];
static const char *type;

static int get(struct net *net, const char *path, const char *query)
{
    struct buf b;
    int status;

    buf_init(&b, sizeof(body) - 1);
    status = admin_get(net->nodes[1].node, path, query, &b, &type);
    assert_int_equal(b.error, 0);
    memcpy(body, b.data, b.len);
    body[b.len] = '\0';
    buf_close(&b);
    return status;
}

static struct net *make(void)
{
    struct net_options o = {.nodes = 3, .groups = 4, .replicas = 3};

    return net_new(&o);
}

static void a_forming_node_lives_but_is_not_ready(void **state)
{
    struct net *net = make();

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    net_run_ms(net, 500);
    assert_int_equal(get(net, "/livez", NULL), 200);
    assert_string_equal(body, "ok\n");
    assert_int_equal(get(net, "/readyz", "verbose"), 503);
    assert_non_null(
        strstr(body, "[-]formed failed: waiting: to form the cluster: node 2"));
    assert_non_null(strstr(body, "[-]map failed"));
    assert_non_null(strstr(body, "readyz check failed"));
    assert_int_equal(get(net, "/readyz", NULL), 503);
    assert_int_equal(get(net, "/health", ""), 503);
    net_free(net);
}

static void a_running_node_is_ready(void **state)
{
    struct net *net = make();

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(get(net, "/readyz", "verbose"), 200);
    assert_non_null(strstr(body, "[+]formed ok\n"));
    assert_non_null(strstr(body, "[+]map ok\n"));
    assert_non_null(strstr(body, "[+]groups ok\n"));
    assert_non_null(strstr(body, "[+]disk ok\n"));
    assert_non_null(strstr(body, "readyz check passed\n"));
    assert_int_equal(get(net, "/readyz", NULL), 200);
    assert_string_equal(body, "ok\n");
    net_free(net);
}

static void a_cut_off_node_is_not_ready(void **state)
{
    struct net *net = make();

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    net_isolate(net, 1, true);
    net_run_ms(net, 3000);
    assert_int_equal(get(net, "/readyz", "verbose"), 503);
    assert_non_null(strstr(body, "[-]groups failed: 5 groups without a known leader"));
    assert_int_equal(get(net, "/livez", NULL), 200);
    net_free(net);
}

static void a_stopping_node_is_not_ready(void **state)
{
    struct net *net = make();

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    node_stop(net->nodes[1].node);
    assert_int_equal(get(net, "/readyz", "verbose"), 503);
    assert_non_null(strstr(body, "[-]running failed: the node is stopping"));
    net_free(net);
}

static void status_is_json_with_the_facts(void **state)
{
    struct net *net = make();
    json_t *root, *groups, *nodes;
    json_error_t error;

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    net_run_ms(net, 100);
    assert_int_equal(get(net, "/v1/status", NULL), 200);
    root = json_loads(body, 0, &error);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "phase")), "forming");
    assert_int_equal(json_array_size(json_object_get(root, "nodes")), 3);
    json_decref(root);

    assert_int_equal(net_start(net, 2), 0);
    assert_int_equal(net_start(net, 3), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(get(net, "/v1/status", NULL), 200);
    assert_string_equal(type, "application/json");
    root = json_loads(body, 0, &error);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "node")), 1);
    assert_int_equal(json_integer_value(json_object_get(root, "epoch")), 1);
    assert_string_equal(json_string_value(json_object_get(root, "phase")), "running");
    assert_string_equal(json_string_value(json_object_get(root, "waiting_for")), "");
    assert_int_equal(strlen(json_string_value(json_object_get(root, "cluster"))), 16);
    groups = json_object_get(root, "groups");
    assert_int_equal(json_array_size(groups), 4);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(groups, 1), "leader")),
        net_leader(net, 2));
    nodes = json_object_get(root, "nodes");
    assert_true(json_is_true(json_object_get(json_array_get(nodes, 2), "up")));
    json_decref(root);
    net_free(net);
}

/* The state of group `i` of the map as node `id` has it; false without a replica. */
static bool state_of(struct net *net, uint32_t id, size_t i, json_int_t *out_index,
                     char out_hash[17])
{
    json_error_t error;
    json_t *root, *group, *hash;
    struct buf b;

    buf_init(&b, sizeof(body) - 1);
    assert_int_equal(admin_get(net->nodes[id].node, "/v1/status", NULL, &b, &type),
                     200);
    root = json_loadb((const char *)b.data, b.len, 0, &error);
    buf_close(&b);
    assert_non_null(root);
    group = json_array_get(json_object_get(root, "groups"), i);
    hash = json_object_get(group, "state_hash");
    if (hash != NULL) {
        assert_int_equal(json_string_length(hash), 16);
        memcpy(out_hash, json_string_value(hash), 17);
        *out_index = json_integer_value(json_object_get(group, "state_index"));
    }
    json_decref(root);
    return hash != NULL;
}

static void replicas_show_equal_states_and_others_none(void **state)
{
    struct net_options o = {.nodes = 3, .groups = 4, .replicas = 2};
    struct net *net = net_new(&o);
    char before[4][17], first[17], hash[17];
    json_int_t index, first_index;
    uint32_t replicas, changed = 0;
    char key[16];

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    for (size_t i = 0; i < 4; i++) {
        for (uint32_t id = 1; id <= 3; id++) {
            (void)state_of(net, id, i, &index, before[i]);
        }
    }
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key%d", i);
        assert_int_equal(net_put(net, 1, key, "v"), 0);
    }
    net_run_ms(net, 1000);
    for (size_t i = 0; i < 4; i++) {
        replicas = 0;
        first_index = 0;
        for (uint32_t id = 1; id <= 3; id++) {
            if (!state_of(net, id, i, &index, hash)) {
                continue;
            }
            if (replicas++ == 0) {
                memcpy(first, hash, sizeof first);
                first_index = index;
            }
            assert_string_equal(hash, first);
            assert_int_equal(index, first_index);
        }
        assert_int_equal(replicas, 2);
        changed += strcmp(first, before[i]) != 0;
    }
    assert_int_not_equal(changed, 0);
    net_free(net);
}

static void other_paths_are_not_found(void **state)
{
    struct net *net = make();

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    assert_int_equal(get(net, "/", NULL), 404);
    assert_int_equal(get(net, "/livez/", NULL), 404);
    assert_int_equal(get(net, "", NULL), 404);
    net_free(net);
}

static void too_small_a_buffer_is_an_error_not_half_an_answer(void **state)
{
    struct net *net = make();
    struct buf b;

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    buf_init(&b, 100);
    assert_int_equal(admin_get(net->nodes[1].node, "/metrics", NULL, &b, &type), 500);
    assert_int_equal(b.error, 0);
    buf_close(&b);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forming_node_lives_but_is_not_ready),
        cmocka_unit_test(a_running_node_is_ready),
        cmocka_unit_test(a_cut_off_node_is_not_ready),
        cmocka_unit_test(a_stopping_node_is_not_ready),
        cmocka_unit_test(status_is_json_with_the_facts),
        cmocka_unit_test(replicas_show_equal_states_and_others_none),
        cmocka_unit_test(other_paths_are_not_found),
        cmocka_unit_test(too_small_a_buffer_is_an_error_not_half_an_answer),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/admin", tests, NULL, NULL);
}
