/* rpc/method.c - names of methods and levels. */
#include "rpc/method.h"

const struct method_row method_rows[RPC_METHODS_COUNT] = {[RPC_UNKNOWN] = {.name = "?"},
#define METHOD_ROW(id, wire, fewest, most, is_served) \
    [id] = {.name = wire,                             \
            .name_len = sizeof(wire) - 1,             \
            .params_min = (fewest),                   \
            .params_max = (most),                     \
            .served = (is_served)},
                                                          RPC_METHOD_MAP(METHOD_ROW)
#undef METHOD_ROW
};

static const char *const level_names[RPC_LEVELS_COUNT] = {
#define LEVEL_NAME(id, wire) [id] = wire,
    RPC_LEVEL_MAP(LEVEL_NAME)
#undef LEVEL_NAME
};

const char *rpc_method_name(enum rpc_method method)
{
    KV_ASSERT(method < RPC_METHODS_COUNT);
    return method_rows[method].name;
}

bool rpc_method_is_served(enum rpc_method method)
{
    KV_ASSERT(method < RPC_METHODS_COUNT);
    return method_rows[method].served;
}

bool rpc_method_is_write(enum rpc_method method)
{
    switch (method) {
    case RPC_HELLO:
    case RPC_KV_GET:
    case RPC_KV_RANGE:
    case RPC_CLUSTER_STATUS:
    case RPC_CLUSTER_MAP:
    case RPC_KV_WATCH:
    case RPC_KV_UNWATCH:
    case RPC_LOCK_INFO:
    case RPC_SESSION_OPEN: /* A number is drawn; nothing is kept. */
    case RPC_SESSION_KEEPALIVE:
    case RPC_SESSION_CLOSE:
    case RPC_SEM_INFO:
    case RPC_ELECTION_LEADER:
    case RPC_LOCK_KEEPALIVE: /* Changes nothing that is replicated. */
    case RPC_SEM_KEEPALIVE:
    case RPC_ELECTION_KEEPALIVE:
        return false;
    case RPC_UNKNOWN:
    case RPC_CLUSTER_SET_W:
    case RPC_KV_PUT:
    case RPC_KV_DEL:
    case RPC_KV_CAS:
    case RPC_KV_INCR:
    case RPC_KV_GETSET:
    case RPC_KV_DELRANGE:
    case RPC_KV_TXN:
    case RPC_LOCK_ACQUIRE:
    case RPC_LOCK_RELEASE:
    case RPC_SEM_ACQUIRE:
    case RPC_SEM_RELEASE:
    case RPC_ELECTION_CAMPAIGN:
    case RPC_ELECTION_RESIGN:
    case RPC_METHODS_COUNT:
        break;
    }
    return true;
}

enum rpc_method rpc_method_lock(enum rpc_method method)
{
    switch (method) {
    case RPC_LOCK_ACQUIRE:
    case RPC_SEM_ACQUIRE:
    case RPC_ELECTION_CAMPAIGN:
        return RPC_LOCK_ACQUIRE;
    case RPC_LOCK_KEEPALIVE:
    case RPC_SEM_KEEPALIVE:
    case RPC_ELECTION_KEEPALIVE:
        return RPC_LOCK_KEEPALIVE;
    case RPC_LOCK_RELEASE:
    case RPC_SEM_RELEASE:
    case RPC_ELECTION_RESIGN:
        return RPC_LOCK_RELEASE;
    case RPC_LOCK_INFO:
    case RPC_SEM_INFO:
    case RPC_ELECTION_LEADER:
        return RPC_LOCK_INFO;
    default:
        return RPC_UNKNOWN;
    }
}

const char *rpc_level_name(enum rpc_level level)
{
    KV_ASSERT(level < RPC_LEVELS_COUNT);
    return level_names[level];
}

enum rpc_method method_find(struct kv_bytes name)
{
    for (uint32_t i = RPC_UNKNOWN + 1; i < RPC_METHODS_COUNT; i++) {
        if (method_rows[i].name_len == name.len &&
            memcmp(method_rows[i].name, name.data, name.len) == 0) {
            return (enum rpc_method)i;
        }
    }
    return RPC_UNKNOWN;
}

bool method_find_level(struct kv_bytes name, enum rpc_level *out)
{
    for (uint32_t i = 0; i < RPC_LEVELS_COUNT; i++) {
        if (kv_bytes_equal(kv_bytes_str(level_names[i]), name)) {
            *out = (enum rpc_level)i;
            return true;
        }
    }
    return false;
}
