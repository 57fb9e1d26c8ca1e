/* tests/sim/check.c - what must hold after every event, and at the end.
 *
 * The numbers are those of the list of invariants in tests/sim/README.md. Each check
 * costs O(groups of the node that just acted): the others did not change.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "tests/sim/sim.h"

static void *grow(void *old, size_t *cap, size_t need, size_t item)
{
    size_t want = *cap == 0 ? 256 : *cap;
    uint8_t *fresh;

    if (need <= *cap) {
        return old;
    }
    while (want < need) {
        want *= 2;
    }
    fresh = kv_mem_realloc(old, want * item);
    KV_ASSERT(fresh != NULL);
    memset(fresh + *cap * item, 0, (want - *cap) * item);
    *cap = want;
    return fresh;
}

/* 1. Election safety: at most one leader per term, for ever. */
static void check_leader(struct sim *s, uint32_t id, uint32_t group,
                         const struct raft_status *st)
{
    struct sim_group_facts *f = &s->facts[group];

    if (st->role != RAFT_LEADER) {
        return;
    }
    f->leader_of_term =
        grow(f->leader_of_term, &f->terms_cap, st->term + 1, sizeof *f->leader_of_term);
    if (f->leader_of_term[st->term] == 0) {
        f->leader_of_term[st->term] = id;
        s->counts.leaders++;
        /* 4. Leader completeness, as far as the length of the log tells. */
        if (st->last.index < f->commit_max) {
            sim_fail(s,
                     "group %u: node %u leads term %llu with a log up to %llu, "
                     "%llu was committed",
                     group, id, (unsigned long long)st->term,
                     (unsigned long long)st->last.index,
                     (unsigned long long)f->commit_max);
        }
    } else if (f->leader_of_term[st->term] != id) {
        sim_fail(s, "group %u: nodes %u and %u both led term %llu", group,
                 f->leader_of_term[st->term], id, (unsigned long long)st->term);
    }
}

/* 5. State machine safety: equal entry and state hashes at equal indexes. */
static void check_applied(struct sim *s, uint32_t id, uint32_t group,
                          const struct state_meta *meta)
{
    struct sim_group_facts *f = &s->facts[group];
    raft_index at = meta->applied.pos.index;
    struct sim_applied *known;

    if (at == 0) {
        return;
    }
    f->applied = grow(f->applied, &f->applied_cap, at + 1, sizeof *f->applied);
    known = &f->applied[at];
    if (known->hash == 0) {
        known->hash = meta->applied.hash;
        known->state_hash = meta->state_hash;
    } else if (known->hash != meta->applied.hash) {
        sim_fail(s, "group %u: node %u applied another entry at %llu", group, id,
                 (unsigned long long)at);
    } else if (known->state_hash != meta->state_hash) {
        sim_fail(s, "group %u: node %u has another state at %llu", group, id,
                 (unsigned long long)at);
    }
}

/* 9. What is committed lies durably on W replicas: on a majority of the disks. */
static void check_durable(struct sim *s, uint32_t group, raft_index index,
                          const struct raft_config *config)
{
    uint32_t holders = 0;

    if (config->voters_old_count > 0) {
        return;
    }
    for (uint32_t i = 0; i < config->voters_count; i++) {
        struct store *store = store_of(&s->nodes[config->voters[i]]);
        struct raft_meta meta;
        int rc = store->ops->log_meta(store, group, index, &meta);

        holders += rc == 0 || rc == KV_ECOMPACTED;
    }
    if (holders < config->voters_count / 2 + 1) {
        sim_fail(s, "group %u: entry %llu is committed and lies on %u of %u disks",
                 group, (unsigned long long)index, holders, config->voters_count);
    }
}

void check_node(struct sim *s, uint32_t id)
{
    struct node *n = s->nodes[id].node;

    for (uint32_t gi = 0; gi < n->groups_cap && gi < SIM_GROUPS_MAX; gi++) {
        struct group *g = node_group(n, gi);
        struct sim_group_facts *f = &s->facts[gi];
        struct raft_status st;

        if (g == NULL) {
            continue;
        }
        group_raft_status(g, &st);
        check_leader(s, id, gi, &st);
        check_applied(s, id, gi, group_state_meta(g));
        /* 6, 7. Neither term nor commit goes back within a life. After a crash they
         * may: to what was durable, which is all that others were told. */
        if (s->prev_life[id][gi] == s->nodes[id].life &&
            st.term < s->prev_term[id][gi]) {
            sim_fail(s, "group %u: term of node %u went back to %llu", gi, id,
                     (unsigned long long)st.term);
        }
        if (s->prev_life[id][gi] == s->nodes[id].life &&
            st.commit < s->prev_commit[id][gi]) {
            sim_fail(s, "group %u: commit of node %u went back to %llu", gi, id,
                     (unsigned long long)st.commit);
        }
        if (st.applied > st.commit || st.commit > st.last.index) {
            sim_fail(s, "group %u: node %u has applied %llu, commit %llu, last %llu",
                     gi, id, (unsigned long long)st.applied,
                     (unsigned long long)st.commit, (unsigned long long)st.last.index);
        }
        s->prev_life[id][gi] = s->nodes[id].life;
        s->prev_commit[id][gi] = st.commit;
        s->prev_term[id][gi] = st.term;
        if (st.commit > f->commit_max) {
            f->commit_max = st.commit;
            s->counts.commits++;
            check_durable(s, gi, st.commit, group_config(g));
        }
    }
}

/* 13. Liveness: every node runs, every group has one leader that all know, nothing
 * waits, and all replicas have applied the same. */
bool check_converged(struct sim *s, char *why, size_t why_bytes)
{
    struct sim_applied want[SIM_GROUPS_MAX] = {{0}};
    raft_index applied[SIM_GROUPS_MAX] = {0};

    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        struct node *n = s->nodes[id].node;

        if (n == NULL || n->phase != NODE_RUNNING || !n->map_known) {
            snprintf(why, why_bytes, "node %u is not running", id);
            return false;
        }
        for (uint32_t gi = 0; gi < n->groups_cap && gi < SIM_GROUPS_MAX; gi++) {
            struct group *g = node_group(n, gi);
            const struct state_meta *meta;

            if (g == NULL) {
                continue;
            }
            meta = group_state_meta(g);
            if (group_leader_node(g) == 0 || group_requests_count(g) > 0) {
                snprintf(why, why_bytes,
                         "group %u on node %u: leader %u, %u requests wait", gi, id,
                         group_leader_node(g), group_requests_count(g));
                return false;
            }
            if (applied[gi] == 0) {
                applied[gi] = meta->applied.pos.index;
                want[gi].state_hash = meta->state_hash;
            }
            if (applied[gi] == 0 || applied[gi] != meta->applied.pos.index ||
                want[gi].state_hash != meta->state_hash) {
                snprintf(why, why_bytes,
                         "group %u: node %u has applied %llu, another %llu", gi, id,
                         (unsigned long long)meta->applied.pos.index,
                         (unsigned long long)applied[gi]);
                return false;
            }
        }
    }
    return true;
}

void check_history(struct sim *s)
{
    const struct linear_op **list = kv_mem_zalloc((s->ops_count + 1) * sizeof *list);

    KV_ASSERT(list != NULL);
    for (uint32_t key = 0; key < s->swarm.keys && s->failure[0] == '\0'; key++) {
        const struct linear_op *bad = NULL;
        enum linear_verdict verdict;
        size_t count = 0;

        for (size_t i = 0; i < s->ops_count; i++) {
            if (s->ops[i].key == key) {
                list[count++] = &s->ops[i];
            }
        }
        verdict = linear_check(list, count, 20000000, &bad);
        if (verdict == LINEAR_INVALID) {
            sim_fail(
                s,
                "key %u is not linearizable; stuck at client %u, kind %d, value %llu, "
                "%llu..%llu us, group %llu rev %llu term %llu node %u",
                key, bad->process, (int)bad->kind, (unsigned long long)bad->value,
                (unsigned long long)bad->call_us, (unsigned long long)bad->return_us,
                (unsigned long long)bad->group, (unsigned long long)bad->rev,
                (unsigned long long)bad->term, bad->node);
        }
    }
    kv_mem_free(list);
}

void check_free(struct sim *s)
{
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        kv_mem_free(s->facts[i].leader_of_term);
        kv_mem_free(s->facts[i].applied);
    }
}
