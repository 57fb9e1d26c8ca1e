/* tests/server/test_meta.c - forming: who is waited for, who is refused, which map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "tests/lib/node_net.h"

static struct net *make(uint32_t nodes)
{
    struct net_options o = {.nodes = nodes, .groups = 3, .replicas = 3};

    return net_new(&o);
}

static void waits_for_every_initial_node(void **state)
{
    struct net *net = make(3);

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    assert_int_equal(net_start(net, 3), 0);
    net_run_ms(net, 30000);

    /* Two of three would be a majority: it does not count before all were seen. */
    assert_int_equal(net->nodes[1].node->phase, NODE_FORMING);
    assert_int_equal(net->nodes[3].node->phase, NODE_FORMING);
    assert_null(node_group(net->nodes[1].node, NODE_META_GROUP));
    assert_non_null(strstr(net->nodes[1].node->waiting_for, "node 2 (node2:2002)"));
    assert_null(strstr(net->nodes[1].node->waiting_for, "node 3"));

    assert_int_equal(net_start(net, 2), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_string_equal(net->nodes[1].node->waiting_for, "");
    net_free(net);
}

static void a_formed_node_does_not_wait_again(void **state)
{
    struct net *net = make(3);

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    net_kill(net, 1);
    net_kill(net, 2);
    net_kill(net, 3);

    assert_int_equal(net_start(net, 1), 0);
    assert_int_equal(net_start(net, 2), 0);
    assert_int_equal(net->nodes[1].node->phase, NODE_RUNNING);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_free(net);
}

/* The stories of design.md section 5, "Lost directory". */
static void a_node_that_lost_its_directory_is_refused(void **state)
{
    struct net *net = make(3);
    char value[64];
    bool found;

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_kill(net, 2);
    net_wipe(net, 2);

    assert_int_equal(net_start(net, 2), 0);
    net_run_ms(net, 3000);

    assert_false(net->nodes[2].up);
    assert_int_equal(net->nodes[2].halt_code, KV_ELOST);
    assert_non_null(strstr(net->nodes[2].halt_text, "lost or replaced"));
    assert_int_equal(net_get(net, 3, "a", &found, value), 0);
    assert_string_equal(value, "1");
    net_free(net);
}

static void a_directory_lost_while_forming_is_refused_too(void **state)
{
    struct net *net = make(3);

    (void)state;
    assert_int_equal(net_start(net, 1), 0);
    assert_int_equal(net_start(net, 2), 0);
    net_run_ms(net, 1000);
    net_kill(net, 2);
    net_wipe(net, 2);

    assert_int_equal(net_start(net, 2), 0);
    net_run_ms(net, 3000);
    assert_int_equal(net->nodes[2].halt_code, KV_ELOST);
    net_free(net);
}

static void a_directory_of_another_node_is_refused_at_start(void **state)
{
    struct net *net = make(3);

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    net_kill(net, 1);
    net->nodes[1].config.id = 2;

    assert_int_equal(net_start(net, 1), KV_ELOST);
    assert_non_null(strstr(net->nodes[1].error_text, "belongs to node 1"));
    net_free(net);
}

static void nodes_of_another_configuration_never_join(void **state)
{
    struct net *net = make(3);
    uint32_t warned;

    (void)state;
    net->nodes[3].config.groups = 5; /* Another cluster id. */
    net_start_all(net);
    net_run_ms(net, 20000);

    assert_int_equal(net->nodes[1].node->phase, NODE_FORMING);
    assert_int_equal(net->nodes[3].node->phase, NODE_FORMING);
    assert_non_null(strstr(net->nodes[3].node->waiting_for, "another cluster"));
    assert_string_not_equal(peers_trouble(net->nodes[1].node, 3), "");
    /* Said once by each side of each pair, not at each try. */
    warned = net_lines(net, "why=\"it belongs to another cluster");
    assert_true(warned >= 2 && warned <= 4);

    net_kill(net, 3);
    net->nodes[3].config.groups = 3;
    /* Its directory remembers nothing of the mistake but its node id. */
    assert_int_equal(net_start(net, 3), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 10000));
    net_free(net);
}

static void the_stored_cluster_counts_not_the_flags(void **state)
{
    struct net *net = make(3);

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    net_kill(net, 1);
    net->nodes[1].config.groups = 7;

    assert_int_equal(net_start(net, 1), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(net->nodes[1].node->map.groups_count, 3);
    assert_int_equal(net_lines(net, "the stored one counts"), 1);
    net_free(net);
}

static void the_map_respects_the_zones_of_all_nodes(void **state)
{
    struct net_options o = {.nodes = 6,
                            .groups = 12,
                            .replicas = 3,
                            .zones = {NULL, "a", "a", "b", "b", "c", "c"}};
    struct net *net = net_new(&o);
    const struct map *m;
    uint32_t g, r;

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    m = &net->nodes[1].node->map;
    assert_int_equal(m->groups_count, 12);
    for (g = 0; g < 12; g++) {
        bool used[3] = {false};

        for (r = 0; r < 3; r++) {
            used[(m->groups[g].replicas[r].node - 1) / 2] = true;
        }
        assert_true(used[0] && used[1] && used[2]);
    }
    /* Five vote in meta, the sixth learns. */
    assert_int_equal(
        group_config(node_group(net->nodes[6].node, NODE_META_GROUP))->voters_count, 5);
    assert_int_equal(
        group_config(node_group(net->nodes[6].node, NODE_META_GROUP))->learners_count,
        1);
    net_free(net);
}

static void all_nodes_have_the_same_map(void **state)
{
    struct net *net = make(5);
    uint32_t id;

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    for (id = 2; id <= 5; id++) {
        assert_memory_equal(&net->nodes[1].node->map, &net->nodes[id].node->map,
                            sizeof(struct map));
    }
    net_free(net);
}

static void a_crash_at_any_point_of_forming_is_survived(void **state)
{
    uint32_t us;

    (void)state;
    for (us = 100; us < 3000; us += 150) {
        struct net *net = make(3);
        uint32_t victim = us % 3 + 1;
        uint64_t end = net->now_us + us;

        net_start_all(net);
        while (net->now_us < end) {
            net_run_ms(net, 0);
            net->now_us += 50;
        }
        net_kill(net, victim);
        assert_int_equal(net_start(net, victim), 0);
        assert_true(net_run_until(net, net_is_ready, NULL, 10000));
        assert_int_equal(net_put(net, victim, "a", "1"), 0);
        net_free(net);
    }
}

static bool map_damage(struct net *net, uint32_t node)
{
    return mem_store_flip_row(net->nodes[node].store, NODE_META_GROUP, ROW_META,
                              kv_bytes_str("map"), 77);
}

static bool is_installed(struct net *net, void *ctx)
{
    const struct disk_job *job = net->nodes[3].running[DISK_LANE_STATE];

    (void)ctx;
    return job != NULL && job->kind == DISK_MARK_CLEAR;
}

/* The map came with a snapshot, and cannot be read: another snapshot brings it. */
static void a_map_damaged_right_after_an_install_is_fetched_again(void **state)
{
    struct net *net = make(3);

    (void)state;
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    net_run_ms(net, 5000); /* Checkpointed. */
    net_kill(net, 3);
    assert_true(map_damage(net, 3));
    net->nodes[3].config.scrub_bytes_per_s = 0; /* Nobody else finds it. */
    assert_int_equal(net_start(net, 3), 0);
    assert_false(net->nodes[3].node->map_known);
    assert_true(net_run_until(net, is_installed, NULL, 5000));
    assert_true(map_damage(net, 3));
    assert_true(net_run_until(net, net_is_ready, NULL, 10000));
    assert_int_equal(net_put(net, 3, "a", "1"), 0);
    net_free(net);
}

static void the_cluster_id_follows_from_the_configuration(void **state)
{
    struct net *net = make(3);
    struct node_config c = net->nodes[1].config;
    uint64_t id = meta_cluster_of(&c);

    (void)state;
    assert_true(id == meta_cluster_of(&net->nodes[2].config));
    c.replicas = 1;
    assert_true(id != meta_cluster_of(&c));
    c = net->nodes[1].config;
    c.groups++;
    assert_true(id != meta_cluster_of(&c));
    c = net->nodes[1].config;
    c.nodes[2].peer_port++;
    assert_true(id != meta_cluster_of(&c));
    c = net->nodes[1].config;
    c.nodes_count--;
    assert_true(id != meta_cluster_of(&c));
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_every_initial_node),
        cmocka_unit_test(a_formed_node_does_not_wait_again),
        cmocka_unit_test(a_node_that_lost_its_directory_is_refused),
        cmocka_unit_test(a_directory_lost_while_forming_is_refused_too),
        cmocka_unit_test(a_directory_of_another_node_is_refused_at_start),
        cmocka_unit_test(nodes_of_another_configuration_never_join),
        cmocka_unit_test(the_stored_cluster_counts_not_the_flags),
        cmocka_unit_test(the_map_respects_the_zones_of_all_nodes),
        cmocka_unit_test(all_nodes_have_the_same_map),
        cmocka_unit_test(a_crash_at_any_point_of_forming_is_survived),
        cmocka_unit_test(a_map_damaged_right_after_an_install_is_fetched_again),
        cmocka_unit_test(the_cluster_id_follows_from_the_configuration),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/meta", tests, NULL, NULL);
}
