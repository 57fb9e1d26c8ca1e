/* tests/sim/linear.c - the search over one register's history. */
#include "tests/sim/linear.h"

#include <stdlib.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/hash.h"

/* Calls and returns in time order, as a doubly linked list (Lowe, section 3). */
struct entry {
    const struct linear_op *op;
    uint64_t at_us;
    struct entry *prev, *next;
    struct entry *match; /* Of a call: its return, NULL for unknown ones. */
    uint32_t number;     /* Of the op, for the bit set. */
    bool is_call;
};

struct placed {
    struct entry *call;
    uint64_t state_before;
};

struct search {
    struct entry *entries, *head;
    size_t entries_count;
    struct placed *stack;
    size_t stack_count;
    uint64_t *bits;
    size_t words;
    uint8_t *seen; /* Open table of (used, bits, state), slots of slot_bytes. */
    uint8_t *slot; /* Scratch for one slot. */
    size_t slot_bytes, slots, used;
    uint64_t state;
};

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    /* Equal times: calls before returns, so that they overlap. */
    if (x->is_call != y->is_call) {
        return x->is_call ? -1 : 1;
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

/* A sum that does not fit is refused: then nothing happens. */
static bool model_add(const struct linear_op *op, uint64_t *state)
{
    int64_t now = *state == 0 ? 0 : linear_number(*state), sum;

    if (__builtin_add_overflow(now, (int64_t)op->expected, &sum)) {
        return op->outcome != LINEAR_OK;
    }
    if (op->outcome == LINEAR_OK && op->value != linear_counter(sum)) {
        return false;
    }
    *state = linear_counter(sum);
    return true;
}

/* Would the register in `state` have answered so? Moves the state if it would. */
static bool model_step(const struct linear_op *op, uint64_t *state)
{
    bool sure = op->outcome == LINEAR_OK;

    switch (op->kind) {
    case LINEAR_READ:
        return *state == op->value;
    case LINEAR_WRITE:
        *state = op->value;
        return true;
    case LINEAR_CAS:
        if (sure && op->condition != (*state == op->expected)) {
            return false;
        }
        if (sure && op->has_shown && op->shown != *state) {
            return false;
        }
        if (*state == op->expected) {
            *state = op->value;
        }
        return true;
    case LINEAR_DELETE:
        if (sure && op->condition != (*state != 0)) {
            return false;
        }
        *state = 0;
        return true;
    case LINEAR_ADD:
        return model_add(op, state);
    case LINEAR_EXPIRE: /* Nothing else happens, so it is placed where it counts. */
        if (*state != op->expected) {
            return false;
        }
        *state = 0;
        return true;
    }
    return false;
}

static void entry_unlink(struct entry *e)
{
    e->prev->next = e->next;
    if (e->next != NULL) {
        e->next->prev = e->prev;
    }
}

static void entry_relink(struct entry *e)
{
    e->prev->next = e;
    if (e->next != NULL) {
        e->next->prev = e;
    }
}

static void lift(struct entry *call)
{
    entry_unlink(call);
    if (call->match != NULL) {
        entry_unlink(call->match);
    }
}

static void unlift(struct entry *call)
{
    if (call->match != NULL) {
        entry_relink(call->match);
    }
    entry_relink(call);
}

static bool seen_grow(struct search *s)
{
    size_t slots = s->slots * 2;
    uint8_t *table = kv_mem_zalloc(slots * s->slot_bytes);

    if (table == NULL) {
        return false;
    }
    for (size_t i = 0; i < s->slots; i++) {
        const uint8_t *slot = s->seen + i * s->slot_bytes;

        if (slot[0] != 0) {
            size_t at = kv_hash64(slot + 1, s->slot_bytes - 1) & (slots - 1);

            while (table[at * s->slot_bytes] != 0) {
                at = (at + 1) & (slots - 1);
            }
            memcpy(table + at * s->slot_bytes, slot, s->slot_bytes);
        }
    }
    kv_mem_free(s->seen);
    s->seen = table;
    s->slots = slots;
    return true;
}

/* Remembers (bits, state); false when it was known already. */
static bool seen_add(struct search *s, uint64_t state)
{
    uint8_t *slot = s->slot;
    size_t at;

    if (s->used * 2 >= s->slots && !seen_grow(s)) {
        return true;
    }
    slot[0] = 1;
    memcpy(slot + 1, s->bits, s->words * 8);
    memcpy(slot + 1 + s->words * 8, &state, 8);
    at = kv_hash64(slot + 1, s->slot_bytes - 1) & (s->slots - 1);
    while (s->seen[at * s->slot_bytes] != 0) {
        if (memcmp(s->seen + at * s->slot_bytes, slot, s->slot_bytes) == 0) {
            return false;
        }
        at = (at + 1) & (s->slots - 1);
    }
    memcpy(s->seen + at * s->slot_bytes, slot, s->slot_bytes);
    s->used++;
    return true;
}

static bool search_init(struct search *s, const struct linear_op *const *ops,
                        size_t count)
{
    size_t n = 0;
    struct entry *tail;

    *s = (struct search){.words = (count + 63) / 64, .slots = 1024};
    s->slot_bytes = 1 + s->words * 8 + 8;
    s->entries = kv_mem_zalloc((2 * count + 1) * sizeof *s->entries);
    s->stack = kv_mem_zalloc((count + 1) * sizeof *s->stack);
    s->bits = kv_mem_zalloc((s->words + 1) * 8);
    s->seen = kv_mem_zalloc(s->slots * s->slot_bytes);
    s->slot = kv_mem_zalloc(s->slot_bytes);
    if (s->slot == NULL || s->entries == NULL || s->stack == NULL || s->bits == NULL ||
        s->seen == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = ops[i];

        if (op->outcome == LINEAR_FAIL ||
            (op->outcome == LINEAR_UNKNOWN && op->kind == LINEAR_READ)) {
            continue;
        }
        s->entries[1 + n++] = (struct entry){
            .op = op, .at_us = op->call_us, .number = (uint32_t)i, .is_call = true};
        if (op->outcome == LINEAR_OK) {
            s->entries[1 + n++] =
                (struct entry){.op = op, .at_us = op->return_us, .number = (uint32_t)i};
        }
    }
    s->entries_count = n;
    qsort(s->entries + 1, n, sizeof *s->entries, entry_order);
    s->head = &s->entries[0];
    tail = s->head;
    for (size_t i = 1; i <= n; i++) {
        struct entry *e = &s->entries[i];

        e->prev = tail;
        tail->next = e;
        tail = e;
    }
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = i + 1; s->entries[i].is_call && j <= n; j++) {
            if (!s->entries[j].is_call &&
                s->entries[j].number == s->entries[i].number) {
                s->entries[i].match = &s->entries[j];
                break;
            }
        }
    }
    return true;
}

static void search_close(struct search *s)
{
    kv_mem_free(s->entries);
    kv_mem_free(s->stack);
    kv_mem_free(s->bits);
    kv_mem_free(s->seen);
    kv_mem_free(s->slot);
}

/* Only calls of unknown outcome are left: they need not have happened. */
static bool only_unknown(const struct search *s)
{
    for (const struct entry *e = s->head->next; e != NULL; e = e->next) {
        if (!e->is_call || e->match != NULL) {
            return false;
        }
    }
    return true;
}

static enum linear_verdict search_run(struct search *s, uint64_t steps_max,
                                      const struct linear_op **out_op)
{
    struct entry *e = s->head->next;
    uint64_t steps = 0;

    while (!only_unknown(s)) {
        if (++steps > steps_max) {
            return LINEAR_TOO_HARD;
        }
        if (e != NULL && e->is_call) {
            uint64_t state = s->state;
            uint64_t bit = (uint64_t)1 << (e->number % 64);
            bool fits = model_step(e->op, &state);

            if (fits) {
                s->bits[e->number / 64] |= bit;
                fits = seen_add(s, state);
                if (!fits) {
                    s->bits[e->number / 64] &= ~bit;
                }
            }
            if (!fits) {
                e = e->next;
                continue;
            }
            s->stack[s->stack_count++] = (struct placed){e, s->state};
            s->state = state;
            lift(e);
            e = s->head->next;
            continue;
        }
        /* A return whose call is not placed, or the end: take the last one back. */
        if (s->stack_count == 0) {
            *out_op = e == NULL ? s->entries[1].op : e->op;
            return LINEAR_INVALID;
        }
        struct placed last = s->stack[--s->stack_count];

        s->bits[last.call->number / 64] &= ~((uint64_t)1 << (last.call->number % 64));
        s->state = last.state_before;
        unlift(last.call);
        e = last.call->next;
    }
    return LINEAR_VALID;
}

enum linear_verdict linear_check(const struct linear_op *const *ops, size_t count,
                                 uint64_t steps_max, const struct linear_op **out_op)
{
    struct search s;
    enum linear_verdict verdict = LINEAR_TOO_HARD;

    if (search_init(&s, ops, count)) {
        verdict = search_run(&s, steps_max, out_op);
    }
    search_close(&s);
    return verdict;
}
