/* tests/sim/judge_scene.h - three nodes as the judge sees them, for a story.
 *
 * To be included by one .c file of a test program.
 *
 * Needs:    tests/sim/judge.h.
 * Used by:  tests/sim/test_judge*.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_JUDGE_SCENE_H
#define KV_TESTS_SIM_JUDGE_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "tests/sim/judge.h"

enum {
    G = 3, /* The group of all stories. */
    LOG_MAX = 20,
};

/* Logs and disks of three nodes, as the judge sees them. */
struct scene {
    struct judge judge;
    struct raft_meta log[4][LOG_MAX];
    struct raft_meta disk[4][LOG_MAX];
    struct log_state head[4];
    raft_index checkpoint[4];
    bool lost[4];
    struct raft_config config;
    struct judge_view view[4]; /* What the nodes look like now. */
};

static inline int log_eye(void *ctx, uint32_t node, uint32_t group, raft_index index,
                          struct raft_meta *out)
{
    struct scene *c = ctx;

    assert_int_equal(group, G);
    *out = c->log[node][index];
    return out->pos.index == 0 ? KV_ENOTFOUND : 0;
}

static inline int disk_eye(void *ctx, uint32_t node, uint32_t group, raft_index index,
                           struct raft_meta *out)
{
    struct scene *c = ctx;

    assert_int_equal(group, G);
    *out = c->disk[node][index];
    return out->pos.index == 0 ? KV_ENOTFOUND : 0;
}

static inline int head_eye(void *ctx, uint32_t node, uint32_t group,
                           struct log_state *out)
{
    struct scene *c = ctx;

    (void)group;
    *out = c->head[node];
    return 0;
}

static inline raft_index checkpoint_eye(void *ctx, uint32_t node, uint32_t group)
{
    (void)group;
    return ((struct scene *)ctx)->checkpoint[node];
}

static inline bool lost_eye(void *ctx, uint32_t node)
{
    return ((struct scene *)ctx)->lost[node];
}

/* An entry of all of the nodes in the bit set, in memory and on disk. */
static inline void put(struct scene *c, uint32_t nodes, raft_index index,
                       raft_term term, uint64_t hash)
{
    for (uint32_t i = 1; i <= 3; i++) {
        if ((nodes >> i & 1) != 0) {
            c->log[i][index] = c->disk[i][index] =
                (struct raft_meta){.pos = {index, term}, .hash = hash};
            c->view[i].st.last = (struct raft_pos){index, term};
            c->view[i].st.last_hash = hash;
        }
    }
}

enum {
    N1 = 1 << 1,
    N2 = 1 << 2,
    N3 = 1 << 3,
};

static inline void step_event(struct scene *c, uint32_t node,
                              const struct raft_event *ev, const struct raft_update *up)
{
    static const struct raft_update nothing;

    judge_step(&c->judge, &c->view[node], ev, up == NULL ? &nothing : up, 0);
}

static inline void step(struct scene *c, uint32_t node, const struct raft_update *up)
{
    const struct raft_event any = {.kind = RAFT_EV_APPLIED};

    step_event(c, node, &any, up);
}

static inline void send(struct scene *c, uint32_t node, struct raft_msg m)
{
    struct raft_update up = {.messages = &m, .messages_count = 1};

    m.from = node;
    step(c, node, &up);
}

static inline void durable_vote(struct scene *c, uint32_t node, raft_term term,
                                raft_id vote)
{
    c->view[node].st.term = term;
    c->view[node].st.vote = vote;
    c->head[node].term = term;
    c->head[node].vote = vote;
}

/* `node` wins term `term` with the vote of `voter`. */
static inline void elect(struct scene *c, uint32_t node, uint32_t voter, raft_term term)
{
    durable_vote(c, node, term, node);
    c->view[node].st.role = RAFT_CANDIDATE;
    send(c, node, (struct raft_msg){.type = RAFT_MSG_VOTE, .to = voter, .term = term});
    durable_vote(c, voter, term, node);
    send(c, voter,
         (struct raft_msg){
             .type = RAFT_MSG_VOTE_REPLY, .to = node, .term = term, .granted = true});
    c->view[node].st.role = RAFT_LEADER;
    c->view[node].st.leader = node;
    step(c, node, NULL);
}

static inline void commit(struct scene *c, uint32_t node, raft_index index)
{
    c->view[node].st.commit = index;
    step(c, node, NULL);
}

/* Node 1 leads term 2, entries 1 and 2 are committed there. */
static inline struct scene *begin(void)
{
    struct scene *c = kv_mem_zalloc(sizeof *c);
    struct judge_eyes eyes = {.ctx = c,
                              .log = log_eye,
                              .disk = disk_eye,
                              .head = head_eye,
                              .checkpoint = checkpoint_eye,
                              .is_lost = lost_eye};

    assert_non_null(c);
    judge_init(&c->judge, &eyes, 3);
    c->config = (struct raft_config){.voters_count = 3, .voters = {1, 2, 3}};
    for (uint32_t i = 1; i <= 3; i++) {
        c->view[i] =
            (struct judge_view){.node = i, .group = G, .life = 1, .config = &c->config};
    }
    elect(c, 1, 2, 2);
    put(c, N1 | N2, 1, 2, 101);
    put(c, N1 | N2, 2, 2, 102);
    step(c, 1, NULL);
    commit(c, 1, 2);
    assert_int_equal(c->judge.violated, JUDGE_NOTHING);
    assert_int_equal(judge_commit_max(&c->judge, G), 2);
    return c;
}

/* The story ends: this was violated, JUDGE_NOTHING: nothing. */
static inline void end(struct scene *c, enum judge_number number)
{
    if (c->judge.violated != number) {
        print_message("%s\n", c->judge.why);
    }
    assert_int_equal(c->judge.violated, number);
    judge_close(&c->judge);
    kv_mem_free(c);
}

#endif
