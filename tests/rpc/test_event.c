/* tests/rpc/test_event.c - notifications of watches: written, read, refused. */
#include "tests/rpc/rpc_test.h"

#include "rpc/event.h"
#include "rpc/pack.h"

static void what_is_written_is_read(void **state)
{
    struct rpc_event put = {.type = RPC_EVENT_PUT,
                            .key = kv_bytes_str("k"),
                            .has_value = true,
                            .value = kv_bytes_str(""),
                            .rev = 7,
                            .has_prev = true,
                            .prev = kv_bytes_str("old")};
    struct rpc_event del = {
        .type = RPC_EVENT_DEL, .key = kv_bytes_str("l"), .rev = UINT64_MAX};
    struct rpc_event_writer w;
    struct rpc_decoder d;
    struct rpc_events events;
    struct rpc_event e;
    struct buf b;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    buf_init(&b, 4096);
    rpc_event_begin(&w, &b, 12);
    rpc_event_add(&w, &put);
    rpc_event_add(&w, &del);
    rpc_event_end(&w, kv_bytes_str("pos"));
    assert_int_equal(b.error, 0);
    assert_int_equal(rpc_events_decode(&d, buf_bytes(&b), &events), 0);
    assert_true(events.watch == 12 && events.events.count == 2);
    test_assert_bytes(events.pos, kv_bytes_str("pos"));
    rpc_event_get(&events, 0, &e);
    assert_int_equal(e.type, RPC_EVENT_PUT);
    assert_true(e.has_value && e.value.len == 0 && e.has_prev && e.rev == 7);
    test_assert_bytes(e.prev, put.prev);
    rpc_event_get(&events, 1, &e);
    assert_int_equal(e.type, RPC_EVENT_DEL);
    assert_true(!e.has_value && !e.has_prev && e.rev == UINT64_MAX);
    test_assert_bytes(e.key, del.key);
    for (size_t len = 0; len < b.len; len++) {
        assert_int_not_equal(rpc_events_decode(&d, kv_bytes(b.data, len), &events), 0);
    }
    buf_close(&b);
    rpc_decoder_close(&d);
}

static void nothing_to_tell_leaves_nothing_behind(void **state)
{
    struct rpc_event_writer w;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    pack_uint(&b, 1);
    rpc_event_begin(&w, &b, 12);
    rpc_event_end(&w, kv_bytes_str("pos"));
    assert_int_equal(b.len, 1);
    buf_close(&b);
}

static void another_notification_is_passed_over(void **state)
{
    struct rpc_decoder d;
    struct rpc_events events;
    struct buf b;

    (void)state;
    assert_int_equal(rpc_decoder_init(&d), 0);
    buf_init(&b, 4096);
    pack_array(&b, 3);
    pack_uint(&b, RPC_NOTIFICATION);
    pack_str(&b, "news");
    pack_array(&b, 0);
    assert_int_equal(rpc_events_decode(&d, buf_bytes(&b), &events), KV_ENOTFOUND);
    buf_close(&b);
    rpc_decoder_close(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(nothing_to_tell_leaves_nothing_behind),
        cmocka_unit_test(another_notification_is_passed_over),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("rpc/event", tests, NULL, NULL);
}
