/* client/result.c - replies as kv_result, and copies of it that live on. */
#include "client/client.h"

/* A copy: the result and all that it points to. */
struct result_box {
    struct kv_result result; /* First member: a result is its box. */
    struct arena arena;
};

struct kv_view kv_result_view(struct kv_bytes bytes)
{
    return bytes.data == NULL ? kv_mem(NULL, 0) : kv_mem(bytes.data, bytes.len);
}

/* ---- from a reply ---- */

static void at_of(const struct rpc_at *from, struct kv_at *to)
{
    to->group = from->group;
    to->node = from->node;
    to->rev = from->rev;
    to->term = from->term;
    to->level = (enum kv_level)from->level;
    to->age_ms = from->age_ms;
}

static int build_ats(struct kv_client *c, const struct rpc_reply *reply,
                     struct kv_result *out)
{
    struct kv_at *ats;
    struct rpc_at at;

    if (reply->ats.count == 0) {
        return 0;
    }
    ats = arena_zalloc(&c->results, reply->ats.count * sizeof *ats);
    if (ats == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < reply->ats.count; i++) {
        rpc_reply_at_get(reply, i, &at);
        at_of(&at, &ats[i]);
    }
    out->ats = ats;
    out->ats_count = reply->ats.count;
    out->at = ats[0];
    return 0;
}

int kv_result_items(struct kv_client *c, const struct rpc_list *list,
                    const struct kv_item **out_items, size_t *out_count)
{
    struct kv_item *items;
    struct rpc_item item;

    if (list->count == 0) {
        return 0;
    }
    items = arena_zalloc(&c->results, list->count * sizeof *items);
    if (items == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        rpc_reply_list_item_get(list, i, &item);
        items[i].key = kv_result_view(item.key);
        items[i].value = kv_result_view(item.value);
        items[i].rev = item.rev;
    }
    *out_items = items;
    *out_count = list->count;
    return 0;
}

static int build_range(struct kv_client *c, const struct rpc_reply *reply,
                       struct kv_result *out)
{
    out->more = reply->more;
    if (reply->more) {
        out->next = kv_result_view(reply->next);
    }
    return kv_result_items(c, &reply->items, &out->items, &out->items_count);
}

static int build_status(struct kv_client *c, const struct rpc_reply *reply,
                        struct kv_result *out)
{
    struct kv_cluster *cluster = arena_zalloc(&c->results, sizeof *cluster);
    struct kv_group *groups =
        arena_zalloc(&c->results, (reply->groups.count + 1) * sizeof *groups);
    struct rpc_group_status from;
    uint32_t *nodes;

    if (cluster == NULL || groups == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < reply->groups.count; i++) {
        rpc_reply_group_get(reply, i, &from);
        nodes = arena_zalloc(&c->results, (from.voters_count + 1) * sizeof *nodes);
        if (nodes == NULL) {
            return KV_ENOMEM;
        }
        memcpy(nodes, from.voters, from.voters_count * sizeof *nodes);
        groups[i] = (struct kv_group){
            .id = from.id,
            .leader = from.leader,
            .w = from.w,
            .term = from.term,
            .commit = from.commit,
            .applied = from.applied,
            .nodes = nodes,
            .nodes_count = from.voters_count,
        };
    }
    cluster->id = reply->cluster;
    cluster->epoch = reply->epoch;
    cluster->node = reply->node;
    cluster->groups = groups;
    cluster->groups_count = reply->groups.count;
    out->cluster = cluster;
    return 0;
}

static int build_nodes(struct kv_client *c, const struct map *map,
                       struct kv_cluster *cluster)
{
    struct kv_node *nodes =
        arena_zalloc(&c->results, (map->nodes_count + 1) * sizeof *nodes);

    if (nodes == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < map->nodes_count; i++) {
        const struct map_node *from = &map->nodes[i];

        nodes[i] = (struct kv_node){
            .id = from->id,
            .host = from->host,
            .client_port = from->client_port,
            .peer_port = from->peer_port,
            .http_port = from->http_port,
            .zone = from->zone,
        };
    }
    cluster->nodes = nodes;
    cluster->nodes_count = map->nodes_count;
    return 0;
}

static int build_groups(struct kv_client *c, const struct map *map,
                        const struct rpc_reply *reply, struct kv_cluster *cluster)
{
    struct kv_group *groups =
        arena_zalloc(&c->results, (map->groups_count + 1) * sizeof *groups);

    if (groups == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < map->groups_count; i++) {
        const struct map_group *from = &map->groups[i];
        uint32_t *nodes =
            arena_zalloc(&c->results, (from->replicas_count + 1u) * sizeof *nodes);

        if (nodes == NULL) {
            return KV_ENOMEM;
        }
        for (uint32_t k = 0; k < from->replicas_count; k++) {
            nodes[k] = from->replicas[k].node;
        }
        groups[i].id = from->id;
        groups[i].w = from->w;
        groups[i].nodes = nodes;
        groups[i].nodes_count = from->replicas_count;
        if (i < reply->leaders.count) {
            groups[i].leader = rpc_reply_leader_get(reply, i);
        }
    }
    for (uint32_t slot = 0; slot < KV_SLOTS; slot++) {
        const struct map_group *owner = map_group_find(map, map->slots[slot]);

        if (owner != NULL) {
            groups[owner - map->groups].slots_count++;
        }
    }
    cluster->groups = groups;
    cluster->groups_count = map->groups_count;
    return 0;
}

static int build_map(struct kv_client *c, const struct rpc_reply *reply,
                     struct kv_result *out)
{
    struct kv_cluster *cluster = arena_zalloc(&c->results, sizeof *cluster);
    struct map *map = arena_zalloc(&c->results, sizeof *map);
    int rc;

    if (cluster == NULL || map == NULL) {
        return KV_ENOMEM;
    }
    rc = map_decode_reply(reply->result, &c->results, map);
    if (rc != 0) {
        return rc == KV_ENOMEM ? KV_ENOMEM : KV_EPROTO;
    }
    cluster->id = map->cluster;
    cluster->epoch = map->epoch;
    cluster->node = reply->node;
    cluster->slots = map->slots;
    rc = build_nodes(c, map, cluster);
    if (rc == 0) {
        rc = build_groups(c, map, reply, cluster);
    }
    out->cluster = cluster;
    return rc;
}

static int build_holders(struct kv_client *c, const struct rpc_reply *reply,
                         struct kv_result *out)
{
    struct kv_item *items =
        arena_zalloc(&c->results, (reply->holders.count + 1) * sizeof *items);
    struct rpc_lock_holder holder;

    if (items == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < reply->holders.count; i++) {
        rpc_reply_holder_get(reply, i, &holder);
        items[i].key = kv_result_view(holder.owner);
        items[i].value = kv_result_view(holder.value);
        items[i].rev = holder.token;
    }
    out->items = items;
    out->items_count = reply->holders.count;
    return 0;
}

int kv_result_build(struct kv_client *c, const struct kv_call *call,
                    const struct rpc_reply *reply, struct kv_result *out)
{
    int rc;

    arena_reset(&c->results);
    memset(out, 0, sizeof *out);
    out->op = call->op;
    out->outcome = KV_DONE;
    out->text = "";
    out->found = call->op == KV_OP_CAS ? reply->has_value : reply->found;
    out->deleted = reply->deleted;
    out->swapped = reply->swapped;
    out->succeeded = reply->succeeded;
    out->value = reply->has_value ? kv_result_view(reply->value) : kv_nil();
    out->number = reply->number;
    out->rev = reply->rev;
    out->held = reply->acquired;
    out->released = reply->released;
    out->token = reply->lock_token;
    out->ttl_ms = reply->ttl_ms;
    out->place = reply->place;
    out->waiting = reply->waiting;
    out->permits = reply->permits;
    out->repeated = reply->repeated;
    out->replicas = reply->replicas;
    out->w = reply->w;
    out->sendings = call->sendings;
    out->endpoint = call->last->name;
    rc = build_ats(c, reply, out);
    if (rc != 0) {
        return call->is_write ? 0 : rc; /* A write without its `at` is still done. */
    }
    switch (call->op) {
    case KV_OP_DELRANGE:
        out->number = (int64_t)reply->deleted_count;
        return build_range(c, reply, out);
    case KV_OP_RANGE:
        return build_range(c, reply, out);
    case KV_OP_TXN:
        return kv_txn_results(c, reply, out);
    case KV_OP_LOCK_INFO:
        return build_holders(c, reply, out);
    case KV_OP_STATUS:
        return build_status(c, reply, out);
    case KV_OP_MAP:
        return build_map(c, reply, out);
    default:
        return 0;
    }
}

/* ---- copies ---- */

/* What kv_wait() returns where not even a copy of an error can be made. */
static const struct kv_result result_no_memory = {
    .error = KV_ERR_NO_MEMORY,
    .outcome = KV_UNKNOWN,
    .text = "NO_MEMORY: out of memory; whether a write was applied is unknown",
    .endpoint = "",
};

/* Copies `len` bytes with a NUL behind; sets *out_failed when there is no memory. */
static void *copy_bytes(struct arena *a, const void *from, size_t len, bool *out_failed)
{
    uint8_t *to = arena_alloc(a, len + 1);

    if (to == NULL) {
        *out_failed = true;
        return NULL;
    }
    if (len > 0) {
        memcpy(to, from, len);
    }
    to[len] = 0;
    return to;
}

static struct kv_view copy_view(struct arena *a, struct kv_view from, bool *out_failed)
{
    if (from.data == NULL) {
        return from;
    }
    return kv_mem(copy_bytes(a, from.data, from.len, out_failed), from.len);
}

static const char *copy_text(struct arena *a, const char *from, bool *out_failed)
{
    return from == NULL ? "" : copy_bytes(a, from, strlen(from), out_failed);
}

static const struct kv_item *copy_items(struct arena *a, const struct kv_item *from,
                                        size_t count, bool *out_failed)
{
    struct kv_item *items = copy_bytes(a, from, count * sizeof *items, out_failed);

    for (size_t i = 0; items != NULL && i < count; i++) {
        items[i].key = copy_view(a, from[i].key, out_failed);
        items[i].value = copy_view(a, from[i].value, out_failed);
    }
    return items;
}

static const struct kv_txn_result *copy_results(struct arena *a,
                                                const struct kv_result *from,
                                                bool *out_failed)
{
    struct kv_txn_result *results =
        copy_bytes(a, from->results, from->results_count * sizeof *results, out_failed);

    for (size_t i = 0; results != NULL && i < from->results_count; i++) {
        const struct kv_txn_result *r = &from->results[i];

        results[i].value = copy_view(a, r->value, out_failed);
        results[i].next = copy_view(a, r->next, out_failed);
        results[i].items = copy_items(a, r->items, r->items_count, out_failed);
    }
    return results;
}

static const struct kv_cluster *copy_cluster(struct arena *a,
                                             const struct kv_cluster *from,
                                             bool *out_failed)
{
    struct kv_cluster *to = copy_bytes(a, from, sizeof *from, out_failed);
    struct kv_node *nodes =
        copy_bytes(a, from->nodes, from->nodes_count * sizeof *nodes, out_failed);
    struct kv_group *groups =
        copy_bytes(a, from->groups, from->groups_count * sizeof *groups, out_failed);

    if (to == NULL || nodes == NULL || groups == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < from->nodes_count; i++) {
        nodes[i].host = copy_text(a, from->nodes[i].host, out_failed);
        nodes[i].zone = copy_text(a, from->nodes[i].zone, out_failed);
    }
    for (size_t i = 0; i < from->groups_count; i++) {
        groups[i].nodes =
            copy_bytes(a, from->groups[i].nodes,
                       from->groups[i].nodes_count * sizeof(uint32_t), out_failed);
    }
    to->nodes = nodes;
    to->groups = groups;
    if (from->slots != NULL) {
        to->slots =
            copy_bytes(a, from->slots, KV_SLOTS * sizeof *from->slots, out_failed);
    }
    return to;
}

const struct kv_result *kv_result_copy(const struct kv_result *from)
{
    struct result_box *box = kv_mem_zalloc(sizeof *box);
    struct kv_result *to;
    bool failed = false;

    if (box == NULL) {
        return &result_no_memory;
    }
    arena_init(&box->arena, 1024, 0);
    to = &box->result;
    *to = *from;
    to->text = copy_text(&box->arena, from->text, &failed);
    to->endpoint = copy_text(&box->arena, from->endpoint, &failed);
    to->value = copy_view(&box->arena, from->value, &failed);
    to->next = copy_view(&box->arena, from->next, &failed);
    to->items = copy_items(&box->arena, from->items, from->items_count, &failed);
    to->results = copy_results(&box->arena, from, &failed);
    to->ats = copy_bytes(&box->arena, from->ats, from->ats_count * sizeof *from->ats,
                         &failed);
    if (from->cluster != NULL) {
        to->cluster = copy_cluster(&box->arena, from->cluster, &failed);
    }
    if (failed) {
        kv_result_free(to);
        return &result_no_memory;
    }
    return to;
}

const struct kv_result *kv_result_error(enum kv_op op, int error, const char *text)
{
    struct kv_result result = {
        .op = op,
        .error = error,
        .outcome = KV_NOT_DONE,
        .text = text,
        .endpoint = "",
    };

    return kv_result_copy(&result);
}

void kv_result_free(const struct kv_result *result)
{
    struct result_box *box;

    if (result == NULL || result == &result_no_memory) {
        return;
    }
    _Static_assert(offsetof(struct result_box, result) == 0, "a result is its box");
    box = (struct result_box *)(uintptr_t)result;
    arena_close(&box->arena);
    kv_mem_free(box);
}
