/* tests/server/test_uv_http.c - requests good and bad over a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/server/uv_stub_node.h"

static struct edge edge;
static char answer[4 * 1024 * 1024];
static size_t answer_len;

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
    return 0;
}

/* The receive buffer is small, so that answers wait in the node. */
static int dial(void)
{
    int small = 4096;

    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(edge.http_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Sends as much as is taken, running the loop meanwhile. */
static void send_all(int fd, const char *text, size_t len)
{
    size_t at = 0;

    for (int i = 0; i < 10000 && at < len; i++) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        if (n < 0 && errno != EAGAIN) {
            return;
        }
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Reads into `answer` until `end` stands in it, or the connection ends. True when it
 * ended. At most five seconds. */
static bool receive(int fd, const char *end)
{
    uint64_t until = uv_hrtime() + 5000000000ull;

    answer_len = 0;
    while (uv_hrtime() < until) {
        ssize_t n;

        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
        n = recv(fd, answer + answer_len, sizeof answer - 1 - answer_len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            answer[answer_len] = '\0';
            return true;
        }
        answer_len += n > 0 ? (size_t)n : 0;
        answer[answer_len] = '\0';
        if (n > 0 && end != NULL && strstr(answer, end) != NULL) {
            return false;
        }
    }
    fail_msg("no end after: %.200s", answer);
    return false;
}

/* Counts how often `what` stands in the answer. */
static int times(const char *what)
{
    int count = 0;

    for (const char *p = strstr(answer, what); p != NULL; p = strstr(p + 1, what)) {
        count++;
    }
    return count;
}

/* Sends `request`; the answer must begin with `status` and the connection end. */
static void refused(const char *request, const char *status)
{
    int fd = dial();

    send_all(fd, request, strlen(request));
    assert_true(receive(fd, NULL));
    if (strncmp(answer, status, strlen(status)) != 0) {
        fail_msg("wanted %s, got %.200s", status, answer);
    }
    assert_non_null(strstr(answer, "Connection: close\r\n"));
    close(fd);
}

static void answers_get_and_keeps_the_connection(void **state)
{
    int fd = dial();

    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *get = "GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n";

        send_all(fd, get, strlen(get));
        assert_false(receive(fd, "query=verbose\n"));
        assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
        assert_non_null(strstr(answer, "\r\nContent-Length: 27\r\n"));
        assert_non_null(strstr(answer, "\r\n\r\npath=/readyz query=verbose\n"));
        assert_null(strstr(answer, "Connection:"));
    }
    close(fd);
}

static void answers_head_without_a_body(void **state)
{
    int fd = dial();
    const char *head = "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    (void)state;
    send_all(fd, head, strlen(head));
    assert_true(receive(fd, NULL));
    assert_non_null(strstr(answer, "Content-Length: 19\r\n"));
    assert_string_equal(answer + answer_len - 4, "\r\n\r\n");
    close(fd);
}

static void answers_byte_by_byte(void **state)
{
    int fd = dial();
    const char *get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    for (const char *p = get; *p != '\0'; p++) {
        send_all(fd, p, 1);
        edge_spin(&edge, 1);
    }
    assert_false(receive(fd, "path=/livez"));
    close(fd);
}

static void answers_pipelined_requests_in_order(void **state)
{
    int fd = dial();
    char text[4096];
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 50; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "GET /p%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
    }
    send_all(fd, text, len);
    assert_false(receive(fd, "path=/p49 "));
    assert_int_equal(times("HTTP/1.1 200 OK"), 50);
    assert_true(strstr(answer, "path=/p7 ") < strstr(answer, "path=/p8 "));
    close(fd);
}

static void http_1_0_closes_unless_asked(void **state)
{
    int fd = dial();
    const char *stay = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const char *go = "GET /b HTTP/1.0\r\n\r\n";

    (void)state;
    send_all(fd, stay, strlen(stay));
    assert_false(receive(fd, "path=/a"));
    assert_non_null(strstr(answer, "Connection: keep-alive\r\n"));
    send_all(fd, go, strlen(go));
    assert_true(receive(fd, NULL));
    assert_non_null(strstr(answer, "path=/b"));
    close(fd);
}

static void the_nodes_status_is_passed_on(void **state)
{
    int fd = dial();
    const char *get = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    send_all(fd, get, strlen(get));
    assert_false(receive(fd, "path=/nothing"));
    assert_int_equal(strncmp(answer, "HTTP/1.1 404 Not Found\r\n", 24), 0);
    close(fd);
}

static void large_answers_arrive_whole(void **state)
{
    int fd = dial();
    const char *get = "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    (void)state;
    send_all(fd, get, strlen(get));
    assert_true(receive(fd, NULL));
    assert_true(answer_len > 1024 * 1024);
    assert_int_equal(answer[answer_len - 1], 'x');
    close(fd);
}

static void bad_requests_get_a_status_and_an_end(void **state)
{
    static char large[40000];
    size_t len;

    (void)state;
    refused("POST /x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ");
    refused("DELETE /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 405 ");
    refused("BREW /x HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ");
    refused("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ");
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 4");
    refused("\x16\x03\x01\x02hello hello hello\r\n\r\n", "HTTP/1.1 40");
    refused("\x93\x01\x02\x03", "HTTP/1.1 40");
    refused("GET /x HTTP/3.7\r\n\r\n", "HTTP/1.1 400 ");
    refused("GET /x SMTP/1.1\r\n\r\n", "HTTP/1.1 400 ");
    refused("GET http://other/x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 ");
    refused("GET /x HTTP/1.1\r\nHost x\r\n\r\n", "HTTP/1.1 400 ");
    refused("GET /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413 ");
    refused("GET /x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 400 ");
    refused(
        "GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 413 ");

    len = (size_t)snprintf(large, sizeof large, "GET /");
    memset(large + len, 'a', UV_HTTP_URL_BYTES_MAX);
    snprintf(large + len + UV_HTTP_URL_BYTES_MAX, 100, " HTTP/1.1\r\nHost: x\r\n\r\n");
    refused(large, "HTTP/1.1 414 ");

    memset(large, 'a', sizeof large - 1);
    memcpy(large, "GET /", 5);
    refused(large, "HTTP/1.1 414 ");

    memset(large, 'a', sizeof large - 1);
    memcpy(large, "GET /x HTTP/1.1\r\nLong: ", 23);
    refused(large, "HTTP/1.1 431 ");
}

static void what_follows_a_bad_request_is_not_answered(void **state)
{
    int fd = dial();
    const char *text =
        "POST /x HTTP/1.1\r\nHost: x\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    send_all(fd, text, strlen(text));
    assert_true(receive(fd, NULL));
    assert_int_equal(times("HTTP/1.1 "), 1);
    close(fd);
}

static void an_upgrade_is_answered_plainly_and_ends(void **state)
{
    int fd = dial();
    const char *text = "GET /x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
                       "Upgrade: websocket\r\n\r\n";

    (void)state;
    send_all(fd, text, strlen(text));
    assert_true(receive(fd, NULL));
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
    close(fd);
}

/* Moves the clock on for deadlines, without waiting. */
static void later(uint64_t ms)
{
    uv_http_sweep(&edge.e.http, uv_env_now_ms(&edge.e) + ms);
}

static void a_slow_request_runs_out_of_time(void **state)
{
    int fd = dial();

    (void)state;
    send_all(fd, "GET /x HTTP/1.1\r\nHo", 19);
    EDGE_UNTIL(&edge, edge.e.http.count == 1);
    edge_spin(&edge, 5);
    later(UV_HTTP_HEAD_MS - 100);
    edge_spin(&edge, 5);
    assert_int_equal(recv(fd, answer, 10, 0), -1);
    later(UV_HTTP_HEAD_MS + 10);
    assert_true(receive(fd, NULL));
    assert_int_equal(strncmp(answer, "HTTP/1.1 408 ", 13), 0);
    close(fd);
}

static void trickling_bytes_do_not_buy_time(void **state)
{
    int fd = dial();
    uint64_t deadline;

    (void)state;
    send_all(fd, "GET /x", 6);
    edge_spin(&edge, 5);
    deadline = edge.e.http.conns[0].deadline_ms;
    for (int i = 0; i < 5; i++) {
        edge_spin(&edge, 10);
        send_all(fd, "x", 1);
    }
    edge_spin(&edge, 5);
    assert_int_equal(edge.e.http.conns[0].deadline_ms, deadline);
    close(fd);
}

static void silent_connections_are_closed(void **state)
{
    int fd = dial();
    int idle = dial();
    const char *get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    send_all(idle, get, strlen(get));
    assert_false(receive(idle, "path=/livez"));
    EDGE_UNTIL(&edge, edge.e.http.count == 2);
    later(UV_HTTP_HEAD_MS + 10);
    EDGE_UNTIL(&edge, edge.e.http.count == 1);
    later(UV_HTTP_IDLE_MS + 10);
    EDGE_UNTIL(&edge, edge.e.http.count == 0);
    close(fd);
    close(idle);
}

static void the_least_useful_makes_room_when_all_are_taken(void **state)
{
    int fds[300];
    int check;
    int witness = dial();
    const char *get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    for (int i = 0; i < 300; i++) {
        fds[i] = dial();
        send_all(fds[i], "GET /me", 7);
        if (i % 40 == 0) {
            send_all(witness, get, strlen(get));
            assert_false(receive(witness, "path=/livez"));
        }
    }
    check = dial();
    send_all(check, get, strlen(get));
    assert_false(receive(check, "path=/livez"));
    edge_spin(&edge, 10);
    assert_true(edge.e.http.count <= UV_HTTP_CONNS_MAX);
    for (int i = 0; i < 300; i++) {
        close(fds[i]);
    }
    close(check);
    close(witness);
    EDGE_UNTIL(&edge, edge.e.http.count == 0);
}

static void too_many_busy_connections_are_told_so(void **state)
{
    int fds[UV_HTTP_CONNS_MAX];
    const char *get = "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    uint32_t writing = 0;

    (void)state;
    for (int i = 0; i < UV_HTTP_CONNS_MAX; i++) {
        fds[i] = dial();
        EDGE_UNTIL(&edge, edge.e.http.count == (uint32_t)i + 1);
    }
    /* The kernel's buffers grow for a while. */
    for (int k = 0; k < 20 * UV_HTTP_CONNS_MAX; k++) {
        if (!edge.e.http.conns[k % UV_HTTP_CONNS_MAX].writing) {
            send_all(fds[k % UV_HTTP_CONNS_MAX], get, strlen(get));
            edge_spin(&edge, 1);
        }
    }
    for (int i = 0; i < UV_HTTP_PLACES; i++) {
        writing += edge.e.http.conns[i].used && edge.e.http.conns[i].writing;
    }
    assert_int_equal(writing, UV_HTTP_CONNS_MAX);
    for (int i = 0; i < 5; i++) {
        int extra = dial();

        assert_true(receive(extra, NULL));
        assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
        close(extra);
    }
    for (int i = 0; i < UV_HTTP_CONNS_MAX; i++) {
        close(fds[i]);
    }
    EDGE_UNTIL(&edge, edge.e.http.count == 0);
}

static void a_client_that_asks_much_and_reads_nothing_costs_little(void **state)
{
    int fd = dial();
    static char text[60000];
    size_t len = 0;
    const char *get = "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    while (len + strlen(get) < sizeof text) {
        memcpy(text + len, get, strlen(get));
        len += strlen(get);
    }
    send_all(fd, text, len);
    edge_spin(&edge, 50);
    assert_true(edge.e.http.conns[0].out.len + edge.e.http.conns[0].flying.len <
                4 * 1024 * 1024);
    assert_true(edge.e.http.requests < 10);
    later(UV_HTTP_WRITE_MS + 10);
    EDGE_UNTIL(&edge, edge.e.http.count == 0);
    close(fd);
}

static void without_a_node_it_is_unavailable(void **state)
{
    int fd = dial();
    const char *get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    (void)state;
    edge.e.node = NULL;
    send_all(fd, get, strlen(get));
    assert_true(receive(fd, NULL));
    assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
    close(fd);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers_get_and_keeps_the_connection),
        T(answers_head_without_a_body),
        T(answers_byte_by_byte),
        T(answers_pipelined_requests_in_order),
        T(http_1_0_closes_unless_asked),
        T(the_nodes_status_is_passed_on),
        T(large_answers_arrive_whole),
        T(bad_requests_get_a_status_and_an_end),
        T(what_follows_a_bad_request_is_not_answered),
        T(an_upgrade_is_answered_plainly_and_ends),
        T(a_slow_request_runs_out_of_time),
        T(trickling_bytes_do_not_buy_time),
        T(silent_connections_are_closed),
        T(the_least_useful_makes_room_when_all_are_taken),
        T(too_many_busy_connections_are_told_so),
        T(a_client_that_asks_much_and_reads_nothing_costs_little),
        T(without_a_node_it_is_unavailable),
    };

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("server/uv_http", tests, NULL, NULL);
}
