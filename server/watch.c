/* server/watch.c - watches come and go; where they stand. */
#include "raft/base/err.h"
#include "rpc/slot.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/reply.h"
#include "server/router.h"
#include "server/watch_parts.h"

/* ---- life ---- */

int watches_new(struct node *n, size_t bytes_max, struct watches **out)
{
    struct watches *ws = kv_mem_zalloc(sizeof *ws);
    int rc;

    if (ws == NULL) {
        return KV_ENOMEM;
    }
    ws->node = n;
    ws->bytes_max = bytes_max;
    rc = idmap_init(&ws->table, WATCHES_MAX);
    rc = rc != 0 ? rc : idmap_init(&ws->by_conn, n->config.max_connections);
    rc = rc != 0 ? rc : watch_index_init(&ws->index);
    if (rc != 0) {
        watches_free(ws);
        return rc;
    }
    *out = ws;
    return 0;
}

void watches_free(struct watches *ws)
{
    uint32_t cursor = 0;
    struct watch *w;

    if (ws == NULL) {
        return;
    }
    while (ws->table.cells != NULL && (w = idmap_next(&ws->table, &cursor)) != NULL) {
        kv_mem_free(w);
    }
    watch_index_close(&ws->index);
    idmap_close(&ws->by_conn);
    idmap_close(&ws->table);
    kv_mem_free(ws);
}

/* ---- lists ---- */

void watch_move(struct watches *ws, struct watch *w, enum watch_list_id list)
{
    if (w->list == list) {
        return;
    }
    if (w->list != WATCH_IDLE) {
        ws->stats.behind--;
        *(w->prev == NULL ? &ws->lists[w->list].head : &w->prev->next) = w->next;
        *(w->next == NULL ? &ws->lists[w->list].tail : &w->next->prev) = w->prev;
    }
    w->list = list;
    if (list != WATCH_IDLE) {
        ws->stats.behind++;
        w->prev = ws->lists[list].tail;
        w->next = NULL;
        *(w->prev == NULL ? &ws->lists[list].head : &w->prev->next) = w;
        ws->lists[list].tail = w;
    }
}

/* A conn's watches hang together; the table of conns knows the first. */
static int conn_add(struct watches *ws, struct watch *w)
{
    struct watch *first = idmap_find(&ws->by_conn, w->conn);

    if (first == NULL) {
        return idmap_add(&ws->by_conn, w->conn, w);
    }
    w->prev_of_conn = first;
    w->next_of_conn = first->next_of_conn;
    if (w->next_of_conn != NULL) {
        w->next_of_conn->prev_of_conn = w;
    }
    first->next_of_conn = w;
    return 0;
}

static void conn_remove(struct watches *ws, struct watch *w)
{
    if (w->next_of_conn != NULL) {
        w->next_of_conn->prev_of_conn = w->prev_of_conn;
    }
    if (w->prev_of_conn != NULL) {
        w->prev_of_conn->next_of_conn = w->next_of_conn;
        return;
    }
    (void)idmap_remove(&ws->by_conn, w->conn);
    if (w->next_of_conn != NULL) {
        int rc = idmap_add(&ws->by_conn, w->conn, w->next_of_conn);

        KV_ASSERT(rc == 0);
    }
}

void watch_remove(struct watches *ws, struct watch *w)
{
    watch_move(ws, w, WATCH_IDLE);
    watch_index_remove(&ws->index, &w->node);
    conn_remove(ws, w);
    (void)idmap_remove(&ws->table, w->id);
    for (uint32_t i = 0; i < w->parts_count; i++) {
        struct watch_group *wg = &ws->groups[w->parts[i].group];

        wg->count--;
        wg->idle_ms = ws->node->now_ms;
    }
    ws->stats.open--;
    ws->stats.bytes -= w->bytes;
    kv_mem_free(w);
}

void watches_conn_closed(struct node *n, uint64_t conn)
{
    struct watch *w;

    while ((w = idmap_find(&n->watches->by_conn, conn)) != NULL) {
        watch_remove(n->watches, w);
    }
}

/* ---- positions ---- */

struct watch_part *watch_part_of(struct watch *w, group_id group)
{
    uint32_t low = 0;
    uint32_t high = w->parts_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (w->parts[middle].group < group) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < w->parts_count && w->parts[low].group == group ? &w->parts[low] : NULL;
}

uint64_t watch_position(const struct node *n, const struct watch_part *part)
{
    const struct group *g = node_group(n, part->group);

    if (part->is_pending || g == NULL) {
        return part->after;
    }
    return KV_MAX(part->after, group_rev(g) + (KV_BUG(n->config, K51) ? 1 : 0));
}

struct kv_bytes watch_token(struct watches *ws, const struct watch *w)
{
    for (uint32_t i = 0; i < w->parts_count; i++) {
        const struct watch_part *part = &w->parts[i];

        ws->ats[i] = (struct token_at){part->group, watch_position(ws->node, part)};
    }
    return kv_bytes(ws->token, token_build(meta_cluster(ws->node), ws->ats,
                                           w->parts_count, ws->token));
}

void watch_told(struct watches *ws, struct watch *w)
{
    for (uint32_t i = 0; i < w->parts_count; i++) {
        w->parts[i].told = watch_position(ws->node, &w->parts[i]);
    }
}

/* ---- kv.watch ---- */

/* What a request watches. */
struct watched {
    struct kv_bytes begin, end;
    bool is_key;
    bool has_slot; /* All its keys have this one. */
    uint16_t slot;
    uint32_t group;                  /* 0: of all groups; else what this one owns. */
    uint8_t bound[KV_KEY_BYTES_MAX]; /* Of a prefix: its end. */
};

/* Where the keys with this prefix end: empty, when they go up to the last. */
static struct kv_bytes prefix_end(struct kv_bytes prefix, uint8_t *out)
{
    size_t len = prefix.len;

    while (len > 0 && prefix.data[len - 1] == 0xff) {
        len--;
    }
    if (len == 0) {
        return kv_bytes(NULL, 0);
    }
    memcpy(out, prefix.data, len);
    out[len - 1]++;
    return kv_bytes(out, len);
}

/* All keys between both have the slot of a {tag} that both begin with. */
static bool share_slot(struct kv_bytes begin, struct kv_bytes end)
{
    struct kv_bytes tag = slot_tag(begin);
    size_t len = (size_t)(tag.data - begin.data) + tag.len + 1;

    return tag.len < begin.len && len <= begin.len && end.len >= len &&
           memcmp(begin.data, end.data, len) == 0;
}

static void watched_of(const struct rpc_request *q, struct watched *out)
{
    *out =
        (struct watched){.begin = q->key, .is_key = !q->is_range && !q->options.prefix};
    if (q->is_range) {
        out->begin = q->begin;
        out->end = q->end;
    } else if (q->options.prefix) {
        out->end = prefix_end(q->key, out->bound);
    }
    out->has_slot =
        out->is_key || (q->options.prefix ? slot_tag(out->begin).len < out->begin.len
                                          : share_slot(out->begin, out->end));
    out->slot = out->has_slot ? slot_of(out->begin) : 0;
    out->group = q->options.group;
}

/* Does the watch have a part in the group? */
static bool is_of(const struct node *n, const struct watched *what, group_id id)
{
    return id != NODE_META_GROUP &&
           (!what->has_slot || n->map.slots[what->slot] == id) &&
           (what->group == 0 || what->group == id);
}

/* Is there a replica here that can serve the group? Otherwise answers. */
static bool group_serves(struct node *n, struct request *req, group_id id, bool is_only)
{
    const struct group *g = node_group(n, id);
    const struct map_group *mg = map_group_find(&n->map, (uint16_t)id);
    uint32_t leader = router_leader(n, id);

    if (g != NULL && group_can_show(g)) {
        return true;
    }
    req->group = id;
    if (g != NULL && (leader == n->config.id || leader == 0 || !is_only)) {
        reply_error(req, KV_ENOLEADER, "group %u is not ready here; try again", id);
    } else if (is_only) {
        if (leader == 0 && mg != NULL && mg->replicas_count > 0) {
            leader = mg->replicas[0].node;
        }
        router_send_to(n, req, leader);
    } else {
        reply_error(req, KV_EBADREQUEST,
                    "node %u has no replica of group %u, and a watch over several "
                    "groups needs one of each; watch group by group (option group), "
                    "single keys, or keys of one {tag}",
                    n->config.id, id);
    }
    return false;
}

/* Where it begins in a group. False: that is not kept any more, and was answered. */
static bool part_begin(struct node *n, struct request *req, struct watch_part *part)
{
    uint64_t from = token_rev(req->rpc.options.pos, part->group);
    struct group *g = node_group(n, part->group);
    struct history *h = group_history(g);
    uint8_t token[TOKEN_ONE_BYTES_MAX];
    char hex[2 * TOKEN_ONE_BYTES_MAX + 1];
    size_t len;

    from += from != 0 && KV_BUG(n->config, K50) ? 1 : 0;
    part->after = from != 0 ? from : KV_MAX(group_rev(g), (uint64_t)1);
    part->told = part->after;
    part->is_pending = part->after < group_rev(g);
    if (part->after >= h->floor) {
        return true;
    }
    len = token_make(meta_cluster(n), part->group, h->floor, token);
    for (size_t i = 0; i < len; i++) {
        static const char digits[] = "0123456789abcdef";

        hex[2 * i] = digits[token[i] >> 4];
        hex[2 * i + 1] = digits[token[i] & 15];
    }
    hex[2 * len] = '\0';
    reply_error(
        req, KV_ECOMPACTED,
        "node %u keeps what group %u changed behind revision %llu, position %s; "
        "another node may keep more, else read the keys and watch from there",
        n->config.id, part->group, (unsigned long long)h->floor, hex);
    return false;
}

/* Takes the memory of a watch. NULL: there is too much, and it was answered. */
static struct watch *watch_new(struct watches *ws, struct request *req,
                               const struct watched *what, uint32_t parts)
{
    size_t at = sizeof(struct watch) + parts * sizeof(struct watch_part);
    size_t bytes = at + what->begin.len + what->end.len;
    struct watch *w = NULL;
    uint8_t *p;

    if (ws->table.count < WATCHES_MAX && ws->stats.bytes + bytes <= ws->bytes_max) {
        w = kv_mem_zalloc(bytes);
    }
    if (w == NULL) {
        reply_error(req, KV_EBUSY, "node %u has as many watches as it can take (%u)",
                    ws->node->config.id, ws->stats.open);
        return NULL;
    }
    p = (uint8_t *)w + at;
    memcpy(p, what->begin.data, what->begin.len);
    w->node.begin = kv_bytes(p, what->begin.len);
    if (what->end.len > 0) {
        memcpy(p + what->begin.len, what->end.data, what->end.len);
    }
    w->node.end = kv_bytes(p + what->begin.len, what->end.len);
    w->node.is_key = what->is_key;
    w->bytes = bytes;
    w->parts_count = parts;
    w->conn = req->conn;
    w->wants_prev = req->rpc.options.prev;
    w->only = req->rpc.options.only;
    return w;
}

/* Fills in the groups; false: it was answered. */
static bool watch_begin_parts(struct node *n, struct request *req,
                              const struct watched *what, struct watch *w)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < n->map.groups_count; i++) {
        if (is_of(n, what, n->map.groups[i].id)) {
            w->parts[count].group = n->map.groups[i].id;
            if (!part_begin(n, req, &w->parts[count++])) {
                return false;
            }
        }
    }
    return true;
}

/* Puts it into everything. 0 or KV_EBUSY. */
static int watch_add(struct watches *ws, struct watch *w)
{
    w->id = ws->last_id + 1;
    w->node.number = w->id;
    if (idmap_add(&ws->table, w->id, w) != 0) {
        return KV_EBUSY;
    }
    if (conn_add(ws, w) != 0) {
        (void)idmap_remove(&ws->table, w->id);
        return KV_EBUSY;
    }
    ws->last_id = w->id;
    watch_index_add(&ws->index, &w->node);
    ws->stats.open++;
    ws->stats.bytes += w->bytes;
    for (uint32_t i = 0; i < w->parts_count; i++) {
        struct watch_group *wg = &ws->groups[w->parts[i].group];

        wg->count++;
        if (!wg->is_wide) {
            wg->is_wide = true;
            history_limit(group_history(node_group(ws->node, w->parts[i].group)),
                          group_history_bytes(ws->node, true));
        }
        if (w->parts[i].is_pending) {
            watch_move(ws, w, WATCH_READY);
        }
    }
    return 0;
}

static void watch_reply(struct watches *ws, struct request *req, struct watch *w)
{
    struct rpc_at at = {.node = ws->node->config.id, .level = RPC_STALE};
    struct buf b;

    if (w->parts_count == 1) {
        at.group = w->parts[0].group;
        at.rev = w->parts[0].after;
    }
    for (uint32_t i = 0; i < w->parts_count; i++) {
        const struct group *g = node_group(ws->node, w->parts[i].group);

        at.age_ms = KV_MAX(at.age_ms, group_age_ms(g));
    }
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    rpc_reply_watch(&b, 0, &at, w->id, watch_token(ws, w));
    if (b.error != 0) {
        watch_remove(ws, w);
    } else {
        watch_told(ws, w);
    }
    node_reply_encoded(req, &b);
    buf_close(&b);
}

void watch_submit(struct node *n, struct request *req)
{
    struct watches *ws = n->watches;
    struct watched what;
    struct watch *w;
    uint32_t parts = 0;

    if (req->origin != REQ_FROM_CONN || !n->map_known) {
        reply_error(req, KV_ENOLEADER, "the cluster has no map yet; try again");
        return;
    }
    watched_of(&req->rpc, &what);
    for (uint32_t i = 0; i < n->map.groups_count; i++) {
        group_id id = n->map.groups[i].id;

        if (!is_of(n, &what, id)) {
            continue;
        }
        parts++;
        if (!group_serves(n, req, id, what.has_slot || what.group != 0)) {
            return;
        }
    }
    if (parts == 0 && what.group != 0) {
        reply_error(req, KV_EBADREQUEST, "group %u is none, or owns none of these keys",
                    what.group);
        return;
    }
    if (parts == 0) {
        reply_error(req, KV_ENOLEADER, "no group owns these keys yet; try again");
        return;
    }
    w = watch_new(ws, req, &what, parts);
    if (w == NULL) {
        return;
    }
    if (!watch_begin_parts(n, req, &what, w)) {
        kv_mem_free(w);
        return;
    }
    if (watch_add(ws, w) != 0) {
        kv_mem_free(w);
        reply_error(req, KV_EBUSY, "too many watches");
        return;
    }
    watch_reply(ws, req, w);
}

void watch_end_submit(struct node *n, struct request *req)
{
    struct rpc_at at = {.node = n->config.id, .level = RPC_LINEARIZABLE};
    struct watch *w = idmap_find(&n->watches->table, req->rpc.watch);
    bool is_there = w != NULL && req->origin == REQ_FROM_CONN && w->conn == req->conn;
    struct buf b;

    if (is_there) {
        watch_remove(n->watches, w);
    }
    buf_init(&b, 4096);
    rpc_reply_unwatch(&b, 0, &at, is_there);
    node_reply_encoded(req, &b);
    buf_close(&b);
}

void watches_stats_get(const struct watches *ws, struct watches_stats *out)
{
    *out = ws->stats;
}
