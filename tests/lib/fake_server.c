/* tests/lib/fake_server.c - a node that misbehaves on demand. */
#include "tests/lib/fake_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "raft/base/arena.h"
#include "rpc/news.h"
#include "rpc/scan.h"
#include "tests/lib/fake_store.h"

enum {
    FAKE_STEPS_MAX = 32,
    FAKE_READ_BYTES = 64 * 1024,
    FAKE_IN_BYTES_MAX = KV_REQUEST_BYTES_MAX + 2 * FAKE_READ_BYTES,
    FAKE_BACKLOG = 128,
    FAKE_OPTIONS_KEPT = 512,
};

/* One accepted connection; lives until the server stops. */
struct fake_conn {
    struct fake_conn *next;
    struct fake_server *server;
    uv_tcp_t tcp;
    struct buf in;
    size_t scanned;
    struct scan scan;
    bool is_open;
};

/* Bytes on their way out. */
struct fake_write {
    uv_write_t write;
    uv_timer_t timer; /* For late ones. */
    bool has_timer;
    struct fake_conn *conn;
    size_t len;
    uint8_t bytes[];
};

struct fake_server {
    uint32_t node;
    uint16_t port;
    char endpoint[32];
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t async;
    uv_thread_t thread;

    /* Guarded by the lock. */
    uv_mutex_t lock;
    bool wants_stop;
    bool wants_drop;
    uint64_t wants_news; /* The term; 0: no. */
    struct fake_step steps[FAKE_STEPS_MAX];
    uint32_t steps_count;
    uint32_t requests[RPC_METHODS_COUNT];
    struct rpc_options options[RPC_METHODS_COUNT][FAKE_OPTIONS_KEPT];
    uint32_t connections;
    uint32_t open;
    struct map *map;
    uint32_t leaders[KV_GROUPS_MAX];

    /* The thread's own. */
    struct fake_conn *conns;
    struct rpc_decoder decoder;
    struct fake_store store;
};

/* ---- sending ---- */

static void conn_close(struct fake_conn *conn);

static void write_free(uv_handle_t *timer)
{
    kv_mem_free(timer->data);
}

/* Frees it, through its timer's end where it has one. */
static void write_end(struct fake_write *w)
{
    if (w->has_timer) {
        uv_close((uv_handle_t *)&w->timer, write_free);
    } else {
        kv_mem_free(w);
    }
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    write_end(write->data);
}

static void write_now(struct fake_write *w)
{
    uv_buf_t bytes = uv_buf_init((char *)w->bytes, (unsigned)w->len);

    if (!w->conn->is_open ||
        uv_write(&w->write, (uv_stream_t *)&w->conn->tcp, &bytes, 1, on_written) != 0) {
        write_end(w);
    }
}

static void on_late(uv_timer_t *timer)
{
    write_now(timer->data);
}

static void send_bytes(struct fake_conn *conn, const void *bytes, size_t len,
                       uint32_t late_ms)
{
    struct fake_write *w = kv_mem_zalloc(sizeof *w + len);

    KV_ASSERT(w != NULL);
    w->conn = conn;
    w->len = len;
    w->write.data = w;
    memcpy(w->bytes, bytes, len);
    if (late_ms == 0) {
        write_now(w);
        return;
    }
    (void)uv_timer_init(&conn->server->loop, &w->timer);
    w->timer.data = w;
    w->has_timer = true;
    (void)uv_timer_start(&w->timer, on_late, late_ms, 0);
}

/* ---- answering ---- */

static void reply_status(struct fake_server *s, struct buf *b, uint32_t msgid,
                         const struct rpc_at *at)
{
    struct rpc_group_status *groups =
        kv_mem_zalloc(s->map->groups_count * sizeof *groups);

    KV_ASSERT(groups != NULL);
    for (uint32_t i = 0; i < s->map->groups_count; i++) {
        groups[i].id = s->map->groups[i].id;
        groups[i].leader = s->leaders[i];
        groups[i].term = 3;
        groups[i].commit = 100 + i;
        groups[i].applied = 100 + i;
        groups[i].w = s->map->groups[i].w;
        groups[i].voters_count = s->map->groups[i].replicas_count;
        for (uint32_t k = 0; k < groups[i].voters_count; k++) {
            groups[i].voters[k] = s->map->groups[i].replicas[k].node;
        }
    }
    rpc_reply_status(b, msgid, at, s->map, groups, s->map->groups_count);
    kv_mem_free(groups);
}

/* Carries the request out and encodes the answer. */
static void answer(struct fake_server *s, const struct rpc_request *q, struct buf *b)
{
    struct rpc_at at = {.group = 1, .node = s->node, .rev = s->store.rev, .term = 3};

    uv_mutex_lock(&s->lock);
    if (q->key.len > 0) {
        at.group = map_group_for_key(s->map, q->key);
    }
    if (q->method == RPC_CLUSTER_MAP) {
        rpc_reply_map(b, q->msgid, &at, s->map, s->leaders);
    } else if (q->method == RPC_CLUSTER_STATUS) {
        reply_status(s, b, q->msgid, &at);
    } else {
        fake_store_answer(&s->store, q, &at, b);
    }
    uv_mutex_unlock(&s->lock);
}

static void answer_error(const struct fake_step *step, const struct rpc_request *q,
                         struct buf *b)
{
    struct rpc_error error = {0};

    rpc_error_set(&error, step->code, "%s", step->text != NULL ? step->text : "");
    rpc_reply_error(b, q->msgid, &error);
}

/* Bytes that no well-behaved server sends. */
static void send_nonsense(struct fake_conn *conn, enum fake_action action,
                          uint32_t msgid)
{
    static const uint8_t garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const uint8_t huge[] = {0x94, 0x01, 0xce, 0,    0,    0,
                                   0,    0xdb, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t asks[] = {0x94, 0x00, 0x01, 0xa5, 'h',
                                   'e',  'l',  'l',  'o',  0x90};
    uint8_t wrong[] = {0x94, 0x01, 0xce, 0, 0, 0, 0, 0xc0, 0x92, 0x01, 0x02};

    kv_put_u32be(wrong + 3, msgid);
    switch (action) {
    case FAKE_GARBAGE:
        send_bytes(conn, garbage, sizeof garbage - 1, 0);
        break;
    case FAKE_HUGE:
        send_bytes(conn, huge, sizeof huge, 0);
        break;
    case FAKE_ASKS:
        send_bytes(conn, asks, sizeof asks, 0);
        break;
    case FAKE_WRONG_RESULT:
        send_bytes(conn, wrong, sizeof wrong, 0);
        break;
    default:
        KV_UNREACHABLE();
    }
}

/* Does with the request what the step says. `b` is empty. */
static void act(struct fake_conn *conn, const struct fake_step *step,
                const struct rpc_request *q, struct buf *b)
{
    static const uint8_t note[] = {0x93, 0x02, 0xa3, 'f', 'o', 'o', 0x90};
    struct rpc_request other = *q;

    switch (step->action) {
    case FAKE_OK:
    case FAKE_OK_LATE:
        answer(conn->server, q, b);
        send_bytes(conn, b->data, b->len, step->ms);
        break;
    case FAKE_OK_SLOWLY:
        answer(conn->server, q, b);
        for (size_t i = 0; i < b->len; i++) {
            send_bytes(conn, b->data + i, 1, (uint32_t)(1 + i / 16));
        }
        break;
    case FAKE_ERROR:
        answer_error(step, q, b);
        send_bytes(conn, b->data, b->len, 0);
        break;
    case FAKE_ERROR_TWICE:
        answer_error(step, q, b);
        send_bytes(conn, b->data, b->len, 0);
        send_bytes(conn, b->data, b->len, step->ms);
        break;
    case FAKE_SILENT:
        answer(conn->server, q, b);
        break;
    case FAKE_DROP:
        conn_close(conn);
        break;
    case FAKE_DROP_DONE:
        answer(conn->server, q, b);
        conn_close(conn);
        break;
    case FAKE_HALF_DROP:
    case FAKE_HALF_SILENT:
        answer(conn->server, q, b);
        send_bytes(conn, b->data, b->len / 2, 0);
        if (step->action == FAKE_HALF_DROP) {
            conn_close(conn);
        }
        break;
    case FAKE_WRONG_MSGID:
        other.msgid = q->msgid + 7;
        answer(conn->server, &other, b);
        send_bytes(conn, b->data, b->len, 0);
        break;
    case FAKE_NOTIFIES:
        answer(conn->server, q, b);
        send_bytes(conn, note, sizeof note, 0);
        send_bytes(conn, b->data, b->len, 0);
        break;
    case FAKE_GARBAGE:
    case FAKE_HUGE:
    case FAKE_ASKS:
    case FAKE_WRONG_RESULT:
        send_nonsense(conn, step->action, q->msgid);
        break;
    }
}

/* Finds the step for a request and counts it; FAKE_OK when there is none. */
static struct fake_step step_take(struct fake_server *s, const struct rpc_request *q)
{
    struct fake_step found = {.action = FAKE_OK};

    uv_mutex_lock(&s->lock);
    s->options[q->method][s->requests[q->method] % FAKE_OPTIONS_KEPT] = q->options;
    s->requests[q->method]++;
    for (uint32_t i = 0; i < s->steps_count; i++) {
        struct fake_step *step = &s->steps[i];

        if (step->times > 0 &&
            (step->method == q->method ||
             (step->method == RPC_UNKNOWN && q->method != RPC_HELLO))) {
            step->times -= step->times != FAKE_FOREVER;
            found = *step;
            break;
        }
    }
    uv_mutex_unlock(&s->lock);
    return found;
}

static void handle(struct fake_conn *conn, struct kv_bytes message)
{
    struct rpc_request q;
    struct rpc_error error = {0};
    struct fake_step step;
    struct buf b;

    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    if (rpc_request_decode(&conn->server->decoder, message, &q, &error) != 0) {
        rpc_reply_error(&b, q.msgid, &error);
        send_bytes(conn, b.data, b.len, 0);
    } else {
        step = step_take(conn->server, &q);
        act(conn, &step, &q, &b);
    }
    buf_close(&b);
}

/* ---- receiving ---- */

static void on_conn_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;

    buf_close(&conn->in);
}

static void conn_close(struct fake_conn *conn)
{
    if (!conn->is_open) {
        return;
    }
    conn->is_open = false;
    uv_mutex_lock(&conn->server->lock);
    conn->server->open--;
    uv_mutex_unlock(&conn->server->lock);
    uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct fake_conn *conn = handle->data;

    (void)suggested;
    *out = buf_grow(&conn->in, FAKE_READ_BYTES) != 0
               ? uv_buf_init(NULL, 0)
               : uv_buf_init((char *)conn->in.data + conn->in.len, FAKE_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *unused)
{
    struct fake_conn *conn = stream->data;
    size_t used = 0;
    int rc;

    (void)unused;
    if (count < 0) {
        conn_close(conn);
        return;
    }
    conn->in.len += (size_t)count;
    while (conn->is_open && conn->in.len > conn->scanned) {
        rc = scan_feed(&conn->scan, conn->in.data + conn->scanned,
                       conn->in.len - conn->scanned, &used);
        if (rc == KV_EAGAIN) {
            conn->scanned = conn->in.len;
            return;
        }
        if (rc != 0) {
            conn_close(conn);
            return;
        }
        conn->scanned = 0;
        handle(conn, kv_bytes(conn->in.data, used));
        memmove(conn->in.data, conn->in.data + used, conn->in.len - used);
        conn->in.len -= used;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake_server *s = listener->data;
    struct fake_conn *conn = kv_mem_zalloc(sizeof *conn);

    KV_ASSERT(conn != NULL && status == 0);
    conn->server = s;
    conn->next = s->conns;
    s->conns = conn;
    conn->tcp.data = conn;
    buf_init(&conn->in, FAKE_IN_BYTES_MAX);
    scan_init(&conn->scan, &scan_limits_request);
    (void)uv_tcp_init(&s->loop, &conn->tcp);
    (void)uv_accept(listener, (uv_stream_t *)&conn->tcp);
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    conn->is_open = true;
    uv_mutex_lock(&s->lock);
    s->connections++;
    s->open++;
    uv_mutex_unlock(&s->lock);
    (void)uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

/* ---- the thread ---- */

/* The listener, the async, and the timers of answers that nobody will get. */
static void close_rest(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (uv_is_closing(handle)) {
        return;
    }
    if (handle->type != UV_TIMER) {
        uv_close(handle, NULL);
    } else if (uv_is_active(handle)) {
        uv_close(handle, write_free);
    }
}

static void news_send(struct fake_server *s, uint64_t term)
{
    struct buf b;

    buf_init(&b, 64 * 1024);
    uv_mutex_lock(&s->lock);
    rpc_leaders_begin(&b, s->map->groups_count);
    for (uint32_t i = 0; i < s->map->groups_count; i++) {
        const struct rpc_leader leader = {
            .group = s->map->groups[i].id, .node = s->leaders[i], .term = term};

        rpc_leaders_add(&b, &leader);
    }
    s->wants_news = 0;
    uv_mutex_unlock(&s->lock);
    for (struct fake_conn *conn = s->conns; conn != NULL; conn = conn->next) {
        if (conn->is_open) {
            send_bytes(conn, b.data, b.len, 0);
        }
    }
    buf_close(&b);
}

static void on_async(uv_async_t *async)
{
    struct fake_server *s = async->data;
    uint64_t wants_news;
    bool wants_stop;

    uv_mutex_lock(&s->lock);
    wants_stop = s->wants_stop;
    wants_news = s->wants_news;
    uv_mutex_unlock(&s->lock);
    if (wants_news != 0 && !wants_stop) {
        news_send(s, wants_news);
        return;
    }
    for (struct fake_conn *conn = s->conns; conn != NULL; conn = conn->next) {
        conn_close(conn);
    }
    uv_mutex_lock(&s->lock);
    s->wants_drop = false;
    uv_mutex_unlock(&s->lock);
    if (wants_stop) {
        uv_walk(&s->loop, close_rest, NULL);
    }
}

static void run(void *ctx)
{
    struct fake_server *s = ctx;
    sigset_t pipe;

    /* Clients go away while it writes; the test's thread keeps its own disposition. */
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
}

/* ---- life ---- */

struct fake_server *fake_server_start(uint32_t node, uint16_t port)
{
    struct fake_server *s = kv_mem_zalloc(sizeof *s);
    struct sockaddr_in addr;
    int addr_len = sizeof addr;
    int rc;

    KV_ASSERT(s != NULL);
    (void)uv_ip4_addr("127.0.0.1", port, &addr);
    (void)uv_mutex_init(&s->lock);
    (void)uv_loop_init(&s->loop);
    (void)uv_tcp_init(&s->loop, &s->listener);
    (void)uv_async_init(&s->loop, &s->async, on_async);
    s->listener.data = s;
    s->async.data = s;
    s->node = node;
    rc = uv_tcp_bind(&s->listener, (struct sockaddr *)&addr, 0);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&s->listener, FAKE_BACKLOG, on_connection);
    }
    if (rc == 0) {
        rc = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&addr, &addr_len);
    }
    if (rc == 0) {
        rc = rpc_decoder_init(&s->decoder);
    }
    KV_ASSERT(rc == 0);
    s->port = ntohs(addr.sin_port);
    (void)snprintf(s->endpoint, sizeof s->endpoint, "127.0.0.1:%u", s->port);
    fake_store_init(&s->store);
    s->map = fake_server_map(&s, 1, 1, 1);
    s->leaders[0] = node;
    rc = uv_thread_create(&s->thread, run, s);
    KV_ASSERT(rc == 0);
    return s;
}

void fake_server_stop(struct fake_server *s)
{
    if (s == NULL) {
        return;
    }
    uv_mutex_lock(&s->lock);
    s->wants_stop = true;
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(&s->async);
    (void)uv_thread_join(&s->thread);
    KV_ASSERT(uv_loop_close(&s->loop) == 0);
    while (s->conns != NULL) {
        struct fake_conn *next = s->conns->next;

        kv_mem_free(s->conns);
        s->conns = next;
    }
    rpc_decoder_close(&s->decoder);
    fake_store_close(&s->store);
    uv_mutex_destroy(&s->lock);
    kv_mem_free(s->map);
    kv_mem_free(s);
}

/* ---- the rest ---- */

uint16_t fake_server_port(const struct fake_server *s)
{
    return s->port;
}

const char *fake_server_endpoint(const struct fake_server *s)
{
    return s->endpoint;
}

void fake_server_script(struct fake_server *s, struct fake_step step)
{
    step.times = step.times == 0 ? 1 : step.times;
    uv_mutex_lock(&s->lock);
    KV_ASSERT(s->steps_count < FAKE_STEPS_MAX);
    s->steps[s->steps_count++] = step;
    uv_mutex_unlock(&s->lock);
}

void fake_server_set_map(struct fake_server *s, const struct map *map,
                         const uint32_t *leaders)
{
    uv_mutex_lock(&s->lock);
    *s->map = *map;
    s->store.cluster = map->cluster;
    memcpy(s->leaders, leaders, map->groups_count * sizeof *leaders);
    uv_mutex_unlock(&s->lock);
}

void fake_server_limit(struct fake_server *s, uint32_t items)
{
    uv_mutex_lock(&s->lock);
    s->store.limit = items;
    uv_mutex_unlock(&s->lock);
}

void fake_server_news(struct fake_server *s, uint64_t term)
{
    uv_mutex_lock(&s->lock);
    s->wants_news = term;
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(&s->async);
}

void fake_server_drop_all(struct fake_server *s)
{
    bool is_done = false;

    uv_mutex_lock(&s->lock);
    s->wants_drop = true;
    uv_mutex_unlock(&s->lock);
    (void)uv_async_send(&s->async);
    while (!is_done) {
        uv_sleep(1);
        uv_mutex_lock(&s->lock);
        is_done = !s->wants_drop;
        uv_mutex_unlock(&s->lock);
    }
}

uint32_t fake_server_requests(struct fake_server *s, enum rpc_method method)
{
    uint32_t count;

    uv_mutex_lock(&s->lock);
    count = s->requests[method];
    uv_mutex_unlock(&s->lock);
    return count;
}

uint32_t fake_server_connections(struct fake_server *s)
{
    uint32_t count;

    uv_mutex_lock(&s->lock);
    count = s->connections;
    uv_mutex_unlock(&s->lock);
    return count;
}

uint32_t fake_server_open(struct fake_server *s)
{
    uint32_t count;

    uv_mutex_lock(&s->lock);
    count = s->open;
    uv_mutex_unlock(&s->lock);
    return count;
}

bool fake_server_options_at(struct fake_server *s, enum rpc_method method, uint32_t i,
                            struct rpc_options *out)
{
    bool has;

    uv_mutex_lock(&s->lock);
    has = i < s->requests[method] && s->requests[method] - i <= FAKE_OPTIONS_KEPT;
    *out = s->options[method][i % FAKE_OPTIONS_KEPT];
    uv_mutex_unlock(&s->lock);
    return has;
}

bool fake_server_options(struct fake_server *s, enum rpc_method method,
                         struct rpc_options *out)
{
    uint32_t count = fake_server_requests(s, method);

    return count > 0 && fake_server_options_at(s, method, count - 1, out);
}

void fake_server_time(struct fake_server *s, uint64_t time_ms)
{
    uv_mutex_lock(&s->lock);
    s->store.time_ms = time_ms;
    uv_mutex_unlock(&s->lock);
}

struct map *fake_server_map(struct fake_server *const *servers, uint32_t servers_count,
                            uint32_t groups_count, uint64_t epoch)
{
    struct map *map = kv_mem_zalloc(sizeof *map);
    struct arena scratch;
    const char *why = NULL;
    int rc;

    KV_ASSERT(map != NULL && servers_count <= KV_REPLICAS_MAX);
    map_init(map, 0xc1);
    map->epoch = epoch;
    map->vnodes = KV_VNODES_DEFAULT;
    map->nodes_count = servers_count;
    map->groups_count = groups_count;
    for (uint32_t i = 0; i < servers_count; i++) {
        map->nodes[i] = (struct map_node){.id = i + 1,
                                          .client_port = servers[i]->port,
                                          .peer_port = 1,
                                          .host = "127.0.0.1"};
    }
    for (uint32_t g = 0; g < groups_count; g++) {
        map->groups[g].id = (uint16_t)(g + 1);
        map->groups[g].replicas_count = (uint8_t)servers_count;
        for (uint32_t i = 0; i < servers_count; i++) {
            map->groups[g].replicas[i] =
                (struct map_replica){.replica = i + 1, .node = i + 1};
        }
    }
    arena_init(&scratch, 256 * 1024, 0);
    rc = map_derive_slots(map, &scratch);
    arena_close(&scratch);
    KV_ASSERT(rc == 0 && map_validate(map, &why) == 0);
    return map;
}
