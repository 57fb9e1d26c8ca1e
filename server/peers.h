/* server/peers.h - the other nodes: links, hello, and everything that crosses them.
 *
 * One link per pair of nodes; the node with the higher id dials. A link begins with
 * HELLO in both directions; nothing else is believed before. Raft messages of a turn
 * to one node leave in one frame, all frames of a turn in one link_send(). What
 * cannot be sent is lost: Raft sends again, a forward is told to the router.
 *
 *   link: DIALING ──► HELLO ──► UP ──► (closed) ──► immediate redial, then backoff
 *                       ▲ accepted by the lower id
 *
 * Files: peers.c (table, timers, turn end), peers_link.c (links and frames in),
 * peers_hello.c (who may join), peers_raft.c (batching), peers_forward.c.
 *
 * Needs:    server/node.h, rpc/peer.h.
 * Used by:  server/node.c, group*.c (peers_send_raft), reply.c, router.c, meta.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_PEERS_H
#define KV_SERVER_PEERS_H

#include "rpc/peer.h"
#include "server/node.h"

enum {
    /* Unsent bytes of a link above which bulk is dropped: snapshot chunks, then
     * appends with entries. Heartbeats and votes always go. */
    PEERS_BULK_QUEUE_BYTES_MAX = 2 * 1024 * 1024,
    PEERS_APPEND_QUEUE_BYTES_MAX = 16 * 1024 * 1024,
};

/* ---- life ---- */

KV_MUST_CHECK int peers_new(struct node *n, struct peers **out);
void peers_free(struct peers *ps);

/* ---- events (node.c hands them on) ---- */

void peers_link_open(struct node *n, uint64_t link, bool dialed);
void peers_link_data(struct node *n, uint64_t link, const uint8_t *data, size_t len);
void peers_link_closed(struct node *n, uint64_t link, bool refused);
void peers_tick(struct node *n);
uint64_t peers_deadline_ms(const struct peers *ps);
/* Turn end: everything that is to be said, one link_send() per node. */
void peers_flush(struct node *n);

/* The identity job that holds `incarnation` of `node` is durable (meta.c). */
void peers_identity_stored(struct node *n);

/* ---- work ---- */

/* Passes a request on. It is sent at the turn's end; router_forward_unsent() follows
 * when even that fails. 0; KV_ECLOSED (no link), KV_EBUSY (its queue is full): then
 * nothing was sent and nothing will be. */
struct peers_forward {
    uint32_t node;
    uint64_t id;          /* This node's number for it. */
    uint32_t deadline_ms; /* Time left. */
    bool is_part;         /* Part of a range: serve only `group`. */
    group_id group;
    struct kv_bytes request; /* Copied. */
};
KV_MUST_CHECK int peers_forward(struct node *n, const struct peers_forward *f);

/* Answers a request FROM_PEER: `tail` is error and result of a response (rpc/msg.h).
 * Lost when the link or the asking process is gone: who asked knows what that means. */
struct request_asker;
void peers_forward_reply(struct node *n, const struct request_asker *to,
                         struct kv_bytes tail);

/* The question of a quorum read, and its answer to a node's process. Lost when there is
 * no link, or too much in it. */
void peers_quorum_ask(struct node *n, uint32_t node, const struct peer_quorum_ask *ask);
void peers_quorum_answer(struct node *n, uint32_t node, uint64_t nonce,
                         const struct peer_quorum_answer *answer);

/* This node leads a group now, or no longer: tell all at the turn's end. */
void peers_state_changed(struct node *n, group_id group);

/* ---- looking in ---- */

/* A link with a valid HELLO is up. */
bool peers_is_up(const struct node *n, uint32_t node);
/* And something came through it lately: worth sending a request to. */
bool peers_is_responsive(const struct node *n, uint32_t node);
/* Since when, 0 when it is down. */
uint64_t peers_up_since_ms(const struct node *n, uint32_t node);
/* It has exchanged HELLO with us since our start. */
bool peers_was_met(const struct node *n, uint32_t node);
/* It confirmed that it has stored our incarnation (since our start). */
bool peers_is_confirmed(const struct node *n, uint32_t node);
/* What it said of itself in its last HELLO; NULL before the first. */
const struct peer_hello *peers_hello_get(const struct node *n, uint32_t node);
/* Why it refuses us or we refuse it, "" when nothing is wrong. Static text. */
const char *peers_trouble(const struct node *n, uint32_t node);

struct peers_stats {
    uint32_t up;
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t messages_in, messages_out; /* Raft messages. */
    uint64_t messages_dropped;          /* Not sent: no link or full queue. */
    uint64_t messages_strange;          /* Received for groups that are not here. */
    uint64_t refused;                   /* HELLOs that were refused. */
    uint64_t closed_protocol;           /* Links closed for broken frames. */
    uint64_t queued_bytes;
};
void peers_stats_get(const struct node *n, struct peers_stats *out);

#endif
