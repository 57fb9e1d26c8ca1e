/* client/kvctl_kv.c - the commands on keys: put get getset del cas incr range. */
#include "client/kvctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    KEY_BYTES_MAX = 480,
    VALUE_BYTES_MAX = 1024 * 1024,
    RANGE_PAGE = 1000, /* Items asked for at a time. */
};

/* ---- values ---- */

/* Reads all of stdin. Returns CTL_OK or an exit status after a message. */
static int stdin_read(struct ctl *ctl, struct kv_view *out)
{
    char *bytes = arena_alloc(&ctl->arena, VALUE_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t count;

    if (bytes == NULL) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    while (len <= VALUE_BYTES_MAX) {
        count = read(STDIN_FILENO, bytes + len, VALUE_BYTES_MAX + 1 - len);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return ctl_fail(CTL_DATA, "cannot read stdin: %s", strerror(errno));
        }
        if (count == 0) {
            *out = kv_mem(bytes, len);
            return CTL_OK;
        }
        len += (size_t)count;
    }
    return ctl_fail(CTL_USAGE,
                    "the value from stdin is longer than 1 MiB; split it over "
                    "several keys");
}

/* A value of the command line, or stdin for "-". */
static int value_take(struct ctl *ctl, const char *word, struct kv_view *out)
{
    if (strcmp(word, "-") == 0) {
        return stdin_read(ctl, out);
    }
    *out = kv_str(word);
    return CTL_OK;
}

static json_t *json_result(const struct kv_result *r)
{
    json_t *out = json_object();

    ctl_json_set(out, "rev", json_integer((json_int_t)r->rev));
    if (r->repeated) {
        ctl_json_set(out, "repeated", json_true());
    }
    if (r->ats_count > 0) {
        ctl_json_set(out, "at", ctl_json_at(&r->at));
    }
    return out;
}

/* One row: KEY, what happened, REV. */
static void table_one(struct ctl *ctl, const char *what, const char *text, uint64_t rev)
{
    const char *const heads[] = {"KEY", what, "REV"};
    const char *const cells[] = {ctl_escape(ctl, kv_str(ctl->words[0])), text,
                                 ctl_text(ctl, "%llu", (unsigned long long)rev)};
    struct ctl_table t;

    ctl_table_begin(&t, ctl, 1, heads, 3);
    ctl_table_row(&t, cells);
    ctl_table_print(&t);
}

/* A write with --if-rev that was not carried out: says so, and frees the result. */
static int not_swapped(struct ctl *ctl, const struct kv_result *r)
{
    int status;

    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_set(out, "swapped", json_false());
        ctl_json_print(out);
        status = CTL_NO;
    } else {
        status = ctl_fail(CTL_NO, "the revision of %s is %llu; nothing was changed",
                          ctl_escape(ctl, kv_str(ctl->words[0])),
                          (unsigned long long)r->rev);
    }
    kv_result_free(r);
    return status;
}

static bool is_swapped(const struct ctl *ctl, const struct kv_result *r)
{
    return r->swapped || !ctl_has(ctl, CTL_OPT_IF_REV);
}

/* ---- commands ---- */

/* --ttl of a key. CTL_OK, or CTL_USAGE after a message. */
static int ttl_take(const struct ctl *ctl, struct kv_request *out)
{
    if (ctl_has(ctl, CTL_OPT_TTL)) {
        out->ttl_ms = ctl_time_parse(ctl->values[CTL_OPT_TTL]);
        if (out->ttl_ms == 0) {
            return ctl_fail(CTL_USAGE, "\"%s\" is not a time; write it like: --ttl 10s",
                            ctl->values[CTL_OPT_TTL]);
        }
    }
    return CTL_OK;
}

/* `put` and `getset`: KEY VALUE. */
static int set_call(struct ctl *ctl, enum kv_op op, const struct kv_result **out)
{
    struct kv_request request = kv_request_make(op, kv_str(ctl->words[0]));
    int status = value_take(ctl, ctl->words[1], &request.value);

    if (status == CTL_OK) {
        status = ttl_take(ctl, &request);
    }
    return status == CTL_OK ? ctl_call(ctl, request, out) : status;
}

int ctl_put(struct ctl *ctl)
{
    const struct kv_result *r;
    int status = set_call(ctl, KV_OP_PUT, &r);

    if (status != CTL_OK) {
        return status;
    }
    if (!is_swapped(ctl, r)) {
        return not_swapped(ctl, r);
    }
    if (ctl->format == CTL_JSON) {
        ctl_json_print(json_result(r));
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "RESULT", "OK", r->rev);
    } else if (isatty(STDOUT_FILENO)) {
        printf("OK\n"); /* For people; scripts have the exit status. */
    }
    kv_result_free(r);
    return CTL_OK;
}

/* Bytes and a newline, or exactly the bytes. */
static void print_value(const struct ctl *ctl, struct kv_view value)
{
    (void)fwrite(value.data, 1, value.len, stdout);
    if (!ctl_has(ctl, CTL_OPT_RAW)) {
        (void)fputc('\n', stdout);
    }
}

static const char *const level_names[] = {"linearizable", "quorum", "session", "stale"};

/* Level and bound of a read. Returns CTL_OK, or CTL_USAGE after a message. */
static int level_take(const struct ctl *ctl, struct kv_request *out)
{
    const char *name = ctl->values[CTL_OPT_LEVEL];
    uint32_t level = 0;

    if (ctl_has(ctl, CTL_OPT_LEVEL)) {
        while (level < 4 && strcmp(name, level_names[level]) != 0) {
            level++;
        }
        if (level == 4) {
            return ctl_fail(
                CTL_USAGE,
                "\"%s\" is no level; it is linearizable, quorum, session or "
                "stale",
                name);
        }
        out->level = (enum kv_level)level;
    }
    if (ctl_has(ctl, CTL_OPT_MAX_AGE)) {
        out->max_age_ms = ctl_time_parse(ctl->values[CTL_OPT_MAX_AGE]);
        if (out->max_age_ms == 0) {
            return ctl_fail(CTL_USAGE,
                            "\"%s\" is not a time; write it like: --max-age 500ms",
                            ctl->values[CTL_OPT_MAX_AGE]);
        }
    }
    return CTL_OK;
}

static void explain(const struct ctl *ctl, const struct kv_at *at)
{
    if (ctl_has(ctl, CTL_OPT_EXPLAIN)) {
        fprintf(stderr, "level=%s group=%u rev=%llu term=%llu node=%u age_ms=%llu\n",
                level_names[(unsigned)at->level & 3], at->group,
                (unsigned long long)at->rev, (unsigned long long)at->term, at->node,
                (unsigned long long)at->age_ms);
    }
}

int ctl_get(struct ctl *ctl)
{
    struct kv_request request = kv_get(kv_str(ctl->words[0]));
    const struct kv_result *r;
    int status = level_take(ctl, &request);

    if (status == CTL_OK) {
        status = ctl_call(ctl, request, &r);
    }
    if (status != CTL_OK) {
        return status;
    }
    explain(ctl, &r->at);
    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_bytes(out, "key", kv_str(ctl->words[0]));
        ctl_json_set(out, "found", json_boolean(r->found));
        ctl_json_bytes(out, "value", r->value);
        if (r->ttl_ms > 0) {
            ctl_json_set(out, "ttl_ms", json_integer(r->ttl_ms));
        }
        ctl_json_print(out);
    } else if (!r->found) {
        (void)ctl_fail(CTL_NO, "key not found: %s",
                       ctl_escape(ctl, kv_str(ctl->words[0])));
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "VALUE", ctl_escape(ctl, r->value), r->rev);
    } else {
        print_value(ctl, r->value);
    }
    status = r->found ? CTL_OK : CTL_NO;
    kv_result_free(r);
    return status;
}

int ctl_del(struct ctl *ctl)
{
    const struct kv_result *r;
    int status;

    if (ctl->words_count != 1 || ctl_has(ctl, CTL_OPT_RANGE) ||
        ctl_has(ctl, CTL_OPT_PREFIX) || ctl_has(ctl, CTL_OPT_FROM)) {
        return ctl_del_range(ctl);
    }
    status = ctl_call(ctl, kv_del(kv_str(ctl->words[0])), &r);
    if (status != CTL_OK) {
        return status;
    }
    if (!is_swapped(ctl, r)) {
        return not_swapped(ctl, r);
    }
    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_set(out, "deleted", json_boolean(r->deleted));
        ctl_json_print(out);
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "RESULT", r->deleted ? "deleted" : "not found", r->rev);
    } else if (!r->deleted) {
        (void)ctl_fail(CTL_NO, "key not found: %s",
                       ctl_escape(ctl, kv_str(ctl->words[0])));
    } else if (isatty(STDOUT_FILENO)) {
        printf("OK\n");
    }
    status = r->deleted ? CTL_OK : CTL_NO;
    kv_result_free(r);
    return status;
}

int ctl_getset(struct ctl *ctl)
{
    const struct kv_result *r;
    int status = set_call(ctl, KV_OP_GETSET, &r);

    if (status != CTL_OK) {
        return status;
    }
    if (!is_swapped(ctl, r)) {
        return not_swapped(ctl, r);
    }
    status = r->found ? CTL_OK : CTL_NO;
    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_set(out, "found", json_boolean(r->found));
        ctl_json_bytes(out, "value", r->value);
        ctl_json_print(out);
    } else if (!r->found) {
        (void)ctl_fail(CTL_NO, "there was no such key; it is set now: %s",
                       ctl_escape(ctl, kv_str(ctl->words[0])));
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "BEFORE", ctl_escape(ctl, r->value), r->rev);
    } else {
        print_value(ctl, r->value);
    }
    kv_result_free(r);
    return status;
}

/* Which words are what depends on --absent and --delete. */
static int cas_request(struct ctl *ctl, struct kv_request *out)
{
    bool is_absent = ctl_has(ctl, CTL_OPT_ABSENT);
    bool is_delete = ctl_has(ctl, CTL_OPT_DELETE);
    struct kv_view expected = kv_nil();
    struct kv_view value = kv_nil();
    int status = CTL_OK;

    if (is_absent && is_delete) {
        return ctl_fail(CTL_USAGE, "--absent and --delete exclude each other");
    }
    if (ctl->words_count != 3 - is_absent - is_delete) {
        return ctl_fail(CTL_USAGE, "cas takes KEY EXPECTED NEW; with --absent only KEY "
                                   "NEW, with --delete only KEY EXPECTED");
    }
    if (!is_absent && !is_delete && strcmp(ctl->words[1], "-") == 0 &&
        strcmp(ctl->words[2], "-") == 0) {
        return ctl_fail(CTL_USAGE, "only one of EXPECTED and NEW can come from stdin");
    }
    if (!is_absent) {
        status = value_take(ctl, ctl->words[1], &expected);
    }
    if (status == CTL_OK && !is_delete) {
        status = value_take(ctl, ctl->words[ctl->words_count - 1], &value);
    }
    *out = kv_cas(kv_str(ctl->words[0]), expected, value);
    return status;
}

int ctl_cas(struct ctl *ctl)
{
    const struct kv_result *r;
    struct kv_request request;
    int status = cas_request(ctl, &request);

    if (status == CTL_OK) {
        status = ctl_call(ctl, request, &r);
    }
    if (status != CTL_OK) {
        return status;
    }
    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_set(out, "swapped", json_boolean(r->swapped));
        if (!r->swapped) {
            ctl_json_bytes(out, "value", r->value);
        }
        ctl_json_print(out);
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "RESULT", r->swapped ? "swapped" : "not swapped", r->rev);
    } else if (!r->swapped) {
        (void)ctl_fail(CTL_NO, "not swapped: %s %s%s",
                       ctl_escape(ctl, kv_str(ctl->words[0])),
                       r->found ? "holds " : "does not exist",
                       r->found ? ctl_escape(ctl, r->value) : "");
    } else if (isatty(STDOUT_FILENO)) {
        printf("OK\n");
    }
    status = r->swapped ? CTL_OK : CTL_NO;
    kv_result_free(r);
    return status;
}

int ctl_incr(struct ctl *ctl)
{
    const struct kv_result *r;
    const char *text = ctl->words_count == 2 ? ctl->words[1] : "1";
    char *end = NULL;
    long long delta;
    int status;

    errno = 0;
    delta = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0) {
        return ctl_fail(CTL_USAGE,
                        "\"%s\" is not a whole number of 64 bits; write it "
                        "like: kvctl incr counter 5",
                        text);
    }
    status = ctl_call(ctl, kv_incr(kv_str(ctl->words[0]), delta), &r);
    if (status != CTL_OK) {
        return status;
    }
    if (ctl->format == CTL_JSON) {
        json_t *out = json_result(r);

        ctl_json_set(out, "value", json_integer(r->number));
        ctl_json_print(out);
    } else if (ctl->format == CTL_TABLE) {
        table_one(ctl, "VALUE", ctl_text(ctl, "%lld", (long long)r->number), r->rev);
    } else {
        printf("%lld\n", (long long)r->number);
    }
    kv_result_free(r);
    return CTL_OK;
}

/* ---- range ---- */

/* What a range listing has printed so far. */
struct range_out {
    json_t *items;
    uint64_t count;
};

static void range_json_item(struct ctl *ctl, struct range_out *out,
                            const struct kv_item *item)
{
    json_t *object = json_object();

    ctl_json_bytes(object, "key", item->key);
    if (!ctl_has(ctl, CTL_OPT_KEYS_ONLY)) {
        ctl_json_bytes(object, "value", item->value);
    }
    ctl_json_set(object, "rev", json_integer((json_int_t)item->rev));
    (void)json_array_append_new(out->items, object);
}

static void print_bytes(const struct ctl *ctl, struct kv_view bytes)
{
    if (ctl_has(ctl, CTL_OPT_RAW)) {
        (void)fwrite(bytes.data, 1, bytes.len, stdout);
    } else {
        ctl_print_escaped(bytes);
    }
}

static void range_simple_item(const struct ctl *ctl, const struct kv_item *item)
{
    print_bytes(ctl, item->key);
    if (!ctl_has(ctl, CTL_OPT_KEYS_ONLY)) {
        (void)fputc('\t', stdout);
        print_bytes(ctl, item->value);
    }
    (void)fputc('\n', stdout);
}

static void range_table(struct ctl *ctl, const struct kv_result *r)
{
    static const char *const heads[] = {"KEY", "REV", "VALUE"};
    int columns = ctl_has(ctl, CTL_OPT_KEYS_ONLY) ? 2 : 3;
    struct ctl_table t;

    ctl_table_begin(&t, ctl, (uint32_t)r->items_count, heads, columns);
    for (size_t i = 0; i < r->items_count; i++) {
        const char *const cells[] = {
            ctl_escape(ctl, r->items[i].key),
            ctl_text(ctl, "%llu", (unsigned long long)r->items[i].rev),
            columns == 3 ? ctl_escape(ctl, r->items[i].value) : "",
        };

        ctl_table_row(&t, cells);
    }
    ctl_table_print(&t);
}

static void range_print(struct ctl *ctl, struct range_out *out,
                        const struct kv_result *r)
{
    if (ctl->format == CTL_TABLE) {
        range_table(ctl, r);
    }
    for (size_t i = 0; i < r->items_count && ctl->format != CTL_TABLE; i++) {
        if (ctl->format == CTL_JSON) {
            range_json_item(ctl, out, &r->items[i]);
        } else {
            range_simple_item(ctl, &r->items[i]);
        }
    }
    out->count += r->items_count;
}

/* Asks page by page until the end or the limit. */
static int range_pages(struct ctl *ctl, struct kv_view begin, struct kv_view end,
                       struct range_out *out)
{
    uint8_t next[KEY_BYTES_MAX + 1]; /* The longest key, and a zero byte. */
    const struct kv_result *r;
    struct kv_request request;
    bool more = true;
    int status;

    while (more && (ctl->limit == 0 || out->count < ctl->limit)) {
        uint64_t left = ctl->limit == 0 ? RANGE_PAGE : ctl->limit - out->count;

        request = kv_range(begin, end);
        request.limit = (uint32_t)KV_MIN(left, RANGE_PAGE);
        status = ctl_call(ctl, request, &r);
        if (status != CTL_OK) {
            return status;
        }
        range_print(ctl, out, r);
        more = r->more && r->next.len <= sizeof next;
        if (more) {
            memcpy(next, r->next.data, r->next.len);
            begin = kv_mem(next, r->next.len);
        }
        kv_result_free(r);
    }
    return CTL_OK;
}

int ctl_range(struct ctl *ctl)
{
    uint8_t end_bytes[KEY_BYTES_MAX];
    struct kv_view begin = kv_str(ctl->words_count > 0 ? ctl->words[0] : "");
    struct kv_view end = kv_str(ctl->words_count > 1 ? ctl->words[1] : "");
    struct range_out out = {0};
    int status;

    if (ctl_has(ctl, CTL_OPT_PREFIX)) {
        const char *prefix = ctl->values[CTL_OPT_PREFIX];

        if (ctl->words_count > 0) {
            return ctl_fail(CTL_USAGE, "--prefix and BEGIN exclude each other");
        }
        if (strlen(prefix) > KEY_BYTES_MAX) {
            return ctl_fail(CTL_USAGE, "the prefix is longer than 480 bytes");
        }
        begin = kv_str(prefix);
        end = kv_mem(end_bytes, ctl_prefix_end(prefix, end_bytes));
    }
    status = ctl_open(ctl);
    if (status != CTL_OK) {
        return status;
    }
    out.items = ctl->format == CTL_JSON ? json_array() : NULL;
    status = range_pages(ctl, begin, end, &out);
    if (ctl->format == CTL_JSON && status == CTL_OK) {
        json_t *object = json_object();

        ctl_json_set(object, "items", out.items);
        out.items = NULL;
        ctl_json_print(object);
    }
    json_decref(out.items);
    return status;
}
