/* tests/lib/node_net.c - the world of tests/lib/node_net.h. */
#include "tests/lib/node_net.h"

#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/router.h"

enum net_kind {
    NET_LINK_CONNECT, /* At the dialled node. */
    NET_LINK_OPEN,    /* Back at the dialler; flag: refused. */
    NET_LINK_DATA,
    NET_LINK_CLOSED,
    NET_CONN_DATA,
    NET_CONN_CLOSED,
    NET_JOB_DONE,
    NET_CLIENT_DATA,
    NET_CLIENT_CLOSED,
};

/* ---- events ---- */

static bool before(const struct net_event *a, const struct net_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void push(struct net *net, struct net_event ev)
{
    uint32_t at = net->heap_count;

    if (net->heap_count == net->heap_cap) {
        net->heap_cap = net->heap_cap == 0 ? 256 : 2 * net->heap_cap;
        net->heap = kv_mem_realloc(net->heap, net->heap_cap * sizeof(*net->heap));
        KV_ASSERT(net->heap != NULL);
    }
    net->heap_count++;
    ev.seq = ++net->seq;
    while (at > 0 && before(&ev, &net->heap[(at - 1) / 2])) {
        net->heap[at] = net->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net->heap[at] = ev;
}

static struct net_event pop(struct net *net)
{
    struct net_event first = net->heap[0], last = net->heap[--net->heap_count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < net->heap_count &&
            before(&net->heap[child + 1], &net->heap[child])) {
            child++;
        }
        if (child >= net->heap_count || before(&last, &net->heap[child])) {
            break;
        }
        net->heap[at] = net->heap[child];
        at = child;
    }
    net->heap[at] = last;
    return first;
}

static uint8_t *copy(struct kv_bytes bytes)
{
    uint8_t *data = kv_mem_zalloc(KV_MAX(bytes.len, 1u));

    KV_ASSERT(data != NULL);
    if (bytes.len > 0) {
        memcpy(data, bytes.data, bytes.len);
    }
    return data;
}

/* ---- struct env_ops ---- */

static struct net_node *of_env(struct env *e)
{
    return (struct net_node *)(void *)e;
}

static uint64_t env_now_us(struct env *e)
{
    return of_env(e)->net->now_us;
}

static uint64_t env_now_ms(struct env *e)
{
    return of_env(e)->net->now_us / 1000;
}

static uint64_t env_wall_ms(struct env *e)
{
    return 1700000000000u + env_now_ms(e);
}

static uint64_t env_random(struct env *e)
{
    return prng_next(&of_env(e)->net->prng);
}

static void job_start(struct net_node *n, enum disk_lane lane)
{
    struct disk_job *job = n->queue[lane];

    if (job == NULL || n->running[lane] != NULL) {
        return;
    }
    n->queue[lane] = job->next;
    n->running[lane] = job;
    push(n->net, (struct net_event){.at_us = n->net->now_us + n->net->disk_us,
                                    .kind = NET_JOB_DONE,
                                    .node = n->id,
                                    .life = n->life,
                                    .job = job});
}

static void env_disk_submit(struct env *e, struct disk_job *job)
{
    struct net_node *n = of_env(e);
    enum disk_lane lane = disk_job_lane(job->kind);
    struct disk_job **at = &n->queue[lane];

    while (*at != NULL) {
        at = &(*at)->next;
    }
    job->next = NULL;
    *at = job;
    job_start(n, lane);
}

static struct net_link *link_at(struct net *net, uint64_t id)
{
    KV_ASSERT(id >= 1 && id <= net->links_count);
    return &net->links[id - 1];
}

static uint64_t link_new(struct net *net, uint32_t owner, uint32_t peer, uint64_t other)
{
    KV_ASSERT(net->links_count < NET_LINKS_MAX);
    net->links[net->links_count] = (struct net_link){.owner = owner,
                                                     .peer = peer,
                                                     .life = net->nodes[owner].life,
                                                     .other = other,
                                                     .open = true};
    buf_init(&net->links[net->links_count].raw, (size_t)64 * 1024 * 1024);
    return ++net->links_count;
}

static uint64_t env_link_dial(struct env *e, const char *host, uint16_t port)
{
    struct net_node *n = of_env(e);
    uint32_t peer = (uint32_t)port - NET_PEER_PORT;
    uint64_t id;

    (void)host;
    KV_ASSERT(peer >= 1 && peer <= NET_NODES_MAX);
    id = link_new(n->net, n->id, peer, 0);
    push(n->net, (struct net_event){.at_us = n->net->now_us + n->net->delay_us,
                                    .kind = NET_LINK_CONNECT,
                                    .node = peer,
                                    .id = id});
    return id;
}

static int env_link_send(struct env *e, uint64_t id, struct kv_bytes frames)
{
    struct net_node *n = of_env(e);
    struct net *net = n->net;
    struct net_link *l = link_at(net, id);

    if (l->open && l->peer == 0) {
        buf_append_bytes(&l->raw, frames);
        return 0;
    }
    if (!l->open || l->other == 0) {
        return KV_ECLOSED;
    }
    if (net->cut[n->id][l->peer] ||
        (net->lose != NULL && net->lose(net, n->id, l->peer, frames))) {
        return 0;
    }
    push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                 .kind = NET_LINK_DATA,
                                 .node = l->peer,
                                 .id = l->other,
                                 .data = copy(frames),
                                 .len = frames.len});
    return 0;
}

static uint64_t env_link_queued(struct env *e, uint64_t id)
{
    (void)e;
    (void)id;
    return 0;
}

static void end_close(struct net *net, uint64_t id, bool refused)
{
    struct net_link *l = link_at(net, id);

    if (l->open) {
        push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                     .kind = NET_LINK_CLOSED,
                                     .node = l->owner,
                                     .life = l->life,
                                     .id = id,
                                     .flag = refused});
    }
}

static void env_link_close(struct env *e, uint64_t id)
{
    struct net *net = of_env(e)->net;
    struct net_link *l = link_at(net, id);

    l->open = false;
    if (l->other != 0) {
        end_close(net, l->other, false);
    }
}

static struct net_client *client_of(struct net *net, uint64_t conn)
{
    uint32_t i;

    for (i = 0; i < NET_CLIENTS_MAX; i++) {
        if (net->clients[i].used && net->clients[i].conn == conn) {
            return &net->clients[i];
        }
    }
    return NULL;
}

static int env_conn_send(struct env *e, uint64_t conn, struct kv_bytes messages)
{
    struct net *net = of_env(e)->net;
    struct net_client *c = client_of(net, conn);

    if (c == NULL || !c->open) {
        return KV_ECLOSED;
    }
    if (c->stalled) {
        c->queued += messages.len;
        return 0;
    }
    push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                 .kind = NET_CLIENT_DATA,
                                 .id = conn,
                                 .data = copy(messages),
                                 .len = messages.len});
    return 0;
}

static uint64_t env_conn_queued(struct env *e, uint64_t conn)
{
    const struct net_client *c = client_of(of_env(e)->net, conn);

    return c == NULL ? 0 : c->queued;
}

static void env_conn_close(struct env *e, uint64_t conn, bool now)
{
    struct net *net = of_env(e)->net;

    (void)now;
    push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                 .kind = NET_CLIENT_CLOSED,
                                 .id = conn});
}

static void env_conn_read(struct env *e, uint64_t conn, bool on)
{
    struct net_client *c = client_of(of_env(e)->net, conn);

    if (c != NULL) {
        c->reading = on;
    }
}

static void env_log(struct env *e, enum log_level level, const char *line)
{
    struct net_node *n = of_env(e);
    struct net *net = n->net;

    if (net->trace) {
        printf("[%9.3f] %u %d %s\n", (double)net->now_us / 1e3, n->id, (int)level,
               line);
    }
    snprintf(net->lines[net->lines_count++ % NET_LOG_LINES], sizeof(net->lines[0]),
             "%s", line);
}

static void env_halt(struct env *e, int code, const char *why)
{
    struct net_node *n = of_env(e);

    n->halt_code = code;
    snprintf(n->halt_text, sizeof(n->halt_text), "%s", why);
    if (n->net->trace) {
        printf("[%9.3f] %u HALT %s\n", (double)n->net->now_us / 1e3, n->id, why);
    }
}

static const struct env_ops net_ops = {
    .now_ms = env_now_ms,
    .now_us = env_now_us,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .disk_submit = env_disk_submit,
    .link_dial = env_link_dial,
    .link_send = env_link_send,
    .link_queued = env_link_queued,
    .link_close = env_link_close,
    .conn_send = env_conn_send,
    .conn_queued = env_conn_queued,
    .conn_close = env_conn_close,
    .conn_read = env_conn_read,
    .log = env_log,
    .halt = env_halt,
};

/* ---- life ---- */

static void config_make(struct net *net, const struct net_options *o, uint32_t id)
{
    struct net_node *n = &net->nodes[id];
    uint32_t i;

    node_config_init(&n->config);
    n->config.id = id;
    n->config.groups = o->groups;
    n->config.replicas = o->replicas;
    n->config.scrub_bytes_per_s = 1 << 20;
    n->config.nodes_count = o->nodes;
    for (i = 0; i < o->nodes; i++) {
        struct node_address *a = &n->config.nodes[i];

        a->id = i + 1;
        snprintf(a->host, sizeof(a->host), "node%u", i + 1);
        a->client_port = (uint16_t)(NET_CLIENT_PORT + i + 1);
        a->peer_port = (uint16_t)(NET_PEER_PORT + i + 1);
    }
    if (o->zones[id] != NULL) {
        snprintf(n->config.zone, sizeof(n->config.zone), "%s", o->zones[id]);
    }
    n->config.memory_bytes_max = (size_t)64 * 1024 * 1024;
}

struct net *net_new(const struct net_options *o)
{
    struct net *net = kv_mem_zalloc(sizeof(*net));
    uint32_t id;

    KV_ASSERT(net != NULL && o->nodes <= NET_NODES_MAX);
    net->lines = kv_mem_zalloc(NET_LOG_LINES * sizeof(net->lines[0]));
    KV_ASSERT(net->lines != NULL);
    net->trace = getenv("NET_TRACE") != NULL;
    net->now_us = 1000000;
    net->delay_us = 200;
    net->disk_us = 300;
    net->nodes_count = o->nodes;
    prng_init(&net->prng, 42);
    for (id = 1; id <= o->nodes; id++) {
        struct net_node *n = &net->nodes[id];

        n->env.ops = &net_ops;
        n->net = net;
        n->id = id;
        n->fresh = true;
        config_make(net, o, id);
        KV_ASSERT(mem_store_new(1000 + id, &n->store) == 0);
    }
    return net;
}

void net_free(struct net *net)
{
    uint32_t i;

    for (i = 1; i <= net->nodes_count; i++) {
        net_kill(net, i);
        mem_store_free(net->nodes[i].store);
    }
    while (net->heap_count > 0) {
        struct net_event ev = pop(net);

        kv_mem_free(ev.data);
    }
    for (i = 0; i < NET_CLIENTS_MAX; i++) {
        if (net->clients[i].used) {
            buf_close(&net->clients[i].in);
        }
    }
    for (i = 0; i < net->links_count; i++) {
        buf_close(&net->links[i].raw);
    }
    kv_mem_free(net->heap);
    kv_mem_free(net->lines);
    kv_mem_free(net);
}

int net_start(struct net *net, uint32_t id)
{
    struct net_node *n = &net->nodes[id];
    int rc;

    KV_ASSERT(!n->up);
    n->life++;
    n->halt_code = 0;
    if (!n->fresh) {
        KV_ASSERT(mem_store_reopen(n->store) == 0);
    }
    n->fresh = false;
    rc = node_new(&n->config, &n->env, mem_store_base(n->store), &n->node,
                  n->error_text, sizeof(n->error_text));
    n->up = rc == 0;
    return rc;
}

void net_start_all(struct net *net)
{
    uint32_t id;

    for (id = 1; id <= net->nodes_count; id++) {
        if (!net->nodes[id].up) {
            KV_ASSERT(net_start(net, id) == 0);
        }
    }
}

void net_kill(struct net *net, uint32_t id)
{
    struct net_node *n = &net->nodes[id];
    uint32_t i;

    if (!n->up) {
        return;
    }
    n->up = false;
    n->life++;
    memset(n->running, 0, sizeof(n->running));
    memset(n->queue, 0, sizeof(n->queue));
    for (i = 0; i < net->links_count; i++) {
        struct net_link *l = &net->links[i];

        if (l->open && l->owner == id) {
            l->open = false;
            if (l->other != 0) {
                end_close(net, l->other, false);
            }
        }
    }
    for (i = 0; i < NET_CLIENTS_MAX; i++) {
        if (net->clients[i].used && net->clients[i].node == id) {
            net->clients[i].open = false;
        }
    }
    node_free(n->node);
    n->node = NULL;
}

void net_wipe(struct net *net, uint32_t id)
{
    struct net_node *n = &net->nodes[id];

    KV_ASSERT(!n->up);
    mem_store_wipe(n->store, prng_next(&net->prng) | 1);
    n->fresh = true;
}

void net_cut(struct net *net, uint32_t a, uint32_t b, bool cut)
{
    net->cut[a][b] = cut;
    net->cut[b][a] = cut;
}

void net_isolate(struct net *net, uint32_t id, bool cut)
{
    uint32_t i;

    for (i = 1; i <= net->nodes_count; i++) {
        if (i != id) {
            net_cut(net, id, i, cut);
        }
    }
}

uint64_t net_raw_open(struct net *net, uint32_t node)
{
    uint64_t id = link_new(net, node, 0, 0);

    node_link_open(net->nodes[node].node, id, false);
    node_turn_end(net->nodes[node].node);
    return id;
}

void net_raw_send(struct net *net, uint64_t link, struct kv_bytes bytes)
{
    struct net_link *l = link_at(net, link);
    struct net_node *n = &net->nodes[l->owner];

    if (l->open && n->up && l->life == n->life) {
        push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                     .kind = NET_LINK_DATA,
                                     .node = l->owner,
                                     .id = link,
                                     .data = copy(bytes),
                                     .len = bytes.len});
    }
}

struct kv_bytes net_raw_received(struct net *net, uint64_t link, bool *out_open)
{
    struct net_link *l = link_at(net, link);

    *out_open = l->open;
    return buf_bytes(&l->raw);
}

/* ---- time ---- */

static void connect_done(struct net *net, const struct net_event *ev)
{
    struct net_link *l = link_at(net, ev->id);
    struct net_node *to = &net->nodes[ev->node];

    if (!l->open) {
        return;
    }
    if (!to->up) {
        end_close(net, ev->id, true);
        return;
    }
    if (net->cut[l->owner][ev->node]) {
        return; /* The dial hangs. */
    }
    l->other = link_new(net, ev->node, l->owner, ev->id);
    push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                 .kind = NET_LINK_OPEN,
                                 .node = l->owner,
                                 .life = l->life,
                                 .id = ev->id});
    node_link_open(to->node, l->other, false);
}

static void job_done(struct net_node *n, struct disk_job *job)
{
    enum disk_lane lane = disk_job_lane(job->kind);

    KV_ASSERT(n->running[lane] == job);
    disk_job_run(job);
    n->running[lane] = NULL;
    job_start(n, lane);
    job->done_us = n->net->now_us;
    node_disk_done(n->node, job);
}

static void client_event(struct net *net, const struct net_event *ev)
{
    struct net_client *c = client_of(net, ev->id);

    if (c == NULL) {
        return;
    }
    if (ev->kind == NET_CLIENT_CLOSED) {
        c->open = false;
    } else {
        buf_append(&c->in, ev->data, ev->len);
    }
}

static void node_event(struct net *net, const struct net_event *ev)
{
    struct net_node *n = &net->nodes[ev->node];

    switch ((enum net_kind)ev->kind) {
    case NET_LINK_OPEN:
        if (link_at(net, ev->id)->open) {
            node_link_open(n->node, ev->id, true);
        }
        break;
    case NET_LINK_DATA:
        if (link_at(net, ev->id)->open) {
            node_link_data(n->node, ev->id, ev->data, ev->len);
        }
        break;
    case NET_LINK_CLOSED:
        if (link_at(net, ev->id)->open) {
            link_at(net, ev->id)->open = false;
            node_link_closed(n->node, ev->id, ev->flag);
        }
        break;
    case NET_CONN_DATA:
        node_conn_data(n->node, ev->id, ev->data, ev->len);
        break;
    case NET_CONN_CLOSED:
        node_conn_closed(n->node, ev->id);
        break;
    case NET_JOB_DONE:
        job_done(n, ev->job);
        break;
    default:
        KV_UNREACHABLE();
    }
}

static void handle(struct net *net, struct net_event *ev)
{
    struct net_node *n = &net->nodes[ev->node];

    net->events++;
    if (ev->kind == NET_CLIENT_DATA || ev->kind == NET_CLIENT_CLOSED) {
        client_event(net, ev);
    } else if (ev->kind == NET_LINK_CONNECT) {
        connect_done(net, ev);
        if (n->up) {
            node_turn_end(n->node);
        }
    } else if (n->up && (ev->life == 0 || ev->life == n->life) && n->halt_code == 0) {
        node_event(net, ev);
        node_turn_end(n->node);
    }
    if (n->up && n->halt_code != 0) {
        int code = n->halt_code;

        net_kill(net, n->id);
        n->halt_code = code;
    }
    kv_mem_free(ev->data);
}

/* The node whose timer is next, and when; 0 when none. */
static uint32_t next_timer(struct net *net, uint64_t *out_us)
{
    uint32_t best = 0, id;

    *out_us = UINT64_MAX;
    for (id = 1; id <= net->nodes_count; id++) {
        uint64_t ms;

        if (!net->nodes[id].up) {
            continue;
        }
        ms = node_deadline_ms(net->nodes[id].node);
        if (ms < UINT64_MAX / 1000 && ms * 1000 < *out_us) {
            *out_us = ms * 1000;
            best = id;
        }
    }
    return best;
}

/* One event or timer not later than end_us; false when there is none. */
static bool step(struct net *net, uint64_t end_us)
{
    uint64_t timer_us;
    uint32_t id = next_timer(net, &timer_us);

    timer_us = KV_MAX(timer_us, net->now_us);
    if (net->heap_count > 0 && net->heap[0].at_us <= timer_us) {
        struct net_event ev;

        if (net->heap[0].at_us > end_us) {
            return false;
        }
        ev = pop(net);
        net->now_us = KV_MAX(net->now_us, ev.at_us);
        handle(net, &ev);
        return true;
    }
    if (id == 0 || timer_us > end_us) {
        return false;
    }
    net->now_us = timer_us;
    net->events++;
    node_tick(net->nodes[id].node);
    node_turn_end(net->nodes[id].node);
    KV_ASSERT(net->events < 500000000);
    return true;
}

void net_run_ms(struct net *net, uint64_t ms)
{
    uint64_t end_us = net->now_us + ms * 1000;

    while (step(net, end_us)) {
    }
    net->now_us = end_us;
}

bool net_run_until(struct net *net, bool (*done)(struct net *net, void *ctx), void *ctx,
                   uint64_t max_ms)
{
    uint64_t end_us = net->now_us + max_ms * 1000;

    while (!done(net, ctx)) {
        if (!step(net, end_us)) {
            net->now_us = end_us;
            return done(net, ctx);
        }
    }
    return true;
}

bool net_is_ready(struct net *net, void *ctx)
{
    uint32_t id, g;

    (void)ctx;
    for (id = 1; id <= net->nodes_count; id++) {
        const struct node *n = net->nodes[id].node;

        if (!net->nodes[id].up) {
            continue;
        }
        if (!n->map_known) {
            return false;
        }
        for (g = 1; g <= n->map.groups_count; g++) {
            if (router_leader(n, g) == 0 || net_leader(net, g) != router_leader(n, g)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- clients ---- */

struct net_client *net_connect(struct net *net, uint32_t node)
{
    struct net_client *c = NULL;
    uint32_t i;

    for (i = 0; i < NET_CLIENTS_MAX && c == NULL; i++) {
        c = net->clients[i].used ? NULL : &net->clients[i];
    }
    KV_ASSERT(c != NULL);
    if (!net->nodes[node].up ||
        !node_conn_open(net->nodes[node].node, net->conn_id + 1)) {
        return NULL;
    }
    *c = (struct net_client){.used = true, .open = true, .reading = true, .node = node};
    c->conn = ++net->conn_id;
    buf_init(&c->in, (size_t)64 * 1024 * 1024);
    return c;
}

void net_disconnect(struct net *net, struct net_client *c)
{
    if (c->open) {
        push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                     .kind = NET_CONN_CLOSED,
                                     .node = c->node,
                                     .life = net->nodes[c->node].life,
                                     .id = c->conn});
    }
    buf_close(&c->in);
    c->used = false;
}

void net_send(struct net *net, struct net_client *c, const void *data, size_t len)
{
    push(net, (struct net_event){.at_us = net->now_us + net->delay_us,
                                 .kind = NET_CONN_DATA,
                                 .node = c->node,
                                 .life = net->nodes[c->node].life,
                                 .id = c->conn,
                                 .data = copy(kv_bytes(data, len)),
                                 .len = len});
}

uint32_t net_ask(struct net *net, struct net_client *c, struct rpc_request *q)
{
    struct buf b;

    q->msgid = ++c->msgid;
    buf_init(&b, KV_REQUEST_BYTES_MAX);
    rpc_request_encode(&b, q);
    KV_ASSERT(b.error == 0);
    net_send(net, c, b.data, b.len);
    buf_close(&b);
    return q->msgid;
}

void net_stall(struct net_client *c, bool stalled)
{
    c->stalled = stalled;
    if (!stalled) {
        c->queued = 0;
    }
}

bool net_take(struct net_client *c, struct kv_bytes *out)
{
    struct scan scan;
    size_t used;

    scan_init(&scan, &scan_limits_response);
    if (c->at == c->in.len ||
        scan_feed(&scan, c->in.data + c->at, c->in.len - c->at, &used) != 0) {
        return false;
    }
    *out = kv_bytes(c->in.data + c->at, used);
    c->at += used;
    return true;
}

static bool has_answer(struct net *net, void *ctx)
{
    struct net_client *c = ctx;
    struct net_client look = *c;
    struct kv_bytes message;

    (void)net;
    return !c->open || net_take(&look, &message);
}

int net_call(struct net *net, struct net_client *c, struct rpc_request *q,
             struct rpc_decoder *d, struct rpc_reply *out)
{
    struct kv_bytes message;

    (void)net_ask(net, c, q);
    if (!net_run_until(net, has_answer, c, 70000)) {
        return KV_ETIMEOUT;
    }
    if (!net_take(c, &message)) {
        return KV_ECLOSED;
    }
    return rpc_reply_decode(d, message, q->method, out);
}

static int call_once(struct net *net, uint32_t node, struct rpc_request *q, char *value,
                     bool *out_found)
{
    struct net_client *c = net_connect(net, node);
    struct rpc_decoder d;
    struct rpc_reply reply;
    int rc;

    if (c == NULL) {
        return KV_ECLOSED;
    }
    KV_ASSERT(rpc_decoder_init(&d) == 0);
    rc = net_call(net, c, q, &d, &reply);
    if (rc == 0) {
        rc = reply.error;
        if (net->trace && rc != 0) {
            printf("          reply %.*s\n", (int)reply.error_text.len,
                   (const char *)reply.error_text.data);
        }
    }
    if (rc == 0 && value != NULL) {
        *out_found = reply.found;
        KV_ASSERT(reply.value.len < 64);
        if (reply.value.len > 0) {
            memcpy(value, reply.value.data, reply.value.len);
        }
        value[reply.value.len] = '\0';
    }
    rpc_decoder_close(&d);
    net_disconnect(net, c);
    return rc;
}

int net_put(struct net *net, uint32_t node, const char *key, const char *value)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_PUT, 0);
    q.key = kv_bytes_str(key);
    q.value = kv_bytes_str(value);
    return call_once(net, node, &q, NULL, NULL);
}

int net_get(struct net *net, uint32_t node, const char *key, bool *out_found,
            char *value)
{
    struct rpc_request q;

    rpc_request_init(&q, RPC_KV_GET, 0);
    q.key = kv_bytes_str(key);
    return call_once(net, node, &q, value, out_found);
}

/* ---- looking in ---- */

uint32_t net_leader(struct net *net, uint32_t group)
{
    uint32_t leader = 0, id;
    raft_term term = 0;

    for (id = 1; id <= net->nodes_count; id++) {
        struct group *g =
            net->nodes[id].up ? node_group(net->nodes[id].node, group) : NULL;
        struct raft_status status;

        if (g == NULL || !group_is_leader(g)) {
            continue;
        }
        group_raft_status(g, &status);
        if (status.term > term) {
            term = status.term;
            leader = id;
        }
    }
    return leader;
}

uint32_t net_lines(const struct net *net, const char *part)
{
    uint32_t count = 0, i;

    for (i = 0; i < KV_MIN(net->lines_count, (uint32_t)NET_LOG_LINES); i++) {
        count += strstr(net->lines[i], part) != NULL ? 1 : 0;
    }
    return count;
}
