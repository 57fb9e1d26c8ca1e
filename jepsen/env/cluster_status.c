/* jepsen/env/cluster_status.c - asks nodes over HTTP: ready, leaders, groups. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jepsen/env/cluster_own.h"
#include "jepsen/env/socket.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

enum {
    STATUS_BYTES = 65536,
    STATUS_ASK_MS = 300,
    STATUS_STEP_MS = 20,
    HTTP_OK = 200,
};

/* Reads until the other end closes; the length, or an error. */
static int read_all(int fd, char *out, size_t room, uint64_t end_ns)
{
    size_t len = 0;
    int rc;

    while (len + 1 < room) {
        size_t got = 0;

        rc = socket_read(fd, out + len, room - 1 - len, end_ns, &got);
        if (rc != 0) {
            return rc;
        }
        if (got == 0) {
            break;
        }
        len += got;
    }
    out[len] = '\0';
    return (int)len;
}

int cluster_http(struct cluster *c, uint32_t node, const char *path, char *out,
                 size_t room, uint32_t timeout_ms)
{
    uint64_t end_ns = net_now_ns() + timeout_ms * 1000000ull;
    char text[256];
    char *body;
    int fd = -1;
    int len;
    int rc = socket_connect(c->host_own[node], NET_PORT_HTTP, end_ns, &fd);

    if (rc != 0) {
        return rc;
    }
    len =
        snprintf(text, sizeof text,
                 "GET %.100s HTTP/1.1\r\nHost: kvd\r\nConnection: close\r\n\r\n", path);
    rc = socket_write(fd, text, (size_t)len, end_ns);
    if (rc == 0) {
        rc = read_all(fd, out, room, end_ns);
    }
    (void)close(fd);
    if (rc < 0) {
        return rc;
    }
    body = strstr(out, "\r\n\r\n");
    if (body == NULL || strncmp(out, "HTTP/1.1 ", 9) != 0) {
        return KV_EPROTO;
    }
    rc = (int)strtol(out + 9, NULL, 10);
    memmove(out, body + 4, strlen(body + 4) + 1);
    return rc;
}

int cluster_wait_ready(struct cluster *c, uint32_t mask, uint32_t timeout_ms)
{
    uint64_t end_ns = net_now_ns() + timeout_ms * 1000000ull;
    char text[2048] = "";

    for (uint32_t i = 1; i <= c->nodes; i++) {
        while ((mask & CLUSTER_BIT(i)) != 0) {
            struct cluster_node_info info;
            int status =
                cluster_http(c, i, "/readyz?verbose", text, sizeof text, STATUS_ASK_MS);

            if (status == HTTP_OK) {
                break;
            }
            cluster_node(c, i, &info);
            if (info.state != CLUSTER_NODE_UP) {
                return cluster_fail(c, KV_EIO, "node %u is not up, see %s", i,
                                    info.log_path);
            }
            if (net_now_ns() > end_ns) {
                return cluster_fail(c, KV_ETIMEOUT, "node %u is not ready: %.150s", i,
                                    status > 0 ? text : "no answer");
            }
            cluster_sleep_ms(STATUS_STEP_MS);
        }
    }
    return 0;
}

/* The number behind "key": in [text, end); 0 when there is none. */
static uint64_t number_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

/* The text of a node's "groups" list; NULL when it does not answer. *out_all is to be
 * freed. */
static const char *groups_text(struct cluster *c, uint32_t node, char **out_all)
{
    const char *groups = NULL;
    char *all = kv_mem_zalloc(STATUS_BYTES);

    *out_all = all;
    if (all != NULL && cluster_http(c, node, "/v1/status", all, STATUS_BYTES,
                                    STATUS_ASK_MS) == HTTP_OK) {
        groups = strstr(all, "\"groups\":[");
    }
    return groups;
}

uint32_t cluster_leaders(struct cluster *c, uint32_t group)
{
    uint32_t mask = 0;
    char key[32];

    snprintf(key, sizeof key, "{\"id\":%" PRIu32 ",\"leader\"", group);
    for (uint32_t i = 1; i <= c->nodes; i++) {
        char *all;
        const char *groups = groups_text(c, i, &all);
        const char *one = groups == NULL ? NULL : strstr(groups, key);

        if (one != NULL && number_of(one, "\"leader\":") == i) {
            mask |= CLUSTER_BIT(i);
        }
        kv_mem_free(all);
    }
    return mask;
}

uint32_t cluster_groups(struct cluster *c)
{
    uint32_t count = 0;

    for (uint32_t i = 1; i <= c->nodes && count == 0; i++) {
        char *all;
        const char *at = groups_text(c, i, &all);

        while (at != NULL && (at = strstr(at, "{\"id\":")) != NULL) {
            count++;
            at++;
        }
        kv_mem_free(all);
    }
    return count;
}
