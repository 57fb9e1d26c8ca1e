/* server/uv_http.c - requests through llhttp, answers from admin_get(). */
#include "server/uv_http.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/node.h"
#include "server/uv_env.h"

/* Room for the answers of one read: what UV_HTTP_OUT_BYTES lets wait, and one more. */
enum {
    OUT_BYTES_MAX = UV_HTTP_OUT_BYTES + UV_HTTP_BODY_BYTES_MAX + 1024
};

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

/* ---- the end of a connection ---- */

static void on_connection(uv_stream_t *stream, int status);

static void on_closed(uv_handle_t *handle)
{
    struct uv_http_conn *c = handle->data;
    struct uv_http *h = c->http;

    KV_ASSERT(c->magic == UV_HTTP_MAGIC && c->used && !c->writing);
    buf_close(&c->out);
    buf_close(&c->flying);
    c->used = false;
    h->count--;
    if (h->open && h->blocked) {
        on_connection((uv_stream_t *)&h->listener, 0);
    }
}

static void conn_close(struct uv_http_conn *c)
{
    if (!c->closing) {
        c->closing = true;
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    if (status != 0) {
        conn_close(request->data);
    }
}

/* ---- bytes out ---- */

static void on_written(uv_write_t *request, int status);

/* Writes what waits; when all is written and the connection is to end, ends our side
 * and waits for the other: closing with unread input would cut off the answer. */
static void conn_flush(struct uv_http_conn *c)
{
    struct buf none = c->flying;
    uv_buf_t bytes;
    int wrote;
    size_t done;

    if (c->closing || c->writing) {
        return;
    }
    if (c->out.len > 0) {
        bytes = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
        wrote = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
        done = wrote > 0 ? (size_t)wrote : 0;
        if (done < c->out.len) {
            c->flying = c->out;
            c->out = none;
            bytes = uv_buf_init((char *)c->flying.data + done,
                                (unsigned)(c->flying.len - done));
            c->write.data = c;
            c->writing = true;
            c->deadline_ms = uv_env_now_ms(c->http->e) + UV_HTTP_WRITE_MS;
            if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &bytes, 1, on_written) !=
                0) {
                c->writing = false;
                conn_close(c);
            }
            return;
        }
        buf_close(&c->out);
    }
    if (c->ending && !c->shut) {
        c->shut = true;
        c->shutdown.data = c;
        c->deadline_ms = uv_env_now_ms(c->http->e) + UV_HTTP_LINGER_MS;
        if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
            conn_close(c);
        }
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct uv_http_conn *c = request->data;

    c->writing = false;
    buf_close(&c->flying);
    if (status != 0) {
        conn_close(c);
        return;
    }
    c->deadline_ms = uv_env_now_ms(c->http->e) +
                     (uint64_t)(c->head_begun ? UV_HTTP_HEAD_MS : UV_HTTP_IDLE_MS);
    conn_flush(c);
}

/* Appends an answer. with_body: false for HEAD, which only names the length. */
static void answer(struct uv_http_conn *c, int status, const char *type,
                   struct kv_bytes body, bool with_body)
{
    char head[512];
    int len;

    len = snprintf(head, sizeof head,
                   "HTTP/1.1 %d %s\r\n"
                   "Content-Type: %s\r\n"
                   "Content-Length: %zu\r\n"
                   "Cache-Control: no-store\r\n"
                   "%s%s\r\n",
                   status, status_text(status), type, body.len,
                   status == 405 ? "Allow: GET, HEAD\r\n" : "",
                   c->ending              ? "Connection: close\r\n"
                   : c->parser.http_minor ? ""
                                          : "Connection: keep-alive\r\n");
    KV_ASSERT(len > 0 && (size_t)len < sizeof head);
    buf_append(&c->out, head, (size_t)len);
    if (with_body) {
        buf_append_bytes(&c->out, body);
    }
    c->http->requests++;
    if (c->out.error != 0) {
        conn_close(c);
    }
}

/* Answers with an error of our own and ends the connection. */
static void refuse(struct uv_http_conn *c, int status, const char *why)
{
    char text[128];
    int len =
        snprintf(text, sizeof text, "%d %s: %s\n", status, status_text(status), why);

    KV_ASSERT(len > 0 && (size_t)len < sizeof text);
    c->ending = true;
    answer(c, status, "text/plain; charset=utf-8", kv_bytes(text, (size_t)len), true);
}

/* ---- one request ---- */

/* Answers the request whose head is complete. */
static void request_end(struct uv_http_conn *c)
{
    struct uv_http *h = c->http;
    const char *type = "text/plain; charset=utf-8";
    bool is_head = c->parser.method == HTTP_HEAD;
    char *query;
    int status;

    c->used_at = ++h->uses;
    c->ending |= !c->keep_alive || c->out.len > UV_HTTP_OUT_BYTES;
    if (c->parser.method != HTTP_GET && !is_head) {
        refuse(c, 405, "this port only answers GET and HEAD");
        return;
    }
    if (c->has_body) {
        refuse(c, 413, "requests have no body here");
        return;
    }
    if (c->url_too_long) {
        refuse(c, 414, "the path is too long");
        return;
    }
    if (c->url[0] != '/') {
        refuse(c, 400, "the path must begin with a slash");
        return;
    }
    query = strchr(c->url, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    buf_reset(&h->body);
    if (h->e->node == NULL || h->e->halted) {
        refuse(c, 503, "the node is not running");
        return;
    }
    status = admin_get(h->e->node, c->url, query == NULL ? "" : query, &h->body, &type);
    if (h->body.error != 0) {
        refuse(c, 503, "the answer is too large; out of memory");
        return;
    }
    answer(c, status, type, buf_bytes(&h->body), !is_head);
}

/* ---- llhttp's callbacks ---- */

static int on_message_begin(llhttp_t *parser)
{
    struct uv_http_conn *c = parser->data;

    c->url_bytes = 0;
    c->url[0] = '\0';
    c->url_too_long = false;
    c->has_body = false;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct uv_http_conn *c = parser->data;

    if (len > UV_HTTP_URL_BYTES_MAX - c->url_bytes) {
        c->url_too_long = true;
        return 0;
    }
    memcpy(c->url + c->url_bytes, at, len);
    c->url_bytes += (uint32_t)len;
    c->url[c->url_bytes] = '\0';
    return 0;
}

/* Returns 1: whatever the headers say, no body is read. */
static int on_headers_complete(llhttp_t *parser)
{
    struct uv_http_conn *c = parser->data;

    c->has_body = parser->content_length > 0 || (parser->flags & F_CHUNKED) != 0;
    return 1;
}

static int on_message_complete(llhttp_t *parser)
{
    struct uv_http_conn *c = parser->data;

    c->keep_alive =
        llhttp_should_keep_alive(parser) != 0 && parser->upgrade == 0 && !c->has_body;
    return HPE_PAUSED; /* request_end() is called with the parser off the stack. */
}

/* ---- bytes in ---- */

/* Feeds one piece; returns how many bytes of it were used, 0 to stop. */
static size_t conn_feed(struct uv_http_conn *c, const char *data, size_t len)
{
    size_t room = UV_HTTP_HEAD_BYTES_MAX + 1 - c->head_bytes;
    size_t piece = KV_MIN(len, room);
    llhttp_errno_t rc = llhttp_execute(&c->parser, data, piece);
    size_t used;

    switch (rc) {
    case HPE_OK:
        c->head_bytes += (uint32_t)piece;
        if (c->head_bytes > UV_HTTP_HEAD_BYTES_MAX) {
            refuse(c, c->url_too_long ? 414 : 431,
                   "request line and headers take too much");
            return 0;
        }
        if (!c->head_begun) {
            c->head_begun = true;
            c->deadline_ms = uv_env_now_ms(c->http->e) + UV_HTTP_HEAD_MS;
        }
        return piece;
    case HPE_PAUSED:
    case HPE_PAUSED_UPGRADE:
        used = (size_t)(llhttp_get_error_pos(&c->parser) - data);
        KV_ASSERT(used <= piece);
        request_end(c);
        c->head_begun = false;
        c->head_bytes = 0;
        if (rc == HPE_PAUSED_UPGRADE) {
            c->ending = true;
        } else {
            llhttp_resume(&c->parser);
        }
        c->deadline_ms = uv_env_now_ms(c->http->e) + UV_HTTP_IDLE_MS;
        return used;
    case HPE_INVALID_METHOD:
        refuse(c, 405, "this port only answers GET and HEAD, in HTTP/1.1");
        return 0;
    default:
        refuse(c, 400, "this is not HTTP/1.1");
        return 0;
    }
}

static void conn_data(struct uv_http_conn *c, const char *data, size_t len)
{
    while (len > 0 && !c->ending && !c->closing) {
        size_t used = conn_feed(c, data, len);

        if (used == 0) {
            break;
        }
        data += used;
        len -= used;
    }
    conn_flush(c);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct uv_http_conn *c = stream->data;

    KV_ASSERT(c->magic == UV_HTTP_MAGIC);
    if (nread < 0) {
        conn_close(c);
        return;
    }
    if (nread > 0 && !c->ending && !c->closing) {
        conn_data(c, buf->base, (size_t)nread);
    }
}

/* ---- accept ---- */

static struct uv_http_conn *conn_take(struct uv_http *h)
{
    for (uint32_t i = 0; i < UV_HTTP_PLACES; i++) {
        if (!h->conns[i].used) {
            return &h->conns[i];
        }
    }
    return NULL;
}

/* Finds the connection that was of no use for the longest time. ended: among those
 * that only linger; else among those that neither linger nor are being written to. */
static struct uv_http_conn *conn_useless(struct uv_http *h, bool ended)
{
    struct uv_http_conn *oldest = NULL;

    for (uint32_t i = 0; i < UV_HTTP_PLACES; i++) {
        struct uv_http_conn *c = &h->conns[i];

        if (c->used && !c->closing && !c->writing && c->shut == ended &&
            (oldest == NULL || c->used_at < oldest->used_at)) {
            oldest = c;
        }
    }
    return oldest;
}

/* Makes room for `c`, accepted last. False when all others are being written to. */
static bool conn_make_room(struct uv_http *h, const struct uv_http_conn *c)
{
    struct uv_http_conn *victim;
    uint32_t live = 0;

    for (uint32_t i = 0; i < UV_HTTP_PLACES; i++) {
        live += h->conns[i].used && !h->conns[i].closing && !h->conns[i].shut;
    }
    if (live <= UV_HTTP_CONNS_MAX) {
        return true;
    }
    victim = conn_useless(h, false);
    KV_ASSERT(victim != NULL); /* At least `c` itself, as the newest. */
    if (victim == c) {
        return false;
    }
    conn_close(victim);
    return true;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct uv_http *h = stream->data;
    struct uv_http_conn *c;

    if (status < 0) {
        return; /* The one that wanted to connect has gone. */
    }
    c = conn_take(h);
    h->blocked = c == NULL; /* libuv holds it until a place is free. */
    if (h->blocked) {
        c = conn_useless(h, true);
        if (c != NULL) {
            conn_close(c);
        }
        return;
    }
    memset(c, 0, sizeof *c);
    c->magic = UV_HTTP_MAGIC;
    c->http = h;
    buf_init(&c->out, OUT_BYTES_MAX);
    buf_init(&c->flying, OUT_BYTES_MAX);
    llhttp_init(&c->parser, HTTP_REQUEST, &h->settings);
    c->parser.data = c;
    if (uv_tcp_init(&h->e->loop, &c->tcp) != 0) {
        return;
    }
    c->tcp.data = c;
    c->used = true;
    c->used_at = ++h->uses;
    h->count++;
    if (uv_accept(stream, (uv_stream_t *)&c->tcp) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, uv_env_alloc, on_read) != 0) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    c->deadline_ms = uv_env_now_ms(h->e) + UV_HTTP_HEAD_MS;
    if (!conn_make_room(h, c)) {
        refuse(c, 503, "too many connections to this port");
        conn_flush(c);
    }
}

/* ---- life ---- */

int uv_http_init(struct uv_http *h, struct uv_env *e)
{
    *h = (struct uv_http){.e = e};
    buf_init(&h->body, UV_HTTP_BODY_BYTES_MAX);
    llhttp_settings_init(&h->settings);
    h->settings.on_message_begin = on_message_begin;
    h->settings.on_url = on_url;
    h->settings.on_headers_complete = on_headers_complete;
    h->settings.on_message_complete = on_message_complete;
    h->conns = kv_mem_zalloc(UV_HTTP_PLACES * sizeof *h->conns);
    return h->conns == NULL ? KV_ENOMEM : 0;
}

int uv_http_listen(struct uv_http *h, const struct config_address *at,
                   uint16_t *out_port, char *error, size_t error_bytes)
{
    int rc;

    KV_ASSERT(!h->open);
    rc = uv_net_bind(h->e, &h->listener, "http", at, on_connection, out_port, error,
                     error_bytes);
    if (rc == 0) {
        h->listener.data = h;
        h->open = true;
    }
    return rc;
}

void uv_http_sweep(struct uv_http *h, uint64_t now_ms)
{
    for (uint32_t i = 0; h->conns != NULL && i < UV_HTTP_PLACES; i++) {
        struct uv_http_conn *c = &h->conns[i];

        if (!c->used || c->closing || now_ms < c->deadline_ms) {
            continue;
        }
        if (c->head_begun && !c->writing && !c->ending) {
            refuse(c, 408, "the request did not come in time");
            conn_flush(c);
        } else {
            conn_close(c);
        }
    }
}

void uv_http_stop(struct uv_http *h)
{
    if (h->open) {
        h->open = false;
        uv_close((uv_handle_t *)&h->listener, NULL);
    }
    for (uint32_t i = 0; h->conns != NULL && i < UV_HTTP_PLACES; i++) {
        if (h->conns[i].used) {
            conn_close(&h->conns[i]);
        }
    }
}

uint32_t uv_http_count(const struct uv_http *h)
{
    return h->count;
}

void uv_http_close(struct uv_http *h)
{
    KV_ASSERT(h->count == 0);
    buf_close(&h->body);
    kv_mem_free(h->conns);
    h->conns = NULL;
}
