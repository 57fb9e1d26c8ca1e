/* tests/client/test_client.c - options, endpoints, clients that are never used. */
#include "tests/client/probe.h"

static int try_endpoints(const char *endpoints)
{
    struct kv_client *client = NULL;
    int rc = kv_open(endpoints, &client);

    assert_true((rc == 0) == (client != NULL));
    kv_free(client);
    return rc;
}

static void takes_lists_of_host_and_port(void **state)
{
    static const char *const good[] = {
        "127.0.0.1:7410",
        "localhost:1",
        "a.b-c.example:65535",
        "[::1]:7410",
        "127.0.0.1:1,127.0.0.1:2, 127.0.0.1:3\n",
        ",h:1,,",
        "h:1,h:1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(try_endpoints(good[i]), 0);
    }
}

static void refuses_what_is_no_endpoint(void **state)
{
    static const char *const bad[] = {
        NULL,   "",        ",",     "host",    "host:",         ":7410",
        "h:0",  "h:65536", "h:-1",  "h:1x",    "::1:1",         "[::1]",
        "[]:1", "h:+1",    "h/p:1", "h:1,bad", "h:00000000001",
    };
    char longest[400];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_endpoints(bad[i]), KV_ERR_INVALID);
    }
    memset(longest, 'h', sizeof longest);
    memcpy(longest + sizeof longest - 5, ":123", 5);
    assert_int_equal(try_endpoints(longest), KV_ERR_INVALID);
}

static void refuses_more_endpoints_than_it_keeps(void **state)
{
    char list[40 * 16] = "";
    size_t used = 0;

    (void)state;
    for (int i = 1; i <= 33; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "h:%d,", i);
    }
    assert_int_equal(try_endpoints(list), KV_ERR_INVALID);
    *strrchr(list, 'h') = '\0';
    assert_int_equal(try_endpoints(list), 0);
}

static void refuses_options_that_were_not_initialized(void **state)
{
    struct kv_client *client = NULL;
    struct kv_options options;

    (void)state;
    memset(&options, 0, sizeof options);
    options.endpoints = "h:1";
    assert_int_equal(kv_new(&options, &client), KV_ERR_INVALID);
    assert_int_equal(kv_new(NULL, &client), KV_ERR_INVALID);
    kv_options_init(&options);
    options.endpoints = "h:1";
    options.size += 8; /* From a newer library. */
    assert_int_equal(kv_new(&options, &client), KV_ERR_INVALID);
    kv_options_init(&options);
    options.endpoints = "h:1";
    options.retries = -2;
    assert_int_equal(kv_new(&options, &client), KV_ERR_INVALID);
    kv_options_init(&options);
    options.endpoints = "h:1";
    options.deadline_ms = UINT32_MAX;
    assert_int_equal(kv_new(&options, &client), KV_ERR_INVALID);
    assert_null(client);
}

static void a_client_that_was_never_used_can_be_freed_or_closed(void **state)
{
    struct kv_client *client = NULL;

    (void)state;
    kv_free(NULL);
    assert_int_equal(kv_open("h:1", &client), 0);
    assert_int_equal(kv_calls_count(client), 0);
    assert_int_equal(kv_map_epoch(client), 0);
    assert_string_equal(kv_last_error(client), "");
    kv_free(client);
    assert_int_equal(kv_open("h:1", &client), 0);
    kv_close(client, NULL, NULL);
}

static void the_slot_follows_the_tag(void **state)
{
    (void)state;
    assert_int_equal(kv_slot(kv_str("123456789")), 0x31c3); /* CRC16's check value. */
    assert_int_equal(kv_slot(kv_str("{user1}.name")), kv_slot(kv_str("{user1}.mail")));
    assert_int_equal(kv_slot(kv_str("")), 0);
}

/* ---- the log ---- */

static void count_lines(void *ctx, enum kv_log_level level, const char *line)
{
    uint32_t *counts = ctx;

    assert_true((unsigned)level <= KV_LOG_WARN);
    assert_null(strchr(line, '\n'));
    counts[level]++;
}

static void logs_connections_and_their_ends(void **state)
{
    struct rig *rig = *state;
    struct kv_options options = rig_options(rig);
    uint32_t counts[3] = {0};

    options.log = count_lines;
    options.log_ctx = counts;
    rig_client(rig, &options);
    (void)rig_call(rig, put_request());
    assert_int_equal(counts[KV_LOG_INFO], 1);
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_DROP});
    (void)rig_call(rig, put_request());
    assert_int_equal(counts[KV_LOG_WARN], 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_lists_of_host_and_port),
        cmocka_unit_test(refuses_what_is_no_endpoint),
        cmocka_unit_test(refuses_more_endpoints_than_it_keeps),
        cmocka_unit_test(refuses_options_that_were_not_initialized),
        cmocka_unit_test(a_client_that_was_never_used_can_be_freed_or_closed),
        cmocka_unit_test(the_slot_follows_the_tag),
        cmocka_unit_test_setup_teardown(logs_connections_and_their_ends, rig_setup,
                                        rig_teardown),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/client", tests, NULL, NULL);
}
