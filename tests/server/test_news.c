/* tests/server/test_news.c - clients that asked for it hear who leads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "rpc/news.h"
#include "server/news.h"
#include "tests/lib/node_net.h"

enum {
    NODES = 3,
    GROUPS = 4,
};

static int setup(void **state)
{
    struct net_options o = {.nodes = NODES, .groups = GROUPS, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 10000));
    *state = net;
    return 0;
}

static int teardown(void **state)
{
    net_free(*state);
    return 0;
}

/* What a client has heard, by group; the newest term counts. */
struct heard {
    struct rpc_leader leaders[GROUPS + 1];
    uint32_t notes;
};

static struct net_client *listen_at(struct net *net, uint32_t node, bool wanted)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_request hello;

    assert_non_null(c);
    rpc_request_init(&hello, RPC_HELLO, 0);
    hello.options.leaders = wanted;
    hello.options.has |= wanted ? RPC_OPT_BIT(RPC_OPT_leaders) : 0;
    (void)net_ask(net, c, &hello);
    return c;
}

static void hear(struct net_client *c, struct heard *h)
{
    struct rpc_decoder d;
    struct kv_bytes m;

    assert_int_equal(rpc_decoder_init(&d), 0);
    while (net_take(c, &m)) {
        struct rpc_list list;
        enum rpc_type type;
        uint32_t msgid;

        assert_int_equal(rpc_peek(m, &type, &msgid), 0);
        if (type != RPC_NOTIFICATION) {
            continue;
        }
        assert_int_equal(rpc_leaders_decode(&d, m, &list), 0);
        h->notes++;
        for (uint32_t i = 0; i < list.count; i++) {
            struct rpc_leader l;

            rpc_leader_get(&list, i, &l);
            assert_true(l.group <= GROUPS && l.term >= h->leaders[l.group].term);
            h->leaders[l.group] = l;
        }
    }
    rpc_decoder_close(&d);
}

static void a_client_hears_what_is_known_and_what_changes(void **state)
{
    struct net *net = *state;
    uint32_t victim = net_leader(net, 1);
    uint32_t other = victim % NODES + 1;
    struct net_client *c = listen_at(net, other, true);
    struct heard h = {0};
    uint64_t term;

    net_run_ms(net, 20);
    hear(c, &h);
    for (uint32_t g = 1; g <= GROUPS; g++) {
        assert_int_equal(h.leaders[g].node, net_leader(net, g));
        assert_true(h.leaders[g].term > 0);
    }
    term = h.leaders[1].term;
    net_kill(net, victim);
    net_run_ms(net, 2000);
    hear(c, &h);
    assert_int_not_equal(net_leader(net, 1), 0);
    assert_int_equal(h.leaders[1].node, net_leader(net, 1));
    assert_int_not_equal(h.leaders[1].node, victim);
    assert_true(h.leaders[1].term > term);
}

static void nobody_hears_who_did_not_ask(void **state)
{
    struct net *net = *state;
    uint32_t victim = net_leader(net, 1);
    struct net_client *c = listen_at(net, victim % NODES + 1, false);
    struct heard h = {0};

    net_kill(net, victim);
    net_run_ms(net, 2000);
    hear(c, &h);
    assert_int_equal(h.notes, 0);
}

/* More than a turn serves, some of which go away meanwhile. */
static void many_hear_over_several_turns(void **state)
{
    static struct net_client *clients[NEWS_TURN_CONNS + 100];
    struct net *net = *state;
    uint32_t victim = net_leader(net, 1);
    uint32_t other = victim % NODES + 1;

    for (size_t i = 0; i < KV_ARRAY_COUNT(clients); i++) {
        clients[i] = listen_at(net, other, true);
    }
    net_run_ms(net, 100);
    net_kill(net, victim);
    for (size_t i = 0; i < KV_ARRAY_COUNT(clients); i += 7) {
        net_disconnect(net, clients[i]);
    }
    net_run_ms(net, 2000);
    for (size_t i = 0; i < KV_ARRAY_COUNT(clients); i++) {
        struct heard h = {0};

        if (i % 7 != 0) {
            hear(clients[i], &h);
            assert_int_equal(h.leaders[1].node, net_leader(net, 1));
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_hears_what_is_known_and_what_changes,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_hears_who_did_not_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(many_hear_over_several_turns, setup, teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/news", tests, NULL, NULL);
}
