/* jepsen/worker.h - the clients of a run: who sends what when, and what came of it.
 *
 * Each worker has a client of libkv that knows one node only and sends each request
 * once, unless the workload is about clients that send again. Operations are begun at
 * a common, seeded rate and given to whoever is free. An operation ends as ok, fail
 * (certainly not done) or info (unknown); after an info the worker goes on under a new
 * process number. All that goes into the history, in the order in which it was seen.
 *
 * Needs:    jepsen/workload/workload.h, history.h; client/kv.h, libuv.
 * Used by:  jepsen/run.c.
 * Threads:  loop thread.
 * Source:   jepsen.generator's stagger, jepsen.generator.interpreter.
 */
#ifndef KV_JEPSEN_WORKER_H
#define KV_JEPSEN_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "jepsen/history.h"
#include "jepsen/workload/workload.h"
#include "raft/base/prng.h"

enum {
    WORKERS_MAX = 1024,
    WORKERS_NODES_MAX = 32,
};

/* How operations ended so far. */
struct workers_count {
    uint64_t ok, fail, info;
};

struct workers_options {
    uv_loop_t *loop;
    const struct workload *workload;
    struct workload_setup setup;
    const char *const *endpoints; /* [nodes], "host:port" of node i + 1. Borrowed. */
    uint32_t rate;                /* Operations per second, all workers together. */
    uint32_t deadline_ms;         /* Of one operation. */
    enum kv_level level;          /* Of reads. */
    uint64_t seed;
    uint64_t begin_ns;       /* uv_hrtime() of the history's time 0. */
    struct history *history; /* Written by nobody else but on the same thread. */
    /* The last worker ended after workers_stop() or the last final read did. */
    void (*on_idle)(void *ctx);
    void *ctx;
};

struct worker;

struct workers {
    struct workers_options o;
    struct workload_state state;
    struct prng prng;
    struct worker *list; /* [setup.workers] */
    uv_timer_t timer;
    bool timer_open;
    bool running;          /* Begins operations. */
    bool reading;          /* The final reads; begins those. */
    bool idle_owed;        /* on_idle is still to come. */
    uint32_t busy;         /* Workers with an operation under way, */
    uint32_t sleeping;     /* of which so many sleep between two requests. */
    uint64_t next_ns;      /* When the next operation is due. */
    uint64_t final_end_ns; /* Then final reads are given up. */
    uint32_t final_failed; /* Nodes of which a final read never succeeded, a mask:
                            * bit I-1 for node I. */
    uint32_t final_next[WORKERS_NODES_MAX + 1]; /* Per node: the next final read. */
    struct workers_count count;
    uint64_t ok_by_f[HISTORY_F_COUNT];
    bool failed;   /* No memory, or the history refused a row: a harness error. */
    char bad[256]; /* First answer that made no sense; "" none. */
};

/* Makes the clients; connects to nobody yet.
 * Returns 0; KV_ENOMEM; KV_EINVAL: an endpoint is none. */
KV_MUST_CHECK int workers_open(struct workers *w, const struct workers_options *o);

/* Begins operations at the rate. */
void workers_start(struct workers *w);

/* Begins no more; on_idle comes when those under way have ended, perhaps at once. */
void workers_stop(struct workers *w);

/* Does the workload's final reads, each through every node, each again until it
 * succeeds or `ms` have passed; then on_idle. */
void workers_read_last(struct workers *w, uint64_t ms);

/* Frees the clients; operations under way end as they stand. Run the loop once more
 * before closing it. */
void workers_close(struct workers *w);

#endif
