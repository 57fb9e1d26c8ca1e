/* server/peers_link.c - links: dialling, losing, and the frames that come in. */
#include "raft/base/err.h"
#include "server/balance.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"

/* ---- links ---- */

static struct link *link_new(struct node *n, uint64_t id, enum link_state state)
{
    struct peers *ps = n->peers;
    struct link *l;

    if (ps->links.count >= ps->links.max) {
        return NULL;
    }
    l = kv_mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->magic = PEERS_MAGIC_LINK;
    l->id = id;
    l->state = state;
    l->begin_ms = n->now_ms;
    l->heard_ms = n->now_ms;
    buf_init(&l->in, PEER_FRAME_BYTES_MAX);
    KV_ASSERT(idmap_add(&ps->links, id, l) == 0);
    return l;
}

static void link_free(struct peers *ps, struct link *l)
{
    ps->strangers -= l->peer == NULL ? 1 : 0;
    KV_ASSERT(idmap_remove(&ps->links, l->id) == l);
    buf_close(&l->in);
    l->magic = 0;
    kv_mem_free(l);
}

/* When to try again: later each time, and not all at once. */
static void peer_back_off(struct node *n, struct peer *p)
{
    uint64_t jitter = n->env->ops->random(n->env) % (p->backoff_ms + 1);

    p->dial_ms = n->now_ms + p->backoff_ms / 2 + jitter;
    p->backoff_ms = KV_MIN(2 * p->backoff_ms, (uint32_t)PEERS_BACKOFF_MS_MAX);
}

void link_dial(struct node *n, struct peer *p, bool probe)
{
    const struct node_address *a = node_address_find(n, p->node);
    uint64_t id;
    struct link *l;

    KV_ASSERT(a != NULL);
    if (n->peers->links.count >= n->peers->links.max) {
        peer_back_off(n, p);
        return;
    }
    id = n->env->ops->link_dial(n->env, a->host, a->peer_port);
    KV_ASSERT(id != 0);
    l = link_new(n, id, probe ? LINK_PROBE : LINK_DIALING);
    if (l == NULL) {
        n->env->ops->link_close(n->env, id);
        peer_back_off(n, p);
        return;
    }
    l->dialed = true;
    l->peer = p;
    if (!probe) {
        p->link = l;
    }
}

/* An UP link is gone: what was under way on it is lost, and perhaps its process. */
static void peer_lost(struct node *n, struct peer *p)
{
    p->up_since_ms = 0;
    p->lost_ms = n->now_ms;
    p->backoff_ms = PEERS_BACKOFF_MS_MIN;
    p->dial_ms = n->now_ms;
    node_log(n, LOG_INFO, "peer=%u node=%u link=down", p->node, n->config.id);
    balance_disturbed(n);
    peers_cut(n, p);
}

/* The link is no more. refused: nobody listens at the other end. */
static void link_gone(struct node *n, struct link *l, bool refused)
{
    struct peer *p = l->peer;
    bool was_up = l->state == LINK_UP;
    bool is_current = p != NULL && p->link == l;
    bool is_probe = l->state == LINK_PROBE;

    link_free(n->peers, l);
    if (is_current) {
        p->link = NULL;
        if (was_up) {
            peer_lost(n, p);
        } else {
            peer_back_off(n, p);
        }
    }
    if (p == NULL || n->phase == NODE_HALTED) {
        return;
    }
    if (refused && (is_current || is_probe) && p->lost_ms != 0 &&
        n->now_ms <= p->lost_ms + PEERS_RECONNECT_MS) {
        peers_tell_down(n, p);
    } else if (is_current && was_up && p->dials) {
        link_dial(n, p, false);
    } else if (is_current && was_up) {
        link_dial(n, p, true);
    }
}

void link_drop(struct node *n, struct link *l)
{
    n->env->ops->link_close(n->env, l->id);
    link_gone(n, l, false);
}

/* ---- events ---- */

void peers_link_open(struct node *n, uint64_t link, bool dialed)
{
    struct peers *ps = n->peers;
    struct link *l;

    if (!dialed) {
        l = ps->strangers < PEERS_STRANGERS_MAX ? link_new(n, link, LINK_HELLO) : NULL;
        if (l == NULL) {
            ps->stats.refused++;
            n->env->ops->link_close(n->env, link);
            return;
        }
        ps->strangers++;
        return;
    }
    l = idmap_find(&ps->links, link);
    if (l == NULL) {
        return;
    }
    if (l->state == LINK_PROBE) {
        link_drop(n, l); /* Somebody listens: no reason to believe that it died. */
        return;
    }
    KV_ASSERT(l->state == LINK_DIALING);
    l->state = LINK_HELLO;
    l->begin_ms = n->now_ms;
    l->heard_ms = n->now_ms;
    hello_send(n, l, l->peer->node, PEERS_FLAG_ASK);
}

void peers_link_closed(struct node *n, uint64_t link, bool refused)
{
    struct link *l = idmap_find(&n->peers->links, link);

    if (l != NULL) {
        link_gone(n, l, refused);
    }
}

/* ---- frames in ---- */

static int frame_take(struct node *n, struct peer *p, const struct peer_frame *f)
{
    switch ((enum peer_kind)f->head.kind) {
    case PEER_RAFT:
        return raft_take(n, p, f->body);
    case PEER_FORWARD:
        return forward_take(n, p, f);
    case PEER_FORWARD_REPLY:
        return forward_reply_take(n, p, f->body);
    case PEER_FETCH_ENTRY:
        return fetch_take(n, p, f->body);
    case PEER_FETCH_ENTRY_REPLY:
        return fetch_reply_take(n, p, f->body);
    case PEER_STATE:
        return state_take(n, p, f->body);
    case PEER_QUORUM_ASK:
        return quorum_ask_take(n, p, f->body);
    case PEER_QUORUM_ANSWER:
        return quorum_answer_take(n, p, f->body);
    case PEER_HELLO:
    case PEER_KINDS_END:
        break;
    }
    return KV_EPROTO;
}

static void link_broken(struct node *n, struct link *l, int code, const char *why)
{
    n->peers->stats.closed_protocol++;
    node_log(n, l->peer != NULL ? LOG_WARN : LOG_DEBUG,
             "link=%llu node=%u peer=%u closed=protocol error=%s why=\"%s\"",
             (unsigned long long)l->id, n->config.id,
             l->peer != NULL ? l->peer->node : 0, kv_err_name(code), why);
    link_drop(n, l);
}

/* One whole frame. False: the link is gone. */
static bool link_frame(struct node *n, struct link *l, const struct peer_frame *f)
{
    struct peers *ps = n->peers;
    int rc;

    ps->stats.frames_in++;
    if (l->state == LINK_REFUSED) {
        return true;
    }
    if (f->head.kind == PEER_HELLO) {
        return hello_take(n, l, f);
    }
    if (l->state != LINK_UP) {
        if (l->dialed) {
            return true; /* Overtook the HELLO: lost, as on any network. */
        }
        link_broken(n, l, KV_EPROTO, "a frame before HELLO");
        return false;
    }
    if (!hello_matches(n, l, &f->head)) {
        link_broken(n, l, KV_EPROTO, "sender or destination differ from HELLO");
        return false;
    }
    arena_reset(&ps->arena);
    rc = frame_take(n, l->peer, f);
    if (rc == 0 || rc == KV_ENOMEM) {
        return n->phase != NODE_HALTED;
    }
    link_broken(n, l, rc, "a frame that no node sends");
    return false;
}

/* Takes whole frames from the front of `data`. Returns the bytes taken, or SIZE_MAX
 * when the link is gone. */
static size_t link_frames(struct node *n, struct link *l, const uint8_t *data,
                          size_t len)
{
    size_t at = 0;

    while (at < len) {
        struct peer_frame f;
        size_t need = 0;
        int rc = peer_frame_decode(data + at, len - at, &f, &need);

        if (rc == KV_EAGAIN) {
            if (l->peer == NULL && need > PEERS_HELLO_BYTES_MAX) {
                link_broken(n, l, KV_ETOOLARGE, "a stranger's frame is too large");
                return SIZE_MAX;
            }
            return at;
        }
        if (rc != 0) {
            link_broken(n, l, rc, "not a frame");
            return SIZE_MAX;
        }
        at += f.frame_bytes;
        if (!link_frame(n, l, &f)) {
            return SIZE_MAX;
        }
    }
    return at;
}

void peers_link_data(struct node *n, uint64_t link, const uint8_t *data, size_t len)
{
    struct link *l = idmap_find(&n->peers->links, link);
    struct buf whole;
    size_t taken;

    if (l == NULL || len == 0) {
        return;
    }
    KV_ASSERT(l->magic == PEERS_MAGIC_LINK);
    l->heard_ms = n->now_ms;
    n->peers->stats.bytes_in += len;
    if (l->in.len == 0) {
        taken = link_frames(n, l, data, len);
        if (taken != SIZE_MAX && taken < len) {
            buf_append(&l->in, data + taken, len - taken);
        }
        return;
    }
    buf_append(&l->in, data, len);
    if (l->in.error != 0) {
        link_broken(n, l, KV_ENOMEM, "no memory for a frame");
        return;
    }
    whole = l->in; /* The link may go while its frames are handled. */
    buf_init(&l->in, whole.max);
    taken = link_frames(n, l, whole.data, whole.len);
    if (taken == 0) {
        l->in = whole;
        return;
    }
    if (taken != SIZE_MAX && taken < whole.len) {
        buf_append(&l->in, whole.data + taken, whole.len - taken);
    }
    buf_close(&whole);
}

/* ---- time ---- */

/* A dial into a cut must not last: the kernel asks again after a second only, so the
 * next one is sooner heard when the cut has healed. */
static uint64_t dial_ms_max(const struct node *n)
{
    return KV_MAX((uint64_t)PEERS_DIAL_MS_MIN,
                  2 * (uint64_t)n->config.election_timeout_ms);
}

static bool link_is_overdue(const struct node *n, const struct link *l)
{
    switch (l->state) {
    case LINK_DIALING:
        return n->now_ms >= l->begin_ms + dial_ms_max(n);
    case LINK_HELLO:
    case LINK_PROBE:
        return n->now_ms >= l->begin_ms + PEERS_HELLO_MS_MAX;
    case LINK_REFUSED:
        return n->now_ms >= l->begin_ms + PEERS_REFUSED_MS;
    case LINK_UP:
        return n->now_ms >= l->heard_ms + PEERS_SILENT_MS_MAX;
    }
    return false;
}

void links_look(struct node *n)
{
    struct peers *ps = n->peers;
    uint32_t cursor, i;
    struct link *l;
    bool again = true;

    while (again) {
        again = false;
        cursor = 0;
        while ((l = idmap_next(&ps->links, &cursor)) != NULL) {
            if (link_is_overdue(n, l)) {
                link_drop(n, l); /* Moves others in the table: begin anew. */
                again = true;
                break;
            }
        }
    }
    for (i = 0; i < ps->count; i++) {
        struct peer *p = &ps->peers[i];

        /* While forming, an answer may have been lost: ask again. */
        if (p->up_since_ms != 0 && !p->is_confirmed) {
            hello_send(n, p->link, p->node, PEERS_FLAG_ASK);
        }
    }
}
