/* raft/quorum.c - the k-th largest of few numbers, in each half. */
#include "raft/quorum.h"

#include "raft/base/check.h"

uint32_t raft_quorum_w(const struct raft_config *c)
{
    return c->w != 0 ? c->w : raft_quorum_majority_of(c->voters_count);
}

uint32_t raft_quorum_w_old(const struct raft_config *c)
{
    if (c->voters_old_count == 0) {
        return 0;
    }
    return c->w_old != 0 ? c->w_old : raft_quorum_majority_of(c->voters_old_count);
}

bool raft_quorum_votes(const struct raft_config *c, raft_id id)
{
    return raft_quorum_lists(c->voters, c->voters_count, id) ||
           raft_quorum_lists(c->voters_old, c->voters_old_count, id);
}

bool raft_quorum_member(const struct raft_config *c, raft_id id)
{
    return raft_quorum_votes(c, id) ||
           raft_quorum_lists(c->learners, c->learners_count, id);
}

/* The `need`-th largest number among the voters: `need` of them stand at least
 * there. */
static uint64_t half_value(const raft_id *voters, uint32_t count, uint32_t need,
                           raft_quorum_fn *fn, const void *ctx)
{
    uint64_t sorted[RAFT_REPLICAS_MAX];

    KV_ASSERT(count <= RAFT_REPLICAS_MAX);
    KV_ASSERT(need >= 1 && need <= count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = fn(ctx, voters[i]);
        uint32_t at = i;

        while (at > 0 && sorted[at - 1] < value) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = value;
    }
    return sorted[need - 1];
}

/* Joint: agreement needs both halves, never the union of them (diss. §4.3). */
static uint64_t both_halves(const struct raft_config *c, const uint32_t need[2],
                            raft_quorum_fn *fn, const void *ctx)
{
    uint64_t value;

    if (c->voters_count == 0) {
        return 0;
    }
    value = half_value(c->voters, c->voters_count, need[0], fn, ctx);
    if (c->voters_old_count > 0) {
        uint64_t old = half_value(c->voters_old, c->voters_old_count, need[1], fn, ctx);

        value = KV_MIN(value, old);
    }
    return value;
}

uint64_t raft_quorum_written(const struct raft_config *c, raft_quorum_fn *fn,
                             const void *ctx)
{
    const uint32_t need[2] = {raft_quorum_w(c), raft_quorum_w_old(c)};

    return both_halves(c, need, fn, ctx);
}

uint64_t raft_quorum_majority(const struct raft_config *c, raft_quorum_fn *fn,
                              const void *ctx)
{
    const uint32_t need[2] = {raft_quorum_majority_of(c->voters_count),
                              raft_quorum_majority_of(c->voters_old_count)};

    return both_halves(c, need, fn, ctx);
}
