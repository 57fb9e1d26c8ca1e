/* jepsen/checker/bank.h - does each look at all accounts see the same total?
 *
 * Transfers move money between accounts in one transaction; whoever reads all balances
 * in another sees the sum that was there at first, and none below zero.
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c, once a workload has transactions.
 * Threads:  any; the history is only read.
 * Source:   jepsen.tests.bank.
 */
#ifndef KV_JEPSEN_CHECKER_BANK_H
#define KV_JEPSEN_CHECKER_BANK_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

#define BANK_TOTAL_UNKNOWN INT64_MIN

/* Judges the reads of a history. `total` is the sum at first; BANK_TOTAL_UNKNOWN: that
 * of the first read. Facts: reads, accounts, total. Anomalies: wrong-total,
 * negative-balance, wrong-accounts. Unknown without a read. *out is initialised here.
 */
void bank_check(const struct history *h, int64_t total, struct verdict *out);

#endif
