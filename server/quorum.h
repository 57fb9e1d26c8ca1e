/* server/quorum.h - quorum reads: this node asks R voters, and answers for its own.
 *
 *   submitted ──R asked──► enough answers, P <= X ──────────────► answered
 *                 │ silence for a while: all others as well            ▲
 *                 └► P > X: asked again, until somebody has applied P ─┘
 *                 └► deadline: TIMEOUT
 *
 * What the answers mean is decided in quorum_read.c. No leader takes part. The
 * coordinator needs no replica of the group.
 *
 * Needs:    server/node.h, rpc/peer.h, quorum_read.h.
 * Used by:  server/node.c, node_request.c, peers_quorum.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_QUORUM_H
#define KV_SERVER_QUORUM_H

#include "rpc/peer.h"
#include "server/node.h"

enum {
    QUORUMS_MAX = 4096,       /* Under way on a node; more get BUSY. */
    QUORUM_PARKED_MAX = 1024, /* Asks that wait for their goal; more are answered. */
    QUORUM_HEDGE_MS = 15,     /* Silence after which the other voters are asked. */
    QUORUM_AGAIN_MS = 50,     /* Between two rounds of asking. */
    QUORUM_LOOK_MS = 5,       /* Timers are looked at no more often. */
};

struct quorums;

KV_MUST_CHECK int quorums_new(struct quorums **out);
/* Ends what is under way. */
void quorums_free(struct quorums *qs);

/* Takes a get of level quorum; it is answered here, now or later. */
void quorum_submit(struct node *n, struct request *req);

/* Another node asks (its process' nonce), or answered. */
void quorum_asked(struct node *n, uint32_t node, uint64_t nonce,
                  const struct peer_quorum_ask *ask);
void quorum_answered(struct node *n, const struct peer_quorum_answer *answer);

/* Turn end, behind the groups: what was waited for may be applied now. */
void quorum_flush(struct node *n);
void quorum_tick(struct node *n);
uint64_t quorum_deadline_ms(const struct node *n);

#endif
