/* tests/fuzz/fuzz_http.c - the HTTP port over a real socket, in pieces.
 *
 * The first byte chooses the size of the pieces. Whatever comes, what is answered
 * begins with a status line, the connection costs no more than its limits, and nothing
 * of it is left when the client has gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raft/base/check.h"

#define assert_int_equal(a, b) KV_ASSERT((a) == (b))
#define assert_true(a)         KV_ASSERT(a)
#include "tests/server/uv_stub_node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
    INPUT_MAX = 32 * 1024,
    ANSWER_MAX = 4 * 1024 * 1024
};

static struct edge edge;
static bool edge_is_open;
static char answer[ANSWER_MAX + 1];

/* From a loopback address of its own for a while: ports of one would run out. */
static int dial(void)
{
    static uint32_t count;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 * (count++ / 1000 % 60000)),
    };
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(edge.http_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {.l_onoff = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Ends by a reset, so that no port is left waiting. */
    KV_ASSERT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    KV_ASSERT(bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof(int);
        int error = -1;

        /* libFuzzer's timer interrupts: the kernel goes on connecting. */
        KV_ASSERT(errno == EINTR);
        while (poll(&wait, 1, 5000) < 0 && errno == EINTR) {
        }
        KV_ASSERT(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
        KV_ASSERT(error == 0);
    }
    KV_ASSERT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

static size_t take(int fd, size_t have)
{
    ssize_t n;

    uv_run(&edge.e.loop, UV_RUN_NOWAIT);
    n = recv(fd, answer + have, ANSWER_MAX - have, 0);
    return have + (n > 0 ? (size_t)n : 0);
}

static void check_answer(const char *text, size_t len)
{
    static const char status[] = "HTTP/1.1 ";

    KV_ASSERT(len == 0 || len < sizeof status ||
              memcmp(text, status, sizeof status - 1) == 0);
}

static void check_limits(void)
{
    for (int i = 0; i < UV_HTTP_PLACES; i++) {
        const struct uv_http_conn *c = &edge.e.http.conns[i];

        if (c->used) {
            KV_ASSERT(c->head_bytes <= UV_HTTP_HEAD_BYTES_MAX + 1);
            KV_ASSERT(c->out.len <= UV_HTTP_OUT_BYTES + UV_HTTP_BODY_BYTES_MAX + 1024);
            KV_ASSERT(c->url_bytes <= UV_HTTP_URL_BYTES_MAX);
        }
    }
    KV_ASSERT(edge.e.http.count <= UV_HTTP_PLACES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t piece;
    size_t have = 0;
    uint64_t end;
    int fd;

    if (len < 2 || len > INPUT_MAX) {
        return 0;
    }
    if (!edge_is_open) {
        edge_open(&edge, 10, 30000, -1);
        edge_is_open = true;
    }
    piece = data[0] == 0 ? len : (size_t)data[0] * 8;
    fd = dial();
    for (size_t at = 1; at < len; at += piece) {
        if (send(fd, data + at, KV_MIN(piece, len - at), MSG_NOSIGNAL) < 0 &&
            errno != EAGAIN) {
            break;
        }
        have = take(fd, have);
        check_limits();
    }
    have = take(fd, have);
    have = take(fd, have);
    answer[have] = '\0';
    check_answer(answer, have);
    close(fd);
    end = uv_hrtime() + 2000000000ull; /* The kernel may be slow to tell. */
    while (edge.e.http.count > 0 && uv_hrtime() < end) {
        uv_run(&edge.e.loop, UV_RUN_NOWAIT);
    }
    KV_ASSERT(edge.e.http.count == 0);
    return 0;
}
