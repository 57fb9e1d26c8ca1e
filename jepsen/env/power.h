/* jepsen/env/power.h - takes back what a killed process wrote and did not sync.
 *
 * Reads the undo log of the disk layer, newest record first, and undoes what no later
 * sync made durable. The rules are those that a file system promises: fdatasync makes
 * content, size and the name of a new file durable; a rename or a removal needs an
 * fsync of the folder; a synchronous write makes its own pages durable.
 *
 * Needs:    jepsen/layer/layer.h, raft/base/check.h.
 * Used by:  jepsen/env/cluster.c, faults.c.
 * Threads:  any, one per folder; the process that wrote must be gone.
 */
#ifndef KV_JEPSEN_ENV_POWER_H
#define KV_JEPSEN_ENV_POWER_H

#include "jepsen/layer/layer.h"
#include "raft/base/check.h"

/* Makes the layer's folder and its control page; NULL with errno. */
struct layer_control *power_layer_open(const char *state_dir);

/* Unmaps, and removes the folder with all that the layer put into it. */
void power_layer_close(struct layer_control *control, const char *state_dir);

/* Removes the folder, whoever has the page mapped; none is fine. */
void power_layer_remove(const char *state_dir);

/* data_dir, state_dir  the folders of one node.
 * keep_ppm   chance that a sector that was not synced is kept nevertheless.
 * seed       decides which.
 * *out_lost_bytes  content that was taken back.
 * Returns 0; KV_EIO when a file could not be put back; KV_ECORRUPT when the log is not
 * whole. Afterwards the log is empty. */
KV_MUST_CHECK int power_fail(const char *data_dir, const char *state_dir,
                             uint32_t keep_ppm, uint64_t seed,
                             uint64_t *out_lost_bytes);

/* Empties the log: the files of the node were replaced, nothing in it is true. */
void power_forget(const char *state_dir);

#endif
