/* server/uv_env.c - turns, clock, chance, logging, halting: struct env over libuv. */
#include "server/uv_env.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/node.h"

static struct uv_env *env_of(struct env *env)
{
    struct uv_env *e = (struct uv_env *)env;

    KV_ASSERT(e->magic == UV_ENV_MAGIC);
    return e;
}

/* ---- time and chance ---- */

static uint64_t clock_ms(void)
{
    return uv_hrtime() / 1000000;
}

uint64_t uv_env_now_ms(struct uv_env *e)
{
    return e->turn_now_ms != 0 ? e->turn_now_ms : clock_ms();
}

static uint64_t op_now_ms(struct env *env)
{
    return uv_env_now_ms(env_of(env));
}

static uint64_t op_now_us(struct env *env)
{
    (void)env;
    return uv_hrtime() / 1000;
}

static uint64_t wall_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return 0;
    }
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t op_wall_ms(struct env *env)
{
    (void)env;
    return wall_ms();
}

static uint64_t op_random(struct env *env)
{
    uint64_t value;
    ssize_t got;

    (void)env;
    do {
        got = getrandom(&value, sizeof value, 0);
    } while (got < 0 && errno == EINTR);
    /* Up to 256 bytes come whole from an initialised pool; a kernel without the call
     * is not supported: identities must never be guessed. */
    KV_ASSERT(got == (ssize_t)sizeof value);
    return value;
}

/* ---- speaking ---- */

void uv_env_log(struct uv_env *e, enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_BYTES_MAX];
    va_list args;

    if (e->log == NULL || level > e->log->level) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_sink_write(e->log, level, wall_ms(), line);
}

static void op_log(struct env *env, enum log_level level, const char *line)
{
    struct uv_env *e = env_of(env);

    if (e->log != NULL) {
        log_sink_write(e->log, level, wall_ms(), line);
    }
}

/* What a person should do now. */
static const char *halt_advice(int code)
{
    switch (code) {
    case KV_EIO:
    case KV_ENOSPACE:
        return "mend the disk, then start this node again";
    case KV_ELOST:
        return "bring the right data directory back";
    default:
        return "keep the data directory as it is and report this";
    }
}

static void op_halt(struct env *env, int code, const char *why)
{
    struct uv_env *e = env_of(env);

    if (e->halted) {
        return;
    }
    e->halted = true;
    e->halt_code = code;
    snprintf(e->halt_why, sizeof e->halt_why, "%s", why);
    uv_env_log(e, LOG_ERROR, "halted=1 code=%s why=\"%s\" next=\"%s\"",
               kv_err_name(code), e->halt_why, halt_advice(code));
    uv_stop(&e->loop);
}

/* ---- the rest of the seam ---- */

static void op_disk_submit(struct env *env, struct disk_job *job)
{
    struct uv_env *e = env_of(env);

    if (!e->halted) {
        uv_disk_submit(&e->disk, job);
    }
}

static uint64_t op_link_dial(struct env *env, const char *host, uint16_t port)
{
    struct uv_env *e = env_of(env);

    return e->halted ? UINT64_MAX : uv_net_dial(&e->net, host, port);
}

static int op_link_send(struct env *env, uint64_t link, struct kv_bytes frames)
{
    struct uv_env *e = env_of(env);

    return e->halted ? KV_ECLOSED : uv_sock_send(&e->net, link, false, frames);
}

static uint64_t op_link_queued(struct env *env, uint64_t link)
{
    return uv_sock_queued(&env_of(env)->net, link, false);
}

static void op_link_close(struct env *env, uint64_t link)
{
    uv_sock_end(&env_of(env)->net, link, false, true);
}

static int op_conn_send(struct env *env, uint64_t conn, struct kv_bytes messages)
{
    struct uv_env *e = env_of(env);

    return e->halted ? KV_ECLOSED : uv_sock_send(&e->net, conn, true, messages);
}

static uint64_t op_conn_queued(struct env *env, uint64_t conn)
{
    return uv_sock_queued(&env_of(env)->net, conn, true);
}

static void op_conn_close(struct env *env, uint64_t conn, bool now)
{
    uv_sock_end(&env_of(env)->net, conn, true, now);
}

static void op_conn_read(struct env *env, uint64_t conn, bool on)
{
    uv_sock_read(&env_of(env)->net, conn, on);
}

static const struct env_ops uv_env_ops = {
    .now_ms = op_now_ms,
    .now_us = op_now_us,
    .wall_ms = op_wall_ms,
    .random = op_random,
    .disk_submit = op_disk_submit,
    .link_dial = op_link_dial,
    .link_send = op_link_send,
    .link_queued = op_link_queued,
    .link_close = op_link_close,
    .conn_send = op_conn_send,
    .conn_queued = op_conn_queued,
    .conn_close = op_conn_close,
    .conn_read = op_conn_read,
    .log = op_log,
    .halt = op_halt,
};

/* ---- the turn ---- */

void uv_env_touch(struct uv_env *e)
{
    if (e->turn_now_ms == 0) {
        e->turn_now_ms = clock_ms();
    }
    e->dirty = true;
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_env *e = timer->data;

    e->timer_at_ms = 0;
    if (e->node != NULL && !e->halted) {
        uv_env_touch(e);
        e->tick_ms = e->turn_now_ms;
        node_tick(e->node);
    }
}

/* Sets the timer to what the node wants; most turns leave it as it is. What is due
 * stays armed as it is: turns that follow each other quickly must not push it on. */
static void timer_arm(struct uv_env *e)
{
    uint64_t now = clock_ms();
    uint64_t at = KV_MAX(node_deadline_ms(e->node), now);

    /* At most one tick per millisecond, so that no mistake becomes a busy loop. */
    at = at == e->tick_ms ? at + 1 : at;
    if (e->timer_at_ms == at || (e->timer_at_ms != 0 && e->timer_at_ms <= now)) {
        return;
    }
    uv_update_time(&e->loop);
    uv_timer_start(&e->timer, on_timer, at - now, 0);
    e->timer_at_ms = at;
}

/* Notes how long the turn took, and says so when others had to wait for long. */
static void turn_measure(struct uv_env *e)
{
    uint64_t spent_ms = clock_ms() - e->turn_now_ms;

    e->turn_ms_max = KV_MAX(e->turn_ms_max, spent_ms);
    if (spent_ms >= UV_ENV_SLOW_TURN_MS) {
        uv_env_log(e, LOG_WARN, "loop=slow turn_ms=%llu", (unsigned long long)spent_ms);
    }
}

/* Ends the turn if one is open. */
static void turn_end(struct uv_env *e)
{
    if (!e->dirty || e->node == NULL || e->halted) {
        return;
    }
    KV_ASSERT(e->turn_now_ms != 0);
    node_turn_end(e->node);
    e->dirty = false;
    if (e->halted) {
        return; /* What this turn queued is not written any more. */
    }
    e->turns++;
    uv_sock_flush_all(&e->net);
    turn_measure(e);
    timer_arm(e);
    if (e->stopping &&
        (node_stopped(e->node) || e->turn_now_ms >= e->stop_deadline_ms)) {
        uv_stop(&e->loop);
    }
    e->turn_now_ms = 0;
    if (e->on_turn != NULL) {
        e->on_turn(e->on_turn_ctx);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    turn_end(prepare->data);
}

static void on_check(uv_check_t *check)
{
    turn_end(check->data);
}

/* Gives memory back after a burst of writes: the blocks of deltas come and go by
 * megabytes and lie between smaller objects that stay. Never in the middle of one. */
static void memory_rest(struct uv_env *e, uint64_t now_ms)
{
    uint64_t jobs = e->disk.lanes[DISK_LANE_LOG].submitted;

    if (jobs - e->rest_jobs > UV_ENV_REST_JOBS || e->rest_ms == 0) {
        e->rest_ms = now_ms;
    } else if (now_ms >= e->rest_ms + UV_ENV_REST_MS &&
               jobs - e->trim_jobs >= UV_ENV_TRIM_JOBS) {
        uint64_t begin_us = uv_hrtime() / 1000;

        e->trim_jobs = jobs;
        kv_mem_trim();
        uv_env_log(e, LOG_DEBUG, "memory=trimmed us=%llu",
                   (unsigned long long)(uv_hrtime() / 1000 - begin_us));
    }
    e->rest_jobs = jobs;
}

static void on_sweep(uv_timer_t *timer)
{
    struct uv_env *e = timer->data;
    uint64_t now = clock_ms();

    uv_net_sweep(&e->net, now);
    uv_http_sweep(&e->http, now);
    memory_rest(e, now);
    if (e->log != NULL) {
        log_sink_flush(e->log, wall_ms(), false);
    }
    if (e->stopping) {
        uv_env_touch(e); /* So that a turn sees that patience ended. */
    }
}

static void on_disk_done(void *ctx, struct disk_job *job)
{
    struct uv_env *e = ctx;

    if (e->node != NULL && !e->halted) {
        uv_env_touch(e);
        node_disk_done(e->node, job);
    }
}

void uv_env_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct uv_env *e = handle->loop->data;

    (void)suggested;
    KV_ASSERT(e->magic == UV_ENV_MAGIC);
    *buf = uv_buf_init((char *)e->read_buf, UV_ENV_READ_BYTES);
}

/* ---- life ---- */

/* Handles of the loop itself; their init cannot fail. */
static void handles_init(struct uv_env *e)
{
    int rc = uv_prepare_init(&e->loop, &e->prepare) |
             uv_check_init(&e->loop, &e->check) | uv_timer_init(&e->loop, &e->timer) |
             uv_timer_init(&e->loop, &e->sweep);

    e->prepare.data = e;
    e->check.data = e;
    e->timer.data = e;
    e->sweep.data = e;
    rc |= uv_prepare_start(&e->prepare, on_prepare) |
          uv_check_start(&e->check, on_check) |
          uv_timer_start(&e->sweep, on_sweep, UV_ENV_SWEEP_MS, UV_ENV_SWEEP_MS);
    KV_ASSERT(rc == 0);
}

/* Closes the loop's own handles and runs the loop until nothing is left in it. Only a
 * name server that does not answer can make it give up, after two seconds. */
static bool loop_drain(struct uv_env *e)
{
    uint64_t end_ms = clock_ms() + 2000;

    uv_close((uv_handle_t *)&e->prepare, NULL);
    uv_close((uv_handle_t *)&e->check, NULL);
    uv_close((uv_handle_t *)&e->timer, NULL);
    uv_close((uv_handle_t *)&e->sweep, NULL);
    while (uv_run(&e->loop, UV_RUN_NOWAIT) != 0) {
        if (clock_ms() >= end_ms) {
            return false;
        }
        uv_sleep(1);
    }
    KV_ASSERT(uv_loop_close(&e->loop) == 0);
    return true;
}

int uv_env_init(struct uv_env *e, const struct uv_env_options *o)
{
    int rc;

    *e = (struct uv_env){.magic = UV_ENV_MAGIC, .log = o->log};
    e->env.ops = &uv_env_ops;
    if (uv_loop_init(&e->loop) != 0) {
        return KV_ENOMEM;
    }
    e->loop.data = e;
    handles_init(e);
    e->read_buf = kv_mem_zalloc(UV_ENV_READ_BYTES);
    rc = e->read_buf == NULL ? KV_ENOMEM : 0;
    if (rc == 0) {
        rc =
            uv_net_init(&e->net, e, o->max_connections, o->slow_ms, o->clients_out_max);
    }
    if (rc == 0) {
        e->net.unacked_ms = o->unacked_ms;
        rc = uv_http_init(&e->http, e);
    }
    if (rc == 0) {
        rc = uv_disk_init(&e->disk, &e->loop, on_disk_done, e);
    }
    if (rc != 0) {
        uv_env_close(e);
    }
    return rc;
}

void uv_env_attach(struct uv_env *e, struct node *n)
{
    KV_ASSERT(e->node == NULL);
    e->node = n;
    uv_timer_start(&e->timer, on_timer, 0, 0);
}

int uv_env_run(struct uv_env *e)
{
    uv_run(&e->loop, UV_RUN_DEFAULT);
    if (!e->halted) {
        return 0;
    }
    if (e->log != NULL) {
        log_sink_flush(e->log, wall_ms(), true);
    }
    switch (e->halt_code) {
    case KV_EIO:
    case KV_ENOSPACE:
    case KV_EDAMAGED:
    case KV_ELOST:
    case KV_EFORMAT:
        return UV_ENV_EXIT_DATA;
    default:
        return UV_ENV_EXIT_BROKEN;
    }
}

void uv_env_stop(struct uv_env *e)
{
    if (e->stopping) {
        return;
    }
    e->stopping = true;
    e->stop_deadline_ms = clock_ms() + UV_ENV_STOP_MS;
    if (e->node != NULL && !e->halted) {
        uv_env_touch(e);
        node_stop(e->node);
    }
}

void uv_env_close(struct uv_env *e)
{
    e->node = NULL;
    e->halted = true; /* What the node still says until it is freed goes nowhere. */
    uv_disk_stop(&e->disk);
    uv_net_stop(&e->net);
    uv_http_stop(&e->http);
    if (loop_drain(e)) {
        uv_net_close(&e->net);
        uv_http_close(&e->http);
        kv_mem_free(e->read_buf);
    }
    if (e->log != NULL) {
        log_sink_flush(e->log, wall_ms(), true);
    }
}
