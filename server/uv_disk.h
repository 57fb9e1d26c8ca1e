/* server/uv_disk.h - the two disk threads: one for the log, one for state.
 *
 * Each lane has a queue and a thread that runs its jobs in order, one at a time. What
 * is done waits in one list until the loop thread takes it, woken by a uv_async. The
 * job's memory belongs to who submitted it; the lane only links it.
 *
 * Needs:    libuv, server/disk.h.
 * Used by:  server/uv_env.c, tests.
 * Threads:  init, submit, stop: loop thread.
 */
#ifndef KV_SERVER_UV_DISK_H
#define KV_SERVER_UV_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "raft/base/check.h"
#include "server/disk.h"

struct uv_disk;

/* A queue and who works on it. */
struct uv_disk_lane {
    struct uv_disk *disk;
    uv_thread_t thread;
    uv_mutex_t mutex;      /* Guards head, tail, stop. */
    uv_cond_t cond;        /* Signalled when one of them changes. */
    struct disk_job *head; /* Oldest first; linked through disk_job.next. */
    struct disk_job *tail;
    bool stop;          /* End when the queue is empty. */
    uint64_t submitted; /* Jobs since start. Loop thread only. */
};

struct uv_disk {
    struct uv_disk_lane lanes[DISK_LANES_COUNT];
    uv_mutex_t done_mutex; /* Guards done_head, done_tail. */
    struct disk_job *done_head;
    struct disk_job *done_tail;
    uv_async_t async;
    uint64_t submitted; /* Loop thread only. */
    uint64_t delivered; /* Loop thread only; submitted - delivered are under way. */
    bool open;          /* async is initialised and not closed. */
    /* Gets each job when it is done, in a turn of the loop. */
    void (*on_done)(void *ctx, struct disk_job *job);
    void *ctx;
};

/* Starts both threads. 0 or KV_ENOMEM (no thread to be had). */
KV_MUST_CHECK int uv_disk_init(struct uv_disk *d, uv_loop_t *loop,
                               void (*on_done)(void *ctx, struct disk_job *job),
                               void *ctx);

/* Queues a job for the lane of its kind. Cannot fail. */
void uv_disk_submit(struct uv_disk *d, struct disk_job *job);

/* Jobs that were submitted and not yet delivered. */
uint64_t uv_disk_pending(const struct uv_disk *d);

/* Runs what is queued, ends both threads (blocks until then) and closes the async
 * handle; jobs that were done meanwhile are not delivered any more. The loop must
 * run once more before `d` may be reused. */
void uv_disk_stop(struct uv_disk *d);

#endif
