/* jepsen/env/proxy.c - proxy: loopback addresses, and a proxy in each link.
 *
 * Node I is known to all as 127.X.Y.I, where the proxy listens, and listens itself at
 * 127.X.Y.(100 + I). X and Y are this run's own. A stream between nodes says in its
 * first frame who sends it; a client's needs no name. Pieces of a stream wait until
 * they are due, and while their direction is cut. A new stream is not passed on before
 * both directions are open, as no handshake could come about.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jepsen/env/net.h"
#include "raft/base/arena.h"
#include "raft/base/bytes.h"
#include "raft/base/err.h"
#include "rpc/peer.h"

enum {
    PROXY_STREAMS_MAX = 1024,
    PROXY_FLOW_BYTES_MAX = 256 * 1024, /* Then reading stops. */
    PROXY_READ_BYTES = 16 * 1024,
    PROXY_NAME_BYTES = 28, /* Of a frame: up to the sender's node id, at 24. */
    PROXY_TRIES = 50,
    PROXY_SINK_HOST = 200,  /* Probes end here... */
    PROXY_PROBE_HOST = 201, /* ...and begin here. */
    PROXY_TAG_SINK = 50,    /* Tags below: listeners. */
    PROXY_TAG_STREAMS = 100,
    PROXY_LISTENERS = 2 * FAULT_ENDS_MAX,
};

#define PROXY_PROBE_MAGIC 0x5250564bu /* "KVPR" */

/* Bytes on their way; len 0: the end of the stream. */
struct piece {
    struct piece *next;
    uint64_t due_ns;
    size_t at; /* Written so far. */
    size_t len;
    uint8_t data[];
};

/* One direction of a stream. */
struct flow {
    struct piece *first;
    struct piece *last;
    size_t bytes;
    bool ended;   /* The reading side has sent its end, or broke. */
    bool done;    /* The end was passed on, or nobody is there to take it. */
    bool blocked; /* The socket takes no more for now. */
};

/*  NAMING ──► HELD ──► DIALING ──► OPEN ──► FREE, which any may become at once. */
enum stream_phase {
    STREAM_FREE,
    STREAM_NAMING,
    STREAM_HELD,
    STREAM_DIALING,
    STREAM_OPEN
};

struct stream {
    enum stream_phase phase;
    int fd[2];           /* Who dialled, and whom it wants; -1. */
    uint32_t watched[2]; /* epoll's mask. */
    uint32_t end[2];
    uint16_t port; /* Of the wanted one. */
    bool probe;
    struct flow flow[2]; /* [0] from fd[0] to fd[1]. */
};

struct proxy_net {
    struct stream streams[PROXY_STREAMS_MAX];
    uint32_t streams_high;          /* Places used so far. */
    int listeners[PROXY_LISTENERS]; /* [2 I] clients', [2 I + 1] peers' of node I. */
    int sink;                       /* Listens for probes. */
    int sink_fd;                    /* The probe's end; -1. */
    int source_fd;                  /* The probe's beginning; -1. */
    uint8_t part[8];                /* Of a probe's message. */
    size_t part_len;
    char prefix[16]; /* "127.X.Y." */
};

/* ---- sockets ---- */

static struct sockaddr_in address_of(const char *host, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    (void)inet_pton(AF_INET, host, &a.sin_addr);
    return a;
}

static int listen_at(const char *host, uint16_t port)
{
    struct sockaddr_in a = address_of(host, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0 ||
                    listen(fd, 256) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int dial(const char *host, uint16_t port)
{
    struct sockaddr_in a = address_of(host, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) != 0 &&
        errno != EINPROGRESS) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static void swift(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- streams ---- */

static struct proxy_net *own(struct net *n)
{
    return n->own;
}

/* Waits for exactly these events; 0 takes the descriptor out: a broken one would
 * report itself for ever. */
static void watch(struct net *n, struct stream *s, int side, uint32_t events)
{
    uint32_t tag =
        PROXY_TAG_STREAMS + 2 * (uint32_t)(s - own(n)->streams) + (uint32_t)side;

    if (s->fd[side] < 0 || s->watched[side] == events) {
        return;
    }
    if (events == 0) {
        (void)epoll_ctl(n->epoll_fd, EPOLL_CTL_DEL, s->fd[side], NULL);
    } else if (s->watched[side] == 0) {
        if (net_watch(n, s->fd[side], tag, events) != 0) {
            return;
        }
    } else {
        net_rewatch(n, s->fd[side], tag, events);
    }
    s->watched[side] = events;
}

static void piece_drop(struct flow *f)
{
    struct piece *p = f->first;

    f->first = p->next;
    f->last = f->first == NULL ? NULL : f->last;
    f->bytes -= p->len;
    kv_mem_free(p);
}

static void flow_drop(struct flow *f)
{
    while (f->first != NULL) {
        piece_drop(f);
    }
    f->done = true;
}

static void stream_free(struct stream *s)
{
    for (int side = 0; side < 2; side++) {
        flow_drop(&s->flow[side]);
        if (s->fd[side] >= 0) {
            (void)close(s->fd[side]);
        }
    }
    *s = (struct stream){.phase = STREAM_FREE, .fd = {-1, -1}};
}

static struct stream *stream_new(struct net *n)
{
    struct proxy_net *w = own(n);

    for (uint32_t i = 0; i < PROXY_STREAMS_MAX; i++) {
        if (w->streams[i].phase == STREAM_FREE) {
            w->streams_high = KV_MAX(w->streams_high, i + 1);
            w->streams[i] = (struct stream){.phase = STREAM_NAMING, .fd = {-1, -1}};
            return &w->streams[i];
        }
    }
    return NULL;
}

static struct link *link_of(struct net *n, const struct stream *s, int side)
{
    return &n->links[s->end[side]][s->end[1 - side]];
}

static void flow_add(struct net *n, struct stream *s, int side, const uint8_t *data,
                     size_t len)
{
    struct flow *f = &s->flow[side];
    struct piece *p = kv_mem_zalloc(sizeof *p + len);

    if (p == NULL) {
        return; /* Then the stream hangs, as a broken link may. */
    }
    p->due_ns = link_piece(link_of(n, s, side), &n->prng, net_now_ns(), len);
    p->len = len;
    if (len > 0) {
        memcpy(p->data, data, len);
    }
    if (f->last != NULL) {
        f->last->next = p;
    } else {
        f->first = p;
    }
    f->last = p;
    f->bytes += len;
}

/* Writes what is due of one direction. */
static void flow_pump(struct net *n, struct stream *s, int side, uint64_t now_ns)
{
    struct flow *f = &s->flow[side];
    int to = s->fd[1 - side];

    f->blocked = false;
    while (f->first != NULL && f->first->due_ns <= now_ns &&
           !link_of(n, s, side)->cut) {
        struct piece *p = f->first;
        ssize_t wrote;

        if (p->len == 0) {
            (void)shutdown(to, SHUT_WR);
            flow_drop(f);
            return;
        }
        wrote = send(to, p->data + p->at, p->len - p->at, MSG_NOSIGNAL);
        if (wrote < 0) {
            f->blocked = errno == EAGAIN || errno == EINTR;
            if (!f->blocked) {
                flow_drop(f); /* Nobody takes it. */
            }
            return;
        }
        p->at += (size_t)wrote;
        if (p->at == p->len) {
            piece_drop(f);
        }
    }
}

/* Moves a stream on: writes what is due, sets what to wait for, ends it. */
static void stream_pump(struct net *n, struct stream *s, uint64_t now_ns)
{
    if (s->phase != STREAM_OPEN) {
        return;
    }
    flow_pump(n, s, 0, now_ns);
    flow_pump(n, s, 1, now_ns);
    if (s->flow[0].done && s->flow[1].done) {
        stream_free(s);
        return;
    }
    for (int side = 0; side < 2; side++) {
        const struct flow *out = &s->flow[side];
        bool reads = !out->ended && out->bytes < PROXY_FLOW_BYTES_MAX;

        watch(n, s, side,
              (reads ? (uint32_t)EPOLLIN : 0u) |
                  (s->flow[1 - side].blocked ? (uint32_t)EPOLLOUT : 0u));
    }
}

/* Passes a named stream on, once the links let a handshake through. */
static void stream_dial(struct net *n, struct stream *s)
{
    struct proxy_net *w = own(n);
    char sink[CLUSTER_ADDRESS_BYTES];

    if (link_of(n, s, 0)->cut || (link_of(n, s, 1)->cut && !s->probe)) {
        s->phase = STREAM_HELD;
        watch(n, s, 0, 0);
        return;
    }
    snprintf(sink, sizeof sink, "%s%d", w->prefix, PROXY_SINK_HOST);
    s->fd[1] = dial(s->probe ? sink : n->host_own[s->end[1]], s->port);
    if (s->fd[1] < 0) {
        stream_free(s);
        return;
    }
    s->phase = STREAM_DIALING;
    watch(n, s, 0, 0);
    watch(n, s, 1, EPOLLOUT);
}

static void stream_dialed(struct net *n, struct stream *s)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(s->fd[1], SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        stream_free(s);
        return;
    }
    swift(s->fd[1]);
    s->phase = STREAM_OPEN;
    stream_pump(n, s, net_now_ns());
}

/* Looks who sends, without taking the bytes. */
static void stream_name(struct net *n, struct stream *s)
{
    uint8_t head[PROXY_NAME_BYTES];
    ssize_t len = recv(s->fd[0], head, sizeof head, MSG_PEEK);
    uint32_t magic;

    if (len > 0 && len < PROXY_NAME_BYTES) {
        return; /* The rest comes. */
    }
    if (len != PROXY_NAME_BYTES) {
        stream_free(s);
        return;
    }
    magic = kv_get_u32le(head);
    s->end[0] = kv_get_u32le(head + 24);
    if (magic == PROXY_PROBE_MAGIC) {
        s->probe = true;
        s->end[1] = kv_get_u32le(head + 4);
        s->port = NET_PORT_PEER;
        (void)recv(s->fd[0], head, sizeof head, 0);
    }
    if ((magic != PEER_MAGIC && !s->probe) || s->end[0] > n->nodes ||
        s->end[1] > n->nodes || s->end[0] == s->end[1]) {
        stream_free(s);
        return;
    }
    stream_dial(n, s);
}

static void stream_read(struct net *n, struct stream *s, int side)
{
    struct flow *f = &s->flow[side];
    uint8_t data[PROXY_READ_BYTES];
    ssize_t len;

    if (f->ended || f->bytes >= PROXY_FLOW_BYTES_MAX) {
        return;
    }
    len = recv(s->fd[side], data, sizeof data, 0);
    if (len > 0) {
        flow_add(n, s, side, data, (size_t)len);
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
        f->ended = true;
        flow_add(n, s, side, data, 0);
        if (len < 0) {
            flow_drop(&s->flow[1 - side]); /* Broken: it takes nothing any more. */
        }
    }
}

static void stream_event(struct net *n, struct stream *s, int side, uint32_t events)
{
    if (s->phase == STREAM_NAMING) {
        stream_name(n, s);
    } else if (s->phase == STREAM_DIALING && side == 1) {
        stream_dialed(n, s);
    } else if (s->phase == STREAM_OPEN) {
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            stream_read(n, s, side);
        }
        stream_pump(n, s, net_now_ns());
    }
}

/* ---- listeners ---- */

static void accept_all(struct net *n, uint32_t tag)
{
    struct proxy_net *w = own(n);

    for (;;) {
        int fd = accept4(w->listeners[tag], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct stream *s;

        if (fd < 0) {
            return;
        }
        s = stream_new(n);
        if (s == NULL) {
            (void)close(fd);
            continue;
        }
        swift(fd);
        s->fd[0] = fd;
        s->end[1] = tag / 2;
        if (tag % 2 == 0 && tag != 0) {
            s->port = NET_PORT_CLIENT;
            stream_dial(n, s);
        } else {
            s->port = NET_PORT_PEER;
            watch(n, s, 0, EPOLLIN);
        }
    }
}

/* A process that does not run refuses connections; so does its proxy. */
static void proxy_node_up(struct net *n, uint32_t node, bool up)
{
    struct proxy_net *w = own(n);

    for (uint32_t i = 2 * node; i <= 2 * node + 1; i++) {
        if (up && w->listeners[i] < 0) {
            w->listeners[i] = listen_at(n->host_seen[node],
                                        i % 2 == 0 ? NET_PORT_CLIENT : NET_PORT_PEER);
            if (w->listeners[i] >= 0 &&
                net_watch(n, w->listeners[i], i, EPOLLIN) != 0) {
                (void)close(w->listeners[i]);
                w->listeners[i] = -1;
            }
        } else if (!up && w->listeners[i] >= 0) {
            (void)close(w->listeners[i]);
            w->listeners[i] = -1;
        }
    }
}

/* ---- probe ---- */

static void sink_accept(struct net *n)
{
    struct proxy_net *w = own(n);
    int fd = accept4(w->sink, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        return;
    }
    if (w->sink_fd >= 0 || net_watch(n, fd, PROXY_TAG_SINK + 1, EPOLLIN) != 0) {
        (void)close(fd);
        return;
    }
    w->sink_fd = fd;
    w->part_len = 0;
}

static void sink_read(struct net *n)
{
    struct proxy_net *w = own(n);
    uint64_t now_ns = net_now_ns();
    uint8_t byte;
    ssize_t len = 0;

    while (w->sink_fd >= 0 && (len = recv(w->sink_fd, &byte, 1, 0)) == 1) {
        w->part[w->part_len++] = byte;
        if (w->part_len == sizeof w->part) {
            w->part_len = 0;
            net_probe_arrived(n, w->part, now_ns);
        }
    }
    if (w->sink_fd >= 0 && (len == 0 || errno != EAGAIN)) {
        (void)close(w->sink_fd);
        w->sink_fd = -1;
    }
}

static void proxy_probe_end(struct net *n)
{
    struct proxy_net *w = own(n);

    for (uint32_t i = 0; i < w->streams_high; i++) {
        if (w->streams[i].phase != STREAM_FREE && w->streams[i].probe) {
            stream_free(&w->streams[i]);
        }
    }
    if (w->source_fd >= 0) {
        (void)close(w->source_fd);
        w->source_fd = -1;
    }
    if (w->sink_fd >= 0) {
        (void)close(w->sink_fd);
        w->sink_fd = -1;
    }
}

static void proxy_probe_begin(struct net *n)
{
    struct proxy_net *w = own(n);
    uint8_t head[PROXY_NAME_BYTES] = {0};
    char host[CLUSTER_ADDRESS_BYTES];
    struct sockaddr_in a;

    snprintf(host, sizeof host, "%s%d", w->prefix, PROXY_PROBE_HOST);
    a = address_of(host, NET_PORT_PEER);
    kv_put_u32le(head, PROXY_PROBE_MAGIC);
    kv_put_u32le(head + 4, n->probe.to);
    kv_put_u32le(head + 24, n->probe.from);
    /* Blocking: to a listener of our own on loopback, whose backlog has room. */
    w->source_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->source_fd < 0 ||
        connect(w->source_fd, (const struct sockaddr *)&a, sizeof a) != 0 ||
        send(w->source_fd, head, sizeof head, MSG_NOSIGNAL) != (ssize_t)sizeof head) {
        proxy_probe_end(n);
        return;
    }
    swift(w->source_fd);
}

static void proxy_probe_send(struct net *n, uint32_t i)
{
    uint8_t message[8];

    net_probe_message(n, i, message);
    (void)send(own(n)->source_fd, message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- all ---- */

static void proxy_event(struct net *n, uint32_t tag, uint32_t events)
{
    struct stream *s;

    if (tag < PROXY_TAG_SINK) {
        accept_all(n, tag);
    } else if (tag == PROXY_TAG_SINK) {
        sink_accept(n);
    } else if (tag == PROXY_TAG_SINK + 1) {
        sink_read(n);
    } else {
        s = &own(n)->streams[(tag - PROXY_TAG_STREAMS) / 2];
        if (s->phase != STREAM_FREE) {
            stream_event(n, s, (int)(tag - PROXY_TAG_STREAMS) % 2, events);
        }
    }
}

static uint64_t proxy_due(struct net *n, uint64_t now_ns)
{
    struct proxy_net *w = own(n);
    uint64_t next = NET_NEVER;

    for (uint32_t i = 0; i < w->streams_high; i++) {
        struct stream *s = &w->streams[i];

        for (int side = 0; side < 2 && s->phase == STREAM_OPEN; side++) {
            const struct flow *f = &s->flow[side];

            if (f->first == NULL || f->blocked || link_of(n, s, side)->cut) {
                continue;
            }
            if (f->first->due_ns <= now_ns) {
                stream_pump(n, s, now_ns);
                f = &s->flow[side];
            }
            if (s->phase == STREAM_OPEN && f->first != NULL && !f->blocked) {
                next = KV_MIN(next, f->first->due_ns);
            }
        }
    }
    return next;
}

static void proxy_changed(struct net *n)
{
    struct proxy_net *w = own(n);
    uint64_t now_ns = net_now_ns();

    for (uint32_t i = 0; i < w->streams_high; i++) {
        if (w->streams[i].phase == STREAM_HELD) {
            stream_dial(n, &w->streams[i]);
        } else {
            stream_pump(n, &w->streams[i], now_ns);
        }
    }
}

static int proxy_enter(struct net *n, uint32_t node)
{
    (void)n, (void)node;
    return 0;
}

/* Takes 127.X.Y. if nobody else has it: its sink's address is the mark. */
static bool prefix_take(struct net *n, uint32_t number)
{
    struct proxy_net *w = own(n);
    char host[CLUSTER_ADDRESS_BYTES];

    snprintf(w->prefix, sizeof w->prefix, "127.%u.%u.", 64 + number / 250 % 128,
             1 + number % 250);
    snprintf(host, sizeof host, "%s%d", w->prefix, PROXY_SINK_HOST);
    w->sink = listen_at(host, NET_PORT_PEER);
    return w->sink >= 0;
}

/* kvd compares the number it is to listen at with that in the list of nodes, and
 * refuses when they differ; a name it cannot compare. The old notation of three parts
 * counts as a name, and is looked up without asking anybody. */
static void hosts_name(struct net *n, uint32_t i)
{
    unsigned x, y;

    (void)sscanf(own(n)->prefix, "127.%u.%u.", &x, &y);
    snprintf(n->host_seen[i], sizeof n->host_seen[i], "127.%u.%u.%u", x, y, i);
    snprintf(n->host_own[i], sizeof n->host_own[i], "127.%u.%u.%u", x, y, 100 + i);
    snprintf(n->host_bind[i], sizeof n->host_bind[i], "127.%u.%u", x,
             y * 256 + 100 + i);
}

static int proxy_open(struct net *n)
{
    struct proxy_net *w = kv_mem_zalloc(sizeof *w);
    char host[CLUSTER_ADDRESS_BYTES];
    int tries = 0;

    if (w == NULL) {
        return net_fail(n, "memory", ENOMEM);
    }
    n->own = w;
    w->sink = w->sink_fd = w->source_fd = -1;
    for (int i = 0; i < PROXY_LISTENERS; i++) {
        w->listeners[i] = -1;
    }
    for (int i = 0; i < PROXY_STREAMS_MAX; i++) {
        w->streams[i].fd[0] = w->streams[i].fd[1] = -1;
    }
    while (!prefix_take(n, (uint32_t)getpid() + (uint32_t)tries)) {
        if (++tries == PROXY_TRIES) {
            return net_fail(n, "loopback addresses", errno);
        }
    }
    snprintf(host, sizeof host, "%s%d", w->prefix, PROXY_PROBE_HOST);
    w->listeners[1] = listen_at(host, NET_PORT_PEER); /* Node 0 has none else. */
    if (w->listeners[1] < 0 || net_watch(n, w->listeners[1], 1, EPOLLIN) != 0 ||
        net_watch(n, w->sink, PROXY_TAG_SINK, EPOLLIN) != 0) {
        return net_fail(n, host, errno);
    }
    for (uint32_t i = 0; i <= n->nodes; i++) {
        hosts_name(n, i);
    }
    return 0;
}

static void proxy_close(struct net *n)
{
    struct proxy_net *w = own(n);

    if (w == NULL) {
        return;
    }
    proxy_probe_end(n);
    for (uint32_t i = 0; i < w->streams_high; i++) {
        stream_free(&w->streams[i]);
    }
    for (int i = 0; i < PROXY_LISTENERS; i++) {
        if (w->listeners[i] >= 0) {
            (void)close(w->listeners[i]);
        }
    }
    (void)close(w->sink);
    kv_mem_free(w);
    n->own = NULL;
}

const struct net_ops proxy_ops = {
    .name = "proxy",
    .open = proxy_open,
    .close = proxy_close,
    .event = proxy_event,
    .due = proxy_due,
    .enter = proxy_enter,
    .node_up = proxy_node_up,
    .changed = proxy_changed,
    .probe_begin = proxy_probe_begin,
    .probe_send = proxy_probe_send,
    .probe_end = proxy_probe_end,
};
