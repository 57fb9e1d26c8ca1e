/* tests/fuzz/fuzz_config.c - addresses, lists of nodes, files and command lines.
 *
 * The first byte chooses the parser. Whatever it says, an error is one printable line,
 * and what is accepted keeps the limits that the rest of the house relies on.
 */
#include <string.h>

#include "raft/base/err.h"
#include "rpc/limits.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
    TEXT_MAX = 16 * 1024,
    WORDS_MAX = 32
};

static char text[TEXT_MAX + 1];
static char error[CONFIG_ERROR_BYTES];
static struct config config;

/* 0, or an error with a line that says why. */
static void check_result(int rc)
{
    KV_ASSERT(rc == 0 || rc == KV_EINVAL);
    if (rc != 0) {
        size_t n = strnlen(error, sizeof error);

        KV_ASSERT(n > 0 && n < sizeof error);
        KV_ASSERT(memchr(error, '\n', n) == NULL);
    }
}

static void check_nodes(const struct node_config *c)
{
    KV_ASSERT(c->nodes_count >= 1 && c->nodes_count <= STORE_NODES_MAX);
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        const struct node_address *a = &c->nodes[i];

        KV_ASSERT(a->id > 0 && a->client_port > 0 && a->peer_port > 0);
        KV_ASSERT(strnlen(a->host, sizeof a->host) < sizeof a->host &&
                  a->host[0] != '\0');
        KV_ASSERT(i == 0 || c->nodes[i - 1].id < a->id);
    }
}

static void check_config(const struct config *c)
{
    check_nodes(&c->node);
    KV_ASSERT(c->node.id > 0 && c->node.groups >= 1 && c->node.groups < KV_GROUPS_MAX);
    KV_ASSERT(c->node.replicas >= 1 && c->node.replicas <= c->node.nodes_count);
    KV_ASSERT(c->node.max_connections <= KV_CONNECTIONS_MAX);
    KV_ASSERT(2 * c->node.heartbeat_ms <= c->node.election_timeout_ms);
    KV_ASSERT(c->insecure || config_host_is_loopback(c->listen.host));
    KV_ASSERT(c->insecure || config_host_is_loopback(c->peer.host));
    KV_ASSERT(c->insecure || config_host_is_loopback(c->http.host));
    KV_ASSERT(c->listen.port != c->peer.port && c->http.port != 0);
}

/* Words are separated by newlines; --config is left out, files are not the point. */
static void command_line(void)
{
    enum config_action action = CONFIG_RUN;
    char *argv[WORDS_MAX + 2] = {text};
    int argc = 0;
    int rc;

    argv[argc++] = (char *)(uintptr_t) "kvd";
    for (char *word = text; word != NULL && argc < WORDS_MAX;) {
        char *end = strchr(word, '\n');

        if (end != NULL) {
            *end++ = '\0';
        }
        if (strncmp(word, "--conf", 6) == 0) {
            return;
        }
        argv[argc++] = word;
        word = end;
    }
    argv[argc] = NULL;
    rc = config_parse(argc, argv, &config, &action, error, sizeof error);
    check_result(rc);
    if (rc == 0 && action == CONFIG_RUN) {
        check_config(&config);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config_address address;
    int rc;

    if (len < 1 || len > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data + 1, len - 1);
    text[len - 1] = '\0';
    error[0] = '\0';
    switch (data[0] % 4) {
    case 0:
        memset(&config, 0, sizeof config);
        rc = config_ini_parse(text, len - 1, "f", &config, error, sizeof error);
        check_result(rc);
        break;
    case 1:
        rc = config_cluster_parse(text, &config.node, error, sizeof error);
        check_result(rc);
        if (rc == 0) {
            check_nodes(&config.node);
        }
        break;
    case 2:
        if (config_address_parse(text, &address)) {
            KV_ASSERT(address.port > 0 && address.host[0] != '\0');
            KV_ASSERT(strnlen(address.host, sizeof address.host) < sizeof address.host);
            (void)config_host_is_loopback(address.host);
        }
        break;
    default:
        command_line();
        break;
    }
    return 0;
}
