/* client/watch_joint.c - a watch over groups of which no node has all.
 *
 * One watch per group (option group of kv.watch), each at a node that has a replica;
 * what they tell is passed on with a joint position, which names every group. So that
 * there is one from the beginning, parts that have no position yet first ask where they
 * would begin, and only when the last one knows do all begin, from there.
 *
 * The groups are those of the map when it began.
 */
#include "client/watch_parts.h"

#include "rpc/map.h"

enum {
    JOINT_ASK_MS = 3000, /* For the map. */
    JOINT_META = 0,      /* The group that holds no keys. */
};

/* ---- telling the user ---- */

static void user_tell(struct kv_watch *w, const struct kv_watch_batch *batch)
{
    w->options.callback(w->client, w, batch, w->options.ctx);
}

/* One part cannot go on: none does. */
static void joint_fail(struct kv_watch *w, const struct kv_watch_batch *batch)
{
    struct kv_watch_batch all = *batch;

    all.pos = kv_mem(w->pos.data, w->pos.len);
    w->is_over = true;
    for (uint32_t i = 0; i < w->parts_count; i++) {
        kv_watch_stop(w->parts[i]); /* But the one that failed: it is over. */
    }
    user_tell(w, &all);
    kv_watch_free(w);
}

/* Takes the position of a part into the joint one. 0 or KV_ENOMEM. */
static int pos_join(struct kv_watch *w, struct kv_view pos)
{
    uint8_t *merged = kv_mem_zalloc(w->pos.len + pos.len + 1);
    size_t len;
    int rc;

    if (merged == NULL) {
        return KV_ENOMEM;
    }
    len = token_merge(kv_bytes(w->pos.data, w->pos.len), kv_bytes(pos.data, pos.len),
                      merged);
    rc = kv_watch_pos(w, kv_bytes(merged, len));
    kv_mem_free(merged);
    return rc;
}

static void joint_begin(struct kv_watch *w)
{
    struct kv_watch_batch batch;

    for (uint32_t i = 0; i < w->parts_count; i++) {
        w->parts[i]->failures = 0;
        kv_watch_wait(w->parts[i]);
    }
    memset(&batch, 0, sizeof batch);
    batch.text = "";
    batch.pos = kv_mem(w->pos.data, w->pos.len);
    user_tell(w, &batch);
}

void kv_watch_joint_tell(struct kv_watch *part, const struct kv_watch_batch *batch)
{
    struct kv_watch *w = part->joint;
    struct kv_watch_batch all = *batch;
    struct kv_bytes pos = kv_bytes(batch->pos.data, batch->pos.len);

    KV_ASSERT(w->magic == WATCH_MAGIC && w->state == WATCH_JOINT);
    if (batch->error != 0) {
        joint_fail(w, batch);
        return;
    }
    if (!token_is_valid(pos, 0) || pos_join(w, batch->pos) != 0) {
        kv_watch_fail(part, KV_ENOMEM, "NO_MEMORY: for the position of a watch");
        return;
    }
    if (w->placeless > 0) {
        kv_watch_forget(w->client, part->conn, part->id);
        part->state = WATCH_PARKED;
        if (--w->placeless == 0) {
            joint_begin(w);
        }
        return;
    }
    all.pos = kv_mem(w->pos.data, w->pos.len);
    user_tell(w, &all);
}

/* ---- parts ---- */

void kv_watch_joint_stop(struct kv_watch *w)
{
    for (uint32_t i = 0; i < w->parts_count; i++) {
        kv_watch_stop(w->parts[i]);
    }
    kv_watch_free(w);
}

/* A part for a group: it begins where the position says, if it names the group. */
static int part_add(struct kv_watch *w, uint32_t group)
{
    struct kv_bytes pos = kv_bytes(w->pos.data, w->pos.len);
    struct kv_watch_options options = w->options;
    struct kv_watch *part;
    int rc;

    options.pos = kv_mem(pos.data, pos.len);
    rc = kv_watch_new(w->client, &options, &part);
    if (rc != 0) {
        return rc;
    }
    part->joint = w;
    part->group = group;
    w->parts[w->parts_count++] = part;
    part->state = WATCH_PARKED;
    w->placeless += token_rev(pos, group) == 0;
    return 0;
}

static int parts_make(struct kv_watch *w, const struct map *map)
{
    int rc = 0;

    w->parts = kv_mem_zalloc((map->groups_count + 1) * sizeof(struct kv_watch *));
    if (w->parts == NULL) {
        return KV_ENOMEM;
    }
    for (uint32_t i = 0; i < map->groups_count && rc == 0; i++) {
        if (map->groups[i].id != JOINT_META) {
            rc = part_add(w, map->groups[i].id);
        }
    }
    return rc;
}

/* The map is here: from now on it is a joint one. */
static void joint_start(struct kv_watch *w, const struct map *map)
{
    struct kv_bytes pos = kv_bytes(w->pos.data, w->pos.len);
    int rc = token_is_valid(pos, 0) ? parts_make(w, map) : KV_EBADREQUEST;

    if (rc != 0) {
        for (uint32_t i = 0; i < w->parts_count; i++) {
            kv_watch_stop(w->parts[i]);
        }
        kv_watch_fail(w, rc,
                      rc == KV_ENOMEM ? "NO_MEMORY: for the parts of a watch"
                                      : "BAD_REQUEST: the position is none");
        return;
    }
    kv_watch_unlink(w);
    w->state = WATCH_JOINT;
    if (w->placeless == 0) {
        joint_begin(w);
        return;
    }
    for (uint32_t i = 0; i < w->parts_count; i++) {
        if (token_rev(pos, w->parts[i]->group) == 0) {
            kv_watch_wait(w->parts[i]);
        }
    }
}

/* ---- the groups ---- */

static void on_map(struct kv_client *c, const struct kv_call *call,
                   const struct rpc_reply *reply)
{
    struct kv_watch *w = call->ctx;
    struct map *map;
    int rc;

    KV_ASSERT(w->magic == WATCH_MAGIC && w->state == WATCH_ASKING);
    if (w->is_stopped) {
        kv_watch_free(w);
        return;
    }
    if (c->is_freeing || c->state != CLIENT_OPEN) {
        kv_watch_fail(w, KV_ECLOSED, "CLOSED: the client was closed");
        return;
    }
    map = reply == NULL ? NULL : kv_mem_zalloc(sizeof *map);
    if (map == NULL) {
        kv_watch_wait(w);
        return;
    }
    rc = map_decode_reply(reply->result, &c->route.scratch, map);
    arena_reset(&c->route.scratch);
    if (rc != 0 || map->groups_count <= 1) {
        kv_watch_wait(w);
    } else {
        joint_start(w, map);
    }
    kv_mem_free(map);
}

void kv_watch_joint_ask(struct kv_watch *w)
{
    struct kv_call_spec spec = {.method = RPC_CLUSTER_MAP, .hook = on_map, .ctx = w};
    struct kv_call *call;

    spec.request.deadline_ms = JOINT_ASK_MS;
    w->state = WATCH_ASKING;
    if (kv_call_begin(w->client, &spec, &call) != 0) {
        kv_watch_wait(w);
    }
}
