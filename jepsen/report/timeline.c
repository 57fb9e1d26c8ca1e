/* jepsen/report/timeline.c - a column per process, operations as boxes from call to
 * return. */
#include <inttypes.h>
#include <string.h>

#include "jepsen/report/report.h"
#include "raft/base/arena.h"

enum {
    TIMELINE_OPS_MAX = 400,
    TIMELINE_COLUMNS_MAX = 60,
    TIMELINE_COLUMN = 104, /* Pixels. */
    TIMELINE_ROW_MIN = 13, /* Height of a box with a line of text. */
    TIMELINE_HEAD = 24,
    TIMELINE_HEIGHT = 1400, /* At most, of all time. */
};

/* What of a history is shown. */
struct timeline {
    const struct run *run;
    const struct verdict_anomaly *anomaly; /* NULL: none. */
    int64_t begin_ns, end_ns;
    double pixels_per_ms;
    int32_t columns[TIMELINE_COLUMNS_MAX]; /* Processes, in order of appearance. */
    uint32_t columns_count;
    uint32_t ops_count;
};

static bool is_marked(const struct timeline *t, uint64_t index, uint64_t mate)
{
    for (uint32_t i = 0; t->anomaly != NULL && i < t->anomaly->ops_count; i++) {
        if (t->anomaly->ops[i] == index || t->anomaly->ops[i] == mate) {
            return true;
        }
    }
    return false;
}

static int64_t returned_ns(const struct history *h, const struct history_op *op)
{
    if (op->mate == HISTORY_NO_MATE || h->ops[op->mate].type == HISTORY_INFO) {
        return INT64_MAX; /* Nobody knows when it takes effect. */
    }
    return h->ops[op->mate].time_ns;
}

/* Is the invocation `op` in the picture? */
static bool is_shown(const struct timeline *t, const struct history_op *op)
{
    const struct history *h = &t->run->history;
    int64_t returned;

    if (op->type != HISTORY_INVOKE ||
        (t->anomaly != NULL && op->key != t->anomaly->key)) {
        return false;
    }
    if (is_marked(t, op->index, op->mate)) {
        return true;
    }
    returned = op->mate == HISTORY_NO_MATE ? INT64_MAX : h->ops[op->mate].time_ns;
    return op->time_ns <= t->end_ns && returned >= t->begin_ns;
}

/* The column of a process, a new one where there is room; -1 where not. */
static int column_of(struct timeline *t, int32_t process)
{
    for (uint32_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i] == process) {
            return (int)i;
        }
    }
    if (t->columns_count == TIMELINE_COLUMNS_MAX) {
        return -1;
    }
    t->columns[t->columns_count] = process;
    return (int)t->columns_count++;
}

static double y_of(const struct timeline *t, int64_t ns)
{
    ns = KV_MAX(KV_MIN(ns, t->end_ns), t->begin_ns);
    return TIMELINE_HEAD + (double)(ns - t->begin_ns) / 1e6 * t->pixels_per_ms;
}

static void op_write(FILE *f, struct timeline *t, const struct history_op *op)
{
    const struct history *h = &t->run->history;
    const struct history_op *end = op->mate == HISTORY_NO_MATE ? op : &h->ops[op->mate];
    int column = column_of(t, op->process);
    double top = y_of(t, op->time_ns);
    double bottom = y_of(t, returned_ns(h, op));
    char asked[64], answered[64];

    if (column < 0 || t->ops_count >= TIMELINE_OPS_MAX) {
        return;
    }
    t->ops_count++;
    report_value(h, op, asked, sizeof asked);
    report_value(h, end, answered, sizeof answered);
    fprintf(f,
            "<g class=\"op %s%s\"><rect x=\"%d\" y=\"%.1f\" width=\"%d\" "
            "height=\"%.1f\"/><text x=\"%d\" y=\"%.1f\">%s ",
            history_type_name(end->type),
            is_marked(t, op->index, op->mate) ? " marked" : "",
            column * TIMELINE_COLUMN + 2, top, TIMELINE_COLUMN - 4,
            KV_MAX(bottom - top, (double)TIMELINE_ROW_MIN - 1),
            column * TIMELINE_COLUMN + 5, top + 10, history_f_name(op->f));
    report_text(f, end->type == HISTORY_OK ? answered : asked);
    fprintf(f, "</text><title>%" PRIu64 ": process %d node %u key %u %s ", op->index,
            op->process, op->node, op->key, history_f_name(op->f));
    report_text(f, asked);
    fprintf(f, ", after %.3f ms %s ", (double)(end->time_ns - op->time_ns) / 1e6,
            history_type_name(end->type));
    report_text(f, answered);
    if (end->rev != 0 || end->at_rev != 0) {
        fprintf(f, ", group %u rev %" PRIu64 " at %" PRIu64, end->group, end->rev,
                end->at_rev);
    }
    fputs(" ", f);
    report_text(f, end->text == NULL ? "" : end->text);
    fputs("</title></g>\n", f);
}

/* The window around an anomaly: from its first call to its last return. */
static void window_of(struct timeline *t)
{
    const struct history *h = &t->run->history;
    int64_t begin = INT64_MAX, end = 0, margin;

    for (uint32_t i = 0; i < t->anomaly->ops_count; i++) {
        const struct history_op *op;

        if (t->anomaly->ops[i] >= h->count) {
            continue;
        }
        op = &h->ops[t->anomaly->ops[i]];
        begin = KV_MIN(begin, op->time_ns);
        end = KV_MAX(end, op->time_ns);
        if (op->mate != HISTORY_NO_MATE) {
            begin = KV_MIN(begin, h->ops[op->mate].time_ns);
            end = KV_MAX(end, h->ops[op->mate].time_ns);
        }
    }
    begin = KV_MIN(begin, end);
    margin = KV_MAX((end - begin) / 10, 5 * 1000000);
    t->begin_ns = KV_MAX(begin - margin, 0);
    t->end_ns = end + margin;
}

void timeline_write(FILE *f, const struct run *r, const struct verdict_anomaly *a,
                    int64_t begin_ns, int64_t end_ns)
{
    struct timeline *t = kv_mem_zalloc(sizeof *t);
    const struct history *h = &r->history;
    double ms;

    if (t == NULL) {
        return;
    }
    t->run = r;
    t->anomaly = a;
    t->begin_ns = begin_ns;
    t->end_ns = end_ns;
    if (a != NULL) {
        window_of(t);
    }
    ms = KV_MAX((double)(t->end_ns - t->begin_ns) / 1e6, 1.0);
    t->pixels_per_ms = KV_MIN(TIMELINE_HEIGHT / ms, 20.0);
    for (size_t i = 0; i < h->count && t->columns_count < TIMELINE_COLUMNS_MAX; i++) {
        if (is_shown(t, &h->ops[i])) {
            (void)column_of(t, h->ops[i].process);
        }
    }
    fprintf(f,
            "<div class=\"scroll\"><svg class=\"timeline\" width=\"%u\" "
            "height=\"%.0f\">\n",
            KV_MAX(t->columns_count, 1) * TIMELINE_COLUMN,
            y_of(t, t->end_ns) + TIMELINE_ROW_MIN);
    for (uint32_t i = 0; i < t->columns_count; i++) {
        fprintf(f, "<text class=\"axis\" x=\"%u\" y=\"14\">process %d</text>\n",
                i * TIMELINE_COLUMN + 5, t->columns[i]);
    }
    for (size_t i = 0; i < h->count; i++) {
        if (is_shown(t, &h->ops[i])) {
            op_write(f, t, &h->ops[i]);
        }
    }
    fprintf(
        f, "</svg></div>\n<p class=\"small\">%.3f s to %.3f s, %u operations%s%s</p>\n",
        (double)t->begin_ns / 1e9, (double)t->end_ns / 1e9, t->ops_count,
        a != NULL ? " of this key" : "",
        t->ops_count == TIMELINE_OPS_MAX ? " (the first ones)" : "");
    kv_mem_free(t);
}
