/* jepsen/verdict.h - what a checker says about a history.
 *
 * A verdict is valid, unknown or invalid, with a few lines that a person can read and
 * the rows that show it. Verdicts of several checkers merge: the worst one wins.
 *
 * Needs:    jepsen/history.h.
 * Used by:  jepsen/checker, jepsen/report, jepsen/run.c.
 * Threads:  any, one at a time.
 * Source:   Jepsen's merge-valid: false > unknown > true.
 */
#ifndef KV_JEPSEN_VERDICT_H
#define KV_JEPSEN_VERDICT_H

#include <stddef.h>
#include <stdint.h>

#include "raft/base/bytes.h"
#include "raft/base/check.h"

/* In order of weight, and the exit status of kvjepsen but for their order. */
enum verdict_valid {
    VERDICT_VALID,
    VERDICT_UNKNOWN, /* The run proves nothing, or the check ran out of its bounds. */
    VERDICT_INVALID,
};

enum {
    VERDICT_ANOMALIES_MAX = 64, /* More are counted, not kept. */
    VERDICT_OPS_MAX = 64,       /* Rows kept per anomaly. */
};

/* One thing that is wrong, and the fewest rows that show it. */
struct verdict_anomaly {
    char kind[32]; /* "stale-read", "G1c", "lost-element" ... */
    char text[512];
    uint32_t key;
    uint64_t ops[VERDICT_OPS_MAX]; /* Indices of rows, ascending. */
    uint32_t ops_count;
};

/* A number worth printing. */
struct verdict_fact {
    char name[32]; /* "ops", "keys", "longest_s" */
    double value;
};

struct verdict {
    char checker[32];
    enum verdict_valid valid;
    char text[512];                    /* One line: the reason. */
    struct verdict_anomaly *anomalies; /* [anomalies_count], owned. */
    uint32_t anomalies_count;
    uint64_t anomalies_total; /* With those that were not kept. */
    struct verdict_fact facts[32];
    uint32_t facts_count;
};

/* Makes a valid verdict without anomalies. `checker` is copied. */
void verdict_init(struct verdict *v, const char *checker);

/* Gives its memory back. */
void verdict_close(struct verdict *v);

/* Adds an anomaly (copied, its rows sorted) and makes the verdict invalid; the first
 * one's text becomes the reason. Anomalies beyond VERDICT_ANOMALIES_MAX are only
 * counted. */
void verdict_add(struct verdict *v, const struct verdict_anomaly *anomaly);

/* Makes a valid verdict unknown, with the reason; any other stays as it is. */
void verdict_doubt(struct verdict *v, const char *format, ...) KV_PRINTF(2, 3);

/* Adds a number; at most 32 of them, later ones are dropped. */
void verdict_fact(struct verdict *v, const char *name, double value);

/* The worse of two. */
enum verdict_valid verdict_worse(enum verdict_valid a, enum verdict_valid b);

/* "valid", "unknown", "invalid". Static. */
const char *verdict_name(enum verdict_valid valid);

#endif
