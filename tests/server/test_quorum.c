/* tests/server/test_quorum.c - quorum reads between nodes, with and without leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/quorum.h"
#include "tests/lib/node_net.h"

struct answer {
    int error;
    char text[256];
    char value[64];
    bool found;
    struct rpc_at at;
};

static struct net *ready(uint32_t nodes, uint32_t groups)
{
    struct net_options o = {.nodes = nodes, .groups = groups, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    net_run_ms(net, 500);
    return net;
}

/* A quorum read of "k"; r 0: the default. */
static void read_at(struct net *net, uint32_t node, uint32_t r, uint32_t deadline_ms,
                    struct answer *out)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply reply;

    assert_non_null(c);
    assert_int_equal(rpc_decoder_init(&d), 0);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("k");
    q.options.level = RPC_QUORUM;
    q.options.r = r;
    q.options.deadline_ms = deadline_ms;
    q.options.has = RPC_OPT_BIT(RPC_OPT_level) | RPC_OPT_BIT(RPC_OPT_deadline_ms) |
                    (r != 0 ? RPC_OPT_BIT(RPC_OPT_r) : 0);
    assert_int_equal(net_call(net, c, &q, &d, &reply), 0);
    memset(out, 0, sizeof *out);
    out->error = reply.error;
    snprintf(out->text, sizeof out->text, "%.*s", (int)reply.error_text.len,
             (const char *)reply.error_text.data);
    snprintf(out->value, sizeof out->value, "%.*s", (int)reply.value.len,
             (const char *)reply.value.data);
    out->found = reply.found;
    out->at = reply.at;
    rpc_decoder_close(&d);
    net_disconnect(net, c);
}

static void any_node_reads_what_was_written(void **state)
{
    struct net *net = ready(5, 4);
    struct answer a;

    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        char value[16];

        snprintf(value, sizeof value, "%u", i);
        assert_int_equal(net_put(net, 1 + i % 5, "k", value), 0);
        read_at(net, 1 + (i + 2) % 5, 0, 2000, &a); /* At once: some have it pending. */
        assert_int_equal(a.error, 0);
        assert_string_equal(a.value, value);
        assert_int_equal(a.at.level, RPC_QUORUM);
    }
    net_free(net);
}

/* The leader dies; before another one is elected, its writes are read. */
static void the_leader_need_not_live(void **state)
{
    struct net *net = ready(3, 1);
    struct answer a;
    uint32_t leader = net_leader(net, 1);
    uint64_t began_us;

    (void)state;
    assert_int_equal(net_put(net, leader, "k", "v"), 0);
    net_run_ms(net, 200);
    net_kill(net, leader);
    began_us = net->now_us;
    read_at(net, leader % 3 + 1, 0, 2000, &a);
    assert_int_equal(a.error, 0);
    assert_string_equal(a.value, "v");
    assert_true(net->now_us - began_us < 50000);
    net_free(net);
}

static void a_minority_gives_a_clear_error(void **state)
{
    struct net *net = ready(3, 1);
    struct answer a;

    (void)state;
    assert_int_equal(net_put(net, 1, "k", "v"), 0);
    net_isolate(net, 2, true);
    read_at(net, 2, 0, 400, &a);
    assert_int_equal(a.error, KV_ETIMEOUT);
    assert_non_null(strstr(a.text, "1 of 3 replicas answered"));
    read_at(net, 2, 1, 400, &a);
    assert_int_equal(a.error, KV_EBADQUORUM);
    assert_non_null(strstr(a.text, "it can be 2 to 3"));
    net_isolate(net, 2, false);
    read_at(net, 2, 3, 4000, &a);
    assert_int_equal(a.error, 0);
    net_free(net);
}

/* The key is there; then a write comes that only the leader and one more have, and the
 * leader dies. */
static void read_behind(struct rpc_request *q, struct answer *out)
{
    struct net *net = ready(3, 1);
    uint32_t leader = net_leader(net, 1);
    uint32_t other = leader % 3 + 1, third = other % 3 + 1;
    struct net_client *c = net_connect(net, leader);

    assert_int_equal(net_put(net, leader, "k", "old"), 0);
    net_run_ms(net, 200);
    net_cut(net, leader, third, true);
    (void)net_ask(net, c, q);
    for (uint32_t i = 0; i < 2000; i++) { /* Until the other one has it in its log. */
        struct raft_status s;
        struct raft_status l;

        group_raft_status(node_group(net->nodes[other].node, 1), &s);
        group_raft_status(node_group(net->nodes[leader].node, 1), &l);
        if (s.last.index == l.last.index && s.last.index > s.applied) {
            break;
        }
        net->now_us += 25; /* Before it hears that it is committed. */
        net_run_ms(net, 0);
    }
    net_kill(net, leader);
    net_cut(net, leader, third, false);
    read_at(net, third, 0, 5000, out);
    assert_int_equal(out->error, 0);
    net_free(net);
}

/* It is waited for, and then seen: the new leader commits it. */
static void a_pending_write_is_waited_for(void **state)
{
    struct rpc_request q;
    struct answer a;

    (void)state;
    rpc_request_init(&q, RPC_KV_PUT, 0);
    q.key = kv_bytes_str("k");
    q.value = kv_bytes_str("new");
    read_behind(&q, &a);
    assert_string_equal(a.value, "new");
}

/* It names no keys; this one may lie in its range. */
static void a_pending_range_delete_is_waited_for(void **state)
{
    struct rpc_request q;
    struct answer a;

    (void)state;
    rpc_request_init(&q, RPC_KV_DELRANGE, 0);
    q.begin = kv_bytes_str("a");
    q.end = kv_bytes_str("z");
    read_behind(&q, &a);
    assert_false(a.found);
}

static void ranges_are_refused(void **state)
{
    struct net *net = ready(3, 2);
    struct net_client *c = net_connect(net, 1);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply r;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    rpc_request_init(&q, RPC_KV_RANGE, 0);
    q.options.level = RPC_QUORUM;
    q.options.has = RPC_OPT_BIT(RPC_OPT_level);
    assert_int_equal(net_call(net, c, &q, &d, &r), 0);
    assert_int_equal(r.error, KV_EBADREQUEST);
    rpc_decoder_close(&d);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_node_reads_what_was_written),
        cmocka_unit_test(the_leader_need_not_live),
        cmocka_unit_test(a_minority_gives_a_clear_error),
        cmocka_unit_test(a_pending_write_is_waited_for),
        cmocka_unit_test(a_pending_range_delete_is_waited_for),
        cmocka_unit_test(ranges_are_refused),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/quorum", tests, NULL, NULL);
}
