/* tests/rpc/test_fuzz_seeds.c - the inputs that the fuzzers of rpc/ begin with.
 *
 * Each seed is made by the encoders, must be accepted by its decoder, and must lie in
 * tests/fuzz/corpus/<fuzzer>/ as it is made here: formats that change take their seeds
 * along. KV_WRITE_SEEDS=1 writes the files (from the root of the tree).
 */
#include "tests/rpc/rpc_test.h"

#include "raft/record.h"
#include "rpc/map.h"
#include "rpc/msg.h"
#include "rpc/pack.h"
#include "rpc/peer.h"
#include "rpc/scan.h"

#define BYTES(text) kv_bytes((text), sizeof(text) - 1)

static void check_file(const char *path, struct kv_bytes want)
{
    static uint8_t data[64 * 1024];
    FILE *file;
    size_t len;

    if (getenv("KV_WRITE_SEEDS") != NULL) {
        file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(want.data, 1, want.len, file), want.len);
        assert_int_equal(fclose(file), 0);
    }
    file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s is missing: run this test with KV_WRITE_SEEDS=1", path);
    }
    len = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    test_assert_bytes(kv_bytes(data, len), want);
}

/* A seed whose first byte is the fuzzer's own choice; none for choice < 0. */
static void seed(const char *fuzzer, const char *name, int choice,
                 struct kv_bytes bytes)
{
    char path[200];
    struct buf b;

    (void)snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%s", fuzzer, name);
    buf_init(&b, 64 * 1024);
    if (choice >= 0) {
        uint8_t first = (uint8_t)choice;

        buf_append(&b, &first, 1);
    }
    buf_append_bytes(&b, bytes);
    assert_int_equal(b.error, 0);
    check_file(path, buf_bytes(&b));
    buf_close(&b);
}

static void seed_buf(const char *fuzzer, const char *name, int choice, struct buf *b)
{
    assert_int_equal(b->error, 0);
    seed(fuzzer, name, choice, buf_bytes(b));
    buf_reset(b);
}

static void scan_seeds(void **state)
{
    (void)state;
    seed("scan", "array_bomb", 1, BYTES("\xdd\xff\xff\xff\xff"));
    seed("scan", "map_bomb", 2, BYTES("\xdf\x07\xff\xff\xff"));
    seed("scan", "str_bomb", 3, BYTES("\xdb\xff\xff\xff\xff"));
    seed("scan", "nested", 3, BYTES("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90"));
    seed("scan", "nested_counts", 4, BYTES("\xdc\0\x20\xdc\0\x20\xdc\0\x20"));
    seed("scan", "request", 5, BYTES("\x94\x00\x01\xa6kv.get\x91\xc4\x01k"));
    seed("scan", "pipelined", 9, BYTES("\x94\x00\x01\xa1m\x90\x94\x00\x02\xa1m\x90"));
    seed("scan", "all_types", 12,
         BYTES("\xdc\0\x10\xc0\xc2\xc3\x7f\xe0\xcc\1\xcd\0\1"
               "\xce\0\0\0\1\xcf\0\0\0\0\0\0\0\1"
               "\xd0\1\xd3\0\0\0\0\0\0\0\1\xca\0\0\0\0\xcb\0\0\0\0\0\0\0\0\xa1x\xd9\1x"
               "\x81\xc4\1k\xde\0\1\1\2"));
}

static void request_seed(const char *name, struct rpc_request *q, struct buf *b)
{
    struct rpc_decoder decoder;
    struct rpc_request got;
    struct rpc_error error;

    rpc_request_encode(b, q);
    assert_int_equal(rpc_decoder_init(&decoder), 0);
    assert_int_equal(rpc_request_decode(&decoder, buf_bytes(b), &got, &error), 0);
    rpc_decoder_close(&decoder);
    seed_buf("request", name, -1, b);
}

static void request_seeds(void **state)
{
    struct rpc_request q;
    struct buf b;

    (void)state;
    buf_init(&b, 64 * 1024);
    for (int m = 1; m < RPC_METHODS_COUNT; m++) {
        if (!rpc_method_is_served((enum rpc_method)m) || m == RPC_KV_TXN) {
            continue;
        }
        rpc_request_init(&q, (enum rpc_method)m, 0xffffffff);
        q.key = BYTES("key");
        q.value = BYTES("value");
        q.has_expected = true;
        q.expected = BYTES("old");
        q.begin = BYTES("a");
        q.end = BYTES("z");
        q.delta = -5;
        q.token = 77;
        q.session = 7;
        q.permits = 3;
        q.group = 1;
        q.w = 2;
        q.options.deadline_ms = 1000;
        q.options.has = RPC_OPT_BIT(RPC_OPT_deadline_ms);
        if (rpc_method_lock(q.method) == RPC_LOCK_ACQUIRE) {
            q.options.owner = BYTES("owner");
            q.options.has |= RPC_OPT_BIT(RPC_OPT_owner);
        }
        request_seed(rpc_method_name(q.method), &q, &b);
    }
    rpc_request_init(&q, RPC_KV_RANGE, 1);
    q.options = (struct rpc_options){.level = RPC_QUORUM,
                                     .r = 2,
                                     .limit = 10,
                                     .deadline_ms = 5,
                                     .fence_token = 8,
                                     .fence_lock = BYTES("lock"),
                                     .token = BYTES("token")};
    q.options.has = RPC_OPT_BIT(RPC_OPT_level) | RPC_OPT_BIT(RPC_OPT_r) |
                    RPC_OPT_BIT(RPC_OPT_limit) | RPC_OPT_BIT(RPC_OPT_deadline_ms) |
                    RPC_OPT_BIT(RPC_OPT_fence) | RPC_OPT_BIT(RPC_OPT_token) |
                    RPC_OPT_BIT(RPC_OPT_max_age_ms) | RPC_OPT_BIT(RPC_OPT_wait_ms) |
                    RPC_OPT_BIT(RPC_OPT_forward);
    request_seed("read_options", &q, &b);
    rpc_request_init(&q, RPC_KV_WATCH, 1);
    q.is_range = true;
    q.begin = BYTES("a");
    q.end = BYTES("b");
    q.options.prev = true;
    q.options.only = RPC_ONLY_DEL;
    q.options.pos = BYTES("pos");
    q.options.has = RPC_OPT_BIT(RPC_OPT_prev) | RPC_OPT_BIT(RPC_OPT_only) |
                    RPC_OPT_BIT(RPC_OPT_pos) | RPC_OPT_BIT(RPC_OPT_group);
    q.options.group = 3;
    request_seed("watch_range", &q, &b);
    rpc_request_init(&q, RPC_KV_PUT, 1);
    q.key = BYTES("k");
    q.options.w = 2;
    q.options.ttl_ms = 1;
    q.options.idem = BYTES("idem");
    q.options.has = RPC_OPT_BIT(RPC_OPT_w) | RPC_OPT_BIT(RPC_OPT_ttl_ms) |
                    RPC_OPT_BIT(RPC_OPT_idem) | RPC_OPT_BIT(RPC_OPT_stamp);
    request_seed("write_options", &q, &b);
    rpc_request_init(&q, RPC_KV_DEL, 1);
    q.key = BYTES("k");
    q.options.session = 7;
    q.options.seq = 9;
    q.options.ack = 8;
    q.options.stamp = 1700000000000;
    q.options.has = RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq) |
                    RPC_OPT_BIT(RPC_OPT_ack) | RPC_OPT_BIT(RPC_OPT_stamp);
    request_seed("session_options", &q, &b);
    rpc_request_init(&q, RPC_HELLO, 0);
    q.type = RPC_NOTIFICATION;
    request_seed("notification", &q, &b);
    seed("request", "unknown_method", -1, BYTES("\x94\x00\x01\xc4\x03xyz\x90"));
    buf_close(&b);
}

static void fill_map(struct map *m)
{
    map_init(m, 0xc0ffee);
    m->epoch = 2;
    m->vnodes = 4;
    m->nodes_count = 2;
    m->nodes[0] = (struct map_node){
        .id = 1, .host = "127.0.0.1", .client_port = 7410, .peer_port = 7411};
    m->nodes[1] = (struct map_node){.id = 2,
                                    .host = "::1",
                                    .client_port = 7420,
                                    .peer_port = 7421,
                                    .http_port = 7422,
                                    .zone = "z"};
    m->groups_count = 3;
    for (uint16_t g = 0; g < 3; g++) {
        m->groups[g] = (struct map_group){
            .id = g, .w = 2, .replicas_count = 2, .replicas = {{1, 1}, {2, 2}}};
    }
}

static void response_seed(const char *name, enum rpc_method method, struct buf *b)
{
    struct rpc_decoder decoder;
    struct rpc_reply r;

    assert_int_equal(rpc_decoder_init(&decoder), 0);
    assert_int_equal(rpc_reply_decode(&decoder, buf_bytes(b), method, &r), 0);
    rpc_decoder_close(&decoder);
    seed_buf("response", name, (int)method - 1, b);
}

static void response_seeds(void **state)
{
    static struct map m;
    const struct rpc_at at = {
        .group = 1, .rev = 2, .term = 3, .node = 4, .level = RPC_STALE};
    const struct rpc_item items[] = {{BYTES("a"), BYTES("1"), 5},
                                     {BYTES("b"), BYTES(""), 6}};
    const struct rpc_cas_result cas = {
        .rev = 5, .has_value = true, .value = BYTES("v")};
    const struct rpc_range_result range = {.ats = &at,
                                           .ats_count = 1,
                                           .items = items,
                                           .items_count = 2,
                                           .more = true,
                                           .next = BYTES("c")};
    const struct rpc_delrange_result delrange = {
        .ats = &at, .ats_count = 1, .deleted = 3, .more = true, .next = BYTES("c")};
    const struct rpc_hello hello = {.server = BYTES("kvd"), .version = BYTES("0.1.0")};
    const struct rpc_group_status group = {
        .id = 1, .voters_count = 2, .voters = {1, 2}};
    const uint32_t leaders[] = {0, 1, 2};
    struct rpc_error error;
    struct buf b;

    (void)state;
    fill_map(&m);
    buf_init(&b, 64 * 1024);
    rpc_reply_get(&b, 1, &at, &items[0]);
    response_seed("get", RPC_KV_GET, &b);
    rpc_reply_get(&b, 1, &at, NULL);
    response_seed("get_nothing", RPC_KV_GET, &b);
    rpc_reply_put(&b, 1, &at, 5);
    response_seed("put", RPC_KV_PUT, &b);
    rpc_reply_del(&b, 1, &at, true, 5);
    response_seed("del", RPC_KV_DEL, &b);
    rpc_reply_cas(&b, 1, &at, &cas);
    response_seed("cas", RPC_KV_CAS, &b);
    rpc_reply_incr(&b, 1, &at, -1, 5);
    response_seed("incr", RPC_KV_INCR, &b);
    rpc_reply_range(&b, 1, &range);
    response_seed("range", RPC_KV_RANGE, &b);
    rpc_reply_delrange(&b, 1, &delrange);
    response_seed("delrange", RPC_KV_DELRANGE, &b);
    rpc_reply_hello(&b, 1, &at, &hello);
    response_seed("hello", RPC_HELLO, &b);
    rpc_reply_status(&b, 1, &at, &m, &group, 1);
    response_seed("status", RPC_CLUSTER_STATUS, &b);
    rpc_reply_map(&b, 1, &at, &m, leaders);
    response_seed("map", RPC_CLUSTER_MAP, &b);
    (void)rpc_error_set(&error, KV_ENOTLEADER, "127.0.0.1:7410");
    rpc_reply_error(&b, 1, &error);
    response_seed("error", RPC_KV_PUT, &b);

    map_encode(&b, &m);
    seed_buf("map", "three_groups", -1, &b);
    map_init(&m, 0);
    map_encode(&b, &m);
    seed_buf("map", "empty", -1, &b);
    buf_close(&b);
}

/* Choice of fuzz_peer: the kind, from 0; 0x80 more mends the records' checksums. */
static void peer_seed(const char *name, enum peer_kind kind, struct buf *b)
{
    seed_buf("peer", name, (int)kind - PEER_HELLO, b);
}

static void raft_seeds(struct buf *b)
{
    static uint8_t record[RAFT_RECORD_HEAD_BYTES + 5];
    struct raft_entry entry = {
        .pos = {11, 2}, .type = RAFT_ENTRY_COMMAND, .payload = BYTES("hello")};
    struct kv_bytes view = kv_bytes(record, sizeof record);

    raft_record_encode(&entry, record);
    for (int type = RAFT_MSG_NONE + 1; type < RAFT_MSG_TYPES_COUNT; type++) {
        static const char *const names[] = {"none",
#define MSG_NAME(id, text) text,
                                            RAFT_MSG_MAP(MSG_NAME)
#undef MSG_NAME
        };
        struct peer_raft m = {.group = 1,
                              .msg = {.type = (enum raft_msg_type)type,
                                      .from = 1,
                                      .to = 2,
                                      .term = 2,
                                      .prev = {10, 2},
                                      .commit = 9,
                                      .round = 300},
                              .records = &view};

        m.msg.entries_count = type == RAFT_MSG_APPEND ? 1 : 0;
        if (type == RAFT_MSG_SNAPSHOT) {
            m.msg.snapshot.config =
                (struct raft_config){.voters_count = 1, .voters = {1}};
            m.msg.chunk =
                (struct raft_chunk){.snapshot_id = 1, .len = 5, .data = BYTES("chunk")};
        }
        peer_raft_begin(b, 1);
        peer_raft_encode(b, &m);
        peer_seed(names[type], PEER_RAFT, b);
    }
}

static void peer_seeds(void **state)
{
    const struct peer_head head = {.kind = PEER_STATE, .from = 1, .to = 2};
    const struct peer_hello hello = {.host = "h", .client_port = 1, .peer_port = 2};
    const struct peer_forward forward = {
        .id = 1, .deadline_ms = 5, .request = BYTES("\x94\x00\x01\xa5hello\x90")};
    const struct peer_forward_reply reply = {.id = 1, .tail = BYTES("\xc0\x80")};
    const struct peer_fetch fetch = {.id = 1,
                                     .group = 2,
                                     .index = 3,
                                     .hash = 4,
                                     .found = true,
                                     .record = BYTES("r")};
    const struct peer_state state_of = {
        .group = 1, .leader = 2, .term = 3, .applied = 4};
    struct buf b;
    size_t mark;

    (void)state;
    buf_init(&b, 64 * 1024);
    peer_hello_encode(&b, &hello);
    peer_seed("hello", PEER_HELLO, &b);
    peer_forward_encode(&b, &forward);
    peer_seed("forward", PEER_FORWARD, &b);
    peer_forward_reply_encode(&b, &reply);
    peer_seed("forward_reply", PEER_FORWARD_REPLY, &b);
    peer_fetch_encode(&b, &fetch);
    peer_seed("fetch", PEER_FETCH_ENTRY, &b);
    peer_fetch_reply_encode(&b, &fetch);
    peer_seed("fetch_reply", PEER_FETCH_ENTRY_REPLY, &b);
    peer_state_encode(&b, &state_of, 1);
    peer_seed("state", PEER_STATE, &b);
    raft_seeds(&b);
    mark = peer_frame_begin(&b, &head);
    peer_state_encode(&b, &state_of, 1);
    assert_int_equal(peer_frame_end(&b, mark), 0);
    seed_buf("peer", "whole_frame", -1, &b);
    buf_close(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(scan_seeds),
    cmocka_unit_test(request_seeds),
    cmocka_unit_test(response_seeds),
    cmocka_unit_test(peer_seeds),
};

TEST_MAIN("rpc/fuzz_seeds", tests)
