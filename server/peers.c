/* server/peers.c - the table of other nodes, its timers, and the end of a turn. */
#include "server/peers.h"

#include "raft/base/err.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "server/router.h"

enum {
    PEERS_OUT_BYTES_MAX = 64 * 1024 * 1024, /* Of one turn to one node. */
    PEERS_ARENA_BYTES_MAX = 32 * 1024 * 1024,
};

/* ---- life ---- */

int peers_new(struct node *n, struct peers **out)
{
    struct peers *ps = kv_mem_zalloc(sizeof(*ps));
    uint32_t i;

    if (ps == NULL) {
        return KV_ENOMEM;
    }
    if (idmap_init(&ps->links, PEERS_LINKS_MAX) != 0) {
        kv_mem_free(ps);
        return KV_ENOMEM;
    }
    if (rpc_decoder_init(&ps->decoder) != 0) {
        idmap_close(&ps->links);
        kv_mem_free(ps);
        return KV_ENOMEM;
    }
    arena_init(&ps->arena, 64 * 1024, PEERS_ARENA_BYTES_MAX);
    arena_init(&ps->arena_out, 64 * 1024, PEERS_ARENA_BYTES_MAX);
    for (i = 0; i < n->config.nodes_count; i++) {
        struct peer *p = &ps->peers[ps->count];

        if (n->config.nodes[i].id == n->config.id) {
            continue;
        }
        p->node = n->config.nodes[i].id;
        p->dials = n->config.id > p->node;
        p->backoff_ms = PEERS_BACKOFF_MS_MIN;
        buf_init(&p->msgs, KV_PEER_BODY_BYTES_MAX);
        buf_init(&p->out, PEERS_OUT_BYTES_MAX);
        ps->count++;
    }
    *out = ps;
    return 0;
}

void peers_free(struct peers *ps)
{
    uint32_t cursor = 0, i;
    struct link *l;

    if (ps == NULL) {
        return;
    }
    while ((l = idmap_next(&ps->links, &cursor)) != NULL) {
        buf_close(&l->in);
        kv_mem_free(l);
    }
    idmap_close(&ps->links);
    for (i = 0; i < ps->count; i++) {
        buf_close(&ps->peers[i].msgs);
        buf_close(&ps->peers[i].out);
    }
    rpc_decoder_close(&ps->decoder);
    arena_close(&ps->arena);
    arena_close(&ps->arena_out);
    kv_mem_free(ps);
}

/* ---- the table ---- */

struct peer *peers_find(struct peers *ps, uint32_t node)
{
    uint32_t i;

    for (i = 0; i < ps->count; i++) {
        if (ps->peers[i].node == node) {
            return &ps->peers[i];
        }
    }
    return NULL;
}

struct peer_head peers_head(const struct node *n, uint32_t to, enum peer_kind kind)
{
    return (struct peer_head){
        .kind = (uint8_t)kind,
        .cluster = meta_cluster(n),
        .from = n->config.id,
        .to = to,
        .boot_nonce = n->boot_nonce,
        .incarnation = n->identity.incarnation,
    };
}

void peers_tell_down(struct node *n, struct peer *p)
{
    uint32_t i;

    p->lost_ms = 0;
    node_log(n, LOG_INFO, "peer=%u node=%u process=gone", p->node, n->config.id);
    for (i = 0; i < n->groups_cap; i++) {
        if (n->groups[i] != NULL && node_replica_on(n, i, p->node) != 0) {
            node_group_touch(n, i);
            group_on_peer_down(n->groups[i], p->node);
        }
    }
}

/* ---- time ---- */

void peers_tick(struct node *n)
{
    struct peers *ps = n->peers;
    uint32_t i;

    for (i = 0; i < ps->count; i++) {
        struct peer *p = &ps->peers[i];

        if (p->dials && p->link == NULL && n->now_ms >= p->dial_ms) {
            link_dial(n, p, false);
        }
    }
    if (n->now_ms >= ps->look_ms) {
        ps->look_ms = n->now_ms + PEERS_LOOK_MS;
        links_look(n);
    }
    if (n->now_ms >= ps->state_ms) {
        ps->state_ms = n->now_ms + PEERS_STATE_MS;
        for (i = 0; i < ps->count; i++) {
            ps->peers[i].state_due = true;
        }
    }
}

uint64_t peers_deadline_ms(const struct peers *ps)
{
    uint64_t first = KV_MIN(ps->look_ms, ps->state_ms);
    uint32_t i;

    if (ps->count == 0) {
        return UINT64_MAX;
    }
    for (i = 0; i < ps->count; i++) {
        const struct peer *p = &ps->peers[i];

        if (p->dials && p->link == NULL) {
            first = KV_MIN(first, p->dial_ms);
        }
    }
    return first;
}

/* ---- the end of a turn ---- */

static void peer_reset_out(struct peer *p)
{
    p->msgs_count = 0;
    p->entries_count = 0;
    p->out_forward_first = 0;
    p->state_due = false;
    /* A burst's memory is not kept for ever. */
    if (p->msgs.cap > KV_SNAPSHOT_CHUNK_BYTES_MAX) {
        buf_close(&p->msgs);
    }
    if (p->out.cap > KV_SNAPSHOT_CHUNK_BYTES_MAX) {
        buf_close(&p->out);
    }
    buf_reset(&p->msgs);
    buf_reset(&p->out);
}

static void peer_flush(struct node *n, struct peer *p)
{
    struct peers *ps = n->peers;
    uint64_t unsent = p->out_forward_first;
    int rc;

    if (p->link == NULL || p->link->state != LINK_UP) {
        peer_reset_out(p);
        return;
    }
    raft_frame_close(n, p);
    if (p->state_due || ps->any_changed) {
        state_frame(n, p, p->state_due);
    }
    if (p->out.len == 0) {
        return;
    }
    rc = n->env->ops->link_send(n->env, p->link->id, buf_bytes(&p->out));
    if (rc == 0) {
        ps->stats.bytes_out += p->out.len;
    }
    peer_reset_out(p);
    if (rc != 0 && unsent != 0) {
        router_forward_unsent(n, p->node, unsent);
    }
}

void peers_cut(struct node *n, struct peer *p)
{
    uint64_t unsent = p->out_forward_first;

    peer_reset_out(p);
    if (unsent != 0) {
        router_forward_unsent(n, p->node, unsent);
    }
    router_link_lost(n, p->node);
}

void peers_flush(struct node *n)
{
    struct peers *ps = n->peers;
    uint32_t i;

    for (i = 0; i < ps->count; i++) {
        if (KV_BUG(n->config, B50) && ps->peers[i].link == NULL) {
            break;
        }
        peer_flush(n, &ps->peers[i]);
    }
    if (ps->any_changed) {
        memset(ps->changed, 0, sizeof(ps->changed));
        ps->any_changed = false;
    }
}

void peers_state_changed(struct node *n, group_id group)
{
    n->peers->changed[group / 64] |= (uint64_t)1 << (group % 64);
    n->peers->any_changed = true;
}

/* ---- looking in ---- */

static const struct peer *peer_get(const struct node *n, uint32_t node)
{
    return peers_find(n->peers, node);
}

bool peers_is_up(const struct node *n, uint32_t node)
{
    return peers_up_since_ms(n, node) != 0;
}

bool peers_is_responsive(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p != NULL && p->up_since_ms != 0 &&
           n->now_ms < p->link->heard_ms + PEERS_QUIET_MS_MAX;
}

uint64_t peers_up_since_ms(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p == NULL ? 0 : p->up_since_ms;
}

bool peers_was_met(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p != NULL && p->was_met;
}

bool peers_is_confirmed(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p != NULL && p->is_confirmed;
}

const struct peer_hello *peers_hello_get(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p != NULL && p->was_met ? &p->hello : NULL;
}

const char *peers_trouble(const struct node *n, uint32_t node)
{
    const struct peer *p = peer_get(n, node);

    return p == NULL ? "" : hello_refusal_text(p->trouble);
}

void peers_stats_get(const struct node *n, struct peers_stats *out)
{
    const struct peers *ps = n->peers;
    uint32_t i;

    *out = ps->stats;
    for (i = 0; i < ps->count; i++) {
        const struct peer *p = &ps->peers[i];

        if (p->up_since_ms != 0) {
            out->up++;
            out->queued_bytes += n->env->ops->link_queued(n->env, p->link->id);
        }
    }
}
