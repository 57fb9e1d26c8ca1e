/* tests/rpc/test_cost.c - what the codec costs per operation, printed in nanoseconds.
 *
 * A put may cost a node 10 us of CPU in all; the codec's share is measured here. `make
 * MODE=release unit T=rpc/cost` gives figures that mean something. The bounds are wide,
 * so that only work of another order (a copy, a malloc, a quadratic scan) breaks them.
 */
#include "tests/rpc/rpc_test.h"

#include <time.h>

#include "raft/record.h"
#include "rpc/msg.h"
#include "rpc/peer.h"
#include "rpc/scan.h"
#include "rpc/slot.h"

/* Under a sanitizer it only has to run: figures mean nothing there, none is judged. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum {
    ROUNDS = 500,
    TRIES = 2,
    IS_JUDGED = 0
};
#else
enum {
    ROUNDS = 20000,
    TRIES = 5,
    IS_JUDGED = 1
};
#endif

/* Best of a few tries of `work` for ROUNDS, in ns per round. */
static double cost_ns(void (*work)(void *ctx), void *ctx)
{
    double best = 1e18;

    for (int t = 0; t < TRIES; t++) {
        struct timespec begin, end;
        double ns;

        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < ROUNDS; i++) {
            work(ctx);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        ns = 1e9 * (double)(end.tv_sec - begin.tv_sec) +
             (double)(end.tv_nsec - begin.tv_nsec);
        best = ns / ROUNDS < best ? ns / ROUNDS : best;
    }
    return best;
}

static void report(const char *what, void (*work)(void *ctx), void *ctx,
                   double at_most_ns)
{
    double ns = cost_ns(work, ctx);

    print_message("%-46s %8.0f ns\n", what, ns);
    assert_true(!IS_JUDGED || ns < at_most_ns);
}

/* ---- a put ---- */

struct put {
    struct rpc_decoder decoder;
    struct rpc_request q;
    struct rpc_request got;
    struct rpc_error error;
    struct rpc_reply reply;
    struct buf request;
    struct buf out;
    struct scan scan;
    uint32_t sum;
};

static void scan_put(void *ctx)
{
    struct put *p = ctx;
    size_t used = 0;

    if (scan_feed(&p->scan, p->request.data, p->request.len, &used) != 0) {
        abort();
    }
    p->sum += (uint32_t)used;
}

static void scan_and_decode_put(void *ctx)
{
    struct put *p = ctx;

    scan_put(p);
    if (rpc_request_decode(&p->decoder, buf_bytes(&p->request), &p->got, &p->error) !=
        0) {
        abort();
    }
}

static void encode_put(void *ctx)
{
    struct put *p = ctx;

    buf_reset(&p->out);
    rpc_request_encode(&p->out, &p->q);
}

static const struct rpc_at at = {
    .group = 3, .rev = 123456, .term = 7, .node = 1, .level = RPC_LINEARIZABLE};

static void encode_put_reply(void *ctx)
{
    struct put *p = ctx;

    buf_reset(&p->out);
    rpc_reply_put(&p->out, 123456, &at, 654321);
}

static void decode_put_reply(void *ctx)
{
    struct put *p = ctx;

    if (rpc_reply_decode(&p->decoder, buf_bytes(&p->out), RPC_KV_PUT, &p->reply) != 0) {
        abort();
    }
}

static void slot_of_key(void *ctx)
{
    struct put *p = ctx;

    p->sum += slot_of(p->q.key);
}

static void a_put_costs_well_below_a_microsecond(void **state)
{
    static uint8_t value[256];
    struct put p = {.sum = 0};

    (void)state;
    assert_int_equal(rpc_decoder_init(&p.decoder), 0);
    buf_init(&p.request, 4096);
    buf_init(&p.out, 4096);
    scan_init(&p.scan, &scan_limits_request);
    rpc_request_init(&p.q, RPC_KV_PUT, 123456);
    p.q.key = kv_bytes_str("user:0000012345");
    p.q.value = kv_bytes(value, sizeof value);
    rpc_request_encode(&p.request, &p.q);
    report("kv.put of 256 bytes: client encodes", encode_put, &p, 20000);
    report("kv.put of 256 bytes: scan", scan_put, &p, 20000);
    report("kv.put of 256 bytes: scan and decode", scan_and_decode_put, &p, 20000);
    report("slot of a key of 15 bytes", slot_of_key, &p, 20000);
    report("reply to kv.put: encode", encode_put_reply, &p, 20000);
    report("reply to kv.put: client decodes", decode_put_reply, &p, 20000);
    p.q.options.has = RPC_OPT_BIT(RPC_OPT_deadline_ms);
    p.q.options.deadline_ms = 5000;
    buf_reset(&p.request);
    rpc_request_encode(&p.request, &p.q);
    report("kv.put with a deadline: scan and decode", scan_and_decode_put, &p, 20000);
    rpc_decoder_close(&p.decoder);
    buf_close(&p.request);
    buf_close(&p.out);
}

/* ---- an append ---- */

enum {
    ENTRIES = 16,
    ENTRY_BYTES = 300
};

struct append {
    struct rpc_decoder decoder;
    struct arena arena;
    struct buf out;
    struct peer_head head;
    struct peer_raft m;
    struct peer_raft *got;
    struct peer_frame frame;
    struct kv_bytes views[ENTRIES];
    uint8_t records[ENTRIES][RAFT_RECORD_HEAD_BYTES + ENTRY_BYTES];
    uint32_t count;
};

static void encode_append(void *ctx)
{
    struct append *a = ctx;
    size_t mark;

    buf_reset(&a->out);
    mark = peer_frame_begin(&a->out, &a->head);
    peer_raft_begin(&a->out, 1);
    peer_raft_encode(&a->out, &a->m);
    if (peer_frame_end(&a->out, mark) != 0) {
        abort();
    }
}

static void decode_append(void *ctx)
{
    struct append *a = ctx;
    size_t need;

    arena_reset(&a->arena);
    if (peer_frame_decode(a->out.data, a->out.len, &a->frame, &need) != 0 ||
        peer_raft_decode(&a->decoder, a->frame.body, &a->arena, &a->got, &a->count) !=
            0) {
        abort();
    }
}

static void an_append_costs_a_few_microseconds(void **state)
{
    static struct append a;
    static uint8_t payload[ENTRY_BYTES];

    (void)state;
    assert_int_equal(rpc_decoder_init(&a.decoder), 0);
    arena_init(&a.arena, 16 * 1024, 0);
    buf_init(&a.out, 64 * 1024);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct raft_entry e = {.pos = {101 + i, 7},
                               .type = RAFT_ENTRY_COMMAND,
                               .payload = kv_bytes(payload, sizeof payload)};

        raft_record_encode(&e, a.records[i]);
        a.views[i] = kv_bytes(a.records[i], sizeof a.records[i]);
    }
    a.head = (struct peer_head){.kind = PEER_RAFT, .cluster = 1, .from = 1, .to = 2};
    a.m = (struct peer_raft){.group = 3,
                             .msg = {.type = RAFT_MSG_APPEND,
                                     .from = 1,
                                     .to = 2,
                                     .term = 7,
                                     .prev = {100, 7},
                                     .prev_hash = 12345678901234u,
                                     .commit = 90,
                                     .round = 1000,
                                     .entries_count = ENTRIES},
                             .records = a.views};
    report("frame with 16 entries of 300 bytes: encode", encode_append, &a, 100000);
    report("frame with 16 entries of 300 bytes: decode", decode_append, &a, 100000);
    a.m.msg = (struct raft_msg){.type = RAFT_MSG_HEARTBEAT,
                                .from = 1,
                                .to = 2,
                                .term = 7,
                                .commit = 90,
                                .round = 9};
    report("frame with a heartbeat: encode", encode_append, &a, 100000);
    report("frame with a heartbeat: decode", decode_append, &a, 100000);
    arena_close(&a.arena);
    rpc_decoder_close(&a.decoder);
    buf_close(&a.out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_put_costs_well_below_a_microsecond),
    cmocka_unit_test(an_append_costs_a_few_microseconds),
};

TEST_MAIN("rpc/cost", tests)
