/* tests/sim/run.c - one seed: faults for a while, then peace, then the verdict. */
#include <stdarg.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "tests/sim/sim.h"

void sim_fail(struct sim *s, const char *format, ...)
{
    va_list args;

    if (s->failure[0] != '\0') {
        return;
    }
    va_start(args, format);
    vsnprintf(s->failure, sizeof s->failure, format, args);
    va_end(args);
}

void sim_note(struct sim *s, uint32_t node, const char *line)
{
    char *slot = s->recent[s->recent_next++ % KV_ARRAY_COUNT(s->recent)];

    snprintf(slot, sizeof s->recent[0], "[%9.3f] %u > %s", (double)s->now_us / 1e3,
             node, line);
    if (s->trace) {
        printf("%s\n", slot);
    }
}

static void dispatch(struct sim *s, struct sim_event *ev)
{
    struct sim_node *n = ev->node <= SIM_NODES_MAX ? &s->nodes[ev->node] : NULL;

    switch (ev->kind) {
    case EV_LINK_CONNECT:
    case EV_LINK_OPEN:
    case EV_LINK_DATA:
    case EV_LINK_CLOSED:
        net_event(s, ev);
        return;
    case EV_CLIENT_DATA:
    case EV_CLIENT_CLOSED:
    case EV_CLIENT_WAKE:
        client_event(s, ev);
        return;
    case EV_RESTART:
    case EV_NEMESIS:
        faults_event(s, ev);
        return;
    default:
        break;
    }
    if (n->node == NULL || n->life != ev->life) {
        return;
    }
    switch (ev->kind) {
    case EV_TICK:
        if (ev->arg != n->tick_at_us) {
            return; /* An earlier deadline took its place. */
        }
        n->tick_at_us = 0;
        node_tick(n->node);
        break;
    case EV_DISK:
        world_disk_event(s, ev->node, (enum disk_lane)ev->arg);
        return;
    case EV_CONN_OPEN:
        if (!node_conn_open(n->node, ev->id)) {
            client_close_from_node(s, ev->node, ev->id);
        }
        break;
    case EV_CONN_DATA:
        node_conn_data(n->node, ev->id, ev->data, ev->len);
        break;
    case EV_CONN_CLOSED:
        node_conn_closed(n->node, ev->id);
        break;
    default:
        KV_UNREACHABLE();
    }
    world_turn_end(s, ev->node);
}

/* Clients and the world do not pause; nodes do: their events wait. */
static bool waits(struct sim *s, const struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_TICK:
    case EV_DISK:
    case EV_LINK_CONNECT:
    case EV_LINK_OPEN:
    case EV_LINK_DATA:
    case EV_LINK_CLOSED:
    case EV_CONN_OPEN:
    case EV_CONN_DATA:
    case EV_CONN_CLOSED:
        return s->nodes[ev->node].paused_until_us > s->now_us;
    default:
        return false;
    }
}

static bool step(struct sim *s, uint64_t until_us)
{
    struct sim_event ev;

    if (s->heap_count == 0 || s->heap[0].at_us > until_us || s->failure[0] != '\0') {
        return false;
    }
    (void)heap_pop(s, &ev);
    s->now_us = ev.at_us;
    s->counts.events++;
    if (waits(s, &ev)) {
        ev.at_us = s->nodes[ev.node].paused_until_us;
        if (ev.kind == EV_TICK && ev.life == s->nodes[ev.node].life &&
            ev.arg == s->nodes[ev.node].tick_at_us) {
            s->nodes[ev.node].tick_at_us = ev.arg = ev.at_us;
        }
        heap_push(s, ev);
        return true;
    }
    dispatch(s, &ev);
    kv_mem_free(ev.data);
    return true;
}

/* After the faults: within a bound everything must be as one wishes. */
static void run_to_peace(struct sim *s)
{
    char why[256] = "";
    uint64_t limit_us;

    s->end_us = s->now_us;
    faults_heal(s);
    limit_us = s->now_us + 30000000;
    for (uint64_t at = s->now_us; at <= limit_us && s->failure[0] == '\0';
         at += 100000) {
        while (step(s, at)) {
        }
        s->now_us = KV_MAX(s->now_us, at);
        if (client_all_idle(s) && check_converged(s, why, sizeof why)) {
            return;
        }
    }
    sim_fail(s, "no peace 30 s after the last fault: %s", why);
}

static void world_free(struct sim *s)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        if (s->nodes[i].node != NULL) {
            node_free(s->nodes[i].node);
        }
    }
    store_free_all(s);
    for (size_t i = 0; i < s->heap_count; i++) {
        kv_mem_free(s->heap[i].data);
    }
    client_free_all(s);
    check_free(s);
    kv_mem_free(s->heap);
    kv_mem_free(s->links);
    kv_mem_free(s->ops);
}

static void world_make(struct sim *s)
{
    char text[256] = "";
    int rc;

    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        struct sim_node *n = &s->nodes[i];

        n->env.ops = &world_env_ops;
        n->sim = s;
        n->id = i;
        n->rate_ppm =
            s->swarm.f.rate_ppm == 0
                ? 0
                : (int64_t)prng_below(&s->prng, 2u * s->swarm.f.rate_ppm + 1) -
                      s->swarm.f.rate_ppm;
        rc = store_make(s, i, text, sizeof text);
        if (rc != 0) {
            sim_fail(s, "node %u: no store: %s %s", i, kv_err_name(rc), text);
            return;
        }
    }
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        world_start_node(s, i);
    }
}

/* Where every replica stands. */
static void report_groups(const struct sim *s)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate",
                                        "leader"};

    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        const struct node *n = s->nodes[id].node;

        printf("  node %u: %s, now %llu ms\n", id, n == NULL ? "down" : "up",
               (unsigned long long)(n == NULL ? 0 : n->now_ms));
        for (uint32_t gi = 0; n != NULL && gi < n->groups_cap; gi++) {
            struct group *g = node_group(n, gi);
            struct raft_status st;

            if (g == NULL) {
                continue;
            }
            group_raft_status(g, &st);
            printf("    group %u: %s of term %llu, leader %u, log (%llu, %llu], "
                   "durable %llu, commit %llu, applied %llu, deadline %llu\n",
                   gi, roles[st.role], (unsigned long long)st.term, st.leader,
                   (unsigned long long)st.base.pos.index,
                   (unsigned long long)st.last.index,
                   (unsigned long long)st.last_durable, (unsigned long long)st.commit,
                   (unsigned long long)st.applied,
                   (unsigned long long)group_deadline_ms(g));
            for (uint32_t i = 0; st.role == RAFT_LEADER && i < st.peers_count; i++) {
                const struct raft_peer_status *p = &st.peers[i];

                printf("      peer %u: match %llu, next %llu, active %llu ms%s%s\n",
                       p->id, (unsigned long long)p->match, (unsigned long long)p->next,
                       (unsigned long long)p->active_ms,
                       p->in_snapshot ? ", snapshot" : "",
                       p->amnesiac ? ", amnesiac" : "");
            }
        }
    }
}

static void report(const struct sim *s, uint32_t time_s)
{
    printf("seed %llu FAILED after %.3f s: %s\n", (unsigned long long)s->seed,
           (double)s->now_us / 1e6, s->failure);
    printf("  %u nodes, %u groups, %u replicas, %u clients, %u keys; "
           "the last of its story:\n",
           s->swarm.nodes, s->swarm.groups, s->swarm.replicas, s->swarm.clients,
           s->swarm.keys);
    for (uint32_t i = 0; i < 24; i++) {
        const char *line =
            s->recent[(s->recent_next + KV_ARRAY_COUNT(s->recent) - 24 + i) %
                      KV_ARRAY_COUNT(s->recent)];

        if (line[0] != '\0') {
            printf("    %s\n", line);
        }
    }
    report_groups(s);
    printf("  again: build/kvsim --seed %llu --time %us%s --trace\n",
           (unsigned long long)s->seed, time_s, s->swarm.lmdb ? " --store lmdb" : "");
}

bool sim_run(uint64_t seed, uint32_t time_s, const struct sim_swarm *fixed, bool trace,
             struct sim_counts *total, uint64_t *out_sim_us)
{
    struct sim *s = kv_mem_zalloc(sizeof *s);
    bool ok;

    KV_ASSERT(s != NULL);
    s->seed = seed;
    s->trace = trace;
    s->now_us = 1000000; /* Time 0 means "never" in places. */
    prng_init(&s->prng, seed);
    faults_draw(s, fixed);
    world_make(s);
    client_init_all(s);
    faults_start(s);
    s->end_us = s->now_us + (uint64_t)time_s * 1000000;
    while (step(s, s->end_us)) {
    }
    if (s->failure[0] == '\0') {
        run_to_peace(s);
    }
    if (s->failure[0] == '\0') {
        check_history(s);
    }
    ok = s->failure[0] == '\0';
    if (!ok) {
        report(s, time_s);
    }
    *out_sim_us += s->now_us;
#define ADD(name) total->name += s->counts.name;
    SIM_COUNT_MAP(ADD)
#undef ADD
    world_free(s);
    kv_mem_free(s);
    return ok;
}
