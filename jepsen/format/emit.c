/* jepsen/format/emit.c - writes maps, lists, strings and numbers as EDN or JSON. */
#include "jepsen/format/emit.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "raft/base/check.h"

void emit_init(struct emit *e, FILE *out, enum emit_style style)
{
    memset(e, 0, sizeof *e);
    e->out = out;
    e->style = style;
}

/* Between two things of a map or list: a comma and a new line, indented. */
static void separate(struct emit *e)
{
    if (e->after_name) {
        e->after_name = false;
        return;
    }
    if (e->depth == 0) {
        return;
    }
    if (e->has_some[e->depth - 1]) {
        fputc(',', e->out);
    }
    e->has_some[e->depth - 1] = true;
    fprintf(e->out, "\n%*s", (int)e->depth * 2, "");
}

void emit_name(struct emit *e, const char *name)
{
    KV_ASSERT(e->depth > 0 && e->is_map[e->depth - 1] && !e->after_name);
    separate(e);
    fprintf(e->out, e->style == EMIT_EDN ? ":%s " : "\"%s\": ", name);
    e->after_name = true;
}

static void begin(struct emit *e, bool is_map)
{
    separate(e);
    KV_ASSERT(e->depth < EMIT_DEPTH_MAX);
    fputc(is_map ? '{' : '[', e->out);
    e->is_map[e->depth] = is_map;
    e->has_some[e->depth] = false;
    e->depth++;
}

void emit_map_begin(struct emit *e)
{
    begin(e, true);
}

void emit_list_begin(struct emit *e)
{
    begin(e, false);
}

void emit_end(struct emit *e)
{
    KV_ASSERT(e->depth > 0 && !e->after_name);
    e->depth--;
    if (e->has_some[e->depth]) {
        fprintf(e->out, "\n%*s", (int)e->depth * 2, "");
    }
    fputc(e->is_map[e->depth] ? '}' : ']', e->out);
    if (e->depth == 0) {
        fputc('\n', e->out);
    }
}

void emit_text(struct emit *e, const char *text)
{
    separate(e);
    emit_string(e->out, text);
}

void emit_word(struct emit *e, const char *word)
{
    separate(e);
    fprintf(e->out, e->style == EMIT_EDN ? ":%s" : "\"%s\"", word);
}

void emit_bool(struct emit *e, bool value)
{
    separate(e);
    fputs(value ? "true" : "false", e->out);
}

void emit_u64(struct emit *e, uint64_t value)
{
    separate(e);
    fprintf(e->out, "%" PRIu64, value);
}

void emit_double(struct emit *e, double value)
{
    separate(e);
    if (!isfinite(value)) {
        fputs(e->style == EMIT_EDN ? "nil" : "null", e->out);
    } else if (value == rint(value) && fabs(value) < 1e15) {
        fprintf(e->out, "%.0f", value);
    } else {
        fprintf(e->out, "%.6g", value);
    }
}

/* How many bytes the UTF-8 character at `p` has; 0 where it is none. */
static int utf8_bytes(const unsigned char *p)
{
    int more = p[0] >= 0xc2 && p[0] < 0xe0   ? 1
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 2
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 3
                                             : -1;
    unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

    if (p[0] < 0x80) {
        return 1;
    }
    for (int i = 1; i <= more; i++) {
        if (p[i] < low || p[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return more + 1;
}

void emit_string(FILE *out, const char *text)
{
    static const char plain[] = "\"\\\n\t\r";
    static const char letter[] = "\"\\ntr";
    const unsigned char *p = (const unsigned char *)text;

    fputc('"', out);
    while (*p != '\0') {
        const char *escape = strchr(plain, *p);
        int bytes = utf8_bytes(p);

        if (escape != NULL) {
            fprintf(out, "\\%c", letter[escape - plain]);
            p++;
        } else if (*p < 0x20 || *p == 0x7f) {
            fprintf(out, "\\u%04x", *p);
            p++;
        } else if (bytes == 0) {
            fputc('?', out);
            p++;
        } else {
            fwrite(p, 1, (size_t)bytes, out);
            p += bytes;
        }
    }
    fputc('"', out);
}
