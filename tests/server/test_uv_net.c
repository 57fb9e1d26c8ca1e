/* tests/server/test_uv_net.c - turns, clients and links over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/server/uv_stub_node.h"

static struct edge edge;

static int setup(void **state)
{
    (void)state;
    edge_open(&edge, 100, 30000, -1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    edge_close(&edge);
    assert_int_equal(stub.empty_turns, 0);
    return 0;
}

/* Connects to a port of 127.0.0.1; the descriptor does not block. */
static int dial(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Bytes that can be read now: > 0; 0 at the end; -1 none yet; -2 reset. */
static ssize_t take(int fd, void *out, size_t size)
{
    ssize_t got = read(fd, out, size);

    return got >= 0 ? got : errno == EAGAIN ? -1 : -2;
}

/* Reads exactly `len` bytes while the loop runs. */
static void expect(int fd, char *out, size_t len)
{
    size_t have = 0;
    uint64_t end = uv_hrtime() + 5000000000ull;

    while (have < len && uv_hrtime() < end) {
        ssize_t got = take(fd, out + have, len - have);

        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        have += got > 0 ? (size_t)got : 0;
    }
    assert_int_equal(have, len);
}

static bool is_ended(int fd)
{
    char byte[4096];
    ssize_t got;

    while ((got = take(fd, byte, sizeof byte)) > 0) {
    }
    return got == 0 || got == -2;
}

/* ---- turns ---- */

static void events_of_one_round_are_one_turn(void **state)
{
    enum {
        CLIENTS = 20
    };
    int fds[CLIENTS];
    uint64_t turns;

    (void)state;
    stub.deadline_ms = UINT64_MAX;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial(edge.client_port);
    }
    EDGE_UNTIL(&edge, stub.conns_open == CLIENTS);
    edge_spin(&edge, 10);
    turns = stub.turns;
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(write(fds[i], "ping", 4), 4);
    }
    stub.deadline_ms = UINT64_MAX;
    uv_run(&edge.e.loop, UV_RUN_NOWAIT);

    assert_int_equal(stub.data_events, CLIENTS);
    assert_true(stub.turns - turns <= 2); /* Perhaps one for a tick. */
    for (int i = 0; i < CLIENTS; i++) {
        char got[4];

        expect(fds[i], got, 4);
        close(fds[i]);
    }
    EDGE_UNTIL(&edge, stub.conns_closed == CLIENTS);
}

/* However seldom this process runs: a tick comes in the first run of the loop behind
 * its deadline, a timer's rounding later at most, and never in one before. */
static void ticks_come_when_the_node_wants_them(void **state)
{
    uint64_t end_ns = uv_hrtime() + 10000000000ull;
    uint64_t early = 0, late = 0;

    (void)state;
    EDGE_UNTIL(&edge, stub.ticks >= 1);
    stub.ticks = 0;
    while (stub.ticks < 10 && uv_hrtime() < end_ns) {
        uint64_t due_ms = stub.deadline_ms;
        uint64_t ticks = stub.ticks;
        uint64_t before_ms = uv_hrtime() / 1000000;

        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        late += before_ms > due_ms + 2 && stub.ticks == ticks;
        early += uv_hrtime() / 1000000 < due_ms && stub.ticks != ticks;
        uv_sleep(1);
    }
    assert_int_equal(stub.ticks, 10);
    assert_int_equal(late, 0);
    assert_int_equal(early, 0);
}

/* What a busy node does in a turn. */
static void work_for_two_ms(struct stub *s)
{
    uint64_t end = uv_hrtime() + 2000000;

    (void)s;
    while (uv_hrtime() < end) {
    }
}

/* A node that is told something all the time must be ticked as well: heartbeats depend
 * on it. Its deadline moves a little with each turn, as with many groups. */
static void ticks_come_under_load_too(void **state)
{
    struct disk_job job = {.kind = DISK_LOG};

    (void)state;
    EDGE_UNTIL(&edge, stub.ticks >= 1);
    stub.at_turn_end = work_for_two_ms;
    stub.ticks = 0;
    stub.turns = 0;
    while (stub.turns < 200) {
        uint64_t done = stub.jobs_done;

        edge.e.env.ops->disk_submit(&edge.e.env, &job);
        while (stub.jobs_done == done) {
            uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        }
        stub.deadline_ms -= stub.turns % 2;
    }
    assert_true(stub.ticks >= 16); /* Wanted every 20 ms or less, of at least 400. */
}

static void no_event_is_left_without_a_turn_end(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = dial(edge.client_port);

        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        close(fd);
        edge_spin(&edge, 2);
    }
    EDGE_UNTIL(&edge, stub.conns_closed == 50);
    edge_spin(&edge, 5);
    assert_int_equal(stub.told, 0);
}

static void disk_jobs_come_back_in_a_turn(void **state)
{
    struct disk_job job = {.kind = DISK_LOG};

    (void)state;
    edge.e.env.ops->disk_submit(&edge.e.env, &job);
    EDGE_UNTIL(&edge, stub.jobs_done == 1);
    edge_spin(&edge, 2);
    assert_ptr_equal(stub.last_job, &job);
    assert_int_equal(stub.told, 0);
}

static void random_numbers_differ_and_clocks_agree(void **state)
{
    const struct env_ops *ops = edge.e.env.ops;
    uint64_t a = ops->random(&edge.e.env);
    uint64_t b = ops->random(&edge.e.env);
    uint64_t ms = ops->now_ms(&edge.e.env);
    uint64_t us = ops->now_us(&edge.e.env);

    (void)state;
    assert_int_not_equal(a, b);
    assert_true(us / 1000 >= ms && us / 1000 - ms < 1000);
    assert_true(ops->wall_ms(&edge.e.env) > 1600000000000ull);
}

/* ---- clients ---- */

static void echoes_what_clients_send(void **state)
{
    int fd = dial(edge.client_port);
    size_t len = 3 * 1024 * 1024;
    char *sent = malloc(len);
    char *got = malloc(len);
    size_t at = 0;
    size_t have = 0;

    (void)state;
    for (size_t i = 0; i < len; i++) {
        sent[i] = (char)(i * 7 + i / 251);
    }
    for (int spins = 0; have < len && spins < 1000000; spins++) {
        ssize_t n = at < len ? write(fd, sent + at, len - at) : 0;

        at += n > 0 ? (size_t)n : 0;
        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        n = take(fd, got + have, len - have);
        have += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(have, len);
    assert_memory_equal(sent, got, len);
    assert_int_equal(edge.e.net.clients_queued, 0);
    free(sent);
    free(got);
    close(fd);
    EDGE_UNTIL(&edge, stub.conns_closed == 1);
}

static void idle_clients_hold_no_buffer(void **state)
{
    int fds[50];
    char got[8];

    (void)state;
    for (int i = 0; i < 50; i++) {
        fds[i] = dial(edge.client_port);
        assert_int_equal(write(fds[i], "x", 1), 1);
    }
    for (int i = 0; i < 50; i++) {
        expect(fds[i], got, 1);
    }
    edge_spin(&edge, 5);
    for (uint32_t i = 0; i < edge.e.net.slots_cap; i++) {
        const struct uv_sock *s = edge.e.net.slots[i];

        if (s != NULL) {
            assert_null(s->out.data);
            assert_null(s->flying.data);
        }
    }
    assert_true(sizeof(struct uv_sock) <= 2048);
    for (int i = 0; i < 50; i++) {
        close(fds[i]);
    }
}

static void turns_clients_away_beyond_the_limit(void **state)
{
    int fds[110];
    char got[8];

    (void)state;
    for (int i = 0; i < 110; i++) {
        fds[i] = dial(edge.client_port);
        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
    }
    EDGE_UNTIL(&edge, edge.e.net.stats.turned_away == 10);
    assert_int_equal(stub.conns_open, 100);
    for (int i = 100; i < 110; i++) {
        EDGE_UNTIL(&edge, is_ended(fds[i]));
        close(fds[i]);
    }

    close(fds[0]);
    EDGE_UNTIL(&edge, stub.conns_closed == 1);
    fds[0] = dial(edge.client_port);
    assert_int_equal(write(fds[0], "a", 1), 1);
    expect(fds[0], got, 1);
    for (int i = 0; i < 100; i++) {
        close(fds[i]);
    }
    EDGE_UNTIL(&edge, uv_net_count(&edge.e.net) == 0);
}

static void a_client_the_node_does_not_want_is_closed_and_not_told(void **state)
{
    int fd;

    (void)state;
    stub.accepts = false;
    fd = dial(edge.client_port);
    EDGE_UNTIL(&edge, is_ended(fd));
    edge_spin(&edge, 5);
    assert_int_equal(stub.conns_open, 1);
    assert_int_equal(stub.conns_closed, 0);
    close(fd);
}

static void survives_running_out_of_descriptors(void **state)
{
    struct rlimit before;
    struct rlimit low;
    int fds[40];
    int opened = 0;
    int witness = dial(edge.client_port);
    char got[8];

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 40; i++) {
        fds[opened++] = dial(edge.client_port);
    }
    low = before;
    low.rlim_cur = (rlim_t)fds[opened - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    edge_spin(&edge, 50);
    assert_int_equal(write(witness, "w", 1), 1);
    expect(witness, got, 1);
    for (int i = 0; i < opened; i++) {
        EDGE_UNTIL(&edge, is_ended(fds[i]));
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(stub.conns_open < 41);
    for (int i = 0; i < opened; i++) {
        close(fds[i]);
    }
    close(witness);
}

static void a_client_that_does_not_read_meets_the_bound(void **state)
{
    static uint8_t bytes[1024 * 1024];
    int fd = dial(edge.client_port);
    const struct env_ops *ops = edge.e.env.ops;
    int rc = 0;
    uint64_t sent = 0;

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    while (rc == 0 && sent < 1024) {
        rc = ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes(bytes, sizeof bytes));
        sent++;
    }
    assert_int_equal(rc, KV_EBUSY);
    assert_true(sent <= 34);
    assert_true(ops->conn_queued(&edge.e.env, stub.last_conn) >= 1024 * 1024);

    ops->conn_close(&edge.e.env, stub.last_conn, true);
    EDGE_UNTIL(&edge, uv_net_count(&edge.e.net) == 0);
    assert_int_equal(edge.e.net.clients_queued, 0);
    assert_int_equal(ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes("x", 1)),
                     KV_ECLOSED);
    assert_int_equal(stub.conns_closed, 0);
    close(fd);
}

static void a_client_that_stops_reading_is_closed_in_the_end(void **state)
{
    static uint8_t bytes[12 * 1024 * 1024];
    int fd;

    (void)state;
    edge_close(&edge);
    edge_open(&edge, 100, 300, -1);
    fd = dial(edge.client_port);
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    assert_int_equal(edge.e.env.ops->conn_send(&edge.e.env, stub.last_conn,
                                               kv_bytes(bytes, sizeof bytes)),
                     0);
    assert_int_equal(write(fd, "x", 1),
                     1); /* Opens a turn, at whose end it is written. */
    EDGE_UNTIL(&edge, stub.conns_closed == 1);
    assert_int_equal(edge.e.net.stats.stalled, 1);
    close(fd);
}

static void closing_late_lets_the_last_bytes_through(void **state)
{
    static char bytes[4 * 1024 * 1024];
    int fd = dial(edge.client_port);
    const struct env_ops *ops = edge.e.env.ops;
    char *got = malloc(sizeof bytes);

    (void)state;
    memset(bytes, 'z', sizeof bytes);
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    stub.echoes = false;
    /* Input that nobody reads must not cut off the answer by a reset. */
    assert_true(write(fd, bytes, 100000) > 0);
    assert_int_equal(
        ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes(bytes, sizeof bytes)), 0);
    ops->conn_close(&edge.e.env, stub.last_conn, false);
    uv_env_touch(&edge.e);
    assert_int_equal(ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes("x", 1)),
                     KV_ECLOSED);

    stub.told++;
    expect(fd, got, sizeof bytes);
    assert_memory_equal(got, bytes, sizeof bytes);
    EDGE_UNTIL(&edge, is_ended(fd));
    close(fd);
    EDGE_UNTIL(&edge, uv_net_count(&edge.e.net) == 0);
    assert_int_equal(stub.conns_closed, 0);
    assert_int_equal(stub.data_events, 0);
    free(got);
}

static void lingering_ends_even_if_the_client_stays(void **state)
{
    int fd = dial(edge.client_port);

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    edge.e.env.ops->conn_close(&edge.e.env, stub.last_conn, false);
    EDGE_UNTIL(&edge, uv_net_count(&edge.e.net) == 0);
    close(fd);
}

static void reading_stops_and_goes_on(void **state)
{
    int fd = dial(edge.client_port);
    const struct env_ops *ops = edge.e.env.ops;
    char got[16];

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    ops->conn_read(&edge.e.env, stub.last_conn, false);
    assert_int_equal(write(fd, "hello", 5), 5);
    edge_spin(&edge, 20);
    assert_int_equal(stub.bytes, 0);

    ops->conn_read(&edge.e.env, stub.last_conn, true);
    ops->conn_read(&edge.e.env, stub.last_conn, true);
    expect(fd, got, 5);
    assert_int_equal(stub.bytes, 5);
    close(fd);
    EDGE_UNTIL(&edge, stub.conns_closed == 1);
}

static void reading_goes_on_while_output_waits(void **state)
{
    static uint8_t bytes[12 * 1024 * 1024];
    int fd = dial(edge.client_port);
    const struct env_ops *ops = edge.e.env.ops;

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    stub.echoes = false;
    assert_int_equal(
        ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes(bytes, sizeof bytes)), 0);
    assert_int_equal(write(fd, "a", 1), 1);
    EDGE_UNTIL(&edge, stub.bytes == 1);
    ops->conn_read(&edge.e.env, stub.last_conn, false);
    edge_spin(&edge, 5);
    ops->conn_read(&edge.e.env, stub.last_conn, true);
    assert_int_equal(write(fd, "b", 1), 1);
    EDGE_UNTIL(&edge, stub.bytes == 2);
    close(fd);
    EDGE_UNTIL(&edge, stub.conns_closed == 1);
}

static void ids_are_never_used_again(void **state)
{
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = dial(edge.client_port);

        EDGE_UNTIL(&edge, stub.conns_open == (uint64_t)i + 1);
        assert_true(stub.last_conn > last);
        last = stub.last_conn;
        close(fd);
        EDGE_UNTIL(&edge, stub.conns_closed == (uint64_t)i + 1);
        edge.e.env.ops->conn_close(&edge.e.env, last, true);
    }
}

/* ---- links ---- */

static void links_connect_carry_bytes_and_end(void **state)
{
    const struct env_ops *ops = edge.e.env.ops;
    uint64_t link = ops->link_dial(&edge.e.env, "127.0.0.1", edge.peer_port);

    (void)state;
    assert_int_not_equal(link, 0);
    assert_int_equal(stub.links_open, 0);
    assert_int_equal(ops->link_send(&edge.e.env, link, kv_bytes("x", 1)), KV_ECLOSED);
    EDGE_UNTIL(&edge, stub.links_open == 2);
    assert_int_equal(stub.last_link, link);
    assert_int_equal(ops->link_send(&edge.e.env, link, kv_bytes("frame", 5)), 0);
    assert_int_equal(ops->conn_send(&edge.e.env, link, kv_bytes("x", 1)), KV_ECLOSED);
    assert_int_equal(ops->link_queued(&edge.e.env, link), 5);
    EDGE_UNTIL(&edge, stub.link_bytes == 5);
    assert_int_equal(ops->link_queued(&edge.e.env, link), 0);

    ops->link_close(&edge.e.env, link);
    EDGE_UNTIL(&edge, stub.links_closed == 1); /* Only the other end hears of it. */
    edge_spin(&edge, 5);
    assert_int_equal(stub.links_closed, 1);
    assert_false(stub.last_refused);
}

static void a_refused_dial_says_so_later(void **state)
{
    const struct env_ops *ops = edge.e.env.ops;
    uint16_t port = edge.peer_port;

    (void)state;
    uv_net_listen_stop(&edge.e.net);
    edge_spin(&edge, 5);
    (void)ops->link_dial(&edge.e.env, "127.0.0.1", port);
    assert_int_equal(stub.links_closed, 0);
    EDGE_UNTIL(&edge, stub.links_closed == 1);
    assert_true(stub.last_refused);
}

static void names_are_resolved(void **state)
{
    (void)state;
    (void)edge.e.env.ops->link_dial(&edge.e.env, "localhost", edge.peer_port);
    EDGE_UNTIL(&edge, stub.links_open == 2);
}

static void a_name_that_nobody_knows_is_not_a_refusal(void **state)
{
    (void)state;
    (void)edge.e.env.ops->link_dial(&edge.e.env, "no.such.host.invalid", 1);
    EDGE_UNTIL(&edge, stub.links_closed == 1);
    assert_false(stub.last_refused);
}

static void a_dial_that_nobody_answers_ends_in_time(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int full[8];
    uint64_t begin = uv_hrtime();

    (void)state;
    /* A backlog of one, filled: further SYNs are dropped. */
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    for (int i = 0; i < 8; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(full[i], (struct sockaddr *)&at, sizeof at);
    }
    (void)edge.e.env.ops->link_dial(&edge.e.env, "127.0.0.1", ntohs(at.sin_port));
    EDGE_UNTIL(&edge, stub.links_closed == 1);
    assert_false(stub.last_refused);
    assert_in_range((uv_hrtime() - begin) / 1000000, 900, 2000);
    for (int i = 0; i < 8; i++) {
        close(full[i]);
    }
    close(fd);
}

/* ---- the end ---- */

static void a_halt_stops_everything_at_once(void **state)
{
    int fd = dial(edge.client_port);
    const struct env_ops *ops = edge.e.env.ops;
    struct disk_job job = {.kind = DISK_LOG};

    (void)state;
    EDGE_UNTIL(&edge, stub.conns_open == 1);
    assert_int_equal(ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes("x", 1)), 0);
    ops->halt(&edge.e.env, KV_EIO, "fsync failed");
    ops->halt(&edge.e.env, KV_ECORRUPT, "a second one is ignored");
    assert_int_equal(ops->conn_send(&edge.e.env, stub.last_conn, kv_bytes("y", 1)),
                     KV_ECLOSED);
    ops->disk_submit(&edge.e.env, &job);
    assert_int_equal(uv_disk_pending(&edge.e.disk), 0);

    assert_int_equal(uv_env_run(&edge.e), UV_ENV_EXIT_DATA);
    assert_int_equal(take(fd, (char[8]){0}, 8), -1); /* Not even what was queued. */
    close(fd);
}

static void a_broken_invariant_has_its_own_status(void **state)
{
    (void)state;
    edge.e.env.ops->halt(&edge.e.env, KV_ECORRUPT, "applied > commit");
    assert_int_equal(uv_env_run(&edge.e), UV_ENV_EXIT_BROKEN);
}

static void stopping_waits_for_the_node(void **state)
{
    (void)state;
    edge_spin(&edge, 5);
    uv_env_stop(&edge.e);
    assert_true(stub.stopped);
    assert_int_equal(uv_env_run(&edge.e), 0);
}

static void stopping_does_not_wait_for_ever(void **state)
{
    uint64_t begin = uv_hrtime();

    (void)state;
    stub.stop_at_once = false;
    uv_env_stop(&edge.e);
    edge.e.stop_deadline_ms = uv_env_now_ms(&edge.e) + 300;
    assert_int_equal(uv_env_run(&edge.e), 0);
    assert_in_range((uv_hrtime() - begin) / 1000000, 290, 1500);
    stub.empty_turns = 0; /* The sweep's: it looks whether patience ended. */
}

static void an_address_in_use_is_explained(void **state)
{
    struct config_address at = {.host = "127.0.0.1", .port = edge.client_port};
    char error[CONFIG_ERROR_BYTES];
    uint16_t port;

    (void)state;
    uv_net_listen_stop(&edge.e.net);
    edge_spin(&edge, 5);
    at.port = edge.http_port;
    assert_int_equal(
        uv_net_listen(&edge.e.net, UV_SOCK_CLIENT, &at, &port, error, sizeof error),
        KV_ECONNECT);
    assert_non_null(strstr(error, "--listen 127.0.0.1:"));
    assert_non_null(strstr(error, "address already in use; stop the process"));
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(events_of_one_round_are_one_turn),
        T(ticks_come_when_the_node_wants_them),
        T(ticks_come_under_load_too),
        T(no_event_is_left_without_a_turn_end),
        T(disk_jobs_come_back_in_a_turn),
        T(random_numbers_differ_and_clocks_agree),
        T(echoes_what_clients_send),
        T(idle_clients_hold_no_buffer),
        T(turns_clients_away_beyond_the_limit),
        T(a_client_the_node_does_not_want_is_closed_and_not_told),
        T(survives_running_out_of_descriptors),
        T(a_client_that_does_not_read_meets_the_bound),
        T(a_client_that_stops_reading_is_closed_in_the_end),
        T(closing_late_lets_the_last_bytes_through),
        T(lingering_ends_even_if_the_client_stays),
        T(reading_stops_and_goes_on),
        T(reading_goes_on_while_output_waits),
        T(ids_are_never_used_again),
        T(links_connect_carry_bytes_and_end),
        T(a_refused_dial_says_so_later),
        T(names_are_resolved),
        T(a_name_that_nobody_knows_is_not_a_refusal),
        T(a_dial_that_nobody_answers_ends_in_time),
        T(a_halt_stops_everything_at_once),
        T(a_broken_invariant_has_its_own_status),
        T(stopping_waits_for_the_node),
        T(stopping_does_not_wait_for_ever),
        T(an_address_in_use_is_explained),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/uv_net", tests, NULL, NULL);
}
