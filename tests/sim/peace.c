/* tests/sim/peace.c - a core of nodes, what it must be able to do, whether it did. */
#include "tests/sim/peace.h"

#include <stdio.h>

#include "raft/quorum.h"
#include "tests/sim/holders.h"

/* ---- the core ---- */

bool peace_disks_are_whole(const struct sim *s)
{
    const struct sim_strengths *f = &s->swarm.f;

    return f->rot_entry_every_ms == 0 && f->rot_row_every_ms == 0 &&
           f->rot_file_every_ms == 0 && f->lose_node_every_ms == 0 &&
           f->misread_every_ms == 0;
}

static bool is_formed(struct sim *s)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        struct store *store = store_of(&s->nodes[i]);
        struct store_identity id;

        if (store->ops->identity_load(store, &id) != 0 || id.cluster == 0 ||
            s->nodes[i].node == NULL || !s->nodes[i].node->map_known) {
            return false;
        }
    }
    return true;
}

/* Cuts a node off, or kills it, for ever. */
static void leave_out(struct sim *s, struct peace *p, uint32_t id)
{
    p->core[id] = false;
    if (faults_coin(s)) {
        s->counts.left_dead++;
        world_crash_node(s, id);
        return;
    }
    s->counts.left_cut_off++;
    for (uint32_t other = 1; other <= s->swarm.nodes; other++) {
        s->cut[id][other] = s->cut[other][id] = other != id;
    }
    sim_note(s, id, "cut off for ever");
}

/* Does the log of a end behind that of b? */
static bool is_longer(const struct raft_status *a, const struct raft_status *b)
{
    return a->last.term != b->last.term ? a->last.term > b->last.term
                                        : a->last.index > b->last.index;
}

/* Somebody whom the others are hard to reconcile without: the longest log of a group
 * is two terms behind (one is what its next election gives it anyway), and this node
 * has neither that log nor the newest term. 0: there is nobody like that. */
static uint32_t go_between(struct sim *s, uint32_t group)
{
    struct raft_status st[SIM_NODES_MAX + 1];
    bool has[SIM_NODES_MAX + 1] = {false};
    uint32_t longest = 0, newest = 0, between = 0;

    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        const struct node *n = s->nodes[id].node;
        const struct group *g = n == NULL ? NULL : node_group(n, group);

        if (g == NULL) {
            continue;
        }
        has[id] = true;
        group_raft_status(g, &st[id]);
        longest = longest == 0 || is_longer(&st[id], &st[longest]) ? id : longest;
        newest = newest == 0 || st[id].term > st[newest].term ? id : newest;
    }
    for (uint32_t id = 1; id <= s->swarm.nodes; id++) {
        between = has[id] && id != longest && id != newest ? id : between;
    }
    return between != 0 && st[longest].term + 1 < st[newest].term ? between : 0;
}

/* A go-between of any group, the group first first. 0: no group has one. */
static uint32_t any_go_between(struct sim *s, uint32_t first)
{
    uint32_t between = 0;

    for (uint32_t i = 0; i <= s->swarm.groups && between == 0; i++) {
        between = go_between(s, (first + i) % (s->swarm.groups + 1));
    }
    return between;
}

static bool may_be_partial(struct sim *s)
{
    return s->swarm.nodes > 2 && peace_disks_are_whole(s) && is_formed(s);
}

bool peace_is_hard(struct sim *s)
{
    return may_be_partial(s) && any_go_between(s, 0) != 0;
}

/* Whom the core has to do without. */
static uint32_t choose_left_out(struct sim *s)
{
    uint32_t id = faults_draw_between(s, 1, s->swarm.nodes);
    uint32_t first = faults_draw_between(s, 0, s->swarm.groups);
    uint32_t leader = operator_leader(s, first);
    uint32_t between = any_go_between(s, first);

    if (between != 0 && faults_coin(s)) {
        return between;
    }
    /* The others have to do without what it has. */
    return leader != 0 && faults_coin(s) ? leader : id;
}

void peace_begin(struct sim *s, struct peace *p)
{
    uint32_t spare = (s->swarm.nodes - 1) / 2; /* That a quorum can do without. */
    bool partial;

    *p = (struct peace){.partial = false};
    faults_heal(s);
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        p->core[i] = !s->nodes[i].is_lost;
    }
    partial = may_be_partial(s) && faults_coin(s);
    for (uint32_t i = 0; partial && i < 1 + prng_below(&s->prng, spare); i++) {
        uint32_t id = choose_left_out(s);

        if (p->core[id]) {
            leave_out(s, p, id);
            p->partial = true;
        }
    }
}

/* ---- which groups must live ---- */

/* It waits for a snapshot of a leader: while a quorum does, nobody can lead. */
static bool is_harmed(const struct sim *s, uint32_t node, uint32_t group)
{
    const struct node *n = s->nodes[node].node;
    struct group *g = n == NULL ? NULL : node_group(n, group);
    struct group_stats stats;
    struct raft_status status;

    if (g == NULL) {
        return false;
    }
    group_stats_get(g, &stats);
    group_raft_status(g, &status);
    /* An impaired one does not vote: its entry must come first, and the others may have
     * compacted it. One with a lost state votes, and does not lead. */
    return stats.state_lost || status.impaired;
}

static bool can_vote(const struct sim *s, const struct peace *p, uint32_t node,
                     uint32_t group)
{
    return node <= SIM_NODES_MAX && p->core[node] && s->nodes[node].node != NULL &&
           s->nodes[node].node->map_known && !is_harmed(s, node, group);
}

static uint32_t voters_in(const struct sim *s, const struct peace *p, uint32_t group,
                          const raft_id *ids, uint32_t count)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        n += can_vote(s, p, ids[i], group);
    }
    return n;
}

static bool has_quorums(const struct sim *s, const struct peace *p, uint32_t group,
                        const struct raft_config *c)
{
    uint32_t now = voters_in(s, p, group, c->voters, c->voters_count);
    uint32_t old = voters_in(s, p, group, c->voters_old, c->voters_old_count);

    return c->voters_count > 0 && now >= raft_quorum_w(c) &&
           (c->voters_old_count == 0 || old >= raft_quorum_w_old(c));
}

bool peace_lives(const struct sim *s, const struct peace *p, uint32_t group)
{
    bool any = false;

    if (s->is_ruined[group]) {
        return false;
    }
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        const struct node *n = s->nodes[i].node;
        const struct group *g = n == NULL ? NULL : node_group(n, group);

        if (!p->core[i] || g == NULL) {
            continue;
        }
        any = true;
        if (!has_quorums(s, p, group, group_config(g))) {
            return false;
        }
    }
    return any;
}

bool peace_can_tell(const struct sim *s, uint32_t node, uint32_t group)
{
    return s->nodes[node].node != NULL && !is_harmed(s, node, group);
}

/* ---- is it so? ---- */

/* A node whose copy of the map is damaged waits for the group meta to live. */
static bool nodes_run(const struct sim *s, struct peace *p)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        const struct node *n = s->nodes[i].node;

        bool excused = is_harmed(s, i, 0) && !peace_lives(s, p, 0);

        if (p->core[i] && !excused &&
            (n == NULL || n->phase != NODE_RUNNING || !n->map_known)) {
            snprintf(p->why, sizeof p->why, "node %u is not running", i);
            return false;
        }
    }
    return true;
}

static bool replicas_agree(const struct sim *s, struct peace *p, uint32_t group)
{
    const struct state_meta *first = NULL;

    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        const struct node *n = s->nodes[i].node;
        const struct group *g = n == NULL ? NULL : node_group(n, group);
        const struct state_meta *meta;
        uint32_t leader;

        if (!p->core[i] || g == NULL) {
            continue;
        }
        leader = group_leader_node(g);
        if (leader == 0 || !p->core[leader] || group_requests_count(g) > 0) {
            snprintf(p->why, sizeof p->why,
                     "group %u on node %u: leader %u, %u requests wait", group, i,
                     leader, group_requests_count(g));
            return false;
        }
        meta = group_state_meta(g);
        first = first == NULL ? meta : first;
        if (meta->applied.pos.index == 0 ||
            meta->applied.pos.index != first->applied.pos.index ||
            meta->state_hash != first->state_hash) {
            snprintf(p->why, sizeof p->why,
                     "group %u: node %u has applied %llu, another %llu", group, i,
                     (unsigned long long)meta->applied.pos.index,
                     (unsigned long long)first->applied.pos.index);
            return false;
        }
    }
    return true;
}

bool peace_reached(struct sim *s, struct peace *p)
{
    bool all = true;
    uint32_t lock = 0;

    if (!client_all_idle(s)) {
        snprintf(p->why, sizeof p->why, "a client waits for an answer");
        return false;
    }
    if (!nodes_run(s, p)) {
        return false;
    }
    for (uint32_t group = 0; group <= s->swarm.groups; group++) {
        if (peace_lives(s, p, group) && !replicas_agree(s, p, group)) {
            return false;
        }
    }
    if (!holders_are_gone(s, p, &lock)) {
        snprintf(p->why, sizeof p->why, "lock %u is still held or waited for", lock);
        all = false;
    }
    for (uint32_t group = 1; group <= s->swarm.groups; group++) {
        if (!p->probed[group] && peace_lives(s, p, group)) {
            snprintf(p->why, sizeof p->why, "group %u takes no new write", group);
            client_probe(s, p, group);
            all = false;
        }
    }
    return all;
}
