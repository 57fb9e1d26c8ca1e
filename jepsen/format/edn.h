/* jepsen/format/edn.h - a bounded reader of EDN, form by form.
 *
 * Never believes its input: depth, bytes and integers have bounds, and a form that is
 * not EDN is an error with its line. Knows what histories are made of: nil, booleans,
 * integers, strings, keywords, symbols, vectors, lists, sets, maps; commas, comments,
 * #_ and tags (which are passed over) too. Other numbers and characters are kept as
 * text. Brackets around everything (a file that is one vector of maps) are passed over.
 *
 * Needs:    raft/base/arena.h, bytes.h.
 * Used by:  jepsen/format/read.c, tests/fuzz/fuzz_edn.c.
 * Threads:  one per reader.
 * Source:   github.com/edn-format/edn.
 */
#ifndef KV_JEPSEN_FORMAT_EDN_H
#define KV_JEPSEN_FORMAT_EDN_H

#include "raft/base/arena.h"
#include "raft/base/bytes.h"

enum {
    EDN_DEPTH_MAX = 32,
};

enum edn_kind {
    EDN_NIL,
    EDN_BOOL, /* integer is 0 or 1 */
    EDN_INT,
    EDN_STRING,  /* text: between the quotes, escapes not resolved */
    EDN_KEYWORD, /* text: without the colon */
    EDN_OTHER,   /* Symbol, character, ratio, decimal. */
    EDN_LIST,    /* Vector, list or set. */
    EDN_MAP,     /* Children are key, value, key, value ... */
};

struct edn_node {
    enum edn_kind kind;
    int64_t integer;
    struct kv_bytes text;   /* View of the input; of a list or map all of it. */
    struct edn_node *first; /* Children. */
    struct edn_node *next;  /* In the same parent. */
    uint32_t count;         /* Children. */
};

struct edn_reader {
    const uint8_t *data; /* Borrowed until the last form was used. */
    size_t len, at;
    uint64_t line;   /* Where `at` is, from 1. */
    uint32_t open;   /* Brackets around everything that are open. */
    const char *why; /* After KV_EFORMAT: what is wrong. */
};

/* Starts at the first byte. */
void edn_init(struct edn_reader *r, struct kv_bytes input);

/* Reads the next form; its nodes lie in the arena, its texts in the input.
 * Returns 0; KV_ENOTFOUND: there is no further form; KV_EFORMAT: not EDN, see why and
 * line; KV_ENOMEM: the arena's cap. After an error nothing more is read. */
KV_MUST_CHECK int edn_next(struct edn_reader *r, struct arena *a,
                           struct edn_node **out);

/* The value of a keyword in a map; NULL where it is not in. */
const struct edn_node *edn_get(const struct edn_node *map, const char *keyword);

/* Is it this keyword? NULL is none. */
bool edn_is(const struct edn_node *n, const char *keyword);

#endif
