/* tests/sim/bank.h - banks: accounts on one slot, whose sum no transaction changes.
 *
 * Accounts "{bank0}acc-0"... are made by one transaction, all or none. Each transfer is
 * a transaction of two increments; whoever reads all accounts of a bank sees none, or
 * all with the same sum, at every level of reads: they are one replica's, at one index.
 *
 * Needs:    tests/sim/kinds.h.
 * Used by:  tests/sim/bank.c (clients of kind bank), once.c.
 * Threads:  one.
 */
#ifndef KV_TESTS_SIM_BANK_H
#define KV_TESTS_SIM_BANK_H

#include "tests/sim/kinds.h"

enum {
    BANK_COUNT = 3,
    BANK_ACCOUNTS = 4,
    BANK_ACCOUNT_BEGIN = 100, /* In each. */
    BANK_TOTAL = BANK_ACCOUNTS * BANK_ACCOUNT_BEGIN,
    BANK_NAME_BYTES = 24,
};

/* "{bank1}acc-2" */
struct kv_bytes bank_account(uint32_t bank, uint32_t account, char *out);
/* Fills in a transfer between two accounts that the client's chance picks: ops[0] and
 * ops[1]. Names into the two buffers. */
void bank_transfer(struct sim_client *c, uint32_t bank, struct rpc_txn_op *ops,
                   char from[BANK_NAME_BYTES], char to[BANK_NAME_BYTES]);

#endif
