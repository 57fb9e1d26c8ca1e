/* tests/server/test_watch.c - whole nodes: every watcher hears exactly what happened.
 *
 * The model is a watcher of everything that never leaves; its events are compared with
 * the writes, and every other watcher with the part of them that is its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "rpc/event.h"
#include "server/node_parts.h"
#include "server/watch.h"
#include "tests/lib/node_net.h"

enum {
    HEARD_MAX = 4096,
    TEXT_MAX = 64,
};

/* What a watcher was told, one after the other: "put key value rev". */
struct watcher {
    struct net *net;
    struct net_client *client;
    struct rpc_request request;
    uint64_t id;
    uint8_t pos[KV_TOKEN_BYTES_MAX];
    size_t pos_len;
    uint32_t count;
    uint32_t progress;
    int ended; /* Word of an "end" as KV_E*. */
    char heard[HEARD_MAX][TEXT_MAX];
    struct rpc_decoder decoder;
};

static struct net *ready(uint32_t nodes, uint32_t groups)
{
    struct net_options o = {.nodes = nodes, .groups = groups, .replicas = 3};
    struct net *net = net_new(&o);

    net_start_all(net);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    net_run_ms(net, 500); /* All replicas know which slots are theirs. */
    return net;
}

static void pos_take(struct watcher *w, struct kv_bytes pos)
{
    assert_true(pos.len > 0 && pos.len <= sizeof w->pos);
    memcpy(w->pos, pos.data, pos.len);
    w->pos_len = pos.len;
}

static struct watcher *watcher_new(struct net *net, const char *key, bool is_prefix)
{
    struct watcher *w = kv_mem_zalloc(sizeof *w);

    assert_non_null(w);
    w->net = net;
    assert_int_equal(rpc_decoder_init(&w->decoder), 0);
    rpc_request_init(&w->request, RPC_KV_WATCH, 0);
    w->request.key = kv_bytes_str(key);
    w->request.options.prefix = is_prefix;
    w->request.options.has = is_prefix ? RPC_OPT_BIT(RPC_OPT_prefix) : 0;
    return w;
}

static void watcher_free(struct watcher *w)
{
    rpc_decoder_close(&w->decoder);
    kv_mem_free(w);
}

/* Begins, or goes on behind its position, at a node. Returns the reply's error. */
static int watcher_open(struct watcher *w, uint32_t node)
{
    struct rpc_reply reply;
    int rc;

    w->client = net_connect(w->net, node);
    if (w->client == NULL) {
        return KV_ECLOSED;
    }
    if (w->pos_len > 0) {
        w->request.options.pos = kv_bytes(w->pos, w->pos_len);
        w->request.options.has |= RPC_OPT_BIT(RPC_OPT_pos);
    }
    rc = net_call(w->net, w->client, &w->request, &w->decoder, &reply);
    assert_int_equal(rc, 0);
    if (reply.error == 0) {
        w->id = reply.watch;
        w->ended = 0;
        pos_take(w, reply.pos);
    }
    return reply.error;
}

static void watcher_close(struct watcher *w)
{
    net_disconnect(w->net, w->client);
    w->client = NULL;
}

static void hear(struct watcher *w, const struct rpc_event *e)
{
    assert_true(w->count < HEARD_MAX);
    (void)snprintf(w->heard[w->count++], TEXT_MAX, "%s %.*s%s%.*s %llu%s%.*s",
                   rpc_event_name(e->type), (int)e->key.len, (const char *)e->key.data,
                   e->has_value ? " " : "", (int)e->value.len,
                   e->has_value ? (const char *)e->value.data : "",
                   (unsigned long long)e->rev, e->has_prev ? " was " : "",
                   (int)e->prev.len, e->has_prev ? (const char *)e->prev.data : "");
}

/* Takes in what has arrived. */
static void watcher_listen(struct watcher *w)
{
    struct kv_bytes message;
    struct rpc_events events;
    struct rpc_event e;

    while (w->client != NULL && net_take(w->client, &message)) {
        assert_int_equal(rpc_events_decode(&w->decoder, message, &events), 0);
        assert_true(events.watch == w->id);
        for (uint32_t i = 0; i < events.events.count; i++) {
            rpc_event_get(&events, i, &e);
            if (e.type == RPC_EVENT_END) {
                w->ended = kv_err_from_word((const char *)e.value.data,
                                            strcspn((const char *)e.value.data, " "));
            } else if (e.type == RPC_EVENT_PROGRESS) {
                w->progress++;
            } else {
                hear(w, &e);
            }
        }
        pos_take(w, events.pos);
    }
}

/* Was `w` told exactly what `model` was told of keys that begin with `prefix`? The
 * order is that of one group: the net of these tests has one. */
static void assert_heard(const struct watcher *w, const struct watcher *model,
                         const char *prefix, uint32_t from)
{
    uint32_t at = 0;

    for (uint32_t i = from; i < model->count; i++) {
        const char *key = strchr(model->heard[i], ' ') + 1;

        if (strncmp(key, prefix, strlen(prefix)) == 0) {
            assert_true(at < w->count);
            assert_string_equal(w->heard[at++], model->heard[i]);
        }
    }
    assert_int_equal(at, w->count);
}

static int del(struct net *net, uint32_t node, const char *key)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_decoder d;
    struct rpc_request q;
    struct rpc_reply reply;
    int rc;

    assert_int_equal(rpc_decoder_init(&d), 0);
    rpc_request_init(&q, RPC_KV_DEL, 0);
    q.key = kv_bytes_str(key);
    rc = c == NULL ? KV_ECLOSED : net_call(net, c, &q, &d, &reply);
    if (c != NULL) {
        net_disconnect(net, c);
    }
    rpc_decoder_close(&d);
    return rc != 0 ? rc : reply.error;
}

static void a_watch_hears_puts_and_deletes_of_its_key(void **state)
{
    struct net *net = ready(3, 1);
    struct watcher *w = watcher_new(net, "a", false);

    (void)state;
    w->request.options.prev = true;
    w->request.options.has |= RPC_OPT_BIT(RPC_OPT_prev);
    assert_int_equal(net_put(net, 1, "a", "0"), 0);
    assert_int_equal(watcher_open(w, 2), 0);
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    assert_int_equal(net_put(net, 1, "b", "1"), 0);
    assert_int_equal(net_put(net, 3, "a", "2"), 0);
    assert_int_equal(del(net, 1, "a"), 0);
    assert_int_equal(del(net, 1, "a"), 0); /* Not there: nothing changes. */
    net_run_ms(net, 200);
    watcher_listen(w);
    assert_int_equal(w->count, 3);
    assert_non_null(strstr(w->heard[0], "put a 1 "));
    assert_non_null(strstr(w->heard[0], " was 0"));
    assert_non_null(strstr(w->heard[1], "put a 2 "));
    assert_non_null(strstr(w->heard[2], "del a "));
    assert_non_null(strstr(w->heard[2], " was 2"));
    watcher_free(w);
    net_free(net);
}

static void a_filter_keeps_other_changes_back(void **state)
{
    struct net *net = ready(1, 1);
    struct watcher *w = watcher_new(net, "", true);

    (void)state;
    w->request.options.only = RPC_ONLY_DEL;
    w->request.options.has |= RPC_OPT_BIT(RPC_OPT_only);
    assert_int_equal(watcher_open(w, 1), 0);
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    assert_int_equal(del(net, 1, "a"), 0);
    assert_int_equal(net_put(net, 1, "b", "1"), 0);
    net_run_ms(net, 100);
    watcher_listen(w);
    assert_int_equal(w->count, 1);
    assert_non_null(strstr(w->heard[0], "del a "));
    watcher_free(w);
    net_free(net);
}

static void a_filtered_watch_hears_of_its_progress(void **state)
{
    struct net *net = ready(1, 1);
    struct watcher *w = watcher_new(net, "", true);
    uint8_t before[KV_TOKEN_BYTES_MAX];
    size_t before_len;

    (void)state;
    w->request.options.only = RPC_ONLY_DEL;
    w->request.options.has |= RPC_OPT_BIT(RPC_OPT_only);
    assert_int_equal(watcher_open(w, 1), 0);
    before_len = w->pos_len;
    memcpy(before, w->pos, before_len);
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_run_ms(net, 2 * WATCH_PROGRESS_MS);
    watcher_listen(w);
    assert_int_equal(w->progress, 1); /* Told once: it moved once. */
    assert_false(
        kv_bytes_equal(kv_bytes(before, before_len), kv_bytes(w->pos, w->pos_len)));
    net_run_ms(net, 2 * WATCH_PROGRESS_MS);
    watcher_listen(w);
    assert_int_equal(w->progress, 1);
    watcher_free(w);
    net_free(net);
}

/* Behind its position others changed something, then all was quiet: there is nothing to
 * tell it, but its position has to follow, or it is lost when that is dropped. */
static void a_resumed_watch_hears_of_its_progress(void **state)
{
    struct net *net = ready(1, 1);
    struct watcher *w = watcher_new(net, "a", false);
    uint8_t before[KV_TOKEN_BYTES_MAX];
    size_t before_len;

    (void)state;
    assert_int_equal(watcher_open(w, 1), 0);
    watcher_close(w);
    before_len = w->pos_len;
    memcpy(before, w->pos, before_len);
    assert_int_equal(net_put(net, 1, "b", "1"), 0);
    assert_int_equal(watcher_open(w, 1), 0);
    net_run_ms(net, 2 * WATCH_PROGRESS_MS);
    watcher_listen(w);
    assert_int_equal(w->count, 0);
    assert_int_equal(w->progress, 1);
    assert_false(
        kv_bytes_equal(kv_bytes(before, before_len), kv_bytes(w->pos, w->pos_len)));
    watcher_free(w);
    net_free(net);
}

static void an_ended_watch_hears_nothing_more(void **state)
{
    struct net *net = ready(1, 1);
    struct watcher *w = watcher_new(net, "a", false);
    struct rpc_request q;
    struct rpc_reply reply;
    struct watches_stats stats;

    (void)state;
    assert_int_equal(watcher_open(w, 1), 0);
    rpc_request_init(&q, RPC_KV_UNWATCH, 0);
    q.watch = w->id;
    assert_int_equal(net_call(net, w->client, &q, &w->decoder, &reply), 0);
    assert_true(reply.error == 0 && reply.ended);
    assert_int_equal(net_call(net, w->client, &q, &w->decoder, &reply), 0);
    assert_true(reply.error == 0 && !reply.ended);
    assert_int_equal(net_put(net, 1, "a", "1"), 0);
    net_run_ms(net, 100);
    watcher_listen(w);
    assert_int_equal(w->count, 0);
    assert_int_equal(watcher_open(w, 1), 0);
    watcher_close(w);
    net_run_ms(net, 100);
    watches_stats_get(net->nodes[1].node->watches, &stats);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.bytes, 0);
    watcher_free(w);
    net_free(net);
}

/* Random writes; watchers that come and go between all nodes, two of which are killed
 * and started again, and never miss or repeat anything. */
static void every_watcher_hears_exactly_what_happened(void **state)
{
    static const char *const prefixes[] = {"", "a", "b", "a1"};
    struct net *net = ready(3, 1);
    struct watcher *model = watcher_new(net, "", true);
    struct watcher *ws[KV_ARRAY_COUNT(prefixes)];
    char key[8], value[16];
    struct prng p;

    (void)state;
    prng_init(&p, 11);
    assert_int_equal(watcher_open(model, 1), 0);
    for (uint32_t i = 0; i < KV_ARRAY_COUNT(ws); i++) {
        ws[i] = watcher_new(net, prefixes[i], true);
        assert_int_equal(watcher_open(ws[i], 1 + i % 3), 0);
    }
    for (uint32_t step = 0; step < 600; step++) {
        struct watcher *w = ws[prng_below(&p, KV_ARRAY_COUNT(ws))];

        (void)snprintf(key, sizeof key, "%c%u", 'a' + (char)prng_below(&p, 3),
                       (unsigned)prng_below(&p, 3));
        (void)snprintf(value, sizeof value, "v%u", step);
        assert_int_equal(
            prng_below(&p, 4) == 0 ? del(net, 1, key) : net_put(net, 1, key, value), 0);
        if (prng_below(&p, 5) == 0) { /* Leaves, hears the rest or not, comes back. */
            if (prng_below(&p, 2) == 0) {
                watcher_listen(w);
            }
            watcher_close(w);
            assert_int_equal(watcher_open(w, 1 + (uint32_t)prng_below(&p, 3)), 0);
        }
        watcher_listen(model);
    }
    net_run_ms(net, 500);
    watcher_listen(model);
    assert_true(model->count > 400);
    for (uint32_t i = 0; i < KV_ARRAY_COUNT(ws); i++) {
        watcher_listen(ws[i]);
        assert_heard(ws[i], model, prefixes[i], 0);
        watcher_free(ws[i]);
    }
    watcher_free(model);
    net_free(net);
}

static void a_watch_goes_on_at_another_node_when_its_own_dies(void **state)
{
    struct net *net = ready(3, 1);
    struct watcher *model = watcher_new(net, "", true);
    struct watcher *w = watcher_new(net, "", true);
    char value[16];

    (void)state;
    assert_int_equal(watcher_open(model, 3), 0);
    assert_int_equal(watcher_open(w, 2), 0);
    for (uint32_t i = 0; i < 60; i++) {
        (void)snprintf(value, sizeof value, "v%u", i);
        assert_int_equal(net_put(net, 3, "k", value), 0);
        if (i == 20) {
            net_run_ms(net, 100);
            watcher_listen(w);
            net_kill(net, 2);
            net_run_ms(net, 2000);
        } else if (i == 40) {
            assert_int_equal(watcher_open(w, 1), 0);
            assert_int_equal(net_start(net, 2), 0);
        }
    }
    net_run_ms(net, 500);
    watcher_listen(model);
    watcher_listen(w);
    assert_int_equal(model->count, 60);
    assert_heard(w, model, "", 0);
    watcher_free(w);
    watcher_free(model);
    net_free(net);
}

static void a_restarted_node_says_what_it_does_not_keep(void **state)
{
    struct net *net = ready(3, 1);
    struct watcher *w = watcher_new(net, "", true);

    (void)state;
    assert_int_equal(watcher_open(w, 2), 0);
    watcher_close(w);
    assert_int_equal(net_put(net, 3, "k", "1"), 0);
    net_run_ms(net, 3000); /* A checkpoint takes it: it is not in the log's tail. */
    net_kill(net, 2);
    assert_int_equal(net_start(net, 2), 0);
    assert_true(net_run_until(net, net_is_ready, NULL, 20000));
    assert_int_equal(net_put(net, 3, "k", "2"), 0);
    net_run_ms(net, 1000);
    assert_int_equal(watcher_open(w, 2), KV_ECOMPACTED);
    assert_int_equal(watcher_open(w, 1), 0); /* Another one keeps it. */
    net_run_ms(net, 200);
    watcher_listen(w);
    assert_int_equal(w->count, 2);
    watcher_free(w);
    net_free(net);
}

static void a_slow_reader_is_told_where_it_was_left_behind(void **state)
{
    static char value[200 * 1024];
    struct net *net = ready(1, 1);
    struct watcher *slow = watcher_new(net, "", true);
    struct watcher *fast = watcher_new(net, "", true);

    (void)state;
    memset(value, 'v', sizeof value - 1);
    assert_int_equal(watcher_open(slow, 1), 0);
    assert_int_equal(watcher_open(fast, 1), 0);
    net_stall(slow->client, true);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(net_put(net, 1, "k", value), 0);
        net_run_ms(net, 30);
        watcher_listen(fast);
    }
    assert_int_equal(fast->count, 100);
    assert_int_equal(fast->ended, 0);
    net_stall(slow->client, false);
    net_run_ms(net, 500);
    watcher_listen(slow);
    assert_int_equal(slow->ended, KV_EOVERFLOW);
    assert_true(slow->count < 100);
    watcher_free(slow);
    watcher_free(fast);
    net_free(net);
}

static void all_groups_are_watched_and_each_in_order(void **state)
{
    struct net *net = ready(3, 4);
    struct watcher *w = watcher_new(net, "", true);
    char key[16], value[16];
    uint32_t next[8] = {0};

    (void)state;
    assert_int_equal(watcher_open(w, 1), 0);
    for (uint32_t i = 0; i < 200; i++) {
        (void)snprintf(key, sizeof key, "k%u", i % 8);
        (void)snprintf(value, sizeof value, "%u", i / 8);
        assert_int_equal(net_put(net, 1 + i % 3, key, value), 0);
        if (i % 50 == 49) {
            net_run_ms(net, 100);
            watcher_listen(w);
            watcher_close(w);
            assert_int_equal(watcher_open(w, 1 + i % 3), 0);
        }
    }
    net_run_ms(net, 200);
    watcher_listen(w);
    assert_int_equal(w->count, 200);
    for (uint32_t i = 0; i < w->count; i++) {
        unsigned k, v;

        assert_int_equal(sscanf(w->heard[i], "put k%u %u", &k, &v), 2);
        assert_true(k < 8);
        assert_int_equal(v, next[k]++);
    }
    watcher_free(w);
    net_free(net);
}

static void a_node_without_a_replica_says_who_has_one(void **state)
{
    struct net *net = ready(5, 8);
    struct watcher *all = watcher_new(net, "", true);
    struct watcher *tag = watcher_new(net, "{t}", true);
    uint32_t served = 0;

    (void)state;
    assert_int_equal(watcher_open(all, 1), KV_EBADREQUEST);
    for (uint32_t node = 1; node <= 5; node++) {
        int rc = watcher_open(tag, node);

        assert_true(rc == 0 || rc == KV_ENOTLEADER);
        served += rc == 0;
        tag->pos_len = 0;
    }
    assert_int_equal(served, 3);
    watcher_free(all);
    watcher_free(tag);
    net_free(net);
}

/* Five nodes with three replicas of each group: all of the keys, group by group. */
static void groups_are_watched_one_by_one(void **state)
{
    struct net *net = ready(5, 8);
    struct watcher *parts[9];
    uint32_t heard = 0;

    (void)state;
    for (uint32_t group = 1; group <= 8; group++) {
        uint32_t node = 1;

        parts[group] = watcher_new(net, "", true);
        parts[group]->request.options.group = group;
        parts[group]->request.options.has |= RPC_OPT_BIT(RPC_OPT_group);
        while (watcher_open(parts[group], node) == KV_ENOTLEADER) {
            assert_true(++node <= 5);
        }
        assert_true(parts[group]->pos_len > 0);
    }
    for (uint32_t i = 0; i < 64; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(net_put(net, 1 + i % 5, key, "1"), 0);
    }
    net_run_ms(net, 500);
    for (uint32_t group = 1; group <= 8; group++) {
        watcher_listen(parts[group]);
        assert_true(parts[group]->count > 0 && parts[group]->count < 64);
        heard += parts[group]->count;
    }
    assert_int_equal(heard, 64);
    parts[1]->request.options.group = 9;
    parts[1]->pos_len = 0;
    parts[1]->request.options.has &= ~RPC_OPT_BIT(RPC_OPT_pos);
    assert_int_equal(watcher_open(parts[1], 1), KV_EBADREQUEST);
    for (uint32_t group = 1; group <= 8; group++) {
        watcher_free(parts[group]);
    }
    net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_hears_puts_and_deletes_of_its_key),
        cmocka_unit_test(a_filter_keeps_other_changes_back),
        cmocka_unit_test(a_filtered_watch_hears_of_its_progress),
        cmocka_unit_test(a_resumed_watch_hears_of_its_progress),
        cmocka_unit_test(an_ended_watch_hears_nothing_more),
        cmocka_unit_test(every_watcher_hears_exactly_what_happened),
        cmocka_unit_test(a_watch_goes_on_at_another_node_when_its_own_dies),
        cmocka_unit_test(a_restarted_node_says_what_it_does_not_keep),
        cmocka_unit_test(a_slow_reader_is_told_where_it_was_left_behind),
        cmocka_unit_test(a_node_without_a_replica_says_who_has_one),
        cmocka_unit_test(groups_are_watched_one_by_one),
        cmocka_unit_test(all_groups_are_watched_and_each_in_order),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/watch", tests, NULL, NULL);
}
