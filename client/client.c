/* client/client.c - the client handle: options, life and death, looking in. */
#include "client/client.h"

#include <stdarg.h>
#include <stdio.h>

#include "rpc/slot.h"

enum {
    CLIENT_MAGIC = 0x6b76636c,
    DEADLINE_MS_DEFAULT = 5000,
    CONNECT_MS_DEFAULT = 1000,
    PORT_MAX = 65535,
    RESULTS_BYTES_MAX = 16 * 1024 * 1024, /* Lists of one result. */
};

/* ---- options ---- */

void kv_options_init(struct kv_options *options)
{
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->deadline_ms = DEADLINE_MS_DEFAULT;
    options->connect_ms = CONNECT_MS_DEFAULT;
    options->retries = KV_RETRIES_UNLIMITED;
}

/* Reads a decimal port that ends at `end`. Returns 0 when it is none. */
static uint32_t port_parse(const char *text, const char *end)
{
    uint32_t port = 0;

    if (text == end || end - text > 5) {
        return 0;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') {
            return 0;
        }
        port = port * 10 + (uint32_t)(*text - '0');
    }
    return port <= PORT_MAX ? port : 0;
}

uint32_t kv_client_address(const char *text, size_t len, char *host)
{
    const char *end = text + len;
    const char *colon = memrchr(text, ':', len);
    size_t host_len;

    if (colon == NULL || colon == text) {
        return 0;
    }
    host_len = (size_t)(colon - text);
    if (text[0] == '[') {
        if (colon[-1] != ']') {
            return 0;
        }
        text++;
        host_len -= 2;
    } else if (memchr(text, ':', host_len) != NULL) {
        return 0; /* IPv6 without brackets: which colon is the port's? */
    }
    if (host_len == 0 || host_len > CLIENT_NAME_MAX - 16) {
        return 0;
    }
    for (size_t i = 0; i < host_len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '/') {
            return 0;
        }
    }
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    return port_parse(colon + 1, end);
}

/* Makes a connection for each endpoint of the list. Returns 0, KV_EINVAL, KV_ENOMEM. */
static int endpoints_parse(struct kv_client *c, const char *text)
{
    char host[CLIENT_NAME_MAX];

    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, ", \t\n");
        struct kv_conn *conn;
        uint32_t port;

        if (len == 0) {
            text++;
            continue;
        }
        port = kv_client_address(text, len, host);
        if (port == 0 || c->conns_count == CLIENT_ENDPOINTS_MAX) {
            return KV_EINVAL;
        }
        conn = kv_client_conn(c, host, port);
        if (conn == NULL) {
            return KV_ENOMEM;
        }
        conn->is_endpoint = true;
        text += len;
    }
    c->endpoints_count = c->conns_count;
    return c->endpoints_count == 0 ? KV_EINVAL : 0;
}

/* ---- life ---- */

/* Gives back all memory; handles have closed or never were. */
static void client_destroy(struct kv_client *c)
{
    void (*on_closed)(void *ctx) = c->on_closed;
    void *ctx = c->on_closed_ctx;

    KV_ASSERT(c->handles == 0 && c->heap_count == 0);
    for (uint32_t i = 0; i < c->conns_count; i++) {
        kv_conn_free(c->conns[i]);
    }
    kv_route_close(c);
    rpc_decoder_close(&c->decoder);
    arena_close(&c->results);
    kv_mem_free(c->heap);
    c->magic = 0;
    kv_mem_free(c);
    if (on_closed != NULL) {
        on_closed(ctx);
    }
}

/* Makes the private loop. Returns 0, KV_ENOMEM, KV_EIO. */
static int loop_make(struct kv_client *c)
{
    c->own_loop = kv_mem_zalloc(sizeof *c->own_loop);
    if (c->own_loop == NULL) {
        return KV_ENOMEM;
    }
    if (uv_loop_init(c->own_loop) != 0) {
        kv_mem_free(c->own_loop);
        c->own_loop = NULL;
        return KV_EIO;
    }
    c->loop = c->own_loop;
    return 0;
}

static void loop_free(uv_loop_t *loop)
{
    int rc = uv_loop_close(loop);

    KV_ASSERT(rc == 0);
    kv_mem_free(loop);
}

/* Copies the options that the caller's struct has. */
static int options_take(struct kv_client *c, const struct kv_options *options)
{
    if (options == NULL || options->size < offsetof(struct kv_options, log_ctx) ||
        options->size > sizeof *options) {
        return KV_EINVAL;
    }
    kv_options_init(&c->options);
    memcpy(&c->options, options, options->size);
    if (c->options.deadline_ms == 0) {
        c->options.deadline_ms = DEADLINE_MS_DEFAULT;
    }
    if (c->options.connect_ms == 0) {
        c->options.connect_ms = CONNECT_MS_DEFAULT;
    }
    if (c->options.deadline_ms > KV_OPTION_MS_MAX ||
        c->options.connect_ms > KV_OPTION_MS_MAX ||
        c->options.retries < KV_RETRIES_UNLIMITED ||
        (uint32_t)c->options.sessions > KV_SESSIONS_OFF) {
        return KV_EINVAL;
    }
    return 0;
}

/* Everything but the loop's handles. */
static int client_init(struct kv_client *c, const struct kv_options *options)
{
    uint64_t seed;
    int rc;

    c->magic = CLIENT_MAGIC;
    arena_init(&c->results, 16 * 1024, RESULTS_BYTES_MAX);
    kv_route_init(c);
    rc = options_take(c, options);
    if (rc == 0) {
        rc = kv_session_init(c);
    }
    if (rc == 0) {
        rc = rpc_decoder_init(&c->decoder);
    }
    if (rc == 0) {
        rc = endpoints_parse(c, c->options.endpoints);
    }
    if (rc != 0) {
        return rc;
    }
    c->options.endpoints = NULL; /* The caller's text need not live on. */
    c->loop = c->options.loop;
    seed = c->options.seed != 0 ? c->options.seed : uv_hrtime() ^ (uintptr_t)c;
    prng_init(&c->prng, seed);
    if (c->options.routing == KV_ROUTE_LEADER) {
        c->cursor = (uint32_t)prng_below(&c->prng, c->endpoints_count);
    }
    return 0;
}

int kv_new(const struct kv_options *options, struct kv_client **out_client)
{
    struct kv_client *c = kv_mem_zalloc(sizeof *c);
    int rc;

    if (c == NULL) {
        return KV_ENOMEM;
    }
    rc = client_init(c, options);
    if (rc == 0 && c->loop == NULL) {
        rc = loop_make(c);
    }
    if (rc == 0 && uv_timer_init(c->loop, &c->timer) != 0) {
        rc = KV_EIO; /* Cannot happen with today's libuv. */
    }
    if (rc != 0) {
        uv_loop_t *own_loop = c->own_loop;

        client_destroy(c);
        if (own_loop != NULL) {
            loop_free(own_loop);
        }
        return rc;
    }
    c->timer.data = c;
    c->handles++;
    *out_client = c;
    return 0;
}

int kv_open(const char *endpoints, struct kv_client **out_client)
{
    struct kv_options options;

    kv_options_init(&options);
    options.endpoints = endpoints;
    return kv_new(&options, out_client);
}

/* ---- death ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    kv_client_unhold(handle->data);
}

void kv_client_unhold(struct kv_client *c)
{
    KV_ASSERT(c->handles > 0);
    c->handles--;
    if (c->handles == 0) {
        KV_ASSERT(c->state == CLIENT_ENDING);
        client_destroy(c);
    }
}

/* Nothing is under way any more: closes all handles, the last one frees the client. */
static void client_end(struct kv_client *c)
{
    KV_ASSERT(c->state != CLIENT_ENDING && c->heap_count == 0);
    c->state = CLIENT_ENDING;
    for (uint32_t i = 0; i < c->conns_count; i++) {
        kv_conn_end(c->conns[i]);
    }
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    if (c->has_watch_timer) {
        uv_close((uv_handle_t *)&c->watch_timer, on_handle_closed);
    }
}

void kv_client_settle(struct kv_client *c)
{
    if (c->state == CLIENT_CLOSING && !c->is_freeing && c->calls_count == 0) {
        kv_call_end_all(c, true);
        kv_watch_end_all(c);
        client_end(c);
    }
}

/* Runs the private loop until nothing is left of the client. */
static void own_loop_finish(uv_loop_t *loop)
{
    (void)uv_run(loop, UV_RUN_DEFAULT);
    loop_free(loop);
}

void kv_close(struct kv_client *c, void (*on_closed)(void *ctx), void *ctx)
{
    uv_loop_t *own_loop = c->own_loop;

    KV_ASSERT(c->magic == CLIENT_MAGIC);
    if (c->state != CLIENT_OPEN) {
        return;
    }
    c->state = CLIENT_CLOSING;
    c->on_closed = on_closed;
    c->on_closed_ctx = ctx;
    kv_client_settle(c);
    if (own_loop != NULL) {
        own_loop_finish(own_loop);
    }
}

void kv_free(struct kv_client *c)
{
    uv_loop_t *own_loop;

    if (c == NULL) {
        return;
    }
    KV_ASSERT(c->magic == CLIENT_MAGIC);
    if (c->is_freeing || c->state == CLIENT_ENDING) {
        return; /* A callback asks once more. */
    }
    own_loop = c->own_loop;
    c->is_freeing = true;
    c->state = CLIENT_CLOSING;
    kv_call_end_all(c, false);
    kv_watch_end_all(c);
    client_end(c);
    if (own_loop != NULL) {
        own_loop_finish(own_loop);
    }
}

/* ---- connections ---- */

struct kv_conn *kv_client_conn(struct kv_client *c, const char *host, uint32_t port)
{
    struct kv_conn *spare = NULL;
    struct kv_conn *conn;
    char port_text[8];

    (void)snprintf(port_text, sizeof port_text, "%u", port);
    for (uint32_t i = 0; i < c->conns_count; i++) {
        conn = c->conns[i];
        if (strcmp(conn->host, host) == 0 && strcmp(conn->port, port_text) == 0) {
            conn->is_retired = false;
            return conn;
        }
        if (conn->is_retired && conn->state == CONN_IDLE && conn->calls_count == 0 &&
            !conn->gai_busy) {
            spare = conn;
        }
    }
    if (c->conns_count < CLIENT_CONNS_MAX) {
        conn = kv_conn_new(c, host, port);
        if (conn != NULL) {
            c->conns[c->conns_count++] = conn;
        }
        return conn;
    }
    if (spare != NULL) {
        kv_conn_name(spare, host, port);
    }
    return spare;
}

/* ---- looking in ---- */

uint64_t kv_client_now(const struct kv_client *c)
{
    (void)c;
    return uv_hrtime() / 1000000;
}

void kv_client_log(const struct kv_client *c, enum kv_log_level level,
                   const char *format, ...)
{
    char line[CLIENT_TEXT_MAX];
    va_list args;

    if (c->options.log == NULL) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    c->options.log(c->options.log_ctx, level, line);
}

const char *kv_last_error(const struct kv_client *c)
{
    return c->last_error;
}

size_t kv_calls_count(const struct kv_client *c)
{
    return c->calls_count;
}

uint64_t kv_map_epoch(const struct kv_client *c)
{
    return c->route.map != NULL ? c->route.map->epoch : 0;
}

uint32_t kv_slot(struct kv_view key)
{
    return slot_of(kv_bytes(key.data, key.len));
}
