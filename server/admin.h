/* server/admin.h - what the HTTP port says: livez, readyz, metrics, status.
 *
 *   /livez              200 "ok": the loop turns
 *   /readyz[?verbose]   200 or 503: should clients be sent here? One line per check
 *   /health             as /readyz
 *   /metrics            Prometheus text 0.0.4
 *   /v1/status          JSON: the facts of cluster.status and what the node waits for
 *
 * admin_get() itself is declared in server/node.h.
 *
 * Needs:    server/node.h, metrics.h, rpc/buf.h.
 * Used by:  server/uv_http.c, through node.h.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_ADMIN_H
#define KV_SERVER_ADMIN_H

#include <stdbool.h>

#include "server/node.h"

/* One question of /readyz. */
struct admin_check {
    const char *name; /* [a-z]+ */
    bool ok;
    char reason[128]; /* "" when ok. */
};

enum {
    ADMIN_CHECKS = 5
};

/* Asks all of them; true when each is ok. */
bool admin_checks(const struct node *n, struct admin_check out[ADMIN_CHECKS]);

#endif
