/* jepsen/env/net.c - what the environments share: links and the probe. */
#include "jepsen/env/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "jepsen/env/keeper.h"
#include "raft/base/bytes.h"
#include "raft/base/err.h"

uint64_t net_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int net_fail(struct net *n, const char *what, int error)
{
    snprintf(n->error, sizeof n->error, "%s: %s", what, strerror(error));
    return error == EPERM || error == EACCES ? KV_EDENIED : KV_EIO;
}

int net_watch(struct net *n, int fd, uint32_t tag, uint32_t events)
{
    struct epoll_event ev = {.events = events,
                             .data.u64 = (uint64_t)KEEPER_TAG_NET << 32 | tag};

    return epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

void net_rewatch(struct net *n, int fd, uint32_t tag, uint32_t events)
{
    struct epoll_event ev = {.events = events,
                             .data.u64 = (uint64_t)KEEPER_TAG_NET << 32 | tag};

    (void)epoll_ctl(n->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
}

/* ---- links ---- */

void net_cut(struct net *n, const struct fault_grudge *g)
{
    for (uint32_t to = 0; to <= n->nodes; to++) {
        for (uint32_t from = 0; from <= n->nodes; from++) {
            n->links[from][to].cut = from != to && (g->from[to] >> from & 1) != 0;
        }
    }
    n->ops->changed(n);
}

void net_shape(struct net *n, uint32_t from, uint32_t to, const struct fault_link *l)
{
    n->links[from][to].shape = *l;
    n->links[from][to].free_ns = 0;
    n->ops->changed(n);
}

void net_heal(struct net *n)
{
    for (uint32_t to = 0; to <= n->nodes; to++) {
        for (uint32_t from = 0; from <= n->nodes; from++) {
            n->links[from][to].cut = false;
            n->links[from][to].shape = (struct fault_link){0};
            n->links[from][to].free_ns = 0;
        }
    }
    n->ops->changed(n);
}

/* ---- probe ---- */

void net_probe_start(struct net *n, uint32_t from, uint32_t to, uint32_t count,
                     uint32_t wait_ms)
{
    n->probe = (struct net_probe){
        .active = true,
        .id = n->probe.id + 1,
        .from = from,
        .to = to,
        .count = KV_MIN(count, (uint32_t)NET_PROBES_MAX),
        .wait_ms = wait_ms,
        .next_ns = net_now_ns(),
        .end_ns = NET_NEVER,
    };
    n->ops->probe_begin(n);
}

void net_probe_message(const struct net *n, uint32_t i, uint8_t out[8])
{
    kv_put_u32le(out, n->probe.id);
    kv_put_u32le(out + 4, i);
}

void net_probe_arrived(struct net *n, const uint8_t message[8], uint64_t now_ns)
{
    struct net_probe *p = &n->probe;
    uint32_t i = kv_get_u32le(message + 4);

    if (!p->active || kv_get_u32le(message) != p->id || i >= p->sent) {
        return;
    }
    p->result.copies++;
    if (p->way_ns[i] != 0) {
        return;
    }
    p->way_ns[i] = KV_MAX(now_ns - p->sent_ns[i], 1u);
    p->result.received++;
    p->result.late += i + 1 < p->highest;
    p->highest = KV_MAX(p->highest, i + 1);
}

static void probe_finish(struct net *n)
{
    struct net_probe *p = &n->probe;
    uint64_t ways[NET_PROBES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < p->sent; i++) {
        uint32_t k = count;

        if (p->way_ns[i] == 0) {
            continue;
        }
        for (; k > 0 && ways[k - 1] > p->way_ns[i]; k--) {
            ways[k] = ways[k - 1];
        }
        ways[k] = p->way_ns[i];
        count++;
    }
    p->result.sent = p->sent;
    if (count > 0) {
        p->result.min_us = (uint32_t)(ways[0] / 1000);
        p->result.median_us = (uint32_t)(ways[count / 2] / 1000);
        p->result.max_us = (uint32_t)(ways[count - 1] / 1000);
    }
    p->active = false;
    n->ops->probe_end(n);
}

/* Sends what is due of the probe; returns when to look again. */
static uint64_t probe_due(struct net *n, uint64_t now_ns, bool *out_probed)
{
    struct net_probe *p = &n->probe;

    if (!p->active) {
        return NET_NEVER;
    }
    if (p->sent < p->count && now_ns >= p->next_ns) {
        uint32_t i = p->sent++;

        p->sent_ns[i] = now_ns;
        p->next_ns = now_ns + NET_PROBE_STEP_MS * 1000000ull;
        n->ops->probe_send(n, i);
        if (p->sent == p->count) {
            p->end_ns = now_ns + p->wait_ms * 1000000ull;
        }
    }
    if (p->sent == p->count &&
        (now_ns >= p->end_ns || p->result.received == p->count)) {
        /* All arrived: a second copy would have come with its first, or soon. */
        if (now_ns >= p->end_ns || n->links[p->from][p->to].shape.duplicate_ppm == 0) {
            probe_finish(n);
            *out_probed = true;
            return NET_NEVER;
        }
    }
    return p->sent < p->count ? p->next_ns : p->end_ns;
}

uint64_t net_due(struct net *n, uint64_t now_ns, bool *out_probed)
{
    uint64_t next = n->ops->due(n, now_ns);
    uint64_t probe = probe_due(n, now_ns, out_probed);

    return KV_MIN(next, probe);
}
