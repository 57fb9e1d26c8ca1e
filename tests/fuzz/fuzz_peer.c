/* tests/fuzz/fuzz_peer.c - another node's bytes: the frame, then its body.
 *
 * The frame's CRC would stop nearly every mutation, so the input is kind and body; the
 * header is made around it. The raw input is tried as a frame as well. Raft messages
 * that were accepted are encoded and decoded again.
 */
#include <stdlib.h>
#include <string.h>

#include "raft/record.h"
#include "rpc/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void raft_again(const struct peer_raft *messages, uint32_t count)
{
    struct rpc_decoder decoder;
    struct peer_raft *again;
    struct arena arena;
    uint32_t again_count;
    struct buf b;
    int rc = rpc_decoder_init(&decoder);

    KV_ASSERT(rc == 0);
    arena_init(&arena, 64 * 1024, 0);
    buf_init(&b, 2 * KV_PEER_BODY_BYTES_MAX);
    peer_raft_begin(&b, count);
    for (uint32_t i = 0; i < count; i++) {
        struct peer_raft m = messages[i];
        struct kv_bytes records[KV_APPEND_ENTRIES_MAX];

        for (uint32_t e = 0; e < m.msg.entries_count; e++) {
            struct kv_bytes payload = m.msg.entries[e].payload;

            records[e] = kv_bytes(payload.data - RAFT_RECORD_HEAD_BYTES,
                                  payload.len + RAFT_RECORD_HEAD_BYTES);
        }
        m.records = records;
        peer_raft_encode(&b, &m);
    }
    KV_ASSERT(b.error == 0);
    rc = peer_raft_decode(&decoder, buf_bytes(&b), &arena, &again, &again_count);
    KV_ASSERT(rc == 0 && again_count == count);
    for (uint32_t i = 0; i < count; i++) {
        KV_ASSERT(again[i].group == messages[i].group);
        KV_ASSERT(again[i].msg.type == messages[i].msg.type);
        KV_ASSERT(again[i].msg.prev.index == messages[i].msg.prev.index);
        KV_ASSERT(again[i].msg.conflict.term == messages[i].msg.conflict.term);
        KV_ASSERT(again[i].msg.hash == messages[i].msg.hash);
        KV_ASSERT(again[i].msg.entries_count == messages[i].msg.entries_count);
        KV_ASSERT(again[i].msg.granted == messages[i].msg.granted);
    }
    buf_close(&b);
    arena_close(&arena);
    rpc_decoder_close(&decoder);
}

static void try_body(struct rpc_decoder *d, struct arena *arena,
                     const struct peer_frame *frame)
{
    struct peer_hello hello;
    struct peer_forward forward;
    struct peer_forward_reply reply;
    struct peer_fetch fetch;
    struct peer_state *states;
    struct peer_raft *messages;
    struct peer_quorum_ask ask;
    struct peer_quorum_answer answer;
    uint32_t count;

    switch ((enum peer_kind)frame->head.kind) {
    case PEER_HELLO:
        (void)!peer_hello_decode(d, frame->body, &hello);
        break;
    case PEER_RAFT:
        if (peer_raft_decode(d, frame->body, arena, &messages, &count) == 0) {
            raft_again(messages, count);
        }
        break;
    case PEER_FORWARD:
        (void)!peer_forward_decode(d, frame->body, &forward);
        break;
    case PEER_FORWARD_REPLY:
        (void)!peer_forward_reply_decode(d, frame->body, &reply);
        break;
    case PEER_FETCH_ENTRY:
        (void)!peer_fetch_decode(d, frame->body, &fetch);
        break;
    case PEER_FETCH_ENTRY_REPLY:
        (void)!peer_fetch_reply_decode(d, frame->body, &fetch);
        break;
    case PEER_STATE:
        (void)!peer_state_decode(d, frame->body, arena, &states, &count);
        break;
    case PEER_QUORUM_ASK:
        (void)!peer_quorum_ask_decode(d, frame->body, &ask);
        break;
    case PEER_QUORUM_ANSWER:
        (void)!peer_quorum_answer_decode(d, frame->body, &answer);
        break;
    case PEER_KINDS_END:
        break;
    }
}

/* Records in mutated bodies fail their CRC: mend those of entries that have room for
 * a head, so that the code behind is reached. Every 0xc4 that could begin one is. */
static void mend_records(uint8_t *body, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        size_t bytes = body[i + 1];

        if (body[i] == 0xc4 && bytes >= RAFT_RECORD_HEAD_BYTES &&
            bytes <= len - i - 2) {
            struct raft_entry e = {.type = body[i + 7]};
            uint8_t *record = body + i + 2;

            e.pos.index = kv_get_u64le(record + 8);
            e.pos.term = kv_get_u64le(record + 16);
            e.payload = kv_bytes(record + RAFT_RECORD_HEAD_BYTES,
                                 bytes - RAFT_RECORD_HEAD_BYTES);
            {
                uint8_t whole[256 + RAFT_RECORD_HEAD_BYTES];

                raft_record_encode(&e, whole);
                memcpy(record, whole, bytes);
            }
            i += 1 + bytes;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct peer_head head = {.from = 1, .to = 2};
    struct rpc_decoder decoder;
    struct peer_frame frame;
    struct arena arena;
    struct buf b;
    size_t need;
    size_t mark;
    int rc;

    if (len < 1) {
        return 0;
    }
    rc = rpc_decoder_init(&decoder);
    KV_ASSERT(rc == 0);
    arena_init(&arena, 64 * 1024, 0);
    buf_init(&b, 2 * PEER_FRAME_BYTES_MAX);

    rc = peer_frame_decode(data, len, &frame, &need);
    KV_ASSERT(rc != KV_EAGAIN || (need > len && need <= PEER_FRAME_BYTES_MAX));
    if (rc == 0) {
        try_body(&decoder, &arena, &frame);
    }

    head.kind =
        (uint8_t)(PEER_HELLO + (data[0] & 0x7f) % (PEER_KINDS_END - PEER_HELLO));
    mark = peer_frame_begin(&b, &head);
    buf_append(&b, data + 1, len - 1);
    if (head.kind == PEER_RAFT && data[0] >= 0x80) {
        mend_records(b.data + PEER_HEAD_BYTES, b.len - PEER_HEAD_BYTES);
    }
    rc = peer_frame_end(&b, mark);
    KV_ASSERT(rc == 0);
    rc = peer_frame_decode(b.data, b.len, &frame, &need);
    KV_ASSERT(rc == 0 && frame.body.len == len - 1);
    try_body(&decoder, &arena, &frame);

    buf_close(&b);
    arena_close(&arena);
    rpc_decoder_close(&decoder);
    return 0;
}
