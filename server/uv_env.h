/* server/uv_env.h - the seam of server/env.h over libuv: what makes a node a process.
 *
 * One loop, one node. libuv's callbacks only note that something happened and tell the
 * node; the turn ends once per round of the loop: behind the sockets' callbacks
 * (uv_check) and, for what timers and closed handles told, before the loop would sleep
 * (uv_prepare). So a node that heard something always gets its node_turn_end() before
 * anybody waits.
 *
 * Needs:    libuv, server/uv_net.h, uv_http.h, uv_disk.h, log.h.
 * Used by:  server/main.c, uv_*.c, tests.
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_UV_ENV_H
#define KV_SERVER_UV_ENV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "server/env.h"
#include "server/log.h"
#include "server/uv_disk.h"
#include "server/uv_http.h"
#include "server/uv_net.h"

enum {
    UV_ENV_READ_BYTES = 64 * 1024, /* Of the one buffer that sockets are read into. */
    UV_ENV_SWEEP_MS = 200,
    /* A log that was busy and now takes at most a few jobs per sweep for so long has
     * come to rest: checkpoints are done, and what they freed goes back. */
    UV_ENV_REST_MS = 3000,
    UV_ENV_REST_JOBS = 4,
    UV_ENV_TRIM_JOBS = 256,
    UV_ENV_SLOW_TURN_MS = 50,    /* A turn that takes so long is worth a line. */
    UV_ENV_UNACKED_MS_MIN = 600, /* For unacked_ms: or four election timeouts. */
    UV_ENV_STOP_MS = 5000,       /* Patience with node_stop(). */
    UV_ENV_MAGIC = 0x55564e56,
    UV_ENV_EXIT_DATA = 7,    /* Exit status after halt: data or I/O error. */
    UV_ENV_EXIT_BROKEN = 70, /* And: a broken invariant. */
};

struct uv_env_options {
    uint32_t max_connections;
    uint32_t slow_ms;
    uint32_t unacked_ms;    /* struct uv_net. */
    size_t clients_out_max; /* Bytes queued for all clients together. */
    struct log_sink *log;   /* [borrowed until uv_env_close] */
};

struct uv_env {
    struct env env; /* First: the seam. */
    uint32_t magic;
    uv_loop_t loop;
    struct node *node; /* [borrowed] NULL: nobody is told anything. */
    struct log_sink *log;

    /* The turn. */
    bool dirty;           /* The node was told something since its last turn end. */
    uint64_t turn_now_ms; /* 0 outside of a turn. */
    uint64_t turns;       /* Since start. */
    uint64_t turn_ms_max; /* The longest since start. */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;     /* node_deadline_ms() */
    uint64_t timer_at_ms; /* When it fires; 0 not set. */
    uint64_t tick_ms;     /* The last node_tick(). */
    uv_timer_t sweep;     /* Deadlines of sockets, reports of dropped log lines. */
    uint64_t rest_jobs;   /* Log jobs that had been submitted when ... */
    uint64_t rest_ms;     /* ... the log was last seen busy. */
    uint64_t trim_jobs;   /* Log jobs at the last kv_mem_trim(). */
    void (*on_turn)(void *ctx); /* After each turn; for main.c. May be NULL. */
    void *on_turn_ctx;

    /* The end. */
    bool halted; /* Nothing the node wants is carried out any more. */
    int halt_code;
    char halt_why[512];
    bool stopping;
    uint64_t stop_deadline_ms;

    uint8_t *read_buf; /* UV_ENV_READ_BYTES */
    struct uv_disk disk;
    struct uv_net net;
    struct uv_http http;
};

/* ---- life ---- */

/* Makes the loop and the disk threads; listens nowhere yet. The struct belongs to the
 * caller and must not move. 0 or KV_ENOMEM. */
KV_MUST_CHECK int uv_env_init(struct uv_env *e, const struct uv_env_options *o);

/* Lets events go to `n` from now on and gives it its first turn in the next round. */
void uv_env_attach(struct uv_env *e, struct node *n);

/* Runs until the node stopped after uv_env_stop(), or it halted.
 * Returns the exit status: 0, UV_ENV_EXIT_DATA or UV_ENV_EXIT_BROKEN. After a halt
 * nothing may be believed: the process should _exit() with it. */
KV_MUST_CHECK int uv_env_run(struct uv_env *e);

/* Asks the node to stop; uv_env_run() returns when it has, or after UV_ENV_STOP_MS. */
void uv_env_stop(struct uv_env *e);

/* Ends the disk threads after what is queued (blocks), closes all sockets and the
 * loop. The node is told nothing; it may be freed afterwards. */
void uv_env_close(struct uv_env *e);

/* ---- for uv_*.c ---- */

/* To be called before the node is told anything: opens the turn. */
void uv_env_touch(struct uv_env *e);

/* Logs one line, printf-like. */
void uv_env_log(struct uv_env *e, enum log_level level, const char *format, ...)
    KV_PRINTF(3, 4);

/* Gives a read callback the loop's buffer. */
void uv_env_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

/* Milliseconds on the node's clock, constant within a turn. */
uint64_t uv_env_now_ms(struct uv_env *e);

#endif
