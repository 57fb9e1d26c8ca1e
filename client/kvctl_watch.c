/* client/kvctl_watch.c - the command watch: changes as lines, or runs of a command. */
#include "client/kvctl.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

enum {
    WATCH_VARIABLES = 6, /* KVCTL_* of a command. */
};

static const char *const type_names[] = {
    [KV_EVENT_PUT] = "put",
    [KV_EVENT_DEL] = "del",
    [KV_EVENT_EXPIRE] = "expire",
    [KV_EVENT_DELRANGE] = "delrange",
};

/* One run. */
struct run {
    struct ctl *ctl;
    struct kv_client *client;
    struct kv_watch *watch;
    char *const *command; /* NULL: lines. */
    uint64_t count_max;   /* 0: until it is ended. */
    uint64_t count;
    int status;
    bool is_done;
    struct arena scratch; /* Texts of one event. */
};

/* ---- positions ---- */

static const char *hex_of(struct arena *a, struct kv_view bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes.data;
    char *text = arena_alloc(a, 2 * bytes.len + 1);

    if (text == NULL) {
        return "";
    }
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = digits[from[i] >> 4];
        text[2 * i + 1] = digits[from[i] & 15];
    }
    text[2 * bytes.len] = '\0';
    return text;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_read(struct arena *a, const char *text, struct kv_view *out)
{
    size_t len = strlen(text);
    uint8_t *bytes = arena_alloc(a, len / 2 + 1);

    if (bytes == NULL || len == 0 || len % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i += 2) {
        int high = digit_of(text[i]);
        int low = digit_of(text[i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    *out = kv_mem(bytes, len / 2);
    return true;
}

/* ---- one event ---- */

static void print_event(const struct run *r, const struct kv_event *e)
{
    json_t *o;

    if (r->ctl->format == CTL_JSON) {
        o = json_object();
        ctl_json_set(o, "type", json_string(type_names[e->type]));
        ctl_json_bytes(o, "key", e->key);
        if (e->value.data != NULL) {
            ctl_json_bytes(o, "value", e->value);
        }
        if (e->prev.data != NULL) {
            ctl_json_bytes(o, "prev", e->prev);
        }
        ctl_json_set(o, "rev", json_integer((json_int_t)e->rev));
        ctl_json_print(o);
        return;
    }
    (void)printf("%s ", type_names[e->type]);
    ctl_print_escaped(e->key);
    if (e->value.data != NULL) {
        (void)putchar(' ');
        ctl_print_escaped(e->value);
    }
    if (e->prev.data != NULL) {
        (void)printf(" (was ");
        ctl_print_escaped(e->prev);
        (void)putchar(')');
    }
    (void)printf(" rev=%llu\n", (unsigned long long)e->rev);
}

/* "NAME=bytes" for an environment: it ends at the first NUL of a value. */
static char *variable(struct arena *a, const char *name, struct kv_view value)
{
    size_t len = strlen(name);
    char *text = arena_alloc(a, len + value.len + 2);

    if (text != NULL) {
        memcpy(text, name, len);
        text[len] = '=';
        if (value.len > 0) {
            memcpy(text + len + 1, value.data, value.len);
        }
        text[len + 1 + value.len] = '\0';
    }
    return text;
}

/* Runs the command and waits for it. Returns its status; CTL_DATA after a message. */
static int run_command(struct run *r, const struct kv_event *e, const char *pos)
{
    size_t count = 0;
    size_t kept = 0;
    char **env;
    char rev[32];
    pid_t pid;
    int status = 0;
    int rc;

    while (environ[count] != NULL) {
        count++;
    }
    (void)snprintf(rev, sizeof rev, "%llu", (unsigned long long)e->rev);
    env = arena_zalloc(&r->scratch, (count + WATCH_VARIABLES + 1) * sizeof *env);
    if (env == NULL) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "KVCTL_KEY=", 10) != 0 &&
            strncmp(environ[i], "KVCTL_VALUE=", 12) != 0 &&
            strncmp(environ[i], "KVCTL_PREV=", 11) != 0) {
            env[kept++] = environ[i];
        }
    }
    env[kept++] = variable(&r->scratch, "KVCTL_EVENT", kv_str(type_names[e->type]));
    env[kept++] = variable(&r->scratch, "KVCTL_REV", kv_str(rev));
    env[kept++] = variable(&r->scratch, "KVCTL_POS", kv_str(pos));
    env[kept++] = variable(&r->scratch, "KVCTL_KEY", e->key);
    if (e->value.data != NULL) {
        env[kept++] = variable(&r->scratch, "KVCTL_VALUE", e->value);
    }
    if (e->prev.data != NULL) {
        env[kept++] = variable(&r->scratch, "KVCTL_PREV", e->prev);
    }
    (void)fflush(stdout);
    rc = posix_spawnp(&pid, r->command[0], NULL, NULL, r->command, env);
    if (rc != 0) {
        return ctl_fail(CTL_DATA, "cannot run %s: %s", r->command[0], strerror(rc));
    }
    if (waitpid(pid, &status, 0) != pid) {
        return ctl_fail(CTL_DATA, "lost sight of %s", r->command[0]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the watch ---- */

static void finish(struct run *r, int status)
{
    r->status = status;
    r->is_done = true;
    kv_free(r->client);
    r->client = NULL;
}

static int status_of(int error)
{
    return error == KV_ERR_BAD_REQUEST || error == KV_ERR_INVALID ? CTL_USAGE
                                                                  : CTL_REFUSED;
}

static void on_batch(struct kv_client *client, struct kv_watch *watch,
                     const struct kv_watch_batch *batch, void *ctx)
{
    struct run *r = ctx;
    const char *pos;
    int status = CTL_OK;

    (void)client;
    (void)watch;
    if (batch->error != 0) {
        if (!r->is_done) {
            finish(r, ctl_fail(status_of(batch->error), "watch: %s", batch->text));
        }
        return;
    }
    arena_reset(&r->scratch);
    pos = hex_of(&r->scratch, batch->pos);
    for (size_t i = 0; i < batch->events_count && status == CTL_OK; i++) {
        if (r->command != NULL) {
            status = run_command(r, &batch->events[i], pos);
        } else {
            print_event(r, &batch->events[i]);
        }
        r->count++;
        if (r->count == r->count_max) {
            break;
        }
    }
    (void)fflush(stdout);
    if (ctl_has(r->ctl, CTL_OPT_POS)) {
        (void)fprintf(stderr, "pos %s\n", pos);
    }
    if (ferror(stdout) != 0 || status != CTL_OK ||
        (r->count_max != 0 && r->count == r->count_max)) {
        finish(r, ferror(stdout) != 0 ? CTL_DATA : status);
    }
}

static int options_read(struct run *r, struct kv_watch_options *o)
{
    struct ctl *ctl = r->ctl;
    int words = ctl->words_ended >= 0 ? ctl->words_ended : ctl->words_count;
    bool is_range = ctl_has(ctl, CTL_OPT_RANGE);
    bool is_prefix = ctl_has(ctl, CTL_OPT_PREFIX);
    char *end = NULL;

    kv_watch_options_init(o);
    if ((is_prefix && is_range) || words != (is_prefix ? 0 : is_range ? 2 : 1)) {
        return ctl_fail(CTL_USAGE, "watch takes KEY, --prefix P, or --range KEY END");
    }
    o->what = is_range ? KV_WATCH_RANGE : is_prefix ? KV_WATCH_PREFIX : KV_WATCH_KEY;
    o->key = kv_str(is_prefix ? ctl->values[CTL_OPT_PREFIX] : ctl->words[0]);
    o->end = kv_str(is_range ? ctl->words[1] : "");
    o->prev = ctl_has(ctl, CTL_OPT_PREV);
    if (ctl->words_ended >= 0) {
        if (ctl->words_count == words) {
            return ctl_fail(CTL_USAGE, "watch: a command is missing behind --");
        }
        ctl->words[ctl->words_count < CTL_WORDS_MAX ? ctl->words_count
                                                    : CTL_WORDS_MAX - 1] = NULL;
        r->command = (char *const *)&ctl->words[words];
    }
    if (ctl_has(ctl, CTL_OPT_FROM) &&
        !hex_read(&ctl->arena, ctl->values[CTL_OPT_FROM], &o->pos)) {
        return ctl_fail(CTL_USAGE, "--from takes a position as --pos prints it");
    }
    if (ctl_has(ctl, CTL_OPT_ONLY)) {
        const char *only = ctl->values[CTL_OPT_ONLY];

        o->only = strcmp(only, "put") == 0   ? KV_WATCH_PUTS
                  : strcmp(only, "del") == 0 ? KV_WATCH_DELETES
                                             : KV_WATCH_ALL;
        if (o->only == KV_WATCH_ALL) {
            return ctl_fail(CTL_USAGE, "--only takes put or del");
        }
    }
    if (ctl_has(ctl, CTL_OPT_COUNT)) {
        r->count_max = strtoull(ctl->values[CTL_OPT_COUNT], &end, 10);
        if (*end != '\0' || r->count_max == 0) {
            return ctl_fail(CTL_USAGE, "--count takes a number of changes");
        }
    }
    o->callback = on_batch;
    o->ctx = r;
    return CTL_OK;
}

static int watch_run(struct run *r, const struct kv_watch_options *o)
{
    struct kv_options options;
    uv_loop_t loop;
    int rc;

    kv_options_init(&options);
    options.endpoints = r->ctl->endpoints;
    options.loop = &loop;
    if (uv_loop_init(&loop) != 0) {
        return ctl_fail(CTL_DATA, "no event loop");
    }
    rc = kv_new(&options, &r->client);
    if (rc == 0) {
        rc = kv_watch_start(r->client, o, &r->watch);
    }
    if (rc == 0) {
        (void)uv_run(&loop, UV_RUN_DEFAULT);
    } else {
        r->status =
            ctl_fail(CTL_USAGE, "watch: %s",
                     r->client != NULL ? kv_last_error(r->client) : kv_strerror(rc));
    }
    kv_free(r->client);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return r->status;
}

int ctl_watch(struct ctl *ctl)
{
    const struct kv_result *result = NULL;
    struct run r = {.ctl = ctl};
    struct kv_watch_options o;
    int status = options_read(&r, &o);

    if (status == CTL_OK) {
        status = ctl_open(ctl);
    }
    if (status == CTL_OK) {
        /* Who cannot be reached at the beginning is told so; later we wait. */
        status = ctl_call(ctl, kv_status(), &result);
        kv_result_free(result);
    }
    if (status != CTL_OK) {
        return status;
    }
    arena_init(&r.scratch, 16 * 1024, 0);
    status = watch_run(&r, &o);
    arena_close(&r.scratch);
    return status;
}
