/* jepsen/checker/set.h - are all elements of each set there that must be?
 *
 * An element is known from the end of its add, or of the first read that saw it, on. A
 * read that begins later and misses it is stale; when no later read has it either, the
 * element is lost. Seeing what was never added, or what certainly failed, or one
 * element twice, is wrong in any case.
 *
 * Of a read that is one atomic look (SET_ATOMIC) more is asked: it happened after the
 * beginning of each add that it saw, and of any two reads one holds the other. Then
 * what passes has an order, as exactly as if all orders were tried.
 *
 * Needs:    jepsen/verdict.h, jepsen/history.h.
 * Used by:  jepsen/judge.c.
 * Threads:  any; the history is only read.
 * Source:   jepsen.checker/set-full.
 */
#ifndef KV_JEPSEN_CHECKER_SET_H
#define KV_JEPSEN_CHECKER_SET_H

#include "jepsen/history.h"
#include "jepsen/verdict.h"

enum set_mode {
    SET_EVENTUAL, /* Stale reads are counted only. */
    SET_FRESH,    /* A read sees all that was known when it began. */
    SET_ATOMIC,   /* ... and is one look. */
};

/* Judges add and read of a history, key by key. Facts: adds, reads, stable, stale,
 * lost, never_read (known, but no read began later), and the quantiles of the time in
 * ms from known to stable: stable_p50_ms, _p95_ms, _p99_ms, _max_ms. Unknown where no
 * element is stable. *out is initialised here. Cost: the size of all reads together. */
void set_check(const struct history *h, enum set_mode mode, struct verdict *out);

#endif
