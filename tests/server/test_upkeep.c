/* tests/server/test_upkeep.c - the pace of sweeping and scrubbing, and findings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/upkeep.h"
#include "tests/lib/node_net.h"

static struct net *ready(uint64_t scrub_bytes_per_s)
{
    struct net_options o = {.nodes = 3, .groups = 1, .replicas = 3};
    struct net *net = net_new(&o);
    uint32_t id;

    for (id = 1; id <= 3; id++) {
        net->nodes[id].config.scrub_bytes_per_s = scrub_bytes_per_s;
    }
    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

static struct upkeep_stats stats(struct net *net, uint32_t id)
{
    struct upkeep_stats s;

    upkeep_stats_get(net->nodes[id].node->upkeep, &s);
    return s;
}

static void scrubs_so_many_bytes_a_second(void **state)
{
    struct net *net = ready(20000);
    struct upkeep_stats before, after;
    char key[16];

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(net_put(net, 1, key, "a value of no special meaning"), 0);
    }
    before = stats(net, 1);
    net_run_ms(net, 10000);
    after = stats(net, 1);
    /* Each step ends with a whole record, each round before its step is used up. */
    assert_in_range(after.scrub_bytes - before.scrub_bytes, 150000, 250000);
    assert_true(after.scrub_rounds > before.scrub_rounds);
    assert_int_equal(after.damages, 0);
    net_free(net);
}

static void can_be_switched_off(void **state)
{
    struct net *net = ready(0);

    (void)state;
    net_run_ms(net, 5000);
    assert_int_equal(stats(net, 1).scrubs, 0);
    assert_in_range(stats(net, 1).sweeps, 3, 7);
    net_free(net);
}

static void tells_the_group_whose_entry_is_damaged(void **state)
{
    struct net *net = ready(1 << 20);
    struct raft_status status;
    uint32_t i;

    (void)state;
    for (i = 0; i < 20; i++) {
        assert_int_equal(net_put(net, 1, "a", "1"), 0);
    }
    group_raft_status(node_group(net->nodes[2].node, 1), &status);
    assert_true(mem_store_flip_entry(net->nodes[2].store, 1, status.last.index, 77));
    net_run_ms(net, 3000);

    assert_true(stats(net, 2).damages >= 1);
    assert_true(net_lines(net, "damaged=log") >= 1);
    /* It was fetched from the others by its hash; nobody noticed. */
    group_raft_status(node_group(net->nodes[2].node, 1), &status);
    assert_false(status.impaired);
    assert_int_equal(net_put(net, 2, "a", "2"), 0);
    net_free(net);
}

static void a_damaged_row_is_told_and_replaced(void **state)
{
    struct net *net = ready(1 << 20);
    uint32_t victim;
    char value[64];
    bool found;

    (void)state;
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_run_ms(net, 5000); /* Until it was checkpointed. */
    victim = net_leader(net, 1) % 3 + 1;
    assert_true(
        mem_store_flip_row(net->nodes[victim].store, 1, ROW_KV, kv_bytes_str("a"), 5));
    net_run_ms(net, 10000);
    assert_true(net_lines(net, "damaged=state") >= 1);
    assert_int_equal(net_get(net, victim, "a", &found, value), 0);
    assert_string_equal(value, "1");
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scrubs_so_many_bytes_a_second),
        cmocka_unit_test(can_be_switched_off),
        cmocka_unit_test(tells_the_group_whose_entry_is_damaged),
        cmocka_unit_test(a_damaged_row_is_told_and_replaced),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/upkeep", tests, NULL, NULL);
}
