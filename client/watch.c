/* client/watch.c - watches: begun again by themselves wherever a node can go on.
 *
 *   WAITING ──due──► ASKING ──kv.watch answered──► OPEN
 *      ▲                │                            │
 *      └── failed ──────┴── connection lost, "end" ──┘
 *
 * The position of the last notification is all that a watch needs to go on at any node.
 * A node that does not keep it any more is passed over; when all have said so, the
 * watch ends with KV_ERR_COMPACTED. Everything that may end a connection or a watch
 * happens in the timer's turn, never inside of a call.
 */
#include "client/watch_parts.h"

#include <stdio.h>

#include "rpc/event.h"

enum {
    WATCH_RETRY_FIRST_MS = 20, /* Doubles with each failure in a row, */
    WATCH_RETRY_MAX_MS = 1000, /* up to this; then jitter over all of it. */
    WATCH_ASK_MS = 3000,       /* For one kv.watch. */
    WATCH_SILENT_MS = 2000,    /* Then a connection with watches is asked for a sign. */
    WATCH_PING_MS = 3000,      /* And given up after that. */
};

_Static_assert((int)CLIENT_CONNS_MAX % 64 == 0, "each connection has a bit");

static void on_timer(uv_timer_t *timer);

/* ---- telling the user ---- */

/* The callback may stop the watch, or free the client. */
static void tell(struct kv_watch *w, const struct kv_watch_batch *batch)
{
    if (w->joint != NULL) {
        kv_watch_joint_tell(w, batch);
    } else {
        w->options.callback(w->client, w, batch, w->options.ctx);
    }
}

static struct kv_view pos_of(const struct kv_watch *w)
{
    return kv_mem(w->pos.data, w->pos.len);
}

void kv_watch_unlink(struct kv_watch *w)
{
    struct kv_client *c = w->client;

    *(w->prev == NULL ? &c->watches : &w->prev->next) = w->next;
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
}

void kv_watch_free(struct kv_watch *w)
{
    w->magic = 0;
    kv_mem_free(w->parts);
    buf_close(&w->pos);
    kv_mem_free(w);
}

/* It cannot go on: the user is told last of all. */
void kv_watch_fail(struct kv_watch *w, int error, const char *text)
{
    struct kv_watch_batch batch;

    memset(&batch, 0, sizeof batch);
    batch.error = error;
    batch.text = text;
    batch.pos = pos_of(w);
    w->is_over = true;
    kv_watch_unlink(w);
    tell(w, &batch);
    kv_watch_free(w);
}

int kv_watch_pos(struct kv_watch *w, struct kv_bytes pos)
{
    buf_reset(&w->pos);
    buf_append_bytes(&w->pos, pos);
    return w->pos.error;
}

/* ---- beginning, again and again ---- */

void kv_watch_wait(struct kv_watch *w)
{
    struct kv_client *c = w->client;
    uint64_t top = (uint64_t)WATCH_RETRY_FIRST_MS << KV_MIN(w->failures, 6);

    w->state = WATCH_WAITING;
    w->conn = NULL;
    w->due_at = kv_client_now(c);
    if (w->failures++ > 0) {
        w->due_at += prng_between(&c->prng, 1, KV_MIN(top, WATCH_RETRY_MAX_MS));
    }
    if (c->has_watch_timer) {
        (void)uv_timer_start(&c->watch_timer, on_timer, 0, 0);
    }
}

static uint32_t conn_place(const struct kv_client *c, const struct kv_conn *conn)
{
    uint32_t i = 0;

    while (i < c->conns_count && c->conns[i] != conn) {
        i++;
    }
    return i;
}

/* A node that may still keep the position; NULL: all have said no. */
static struct kv_conn *conn_untried(const struct kv_watch *w)
{
    const struct kv_client *c = w->client;

    for (uint32_t i = 0; i < c->conns_count; i++) {
        if (!c->conns[i]->is_retired &&
            (w->compacted[i / 64] & ((uint64_t)1 << (i % 64))) == 0) {
            return c->conns[i];
        }
    }
    return NULL;
}

/* Another node than the one that does not serve it, where there is one. */
static struct kv_conn *conn_other(const struct kv_watch *w)
{
    const struct kv_client *c = w->client;
    uint32_t at = conn_place(c, w->avoid);

    for (uint32_t i = 1; w->avoid != NULL && i < c->conns_count; i++) {
        struct kv_conn *conn = c->conns[(at + i) % c->conns_count];

        if (!conn->is_retired) {
            return conn;
        }
    }
    return NULL;
}

static void on_asked(struct kv_client *c, const struct kv_call *call,
                     const struct rpc_reply *reply);

static void on_done(struct kv_client *c, const struct kv_call *call,
                    const struct rpc_reply *reply)
{
    (void)c;
    (void)call;
    (void)reply;
}

static void watch_ask(struct kv_watch *w)
{
    struct kv_client *c = w->client;
    struct kv_call_spec spec = {
        .method = RPC_KV_WATCH, .hook = on_asked, .ctx = w, .watch = &w->options};
    struct kv_call *call;

    spec.watch_group = w->group;
    spec.request.key = w->options.key;
    spec.request.value = w->options.end;
    spec.request.expected = pos_of(w);
    spec.request.deadline_ms = WATCH_ASK_MS;
    spec.conn = w->is_compacted     ? conn_untried(w)
                : w->prefer != NULL ? w->prefer
                                    : conn_other(w);
    w->prefer = NULL;
    if (w->is_compacted && spec.conn == NULL) {
        kv_watch_fail(w, KV_ECOMPACTED,
                      "COMPACTED: no node keeps what came behind the position of this "
                      "watch; read the keys and watch from there");
        return;
    }
    if (w->is_compacted) { /* Once each, whether it can be reached or not. */
        uint32_t at = conn_place(c, spec.conn);

        w->compacted[at / 64] |= (uint64_t)1 << (at % 64);
    }
    w->state = WATCH_ASKING;
    if (kv_call_begin(c, &spec, &call) != 0) {
        kv_watch_wait(w);
    }
}

/* Nobody wants it any more: the server may forget it. */
void kv_watch_forget(struct kv_client *c, struct kv_conn *conn, uint64_t id)
{
    struct kv_call_spec spec = {
        .method = RPC_KV_UNWATCH, .hook = on_done, .conn = conn, .watch_id = id};
    struct kv_call *call;

    if (conn->state == CONN_OPEN && !conn->is_suspect && c->state == CLIENT_OPEN &&
        kv_call_begin(c, &spec, &call) != 0) {
        kv_client_log(c, KV_LOG_WARN, "a watch that nobody wants stays at %s",
                      conn->name);
    }
}

/* kv.watch failed: whether another try can help. */
static void watch_refused(struct kv_watch *w, const struct kv_call *call)
{
    struct kv_client *c = w->client;
    char text[CLIENT_TEXT_MAX];
    int error = call->last_error;
    uint32_t at = conn_place(c, call->last);

    if (error == KV_ECOMPACTED || w->is_compacted) {
        w->is_compacted = true;
        if (at < c->conns_count) {
            w->compacted[at / 64] |= (uint64_t)1 << (at % 64);
        }
        w->failures = 0;
    } else if (error == KV_EBADREQUEST && w->group == 0 &&
               w->options.what != KV_WATCH_KEY) {
        kv_watch_joint_ask(w); /* Perhaps no node has replicas of all its groups. */
        return;
    } else if (error == KV_EBADREQUEST || error == KV_ETOOLARGE ||
               error == KV_EDENIED || error == KV_EPROTO) {
        (void)snprintf(text, sizeof text, "%s: %s", kv_errname(error),
                       call->last_cause);
        kv_watch_fail(w, error, text);
        return;
    } else if (error == KV_ENOTLEADER && at < c->conns_count) {
        w->prefer = call->hint;
        w->avoid = call->last;
    }
    kv_watch_wait(w);
}

static void on_asked(struct kv_client *c, const struct kv_call *call,
                     const struct rpc_reply *reply)
{
    struct kv_watch *w = call->ctx;
    struct kv_watch_batch batch;

    KV_ASSERT(w->magic == WATCH_MAGIC && w->state == WATCH_ASKING);
    if (w->is_stopped || c->is_freeing || c->state != CLIENT_OPEN) {
        if (reply != NULL) {
            kv_watch_forget(c, call->last, reply->watch);
        }
        if (w->is_stopped) {
            kv_watch_free(w);
        } else {
            kv_watch_fail(w, KV_ECLOSED, "CLOSED: the client was closed");
        }
        return;
    }
    if (reply == NULL) {
        watch_refused(w, call);
        return;
    }
    memset(w->compacted, 0, sizeof w->compacted);
    w->is_compacted = false;
    w->avoid = NULL;
    w->failures = 0;
    if (kv_watch_pos(w, reply->pos) != 0) {
        kv_watch_wait(w);
        return;
    }
    w->state = WATCH_OPEN;
    w->conn = call->last;
    w->id = reply->watch;
    memset(&batch, 0, sizeof batch);
    batch.text = "";
    batch.pos = pos_of(w);
    tell(w, &batch);
}

/* ---- events ---- */

void kv_watch_conn_lost(struct kv_conn *conn)
{
    struct kv_watch *w = conn->client->watches;

    while (w != NULL) {
        struct kv_watch *next = w->next;

        if (w->state == WATCH_OPEN && w->conn == conn) {
            w->failures = 0;
            kv_watch_wait(w);
        }
        w = next;
    }
}

/* The server ended it: "CODE text". */
static void watch_ended(struct kv_watch *w, struct kv_bytes pos)
{
    if (pos.len > 0 && kv_watch_pos(w, pos) != 0) {
        kv_watch_fail(w, KV_ENOMEM, "NO_MEMORY: for the position of a watch");
        return;
    }
    w->avoid = w->conn;
    w->failures = 1;
    kv_watch_wait(w);
}

/* Makes the user's list, in c->results. Returns 0 or KV_ENOMEM. */
static int events_build(struct kv_client *c, const struct rpc_events *from,
                        struct kv_watch_batch *out)
{
    static const enum kv_event_type types[RPC_EVENTS_COUNT] = {
        [RPC_EVENT_PUT] = KV_EVENT_PUT,
        [RPC_EVENT_DEL] = KV_EVENT_DEL,
        [RPC_EVENT_EXPIRE] = KV_EVENT_EXPIRE,
        [RPC_EVENT_DELRANGE] = KV_EVENT_DELRANGE,
    };
    struct kv_event *events;

    arena_reset(&c->results);
    events = arena_zalloc(&c->results, (from->events.count + 1) * sizeof *events);
    if (events == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < from->events.count; i++) {
        struct rpc_event e;

        rpc_event_get(from, i, &e);
        if (e.type == RPC_EVENT_PROGRESS || e.type == RPC_EVENT_END) {
            continue;
        }
        events[out->events_count].type = types[e.type];
        events[out->events_count].key = kv_result_view(e.key);
        events[out->events_count].value =
            e.has_value ? kv_result_view(e.value) : kv_nil();
        events[out->events_count].prev = e.has_prev ? kv_result_view(e.prev) : kv_nil();
        events[out->events_count++].rev = e.rev;
    }
    out->events = events;
    return 0;
}

int kv_watch_deliver(struct kv_conn *conn, struct kv_bytes message)
{
    struct kv_client *c = conn->client;
    struct kv_watch *w = c->watches;
    struct kv_watch_batch batch;
    struct rpc_events events;
    struct rpc_event first;
    int rc = rpc_events_decode(&c->decoder, message, &events);

    if (rc != 0) {
        return rc == KV_ENOTFOUND ? 0 : rc;
    }
    while (w != NULL &&
           (w->state != WATCH_OPEN || w->conn != conn || w->id != events.watch)) {
        w = w->next;
    }
    if (w == NULL || events.events.count == 0) {
        return 0; /* It was stopped meanwhile. */
    }
    rpc_event_get(&events, 0, &first);
    if (first.type == RPC_EVENT_END) {
        watch_ended(w, events.pos);
        return 0;
    }
    memset(&batch, 0, sizeof batch);
    batch.text = "";
    rc = events_build(c, &events, &batch);
    if (rc == 0) {
        rc = kv_watch_pos(w, events.pos);
    }
    if (rc != 0) {
        return rc;
    }
    batch.pos = pos_of(w);
    tell(w, &batch);
    return 0;
}

/* ---- time ---- */

/* A node that was stopped keeps its connections: whoever only listens would wait. */
static uint64_t conns_look(struct kv_client *c, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (struct kv_watch *w = c->watches; w != NULL; w = w->next) {
        struct kv_call_spec spec = {
            .method = RPC_HELLO, .hook = on_done, .conn = w->conn};
        struct kv_call *call;
        uint64_t last;

        if (w->state != WATCH_OPEN || w->conn->state != CONN_OPEN) {
            continue;
        }
        last = KV_MAX(w->conn->heard_at, w->conn->asked_at);
        if (now < last + WATCH_SILENT_MS) {
            next = KV_MIN(next, last + WATCH_SILENT_MS);
            continue;
        }
        w->conn->asked_at = now;
        spec.request.deadline_ms = WATCH_PING_MS;
        if (w->conn->calls_count == 0 && kv_call_begin(c, &spec, &call) != 0) {
            w->conn->asked_at = 0;
        }
        next = KV_MIN(next, now + WATCH_SILENT_MS);
    }
    return next;
}

static void watches_arm(struct kv_client *c);

static void on_timer(uv_timer_t *timer)
{
    struct kv_client *c = timer->data;
    uint64_t now = kv_client_now(c);
    struct kv_watch *w = c->watches;

    while (w != NULL && c->state == CLIENT_OPEN) {
        if (w->state == WATCH_WAITING && w->due_at <= now) {
            watch_ask(w); /* May end it, and what the user does then may end others: */
            w = c->watches; /* from the start; what was asked is not due any more. */
        } else {
            w = w->next;
        }
    }
    watches_arm(c);
}

static void watches_arm(struct kv_client *c)
{
    uint64_t now = kv_client_now(c);
    uint64_t next = UINT64_MAX;

    if (c->state != CLIENT_OPEN || !c->has_watch_timer) {
        return;
    }
    if (c->watches != NULL) {
        next = conns_look(c, now);
    }
    for (struct kv_watch *w = c->watches; w != NULL; w = w->next) {
        if (w->state == WATCH_WAITING) {
            next = KV_MIN(next, w->due_at);
        } else if (w->state == WATCH_ASKING) {
            next = KV_MIN(next, now + WATCH_SILENT_MS);
        }
    }
    (void)uv_timer_stop(&c->watch_timer);
    if (next != UINT64_MAX) {
        (void)uv_timer_start(&c->watch_timer, on_timer, next > now ? next - now : 0, 0);
    }
}

/* ---- the user's calls ---- */

void kv_watch_options_init(struct kv_watch_options *options)
{
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
}

static int refuse(struct kv_client *c, int error, const char *what)
{
    (void)snprintf(c->last_error, sizeof c->last_error, "%s: %s", kv_errname(error),
                   what);
    return error;
}

static int options_check(struct kv_client *c, const struct kv_watch_options *o)
{
    if (o == NULL || o->size != sizeof *o || o->callback == NULL) {
        return refuse(c, KV_EINVAL,
                      "options without kv_watch_options_init(), or "
                      "without a callback");
    }
    if (c->state != CLIENT_OPEN || c->own_loop != NULL) {
        return refuse(c, c->own_loop != NULL ? KV_EINVAL : KV_ECLOSED,
                      "a watch needs a client on your own loop that is not closed");
    }
    if (o->key.len > KV_KEY_BYTES_MAX || o->end.len > KV_KEY_BYTES_MAX ||
        o->pos.len > KV_TOKEN_BYTES_MAX) {
        return refuse(c, KV_ETOOLARGE, "the key is longer than 480 bytes");
    }
    if (o->what == KV_WATCH_KEY && o->key.len == 0) {
        return refuse(c, KV_EINVAL, "the key is empty");
    }
    return 0;
}

static struct kv_view view_take(struct kv_watch *w, size_t *io_at, struct kv_view from)
{
    uint8_t *to = w->bytes + *io_at;

    if (from.len > 0) {
        memcpy(to, from.data, from.len);
    }
    *io_at += from.len;
    return kv_mem(to, from.len);
}

int kv_watch_new(struct kv_client *c, const struct kv_watch_options *options,
                 struct kv_watch **out)
{
    struct kv_watch *w = kv_mem_zalloc(sizeof *w + options->key.len + options->end.len);
    size_t at = 0;
    int rc;

    if (w == NULL) {
        return KV_ENOMEM;
    }
    w->magic = WATCH_MAGIC;
    w->client = c;
    w->options = *options;
    w->options.key = view_take(w, &at, options->key);
    w->options.end = view_take(w, &at, options->end);
    buf_init(&w->pos, KV_TOKEN_BYTES_MAX);
    rc = kv_watch_pos(w, kv_bytes(options->pos.data, options->pos.len));
    w->options.pos = kv_nil();
    if (rc != 0) {
        kv_watch_free(w);
        return rc;
    }
    w->next = c->watches;
    if (w->next != NULL) {
        w->next->prev = w;
    }
    c->watches = w;
    *out = w;
    return 0;
}

int kv_watch_start(struct kv_client *c, const struct kv_watch_options *options,
                   struct kv_watch **out_watch)
{
    struct kv_watch *w;
    int rc = options_check(c, options);

    if (rc != 0) {
        return rc;
    }
    if (!c->has_watch_timer) {
        rc = uv_timer_init(c->loop, &c->watch_timer) == 0 ? 0 : KV_EIO;
        c->watch_timer.data = c;
        c->has_watch_timer = rc == 0;
        c->handles += rc == 0;
    }
    rc = rc != 0 ? rc : kv_watch_new(c, options, &w);
    if (rc != 0) {
        return refuse(c, rc, kv_strerror(rc));
    }
    kv_watch_wait(w);
    *out_watch = w;
    return 0;
}

void kv_watch_stop(struct kv_watch *w)
{
    if (w == NULL) {
        return;
    }
    KV_ASSERT(w->magic == WATCH_MAGIC);
    if (w->is_over) {
        return;
    }
    if (w->state == WATCH_JOINT) {
        kv_watch_joint_stop(w);
        return;
    }
    kv_watch_unlink(w);
    if (w->state == WATCH_ASKING) {
        w->is_stopped = true; /* on_asked() frees it. */
        return;
    }
    if (w->state == WATCH_OPEN) {
        kv_watch_forget(w->client, w->conn, w->id);
    }
    kv_watch_free(w);
}

/* ---- the client's end ---- */

void kv_watch_end_all(struct kv_client *c)
{
    struct kv_watch *w = c->watches;

    while (w != NULL) {
        struct kv_watch *next = w->next;

        if (w->state != WATCH_ASKING) { /* Those end with their call. */
            kv_watch_fail(w, KV_ECLOSED, "CLOSED: the client was closed");
            next = c->watches;
        }
        w = next;
    }
}
