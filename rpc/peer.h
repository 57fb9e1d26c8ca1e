/* rpc/peer.h - frames between nodes: header, checksum, kinds, and their bodies.
 *
 * A frame is a header of 48 bytes, all integers little-endian, and a body in
 * MessagePack:
 *
 *   0  u32  magic "KVP1"            24  u32  sender's node id
 *   4  u8   version (1)             28  u32  receiver's node id
 *   5  u8   kind                    32  u64  sender's boot nonce
 *   6  u16  flags                   40  u64  sender's incarnation
 *   8  u32  body bytes              48  ...  body
 *  12  u32  CRC32C of header (this field as 0) and body
 *  16  u64  cluster id
 *
 * Flags mean something in HELLO and FORWARD only: server/peers_parts.h.
 *
 * Bodies, by kind:
 *   HELLO              [host, client_port, peer_port, http_port, zone, features]
 *   RAFT               [message...], message: [group, type, from, to, term, fields...]
 *   FORWARD            [id, deadline_ms, request (bin)]
 *   FORWARD_REPLY      [id, tail (bin)]
 *   FETCH_ENTRY        [id, group, index, hash]
 *   FETCH_ENTRY_REPLY  [id, group, index, record (bin) or nil]
 *   STATE              [[group, leader, term, applied]...]
 *   QUORUM_ASK         [id, group, key (bin), goal]
 *   QUORUM_ANSWER      [id, group, replica, applied, pending, term, rev, config_index,
 *                      before_index, is_committed, config (bin), before (bin),
 *                      value (bin) or nil, key_rev]; without a state to show, only
 *                      the first three
 *
 * Entries travel as the records of raft/record.h, the same bytes as on disk.
 *
 * Needs:    raft/types.h, raft/record.h, rpc/buf.h, rpc/limits.h, rpc/msg.h (decoder).
 * Used by:  server/peers, server/forward.
 * Threads:  a decoder has one owner at a time.
 */
#ifndef KV_RPC_PEER_H
#define KV_RPC_PEER_H

#include <stdint.h>

#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/check.h"
#include "raft/types.h"
#include "rpc/buf.h"
#include "rpc/limits.h"
#include "rpc/msg.h"

enum {
    PEER_HEAD_BYTES = 48,
    PEER_VERSION = 1,
    PEER_FRAME_BYTES_MAX = PEER_HEAD_BYTES + KV_PEER_BODY_BYTES_MAX,
};

#define PEER_MAGIC 0x3150564bu /* "KVP1" */

enum peer_kind {
    PEER_HELLO = 1,
    PEER_RAFT,
    PEER_FORWARD,
    PEER_FORWARD_REPLY,
    PEER_FETCH_ENTRY,
    PEER_FETCH_ENTRY_REPLY,
    PEER_STATE,
    PEER_QUORUM_ASK,
    PEER_QUORUM_ANSWER,
    PEER_KINDS_END,
};

/* Who sends and to whom; the same in every frame of a connection's direction. */
struct peer_head {
    uint8_t kind; /* enum peer_kind */
    uint16_t flags;
    uint64_t cluster; /* 0: not known yet (only in HELLO). */
    uint32_t from;
    uint32_t to;
    uint64_t boot_nonce;  /* Drawn at each start of the sender's process. */
    uint64_t incarnation; /* Drawn with the sender's data directory. */
};

struct peer_frame {
    struct peer_head head;
    struct kv_bytes body; /* Borrowed from the bytes given to peer_frame_decode(). */
    size_t frame_bytes;   /* Header and body: where the next frame begins. */
};

/* ---- frames ---- */

/* Writes a header and leaves the body to what is appended until peer_frame_end().
 * Returns the mark that peer_frame_end() wants. */
size_t peer_frame_begin(struct buf *b, const struct peer_head *head);

/* Fills in length and checksum. Returns 0; KV_ENOMEM (the buffer's error);
 * KV_ETOOLARGE (body). After an error the frame is taken out of the buffer again. */
KV_MUST_CHECK int peer_frame_end(struct buf *b, size_t mark);

/* Looks for one whole frame at the start of `data`. The length is judged as soon as
 * the header is there, before any byte of the body is waited for.
 * Returns 0; KV_EAGAIN (*out_need: bytes that the whole frame, or so far its header,
 * will take); KV_EPROTO (magic, kind, CRC); KV_EFORMAT (version); KV_ETOOLARGE. */
KV_MUST_CHECK int peer_frame_decode(const uint8_t *data, size_t len,
                                    struct peer_frame *out, size_t *out_need);

/* ---- bodies ----
 * Decoders check everything, take arrays from the arena and leave bytes in the frame.
 * They return 0, KV_EPROTO, KV_ETOOLARGE (more messages or entries than a frame may
 * have) or KV_ENOMEM. */

struct peer_hello {
    char host[KV_HOST_BYTES_MAX + 1];
    uint16_t client_port;
    uint16_t peer_port;
    uint16_t http_port;
    char zone[KV_ZONE_BYTES_MAX + 1];
    uint64_t features; /* Bits; unknown ones are kept and not judged. */
};
void peer_hello_encode(struct buf *b, const struct peer_hello *hello);
KV_MUST_CHECK int peer_hello_decode(struct rpc_decoder *d, struct kv_bytes body,
                                    struct peer_hello *out);

/* One raft message on its way. */
struct peer_raft {
    uint32_t group;
    struct raft_msg msg; /* Decoded: entries in the arena, payloads and chunk.data in
                          * the frame. Encoding: entries is not read, records are. */
    const struct kv_bytes *records; /* msg.entries_count encoded entries. */
};

/* Writes an array of `count` messages; peer_raft_encode() then appends each of them.
 * A SNAPSHOT's chunk bytes are read from msg.chunk.data, chunk.len of them. */
void peer_raft_begin(struct buf *b, uint32_t count);
void peer_raft_encode(struct buf *b, const struct peer_raft *m);

/* The entries' records are verified (CRC), their indexes follow prev without gaps. */
KV_MUST_CHECK int peer_raft_decode(struct rpc_decoder *d, struct kv_bytes body,
                                   struct arena *arena, struct peer_raft **out,
                                   uint32_t *out_count);

struct peer_forward {
    uint64_t id;             /* The sender's, echoed in the reply. */
    uint32_t deadline_ms;    /* Time left; >= 1. */
    struct kv_bytes request; /* A whole request message of a client, not yet scanned. */
};
void peer_forward_encode(struct buf *b, const struct peer_forward *forward);
KV_MUST_CHECK int peer_forward_decode(struct rpc_decoder *d, struct kv_bytes body,
                                      struct peer_forward *out);

struct peer_forward_reply {
    uint64_t id;
    struct kv_bytes tail; /* Of the response: rpc_response_split(), _join(). Decoding
                           * scans it: two objects within the limits of a response. */
};
void peer_forward_reply_encode(struct buf *b, const struct peer_forward_reply *reply);
KV_MUST_CHECK int peer_forward_reply_decode(struct rpc_decoder *d, struct kv_bytes body,
                                            struct peer_forward_reply *out);

struct peer_fetch {
    uint64_t id;
    uint32_t group;
    raft_index index;
    uint64_t hash;          /* FETCH_ENTRY: of the wanted entry; 0: not known. */
    bool found;             /* Reply. */
    struct kv_bytes record; /* Reply, found. Not verified here. */
};
void peer_fetch_encode(struct buf *b, const struct peer_fetch *fetch);
KV_MUST_CHECK int peer_fetch_decode(struct rpc_decoder *d, struct kv_bytes body,
                                    struct peer_fetch *out);
void peer_fetch_reply_encode(struct buf *b, const struct peer_fetch *fetch);
KV_MUST_CHECK int peer_fetch_reply_decode(struct rpc_decoder *d, struct kv_bytes body,
                                          struct peer_fetch *out);

/* What a node knows of a group: a hint, never a promise. */
struct peer_state {
    uint32_t group;
    uint32_t leader; /* Node id; 0: unknown. */
    raft_term term;
    raft_index applied;
};
void peer_state_encode(struct buf *b, const struct peer_state *states, uint32_t count);
KV_MUST_CHECK int peer_state_decode(struct rpc_decoder *d, struct kv_bytes body,
                                    struct arena *arena, struct peer_state **out,
                                    uint32_t *out_count);

/* A quorum read asks one replica. */
struct peer_quorum_ask {
    uint64_t id;
    uint32_t group;
    struct kv_bytes key;
    raft_index goal; /* Answer once this is applied, or after a while; 0: at once. */
};
void peer_quorum_ask_encode(struct buf *b, const struct peer_quorum_ask *ask);
KV_MUST_CHECK int peer_quorum_ask_decode(struct rpc_decoder *d, struct kv_bytes body,
                                         struct peer_quorum_ask *out);

struct peer_quorum_answer {
    uint64_t id;
    uint32_t group;
    raft_id replica;
    bool ok; /* false: it has no state to show; nothing else counts. */
    raft_index applied;
    raft_index pending; /* Highest entry behind it that may touch the key; 0. */
    raft_term term;
    uint64_t rev; /* Of `applied`. */
    raft_index config_index;
    raft_index before_index;
    bool is_committed; /* It knows `config` to be. */
    struct raft_config config;
    struct raft_config before;
    bool found;
    struct kv_bytes value;
    uint64_t key_rev;
};
void peer_quorum_answer_encode(struct buf *b, const struct peer_quorum_answer *a);
KV_MUST_CHECK int peer_quorum_answer_decode(struct rpc_decoder *d, struct kv_bytes body,
                                            struct peer_quorum_answer *out);

#endif
