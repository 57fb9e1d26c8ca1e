/* jepsen/checker/bank.c - does each look at all accounts see the same total? */
#include "jepsen/checker/bank.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void blame(struct verdict *v, const struct history_op *op, const char *kind,
                  const char *format, ...) KV_PRINTF(4, 5);

static void blame(struct verdict *v, const struct history_op *op, const char *kind,
                  const char *format, ...)
{
    struct verdict_anomaly a = {
        .key = op->key, .ops = {op->mate, op->index}, .ops_count = 2};
    va_list args;

    snprintf(a.kind, sizeof a.kind, "%s", kind);
    va_start(args, format);
    vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    verdict_add(v, &a);
}

void bank_check(const struct history *h, int64_t total, struct verdict *out)
{
    uint32_t accounts = 0;
    uint64_t reads = 0;

    verdict_init(out, "bank");
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        const int64_t *balances = history_ints(h, &op->value);
        int64_t sum = 0;
        bool fits = true;

        if (op->f != HISTORY_READ || op->type != HISTORY_OK ||
            op->value.kind != HISTORY_LIST) {
            continue;
        }
        for (uint32_t j = 0; j < op->value.count; j++) {
            fits &= !__builtin_add_overflow(sum, balances[j], &sum);
            if (balances[j] < 0) {
                blame(out, op, "negative-balance",
                      "row %" PRIu64 " read %" PRId64 " in account %" PRIu32, op->index,
                      balances[j], j);
            }
        }
        accounts = reads++ == 0 ? op->value.count : accounts;
        total = total == BANK_TOTAL_UNKNOWN ? sum : total;
        if (op->value.count != accounts) {
            blame(out, op, "wrong-accounts",
                  "row %" PRIu64 " read %" PRIu32 " accounts of %" PRIu32, op->index,
                  op->value.count, accounts);
        } else if (sum != total || !fits) {
            blame(out, op, "wrong-total",
                  "row %" PRIu64 " read balances that add up to %" PRId64
                  ", not to %" PRId64,
                  op->index, sum, total);
        }
    }
    if (reads == 0) {
        verdict_doubt(out, "no balances were read");
    }
    verdict_fact(out, "reads", (double)reads);
    verdict_fact(out, "accounts", accounts);
    verdict_fact(out, "total", reads == 0 ? 0 : (double)total);
}
