/* tests/server/uv_stub_node.h - a node that echoes, for tests of the thin edge.
 *
 * Defines the events of server/env.h itself, so that the linker takes these and not
 * the real node: a test that includes it may only use the thin edge. What a client
 * sends comes back; what a link sends is counted. Everything that happened is in
 * `struct stub`, which the one test including this owns.
 */
#ifndef KV_TESTS_SERVER_UV_STUB_NODE_H
#define KV_TESTS_SERVER_UV_STUB_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "rpc/buf.h"
#include "server/env.h"
#include "server/node.h"
#include "server/uv_env.h"

struct stub {
    struct env *env;
    bool accepts;  /* node_conn_open()'s answer. */
    bool echoes;   /* Send back what clients send. */
    bool in_event; /* For finding callbacks into somebody on the stack. */
    uint64_t told; /* Events since the last turn end. */
    uint64_t turns;
    uint64_t empty_turns; /* Turn ends without an event before. */
    uint64_t ticks;
    uint64_t deadline_ms;
    uint64_t conns_open, conns_closed, links_open, links_closed;
    uint64_t last_conn, last_link, last_link_in;
    bool last_refused;
    uint64_t bytes;       /* From clients. */
    uint64_t link_bytes;  /* From links. */
    uint64_t data_events; /* node_conn_data() calls. */
    uint64_t jobs_done;
    struct disk_job *last_job;
    int send_rc;       /* Of the last conn_send(). */
    bool stopped;      /* node_stop() was called. */
    bool stop_at_once; /* node_stopped()'s answer after that. */
    /* Called at turn end, where the real node proposes and sends. */
    void (*at_turn_end)(struct stub *s);
};

static struct stub stub;

static void stub_event(void)
{
    stub.told++;
}

void node_config_init(struct node_config *c)
{
    memset(c, 0, sizeof *c);
}

void node_link_open(struct node *n, uint64_t link, bool dialed)
{
    (void)n;
    stub_event();
    stub.links_open++;
    if (dialed) {
        stub.last_link = link;
    } else {
        stub.last_link_in = link;
    }
}

void node_link_data(struct node *n, uint64_t link, const uint8_t *data, size_t len)
{
    (void)n;
    (void)link;
    (void)data;
    stub_event();
    stub.link_bytes += len;
}

void node_link_closed(struct node *n, uint64_t link, bool refused)
{
    (void)n;
    (void)link;
    stub_event();
    stub.links_closed++;
    stub.last_refused = refused;
}

bool node_conn_open(struct node *n, uint64_t conn)
{
    (void)n;
    stub_event();
    stub.conns_open++;
    stub.last_conn = conn;
    return stub.accepts;
}

void node_conn_data(struct node *n, uint64_t conn, const uint8_t *data, size_t len)
{
    (void)n;
    stub_event();
    stub.bytes += len;
    stub.data_events++;
    if (stub.echoes) {
        stub.send_rc = stub.env->ops->conn_send(stub.env, conn, kv_bytes(data, len));
    }
}

void node_conn_closed(struct node *n, uint64_t conn)
{
    (void)n;
    (void)conn;
    stub_event();
    stub.conns_closed++;
}

void node_disk_done(struct node *n, struct disk_job *job)
{
    (void)n;
    stub_event();
    stub.jobs_done++;
    stub.last_job = job;
}

void node_tick(struct node *n)
{
    (void)n;
    stub_event();
    stub.ticks++;
    stub.deadline_ms = stub.env->ops->now_ms(stub.env) + 20;
}

uint64_t node_deadline_ms(const struct node *n)
{
    (void)n;
    return stub.deadline_ms;
}

void node_turn_end(struct node *n)
{
    (void)n;
    stub.turns++;
    stub.empty_turns += stub.told == 0;
    stub.told = 0;
    if (stub.at_turn_end != NULL) {
        stub.at_turn_end(&stub);
    }
}

void node_stop(struct node *n)
{
    (void)n;
    stub_event();
    stub.stopped = true;
}

bool node_stopped(const struct node *n)
{
    (void)n;
    return stub.stopped && stub.stop_at_once;
}

int admin_get(struct node *n, const char *path, const char *query, struct buf *out,
              const char **out_type)
{
    char text[256];
    int len;

    (void)n;
    *out_type = "text/plain; charset=utf-8";
    if (strcmp(path, "/big") == 0) {
        for (int i = 0; i < 1024; i++) {
            memset(buf_reserve(out, 1024), 'x', 1024);
        }
        return 200;
    }
    len = snprintf(text, sizeof text, "path=%.100s query=%.100s\n", path, query);
    buf_append(out, text, (size_t)len);
    return strcmp(path, "/nothing") == 0 ? 404 : 200;
}

/* The disk's side, so that server/disk.c is not needed either. */
enum disk_lane disk_job_lane(enum disk_kind kind)
{
    return kind == DISK_LOG ? DISK_LANE_LOG : DISK_LANE_STATE;
}

void disk_job_run(struct disk_job *job)
{
    job->result = 0;
}

/* ---- a live thin edge around it ---- */

struct edge {
    struct uv_env e;
    struct log_sink log;
    uint16_t client_port, peer_port, http_port;
};

static void stub_reset(struct uv_env *e)
{
    memset(&stub, 0, sizeof stub);
    stub.env = &e->env;
    stub.accepts = true;
    stub.echoes = true;
    stub.stop_at_once = true;
    stub.deadline_ms = e->env.ops->now_ms(&e->env) + 20;
}

/* Opens all three ports on free ports of 127.0.0.1. log_fd: -1 for silence. */
static void edge_open(struct edge *edge, uint32_t max_connections, uint32_t slow_ms,
                      int log_fd)
{
    struct config_address at = {.host = "127.0.0.1"};
    struct uv_env_options o = {.max_connections = max_connections,
                               .slow_ms = slow_ms,
                               .clients_out_max = 64 * 1024 * 1024,
                               .log = &edge->log};
    char error[CONFIG_ERROR_BYTES];

    log_sink_init(&edge->log, log_fd, LOG_DEBUG);
    assert_int_equal(uv_env_init(&edge->e, &o), 0);
    stub_reset(&edge->e);
    assert_int_equal(uv_net_listen(&edge->e.net, UV_SOCK_CLIENT, &at,
                                   &edge->client_port, error, sizeof error),
                     0);
    assert_int_equal(uv_net_listen(&edge->e.net, UV_SOCK_LINK_IN, &at, &edge->peer_port,
                                   error, sizeof error),
                     0);
    assert_int_equal(
        uv_http_listen(&edge->e.http, &at, &edge->http_port, error, sizeof error), 0);
    uv_env_attach(&edge->e, (struct node *)&stub);
}

static inline void edge_close(struct edge *edge)
{
    uv_env_close(&edge->e);
}

/* Lets the loop do what it can, for at least `ms`. */
static inline void edge_spin(struct edge *edge, unsigned ms)
{
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000;

    do {
        uv_run(&edge->e.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    } while (uv_hrtime() < end);
}

/* Runs the loop until `expr` holds, five seconds at most. */
#define EDGE_UNTIL(edge, expr)                            \
    do {                                                  \
        uint64_t until_end = uv_hrtime() + 5000000000ull; \
        while (!(expr) && uv_hrtime() < until_end) {      \
            uv_run(&(edge)->e.loop, UV_RUN_NOWAIT);       \
            uv_sleep(1);                                  \
        }                                                 \
        assert_true(expr);                                \
    } while (0)

#endif
