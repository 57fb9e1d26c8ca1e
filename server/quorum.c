/* server/quorum.c - asks, hedges, asks again, and parks the asks of others. */
#include "server/quorum.h"

#include "raft/base/err.h"
#include "server/group_internal.h"
#include "server/idmap.h"
#include "server/peers.h"
#include "server/quorum_read.h"

/* A replica of the group, and what it said last. */
struct quorum_target {
    raft_id replica;
    uint32_t node;
    bool is_asked; /* Since the last answer. */
    bool has_answered;
    struct quorum_answer answer;
    uint64_t rev, term;
    bool found;
    uint8_t *value; /* [owned] */
    size_t value_len, value_cap;
};

struct quorum {
    uint64_t id;
    struct request *req;
    raft_index goal;  /* 0: enough answers did not come yet, or P <= X. */
    bool is_hedged;   /* All were asked. */
    uint64_t next_ms; /* When to ask others, or again. */
    uint32_t targets_count;
    struct quorum_target targets[KV_REPLICAS_MAX];
    struct quorum *prev, *next;
};

/* An ask of another node that waits for its goal. */
struct quorum_parked {
    uint32_t node;
    uint64_t nonce;
    uint64_t until_ms;
    struct peer_quorum_ask ask; /* key: `bytes`. */
    uint8_t bytes[KV_KEY_BYTES_MAX];
    struct quorum_parked *next;
};

struct quorums {
    struct idmap by_id;
    struct quorum *first;
    uint64_t id;      /* Of the last one. */
    uint32_t waiting; /* Of them with a goal. */
    struct quorum_parked *parked;
    uint32_t parked_count;
    uint64_t next_ms; /* Nothing is due before; UINT64_MAX: nothing at all. */
};

/* ---- life ---- */

int quorums_new(struct quorums **out)
{
    struct quorums *qs = kv_mem_zalloc(sizeof *qs);

    if (qs == NULL) {
        return KV_ENOMEM;
    }
    if (idmap_init(&qs->by_id, QUORUMS_MAX) != 0) {
        kv_mem_free(qs);
        return KV_ENOMEM;
    }
    qs->next_ms = UINT64_MAX;
    *out = qs;
    return 0;
}

/* Takes it out and frees it; its request goes back to the caller. */
static struct request *quorum_end(struct quorums *qs, struct quorum *q)
{
    struct request *req = q->req;

    KV_ASSERT(idmap_remove(&qs->by_id, q->id) == q);
    if (q->prev != NULL) {
        q->prev->next = q->next;
    } else {
        qs->first = q->next;
    }
    if (q->next != NULL) {
        q->next->prev = q->prev;
    }
    qs->waiting -= q->goal != 0 ? 1 : 0;
    for (uint32_t i = 0; i < q->targets_count; i++) {
        kv_mem_free(q->targets[i].value);
    }
    kv_mem_free(q);
    return req;
}

void quorums_free(struct quorums *qs)
{
    if (qs == NULL) {
        return;
    }
    while (qs->first != NULL) {
        reply_error(quorum_end(qs, qs->first), KV_ENOLEADER, "the node has stopped");
    }
    while (qs->parked != NULL) {
        struct quorum_parked *p = qs->parked;

        qs->parked = p->next;
        kv_mem_free(p);
    }
    idmap_close(&qs->by_id);
    kv_mem_free(qs);
}

static void due(struct quorums *qs, uint64_t at_ms)
{
    qs->next_ms = KV_MIN(qs->next_ms, at_ms);
}

/* ---- answers ---- */

static struct quorum_target *target_of(struct quorum *q, raft_id replica)
{
    for (uint32_t i = 0; i < q->targets_count; i++) {
        if (q->targets[i].replica == replica) {
            return &q->targets[i];
        }
    }
    return NULL;
}

/* Notes an answer; one without a state, or without memory for it, is none. */
static void answer_take(struct quorum *q, const struct peer_quorum_answer *a)
{
    struct quorum_target *t = target_of(q, a->replica);

    if (t == NULL) {
        return;
    }
    t->is_asked = false;
    t->has_answered = false;
    if (!a->ok) {
        return;
    }
    if (a->value.len > t->value_cap) {
        uint8_t *value = kv_mem_realloc(t->value, a->value.len);

        if (value == NULL) {
            return;
        }
        t->value = value;
        t->value_cap = a->value.len;
    }
    if (a->value.len > 0) {
        memcpy(t->value, a->value.data, a->value.len);
    }
    t->value_len = a->value.len;
    t->found = a->found;
    t->rev = a->rev;
    t->term = a->term;
    t->has_answered = true;
    t->answer = (struct quorum_answer){
        .replica = a->replica,
        .applied = a->applied,
        .pending = a->pending,
        .config_index = a->config_index,
        .before_index = a->before_index,
        .config = a->config,
        .before = a->before,
        .is_committed = a->is_committed,
        .key_rev = a->key_rev,
    };
}

static void reply_from(struct node *n, struct quorum *q, const struct quorum_target *t)
{
    struct request *req = q->req;
    struct reply_result r = {
        .at = {.group = req->group,
               .node = t->node,
               .rev = t->rev,
               .term = t->term,
               .level = RPC_QUORUM},
        .found = t->found,
        .has_value = t->found,
        .rev = t->answer.key_rev,
    };

    if (arena_copy(&req->arena, kv_bytes(t->value, t->value_len), &r.value) != 0) {
        reply_error(quorum_end(n->quorums, q), KV_EBUSY,
                    "no memory for the value; try again");
        return;
    }
    reply_result(quorum_end(n->quorums, q), &r);
}

/* ---- asking ---- */

static void target_ask(struct node *n, struct quorum *q, struct quorum_target *t)
{
    struct peer_quorum_ask ask = {
        .id = q->id, .group = q->req->group, .key = q->req->rpc.key, .goal = q->goal};
    struct peer_quorum_answer own;
    struct group *g = node_group(n, ask.group);
    struct arena arena;

    t->is_asked = true;
    if (t->node != n->config.id) {
        peers_quorum_ask(n, t->node, &ask);
    } else if (g != NULL) {
        arena_init(&arena, 4096, 0);
        group_quorum_answer(g, ask.key, &arena, &own);
        answer_take(q, &own);
        arena_close(&arena);
    }
}

/* Asks up to `count` that were not asked and have not answered, in their order. */
static void ask_some(struct node *n, struct quorum *q, uint32_t count)
{
    for (uint32_t i = 0; i < q->targets_count && count > 0; i++) {
        if (!q->targets[i].is_asked && !q->targets[i].has_answered) {
            target_ask(n, q, &q->targets[i]);
            count--;
        }
    }
}

static void ask_all(struct node *n, struct quorum *q)
{
    q->is_hedged = true;
    for (uint32_t i = 0; i < q->targets_count; i++) {
        target_ask(n, q, &q->targets[i]);
    }
}

static bool is_quiet(const struct quorum *q)
{
    for (uint32_t i = 0; i < q->targets_count; i++) {
        if (q->targets[i].is_asked) {
            return false;
        }
    }
    return true;
}

/* ---- deciding ---- */

static struct quorum_decision decide(struct node *n, struct quorum *q,
                                     struct quorum_target **out_target)
{
    struct quorum_answer answers[KV_REPLICAS_MAX];
    struct quorum_target *from[KV_REPLICAS_MAX];
    struct quorum_question ask = {
        .answers = answers, .r = q->req->rpc.options.r, .goal = q->goal};
    struct quorum_decision d;

#ifdef KV_MUTANTS
    ask.bug = n->config.bug;
#else
    (void)n;
#endif
    for (uint32_t i = 0; i < q->targets_count; i++) {
        if (q->targets[i].has_answered) {
            from[ask.count] = &q->targets[i];
            answers[ask.count++] = q->targets[i].answer;
        }
    }
    d = quorum_decide(&ask);
    *out_target = d.verdict == QUORUM_ANSWER ? from[d.answer] : NULL;
    return d;
}

/* Looks at what has been said; q may be gone afterwards. */
static void look(struct node *n, struct quorum *q)
{
    struct quorum_target *t;
    struct quorum_decision d = decide(n, q, &t);

    if (d.verdict == QUORUM_WAIT && q->goal == 0) {
        q->goal = d.goal;
        n->quorums->waiting++;
        q->next_ms = n->now_ms + QUORUM_AGAIN_MS;
        ask_all(n, q);
        d = decide(n, q, &t);
    }
    switch (d.verdict) {
    case QUORUM_ANSWER:
        reply_from(n, q, t);
        return;
    case QUORUM_REFUSE: {
        uint32_t r = q->req->rpc.options.r;
        group_id group = q->req->group;

        reply_error(quorum_end(n->quorums, q), KV_EBADQUORUM,
                    "group %u: r is %u; it can be %u to %u, so that W and R overlap",
                    group, r, d.r_least, d.r_most);
        return;
    }
    case QUORUM_MORE:
        /* All that were asked have answered, and it was not enough: another one. */
        if (!q->is_hedged && is_quiet(q)) {
            ask_some(n, q, 1);
            q->is_hedged = is_quiet(q);
            look(n, q); /* At most once per replica. */
        }
        return;
    case QUORUM_WAIT:
        return;
    }
}

/* ---- a request ---- */

/* Whom to ask, best first: ourselves, then who is there, one after the other. */
static void targets_fill(struct node *n, struct quorum *q, const struct map_group *mg)
{
    for (uint32_t pass = 0; pass < 3; pass++) {
        for (uint32_t i = 0; i < mg->replicas_count; i++) {
            const struct map_replica *r =
                &mg->replicas[(i + q->id) % mg->replicas_count];
            uint32_t wants = r->node == n->config.id           ? 0
                             : peers_is_responsive(n, r->node) ? 1
                                                               : 2;

            if (wants == pass) {
                q->targets[q->targets_count++] =
                    (struct quorum_target){.replica = r->replica, .node = r->node};
            }
        }
    }
}

/* How many to ask at first, as far as this node knows; the answers decide. */
static uint32_t first_r(const struct node *n, const struct request *req,
                        const struct map_group *mg)
{
    const struct group *g = node_group(n, req->group);
    uint32_t w = quorum_w_of(mg->replicas_count, mg->w);
    uint32_t r = mg->replicas_count >= w ? mg->replicas_count - w + 1 : 1;

    if (g != NULL && group_config(g)->voters_count > 0) {
        r = quorum_r_least(group_config(g));
    }
    return KV_MAX(r, req->rpc.options.r);
}

void quorum_submit(struct node *n, struct request *req)
{
    struct quorums *qs = n->quorums;
    const struct map_group *mg;
    struct quorum *q;

    req->group = n->map_known ? n->map.slots[req->slot] : RING_NO_GROUP;
    mg = n->map_known ? map_group_find(&n->map, (uint16_t)req->group) : NULL;
    if (mg == NULL) {
        reply_error(req, KV_ENOLEADER, "the cluster has no map yet; waiting: %s",
                    n->waiting_for);
        return;
    }
    q = qs->by_id.count >= QUORUMS_MAX ? NULL : kv_mem_zalloc(sizeof *q);
    if (q == NULL) {
        reply_error(req, KV_EBUSY, "too many quorum reads are under way; try again");
        return;
    }
    request_move(req, REQ_WAITING);
    q->id = ++qs->id;
    q->req = req;
    q->next = qs->first;
    if (q->next != NULL) {
        q->next->prev = q;
    }
    qs->first = q;
    KV_ASSERT(idmap_add(&qs->by_id, q->id, q) == 0);
    targets_fill(n, q, mg);
    q->next_ms = n->now_ms + QUORUM_HEDGE_MS;
    due(qs, KV_MIN(q->next_ms, req->deadline_ms));
    ask_some(n, q, first_r(n, req, mg));
    look(n, q);
}

void quorum_answered(struct node *n, const struct peer_quorum_answer *answer)
{
    struct quorum *q = idmap_find(&n->quorums->by_id, answer->id);

    if (q != NULL && q->req->group == answer->group) {
        answer_take(q, answer);
        look(n, q);
    }
}

/* ---- others' asks ---- */

static void answer_other(struct node *n, uint32_t node, uint64_t nonce,
                         const struct peer_quorum_ask *ask)
{
    struct group *g = node_group(n, ask->group);
    struct peer_quorum_answer a = {
        .group = ask->group, .replica = node_replica_on(n, ask->group, n->config.id)};
    struct arena arena;

    if (a.replica == 0) {
        return;
    }
    arena_init(&arena, 4096, 0);
    if (g != NULL) {
        group_quorum_answer(g, ask->key, &arena, &a);
    }
    a.id = ask->id;
    peers_quorum_answer(n, node, nonce, &a);
    arena_close(&arena);
}

static bool has_applied(const struct node *n, group_id group, raft_index goal)
{
    struct group *g = node_group(n, group);

    return g == NULL || group_state_meta(g)->applied.pos.index >= goal;
}

void quorum_asked(struct node *n, uint32_t node, uint64_t nonce,
                  const struct peer_quorum_ask *ask)
{
    struct quorums *qs = n->quorums;
    struct quorum_parked *p = NULL;

    if (!has_applied(n, ask->group, ask->goal) &&
        qs->parked_count < QUORUM_PARKED_MAX) {
        p = kv_mem_zalloc(sizeof *p);
    }
    if (p == NULL) {
        answer_other(n, node, nonce, ask);
        return;
    }
    p->node = node;
    p->nonce = nonce;
    p->until_ms = n->now_ms + QUORUM_AGAIN_MS;
    p->ask = *ask;
    memcpy(p->bytes, ask->key.data, ask->key.len);
    p->ask.key = kv_bytes(p->bytes, ask->key.len);
    p->next = qs->parked;
    qs->parked = p;
    qs->parked_count++;
    due(qs, p->until_ms);
}

static void parked_answer(struct node *n)
{
    struct quorum_parked **link = &n->quorums->parked;

    while (*link != NULL) {
        struct quorum_parked *p = *link;

        if (p->until_ms > n->now_ms && !has_applied(n, p->ask.group, p->ask.goal)) {
            due(n->quorums, p->until_ms);
            link = &p->next;
            continue;
        }
        *link = p->next;
        n->quorums->parked_count--;
        answer_other(n, p->node, p->nonce, &p->ask);
        kv_mem_free(p);
    }
}

/* ---- turns and time ---- */

void quorum_flush(struct node *n)
{
    struct quorums *qs = n->quorums;
    struct quorum *q = qs->waiting > 0 ? qs->first : NULL;

    while (q != NULL) {
        struct quorum *next = q->next;
        struct quorum_target *own =
            target_of(q, node_replica_on(n, q->req->group, n->config.id));

        if (q->goal != 0 && own != NULL && node_group(n, q->req->group) != NULL &&
            has_applied(n, q->req->group, q->goal)) {
            target_ask(n, q, own);
            look(n, q);
        }
        q = next;
    }
    if (qs->parked != NULL) {
        parked_answer(n);
    }
}

static void answer_late(struct node *n, struct quorum *q)
{
    uint32_t have = 0;
    uint32_t all = q->targets_count;
    bool waits = q->goal != 0;
    struct request *req;

    for (uint32_t i = 0; i < all; i++) {
        have += q->targets[i].has_answered;
    }
    req = quorum_end(n->quorums, q);
    if (waits) {
        reply_error(req, KV_ETIMEOUT,
                    "group %u: a write of the key was not decided before the deadline; "
                    "%u of %u replicas answered, has the group a leader?",
                    req->group, have, all);
    } else {
        reply_error(
            req, KV_ETIMEOUT,
            "group %u: %u of %u replicas answered before the deadline, which is "
            "not enough; are most of its nodes up? see kvctl status",
            req->group, have, all);
    }
}

void quorum_tick(struct node *n)
{
    struct quorums *qs = n->quorums;
    struct quorum *q = qs->first;

    if (n->now_ms < qs->next_ms) {
        return;
    }
    qs->next_ms = UINT64_MAX;
    while (q != NULL) {
        struct quorum *next = q->next;

        if (n->now_ms >= q->req->deadline_ms) {
            answer_late(n, q);
        } else if (n->now_ms >= q->next_ms) {
            q->next_ms = n->now_ms + QUORUM_AGAIN_MS;
            due(qs, KV_MIN(q->next_ms, q->req->deadline_ms));
            ask_all(n, q);
            look(n, q);
        } else {
            due(qs, KV_MIN(q->next_ms, q->req->deadline_ms));
        }
        q = next;
    }
    if (qs->parked != NULL) {
        parked_answer(n);
    }
    if (qs->next_ms != UINT64_MAX) {
        qs->next_ms = KV_MAX(qs->next_ms, n->now_ms + QUORUM_LOOK_MS);
    }
}

uint64_t quorum_deadline_ms(const struct node *n)
{
    return n->quorums->next_ms;
}
