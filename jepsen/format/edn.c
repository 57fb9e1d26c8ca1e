/* jepsen/format/edn.c - a bounded reader of EDN, form by form. */
#include "jepsen/format/edn.h"

#include "raft/base/err.h"

void edn_init(struct edn_reader *r, struct kv_bytes input)
{
    *r = (struct edn_reader){.data = input.data, .len = input.len, .line = 1};
}

static int wrong(struct edn_reader *r, const char *why)
{
    r->why = why;
    return KV_EFORMAT;
}

static int peek(const struct edn_reader *r)
{
    return r->at < r->len ? r->data[r->at] : -1;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == '\f';
}

/* Ends a token. */
static bool is_border(int c)
{
    return c < 0 || is_blank(c) || (c != 0 && strchr("()[]{}\";", c) != NULL);
}

/* Blanks and comments. */
static void skip_blanks(struct edn_reader *r)
{
    bool in_comment = false;

    for (; r->at < r->len; r->at++) {
        int c = r->data[r->at];

        if (c == '\n') {
            r->line++;
            in_comment = false;
        } else if (c == ';') {
            in_comment = true;
        } else if (!in_comment && !is_blank(c)) {
            return;
        }
    }
}

static struct kv_bytes token(struct edn_reader *r)
{
    size_t begin = r->at;

    while (!is_border(peek(r))) {
        r->at++;
    }
    return kv_bytes(r->data + begin, r->at - begin);
}

/* [+-]digits[N], within 64 bits. */
static int integer_read(struct edn_reader *r, struct kv_bytes t, struct edn_node *n)
{
    bool is_negative = t.data[0] == '-';
    size_t i = t.data[0] == '-' || t.data[0] == '+' ? 1 : 0;
    uint64_t limit = (uint64_t)INT64_MAX + is_negative;
    uint64_t sum = 0;

    for (; i < t.len; i++) {
        uint64_t digit = (uint64_t)t.data[i] - '0';

        if (i + 1 == t.len && t.data[i] == 'N') {
            break;
        }
        if (digit > 9) {
            n->kind = EDN_OTHER; /* 1.5, 1/2, 1e3 */
            return 0;
        }
        if (sum > (limit - digit) / 10) {
            return wrong(r, "an integer does not fit into 64 bits");
        }
        sum = sum * 10 + digit;
    }
    n->kind = EDN_INT;
    n->integer = is_negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return 0;
}

static int token_read(struct edn_reader *r, struct edn_node *n)
{
    struct kv_bytes t = token(r);
    size_t sign;

    n->text = t;
    if (t.len == 0) {
        return wrong(r, "a bracket without its partner");
    }
    if (t.data[0] == ':') {
        n->kind = EDN_KEYWORD;
        n->text = kv_bytes(t.data + 1, t.len - 1);
        return t.len > 1 ? 0 : wrong(r, "a colon alone");
    }
    sign = t.data[0] == '-' || t.data[0] == '+';
    if (t.len > sign && t.data[sign] >= '0' && t.data[sign] <= '9') {
        return integer_read(r, t, n);
    }
    n->kind = EDN_OTHER;
    if (kv_bytes_equal(t, kv_bytes_str("nil"))) {
        n->kind = EDN_NIL;
    } else if (kv_bytes_equal(t, kv_bytes_str("true")) ||
               kv_bytes_equal(t, kv_bytes_str("false"))) {
        n->kind = EDN_BOOL;
        n->integer = t.data[0] == 't';
    }
    return 0;
}

static int string_read(struct edn_reader *r, struct edn_node *n)
{
    size_t begin = ++r->at;

    for (; r->at < r->len; r->at++) {
        int c = r->data[r->at];

        r->line += c == '\n';
        if (c == '"') {
            n->kind = EDN_STRING;
            n->text = kv_bytes(r->data + begin, r->at - begin);
            r->at++;
            return 0;
        }
        r->at += c == '\\';
    }
    r->at = r->len;
    return wrong(r, "a string without an end");
}

static int form_read(struct edn_reader *r, struct arena *a, uint32_t depth,
                     struct edn_node **out);

/* Children up to the closing bracket. */
static int children_read(struct edn_reader *r, struct arena *a, uint32_t depth,
                         int close, struct edn_node *parent)
{
    struct edn_node **tail = &parent->first;
    size_t begin = r->at++;

    if (depth >= EDN_DEPTH_MAX) {
        return wrong(r, "too deep");
    }
    parent->kind = close == '}' ? EDN_MAP : EDN_LIST;
    for (;;) {
        int rc;

        skip_blanks(r);
        if (peek(r) < 0) {
            return wrong(r, "a bracket that is never closed");
        }
        if (peek(r) == close) {
            r->at++;
            parent->text = kv_bytes(r->data + begin, r->at - begin);
            return 0;
        }
        *tail = NULL;
        rc = form_read(r, a, depth + 1, tail);
        if (rc != 0) {
            return rc;
        }
        if (*tail != NULL) {
            parent->count++;
            tail = &(*tail)->next;
        }
    }
}

/* What begins with a hash: a set; #_ and its form (nothing then); a tag and its form.
 */
static int hash_read(struct edn_reader *r, struct arena *a, uint32_t depth,
                     struct edn_node **out)
{
    int rc;

    r->at++;
    if (peek(r) == '{') {
        struct edn_node *n = *out;

        rc = children_read(r, a, depth, '}', n);
        n->kind = EDN_LIST;
        return rc;
    }
    if (depth >= EDN_DEPTH_MAX) {
        return wrong(r, "too deep");
    }
    if (peek(r) == '_') {
        r->at++;
        skip_blanks(r);
        rc = form_read(r, a, depth + 1, out);
        *out = NULL;
        return rc;
    }
    if (token(r).len == 0) {
        return wrong(r, "a hash alone");
    }
    skip_blanks(r);
    return form_read(r, a, depth + 1, out);
}

/* Reads the form at `at`, where no blank stands. *out is NULL for #_. */
static int form_read(struct edn_reader *r, struct arena *a, uint32_t depth,
                     struct edn_node **out)
{
    struct edn_node *n = arena_zalloc(a, sizeof *n);
    int rc = 0;

    if (n == NULL) {
        return KV_ENOMEM;
    }
    *out = n;
    switch (peek(r)) {
    case -1:
        return wrong(r, "the end of the input, where a form must follow");
    case '[':
        return children_read(r, a, depth, ']', n);
    case '(':
        return children_read(r, a, depth, ')', n);
    case '{':
        rc = children_read(r, a, depth, '}', n);
        return rc == 0 && n->count % 2 != 0 ? wrong(r, "a map with a key alone") : rc;
    case '"':
        return string_read(r, n);
    case '#':
        return hash_read(r, a, depth, out);
    case '\\':
        r->at += r->len - r->at > 1 ? 2 : 1; /* The character may be a border. */
        n->kind = EDN_OTHER;
        (void)token(r);
        return 0;
    default:
        return token_read(r, n);
    }
}

int edn_next(struct edn_reader *r, struct arena *a, struct edn_node **out)
{
    struct edn_node *n = NULL;

    while (n == NULL) {
        int c;
        int rc;

        skip_blanks(r);
        c = peek(r);
        if (c < 0) {
            return r->open == 0 ? KV_ENOTFOUND
                                : wrong(r, "a bracket that is never closed");
        }
        if (c == '[' || c == '(') {
            if (r->open == EDN_DEPTH_MAX) {
                return wrong(r, "too deep");
            }
            r->open++;
            r->at++;
            continue;
        }
        if ((c == ']' || c == ')') && r->open > 0) {
            r->open--;
            r->at++;
            continue;
        }
        rc = form_read(r, a, 0, &n);
        if (rc != 0) {
            return rc;
        }
    }
    *out = n;
    return 0;
}

bool edn_is(const struct edn_node *n, const char *keyword)
{
    return n != NULL && n->kind == EDN_KEYWORD &&
           kv_bytes_equal(n->text, kv_bytes_str(keyword));
}

const struct edn_node *edn_get(const struct edn_node *map, const char *keyword)
{
    if (map->kind != EDN_MAP) {
        return NULL;
    }
    for (const struct edn_node *n = map->first; n != NULL && n->next != NULL;
         n = n->next->next) {
        if (edn_is(n, keyword)) {
            return n->next;
        }
    }
    return NULL;
}
