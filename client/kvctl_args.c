/* client/kvctl_args.c - the command line: commands, options before or behind them,
 * and "did you mean". */
#include "client/kvctl.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/limits.h"

enum {
    TIMEOUT_MS_DEFAULT = 5000,
    TIMEOUT_MS_MAX = 7 * 24 * 3600 * 1000,
    WORD_MAX = 32,  /* Longer words are no typos of ours. */
    TYPO_EDITS = 2, /* So many edits still are. */
    WRITE_QUORUM_MAX = 16,
    GROUP_MAX = 1023,
};

static const struct option_row {
    const char *name;
    const char *help;
    char letter;
    bool has_value;
} option_rows[CTL_OPTIONS_COUNT] = {
#define CTL_OPTION_ROW(bit, name, letter, has_value, help) \
    [CTL_OPT_##bit] = {name, help, letter, has_value},
    CTL_OPTION_MAP(CTL_OPTION_ROW)
#undef CTL_OPTION_ROW
};

static const uint64_t options_global = CTL_BIT(ENDPOINTS) | CTL_BIT(TIMEOUT) |
                                       CTL_BIT(OUTPUT) | CTL_BIT(HELP) |
                                       CTL_BIT(VERSION);

#define OPTIONS_WRITE  (CTL_BIT(W) | CTL_BIT(TOKEN) | CTL_BIT(IDEM) | CTL_BIT(IDEM_TTL))
#define OPTIONS_FENCED (CTL_BIT(FENCE) | OPTIONS_WRITE)

const struct ctl_command ctl_commands[] = {
    {"put", "KEY VALUE|-", "set a key",
     "  kvctl put greeting hello\n"
     "  kvctl put config - < file      the value comes from stdin, any bytes\n"
     "  kvctl put -- KEY --VALUE       -- ends the options\n"
     "  kvctl put --w 3 greeting hello done when 3 replicas hold it\n"
     "  kvctl put --if-rev 12 greeting hi  status 1 if somebody wrote since\n"
     "  kvctl put --ttl 10s greeting hi    ends after that, unless it is put again\n",
     CTL_BIT(TTL) | CTL_BIT(IF_REV) | OPTIONS_FENCED, 2, 2, ctl_put},
    {"getset", "KEY VALUE|-", "set a key, print what it held",
     "  kvctl getset owner me\n"
     "Exit status 1 when there was no such key: it is set all the same.\n",
     CTL_BIT(TTL) | CTL_BIT(IF_REV) | CTL_BIT(RAW) | OPTIONS_FENCED, 2, 2, ctl_getset},
    {"get", "KEY", "print the value of a key",
     "  kvctl get greeting\n"
     "  kvctl get --raw blob > file    exactly the bytes, no newline\n"
     "  kvctl get --level quorum --explain greeting     without the leader\n"
     "  kvctl get --level stale --max-age 1s greeting   from the node that is asked\n"
     "  kvctl get --level session --token seen greeting what `seen` says, at least\n"
     "Exit status 1 when there is no such key.\n",
     CTL_BIT(FENCE) | CTL_BIT(TOKEN) | CTL_BIT(RAW) | CTL_BIT(LEVEL) |
         CTL_BIT(MAX_AGE) | CTL_BIT(EXPLAIN),
     1, 1, ctl_get},
    {"del", "KEY | --prefix P | --range BEGIN END", "delete a key, or many",
     "  kvctl del greeting\n"
     "  kvctl del --prefix user/\n"
     "  kvctl del --range a b                  keys from a on, b not included\n"
     "  kvctl del --range a b --from aaz       goes on where one ended\n"
     "Many keys are deleted in steps, 1,000 of each group at a time, and not at one\n"
     "moment; prints how many they were. --timeout is for each step.\n"
     "Exit status 1 when there was no such key.\n",
     CTL_BIT(IF_REV) | CTL_BIT(PREFIX) | CTL_BIT(RANGE) | CTL_BIT(FROM) |
         OPTIONS_FENCED,
     0, 2, ctl_del},
    {"cas", "KEY EXPECTED NEW", "set a key if it holds the expected value",
     "  kvctl cas greeting hello hi\n"
     "  kvctl cas --absent greeting hello    only if there is no such key\n"
     "  kvctl cas --delete greeting hello    deletes it if it holds hello\n"
     "EXPECTED or NEW may be - for stdin. Exit status 1 when it held something else.\n",
     CTL_BIT(ABSENT) | CTL_BIT(DELETE) | OPTIONS_FENCED, 2, 3, ctl_cas},
    {"incr", "KEY [DELTA]", "add to a number, print the sum",
     "  kvctl incr counter\n"
     "  kvctl incr counter -5\n"
     "  kvctl incr visits --idem order-4711    again: the same answer, added once\n"
     "A key that does not exist counts as 0.\n",
     OPTIONS_FENCED, 1, 2, ctl_incr},
    {"range", "[BEGIN [END]]", "list keys in order, END not included",
     "  kvctl range\n"
     "  kvctl range a b --limit 10\n"
     "  kvctl range --prefix user/\n"
     "Prints KEY, a tab, VALUE; unprintable bytes as \\xNN unless --raw.\n",
     CTL_BIT(FENCE) | CTL_BIT(PREFIX) | CTL_BIT(LIMIT) | CTL_BIT(KEYS_ONLY) |
         CTL_BIT(RAW),
     0, 2, ctl_range},
    {"txn", "[if ...] [then ...] [else ...]", "compare and change keys at once",
     "  kvctl txn then put {a}x 1 then incr {a}n 5\n"
     "  kvctl txn if value {a}x = 1 then put {a}x 2 else get {a}x\n"
     "Each item begins with its word:\n"
     "  if value KEY OP VALUE | if rev KEY OP N | if exists KEY = true|false\n"
     "  if lock NAME = TOKEN | if lease KEY OP MS\n"
     "  then|else  get KEY | put KEY VALUE [ttl 10s] | del KEY | incr KEY DELTA |\n"
     "             range BEGIN END\n"
     "OP is = != '<' '>' '<=' or '>='. All keys must have the same {tag}. Where all\n"
     "that stands behind `if` is true, what stands behind `then` is carried out, else\n"
     "what stands behind `else`; all of it at one moment, or nothing.\n"
     "Prints one line per operation. Exit status 1 when a compare was false.\n",
     OPTIONS_FENCED, 3, CTL_WORDS_MAX, ctl_txn},
    {"lock", "NAME -- COMMAND...", "run a command under a lock",
     "  kvctl lock backup -- ./backup.sh        waits as long as somebody answers\n"
     "  kvctl lock backup --wait 0 -- true      not at all; status 1 when it is held\n"
     "  kvctl lock info backup                  who holds it\n"
     "The command gets KVCTL_FENCE=NAME:TOKEN, which kvctl get, put... take as\n"
     "--fence: they are refused (status 4) once a newer holder was seen. When the\n"
     "lock is lost the command gets SIGTERM, 5s later SIGKILL. Ends with the\n"
     "command's status.\n",
     CTL_BIT(TTL) | CTL_BIT(WAIT), 1, CTL_WORDS_MAX, ctl_lock},
    {"sem", "NAME N -- COMMAND...", "the same, for up to N commands at a time",
     "  kvctl sem cpu 4 -- make\n"
     "  kvctl sem info cpu\n",
     CTL_BIT(TTL) | CTL_BIT(WAIT), 2, CTL_WORDS_MAX, ctl_sem},
    {"election", "NAME [VALUE -- COMMAND...]", "the same, and VALUE is shown",
     "  kvctl election web 10.0.0.7:80 -- ./serve   runs while it leads\n"
     "  kvctl election web                          who leads\n",
     CTL_BIT(TTL) | CTL_BIT(WAIT), 1, CTL_WORDS_MAX, ctl_election},
    {"status", "", "show nodes and groups",
     "  kvctl status\n"
     "  kvctl status -o json\n"
     "Exit status 1 when a node does not answer or a group has no leader.\n",
     0, 0, 0, ctl_status},
    {"ring", "[KEY]", "show where keys live",
     "  kvctl ring             each group's share of the ring\n"
     "  kvctl ring greeting    slot, group and replicas of a key\n",
     0, 0, 1, ctl_ring},
    {"cluster", "set-w W", "change how many replicas must hold a write",
     "  kvctl cluster set-w 3              of every group that owns keys\n"
     "  kvctl cluster set-w 2 --group 1    of one\n"
     "  kvctl cluster set-w majority\n"
     "W can be the majority of a group's voters up to all of them. A quorum read asks\n"
     "N-W+1 of them. With W = N one node that is down stops the group's writes.\n",
     CTL_BIT(GROUP), 2, 2, ctl_cluster},
    {"export", "[PREFIX]", "print keys and values as JSON lines",
     "  kvctl export > all.jsonl\n"
     "  kvctl export user/ --from user/7 >> users.jsonl    goes on where one ended\n"
     "Bytes that are not UTF-8 are key_b64, value_b64. Each page is read by itself:\n"
     "what is written meanwhile may be in it or not. --timeout is for each page.\n",
     CTL_BIT(FROM), 0, 1, ctl_export},
    {"import", "FILE|-", "put keys and values from JSON lines",
     "  kvctl import all.jsonl\n"
     "  kvctl import all.jsonl --skip 1200    goes on where one ended, as it was told\n"
     "Keeps --flight puts (64) under way. Lines of the same key are done in their\n"
     "order. It ends at the first line that cannot be done, and says which are.\n"
     "--timeout is for each put.\n",
     CTL_BIT(SKIP) | CTL_BIT(FLIGHT), 1, 1, ctl_import},
    {"bench", "", "measure the cluster under load",
     "  kvctl bench                                          64 clients, puts\n"
     "  kvctl bench --mix get=9,put=1 --fill --flight 16\n"
     "  kvctl bench --mix get=1 --spread zipfian --rate 20000 --duration 30s\n"
     "Closed loop: each client keeps --flight calls under way. With --rate, calls\n"
     "are due at times of their own and latency counts from there, also for those\n"
     "that had to wait. Keys begin with bench/ and stay. Ctrl-C ends it early, with\n"
     "numbers. Without --session on, a write has no number.\n"
     "Exit status 4 or 5 when no call was done.\n",
     CTL_BIT(MIX) | CTL_BIT(CLIENTS) | CTL_BIT(FLIGHT) | CTL_BIT(RATE) |
         CTL_BIT(DURATION) | CTL_BIT(COUNT) | CTL_BIT(WARMUP) | CTL_BIT(KEYS) |
         CTL_BIT(SPREAD) | CTL_BIT(BYTES) | CTL_BIT(FILL) | CTL_BIT(ROUTING) |
         CTL_BIT(SEED) | CTL_BIT(SESSION),
     0, 0, ctl_bench},
    {"watch", "[KEY [END]] [-- COMMAND...]", "print changes of keys as they happen",
     "  kvctl watch greeting                    one key\n"
     "  kvctl watch --prefix user/              all keys that begin with user/\n"
     "  kvctl watch --range a b                 keys from a on, b not included\n"
     "  kvctl watch --count 3 --pos greeting    ends after 3 changes\n"
     "  kvctl watch --from 01ab... greeting     goes on where --pos said\n"
     "  kvctl watch greeting -- ./reload        runs a command for each change, with\n"
     "KVCTL_EVENT, KVCTL_KEY, KVCTL_VALUE, KVCTL_PREV, KVCTL_REV, KVCTL_POS set.\n"
     "It goes on by itself when nodes die. Exit status 4 when no node keeps what came\n"
     "behind the position any more.\n",
     CTL_BIT(PREFIX) | CTL_BIT(RANGE) | CTL_BIT(FROM) | CTL_BIT(PREV) | CTL_BIT(ONLY) |
         CTL_BIT(POS) | CTL_BIT(COUNT),
     0, CTL_WORDS_MAX, ctl_watch},
    {"help", "[COMMAND]", "show this, or more on a command", "", 0, 0, 1, ctl_help},
    {"version", "", "print the version", "", 0, 0, 0, ctl_version},
    {NULL, NULL, NULL, NULL, 0, 0, 0, NULL},
};

/* ---- did you mean ---- */

int ctl_distance(const char *a, const char *b)
{
    int d[WORD_MAX + 1][WORD_MAX + 1];
    int la = (int)strnlen(a, WORD_MAX + 1);
    int lb = (int)strnlen(b, WORD_MAX + 1);

    if (la > WORD_MAX || lb > WORD_MAX) {
        return INT_MAX;
    }
    for (int i = 0; i <= la; i++) {
        d[i][0] = i;
    }
    for (int j = 0; j <= lb; j++) {
        d[0][j] = j;
    }
    for (int i = 1; i <= la; i++) {
        for (int j = 1; j <= lb; j++) {
            int cost = a[i - 1] != b[j - 1];

            d[i][j] = KV_MIN(d[i - 1][j] + 1, d[i][j - 1] + 1);
            d[i][j] = KV_MIN(d[i][j], d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = KV_MIN(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[la][lb];
}

/* Keeps the name if it is nearer to the word than *best. */
static void nearer(const char *word, const char *name, int *best, const char **out)
{
    int edits = ctl_distance(word, name);

    if (edits <= TYPO_EDITS && edits < *best && edits < (int)strlen(name)) {
        *best = edits;
        *out = name;
    }
}

const struct ctl_command *ctl_command_find(const char *name)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *meant = NULL;
    int best = INT_MAX;

    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        nearer(word, c->name, &best, &meant);
    }
    if (meant != NULL) {
        return ctl_fail(CTL_USAGE, "unknown command \"%s\"; did you mean: kvctl %s",
                        word, meant);
    }
    return ctl_fail(CTL_USAGE, "unknown command \"%s\"; see: kvctl help", word);
}

/* `name` has len bytes, without the dashes. */
static int unknown_option(const char *name, size_t len)
{
    char word[WORD_MAX + 1] = "";
    const char *meant = NULL;
    int best = INT_MAX;

    (void)snprintf(word, sizeof word, "%.*s", (int)KV_MIN(len, WORD_MAX), name);
    for (int i = 0; i < CTL_OPTIONS_COUNT; i++) {
        nearer(word, option_rows[i].name, &best, &meant);
    }
    if (meant != NULL) {
        return ctl_fail(CTL_USAGE, "unknown option --%s; did you mean: --%s", word,
                        meant);
    }
    return ctl_fail(CTL_USAGE,
                    "unknown option --%s; see: kvctl help (-- ends the options)", word);
}

/* ---- values of options ---- */

uint32_t ctl_time_parse(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    double unit_ms = 0;

    if (end == text || text[0] == '-') {
        return 0;
    }
    if (strcmp(end, "ms") == 0) {
        unit_ms = 1;
    } else if (strcmp(end, "s") == 0 || *end == '\0') {
        unit_ms = 1000;
    } else if (strcmp(end, "m") == 0) {
        unit_ms = 60 * 1000;
    } else if (strcmp(end, "h") == 0) {
        unit_ms = 3600 * 1000;
    } else if (strcmp(end, "d") == 0) {
        unit_ms = 24 * 3600 * 1000;
    }
    value *= unit_ms;
    return value >= 1 && value <= KV_TTL_MS_MAX ? (uint32_t)value : 0;
}

static int format_parse(struct ctl *ctl, const char *text, const char *from)
{
    if (strcmp(text, "simple") == 0) {
        ctl->format = CTL_SIMPLE;
    } else if (strcmp(text, "json") == 0) {
        ctl->format = CTL_JSON;
    } else if (strcmp(text, "table") == 0) {
        ctl->format = CTL_TABLE;
    } else {
        return ctl_fail(CTL_USAGE, "%s \"%s\" is not one of: simple, json, table", from,
                        text);
    }
    return CTL_OK;
}

bool ctl_number_parse(const char *text, uint64_t most, uint64_t *out)
{
    unsigned long long value;
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > most) {
        return false;
    }
    *out = value;
    return true;
}

static int numbers_check(struct ctl *ctl)
{
    uint64_t number = 0;

    if (ctl_has(ctl, CTL_OPT_LIMIT)) {
        if (!ctl_number_parse(ctl->values[CTL_OPT_LIMIT], INT_MAX, &number) ||
            number == 0) {
            return ctl_fail(
                CTL_USAGE, "\"%s\" is not a number of items; write it like: --limit 10",
                ctl->values[CTL_OPT_LIMIT]);
        }
        ctl->limit = (uint32_t)number;
    }
    if (ctl_has(ctl, CTL_OPT_W)) {
        if (!ctl_number_parse(ctl->values[CTL_OPT_W], WRITE_QUORUM_MAX, &number) ||
            number == 0) {
            return ctl_fail(CTL_USAGE,
                            "\"%s\" is not a number of replicas; write it like: --w 3",
                            ctl->values[CTL_OPT_W]);
        }
        ctl->w = (uint32_t)number;
    }
    if (ctl_has(ctl, CTL_OPT_IF_REV) &&
        !ctl_number_parse(ctl->values[CTL_OPT_IF_REV], UINT64_MAX, &ctl->if_rev)) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a revision; kvctl get -o json shows it",
                        ctl->values[CTL_OPT_IF_REV]);
    }
    if (ctl_has(ctl, CTL_OPT_GROUP)) {
        if (!ctl_number_parse(ctl->values[CTL_OPT_GROUP], GROUP_MAX, &number)) {
            return ctl_fail(CTL_USAGE, "\"%s\" is not a group; see: kvctl status",
                            ctl->values[CTL_OPT_GROUP]);
        }
        ctl->group = (uint32_t)number;
    }
    return CTL_OK;
}

/* Checks what was given and takes the environment where nothing was. */
static int values_check(struct ctl *ctl)
{
    const char *env = getenv("KVCTL_OUTPUT");
    int status = CTL_OK;

    if (ctl_has(ctl, CTL_OPT_OUTPUT)) {
        status = format_parse(ctl, ctl->values[CTL_OPT_OUTPUT], "the output format");
    } else if (env != NULL && env[0] != '\0') {
        status = format_parse(ctl, env, "KVCTL_OUTPUT");
    }
    if (status != CTL_OK) {
        return status;
    }
    ctl->timeout_ms = TIMEOUT_MS_DEFAULT;
    if (ctl_has(ctl, CTL_OPT_TIMEOUT)) {
        ctl->timeout_ms = ctl_time_parse(ctl->values[CTL_OPT_TIMEOUT]);
    }
    if (ctl->timeout_ms == 0 || ctl->timeout_ms > TIMEOUT_MS_MAX) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a time up to 7d; write it like: --timeout 5s",
                        ctl->values[CTL_OPT_TIMEOUT]);
    }
    return numbers_check(ctl);
}

/* ---- the line ---- */

/* An option at argv[*at]; its value may be the next argument. */
static int option_parse(struct ctl *ctl, int argc, char **argv, int *at)
{
    const char *text = argv[*at];
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1);
    size_t len = is_long ? strcspn(name, "=") : 1;
    int found = -1;

    for (int i = 0; i < CTL_OPTIONS_COUNT; i++) {
        const struct option_row *row = &option_rows[i];

        if (is_long ? strlen(row->name) == len && memcmp(row->name, name, len) == 0
                    : row->letter == name[0]) {
            found = i;
        }
    }
    if (found < 0) {
        return is_long ? unknown_option(name, len)
                       : ctl_fail(CTL_USAGE,
                                  "unknown option %s; see: kvctl help (-- ends the "
                                  "options)",
                                  text);
    }
    ctl->given |= UINT64_C(1) << found;
    if (!option_rows[found].has_value) {
        return name[len] == '\0' ? CTL_OK
                                 : ctl_fail(CTL_USAGE, "option --%s takes no value",
                                            option_rows[found].name);
    }
    if (name[len] != '\0') {
        ctl->values[found] = name + len + (is_long || name[len] == '=' ? 1 : 0);
        return CTL_OK;
    }
    if (*at + 1 == argc) {
        return ctl_fail(CTL_USAGE, "option --%s needs a value; see: kvctl help",
                        option_rows[found].name);
    }
    ctl->values[found] = argv[++*at];
    return CTL_OK;
}

/* A lone dash is stdin, a dash and a digit a number. */
static bool is_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && !(text[1] >= '0' && text[1] <= '9');
}

static int command_check(struct ctl *ctl)
{
    const struct ctl_command *command = ctl->command;
    uint64_t foreign = ctl->given & ~(options_global | command->options);

    for (int i = 0; foreign != 0 && i < CTL_OPTIONS_COUNT; i++) {
        if ((foreign & (UINT64_C(1) << i)) != 0) {
            return ctl_fail(CTL_USAGE, "%s has no option --%s; see: kvctl help %s",
                            command->name, option_rows[i].name, command->name);
        }
    }
    if (ctl->words_count < command->words_min ||
        ctl->words_count > command->words_max) {
        return ctl_fail(CTL_USAGE, "%s; usage: kvctl %s%s%s",
                        ctl->words_count < command->words_min ? "an argument is missing"
                                                              : "too many arguments",
                        command->name, command->words[0] != '\0' ? " " : "",
                        command->words);
    }
    return CTL_OK;
}

int ctl_args_parse(struct ctl *ctl, int argc, char **argv)
{
    const char *name = NULL;
    bool is_ended = false;
    int status;

    ctl->words_ended = -1;
    for (int i = 1; i < argc; i++) {
        if (!is_ended && strcmp(argv[i], "--") == 0) {
            is_ended = true;
            ctl->words_ended = ctl->words_count;
        } else if (!is_ended && is_option(argv[i])) {
            status = option_parse(ctl, argc, argv, &i);
            if (status != CTL_OK) {
                return status;
            }
        } else if (name == NULL) {
            name = argv[i];
        } else if (ctl->words_count == CTL_WORDS_MAX) {
            return ctl_fail(CTL_USAGE, "too many arguments; see: kvctl help %s", name);
        } else {
            ctl->words[ctl->words_count++] = argv[i];
        }
    }
    if (ctl_has(ctl, CTL_OPT_VERSION)) {
        name = "version";
        ctl->words_count = 0;
    } else if (name == NULL && !ctl_has(ctl, CTL_OPT_HELP)) {
        ctl_help_print(NULL);
        return ctl_fail(CTL_USAGE, "a command is missing; begin with: kvctl status");
    }
    ctl->command = name == NULL ? NULL : ctl_command_find(name);
    if (name != NULL && ctl->command == NULL) {
        return unknown_command(name);
    }
    if (ctl_has(ctl, CTL_OPT_HELP)) {
        ctl->words[0] = name;
        ctl->words_count = name != NULL;
        ctl->command = ctl_command_find("help");
        return CTL_OK;
    }
    status = command_check(ctl);
    return status == CTL_OK ? values_check(ctl) : status;
}
