/* jepsen/checker/session.c - does nobody see less than was seen before him? */
#include "jepsen/checker/session.h"

#include <inttypes.h>
#include <stdio.h>

#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

struct session {
    const struct history *h;
    struct verdict *v;
    struct pairs known;  /* (process, key) -> the revision that it must see. */
    struct pairs shown;  /* (process, key) -> the row that says so. */
    struct pairs values; /* (key, revision) -> a row with its value. */
    struct pairs places; /* (key, 0) -> its place in keys. */
    uint32_t *keys;      /* [rows] */
    uint64_t reads, writes, given, behind;
};

/* `process` must see `rev` of `key` from now on. */
static int learn(struct session *s, int32_t process, uint32_t key, uint64_t rev,
                 uint64_t row)
{
    uint64_t *at = pairs_at(&s->known, (uint64_t)process, key, 0);

    if (at == NULL) {
        return KV_ENOMEM;
    }
    if (rev <= *at) {
        return 0;
    }
    *at = rev;
    return pairs_put(&s->shown, (uint64_t)process, key, row);
}

/* The token of `from` for `to`: everything that it has seen. */
static int give(struct session *s, int64_t from, int32_t to)
{
    int rc = 0;

    s->given++;
    for (size_t i = 0; i < s->places.count && rc == 0; i++) {
        uint64_t rev = pairs_find(&s->known, (uint64_t)from, s->keys[i]);

        if (rev != PAIRS_NONE && rev != 0) {
            rc = learn(s, to, s->keys[i], rev,
                       pairs_find(&s->shown, (uint64_t)from, s->keys[i]));
        }
    }
    return rc;
}

static void report(struct session *s, const struct history_op *end, const char *kind,
                   uint64_t rev, uint64_t row)
{
    struct verdict_anomaly a = {
        .key = end->key, .ops = {end->mate, end->index, row}, .ops_count = 3};

    snprintf(a.kind, sizeof a.kind, "%s", kind);
    snprintf(a.text, sizeof a.text,
             "row %" PRIu64 " of process %" PRId32 " has revision %" PRIu64
             " of key %" PRIu32 ", but revision %" PRIu64 " was seen at row %" PRIu64,
             end->index, end->process, end->rev, end->key, rev, row);
    verdict_add(s->v, &a);
}

/* A revision of a key has one value. */
static int value_check(struct session *s, const struct history_op *end,
                       const struct history_value *value)
{
    uint64_t *row = pairs_at(&s->values, end->key, end->rev, end->index);
    const struct history_op *other;
    const struct history_value *theirs;

    if (row == NULL) {
        return KV_ENOMEM;
    }
    other = &s->h->ops[*row];
    theirs = other->f == HISTORY_WRITE ? &s->h->ops[other->mate].value : &other->value;
    if (theirs->kind != value->kind ||
        (value->kind == HISTORY_INT &&
         history_ints(s->h, value)[0] != history_ints(s->h, theirs)[0])) {
        report(s, end, "two-values", end->rev, *row);
    }
    return 0;
}

static int judge_ok(struct session *s, const struct history_op *end)
{
    bool is_write = end->f == HISTORY_WRITE;
    uint64_t known = pairs_find(&s->known, (uint64_t)end->process, end->key);
    uint64_t row = pairs_find(&s->shown, (uint64_t)end->process, end->key);
    int rc = 0;

    s->writes += is_write;
    s->reads += !is_write;
    if (known != PAIRS_NONE && known != 0) {
        s->behind += !is_write;
        if (is_write ? end->rev <= known : end->rev < known) {
            report(s, end,
                   is_write                                 ? "write-backwards"
                   : s->h->ops[row].process != end->process ? "not-causal"
                   : s->h->ops[row].f == HISTORY_WRITE      ? "own-write-unseen"
                                                            : "read-backwards",
                   known, row);
        }
    }
    if (end->rev != 0) {
        rc = value_check(s, end, is_write ? &s->h->ops[end->mate].value : &end->value);
    }
    return rc == 0 ? learn(s, end->process, end->key, end->rev, end->index) : rc;
}

static int judge_row(struct session *s, const struct history_op *op)
{
    uint64_t *place;

    if (op->f != HISTORY_READ && op->f != HISTORY_WRITE) {
        return 0;
    }
    place = pairs_at(&s->places, op->key, 0, s->places.count);
    if (place == NULL) {
        return KV_ENOMEM;
    }
    s->keys[*place] = op->key;
    if (op->type == HISTORY_INVOKE && op->f == HISTORY_READ &&
        op->value.kind == HISTORY_INT) {
        return give(s, history_ints(s->h, &op->value)[0], op->process);
    }
    return op->type == HISTORY_OK && op->mate != HISTORY_NO_MATE ? judge_ok(s, op) : 0;
}

void session_check(const struct history *h, struct verdict *out)
{
    struct session s = {.h = h, .v = out};
    int rc;

    verdict_init(out, "session");
    pairs_init(&s.known);
    pairs_init(&s.shown);
    pairs_init(&s.values);
    pairs_init(&s.places);
    s.keys = kv_mem_zalloc((h->count + 1) * sizeof *s.keys);
    rc = s.keys == NULL ? KV_ENOMEM : 0;
    for (size_t i = 0; i < h->count && rc == 0; i++) {
        rc = judge_row(&s, &h->ops[i]);
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (s.behind == 0) {
        verdict_doubt(out, "no read had anything to see");
    }
    verdict_fact(out, "reads", (double)s.reads);
    verdict_fact(out, "writes", (double)s.writes);
    verdict_fact(out, "given", (double)s.given);
    verdict_fact(out, "behind", (double)s.behind);
    pairs_close(&s.known);
    pairs_close(&s.shown);
    pairs_close(&s.values);
    pairs_close(&s.places);
    kv_mem_free(s.keys);
}
