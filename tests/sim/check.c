/* tests/sim/check.c - what must hold at the end of a seed: peace, and the history. */
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "tests/sim/sim.h"

/* 13. Liveness: every node runs, every group has one leader that all know, nothing
 * waits, and all replicas have applied the same. */
bool check_converged(struct sim *s, char *why, size_t why_bytes)
{
    uint64_t want[SIM_GROUPS_MAX] = {0};
    raft_index applied[SIM_GROUPS_MAX] = {0};

    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        struct node *n = s->nodes[id].node;

        if (s->nodes[id].is_lost) {
            continue; /* It is expected to stay away. */
        }
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
                want[gi] = meta->state_hash;
            }
            if (applied[gi] == 0 || applied[gi] != meta->applied.pos.index ||
                want[gi] != meta->state_hash) {
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
    for (uint32_t key = 0; key <= s->swarm.keys + s->swarm.groups && !sim_failed(s);
         key++) {
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
            judge_fail(
                &s->judge, JUDGE_LINEAR,
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
