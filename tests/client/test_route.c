/* tests/client/test_route.c - routing: the map by epoch, leaders, hints, fallbacks. */
#include "raft/base/arena.h"
#include "tests/client/probe.h"

enum {
    NODES = 3,
    GROUPS = 4,
};

/* Three nodes that know each other, and a client that routes. */
struct cluster {
    struct rig rig;
    struct fake_server *servers[NODES];
    struct map *map;
    uint32_t leaders[GROUPS];
    char endpoints[128];
};

/* Tells all nodes who leads which group: node i % NODES + 1 leads groups[i]. */
static void cluster_tell(struct cluster *c, uint64_t epoch, uint32_t shift)
{
    kv_mem_free(c->map);
    c->map = fake_server_map(c->servers, NODES, GROUPS, epoch);
    for (uint32_t i = 0; i < GROUPS; i++) {
        c->leaders[i] = (i + shift) % NODES + 1;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        if (c->servers[i] != NULL) {
            fake_server_set_map(c->servers[i], c->map, c->leaders);
        }
    }
}

static struct kv_options cluster_options(struct cluster *c)
{
    struct kv_options options = rig_options(&c->rig);

    options.routing = KV_ROUTE_LEADER;
    options.endpoints = c->endpoints;
    return options;
}

static int setup(void **state)
{
    static const struct sigaction ignore = {.sa_handler = SIG_IGN};
    static struct cluster clusters[1];
    struct cluster *c = &clusters[0];
    struct kv_options options;

    (void)sigaction(SIGPIPE, &ignore, NULL);
    memset(c, 0, sizeof *c);
    assert_int_equal(uv_loop_init(&c->rig.loop), 0);
    for (uint32_t i = 0; i < NODES; i++) {
        c->servers[i] = fake_server_start(i + 1, 0);
    }
    c->rig.server = c->servers[0];
    (void)snprintf(c->endpoints, sizeof c->endpoints, "%s,%s",
                   fake_server_endpoint(c->servers[0]),
                   fake_server_endpoint(c->servers[1]));
    cluster_tell(c, 5, 0);
    options = cluster_options(c);
    rig_client(&c->rig, &options);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *c = *state;

    kv_free(c->rig.client);
    rig_finish(&c->rig);
    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_stop(c->servers[i]);
    }
    kv_mem_free(c->map);
    return 0;
}

#define WITH_CLUSTER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Runs the loop until the client has a map of that epoch. */
static void wait_for_map(struct cluster *c, uint64_t epoch)
{
    for (int i = 0; i < 5000 && kv_map_epoch(c->rig.client) < epoch; i++) {
        (void)uv_run(&c->rig.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(kv_map_epoch(c->rig.client), epoch);
}

/* The node that ought to get requests for a key. */
static uint32_t leader_of(const struct cluster *c, const char *key)
{
    return c->leaders[map_group_for_key(c->map, kv_bytes_str(key)) - 1];
}

static const char *endpoint_of(const struct cluster *c, uint32_t node)
{
    return fake_server_endpoint(c->servers[node - 1]);
}

static uint32_t maps_asked(struct cluster *c)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        if (c->servers[i] != NULL) {
            count += fake_server_requests(c->servers[i], RPC_CLUSTER_MAP);
        }
    }
    return count;
}

/* ---- the map ---- */

static void asks_the_leader_of_the_keys_group(void **state)
{
    struct cluster *c = *state;
    char key[16];

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    for (int i = 0; i < 40; i++) {
        struct probe p;

        (void)snprintf(key, sizeof key, "key%d", i);
        p = rig_call(&c->rig, kv_put(kv_str(key), kv_str("v")));
        assert_int_equal(p.error, 0);
        assert_string_equal(p.endpoint, endpoint_of(c, leader_of(c, key)));
    }
    assert_int_equal(maps_asked(c), 1); /* Cached. */
    /* The third node was no endpoint: the map told. */
    assert_true(fake_server_requests(c->servers[2], RPC_KV_PUT) > 0);
}

static void opens_one_connection_per_node(void **state)
{
    struct cluster *c = *state;
    char key[16];

    for (int i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "key%d", i);
        (void)rig_call(&c->rig, kv_get(kv_str(key)));
    }
    for (uint32_t i = 0; i < NODES; i++) {
        assert_int_equal(fake_server_connections(c->servers[i]), 1);
    }
}

static void fetches_the_map_again_when_a_connection_breaks(void **state)
{
    struct cluster *c = *state;
    struct probe p;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    cluster_tell(c, 6, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_drop_all(c->servers[i]);
    }
    uv_sleep(120); /* Fetches have a shortest distance. */
    do {
        (void)rig_call(&c->rig, get_request());
    } while (kv_map_epoch(c->rig.client) < 6);
    p = rig_call(&c->rig, put_request());
    assert_string_equal(p.endpoint, endpoint_of(c, leader_of(c, "k")));
}

static void fetches_the_map_again_when_it_hears_of_a_newer_one(void **state)
{
    struct cluster *c = *state;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    cluster_tell(c, 9, 2);
    assert_int_equal(rig_call(&c->rig, kv_status()).error, 0);
    uv_sleep(250);
    (void)rig_call(&c->rig, get_request());
    wait_for_map(c, 9);
}

static void ignores_a_map_that_is_older(void **state)
{
    struct cluster *c = *state;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    cluster_tell(c, 3, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_drop_all(c->servers[i]);
    }
    for (int i = 0; i < 5; i++) {
        uv_sleep(60);
        assert_int_equal(rig_call(&c->rig, get_request()).error, 0);
    }
    assert_true(maps_asked(c) > 1);
    assert_int_equal(kv_map_epoch(c->rig.client), 5);
}

static void works_without_a_map(void **state)
{
    struct cluster *c = *state;

    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_script(c->servers[i], (struct fake_step){.method = RPC_CLUSTER_MAP,
                                                             .action = FAKE_ERROR,
                                                             .code = KV_EDENIED,
                                                             .times = FAKE_FOREVER});
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_call(&c->rig, put_request()).error, 0);
    }
    assert_int_equal(kv_map_epoch(c->rig.client), 0);
}

/* ---- leaders ---- */

static void follows_the_hint_of_not_leader(void **state)
{
    struct cluster *c = *state;
    uint32_t leader;
    uint32_t other;
    struct probe p;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    leader = leader_of(c, "k");
    other = leader % NODES + 1;
    fake_server_script(c->servers[leader - 1],
                       (struct fake_step){.method = RPC_KV_PUT,
                                          .action = FAKE_ERROR,
                                          .code = KV_ENOTLEADER,
                                          .text = endpoint_of(c, other)});
    p = rig_call(&c->rig, put_request());
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_string_equal(p.endpoint, endpoint_of(c, other));
    /* It answered as the leader: the next one goes there at once. */
    p = rig_call(&c->rig, put_request());
    assert_int_equal(p.sendings, 1);
    assert_string_equal(p.endpoint, endpoint_of(c, other));
}

static void survives_hints_that_are_no_address(void **state)
{
    static const char *const hints[] = {"",      " ",      "nobody",     ":",
                                        "host:", "host:0", "host:99999", "[::1:7",
                                        "a b:1", "\x01:7"};
    struct cluster *c = *state;

    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        for (uint32_t n = 0; n < NODES; n++) {
            fake_server_script(c->servers[n], (struct fake_step){.method = RPC_KV_PUT,
                                                                 .action = FAKE_ERROR,
                                                                 .code = KV_ENOTLEADER,
                                                                 .text = hints[i]});
        }
        assert_int_equal(rig_call(&c->rig, put_request()).error, 0);
    }
}

static void goes_to_another_node_when_the_leader_is_gone(void **state)
{
    struct cluster *c = *state;
    uint32_t leader;
    struct probe p;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    leader = leader_of(c, "k");
    (void)rig_call(&c->rig, put_request());
    fake_server_stop(c->servers[leader - 1]);
    c->servers[leader - 1] = NULL;
    for (int i = 0; i < 20; i++) {
        p = rig_call(&c->rig, kv_get(kv_str("k")));
        assert_int_equal(p.error, 0);
        p = rig_call(&c->rig, put_request());
        assert_int_equal(p.error, 0);
    }
}

/* A write hangs on the old leader; another node says who leads now. */
static void a_write_goes_to_the_leader_it_is_told_of(void **state)
{
    struct cluster *c = *state;
    struct kv_options options = cluster_options(c);
    uint64_t begun_ms;
    uint32_t leader;
    uint32_t other;
    struct probe p = {0};

    options.sessions = KV_SESSIONS_ON; /* It may be sent again. */
    options.deadline_ms = 15000; /* By itself it would leave after a third of it. */
    rig_client(&c->rig, &options);
    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    (void)rig_call(&c->rig, put_request()); /* Numbered: the session is open. */
    leader = leader_of(c, "k");
    other = leader % NODES + 1;
    fake_server_script(c->servers[leader - 1],
                       (struct fake_step){.method = RPC_KV_PUT,
                                          .action = FAKE_SILENT,
                                          .times = FAKE_FOREVER});
    for (uint32_t i = 0; i < GROUPS; i++) {
        c->leaders[i] = other;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_set_map(c->servers[i], c->map, c->leaders);
    }
    begun_ms = uv_hrtime() / 1000000;
    assert_int_equal(kv_start(c->rig.client, put_request(), probe_on_done, &p), 0);
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&c->rig.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    fake_server_news(c->servers[other - 1], 4);
    rig_run(&c->rig, &p, 1);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_string_equal(p.endpoint, endpoint_of(c, other));
    assert_true(uv_hrtime() / 1000000 - begun_ms < 3000);
}

/* Of an older term: whoever says it knows less. */
static void old_news_are_passed_over(void **state)
{
    struct cluster *c = *state;
    uint32_t leader;
    struct probe p;

    (void)rig_call(&c->rig, put_request());
    wait_for_map(c, 5);
    leader = leader_of(c, "k");
    fake_server_news(c->servers[0], 7);
    for (int i = 0; i < 30; i++) {
        (void)uv_run(&c->rig.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    cluster_tell(c, 5, 1); /* All think that another one leads, */
    fake_server_news(c->servers[0], 6);
    for (int i = 0; i < 30; i++) {
        (void)uv_run(&c->rig.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    p = rig_call(&c->rig, put_request());
    assert_string_equal(p.endpoint, endpoint_of(c, leader));
}

static void begins_at_an_endpoint_that_answers(void **state)
{
    struct cluster *c = *state;

    fake_server_stop(c->servers[0]);
    c->servers[0] = NULL;
    for (uint64_t seed = 1; seed < 8; seed++) {
        struct kv_options options = cluster_options(c);

        c->rig.server = c->servers[1];
        options.seed = seed;
        options.connect_rounds = 1;
        options.endpoints = c->endpoints;
        rig_client(&c->rig, &options);
        assert_int_equal(rig_call(&c->rig, put_request()).error, 0);
    }
}

static void asks_only_the_endpoints_when_told_so(void **state)
{
    struct cluster *c = *state;
    struct kv_options options = cluster_options(c);
    char key[16];

    options.routing = KV_ROUTE_ENDPOINTS;
    options.endpoints = fake_server_endpoint(c->servers[1]);
    rig_client(&c->rig, &options);
    fake_server_script(c->servers[1], (struct fake_step){.method = RPC_KV_PUT,
                                                         .action = FAKE_ERROR,
                                                         .code = KV_ENOTLEADER,
                                                         .text = endpoint_of(c, 3)});
    for (int i = 0; i < 20; i++) {
        (void)snprintf(key, sizeof key, "key%d", i);
        assert_int_equal(rig_call(&c->rig, kv_put(kv_str(key), kv_str("v"))).error, 0);
    }
    assert_int_equal(maps_asked(c), 0);
    assert_int_equal(fake_server_connections(c->servers[0]), 0);
    assert_int_equal(fake_server_connections(c->servers[2]), 0);
}

static void closes_connections_of_nodes_that_left(void **state)
{
    struct cluster *c = *state;
    char key[16];

    for (int i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "key%d", i);
        (void)rig_call(&c->rig, kv_get(kv_str(key)));
    }
    assert_int_equal(fake_server_open(c->servers[2]), 1);
    kv_mem_free(c->map);
    c->map = fake_server_map(c->servers, 2, GROUPS, 7);
    for (uint32_t i = 0; i < GROUPS; i++) {
        c->leaders[i] = i % 2 + 1;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        fake_server_set_map(c->servers[i], c->map, c->leaders);
    }
    assert_int_equal(rig_call(&c->rig, kv_status()).error, 0);
    uv_sleep(250);
    (void)rig_call(&c->rig, get_request());
    wait_for_map(c, 7);
    for (int i = 0; i < 200 && fake_server_open(c->servers[2]) > 0; i++) {
        (void)uv_run(&c->rig.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(fake_server_open(c->servers[2]), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_CLUSTER(asks_the_leader_of_the_keys_group),
        WITH_CLUSTER(opens_one_connection_per_node),
        WITH_CLUSTER(fetches_the_map_again_when_a_connection_breaks),
        WITH_CLUSTER(fetches_the_map_again_when_it_hears_of_a_newer_one),
        WITH_CLUSTER(ignores_a_map_that_is_older),
        WITH_CLUSTER(works_without_a_map),
        WITH_CLUSTER(follows_the_hint_of_not_leader),
        WITH_CLUSTER(survives_hints_that_are_no_address),
        WITH_CLUSTER(goes_to_another_node_when_the_leader_is_gone),
        WITH_CLUSTER(a_write_goes_to_the_leader_it_is_told_of),
        WITH_CLUSTER(old_news_are_passed_over),
        WITH_CLUSTER(begins_at_an_endpoint_that_answers),
        WITH_CLUSTER(asks_only_the_endpoints_when_told_so),
        WITH_CLUSTER(closes_connections_of_nodes_that_left),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/route", tests, NULL, NULL);
}
