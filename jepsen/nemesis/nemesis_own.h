/* jepsen/nemesis/nemesis_own.h - inside of a nemesis: its faults and what they do.
 *
 * Needs:    jepsen/nemesis/plan.h, targets.h, jepsen/env/faults.h.
 * Used by:  the other files of jepsen/nemesis.
 * Threads:  the nemesis's owner.
 */
#ifndef KV_JEPSEN_NEMESIS_NEMESIS_OWN_H
#define KV_JEPSEN_NEMESIS_NEMESIS_OWN_H

#include "jepsen/nemesis/plan.h"
#include "jepsen/nemesis/targets.h"

enum {
    NEMESIS_POINTS_MAX = 256, /* Failpoints of a kvd. */
};

/* A fault under way. */
struct nemesis_fault {
    const struct nemesis_action *action;
    struct prng prng; /* Of its own choices. */
    char word[PLAN_WORD_BYTES];
    uint32_t mask; /* Nodes that it concerns. */
    bool begun;    /* And not ended. */
};

/* What a kind does. Both set out->value, and where they fail out->why; true: the
 * probe saw the effect. `end` takes back what `begin` did and nothing else. */
struct nemesis_action {
    struct nemesis_kind kind;
    const char *f_begin;
    const char *f_end;
    bool (*begin)(struct nemesis *n, struct nemesis_fault *f,
                  struct nemesis_outcome *out);
    bool (*end)(struct nemesis *n, struct nemesis_fault *f,
                struct nemesis_outcome *out);
};

struct nemesis {
    struct cluster *c;
    uint32_t nodes;
    struct plan plan;
    struct nemesis_fault faults[PLAN_ITEMS_MAX]; /* By place in the plan. */
    struct nemesis_summary sum;
    uint64_t kinds_proven;   /* Bit per item of the plan's text. */
    uint32_t damaged;        /* Nodes. */
    uint32_t victims;        /* The minority whose files may be damaged; fixed. */
    struct fault_grudge cut; /* In force; one partition at a time. */
    bool shaping;            /* A fault has shaped links; only one may at a time. */
    bool points_hit[NEMESIS_POINTS_MAX]; /* By place in kvd's list. */
};

extern const struct nemesis_action nemesis_partition;
extern const struct nemesis_action nemesis_packet;
extern const struct nemesis_action nemesis_slow_link;
extern const struct nemesis_action nemesis_kill;
extern const struct nemesis_action nemesis_term;
extern const struct nemesis_action nemesis_pause;
extern const struct nemesis_action nemesis_storm;
extern const struct nemesis_action nemesis_panic;
extern const struct nemesis_action nemesis_slow_cpu;
extern const struct nemesis_action nemesis_power;
extern const struct nemesis_action nemesis_slow_disk;
extern const struct nemesis_action nemesis_full_disk;
extern const struct nemesis_action nemesis_clock;
extern const struct nemesis_action nemesis_corrupt;
extern const struct nemesis_action nemesis_rollback;
extern const struct nemesis_action nemesis_wipe;
extern const struct nemesis_action nemesis_clone;

/* ---- for the actions ---- */

/* The nodes that f->word means; "leaders": of a group that f draws, as of now. */
uint32_t nemesis_targets(struct nemesis *n, struct nemesis_fault *f);

/* Writes text, cut to fit. `say` is for value, `blame` for why, and returns false. */
void nemesis_say(struct nemesis_outcome *out, const char *format, ...) KV_PRINTF(2, 3);
bool nemesis_blame(struct nemesis_outcome *out, const char *format, ...)
    KV_PRINTF(2, 3);

/* A set as EDN, "[1 3]", of at most 64 bytes, in `text`; returns it. */
const char *nemesis_set(uint32_t mask, char text[64]);

/* Starts what is down of the mask, and looks that it is up. */
bool nemesis_start(struct nemesis *n, uint32_t mask, struct nemesis_outcome *out);

void nemesis_sleep_ms(uint32_t ms);

#endif
