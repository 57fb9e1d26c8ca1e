/* tests/server/test_node.c - whole nodes: forming, writing, losing leaders, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/router.h"
#include "tests/lib/node_net.h"

static struct net *three(void)
{
    struct net_options o = {.nodes = 3, .groups = 4, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

static void a_single_node_forms_at_once_and_answers(void **state)
{
    struct net_options o = {.nodes = 1, .groups = 2, .replicas = 3};
    struct net *net = net_new(&o);
    char value[64];
    bool found;

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 2000));

    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    assert_int_equal(net_get(net, 1, "a", &found, value), 0);

    assert_true(found);
    assert_string_equal(value, "1");
    net_free(net);
}

static void three_nodes_form_and_each_answers(void **state)
{
    struct net *net = three();
    char key[16], value[64];
    bool found;
    uint32_t i, id;

    (void)state;
    for (i = 0; i < 24; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(net_put(net, 1 + i % 3, key, key), 0);
        for (id = 1; id <= 3; id++) {
            assert_int_equal(net_get(net, id, key, &found, value), 0);
            assert_true(found);
            assert_string_equal(value, key);
        }
    }
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_node_forms_at_once_and_answers),
        cmocka_unit_test(three_nodes_form_and_each_answers),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/node", tests, NULL, NULL);
}
