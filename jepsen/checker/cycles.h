/* jepsen/checker/cycles.h - cycles in a graph of transactions, and their names.
 *
 * Nodes are transactions, and behind them moments of a clock, through which real-time
 * edges run: a transaction leads to the moment of its end, each moment to the next, and
 * a moment to the transactions that began after it and before the next. That is all of
 * "ended before it began" in three edges per transaction.
 *
 * Needs:    raft/base/check.h.
 * Used by:  jepsen/checker/append.c.
 * Threads:  one.
 * Source:   Tarjan 1972; Adya 1999 (G0 to G2); Kingsbury and Alvaro, "Elle", 2020.
 */
#ifndef KV_JEPSEN_CHECKER_CYCLES_H
#define KV_JEPSEN_CHECKER_CYCLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"

enum cycles_kind {
    CYCLES_WW,       /* The next version of something. */
    CYCLES_WR,       /* Read what the other wrote. */
    CYCLES_RW,       /* Read what the other then replaced. */
    CYCLES_PROCESS,  /* Came next in the same process. */
    CYCLES_REALTIME, /* Ended before the other began; runs through moments. */
    CYCLES_KINDS,
};

struct cycles_edge {
    uint32_t from, to;
    enum cycles_kind kind;
};

struct cycles {
    uint32_t transactions; /* Nodes [0, transactions). */
    uint32_t moments;      /* Nodes behind them. */
    struct cycles_edge *edges;
    size_t count, cap;
};

enum {
    CYCLES_PATH_MAX = 32, /* Transactions of a cycle that are kept. */
};

/* One cycle: nodes[i] leads to nodes[i + 1] by kinds[i], the last to the first. */
struct cycles_found {
    char name[32]; /* "G0", "G-single-realtime" ... */
    uint32_t nodes[CYCLES_PATH_MAX];
    enum cycles_kind kinds[CYCLES_PATH_MAX];
    uint32_t count; /* Transactions; more than CYCLES_PATH_MAX are not kept. */
};

typedef void cycles_report(void *ctx, const struct cycles_found *found);

void cycles_init(struct cycles *c, uint32_t transactions, uint32_t moments);
void cycles_close(struct cycles *c);

/* Adds an edge; one to itself is left out. Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int cycles_edge(struct cycles *c, uint32_t from, uint32_t to,
                              enum cycles_kind kind);

/* Finds the strongly connected components, and in each the shortest cycles that it
 * looks for: G0 (ww), G1c (ww and wr), then one with rw: G-single (one), G-nonadjacent
 * (no two in a row), G2-item (any); with "-process" or "-realtime" where only such
 * edges close one. In large components it looks from a part of the nodes; a component
 * in which it finds none within its bounds is reported as "cycle", without nodes.
 * *out_components: how many have a cycle. Returns 0 or KV_ENOMEM. */
KV_MUST_CHECK int cycles_find(struct cycles *c, cycles_report *report,
                              uint64_t *out_components, void *ctx);

const char *cycles_kind_name(enum cycles_kind kind);

#endif
