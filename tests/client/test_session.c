/* tests/client/test_session.c - writes that are sent again and done once, and what
 * tokens of sessions say. */
#include "raft/base/arena.h"
#include "rpc/token.h"
#include "tests/client/probe.h"

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

enum {
    MANY = 300,
    TIME_MS = 1000 * 1000,
};

static int setup(void **state)
{
    struct kv_options options;
    struct rig *rig;

    (void)rig_setup(state);
    rig = *state;
    fake_server_time(rig->server, TIME_MS);
    options = rig_options(rig);
    options.sessions = KV_SESSIONS_ON;
    rig_client(rig, &options);
    return 0;
}

static struct kv_request incr_request(void)
{
    return kv_incr(kv_str("n"), 1);
}

static struct rpc_options options_at(struct fake_server *s, uint32_t i)
{
    struct rpc_options o;

    assert_true(fake_server_options_at(s, RPC_KV_INCR, i, &o));
    return o;
}

/* The same write, whenever it was sent. */
static void assert_same(struct rpc_options a, struct rpc_options b)
{
    assert_true(a.session != 0);
    assert_true(a.session == b.session);
    assert_true(a.seq == b.seq);
    assert_true(a.stamp == b.stamp);
}

/* Two servers, the first of them is asked first. */
static struct fake_server *add_second(struct rig *rig)
{
    struct fake_server *second = fake_server_start(2, 0);
    struct kv_options options = rig_options(rig);
    char endpoints[128];

    fake_server_time(second, TIME_MS);
    (void)snprintf(endpoints, sizeof endpoints, "%s,%s",
                   fake_server_endpoint(rig->server), fake_server_endpoint(second));
    options.endpoints = endpoints;
    options.sessions = KV_SESSIONS_ON;
    rig_client(rig, &options);
    return second;
}

static void drop_second(struct rig *rig, struct fake_server *second)
{
    kv_free(rig->client);
    rig->client = NULL;
    fake_server_stop(second);
}

/* ---- once ---- */

static void a_write_carries_session_number_ack_and_stamp(void **state)
{
    struct rig *rig = *state;
    struct rpc_options first;
    struct rpc_options second;

    assert_int_equal(rig_call(rig, incr_request()).error, 0);
    assert_int_equal(rig_call(rig, incr_request()).error, 0);
    first = options_at(rig->server, 0);
    second = options_at(rig->server, 1);
    assert_true(first.session != 0 && first.session == second.session);
    assert_int_equal(first.seq, 1);
    assert_int_equal(first.ack, 1);
    assert_int_equal(second.seq, 2);
    assert_int_equal(second.ack, 2);
    assert_in_range(first.stamp, TIME_MS, TIME_MS + PROBE_WAIT_MS);
    assert_in_range(second.stamp, first.stamp, TIME_MS + PROBE_WAIT_MS);
}

/* Every way of losing an answer, whether the server did it or not. */
static void a_lost_answer_is_asked_for_again_and_done_once(void **state)
{
    static const enum fake_action actions[] = {
        FAKE_DROP, FAKE_DROP_DONE, FAKE_GARBAGE,      FAKE_HUGE,
        FAKE_ASKS, FAKE_HALF_DROP, FAKE_WRONG_RESULT,
    };
    struct rig *rig = *state;

    for (uint32_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct probe p;

        fake_server_script(rig->server, (struct fake_step){.method = RPC_KV_INCR,
                                                           .action = actions[i],
                                                           .times = 2});
        p = rig_call(rig, incr_request());
        assert_int_equal(p.error, 0);
        assert_int_equal(p.outcome, KV_DONE);
        assert_int_equal(p.sendings, 3);
        assert_int_equal(p.number, (int)i + 1);
        assert_int_equal(p.repeated,
                         actions[i] == FAKE_DROP_DONE || actions[i] == FAKE_HALF_DROP);
        assert_same(options_at(rig->server, 3 * i), options_at(rig->server, 3 * i + 1));
        assert_same(options_at(rig->server, 3 * i), options_at(rig->server, 3 * i + 2));
    }
}

static void an_unknown_outcome_and_no_leader_are_asked_for_again(void **state)
{
    static const int codes[] = {KV_EUNKNOWN, KV_ENOLEADER, KV_EBUSY, KV_ENOTLEADER};
    struct rig *rig = *state;

    for (uint32_t i = 0; i < 4; i++) {
        fake_server_script(rig->server,
                           (struct fake_step){.action = FAKE_ERROR, .code = codes[i]});
    }
    assert_int_equal(rig_call(rig, incr_request()).sendings, 5);
    for (uint32_t i = 1; i < 5; i++) {
        assert_same(options_at(rig->server, 0), options_at(rig->server, i));
    }
}

static void a_node_that_does_not_answer_is_left_after_a_third(void **state)
{
    struct rig *rig = *state;
    struct fake_server *second = add_second(rig);
    struct kv_request request = incr_request();
    uint64_t began = uv_hrtime() / 1000000;
    struct probe p;

    request.deadline_ms = 1500;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_SILENT});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_string_equal(p.endpoint, fake_server_endpoint(second));
    assert_in_range(p.ended_ms - began, 450, 1200);
    assert_same(options_at(rig->server, 0), options_at(second, 0));
    drop_second(rig, second);
}

/* It answers others meanwhile: a node that forwards to a leader that is cut off. */
static void a_node_that_talks_is_left_as_well(void **state)
{
    struct rig *rig = *state;
    struct fake_server *second = add_second(rig);
    struct kv_request request = incr_request();
    struct probe probes[2] = {0};

    request.deadline_ms = 1500;
    fake_server_script(
        rig->server, (struct fake_step){.method = RPC_KV_INCR, .action = FAKE_SILENT});
    fake_server_script(
        rig->server,
        (struct fake_step){.method = RPC_KV_GET, .action = FAKE_OK_LATE, .ms = 100});
    assert_int_equal(kv_start(rig->client, request, probe_on_done, &probes[0]), 0);
    assert_int_equal(kv_start(rig->client, get_request(), probe_on_done, &probes[1]),
                     0);
    rig_run(rig, probes, 2);
    assert_int_equal(probes[0].error, 0);
    assert_int_equal(probes[0].sendings, 2);
    assert_string_equal(probes[0].endpoint, fake_server_endpoint(second));
    drop_second(rig, second);
}

/* What is never answered stays unknown, whatever the last sending was told. */
static void what_was_lost_and_is_then_refused_is_unknown(void **state)
{
    static const int codes[] = {KV_EBUSY, KV_ENOLEADER, KV_ESESSION, KV_ENOSPACE};
    struct rig *rig = *state;

    for (uint32_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct kv_request request = incr_request();
        struct fake_server *second = add_second(rig);
        struct probe p;

        request.deadline_ms = 300;
        fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP});
        fake_server_script(
            rig->server,
            (struct fake_step){.action = FAKE_ERROR, .code = codes[i], .times = 1000});
        fake_server_script(second, (struct fake_step){.action = FAKE_ERROR,
                                                      .code = codes[i],
                                                      .times = FAKE_FOREVER});
        p = rig_call(rig, request);
        assert_int_equal(p.outcome, KV_UNKNOWN);
        assert_int_equal(p.error, KV_ERR_UNKNOWN);
        assert_non_null(strstr(p.text, "may or may not have been applied"));
        drop_second(rig, second);
        fake_server_stop(rig->server);
        rig->server = fake_server_start(1, 0);
    }
}

static void what_a_copy_would_be_told_too_decides(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP_DONE});
    fake_server_script(rig->server,
                       (struct fake_step){.action = FAKE_ERROR, .code = KV_EOVERFLOW});
    p = rig_call(rig, incr_request());
    assert_int_equal(p.error, KV_ERR_OVERFLOW);
    assert_int_equal(p.outcome, KV_NOT_DONE);
}

static void without_sessions_or_retries_nothing_is_numbered(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);

    rig_client(rig, &options);
    assert_int_equal(rig_call(rig, incr_request()).error, 0);
    options.sessions = KV_SESSIONS_ON;
    options.retries = 0;
    rig_client(rig, &options);
    assert_int_equal(rig_call(rig, incr_request()).error, 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(options_at(rig->server, i).has,
                         RPC_OPT_BIT(RPC_OPT_deadline_ms));
    }
}

/* ---- stamps ---- */

static void a_stamp_that_is_refused_is_replaced_by_the_groups_time(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_ESESSION,
                                                       .text = "7000000 is the group's "
                                                               "time in ms: too old"});
    p = rig_call(rig, incr_request());
    assert_int_equal(p.error, 0);
    assert_int_equal(p.sendings, 2);
    assert_in_range(options_at(rig->server, 1).stamp, 7000000, 7000000 + PROBE_WAIT_MS);
    assert_int_equal(rig_call(rig, incr_request()).sendings, 1);
    assert_in_range(options_at(rig->server, 2).stamp, 7000000, 7000000 + PROBE_WAIT_MS);
}

/* The first sending may have been done: another stamp would make it a new write. */
static void a_stamp_is_never_replaced_after_an_unknown_outcome(void **state)
{
    struct rig *rig = *state;
    struct probe p;

    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP_DONE});
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_ESESSION,
                                                       .text = "7000000 is the group's "
                                                               "time in ms: too old"});
    p = rig_call(rig, incr_request());
    assert_int_equal(p.outcome, KV_UNKNOWN);
    assert_int_equal(p.sendings, 2);
    assert_same(options_at(rig->server, 0), options_at(rig->server, 1));
}

/* ---- many at once ---- */

static void ack_is_the_oldest_of_the_slot_and_128_are_under_way(void **state)
{
    struct rig *rig = *state;
    struct probe *probes = kv_mem_zalloc(MANY * sizeof *probes);
    uint64_t seqs_seen[MANY + 1] = {0};
    int64_t sum = 0;

    assert_non_null(probes);
    fake_server_script(
        rig->server,
        (struct fake_step){.method = RPC_KV_INCR, .action = FAKE_OK_LATE, .ms = 150});
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(
            kv_start(rig->client, incr_request(), probe_on_done, &probes[i]), 0);
    }
    while (fake_server_requests(rig->server, RPC_KV_INCR) < 128) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
    for (uint32_t i = 0; i < 30; i++) {
        (void)uv_run(&rig->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    /* The answer to the oldest is still under way. */
    assert_int_equal(fake_server_requests(rig->server, RPC_KV_INCR), 128);
    rig_run(rig, probes, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        struct rpc_options o = options_at(rig->server, i);

        assert_int_equal(probes[i].error, 0);
        assert_in_range(o.seq, 1, MANY);
        assert_in_range(o.seq - o.ack, 0, 127);
        assert_int_equal(seqs_seen[o.seq]++, 0);
        sum += probes[i].number;
    }
    assert_int_equal(sum, MANY * (MANY + 1) / 2);
    assert_int_equal(options_at(rig->server, 127).ack, 1);
    kv_mem_free(probes);
}

static void who_waits_for_a_number_ends_by_its_deadline(void **state)
{
    struct rig *rig = *state;
    struct probe *probes = kv_mem_zalloc(130 * sizeof *probes);
    struct kv_request request = incr_request();

    assert_non_null(probes);
    fake_server_script(rig->server, (struct fake_step){.method = RPC_KV_INCR,
                                                       .action = FAKE_SILENT,
                                                       .times = FAKE_FOREVER});
    request.deadline_ms = 200;
    for (uint32_t i = 0; i < 130; i++) {
        assert_int_equal(kv_start(rig->client, request, probe_on_done, &probes[i]), 0);
    }
    rig_run(rig, probes, 130);
    assert_int_equal(probes[0].outcome, KV_UNKNOWN);
    assert_int_equal(probes[129].outcome, KV_NOT_DONE);
    assert_int_equal(probes[129].sendings, 0);
    kv_mem_free(probes);
}

/* ---- idempotency keys ---- */

static void an_idempotency_key_is_sent_instead_of_a_number(void **state)
{
    struct rig *rig = *state;
    struct kv_request request = incr_request();
    struct rpc_options o;
    struct probe p;

    request.idem = kv_str("order-1");
    request.idem_ttl_ms = 60000;
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP_DONE});
    p = rig_call(rig, request);
    assert_int_equal(p.error, 0);
    assert_int_equal(p.number, 1);
    assert_true(p.repeated);
    o = options_at(rig->server, 1);
    assert_int_equal(o.has,
                     RPC_OPT_BIT(RPC_OPT_deadline_ms) | RPC_OPT_BIT(RPC_OPT_idem) |
                         RPC_OPT_BIT(RPC_OPT_idem_ttl_ms) | RPC_OPT_BIT(RPC_OPT_stamp));
    assert_int_equal(o.idem_ttl_ms, 60000);
    assert_true(o.stamp == options_at(rig->server, 0).stamp);

    /* Another client with the same key. */
    p = rig_call(rig, request);
    assert_int_equal(p.number, 1);
}

static void an_idempotency_key_is_checked(void **state)
{
    static char many[256];
    struct rig *rig = *state;
    struct kv_request request = incr_request();
    struct probe p = {0};

    memset(many, 'x', sizeof many);
    request.idem = kv_mem(many, sizeof many);
    assert_int_equal(kv_start(rig->client, request, probe_on_done, &p), KV_ERR_INVALID);
    request.idem = kv_str("");
    request.idem_ttl_ms = 5;
    assert_int_equal(kv_start(rig->client, request, probe_on_done, &p), KV_ERR_INVALID);
    request = get_request();
    request.idem = kv_str("x");
    assert_int_equal(kv_start(rig->client, request, probe_on_done, &p), KV_ERR_INVALID);
}

/* ---- tokens ---- */

static void a_token_says_what_was_seen_and_is_passed_on(void **state)
{
    struct rig *rig = *state;
    struct map *map = fake_server_map(&rig->server, 1, 1, 1);
    const uint32_t leaders[] = {1};
    struct kv_request read = get_request();
    struct rpc_options o;
    struct kv_view token;
    uint8_t bytes[64];

    fake_server_set_map(rig->server, map, leaders);
    assert_int_equal(kv_token(rig->client).len, 0);
    read.level = KV_LEVEL_SESSION;
    assert_int_equal(rig_call(rig, read).error, 0);
    assert_true(fake_server_options(rig->server, RPC_KV_GET, &o));
    assert_true((o.has & RPC_OPT_BIT(RPC_OPT_token)) != 0);
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    assert_int_equal(rig_call(rig, put_request()).error, 0);
    token = kv_token(rig->client);
    assert_in_range(token.len, 10, sizeof bytes);
    memcpy(bytes, token.data, token.len);
    /* The fake server's `at` says what was before the write. */
    assert_int_equal(token_rev(kv_bytes(bytes, token.len), 1), 1);
    assert_true(token_is_valid(kv_bytes(bytes, token.len), map->cluster));

    assert_int_equal(kv_token_add(rig->client, kv_mem(bytes, token.len)), 0);
    assert_int_equal(kv_token_add(rig->client, kv_str("")), 0);
    bytes[10] ^= 1;
    assert_int_equal(kv_token_add(rig->client, kv_mem(bytes, token.len)),
                     KV_ERR_INVALID);
    token.len = token_make(map->cluster + 1, 1, 9, bytes);
    assert_int_equal(kv_token_add(rig->client, kv_mem(bytes, token.len)),
                     KV_ERR_INVALID);
    token.len = token_make(map->cluster, 5, 70, bytes);
    assert_int_equal(kv_token_add(rig->client, kv_mem(bytes, token.len)), 0);
    token = kv_token(rig->client);
    assert_int_equal(token_rev(kv_bytes(token.data, token.len), 1), 1);
    assert_int_equal(token_rev(kv_bytes(token.data, token.len), 5), 70);
    kv_mem_free(map);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(a_write_carries_session_number_ack_and_stamp),
        WITH_RIG(a_lost_answer_is_asked_for_again_and_done_once),
        WITH_RIG(an_unknown_outcome_and_no_leader_are_asked_for_again),
        WITH_RIG(a_node_that_does_not_answer_is_left_after_a_third),
        WITH_RIG(a_node_that_talks_is_left_as_well),
        WITH_RIG(what_was_lost_and_is_then_refused_is_unknown),
        WITH_RIG(what_a_copy_would_be_told_too_decides),
        WITH_RIG(without_sessions_or_retries_nothing_is_numbered),
        WITH_RIG(a_stamp_that_is_refused_is_replaced_by_the_groups_time),
        WITH_RIG(a_stamp_is_never_replaced_after_an_unknown_outcome),
        WITH_RIG(ack_is_the_oldest_of_the_slot_and_128_are_under_way),
        WITH_RIG(who_waits_for_a_number_ends_by_its_deadline),
        WITH_RIG(an_idempotency_key_is_sent_instead_of_a_number),
        WITH_RIG(an_idempotency_key_is_checked),
        WITH_RIG(a_token_says_what_was_seen_and_is_passed_on),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
