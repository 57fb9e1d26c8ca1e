/* server/delrange.c - asks every group for its step, adds up, answers once. */
#include "server/delrange.h"

#include "raft/base/err.h"
#include "rpc/token.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/reply.h"
#include "server/router.h"

/* One group's step. */
struct delrange_part {
    struct delrange *delrange;
    group_id group;
    struct rpc_at where; /* Of its answer, with what stands beside `at`. */
    bool more;
    size_t next_len;
    uint8_t next[KV_BOUND_BYTES_MAX]; /* more: from where on. */
};

/* All steps of one request; lives in the request's arena, until the last one ended. */
struct delrange {
    struct node *node;
    struct request *parent;
    uint32_t asked; /* Parts under way. */
    bool is_asking; /* Parts are being sent: the answer waits for the end of that. */
    struct delrange_part *parts;
    uint32_t parts_count;
    uint64_t deleted; /* By the parts that are done. */
    int code; /* Of a part that failed; an unknown outcome goes before others. */
    char text[KV_ERROR_TEXT_MAX + 1];
};

enum {
    /* Options that each part has as well. */
    DELRANGE_PART_OPTIONS = RPC_OPT_BIT(RPC_OPT_w) | RPC_OPT_BIT(RPC_OPT_session) |
                            RPC_OPT_BIT(RPC_OPT_seq) | RPC_OPT_BIT(RPC_OPT_ack) |
                            RPC_OPT_BIT(RPC_OPT_idem) |
                            RPC_OPT_BIT(RPC_OPT_idem_ttl_ms) |
                            RPC_OPT_BIT(RPC_OPT_stamp) | RPC_OPT_BIT(RPC_OPT_fence) |
                            RPC_OPT_BIT(RPC_OPT_limit),
};

/* ---- the answer ---- */

static bool is_unknown(int code)
{
    return kv_err_outcome(code) == KV_OUTCOME_UNKNOWN;
}

/* The lowest place where a group goes on; the range's begin where a part was refused,
 * and a zero byte, which no key lies before, for an empty one. */
static struct kv_bytes next_of(const struct delrange *d)
{
    static const uint8_t first[1] = {0};
    struct kv_bytes next = kv_bytes(NULL, 0);

    if (d->code != 0) {
        next = d->parent->rpc.begin;
        return next.len > 0 ? next : kv_bytes(first, 1);
    }
    for (uint32_t i = 0; i < d->parts_count; i++) {
        struct kv_bytes its = kv_bytes(d->parts[i].next, d->parts[i].next_len);

        if (d->parts[i].more && (next.len == 0 || kv_bytes_compare(its, next) < 0)) {
            next = its;
        }
    }
    return next;
}

/* What the client has seen with all parts; false: no memory. */
static bool token_of(struct delrange *d, const struct rpc_at *ats, uint32_t count,
                     struct kv_bytes *out)
{
    const struct rpc_options *o = &d->parent->rpc.options;
    uint8_t one[TOKEN_ONE_BYTES_MAX];

    *out = o->token;
    for (uint32_t i = 0; i < count && (o->has & RPC_OPT_BIT(RPC_OPT_token)) != 0; i++) {
        size_t one_len =
            token_make(meta_cluster(d->node), ats[i].group, ats[i].rev, one);
        uint8_t *both = arena_alloc(&d->parent->arena, out->len + one_len);

        if (both == NULL) {
            return false;
        }
        *out = kv_bytes(both, token_merge(*out, kv_bytes(one, one_len), both));
    }
    return true;
}

/* Where the parts were done, and beside the first what holds for all of them. */
static uint32_t ats_of(const struct delrange *d, struct rpc_at *ats)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < d->parts_count; i++) {
        if (d->parts[i].where.group != 0) {
            ats[count++] = d->parts[i].where;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        ats[0].replicas = KV_MIN(ats[0].replicas, ats[i].replicas);
        ats[0].repeated = ats[0].repeated || ats[i].repeated;
    }
    return count;
}

static void answer_done(struct delrange *d)
{
    struct request *parent = d->parent;
    struct rpc_delrange_result result = {.deleted = d->deleted};
    struct rpc_at *ats = arena_zalloc(&parent->arena, d->parts_count * sizeof *ats);
    struct buf b;

    if (ats == NULL) {
        reply_error(parent, KV_EUNKNOWN,
                    "keys were deleted, but there is no memory "
                    "for the reply; read the range");
        return;
    }
    result.ats = ats;
    result.ats_count = ats_of(d, ats);
    result.next = next_of(d);
    result.more = result.next.len > 0;
    if (!token_of(d, ats, result.ats_count, &ats[0].token)) {
        reply_error(parent, KV_EUNKNOWN,
                    "keys were deleted, but there is no memory "
                    "for the token; read the range");
        return;
    }
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    rpc_reply_delrange(&b, 0, &result);
    if (b.error == 0) {
        node_reply_encoded(parent, &b);
    } else {
        reply_error(parent, KV_EUNKNOWN,
                    "keys were deleted, but there is no memory "
                    "for the reply; read the range");
    }
    buf_close(&b);
}

static void answer(struct delrange *d)
{
    if (d->asked > 0 || d->is_asking) {
        return;
    }
    if (is_unknown(d->code)) {
        reply_error(d->parent, KV_EUNKNOWN,
                    "%llu keys were deleted, and perhaps others: %s",
                    (unsigned long long)d->deleted, d->text);
    } else if (d->code != 0 && d->deleted == 0) {
        reply_error(d->parent, d->code, "%s", d->text);
    } else {
        answer_done(d);
    }
    /* d is gone. */
}

/* ---- parts ---- */

static void part_failed(struct delrange *d, int code, struct kv_bytes text)
{
    size_t len = KV_MIN(text.len, sizeof d->text - 1);

    if (d->code == 0 || (is_unknown(code) && !is_unknown(d->code))) {
        d->code = code;
        memcpy(d->text, len > 0 ? text.data : (const uint8_t *)"", len);
        d->text[len] = '\0';
    }
}

static void part_take(struct delrange_part *p, const struct rpc_reply *reply)
{
    struct delrange *d = p->delrange;

    d->deleted += reply->deleted_count;
    p->where = reply->at;
    p->where.replicas = reply->replicas;
    p->where.repeated = reply->repeated;
    p->more = reply->more;
    p->next_len = KV_MIN(reply->next.len, sizeof p->next);
    if (p->next_len > 0) {
        memcpy(p->next, reply->next.data, p->next_len);
    }
}

static void part_done(struct request *req, struct kv_bytes tail)
{
    struct delrange_part *p = req->owner;
    struct delrange *d = p->delrange;
    struct rpc_reply reply;
    int rc;

    KV_ASSERT(d->asked > 0);
    d->asked--;
    rc = rpc_reply_decode_tail(&d->node->decoder, tail, RPC_KV_DELRANGE, &reply);
    if (rc != 0) {
        part_failed(d, KV_EUNKNOWN, kv_bytes_str("no memory for a group's answer"));
    } else if (reply.error != 0) {
        part_failed(d, reply.error, reply.error_detail);
    } else {
        part_take(p, &reply);
    }
    answer(d);
}

/* Makes the request for a group's part. 0 or KV_EBUSY. */
static int part_ask(struct delrange *d, struct delrange_part *p)
{
    struct node *n = d->node;
    struct rpc_error error;
    struct rpc_request q;
    struct request *req = NULL;
    struct buf b;
    int rc;

    rpc_request_init(&q, RPC_KV_DELRANGE, 0);
    q.begin = d->parent->rpc.begin;
    q.end = d->parent->rpc.end;
    q.options = d->parent->rpc.options;
    q.options.forward = true;
    q.options.has &= DELRANGE_PART_OPTIONS;
    buf_init(&b, KV_REQUEST_BYTES_MAX);
    rpc_request_encode(&b, &q);
    rc = b.error != 0 ? b.error : request_new(n->requests, buf_bytes(&b), &req);
    buf_close(&b);
    if (rc != 0) {
        return KV_EBUSY;
    }
    rc = rpc_request_decode(&n->decoder, req->message, &req->rpc, &error);
    KV_ASSERT(rc == 0 || rc == KV_ENOMEM);
    req->origin = REQ_FROM_INTERNAL;
    req->owner = p;
    req->on_done = part_done;
    req->is_part = true;
    req->is_write = true;
    req->group = p->group;
    req->deadline_ms = d->parent->deadline_ms;
    req->begin_us = d->parent->begin_us;
    d->asked++;
    if (rc != 0) {
        reply_error(req, KV_EBUSY, "no memory to decode the request");
    } else {
        router_submit(n, req);
    }
    return 0;
}

/* ---- the request ---- */

static struct delrange *delrange_make(struct node *n, struct request *req)
{
    struct delrange *d = arena_zalloc(&req->arena, sizeof *d);
    uint32_t count = n->map.groups_count;

    if (d == NULL) {
        return NULL;
    }
    d->parts = arena_zalloc(&req->arena, count * sizeof *d->parts);
    if (d->parts == NULL) {
        return NULL;
    }
    d->node = n;
    d->parent = req;
    for (uint32_t i = 0; i < count; i++) {
        if (n->map.groups[i].id != MAP_GROUP_META) {
            struct delrange_part *p = &d->parts[d->parts_count++];

            p->delrange = d;
            p->group = n->map.groups[i].id;
        }
    }
    return d;
}

void delrange_submit(struct node *n, struct request *req)
{
    struct delrange *d = NULL;

    if (!n->map_known) {
        reply_error(req, KV_ENOLEADER, "the cluster has no map yet; waiting: %s",
                    n->waiting_for);
        return;
    }
    d = delrange_make(n, req);
    if (d == NULL || d->parts_count == 0) {
        reply_error(req, KV_EBUSY, "no memory for the parts of the range; try again");
        return;
    }
    request_move(req, REQ_WAITING);
    d->is_asking = true;
    for (uint32_t i = 0; i < d->parts_count; i++) {
        if (part_ask(d, &d->parts[i]) != 0) {
            part_failed(d, KV_EBUSY,
                        kv_bytes_str("the node's memory for requests is used up"));
        }
    }
    d->is_asking = false;
    answer(d);
}
