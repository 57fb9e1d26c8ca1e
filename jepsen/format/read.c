/* jepsen/format/read.c - reads history.edn, ours, Jepsen's or elle-cli's. */
#include "jepsen/format/read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jepsen/format/edn.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    TEXT_MAX = 1000, /* Bytes of an error or of a nemesis' value that are kept. */
};

struct reading {
    enum history_workload workload;
    struct history *h;
    struct read_error *error;
    uint64_t line; /* Where the row begins. */
    int64_t *ints; /* Of the row's value. */
    size_t count, cap;
    int64_t index; /* Of the last row, -1 before the first. */
};

static int wrong(struct reading *r, const char *format, ...) KV_PRINTF(2, 3);

static int wrong(struct reading *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->error->text, sizeof r->error->text, format, args);
    va_end(args);
    r->error->line = r->line;
    return KV_EFORMAT;
}

/* ---- values ---- */

static int push(struct reading *r, int64_t value)
{
    if (r->count == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        int64_t *bigger = kv_mem_realloc(r->ints, cap * sizeof *bigger);

        if (bigger == NULL) {
            return KV_ENOMEM;
        }
        r->ints = bigger;
        r->cap = cap;
    }
    r->ints[r->count++] = value;
    return 0;
}

static int push_all(struct reading *r, const struct edn_node *list)
{
    for (const struct edn_node *n = list->first; n != NULL; n = n->next) {
        int rc = n->kind == EDN_INT ? push(r, n->integer)
                                    : wrong(r, "a list holds what is no integer");

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static bool is_key(const struct edn_node *n)
{
    return n != NULL && n->kind == EDN_INT && n->integer >= 0 &&
           n->integer <= UINT32_MAX;
}

/* [:append key element] or [:r key ids-or-nil]. */
static int micro_read(struct reading *r, const struct edn_node *n)
{
    const struct edn_node *key = n->first == NULL ? NULL : n->first->next;
    const struct edn_node *value = key == NULL ? NULL : key->next;
    struct history_micro m = {0};
    size_t ids = r->count;
    uint32_t need;
    int rc;

    if (n->kind != EDN_LIST || n->count != 3 || !is_key(key)) {
        return wrong(r, "a transaction holds what is no [:append key element] and no "
                        "[:r key list]");
    }
    m.key = (uint32_t)key->integer;
    if (edn_is(n->first, "append") && value->kind == EDN_INT) {
        m.is_append = true;
        m.element = value->integer;
    } else if (edn_is(n->first, "r") && value->kind == EDN_NIL) {
        m.is_nil = true;
    } else if (edn_is(n->first, "r") && value->kind == EDN_LIST) {
        m.ids_count = value->count;
    } else {
        return wrong(r, "a transaction holds an operation that is unknown");
    }
    need = history_micro_pack(&(struct history_micro){.key = m.key,
                                                      .is_append = m.is_append,
                                                      .is_nil = m.is_nil,
                                                      .element = m.element},
                              1, NULL, 0);
    for (uint32_t i = 0; i < need; i++) {
        rc = push(r, 0);
        if (rc != 0) {
            return rc;
        }
    }
    if (m.ids_count == 0) {
        (void)history_micro_pack(&m, 1, r->ints + ids, need);
        return 0;
    }
    rc = push_all(r, value);
    if (rc == 0) {
        m.ids = r->ints + ids + need; /* They lie where they belong: packed in place. */
        (void)history_micro_pack(&m, 1, r->ints + ids, need);
    }
    return rc;
}

static int micros_read(struct reading *r, const struct edn_node *value)
{
    for (const struct edn_node *n = value->first; n != NULL; n = n->next) {
        int rc = micro_read(r, n);

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* {0 10, 1 20}: balances of accounts 0, 1, 2 ..., in any order. */
static int balances_read(struct reading *r, const struct edn_node *map)
{
    uint32_t accounts = map->count / 2;
    int rc = 0;

    for (uint32_t i = 0; i < accounts && rc == 0; i++) {
        rc = push(r, INT64_MIN);
    }
    for (const struct edn_node *n = map->first; n != NULL && rc == 0;
         n = n->next->next) {
        if (n->kind != EDN_INT || n->integer < 0 || n->integer >= accounts ||
            n->next->kind != EDN_INT || r->ints[n->integer] != INT64_MIN) {
            return wrong(r, "balances are not those of accounts 0, 1, 2 ...");
        }
        r->ints[n->integer] = n->next->integer;
    }
    return rc;
}

static int transfer_read(struct reading *r, const struct edn_node *map)
{
    static const char *const names[] = {"from", "to", "amount"};

    for (size_t i = 0; i < KV_ARRAY_COUNT(names); i++) {
        const struct edn_node *n = edn_get(map, names[i]);
        int rc = n != NULL && n->kind == EDN_INT
                     ? push(r, n->integer)
                     : wrong(r, "a transfer without :from, :to or :amount");

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Is it [key value], where the workload's value alone would be something else? */
static bool is_tuple(const struct reading *r, enum history_f f,
                     const struct edn_node *n)
{
    const struct edn_node *second;

    if (n->kind != EDN_LIST || n->count != 2 || !is_key(n->first)) {
        return false;
    }
    second = n->first->next;
    switch (f) {
    case HISTORY_READ: /* Sets read lists of integers, others no lists. */
        return r->workload != HISTORY_BANK &&
               (r->workload != HISTORY_SET || second->kind != EDN_INT);
    case HISTORY_CAS:
        return second->kind != EDN_INT;
    case HISTORY_WRITE: /* Those beside watches are lists, always with their key. */
    case HISTORY_ADD:
    case HISTORY_WATCH:
        return true;
    default:
        return false;
    }
}

/* Takes the value in; *out_kind is what it is. What a failed or unknown operation
 * carries may be anything: only an invocation and a success must have the shape. */
static int value_read(struct reading *r, const struct history_op *op,
                      const struct edn_node *n, enum history_kind *out_kind)
{
    bool is_loose = op->type == HISTORY_FAIL || op->type == HISTORY_INFO;

    *out_kind = HISTORY_NIL;
    if (n == NULL || n->kind == EDN_NIL) {
        bool may = op->f == HISTORY_READ || op->f == HISTORY_GENERATE || is_loose;

        return may ? 0 : wrong(r, "%s without a value", history_f_name(op->f));
    }
    if (n->kind == EDN_INT &&
        (op->f == HISTORY_WRITE || op->f == HISTORY_ADD || op->f == HISTORY_GENERATE ||
         (op->f == HISTORY_READ && r->workload != HISTORY_SET &&
          r->workload != HISTORY_BANK))) {
        *out_kind = HISTORY_INT;
        return push(r, n->integer);
    }
    if (op->f == HISTORY_CAS && n->kind == EDN_LIST && n->count == 2) {
        *out_kind = HISTORY_PAIR;
        return push_all(r, n);
    }
    if (op->f == HISTORY_READ && r->workload == HISTORY_SET && n->kind == EDN_LIST) {
        *out_kind = HISTORY_LIST;
        return push_all(r, n);
    }
    if (r->workload == HISTORY_WATCHES && n->kind == EDN_LIST) {
        *out_kind = HISTORY_LIST;
        return push_all(r, n);
    }
    if (op->f == HISTORY_READ && r->workload == HISTORY_BANK && n->kind == EDN_MAP) {
        *out_kind = HISTORY_LIST;
        return balances_read(r, n);
    }
    if (op->f == HISTORY_TRANSFER && n->kind == EDN_MAP) {
        *out_kind = HISTORY_LIST;
        return transfer_read(r, n);
    }
    if (op->f == HISTORY_TXN && n->kind == EDN_LIST) {
        *out_kind = HISTORY_MICRO;
        return micros_read(r, n);
    }
    return is_loose ? 0
                    : wrong(r, "the value of this %s has another shape",
                            history_f_name(op->f));
}

/* ---- rows ---- */

/* An integer of the row that may be missing, in [low, high]. */
static int number_read(struct reading *r, const struct edn_node *row, const char *name,
                       int64_t high, int64_t *inout)
{
    const struct edn_node *n = edn_get(row, name);

    if (n == NULL || n->kind == EDN_NIL) {
        return 0;
    }
    if (n->kind != EDN_INT || n->integer < 0 || n->integer > high) {
        return wrong(r, ":%s is no integer from 0 to %" PRId64, name, high);
    }
    *inout = n->integer;
    return 0;
}

static int type_read(struct reading *r, const struct edn_node *n,
                     enum history_type *out)
{
    for (enum history_type t = HISTORY_INVOKE; t <= HISTORY_INFO; t++) {
        if (edn_is(n, history_type_name(t))) {
            *out = t;
            return 0;
        }
    }
    return wrong(r, ":type is none of :invoke :ok :fail :info");
}

static int f_read(struct reading *r, const struct edn_node *n, enum history_f *out)
{
    static const unsigned fs[] = {
        [HISTORY_REGISTER] =
            1u << HISTORY_READ | 1u << HISTORY_WRITE | 1u << HISTORY_CAS,
        [HISTORY_SET] = 1u << HISTORY_READ | 1u << HISTORY_ADD,
        [HISTORY_COUNTER] = 1u << HISTORY_READ | 1u << HISTORY_ADD,
        [HISTORY_APPEND] = 1u << HISTORY_TXN,
        [HISTORY_UNIQUE] = 1u << HISTORY_GENERATE,
        [HISTORY_BANK] = 1u << HISTORY_READ | 1u << HISTORY_TRANSFER,
        [HISTORY_WATCHES] = 1u << HISTORY_WRITE | 1u << HISTORY_WATCH,
    };

    for (enum history_f f = HISTORY_READ; f < HISTORY_FAULT; f++) {
        if ((fs[r->workload] >> f & 1) != 0 && edn_is(n, history_f_name(f))) {
            *out = f;
            return 0;
        }
    }
    return wrong(r, ":f is no operation of the workload %s",
                 history_workload_name(r->workload));
}

/* "n3" or 3. */
static uint32_t node_read(const struct edn_node *row)
{
    const struct edn_node *n = edn_get(row, "node");
    uint32_t sum = 0;

    if (n == NULL || (n->kind == EDN_INT && (n->integer < 0 || n->integer > 9999))) {
        return 0;
    }
    if (n->kind == EDN_INT) {
        return (uint32_t)n->integer;
    }
    if (n->kind != EDN_STRING || n->text.len < 2 || n->text.len > 5) {
        return 0;
    }
    for (size_t i = 1; i < n->text.len; i++) {
        if (n->text.data[i] < '0' || n->text.data[i] > '9') {
            return 0;
        }
        sum = sum * 10 + n->text.data[i] - '0';
    }
    return sum;
}

/* Copies a form's text; of a string's escapes those of one letter are resolved. */
static size_t text_copy(const struct edn_node *n, char *out, size_t cap)
{
    size_t len = 0;

    for (size_t i = 0; i < n->text.len && len + 1 < cap; i++) {
        char c = (char)n->text.data[i];

        if (c == '\\' && n->kind == EDN_STRING && i + 1 < n->text.len) {
            c = (char)n->text.data[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        out[len++] = c == '\0' ? ' ' : c;
    }
    out[len] = '\0';
    return len;
}

static int nemesis_read(struct reading *r, const struct edn_node *row,
                        struct history_op *op)
{
    const struct edn_node *f = edn_get(row, "f");
    const struct edn_node *value = edn_get(row, "value");
    char text[TEXT_MAX];
    size_t len = 0;
    int rc;

    if (f == NULL || f->kind != EDN_KEYWORD) {
        return wrong(r, "a nemesis row without :f");
    }
    len = text_copy(f, text, sizeof text / 2);
    if (value != NULL && value->kind != EDN_NIL) {
        text[len++] = ' ';
        (void)text_copy(value, text + len, sizeof text - len);
    }
    op->process = HISTORY_NEMESIS;
    op->type = HISTORY_INFO;
    op->f = HISTORY_FAULT;
    op->text = text;
    rc = history_append(r->h, op, HISTORY_TEXT, NULL, 0);
    return rc == KV_EINVAL ? wrong(r, ":time goes back") : rc;
}

/* What all rows have: index, time, node, position. */
static int head_read(struct reading *r, const struct edn_node *row,
                     struct history_op *op)
{
    int64_t index = r->index + 1;
    int64_t group = 0;
    int64_t rev = 0;
    int64_t at_rev = 0;
    int64_t term = 0;
    int rc;

    op->time_ns = r->h->count == 0 ? 0 : r->h->ops[r->h->count - 1].time_ns + 1;
    rc = number_read(r, row, "index", INT64_MAX - 1, &index);
    if (rc == 0 && index <= r->index) {
        rc = wrong(r, ":index %" PRId64 " follows %" PRId64, index, r->index);
    }
    if (rc == 0) {
        rc = number_read(r, row, "time", INT64_MAX - 1, &op->time_ns);
    }
    if (rc == 0) {
        rc = number_read(r, row, "group", UINT32_MAX, &group);
    }
    if (rc == 0) {
        rc = number_read(r, row, "rev", INT64_MAX, &rev);
    }
    if (rc == 0) {
        rc = number_read(r, row, "at-rev", INT64_MAX, &at_rev);
    }
    if (rc == 0) {
        rc = number_read(r, row, "term", INT64_MAX, &term);
    }
    r->index = index;
    op->group = (uint32_t)group;
    op->rev = (uint64_t)rev;
    op->at_rev = (uint64_t)at_rev;
    op->term = (uint64_t)term;
    op->node = node_read(row);
    return rc;
}

/* The key that the client's open operation has; completions may leave it out. */
static uint32_t open_key(const struct history *h, int32_t process)
{
    uint64_t row = (size_t)process < h->open_cap ? h->open[process] : HISTORY_NO_MATE;

    return row < h->count ? h->ops[row].key : 0;
}

static int client_read(struct reading *r, const struct edn_node *row,
                       struct history_op *op)
{
    const struct edn_node *process = edn_get(row, "process");
    const struct edn_node *value = edn_get(row, "value");
    const struct edn_node *error = edn_get(row, "error");
    enum history_kind kind;
    char text[TEXT_MAX];
    int rc;

    if (process == NULL || process->kind != EDN_INT || process->integer < 0 ||
        process->integer >= HISTORY_PROCESSES_MAX) {
        return wrong(r, ":process is no number of a client, nor :nemesis");
    }
    op->process = (int32_t)process->integer;
    rc = type_read(r, edn_get(row, "type"), &op->type);
    if (rc == 0) {
        rc = f_read(r, edn_get(row, "f"), &op->f);
    }
    if (rc != 0) {
        return rc;
    }
    op->key = op->type == HISTORY_INVOKE ? 0 : open_key(r->h, op->process);
    if (value != NULL && is_tuple(r, op->f, value)) {
        op->key = (uint32_t)value->first->integer;
        value = value->first->next;
    }
    rc = value_read(r, op, value, &kind);
    if (rc != 0) {
        return rc;
    }
    if (error != NULL && error->kind != EDN_NIL) {
        (void)text_copy(error, text, sizeof text);
        op->text = text;
    }
    if (r->count > HISTORY_INTS_MAX) {
        return wrong(r, "the value is too long");
    }
    rc = history_append(r->h, op, kind, r->ints, (uint32_t)r->count);
    return rc != KV_EINVAL
               ? rc
               : wrong(r,
                       "this row of process %" PRId32 " does not follow from its "
                       "last one, or :time goes back",
                       op->process);
}

static int row_read(struct reading *r, const struct edn_node *row)
{
    struct history_op op = {0};
    int rc;

    if (row->kind != EDN_MAP) {
        return wrong(r, "a row that is no map");
    }
    r->count = 0;
    rc = head_read(r, row, &op);
    if (rc != 0) {
        return rc;
    }
    return edn_is(edn_get(row, "process"), "nemesis") ? nemesis_read(r, row, &op)
                                                      : client_read(r, row, &op);
}

int read_history(struct kv_bytes input, enum history_workload workload,
                 struct history *h, struct read_error *out_error)
{
    struct reading r = {.workload = workload, .h = h, .error = out_error, .index = -1};
    struct edn_reader edn;
    struct arena arena;
    int rc = 0;

    *out_error = (struct read_error){0};
    history_init(h);
    edn_init(&edn, input);
    arena_init(&arena, 1 << 16, READ_FORM_BYTES_MAX);
    while (rc == 0) {
        struct edn_node *row = NULL;

        arena_reset(&arena);
        rc = edn_next(&edn, &arena, &row);
        r.line = edn.line;
        if (rc == 0) {
            rc = row_read(&r, row);
        } else if (rc == KV_EFORMAT) {
            rc = wrong(&r, "%s", edn.why);
        }
    }
    kv_mem_free(r.ints);
    arena_close(&arena);
    return rc == KV_ENOTFOUND ? 0 : rc;
}

int read_history_file(const char *path, enum history_workload workload,
                      struct history *h, struct read_error *out_error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = MAP_FAILED;
    struct stat st = {0};
    int rc = 0;

    *out_error = (struct read_error){0};
    history_init(h);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = KV_EIO;
    } else if (st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        rc = data == MAP_FAILED ? KV_EIO : 0;
    }
    if (rc == 0) {
        rc =
            read_history(kv_bytes(data == MAP_FAILED ? NULL : data, (size_t)st.st_size),
                         workload, h, out_error);
    } else {
        snprintf(out_error->text, sizeof out_error->text, "%.100s: %s", path,
                 errno != 0 ? strerror(errno) : "no file");
    }
    if (data != MAP_FAILED) {
        munmap(data, (size_t)st.st_size);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
