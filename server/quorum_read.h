/* server/quorum_read.h - what R answers say together: a value, wait, or ask more.
 *
 * The rule of quorum reads, as a function of the answers and nothing else.
 *
 *   Each replica answers with the key as it stands at its applied index, the highest
 *   entry behind that which touches the key (its pending one), and its configuration.
 *   Answers that name one configuration count together. They are enough when in each
 *   half of it more voters answered than can miss a write: R > N - W. Until one of
 *   them knows that configuration to be committed, the same holds for its predecessor.
 *   With X the highest applied index and P the highest pending one: P <= X, and the
 *   answer at X stands; else somebody has to apply P first.
 *
 * Why: a write that was acknowledged before is durable on W voters of a configuration
 * that was in force. One of them answered, and has it applied (X covers it) or pending
 * (P does). A newer configuration that is committed would be in the log of one of
 * them, which then would not name this one. A value that was returned was applied
 * somewhere, so it is committed, so W voters hold it as well. The applied index
 * decides, not the revision: a deleted key has none.
 *
 * Needs:    raft/types.h, raft/base/bug.h.
 * Used by:  server/quorum.c.
 * Threads:  any.
 * Source:   design: quorum reads; W + R > N as in Gifford's weighted voting.
 */
#ifndef KV_SERVER_QUORUM_READ_H
#define KV_SERVER_QUORUM_READ_H

#include "raft/base/bug.h"
#include "raft/types.h"

/* What one replica said. */
struct quorum_answer {
    raft_id replica;
    raft_index applied;
    raft_index pending; /* 0: none. */
    raft_index config_index;
    raft_index before_index;
    struct raft_config config; /* In force there. */
    struct raft_config before; /* Its predecessor, */
    bool is_committed;         /* unless it knows `config` to be committed. */
    uint64_t key_rev;          /* 0: no such key. */
};

struct quorum_question {
    const struct quorum_answer *answers; /* At most one of each replica. */
    uint32_t count;
    uint32_t r;      /* As asked for; 0: as few as are enough. */
    raft_index goal; /* The P that enough answers named before; 0: none did yet. */
#ifdef KV_MUTANTS
    uint32_t bug; /* Planted (raft/base/bug.h); 0. */
#endif
};

enum quorum_verdict {
    QUORUM_MORE,   /* More or other answers are needed. */
    QUORUM_ANSWER, /* answers[out.answer] stands. */
    QUORUM_WAIT,   /* Until somebody has applied out.goal. */
    QUORUM_REFUSE, /* r cannot be: out.r_least, out.r_most. */
};

struct quorum_decision {
    enum quorum_verdict verdict;
    uint32_t answer;
    raft_index goal;
    uint32_t r_least;
    uint32_t r_most;
};

struct quorum_decision quorum_decide(const struct quorum_question *q);

/* The write quorum of so many voters: w, 0 stands for the majority. */
static inline uint32_t quorum_w_of(uint32_t voters_count, uint32_t w)
{
    return w != 0 || voters_count == 0 ? w : voters_count / 2 + 1;
}

/* The smallest R for a configuration: of the half that needs most. */
uint32_t quorum_r_least(const struct raft_config *c);

#endif
