/* server/news.h - tells clients that asked for it who leads which group.
 *
 * A client whose leader has died without a word, or stands still, would find the next
 * one only when its own patience ends; so `hello` with {leaders: true} subscribes its
 * connection to `cluster.leaders`: what this node knows, and then each change. Changes
 * are gathered until the turn's end, and one that a slow client could not take goes
 * with the next; a turn serves at most NEWS_TURN_CONNS connections.
 *
 * Needs:    server/node.h, server/conn.h, server/idmap.h, rpc/news.h.
 * Used by:  server/node.c, node_request.c (subscribe), router.c (news_leader), conn.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_NEWS_H
#define KV_SERVER_NEWS_H

#include "raft/types.h"
#include "server/node.h"

enum {
    NEWS_TURN_CONNS = 256,
};

/* Takes room for so many connections. 0 or KV_ENOMEM. */
KV_MUST_CHECK int news_new(struct node *n, uint32_t connections_max, struct news **out);
void news_free(struct news *ns);

/* The connection wants to hear; it hears at once what is known. Without memory for it
 * nothing is promised. */
void news_subscribe(struct node *n, uint64_t conn);
void news_conn_closed(struct node *n, uint64_t conn);

/* `node` leads the group in `term`, as far as this node has heard. */
void news_leader(struct node *n, group_id group, uint32_t node, raft_term term);

/* Turn end, before conns_flush(): tells those that have not heard yet. */
void news_flush(struct node *n);
/* Now, while some have still to be told; else UINT64_MAX. */
uint64_t news_deadline_ms(const struct node *n);

#endif
