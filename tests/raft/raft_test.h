/* tests/raft/raft_test.h - what the tests of the core share: a cluster in a few calls.
 *
 * Needs:    tests/lib/raft_cluster.h, cmocka.
 * Used by:  tests/raft.
 * Threads:  one.
 */
#ifndef KV_TESTS_RAFT_RAFT_TEST_H
#define KV_TESTS_RAFT_RAFT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/base/err.h"
#include "raft/election.h"
#include "raft/replication.h"
#include "raft/state.h"
#include "tests/lib/raft_cluster.h"

/* Voters 1..n. */
static inline struct raft_config voters_upto(uint32_t n)
{
    struct raft_config c = {.voters_count = n};

    for (uint32_t i = 0; i < n; i++) {
        c.voters[i] = i + 1;
    }
    return c;
}

/* A cluster of n voters that all run and know nothing. */
static inline struct raft_cluster *cluster_of(uint32_t n)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(n);

    for (raft_id id = 1; id <= n; id++) {
        (void)raft_cluster_make(c, id, &config);
    }
    for (raft_id id = 1; id <= n; id++) {
        raft_cluster_start(c, id);
    }
    return c;
}

/* The same, but stopped, for tests that fill the disks first. */
static inline struct raft_cluster *stopped_cluster_of(uint32_t n)
{
    struct raft_cluster *c = raft_cluster_new(1);
    struct raft_config config = voters_upto(n);

    for (raft_id id = 1; id <= n; id++) {
        (void)raft_cluster_make(c, id, &config);
    }
    return c;
}

/* Puts an entry behind the durable log of a stopped replica. Equal positions after
 * equal logs have equal contents. */
static inline void disk_entry(struct raft_cluster *c, raft_id id, raft_term term)
{
    struct raft_disk *d = &c->nodes[id].disk;
    const struct raft_entry *before = raft_disk_log_get(&d->log, d->log.last);
    uint8_t payload[RAFT_CONFIG_BYTES_MAX] = {0};
    struct raft_entry e = {.pos = {.index = d->log.last + 1, .term = term},
                           .type = RAFT_ENTRY_COMMAND};
    struct raft_entry *copy;

    kv_put_u64le(payload, e.pos.index * 1000 + term);
    e.payload = kv_bytes(payload, 8);
    if (e.pos.index == 1) {
        e.type = RAFT_ENTRY_CONFIG;
        e.payload.len = raft_config_encode(&d->config, payload);
    }
    e.hash = raft_entry_hash(before != NULL ? before->hash : 0, &e);
    copy = raft_disk_entries_copy(&c->arena, &e, 1);
    raft_disk_log_put(&d->log, &c->arena, copy, 1);
    raft_judge_entry(c->judge, copy);
    d->term = KV_MAX(d->term, term);
}

/* Lets the election timer of a replica run out. */
static inline void time_out(struct raft_cluster *c, raft_id id)
{
    struct raft_cluster_node *n = &c->nodes[id];

    if (n->deadline_ms > raft_cluster_now_ms(c, id)) {
        n->clock_ms += n->deadline_ms - raft_cluster_now_ms(c, id);
    }
    (void)raft_cluster_tick(c, id);
}

/* Time passes for all; they notice. */
static inline void pass_ms(struct raft_cluster *c, uint64_t ms)
{
    c->now_ms += ms;
    for (raft_id id = 1; id <= RAFT_CLUSTER_NODES_MAX; id++) {
        if (c->nodes[id].up) {
            (void)raft_cluster_tick(c, id);
        }
    }
}

/* Makes a replica the leader in a cluster where nobody objects. */
static inline void elect(struct raft_cluster *c, raft_id id)
{
    c->now_ms += 400;
    time_out(c, id);
    raft_cluster_settle(c);
    assert_int_equal(c->nodes[id].role, RAFT_LEADER);
    pass_ms(c, 60);
    raft_cluster_settle(c);
}

/* Hands a message to a replica; nobody stands behind it. */
static inline int send_msg(struct raft_cluster *c, const struct raft_msg *m)
{
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .u.message = m};

    c->judge->forgiving = true;
    return raft_cluster_step(c, m->to, &ev);
}

/* The newest queued message of a type from one replica; NULL when there is none. */
static inline const struct raft_msg *queued(const struct raft_cluster *c, raft_id from,
                                            enum raft_msg_type type)
{
    for (uint32_t i = c->queue_count; i > 0; i--) {
        if (c->queue[i - 1].m.from == from && c->queue[i - 1].m.type == type) {
            return &c->queue[i - 1].m;
        }
    }
    return NULL;
}

/* Delivers what is queued from one replica to another, nothing else; 0: anybody. */
static inline void deliver(struct raft_cluster *c, raft_id from, raft_id to)
{
    uint64_t newest = c->messages_sent;
    uint32_t at = 0;

    while (at < c->queue_count) {
        const struct raft_cluster_msg *q = &c->queue[at];

        if (q->number <= newest && (from == 0 || q->m.from == from) &&
            (to == 0 || q->m.to == to)) {
            raft_cluster_deliver(c, at, false);
        } else {
            at++;
        }
    }
}

static inline void drop_all(struct raft_cluster *c)
{
    c->queue_count = 0;
}

static inline void persist(struct raft_cluster *c, raft_id id)
{
    (void)raft_cluster_persist(c, id, RAFT_DISK_JOBS_MAX, false);
}

static inline struct raft_status status_of(const struct raft_cluster *c, raft_id id)
{
    struct raft_status s;

    raft_status_get(c->nodes[id].raft, &s);
    return s;
}

static inline uint64_t hash_at(const struct raft_cluster *c, raft_id id,
                               raft_index index)
{
    struct raft_meta meta;
    int rc = raft_meta_get(c->nodes[id].raft, index, &meta);

    assert_int_equal(rc, 0);
    return meta.hash;
}

#endif
