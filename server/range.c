/* server/range.c - asks every group for its part, merges, asks again. */
#include "server/range.h"

#include "raft/base/err.h"
#include "rpc/token.h"
#include "server/meta.h"
#include "server/node_parts.h"
#include "server/reply.h"
#include "server/router.h"

/* One group's share. `items` from `at` on are not merged yet. */
struct range_part {
    struct range *range;
    group_id group;
    bool is_asked; /* A request for it is under way. */
    bool is_done;  /* The group has no keys behind `items`. */
    struct rpc_item *items;
    uint32_t items_count, at;
    struct kv_bytes next; /* Not done: where to ask on. */
    struct rpc_at where;  /* Of its last answer. */
};

/* A range under way. Lives until its request is answered and no part is under way. */
struct range {
    struct node *node;
    struct request *parent; /* NULL: answered. */
    struct arena arena;     /* Everything here, the range itself included. */
    size_t bytes;           /* Counted in ranges. */
    uint32_t limit;
    uint32_t asked; /* Parts under way. */
    bool is_asking; /* Parts are being sent: answers wait for the end of that. */
    struct range_part *parts;
    uint32_t parts_count;
    uint32_t *heap; /* Parts that have items, by their next key. */
    uint32_t heap_count;
    struct rpc_item *items; /* Merged. */
    uint32_t items_count;
    size_t items_bytes;
};

struct ranges {
    size_t bytes, bytes_max;
    uint32_t count;
};

enum {
    RANGE_ARENA_BLOCK_BYTES = 16 * 1024,
    /* Options that each part has as well. */
    RANGE_PART_OPTIONS = RPC_OPT_BIT(RPC_OPT_level) | RPC_OPT_BIT(RPC_OPT_max_age_ms) |
                         RPC_OPT_BIT(RPC_OPT_token) | RPC_OPT_BIT(RPC_OPT_fence),
};

/* ---- life ---- */

int ranges_new(struct node *n, size_t memory_bytes_max, struct ranges **out)
{
    struct ranges *rs = kv_mem_zalloc(sizeof(*rs));

    (void)n;
    if (rs == NULL) {
        return KV_ENOMEM;
    }
    rs->bytes_max = memory_bytes_max;
    *out = rs;
    return 0;
}

void ranges_free(struct ranges *rs)
{
    KV_ASSERT(rs == NULL || rs->count == 0);
    kv_mem_free(rs);
}

uint32_t ranges_count(const struct ranges *rs)
{
    return rs->count;
}

static void range_account(struct range *g)
{
    struct ranges *rs = g->node->ranges;

    rs->bytes = rs->bytes - g->bytes + g->arena.taken_bytes;
    g->bytes = g->arena.taken_bytes;
}

/* Frees it when nothing of it is needed any more. */
static void range_release(struct range *g)
{
    struct ranges *rs = g->node->ranges;
    struct arena arena;

    if (g->parent != NULL || g->asked > 0 || g->is_asking) {
        return;
    }
    rs->bytes -= g->bytes;
    rs->count--;
    arena = g->arena;
    arena_close(&arena);
}

static void range_fail(struct range *g, int code, const char *text)
{
    struct request *parent = g->parent;

    if (parent != NULL) {
        g->parent = NULL;
        reply_error(parent, code, "%s", text);
    }
}

/* ---- merging ---- */

static bool part_before(const struct range *g, uint32_t a, uint32_t b)
{
    const struct range_part *x = &g->parts[a], *y = &g->parts[b];

    return kv_bytes_compare(x->items[x->at].key, y->items[y->at].key) < 0;
}

static void heap_down(struct range *g, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1, least = at, swap;

        if (child < g->heap_count && part_before(g, g->heap[child], g->heap[least])) {
            least = child;
        }
        child++;
        if (child < g->heap_count && part_before(g, g->heap[child], g->heap[least])) {
            least = child;
        }
        if (least == at) {
            return;
        }
        swap = g->heap[at];
        g->heap[at] = g->heap[least];
        g->heap[least] = swap;
        at = least;
    }
}

static void heap_build(struct range *g)
{
    uint32_t i;

    g->heap_count = 0;
    for (i = 0; i < g->parts_count; i++) {
        if (g->parts[i].at < g->parts[i].items_count) {
            g->heap[g->heap_count++] = i;
        }
    }
    for (i = g->heap_count / 2; i-- > 0;) {
        heap_down(g, i);
    }
}

static bool range_is_full(const struct range *g)
{
    return g->items_count >= g->limit || g->items_bytes >= KV_RANGE_BYTES_MAX;
}

/* Is there a part whose next key is not known? Then nothing more can be merged. */
static bool range_is_short(const struct range *g)
{
    uint32_t i;

    for (i = 0; i < g->parts_count; i++) {
        if (!g->parts[i].is_done && g->parts[i].at == g->parts[i].items_count) {
            return true;
        }
    }
    return false;
}

/* Takes items in order until enough, or until a part has run out that has more. */
static void range_merge(struct range *g)
{
    heap_build(g);
    if (range_is_short(g)) {
        return;
    }
    while (g->heap_count > 0 && !range_is_full(g)) {
        struct range_part *p = &g->parts[g->heap[0]];
        struct rpc_item *item = &p->items[p->at++];

        g->items[g->items_count++] = *item;
        g->items_bytes += item->key.len + item->value.len;
        if (p->at < p->items_count) {
            heap_down(g, 0);
        } else if (p->is_done) {
            g->heap[0] = g->heap[--g->heap_count];
            heap_down(g, 0);
        } else {
            return;
        }
    }
}

/* ---- the answer ---- */

/* What the client has seen with all parts; in the range's arena. False: no memory. */
static bool range_token(struct range *g, const struct rpc_at *ats,
                        struct kv_bytes *out_token)
{
    const struct rpc_options *o = &g->parent->rpc.options;
    struct kv_bytes token = o->token;
    uint8_t one[TOKEN_ONE_BYTES_MAX];
    uint32_t i;

    if ((o->has & RPC_OPT_BIT(RPC_OPT_token)) == 0 && o->level != RPC_SESSION) {
        *out_token = kv_bytes(NULL, 0);
        return true;
    }
    for (i = 0; i < g->parts_count; i++) {
        size_t one_len =
            token_make(meta_cluster(g->node), ats[i].group, ats[i].rev, one);
        uint8_t *both = arena_alloc(&g->arena, token.len + one_len);

        if (both == NULL) {
            return false;
        }
        token = kv_bytes(both, token_merge(token, kv_bytes(one, one_len), both));
    }
    *out_token = token;
    return true;
}

static void range_answer(struct range *g)
{
    struct request *parent = g->parent;
    struct rpc_range_result result = {.items = g->items, .items_count = g->items_count};
    struct rpc_at *ats = arena_alloc(&g->arena, g->parts_count * sizeof(*ats));
    uint8_t next[KV_KEY_BYTES_MAX + 1];
    struct buf b;
    uint32_t i;

    if (ats == NULL) {
        range_fail(g, KV_EBUSY, "no memory to merge the range");
        return;
    }
    for (i = 0; i < g->parts_count; i++) {
        const struct range_part *p = &g->parts[i];

        ats[i] = p->where;
        result.more = result.more || !p->is_done || p->at < p->items_count;
    }
    if (!range_token(g, ats, &result.token)) {
        range_fail(g, KV_EBUSY, "no memory for the token; try again");
        return;
    }
    result.ats = ats;
    result.ats_count = g->parts_count;
    if (result.more && g->items_count > 0) {
        struct kv_bytes last = g->items[g->items_count - 1].key;

        memcpy(next, last.data, last.len);
        next[last.len] = 0;
        result.next = kv_bytes(next, last.len + 1);
    }
    g->parent = NULL;
    buf_init(&b, KV_RESPONSE_BYTES_MAX);
    rpc_reply_range(&b, 0, &result);
    node_reply_encoded(parent, &b);
    buf_close(&b);
}

/* ---- parts ---- */

static void part_done(struct request *req, struct kv_bytes tail);

/* Makes the request for a part from where it stands. 0 or KV_EBUSY. */
static int part_ask(struct range *g, struct range_part *p)
{
    struct node *n = g->node;
    struct rpc_error error;
    struct rpc_request q;
    struct request *req = NULL;
    uint32_t share;
    struct buf b;
    int rc;

    rpc_request_init(&q, RPC_KV_RANGE, 0);
    q.begin = p->next;
    q.end = g->parent->rpc.end;
    share = 2 * (g->limit - g->items_count) / g->parts_count + RANGE_PART_ITEMS_MIN;
    q.options = g->parent->rpc.options; /* Its level, bound and token. */
    q.options.limit = KV_MIN(share, g->limit);
    q.options.forward = true;
    q.options.has = (q.options.has & RANGE_PART_OPTIONS) | RPC_OPT_BIT(RPC_OPT_limit);
    buf_init(&b, KV_REQUEST_BYTES_MAX);
    rpc_request_encode(&b, &q);
    rc = b.error != 0 ? b.error : request_new(n->requests, buf_bytes(&b), &req);
    buf_close(&b);
    if (rc != 0) {
        return KV_EBUSY;
    }
    rc = rpc_request_decode(&n->decoder, req->message, &req->rpc, &error);
    KV_ASSERT(rc == 0 || rc == KV_ENOMEM);
    req->origin = REQ_FROM_INTERNAL;
    req->owner = p;
    req->on_done = part_done;
    req->is_part = true;
    req->group = p->group;
    req->deadline_ms = g->parent->deadline_ms;
    req->begin_us = g->parent->begin_us;
    p->is_asked = true;
    g->asked++;
    if (rc != 0) {
        reply_error(req, KV_EBUSY, "no memory to decode the request");
    } else {
        router_submit(n, req);
    }
    return 0;
}

/* Asks all parts that have run out; answers when nothing is missing. */
static void range_step(struct range *g)
{
    uint32_t i;

    if (g->is_asking || g->asked > 0) {
        return;
    }
    if (g->parent != NULL) {
        range_merge(g);
        if (range_is_full(g) || !range_is_short(g)) {
            range_answer(g);
        }
    }
    g->is_asking = true;
    for (i = 0; g->parent != NULL && i < g->parts_count; i++) {
        struct range_part *p = &g->parts[i];

        if (!p->is_done && p->at == p->items_count && part_ask(g, p) != 0) {
            range_fail(g, KV_EBUSY, "the node's memory for requests is used up");
        }
    }
    g->is_asking = false;
    if (g->parent != NULL && g->asked == 0) {
        range_step(g); /* All parts were answered at once. */
        return;
    }
    range_release(g);
}

/* Copies a part's items out of its reply. 0, KV_ENOMEM, or the reply's error. */
static int part_take(struct range_part *p, const struct rpc_reply *reply)
{
    struct arena *a = &p->range->arena;
    uint32_t i;

    p->items = arena_alloc(a, KV_MAX(reply->items.count, 1u) * sizeof(*p->items));
    if (p->items == NULL) {
        return KV_ENOMEM;
    }
    for (i = 0; i < reply->items.count; i++) {
        struct rpc_item item;

        rpc_reply_item_get(reply, i, &item);
        p->items[i].rev = item.rev;
        if (arena_copy(a, item.key, &p->items[i].key) != 0 ||
            arena_copy(a, item.value, &p->items[i].value) != 0) {
            return KV_ENOMEM;
        }
    }
    p->items_count = reply->items.count;
    p->at = 0;
    p->where = reply->at;
    p->is_done = !reply->more;
    return reply->more ? arena_copy(a, reply->next, &p->next) : 0;
}

static void part_done(struct request *req, struct kv_bytes tail)
{
    struct range_part *p = req->owner;
    struct range *g = p->range;
    struct rpc_reply reply;
    char text[KV_ERROR_TEXT_MAX + 1];
    struct buf b;
    int rc;

    KV_ASSERT(p->is_asked && g->asked > 0);
    p->is_asked = false;
    g->asked--;
    if (g->parent != NULL) {
        buf_init(&b, KV_RESPONSE_BYTES_MAX + 64);
        rpc_response_join(&b, 0, tail);
        rc = b.error != 0 ? b.error
                          : rpc_reply_decode(&g->node->decoder, buf_bytes(&b),
                                             RPC_KV_RANGE, &reply);
        if (rc == 0 && reply.error != 0) {
            size_t len = KV_MIN(reply.error_detail.len, sizeof(text) - 1);

            memcpy(text, reply.error_detail.data, len);
            text[len] = '\0';
            range_fail(g, reply.error, text);
        } else if (rc == 0) {
            rc = part_take(p, &reply);
            range_account(g);
        }
        if (rc != 0) {
            range_fail(g, KV_EBUSY, "no memory to merge the range");
        }
        buf_close(&b);
    }
    range_step(g);
    /* g may be gone. */
}

/* ---- the request ---- */

static struct range *range_make(struct node *n, struct request *req)
{
    struct arena arena;
    struct range *g;
    uint32_t limit = req->rpc.options.limit;
    uint32_t i, count = n->map.groups_count;

    arena_init(&arena, RANGE_ARENA_BLOCK_BYTES, n->ranges->bytes_max / 2);
    g = arena_zalloc(&arena, sizeof(*g));
    if (g == NULL) {
        return NULL;
    }
    g->limit = limit == 0 ? KV_RANGE_ITEMS_DEFAULT
                          : KV_MIN(limit, (uint32_t)KV_RANGE_ITEMS_MAX);
    g->parts = arena_zalloc(&arena, count * sizeof(*g->parts));
    g->heap = arena_zalloc(&arena, count * sizeof(*g->heap));
    g->items = arena_zalloc(&arena, g->limit * sizeof(*g->items));
    if (g->parts == NULL || g->heap == NULL || g->items == NULL) {
        arena_close(&arena);
        return NULL;
    }
    g->node = n;
    g->parent = req;
    for (i = 0; i < count; i++) {
        if (n->map.groups[i].id != MAP_GROUP_META) {
            g->parts[g->parts_count++] = (struct range_part){
                .range = g, .group = n->map.groups[i].id, .next = req->rpc.begin};
        }
    }
    g->arena = arena;
    n->ranges->count++;
    range_account(g);
    return g;
}

void range_submit(struct node *n, struct request *req)
{
    struct range *g;

    if (!n->map_known) {
        reply_error(req, KV_ENOLEADER, "the cluster has no map yet; waiting: %s",
                    n->waiting_for);
        return;
    }
    if (n->map.groups_count == 1 && n->map.groups[0].id != MAP_GROUP_META) {
        req->is_part = true;
        req->group = n->map.groups[0].id;
        router_submit(n, req);
        return;
    }
    g = n->ranges->bytes >= n->ranges->bytes_max ? NULL : range_make(n, req);
    if (g == NULL) {
        reply_error(req, KV_EBUSY,
                    "the node's memory for ranges is used up; try again "
                    "later, or with a lower limit");
        return;
    }
    request_move(req, REQ_WAITING);
    range_step(g);
}
