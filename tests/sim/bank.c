/* tests/sim/bank.c - clients that move money, and clients that count it. */
#include "tests/sim/bank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "tests/sim/ask.h"
#include "tests/sim/levels.h"

enum bank_wish {
    BANK_MAKE,
    BANK_TRANSFER,
    BANK_SUM_TXN,   /* get of each account, in one transaction. */
    BANK_SUM_RANGE, /* kv.range, at any level. */
    BANK_WRONG,     /* Accounts of two banks: refused. */
};

struct bank {
    enum bank_wish wish;
    uint32_t number; /* Of the bank. */
    bool known[BANK_COUNT];
    bool must_be; /* It was there when the request under way was asked. */
};

/* ---- accounts ---- */

struct kv_bytes bank_account(uint32_t bank, uint32_t account, char *out)
{
    snprintf(out, BANK_NAME_BYTES, "{bank%u}acc-%u", bank, account);
    return kv_bytes_str(out);
}

void bank_transfer(struct sim_client *c, uint32_t bank, struct rpc_txn_op *ops,
                   char from[BANK_NAME_BYTES], char to[BANK_NAME_BYTES])
{
    uint32_t a = (uint32_t)prng_below(&c->prng, BANK_ACCOUNTS);
    uint32_t b =
        (a + 1 + (uint32_t)prng_below(&c->prng, BANK_ACCOUNTS - 1)) % BANK_ACCOUNTS;
    int64_t amount = 1 + (int64_t)prng_below(&c->prng, 30);

    ops[0] = (struct rpc_txn_op){.verb = RPC_TXN_INCR, .delta = -amount};
    ops[0].key = bank_account(bank, a, from);
    ops[1] = (struct rpc_txn_op){.verb = RPC_TXN_INCR, .delta = amount};
    ops[1].key = bank_account(bank, b, to);
}

/* ---- asking ---- */

struct lists {
    struct rpc_txn txn;
    struct rpc_txn_compare compare;
    struct rpc_txn_op then[BANK_ACCOUNTS];
    char names[BANK_ACCOUNTS][BANK_NAME_BYTES];
    char begin_amount[8];
};

/* Every account of the bank is put, or read. */
static void every_account(struct bank *k, struct lists *l, enum rpc_txn_verb verb)
{
    snprintf(l->begin_amount, sizeof l->begin_amount, "%d", BANK_ACCOUNT_BEGIN);
    for (uint32_t i = 0; i < BANK_ACCOUNTS; i++) {
        l->then[i] = (struct rpc_txn_op){.verb = verb};
        l->then[i].key = bank_account(k->number, i, l->names[i]);
        if (verb == RPC_TXN_PUT) {
            l->then[i].value = kv_bytes_str(l->begin_amount);
        }
    }
    l->txn.ops_count[0] = BANK_ACCOUNTS;
}

static void fill(struct sim_client *c, struct bank *k, struct lists *l)
{
    bool make = k->wish == BANK_MAKE;

    *l = (struct lists){.compare = {.what = RPC_TXN_EXISTS,
                                    .test = make ? RPC_TXN_NE : RPC_TXN_EQ,
                                    .exists = true}};
    l->txn.ops[0] = l->then;
    l->txn.compares = &l->compare;
    switch (k->wish) {
    case BANK_MAKE:
        every_account(k, l, RPC_TXN_PUT);
        l->txn.compares_count = 1;
        break;
    case BANK_TRANSFER:
    case BANK_WRONG:
        bank_transfer(c, k->number, l->then, l->names[0], l->names[1]);
        l->txn.ops_count[0] = 2;
        l->txn.compares_count = 1;
        if (k->wish == BANK_WRONG) {
            l->then[1].key = bank_account((k->number + 1) % BANK_COUNT, 0, l->names[1]);
        }
        break;
    case BANK_SUM_TXN:
    case BANK_SUM_RANGE:
        every_account(k, l, RPC_TXN_GET);
        break;
    }
    l->compare.key = l->then[0].key;
}

static void ask_txn(struct sim *s, struct sim_client *c, struct bank *k, struct buf *b)
{
    struct rpc_request q;
    struct lists l;
    struct buf packed;

    ask_begin(s, c, &q, RPC_KV_TXN, LINEAR_ADD);
    c->op.key = ASK_OTHER_KEYS + k->number;
    c->wants = k->wish == BANK_WRONG ? KV_ECROSSSLOT : 0;
    fill(c, k, &l);
    buf_init(&packed, 4096);
    rpc_txn_encode(&packed, &l.txn);
    q.txn_packed = buf_bytes(&packed);
    ask_send(s, c, &q, b);
    buf_close(&packed);
}

static void ask_range(struct sim *s, struct sim_client *c, struct bank *k,
                      struct buf *b)
{
    char first[BANK_NAME_BYTES], last[BANK_NAME_BYTES];
    struct rpc_request q;

    ask_begin(s, c, &q, RPC_KV_RANGE, LINEAR_READ);
    c->is_range = false; /* Not of shared keys. */
    c->op.key = ASK_OTHER_KEYS + k->number;
    q.begin = bank_account(k->number, 0, first);
    q.end = bank_account(k->number, BANK_ACCOUNTS, last);
    levels_choose(s, c, &q);
    ask_send(s, c, &q, b);
}

static bool bank_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    struct bank *k = c->own;
    uint64_t dice = prng_below(&c->prng, 100);

    k->number = (uint32_t)prng_below(&c->prng, BANK_COUNT);
    k->must_be = k->known[k->number];
    k->wish = !k->must_be && ask_chance(c, 2) ? BANK_MAKE
              : dice < 50                     ? BANK_TRANSFER
              : dice < 70                     ? BANK_SUM_TXN
              : dice < 97                     ? BANK_SUM_RANGE
                                              : BANK_WRONG;
    if (k->wish == BANK_SUM_RANGE) {
        ask_range(s, c, k, b);
    } else {
        ask_txn(s, c, k, b);
    }
    return true;
}

/* ---- counting ---- */

struct sum {
    uint32_t accounts;
    int64_t total;
};

static void sum_add(struct sum *m, struct kv_bytes value)
{
    char text[24];
    size_t len = KV_MIN(value.len, sizeof text - 1);

    memcpy(text, value.data, len);
    text[len] = '\0';
    m->accounts++;
    m->total += (int64_t)strtoll(text, NULL, 10);
}

/* must_be: the bank had been made before it was looked at. */
static void sum_judge(struct sim *s, const struct sum *m, uint32_t bank, bool must_be,
                      uint32_t node)
{
    bool whole = m->accounts == BANK_ACCOUNTS && m->total == BANK_TOTAL;

    s->counts.bank_sums++;
    if (!whole && (m->accounts != 0 || must_be)) {
        judge_fail(&s->judge, JUDGE_LINEAR,
                   "node %u: bank %u has %u accounts with %" PRId64
                   " in all, there must be %d with %d",
                   node, bank, m->accounts, m->total, BANK_ACCOUNTS, BANK_TOTAL);
    }
}

static void take_range(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    const struct bank *k = c->own;
    struct sum m = {0};

    for (uint32_t i = 0; i < r->items.count; i++) {
        struct rpc_item item;

        rpc_reply_item_get(r, i, &item);
        sum_add(&m, item.value);
    }
    if (!r->more) {
        sum_judge(s, &m, k->number, k->must_be && c->level == RPC_LINEARIZABLE,
                  c->node);
    }
}

static void take_txn(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct bank *k = c->own;
    struct sum m = {0};

    if (k->wish != BANK_SUM_TXN) {
        s->counts.bank_transfers += k->wish == BANK_TRANSFER && r->succeeded;
        s->counts.bank_not_there += k->wish == BANK_TRANSFER && !r->succeeded;
        k->known[k->number] =
            k->known[k->number] || k->wish == BANK_MAKE || r->succeeded;
        return;
    }
    for (uint32_t i = 0; i < r->results.count; i++) {
        struct rpc_reply_op op;

        rpc_reply_result_get(r, i, &op);
        if (op.found) {
            sum_add(&m, op.value);
        }
    }
    sum_judge(s, &m, k->number, k->must_be, c->node);
}

static void bank_answer(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct bank *k = c->own;

    if (r->error != 0) {
        s->counts.bank_cross_slot += r->error == KV_ECROSSSLOT;
        ask_finish(s, c, ask_outcome(r->error), r->error);
        return;
    }
    if (k->wish == BANK_SUM_RANGE) {
        take_range(s, c, r);
    } else if (k->wish != BANK_WRONG) {
        take_txn(s, c, r);
    }
    ask_finish(s, c, LINEAR_OK, 0);
}

/* ---- life ---- */

static void bank_open(struct sim *s, struct sim_client *c)
{
    (void)s;
    c->own = kv_mem_zalloc(sizeof(struct bank));
    KV_ASSERT(c->own != NULL);
}

static void bank_check(struct sim *s, struct sim_client *c, const struct peace *p)
{
    const struct bank *k = c->own;

    for (uint32_t bank = 0; bank < BANK_COUNT; bank++) {
        bool all = true;
        struct sum m = {0};

        for (uint32_t i = 0; i < BANK_ACCOUNTS && all; i++) {
            char name[BANK_NAME_BYTES];
            struct kv_bytes value;

            all = kinds_peek(s, p, bank_account(bank, i, name), &value);
            if (all && value.len > 0) {
                sum_add(&m, value);
            }
        }
        if (all) {
            sum_judge(s, &m, bank, k->known[bank], 0);
        }
    }
}

const struct client_kind kind_bank = {.open = bank_open,
                                      .choose = bank_choose,
                                      .answer = bank_answer,
                                      .check = bank_check};
