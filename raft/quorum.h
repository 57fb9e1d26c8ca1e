/* raft/quorum.h - who has to agree: majorities, write quorums, joint halves.
 *
 * Arithmetic over a configuration and one number per voter. It knows nothing of
 * terms, logs or messages, so that it can be compared with a naive version.
 *
 * Needs:    raft/types.h.
 * Used by:  election.c, replication.c, read.c, config.c, record.c.
 * Threads:  any.
 * Source:   §5.2, §5.3, §6; diss. §4.3 for joint configurations.
 */
#ifndef KV_RAFT_QUORUM_H
#define KV_RAFT_QUORUM_H

#include "raft/types.h"

/* The number that voter `id` stands at: the index it holds, the round it answered. */
typedef uint64_t raft_quorum_fn(const void *ctx, raft_id id);

/* The fewest voters of which any two such groups share one (§5.2). */
static inline uint32_t raft_quorum_majority_of(uint32_t voters_count)
{
    return voters_count / 2 + 1;
}

/* The write quorum of voters[]: w, or the majority where w is 0. */
uint32_t raft_quorum_w(const struct raft_config *c);

/* The write quorum of voters_old[]; 0 without a second half. */
uint32_t raft_quorum_w_old(const struct raft_config *c);

/* True when `id` is one of the `count` ids. */
static inline bool raft_quorum_lists(const raft_id *ids, uint32_t count, raft_id id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* True when `id` votes in either half. */
bool raft_quorum_votes(const struct raft_config *c, raft_id id);

/* True when `id` is a voter of either half or a learner. */
bool raft_quorum_member(const struct raft_config *c, raft_id id);

/* The highest number that the write quorum of each half has reached; 0 without
 * voters. Source: Figure 2, "Rules for Servers / Leaders", last rule, with W in
 * place of the majority. The caller still checks the term (§5.4.2). */
uint64_t raft_quorum_written(const struct raft_config *c, raft_quorum_fn *fn,
                             const void *ctx);

/* The highest number that a majority of each half has reached; 0 without voters.
 * For votes, rounds of confirmation and signs of life. */
uint64_t raft_quorum_majority(const struct raft_config *c, raft_quorum_fn *fn,
                              const void *ctx);

#endif
