/* tests/sim/operator.c - somebody who changes configurations while all else goes on.
 *
 * Inside the replicas that exist: W between the majority and all, a voter becomes a
 * learner, a learner votes again, or several of these at once. Counted as a fault,
 * because it comes at random times and must hurt nothing. Where disks are harmed only W
 * changes: with fewer voters one harmed disk may be one too many.
 */
#include "raft/quorum.h"
#include "tests/sim/peace.h"

enum {
    DEAF_MS = 150, /* Around an election timeout. */
};

uint32_t operator_leader(const struct sim *s, uint32_t group)
{
    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        const struct sim_node *n = &s->nodes[id];
        const struct group *g = n->node == NULL ? NULL : node_group(n->node, group);

        if (g != NULL && n->paused_until_us <= s->now_us && group_is_leader(g)) {
            return id;
        }
    }
    return 0;
}

static void move(raft_id *from, uint32_t *from_count, raft_id *to, uint32_t *to_count,
                 uint32_t at)
{
    raft_id id = from[at];
    uint32_t place = 0;

    memmove(from + at, from + at + 1, (*from_count - at - 1) * sizeof *from);
    from[--*from_count] = 0;
    while (place < *to_count && to[place] < id) {
        place++;
    }
    memmove(to + place + 1, to + place, (*to_count - place) * sizeof *to);
    to[place] = id;
    ++*to_count;
}

/* A change of `c` at random. */
static void change(struct sim *s, struct raft_config *c)
{
    uint32_t what = faults_draw_between(s, peace_disks_are_whole(s) ? 0 : 8, 9);
    uint32_t least;

    if (what < 5 && c->learners_count > 0) {
        move(c->learners, &c->learners_count, c->voters, &c->voters_count,
             faults_draw_between(s, 0, c->learners_count - 1));
    } else if (what < 7 && c->voters_count > 1) {
        move(c->voters, &c->voters_count, c->learners, &c->learners_count,
             faults_draw_between(s, 0, c->voters_count - 1));
    }
    least = raft_quorum_majority_of(c->voters_count);
    if (what >= 6 || c->w > c->voters_count || (c->w != 0 && c->w < least)) {
        c->w = faults_draw_between(s, least, c->voters_count);
    }
    if (c->w == least) {
        c->w = 0; /* Another way to say it. */
    }
}

void operator_change(struct sim *s, uint32_t node)
{
    uint32_t group = faults_draw_between(s, 0, s->swarm.groups);
    struct raft_config c;
    struct node *n;
    int rc;

    node = operator_leader(s, group);
    if (node == 0) {
        return;
    }
    n = s->nodes[node].node;
    c = *group_config(node_group(n, group));
    c.voters_old_count = 0; /* In the middle of a change: it will be refused. */
    c.w_old = 0;
    memset(c.voters_old, 0, sizeof c.voters_old);
    change(s, &c);
    if (faults_draw_between(s, 0, 2) == 0) {
        change(s, &c);
    }
    node_tick(n);
    rc = group_propose_config(node_group(n, group), &c);
    if (rc == 0) {
        s->counts.configs_begun++;
    } else {
        s->counts.configs_refused++;
    }
    node_group_touch(n, group);
    world_turn_end(s, node);
}

/* A restart is prepared, or leaders are spread anew; or it is done because the leader's
 * network is in trouble: then it hears late that it was deposed. */
void operator_transfer(struct sim *s, uint32_t node)
{
    uint32_t group = faults_draw_between(s, 0, s->swarm.groups);
    uint32_t to = faults_draw_between(s, 0, s->swarm.nodes);
    struct node *n;

    node = operator_leader(s, group);
    if (node == 0) {
        return;
    }
    n = s->nodes[node].node;
    node_tick(n);
    if (group_transfer(node_group(n, group), to) == 0) {
        s->counts.transfers_begun++;
        if (faults_coin(s)) {
            faults_clog_node(s, node, true, faults_until_us(s, DEAF_MS));
        }
    } else {
        s->counts.transfers_refused++;
    }
    node_group_touch(n, group);
    world_turn_end(s, node);
}
