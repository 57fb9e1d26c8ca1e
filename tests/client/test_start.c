/* tests/client/test_start.c - what kv_start() and kv_wait() refuse, and waiting. */
#include "tests/client/probe.h"

static char big[1024 * 1024 + 1];

/* ---- refusing ---- */

static void refuses_wrong_requests_before_they_cost_anything(void **state)
{
    struct rig *rig = *state;
    struct probe p = {0};
    struct kv_request bad_op = get_request();
    struct kv_request bad_limit = kv_range(kv_str(""), kv_str(""));
    struct kv_request bad_deadline = get_request();
    struct kv_request bad_level = get_request();
    struct kv_request bad_bytes = kv_get((struct kv_view){NULL, 5});

    bad_op.op = (enum kv_op)99;
    bad_limit.limit = 10001;
    bad_deadline.deadline_ms = UINT32_MAX;
    bad_level.level = (enum kv_level)7;
    const struct {
        struct kv_request request;
        int error;
    } rows[] = {
        {kv_get(kv_str("")), KV_ERR_INVALID},
        {kv_get(kv_nil()), KV_ERR_INVALID},
        {kv_get(kv_mem(big, 481)), KV_ERR_TOO_LARGE},
        {kv_put(kv_str("k"), kv_mem(big, sizeof big)), KV_ERR_TOO_LARGE},
        {kv_put(kv_str("k"), kv_nil()), KV_ERR_INVALID},
        {kv_cas(kv_str("k"), kv_mem(big, sizeof big - 1), kv_mem(big, sizeof big - 1)),
         KV_ERR_TOO_LARGE},
        {kv_range(kv_str(""), kv_mem(big, 482)), KV_ERR_TOO_LARGE},
        {bad_op, KV_ERR_INVALID},
        {bad_limit, KV_ERR_INVALID},
        {bad_deadline, KV_ERR_INVALID},
        {bad_level, KV_ERR_INVALID},
        {bad_bytes, KV_ERR_INVALID},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(kv_start(rig->client, rows[i].request, probe_on_done, &p),
                         rows[i].error);
        assert_true(strlen(kv_last_error(rig->client)) > 10);
    }
    assert_int_equal(kv_start(rig->client, get_request(), NULL, &p), KV_ERR_INVALID);
    (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_int_equal(p.calls, 0);
    assert_int_equal(kv_calls_count(rig->client), 0);
    assert_int_equal(fake_server_connections(rig->server), 0);
}

static void waiting_and_starting_need_their_kind_of_loop(void **state)
{
    struct rig *rig = *state;
    struct kv_client *own = NULL;
    const struct kv_result *r = kv_wait(rig->client, get_request());
    struct probe p = {0};

    assert_int_equal(r->error, KV_ERR_INVALID);
    assert_non_null(strstr(r->text, "private loop"));
    kv_result_free(r);
    assert_int_equal(kv_open(fake_server_endpoint(rig->server), &own), 0);
    assert_int_equal(kv_start(own, get_request(), probe_on_done, &p), KV_ERR_INVALID);
    kv_free(own);
}

/* ---- waiting ---- */

static void waits_for_results_and_errors(void **state)
{
    struct rig *rig = *state;
    struct kv_client *c = NULL;
    const struct kv_result *r;

    assert_int_equal(kv_open(fake_server_endpoint(rig->server), &c), 0);
    r = kv_wait(c, put_request());
    assert_int_equal(r->error, 0);
    assert_int_equal(r->outcome, KV_DONE);
    kv_result_free(r);
    r = kv_wait(c, kv_get(kv_str("")));
    assert_int_equal(r->error, KV_ERR_INVALID);
    assert_int_equal(r->outcome, KV_NOT_DONE);
    kv_result_free(r);
    fake_server_script(rig->server,
                       (struct fake_step){.method = RPC_KV_PUT, .action = FAKE_DROP});
    r = kv_wait(c, put_request());
    assert_int_equal(r->outcome, KV_DONE); /* Sent again: sessions are on. */
    assert_int_equal(r->sendings, 2);
    kv_result_free(r);
    kv_free(c);
}

static void raise_sigpipe(void *ctx, enum kv_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
    (void)raise(SIGPIPE);
}

static void sigpipe_while_waiting_does_not_end_the_program(void **state)
{
    static const struct sigaction fatal = {.sa_handler = SIG_DFL};
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    struct kv_client *c = NULL;
    sigset_t mask;

    (void)sigaction(SIGPIPE, &fatal, NULL);
    options.loop = NULL;
    options.log = raise_sigpipe;
    assert_int_equal(kv_new(&options, &c), 0);
    kv_result_free(kv_wait(c, put_request()));
    kv_free(c);
    /* And nothing of it is left behind. */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
    assert_int_equal(sigpending(&mask), 0);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
}

/* Between two kv_wait() nobody looks at the sockets: a request must not go into one
 * that the server closed meanwhile, and SIGPIPE must not end the program. */
static void a_connection_that_ended_between_calls_costs_nothing(void **state)
{
    static const struct sigaction fatal = {.sa_handler = SIG_DFL};
    struct rig *rig = *state;
    struct kv_client *c = NULL;
    const struct kv_result *r;

    (void)sigaction(SIGPIPE, &fatal, NULL);
    assert_int_equal(kv_open(fake_server_endpoint(rig->server), &c), 0);
    for (int i = 0; i < 5; i++) {
        r = kv_wait(c, put_request());
        assert_int_equal(r->error, 0);
        assert_int_equal(r->sendings, 1);
        kv_result_free(r);
        fake_server_drop_all(rig->server);
        uv_sleep(5);
    }
    kv_free(c);
}

static void a_result_outlives_its_client(void **state)
{
    struct rig *rig = *state;
    struct kv_client *c = NULL;
    const struct kv_result *r;

    assert_int_equal(kv_open(fake_server_endpoint(rig->server), &c), 0);
    kv_result_free(kv_wait(c, put_request()));
    r = kv_wait(c, get_request());
    kv_free(c);
    assert_int_equal(r->value.len, 1);
    assert_memory_equal(r->value.data, "v", 1);
    assert_string_equal(r->endpoint, fake_server_endpoint(rig->server));
    kv_result_free(r);
    kv_result_free(NULL);
}

static void on_closed(void *ctx)
{
    (*(int *)ctx)++;
}

static void close_with_a_private_loop_is_done_when_it_returns(void **state)
{
    struct rig *rig = *state;
    struct kv_client *c = NULL;
    int closed = 0;

    assert_int_equal(kv_open(fake_server_endpoint(rig->server), &c), 0);
    kv_result_free(kv_wait(c, put_request()));
    kv_close(c, on_closed, &closed);
    assert_int_equal(closed, 1);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(refuses_wrong_requests_before_they_cost_anything),
        WITH_RIG(waiting_and_starting_need_their_kind_of_loop),
        WITH_RIG(waits_for_results_and_errors),
        WITH_RIG(sigpipe_while_waiting_does_not_end_the_program),
        WITH_RIG(a_connection_that_ended_between_calls_costs_nothing),
        WITH_RIG(a_result_outlives_its_client),
        WITH_RIG(close_with_a_private_loop_is_done_when_it_returns),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/start", tests, NULL, NULL);
}
