/* server/banner.h - what kvd says when it starts, waits and is ready.
 *
 * Needs:    server/config.h, server/node.h.
 * Used by:  server/main.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_BANNER_H
#define KV_SERVER_BANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/config.h"
#include "server/node.h"

/* What a node has to show for itself. */
struct banner_state {
    bool ready;          /* It runs, knows the map, and its groups have leaders. */
    uint32_t groups;     /* Data groups of the cluster, by the map or the settings. */
    uint32_t hosted;     /* Of them with a replica here. */
    uint32_t led;        /* Of them led here. */
    uint32_t leaderless; /* Of the hosted ones, meta included: no known leader. */
};

void banner_state_get(const struct node *n, struct banner_state *out);

/* Writes the block that is printed at start: version, addresses, data, cluster, status.
 * Returns the number of bytes, at most size - 1. */
size_t banner_start(const struct config *c, const struct node *n, char *out,
                    size_t size);

/* Writes one log line on how the node stands now: ready, or what it waits for. */
void banner_status(const struct node *n, const struct banner_state *s, char *out,
                   size_t size);

#endif
