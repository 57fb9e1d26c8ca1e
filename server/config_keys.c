/* server/config_keys.c - the settings, and how each is set from text. */
#include "server/config_keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/base/err.h"
#include "rpc/limits.h"
#include "server/log.h"

#define AT(field) offsetof(struct config, field)
#define GIB       (1024ull * 1024 * 1024)

const struct config_key config_keys[CONFIG_KEYS_COUNT] = {
    {"id", CONFIG_U32, AT(node.id), 1, 999999999, "N", "this node's number; required"},
    {"data-dir", CONFIG_TEXT, AT(data_dir), 1, CONFIG_PATH_BYTES - 1, "DIR",
     "where it keeps its data; made if missing; required"},
    {"initial-cluster", CONFIG_TEXT, AT(cluster), 1, CONFIG_CLUSTER_BYTES - 1,
     "ID=HOST:CLIENTPORT:PEERPORT,...",
     "all nodes, this one included, the same on every node; default: this one alone"},
    {"listen", CONFIG_ADDRESS, AT(listen), 0, 0, "HOST:PORT",
     "for clients; default: its entry in --initial-cluster, else 127.0.0.1:7400+10*id"},
    {"peer", CONFIG_ADDRESS, AT(peer), 0, 0, "HOST:PORT",
     "for the other nodes; default: its entry in --initial-cluster, else listen + 1"},
    {"http", CONFIG_ADDRESS, AT(http), 0, 0, "HOST:PORT",
     "for health checks and metrics; default: the peer port + 1"},
    {"insecure", CONFIG_SWITCH, AT(insecure), 0, 0, "",
     "listen on other than loopback addresses, without TLS and authentication"},
    {"groups", CONFIG_U32, AT(node.groups), 1, KV_GROUPS_MAX - 1, "N",
     "Raft groups that share the keys; the same on every node; default 8"},
    {"replicas", CONFIG_U32, AT(node.replicas), 1, KV_REPLICAS_MAX, "N",
     "nodes that hold each group; the same on every node; default 3, or all of fewer"},
    {"zone", CONFIG_TEXT, AT(node.zone), 0, KV_ZONE_BYTES_MAX, "NAME",
     "where this node stands; replicas spread over zones; default none"},
    {"max-connections", CONFIG_U32, AT(node.max_connections), 1, KV_CONNECTIONS_MAX,
     "N", "clients at a time; default 4096"},
    {"log-level", CONFIG_LEVEL, AT(log_level), 0, 0, "error|warn|info|debug",
     "what is written to standard error; default info"},
    {"election-timeout-ms", CONFIG_U32, AT(node.election_timeout_ms), 20, 60000, "MS",
     "a follower waits once to twice this long for its leader; default 150"},
    {"heartbeat-ms", CONFIG_U32, AT(node.heartbeat_ms), 5, 30000, "MS",
     "a leader speaks at least this often; at most half the former; default 50"},
    {"request-deadline-ms", CONFIG_U32, AT(node.request_deadline_ms), 10, 60000, "MS",
     "for requests that name no deadline; default 5000"},
    {"slow-ms", CONFIG_U32, AT(slow_ms), 100, 3600000, "MS",
     "a socket that stops in the middle of something is closed after this; default "
     "30000"},
    {"log-window", CONFIG_U32, AT(node.log_window), 16, 100000000, "N",
     "applied entries kept for slow followers before they need a snapshot; default "
     "32768"},
    {"log-bytes", CONFIG_U64, AT(node.log_bytes_max), 64 * 1024, 1024 * GIB, "N",
     "the same in bytes of a group's log, whichever comes first; default 128M"},
    {"memory-bytes", CONFIG_SIZE, AT(node.memory_bytes_max), 16 * 1024 * 1024,
     1024 * GIB, "N", "budget over requests, buffers and queues; default 256M"},
    {"delta-bytes", CONFIG_SIZE, AT(node.delta_bytes_max), 64 * 1024, 16 * GIB, "N",
     "applied changes of a group in memory before a checkpoint; default 16M"},
    {"checkpoint-ms", CONFIG_U32, AT(node.checkpoint_ms_max), 10, 3600000, "MS",
     "and at least this often, or after a 30th of it without changes; default 30000"},
    {"scrub-bytes-per-s", CONFIG_U64, AT(node.scrub_bytes_per_s), 0, 16 * GIB, "N",
     "reading over stored data in the background, 0 for off; default 8M"},
    {"quota-bytes", CONFIG_U64, AT(quota_bytes), 0, 1024 * GIB, "N",
     "ordinary writes stop when log or state take that much; default 7/8 of the map"},
    {"map-bytes", CONFIG_U64, AT(map_bytes), 0, 1024 * GIB, "N",
     "address space for log and for state, sparse; default 48G"},
    {"reserve-bytes", CONFIG_U64, AT(reserve_bytes), 0, GIB, "N",
     "kept free for elections and deletes when the disk is full; default 64M"},
};

/* ---- one setting ---- */

int config_fail(char *error, size_t error_bytes, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, error_bytes, format, args);
    va_end(args);
    for (char *p = error; *p != '\0'; p++) {
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    }
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

static int number_set(struct config *c, const struct config_key *key, const char *value,
                      char *error, size_t error_bytes)
{
    void *at = (char *)c + key->offset;
    bool scaled = key->type != CONFIG_U32;
    uint64_t number;

    if (!number_parse(value, scaled, &number) || number < key->min ||
        number > key->max) {
        return config_fail(error, error_bytes,
                           "--%s %.40s: must be a number from %llu to %llu%s",
                           key->name, value, (unsigned long long)key->min,
                           (unsigned long long)key->max,
                           scaled ? ", K, M and G may follow (64M)" : "");
    }
    if (key->type == CONFIG_U32) {
        *(uint32_t *)at = (uint32_t)number;
    } else if (key->type == CONFIG_SIZE) {
        *(size_t *)at = (size_t)number;
    } else {
        *(uint64_t *)at = number;
    }
    return 0;
}

/* Sets one key from text. In a file a switch has a value, as a flag it has none. */
int config_key_set(struct config *c, const struct config_key *key, const char *value,
                   char *error, size_t error_bytes)
{
    void *at = (char *)c + key->offset;
    size_t len;

    switch (key->type) {
    case CONFIG_U32:
    case CONFIG_U64:
    case CONFIG_SIZE:
        c->replicas_given |= key->offset == AT(node.replicas);
        return number_set(c, key, value, error, error_bytes);
    case CONFIG_TEXT:
        len = strlen(value);
        if (len < key->min || len > key->max) {
            return config_fail(
                error, error_bytes, "--%s: must have %llu to %llu characters",
                key->name, (unsigned long long)key->min, (unsigned long long)key->max);
        }
        memcpy(at, value, len + 1);
        return 0;
    case CONFIG_ADDRESS:
        if (!config_address_parse(value, at)) {
            return config_fail(error, error_bytes,
                               "--%s %.80s: is not HOST:PORT; write for example --%s "
                               "127.0.0.1:7410, or [::1]:7410",
                               key->name, value, key->name);
        }
        return 0;
    case CONFIG_SWITCH:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            return config_fail(error, error_bytes, "%s = %.40s: must be true or false",
                               key->name, value);
        }
        *(bool *)at = strcmp(value, "true") == 0;
        return 0;
    case CONFIG_LEVEL:
        if (!log_level_parse(value, at)) {
            return config_fail(error, error_bytes,
                               "--%s %.40s: must be error, warn, info or debug",
                               key->name, value);
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

    for (size_t i = 0; i < CONFIG_KEYS_COUNT; i++) {
        unsigned d = distance(name, config_keys[i].name);

        if (d < best_distance) {
            best_distance = d;
            best = config_keys[i].name;
        }
    }
    return best;
}

int config_key_unknown(const char *what, const char *name, char *error,
                       size_t error_bytes)
{
    const char *near = key_nearest(name);

    if (near != NULL) {
        return config_fail(error, error_bytes,
                           "%s%.60s: no such setting; did you mean %s%s?", what, name,
                           what, near);
    }
    return config_fail(error, error_bytes,
                       "%s%.60s: no such setting; kvd --help lists all", what, name);
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
    for (size_t i = 0; i < CONFIG_KEYS_COUNT; i++) {
        fprintf(to, "  --%s %s\n        %s\n", config_keys[i].name, config_keys[i].arg,
                config_keys[i].help);
    }
    fputs("  --config FILE\n        an INI file with any of these; flags win over it\n"
          "  --help, --version\n"
          "\n"
          "Exit status: 0 stopped when asked to; 2 wrong settings; 3 cannot listen;\n"
          "7 data or I/O error; 70 a broken invariant. Logs go to standard error.\n",
          to);
}
