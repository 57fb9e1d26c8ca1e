/* server/uv_net.c - listeners, accepting and dialling, deadlines of all sockets. */
#include "server/uv_net.h"

#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/uv_env.h"

_Static_assert(KV_CONNECTIONS_MAX + UV_NET_LINKS_IN_MAX + UV_NET_LINKS_OUT_MAX <
                   1 << UV_SOCK_SLOT_BITS,
               "every socket has a slot");

/* ---- accept ---- */

/* Takes a connection only to close it at once. */
static void accept_and_close(struct uv_listener *l)
{
    struct uv_sock *s = uv_sock_new(l->net, l->kind);

    l->blocked = s == NULL; /* Without memory: the sweep tries again. */
    if (s == NULL) {
        return;
    }
    l->net->unplaced++;
    l->net->stats.turned_away++;
    s->phase = UV_SOCK_OPEN;
    (void)uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp);
    uv_sock_close(s);
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
    s = uv_sock_new(net, l->kind);
    if (s == NULL || !uv_sock_place(net, s)) {
        l->blocked = true;
        if (s != NULL) {
            net->unplaced++;
            s->phase = UV_SOCK_OPEN;
            uv_sock_close(s);
        }
        return;
    }
    s->phase = UV_SOCK_OPEN;
    if (uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&s->tcp) != 0) {
        uv_sock_close(s);
        return;
    }
    net->stats.accepted++;
    uv_sock_open(s);
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
    uv_sock_deadline(s, 0);
    if (status != 0 || s->net->e->node == NULL) {
        s->refused = status == UV_ECONNREFUSED;
        uv_sock_close(s);
        return;
    }
    uv_sock_move(s, UV_SOCK_OPEN);
    uv_sock_open(s);
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

    KV_ASSERT(s->magic == UV_SOCK_MAGIC && s->resolving);
    s->resolving = false;
    if (s->phase == UV_SOCK_CLOSING) {
        uv_sock_free(s);
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
    struct uv_sock *s = uv_sock_new(net, UV_SOCK_LINK_OUT);
    struct sockaddr_storage address;

    /* A node dials each of at most KV_NODES_MAX others, one attempt at a time. */
    KV_ASSERT(net->counts[UV_SOCK_LINK_OUT] < UV_NET_LINKS_OUT_MAX);
    if (s == NULL || !uv_sock_place(net, s)) {
        net->e->env.ops->halt(&net->e->env, KV_ENOMEM, "no memory for a socket");
        return ++net->id_counter << UV_SOCK_SLOT_BITS;
    }
    net->stats.dialed++;
    s->phase = UV_SOCK_DIALING;
    s->tell = true;
    s->port = port;
    uv_sock_deadline(s, uv_env_now_ms(net->e) + UV_NET_DIAL_MS);
    if (address_number(host, port, &address)) {
        dial_connect(s, &address);
    } else {
        dial_resolve(s, host);
    }
    return s->id;
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
        uv_sock_close(s);
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
            uv_sock_close(net->slots[i]);
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
    net->slots_cap = 0;
}
