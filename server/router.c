/* server/router.c - finds the leader for a request, or lets it wait for one. */
#include "server/router.h"

#include <stdio.h>

#include "raft/base/bug.h"
#include "raft/base/err.h"
#include "server/idmap.h"
#include "server/node_parts.h"
#include "server/news.h"
#include "server/peers.h"
#include "server/reply.h"

enum {
    ROUTER_LISTS = KV_GROUPS_MAX + 1, /* The last one: no map yet. */
    ROUTER_NO_GROUP = KV_GROUPS_MAX,
    ROUTER_FORWARD_SWEEP_MS = 50,
    ROUTER_ADDRESS_BYTES = KV_HOST_BYTES_MAX + 10,
    ROUTER_ANSWER_MS = 50, /* Left for the other node's answer to come back. */
};

/* Lists and lists_waiting agree: a bit is set where a list is not empty. */
struct router {
    struct request_list waiting[ROUTER_LISTS];
    uint64_t lists_waiting[NODE_GROUP_WORDS];
    uint64_t woken[NODE_GROUP_WORDS]; /* Lists to be tried at the turn's end. */
    struct idmap forwards;            /* By sent_forward_id. */
    struct request_list forwarded[STORE_NODES_MAX]; /* By position of the node. */
    uint64_t forward_id;                            /* Of the last one. */
    raft_term hint_terms[KV_GROUPS_MAX];
    uint32_t waiting_count;
    uint64_t sweep_ms, forward_sweep_ms;
    struct router_stats stats;
};

_Static_assert(NODE_GROUP_WORDS * 64 >= ROUTER_LISTS, "each list has a bit");

/* ---- life ---- */

int router_new(struct node *n, uint32_t requests_max, struct router **out)
{
    struct router *r = kv_mem_zalloc(sizeof(*r));

    (void)n;
    if (r == NULL) {
        return KV_ENOMEM;
    }
    if (idmap_init(&r->forwards, requests_max) != 0) {
        kv_mem_free(r);
        return KV_ENOMEM;
    }
    *out = r;
    return 0;
}

void router_free(struct router *r)
{
    uint32_t i;

    if (r == NULL) {
        return;
    }
    for (i = 0; i < ROUTER_LISTS; i++) {
        while (r->waiting[i].head != NULL) {
            struct request *req = r->waiting[i].head;

            request_list_remove(&r->waiting[i], req);
            reply_error(req, KV_ENOLEADER, "the node has stopped");
        }
    }
    for (i = 0; i < STORE_NODES_MAX; i++) {
        while (r->forwarded[i].head != NULL) {
            struct request *req = r->forwarded[i].head;

            request_list_remove(&r->forwarded[i], req);
            reply_error(req, req->is_write ? KV_EUNKNOWN : KV_ENOLEADER,
                        "the node has stopped");
        }
    }
    idmap_close(&r->forwards);
    kv_mem_free(r);
}

/* ---- who leads ---- */

uint32_t router_leader(const struct node *n, group_id group)
{
    const struct group *g = node_group(n, group);
    uint32_t leader = g == NULL ? 0 : group_leader_node(g);

    if (leader != 0) {
        return leader;
    }
    leader = group < KV_GROUPS_MAX ? n->leader_hints[group] : 0;
    /* What others said of this node is not news to it. */
    return leader == n->config.id ? 0 : leader;
}

/* ---- waiting ---- */

void router_wake(struct node *n, group_id group)
{
    struct router *r = n->router;

    if (r->waiting[group].head != NULL) {
        r->woken[group / 64] |= (uint64_t)1 << (group % 64);
    }
}

void router_wake_all(struct node *n)
{
    memcpy(n->router->woken, n->router->lists_waiting, sizeof(n->router->woken));
}

static void wait_push(struct node *n, struct request *req, uint32_t list)
{
    struct router *r = n->router;

    if (r->waiting[list].count >= n->config.waiting_max) {
        reply_error(req, KV_EBUSY,
                    "too many requests wait for a leader; try again later");
        return;
    }
    request_move(req, REQ_WAITING);
    request_list_push(&r->waiting[list], req);
    r->lists_waiting[list / 64] |= (uint64_t)1 << (list % 64);
    r->waiting_count++;
}

static void wait_remove(struct router *r, struct request *req, uint32_t list)
{
    request_list_remove(&r->waiting[list], req);
    r->waiting_count--;
    if (r->waiting[list].head == NULL) {
        r->lists_waiting[list / 64] &= ~((uint64_t)1 << (list % 64));
    }
}

/* Certainly nothing was done: a pause that doubles, so that nobody is hammered. */
static void back_off(struct node *n, struct request *req)
{
    uint32_t pause = (uint32_t)ROUTER_BACKOFF_MS_MIN << KV_MIN(req->tries, 8u);

    req->retry_ms = KV_MAX(req->retry_ms,
                           n->now_ms + KV_MIN(pause, (uint32_t)ROUTER_BACKOFF_MS_MAX));
}

/* ---- answers of the router's own ---- */

/* The address that clients are sent to: "host:port", "[v6]:port". */
static void client_address(const struct map_node *m, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, strchr(m->host, ':') == NULL ? "%s:%u" : "[%s]:%u",
             m->host, m->client_port);
}

void router_send_to(struct node *n, struct request *req, uint32_t leader)
{
    const struct map_node *m = map_node_find(&n->map, leader);
    char address[ROUTER_ADDRESS_BYTES];

    if (m == NULL) {
        reply_error(req, KV_ENOLEADER, "group %u: no leader is known here; try again",
                    req->group);
    } else {
        client_address(m, address, sizeof(address));
        reply_error(req, KV_ENOTLEADER, "%s", address);
    }
}

/* The deadline passed while it waited: certainly not done. */
static void answer_late(struct node *n, struct request *req, uint32_t list)
{
    if (list == ROUTER_NO_GROUP) {
        reply_error(req, KV_ENOLEADER, "the cluster has no map yet; waiting: %s",
                    n->waiting_for);
    } else if (router_leader(n, list) == 0) {
        reply_error(
            req, KV_ENOLEADER,
            "group %u: no leader before the deadline; are most of its nodes up? "
            "see kvctl status",
            list);
    } else {
        reply_error(req, KV_ETIMEOUT,
                    "group %u: the deadline passed before it was sent", list);
    }
}

/* ---- forwarding ---- */

static void forward(struct node *n, struct request *req, uint32_t leader)
{
    struct router *r = n->router;
    uint64_t left = req->deadline_ms - n->now_ms;
    /* The other node gives up a little earlier, so that its answer, which knows more
     * than our silence, arrives in time. */
    uint64_t theirs = left - KV_MIN(left / 4, (uint64_t)ROUTER_ANSWER_MS);
    struct peers_forward f = {
        .node = leader,
        .id = r->forward_id + 1,
        .deadline_ms = (uint32_t)KV_MAX(theirs, (uint64_t)1),
        .is_part = req->is_part,
        .group = req->group,
        .request = req->message,
    };
    uint32_t position = node_position(n, leader);

    if (position == UINT32_MAX || r->forwards.count >= r->forwards.max ||
        peers_forward(n, &f) != 0) {
        req->tries++;
        back_off(n, req);
        wait_push(n, req, req->group);
        return;
    }
    r->forward_id++;
    r->stats.forwards++;
    req->sent_forward_id = f.id;
    req->sent_to = leader;
    request_move(req, REQ_FORWARDED);
    request_list_push(&r->forwarded[position], req);
    KV_ASSERT(idmap_add(&r->forwards, f.id, req) == 0);
}

static void forward_remove(struct node *n, struct request *req)
{
    struct router *r = n->router;

    KV_ASSERT(req->phase == REQ_FORWARDED);
    KV_ASSERT(idmap_remove(&r->forwards, req->sent_forward_id) == req);
    request_list_remove(&r->forwarded[node_position(n, req->sent_to)], req);
    req->sent_forward_id = 0;
}

/* ---- routing ---- */

/* A node that has a replica of the group, for a read that need not see the leader:
 * the leader if it is known, else one after the other. 0: none can be asked now. */
static uint32_t replica_node(const struct node *n, const struct request *req)
{
    const struct map_group *mg = map_group_find(&n->map, (uint16_t)req->group);
    uint32_t leader = router_leader(n, req->group);
    uint32_t i, at;

    if (req->tries == 0 && leader != 0 && leader != n->config.id &&
        peers_is_responsive(n, leader)) {
        return leader;
    }
    for (i = 0; mg != NULL && i < mg->replicas_count; i++) {
        at = mg->replicas[(i + req->tries) % mg->replicas_count].node;
        if (at != n->config.id && peers_is_responsive(n, at)) {
            return at;
        }
    }
    return 0;
}

/* A read of level session or stale: any replica will do. False: it goes to the leader,
 * who knows more than the replica that was asked. */
static bool route_local(struct node *n, struct request *req, struct group *g)
{
    enum rpc_level level = req->rpc.options.level;
    uint32_t other;

    if (req->is_write || (level != RPC_SESSION && level != RPC_STALE)) {
        return false;
    }
    if (g != NULL) {
        node_group_touch(n, req->group);
        return group_submit_local(g, req);
    }
    if (req->origin == REQ_FROM_PEER || !req->rpc.options.forward) {
        return false;
    }
    other = req->retry_ms > n->now_ms ? 0 : replica_node(n, req);
    if (other == 0) {
        wait_push(n, req, req->group);
    } else {
        forward(n, req, other);
    }
    return true;
}

/* Where a request goes now. It is in no list. */
static void route(struct node *n, struct request *req)
{
    struct group *g = node_group(n, req->group);
    uint32_t leader;

    if (route_local(n, req, g)) {
        return;
    }
    if (g != NULL && group_is_leader(g)) {
        if (req->retry_ms <= n->now_ms) {
            node_group_touch(n, req->group);
            group_submit(g, req);
        } else {
            wait_push(n, req, req->group);
        }
        return;
    }
    leader = router_leader(n, req->group);
    if (req->origin == REQ_FROM_PEER ||
        (req->origin == REQ_FROM_CONN && !req->rpc.options.forward)) {
        router_send_to(n, req, leader == n->config.id ? 0 : leader);
    } else if (leader == 0 || leader == n->config.id || req->retry_ms > n->now_ms ||
               !peers_is_responsive(n, leader)) {
        wait_push(n, req, req->group);
    } else {
        forward(n, req, leader);
    }
}

/* The group that a request is for: of its key, or named; ROUTER_NO_GROUP without a map.
 * False: the request named one that is not there, and was answered. */
static bool group_find(struct node *n, struct request *req)
{
    bool is_named = req->is_part || req->rpc.method == RPC_CLUSTER_SET_W;
    uint16_t owner;

    if (!is_named) {
        owner = n->map_known ? n->map.slots[req->slot] : (uint16_t)RING_NO_GROUP;
        req->group = owner == RING_NO_GROUP ? ROUTER_NO_GROUP : owner;
        return true;
    }
    if (!req->is_part) {
        req->group = n->map_known ? req->rpc.group : ROUTER_NO_GROUP;
        if (!n->map_known) {
            return true;
        }
    }
    if (n->map_known && req->group < KV_GROUPS_MAX &&
        map_group_find(&n->map, (uint16_t)req->group) != NULL) {
        return true;
    }
    if (req->is_part) {
        reply_error(req, KV_ENOLEADER, "group %u is not known here", req->group);
    } else {
        reply_error(req, KV_EBADREQUEST, "there is no group %u", req->group);
    }
    return false;
}

void router_submit(struct node *n, struct request *req)
{
    bool is_new = req->phase == REQ_READING;

    if (n->phase == NODE_HALTED) {
        reply_error(req, KV_ENOLEADER, "the node has stopped");
        return;
    }
    if (!group_find(n, req)) {
        return;
    }
    if (n->now_ms >= req->deadline_ms) {
        answer_late(n, req, req->group);
        return;
    }
    if (req->group == ROUTER_NO_GROUP) {
        if (req->origin == REQ_FROM_PEER || !req->rpc.options.forward) {
            answer_late(n, req, req->group);
        } else {
            wait_push(n, req, ROUTER_NO_GROUP);
        }
        return;
    }
    if (!is_new) {
        /* A group gave it back: not again in this turn. */
        req->retry_ms = KV_MAX(req->retry_ms, n->now_ms + 1);
        if (req->origin == REQ_FROM_PEER) {
            uint32_t leader = router_leader(n, req->group);

            router_send_to(n, req, leader == n->config.id ? 0 : leader);
            return;
        }
    }
    route(n, req);
}

/* Tries a list's requests again: all that may, or whose deadline has passed. */
static void list_try(struct node *n, uint32_t list, bool woken)
{
    struct router *r = n->router;
    uint32_t left = r->waiting[list].count;
    struct request *req = r->waiting[list].head;

    /* What goes back to the same list goes to its end: each is looked at once. */
    for (; left > 0 && req != NULL; left--) {
        struct request *next = req->next;

        if (n->now_ms >= req->deadline_ms) {
            wait_remove(r, req, list);
            answer_late(n, req, list);
        } else if (list == ROUTER_NO_GROUP ? n->map_known
                                           : woken || req->retry_ms <= n->now_ms) {
            wait_remove(r, req, list);
            if (woken) {
                req->retry_ms = 0;
            }
            if (list == ROUTER_NO_GROUP) {
                router_submit(n, req);
            } else {
                route(n, req);
            }
        }
        req = next;
    }
}

bool router_flush(struct node *n)
{
    struct router *r = n->router;
    uint64_t todo[NODE_GROUP_WORDS];
    uint32_t cursor = 0;
    group_id list;
    bool any = false;

    memcpy(todo, r->woken, sizeof(todo));
    memset(r->woken, 0, sizeof(r->woken));
    while (node_bits_next(todo, &cursor, &list)) {
        if (list < ROUTER_LISTS && r->waiting[list].head != NULL) {
            any = true;
            list_try(n, list, true);
        }
    }
    return any;
}

/* ---- answers to forwards ---- */

/* The error code of a response's tail; 0 for a success. *out_text is what follows the
 * word. */
static int tail_code(struct kv_bytes tail, struct kv_bytes *out_text)
{
    struct kv_bytes text;
    size_t head, len, word;

    *out_text = kv_bytes(NULL, 0);
    if (tail.len == 0) {
        return KV_EUNKNOWN;
    }
    if (tail.data[0] == 0xc0) {
        return 0;
    }
    if ((tail.data[0] & 0xe0) == 0xa0) {
        head = 1;
        len = tail.data[0] & 0x1f;
    } else if (tail.data[0] == 0xd9 && tail.len >= 2) {
        head = 2;
        len = tail.data[1];
    } else {
        return KV_EUNKNOWN; /* Longer than any error of ours. */
    }
    if (tail.len < head + len) {
        return KV_EUNKNOWN;
    }
    text = kv_bytes(tail.data + head, len);
    for (word = 0; word < text.len && text.data[word] != ' '; word++) {
    }
    if (word < text.len) {
        *out_text = kv_bytes(text.data + word + 1, text.len - word - 1);
    }
    return kv_err_from_word((const char *)text.data, word);
}

/* NOT_LEADER carries the leader's client address: the node that has it, 0 if none. */
static uint32_t node_of_address(const struct node *n, struct kv_bytes text)
{
    char address[ROUTER_ADDRESS_BYTES];
    uint32_t i;

    for (i = 0; i < n->map.nodes_count; i++) {
        client_address(&n->map.nodes[i], address, sizeof(address));
        if (kv_bytes_equal(text, kv_bytes_str(address))) {
            return n->map.nodes[i].id;
        }
    }
    return 0;
}

/* It certainly did nothing there: another way, after a pause. */
static void forward_again(struct node *n, struct request *req, uint32_t hint)
{
    n->router->stats.retries++;
    if (hint != 0 && hint != req->sent_to) {
        n->leader_hints[req->group] = hint;
    } else if (n->leader_hints[req->group] == req->sent_to) {
        n->leader_hints[req->group] = 0;
    }
    back_off(n, req);
    req->tries++;
    wait_push(n, req, req->group);
}

/* May it be sent again although it may have been done? Whoever asks for a lock again,
 * as the same owner, finds its token or its place. */
static bool may_repeat(const struct request *req)
{
    return !req->is_write || rpc_method_lock(req->rpc.method) == RPC_LOCK_ACQUIRE;
}

/* Another node leads now: reads that the old one has not answered ask the new one. */
static void reads_redirect(struct node *n, group_id group, uint32_t leader)
{
    uint32_t i;

    for (i = 0; i < STORE_NODES_MAX; i++) {
        struct request *req = n->router->forwarded[i].head;

        while (req != NULL && req->sent_to != leader) {
            struct request *next = req->next;

            if (req->group == group && may_repeat(req)) {
                forward_remove(n, req);
                forward_again(n, req, leader);
            }
            req = next;
        }
    }
}

void router_hint(struct node *n, group_id group, uint32_t leader, raft_term term)
{
    struct router *r = n->router;

    if (group >= KV_GROUPS_MAX || term < r->hint_terms[group] ||
        (term == r->hint_terms[group] && leader == 0)) {
        return;
    }
    if (leader != 0) {
        /* Only a leader's term is sure to stay: a candidate that dies forgets its own,
         * and may come back to lead an older one. */
        r->hint_terms[group] = term;
    }
    if (n->leader_hints[group] != leader) {
        n->leader_hints[group] = leader;
        if (leader != 0) {
            reads_redirect(n, group, leader);
            news_leader(n, group, leader, term);
        }
        router_wake(n, group);
    }
}

void router_forward_done(struct node *n, uint32_t from_node, uint64_t forward_id,
                         struct kv_bytes tail)
{
    struct router *r = n->router;
    struct request *req = idmap_find(&r->forwards, forward_id);
    struct kv_bytes text;
    int code;

    if (req == NULL || req->sent_to != from_node) {
        r->stats.forwards_stale++;
        return;
    }
    forward_remove(n, req);
    code = tail_code(tail, &text);
    if (code == KV_ENOTLEADER) {
        forward_again(n, req, node_of_address(n, text));
    } else if (code == KV_ENOLEADER) {
        forward_again(n, req, 0);
    } else {
        reply_tail(req, tail);
    }
}

void router_forward_unsent(struct node *n, uint32_t node, uint64_t first_id)
{
    struct router *r = n->router;
    uint32_t position = node_position(n, node);
    struct request *req = position == UINT32_MAX ? NULL : r->forwarded[position].head;

    while (req != NULL) {
        struct request *next = req->next;

        if (req->sent_forward_id >= first_id) {
            forward_remove(n, req);
            forward_again(n, req, 0);
        }
        req = next;
    }
}

void router_link_lost(struct node *n, uint32_t node)
{
    struct router *r = n->router;
    uint32_t position = node_position(n, node);
    struct request *req = position == UINT32_MAX ? NULL : r->forwarded[position].head;

    while (req != NULL) {
        struct request *next = req->next;

        forward_remove(n, req);
        if (!may_repeat(req) && !KV_BUG(n->config, K08)) {
            r->stats.forwards_unknown++;
            reply_error(
                req, KV_EUNKNOWN,
                "group %u: the link to node %u was lost after the write was sent; "
                "read the key to see whether it was done",
                req->group, node);
        } else {
            forward_again(n, req, 0);
        }
        req = next;
    }
}

/* ---- time ---- */

static void forwarded_sweep(struct node *n)
{
    struct router *r = n->router;
    uint32_t i;

    for (i = 0; i < STORE_NODES_MAX; i++) {
        struct request *req = r->forwarded[i].head;

        while (req != NULL) {
            struct request *next = req->next;

            if (n->now_ms >= req->deadline_ms) {
                forward_remove(n, req);
                r->stats.forwards_unknown += req->is_write ? 1 : 0;
                reply_error(req, req->is_write ? KV_EUNKNOWN : KV_ETIMEOUT,
                            "group %u: no answer from node %u before the deadline",
                            req->group, req->sent_to);
            }
            req = next;
        }
    }
}

void router_tick(struct node *n)
{
    struct router *r = n->router;
    uint32_t cursor = 0;
    group_id list;

    if (r->waiting_count > 0 && n->now_ms >= r->sweep_ms) {
        r->sweep_ms = n->now_ms + ROUTER_SWEEP_MS;
        while (node_bits_next(r->lists_waiting, &cursor, &list)) {
            list_try(n, list, false);
        }
    }
    if (r->forwards.count > 0 && n->now_ms >= r->forward_sweep_ms) {
        r->forward_sweep_ms = n->now_ms + ROUTER_FORWARD_SWEEP_MS;
        forwarded_sweep(n);
    }
}

uint64_t router_deadline_ms(const struct router *r)
{
    uint64_t first = r->waiting_count > 0 ? r->sweep_ms : UINT64_MAX;

    return r->forwards.count > 0 ? KV_MIN(first, r->forward_sweep_ms) : first;
}

void router_stats_get(const struct router *r, struct router_stats *out)
{
    *out = r->stats;
    out->waiting = r->waiting_count;
    out->forwarded = r->forwards.count;
}
