/* server/meta.c - incarnations, the cluster id, the first map, and maps that follow. */
#include "server/meta.h"

#include <stdio.h>

#include "raft/base/err.h"
#include "raft/base/hash.h"
#include "rpc/buf.h"
#include "server/apply.h"
#include "server/command.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/placement.h"
#include "server/router.h"

enum {
    META_PROPOSE_MS = 500,     /* Between proposals of the first map. */
    META_ZONES_MS = 15 * 1000, /* The leader waits so long for every node's zone. */
    META_TELL_MS = 10 * 1000,  /* Between lines on what a forming node waits for. */
};

struct meta {
    uint64_t cluster;             /* Stored, or made from the configuration. */
    struct store_identity wanted; /* What is to be stored; identity is what is. */
    bool wanted_dirty;
    bool job_running;
    struct disk_job job;
    struct buf map; /* Encoded map that was applied and not yet adopted. */
    bool map_pending;
    uint64_t propose_ms; /* Not before. */
    uint64_t begin_ms;   /* When this node began to lead meta, or started. */
    uint64_t tell_ms;    /* When to say again what it waits for. */
    uint64_t store_ms;   /* The disk was full: not before. */
};

/* ---- life ---- */

int meta_new(struct node *n, struct meta **out)
{
    struct meta *m = kv_mem_zalloc(sizeof(*m));

    if (m == NULL) {
        return KV_ENOMEM;
    }
    m->wanted = n->identity;
    m->cluster =
        n->identity.cluster != 0 ? n->identity.cluster : meta_cluster_of(&n->config);
    m->begin_ms = n->now_ms;
    buf_init(&m->map, COMMAND_MAP_BYTES_MAX);
    *out = m;
    return 0;
}

void meta_free(struct meta *m)
{
    if (m != NULL) {
        buf_close(&m->map);
        kv_mem_free(m);
    }
}

uint64_t meta_cluster(const struct node *n)
{
    return n->meta->cluster;
}

uint64_t meta_cluster_of(const struct node_config *c)
{
    char text[128];
    uint64_t hash = 0;
    uint32_t i;
    int len;

    len = snprintf(text, sizeof(text), "kvd-cluster-1 groups=%u replicas=%u", c->groups,
                   c->replicas);
    hash = kv_hash64_seed(text, (size_t)len, hash);
    for (i = 0; i < c->nodes_count; i++) {
        const struct node_address *a = &c->nodes[i];

        len = snprintf(text, sizeof(text), "%u=%s:%u:%u", a->id, a->host,
                       a->client_port, a->peer_port);
        hash = kv_hash64_seed(text, (size_t)len, hash);
    }
    return hash | 1; /* 0 stands for "not formed". */
}

/* ---- the map before there is one ---- */

static void map_of_config(const struct node *n, struct map *out)
{
    uint32_t i;

    map_init(out, n->meta->cluster);
    out->vnodes = n->config.vnodes;
    out->nodes_count = n->config.nodes_count;
    for (i = 0; i < n->config.nodes_count; i++) {
        const struct node_address *a = &n->config.nodes[i];
        const struct peer_hello *hello = peers_hello_get(n, a->id);
        struct map_node *node = &out->nodes[i];

        memset(node, 0, sizeof(*node));
        node->id = a->id;
        node->client_port = a->client_port;
        node->peer_port = a->peer_port;
        node->http_port = a->http_port;
        memcpy(node->host, a->host, sizeof(node->host));
        if (a->id == n->config.id) {
            memcpy(node->zone, n->config.zone, sizeof(node->zone));
        } else if (hello != NULL) {
            memcpy(node->zone, hello->zone, sizeof(node->zone));
            node->http_port = hello->http_port;
        }
    }
}

_Static_assert(sizeof(((struct map_node *)0)->host) ==
                   sizeof(((struct node_address *)0)->host),
               "a host is copied whole");
_Static_assert(sizeof(((struct map_node *)0)->zone) ==
                   sizeof(((struct node_config *)0)->zone),
               "a zone is copied whole");

/* ---- forming ---- */

static const struct store_peer *peer_in(const struct store_identity *id, uint32_t node)
{
    uint32_t i;

    for (i = 0; i < id->peers_count && i < STORE_NODES_MAX; i++) {
        if (id->peers[i].node == node) {
            return &id->peers[i];
        }
    }
    return NULL;
}

enum meta_verdict meta_met(struct node *n, uint32_t node, uint64_t incarnation)
{
    struct meta *m = n->meta;
    const struct store_peer *p = peer_in(&n->identity, node);

    if (p != NULL) {
        return p->incarnation == incarnation || KV_BUG(n->config, B46) ? META_KNOWN
                                                                       : META_REPLACED;
    }
    p = peer_in(&m->wanted, node);
    if (p != NULL) {
        return p->incarnation == incarnation ? META_STORING : META_REPLACED;
    }
    /* A formed node has met everybody: who it does not know came later. */
    if (node_address_find(n, node) == NULL || node == n->config.id ||
        n->identity.cluster != 0 || m->wanted.peers_count >= STORE_NODES_MAX) {
        return META_STRANGER;
    }
    m->wanted.peers[m->wanted.peers_count++] =
        (struct store_peer){.node = node, .incarnation = incarnation};
    m->wanted_dirty = true;
    return META_STORING;
}

/* Who is missing, for people: the first few nodes and what is wrong with them. */
static void forming_tell(struct node *n)
{
    char *text = n->waiting_for;
    size_t room = sizeof(n->waiting_for);
    const char *trouble = "";
    int used = snprintf(text, room, "to form the cluster:");
    const int head = used;
    uint32_t i;

    for (i = 0; i < n->config.nodes_count; i++) {
        const struct node_address *a = &n->config.nodes[i];

        if (a->id == n->config.id ||
            (peer_in(&n->identity, a->id) != NULL && peers_is_confirmed(n, a->id))) {
            continue;
        }
        trouble = trouble[0] != '\0' ? trouble : peers_trouble(n, a->id);
        if (used > 0 && (size_t)used < room) {
            used += snprintf(text + used, room - (size_t)used, " node %u (%s:%u)",
                             a->id, a->host, a->peer_port);
        }
    }
    if (used > 0 && (size_t)used < room) {
        if (used == head) {
            trouble = " storing who belongs to it"; /* Nobody is missing. */
        } else if (trouble[0] == '\0') {
            trouble = "start them with the same --initial-cluster";
        }
        snprintf(text + used, room - (size_t)used, "%s%s", used == head ? "" : "; ",
                 trouble);
    }
}

static bool forming_complete(const struct node *n)
{
    uint32_t i;

    for (i = 0; i < n->config.nodes_count; i++) {
        uint32_t id = n->config.nodes[i].id;

        if (id != n->config.id &&
            (peer_in(&n->identity, id) == NULL || !peers_is_confirmed(n, id))) {
            return false;
        }
    }
    return true;
}

static void forming_step(struct node *n)
{
    struct meta *m = n->meta;

    if (m->wanted.node == 0) {
        m->wanted.node = n->config.id;
        m->wanted_dirty = true;
    }
    if (m->wanted.cluster == 0 && forming_complete(n)) {
        m->wanted.cluster = m->cluster;
        m->wanted_dirty = true;
    }
    if (m->wanted_dirty && !m->job_running && n->now_ms >= m->store_ms) {
        m->wanted_dirty = false;
        m->job_running = true;
        m->job = (struct disk_job){.kind = DISK_IDENTITY, .store = n->store};
        m->job.u.identity = m->wanted;
        disk_submit(n->disk, &m->job);
    }
    if (n->now_ms >= m->tell_ms) {
        bool first = m->tell_ms == 0;

        m->tell_ms = n->now_ms + META_TELL_MS;
        forming_tell(n);
        if (!first && !forming_complete(n)) {
            node_log(n, LOG_INFO, "node=%u waiting=\"%s\"", n->config.id,
                     n->waiting_for);
        }
    }
}

static void run(struct node *n)
{
    int rc;

    n->phase = NODE_RUNNING;
    n->meta->begin_ms = n->now_ms;
    snprintf(n->waiting_for, sizeof(n->waiting_for),
             "the first cluster map: a majority of the nodes must be up");
    node_log(n, LOG_INFO, "node=%u cluster=%016llx formed=yes nodes=%u", n->config.id,
             (unsigned long long)n->meta->cluster, n->config.nodes_count);
    rc = node_group_open(n, NODE_META_GROUP);
    if (rc != 0) {
        node_halt(n, rc, "the meta group cannot be opened: %s", kv_err_text(rc));
    }
}

void meta_on_job(struct node *n, struct disk_job *job)
{
    struct meta *m = n->meta;

    KV_ASSERT(job == &m->job && m->job_running);
    m->job_running = false;
    if (job->result == KV_ENOSPACE) {
        m->wanted_dirty = true;
        m->store_ms = n->now_ms + META_PROPOSE_MS;
        return;
    }
    if (job->result != 0) {
        node_halt(n, job->result, "the node's identity cannot be stored: %s",
                  kv_err_text(job->result));
        return;
    }
    n->identity = job->u.identity;
    peers_identity_stored(n);
    if (n->phase == NODE_FORMING && n->identity.cluster != 0) {
        run(n);
    } else if (n->phase == NODE_FORMING) {
        forming_tell(n);
    }
}

/* ---- maps ---- */

void meta_map_applied(struct node *n, struct kv_bytes encoded)
{
    struct meta *m = n->meta;

    buf_reset(&m->map);
    buf_append_bytes(&m->map, encoded);
    if (m->map.error != 0) {
        node_halt(n, m->map.error, "no memory for the cluster map");
        return;
    }
    m->map_pending = true;
}

static void map_adopted(struct node *n)
{
    int rc = node_groups_open(n);

    if (rc != 0) {
        node_halt(n, rc, "a group of the map cannot be opened: %s", kv_err_text(rc));
        return;
    }
    n->waiting_for[0] = '\0';
    router_wake_all(n);
}

bool meta_flush(struct node *n)
{
    struct meta *m = n->meta;
    int rc;

    if (n->phase == NODE_FORMING) {
        forming_step(n);
    }
    if (!m->map_pending) {
        return false;
    }
    m->map_pending = false;
    rc = node_map_adopt(n, buf_bytes(&m->map));
    buf_close(&m->map);
    if (rc != 0) {
        node_halt(n, rc, "the cluster map cannot be read: %s", kv_err_text(rc));
        return true;
    }
    map_adopted(n);
    return true;
}

/* The map in meta's checkpointed state, if any. */
static int map_load(struct node *n)
{
    struct arena arena;
    struct kv_bytes encoded;
    uint64_t epoch;
    int rc;

    arena_init(&arena, 64 * 1024, 0);
    rc = apply_map_read(group_state(n->groups[NODE_META_GROUP]), &arena, &encoded,
                        &epoch);
    if (rc == 0) {
        rc = node_map_adopt(n, encoded);
        if (rc == 0) {
            n->waiting_for[0] = '\0';
            rc = node_groups_open(n);
        }
    } else if (rc == KV_EDAMAGED) {
        struct store_damage damage = {.group = NODE_META_GROUP, .in_state = true};

        /* The snapshot that takes its place brings a map (group_snapshot.c). */
        group_on_damage(n->groups[NODE_META_GROUP], &damage);
        rc = 0;
    } else if (rc == KV_ENOTFOUND) {
        rc = 0;
    }
    arena_close(&arena);
    return rc;
}

int meta_start(struct node *n)
{
    int rc;

    map_of_config(n, &n->map);
    if (n->identity.cluster == 0) {
        forming_tell(n);
        return 0;
    }
    if (n->identity.cluster != meta_cluster_of(&n->config)) {
        node_log(
            n, LOG_WARN,
            "node=%u cluster=%016llx text=\"the stored cluster was formed with another "
            "initial-cluster, groups or replicas; the stored one counts\"",
            n->config.id, (unsigned long long)n->identity.cluster);
    }
    n->phase = NODE_RUNNING;
    snprintf(n->waiting_for, sizeof(n->waiting_for),
             "the first cluster map: a majority of the nodes must be up");
    rc = node_group_open(n, NODE_META_GROUP);
    return rc != 0 ? rc : map_load(n);
}

/* ---- the first map ---- */

/* Zones count for the placement: every node has said its own, or patience ended. */
static bool zones_known(const struct node *n)
{
    uint32_t i;

    if (n->now_ms >= n->meta->begin_ms + META_ZONES_MS) {
        return true;
    }
    for (i = 0; i < n->config.nodes_count; i++) {
        uint32_t id = n->config.nodes[i].id;

        if (id != n->config.id && !peers_was_met(n, id)) {
            return false;
        }
    }
    return true;
}

static int map_first(const struct node *n, struct buf *b)
{
    struct map *m = kv_mem_zalloc(sizeof(*m));
    const char *why = "";
    int rc;

    if (m == NULL) {
        return KV_ENOMEM;
    }
    map_of_config(n, m);
    m->epoch = 1;
    rc = placement_make(m, n->config.groups, n->config.replicas);
    rc = rc != 0 ? rc : map_validate(m, &why);
    if (rc == 0) {
        map_encode(b, m);
        rc = b->error;
    }
    kv_mem_free(m);
    return rc;
}

static void propose_first(struct node *n)
{
    struct command c = {.kind = COMMAND_MAP_SET, .epoch_replaced = 0, .epoch = 1};
    struct buf map, payload;
    uint8_t *at;
    int rc;

    buf_init(&map, COMMAND_MAP_BYTES_MAX);
    buf_init(&payload, COMMAND_MAP_BYTES_MAX + 64);
    rc = map_first(n, &map);
    if (rc == 0) {
        c.map = buf_bytes(&map);
        at = buf_reserve(&payload, command_bytes(&c));
        rc = payload.error;
        if (at != NULL) {
            command_encode(&c, at);
            node_group_touch(n, NODE_META_GROUP);
            rc = group_propose(n->groups[NODE_META_GROUP], buf_bytes(&payload));
        }
    }
    node_log(n, LOG_INFO, "map epoch=1 groups=%u replicas=%u proposed=%s",
             n->config.groups, n->config.replicas, rc == 0 ? "yes" : kv_err_name(rc));
    buf_close(&map);
    buf_close(&payload);
}

void meta_tick(struct node *n)
{
    struct meta *m = n->meta;
    struct raft_status status;

    if (n->phase != NODE_RUNNING || n->map_known || m->map_pending ||
        n->now_ms < m->propose_ms) {
        return;
    }
    m->propose_ms = n->now_ms + META_PROPOSE_MS / 10;
    if (!node_leads(n, NODE_META_GROUP)) {
        return;
    }
    group_raft_status(n->groups[NODE_META_GROUP], &status);
    if (status.can_read && status.applied == status.commit && zones_known(n)) {
        m->propose_ms = n->now_ms + META_PROPOSE_MS;
        propose_first(n);
    }
}

uint64_t meta_deadline_ms(const struct node *n)
{
    const struct meta *m = n->meta;

    if (n->phase == NODE_FORMING) {
        return m->wanted_dirty && !m->job_running ? m->store_ms : m->tell_ms;
    }
    return n->phase == NODE_RUNNING && !n->map_known ? m->propose_ms : UINT64_MAX;
}
