/* tests/server/test_balance.c - leaders go where the map wants them, gently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/balance.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/placement.h"
#include "tests/lib/node_net.h"

enum {
    GROUPS = 12
};

static struct net *ready(bool balanced)
{
    struct net_options o = {.nodes = 3, .groups = GROUPS, .replicas = 3};
    struct net *net = net_new(&o);
    uint32_t id;

    net_start_all(net);
    for (id = 1; id <= 3 && !balanced; id++) {
        balance_enable(net->nodes[id].node, false);
    }
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

/* Groups that are not led by the node that the map prefers. */
static uint32_t misplaced(struct net *net)
{
    const struct map *m = NULL;
    uint32_t count = 0, g, id;

    for (id = 1; id <= 3 && m == NULL; id++) {
        m = net->nodes[id].up ? &net->nodes[id].node->map : NULL;
    }
    for (g = 1; g <= GROUPS; g++) {
        count +=
            net_leader(net, g) == placement_preferred(map_group_find(m, (uint16_t)g))
                ? 0
                : 1;
    }
    return count;
}

static uint64_t transfers(struct net *net)
{
    uint64_t sum = 0;
    uint32_t id;

    for (id = 1; id <= 3; id++) {
        sum += net->nodes[id].up ? balance_transfers(net->nodes[id].node) : 0;
    }
    return sum;
}

static void brings_every_leader_home(void **state)
{
    struct net *net = ready(true);

    (void)state;
    net_run_ms(net, 40000);
    assert_int_equal(misplaced(net), 0);
    net_free(net);
}

static void waits_until_things_are_quiet(void **state)
{
    struct net *net = ready(true);

    (void)state;
    net_run_ms(net, BALANCE_STABLE_MS - 500);
    assert_int_equal(transfers(net), 0);
    net_free(net);
}

static void begins_one_transfer_a_second_at_most(void **state)
{
    struct net *net = ready(false);
    uint32_t victim = 1, id, i;
    uint64_t before[4];

    (void)state;
    /* Two nodes lead everything. */
    net_kill(net, victim);
    net_run_ms(net, 1000);
    assert_int_equal(net_start(net, victim), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 3000));
    assert_true(misplaced(net) >= GROUPS / 3);
    for (id = 1; id <= 3; id++) {
        balance_enable(net->nodes[id].node, true);
    }
    for (i = 0; i < 30; i++) {
        for (id = 1; id <= 3; id++) {
            before[id] = balance_transfers(net->nodes[id].node);
        }
        net_run_ms(net, BALANCE_EVERY_MS - 50);
        for (id = 1; id <= 3; id++) {
            assert_true(balance_transfers(net->nodes[id].node) - before[id] <= 1);
        }
    }
    assert_int_equal(misplaced(net), 0);
    assert_int_equal(balance_leading(net->nodes[victim].node) >= GROUPS / 3, true);
    net_free(net);
}

static void leaves_a_node_alone_that_is_down(void **state)
{
    struct net *net = ready(true);
    uint64_t begun;

    (void)state;
    net_run_ms(net, 40000);
    net_kill(net, 2);
    begun = transfers(net);
    net_run_ms(net, 30000);
    assert_int_equal(transfers(net), begun);
    assert_true(misplaced(net) >= GROUPS / 3);
    net_free(net);
}

static void writes_go_on_meanwhile(void **state)
{
    struct net *net = ready(true);
    uint32_t i;
    uint64_t begin, worst = 0;

    (void)state;
    for (i = 0; i < 2000; i++) {
        begin = net->now_us;
        assert_int_equal(net_put(net, 1 + i % 3, i % 2 == 0 ? "a" : "{b}c", "1"), 0);
        worst = KV_MAX(worst, net->now_us - begin);
        net_run_ms(net, 10);
    }
    assert_int_equal(misplaced(net), 0);
    assert_true(worst < 100000);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_every_leader_home),
        cmocka_unit_test(waits_until_things_are_quiet),
        cmocka_unit_test(begins_one_transfer_a_second_at_most),
        cmocka_unit_test(leaves_a_node_alone_that_is_down),
        cmocka_unit_test(writes_go_on_meanwhile),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/balance", tests, NULL, NULL);
}
