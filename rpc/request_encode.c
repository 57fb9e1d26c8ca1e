/* rpc/request_encode.c - requests as clients send them. */
#include "rpc/pack.h"
#include "rpc/request.h"

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
    case RPC_OPT_forward:
        pack_bool(b, o->forward);
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
        return 1;
    case RPC_KV_PUT:
    case RPC_KV_INCR:
    case RPC_KV_RANGE:
    case RPC_CLUSTER_SET_W:
        return 2;
    case RPC_KV_CAS:
    case RPC_KV_TXN:
        return 3;
    default:
        return 0;
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
    case RPC_KV_RANGE:
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
