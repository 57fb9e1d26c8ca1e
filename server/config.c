/* server/config.c - one table of settings, for flags, file and help alike. */
#include "server/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "rpc/limits.h"
#include "server/log.h"

enum key_type {
    KEY_U32,
    KEY_U64,  /* Bytes; may end in K, M or G. */
    KEY_SIZE, /* The same into a size_t. */
    KEY_TEXT, /* min..max: bytes without the NUL. */
    KEY_ADDRESS,
    KEY_SWITCH,
    KEY_LEVEL,
};

struct key {
    const char *name;
    enum key_type type;
    size_t offset; /* In struct config. */
    uint64_t min, max;
    const char *arg;  /* What stands for the value in --help. */
    const char *help; /* With the default. */
};

#define AT(field) offsetof(struct config, field)
#define GIB       (1024ull * 1024 * 1024)

static const struct key keys[] = {
    {"id", KEY_U32, AT(node.id), 1, 999999999, "N", "this node's number; required"},
    {"data-dir", KEY_TEXT, AT(data_dir), 1, CONFIG_PATH_BYTES - 1, "DIR",
     "where it keeps its data; made if missing; required"},
    {"initial-cluster", KEY_TEXT, AT(cluster), 1, CONFIG_CLUSTER_BYTES - 1,
     "ID=HOST:CLIENTPORT:PEERPORT,...",
     "all nodes, this one included, the same on every node; default: this one alone"},
    {"listen", KEY_ADDRESS, AT(listen), 0, 0, "HOST:PORT",
     "for clients; default: its entry in --initial-cluster, else 127.0.0.1:7400+10*id"},
    {"peer", KEY_ADDRESS, AT(peer), 0, 0, "HOST:PORT",
     "for the other nodes; default: its entry in --initial-cluster, else listen + 1"},
    {"http", KEY_ADDRESS, AT(http), 0, 0, "HOST:PORT",
     "for health checks and metrics; default: the peer port + 1"},
    {"insecure", KEY_SWITCH, AT(insecure), 0, 0, "",
     "listen on other than loopback addresses, without TLS and authentication"},
    {"groups", KEY_U32, AT(node.groups), 1, KV_GROUPS_MAX - 1, "N",
     "Raft groups that share the keys; the same on every node; default 8"},
    {"replicas", KEY_U32, AT(node.replicas), 1, KV_REPLICAS_MAX, "N",
     "nodes that hold each group; the same on every node; default 3, or all of fewer"},
    {"zone", KEY_TEXT, AT(node.zone), 0, KV_ZONE_BYTES_MAX, "NAME",
     "where this node stands; replicas spread over zones; default none"},
    {"max-connections", KEY_U32, AT(node.max_connections), 1, KV_CONNECTIONS_MAX, "N",
     "clients at a time; default 4096"},
    {"log-level", KEY_LEVEL, AT(log_level), 0, 0, "error|warn|info|debug",
     "what is written to standard error; default info"},
    {"election-timeout-ms", KEY_U32, AT(node.election_timeout_ms), 20, 60000, "MS",
     "a follower waits once to twice this long for its leader; default 150"},
    {"heartbeat-ms", KEY_U32, AT(node.heartbeat_ms), 5, 30000, "MS",
     "a leader speaks at least this often; at most half the former; default 50"},
    {"request-deadline-ms", KEY_U32, AT(node.request_deadline_ms), 10, 60000, "MS",
     "for requests that name no deadline; default 5000"},
    {"slow-ms", KEY_U32, AT(slow_ms), 100, 3600000, "MS",
     "a socket that stops in the middle of something is closed after this; default "
     "30000"},
    {"log-window", KEY_U32, AT(node.log_window), 16, 100000000, "N",
     "applied entries kept for slow followers before they need a snapshot; default "
     "8192"},
    {"memory-bytes", KEY_SIZE, AT(node.memory_bytes_max), 16 * 1024 * 1024, 1024 * GIB,
     "N", "budget over requests, buffers and queues; default 256M"},
    {"delta-bytes", KEY_SIZE, AT(node.delta_bytes_max), 64 * 1024, 16 * GIB, "N",
     "applied changes of a group in memory before a checkpoint; default 2M"},
    {"checkpoint-ms", KEY_U32, AT(node.checkpoint_ms_max), 10, 3600000, "MS",
     "and at least this often; default 2000"},
    {"scrub-bytes-per-s", KEY_U64, AT(node.scrub_bytes_per_s), 0, 16 * GIB, "N",
     "reading over stored data in the background, 0 for off; default 8M"},
    {"quota-bytes", KEY_U64, AT(quota_bytes), 0, 1024 * GIB, "N",
     "ordinary writes stop when log or state take that much; default 7/8 of the map"},
    {"map-bytes", KEY_U64, AT(map_bytes), 0, 1024 * GIB, "N",
     "address space for log and for state, sparse; default 48G"},
    {"reserve-bytes", KEY_U64, AT(reserve_bytes), 0, GIB, "N",
     "kept free for elections and deletes when the disk is full; default 64M"},
};

enum {
    KEYS_COUNT = KV_ARRAY_COUNT(keys),
    KEY_CLUSTER = 2
};

_Static_assert(KEYS_COUNT <= 64, "a bit for each");

/* ---- one setting ---- */

/* Writes an error line and returns KV_EINVAL. */
static int fail(char *error, size_t error_bytes, const char *format, ...)
    KV_PRINTF(3, 4);
static int fail(char *error, size_t error_bytes, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, error_bytes, format, args);
    va_end(args);
    return KV_EINVAL;
}

/* Reads a number, with K, M or G behind it where `scaled`. */
static bool number_parse(const char *text, bool scaled, uint64_t *out)
{
    char *end;
    unsigned long long value;
    unsigned shift = 0;

    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    if (scaled && *end != '\0') {
        shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
        if (shift == 0 || value > UINT64_MAX >> shift) {
            return false;
        }
        end++;
    }
    *out = (uint64_t)value << shift;
    return *end == '\0';
}

static int number_set(struct config *c, const struct key *key, const char *value,
                      char *error, size_t error_bytes)
{
    void *at = (char *)c + key->offset;
    bool scaled = key->type != KEY_U32;
    uint64_t number;

    if (!number_parse(value, scaled, &number) || number < key->min ||
        number > key->max) {
        return fail(error, error_bytes,
                    "--%s %.40s: must be a number from %llu to %llu%s", key->name,
                    value, (unsigned long long)key->min, (unsigned long long)key->max,
                    scaled ? ", K, M and G may follow (64M)" : "");
    }
    if (key->type == KEY_U32) {
        *(uint32_t *)at = (uint32_t)number;
    } else if (key->type == KEY_SIZE) {
        *(size_t *)at = (size_t)number;
    } else {
        *(uint64_t *)at = number;
    }
    return 0;
}

/* Sets one key from text. In a file a switch has a value, as a flag it has none. */
static int key_set(struct config *c, const struct key *key, const char *value,
                   char *error, size_t error_bytes)
{
    void *at = (char *)c + key->offset;
    size_t len;

    switch (key->type) {
    case KEY_U32:
    case KEY_U64:
    case KEY_SIZE:
        c->replicas_given |= key->offset == AT(node.replicas);
        return number_set(c, key, value, error, error_bytes);
    case KEY_TEXT:
        len = strlen(value);
        if (len < key->min || len > key->max) {
            return fail(error, error_bytes, "--%s: must have %llu to %llu characters",
                        key->name, (unsigned long long)key->min,
                        (unsigned long long)key->max);
        }
        memcpy(at, value, len + 1);
        return 0;
    case KEY_ADDRESS:
        if (!config_address_parse(value, at)) {
            return fail(error, error_bytes,
                        "--%s %.80s: is not HOST:PORT; write for example --%s "
                        "127.0.0.1:7410, or [::1]:7410",
                        key->name, value, key->name);
        }
        return 0;
    case KEY_SWITCH:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            return fail(error, error_bytes, "%s = %.40s: must be true or false",
                        key->name, value);
        }
        *(bool *)at = strcmp(value, "true") == 0;
        return 0;
    case KEY_LEVEL:
        if (!log_level_parse(value, at)) {
            return fail(error, error_bytes,
                        "--%s %.40s: must be error, warn, info or debug", key->name,
                        value);
        }
        return 0;
    }
    KV_UNREACHABLE();
}

/* Number of edits between two words, at most 9; both short. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[40];
    size_t a_len = KV_MIN(strlen(a), (size_t)38);
    size_t b_len = KV_MIN(strlen(b), (size_t)38);

    for (size_t k = 0; k <= b_len; k++) {
        row[k] = (unsigned)k;
    }
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t k = 1; k <= b_len; k++) {
            unsigned here = diagonal + (a[i - 1] != b[k - 1]);

            diagonal = row[k];
            row[k] = KV_MIN(here, KV_MIN(row[k - 1], row[k]) + 1);
        }
    }
    return KV_MIN(row[b_len], 9u);
}

/* The setting that somebody who typed `name` may have meant; NULL if none is near. */
static const char *key_nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 4;

    for (size_t i = 0; i < KEYS_COUNT; i++) {
        unsigned d = distance(name, keys[i].name);

        if (d < best_distance) {
            best_distance = d;
            best = keys[i].name;
        }
    }
    return best;
}

static int unknown(const char *what, const char *name, char *error, size_t error_bytes)
{
    const char *near = key_nearest(name);

    if (near != NULL) {
        return fail(error, error_bytes, "%s%.60s: no such setting; did you mean %s%s?",
                    what, name, what, near);
    }
    return fail(error, error_bytes, "%s%.60s: no such setting; kvd --help lists all",
                what, name);
}

/* ---- the file ---- */

struct ini_read {
    struct config *config;
    char last[32]; /* Key of the line before: inih repeats it for a continued value. */
    uint64_t seen; /* A bit for each key. */
    char *error;   /* "" until something is wrong. */
    size_t error_bytes;
};

/* Adds to the list of nodes what another line says. */
static int cluster_append(struct ini_read *r, const char *id, const char *value)
{
    size_t len = strlen(r->config->cluster);
    int more = snprintf(r->config->cluster + len, CONFIG_CLUSTER_BYTES - len,
                        "%s%s%s%s", len > 0 ? "," : "", id == NULL ? "" : id,
                        id == NULL ? "" : "=", value);

    if (more < 0 || (size_t)more >= CONFIG_CLUSTER_BYTES - len) {
        return fail(r->error, r->error_bytes,
                    "initial-cluster: more than %d characters",
                    CONFIG_CLUSTER_BYTES - 1);
    }
    return 0;
}

static int ini_set(struct ini_read *r, const char *name, const char *value)
{
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        bool again = (r->seen >> i & 1) != 0;

        if (strcmp(name, keys[i].name) != 0) {
            continue;
        }
        r->seen |= 1ull << i;
        if (i == KEY_CLUSTER) {
            return cluster_append(r, NULL, value);
        }
        if (again) {
            return fail(r->error, r->error_bytes,
                        "%s: is set twice, or its value goes on in the next line; "
                        "delete one",
                        name);
        }
        return key_set(r->config, &keys[i], value, r->error, r->error_bytes);
    }
    return unknown("", name, r->error, r->error_bytes);
}

/* inih's callback: 1 to go on, 0 for an error in this line. */
static int ini_line(void *ctx, const char *section, const char *name, const char *value)
{
    struct ini_read *r = ctx;
    char key[64];
    int rc;

    if (r->error[0] != '\0') {
        return 1; /* The first error is the one to report. */
    }
    if (strcmp(section, "initial-cluster") == 0) {
        return cluster_append(r, name, value) == 0;
    }
    if (section[0] != '\0' && strcmp(section, "kvd") != 0) {
        fail(r->error, r->error_bytes,
             "[%.40s]: no such section; use [kvd] or [initial-cluster]", section);
        return 0;
    }
    snprintf(key, sizeof key, "%s", name);
    for (char *p = key; *p != '\0'; p++) {
        *p = *p == '_' ? '-' : *p;
    }
    rc = ini_set(r, key, value);
    return rc == 0;
}

/* inih cuts lines silently; here they are an error. Returns the first one that is too
 * long, 0 when there is none. */
static unsigned line_too_long(const char *text, size_t len)
{
    unsigned line = 1;
    size_t begin = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            begin = i + 1;
            line++;
        } else if (i - begin >= INI_MAX_LINE - 2) {
            return line;
        }
    }
    return 0;
}

int config_ini_parse(const char *text, size_t len, const char *name, struct config *c,
                     char *error, size_t error_bytes)
{
    char cause[CONFIG_ERROR_BYTES] = "";
    struct ini_read r = {.config = c, .error = cause, .error_bytes = sizeof cause};
    unsigned long_line = line_too_long(text, len);
    int line;

    if (memchr(text, '\0', len) != NULL) {
        return fail(error, error_bytes, "%.200s: is not a text file", name);
    }
    if (long_line != 0) {
        return fail(
            error, error_bytes,
            "%.200s:%u: longer than %d characters; go on in the next line, "
            "indented, or use a section [initial-cluster] with one node per line",
            name, long_line, INI_MAX_LINE - 3);
    }
    c->cluster[0] = '\0';
    line = ini_parse_string(text, ini_line, &r);
    if (line < 0) {
        return fail(error, error_bytes, "%.200s: cannot be read: out of memory", name);
    }
    if (line > 0) {
        return fail(error, error_bytes, "%.120s:%d: %.300s", name, line,
                    cause[0] != '\0' ? cause : "is not \"key = value\"");
    }
    return 0;
}

static int file_read(struct config *c, char *error, size_t error_bytes)
{
    enum {
        FILE_BYTES_MAX = 64 * 1024
    };
    FILE *file = fopen(c->file, "r");
    char *text;
    size_t len;
    int rc;

    if (file == NULL) {
        return fail(
            error, error_bytes,
            "--config %.200s: cannot be opened: %s; give the path of an INI file "
            "that you may read",
            c->file, strerror(errno));
    }
    text = kv_mem_zalloc(FILE_BYTES_MAX + 1);
    if (text == NULL) {
        fclose(file);
        return fail(error, error_bytes, "--config %.200s: out of memory", c->file);
    }
    len = fread(text, 1, FILE_BYTES_MAX + 1, file);
    if (ferror(file) != 0) {
        rc = fail(error, error_bytes, "--config %.200s: cannot be read: %s", c->file,
                  strerror(errno));
    } else if (len > FILE_BYTES_MAX) {
        rc =
            fail(error, error_bytes, "--config %.200s: is larger than 64 KiB", c->file);
    } else {
        rc = config_ini_parse(text, len, c->file, c, error, error_bytes);
    }
    kv_mem_free(text);
    fclose(file);
    return rc;
}

/* ---- the command line ---- */

enum {
    OPTION_CONFIG = 1000,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_KEY, /* And above: the keys. */
    OPTIONS_COUNT = KEYS_COUNT + 4,
};

static void options_fill(struct option options[OPTIONS_COUNT])
{
    memset(options, 0, sizeof options[0] * OPTIONS_COUNT);
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        options[i] = (struct option){
            .name = keys[i].name,
            .has_arg = keys[i].type == KEY_SWITCH ? no_argument : required_argument,
            .val = OPTION_KEY + (int)i,
        };
    }
    options[KEYS_COUNT] =
        (struct option){"config", required_argument, NULL, OPTION_CONFIG};
    options[KEYS_COUNT + 1] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    options[KEYS_COUNT + 2] =
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
                     ? fail(error, error_bytes,
                            "--%.60s: needs a value; kvd --help shows which", name)
                     : unknown("--", name, error, error_bytes);
        } else if (option == OPTION_HELP || option == 'h') {
            *action = CONFIG_HELP;
        } else if (option == OPTION_VERSION || option == 'V') {
            *action = CONFIG_VERSION;
        } else if (option == OPTION_CONFIG) {
            if (strlen(optarg) >= CONFIG_PATH_BYTES) {
                rc = fail(error, error_bytes, "--config: the path is too long");
            } else {
                memcpy(c->file, optarg, strlen(optarg) + 1);
            }
        } else if (!first && option >= OPTION_KEY) {
            rc = key_set(c, &keys[option - OPTION_KEY],
                         optarg == NULL ? "true" : optarg, error, error_bytes);
        }
    }
    if (rc == 0 && optind < argc) {
        rc = fail(error, error_bytes,
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
        return fail(error, error_bytes,
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
            return fail(
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
            return fail(error, error_bytes,
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
        return fail(
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
        return fail(
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
        return fail(
            error, error_bytes,
            "--id is missing; start with kvd --id 1 --data-dir DIR (kvd --help)");
    }
    if (c->data_dir[0] == '\0') {
        return fail(error, error_bytes,
                    "--data-dir is missing; start with kvd --id %u --data-dir DIR "
                    "(kvd --help)",
                    c->node.id);
    }
    rc = addresses_settle(c, error, error_bytes);
    if (rc != 0) {
        return rc;
    }
    if (c->node.heartbeat_ms * 2 > c->node.election_timeout_ms) {
        return fail(
            error, error_bytes,
            "--heartbeat-ms %u: must be at most half of --election-timeout-ms %u, or "
            "followers lose patience with a healthy leader; set --heartbeat-ms %u",
            c->node.heartbeat_ms, c->node.election_timeout_ms,
            c->node.election_timeout_ms / 3);
    }
    if (c->node.replicas > c->node.nodes_count) {
        if (c->replicas_given) {
            return fail(error, error_bytes,
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
        rc = file_read(c, error, error_bytes);
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

void config_help(FILE *to)
{
    fputs("kvd - one node of a replicated key-value store\n"
          "\n"
          "Examples:\n"
          "  A node alone, on 127.0.0.1:7410:\n"
          "    kvd --id 1 --data-dir data\n"
          "  The first of three; start the others with --id 2 and --id 3:\n"
          "    kvd --id 1 --data-dir n1 --initial-cluster "
          "1=127.0.0.1:7410:7411,2=127.0.0.1:7420:7421,3=127.0.0.1:7430:7431\n"
          "  Settings from a file (key = value, the names below):\n"
          "    kvd --config /etc/kvd.ini\n"
          "  Is it well?\n"
          "    curl 'http://127.0.0.1:7412/readyz?verbose'\n"
          "\n"
          "Settings:\n",
          to);
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        fprintf(to, "  --%s %s\n        %s\n", keys[i].name, keys[i].arg, keys[i].help);
    }
    fputs(
        "  --config FILE\n        an INI file with any of these; flags win over it\n"
        "  --help, --version\n"
        "\n"
        "Exit status: 0 stopped when asked to; 2 wrong settings; 3 cannot listen; 7 data "
        "or I/O error;\n70 a broken invariant. Logs go to standard error.\n",
        to);
}
