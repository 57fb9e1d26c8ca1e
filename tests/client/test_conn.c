/* tests/client/test_conn.c - connections: pieces, drops, closing and freeing. */
#include "raft/base/arena.h"
#include "tests/client/probe.h"

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

static void reads_an_answer_that_comes_byte_by_byte(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    (void)rig_call(rig, put_request());
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_OK_SLOWLY});
    p = rig_call(rig, get_request());
    assert_int_equal(p.error, 0);
    assert_string_equal(p.value, "v");
}

static void passes_over_unknown_notifications(void **state)
{
    struct rig *rig = *state;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_NOTIFIES});
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    assert_int_equal(fake_server_connections(rig->server), 1);
}

/* ---- the greeting ---- */

/* A client of the rig's server and of another one behind it. */
static void use_two(struct rig *rig, const struct fake_server *second, char *endpoints)
{
    struct kv_options options = rig_options(rig);

    (void)snprintf(endpoints, 128, "%s,%s", fake_server_endpoint(rig->server),
                   fake_server_endpoint(second));
    options.endpoints = endpoints;
    options.connect_ms = 100;
    rig_client(rig, &options);
}

static void sends_no_write_to_a_node_that_does_not_greet(void **state)
{
    static const enum fake_action actions[] = {
        FAKE_SILENT, FAKE_HALF_SILENT,  FAKE_DROP, FAKE_GARBAGE,    FAKE_HUGE,
        FAKE_ASKS,   FAKE_WRONG_RESULT, FAKE_DROP, FAKE_WRONG_MSGID};
    struct rig *rig = *state;
    struct fake_server *second = fake_server_start(2, 0);
    char endpoints[128];

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct probe p;

        use_two(rig, second, endpoints);
        fake_server_script(
            rig->server, (struct fake_step){.method = RPC_HELLO, .action = actions[i]});
        p = rig_call(rig, put_request());
        assert_int_equal(p.error, 0);
        assert_int_equal(p.sendings, 1);
        assert_string_equal(p.endpoint, fake_server_endpoint(second));
    }
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), 0);
    kv_free(rig->client);
    rig->client = NULL;
    fake_server_stop(second);
}

static void names_what_is_no_kvd(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    struct probe p;

    options.connect_rounds = 1;
    rig_client(rig, &options);
    fake_server_script(rig->server,
                       (struct fake_step){.method = RPC_HELLO, .action = FAKE_GARBAGE});
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, KV_ERR_CONNECT);
    assert_int_equal(p.outcome, KV_NOT_DONE);
    assert_non_null(strstr(p.text, "is it the client port?"));
}

static void an_error_is_a_greeting_too(void **state)
{
    struct rig *rig = *state;

    fake_server_script(rig->server, (struct fake_step){.method = RPC_HELLO,
                                                       .action = FAKE_ERROR,
                                                       .code = KV_EBUSY});
    assert_int_equal(rig_call(rig, put_request()).error, 0);
}

static void writes_to_one_cluster_only(void **state)
{
    struct rig *rig = *state;
    struct fake_server *second = fake_server_start(2, 0);
    struct fake_server *both[] = {rig->server, second};
    struct map *map = fake_server_map(both, 2, 1, 1);
    const uint32_t leaders[] = {1};
    char endpoints[128];

    fake_server_set_map(rig->server, map, leaders);
    map->cluster++;
    fake_server_set_map(second, map, leaders);
    kv_mem_free(map);
    use_two(rig, second, endpoints);
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    fake_server_stop(rig->server);
    rig->server = second;
    for (int i = 0; i < 5; i++) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    for (int i = 0; i < 3; i++) {
        struct kv_request request = put_request();
        struct probe p;

        request.deadline_ms = 200;
        p = rig_call(rig, request);
        assert_int_equal(p.error, KV_ERR_CONNECT);
        assert_int_equal(p.outcome, KV_NOT_DONE);
    }
    assert_int_equal(fake_server_requests(second, RPC_KV_PUT), 0);
}

/* ---- malformed answers, drops ---- */

static void closes_the_connection_on_malformed_answers(void **state)
{
    static const enum fake_action actions[] = {FAKE_GARBAGE, FAKE_HUGE, FAKE_ASKS,
                                               FAKE_WRONG_RESULT};
    struct rig *rig = *state;

    for (uint32_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct probe p;

        fake_server_script(rig->server, (struct fake_step){.action = actions[i]});
        p = rig_call(rig, put_request());
        assert_int_equal(p.error, KV_ERR_PROTOCOL);
        assert_int_equal(p.outcome, KV_UNKNOWN);
        assert_int_equal(fake_server_connections(rig->server), i + 1);
        assert_int_equal(fake_server_open(rig->server), 0);
    }
    assert_int_equal(rig_call(rig, put_request()).error, 0);
}

static void a_drop_ends_every_call_of_the_connection_once(void **state)
{
    enum {
        CALLS = 100
    };
    struct rig *rig = *state;
    struct probe probes[CALLS] = {{0}};

    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_SILENT, .times = CALLS - 1});
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP});
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    rig_run(rig, probes, CALLS);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].outcome, KV_UNKNOWN);
        assert_int_equal(probes[i].error, KV_ERR_CLOSED);
    }
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), CALLS);
}

static void connects_again_after_a_drop_while_idle(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_call(rig, put_request()).error, 0);
    fake_server_drop_all(rig->server);
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    assert_int_equal(fake_server_connections(rig->server), 2);
}

static void tries_each_address_of_a_name(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    char endpoint[64];

    /* localhost may well be ::1 first, where nobody listens. */
    (void)snprintf(endpoint, sizeof endpoint, "localhost:%u",
                   fake_server_port(rig->server));
    options.endpoints = endpoint;
    rig_client(rig, &options);
    assert_int_equal(rig_call(rig, put_request()).error, 0);
}

static void names_a_host_that_does_not_resolve(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    struct probe p;

    options.endpoints = "no-such-host.invalid:7410";
    options.connect_rounds = 1;
    rig_client(rig, &options);
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, KV_ERR_CONNECT);
    assert_int_equal(p.outcome, KV_NOT_DONE);
    assert_non_null(strstr(p.text, "no-such-host.invalid"));
}

static void carries_the_largest_value_both_ways(void **state)
{
    static char value[1024 * 1024];
    struct rig *rig = *state;
    struct probe p;

    memset(value, 'x', sizeof value);
    p = rig_call(rig, kv_put(kv_str("big"), kv_mem(value, sizeof value)));
    assert_int_equal(p.error, 0);
    p = rig_call(rig, kv_get(kv_str("big")));
    assert_int_equal(p.error, 0);
    assert_int_equal(strspn(p.value, "x"), sizeof p.value - 1);
}

/* ---- close and free ---- */

static void on_closed(void *ctx)
{
    (*(int *)ctx)++;
}

static void close_waits_for_the_calls_under_way(void **state)
{
    struct rig *rig = *state;
    struct probe p = {0};
    int closed = 0;

    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_OK_LATE, .ms = 50});
    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &p), 0);
    kv_close(rig->client, on_closed, &closed);
    kv_close(rig->client, on_closed, &closed);
    assert_int_equal(closed, 0);
    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &p),
                     KV_ERR_CLOSED);
    rig->client = NULL;
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.error, 0);
    assert_int_equal(closed, 1);
}

static void close_of_an_idle_client_closes_at_once(void **state)
{
    struct rig *rig = *state;
    int closed = 0;

    (void)rig_call(rig, put_request());
    kv_close(rig->client, on_closed, &closed);
    rig->client = NULL;
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
}

static void free_ends_calls_in_every_phase_once(void **state)
{
    enum {
        CALLS = 10
    };
    struct rig *rig = *state;
    struct probe probes[2 * CALLS] = {{0}};
    struct probe waiting = {0};

    /* Sent and unanswered. */
    fake_server_script(rig->server, (struct fake_step){.method = RPC_KV_PUT,
                                                       .action = FAKE_SILENT,
                                                       .times = FAKE_FOREVER});
    /* Waiting for another try. */
    fake_server_script(rig->server, (struct fake_step){.method = RPC_KV_DEL,
                                                       .action = FAKE_ERROR,
                                                       .code = KV_EBUSY,
                                                       .times = FAKE_FOREVER});
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    assert_int_equal(
        kv_start(rig->client, kv_del(kv_str("k")), probe_on_done, &waiting), 0);
    while (fake_server_requests(rig->server, RPC_KV_PUT) < CALLS ||
           fake_server_requests(rig->server, RPC_KV_DEL) < 4) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    /* A written batch is under way after the first: these stay queued or are sent. */
    for (size_t i = CALLS; i < 2 * CALLS; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    kv_free(rig->client);
    rig->client = NULL;
    for (size_t i = 0; i < 2 * CALLS; i++) {
        assert_int_equal(probes[i].calls, 1);
        assert_int_equal(probes[i].error, KV_ERR_CLOSED);
    }
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].outcome, KV_UNKNOWN);
    }
    assert_int_equal(probes[2 * CALLS - 1].outcome, KV_NOT_DONE); /* Still queued. */
    assert_int_equal(waiting.calls, 1);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
}

static void free_while_connecting(void **state)
{
    struct rig *rig = *state;
    struct probe p = {0};

    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &p), 0);
    kv_free(rig->client);
    rig->client = NULL;
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.outcome, KV_NOT_DONE);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(p.calls, 1);
}

static void free_while_resolving(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    struct probe p = {0};

    options.endpoints = "localhost:1";
    rig_client(rig, &options);
    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &p), 0);
    kv_free(rig->client);
    rig->client = NULL;
    assert_int_equal(p.calls, 1);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
}

static void free_inside_a_callback_ends_the_others_once(void **state)
{
    enum {
        CALLS = 20
    };
    struct rig *rig = *state;
    struct probe probes[CALLS] = {{0}};

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_OK, .times = 5});
    fake_server_script(
        rig->server, (struct fake_step){.action = FAKE_SILENT, .times = FAKE_FOREVER});
    for (size_t i = 0; i < CALLS; i++) {
        probes[i].free_it = rig->client; /* Each of them asks for it. */
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    rig->client = NULL;
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(probes[0].error, 0);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].calls, 1);
    }
}

static void free_inside_the_callback_of_a_broken_connection(void **state)
{
    enum {
        CALLS = 20
    };
    struct rig *rig = *state;
    struct probe probes[CALLS] = {{0}};

    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_SILENT, .times = CALLS - 1});
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_GARBAGE});
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    probes[3].free_it = rig->client;
    probes[7].close_it = rig->client;
    rig->client = NULL;
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].calls, 1);
        assert_int_equal(probes[i].outcome, KV_UNKNOWN);
    }
}

static void close_inside_a_callback(void **state)
{
    struct rig *rig = *state;
    struct probe probes[2] = {{0}};

    probes[0].close_it = rig->client;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    rig->client = NULL;
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(probes[i].calls, 1);
        assert_int_equal(probes[i].error, 0);
    }
}

static void free_after_close_still_calls_back(void **state)
{
    struct rig *rig = *state;
    struct probe p = {0};
    int closed = 0;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_SILENT});
    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &p), 0);
    kv_close(rig->client, on_closed, &closed);
    (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
    kv_free(rig->client);
    rig->client = NULL;
    assert_int_equal(p.calls, 1);
    assert_int_equal(closed, 0);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(reads_an_answer_that_comes_byte_by_byte),
        WITH_RIG(passes_over_unknown_notifications),
        WITH_RIG(sends_no_write_to_a_node_that_does_not_greet),
        WITH_RIG(names_what_is_no_kvd),
        WITH_RIG(an_error_is_a_greeting_too),
        WITH_RIG(writes_to_one_cluster_only),
        WITH_RIG(closes_the_connection_on_malformed_answers),
        WITH_RIG(a_drop_ends_every_call_of_the_connection_once),
        WITH_RIG(connects_again_after_a_drop_while_idle),
        WITH_RIG(tries_each_address_of_a_name),
        WITH_RIG(names_a_host_that_does_not_resolve),
        WITH_RIG(carries_the_largest_value_both_ways),
        WITH_RIG(close_waits_for_the_calls_under_way),
        WITH_RIG(close_of_an_idle_client_closes_at_once),
        WITH_RIG(free_ends_calls_in_every_phase_once),
        WITH_RIG(free_while_connecting),
        WITH_RIG(free_while_resolving),
        WITH_RIG(free_inside_a_callback_ends_the_others_once),
        WITH_RIG(free_inside_the_callback_of_a_broken_connection),
        WITH_RIG(close_inside_a_callback),
        WITH_RIG(free_after_close_still_calls_back),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/conn", tests, NULL, NULL);
}
