/* jepsen/env/cluster_own.h - inside of struct cluster.
 *
 * Needs:    jepsen/env/keeper.h.
 * Used by:  jepsen/env/cluster*.c, faults*.c.
 * Threads:  what is behind the lock: its holder.
 */
#ifndef KV_JEPSEN_ENV_CLUSTER_OWN_H
#define KV_JEPSEN_ENV_CLUSTER_OWN_H

#include <pthread.h>

#include "jepsen/env/keeper.h"
#include "jepsen/layer/layer.h"

struct cluster {
    pthread_mutex_t lock; /* One request to the keeper at a time; also `error`. */
    int control;          /* Our end of the keeper's socket; -1: it is gone. */
    pid_t keeper;
    int home_ns; /* netns: the namespace that we came from; else -1. */
    enum cluster_env env;
    uint32_t nodes;
    uint64_t seed;
    uint64_t powers;              /* Power failures so far, over all nodes. */
    char dir[CLUSTER_PATH_BYTES]; /* Absolute. */
    char host_seen[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES];
    char host_own[FAULT_ENDS_MAX][CLUSTER_ADDRESS_BYTES];
    struct layer_control *layers[CLUSTER_NODES_MAX + 1]; /* [node]; NULL: bare disk. */
    char error[CLUSTER_ERROR_BYTES];
};

/* Asks the keeper. Fills in *r; returns its code, or KV_ECLOSED when it is gone. */
int cluster_ask(struct cluster *c, const struct keeper_request *q,
                struct keeper_reply *r);

/* Notes why a verb failed; returns `rc`. */
int cluster_fail(struct cluster *c, int rc, const char *format, ...) KV_PRINTF(3, 4);

void cluster_sleep_ms(uint32_t ms);

/* "DIR/nI/leaf" into `out`, CLUSTER_PATH_BYTES long; leaf "" for the folder. */
void cluster_path(const struct cluster *c, uint32_t node, const char *leaf, char *out);

#endif
