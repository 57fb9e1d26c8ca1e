/* jepsen/nemesis/plan.h - reads a nemesis text, and says what happens when. Pure.
 *
 * Time is cut into periods. In each, every kind of the text has one fault: it begins
 * in the first quarter, and lasts a quarter to a half, so that the last quarter is
 * quiet; or it begins with the period and lasts fault_ms. With "swarm" a period draws
 * one to three of the kinds, or, a quarter of the time, none.
 *
 * Needs:    jepsen/nemesis/nemesis.h, raft/base/prng.h.
 * Used by:  jepsen/nemesis/nemesis.c.
 * Threads:  one owner.
 */
#ifndef KV_JEPSEN_NEMESIS_PLAN_H
#define KV_JEPSEN_NEMESIS_PLAN_H

#include "jepsen/nemesis/nemesis.h"
#include "raft/base/prng.h"

enum {
    PLAN_ITEMS_MAX = 24,
    PLAN_WORD_BYTES = 32,
    PLAN_INTERVAL_MS = 10000,
    PLAN_SWARM_MAX = 3, /* Kinds at a time. */
};

/* A kind of the text; word "": any of its targets. */
struct plan_item {
    uint32_t kind; /* Number in the registry. */
    char word[PLAN_WORD_BYTES];
};

/* A fault of the present period. */
struct plan_fault {
    uint32_t kind;
    uint32_t number;
    uint64_t seed; /* Of its own choices. */
    char word[PLAN_WORD_BYTES];
    uint64_t begin_ms;
    uint64_t end_ms;
    bool begun; /* Handed out, as the next. */
    bool ended;
};

struct plan {
    struct plan_item items[PLAN_ITEMS_MAX];
    uint32_t items_count;
    bool swarm;
    uint32_t interval_ms;
    uint32_t fault_ms; /* 0: drawn. */
    struct prng prng;
    uint64_t period;                          /* Periods begun. */
    uint32_t numbers;                         /* Faults so far. */
    struct plan_fault faults[PLAN_ITEMS_MAX]; /* Of this period. */
    uint32_t faults_count;
};

/* Reads the text. 0, or KV_EINVAL with the reason in `error`. */
KV_MUST_CHECK int plan_init(struct plan *p, const struct nemesis_options *o,
                            char *error);

/* The next beginning or end, in order of time; *out_begins says which. Returns the
 * place in `faults`, which holds until that fault's end was handed out; -1: never. */
int plan_next(struct plan *p, bool *out_begins);

/* The i-th of a list of words with blanks between; false when there are fewer. */
bool plan_word(const char *words, uint32_t i, char out[PLAN_WORD_BYTES]);

#endif
