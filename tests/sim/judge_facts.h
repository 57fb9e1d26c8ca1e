/* tests/sim/judge_facts.h - what the judge remembers for ever, by term and by index.
 *
 * Needs:    tests/sim/judge.h.
 * Used by:  tests/sim/judge*.c only.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_JUDGE_FACTS_H
#define KV_TESTS_SIM_JUDGE_FACTS_H

#include "tests/sim/judge.h"

struct judge_term {
    uint8_t leader;                         /* 0: none so far. */
    uint8_t granted[JUDGE_NODES_MAX + 1];   /* By voter: whom its reply favoured. */
    uint8_t vote_disk[JUDGE_NODES_MAX + 1]; /* By voter: whom its disk favoured. */
};

struct judge_entry {
    raft_term term; /* Of the first entry that was seen at this index; 0: none. */
    uint64_t hash;
    uint64_t committed;    /* Chain hash of the committed one; 0: not yet. */
    raft_term commit_term; /* Of the first replica that knew it committed. */
    uint64_t state_hash;   /* Of the state once it was applied. */
    bool applied;          /* state_hash is known. */
};

struct judge_more {
    struct raft_pos pos;
    uint64_t hash;
};

/* A configuration that some log holds. */
struct judge_conf {
    raft_index index;
    uint64_t hash; /* Chain hash of its entry; 0 for the initial one. */
    struct raft_config config;
};

/* Facts of a term or an index; made when they are new. NULL: out of all bounds, which
 * is noted as a violation. */
struct judge_term *judge_term_of(struct judge *j, uint32_t group, raft_term term);
struct judge_entry *judge_entry_of(struct judge *j, uint32_t group, raft_index index);

/* 3. An entry was seen. */
void judge_entry_seen(struct judge *j, uint32_t node, uint32_t group,
                      struct raft_pos pos, uint64_t hash);
/* 5. An entry is committed. */
void judge_entry_committed(struct judge *j, const struct judge_view *v,
                           raft_index index, uint64_t hash);
/* 10. A configuration is in force. */
void judge_conf_seen(struct judge *j, uint32_t node, uint32_t group, raft_index index,
                     uint64_t hash, const struct raft_config *config);

/* 9. No quorum of this configuration could do without the committed entries. */
void judge_quorums(struct judge *j, uint32_t group, const struct raft_config *c);
/* 8. The write quorum of both halves holds `index`. */
void judge_written(struct judge *j, uint32_t node, uint32_t group, raft_index index,
                   const struct raft_config *c);
/* 7, 8. A message that a step sends. */
void judge_sent(struct judge *j, const struct judge_view *v, const struct raft_msg *m);

/* The same in every field. */
bool judge_config_same(const struct raft_config *a, const struct raft_config *b);

/* ---- judge_lead.c ---- */

/* 13. Time alone does not raise a term. */
void judge_stands(struct judge *j, const struct judge_view *v,
                  const struct judge_last *p, const struct raft_event *ev);
/* 8. What a leader takes a peer to hold is on its disk. */
void judge_trusts(struct judge *j, const struct judge_view *v, struct judge_last *p,
                  const struct raft_event *ev);
/* 13. A leader without its quorum steps down. */
void judge_leads(struct judge *j, const struct judge_view *v, struct judge_last *p,
                 const struct raft_event *ev);

#endif
