/* jepsen/verdict.c - what a checker says about a history. */
#include "jepsen/verdict.h"

#include <stdarg.h>
#include <stdio.h>

#include "raft/base/arena.h"

void verdict_init(struct verdict *v, const char *checker)
{
    memset(v, 0, sizeof *v);
    snprintf(v->checker, sizeof v->checker, "%s", checker);
}

void verdict_close(struct verdict *v)
{
    kv_mem_free(v->anomalies);
    v->anomalies = NULL;
    v->anomalies_count = 0;
}

/* Ascending, each row once. */
static void rows_sort(struct verdict_anomaly *a)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->ops_count; i++) {
        uint64_t row = a->ops[i];
        uint32_t at = n;

        while (at > 0 && a->ops[at - 1] > row) {
            at--;
        }
        if (at > 0 && a->ops[at - 1] == row) {
            continue;
        }
        memmove(&a->ops[at + 1], &a->ops[at], (n - at) * sizeof a->ops[0]);
        a->ops[at] = row;
        n++;
    }
    a->ops_count = n;
}

void verdict_add(struct verdict *v, const struct verdict_anomaly *anomaly)
{
    KV_ASSERT(anomaly->ops_count <= VERDICT_OPS_MAX);
    if (v->valid != VERDICT_INVALID) {
        v->valid = VERDICT_INVALID;
        snprintf(v->text, sizeof v->text, "%s", anomaly->text);
    }
    v->anomalies_total++;
    if (v->anomalies == NULL) {
        v->anomalies = kv_mem_zalloc(VERDICT_ANOMALIES_MAX * sizeof *v->anomalies);
    }
    if (v->anomalies == NULL || v->anomalies_count == VERDICT_ANOMALIES_MAX) {
        return;
    }
    v->anomalies[v->anomalies_count] = *anomaly;
    rows_sort(&v->anomalies[v->anomalies_count]);
    v->anomalies_count++;
}

void verdict_doubt(struct verdict *v, const char *format, ...)
{
    va_list args;

    if (v->valid != VERDICT_VALID) {
        return;
    }
    v->valid = VERDICT_UNKNOWN;
    va_start(args, format);
    vsnprintf(v->text, sizeof v->text, format, args);
    va_end(args);
}

void verdict_fact(struct verdict *v, const char *name, double value)
{
    struct verdict_fact *f = &v->facts[v->facts_count];

    if (v->facts_count == KV_ARRAY_COUNT(v->facts)) {
        return;
    }
    snprintf(f->name, sizeof f->name, "%s", name);
    f->value = value;
    v->facts_count++;
}

enum verdict_valid verdict_worse(enum verdict_valid a, enum verdict_valid b)
{
    return a > b ? a : b;
}

const char *verdict_name(enum verdict_valid valid)
{
    static const char *const names[] = {"valid", "unknown", "invalid"};

    KV_ASSERT((unsigned)valid < KV_ARRAY_COUNT(names));
    return names[valid];
}
