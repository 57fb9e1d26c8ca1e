/* client/kvctl_io.c - `import` and `export`: keys and values as JSON lines.
 *
 *   {"key":"user/1","value":"ann","rev":12}
 *   {"key_b64":"/w==","value_b64":"AAE="}       what is not UTF-8
 *
 * An export goes page by page: each group's part of a page is of one moment, the pages
 * are not. An import keeps puts under way and counts the lines before the first one
 * that is not done: after a failure it goes on from there (--skip). Lines with the same
 * key never overlap, so the last one wins.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "client/kvctl.h"

enum {
    IO_KEY_MAX = 480,
    IO_VALUE_MAX = 1024 * 1024,
    IO_LINE_MAX = 8 * 1024 * 1024, /* A value of 1 MiB, each byte as \u00XX. */
    IO_PAGE = 1000,
    IO_FLIGHT = 64, /* Puts under way. */
    IO_FLIGHT_MAX = 1024,
    NS_PER_MS = 1000 * 1000,
};

/* ---- export ---- */

static void export_page(const struct kv_result *r)
{
    for (size_t i = 0; i < r->items_count; i++) {
        json_t *line = json_object();

        ctl_json_bytes(line, "key", r->items[i].key);
        ctl_json_bytes(line, "value", r->items[i].value);
        ctl_json_set(line, "rev", json_integer((json_int_t)r->items[i].rev));
        ctl_json_print(line);
    }
}

int ctl_export(struct ctl *ctl)
{
    const char *prefix = ctl->words_count > 0 ? ctl->words[0] : "";
    const char *from = ctl_has(ctl, CTL_OPT_FROM) ? ctl->values[CTL_OPT_FROM] : prefix;
    struct ctl_progress progress = {.what = "exported"};
    uint8_t begin[IO_KEY_MAX + 1];
    uint8_t end[IO_KEY_MAX + 1];
    size_t begin_len = ctl_unescape(from, begin, sizeof begin);
    const struct kv_result *r;
    struct kv_request request;
    bool more = true;
    int status = CTL_OK;

    if (strlen(prefix) > IO_KEY_MAX) {
        return ctl_fail(CTL_USAGE, "the prefix is longer than 480 bytes");
    }
    while (more && status == CTL_OK) {
        request = kv_range(kv_mem(begin, begin_len),
                           kv_mem(end, ctl_prefix_end(prefix, end)));
        request.limit = IO_PAGE;
        /* The timeout is for each page: nobody knows how long all will take. */
        ctl->deadline_at = uv_hrtime() / NS_PER_MS + ctl->timeout_ms;
        status = ctl_call(ctl, request, &r);
        if (status != CTL_OK) {
            break;
        }
        export_page(r);
        ctl_progress_show(&progress, progress.count + r->items_count, "keys");
        more = r->more;
        if (more && r->next.len <= sizeof begin) {
            begin_len = r->next.len;
            memcpy(begin, r->next.data, begin_len);
        }
        kv_result_free(r);
        status = ctl_flush(CTL_OK);
    }
    ctl_progress_end(&progress);
    if (status != CTL_OK && progress.count > 0) {
        fprintf(stderr, "kvctl: %llu keys are exported; go on with: --from '%s'\n",
                (unsigned long long)progress.count,
                ctl_escape(ctl, kv_mem(begin, begin_len)));
    }
    return status;
}

/* ---- a line ---- */

static int digit_of(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at == NULL ? -1 : (int)(at - digits);
}

/* RFC 4648 with padding. False: it is none, or longer than `room`. */
static bool base64_read(const char *text, uint8_t *out, size_t room, size_t *out_len)
{
    size_t len = strlen(text);
    size_t used = 0;

    if (len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i += 4) {
        bool is_last = i + 4 == len;
        int pad = is_last ? (text[i + 3] == '=') + (text[i + 2] == '=') : 0;
        uint32_t bits = 0;

        for (int k = 0; k < 4; k++) {
            int digit = k >= 4 - pad ? 0 : digit_of(text[i + (size_t)k]);

            if (digit < 0) {
                return false;
            }
            bits = bits << 6 | (uint32_t)digit;
        }
        for (int k = 0; k < 3 - pad; k++) {
            if (used == room) {
                return false;
            }
            out[used++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    *out_len = used;
    return true;
}

/* NAME, or NAME_b64 decoded into `room` bytes. NULL, or what is wrong. */
static const char *field_read(const json_t *line, const char *name, uint8_t *bytes,
                              size_t room, struct kv_view *out)
{
    char coded[16];
    const json_t *text = json_object_get(line, name);
    const json_t *base64;
    size_t len = 0;

    (void)snprintf(coded, sizeof coded, "%s_b64", name);
    base64 = json_object_get(line, coded);
    if ((text == NULL) == (base64 == NULL)) {
        return "it must have one of NAME and NAME_b64, for key and for value";
    }
    if (!json_is_string(text != NULL ? text : base64)) {
        return "key and value must be strings";
    }
    if (text != NULL) {
        *out = kv_mem(json_string_value(text), json_string_length(text));
        return out->len > room ? "the key or value is too long" : NULL;
    }
    if (!base64_read(json_string_value(base64), bytes, room, &len)) {
        return "it is no base64, or too long";
    }
    *out = kv_mem(bytes, len);
    return NULL;
}

/* ---- import ---- */

struct import;

struct import_slot {
    struct import *im;
    uint64_t line; /* 0: free. */
    uint64_t hash; /* Of its key. */
};

/* Lines before `line_done` + 1 are done; `line` was read last. */
struct import {
    struct ctl *ctl;
    struct kv_client *client;
    uv_loop_t loop;
    FILE *file;
    char *text;
    uint8_t *bytes; /* A decoded key, then a decoded value. */
    uint64_t line;
    uint64_t imported;
    uint32_t flight;
    uint32_t flight_max;
    bool is_ended; /* No more lines. */
    int status;    /* The first failure. */
    struct ctl_progress progress;
    struct import_slot slots[IO_FLIGHT_MAX];
};

/* Lines of which it is certain that they are done, counted from the first one. */
static uint64_t lines_done(const struct import *im)
{
    uint64_t least = im->line + 1;

    for (uint32_t i = 0; i < im->flight_max; i++) {
        if (im->slots[i].line != 0 && im->slots[i].line < least) {
            least = im->slots[i].line;
        }
    }
    return least - 1;
}

static void on_put(struct kv_client *client, const struct kv_result *r, void *ctx)
{
    struct import_slot *slot = ctx;
    struct import *im = slot->im;

    (void)client;
    im->flight--;
    if (r->error == 0) {
        slot->line = 0;
        im->imported++;
        return;
    }
    im->is_ended = true; /* Its slot stays: that line is not done. */
    if (im->status == CTL_OK) {
        ctl_progress_end(&im->progress);
        im->status = ctl_fail(r->outcome == KV_UNKNOWN         ? CTL_UNKNOWN
                              : r->error == KV_ERR_CONNECT     ? CTL_CONNECT
                              : r->error == KV_ERR_BAD_REQUEST ? CTL_USAGE
                                                               : CTL_REFUSED,
                              "line %llu: %s", (unsigned long long)slot->line, r->text);
    }
}

static void line_wrong(struct import *im, const char *why)
{
    im->is_ended = true;
    im->line--; /* It is not done. */
    if (im->status == CTL_OK) {
        ctl_progress_end(&im->progress);
        im->status =
            ctl_fail(CTL_DATA, "line %llu: %s", (unsigned long long)im->line + 1, why);
    }
}

static uint64_t hash_of(struct kv_view key)
{
    const uint8_t *p = key.data;
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ p[i]) * 1099511628211u;
    }
    return hash;
}

/* Waits until there is a place, and no line with this key under way. NULL: a line has
 * failed meanwhile. */
static struct import_slot *slot_take(struct import *im, uint64_t hash)
{
    while (!im->is_ended) {
        struct import_slot *found = NULL;
        bool clashes = false;

        for (uint32_t i = 0; i < im->flight_max; i++) {
            struct import_slot *slot = &im->slots[i];

            clashes = clashes || (slot->line != 0 && slot->hash == hash);
            found = slot->line == 0 ? slot : found;
        }
        if (found != NULL && !clashes) {
            return found;
        }
        (void)uv_run(&im->loop, UV_RUN_ONCE);
    }
    return NULL;
}

static void line_put(struct import *im, const json_t *line)
{
    struct import_slot *slot;
    struct kv_view key;
    struct kv_view value;
    const char *why = field_read(line, "key", im->bytes, IO_KEY_MAX, &key);
    int rc;

    if (why == NULL) {
        why = field_read(line, "value", im->bytes + IO_KEY_MAX, IO_VALUE_MAX, &value);
    }
    if (why == NULL && key.len == 0) {
        why = "the key is empty";
    }
    if (why != NULL) {
        line_wrong(im, why);
        return;
    }
    slot = slot_take(im, hash_of(key));
    if (slot == NULL) {
        im->line--;
        return;
    }
    rc = kv_start(im->client, kv_put(key, value), on_put, slot);
    if (rc != 0) {
        line_wrong(im, kv_last_error(im->client));
        return;
    }
    *slot = (struct import_slot){.im = im, .line = im->line, .hash = hash_of(key)};
    im->flight++;
}

/* Reads the next line and starts its put. */
static void line_next(struct import *im, uint64_t skip)
{
    json_error_t error;
    json_t *line;
    size_t len;

    if (fgets(im->text, IO_LINE_MAX, im->file) == NULL) {
        im->is_ended = true;
        if (ferror(im->file) != 0) {
            im->status = ctl_fail(CTL_DATA, "cannot read: %s", strerror(errno));
        }
        return;
    }
    im->line++;
    len = strlen(im->text);
    if (im->line <= skip || strspn(im->text, " \t\r\n") == len) {
        return;
    }
    if (len + 1 == IO_LINE_MAX && im->text[len - 1] != '\n') {
        line_wrong(im, "it is longer than 8 MiB");
        return;
    }
    line = json_loads(im->text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json_is_object(line)) {
        line_put(im, line);
    } else {
        line_wrong(im, line == NULL ? error.text : "it is no JSON object");
    }
    json_decref(line);
}

static void import_run(struct import *im, uint64_t skip)
{
    while (!im->is_ended) {
        line_next(im, skip);
        (void)uv_run(&im->loop, UV_RUN_NOWAIT);
        if (im->line > skip) {
            ctl_progress_show(&im->progress, lines_done(im), "lines");
        }
    }
    while (im->flight > 0) {
        (void)uv_run(&im->loop, UV_RUN_ONCE);
    }
    if (im->status == CTL_OK) {
        ctl_progress_end(&im->progress);
    }
}

/* The client, on a loop of ours. CTL_OK or an exit status after a message. */
static int import_open(struct import *im)
{
    struct ctl *ctl = im->ctl;
    struct kv_options options;
    int rc = ctl_endpoints(ctl);

    if (rc != CTL_OK) {
        return rc;
    }
    kv_options_init(&options);
    options.endpoints = ctl->endpoints;
    options.deadline_ms = ctl->timeout_ms;
    options.connect_rounds = 1;
    options.loop = &im->loop;
    rc = kv_new(&options, &im->client);
    return rc == 0                ? CTL_OK
           : rc == KV_ERR_INVALID ? ctl_endpoints_wrong(ctl)
                                  : ctl_fail(CTL_DATA, "%s", kv_strerror(rc));
}

static int import_file(struct import *im, uint64_t skip)
{
    const char *path = im->ctl->words[0];
    bool is_stdin = strcmp(path, "-") == 0;
    int status;

    im->file = is_stdin ? stdin : fopen(path, "re");
    if (im->file == NULL) {
        return ctl_fail(CTL_USAGE, "cannot open %s: %s", path, strerror(errno));
    }
    status = import_open(im);
    if (status == CTL_OK) {
        import_run(im, skip);
        status = im->status;
        kv_close(im->client, NULL, NULL);
        (void)uv_run(&im->loop, UV_RUN_DEFAULT);
        fprintf(stderr, "kvctl: %llu lines imported%s",
                (unsigned long long)im->imported, status == CTL_OK ? "\n" : "");
        if (status != CTL_OK) {
            fprintf(stderr, "; go on with: --skip %llu\n",
                    (unsigned long long)lines_done(im));
        }
    }
    if (!is_stdin) {
        (void)fclose(im->file);
    }
    return status;
}

int ctl_import(struct ctl *ctl)
{
    struct import *im = arena_zalloc(&ctl->arena, sizeof *im);
    uint64_t flight = IO_FLIGHT;
    uint64_t skip = 0;
    int status;

    if (ctl_has(ctl, CTL_OPT_SKIP) &&
        !ctl_number_parse(ctl->values[CTL_OPT_SKIP], INT64_MAX, &skip)) {
        return ctl_fail(CTL_USAGE, "\"%s\" is not a number of lines",
                        ctl->values[CTL_OPT_SKIP]);
    }
    if (ctl_has(ctl, CTL_OPT_FLIGHT) &&
        (!ctl_number_parse(ctl->values[CTL_OPT_FLIGHT], IO_FLIGHT_MAX, &flight) ||
         flight == 0)) {
        return ctl_fail(CTL_USAGE, "--flight is a number from 1 to %d", IO_FLIGHT_MAX);
    }
    if (im != NULL) {
        im->text = arena_alloc(&ctl->arena, IO_LINE_MAX);
        im->bytes = arena_alloc(&ctl->arena, IO_KEY_MAX + IO_VALUE_MAX);
    }
    if (im == NULL || im->text == NULL || im->bytes == NULL ||
        uv_loop_init(&im->loop) != 0) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    im->ctl = ctl;
    im->flight_max = (uint32_t)flight;
    im->progress.what = "imported";
    status = import_file(im, skip);
    (void)uv_loop_close(&im->loop);
    return status;
}
