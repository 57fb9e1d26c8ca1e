/* tests/rpc/test_peer.c - frames and the bodies that are not Raft's. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "rpc/pack.h"
#include "rpc/peer.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static const struct peer_head head = {.kind = PEER_FORWARD,
                                      .flags = 0x0102,
                                      .cluster = 0x1112131415161718u,
                                      .from = 1,
                                      .to = 2,
                                      .boot_nonce = 0x2122232425262728u,
                                      .incarnation = 0x3132333435363738u};

struct fixture {
    struct buf b;
    struct rpc_decoder decoder;
    struct arena arena;
    struct peer_frame frame;
    size_t need;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    buf_init(&f->b, 2 * PEER_FRAME_BYTES_MAX);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    arena_init(&f->arena, 64 * 1024, 4 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    buf_close(&f->b);
    rpc_decoder_close(&f->decoder);
    arena_close(&f->arena);
    free(f);
    return 0;
}

/* Puts one frame with this body into the buffer. */
static void frame_of(struct fixture *f, struct kv_bytes body)
{
    size_t mark = peer_frame_begin(&f->b, &head);

    buf_append_bytes(&f->b, body);
    assert_int_equal(peer_frame_end(&f->b, mark), 0);
}

static void a_frame_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;

    frame_of(f, BYTES("body"));
    assert_int_equal(f->b.len, PEER_HEAD_BYTES + 4);
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need), 0);
    assert_int_equal(f->frame.head.kind, head.kind);
    assert_int_equal(f->frame.head.flags, head.flags);
    assert_true(f->frame.head.cluster == head.cluster);
    assert_int_equal(f->frame.head.from, head.from);
    assert_int_equal(f->frame.head.to, head.to);
    assert_true(f->frame.head.boot_nonce == head.boot_nonce);
    assert_true(f->frame.head.incarnation == head.incarnation);
    test_assert_text(f->frame.body, "body");
    assert_int_equal(f->frame.frame_bytes, f->b.len);
}

/* The layout is a promise to other versions. */
static void has_the_documented_layout(void **state)
{
    static const uint8_t want[] = {
        'K',  'V',  'P',  '1',  1,    3,    2,    1,    4,    0,    0,    0,    0xa6,
        0x40, 0x18, 0x22, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 1,    0,
        0,    0,    2,    0,    0,    0,    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22,
        0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 'b',  'o',  'd',  'y'};
    struct fixture *f = *state;

    frame_of(f, BYTES("body"));
    assert_int_equal(f->b.len, sizeof want);
    assert_memory_equal(f->b.data, want, sizeof want);
}

static void frames_stand_one_behind_the_other(void **state)
{
    struct fixture *f = *state;
    size_t at = 0;

    frame_of(f, BYTES("one"));
    frame_of(f, BYTES(""));
    frame_of(f, BYTES("three"));
    for (int i = 0; i < 3; i++) {
        static const char *const bodies[] = {"one", "", "three"};

        assert_int_equal(
            peer_frame_decode(f->b.data + at, f->b.len - at, &f->frame, &f->need), 0);
        test_assert_text(f->frame.body, bodies[i]);
        at += f->frame.frame_bytes;
    }
    assert_int_equal(at, f->b.len);
}

static void asks_for_the_bytes_that_are_missing(void **state)
{
    struct fixture *f = *state;

    frame_of(f, BYTES("some body"));
    for (size_t cut = 0; cut < f->b.len; cut++) {
        uint8_t *copy = test_copy(f->b.data, cut);

        assert_int_equal(peer_frame_decode(copy, cut, &f->frame, &f->need), KV_EAGAIN);
        assert_int_equal(f->need, cut < PEER_HEAD_BYTES ? PEER_HEAD_BYTES : f->b.len);
        free(copy);
    }
}

/* A changed bit anywhere is noticed, or (in the length) leaves the frame incomplete. */
static void notices_every_single_flipped_bit(void **state)
{
    struct fixture *f = *state;

    frame_of(f, BYTES("some body"));
    for (size_t bit = 0; bit < 8 * f->b.len; bit++) {
        uint8_t *copy = test_copy(f->b.data, f->b.len);
        int rc;

        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        rc = peer_frame_decode(copy, f->b.len, &f->frame, &f->need);
        assert_int_not_equal(rc, 0);
        if (rc == KV_EAGAIN) {
            assert_in_range(bit / 8, 8, 11);
        }
        free(copy);
    }
}

static void judges_the_length_before_it_waits_for_the_body(void **state)
{
    struct fixture *f = *state;

    frame_of(f, BYTES(""));
    kv_put_u32le(f->b.data + 8, KV_PEER_BODY_BYTES_MAX);
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_EAGAIN);
    assert_int_equal(f->need, PEER_FRAME_BYTES_MAX);
    kv_put_u32le(f->b.data + 8, KV_PEER_BODY_BYTES_MAX + 1);
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_ETOOLARGE);
    kv_put_u32le(f->b.data + 8, UINT32_MAX);
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_ETOOLARGE);
}

static void sends_strangers_away(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        peer_frame_decode((const uint8_t *)"GET / HTTP/1.1", 14, &f->frame, &f->need),
        KV_EPROTO);
    assert_int_equal(
        peer_frame_decode((const uint8_t *)"\x94\0\1\xa5", 4, &f->frame, &f->need),
        KV_EPROTO);
    frame_of(f, BYTES(""));
    f->b.data[4] = PEER_VERSION + 1;
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_EFORMAT);
    f->b.data[4] = PEER_VERSION;
    f->b.data[5] = 0;
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_EPROTO);
    f->b.data[5] = PEER_KINDS_END;
    assert_int_equal(peer_frame_decode(f->b.data, f->b.len, &f->frame, &f->need),
                     KV_EPROTO);
}

static void takes_a_frame_that_grew_too_large_out_again(void **state)
{
    static uint8_t large[KV_PEER_BODY_BYTES_MAX + 1];
    struct fixture *f = *state;
    size_t mark;

    frame_of(f, BYTES("kept"));
    mark = peer_frame_begin(&f->b, &head);
    buf_append(&f->b, large, sizeof large);
    assert_int_equal(peer_frame_end(&f->b, mark), KV_ETOOLARGE);
    assert_int_equal(f->b.len, PEER_HEAD_BYTES + 4);

    mark = peer_frame_begin(&f->b, &head);
    buf_append(&f->b, large, KV_PEER_BODY_BYTES_MAX);
    assert_int_equal(peer_frame_end(&f->b, mark), 0);
    f->b.len = mark;

    mark = peer_frame_begin(&f->b, &head);
    buf_append(&f->b, large, sizeof large);
    buf_append(&f->b, large, sizeof large);
    assert_int_equal(peer_frame_end(&f->b, mark), KV_ENOMEM);
    assert_int_equal(f->b.len, PEER_HEAD_BYTES + 4);
    assert_int_equal(f->b.error, 0);
}

/* ---- bodies ---- */

static void hello_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct peer_hello hello = {.host = "node-1.example",
                               .client_port = 7410,
                               .peer_port = 65535,
                               .http_port = 0,
                               .zone = "",
                               .features = UINT64_MAX};
    struct peer_hello got = {.client_port = 9};

    peer_hello_encode(&f->b, &hello);
    assert_int_equal(peer_hello_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_string_equal(got.host, hello.host);
    assert_string_equal(got.zone, "");
    assert_int_equal(got.client_port, 7410);
    assert_int_equal(got.peer_port, 65535);
    assert_true(got.features == UINT64_MAX);

    hello.host[0] = '\n';
    buf_reset(&f->b);
    peer_hello_encode(&f->b, &hello);
    assert_int_equal(peer_hello_decode(&f->decoder, buf_bytes(&f->b), &got), KV_EPROTO);
}

static void forwards_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct peer_forward forward = {.id = UINT64_MAX,
                                   .deadline_ms = 4000,
                                   .request = BYTES("\x94\0\1\xa5hello\x90")};
    struct peer_forward_reply reply = {.id = 9, .tail = BYTES("\xc0\x80")};
    struct peer_forward got;
    struct peer_forward_reply got_reply;

    peer_forward_encode(&f->b, &forward);
    assert_int_equal(peer_forward_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_true(got.id == UINT64_MAX);
    assert_int_equal(got.deadline_ms, 4000);
    test_assert_bytes(got.request, forward.request);

    buf_reset(&f->b);
    forward.deadline_ms = 0;
    peer_forward_encode(&f->b, &forward);
    assert_int_equal(peer_forward_decode(&f->decoder, buf_bytes(&f->b), &got),
                     KV_EPROTO);

    buf_reset(&f->b);
    peer_forward_reply_encode(&f->b, &reply);
    assert_int_equal(
        peer_forward_reply_decode(&f->decoder, buf_bytes(&f->b), &got_reply), 0);
    assert_int_equal(got_reply.id, 9);
    test_assert_bytes(got_reply.tail, reply.tail);
}

static void refuses_forwards_of_more_than_a_request(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = calloc(1, KV_RESPONSE_BYTES_MAX + 1);
    struct peer_forward forward = {
        .id = 1, .deadline_ms = 1, .request = {large, KV_REQUEST_BYTES_MAX}};
    struct peer_forward_reply reply = {.id = 1,
                                       .tail = {large, KV_RESPONSE_BYTES_MAX + 1}};

    assert_non_null(large);
    peer_forward_encode(&f->b, &forward);
    assert_int_equal(peer_forward_decode(&f->decoder, buf_bytes(&f->b), &forward), 0);
    forward.request = kv_bytes(large, KV_REQUEST_BYTES_MAX + 1);
    buf_reset(&f->b);
    peer_forward_encode(&f->b, &forward);
    assert_int_equal(peer_forward_decode(&f->decoder, buf_bytes(&f->b), &forward),
                     KV_ETOOLARGE);
    buf_reset(&f->b);
    peer_forward_reply_encode(&f->b, &reply);
    assert_int_equal(peer_forward_reply_decode(&f->decoder, buf_bytes(&f->b), &reply),
                     KV_ETOOLARGE);
    free(large);
}

/* What a peer says goes on to clients and into decoders. */
static void refuses_tails_that_are_no_tail(void **state)
{
    static const struct {
        const char *tail;
        size_t len;
        int want;
    } rows[] = {{"\xc0\x80", 2, 0},
                {"\xa4"
                 "BUSY"
                 "\xc0",
                 6, 0},
                {"", 0, KV_EPROTO},
                {"\xc0", 1, KV_EPROTO},
                {"\xc0\x81\xa1k", 4, KV_EPROTO},
                {"\xc0\x80\xc0", 3, KV_EPROTO},
                {"\xc0\xc1", 2, KV_EPROTO},
                {"\xc0\xdd\xff\xff\xff\xff", 6, KV_ETOOLARGE}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer_forward_reply reply = {.id = 1,
                                           .tail = kv_bytes(rows[i].tail, rows[i].len)};

        buf_reset(&f->b);
        peer_forward_reply_encode(&f->b, &reply);
        assert_int_equal(
            peer_forward_reply_decode(&f->decoder, buf_bytes(&f->b), &reply),
            rows[i].want);
    }
}

static void fetches_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct peer_fetch fetch = {.id = 1, .group = 2, .index = 3, .hash = UINT64_MAX};
    struct peer_fetch got;

    peer_fetch_encode(&f->b, &fetch);
    assert_int_equal(peer_fetch_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_int_equal(got.group, 2);
    assert_int_equal(got.index, 3);
    assert_true(got.hash == UINT64_MAX);

    buf_reset(&f->b);
    peer_fetch_reply_encode(&f->b, &fetch);
    assert_int_equal(peer_fetch_reply_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_false(got.found);

    fetch.found = true;
    fetch.record = BYTES("record");
    buf_reset(&f->b);
    peer_fetch_reply_encode(&f->b, &fetch);
    assert_int_equal(peer_fetch_reply_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_true(got.found);
    test_assert_text(got.record, "record");
}

static void quorum_asks_and_answers_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct peer_quorum_ask ask = {.id = 1, .group = 2, .goal = 3}, got_ask;
    struct peer_quorum_answer a = {.id = 1, .group = 2, .replica = 3}, got;

    ask.key = BYTES("key");
    peer_quorum_ask_encode(&f->b, &ask);
    assert_int_equal(peer_quorum_ask_decode(&f->decoder, buf_bytes(&f->b), &got_ask),
                     0);
    assert_int_equal(got_ask.goal, 3);
    test_assert_text(got_ask.key, "key");
    ask.key = kv_bytes(NULL, 0);
    buf_reset(&f->b);
    peer_quorum_ask_encode(&f->b, &ask);
    assert_int_equal(peer_quorum_ask_decode(&f->decoder, buf_bytes(&f->b), &got_ask),
                     KV_EPROTO);

    buf_reset(&f->b);
    peer_quorum_answer_encode(&f->b, &a);
    assert_int_equal(peer_quorum_answer_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_false(got.ok);
    assert_int_equal(got.replica, 3);
    a.ok = a.found = a.is_committed = true;
    a.applied = 10;
    a.pending = 11;
    a.term = 12;
    a.rev = 13;
    a.config_index = 14;
    a.before_index = 15;
    a.key_rev = 16;
    a.config = (struct raft_config){.voters_count = 2, .w = 2, .voters = {1, 3}};
    a.before = (struct raft_config){.voters_count = 1, .voters = {7}};
    a.value = BYTES("value");
    buf_reset(&f->b);
    peer_quorum_answer_encode(&f->b, &a);
    assert_int_equal(peer_quorum_answer_decode(&f->decoder, buf_bytes(&f->b), &got), 0);
    assert_true(got.ok && got.found && got.is_committed);
    assert_true(got.applied == 10 && got.pending == 11 && got.term == 12);
    assert_true(got.rev == 13 && got.config_index == 14 && got.before_index == 15);
    assert_int_equal(got.key_rev, 16);
    assert_memory_equal(&got.config, &a.config, sizeof a.config);
    assert_memory_equal(&got.before, &a.before, sizeof a.before);
    test_assert_text(got.value, "value");
}

static void states_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct peer_state states[3] = {
        {.group = 1, .leader = 2, .term = 3, .applied = 4},
        {.group = UINT32_MAX, .term = UINT64_MAX, .applied = UINT64_MAX},
        {0}};
    struct peer_state *got;
    uint32_t count;

    peer_state_encode(&f->b, states, 3);
    assert_int_equal(
        peer_state_decode(&f->decoder, buf_bytes(&f->b), &f->arena, &got, &count), 0);
    assert_int_equal(count, 3);
    assert_memory_equal(got, states, sizeof states);

    buf_reset(&f->b);
    pack_array(&f->b, KV_GROUPS_MAX + 1);
    for (int i = 0; i <= KV_GROUPS_MAX; i++) {
        pack_nil(&f->b);
    }
    assert_int_equal(
        peer_state_decode(&f->decoder, buf_bytes(&f->b), &f->arena, &got, &count),
        KV_ETOOLARGE);
}

static void bodies_of_wrong_shape_are_refused(void **state)
{
    static const char *const bad[] = {
        "\xdd\xff\xff\xff\xff", "\xc0",     "\x90", "\x91\x01",
        "\x94\xc0\xc0\xc0\xc0", "\x92\x01", "",     "\x96\x01\x01\x01\x01\x01\x01"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kv_bytes body = kv_bytes_str(bad[i]);
        struct peer_hello hello;
        struct peer_forward forward;
        struct peer_forward_reply reply;
        struct peer_fetch fetch;
        struct peer_state *states;
        uint32_t count;

        assert_int_not_equal(peer_hello_decode(&f->decoder, body, &hello), 0);
        assert_int_not_equal(peer_forward_decode(&f->decoder, body, &forward), 0);
        assert_int_not_equal(peer_forward_reply_decode(&f->decoder, body, &reply), 0);
        assert_int_not_equal(peer_fetch_decode(&f->decoder, body, &fetch), 0);
        assert_int_not_equal(peer_fetch_reply_decode(&f->decoder, body, &fetch), 0);
        if (i != 2) { /* an empty list of states is one */
            assert_int_not_equal(
                peer_state_decode(&f->decoder, body, &f->arena, &states, &count), 0);
        }
    }
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(a_frame_comes_back_as_it_was),
    TEST(has_the_documented_layout),
    TEST(frames_stand_one_behind_the_other),
    TEST(asks_for_the_bytes_that_are_missing),
    TEST(notices_every_single_flipped_bit),
    TEST(judges_the_length_before_it_waits_for_the_body),
    TEST(sends_strangers_away),
    TEST(takes_a_frame_that_grew_too_large_out_again),
    TEST(hello_comes_back_as_it_was),
    TEST(forwards_come_back_as_they_were),
    TEST(refuses_forwards_of_more_than_a_request),
    TEST(refuses_tails_that_are_no_tail),
    TEST(fetches_come_back_as_they_were),
    TEST(quorum_asks_and_answers_come_back_as_they_were),
    TEST(states_come_back_as_they_were),
    TEST(bodies_of_wrong_shape_are_refused),
};

TEST_MAIN("rpc/peer", tests)
