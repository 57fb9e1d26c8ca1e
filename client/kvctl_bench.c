/* client/kvctl_bench.c - kvctl bench: options in, load_run(), numbers out. */
#include "client/kvctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/kvctl_load.h"

enum {
    NS_PER_MS = 1000 * 1000,
    BYTES_MAX = 1024 * 1024,
    CALLS_MAX = 1000 * 1000, /* Clients times calls under way. */
    RATE_MAX = 10 * 1000 * 1000,
    TEXT_MAX = 128,
};

/* ---- options ---- */

/* A whole number from `least` to `most`; `value` stays where none was given. */
static int number(struct ctl *ctl, enum ctl_option option, uint64_t least,
                  uint64_t most, uint64_t *value)
{
    const char *text = ctl->values[option];
    char *end = NULL;
    unsigned long long v;

    if (!ctl_has(ctl, option)) {
        return CTL_OK;
    }
    v = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || v < least || v > most) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a whole number from %llu to %llu; see: kvctl "
                        "help bench",
                        text, (unsigned long long)least, (unsigned long long)most);
    }
    *value = v;
    return CTL_OK;
}

/* A time; 0 is one, too. */
static int duration(struct ctl *ctl, enum ctl_option option, uint64_t *out_ns)
{
    const char *text = ctl->values[option];
    uint32_t ms;

    if (!ctl_has(ctl, option)) {
        return CTL_OK;
    }
    ms = ctl_time_parse(text);
    if (ms == 0 && strspn(text, "0ms") != strlen(text)) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a time; write it like: 10s, 500ms, 2m", text);
    }
    *out_ns = (uint64_t)ms * NS_PER_MS;
    return CTL_OK;
}

/* "get=9,put=1", or one name alone. */
static bool mix_parse(const char *text, uint32_t *weights)
{
    uint64_t sum = 0;

    memset(weights, 0, LOAD_OPS_COUNT * sizeof *weights);
    while (*text != '\0') {
        size_t len = strcspn(text, "=,");
        unsigned long part = 1;
        uint32_t op = 0;

        while (op < LOAD_OPS_COUNT &&
               (strlen(load_op_name((enum load_op)op)) != len ||
                memcmp(load_op_name((enum load_op)op), text, len))) {
            op++;
        }
        if (op == LOAD_OPS_COUNT) {
            return false;
        }
        text += len;
        if (*text == '=') {
            char *end = NULL;

            part = strtoul(text + 1, &end, 10);
            if (end == text + 1 || text[1] == '-' || part > CALLS_MAX) {
                return false;
            }
            text = end;
        }
        if (*text != ',' && *text != '\0') {
            return false;
        }
        text += *text == ',';
        weights[op] = (uint32_t)part;
        sum += part;
    }
    return sum > 0;
}

static int shape_parse(struct ctl *ctl, struct load_options *o)
{
    const char *routing = ctl->values[CTL_OPT_ROUTING];
    const char *session = ctl->values[CTL_OPT_SESSION];
    struct keys keys;

    if (ctl_has(ctl, CTL_OPT_MIX) && !mix_parse(ctl->values[CTL_OPT_MIX], o->weights)) {
        return ctl_fail(CTL_USAGE, "\"%s\" is no mix; write it like: --mix get=9,put=1",
                        ctl->values[CTL_OPT_MIX]);
    }
    if (ctl_has(ctl, CTL_OPT_SPREAD)) {
        o->keys = ctl->values[CTL_OPT_SPREAD];
    }
    if (!keys_init(&keys, o->keys, 1, 0)) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not one of: uniform, zipfian[:0.99], sequential, "
                        "hot[:90]",
                        o->keys);
    }
    if (ctl_has(ctl, CTL_OPT_SESSION)) {
        if (strcmp(session, "on") != 0 && strcmp(session, "off") != 0) {
            return ctl_fail(CTL_USAGE, "\"%s\" is not one of: on, off", session);
        }
        o->sessions = session[1] == 'n' ? KV_SESSIONS_ON : KV_SESSIONS_OFF;
    }
    if (!ctl_has(ctl, CTL_OPT_ROUTING) || strcmp(routing, "leader") == 0) {
        o->routing = KV_ROUTE_LEADER;
    } else if (strcmp(routing, "endpoints") == 0) {
        o->routing = KV_ROUTE_ENDPOINTS;
    } else {
        return ctl_fail(CTL_USAGE, "\"%s\" is not one of: leader, endpoints", routing);
    }
    return CTL_OK;
}

static int options_parse(struct ctl *ctl, struct load_options *o)
{
    uint64_t clients = 64, flight = 1, rate = 0, bytes = 256;
    int status = CTL_OK;

    *o = (struct load_options){
        .weights = {[LOAD_PUT] = 1},
        .keys = "uniform",
        .keys_count = 100000,
        .warmup_ns = UINT64_C(1000) * NS_PER_MS,
        .duration_ns = ctl_has(ctl, CTL_OPT_COUNT) ? 0 : UINT64_C(10000) * NS_PER_MS,
        .seed = 1,
        .fill = ctl_has(ctl, CTL_OPT_FILL),
        .deadline_ms = ctl->timeout_ms,
        .sessions = KV_SESSIONS_OFF,
    };
    const struct {
        enum ctl_option option;
        uint64_t least, most;
        uint64_t *value;
    } numbers[] = {
        {CTL_OPT_CLIENTS, 1, LOAD_CLIENTS_MAX, &clients},
        {CTL_OPT_FLIGHT, 1, LOAD_FLIGHT_MAX, &flight},
        {CTL_OPT_RATE, 1, RATE_MAX, &rate},
        {CTL_OPT_BYTES, 0, BYTES_MAX, &bytes},
        {CTL_OPT_KEYS, 1, KEYS_MAX, &o->keys_count},
        {CTL_OPT_COUNT, 1, INT64_MAX, &o->count},
        {CTL_OPT_SEED, 0, INT64_MAX, &o->seed},
    };

    for (size_t i = 0; i < KV_ARRAY_COUNT(numbers) && status == CTL_OK; i++) {
        status = number(ctl, numbers[i].option, numbers[i].least, numbers[i].most,
                        numbers[i].value);
    }
    status =
        status == CTL_OK ? duration(ctl, CTL_OPT_DURATION, &o->duration_ns) : status;
    status = status == CTL_OK ? duration(ctl, CTL_OPT_WARMUP, &o->warmup_ns) : status;
    status = status == CTL_OK ? shape_parse(ctl, o) : status;
    if (status == CTL_OK && clients * flight > CALLS_MAX) {
        return ctl_fail(CTL_USAGE, "%llu calls under way are too many, %d at most",
                        (unsigned long long)(clients * flight), CALLS_MAX);
    }
    if (status == CTL_OK && o->duration_ns == 0 && o->count == 0) {
        return ctl_fail(CTL_USAGE,
                        "a bench without an end; give --duration or --count");
    }
    o->clients = (uint32_t)clients;
    o->flight = (uint32_t)flight;
    o->rate = (double)rate;
    o->value_bytes = (uint32_t)bytes;
    return status;
}

/* ---- output ---- */

static double ms(uint64_t ns)
{
    return (double)ns / NS_PER_MS;
}

static void on_progress(void *ctx, double elapsed_s, const struct hist *second,
                        uint64_t failed)
{
    (void)ctx;
    (void)fprintf(stderr, "\r%6.0f s  %8llu/s  p50 %8.3f ms  p99 %8.3f ms", elapsed_s,
                  (unsigned long long)second->count, ms(hist_quantile(second, 0.5)),
                  ms(hist_quantile(second, 0.99)));
    if (failed > 0) {
        (void)fprintf(stderr, "  %llu failed", (unsigned long long)failed);
    }
    (void)fputs("\033[K", stderr);
}

static json_t *hist_json(const struct hist *h)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"p50", 0.5},  {"p90", 0.9},     {"p95", 0.95},
                     {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};
    json_t *out = json_object();
    json_t *buckets = json_array();

    for (size_t i = 0; i < KV_ARRAY_COUNT(quantiles); i++) {
        ctl_json_set(out, quantiles[i].name,
                     json_real(ms(hist_quantile(h, quantiles[i].q))));
    }
    ctl_json_set(out, "max", json_real(ms(h->max)));
    ctl_json_set(out, "mean", json_real(hist_mean(h) / NS_PER_MS));
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        if (h->counts[i] != 0) {
            json_t *pair = json_array();

            (void)json_array_append_new(pair, json_real(ms(hist_bucket_max(i))));
            (void)json_array_append_new(pair, json_integer((json_int_t)h->counts[i]));
            (void)json_array_append_new(buckets, pair);
        }
    }
    ctl_json_set(out, "histogram", buckets);
    return out;
}

static json_t *options_json(const struct load_options *o)
{
    json_t *out = json_object();
    json_t *mix = json_object();

    for (uint32_t i = 0; i < LOAD_OPS_COUNT; i++) {
        if (o->weights[i] != 0) {
            ctl_json_set(mix, load_op_name((enum load_op)i),
                         json_integer(o->weights[i]));
        }
    }
    ctl_json_set(out, "mix", mix);
    ctl_json_set(out, "clients", json_integer(o->clients));
    ctl_json_set(out, "flight", json_integer(o->flight));
    ctl_json_set(out, "rate", o->rate > 0 ? json_real(o->rate) : json_null());
    ctl_json_set(out, "keys", json_integer((json_int_t)o->keys_count));
    ctl_json_set(out, "spread", json_string(o->keys));
    ctl_json_set(out, "bytes", json_integer(o->value_bytes));
    ctl_json_set(out, "warmup_s", json_real(ms(o->warmup_ns) / 1000));
    ctl_json_set(out, "session",
                 json_string(o->sessions == KV_SESSIONS_ON ? "on" : "off"));
    ctl_json_set(out, "routing",
                 json_string(o->routing == KV_ROUTE_LEADER ? "leader" : "endpoints"));
    ctl_json_set(out, "seed", json_integer((json_int_t)o->seed));
    return out;
}

static void json_report(const struct load_options *o, const struct load_result *r)
{
    double seconds = (double)r->elapsed_ns / 1e9;
    json_t *out = json_object();
    json_t *ops = json_object();
    json_t *errors = json_object();

    ctl_json_set(out, "options", options_json(o));
    ctl_json_set(out, "elapsed_s", json_real(seconds));
    for (uint32_t i = 0; i < LOAD_OPS_COUNT; i++) {
        const struct load_kind *k = &r->kinds[i];
        json_t *op = json_object();

        if (o->weights[i] == 0) {
            json_decref(op);
            continue;
        }
        ctl_json_set(op, "done", json_integer((json_int_t)k->done));
        ctl_json_set(op, "not_done", json_integer((json_int_t)k->not_done));
        ctl_json_set(op, "unknown", json_integer((json_int_t)k->unknown));
        ctl_json_set(op, "per_s",
                     json_real(seconds > 0 ? (double)k->done / seconds : 0));
        ctl_json_set(op, "latency_ms", hist_json(&k->latency_ns));
        ctl_json_set(ops, load_op_name((enum load_op)i), op);
    }
    ctl_json_set(out, "ops", ops);
    for (uint32_t i = 0; i < LOAD_ERRORS_MAX && r->errors[i].error != 0; i++) {
        ctl_json_set(errors, kv_errname(r->errors[i].error),
                     json_integer((json_int_t)r->errors[i].count));
    }
    ctl_json_set(out, "errors", errors);
    ctl_json_set(out, "missed", json_integer((json_int_t)r->missed));
    ctl_json_set(out, "interrupted", json_boolean(r->interrupted));
    ctl_json_print(out);
}

static void text_report(struct ctl *ctl, const struct load_options *o,
                        const struct load_result *r)
{
    static const char *const heads[] = {"op",      "done",   "per s",    "p50 ms",
                                        "p90 ms",  "p99 ms", "p99.9 ms", "max ms",
                                        "refused", "unknown"};
    double seconds = (double)r->elapsed_ns / 1e9;
    struct ctl_table t;

    ctl_table_begin(&t, ctl, LOAD_OPS_COUNT, heads, KV_ARRAY_COUNT(heads));
    for (uint32_t i = 0; i < LOAD_OPS_COUNT; i++) {
        const struct load_kind *k = &r->kinds[i];
        const struct hist *h = &k->latency_ns;

        if (o->weights[i] == 0) {
            continue;
        }
        const char *cells[] = {
            load_op_name((enum load_op)i),
            ctl_text(ctl, "%llu", (unsigned long long)k->done),
            ctl_text(ctl, "%.0f", seconds > 0 ? (double)k->done / seconds : 0),
            ctl_text(ctl, "%.3f", ms(hist_quantile(h, 0.5))),
            ctl_text(ctl, "%.3f", ms(hist_quantile(h, 0.9))),
            ctl_text(ctl, "%.3f", ms(hist_quantile(h, 0.99))),
            ctl_text(ctl, "%.3f", ms(hist_quantile(h, 0.999))),
            ctl_text(ctl, "%.3f", ms(h->max)),
            ctl_text(ctl, "%llu", (unsigned long long)k->not_done),
            ctl_text(ctl, "%llu", (unsigned long long)k->unknown),
        };

        ctl_table_row(&t, cells);
    }
    ctl_table_print(&t);
    for (uint32_t i = 0; i < LOAD_ERRORS_MAX && r->errors[i].error != 0; i++) {
        printf("%llu times %s\n", (unsigned long long)r->errors[i].count,
               kv_errname(r->errors[i].error));
    }
    if (r->missed > 0) {
        printf("%llu calls that were due never began: the cluster is slower than %.0f "
               "calls a second\n",
               (unsigned long long)r->missed, o->rate);
    }
    if (r->error[0] != '\0') {
        printf("the first error: %s\n", r->error);
    }
}

/* ---- the command ---- */

/* What the run as a whole was. */
static int status_of(const struct load_result *r)
{
    uint64_t done = 0, unknown = 0;

    for (uint32_t i = 0; i < LOAD_OPS_COUNT; i++) {
        done += r->kinds[i].done;
        unknown += r->kinds[i].unknown;
    }
    return done > 0 ? CTL_OK : unknown > 0 ? CTL_UNKNOWN : CTL_REFUSED;
}

int ctl_bench(struct ctl *ctl)
{
    struct load_options o;
    struct load_result *r;
    bool is_shown = isatty(STDERR_FILENO) == 1;
    int status = options_parse(ctl, &o);
    int rc;

    status = status == CTL_OK ? ctl_endpoints(ctl) : status;
    if (status != CTL_OK) {
        return status;
    }
    o.endpoints = ctl->endpoints;
    o.progress = is_shown ? on_progress : NULL;
    r = arena_zalloc(&ctl->arena, sizeof *r);
    if (r == NULL) {
        return ctl_fail(CTL_DATA, "%s", kv_strerror(KV_ERR_NO_MEMORY));
    }
    rc = load_run(&o, r);
    if (is_shown) {
        (void)fputs("\r\033[K", stderr);
    }
    if (rc == KV_ERR_INVALID) {
        return ctl_endpoints_wrong(ctl);
    }
    if (rc != 0) {
        return ctl_fail(rc == KV_ERR_CONNECT ? CTL_CONNECT : CTL_REFUSED,
                        "%s. Try: kvctl status",
                        r->error[0] != '\0' ? r->error : kv_strerror(rc));
    }
    if (ctl->format == CTL_JSON) {
        json_report(&o, r);
    } else {
        text_report(ctl, &o, r);
    }
    return status_of(r);
}
