/* server/uv_net.c - the sockets of clients and peers, from accept to close. */
#include "server/uv_net.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/env.h"
#include "server/uv_env.h"

/* An id is a counter above and the slot below. */
enum {
    SLOT_BITS = 20
};

_Static_assert(KV_CONNECTIONS_MAX + UV_NET_LINKS_IN_MAX + UV_NET_LINKS_OUT_MAX <
                   1 << SLOT_BITS,
               "every socket has a slot");

#define PHASE_BIT(phase) (1u << (phase))

/* Where each phase may go; the picture is in the header. */
static const unsigned phase_moves[UV_SOCK_PHASES_COUNT] = {
    [UV_SOCK_DIALING] = PHASE_BIT(UV_SOCK_OPEN) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_OPEN] = PHASE_BIT(UV_SOCK_FLUSHING) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_FLUSHING] = PHASE_BIT(UV_SOCK_LINGERING) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_LINGERING] = PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_CLOSING] = 0,
};

static void phase_move(struct uv_sock *s, enum uv_sock_phase to)
{
    KV_ASSERT((phase_moves[s->phase] & PHASE_BIT(to)) != 0);
    s->phase = to;
}

/* ---- slots ---- */

/* Gives a socket a slot and an id. False when there is none. */
static bool slot_take(struct uv_net *net, struct uv_sock *s)
{
    uint32_t slot;

    if (net->slots_free_count == 0) {
        return false;
    }
    slot = net->slots_free[--net->slots_free_count];
    KV_ASSERT(net->slots[slot] == NULL);
    net->slots[slot] = s;
    s->id = ++net->id_counter << SLOT_BITS | slot;
    net->counts[s->kind]++;
    return true;
}

static void slot_give(struct uv_net *net, struct uv_sock *s)
{
    uint32_t slot = (uint32_t)(s->id & ((1u << SLOT_BITS) - 1));

    KV_ASSERT(net->slots[slot] == s);
    net->slots[slot] = NULL;
    net->slots_free[net->slots_free_count++] = slot;
    KV_ASSERT(net->counts[s->kind] > 0);
    net->counts[s->kind]--;
}

/* Finds a socket that can still be talked about; NULL when it is gone. */
static struct uv_sock *sock_find(const struct uv_net *net, uint64_t id, bool client)
{
    uint64_t slot = id & ((1u << SLOT_BITS) - 1);
    struct uv_sock *s = slot < net->slots_cap ? net->slots[slot] : NULL;

    if (s == NULL || s->id != id || (s->kind == UV_SOCK_CLIENT) != client) {
        return NULL;
    }
    KV_ASSERT(s->magic == UV_NET_MAGIC);
    return s;
}

/* ---- deadlines ---- */

/* Sets or moves a deadline; 0 takes it away. */
static void deadline_set(struct uv_sock *s, uint64_t deadline_ms)
{
    struct uv_net *net = s->net;

    if (s->deadline_ms == 0 && deadline_ms != 0) {
        s->timed_prev = NULL;
        s->timed_next = net->timed;
        if (net->timed != NULL) {
            net->timed->timed_prev = s;
        }
        net->timed = s;
    } else if (s->deadline_ms != 0 && deadline_ms == 0) {
        if (s->timed_prev != NULL) {
            s->timed_prev->timed_next = s->timed_next;
        } else {
            net->timed = s->timed_next;
        }
        if (s->timed_next != NULL) {
            s->timed_next->timed_prev = s->timed_prev;
        }
    }
    s->deadline_ms = deadline_ms;
}

/* ---- buffers ---- */

/* Makes sure that `b` has a buffer, a used one if possible. */
static void buf_borrow(struct uv_net *net, struct buf *b)
{
    if (b->data == NULL && net->spares_count > 0) {
        *b = net->spares[--net->spares_count];
    }
}

/* Takes a buffer back, or frees it when it is large or enough lie ready. */
static void buf_return(struct uv_net *net, struct buf *b)
{
    size_t max = b->max;

    if (b->data != NULL && b->cap <= UV_NET_SPARE_BYTES_MAX &&
        net->spares_count < UV_NET_SPARES) {
        buf_reset(b);
        net->spares[net->spares_count++] = *b;
        buf_init(b, max);
    } else {
        buf_close(b);
    }
}

/* Takes `bytes` out of what counts as queued. */
static void queued_sub(struct uv_sock *s, size_t bytes)
{
    KV_ASSERT(bytes <= s->queued);
    s->queued -= bytes;
    if (s->kind == UV_SOCK_CLIENT) {
        KV_ASSERT(bytes <= s->net->clients_queued);
        s->net->clients_queued -= bytes;
    }
}

/* ---- birth and death ---- */

static struct uv_sock *sock_new(struct uv_net *net, enum uv_sock_kind kind)
{
    struct uv_sock *s = kv_mem_zalloc(sizeof *s);

    if (s == NULL) {
        return NULL;
    }
    s->magic = UV_NET_MAGIC;
    s->kind = kind;
    s->net = net;
    buf_init(&s->out, UV_NET_LINK_OUT_MAX);
    buf_init(&s->flying, UV_NET_LINK_OUT_MAX);
    if (uv_tcp_init(&net->e->loop, &s->tcp) != 0) {
        kv_mem_free(s);
        return NULL;
    }
    s->tcp.data = s;
    return s;
}

/* Gives the memory back once nothing in libuv points to it. */
static void sock_free(struct uv_sock *s)
{
    struct uv_net *net = s->net;

    if (s->closed && s->resolving && s->id != 0) {
        /* A name server may take its time; the slot is not to wait for it. */
        slot_give(net, s);
        s->id = 0;
        net->unplaced++;
    }
    if (!s->closed || s->resolving) {
        return;
    }
    KV_ASSERT(!s->in_flush && !s->writing && s->deadline_ms == 0);
    queued_sub(s, s->queued);
    buf_return(net, &s->out);
    buf_return(net, &s->flying);
    if (s->id != 0) {
        slot_give(net, s);
    } else {
        net->unplaced--;
    }
    s->magic = 0;
    kv_mem_free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_sock *s = handle->data;
    struct uv_env *e = s->net->e;

    KV_ASSERT(s->magic == UV_NET_MAGIC);
    s->closed = true;
    if (s->tell && e->node != NULL && !e->halted) {
        uv_env_touch(e);
        if (s->kind == UV_SOCK_CLIENT) {
            node_conn_closed(e->node, s->id);
        } else {
            node_link_closed(e->node, s->id, s->refused);
        }
    }
    sock_free(s);
}

/* Closes; the node hears of it from the close callback if it still wants to. */
static void sock_close(struct uv_sock *s)
{
    struct uv_net *net = s->net;

    if (s->phase == UV_SOCK_CLOSING) {
        return;
    }
    phase_move(s, UV_SOCK_CLOSING);
    deadline_set(s, 0);
    if (s->in_flush) {
        struct uv_sock **at = &net->flush;

        while (*at != s) {
            at = &(*at)->flush_next;
        }
        *at = s->flush_next;
        s->in_flush = false;
    }
    if (s->resolving) {
        uv_cancel((uv_req_t *)&s->dial.resolve);
    }
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

/* ---- bytes in ---- */

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct uv_sock *s = stream->data;
    struct uv_env *e = s->net->e;

    KV_ASSERT(s->magic == UV_NET_MAGIC);
    if (nread < 0) {
        sock_close(s);
        return;
    }
    if (nread == 0 || s->phase != UV_SOCK_OPEN || e->node == NULL || e->halted) {
        return;
    }
    s->net->stats.bytes_in += (uint64_t)nread;
    uv_env_touch(e);
    if (s->kind == UV_SOCK_CLIENT) {
        node_conn_data(e->node, s->id, (const uint8_t *)buf->base, (size_t)nread);
    } else {
        node_link_data(e->node, s->id, (const uint8_t *)buf->base, (size_t)nread);
    }
}

/* Reads, or goes on reading; an error closes. */
static void sock_read(struct uv_sock *s)
{
    if (s->reading) {
        return;
    }
    s->reading = uv_read_start((uv_stream_t *)&s->tcp, uv_env_alloc, on_read) == 0;
    if (!s->reading) {
        sock_close(s);
    }
}

/* Tells the node of a connected socket, and begins to read it. */
static void sock_open(struct uv_sock *s)
{
    struct uv_env *e = s->net->e;

    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, 30);
    s->tell = true;
    sock_read(s);
    if (s->phase == UV_SOCK_CLOSING) {
        s->tell = s->kind == UV_SOCK_LINK_OUT; /* Others were never announced. */
        return;
    }
    uv_env_touch(e);
    if (s->kind != UV_SOCK_CLIENT) {
        node_link_open(e->node, s->id, s->kind == UV_SOCK_LINK_OUT);
    } else if (!node_conn_open(e->node, s->id)) {
        s->tell = false;
        s->net->stats.turned_away++;
        sock_close(s);
    }
}

/* ---- accept ---- */

/* Takes a connection only to close it at once. */
static void accept_and_close(struct uv_listener *l)
{
    struct uv_sock *s = sock_new(l->net, l->kind);

    l->blocked = s == NULL; /* Without memory: the sweep tries again. */
    if (s == NULL) {
        return;
    }
    l->net->unplaced++;
    l->net->stats.turned_away++;
    s->phase = UV_SOCK_OPEN;
    (void)uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp);
    sock_close(s);
}

static void accept_one(struct uv_listener *l)
{
    struct uv_net *net = l->net;
    bool client = l->kind == UV_SOCK_CLIENT;
    uint32_t max = client ? net->max_connections : UV_NET_LINKS_IN_MAX;
    struct uv_sock *s;

    l->blocked = false;
    if (net->e->node == NULL || net->e->halted || net->counts[l->kind] >= max) {
        uv_env_log(net->e, LOG_WARN, "%s=turned_away open=%u max=%u%s",
                   client ? "client" : "peer", net->counts[l->kind], max,
                   client ? " next=\"raise --max-connections\"" : "");
        accept_and_close(l);
        return;
    }
    s = sock_new(net, l->kind);
    if (s == NULL || !slot_take(net, s)) {
        l->blocked = true;
        if (s != NULL) {
            net->unplaced++;
            s->phase = UV_SOCK_OPEN;
            sock_close(s);
        }
        return;
    }
    s->phase = UV_SOCK_OPEN;
    if (uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp) != 0) {
        sock_close(s);
        return;
    }
    net->stats.accepted++;
    sock_open(s);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct uv_listener *l = stream->data;

    if (status < 0) {
        /* Out of descriptors does not come here: libuv then gives up its spare one to
         * accept and close what waits, so that the backlog keeps nobody awake. */
        l->net->stats.turned_away++;
        uv_env_log(l->net->e, LOG_WARN, "accept=failed cause=\"%s\"",
                   uv_strerror(status));
        return;
    }
    accept_one(l);
}

/* Resolves a host name to an address, IPv4 first. 0 or a libuv code. */
static int address_pick(const struct addrinfo *found, uint16_t port,
                        struct sockaddr_storage *out)
{
    const struct addrinfo *best = NULL;

    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            best = a;
            break;
        }
        if (a->ai_family == AF_INET6 && best == NULL) {
            best = a;
        }
    }
    if (best == NULL || best->ai_addrlen > sizeof *out) {
        return UV_EAI_NONAME;
    }
    memset(out, 0, sizeof *out);
    memcpy(out, best->ai_addr, best->ai_addrlen);
    if (best->ai_family == AF_INET) {
        ((struct sockaddr_in *)out)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)out)->sin6_port = htons(port);
    }
    return 0;
}

/* Reads an address written in numbers. False when it is a name. */
static bool address_number(const char *host, uint16_t port,
                           struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    return uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0;
}

/* Resolves and blocks; only at start. 0 or a libuv code. */
static int address_lookup(uv_loop_t *loop, const char *host, uint16_t port,
                          struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    uv_getaddrinfo_t request;
    int rc;

    if (address_number(host, port, out)) {
        return 0;
    }
    rc = uv_getaddrinfo(loop, &request, NULL, host, NULL, &hints);
    if (rc == 0) {
        rc = address_pick(request.addrinfo, port, out);
        uv_freeaddrinfo(request.addrinfo);
    }
    return rc;
}

int uv_net_bind(struct uv_env *e, uv_tcp_t *tcp, const char *flag,
                const struct config_address *at, uv_connection_cb on_conn,
                uint16_t *out_port, char *error, size_t error_bytes)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    int rc = uv_tcp_init(&e->loop, tcp);

    KV_ASSERT(rc == 0);
    rc = address_lookup(&e->loop, at->host, at->port, &address);
    if (rc == 0) {
        rc = uv_tcp_bind(tcp, (const struct sockaddr *)&address, 0);
    }
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)tcp, UV_NET_BACKLOG, on_conn);
    }
    if (rc == 0) {
        rc = uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &length);
    }
    if (rc != 0) {
        snprintf(error, error_bytes, "--%s %s:%u: cannot listen there: %s; %s", flag,
                 at->host, at->port, uv_strerror(rc),
                 rc == UV_EADDRINUSE
                     ? "stop the process that does, or choose another port"
                     : "give an address of this machine");
        uv_close((uv_handle_t *)tcp, NULL);
        return KV_ECONNECT;
    }
    *out_port = ntohs(address.ss_family == AF_INET
                          ? ((struct sockaddr_in *)&address)->sin_port
                          : ((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

int uv_net_listen(struct uv_net *net, enum uv_sock_kind kind,
                  const struct config_address *at, uint16_t *out_port, char *error,
                  size_t error_bytes)
{
    bool client = kind == UV_SOCK_CLIENT;
    struct uv_listener *l = client ? &net->clients : &net->peers;
    int rc;

    KV_ASSERT(kind != UV_SOCK_LINK_OUT && !l->open);
    *l = (struct uv_listener){.net = net, .kind = kind};
    rc = uv_net_bind(net->e, &l->tcp, client ? "listen" : "peer", at, on_connection,
                     out_port, error, error_bytes);
    if (rc == 0) {
        l->tcp.data = l;
        l->open = true;
    }
    return rc;
}

/* ---- dial ---- */

/* The dial's end: open, or closed with the reason noted. */
static void dial_done(struct uv_sock *s, int status)
{
    if (s->phase == UV_SOCK_CLOSING) {
        return;
    }
    KV_ASSERT(s->phase == UV_SOCK_DIALING);
    deadline_set(s, 0);
    if (status != 0 || s->net->e->node == NULL) {
        s->refused = status == UV_ECONNREFUSED;
        sock_close(s);
        return;
    }
    phase_move(s, UV_SOCK_OPEN);
    sock_open(s);
}

static void on_connect(uv_connect_t *request, int status)
{
    dial_done(request->data, status);
}

static void dial_connect(struct uv_sock *s, const struct sockaddr_storage *address)
{
    int rc;

    s->dial.connect.data = s;
    rc = uv_tcp_connect(&s->dial.connect, &s->tcp, (const struct sockaddr *)address,
                        on_connect);
    if (rc != 0) {
        dial_done(s, rc);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct uv_sock *s = request->data;
    struct sockaddr_storage address;

    KV_ASSERT(s->magic == UV_NET_MAGIC && s->resolving);
    s->resolving = false;
    if (s->phase == UV_SOCK_CLOSING) {
        sock_free(s);
    } else {
        if (status == 0) {
            status = address_pick(found, s->port, &address);
        }
        if (status == 0) {
            dial_connect(s, &address);
        } else {
            uv_env_log(s->net->e, LOG_WARN, "dial=failed cause=\"%s\"",
                       uv_strerror(status));
            dial_done(s, status);
        }
    }
    uv_freeaddrinfo(found);
}

/* Looks a name up; the dial goes on in on_resolved(). */
static void dial_resolve(struct uv_sock *s, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct uv_net *net = s->net;
    int rc = UV_EAI_AGAIN;

    s->dial.resolve.data = s;
    if (net->unplaced < UV_NET_RESOLVES_MAX) {
        rc = uv_getaddrinfo(&net->e->loop, &s->dial.resolve, on_resolved, host, NULL,
                            &hints);
    }
    s->resolving = rc == 0;
    if (rc != 0) {
        dial_done(s, rc);
    }
}

uint64_t uv_net_dial(struct uv_net *net, const char *host, uint16_t port)
{
    struct uv_sock *s = sock_new(net, UV_SOCK_LINK_OUT);
    struct sockaddr_storage address;

    /* A node dials each of at most KV_NODES_MAX others, one attempt at a time. */
    KV_ASSERT(net->counts[UV_SOCK_LINK_OUT] < UV_NET_LINKS_OUT_MAX);
    if (s == NULL || !slot_take(net, s)) {
        net->e->env.ops->halt(&net->e->env, KV_ENOMEM, "no memory for a socket");
        return ++net->id_counter << SLOT_BITS;
    }
    net->stats.dialed++;
    s->phase = UV_SOCK_DIALING;
    s->tell = true;
    s->port = port;
    deadline_set(s, uv_env_now_ms(net->e) + UV_NET_DIAL_MS);
    if (address_number(host, port, &address)) {
        dial_connect(s, &address);
    } else {
        dial_resolve(s, host);
    }
    return s->id;
}

/* ---- bytes out ---- */

static void sock_flush(struct uv_sock *s);

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct uv_sock *s = request->data;

    if (status != 0) {
        sock_close(s);
    }
}

/* Everything is written: says so to the other side and waits for it to close, since
 * closing with unread input would throw away what it has not read yet. */
static void sock_linger(struct uv_sock *s)
{
    phase_move(s, UV_SOCK_LINGERING);
    s->shutdown.data = s;
    deadline_set(s, uv_env_now_ms(s->net->e) + UV_NET_LINGER_MS);
    if (uv_shutdown(&s->shutdown, (uv_stream_t *)&s->tcp, on_shutdown) != 0) {
        sock_close(s);
        return;
    }
    sock_read(s); /* It may have been stopped for back pressure. */
}

static void on_written(uv_write_t *request, int status)
{
    struct uv_sock *s = request->data;

    KV_ASSERT(s->magic == UV_NET_MAGIC && s->writing);
    s->writing = false;
    s->net->stats.bytes_out += s->flying.len;
    queued_sub(s, s->queued - s->out.len);
    buf_return(s->net, &s->flying);
    if (s->phase == UV_SOCK_CLOSING) {
        return;
    }
    deadline_set(s, 0);
    if (status != 0) {
        sock_close(s);
        return;
    }
    sock_flush(s);
}

/* Gives the rest of `out`, from `begin` on, to libuv; errors come to on_written(). */
static void sock_write_rest(struct uv_sock *s, size_t begin)
{
    uv_buf_t rest;
    struct buf none = s->flying;

    s->flying = s->out;
    s->out = none;
    rest =
        uv_buf_init((char *)s->flying.data + begin, (unsigned)(s->flying.len - begin));
    s->write.data = s;
    s->writing = true;
    s->stalled_bytes = s->flying.len - begin;
    deadline_set(s, uv_env_now_ms(s->net->e) + s->net->slow_ms);
    if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &rest, 1, on_written) != 0) {
        s->writing = false;
        sock_close(s);
    }
}

/* Writes what lies in `out`, unless a write is under way: then on_written() goes on. */
static void sock_flush(struct uv_sock *s)
{
    uv_buf_t all;
    int wrote;
    size_t done;

    if (s->writing || s->phase == UV_SOCK_CLOSING) {
        return;
    }
    if (s->out.len > 0) {
        all = uv_buf_init((char *)s->out.data, (unsigned)s->out.len);
        wrote = uv_try_write((uv_stream_t *)&s->tcp, &all, 1);
        done = wrote > 0 ? (size_t)wrote : 0;
        queued_sub(s, done);
        s->net->stats.bytes_out += done;
        if (done < s->out.len) {
            sock_write_rest(s, done);
            return;
        }
        buf_return(s->net, &s->out);
    }
    if (s->phase == UV_SOCK_FLUSHING) {
        sock_linger(s);
    }
}

/* Remembers to write it at the end of the turn. */
static void flush_later(struct uv_sock *s)
{
    if (!s->in_flush) {
        s->in_flush = true;
        s->flush_next = s->net->flush;
        s->net->flush = s;
    }
}

void uv_net_flush(struct uv_net *net)
{
    while (net->flush != NULL) {
        struct uv_sock *s = net->flush;

        net->flush = s->flush_next;
        s->in_flush = false;
        sock_flush(s);
    }
}

int uv_net_send(struct uv_net *net, uint64_t id, bool client, struct kv_bytes bytes)
{
    struct uv_sock *s = sock_find(net, id, client);
    size_t max = client ? UV_NET_CLIENT_OUT_MAX : UV_NET_LINK_OUT_MAX;
    size_t mark;

    if (s == NULL || s->phase != UV_SOCK_OPEN) {
        return KV_ECLOSED;
    }
    if (bytes.len > max || s->queued > max - bytes.len) {
        return KV_EBUSY;
    }
    if (client && (bytes.len > net->clients_out_max ||
                   net->clients_queued > net->clients_out_max - bytes.len)) {
        return KV_EBUSY;
    }
    buf_borrow(net, &s->out);
    mark = buf_mark(&s->out);
    buf_append_bytes(&s->out, bytes);
    if (s->out.error != 0) {
        buf_rewind(&s->out, mark);
        return KV_EBUSY;
    }
    s->queued += bytes.len;
    if (client) {
        net->clients_queued += bytes.len;
    }
    flush_later(s);
    return 0;
}

uint64_t uv_net_queued(const struct uv_net *net, uint64_t id, bool client)
{
    const struct uv_sock *s = sock_find(net, id, client);

    if (s == NULL) {
        return 0;
    }
    /* Of `flying` only what libuv still has. */
    return s->out.len + uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
}

void uv_net_end(struct uv_net *net, uint64_t id, bool client, bool now)
{
    struct uv_sock *s = sock_find(net, id, client);

    if (s == NULL) {
        return;
    }
    s->tell = false;
    if (now) {
        sock_close(s);
    } else if (s->phase == UV_SOCK_OPEN) {
        phase_move(s, UV_SOCK_FLUSHING);
        flush_later(s);
    }
}

void uv_net_read(struct uv_net *net, uint64_t id, bool on)
{
    struct uv_sock *s = sock_find(net, id, true);

    if (s == NULL || s->phase != UV_SOCK_OPEN) {
        return;
    }
    if (on) {
        sock_read(s);
    } else if (s->reading) {
        uv_read_stop((uv_stream_t *)&s->tcp);
        s->reading = false;
    }
}

/* ---- deadlines, life ---- */

void uv_net_sweep(struct uv_net *net, uint64_t now_ms)
{
    struct uv_sock *next;

    for (struct uv_sock *s = net->timed; s != NULL; s = next) {
        next = s->timed_next;
        if (s->writing) {
            size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);

            if (left < s->stalled_bytes) {
                s->stalled_bytes = left;
                s->deadline_ms = now_ms + net->slow_ms;
            }
        }
        if (now_ms < s->deadline_ms) {
            continue;
        }
        if (s->writing) {
            net->stats.stalled++;
            uv_env_log(net->e, LOG_WARN,
                       "%s=closed cause=\"does not read\" waited_ms=%u",
                       s->kind == UV_SOCK_CLIENT ? "client" : "peer", net->slow_ms);
        }
        sock_close(s);
    }
    if (net->clients.blocked) {
        accept_one(&net->clients);
    }
    if (net->peers.blocked) {
        accept_one(&net->peers);
    }
}

uint32_t uv_net_count(const struct uv_net *net)
{
    uint32_t count = net->unplaced;

    for (int i = 0; i < UV_SOCK_KINDS_COUNT; i++) {
        count += net->counts[i];
    }
    return count;
}

int uv_net_init(struct uv_net *net, struct uv_env *e, uint32_t max_connections,
                uint32_t slow_ms, size_t clients_out_max)
{
    KV_ASSERT(max_connections >= 1 && max_connections <= KV_CONNECTIONS_MAX);
    KV_ASSERT(slow_ms >= 1 && clients_out_max >= 1);
    *net = (struct uv_net){
        .e = e,
        .max_connections = max_connections,
        .slow_ms = slow_ms,
        .clients_out_max = clients_out_max,
        .slots_cap = max_connections + UV_NET_LINKS_IN_MAX + UV_NET_LINKS_OUT_MAX,
    };
    net->slots = kv_mem_zalloc(net->slots_cap * sizeof(struct uv_sock *));
    net->slots_free = kv_mem_zalloc(net->slots_cap * sizeof net->slots_free[0]);
    if (net->slots == NULL || net->slots_free == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = net->slots_cap; i > 0; i--) {
        net->slots_free[net->slots_free_count++] = i - 1;
    }
    return 0;
}

void uv_net_listen_stop(struct uv_net *net)
{
    struct uv_listener *listeners[] = {&net->clients, &net->peers};

    for (size_t i = 0; i < KV_ARRAY_COUNT(listeners); i++) {
        if (listeners[i]->open) {
            listeners[i]->open = false;
            listeners[i]->blocked = false;
            uv_close((uv_handle_t *)&listeners[i]->tcp, NULL);
        }
    }
}

void uv_net_stop(struct uv_net *net)
{
    uv_net_listen_stop(net);
    for (uint32_t i = 0; net->slots != NULL && i < net->slots_cap; i++) {
        if (net->slots[i] != NULL) {
            net->slots[i]->tell = false;
            sock_close(net->slots[i]);
        }
    }
}

void uv_net_close(struct uv_net *net)
{
    KV_ASSERT(uv_net_count(net) == 0);
    while (net->spares_count > 0) {
        buf_close(&net->spares[--net->spares_count]);
    }
    kv_mem_free(net->slots);
    kv_mem_free(net->slots_free);
    net->slots = NULL;
    net->slots_free = NULL;
}
