/* tests/server/test_config.c - flags, the file, defaults, and how mistakes read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raft/base/err.h"
#include "server/config.h"

#define THREE "1=127.0.0.1:7410:7411,2=127.0.0.1:7420:7421,3=127.0.0.1:7430:7431"

static struct config config;
static char error[CONFIG_ERROR_BYTES];
static enum config_action action;

/* Parses a command line that is given as words; the last is NULL. */
static int parse(const char *first, ...)
{
    char *argv[64] = {"kvd"};
    int argc = 1;
    va_list args;

    va_start(args, first);
    for (const char *word = first; word != NULL; word = va_arg(args, const char *)) {
        argv[argc++] = (char *)(uintptr_t)word;
    }
    va_end(args);
    error[0] = '\0';
    return config_parse(argc, argv, &config, &action, error, sizeof error);
}

#define PARSE(...) parse(__VA_ARGS__, NULL)

/* Every error is one line that names what, and says what to do. */
#define FAILS(fragment, ...)                                \
    do {                                                    \
        assert_int_equal(PARSE(__VA_ARGS__), KV_EINVAL);    \
        if (strstr(error, fragment) == NULL) {              \
            fail_msg("\"%s\" not in: %s", fragment, error); \
        }                                                   \
        assert_null(strchr(error, '\n'));                   \
        assert_true(strlen(error) < sizeof error - 1);      \
    } while (0)

static void a_node_alone_needs_id_and_directory_only(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--id", "2", "--data-dir", "d"), 0);

    assert_int_equal(action, CONFIG_RUN);
    assert_int_equal(config.node.id, 2);
    assert_int_equal(config.node.nodes_count, 1);
    assert_int_equal(config.node.replicas, 1);
    assert_int_equal(config.listen.port, 7420);
    assert_int_equal(config.peer.port, 7421);
    assert_int_equal(config.http.port, 7422);
    assert_string_equal(config.listen.host, "127.0.0.1");
    assert_int_equal(config.node.nodes[0].http_port, 7422);
    assert_int_equal(config.log_level, LOG_INFO);
}

static void addresses_come_from_the_initial_cluster(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--id=3", "--data-dir=d", "--initial-cluster=" THREE), 0);

    assert_int_equal(config.node.nodes_count, 3);
    assert_int_equal(config.node.replicas, 3);
    assert_int_equal(config.listen.port, 7430);
    assert_int_equal(config.peer.port, 7431);
    assert_int_equal(config.http.port, 7432);
    assert_int_equal(config.node.nodes[1].client_port, 7420);
    assert_string_equal(config.node.nodes[1].host, "127.0.0.1");
}

static void every_setting_can_be_a_flag(void **state)
{
    (void)state;
    assert_int_equal(
        PARSE("--id", "1", "--data-dir", "d", "--initial-cluster", THREE, "--listen",
              "127.0.0.1:7410", "--peer", "127.0.0.1:7411", "--http", "127.0.0.1:9000",
              "--groups", "16", "--replicas", "2", "--zone", "a", "--max-connections",
              "100", "--log-level", "debug", "--election-timeout-ms", "1000",
              "--heartbeat-ms", "100", "--log-window", "64", "--quota-bytes", "64M",
              "--memory-bytes", "1G", "--delta-bytes", "128K", "--checkpoint-ms", "500",
              "--scrub-bytes-per-s", "0", "--request-deadline-ms", "2000", "--slow-ms",
              "1000", "--map-bytes", "2G", "--reserve-bytes", "1M"),
        0);

    assert_int_equal(config.node.groups, 16);
    assert_int_equal(config.node.replicas, 2);
    assert_string_equal(config.node.zone, "a");
    assert_string_equal(config.node.nodes[0].zone, "a");
    assert_int_equal(config.node.max_connections, 100);
    assert_int_equal(config.http.port, 9000);
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_int_equal(config.node.election_timeout_ms, 1000);
    assert_int_equal(config.node.log_window, 64);
    assert_int_equal(config.quota_bytes, 64 << 20);
    assert_int_equal(config.node.memory_bytes_max, 1 << 30);
    assert_int_equal(config.node.delta_bytes_max, 128 << 10);
    assert_int_equal(config.node.scrub_bytes_per_s, 0);
    assert_int_equal(config.slow_ms, 1000);
    assert_int_equal(config.map_bytes, 2ull << 30);
}

/* Writes `text` to a file of its own and returns its path. */
static const char *ini_file(const char *text)
{
    static char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/tmp/kvd-config-test.%d", (int)getpid());
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static void a_file_holds_the_same_keys_and_flags_win(void **state)
{
    const char *path = ini_file("; a comment\n"
                                "[kvd]\n"
                                "id = 2\n"
                                "data_dir = /tmp/x\n"
                                "groups = 4\n"
                                "insecure = true\n"
                                "[initial-cluster]\n"
                                "1 = 127.0.0.1:7410:7411\n"
                                "2 = 127.0.0.1:7420:7421\n");

    (void)state;
    assert_int_equal(PARSE("--groups", "5", "--config", path), 0);
    unlink(path);

    assert_int_equal(config.node.id, 2);
    assert_string_equal(config.data_dir, "/tmp/x");
    assert_int_equal(config.node.groups, 5);
    assert_true(config.insecure);
    assert_int_equal(config.node.nodes_count, 2);
    assert_int_equal(config.listen.port, 7420);
}

static void a_long_list_of_nodes_may_go_on_in_the_next_line(void **state)
{
    const char *path = ini_file("id = 1\ndata-dir = d\n"
                                "initial-cluster = 1=127.0.0.1:7410:7411,\n"
                                "    2=127.0.0.1:7420:7421,\n"
                                "    3=127.0.0.1:7430:7431\n"
                                "groups = 3\n");

    (void)state;
    assert_int_equal(PARSE("--config", path), 0);
    unlink(path);
    assert_int_equal(config.node.nodes_count, 3);
    assert_int_equal(config.node.groups, 3);
}

static void a_flag_replaces_the_list_of_the_file(void **state)
{
    const char *path = ini_file("id = 1\ndata-dir = d\n"
                                "initial-cluster = 1=127.0.0.1:1:2,2=127.0.0.1:3:4\n");

    (void)state;
    assert_int_equal(PARSE("--config", path, "--initial-cluster", "1=127.0.0.1:5:6"),
                     0);
    unlink(path);
    assert_int_equal(config.node.nodes_count, 1);
    assert_int_equal(config.listen.port, 5);
}

static void mistakes_in_a_file_name_the_line(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"id = 1\ngroups = zero\n", ":2: --groups zero: must be a number"},
        {"id = 1\nid = 2\n", ":2: id: is set twice"},
        {"id = 1\n[server]\nx = 1\n", ":3: [server]: no such section"},
        {"id = 1\ngruops = 2\n", ":2: gruops: no such setting; did you mean groups?"},
        {"id = 1\njust words\n", ":2: is not \"key = value\""},
        {"insecure = yes\n", ":1: insecure = yes: must be true or false"},
    };

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(cases); i++) {
        const char *path = ini_file(cases[i].text);

        FAILS(cases[i].says, "--config", path);
        unlink(path);
    }
}

static void a_line_that_would_be_cut_is_an_error(void **state)
{
    char text[1024] = "id = 1\ninitial-cluster = ";
    size_t len = strlen(text);
    const char *path;

    (void)state;
    while (len < 500) {
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "1=127.0.0.1:7410:7411,");
    }
    path = ini_file(text);
    FAILS(":2: longer than", "--config", path);
    unlink(path);
}

static void wrong_numbers_say_the_range(void **state)
{
    static const char *const wrong[] = {
        "0", "-1", "1024", "", "1x", "1 ", " 1", "0x10", "1K", "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(wrong); i++) {
        FAILS("must be a number from 1 to 1023", "--id", "1", "--data-dir", "d",
              "--groups", wrong[i]);
    }
    FAILS("must be a number", "--id", "1", "--data-dir", "d", "--quota-bytes",
          "99999999999G");
    FAILS("must be a number", "--id", "0");
}

static void wrong_addresses_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",        ":",       "host",  "host:",  ":1",    "host:0",   "host:65536",
        "host:1x", "host:-1", "a b:1", "[::1:1", "::1:1", "h\x01t:1", "http://h:1"};
    struct config_address address;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(wrong); i++) {
        if (config_address_parse(wrong[i], &address)) {
            fail_msg("accepted %s", wrong[i]);
        }
    }
    assert_true(config_address_parse("[::1]:7410", &address));
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 7410);
    assert_true(config_address_parse("node-1.example.org:65535", &address));
}

static void the_list_of_nodes_is_checked(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"x", "is not ID=HOST:CLIENTPORT:PEERPORT"},
        {"1=h:1", "is not ID=HOST"},
        {"0=h:1:2", "is not ID=HOST"},
        {"1=:1:2", "is not ID=HOST"},
        {"1=h:1:0", "is not ID=HOST"},
        {"1=h:1:99999", "is not ID=HOST"},
        {"9999999999=h:1:2", "is not ID=HOST"},
        {"1=h:1:2,1=h:3:4", "node 1 is named twice"},
        {"1=h:1:2,2=h:3:2", "share a port of h"},
        {"1=h:1:2,2=h:2:4", "share a port of h"},
        {",,", "names no node"},
    };
    struct node_config c;

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(cases); i++) {
        assert_int_equal(config_cluster_parse(cases[i].text, &c, error, sizeof error),
                         KV_EINVAL);
        if (strstr(error, cases[i].says) == NULL) {
            fail_msg("\"%s\" not in: %s", cases[i].says, error);
        }
    }
    assert_int_equal(
        config_cluster_parse("3=c:5:6,1=[::1]:1:2,2=b:3:4,", &c, error, sizeof error),
        0);
    assert_int_equal(c.nodes_count, 3);
    assert_int_equal(c.nodes[0].id, 1);
    assert_string_equal(c.nodes[0].host, "::1");
    assert_int_equal(c.nodes[2].id, 3);
}

static void more_nodes_than_there_may_be_are_refused(void **state)
{
    static char text[STORE_NODES_MAX * 40];
    size_t len = 0;
    struct node_config c;

    (void)state;
    for (int i = 1; i <= STORE_NODES_MAX + 1; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%d=h%d:1:2,", i, i);
    }
    assert_int_equal(config_cluster_parse(text, &c, error, sizeof error), KV_EINVAL);
    assert_non_null(strstr(error, "more than 64 nodes"));
}

static void other_addresses_than_loopback_need_insecure(void **state)
{
    (void)state;
    FAILS("--listen 0.0.0.0:7410: is not a loopback address", "--id", "1", "--data-dir",
          "d", "--listen", "0.0.0.0:7410");
    FAILS("--insecure", "--id", "1", "--data-dir", "d", "--initial-cluster",
          "1=10.1.2.3:1:2");
    FAILS("--http", "--id", "1", "--data-dir", "d", "--http", "192.168.0.1:80");
    FAILS("--http", "--id", "1", "--data-dir", "d", "--http", "[::]:80");
    assert_int_equal(
        PARSE("--id", "1", "--data-dir", "d", "--listen", "0.0.0.0:7410", "--insecure"),
        0);
    assert_int_equal(PARSE("--id", "1", "--data-dir", "d", "--listen", "[::1]:7410"),
                     0);
    assert_int_equal(
        PARSE("--id", "1", "--data-dir", "d", "--listen", "localhost:7410"), 0);
}

static void listeners_must_agree_with_what_others_are_told(void **state)
{
    (void)state;
    FAILS("the other nodes look for node 1 at 127.0.0.1:7410", "--id", "1",
          "--data-dir", "d", "--initial-cluster", THREE, "--listen", "127.0.0.1:7419");
    FAILS("--peer 127.0.0.2:7411", "--id", "1", "--data-dir", "d", "--initial-cluster",
          THREE, "--peer", "127.0.0.2:7411");
    FAILS("does not name node 4", "--id", "4", "--data-dir", "d", "--initial-cluster",
          THREE);
    assert_int_equal(PARSE("--id", "1", "--data-dir", "d", "--initial-cluster", THREE,
                           "--listen", "0.0.0.0:7410", "--insecure"),
                     0);
    FAILS("must be three different", "--id", "1", "--data-dir", "d", "--http",
          "127.0.0.1:7410");
}

static void timers_and_replicas_must_fit(void **state)
{
    (void)state;
    FAILS("set --heartbeat-ms 33", "--id", "1", "--data-dir", "d",
          "--election-timeout-ms", "100", "--heartbeat-ms", "60");
    FAILS("names only 1 nodes", "--id", "1", "--data-dir", "d", "--replicas", "3");
}

static void mistyped_flags_get_a_hint(void **state)
{
    (void)state;
    FAILS("did you mean --data-dir?", "--id", "1", "--datadir", "d");
    FAILS("--frobnicate: no such setting; kvd --help", "--frobnicate");
    FAILS("--groups: needs a value", "--groups");
    FAILS("kvd takes flags only", "--id", "1", "start");
    FAILS("--id is missing", "--data-dir", "d");
    FAILS("--data-dir is missing", "--id", "1");
    FAILS("--config /nonexistent/x: cannot be opened: No such file", "--config",
          "/nonexistent/x");
    FAILS("error, warn, info or debug", "--id", "1", "--data-dir", "d", "--log-level",
          "loud");
}

static void help_and_version_win_over_mistakes_elsewhere(void **state)
{
    char text[16384] = "";
    FILE *to = fmemopen(text, sizeof text, "w");

    (void)state;
    assert_int_equal(PARSE("--groups", "nonsense", "--help"), 0);
    assert_int_equal(action, CONFIG_HELP);
    assert_int_equal(PARSE("--version"), 0);
    assert_int_equal(action, CONFIG_VERSION);

    assert_non_null(to);
    config_help(to);
    fclose(to);
    assert_true(strstr(text, "Examples:") < strstr(text, "Settings:"));
    assert_non_null(strstr(text, "--initial-cluster ID=HOST:CLIENTPORT:PEERPORT"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_alone_needs_id_and_directory_only),
        cmocka_unit_test(addresses_come_from_the_initial_cluster),
        cmocka_unit_test(every_setting_can_be_a_flag),
        cmocka_unit_test(a_file_holds_the_same_keys_and_flags_win),
        cmocka_unit_test(a_long_list_of_nodes_may_go_on_in_the_next_line),
        cmocka_unit_test(a_flag_replaces_the_list_of_the_file),
        cmocka_unit_test(mistakes_in_a_file_name_the_line),
        cmocka_unit_test(a_line_that_would_be_cut_is_an_error),
        cmocka_unit_test(wrong_numbers_say_the_range),
        cmocka_unit_test(wrong_addresses_are_refused),
        cmocka_unit_test(the_list_of_nodes_is_checked),
        cmocka_unit_test(more_nodes_than_there_may_be_are_refused),
        cmocka_unit_test(other_addresses_than_loopback_need_insecure),
        cmocka_unit_test(listeners_must_agree_with_what_others_are_told),
        cmocka_unit_test(timers_and_replicas_must_fit),
        cmocka_unit_test(mistyped_flags_get_a_hint),
        cmocka_unit_test(help_and_version_win_over_mistakes_elsewhere),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/config", tests, NULL, NULL);
}
