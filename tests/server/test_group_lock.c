/* tests/server/test_group_lock.c - leases, waiting and fences through whole nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/err.h"
#include "rpc/slot.h"
#include "tests/lib/node_net.h"

enum {
    TTL_MS = 1000,
};

struct fixture {
    struct net *net;
    struct rpc_decoder decoder;
    struct rpc_reply reply;
    struct net_client *client; /* At node 1, for calls that are answered at once. */
};

static int setup_nodes(void **state, uint32_t nodes)
{
    struct net_options o = {.nodes = nodes, .groups = 4, .replicas = nodes};
    struct fixture *f = kv_mem_zalloc(sizeof *f);

    assert_non_null(f);
    f->net = net_new(&o);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    net_start_all(f->net);
    assert_true(net_run_until(f->net, net_is_ready, NULL, 20000));
    f->client = net_connect(f->net, 1);
    assert_non_null(f->client);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_nodes(state, 3);
}

static int setup_alone(void **state)
{
    return setup_nodes(state, 1);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    net_free(f->net);
    rpc_decoder_close(&f->decoder);
    kv_mem_free(f);
    return 0;
}

static int call(struct fixture *f, struct rpc_request *q)
{
    int rc = net_call(f->net, f->client, q, &f->decoder, &f->reply);

    return rc != 0 ? rc : f->reply.error;
}

static struct rpc_request request_of(enum rpc_method method, const char *key)
{
    struct rpc_request q;

    rpc_request_init(&q, method, 0);
    q.key = kv_bytes_str(key);
    q.options.deadline_ms = 4000;
    q.options.has = RPC_OPT_BIT(RPC_OPT_deadline_ms);
    return q;
}

static struct rpc_request acquire_of(const char *name, const char *owner,
                                     uint32_t wait_ms)
{
    struct rpc_request q = request_of(RPC_LOCK_ACQUIRE, name);

    q.options.owner = kv_bytes_str(owner);
    q.options.ttl_ms = TTL_MS;
    q.options.wait_ms = wait_ms;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_owner) | RPC_OPT_BIT(RPC_OPT_ttl_ms) |
                     RPC_OPT_BIT(RPC_OPT_wait_ms);
    return q;
}

static uint64_t acquire(struct fixture *f, const char *name, const char *owner)
{
    struct rpc_request q = acquire_of(name, owner, 0);

    assert_int_equal(call(f, &q), 0);
    return f->reply.acquired ? f->reply.lock_token : 0;
}

static int keepalive(struct fixture *f, const char *name, uint64_t token)
{
    struct rpc_request q = request_of(RPC_LOCK_KEEPALIVE, name);

    q.token = token;
    return call(f, &q);
}

static bool release(struct fixture *f, const char *name, uint64_t token)
{
    struct rpc_request q = request_of(RPC_LOCK_RELEASE, name);

    q.token = token;
    assert_int_equal(call(f, &q), 0);
    return f->reply.released;
}

static void info(struct fixture *f, const char *name)
{
    struct rpc_request q = request_of(RPC_LOCK_INFO, name);

    assert_int_equal(call(f, &q), 0);
}

static void fence(struct rpc_request *q, const char *lock, uint64_t token)
{
    q->options.fence_lock = kv_bytes_str(lock);
    q->options.fence_token = token;
    q->options.has |= RPC_OPT_BIT(RPC_OPT_fence);
}

static int fenced_get(struct fixture *f, const char *key, const char *lock,
                      uint64_t token)
{
    struct rpc_request q = request_of(RPC_KV_GET, key);

    fence(&q, lock, token);
    return call(f, &q);
}

static int fenced_put(struct fixture *f, const char *key, const char *lock,
                      uint64_t token)
{
    struct rpc_request q = request_of(RPC_KV_PUT, key);

    q.value = kv_bytes_str("v");
    fence(&q, lock, token);
    return call(f, &q);
}

static uint32_t group_of(struct fixture *f, const char *key)
{
    return f->net->nodes[1].node->map.slots[slot_of(kv_bytes_str(key))];
}

/* A key in the group of `like`, or in another one. */
static void key_near(struct fixture *f, const char *like, bool same, char *out)
{
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(out, 16, "key%d", i);
        if ((group_of(f, out) == group_of(f, like)) == same) {
            return;
        }
    }
    fail_msg("no such key");
}

/* Starts an acquire on a connection of its own. */
static struct net_client *acquire_begin(struct fixture *f, uint32_t node,
                                        const char *owner, uint32_t wait_ms)
{
    struct net_client *c = net_connect(f->net, node);
    struct rpc_request q = acquire_of("l", owner, wait_ms);

    assert_non_null(c);
    (void)net_ask(f->net, c, &q);
    net_run_ms(f->net, 100);
    return c;
}

/* True when its answer is there: in f->reply. */
static bool acquire_end(struct fixture *f, struct net_client *c)
{
    struct kv_bytes message;

    if (!net_take(c, &message)) {
        return false;
    }
    assert_int_equal(
        rpc_reply_decode(&f->decoder, message, RPC_LOCK_ACQUIRE, &f->reply), 0);
    return true;
}

static void a_release_answers_the_first_who_waits_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    uint64_t token = acquire(f, "l", "a");
    struct net_client *b = acquire_begin(f, 2, "b", 3500);
    struct net_client *c = acquire_begin(f, 3, "c", 3500);

    assert_true(token > 0);
    assert_int_equal(acquire(f, "l", "d"), 0); /* Does not wait. */
    assert_false(acquire_end(f, b));
    assert_true(release(f, "l", token));
    net_run_ms(f->net, 100);
    assert_false(acquire_end(f, c));
    assert_true(acquire_end(f, b));
    assert_int_equal(f->reply.error, 0);
    assert_true(f->reply.acquired);
    assert_true(f->reply.lock_token > token);
    assert_false(release(f, "l", token));
    info(f, "l");
    assert_int_equal(f->reply.holders.count, 1);
    assert_int_equal(f->reply.waiting, 1);
}

static void who_waits_in_vain_hears_it_in_time_and_leaves_the_queue(void **state)
{
    struct fixture *f = *state;
    struct net_client *b;

    assert_true(acquire(f, "l", "a") > 0);
    b = acquire_begin(f, 2, "b", 300);
    net_run_ms(f->net, 150);
    assert_false(acquire_end(f, b));
    net_run_ms(f->net, 150);
    assert_true(acquire_end(f, b));
    assert_int_equal(f->reply.error, 0);
    assert_false(f->reply.acquired);
    info(f, "l");
    assert_int_equal(f->reply.waiting, 0);
}

static void a_place_outlives_a_deadline_that_comes_before_the_wait_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t token = acquire(f, "l", "a");
    struct net_client *b = acquire_begin(f, 2, "b", 60000);

    for (int i = 0; i < 8; i++) {
        net_run_ms(f->net, 500);
        assert_int_equal(keepalive(f, "l", token), 0);
    }
    assert_true(acquire_end(f, b));
    assert_int_equal(f->reply.error, 0);
    assert_false(f->reply.acquired);
    assert_int_equal(f->reply.place, 1);
    b = acquire_begin(f, 3, "b", 60000);
    assert_true(release(f, "l", token));
    net_run_ms(f->net, 100);
    assert_true(acquire_end(f, b));
    assert_true(f->reply.acquired);
}

static void a_lease_that_nobody_keeps_alive_ends_and_the_next_one_holds(void **state)
{
    struct fixture *f = *state;
    uint64_t token = acquire(f, "l", "a");
    struct net_client *b = acquire_begin(f, 2, "b", 3500);

    net_run_ms(f->net, TTL_MS - 300);
    assert_false(acquire_end(f, b));
    net_run_ms(f->net, 500);
    assert_true(acquire_end(f, b));
    assert_true(f->reply.acquired);
    assert_true(f->reply.lock_token > token);
    assert_int_equal(keepalive(f, "l", token), KV_EFENCED);
}

static void a_keepalive_gives_the_full_time_again(void **state)
{
    struct fixture *f = *state;
    uint64_t token = acquire(f, "l", "a");

    for (int i = 0; i < 10; i++) {
        net_run_ms(f->net, TTL_MS - 200);
        assert_int_equal(keepalive(f, "l", token), 0);
        assert_int_equal(f->reply.ttl_ms, TTL_MS);
    }
    net_run_ms(f->net, TTL_MS + 300);
    assert_int_equal(keepalive(f, "l", token), KV_EFENCED);
}

/* The machine stood still; the keepalives sent meanwhile come a little later. */
static void no_lease_ends_while_keepalives_may_wait_behind_a_late_loop(void **state)
{
    struct fixture *f = *state;
    uint64_t tokens[10];
    char name[16];

    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "l%d", i);
        tokens[i] = acquire(f, name, "a");
    }
    net_run_ms(f->net, TTL_MS / 2);
    f->net->now_us += UINT64_C(3000) * TTL_MS;
    net_run_ms(f->net, 100);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "l%d", i);
        assert_int_equal(keepalive(f, name, tokens[i]), 0);
    }
    net_run_ms(f->net, 3 * TTL_MS);
    assert_int_equal(keepalive(f, "l0", tokens[0]), KV_EFENCED);
}

/* With a slow disk, time passes between a lease's end and the entry that says so. */
static void what_a_keepalive_was_promised_is_kept(void **state)
{
    struct fixture *f = *state;
    uint32_t lost = 0;
    char name[16];

    f->net->disk_us = 20000;
    for (uint32_t i = 0; i < 40; i++) {
        uint64_t token;

        (void)snprintf(name, sizeof name, "l%u", i);
        token = acquire(f, name, "a");
        net_run_ms(f->net, TTL_MS - 60 + 2 * i);
        if (keepalive(f, name, token) == 0) {
            net_run_ms(f->net, TTL_MS / 2);
            assert_int_equal(keepalive(f, name, token), 0);
        } else {
            lost++;
        }
    }
    assert_in_range(lost, 1, 39); /* The times were such that both happened. */
}

static void a_new_leader_gives_each_lease_its_full_time(void **state)
{
    struct fixture *f = *state;
    uint32_t group = group_of(f, "l");
    uint32_t leader = net_leader(f->net, group);
    uint64_t token = acquire(f, "l", "a");

    net_run_ms(f->net, TTL_MS - 100);
    net_kill(f->net, leader);
    net_run_ms(f->net, 100);
    if (leader == 1) {
        f->client = net_connect(f->net, 2);
    }
    while (net_leader(f->net, group) == 0) {
        net_run_ms(f->net, 10);
    }
    /* The old one would have let it end by now. */
    net_run_ms(f->net, TTL_MS - 300);
    assert_int_equal(keepalive(f, "l", token), 0);
    net_run_ms(f->net, TTL_MS + 300);
    assert_int_equal(keepalive(f, "l", token), KV_EFENCED);
}

static void who_waits_is_led_to_the_next_leader(void **state)
{
    struct fixture *f = *state;
    uint32_t leader = net_leader(f->net, group_of(f, "l"));
    uint32_t other = leader == 1 ? 2 : 1;
    uint64_t token;
    struct net_client *b;

    f->client = net_connect(f->net, other);
    token = acquire(f, "l", "a");
    b = acquire_begin(f, other, "b", 3900);
    net_isolate(f->net, leader, true);
    net_run_ms(f->net, 1500);
    net_isolate(f->net, leader, false);
    net_run_ms(f->net, 500);
    (void)release(f, "l", token);
    net_run_ms(f->net, 1500);
    assert_true(acquire_end(f, b));
    assert_int_equal(f->reply.error, 0);
    assert_true(f->reply.acquired);
}

static void an_older_token_is_refused_once_a_newer_one_was_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t old = acquire(f, "l", "a");
    uint64_t new;
    char key[16];

    key_near(f, "l", false, key);
    assert_int_equal(fenced_put(f, key, "l", old), 0);
    assert_int_equal(fenced_get(f, key, "l", old), 0);
    assert_true(release(f, "l", old));
    new = acquire(f, "l", "b");
    assert_int_equal(fenced_put(f, key, "l", old), 0); /* Nobody has told the group. */
    assert_int_equal(fenced_get(f, key, "l", new), 0); /* A read does. */
    assert_int_equal(fenced_put(f, key, "l", old), KV_EFENCED);
    assert_int_equal(fenced_get(f, key, "l", old), KV_EFENCED);
    assert_int_equal(fenced_put(f, key, "l", new), 0);
    assert_int_equal(fenced_put(f, key, "other", old), 0); /* Another lock. */
}

static void the_locks_own_group_asks_the_lock(void **state)
{
    struct fixture *f = *state;
    uint64_t token = acquire(f, "l", "a");
    char key[16];

    key_near(f, "l", true, key);
    assert_int_equal(fenced_put(f, key, "l", token), 0);
    assert_int_equal(fenced_get(f, key, "l", token), 0);
    assert_int_equal(fenced_put(f, key, "l", token + 1000), KV_EFENCED);
    assert_true(release(f, "l", token));
    assert_int_equal(fenced_put(f, key, "l", token), KV_EFENCED);
    assert_int_equal(fenced_get(f, key, "l", token), KV_EFENCED);
}

static void a_fenced_range_tells_every_group(void **state)
{
    struct fixture *f = *state;
    uint64_t old = acquire(f, "l", "a");
    struct rpc_request q = request_of(RPC_KV_RANGE, "");
    char key[16];
    uint64_t new;

    key_near(f, "l", false, key);
    assert_true(release(f, "l", old));
    new = acquire(f, "l", "b");
    fence(&q, "l", new);
    assert_int_equal(call(f, &q), 0);
    assert_int_equal(fenced_put(f, key, "l", old), KV_EFENCED);
}

static void a_semaphore_has_as_many_holders_as_permits(void **state)
{
    struct fixture *f = *state;
    const char *owners[] = {"a", "b", "c"};

    for (int i = 0; i < 3; i++) {
        struct rpc_request q = acquire_of("s", owners[i], 0);

        q.method = RPC_SEM_ACQUIRE;
        q.permits = 2;
        assert_int_equal(call(f, &q), 0);
        assert_int_equal(f->reply.acquired, i < 2);
    }
    assert_int_equal(acquire(f, "l", "a") > 0, true);
    {
        struct rpc_request q = acquire_of("s", "d", 0); /* With one permit. */

        assert_int_equal(call(f, &q), KV_EBADREQUEST);
    }
}

#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup_alone, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_release_answers_the_first_who_waits_and_nobody_else),
        CASE(who_waits_in_vain_hears_it_in_time_and_leaves_the_queue),
        CASE(a_place_outlives_a_deadline_that_comes_before_the_wait_ends),
        CASE(a_lease_that_nobody_keeps_alive_ends_and_the_next_one_holds),
        CASE(a_keepalive_gives_the_full_time_again),
        ALONE(no_lease_ends_while_keepalives_may_wait_behind_a_late_loop),
        ALONE(what_a_keepalive_was_promised_is_kept),
        CASE(a_new_leader_gives_each_lease_its_full_time),
        CASE(who_waits_is_led_to_the_next_leader),
        CASE(an_older_token_is_refused_once_a_newer_one_was_seen),
        CASE(the_locks_own_group_asks_the_lock),
        CASE(a_fenced_range_tells_every_group),
        CASE(a_semaphore_has_as_many_holders_as_permits),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/group_lock", tests, NULL, NULL);
}
