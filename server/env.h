/* server/env.h - the seam: everything that a node wants from the outside world.
 *
 * A node decides; the environment does. kvd implements this table with libuv, two
 * threads and LMDB (server/uv_*.c), the simulator with a heap of events
 * (tests/sim/). A node never blocks, never asks the clock behind this table's back,
 * and never gets a callback while it is still on the stack: what happens later comes
 * as one of the node_* events below, in a new turn.
 *
 * A turn: the environment delivers any number of events (node_link_data, node_tick,
 * ...) and then calls node_turn_end() once; there the node proposes what queued,
 * hands out disk jobs and sends what it has to say, each in one piece.
 *
 * Needs:    raft/base, server/disk.h (job type).
 * Used by:  server/ (callers), server/uv_*.c and tests/sim (implementers).
 * Threads:  loop thread only.
 */
#ifndef KV_SERVER_ENV_H
#define KV_SERVER_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/base/bytes.h"

struct disk_job;
struct env;
struct group;
struct node;
struct raft_event;
struct raft_update;

enum log_level {
    LOG_ERROR, /* A person must act. */
    LOG_WARN,  /* Odd, handled. */
    LOG_INFO,  /* State changes; never per request. */
    LOG_DEBUG, /* Per request. */
};

/* One step of a group's core, for who watches (env_ops.stepped). */
struct env_step {
    const struct group *group;        /* After the duties of the update. */
    const struct raft_event *event;   /* Borrowed, as all of it. */
    const struct raft_update *update; /* Valid when rc is not fatal. */
    int rc;                           /* What raft_step() returned. */
};

struct env_ops {
    /* ---- time and chance ---- */

    uint64_t (*now_ms)(struct env *e);  /* Monotonic; constant within a turn is fine. */
    uint64_t (*now_us)(struct env *e);  /* The same clock, for latency figures. */
    uint64_t (*wall_ms)(struct env *e); /* Milliseconds since 1970; may jump. */
    uint64_t (*random)(struct env *e);  /* For seeds, nonces, incarnations. */

    /* ---- disk ---- */

    /* Runs disk_job_run(job) on the thread of disk_job_lane(job->kind), jobs of a lane
     * in order, one at a time; then node_disk_done(node, job) in a later turn. The
     * job stays valid until then. */
    void (*disk_submit)(struct env *e, struct disk_job *job);

    /* ---- links: one stream of frames between two nodes ---- */

    /* Starts to connect to a peer's port. The result comes as node_link_open() or
     * node_link_closed(). Returns the link's id, never reused, never 0. */
    uint64_t (*link_dial)(struct env *e, const char *host, uint16_t port);
    /* Queues whole frames (rpc/peer.h); the bytes are copied. 0, KV_EBUSY (output
     * bound reached, nothing queued), KV_ECLOSED. */
    int (*link_send)(struct env *e, uint64_t link, struct kv_bytes frames);
    /* Bytes queued and not yet taken by the kernel. */
    uint64_t (*link_queued)(struct env *e, uint64_t link);
    /* Ends a link; no event of it follows. */
    void (*link_close)(struct env *e, uint64_t link);

    /* ---- conns: clients ---- */

    /* As link_send, for whole MessagePack messages. */
    int (*conn_send)(struct env *e, uint64_t conn, struct kv_bytes messages);
    /* Bytes queued and not yet taken by the kernel: a slow reader. */
    uint64_t (*conn_queued)(struct env *e, uint64_t conn);
    /* Ends a client's connection after what is queued was written (or at once when
     * `now`); no event of it follows. */
    void (*conn_close)(struct env *e, uint64_t conn, bool now);
    /* Stops or goes on reading from a client (back pressure). */
    void (*conn_read)(struct env *e, uint64_t conn, bool on);

    /* ---- speaking ---- */

    /* One structured line without time and level: "group=3 node=1 became=leader". */
    void (*log)(struct env *e, enum log_level level, const char *line);
    /* The node must not go on: fatal disk error, lost identity, broken invariant. The
     * environment ends the process (kvd) or the node (simulator) after this turn; no
     * duty of the node is carried out any more. `code` is a KV_E*. */
    void (*halt)(struct env *e, int code, const char *why);

    /* ---- being watched ---- */

    /* Called after each step of a group's core; it must not call back into the node.
     * NULL in kvd: the simulator judges invariants with it. */
    void (*stepped)(struct env *e, const struct env_step *step);
};

/* First member of every implementation. */
struct env {
    const struct env_ops *ops;
};

/* ---- events: what the environment tells a node (server/node.h) ---- */

/* A link is up. dialed: the id came from link_dial(); else a peer connected. */
void node_link_open(struct node *n, uint64_t link, bool dialed);
/* Bytes of a link, in order, in any portions. Borrowed for the call. */
void node_link_data(struct node *n, uint64_t link, const uint8_t *data, size_t len);
/* A link ended, or a dial failed. refused: nobody listens there (ECONNREFUSED). */
void node_link_closed(struct node *n, uint64_t link, bool refused);

/* A client connected. Returns false when it must be closed at once (too many). */
bool node_conn_open(struct node *n, uint64_t conn);
void node_conn_data(struct node *n, uint64_t conn, const uint8_t *data, size_t len);
void node_conn_closed(struct node *n, uint64_t conn);

/* A disk job ended; job->result says how. */
void node_disk_done(struct node *n, struct disk_job *job);

/* Time has passed: to be called at node_deadline_ms() or later. */
void node_tick(struct node *n);
/* When node_tick() wants to be called next, on the env's now_ms. */
uint64_t node_deadline_ms(const struct node *n);
/* Ends a turn: proposes, hands out disk jobs, sends. */
void node_turn_end(struct node *n);

#endif
