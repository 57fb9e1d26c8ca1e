/* tests/bench/rival_etcd.c - etcd's gRPC over HTTP/2 without TLS: KV/Put and KV/Range.
 *
 * nghttp2 does the frames and the header compression. A request is one stream: headers,
 * then one gRPC message (a byte 0, the length, a protobuf message). It is answered by
 * headers, a message, and trailers with grpc-status. Gets are linearizable, as is
 * etcd's default; the answer must hold the key.
 */
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "tests/bench/rival.h"

enum {
    GRPC_HEAD = 5,
    WINDOW = 1 << 24, /* Of a stream and of the connection: never in the way. */
    BODY_MAX = GRPC_HEAD + RIVAL_VALUE_MAX + 64,
};

/* One request under way. */
struct etcd_stream {
    struct etcd_stream *next; /* In the list of free ones. */
    uint64_t begun_ns;
    size_t body_len, body_at; /* Of what is still to be sent. */
    size_t got;               /* Bytes of the answer's message. */
    bool status_ok;           /* grpc-status: 0 has come. */
    uint8_t body[];
};

struct etcd {
    nghttp2_session *session;
    struct etcd_stream *free;
};

static void check(int rc)
{
    if (rc < 0) {
        rival_die(nghttp2_strerror(rc));
    }
}

/* ---- the answer ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *ctx)
{
    struct etcd_stream *s =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags, (void)ctx;
    if (s != NULL && name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        s->status_ok = value_len == 1 && value[0] == '0';
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                   const uint8_t *data, size_t len, void *ctx)
{
    struct etcd_stream *s = nghttp2_session_get_stream_user_data(session, id);

    (void)flags, (void)data, (void)ctx;
    if (s != NULL) {
        s->got += len;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error,
                           void *ctx)
{
    struct rival_client *c = ctx;
    struct etcd *w = c->wire;
    struct etcd_stream *s = nghttp2_session_get_stream_user_data(session, id);
    /* A get that found its key brings the value along. */
    size_t least = c->rival->put ? GRPC_HEAD : GRPC_HEAD + c->rival->value_bytes;
    bool good;

    if (s == NULL) {
        return 0;
    }
    good = error == 0 && s->status_ok && s->got >= least;
    s->next = w->free;
    w->free = s;
    rival_done(c, s->begun_ns, good);
    return 0;
}

/* ---- the request ---- */

static ssize_t on_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
    struct etcd_stream *s = source->ptr;
    size_t part = KV_MIN(room, s->body_len - s->body_at);

    (void)session, (void)id, (void)ctx;
    memcpy(buf, s->body + s->body_at, part);
    s->body_at += part;
    if (s->body_at == s->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)part;
}

/* A protobuf field of bytes. */
static uint8_t *field_put(uint8_t *at, uint8_t number, const void *data, size_t len)
{
    *at++ = (uint8_t)(number << 3 | 2);
    for (size_t rest = len;; rest >>= 7) {
        *at++ = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        if (rest <= 0x7f) {
            break;
        }
    }
    memcpy(at, data, len);
    return at + len;
}

static void body_make(struct rival *r, struct etcd_stream *s)
{
    char key[RIVAL_KEY_BYTES];
    size_t len = rival_key(r, key);
    uint8_t *at = field_put(s->body + GRPC_HEAD, 1, key, len);

    if (r->put) {
        at = field_put(at, 2, r->value, r->value_bytes);
    }
    s->body_len = (size_t)(at - s->body);
    s->body[0] = 0; /* Not compressed. */
    kv_put_u32be(s->body + 1, (uint32_t)(s->body_len - GRPC_HEAD));
}

#define HEADER(name, value)                                                            \
    {                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, \
            sizeof(value) - 1,                                                         \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE               \
    }
#define HEADERS(path)                                                                \
    {                                                                                \
        HEADER(":method", "POST"), HEADER(":scheme", "http"), HEADER(":path", path), \
            HEADER(":authority", "localhost"),                                       \
            HEADER("content-type", "application/grpc"), HEADER("te", "trailers"),    \
    }

static const nghttp2_nv put_headers[] = HEADERS("/etcdserverpb.KV/Put");
static const nghttp2_nv get_headers[] = HEADERS("/etcdserverpb.KV/Range");

/* Moves what nghttp2 wants to send into the connection's output. */
static void session_send(struct rival_client *c)
{
    struct etcd *w = c->wire;
    const uint8_t *data;
    ssize_t n;

    while ((n = nghttp2_session_mem_send(w->session, &data)) > 0) {
        memcpy(rival_out(c, (size_t)n), data, (size_t)n);
    }
    check((int)n);
}

static void etcd_request(struct rival_client *c, uint64_t begun_ns)
{
    struct etcd *w = c->wire;
    struct etcd_stream *s = w->free;
    nghttp2_data_provider body = {.read_callback = on_body};

    if (s == NULL) {
        s = kv_mem_zalloc(sizeof *s + BODY_MAX);
        if (s == NULL) {
            rival_die("out of memory");
        }
    } else {
        w->free = s->next;
    }
    s->begun_ns = begun_ns;
    s->body_at = 0;
    s->got = 0;
    s->status_ok = false;
    body_make(c->rival, s);
    body.source.ptr = s;
    check(nghttp2_submit_request(w->session, NULL,
                                 c->rival->put ? put_headers : get_headers,
                                 KV_ARRAY_COUNT(put_headers), &body, s));
    if (!c->rival->in_take) {
        session_send(c);
    }
}

static void etcd_open(struct rival_client *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    struct etcd *w = kv_mem_zalloc(sizeof *w);
    nghttp2_session_callbacks *calls = NULL;

    if (w == NULL || nghttp2_session_callbacks_new(&calls) != 0) {
        rival_die("out of memory");
    }
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_stream_close);
    check(nghttp2_session_client_new(&w->session, calls, c));
    nghttp2_session_callbacks_del(calls);
    check(nghttp2_submit_settings(w->session, NGHTTP2_FLAG_NONE, settings,
                                  KV_ARRAY_COUNT(settings)));
    check(nghttp2_session_set_local_window_size(w->session, NGHTTP2_FLAG_NONE, 0,
                                                WINDOW));
    c->wire = w;
}

static void etcd_take(struct rival_client *c, const uint8_t *data, size_t len)
{
    struct etcd *w = c->wire;
    ssize_t n;

    c->rival->in_take = true;
    n = nghttp2_session_mem_recv(w->session, data, len);
    c->rival->in_take = false;
    check((int)n);
    session_send(c);
}

const struct rival_wire rival_etcd = {"etcd", etcd_open, etcd_request, etcd_take};
