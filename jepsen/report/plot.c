/* jepsen/report/plot.c - latencies, quantiles and rate as SVG, faults behind them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/report/report.h"
#include "raft/base/arena.h"

enum {
    PLOT_BANDS_MAX = 12, /* Kinds of faults side by side. */
    PLOT_WINDOWS = 90,   /* Of quantiles. */
};

#define NS_PER_S 1e9

/* A picture: what its pixels mean. */
struct plot {
    double seconds; /* Right end of the time axis. */
    double low, high;
    bool log;
};

static double plot_x(const struct plot *p, double seconds)
{
    return REPORT_LEFT + seconds / p->seconds * (REPORT_WIDTH - REPORT_LEFT - 8);
}

static double plot_y(const struct plot *p, double value)
{
    double height = REPORT_HEIGHT - REPORT_TOP - REPORT_BOTTOM;
    double part;

    value = value < p->low ? p->low : value > p->high ? p->high : value;
    part = p->log ? (log10(value) - log10(p->low)) / (log10(p->high) - log10(p->low))
                  : (value - p->low) / (p->high - p->low);
    return REPORT_HEIGHT - REPORT_BOTTOM - part * height;
}

/* ---- the faults ---- */

static void fault_bands(FILE *f, const struct run *r, const struct plot *p)
{
    const char *kinds[PLOT_BANDS_MAX];
    uint32_t kinds_count = 0, band;
    double height =
        (REPORT_HEIGHT - REPORT_TOP - REPORT_BOTTOM) / (double)PLOT_BANDS_MAX;

    for (uint32_t i = 0; i < r->faults_count; i++) {
        const struct run_fault *fault = &r->faults[i];
        double begin = plot_x(p, (double)fault->begin_ns / NS_PER_S);
        double end = plot_x(
            p, (double)(fault->ended ? fault->end_ns : r->times.faults_ns) / NS_PER_S);

        for (band = 0; band < kinds_count; band++) {
            if (strcmp(kinds[band], fault->kind) == 0) {
                break;
            }
        }
        if (band == kinds_count && kinds_count < PLOT_BANDS_MAX) {
            kinds[kinds_count++] = fault->kind;
        }
        band = KV_MIN(band, PLOT_BANDS_MAX - 1);
        fprintf(f,
                "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                "height=\"%.1f\" fill=\"%s\" fill-opacity=\"0.6\"><title>",
                begin, REPORT_TOP + band * height, KV_MAX(end - begin, 1.0), height,
                report_colour(fault->kind));
        report_text(f, fault->kind);
        fputs(" ", f);
        report_text(f, fault->value);
        fputs("</title></rect>\n", f);
        fprintf(f,
                "<path class=\"edge\" stroke=\"%s\" d=\"M%.1f %dV%dM%.1f %dV%d\"/>\n",
                report_colour(fault->kind), begin, REPORT_TOP,
                REPORT_HEIGHT - REPORT_BOTTOM, end, REPORT_TOP,
                REPORT_HEIGHT - REPORT_BOTTOM);
    }
    for (band = 0; band < kinds_count; band++) {
        fprintf(f, "<text class=\"kind\" x=\"%d\" y=\"%.1f\">", REPORT_LEFT + 4,
                REPORT_TOP + band * height + height * 0.7);
        report_text(f, kinds[band]);
        fputs("</text>\n", f);
    }
}

/* ---- axes ---- */

static double tick_step(double range)
{
    double step = pow(10, floor(log10(range / 5)));

    return range / step > 25 ? step * 5 : range / step > 10 ? step * 2 : step;
}

static void axis_label(FILE *f, const struct plot *p, double value, const char *unit)
{
    double y = plot_y(p, value);

    fprintf(f,
            "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"axis\" x=\"%d\" "
            "y=\"%.1f\" text-anchor=\"end\">%g%s</text>\n",
            REPORT_LEFT, y, REPORT_WIDTH - 8, REPORT_LEFT - 6, y + 4, value, unit);
}

static void plot_begin(FILE *f, const struct run *r, const struct plot *p,
                       const char *id, const char *title, const char *unit)
{
    double step = tick_step(p->seconds);

    fprintf(f,
            "<h2>%s</h2>\n<svg id=\"%s\" class=\"plot\" viewBox=\"0 0 %d %d\" "
            "width=\"%d\" height=\"%d\" data-seconds=\"%.3f\" data-low=\"%g\" "
            "data-high=\"%g\">\n",
            title, id, REPORT_WIDTH, REPORT_HEIGHT, REPORT_WIDTH, REPORT_HEIGHT,
            p->seconds, p->low, p->high);
    fault_bands(f, r, p);
    for (double t = 0; t <= p->seconds; t += step) {
        fprintf(f,
                "<text class=\"axis\" x=\"%.1f\" y=\"%d\" "
                "text-anchor=\"middle\">%g s</text>\n",
                plot_x(p, t), REPORT_HEIGHT - 8, t);
    }
    if (p->log) {
        for (double v = p->low; v <= p->high * 1.01; v *= 10) {
            axis_label(f, p, v, unit);
        }
    } else {
        step = tick_step(p->high - p->low);
        for (double v = p->low; v <= p->high; v += step) {
            axis_label(f, p, v, unit);
        }
    }
}

/* ---- latencies ---- */

/* Milliseconds from invocation to completion; -1 for rows that are no completion of a
 * client. */
static double latency_ms(const struct history *h, const struct history_op *op)
{
    if (op->process < 0 || op->type == HISTORY_INVOKE || op->mate == HISTORY_NO_MATE) {
        return -1;
    }
    return KV_MAX((double)(op->time_ns - h->ops[op->mate].time_ns) / 1e6, 0.001);
}

static double begun_s(const struct history *h, const struct history_op *op)
{
    return (double)h->ops[op->mate].time_ns / NS_PER_S;
}

/* Every how-manieth operation of a type is drawn. */
static uint64_t stride_of(const struct history *h, enum history_type type)
{
    uint64_t count = 0;

    for (size_t i = 0; i < h->count; i++) {
        count += h->ops[i].type == type && h->ops[i].process >= 0;
    }
    return count / REPORT_POINTS_MAX + 1;
}

/* One path for all points of a type: a browser draws it at once. */
static void points_write(FILE *f, const struct history *h, const struct plot *p,
                         enum history_type type)
{
    uint64_t stride = stride_of(h, type);
    uint64_t count = 0;

    fprintf(f, "<path class=\"points %s\" d=\"", history_type_name(type));
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        double ms = latency_ms(h, op);

        if (op->type == type && ms >= 0 && count++ % stride == 0) {
            fprintf(f, "M%.1f %.1fh0", plot_x(p, begun_s(h, op)), plot_y(p, ms));
        }
    }
    fputs("\"/>\n", f);
}

/* What the script shows under the pointer: the same points again, with their words. */
static void points_data(FILE *f, const struct history *h)
{
    const char *separator = "";
    char value[48];

    fputs("<script type=\"application/json\" id=\"ops\">[", f);
    for (int type = HISTORY_OK; type <= HISTORY_INFO; type++) {
        uint64_t stride = stride_of(h, (enum history_type)type) * 4;
        uint64_t count = 0;

        for (size_t i = 0; i < h->count; i++) {
            const struct history_op *op = &h->ops[i];
            double ms = latency_ms(h, op);

            if ((int)op->type != type || ms < 0 || count++ % stride != 0) {
                continue;
            }
            report_value(h, op, value, sizeof value);
            fprintf(f, "%s[%.3f,%.3f,\"%s %s\",%" PRId32 ",%u,%u,%zu,\"%s\"]",
                    separator, begun_s(h, op), ms, history_type_name(op->type),
                    history_f_name(op->f), op->process, op->node, op->key, i, value);
            separator = ",\n";
        }
    }
    fputs("]</script>\n", f);
}

static void plot_latency(FILE *f, const struct run *r, const struct plot *p)
{
    plot_begin(f, r, p, "latency", "Latency of each operation", " ms");
    points_write(f, &r->history, p, HISTORY_OK);
    points_write(f, &r->history, p, HISTORY_FAIL);
    points_write(f, &r->history, p, HISTORY_INFO);
    fputs("</svg>\n<p id=\"under\">&nbsp;</p>\n", f);
    points_data(f, &r->history);
}

/* ---- quantiles ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Draws a quantile's line; sorted[w] has counts[w] latencies of window w. */
static void quantile_write(FILE *f, const struct plot *p, double *const *sorted,
                           const uint32_t *counts, double q, const char *class)
{
    char move = 'M';

    fprintf(f, "<path class=\"line %s\" d=\"", class);
    for (int w = 0; w < PLOT_WINDOWS; w++) {
        uint32_t n = counts[w];

        if (n > 0) {
            fprintf(f, "%c%.1f %.1f", move,
                    plot_x(p, (w + 0.5) * p->seconds / PLOT_WINDOWS),
                    plot_y(p, sorted[w][KV_MIN((uint32_t)(q * n), n - 1)]));
            move = 'L';
        }
    }
    fprintf(f, "\"><title>%g</title></path>\n", q);
}

static int window_of(const struct history *h, const struct history_op *op,
                     const struct plot *p)
{
    int w = (int)(begun_s(h, op) / p->seconds * PLOT_WINDOWS);

    return KV_MIN(w, PLOT_WINDOWS - 1);
}

static void plot_quantiles(FILE *f, const struct run *r, const struct plot *p)
{
    const struct history *h = &r->history;
    uint32_t counts[PLOT_WINDOWS] = {0}, filled[PLOT_WINDOWS] = {0};
    double *sorted[PLOT_WINDOWS];
    double *all = kv_mem_zalloc((h->count + 1) * sizeof *all);
    double *next = all;

    if (all == NULL) {
        return;
    }
    for (size_t i = 0; i < h->count; i++) {
        if (h->ops[i].type == HISTORY_OK) {
            counts[window_of(h, &h->ops[i], p)]++;
        }
    }
    for (int w = 0; w < PLOT_WINDOWS; w++) {
        sorted[w] = next;
        next += counts[w];
    }
    for (size_t i = 0; i < h->count; i++) {
        if (h->ops[i].type == HISTORY_OK) {
            int w = window_of(h, &h->ops[i], p);

            sorted[w][filled[w]++] = latency_ms(h, &h->ops[i]);
        }
    }
    for (int w = 0; w < PLOT_WINDOWS; w++) {
        qsort(sorted[w], counts[w], sizeof *all, compare_doubles);
    }
    plot_begin(f, r, p, "quantiles",
               "Quantiles of latency: <i class=\"q1\">0.5</i> <i class=\"q2\">0.95</i> "
               "<i class=\"q3\">0.99</i> <i class=\"q4\">1</i>",
               " ms");
    quantile_write(f, p, sorted, counts, 0.5, "q1");
    quantile_write(f, p, sorted, counts, 0.95, "q2");
    quantile_write(f, p, sorted, counts, 0.99, "q3");
    quantile_write(f, p, sorted, counts, 1, "q4");
    fputs("</svg>\n", f);
    kv_mem_free(all);
}

/* ---- rate ---- */

static uint32_t second_count(const struct run_second *s, enum history_type type)
{
    return type == HISTORY_OK ? s->ok : type == HISTORY_FAIL ? s->fail : s->info;
}

static void plot_rate(FILE *f, const struct run *r, const struct plot *like)
{
    struct plot p = {.seconds = like->seconds, .high = 10};

    for (uint32_t i = 0; i < r->seconds_count; i++) {
        p.high = KV_MAX(p.high, r->seconds[i].ok * 1.1);
        p.high = KV_MAX(p.high, r->seconds[i].fail * 1.1);
    }
    plot_begin(f, r, &p, "rate", "Completions per second", "");
    for (int type = HISTORY_OK; type <= HISTORY_INFO; type++) {
        fprintf(f, "<path class=\"line %s\" d=\"",
                history_type_name((enum history_type)type));
        for (uint32_t i = 0; i < r->seconds_count; i++) {
            fprintf(f, "%c%.1f %.1f", i == 0 ? 'M' : 'L', plot_x(&p, i + 0.5),
                    plot_y(&p, second_count(&r->seconds[i], (enum history_type)type)));
        }
        fputs("\"/>\n", f);
    }
    fputs("</svg>\n", f);
}

void plot_write(FILE *f, const struct run *r)
{
    const struct history *h = &r->history;
    struct plot p = {.low = 0.1, .high = 10, .log = true};

    p.seconds = h->count == 0
                    ? 1
                    : KV_MAX((double)h->ops[h->count - 1].time_ns / NS_PER_S, 1.0);
    for (size_t i = 0; i < h->count; i++) {
        while (latency_ms(h, &h->ops[i]) > p.high && p.high < 1e6) {
            p.high *= 10;
        }
    }
    plot_latency(f, r, &p);
    plot_quantiles(f, r, &p);
    plot_rate(f, r, &p);
}
