/* client/route.c - where a request goes: the map by epoch, leaders by hearsay.
 *
 * Nothing here is needed for a right answer: any node forwards. A wrong guess costs a
 * hop, so guesses are taken from every reply and dropped at the first doubt.
 */
#include "client/client.h"

#include <stdlib.h>

enum {
    FETCH_FIRST_MS = 100, /* Between two fetches; doubles with each failure, */
    FETCH_MAX_MS = 5000,  /* up to this; then jitter over all of it. */
    SCRATCH_BYTES_MAX = 8 * 1024 * 1024,
};

/* ---- life ---- */

void kv_route_init(struct kv_client *c)
{
    arena_init(&c->route.scratch, 160 * 1024, SCRATCH_BYTES_MAX);
}

void kv_route_close(struct kv_client *c)
{
    arena_close(&c->route.scratch);
    kv_mem_free(c->route.map);
    c->route.map = NULL;
}

/* ---- the map ---- */

/* The place of a node in the map, UINT32_MAX when it has none. */
static uint32_t node_place(const struct kv_route *r, uint32_t node)
{
    const struct map_node *found =
        r->map != NULL && node != 0 ? map_node_find(r->map, node) : NULL;

    return found == NULL ? UINT32_MAX : (uint32_t)(found - r->map->nodes);
}

/* The place of a group in the map, UINT32_MAX when it has none. */
static uint32_t group_place(const struct kv_route *r, uint32_t group)
{
    const struct map_group *found = r->map != NULL && group < RING_NO_GROUP
                                        ? map_group_find(r->map, (uint16_t)group)
                                        : NULL;

    return found == NULL ? UINT32_MAX : (uint32_t)(found - r->map->groups);
}

/* Whether the request belongs to one group by its key. */
static bool has_one_key(const struct kv_call *call)
{
    switch (call->request.method) {
    case RPC_KV_GET:
    case RPC_KV_PUT:
    case RPC_KV_DEL:
    case RPC_KV_CAS:
    case RPC_KV_INCR:
    case RPC_KV_GETSET:
    case RPC_KV_WATCH: /* Of a range: only a guess, any node may serve it. */
    case RPC_KV_TXN:   /* The key is the first of all, which share a slot. */
        return true;
    default:
        return false;
    }
}

/* Makes the connections of the map's nodes; those of nodes that left are retired. */
static void conns_follow_map(struct kv_client *c)
{
    struct kv_route *r = &c->route;

    for (uint32_t i = 0; i < c->conns_count; i++) {
        c->conns[i]->is_retired = !c->conns[i]->is_endpoint;
    }
    memset(r->conns, 0, sizeof r->conns);
    for (uint32_t i = 0; i < r->map->nodes_count; i++) {
        const struct map_node *node = &r->map->nodes[i];

        if (node->client_port != 0) {
            r->conns[i] = kv_client_conn(c, node->host, node->client_port);
        }
    }
    for (uint32_t i = 0; i < c->conns_count; i++) {
        kv_conn_settle(c->conns[i]);
    }
}

/* A second connection, even if one node leads all that is asked for: from a node that
 * is silent nobody would hear who leads instead. */
static void standby_wake(struct kv_client *c)
{
    uint32_t live = 0;

    for (uint32_t i = 0; i < c->conns_count; i++) {
        live += c->conns[i]->state != CONN_IDLE && c->conns[i]->state != CONN_CLOSING;
    }
    for (uint32_t i = 0; i < c->conns_count && live < 2; i++) {
        if (c->conns[i]->state == CONN_IDLE && !c->conns[i]->is_retired) {
            kv_conn_wake(c->conns[i]);
            live++;
        }
    }
}

/* Takes a reply of cluster.map, unless it is older than what is known. */
static void map_install(struct kv_client *c, const struct rpc_reply *reply)
{
    struct kv_route *r = &c->route;
    struct map *map = kv_mem_zalloc(sizeof *map);
    int rc = KV_ENOMEM;

    if (map != NULL) {
        rc = map_decode_reply(reply->result, &r->scratch, map);
        arena_reset(&r->scratch);
    }
    if (rc != 0 || (r->map != NULL && map->epoch < r->map->epoch)) {
        kv_client_log(c, KV_LOG_DEBUG, "map not taken: %s",
                      rc != 0 ? kv_err_text(rc) : "older than ours");
        kv_mem_free(map);
        return;
    }
    if (r->map == NULL || map->epoch != r->map->epoch) {
        kv_client_log(c, KV_LOG_DEBUG, "map of epoch %llu: %u nodes, %u groups",
                      (unsigned long long)map->epoch, map->nodes_count,
                      map->groups_count);
    }
    kv_mem_free(r->map);
    r->map = map;
    r->is_stale = false;
    memset(r->leaders, 0, sizeof r->leaders);
    memset(r->terms, 0, sizeof r->terms);
    for (uint32_t i = 0; i < map->groups_count && i < reply->leaders.count; i++) {
        r->leaders[i] = rpc_reply_leader_get(reply, i);
    }
    conns_follow_map(c);
    standby_wake(c);
}

/* The fetch has ended. */
static void on_map(struct kv_client *c, const struct kv_call *call,
                   const struct rpc_reply *reply)
{
    struct kv_route *r = &c->route;
    uint32_t doublings;
    uint64_t top;

    KV_ASSERT(r->fetch == call);
    r->fetch = NULL;
    if (reply != NULL) {
        map_install(c, reply);
    }
    r->fetch_failures = reply != NULL && !r->is_stale ? 0 : r->fetch_failures + 1;
    doublings = KV_MIN(r->fetch_failures, 8);
    top = KV_MIN((uint64_t)FETCH_FIRST_MS << doublings, FETCH_MAX_MS);
    r->fetch_at = kv_client_now(c) + prng_between(&c->prng, FETCH_FIRST_MS / 2, top);
}

void kv_route_refresh(struct kv_client *c)
{
    struct kv_route *r = &c->route;
    struct kv_call_spec spec = {.method = RPC_CLUSTER_MAP, .hook = on_map};

    if (c->options.routing != KV_ROUTE_LEADER || c->state != CLIENT_OPEN ||
        r->fetch != NULL || (r->map != NULL && !r->is_stale) ||
        kv_client_now(c) < r->fetch_at) {
        return;
    }
    if (kv_call_begin(c, &spec, &r->fetch) != 0) {
        r->fetch = NULL;
        r->fetch_at = kv_client_now(c) + FETCH_FIRST_MS;
    }
}

/* ---- choosing ---- */

/* Calls may be given to it now. */
static bool is_usable(const struct kv_conn *conn, uint64_t now)
{
    return conn->state == CONN_OPEN ? !conn->is_suspect : now >= conn->retry_at;
}

/* The connection to the leader of the key's group, NULL when that is not known. */
static struct kv_conn *leader_conn(struct kv_client *c, const struct kv_call *call)
{
    struct kv_route *r = &c->route;
    uint32_t group;
    uint32_t node;

    /* Other levels ask no leader: any node will do. */
    if (c->options.routing != KV_ROUTE_LEADER || r->map == NULL || !has_one_key(call) ||
        call->request.options.level != RPC_LINEARIZABLE) {
        return NULL;
    }
    group = group_place(r, map_group_for_key(r->map, call->request.key));
    node = group == UINT32_MAX ? UINT32_MAX : node_place(r, r->leaders[group]);
    return node == UINT32_MAX ? NULL : r->conns[node];
}

/* How many connections may be asked: all, or only the user's endpoints. */
static uint32_t candidates_count(const struct kv_client *c)
{
    return c->options.routing == KV_ROUTE_LEADER ? c->conns_count : c->endpoints_count;
}

/* The i-th to be asked: the endpoints from the cursor on, then the others. */
static struct kv_conn *candidate(const struct kv_client *c, uint32_t i)
{
    return i < c->endpoints_count ? c->conns[(c->cursor + i) % c->endpoints_count]
                                  : c->conns[i];
}

bool kv_route_has_choice(const struct kv_client *c)
{
    return candidates_count(c) > 1;
}

struct kv_conn *kv_route_pick(struct kv_client *c, const struct kv_call *call,
                              uint64_t *out_wait_ms)
{
    uint64_t now = kv_client_now(c);
    uint64_t soonest = UINT64_MAX;
    struct kv_conn *idle = NULL;
    struct kv_conn *conn = call->hint;

    if (conn != NULL && is_usable(conn, now)) {
        return conn;
    }
    conn = leader_conn(c, call);
    if (conn != NULL && conn != call->avoid && is_usable(conn, now)) {
        return conn;
    }
    for (uint32_t i = 0; i < candidates_count(c); i++) {
        conn = candidate(c, i);
        if (conn->is_retired) {
            continue;
        }
        if (!is_usable(conn, now)) {
            soonest = KV_MIN(soonest, conn->state == CONN_OPEN ? now : conn->retry_at);
        } else if (conn != call->avoid && conn->state == CONN_OPEN) {
            return conn;
        } else if (conn != call->avoid && idle == NULL) {
            idle = conn;
        }
    }
    if (idle != NULL) {
        return idle;
    }
    if (call->avoid != NULL && !call->avoid->is_retired &&
        is_usable(call->avoid, now)) {
        return call->avoid;
    }
    *out_wait_ms = soonest > now && soonest != UINT64_MAX ? soonest - now : 1;
    return NULL;
}

/* ---- learning ---- */

void kv_route_learn(struct kv_client *c, const struct kv_call *call,
                    const struct rpc_reply *reply)
{
    struct kv_route *r = &c->route;
    uint32_t group;

    if (r->map == NULL || reply->error != 0) {
        return;
    }
    if (reply->epoch > r->map->epoch) {
        r->is_stale = true;
    }
    if (!has_one_key(call) || reply->ats.count == 0 ||
        reply->at.level != RPC_LINEARIZABLE) {
        return;
    }
    if (map_group_for_key(r->map, call->request.key) != reply->at.group) {
        r->is_stale = true; /* The slot has moved. */
        return;
    }
    group = group_place(r, reply->at.group);
    if (group != UINT32_MAX && reply->at.term >= r->terms[group] &&
        (call->is_write || r->leaders[group] == 0)) {
        r->leaders[group] = reply->at.node;
    }
}

/* Calls that wait for a node which does not lead their group any more. */
static void calls_outdate(struct kv_client *c, uint32_t group,
                          const struct kv_conn *leader)
{
    for (uint32_t i = 0; i < c->conns_count; i++) {
        struct kv_conn *conn = c->conns[i];
        struct call_link *at = &conn->sent;

        while (conn != leader && (at = at->next) != &conn->sent) {
            struct kv_call *call = (struct kv_call *)at;

            if (has_one_key(call) && call->request.method != RPC_KV_WATCH &&
                call->request.options.level == RPC_LINEARIZABLE &&
                map_group_for_key(c->route.map, call->request.key) == group) {
                kv_call_outdated(call);
            }
        }
    }
}

int kv_route_news(struct kv_client *c, struct kv_bytes message)
{
    struct kv_route *r = &c->route;
    struct rpc_list leaders;
    int rc = rpc_leaders_decode(&c->decoder, message, &leaders);

    for (uint32_t i = 0; rc == 0 && i < leaders.count; i++) {
        struct rpc_leader leader;
        uint32_t group;
        uint32_t node;

        rpc_leader_get(&leaders, i, &leader);
        group = group_place(r, leader.group);
        node = node_place(r, leader.node);
        if (group == UINT32_MAX || node == UINT32_MAX ||
            leader.term <= r->terms[group]) {
            continue;
        }
        r->terms[group] = leader.term;
        r->leaders[group] = leader.node;
        if (r->conns[node] != NULL) {
            calls_outdate(c, leader.group, r->conns[node]);
        }
    }
    return rc;
}

struct kv_conn *kv_route_hint(struct kv_client *c, struct kv_bytes detail)
{
    char host[CLIENT_NAME_MAX];
    const char *text = (const char *)detail.data;
    struct kv_conn *conn;
    size_t len = 0;
    uint32_t port;

    while (len < detail.len && text[len] != ' ' && text[len] != ',') {
        len++;
    }
    port = len == 0 ? 0 : kv_client_address(text, len, host);
    if (port == 0) {
        return NULL;
    }
    if (c->options.routing == KV_ROUTE_LEADER) {
        return kv_client_conn(c, host, port);
    }
    for (uint32_t i = 0; i < c->endpoints_count; i++) {
        conn = c->conns[i];
        if (strcmp(conn->host, host) == 0 &&
            (uint32_t)strtoul(conn->port, NULL, 10) == port) {
            return conn;
        }
    }
    return NULL;
}

void kv_route_doubt(struct kv_client *c, const struct kv_conn *conn)
{
    struct kv_route *r = &c->route;

    if (r->map == NULL) {
        return;
    }
    r->is_stale = true;
    for (uint32_t i = 0; i < r->map->groups_count; i++) {
        uint32_t node = node_place(r, r->leaders[i]);

        if (node != UINT32_MAX && r->conns[node] == conn) {
            r->leaders[i] = 0;
        }
    }
}
