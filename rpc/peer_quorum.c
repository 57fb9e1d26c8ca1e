/* rpc/peer_quorum.c - the question of a quorum read, and a replica's answer. */
#include "raft/base/err.h"
#include "raft/record.h"
#include "rpc/pack.h"
#include "rpc/peer.h"
#include "rpc/peer_body.h"

enum {
    ASK_FIELDS = 4,
    ANSWER_FIELDS_NO = 3,
    ANSWER_FIELDS = 14,
};

static void pack_config(struct buf *b, const struct raft_config *c)
{
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];

    pack_bin(b, kv_bytes(bytes, raft_config_encode(c, bytes)));
}

static bool unpack_config(const msgpack_object *o, struct raft_config *out)
{
    struct kv_bytes bytes;

    return unpack_bytes(o, &bytes) && raft_config_decode(bytes, out) == 0;
}

void peer_quorum_ask_encode(struct buf *b, const struct peer_quorum_ask *ask)
{
    pack_array(b, ASK_FIELDS);
    pack_uint(b, ask->id);
    pack_uint(b, ask->group);
    pack_bin(b, ask->key);
    pack_uint(b, ask->goal);
}

int peer_quorum_ask_decode(struct rpc_decoder *d, struct kv_bytes body,
                           struct peer_quorum_ask *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, ASK_FIELDS, &items);

    if (rc != 0) {
        return rc;
    }
    return unpack_uint(&items[0], UINT64_MAX, &out->id) &&
                   unpack_u32(&items[1], KV_GROUPS_MAX - 1, &out->group) &&
                   unpack_bytes(&items[2], &out->key) &&
                   out->key.len >= KV_KEY_BYTES_MIN &&
                   out->key.len <= KV_KEY_BYTES_MAX &&
                   unpack_uint(&items[3], UINT64_MAX, &out->goal)
               ? 0
               : KV_EPROTO;
}

void peer_quorum_answer_encode(struct buf *b, const struct peer_quorum_answer *a)
{
    pack_array(b, a->ok ? ANSWER_FIELDS : ANSWER_FIELDS_NO);
    pack_uint(b, a->id);
    pack_uint(b, a->group);
    pack_uint(b, a->replica);
    if (!a->ok) {
        return;
    }
    pack_uint(b, a->applied);
    pack_uint(b, a->pending);
    pack_uint(b, a->term);
    pack_uint(b, a->rev);
    pack_uint(b, a->config_index);
    pack_uint(b, a->before_index);
    pack_bool(b, a->is_committed);
    pack_config(b, &a->config);
    pack_config(b, &a->before);
    pack_bin_or_nil(b, a->found, a->value);
    pack_uint(b, a->key_rev);
}

int peer_quorum_answer_decode(struct rpc_decoder *d, struct kv_bytes body,
                              struct peer_quorum_answer *out)
{
    const msgpack_object *items;
    int rc = peer_unpack_array(d, body, ANSWER_FIELDS, &items);

    *out = (struct peer_quorum_answer){.ok = rc == 0};
    if (rc != 0) {
        rc = peer_unpack_array(d, body, ANSWER_FIELDS_NO, &items);
    }
    if (rc != 0) {
        return rc;
    }
    if (!unpack_uint(&items[0], UINT64_MAX, &out->id) ||
        !unpack_u32(&items[1], KV_GROUPS_MAX - 1, &out->group) ||
        !unpack_u32(&items[2], UINT32_MAX, &out->replica) || out->replica == 0) {
        return KV_EPROTO;
    }
    if (!out->ok) {
        return 0;
    }
    out->found = !unpack_is_nil(&items[12]);
    return unpack_uint(&items[3], UINT64_MAX, &out->applied) &&
                   unpack_uint(&items[4], UINT64_MAX, &out->pending) &&
                   unpack_uint(&items[5], UINT64_MAX, &out->term) &&
                   unpack_uint(&items[6], UINT64_MAX, &out->rev) &&
                   unpack_uint(&items[7], UINT64_MAX, &out->config_index) &&
                   unpack_uint(&items[8], UINT64_MAX, &out->before_index) &&
                   unpack_bool(&items[9], &out->is_committed) &&
                   unpack_config(&items[10], &out->config) &&
                   unpack_config(&items[11], &out->before) &&
                   (!out->found || (unpack_bytes(&items[12], &out->value) &&
                                    out->value.len <= KV_VALUE_BYTES_MAX)) &&
                   unpack_uint(&items[13], UINT64_MAX, &out->key_rev)
               ? 0
               : KV_EPROTO;
}
