/* server/conn.c - clients' connections: messages in, replies out, all bounded.
 *
 * Input: bytes are scanned where they lie; only the rest of a message that did not
 * arrive whole is copied. A message that finds no memory is scanned to its end
 * without being kept and answered BUSY. A conn that is paused keeps what had been
 * read already, unscanned, and goes on with it when there is room again.
 */
#include "server/conn.h"

#include <stdio.h>

#include "raft/base/err.h"
#include "rpc/scan.h"
#include "server/idmap.h"
#include "server/metrics.h"
#include "server/news.h"
#include "server/watch.h"

enum {
    CONN_MAGIC = 0x434f4e4e,
    CONN_HEAD_BYTES = 12, /* Enough for array header, type and msgid. */
    CONN_STALE_BYTES_MAX = 2 * 1024 * 1024, /* Unscanned bytes of a paused conn. */
    CONN_SPARE_BUFS = 64,                   /* Output buffers kept for the next turn. */
    CONN_SPARE_BYTES_MAX = 64 * 1024,
    CONN_OUTPUT_LEAST = 256 * 1024, /* Room for answers, however much is unread. */
    CONN_LOOK_MS = 20,              /* How often slow readers are looked at. */
};

struct conn {
    uint32_t magic;
    uint64_t id;
    struct conn *prev_partial, *next_partial; /* Oldest begun message first. */
    struct conn *next_dirty;                  /* List of this turn. */
    struct conn *prev_slow, *next_slow;       /* Unread output. */
    struct scan scan;
    struct buf in;  /* Not paused: the message at hand, scanned. Paused: unscanned. */
    struct buf out; /* Replies of this turn. */
    uint8_t head[CONN_HEAD_BYTES]; /* First bytes of the message at hand. */
    uint8_t head_len;
    bool is_dirty, is_partial, is_slow;
    bool is_dropping; /* The message at hand is scanned, but not kept. */
    bool is_paused;   /* Reading is off. */
    bool is_closing;  /* Nothing is read any more; closed at the turn's end. */
    uint32_t inflight;
    size_t queued;       /* Unread output when last looked at. */
    uint64_t partial_ms; /* When the message at hand was begun. */
};

struct conns {
    struct idmap table;
    struct conn *dirty;
    struct conn *partial_head, *partial_tail;
    struct conn *slow;
    uint32_t slow_count;
    size_t input_bytes_max, output_bytes_max;
    uint64_t look_ms;   /* When slow ones are looked at next. */
    uint32_t resumable; /* Paused ones that may go on. */
    struct buf spare[CONN_SPARE_BUFS];
    uint32_t spare_count;
    struct conns_stats stats;
};

/* ---- life ---- */

int conns_new(struct node *n, uint32_t connections_max, size_t memory_bytes_max,
              struct conns **out)
{
    struct conns *cs = kv_mem_zalloc(sizeof(*cs));

    (void)n;
    if (cs == NULL) {
        return KV_ENOMEM;
    }
    if (idmap_init(&cs->table, connections_max) != 0) {
        kv_mem_free(cs);
        return KV_ENOMEM;
    }
    cs->input_bytes_max = memory_bytes_max / 2;
    cs->output_bytes_max = memory_bytes_max - memory_bytes_max / 2;
    *out = cs;
    return 0;
}

/* Gives a conn's buffers back. */
static void conn_release(struct conns *cs, struct conn *c)
{
    cs->stats.input_bytes -= c->in.cap;
    buf_close(&c->in);
    buf_close(&c->out);
    c->magic = 0;
    kv_mem_free(c);
}

void conns_free(struct conns *cs)
{
    uint32_t cursor = 0;
    struct conn *c;

    if (cs == NULL) {
        return;
    }
    while ((c = idmap_next(&cs->table, &cursor)) != NULL) {
        conn_release(cs, c);
    }
    idmap_close(&cs->table);
    while (cs->spare_count > 0) {
        buf_close(&cs->spare[--cs->spare_count]);
    }
    kv_mem_free(cs);
}

/* ---- lists ---- */

static void conn_mark(struct conns *cs, struct conn *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        c->next_dirty = cs->dirty;
        cs->dirty = c;
    }
}

static void partial_begin(struct node *n, struct conn *c)
{
    struct conns *cs = n->conns;

    if (c->is_partial) {
        return;
    }
    c->is_partial = true;
    c->partial_ms = n->now_ms;
    c->prev_partial = cs->partial_tail;
    c->next_partial = NULL;
    if (cs->partial_tail == NULL) {
        cs->partial_head = c;
    } else {
        cs->partial_tail->next_partial = c;
    }
    cs->partial_tail = c;
}

static void partial_end(struct conns *cs, struct conn *c)
{
    if (!c->is_partial) {
        return;
    }
    c->is_partial = false;
    if (c->prev_partial == NULL) {
        cs->partial_head = c->next_partial;
    } else {
        c->prev_partial->next_partial = c->next_partial;
    }
    if (c->next_partial == NULL) {
        cs->partial_tail = c->prev_partial;
    } else {
        c->next_partial->prev_partial = c->prev_partial;
    }
}

static void slow_set(struct conns *cs, struct conn *c, size_t queued)
{
    cs->stats.output_bytes = cs->stats.output_bytes - c->queued + queued;
    c->queued = queued;
    if (queued > 0 && !c->is_slow) {
        c->is_slow = true;
        c->prev_slow = NULL;
        c->next_slow = cs->slow;
        if (cs->slow != NULL) {
            cs->slow->prev_slow = c;
        }
        cs->slow = c;
        cs->slow_count++;
    } else if (queued == 0 && c->is_slow) {
        c->is_slow = false;
        if (c->prev_slow == NULL) {
            cs->slow = c->next_slow;
        } else {
            c->prev_slow->next_slow = c->next_slow;
        }
        if (c->next_slow != NULL) {
            c->next_slow->prev_slow = c->prev_slow;
        }
        cs->slow_count--;
    }
}

/* Takes the conn out of everything and frees it. */
static void conn_forget(struct conns *cs, struct conn *c)
{
    struct conn **at = &cs->dirty;

    if (c->is_dirty) {
        while (*at != c) {
            at = &(*at)->next_dirty;
        }
        *at = c->next_dirty;
    }
    partial_end(cs, c);
    slow_set(cs, c, 0);
    cs->stats.paused -= c->is_paused ? 1 : 0;
    cs->stats.open--;
    KV_ASSERT(idmap_remove(&cs->table, c->id) == c);
    conn_release(cs, c);
}

/* ---- pausing ---- */

static bool conn_has_room(const struct conn *c)
{
    return c->inflight <= KV_INFLIGHT_PER_CONN_MAX / 2 &&
           c->queued <= CONN_OUTPUT_PAUSE_BYTES / 2;
}

static bool conn_is_full(const struct conn *c)
{
    return c->inflight >= KV_INFLIGHT_PER_CONN_MAX ||
           c->queued + c->out.len > CONN_OUTPUT_PAUSE_BYTES;
}

static void conn_pause(struct node *n, struct conn *c)
{
    if (!c->is_paused) {
        c->is_paused = true;
        n->conns->stats.paused++;
        n->env->ops->conn_read(n->env, c->id, false);
    }
}

/* The client broke the protocol: what was answered is written, then it is closed. */
static void conn_break(struct node *n, struct conn *c, const char *why)
{
    n->conns->stats.closed_protocol++;
    c->is_closing = true;
    conn_mark(n->conns, c);
    node_log(n, LOG_DEBUG, "conn=%llu node=%u closed=protocol why=\"%s\"",
             (unsigned long long)c->id, n->config.id, why);
}

/* ---- output ---- */

/* What does not fit beside the unread output gets BUSY, which is small; a client that
 * reads, but not as fast as we serve, is not cut off. */
static struct buf *conn_out(struct conns *cs, struct conn *c)
{
    size_t unread =
        KV_MIN(c->queued, (size_t)(CONN_OUTPUT_BYTES_MAX - CONN_OUTPUT_LEAST));

    conn_mark(cs, c);
    if (c->out.data == NULL && cs->spare_count > 0) {
        c->out = cs->spare[--cs->spare_count];
    }
    c->out.max = KV_MAX(c->out.cap, CONN_OUTPUT_BYTES_MAX - unread);
    return &c->out;
}

static void conn_out_release(struct conns *cs, struct conn *c)
{
    if (c->out.data != NULL && c->out.cap <= CONN_SPARE_BYTES_MAX &&
        cs->spare_count < CONN_SPARE_BUFS) {
        buf_reset(&c->out);
        cs->spare[cs->spare_count++] = c->out;
        buf_init(&c->out, CONN_OUTPUT_BYTES_MAX);
    } else {
        buf_close(&c->out);
    }
}

static void conn_error(struct conns *cs, struct conn *c, uint32_t msgid, int code,
                       const char *text)
{
    struct rpc_error e = {0};

    (void)rpc_error_set(&e, code, "%s", text);
    rpc_reply_error(conn_out(cs, c), msgid, &e);
}

struct buf *conn_reply_begin(struct node *n, const struct request *req)
{
    struct conn *c = idmap_find(&n->conns->table, req->conn);

    if (c == NULL) {
        return NULL;
    }
    KV_ASSERT(c->magic == CONN_MAGIC);
    return conn_out(n->conns, c);
}

struct buf *conn_notify_begin(struct node *n, uint64_t conn)
{
    struct conns *cs = n->conns;
    struct conn *c = idmap_find(&cs->table, conn);

    if (c == NULL || c->is_closing ||
        c->queued + c->out.len > CONN_OUTPUT_PAUSE_BYTES ||
        (c->queued > 0 && cs->stats.output_bytes > cs->output_bytes_max / 2)) {
        return NULL;
    }
    return conn_out(cs, c);
}

void conn_reply_end(struct node *n, const struct request *req, int code)
{
    struct conns *cs = n->conns;
    struct conn *c = idmap_find(&cs->table, req->conn);
    uint64_t now_us = n->env->ops->now_us(n->env);

    metrics_count(n->metrics, req->rpc.method, code,
                  now_us > req->begin_us ? now_us - req->begin_us : 0);
    if (c == NULL) {
        return;
    }
    KV_ASSERT(c->inflight > 0);
    c->inflight--;
    if (c->is_paused && !c->is_closing && conn_has_room(c)) {
        cs->resumable++;
    }
}

/* ---- input ---- */

/* The msgid of a request of which only the first bytes are known. */
static bool head_msgid(const struct conn *c, uint32_t *out)
{
    const uint8_t *p = c->head;
    size_t len = c->head_len, at;

    if (len == 0 || (p[0] != 0x94 && p[0] != 0xdc && p[0] != 0xdd)) {
        return false;
    }
    at = p[0] == 0xdc ? 3 : p[0] == 0xdd ? 5 : 1;
    if (len < at + 2 || p[at] != RPC_REQUEST) {
        return false;
    }
    at++;
    if (p[at] <= 0x7f) {
        *out = p[at];
        return true;
    }
    if (p[at] == 0xcc && len >= at + 2) {
        *out = p[at + 1];
        return true;
    }
    if (p[at] == 0xcd && len >= at + 3) {
        *out = (uint32_t)p[at + 1] << 8 | p[at + 2];
        return true;
    }
    if (p[at] == 0xce && len >= at + 5) {
        *out = kv_get_u32be(p + at + 1);
        return true;
    }
    return false;
}

static void head_take(struct conn *c, const uint8_t *data, size_t len)
{
    while (c->head_len < CONN_HEAD_BYTES && len > 0) {
        c->head[c->head_len++] = *data++;
        len--;
    }
}

/* The scanner refused the stream. */
static void conn_scan_failed(struct node *n, struct conn *c, int rc)
{
    uint32_t msgid;

    if (head_msgid(c, &msgid)) {
        conn_error(n->conns, c, msgid,
                   rc == KV_ETOOLARGE ? KV_ETOOLARGE : KV_EBADREQUEST,
                   scan_why(&c->scan));
    }
    conn_break(n, c, scan_why(&c->scan));
}

/* One whole message. */
static void conn_message(struct node *n, struct conn *c, struct kv_bytes message)
{
    struct request *req = NULL;
    enum rpc_type type;
    uint32_t msgid;

    if (rpc_peek(message, &type, &msgid) != 0 || type == RPC_RESPONSE) {
        if (head_msgid(c, &msgid)) {
            conn_error(n->conns, c, msgid, KV_EBADREQUEST, "not a request");
        }
        conn_break(n, c, "not a request");
        return;
    }
    if (type == RPC_NOTIFICATION) {
        return; /* This version has none; unknown ones are passed over. */
    }
    if (request_new(n->requests, message, &req) != 0) {
        n->conns->stats.busy++;
        conn_error(n->conns, c, msgid, KV_EBUSY,
                   "the node's memory for requests is used up; try again later");
        return;
    }
    req->origin = REQ_FROM_CONN;
    req->conn = c->id;
    c->inflight++;
    node_request(n, req);
}

/* Keeps bytes of the message at hand; false when there is no memory for them. */
static bool conn_keep(struct conns *cs, struct conn *c, const uint8_t *data, size_t len)
{
    size_t before = c->in.cap;

    if (cs->stats.input_bytes + len > cs->input_bytes_max) {
        return false;
    }
    buf_append(&c->in, data, len);
    cs->stats.input_bytes += c->in.cap - before;
    return c->in.error == 0;
}

static void conn_in_release(struct conns *cs, struct conn *c)
{
    cs->stats.input_bytes -= c->in.cap;
    buf_close(&c->in);
}

/* A message is whole: `data` holds its last `len` bytes, c->in what came before. */
static void conn_whole(struct node *n, struct conn *c, const uint8_t *data, size_t len)
{
    struct conns *cs = n->conns;
    uint32_t msgid;

    partial_end(cs, c);
    if (c->in.len > 0 && !c->is_dropping && !conn_keep(cs, c, data, len)) {
        c->is_dropping = true;
    }
    if (c->is_dropping) {
        cs->stats.busy++;
        if (head_msgid(c, &msgid)) {
            conn_error(cs, c, msgid, KV_EBUSY,
                       "the node's memory for input is used up; try again later");
        }
    } else if (c->in.len > 0) {
        conn_message(n, c, buf_bytes(&c->in));
    } else {
        conn_message(n, c, kv_bytes(data, len));
    }
    conn_in_release(cs, c);
    c->is_dropping = false;
    c->head_len = 0;
}

/* Scans bytes that nobody has seen yet. */
static void conn_feed(struct node *n, struct conn *c, const uint8_t *data, size_t len)
{
    struct conns *cs = n->conns;
    size_t begun = c->is_partial ? c->scan.seen : 0; /* Of the message at hand. */

    while (len > 0 && !c->is_closing) {
        size_t used, part;
        int rc;

        if (conn_is_full(c) && begun == 0) {
            conn_pause(n, c);
            if (c->in.len + len > CONN_STALE_BYTES_MAX ||
                !conn_keep(cs, c, data, len)) {
                conn_break(n, c, "more input than was asked for");
            }
            return;
        }
        head_take(c, data, len);
        rc = scan_feed(&c->scan, data, len, &used);
        if (rc == KV_EAGAIN) {
            partial_begin(n, c);
            if (!c->is_dropping && !conn_keep(cs, c, data, len)) {
                c->is_dropping = true;
                conn_in_release(cs, c);
            }
            return;
        }
        if (rc != 0) {
            conn_scan_failed(n, c, rc);
            return;
        }
        KV_ASSERT(used > begun && used - begun <= len);
        part = used - begun;
        conn_whole(n, c, data, part);
        data += part;
        len -= part;
        begun = 0;
    }
}

/* ---- events ---- */

bool conn_open(struct node *n, uint64_t id)
{
    struct conns *cs = n->conns;
    struct conn *c = NULL;

    if (cs->table.count < cs->table.max) {
        c = kv_mem_zalloc(sizeof(*c));
    }
    if (c == NULL) {
        cs->stats.refused++;
        node_log(n, LOG_WARN, "conn=%llu node=%u refused=too_many open=%u",
                 (unsigned long long)id, n->config.id, cs->table.count);
        return false;
    }
    c->magic = CONN_MAGIC;
    c->id = id;
    scan_init(&c->scan, &scan_limits_request);
    buf_init(&c->in, KV_REQUEST_BYTES_MAX + CONN_STALE_BYTES_MAX);
    buf_init(&c->out, CONN_OUTPUT_BYTES_MAX);
    KV_ASSERT(idmap_add(&cs->table, id, c) == 0);
    cs->stats.accepted++;
    cs->stats.open++;
    return true;
}

void conn_data(struct node *n, uint64_t id, const uint8_t *data, size_t len)
{
    struct conns *cs = n->conns;
    struct conn *c = idmap_find(&cs->table, id);

    if (c == NULL || c->is_closing) {
        return;
    }
    KV_ASSERT(c->magic == CONN_MAGIC);
    cs->stats.bytes_in += len;
    if (c->is_paused && c->in.len > 0 && !c->is_partial) {
        /* Read before the pause reached the socket: behind what waits already. */
        if (c->in.len + len > CONN_STALE_BYTES_MAX || !conn_keep(cs, c, data, len)) {
            conn_break(n, c, "more input than was asked for");
        }
        return;
    }
    conn_feed(n, c, data, len);
}

void conn_closed(struct node *n, uint64_t id)
{
    struct conn *c = idmap_find(&n->conns->table, id);

    if (c != NULL) {
        watches_conn_closed(n, id);
        news_conn_closed(n, id);
        conn_forget(n->conns, c);
    }
}

/* Ends a conn from our side. */
static void conn_end(struct node *n, struct conn *c, bool now)
{
    n->env->ops->conn_close(n->env, c->id, now);
    watches_conn_closed(n, c->id);
    news_conn_closed(n, c->id);
    conn_forget(n->conns, c);
}

static void conn_resume(struct node *n, struct conn *c)
{
    struct conns *cs = n->conns;
    struct buf waiting = c->in;

    c->is_paused = false;
    cs->stats.paused--;
    n->env->ops->conn_read(n->env, c->id, true);
    if (c->is_partial || waiting.len == 0) {
        return; /* c->in, if anything, is the message at hand. */
    }
    cs->stats.input_bytes -= waiting.cap;
    buf_init(&c->in, waiting.max);
    conn_feed(n, c, waiting.data, waiting.len);
    buf_close(&waiting);
}

void conns_resume(struct node *n)
{
    struct conns *cs = n->conns;
    uint32_t cursor = 0;
    struct conn *c;

    if (cs->resumable == 0) {
        return;
    }
    cs->resumable = 0;
    while (cs->stats.paused > 0 && (c = idmap_next(&cs->table, &cursor)) != NULL) {
        if (c->is_paused && !c->is_closing && conn_has_room(c)) {
            conn_resume(n, c);
        }
    }
}

/* Sends a conn's replies of this turn. False: the conn is gone. */
static bool conn_send(struct node *n, struct conn *c)
{
    struct conns *cs = n->conns;
    int rc = c->out.error;

    if (rc == 0 && c->out.len > 0) {
        cs->stats.bytes_out += c->out.len;
        rc = n->env->ops->conn_send(n->env, c->id, buf_bytes(&c->out));
        slow_set(cs, c, (size_t)n->env->ops->conn_queued(n->env, c->id));
    }
    if (rc != 0 || c->queued > CONN_OUTPUT_BYTES_MAX) {
        cs->stats.closed_slow++;
        node_log(n, LOG_WARN, "conn=%llu node=%u closed=slow_reader queued=%zu",
                 (unsigned long long)c->id, n->config.id, c->queued + c->out.len);
        conn_end(n, c, true);
        return false;
    }
    conn_out_release(cs, c);
    if (c->is_closing) {
        conn_end(n, c, false);
        return false;
    }
    if (conn_is_full(c)) {
        conn_pause(n, c);
    }
    return true;
}

void conns_flush(struct node *n)
{
    struct conns *cs = n->conns;

    while (cs->dirty != NULL) {
        struct conn *c = cs->dirty;

        cs->dirty = c->next_dirty;
        c->is_dirty = false;
        (void)conn_send(n, c);
    }
}

/* ---- time ---- */

/* Looks how much the slow readers have taken; frees memory where that is needed. */
static void conns_look(struct node *n)
{
    struct conns *cs = n->conns;
    struct conn *c = cs->slow, *worst = NULL;

    while (c != NULL) {
        struct conn *next = c->next_slow;

        slow_set(cs, c, (size_t)n->env->ops->conn_queued(n->env, c->id));
        if (c->is_paused && conn_has_room(c)) {
            cs->resumable++;
        }
        worst = c->is_slow && (worst == NULL || c->queued > worst->queued) ? c : worst;
        c = next;
    }
    if (cs->stats.output_bytes > cs->output_bytes_max && worst != NULL) {
        cs->stats.closed_slow++;
        node_log(n, LOG_WARN, "conn=%llu node=%u closed=slow_reader queued=%zu all=%zu",
                 (unsigned long long)worst->id, n->config.id, worst->queued,
                 cs->stats.output_bytes);
        conn_end(n, worst, true);
    }
}

void conns_tick(struct node *n)
{
    struct conns *cs = n->conns;

    while (cs->partial_head != NULL &&
           n->now_ms >= cs->partial_head->partial_ms + CONN_PARTIAL_MS_MAX) {
        struct conn *c = cs->partial_head;

        cs->stats.closed_slow++;
        node_log(n, LOG_INFO, "conn=%llu node=%u closed=slow_sender bytes=%u",
                 (unsigned long long)c->id, n->config.id, c->scan.seen);
        conn_end(n, c, true);
    }
    if (cs->slow != NULL && n->now_ms >= cs->look_ms) {
        cs->look_ms = n->now_ms + CONN_LOOK_MS;
        conns_look(n);
    }
}

uint64_t conns_deadline_ms(const struct conns *cs)
{
    uint64_t first = UINT64_MAX;

    if (cs->resumable > 0) {
        return 0;
    }
    if (cs->partial_head != NULL) {
        first = cs->partial_head->partial_ms + CONN_PARTIAL_MS_MAX;
    }
    return cs->slow != NULL ? KV_MIN(first, cs->look_ms) : first;
}

void conns_close_all(struct node *n)
{
    uint32_t cursor = 0;
    struct conn *c;

    while ((c = idmap_next(&n->conns->table, &cursor)) != NULL) {
        c->is_closing = true;
        conn_mark(n->conns, c);
    }
}

void conns_stats_get(const struct conns *cs, struct conns_stats *out)
{
    *out = cs->stats;
}
