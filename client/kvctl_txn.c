/* client/kvctl_txn.c - the command txn: a transaction word by word. */
#include "client/kvctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TXN_ITEMS_MAX = 128, /* Of each list. */
};

/* The words on their way into lists. */
struct parse {
    struct ctl *ctl;
    int at; /* The next word. */
    struct kv_compare compares[TXN_ITEMS_MAX];
    struct kv_txn_op ops[2][TXN_ITEMS_MAX];
    size_t compares_count;
    size_t ops_count[2];
};

static const struct verb_row {
    const char *name;
    enum kv_op op;
    int words; /* Behind the name. */
} verb_rows[] = {
    {"get", KV_OP_GET, 1},   {"put", KV_OP_PUT, 2},     {"del", KV_OP_DEL, 1},
    {"incr", KV_OP_INCR, 2}, {"range", KV_OP_RANGE, 2},
};

static const char *const test_names[] = {"=", "!=", "<", ">", "<=", ">="};

/* The words from here on, when there are so many. NULL after a message otherwise. */
static const char *const *take(struct parse *p, int count, const char *what)
{
    const char *const *words = p->ctl->words + p->at;

    if (p->ctl->words_count - p->at < count) {
        (void)ctl_fail(CTL_USAGE, "txn: %s takes %d words; see: kvctl help txn", what,
                       count);
        return NULL;
    }
    p->at += count;
    return words;
}

static bool number_read(const char *text, bool is_signed, int64_t *out)
{
    char *end = NULL;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && (is_signed || *out >= 0);
}

static int parse_compare(struct parse *p)
{
    struct kv_compare *c = &p->compares[p->compares_count];
    const char *const *w = take(p, 4, "if");
    int64_t rev;
    size_t test = 0;

    if (w == NULL) {
        return CTL_USAGE;
    }
    if (p->compares_count == TXN_ITEMS_MAX) {
        return ctl_fail(CTL_USAGE, "txn: more than %d compares", TXN_ITEMS_MAX);
    }
    while (test < KV_ARRAY_COUNT(test_names) && strcmp(w[2], test_names[test]) != 0) {
        test++;
    }
    if (test == KV_ARRAY_COUNT(test_names)) {
        return ctl_fail(CTL_USAGE, "txn: \"%s\" is none of = != < > <= >=", w[2]);
    }
    p->compares_count++;
    c->test = (enum kv_test)test;
    c->key = kv_str(w[1]);
    if (strcmp(w[0], "value") == 0) {
        c->what = KV_WHAT_VALUE;
        c->value = kv_str(w[3]);
    } else if (strcmp(w[0], "rev") == 0 && number_read(w[3], false, &rev)) {
        c->what = KV_WHAT_REV;
        c->rev = (uint64_t)rev;
    } else if (strcmp(w[0], "exists") == 0 &&
               (strcmp(w[3], "true") == 0 || strcmp(w[3], "false") == 0)) {
        c->what = KV_WHAT_EXISTS;
        c->exists = w[3][0] == 't';
    } else if (strcmp(w[0], "lease") == 0 && number_read(w[3], false, &rev)) {
        c->what = KV_WHAT_LEASE;
        c->rev = (uint64_t)rev;
    } else if (strcmp(w[0], "lock") == 0 && number_read(w[3], false, &rev) && rev > 0) {
        c->what = KV_WHAT_LOCK;
        c->rev = (uint64_t)rev;
    } else {
        return ctl_fail(
            CTL_USAGE,
            "txn: \"if %s KEY %s %s\" is not: value KEY OP VALUE, rev KEY "
            "OP N, exists KEY = true|false, lock NAME = TOKEN, lease KEY OP MS",
            w[0], w[2], w[3]);
    }
    return CTL_OK;
}

/* `ttl 10s` behind a put. */
static int parse_ttl(struct parse *p, struct kv_txn_op *op)
{
    const char *const *w;

    if (p->at >= p->ctl->words_count || strcmp(p->ctl->words[p->at], "ttl") != 0) {
        return CTL_OK;
    }
    w = take(p, 2, "put KEY VALUE ttl");
    op->ttl_ms = w == NULL ? 0 : ctl_time_parse(w[1]);
    return op->ttl_ms > 0 ? CTL_OK
                          : ctl_fail(CTL_USAGE, "txn: behind ttl stands a time: 10s");
}

static int parse_op(struct parse *p, int list)
{
    struct kv_txn_op *op = &p->ops[list][p->ops_count[list]];
    const char *const *name = take(p, 1, list == 0 ? "then" : "else");
    const struct verb_row *row = NULL;
    const char *const *w;

    if (name == NULL) {
        return CTL_USAGE;
    }
    for (size_t i = 0; i < KV_ARRAY_COUNT(verb_rows); i++) {
        row = strcmp(name[0], verb_rows[i].name) == 0 ? &verb_rows[i] : row;
    }
    if (row == NULL) {
        return ctl_fail(CTL_USAGE, "txn: \"%s\" is none of get put del incr range",
                        name[0]);
    }
    w = take(p, row->words, row->name);
    if (w == NULL) {
        return CTL_USAGE;
    }
    if (p->ops_count[list] == TXN_ITEMS_MAX) {
        return ctl_fail(CTL_USAGE, "txn: more than %d operations", TXN_ITEMS_MAX);
    }
    p->ops_count[list]++;
    op->op = row->op;
    op->key = kv_str(w[0]);
    if (row->op == KV_OP_PUT || row->op == KV_OP_RANGE) {
        op->value = kv_str(w[1]);
        return row->op == KV_OP_PUT ? parse_ttl(p, op) : CTL_OK;
    }
    if (row->op == KV_OP_INCR && !number_read(w[1], true, &op->delta)) {
        return ctl_fail(CTL_USAGE, "txn: \"%s\" is not a whole number of 64 bits",
                        w[1]);
    }
    return CTL_OK;
}

static int parse_words(struct parse *p)
{
    int status = CTL_OK;

    while (status == CTL_OK && p->at < p->ctl->words_count) {
        const char *word = p->ctl->words[p->at++];

        if (strcmp(word, "if") == 0) {
            status = parse_compare(p);
        } else if (strcmp(word, "then") == 0 || strcmp(word, "else") == 0) {
            status = parse_op(p, word[0] == 'e');
        } else {
            status = ctl_fail(CTL_USAGE,
                              "txn: \"%s\" stands where if, then or else must stand; "
                              "see: kvctl help txn",
                              word);
        }
    }
    return status;
}

/* ---- what comes out ---- */

static json_t *json_items(const struct kv_txn_result *r)
{
    json_t *out = json_array();

    for (size_t i = 0; i < r->items_count; i++) {
        json_t *item = json_object();

        ctl_json_bytes(item, "key", r->items[i].key);
        ctl_json_bytes(item, "value", r->items[i].value);
        ctl_json_set(item, "rev", json_integer((json_int_t)r->items[i].rev));
        (void)json_array_append_new(out, item);
    }
    return out;
}

static json_t *json_one(const struct kv_txn_op *op, const struct kv_txn_result *r)
{
    json_t *out = json_object();

    ctl_json_bytes(out, "key", op->key);
    if (op->op == KV_OP_RANGE) {
        ctl_json_set(out, "items", json_items(r));
        ctl_json_set(out, "more", json_boolean(r->more));
        return out;
    }
    ctl_json_set(out, "rev", json_integer((json_int_t)r->rev));
    if (op->op == KV_OP_GET) {
        ctl_json_set(out, "found", json_boolean(r->found));
        ctl_json_bytes(out, "value", r->value);
    } else if (op->op == KV_OP_DEL) {
        ctl_json_set(out, "deleted", json_boolean(r->deleted));
    } else if (op->op == KV_OP_INCR) {
        ctl_json_set(out, "value", json_integer(r->number));
    }
    return out;
}

/* One line: a value, what happened, or a range's rows one below the other. */
static void print_one(const struct kv_txn_op *op, const struct kv_txn_result *r)
{
    switch (op->op) {
    case KV_OP_GET:
        if (r->found) {
            ctl_print_escaped(r->value);
            (void)fputc('\n', stdout);
        } else {
            (void)puts("(not found)");
        }
        return;
    case KV_OP_DEL:
        (void)puts(r->deleted ? "deleted" : "(not found)");
        return;
    case KV_OP_INCR:
        printf("%lld\n", (long long)r->number);
        return;
    case KV_OP_RANGE:
        for (size_t i = 0; i < r->items_count; i++) {
            ctl_print_escaped(r->items[i].key);
            (void)fputc('\t', stdout);
            ctl_print_escaped(r->items[i].value);
            (void)fputc('\n', stdout);
        }
        if (r->more) {
            (void)puts("(more)");
        }
        return;
    default:
        (void)puts("OK");
        return;
    }
}

static void print_result(struct ctl *ctl, const struct parse *p,
                         const struct kv_result *r)
{
    const struct kv_txn_op *ops = p->ops[r->succeeded ? 0 : 1];
    json_t *object;
    json_t *list;

    if (ctl->format != CTL_JSON) {
        for (size_t i = 0; i < r->results_count; i++) {
            print_one(&ops[i], &r->results[i]);
        }
        return;
    }
    object = json_object();
    list = json_array();
    for (size_t i = 0; i < r->results_count; i++) {
        (void)json_array_append_new(list, json_one(&ops[i], &r->results[i]));
    }
    ctl_json_set(object, "succeeded", json_boolean(r->succeeded));
    ctl_json_set(object, "rev", json_integer((json_int_t)r->rev));
    ctl_json_set(object, "at", ctl_json_at(&r->at));
    ctl_json_set(object, "results", list);
    ctl_json_print(object);
}

int ctl_txn(struct ctl *ctl)
{
    struct parse *p = arena_zalloc(&ctl->arena, sizeof *p);
    const struct kv_result *r;
    struct kv_txn txn;
    int status;

    if (p == NULL) {
        return ctl_fail(CTL_DATA, "out of memory");
    }
    p->ctl = ctl;
    status = parse_words(p);
    if (status == CTL_OK) {
        txn = (struct kv_txn){
            .compares = p->compares,
            .then = p->ops[0],
            .otherwise = p->ops[1],
            .compares_count = p->compares_count,
            .then_count = p->ops_count[0],
            .otherwise_count = p->ops_count[1],
        };
        status = ctl_call(ctl, kv_transact(&txn), &r);
    }
    if (status != CTL_OK) {
        return status;
    }
    if (r->repeated) {
        (void)ctl_fail(CTL_OK, "it was done before; its results are not kept");
        status = r->succeeded ? CTL_OK : CTL_NO;
    } else if (r->results_count != p->ops_count[r->succeeded ? 0 : 1]) {
        status = ctl_fail(CTL_DATA, "the node's results do not fit the operations");
    } else {
        print_result(ctl, p, r);
        status = r->succeeded ? CTL_OK : CTL_NO;
    }
    kv_result_free(r);
    return status;
}
