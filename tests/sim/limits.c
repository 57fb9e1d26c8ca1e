/* tests/sim/limits.c - how little room the nodes have: small bounds, at random.
 *
 * What is rare with the bounds of kvd (a full queue, a window of one, a snapshot of
 * many chunks) is common here. Half of the seeds have some of them.
 */
#include "tests/sim/sim.h"

static const struct {
    size_t at; /* In struct sim_strengths. */
    uint32_t low, high;
} limits[] = {
#define LIMIT(name, low, high)                          \
    {                                                   \
        offsetof(struct sim_strengths, name), low, high \
    }
    LIMIT(limit_queued, 1, 8),         LIMIT(limit_batch, 1, 4),
    LIMIT(limit_batch_bytes, 1, 200),  LIMIT(limit_ring, 1, 16),
    LIMIT(limit_tail, 1, 4000),        LIMIT(limit_undurable, 40000, 100000),
    LIMIT(limit_read_batches, 1, 3),   LIMIT(limit_read_count, 1, 2),
    LIMIT(limit_serve_bytes, 1, 40),   LIMIT(limit_apply, 1, 4),
    LIMIT(limit_read_ahead, 1, 4),     LIMIT(limit_chunks, 1, 2),
    LIMIT(limit_flight, 1, 3),         LIMIT(limit_flight_bytes, 1, 1000),
    LIMIT(limit_append, 1, 4),         LIMIT(limit_append_bytes, 1, 300),
    LIMIT(limit_chunk_bytes, 16, 512), LIMIT(limit_chunk_flight, 1, 2),
    LIMIT(limit_window_bits, 4, 7),    LIMIT(limit_requests, 1, 12),
    LIMIT(limit_waiting, 1, 3),        LIMIT(limit_delta, 200, 4000),
    LIMIT(limit_scrub, 100, 100000),   LIMIT(limit_deadline, 50, 2000),
    LIMIT(limit_election, 60, 1000),   LIMIT(limit_retention, 200, 6000),
    LIMIT(limit_results, 1, 6),        LIMIT(limit_history, 1, 16000),
#undef LIMIT
};

void limits_draw(struct sim *s)
{
    struct sim_strengths *f = &s->swarm.f;
    bool some = faults_coin(s);

    for (size_t i = 0; i < KV_ARRAY_COUNT(limits); i++) {
        uint32_t value = faults_draw_between(s, limits[i].low, limits[i].high);

        if (some && faults_draw_between(s, 1, 5) == 1) {
            memcpy((char *)f + limits[i].at, &value, sizeof value);
        }
    }
#define COUNT_LIMIT(name) s->counts.name += f->name != 0;
    SIM_LIMIT_MAP(COUNT_LIMIT)
#undef COUNT_LIMIT
}

void limits_apply(const struct sim *s, struct node_config *c)
{
    const struct sim_strengths *f = &s->swarm.f;
    struct group_limits *l = &c->limits;

#define SET(field, name)     \
    do {                     \
        if (f->name != 0)    \
            field = f->name; \
    } while (0)
    SET(l->queued_max, limit_queued);
    SET(l->batch_max, limit_batch);
    SET(l->batch_bytes_max, limit_batch_bytes);
    SET(l->ring_max, limit_ring);
    SET(c->tail_bytes_max, limit_tail);
    SET(l->undurable_bytes_max, limit_undurable);
    SET(l->read_batches_max, limit_read_batches);
    SET(l->read_count_max, limit_read_count);
    SET(l->serve_bytes_max, limit_serve_bytes);
    SET(l->apply_flush_max, limit_apply);
    SET(l->read_ahead_count, limit_read_ahead);
    SET(l->chunks_max, limit_chunks);
    SET(l->raft.flight_messages_max, limit_flight);
    SET(l->raft.flight_bytes_max, limit_flight_bytes);
    SET(l->raft.append_entries_max, limit_append);
    SET(l->raft.append_bytes_max, limit_append_bytes);
    SET(l->raft.snapshot_chunk_bytes, limit_chunk_bytes);
    SET(l->raft.snapshot_flight_max, limit_chunk_flight);
    SET(c->requests_max, limit_requests);
    SET(c->waiting_max, limit_waiting);
    SET(c->delta_bytes_max, limit_delta);
    SET(c->scrub_bytes_per_s, limit_scrub);
    SET(c->request_deadline_ms, limit_deadline);
    SET(c->election_timeout_ms, limit_election);
    SET(l->retention_ms, limit_retention);
    SET(l->results_max, limit_results);
    SET(c->history_bytes_max, limit_history);
#undef SET
    l->chunks_max = KV_MAX(l->chunks_max, l->raft.snapshot_flight_max);
    c->heartbeat_ms = KV_MIN(c->heartbeat_ms, c->election_timeout_ms / 3);
    if (f->limit_window_bits != 0) {
        l->raft.window = 1u << f->limit_window_bits;
    }
}
