/* tests/server/test_group_local.c - levels session and stale, by any replica. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "rpc/token.h"
#include "server/node_parts.h"
#include "tests/lib/node_net.h"

/* One answer, copied. */
struct answer {
    int error;
    char text[256];
    char value[64];
    bool found;
    struct rpc_at at;
    uint32_t ats_count;
    uint8_t token[KV_TOKEN_BYTES_MAX];
    size_t token_len;
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

static void ask(struct net *net, uint32_t node, struct rpc_request *q,
                struct answer *out)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_decoder d;
    struct rpc_reply r;
    int rc;

    assert_non_null(c);
    assert_int_equal(rpc_decoder_init(&d), 0);
    rc = net_call(net, c, q, &d, &r);
    assert_int_equal(rc, 0);
    memset(out, 0, sizeof *out);
    out->error = r.error;
    snprintf(out->text, sizeof out->text, "%.*s", (int)r.error_text.len,
             (const char *)r.error_text.data);
    snprintf(out->value, sizeof out->value, "%.*s", (int)r.value.len,
             (const char *)r.value.data);
    out->found = r.found;
    out->at = r.at;
    out->ats_count = r.ats.count;
    if (r.token.len > 0) {
        memcpy(out->token, r.token.data, r.token.len);
    }
    out->token_len = r.token.len;
    rpc_decoder_close(&d);
    net_disconnect(net, c);
}

static void option(struct rpc_request *q, enum rpc_option option)
{
    q->options.has |= RPC_OPT_BIT(option);
}

static struct rpc_request get_of(const char *key, enum rpc_level level)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str(key);
    q.options.level = level;
    option(&q, RPC_OPT_level);
    return q;
}

static void set_deadline(struct rpc_request *q, uint32_t ms)
{
    q->options.deadline_ms = ms;
    option(q, RPC_OPT_deadline_ms);
}

static void set_token(struct rpc_request *q, const struct answer *from)
{
    q->options.token = kv_bytes(from->token, from->token_len);
    option(q, RPC_OPT_token);
}

static void put(struct net *net, uint32_t node, const char *key, const char *value,
                const struct answer *seen, struct answer *out)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_PUT, 0);
    q.key = kv_bytes_str(key);
    q.value = kv_bytes_str(value);
    set_token(&q, seen);
    ask(net, node, &q, out);
    assert_int_equal(out->error, 0);
}

/* A node that follows in group 1. */
static uint32_t follower(struct net *net)
{
    return net_leader(net, 1) == 1 ? 2 : 1;
}

static void a_stale_read_says_how_old_it_may_be(void **state)
{
    struct net *net = ready(3, 1);
    struct rpc_request q = get_of("k", RPC_STALE);
    struct answer nothing = {0}, a;
    uint32_t node = follower(net);

    (void)state;
    put(net, node, "k", "1", &nothing, &a);
    net_run_ms(net, 500);
    for (uint32_t id = 1; id <= 3; id++) {
        ask(net, id, &q, &a);
        assert_string_equal(a.value, "1");
        assert_int_equal(a.at.node, id);
        assert_int_equal(a.at.level, RPC_STALE);
        assert_true(a.at.age_ms <= 160); /* Two heartbeats, and the way. */
    }
    net_isolate(net, node, true);
    net_run_ms(net, 3000);
    put(net, net_leader(net, 1), "k", "2", &nothing, &a);
    ask(net, node, &q, &a);
    assert_string_equal(a.value, "1");
    assert_true(a.at.age_ms >= 3000 && a.at.age_ms < 3300);
    net_free(net);
}

/* Who is too old asks the leader; without one there is no answer. */
static void a_bound_on_age_is_kept(void **state)
{
    struct net *net = ready(3, 1);
    struct rpc_request q = get_of("k", RPC_STALE);
    struct answer nothing = {0}, a;
    uint32_t node = follower(net);

    (void)state;
    put(net, node, "k", "1", &nothing, &a);
    net_run_ms(net, 500);
    q.options.max_age_ms = 1000;
    option(&q, RPC_OPT_max_age_ms);
    ask(net, node, &q, &a);
    assert_int_equal(a.at.level, RPC_STALE);
    net_isolate(net, node, true);
    net_run_ms(net, 2000);
    set_deadline(&q, 500);
    ask(net, node, &q, &a);
    assert_int_equal(a.error, KV_ENOLEADER);
    net_isolate(net, node, false);
    net_run_ms(net, 3000);
    q.options.max_age_ms = 0;
    ask(net, node, &q, &a);
    assert_int_equal(a.error, 0);
    assert_int_equal(a.at.level, RPC_LINEARIZABLE); /* It went the leader's way. */
    net_free(net);
}

static void a_token_makes_a_replica_wait(void **state)
{
    struct net *net = ready(3, 1);
    struct rpc_request q = get_of("k", RPC_SESSION);
    struct answer nothing = {0}, seen, a;
    uint32_t node = follower(net);

    (void)state;
    put(net, node, "k", "1", &nothing, &seen);
    assert_true(seen.token_len > 0 && seen.token_len <= 13);
    net_isolate(net, node, true);
    put(net, net_leader(net, 1), "k", "2", &seen, &seen);
    assert_true(seen.token_len <= 13); /* The same group: no longer. */
    set_deadline(&q, 700);
    ask(net, node, &q, &a); /* Without a token it has seen nothing. */
    assert_string_equal(a.value, "1");
    assert_int_equal(a.at.level, RPC_SESSION);
    assert_int_equal(a.at.node, node);
    assert_true(a.token_len > 0); /* And now it has. */
    set_token(&q, &seen);
    ask(net, node, &q, &a);
    assert_int_equal(a.error, KV_ETIMEOUT);
    assert_non_null(strstr(a.text, "has applied revision"));
    net_isolate(net, node, false);
    set_deadline(&q, 10000);
    ask(net, node, &q, &a); /* Waits until it has caught up. */
    assert_string_equal(a.value, "2");
    assert_int_equal(a.at.node, node);
    net_free(net);
}

static void a_token_that_was_changed_is_refused(void **state)
{
    struct net *net = ready(3, 1);
    struct rpc_request q = get_of("k", RPC_SESSION);
    struct answer nothing = {0}, seen, a;

    (void)state;
    put(net, 1, "k", "1", &nothing, &seen);
    seen.token[seen.token_len - 1] ^= 1;
    set_token(&q, &seen);
    ask(net, 1, &q, &a);
    assert_int_equal(a.error, KV_EBADREQUEST);
    assert_string_equal(
        a.text, "BAD_REQUEST option token is none of this cluster's, or was changed");
    net_free(net);
}

/* A node without a replica of the group asks one that has it. */
static void a_node_without_a_replica_asks_another(void **state)
{
    struct net *net = ready(5, 8);
    struct answer nothing = {0}, a;
    uint32_t asked = 0;

    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        char key[16];
        struct rpc_request q;

        snprintf(key, sizeof key, "key%u", i);
        put(net, 1, key, "v", &nothing, &a);
        net_run_ms(net, 300);
        for (uint32_t node = 1; node <= 5; node++) {
            q = get_of(key, i % 2 == 0 ? RPC_STALE : RPC_SESSION);
            ask(net, node, &q, &a);
            assert_int_equal(a.error, 0);
            assert_string_equal(a.value, "v");
            assert_int_equal(a.at.level, i % 2 == 0 ? RPC_STALE : RPC_SESSION);
            asked += a.at.node != node;
            assert_true((a.at.node == node) ==
                        (node_group(net->nodes[node].node, a.at.group) != NULL));
        }
    }
    assert_true(asked > 0);
    net_free(net);
}

static void a_range_gathers_a_token_of_all_groups(void **state)
{
    struct net *net = ready(3, 4);
    struct answer nothing = {0}, seen = {0}, a;
    struct rpc_request q;

    (void)state;
    put(net, 1, "a", "1", &nothing, &seen);
    net_run_ms(net, 300);
    rpc_request_init(&q, RPC_KV_RANGE, 0);
    q.options.level = RPC_SESSION;
    option(&q, RPC_OPT_level);
    set_token(&q, &seen);
    ask(net, 2, &q, &a);
    assert_int_equal(a.error, 0);
    assert_int_equal(a.ats_count, 4);
    for (uint32_t g = 1; g <= 4; g++) {
        assert_true(token_rev(kv_bytes(a.token, a.token_len), g) > 0);
    }
    assert_true(a.token_len <= 9 + 4 * 3);
    assert_int_equal(a.at.node, 2);
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_read_says_how_old_it_may_be),
        cmocka_unit_test(a_bound_on_age_is_kept),
        cmocka_unit_test(a_token_makes_a_replica_wait),
        cmocka_unit_test(a_token_that_was_changed_is_refused),
        cmocka_unit_test(a_node_without_a_replica_asks_another),
        cmocka_unit_test(a_range_gathers_a_token_of_all_groups),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_local", tests, NULL, NULL);
}
