/* client/conn.c - one connection to one node: resolve, connect, pipeline, read.
 *
 * Nothing here decides what happens to a call: a broken connection hands each of its
 * calls to kv_call_failed(), saying whether it may have been sent. No error is
 * reported from inside kv_conn_take(): what fails at once fails in the next turn.
 */
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RECONNECT_FIRST_MS = 20, /* Doubles with each failure in a row, */
    RECONNECT_MAX_MS = 1000, /* up to this; then jitter over all of it. */
    OUT_BYTES_MAX = CONN_BATCH_BYTES + KV_REQUEST_BYTES_MAX + 4096,
    IN_BYTES_MAX = KV_RESPONSE_BYTES_MAX + 2 * CONN_READ_BYTES,
    IN_BYTES_KEPT = 4 * CONN_READ_BYTES, /* Of memory, while idle. */
    CAUSE_PART_MAX = 96,
    GREETING_MSGID = UINT32_MAX - 1, /* No call's: those come after that round. */
};

static void conn_connect(struct kv_conn *conn);
static void conn_flush(struct kv_conn *conn);
static void conn_greet(struct kv_conn *conn);
static void conn_break(struct kv_conn *conn, int error, const char *cause);

/* ---- rings of calls ---- */

static void ring_init(struct call_link *ring)
{
    ring->prev = ring;
    ring->next = ring;
}

static void ring_append(struct call_link *ring, struct call_link *link)
{
    link->prev = ring->prev;
    link->next = ring;
    ring->prev->next = link;
    ring->prev = link;
}

/* Moves all of `from` into the empty `to`. */
static void ring_move(struct call_link *from, struct call_link *to)
{
    ring_init(to);
    if (from->next != from) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        ring_init(from);
    }
}

static struct kv_call *ring_first(const struct call_link *ring)
{
    _Static_assert(offsetof(struct kv_call, link) == 0, "a link is its call");
    return ring->next == ring ? NULL : (struct kv_call *)ring->next;
}

/* ---- life ---- */

void kv_conn_name(struct kv_conn *conn, const char *host, uint32_t port)
{
    bool is_v6 = strchr(host, ':') != NULL;

    (void)snprintf(conn->host, sizeof conn->host, "%s", host);
    (void)snprintf(conn->port, sizeof conn->port, "%u", port);
    (void)snprintf(conn->name, sizeof conn->name, "%s%.255s%s:%u", is_v6 ? "[" : "",
                   host, is_v6 ? "]" : "", port);
    conn->is_retired = false;
    conn->is_suspect = false;
    conn->addrs_count = 0;
    conn->failures = 0;
    conn->retry_at = 0;
}

struct kv_conn *kv_conn_new(struct kv_client *c, const char *host, uint32_t port)
{
    struct kv_conn *conn = kv_mem_zalloc(sizeof *conn);

    if (conn == NULL) {
        return NULL;
    }
    conn->client = c;
    kv_conn_name(conn, host, port);
    ring_init(&conn->queued);
    ring_init(&conn->sent);
    for (uint32_t i = 0; i < CONN_INFLIGHT_MAX; i++) {
        conn->slots_free[i] = (uint16_t)(CONN_INFLIGHT_MAX - 1 - i);
    }
    conn->slots_free_count = CONN_INFLIGHT_MAX;
    buf_init(&conn->out, OUT_BYTES_MAX);
    buf_init(&conn->in, IN_BYTES_MAX);
    return conn;
}

void kv_conn_free(struct kv_conn *conn)
{
    KV_ASSERT(conn->calls_count == 0 && !conn->gai_busy);
    buf_close(&conn->out);
    buf_close(&conn->in);
    kv_mem_free(conn);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct kv_conn *conn = handle->data;

    kv_client_unhold(conn->client);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct kv_conn *conn = handle->data;
    struct kv_client *c = conn->client;

    conn->state = CONN_IDLE;
    conn->is_writing = false;
    conn->in.len = 0;
    if (c->state != CLIENT_ENDING && ring_first(&conn->queued) != NULL) {
        conn_connect(conn);
    }
    kv_client_unhold(c);
}

/* Closes the socket's handle; its close callback makes the connection idle. */
static void tcp_close(struct kv_conn *conn)
{
    conn->state = CONN_CLOSING;
    kv_watch_conn_lost(conn);
    uv_close((uv_handle_t *)&conn->tcp, on_tcp_closed);
}

/* The socket's handle is live and not closing. */
static bool has_tcp(const struct kv_conn *conn)
{
    return conn->state == CONN_CONNECTING || conn->state == CONN_GREETING ||
           conn->state == CONN_OPEN;
}

void kv_conn_end(struct kv_conn *conn)
{
    KV_ASSERT(conn->calls_count == 0);
    if (conn->gai_busy) {
        (void)uv_cancel((uv_req_t *)&conn->gai);
    }
    if (conn->has_timer) {
        uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
    }
    if (has_tcp(conn)) {
        tcp_close(conn);
    }
}

void kv_conn_settle(struct kv_conn *conn)
{
    if ((conn->is_suspect || conn->is_retired) && conn->calls_count == 0 &&
        conn->state == CONN_OPEN && !conn->is_reading) {
        kv_client_log(conn->client, KV_LOG_DEBUG, "closing %s: %s", conn->name,
                      conn->is_suspect ? "it fell silent" : "not in the map");
        tcp_close(conn);
    }
}

/* ---- failing ---- */

static void on_timer(uv_timer_t *timer)
{
    struct kv_conn *conn = timer->data;
    char cause[CLIENT_CAUSE_MAX];

    if (conn->is_failing) {
        conn->is_failing = false;
        memcpy(cause, conn->cause, sizeof cause);
        conn_break(conn, conn->error, cause);
    } else if (conn->state == CONN_CONNECTING || conn->state == CONN_RESOLVING ||
               conn->state == CONN_GREETING) {
        (void)snprintf(cause, sizeof cause, "no %s within %u ms",
                       conn->state == CONN_GREETING ? "answer to hello" : "connection",
                       conn->client->options.connect_ms);
        conn_break(conn, KV_ECONNECT, cause);
    } else if (conn->state == CONN_IDLE && ring_first(&conn->queued) != NULL) {
        conn_connect(conn);
    }
}

static void timer_start(struct kv_conn *conn, uint64_t after_ms)
{
    uv_update_time(conn->client->loop);
    (void)uv_timer_start(&conn->timer, on_timer, after_ms, 0);
}

/* Breaks the connection in the next turn of the loop. */
static void conn_fail_soon(struct kv_conn *conn, int error, int uv_error,
                           const char *what)
{
    conn->is_failing = true;
    conn->error = error;
    (void)snprintf(conn->cause, sizeof conn->cause, "%s: %s", what,
                   uv_strerror(uv_error));
    timer_start(conn, 0);
}

/* Hands every call of a ring to kv_call_failed(). Callbacks may do what they want
 * meanwhile, so each step takes the first one that is still there. */
static void calls_fail(struct call_link *ring, int error, enum kv_outcome outcome,
                       const char *cause)
{
    struct kv_call *call;

    while ((call = ring_first(ring)) != NULL) {
        kv_call_detach(call);
        kv_call_failed(call, error, outcome, cause);
    }
}

/* The connection is of no use any more: closes it and fails its calls. */
static void conn_break(struct kv_conn *conn, int error, const char *cause)
{
    struct kv_client *c = conn->client;
    bool was_open = conn->state == CONN_OPEN;
    struct call_link queued;
    struct call_link sent;
    uint64_t top;

    conn->is_failing = false;
    conn->error = error;
    if (cause != conn->cause) {
        (void)snprintf(conn->cause, sizeof conn->cause, "%s", cause);
    }
    conn->addr_next = 0;
    (void)uv_timer_stop(&conn->timer);
    if (conn->gai_busy) {
        (void)uv_cancel((uv_req_t *)&conn->gai);
    }
    if (has_tcp(conn)) {
        tcp_close(conn);
    } else if (conn->state == CONN_RESOLVING) {
        conn->state = CONN_IDLE;
    }
    if (was_open) {
        conn->failures = 0;
        conn->retry_at = 0;
    } else {
        top = (uint64_t)RECONNECT_FIRST_MS << KV_MIN(conn->failures, 6);
        conn->failures++;
        conn->retry_at =
            kv_client_now(c) + prng_between(&c->prng, 1, KV_MIN(top, RECONNECT_MAX_MS));
    }
    kv_client_log(c, KV_LOG_WARN, "%s: %s", conn->name, conn->cause);
    ring_move(&conn->queued, &queued);
    ring_move(&conn->sent, &sent);
    kv_route_doubt(c, conn);
    /* Those that were never handed to the system are certainly not done. */
    calls_fail(&sent, error, KV_OUTCOME_UNKNOWN, conn->cause);
    calls_fail(&queued, was_open ? KV_ECLOSED : KV_ECONNECT, KV_OUTCOME_NOT_DONE,
               conn->cause);
}

/* ---- connecting ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct kv_conn *conn = handle->data;

    (void)suggested;
    if (buf_grow(&conn->in, CONN_READ_BYTES) != 0) {
        conn->in.error = 0;
        *out = uv_buf_init(NULL, 0); /* on_read gets UV_ENOBUFS. */
        return;
    }
    *out = uv_buf_init((char *)conn->in.data + conn->in.len, CONN_READ_BYTES);
}

static void conn_parse(struct kv_conn *conn);

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *unused)
{
    struct kv_conn *conn = stream->data;
    char cause[CLIENT_CAUSE_MAX];

    (void)unused;
    if (count == 0 || (conn->state != CONN_OPEN && conn->state != CONN_GREETING)) {
        return;
    }
    if (count < 0) {
        (void)snprintf(cause, sizeof cause, "%s",
                       count == UV_EOF ? "the server closed the connection"
                                       : uv_strerror((int)count));
        conn_break(conn, KV_ECLOSED, cause);
        return;
    }
    conn->heard_at = kv_client_now(conn->client);
    conn->in.len += (size_t)count;
    conn->is_reading = true;
    conn_parse(conn);
    conn->is_reading = false;
    kv_conn_settle(conn);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct kv_conn *conn = request->data;
    int rc;

    if (conn->state != CONN_CONNECTING) {
        return; /* Closed meanwhile. */
    }
    if (status != 0 && conn->addr_next < conn->addrs_count) {
        tcp_close(conn); /* Then on_tcp_closed() goes on with the next address. */
        return;
    }
    if (status != 0) {
        conn_break(conn, KV_ECONNECT, uv_strerror(status));
        return;
    }
    conn->state = CONN_GREETING;
    conn->in_scanned = 0;
    conn->in.len = 0;
    scan_init(&conn->scan, &scan_limits_response);
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    rc = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (rc != 0) {
        conn_break(conn, KV_ECONNECT, uv_strerror(rc));
        return;
    }
    conn_greet(conn);
}

/* Tries the next known address. */
static void conn_connect_address(struct kv_conn *conn)
{
    struct kv_client *c = conn->client;
    const struct sockaddr *addr = (struct sockaddr *)&conn->addrs[conn->addr_next++];
    int rc = uv_tcp_init(c->loop, &conn->tcp);

    if (rc != 0) {
        conn->state = CONN_IDLE;
        conn_fail_soon(conn, KV_ECONNECT, rc, "socket");
        return;
    }
    c->handles++;
    conn->tcp.data = conn;
    conn->connect.data = conn;
    conn->write.data = conn;
    conn->state = CONN_CONNECTING;
    rc = uv_tcp_connect(&conn->connect, &conn->tcp, addr, on_connect);
    if (rc != 0) {
        conn_fail_soon(conn, KV_ECONNECT, rc, "connect");
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct kv_conn *conn = request->data;
    struct kv_client *c = conn->client;
    char cause[CLIENT_CAUSE_MAX];

    conn->gai_busy = false;
    if (conn->state == CONN_RESOLVING && c->state != CLIENT_ENDING) {
        conn->addrs_count = 0;
        for (struct addrinfo *at = list; status == 0 && at != NULL; at = at->ai_next) {
            if (conn->addrs_count < CONN_ADDRS_MAX &&
                at->ai_addrlen <= sizeof conn->addrs[0]) {
                memcpy(&conn->addrs[conn->addrs_count++], at->ai_addr, at->ai_addrlen);
            }
        }
        conn->addr_next = 0;
        if (conn->addrs_count > 0) {
            conn_connect_address(conn);
        } else {
            (void)snprintf(cause, sizeof cause, "cannot resolve \"%.*s\": %s",
                           CAUSE_PART_MAX, conn->host,
                           uv_strerror(status == 0 ? UV_EAI_NODATA : status));
            conn_break(conn, KV_ECONNECT, cause);
        }
    } else if (conn->state == CONN_IDLE && ring_first(&conn->queued) != NULL) {
        conn_connect(conn);
    }
    uv_freeaddrinfo(list);
    kv_client_unhold(c);
}

/* Looks the host's name up, unless it is an address. */
static void conn_resolve(struct kv_conn *conn)
{
    struct kv_client *c = conn->client;
    struct addrinfo hints;
    int port = (int)strtol(conn->port, NULL, 10);
    int rc;

    if (uv_ip4_addr(conn->host, port, (struct sockaddr_in *)&conn->addrs[0]) == 0 ||
        uv_ip6_addr(conn->host, port, (struct sockaddr_in6 *)&conn->addrs[0]) == 0) {
        conn->addrs_count = 1;
        conn->addr_next = 0;
        conn_connect_address(conn);
        return;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    conn->gai.data = conn;
    conn->state = CONN_RESOLVING;
    rc = uv_getaddrinfo(c->loop, &conn->gai, on_resolved, conn->host, conn->port,
                        &hints);
    if (rc != 0) {
        conn_fail_soon(conn, KV_ECONNECT, rc, "getaddrinfo");
        return;
    }
    conn->gai_busy = true;
    c->handles++;
}

/* Begins to connect, or goes on with the next address of the host. Needs IDLE. */
static void conn_connect(struct kv_conn *conn)
{
    struct kv_client *c = conn->client;
    uint64_t now = kv_client_now(c);

    KV_ASSERT(conn->state == CONN_IDLE);
    if (!conn->has_timer) {
        (void)uv_timer_init(c->loop, &conn->timer);
        conn->timer.data = conn;
        conn->has_timer = true;
        c->handles++;
    }
    if (now < conn->retry_at) {
        timer_start(conn, conn->retry_at - now);
        return;
    }
    if (conn->gai_busy) {
        return; /* An abandoned lookup: on_resolved() goes on. */
    }
    if (conn->addr_next > 0 && conn->addr_next < conn->addrs_count) {
        conn_connect_address(conn);
        return;
    }
    timer_start(conn, c->options.connect_ms);
    conn_resolve(conn);
}

/* ---- sending ---- */

static void on_written(uv_write_t *request, int status)
{
    struct kv_conn *conn = request->data;

    if (conn->state != CONN_OPEN && conn->state != CONN_GREETING) {
        return;
    }
    conn->is_writing = false;
    if (status != 0) {
        conn_break(conn, KV_ECLOSED, uv_strerror(status));
        return;
    }
    conn_flush(conn);
}

/* Gives the call a slot and appends its request. Returns 0 or the buffer's error. */
static int conn_encode(struct kv_conn *conn, struct kv_call *call)
{
    struct rpc_request *q = &call->request;
    size_t mark = buf_mark(&conn->out);
    uint32_t slot;

    KV_ASSERT(conn->slots_free_count > 0);
    slot = conn->slots_free[conn->slots_free_count - 1];
    q->msgid = conn->round++ * CONN_INFLIGHT_MAX + slot;
    q->options.deadline_ms = kv_call_server_ms(call);
    q->options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    kv_session_stamp(call);
    kv_session_token(call);
    rpc_request_encode(&conn->out, q);
    if (conn->out.error != 0) {
        int error = conn->out.error;

        buf_rewind(&conn->out, mark);
        return error;
    }
    conn->slots_free_count--;
    conn->slots[slot] = call;
    call->msgid = q->msgid;
    return 0;
}

/* Writes all of `out`, which must stay as it is until on_written(). */
static void conn_write(struct kv_conn *conn)
{
    uv_buf_t bytes = uv_buf_init((char *)conn->out.data, (unsigned)conn->out.len);
    int rc = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &bytes, 1, on_written);

    if (rc != 0) {
        conn_fail_soon(conn, KV_ECLOSED, rc, "write");
        return;
    }
    conn->is_writing = true;
}

/* Hands what is queued to the system, in one write, unless one is under way. */
static void conn_flush(struct kv_conn *conn)
{
    struct kv_call *call;
    int rc;

    if (conn->state != CONN_OPEN || conn->is_writing || conn->is_failing) {
        return;
    }
    buf_reset(&conn->out);
    while (conn->out.len < CONN_BATCH_BYTES) {
        call = ring_first(&conn->queued);
        if (call == NULL) {
            break;
        }
        rc = conn_encode(conn, call);
        if (rc != 0) {
            if (conn->out.len == 0) {
                conn_fail_soon(conn, KV_ENOMEM, UV_ENOMEM, "write buffer");
            }
            break;
        }
        call->link.prev->next = call->link.next;
        call->link.next->prev = call->link.prev;
        ring_append(&conn->sent, &call->link);
        kv_call_sent(call);
    }
    if (conn->out.len == 0) {
        return;
    }
    conn_write(conn);
}

/* Asks the other side who it is, before anything else goes out. */
static void conn_greet(struct kv_conn *conn)
{
    struct rpc_request hello;

    rpc_request_init(&hello, RPC_HELLO, GREETING_MSGID);
    hello.options.leaders = conn->client->options.routing == KV_ROUTE_LEADER;
    hello.options.has |= hello.options.leaders ? RPC_OPT_BIT(RPC_OPT_leaders) : 0;
    buf_reset(&conn->out);
    rpc_request_encode(&conn->out, &hello);
    if (conn->out.error != 0) {
        conn_fail_soon(conn, KV_ENOMEM, UV_ENOMEM, "write buffer");
        return;
    }
    conn_write(conn);
}

void kv_conn_wake(struct kv_conn *conn)
{
    if (conn->state == CONN_IDLE && !conn->is_failing &&
        kv_client_now(conn->client) >= conn->retry_at) {
        conn_connect(conn);
    }
}

bool kv_conn_has_room(const struct kv_conn *conn, size_t bytes)
{
    return conn->calls_count < CONN_INFLIGHT_MAX &&
           conn->calls_bytes + bytes <= CONN_BYTES_MAX;
}

void kv_conn_take(struct kv_conn *conn, struct kv_call *call)
{
    KV_ASSERT(call->phase == CALL_WAITING && call->conn == NULL);
    call->phase = CALL_QUEUED;
    call->conn = conn;
    call->last = conn;
    conn->calls_count++;
    conn->calls_bytes += call->bytes_count;
    ring_append(&conn->queued, &call->link);
    if (conn->state == CONN_IDLE && !conn->is_failing) {
        conn_connect(conn);
    } else {
        conn_flush(conn);
    }
}

/* ---- receiving ---- */

/* The other side has answered hello, maybe with an error: it lives and is a kvd. */
static bool conn_greeted(struct kv_conn *conn, const struct rpc_reply *reply)
{
    struct kv_client *c = conn->client;

    if (reply->error == 0 && reply->cluster != 0) {
        if (c->cluster == 0) {
            c->cluster = reply->cluster;
        } else if (c->cluster != reply->cluster) {
            conn_break(conn, KV_ECONNECT, "this node belongs to another cluster");
            return false;
        }
    }
    kv_session_time(c, reply->error == 0 ? reply->time_ms : 0);
    (void)uv_timer_stop(&conn->timer);
    conn->state = CONN_OPEN;
    conn->failures = 0;
    conn->addr_next = 0;
    conn->is_suspect = false;
    kv_client_log(c, KV_LOG_INFO, "connected to %s", conn->name);
    conn_flush(conn);
    return true;
}

/* Takes one whole message. Returns false when the connection or client is gone. */
static bool conn_deliver(struct kv_conn *conn, struct kv_bytes message)
{
    struct kv_client *c = conn->client;
    struct rpc_reply reply;
    struct kv_call *call;
    enum rpc_type type;
    uint32_t msgid;
    int rc = rpc_peek(message, &type, &msgid);

    if (rc != 0 || type == RPC_REQUEST) {
        conn_break(conn, KV_EPROTO, "the server sent what is not a response");
        return false;
    }
    if (type == RPC_NOTIFICATION && conn->state == CONN_OPEN) {
        rc = kv_route_news(c, message);
        if (rc == KV_ENOTFOUND) {
            rc = kv_watch_deliver(conn, message);
        }
        if (rc != 0) {
            conn_break(conn, rc, "a notification is malformed, or too large");
            return false;
        }
        return conn->state == CONN_OPEN && c->state != CLIENT_ENDING;
    }
    if (conn->state == CONN_GREETING) {
        if (msgid != GREETING_MSGID ||
            rpc_reply_decode(&c->decoder, message, RPC_HELLO, &reply) != 0) {
            conn_break(conn, KV_EPROTO, "its answer to hello is malformed");
            return false;
        }
        return conn_greeted(conn, &reply);
    }
    call = conn->slots[msgid % CONN_INFLIGHT_MAX];
    if (call == NULL || call->msgid != msgid) {
        return true; /* Late, double, or nobody's: its call has ended. */
    }
    rc = rpc_reply_decode(&c->decoder, message, call->request.method, &reply);
    if (rc != 0) {
        conn_break(conn, KV_EPROTO,
                   rc == KV_ENOMEM ? "out of memory for a response"
                                   : "the server's response is malformed");
        return false;
    }
    kv_call_detach(call);
    kv_call_reply(call, &reply);
    return conn->state == CONN_OPEN && c->state != CLIENT_ENDING;
}

/* Takes all whole messages of the input buffer and keeps the rest. */
static void conn_parse(struct kv_conn *conn)
{
    struct buf *in = &conn->in;
    size_t start = 0;

    while (start < in->len) {
        size_t seen = start + conn->in_scanned;
        size_t used = 0;
        int rc = scan_feed(&conn->scan, in->data + seen, in->len - seen, &used);

        if (rc == KV_EAGAIN) {
            conn->in_scanned = in->len - start;
            break;
        }
        if (rc != 0) {
            conn_break(conn, KV_EPROTO,
                       conn->state == CONN_GREETING
                           ? "what answers there is no kvd; is it the client port?"
                           : scan_why(&conn->scan));
            return;
        }
        conn->in_scanned = 0;
        start += used;
        if (!conn_deliver(conn, kv_bytes(in->data + start - used, used))) {
            return;
        }
    }
    if (start > 0) {
        memmove(in->data, in->data + start, in->len - start);
        in->len -= start;
    }
    if (in->len == 0 && in->cap > IN_BYTES_KEPT) {
        buf_close(in);
    }
}
