/* rpc/limits.h - every limit that both ends agree on, and what must hold between them.
 *
 * Input that breaks one of these is refused before it costs memory. They are
 * constants of the protocol, not tuning knobs: what an operator may set (numbers
 * of connections, timeouts, sizes of batches) is bounded by them.
 *
 * Needs:    raft/types.h, raft/record.h.
 * Used by:  rpc/, server/, client/, storage's tests.
 * Threads:  any.
 */
#ifndef KV_RPC_LIMITS_H
#define KV_RPC_LIMITS_H

#include "raft/record.h"
#include "raft/types.h"

enum {
    /* What a client may store and ask for. */
    KV_KEY_BYTES_MIN = 1,
    KV_KEY_BYTES_MAX = 480, /* LMDB takes 511 with our prefix. */
    KV_BOUND_BYTES_MAX =
        KV_KEY_BYTES_MAX + 1, /* begin and end of a range: key + NUL. */
    KV_VALUE_BYTES_MAX = 1024 * 1024,
    KV_REQUEST_BYTES_MAX = 1536 * 1024, /* One whole request message. */
    KV_REQUEST_NODES_MAX = 4096,        /* MessagePack items in one request. */
    KV_TXN_OPS_MAX = 128,               /* Compares, thens and elses, each. */
    KV_RANGE_ITEMS_DEFAULT = 1000,      /* Without option `limit`. */
    KV_RANGE_ITEMS_MAX = 10000,
    KV_RANGE_BYTES_MAX = 1024 * 1024,    /* Keys and values of a range reply: the item
                                             * that reaches it is the last one. */
    KV_OPAQUE_BYTES_MAX = 1024,          /* A lock's name in fence. */
    KV_TOKEN_BYTES_MAX = 12 * 1024 + 64, /* Option token: a position of each group. */
    KV_IDEM_BYTES_MAX = 255,             /* Option idem: it is part of a row's key. */
    KV_QUORUM_MAX = RAFT_REPLICAS_MAX,   /* Options r and w. */
    KV_LOCK_NAME_BYTES_MAX = 256,
    KV_LOCK_OWNER_BYTES_MAX = 128, /* Option owner. */
    KV_LOCK_VALUE_BYTES_MAX = 512, /* Option value: what lock.info shows. */
    KV_LOCK_PERMITS_MAX = 512,     /* Of a semaphore. */
    KV_LOCK_CLAIMS_MAX = 1024,     /* Holders and waiters of one lock. */
    KV_LOCK_TTL_MS_MIN = 100,      /* A lease, and a place in the queue. */
    KV_LOCK_TTL_MS_DEFAULT = 10000,
    KV_OPTION_MS_MAX =
        7 * 24 * 3600 * 1000, /* Any option that ends in _ms, but stamp. */

#define KV_TTL_MS_MAX 2592000000u /* Option ttl_ms of keys: 30 days. */

    /* Exactly once. The retention is part of the state machine: every node of a cluster
     * must have the same. */
    KV_RETENTION_MS = 5 * 60 * 1000,        /* A retry is safe so long. */
    KV_IDEM_TTL_MS_MAX = 24 * 3600 * 1000,  /* Option idem_ttl_ms. */
    KV_STAMP_AHEAD_MS_MAX = 60 * 60 * 1000, /* Option stamp, before the group's time. */

    /* What a response may hold; a client refuses more. */
    KV_RESPONSE_BYTES_MAX = 4 * 1024 * 1024,
    KV_RESPONSE_NODES_MAX = 64 * 1024,
    KV_ERROR_TEXT_MAX = 255, /* Bytes of "CODE text". */

    /* One MessagePack message of any kind. */
    KV_MSG_DEPTH_MAX = 16,

    /* Connections and queues. */
    KV_CONNECTIONS_DEFAULT = 4096,
    KV_CONNECTIONS_MAX = 65536,
    KV_INFLIGHT_PER_CONN_MAX = 1024,

    /* The cluster. */
    KV_NODES_MAX = 64,
    KV_GROUPS_MAX = 1024, /* The group `meta` included. */
    KV_REPLICAS_MAX = 7,
    KV_SLOTS = 16384,
    KV_VNODES_DEFAULT = 512, /* Virtual nodes per group on the ring. */
    KV_VNODES_MAX = 4096,
    KV_HOST_BYTES_MAX = 63,
    KV_ZONE_BYTES_MAX = 31,

    /* Peer frames. */
    KV_PEER_BODY_BYTES_MAX = 8 * 1024 * 1024,
    KV_PEER_NODES_MAX = 128 * 1024, /* MessagePack items in one body. */
    KV_PEER_MSGS_MAX = 2048,        /* Raft messages in one frame. */
    KV_PEER_ENTRIES_MAX = 8192,     /* Entries over all messages of one frame. */
    KV_SNAPSHOT_CHUNK_BYTES_MAX = 1024 * 1024,
    KV_APPEND_ENTRIES_MAX = RAFT_ENTRIES_MAX,
    KV_RECORD_BYTES_MAX = RAFT_RECORD_HEAD_BYTES + RAFT_RECORD_PAYLOAD_MAX,
};

_Static_assert(KV_KEY_BYTES_MAX + KV_VALUE_BYTES_MAX + 1024 <= KV_REQUEST_BYTES_MAX,
               "the largest put fits into a request");
_Static_assert(KV_REQUEST_BYTES_MAX + 1024 <= RAFT_RECORD_PAYLOAD_MAX,
               "every request fits into a log entry");
_Static_assert(KV_RANGE_BYTES_MAX + KV_KEY_BYTES_MAX + KV_VALUE_BYTES_MAX +
                       32 * KV_RANGE_ITEMS_MAX + 64 * KV_GROUPS_MAX + 4096 <=
                   KV_RESPONSE_BYTES_MAX,
               "the largest range fits into a response");
_Static_assert(4 * KV_RANGE_ITEMS_MAX + 7 * KV_GROUPS_MAX + 64 <= KV_RESPONSE_NODES_MAX,
               "its items fit as well");
_Static_assert((3 * KV_REPLICAS_MAX + 8) * KV_GROUPS_MAX + 16 * KV_NODES_MAX + 64 <=
                   KV_RESPONSE_NODES_MAX,
               "the largest cluster map fits into a response");
_Static_assert(KV_REQUEST_BYTES_MAX + 1024 <= KV_PEER_BODY_BYTES_MAX,
               "any request can be forwarded");
_Static_assert(KV_RESPONSE_BYTES_MAX + 1024 <= KV_PEER_BODY_BYTES_MAX,
               "any response can be forwarded");
_Static_assert(2 * (KV_RECORD_BYTES_MAX + 1024) <= KV_PEER_BODY_BYTES_MAX,
               "an append that reached its byte limit can take one more entry");
_Static_assert(KV_SNAPSHOT_CHUNK_BYTES_MAX + 4096 <= KV_PEER_BODY_BYTES_MAX,
               "a snapshot chunk fits into a frame");
_Static_assert(KV_PEER_MSGS_MAX * 24 + KV_PEER_ENTRIES_MAX + 64 <= KV_PEER_NODES_MAX,
               "as many raft messages fit into a frame as it may name");
_Static_assert(2 * KV_GROUPS_MAX <= KV_PEER_MSGS_MAX,
               "a heartbeat and its answer for every group fit into one frame");
_Static_assert(KV_APPEND_ENTRIES_MAX <= KV_PEER_ENTRIES_MAX,
               "an append fits into a frame");
_Static_assert((int)KV_REPLICAS_MAX <= (int)RAFT_REPLICAS_MAX,
               "raft can hold all replicas");
_Static_assert(KV_NODES_MAX >= KV_REPLICAS_MAX, "each replica on a node of its own");
_Static_assert((int)KV_IDEM_BYTES_MAX + 3 <= (int)KV_KEY_BYTES_MAX,
               "a row's key holds slot, kind and idempotency key");
_Static_assert((KV_SLOTS & (KV_SLOTS - 1)) == 0, "slots are a power of two");
_Static_assert(KV_KEY_BYTES_MAX < 511, "LMDB's keys hold ours and a prefix");
_Static_assert((int)KV_LOCK_PERMITS_MAX < (int)KV_LOCK_CLAIMS_MAX,
               "a semaphore that is all given away has room for waiters");
_Static_assert(KV_LOCK_CLAIMS_MAX *(KV_LOCK_OWNER_BYTES_MAX + KV_LOCK_VALUE_BYTES_MAX +
                                    32) <= KV_VALUE_BYTES_MAX - 64,
               "all claims of a lock fit into a row");
_Static_assert(KV_CONNECTIONS_DEFAULT <= KV_CONNECTIONS_MAX, "the default is allowed");

#endif
