/* server/quorum_read.c - counts answers, compares X with P. */
#include "server/quorum_read.h"

#include "raft/base/check.h"

/* Who is counted together: bit i for answers[i]. */
typedef uint32_t quorum_set;

_Static_assert(RAFT_REPLICAS_MAX <= 32, "a bit for each replica");

/* ---- configurations ---- */

static uint32_t w_of(const struct raft_config *c)
{
    return quorum_w_of(c->voters_count, c->w);
}

static uint32_t w_old_of(const struct raft_config *c)
{
    return quorum_w_of(c->voters_old_count, c->w_old);
}

static bool lists(const raft_id *ids, uint32_t count, raft_id id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool same_config(const struct raft_config *a, const struct raft_config *b)
{
    return a->voters_count == b->voters_count &&
           a->voters_old_count == b->voters_old_count && w_of(a) == w_of(b) &&
           w_old_of(a) == w_old_of(b) &&
           memcmp(a->voters, b->voters, a->voters_count * sizeof a->voters[0]) == 0 &&
           memcmp(a->voters_old, b->voters_old,
                  a->voters_old_count * sizeof a->voters_old[0]) == 0;
}

/* Do both name one configuration, at one place of the log, after the same one? */
static bool agrees(const struct quorum_answer *a, const struct quorum_answer *b)
{
    if (a->config_index != b->config_index || !same_config(&a->config, &b->config)) {
        return false;
    }
    return a->is_committed || b->is_committed ||
           (a->before_index == b->before_index && same_config(&a->before, &b->before));
}

static uint32_t r_of(uint32_t voters_count, uint32_t w)
{
    return voters_count == 0 ? 0 : voters_count - w + 1;
}

uint32_t quorum_r_least(const struct raft_config *c)
{
    return KV_MAX(r_of(c->voters_count, w_of(c)),
                  r_of(c->voters_old_count, w_old_of(c)));
}

/* ---- counting ---- */

static uint32_t voters_in(const struct quorum_question *q, quorum_set set,
                          const raft_id *voters, uint32_t count)
{
    uint32_t have = 0;

    for (uint32_t i = 0; i < q->count; i++) {
        have += (set >> i & 1) != 0 && lists(voters, count, q->answers[i].replica);
    }
    return have;
}

/* Did so many of each half answer that none of its writes was missed? */
static bool suffices(const struct quorum_question *q, quorum_set set,
                     const struct raft_config *c)
{
    return voters_in(q, set, c->voters, c->voters_count) >=
               r_of(c->voters_count, w_of(c)) &&
           (KV_BUG(*q, K34) || voters_in(q, set, c->voters_old, c->voters_old_count) >=
                                   r_of(c->voters_old_count, w_old_of(c)));
}

/* The answers that name the same configuration as answers[at]. */
static quorum_set set_of(const struct quorum_question *q, uint32_t at,
                         bool *out_committed)
{
    quorum_set set = 0;

    *out_committed = false;
    for (uint32_t i = 0; i < q->count; i++) {
        if (agrees(&q->answers[at], &q->answers[i]) || KV_BUG(*q, K33)) {
            set |= (quorum_set)1 << i;
            *out_committed = *out_committed || q->answers[i].is_committed;
        }
    }
    return set;
}

static bool is_enough(const struct quorum_question *q, uint32_t at, quorum_set set,
                      bool committed)
{
    const struct quorum_answer *a = &q->answers[at];

    return suffices(q, set, &a->config) &&
           (committed || KV_BUG(*q, K34) || suffices(q, set, &a->before)) &&
           voters_in(q, set, a->config.voters, a->config.voters_count) >=
               KV_MIN(q->r, a->config.voters_count);
}

/* ---- deciding ---- */

/* r against the newest configuration that was named. */
static bool refuses(const struct quorum_question *q, struct quorum_decision *out)
{
    const struct quorum_answer *newest = &q->answers[0];

    for (uint32_t i = 1; i < q->count; i++) {
        if (q->answers[i].config_index > newest->config_index) {
            newest = &q->answers[i];
        }
    }
    out->r_least = quorum_r_least(&newest->config);
    if (!newest->is_committed) {
        out->r_least = KV_MAX(out->r_least, quorum_r_least(&newest->before));
    }
    out->r_most = newest->config.voters_count;
    return q->r != 0 && (q->r < out->r_least || q->r > out->r_most);
}

/* Of those in the set: who has applied most; what is pending at most. */
static uint32_t newest_of(const struct quorum_question *q, quorum_set set,
                          raft_index *out_pending)
{
    uint32_t best = UINT32_MAX;

    *out_pending = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_answer *a = &q->answers[i];

        if ((set >> i & 1) == 0) {
            continue;
        }
        *out_pending = KV_MAX(*out_pending, a->pending);
        if (best == UINT32_MAX ||
            (KV_BUG(*q, K32) ? a->key_rev > q->answers[best].key_rev
                             : a->applied > q->answers[best].applied)) {
            best = i;
        }
    }
    KV_ASSERT(best != UINT32_MAX);
    return best;
}

struct quorum_decision quorum_decide(const struct quorum_question *q)
{
    struct quorum_decision d = {.verdict = QUORUM_MORE};
    raft_index pending;
    quorum_set set;
    bool committed;

    KV_ASSERT(q->count <= RAFT_REPLICAS_MAX);
    if (q->count == 0) {
        return d;
    }
    if (refuses(q, &d)) {
        d.verdict = QUORUM_REFUSE;
        return d;
    }
    /* Who has applied what enough of them had between them knows it all. */
    set = (quorum_set)(((uint64_t)1 << q->count) - 1);
    d.answer = newest_of(q, set, &pending);
    if (q->goal != 0 && q->answers[d.answer].applied >= q->goal) {
        d.verdict = QUORUM_ANSWER;
        return d;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        set = set_of(q, i, &committed);
        if (!is_enough(q, i, set, committed)) {
            continue;
        }
        d.answer = newest_of(q, set, &pending);
        if (pending <= q->answers[d.answer].applied || KV_BUG(*q, K31)) {
            d.verdict = QUORUM_ANSWER;
            return d;
        }
        d.verdict = QUORUM_WAIT;
        d.goal = pending;
        return d;
    }
    return d;
}
