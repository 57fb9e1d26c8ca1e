/* tests/server/fake_cluster.h - three groups over fake_env.h, common steps.
 *
 * To be included by one .c file of a test program.
 *
 * Needs:    tests/server/fake_env.h.
 * Used by:  tests/server/test_group_*.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SERVER_FAKE_CLUSTER_H
#define KV_TESTS_SERVER_FAKE_CLUSTER_H

#include "tests/server/fake_env.h"

static inline int setup(void **state)
{
    struct fake_world *w = fake_world_new(3);

    fake_world_start(w);
    fake_elect(w);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    fake_world_free(*state);
    return 0;
}

static inline struct fake_node *follower_of(struct fake_world *w,
                                            const struct fake_node *leader)
{
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        if (&w->nodes[id] != leader && w->nodes[id].node != NULL) {
            return &w->nodes[id];
        }
    }
    fail();
    return NULL;
}

static inline uint32_t id_of(const struct fake_node *f)
{
    return f->node->config.id;
}

/* All live nodes hold the same state. */
static inline void assert_converged(struct fake_world *w)
{
    const struct state_meta *first = NULL;

    fake_pass_ms(w, 300);
    for (uint32_t id = 1; id <= w->nodes_count; id++) {
        if (w->nodes[id].node != NULL) {
            const struct state_meta *m = group_state_meta(w->nodes[id].group);

            first = first == NULL ? m : first;
            assert_int_equal(m->applied.pos.index, first->applied.pos.index);
            assert_int_equal(m->applied.hash, first->applied.hash);
            assert_int_equal(m->state_hash, first->state_hash);
        }
    }
}

static inline void drop_network(struct fake_world *w)
{
    while (w->head != NULL) {
        struct fake_msg *m = w->head;

        w->head = m->next;
        fake_msg_free(m);
    }
    w->tail = NULL;
}

/* Submits what a node's groups gave back to whoever leads now, as the router does. */
static inline void resubmit(struct fake_node *from, struct fake_node *to)
{
    while (from->rerouted.head != NULL) {
        struct request *req = from->rerouted.head;

        request_list_remove(&from->rerouted, req);
        if (to == from) {
            (void)fake_submit(to, req);
        } else { /* Another node would get a copy. */
            request_move(req, REQ_REPLIED);
            request_free(req);
        }
    }
}

/* An append as the leader sends it once it has found where the logs agree. */
static inline void send_entries(struct fake_node *leader, struct fake_node *to,
                                raft_index prev, uint32_t count, raft_index commit)
{
    struct kv_bytes records[8];
    struct raft_entry entries[9];
    struct raft_status status;
    struct raft_msg msg = {.type = RAFT_MSG_APPEND, .entries_count = count};

    assert_true(count < KV_ARRAY_COUNT(records));
    group_raft_status(leader->group, &status);
    assert_int_equal(group_records(leader->group, prev - 1, count + 1, records),
                     count + 1);
    for (uint32_t i = 0; i <= count; i++) {
        assert_int_equal(raft_record_decode(records[i], &entries[i]), 0);
    }
    msg.from = id_of(leader) + 10;
    msg.to = id_of(to) + 10;
    msg.term = status.term;
    msg.prev = entries[0].pos;
    msg.prev_hash = entries[0].hash;
    msg.commit = commit;
    msg.entries = entries + 1;
    msg.round = 1;
    fake_turn_begin(to);
    group_on_message(to->group, &msg);
    fake_turn_end(to);
}

/* A snapshot of the leader's last checkpoint, as its node would send it. */
static inline void send_snapshot(struct fake_node *leader, struct fake_node *to,
                                 raft_index *out_last)
{
    struct store *s = mem_store_base(leader->mem);
    struct raft_status status;
    struct raft_msg msg = {.type = RAFT_MSG_SNAPSHOT};
    uint8_t *data;

    group_raft_status(leader->group, &status);
    assert_int_equal(s->ops->snapshot_make(s, FAKE_GROUP, &msg.snapshot), 0);
    data = kv_mem_zalloc(msg.snapshot.bytes);
    assert_non_null(data);
    assert_int_equal(s->ops->snapshot_read(s, FAKE_GROUP, msg.snapshot.id, 0,
                                           (uint32_t)msg.snapshot.bytes, data),
                     0);
    msg.from = id_of(leader) + 10;
    msg.to = id_of(to) + 10;
    msg.term = status.term;
    msg.chunk = (struct raft_chunk){.snapshot_id = msg.snapshot.id,
                                    .len = (uint32_t)msg.snapshot.bytes,
                                    .done = true};
    msg.chunk.data = kv_bytes(data, msg.snapshot.bytes);
    fake_turn_begin(to);
    group_on_message(to->group, &msg);
    fake_turn_end(to);
    kv_mem_free(data);
    *out_last = msg.snapshot.last.pos.index;
}

/* A node dies, the others take `writes` writes, it comes back. */
static inline void catch_up(struct fake_world *w, uint32_t id, int writes)
{
    struct fake_node *leader;

    fake_crash(&w->nodes[id]);
    leader = fake_elect(w);
    for (int i = 0; i < writes; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i % 50);
        fake_put_ok(leader, key, "new");
        if (i % 100 == 0) {
            fake_pass_ms(w, 100);
        }
    }
    fake_restart(w, id);
    fake_pass_ms(w, 3000);
}

#endif
