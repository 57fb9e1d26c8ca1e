/* tests/server/test_quorum_read.c - the rule of quorum reads: by case and by force.
 *
 * The model: a few replicas, one key, a log of writes and changes of configuration, a
 * leader and perhaps a second one that diverges. Every state that Raft's rules can
 * reach is visited; in each one every set of answers is decided upon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/quorum.h"
#include "server/quorum_read.h"

static struct raft_config config_of(uint32_t n, uint32_t w)
{
    struct raft_config c = {.voters_count = n, .w = w};

    for (uint32_t i = 0; i < n; i++) {
        c.voters[i] = i + 1;
    }
    return c;
}

static struct raft_config joint_of(struct raft_config to, struct raft_config from)
{
    to.voters_old_count = from.voters_count;
    to.w_old = from.w;
    memcpy(to.voters_old, from.voters, sizeof to.voters_old);
    return to;
}

static struct quorum_answer answer_of(raft_id replica, raft_index applied,
                                      raft_index pending)
{
    return (struct quorum_answer){.replica = replica,
                                  .applied = applied,
                                  .pending = pending,
                                  .config = config_of(3, 2),
                                  .config_index = 1,
                                  .is_committed = true};
}

static struct quorum_decision decide(const struct quorum_answer *a, uint32_t count,
                                     uint32_t r, raft_index goal)
{
    struct quorum_question q = {.answers = a, .count = count, .r = r, .goal = goal};

    return quorum_decide(&q);
}

/* ---- case by case ---- */

static void the_highest_applied_index_stands(void **state)
{
    struct quorum_answer a[] = {answer_of(1, 7, 0), answer_of(3, 9, 0)};

    (void)state;
    a[0].key_rev = 6; /* A later delete has no revision. */
    assert_int_equal(decide(a, 1, 0, 0).verdict, QUORUM_MORE);
    assert_int_equal(decide(a, 2, 0, 0).verdict, QUORUM_ANSWER);
    assert_int_equal(decide(a, 2, 0, 0).answer, 1);
}

static void a_pending_entry_has_to_be_applied_first(void **state)
{
    struct quorum_answer a[] = {answer_of(1, 7, 11), answer_of(3, 9, 0)};
    struct quorum_decision d = decide(a, 2, 0, 0);

    (void)state;
    assert_int_equal(d.verdict, QUORUM_WAIT);
    assert_int_equal(d.goal, 11);
    a[1].applied = 11; /* X >= P: it has applied what is pending elsewhere. */
    assert_int_equal(decide(a, 2, 0, 0).verdict, QUORUM_ANSWER);
    a[1].applied = 12; /* And once P is known, one that has applied it is enough, */
    a[1].pending = 40; /* whatever came since. */
    assert_int_equal(decide(&a[1], 1, 0, 11).verdict, QUORUM_ANSWER);
}

static void r_and_w_must_overlap(void **state)
{
    struct quorum_answer a[] = {answer_of(1, 7, 0), answer_of(2, 7, 0),
                                answer_of(3, 7, 0)};
    struct quorum_decision d = decide(a, 1, 1, 0);

    (void)state;
    assert_int_equal(d.verdict, QUORUM_REFUSE);
    assert_int_equal(d.r_least, 2);
    assert_int_equal(decide(a, 1, 4, 0).verdict, QUORUM_REFUSE);
    assert_int_equal(decide(a, 2, 3, 0).verdict,
                     QUORUM_MORE); /* Three were asked for. */
    assert_int_equal(decide(a, 3, 3, 0).verdict, QUORUM_ANSWER);
    for (uint32_t i = 0; i < 3; i++) {
        a[i].config = config_of(3, 3);
    }
    assert_int_equal(decide(a, 1, 1, 0).verdict, QUORUM_ANSWER); /* W is all. */
}

static void answers_of_two_configurations_do_not_count_together(void **state)
{
    struct quorum_answer a[] = {answer_of(1, 7, 0), answer_of(2, 9, 0),
                                answer_of(3, 9, 0)};

    (void)state;
    a[1].config_index = a[2].config_index = 8;
    assert_int_equal(decide(a, 2, 0, 0).verdict, QUORUM_MORE);
    assert_int_equal(decide(a, 3, 0, 0).verdict, QUORUM_ANSWER);
    a[1].is_committed = a[2].is_committed =
        false; /* Then its predecessor counts, too: */
    a[1].before = a[2].before = config_of(3, 2);
    assert_int_equal(decide(a, 3, 0, 0).verdict, QUORUM_ANSWER);
    a[1].before = a[2].before = config_of(5, 3); /* three of five. */
    assert_int_equal(decide(a, 3, 0, 0).verdict, QUORUM_MORE);
    a[2].before_index = 2; /* Nor do they name one predecessor. */
    a[1].before = a[2].before = config_of(3, 2);
    assert_int_equal(decide(a, 3, 0, 0).verdict, QUORUM_MORE);
}

static void a_joint_configuration_needs_both_halves(void **state)
{
    struct quorum_answer a[] = {answer_of(1, 7, 0), answer_of(2, 9, 0)};

    (void)state;
    a[0].config = a[1].config = joint_of(config_of(3, 3), config_of(3, 2));
    assert_int_equal(decide(a, 1, 0, 0).verdict, QUORUM_MORE);
    assert_int_equal(decide(a, 2, 0, 0).verdict, QUORUM_ANSWER);
}

/* ---- by force ---- */

enum {
    MODEL_REPLICAS_MAX = 5,
    MODEL_ENTRIES_MAX = 6,
    MODEL_STATES = 1 << 22,
};

enum entry_kind {
    PUT,
    DEL,
    CONFIG,
};

struct model_entry {
    enum entry_kind kind;
    struct raft_config config;
};

struct model {
    uint32_t replicas;
    struct raft_config initial;
    struct model_entry log[MODEL_ENTRIES_MAX + 1]; /* Of the first leader; from 1. */
    uint32_t log_count;
    uint32_t second; /* Puts that a second leader may append; 0: there is none. */
#ifdef KV_MUTANTS
    uint32_t bug;
#endif
    /* What came out. */
    uint64_t *seen;
    uint64_t *stack;
    uint32_t stack_count;
    uint64_t states, answered, waited, wrong;
};

struct replica {
    bool is_second; /* Its log follows the second leader. */
    uint32_t len, applied;
};

struct world {
    struct replica r[MODEL_REPLICAS_MAX];
    uint32_t commit, leader, fork; /* fork: where the second leader's log begins. */
    bool has_second;
};

static uint64_t pack(const struct model *m, const struct world *w)
{
    uint64_t s = 1;

    for (uint32_t i = 0; i < m->replicas; i++) {
        s = s << 7 | (uint64_t)w->r[i].is_second << 6 | w->r[i].len << 3 |
            w->r[i].applied;
    }
    return s << 10 | w->commit << 7 | w->leader << 4 | w->fork << 1 | w->has_second;
}

static struct world unpack(const struct model *m, uint64_t s)
{
    struct world w = {.commit = s >> 7 & 7,
                      .leader = s >> 4 & 7,
                      .fork = s >> 1 & 7,
                      .has_second = s & 1};

    s >>= 10;
    for (uint32_t i = m->replicas; i-- > 0; s >>= 7) {
        w.r[i] = (struct replica){s >> 6 & 1, s >> 3 & 7, s & 7};
    }
    return w;
}

static void visit(struct model *m, const struct world *w)
{
    uint64_t s = pack(m, w);
    uint64_t at = s * 0x9e3779b97f4a7c15u >> 42;

    while (m->seen[at] != 0 && m->seen[at] != s) {
        at = (at + 1) % MODEL_STATES;
    }
    if (m->seen[at] == 0) {
        assert_true(++m->states < MODEL_STATES * 3 / 4);
        m->seen[at] = s;
        m->stack[m->stack_count++] = s;
    }
}

static bool is_write(const struct model *m, uint32_t index, uint32_t fork)
{
    return index > fork || m->log[index].kind != CONFIG;
}

/* The newest write at or before an index; the second leader writes behind fork. */
static uint32_t visible(const struct model *m, uint32_t index, uint32_t fork)
{
    while (index > 0 && !is_write(m, index, fork)) {
        index--;
    }
    return index;
}

static uint32_t fork_of(const struct world *w, const struct replica *r)
{
    return r->is_second ? w->fork : MODEL_ENTRIES_MAX;
}

/* The configuration of a log up to `len`: its index, or that before it. */
static const struct raft_config *config_at(const struct model *m, uint32_t len,
                                           uint32_t fork, raft_index *out_index)
{
    uint32_t i = len < fork ? len : fork;

    while (i > 0 && m->log[i].kind != CONFIG) {
        i--;
    }
    *out_index = i;
    return i == 0 ? &m->initial : &m->log[i].config;
}

static uint64_t len_of(const void *ctx, raft_id id)
{
    const struct world *w = ctx;
    const struct replica *r = &w->r[id - 1];

    /* What lies behind the fork counts only for who follows the second leader. */
    return w->has_second && !r->is_second && r->len > w->fork ? w->fork : r->len;
}

static uint32_t agreed(const struct model *m, const struct world *w)
{
    const struct replica *l = &w->r[w->leader];
    raft_index at;

    return (uint32_t)raft_quorum_written(config_at(m, l->len, fork_of(w, l), &at),
                                         len_of, w);
}

/* ---- the rule, in one state ---- */

static struct quorum_answer answer_in(const struct model *m, const struct world *w,
                                      uint32_t i)
{
    const struct replica *r = &w->r[i];
    uint32_t fork = fork_of(w, r);
    struct quorum_answer a = {.replica = i + 1, .applied = r->applied};
    uint32_t newest = visible(m, r->len, fork);
    uint32_t shown = visible(m, r->applied, fork);

    a.pending = newest > r->applied ? newest : 0;
    a.config = *config_at(m, r->len, fork, &a.config_index);
    a.before = a.config_index == 0
                   ? m->initial
                   : *config_at(m, (uint32_t)a.config_index - 1, fork, &a.before_index);
    a.is_committed = a.config_index <= r->applied;
    a.key_rev = shown == 0 || (shown <= fork && m->log[shown].kind == DEL) ? 0 : shown;
    return a;
}

static void judge(struct model *m, const struct world *w)
{
    uint32_t need = visible(m, w->commit, w->has_second ? w->fork : MODEL_ENTRIES_MAX);

    for (uint32_t set = 1; set < 1u << m->replicas; set++) {
        struct quorum_answer a[MODEL_REPLICAS_MAX];
        struct quorum_question q = {.answers = a};
        struct quorum_decision d;

#ifdef KV_MUTANTS
        q.bug = m->bug;
#endif
        for (uint32_t i = 0; i < m->replicas; i++) {
            if ((set >> i & 1) != 0) {
                a[q.count++] = answer_in(m, w, i);
            }
        }
        d = quorum_decide(&q);
        m->answered += d.verdict == QUORUM_ANSWER;
        m->waited += d.verdict == QUORUM_WAIT;
        m->wrong += (d.verdict == QUORUM_ANSWER && a[d.answer].applied < need) ||
                    (d.verdict == QUORUM_WAIT && d.goal < need);
    }
}

/* ---- steps ---- */

static void step_leader(struct model *m, struct world w)
{
    struct replica *l = &w.r[w.leader];
    raft_index at;

    if (agreed(m, &w) > w.commit && (!w.has_second || agreed(m, &w) > w.fork)) {
        struct world next = w;

        next.commit = agreed(m, &w);
        visit(m, &next);
    }
    if (w.has_second ? l->len < w.fork + m->second : l->len < m->log_count) {
        /* One change at a time, and what is joint is left when it is committed. */
        (void)config_at(m, l->len, fork_of(&w, l), &at);
        if (w.has_second || m->log[l->len + 1].kind != CONFIG || at <= w.commit) {
            l->len++;
            visit(m, &w);
        }
    }
}

static void step_replica(struct model *m, struct world w, uint32_t i)
{
    const struct replica *l = &w.r[w.leader];
    struct world next = w;
    struct replica *r = &next.r[i];

    if (r->applied < r->len && r->applied < w.commit &&
        (!w.has_second || r->is_second || r->applied < w.fork)) {
        r->applied++;
        visit(m, &next);
        next = w;
    }
    if (i == w.leader) {
        return;
    }
    if (w.has_second && !r->is_second) {
        r->is_second = true;
        r->len = r->len > w.fork ? w.fork : r->len;
        visit(m, &next);
    } else if (r->len < l->len) {
        r->len++;
        visit(m, &next);
    }
}

static uint64_t votes_for(const void *ctx, raft_id id)
{
    const struct world *w = ctx;

    return w->r[id - 1].len <= w->fork;
}

/* Another replica is elected, once, by a majority whose logs are not longer. */
static void step_election(struct model *m, struct world w, uint32_t i)
{
    raft_index at;

    if (m->second == 0 || w.has_second || i == w.leader) {
        return;
    }
    w.fork = w.r[i].len;
    if (raft_quorum_majority(config_at(m, w.fork, MODEL_ENTRIES_MAX, &at), votes_for,
                             &w) == 0) {
        return;
    }
    w.has_second = true;
    w.leader = i;
    w.r[i].is_second = true;
    visit(m, &w);
}

static void explore(struct model *m)
{
    struct world w = {0};

    m->seen = calloc(MODEL_STATES, sizeof *m->seen);
    m->stack = calloc(MODEL_STATES, sizeof *m->stack);
    assert_non_null(m->seen);
    assert_non_null(m->stack);
    visit(m, &w);
    while (m->stack_count > 0) {
        w = unpack(m, m->stack[--m->stack_count]);
        judge(m, &w);
        step_leader(m, w);
        for (uint32_t i = 0; i < m->replicas; i++) {
            step_replica(m, w, i);
            step_election(m, w, i);
        }
    }
    free(m->seen);
    free(m->stack);
}

static void add(struct model *m, enum entry_kind kind, struct raft_config config)
{
    m->log[++m->log_count] = (struct model_entry){kind, config};
}

/* ---- the stories ---- */

static const struct raft_config none;

static struct model writes(void)
{
    struct model m = {.replicas = 3, .initial = config_of(3, 2), .second = 2};

    add(&m, PUT, none);
    add(&m, DEL, none);
    add(&m, PUT, none);
    return m;
}

static struct model raises_w(void)
{
    struct model m = {.replicas = 3, .initial = config_of(3, 2), .second = 2};

    add(&m, PUT, none);
    add(&m, CONFIG, joint_of(config_of(3, 3), config_of(3, 2)));
    add(&m, CONFIG, config_of(3, 3));
    add(&m, DEL, none);
    return m;
}

static struct model lowers_w(bool at_once)
{
    struct model m = {.replicas = 3, .initial = config_of(3, 3), .second = 2};

    if (!at_once) {
        add(&m, CONFIG, joint_of(config_of(3, 2), config_of(3, 3)));
    }
    add(&m, CONFIG, config_of(3, 2));
    add(&m, PUT, none);
    return m;
}

static struct model adds_voters(void)
{
    struct model m = {.replicas = 5, .initial = config_of(3, 2)};

    add(&m, CONFIG, joint_of(config_of(5, 3), config_of(3, 2)));
    add(&m, CONFIG, config_of(5, 3));
    add(&m, PUT, none);
    return m;
}

static void assert_right(struct model m)
{
    explore(&m);
    print_message("%llu states, %llu answers, %llu waits\n",
                  (unsigned long long)m.states, (unsigned long long)m.answered,
                  (unsigned long long)m.waited);
    assert_true(m.answered > 100 && m.waited > 20);
    assert_int_equal(m.wrong, 0);
}

static void no_set_of_answers_misses_a_write(void **state)
{
    (void)state;
    assert_right(writes());
    assert_right(raises_w());
    assert_right(lowers_w(false));
    assert_right(adds_voters());
}

/* So the model can tell: without the joint step one replica misses a write. */
static void lowering_w_without_both_quorums_misses_writes(void **state)
{
    struct model m = lowers_w(true);

    (void)state;
    explore(&m);
    assert_true(m.wrong > 0);
}

#ifdef KV_MUTANTS
static uint64_t wrong_with(struct model m, uint32_t bug)
{
    m.bug = bug;
    explore(&m);
    return m.wrong;
}

static void each_planted_bug_misses_writes(void **state)
{
    (void)state;
    assert_true(wrong_with(writes(), KV_BUG_K31) > 0);
    assert_true(wrong_with(writes(), KV_BUG_K32) > 0);
    assert_true(wrong_with(adds_voters(), KV_BUG_K33) > 0);
    assert_true(wrong_with(raises_w(), KV_BUG_K34) > 0);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_highest_applied_index_stands),
        cmocka_unit_test(a_pending_entry_has_to_be_applied_first),
        cmocka_unit_test(r_and_w_must_overlap),
        cmocka_unit_test(answers_of_two_configurations_do_not_count_together),
        cmocka_unit_test(a_joint_configuration_needs_both_halves),
        cmocka_unit_test(no_set_of_answers_misses_a_write),
        cmocka_unit_test(lowering_w_without_both_quorums_misses_writes),
#ifdef KV_MUTANTS
        cmocka_unit_test(each_planted_bug_misses_writes),
#endif
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/quorum_read", tests, NULL, NULL);
}
