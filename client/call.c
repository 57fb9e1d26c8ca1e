/* client/call.c - a call: from kv_start() to its one end, with deadline and retries.
 *
 * Every live call stands in client->heap, ordered by when the timer must look at it;
 * that is also the register by which kv_free() finds them all.
 */
#include "client/client.h"

#include <stdio.h>

enum {
    CALL_MAGIC = 0x6b766361,
    HEAP_CAP_FIRST = 64,
    FAST_RETRIES = 3,      /* The first ones need no waiting, where the cause allows. */
    BACKOFF_FIRST_MS = 10, /* Doubles each time, */
    BACKOFF_MAX_MS = 500,  /* up to this; then jitter over the whole of it. */
    TRY_PART = 3,          /* A call waits a third of its deadline for one node, */
    TRY_MIN_MS = 100,      /* but not less than this. */
    READ_MOVES_MAX = 1,    /* What is slow everywhere gets the rest of the time. */
    WRITE_MOVES_MAX = 2,
    CONN_IDLE_MS = 1000,    /* After that a connection may be dead without knowing. */
    OUTDATED_MS = 10,       /* The old leader may have answered already. */
    SERVER_SLACK_PART = 20, /* The server's deadline comes so much before ours, */
    SERVER_SLACK_MS_MAX = 100, /* so that its answer is in time. */
};

/* ---- the heap ---- */

static void heap_set(struct kv_client *c, uint32_t at, struct kv_call *call)
{
    c->heap[at] = call;
    call->heap_at = at;
}

static void heap_up(struct kv_client *c, uint32_t at)
{
    struct kv_call *call = c->heap[at];

    while (at > 0 && c->heap[(at - 1) / 2]->wake_at > call->wake_at) {
        heap_set(c, at, c->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(c, at, call);
}

static void heap_down(struct kv_client *c, uint32_t at)
{
    struct kv_call *call = c->heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= c->heap_count) {
            break;
        }
        if (child + 1 < c->heap_count &&
            c->heap[child + 1]->wake_at < c->heap[child]->wake_at) {
            child++;
        }
        if (c->heap[child]->wake_at >= call->wake_at) {
            break;
        }
        heap_set(c, at, c->heap[child]);
        at = child;
    }
    heap_set(c, at, call);
}

static int heap_add(struct kv_client *c, struct kv_call *call)
{
    if (c->heap_count == c->heap_cap) {
        uint32_t cap = c->heap_cap == 0 ? HEAP_CAP_FIRST : 2 * c->heap_cap;
        struct kv_call **heap = kv_mem_realloc(c->heap, cap * sizeof *heap);

        if (heap == NULL) {
            return KV_ENOMEM;
        }
        c->heap = heap;
        c->heap_cap = cap;
    }
    heap_set(c, c->heap_count++, call);
    heap_up(c, call->heap_at);
    return 0;
}

static void heap_remove(struct kv_client *c, struct kv_call *call)
{
    uint32_t at = call->heap_at;
    struct kv_call *last = c->heap[--c->heap_count];

    KV_ASSERT(c->heap[at] == call || last == call);
    if (last == call) {
        return;
    }
    heap_set(c, at, last);
    heap_up(c, at);
    heap_down(c, last->heap_at);
}

/* Arms the client's timer for the earliest call. */
static void timer_arm(struct kv_client *c)
{
    uint64_t now = kv_client_now(c);
    uint64_t wake_at;
    int rc;

    if (c->state == CLIENT_ENDING) {
        return;
    }
    if (c->heap_count == 0) {
        if (c->timer_at != 0) {
            (void)uv_timer_stop(&c->timer);
            c->timer_at = 0;
        }
        return;
    }
    wake_at = c->heap[0]->wake_at;
    if (wake_at == c->timer_at) {
        return;
    }
    uv_update_time(c->loop);
    rc = uv_timer_start(&c->timer, kv_call_on_timer, wake_at > now ? wake_at - now : 0,
                        0);
    KV_ASSERT(rc == 0);
    c->timer_at = wake_at;
}

static void wake_set(struct kv_call *call, uint64_t wake_at)
{
    call->wake_at = KV_MIN(wake_at, call->deadline_at);
    heap_up(call->client, call->heap_at);
    heap_down(call->client, call->heap_at);
    timer_arm(call->client);
}

/* ---- the end ---- */

/* Whoever waits for a number where this call has got or given back one. */
static void wake_next(const struct kv_call *call)
{
    struct kv_call *next = kv_session_next(call);

    if (next != NULL) {
        wake_set(next, kv_client_now(call->client));
    }
}

/* The only place that ends a call. `result` is NULL for internal calls. */
static void call_finish(struct kv_call *call, const struct kv_result *result,
                        const struct rpc_reply *reply)
{
    struct kv_client *c = call->client;

    KV_ASSERT(call->magic == CALL_MAGIC);
    KV_ASSERT(call->conn == NULL);
    call->magic = 0;
    heap_remove(c, call);
    kv_session_leave(call);
    wake_next(call);
    if (call->hook != NULL) {
        call->hook(c, call, reply);
    } else {
        KV_ASSERT(c->calls_count > 0);
        c->calls_count--;
        call->callback(c, result, call->ctx);
    }
    if (call->hook == NULL) {
        kv_client_settle(c);
    }
    kv_mem_free(call);
    timer_arm(c);
}

/* Errors that a copy of the same request gets as well: what one sending was told holds
 * for all of them (docs/protocol.md, "Errors and outcomes"). */
static bool is_decisive(int error)
{
    return error == KV_EBADREQUEST || error == KV_EOVERFLOW || error == KV_ETOOLARGE ||
           error == KV_ECROSSSLOT;
}

/* Ends a call with an error; the outcome is that of its last sending. */
static void call_end_error(struct kv_call *call, int error, enum kv_outcome outcome)
{
    struct kv_client *c = call->client;
    char text[CLIENT_TEXT_MAX];
    struct kv_result result;

    if (call->is_unknown && outcome == KV_OUTCOME_NOT_DONE && !is_decisive(error)) {
        error = KV_EUNKNOWN;
        outcome = KV_OUTCOME_UNKNOWN;
    }
    kv_call_text(call, error, outcome, text);
    if (call->hook != NULL) {
        call_finish(call, NULL, NULL);
        return;
    }
    memcpy(c->last_error, text, sizeof text);
    memset(&result, 0, sizeof result);
    result.op = call->op;
    result.error = error;
    result.outcome = (enum kv_result_outcome)outcome;
    result.text = text;
    result.sendings = call->sendings;
    result.endpoint = call->last != NULL ? call->last->name : "";
    call_finish(call, &result, NULL);
}

void kv_call_detach(struct kv_call *call)
{
    struct kv_conn *conn = call->conn;

    if (conn == NULL) {
        return;
    }
    call->link.prev->next = call->link.next;
    call->link.next->prev = call->link.prev;
    if (call->phase == CALL_SENT) {
        uint32_t slot = call->msgid % CONN_INFLIGHT_MAX;

        KV_ASSERT(conn->slots[slot] == call);
        conn->slots[slot] = NULL;
        conn->slots_free[conn->slots_free_count++] = (uint16_t)slot;
    }
    KV_ASSERT(conn->calls_count > 0 && conn->calls_bytes >= call->bytes_count);
    conn->calls_count--;
    conn->calls_bytes -= call->bytes_count;
    call->conn = NULL;
    call->phase = CALL_WAITING;
}

void kv_call_end_all(struct kv_client *c, bool only_internal)
{
    uint32_t i = 0;

    while (i < c->heap_count) {
        struct kv_call *call = c->heap[i];
        bool is_sent = call->phase == CALL_SENT;

        if (only_internal && call->hook == NULL) {
            i++;
            continue;
        }
        kv_call_detach(call);
        (void)snprintf(call->last_cause, sizeof call->last_cause,
                       "the client was freed while the call was under way");
        call_end_error(call, KV_ECLOSED,
                       is_sent && call->is_write ? KV_OUTCOME_UNKNOWN
                                                 : KV_OUTCOME_NOT_DONE);
        i = 0; /* The callback may have changed the heap. */
    }
}

/* ---- trying ---- */

/* Finds a connection and hands the call over, or waits for one. */
static void call_dispatch(struct kv_call *call)
{
    struct kv_client *c = call->client;
    uint64_t wait_ms = 0;
    struct kv_conn *conn = kv_route_pick(c, call, &wait_ms);

    KV_ASSERT(call->phase == CALL_WAITING && call->conn == NULL);
    if (call->hook == NULL) {
        kv_route_refresh(c);
    }
    if (!kv_session_admit(call)) {
        wake_set(call, call->deadline_at);
        return;
    }
    wake_next(call);
    if (conn == NULL) {
        wake_set(call, kv_client_now(c) + wait_ms);
        return;
    }
    call->hint = NULL;
    wake_set(call, call->deadline_at);
    if (kv_conn_has_room(conn, call->bytes_count)) {
        kv_conn_take(conn, call);
    } else {
        kv_call_failed(call, KV_EBUSY, KV_OUTCOME_NOT_DONE,
                       "too many requests under way on this connection");
    }
}

/* Whether the whole call may go on after a try that was certainly not done. */
static bool may_retry(const struct kv_call *call, int error)
{
    const struct kv_client *c = call->client;
    const struct kv_options *o = &c->options;

    if (c->state == CLIENT_ENDING || c->is_freeing) {
        return false;
    }
    if (o->retries >= 0 && call->failures > (uint32_t)o->retries) {
        return false;
    }
    /* A call that was sent has reached somebody: then it is not the endpoints. */
    if (o->connect_rounds != 0 && error == KV_ECONNECT && call->sendings == 0 &&
        call->connect_failures >= o->connect_rounds * c->endpoints_count) {
        return false;
    }
    switch (error) {
    case KV_ENOTLEADER:
    case KV_ENOLEADER:
    case KV_EBUSY:
    case KV_ECONNECT:
    case KV_ECLOSED: /* A write: not sent yet, or repeatable. */
        return true;
    case KV_EPROTO:
    case KV_EUNKNOWN:
        return !call->is_write || call->is_repeatable;
    default:
        return false;
    }
}

/* How long to wait before the next try: exponential, with jitter over all of it. */
static uint64_t retry_delay_ms(struct kv_call *call, int error)
{
    uint32_t doublings = KV_MIN(call->failures, 8);
    uint64_t top = KV_MIN((uint64_t)BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);

    /* Another node may be asked at once; a busy one gets time. */
    if (error != KV_EBUSY && error != KV_ENOLEADER && call->failures <= FAST_RETRIES) {
        return 0;
    }
    if (error == KV_ECONNECT) {
        return 0; /* kv_route_pick() waits where every endpoint was just refused. */
    }
    return prng_between(&call->client->prng, 1, top);
}

void kv_call_failed(struct kv_call *call, int error, enum kv_outcome outcome,
                    const char *cause)
{
    struct kv_client *c = call->client;
    uint64_t now = kv_client_now(c);
    uint64_t delay;

    KV_ASSERT(call->conn == NULL && call->phase == CALL_WAITING);
    if (!call->is_write) {
        outcome = KV_OUTCOME_NOT_DONE;
    }
    call->is_unknown = call->is_unknown || outcome == KV_OUTCOME_UNKNOWN;
    call->failures++;
    call->connect_failures += error == KV_ECONNECT;
    call->last_error = error;
    (void)snprintf(call->last_cause, sizeof call->last_cause, "%s", cause);
    /* A busy node, or one without a leader, is still the right one to ask. */
    call->avoid = error == KV_EBUSY || error == KV_ENOLEADER ? NULL : call->last;
    /* Never again once the outcome of a write is unknown, unless the server would know
     * it again. */
    if ((outcome == KV_OUTCOME_UNKNOWN && !call->is_repeatable) ||
        !may_retry(call, error)) {
        call_end_error(call, error, outcome);
        return;
    }
    delay = retry_delay_ms(call, error);
    if (now + delay >= call->deadline_at) {
        call_end_error(call, error, outcome);
        return;
    }
    kv_client_log(c, KV_LOG_DEBUG, "try %u again in %u ms: %s: %s", call->failures,
                  (unsigned)delay, rpc_method_name(call->request.method), cause);
    /* Through the timer also when the delay is 0: no recursion, however many fail. */
    wake_set(call, now + delay);
}

void kv_call_reply(struct kv_call *call, const struct rpc_reply *reply)
{
    struct kv_client *c = call->client;
    struct kv_result result;
    char cause[CLIENT_CAUSE_MAX];
    int rc;

    kv_route_learn(c, call, reply);
    if (reply->error != 0) {
        if (reply->error == KV_ENOTLEADER) {
            kv_route_doubt(c, call->last);
            call->hint = kv_route_hint(c, reply->error_detail);
        }
        (void)snprintf(cause, sizeof cause, "%.*s", (int)reply->error_detail.len,
                       (const char *)reply->error_detail.data);
        if (kv_session_restamp(call, reply)) {
            kv_call_failed(call, KV_EBUSY, KV_OUTCOME_NOT_DONE, cause);
            return;
        }
        kv_call_failed(call, reply->error, kv_err_outcome(reply->error), cause);
        return;
    }
    if (call->hook != NULL) {
        call_finish(call, NULL, reply);
        return;
    }
    kv_session_saw(c, reply);
    rc = kv_result_build(c, call, reply, &result);
    if (rc != 0) {
        /* Only lists can fail, and only reads have them. */
        kv_call_failed(call, rc, KV_OUTCOME_NOT_DONE, kv_strerror(rc));
        return;
    }
    call_finish(call, &result, NULL);
}

/* Whether the call may leave a node that does not answer. */
static bool may_move(const struct kv_call *call)
{
    if (call->client->options.retries == 0) {
        return false;
    }
    return call->is_write ? call->is_repeatable && call->moves < WRITE_MOVES_MAX
                          : call->moves < READ_MOVES_MAX;
}

void kv_call_sent(struct kv_call *call)
{
    struct kv_client *c = call->client;

    call->phase = CALL_SENT;
    call->is_outdated = false;
    call->sent_at = kv_client_now(c);
    call->sendings++;
    if (may_move(call) && (kv_route_has_choice(c) ||
                           call->sent_at - call->conn->heard_at >= CONN_IDLE_MS)) {
        wake_set(call,
                 call->sent_at + KV_MAX(call->deadline_ms / TRY_PART, TRY_MIN_MS));
    }
}

void kv_call_outdated(struct kv_call *call)
{
    uint64_t at = kv_client_now(call->client) + OUTDATED_MS;

    if (call->phase == CALL_SENT && !call->is_outdated && may_move(call)) {
        call->is_outdated = true;
        wake_set(call, KV_MIN(at, call->wake_at));
    }
}

uint32_t kv_call_server_ms(const struct kv_call *call)
{
    uint64_t now = kv_client_now(call->client);
    uint64_t left = call->deadline_at > now ? call->deadline_at - now : 1;

    left -= KV_MIN(left / SERVER_SLACK_PART, SERVER_SLACK_MS_MAX);
    return (uint32_t)KV_MAX(left, 1);
}

/* ---- the timer ---- */

/* The deadline has passed. */
static void call_expire(struct kv_call *call)
{
    bool is_unknown = call->phase == CALL_SENT && call->is_write;
    bool was_sent = call->phase == CALL_SENT;
    struct kv_conn *conn = call->conn;

    kv_call_detach(call);
    if (was_sent && conn->heard_at <= call->sent_at) {
        conn->is_suspect = true; /* Not a byte since: maybe nobody is there. */
        kv_route_doubt(call->client, conn);
    }
    if (conn != NULL) {
        kv_conn_settle(conn);
    }
    if (was_sent) {
        (void)snprintf(call->last_cause, sizeof call->last_cause,
                       "no answer within the deadline of %u ms", call->deadline_ms);
        call_end_error(call, is_unknown ? KV_EUNKNOWN : KV_ETIMEOUT,
                       is_unknown ? KV_OUTCOME_UNKNOWN : KV_OUTCOME_NOT_DONE);
        return;
    }
    if (call->session_link.next != NULL && call->seq == 0) {
        call->last_error = KV_EBUSY;
        (void)snprintf(call->last_cause, sizeof call->last_cause,
                       "128 writes of this client are under way in the key's slot");
    } else if (call->last_error == 0) {
        call->last_error = KV_ETIMEOUT;
        (void)snprintf(call->last_cause, sizeof call->last_cause,
                       "not connected within the deadline of %u ms", call->deadline_ms);
    }
    call_end_error(call, call->last_error, KV_OUTCOME_NOT_DONE);
}

/* A call has waited long enough for a node: another one may answer. A node that talks
 * is only slow, and a read that is asked twice would make it slower; but a write may
 * hang on a leader that is cut off, while another one was elected. */
static void call_try_elsewhere(struct kv_call *call)
{
    struct kv_conn *conn = call->conn;
    bool is_silent = conn->heard_at <= call->sent_at;

    if (call->is_outdated) {
        call->moves++;
        kv_call_detach(call);
        kv_conn_settle(conn);
        kv_call_failed(call, KV_ECLOSED,
                       call->is_write ? KV_OUTCOME_UNKNOWN : KV_OUTCOME_NOT_DONE,
                       "another node leads the group now");
        return;
    }
    if (!is_silent && (!call->is_write || !kv_route_has_choice(call->client))) {
        wake_set(call, call->deadline_at);
        return;
    }
    call->moves++;
    kv_call_detach(call);
    if (is_silent) {
        conn->is_suspect = true;
    }
    kv_route_doubt(call->client, conn);
    kv_conn_settle(conn);
    kv_call_failed(call, KV_ECLOSED,
                   call->is_write ? KV_OUTCOME_UNKNOWN : KV_OUTCOME_NOT_DONE,
                   "no answer in time");
}

void kv_call_on_timer(uv_timer_t *timer)
{
    struct kv_client *c = timer->data;
    uint64_t now = kv_client_now(c);
    uint32_t budget = c->heap_count; /* Calls begun by callbacks wait a turn. */

    c->timer_at = 0;
    while (c->heap_count > 0 && c->heap[0]->wake_at <= now && budget-- > 0) {
        struct kv_call *call = c->heap[0];

        if (call->deadline_at <= now) {
            call_expire(call);
        } else if (call->phase == CALL_WAITING) {
            call_dispatch(call);
        } else if (call->phase == CALL_SENT) {
            call_try_elsewhere(call);
        } else {
            wake_set(call, call->deadline_at);
        }
    }
    timer_arm(c);
}

/* ---- the beginning ---- */

/* Copies one view behind the call. A nil stays nil. */
static struct kv_bytes bytes_take(struct kv_call *call, struct kv_view view)
{
    uint8_t *to = call->bytes + call->bytes_count;

    if (view.data == NULL || view.len == 0) {
        return kv_bytes(view.data == NULL ? NULL : call->bytes, 0);
    }
    memcpy(to, view.data, view.len);
    call->bytes_count += (uint32_t)view.len;
    return kv_bytes(to, view.len);
}

/* What concerns locks and fences. */
static void lock_fill(struct kv_call *call, const struct kv_request *from)
{
    struct rpc_request *q = &call->request;

    q->token = from->lock_token;
    q->options.owner = bytes_take(call, from->owner);
    q->options.fence_lock = bytes_take(call, from->fence_lock);
    q->options.fence_token = from->fence_token;
    if (q->options.fence_lock.len > 0) {
        q->options.has |= RPC_OPT_BIT(RPC_OPT_fence);
    }
    if (q->options.owner.len > 0) {
        q->options.has |= RPC_OPT_BIT(RPC_OPT_owner);
    }
    if (from->op != KV_OP_LOCK) {
        q->options.ttl_ms = from->ttl_ms;
        q->options.has |= from->ttl_ms > 0 ? RPC_OPT_BIT(RPC_OPT_ttl_ms) : 0;
        return;
    }
    q->permits = from->permits == 0 ? 1 : from->permits;
    q->options.value = q->value;
    q->options.ttl_ms = from->ttl_ms == 0 ? KV_LOCK_TTL_MS_DEFAULT : from->ttl_ms;
    q->options.wait_ms = from->wait_ms;
    q->options.has |= RPC_OPT_BIT(RPC_OPT_ttl_ms) | RPC_OPT_BIT(RPC_OPT_wait_ms) |
                      (q->value.len > 0 ? RPC_OPT_BIT(RPC_OPT_value) : 0);
}

static void watch_fill(struct kv_call *call, const struct kv_request *from,
                       const struct kv_watch_options *watch, uint32_t group)
{
    struct rpc_request *q = &call->request;
    struct rpc_options *o = &q->options;

    q->is_range = watch->what == KV_WATCH_RANGE;
    q->begin = q->key;
    q->end = bytes_take(call, from->value);
    o->pos = bytes_take(call, from->expected);
    o->prefix = watch->what == KV_WATCH_PREFIX;
    o->prev = watch->prev;
    o->only = (uint8_t)watch->only;
    o->group = group;
    o->has |= (group != 0 ? RPC_OPT_BIT(RPC_OPT_group) : 0) |
              (o->pos.len > 0 ? RPC_OPT_BIT(RPC_OPT_pos) : 0) |
              (o->prefix ? RPC_OPT_BIT(RPC_OPT_prefix) : 0) |
              (o->prev ? RPC_OPT_BIT(RPC_OPT_prev) : 0) |
              (o->only != 0 ? RPC_OPT_BIT(RPC_OPT_only) : 0);
}

/* Fills in what goes over the wire, but msgid and the time left. */
static void request_fill(struct kv_call *call, const struct kv_call_spec *spec)
{
    const struct kv_request *from = &spec->request;
    struct rpc_request *q = &call->request;

    q->key = bytes_take(call, from->key);
    if (q->method == RPC_KV_RANGE || q->method == RPC_KV_DELRANGE) {
        q->begin = q->key;
        q->end = bytes_take(call, from->value);
    } else if (q->method == RPC_KV_TXN) {
        q->txn_packed = bytes_take(call, from->value);
    } else if (q->method == RPC_KV_WATCH) {
        watch_fill(call, from, spec->watch, spec->watch_group);
    } else if (q->method == RPC_KV_UNWATCH) {
        q->watch = spec->watch_id;
    } else if (q->method == RPC_KV_CAS) {
        q->has_expected = from->expected.data != NULL;
        q->has_replacement = from->value.data != NULL;
        q->expected = bytes_take(call, from->expected);
        q->replacement = bytes_take(call, from->value);
    } else {
        q->value = bytes_take(call, from->value);
    }
    q->delta = from->delta;
    lock_fill(call, from);
    if (from->has_if_rev) {
        q->options.if_rev = from->if_rev;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_if_rev);
    }
    if (q->method == RPC_CLUSTER_SET_W) {
        q->group = from->group;
        q->w = from->w;
    } else if (from->w != 0) {
        q->options.w = from->w;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_w);
    }
    if (from->level != KV_LEVEL_LINEARIZABLE) {
        q->options.level = (enum rpc_level)from->level;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_level);
    }
    if (from->max_age_ms != 0) {
        q->options.max_age_ms = from->max_age_ms;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_max_age_ms);
    }
    if (from->limit != 0) {
        q->options.limit = from->limit;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_limit);
    }
    if (from->idem.len > 0) {
        q->options.idem = bytes_take(call, from->idem);
        q->options.has |= RPC_OPT_BIT(RPC_OPT_idem);
    }
    if (from->idem_ttl_ms != 0) {
        q->options.idem_ttl_ms = from->idem_ttl_ms;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_idem_ttl_ms);
    }
    if (from->no_forward) {
        q->options.forward = false;
        q->options.has |= RPC_OPT_BIT(RPC_OPT_forward);
    }
}

int kv_call_begin(struct kv_client *c, const struct kv_call_spec *spec,
                  struct kv_call **out_call)
{
    const struct kv_request *from = &spec->request;
    size_t bytes = from->key.len + from->value.len + from->expected.len +
                   from->owner.len + from->fence_lock.len + from->idem.len;
    uint64_t wait_ms = 0;
    struct kv_conn *conn;
    struct kv_call *call;

    if (c->heap_count >= CLIENT_CALLS_MAX) {
        return KV_EBUSY;
    }
    call = kv_mem_zalloc(sizeof *call + bytes);
    if (call == NULL) {
        return KV_ENOMEM;
    }
    call->magic = CALL_MAGIC;
    call->client = c;
    call->op = from->op;
    /* Asking for a lock again, as the same owner, does no harm. */
    call->is_write =
        rpc_method_is_write(spec->method) && spec->method != RPC_LOCK_ACQUIRE;
    call->callback = spec->callback;
    call->hook = spec->hook;
    call->ctx = spec->ctx;
    call->deadline_ms =
        from->deadline_ms != 0 ? from->deadline_ms : c->options.deadline_ms;
    call->deadline_at = kv_client_now(c) + call->deadline_ms;
    call->wake_at = call->deadline_at;
    rpc_request_init(&call->request, from->permits > 1 ? RPC_SEM_ACQUIRE : spec->method,
                     0);
    request_fill(call, spec);
    call->hint = spec->conn;
    kv_session_join(call);
    conn = kv_route_pick(c, call, &wait_ms);
    if (conn != NULL && !kv_conn_has_room(conn, bytes)) {
        kv_mem_free(call);
        return KV_EBUSY;
    }
    if (heap_add(c, call) != 0) {
        kv_mem_free(call);
        return KV_ENOMEM;
    }
    c->calls_count += spec->hook == NULL;
    *out_call = call;
    if (!kv_session_admit(call)) {
        timer_arm(c);
    } else if (conn == NULL) {
        wake_set(call, kv_client_now(c) + wait_ms);
    } else {
        timer_arm(c);
        kv_conn_take(conn, call);
    }
    return 0;
}
