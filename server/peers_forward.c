/* server/peers_forward.c - requests passed on, entries asked for, hints. */
#include "raft/base/err.h"
#include "raft/record.h"
#include "rpc/scan.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "server/router.h"
#include "storage/failpoint.h"

enum {
    FORWARD_QUEUE_BYTES_MAX = 32 * 1024 * 1024, /* Unsent, above which nothing is passed
                                                 * on to that node. */
    FORWARD_SMALL_BYTES = 1024, /* Of an answer that is sent even then. */
};

/* ---- requests ---- */

int peers_forward(struct node *n, const struct peers_forward *f)
{
    struct peer *p = peers_find(n->peers, f->node);
    struct peer_head head = peers_head(n, f->node, PEER_FORWARD);
    struct peer_forward body = {
        .id = f->id, .deadline_ms = f->deadline_ms, .request = f->request};
    size_t mark;

    KV_ASSERT(f->id != 0 && f->deadline_ms >= 1);
    if (p == NULL || p->link == NULL || p->link->state != LINK_UP) {
        return KV_ECLOSED;
    }
    if (n->env->ops->link_queued(n->env, p->link->id) + p->out.len >
        FORWARD_QUEUE_BYTES_MAX) {
        return KV_EBUSY;
    }
    if (f->is_part) {
        head.flags = (uint16_t)(PEERS_FLAG_PART | f->group);
    }
    mark = peer_frame_begin(&p->out, &head);
    (void)KV_FAILPOINT(forward);
    peer_forward_encode(&p->out, &body);
    if (peer_frame_end(&p->out, mark) != 0) {
        return KV_EBUSY;
    }
    n->peers->stats.frames_out++;
    if (p->out_forward_first == 0) {
        p->out_forward_first = f->id;
    }
    return 0;
}

_Static_assert((int)KV_GROUPS_MAX <= (int)PEERS_FLAG_PART,
               "a group fits beside the flag");

/* Has this forward been seen before? Notes it. */
static bool forward_is_old(struct peer *p, uint64_t id)
{
    uint64_t back;

    if (id > p->forward_top) {
        uint64_t step = id - p->forward_top;

        p->forward_seen = step >= 64 ? 1 : p->forward_seen << step | 1;
        p->forward_top = id;
        return false;
    }
    back = p->forward_top - id;
    if (back >= 64 || (p->forward_seen >> back & 1) != 0) {
        return true;
    }
    p->forward_seen |= (uint64_t)1 << back;
    return false;
}

/* Answers a forward for which there is no request. */
static void forward_refuse(struct node *n, struct peer *p, uint64_t id, int code,
                           const char *text)
{
    struct rpc_error e = {0};
    struct kv_bytes tail;
    uint32_t msgid;
    struct buf b;

    (void)rpc_error_set(&e, code, "%s", text);
    buf_init(&b, 1024);
    rpc_reply_error(&b, 0, &e);
    if (b.error == 0 && rpc_response_split(buf_bytes(&b), &msgid, &tail) == 0) {
        peers_forward_reply(n, &(struct request_asker){p->node, p->nonce, id}, tail);
    }
    buf_close(&b);
}

int forward_take(struct node *n, struct peer *p, const struct peer_frame *f)
{
    struct peer_forward body;
    struct request *req;
    int rc = peer_forward_decode(&n->peers->decoder, f->body, &body);

    if (rc != 0) {
        return rc;
    }
    if (forward_is_old(p, body.id) && !KV_BUG(n->config, B49)) {
        return 0;
    }
    if (n->phase != NODE_RUNNING) {
        forward_refuse(n, p, body.id, KV_ENOLEADER, "the node is starting or stopping");
        return 0;
    }
    if (scan_whole(&scan_limits_request, body.request.data, body.request.len) != 0) {
        forward_refuse(n, p, body.id, KV_EBADREQUEST, "not a request");
        return 0;
    }
    if (request_new(n->requests, body.request, &req) != 0) {
        forward_refuse(n, p, body.id, KV_EBUSY,
                       "the node's memory for requests is used up; try again later");
        return 0;
    }
    req->origin = REQ_FROM_PEER;
    req->asker = (struct request_asker){p->node, p->nonce, body.id};
    req->deadline_ms =
        n->now_ms + KV_MIN(body.deadline_ms, (uint32_t)NODE_DEADLINE_MS_MAX);
    if ((f->head.flags & PEERS_FLAG_PART) != 0) {
        req->is_part = true;
        req->group = f->head.flags & (PEERS_FLAG_PART - 1);
    }
    node_request(n, req);
    return 0;
}

void peers_forward_reply(struct node *n, const struct request_asker *to,
                         struct kv_bytes tail)
{
    struct peer *p = peers_find(n->peers, to->node);
    struct peer_head head = peers_head(n, to->node, PEER_FORWARD_REPLY);
    struct peer_forward_reply body = {.id = to->id, .tail = tail};
    size_t mark;

    if (p == NULL || p->link == NULL || p->link->state != LINK_UP ||
        (p->nonce != to->nonce && !KV_BUG(n->config, B51))) {
        return;
    }
    /* A large answer belongs to something that was not done: a read, or a cas that did
     * not swap. Small ones go as long as the link takes them. */
    if (tail.len > FORWARD_SMALL_BYTES &&
        n->env->ops->link_queued(n->env, p->link->id) + p->out.len + tail.len >
            FORWARD_QUEUE_BYTES_MAX) {
        forward_refuse(n, p, to->id, KV_EBUSY,
                       "the link to the node that was asked is full; try again");
        return;
    }
    mark = peer_frame_begin(&p->out, &head);
    (void)KV_FAILPOINT(forward_reply);
    peer_forward_reply_encode(&p->out, &body);
    if (peer_frame_end(&p->out, mark) == 0) {
        n->peers->stats.frames_out++;
    }
}

int forward_reply_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peer_forward_reply reply;
    int rc = peer_forward_reply_decode(&n->peers->decoder, body, &reply);

    if (rc == 0) {
        router_forward_done(n, p->node, reply.id, reply.tail);
    }
    return rc;
}

/* ---- damaged entries ---- */

void peers_fetch_entry(struct node *n, struct group *g, raft_index index, uint64_t hash)
{
    struct peers *ps = n->peers;
    struct peer_fetch fetch = {.group = group_id_get(g), .index = index, .hash = hash};
    uint32_t i;

    for (i = 0; i < ps->count; i++) {
        struct peer *p = &ps->peers[i];
        struct peer_head head = peers_head(n, p->node, PEER_FETCH_ENTRY);
        size_t mark;

        if (p->up_since_ms == 0 || node_replica_on(n, fetch.group, p->node) == 0) {
            continue;
        }
        fetch.id = ++ps->fetch_id;
        mark = peer_frame_begin(&p->out, &head);
        peer_fetch_encode(&p->out, &fetch);
        if (peer_frame_end(&p->out, mark) == 0) {
            ps->stats.frames_out++;
        }
    }
}

/* The entry that is asked for, when this node has exactly that one. */
static bool fetch_find(struct node *n, const struct peer_fetch *fetch,
                       struct kv_bytes *out)
{
    struct group *g = node_group(n, fetch->group);
    struct kv_bytes record;
    struct raft_entry entry;

    if (g == NULL || fetch->index == 0 ||
        group_records(g, fetch->index - 1, 1, &record) != 1 ||
        raft_record_decode(record, &entry) != 0 || entry.pos.index != fetch->index ||
        (fetch->hash != 0 && entry.hash != fetch->hash)) {
        return false;
    }
    *out = record;
    return true;
}

int fetch_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peer_head head = peers_head(n, p->node, PEER_FETCH_ENTRY_REPLY);
    struct peer_fetch fetch;
    size_t mark;
    int rc = peer_fetch_decode(&n->peers->decoder, body, &fetch);

    if (rc != 0) {
        return rc;
    }
    if (n->phase == NODE_FORMING) {
        return 0;
    }
    fetch.found = fetch_find(n, &fetch, &fetch.record);
    mark = peer_frame_begin(&p->out, &head);
    peer_fetch_reply_encode(&p->out, &fetch);
    if (peer_frame_end(&p->out, mark) == 0) {
        n->peers->stats.frames_out++;
    }
    return 0;
}

int fetch_reply_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peer_fetch fetch;
    struct group *g;
    int rc = peer_fetch_reply_decode(&n->peers->decoder, body, &fetch);

    (void)p;
    if (rc != 0) {
        return rc;
    }
    g = node_group(n, fetch.group);
    if (g != NULL && fetch.found) {
        node_group_touch(n, fetch.group);
        group_on_fetched(g, fetch.index, fetch.record);
    }
    return 0;
}

/* ---- who leads what ---- */

void state_frame(struct node *n, struct peer *p, bool whole)
{
    struct peers *ps = n->peers;
    struct peer_head head = peers_head(n, p->node, PEER_STATE);
    struct peer_state *states;
    uint32_t count = 0, i;
    size_t mark;

    arena_reset(&ps->arena_out);
    states = arena_alloc(&ps->arena_out, (n->groups_end + 1) * sizeof(*states));
    if (states == NULL) {
        return;
    }
    for (i = 0; i < n->groups_end; i++) {
        bool changed = (ps->changed[i / 64] >> (i % 64) & 1) != 0;
        struct raft_status status;

        if (n->groups[i] == NULL || (!changed && !(whole && node_leads(n, i)))) {
            continue;
        }
        group_raft_status(n->groups[i], &status);
        states[count++] = (struct peer_state){.group = i,
                                              .leader = group_leader_node(n->groups[i]),
                                              .term = status.term,
                                              .applied = status.applied};
    }
    mark = peer_frame_begin(&p->out, &head);
    peer_state_encode(&p->out, states, count);
    if (peer_frame_end(&p->out, mark) == 0) {
        ps->stats.frames_out++;
    }
}

int state_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peers *ps = n->peers;
    struct peer_state *states;
    uint32_t count, i;
    int rc = peer_state_decode(&ps->decoder, body, &ps->arena, &states, &count);

    if (rc != 0) {
        return rc;
    }
    for (i = 0; i < count; i++) {
        const struct peer_state *s = &states[i];

        if (s->group >= KV_GROUPS_MAX) {
            return KV_EPROTO;
        }
        /* Of its own leadership it is sure; of others' it only repeats. */
        if (s->leader == p->node || n->leader_hints[s->group] == p->node ||
            n->leader_hints[s->group] == 0) {
            router_hint(n, s->group, s->leader, s->term);
        }
    }
    return 0;
}
