/* server/peers_hello.c - who may join: the first frame of a link, in both directions.
 *
 * The dialler says HELLO first, with whom it wants to talk to; the other judges it and
 * answers with its own HELLO, or with one that is flagged REFUSED and says why. STORED
 * is only said to an incarnation that was seen, so never in a dialler's first frame.
 */
#include "raft/base/err.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "server/router.h"
#include "storage/failpoint.h"

static const char *const refusal_texts[REFUSALS_COUNT] = {
#define PEERS_REFUSAL_TEXT(name, text) [name] = text,
    PEERS_REFUSAL_MAP(PEERS_REFUSAL_TEXT)
#undef PEERS_REFUSAL_TEXT
};

const char *hello_refusal_text(enum peers_refusal r)
{
    return r < REFUSALS_COUNT ? refusal_texts[r] : "it is refused";
}

/* ---- out ---- */

void hello_send(struct node *n, struct link *l, uint32_t to, uint16_t flags)
{
    const struct node_address *self = node_address_find(n, n->config.id);
    struct peer_head head = peers_head(n, to, PEER_HELLO);
    struct peer_hello hello = {0};
    struct buf b;
    size_t mark;

    memcpy(hello.host, self->host, sizeof(hello.host));
    memcpy(hello.zone, n->config.zone, sizeof(hello.zone));
    hello.client_port = self->client_port;
    hello.peer_port = self->peer_port;
    hello.http_port = self->http_port;
    head.flags = flags;
    buf_init(&b, PEERS_HELLO_BYTES_MAX);
    mark = peer_frame_begin(&b, &head);
    peer_hello_encode(&b, &hello);
    (void)KV_FAILPOINT(hello_send);
    if (peer_frame_end(&b, mark) == 0 &&
        n->env->ops->link_send(n->env, l->id, buf_bytes(&b)) == 0) {
        n->peers->stats.frames_out++;
        n->peers->stats.bytes_out += b.len;
        l->told_stored = l->told_stored || (flags & PEERS_FLAG_STORED) != 0;
    }
    buf_close(&b);
}

_Static_assert(sizeof(((struct peer_hello *)0)->host) ==
                   sizeof(((struct node_address *)0)->host),
               "a host is copied whole");
_Static_assert(sizeof(((struct peer_hello *)0)->zone) ==
                   sizeof(((struct node_config *)0)->zone),
               "a zone is copied whole");

void peers_identity_stored(struct node *n)
{
    struct peers *ps = n->peers;
    uint32_t i;

    for (i = 0; i < ps->count; i++) {
        struct peer *p = &ps->peers[i];

        if (p->up_since_ms != 0 && !p->link->told_stored &&
            meta_met(n, p->node, p->incarnation) == META_KNOWN) {
            hello_send(n, p->link, p->node, PEERS_FLAG_STORED);
        }
    }
}

/* ---- refusing and being refused ---- */

/* Notes what is wrong with a node and says so once per change. */
static void peer_trouble(struct node *n, struct peer *p, enum peers_refusal r,
                         bool by_it)
{
    if (p->trouble == r) {
        return;
    }
    p->trouble = r;
    if (r == REFUSAL_NONE) {
        return;
    }
    node_log(n, LOG_WARN, "peer=%u node=%u %s why=\"%s\"", p->node, n->config.id,
             by_it ? "refuses_us=yes" : "refused=yes",
             by_it && r == REFUSAL_STRANGER
                 ? "this node is not in its --initial-cluster"
                 : hello_refusal_text(r));
}

static void hello_refuse(struct node *n, struct link *l, uint32_t from,
                         enum peers_refusal r)
{
    struct peers *ps = n->peers;
    struct peer *p = l->peer != NULL ? l->peer : peers_find(ps, from);

    ps->stats.refused++;
    hello_send(n, l, from, (uint16_t)(PEERS_FLAG_REFUSED | (unsigned)r << 8));
    if (p != NULL) {
        peer_trouble(n, p, r, false);
    } else {
        node_log(n, LOG_WARN, "link=%llu node=%u peer=%u refused=yes why=\"%s\"",
                 (unsigned long long)l->id, n->config.id, from, hello_refusal_text(r));
    }
    l->state = LINK_REFUSED;
    l->begin_ms = n->now_ms;
}

/* The other end refuses this node. Returns false: the link is gone. */
static bool hello_refused(struct node *n, struct link *l, const struct peer_head *h)
{
    struct peer *p = l->peer;
    enum peers_refusal r = (enum peers_refusal)(h->flags >> 8);

    /* A word of such weight counts only from whom it should come from. */
    if (r == REFUSAL_INCARNATION && h->from == p->node &&
        h->cluster == meta_cluster(n)) {
        node_halt(n, KV_ELOST,
                  "node %u knows this node with another data directory: the directory "
                  "of node %u was lost or replaced, and with it votes and acknowledged "
                  "writes. Bring the old directory back; replacing a node is not "
                  "available in this version",
                  p->node, n->config.id);
        return false;
    }
    peer_trouble(n, p, r == REFUSAL_NONE ? REFUSAL_STRANGER : r, true);
    p->backoff_ms = PEERS_BACKOFF_MS_MAX;
    link_drop(n, l);
    return false;
}

/* ---- in ---- */

bool hello_matches(const struct node *n, const struct link *l,
                   const struct peer_head *h)
{
    const struct peer *p = l->peer;

    return h->from == p->node && h->boot_nonce == p->nonce &&
           h->incarnation == p->incarnation &&
           ((h->to == n->config.id && h->cluster == meta_cluster(n)) ||
            KV_BUG(n->config, B47));
}

static enum peers_refusal hello_judge(struct node *n, const struct link *l,
                                      const struct peer_head *h)
{
    const struct peer *p = peers_find(n->peers, h->from);
    enum meta_verdict verdict;

    if (h->cluster != meta_cluster(n)) {
        return REFUSAL_CLUSTER;
    }
    if (h->to != n->config.id || (l->peer != NULL && l->peer->node != h->from)) {
        return REFUSAL_WRONG_NODE;
    }
    if (p == NULL) {
        return REFUSAL_STRANGER;
    }
    if (p->up_since_ms != 0 && p->link != l && p->nonce != h->boot_nonce &&
        n->now_ms < p->link->heard_ms + PEERS_TWIN_MS_MAX) {
        return REFUSAL_TWIN;
    }
    verdict = meta_met(n, h->from, h->incarnation);
    if (verdict == META_REPLACED) {
        return REFUSAL_INCARNATION;
    }
    return verdict == META_STRANGER ? REFUSAL_STRANGER : REFUSAL_NONE;
}

/* The link speaks for the peer from now on. */
static void hello_accept(struct node *n, struct link *l, const struct peer_head *h)
{
    struct peers *ps = n->peers;
    struct peer *p = peers_find(ps, h->from);
    struct link *old = p->link;
    bool restarted = p->nonce != 0 && p->nonce != h->boot_nonce;

    (void)KV_FAILPOINT(hello_accept);
    if (l->peer == NULL) {
        l->peer = p;
        ps->strangers--;
    }
    if (old != l) {
        p->link = l; /* First: so that losing the old one does not dial. */
        if (old != NULL) {
            bool was_up = old->state == LINK_UP;

            link_drop(n, old);
            if (was_up) {
                peers_cut(n, p);
            }
        }
    }
    if (restarted) {
        p->forward_top = 0;
        p->forward_seen = 0;
        p->is_confirmed = false;
        peers_tell_down(n, p);
    }
    p->nonce = h->boot_nonce;
    p->incarnation = h->incarnation;
    p->lost_ms = 0;
    p->was_met = true;
    p->up_since_ms = n->now_ms;
    p->backoff_ms = PEERS_BACKOFF_MS_MIN;
    p->state_due = true;
    l->state = LINK_UP;
    l->begin_ms = n->now_ms;
    peer_trouble(n, p, REFUSAL_NONE, false);
    node_log(n, LOG_INFO, "peer=%u node=%u link=up host=%s port=%u", p->node,
             n->config.id, p->hello.host, p->hello.peer_port);
    router_wake_all(n);
}

bool hello_take(struct node *n, struct link *l, const struct peer_frame *f)
{
    struct peers *ps = n->peers;
    struct peer_hello hello;
    enum peers_refusal r;
    uint16_t flags = 0;
    bool is_new = l->state != LINK_UP;

    if ((f->head.flags & PEERS_FLAG_REFUSED) != 0) {
        if (l->peer == NULL || f->head.to != n->config.id) {
            link_drop(n, l);
            return false;
        }
        return hello_refused(n, l, &f->head);
    }
    if (peer_hello_decode(&ps->decoder, f->body, &hello) != 0) {
        ps->stats.closed_protocol++;
        link_drop(n, l);
        return false;
    }
    if (is_new) {
        r = hello_judge(n, l, &f->head);
        if (r != REFUSAL_NONE) {
            hello_refuse(n, l, f->head.from, r);
            return true;
        }
        peers_find(ps, f->head.from)->hello = hello;
        hello_accept(n, l, &f->head);
    } else if (!hello_matches(n, l, &f->head)) {
        link_drop(n, l);
        return false;
    }
    if ((f->head.flags & PEERS_FLAG_STORED) != 0) {
        l->peer->is_confirmed = true;
    }
    if (meta_met(n, l->peer->node, l->peer->incarnation) == META_KNOWN) {
        flags = PEERS_FLAG_STORED;
    }
    if ((f->head.flags & PEERS_FLAG_ASK) != 0 || (is_new && flags != 0)) {
        hello_send(n, l, l->peer->node, flags);
    }
    return n->phase != NODE_HALTED;
}
