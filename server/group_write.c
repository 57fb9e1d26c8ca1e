/* server/group_write.c - requests in, one PROPOSE per turn out, and their deadlines.
 *
 *   queued ──PROPOSE──► ring[index] ──applied, own term──► done
 *     │                    ├──applied, another term──► certainly not done: router
 *     │                    └──deadline, or the index went by in a snapshot──► UNKNOWN
 *     └──deadline──► TIMEOUT (nothing was appended);  not leader──► router
 */
#include "server/group_internal.h"

/* ---- admission ---- */

static bool is_delete(const struct request *req)
{
    return req->rpc.method == RPC_KV_DEL || req->rpc.method == RPC_KV_DELRANGE ||
           rpc_method_lock(req->rpc.method) == RPC_LOCK_RELEASE;
}

/* Records that the disk still reads. The first chunk, the last and the spare one are
 * there however little they hold: they count for nothing. */
static bool undurable_full(const struct group *g)
{
    return g->tail.chunks_bytes > g->options.tail_bytes_max +
                                      g->options.limits.undurable_bytes_max +
                                      3 * (size_t)TAIL_CHUNK_BYTES;
}

/* Why a write cannot be taken now: 0, or the code to refuse it with. */
static int write_refusal(const struct group *g, const struct request *req,
                         const char **out_why)
{
    if (disk_no_space(g->node->disk) && !is_delete(req)) {
        *out_why = "the disk or quota of the leader is full; delete keys or free space";
        return KV_ENOSPACE;
    }
    if (state_full(g->st)) {
        *out_why =
            "the leader's memory for changes is full until its disk has caught up; "
            "try again";
        return KV_EBUSY;
    }
    if (g->queued.count >= g->options.limits.queued_max || undurable_full(g)) {
        *out_why = "too many writes of this group are under way; try again";
        return KV_EBUSY;
    }
    return 0;
}

void group_note_deadline(struct group *g, const struct request *req)
{
    g->expire_ms = KV_MIN(g->expire_ms, req->deadline_ms);
}

void group_submit(struct group *g, struct request *req)
{
    const char *why = "";
    int rc;

    KV_ASSERT(g->magic == GROUP_MAGIC);
    if (g->id == NODE_META_GROUP && req->rpc.method != RPC_CLUSTER_SET_W) {
        reply_error(req, KV_EBADREQUEST, "the group meta holds no keys");
        return;
    }
    request_move(req, REQ_WAITING);
    req->is_local = false;
    if (!group_is_leader(g)) {
        router_submit(g->node, req);
        return;
    }
    if (!req->is_write && !group_fence_wants_mark(g, req)) {
        group_lock_arrived(g, req);
        request_list_push(&g->reads_queued, req);
    } else if (req->rpc.method == RPC_CLUSTER_SET_W) {
        group_w_submit(g, req);
        return;
    } else if (group_w_refuses(g, req)) {
        reply_error(req, KV_EBADQUORUM,
                    "group %u: w is %u, and it has %u voters; nothing was done", g->id,
                    req->rpc.options.w, group_config(g)->voters_count);
        return;
    } else {
        rc = write_refusal(g, req, &why);
        if (rc != 0) {
            g->stats.busy++;
            reply_error(req, rc, "group %u: %s", g->id, why);
            return;
        }
        request_list_push(&g->queued, req);
    }
    group_note_deadline(g, req);
    group_wake(g);
}

/* ---- back to the router ---- */

void group_reroute(struct group *g, struct request *req, bool later)
{
    request_move(req, REQ_WAITING);
    req->tries++;
    if (later) {
        req->retry_ms = g->now_ms + GROUP_REROUTE_MS;
    }
    request_list_push(&g->rerouted, req);
    group_wake(g);
}

void group_reroute_list(struct group *g, struct request_list *l, bool later)
{
    while (l->head != NULL) {
        struct request *req = l->head;

        request_list_remove(l, req);
        group_reroute(g, req, later);
    }
}

void group_reroute_flush(struct group *g)
{
    struct request_list l = g->rerouted;

    g->rerouted = (struct request_list){0};
    while (l.head != NULL) {
        struct request *req = l.head;

        request_list_remove(&l, req);
        router_submit(g->node, req);
    }
}

/* ---- the ring of proposed writes ---- */

static struct request **ring_slot(struct group *g, raft_index index)
{
    return &g->ring[index % GROUP_RING_CAP];
}

/* Indexes that may still be proposed with a request. Requests of an older term may
 * wait at indexes behind the end of a log that was cut since, or far before it. */
static uint32_t ring_room(const struct group *g)
{
    raft_index next = g->last.index + 1;
    raft_index begin = g->proposed_count == 0 ? next : KV_MIN(g->ring_begin, next);
    raft_index end = g->proposed_count == 0 ? next : KV_MAX(g->ring_end, next);

    if (end - begin > g->options.limits.ring_max ||
        next - begin >= g->options.limits.ring_max) {
        return 0;
    }
    return (uint32_t)(begin + g->options.limits.ring_max - next);
}

static void ring_put(struct group *g, struct request *req, struct raft_pos pos)
{
    struct request **slot = ring_slot(g, pos.index);

    req->pos = pos;
    if (g->proposed_count == 0) {
        g->ring_begin = pos.index;
        g->ring_end = pos.index + 1;
    }
    g->ring_begin = KV_MIN(g->ring_begin, pos.index);
    g->ring_end = KV_MAX(g->ring_end, pos.index + 1);
    KV_ASSERT(g->ring_end - g->ring_begin <= GROUP_RING_CAP);
    req->next = *slot; /* An older term's request may still be undecided there. */
    *slot = req;
    g->proposed_count++;
}

struct request *group_write_take(struct group *g, raft_index index)
{
    struct request *chain;

    if (g->proposed_count == 0 || index < g->ring_begin || index >= g->ring_end) {
        return NULL;
    }
    chain = *ring_slot(g, index);
    *ring_slot(g, index) = NULL;
    for (const struct request *req = chain; req != NULL; req = req->next) {
        KV_ASSERT(req->pos.index == index);
        g->proposed_count--;
    }
    if (index == g->ring_begin) {
        g->ring_begin++;
    }
    return chain;
}

static void end_unknown(struct group *g, struct request *req, const char *why)
{
    if (!req->is_write) {
        g->stats.not_done++;
        reply_error(req, KV_ETIMEOUT,
                    "group %u: the read's token was not noted in time: %s", g->id, why);
        return;
    }
    g->stats.unknown++;
    reply_error(req, KV_EUNKNOWN,
                "group %u: %s; read the key to see whether it was applied", g->id, why);
}

static void end_chain_unknown(struct group *g, struct request *chain, const char *why)
{
    while (chain != NULL) {
        struct request *req = chain;

        chain = req->next;
        req->next = NULL;
        end_unknown(g, req, why);
    }
}

void group_write_lost(struct group *g, raft_index index)
{
    while (g->proposed_count > 0 && g->ring_begin <= index) {
        raft_index at = g->ring_begin;

        if (at >= g->ring_end) {
            break;
        }
        end_chain_unknown(
            g, group_write_take(g, at),
            "this node fell behind and took a snapshot that covers the write");
    }
}

/* ---- proposing ---- */

/* The prefixes of a request's command; node_request() has seen that they fit. */
static void prefixes_of(const struct rpc_options *o, struct command *c)
{
    if (o->session != 0) {
        c->session = (struct command_session){
            .session = o->session,
            .seq = o->seq,
            .ack = (o->has & RPC_OPT_BIT(RPC_OPT_ack)) != 0 ? o->ack : o->seq,
            .stamp_ms = o->stamp,
        };
    }
    if (o->idem.len > 0) {
        c->idem = (struct command_idem){
            .key = o->idem,
            .stamp_ms = o->stamp,
            .ttl_ms = o->idem_ttl_ms != 0 ? o->idem_ttl_ms : (uint32_t)KV_RETENTION_MS,
        };
    }
}

/* Some slot that the group owns, the same as long as it owns the same ones. */
static uint16_t slot_of_group(const struct group *g)
{
    uint16_t slot = 0;

    while (slot < KV_SLOTS - 1 && !apply_owns(&g->apply, slot)) {
        slot++;
    }
    return slot;
}

static void delrange_command(const struct group *g, const struct rpc_request *q,
                             struct command *c)
{
    uint32_t limit = q->options.limit;

    c->kind = COMMAND_KV_DELRANGE;
    c->slot = slot_of_group(g);
    c->begin = q->begin;
    c->end = q->end;
    c->rows_max = (uint16_t)(limit == 0 ? (uint32_t)KV_RANGE_ITEMS_DEFAULT : limit);
}

/* The command of a request; views into its message. */
static struct command command_of(const struct group *g, const struct request *req)
{
    const struct rpc_request *q = &req->rpc;
    struct command c = {.slot = req->slot, .key = q->key};

    prefixes_of(&q->options, &c);
    c.has_if_rev = (q->options.has & RPC_OPT_BIT(RPC_OPT_if_rev)) != 0;
    c.if_rev = q->options.if_rev;
    group_fence_command(req, &c);
    if (c.kind == COMMAND_FENCE_MARK) {
        return c;
    }
    switch (q->method) {
    case RPC_KV_PUT:
        c.kind = COMMAND_KV_PUT;
        c.value = q->value;
        c.ttl_ms = q->options.ttl_ms;
        return c;
    case RPC_KV_DEL:
        c.kind = COMMAND_KV_DEL;
        return c;
    case RPC_KV_CAS:
        c.kind = COMMAND_KV_CAS;
        c.has_expected = q->has_expected;
        c.has_replacement = q->has_replacement;
        c.expected = q->has_expected ? q->expected : kv_bytes(NULL, 0);
        c.replacement = q->has_replacement ? q->replacement : kv_bytes(NULL, 0);
        return c;
    case RPC_KV_GETSET:
        c.kind = COMMAND_KV_GETSET;
        c.value = q->value;
        c.ttl_ms = q->options.ttl_ms;
        return c;
    case RPC_KV_INCR:
        c.kind = COMMAND_KV_INCR;
        c.delta = q->delta;
        return c;
    case RPC_KV_TXN:
        c.kind = COMMAND_KV_TXN;
        c.txn = req->txn;
        return c;
    case RPC_KV_DELRANGE:
        delrange_command(g, q, &c);
        return c;
    default:
        KV_ASSERT(rpc_method_lock(q->method) != RPC_UNKNOWN);
        group_lock_command(req, &c);
        return c;
    }
}

/* Encodes queued writes, oldest first. Returns how many fit. */
static uint32_t batch_encode(struct group *g, struct raft_proposal *items, uint32_t max)
{
    uint32_t count = 0;
    size_t bytes = 0;

    arena_reset(&g->batch);
    for (const struct request *req = g->queued.head; req != NULL && count < max;
         req = req->next) {
        struct command c = command_of(g, req);
        size_t need = command_bytes(&c);
        uint8_t *payload;

        if (count > 0 && bytes + need > g->options.limits.batch_bytes_max) {
            break;
        }
        payload = arena_alloc(&g->batch, need);
        if (payload == NULL) {
            break;
        }
        command_encode(&c, payload);
        items[count++] = (struct raft_proposal){.payload = kv_bytes(payload, need),
                                                .stamp_ms = req->rpc.options.stamp};
        bytes += need;
    }
    return count;
}

/* Proposes up to `max` queued writes. 0, KV_ENOTLEADER, KV_EBUSY: none was taken. */
static int propose_some(struct group *g, uint32_t max, uint32_t *out_count)
{
    struct raft_proposal items[RAFT_PROPOSALS_MAX];
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
    struct raft_pos pos = {g->last.index, g->term};
    uint32_t count = batch_encode(g, items, max);
    int rc;

    if (count == 0) {
        return KV_EBUSY; /* No memory for a single one. */
    }
    ev.u.propose.items = items;
    ev.u.propose.count = count;
    rc = group_feed(g, &ev);
    if (rc != 0) {
        return rc;
    }
    KV_ASSERT(g->last.index >= pos.index + count && g->last.term == pos.term);
    for (uint32_t i = 0; i < count; i++) {
        struct request *req = g->queued.head;

        request_list_remove(&g->queued, req);
        request_move(req, REQ_PROPOSED);
        pos.index++;
        ring_put(g, req, pos);
    }
    g->stats.proposals += count;
    *out_count = count;
    return 0;
}

static void propose_queued(struct group *g)
{
    uint32_t max = g->options.limits.batch_max;

    while (g->queued.head != NULL && !g->propose_blocked) {
        uint32_t count = 0;
        int rc;

        max = KV_MIN(max, ring_room(g));
        rc = max == 0 ? KV_EBUSY : propose_some(g, max, &count);
        if (rc == KV_EBUSY && max > 1) {
            max /= 8; /* The core takes all of a batch or nothing. */
            g->propose_blocked = max == 0;
        } else if (rc == KV_EBUSY) {
            g->propose_blocked = true;
        } else if (rc != 0) {
            /* A transfer is going on, or the role changed in this step. */
            g->handing_over = g->role == RAFT_LEADER;
            group_reroute_list(g, &g->queued, true);
        }
    }
}

int group_propose(struct group *g, struct kv_bytes command)
{
    struct raft_proposal item = {.payload = command};
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE};

    if (!group_is_leader(g)) {
        return KV_ENOTLEADER;
    }
    ev.u.propose.items = &item;
    ev.u.propose.count = 1;
    return group_feed(g, &ev);
}

/* Writes that queued before the disk was found full. */
static void refuse_queued(struct group *g)
{
    struct request *req = g->queued.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (!is_delete(req)) {
            request_list_remove(&g->queued, req);
            g->stats.busy++;
            reply_error(
                req, KV_ENOSPACE,
                "group %u: the disk or quota of the leader is full; delete keys or "
                "free space",
                g->id);
        }
        req = next;
    }
}

/* ---- which slots the group owns: a new group's first command ---- */

static void propose_slots(struct group *g)
{
    const struct node *n = g->node;
    uint8_t slots[COMMAND_SLOTS_BYTES] = {0};
    struct command c = {.kind = COMMAND_OWN_SLOTS,
                        .slots = kv_bytes(slots, sizeof slots)};
    uint8_t *payload;
    int rc;

    if (g->slots_term == g->term || !n->map_known ||
        map_group_find(&n->map, (uint16_t)g->id) == NULL ||
        group_applied(g) < g->commit) {
        return;
    }
    for (uint32_t slot = 0; slot < KV_SLOTS; slot++) {
        if (n->map.slots[slot] == g->id) {
            command_slot_set(slots, (uint16_t)slot);
        }
    }
    arena_reset(&g->batch);
    payload = arena_alloc(&g->batch, command_bytes(&c));
    if (payload == NULL) {
        return;
    }
    command_encode(&c, payload);
    rc = group_propose(g, kv_bytes(payload, command_bytes(&c)));
    if (rc == 0) {
        g->slots_term = g->term;
    }
}

void group_write_flush(struct group *g)
{
    if (!group_is_leader(g)) {
        group_reroute_list(g, &g->queued, g->handing_over);
        return;
    }
    if (group_wants_slots(g)) {
        propose_slots(g);
        return; /* Requests wait until it is applied. */
    }
    if (g->queued.head != NULL && disk_no_space(g->node->disk)) {
        refuse_queued(g);
    }
    propose_queued(g);
}

/* ---- deadlines and the end ---- */

static void expire_queued(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    struct request *req = g->queued.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms <= now_ms) {
            request_list_remove(&g->queued, req);
            g->stats.not_done++;
            reply_error(
                req, KV_ETIMEOUT,
                "group %u: the deadline passed before the write could be appended; "
                "try again, or with a longer deadline",
                g->id);
        } else {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        }
        req = next;
    }
}

static void expire_slot(struct group *g, struct request **slot, uint64_t now_ms,
                        uint64_t *io_next_ms)
{
    struct request **link = slot;

    while (*link != NULL) {
        struct request *req = *link;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
            link = &req->next;
            continue;
        }
        *link = req->next;
        req->next = NULL;
        g->proposed_count--;
        end_unknown(
            g, req,
            group_leads(g)
                ? "the deadline passed before enough replicas had the write"
                : "leadership changed and the deadline passed before the write was "
                  "decided");
    }
}

void group_expire(struct group *g, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    if (now_ms < g->expire_ms) {
        return;
    }
    g->now_ms = KV_MAX(g->now_ms, now_ms);
    expire_queued(g, now_ms, &next_ms);
    for (raft_index i = g->ring_begin; g->proposed_count > 0 && i < g->ring_end; i++) {
        expire_slot(g, ring_slot(g, i), now_ms, &next_ms);
    }
    group_read_expire(g, now_ms, &next_ms);
    group_local_expire(g, now_ms, &next_ms);
    group_lock_expire(g, now_ms, &next_ms);
    group_w_expire(g, now_ms, &next_ms);
    /* Not sooner than in a while, so that a scan is shared by many deadlines. */
    g->expire_ms =
        next_ms == UINT64_MAX ? UINT64_MAX : KV_MAX(next_ms, now_ms + GROUP_EXPIRE_MS);
}

void group_write_end_all(struct group *g, const char *why)
{
    group_w_end_all(g, why);
    while (g->queued.head != NULL) {
        struct request *req = g->queued.head;

        request_list_remove(&g->queued, req);
        reply_error(req, KV_ENOLEADER, "group %u: %s; try another node", g->id, why);
    }
    for (raft_index i = g->ring_begin; g->proposed_count > 0 && i < g->ring_end; i++) {
        end_chain_unknown(g, group_write_take(g, i), why);
    }
}
