/* client/start.c - the two ways to carry out a request: kv_start() and kv_wait(). */
#include "client/client.h"

#include <signal.h>
#include <stdio.h>

enum {
    CATCH_UP_TURNS = 3, /* Of the private loop, before it takes a new call. */
};

/* ---- checking ---- */

static const struct start_row {
    enum rpc_method method;
    bool has_key;
    bool needs_value;
} start_rows[] = {
    [KV_OP_GET] = {RPC_KV_GET, true, false},
    [KV_OP_PUT] = {RPC_KV_PUT, true, true},
    [KV_OP_DEL] = {RPC_KV_DEL, true, false},
    [KV_OP_CAS] = {RPC_KV_CAS, true, false},
    [KV_OP_INCR] = {RPC_KV_INCR, true, false},
    [KV_OP_RANGE] = {RPC_KV_RANGE, false, false},
    [KV_OP_STATUS] = {RPC_CLUSTER_STATUS, false, false},
    [KV_OP_MAP] = {RPC_CLUSTER_MAP, false, false},
    [KV_OP_TXN] = {RPC_KV_TXN, false, false},
    [KV_OP_LOCK] = {RPC_LOCK_ACQUIRE, true, false},
    [KV_OP_LOCK_KEEPALIVE] = {RPC_LOCK_KEEPALIVE, true, false},
    [KV_OP_LOCK_RELEASE] = {RPC_LOCK_RELEASE, true, false},
    [KV_OP_LOCK_INFO] = {RPC_LOCK_INFO, true, false},
    [KV_OP_GETSET] = {RPC_KV_GETSET, true, true},
    [KV_OP_SET_W] = {RPC_CLUSTER_SET_W, false, false},
    [KV_OP_DELRANGE] = {RPC_KV_DELRANGE, false, false},
};

/* Notes a text and returns its error. */
static int refuse(struct kv_client *c, int error, const char *what)
{
    (void)snprintf(c->last_error, sizeof c->last_error, "%s: %s", kv_errname(error),
                   what);
    return error;
}

/* What concerns locks and fences. */
static int lock_check(struct kv_client *c, const struct kv_request *q)
{
    bool is_lock = q->op >= KV_OP_LOCK && q->op <= KV_OP_LOCK_INFO;

    if (is_lock && q->key.len > KV_LOCK_NAME_BYTES_MAX) {
        return refuse(c, KV_ETOOLARGE, "the lock's name is longer than 256 bytes");
    }
    if (q->owner.len > KV_LOCK_OWNER_BYTES_MAX || q->permits > KV_LOCK_PERMITS_MAX ||
        (is_lock && q->value.len > KV_LOCK_VALUE_BYTES_MAX)) {
        return refuse(
            c, KV_EINVAL,
            "the owner is longer than 128 bytes, the value than 512, or there "
            "are more than 512 permits");
    }
    if (q->op == KV_OP_LOCK && q->owner.len == 0) {
        return refuse(c, KV_EINVAL, "a lock needs an owner");
    }
    if (q->op == KV_OP_LOCK_KEEPALIVE && q->lock_token == 0) {
        return refuse(c, KV_EINVAL, "a keepalive needs the token");
    }
    if (q->op == KV_OP_LOCK_RELEASE && q->lock_token == 0 && q->owner.len == 0) {
        return refuse(c, KV_EINVAL, "a release needs the token or the owner");
    }
    if (q->wait_ms > KV_OPTION_MS_MAX ||
        (is_lock && (q->ttl_ms > KV_OPTION_MS_MAX ||
                     (q->ttl_ms > 0 && q->ttl_ms < KV_LOCK_TTL_MS_MIN)))) {
        return refuse(c, KV_EINVAL, "a lease has 100 ms to 7 days");
    }
    if (!is_lock && q->ttl_ms > 0 &&
        ((q->op != KV_OP_PUT && q->op != KV_OP_GETSET) || q->ttl_ms > KV_TTL_MS_MAX)) {
        return refuse(c, KV_EINVAL, "ttl_ms is for put and getset, up to 30 days");
    }
    if (q->fence_lock.len > KV_LOCK_NAME_BYTES_MAX ||
        (q->fence_lock.len > 0) != (q->fence_token > 0)) {
        return refuse(c, KV_EINVAL, "a fence is a lock of up to 256 bytes and a token");
    }
    return 0;
}

/* Refuses what the server would refuse, before it costs a round trip. */
static int request_check(struct kv_client *c, const struct kv_request *q)
{
    bool is_range = q->op == KV_OP_RANGE || q->op == KV_OP_DELRANGE;

    if (c->state != CLIENT_OPEN) {
        return refuse(c, KV_ECLOSED, "the client was closed");
    }
    if (q->op < KV_OP_GET || (size_t)q->op >= KV_ARRAY_COUNT(start_rows)) {
        return refuse(c, KV_EINVAL, "not a request that this library knows");
    }
    if (start_rows[q->op].has_key && q->key.len < KV_KEY_BYTES_MIN) {
        return refuse(c, KV_EINVAL, "the key is empty");
    }
    if (q->key.len > (is_range ? KV_BOUND_BYTES_MAX : KV_KEY_BYTES_MAX) ||
        (is_range && q->value.len > KV_BOUND_BYTES_MAX)) {
        return refuse(c, KV_ETOOLARGE, "the key is longer than 480 bytes");
    }
    if (q->value.len > KV_VALUE_BYTES_MAX || q->expected.len > KV_VALUE_BYTES_MAX ||
        q->value.len + q->expected.len > KV_REQUEST_BYTES_MAX - 4096) {
        return refuse(c, KV_ETOOLARGE,
                      "the value is longer than 1 MiB, or a cas has "
                      "more than 1.5 MiB in both values");
    }
    if (start_rows[q->op].needs_value && q->value.data == NULL) {
        return refuse(c, KV_EINVAL, "the value is nil");
    }
    if ((q->key.data == NULL && q->key.len > 0) ||
        (q->value.data == NULL && q->value.len > 0) ||
        (q->expected.data == NULL && q->expected.len > 0) ||
        (q->idem.data == NULL && q->idem.len > 0)) {
        return refuse(c, KV_EINVAL, "a length without bytes");
    }
    if (q->deadline_ms > KV_OPTION_MS_MAX || q->max_age_ms > KV_OPTION_MS_MAX) {
        return refuse(c, KV_EINVAL, "a time is longer than 7 days");
    }
    if (q->idem.len > 0 && !kv_session_takes(start_rows[q->op].method)) {
        return refuse(c, KV_EINVAL, "idem is for writes of keys");
    }
    if (q->idem.len > KV_IDEM_BYTES_MAX || q->idem_ttl_ms > KV_IDEM_TTL_MS_MAX ||
        (q->idem_ttl_ms != 0 && q->idem.len == 0)) {
        return refuse(c, KV_EINVAL,
                      "idem has more than 255 bytes, or idem_ttl_ms is "
                      "more than a day, or without idem");
    }
    if (q->limit > KV_RANGE_ITEMS_MAX) {
        return refuse(c, KV_EINVAL, "the limit is greater than 10000");
    }
    if (q->w > KV_QUORUM_MAX || q->group >= KV_GROUPS_MAX) {
        return refuse(c, KV_EINVAL, "w is greater than 16, or group than 1023");
    }
    if ((uint32_t)q->level > KV_LEVEL_STALE) {
        return refuse(c, KV_EINVAL, "no such level");
    }
    return lock_check(c, q);
}

/* ---- starting ---- */

/* The common part. */
static int start(struct kv_client *c, const struct kv_request *request,
                 kv_callback callback, void *ctx)
{
    struct kv_call_spec spec = {
        .request = *request,
        .callback = callback,
        .ctx = ctx,
    };
    const char *wrong = NULL;
    struct kv_call *call;
    struct buf packed;
    int rc = request_check(c, request);

    if (rc != 0) {
        return rc;
    }
    buf_init(&packed, KV_REQUEST_BYTES_MAX);
    if (request->op == KV_OP_TXN) {
        rc = kv_txn_pack(request->txn, &packed, &spec.request.key, &wrong);
        if (rc != 0) {
            buf_close(&packed);
            return refuse(c, rc, wrong);
        }
        spec.request.value = kv_mem(packed.data, packed.len);
    }
    spec.method = start_rows[request->op].method;
    rc = kv_call_begin(c, &spec, &call);
    buf_close(&packed);
    if (rc != 0) {
        return refuse(c, rc,
                      rc == KV_EBUSY ? "too many calls under way" : kv_strerror(rc));
    }
    kv_route_refresh(c);
    return 0;
}

int kv_start(struct kv_client *c, struct kv_request request, kv_callback callback,
             void *ctx)
{
    if (callback == NULL || c->own_loop != NULL) {
        return refuse(c, KV_EINVAL,
                      callback == NULL ? "no callback"
                                       : "kv_start() needs a client on your own loop");
    }
    return start(c, &request, callback, ctx);
}

/* ---- waiting ---- */

static void on_waited(struct kv_client *c, const struct kv_result *result, void *ctx)
{
    const struct kv_result **out_copy = ctx;

    (void)c;
    *out_copy = kv_result_copy(result);
}

/* A write to a connection that the server has closed raises SIGPIPE, which would end a
 * program that never thought of it. Blocks it in this thread; returns whether it was
 * neither blocked nor pending before, so that sigpipe_restore() may take one away. */
static bool sigpipe_block(sigset_t *old)
{
    sigset_t pending;
    sigset_t mine;

    (void)sigemptyset(&mine);
    (void)sigaddset(&mine, SIGPIPE);
    (void)sigemptyset(&pending);
    (void)sigpending(&pending);
    if (sigismember(&pending, SIGPIPE) == 1 ||
        pthread_sigmask(SIG_BLOCK, &mine, old) != 0) {
        return false;
    }
    return true;
}

static void sigpipe_restore(const sigset_t *old)
{
    static const struct timespec at_once = {0, 0};
    sigset_t mine;

    (void)sigemptyset(&mine);
    (void)sigaddset(&mine, SIGPIPE);
    (void)sigtimedwait(&mine, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

const struct kv_result *kv_wait(struct kv_client *c, struct kv_request request)
{
    const struct kv_result *copy = NULL;
    bool is_blocked;
    sigset_t old;
    int rc;

    if (c->own_loop == NULL) {
        rc = refuse(c, KV_EINVAL, "kv_wait() needs a client with a private loop");
        return kv_result_error(request.op, rc, c->last_error);
    }
    is_blocked = sigpipe_block(&old);
    /* Nobody ran the loop since the last call: connections may have ended meanwhile,
     * and a request must not be sent on one of those. libuv sees an end that stands
     * behind late bytes only in the turn after those. */
    for (int i = 0; i < CATCH_UP_TURNS; i++) {
        (void)uv_run(c->own_loop, UV_RUN_NOWAIT);
    }
    rc = start(c, &request, on_waited, &copy);
    while (rc == 0 && copy == NULL) {
        (void)uv_run(c->own_loop, UV_RUN_ONCE);
    }
    if (is_blocked) {
        sigpipe_restore(&old);
    }
    return rc == 0 ? copy : kv_result_error(request.op, rc, c->last_error);
}
