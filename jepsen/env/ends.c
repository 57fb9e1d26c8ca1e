/* jepsen/env/ends.c - a network namespace per end, and the probe between them. */
#include "jepsen/env/ends.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raft/base/err.h"

enum {
    ENDS_PROBE_PORT = 7
};

void ends_init(struct ends *e)
{
    for (uint32_t i = 0; i < FAULT_ENDS_MAX; i++) {
        e->ns[i] = e->udp[i] = -1;
    }
}

int ends_make(struct net *n, struct ends *e, uint32_t end)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(ENDS_PROBE_PORT)};

    if (unshare(CLONE_NEWNET) != 0) {
        return net_fail(n, "a network namespace", errno);
    }
    e->ns[end] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    e->udp[end] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->ns[end] < 0 || e->udp[end] < 0 ||
        bind(e->udp[end], (const struct sockaddr *)&a, sizeof a) != 0 ||
        net_watch(n, e->udp[end], ENDS_TAG_PROBE + end, EPOLLIN) != 0) {
        return net_fail(n, "probe socket", errno);
    }
    snprintf(n->host_own[end], sizeof n->host_own[end], "10.119.0.%u", end + 1);
    memcpy(n->host_seen[end], n->host_own[end], sizeof n->host_seen[end]);
    memcpy(n->host_bind[end], n->host_own[end], sizeof n->host_bind[end]);
    return 0;
}

void ends_close(struct ends *e)
{
    for (uint32_t i = 0; i < FAULT_ENDS_MAX; i++) {
        if (e->ns[i] >= 0) {
            (void)close(e->ns[i]);
        }
        if (e->udp[i] >= 0) {
            (void)close(e->udp[i]);
        }
    }
    ends_init(e);
}

void ends_probe_take(struct net *n, const struct ends *e, uint32_t end)
{
    uint64_t now_ns = net_now_ns();
    uint8_t message[8];

    while (recv(e->udp[end], message, sizeof message, 0) == (ssize_t)sizeof message) {
        if (end == n->probe.to) {
            net_probe_arrived(n, message, now_ns);
        }
    }
}

void ends_probe_send(struct net *n, const struct ends *e, uint32_t i)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(ENDS_PROBE_PORT),
                            .sin_addr.s_addr = htonl(ENDS_NET + n->probe.to + 1)};
    uint8_t message[8];

    net_probe_message(n, i, message);
    (void)sendto(e->udp[n->probe.from], message, sizeof message, 0,
                 (const struct sockaddr *)&a, sizeof a);
}
