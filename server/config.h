/* server/config.h - what kvd is told: flags, the same keys in an INI file, checks.
 *
 * Precedence: flag, file, default. Nothing is guessed twice: a wrong setting is one
 * line that says what is wrong, where it was set, why, and what to type instead.
 *
 * Needs:    server/node.h (node_config), server/env.h (log levels), inih.
 * Used by:  server/main.c.
 * Threads:  any; parsing uses getopt's state, so one at a time.
 */
#ifndef KV_SERVER_CONFIG_H
#define KV_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "raft/base/check.h"
#include "server/env.h"
#include "server/node.h"

enum {
    CONFIG_HOST_BYTES = 64,      /* With the NUL, as in struct node_address. */
    CONFIG_PATH_BYTES = 512,     /* Of --data-dir and --config, with the NUL. */
    CONFIG_ERROR_BYTES = 512,    /* Enough for any of our error lines. */
    CONFIG_CLUSTER_BYTES = 8192, /* Of --initial-cluster as text. */
};

/* Where to listen. */
struct config_address {
    char host[CONFIG_HOST_BYTES]; /* Name or number; IPv6 without brackets. */
    uint16_t port;
    bool given; /* By flag or file; else a default. */
};

struct config {
    struct node_config node;
    char data_dir[CONFIG_PATH_BYTES];
    char file[CONFIG_PATH_BYTES]; /* --config; "" when none. */
    struct config_address listen;
    struct config_address peer;
    struct config_address http;
    bool insecure; /* Other addresses than loopback are wanted, without TLS. */
    enum log_level log_level;
    uint64_t quota_bytes;   /* Of each LMDB environment; 0: 7/8 of the map. */
    uint64_t map_bytes;     /* Of each LMDB environment; 0: the store's default. */
    uint64_t reserve_bytes; /* For urgent writes; 0: the store's default. */
    uint32_t slow_ms;       /* A peer of a socket that stops in the middle of something
                             * for that long is disconnected; default 30,000. */
    /* As text, before it is split into node.nodes. */
    char cluster[CONFIG_CLUSTER_BYTES];
    bool replicas_given;
};

enum config_action {
    CONFIG_RUN,
    CONFIG_HELP,    /* --help: config_help(), exit 0. */
    CONFIG_VERSION, /* --version: print it, exit 0. */
};

/* Reads the command line, the file that it may name, fills in defaults, checks all.
 * error  [out] one line without newline when it fails, at least CONFIG_ERROR_BYTES.
 * Returns 0, or KV_EINVAL with `error`; *out is then worthless. */
KV_MUST_CHECK int config_parse(int argc, char **argv, struct config *out,
                               enum config_action *out_action, char *error,
                               size_t error_bytes);

/* The parts, for tests and for fuzzing. */

/* Splits "host:port" or "[v6]:port". Returns false when it is neither. */
KV_MUST_CHECK bool config_address_parse(const char *text, struct config_address *out);

/* Splits "1=host:clientport:peerport,2=..." into out->nodes, ascending by id.
 * 0 or KV_EINVAL with `error`. */
KV_MUST_CHECK int config_cluster_parse(const char *text, struct node_config *out,
                                       char *error, size_t error_bytes);

/* Reads INI text of `len` bytes, and a NUL behind them, into `c`.
 * name  of the file, for errors. 0 or KV_EINVAL with `error`. */
KV_MUST_CHECK int config_ini_parse(const char *text, size_t len, const char *name,
                                   struct config *c, char *error, size_t error_bytes);

/* Is it 127.0.0.0/8, ::1 or localhost? */
bool config_host_is_loopback(const char *host);

/* Prints --help: examples first, then every setting with its default. */
void config_help(FILE *to);

#endif
