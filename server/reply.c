/* server/reply.c - encodes the answer where the request came from, and frees it. */
#include "server/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "raft/base/err.h"
#include "rpc/buf.h"
#include "rpc/token.h"
#include "server/conn.h"
#include "server/meta.h"
#include "server/peers.h"
#include "storage/failpoint.h"

/* ---- encoding ---- */

/* One answer: an error, or a result. */
struct answer {
    const struct rpc_error *error; /* NULL: `result`. */
    const struct reply_result *result;
};

static void encode_range(struct buf *b, const struct request *req,
                         struct arena *scratch, const struct reply_result *r)
{
    struct rpc_range_result range = {
        .ats = &r->at,
        .ats_count = 1,
        .more = r->more,
        .next = r->next,
        .token = r->at.token,
    };
    struct rpc_item *items = arena_alloc(scratch, (r->rows_count + 1) * sizeof *items);

    if (items == NULL) {
        b->error = KV_ENOMEM;
        return;
    }
    for (uint32_t i = 0; i < r->rows_count; i++) {
        items[i] = (struct rpc_item){r->rows[i].key, r->rows[i].value, r->rows[i].rev};
    }
    range.items = items;
    range.items_count = r->rows_count;
    rpc_reply_range(b, req->rpc.msgid, &range);
}

static void encode_delrange(struct buf *b, uint32_t msgid, const struct reply_result *r)
{
    struct rpc_delrange_result result = {
        .ats = &r->at,
        .ats_count = 1,
        .deleted = (uint64_t)r->number,
        .more = r->more,
        .next = r->next,
    };

    rpc_reply_delrange(b, msgid, &result);
}

static void encode_result(struct buf *b, struct request *req,
                          const struct reply_result *r)
{
    struct rpc_item item = {req->rpc.key, r->value, r->rev};
    struct rpc_cas_result cas = {r->swapped, r->rev, r->has_value, r->value};
    uint32_t msgid = req->rpc.msgid;

    switch (req->rpc.method) {
    case RPC_KV_GET:
        rpc_reply_get(b, msgid, &r->at, r->found ? &item : NULL);
        return;
    case RPC_KV_PUT:
        rpc_reply_put(b, msgid, &r->at, r->rev);
        return;
    case RPC_KV_DEL:
        rpc_reply_del(b, msgid, &r->at, r->deleted, r->rev);
        return;
    case RPC_KV_CAS:
        rpc_reply_cas(b, msgid, &r->at, &cas);
        return;
    case RPC_KV_GETSET:
        item.value = r->value;
        rpc_reply_getset(b, msgid, &r->at, r->has_value ? &item : NULL, r->rev);
        return;
    case RPC_KV_INCR:
        rpc_reply_incr(b, msgid, &r->at, r->number, r->rev);
        return;
    case RPC_KV_TXN:
        rpc_reply_txn(b, msgid, &r->at, r->succeeded, r->rev, r->results,
                      r->results_count);
        return;
    case RPC_KV_DELRANGE:
        encode_delrange(b, msgid, r);
        return;
    case RPC_CLUSTER_SET_W:
        rpc_reply_set_w(b, msgid, &r->at, r->w);
        return;
    case RPC_KV_RANGE:
        encode_range(b, req, &req->arena, r);
        return;
    default:
        break;
    }
    switch (rpc_method_lock(req->rpc.method)) {
    case RPC_LOCK_ACQUIRE:
        rpc_reply_acquire(b, msgid, &r->at, &r->lock);
        return;
    case RPC_LOCK_KEEPALIVE:
        rpc_reply_keepalive(b, msgid, &r->at, r->lock.ttl_ms);
        return;
    case RPC_LOCK_RELEASE:
        rpc_reply_release(b, msgid, &r->at, r->released);
        return;
    case RPC_LOCK_INFO:
        rpc_reply_info(b, msgid, &r->at, &r->info);
        return;
    default:
        KV_UNREACHABLE(); /* hello, status and map are answered by reply_tail(). */
    }
}

/* The word for an answer that has no room: a write that was refused is not unknown. */
static int without_room(const struct request *req, const struct answer *a)
{
    bool refused =
        a->error != NULL && kv_err_outcome(a->error->code) == KV_OUTCOME_NOT_DONE;

    return req->is_write && !refused ? KV_EUNKNOWN : KV_EBUSY;
}

/* Appends the whole response. When it does not fit into the buffer, an error takes its
 * place: a write that was done must not look as if it was not. */
static void encode_answer(struct buf *b, struct request *req, const struct answer *a)
{
    size_t mark = buf_mark(b);
    struct rpc_error error;

    if (a->error != NULL) {
        rpc_reply_error(b, req->rpc.msgid, a->error);
    } else {
        encode_result(b, req, a->result);
    }
    if (b->error == 0) {
        return;
    }
    buf_rewind(b, mark);
    rpc_error_set(&error, without_room(req, a),
                  "no memory for the reply; read the key to see what is there");
    rpc_reply_error(b, req->rpc.msgid, &error);
    if (b->error != 0) {
        buf_rewind(b, mark); /* The client runs into its deadline. */
    }
}

/* ---- sending ---- */

/* The code in a tail: [error, result] with error nil or "WORD text". */
static int code_of_tail(struct kv_bytes tail)
{
    size_t head;
    size_t len = 0;

    if (tail.len == 0 || tail.data[0] == 0xc0) {
        return 0;
    }
    /* fixstr; str 8 and bin 8; str 16 and bin 16. */
    if ((tail.data[0] & 0xe0) == 0xa0) {
        head = 1;
    } else if (tail.data[0] == 0xd9 || tail.data[0] == 0xc4) {
        head = 2;
    } else {
        head = 3;
    }
    while (head + len < tail.len && len < 32 && tail.data[head + len] > ' ' &&
           tail.data[head + len] < 0x7f) {
        len++;
    }
    return head >= tail.len ? KV_EUNKNOWN
                            : kv_err_from_word((const char *)tail.data + head, len);
}

static void send_tail(struct request *req, struct kv_bytes tail)
{
    if (req->origin == REQ_FROM_PEER) {
        peers_forward_reply(req->node, &req->asker, tail);
    } else {
        KV_ASSERT(req->on_done != NULL);
        req->on_done(req, tail);
    }
}

/* Answers somebody who wants only the tail. */
static void send_as_tail(struct request *req, const struct answer *a)
{
    struct kv_bytes tail;
    uint32_t msgid;
    struct buf b;

    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    encode_answer(&b, req, a);
    if (rpc_response_split(buf_bytes(&b), &msgid, &tail) == 0) {
        send_tail(req, tail);
    } else {
        /* Not even an error fitted: error BUSY or UNKNOWN, result nil. */
        static const uint8_t busy[] = {0xa4, 'B', 'U', 'S', 'Y', 0xc0};
        static const uint8_t unknown[] = {0xa7, 'U', 'N', 'K', 'N',
                                          'O',  'W', 'N', 0xc0};

        send_tail(req, without_room(req, a) == KV_EUNKNOWN
                           ? kv_bytes(unknown, sizeof unknown)
                           : kv_bytes(busy, sizeof busy));
    }
    buf_close(&b);
}

static void send_answer(struct request *req, int code, const struct answer *a)
{
    struct buf *b;

    KV_ASSERT(req->magic == REQUEST_MAGIC);
    (void)KV_FAILPOINT(reply);
    request_move(req, REQ_REPLIED); /* Asserts that it happens once. */
    if (req->origin != REQ_FROM_CONN) {
        send_as_tail(req, a);
    } else {
        b = conn_reply_begin(req->node, req);
        if (b != NULL && req->rpc.type == RPC_REQUEST) {
            encode_answer(b, req, a);
        }
        conn_reply_end(req->node, req, code);
    }
    (void)KV_FAILPOINT(replied);
    request_free(req);
}

/* ---- the three ends of a request ---- */

void reply_error(struct request *req, int code, const char *format, ...)
{
    char text[KV_ERROR_TEXT_MAX + 1];
    struct rpc_error error;
    struct answer answer = {.error = &error};
    va_list args;

    KV_ASSERT(code != 0);
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rpc_error_set(&error, code, "%s", text);
    send_answer(req, code, &answer);
}

/* What the client has seen with this answer, in the request's arena. False without
 * memory: with its old token it would not see again what it is told here. */
static bool token_of(struct request *req, const struct rpc_at *at,
                     struct kv_bytes *out_token)
{
    const struct rpc_options *o = &req->rpc.options;
    uint8_t one[TOKEN_ONE_BYTES_MAX];
    size_t one_len;
    uint8_t *both;

    if ((o->has & RPC_OPT_BIT(RPC_OPT_token)) == 0 && o->level != RPC_SESSION) {
        *out_token = kv_bytes(NULL, 0);
        return true;
    }
    one_len = token_make(meta_cluster(req->node), at->group, at->rev, one);
    both = arena_alloc(&req->arena, o->token.len + one_len);
    if (both == NULL) {
        return false;
    }
    *out_token = kv_bytes(both, token_merge(o->token, kv_bytes(one, one_len), both));
    return true;
}

void reply_result(struct request *req, const struct reply_result *result)
{
    struct reply_result full = *result;
    struct answer answer = {.result = &full};

    if (!token_of(req, &result->at, &full.at.token)) {
        reply_error(req, req->is_write ? KV_EUNKNOWN : KV_EBUSY,
                    req->is_write ? "no memory to say that the write was done; read "
                                    "the key to see it"
                                  : "no memory for the token; try again");
        return;
    }
    send_answer(req, 0, &answer);
}

void reply_tail(struct request *req, struct kv_bytes tail)
{
    struct buf *b;
    size_t mark;

    KV_ASSERT(req->magic == REQUEST_MAGIC);
    request_move(req, REQ_REPLIED);
    if (req->origin != REQ_FROM_CONN) {
        send_tail(req, tail);
    } else {
        b = conn_reply_begin(req->node, req);
        if (b != NULL && req->rpc.type == RPC_REQUEST) {
            mark = buf_mark(b);
            rpc_response_join(b, req->rpc.msgid, tail);
            if (b->error != 0) {
                buf_rewind(b, mark);
            }
        }
        conn_reply_end(req->node, req, code_of_tail(tail));
    }
    request_free(req);
}
