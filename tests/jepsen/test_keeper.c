/* tests/jepsen/test_keeper.c - what is left when harness, keeper or node is killed. */
#include "tests/jepsen/env_test.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static void rest_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* Processes whose command line names the folder; and, in *out_keeper, one that is a
 * keeper and a child of `parent`. */
static unsigned processes(const char *dir, pid_t parent, pid_t *out_keeper)
{
    unsigned count = 0;
    struct dirent *e;
    DIR *d = opendir("/proc");

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        char path[300], text[4096] = "";
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        size_t len = 0;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
        f = pid > 0 ? fopen(path, "re") : NULL;
        if (f != NULL) {
            len = fread(text, 1, sizeof text - 1, f);
            (void)fclose(f);
        }
        count += memmem(text, len, dir, strlen(dir)) != NULL && pid != getpid();
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        f = pid > 0 && out_keeper != NULL ? fopen(path, "re") : NULL;
        if (f != NULL) {
            int ppid = 0;

            if (fgets(text, sizeof text, f) != NULL && strstr(text, "(kvj-keeper)") &&
                sscanf(strrchr(text, ')') + 1, " %*c %d", &ppid) == 1 &&
                ppid == parent) {
                *out_keeper = pid;
            }
            (void)fclose(f);
        }
    }
    (void)closedir(d);
    return count;
}

/* Waits until no process names the folder. */
static unsigned left_over(const char *dir)
{
    unsigned left = 0;

    for (int i = 0; i < 100; i++) {
        left = processes(dir, 0, NULL);
        if (left == 0) {
            break;
        }
        rest_ms(50);
    }
    return left;
}

/* A harness of its own that opens a cluster, says so, and waits to be killed. */
static pid_t harness_start(struct env_test *t, enum cluster_env env)
{
    int ready[2];
    char byte = 0;
    pid_t pid;

    snprintf(t->dir, sizeof t->dir, "/tmp/kvj-test.XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct cluster_options o = {.env = env, .nodes = 3, .dir = t->dir};
        char error[CLUSTER_ERROR_BYTES];

        if (cluster_open(&o, &t->c, error) == 0 && cluster_start(t->c, 7) == 0 &&
            cluster_wait_ready(t->c, 7, ENV_READY_MS) == 0 &&
            write(ready[1], "r", 1) == 1) {
            for (;;) {
                pause();
            }
        }
        _exit(1);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void harness_killed(enum cluster_env env)
{
    struct env_test t;
    char path[128];
    pid_t keeper = 0;
    pid_t pid;

    env_needs_root(env);
    pid = harness_start(&t, env);
    assert_int_equal(processes(t.dir, pid, &keeper), 3);
    assert_true(keeper > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(left_over(t.dir), 0);
    /* Namespaces are taken down by the kernel, on a busy machine for seconds. */
    for (int i = 0; i < 1000 && kill(keeper, 0) == 0; i++) {
        rest_ms(20);
    }
    assert_int_equal(kill(keeper, 0), -1);
    snprintf(path, sizeof path, "%s/n1/layer", t.dir);
    assert_int_equal(access(path, F_OK), -1);
    env_dir_remove(t.dir);
}

static void a_killed_harness_leaves_nothing_in_namespaces(void **state)
{
    (void)state;
    harness_killed(CLUSTER_NETNS);
}

static void a_killed_harness_leaves_nothing_over_a_bridge(void **state)
{
    (void)state;
    harness_killed(CLUSTER_VETH);
}

static void a_killed_harness_leaves_nothing_behind_proxies(void **state)
{
    (void)state;
    harness_killed(CLUSTER_PROXY);
}

static void a_killed_keeper_takes_the_nodes_along(void **state)
{
    struct env_test t;
    pid_t keeper = 0;

    (void)state;
    env_open(&t, CLUSTER_AUTO, 3);
    assert_int_equal(processes(t.dir, getpid(), &keeper), 3);
    assert_true(keeper > 0);
    assert_true(cluster_stands(t.c));
    kill(keeper, SIGKILL);
    assert_int_equal(left_over(t.dir), 0);
    assert_int_equal(cluster_up(t.c), 0);
    assert_int_equal(cluster_start(t.c, 1), KV_ECLOSED);
    assert_false(cluster_stands(t.c));
    env_close(&t);
}

static void closing_leaves_data_and_logs_only(void **state)
{
    struct env_test t;
    struct cluster_node_info info;
    char path[128];

    (void)state;
    env_open(&t, CLUSTER_AUTO, 3);
    cluster_node(t.c, 1, &info);
    cluster_close(t.c);
    t.c = NULL;
    assert_int_equal(left_over(t.dir), 0);
    assert_int_equal(access(info.data_dir, F_OK), 0);
    assert_int_equal(access(info.log_path, F_OK), 0);
    snprintf(path, sizeof path, "%s/n1/layer", t.dir);
    assert_int_equal(access(path, F_OK), -1);
    env_close(&t);
}

static void a_node_that_dies_by_itself_is_noticed(void **state)
{
    struct env_test t;
    struct cluster_node_info info;

    (void)state;
    env_open(&t, CLUSTER_AUTO, 3);
    cluster_node(t.c, 2, &info);
    kill(info.pid, SIGABRT);
    for (int i = 0; i < 100 && info.state == CLUSTER_NODE_UP; i++) {
        rest_ms(20);
        cluster_node(t.c, 2, &info);
    }
    assert_int_equal(info.state, CLUSTER_NODE_DIED);
    assert_int_equal(info.deaths, 1);
    assert_int_equal(WTERMSIG(info.exit_status), SIGABRT);
    cluster_kill(t.c, 1);
    cluster_node(t.c, 1, &info);
    assert_int_equal(info.state, CLUSTER_NODE_DOWN);
    assert_int_equal(info.deaths, 0);
    env_close(&t);
}

static void two_clusters_live_side_by_side(void **state)
{
    struct env_test a, b;

    (void)state;
    env_open(&a, CLUSTER_PROXY, 1);
    env_open(&b, CLUSTER_PROXY, 1);
    assert_true(env_put(&a, "who", "a"));
    assert_true(env_put(&b, "who", "b"));
    assert_true(env_has(&a, "who", "a"));
    env_close(&a);
    assert_true(env_has(&b, "who", "b"));
    env_close(&b);
}

static void options_that_cannot_be_are_refused(void **state)
{
    struct cluster_options o = {.nodes = 0, .dir = "/tmp/kvj-none"};
    char error[CLUSTER_ERROR_BYTES] = "";
    struct cluster *c = NULL;

    (void)state;
    assert_int_equal(cluster_open(&o, &c, error), KV_EINVAL);
    o.nodes = CLUSTER_NODES_MAX + 1;
    assert_int_equal(cluster_open(&o, &c, error), KV_EINVAL);
    o.nodes = 1;
    o.kvd = "/nowhere/kvd";
    assert_int_equal(cluster_open(&o, &c, error), KV_EINVAL);
    assert_non_null(strstr(error, "/nowhere/kvd"));
    assert_null(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_harness_leaves_nothing_in_namespaces),
        cmocka_unit_test(a_killed_harness_leaves_nothing_over_a_bridge),
        cmocka_unit_test(a_killed_harness_leaves_nothing_behind_proxies),
        cmocka_unit_test(a_killed_keeper_takes_the_nodes_along),
        cmocka_unit_test(closing_leaves_data_and_logs_only),
        cmocka_unit_test(a_node_that_dies_by_itself_is_noticed),
        cmocka_unit_test(two_clusters_live_side_by_side),
        cmocka_unit_test(options_that_cannot_be_are_refused),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
