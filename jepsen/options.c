/* jepsen/options.c - one table of options: parsing, help, and the command to repeat. */
#include "jepsen/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/env/cluster.h"
#include "raft/base/err.h"

enum option_kind {
    OPTION_TEXT,
    OPTION_U32,
    OPTION_U64,
    OPTION_FLAG,
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t at;         /* Offset in struct options. */
    uint64_t min, max; /* Of numbers. */
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
    {"workload", OPTION_TEXT, AT(workload), 0, 0, "what clients do; `list` shows all"},
    {"nemesis", OPTION_TEXT, AT(nemesis), 0, 0,
     "what breaks: kill, partition:bridge,pause ..., swarm, none"},
    {"nodes", OPTION_U32, AT(nodes), 1, 9, "nodes of the cluster"},
    {"groups", OPTION_U32, AT(groups), 1, 256, "Raft groups that hold keys"},
    {"replicas", OPTION_U32, AT(replicas), 1, 9, "of each group (all nodes)"},
    {"env", OPTION_TEXT, AT(env), 0, 0, "netns, veth, proxy, or auto"},
    {"kvd", OPTION_TEXT, AT(kvd), 0, 0, "the program (kvd beside kvjepsen)"},
    {"kvd-args", OPTION_TEXT, AT(kvd_args), 0, 0, "more flags for it, in one word"},
    {"time", OPTION_U32, AT(time_s), 1, 86400, "seconds, the clean phase included"},
    {"clean", OPTION_U32, AT(clean_s), 0, 3600, "seconds before the first fault"},
    {"quiet", OPTION_U32, AT(quiet_s), 0, 3600, "seconds of work after the healing"},
    {"interval", OPTION_U32, AT(interval_s), 1, 3600, "seconds of a nemesis' period"},
    {"period-ms", OPTION_U32, AT(period_ms), 0, 3600000, "the same in milliseconds"},
    {"fault-ms", OPTION_U32, AT(fault_ms), 0, 3600000,
     "that a fault lasts (a quarter to a half of a period)"},
    {"rate", OPTION_U32, AT(rate), 1, 100000, "operations per second"},
    {"rate-min", OPTION_U32, AT(rate_min), 0, 100000,
     "fewer before the first fault: the verdict is unknown"},
    {"concurrency", OPTION_U32, AT(concurrency), 1, 1024,
     "workers (twice nodes times keys)"},
    {"keys", OPTION_U32, AT(keys), 1, 64, "keys worked on at once"},
    {"ops-per-key", OPTION_U32, AT(ops_per_key), 10, 1000000, "then a fresh key"},
    {"deadline", OPTION_U32, AT(deadline_ms), 10, 60000,
     "milliseconds that an operation may take"},
    {"read-level", OPTION_TEXT, AT(read_level), 0, 0,
     "linearizable, quorum, session or stale (the workload's)"},
    {"seed", OPTION_U64, AT(seed), 0, UINT64_MAX,
     "of everything that is drawn (drawn)"},
    {"store", OPTION_TEXT, AT(store), 0, 0, "folder of all runs"},
    {"name", OPTION_TEXT, AT(name), 0, 0, "of the run's folder (WORKLOAD-NEMESIS)"},
    {"keep-data", OPTION_FLAG, AT(keep_data), 0, 0, "keep data also of a valid run"},
    {"bare-disk", OPTION_FLAG, AT(bare_disk), 0, 0, "run without the disk layer"},
    {"no-progress", OPTION_FLAG, AT(quiet), 0, 0, "no status line per second"},
};

void options_init(struct options *o)
{
    *o = (struct options){
        .workload = "register",
        .nemesis = "none",
        .nodes = 5,
        .groups = 4,
        .env = "auto",
        .time_s = 60,
        .clean_s = 10,
        .quiet_s = 3,
        .interval_s = 5,
        .rate = 1000,
        .rate_min = 500,
        .keys = 4,
        .ops_per_key = 500,
        .deadline_ms = 1000,
        .store = "jepsen/store",
    };
}

static const struct option_row *row_find(const char *name)
{
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void *field_of(struct options *o, const struct option_row *row)
{
    return (char *)o + row->at;
}

static const void *field_in(const struct options *o, const struct option_row *row)
{
    return (const char *)o + row->at;
}

static bool value_set(struct options *o, const struct option_row *row, const char *text)
{
    char *rest = NULL;
    unsigned long long n;

    if (row->kind == OPTION_TEXT) {
        *(const char **)field_of(o, row) = text;
        return text[0] != '\0';
    }
    errno = 0;
    n = strtoull(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0' || text[0] == '-' || n < row->min ||
        n > row->max) {
        return false;
    }
    if (row->kind == OPTION_U64) {
        *(uint64_t *)field_of(o, row) = n;
    } else {
        *(uint32_t *)field_of(o, row) = (uint32_t)n;
    }
    return true;
}

int options_parse(struct options *o, int argc, char **argv, char *error,
                  size_t error_bytes)
{
    for (int i = 0; i < argc; i++) {
        const struct option_row *row =
            strncmp(argv[i], "--", 2) == 0 ? row_find(argv[i] + 2) : NULL;

        if (row == NULL) {
            snprintf(error, error_bytes, "%s: no such option", argv[i]);
            return KV_EINVAL;
        }
        if (row->kind == OPTION_FLAG) {
            *(bool *)field_of(o, row) = true;
            continue;
        }
        if (i + 1 >= argc) {
            snprintf(error, error_bytes, "%s: needs a value", argv[i]);
            return KV_EINVAL;
        }
        if (!value_set(o, row, argv[i + 1])) {
            if (row->kind == OPTION_TEXT) {
                snprintf(error, error_bytes, "%s: an empty value", argv[i]);
            } else {
                snprintf(error, error_bytes,
                         "%s %s: a number of %" PRIu64 " to %" PRIu64, argv[i],
                         argv[i + 1], row->min, row->max);
            }
            return KV_EINVAL;
        }
        i++;
    }
    return 0;
}

/* kvd's flags: ours, then those of the command line. */
static int args_split(struct options *o, char *error, size_t error_bytes)
{
    char *p = o->args_text;
    uint32_t count = 0;

    snprintf(o->replicas_text, sizeof o->replicas_text, "%u", o->replicas);
    o->args[count++] = "--replicas";
    o->args[count++] = o->replicas_text;
    if (o->kvd_args != NULL) {
        if (strlen(o->kvd_args) >= sizeof o->args_text) {
            snprintf(error, error_bytes, "--kvd-args: too long");
            return KV_EINVAL;
        }
        snprintf(o->args_text, sizeof o->args_text, "%s", o->kvd_args);
    }
    for (;;) {
        char *word = strsep(&p, " ");

        if (word == NULL) {
            break;
        }
        if (word[0] == '\0') {
            continue;
        }
        if (count + 1 == OPTIONS_ARGS_MAX) {
            snprintf(error, error_bytes, "--kvd-args: too many words");
            return KV_EINVAL;
        }
        o->args[count++] = word;
    }
    o->args[count] = NULL;
    return 0;
}

/* "WORKLOAD-NEMESIS", with what a folder's name should not have turned into '_'. */
static void name_derive(struct options *o)
{
    if (o->name == NULL) {
        snprintf(o->name_text, sizeof o->name_text, "%s-%s", o->workload, o->nemesis);
    } else {
        snprintf(o->name_text, sizeof o->name_text, "%s", o->name);
    }
    for (char *p = o->name_text; *p != '\0'; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '-';

        *p = plain ? *p : '_';
    }
    o->name = o->name_text;
}

int options_level(const struct options *o)
{
    static const char *const names[] = {"linearizable", "quorum", "session", "stale"};

    for (int i = 0; o->read_level != NULL && i < (int)KV_ARRAY_COUNT(names); i++) {
        if (strcmp(names[i], o->read_level) == 0) {
            return i;
        }
    }
    return -1;
}

int options_finish(struct options *o, char *error, size_t error_bytes)
{
    enum cluster_env env;

    if (!cluster_env_of(o->env, &env)) {
        snprintf(error, error_bytes, "--env %s: auto, netns, veth or proxy", o->env);
        return KV_EINVAL;
    }
    o->replicas = o->replicas == 0 ? o->nodes : o->replicas;
    o->concurrency = o->concurrency == 0 ? 2 * o->nodes * o->keys : o->concurrency;
    if (o->replicas > o->nodes) {
        snprintf(error, error_bytes, "--replicas %u: there are only %u nodes",
                 o->replicas, o->nodes);
        return KV_EINVAL;
    }
    if (o->concurrency < o->keys || o->concurrency > 1024) {
        snprintf(error, error_bytes,
                 "--concurrency %u: at least one per key, at most 1024",
                 o->concurrency);
        return KV_EINVAL;
    }
    if (o->clean_s >= o->time_s) {
        snprintf(error, error_bytes,
                 "--clean %u: leaves nothing of --time %u for faults", o->clean_s,
                 o->time_s);
        return KV_EINVAL;
    }
    if (o->read_level != NULL && options_level(o) < 0) {
        snprintf(error, error_bytes,
                 "--read-level %s: linearizable, quorum, session or stale",
                 o->read_level);
        return KV_EINVAL;
    }
    if (o->read_level != NULL && strcmp(o->read_level, "quorum") == 0 &&
        strcmp(o->workload, "set") == 0) {
        snprintf(error, error_bytes,
                 "--read-level quorum: the workload set reads by range, which is not "
                 "served at that level");
        return KV_EINVAL;
    }
    name_derive(o);
    return args_split(o, error, error_bytes);
}

/* ---- help ---- */

static void value_print(const struct options *o, const struct option_row *row,
                        char *out, size_t bytes)
{
    const void *field = field_in(o, row);

    out[0] = '\0';
    if (row->kind == OPTION_TEXT && *(const char *const *)field != NULL) {
        snprintf(out, bytes, "%s", *(const char *const *)field);
    } else if (row->kind == OPTION_U32 && *(const uint32_t *)field != 0) {
        snprintf(out, bytes, "%u", *(const uint32_t *)field);
    } else if (row->kind == OPTION_U64 && *(const uint64_t *)field != 0) {
        snprintf(out, bytes, "%" PRIu64, *(const uint64_t *)field);
    } else if (row->kind == OPTION_FLAG && *(const bool *)field) {
        snprintf(out, bytes, "yes");
    }
}

void options_help(void)
{
    struct options o;
    char value[128];

    options_init(&o);
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows); i++) {
        value_print(&o, &rows[i], value, sizeof value);
        printf("  --%-12s %s%s%s%s\n", rows[i].name, rows[i].help,
               value[0] != '\0' ? " (" : "", value, value[0] != '\0' ? ")" : "");
    }
}

void options_command(const struct options *o, char *out, size_t bytes)
{
    struct options usual;
    char mine[512], theirs[512];
    size_t len;

    options_init(&usual);
    len = (size_t)snprintf(out, bytes, "kvjepsen");
    for (size_t i = 0; i < KV_ARRAY_COUNT(rows) && len < bytes; i++) {
        bool shown = strcmp(rows[i].name, "workload") == 0 ||
                     strcmp(rows[i].name, "nemesis") == 0;

        value_print(o, &rows[i], mine, sizeof mine);
        value_print(&usual, &rows[i], theirs, sizeof theirs);
        if (!shown && (strcmp(mine, theirs) == 0 || rows[i].at == AT(name))) {
            continue;
        }
        if (rows[i].kind == OPTION_FLAG) {
            len += (size_t)snprintf(out + len, bytes - len, " --%s", rows[i].name);
        } else if (strchr(mine, ' ') != NULL) {
            len += (size_t)snprintf(out + len, bytes - len, " --%s '%s'", rows[i].name,
                                    mine);
        } else {
            len += (size_t)snprintf(out + len, bytes - len, " --%s %s", rows[i].name,
                                    mine);
        }
    }
}
