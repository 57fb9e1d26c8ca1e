/* jepsen/format/rows.c - writes histories as Jepsen does: history.edn, history.txt. */
#include "jepsen/format/rows.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "jepsen/checker/keys.h"
#include "jepsen/format/edn.h"
#include "jepsen/format/emit.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    FORM_MAX = 1000,      /* Bytes of a nemesis' value that may be EDN. */
    FORM_BYTES = 1 << 20, /* Memory to find out. */
};

struct writer {
    FILE *out;
    const struct history *h;
    enum history_workload workload;
    enum rows_format format;
    bool is_keyed;  /* Values are [key value]. */
    bool has_row;   /* The index in the whole history is written too. */
    uint64_t index; /* Of the next row. */
};

bool rows_are_keyed(const struct history *h, enum history_workload workload)
{
    if (workload == HISTORY_REGISTER || workload == HISTORY_WATCHES) {
        return true;
    }
    if (workload != HISTORY_SET && workload != HISTORY_COUNTER) {
        return false;
    }
    for (size_t i = 0; i < h->count; i++) {
        if (h->ops[i].key != 0) {
            return true;
        }
    }
    return false;
}

/* ---- values ---- */

static void ints_write(FILE *out, const int64_t *ints, uint32_t count)
{
    fputc('[', out);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "%s%" PRId64, i == 0 ? "" : " ", ints[i]);
    }
    fputc(']', out);
}

static void micros_write(const struct writer *w, const struct history_value *v)
{
    struct history_micro m;
    uint32_t at = 0;

    fputc('[', w->out);
    while (at < v->count) {
        if (at > 0) {
            fputc(' ', w->out);
        }
        if (!history_micro_next(w->h, v, &at, &m)) {
            break;
        }
        if (m.is_append) {
            fprintf(w->out, "[:append %" PRIu32 " %" PRId64 "]", m.key, m.element);
        } else if (m.is_nil) {
            fprintf(w->out, "[:r %" PRIu32 " nil]", m.key);
        } else {
            fprintf(w->out, "[:r %" PRIu32 " ", m.key);
            ints_write(w->out, m.ids, m.ids_count);
            fputc(']', w->out);
        }
    }
    fputc(']', w->out);
}

/* Balances by account, or what is to be moved. */
static void bank_write(const struct writer *w, const struct history_op *op,
                       const int64_t *ints)
{
    if (op->f == HISTORY_TRANSFER && op->value.count == 3) {
        fprintf(w->out, "{:from %" PRId64 ", :to %" PRId64 ", :amount %" PRId64 "}",
                ints[0], ints[1], ints[2]);
        return;
    }
    fputc('{', w->out);
    for (uint32_t i = 0; i < op->value.count; i++) {
        fprintf(w->out, "%s%" PRIu32 " %" PRId64, i == 0 ? "" : ", ", i, ints[i]);
    }
    fputc('}', w->out);
}

static void value_write(const struct writer *w, const struct history_op *op)
{
    const int64_t *ints = history_ints(w->h, &op->value);

    if (w->is_keyed) {
        fprintf(w->out, "[%" PRIu32 " ", op->key);
    }
    switch (op->value.kind) {
    case HISTORY_NIL:
    case HISTORY_TEXT:
        fputs("nil", w->out);
        break;
    case HISTORY_INT:
        fprintf(w->out, "%" PRId64, ints[0]);
        break;
    case HISTORY_PAIR:
        ints_write(w->out, ints, 2);
        break;
    case HISTORY_LIST:
        if (w->workload == HISTORY_BANK) {
            bank_write(w, op, ints);
        } else {
            ints_write(w->out, ints, op->value.count);
        }
        break;
    case HISTORY_MICRO:
        micros_write(w, &op->value);
        break;
    }
    if (w->is_keyed) {
        fputc(']', w->out);
    }
}

/* ---- rows ---- */

/* Is the text one form of EDN, of plain ASCII? */
static bool is_one_form(const char *text)
{
    char wrapped[FORM_MAX + 8];
    struct edn_reader r;
    struct edn_node *map = NULL;
    struct arena a;
    bool is = false;

    if (strlen(text) > FORM_MAX || strpbrk(text, ";\\") != NULL) {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            return false;
        }
    }
    snprintf(wrapped, sizeof wrapped, "{:v %s}", text);
    arena_init(&a, 4096, FORM_BYTES);
    edn_init(&r, kv_bytes_str(wrapped));
    if (edn_next(&r, &a, &map) == 0 && map->kind == EDN_MAP && map->count == 2 &&
        map->first->next->kind != EDN_OTHER) {
        is = edn_next(&r, &a, &map) == KV_ENOTFOUND;
    }
    arena_close(&a);
    return is;
}

/* The first word of a nemesis' text is its :f, the rest its :value: as it stands where
 * it is EDN, else as a string. What a keyword may not hold becomes a dash. */
static void nemesis_write(const struct writer *w, const struct history_op *op)
{
    const char *text = op->text == NULL ? "" : op->text;
    bool is_edn = w->format == ROWS_EDN;

    fputs(is_edn ? ", :process :nemesis, :f :" : "\t:", w->out);
    fputs(*text == '\0' || *text == ' ' ? "fault" : "", w->out);
    for (; *text != '\0' && *text != ' '; text++) {
        bool is_plain = (*text >= 'a' && *text <= 'z') ||
                        (*text >= 'A' && *text <= 'Z') ||
                        (*text >= '0' && *text <= '9');

        fputc(is_plain ? *text : '-', w->out);
    }
    fputs(is_edn ? ", :value " : "\t", w->out);
    if (*text != ' ' || text[1] == '\0') {
        fputs("nil", w->out);
    } else if (is_one_form(text + 1)) {
        fputs(text + 1, w->out);
    } else {
        emit_string(w->out, text + 1);
    }
}

static void edn_write(struct writer *w, const struct history_op *op)
{
    fprintf(w->out, "{:index %" PRIu64 ", :time %" PRId64 ", :type :%s", w->index,
            op->time_ns, history_type_name(op->type));
    if (op->process == HISTORY_NEMESIS) {
        nemesis_write(w, op);
    } else {
        fprintf(w->out, ", :process %" PRId32 ", :f :%s, :value ", op->process,
                history_f_name(op->f));
        value_write(w, op);
        if (op->text != NULL) {
            fputs(", :error ", w->out);
            emit_string(w->out, op->text);
        }
    }
    if (op->node != 0) {
        fprintf(w->out, ", :node \"n%" PRIu32 "\"", op->node);
    }
    if (op->at_rev != 0 || op->rev != 0) {
        fprintf(w->out,
                ", :group %" PRIu32 ", :rev %" PRIu64 ", :at-rev %" PRIu64
                ", :term %" PRIu64,
                op->group, op->rev, op->at_rev, op->term);
    }
    if (w->has_row) {
        fprintf(w->out, ", :row %" PRIu64, op->index);
    }
    fputs("}\n", w->out);
}

static void txt_write(struct writer *w, const struct history_op *op)
{
    if (op->process == HISTORY_NEMESIS) {
        fprintf(w->out, ":nemesis\t:%s", history_type_name(op->type));
        nemesis_write(w, op);
    } else {
        fprintf(w->out, "%" PRId32 "\t:%s\t:%s\t", op->process,
                history_type_name(op->type), history_f_name(op->f));
        value_write(w, op);
        if (op->text != NULL) {
            fprintf(w->out, "\t%s", op->text);
        }
    }
    fputc('\n', w->out);
}

static void row_write(struct writer *w, const struct history_op *op)
{
    if (w->format == ROWS_EDN) {
        edn_write(w, op);
    } else {
        txt_write(w, op);
    }
    w->index++;
}

int rows_write(FILE *out, const struct history *h, enum history_workload workload,
               enum rows_format format)
{
    struct writer w = {.out = out,
                       .h = h,
                       .workload = workload,
                       .format = format,
                       .is_keyed = rows_are_keyed(h, workload)};

    for (size_t i = 0; i < h->count; i++) {
        row_write(&w, &h->ops[i]);
    }
    return fflush(out) != 0 || ferror(out) != 0 ? KV_EIO : 0;
}

/* ---- a file per key ---- */

static int row_order(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int list_write(const char *path, const struct history *h,
                      enum history_workload workload, enum rows_format format,
                      const uint64_t *rows, size_t count)
{
    FILE *out = fopen(path, "w");
    struct writer w = {
        .out = out, .h = h, .workload = workload, .format = format, .has_row = true};
    int rc;

    if (out == NULL) {
        return KV_EIO;
    }
    for (size_t i = 0; i < count; i++) {
        row_write(&w, &h->ops[rows[i]]);
    }
    rc = ferror(out) != 0 ? KV_EIO : 0;
    return fclose(out) != 0 ? KV_EIO : rc;
}

static int folder_make(const char *path)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : KV_EIO;
}

/* Puts the rows of a key and of the nemesis in order and writes both files. */
static int key_write(const char *folder, const struct history *h,
                     enum history_workload workload, const struct keys *keys,
                     uint32_t k, uint64_t *rows, size_t count)
{
    char path[PATH_MAX];
    int rc;

    for (uint64_t i = keys->begin[k]; i < keys->begin[k + 1]; i++) {
        rows[count++] = keys->rows[i];
        if (h->ops[keys->rows[i]].mate != HISTORY_NO_MATE) {
            rows[count++] = h->ops[keys->rows[i]].mate;
        }
    }
    qsort(rows, count, sizeof *rows, row_order);
    snprintf(path, sizeof path, "%s/independent/%" PRIu32, folder, keys->keys[k]);
    rc = folder_make(path);
    if (rc == 0) {
        snprintf(path, sizeof path, "%s/independent/%" PRIu32 "/history.edn", folder,
                 keys->keys[k]);
        rc = list_write(path, h, workload, ROWS_EDN, rows, count);
    }
    if (rc == 0) {
        snprintf(path, sizeof path, "%s/independent/%" PRIu32 "/history.txt", folder,
                 keys->keys[k]);
        rc = list_write(path, h, workload, ROWS_TXT, rows, count);
    }
    return rc;
}

int rows_write_independent(const char *folder, const struct history *h,
                           enum history_workload workload)
{
    char path[PATH_MAX];
    struct keys keys;
    uint64_t *nemesis = NULL;
    uint64_t *rows = NULL;
    size_t count = 0;
    int rc = keys_init(&keys, h, UINT_MAX);

    if (rc != 0) {
        return rc;
    }
    snprintf(path, sizeof path, "%s/independent", folder);
    nemesis = kv_mem_zalloc((h->count + 1) * sizeof *nemesis);
    rows = kv_mem_zalloc((h->count + 1) * sizeof *rows);
    rc = nemesis == NULL || rows == NULL ? KV_ENOMEM : folder_make(path);
    for (size_t i = 0; i < h->count && rc == 0; i++) {
        if (h->ops[i].process == HISTORY_NEMESIS) {
            nemesis[count++] = i;
        }
    }
    for (uint32_t k = 0; k < keys.count && rc == 0; k++) {
        memcpy(rows, nemesis, count * sizeof *rows);
        rc = key_write(folder, h, workload, &keys, k, rows, count);
    }
    kv_mem_free(nemesis);
    kv_mem_free(rows);
    keys_close(&keys);
    return rc;
}
