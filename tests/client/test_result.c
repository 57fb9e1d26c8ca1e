/* tests/client/test_result.c - results: what each request fills in, and copies. */
#include "raft/base/arena.h"
#include "tests/client/probe.h"

/* A blocking client of a fake server. */
struct pair {
    struct fake_server *server;
    struct kv_client *client;
};

static int setup(void **state)
{
    static struct pair pairs[1];

    pairs[0].server = fake_server_start(7, 0);
    assert_int_equal(kv_open(fake_server_endpoint(pairs[0].server), &pairs[0].client),
                     0);
    *state = &pairs[0];
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;

    kv_free(pair->client);
    fake_server_stop(pair->server);
    return 0;
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Carries out a request that must succeed. */
static const struct kv_result *done(struct pair *pair, struct kv_request request)
{
    const struct kv_result *r = kv_wait(pair->client, request);

    assert_int_equal(r->error, 0);
    assert_int_equal(r->outcome, KV_DONE);
    assert_int_equal(r->op, request.op);
    assert_string_equal(r->text, "");
    return r;
}

static void assert_view(struct kv_view view, const char *want)
{
    assert_non_null(view.data);
    assert_int_equal(view.len, strlen(want));
    assert_memory_equal(view.data, want, view.len);
}

static void a_get_has_value_rev_and_place(void **state)
{
    struct pair *pair = *state;
    const struct kv_result *r = done(pair, kv_put(kv_str("k"), kv_str("")));

    assert_int_equal(r->rev, 1);
    kv_result_free(r);
    r = done(pair, kv_get(kv_str("k")));
    assert_true(r->found);
    assert_view(r->value, ""); /* Empty is not nil. */
    assert_int_equal(r->rev, 1);
    assert_int_equal(r->ats_count, 1);
    assert_int_equal(r->at.node, 7);
    assert_int_equal(r->at.group, 1);
    assert_int_equal(r->at.term, 3);
    assert_int_equal(r->at.level, KV_LEVEL_LINEARIZABLE);
    kv_result_free(r);
    r = done(pair, kv_get(kv_str("nothing")));
    assert_false(r->found);
    assert_null(r->value.data);
    kv_result_free(r);
}

static void a_cas_tells_what_is_there(void **state)
{
    struct pair *pair = *state;
    const struct kv_result *r = done(pair, kv_cas(kv_str("k"), kv_nil(), kv_str("a")));

    assert_true(r->swapped);
    kv_result_free(r);
    r = done(pair, kv_cas(kv_str("k"), kv_str("b"), kv_str("c")));
    assert_false(r->swapped);
    assert_true(r->found);
    assert_view(r->value, "a");
    kv_result_free(r);
    r = done(pair, kv_cas(kv_str("k"), kv_str("a"), kv_nil()));
    assert_true(r->swapped);
    kv_result_free(r);
    r = done(pair, kv_cas(kv_str("k"), kv_str("a"), kv_str("c")));
    assert_false(r->swapped);
    assert_false(r->found);
    kv_result_free(r);
    /* An empty value is expected as such, not as "no key". */
    r = done(pair, kv_cas(kv_str("k"), kv_str(""), kv_str("c")));
    assert_false(r->swapped);
    kv_result_free(r);
}

static void a_del_and_an_incr_tell_what_they_did(void **state)
{
    struct pair *pair = *state;
    const struct kv_result *r = done(pair, kv_incr(kv_str("n"), -7));

    assert_int_equal(r->number, -7);
    kv_result_free(r);
    r = done(pair, kv_del(kv_str("n")));
    assert_true(r->deleted);
    kv_result_free(r);
    r = done(pair, kv_del(kv_str("n")));
    assert_false(r->deleted);
    kv_result_free(r);
    kv_result_free(done(pair, kv_put(kv_str("n"), kv_str("text"))));
    r = kv_wait(pair->client, kv_incr(kv_str("n"), 1));
    assert_int_equal(r->error, KV_ERR_BAD_REQUEST);
    assert_int_equal(r->outcome, KV_NOT_DONE);
    kv_result_free(r);
}

static void a_range_has_items_and_where_to_go_on(void **state)
{
    struct pair *pair = *state;
    struct kv_request request = kv_range(kv_str("b"), kv_str("e"));
    const struct kv_result *r;
    char key[2] = "a";

    for (; key[0] <= 'f'; key[0]++) {
        kv_result_free(done(pair, kv_put(kv_str(key), kv_str("v"))));
    }
    request.limit = 2;
    r = done(pair, request);
    assert_int_equal(r->items_count, 2);
    assert_view(r->items[0].key, "b");
    assert_view(r->items[1].key, "c");
    assert_view(r->items[1].value, "v");
    assert_int_equal(r->items[1].rev, 3);
    assert_true(r->more);
    assert_view(r->next, "d");
    kv_result_free(r);
    r = done(pair, kv_range(kv_str("x"), kv_str("")));
    assert_int_equal(r->items_count, 0);
    assert_false(r->more);
    kv_result_free(r);
}

static void a_map_has_nodes_groups_and_slots(void **state)
{
    struct pair *pair = *state;
    struct map *map = fake_server_map(&pair->server, 1, 3, 12);
    const uint32_t leaders[] = {1, 0, 1};
    const struct kv_result *r;
    uint32_t slots = 0;

    fake_server_set_map(pair->server, map, leaders);
    r = done(pair, kv_map());
    assert_non_null(r->cluster);
    assert_int_equal(r->cluster->id, 0xc1);
    assert_int_equal(r->cluster->epoch, 12);
    assert_int_equal(r->cluster->node, 7);
    assert_int_equal(r->cluster->nodes_count, 1);
    assert_string_equal(r->cluster->nodes[0].host, "127.0.0.1");
    assert_int_equal(r->cluster->nodes[0].client_port, fake_server_port(pair->server));
    assert_string_equal(r->cluster->nodes[0].zone, "");
    assert_int_equal(r->cluster->groups_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct kv_group *g = &r->cluster->groups[i];

        assert_int_equal(g->leader, leaders[i]);
        assert_int_equal(g->nodes_count, 1);
        assert_int_equal(g->nodes[0], 1);
        assert_true(g->slots_count > 0);
        slots += g->slots_count;
    }
    assert_int_equal(slots, KV_SLOTS_COUNT);
    assert_int_equal(r->cluster->slots[kv_slot(kv_str("k"))],
                     map_group_for_key(map, kv_bytes_str("k")));
    kv_result_free(r);
    kv_mem_free(map);
}

static void a_status_has_terms_and_positions(void **state)
{
    struct pair *pair = *state;
    const struct kv_result *r = done(pair, kv_status());

    assert_int_equal(r->cluster->groups_count, 1);
    assert_int_equal(r->cluster->groups[0].id, 1);
    assert_int_equal(r->cluster->groups[0].term, 3);
    assert_int_equal(r->cluster->groups[0].commit, 100);
    assert_int_equal(r->cluster->groups[0].applied, 100);
    assert_int_equal(r->cluster->groups[0].nodes[0], 1);
    assert_null(r->cluster->slots);
    kv_result_free(r);
}

static void options_travel(void **state)
{
    struct pair *pair = *state;
    struct kv_request request = kv_get(kv_str("k"));
    struct rpc_options seen;

    request.level = KV_LEVEL_STALE;
    request.max_age_ms = 500;
    request.no_forward = true;
    kv_result_free(kv_wait(pair->client, request));
    assert_true(fake_server_options(pair->server, RPC_KV_GET, &seen));
    assert_int_equal(seen.level, RPC_STALE);
    assert_int_equal(seen.max_age_ms, 500);
    assert_false(seen.forward);
    kv_result_free(kv_wait(pair->client, kv_get(kv_str("k"))));
    assert_true(fake_server_options(pair->server, RPC_KV_GET, &seen));
    assert_int_equal(seen.level, RPC_LINEARIZABLE);
    assert_true(seen.forward);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_PAIR(a_get_has_value_rev_and_place),
        WITH_PAIR(a_cas_tells_what_is_there),
        WITH_PAIR(a_del_and_an_incr_tell_what_they_did),
        WITH_PAIR(a_range_has_items_and_where_to_go_on),
        WITH_PAIR(a_map_has_nodes_groups_and_slots),
        WITH_PAIR(a_status_has_terms_and_positions),
        WITH_PAIR(options_travel),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/result", tests, NULL, NULL);
}
