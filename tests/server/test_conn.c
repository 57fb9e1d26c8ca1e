/* tests/server/test_conn.c - clients' streams: whole, in pieces, broken, slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/conn.h"
#include "tests/lib/node_net.h"

static int setup(void **state)
{
    struct net_options o = {.nodes = 1, .groups = 1, .replicas = 1};
    struct net *net = net_new(&o);

    net->nodes[1].config.max_connections = 50;
    net_start_all(net);
    *state = net;
    /* A group's first write waits until the group knows its slots. */
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    assert_int_equal(net_put(net, 1, "x", "x"), 0);
    net_run_ms(net, 1);
    return 0;
}

static int teardown(void **state)
{
    net_free(*state);
    return 0;
}

static struct conns_stats stats(struct net *net)
{
    struct conns_stats s;

    conns_stats_get(net->nodes[1].node->conns, &s);
    return s;
}

static void put_encode(struct buf *b, uint32_t msgid, const char *key, size_t value_len)
{
    struct rpc_request q;
    uint8_t *value = kv_mem_zalloc(value_len + 1);

    assert_non_null(value);
    rpc_request_init(&q, RPC_KV_PUT, msgid);
    q.key = kv_bytes_str(key);
    q.value = kv_bytes(value, value_len);
    rpc_request_encode(b, &q);
    assert_int_equal(b->error, 0);
    kv_mem_free(value);
}

/* Responses that have come; each is checked to be an answer to another msgid. */
static uint32_t answers(struct net_client *c, int want_error)
{
    struct rpc_decoder d;
    struct kv_bytes m;
    uint32_t count = 0;

    assert_int_equal(rpc_decoder_init(&d), 0);
    while (net_take(c, &m)) {
        struct rpc_reply r;

        assert_int_equal(rpc_reply_decode(&d, m, RPC_KV_PUT, &r), 0);
        assert_int_equal(r.error, want_error);
        count++;
    }
    rpc_decoder_close(&d);
    return count;
}

static void takes_messages_byte_by_byte(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;
    size_t i;

    buf_init(&b, 1 << 20);
    put_encode(&b, 7, "a", 300);
    put_encode(&b, 8, "b", 3);
    for (i = 0; i < b.len; i++) {
        net_send(net, c, b.data + i, 1);
    }
    net_run_ms(net, 50);

    assert_int_equal(answers(c, 0), 2);
    assert_int_equal(stats(net).input_bytes, 0);
    buf_close(&b);
}

static void takes_every_split_of_two_messages(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;
    size_t i;

    buf_init(&b, 1 << 20);
    put_encode(&b, 300, "a", 10);
    put_encode(&b, 70000, "b", 40);
    for (i = 0; i <= b.len; i++) {
        net_send(net, c, b.data, i);
        net_send(net, c, b.data + i, b.len - i);
        net_run_ms(net, 10);
        assert_int_equal(answers(c, 0), 2);
    }
    buf_close(&b);
}

static void pauses_above_the_requests_in_flight(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;
    uint32_t i;
    bool paused = false;

    buf_init(&b, 4 << 20);
    for (i = 0; i < 5000; i++) {
        put_encode(&b, i, "a", 8);
    }
    net_send(net, c, b.data, b.len);
    for (i = 0; i < 400; i++) {
        net_run_ms(net, 1);
        paused = paused || !c->reading;
        assert_true(request_pool_count(net->nodes[1].node->requests) <=
                    KV_INFLIGHT_PER_CONN_MAX);
    }
    assert_true(paused);
    assert_int_equal(answers(c, 0), 5000);
    assert_true(c->reading);
    assert_int_equal(stats(net).input_bytes, 0);
    buf_close(&b);
}

static void expect_closed(struct net *net, const void *data, size_t len)
{
    struct net_client *c = net_connect(net, 1);

    net_send(net, c, data, len);
    net_run_ms(net, 20);
    assert_false(c->open);
    assert_int_equal(c->in.len, 0);
    net_disconnect(net, c);
}

static void closes_on_other_protocols_first_bytes(void **state)
{
    struct net *net = *state;

    expect_closed(net, "GET / HTTP/1.1\r\n\r\n", 18);
    expect_closed(net, "\x16\x03\x01\x02", 4);
    expect_closed(net, "*1\r\n$4\r\nPING\r\n", 14);
    expect_closed(net, "\x00\x00\x00\x00", 4);
    expect_closed(net, "\xc1", 1);
    /* A response and an array of the wrong size are no requests either. */
    expect_closed(net, "\x94\x01\x05\xc0\xc0", 5);
    expect_closed(net, "\x91\x01", 2);
    assert_int_equal(stats(net).closed_protocol, 7);
    assert_int_equal(stats(net).open, 0);
}

static void answers_garbage_whose_number_is_known_then_closes(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct rpc_decoder d;
    struct rpc_reply r;
    struct kv_bytes m;

    /* A str of 4 GiB as method. */
    net_send(net, c, "\x94\x00\xcd\x01\x02\xdb\xff\xff\xff\xff", 10);
    net_run_ms(net, 20);

    assert_int_equal(rpc_decoder_init(&d), 0);
    assert_true(net_take(c, &m));
    assert_int_equal(rpc_reply_decode(&d, m, RPC_KV_PUT, &r), 0);
    assert_int_equal(r.msgid, 0x102);
    assert_int_equal(r.error, KV_ETOOLARGE);
    assert_false(c->open);
    rpc_decoder_close(&d);
}

static void answers_a_bad_request_and_goes_on(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;

    net_send(net, c, "\x94\x00\x01\xa6kv.put\x90", 11);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, KV_EBADREQUEST), 1);
    assert_true(c->open);

    buf_init(&b, 1 << 20);
    put_encode(&b, 2, "a", 1);
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, 0), 1);
    buf_close(&b);
}

static void passes_over_notifications(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_append(&b, "\x93\x02\xa3xyz\x90", 7);
    put_encode(&b, 2, "a", 1);
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, 0), 1);
    assert_true(c->open);
    buf_close(&b);
}

static void closes_who_sends_half_a_message_and_waits(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct buf b;

    buf_init(&b, 1 << 20);
    put_encode(&b, 2, "a", 1000);
    net_send(net, c, b.data, 500);
    net_run_ms(net, CONN_PARTIAL_MS_MAX - 1000);
    assert_true(c->open);
    net_run_ms(net, 2000);
    assert_false(c->open);
    assert_int_equal(stats(net).input_bytes, 0);
    buf_close(&b);
}

static void refuses_connections_above_the_limit(void **state)
{
    struct net *net = *state;
    uint32_t i;

    for (i = 0; i < 50; i++) {
        assert_non_null(net_connect(net, 1));
    }
    assert_null(net_connect(net, 1));
    assert_int_equal(stats(net).refused, 1);
    net_disconnect(net, &net->clients[3]);
    net_run_ms(net, 10);
    assert_non_null(net_connect(net, 1));
}

static void says_busy_when_input_memory_is_used_up(void **state)
{
    struct net *net = *state;
    struct net_client *last = NULL, *small;
    struct buf b, s;
    uint32_t i;

    /* 64 MiB in all: 8 MiB for input. Each of these holds almost 1 MiB. */
    buf_init(&b, 2 << 20);
    put_encode(&b, 9, "a", 1000 * 1000);
    for (i = 0; i < 20; i++) {
        last = net_connect(net, 1);
        net_send(net, last, b.data, b.len - 1);
    }
    net_run_ms(net, 20);
    assert_true(stats(net).input_bytes <= 9 << 20);

    /* Others are unharmed. */
    small = net_connect(net, 1);
    buf_init(&s, 1 << 20);
    put_encode(&s, 10, "b", 10);
    net_send(net, small, s.data, s.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(small, 0), 1);

    /* Who found no memory is told when its message is whole, and may go on. */
    net_send(net, last, b.data + b.len - 1, 1);
    net_run_ms(net, 20);
    assert_int_equal(answers(last, KV_EBUSY), 1);
    assert_true(last->open);
    net_send(net, last, s.data, s.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(last, 0), 1);
    buf_close(&b);
    buf_close(&s);
}

static void stops_reading_from_who_does_not_read(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1), *other = net_connect(net, 1);
    struct rpc_request q;
    struct buf b;
    uint32_t i;

    buf_init(&b, 2 << 20);
    put_encode(&b, 9, "big", 900 * 1000);
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, 0), 1);

    net_stall(c, true);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("big");
    for (i = 0; i < 100; i++) {
        (void)net_ask(net, c, &q);
        net_run_ms(net, 5);
    }
    /* Paused after the second, not closed; what was asked meanwhile waits unread. */
    assert_true(c->open);
    assert_false(c->reading);
    assert_true(c->queued < 3 * 1000 * 1000);
    buf_reset(&b);
    put_encode(&b, 10, "small", 10);
    net_send(net, other, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(other, 0), 1);

    net_stall(c, false);
    net_run_ms(net, 500);
    assert_true(c->open);
    assert_true(c->reading);
    buf_close(&b);
}

static void closes_a_slow_reader_at_the_hard_bound(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct rpc_request q;
    struct buf b;
    uint32_t i;

    buf_init(&b, 8 << 20);
    put_encode(&b, 9, "big", 900 * 1000);
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, 0), 1);

    /* Asked for at once, before anything could be paused. */
    net_stall(c, true);
    buf_reset(&b);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("big");
    for (i = 0; i < 60; i++) {
        q.msgid = i;
        rpc_request_encode(&b, &q);
    }
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 200);
    assert_false(c->open);
    assert_int_equal(stats(net).closed_slow, 1);
    assert_int_equal(stats(net).output_bytes, 0);
    buf_close(&b);
}

/* Gets of one large key, in one send. */
static void ask_for_big(struct net *net, struct net_client *c, uint32_t count)
{
    struct rpc_request q;
    struct buf b;

    buf_init(&b, 1 << 20);
    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str("big");
    for (uint32_t i = 0; i < count; i++) {
        q.msgid = i;
        rpc_request_encode(&b, &q);
    }
    net_send(net, c, b.data, b.len);
    buf_close(&b);
}

static void big_put(struct net *net, struct net_client *c)
{
    struct buf b;

    buf_init(&b, 2 << 20);
    put_encode(&b, 9, "big", 900 * 1000);
    net_send(net, c, b.data, b.len);
    net_run_ms(net, 20);
    assert_int_equal(answers(c, 0), 1);
    buf_close(&b);
}

struct served {
    size_t most;    /* In one turn. */
    uint32_t turns; /* In which something was served. */
};

static bool watch_served(struct net *net, void *ctx)
{
    struct served *seen = ctx;
    size_t bytes = net->nodes[1].node->served_bytes;

    seen->most = KV_MAX(seen->most, bytes);
    seen->turns += bytes > 0 ? 1 : 0;
    return false;
}

/* Large values for a reader in a hurry must not keep the node from its heartbeats. */
static void a_turn_gives_readers_so_much_and_no_more(void **state)
{
    struct net *net = *state;
    struct net_client *c = net_connect(net, 1);
    struct served seen = {0};

    big_put(net, c);
    ask_for_big(net, c, 20);
    (void)net_run_until(net, watch_served, &seen, 50);

    assert_in_range(seen.most, 4 << 20, (4 << 20) + 900 * 1000);
    assert_true(seen.turns >= 4);
    assert_int_equal(answers(c, 0), 20); /* All of them, in the end. */
}

/* Who has much unread is told BUSY in place of more, and is not cut off. */
static void tells_a_slow_reader_busy(void **state)
{
    struct net *net = *state;
    struct net_client *c;

    net_kill(net, 1);
    net->nodes[1].config.memory_bytes_max = (size_t)512 * 1024 * 1024;
    assert_int_equal(net_start(net, 1), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 5000));
    c = net_connect(net, 1);
    big_put(net, c);
    net_stall(c, true);
    ask_for_big(net, c, 45);
    net_run_ms(net, 50);

    assert_true(c->open);
    assert_in_range(c->queued, 30 * 1000 * 1000, 32 << 20); /* 40 MB were asked for. */
    assert_int_equal(stats(net).closed_slow, 0);
    assert_int_equal(request_pool_count(net->nodes[1].node->requests), 0);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(takes_messages_byte_by_byte),
        T(takes_every_split_of_two_messages),
        T(pauses_above_the_requests_in_flight),
        T(closes_on_other_protocols_first_bytes),
        T(answers_garbage_whose_number_is_known_then_closes),
        T(answers_a_bad_request_and_goes_on),
        T(passes_over_notifications),
        T(closes_who_sends_half_a_message_and_waits),
        T(refuses_connections_above_the_limit),
        T(says_busy_when_input_memory_is_used_up),
        T(stops_reading_from_who_does_not_read),
        T(a_turn_gives_readers_so_much_and_no_more),
        T(tells_a_slow_reader_busy),
        T(closes_a_slow_reader_at_the_hard_bound),
    };
#undef T

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/conn", tests, NULL, NULL);
}
