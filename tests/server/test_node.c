/* tests/server/test_node.c - whole nodes: writing, losing leaders, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/balance.h"
#include "server/node_parts.h"
#include "server/router.h"
#include "tests/lib/node_net.h"

static struct net *ready(uint32_t nodes, uint32_t groups)
{
    struct net_options o = {.nodes = nodes, .groups = groups, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

static void expect(struct net *net, uint32_t node, const char *key, const char *want)
{
    char value[64];
    bool found = false;

    assert_int_equal(net_get(net, node, key, &found, value), 0);
    assert_true(found);
    assert_string_equal(value, want);
}

static void a_single_node_forms_at_once_and_answers(void **state)
{
    struct net *net = ready(1, 2);

    (void)state;
    assert_true(net->now_us < 2500000);
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    expect(net, 1, "a", "1");
    net_free(net);
}

static void three_nodes_form_and_each_answers(void **state)
{
    struct net *net = ready(3, 4);
    char key[16];
    uint32_t i, id;

    (void)state;
    for (i = 0; i < 24; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(net_put(net, 1 + i % 3, key, key), 0);
        for (id = 1; id <= 3; id++) {
            expect(net, id, key, key);
        }
    }
    net_free(net);
}

/* Requests wait until the group knows which slots it owns, but not for the heartbeat
 * after that, also where the first leader died before the others had heard of it. */
static void a_new_leader_of_a_new_group_answers_at_once(void **state)
{
    struct net_options o = {.nodes = 3, .groups = 1, .replicas = 3};
    struct net *net = net_new(&o);
    uint32_t first, second = 0;
    uint64_t begin_us;

    (void)state;
    net_start_all(net);
    while ((first = net_leader(net, 1)) == 0) {
        net_run_ms(net, 1);
    }
    net_kill(net, first);
    while (second == 0 || second == first) {
        net_run_ms(net, 1);
        second = net_leader(net, 1);
    }
    begin_us = net->now_us;
    assert_int_equal(net_put(net, second, "key", "value"), 0);
    assert_true(net->now_us - begin_us < 10000);
    net_free(net);
}

static void five_nodes_serve_groups_that_they_do_not_host(void **state)
{
    struct net *net = ready(5, 8);
    char key[16];
    uint32_t i, id;

    (void)state;
    for (i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(net_put(net, 1 + i % 5, key, key), 0);
    }
    for (i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        for (id = 1; id <= 5; id++) {
            expect(net, id, key, key);
        }
    }
    net_free(net);
}

static void the_others_go_on_when_a_leader_dies(void **state)
{
    struct net *net = ready(3, 4);
    uint32_t victim = net_leader(net, 1), other = victim % 3 + 1, i;
    uint64_t killed_us;
    char key[16];

    (void)state;
    for (i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(net_put(net, other, key, key), 0);
    }
    net_kill(net, victim);
    killed_us = net->now_us;

    for (i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        expect(net, other, key, key);
        assert_int_equal(net_put(net, other, key, "again"), 0);
    }
    /* All groups together, elections included. */
    assert_true(net->now_us - killed_us < 1000000);

    assert_int_equal(net_start(net, victim), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    for (i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        expect(net, victim, key, "again");
    }
    net_free(net);
}

static void everything_is_there_after_all_were_killed(void **state)
{
    struct net *net = ready(3, 4);
    uint32_t round, id, i;
    char key[16], value[16];

    (void)state;
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 20; i++) {
            snprintf(key, sizeof(key), "key%u", i);
            snprintf(value, sizeof(value), "%u", round);
            assert_int_equal(net_put(net, 1 + i % 3, key, value), 0);
        }
        for (id = 1; id <= 3; id++) {
            net_kill(net, id);
        }
        net_run_ms(net, 10);
        net_start_all(net);
        assert_true(net_run_until(net, net_is_ready, NULL, 5000));
        for (i = 0; i < 20; i++) {
            snprintf(key, sizeof(key), "key%u", i);
            snprintf(value, sizeof(value), "%u", round);
            expect(net, 1 + (i + 1) % 3, key, value);
        }
    }
    net_free(net);
}

static void a_cut_off_node_says_that_it_has_no_leader(void **state)
{
    struct net *net = ready(3, 2);
    char value[64];
    bool found;

    (void)state;
    net_isolate(net, 1, true);
    net_run_ms(net, 2000);
    net->nodes[1].node->config.request_deadline_ms = 300;

    assert_int_equal(net_put(net, 1, "a", "1"), KV_ENOLEADER);
    assert_int_equal(net_get(net, 1, "a", &found, value), KV_ENOLEADER);
    assert_int_equal(net_put(net, 2, "a", "2"), 0);

    net_isolate(net, 1, false);
    assert_true(net_run_until(net, net_is_ready, NULL, 10000));
    net->nodes[1].node->config.request_deadline_ms = 5000;
    expect(net, 1, "a", "2");
    net_free(net);
}

static bool is_stopped(struct net *net, void *ctx)
{
    return node_stopped(net->nodes[*(uint32_t *)ctx].node);
}

static void a_stopping_node_hands_over_first(void **state)
{
    struct net *net = ready(3, 6);
    uint32_t victim = net_leader(net, 1), other = victim % 3 + 1, g;
    uint64_t terms[7];
    struct raft_status status;

    (void)state;
    assert_int_equal(net_put(net, other, "a", "1"), 0);
    for (g = 1; g <= 6; g++) {
        group_raft_status(node_group(net->nodes[other].node, g), &status);
        terms[g] = status.term;
    }
    node_stop(net->nodes[victim].node);

    assert_true(net_run_until(net, is_stopped, &victim, 1000));
    net_run_ms(net, 2); /* The new leaders' first messages arrive. */

    for (g = 0; g <= 6; g++) {
        assert_int_not_equal(net_leader(net, g), victim);
        assert_int_not_equal(net_leader(net, g), 0);
    }
    /* One election each at most: nobody waited for a timeout. */
    for (g = 1; g <= 6; g++) {
        group_raft_status(node_group(net->nodes[other].node, g), &status);
        assert_true(status.term <= terms[g] + 1);
    }
    assert_int_equal(net_put(net, victim, "a", "2"), KV_ENOLEADER);
    net_kill(net, victim);
    expect(net, other, "a", "1");
    net_free(net);
}

static void answers_hello_status_and_map_itself(void **state)
{
    struct net *net = ready(3, 4);
    struct net_client *c = net_connect(net, 2);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply reply;
    uint32_t i;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    rpc_request_init(&q, RPC_HELLO, 0);
    assert_int_equal(net_call(net, c, &q, &d, &reply), 0);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.node, 2);
    assert_int_equal(reply.proto, RPC_PROTO);
    assert_int_not_equal(reply.cluster, 0);

    rpc_request_init(&q, RPC_CLUSTER_STATUS, 0);
    assert_int_equal(net_call(net, c, &q, &d, &reply), 0);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.epoch, 1);
    assert_int_equal(reply.groups.count, 4);
    for (i = 0; i < 4; i++) {
        struct rpc_group_status s;

        rpc_reply_group_get(&reply, i, &s);
        assert_int_equal(s.id, i + 1);
        assert_int_equal(s.leader, net_leader(net, i + 1));
        assert_int_equal(s.voters_count, 3);
        assert_int_equal(s.w, 2);
    }
    rpc_request_init(&q, RPC_CLUSTER_MAP, 0);
    assert_int_equal(net_call(net, c, &q, &d, &reply), 0);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.leaders.count, 4);
    assert_int_equal(rpc_reply_leader_get(&reply, 0), net_leader(net, 1));
    rpc_decoder_close(&d);
    net_free(net);
}

static void refuses_what_this_version_does_not_serve(void **state)
{
    struct net *net = ready(1, 1);
    struct net_client *c = net_connect(net, 1);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply reply;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("a");
    q.options.wait_ms = 5;
    q.options.has = RPC_OPT_BIT(RPC_OPT_wait_ms);
    assert_int_equal(net_call(net, c, &q, &d, &reply), 0);
    assert_int_equal(reply.error, KV_EBADREQUEST);
    /* A method that nobody knows. */
    net_send(net, c, "\x94\x00\x63\xa7kv.frob\x91\xa1x", 14);
    net_run_ms(net, 10);
    assert_true(c->in.len > c->at);
    assert_non_null(memmem(c->in.data + c->at, c->in.len - c->at, "BAD_REQUEST", 11));
    rpc_decoder_close(&d);
    net_free(net);
}

static void an_idle_cluster_touches_few_groups(void **state)
{
    struct net *net = ready(3, 64);
    uint64_t before;

    (void)state;
    net_run_ms(net, 3000);
    before = net->events;
    net_run_ms(net, 1000);
    /* 20 heartbeat rounds of 3 nodes, their answers, disk idle: no group of its own. */
    assert_true(net->events - before < 1500);
    net_free(net);
}

static void refuses_a_wrong_configuration(void **state)
{
    struct net_options o = {.nodes = 3, .groups = 4, .replicas = 3};
    struct net *net = net_new(&o);
    struct node_config *c = &net->nodes[1].config;
    struct node_config good = *c;

    (void)state;
    c->groups = 0;
    assert_int_equal(net_start(net, 1), KV_EINVAL);
    *c = good;
    c->id = 9;
    assert_int_equal(net_start(net, 1), KV_EINVAL);
    *c = good;
    c->nodes[1].id = 1;
    assert_int_equal(net_start(net, 1), KV_EINVAL);
    *c = good;
    c->nodes_count = 0;
    assert_int_equal(net_start(net, 1), KV_EINVAL);
    *c = good;
    c->election_timeout_ms = c->heartbeat_ms;
    assert_int_equal(net_start(net, 1), KV_EINVAL);
    assert_string_not_equal(net->nodes[1].error_text, "");
    *c = good;
    assert_int_equal(net_start(net, 1), 0);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_node_forms_at_once_and_answers),
        cmocka_unit_test(three_nodes_form_and_each_answers),
        cmocka_unit_test(a_new_leader_of_a_new_group_answers_at_once),
        cmocka_unit_test(five_nodes_serve_groups_that_they_do_not_host),
        cmocka_unit_test(the_others_go_on_when_a_leader_dies),
        cmocka_unit_test(everything_is_there_after_all_were_killed),
        cmocka_unit_test(a_cut_off_node_says_that_it_has_no_leader),
        cmocka_unit_test(a_stopping_node_hands_over_first),
        cmocka_unit_test(answers_hello_status_and_map_itself),
        cmocka_unit_test(refuses_what_this_version_does_not_serve),
        cmocka_unit_test(an_idle_cluster_touches_few_groups),
        cmocka_unit_test(refuses_a_wrong_configuration),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/node", tests, NULL, NULL);
}
