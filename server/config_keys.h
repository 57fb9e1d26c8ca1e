/* server/config_keys.h - the table of settings, shared by flags, file and help.
 *
 * Needs:    server/config.h.
 * Used by:  server/config*.c.
 * Threads:  any.
 */
#ifndef KV_SERVER_CONFIG_KEYS_H
#define KV_SERVER_CONFIG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "raft/base/check.h"
#include "server/config.h"

enum {
    CONFIG_KEYS_COUNT = 25,
    CONFIG_KEY_CLUSTER = 2, /* Position of initial-cluster. */
};

enum config_key_type {
    CONFIG_U32,
    CONFIG_U64,  /* Bytes; may end in K, M or G. */
    CONFIG_SIZE, /* The same into a size_t. */
    CONFIG_TEXT, /* min..max: bytes without the NUL. */
    CONFIG_ADDRESS,
    CONFIG_SWITCH,
    CONFIG_LEVEL,
};

struct config_key {
    const char *name;
    enum config_key_type type;
    size_t offset; /* In struct config. */
    uint64_t min, max;
    const char *arg;  /* What stands for the value in --help. */
    const char *help; /* With the default. */
};

extern const struct config_key config_keys[CONFIG_KEYS_COUNT];

/* Writes an error line; bytes that are not printable become '?'. Returns KV_EINVAL. */
int config_fail(char *error, size_t error_bytes, const char *format, ...)
    KV_PRINTF(3, 4);

/* Sets one key from text; a switch from "true" or "false". 0 or KV_EINVAL. */
KV_MUST_CHECK int config_key_set(struct config *c, const struct config_key *key,
                                 const char *value, char *error, size_t error_bytes);

/* Complains about a name that no key has, with the one that may have been meant.
 * what  goes in front of both: "--" or "". Returns KV_EINVAL. */
int config_key_unknown(const char *what, const char *name, char *error,
                       size_t error_bytes);

/* Reads the file that --config names. 0 or KV_EINVAL. */
KV_MUST_CHECK int config_file_read(struct config *c, char *error, size_t error_bytes);

#endif
