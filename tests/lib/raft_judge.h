/* tests/lib/raft_judge.h - sees all replicas at once and checks Raft's promises.
 *
 * One replica cannot see that two of them lead, or that a committed entry is gone.
 * The judge remembers every leader, entry, vote and commit of a run and stops the
 * test (an assertion, with the line number as the verdict) at the first step that
 * breaks a promise. The numbers are those of reliability.md 4.1.
 *
 * Needs:    tests/lib/raft_disk.h.
 * Used by:  tests/lib/raft_cluster.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_LIB_RAFT_JUDGE_H
#define KV_TESTS_LIB_RAFT_JUDGE_H

#include "tests/lib/raft_disk.h"

enum {
    RAFT_JUDGE_TERMS_MAX = 4096,
    RAFT_JUDGE_INDEXES_MAX = 8192,
    RAFT_JUDGE_VERSIONS_MAX = 8, /* Different entries seen at one index. */
    RAFT_JUDGE_REPLICAS_MAX = 32,
};

struct raft_judge {
    raft_id leaders[RAFT_JUDGE_TERMS_MAX]; /* By term; 0: none seen. */
    raft_term leader_max;                  /* The newest term that had a leader. */
    raft_id votes[RAFT_JUDGE_TERMS_MAX][RAFT_JUDGE_REPLICAS_MAX]; /* By term, voter. */
    struct raft_judge_version {
        raft_term term;
        uint64_t hash;
    } versions[RAFT_JUDGE_INDEXES_MAX][RAFT_JUDGE_VERSIONS_MAX];
    uint64_t committed[RAFT_JUDGE_INDEXES_MAX]; /* Hashes. */
    raft_term committed_term[RAFT_JUDGE_INDEXES_MAX];
    raft_index commit_max; /* Highest index that anybody knew committed. */
    /* Turned off by scenarios that break the rules on purpose. */
    bool forgiving;
};

/* An entry was appended to some log (3: log matching). */
void raft_judge_entry(struct raft_judge *j, const struct raft_entry *e);

/* A replica replaces its log from `from` on (9: what is committed is never lost by a
 * replica that had it). */
void raft_judge_store(struct raft_judge *j, const struct raft_disk_log *log,
                      raft_index from);

/* A replica became the leader of `term` (1: election safety, 4: completeness). */
void raft_judge_leader(struct raft_judge *j, raft_id id, raft_term term,
                       const struct raft_disk_log *log);

/* A replica moved its commit index (5: state machine safety). Returns true when no
 * replica had come so far before. */
bool raft_judge_commit(struct raft_judge *j, const struct raft_disk_log *log,
                       raft_index from, raft_index to);

/* A message left a replica with this disk (8: nothing is said before it is durable). */
void raft_judge_message(struct raft_judge *j, const struct raft_msg *m,
                        const struct raft_disk *disk);

#endif
