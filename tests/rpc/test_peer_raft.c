/* tests/rpc/test_peer_raft.c - Raft messages on the wire and back. */
#include "tests/rpc/rpc_test.h"

#include "raft/base/err.h"
#include "raft/record.h"
#include "rpc/pack.h"
#include "rpc/peer.h"

enum {
    ENTRIES_TRIED = 16
};

struct fixture {
    struct buf b;
    struct rpc_decoder decoder;
    struct arena arena;
    struct peer_raft *got;
    uint32_t count;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    buf_init(&f->b, KV_PEER_BODY_BYTES_MAX);
    assert_int_equal(rpc_decoder_init(&f->decoder), 0);
    arena_init(&f->arena, 64 * 1024, 8 << 20);
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

static int decode(struct fixture *f)
{
    arena_reset(&f->arena);
    return peer_raft_decode(&f->decoder, buf_bytes(&f->b), &f->arena, &f->got,
                            &f->count);
}

/* One message through the wire; f->got then has it. */
static void pass(struct fixture *f, const struct peer_raft *m)
{
    buf_reset(&f->b);
    peer_raft_begin(&f->b, 1);
    peer_raft_encode(&f->b, m);
    assert_int_equal(f->b.error, 0);
    assert_int_equal(decode(f), 0);
    assert_int_equal(f->count, 1);
}

static struct peer_raft message(enum raft_msg_type type)
{
    return (struct peer_raft){.group = 7,
                              .msg = {.type = type, .from = 1, .to = 2, .term = 3}};
}

/* Entries 11..11+count-1 as records in memory of the caller. */
struct records {
    uint8_t bytes[ENTRIES_TRIED][400];
    struct kv_bytes views[ENTRIES_TRIED];
    struct raft_entry entries[ENTRIES_TRIED];
};

static void make_records(struct records *r, uint32_t count, size_t payload_bytes)
{
    static uint8_t payload[400];

    for (uint32_t i = 0; i < count; i++) {
        r->entries[i] =
            (struct raft_entry){.pos = {11 + i, 2},
                                .type = RAFT_ENTRY_COMMAND,
                                .time_ms = 1000 + i,
                                .hash = 77 + i,
                                .payload = kv_bytes(payload, payload_bytes)};
        raft_record_encode(&r->entries[i], r->bytes[i]);
        r->views[i] = kv_bytes(r->bytes[i], raft_record_bytes(payload_bytes));
    }
}

/* Each field with a value of its own, so that mixing two up is noticed. */
static void every_field_comes_back_in_its_place(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_APPEND_REPLY);
    const struct raft_msg *got;

    m.msg.last = (struct raft_pos){101, 102};
    m.msg.prev = (struct raft_pos){103, 104};
    m.msg.prev_hash = 105;
    m.msg.commit = 106;
    m.msg.round = 107;
    m.msg.match = 108;
    m.msg.hash = UINT64_MAX;
    m.msg.conflict = (struct raft_pos){109, 110};
    m.msg.stamp = 111;
    m.msg.fresh = 112;
    m.msg.granted = true;
    m.msg.transfer = true;
    pass(f, &m);
    got = &f->got[0].msg;
    assert_int_equal(f->got[0].group, 7);
    assert_int_equal(got->type, RAFT_MSG_APPEND_REPLY);
    assert_int_equal(got->from, 1);
    assert_int_equal(got->to, 2);
    assert_int_equal(got->term, 3);
    assert_int_equal(got->last.index, 101);
    assert_int_equal(got->last.term, 102);
    assert_int_equal(got->prev.index, 103);
    assert_int_equal(got->prev.term, 104);
    assert_int_equal(got->prev_hash, 105);
    assert_int_equal(got->commit, 106);
    assert_int_equal(got->round, 107);
    assert_int_equal(got->match, 108);
    assert_true(got->hash == UINT64_MAX);
    assert_int_equal(got->conflict.index, 109);
    assert_int_equal(got->conflict.term, 110);
    assert_int_equal(got->stamp, 111);
    assert_int_equal(got->fresh, 112);
    assert_true(got->granted && got->transfer);
    assert_false(got->rejected || got->hint);
    assert_int_equal(got->entries_count, 0);

    m.msg.granted = m.msg.transfer = false;
    m.msg.rejected = m.msg.hint = true;
    pass(f, &m);
    got = &f->got[0].msg;
    assert_true(got->rejected && got->hint);
    assert_false(got->granted || got->transfer);
}

static void every_type_passes_with_nothing_but_a_head(void **state)
{
    struct fixture *f = *state;

    for (int type = RAFT_MSG_NONE + 1; type < RAFT_MSG_TYPES_COUNT; type++) {
        struct peer_raft m = message((enum raft_msg_type)type);

        m.msg.snapshot.config = (struct raft_config){.voters_count = 1, .voters = {1}};
        pass(f, &m);
        assert_int_equal(f->got[0].msg.type, type);
    }
}

static void a_heartbeat_is_small(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_HEARTBEAT);

    m.msg.commit = 1000;
    m.msg.round = 100000;
    pass(f, &m);
    assert_true(f->b.len <= 18);
}

static void appends_carry_records_and_bring_views(void **state)
{
    struct fixture *f = *state;
    struct records r;
    struct peer_raft m = message(RAFT_MSG_APPEND);

    make_records(&r, ENTRIES_TRIED, 300);
    m.msg.prev = (struct raft_pos){10, 2};
    m.msg.entries_count = ENTRIES_TRIED;
    m.records = r.views;
    pass(f, &m);
    assert_int_equal(f->got[0].msg.entries_count, ENTRIES_TRIED);
    for (uint32_t i = 0; i < ENTRIES_TRIED; i++) {
        const struct raft_entry *e = &f->got[0].msg.entries[i];

        assert_int_equal(e->pos.index, 11 + i);
        assert_int_equal(e->pos.term, 2);
        assert_int_equal(e->hash, 77 + i);
        assert_int_equal(e->time_ms, 1000 + i);
        assert_int_equal(e->type, RAFT_ENTRY_COMMAND);
        test_assert_bytes(e->payload, r.entries[i].payload);
        assert_in_range((uintptr_t)e->payload.data, (uintptr_t)f->b.data,
                        (uintptr_t)f->b.data + f->b.len);
    }
}

static void refuses_entries_with_gaps_or_damage(void **state)
{
    struct fixture *f = *state;
    struct records r;
    struct peer_raft m = message(RAFT_MSG_APPEND);

    make_records(&r, 3, 10);
    m.msg.prev = (struct raft_pos){10, 2};
    m.msg.entries_count = 3;
    m.records = r.views;
    pass(f, &m);

    m.msg.prev.index = 9;
    buf_reset(&f->b);
    peer_raft_begin(&f->b, 1);
    peer_raft_encode(&f->b, &m);
    assert_int_equal(decode(f), KV_EPROTO);

    m.msg.prev.index = 10;
    r.views[1] = r.views[2];
    buf_reset(&f->b);
    peer_raft_begin(&f->b, 1);
    peer_raft_encode(&f->b, &m);
    assert_int_equal(decode(f), KV_EPROTO);

    make_records(&r, 3, 10);
    r.bytes[1][50] ^= 1;
    buf_reset(&f->b);
    peer_raft_begin(&f->b, 1);
    peer_raft_encode(&f->b, &m);
    assert_int_equal(decode(f), KV_EPROTO);
}

static void snapshots_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_SNAPSHOT);
    struct raft_snapshot *s = &m.msg.snapshot;
    struct raft_chunk *c = &m.msg.chunk;
    const struct raft_msg *got;

    *s = (struct raft_snapshot){
        .id = 1,
        .last = {.pos = {2, 3}, .hash = 4, .time_ms = 5},
        .state_hash = 6,
        .bytes = 7,
        .config = {.voters_count = 3,
                   .voters = {1, 2, 3},
                   .w = 2,
                   .learners_count = 1,
                   .learners = {9}},
        .config_index = 8,
    };
    *c = (struct raft_chunk){.snapshot_id = 1,
                             .offset = 1000,
                             .len = 5,
                             .done = true,
                             .data = kv_bytes_str("bytes")};
    pass(f, &m);
    got = &f->got[0].msg;
    assert_int_equal(got->snapshot.id, 1);
    assert_int_equal(got->snapshot.last.pos.index, 2);
    assert_int_equal(got->snapshot.last.pos.term, 3);
    assert_int_equal(got->snapshot.last.hash, 4);
    assert_int_equal(got->snapshot.last.time_ms, 5);
    assert_int_equal(got->snapshot.state_hash, 6);
    assert_int_equal(got->snapshot.bytes, 7);
    assert_int_equal(got->snapshot.config_index, 8);
    assert_memory_equal(&got->snapshot.config, &s->config, sizeof s->config);
    assert_int_equal(got->chunk.snapshot_id, 1);
    assert_int_equal(got->chunk.offset, 1000);
    assert_int_equal(got->chunk.len, 5);
    assert_true(got->chunk.done);
    test_assert_text(got->chunk.data, "bytes");
}

static void snapshot_replies_say_how_far_they_got(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_SNAPSHOT_REPLY);

    m.msg.chunk = (struct raft_chunk){.snapshot_id = 9, .offset = 4096, .done = true};
    m.msg.rejected = true;
    pass(f, &m);
    assert_int_equal(f->got[0].msg.chunk.snapshot_id, 9);
    assert_int_equal(f->got[0].msg.chunk.offset, 4096);
    assert_true(f->got[0].msg.chunk.done);
    assert_true(f->got[0].msg.rejected);
}

static void a_frame_carries_messages_of_many_groups(void **state)
{
    struct fixture *f = *state;

    peer_raft_begin(&f->b, KV_PEER_MSGS_MAX);
    for (uint32_t i = 0; i < KV_PEER_MSGS_MAX; i++) {
        struct peer_raft m = message(RAFT_MSG_HEARTBEAT);

        m.group = i;
        m.msg.round = UINT64_MAX;
        m.msg.commit = UINT64_MAX;
        peer_raft_encode(&f->b, &m);
    }
    assert_int_equal(decode(f), 0);
    assert_int_equal(f->count, KV_PEER_MSGS_MAX);
    for (uint32_t i = 0; i < f->count; i++) {
        assert_int_equal(f->got[i].group, i);
    }
}

static void refuses_more_messages_than_a_frame_may_have(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_HEARTBEAT);

    pack_array(&f->b, KV_PEER_MSGS_MAX + 1);
    for (uint32_t i = 0; i <= KV_PEER_MSGS_MAX; i++) {
        peer_raft_encode(&f->b, &m);
    }
    assert_int_equal(decode(f), KV_ETOOLARGE);
}

static void refuses_more_entries_than_a_frame_may_have(void **state)
{
    enum {
        PER_MESSAGE = KV_APPEND_ENTRIES_MAX,
        MESSAGES = KV_PEER_ENTRIES_MAX / PER_MESSAGE
    };
    static uint8_t bytes[PER_MESSAGE][RAFT_RECORD_HEAD_BYTES];
    static struct kv_bytes views[PER_MESSAGE];
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_APPEND);

    for (uint32_t i = 0; i < PER_MESSAGE; i++) {
        struct raft_entry e = {.pos = {1 + i, 1}, .type = RAFT_ENTRY_NOOP};

        raft_record_encode(&e, bytes[i]);
        views[i] = kv_bytes(bytes[i], sizeof bytes[i]);
    }
    m.msg.entries_count = PER_MESSAGE;
    m.records = views;
    for (uint32_t more = 0; more < 2; more++) {
        buf_reset(&f->b);
        peer_raft_begin(&f->b, MESSAGES + more);
        for (uint32_t i = 0; i < MESSAGES + more; i++) {
            peer_raft_encode(&f->b, &m);
        }
        assert_int_equal(decode(f), more == 0 ? 0 : KV_ETOOLARGE);
    }
    buf_reset(&f->b);
    pack_array(&f->b, 1);
    pack_array(&f->b, 7);
    for (int i = 0; i < 5; i++) {
        pack_uint(&f->b, i == 1 ? RAFT_MSG_APPEND : 1);
    }
    pack_uint(&f->b, 1u << 8);
    pack_array(&f->b, PER_MESSAGE + 1);
    for (uint32_t i = 0; i <= PER_MESSAGE; i++) {
        pack_bin(&f->b, views[0]);
    }
    assert_int_equal(decode(f), KV_ETOOLARGE);
}

/* A head of the given numbers and `rest` nils behind it. */
static void raw(struct fixture *f, const uint64_t head[6], uint32_t rest)
{
    buf_reset(&f->b);
    pack_array(&f->b, 1);
    pack_array(&f->b, 6 + rest);
    for (int i = 0; i < 6; i++) {
        pack_uint(&f->b, head[i]);
    }
    for (uint32_t i = 0; i < rest; i++) {
        pack_nil(&f->b);
    }
}

static void refuses_heads_that_no_peer_sends(void **state)
{
    struct fixture *f = *state;
    static const uint64_t good[6] = {1, RAFT_MSG_VOTE, 1, 2, 3, 0};
    static const struct {
        int at;
        uint64_t value;
    } bad[] = {{0, 1ull << 32}, {1, 0},          {1, RAFT_MSG_TYPES_COUNT}, {2, 0},
               {3, 0},          {2, 1ull << 32}, {5, 1ull << 16},           {5, 1},
               {5, 1u << 9},    {5, 1u << 15}};

    raw(f, good, 0);
    assert_int_equal(decode(f), 0);
    raw(f, good, 1);
    assert_int_equal(decode(f), KV_EPROTO);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t head[6];

        memcpy(head, good, sizeof head);
        head[bad[i].at] = bad[i].value;
        raw(f, head, 0);
        assert_int_equal(decode(f), KV_EPROTO);
    }
    /* Entries in a vote; a snapshot without its fields. */
    raw(f, (const uint64_t[6]){1, RAFT_MSG_VOTE, 1, 2, 3, 1u << 8}, 1);
    assert_int_equal(decode(f), KV_EPROTO);
    raw(f, (const uint64_t[6]){1, RAFT_MSG_SNAPSHOT, 1, 2, 3, 0}, 0);
    assert_int_equal(decode(f), KV_EPROTO);
    raw(f, (const uint64_t[6]){1, RAFT_MSG_SNAPSHOT, 1, 2, 3, 1u << 9}, 1);
    assert_int_equal(decode(f), KV_EPROTO);
}

static void stops_where_the_arena_ends(void **state)
{
    struct fixture *f = *state;
    struct peer_raft m = message(RAFT_MSG_HEARTBEAT);
    struct arena tiny;

    peer_raft_begin(&f->b, 10);
    for (int i = 0; i < 10; i++) {
        peer_raft_encode(&f->b, &m);
    }
    arena_init(&tiny, 64, 64);
    assert_int_equal(
        peer_raft_decode(&f->decoder, buf_bytes(&f->b), &tiny, &f->got, &f->count),
        KV_ENOMEM);
    arena_close(&tiny);
}

static struct raft_pos random_pos(struct prng *p)
{
    return (struct raft_pos){test_random_u64(p), test_random_u64(p)};
}

static void assert_same(const struct raft_msg *a, const struct raft_msg *b)
{
    assert_int_equal(a->type, b->type);
    assert_true(a->from == b->from && a->to == b->to && a->term == b->term);
    assert_memory_equal(&a->last, &b->last, sizeof a->last);
    assert_memory_equal(&a->prev, &b->prev, sizeof a->prev);
    assert_memory_equal(&a->conflict, &b->conflict, sizeof a->conflict);
    assert_int_equal(a->stamp, b->stamp);
    assert_int_equal(a->fresh, b->fresh);
    assert_true(a->prev_hash == b->prev_hash && a->commit == b->commit);
    assert_true(a->round == b->round && a->match == b->match && a->hash == b->hash);
    assert_true(a->granted == b->granted && a->rejected == b->rejected);
    assert_true(a->transfer == b->transfer && a->hint == b->hint);
}

static void every_random_message_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct prng p;

    test_seed(&p, 8);
    for (int round = 0; round < 20000; round++) {
        struct peer_raft m =
            message((enum raft_msg_type)prng_between(&p, 1, RAFT_MSG_HEARTBEAT_REPLY));

        m.group = (uint32_t)test_random_u64(&p);
        m.msg.from = 1 + (uint32_t)prng_below(&p, UINT32_MAX);
        m.msg.to = 1 + (uint32_t)prng_below(&p, UINT32_MAX);
        m.msg.term = test_random_u64(&p);
        m.msg.last = prng_below(&p, 2) ? random_pos(&p) : m.msg.last;
        m.msg.prev = prng_below(&p, 2) ? random_pos(&p) : m.msg.prev;
        m.msg.conflict = prng_below(&p, 2) ? random_pos(&p) : m.msg.conflict;
        m.msg.stamp = prng_below(&p, 2) ? prng_next(&p) : 0;
        m.msg.fresh = prng_below(&p, 2) ? prng_next(&p) : 0;
        m.msg.prev_hash = prng_below(&p, 2) ? prng_next(&p) : 0;
        m.msg.commit = prng_below(&p, 2) ? test_random_u64(&p) : 0;
        m.msg.round = prng_below(&p, 2) ? test_random_u64(&p) : 0;
        m.msg.match = prng_below(&p, 2) ? test_random_u64(&p) : 0;
        m.msg.hash = prng_below(&p, 2) ? prng_next(&p) : 0;
        m.msg.granted = prng_below(&p, 2) == 0;
        m.msg.rejected = prng_below(&p, 2) == 0;
        m.msg.transfer = prng_below(&p, 2) == 0;
        m.msg.hint = prng_below(&p, 2) == 0;
        pass(f, &m);
        assert_int_equal(f->got[0].group, m.group);
        assert_same(&f->got[0].msg, &m.msg);
    }
}

/* Flipped bits and cuts behind the frame's CRC: a verdict, never a crash. */
static void every_mutated_body_gets_a_verdict(void **state)
{
    struct fixture *f = *state;
    struct records r;
    uint32_t accepted = 0;
    uint32_t refused = 0;
    struct prng p;

    test_seed(&p, 9);
    make_records(&r, 3, 5);
    for (int round = 0; round < 20000; round++) {
        struct peer_raft m =
            message(prng_below(&p, 2) ? RAFT_MSG_APPEND : RAFT_MSG_SNAPSHOT);
        struct kv_bytes body;
        uint8_t *copy;
        int rc;

        m.msg.prev = (struct raft_pos){10, 2};
        m.msg.snapshot.config = (struct raft_config){.voters_count = 1, .voters = {1}};
        m.msg.entries_count = m.msg.type == RAFT_MSG_APPEND ? 3 : 0;
        m.records = r.views;
        buf_reset(&f->b);
        peer_raft_begin(&f->b, 2);
        peer_raft_encode(&f->b, &m);
        m.msg.entries_count = 0;
        peer_raft_encode(&f->b, &m);
        for (uint64_t n = 1 + prng_below(&p, 3); n > 0; n--) {
            f->b.data[prng_below(&p, f->b.len)] ^= (uint8_t)(1 << prng_below(&p, 8));
        }
        body = kv_bytes(f->b.data, f->b.len - (prng_below(&p, 8) == 0));
        copy = test_copy(body.data, body.len);
        arena_reset(&f->arena);
        rc = peer_raft_decode(&f->decoder, kv_bytes(copy, body.len), &f->arena, &f->got,
                              &f->count);
        accepted += rc == 0;
        refused += rc != 0;
        free(copy);
    }
    assert_true(accepted > 100 && refused > 100);
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    TEST(every_field_comes_back_in_its_place),
    TEST(every_type_passes_with_nothing_but_a_head),
    TEST(a_heartbeat_is_small),
    TEST(appends_carry_records_and_bring_views),
    TEST(refuses_entries_with_gaps_or_damage),
    TEST(snapshots_come_back_as_they_were),
    TEST(snapshot_replies_say_how_far_they_got),
    TEST(a_frame_carries_messages_of_many_groups),
    TEST(refuses_more_messages_than_a_frame_may_have),
    TEST(refuses_more_entries_than_a_frame_may_have),
    TEST(refuses_heads_that_no_peer_sends),
    TEST(stops_where_the_arena_ends),
    TEST(every_random_message_comes_back_as_it_was),
    TEST(every_mutated_body_gets_a_verdict),
};

TEST_MAIN("rpc/peer_raft", tests)
