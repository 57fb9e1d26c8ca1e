/* tests/server/test_delrange.c - a range deleted in all groups, step by step. */
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
#include "rpc/token.h"
#include "server/node_parts.h"
#include "tests/lib/node_net.h"

enum {
    KEYS = 300,
    GROUPS = 8,
};

struct box {
    struct net *net;
    struct net_client *c;
    struct rpc_decoder d;
    struct rpc_reply r;
    bool there[KEYS]; /* The model. */
    char next[64];
    size_t next_len;
};

static const char *key_of(uint32_t i, char *out)
{
    snprintf(out, 16, "k%03u", i);
    return out;
}

static void fill(struct box *b)
{
    char key[16];
    struct rpc_request q;
    struct kv_bytes m;
    uint32_t got = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        rpc_request_init(&q, RPC_KV_PUT, 0);
        q.key = q.value = kv_bytes_str(key_of(i, key));
        (void)net_ask(b->net, b->c, &q);
        b->there[i] = true;
    }
    net_run_ms(b->net, 2000);
    while (net_take(b->c, &m)) {
        got++;
    }
    assert_int_equal(got, KEYS);
}

static struct box *box_new(uint32_t nodes, uint32_t node)
{
    struct net_options o = {.nodes = nodes, .groups = GROUPS, .replicas = 3};
    struct box *b = kv_mem_zalloc(sizeof *b);

    assert_non_null(b);
    b->net = net_new(&o);
    net_start_all(b->net);
    assert_true(net_run_until(b->net, net_is_ready, NULL, 20000));
    b->c = net_connect(b->net, node);
    assert_int_equal(rpc_decoder_init(&b->d), 0);
    fill(b);
    return b;
}

static void box_free(struct box *b)
{
    for (uint32_t id = 1; id <= b->net->nodes_count; id++) {
        if (b->net->nodes[id].node != NULL) {
            assert_int_equal(request_pool_count(b->net->nodes[id].node->requests), 0);
        }
    }
    rpc_decoder_close(&b->d);
    net_free(b->net);
    kv_mem_free(b);
}

static struct rpc_request request(const char *begin, const char *end, uint32_t limit)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_DELRANGE, 0);
    q.begin = kv_bytes_str(begin);
    q.end = kv_bytes_str(end);
    if (limit > 0) {
        q.options.limit = limit;
        q.options.has = RPC_OPT_BIT(RPC_OPT_limit);
    }
    return q;
}

static void call(struct box *b, struct rpc_request *q)
{
    assert_int_equal(net_call(b->net, b->c, q, &b->d, &b->r), 0);
    b->next_len = KV_MIN(b->r.next.len, sizeof b->next);
    if (b->next_len > 0) {
        memcpy(b->next, b->r.next.data, b->next_len);
    }
}

/* Which keys are there, by a range. */
static uint32_t look(struct box *b, bool *out_there)
{
    struct rpc_request q;
    struct rpc_item item;
    char text[8] = "";

    memset(out_there, 0, KEYS);
    rpc_request_init(&q, RPC_KV_RANGE, 0);
    assert_int_equal(net_call(b->net, b->c, &q, &b->d, &b->r), 0);
    assert_int_equal(b->r.error, 0);
    assert_false(b->r.more);
    for (uint32_t i = 0; i < b->r.items.count; i++) {
        rpc_reply_item_get(&b->r, i, &item);
        assert_int_equal(item.key.len, 4);
        memcpy(text, item.key.data + 1, 3);
        out_there[strtoul(text, NULL, 10)] = true;
    }
    return b->r.items.count;
}

/* ---- many groups ---- */

static void steps_delete_the_range_and_nothing_else(void **state)
{
    struct box *b = box_new(5, 2);
    bool there[KEYS];
    struct prng r;

    (void)state;
    prng_init(&r, 3);
    for (uint32_t round = 0; round < 12; round++) {
        uint32_t from = (uint32_t)prng_below(&r, KEYS), left = 0, deleted = 0;
        uint32_t many = (uint32_t)prng_below(&r, 60);
        uint32_t to = KV_MIN(from + many, (uint32_t)KEYS);
        char begin[16], end[16];
        struct rpc_request q = request(key_of(from, begin), key_of(to, end),
                                       1 + (uint32_t)prng_below(&r, 4));

        for (uint32_t i = from; i < to; i++) {
            left += b->there[i];
            b->there[i] = false;
        }
        do {
            call(b, &q);
            assert_int_equal(b->r.error, 0);
            assert_int_equal(b->r.ats.count, GROUPS);
            assert_true(b->r.deleted_count <= q.options.limit * GROUPS);
            deleted += (uint32_t)b->r.deleted_count;
            q.begin = kv_bytes(b->next, b->next_len);
        } while (b->r.more);
        assert_int_equal(deleted, left);
        (void)look(b, there);
        assert_memory_equal(there, b->there, sizeof there);
    }
    box_free(b);
}

/* Whatever lies before `next` is gone. */
static void what_lies_before_next_is_gone(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 5);
    bool there[KEYS];
    char key[16];

    (void)state;
    call(b, &q);
    assert_int_equal(b->r.deleted_count, 5 * GROUPS);
    assert_true(b->r.more);
    assert_int_equal(look(b, there), KEYS - 5 * GROUPS);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (kv_bytes_compare(kv_bytes_str(key_of(i, key)),
                             kv_bytes(b->next, b->next_len)) < 0) {
            assert_false(there[i]);
        }
    }
    box_free(b);
}

static void the_token_stands_for_all_groups(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 0);

    (void)state;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_token);
    call(b, &q);
    assert_int_equal(b->r.error, 0);
    assert_int_equal(b->r.deleted_count, KEYS);
    for (uint32_t g = 1; g <= GROUPS; g++) {
        assert_true(token_rev(b->r.token, g) > 0);
    }
    box_free(b);
}

static void a_step_sent_again_is_done_once(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 2);
    bool there[KEYS];

    (void)state;
    q.options.session = 99;
    q.options.seq = 1;
    q.options.stamp = 1;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq) |
                     RPC_OPT_BIT(RPC_OPT_stamp);
    call(b, &q); /* Much too old: tells the time. */
    assert_int_equal(b->r.error, KV_ESESSION);
    assert_int_equal(look(b, there), KEYS);
    q.options.stamp =
        b->net->nodes[1].node->env->ops->wall_ms(b->net->nodes[1].node->env);
    call(b, &q);
    assert_int_equal(b->r.error, 0);
    assert_false(b->r.repeated);
    assert_int_equal(b->r.deleted_count, 2 * GROUPS);
    call(b, &q);
    assert_int_equal(b->r.error, 0);
    assert_true(b->r.repeated);
    assert_int_equal(b->r.deleted_count, 2 * GROUPS);
    assert_true(b->r.more);
    assert_int_equal(look(b, there), KEYS - 2 * GROUPS);
    box_free(b);
}

/* ---- when something fails ---- */

static void without_leaders_nothing_is_done(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 0);

    (void)state;
    net_kill(b->net, 2);
    net_kill(b->net, 3);
    net_run_ms(b->net, 1000);
    q.options.deadline_ms = 300;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    call(b, &q);
    assert_int_equal(b->r.error, KV_ENOLEADER);
    box_free(b);
}

/* Five nodes, three replicas each: with two nodes dead some groups have no leader.
 * Those that have one delete; the answer goes on where it began. */
static void what_some_groups_refuse_is_to_be_done_again(void **state)
{
    struct box *b = box_new(5, 1);
    struct rpc_request q = request("", "", 0);

    (void)state;
    net_kill(b->net, 4);
    net_kill(b->net, 5);
    net_run_ms(b->net, 2000);
    q.options.deadline_ms = 500;
    q.options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    call(b, &q);
    assert_int_equal(b->r.error, 0);
    assert_true(b->r.deleted_count > 0 && b->r.deleted_count < KEYS);
    assert_true(b->r.ats.count > 0 && b->r.ats.count < GROUPS);
    assert_true(b->r.more);
    assert_int_equal(b->next_len, 1); /* Nothing lies before it. */
    call(b, &q);
    /* The others have nothing left. */
    assert_int_equal(kv_err_outcome(b->r.error), KV_OUTCOME_NOT_DONE);
    box_free(b);
}

static void a_link_lost_on_the_way_leaves_it_unknown(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 0);
    uint32_t victim = 0;
    struct kv_bytes m;

    (void)state;
    for (uint32_t g = 1; g <= GROUPS && victim == 0; g++) {
        victim = net_leader(b->net, g) != 1 ? net_leader(b->net, g) : 0;
    }
    assert_true(victim != 0);
    (void)net_ask(b->net, b->c, &q);
    net_run_ms(b->net, 0);
    b->net->now_us += 300;
    net_run_ms(b->net, 0);
    net_kill(b->net, victim);
    net_run_ms(b->net, 6000);
    assert_true(net_take(b->c, &m));
    assert_int_equal(rpc_reply_decode(&b->d, m, RPC_KV_DELRANGE, &b->r), 0);
    assert_int_equal(b->r.error, KV_EUNKNOWN);
    box_free(b);
}

static void a_client_that_leaves_leaks_nothing(void **state)
{
    struct box *b = box_new(3, 1);
    struct rpc_request q = request("", "", 0);

    (void)state;
    (void)net_ask(b->net, b->c, &q);
    net_disconnect(b->net, b->c);
    net_run_ms(b->net, 1000);
    box_free(b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_delete_the_range_and_nothing_else),
        cmocka_unit_test(what_lies_before_next_is_gone),
        cmocka_unit_test(the_token_stands_for_all_groups),
        cmocka_unit_test(a_step_sent_again_is_done_once),
        cmocka_unit_test(without_leaders_nothing_is_done),
        cmocka_unit_test(what_some_groups_refuse_is_to_be_done_again),
        cmocka_unit_test(a_link_lost_on_the_way_leaves_it_unknown),
        cmocka_unit_test(a_client_that_leaves_leaks_nothing),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/delrange", tests, NULL, NULL);
}
