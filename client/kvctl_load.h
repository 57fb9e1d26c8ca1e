/* client/kvctl_load.h - load on a cluster, and what it answered.
 *
 * Closed loop: each client keeps `flight` calls under way, and the cluster's speed sets
 * the rate. Open loop: calls are due at times drawn beforehand (a Poisson process of
 * `rate` calls a second), whether earlier ones have ended or not, and their latency
 * counts from when they were due: what waits because the cluster stood still is not
 * left out of the numbers (coordinated omission).
 *
 * Needs:    client/kv.h, kvctl_hist.h, kvctl_keys.h, uv.
 * Used by:  client/kvctl_bench.c.
 * Threads:  one.
 */
#ifndef KV_CLIENT_KVCTL_LOAD_H
#define KV_CLIENT_KVCTL_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/kv.h"
#include "client/kvctl_hist.h"
#include "client/kvctl_keys.h"
#include "raft/base/check.h"

/* X(operation, name) in the order in which they are reported. */
#define LOAD_OP_MAP(X) \
    X(GET, "get")      \
    X(PUT, "put")      \
    X(DEL, "del")      \
    X(INCR, "incr")    \
    X(CAS, "cas")      \
    X(RANGE, "range")

enum load_op {
#define LOAD_OP_ENUM(op, name) LOAD_##op,
    LOAD_OP_MAP(LOAD_OP_ENUM)
#undef LOAD_OP_ENUM
    LOAD_OPS_COUNT,
};

enum {
    LOAD_CLIENTS_MAX = 10000,
    LOAD_FLIGHT_MAX = 1024,
    LOAD_ERRORS_MAX = 16, /* Different error codes kept apart. */
    LOAD_RANGE_LIMIT = 10 /* Items of a range. */
};

struct load_options {
    const char *endpoints;
    enum kv_routing routing;
    enum kv_sessions sessions;
    uint32_t weights[LOAD_OPS_COUNT]; /* Of the mix; at least one is not 0. */
    const char *keys;                 /* Distribution: keys_init(). */
    uint64_t keys_count;
    uint32_t value_bytes;
    uint32_t clients; /* Each with connections of its own, */
    uint32_t flight;  /* and so many calls under way. */
    double rate;      /* Calls a second over all clients; 0: closed loop. */
    uint64_t warmup_ns, duration_ns;
    uint64_t count; /* Ends after so many calls behind the warm-up; 0: no bound. */
    bool fill;      /* First writes every key once, uncounted. */
    uint64_t seed;
    uint32_t deadline_ms; /* Of each call. */
    /* Called once a second; NULL for silence. `second` holds that second alone. */
    void (*progress)(void *ctx, double elapsed_s, const struct hist *second,
                     uint64_t failed);
    void *progress_ctx;
};

/* What happened to the calls of one kind after the warm-up: closed loop, those that
 * began after it; open loop, those that ended after it. */
struct load_kind {
    struct hist latency_ns; /* Of those that were done. */
    uint64_t done;          /* A get without a key, a cas that lost: done. */
    uint64_t not_done;      /* Certainly not. */
    uint64_t unknown;
};

struct load_result {
    struct load_kind kinds[LOAD_OPS_COUNT];
    struct {
        int error; /* KV_ERR_*; 0 ends the list. */
        uint64_t count;
    } errors[LOAD_ERRORS_MAX];
    uint64_t elapsed_ns; /* From the end of the warm-up to the last counted answer. */
    uint64_t missed;     /* Open loop: calls due that never began. */
    bool interrupted;    /* By SIGINT: the numbers stand, for a shorter time. */
    char error[256];     /* The text of the first error; "" for none. */
};

/* Puts the load on. `o` [borrowed for the call]; `out` [out] is large: not for a stack.
 * Returns 0; KV_ERR_INVALID: an endpoint or distribution cannot be read;
 * KV_ERR_NO_MEMORY; KV_ERR_IO: the loop, timer or sockets cannot be had; the error that
 * ended the fill. */
int load_run(const struct load_options *o, struct load_result *out);

/* "get", "put" ... Static. */
const char *load_op_name(enum load_op op);

#endif
