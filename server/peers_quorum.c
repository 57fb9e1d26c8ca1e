/* server/peers_quorum.c - the frames of quorum reads. */
#include "raft/base/err.h"
#include "server/peers_parts.h"
#include "server/quorum.h"

enum {
    QUORUM_QUEUE_BYTES_MAX = 32 * 1024 * 1024, /* Unsent; above it nothing goes. */
};

/* Room for a frame to this node? What is not sent is lost, as on any network. */
static struct peer *peer_with_room(struct node *n, uint32_t node)
{
    struct peer *p = peers_find(n->peers, node);

    if (p == NULL || p->link == NULL || p->link->state != LINK_UP ||
        n->env->ops->link_queued(n->env, p->link->id) + p->out.len >
            QUORUM_QUEUE_BYTES_MAX) {
        return NULL;
    }
    return p;
}

void peers_quorum_ask(struct node *n, uint32_t node, const struct peer_quorum_ask *ask)
{
    struct peer *p = peer_with_room(n, node);
    struct peer_head head = peers_head(n, node, PEER_QUORUM_ASK);
    size_t mark;

    if (p == NULL) {
        return;
    }
    mark = peer_frame_begin(&p->out, &head);
    peer_quorum_ask_encode(&p->out, ask);
    if (peer_frame_end(&p->out, mark) == 0) {
        n->peers->stats.frames_out++;
    }
}

void peers_quorum_answer(struct node *n, uint32_t node, uint64_t nonce,
                         const struct peer_quorum_answer *answer)
{
    struct peer *p = peer_with_room(n, node);
    struct peer_head head = peers_head(n, node, PEER_QUORUM_ANSWER);
    size_t mark;

    /* Numbers of asks begin anew with each process. */
    if (p == NULL || p->nonce != nonce) {
        return;
    }
    mark = peer_frame_begin(&p->out, &head);
    peer_quorum_answer_encode(&p->out, answer);
    if (peer_frame_end(&p->out, mark) == 0) {
        n->peers->stats.frames_out++;
    }
}

int quorum_ask_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peer_quorum_ask ask;
    int rc = peer_quorum_ask_decode(&n->peers->decoder, body, &ask);

    if (rc == 0 && n->phase != NODE_FORMING) {
        quorum_asked(n, p->node, p->nonce, &ask);
    }
    return rc;
}

int quorum_answer_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peer_quorum_answer answer;
    int rc = peer_quorum_answer_decode(&n->peers->decoder, body, &answer);

    /* A node speaks for its own replica only. */
    if (rc == 0 && node_of_replica(n, answer.group, answer.replica) == p->node) {
        quorum_answered(n, &answer);
    }
    return rc;
}
