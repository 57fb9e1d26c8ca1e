/* jepsen/report/report.c - the page of a run. */
#include "jepsen/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "jepsen/report/page.h"
#include "raft/base/err.h"

enum {
    REPORT_ANOMALIES_MAX = 12, /* With a timeline. */
    REPORT_LIST_MAX = 8,       /* Elements of a list that are shown. */
    REPORT_FAULT_ROWS_MAX = 200,
};

/* ---- small parts ---- */

void report_text(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc(*text, f);
        }
    }
}

/* Adds to a text that may be full. */
static void add(char *out, size_t bytes, const char *format, ...) KV_PRINTF(3, 4);
static void add(char *out, size_t bytes, const char *format, ...)
{
    size_t len = strlen(out);
    va_list args;

    if (len + 1 < bytes) {
        va_start(args, format);
        vsnprintf(out + len, bytes - len, format, args);
        va_end(args);
    }
}

/* The end of a list: where elements differ. */
static void add_list(char *out, size_t bytes, const int64_t *ints, uint32_t count)
{
    uint32_t begin = count > REPORT_LIST_MAX ? count - REPORT_LIST_MAX : 0;

    add(out, bytes, begin > 0 ? "[.. " : "[");
    for (uint32_t i = begin; i < count; i++) {
        add(out, bytes, "%s%" PRId64, i > begin ? " " : "", ints[i]);
    }
    add(out, bytes, "]");
}

void report_value(const struct history *h, const struct history_op *op, char *out,
                  size_t bytes)
{
    const struct history_value *v = &op->value;
    const int64_t *ints = history_ints(h, v);
    struct history_micro micro;
    uint32_t at = 0;

    out[0] = '\0';
    switch (v->kind) {
    case HISTORY_INT:
        add(out, bytes, "%" PRId64, ints[0]);
        break;
    case HISTORY_PAIR:
        add(out, bytes, "%" PRId64 " to %" PRId64, ints[0], ints[1]);
        break;
    case HISTORY_LIST:
        add_list(out, bytes, ints, v->count);
        break;
    case HISTORY_MICRO:
        while (history_micro_next(h, v, &at, &micro)) {
            if (micro.is_append) {
                add(out, bytes, "append %" PRId64 " ", micro.element);
            } else if (!micro.is_nil) {
                add(out, bytes, "r ");
                add_list(out, bytes, micro.ids, micro.ids_count);
                add(out, bytes, " ");
            }
        }
        break;
    case HISTORY_NIL:
    case HISTORY_TEXT:
        add(out, bytes, "nil");
        break;
    }
}

const char *report_colour(const char *kind)
{
    /* Jepsen's, and for what it does not have, colours near to them. */
    static const struct {
        const char *part; /* Of the kind's name. */
        const char *colour;
    } colours[] = {
        {"kill", "#e9a4a0"},   {"term", "#e9b8a0"},  {"restart", "#e9a4a0"},
        {"power", "#d98f8b"},  {"pause", "#a0b1e9"}, {"partition", "#e9dca0"},
        {"packet", "#d1e8a0"}, {"loss", "#d1e8a0"},  {"delay", "#d1e8a0"},
        {"link", "#d1e8a0"},   {"net", "#d1e8a0"},   {"clock", "#a0e9e3"},
        {"bit", "#99f2e2"},    {"trunc", "#99f2e2"}, {"roll", "#99f2e2"},
        {"damage", "#99f2e2"}, {"copy", "#99f2e2"},  {"wipe", "#99f2e2"},
        {"clone", "#99f2e2"},  {"disk", "#d9b3e6"},  {"full", "#c9a0e9"},
        {"cpu", "#e9c8a0"},    {"slow", "#e9c8a0"},
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(colours); i++) {
        if (strstr(kind, colours[i].part) != NULL) {
            return colours[i].colour;
        }
    }
    return "#cccccc";
}

/* ---- the page ---- */

static void head_write(FILE *f, const struct run *r)
{
    const char *valid = verdict_name(r->valid);

    fprintf(f, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    report_text(f, r->o->name);
    fprintf(f, ": %s</title>\n<style>\n%s</style></head>\n<body>\n<h1>", valid,
            page_style);
    report_text(f, r->o->name);
    fprintf(
        f,
        " <span id=\"verdict\" class=\"badge %s\">%s</span></h1>\n<p class=\"small\">",
        valid, valid);
    report_text(f, r->begun);
    fputs(", ", f);
    report_text(f, r->env);
    fprintf(f,
            ", %u nodes; %" PRIu64 " operations: %" PRIu64 " ok, %" PRIu64
            " certainly not done, %" PRIu64
            " unknown; %u faults, %u proven by a probe. "
            "Rows: <a href=\"history.txt\">history.txt</a>, "
            "<a href=\"history.edn\">history.edn</a>, "
            "<a href=\"results.json\">results.json</a></p>\n<pre>",
            r->o->nodes, r->count.ok + r->count.fail + r->count.info, r->count.ok,
            r->count.fail, r->count.info, r->nemesis.begun, r->nemesis.effective);
    report_text(f, r->command);
    fputs("</pre>\n", f);
}

static void verdicts_write(FILE *f, const struct run *r)
{
    fputs(
        "<h2>Verdicts</h2>\n<table id=\"verdicts\"><tr><th>checker</th><th>verdict</th>"
        "<th>what it saw</th></tr>\n",
        f);
    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        const struct verdict *v = &r->verdicts[i];

        fprintf(f, "<tr><td>%s</td><td><span class=\"badge %s\">%s</span></td><td>",
                v->checker, verdict_name(v->valid), verdict_name(v->valid));
        report_text(f, v->text);
        if (v->text[0] != '\0') {
            fputs("<br>", f);
        }
        fputs("<span class=\"small\">", f);
        for (uint32_t j = 0; j < v->facts_count; j++) {
            fprintf(f, "%s%s %.10g", j > 0 ? ", " : "", v->facts[j].name,
                    v->facts[j].value);
        }
        fputs("</span></td></tr>\n", f);
    }
    fputs("</table>\n", f);
}

static void milliseconds(FILE *f, double ms)
{
    if (ms < 0) {
        fputs("<td class=\"n\">not before its end</td>", f);
    } else {
        fprintf(f, "<td class=\"n\">%.0f ms</td>", ms);
    }
}

static void faults_write(FILE *f, const struct run *r)
{
    if (r->faults_count == 0) {
        fputs("<h2>Faults</h2>\n<p>None.</p>\n", f);
        return;
    }
    fputs("<h2>Faults and recovery</h2>\n<table id=\"faults\"><tr><th>fault</th>"
          "<th class=\"n\">from</th><th class=\"n\">to</th><th>probe</th>"
          "<th class=\"n\">writes again after</th><th class=\"n\">after its end</th>"
          "<th>what</th></tr>\n",
          f);
    for (uint32_t i = 0; i < KV_MIN(r->faults_count, REPORT_FAULT_ROWS_MAX); i++) {
        const struct run_fault *fault = &r->faults[i];
        int64_t end = fault->ended ? fault->end_ns : r->times.faults_ns;

        fprintf(f, "<tr><td><span class=\"swatch\" style=\"background:%s\"></span>",
                report_colour(fault->kind));
        report_text(f, fault->kind);
        fprintf(f, "</td><td class=\"n\">%.2f s</td><td class=\"n\">%.2f s</td><td>%s ",
                (double)fault->begin_ns / 1e9, (double)end / 1e9,
                fault->effective ? "seen" : "not seen:");
        report_text(f, fault->why);
        fputs("</td>", f);
        milliseconds(f, fault->recover_ms);
        milliseconds(f, fault->recover_end_ms);
        fputs("<td class=\"small\">", f);
        report_text(f, fault->value);
        fputs("</td></tr>\n", f);
    }
    fputs("</table>\n", f);
}

/* The rows of an anomaly as a table. */
static void ops_write(FILE *f, const struct run *r, const struct verdict_anomaly *a)
{
    const struct history *h = &r->history;
    char value[128];

    fputs("<table class=\"ops\"><tr><th class=\"n\">row</th><th class=\"n\">time</th>"
          "<th class=\"n\">process</th><th class=\"n\">node</th><th>type</th><th>f</th>"
          "<th>value</th><th>where</th></tr>\n",
          f);
    for (uint32_t i = 0; i < a->ops_count; i++) {
        const struct history_op *op;

        if (a->ops[i] >= h->count) {
            continue;
        }
        op = &h->ops[a->ops[i]];
        report_value(h, op, value, sizeof value);
        fprintf(
            f,
            "<tr><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.6f s</td>"
            "<td class=\"n\">%d</td><td class=\"n\">%u</td><td>%s</td><td>%s</td><td>",
            op->index, (double)op->time_ns / 1e9, op->process, op->node,
            history_type_name(op->type), history_f_name(op->f));
        report_text(f, value);
        fputs("</td><td class=\"small\">", f);
        if (op->rev != 0 || op->at_rev != 0) {
            fprintf(f, "group %u term %" PRIu64 " rev %" PRIu64 " at %" PRIu64,
                    op->group, op->term, op->rev, op->at_rev);
        }
        report_text(f, op->text == NULL ? "" : op->text);
        fputs("</td></tr>\n", f);
    }
    fputs("</table>\n", f);
}

static void anomalies_write(FILE *f, const struct run *r)
{
    uint32_t shown = 0;

    for (uint32_t i = 0; i < r->verdicts_count; i++) {
        const struct verdict *v = &r->verdicts[i];

        for (uint32_t j = 0; j < v->anomalies_count && shown < REPORT_ANOMALIES_MAX;
             j++) {
            const struct verdict_anomaly *a = &v->anomalies[j];

            shown++;
            fprintf(f, "<div class=\"anomaly\"><h2>%s: ", v->checker);
            report_text(f, a->kind);
            if (a->ops_count > 0) {
                fprintf(f, ", key %u", a->key);
            }
            fputs("</h2>\n<p>", f);
            report_text(f, a->text);
            fputs("</p>\n", f);
            if (a->ops_count > 0) {
                fputs("<p class=\"small\">The fewest operations that show it:</p>\n",
                      f);
                ops_write(f, r, a);
                timeline_write(f, r, a, 0, 0);
            }
            fputs("</div>\n", f);
        }
        if (v->anomalies_total > v->anomalies_count) {
            fprintf(f, "<p>%s: %" PRIu64 " anomalies, of these %u are kept.</p>\n",
                    v->checker, v->anomalies_total, v->anomalies_count);
        }
    }
    if (shown == 0 && r->history.count > 0) {
        int64_t begin = r->faults_count > 0 ? r->faults[0].begin_ns - 5000000 : 0;

        fputs(
            "<h2>Who did what</h2>\n<p class=\"small\">Nothing is wrong; this is what "
            "processes did when the first fault began.</p>\n",
            f);
        begin = KV_MAX(begin, 0);
        timeline_write(f, r, NULL, begin, begin + 100 * INT64_C(1000000));
    }
}

int report_write(struct run *r)
{
    char path[CLUSTER_PATH_BYTES + 32];
    FILE *f;
    int rc = 0;

    snprintf(path, sizeof path, "%s/report.html", r->dir);
    f = fopen(path, "we");
    if (f != NULL) {
        head_write(f, r);
        verdicts_write(f, r);
        plot_write(f, r);
        faults_write(f, r);
        anomalies_write(f, r);
        fprintf(f, "<script>\n%s</script>\n</body></html>\n", page_script);
        rc = ferror(f) != 0;
        rc |= fclose(f) != 0;
    }
    if (f == NULL || rc != 0) {
        snprintf(r->error, sizeof r->error, "%.400s: %s", path, strerror(errno));
        return KV_EIO;
    }
    return 0;
}
