/* tests/sim/chain.h - values that are read, changed and written back under a lock.
 *
 * Each value is a list of numbers, 4 bytes each; a change reads the list and writes it
 * back with a number of its own behind it. As long as no change is lost, every list
 * that is ever read or written begins with every shorter one.
 *
 * Each lock has one value in its own slot, and one in another, most often in another
 * group. When a list is long the next page begins.
 *
 * Needs:    tests/sim/kinds.h.
 * Used by:  tests/sim/lockers.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_CHAIN_H
#define KV_TESTS_SIM_CHAIN_H

#include "tests/sim/kinds.h"

enum {
    CHAIN_LENGTH = 24, /* Behind that the next page begins; a few go on. */
    CHAIN_MAX = 96,
    CHAIN_NAME_BYTES = 40,
};

enum chain_fate {
    CHAIN_MAYBE = 0, /* Under way, or its outcome is unknown. */
    CHAIN_DONE,
    CHAIN_NOT, /* It was refused. */
};

struct chain_list {
    uint32_t numbers[CHAIN_MAX];
    uint32_t count;
};

/* Which value. */
struct chain_place {
    uint32_t lock, page;
    bool is_far; /* In another slot. */
};

struct chains;

void chain_open(struct sim *s);
void chain_free(struct sim *s);

/* The page that a new change is for. */
struct chain_place chain_choose(struct sim *s, uint32_t lock, bool is_far);
struct kv_bytes chain_name(const struct chain_place *at, char *out);
/* How long a list is certainly, for who reads it from now on. */
uint32_t chain_least(const struct sim *s, const struct chain_place *at);

/* A list from its bytes; notes a failure where it is none. */
bool chain_decode(struct sim *s, struct kv_bytes value, struct chain_list *out);
/* It was read, by a request that began when chain_least() was `least`. */
void chain_seen(struct sim *s, const struct chain_place *at,
                const struct chain_list *list, uint32_t least);
/* A number for a new change. */
uint32_t chain_number(struct sim *s);
/* What came of the change that wrote `list`, whose last number is its own. */
void chain_written(struct sim *s, const struct chain_place *at,
                   const struct chain_list *list, enum chain_fate fate);
/* Looks at all values in the end. */
void chain_check(struct sim *s, const struct peace *p);

#endif
