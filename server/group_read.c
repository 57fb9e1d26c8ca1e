/* server/group_read.c - linearizable reads: one ReadIndex round for all of a turn.
 *
 *   queued ──RAFT_EV_READ(tag)──► batch ──confirmed, applied >= index──► answered
 *                                   └──leadership ended──► router
 *
 * Source: diss. §6.4. No leases; a tag is never used twice (B05).
 */
#include "server/group_internal.h"
#include "storage/failpoint.h"

#include "raft/base/err.h"

struct rpc_at group_at(const struct group *g, uint64_t rev)
{
    return (struct rpc_at){.group = g->id,
                           .node = g->node->config.id,
                           .rev = rev,
                           .term = g->term,
                           .level = RPC_LINEARIZABLE,
                           .age_ms = 0};
}

/* ---- asking for the index ---- */

static struct group_read_batch *batch_of(struct group *g, uint64_t tag)
{
    return &g->batches[tag % GROUP_READ_BATCHES];
}

/* Moves queued reads into the batch of the next tag. */
static void batch_fill(struct group *g, struct group_read_batch *b)
{
    while (g->reads_queued.head != NULL &&
           b->requests.count < g->options.limits.read_count_max) {
        struct request *req = g->reads_queued.head;

        request_list_remove(&g->reads_queued, req);
        request_move(req, REQ_READ_INDEX);
        req->read_tag = b->tag;
        req->read_index = 0;
        request_list_push(&b->requests, req);
        g->reads_waiting++;
    }
}

/* Takes a batch's requests back into the queue: the core would not have it. */
static void batch_undo(struct group *g, struct group_read_batch *b)
{
    while (b->requests.head != NULL) {
        struct request *req = b->requests.head;

        request_list_remove(&b->requests, req);
        g->reads_waiting--;
        request_move(req, REQ_WAITING);
        request_list_push(&g->reads_queued, req);
    }
}

void group_read_flush(struct group *g)
{
    struct raft_event ev = {.kind = RAFT_EV_READ};
    struct group_read_batch *b;
    int rc;

    if (g->reads_queued.head == NULL) {
        return;
    }
    if (!group_is_leader(g)) {
        group_reroute_list(g, &g->reads_queued, g->handing_over);
        return;
    }
    if (g->reads_blocked || !g->apply.has_slots ||
        g->tag_end - g->tag_begin >= g->options.limits.read_batches_max) {
        return;
    }
    if (KV_BUG(g->node->config, K06) && g->tag_end > g->tag_begin &&
        !batch_of(g, g->tag_end - 1)->confirmed) {
        batch_fill(g, batch_of(g, g->tag_end - 1));
        return;
    }
    /* The answer may come within the step: the batch must stand before it. */
    b = batch_of(g, g->tag_end);
    *b = (struct group_read_batch){.tag = g->tag_end};
    g->tag_end++;
    batch_fill(g, b);
    ev.u.read_tag = b->tag;
    rc = group_feed(g, &ev);
    if (rc == 0) {
        return;
    }
    batch_undo(g, b);
    b->failed = true; /* An empty batch; its tag is used up. */
    if (rc == KV_EBUSY) {
        g->reads_blocked = true;
    } else {
        g->handing_over = group_leads(g);
        group_reroute_list(g, &g->reads_queued, true);
    }
}

void group_read_confirmed(struct group *g, const struct raft_read *read)
{
    struct group_read_batch *b;

    g->reads_blocked = false;
    group_wake(g);
    if (read->tag < g->tag_begin || read->tag >= g->tag_end) {
        return;
    }
    b = batch_of(g, read->tag);
    KV_ASSERT(b->tag == read->tag && !b->confirmed);
    if (read->error != 0) {
        b->failed = true;
    } else {
        b->confirmed = true;
        b->index = read->index;
    }
}

/* ---- answering ---- */

/* Where and when the state of now is true. */
static struct rpc_at at_now(const struct group *g, const struct request *req)
{
    struct rpc_at at = group_at(g, apply_rev(&g->apply, group_applied(g)));

    if (req->is_local) {
        at.level = req->rpc.options.level;
        at.age_ms = at.level == RPC_STALE ? group_age_ms(g) : 0;
    }
    return at;
}

/* Both count what they copied, in g->node->served_bytes. */
/* What is left of the key's time to live, as the leader's clock has it; 0: no end. */
static int ttl_left(struct group *g, struct request *req, uint32_t *out)
{
    uint64_t now_ms;
    struct ttl ttl;
    int rc = apply_ttl_find(&g->apply, req->rpc.key, &req->arena, &ttl);

    *out = 0;
    if (rc == 0 && ttl.until_ms != 0) {
        now_ms = group_entry_time_ms(g);
        *out = ttl.until_ms <= now_ms
                   ? 1
                   : (uint32_t)KV_MIN(ttl.until_ms - now_ms, (uint64_t)UINT32_MAX);
    }
    return rc;
}

static void serve_get(struct group *g, struct request *req)
{
    struct reply_result reply = {.at = at_now(g, req)};
    struct row row;
    int rc;

    if (!apply_owns(&g->apply, req->slot)) {
        group_reroute(g, req, true);
        return;
    }
    rc = state_get(g->st, ROW_KV, req->rpc.key, &req->arena, &row);
    if (rc == 0) {
        rc = ttl_left(g, req, &reply.at.ttl_ms);
    }
    if (rc == 0) {
        reply.found = true;
        reply.has_value = true;
        reply.value = row.value;
        reply.rev = row.rev;
        g->node->served_bytes += row.value.len;
        reply_result(req, &reply);
    } else if (rc == KV_ENOTFOUND) {
        reply_result(req, &reply);
    } else if (rc == KV_ENOMEM) {
        reply_error(req, KV_EBUSY, "no memory for the value; try again");
    } else {
        reply_error(
            req, KV_EDAMAGED,
            "group %u: node %u cannot read its copy of the key; another replica will "
            "take over, try again",
            g->id, g->node->config.id);
        group_state_damaged(g);
    }
}

/* Makes a bound of a range fit into a key: bounds have one byte more (key + NUL). The
 * smallest key-sized bytes above `bound`, in `room`. Empty: there are none. */
static struct kv_bytes bound_fit(struct kv_bytes bound, uint8_t *room)
{
    size_t len = KV_MIN(bound.len, (size_t)KV_KEY_BYTES_MAX);

    if (bound.len <= KV_KEY_BYTES_MAX) {
        return bound;
    }
    memcpy(room, bound.data, len);
    while (len > 0 && room[len - 1] == 0xff) {
        len--;
    }
    if (len > 0) {
        room[len - 1]++;
    }
    return kv_bytes(room, len);
}

/* Where a range goes on behind its last row: the key and a NUL. */
static int next_of(struct request *req, const struct row *last, struct kv_bytes *out)
{
    uint8_t *next = arena_alloc(&req->arena, last->key.len + 1);

    if (next == NULL) {
        return KV_ENOMEM;
    }
    memcpy(next, last->key.data, last->key.len);
    next[last->key.len] = 0;
    *out = kv_bytes(next, last->key.len + 1);
    return 0;
}

static int range_rows(struct group *g, struct request *req, struct reply_result *reply)
{
    const struct rpc_options *o = &req->rpc.options;
    uint8_t begin_room[KV_KEY_BYTES_MAX];
    uint8_t end_room[KV_KEY_BYTES_MAX];
    struct kv_bytes begin = bound_fit(req->rpc.begin, begin_room);
    struct kv_bytes end = bound_fit(req->rpc.end, end_room);
    uint32_t limit = o->limit == 0 ? KV_RANGE_ITEMS_DEFAULT : o->limit;
    struct row *rows = NULL;
    int rc;

    if (req->rpc.begin.len > 0 && begin.len == 0) {
        return 0; /* No key lies behind begin. */
    }
    if (end.len > 0 && kv_bytes_compare(begin, end) >= 0) {
        return 0;
    }
    rc = state_range(g->st, ROW_KV, begin, end,
                     KV_MIN(limit, (uint32_t)KV_RANGE_ITEMS_MAX), KV_RANGE_BYTES_MAX,
                     &req->arena, &rows, &reply->rows_count, &reply->more);
    reply->rows = rows;
    if (rc == 0 && reply->more) {
        KV_ASSERT(reply->rows_count > 0);
        rc = next_of(req, &rows[reply->rows_count - 1], &reply->next);
    }
    return rc;
}

static void serve_range(struct group *g, struct request *req)
{
    struct reply_result reply = {.at = at_now(g, req)};
    int rc = range_rows(g, req, &reply);

    if (rc == 0) {
        for (uint32_t i = 0; i < reply.rows_count; i++) {
            g->node->served_bytes += reply.rows[i].key.len + reply.rows[i].value.len;
        }
        reply_result(req, &reply);
    } else if (rc == KV_ENOMEM) {
        reply_error(req, KV_EBUSY,
                    "no memory for the range; try again with a lower limit");
    } else {
        reply_error(
            req, KV_EDAMAGED,
            "group %u: node %u cannot read a key in the range; another replica will "
            "take over, try again",
            g->id, g->node->config.id);
        group_state_damaged(g);
    }
}

void group_read_answer(struct group *g, struct request *req)
{
    g->stats.reads++;
    if (req->rpc.method == RPC_KV_GET) {
        serve_get(g, req);
    } else if (req->rpc.method == RPC_KV_RANGE) {
        serve_range(g, req);
    } else {
        group_lock_serve(g, req);
    }
}

/* Serves what a turn may: readers of large values must not keep the node from sending
 * its heartbeats. The rest of the batch is served in the next turns. */
static void serve_batch(struct group *g, struct group_read_batch *b)
{
    while (b->requests.head != NULL) {
        struct request *req = b->requests.head;

        if (g->node->served_bytes >= g->options.limits.serve_bytes_max) {
            group_wake(g);
            return;
        }
        request_list_remove(&b->requests, req);
        g->reads_waiting--;
        req->read_index = b->index;
        (void)KV_FAILPOINT(read_serve);
        if (b->failed || g->halted != 0) {
            group_reroute(g, req, false);
        } else if (KV_BUG(g->node->config, K40) || group_fence_pass(g, req)) {
            group_read_answer(g, req);
        }
    }
}

void group_read_serve(struct group *g)
{
    uint64_t tag_begin = g->tag_begin;

    if (g->install_phase != GROUP_INSTALL_NONE) {
        return;
    }
    if (g->lost.is_lost) {
        group_read_reroute_all(g); /* To whoever leads next. */
    }
    for (uint64_t tag = g->tag_begin; tag < g->tag_end; tag++) {
        struct group_read_batch *b = batch_of(g, tag);

        if (b->failed || (b->confirmed && (b->index <= group_applied(g) ||
                                           KV_BUG(g->node->config, K05)))) {
            serve_batch(g, b);
        }
    }
    /* An empty batch is still open while the core may yet answer it. */
    while (g->tag_begin < g->tag_end) {
        const struct group_read_batch *b = batch_of(g, g->tag_begin);

        if ((!b->failed && !b->confirmed) || b->requests.count > 0) {
            break;
        }
        g->tag_begin++;
    }
    if (g->tag_begin > tag_begin && g->reads_queued.head != NULL) {
        group_wake(g);
    }
}

/* ---- deadlines and the end ---- */

static void expire_list(struct group *g, struct request_list *l, uint64_t now_ms,
                        uint64_t *io_next_ms)
{
    struct request *req = l->head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        } else {
            request_list_remove(l, req);
            if (l != &g->reads_queued) {
                g->reads_waiting--;
            }
            g->stats.not_done++;
            reply_error(
                req, KV_ETIMEOUT,
                "group %u: the deadline passed before a majority confirmed that the "
                "leader still leads; try again",
                g->id);
        }
        req = next;
    }
}

void group_read_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    expire_list(g, &g->reads_queued, now_ms, io_next_ms);
    for (uint64_t tag = g->tag_begin; tag < g->tag_end; tag++) {
        expire_list(g, &batch_of(g, tag)->requests, now_ms, io_next_ms);
    }
}

void group_read_reroute_all(struct group *g)
{
    group_reroute_list(g, &g->reads_queued, false);
    group_reroute_list(g, &g->reads_local, true);
    for (uint64_t tag = g->tag_begin; tag < g->tag_end; tag++) {
        struct group_read_batch *b = batch_of(g, tag);

        g->reads_waiting -= b->requests.count;
        group_reroute_list(g, &b->requests, false);
        b->failed = true;
    }
}
