/* tests/sim/faults_disk.c - disks that fail, fill up, slow down, rot or are replaced.
 *
 * The atlas: a fault that takes something away is placed only where the rest of the
 * group can give it back. In each group a minority of the voters may be harmed at a
 * time: by a lost node, a damaged entry or row, a state that is not whole yet. Then
 * some whole replica holds each committed entry, and a majority can elect it.
 */
#include "raft/base/err.h"
#include "tests/lib/mem_store.h"
#include "tests/sim/sim.h"
#include "tests/sim/store_lmdb.h"

/* ---- the atlas ---- */

static bool replica_is_whole(const struct sim *s, uint32_t node, group_id group)
{
    const struct sim_node *n = &s->nodes[node];
    const struct group *g = n->node == NULL ? NULL : node_group(n->node, group);
    struct store *store = mem_store_base(n->disk);
    struct raft_status status;
    struct state_meta meta;

    if (n->is_lost || mem_store_will_misread(n->disk) ||
        !mem_store_is_whole(n->disk, group)) {
        return false;
    }
    if (store->ops->state_load(store, group, &meta) != 0 || meta.mark) {
        return false;
    }
    if (g == NULL) {
        return true;
    }
    group_raft_status(g, &status);
    return group_halted(g) == 0 && !status.impaired;
}

/* The configuration of a group as some running node knows it. */
static const struct raft_config *config_of(const struct sim *s, group_id group)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        const struct node *n = s->nodes[i].node;

        if (n != NULL && node_group(n, group) != NULL) {
            return group_config(node_group(n, group));
        }
    }
    return NULL;
}

/* May this replica be damaged, so that the group can mend it or do without? */
static bool may_harm(const struct sim *s, uint32_t node, group_id group)
{
    const struct raft_config *c = config_of(s, group);
    uint32_t harmed = 1;

    if (c == NULL || c->voters_old_count > 0 || c->learners_count > 0) {
        return false;
    }
    for (uint32_t i = 0; i < c->voters_count; i++) {
        /* A replica's number is its node's as long as nothing moves. */
        harmed += c->voters[i] != node && !replica_is_whole(s, c->voters[i], group);
    }
    return harmed <= (c->voters_count - 1) / 2;
}

static bool hosts(const struct raft_config *c, uint32_t node)
{
    for (uint32_t i = 0; i < c->voters_count; i++) {
        if (c->voters[i] == node) {
            return true;
        }
    }
    return false;
}

/* May all replicas of a node be harmed together? Not while nobody can be asked who
 * votes in some group. */
static bool may_harm_node(const struct sim *s, uint32_t node)
{
    for (group_id i = 0; i <= s->swarm.groups; i++) {
        const struct raft_config *c = config_of(s, i);

        if (c == NULL || (hosts(c, node) && !may_harm(s, node, i))) {
            return false;
        }
    }
    return true;
}

/* Everybody has met everybody, and the groups are known. */
static bool is_formed(const struct sim *s)
{
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        const struct sim_node *n = &s->nodes[i];
        struct store *store = mem_store_base(n->disk);
        struct store_identity id;

        if (!n->is_lost &&
            (store->ops->identity_load(store, &id) != 0 || id.cluster == 0 ||
             (n->node != NULL && !n->node->map_known))) {
            return false;
        }
    }
    return true;
}

/* ---- bit rot ---- */

/* A group that may be harmed on this node; false when the one drawn may not. */
static bool pick_group(struct sim *s, uint32_t node, group_id *out)
{
    const struct raft_config *c;

    *out = faults_draw_between(s, 0, s->swarm.groups);
    c = config_of(s, *out);
    return c != NULL && is_formed(s) && hosts(c, node) && may_harm(s, node, *out);
}

/* A tail that is not committed and cannot be read, from its first entry to its last,
 * is not given up (README.md, what is missing): it is damaged once, not twice. */
static bool may_rot_entry(struct sim *s, uint32_t node, group_id group)
{
    struct store *store = mem_store_base(s->nodes[node].disk);
    struct log_state log;

    return store->ops->log_load(store, group, &log) == 0 &&
           (log.commit_hint == log.last.pos.index ||
            mem_store_is_whole(s->nodes[node].disk, group));
}

void faults_rot_entry(struct sim *s, uint32_t node)
{
    raft_index index;
    char line[64];
    group_id group;

    if (pick_group(s, node, &group) && may_rot_entry(s, node, group) &&
        mem_store_flip_any_entry(s->nodes[node].disk, group, faults_draw(s), &index)) {
        s->counts.rot_entry++;
        snprintf(line, sizeof line, "bit rot: group %u entry %llu", group,
                 (unsigned long long)index);
        sim_note(s, node, line);
    }
}

void faults_rot_row(struct sim *s, uint32_t node)
{
    char line[64];
    group_id group;

    if (pick_group(s, node, &group) &&
        mem_store_flip_any_row(s->nodes[node].disk, group, faults_draw(s))) {
        s->counts.rot_row++;
        snprintf(line, sizeof line, "bit rot: group %u row", group);
        sim_note(s, node, line);
    }
}

/* Files are made again or sent again: they may rot anywhere. */
void faults_rot_file(struct sim *s, uint32_t node)
{
    for (group_id i = 0; i <= s->swarm.groups; i++) {
        bool made = mem_store_flip_file(s->nodes[node].disk, i, false, faults_draw(s));
        bool received =
            mem_store_flip_file(s->nodes[node].disk, i, true, faults_draw(s));

        s->counts.rot_made_file += made;
        s->counts.rot_received_file += received;
        if (made || received) {
            sim_note(s, node, "bit rot: snapshot file");
        }
    }
}

/* No other replica has what is taken here: the group may go on as long as nobody needs
 * it, or must stop and say so, with its node and all other groups going on. */
void faults_ruin(struct sim *s, uint32_t node)
{
    group_id group = faults_draw_between(s, 1, s->swarm.groups);
    const struct raft_config *c = config_of(s, group);
    raft_index index;
    char line[64];

    if (c == NULL || !is_formed(s) || !hosts(c, node) || c->voters_count != 1 ||
        c->voters_old_count > 0 || c->learners_count > 0) {
        return;
    }
    if (faults_coin(s)
            ? mem_store_flip_any_entry(s->nodes[node].disk, group, faults_draw(s),
                                       &index)
            : mem_store_flip_any_row(s->nodes[node].disk, group, faults_draw(s))) {
        s->counts.ruined += !s->is_ruined[group];
        s->is_ruined[group] = true;
        snprintf(line, sizeof line, "bit rot: group %u, its only replica", group);
        sim_note(s, node, line);
    }
}

/* ---- lost nodes ---- */

/* Its directory comes back empty, or a term and vote of it cannot be read: the node
 * must not take part any more, whatever it still has. */
void faults_lose_node(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];

    if (n->is_lost || !is_formed(s) || !may_harm_node(s, node)) {
        return;
    }
    n->is_lost = true;
    if (faults_coin(s)) {
        s->counts.lost_directory++;
        sim_note(s, node, "its directory is lost");
        faults_node_died(s, node);
        mem_store_wipe(n->disk, faults_draw(s) | 1);
    } else {
        s->counts.rot_hard++;
        sim_note(s, node, "bit rot: term and vote");
        faults_node_died(s, node);
        mem_store_flip_hard(n->disk, faults_draw_between(s, 0, s->swarm.groups));
    }
}

/* ---- errors ---- */

void faults_write_error(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];

    if (n->node != NULL) {
        store_fail_write(n);
        n->has_io_error = true;
        s->counts.write_errors++;
        sim_note(s, node, "a write will fail");
    }
}

void faults_misread(struct sim *s, uint32_t node)
{
    /* It looks like damage of whatever is read then: that of any group. */
    if (s->nodes[node].node == NULL || !is_formed(s) || !may_harm_node(s, node)) {
        return;
    }
    mem_store_misread(s->nodes[node].disk, faults_draw_between(s, 1, 30));
    s->nodes[node].has_misread = true;
    s->counts.misreads++;
    sim_note(s, node, "a read will fail");
}

/* ---- space and speed ---- */

void faults_full(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];

    if (faults_draw_between(s, 0, 4) == 0) {
        store_full_to_the_brim(n);
        s->counts.full_to_the_brim++;
        sim_note(s, node, "disk full, reserve too");
    } else {
        store_full(n, true);
        s->counts.full++;
        sim_note(s, node, "disk full");
    }
    heap_push(s, (struct sim_event){.at_us = faults_until_us(s, s->swarm.f.full_ms),
                                    .kind = EV_NEMESIS,
                                    .node = node,
                                    .arg = FAULTS_END_FULL});
}

void faults_full_end(struct sim *s, uint32_t node)
{
    store_full(&s->nodes[node], false);
    sim_note(s, node, "disk has space");
}

void faults_slow(struct sim *s, uint32_t node)
{
    uint64_t until_us = faults_until_us(s, s->swarm.f.slow_ms);
    bool all = faults_draw_between(s, 0, 4) == 0;

    s->slow_factor = faults_draw_between(s, 2, 100);
    for (uint32_t i = 1; i <= s->swarm.nodes; i++) {
        if (all || i == node) {
            s->nodes[i].disk_slow_until_us = until_us;
        }
    }
    s->counts.slow_all += all;
    s->counts.slow_one += !all;
    sim_note(s, all ? 0 : node, "slow disk");
}

/* No error and no lack of space any more; what was damaged stays so. */
void faults_disk_heal(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];

    n->disk_slow_until_us = 0;
    store_full(n, false);
    if (n->lmdb != NULL) {
        store_lmdb_fail(n->lmdb, 0);
    } else {
        mem_store_fail(n->disk, 0, 0, false);
        mem_store_misread(n->disk, 0);
        s->counts.store_faults_met += mem_store_faults_met(n->disk);
    }
}

/* ---- what is expected of a node with such a disk ---- */

bool faults_excuse_halt(struct sim *s, uint32_t node, int code)
{
    struct sim_node *n = &s->nodes[node];

    if (n->is_lost && code == KV_ELOST) {
        s->counts.refused_directory++;
        return true;
    }
    if (n->has_memory_fault && code == KV_ENOMEM) {
        s->counts.halts_memory++;
        return true;
    }
    if (n->has_io_error && code == KV_EIO) {
        s->counts.halts_io_error++;
        return true;
    }
    return false;
}

/* The others were removed after it was harmed: it is alone now. */
static bool is_left_alone(const struct sim *s, uint32_t node, group_id group)
{
    const struct node *n = s->nodes[node].node;
    const struct group *g = n == NULL ? NULL : node_group(n, group);

    return g != NULL && s->nodes[node].disk != NULL &&
           group_config(g)->voters_count == 1 &&
           (s->nodes[node].has_misread ||
            !mem_store_is_whole(s->nodes[node].disk, group));
}

bool faults_excuse_group(struct sim *s, uint32_t node, uint32_t group)
{
    if (group < SIM_GROUPS_MAX && is_left_alone(s, node, group)) {
        s->is_ruined[group] = true;
    }
    if (group < SIM_GROUPS_MAX && s->is_ruined[group]) {
        s->counts.ruined_halted++;
        return true;
    }
    return false;
}

bool faults_excuse_start(struct sim *s, uint32_t node, int code)
{
    if (s->nodes[node].has_memory_fault && code == KV_ENOMEM) {
        s->counts.starts_memory++;
        faults_node_died(s, node); /* It is started again. */
        return true;
    }
    if (s->nodes[node].is_lost && code == KV_EDAMAGED) {
        s->counts.refused_hard++;
        return true;
    }
    return false;
}
