/* tests/server/test_range.c - ranges over many groups against a sorted list of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/base/prng.h"
#include "server/node_parts.h"
#include "server/range.h"
#include "tests/lib/node_net.h"

enum {
    KEYS = 400
};

static char keys[KEYS][16]; /* Sorted. */

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void fill(struct net *net, uint32_t nodes)
{
    struct net_client *c = net_connect(net, 1);
    struct rpc_request q;
    struct kv_bytes m;
    uint32_t i, got = 0;

    for (i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%x", (i * 2654435761u) >> 8);
        rpc_request_init(&q, RPC_KV_PUT, 0);
        q.key = kv_bytes_str(keys[i]);
        q.value = kv_bytes_str(keys[i]);
        (void)net_ask(net, c, &q);
    }
    net_run_ms(net, 2000);
    while (net_take(c, &m)) {
        got++;
    }
    assert_int_equal(got, KEYS);
    qsort(keys, KEYS, sizeof(keys[0]), by_text);
    net_disconnect(net, c);
    (void)nodes;
}

static struct net *ready(uint32_t nodes, uint32_t groups)
{
    struct net_options o = {.nodes = nodes, .groups = groups, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    fill(net, nodes);
    return net;
}

struct asker {
    struct net *net;
    struct net_client *c;
    struct rpc_decoder d;
    struct rpc_reply r;
};

static void ask(struct asker *a, const char *begin, const char *end, uint32_t limit)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_RANGE, 0);
    q.begin = kv_bytes_str(begin);
    q.end = kv_bytes_str(end);
    if (limit > 0) {
        q.options.limit = limit;
        q.options.has = RPC_OPT_BIT(RPC_OPT_limit);
    }
    assert_int_equal(net_call(a->net, a->c, &q, &a->d, &a->r), 0);
}

/* Compares with what the sorted list says. */
static void expect(struct asker *a, const char *begin, const char *end, uint32_t limit)
{
    uint32_t i = 0, at;
    bool more;

    ask(a, begin, end, limit);
    assert_int_equal(a->r.error, 0);
    while (i < KEYS && strcmp(keys[i], begin) < 0) {
        i++;
    }
    for (at = 0; at < a->r.items.count; at++, i++) {
        struct rpc_item item;

        rpc_reply_item_get(&a->r, at, &item);
        assert_true(i < KEYS);
        assert_true(kv_bytes_equal(item.key, kv_bytes_str(keys[i])));
        assert_true(kv_bytes_equal(item.value, item.key));
        assert_true(item.rev > 0);
    }
    more = i < KEYS && (end[0] == '\0' || strcmp(keys[i], end) < 0);
    assert_int_equal(a->r.more, more);
    assert_int_equal(a->r.items.count == limit || !more, true);
    if (more && a->r.items.count > 0) {
        assert_int_equal(a->r.next.len, strlen(keys[i - 1]) + 1);
        assert_memory_equal(a->r.next.data, keys[i - 1], a->r.next.len);
    }
}

static void merges_groups_in_key_order(void **state)
{
    static const uint32_t limits[] = {1, 2, 7, 16, 17, 50, 399, 400, 401, 10000};
    struct net *net = ready(3, 8);
    struct asker a = {.net = net, .c = net_connect(net, 2)};
    struct prng prng;
    uint32_t i;

    (void)state;
    prng_init(&prng, 5);
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    for (i = 0; i < KV_ARRAY_COUNT(limits); i++) {
        expect(&a, "", "", limits[i]);
        assert_int_equal(a.r.ats.count, 8);
    }
    for (i = 0; i < 200; i++) {
        const char *b = keys[prng_below(&prng, KEYS)],
                   *e = keys[prng_below(&prng, KEYS)];

        expect(&a, strcmp(b, e) <= 0 ? b : e, strcmp(b, e) <= 0 ? e : b,
               (uint32_t)prng_between(&prng, 1, 60));
    }
    ask(&a, "b", "a", 0);
    assert_int_equal(a.r.items.count, 0);
    assert_false(a.r.more);
    rpc_decoder_close(&a.d);
    assert_int_equal(ranges_count(net->nodes[2].node->ranges), 0);
    assert_int_equal(request_pool_count(net->nodes[2].node->requests), 0);
    net_free(net);
}

static void asks_groups_of_other_nodes(void **state)
{
    struct net *net = ready(5, 8);
    struct asker a = {.net = net};
    uint32_t id;

    (void)state;
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    for (id = 1; id <= 5; id++) {
        a.c = net_connect(net, id);
        expect(&a, "", "", 10000);
    }
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void one_group_needs_no_merging(void **state)
{
    struct net *net = ready(3, 1);
    struct asker a = {.net = net};
    uint32_t id;

    (void)state;
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    for (id = 1; id <= 3; id++) {
        a.c = net_connect(net, id);
        expect(&a, "", "", 100);
        assert_int_equal(a.r.ats.count, 1);
    }
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void going_on_at_next_finds_every_key_once(void **state)
{
    struct net *net = ready(3, 8);
    struct asker a = {.net = net, .c = net_connect(net, 3)};
    char next[64] = "";
    uint32_t i = 0, at;

    (void)state;
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    do {
        struct rpc_request q;

        rpc_request_init(&q, RPC_KV_RANGE, 0);
        q.begin = i == 0 ? kv_bytes_str("") : kv_bytes(next, strlen(next) + 1);
        q.options.limit = 23;
        q.options.has = RPC_OPT_BIT(RPC_OPT_limit);
        assert_int_equal(net_call(net, a.c, &q, &a.d, &a.r), 0);
        assert_int_equal(a.r.error, 0);
        for (at = 0; at < a.r.items.count; at++, i++) {
            struct rpc_item item;

            rpc_reply_item_get(&a.r, at, &item);
            assert_true(i < KEYS);
            assert_true(kv_bytes_equal(item.key, kv_bytes_str(keys[i])));
        }
        if (a.r.more) {
            assert_true(a.r.next.len < sizeof(next));
            memcpy(next, a.r.next.data, a.r.next.len);
        }
    } while (a.r.more);
    assert_int_equal(i, KEYS);
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void large_values_end_a_reply_early(void **state)
{
    struct net *net = ready(3, 4);
    struct asker a = {.net = net, .c = net_connect(net, 1)};
    struct rpc_request q;
    char key[16];
    uint8_t *value = kv_mem_zalloc(200 * 1000);
    uint32_t i, seen = 0;
    char next[64] = "~";

    (void)state;
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    for (i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "~%02u", i);
        rpc_request_init(&q, RPC_KV_PUT, 0);
        q.key = kv_bytes_str(key);
        q.value = kv_bytes(value, 200 * 1000);
        assert_int_equal(net_call(net, a.c, &q, &a.d, &a.r), 0);
        assert_int_equal(a.r.error, 0);
    }
    while (seen < 20) {
        rpc_request_init(&q, RPC_KV_RANGE, 0);
        q.begin = kv_bytes_str(next);
        assert_int_equal(net_call(net, a.c, &q, &a.d, &a.r), 0);
        assert_int_equal(a.r.error, 0);
        assert_true(a.r.items.count >= 1 && a.r.items.count <= 6);
        seen += a.r.items.count;
        assert_int_equal(a.r.more, seen < 20);
        snprintf(next, sizeof(next), "~%02u", seen);
    }
    kv_mem_free(value);
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void a_group_without_leader_fails_the_whole_range(void **state)
{
    struct net *net = ready(3, 8);
    struct asker a = {.net = net};

    (void)state;
    net_kill(net, 2);
    net_kill(net, 3);
    net_run_ms(net, 1000);
    net->nodes[1].node->config.request_deadline_ms = 200;
    a.c = net_connect(net, 1);
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    ask(&a, "", "", 0);
    assert_int_equal(a.r.error, KV_ENOLEADER);
    net_run_ms(net, 500);
    assert_int_equal(ranges_count(net->nodes[1].node->ranges), 0);
    assert_int_equal(request_pool_count(net->nodes[1].node->requests), 0);
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void survives_the_loss_of_a_leader_on_the_way(void **state)
{
    struct net *net = ready(3, 8);
    struct asker a = {.net = net};
    uint32_t victim = net_leader(net, 1), other = victim % 3 + 1;
    struct rpc_request q;
    struct kv_bytes m;

    (void)state;
    a.c = net_connect(net, other);
    assert_int_equal(rpc_decoder_init(&a.d), 0);
    rpc_request_init(&q, RPC_KV_RANGE, 0);
    (void)net_ask(net, a.c, &q);
    net_run_ms(net, 0);
    net->now_us += 300;
    net_run_ms(net, 0);
    net_kill(net, victim);
    net_run_ms(net, 3000);
    assert_true(net_take(a.c, &m));
    assert_int_equal(rpc_reply_decode(&a.d, m, RPC_KV_RANGE, &a.r), 0);
    assert_int_equal(a.r.error, 0);
    assert_int_equal(a.r.items.count, KEYS);
    rpc_decoder_close(&a.d);
    net_free(net);
}

static void a_client_that_leaves_leaks_nothing(void **state)
{
    struct net *net = ready(3, 8);
    struct net_client *c = net_connect(net, 1);
    struct rpc_request q;

    (void)state;
    rpc_request_init(&q, RPC_KV_RANGE, 0);
    (void)net_ask(net, c, &q);
    net_disconnect(net, c);
    net_run_ms(net, 1000);
    assert_int_equal(ranges_count(net->nodes[1].node->ranges), 0);
    assert_int_equal(request_pool_count(net->nodes[1].node->requests), 0);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_groups_in_key_order),
        cmocka_unit_test(asks_groups_of_other_nodes),
        cmocka_unit_test(one_group_needs_no_merging),
        cmocka_unit_test(going_on_at_next_finds_every_key_once),
        cmocka_unit_test(large_values_end_a_reply_early),
        cmocka_unit_test(a_group_without_leader_fails_the_whole_range),
        cmocka_unit_test(survives_the_loss_of_a_leader_on_the_way),
        cmocka_unit_test(a_client_that_leaves_leaks_nothing),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/range", tests, NULL, NULL);
}
