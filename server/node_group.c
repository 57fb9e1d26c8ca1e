/* server/node_group.c - the node's replicas: opening, flushing, who hosts what. */
#include <stdio.h>

#include "raft/base/err.h"
#include "server/balance.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/peers.h"
#include "server/router.h"

enum {
    NODE_TAIL_BYTES_MAX = 1024 * 1024, /* Of one group, unless the config says else. */
};

bool node_bits_next(const uint64_t *bits, uint32_t *cursor, group_id *out)
{
    uint32_t word = *cursor / 64;
    uint64_t rest;

    if (word >= NODE_GROUP_WORDS) {
        return false;
    }
    rest = bits[word] & (UINT64_MAX << (*cursor % 64));
    while (rest == 0) {
        word++;
        if (word >= NODE_GROUP_WORDS) {
            *cursor = NODE_GROUP_WORDS * 64;
            return false;
        }
        rest = bits[word];
    }
    *out = word * 64 + (uint32_t)__builtin_ctzll(rest);
    *cursor = *out + 1;
    return true;
}

/* ---- who hosts what ---- */

uint32_t node_position(const struct node *n, uint32_t node)
{
    uint32_t i;

    for (i = 0; i < n->config.nodes_count; i++) {
        if (n->config.nodes[i].id == node) {
            return i;
        }
    }
    return UINT32_MAX;
}

const struct node_address *node_address_find(const struct node *n, uint32_t node)
{
    uint32_t at = node_position(n, node);

    return at == UINT32_MAX ? NULL : &n->config.nodes[at];
}

uint32_t node_of_replica(const struct node *n, group_id group, raft_id replica)
{
    const struct map_group *g;

    if (group == NODE_META_GROUP) {
        return node_position(n, replica) == UINT32_MAX ? 0 : replica;
    }
    g = n->map_known && group < KV_GROUPS_MAX ? map_group_find(&n->map, (uint16_t)group)
                                              : NULL;
    return g == NULL ? 0 : map_node_of_replica(g, replica);
}

raft_id node_replica_on(const struct node *n, group_id group, uint32_t node)
{
    const struct map_group *g;

    if (group == NODE_META_GROUP) {
        return node_position(n, node) == UINT32_MAX ? 0 : node;
    }
    g = n->map_known && group < KV_GROUPS_MAX ? map_group_find(&n->map, (uint16_t)group)
                                              : NULL;
    return g == NULL ? 0 : map_replica_on_node(g, node);
}

/* ---- opening ---- */

static void config_of_meta(const struct node *n, struct raft_config *out)
{
    uint32_t i;

    *out = (struct raft_config){0};
    for (i = 0; i < n->config.nodes_count; i++) {
        if (i < NODE_META_VOTERS_MAX) {
            out->voters[out->voters_count++] = n->config.nodes[i].id;
        } else {
            out->learners[out->learners_count++] = n->config.nodes[i].id;
        }
    }
}

static void config_of_map_group(const struct map_group *g, struct raft_config *out)
{
    uint32_t i, j;

    *out = (struct raft_config){.w = g->w};
    for (i = 0; i < g->replicas_count; i++) {
        raft_id id = g->replicas[i].replica;

        for (j = out->voters_count; j > 0 && out->voters[j - 1] > id; j--) {
            out->voters[j] = out->voters[j - 1];
        }
        out->voters[j] = id;
        out->voters_count++;
    }
}

/* What followers need again soon; what is older they are read from the log. */
static size_t tail_share(const struct node *n)
{
    return KV_MIN(n->config.memory_bytes_max / 8 / (n->config.groups + 1),
                  (size_t)NODE_TAIL_BYTES_MAX);
}

int node_group_open(struct node *n, group_id id)
{
    struct group_options o = {
        .id = id,
        .self = node_replica_on(n, id, n->config.id),
        .election_timeout_ms = n->config.election_timeout_ms,
        .heartbeat_ms = n->config.heartbeat_ms,
        .log_window = n->config.log_window,
        .log_bytes_max = n->config.log_bytes_max,
        .delta_bytes_max = n->config.delta_bytes_max,
        .tail_bytes_max =
            n->config.tail_bytes_max != 0 ? n->config.tail_bytes_max : tail_share(n),
        .checkpoint_ms_max = n->config.checkpoint_ms_max,
        .limits = n->config.limits,
    };
    struct group *g = NULL;
    int rc;

    KV_ASSERT(id < n->groups_cap && n->groups[id] == NULL);
    KV_ASSERT(o.self != 0);
    if (id == NODE_META_GROUP) {
        config_of_meta(n, &o.initial);
    } else {
        config_of_map_group(map_group_find(&n->map, (uint16_t)id), &o.initial);
    }
    rc = group_open(n, &o, &g);
    if (rc != 0) {
        node_log(n, LOG_ERROR, "group=%u node=%u open=failed error=%s", id,
                 n->config.id, kv_err_name(rc));
        return rc;
    }
    n->groups[id] = g;
    n->groups_end = KV_MAX(n->groups_end, id + 1);
    node_group_touch(n, id);
    return 0;
}

int node_groups_open(struct node *n)
{
    uint32_t i;
    int rc;

    for (i = 0; n->map_known && i < n->map.groups_count; i++) {
        const struct map_group *g = &n->map.groups[i];

        if (g->id == NODE_META_GROUP || n->groups[g->id] != NULL ||
            map_replica_on_node(g, n->config.id) == 0) {
            continue;
        }
        rc = node_group_open(n, g->id);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void node_groups_close(struct node *n)
{
    uint32_t i;

    for (i = n->groups_cap; i-- > 0;) {
        if (n->groups[i] != NULL) {
            struct group *g = n->groups[i];

            n->groups[i] = NULL;
            group_close(g);
        }
    }
}

int node_map_adopt(struct node *n, struct kv_bytes encoded)
{
    struct map *fresh = kv_mem_zalloc(sizeof(*fresh));
    struct arena scratch;
    int rc;

    if (fresh == NULL) {
        return KV_ENOMEM;
    }
    arena_init(&scratch, 64 * 1024, 0);
    rc = map_decode(encoded, &scratch, fresh);
    arena_close(&scratch);
    if (rc == 0 && (!n->map_known || fresh->epoch > n->map.epoch)) {
        n->map = *fresh;
        n->map_known = true;
        node_log(n, LOG_INFO, "map epoch=%llu nodes=%u groups=%u adopted=yes",
                 (unsigned long long)n->map.epoch, n->map.nodes_count,
                 n->map.groups_count);
    }
    kv_mem_free(fresh);
    return rc;
}

void node_map_applied(struct node *n, struct kv_bytes encoded)
{
    meta_map_applied(n, encoded);
}

/* ---- changes ---- */

bool node_leads(const struct node *n, group_id group)
{
    const struct group *g = node_group(n, group);

    return g != NULL && group_is_leader(g);
}

void node_group_changed(struct node *n, struct group *g)
{
    group_id id = group_id_get(g);
    uint32_t leader = group_leader_node(g);
    bool leads = group_is_leader(g);
    struct raft_status status;
    static const char *const roles[] = {
        [RAFT_FOLLOWER] = "follower",
        [RAFT_PRE_CANDIDATE] = "pre_candidate",
        [RAFT_CANDIDATE] = "candidate",
        [RAFT_LEADER] = "leader",
    };

    group_raft_status(g, &status);
    /* Pre-votes come and go while a node is cut off: not worth a line each. */
    node_log(n, leader != 0 || status.role == RAFT_CANDIDATE ? LOG_INFO : LOG_DEBUG,
             "group=%u node=%u term=%llu became=%s leader=%u", id, n->config.id,
             (unsigned long long)status.term, roles[status.role], leader);
    if (leader != 0) {
        router_hint(n, id, leader, status.term);
    } else {
        /* What was said before is no news: only what comes from now on. */
        n->leader_hints[id] = 0;
    }
    balance_note(n, id, leads);
    peers_state_changed(n, id);
    router_wake(n, id);
    node_group_touch(n, id);
}

/* ---- the turn ---- */

bool node_groups_flush(struct node *n)
{
    uint64_t todo[NODE_GROUP_WORDS];
    uint32_t cursor = 0;
    group_id id;
    bool any = false;

    memcpy(todo, n->touched, sizeof(todo));
    memset(n->touched, 0, sizeof(n->touched));
    while (n->phase != NODE_HALTED && node_bits_next(todo, &cursor, &id)) {
        struct group *g = node_group(n, id);

        if (g == NULL) {
            continue;
        }
        any = true;
        n->flushed[id / 64] |= (uint64_t)1 << (id % 64);
        if (group_is_dirty(g)) {
            group_flush(g);
        }
    }
    return any;
}

/* Deadlines of the groups that were flushed in this turn; the others keep theirs. */
void node_groups_settle(struct node *n)
{
    uint32_t cursor = 0;
    group_id id;

    while (node_bits_next(n->flushed, &cursor, &id)) {
        const struct group *g = node_group(n, id);
        uint64_t bit = (uint64_t)1 << (id % 64);

        timers_set(n->timers, id, g == NULL ? TIMERS_NEVER : group_deadline_ms(g));
        if (g != NULL && group_requests_count(g) > 0) {
            n->waiting[id / 64] |= bit;
        } else {
            n->waiting[id / 64] &= ~bit;
        }
    }
    memset(n->flushed, 0, sizeof(n->flushed));
}

void node_groups_tick(struct node *n)
{
    uint32_t slot = timers_due(n->timers, 0, n->now_ms);
    uint32_t cursor = 0;
    group_id id;

    while (slot != UINT32_MAX && n->phase != NODE_HALTED) {
        struct group *g = node_group(n, slot);

        if (g == NULL) {
            timers_set(n->timers, slot, TIMERS_NEVER);
        } else {
            node_group_touch(n, slot);
            group_tick(g);
        }
        slot = timers_due(n->timers, slot + 1, n->now_ms);
    }
    if (n->now_ms < n->expire_next_ms) {
        return;
    }
    n->expire_next_ms = n->now_ms + NODE_EXPIRE_MS;
    while (n->phase != NODE_HALTED && node_bits_next(n->waiting, &cursor, &id)) {
        struct group *g = node_group(n, id);

        if (g != NULL) {
            node_group_touch(n, id);
            group_expire(g, n->now_ms);
        }
    }
}
