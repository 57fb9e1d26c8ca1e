/* tests/sim/report.c - a failure: what was violated, what led to it, how to repeat. */
#include <inttypes.h>

#include "raft/trace.h"
#include "tests/sim/options.h"

enum {
    REPORT_EVENTS = 14, /* Of each node. */
};

/* Where every replica stands. */
static void report_groups(const struct node *n)
{
    for (uint32_t gi = 0; gi < n->groups_cap; gi++) {
        struct group *g = node_group(n, gi);
        struct raft_status st;

        if (g == NULL) {
            continue;
        }
        group_raft_status(g, &st);
        printf("    group %u: %s of term %" PRIu64 ", leader %u, log (%" PRIu64
               ", %" PRIu64 "], durable %" PRIu64 ", commit %" PRIu64
               ", applied %" PRIu64 ", next tick %" PRIu64 " ms\n",
               gi, raft_trace_role(st.role), st.term, st.leader, st.base.pos.index,
               st.last.index, st.last_durable, st.commit, st.applied,
               group_deadline_ms(g));
        for (uint32_t i = 0; st.role == RAFT_LEADER && i < st.peers_count; i++) {
            const struct raft_peer_status *p = &st.peers[i];

            printf("      peer %u: match %" PRIu64 ", next %" PRIu64
                   ", active at %" PRIu64 " ms%s%s\n",
                   p->id, p->match, p->next, p->active_ms,
                   p->in_snapshot ? ", snapshot" : "", p->amnesiac ? ", amnesiac" : "");
        }
    }
}

void report_failure(const struct sim *s, const struct sim_options *o)
{
    enum judge_number number = s->judge.violated;

    printf("seed %" PRIu64 " FAILED after %.3f s (commit %s)\n", s->seed,
           (double)s->now_us / 1e6, KV_COMMIT_STRING);
    printf("  violated: %d, %s\n  %s\n", (int)number, judge_name(number), s->judge.why);
    printf("  %u nodes, %u groups, %u replicas, %u clients, %u keys\n", s->swarm.nodes,
           s->swarm.groups, s->swarm.replicas, s->swarm.clients, s->swarm.keys);
    printf("  the world:\n");
    trace_print_ring(&s->trace.rings[0], REPORT_EVENTS, stdout);
    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        const struct node *n = s->nodes[id].node;

        printf("  node %u is %s; its last events:\n", id, n == NULL ? "down" : "up");
        trace_print_ring(&s->trace.rings[id], REPORT_EVENTS, stdout);
        if (n != NULL && !s->gone) {
            report_groups(n);
        }
    }
    printf("  again: %s --seed %" PRIu64,
           o->program == NULL ? "build/kvsim" : o->program, s->seed);
    options_print(o, stdout);
    printf("\n");
}
