/* tests/fuzz/fuzz_response.c - a server's bytes, as a client takes them.
 *
 * The first byte chooses the method that the response is to answer. Everything that a
 * decoded reply offers is read.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/event.h"
#include "rpc/map.h"
#include "rpc/msg.h"
#include "rpc/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Reads each byte of a view, so that a bad one is noticed. */
static uint64_t touch(struct kv_bytes bytes)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        sum += bytes.data[i];
    }
    return sum;
}

static uint64_t touch_lists(const struct rpc_reply *r)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < r->ats.count; i++) {
        struct rpc_at at;

        rpc_reply_at_get(r, i, &at);
        sum += at.rev;
    }
    for (uint32_t i = 0; i < r->items.count; i++) {
        struct rpc_item item;

        rpc_reply_item_get(r, i, &item);
        sum += touch(item.key) + touch(item.value);
    }
    for (uint32_t i = 0; i < r->groups.count; i++) {
        struct rpc_group_status group;

        rpc_reply_group_get(r, i, &group);
        sum += group.voters_count;
    }
    for (uint32_t i = 0; i < r->leaders.count; i++) {
        sum += rpc_reply_leader_get(r, i);
    }
    return sum;
}

static void relay(struct kv_bytes message)
{
    struct kv_bytes tail, again;
    uint32_t msgid;
    struct buf b;
    int rc = rpc_response_split(message, &msgid, &tail);

    KV_ASSERT(rc == 0);
    buf_init(&b, 2 * KV_RESPONSE_BYTES_MAX);
    rpc_response_join(&b, 77, tail);
    KV_ASSERT(b.error == 0);
    rc = rpc_response_split(buf_bytes(&b), &msgid, &again);
    KV_ASSERT(rc == 0 && msgid == 77 && kv_bytes_equal(again, tail));
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rpc_decoder decoder;
    enum rpc_method method;
    struct rpc_events events;
    struct rpc_reply r;
    struct scan s;
    size_t used;
    uint64_t sum;
    int rc;

    if (len < 2) {
        return 0;
    }
    method = (enum rpc_method)(1 + data[0] % RPC_CLUSTER_MAP);
    scan_init(&s, &scan_limits_response);
    if (scan_feed(&s, data + 1, len - 1, &used) != 0) {
        return 0;
    }
    rc = rpc_decoder_init(&decoder);
    KV_ASSERT(rc == 0);
    if (rpc_events_decode(&decoder, kv_bytes(data + 1, used), &events) == 0) {
        sum = touch(events.pos);
        for (uint32_t i = 0; i < events.events.count; i++) {
            struct rpc_event event;

            rpc_event_get(&events, i, &event);
            sum += touch(event.key) + touch(event.value) + touch(event.prev);
        }
        KV_ASSERT(sum != UINT64_MAX);
    }
    if (rpc_reply_decode(&decoder, kv_bytes(data + 1, used), method, &r) == 0) {
        relay(kv_bytes(data + 1, used));
        sum = touch_lists(&r) + touch(r.value) + touch(r.next) + touch(r.error_text) +
              touch(r.error_detail) + touch(r.server) + touch(r.version) +
              touch(r.result);
        KV_ASSERT(sum != UINT64_MAX); /* So that nothing above is left out. */
    }
    rpc_decoder_close(&decoder);
    return 0;
}
