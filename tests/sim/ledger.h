/* tests/sim/ledger.h - writes that must happen exactly once, each with its own digit.
 *
 * The n-th write of a page adds 4^n to the page's counter, which nobody else touches:
 * the counter shows of each write whether it happened, and how often. Pages with a bank
 * lie in its slot, so that a transaction can move money and add its digit.
 *
 * Needs:    tests/sim/kinds.h.
 * Used by:  tests/sim/once.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_LEDGER_H
#define KV_TESTS_SIM_LEDGER_H

#include "tests/sim/kinds.h"

enum {
    LEDGER_DIGITS = 31,
    LEDGER_NAME_BYTES = 40,
    LEDGER_NO_BANK = UINT16_MAX,
};

enum ledger_fate {
    LEDGER_MAYBE = 0, /* Sent, or going to be; perhaps given up. */
    LEDGER_DONE,      /* It was answered: it has happened, once. */
    LEDGER_NOT,       /* It certainly has not, and will not. */
};

struct ledger_page {
    uint32_t number;
    uint16_t bank; /* LEDGER_NO_BANK */
    uint16_t used;
    uint8_t fate[LEDGER_DIGITS]; /* enum ledger_fate; those not used are NOT. */
};

struct ledger {
    uint32_t client;
    struct ledger_page *pages; /* kv_mem */
    uint32_t count, cap;
};

/* A write: the digit `digit` of page `page`. */
struct ledger_place {
    uint32_t page, digit;
};

void ledger_close(struct ledger *l);
/* A place for a new write, in a page of this bank. */
struct ledger_place ledger_add(struct ledger *l, uint16_t bank);
struct kv_bytes ledger_name(const struct ledger *l, uint32_t page, char *out);
void ledger_decide(struct ledger *l, struct ledger_place at, enum ledger_fate fate);
/* The counter was seen. is_fresh: after all that is DONE now; else at some time before,
 * after the write at `own` if that is not NULL. */
void ledger_seen(struct sim *s, const struct ledger *l, uint32_t page, int64_t value,
                 const struct ledger_place *own, bool is_fresh);
/* Looks at all pages in the end. */
void ledger_check(struct sim *s, const struct ledger *l, const struct peace *p);

#endif
