/* jepsen/report/report.h - the run as one page that needs nothing but itself.
 *
 * report.html holds verdict, facts, faults as shaded bands, latencies, quantiles, rate,
 * times to recover, and for each anomaly its operations and who did what around it. All
 * pictures are SVG in the page, made here; the script only shows the operation under
 * the pointer, and the page is whole without it. index.html lists all runs of a store.
 *
 * Needs:    jepsen/run.h, jansson for the index.
 * Used by:  jepsen/main.c.
 * Threads:  any, one at a time.
 * Source:   jepsen.checker.perf, jepsen.checker.timeline; reliability.md section 2.6.
 */
#ifndef KV_JEPSEN_REPORT_REPORT_H
#define KV_JEPSEN_REPORT_REPORT_H

#include <stdio.h>

#include "jepsen/run.h"

enum {
    REPORT_WIDTH = 900, /* Of pictures, pixels. */
    REPORT_HEIGHT = 400,
    REPORT_LEFT = 64, /* Margins for the axes. */
    REPORT_BOTTOM = 28,
    REPORT_TOP = 8,
    REPORT_POINTS_MAX = 20000, /* Of a kind; above, every second, third ... is drawn. */
};

/* Writes r->dir/report.html. 0, or KV_EIO with the reason in r->error. */
KV_MUST_CHECK int report_write(struct run *r);

/* Writes STORE/index.html over all runs in it. 0 or KV_EIO. */
KV_MUST_CHECK int report_index(const char *store);

/* ---- parts of the page ---- */

/* Text with &, <, > and quotes escaped. */
void report_text(FILE *f, const char *text);

/* An operation's value in a few characters: "3", "1 to 2", "[1 2 3 ...]". */
void report_value(const struct history *h, const struct history_op *op, char *out,
                  size_t bytes);

/* The colour that a kind of fault is shaded with, "#e9dca0". Static. */
const char *report_colour(const char *kind);

/* Pictures of latencies, quantiles and rate, with the faults behind them. */
void plot_write(FILE *f, const struct run *r);

/* Who did what around an anomaly, or between two times where `a` is NULL. */
void timeline_write(FILE *f, const struct run *r, const struct verdict_anomaly *a,
                    int64_t begin_ns, int64_t end_ns);

#endif
