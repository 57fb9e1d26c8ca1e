/* server/node_request.c - decodes requests, answers what needs no group. */
#include "raft/base/err.h"
#include "rpc/slot.h"
#include "rpc/token.h"
#include "server/conn.h"
#include "server/delrange.h"
#include "server/meta.h"
#include "server/news.h"
#include "server/node_parts.h"
#include "server/quorum.h"
#include "server/range.h"
#include "server/reply.h"
#include "server/router.h"
#include "server/txn.h"
#include "server/watch.h"

enum {
    /* Levels of reads that this version serves. */
    NODE_LEVELS =
        1u << RPC_LINEARIZABLE | 1u << RPC_QUORUM | 1u << RPC_SESSION | 1u << RPC_STALE,
};

/* Sessions are below it: clients whose numbers are doubles keep them exactly. */
#define NODE_SESSION_MAX ((uint64_t)1 << 53)

/* ---- answers without a group ---- */

void node_reply_encoded(struct request *req, struct buf *b)
{
    struct kv_bytes tail;
    uint32_t msgid;

    if (b->error != 0 || rpc_response_split(buf_bytes(b), &msgid, &tail) != 0) {
        reply_error(req, KV_EBUSY, "no memory for the reply");
    } else {
        reply_tail(req, tail);
    }
}

static struct rpc_at node_at(const struct node *n)
{
    return (struct rpc_at){.node = n->config.id, .level = RPC_LINEARIZABLE};
}

static void request_hello(struct node *n, struct request *req)
{
    struct rpc_at at = node_at(n);
    struct rpc_hello hello = {
        .server = kv_bytes_str("kvd"),
        .version = kv_bytes_str(KV_VERSION_STRING),
        .proto = RPC_PROTO,
        .node = n->config.id,
        .cluster = meta_cluster(n),
        /* Its own: kvjepsen sees by it which clocks are wrong. */
        .time_ms = n->env->ops->wall_ms(n->env),
    };
    struct buf b;

    if (req->rpc.options.leaders && req->origin == REQ_FROM_CONN) {
        news_subscribe(n, req->conn);
    }
    buf_init(&b, 64 * 1024);
    rpc_reply_hello(&b, 0, &at, &hello);
    node_reply_encoded(req, &b);
    buf_close(&b);
}

/* The highest time that this node knows of: its clock, and its groups' entries. */
static uint64_t cluster_time_ms(struct node *n)
{
    uint64_t time_ms = n->env->ops->wall_ms(n->env);

    for (group_id id = 0; id < n->groups_end; id++) {
        const struct group *g = node_group(n, id);

        if (g != NULL) {
            time_ms = KV_MAX(time_ms, group_state_meta(g)->applied.time_ms);
        }
    }
    return time_ms;
}

/* A session is a number: groups hear of it with its first write. */
static void request_session(struct node *n, struct request *req)
{
    struct rpc_at at = node_at(n);
    struct rpc_session session = {.ttl_ms = n->config.limits.retention_ms,
                                  .time_ms = cluster_time_ms(n)};
    struct buf b;

    buf_init(&b, 4096);
    if (req->rpc.method == RPC_SESSION_CLOSE) {
        rpc_reply_session_closed(&b, 0, &at);
    } else {
        if (req->rpc.method == RPC_SESSION_OPEN) {
            session.session = 1 + n->env->ops->random(n->env) % (NODE_SESSION_MAX - 1);
        }
        rpc_reply_session(&b, 0, &at, &session);
    }
    node_reply_encoded(req, &b);
    buf_close(&b);
}

/* Voters as node ids: from the replica's own log, else from the map. */
static void status_voters(const struct node *n, group_id id,
                          struct rpc_group_status *out)
{
    const struct group *g = node_group(n, id);
    const struct map_group *mg =
        n->map_known ? map_group_find(&n->map, (uint16_t)id) : NULL;
    uint32_t i;

    if (g != NULL) {
        const struct raft_config *c = group_config(g);

        for (i = 0; i < c->voters_count && i < KV_ARRAY_COUNT(out->voters); i++) {
            out->voters[out->voters_count++] = node_of_replica(n, id, c->voters[i]);
        }
        out->w = c->w != 0 ? c->w : c->voters_count / 2 + 1;
    } else if (mg != NULL) {
        for (i = 0; i < mg->replicas_count; i++) {
            out->voters[out->voters_count++] = mg->replicas[i].node;
        }
        out->w = mg->w != 0 ? mg->w : (uint32_t)mg->replicas_count / 2 + 1;
    }
}

void node_group_status(const struct node *n, group_id id, struct rpc_group_status *out)
{
    const struct group *g = node_group(n, id);
    struct raft_status status;

    *out = (struct rpc_group_status){.id = id, .leader = router_leader(n, id)};
    if (g != NULL) {
        group_raft_status(g, &status);
        out->term = status.term;
        out->commit = status.commit;
        out->applied = status.applied;
    }
    status_voters(n, id, out);
}

static void request_status(struct node *n, struct request *req)
{
    struct rpc_at at = node_at(n);
    struct rpc_group_status *groups;
    uint32_t count = 0, i;
    struct buf b;

    groups = arena_alloc(&req->arena, (n->map.groups_count + 1) * sizeof(*groups));
    if (groups == NULL) {
        reply_error(req, KV_EBUSY, "no memory for the reply");
        return;
    }
    for (i = 0; i < n->map.groups_count; i++) {
        node_group_status(n, n->map.groups[i].id, &groups[count++]);
    }
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    rpc_reply_status(&b, 0, &at, &n->map, groups, count);
    node_reply_encoded(req, &b);
    buf_close(&b);
}

static void request_map(struct node *n, struct request *req)
{
    struct rpc_at at = node_at(n);
    uint32_t *leaders;
    uint32_t i;
    struct buf b;

    leaders = arena_alloc(&req->arena, (n->map.groups_count + 1) * sizeof(*leaders));
    if (leaders == NULL) {
        reply_error(req, KV_EBUSY, "no memory for the reply");
        return;
    }
    for (i = 0; i < n->map.groups_count; i++) {
        leaders[i] = router_leader(n, n->map.groups[i].id);
    }
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    rpc_reply_map(&b, 0, &at, &n->map, leaders);
    node_reply_encoded(req, &b);
    buf_close(&b);
}

/* ---- decoding and routing ---- */

/* Reads the message. False: it was answered. */
static bool request_decode(struct node *n, struct request *req)
{
    struct rpc_error error = {0};
    int rc = rpc_request_decode(&n->decoder, req->message, &req->rpc, &error);
    struct rpc_options asked = req->rpc.options;

    if (rc == 0) {
        if (rpc_method_lock(req->rpc.method) != RPC_UNKNOWN) {
            asked.has &= ~RPC_OPT_BIT(RPC_OPT_wait_ms);
        }
        rc = rpc_options_refuse(&asked, NODE_LEVELS, &error);
    }
    if (rc == 0 && asked.fence_lock.len > 0 && asked.level != RPC_LINEARIZABLE) {
        rc = rpc_error_set(&error, KV_EBADREQUEST,
                           "option fence needs the level linearizable");
    }
    if (rc == 0 && !token_is_valid(req->rpc.options.token, meta_cluster(n))) {
        rc = rpc_error_set(&error, KV_EBADREQUEST,
                           "option token is none of this cluster's, or was changed");
    }
    if (rc == 0 && !token_is_valid(req->rpc.options.pos, meta_cluster(n))) {
        rc = rpc_error_set(&error, KV_EBADREQUEST,
                           "option pos is none of this cluster's, or was changed");
    }
    if (rc == KV_ENOMEM) {
        reply_error(req, KV_EBUSY, "no memory to decode the request");
    } else if (rc != 0) {
        reply_error(req, rc == KV_EPROTO ? KV_EBADREQUEST : rc, "%s",
                    error.text[0] != '\0' ? error.text : "not a request");
    }
    return rc == 0;
}

static void request_deadline(struct node *n, struct request *req)
{
    uint32_t ms = req->rpc.options.deadline_ms;

    if (ms == 0) {
        ms = n->config.request_deadline_ms;
    }
    ms = KV_MIN(ms, (uint32_t)NODE_DEADLINE_MS_MAX);
    /* A forwarding node has said how much is left: never more than that. */
    if (req->deadline_ms == 0 || n->now_ms + ms < req->deadline_ms) {
        req->deadline_ms = n->now_ms + ms;
    }
}

/* A txn's lists live in the decoder: its command is made here. */
static void request_txn(struct node *n, struct request *req)
{
    struct rpc_error error = {0};
    int rc = txn_encode(&req->rpc, &req->arena, &req->txn, &req->slot, &error);

    if (rc != 0) {
        reply_error(req, rc == KV_ENOMEM ? KV_EBUSY : rc, "%s", error.text);
        return;
    }
    router_submit(n, req);
}

static void request_route(struct node *n, struct request *req)
{
    switch (req->rpc.method) {
    case RPC_HELLO:
        request_hello(n, req);
        return;
    case RPC_CLUSTER_STATUS:
        request_status(n, req);
        return;
    case RPC_CLUSTER_MAP:
        request_map(n, req);
        return;
    case RPC_SESSION_OPEN:
    case RPC_SESSION_KEEPALIVE:
    case RPC_SESSION_CLOSE:
        request_session(n, req);
        return;
    case RPC_KV_RANGE:
        if (req->rpc.options.level == RPC_QUORUM) {
            reply_error(req, KV_EBADREQUEST,
                        "kv.range is not served at level quorum; linearizable is the "
                        "same promise");
        } else if (req->is_part) {
            router_submit(n, req);
        } else {
            range_submit(n, req);
        }
        return;
    case RPC_KV_DELRANGE:
        if (req->is_part) {
            router_submit(n, req);
        } else {
            delrange_submit(n, req);
        }
        return;
    case RPC_KV_GET:
    case RPC_KV_PUT:
    case RPC_KV_DEL:
    case RPC_KV_CAS:
    case RPC_KV_INCR:
    case RPC_KV_GETSET:
        req->slot = slot_of(req->rpc.key);
        if (req->rpc.options.level == RPC_QUORUM) {
            quorum_submit(n, req);
        } else {
            router_submit(n, req);
        }
        return;
    case RPC_KV_TXN:
        request_txn(n, req);
        return;
    case RPC_CLUSTER_SET_W:
        router_submit(n, req);
        return;
    case RPC_KV_WATCH:
        watch_submit(n, req);
        return;
    case RPC_KV_UNWATCH:
        watch_end_submit(n, req);
        return;
    default:
        if (rpc_method_lock(req->rpc.method) != RPC_UNKNOWN) {
            req->slot = slot_of(req->rpc.key);
            router_submit(n, req);
            return;
        }
        reply_error(req, KV_EBADREQUEST, "%s is not served by this version",
                    rpc_method_name(req->rpc.method));
        return;
    }
}

/* Do groups answer it? */
static bool is_of_groups(enum rpc_method method)
{
    switch (method) {
    case RPC_KV_GET:
    case RPC_KV_PUT:
    case RPC_KV_DEL:
    case RPC_KV_CAS:
    case RPC_KV_INCR:
    case RPC_KV_RANGE:
    case RPC_KV_TXN:
    case RPC_KV_GETSET:
    case RPC_KV_DELRANGE:
        return true;
    default:
        return rpc_method_lock(method) != RPC_UNKNOWN;
    }
}

void node_request(struct node *n, struct request *req)
{
    KV_ASSERT(req->phase == REQ_READING);
    req->begin_us = n->env->ops->now_us(n->env);
    if (!request_decode(n, req)) {
        return;
    }
    req->is_write = rpc_method_is_write(req->rpc.method);
    request_deadline(n, req);
    if (req->is_part && req->rpc.method != RPC_KV_RANGE &&
        req->rpc.method != RPC_KV_DELRANGE) {
        reply_error(req, KV_EBADREQUEST, "only kv.range and kv.delrange have parts");
        return;
    }
    if (n->phase == NODE_STOPPING && req->origin == REQ_FROM_CONN &&
        is_of_groups(req->rpc.method)) {
        reply_error(req, KV_ENOLEADER, "node %u is stopping; ask another node",
                    n->config.id);
        return;
    }
    request_route(n, req);
}
