/* server/config_address.c - addresses and the list of nodes, from text. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "raft/base/err.h"
#include "server/config_keys.h"

/* Reads a port of `len` digits, 1 to 65535. */
static bool port_parse(const char *text, size_t len, uint16_t *out)
{
    uint32_t port = 0;

    if (len == 0 || len > 5) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *out = (uint16_t)port;
    return true;
}

/* Copies a host of `len` bytes, without the brackets of IPv6. */
static bool host_parse(const char *text, size_t len, char out[CONFIG_HOST_BYTES])
{
    bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

    if (bracketed) {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= CONFIG_HOST_BYTES) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte <= 0x20 || byte >= 0x7f || byte == '[' || byte == ']' || byte == ',' ||
            byte == '=' || byte == '/' || (byte == ':' && !bracketed)) {
            return false;
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

bool config_address_parse(const char *text, struct config_address *out)
{
    const char *colon = strrchr(text, ':');
    struct config_address address = {.given = true};

    if (colon == NULL || !host_parse(text, (size_t)(colon - text), address.host) ||
        !port_parse(colon + 1, strlen(colon + 1), &address.port)) {
        return false;
    }
    *out = address;
    return true;
}

bool config_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return false;
}

/* Reads one "ID=HOST:CLIENTPORT:PEERPORT" of `len` bytes. */
static bool node_parse(const char *text, size_t len, struct node_address *out)
{
    const char *end = text + len;
    const char *equal = memchr(text, '=', len);
    const char *peer;
    const char *client;
    uint64_t id = 0;

    if (equal == NULL || equal == text || equal - text > 9) {
        return false;
    }
    for (const char *p = text; p < equal; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        id = id * 10 + (uint64_t)(*p - '0');
    }
    peer = memrchr(equal, ':', (size_t)(end - equal));
    if (peer == NULL || id == 0) {
        return false;
    }
    client = memrchr(equal, ':', (size_t)(peer - equal));
    if (client == NULL) {
        return false;
    }
    *out = (struct node_address){.id = (uint32_t)id};
    return host_parse(equal + 1, (size_t)(client - equal - 1), out->host) &&
           port_parse(client + 1, (size_t)(peer - client - 1), &out->client_port) &&
           port_parse(peer + 1, (size_t)(end - peer - 1), &out->peer_port);
}

/* Puts a node where its id belongs. Returns false when the id is there already. */
static bool node_insert(struct node_config *c, const struct node_address *node)
{
    uint32_t at = c->nodes_count;

    KV_ASSERT(c->nodes_count < STORE_NODES_MAX);
    while (at > 0 && c->nodes[at - 1].id > node->id) {
        at--;
    }
    if (at > 0 && c->nodes[at - 1].id == node->id) {
        return false;
    }
    memmove(&c->nodes[at + 1], &c->nodes[at],
            (c->nodes_count - at) * sizeof c->nodes[0]);
    c->nodes[at] = *node;
    c->nodes_count++;
    return true;
}

/* Two nodes must not share an address; returns the first of a pair that does. */
static const struct node_address *node_clash(const struct node_config *c,
                                             const struct node_address **out_other)
{
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const struct node_address *a = &c->nodes[k];
            const struct node_address *b = &c->nodes[i];

            if (strcmp(a->host, b->host) == 0 &&
                (a->peer_port == b->peer_port || a->client_port == b->client_port ||
                 a->peer_port == b->client_port || a->client_port == b->peer_port)) {
                *out_other = b;
                return a;
            }
        }
    }
    return NULL;
}

int config_cluster_parse(const char *text, struct node_config *out, char *error,
                         size_t error_bytes)
{
    const struct node_address *clash;
    const struct node_address *other = NULL;

    out->nodes_count = 0;
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, ",");
        size_t shown = KV_MIN(len, (size_t)80);
        struct node_address node;

        if (len == 0) {
            p++;
            continue;
        }
        if (!node_parse(p, len, &node)) {
            return config_fail(
                error, error_bytes,
                "--initial-cluster: \"%.*s\" is not ID=HOST:CLIENTPORT:PEERPORT; "
                "write for example 1=127.0.0.1:7410:7411,2=127.0.0.1:7420:7421",
                (int)shown, p);
        }
        if (out->nodes_count == STORE_NODES_MAX) {
            return config_fail(
                error, error_bytes,
                "--initial-cluster: more than %d nodes; a cluster has at most that",
                (int)STORE_NODES_MAX);
        }
        if (!node_insert(out, &node)) {
            return config_fail(
                error, error_bytes,
                "--initial-cluster: node %u is named twice; each id may stand there "
                "once",
                node.id);
        }
        p += len;
    }
    if (out->nodes_count == 0) {
        return config_fail(error, error_bytes,
                           "--initial-cluster: names no node; write for example "
                           "1=127.0.0.1:7410:7411,2=127.0.0.1:7420:7421");
    }
    clash = node_clash(out, &other);
    if (clash != NULL) {
        return config_fail(
            error, error_bytes,
            "--initial-cluster: nodes %u and %u share a port of %s; give each node "
            "two ports of its own",
            clash->id, other->id, clash->host);
    }
    return 0;
}
