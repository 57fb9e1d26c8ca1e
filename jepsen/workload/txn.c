/* jepsen/workload/txn.c - list-append over four lists of one slot, by kv.txn.
 *
 * A transaction is one to four reads and appends over lists that share a {tag}. One
 * kv.txn reads the lists, a second one puts them back longer unless one of them has
 * changed; then the first is tried again. So what was read is still true at the moment
 * of the second, over several keys: where it is not, cycles show it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/workload/workload.h"
#include "raft/base/check.h"

enum {
    TXN_LISTS = 4,  /* Per key of a lane. */
    TXN_MICROS = 4, /* At most, in one transaction. */
    TXN_TRIES = 4,  /* Fresh reads after lists that had changed. */
    STAGE_READ = 0, /* Even stages read, odd ones write. */
};

/* The micro-operations that are asked: they stand in the value until it is answered. */
static uint32_t micros_of(const struct work *w, struct history_micro *out)
{
    struct history_value v = {.kind = HISTORY_MICRO, .count = w->ints_count};
    struct history h = {.pool = w->ints, .pool_count = w->ints_count};
    uint32_t count = 0;
    uint32_t at = 0;

    while (count < TXN_MICROS && history_micro_next(&h, &v, &at, &out[count])) {
        count++;
    }
    return count;
}

/* The list of a micro-operation among those that the transaction touches. */
static struct work_key *list_of(struct work *w, uint32_t list)
{
    struct work_txn *t = &w->txn;

    for (uint32_t i = 0; i < t->keys_count; i++) {
        if (t->keys[i].number == list) {
            return &t->keys[i];
        }
    }
    KV_ASSERT(t->keys_count < WORKLOAD_TXN_KEYS);
    t->keys[t->keys_count] = (struct work_key){.number = list};
    snprintf(t->keys[t->keys_count].name, WORKLOAD_KEY_BYTES, "{txn/%u}/%u", w->key,
             list % TXN_LISTS);
    return &t->keys[t->keys_count++];
}

static void txn_make(struct work *w, const struct history_micro *micros, uint32_t count)
{
    w->f = HISTORY_TXN;
    w->txn.keys_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        (void)list_of(w, micros[i].key);
    }
    workload_micros(w, micros, count);
}

static void txn_next(struct workload_state *s, struct work *w)
{
    struct workload_lane *lane = workload_lane(s, w);
    struct history_micro micros[TXN_MICROS];
    uint32_t count = (uint32_t)prng_between(w->prng, 1, TXN_MICROS);

    for (uint32_t i = 0; i < count; i++) {
        micros[i] = (struct history_micro){
            .key = w->key * TXN_LISTS + (uint32_t)prng_below(w->prng, TXN_LISTS),
            .is_nil = true,
        };
        if (!workload_is_reader(s, w->worker) && prng_below(w->prng, 2) == 0) {
            micros[i].is_append = true;
            micros[i].element = ++lane->counter;
        }
    }
    txn_make(w, micros, count);
}

/* Only the lists that are appended to are put. */
static bool is_appended(const struct history_micro *micros, uint32_t count,
                        uint32_t list)
{
    for (uint32_t i = 0; i < count; i++) {
        if (micros[i].is_append && micros[i].key == list) {
            return true;
        }
    }
    return false;
}

/* The list as it will be, behind what `text` holds already. */
static struct kv_view longer(struct work *w, const struct history_micro *micros,
                             uint32_t count, const struct work_key *k)
{
    size_t begin = w->text_len;
    size_t len = k->len;

    if (k->len > 0) {
        memcpy(w->text + begin, w->expected + k->at, k->len);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (micros[i].is_append && micros[i].key == k->number) {
            len +=
                (size_t)snprintf(w->text + begin + len, w->text_cap - begin - len,
                                 "%s%" PRId64, len > 0 ? " " : "", micros[i].element);
        }
    }
    KV_ASSERT(begin + len < w->text_cap); /* WORKLOAD_ROOM */
    w->text_len = begin + len;
    return kv_mem(w->text + begin, len);
}

static struct kv_request txn_request(struct workload_state *s, struct work *w)
{
    struct work_txn *t = &w->txn;
    struct history_micro micros[TXN_MICROS];
    uint32_t count = micros_of(w, micros);
    uint32_t ops = 0;

    (void)s;
    if (w->stage % 2 == STAGE_READ) {
        return workload_txn_read(w);
    }
    workload_text(w, w->expected,
                  w->expected_len); /* Room for all, and for elements. */
    w->text_len = 0;
    for (uint32_t i = 0; i < t->keys_count && !w->failed; i++) {
        if (is_appended(micros, count, (uint32_t)t->keys[i].number)) {
            t->ops[ops++] =
                (struct kv_txn_op){.op = KV_OP_PUT,
                                   .key = kv_str(t->keys[i].name),
                                   .value = longer(w, micros, count, &t->keys[i])};
        }
    }
    return workload_txn_write(w, ops);
}

/* Keeps what the lists are now: their texts one behind the other. */
static bool lists_keep(struct work *w, const struct kv_result *r)
{
    struct work_txn *t = &w->txn;
    struct work numbers = {.worker = w->worker};
    bool good = r->succeeded && r->results_count == t->keys_count;
    size_t len = 0;

    for (uint32_t i = 0; i < t->keys_count && good; i++) {
        struct kv_view v = r->results[i].found ? r->results[i].value : kv_nil();

        good = workload_list(&numbers, v);
        t->keys[i].rev = r->results[i].rev;
        t->keys[i].at = len;
        t->keys[i].len = v.len;
        workload_expect_more(w, v, i == 0);
        len += v.len;
    }
    workload_work_close(&numbers);
    return good;
}

/* The value as it is answered: each read sees the list and what was appended before. */
static enum work_step txn_done(struct work *w)
{
    struct history_micro micros[TXN_MICROS];
    struct work lists = {.worker = w->worker};
    uint32_t begins[TXN_MICROS] = {0};
    uint32_t count = micros_of(w, micros);

    for (uint32_t i = 0; i < count; i++) {
        const struct work_key *k = list_of(w, micros[i].key);

        begins[i] = lists.ints_count;
        if (micros[i].is_append) {
            continue;
        }
        (void)workload_list(&lists, kv_mem(w->expected + k->at, k->len));
        for (uint32_t j = 0; j < i; j++) {
            if (micros[j].is_append && micros[j].key == micros[i].key) {
                workload_push(&lists, micros[j].element);
            }
        }
        micros[i].ids_count = lists.ints_count - begins[i];
        micros[i].is_nil = micros[i].ids_count == 0;
    }
    for (uint32_t i = 0; i < count; i++) { /* Now they move no more. */
        micros[i].ids = micros[i].ids_count > 0 ? lists.ints + begins[i] : NULL;
    }
    w->failed = w->failed || lists.failed;
    workload_micros(w, micros, count);
    workload_work_close(&lists);
    return WORK_OK;
}

static bool only_reads(const struct work *w)
{
    struct history_micro micros[TXN_MICROS];
    uint32_t count = micros_of(w, micros);

    for (uint32_t i = 0; i < count; i++) {
        if (micros[i].is_append) {
            return false;
        }
    }
    return true;
}

static enum work_step txn_result(struct workload_state *s, struct work *w,
                                 const struct kv_result *r)
{
    (void)s;
    if (w->stage % 2 == STAGE_READ) {
        if (!lists_keep(w, r)) {
            return WORK_BAD;
        }
        return only_reads(w) ? txn_done(w) : WORK_MORE;
    }
    if (r->succeeded) {
        return txn_done(w);
    }
    return w->stage / 2 + 1 < TXN_TRIES ? WORK_MORE : WORK_FAIL;
}

static bool txn_last(struct workload_state *s, uint32_t at, struct work *w)
{
    struct history_micro micros[TXN_LISTS];

    if (at >= s->keys_count) {
        return false;
    }
    w->key = at;
    for (uint32_t i = 0; i < TXN_LISTS; i++) {
        micros[i] = (struct history_micro){.key = at * TXN_LISTS + i, .is_nil = true};
    }
    txn_make(w, micros, TXN_LISTS);
    return true;
}

const struct workload workload_txn = {
    .name = "txn",
    .what = "transactions that read and append to lists of one slot, by kv.txn",
    .history = HISTORY_APPEND,
    .checks = {WORKLOAD_CHECK_APPEND, WORKLOAD_CHECK_REPLAY},
    .fs = {HISTORY_TXN},
    .fs_count = 1,
    .next = txn_next,
    .request = txn_request,
    .result = txn_result,
    .last = txn_last,
};
