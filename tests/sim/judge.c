/* tests/sim/judge.c - one step of one replica against all that was seen before. */
#include "tests/sim/judge.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/quorum.h"
#include "tests/sim/judge_facts.h"

typedef unsigned long long ull;

static struct judge_last *last_of(struct judge *j, uint32_t node, uint32_t group)
{
    struct judge_group *g = &j->groups[group];

    KV_ASSERT(node >= 1 && node <= JUDGE_NODES_MAX && group < JUDGE_GROUPS_MAX);
    if (g->last == NULL) {
        g->last = kv_mem_zalloc((JUDGE_NODES_MAX + 1) * sizeof *g->last);
        KV_ASSERT(g->last != NULL);
    }
    return &g->last[node];
}

/* ---- 7: terms and votes ---- */

/* What is on the disk of a node that starts, or was told to be. */
static void vote_stored(struct judge *j, uint32_t node, uint32_t group, raft_term term,
                        raft_id vote)
{
    struct judge_last *p = last_of(j, node, group);
    struct judge_term *t;

    if (term < p->term_durable) {
        judge_fail(j, JUDGE_TERM_VOTE,
                   "group %u: the durable term of node %u went from %llu to %llu",
                   group, node, (ull)p->term_durable, (ull)term);
        return;
    }
    p->term_durable = term;
    p->vote_durable = vote;
    t = vote == 0 || vote > JUDGE_NODES_MAX ? NULL : judge_term_of(j, group, term);
    if (t == NULL) {
        return;
    }
    if (t->vote_disk[node] != 0 && t->vote_disk[node] != vote) {
        judge_fail(j, JUDGE_TERM_VOTE,
                   "group %u: node %u stored votes for %u and %u in term %llu", group,
                   node, t->vote_disk[node], vote, (ull)term);
    }
    t->vote_disk[node] = (uint8_t)vote;
}

static void check_terms(struct judge *j, const struct judge_view *v,
                        const struct judge_last *p, bool same_life)
{
    if (same_life && v->st.term < p->term) {
        judge_fail(j, JUDGE_TERM_VOTE,
                   "group %u: term of node %u went from %llu to "
                   "%llu",
                   v->group, v->node, (ull)p->term, (ull)v->st.term);
    }
    if (same_life && v->st.term == p->term && p->vote != 0 && v->st.vote != p->vote) {
        judge_fail(j, JUDGE_TERM_VOTE,
                   "group %u: node %u changed its vote in term %llu from %u to %u",
                   v->group, v->node, (ull)p->term, p->vote, v->st.vote);
    }
}

void judge_start(struct judge *j, uint32_t node, uint32_t group, uint64_t life)
{
    struct judge_last *p = last_of(j, node, group);
    struct log_state head;

    if (j->eyes.is_lost(j->eyes.ctx, node) ||
        j->eyes.head(j->eyes.ctx, node, group, &head) != 0) {
        p->life = 0;
        return;
    }
    vote_stored(j, node, group, head.term, head.vote);
    p->life = life;
    p->role = RAFT_FOLLOWER;
    p->term = head.term;
    p->vote = head.vote;
    p->match = 0;
    /* 6: what is known to be committed survives as far as it was durable. */
    p->commit = KV_MIN(head.commit_hint, head.last.pos.index);
    p->commit = KV_MAX(p->commit, j->eyes.checkpoint(j->eyes.ctx, node, group));
    p->config_index = 0;
    p->config.voters_count = 0;
    p->last = (struct raft_pos){0, 0};
    p->last_hash = 0;
}

/* ---- 1, 4: leaders ---- */

static uint32_t votes_of(const struct judge_term *t, uint32_t node, const raft_id *ids,
                         uint32_t count)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        n +=
            ids[i] == node || (ids[i] <= JUDGE_NODES_MAX && t->granted[ids[i]] == node);
    }
    return n;
}

/* The last entry that was committed in an older term: who wins late, when a newer term
 * has its leader already, need not have what that one committed (Figure 3). */
static raft_index committed_before(struct judge *j, uint32_t group, raft_term term)
{
    raft_index top = j->groups[group].commit_max;

    for (; top > 0; top--) {
        const struct judge_entry *e = judge_entry_of(j, group, top);

        if (e == NULL || e->commit_term < term) {
            break;
        }
    }
    return top;
}

static void check_elected(struct judge *j, const struct judge_view *v,
                          const struct judge_term *t)
{
    const struct raft_config *c = v->config;
    raft_index top = committed_before(j, v->group, v->st.term);
    uint64_t committed = judge_committed(j, v->group, top);
    struct raft_meta meta = {.hash = 0};
    int rc = 0;

    if (votes_of(t, v->node, c->voters, c->voters_count) <
            raft_quorum_majority_of(c->voters_count) ||
        (c->voters_old_count > 0 &&
         votes_of(t, v->node, c->voters_old, c->voters_old_count) <
             raft_quorum_majority_of(c->voters_old_count))) {
        judge_fail(j, JUDGE_ELECTION,
                   "group %u: node %u leads term %llu without a majority of votes",
                   v->group, v->node, (ull)v->st.term);
    }
    if (top == v->st.base.pos.index) {
        meta.hash = v->st.base.hash;
    } else if (top > v->st.base.pos.index) {
        rc = j->eyes.log(j->eyes.ctx, v->node, v->group, top, &meta);
    } else {
        return; /* A base behind it was committed, and compared then. */
    }
    if (committed != 0 && (rc == KV_ENOTFOUND || (rc == 0 && meta.hash != committed))) {
        judge_fail(j, JUDGE_COMPLETENESS,
                   "group %u: node %u leads term %llu with a log up to %llu and "
                   "without entry %llu, which was committed",
                   v->group, v->node, (ull)v->st.term, (ull)v->st.last.index, (ull)top);
    }
}

static void check_leader(struct judge *j, const struct judge_view *v,
                         const struct judge_last *p, bool same_life)
{
    struct judge_group *g = &j->groups[v->group];
    struct judge_term *t;
    bool led = same_life && p->role == RAFT_LEADER && p->term == v->st.term;

    if (v->st.role != RAFT_LEADER) {
        return;
    }
    t = judge_term_of(j, v->group, v->st.term);
    if (t == NULL) {
        return;
    }
    if (t->leader != 0 && t->leader != v->node) {
        judge_fail(j, JUDGE_ELECTION, "group %u: nodes %u and %u both led term %llu",
                   v->group, t->leader, v->node, (ull)v->st.term);
        return;
    }
    j->leaders += t->leader == 0;
    t->leader = (uint8_t)v->node;
    if (!led) {
        check_elected(j, v, t);
    }
    if (v->st.term >= g->leader_term) {
        bool news = v->st.term > g->leader_term || v->config_index != g->config_index;

        g->leader_term = v->st.term;
        g->config_index = v->config_index;
        if (news) {
            g->config = *v->config;
            judge_quorums(j, v->group, v->config);
        }
    }
}

/* ---- 2, 3: the log ---- */

static void check_log(struct judge *j, const struct judge_view *v, struct judge_last *p,
                      const struct raft_update *up, bool same_life)
{
    const struct raft_status *st = &v->st;
    bool led = same_life && p->role == RAFT_LEADER && st->role == RAFT_LEADER &&
               p->term == st->term;
    struct raft_meta meta;

    for (uint32_t i = 0; i < up->entries_count; i++) {
        judge_entry_seen(j, v->node, v->group, up->entries[i].pos, up->entries[i].hash);
    }
    if (up->entries_count > 0 && up->entries[0].pos.index <= p->match) {
        p->match = 0; /* Overwritten: to be looked up again. */
    }
    if (st->last.index == p->last.index && st->last_hash == p->last_hash) {
        return;
    }
    judge_entry_seen(j, v->node, v->group, st->last, st->last_hash);
    if (led &&
        (st->last.index < p->last.index ||
         (p->last.index > 0 &&
          j->eyes.log(j->eyes.ctx, v->node, v->group, p->last.index, &meta) == 0 &&
          meta.hash != p->last_hash))) {
        judge_fail(j, JUDGE_APPEND_ONLY,
                   "group %u: leader %u of term %llu changed its log before %llu",
                   v->group, v->node, (ull)st->term, (ull)p->last.index);
    }
}

/* ---- 4, 5, 6, 8, 9: commit and apply ---- */

static void note_committed(struct judge *j, const struct judge_view *v, raft_index from,
                           raft_index to)
{
    struct raft_meta meta;

    if (v->st.base.pos.index > 0 && v->st.base.pos.index > from) {
        judge_entry_committed(j, v, v->st.base.pos.index, v->st.base.hash);
        from = v->st.base.pos.index;
    }
    for (raft_index i = from + 1; i <= to; i++) {
        if (j->eyes.log(j->eyes.ctx, v->node, v->group, i, &meta) == 0) {
            judge_entry_committed(j, v, i, meta.hash);
        }
    }
}

static void check_commit(struct judge *j, const struct judge_view *v,
                         const struct judge_last *p, bool same_life)
{
    struct judge_group *g = &j->groups[v->group];
    const struct raft_status *st = &v->st;

    if (st->applied > st->commit || st->commit > st->last.index ||
        st->base.pos.index > st->applied) {
        judge_fail(j, JUDGE_ORDER,
                   "group %u: node %u has base %llu, applied %llu, commit %llu, last "
                   "%llu",
                   v->group, v->node, (ull)st->base.pos.index, (ull)st->applied,
                   (ull)st->commit, (ull)st->last.index);
    }
    if (same_life && st->commit < p->commit) {
        judge_fail(j, JUDGE_ORDER, "group %u: commit of node %u went from %llu to %llu",
                   v->group, v->node, (ull)p->commit, (ull)st->commit);
    }
    if (same_life && st->commit == p->commit) {
        return;
    }
    note_committed(j, v, same_life ? p->commit : st->commit - (st->commit > 0),
                   st->commit);
    if (st->commit <= g->commit_max) {
        return;
    }
    if (st->role != RAFT_LEADER && p->role != RAFT_LEADER) {
        judge_fail(j, JUDGE_DURABLE,
                   "group %u: node %u takes %llu for committed, leaders committed %llu",
                   v->group, v->node, (ull)st->commit, (ull)g->commit_max);
    }
    g->commit_max = st->commit;
    j->commits++;
    judge_written(j, v->node, v->group, st->commit, v->config);
}

/* 5: what is applied is what was committed, and gives the same state everywhere. */
static void check_applied(struct judge *j, const struct judge_view *v,
                          struct judge_last *p)
{
    raft_index at = v->applied.pos.index;
    struct judge_entry *e;

    if (at == 0 || at == p->applied || v->state_is_broken) {
        return; /* Nobody sees a broken state: it waits for a snapshot. */
    }
    p->applied = at;
    e = judge_entry_of(j, v->group, at);
    if (e == NULL) {
        return;
    }
    if (at > j->groups[v->group].commit_max) {
        judge_fail(j, JUDGE_STATE_MACHINE,
                   "group %u: node %u has applied %llu, committed is %llu", v->group,
                   v->node, (ull)at, (ull)j->groups[v->group].commit_max);
    }
    judge_entry_committed(j, v, at, v->applied.hash);
    if (e->applied && e->state_hash != v->state_hash) {
        judge_fail(j, JUDGE_STATE_MACHINE,
                   "group %u: node %u has another state at %llu", v->group, v->node,
                   (ull)at);
    }
    e->applied = true;
    e->state_hash = v->state_hash;
}

/* ---- 10: configurations ---- */

/* May `next` directly follow `c` in a log? Source: §6, diss. §4.3. */
static bool config_follows(const struct raft_config *c, const struct raft_config *next)
{
    bool same_voters =
        c->voters_count == next->voters_count &&
        memcmp(c->voters, next->voters, c->voters_count * sizeof c->voters[0]) == 0 &&
        raft_quorum_w(c) == raft_quorum_w(next);

    if (c->voters_old_count > 0) { /* C_old,new, then C_new. */
        return next->voters_old_count == 0 && same_voters;
    }
    if (next->voters_old_count == 0) {
        return same_voters; /* Only learners differ. */
    }
    return c->voters_count == next->voters_old_count &&
           memcmp(c->voters, next->voters_old, c->voters_count * sizeof c->voters[0]) ==
               0 &&
           raft_quorum_w(c) == raft_quorum_w_old(next);
}

/* The newest configuration entry of the step is the one in force. */
static void check_adopted(struct judge *j, const struct judge_view *v,
                          const struct judge_last *p, const struct raft_update *up)
{
    raft_index newest = 0;

    for (uint32_t i = 0; i < up->entries_count; i++) {
        if (up->entries[i].type == RAFT_ENTRY_CONFIG) {
            newest = up->entries[i].pos.index;
        }
    }
    if (up->entries_count > 0 &&
        ((newest != 0 && v->config_index != newest) ||
         (newest == 0 && v->config_index >= up->entries[0].pos.index))) {
        judge_fail(j, JUDGE_CONFIG,
                   "group %u: node %u goes by the configuration at %llu, its log says "
                   "%llu (before: %llu)",
                   v->group, v->node, (ull)v->config_index, (ull)newest,
                   (ull)p->config_index);
    }
    if (v->config_index > v->st.last.index) {
        judge_fail(j, JUDGE_CONFIG, "group %u: node %u has no entry %llu to go by",
                   v->group, v->node, (ull)v->config_index);
    }
}

static void check_config(struct judge *j, const struct judge_view *v,
                         const struct judge_last *p, const struct raft_update *up,
                         bool same_life)
{
    struct raft_meta meta = {.hash = 0};
    bool known = same_life && p->config.voters_count > 0;

    if (up->entries_count > 0) {
        check_adopted(j, v, p, up);
    }
    if (known && v->config_index == p->config_index) {
        return;
    }
    if (v->config_index == 0 ||
        j->eyes.log(j->eyes.ctx, v->node, v->group, v->config_index, &meta) == 0) {
        judge_conf_seen(j, v->node, v->group, v->config_index, meta.hash, v->config);
    }
    if (known && p->role == RAFT_LEADER && v->st.role == RAFT_LEADER &&
        p->term == v->st.term && v->config_index > p->config_index) {
        if (p->config_index > v->st.commit) {
            judge_fail(j, JUDGE_CONFIG,
                       "group %u: leader %u begins a configuration change at %llu, the "
                       "one at %llu is not committed",
                       v->group, v->node, (ull)v->config_index, (ull)p->config_index);
        }
        if (!config_follows(&p->config, v->config)) {
            judge_fail(j, JUDGE_CONFIG,
                       "group %u: leader %u goes from the configuration at %llu to "
                       "that at %llu without a joint one",
                       v->group, v->node, (ull)p->config_index, (ull)v->config_index);
        }
    }
}

/* ---- 11: reads ---- */

static void check_reads(struct judge *j, const struct judge_view *v,
                        struct judge_last *p, const struct raft_update *up)
{
    for (uint32_t i = 0; i < up->reads_count; i++) {
        const struct raft_read *read = &up->reads[i];
        uint32_t at = (uint32_t)(read->tag % JUDGE_READS);

        if (read->error != 0) {
            continue;
        }
        p->read_newest = KV_MAX(p->read_newest, p->read_step[at]);
        if (p->read_tag[at] != read->tag) {
            judge_fail(j, JUDGE_READ,
                       "group %u: node %u answers read %llu, never asked", v->group,
                       v->node, (ull)read->tag);
        } else if (read->index < p->read_least[at]) {
            judge_fail(j, JUDGE_READ,
                       "group %u: node %u reads at %llu, %llu was committed before it "
                       "was asked",
                       v->group, v->node, (ull)read->index, (ull)p->read_least[at]);
        } else if (p->term < p->read_term[at]) {
            /* A majority confirmed that it leads after a majority had left its term. */
            judge_fail(
                j, JUDGE_READ,
                "group %u: node %u confirms a read in term %llu, term %llu had a "
                "leader before it was asked",
                v->group, v->node, (ull)p->term, (ull)p->read_term[at]);
        }
    }
    /* Where it stepped down within the step, nobody can tell any more. */
    if (up->reads_count > 0 && up->reads[0].error == 0 && !v->st.can_read &&
        v->st.role == RAFT_LEADER) {
        judge_fail(j, JUDGE_READ,
                   "group %u: node %u serves reads before an entry of its term %llu is "
                   "committed",
                   v->group, v->node, (ull)v->st.term);
    }
}

void judge_reply(struct judge *j, uint32_t group, raft_index rev, raft_index least)
{
    if (rev < least) {
        judge_fail(
            j, JUDGE_READ,
            "group %u: a client read at revision %llu, %llu was committed before "
            "it asked",
            group, (ull)rev, (ull)least);
    }
}

void judge_reply_term(struct judge *j, uint32_t group, raft_term term, raft_term least)
{
    if (term < least) {
        judge_fail(
            j, JUDGE_READ,
            "group %u: the leader of term %llu answered a client that asked when "
            "term %llu had a leader",
            group, (ull)term, (ull)least);
    }
}

void judge_reply_round(struct judge *j, uint32_t group, uint32_t node, uint64_t asked)
{
    const struct judge_last *last = j->groups[group].last;

    if (last != NULL && node <= JUDGE_NODES_MAX && last[node].read_newest <= asked) {
        judge_fail(j, JUDGE_READ,
                   "group %u: node %u answers a read with an index that was asked for "
                   "before the client asked",
                   group, node);
    }
}

/* ---- 14: who is heard ---- */

static void check_heard(struct judge *j, const struct judge_view *v,
                        const struct raft_msg *m)
{
    const struct judge_group *g = &j->groups[v->group];

    if (m->from == 0 || m->from > j->nodes_count || m->from == v->node ||
        m->to != v->node || m->term > g->sent_term[m->from][v->node] ||
        (g->sent_types[m->from][v->node] & (1u << m->type)) == 0) {
        judge_fail(j, JUDGE_STRANGERS,
                   "group %u: node %u acts upon a message of type %d from %u to %u "
                   "that was never sent to it in this group",
                   v->group, v->node, (int)m->type, m->from, m->to);
    }
}

/* ---- 16: bounds ---- */

void judge_bounds(struct judge *j, uint32_t node, uint32_t group,
                  const struct judge_bound *bounds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bounds[i].value > bounds[i].most) {
            judge_fail(j, JUDGE_BOUNDS, "group %u: node %u has %s %llu, at most %llu",
                       group, node, bounds[i].name, (ull)bounds[i].value,
                       (ull)bounds[i].most);
        }
    }
}

/* ---- the step ---- */

static void remember(struct judge_last *p, const struct judge_view *v)
{
    if (p->life != v->life || p->config_index != v->config_index ||
        p->config.voters_count == 0) {
        p->config = *v->config;
    }
    p->life = v->life;
    p->role = v->st.role;
    p->term = v->st.term;
    p->vote = v->st.vote;
    p->last = v->st.last;
    p->last_hash = v->st.last_hash;
    p->commit = v->st.commit;
    p->config_index = v->config_index;
}

/* What the event says, before what follows from it. */
static void take_event(struct judge *j, const struct judge_view *v,
                       const struct raft_event *ev, int rc)
{
    struct judge_last *p = last_of(j, v->node, v->group);
    struct log_state head;

    switch (ev->kind) {
    case RAFT_EV_MESSAGE:
        check_heard(j, v, ev->u.message);
        break;
    case RAFT_EV_READ:
        if (rc == 0) {
            uint32_t at = (uint32_t)(ev->u.read_tag % JUDGE_READS);

            p->read_tag[at] = ev->u.read_tag;
            p->read_least[at] = j->groups[v->group].commit_max;
            p->read_term[at] = j->groups[v->group].leader_term;
            p->read_step[at] = j->checked;
        }
        break;
    case RAFT_EV_PERSISTED:
        vote_stored(j, v->node, v->group, ev->u.persisted.term, ev->u.persisted.vote);
        if (j->eyes.head(j->eyes.ctx, v->node, v->group, &head) == 0 &&
            (head.term < ev->u.persisted.term ||
             (head.term == ev->u.persisted.term && head.vote != ev->u.persisted.vote &&
              ev->u.persisted.vote != 0))) {
            judge_fail(
                j, JUDGE_DURABLE,
                "group %u: node %u was told that term %llu is durable, it is not",
                v->group, v->node, (ull)ev->u.persisted.term);
        }
        break;
    case RAFT_EV_COMPACTED:
        if (ev->u.base.pos.index > j->eyes.checkpoint(j->eyes.ctx, v->node, v->group)) {
            judge_fail(j, JUDGE_ORDER,
                       "group %u: node %u compacts to %llu, beyond its checkpoint",
                       v->group, v->node, (ull)ev->u.base.pos.index);
        }
        break;
    default:
        break;
    }
}

void judge_step(struct judge *j, const struct judge_view *v,
                const struct raft_event *ev, const struct raft_update *up, int rc)
{
    struct judge_last *p = last_of(j, v->node, v->group);
    bool same_life = p->life == v->life;

    j->checked++;
    take_event(j, v, ev, rc);
    check_terms(j, v, p, same_life);
    check_log(j, v, p, up, same_life);
    for (uint32_t i = 0; i < up->messages_count; i++) {
        judge_sent(j, v, &up->messages[i]);
    }
    check_leader(j, v, p, same_life);
    judge_stands(j, v, p, ev);
    judge_leads(j, v, p, ev);
    judge_trusts(j, v, p, ev);
    check_commit(j, v, p, same_life);
    check_applied(j, v, p);
    if (up->entries_count > 0 || !same_life || v->config_index != p->config_index ||
        p->config.voters_count == 0) {
        check_config(j, v, p, up, same_life);
    }
    if (up->reads_count > 0) {
        check_reads(j, v, p, up);
    }
    remember(p, v);
}

void judge_crash(struct judge *j, uint32_t node)
{
    for (uint32_t i = 0; i < JUDGE_GROUPS_MAX; i++) {
        struct judge_group *g = &j->groups[i];

        if (g->last != NULL && g->last[node].life != 0) {
            g->last[node].match = 0;
            judge_quorums(j, i, &g->config);
        }
    }
}
