/* tests/sim/once.c - clients with sessions and idempotency keys, that send again.
 *
 * A write whose sending has no answer, or one that only speaks of this sending, is
 * parked and sent again later: by then others may lead, have restarted, or hold a state
 * that came as a snapshot; up to ONCE_PARKED wait while new ones begin. What was
 * answered is sent again as well, also long after: the answer must be the same, or that
 * it is forgotten. Half of the writes go to the client's own ledger, which shows how
 * often each happened; the others to the keys that all clients share.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft/base/arena.h"
#include "tests/sim/ask.h"
#include "tests/sim/bank.h"
#include "tests/sim/ledger.h"

enum {
    ONCE_WRITES = 24, /* Remembered: parked ones, and answered ones. */
    ONCE_PARKED = 4,
    ONCE_SENDINGS_MAX = 12,
    ONCE_TXN_BYTES = 512,
    ONCE_AHEAD_MS = 2 * KV_STAMP_AHEAD_MS_MAX, /* No group's time is near to it. */
};

enum once_state {
    ONCE_FREE,
    ONCE_WAITS, /* Parked, or under way. */
    ONCE_ANSWERED,
};

/* A write, and what is known of it. q points into it: it does not move. */
struct once_write {
    enum once_state state;
    struct rpc_request q;
    char name[LEDGER_NAME_BYTES], value[ASK_NAME_BYTES], expected[ASK_NAME_BYTES];
    char idem[ASK_NAME_BYTES];
    uint8_t txn[ONCE_TXN_BYTES];
    struct linear_op op; /* Of a shared key; from the first sending on. */
    bool has_place;
    struct ledger_place at;
    uint32_t sendings;
    bool may_be;   /* One of them may have had its effect. */
    bool is_ahead; /* Its stamp must be refused. */
    /* The answer. */
    uint64_t rev;
    int64_t number;
    bool swapped, deleted, succeeded;
};

enum once_wish {
    ONCE_OPEN,
    ONCE_KEEPALIVE,
    ONCE_CLOSE,
    ONCE_SEND,
    ONCE_COPY,  /* Of one that was answered. */
    ONCE_OTHER, /* Another request under the number of one that was answered. */
    ONCE_LOOK,  /* At a page of the ledger. */
};

struct once {
    enum once_wish wish;
    struct once_write *write; /* Under way. */
    uint32_t page;            /* ONCE_LOOK */
    struct ledger ledger;
    uint64_t session, seq, ack;
    uint64_t opened_ms, opened_us; /* The cluster's time, and when that was heard. */
    uint64_t keys;                 /* Idempotency keys used. */
    struct once_write writes[ONCE_WRITES];
};

/* ---- a new write ---- */

/* One that nothing waits for; those that were answered make room. NULL: none. */
static struct once_write *write_new(struct sim_client *c, struct once *o)
{
    uint32_t first = (uint32_t)prng_below(&c->prng, ONCE_WRITES);

    for (uint32_t i = 0; i < ONCE_WRITES; i++) {
        struct once_write *w = &o->writes[(first + i) % ONCE_WRITES];

        if (w->state != ONCE_WAITS) {
            memset(w, 0, sizeof *w);
            return w;
        }
    }
    return NULL;
}

static void fill_own(struct sim *s, struct sim_client *c, struct once *o,
                     struct once_write *w)
{
    ask_begin(s, c, &w->q, RPC_KV_INCR, LINEAR_ADD);
    w->has_place = true;
    w->at = ledger_add(&o->ledger, LEDGER_NO_BANK);
    w->q.key = ledger_name(&o->ledger, w->at.page, w->name);
    w->q.delta = (int64_t)1 << (2 * w->at.digit);
}

/* Money moves, and the ledger says so; where the bank is not there, neither. */
static void fill_txn(struct sim *s, struct sim_client *c, struct once *o,
                     struct once_write *w)
{
    uint32_t bank = (uint32_t)prng_below(&c->prng, BANK_COUNT);
    char from[BANK_NAME_BYTES], to[BANK_NAME_BYTES];
    struct rpc_txn_op then[3];
    struct rpc_txn_compare there = {
        .what = RPC_TXN_EXISTS, .test = RPC_TXN_EQ, .exists = true};
    struct rpc_txn txn = {.compares = &there, .compares_count = 1};
    struct buf packed;

    ask_begin(s, c, &w->q, RPC_KV_TXN, LINEAR_ADD);
    w->has_place = true;
    w->at = ledger_add(&o->ledger, (uint16_t)bank);
    then[0] = (struct rpc_txn_op){.verb = RPC_TXN_INCR,
                                  .delta = (int64_t)1 << (2 * w->at.digit)};
    then[0].key = ledger_name(&o->ledger, w->at.page, w->name);
    bank_transfer(c, bank, &then[1], from, to);
    there.key = then[1].key;
    txn.ops[0] = then;
    txn.ops_count[0] = 3;
    buf_init(&packed, ONCE_TXN_BYTES);
    rpc_txn_encode(&packed, &txn);
    KV_ASSERT(packed.error == 0 && packed.len <= sizeof w->txn);
    memcpy(w->txn, packed.data, packed.len);
    w->q.txn_packed = kv_bytes(w->txn, packed.len);
    buf_close(&packed);
    s->counts.once_txns++;
}

/* put, del, cas of a register, incr of a counter. */
static void fill_shared(struct sim *s, struct sim_client *c, struct once_write *w)
{
    uint32_t key = (uint32_t)prng_below(&c->prng, s->swarm.keys);
    uint64_t dice = prng_below(&c->prng, 100);
    uint64_t value = ++s->next_value;

    if (dice < 20) {
        ask_begin(s, c, &w->q, RPC_KV_DEL, LINEAR_DELETE);
    } else if (ask_is_counter(key)) {
        ask_begin(s, c, &w->q, RPC_KV_INCR, LINEAR_ADD);
        w->q.delta = (int64_t)prng_below(&c->prng, 11) - 5;
        c->op.expected = (uint64_t)w->q.delta;
    } else if (dice < 50) {
        ask_begin(s, c, &w->q, RPC_KV_PUT, LINEAR_WRITE);
        c->op.value = value;
    } else {
        ask_begin(s, c, &w->q, RPC_KV_CAS, LINEAR_CAS);
        c->op.value = value;
        /* Nothing is there now and then: one that did not swap could do so later. */
        c->op.expected =
            ask_chance(c, 3) ? value - KV_MIN(value, prng_below(&c->prng, 12)) : 0;
        w->q.has_replacement = true;
        w->q.has_expected = c->op.expected != 0;
        w->q.expected = ask_value_bytes(0, c->op.expected, w->expected);
    }
    w->q.value = w->q.replacement = ask_value_bytes(0, c->op.value, w->value);
    w->q.key = ask_key_name(key, w->name);
    c->op.key = key;
}

/* Now, as far as the client knows; at times what a client says that has slept. */
static uint64_t stamp_ms(struct sim *s, struct sim_client *c, struct once *o,
                         struct once_write *w, uint32_t keep_ms)
{
    uint64_t now_ms = o->opened_ms + (s->now_us - o->opened_us) / 1000;
    uint64_t dice = prng_below(&c->prng, 64);

    w->is_ahead = dice == 0;
    return dice == 0  ? now_ms + ONCE_AHEAD_MS
           : dice < 4 ? now_ms - KV_MIN(now_ms, prng_below(&c->prng, 2 * keep_ms))
                      : now_ms;
}

/* All below it have ended; at times it lags behind. */
static uint64_t choose_ack(struct sim_client *c, struct once *o)
{
    uint64_t least = o->seq;

    for (uint32_t i = 0; i < ONCE_WRITES; i++) {
        const struct once_write *w = &o->writes[i];

        if (w->state == ONCE_WAITS && w->q.options.session == o->session) {
            least = KV_MIN(least, w->q.options.seq);
        }
    }
    if (ask_chance(c, 3)) {
        o->ack = prng_between(&c->prng, KV_MIN(o->ack, least), least);
    }
    return o->ack;
}

static void number_it(struct sim *s, struct sim_client *c, struct once *o,
                      struct once_write *w)
{
    struct rpc_options *p = &w->q.options;
    uint32_t keep_ms =
        s->swarm.f.limit_retention != 0 ? s->swarm.f.limit_retention : KV_RETENTION_MS;

    if (ask_chance(c, 4)) {
        snprintf(w->idem, sizeof w->idem, "i%u-%" PRIu64, c->number, ++o->keys);
        p->idem = kv_bytes_str(w->idem);
        p->idem_ttl_ms = (uint32_t)prng_between(&c->prng, 200, 20000);
        keep_ms = p->idem_ttl_ms;
        p->has |= RPC_OPT_BIT(RPC_OPT_idem) | RPC_OPT_BIT(RPC_OPT_idem_ttl_ms);
        s->counts.once_keys++;
    } else {
        p->session = o->session;
        p->seq = ++o->seq;
        p->ack = choose_ack(c, o);
        p->has |= RPC_OPT_BIT(RPC_OPT_session) | RPC_OPT_BIT(RPC_OPT_seq) |
                  RPC_OPT_BIT(RPC_OPT_ack);
    }
    p->stamp = stamp_ms(s, c, o, w, keep_ms);
    p->has |= RPC_OPT_BIT(RPC_OPT_stamp);
}

static void fill(struct sim *s, struct sim_client *c, struct once *o,
                 struct once_write *w)
{
    uint64_t dice = prng_below(&c->prng, 100);

    if (dice < 35) {
        fill_own(s, c, o, w);
    } else if (dice < 55) {
        fill_txn(s, c, o, w);
    } else {
        fill_shared(s, c, w);
    }
    if (w->has_place) {
        c->op.key = ASK_OTHER_KEYS + w->at.page;
        c->op.value = w->at.digit;
    }
    w->op = c->op;
    number_it(s, c, o, w);
    w->state = ONCE_WAITS;
    s->counts.once_new++;
}

/* ---- asking ---- */

static struct once_write *write_of(struct sim_client *c, struct once *o,
                                   enum once_state state)
{
    uint32_t first = (uint32_t)prng_below(&c->prng, ONCE_WRITES);

    for (uint32_t i = 0; i < ONCE_WRITES; i++) {
        struct once_write *w = &o->writes[(first + i) % ONCE_WRITES];

        if (w->state == state) {
            return w;
        }
    }
    return NULL;
}

static uint32_t count_waiting(const struct once *o)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < ONCE_WRITES; i++) {
        n += o->writes[i].state == ONCE_WAITS;
    }
    return n;
}

static void choose_wish(struct sim_client *c, struct once *o)
{
    uint64_t dice = prng_below(&c->prng, 100);
    uint32_t waiting = count_waiting(o);

    o->write = NULL;
    if (waiting > 0 && (waiting >= ONCE_PARKED || dice % 2 == 0)) {
        o->wish = ONCE_SEND;
        o->write = write_of(c, o, ONCE_WAITS);
        return;
    }
    o->wish = o->session == 0 ? ONCE_OPEN
              : dice < 60     ? ONCE_SEND
              : dice < 84     ? ONCE_COPY
              : dice < 87     ? ONCE_OTHER
              : dice < 97     ? ONCE_LOOK
              : dice < 98     ? ONCE_KEEPALIVE
              : dice < 99     ? ONCE_CLOSE
                              : ONCE_OPEN;
    if (o->wish == ONCE_COPY || o->wish == ONCE_OTHER) {
        o->write = write_of(c, o, ONCE_ANSWERED);
    }
    if ((o->wish == ONCE_LOOK && o->ledger.count == 0) ||
        ((o->wish == ONCE_COPY || o->wish == ONCE_OTHER) && o->write == NULL)) {
        o->wish = ONCE_SEND;
    }
}

static void ask_session(struct sim *s, struct sim_client *c, struct once *o,
                        struct buf *b)
{
    struct rpc_request q;

    ask_begin(s, c, &q,
              o->wish == ONCE_OPEN        ? RPC_SESSION_OPEN
              : o->wish == ONCE_KEEPALIVE ? RPC_SESSION_KEEPALIVE
                                          : RPC_SESSION_CLOSE,
              LINEAR_READ);
    q.session = o->session;
    c->op.key = ASK_OTHER_KEYS;
    ask_send(s, c, &q, b);
}

static void ask_look(struct sim *s, struct sim_client *c, struct once *o, struct buf *b)
{
    char name[LEDGER_NAME_BYTES];
    struct rpc_request q;

    o->page = (uint32_t)prng_below(&c->prng, o->ledger.count);
    ask_begin(s, c, &q, RPC_KV_GET, LINEAR_READ);
    q.key = ledger_name(&o->ledger, o->page, name);
    c->op.key = ASK_OTHER_KEYS + o->page;
    if (ask_chance(c, 3)) {
        q.options.level = c->level = RPC_QUORUM;
        q.options.has |= RPC_OPT_BIT(RPC_OPT_level);
        s->counts.quorum_reads++;
    }
    ask_send(s, c, &q, b);
}

/* The same once more, or under its number something else. */
static void ask_write(struct sim *s, struct sim_client *c, struct once *o,
                      struct buf *b)
{
    struct once_write *w = o->write;
    struct rpc_request again, q;

    if (w == NULL) {
        w = o->write = write_new(c, o);
        KV_ASSERT(w != NULL); /* ONCE_PARKED of them wait at most. */
        fill(s, c, o, w);
        again = w->q;
    } else {
        again = w->q;
        ask_begin(s, c, &q, w->q.method, w->op.kind);
        again.msgid = q.msgid;
        c->op = w->op;
    }
    w->sendings++;
    if (ask_chance(c, 4)) {
        again.options.deadline_ms = (uint32_t)prng_between(&c->prng, 5, 3000);
        again.options.has |= RPC_OPT_BIT(RPC_OPT_deadline_ms);
    }
    if (o->wish == ONCE_OTHER) {
        again.method = c->method = RPC_KV_DEL;
    }
    ask_send(s, c, &again, b);
}

static bool once_choose(struct sim *s, struct sim_client *c, struct buf *b)
{
    struct once *o = c->own;

    choose_wish(c, o);
    switch (o->wish) {
    case ONCE_OPEN:
    case ONCE_KEEPALIVE:
    case ONCE_CLOSE:
        ask_session(s, c, o, b);
        break;
    case ONCE_LOOK:
        ask_look(s, c, o, b);
        break;
    case ONCE_OTHER:
        /* A transaction has no key; a del would be the same. */
        if (o->write->q.method == RPC_KV_TXN || o->write->q.method == RPC_KV_DEL) {
            o->wish = ONCE_COPY;
        }
        ask_write(s, c, o, b);
        break;
    case ONCE_SEND:
    case ONCE_COPY:
        ask_write(s, c, o, b);
        break;
    }
    return true;
}

/* ---- what came of a write ---- */

/* Nothing more is sent of it. */
static void write_over(struct sim *s, struct once *o, struct once_write *w,
                       enum linear_outcome outcome)
{
    static const enum ledger_fate fates[] = {[LINEAR_OK] = LEDGER_DONE,
                                             [LINEAR_FAIL] = LEDGER_NOT,
                                             [LINEAR_UNKNOWN] = LEDGER_MAYBE};

    w->state = outcome == LINEAR_OK ? ONCE_ANSWERED : ONCE_FREE;
    if (w->has_place) {
        bool changed =
            outcome != LINEAR_OK || w->q.method != RPC_KV_TXN || w->succeeded;

        ledger_decide(&o->ledger, w->at, changed ? fates[outcome] : LEDGER_NOT);
        return;
    }
    w->op.outcome = outcome;
    w->op.return_us = s->now_us;
    ask_history(s, &w->op);
}

static void write_gave_up(struct sim *s, struct once *o, struct once_write *w)
{
    s->counts.once_gave_up++;
    write_over(s, o, w, w->may_be ? LINEAR_UNKNOWN : LINEAR_FAIL);
}

static void write_done(struct sim *s, struct sim_client *c, struct once *o,
                       const struct rpc_reply *r)
{
    struct once_write *w = o->write;

    if (w->is_ahead) {
        judge_fail(&s->judge, JUDGE_ONCE, "client %u: a stamp far ahead was taken",
                   c->number);
    }
    s->counts.once_done_later += w->sendings > 1;
    s->counts.once_done_again += r->repeated;
    w->rev = r->rev;
    w->number = r->number;
    w->swapped = r->swapped;
    w->deleted = r->deleted;
    w->succeeded = r->succeeded;
    if (!w->has_place) {
        c->op = w->op;
        ask_take(s, c, r);
        /* Another value than the one that it met may be there by now. */
        c->op.has_shown = c->op.has_shown && !r->repeated;
        w->op = c->op;
    }
    write_over(s, o, w, LINEAR_OK);
    if (w->has_place && w->q.method == RPC_KV_INCR) {
        ledger_seen(s, &o->ledger, w->at.page, r->number, &w->at, !r->repeated);
    } else if (w->has_place && w->succeeded && r->results.count > 0) {
        struct rpc_reply_op first;

        rpc_reply_result_get(r, 0, &first);
        ledger_seen(s, &o->ledger, w->at.page, first.number, &w->at, !r->repeated);
    }
}

static void write_refused(struct sim *s, struct sim_client *c, struct once *o,
                          int error)
{
    struct once_write *w = o->write;

    if (error == KV_EBADREQUEST) {
        judge_fail(&s->judge, JUDGE_ONCE,
                   "client %u: the same request got BAD_REQUEST at its sending %u",
                   c->number, w->sendings);
        return;
    }
    s->counts.once_expired += error == KV_ESESSION;
    s->counts.once_ahead += w->is_ahead && error == KV_EBUSY;
    if (error == KV_EOVERFLOW) {
        write_over(s, o, w, LINEAR_FAIL); /* Says so for all sendings. */
        return;
    }
    w->may_be = w->may_be || ask_outcome(error) == LINEAR_UNKNOWN;
    if (error == KV_ESESSION || w->sendings >= ONCE_SENDINGS_MAX || ask_chance(c, 40)) {
        write_gave_up(s, o, w);
    }
}

/* One that was answered is not done again: the same answer, or none. */
static void copy_answered(struct sim *s, struct sim_client *c, struct once *o,
                          const struct rpc_reply *r)
{
    const struct once_write *w = o->write;
    bool same = r->error == 0 && r->repeated && r->rev == w->rev &&
                r->number == w->number && r->swapped == w->swapped &&
                r->deleted == w->deleted && r->succeeded == w->succeeded;

    s->counts.once_copies++;
    s->counts.once_copies_same += same;
    s->counts.once_copies_old += r->error == KV_ESESSION;
    if ((r->error == 0 && !same) || r->error == KV_EBADREQUEST ||
        r->error == KV_EOVERFLOW) {
        judge_fail(&s->judge, JUDGE_ONCE,
                   "client %u: %s seq %" PRIu64 " was done at rev %" PRIu64
                   ", its copy at rev %" PRIu64 "%s: %s",
                   c->number, rpc_method_name(w->q.method), w->q.options.seq, w->rev,
                   r->rev, r->repeated ? ", repeated" : "", kv_err_name(r->error));
    }
}

static void session_answered(struct sim *s, struct once *o, const struct rpc_reply *r)
{
    if (o->wish == ONCE_OPEN) {
        s->counts.once_sessions++;
        o->session = r->session;
        o->seq = 0;
        o->ack = 0;
    }
    if (o->wish == ONCE_CLOSE) {
        o->session = 0;
        return;
    }
    o->opened_ms = r->time_ms;
    o->opened_us = s->now_us;
}

static void look_answered(struct sim *s, struct once *o, const struct rpc_reply *r)
{
    char text[24] = "0";

    s->counts.once_looks++;
    if (r->found) {
        size_t len = KV_MIN(r->value.len, sizeof text - 1);

        memcpy(text, r->value.data, len);
        text[len] = '\0';
    }
    ledger_seen(s, &o->ledger, o->page, (int64_t)strtoll(text, NULL, 10), NULL, true);
}

static void success(struct sim *s, struct sim_client *c, struct once *o,
                    const struct rpc_reply *r)
{
    switch (o->wish) {
    case ONCE_SEND:
        write_done(s, c, o, r);
        break;
    case ONCE_COPY:
        copy_answered(s, c, o, r);
        break;
    case ONCE_OTHER:
        judge_fail(&s->judge, JUDGE_ONCE,
                   "client %u: another request was done under the number of an old one",
                   c->number);
        break;
    case ONCE_LOOK:
        look_answered(s, o, r);
        break;
    case ONCE_OPEN:
    case ONCE_KEEPALIVE:
    case ONCE_CLOSE:
        session_answered(s, o, r);
        break;
    }
}

static void once_answer(struct sim *s, struct sim_client *c, const struct rpc_reply *r)
{
    struct once *o = c->own;
    enum linear_outcome outcome = r->error == 0 ? LINEAR_OK : ask_outcome(r->error);

    c->in_history = false;
    if (r->error == 0) {
        success(s, c, o, r);
    } else if (o->wish == ONCE_SEND) {
        write_refused(s, c, o, r->error);
    } else if (o->wish == ONCE_COPY) {
        copy_answered(s, c, o, r);
    } else if (o->wish == ONCE_OTHER) {
        s->counts.once_other += r->error == KV_EBADREQUEST;
    }
    ask_finish(s, c, outcome, r->error);
}

static void once_silence(struct sim *s, struct sim_client *c)
{
    struct once *o = c->own;

    if (o->wish == ONCE_SEND) {
        o->write->may_be = true;
        if (o->write->sendings >= ONCE_SENDINGS_MAX) {
            write_gave_up(s, o, o->write);
        }
    }
    c->in_history = false;
    ask_finish(s, c, LINEAR_UNKNOWN, 0);
}

/* ---- life ---- */

static void once_open(struct sim *s, struct sim_client *c)
{
    struct once *o = kv_mem_zalloc(sizeof *o);

    (void)s;
    KV_ASSERT(o != NULL);
    o->ledger.client = c->number;
    c->own = o;
}

static void once_close(struct sim *s, struct sim_client *c)
{
    struct once *o = c->own;

    (void)s;
    if (o != NULL) {
        ledger_close(&o->ledger);
    }
}

static void once_check(struct sim *s, struct sim_client *c, const struct peace *p)
{
    struct once *o = c->own;

    for (uint32_t i = 0; i < ONCE_WRITES; i++) {
        if (o->writes[i].state == ONCE_WAITS) {
            write_gave_up(s, o, &o->writes[i]);
        }
    }
    ledger_check(s, &o->ledger, p);
}

const struct client_kind kind_once = {.open = once_open,
                                      .close = once_close,
                                      .choose = once_choose,
                                      .answer = once_answer,
                                      .silence = once_silence,
                                      .check = once_check};
