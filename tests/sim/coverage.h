/* tests/sim/coverage.h - how often each thing happened that a run should make happen.
 *
 * Coverage of what the generator does, not of lines of code: messages, events of the
 * core, disk jobs, methods and error words. Everything is counted where it is seen;
 * the counters of sim.h and faults.h are rows of the same table. A row that stays zero
 * in a large run fails it, unless the table of exceptions in coverage.c says why.
 *
 * Needs:    raft/raft.h, rpc/msg.h, rpc/peer.h, server/disk.h.
 * Used by:  tests/sim/.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_COVERAGE_H
#define KV_TESTS_SIM_COVERAGE_H

#include <stdio.h>

#include "raft/raft.h"
#include "rpc/msg.h"
#include "rpc/peer.h"
#include "server/disk.h"

enum {
    COVER_EVENTS = RAFT_EV_STATE_LOST + 1,
    COVER_ERRORS = KV_ERR_LAST - KV_ERR_FIRST + 1,
    COVER_ROLES = RAFT_LEADER + 1,
};

/* Things that have no list of their own. X(name) */
#define SIM_COVER_MAP(X)                                                       \
    X(term_change)                                                             \
    X(leader_elected)                                                          \
    X(leader_lost)      /* It follows, or asks again. */                       \
    X(pre_vote_failed)  /* Asked around and went back to following. */         \
    X(election_failed)  /* Campaigned and went back to following. */           \
    X(entries_replaced) /* A follower cut its log. */                          \
    X(append_rejected)                                                         \
    X(commit_by_restart) /* A process began with a commit index. */            \
    X(snapshot_wanted)                                                         \
    X(snapshot_made)                                                           \
    X(snapshot_sent)                                                           \
    X(snapshot_installed)                                                      \
    X(snapshot_failed)                                                         \
    X(snapshot_resumed) /* A chunk was asked for again, from the middle. */    \
    X(snapshot_late)    /* Refused: the log has it all. */                     \
    X(log_compacted)                                                           \
    X(config_joint)      /* A leader entered a joint configuration. */         \
    X(config_left)       /* and left it. */                                    \
    X(config_learner)    /* A voter became a learner. */                       \
    X(config_voter)      /* A learner became a voter. */                       \
    X(config_w)          /* W changed. */                                      \
    X(config_rollback)   /* An adopted configuration was dropped. */           \
    X(leader_demoted)    /* A leader stepped down: it has no vote any more. */ \
    X(transfer_campaign) /* The old leader asked for it. */                    \
    X(peer_down_hint)                                                          \
    X(read_at_once)                                                            \
    X(read_failed)                                                             \
    X(impaired)        /* A replica found damage in its log */                 \
    X(impaired_healed) /* and was whole again. */                              \
    X(state_lost)

/* Only counters: coverage_add() relies on it. */
struct sim_cover {
    uint64_t sent[RAFT_MSG_TYPES_COUNT];
    uint64_t heard[RAFT_MSG_TYPES_COUNT];
    uint64_t event[COVER_EVENTS];
    uint64_t step_error[COVER_ERRORS]; /* Of raft_step(). */
    uint64_t role[COVER_ROLES];        /* Became it. */
    uint64_t frame[PEER_KINDS_END];
    uint64_t job[DISK_KINDS_COUNT];
    uint64_t job_error[COVER_ERRORS];
    uint64_t method[RPC_METHODS_COUNT];
    uint64_t reply_error[COVER_ERRORS]; /* Words to clients. */
#define COVER_FIELD(name) uint64_t name;
    SIM_COVER_MAP(COVER_FIELD)
#undef COVER_FIELD
};

/* Counts an error code in one of the tables; others than KV_E* are left out. */
static inline void cover_error(uint64_t *table, int code)
{
    if (code >= KV_ERR_FIRST && code <= KV_ERR_LAST) {
        table[code - KV_ERR_FIRST]++;
    }
}

struct sim_counts;

void coverage_add(struct sim_cover *total, const struct sim_cover *one);
/* Writes "kind<TAB>name<TAB>count<TAB>note" per row. */
void coverage_write(FILE *out, const struct sim_counts *counts,
                    const struct sim_cover *cover);
/* Prints the rows that are zero and must not be; returns how many. */
uint32_t coverage_zero_rows(FILE *out, const struct sim_counts *counts,
                            const struct sim_cover *cover);

#endif
