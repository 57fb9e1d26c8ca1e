/* tests/sim/watch.c - what the judge, the trace and the coverage are told. */
#include "raft/quorum.h"
#include "tests/lib/mem_store.h"
#include "tests/sim/holders.h"

/* ---- the judge's eyes ---- */

/* The judge's looks are not the node's: they meet no faults (look_end). */
static struct store *look_begin(struct sim *s, uint32_t node)
{
    if (s->nodes[node].disk != NULL) {
        mem_store_observe(s->nodes[node].disk, true);
    }
    return store_of(&s->nodes[node]);
}

static void look_end(struct sim *s, uint32_t node)
{
    if (s->nodes[node].disk != NULL) {
        mem_store_observe(s->nodes[node].disk, false);
    }
}

static int eye_log(void *ctx, uint32_t node, uint32_t group, raft_index index,
                   struct raft_meta *out)
{
    struct sim *s = ctx;

    return raft_meta_get(group_raft(node_group(s->nodes[node].node, group)), index,
                         out);
}

static int eye_disk(void *ctx, uint32_t node, uint32_t group, raft_index index,
                    struct raft_meta *out)
{
    struct store *store = look_begin(ctx, node);
    int rc = store->ops->log_meta(store, group, index, out);

    look_end(ctx, node);
    return rc;
}

static int eye_head(void *ctx, uint32_t node, uint32_t group, struct log_state *out)
{
    struct store *store = look_begin(ctx, node);
    int rc = store->ops->log_load(store, group, out);

    look_end(ctx, node);
    return rc;
}

static raft_index eye_checkpoint(void *ctx, uint32_t node, uint32_t group)
{
    struct store *store = look_begin(ctx, node);
    struct state_meta meta;
    int rc = store->ops->state_load(store, group, &meta);

    look_end(ctx, node);
    return rc == 0 ? meta.applied.pos.index : 0;
}

static bool eye_lost(void *ctx, uint32_t node)
{
    const struct sim *s = ctx;

    return s->nodes[node].is_lost;
}

void watch_init(struct sim *s)
{
    struct judge_eyes eyes = {.ctx = s,
                              .log = eye_log,
                              .disk = eye_disk,
                              .head = eye_head,
                              .checkpoint = eye_checkpoint,
                              .is_lost = eye_lost};

    judge_init(&s->judge, &eyes, s->swarm.nodes);
}

/* ---- coverage ---- */

static void cover_msgs(struct sim_cover *c, const struct raft_event *ev,
                       const struct raft_update *up)
{
    for (uint32_t i = 0; i < up->messages_count; i++) {
        const struct raft_msg *m = &up->messages[i];

        c->sent[m->type]++;
        c->append_rejected += m->type == RAFT_MSG_APPEND_REPLY && m->rejected;
        c->transfer_campaign += m->type == RAFT_MSG_VOTE && m->transfer;
        c->snapshot_sent += m->type == RAFT_MSG_SNAPSHOT && m->chunk.offset == 0;
        c->snapshot_resumed +=
            m->type == RAFT_MSG_SNAPSHOT_REPLY && m->rejected && m->chunk.offset > 0;
        c->snapshot_late += m->type == RAFT_MSG_SNAPSHOT_REPLY && m->chunk.done &&
                            ev->kind == RAFT_EV_MESSAGE;
    }
    for (uint32_t i = 0; i < up->reads_count; i++) {
        c->read_failed += up->reads[i].error != 0;
        c->read_at_once += up->reads[i].error == 0 && ev->kind == RAFT_EV_READ;
    }
}

static void cover_event(struct sim_cover *c, const struct raft_event *ev)
{
    c->event[ev->kind]++;
    switch (ev->kind) {
    case RAFT_EV_MESSAGE:
        c->heard[ev->u.message->type]++;
        break;
    case RAFT_EV_COMPACTED:
        c->log_compacted++;
        break;
    case RAFT_EV_SNAPSHOT_READY:
        c->snapshot_made++;
        break;
    case RAFT_EV_SNAPSHOT_INSTALLED:
        c->snapshot_installed++;
        break;
    case RAFT_EV_SNAPSHOT_FAILED:
        c->snapshot_failed++;
        break;
    case RAFT_EV_PEER_DOWN:
        c->peer_down_hint++;
        break;
    case RAFT_EV_IMPAIRED:
        c->impaired += ev->u.impaired;
        c->impaired_healed += !ev->u.impaired;
        break;
    case RAFT_EV_STATE_LOST:
        c->state_lost++;
        break;
    default:
        break;
    }
}

static void cover_role(struct sim_cover *c, const struct judge_last *p,
                       const struct judge_view *v)
{
    bool was[COVER_ROLES] = {false};

    c->term_change += v->st.term != p->term;
    if (v->st.role == p->role) {
        return;
    }
    was[p->role] = true;
    c->role[v->st.role]++;
    c->leader_elected += v->st.role == RAFT_LEADER;
    c->leader_lost += was[RAFT_LEADER];
    c->pre_vote_failed += was[RAFT_PRE_CANDIDATE] && v->st.role == RAFT_FOLLOWER;
    c->election_failed += was[RAFT_CANDIDATE] && v->st.role != RAFT_LEADER;
    c->leader_demoted += was[RAFT_LEADER] && !raft_quorum_votes(v->config, v->node);
}

static void cover_config(struct sim_cover *c, const struct judge_last *p,
                         const struct judge_view *v)
{
    const struct raft_config *now = v->config;

    if (p->config.voters_count == 0 || v->config_index == p->config_index) {
        return;
    }
    c->config_rollback += v->config_index < p->config_index;
    if (v->st.role != RAFT_LEADER || v->config_index < p->config_index) {
        return;
    }
    c->config_joint += now->voters_old_count > 0;
    c->config_left += p->config.voters_old_count > 0 && now->voters_old_count == 0;
    if (now->voters_old_count > 0) {
        c->config_learner += now->voters_count < now->voters_old_count;
        c->config_voter += now->voters_count > now->voters_old_count;
        c->config_w += now->voters_count == now->voters_old_count &&
                       raft_quorum_w(now) != raft_quorum_w_old(now);
    }
}

/* ---- a step of a core ---- */

static void trace_step(struct sim *s, const struct judge_view *v,
                       const struct judge_last *p, const struct raft_event *ev,
                       const struct raft_update *up)
{
    struct trace *t = &s->trace;

    if (ev->kind == RAFT_EV_MESSAGE) {
        trace_msg(t, s->now_us, v->node, v->group, ev->u.message, false);
    }
    if (v->st.role != p->role || v->st.term != p->term) {
        trace_role(t, s->now_us, v->node, v->group, v->st.role, v->st.leader,
                   v->st.term);
    }
    if (v->config_index != p->config_index) {
        trace_config(t, s->now_us, v->node, v->group, v->config_index, v->config);
    }
    if (v->st.commit != p->commit) {
        trace_commit(t, s->now_us, v->node, v->group, v->st.commit, v->st.last.index);
    }
    for (uint32_t i = 0; i < up->messages_count; i++) {
        trace_msg(t, s->now_us, v->node, v->group, &up->messages[i], true);
    }
    trace_mix(t, v->st.last_hash ^ v->state_hash);
}

void watch_stepped(struct env *e, const struct env_step *step)
{
    static const struct judge_last unseen;
    struct sim_node *n = (struct sim_node *)(void *)e;
    struct sim *s = n->sim;
    const struct judge_last *p = &unseen;
    const struct state_meta *state;
    struct judge_view v;
    MEMORY_OURS();

    if (n->dying || n->node == NULL) {
        return; /* Nothing that it does is seen. */
    }
    v.node = n->id;
    v.group = group_id_get(step->group);
    v.life = n->life;
    raft_status_get(group_raft(step->group), &v.st);
    v.config = raft_config_get(group_raft(step->group), &v.config_index);
    state = group_state_meta(step->group);
    v.applied = state->applied;
    v.state_hash = state->state_hash;
    v.state_is_broken = !group_state_is_whole(step->group);
    KV_ASSERT(v.group < JUDGE_GROUPS_MAX);
    if (s->judge.groups[v.group].last != NULL) {
        p = &s->judge.groups[v.group].last[n->id];
    }
    cover_event(&s->cover, step->event);
    cover_error(s->cover.step_error, step->rc);
    s->cover.entries_replaced += step->update->entries_count > 0 &&
                                 p->last.index >= step->update->entries[0].pos.index;
    s->cover.snapshot_wanted += step->update->snapshot_wanted;
    cover_msgs(&s->cover, step->event, step->update);
    cover_role(&s->cover, p, &v);
    if (v.st.role == RAFT_LEADER && p->role != RAFT_LEADER) {
        faults_elected(s, v.node, v.group);
    }
    cover_config(&s->cover, p, &v);
    trace_step(s, &v, p, step->event, step->update);
    judge_step(&s->judge, &v, step->event, step->update, step->rc);
    if (s->holders != NULL) {
        holders_look(s, v.node, v.group, v.applied.pos.index);
    }
}

/* ---- processes ---- */

void watch_start(struct sim *s, uint32_t id)
{
    for (uint32_t group = 0; group < SIM_GROUPS_MAX; group++) {
        const struct judge_last *last = s->judge.groups[group].last;

        if (last != NULL && last[id].life != 0) {
            judge_start(&s->judge, id, group, s->nodes[id].life);
            s->cover.commit_by_restart += last[id].commit > 0;
        }
    }
}

void watch_crash(struct sim *s, uint32_t id)
{
    judge_crash(&s->judge, id);
}

/* 16. Now and then, because it asks every group. */
void watch_turn(struct sim *s, uint32_t id)
{
    struct node *n = s->nodes[id].node;

    if ((s->counts.turns & 63) != 0 || n == NULL) {
        return;
    }
    for (uint32_t gi = 0; gi < n->groups_cap && gi < SIM_GROUPS_MAX; gi++) {
        struct group *g = node_group(n, gi);
        struct group_stats stats;

        if (g == NULL) {
            continue;
        }
        group_stats_get(g, &stats);
        judge_bounds(&s->judge, id, gi,
                     (const struct judge_bound[]){
                         {"bytes of log in memory", stats.tail_bytes,
                          n->config.memory_bytes_max},
                         {"bytes of changes in memory", stats.delta_bytes,
                          3 * n->config.delta_bytes_max + 8192}, /* And one entry. */
                         {"requests that wait", group_requests_count(g), 65536},
                     },
                     3);
    }
}

void watch_frames(struct sim *s, struct kv_bytes frames)
{
    size_t at = 0;

    /* Whole frames: kind at 5, length of the body at 8 (rpc/peer.h). */
    while (at + PEER_HEAD_BYTES <= frames.len) {
        uint8_t kind = frames.data[at + 5];

        s->cover.frame[kind < PEER_KINDS_END ? kind : 0]++;
        at += PEER_HEAD_BYTES + kv_get_u32le(frames.data + at + 8);
    }
}
