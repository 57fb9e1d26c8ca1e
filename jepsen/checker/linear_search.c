/* jepsen/checker/linear_search.c - is there an order of these register operations? */
#include "jepsen/checker/linear_search.h"

#include <stdlib.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "raft/base/hash.h"

#define NONE UINT32_MAX

/* A call or a return in the linked list; entry 0 is its head. */
struct entry {
    uint64_t position;
    uint32_t op;
    bool is_return;
    uint32_t prev, next; /* NONE behind the last. */
};

/* What the search knows of an operation besides the caller's words. */
struct mark {
    uint32_t call, ret; /* Entries; ret NONE: optional. */
    uint32_t bit;       /* Its place in `done` or `used`. */
    uint32_t same;      /* optional: the equal one called before it, or NONE. */
    bool lifted;
};

/* One lifted operation, with what was before. */
struct frame {
    uint32_t op;
    uint32_t state;
    uint32_t base, top;
    bool forced; /* Nothing else had to be tried in its place. */
};

/* Configurations: a table of offsets into one pool of words. */
struct seen {
    uint64_t *pool;
    size_t pool_count, pool_cap;
    struct seen_slot {
        uint64_t hash;
        uint64_t at; /* Offset + 1; 0: empty. */
    } * slots;
    size_t slots_cap, slots_count;
};

struct search {
    const struct linear_op *ops;
    uint32_t count;
    const struct linear_limits *limits;
    struct arena arena; /* Everything but configurations. */
    struct entry *entries;
    struct mark *marks;
    struct frame *stack;
    uint32_t depth;
    uint64_t *done;     /* Bits of the operations that must happen, in order of call. */
    uint32_t base, top; /* All bits below base are set, none at or above top. */
    uint64_t *used;     /* Bits of optional operations. */
    uint32_t used_words; /* Words in `used`. */
    uint32_t left;       /* Operations that must still happen. */
    uint32_t state;
    uint64_t farthest_at; /* Position of the farthest return reached. */
    uint32_t kept;        /* Frames that are in out->order already. */
    struct seen seen;
    struct linear_outcome *out;
};

/* ---- making the list ---- */

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    return x->position < y->position ? -1 : x->position > y->position;
}

static uint32_t same_hash(const struct linear_op *op)
{
    uint32_t x = (op->a * 31 + op->b) * 4 + (uint32_t)op->f;

    return x * 2654435761u >> 20; /* 12 bits */
}

/* Chains equal optional operations. A table of 4,096 last ones; where two kinds meet,
 * a chain is cut, which costs steps but no answer. */
static int chain_same(struct search *s)
{
    uint32_t *last = arena_alloc(&s->arena, 4096 * sizeof *last);

    if (last == NULL) {
        return KV_ENOMEM;
    }
    memset(last, 0xff, 4096 * sizeof *last);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct linear_op *op = &s->ops[i];
        uint32_t *l = &last[same_hash(op)];

        if (!op->optional) {
            continue;
        }
        if (*l != NONE && s->ops[*l].f == op->f && s->ops[*l].a == op->a &&
            s->ops[*l].b == op->b) {
            s->marks[i].same = *l;
        }
        *l = i;
    }
    return 0;
}

static uint32_t words_for(uint32_t bits)
{
    return bits / 64 + 1;
}

static int search_alloc(struct search *s)
{
    size_t n = s->count;

    arena_init(&s->arena, 1 << 16, 0);
    s->entries = arena_zalloc(&s->arena, (2 * n + 1) * sizeof *s->entries);
    s->marks = arena_zalloc(&s->arena, (n + 1) * sizeof *s->marks);
    s->stack = arena_zalloc(&s->arena, (n + 1) * sizeof *s->stack);
    s->done = arena_zalloc(&s->arena, words_for(s->count) * sizeof *s->done);
    s->used = arena_zalloc(&s->arena, words_for(s->count) * sizeof *s->used);
    if (s->entries == NULL || s->marks == NULL || s->stack == NULL || s->done == NULL ||
        s->used == NULL) {
        return KV_ENOMEM;
    }
    return 0;
}

static int search_init(struct search *s)
{
    uint32_t entries = 1;
    uint32_t optional = 0;
    int rc = search_alloc(s);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        const struct linear_op *op = &s->ops[i];

        KV_ASSERT(op->optional == (op->ret == LINEAR_NO_RETURN));
        KV_ASSERT(i == 0 || s->ops[i - 1].call < op->call);
        s->marks[i] = (struct mark){.ret = NONE, .same = NONE};
        s->marks[i].bit = op->optional ? optional++ : s->left++;
        s->entries[entries++] = (struct entry){.position = op->call, .op = i};
        if (!op->optional) {
            KV_ASSERT(op->call < op->ret);
            s->entries[entries++] =
                (struct entry){.position = op->ret, .op = i, .is_return = true};
        }
    }
    s->used_words = optional == 0 ? 0 : words_for(optional - 1);
    qsort(s->entries + 1, entries - 1, sizeof *s->entries, entry_order);
    for (uint32_t i = 0; i < entries; i++) {
        struct entry *e = &s->entries[i];

        e->prev = i - 1;
        e->next = i + 1 < entries ? i + 1 : NONE;
        if (i > 0) {
            *(e->is_return ? &s->marks[e->op].ret : &s->marks[e->op].call) = i;
        }
    }
    return chain_same(s);
}

/* ---- configurations ---- */

enum seen_answer {
    SEEN_NEW,
    SEEN_OLD,
    SEEN_FULL,
};

static size_t seen_bytes(const struct seen *seen)
{
    return seen->pool_cap * sizeof *seen->pool + seen->slots_cap * sizeof *seen->slots;
}

/* Makes room for one more configuration of `words`. */
static int seen_room(struct search *s, size_t words)
{
    struct seen *seen = &s->seen;
    size_t pool_cap = seen->pool_cap == 0 ? 256 : seen->pool_cap;
    size_t slots_cap = seen->slots_cap == 0 ? 64 : seen->slots_cap;

    while (pool_cap < seen->pool_count + words) {
        pool_cap *= 2;
    }
    if (seen->slots_count * 2 >= slots_cap) {
        slots_cap *= 2;
    }
    if (pool_cap * sizeof *seen->pool + slots_cap * sizeof *seen->slots >
        s->limits->bytes_max) {
        return KV_ENOMEM;
    }
    if (pool_cap != seen->pool_cap) {
        uint64_t *bigger = kv_mem_realloc(seen->pool, pool_cap * sizeof *bigger);

        if (bigger == NULL) {
            return KV_ENOMEM;
        }
        seen->pool = bigger;
        seen->pool_cap = pool_cap;
    }
    if (slots_cap != seen->slots_cap) {
        struct seen_slot *bigger = kv_mem_zalloc(slots_cap * sizeof *bigger);

        if (bigger == NULL) {
            return KV_ENOMEM;
        }
        for (size_t i = 0; i < seen->slots_cap; i++) {
            size_t j = seen->slots[i].hash & (slots_cap - 1);

            if (seen->slots[i].at == 0) {
                continue;
            }
            while (bigger[j].at != 0) {
                j = (j + 1) & (slots_cap - 1);
            }
            bigger[j] = seen->slots[i];
        }
        kv_mem_free(seen->slots);
        seen->slots = bigger;
        seen->slots_cap = slots_cap;
    }
    return 0;
}

/* Was the last operation an optional one? Then nobody looked at what it did yet. */
static bool is_idle(const struct search *s)
{
    return s->depth > 0 && s->ops[s->stack[s->depth - 1].op].optional;
}

/* Enters the configuration that the search stands in: state, the words of `done` from
 * the first that is not full to the last that is not empty, and `used`. It does not
 * matter whether the last operation was idle: what may not follow it may follow the
 * configuration without it, which was entered before and can do all the same. */
static enum seen_answer seen_enter(struct search *s)
{
    struct seen *seen = &s->seen;
    uint32_t first = s->base / 64;
    uint32_t window = s->top > s->base ? (s->top - 1) / 64 + 1 - first : 0;
    size_t words = 2 + (size_t)window + s->used_words;
    uint64_t *record;
    uint64_t hash;
    size_t i;

    if (seen_room(s, words) != 0) {
        return SEEN_FULL;
    }
    record = seen->pool + seen->pool_count;
    record[0] = (uint64_t)s->base << 32 | s->state;
    record[1] = window;
    memcpy(record + 2, s->done + first, window * sizeof *record);
    memcpy(record + 2 + window, s->used, s->used_words * sizeof *record);
    hash = kv_hash64(record, words * sizeof *record);
    for (i = hash & (seen->slots_cap - 1); seen->slots[i].at != 0;
         i = (i + 1) & (seen->slots_cap - 1)) {
        const uint64_t *old = seen->pool + seen->slots[i].at - 1;

        if (seen->slots[i].hash == hash && old[1] == record[1] &&
            memcmp(old, record, words * sizeof *record) == 0) {
            return SEEN_OLD;
        }
    }
    seen->slots[i] = (struct seen_slot){hash, seen->pool_count + 1};
    seen->slots_count++;
    seen->pool_count += words;
    return SEEN_NEW;
}

/* ---- lifting ---- */

static void entry_out(struct search *s, uint32_t i)
{
    struct entry *e = &s->entries[i];

    s->entries[e->prev].next = e->next;
    if (e->next != NONE) {
        s->entries[e->next].prev = e->prev;
    }
}

static void entry_in(struct search *s, uint32_t i)
{
    struct entry *e = &s->entries[i];

    s->entries[e->prev].next = i;
    if (e->next != NONE) {
        s->entries[e->next].prev = i;
    }
}

static void op_lift(struct search *s, uint32_t op, uint32_t state)
{
    struct mark *m = &s->marks[op];

    s->stack[s->depth++] =
        (struct frame){.op = op, .state = s->state, .base = s->base, .top = s->top};
    m->lifted = true;
    s->state = state;
    entry_out(s, m->call);
    if (m->ret == NONE) {
        s->used[m->bit / 64] |= 1ull << m->bit % 64;
        return;
    }
    entry_out(s, m->ret);
    s->left--;
    s->done[m->bit / 64] |= 1ull << m->bit % 64;
    s->top = KV_MAX(s->top, m->bit + 1);
    while (s->base < s->top && (s->done[s->base / 64] >> s->base % 64 & 1) != 0) {
        s->base++;
    }
}

/* Puts the last one back; returns its operation. */
static uint32_t op_drop(struct search *s)
{
    const struct frame *f = &s->stack[--s->depth];
    struct mark *m = &s->marks[f->op];

    if (m->ret == NONE) {
        s->used[m->bit / 64] &= ~(1ull << m->bit % 64);
    } else {
        s->done[m->bit / 64] &= ~(1ull << m->bit % 64);
        s->left++;
        entry_in(s, m->ret);
    }
    entry_in(s, m->call);
    m->lifted = false;
    s->state = f->state;
    s->base = f->base;
    s->top = f->top;
    s->kept = KV_MIN(s->kept, s->depth);
    return f->op;
}

/* ---- the model ---- */

static bool model_step(const struct linear_op *op, uint32_t state, uint32_t *out_state)
{
    *out_state = state;
    switch (op->f) {
    case LINEAR_READ:
        *out_state = op->a;
        return state == op->a || state == LINEAR_ANY;
    case LINEAR_WRITE:
        *out_state = op->a;
        return true;
    case LINEAR_CAS:
        *out_state = op->b;
        return state == op->a || state == LINEAR_ANY;
    case LINEAR_MISMATCH:
        return state != op->a;
    }
    KV_UNREACHABLE();
}

/* ---- the search ---- */

/* Remembers how far it came, when a return is in the way. */
static void stuck_at(struct search *s, uint32_t entry)
{
    const struct entry *e = &s->entries[entry];

    if (e->position < s->farthest_at ||
        (e->position == s->farthest_at && s->depth <= s->out->order_count)) {
        return;
    }
    s->farthest_at = e->position;
    s->out->farthest = e->op;
    for (uint32_t i = s->kept; i < s->depth && s->out->order != NULL; i++) {
        s->out->order[i] = s->stack[i].op;
    }
    s->kept = s->depth;
    s->out->order_count = s->depth;
}

/* May the operation come next? Lifts it then. */
static enum seen_answer try_op(struct search *s, uint32_t i)
{
    const struct linear_op *op = &s->ops[i];
    const struct mark *m = &s->marks[i];
    enum seen_answer answer;
    uint32_t state;

    if (m->same != NONE && !s->marks[m->same].lifted) {
        return SEEN_OLD;
    }
    if (!model_step(op, s->state, &state) || (op->optional && state == s->state) ||
        (op->f == LINEAR_WRITE && is_idle(s))) {
        return SEEN_OLD;
    }
    if (state == s->state && (op->f == LINEAR_READ || op->f == LINEAR_MISMATCH)) {
        op_lift(s, i, state);
        s->stack[s->depth - 1].forced = true;
        return SEEN_NEW;
    }
    op_lift(s, i, state);
    answer = seen_enter(s);
    if (answer != SEEN_NEW) {
        op_drop(s);
    }
    return answer;
}

static enum linear_answer search_run(struct search *s)
{
    uint32_t at = s->entries[0].next;

    while (s->left > 0) {
        KV_ASSERT(at != NONE); /* What must still happen has a return in the list. */
        if (s->entries[at].is_return) {
            bool forced = true;
            uint32_t op = 0;

            stuck_at(s, at);
            while (forced) {
                if (s->depth == 0) {
                    return LINEAR_NO;
                }
                forced = s->stack[s->depth - 1].forced;
                op = op_drop(s);
            }
            at = s->entries[s->marks[op].call].next;
            continue;
        }
        if (++s->out->steps > s->limits->steps_max) {
            return LINEAR_STEPS;
        }
        switch (try_op(s, s->entries[at].op)) {
        case SEEN_NEW:
            at = s->entries[0].next;
            break;
        case SEEN_OLD:
            at = s->entries[at].next;
            break;
        case SEEN_FULL:
            return LINEAR_BYTES;
        }
    }
    return LINEAR_YES;
}

void linear_search(const struct linear_op *ops, uint32_t count, uint32_t initial,
                   const struct linear_limits *limits, struct linear_outcome *out)
{
    struct search s = {
        .ops = ops, .count = count, .limits = limits, .state = initial, .out = out};

    out->steps = 0;
    out->order_count = 0;
    out->farthest = 0;
    if (search_init(&s) != 0) {
        out->answer = LINEAR_BYTES;
    } else {
        out->answer = search_run(&s);
        if (out->answer == LINEAR_YES) {
            for (uint32_t i = 0; i < s.depth && out->order != NULL; i++) {
                out->order[i] = s.stack[i].op;
            }
            out->order_count = s.depth;
        }
    }
    out->configurations = s.seen.slots_count;
    out->bytes = seen_bytes(&s.seen);
    kv_mem_free(s.seen.pool);
    kv_mem_free(s.seen.slots);
    arena_close(&s.arena);
}
