/* server/group_lock.c - what a group's leader does for locks: leases, and waiting.
 *
 *   acquire ──applied──► holds ──────────────────────────────► answered
 *                          └► waits ──granted───────────────► answered
 *                               ├──wait_ms over──CANCEL────► answered: not acquired
 *                               └──deadline first───────► answered: the place is kept
 *
 * The state says who holds and who waits; the leader only decides when to propose
 * that a claim ends. It begins with the no-op of its term, and gives each claim its
 * full time then: the leader before it may have acknowledged a keepalive in its last
 * moment. A claim that it has proposed to end gets no acknowledgement any more until
 * that is applied. Time in which the loop did not run counts for nobody.
 */
#include "server/group_internal.h"

enum {
    LOCK_LOOK_MS = 100,   /* While there are leases, the loop should come by. */
    LOCK_LATE_MS = 100,   /* It came later by this: it was held up. */
    LOCK_GRACE_MS = 1000, /* Nothing ends then, for so long: keepalives may queue. */
    LOCK_RETRY_MS = 20,   /* Until a proposal that was not taken is made again. */
    LOCK_ANSWER_MS = 50,  /* Left of a deadline for the answer to come back. */
    LOCK_DUE_MAX = 128,   /* Looked at in a turn. */
    LOCK_SCAN_ROWS = 256, /* Rows of locks read in a turn, when a term begins. */
    LOCK_SCAN_BYTES = 256 * 1024,
};

static bool is_active(const struct group *g)
{
    return g->locks.term != 0 && g->locks.term == g->term && group_leads(g);
}

static uint32_t ttl_of(const struct request *req)
{
    uint32_t ttl_ms = req->rpc.options.ttl_ms;

    return ttl_ms == 0 ? KV_LOCK_TTL_MS_DEFAULT : ttl_ms;
}

/* ---- answers ---- */

static struct rpc_at at_applied(const struct group *g)
{
    return group_at(g, apply_rev(&g->apply, group_applied(g)));
}

static void answer_held(struct group *g, struct request *req, uint64_t token,
                        uint32_t ttl_ms)
{
    struct reply_result reply = {.at = at_applied(g)};

    reply.lock = (struct rpc_lock_result){true, token, ttl_ms, 0};
    reply_result(req, &reply);
}

/* place 0: not in the queue. */
static void answer_not_held(struct group *g, struct request *req, uint32_t place)
{
    struct reply_result reply = {.at = at_applied(g)};

    reply.lock = (struct rpc_lock_result){false, 0, ttl_of(req), place};
    reply_result(req, &reply);
}

static void answer_release(struct group *g, struct request *req, bool released)
{
    struct reply_result reply = {.at = at_applied(g), .released = released};

    reply_result(req, &reply);
}

/* ---- leases ---- */

/* A lease that cannot be kept would never end: all are taken from the state again. */
static void lease_begin(struct group *g, struct kv_bytes name, uint16_t slot,
                        const struct lock_claim *c, bool is_holder)
{
    struct lease_ask ask = {.name = name,
                            .owner = c->owner,
                            .id = c->id,
                            .deadline_ms = g->now_ms + c->ttl_ms,
                            .ttl_ms = c->ttl_ms,
                            .slot = slot,
                            .is_holder = is_holder};

    if (g->locks.leases.count == 0) {
        g->locks.seen_ms = g->now_ms; /* Nobody had a reason to come by. */
    }
    if (leases_find(&g->locks.leases, name, c->id) == NULL &&
        leases_add(&g->locks.leases, &ask) == NULL) {
        g->locks.is_scanning = true;
        g->locks.scan_len = 0;
    }
}

static struct request *lease_take_request(struct lease *l)
{
    struct request *req = l->req;

    l->req = NULL;
    return req;
}

/* The claim is gone. */
static void lease_end(struct group *g, struct kv_bytes name, uint64_t id)
{
    struct lease *l = leases_find(&g->locks.leases, name, id);
    struct request *req = l == NULL ? NULL : lease_take_request(l);

    if (req != NULL && l->gave_up) {
        answer_not_held(g, req, 0);
    } else if (req != NULL) {
        group_reroute(g, req, false); /* It asked behind what ended its claim. */
    }
    if (l != NULL) {
        leases_remove(&g->locks.leases, l);
    }
}

static void lease_granted(struct group *g, const struct apply_result *r, uint16_t slot)
{
    struct lease *l = leases_find(&g->locks.leases, r->lock_name, r->lock.waited);
    struct request *req = l == NULL ? NULL : lease_take_request(l);

    if (l != NULL) {
        leases_remove(&g->locks.leases, l);
    }
    lease_begin(g, r->lock_name, slot, &r->lock.next, true);
    if (req != NULL) {
        answer_held(g, req, r->lock.granted, r->lock.next.ttl_ms);
    }
}

/* A holder proves that it lives. */
static void lease_renew(struct group *g, struct lease *l)
{
    if (!l->deciding) {
        leases_set(&g->locks.leases, l, KV_MAX(l->deadline_ms, g->now_ms + l->ttl_ms));
    }
}

/* ---- what was applied ---- */

static uint64_t wait_end_ms(const struct group *g, const struct request *req)
{
    uint64_t left = req->deadline_ms - KV_MIN(req->deadline_ms, g->now_ms);
    uint64_t hard = req->deadline_ms - KV_MIN(left / 4, (uint64_t)LOCK_ANSWER_MS);

    return KV_MIN(g->now_ms + req->rpc.options.wait_ms, hard);
}

/* The request waits with its claim. One that waited there before hears its place. */
static void wait_begin(struct group *g, struct lease *l, struct request *req,
                       uint32_t place)
{
    struct request *before = lease_take_request(l);

    if (before != NULL) {
        answer_not_held(g, before, place);
    }
    request_move(req, REQ_WAITING);
    l->req = req;
    l->gave_up = false;
    leases_set(&g->locks.leases, l,
               l->deciding ? req->deadline_ms : wait_end_ms(g, req));
}

static void acquire_applied(struct group *g, const struct apply_result *r,
                            struct request *req)
{
    const struct lock_change *c = &r->lock;
    struct lease *l =
        is_active(g) ? leases_find(&g->locks.leases, r->lock_name, c->own.id) : NULL;

    if (c->held && l != NULL && l->deciding) {
        wait_begin(g, l, req, 0); /* Asks again behind the end that was proposed. */
    } else if (c->held && !c->changed && !is_active(g)) {
        /* An end of the lease that an older term proposed may stand behind this. */
        group_reroute(g, req, true);
    } else if (c->held) {
        if (l != NULL) {
            lease_renew(g, l);
        }
        answer_held(g, req, c->token, c->own.ttl_ms);
    } else if (c->place == 0) {
        answer_not_held(g, req, 0);
    } else if (l != NULL) {
        wait_begin(g, l, req, c->place);
    } else {
        group_reroute(g, req, true); /* Another leads: it finds its place there. */
    }
}

void group_lock_refused(struct request *req, int code)
{
    if (code == KV_EBADREQUEST) {
        reply_error(req, code,
                    "it is held with another number of permits; nothing was changed");
    } else {
        KV_ASSERT(code == KV_EBUSY);
        reply_error(req, code, "%d hold the lock or wait for it; try again later",
                    KV_LOCK_CLAIMS_MAX);
    }
}

void group_lock_applied(struct group *g, const struct raft_entry *entry,
                        struct apply_result *r, struct request **io_req)
{
    struct request *req = *io_req;
    const struct lock_change *c = &r->lock;

    if (group_leads(g) && entry->pos.term == g->term && g->locks.term != g->term) {
        /* The first entry of our term: its no-op, or a new group's configuration. */
        group_lock_stop(g);
        g->locks.term = g->term;
        g->locks.is_scanning = true;
        g->locks.seen_ms = g->now_ms;
        group_wake(g);
    }
    if (!r->is_lock || r->code != 0) {
        return;
    }
    if (is_active(g)) {
        uint16_t slot = kv_get_u16le(entry->payload.data + 2);

        if (c->ended != 0) {
            lease_end(g, r->lock_name, c->ended);
        }
        if (c->granted != 0) {
            lease_granted(g, r, slot);
        }
        if (c->changed && (c->held || c->place > 0)) {
            lease_begin(g, r->lock_name, slot, &c->own, c->held);
        }
        group_lock_unhold(g);
        group_wake(g);
    }
    if (req == NULL) {
        return;
    }
    *io_req = NULL;
    if (rpc_method_lock(req->rpc.method) == RPC_LOCK_ACQUIRE) {
        acquire_applied(g, r, req);
    } else {
        answer_release(g, req, c->changed);
    }
}

/* ---- the beginning and the end of a term ---- */

static void scan_row(struct group *g, const struct row *row, struct arena *arena)
{
    struct lock l;

    if (lock_decode(row->value, arena, &l) != 0) {
        return; /* Whoever touches it next finds out. */
    }
    for (uint32_t i = 0; i < l.holders_count + l.waiters_count; i++) {
        if (KV_BUG(g->node->config, K43)) {
            l.claims[i].ttl_ms = 0;
        }
        lease_begin(g, row->key, row->slot, &l.claims[i], i < l.holders_count);
    }
}

/* Reads some rows of locks; all of them before long. */
static void scan_some(struct group *g)
{
    struct arena arena;
    struct row *rows = NULL;
    uint32_t count = 0;
    bool more = false;
    int rc;

    g->locks.is_scanning = false;
    arena_init(&arena, 16384, 0);
    rc = state_range(g->st, ROW_LOCK, kv_bytes(g->locks.scan_from, g->locks.scan_len),
                     kv_bytes(NULL, 0), LOCK_SCAN_ROWS, LOCK_SCAN_BYTES, &arena, &rows,
                     &count, &more);
    if (rc == KV_EDAMAGED) {
        group_state_damaged(g);
    } else if (rc != 0) {
        g->locks.is_scanning = true;
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        scan_row(g, &rows[i], &arena);
    }
    if (rc == 0 && more && !g->locks.is_scanning) {
        const struct kv_bytes last = rows[count - 1].key;

        KV_ASSERT(last.len <= KV_LOCK_NAME_BYTES_MAX);
        memcpy(g->locks.scan_from, last.data, last.len);
        g->locks.scan_from[last.len] = 0; /* The smallest key behind it. */
        g->locks.scan_len = last.len + 1;
        g->locks.is_scanning = true;
    } else if (rc == 0) {
        g->locks.scan_len = 0;
    }
    arena_close(&arena);
}

void group_lock_unhold(struct group *g)
{
    struct request_list *l = &g->locks.held;

    while (l->head != NULL) {
        struct request *req = l->head;

        request_list_remove(l, req);
        request_list_push(&g->reads_queued, req);
    }
}

void group_lock_stop(struct group *g)
{
    for (uint32_t i = 0; i < g->locks.leases.count; i++) {
        struct request *req = lease_take_request(g->locks.leases.heap[i]);

        if (req != NULL) {
            group_reroute(g, req, false);
        }
    }
    group_reroute_list(g, &g->locks.held, false);
    leases_clear(&g->locks.leases);
    g->locks.term = 0;
    g->locks.is_scanning = false;
    g->locks.scan_len = 0;
}

/* ---- what is due ---- */

static int propose_end(struct group *g, struct lease *l)
{
    struct command c = {.kind =
                            l->is_holder ? COMMAND_LOCK_EXPIRE : COMMAND_LOCK_CANCEL,
                        .slot = l->slot,
                        .key = l->name};
    uint8_t payload[KV_LOCK_NAME_BYTES_MAX + KV_LOCK_OWNER_BYTES_MAX + 64];

    if (l->is_holder) {
        c.token = l->id;
    } else {
        c.owner = l->owner;
    }
    KV_ASSERT(command_bytes(&c) <= sizeof payload);
    command_encode(&c, payload);
    return group_propose(g, kv_bytes(payload, command_bytes(&c)));
}

/* The place of a claim in its queue; 0: unknown. */
static uint32_t place_of(struct group *g, const struct lease *l, struct arena *arena)
{
    struct lock lock;

    if (apply_lock_read(g->st, l->name, arena, &lock) == 0) {
        for (uint32_t i = 0; i < lock.waiters_count; i++) {
            if (lock_waiter(&lock, i)->id == l->id) {
                return i + 1;
            }
        }
    }
    return 0;
}

/* Answers who waits, without an end of its claim: it is to ask again. */
static void wait_pause(struct group *g, struct lease *l)
{
    struct request *req = lease_take_request(l);

    answer_not_held(g, req, place_of(g, l, &req->arena));
    leases_set(&g->locks.leases, l, g->now_ms + l->ttl_ms);
}

static void lease_due(struct group *g, struct lease *l)
{
    struct request *req = l->req;

    if (l->deciding) {
        /* The end is proposed, and the deadline of who waits for it has come. */
        leases_set(&g->locks.leases, l, UINT64_MAX);
        if (req != NULL) {
            (void)lease_take_request(l);
            reply_error(req, KV_EUNKNOWN,
                        "group %u: the deadline passed before it was decided; ask "
                        "again as the same owner",
                        g->id);
        }
        return;
    }
    if (req != NULL && g->now_ms + LOCK_ANSWER_MS >= req->deadline_ms) {
        wait_pause(g, l);
        return;
    }
    if (req == NULL && g->now_ms < g->locks.quiet_ms) {
        leases_set(&g->locks.leases, l, g->locks.quiet_ms);
        return;
    }
    if (propose_end(g, l) != 0) {
        leases_set(&g->locks.leases, l, g->now_ms + LOCK_RETRY_MS);
        return;
    }
    l->deciding = true;
    l->gave_up = req != NULL;
    leases_set(&g->locks.leases, l, req != NULL ? req->deadline_ms : UINT64_MAX);
}

void group_lock_flush(struct group *g)
{
    struct group_locks *s = &g->locks;
    struct lease *l;

    if (s->term != 0 && !is_active(g)) {
        group_lock_stop(g);
    }
    if (s->term == 0) {
        return;
    }
    if (s->is_scanning) {
        scan_some(g);
    }
    if (s->leases.count > 0 && g->now_ms > s->seen_ms + LOCK_LOOK_MS + LOCK_LATE_MS) {
        s->quiet_ms = g->now_ms + LOCK_GRACE_MS;
    }
    s->seen_ms = g->now_ms;
    for (uint32_t i = 0; i < LOCK_DUE_MAX && is_active(g); i++) {
        l = leases_first(&s->leases);
        if (l == NULL || l->deadline_ms > g->now_ms) {
            break;
        }
        lease_due(g, l);
    }
}

uint64_t group_lock_deadline_ms(const struct group *g)
{
    const struct lease *l = leases_first(&g->locks.leases);

    if (g->locks.is_scanning) {
        return g->locks.seen_ms + 1; /* Not again in this turn, if it fails. */
    }
    return l == NULL ? UINT64_MAX
                     : KV_MIN(l->deadline_ms, g->locks.seen_ms + LOCK_LOOK_MS);
}

/* ---- keepalive and info ---- */

void group_lock_arrived(struct group *g, const struct request *req)
{
    struct lease *l;

    if (rpc_method_lock(req->rpc.method) != RPC_LOCK_KEEPALIVE || !is_active(g)) {
        return;
    }
    l = leases_find(&g->locks.leases, req->rpc.key, req->rpc.token);
    if (l != NULL && l->is_holder) {
        lease_renew(g, l);
    }
}

static void serve_keepalive(struct group *g, struct request *req,
                            const struct lock *lock)
{
    const struct lock_claim *c = lock_holder(lock, req->rpc.token);
    struct lease *l = leases_find(&g->locks.leases, req->rpc.key, req->rpc.token);
    struct reply_result reply = {.at = at_applied(g)};

    if (c == NULL) {
        reply_error(req, KV_EFENCED, "the lock is not held with token %llu any more",
                    (unsigned long long)req->rpc.token);
        return;
    }
    if (!is_active(g)) {
        group_reroute(g, req, true); /* It led when asked: an end may be under way. */
        return;
    }
    if (l != NULL && l->deciding && !KV_BUG(g->node->config, K42)) {
        request_move(req, REQ_WAITING);
        request_list_push(&g->locks.held, req);
        return;
    }
    if (l != NULL) {
        lease_renew(g, l);
    }
    reply.lock.ttl_ms = c->ttl_ms;
    reply_result(req, &reply);
}

static void serve_info(struct group *g, struct request *req, const struct lock *lock)
{
    struct rpc_lock_holder *holders =
        arena_zalloc(&req->arena, (lock->holders_count + 1) * sizeof *holders);
    struct reply_result reply = {.at = at_applied(g)};

    if (holders == NULL) {
        reply_error(req, KV_EBUSY, "no memory for the reply; try again");
        return;
    }
    for (uint32_t i = 0; i < lock->holders_count; i++) {
        const struct lock_claim *c = &lock->claims[i];
        const struct lease *l = leases_find(&g->locks.leases, req->rpc.key, c->id);
        uint64_t left = l == NULL || l->deciding || l->deadline_ms < g->now_ms
                            ? 0
                            : l->deadline_ms - g->now_ms;

        holders[i] = (struct rpc_lock_holder){
            c->id, c->owner, c->value, (uint32_t)KV_MIN(left, (uint64_t)UINT32_MAX)};
    }
    reply.info =
        (struct rpc_lock_info){holders, lock->holders_count, lock->waiters_count,
                               lock->permits, lock->last_token};
    reply_result(req, &reply);
}

void group_lock_serve(struct group *g, struct request *req)
{
    struct lock lock;
    int rc;

    if (!apply_owns(&g->apply, req->slot)) {
        group_reroute(g, req, true);
        return;
    }
    rc = apply_lock_read(g->st, req->rpc.key, &req->arena, &lock);
    if (rc == 0) {
        if (rpc_method_lock(req->rpc.method) == RPC_LOCK_KEEPALIVE) {
            serve_keepalive(g, req, &lock);
        } else {
            serve_info(g, req, &lock);
        }
    } else if (rc == KV_ENOMEM) {
        reply_error(req, KV_EBUSY, "no memory for the lock; try again");
    } else {
        reply_error(req, KV_EDAMAGED,
                    "group %u: node %u cannot read its copy of the lock; another "
                    "replica will take over, try again",
                    g->id, g->node->config.id);
        group_state_damaged(g);
    }
}

void group_lock_command(const struct request *req, struct command *out)
{
    const struct rpc_request *q = &req->rpc;

    out->owner = q->options.owner;
    if (rpc_method_lock(q->method) == RPC_LOCK_ACQUIRE) {
        out->kind = COMMAND_LOCK_ACQUIRE;
        out->value = q->value;
        out->permits = q->permits;
        out->ttl_ms = ttl_of(req);
        out->may_wait = q->options.wait_ms > 0;
    } else if (q->token != 0) {
        out->kind = COMMAND_LOCK_RELEASE;
        out->token = q->token;
        out->owner = kv_bytes(NULL, 0);
    } else {
        out->kind = COMMAND_LOCK_CANCEL;
        out->give_back = true;
    }
}

void group_lock_expire(struct group *g, uint64_t now_ms, uint64_t *io_next_ms)
{
    struct request *req = g->locks.held.head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->deadline_ms > now_ms) {
            *io_next_ms = KV_MIN(*io_next_ms, req->deadline_ms);
        } else {
            request_list_remove(&g->locks.held, req);
            reply_error(req, KV_ETIMEOUT,
                        "group %u: the lease has run out, and that is not decided yet",
                        g->id);
        }
        req = next;
    }
}
