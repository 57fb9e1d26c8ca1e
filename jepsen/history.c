/* jepsen/history.c - what the clients of a run saw: operations in order of time. */
#include "jepsen/history.h"

#include "raft/base/arena.h"
#include "raft/base/err.h"

/* What open[process] says besides the row of an invocation. */
#define OPEN_NONE HISTORY_NO_MATE
#define OPEN_DEAD (HISTORY_NO_MATE - 1) /* Its last operation ended as info. */

/* The low bits of the first integer of a packed micro-operation; the key is above. */
enum {
    MICRO_APPEND,    /* key, element */
    MICRO_READ_NIL,  /* key */
    MICRO_READ_LIST, /* key, count, ids... */
    MICRO_KIND_BITS = 2,
};

struct history_text {
    struct history_text *next;
    char text[]; /* NUL at the end. */
};

/* ---- life ---- */

void history_init(struct history *h)
{
    memset(h, 0, sizeof *h);
}

void history_close(struct history *h)
{
    struct history_text *t = h->texts;

    while (t != NULL) {
        struct history_text *next = t->next;

        kv_mem_free(t);
        t = next;
    }
    kv_mem_free(h->ops);
    kv_mem_free(h->pool);
    kv_mem_free(h->open);
    memset(h, 0, sizeof *h);
}

/* ---- room ---- */

/* Makes room for `want` objects of `bytes` in an array that doubles. */
static int room_for(void **array, size_t *cap, size_t want, size_t bytes)
{
    size_t more = *cap == 0 ? 64 : *cap;
    void *bigger;

    if (want <= *cap) {
        return 0;
    }
    while (more < want) {
        more *= 2;
    }
    if (more > SIZE_MAX / bytes) {
        return KV_ENOMEM;
    }
    bigger = kv_mem_realloc(*array, more * bytes);
    if (bigger == NULL) {
        return KV_ENOMEM;
    }
    *array = bigger;
    *cap = more;
    return 0;
}

static int room_for_process(struct history *h, int32_t process)
{
    size_t was = h->open_cap;
    void *array = h->open;
    int rc = room_for(&array, &h->open_cap, (size_t)process + 1, sizeof *h->open);

    if (rc != 0) {
        return rc;
    }
    h->open = array;
    for (size_t i = was; i < h->open_cap; i++) {
        h->open[i] = OPEN_NONE;
    }
    return 0;
}

static int room_for_row(struct history *h, uint32_t ints)
{
    void *ops = h->ops;
    void *pool = h->pool;
    int rc = room_for(&ops, &h->cap, h->count + 1, sizeof *h->ops);

    if (rc != 0) {
        return rc;
    }
    h->ops = ops;
    rc = room_for(&pool, &h->pool_cap, h->pool_count + ints, sizeof *h->pool);
    if (rc != 0) {
        return rc;
    }
    h->pool = pool;
    return 0;
}

/* ---- writing ---- */

/* Does the row follow from those before it? *out_mate is the invocation that it
 * completes. */
static int row_follows(const struct history *h, const struct history_op *op,
                       uint64_t *out_mate)
{
    uint64_t open = OPEN_NONE;

    *out_mate = HISTORY_NO_MATE;
    if (h->count > 0 && op->time_ns < h->ops[h->count - 1].time_ns) {
        return KV_EINVAL;
    }
    if (op->process == HISTORY_NEMESIS || op->f == HISTORY_FAULT) {
        return op->process == HISTORY_NEMESIS && op->f == HISTORY_FAULT &&
                       op->type == HISTORY_INFO
                   ? 0
                   : KV_EINVAL;
    }
    if (op->process < 0 || op->process >= HISTORY_PROCESSES_MAX ||
        (unsigned)op->f >= HISTORY_F_COUNT) {
        return KV_EINVAL;
    }
    if ((size_t)op->process < h->open_cap) {
        open = h->open[op->process];
    }
    if (op->type == HISTORY_INVOKE) {
        return open == OPEN_NONE ? 0 : KV_EINVAL;
    }
    if (open == OPEN_NONE || open == OPEN_DEAD || h->ops[open].f != op->f ||
        h->ops[open].key != op->key) {
        return KV_EINVAL;
    }
    *out_mate = open;
    return 0;
}

static struct history_text *text_copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    struct history_text *t = kv_mem_zalloc(sizeof *t + bytes);

    if (t != NULL) {
        memcpy(t->text, text, bytes);
    }
    return t;
}

static void process_moves(struct history *h, const struct history_op *row)
{
    if (row->process == HISTORY_NEMESIS) {
        return;
    }
    if (row->type == HISTORY_INVOKE) {
        h->open[row->process] = row->index;
        return;
    }
    h->ops[row->mate].mate = row->index;
    h->open[row->process] = row->type == HISTORY_INFO ? OPEN_DEAD : OPEN_NONE;
}

int history_append(struct history *h, const struct history_op *op,
                   enum history_kind kind, const int64_t *ints, uint32_t count)
{
    struct history_text *text = NULL;
    struct history_op *row;
    uint64_t mate;
    int rc;

    KV_ASSERT(count == 0 || ints != NULL);
    KV_ASSERT_IMPLIES(kind == HISTORY_NIL || kind == HISTORY_TEXT, count == 0);
    KV_ASSERT_IMPLIES(kind == HISTORY_INT, count == 1);
    KV_ASSERT_IMPLIES(kind == HISTORY_PAIR, count == 2);
    rc = row_follows(h, op, &mate);
    if (rc == 0 && count > HISTORY_INTS_MAX) {
        rc = KV_EINVAL;
    }
    if (rc == 0 && op->process >= 0) {
        rc = room_for_process(h, op->process);
    }
    if (rc == 0) {
        rc = room_for_row(h, count);
    }
    if (rc != 0) {
        return rc;
    }
    if (op->text != NULL) {
        text = text_copy(op->text);
        if (text == NULL) {
            return KV_ENOMEM;
        }
        text->next = h->texts;
        h->texts = text;
    }
    row = &h->ops[h->count];
    *row = *op;
    row->index = h->count;
    row->mate = mate;
    row->text = text == NULL ? NULL : text->text;
    row->value = (struct history_value){kind, count, h->pool_count};
    if (count > 0) {
        memcpy(h->pool + h->pool_count, ints, count * sizeof *ints);
    }
    h->pool_count += count;
    h->count++;
    process_moves(h, row);
    return 0;
}

/* ---- micro-operations ---- */

uint32_t history_micro_pack(const struct history_micro *micros, uint32_t count,
                            int64_t *out_ints, uint32_t cap)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct history_micro *m = &micros[i];
        unsigned kind = m->is_append ? MICRO_APPEND
                        : m->is_nil  ? MICRO_READ_NIL
                                     : MICRO_READ_LIST;
        int64_t head[2] = {(int64_t)m->key << MICRO_KIND_BITS | kind, m->element};
        uint32_t head_count = kind == MICRO_READ_NIL ? 1 : 2;
        uint32_t ids_count = kind == MICRO_READ_LIST ? m->ids_count : 0;

        if (kind == MICRO_READ_LIST) {
            head[1] = ids_count;
        }
        for (uint32_t j = 0; j < head_count + ids_count; j++, n++) {
            if (n < cap) {
                out_ints[n] = j < head_count ? head[j] : m->ids[j - head_count];
            }
        }
    }
    return n;
}

bool history_micro_next(const struct history *h, const struct history_value *v,
                        uint32_t *at, struct history_micro *out)
{
    const int64_t *p = history_ints(h, v);
    uint32_t left = v->count - KV_MIN(*at, v->count);
    unsigned kind;

    if (v->kind != HISTORY_MICRO || left == 0) {
        return false;
    }
    p += *at;
    kind = (unsigned)p[0] & ((1u << MICRO_KIND_BITS) - 1);
    memset(out, 0, sizeof *out);
    out->key = (uint32_t)(p[0] >> MICRO_KIND_BITS);
    if (kind == MICRO_READ_NIL) {
        out->is_nil = true;
        *at += 1;
        return true;
    }
    if (left < 2) {
        return false;
    }
    if (kind == MICRO_APPEND) {
        out->is_append = true;
        out->element = p[1];
        *at += 2;
        return true;
    }
    if (kind != MICRO_READ_LIST || p[1] < 0 || p[1] > left - 2) {
        return false;
    }
    out->ids = p + 2;
    out->ids_count = (uint32_t)p[1];
    *at += 2 + out->ids_count;
    return true;
}

/* ---- looking in ---- */

const int64_t *history_ints(const struct history *h, const struct history_value *v)
{
    return v->count == 0 ? NULL : h->pool + v->at;
}

const char *history_type_name(enum history_type type)
{
    static const char *const names[] = {"invoke", "ok", "fail", "info"};

    KV_ASSERT((unsigned)type < KV_ARRAY_COUNT(names));
    return names[type];
}

const char *history_f_name(enum history_f f)
{
    static const char *const names[] = {"read",     "write",    "cas",   "add",  "txn",
                                        "generate", "transfer", "watch", "fault"};

    _Static_assert(KV_ARRAY_COUNT(names) == HISTORY_F_COUNT, "a name per f");
    KV_ASSERT((unsigned)f < KV_ARRAY_COUNT(names));
    return names[f];
}

static const char *const workload_names[] = {"register", "set",  "counter", "append",
                                             "unique",   "bank", "watch"};
_Static_assert(KV_ARRAY_COUNT(workload_names) == HISTORY_WORKLOADS, "a name each");

const char *history_workload_name(enum history_workload workload)
{
    KV_ASSERT((unsigned)workload < HISTORY_WORKLOADS);
    return workload_names[workload];
}

enum history_workload history_workload_find(const char *name)
{
    static const char *const others[] = {"cas-register", "set-full",   "counter",
                                         "list-append",  "unique-ids", "bank",
                                         "watch"};

    _Static_assert(KV_ARRAY_COUNT(others) == HISTORY_WORKLOADS, "a name each");
    for (unsigned i = 0; i < HISTORY_WORKLOADS; i++) {
        if (strcmp(name, workload_names[i]) == 0 || strcmp(name, others[i]) == 0) {
            return (enum history_workload)i;
        }
    }
    return HISTORY_WORKLOADS;
}
