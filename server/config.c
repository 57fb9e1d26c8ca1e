/* server/config.c - the command line, defaults, and what must fit together. */
#include "server/config.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <string.h>

#include "raft/base/err.h"
#include "server/config_keys.h"

/* ---- the command line ---- */

enum {
    OPTION_CONFIG = 1000,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_KEY, /* And above: the keys. */
    OPTIONS_COUNT = CONFIG_KEYS_COUNT + 4,
};

static void options_fill(struct option options[OPTIONS_COUNT])
{
    memset(options, 0, sizeof options[0] * OPTIONS_COUNT);
    for (size_t i = 0; i < CONFIG_KEYS_COUNT; i++) {
        options[i] = (struct option){
            .name = config_keys[i].name,
            .has_arg =
                config_keys[i].type == CONFIG_SWITCH ? no_argument : required_argument,
            .val = OPTION_KEY + (int)i,
        };
    }
    options[CONFIG_KEYS_COUNT] =
        (struct option){"config", required_argument, NULL, OPTION_CONFIG};
    options[CONFIG_KEYS_COUNT + 1] =
        (struct option){"help", no_argument, NULL, OPTION_HELP};
    options[CONFIG_KEYS_COUNT + 2] =
        (struct option){"version", no_argument, NULL, OPTION_VERSION};
}

/* One pass over the command line. first: only --config, --help and --version count;
 * otherwise only the settings, so that they win over the file's. */
static int flags_read(int argc, char **argv, bool first, struct config *c,
                      enum config_action *action, char *error, size_t error_bytes)
{
    struct option options[OPTIONS_COUNT];
    int option;
    int rc = 0;

    options_fill(options);
    optind = 0; /* Makes glibc start afresh. */
    opterr = 0;
    while (rc == 0 && (option = getopt_long(argc, argv, ":hV", options, NULL)) != -1) {
        if (option == '?' || option == ':') {
            const char *word = argv[optind - 1];
            char name[64];

            word += strspn(word, "-");
            snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
            rc = option == ':'
                     ? config_fail(error, error_bytes,
                                   "--%.60s: needs a value; kvd --help shows which",
                                   name)
                     : config_key_unknown("--", name, error, error_bytes);
        } else if (option == OPTION_HELP || option == 'h') {
            *action = CONFIG_HELP;
        } else if (option == OPTION_VERSION || option == 'V') {
            *action = CONFIG_VERSION;
        } else if (option == OPTION_CONFIG) {
            if (strlen(optarg) >= CONFIG_PATH_BYTES) {
                rc = config_fail(error, error_bytes, "--config: the path is too long");
            } else {
                memcpy(c->file, optarg, strlen(optarg) + 1);
            }
        } else if (!first && option >= OPTION_KEY) {
            rc = config_key_set(c, &config_keys[option - OPTION_KEY],
                                optarg == NULL ? "true" : optarg, error, error_bytes);
        }
    }
    if (rc == 0 && optind < argc) {
        rc = config_fail(error, error_bytes,
                         "%.60s: kvd takes flags only; write --NAME VALUE (kvd --help)",
                         argv[optind]);
    }
    return rc;
}

/* ---- what must fit together ---- */

static struct node_address *own_address(struct config *c)
{
    for (uint32_t i = 0; i < c->node.nodes_count; i++) {
        if (c->node.nodes[i].id == c->node.id) {
            return &c->node.nodes[i];
        }
    }
    return NULL;
}

/* True when a listener on `listen` can be what others reach as `host`: both are
 * numbers and differ means no. */
static bool hosts_agree(const char *listen, const char *host)
{
    unsigned char a[sizeof(struct in6_addr)];
    unsigned char b[sizeof(struct in6_addr)];

    if (strcmp(listen, host) == 0 || strcmp(listen, "0.0.0.0") == 0 ||
        strcmp(listen, "::") == 0) {
        return true;
    }
    for (int i = 0; i < 2; i++) {
        int family = i == 0 ? AF_INET : AF_INET6;

        if (inet_pton(family, listen, a) == 1 && inet_pton(family, host, b) == 1) {
            return memcmp(a, b, i == 0 ? 4 : 16) == 0;
        }
    }
    return true;
}

/* Takes an address from the node's own entry, or checks that it agrees with it. */
static int address_settle(struct config_address *address, const char *flag,
                          const struct node_address *own, uint16_t port, char *error,
                          size_t error_bytes)
{
    if (!address->given) {
        memcpy(address->host, own->host, sizeof address->host);
        address->port = port;
        return 0;
    }
    if (address->port != port || !hosts_agree(address->host, own->host)) {
        return config_fail(
            error, error_bytes,
            "--%s %s:%u: the other nodes look for node %u at %s:%u, as "
            "--initial-cluster says; make them the same, or leave --%s out",
            flag, address->host, address->port, own->id, own->host, port, flag);
    }
    return 0;
}

static int loopback_check(const struct config *c, char *error, size_t error_bytes)
{
    const struct config_address *addresses[] = {&c->listen, &c->peer, &c->http};
    static const char *const flags[] = {"listen", "peer", "http"};

    for (size_t i = 0; i < KV_ARRAY_COUNT(addresses); i++) {
        if (!c->insecure && !config_host_is_loopback(addresses[i]->host)) {
            return config_fail(
                error, error_bytes,
                "--%s %s:%u: is not a loopback address, and this version has "
                "neither TLS nor authentication: anybody who reaches it can read "
                "and write all data; use 127.0.0.1, or add --insecure in a network "
                "that you trust",
                flags[i], addresses[i]->host, addresses[i]->port);
        }
    }
    return 0;
}

static int addresses_settle(struct config *c, char *error, size_t error_bytes)
{
    struct node_address *own;
    int rc;

    if (c->cluster[0] == '\0') {
        struct node_address *alone = &c->node.nodes[0];
        uint32_t port = 7400 + 10 * c->node.id;

        if (!c->listen.given && port > 65533) {
            return config_fail(error, error_bytes,
                               "--id %u: has no default port; add --listen HOST:PORT",
                               c->node.id);
        }
        *alone = (struct node_address){.id = c->node.id};
        memcpy(alone->host, c->listen.given ? c->listen.host : "127.0.0.1",
               c->listen.given ? sizeof alone->host : sizeof "127.0.0.1");
        alone->client_port = c->listen.given ? c->listen.port : (uint16_t)port;
        alone->peer_port =
            c->peer.given ? c->peer.port : (uint16_t)(alone->client_port + 1);
        c->node.nodes_count = 1;
    } else {
        rc = config_cluster_parse(c->cluster, &c->node, error, error_bytes);
        if (rc != 0) {
            return rc;
        }
    }
    own = own_address(c);
    if (own == NULL) {
        return config_fail(
            error, error_bytes,
            "--initial-cluster: does not name node %u, which --id says this is; "
            "add %u=HOST:CLIENTPORT:PEERPORT to it on every node",
            c->node.id, c->node.id);
    }
    rc =
        address_settle(&c->listen, "listen", own, own->client_port, error, error_bytes);
    if (rc == 0) {
        rc = address_settle(&c->peer, "peer", own, own->peer_port, error, error_bytes);
    }
    if (rc != 0) {
        return rc;
    }
    if (!c->http.given) {
        memcpy(c->http.host, c->peer.host, sizeof c->http.host);
        c->http.port = (uint16_t)(c->peer.port + 1);
    }
    if (c->http.port == 0 || c->http.port == c->peer.port ||
        c->http.port == c->listen.port || c->peer.port == c->listen.port) {
        return config_fail(
            error, error_bytes,
            "--listen, --peer and --http: ports %u, %u, %u must be three different "
            "ones; set them with --listen, --peer and --http",
            c->listen.port, c->peer.port, c->http.port);
    }
    own->http_port = c->http.port;
    memcpy(own->zone, c->node.zone, sizeof own->zone);
    return loopback_check(c, error, error_bytes);
}

static int config_settle(struct config *c, char *error, size_t error_bytes)
{
    int rc;

    if (c->node.id == 0) {
        return config_fail(
            error, error_bytes,
            "--id is missing; start with kvd --id 1 --data-dir DIR (kvd --help)");
    }
    if (c->data_dir[0] == '\0') {
        return config_fail(
            error, error_bytes,
            "--data-dir is missing; start with kvd --id %u --data-dir DIR "
            "(kvd --help)",
            c->node.id);
    }
    rc = addresses_settle(c, error, error_bytes);
    if (rc != 0) {
        return rc;
    }
    if (c->node.heartbeat_ms * 2 > c->node.election_timeout_ms) {
        return config_fail(
            error, error_bytes,
            "--heartbeat-ms %u: must be at most half of --election-timeout-ms %u, or "
            "followers lose patience with a healthy leader; set --heartbeat-ms %u",
            c->node.heartbeat_ms, c->node.election_timeout_ms,
            c->node.election_timeout_ms / 3);
    }
    if (c->node.replicas > c->node.nodes_count) {
        if (c->replicas_given) {
            return config_fail(
                error, error_bytes,
                "--replicas %u: --initial-cluster names only %u nodes; set "
                "--replicas %u or name more nodes",
                c->node.replicas, c->node.nodes_count, c->node.nodes_count);
        }
        c->node.replicas = c->node.nodes_count;
    }
    return 0;
}

int config_parse(int argc, char **argv, struct config *out,
                 enum config_action *out_action, char *error, size_t error_bytes)
{
    struct config *c = out;
    enum config_action action = CONFIG_RUN;
    int rc;

    memset(c, 0, sizeof *c);
    node_config_init(&c->node);
    c->log_level = LOG_INFO;
    c->slow_ms = 30000;
    rc = flags_read(argc, argv, true, c, &action, error, error_bytes);
    if (rc == 0 && action != CONFIG_RUN) {
        *out_action = action;
        return 0;
    }
    if (rc == 0 && c->file[0] != '\0') {
        rc = config_file_read(c, error, error_bytes);
    }
    if (rc == 0) {
        rc = flags_read(argc, argv, false, c, &action, error, error_bytes);
    }
    if (rc == 0) {
        rc = config_settle(c, error, error_bytes);
    }
    if (rc == 0) {
        *out_action = CONFIG_RUN;
    }
    return rc;
}
