/* server/uv_disk.c - two threads, their queues, and the way back to the loop. */
#include "server/uv_disk.h"

#include "raft/base/err.h"

/* Takes the oldest job; waits for one. NULL when the lane is to stop. */
static struct disk_job *lane_take(struct uv_disk_lane *lane)
{
    struct disk_job *job;

    uv_mutex_lock(&lane->mutex);
    while (lane->head == NULL && !lane->stop) {
        uv_cond_wait(&lane->cond, &lane->mutex);
    }
    job = lane->head;
    if (job != NULL) {
        lane->head = job->next;
        lane->tail = lane->head == NULL ? NULL : lane->tail;
        job->next = NULL;
    }
    uv_mutex_unlock(&lane->mutex);
    return job;
}

/* Hands a job that ran to the loop thread. */
static void done_push(struct uv_disk *d, struct disk_job *job)
{
    uv_mutex_lock(&d->done_mutex);
    if (d->done_tail == NULL) {
        d->done_head = job;
    } else {
        d->done_tail->next = job;
    }
    d->done_tail = job;
    uv_mutex_unlock(&d->done_mutex);
    uv_async_send(&d->async);
}

static void lane_main(void *arg)
{
    struct uv_disk_lane *lane = arg;

    for (;;) {
        struct disk_job *job = lane_take(lane);

        if (job == NULL) {
            return;
        }
        disk_job_run(job);
        job->done_us = uv_hrtime() / 1000;
        done_push(lane->disk, job);
    }
}

/* Async callback: takes all that is done and delivers it. */
static void done_deliver(uv_async_t *async)
{
    struct uv_disk *d = async->data;
    struct disk_job *job;

    uv_mutex_lock(&d->done_mutex);
    job = d->done_head;
    d->done_head = NULL;
    d->done_tail = NULL;
    uv_mutex_unlock(&d->done_mutex);
    while (job != NULL) {
        struct disk_job *next = job->next;

        job->next = NULL;
        d->delivered++;
        KV_ASSERT(d->delivered <= d->submitted);
        d->on_done(d->ctx, job);
        job = next;
    }
}

/* 0 or a libuv code; nothing is left behind after an error. */
static int lane_start(struct uv_disk *d, struct uv_disk_lane *lane)
{
    int rc;

    lane->disk = d;
    rc = uv_mutex_init(&lane->mutex);
    if (rc != 0) {
        return rc;
    }
    rc = uv_cond_init(&lane->cond);
    if (rc != 0) {
        uv_mutex_destroy(&lane->mutex);
        return rc;
    }
    rc = uv_thread_create(&lane->thread, lane_main, lane);
    if (rc != 0) {
        uv_cond_destroy(&lane->cond);
        uv_mutex_destroy(&lane->mutex);
    }
    return rc;
}

static void lane_stop(struct uv_disk_lane *lane)
{
    uv_mutex_lock(&lane->mutex);
    lane->stop = true;
    uv_cond_signal(&lane->cond);
    uv_mutex_unlock(&lane->mutex);
    uv_thread_join(&lane->thread);
    KV_ASSERT(lane->head == NULL);
    uv_cond_destroy(&lane->cond);
    uv_mutex_destroy(&lane->mutex);
}

int uv_disk_init(struct uv_disk *d, uv_loop_t *loop,
                 void (*on_done)(void *ctx, struct disk_job *job), void *ctx)
{
    int started;

    *d = (struct uv_disk){.on_done = on_done, .ctx = ctx};
    if (uv_mutex_init(&d->done_mutex) != 0) {
        return KV_ENOMEM;
    }
    if (uv_async_init(loop, &d->async, done_deliver) != 0) {
        uv_mutex_destroy(&d->done_mutex);
        return KV_ENOMEM;
    }
    d->async.data = d;
    for (started = 0; started < DISK_LANES_COUNT; started++) {
        if (lane_start(d, &d->lanes[started]) != 0) {
            break;
        }
    }
    d->open = true;
    if (started == DISK_LANES_COUNT) {
        return 0;
    }
    while (started-- > 0) {
        lane_stop(&d->lanes[started]);
    }
    uv_close((uv_handle_t *)&d->async, NULL);
    uv_mutex_destroy(&d->done_mutex);
    d->open = false;
    return KV_ENOMEM;
}

void uv_disk_submit(struct uv_disk *d, struct disk_job *job)
{
    struct uv_disk_lane *lane = &d->lanes[disk_job_lane(job->kind)];

    KV_ASSERT(d->open);
    job->next = NULL;
    job->submit_us = uv_hrtime() / 1000;
    d->submitted++;
    lane->submitted++;
    uv_mutex_lock(&lane->mutex);
    KV_ASSERT(!lane->stop);
    if (lane->tail == NULL) {
        lane->head = job;
    } else {
        lane->tail->next = job;
    }
    lane->tail = job;
    uv_mutex_unlock(&lane->mutex);
    uv_cond_signal(&lane->cond); /* Behind the lock: who wakes up finds it free. */
}

uint64_t uv_disk_pending(const struct uv_disk *d)
{
    return d->submitted - d->delivered;
}

void uv_disk_stop(struct uv_disk *d)
{
    if (!d->open) {
        return;
    }
    for (int i = 0; i < DISK_LANES_COUNT; i++) {
        lane_stop(&d->lanes[i]);
    }
    uv_close((uv_handle_t *)&d->async, NULL);
    uv_mutex_destroy(&d->done_mutex);
    d->open = false;
}
