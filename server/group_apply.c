/* server/group_apply.c - committed entries into the state, results to requests. */
#include "raft/record.h"
#include "server/group_internal.h"
#include "server/watch.h"
#include "storage/failpoint.h"

/* ---- reading records: the tail, or a stretch of the log read ahead ---- */

void group_apply_forget(struct group *g)
{
    g->ahead_count = 0;
    g->ahead = NULL;
}

static int read_ahead(struct group *g, raft_index index)
{
    struct store *s = g->node->store;
    raft_index end = KV_MIN(g->commit + 1, index + g->options.limits.read_ahead_count);
    int rc;

    /* What is in the tail may not be in the log yet. */
    if (g->tail.begin < g->tail.end && g->tail.begin > index) {
        end = KV_MIN(end, g->tail.begin);
    }
    group_apply_forget(g);
    arena_reset(&g->ahead_arena);
    rc = s->ops->log_read(s, g->id, index, end, g->options.limits.read_ahead_bytes,
                          &g->ahead_arena, &g->ahead, &g->ahead_count);
    if (rc != 0) {
        group_apply_forget(g);
        return rc;
    }
    g->ahead_begin = index;
    return g->ahead_count > 0 ? 0 : KV_ENOTFOUND;
}

static int record_of(struct group *g, raft_index index, struct kv_bytes *out)
{
    int rc;

    if (tail_has(&g->tail, index)) {
        *out = tail_get(&g->tail, index);
        return 0;
    }
    if (g->ahead_count == 0 || index < g->ahead_begin ||
        index - g->ahead_begin >= g->ahead_count) {
        rc = read_ahead(g, index);
        if (rc != 0) {
            return rc;
        }
    }
    *out = g->ahead[index - g->ahead_begin];
    return 0;
}

static int entry_of(struct group *g, raft_index index, struct raft_entry *out)
{
    struct kv_bytes record;
    int rc = record_of(g, index, &record);

    if (rc == 0) {
        rc = raft_record_decode(record, out);
    }
    if (rc == 0 && out->pos.index != index) {
        rc = KV_ECORRUPT;
    }
    return rc;
}

/* ---- results ---- */

/* A write whose entry was applied, until its batch is through. */
struct done {
    struct request *req;
    struct apply_result result;
};

/* Refused for what its session or idempotency key says (apply_record_begin()). */
static void reply_record(struct group *g, struct request *req,
                         const struct apply_result *r)
{
    switch (r->code) {
    case KV_EEXIST:
        reply_error(req, KV_EBADREQUEST,
                    "%s was used for another request; nothing was changed",
                    req->rpc.options.session != 0 ? "this seq of the session"
                                                  : "this idem key");
        return;
    case KV_ESESSION:
        g->stats.not_done++;
        reply_error(req, r->code,
                    "%llu is the group's time in ms: this request is too old, or a "
                    "copy of one that has ended, and its result is not kept any more; "
                    "this sending changed nothing",
                    (unsigned long long)r->time_ms);
        return;
    case KV_EAGAIN:
        reply_error(
            req, KV_EBUSY,
            "%llu is the group's time in ms, and the stamp lies %llu s ahead of it; is "
            "a node's clock wrong?",
            (unsigned long long)r->time_ms,
            (unsigned long long)(req->rpc.options.stamp - r->time_ms) / 1000);
        return;
    default:
        KV_ASSERT(r->code == KV_EBUSY);
        reply_error(req, r->code,
                    "%u results of this session are kept in this slot; acknowledge "
                    "some with option ack",
                    g->apply.results_max);
        return;
    }
}

/* What stands beside `at`. */
static void at_fill(struct rpc_at *at, const struct request *req,
                    const struct apply_result *r)
{
    at->repeated = r->is_repeated;
    at->has_swapped = (req->rpc.options.has & RPC_OPT_BIT(RPC_OPT_if_rev)) != 0;
    at->swapped = r->swapped;
}

static void reply_done(struct group *g, struct done *d)
{
    const struct apply_result *r = &d->result;
    struct reply_result reply = {
        .at = group_at(g, apply_rev(&g->apply, d->req->pos.index)),
        .deleted = r->deleted,
        .swapped = r->swapped,
        .number = r->number,
        .more = r->more,
        .next = r->next,
        .value = r->value,
        .has_value = r->has_value,
        .rev = r->rev,
        .succeeded = r->succeeded,
        .results = r->results,
        .results_count = r->results_count,
    };

    at_fill(&reply.at, d->req, r);
    if (!d->req->is_write) {
        group_fence_marked(g, d->req, r->code);
        return;
    }
    if (r->is_lock) {
        group_lock_refused(d->req, r->code);
        return;
    }
    switch (r->code) {
    case 0:
        if (r->results_lost) {
            reply_error(d->req, KV_EUNKNOWN,
                        "the write was carried out, but there is no memory for what "
                        "it read; read the keys");
            return;
        }
        group_w_reply(g, d->req, &reply);
        return;
    case KV_ETOOLARGE:
        reply_error(d->req, r->code,
                    "the transaction reads more than %d bytes or %d items, or replaces "
                    "more than %d bytes; nothing was changed",
                    APPLY_TXN_RESULT_BYTES_MAX, KV_RANGE_ITEMS_MAX,
                    APPLY_TXN_UNDO_BYTES_MAX);
        return;
    case KV_EBADREQUEST:
        reply_error(
            d->req, r->code,
            "the key's value is not a decimal 64-bit integer; nothing was changed");
        return;
    case KV_EEXIST:
    case KV_ESESSION:
    case KV_EAGAIN:
    case KV_EBUSY:
        reply_record(g, d->req, r);
        return;
    case KV_EFENCED:
        group_fence_refused(g, d->req);
        return;
    case KV_EOVERFLOW:
        reply_error(d->req, r->code,
                    "the sum does not fit into 64 bits; nothing was changed");
        return;
    case KV_ENOTFOUND: /* The slot went elsewhere, or the map is not right yet. */
        g->stats.not_done++;
        group_reroute(g, d->req, true);
        return;
    default:
        reply_error(d->req, KV_EBUSY,
                    "no memory for the current value; nothing was changed, try again");
        return;
    }
}

/* Sorts out who waited at this index: own term (at most one; returned), or another. */
static struct request *match(struct group *g, const struct raft_entry *e)
{
    struct request *chain = group_write_take(g, e->pos.index);
    struct request *found = NULL;

    while (chain != NULL) {
        struct request *req = chain;

        chain = req->next;
        req->next = NULL;
        if (req->pos.term == e->pos.term || KV_BUG(g->node->config, B35)) {
            KV_ASSERT(found == NULL);
            found = req;
        } else {
            /* Another entry is committed here: this one never will be. */
            g->stats.not_done++;
            group_reroute(g, req, false);
        }
    }
    return found;
}

/* ---- applying ---- */

static void apply_failed(struct group *g, int rc, raft_index index)
{
    switch (rc) {
    case KV_ENOMEM:
        node_halt(g->node, rc, "group=%u index=%llu no memory to apply an entry", g->id,
                  (unsigned long long)index);
        return;
    case KV_EIO:
        node_halt(g->node, rc, "group=%u index=%llu cannot read the state", g->id,
                  (unsigned long long)index);
        return;
    case KV_EFORMAT:
        group_halt(g, rc,
                   "an entry has a kind or version that this program does not know; "
                   "a newer kvd is needed");
        return;
    case KV_EDAMAGED:
        group_state_damaged(g);
        return;
    default:
        group_halt(g, rc, "a committed entry cannot be applied");
        return;
    }
}

/* Reads the next entry. False: not now (damaged, or the replica halted). */
static bool next_entry(struct group *g, raft_index index, struct raft_entry *out)
{
    int rc = entry_of(g, index, out);

    if (rc == 0) {
        return true;
    }
    if (rc == KV_EDAMAGED) {
        group_entry_damaged(g, index);
    } else {
        apply_failed(
            g, rc == KV_EFORMAT || rc == KV_EIO || rc == KV_ENOMEM ? rc : KV_ECORRUPT,
            index);
    }
    return false;
}

/* The active delta has room: it is bounded, and frozen for a checkpoint when full. */
static bool has_room(const struct group *g)
{
    return state_delta_bytes(g->st) < g->options.delta_bytes_max;
}

static bool may_apply(const struct group *g)
{
    return g->halted == 0 && !g->lost.is_lost &&
           g->install_phase == GROUP_INSTALL_NONE &&
           g->damage.index != group_applied(g) + 1 && g->node->phase != NODE_HALTED;
}

/* Applies one entry; *out gets a request when one waits for it. */
static bool apply_one(struct group *g, raft_index index, struct done *out)
{
    struct raft_entry entry;
    int rc;

    if (!next_entry(g, index, &entry)) {
        return false;
    }
    out->req = match(g, &entry);
    (void)KV_FAILPOINT(apply);
    rc = apply_entry(&g->apply, &entry, out->req != NULL ? &out->req->arena : NULL,
                     &out->result);
    if (rc != 0) {
        if (out->req != NULL) {
            g->stats.unknown++;
            reply_error(
                out->req, KV_EUNKNOWN,
                "group %u: the leader stopped while applying the write; read the key "
                "to see whether it was applied",
                g->id);
        }
        apply_failed(g, rc, index);
        return false;
    }
    (void)KV_FAILPOINT(applied);
    g->stats.applied++;
    if (entry.type == RAFT_ENTRY_COMMAND) {
        group_store_touched(g);
    }
    if (out->result.is_change) {
        watches_on_batch(g->node, g);
    } else if (out->result.is_change_lost) {
        watches_on_reset(g->node, g);
    }
    group_lock_applied(g, &entry, &out->result, &out->req);
    if (out->result.is_map) {
        node_map_applied(g->node, out->result.map);
    }
    return true;
}

/* Applies up to `max` entries and answers for them. Returns how many. */
static uint32_t apply_batch(struct group *g, uint32_t max)
{
    struct done done[GROUP_APPLY_BATCH];
    uint32_t done_count = 0;
    uint32_t count = 0;

    while (count < max && may_apply(g) && has_room(g)) {
        raft_index index = group_applied(g) + 1;

        if (index > (KV_BUG(g->node->config, K09) ? g->last.index : g->commit) ||
            !apply_one(g, index, &done[done_count])) {
            break;
        }
        count++;
        if (done[done_count].req != NULL) {
            done_count++;
        }
    }
    for (uint32_t i = 0; i < done_count; i++) {
        reply_done(g, &done[i]);
    }
    return count;
}

void group_apply_flush(struct group *g)
{
    struct raft_event ev = {.kind = RAFT_EV_APPLIED};
    uint32_t batch = KV_MIN(g->options.limits.apply_flush_max, GROUP_APPLY_BATCH);
    uint32_t total = 0;
    uint32_t count;

    if (!may_apply(g) || group_applied(g) >= g->commit) {
        return;
    }
    do {
        count = apply_batch(g, batch);
        total += count;
    } while (count == batch && total < g->options.limits.apply_flush_max);
    if (total == 0 || g->halted != 0) {
        return;
    }
    g->propose_blocked = false;
    if ((group_applied(g) < g->commit && has_room(g)) || g->queued.head != NULL ||
        g->reads_queued.head != NULL || group_wants_slots(g)) {
        group_wake(g); /* There is more, or what waited may go on now. */
    }
    ev.u.index = group_applied(g);
    (void)group_feed(g, &ev);
}
