/* rpc/peer_body.h - what the files of rpc/peer share. Private to rpc/.
 *
 * Needs:    rpc/unpack.h.
 * Used by:  rpc/peer.c, peer_raft.c, peer_quorum.c.
 * Threads:  a decoder has one owner at a time.
 */
#ifndef KV_RPC_PEER_BODY_H
#define KV_RPC_PEER_BODY_H

#include "rpc/unpack.h"

/* Scans and unpacks one body. Returns 0, KV_EPROTO, KV_ETOOLARGE, KV_ENOMEM. */
KV_MUST_CHECK int peer_unpack(struct rpc_decoder *d, struct kv_bytes body,
                              msgpack_object *out);

/* The same, as an array of exactly `count`; *out_items are its items. */
KV_MUST_CHECK int peer_unpack_array(struct rpc_decoder *d, struct kv_bytes body,
                                    uint32_t count, const msgpack_object **out_items);

#endif
