/* server/upkeep.h - paces what the disk does on the side: sweeping and scrubbing.
 *
 * Sweeping deletes what old snapshots and compaction left, in bounded steps, until
 * nothing is left. Scrubbing reads everything that is stored, a few bytes at a time,
 * and tells the group whose entry or row failed its checksum. One job of each at most.
 *
 * Needs:    server/node.h, disk.h.
 * Used by:  server/node.c, admin.c, metrics.c.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_UPKEEP_H
#define KV_SERVER_UPKEEP_H

#include "server/node.h"

enum {
    UPKEEP_SWEEP_MS = 1000, /* Between looks; at once while there is more. */
    UPKEEP_SCRUB_MS = 250,  /* Between steps of scrub_bytes_per_s / 4 bytes. */
};

KV_MUST_CHECK int upkeep_new(struct node *n, struct upkeep **out);
void upkeep_free(struct upkeep *u); /* No job may be running. */
void upkeep_tick(struct node *n);
uint64_t upkeep_deadline_ms(const struct upkeep *u);
void upkeep_on_job(struct node *n, struct disk_job *job);

struct upkeep_stats {
    uint64_t sweeps, scrubs, scrub_bytes, scrub_rounds, damages;
};
void upkeep_stats_get(const struct upkeep *u, struct upkeep_stats *out);

#endif
