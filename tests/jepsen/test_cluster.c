/* tests/jepsen/test_cluster.c - real clusters: life, processes, what is left behind. */
#include "tests/jepsen/env_test.h"

#include <signal.h>
#include <sys/wait.h>

static void serves(enum cluster_env env)
{
    struct env_test t;
    struct cluster_node_info info;

    env_open(&t, env, 3);
    assert_int_equal(cluster_up(t.c), CLUSTER_ALL(3));
    assert_int_equal(cluster_groups(t.c), 2);
    assert_true(env_put(&t, "a", "1"));
    assert_true(env_has(&t, "a", "1"));
    assert_int_not_equal(cluster_leaders(t.c, 1), 0);

    cluster_kill(t.c, CLUSTER_BIT(1));
    cluster_node(t.c, 1, &info);
    assert_int_equal(info.state, CLUSTER_NODE_DOWN);
    assert_int_equal(WTERMSIG(info.exit_status), SIGKILL);
    assert_true(env_put(&t, "a", "2"));

    assert_int_equal(cluster_start(t.c, CLUSTER_BIT(1)), 0);
    assert_int_equal(cluster_wait_ready(t.c, CLUSTER_ALL(3), ENV_READY_MS), 0);
    assert_int_equal(cluster_stop(t.c, CLUSTER_BIT(2), 5000), 0);
    cluster_node(t.c, 2, &info);
    assert_int_equal(info.state, CLUSTER_NODE_DOWN);
    assert_true(WIFEXITED(info.exit_status) && WEXITSTATUS(info.exit_status) == 0);
    assert_true(env_has(&t, "a", "2"));
    env_close(&t);
}

static void serves_in_namespaces(void **state)
{
    (void)state;
    serves(CLUSTER_NETNS);
}

static void serves_behind_proxies(void **state)
{
    (void)state;
    serves(CLUSTER_PROXY);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_in_namespaces),
        cmocka_unit_test(serves_behind_proxies),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
