/* tests/server/test_peers.c - who may join, broken frames, coalescing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "tests/lib/node_net.h"

static struct net *ready(void)
{
    struct net_options o = {.nodes = 3, .groups = 8, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    return net;
}

static struct peers_stats stats(struct net *net, uint32_t id)
{
    struct peers_stats s;

    peers_stats_get(net->nodes[id].node, &s);
    return s;
}

/* The head that node `from` of the net would write to `to`. */
static struct peer_head head_of(struct net *net, uint32_t from, uint32_t to,
                                enum peer_kind kind)
{
    return peers_head(net->nodes[from].node, to, kind);
}

static void frame(struct buf *b, const struct peer_head *h)
{
    struct peer_hello hello = {.host = "x", .client_port = 1, .peer_port = 2};
    size_t mark = peer_frame_begin(b, h);

    if (h->kind == PEER_HELLO) {
        peer_hello_encode(b, &hello);
    } else {
        peer_raft_begin(b, 0);
    }
    assert_int_equal(peer_frame_end(b, mark), 0);
}

/* Sends a HELLO on a fresh link to node 1; returns the refusal that came back. */
static enum peers_refusal hello(struct net *net, const struct peer_head *h)
{
    uint64_t link = net_raw_open(net, 1);
    struct kv_bytes got;
    struct peer_frame f;
    struct buf b;
    size_t need;
    bool open;

    buf_init(&b, 4096);
    frame(&b, h);
    net_raw_send(net, link, buf_bytes(&b));
    net_run_ms(net, 5);
    got = net_raw_received(net, link, &open);
    buf_close(&b);
    if (got.len == 0) {
        return REFUSALS_COUNT;
    }
    assert_int_equal(peer_frame_decode(got.data, got.len, &f, &need), 0);
    assert_int_equal(f.head.kind, PEER_HELLO);
    if ((f.head.flags & PEERS_FLAG_REFUSED) == 0) {
        return REFUSAL_NONE;
    }
    /* It is closed a while later, so that the refusal can be read. */
    net_run_ms(net, 2000);
    net_raw_received(net, link, &open);
    assert_false(open);
    return (enum peers_refusal)(f.head.flags >> 8);
}

static void a_hello_must_fit_in_every_field(void **state)
{
    struct net *net = ready();
    struct peer_head good = head_of(net, 3, 1, PEER_HELLO), h;

    (void)state;
    good.flags = PEERS_FLAG_ASK;
    h = good;
    h.cluster++;
    assert_int_equal(hello(net, &h), REFUSAL_CLUSTER);
    h = good;
    h.to = 2;
    assert_int_equal(hello(net, &h), REFUSAL_WRONG_NODE);
    h = good;
    h.from = 9;
    assert_int_equal(hello(net, &h), REFUSAL_STRANGER);
    h = good;
    h.from = 1;
    assert_int_equal(hello(net, &h), REFUSAL_STRANGER);
    h = good;
    h.incarnation++;
    assert_int_equal(hello(net, &h), REFUSAL_INCARNATION);
    /* Two processes with one identity: the first one lives. */
    h = good;
    h.boot_nonce++;
    assert_int_equal(hello(net, &h), REFUSAL_TWIN);
    assert_true(peers_is_up(net->nodes[1].node, 3));
    assert_int_equal(stats(net, 1).refused, 6);
    assert_int_equal(net_lines(net, "why=\"two processes"), 1);

    /* The real one is not harmed. */
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_free(net);
}

static void a_restarted_process_is_no_twin(void **state)
{
    struct net *net = ready();

    (void)state;
    net_kill(net, 3);
    assert_int_equal(net_start(net, 3), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_true(peers_is_up(net->nodes[1].node, 3));
    assert_int_equal(stats(net, 1).refused, 0);
    net_free(net);
}

static void nothing_is_believed_before_hello(void **state)
{
    struct net *net = ready();
    struct peer_head h = head_of(net, 3, 1, PEER_RAFT);
    uint64_t link = net_raw_open(net, 1);
    struct buf b;
    bool open;

    (void)state;
    buf_init(&b, 4096);
    frame(&b, &h);
    net_raw_send(net, link, buf_bytes(&b));
    net_run_ms(net, 5);
    net_raw_received(net, link, &open);
    assert_false(open);

    /* Nor waited for. */
    link = net_raw_open(net, 1);
    net_run_ms(net, PEERS_HELLO_MS_MAX + 2 * PEERS_LOOK_MS);
    net_raw_received(net, link, &open);
    assert_false(open);
    buf_close(&b);
    net_free(net);
}

static void closes_on_broken_bytes(void **state)
{
    struct net *net = ready();
    struct peer_head h = head_of(net, 3, 1, PEER_HELLO);
    struct buf b;
    uint64_t link;
    size_t i;
    bool open;

    (void)state;
    buf_init(&b, 4096);
    frame(&b, &h);
    for (i = 0; i < b.len; i++) {
        link = net_raw_open(net, 1);
        b.data[i] ^= 0x10;
        net_raw_send(net, link, buf_bytes(&b));
        b.data[i] ^= 0x10;
        /* More, in case that the length grew. */
        net_raw_send(net, link, buf_bytes(&b));
        net_raw_send(net, link, buf_bytes(&b));
        net_run_ms(net, 2);
        assert_true(peers_is_up(net->nodes[1].node, 3));
        net_run_ms(net, 3000);
        net_raw_received(net, link, &open);
        assert_false(open);
    }
    /* A stranger's frame that says it is large is not waited for. */
    link = net_raw_open(net, 1);
    kv_put_u32le(b.data + 8, 7 * 1024 * 1024);
    net_raw_send(net, link, kv_bytes(b.data, PEER_HEAD_BYTES));
    net_run_ms(net, 2);
    net_raw_received(net, link, &open);
    assert_false(open);
    buf_close(&b);
    net_free(net);
}

static void strangers_are_bounded(void **state)
{
    struct net *net = ready();
    uint32_t i, open_count = 0;
    uint64_t first = net_raw_open(net, 1);
    bool open;

    (void)state;
    for (i = 1; i < 200; i++) {
        (void)net_raw_open(net, 1);
    }
    for (i = 0; i < 200; i++) {
        net_raw_received(net, first + i, &open);
        open_count += open ? 1 : 0;
    }
    assert_int_equal(open_count, PEERS_STRANGERS_MAX);
    net_run_ms(net, 4000);
    assert_int_equal(net_put(net, 2, "a", "1"), 0);
    net_free(net);
}

/* ---- what leaves a node ---- */

struct count {
    uint32_t from;
    uint32_t sends, raft_frames, raft_messages;
};

static bool counting(struct net *net, uint32_t from, uint32_t to,
                     struct kv_bytes frames)
{
    struct count *c = net->lose_ctx;
    size_t at = 0;

    (void)to;
    if (from != c->from) {
        return false;
    }
    c->sends++;
    while (at < frames.len) {
        struct peer_frame f;
        size_t need;

        assert_int_equal(
            peer_frame_decode(frames.data + at, frames.len - at, &f, &need), 0);
        if (f.head.kind == PEER_RAFT) {
            struct rpc_decoder d;
            struct arena a;
            struct peer_raft *msgs;
            uint32_t n;

            arena_init(&a, 4096, 0);
            assert_int_equal(rpc_decoder_init(&d), 0);
            assert_int_equal(peer_raft_decode(&d, f.body, &a, &msgs, &n), 0);
            c->raft_frames++;
            c->raft_messages += n;
            rpc_decoder_close(&d);
            arena_close(&a);
        }
        at += f.frame_bytes;
    }
    return false;
}

static void heartbeats_of_all_groups_share_a_frame(void **state)
{
    struct net *net = ready();
    uint32_t leader = net_leader(net, 1), leads = 0, g;
    struct count c = {.from = leader};

    (void)state;
    net_run_ms(net, 500);
    for (g = 0; g <= 8; g++) {
        leads += net_leader(net, g) == leader ? 1 : 0;
    }
    net->lose = counting;
    net->lose_ctx = &c;
    net_run_ms(net, 1000);
    net->lose = NULL;

    /* 20 intervals, 2 peers: own heartbeats in one frame, and answers to theirs. */
    assert_true(c.raft_messages >= leads * 2 * 19);
    assert_true(c.raft_frames <= 2 * 20 * 2 + 8);
    net_free(net);
}

/* ---- a process that died, and one that is only cut off ---- */

static void a_refused_reconnect_starts_an_election_at_once(void **state)
{
    struct net *net = ready();
    uint32_t victim = net_leader(net, 1), g;
    uint64_t begin = net->now_us;

    (void)state;
    net_kill(net, victim);
    for (g = 1; g <= 8; g++) {
        while (net_leader(net, g) == 0) {
            net_run_ms(net, 1);
            assert_true(net->now_us - begin < 1000000);
        }
    }
    /* The hint saves the election timeout of 150 to 300 ms. */
    assert_true(net->now_us - begin < 140000);
    assert_true(net_lines(net, "process=gone") >= 2);
    net_free(net);
}

static void a_lost_link_alone_is_no_death(void **state)
{
    struct net *net = ready();
    uint32_t i;

    (void)state;
    for (i = 1; i <= 3; i++) {
        struct peer *p = peers_find(net->nodes[i].node->peers, i % 3 + 1);

        link_drop(net->nodes[i].node, p->link);
        node_turn_end(net->nodes[i].node);
    }
    net_run_ms(net, 100);
    assert_int_equal(net_lines(net, "process=gone"), 0);
    assert_true(peers_is_up(net->nodes[1].node, 2));
    assert_true(peers_is_up(net->nodes[2].node, 3));
    assert_true(peers_is_up(net->nodes[3].node, 1));
    net_free(net);
}

static void a_silent_link_is_closed_and_dialled_again(void **state)
{
    struct net *net = ready();

    (void)state;
    net_cut(net, 1, 2, true);
    net_run_ms(net, PEERS_SILENT_MS_MAX + 2 * PEERS_LOOK_MS);
    assert_false(peers_is_up(net->nodes[1].node, 2));
    assert_false(peers_is_up(net->nodes[2].node, 1));
    assert_int_equal(net_put(net, 3, "a", "1"), 0);
    net_cut(net, 1, 2, false);
    net_run_ms(net, 4000);
    assert_true(peers_is_up(net->nodes[1].node, 2));
    assert_true(peers_is_up(net->nodes[2].node, 1));
    net_free(net);
}

/* ---- forwards ---- */

static void a_forward_that_arrives_twice_is_carried_out_once(void **state)
{
    struct net *net = ready();
    uint32_t leader = net_leader(net, 1), other = leader % 3 + 1;
    struct peer *p = peers_find(net->nodes[leader].node->peers, other);
    struct peer_head h = head_of(net, other, leader, PEER_FORWARD);
    struct peer_forward f = {.deadline_ms = 1000};
    struct rpc_request q;
    struct buf request, b;
    uint64_t before = p->forward_top;
    uint32_t i;
    bool found;
    char value[64];
    size_t mark;

    (void)state;
    buf_init(&request, 4096);
    buf_init(&b, 4096);
    rpc_request_init(&q, RPC_KV_INCR, 0);
    q.key = kv_bytes_str("n");
    q.delta = 1;
    rpc_request_encode(&request, &q);
    f.request = buf_bytes(&request);
    for (i = 1; i <= 3; i++) {
        static const uint64_t order[] = {2, 1, 3};

        f.id = before + order[i - 1];
        mark = peer_frame_begin(&b, &h);
        peer_forward_encode(&b, &f);
        assert_int_equal(peer_frame_end(&b, mark), 0);
    }
    /* The group of "n" may be led elsewhere: ask the leader of its group only. */
    leader = net_leader(net, map_group_for_key(&net->nodes[1].node->map, q.key));
    if (leader != h.to) {
        net_free(net);
        buf_close(&request);
        buf_close(&b);
        skip();
    }
    for (i = 0; i < 3; i++) {
        node_link_data(net->nodes[leader].node, p->link->id, b.data, b.len);
        node_turn_end(net->nodes[leader].node);
        net_run_ms(net, 20);
    }
    assert_int_equal(net_get(net, leader, "n", &found, value), 0);
    assert_string_equal(value, "3");
    buf_close(&request);
    buf_close(&b);
    net_free(net);
}

static bool losing_forwards(struct net *net, uint32_t from, uint32_t to,
                            struct kv_bytes frames)
{
    struct peer_frame f;
    size_t need;

    (void)net;
    (void)from;
    (void)to;
    return peer_frame_decode(frames.data, frames.len, &f, &need) == 0 &&
           f.head.kind == PEER_FORWARD;
}

/* Kvsim seed 3364 over LMDB: a node started again, its new process numbered its
 * requests from 1 on as the old one had, and a client got the answer to another's
 * request. */
static void an_answer_to_a_process_that_is_gone_reaches_nobody(void **state)
{
    static const uint8_t tail[] = {0xa4, 'B', 'U', 'S', 'Y', 0xc0};
    struct net *net = ready();
    uint32_t group = map_group_for_key(&net->nodes[1].node->map, kv_bytes_str("n"));
    uint32_t leader = net_leader(net, group), other = leader % 3 + 1;
    struct node *n = net->nodes[leader].node;
    struct request_asker gone = {other, peers_find(n->peers, other)->nonce,
                                 1}; /* Its first request. */
    struct request_asker now;
    struct net_client *c;
    struct rpc_request q;
    struct kv_bytes message;

    (void)state;
    net_kill(net, other);
    assert_int_equal(net_start(net, other), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    net->lose = losing_forwards;
    c = net_connect(net, other);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("n");
    (void)net_ask(net, c, &q);
    net_run_ms(net, 5);
    assert_int_equal(net_leader(net, group), leader);

    peers_forward_reply(n, &gone, kv_bytes(tail, sizeof tail));
    node_turn_end(n);
    net_run_ms(net, 5);
    assert_false(net_take(c, &message));

    now = gone;
    now.nonce = peers_find(n->peers, other)->nonce;
    assert_int_not_equal(now.nonce, gone.nonce);
    peers_forward_reply(n, &now, kv_bytes(tail, sizeof tail));
    node_turn_end(n);
    net_run_ms(net, 5);
    assert_true(net_take(c, &message));
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_must_fit_in_every_field),
        cmocka_unit_test(a_restarted_process_is_no_twin),
        cmocka_unit_test(nothing_is_believed_before_hello),
        cmocka_unit_test(closes_on_broken_bytes),
        cmocka_unit_test(strangers_are_bounded),
        cmocka_unit_test(heartbeats_of_all_groups_share_a_frame),
        cmocka_unit_test(a_refused_reconnect_starts_an_election_at_once),
        cmocka_unit_test(a_lost_link_alone_is_no_death),
        cmocka_unit_test(a_silent_link_is_closed_and_dialled_again),
        cmocka_unit_test(a_forward_that_arrives_twice_is_carried_out_once),
        cmocka_unit_test(an_answer_to_a_process_that_is_gone_reaches_nobody),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/peers", tests, NULL, NULL);
}
