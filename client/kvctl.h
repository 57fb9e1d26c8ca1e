/* client/kvctl.h - kvctl inside: arguments, the client, what goes out.
 *
 * kvctl is a user of libkv like any other. Results go to stdout, everything else to
 * stderr in one line that names the next command. Its exit status says what is known:
 * see enum ctl_exit.
 *
 * Needs:    client/kv.h, raft/base/arena.h, jansson, uv.
 * Used by:  client/kvctl*.c.
 * Threads:  one.
 */
#ifndef KV_CLIENT_KVCTL_H
#define KV_CLIENT_KVCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/kv.h"
#include "raft/base/arena.h"
#include "raft/base/check.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_NO = 1,      /* Not found, or the condition is false. */
    CTL_USAGE = 2,   /* Wrong arguments. */
    CTL_CONNECT = 3, /* No endpoint can be reached. */
    CTL_REFUSED = 4, /* Certainly not applied. */
    CTL_UNKNOWN = 5, /* The outcome is unknown; or --w is not known to be reached. */
    CTL_AUTH = 6,
    CTL_DATA = 7, /* Damaged data, an I/O error, out of memory. */
};

enum ctl_format {
    CTL_SIMPLE,
    CTL_JSON,
    CTL_TABLE,
};

/* X(bit, long name, short name or 0, takes a value, help) */
#define CTL_OPTION_MAP(X)                                                              \
    X(ENDPOINTS, "endpoints", 0, true, "H:P,H:P,...  nodes to ask (KVCTL_ENDPOINTS)")  \
    X(TIMEOUT, "timeout", 0, true, "5s           for the whole command, 500ms, 2m")    \
    X(OUTPUT, "output", 'o', true,                                                     \
      "FORMAT       simple, json or table (KVCTL_OUTPUT)")                             \
    X(HELP, "help", 'h', false, "")                                                    \
    X(VERSION, "version", 0, false, "")                                                \
    X(RAW, "raw", 0, false, "the bytes as they are, no newline behind them")           \
    X(ABSENT, "absent", 0, false, "instead of EXPECTED: the key must not exist")       \
    X(DELETE, "delete", 0, false, "instead of NEW: deletes the key")                   \
    X(PREFIX, "prefix", 0, true, "P            all keys that begin with P")            \
    X(LEVEL, "level", 0, true, "LEVEL        linearizable, quorum, session or stale")  \
    X(MAX_AGE, "max-age", 0, true, "1s           of a stale read; else the leader")    \
    X(EXPLAIN, "explain", 0, false, "say on stderr where the answer comes from")       \
    X(W, "w", 0, true, "N            replicas that must hold the write, above W")      \
    X(IF_REV, "if-rev", 0, true,                                                       \
      "N            only if the key has this revision, 0: none")                       \
    X(SKIP, "skip", 0, true, "N            go on behind line N")                       \
    X(GROUP, "group", 0, true, "G            only this group")                         \
    X(LIMIT, "limit", 0, true, "N            at most N items")                         \
    X(KEYS_ONLY, "keys-only", 0, false, "without the values")                          \
    X(MIX, "mix", 0, true, "get=9,put=1  parts: get put del incr cas range")           \
    X(CLIENTS, "clients", 0, true, "64           clients, with their own connections") \
    X(FLIGHT, "flight", 0, true, "1            calls under way per client")            \
    X(RATE, "rate", 0, true, "N            open loop: N calls a second")               \
    X(DURATION, "duration", 0, true, "10s          how long to measure")               \
    X(COUNT, "count", 0, true, "N            or how many calls")                       \
    X(WARMUP, "warmup", 0, true, "1s           before it, not counted")                \
    X(KEYS, "keys", 0, true, "100000       different keys")                            \
    X(SPREAD, "spread", 0, true,                                                       \
      "WHAT         uniform, zipfian[:0.99], sequential, hot[:90]")                    \
    X(BYTES, "bytes", 0, true, "256          of a value")                              \
    X(FILL, "fill", 0, false, "write every key once before")                           \
    X(ROUTING, "routing", 0, true, "leader       or endpoints: they forward")          \
    X(SEED, "seed", 0, true, "1            of keys, mix and values")                   \
    X(TTL, "ttl", 0, true, "10s          of the lease or key")                         \
    X(WAIT, "wait", 0, true, "1m           at most for the lock; 0: not at all")       \
    X(FENCE, "fence", 0, true,                                                         \
      "NAME:TOKEN   only as the lock's newest holder (KVCTL_FENCE)")                   \
    X(SESSION, "session", 0, true, "off          or on: writes happen once")           \
    X(TOKEN, "token", 0, true, "FILE         what was seen, kept from run to run")     \
    X(IDEM, "idem", 0, true, "KEY          done once under this name, by whomever")    \
    X(IDEM_TTL, "idem-ttl", 0, true, "5m           how long that holds")               \
    X(RANGE, "range", 0, false, "KEY and END: keys from KEY on, END not included")     \
    X(FROM, "from", 0, true,                                                           \
      "KEY|POS      export, del: from this key; watch: behind this (hex)")             \
    X(PREV, "prev", 0, false, "with the value before")                                 \
    X(ONLY, "only", 0, true, "put|del      only those changes")                        \
    X(POS, "pos", 0, false, "say on stderr where the watch stands")

enum ctl_option {
#define CTL_OPTION_ENUM(bit, name, letter, has_value, help) CTL_OPT_##bit,
    CTL_OPTION_MAP(CTL_OPTION_ENUM)
#undef CTL_OPTION_ENUM
    CTL_OPTIONS_COUNT,
};

_Static_assert(CTL_OPTIONS_COUNT <= 64, "each option has a bit");

#define CTL_BIT(bit) (UINT64_C(1) << CTL_OPT_##bit)

enum {
    CTL_WORDS_MAX = 1024, /* txn takes lists. */
    CTL_FAILURES_MAX = 1024,
    CTL_COLUMNS_MAX = 10,
};

struct ctl;

struct ctl_command {
    const char *name;
    const char *words; /* What the usage line says behind the name. */
    const char *help;  /* One line. */
    const char *more;  /* Examples and details, with newlines. */
    uint64_t options;  /* CTL_BIT() of those that it has besides the global ones. */
    int words_min;
    int words_max;
    int (*run)(struct ctl *ctl); /* Returns an enum ctl_exit. */
};

/* One run of kvctl. */
struct ctl {
    const struct ctl_command *command;
    const char *words[CTL_WORDS_MAX + 1]; /* Behind the command; a NULL ends them. */
    int words_count;
    int words_ended; /* How many stood before "--"; -1: it was not there. */
    uint64_t given;  /* CTL_BIT() of the options given. */
    const char *values[CTL_OPTIONS_COUNT]; /* Theirs. */
    enum ctl_format format;
    uint32_t timeout_ms;  /* For all calls of this run together, */
    uint64_t deadline_at; /* counted from ctl_open(); ms of uv_hrtime(). */
    uint32_t limit;
    uint32_t w;      /* 0: not given. */
    bool is_short;   /* A write is done, but w replicas are not known to hold it. */
    uint64_t if_rev; /* IF_REV, where it is given. */
    uint32_t group;  /* GROUP, where it is given. */
    const char *endpoints;
    const char *endpoints_from;      /* Where they were found, for messages. */
    struct kv_client *client;        /* Opened by ctl_open(). */
    struct arena arena;              /* Texts and tables, until the end. */
    char failures[CTL_FAILURES_MAX]; /* "h:p (connection refused), ..." */
};

struct ctl_table {
    struct ctl *ctl;
    int columns;
    uint32_t rows_count;
    uint32_t rows_max;
    const char **cells; /* (rows_max + 1) * columns; row 0 is the head. */
};

/* ---- kvctl_run.c ---- */

/* All of kvctl; returns its exit status. */
int ctl_run(int argc, char **argv);

/* ---- kvctl_args.c ---- */

/* Reads the command line. Returns CTL_OK, or what to exit with after a message. */
int ctl_args_parse(struct ctl *ctl, int argc, char **argv);

static inline bool ctl_has(const struct ctl *ctl, enum ctl_option option)
{
    return (ctl->given & (UINT64_C(1) << option)) != 0;
}

/* The commands, ended by one without a name; by name, or NULL. */
extern const struct ctl_command ctl_commands[];
const struct ctl_command *ctl_command_find(const char *name);

/* A whole decimal number from 0 to `most`. False: it is none. */
bool ctl_number_parse(const char *text, uint64_t most, uint64_t *out);

/* Reads "5s", "500ms", "2m", "1.5h", "7d" or "3" (seconds). Returns ms, 0 when it is
 * none, or longer than a key may live. */
uint32_t ctl_time_parse(const char *text);

/* Edits (insert, delete, replace, swap neighbours) between two words. */
int ctl_distance(const char *a, const char *b);

/* ---- kvctl_help.c ---- */

int ctl_help(struct ctl *ctl);
void ctl_help_print(const struct ctl_command *command);
int ctl_version(struct ctl *ctl);

/* ---- kvctl_call.c ---- */

/* Prints "kvctl: ..." to stderr; returns `status`. */
int ctl_fail(int status, const char *format, ...) KV_PRINTF(2, 3);

/* Sets endpoints and endpoints_from. Returns CTL_OK, or CTL_CONNECT after a message. */
int ctl_endpoints(struct ctl *ctl);

/* Says that the endpoints are no list of endpoints; returns CTL_USAGE. */
int ctl_endpoints_wrong(const struct ctl *ctl);

/* Finds the endpoints and opens the client. Returns CTL_OK or an exit status. */
int ctl_open(struct ctl *ctl);

/* What is left of the timeout, 0 when nothing is. */
uint32_t ctl_left_ms(const struct ctl *ctl);

/* Carries out a request. Returns CTL_OK and the result, or an exit status after a
 * message. The result is the caller's to free. */
int ctl_call(struct ctl *ctl, struct kv_request request,
             const struct kv_result **out_result);

/* The exit status of a failed result, and its message. */
int ctl_result_fail(struct ctl *ctl, const struct kv_result *result);

/* Finds the file of endpoints beside build/ or below the current folder; NULL when
 * there is none. The text is in the arena. */
const char *ctl_endpoints_find(struct ctl *ctl);

/* ---- kvctl_token.c ---- */

/* With --token: gives the client what the file says, keeps there what it has seen
 * since. A file that is not there says nothing. Return CTL_OK, or CTL_DATA after a
 * message. */
int ctl_token_load(struct ctl *ctl);
int ctl_token_save(struct ctl *ctl);

/* ---- kvctl_out.c ---- */

/* printf into the arena; ends the process' work with "" when there is no memory. */
const char *ctl_text(struct ctl *ctl, const char *format, ...) KV_PRINTF(2, 3);

/* The bytes with everything unprintable as \xNN, valid UTF-8 kept. In the arena. */
const char *ctl_escape(struct ctl *ctl, struct kv_view bytes);

/* The same, straight to stdout. */
void ctl_print_escaped(struct kv_view bytes);

/* Sets NAME to a string where the bytes are UTF-8, NAME_b64 to base64 otherwise. */
void ctl_json_bytes(json_t *object, const char *name, struct kv_view bytes);
void ctl_json_set(json_t *object, const char *name, json_t *value);
json_t *ctl_json_at(const struct kv_at *at);

/* Prints one line of JSON and drops the object. */
void ctl_json_print(json_t *object);

/* A table with these heads; rows in the arena. */
void ctl_table_begin(struct ctl_table *t, struct ctl *ctl, uint32_t rows_max,
                     const char *const *heads, int columns);
/* Adds a row; beyond rows_max it is left out. */
void ctl_table_row(struct ctl_table *t, const char *const *cells);
/* In columns, or with -o table in a frame. */
void ctl_table_print(const struct ctl_table *t);

/* Flushes stdout. Returns `status`, or CTL_DATA when it could not be written. */
int ctl_flush(int status);

/* ---- kvctl_scan.c ---- */

/* How far a long command is; shown on stderr where that is a terminal. */
struct ctl_progress {
    const char *what; /* "exported" */
    uint64_t count;
    uint64_t shown_ms; /* 0: never. */
};
void ctl_progress_show(struct ctl_progress *p, uint64_t count, const char *unit);
void ctl_progress_end(const struct ctl_progress *p);

/* Where the keys with this prefix end: writes the bound, as many bytes as the prefix at
 * most, and returns its length; 0: behind the last key. */
size_t ctl_prefix_end(const char *prefix, uint8_t *out);

/* Reads \xNN as ctl_escape() writes it. Returns the length, at most `room`. */
size_t ctl_unescape(const char *text, uint8_t *out, size_t room);

/* `del` of a prefix or range. */
int ctl_del_range(struct ctl *ctl);

/* ---- kvctl_lock.c ---- */

/* Puts --fence or KVCTL_FENCE into a request on keys. CTL_OK or CTL_USAGE. */
int ctl_fence(struct ctl *ctl, struct kv_request *request);
int ctl_lock(struct ctl *ctl);
int ctl_sem(struct ctl *ctl);
int ctl_election(struct ctl *ctl);

/* ---- the commands: the other kvctl_*.c ---- */

int ctl_put(struct ctl *ctl);
int ctl_getset(struct ctl *ctl);
int ctl_get(struct ctl *ctl);
int ctl_del(struct ctl *ctl);
int ctl_cas(struct ctl *ctl);
int ctl_incr(struct ctl *ctl);
int ctl_range(struct ctl *ctl);
int ctl_txn(struct ctl *ctl);
int ctl_status(struct ctl *ctl);
int ctl_ring(struct ctl *ctl);
int ctl_cluster(struct ctl *ctl);
int ctl_import(struct ctl *ctl);
int ctl_export(struct ctl *ctl);
int ctl_bench(struct ctl *ctl);
int ctl_watch(struct ctl *ctl);

#endif
