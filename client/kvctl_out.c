/* client/kvctl_out.c - what goes to stdout: JSON, escaped bytes, tables. */
#include "client/kvctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- texts ---- */

const char *ctl_text(struct ctl *ctl, const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = len < 0 ? NULL : arena_alloc(&ctl->arena, (size_t)len + 1);
    if (text == NULL) {
        return "";
    }
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

/* Bytes of the UTF-8 character at p, 0 when there is none (RFC 3629). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint32_t code;
    size_t len;

    if (p[0] < 0x80) {
        return 1;
    }
    len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > left) {
        return 0;
    }
    code = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    if ((len == 3 && code < 0x800) || (len == 4 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    return len;
}

/* Writes the next character or escaped byte to out[4]; returns how many bytes it took
 * from p and sets *out_len to how many it wrote. left >= 1. */
static size_t escape_next(const uint8_t *p, size_t left, char *out, size_t *out_len)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = utf8_len(p, left);
    bool is_control = len == 1 && (p[0] < 0x20 || p[0] == 0x7f || p[0] == '\\');

    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        is_control = true; /* C1: terminals obey them. */
    }
    if (len > 0 && !is_control) {
        memcpy(out, p, len);
        *out_len = len;
        return len;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[p[0] >> 4];
    out[3] = digits[p[0] & 15];
    *out_len = 4;
    return 1;
}

const char *ctl_escape(struct ctl *ctl, struct kv_view bytes)
{
    const uint8_t *p = bytes.data;
    char *out = arena_alloc(&ctl->arena, 4 * bytes.len + 1);
    size_t used = 0;
    size_t len;

    if (out == NULL) {
        return "";
    }
    for (size_t i = 0; i < bytes.len; used += len) {
        i += escape_next(p + i, bytes.len - i, out + used, &len);
    }
    out[used] = '\0';
    return out;
}

void ctl_print_escaped(struct kv_view bytes)
{
    const uint8_t *p = bytes.data;
    char out[4];
    size_t len;

    for (size_t i = 0; i < bytes.len;) {
        i += escape_next(p + i, bytes.len - i, out, &len);
        (void)fwrite(out, 1, len, stdout);
    }
}

/* ---- JSON ---- */

void ctl_json_set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

/* As RFC 4648 wants it. NULL when there is no memory. */
static json_t *base64(struct kv_view bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes.data;
    size_t text_len = (bytes.len + 2) / 3 * 4;
    char *text = kv_mem_zalloc(text_len + 1);
    json_t *out;

    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0, o = 0; i < bytes.len; i += 3, o += 4) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0u);

        text[o] = digits[v >> 18];
        text[o + 1] = digits[v >> 12 & 63];
        text[o + 2] = left > 1 ? digits[v >> 6 & 63] : '=';
        text[o + 3] = left > 2 ? digits[v & 63] : '=';
    }
    out = json_stringn(text, text_len);
    kv_mem_free(text);
    return out;
}

void ctl_json_bytes(json_t *object, const char *name, struct kv_view bytes)
{
    char name_b64[32];
    json_t *text;

    if (bytes.data == NULL) {
        ctl_json_set(object, name, json_null());
        return;
    }
    text = json_stringn(bytes.data, bytes.len); /* NULL where it is not UTF-8. */
    if (text != NULL) {
        ctl_json_set(object, name, text);
        return;
    }
    (void)snprintf(name_b64, sizeof name_b64, "%s_b64", name);
    ctl_json_set(object, name_b64, base64(bytes));
}

json_t *ctl_json_at(const struct kv_at *at)
{
    static const char *const levels[] = {"linearizable", "quorum", "session", "stale"};
    json_t *out = json_object();

    ctl_json_set(out, "group", json_integer(at->group));
    ctl_json_set(out, "rev", json_integer((json_int_t)at->rev));
    ctl_json_set(out, "term", json_integer((json_int_t)at->term));
    ctl_json_set(out, "node", json_integer(at->node));
    ctl_json_set(out, "level", json_string(levels[(unsigned)at->level & 3]));
    ctl_json_set(out, "age_ms", json_integer((json_int_t)at->age_ms));
    return out;
}

void ctl_json_print(json_t *object)
{
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    (void)fputc('\n', stdout);
    json_decref(object);
}

/* ---- tables ---- */

void ctl_table_begin(struct ctl_table *t, struct ctl *ctl, uint32_t rows_max,
                     const char *const *heads, int columns)
{
    size_t cells = ((size_t)rows_max + 1) * (size_t)columns;

    *t = (struct ctl_table){.ctl = ctl, .columns = columns};
    t->cells = arena_zalloc(&ctl->arena, cells * sizeof *t->cells);
    if (t->cells == NULL) {
        return;
    }
    t->rows_max = rows_max;
    memcpy(t->cells, heads, (size_t)columns * sizeof *heads);
}

void ctl_table_row(struct ctl_table *t, const char *const *cells)
{
    if (t->rows_count == t->rows_max) {
        return;
    }
    t->rows_count++;
    memcpy(t->cells + (size_t)t->rows_count * (size_t)t->columns, cells,
           (size_t)t->columns * sizeof *cells);
}

/* Characters, not bytes, of valid UTF-8. */
static int text_width(const char *text)
{
    int width = 0;

    for (; *text != '\0'; text++) {
        width += ((uint8_t)*text & 0xc0) != 0x80;
    }
    return width;
}

static void print_rule(const int *widths, int columns)
{
    for (int c = 0; c < columns; c++) {
        (void)fputc('+', stdout);
        for (int i = 0; i < widths[c] + 2; i++) {
            (void)fputc('-', stdout);
        }
    }
    (void)fputs("+\n", stdout);
}

static void print_row(const struct ctl_table *t, uint32_t row, const int *widths)
{
    bool is_framed = t->ctl->format == CTL_TABLE;

    for (int c = 0; c < t->columns; c++) {
        const char *cell = t->cells[(size_t)row * (size_t)t->columns + (size_t)c];
        bool is_last = !is_framed && c + 1 == t->columns;

        printf("%s%s%*s",
               is_framed ? "| "
               : c > 0   ? "  "
                         : "",
               cell, is_last ? 0 : widths[c] - text_width(cell), "");
        if (is_framed) {
            (void)fputc(' ', stdout);
        }
    }
    (void)fputs(is_framed ? "|\n" : "\n", stdout);
}

void ctl_table_print(const struct ctl_table *t)
{
    int widths[CTL_COLUMNS_MAX] = {0};
    bool is_framed = t->ctl->format == CTL_TABLE;

    if (t->cells == NULL) {
        return;
    }
    KV_ASSERT(t->columns <= CTL_COLUMNS_MAX);
    for (uint32_t row = 0; row <= t->rows_count; row++) {
        for (int c = 0; c < t->columns; c++) {
            const char *cell = t->cells[(size_t)row * (size_t)t->columns + (size_t)c];

            widths[c] = KV_MAX(widths[c], text_width(cell));
        }
    }
    for (uint32_t row = 0; row <= t->rows_count; row++) {
        if (is_framed && row <= 1) {
            print_rule(widths, t->columns);
        }
        print_row(t, row, widths);
    }
    if (is_framed) {
        print_rule(widths, t->columns);
    }
}

int ctl_flush(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        if (errno != EPIPE) {
            (void)ctl_fail(CTL_DATA, "cannot write to stdout: %s", strerror(errno));
        }
        return status == CTL_OK ? CTL_DATA : status;
    }
    return status;
}
