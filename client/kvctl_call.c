/* client/kvctl_call.c - endpoints, the client, calls, errors as one line. */
#include "client/kvctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

enum {
    ENDPOINTS_FILE_MAX = 4096,
    PATH_BYTES_MAX = 4096,
    CONNECT_MS = 1000,
    NS_PER_MS = 1000 * 1000,
};

int ctl_fail(int status, const char *format, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fputs("kvctl: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return status;
}

/* ---- endpoints ---- */

/* Reads a file of endpoints as one line with commas; NULL when it is not there. */
static const char *endpoints_read(struct ctl *ctl, const char *path)
{
    FILE *file = fopen(path, "re");
    char *text;
    size_t len;

    if (file == NULL) {
        return NULL;
    }
    text = arena_zalloc(&ctl->arena, ENDPOINTS_FILE_MAX + 1);
    len = text == NULL ? 0 : fread(text, 1, ENDPOINTS_FILE_MAX, file);
    (void)fclose(file);
    while (len > 0 && (uint8_t)text[len - 1] <= ' ') {
        text[--len] = '\0';
    }
    if (len == 0) {
        return NULL;
    }
    ctl->endpoints_from = ctl_text(ctl, "%s", path);
    return text;
}

const char *ctl_endpoints_find(struct ctl *ctl)
{
    char path[PATH_BYTES_MAX];
    const char *found = NULL;
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 32);
    char *slash;

    if (len > 0) {
        path[len] = '\0';
        slash = strrchr(path, '/');
        if (slash != NULL) {
            memcpy(slash, "/../cluster/endpoints", sizeof "/../cluster/endpoints");
            found = endpoints_read(ctl, path);
        }
    }
    return found != NULL ? found : endpoints_read(ctl, "cluster/endpoints");
}

/* ---- the client ---- */

/* Collects "h:p (cause)" of each endpoint that could not be reached. */
static void on_log(void *ctx, enum kv_log_level level, const char *line)
{
    struct ctl *ctl = ctx;
    size_t used = strlen(ctl->failures);
    const char *colon = strstr(line, ": ");
    int name_len;

    if (level != KV_LOG_WARN || colon == NULL) {
        return;
    }
    name_len = (int)(colon - line) + 1; /* With the colon, so that :741 is not :7410. */
    if (memmem(ctl->failures, used, line, (size_t)name_len - 1) != NULL) {
        return;
    }
    (void)snprintf(ctl->failures + used, sizeof ctl->failures - used, "%s%.*s (%s)",
                   used > 0 ? ", " : "", name_len - 1, line, colon + 2);
}

int ctl_endpoints(struct ctl *ctl)
{
    const char *env = getenv("KVCTL_ENDPOINTS");

    if (ctl_has(ctl, CTL_OPT_ENDPOINTS)) {
        ctl->endpoints = ctl->values[CTL_OPT_ENDPOINTS];
        ctl->endpoints_from = "--endpoints";
    } else if (env != NULL && env[0] != '\0') {
        ctl->endpoints = env;
        ctl->endpoints_from = "KVCTL_ENDPOINTS";
    } else {
        ctl->endpoints = ctl_endpoints_find(ctl);
    }
    if (ctl->endpoints == NULL) {
        return ctl_fail(CTL_CONNECT,
                        "no endpoints: there is no cluster/endpoints. Start "
                        "a cluster with: make up, or name its nodes with: "
                        "--endpoints HOST:PORT,...");
    }
    return CTL_OK;
}

int ctl_endpoints_wrong(const struct ctl *ctl)
{
    return ctl_fail(CTL_USAGE,
                    "\"%s\" (%s) is not a list of endpoints; write it like: "
                    "--endpoints 127.0.0.1:7410,127.0.0.1:7420",
                    ctl->endpoints, ctl->endpoints_from);
}

int ctl_open(struct ctl *ctl)
{
    struct kv_options options;
    int rc = ctl_endpoints(ctl);

    if (rc != CTL_OK) {
        return rc;
    }
    ctl->deadline_at = uv_hrtime() / NS_PER_MS + ctl->timeout_ms;
    kv_options_init(&options);
    options.endpoints = ctl->endpoints;
    options.deadline_ms = ctl->timeout_ms;
    /* A node that stands still takes connections and says nothing: on to the next. */
    options.connect_ms = KV_MIN((ctl->timeout_ms + 2) / 3, CONNECT_MS);
    options.connect_rounds = 1;
    options.routing = KV_ROUTE_ENDPOINTS;
    options.log = on_log;
    options.log_ctx = ctl;
    rc = kv_new(&options, &ctl->client);
    if (rc == KV_ERR_INVALID) {
        return ctl_endpoints_wrong(ctl);
    }
    if (rc != 0) {
        return ctl_fail(CTL_DATA, "%s", kv_strerror(rc));
    }
    return ctl_token_load(ctl);
}

/* ---- calls ---- */

/* Which exit status an error is. */
static int status_of(const struct kv_result *result)
{
    if (result->outcome == KV_UNKNOWN) {
        return CTL_UNKNOWN;
    }
    switch (result->error) {
    case KV_ERR_CONNECT:
        return result->sendings == 0 ? CTL_CONNECT : CTL_REFUSED;
    case KV_ERR_INVALID:
        return CTL_USAGE;
    case KV_ERR_DENIED:
        return CTL_AUTH;
    case KV_ERR_DAMAGED:
    case KV_ERR_IO:
    case KV_ERR_PROTOCOL:
    case KV_ERR_NO_MEMORY:
        return CTL_DATA;
    default:
        return result->sendings == 0 && result->error == KV_ERR_TOO_LARGE ? CTL_USAGE
                                                                          : CTL_REFUSED;
    }
}

/* The command that shows more, for an error; with the key where `*out_key` is set. */
static const char *next_of(const struct kv_result *result, int status, bool *out_key)
{
    bool is_write = result->op == KV_OP_PUT || result->op == KV_OP_DEL ||
                    result->op == KV_OP_CAS || result->op == KV_OP_INCR;
    bool is_mistake = result->error == KV_ERR_BAD_REQUEST ||
                      result->error == KV_ERR_OVERFLOW ||
                      result->error == KV_ERR_TOO_LARGE;

    *out_key = false;
    if (status == CTL_UNKNOWN && !is_write) {
        return "";
    }
    if (status == CTL_UNKNOWN ||
        (status == CTL_REFUSED && is_mistake && result->op == KV_OP_INCR)) {
        *out_key = true; /* What is there decides what to do. */
        return ". Try: kvctl get ";
    }
    if (status == CTL_REFUSED && !is_mistake) {
        return ". Try: kvctl status";
    }
    return status == CTL_REFUSED || status == CTL_USAGE ? ". See: kvctl help" : "";
}

int ctl_result_fail(struct ctl *ctl, const struct kv_result *result)
{
    int status = status_of(result);
    bool with_key = false;
    const char *next;

    if (status == CTL_CONNECT) {
        return ctl_fail(status,
                        "cannot reach any endpoint: %s. Is the cluster up? Try: "
                        "make up",
                        ctl->failures[0] != '\0' ? ctl->failures : ctl->endpoints);
    }
    next = next_of(result, status, &with_key);
    return ctl_fail(status, "%s%s%s", result->text, next,
                    with_key ? ctl->words[0] : "");
}

uint32_t ctl_left_ms(const struct ctl *ctl)
{
    uint64_t now = uv_hrtime() / NS_PER_MS;

    return now < ctl->deadline_at ? (uint32_t)(ctl->deadline_at - now) : 0;
}

/* --idem and --idem-ttl, which only commands have that write. */
static int idem_take(const struct ctl *ctl, struct kv_request *out)
{
    if (ctl_has(ctl, CTL_OPT_IDEM)) {
        out->idem = kv_str(ctl->values[CTL_OPT_IDEM]);
        if (out->idem.len == 0) {
            return ctl_fail(CTL_USAGE, "--idem is empty; it names the write");
        }
    }
    if (ctl_has(ctl, CTL_OPT_IDEM_TTL)) {
        out->idem_ttl_ms = ctl_time_parse(ctl->values[CTL_OPT_IDEM_TTL]);
        if (out->idem_ttl_ms == 0 || out->idem.len == 0) {
            return ctl_fail(CTL_USAGE, "--idem-ttl is a time, and needs --idem; write "
                                       "it like: --idem order-1 --idem-ttl 10m");
        }
    }
    return CTL_OK;
}

int ctl_call(struct ctl *ctl, struct kv_request request,
             const struct kv_result **out_result)
{
    const struct kv_result *result;
    int status = ctl->client == NULL ? ctl_open(ctl) : CTL_OK;

    if (status != CTL_OK) {
        return status;
    }
    if ((request.op >= KV_OP_GET && request.op <= KV_OP_RANGE) ||
        request.op == KV_OP_TXN || request.op == KV_OP_GETSET ||
        request.op == KV_OP_DELRANGE) {
        status = ctl_fence(ctl, &request);
        if (status != CTL_OK) {
            return status;
        }
    }
    request.has_if_rev = ctl_has(ctl, CTL_OPT_IF_REV); /* So does --if-rev. */
    request.if_rev = ctl->if_rev;
    request.w = ctl->w != 0 ? ctl->w : request.w; /* Only writes have --w. */
    request.deadline_ms = ctl_left_ms(ctl);
    if (request.deadline_ms == 0) {
        return ctl_fail(CTL_REFUSED, "not done within %u ms. Try a longer --timeout",
                        ctl->timeout_ms);
    }
    status = idem_take(ctl, &request);
    if (status != CTL_OK) {
        return status;
    }
    result = kv_wait(ctl->client, request);
    if (result->error != 0) {
        status = ctl_result_fail(ctl, result);
        kv_result_free(result);
        return status;
    }
    if (ctl->w != 0 && result->replicas < ctl->w) {
        ctl->is_short = true;
        (void)ctl_fail(CTL_UNKNOWN,
                       "done, but of the %u replicas asked for only %u are known to "
                       "hold it. See: kvctl status",
                       ctl->w, result->replicas);
    }
    *out_result = result;
    return CTL_OK;
}
