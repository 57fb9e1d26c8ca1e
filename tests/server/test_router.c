/* tests/server/test_router.c - requests that another node has to carry out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "server/router.h"
#include "tests/lib/node_net.h"

/* Counts frames by kind and sender, and loses sends that hold one of a kind. */
struct filter {
    uint32_t seen[NET_NODES_MAX + 1][PEER_KINDS_END];
    uint32_t lose_from; /* 0: nobody's. */
    uint8_t lose_kind;
    uint32_t lose_times;
};

static bool filtering(struct net *net, uint32_t from, uint32_t to,
                      struct kv_bytes frames)
{
    struct filter *f = net->lose_ctx;
    size_t at = 0;
    bool lose = false;

    (void)to;
    while (at < frames.len) {
        struct peer_frame frame;
        size_t need;

        assert_int_equal(
            peer_frame_decode(frames.data + at, frames.len - at, &frame, &need), 0);
        f->seen[from][frame.head.kind]++;
        lose = lose || (from == f->lose_from && frame.head.kind == f->lose_kind);
        at += frame.frame_bytes;
    }
    if (lose && f->lose_times > 0) {
        f->lose_times--;
        return true;
    }
    return false;
}

static struct net *ready(uint32_t nodes, struct filter *f)
{
    struct net_options o = {.nodes = nodes, .groups = 4, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    net_run_ms(net, 200);
    memset(f, 0, sizeof(*f));
    net->lose_ctx = f;
    net->lose = filtering;
    return net;
}

/* A key of group 1. */
static const char *key_of_group(struct net *net, uint32_t group)
{
    static char key[16];
    uint32_t i;

    for (i = 0;; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        if (map_group_for_key(&net->nodes[1].node->map, kv_bytes_str(key)) == group) {
            return key;
        }
    }
}

static int call(struct net *net, uint32_t node, struct rpc_request *q, char *text)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_decoder d;
    struct rpc_reply r;
    int rc;

    assert_non_null(c);
    assert_int_equal(rpc_decoder_init(&d), 0);
    rc = net_call(net, c, q, &d, &r);
    if (rc == 0) {
        rc = r.error;
        snprintf(text, 256, "%.*s", (int)r.error_text.len,
                 (const char *)r.error_text.data);
    }
    rpc_decoder_close(&d);
    net_disconnect(net, c);
    return rc;
}

static void incr(struct rpc_request *q, const char *key, uint32_t deadline_ms)
{
    rpc_request_init(q, RPC_KV_INCR, 0);
    q->key = kv_bytes_str(key);
    q->delta = 1;
    if (deadline_ms > 0) {
        q->options.deadline_ms = deadline_ms;
        q->options.has = RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
}

static void a_write_is_passed_on_once(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;

    (void)state;
    assert_int_equal(net_put(net, other, key_of_group(net, 1), "1"), 0);
    assert_int_equal(f.seen[other][PEER_FORWARD], 1);
    assert_int_equal(f.seen[leader][PEER_FORWARD_REPLY], 1);
    assert_int_equal(net_put(net, leader, key_of_group(net, 1), "1"), 0);
    assert_int_equal(f.seen[leader][PEER_FORWARD], 0);
    net_free(net);
}

static void a_write_without_an_answer_is_unknown_and_not_sent_again(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    struct rpc_request q;
    char text[256], value[64];
    bool found;

    (void)state;
    f.lose_from = leader;
    f.lose_kind = PEER_FORWARD_REPLY;
    f.lose_times = 1;
    incr(&q, key, 500);
    assert_int_equal(call(net, other, &q, text), KV_EUNKNOWN);

    assert_int_equal(f.seen[other][PEER_FORWARD], 1);
    net_run_ms(net, 1000);
    assert_int_equal(net_get(net, leader, key, &found, value), 0);
    assert_string_equal(value, "1"); /* It was done, once. */
    net_free(net);
}

static void a_write_on_a_lost_link_is_unknown_at_once(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    struct net_client *c = net_connect(net, other);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply r;
    struct kv_bytes m;
    uint64_t begin = net->now_us;

    (void)state;
    incr(&q, key, 0);
    (void)net_ask(net, c, &q);
    while (f.seen[other][PEER_FORWARD] == 0) {
        net_run_ms(net, 0);
        net->now_us += 10;
    }
    net_kill(net, leader);
    net_run_ms(net, 50);

    assert_true(net_take(c, &m));
    assert_int_equal(rpc_decoder_init(&d), 0);
    assert_int_equal(rpc_reply_decode(&d, m, RPC_KV_INCR, &r), 0);
    assert_int_equal(r.error, KV_EUNKNOWN);
    assert_true(net->now_us - begin < 100000);
    assert_int_equal(f.seen[other][PEER_FORWARD], 1);
    rpc_decoder_close(&d);
    net_free(net);
}

static void a_read_on_a_lost_link_is_asked_again(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    struct net_client *c = net_connect(net, other);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply r;
    struct kv_bytes m;

    (void)state;
    assert_int_equal(net_put(net, other, key, "1"), 0);
    f.seen[other][PEER_FORWARD] = 0;
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str(key);
    (void)net_ask(net, c, &q);
    while (f.seen[other][PEER_FORWARD] == 0) {
        net_run_ms(net, 0);
        net->now_us += 10;
    }
    net_kill(net, leader);
    net_run_ms(net, 1000);

    assert_true(net_take(c, &m));
    assert_int_equal(rpc_decoder_init(&d), 0);
    assert_int_equal(rpc_reply_decode(&d, m, RPC_KV_GET, &r), 0);
    assert_int_equal(r.error, 0);
    assert_true(r.found);
    rpc_decoder_close(&d);
    net_free(net);
}

static void a_read_leaves_a_leader_that_does_not_answer(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    uint64_t begin;
    char value[64];
    bool found;

    (void)state;
    assert_int_equal(net_put(net, other, key, "1"), 0);
    net_isolate(net, leader, true); /* As if it were paused: no link is closed. */
    begin = net->now_us;
    assert_int_equal(net_get(net, other, key, &found, value), 0);
    assert_string_equal(value, "1");
    assert_true(net->now_us - begin < 1000000);
    net_free(net);
}

static void who_wants_no_forwarding_is_told_where_to_go(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    struct rpc_request q;
    char text[256], want[64];

    (void)state;
    incr(&q, key_of_group(net, 1), 0);
    q.options.forward = false;
    q.options.has = RPC_OPT_BIT(RPC_OPT_forward);
    assert_int_equal(call(net, other, &q, text), KV_ENOTLEADER);
    snprintf(want, sizeof(want), "NOT_LEADER node%u:%u", leader,
             NET_CLIENT_PORT + leader);
    assert_string_equal(text, want);
    assert_int_equal(call(net, leader, &q, text), 0);
    assert_int_equal(f.seen[other][PEER_FORWARD], 0);

    /* Nobody leads: said at once, without waiting. */
    net_kill(net, leader);
    net_kill(net, 6 - leader - other);
    net_run_ms(net, 500);
    assert_int_equal(call(net, other, &q, text), KV_ENOLEADER);
    net_free(net);
}

static void a_request_waits_for_a_new_leader(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    struct router_stats s;

    (void)state;
    net_kill(net, leader);
    net_run_ms(net, 1); /* The link is gone, nobody was elected yet. */
    assert_int_equal(net_put(net, other, key, "1"), 0);
    router_stats_get(net->nodes[other].node->router, &s);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.forwarded, 0);
    net_free(net);
}

/* A candidate said its term and died before its disk had it. */
static void a_leader_is_believed_after_a_term_that_was_lost(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    struct node *n = net->nodes[1].node;
    struct raft_status status;

    (void)state;
    group_raft_status(node_group(n, 1), &status);
    router_hint(n, 1, 0, status.term + 2);
    assert_int_equal(n->leader_hints[1], 0);
    router_hint(n, 1, 2, status.term + 1);
    assert_int_equal(n->leader_hints[1], 2);
    router_hint(n, 1, 3, status.term); /* But not an older leader. */
    assert_int_equal(n->leader_hints[1], 2);
    net_free(net);
}

static void a_wrong_hint_costs_one_more_way(void **state)
{
    struct filter f;
    struct net *net = ready(5, &f);
    uint32_t outsider = 0, follower = 0, leader = net_leader(net, 1), id;
    const struct map_group *g = map_group_find(&net->nodes[1].node->map, 1);

    (void)state;
    for (id = 1; id <= 5; id++) {
        if (map_replica_on_node(g, id) == 0) {
            outsider = id;
        } else if (id != leader) {
            follower = id;
        }
    }
    net->nodes[outsider].node->leader_hints[1] = follower;
    assert_int_equal(net_put(net, outsider, key_of_group(net, 1), "1"), 0);

    assert_int_equal(f.seen[outsider][PEER_FORWARD], 2);
    assert_int_equal(f.seen[follower][PEER_FORWARD], 0); /* Never passed on again. */
    assert_int_equal(net->nodes[outsider].node->leader_hints[1], leader);
    net_free(net);
}

/* A node is killed while the leader works on what it passed on, and its next process
 * passes something on, too: each answer belongs to the process that asked. */
static void an_answer_to_a_dead_process_is_not_taken_by_the_next(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    const char *key = key_of_group(net, 1);
    struct rpc_request q;
    struct rpc_decoder d;
    struct rpc_reply r;

    (void)state;
    net_kill(net, 6 - leader - other);
    f.lose_from = leader;
    f.lose_kind = PEER_RAFT;
    f.lose_times = UINT32_MAX; /* The write stays undecided. */
    incr(&q, key, 0);
    (void)net_ask(net, net_connect(net, other), &q);
    while (f.seen[other][PEER_FORWARD] == 0) {
        net_run_ms(net, 1);
    }
    net_run_ms(net, 5);
    net_kill(net, other);
    f.lose_times = 0;
    assert_int_equal(net_start(net, other), 0);

    assert_int_equal(rpc_decoder_init(&d), 0);
    q.delta = 100;
    assert_int_equal(net_call(net, net_connect(net, other), &q, &d, &r), 0);
    assert_int_equal(r.error, 0);
    assert_int_equal(r.number, 101);
    rpc_decoder_close(&d);
    net_free(net);
}

static void an_answer_nobody_waits_for_is_dropped(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    struct node *n = net->nodes[1].node;
    struct router_stats s;

    (void)state;
    router_forward_done(n, 2, 12345, kv_bytes("\xc0\xc0", 2));
    router_stats_get(n->router, &s);
    assert_int_equal(s.forwards_stale, 1);
    net_free(net);
}

/* Errors of other nodes, as bytes: whatever they are, nothing breaks. */
static void an_answer_may_be_any_bytes(void **state)
{
    static const char *const tails[] = {"",
                                        "\xc0",
                                        "\xa0\xc0",
                                        "\xd9",
                                        "\xd9\xff"
                                        "x",
                                        "\xbfNOT_LEADER",
                                        "\xaaNOT_LEADER\xc0",
                                        "\xabNOT_LEADER \xc0",
                                        "\x01\x02"};
    uint32_t i;

    (void)state;
    for (i = 0; i < KV_ARRAY_COUNT(tails); i++) {
        struct filter f;
        struct net *net = ready(3, &f);
        uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
        struct net_client *c = net_connect(net, other);
        struct node *n = net->nodes[other].node;
        struct rpc_request q;
        struct router_stats s;

        f.lose_from = other;
        f.lose_kind = PEER_FORWARD;
        f.lose_times = 1;
        incr(&q, key_of_group(net, 1), 400);
        (void)net_ask(net, c, &q);
        net_run_ms(net, 2);
        router_stats_get(n->router, &s);
        assert_int_equal(s.forwarded, 1);
        node_tick(n);
        router_forward_done(n, leader, s.forwards, kv_bytes_str(tails[i]));
        node_turn_end(n);
        net_run_ms(net, 1000);
        assert_int_equal(request_pool_count(n->requests), 0);
        net_free(net);
    }
}

static void too_many_waiting_requests_get_busy(void **state)
{
    struct filter f;
    struct net *net = ready(3, &f);
    struct net_client *clients[10];
    struct rpc_decoder d;
    struct rpc_request q;
    uint32_t busy = 0, other_errors = 0, i, j;
    struct kv_bytes m;

    (void)state;
    net_kill(net, 2);
    net_kill(net, 3);
    net_run_ms(net, 1000);
    incr(&q, key_of_group(net, 1), 300);
    for (i = 0; i < 10; i++) {
        clients[i] = net_connect(net, 1);
        for (j = 0; j < 1000; j++) {
            (void)net_ask(net, clients[i], &q);
        }
    }
    net_run_ms(net, 1000);
    assert_int_equal(rpc_decoder_init(&d), 0);
    for (i = 0; i < 10; i++) {
        while (net_take(clients[i], &m)) {
            struct rpc_reply r;

            assert_int_equal(rpc_reply_decode(&d, m, RPC_KV_INCR, &r), 0);
            busy += r.error == KV_EBUSY ? 1 : 0;
            other_errors += r.error == KV_ENOLEADER ? 1 : 0;
        }
    }
    assert_int_equal(busy + other_errors, 10000);
    assert_int_equal(busy, 10000 - 8192);
    rpc_decoder_close(&d);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_passed_on_once),
        cmocka_unit_test(a_write_without_an_answer_is_unknown_and_not_sent_again),
        cmocka_unit_test(a_write_on_a_lost_link_is_unknown_at_once),
        cmocka_unit_test(a_read_on_a_lost_link_is_asked_again),
        cmocka_unit_test(a_read_leaves_a_leader_that_does_not_answer),
        cmocka_unit_test(who_wants_no_forwarding_is_told_where_to_go),
        cmocka_unit_test(a_request_waits_for_a_new_leader),
        cmocka_unit_test(a_leader_is_believed_after_a_term_that_was_lost),
        cmocka_unit_test(a_wrong_hint_costs_one_more_way),
        cmocka_unit_test(an_answer_to_a_dead_process_is_not_taken_by_the_next),
        cmocka_unit_test(an_answer_nobody_waits_for_is_dropped),
        cmocka_unit_test(an_answer_may_be_any_bytes),
        cmocka_unit_test(too_many_waiting_requests_get_busy),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/router", tests, NULL, NULL);
}
