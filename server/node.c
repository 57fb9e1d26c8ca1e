/* server/node.c - a node's life, its events, and the end of a turn. */
#include "server/node.h"

#include <stdio.h>

#include "raft/base/err.h"
#include "server/balance.h"
#include "server/conn.h"
#include "server/meta.h"
#include "server/metrics.h"
#include "server/news.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/quorum.h"
#include "server/range.h"
#include "server/router.h"
#include "server/upkeep.h"
#include "server/watch.h"
#include "storage/failpoint.h"

/* ---- configuration ---- */

void node_config_init(struct node_config *c)
{
    *c = (struct node_config){
        .groups = 8,
        .replicas = 3,
        .vnodes = KV_VNODES_DEFAULT,
        .max_connections = KV_CONNECTIONS_DEFAULT,
        .election_timeout_ms = 150,
        .heartbeat_ms = 50,
        .log_window = 32768,
        .log_bytes_max = (uint64_t)128 * 1024 * 1024,
        .memory_bytes_max = (size_t)256 * 1024 * 1024,
        .delta_bytes_max = (size_t)16 * 1024 * 1024,
        .history_bytes_max = (size_t)8 * 1024 * 1024,
        .checkpoint_ms_max = 30000,
        .scrub_bytes_per_s = (uint64_t)8 * 1024 * 1024,
        .request_deadline_ms = 5000,
        .requests_max = 65536,
        .waiting_max = 8192,
    };
    group_limits_init(&c->limits);
}

static const char *config_wrong_node(const struct node_config *c)
{
    bool found = false;
    uint32_t i;

    if (c->nodes_count < 1 || c->nodes_count > NODE_NODES_MAX) {
        return "initial-cluster must name 1 to 16 nodes";
    }
    for (i = 0; i < c->nodes_count; i++) {
        if (c->nodes[i].id == 0 || c->nodes[i].host[0] == '\0') {
            return "initial-cluster: every node needs an id from 1 on and a host";
        }
        if (i > 0 && c->nodes[i].id <= c->nodes[i - 1].id) {
            return "initial-cluster: ids must be different and ascend";
        }
        found = found || c->nodes[i].id == c->id;
    }
    return found ? NULL : "initial-cluster does not name this node's id";
}

static const char *config_wrong(const struct node_config *c)
{
    if (c->vnodes < 1 || c->vnodes > KV_VNODES_MAX) {
        return "vnodes must be 1 to 4096";
    }
    if (c->groups < 1 || c->groups >= KV_GROUPS_MAX) {
        return "groups must be 1 to 1023";
    }
    if (c->replicas < 1 || c->replicas > KV_REPLICAS_MAX) {
        return "replicas must be 1 to 7";
    }
    if (c->max_connections < 1 || c->max_connections > KV_CONNECTIONS_MAX) {
        return "max-connections must be 1 to 65536";
    }
    if (c->heartbeat_ms < 1 || c->election_timeout_ms < 2 * c->heartbeat_ms) {
        return "the election timeout must be at least two heartbeats";
    }
    if (c->memory_bytes_max < (size_t)16 * 1024 * 1024) {
        return "memory must be at least 16 MiB";
    }
    if (c->request_deadline_ms < 1 || c->request_deadline_ms > NODE_DEADLINE_MS_MAX) {
        return "the request deadline must be 1 to 60000 ms";
    }
    return config_wrong_node(c);
}

/* ---- life ---- */

/* Everything but groups. After an error node_free() cleans up. */
static int parts_new(struct node *n)
{
    size_t memory = n->config.memory_bytes_max;
    int rc;

    n->groups_cap = KV_GROUPS_MAX;
    n->groups = kv_mem_zalloc(n->groups_cap * sizeof(struct group *));
    n->timers = kv_mem_zalloc(sizeof(*n->timers));
    if (n->groups == NULL || n->timers == NULL) {
        return KV_ENOMEM;
    }
    timers_init(n->timers, KV_GROUPS_MAX);
    rc = rpc_decoder_init(&n->decoder);
    if (rc != 0) {
        return rc;
    }
    n->decoder_open = true;
    /* A half for requests, a quarter for clients' buffers; the rest is left to peers'
     * queues and ranges, which have bounds of their own. */
    rc = request_pool_new(n, n->config.requests_max, memory / 2, &n->requests);
    rc = rc != 0 ? rc : metrics_new(&n->metrics);
    rc = rc != 0 ? rc : disk_new(n, n->env, n->store, &n->disk);
    rc = rc != 0 ? rc : conns_new(n, n->config.max_connections, memory / 4, &n->conns);
    rc = rc != 0 ? rc : peers_new(n, &n->peers);
    rc = rc != 0 ? rc : router_new(n, n->config.requests_max, &n->router);
    rc = rc != 0 ? rc : ranges_new(n, memory / 8, &n->ranges);
    rc = rc != 0 ? rc : quorums_new(&n->quorums);
    rc = rc != 0 ? rc : watches_new(n, memory / 8, &n->watches);
    rc = rc != 0 ? rc : news_new(n, n->config.max_connections, &n->news);
    rc = rc != 0 ? rc : balance_new(&n->balance);
    rc = rc != 0 ? rc : upkeep_new(n, &n->upkeep);
    rc = rc != 0 ? rc : meta_new(n, &n->meta);
    return rc;
}

/* Takes the identity from the directory. Writes a line on what is wrong. */
static int identity_take(struct node *n, char *error_text, size_t error_bytes)
{
    int rc = n->store->ops->identity_load(n->store, &n->identity);

    if (rc != 0) {
        snprintf(error_text, error_bytes, "the node's identity cannot be read: %s",
                 kv_err_text(rc));
        return rc;
    }
    if (n->identity.node != 0 && n->identity.node != n->config.id) {
        snprintf(error_text, error_bytes,
                 "this data directory belongs to node %u, not to node %u; "
                 "give each node its own --data-dir",
                 n->identity.node, n->config.id);
        return KV_ELOST;
    }
    return 0;
}

int node_new(const struct node_config *c, struct env *env, struct store *store,
             struct node **out, char *error_text, size_t error_bytes)
{
    const char *wrong = config_wrong(c);
    struct node *n;
    int rc;

    if (wrong != NULL) {
        snprintf(error_text, error_bytes, "%s", wrong);
        return KV_EINVAL;
    }
    n = kv_mem_zalloc(sizeof(*n));
    if (n == NULL) {
        snprintf(error_text, error_bytes, "out of memory");
        return KV_ENOMEM;
    }
    n->magic = NODE_MAGIC;
    n->phase = NODE_FORMING;
    n->config = *c;
    n->env = env;
    n->store = store;
    n->now_ms = env->ops->now_ms(env);
    n->start_ms = n->now_ms;
    n->boot_nonce = env->ops->random(env) | 1;
    rc = identity_take(n, error_text, error_bytes);
    if (rc == 0) {
        snprintf(error_text, error_bytes, "out of memory");
        rc = parts_new(n);
    }
    if (rc == 0) {
        rc = meta_start(n);
        snprintf(error_text, error_bytes, "the stored groups cannot be opened: %s",
                 kv_err_text(rc));
    }
    if (rc != 0) {
        node_free(n);
        return rc;
    }
    error_text[0] = '\0';
    (void)KV_FAILPOINT(node_start);
    *out = n;
    return 0;
}

void node_free(struct node *n)
{
    if (n == NULL) {
        return;
    }
    KV_ASSERT(n->magic == NODE_MAGIC);
    n->phase = NODE_HALTED;
    if (n->groups != NULL) {
        node_groups_close(n);
    }
    router_free(n->router);
    quorums_free(n->quorums);
    ranges_free(n->ranges);
    meta_free(n->meta);
    upkeep_free(n->upkeep);
    balance_free(n->balance);
    peers_free(n->peers);
    conns_free(n->conns);
    watches_free(n->watches);
    news_free(n->news);
    disk_free(n->disk);
    metrics_free(n->metrics);
    request_pool_free(n->requests);
    if (n->decoder_open) {
        rpc_decoder_close(&n->decoder);
    }
    kv_mem_free(n->timers);
    kv_mem_free(n->groups);
    n->magic = 0;
    kv_mem_free(n);
}

/* ---- events ---- */

/* Every event begins here. False when the node is halted and nothing counts. */
static bool node_event_begin(struct node *n)
{
    uint64_t now = n->env->ops->now_ms(n->env);

    KV_ASSERT(n->magic == NODE_MAGIC && !n->in_turn_end);
    n->now_ms = KV_MAX(n->now_ms, now);
    return n->phase != NODE_HALTED;
}

void node_link_open(struct node *n, uint64_t link, bool dialed)
{
    if (node_event_begin(n)) {
        peers_link_open(n, link, dialed);
    }
}

void node_link_data(struct node *n, uint64_t link, const uint8_t *data, size_t len)
{
    if (node_event_begin(n)) {
        peers_link_data(n, link, data, len);
    }
}

void node_link_closed(struct node *n, uint64_t link, bool refused)
{
    if (node_event_begin(n)) {
        peers_link_closed(n, link, refused);
    }
}

bool node_conn_open(struct node *n, uint64_t conn)
{
    return node_event_begin(n) && conn_open(n, conn);
}

void node_conn_data(struct node *n, uint64_t conn, const uint8_t *data, size_t len)
{
    if (node_event_begin(n)) {
        conn_data(n, conn, data, len);
    }
}

void node_conn_closed(struct node *n, uint64_t conn)
{
    if (node_event_begin(n)) {
        conn_closed(n, conn);
    }
}

/* The node's own jobs; disk_done() has seen to those of groups. */
static void node_on_job(struct node *n, struct disk_job *job)
{
    if (job->kind == DISK_IDENTITY) {
        meta_on_job(n, job);
    } else if (job->kind == DISK_SWEEP || job->kind == DISK_SCRUB) {
        upkeep_on_job(n, job);
    }
}

void node_disk_done(struct node *n, struct disk_job *job)
{
    uint32_t i;

    if (!node_event_begin(n)) {
        return;
    }
    if (job->kind == DISK_LOG) {
        for (i = 0; i < job->u.log.count; i++) {
            node_group_touch(n, job->u.log.writes[i].group);
        }
    } else if (job->group < n->groups_cap) {
        node_group_touch(n, job->group);
    }
    disk_done(n->disk, job);
    if (n->phase != NODE_HALTED) {
        node_on_job(n, job);
    }
}

void node_tick(struct node *n)
{
    if (!node_event_begin(n)) {
        return;
    }
    node_groups_tick(n);
    peers_tick(n);
    router_tick(n);
    quorum_tick(n);
    watches_tick(n);
    conns_tick(n);
    meta_tick(n);
    balance_tick(n);
    upkeep_tick(n);
    if (n->phase == NODE_STOPPING) {
        node_stop_tick(n);
    }
}

uint64_t node_deadline_ms(const struct node *n)
{
    uint64_t first;
    uint32_t i;

    if (n->phase == NODE_HALTED) {
        return UINT64_MAX;
    }
    first = timers_first_ms(n->timers);
    first = KV_MIN(first, peers_deadline_ms(n->peers));
    first = KV_MIN(first, router_deadline_ms(n->router));
    first = KV_MIN(first, quorum_deadline_ms(n));
    first = KV_MIN(first, watches_deadline_ms(n));
    first = KV_MIN(first, news_deadline_ms(n));
    first = KV_MIN(first, conns_deadline_ms(n->conns));
    first = KV_MIN(first, disk_deadline_ms(n->disk));
    first = KV_MIN(first, meta_deadline_ms(n));
    first = KV_MIN(first, balance_deadline_ms(n));
    first = KV_MIN(first, upkeep_deadline_ms(n->upkeep));
    for (i = 0; i < NODE_GROUP_WORDS; i++) {
        if (n->touched[i] != 0) {
            return n->now_ms;
        }
        if (n->waiting[i] != 0) {
            first = KV_MIN(first, n->expire_next_ms);
        }
    }
    if (n->phase == NODE_STOPPING) {
        first = KV_MIN(first, n->now_ms + NODE_EXPIRE_MS);
    }
    return first;
}

/* Groups propose, read, apply and answer; what they give back is routed again; a map
 * that was applied is adopted. Bounded: what is left waits for the next turn. */
static void turn_settle(struct node *n)
{
    uint32_t pass;
    bool busy = true;

    for (pass = 0; busy && pass < NODE_PASSES_MAX && n->phase != NODE_HALTED; pass++) {
        busy = router_flush(n);
        busy = node_groups_flush(n) || busy;
        if (n->phase != NODE_HALTED) {
            busy = meta_flush(n) || busy;
        }
    }
    if (n->phase != NODE_HALTED) {
        quorum_flush(n);
    }
    node_groups_settle(n);
}

void node_turn_end(struct node *n)
{
    if (!node_event_begin(n)) {
        return;
    }
    n->in_turn_end = true;
    n->served_bytes = 0;
    conns_resume(n);
    turn_settle(n);
    if (n->phase != NODE_HALTED) {
        (void)KV_FAILPOINT(turn_disk);
        disk_flush(n->disk);
        (void)KV_FAILPOINT(turn_peers);
        peers_flush(n);
        (void)KV_FAILPOINT(turn_clients);
        watches_flush(n);
        news_flush(n);
        conns_flush(n);
        (void)KV_FAILPOINT(turn_done);
    }
    n->in_turn_end = false;
}
