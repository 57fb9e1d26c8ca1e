/* tests/sim/judge_facts.c - tables by term and index, and who holds what. */
#include <stdarg.h>
#include <stdio.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/quorum.h"
#include "tests/sim/judge_facts.h"

typedef unsigned long long ull;

const char *judge_name(enum judge_number number)
{
    static const char *const names[] = {
#define JUDGE_NAME(n, name, text) [n] = (text),
        JUDGE_MAP(JUDGE_NAME)
#undef JUDGE_NAME
    };

    return (size_t)number < KV_ARRAY_COUNT(names) && names[number] != NULL
               ? names[number]
               : "?";
}

void judge_init(struct judge *j, const struct judge_eyes *eyes, uint32_t nodes_count)
{
    KV_ASSERT(nodes_count <= JUDGE_NODES_MAX);
    memset(j, 0, sizeof *j);
    j->eyes = *eyes;
    j->nodes_count = nodes_count;
}

void judge_close(struct judge *j)
{
    for (uint32_t i = 0; i < JUDGE_GROUPS_MAX; i++) {
        kv_mem_free(j->groups[i].terms);
        kv_mem_free(j->groups[i].entries);
        kv_mem_free(j->groups[i].more);
        kv_mem_free(j->groups[i].confs);
        kv_mem_free(j->groups[i].last);
    }
}

void judge_fail(struct judge *j, enum judge_number number, const char *format, ...)
{
    va_list args;

    if (j->violated != JUDGE_NOTHING) {
        return;
    }
    j->violated = number;
    va_start(args, format);
    vsnprintf(j->why, sizeof j->why, format, args);
    va_end(args);
}

/* ---- tables ---- */

static void *grow(void *old, size_t *cap, size_t need, size_t item)
{
    size_t want = *cap == 0 ? 64 : *cap;
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

struct judge_term *judge_term_of(struct judge *j, uint32_t group, raft_term term)
{
    struct judge_group *g = &j->groups[group];

    if (term > JUDGE_TERMS_MAX) {
        judge_fail(j, JUDGE_BOUNDS, "group %u: term %llu", group, (ull)term);
        return NULL;
    }
    g->terms = grow(g->terms, &g->terms_cap, term + 1, sizeof *g->terms);
    return &g->terms[term];
}

struct judge_entry *judge_entry_of(struct judge *j, uint32_t group, raft_index index)
{
    struct judge_group *g = &j->groups[group];

    if (index > ((raft_index)1 << 28)) {
        judge_fail(j, JUDGE_BOUNDS, "group %u: index %llu", group, (ull)index);
        return NULL;
    }
    g->entries = grow(g->entries, &g->entries_cap, index + 1, sizeof *g->entries);
    return &g->entries[index];
}

uint64_t judge_committed(const struct judge *j, uint32_t group, raft_index index)
{
    const struct judge_group *g = &j->groups[group];

    return index < g->entries_cap ? g->entries[index].committed : 0;
}

static void other_entry(struct judge *j, uint32_t node, uint32_t group)
{
    judge_fail(j, JUDGE_LOG_MATCHING,
               "group %u: node %u has an entry with a known index and term, but "
               "another log before it",
               group, node);
}

void judge_entry_seen(struct judge *j, uint32_t node, uint32_t group,
                      struct raft_pos pos, uint64_t hash)
{
    struct judge_group *g = &j->groups[group];
    struct judge_entry *e;

    if (pos.index == 0) {
        return;
    }
    e = judge_entry_of(j, group, pos.index);
    if (e == NULL) {
        return;
    }
    if (e->term == 0) {
        e->term = pos.term;
        e->hash = hash;
        return;
    }
    if (e->term == pos.term) {
        if (e->hash != hash) {
            other_entry(j, node, group);
        }
        return;
    }
    for (size_t i = g->more_count; i > 0; i--) {
        const struct judge_more *m = &g->more[i - 1];

        if (m->pos.index == pos.index && m->pos.term == pos.term) {
            if (m->hash != hash) {
                other_entry(j, node, group);
            }
            return;
        }
    }
    g->more = grow(g->more, &g->more_cap, g->more_count + 1, sizeof *g->more);
    g->more[g->more_count++] = (struct judge_more){pos, hash};
}

void judge_entry_committed(struct judge *j, const struct judge_view *v,
                           raft_index index, uint64_t hash)
{
    struct judge_entry *e = judge_entry_of(j, v->group, index);

    if (e == NULL || index == 0) {
        return;
    }
    if (e->committed == 0) {
        e->committed = hash;
        e->commit_term = v->st.term;
    } else if (e->committed != hash) {
        judge_fail(j, JUDGE_STATE_MACHINE,
                   "group %u: node %u holds another entry at %llu than was committed",
                   v->group, v->node, (ull)index);
    }
}

/* ---- configurations ---- */

static bool same_ids(const raft_id *a, uint32_t a_count, const raft_id *b,
                     uint32_t b_count)
{
    return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;
}

bool judge_config_same(const struct raft_config *a, const struct raft_config *b)
{
    return same_ids(a->voters, a->voters_count, b->voters, b->voters_count) &&
           same_ids(a->voters_old, a->voters_old_count, b->voters_old,
                    b->voters_old_count) &&
           same_ids(a->learners, a->learners_count, b->learners, b->learners_count) &&
           a->w == b->w && a->w_old == b->w_old;
}

void judge_conf_seen(struct judge *j, uint32_t node, uint32_t group, raft_index index,
                     uint64_t hash, const struct raft_config *config)
{
    struct judge_group *g = &j->groups[group];

    for (size_t i = g->confs_count; i > 0; i--) {
        const struct judge_conf *c = &g->confs[i - 1];

        if (c->index == index && c->hash == hash) {
            if (!judge_config_same(&c->config, config)) {
                judge_fail(j, JUDGE_CONFIG,
                           "group %u: node %u reads another configuration than the "
                           "entry at %llu holds",
                           group, node, (ull)index);
            }
            return;
        }
    }
    g->confs = grow(g->confs, &g->confs_cap, g->confs_count + 1, sizeof *g->confs);
    g->confs[g->confs_count++] = (struct judge_conf){index, hash, *config};
}

/* ---- who holds what ---- */

/* A damaged copy does not vote or ack, nor does a node without its disk: no quorum
 * contains them, so they cannot spoil one. */
static bool holds(const struct judge *j, uint32_t node, uint32_t group,
                  raft_index index, uint64_t hash)
{
    struct raft_meta meta;
    int rc;

    if (j->eyes.is_lost(j->eyes.ctx, node)) {
        return true;
    }
    rc = j->eyes.disk(j->eyes.ctx, node, group, index, &meta);
    return rc == 0 ? meta.hash == hash : rc == KV_ECOMPACTED || rc == KV_EDAMAGED;
}

static uint32_t holders(const struct judge *j, uint32_t group, raft_index index,
                        uint64_t hash, const raft_id *ids, uint32_t count)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        n += ids[i] > JUDGE_NODES_MAX || holds(j, ids[i], group, index, hash);
    }
    return n;
}

void judge_quorums(struct judge *j, uint32_t group, const struct raft_config *c)
{
    raft_index index = j->groups[group].commit_max;
    uint64_t hash = judge_committed(j, group, index);
    uint32_t held, held_old;

    if (index == 0 || hash == 0 || c->voters_count == 0) {
        return;
    }
    held = holders(j, group, index, hash, c->voters, c->voters_count);
    held_old = holders(j, group, index, hash, c->voters_old, c->voters_old_count);
    /* A quorum without it needs a majority of those who lack it, in both halves. */
    if (c->voters_count - held >= raft_quorum_majority_of(c->voters_count) &&
        (c->voters_old_count == 0 ||
         c->voters_old_count - held_old >=
             raft_quorum_majority_of(c->voters_old_count))) {
        judge_fail(j, JUDGE_QUORUMS,
                   "group %u: entry %llu is committed and lies on %u of %u disks (old "
                   "half: %u of %u)",
                   group, (ull)index, held, c->voters_count, held_old,
                   c->voters_old_count);
    }
}

void judge_written(struct judge *j, uint32_t node, uint32_t group, raft_index index,
                   const struct raft_config *c)
{
    uint64_t hash = judge_committed(j, group, index);
    uint32_t held = holders(j, group, index, hash, c->voters, c->voters_count);
    uint32_t held_old =
        holders(j, group, index, hash, c->voters_old, c->voters_old_count);

    if (held < raft_quorum_w(c) || held_old < raft_quorum_w_old(c)) {
        judge_fail(j, JUDGE_DURABLE,
                   "group %u: leader %u committed %llu, which lies on %u disks of %u "
                   "needed (old half: %u of %u)",
                   group, node, (ull)index, held, raft_quorum_w(c), held_old,
                   raft_quorum_w_old(c));
    }
}

/* ---- messages ---- */

/* Term and vote as the disk has them; asked only when what is known is not enough,
 * because a durable term never goes back. */
static bool durable_term(struct judge *j, const struct judge_view *v, raft_term term)
{
    struct judge_last *p = &j->groups[v->group].last[v->node];
    struct log_state head;

    if (p->term_durable >= term) {
        return true;
    }
    if (j->eyes.head(j->eyes.ctx, v->node, v->group, &head) != 0) {
        return true; /* Damaged: the node finds out itself. */
    }
    if (head.term >= p->term_durable) {
        p->term_durable = head.term;
        p->vote_durable = head.vote;
    }
    return head.term >= term;
}

static void vote_granted(struct judge *j, const struct judge_view *v, raft_term term,
                         raft_id to)
{
    struct judge_last *p = &j->groups[v->group].last[v->node];
    struct judge_term *t = judge_term_of(j, v->group, term);

    if (t == NULL || to > JUDGE_NODES_MAX) {
        return;
    }
    if (t->granted[v->node] != 0 && t->granted[v->node] != to) {
        judge_fail(j, JUDGE_TERM_VOTE,
                   "group %u: node %u voted for %u and for %u in term %llu", v->group,
                   v->node, t->granted[v->node], to, (ull)term);
    }
    t->granted[v->node] = (uint8_t)to;
    if (durable_term(j, v, term) && p->term_durable == term && p->vote_durable != to) {
        struct log_state head;

        /* Known was the term before the vote. */
        if (j->eyes.head(j->eyes.ctx, v->node, v->group, &head) == 0) {
            p->vote_durable = head.vote;
        }
    }
    if (p->term_durable == term && p->vote_durable != to) {
        judge_fail(j, JUDGE_DURABLE,
                   "group %u: node %u votes for %u in term %llu, its disk does not say "
                   "so",
                   v->group, v->node, to, (ull)term);
    }
}

/* An ack names an entry by its chain hash: the disk must have that very one. */
static void match_acked(struct judge *j, const struct judge_view *v,
                        const struct raft_msg *m)
{
    struct judge_last *p = &j->groups[v->group].last[v->node];
    struct raft_meta meta;
    int rc;

    if (m->match == 0 || (p->match == m->match && p->match_hash == m->hash)) {
        return;
    }
    rc = j->eyes.disk(j->eyes.ctx, v->node, v->group, m->match, &meta);
    if ((rc == 0 && meta.hash != m->hash) || rc == KV_ENOTFOUND) {
        judge_fail(j, JUDGE_DURABLE,
                   "group %u: node %u acks %llu to %u, its disk does not have it",
                   v->group, v->node, (ull)m->match, m->to);
        return;
    }
    p->match = m->match;
    p->match_hash = m->hash;
}

void judge_sent(struct judge *j, const struct judge_view *v, const struct raft_msg *m)
{
    struct judge_group *g = &j->groups[v->group];
    bool asks = m->type == RAFT_MSG_PRE_VOTE || m->type == RAFT_MSG_PRE_VOTE_REPLY;

    if (m->to <= JUDGE_NODES_MAX) {
        raft_term *top = &g->sent_term[v->node][m->to];

        *top = KV_MAX(*top, m->term);
        g->sent_types[v->node][m->to] |= 1u << m->type;
    }
    if (!asks && !durable_term(j, v, m->term)) {
        judge_fail(j, JUDGE_DURABLE,
                   "group %u: node %u speaks of term %llu, its disk is at %llu",
                   v->group, v->node, (ull)m->term, (ull)g->last[v->node].term_durable);
    }
    switch (m->type) {
    case RAFT_MSG_VOTE:
        vote_granted(j, v, m->term, v->node); /* It counts its own vote. */
        /* fall through */
    case RAFT_MSG_PRE_VOTE:
        /* While the configuration that leaves it out is not known to be committed, its
         * log may be needed (diss. §4.2.2). */
        if (!raft_quorum_votes(v->config, v->node) && v->config_index <= v->st.commit) {
            judge_fail(j, JUDGE_STRANGERS,
                       "group %u: node %u has no vote and asks for votes", v->group,
                       v->node);
        }
        break;
    case RAFT_MSG_VOTE_REPLY:
        if (m->granted) {
            vote_granted(j, v, m->term, m->to);
        }
        break;
    case RAFT_MSG_APPEND_REPLY:
    case RAFT_MSG_HEARTBEAT_REPLY:
        match_acked(j, v, m);
        break;
    default:
        break;
    }
}
