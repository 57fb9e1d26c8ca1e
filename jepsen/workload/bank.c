/* jepsen/workload/bank.c - transfers between accounts of one slot, looks at all.
 *
 * An account that does not exist holds what all begin with. A transfer reads both
 * balances in one kv.txn and moves the amount in a second one, unless a balance that it
 * relies on has changed: by two puts, or, where both accounts exist, by two increments
 * that need only the first account to be as it was. A look reads all accounts in one
 * kv.txn, by gets or by a range. Every look must add up to the same total.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/workload/workload.h"
#include "raft/base/check.h"

enum {
    BANK_ACCOUNTS = WORKLOAD_TXN_KEYS,
    BANK_BEGIN = WORKLOAD_BANK_TOTAL / BANK_ACCOUNTS, /* In each account. */
    BANK_AMOUNT_MAX = 5,
    BANK_TRIES = 4, /* Fresh reads after balances that had changed. */
    STAGE_READ = 0, /* Even stages read, odd ones write. */
    BY_GETS = 0,    /* How a look reads: `extra`. */
    BY_RANGE = 1,
};

static void account_add(struct work *w, int64_t account)
{
    struct work_key *k = &w->txn.keys[w->txn.keys_count++];

    *k = (struct work_key){.number = BANK_BEGIN};
    snprintf(k->name, sizeof k->name, "{bank/%u}/%" PRId64, w->key, account);
}

static void look_make(struct work *w, int64_t how)
{
    w->f = HISTORY_READ;
    w->kind = HISTORY_NIL;
    w->extra = how;
    w->txn.keys_count = 0;
    for (int64_t i = 0; i < BANK_ACCOUNTS; i++) {
        account_add(w, i);
    }
    snprintf(w->name, sizeof w->name, "{bank/%u}/", w->key);
    snprintf(w->end, sizeof w->end, "{bank/%u}0", w->key); /* '0' follows '/'. */
}

static void bank_next(struct workload_state *s, struct work *w)
{
    int64_t from = (int64_t)prng_below(w->prng, BANK_ACCOUNTS);
    int64_t to = (int64_t)prng_below(w->prng, BANK_ACCOUNTS - 1);

    workload_lane(s, w);
    if (workload_is_reader(s, w->worker)) {
        look_make(w, (int64_t)prng_below(w->prng, 2));
        return;
    }
    to += to >= from;
    w->f = HISTORY_TRANSFER;
    w->kind = HISTORY_LIST;
    workload_push(w, from);
    workload_push(w, to);
    workload_push(w, (int64_t)prng_between(w->prng, 1, BANK_AMOUNT_MAX));
    w->txn.keys_count = 0;
    account_add(w, from);
    account_add(w, to);
}

/* Text of a balance, behind what `text` holds already. */
static struct kv_view balance(struct work *w, int64_t n)
{
    char *begin = w->text + w->text_len;
    int len = snprintf(begin, w->text_cap - w->text_len, "%" PRId64, n);

    w->text_len += (size_t)len;
    return kv_mem(begin, (size_t)len);
}

static struct kv_request transfer_request(struct work *w)
{
    struct work_txn *t = &w->txn;
    int64_t amount = w->ints[2];
    struct kv_request request;

    if (t->keys[0].rev != 0 && t->keys[1].rev != 0) {
        t->ops[0] = (struct kv_txn_op){
            .op = KV_OP_INCR, .key = kv_str(t->keys[0].name), .delta = -amount};
        t->ops[1] = (struct kv_txn_op){
            .op = KV_OP_INCR, .key = kv_str(t->keys[1].name), .delta = amount};
        request = workload_txn_write(w, 2);
        t->txn.compares_count = 1; /* Whoever else pays into the second may do so. */
        return request;
    }
    workload_text(w, NULL, 0);
    if (!w->failed) {
        t->ops[0] = (struct kv_txn_op){.op = KV_OP_PUT,
                                       .key = kv_str(t->keys[0].name),
                                       .value = balance(w, t->keys[0].number - amount)};
        t->ops[1] = (struct kv_txn_op){.op = KV_OP_PUT,
                                       .key = kv_str(t->keys[1].name),
                                       .value = balance(w, t->keys[1].number + amount)};
    }
    return workload_txn_write(w, 2);
}

static struct kv_request bank_request(struct workload_state *s, struct work *w)
{
    struct work_txn *t = &w->txn;

    (void)s;
    if (w->f == HISTORY_TRANSFER && w->stage % 2 != STAGE_READ) {
        return transfer_request(w);
    }
    if (w->f == HISTORY_TRANSFER || w->extra == BY_GETS) {
        return workload_txn_read(w);
    }
    t->ops[0] = (struct kv_txn_op){
        .op = KV_OP_RANGE, .key = kv_str(w->name), .value = kv_str(w->end)};
    t->txn = (struct kv_txn){.then = t->ops, .then_count = 1};
    return kv_transact(&t->txn);
}

/* Takes one balance of the accounts read; false when it is none. */
static bool balance_take(struct work_key *k, struct kv_view v, uint64_t rev)
{
    k->rev = rev;
    return workload_number(v, &k->number);
}

static bool range_take(struct work *w, const struct kv_txn_result *r)
{
    for (size_t i = 0; i < r->items_count; i++) {
        struct kv_view key = r->items[i].key;
        uint32_t at = 0;

        while (at < w->txn.keys_count &&
               (key.len != strlen(w->txn.keys[at].name) ||
                memcmp(key.data, w->txn.keys[at].name, key.len) != 0)) {
            at++;
        }
        if (at == w->txn.keys_count ||
            !balance_take(&w->txn.keys[at], r->items[i].value, r->items[i].rev)) {
            return false;
        }
    }
    return !r->more;
}

static bool balances_take(struct work *w, const struct kv_result *r)
{
    struct work_txn *t = &w->txn;

    for (uint32_t i = 0; i < t->keys_count; i++) {
        t->keys[i].number = BANK_BEGIN; /* An earlier try may have found more. */
        t->keys[i].rev = 0;
    }
    if (!r->succeeded) {
        return false;
    }
    if (w->f == HISTORY_READ && w->extra == BY_RANGE) {
        return r->results_count == 1 && range_take(w, &r->results[0]);
    }
    for (uint32_t i = 0; i < t->keys_count; i++) {
        if (r->results_count != t->keys_count ||
            (r->results[i].found &&
             !balance_take(&t->keys[i], r->results[i].value, r->results[i].rev))) {
            return false;
        }
    }
    return true;
}

static enum work_step bank_result(struct workload_state *s, struct work *w,
                                  const struct kv_result *r)
{
    (void)s;
    if (w->f == HISTORY_TRANSFER && w->stage % 2 != STAGE_READ) {
        if (r->succeeded) {
            return WORK_OK;
        }
        return w->stage / 2 + 1 < BANK_TRIES ? WORK_MORE : WORK_FAIL;
    }
    if (!balances_take(w, r)) {
        return WORK_BAD;
    }
    if (w->f == HISTORY_TRANSFER) {
        return w->txn.keys[0].number < w->ints[2] ? WORK_FAIL : WORK_MORE;
    }
    w->kind = HISTORY_LIST;
    for (uint32_t i = 0; i < w->txn.keys_count; i++) {
        workload_push(w, w->txn.keys[i].number);
    }
    return WORK_OK;
}

static bool bank_last(struct workload_state *s, uint32_t at, struct work *w)
{
    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    look_make(w, BY_GETS);
    return true;
}

const struct workload workload_bank = {
    .name = "bank",
    .what = "transfers between accounts of one slot, by kv.txn; every look adds up",
    .history = HISTORY_BANK,
    .checks = {WORKLOAD_CHECK_BANK, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_READ, HISTORY_TRANSFER},
    .fs_count = 2,
    .next = bank_next,
    .request = bank_request,
    .result = bank_result,
    .last = bank_last,
};
