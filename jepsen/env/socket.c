/* jepsen/env/socket.c - blocking TCP with a deadline. */
#include "jepsen/env/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jepsen/env/net.h"
#include "raft/base/err.h"

/* Waits until fd is ready for `events`. */
static int ready_wait(int fd, short events, uint64_t end_ns)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        uint64_t now_ns = net_now_ns();
        int rc;

        if (now_ns >= end_ns) {
            return KV_ETIMEOUT;
        }
        rc = poll(&p, 1, (int)((end_ns - now_ns) / 1000000 + 1));
        if (rc > 0) {
            return 0;
        }
        if (rc < 0 && errno != EINTR) {
            return KV_ECONNECT;
        }
    }
}

int socket_connect(const char *host, uint16_t port, uint64_t end_ns, int *out_fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof(int);
    int error = 0;
    int rc = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        rc = KV_ECONNECT;
    } else if (connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        rc = errno == EINPROGRESS ? ready_wait(fd, POLLOUT, end_ns) : KV_ECONNECT;
        if (rc == 0 &&
            (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)) {
            rc = KV_ECONNECT;
        }
    }
    if (rc == 0) {
        *out_fd = fd;
    } else if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

int socket_write(int fd, const void *data, size_t len, uint64_t end_ns)
{
    const char *at = data;

    while (len > 0) {
        ssize_t wrote = send(fd, at, len, MSG_NOSIGNAL);
        int rc;

        if (wrote > 0) {
            at += wrote;
            len -= (size_t)wrote;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return KV_ECONNECT;
        }
        rc = ready_wait(fd, POLLOUT, end_ns);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int socket_read(int fd, void *out, size_t room, uint64_t end_ns, size_t *out_len)
{
    for (;;) {
        ssize_t got = recv(fd, out, room, 0);
        int rc;

        if (got >= 0) {
            *out_len = (size_t)got;
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return KV_ECONNECT;
        }
        rc = ready_wait(fd, POLLIN, end_ns);
        if (rc != 0) {
            return rc;
        }
    }
}
