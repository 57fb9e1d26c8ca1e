/* tests/server/test_banner.c - what a node says of itself at start and later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/banner.h"

/* Stubs instead of server/group.c: a group is its leader's node. */
struct group {
    uint32_t leader;
    bool led_here;
};

bool group_is_leader(const struct group *g)
{
    return g->led_here;
}

uint32_t group_leader_node(const struct group *g)
{
    return g->leader;
}

static struct node node;
static struct config config;
static struct group groups[4];
static struct group *table[8];
static char text[2048];

static int setup(void **state)
{
    (void)state;
    memset(&node, 0, sizeof node);
    memset(&config, 0, sizeof config);
    memset(groups, 0, sizeof groups);
    memset(table, 0, sizeof table);
    node.config.id = 1;
    node.config.nodes_count = 3;
    node.config.groups = 8;
    node.config.replicas = 3;
    node.groups = table;
    node.groups_cap = 8;
    snprintf(config.data_dir, sizeof config.data_dir, "cluster/n1");
    snprintf(config.listen.host, sizeof config.listen.host, "127.0.0.1");
    snprintf(config.peer.host, sizeof config.peer.host, "127.0.0.1");
    snprintf(config.http.host, sizeof config.http.host, "127.0.0.1");
    config.listen.port = 7410;
    config.peer.port = 7411;
    config.http.port = 7412;
    return 0;
}

static void a_forming_node_says_what_it_waits_for(void **state)
{
    (void)state;
    snprintf(node.waiting_for, sizeof node.waiting_for, "node 2; start kvd --id 2");
    banner_start(&config, &node, text, sizeof text);

    assert_non_null(strstr(text, "  node      1 of 3\n"));
    assert_non_null(strstr(text, "  data      cluster/n1 (start 0)\n"));
    assert_non_null(strstr(text, "  clients   127.0.0.1:7410\n"));
    assert_non_null(strstr(text, "  http      http://127.0.0.1:7412/readyz?verbose\n"));
    assert_non_null(strstr(text, "  cluster   not formed yet\n"));
    assert_non_null(strstr(text, "node=1 waiting: node 2; start kvd --id 2\n"));
    assert_null(strstr(text, "INSECURE"));
}

static void insecure_is_said_aloud(void **state)
{
    (void)state;
    config.insecure = true;
    banner_start(&config, &node, text, sizeof text);
    assert_non_null(strstr(text, "INSECURE: no TLS, no authentication"));
}

static void readiness_needs_map_and_leaders(void **state)
{
    struct banner_state s;

    (void)state;
    node.phase = NODE_RUNNING;
    for (int i = 0; i < 4; i++) {
        groups[i].leader = 1 + (uint32_t)i % 2;
        groups[i].led_here = i % 2 == 0;
        table[i] = &groups[i];
    }
    banner_state_get(&node, &s);
    assert_false(s.ready);

    node.map_known = true;
    banner_state_get(&node, &s);
    assert_true(s.ready);
    banner_status(&node, &s, text, sizeof text);
    assert_non_null(strstr(text, "ready: leads 1 of 8 groups, hosts 3;"));

    groups[3].leader = 0;
    banner_state_get(&node, &s);
    assert_false(s.ready);
    banner_status(&node, &s, text, sizeof text);
    assert_non_null(strstr(text, "waiting: for a leader of 1 groups"));

    groups[3].leader = 2;
    node.phase = NODE_STOPPING;
    banner_state_get(&node, &s);
    assert_false(s.ready);
}

static void a_small_buffer_is_not_overrun(void **state)
{
    char small[40];

    (void)state;
    assert_int_equal(banner_start(&config, &node, small, sizeof small), 39);
    assert_int_equal(strlen(small), 39);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_forming_node_says_what_it_waits_for, setup),
        cmocka_unit_test_setup(insecure_is_said_aloud, setup),
        cmocka_unit_test_setup(readiness_needs_map_and_leaders, setup),
        cmocka_unit_test_setup(a_small_buffer_is_not_overrun, setup),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/banner", tests, NULL, NULL);
}
