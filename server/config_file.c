/* server/config_file.c - the same settings from an INI file. */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "raft/base/arena.h"
#include "raft/base/err.h"
#include "server/config_keys.h"

_Static_assert(CONFIG_KEYS_COUNT <= 64, "a bit for each");

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
        return config_fail(r->error, r->error_bytes,
                           "initial-cluster: more than %d characters",
                           CONFIG_CLUSTER_BYTES - 1);
    }
    return 0;
}

static int ini_set(struct ini_read *r, const char *name, const char *value)
{
    for (size_t i = 0; i < CONFIG_KEYS_COUNT; i++) {
        bool again = (r->seen >> i & 1) != 0;

        if (strcmp(name, config_keys[i].name) != 0) {
            continue;
        }
        r->seen |= 1ull << i;
        if (i == CONFIG_KEY_CLUSTER) {
            return cluster_append(r, NULL, value);
        }
        if (again) {
            return config_fail(
                r->error, r->error_bytes,
                "%s: is set twice, or its value goes on in the next line; "
                "delete one",
                name);
        }
        return config_key_set(r->config, &config_keys[i], value, r->error,
                              r->error_bytes);
    }
    return config_key_unknown("", name, r->error, r->error_bytes);
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
        config_fail(r->error, r->error_bytes,
                    "[%.40s]: no such section; use [kvd] or [initial-cluster]",
                    section);
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
        return config_fail(error, error_bytes, "%.200s: is not a text file", name);
    }
    if (long_line != 0) {
        return config_fail(
            error, error_bytes,
            "%.200s:%u: longer than %d characters; go on in the next line, "
            "indented, or use a section [initial-cluster] with one node per line",
            name, long_line, INI_MAX_LINE - 3);
    }
    c->cluster[0] = '\0';
    line = ini_parse_string(text, ini_line, &r);
    if (line < 0) {
        return config_fail(error, error_bytes, "%.200s: cannot be read: out of memory",
                           name);
    }
    if (line > 0) {
        return config_fail(error, error_bytes, "%.120s:%d: %.300s", name, line,
                           cause[0] != '\0' ? cause : "is not \"key = value\"");
    }
    return 0;
}

int config_file_read(struct config *c, char *error, size_t error_bytes)
{
    enum {
        FILE_BYTES_MAX = 64 * 1024
    };
    FILE *file = fopen(c->file, "r");
    char *text;
    size_t len;
    int rc;

    if (file == NULL) {
        return config_fail(
            error, error_bytes,
            "--config %.200s: cannot be opened: %s; give the path of an INI file "
            "that you may read",
            c->file, strerror(errno));
    }
    text = kv_mem_zalloc(FILE_BYTES_MAX + 1);
    if (text == NULL) {
        fclose(file);
        return config_fail(error, error_bytes, "--config %.200s: out of memory",
                           c->file);
    }
    len = fread(text, 1, FILE_BYTES_MAX + 1, file);
    if (ferror(file) != 0) {
        rc = config_fail(error, error_bytes, "--config %.200s: cannot be read: %s",
                         c->file, strerror(errno));
    } else if (len > FILE_BYTES_MAX) {
        rc = config_fail(error, error_bytes, "--config %.200s: is larger than 64 KiB",
                         c->file);
    } else {
        rc = config_ini_parse(text, len, c->file, c, error, error_bytes);
    }
    kv_mem_free(text);
    fclose(file);
    return rc;
}
