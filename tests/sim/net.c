/* tests/sim/net.c - connections between nodes: delay, loss, duplicates, cuts.
 *
 * What a node hands to link_send() are whole frames; they travel together and are
 * lost, doubled or overtaken together. A real TCP connection does none of that, so
 * this is harder than the real network: Raft must stand it anyway.
 */
#include "raft/base/arena.h"
#include "tests/sim/sim.h"

static struct sim_link *link_at(struct sim *s, uint64_t id)
{
    return id == 0 || id > s->links_cap ? NULL : &s->links[id - 1];
}

static uint64_t link_new(struct sim *s, uint32_t owner, uint32_t peer, uint64_t other)
{
    s->links = kv_mem_realloc(s->links, (s->links_cap + 1) * sizeof *s->links);
    KV_ASSERT(s->links != NULL);
    s->links[s->links_cap] = (struct sim_link){.owner = owner,
                                               .peer_node = peer,
                                               .life = s->nodes[owner].life,
                                               .other = other,
                                               .open = true};
    return ++s->links_cap;
}

uint64_t net_delay_us(struct sim *s)
{
    uint64_t mean = s->swarm.delay_us_mean;
    uint64_t us = s->swarm.delay_us_min + prng_below(&s->prng, 2 * mean + 1);

    /* Now and then a straggler. */
    if (prng_below(&s->prng, 200) == 0) {
        us += prng_below(&s->prng, 20 * mean + 1);
    }
    return us;
}

static bool chance_ppm(struct sim *s, enum sim_chance kind, uint32_t ppm)
{
    return ppm > 0 && !s->healed && prng_below(&s->chances[kind], 1000000) < ppm;
}

uint64_t net_dial(struct sim *s, uint32_t from, uint16_t port)
{
    uint32_t to = (uint32_t)port - SIM_PORT_PEER;
    uint64_t id;

    KV_ASSERT(to >= 1 && to <= s->swarm.nodes);
    id = link_new(s, from, to, 0);
    heap_push(s, (struct sim_event){.at_us = s->now_us + net_delay_us(s),
                                    .kind = EV_LINK_CONNECT,
                                    .node = to,
                                    .life = s->nodes[from].life,
                                    .id = id,
                                    .arg = from});
    return id;
}

static void push_closed(struct sim *s, uint64_t id, bool refused, uint64_t delay_us)
{
    struct sim_link *l = link_at(s, id);

    heap_push(s, (struct sim_event){.at_us = s->now_us + delay_us,
                                    .kind = EV_LINK_CLOSED,
                                    .node = l->owner,
                                    .life = l->life,
                                    .id = id,
                                    .arg = refused});
}

static void net_connect(struct sim *s, struct sim_event *ev)
{
    uint32_t to = ev->node, from = (uint32_t)ev->arg;
    struct sim_link *dialer = link_at(s, ev->id);
    uint64_t accepted;

    if (!dialer->open || s->nodes[from].life != ev->life) {
        return;
    }
    if (s->cut[from][to] || s->cut[to][from]) {
        push_closed(s, ev->id, false, 1000000); /* SYNs vanish: a time-out. */
        return;
    }
    if (!world_is_up(s, to)) {
        push_closed(s, ev->id, true, net_delay_us(s));
        return;
    }
    accepted = link_new(s, to, from, ev->id);
    link_at(s, ev->id)->other = accepted;
    s->counts.reconnects++;
    memory_enter(&s->nodes[to].memory_in);
    node_link_open(s->nodes[to].node, accepted, false);
    memory_leave();
    world_turn_end(s, to);
    heap_push(s, (struct sim_event){.at_us = s->now_us + net_delay_us(s),
                                    .kind = EV_LINK_OPEN,
                                    .node = from,
                                    .life = ev->life,
                                    .id = ev->id});
}

static void push_data(struct sim *s, struct sim_link *to, uint64_t to_id,
                      struct kv_bytes b, uint64_t at_us, bool is_replay)
{
    uint8_t *copy = kv_mem_zalloc(b.len);
    uint64_t clogged_until_us = s->clogged_until_us[to->peer_node][to->owner];

    s->under_way[to->peer_node][to->owner] += !is_replay;
    if (at_us < clogged_until_us) {
        s->counts.frames_clogged++;
        at_us = clogged_until_us; /* In the order in which they were sent. */
    }

    KV_ASSERT(copy != NULL);
    memcpy(copy, b.data, b.len);
    heap_push(s, (struct sim_event){.at_us = at_us,
                                    .kind = EV_LINK_DATA,
                                    .node = to->owner,
                                    .life = to->life,
                                    .id = to_id,
                                    .arg = is_replay,
                                    .data = copy,
                                    .len = (uint32_t)b.len});
}

/* A frame as the sender of these might send it to another node, or in another cluster;
 * who took what it says for true would follow a leader that does not exist. */
static void push_stray(struct sim *s, const struct sim_link *l, struct kv_bytes frames,
                       uint64_t at)
{
    struct prng *p = &s->chances[CHANCE_STRAY];
    struct peer_head head = {.kind = PEER_RAFT,
                             .cluster = kv_get_u64le(frames.data + 16),
                             .from = kv_get_u32le(frames.data + 24),
                             .to = kv_get_u32le(frames.data + 28),
                             .boot_nonce = kv_get_u64le(frames.data + 32),
                             .incarnation = kv_get_u64le(frames.data + 40)};
    struct peer_raft heartbeat = {
        .group = (uint32_t)prng_below(p, s->swarm.groups + 1u),
        .msg = {.type = RAFT_MSG_HEARTBEAT,
                .from = l->owner,
                .to = l->peer_node,
                .term = JUDGE_TERMS_MAX / 2},
    };
    struct buf b;
    size_t mark;
    int rc;

    if (prng_below(p, 2) == 0) {
        head.cluster ^= 1 + prng_below(p, 1000);
        s->counts.strays_cluster++;
    } else {
        head.to = head.to % s->swarm.nodes + 1;
        s->counts.strays_receiver++;
    }
    buf_init(&b, PEER_FRAME_BYTES_MAX);
    mark = peer_frame_begin(&b, &head);
    peer_raft_begin(&b, 1);
    peer_raft_encode(&b, &heartbeat);
    rc = peer_frame_end(&b, mark);
    KV_ASSERT(rc == 0);
    push_data(s, link_at(s, l->other), l->other, buf_bytes(&b), at, true);
    buf_close(&b);
}

/* As many deliveries are under way as this path takes. */
static bool is_full(const struct sim *s, uint32_t from, uint32_t to)
{
    return s->swarm.f.capacity != 0 && !s->healed &&
           s->under_way[from][to] >= s->swarm.f.capacity;
}

int net_link_send(struct sim *s, uint32_t from, uint64_t link, struct kv_bytes frames)
{
    struct sim_link *l = link_at(s, link), *other;
    uint64_t at = s->now_us + net_delay_us(s);

    KV_ASSERT(l != NULL && l->owner == from);
    if (!l->open || l->other == 0) {
        return KV_ECLOSED;
    }
    if (is_full(s, from, l->peer_node) && s->swarm.f.capacity_busy != 0) {
        s->counts.frames_refused++;
        return KV_EBUSY;
    }
    s->counts.frames++;
    watch_frames(s, frames);
    other = link_at(s, l->other);
    if (!other->open) {
        return 0; /* The close is on its way here. */
    }
    if (is_full(s, from, l->peer_node)) {
        s->counts.frames_over_capacity++;
        return 0;
    }
    if (s->cut[from][l->peer_node]) {
        s->counts.frames_cut++;
        return 0;
    }
    if (chance_ppm(s, CHANCE_LOSS, s->swarm.f.loss_ppm)) {
        s->counts.frames_lost++;
        return 0;
    }
    if (chance_ppm(s, CHANCE_REORDER, s->swarm.f.reorder_ppm)) {
        s->counts.frames_reordered++;
        at += prng_below(&s->chances[CHANCE_REORDER], 4 * s->swarm.delay_us_mean + 1);
    } else {
        at = at <= l->last_at_us ? l->last_at_us + 1 : at;
        l->last_at_us = at;
    }
    push_data(s, other, l->other, frames, at, false);
    if (chance_ppm(s, CHANCE_DUP, s->swarm.f.dup_ppm)) {
        s->counts.frames_dup++;
        push_data(s, other, l->other, frames, at + net_delay_us(s), false);
    }
    if (chance_ppm(s, CHANCE_REPLAY, s->swarm.f.replay_ppm)) {
        s->counts.frames_replayed++;
        at += 1000 * prng_below(&s->chances[CHANCE_REPLAY], s->swarm.f.replay_ms + 1u);
        push_data(s, other, l->other, frames, at, true);
    }
    if (chance_ppm(s, CHANCE_STRAY, s->swarm.f.stray_ppm)) {
        push_stray(s, l, frames, at);
    }
    return 0;
}

/* A path without room looks like a queue that the kernel does not take. */
uint64_t net_link_queued(struct sim *s, uint64_t link)
{
    const struct sim_link *l = link_at(s, link);

    return l != NULL && s->swarm.f.capacity_busy != 0 &&
                   is_full(s, l->owner, l->peer_node)
               ? 1u << 30
               : 0;
}

void net_link_close(struct sim *s, uint32_t from, uint64_t link)
{
    struct sim_link *l = link_at(s, link);

    KV_ASSERT(l != NULL && l->owner == from);
    if (!l->open) {
        return;
    }
    l->open = false;
    if (l->other != 0 && link_at(s, l->other)->open) {
        push_closed(s, l->other, false, net_delay_us(s));
    }
}

void net_node_down(struct sim *s, uint32_t id)
{
    for (size_t i = 0; i < s->links_cap; i++) {
        struct sim_link *l = &s->links[i];

        if (l->owner == id && l->open) {
            l->open = false;
            if (l->other != 0 && link_at(s, l->other)->open) {
                push_closed(s, l->other, false, net_delay_us(s));
            }
        }
    }
}

void net_reset(struct sim *s, uint32_t node, uint32_t other)
{
    for (size_t i = 0; i < s->links_cap; i++) {
        const struct sim_link *l = &s->links[i];

        if (l->open && (l->owner == node || l->peer_node == node) &&
            (other == 0 || l->owner == other || l->peer_node == other)) {
            push_closed(s, i + 1, false, net_delay_us(s));
        }
    }
}

void net_event(struct sim *s, struct sim_event *ev)
{
    struct sim_link *l = link_at(s, ev->id);

    if (ev->kind == EV_LINK_CONNECT) {
        net_connect(s, ev);
        return;
    }
    if (ev->kind == EV_LINK_DATA) {
        s->under_way[l->peer_node][l->owner] -= ev->arg == 0;
    }
    if (!l->open || s->nodes[ev->node].life != ev->life || !world_is_up(s, ev->node)) {
        return;
    }
    memory_enter(&s->nodes[ev->node].memory_in);
    switch (ev->kind) {
    case EV_LINK_OPEN:
        node_link_open(s->nodes[ev->node].node, ev->id, true);
        break;
    case EV_LINK_DATA:
        node_link_data(s->nodes[ev->node].node, ev->id, ev->data, ev->len);
        break;
    case EV_LINK_CLOSED:
        l->open = false;
        node_link_closed(s->nodes[ev->node].node, ev->id, ev->arg != 0);
        break;
    default:
        KV_UNREACHABLE();
    }
    memory_leave();
    world_turn_end(s, ev->node);
}
