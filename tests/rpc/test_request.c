/* tests/rpc/test_request.c - what a server accepts from clients, and what it says. */
#include "tests/rpc/rpc_test.h"

#include <msgpack.h>

#include "rpc/msg.h"
#include "rpc/pack.h"
#include "rpc/scan.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

struct fixture {
    struct rpc_decoder decoder;
    struct rpc_request q;
    struct rpc_error error;
    struct buf b;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    buf_init(&f->b, 8 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    rpc_decoder_close(&f->decoder);
    buf_close(&f->b);
    free(f);
    return 0;
}

/* Begins a request [0, 9, method, [..count]] in the fixture's buffer. */
static void begin(struct fixture *f, const char *method, uint32_t count)
{
    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_REQUEST);
    pack_uint(&f->b, 9);
    pack_str(&f->b, method);
    pack_array(&f->b, count);
}

/* Decodes what is in the buffer, in front of a hostile end. */
static int decode(struct fixture *f)
{
    return rpc_request_decode(&f->decoder, buf_bytes(&f->b), &f->q, &f->error);
}

/* A refusal with this code and text, addressed to msgid 9. */
static void expect_refusal(struct fixture *f, int code, const char *text)
{
    assert_int_equal(decode(f), code);
    assert_int_equal(f->error.code, code);
    assert_string_equal(f->error.text, text);
    assert_int_equal(f->q.type, RPC_REQUEST);
    assert_int_equal(f->q.msgid, 9);
}

/* ---- what is accepted ---- */

static void reads_each_method(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.get", 1);
    pack_bin(&f->b, BYTES("k"));
    assert_int_equal(decode(f), 0);
    assert_int_equal(f->q.method, RPC_KV_GET);
    test_assert_text(f->q.key, "k");

    begin(f, "kv.put", 2);
    pack_bin(&f->b, BYTES("k"));
    pack_bin(&f->b, BYTES(""));
    assert_int_equal(decode(f), 0);
    assert_int_equal(f->q.value.len, 0);

    begin(f, "kv.cas", 3);
    pack_bin(&f->b, BYTES("k"));
    pack_nil(&f->b);
    pack_bin(&f->b, BYTES("new"));
    assert_int_equal(decode(f), 0);
    assert_false(f->q.has_expected);
    assert_true(f->q.has_replacement);
    test_assert_text(f->q.replacement, "new");

    begin(f, "kv.incr", 2);
    pack_bin(&f->b, BYTES("k"));
    pack_int(&f->b, INT64_MIN);
    assert_int_equal(decode(f), 0);
    assert_true(f->q.delta == INT64_MIN);

    begin(f, "kv.range", 2);
    pack_bin(&f->b, BYTES("a"));
    pack_nil(&f->b);
    assert_int_equal(decode(f), 0);
    test_assert_text(f->q.begin, "a");
    assert_int_equal(f->q.end.len, 0);

    begin(f, "cluster.status", 0);
    assert_int_equal(decode(f), 0);
    begin(f, "cluster.map", 0);
    assert_int_equal(decode(f), 0);
    begin(f, "hello", 0);
    assert_int_equal(decode(f), 0);
}

static void takes_str_for_bin_and_bin_for_str(void **state)
{
    struct fixture *f = *state;

    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_REQUEST);
    pack_uint(&f->b, 1);
    pack_bin(&f->b, BYTES("kv.put"));
    pack_array(&f->b, 3);
    pack_str(&f->b, "key");
    pack_str(&f->b, "value");
    pack_map(&f->b, 1);
    pack_bin(&f->b, BYTES("forward"));
    pack_bool(&f->b, false);

    assert_int_equal(decode(f), 0);
    assert_int_equal(f->q.method, RPC_KV_PUT);
    test_assert_text(f->q.key, "key");
    test_assert_text(f->q.value, "value");
    assert_false(f->q.options.forward);
}

static void bytes_are_views_into_the_message(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.put", 2);
    pack_bin(&f->b, BYTES("key"));
    pack_bin(&f->b, BYTES("value"));
    assert_int_equal(decode(f), 0);
    assert_in_range((uintptr_t)f->q.key.data, (uintptr_t)f->b.data,
                    (uintptr_t)f->b.data + f->b.len);
    assert_in_range((uintptr_t)f->q.value.data, (uintptr_t)f->b.data,
                    (uintptr_t)f->b.data + f->b.len);
}

static void takes_integers_of_any_width(void **state)
{
    struct fixture *f = *state;
    static const uint8_t wide[] =
        "\x94\xd0\x00\xd3\0\0\0\0\0\0\0\x07\xa7kv.incr\x92\xa1k"
        "\xd1\x00\x05";
    struct kv_bytes message = kv_bytes(wide, sizeof wide - 1);

    assert_int_equal(scan_whole(&scan_limits_request, message.data, message.len), 0);
    assert_int_equal(rpc_request_decode(&f->decoder, message, &f->q, &f->error), 0);
    assert_int_equal(f->q.msgid, 7);
    assert_int_equal(f->q.delta, 5);
}

static void echoes_the_largest_msgid(void **state)
{
    struct fixture *f = *state;
    static const uint8_t message[] = "\x94\x00\xce\xff\xff\xff\xff\xa5hello\x90";

    assert_int_equal(rpc_request_decode(&f->decoder,
                                        kv_bytes(message, sizeof message - 1), &f->q,
                                        &f->error),
                     0);
    assert_true(f->q.msgid == 0xffffffff);
}

static void has_defaults_where_options_are_absent_or_nil(void **state)
{
    struct fixture *f = *state;

    for (int form = 0; form < 3; form++) {
        begin(f, "kv.get", form == 0 ? 1 : 2);
        pack_bin(&f->b, BYTES("k"));
        if (form == 1) {
            pack_nil(&f->b);
        } else if (form == 2) {
            pack_map(&f->b, 2);
            pack_str(&f->b, "level");
            pack_nil(&f->b);
            pack_str(&f->b, "deadline_ms");
            pack_nil(&f->b);
        }
        assert_int_equal(decode(f), 0);
        assert_int_equal(f->q.options.has, 0);
        assert_int_equal(f->q.options.level, RPC_LINEARIZABLE);
        assert_true(f->q.options.forward);
        assert_int_equal(f->q.options.deadline_ms, 0);
    }
}

static void reads_every_option(void **state)
{
    struct fixture *f = *state;
    struct rpc_options *o = &f->q.options;

    begin(f, "kv.range", 3);
    pack_nil(&f->b);
    pack_nil(&f->b);
    pack_map(&f->b, 9);
    pack_str(&f->b, "level");
    pack_str(&f->b, "stale");
    pack_str(&f->b, "r");
    pack_uint(&f->b, 2);
    pack_str(&f->b, "token");
    pack_bin(&f->b, BYTES("tok"));
    pack_str(&f->b, "max_age_ms");
    pack_uint(&f->b, 0);
    pack_str(&f->b, "fence");
    pack_array(&f->b, 2);
    pack_str(&f->b, "lock");
    pack_uint(&f->b, 77);
    pack_str(&f->b, "wait_ms");
    pack_uint(&f->b, 3);
    pack_str(&f->b, "deadline_ms");
    pack_uint(&f->b, 4);
    pack_str(&f->b, "limit");
    pack_uint(&f->b, KV_RANGE_ITEMS_MAX);
    pack_str(&f->b, "forward");
    pack_bool(&f->b, true);
    assert_int_equal(decode(f), 0);
    assert_int_equal(__builtin_popcount(o->has), 9);
    assert_int_equal(o->level, RPC_STALE);
    assert_int_equal(o->r, 2);
    test_assert_text(o->token, "tok");
    test_assert_text(o->fence_lock, "lock");
    assert_int_equal(o->fence_token, 77);
    assert_int_equal(o->wait_ms, 3);
    assert_int_equal(o->deadline_ms, 4);
    assert_int_equal(o->limit, KV_RANGE_ITEMS_MAX);

    begin(f, "kv.put", 3);
    pack_bin(&f->b, BYTES("k"));
    pack_bin(&f->b, BYTES("v"));
    pack_map(&f->b, 5);
    pack_str(&f->b, "w");
    pack_uint(&f->b, 3);
    pack_str(&f->b, "idem_ttl_ms");
    pack_uint(&f->b, KV_IDEM_TTL_MS_MAX);
    pack_str(&f->b, "idem");
    pack_bin(&f->b, BYTES("id"));
    pack_str(&f->b, "stamp");
    pack_uint(&f->b, 1700000000000u);
    pack_str(&f->b, "ttl_ms");
    pack_uint(&f->b, 60000);
    assert_int_equal(decode(f), 0);
    assert_int_equal(o->w, 3);
    assert_int_equal(o->idem_ttl_ms, KV_IDEM_TTL_MS_MAX);
    test_assert_text(o->idem, "id");
    assert_true(o->stamp == 1700000000000u);
    assert_int_equal(o->ttl_ms, 60000);
}

static void reads_notifications(void **state)
{
    struct fixture *f = *state;
    static const uint8_t known[] = "\x93\x02\xa5hello\x90";
    static const uint8_t unknown[] = "\x93\x02\xc4\x14nvim_set_client_info\x90";

    assert_int_equal(rpc_request_decode(&f->decoder, kv_bytes(known, sizeof known - 1),
                                        &f->q, &f->error),
                     0);
    assert_int_equal(f->q.type, RPC_NOTIFICATION);
    assert_int_equal(f->q.method, RPC_HELLO);
    assert_int_equal(rpc_request_decode(&f->decoder,
                                        kv_bytes(unknown, sizeof unknown - 1), &f->q,
                                        &f->error),
                     KV_EBADREQUEST);
    assert_int_equal(f->q.type, RPC_NOTIFICATION);
    assert_int_equal(f->q.method, RPC_UNKNOWN);
}

static void hello_passes_over_options_of_later_clients(void **state)
{
    struct fixture *f = *state;

    begin(f, "hello", 1);
    pack_map(&f->b, 1);
    pack_str(&f->b, "client_name");
    pack_str(&f->b, "future");
    assert_int_equal(decode(f), 0);
}

/* ---- what is refused ---- */

static void refuses_methods_with_their_name(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.frob", 0);
    expect_refusal(f, KV_EBADREQUEST, "unknown method \"kv.frob\"");
    assert_int_equal(f->q.method, RPC_UNKNOWN);
}

static void watches_are_of_a_key_a_prefix_or_a_range(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.watch", 1);
    pack_bin(&f->b, BYTES(""));
    expect_refusal(f, KV_EBADREQUEST, "kv.watch: parameter 1 (key) is empty");
    begin(f, "kv.watch", 1);
    pack_array(&f->b, 2);
    pack_bin(&f->b, BYTES("b"));
    pack_bin(&f->b, BYTES("a"));
    expect_refusal(f, KV_EBADREQUEST, "kv.watch: no key lies in this range");
    begin(f, "kv.watch", 2);
    pack_array(&f->b, 2);
    pack_bin(&f->b, BYTES("a"));
    pack_nil(&f->b);
    pack_map(&f->b, 1);
    pack_str(&f->b, "prefix");
    pack_bool(&f->b, true);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.watch: option prefix needs a key, not [begin, end]");
}

static void refuses_wrong_numbers_of_parameters(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.put", 1);
    pack_bin(&f->b, BYTES("k"));
    expect_refusal(f, KV_EBADREQUEST, "kv.put: 1 parameters, expected 2 to 3");
    begin(f, "kv.get", 3);
    pack_bin(&f->b, BYTES("k"));
    pack_nil(&f->b);
    pack_nil(&f->b);
    expect_refusal(f, KV_EBADREQUEST, "kv.get: 3 parameters, expected 1 to 2");
}

static void refuses_wrong_types_with_number_and_name(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv.get", 1);
    pack_uint(&f->b, 5);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.get: parameter 1 (key) must be bin or str, got int");
    begin(f, "kv.put", 2);
    pack_str(&f->b, "k");
    pack_nil(&f->b);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.put: parameter 2 (value) must be bin or str, got nil");
    begin(f, "kv.incr", 2);
    pack_str(&f->b, "k");
    pack_str(&f->b, "1");
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.incr: parameter 2 (delta) must be an int of 64 bits, got str");
    begin(f, "kv.incr", 2);
    pack_str(&f->b, "k");
    pack_uint(&f->b, (uint64_t)INT64_MAX + 1);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.incr: parameter 2 (delta) must be an int of 64 bits, got int");
    begin(f, "kv.cas", 3);
    pack_str(&f->b, "k");
    pack_bool(&f->b, true);
    pack_nil(&f->b);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.cas: parameter 2 (expected) must be bin or str, got bool");
    begin(f, "kv.get", 2);
    pack_str(&f->b, "k");
    pack_array(&f->b, 0);
    expect_refusal(f, KV_EBADREQUEST, "kv.get: the options must be a map, got array");
}

static void refuses_keys_and_values_out_of_bounds(void **state)
{
    struct fixture *f = *state;
    static uint8_t large[KV_VALUE_BYTES_MAX + 1];

    begin(f, "kv.get", 1);
    pack_bin(&f->b, kv_bytes(large, 0));
    expect_refusal(f, KV_EBADREQUEST, "kv.get: parameter 1 (key) is empty");
    begin(f, "kv.get", 1);
    pack_bin(&f->b, kv_bytes(large, KV_KEY_BYTES_MAX));
    assert_int_equal(decode(f), 0);
    begin(f, "kv.get", 1);
    pack_bin(&f->b, kv_bytes(large, KV_KEY_BYTES_MAX + 1));
    expect_refusal(f, KV_ETOOLARGE,
                   "kv.get: parameter 1 (key) has 481 bytes, at most 480 are allowed");
    begin(f, "kv.range", 2);
    pack_bin(&f->b, kv_bytes(large, KV_BOUND_BYTES_MAX));
    pack_bin(&f->b, kv_bytes(large, KV_BOUND_BYTES_MAX + 1));
    expect_refusal(
        f, KV_ETOOLARGE,
        "kv.range: parameter 2 (end) has 482 bytes, at most 481 are allowed");
    begin(f, "kv.put", 2);
    pack_str(&f->b, "k");
    pack_bin(&f->b, kv_bytes(large, KV_VALUE_BYTES_MAX));
    assert_int_equal(decode(f), 0);
    begin(f, "kv.put", 2);
    pack_str(&f->b, "k");
    pack_bin(&f->b, kv_bytes(large, KV_VALUE_BYTES_MAX + 1));
    expect_refusal(
        f, KV_ETOOLARGE,
        "kv.put: parameter 2 (value) has 1048577 bytes, at most 1048576 are allowed");
}

/* kv.METHOD with one option whose value the caller packs next. */
static void begin_option(struct fixture *f, const char *method, const char *option)
{
    begin(f, method, 2);
    pack_str(&f->b, "k");
    pack_map(&f->b, 1);
    pack_str(&f->b, option);
}

static void refuses_options_with_their_name(void **state)
{
    struct fixture *f = *state;

    begin_option(f, "kv.get", "levle");
    pack_str(&f->b, "stale");
    expect_refusal(f, KV_EBADREQUEST, "kv.get: unknown option \"levle\"");
    begin_option(f, "kv.get", "level");
    pack_str(&f->b, "fresh");
    expect_refusal(
        f, KV_EBADREQUEST,
        "kv.get: option level must be linearizable, quorum, session or stale");
    begin_option(f, "kv.get", "limit");
    pack_uint(&f->b, 1);
    expect_refusal(f, KV_EBADREQUEST, "kv.get takes no option limit");
    begin_option(f, "kv.get", "deadline_ms");
    pack_uint(&f->b, 0);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.get: option deadline_ms must be an int from 1 to 604800000");
    begin_option(f, "kv.get", "r");
    pack_int(&f->b, -1);
    expect_refusal(f, KV_EBADREQUEST, "kv.get: option r must be an int from 1 to 16");
    begin_option(f, "kv.get", "forward");
    pack_uint(&f->b, 1);
    expect_refusal(f, KV_EBADREQUEST, "kv.get: option forward must be true or false");
    begin_option(f, "kv.get", "fence");
    pack_str(&f->b, "lock");
    expect_refusal(f, KV_EBADREQUEST, "kv.get: option fence must be [lock, token]");
    begin_option(f, "kv.get", "token");
    pack_int(&f->b, 1);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.get: option token must be bin or str of 0 to 12352 bytes");
    begin_option(f, "kv.del", "session");
    pack_int(&f->b, -5);
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.del: option session must be an int, not negative");
    begin_option(f, "kv.get", "session");
    pack_int(&f->b, 5);
    expect_refusal(f, KV_EBADREQUEST, "kv.get takes no option session");
    begin_option(f, "kv.del", "idem");
    pack_bin(&f->b, kv_bytes(f, KV_IDEM_BYTES_MAX + 1));
    expect_refusal(f, KV_EBADREQUEST,
                   "kv.del: option idem must be bin or str of 1 to 255 bytes");
    begin(f, "kv.get", 2);
    pack_str(&f->b, "k");
    pack_map(&f->b, 1);
    pack_uint(&f->b, 1);
    pack_uint(&f->b, 1);
    expect_refusal(f, KV_EBADREQUEST, "kv.get: names of options must be str, got int");
}

/* kv.del with int options: names and values in turn, up to a NULL. */
static void del_with(struct fixture *f, const char *const names[], const int values[])
{
    uint32_t count = 0;

    while (names[count] != NULL) {
        count++;
    }
    begin(f, "kv.del", 2);
    pack_str(&f->b, "k");
    pack_map(&f->b, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_str(&f->b, names[i]);
        if (strcmp(names[i], "idem") == 0) {
            pack_str(&f->b, "id");
        } else {
            pack_int(&f->b, values[i]);
        }
    }
}

static void options_of_exactly_once_need_each_other(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *names[5];
        int values[5];
        const char *why; /* NULL: taken. */
    } cases[] = {
        {{"session", "seq", "stamp"}, {1, 0, 7}, NULL},
        {{"session", "seq", "stamp", "ack"}, {1, 4, 7, 4}, NULL},
        {{"idem", "stamp"}, {0, 1}, NULL},
        {{"idem", "stamp", "idem_ttl_ms"}, {0, 1, 1}, NULL},
        {{"session", "seq", "stamp"}, {0, 1, 7}, "option session must not be 0"},
        {{"session", "stamp"}, {1, 7}, "option session needs seq"},
        {{"seq", "stamp"}, {1, 7}, "options seq and ack need session"},
        {{"session", "seq", "stamp", "ack"},
         {1, 4, 7, 5},
         "option ack must not be above seq"},
        {{"session", "seq"},
         {1, 4},
         "options session and idem need stamp: the cluster's time of the first "
         "sending, in ms"},
        {{"idem"},
         {0},
         "options session and idem need stamp: the cluster's time of the first "
         "sending, in ms"},
        {{"idem_ttl_ms"}, {5}, "option idem_ttl_ms needs idem"},
        {{"stamp"}, {5}, "option stamp needs session or idem"},
        {{"idem", "session", "seq", "stamp"},
         {0, 1, 1, 1},
         "takes session or idem, not both"},
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(cases); i++) {
        del_with(f, cases[i].names, cases[i].values);
        if (cases[i].why == NULL) {
            assert_int_equal(decode(f), 0);
        } else {
            char text[256];

            (void)snprintf(text, sizeof text, "kv.del: %s", cases[i].why);
            expect_refusal(f, KV_EBADREQUEST, text);
        }
    }
}

static void sessions_are_numbers_above_0(void **state)
{
    struct fixture *f = *state;

    begin(f, "session.open", 0);
    assert_int_equal(decode(f), 0);
    begin(f, "session.close", 1);
    pack_uint(&f->b, UINT64_MAX);
    assert_int_equal(decode(f), 0);
    assert_true(f->q.session == UINT64_MAX);
    begin(f, "session.keepalive", 1);
    pack_uint(&f->b, 0);
    expect_refusal(f, KV_EBADREQUEST,
                   "session.keepalive: parameter 1 (session) must be an int above 0");
}

static void refuses_an_option_that_is_given_twice(void **state)
{
    struct fixture *f = *state;

    for (int nil = 0; nil < 2; nil++) {
        begin(f, "kv.get", 2);
        pack_str(&f->b, "k");
        pack_map(&f->b, 2);
        pack_str(&f->b, "deadline_ms");
        if (nil) {
            pack_nil(&f->b);
        } else {
            pack_uint(&f->b, 1);
        }
        pack_bin(&f->b, BYTES("deadline_ms"));
        pack_uint(&f->b, 2);
        expect_refusal(f, KV_EBADREQUEST, "kv.get: option deadline_ms is given twice");
    }
}

static void refuses_what_this_version_does_not_carry_out(void **state)
{
    struct fixture *f = *state;
    const uint32_t levels = 1u << RPC_LINEARIZABLE | 1u << RPC_STALE;

    begin_option(f, "kv.get", "wait_ms");
    pack_uint(&f->b, 1);
    assert_int_equal(decode(f), 0);
    assert_int_equal(rpc_options_refuse(&f->q.options, levels, &f->error),
                     KV_EBADREQUEST);
    assert_string_equal(f->error.text, "option wait_ms is not served by this version");
    begin_option(f, "kv.get", "level");
    pack_str(&f->b, "quorum");
    assert_int_equal(decode(f), 0);
    assert_int_equal(rpc_options_refuse(&f->q.options, levels, &f->error),
                     KV_EBADREQUEST);
    assert_string_equal(f->error.text, "level quorum is not served by this version");
    begin_option(f, "kv.get", "level");
    pack_str(&f->b, "stale");
    assert_int_equal(decode(f), 0);
    assert_int_equal(rpc_options_refuse(&f->q.options, levels, &f->error), 0);
}

static void prints_no_bytes_of_strangers_unfiltered(void **state)
{
    struct fixture *f = *state;

    begin(f, "kv\n\x1b[31m", 0);
    expect_refusal(f, KV_EBADREQUEST, "unknown method \"kv??[31m\"");
}

static void closes_on_what_is_no_request(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } bad[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD("\x94\x01\x05\xc0\xc0"),                    /* a response */
        BAD("\x94\x03\x05\xc0\xc0"),                    /* no such type */
        BAD("\x93\x00\x05\xa1m"),                       /* a request of three */
        BAD("\x94\x02\x05\xa1m\x90"),                   /* a notification of four */
        BAD("\x94\x00\xff\xa1m\x90"),                   /* msgid -1 */
        BAD("\x94\x00\xcf\0\0\0\x01\0\0\0\0\xa1m\x90"), /* msgid 2^32 */
        BAD("\x94\x00\xa1x\xa1m\x90"),                  /* msgid a str */
        BAD("\x94\xc0\x05\xa1m\x90"),                   /* type nil */
        BAD("\x92\x00\x05"),                            /* too short */
        BAD("\x84\x00\x05\x00\x05\x00\x05\x00\x05"),    /* a map */
        BAD("\xc0"),
        BAD(""),
#undef BAD
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(rpc_request_decode(&f->decoder,
                                            kv_bytes(bad[i].data, bad[i].len), &f->q,
                                            &f->error),
                         KV_EPROTO);
        assert_int_equal(f->error.code, KV_EPROTO);
    }
}

static void refuses_a_method_or_parameters_of_wrong_type(void **state)
{
    struct fixture *f = *state;

    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_REQUEST);
    pack_uint(&f->b, 9);
    pack_uint(&f->b, 3);
    pack_array(&f->b, 0);
    expect_refusal(f, KV_EBADREQUEST, "the method must be str, got int");
    buf_reset(&f->b);
    pack_array(&f->b, 4);
    pack_uint(&f->b, RPC_REQUEST);
    pack_uint(&f->b, 9);
    pack_str(&f->b, "hello");
    pack_nil(&f->b);
    expect_refusal(f, KV_EBADREQUEST,
                   "hello: the parameters must be an array, got nil");
}

/* Truncated at every byte: never accepted, never read beyond. */
static void refuses_every_truncation(void **state)
{
    struct fixture *f = *state;
    size_t len;

    begin(f, "kv.cas", 4);
    pack_bin(&f->b, BYTES("key"));
    pack_bin(&f->b, BYTES("expected"));
    pack_bin(&f->b, BYTES("replacement"));
    pack_map(&f->b, 1);
    pack_str(&f->b, "deadline_ms");
    pack_uint(&f->b, 100000);
    assert_int_equal(decode(f), 0);
    len = f->b.len;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = test_copy(f->b.data, cut);

        assert_int_equal(
            rpc_request_decode(&f->decoder, kv_bytes(copy, cut), &f->q, &f->error),
            KV_EPROTO);
        free(copy);
    }
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(reads_each_method),
    TEST(takes_str_for_bin_and_bin_for_str),
    TEST(bytes_are_views_into_the_message),
    TEST(takes_integers_of_any_width),
    TEST(echoes_the_largest_msgid),
    TEST(has_defaults_where_options_are_absent_or_nil),
    TEST(reads_every_option),
    TEST(reads_notifications),
    TEST(hello_passes_over_options_of_later_clients),
    TEST(refuses_methods_with_their_name),
    TEST(watches_are_of_a_key_a_prefix_or_a_range),
    TEST(refuses_wrong_numbers_of_parameters),
    TEST(refuses_wrong_types_with_number_and_name),
    TEST(refuses_keys_and_values_out_of_bounds),
    TEST(refuses_options_with_their_name),
    TEST(options_of_exactly_once_need_each_other),
    TEST(sessions_are_numbers_above_0),
    TEST(refuses_an_option_that_is_given_twice),
    TEST(refuses_what_this_version_does_not_carry_out),
    TEST(prints_no_bytes_of_strangers_unfiltered),
    TEST(closes_on_what_is_no_request),
    TEST(refuses_a_method_or_parameters_of_wrong_type),
    TEST(refuses_every_truncation),
};

TEST_MAIN("rpc/request", tests)
