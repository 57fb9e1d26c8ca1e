/* server/uv_sock.c - one socket: its slot, its bytes in and out, its end. */
#include "server/uv_sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/env.h"
#include "server/uv_env.h"

#define PHASE_BIT(phase) (1u << (phase))

/* Where each phase may go; the picture is in the header. */
static const unsigned phase_moves[UV_SOCK_PHASES_COUNT] = {
    [UV_SOCK_DIALING] = PHASE_BIT(UV_SOCK_OPEN) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_OPEN] = PHASE_BIT(UV_SOCK_FLUSHING) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_FLUSHING] = PHASE_BIT(UV_SOCK_LINGERING) | PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_LINGERING] = PHASE_BIT(UV_SOCK_CLOSING),
    [UV_SOCK_CLOSING] = 0,
};

void uv_sock_move(struct uv_sock *s, enum uv_sock_phase to)
{
    KV_ASSERT((phase_moves[s->phase] & PHASE_BIT(to)) != 0);
    s->phase = to;
}

/* ---- slots ---- */

/* Gives a socket a slot and an id. False when there is none. */
bool uv_sock_place(struct uv_net *net, struct uv_sock *s)
{
    uint32_t slot;

    if (net->slots_free_count == 0) {
        return false;
    }
    slot = net->slots_free[--net->slots_free_count];
    KV_ASSERT(net->slots[slot] == NULL);
    net->slots[slot] = s;
    s->id = ++net->id_counter << UV_SOCK_SLOT_BITS | slot;
    net->counts[s->kind]++;
    return true;
}

static void slot_give(struct uv_net *net, struct uv_sock *s)
{
    uint32_t slot = (uint32_t)(s->id & ((1u << UV_SOCK_SLOT_BITS) - 1));

    KV_ASSERT(net->slots[slot] == s);
    net->slots[slot] = NULL;
    net->slots_free[net->slots_free_count++] = slot;
    KV_ASSERT(net->counts[s->kind] > 0);
    net->counts[s->kind]--;
}

/* Finds a socket that can still be talked about; NULL when it is gone. */
static struct uv_sock *sock_find(const struct uv_net *net, uint64_t id, bool client)
{
    uint64_t slot = id & ((1u << UV_SOCK_SLOT_BITS) - 1);
    struct uv_sock *s = slot < net->slots_cap ? net->slots[slot] : NULL;

    if (s == NULL || s->id != id || (s->kind == UV_SOCK_CLIENT) != client) {
        return NULL;
    }
    KV_ASSERT(s->magic == UV_SOCK_MAGIC);
    return s;
}

/* ---- deadlines ---- */

/* Sets or moves a deadline; 0 takes it away. */
void uv_sock_deadline(struct uv_sock *s, uint64_t deadline_ms)
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

struct uv_sock *uv_sock_new(struct uv_net *net, enum uv_sock_kind kind)
{
    struct uv_sock *s = kv_mem_zalloc(sizeof *s);

    if (s == NULL) {
        return NULL;
    }
    s->magic = UV_SOCK_MAGIC;
    s->kind = kind;
    s->net = net;
    buf_init(&s->out, UV_SOCK_LINK_OUT_MAX);
    buf_init(&s->flying, UV_SOCK_LINK_OUT_MAX);
    if (uv_tcp_init(&net->e->loop, &s->tcp) != 0) {
        kv_mem_free(s);
        return NULL;
    }
    s->tcp.data = s;
    return s;
}

/* Gives the memory back once nothing in libuv points to it. */
void uv_sock_free(struct uv_sock *s)
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

    KV_ASSERT(s->magic == UV_SOCK_MAGIC);
    s->closed = true;
    if (s->tell && e->node != NULL && !e->halted) {
        uv_env_touch(e);
        if (s->kind == UV_SOCK_CLIENT) {
            node_conn_closed(e->node, s->id);
        } else {
            node_link_closed(e->node, s->id, s->refused);
        }
    }
    uv_sock_free(s);
}

/* Closes; the node hears of it from the close callback if it still wants to. */
void uv_sock_close(struct uv_sock *s)
{
    struct uv_net *net = s->net;

    if (s->phase == UV_SOCK_CLOSING) {
        return;
    }
    uv_sock_move(s, UV_SOCK_CLOSING);
    uv_sock_deadline(s, 0);
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

    KV_ASSERT(s->magic == UV_SOCK_MAGIC);
    if (nread < 0) {
        uv_sock_close(s);
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
static void read_begin(struct uv_sock *s)
{
    if (s->reading) {
        return;
    }
    s->reading = uv_read_start((uv_stream_t *)&s->tcp, uv_env_alloc, on_read) == 0;
    if (!s->reading) {
        uv_sock_close(s);
    }
}

/* Gives a link up whose bytes the other host does not acknowledge. The kernel would
 * send them again after pauses that double, and so, long after a cut has healed, still
 * wait. A process that only stands still is no such case: its host acknowledges. */
static void unacked_limit(struct uv_sock *s)
{
    unsigned ms = s->net->unacked_ms;
    uv_os_fd_t fd;

    if (ms != 0 && uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0) {
        /* Where the system cannot do that, PEERS_SILENT_MS_MAX ends the link. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    }
}

/* Tells the node of a connected socket, and begins to read it. */
void uv_sock_open(struct uv_sock *s)
{
    struct uv_env *e = s->net->e;

    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, 30);
    if (s->kind != UV_SOCK_CLIENT) {
        unacked_limit(s);
    }
    s->tell = true;
    read_begin(s);
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
        uv_sock_close(s);
    }
}

/* ---- bytes out ---- */

static void sock_flush(struct uv_sock *s);

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct uv_sock *s = request->data;

    if (status != 0) {
        uv_sock_close(s);
    }
}

/* Everything is written: says so to the other side and waits for it to close, since
 * closing with unread input would throw away what it has not read yet. */
static void sock_linger(struct uv_sock *s)
{
    uv_sock_move(s, UV_SOCK_LINGERING);
    s->shutdown.data = s;
    uv_sock_deadline(s, uv_env_now_ms(s->net->e) + UV_SOCK_LINGER_MS);
    if (uv_shutdown(&s->shutdown, (uv_stream_t *)&s->tcp, on_shutdown) != 0) {
        uv_sock_close(s);
        return;
    }
    read_begin(s); /* It may have been stopped for back pressure. */
}

static void on_written(uv_write_t *request, int status)
{
    struct uv_sock *s = request->data;

    KV_ASSERT(s->magic == UV_SOCK_MAGIC && s->writing);
    s->writing = false;
    s->net->stats.bytes_out += s->flying.len;
    queued_sub(s, s->queued - s->out.len);
    buf_return(s->net, &s->flying);
    if (s->phase == UV_SOCK_CLOSING) {
        return;
    }
    uv_sock_deadline(s, 0);
    if (status != 0) {
        uv_sock_close(s);
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
    uv_sock_deadline(s, uv_env_now_ms(s->net->e) + s->net->slow_ms);
    if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &rest, 1, on_written) != 0) {
        s->writing = false;
        uv_sock_close(s);
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

void uv_sock_flush_all(struct uv_net *net)
{
    while (net->flush != NULL) {
        struct uv_sock *s = net->flush;

        net->flush = s->flush_next;
        s->in_flush = false;
        sock_flush(s);
    }
}

/* Bytes that the kernel has not taken; of `flying` only what libuv still has. */
static size_t unsent(const struct uv_sock *s)
{
    return s->out.len + uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
}

/* Is there room for `bytes` more? Counted per socket as the node counts it, and over
 * all clients by the memory that is held. */
static bool has_room(const struct uv_sock *s, size_t bytes)
{
    const struct uv_net *net = s->net;
    bool client = s->kind == UV_SOCK_CLIENT;
    size_t max = client ? UV_SOCK_CLIENT_OUT_MAX : UV_SOCK_LINK_OUT_MAX;

    if (bytes > max || unsent(s) > max - bytes) {
        return false;
    }
    return !client || (bytes <= net->clients_out_max &&
                       net->clients_queued <= net->clients_out_max - bytes);
}

int uv_sock_send(struct uv_net *net, uint64_t id, bool client, struct kv_bytes bytes)
{
    struct uv_sock *s = sock_find(net, id, client);
    size_t mark;

    if (s == NULL || s->phase != UV_SOCK_OPEN) {
        return KV_ECLOSED;
    }
    if (!has_room(s, bytes.len)) {
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

uint64_t uv_sock_queued(const struct uv_net *net, uint64_t id, bool client)
{
    const struct uv_sock *s = sock_find(net, id, client);

    return s == NULL ? 0 : unsent(s);
}

void uv_sock_end(struct uv_net *net, uint64_t id, bool client, bool now)
{
    struct uv_sock *s = sock_find(net, id, client);

    if (s == NULL) {
        return;
    }
    s->tell = false;
    if (now) {
        uv_sock_close(s);
    } else if (s->phase == UV_SOCK_OPEN) {
        uv_sock_move(s, UV_SOCK_FLUSHING);
        flush_later(s);
    }
}

void uv_sock_read(struct uv_net *net, uint64_t id, bool on)
{
    struct uv_sock *s = sock_find(net, id, true);

    if (s == NULL || s->phase != UV_SOCK_OPEN) {
        return;
    }
    if (on) {
        read_begin(s);
    } else if (s->reading) {
        uv_read_stop((uv_stream_t *)&s->tcp);
        s->reading = false;
    }
}
