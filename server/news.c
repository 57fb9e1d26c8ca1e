/* server/news.c - tells clients that asked for it who leads which group. */
#include "server/news.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "rpc/news.h"
#include "server/conn.h"
#include "server/idmap.h"
#include "server/node_parts.h"

/* A connection that wants to hear. */
struct listener {
    uint64_t conn;
    uint64_t heard; /* It has been told all up to this number. */
};

/* Numbers grow with each change of any group; 0: never. */
struct news {
    struct idmap listeners; /* By connection. */
    uint64_t number;        /* Of the last change. */
    uint32_t cursor;        /* Where the walk over `listeners` goes on. */
    bool is_walking;        /* Some may not have heard all. */
    uint32_t groups_end;    /* All groups with news are below it. */
    struct {
        uint64_t number;
        raft_term term;
        uint32_t node;
    } groups[KV_GROUPS_MAX];
};

int news_new(struct node *n, uint32_t connections_max, struct news **out)
{
    struct news *ns = kv_mem_zalloc(sizeof *ns);

    (void)n;
    if (ns == NULL || idmap_init(&ns->listeners, connections_max) != 0) {
        kv_mem_free(ns);
        return KV_ENOMEM;
    }
    *out = ns;
    return 0;
}

void news_free(struct news *ns)
{
    struct listener *l;
    uint32_t cursor = 0;

    if (ns == NULL) {
        return;
    }
    while ((l = idmap_next(&ns->listeners, &cursor)) != NULL) {
        kv_mem_free(l);
    }
    idmap_close(&ns->listeners);
    kv_mem_free(ns);
}

static void walk_begin(struct news *ns)
{
    ns->is_walking = true;
    ns->cursor = 0;
}

void news_subscribe(struct node *n, uint64_t conn)
{
    struct news *ns = n->news;
    struct listener *l = idmap_find(&ns->listeners, conn);

    if (l != NULL) {
        return;
    }
    l = kv_mem_zalloc(sizeof *l);
    if (l == NULL) {
        return;
    }
    l->conn = conn;
    if (idmap_add(&ns->listeners, conn, l) != 0) {
        kv_mem_free(l);
        return;
    }
    walk_begin(ns);
}

void news_conn_closed(struct node *n, uint64_t conn)
{
    kv_mem_free(idmap_remove(&n->news->listeners, conn));
}

void news_leader(struct node *n, group_id group, uint32_t node, raft_term term)
{
    struct news *ns = n->news;

    if (group >= KV_GROUPS_MAX) {
        return;
    }
    ns->groups[group].number = ++ns->number;
    ns->groups[group].term = term;
    ns->groups[group].node = node;
    ns->groups_end = KV_MAX(ns->groups_end, (uint32_t)group + 1);
    walk_begin(ns);
}

/* Appends what the listener has not heard. */
static void tell(const struct news *ns, struct listener *l, struct buf *b)
{
    size_t mark = buf_mark(b);
    uint32_t count = 0;

    for (uint32_t i = 0; i < ns->groups_end; i++) {
        count += ns->groups[i].number > l->heard;
    }
    if (count == 0) {
        return;
    }
    rpc_leaders_begin(b, count);
    for (uint32_t i = 0; i < ns->groups_end; i++) {
        const struct rpc_leader leader = {
            .group = i, .node = ns->groups[i].node, .term = ns->groups[i].term};

        if (ns->groups[i].number > l->heard) {
            rpc_leaders_add(b, &leader);
        }
    }
    if (b->error != 0) {
        b->error = 0; /* No room beside what waits there: it hears the next time. */
        buf_rewind(b, mark);
        return;
    }
    l->heard = ns->number;
}

void news_flush(struct node *n)
{
    struct news *ns = n->news;
    struct listener *l = NULL;

    for (uint32_t told = 0; ns->is_walking && told < NEWS_TURN_CONNS;) {
        struct buf *b;

        l = idmap_next(&ns->listeners, &ns->cursor);
        if (l == NULL) {
            ns->is_walking = false;
            return;
        }
        if (l->heard == ns->number) {
            continue;
        }
        b = conn_notify_begin(n, l->conn);
        if (b != NULL) {
            tell(ns, l, b);
            told++;
        }
    }
}

uint64_t news_deadline_ms(const struct node *n)
{
    return n->news->is_walking ? n->now_ms : UINT64_MAX;
}
