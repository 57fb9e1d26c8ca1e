/* tests/client/test_call.c - calls: one callback, three outcomes, one deadline, no
 * write twice. */
#include "tests/client/probe.h"

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

/* ---- outcomes ---- */

static void answers_a_put_and_a_get(void **state)
{
    struct rig *rig = *state;
    struct probe p = rig_call(rig, put_request());

    assert_int_equal(p.error, 0);
    assert_int_equal(p.outcome, KV_DONE);
    assert_int_equal(p.sendings, 1);

    p = rig_call(rig, get_request());
    assert_int_equal(p.error, 0);
    assert_true(p.found);
    assert_string_equal(p.value, "v");
}

/* Every way a server can fail to answer a write that it may have carried out. */
static void a_write_without_an_answer_is_unknown_and_not_sent_again(void **state)
{
    static const enum fake_action actions[] = {
        FAKE_DROP, FAKE_DROP_DONE,    FAKE_GARBAGE, FAKE_HUGE,        FAKE_HALF_DROP,
        FAKE_ASKS, FAKE_WRONG_RESULT, FAKE_SILENT,  FAKE_HALF_SILENT, FAKE_WRONG_MSGID,
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct kv_request request = put_request();
        struct probe p;

        request.deadline_ms = 150;
        fake_server_script(rig->server, (struct fake_step){.method = RPC_KV_PUT,
                                                           .action = actions[i]});
        p = rig_call(rig, request);
        assert_int_not_equal(p.error, 0);
        assert_int_equal(p.outcome, KV_UNKNOWN);
        assert_int_equal(p.sendings, 1);
        assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), i + 1);
        assert_non_null(strstr(p.text, "may or may not have been applied"));
    }
}

static void an_unknown_reply_is_unknown_and_not_sent_again(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_EUNKNOWN,
                                                       .text = "lost leadership"});
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, KV_ERR_UNKNOWN);
    assert_int_equal(p.outcome, KV_UNKNOWN);
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), 1);
}

/* Words that mean "certainly not done" and that another try would not change. */
static void final_refusals_are_certainly_not_done(void **state)
{
    static const int codes[] = {KV_EBADREQUEST, KV_ETOOLARGE, KV_EFENCED,   KV_ETIMEOUT,
                                KV_ENOSPACE,    KV_EDAMAGED,  KV_EOVERFLOW, KV_EDENIED};
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct probe p;

        fake_server_script(rig->server,
                           (struct fake_step){.action = FAKE_ERROR, .code = codes[i]});
        p = rig_call(rig, put_request());
        assert_int_equal(p.error, codes[i]);
        assert_int_equal(p.outcome, KV_NOT_DONE);
        assert_int_equal(p.sendings, 1);
    }
}

static void retries_a_write_that_was_certainly_not_done(void **state)
{
    static const int codes[] = {KV_EBUSY, KV_ENOLEADER, KV_ENOTLEADER};
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct probe p;

        fake_server_script(
            rig->server,
            (struct fake_step){.action = FAKE_ERROR, .code = codes[i], .times = 3});
        p = rig_call(rig, put_request());
        assert_int_equal(p.error, 0);
        assert_int_equal(p.sendings, 4);
    }
}

static void sends_once_when_retries_are_off(void **state)
{
    static const int codes[] = {KV_EBUSY, KV_ENOLEADER, KV_ENOTLEADER};
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);

    options.retries = 0;
    rig_client(rig, &options);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct probe p;

        fake_server_script(rig->server,
                           (struct fake_step){.action = FAKE_ERROR, .code = codes[i]});
        p = rig_call(rig, i % 2 == 0 ? put_request() : get_request());
        assert_int_equal(p.error, codes[i]);
        assert_int_equal(p.outcome, KV_NOT_DONE);
        assert_int_equal(p.sendings, 1);
    }
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP});
    assert_int_equal(rig_call(rig, get_request()).sendings, 1);
}

static void stops_after_the_number_of_retries(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    struct probe p;

    options.retries = 2;
    rig_client(rig, &options);
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_EBUSY,
                                                       .times = FAKE_FOREVER});
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, KV_ERR_BUSY);
    assert_int_equal(p.sendings, 3);
}

/* The second "busy" comes while the next sending is under way, and is not its answer:
 * believing it would send the write a third time. */
static void a_second_answer_answers_nobody(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    fake_server_script(
        rig->server,
        (struct fake_step){.action = FAKE_ERROR_TWICE, .code = KV_EBUSY, .ms = 50});
    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_OK_LATE, .ms = 100});
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), 2);
}

/* ---- reads ---- */

static void retries_a_read_whatever_happened(void **state)
{
    static const enum fake_action actions[] = {
        FAKE_DROP, FAKE_DROP_DONE, FAKE_GARBAGE,      FAKE_HUGE,
        FAKE_ASKS, FAKE_HALF_DROP, FAKE_WRONG_RESULT,
    };
    struct rig *rig = *state;

    (void)rig_call(rig, put_request());
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct probe p;

        fake_server_script(
            rig->server,
            (struct fake_step){.method = RPC_KV_GET, .action = actions[i], .times = 2});
        p = rig_call(rig, get_request());
        assert_int_equal(p.error, 0);
        assert_string_equal(p.value, "v");
        assert_int_equal(p.sendings, 3);
    }
}

static void asks_another_node_when_one_falls_silent_over_a_read(void **state)
{
    struct rig *rig = *state;
    struct fake_server *second = fake_server_start(2, 0);
    struct kv_options options = rig_options(rig);
    struct kv_request request = get_request();
    char endpoints[128];
    struct probe p;

    (void)snprintf(endpoints, sizeof endpoints, "%s,%s",
                   fake_server_endpoint(rig->server), fake_server_endpoint(second));
    options.endpoints = endpoints;
    rig_client(rig, &options);
    request.deadline_ms = 900;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_SILENT});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_string_equal(p.endpoint, fake_server_endpoint(second));
    kv_free(rig->client);
    rig->client = NULL;
    fake_server_stop(second);
}

/* An idle connection may have died in between without a word. */
static void connects_anew_when_an_idle_connection_stays_silent(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = get_request();
    struct probe p;

    (void)rig_call(rig, put_request());
    uv_sleep(1050);
    request.deadline_ms = 900;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_SILENT});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_int_equal(fake_server_connections(rig->server), 2);
}

static void waits_for_a_slow_node_that_is_the_only_one(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = get_request();
    struct probe p;

    request.deadline_ms = 400;
    fake_server_script(
        rig->server,
        (struct fake_step){.action = FAKE_OK_LATE, .ms = 300, .times = FAKE_FOREVER});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 1);
}

static void a_failed_read_is_certainly_not_done(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = get_request();
    struct probe p;

    request.deadline_ms = 200;
    fake_server_script(
        rig->server, (struct fake_step){.action = FAKE_SILENT, .times = FAKE_FOREVER});
    p = rig_call(rig, request);
    assert_int_equal(p.error, KV_ERR_TIMEOUT);
    assert_int_equal(p.outcome, KV_NOT_DONE);
}

/* ---- deadlines ---- */

static void the_deadline_is_over_all_tries(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = put_request();
    uint64_t begin = uv_hrtime() / 1000000;
    struct probe p;

    request.deadline_ms = 300;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_ENOLEADER,
                                                       .text = "group 3",
                                                       .times = FAKE_FOREVER});
    p = rig_call(rig, request);
    assert_int_equal(p.error, KV_ERR_NO_LEADER);
    assert_int_equal(p.outcome, KV_NOT_DONE);
    assert_true(p.sendings > 2);
    assert_true(p.ended_ms - begin <= 450);
}

static void tells_the_server_how_much_time_is_left(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = put_request();
    struct rpc_options seen;
    struct probe p;

    request.deadline_ms = 1000;
    fake_server_script(
        rig->server,
        (struct fake_step){.action = FAKE_ERROR, .code = KV_EBUSY, .times = 8});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_true(fake_server_options(rig->server, RPC_KV_PUT, &seen));
    assert_true(seen.deadline_ms > 0 && seen.deadline_ms < 1000);
}

static void a_late_answer_after_the_deadline_is_nobodys(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = put_request();
    struct probe probes[2] = {{0}};
    struct probe p;

    request.deadline_ms = 60;
    fake_server_script(
        rig->server,
        (struct fake_step){.method = RPC_KV_PUT, .action = FAKE_OK_LATE, .ms = 150});
    /* The get is answered at once: the node lives, the connection stays. */
    fake_server_script(
        rig->server,
        (struct fake_step){.method = RPC_KV_GET, .action = FAKE_OK_LATE, .ms = 20});
    assert_int_equal(kv_start(rig->client, request, probe_on_done, &probes[0]), 0);
    assert_int_equal(kv_start(rig->client, get_request(), probe_on_done, &probes[1]),
                     0);
    rig_run(rig, probes, 2);
    assert_int_equal(probes[0].outcome, KV_UNKNOWN);
    assert_int_equal(probes[0].error, KV_ERR_UNKNOWN);
    assert_int_equal(probes[1].error, 0);
    /* The late answer comes while this one is under way, and is not its answer. */
    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_OK_LATE, .ms = 150});
    p = rig_call(rig, kv_incr(kv_str("n"), 5));
    assert_int_equal(p.error, 0);
    assert_int_equal(p.number, 5);
    assert_int_equal(fake_server_connections(rig->server), 1);
}

/* Nothing came since the call was sent: the connection may be dead without knowing. */
static void a_connection_that_fell_silent_gets_no_new_calls(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = put_request();

    request.deadline_ms = 60;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_SILENT});
    assert_int_equal(rig_call(rig, request).outcome, KV_UNKNOWN);
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    assert_int_equal(fake_server_connections(rig->server), 2);
}

static void gives_up_at_the_deadline_when_nobody_listens(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = put_request();
    struct kv_options options = rig_options(rig);
    struct fake_server *gone = fake_server_start(2, 0);
    char endpoint[64];
    struct probe p;

    (void)snprintf(endpoint, sizeof endpoint, "%s", fake_server_endpoint(gone));
    fake_server_stop(gone);
    options.endpoints = endpoint;
    rig_client(rig, &options);
    request.deadline_ms = 200;
    p = rig_call(rig, request);
    assert_int_equal(p.error, KV_ERR_CONNECT);
    assert_int_equal(p.outcome, KV_NOT_DONE);
    assert_int_equal(p.sendings, 0);
    assert_non_null(strstr(p.text, "connection refused"));

    /* Or at once, when asked to. */
    options.connect_rounds = 1;
    options.deadline_ms = 10000;
    rig_client(rig, &options);
    p = rig_call(rig, put_request());
    assert_int_equal(p.error, KV_ERR_CONNECT);
}

/* ---- bounds ---- */

static void refuses_more_calls_than_a_connection_may_carry(void **state)
{
    enum {
        CALLS = 1024
    };
    static struct probe probes[CALLS];
    struct rig *rig = *state;
    struct probe extra = {0};

    memset(probes, 0, sizeof probes);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(
            kv_start(rig->client, put_request(), probe_on_done, &probes[i]), 0);
    }
    assert_int_equal(kv_start(rig->client, put_request(), probe_on_done, &extra),
                     KV_ERR_BUSY);
    assert_non_null(strstr(kv_last_error(rig->client), "BUSY"));
    assert_int_equal(kv_calls_count(rig->client), CALLS);
    rig_run(rig, probes, CALLS);
    assert_int_equal(extra.calls, 0);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].error, 0);
    }
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_PUT), CALLS);
}

static void pipelines_and_matches_answers_in_any_order(void **state)
{
    enum {
        CALLS = 64
    };
    struct rig *rig = *state;
    struct probe probes[CALLS] = {{0}};
    char key[16];

    for (uint32_t i = 0; i < CALLS; i++) {
        (void)snprintf(key, sizeof key, "n%u", i);
        fake_server_script(
            rig->server,
            (struct fake_step){.action = FAKE_OK_LATE, .ms = 40 - i > 40 ? 1 : 40 - i});
        if (i >= 31) {
            break; /* As many steps as the script holds; the rest comes at once. */
        }
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        (void)snprintf(key, sizeof key, "n%u", i);
        assert_int_equal(kv_start(rig->client, kv_incr(kv_str(key), (int64_t)i + 1),
                                  probe_on_done, &probes[i]),
                         0);
    }
    rig_run(rig, probes, CALLS);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_int_equal(probes[i].error, 0);
        assert_int_equal(probes[i].number, i + 1);
    }
    assert_int_equal(fake_server_connections(rig->server), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(answers_a_put_and_a_get),
        WITH_RIG(a_write_without_an_answer_is_unknown_and_not_sent_again),
        WITH_RIG(an_unknown_reply_is_unknown_and_not_sent_again),
        WITH_RIG(final_refusals_are_certainly_not_done),
        WITH_RIG(retries_a_write_that_was_certainly_not_done),
        WITH_RIG(sends_once_when_retries_are_off),
        WITH_RIG(stops_after_the_number_of_retries),
        WITH_RIG(a_second_answer_answers_nobody),
        WITH_RIG(retries_a_read_whatever_happened),
        WITH_RIG(asks_another_node_when_one_falls_silent_over_a_read),
        WITH_RIG(connects_anew_when_an_idle_connection_stays_silent),
        WITH_RIG(waits_for_a_slow_node_that_is_the_only_one),
        WITH_RIG(a_failed_read_is_certainly_not_done),
        WITH_RIG(the_deadline_is_over_all_tries),
        WITH_RIG(tells_the_server_how_much_time_is_left),
        WITH_RIG(a_late_answer_after_the_deadline_is_nobodys),
        WITH_RIG(a_connection_that_fell_silent_gets_no_new_calls),
        WITH_RIG(gives_up_at_the_deadline_when_nobody_listens),
        WITH_RIG(refuses_more_calls_than_a_connection_may_carry),
        WITH_RIG(pipelines_and_matches_answers_in_any_order),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/call", tests, NULL, NULL);
}
