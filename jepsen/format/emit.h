/* jepsen/format/emit.h - writes maps, lists, strings and numbers as EDN or JSON.
 *
 * One writer for both, so that results.edn and results.json cannot differ.
 *
 * Needs:    libc's stdio.
 * Used by:  jepsen/format/.
 * Threads:  one per stream.
 */
#ifndef KV_JEPSEN_FORMAT_EMIT_H
#define KV_JEPSEN_FORMAT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum emit_style {
    EMIT_EDN,
    EMIT_JSON,
};

enum {
    EMIT_DEPTH_MAX = 16,
};

struct emit {
    FILE *out;
    enum emit_style style;
    unsigned depth;
    bool is_map[EMIT_DEPTH_MAX];
    bool has_some[EMIT_DEPTH_MAX]; /* Something stands in it already. */
    bool after_name;               /* A name was written, its value follows. */
};

void emit_init(struct emit *e, FILE *out, enum emit_style style);

/* ---- within a map or list ---- */

/* The name of what comes next, in a map: ":name " or "name": . */
void emit_name(struct emit *e, const char *name);

void emit_map_begin(struct emit *e);
void emit_list_begin(struct emit *e);

/* Ends the innermost map or list. */
void emit_end(struct emit *e);

void emit_text(struct emit *e, const char *text);
void emit_word(struct emit *e, const char *word); /* EDN keyword, JSON string. */
void emit_bool(struct emit *e, bool value);
void emit_u64(struct emit *e, uint64_t value);
void emit_double(struct emit *e, double value); /* Whole ones without a point. */

/* ---- alone ---- */

/* A string in quotes, escaped in a way that both styles know. It may hold any bytes:
 * those that are no UTF-8 text become question marks. */
void emit_string(FILE *out, const char *text);

#endif
