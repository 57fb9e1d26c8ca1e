/* tests/server/test_reply.c - one answer for each request, to whoever asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "raft/base/err.h"
#include "server/conn.h"
#include "server/meta.h"
#include "server/peers.h"
#include "server/reply.h"

static struct {
    struct buf out;
    bool gone; /* The client has gone. */
    int ends;
    int code;
    int peer_replies;
    uint32_t peer;
    uint64_t peer_id;
    int internal;
    uint8_t tail[256];
    size_t tail_len;
} seen;

struct buf *conn_reply_begin(struct node *n, const struct request *req)
{
    (void)n;
    (void)req;
    return seen.gone ? NULL : &seen.out;
}

void conn_reply_end(struct node *n, const struct request *req, int code)
{
    (void)n;
    (void)req;
    seen.ends++;
    seen.code = code;
}

static void keep_tail(struct kv_bytes tail)
{
    assert_true(tail.len <= sizeof seen.tail);
    memcpy(seen.tail, tail.data, tail.len);
    seen.tail_len = tail.len;
}

uint64_t meta_cluster(const struct node *n)
{
    (void)n;
    return 1;
}

void peers_forward_reply(struct node *n, const struct request_asker *to,
                         struct kv_bytes tail)
{
    (void)n;
    seen.peer_replies++;
    seen.peer = to->node;
    seen.peer_id = to->id;
    keep_tail(tail);
}

static void on_done(struct request *req, struct kv_bytes tail)
{
    assert_int_equal(req->phase, REQ_REPLIED);
    seen.internal++;
    keep_tail(tail);
}

static struct request_pool *pool;
static struct rpc_decoder decoder;

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    buf_init(&seen.out, KV_RESPONSE_BYTES_MAX);
    assert_int_equal(request_pool_new(NULL, 10, 1 << 20, &pool), 0);
    assert_int_equal(rpc_decoder_init(&decoder), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(request_pool_count(pool), 0); /* Each was freed. */
    request_pool_free(pool);
    rpc_decoder_close(&decoder);
    buf_close(&seen.out);
    return 0;
}

static struct request *request(enum rpc_method method)
{
    struct request *req;

    assert_int_equal(request_new(pool, kv_bytes_str("key"), &req), 0);
    rpc_request_init(&req->rpc, method, 77);
    req->rpc.type = RPC_REQUEST;
    req->rpc.key = req->message;
    req->is_write = rpc_method_is_write(method);
    return req;
}

static struct rpc_reply decode(enum rpc_method method)
{
    struct rpc_reply r;

    assert_int_equal(rpc_reply_decode(&decoder, buf_bytes(&seen.out), method, &r), 0);
    assert_int_equal(r.msgid, 77);
    assert_int_equal(seen.ends, 1);
    return r;
}

static const struct rpc_at at = {.group = 3, .node = 2, .rev = 10, .term = 4};

static void an_error_carries_its_word_and_text(void **state)
{
    struct rpc_reply r;

    (void)state;
    reply_error(request(RPC_KV_PUT), KV_EBUSY, "queue %s", "full");
    r = decode(RPC_KV_PUT);
    assert_int_equal(r.error, KV_EBUSY);
    assert_true(kv_bytes_equal(r.error_text, kv_bytes_str("BUSY queue full")));
    assert_int_equal(seen.code, KV_EBUSY);
}

static void each_method_gets_its_own_fields(void **state)
{
    static const enum rpc_method methods[] = {RPC_KV_GET, RPC_KV_PUT, RPC_KV_DEL,
                                              RPC_KV_CAS, RPC_KV_INCR};
    struct reply_result result = {.at = at,
                                  .found = true,
                                  .deleted = true,
                                  .swapped = false,
                                  .number = -5,
                                  .has_value = true,
                                  .rev = 9};

    (void)state;
    result.value = kv_bytes_str("value");
    for (size_t i = 0; i < KV_ARRAY_COUNT(methods); i++) {
        struct rpc_reply r;

        buf_reset(&seen.out);
        seen.ends = 0;
        reply_result(request(methods[i]), &result);
        r = decode(methods[i]);
        assert_int_equal(r.error, 0);
        assert_int_equal(r.rev, 9);
        assert_int_equal(r.at.group, 3);
        assert_int_equal(r.at.term, 4);
        if (methods[i] == RPC_KV_GET || methods[i] == RPC_KV_CAS) {
            assert_true(kv_bytes_equal(r.value, kv_bytes_str("value")));
        }
        if (methods[i] == RPC_KV_DEL) {
            assert_true(r.deleted);
        }
        if (methods[i] == RPC_KV_INCR) {
            assert_int_equal(r.number, -5);
        }
    }
}

static void a_range_lists_its_rows(void **state)
{
    struct row rows[2] = {{.rev = 1}, {.rev = 2}};
    struct reply_result result = {
        .at = at, .rows = rows, .rows_count = 2, .more = true};
    struct rpc_reply r;
    struct rpc_item item;

    (void)state;
    rows[0].key = kv_bytes_str("a");
    rows[0].value = kv_bytes_str("1");
    rows[1].key = kv_bytes_str("b");
    rows[1].value = kv_bytes_str("2");
    result.next = kv_bytes("b\0", 2);
    reply_result(request(RPC_KV_RANGE), &result);
    r = decode(RPC_KV_RANGE);
    assert_int_equal(r.items.count, 2);
    assert_true(r.more);
    assert_int_equal(r.next.len, 2);
    rpc_reply_item_get(&r, 1, &item);
    assert_true(kv_bytes_equal(item.key, kv_bytes_str("b")));
    assert_int_equal(item.rev, 2);
}

static void a_forwarded_request_is_answered_to_its_node(void **state)
{
    struct request *req = request(RPC_KV_PUT);
    struct reply_result result = {.at = at, .rev = 9};
    struct rpc_reply r;

    (void)state;
    req->origin = REQ_FROM_PEER;
    req->asker = (struct request_asker){.node = 5, .nonce = 7, .id = 99};
    reply_result(req, &result);
    assert_int_equal(seen.peer_replies, 1);
    assert_int_equal(seen.peer, 5);
    assert_int_equal(seen.peer_id, 99);
    assert_int_equal(seen.ends, 0);

    /* What the node gets is what the client would have got. */
    rpc_response_join(&seen.out, 77, kv_bytes(seen.tail, seen.tail_len));
    assert_int_equal(rpc_reply_decode(&decoder, buf_bytes(&seen.out), RPC_KV_PUT, &r),
                     0);
    assert_int_equal(r.rev, 9);
}

static void a_relayed_answer_keeps_the_clients_number_and_code(void **state)
{
    struct request *req = request(RPC_KV_PUT);
    struct rpc_reply r;

    (void)state;
    req->origin = REQ_FROM_PEER;
    reply_error(req, KV_ENOSPACE, "full");
    reply_tail(request(RPC_KV_PUT), kv_bytes(seen.tail, seen.tail_len));
    r = decode(RPC_KV_PUT);
    assert_int_equal(r.error, KV_ENOSPACE);
    assert_int_equal(seen.code, KV_ENOSPACE);
}

static void a_part_of_a_range_is_told_by_callback(void **state)
{
    struct request *req = request(RPC_KV_RANGE);
    struct reply_result result = {.at = at};

    (void)state;
    req->origin = REQ_FROM_INTERNAL;
    req->on_done = on_done;
    reply_result(req, &result);
    assert_int_equal(seen.internal, 1);
    assert_true(seen.tail_len > 0);
    assert_int_equal(seen.tail[0], 0xc0); /* No error. */
}

static void a_client_that_has_gone_costs_nothing(void **state)
{
    (void)state;
    seen.gone = true;
    reply_error(request(RPC_KV_GET), KV_ETIMEOUT, "too late");
    assert_int_equal(seen.ends, 1);
    assert_int_equal(seen.out.len, 0);
}

static void a_notification_gets_no_answer(void **state)
{
    struct request *req = request(RPC_KV_PUT);

    (void)state;
    req->rpc.type = RPC_NOTIFICATION;
    reply_error(req, KV_EBUSY, "x");
    assert_int_equal(seen.ends, 1);
    assert_int_equal(seen.out.len, 0);
}

/* A write that was done is not called undone because its reply has no room. */
static void a_reply_without_room_says_so(void **state)
{
    static const uint8_t value[4096];
    struct reply_result result = {.at = at, .found = true};
    struct rpc_reply r;

    (void)state;
    buf_close(&seen.out);
    buf_init(&seen.out, 512);
    result.value = kv_bytes(value, sizeof value);
    reply_result(request(RPC_KV_GET), &result);
    r = decode(RPC_KV_GET);
    assert_int_equal(r.error, KV_EBUSY);

    buf_reset(&seen.out);
    seen.ends = 0;
    result.has_value = true;
    reply_result(request(RPC_KV_CAS), &result);
    r = decode(RPC_KV_CAS);
    assert_int_equal(r.error, KV_EUNKNOWN);
}

/* A write that was refused is not called unknown either. */
static void a_refusal_without_room_stays_one(void **state)
{
    static const struct {
        int error, said;
    } rows[] = {{KV_ECROSSSLOT, KV_EBUSY}, {KV_EUNKNOWN, KV_EUNKNOWN}};
    char text[200];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        struct rpc_reply r;

        buf_close(&seen.out);
        buf_init(&seen.out, 128);
        seen.ends = 0;
        reply_error(request(RPC_KV_PUT), rows[i].error, "%s", text);
        r = decode(RPC_KV_PUT);
        assert_int_equal(r.error, rows[i].said);
    }
}

/* With its old token a client would not see again what the answer says. */
static void an_answer_whose_token_has_no_room_is_none(void **state)
{
    static const struct {
        enum rpc_method method;
        int error;
    } rows[] = {{RPC_KV_GET, KV_EBUSY}, {RPC_KV_PUT, KV_EUNKNOWN}};

    (void)state;
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        struct reply_result result = {.at = at, .found = true, .rev = 9};
        struct request *req = request(rows[i].method);
        struct rpc_reply r;

        req->rpc.options.has |= RPC_OPT_BIT(RPC_OPT_token);
        while (arena_alloc(&req->arena, 64) != NULL) {
        }
        while (arena_alloc(&req->arena, 1) != NULL) {
        }
        buf_reset(&seen.out);
        seen.ends = 0;
        reply_result(req, &result);
        r = decode(rows[i].method);
        assert_int_equal(r.error, rows[i].error);
    }
}

int main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_error_carries_its_word_and_text),
        CASE(each_method_gets_its_own_fields),
        CASE(a_range_lists_its_rows),
        CASE(a_forwarded_request_is_answered_to_its_node),
        CASE(a_relayed_answer_keeps_the_clients_number_and_code),
        CASE(a_part_of_a_range_is_told_by_callback),
        CASE(a_client_that_has_gone_costs_nothing),
        CASE(a_notification_gets_no_answer),
        CASE(a_reply_without_room_says_so),
        CASE(a_refusal_without_room_stays_one),
        CASE(an_answer_whose_token_has_no_room_is_none),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/reply", tests, NULL, NULL);
}
