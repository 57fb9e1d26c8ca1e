/* raft/recv_snapshot.c - chunks of a snapshot, and what is said about them. */
#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/recv.h"
#include "raft/replication.h"
#include "raft/reply.h"
#include "raft/snapshot.h"
#include "raft/state.h"

/* A snapshot and a piece of it that can exist. */
static bool chunk_fits(const struct raft_msg *m)
{
    const struct raft_snapshot *s = &m->snapshot;
    const struct raft_chunk *chunk = &m->chunk;

    return s->id != 0 && s->bytes >= 1 && s->last.pos.index >= 1 &&
           s->last.pos.term <= m->term && s->config_index <= s->last.pos.index &&
           raft_config_valid(&s->config) && s->config.voters_count > 0 &&
           chunk->snapshot_id == s->id && chunk->len >= 1 &&
           chunk->data.len == chunk->len && chunk->offset < s->bytes &&
           chunk->len <= s->bytes - chunk->offset &&
           chunk->done == (chunk->offset + chunk->len == s->bytes);
}

/* The id of what we receive, but another content. */
static bool contradicts_incoming(const struct raft *r, const struct raft_msg *m)
{
    const struct raft_snapshot *ours = &r->incoming.snapshot;

    return r->incoming.state != RAFT_INCOMING_NONE && ours->id == m->snapshot.id &&
           (ours->bytes != m->snapshot.bytes ||
            ours->last.pos.index != m->snapshot.last.pos.index ||
            ours->last.pos.term != m->snapshot.last.pos.term);
}

int raft_recv_snapshot(struct raft *r, const struct raft_msg *m)
{
    if (m->term < r->term) {
        raft_reply_stale(r, m);
        return 0;
    }
    if (raft_recv_rival(r, m) || !chunk_fits(m) || contradicts_incoming(r, m)) {
        return KV_EPROTO;
    }
    raft_recv_follow(r, m);
    raft_snapshot_take(r, m);
    return 0;
}

int raft_recv_snapshot_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_progress *p;

    if (!raft_recv_answers_us(r, m)) {
        return 0;
    }
    p = raft_replication_find(r, m->from);
    if (p == NULL) {
        return 0;
    }
    p->active_ms = r->now_ms;
    if (p->state != RAFT_PROGRESS_SNAPSHOT || !r->outgoing_ready ||
        p->snapshot_id != r->outgoing.id || m->chunk.snapshot_id != r->outgoing.id) {
        return 0; /* About an older one. */
    }
    if (m->chunk.offset > r->outgoing.bytes) {
        return KV_EPROTO;
    }
    if (m->chunk.done) {
        (void)raft_progress_ack(p, r->outgoing.last.pos.index, r->round, r->now_ms);
        raft_progress_probe(p, p->match + 1);
    } else if (m->rejected && m->chunk.offset == 0 &&
               p->offset_acked == r->outgoing.bytes) {
        raft_snapshot_refused(r, p); /* It got all of it. */
    } else if (m->rejected) {
        /* A gap: go back, but only once for all chunks that were behind it. */
        if (m->chunk.offset != p->offset_rewound && m->chunk.offset < p->offset_sent) {
            p->offset_rewound = m->chunk.offset;
            p->offset_sent = m->chunk.offset;
            p->offset_acked = KV_MIN(p->offset_acked, m->chunk.offset);
            p->moved_ms = r->now_ms;
        }
    } else if (m->chunk.offset > p->offset_acked) {
        p->offset_acked = m->chunk.offset;
        p->offset_sent = KV_MAX(p->offset_sent, p->offset_acked);
        p->moved_ms = r->now_ms;
    }
    return 0;
}
