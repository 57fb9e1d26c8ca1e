/* client/kvctl_cluster.c - the commands on the cluster: status and ring. */
#include "client/kvctl.h"

#include <stdio.h>
#include <uv.h>

enum {
    NODE_MS_MAX = 2000, /* What a node gets for its status, of what is left. */
};

/* ---- asking all nodes ---- */

/* What one node said. */
struct node_view {
    struct ctl *ctl;
    const struct kv_node *node; /* Of the map. */
    const char *address;
    bool is_up;
    const char *error; /* Why not, when it is not. */
    uint64_t epoch;
    struct kv_group *groups;
    size_t groups_count;
    struct kv_client *client;
};

/* The cluster as all nodes together see it. */
struct status {
    const struct kv_cluster *map;
    struct node_view *views; /* One per node of the map. */
    struct kv_group *groups; /* The best view of each. */
    size_t groups_count;
    size_t groups_max;
};

/* The cause alone: what the log says is longer than a table's cell. */
static void on_node_log(void *ctx, enum kv_log_level level, const char *line)
{
    struct node_view *view = ctx;
    const char *colon = strstr(line, ": ");

    if (level == KV_LOG_WARN && colon != NULL) {
        view->error = ctl_text(view->ctl, "%s", colon + 2);
    }
}

static void on_node_status(struct kv_client *client, const struct kv_result *r,
                           void *ctx)
{
    struct node_view *view = ctx;
    struct arena *arena = &view->ctl->arena;
    size_t count;

    if (r->error != 0) {
        if (view->error == NULL) {
            view->error = ctl_text(view->ctl, "%s", kv_strerror(r->error));
        }
        kv_close(client, NULL, NULL);
        return;
    }
    count = r->cluster->groups_count;
    view->groups = arena_zalloc(arena, (count + 1) * sizeof *view->groups);
    for (size_t i = 0; view->groups != NULL && i < count; i++) {
        const struct kv_group *from = &r->cluster->groups[i];
        struct kv_bytes nodes = {0};

        view->groups[i] = *from;
        view->groups[i].nodes = NULL;
        view->groups[i].nodes_count = 0;
        if (from->nodes_count > 0 &&
            arena_copy(arena,
                       kv_bytes(from->nodes, from->nodes_count * sizeof(uint32_t)),
                       &nodes) == 0) {
            view->groups[i].nodes = (const uint32_t *)(const void *)nodes.data;
            view->groups[i].nodes_count = from->nodes_count;
        }
        view->groups_count = i + 1;
    }
    view->is_up = true;
    view->epoch = r->cluster->epoch;
    kv_close(client, NULL, NULL);
}

static const char *address_of(struct ctl *ctl, const struct kv_node *node)
{
    bool is_v6 = strchr(node->host, ':') != NULL;

    return ctl_text(ctl, "%s%s%s:%u", is_v6 ? "[" : "", node->host, is_v6 ? "]" : "",
                    node->client_port);
}

/* Asks each node of the map by itself, all at once. */
static int ask_nodes(struct ctl *ctl, struct status *s)
{
    struct kv_options options;
    uv_loop_t loop;
    int rc = uv_loop_init(&loop);

    if (rc != 0) {
        return ctl_fail(CTL_DATA, "cannot make a loop: %s", uv_strerror(rc));
    }
    kv_options_init(&options);
    options.loop = &loop;
    options.deadline_ms = KV_MAX(KV_MIN(ctl_left_ms(ctl), NODE_MS_MAX), 1);
    options.connect_ms = options.deadline_ms;
    options.connect_rounds = 1;
    options.routing = KV_ROUTE_ENDPOINTS;
    options.log = on_node_log;
    for (size_t i = 0; i < s->map->nodes_count; i++) {
        struct node_view *view = &s->views[i];

        view->ctl = ctl;
        view->node = &s->map->nodes[i];
        view->address = address_of(ctl, view->node);
        options.endpoints = view->address;
        options.log_ctx = view;
        rc = kv_new(&options, &view->client);
        if (rc == 0) {
            rc = kv_start(view->client, kv_status(), on_node_status, view);
        }
        if (rc != 0) {
            view->error = kv_strerror(rc);
            kv_free(view->client);
        }
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return CTL_OK;
}

/* ---- putting it together ---- */

/* Whether the view of one node on a group is better than what is there: a leader's own
 * before others', then the higher term. */
static bool is_better(const struct kv_group *view, uint32_t node,
                      const struct kv_group *have, bool have_is_leaders)
{
    bool is_leaders = view->leader == node && node != 0;

    if (view->term != have->term) {
        return view->term > have->term;
    }
    return is_leaders && !have_is_leaders;
}

static void merge_group(struct status *s, bool *is_leaders, const struct kv_group *view,
                        uint32_t node)
{
    size_t i = 0;

    while (i < s->groups_count && s->groups[i].id != view->id) {
        i++;
    }
    if (i == s->groups_count) {
        if (i == s->groups_max) {
            return;
        }
        s->groups_count++;
        s->groups[i] = *view;
        is_leaders[i] = view->leader == node;
    } else if (is_better(view, node, &s->groups[i], is_leaders[i])) {
        s->groups[i] = *view;
        is_leaders[i] = view->leader == node;
    }
}

static int by_id(const void *a, const void *b)
{
    const struct kv_group *x = a;
    const struct kv_group *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Fills s->groups with the best view of each group. */
static int merge(struct ctl *ctl, struct status *s)
{
    bool *is_leaders;

    for (size_t i = 0; i < s->map->nodes_count; i++) {
        s->groups_max += s->views[i].groups_count;
    }
    s->groups = arena_zalloc(&ctl->arena, (s->groups_max + 1) * sizeof *s->groups);
    is_leaders = arena_zalloc(&ctl->arena, s->groups_max + 1);
    if (s->groups == NULL || is_leaders == NULL) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    for (size_t i = 0; i < s->map->nodes_count; i++) {
        for (size_t k = 0; k < s->views[i].groups_count; k++) {
            merge_group(s, is_leaders, &s->views[i].groups[k], s->views[i].node->id);
        }
    }
    qsort(s->groups, s->groups_count, sizeof *s->groups, by_id);
    return CTL_OK;
}

/* Groups that the node leads, and groups of which it is a voter. */
static void count_groups(const struct status *s, uint32_t node, uint32_t *out_leads,
                         uint32_t *out_votes)
{
    *out_leads = 0;
    *out_votes = 0;
    for (size_t i = 0; i < s->groups_count; i++) {
        *out_leads += s->groups[i].leader == node;
        for (size_t k = 0; k < s->groups[i].nodes_count; k++) {
            if (s->groups[i].nodes[k] == node) {
                (*out_votes)++;
                break;
            }
        }
    }
}

/* The write quorum as a number: 0 stands for the majority. */
static uint32_t quorum_of(const struct kv_group *g)
{
    return g->w != 0 ? g->w : (uint32_t)g->nodes_count / 2 + 1;
}

static const char *group_name(struct ctl *ctl, uint32_t id)
{
    return id == 0 ? "meta" : ctl_text(ctl, "%u", id);
}

static const char *node_name(struct ctl *ctl, uint32_t node)
{
    return node == 0 ? "none" : ctl_text(ctl, "%u", node);
}

/* "1 2 3" */
static const char *nodes_text(struct ctl *ctl, const struct kv_group *g)
{
    const char *text = "";

    for (size_t i = 0; i < g->nodes_count; i++) {
        text = ctl_text(ctl, "%s%s%u", text, i > 0 ? " " : "", g->nodes[i]);
    }
    return text;
}

static const char *number(struct ctl *ctl, uint64_t n)
{
    return ctl_text(ctl, "%llu", (unsigned long long)n);
}

/* ---- status ---- */

static void status_tables(struct ctl *ctl, const struct status *s)
{
    static const char *const node_heads[] = {"NODE", "ADDRESS", "STATE", "LEADS",
                                             "EPOCH"};
    static const char *const group_heads[] = {"GROUP",   "LEADER", "TERM",  "COMMIT",
                                              "APPLIED", "W",      "VOTERS"};
    struct ctl_table t;
    uint32_t leads;
    uint32_t votes;

    ctl_table_begin(&t, ctl, (uint32_t)s->map->nodes_count, node_heads, 5);
    for (size_t i = 0; i < s->map->nodes_count; i++) {
        const struct node_view *v = &s->views[i];

        count_groups(s, v->node->id, &leads, &votes);
        ctl_table_row(
            &t, (const char *[]){number(ctl, v->node->id), v->address,
                                 v->is_up ? "up" : ctl_text(ctl, "down (%s)", v->error),
                                 ctl_text(ctl, "%u of %u", leads, votes),
                                 v->is_up ? number(ctl, v->epoch) : "-"});
    }
    ctl_table_print(&t);
    printf("\n");
    ctl_table_begin(&t, ctl, (uint32_t)s->groups_count, group_heads, 7);
    for (size_t i = 0; i < s->groups_count; i++) {
        const struct kv_group *g = &s->groups[i];

        ctl_table_row(&t, (const char *[]){
                              group_name(ctl, g->id), node_name(ctl, g->leader),
                              number(ctl, g->term), number(ctl, g->commit),
                              number(ctl, g->applied),
                              ctl_text(ctl, "%u of %zu", quorum_of(g), g->nodes_count),
                              nodes_text(ctl, g)});
    }
    ctl_table_print(&t);
}

static json_t *json_nodes_of(const struct kv_group *g)
{
    json_t *out = json_array();

    for (size_t i = 0; i < g->nodes_count; i++) {
        (void)json_array_append_new(out, json_integer(g->nodes[i]));
    }
    return out;
}

static json_t *json_node_view(const struct status *s, const struct node_view *v)
{
    json_t *out = json_object();
    uint32_t leads;
    uint32_t votes;

    count_groups(s, v->node->id, &leads, &votes);
    ctl_json_set(out, "id", json_integer(v->node->id));
    ctl_json_set(out, "address", json_string(v->address));
    ctl_json_set(out, "reachable", json_boolean(v->is_up));
    if (!v->is_up) {
        ctl_json_set(out, "error", json_string(v->error));
    }
    ctl_json_set(out, "leads", json_integer(leads));
    ctl_json_set(out, "votes", json_integer(votes));
    ctl_json_set(out, "epoch", json_integer((json_int_t)v->epoch));
    ctl_json_set(out, "zone", json_string(v->node->zone));
    return out;
}

static json_t *json_group_view(const struct kv_group *g)
{
    json_t *out = json_object();

    ctl_json_set(out, "id", json_integer(g->id));
    ctl_json_set(out, "leader", json_integer(g->leader));
    ctl_json_set(out, "term", json_integer((json_int_t)g->term));
    ctl_json_set(out, "commit", json_integer((json_int_t)g->commit));
    ctl_json_set(out, "applied", json_integer((json_int_t)g->applied));
    ctl_json_set(out, "w", json_integer(quorum_of(g)));
    ctl_json_set(out, "voters", json_nodes_of(g));
    return out;
}

static void status_json(const struct status *s)
{
    json_t *out = json_object();
    json_t *nodes = json_array();
    json_t *groups = json_array();
    char id[20];

    for (size_t i = 0; i < s->map->nodes_count; i++) {
        (void)json_array_append_new(nodes, json_node_view(s, &s->views[i]));
    }
    for (size_t i = 0; i < s->groups_count; i++) {
        (void)json_array_append_new(groups, json_group_view(&s->groups[i]));
    }
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)s->map->id);
    ctl_json_set(out, "cluster", json_string(id));
    ctl_json_set(out, "epoch", json_integer((json_int_t)s->map->epoch));
    ctl_json_set(out, "nodes", nodes);
    ctl_json_set(out, "groups", groups);
    ctl_json_print(out);
}

/* One line on stderr about what is wrong, if anything is. */
static int status_judge(const struct status *s)
{
    uint32_t down = 0;
    uint32_t leaderless = 0;

    for (size_t i = 0; i < s->map->nodes_count; i++) {
        down += !s->views[i].is_up;
    }
    for (size_t i = 0; i < s->groups_count; i++) {
        leaderless += s->groups[i].leader == 0;
    }
    if (down > 0) {
        return ctl_fail(CTL_NO,
                        "%u of %zu nodes do not answer. Start them with: make up", down,
                        s->map->nodes_count);
    }
    if (leaderless > 0) {
        return ctl_fail(CTL_NO,
                        "%u of %zu groups have no leader. Try again: kvctl status",
                        leaderless, s->groups_count);
    }
    return CTL_OK;
}

int ctl_status(struct ctl *ctl)
{
    const struct kv_result *r;
    struct status s = {0};
    int status = ctl_call(ctl, kv_map(), &r);

    if (status != CTL_OK) {
        return status;
    }
    s.map = r->cluster;
    s.views = arena_zalloc(&ctl->arena, (s.map->nodes_count + 1) * sizeof *s.views);
    status = s.views == NULL ? ctl_fail(CTL_DATA, "out of memory") : ask_nodes(ctl, &s);
    if (status == CTL_OK) {
        status = merge(ctl, &s);
    }
    if (status == CTL_OK) {
        if (ctl->format == CTL_JSON) {
            status_json(&s);
        } else {
            status_tables(ctl, &s);
        }
        status = status_judge(&s);
    }
    kv_result_free(r);
    return status;
}

/* ---- ring ---- */

static const char *address_of_id(struct ctl *ctl, const struct kv_cluster *map,
                                 uint32_t node)
{
    for (size_t i = 0; i < map->nodes_count; i++) {
        if (map->nodes[i].id == node) {
            return address_of(ctl, &map->nodes[i]);
        }
    }
    return "?";
}

static const char *role_of(const struct kv_group *g, uint32_t node)
{
    return g->leader == 0 ? "replica" : g->leader == node ? "leader" : "follower";
}

static void ring_key_json(struct ctl *ctl, const struct kv_cluster *map,
                          const struct kv_group *g, uint32_t slot)
{
    json_t *out = json_object();
    json_t *replicas = json_array();

    for (size_t i = 0; i < g->nodes_count; i++) {
        json_t *one = json_object();

        ctl_json_set(one, "node", json_integer(g->nodes[i]));
        ctl_json_set(one, "address", json_string(address_of_id(ctl, map, g->nodes[i])));
        ctl_json_set(one, "leader", json_boolean(g->leader == g->nodes[i]));
        (void)json_array_append_new(replicas, one);
    }
    ctl_json_bytes(out, "key", kv_str(ctl->words[0]));
    ctl_json_set(out, "slot", json_integer(slot));
    ctl_json_set(out, "group", json_integer(g->id));
    ctl_json_set(out, "leader", json_integer(g->leader));
    ctl_json_set(out, "replicas", replicas);
    ctl_json_set(out, "epoch", json_integer((json_int_t)map->epoch));
    ctl_json_print(out);
}

static int ring_key(struct ctl *ctl, const struct kv_cluster *map)
{
    static const char *const heads[] = {"NODE", "ADDRESS", "ROLE"};
    uint32_t slot = kv_slot(kv_str(ctl->words[0]));
    const struct kv_group *g = NULL;
    struct ctl_table t;

    for (size_t i = 0; i < map->groups_count; i++) {
        if (map->groups[i].id == map->slots[slot]) {
            g = &map->groups[i];
        }
    }
    if (g == NULL) {
        return ctl_fail(CTL_NO, "slot %u belongs to no group yet. Try: kvctl status",
                        slot);
    }
    if (ctl->format == CTL_JSON) {
        ring_key_json(ctl, map, g, slot);
        return CTL_OK;
    }
    printf("key %s: slot %u, group %u\n", ctl_escape(ctl, kv_str(ctl->words[0])), slot,
           g->id);
    ctl_table_begin(&t, ctl, (uint32_t)g->nodes_count, heads, 3);
    for (size_t i = 0; i < g->nodes_count; i++) {
        ctl_table_row(&t, (const char *[]){number(ctl, g->nodes[i]),
                                           address_of_id(ctl, map, g->nodes[i]),
                                           role_of(g, g->nodes[i])});
    }
    ctl_table_print(&t);
    return CTL_OK;
}

static double share_of(const struct kv_group *g)
{
    return (double)g->slots_count / KV_SLOTS_COUNT;
}

static void ring_all_json(const struct kv_cluster *map)
{
    json_t *out = json_object();
    json_t *groups = json_array();

    for (size_t i = 0; i < map->groups_count; i++) {
        const struct kv_group *g = &map->groups[i];
        json_t *one = json_object();

        if (g->id == 0) {
            json_decref(one);
            continue;
        }
        ctl_json_set(one, "id", json_integer(g->id));
        ctl_json_set(one, "slots", json_integer(g->slots_count));
        ctl_json_set(one, "share", json_real(share_of(g)));
        ctl_json_set(one, "leader", json_integer(g->leader));
        ctl_json_set(one, "replicas", json_nodes_of(g));
        (void)json_array_append_new(groups, one);
    }
    ctl_json_set(out, "epoch", json_integer((json_int_t)map->epoch));
    ctl_json_set(out, "slots", json_integer(KV_SLOTS_COUNT));
    ctl_json_set(out, "groups", groups);
    ctl_json_print(out);
}

static void ring_all(struct ctl *ctl, const struct kv_cluster *map)
{
    static const char *const heads[] = {"GROUP", "SLOTS", "SHARE", "LEADER",
                                        "REPLICAS"};
    struct ctl_table t;

    if (ctl->format == CTL_JSON) {
        ring_all_json(map);
        return;
    }
    ctl_table_begin(&t, ctl, (uint32_t)map->groups_count, heads, 5);
    for (size_t i = 0; i < map->groups_count; i++) {
        const struct kv_group *g = &map->groups[i];

        if (g->id != 0) { /* `meta` owns no slots. */
            ctl_table_row(
                &t, (const char *[]){number(ctl, g->id), number(ctl, g->slots_count),
                                     ctl_text(ctl, "%.1f %%", 100 * share_of(g)),
                                     node_name(ctl, g->leader), nodes_text(ctl, g)});
        }
    }
    ctl_table_print(&t);
}

int ctl_ring(struct ctl *ctl)
{
    const struct kv_result *r;
    int status;

    if (ctl->words_count == 1 && ctl->words[0][0] == '\0') {
        return ctl_fail(CTL_USAGE, "the key is empty");
    }
    status = ctl_call(ctl, kv_map(), &r);
    if (status != CTL_OK) {
        return status;
    }
    if (ctl->words_count == 1) {
        status = ring_key(ctl, r->cluster);
    } else {
        ring_all(ctl, r->cluster);
    }
    kv_result_free(r);
    return status;
}
