/* rpc/request_encode.c - requests as clients send them. */
#include "rpc/pack.h"
#include "rpc/request.h"

/* Flags, what else a watch takes, and what a lock shows. */
static void encode_flag(struct buf *b, const struct rpc_options *o,
                        enum rpc_option option)
{
    if (option == RPC_OPT_group) {
        pack_uint(b, o->group);
    } else if (option == RPC_OPT_value) {
        pack_bin(b, o->value);
    } else if (option == RPC_OPT_pos) {
        pack_bin(b, o->pos);
    } else if (option == RPC_OPT_only) {
        pack_str(b, o->only == RPC_ONLY_PUT ? "put" : "del");
    } else {
        pack_bool(b, option == RPC_OPT_forward   ? o->forward
                     : option == RPC_OPT_prev    ? o->prev
                     : option == RPC_OPT_leaders ? o->leaders
                                                 : o->prefix);
    }
}

static void encode_option(struct buf *b, const struct rpc_options *o,
                          enum rpc_option option)
{
    switch (option) {
    case RPC_OPT_level:
        pack_str(b, rpc_level_name(o->level));
        break;
    case RPC_OPT_r:
        pack_uint(b, o->r);
        break;
    case RPC_OPT_w:
        pack_uint(b, o->w);
        break;
    case RPC_OPT_token:
        pack_bin(b, o->token);
        break;
    case RPC_OPT_max_age_ms:
        pack_uint(b, o->max_age_ms);
        break;
    case RPC_OPT_session:
        pack_uint(b, o->session);
        break;
    case RPC_OPT_if_rev:
        pack_uint(b, o->if_rev);
        break;
    case RPC_OPT_seq:
        pack_uint(b, o->seq);
        break;
    case RPC_OPT_ack:
        pack_uint(b, o->ack);
        break;
    case RPC_OPT_idem_ttl_ms:
        pack_uint(b, o->idem_ttl_ms);
        break;
    case RPC_OPT_idem:
        pack_bin(b, o->idem);
        break;
    case RPC_OPT_stamp:
        pack_uint(b, o->stamp);
        break;
    case RPC_OPT_fence:
        pack_array(b, 2);
        pack_bin(b, o->fence_lock);
        pack_uint(b, o->fence_token);
        break;
    case RPC_OPT_ttl_ms:
        pack_uint(b, o->ttl_ms);
        break;
    case RPC_OPT_wait_ms:
        pack_uint(b, o->wait_ms);
        break;
    case RPC_OPT_deadline_ms:
        pack_uint(b, o->deadline_ms);
        break;
    case RPC_OPT_limit:
        pack_uint(b, o->limit);
        break;
    case RPC_OPT_owner:
        pack_bin(b, o->owner);
        break;
    case RPC_OPT_forward:
    case RPC_OPT_prefix:
    case RPC_OPT_prev:
    case RPC_OPT_only:
    case RPC_OPT_pos:
    case RPC_OPT_group:
    case RPC_OPT_value:
    case RPC_OPT_leaders:
        encode_flag(b, o, option);
        break;
    case RPC_OPTIONS_COUNT:
        KV_UNREACHABLE();
    }
}

static void encode_options(struct buf *b, const struct rpc_options *o)
{
    static const char *const names[RPC_OPTIONS_COUNT] = {
#define OPTION_NAME(name) [RPC_OPT_##name] = #name,
        RPC_OPTION_MAP(OPTION_NAME)
#undef OPTION_NAME
    };

    pack_map(b, (uint32_t)__builtin_popcount(o->has));
    for (uint32_t i = 0; i < RPC_OPTIONS_COUNT; i++) {
        if ((o->has & RPC_OPT_BIT(i)) != 0) {
            pack_str(b, names[i]);
            encode_option(b, o, (enum rpc_option)i);
        }
    }
}

/* Parameters of the method, without the options. */
static uint32_t encode_params_count(enum rpc_method method)
{
    switch (method) {
    case RPC_KV_GET:
    case RPC_KV_DEL:
    case RPC_SESSION_KEEPALIVE:
    case RPC_SESSION_CLOSE:
    case RPC_KV_WATCH:
    case RPC_KV_UNWATCH:
        return 1;
    case RPC_KV_PUT:
    case RPC_KV_GETSET:
    case RPC_KV_INCR:
    case RPC_KV_RANGE:
    case RPC_KV_DELRANGE:
    case RPC_CLUSTER_SET_W:
        return 2;
    case RPC_KV_CAS:
    case RPC_KV_TXN:
        return 3;
    case RPC_LOCK_ACQUIRE:
        return 1;
    default:
        return rpc_method_lock(method) == RPC_UNKNOWN     ? 0
               : rpc_method_lock(method) == RPC_LOCK_INFO ? 1
                                                          : 2;
    }
}

static void encode_lock(struct buf *b, const struct rpc_request *q)
{
    pack_bin(b, q->key);
    switch (rpc_method_lock(q->method)) {
    case RPC_LOCK_ACQUIRE:
        if (q->method == RPC_SEM_ACQUIRE) {
            pack_uint(b, q->permits);
        } else if (q->method == RPC_ELECTION_CAMPAIGN) {
            pack_bin(b, q->value);
        }
        break;
    case RPC_LOCK_KEEPALIVE:
    case RPC_LOCK_RELEASE:
        pack_uint(b, q->token);
        break;
    default:
        break;
    }
}

static void encode_params(struct buf *b, const struct rpc_request *q)
{
    switch (q->method) {
    case RPC_KV_GET:
    case RPC_KV_DEL:
        pack_bin(b, q->key);
        break;
    case RPC_KV_PUT:
    case RPC_KV_GETSET:
        pack_bin(b, q->key);
        pack_bin(b, q->value);
        break;
    case RPC_KV_INCR:
        pack_bin(b, q->key);
        pack_int(b, q->delta);
        break;
    case RPC_KV_CAS:
        pack_bin(b, q->key);
        pack_bin_or_nil(b, q->has_expected, q->expected);
        pack_bin_or_nil(b, q->has_replacement, q->replacement);
        break;
    case RPC_SESSION_KEEPALIVE:
    case RPC_SESSION_CLOSE:
        pack_uint(b, q->session);
        break;
    case RPC_KV_WATCH:
        if (q->is_range) {
            pack_array(b, 2);
            pack_bin(b, q->begin);
            pack_bin(b, q->end);
        } else {
            pack_bin(b, q->key);
        }
        break;
    case RPC_KV_UNWATCH:
        pack_uint(b, q->watch);
        break;
    case RPC_KV_RANGE:
    case RPC_KV_DELRANGE:
        pack_bin(b, q->begin);
        pack_bin(b, q->end);
        break;
    case RPC_CLUSTER_SET_W:
        pack_uint(b, q->group);
        pack_uint(b, q->w);
        break;
    case RPC_KV_TXN:
        buf_append_bytes(b, q->txn_packed);
        break;
    default:
        if (rpc_method_lock(q->method) != RPC_UNKNOWN) {
            encode_lock(b, q);
        }
        break;
    }
}

void rpc_request_encode(struct buf *b, const struct rpc_request *q)
{
    uint32_t count = encode_params_count(q->method);

    KV_ASSERT(rpc_method_is_served(q->method));
    KV_ASSERT(q->type == RPC_REQUEST || q->type == RPC_NOTIFICATION);
    if (q->type == RPC_REQUEST) {
        pack_array(b, 4);
        pack_uint(b, RPC_REQUEST);
        pack_uint(b, q->msgid);
    } else {
        pack_array(b, 3);
        pack_uint(b, RPC_NOTIFICATION);
    }
    pack_str(b, rpc_method_name(q->method));
    pack_array(b, count + (q->options.has != 0 ? 1 : 0));
    encode_params(b, q);
    if (q->options.has != 0) {
        encode_options(b, &q->options);
    }
}
