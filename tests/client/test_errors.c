/* tests/client/test_errors.c - errors have words and texts; texts are one line. */
#include "tests/client/probe.h"

static void every_public_error_has_a_word_and_a_text(void **state)
{
    static const struct {
        int error;
        const char *name;
    } rows[] = {
        {0, "OK"},
        {KV_ERR_BAD_REQUEST, "BAD_REQUEST"},
        {KV_ERR_TOO_LARGE, "TOO_LARGE"},
        {KV_ERR_BAD_QUORUM, "BAD_QUORUM"},
        {KV_ERR_CROSS_SLOT, "CROSS_SLOT"},
        {KV_ERR_FENCED, "FENCED"},
        {KV_ERR_SESSION_EXPIRED, "SESSION_EXPIRED"},
        {KV_ERR_NOT_LEADER, "NOT_LEADER"},
        {KV_ERR_NO_LEADER, "NO_LEADER"},
        {KV_ERR_TIMEOUT, "TIMEOUT"},
        {KV_ERR_BUSY, "BUSY"},
        {KV_ERR_NO_SPACE, "NO_SPACE"},
        {KV_ERR_DAMAGED, "DAMAGED"},
        {KV_ERR_COMPACTED, "COMPACTED"},
        {KV_ERR_OVERFLOW, "OVERFLOW"},
        {KV_ERR_DENIED, "DENIED"},
        {KV_ERR_UNKNOWN, "UNKNOWN"},
        {KV_ERR_NO_MEMORY, "NO_MEMORY"},
        {KV_ERR_INVALID, "INVALID"},
        {KV_ERR_PROTOCOL, "PROTOCOL"},
        {KV_ERR_IO, "IO"},
        {KV_ERR_CONNECT, "CONNECT"},
        {KV_ERR_CLOSED, "CLOSED"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(kv_errname(rows[i].error), rows[i].name);
        assert_true(strlen(kv_strerror(rows[i].error)) > 3);
        assert_null(strchr(kv_strerror(rows[i].error), '\n'));
    }
    assert_string_equal(kv_errname(-1), "ERROR");
    assert_non_null(kv_strerror(-1));
    assert_non_null(kv_strerror(1));
}

static void quotes_any_key_on_one_line(void **state)
{
    struct rig *rig = *state;
    char key[480];
    struct probe p;

    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (char)(i * 7);
    }
    fake_server_script(rig->server, (struct fake_step){.action = FAKE_ERROR,
                                                       .code = KV_EDENIED,
                                                       .text = "not yours",
                                                       .times = 2});
    p = rig_call(rig, kv_del(kv_mem(key, sizeof key)));
    assert_int_equal(p.error, KV_ERR_DENIED);
    assert_non_null(strstr(p.text, "kv.del \"\\x00\\x07"));
    assert_non_null(strstr(p.text, "...\": DENIED: not yours (127.0.0.1:"));
    for (const char *c = p.text; *c != '\0'; c++) {
        assert_true(*c >= ' ' && *c < 0x7f);
    }
    p = rig_call(rig, kv_get(kv_str("a\"b")));
    assert_non_null(strstr(p.text, "kv.get \"a\\x22b\": DENIED"));
    assert_string_equal(kv_last_error(rig->client), p.text);
}

static void knows_its_version(void **state)
{
    char want[32];

    (void)state;
    (void)snprintf(want, sizeof want, "%d.%d.%d", KV_VERSION_MAJOR, KV_VERSION_MINOR,
                   KV_VERSION_PATCH);
    assert_string_equal(kv_version(), want);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_public_error_has_a_word_and_a_text),
        cmocka_unit_test_setup_teardown(quotes_any_key_on_one_line, rig_setup,
                                        rig_teardown),
        cmocka_unit_test(knows_its_version),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("client/errors", tests, NULL, NULL);
}
