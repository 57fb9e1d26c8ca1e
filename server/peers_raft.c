/* server/peers_raft.c - Raft messages: those of a turn to one node share a frame. */
#include "raft/base/err.h"
#include "server/node_parts.h"
#include "server/peers_parts.h"
#include "storage/failpoint.h"

enum {
    RAFT_MSG_BYTES = 1024, /* More than a message takes without entries and chunk. */
    RAFT_HEAD_BYTES = 16,  /* The array's head, and more. */
};

/* ---- out ---- */

void raft_frame_close(struct node *n, struct peer *p)
{
    struct peer_head head = peers_head(n, p->node, PEER_RAFT);
    size_t mark;

    if (p->msgs_count == 0) {
        return;
    }
    mark = peer_frame_begin(&p->out, &head);
    peer_raft_begin(&p->out, p->msgs_count);
    buf_append_bytes(&p->out, buf_bytes(&p->msgs));
    if (p->msgs.error != 0 || peer_frame_end(&p->out, mark) != 0) {
        buf_rewind(&p->out, mark);
        n->peers->stats.messages_dropped += p->msgs_count;
    } else {
        n->peers->stats.frames_out++;
        n->peers->stats.messages_out += p->msgs_count;
    }
    buf_reset(&p->msgs);
    p->msgs_count = 0;
    p->entries_count = 0;
}

/* Appends have entries and snapshots chunks: they wait for a queue that is too long,
 * that is, they are lost and sent again. Heartbeats and votes are not. */
static bool is_too_much(const struct node *n, const struct peer *p,
                        const struct raft_msg *msg)
{
    uint64_t queued;

    if (msg->type != RAFT_MSG_SNAPSHOT &&
        (msg->type != RAFT_MSG_APPEND || msg->entries_count == 0)) {
        return false;
    }
    queued = n->env->ops->link_queued(n->env, p->link->id) + p->out.len + p->msgs.len;
    return queued > (msg->type == RAFT_MSG_SNAPSHOT
                         ? (uint64_t)PEERS_BULK_QUEUE_BYTES_MAX
                         : (uint64_t)PEERS_APPEND_QUEUE_BYTES_MAX);
}

/* Appends a message whose entries or chunk take `bytes`. */
static void msg_append(struct node *n, struct peer *p, const struct peer_raft *m,
                       size_t bytes)
{
    size_t need = RAFT_HEAD_BYTES + RAFT_MSG_BYTES + bytes;

    if (p->msgs_count >= KV_PEER_MSGS_MAX ||
        p->entries_count + m->msg.entries_count > KV_PEER_ENTRIES_MAX ||
        p->msgs.len + need > KV_PEER_BODY_BYTES_MAX) {
        raft_frame_close(n, p);
    }
    peer_raft_encode(&p->msgs, m);
    p->msgs_count++;
    p->entries_count += m->msg.entries_count;
}

static void append_send(struct node *n, struct peer *p, struct group *g,
                        struct peer_raft *m)
{
    struct kv_bytes records[RAFT_ENTRIES_MAX];
    uint32_t want = KV_MIN(m->msg.entries_count, (uint32_t)RAFT_ENTRIES_MAX);
    uint32_t have = group_records(g, m->msg.prev.index, want, records);
    size_t bytes = 0;
    uint32_t i;

    KV_ASSERT(have <= want);
    for (i = 0; i < have && bytes + records[i].len + 16 <= KV_PEER_BODY_BYTES_MAX / 2;
         i++) {
        bytes += records[i].len + 16;
    }
    if (i == 0) {
        n->peers->stats.messages_dropped++;
        return;
    }
    m->msg.entries_count = i;
    m->records = records;
    msg_append(n, p, m, bytes);
}

static void snapshot_send(struct node *n, struct peer *p, struct group *g,
                          struct peer_raft *m)
{
    uint8_t *data;

    arena_reset(&n->peers->arena_out);
    if (m->msg.chunk.len > KV_SNAPSHOT_CHUNK_BYTES_MAX) {
        n->peers->stats.messages_dropped++;
        return;
    }
    data = arena_alloc(&n->peers->arena_out, KV_MAX(m->msg.chunk.len, 1u));
    if (data == NULL || group_chunk(g, &m->msg.chunk, data) != 0) {
        n->peers->stats.messages_dropped++;
        return;
    }
    m->msg.chunk.data = kv_bytes(data, m->msg.chunk.len);
    msg_append(n, p, m, m->msg.chunk.len);
}

#ifdef KV_FAILPOINTS
static void send_reach(const struct raft_msg *msg)
{
    static const enum failpoint points[RAFT_MSG_TYPES_COUNT] = {
        [RAFT_MSG_PRE_VOTE] = FAILPOINT_AT_send_pre_vote,
        [RAFT_MSG_PRE_VOTE_REPLY] = FAILPOINT_AT_send_pre_vote_reply,
        [RAFT_MSG_VOTE] = FAILPOINT_AT_send_vote,
        [RAFT_MSG_VOTE_REPLY] = FAILPOINT_AT_send_vote_reply,
        [RAFT_MSG_APPEND] = FAILPOINT_AT_send_append,
        [RAFT_MSG_APPEND_REPLY] = FAILPOINT_AT_send_append_reply,
        [RAFT_MSG_HEARTBEAT] = FAILPOINT_AT_send_heartbeat,
        [RAFT_MSG_HEARTBEAT_REPLY] = FAILPOINT_AT_send_heartbeat_reply,
        [RAFT_MSG_SNAPSHOT] = FAILPOINT_AT_send_snapshot,
        [RAFT_MSG_SNAPSHOT_REPLY] = FAILPOINT_AT_send_snapshot_reply,
        [RAFT_MSG_TIMEOUT_NOW] = FAILPOINT_AT_send_timeout_now,
    };

    (void)failpoint_hit(points[msg->type]);
}
#else
#define send_reach(msg) ((void)0)
#endif

void peers_send_raft(struct node *n, struct group *g, const struct raft_msg *msg)
{
    group_id id = group_id_get(g);
    struct peer *p = peers_find(n->peers, node_of_replica(n, id, msg->to));
    bool astray = KV_BUG(n->config, K07) && msg->type == RAFT_MSG_HEARTBEAT_REPLY;
    struct peer_raft m = {.group = astray && id >= 2 ? id ^ 1 : id, .msg = *msg};

    if (p == NULL || p->link == NULL || p->link->state != LINK_UP ||
        is_too_much(n, p, msg)) {
        n->peers->stats.messages_dropped++;
        return;
    }
    send_reach(msg);
    if (msg->type == RAFT_MSG_APPEND && msg->entries_count > 0) {
        append_send(n, p, g, &m);
    } else if (msg->type == RAFT_MSG_SNAPSHOT) {
        snapshot_send(n, p, g, &m);
    } else {
        msg_append(n, p, &m, 0);
    }
}

/* ---- in ---- */

int raft_take(struct node *n, struct peer *p, struct kv_bytes body)
{
    struct peers *ps = n->peers;
    struct peer_raft *msgs;
    uint32_t count, i;
    int rc;

    if (n->phase == NODE_FORMING) {
        return 0; /* Nothing is voted for or acked before the cluster is formed. */
    }
    rc = peer_raft_decode(&ps->decoder, body, &ps->arena, &msgs, &count);
    if (rc != 0) {
        return rc;
    }
    for (i = 0; i < count && n->phase != NODE_HALTED; i++) {
        const struct peer_raft *m = &msgs[i];
        struct group *g = node_group(n, m->group);

        /* A group that is not open here, yet or any more: as if lost. */
        if (g == NULL || node_of_replica(n, m->group, m->msg.from) != p->node ||
            m->msg.to != node_replica_on(n, m->group, n->config.id)) {
            ps->stats.messages_strange++;
            continue;
        }
        ps->stats.messages_in++;
        node_group_touch(n, m->group);
        group_on_message(g, &m->msg);
    }
    return 0;
}
