/* tests/sim/judge.h - the invariants, as a function of what was observed.
 *
 * The judge is told what a replica looks like after each step of its core, what the
 * step was and what it asked for, and looks at disks through a table of functions. It
 * keeps what has to hold for ever (who led a term, what was committed) and says which
 * invariant was broken first, by number and name. It knows no cluster, so that a test
 * can hand it any story (tests/sim/test_judge.c).
 *
 * Needs:    raft/raft.h, storage/store.h.
 * Used by:  tests/sim/watch.c, check.c, run.c.
 * Threads:  one.
 * Source:   Raft paper Figure 3 and §5-§8; tests/sim/README.md lists the numbers.
 */
#ifndef KV_TESTS_SIM_JUDGE_H
#define KV_TESTS_SIM_JUDGE_H

#include "raft/raft.h"
#include "storage/store.h"

enum {
    JUDGE_NODES_MAX = 7,
    JUDGE_GROUPS_MAX = 65,
    JUDGE_TERMS_MAX = 1000000, /* Of one group; more is a broken bound (16). */
    JUDGE_READS = 128,         /* Rounds of reads under way, as in the server. */
};

/* X(number, name, text) */
#define JUDGE_MAP(X)                                                          \
    X(1, JUDGE_ELECTION, "election safety")                                   \
    X(2, JUDGE_APPEND_ONLY, "leader append-only")                             \
    X(3, JUDGE_LOG_MATCHING, "log matching")                                  \
    X(4, JUDGE_COMPLETENESS, "leader completeness")                           \
    X(5, JUDGE_STATE_MACHINE, "state machine safety")                         \
    X(6, JUDGE_ORDER, "order of indexes")                                     \
    X(7, JUDGE_TERM_VOTE, "one vote per term, terms only grow")               \
    X(8, JUDGE_DURABLE, "durable before it is said")                          \
    X(9, JUDGE_QUORUMS, "every quorum holds what is committed")               \
    X(10, JUDGE_CONFIG, "one configuration change at a time")                 \
    X(11, JUDGE_READ, "a read sees what was committed before it")             \
    X(12, JUDGE_ONCE, "exactly once")                                         \
    X(13, JUDGE_LIVENESS, "liveness")                                         \
    X(14, JUDGE_STRANGERS, "only members are heard")                          \
    X(15, JUDGE_DETERMINISM, "determinism")                                   \
    X(16, JUDGE_BOUNDS, "bounded resources")                                  \
    X(17, JUDGE_LINEAR, "linearizability")                                    \
    X(18, JUDGE_HEALTH, "a node works: it starts, answers well, never halts") \
    X(19, JUDGE_WATCHES, "a watch tells each change once")                    \
    X(20, JUDGE_LOCK, "a lock is held as long as was promised, and fences")

enum judge_number {
    JUDGE_NOTHING = 0,
#define JUDGE_ENUM(number, name, text) name = (number),
    JUDGE_MAP(JUDGE_ENUM)
#undef JUDGE_ENUM
    JUDGE_NUMBERS_END,
};

/* "election safety"; "?" for what is no number. */
const char *judge_name(enum judge_number number);

/* How the judge looks at logs. Nodes and replicas have the same numbers here. */
struct judge_eyes {
    void *ctx;
    /* An entry of a running replica's log. Errors of raft_meta_get(). */
    int (*log)(void *ctx, uint32_t node, uint32_t group, raft_index index,
               struct raft_meta *out);
    /* The same on its disk, also while it is down. */
    int (*disk)(void *ctx, uint32_t node, uint32_t group, raft_index index,
                struct raft_meta *out);
    /* Term and vote on its disk, and the like. Errors of log_load. */
    int (*head)(void *ctx, uint32_t node, uint32_t group, struct log_state *out);
    /* Up to where the checkpoint on its disk reaches. */
    raft_index (*checkpoint)(void *ctx, uint32_t node, uint32_t group);
    /* It lost its disk: nobody lets it vote, so no quorum contains it. */
    bool (*is_lost)(void *ctx, uint32_t node);
};

/* One replica after a step. */
struct judge_view {
    uint32_t node, group;
    uint64_t life; /* Of the process; grows with each start. */
    struct raft_status st;
    const struct raft_config *config; /* In force. */
    raft_index config_index;
    struct raft_base applied; /* What the state has applied, */
    uint64_t state_hash;      /* and what it then is; */
    bool state_is_broken;     /* but a part of the next entry may be in it. */
};

/* What a bound says. */
struct judge_bound {
    const char *name;
    uint64_t value, most;
};

struct judge_term;
struct judge_entry;
struct judge_more;
struct judge_conf;

/* What is remembered of one replica: its last view, and what is known durable. */
struct judge_last {
    uint64_t life; /* 0: never seen. */
    enum raft_role role;
    raft_term term;
    raft_id vote;
    struct raft_pos last;
    uint64_t last_hash;
    raft_index commit, applied, config_index;
    struct raft_config config;
    uint64_t leads_ms; /* Leaders: since when with these voters, by its own clock. */
    raft_term term_durable; /* Seen on its disk, or told as durable. */
    raft_id vote_durable;
    raft_index match; /* Found on the disk with match_hash; 0 none. */
    uint64_t match_hash;
    /* Leaders: what each peer was last taken to hold, in which term. */
    raft_term trusted_term[JUDGE_NODES_MAX + 1];
    raft_index trusted_match[JUDGE_NODES_MAX + 1];
    uint64_t read_tag[JUDGE_READS];
    raft_index read_least[JUDGE_READS]; /* commit_max when it was asked for, */
    raft_term read_term[JUDGE_READS];   /* and the newest term that had a leader. */
    uint64_t read_step[JUDGE_READS];    /* When it was, in steps judged; */
    uint64_t read_newest;               /* of those confirmed: the newest. */
};

struct judge_group {
    struct judge_term *terms;
    size_t terms_cap;
    struct judge_entry *entries;
    size_t entries_cap;
    struct judge_more *more; /* Entries at an index that had another term before. */
    size_t more_count, more_cap;
    struct judge_conf *confs;
    size_t confs_count, confs_cap;
    raft_index commit_max; /* Highest commit index that any replica ever had. */
    raft_term leader_term; /* Of the newest leader, */
    raft_index config_index;
    struct raft_config config; /* and its configuration. */
    raft_term sent_term[JUDGE_NODES_MAX + 1][JUDGE_NODES_MAX + 1]; /* [from][to] */
    uint32_t sent_types[JUDGE_NODES_MAX + 1][JUDGE_NODES_MAX + 1]; /* Bits. */
    struct judge_last *last; /* By node; NULL until the group is seen. */
};

struct judge {
    struct judge_eyes eyes;
    uint32_t nodes_count;
    enum judge_number violated; /* The first one; JUDGE_NOTHING while all is well. */
    char why[400];
    uint64_t leaders; /* Terms that had one. */
    uint64_t commits; /* Times that commit_max moved. */
    uint64_t checked; /* Steps judged. */
    struct judge_group groups[JUDGE_GROUPS_MAX];
};

/* ---- life ---- */

void judge_init(struct judge *j, const struct judge_eyes *eyes, uint32_t nodes_count);
void judge_close(struct judge *j);

/* ---- observations ---- */

/* Notes a violation, unless there was one before. */
void judge_fail(struct judge *j, enum judge_number number, const char *format, ...)
    KV_PRINTF(3, 4);
/* A process starts over what is on its disk. */
void judge_start(struct judge *j, uint32_t node, uint32_t group, uint64_t life);
/* A step of a core: what went in, what came out, how the replica looks now. */
void judge_step(struct judge *j, const struct judge_view *v,
                const struct raft_event *ev, const struct raft_update *up, int rc);
/* A process ended, or a disk changed behind its back. */
void judge_crash(struct judge *j, uint32_t node);
/* A client got the answer to a read: revision `rev` of `group`, asked for when
 * commit_max was `least`. */
void judge_reply(struct judge *j, uint32_t group, raft_index rev, raft_index least);
/* The leader of `term` answered; the newest one when it was asked led `least`. */
void judge_reply_term(struct judge *j, uint32_t group, raft_term term, raft_term least);
/* `node` answered a read that was asked for after `asked` steps. */
void judge_reply_round(struct judge *j, uint32_t group, uint32_t node, uint64_t asked);
/* Values that must not be above their bounds. */
void judge_bounds(struct judge *j, uint32_t node, uint32_t group,
                  const struct judge_bound *bounds, size_t count);

/* ---- questions ---- */

static inline raft_index judge_commit_max(const struct judge *j, uint32_t group)
{
    return j->groups[group].commit_max;
}

static inline raft_term judge_leader_term(const struct judge *j, uint32_t group)
{
    return j->groups[group].leader_term;
}

/* Chain hash of the entry that was committed at `index`; 0: not known. */
uint64_t judge_committed(const struct judge *j, uint32_t group, raft_index index);

#endif
