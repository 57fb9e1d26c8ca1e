/* jepsen/checker/watch.c - did watches tell each change once, in order, and whole? */
#include "jepsen/checker/watch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/checker/pairs.h"
#include "raft/base/arena.h"
#include "raft/base/err.h"

/* A write that is known to have taken effect, and where. */
struct commit {
    uint32_t group;
    uint64_t rev;
    uint64_t row;        /* Its invocation. */
    uint64_t puts, dels; /* Masks over its tag's keys. */
    bool is_told;        /* Only a watch said so: what it deleted is not known. */
};

/* One watch, from where it began anew. */
struct chain {
    struct watch_scope scope;
    bool has_begun;
    uint64_t begin_row; /* Of its first operation. */
    uint64_t end_row;   /* Of its last one. */
    uint64_t *begin;    /* [WATCH_GROUPS_MAX] Told is what comes behind. */
    uint64_t *pos;      /* [WATCH_GROUPS_MAX] Up to here. */
    int64_t *last;      /* [WATCH_KEYS_MAX] Value that it told last of a key. */
    struct pairs told;  /* (key, revision) -> the row. */
};

struct watch {
    const struct history *h;
    struct verdict *v;
    struct pairs writes; /* (id, 0) -> the row of its invocation. */
    struct pairs revs;   /* (id, 0) -> its revision, as a watch told it. */
    struct commit *commits;
    size_t commits_count;
    uint32_t *groups;     /* [WATCH_KEYS_MAX] Of tags; 0: not known. */
    uint64_t *maybe_dels; /* [WATCH_KEYS_MAX] First row of a delete that may have been
                           * done; UINT64_MAX: none. */
    struct chain *chains; /* [WATCH_WATCHERS_MAX] */
    uint64_t events, notes, marks, watches, resumes, gaps, acked;
};

/* ---- values ---- */

bool watch_scope_get(const struct history *h, const struct history_op *op,
                     struct watch_scope *out)
{
    const int64_t *p = history_ints(h, &op->value);

    if (op->value.kind != HISTORY_LIST || op->value.count != WATCH_SCOPE_INTS ||
        p[0] < 0 || p[1] <= p[0] || p[1] > WATCH_KEYS_MAX || p[2] < WATCH_ALL ||
        p[2] > WATCH_DELS) {
        return false;
    }
    *out = (struct watch_scope){.begin = (uint32_t)p[0],
                                .end = (uint32_t)p[1],
                                .only = (enum watch_only)p[2],
                                .prev = p[3] != 0,
                                .resumes = p[4] != 0};
    return true;
}

bool watch_note_next(const struct history *h, const struct history_op *op,
                     uint32_t *io_at, struct watch_note *out)
{
    const int64_t *p = history_ints(h, &op->value);
    uint32_t at = *io_at == 0 ? 1 : *io_at; /* Behind how it ended. */
    uint64_t left;

    if (op->value.kind != HISTORY_LIST || op->value.count < 1) {
        return false;
    }
    *io_at = at;
    left = op->value.count - at;
    if (left < 2 || p[at] < 0 || p[at + 1] < 0 || p[at] > INT32_MAX ||
        p[at + 1] > WATCH_GROUPS_MAX) {
        return false;
    }
    out->events_count = (uint32_t)p[at];
    out->ats_count = (uint32_t)p[at + 1];
    if ((uint64_t)out->events_count * WATCH_EVENT_INTS +
            (uint64_t)out->ats_count * WATCH_POS_INTS >
        left - 2) {
        return false;
    }
    out->events = p + at + 2;
    out->ats = out->events + (size_t)out->events_count * WATCH_EVENT_INTS;
    *io_at =
        at + 2 + out->events_count * WATCH_EVENT_INTS + out->ats_count * WATCH_POS_INTS;
    return true;
}

/* ---- writes ---- */

static void blame(struct watch *w, const char *kind, const uint64_t rows[2],
                  const char *format, ...) KV_PRINTF(4, 5);

static void blame(struct watch *w, const char *kind, const uint64_t rows[2],
                  const char *format, ...)
{
    struct verdict_anomaly a = {.ops = {rows[0], rows[1]}, .ops_count = 2};
    va_list args;

    a.key = w->h->ops[rows[0]].key;
    snprintf(a.kind, sizeof a.kind, "%s", kind);
    va_start(args, format);
    vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    verdict_add(w->v, &a);
}

static bool is_write(const struct history_op *op)
{
    return op->f == HISTORY_WRITE && op->value.kind == HISTORY_LIST &&
           op->value.count == WATCH_WRITE_INTS &&
           op->key < WATCH_KEYS_MAX / WATCH_TAG_KEYS;
}

static const struct history_op *completion(const struct watch *w,
                                           const struct history_op *op)
{
    return op->mate == HISTORY_NO_MATE ? NULL : &w->h->ops[op->mate];
}

static void maybe_note(struct watch *w, const struct history_op *op, uint64_t dels)
{
    for (uint32_t i = 0; i < WATCH_TAG_KEYS; i++) {
        uint64_t *first = &w->maybe_dels[op->key * WATCH_TAG_KEYS + i];

        if ((dels >> i & 1) != 0) {
            *first = KV_MIN(*first, op->index);
        }
    }
}

/* Takes an invocation and its completion in. */
static int write_add(struct watch *w, const struct history_op *op)
{
    const struct history_op *end = completion(w, op);
    const int64_t *p = history_ints(w->h, &op->value);

    if (end == NULL || end->type == HISTORY_INFO) {
        maybe_note(w, op, (uint64_t)p[2]);
    } else if (end->type == HISTORY_OK && is_write(end) && end->group != 0 &&
               end->group < WATCH_GROUPS_MAX) {
        const int64_t *q = history_ints(w->h, &end->value);

        if (w->groups[op->key] != 0 && w->groups[op->key] != end->group) {
            verdict_doubt(w->v, "keys of tag %" PRIu32 " changed their group", op->key);
        }
        w->groups[op->key] = end->group;
        w->acked++;
        /* What changed nothing has no event, and its position is another's. */
        if ((q[1] | q[2]) != 0) {
            w->commits[w->commits_count++] = (struct commit){.group = end->group,
                                                             .rev = end->rev,
                                                             .row = op->index,
                                                             .puts = (uint64_t)q[1],
                                                             .dels = (uint64_t)q[2]};
        }
    }
    return pairs_put(&w->writes, (uint64_t)p[0], 0, op->index);
}

static int writes_collect(struct watch *w)
{
    int rc = 0;

    for (size_t i = 0; i < w->h->count && rc == 0; i++) {
        const struct history_op *op = &w->h->ops[i];

        if (op->type == HISTORY_INVOKE && is_write(op)) {
            rc = write_add(w, op);
        }
    }
    return rc;
}

/* The revisions of writes without an answer, as watches tell them. */
static int told_collect(struct watch *w, const struct history_op *op)
{
    struct watch_note note;
    uint32_t at = 0;

    while (watch_note_next(w->h, op, &at, &note)) {
        for (uint32_t i = 0; i < note.events_count; i++) {
            const int64_t *e = note.events + (size_t)i * WATCH_EVENT_INTS;
            uint64_t row = pairs_find(&w->writes, (uint64_t)e[2], 0);
            const struct history_op *write;
            size_t before = w->revs.count;

            if (e[2] < 0 || row == PAIRS_NONE) {
                continue;
            }
            if (pairs_at(&w->revs, (uint64_t)e[2], 0, (uint64_t)e[3]) == NULL) {
                return KV_ENOMEM;
            }
            write = &w->h->ops[row];
            if (w->revs.count == before ||
                (completion(w, write) != NULL &&
                 completion(w, write)->type != HISTORY_INFO) ||
                w->groups[write->key] == 0) {
                continue; /* Not the first time, or known better. */
            }
            w->commits[w->commits_count++] =
                (struct commit){.group = w->groups[write->key],
                                .rev = (uint64_t)e[3],
                                .row = row,
                                .puts = (uint64_t)history_ints(w->h, &write->value)[1],
                                .is_told = true};
        }
    }
    return 0;
}

static int commit_order(const void *a, const void *b)
{
    const struct commit *x = a;
    const struct commit *y = b;

    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    return x->rev < y->rev ? -1 : x->rev > y->rev;
}

/* The first commit of the group that is not below rev. */
static size_t commit_from(const struct watch *w, uint32_t group, uint64_t rev)
{
    const struct commit key = {.group = group, .rev = rev};
    size_t low = 0;
    size_t high = w->commits_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (commit_order(&w->commits[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- events ---- */

/* May the delete have happened there? */
static bool was_deleted(const struct watch *w, uint32_t key, uint64_t rev, uint64_t row)
{
    uint32_t group = w->groups[key / WATCH_TAG_KEYS];
    size_t at = commit_from(w, group, rev);
    const struct commit *c = &w->commits[at];

    if (at < w->commits_count && c->group == group && c->rev == rev && !c->is_told) {
        return w->h->ops[c->row].key == key / WATCH_TAG_KEYS &&
               (c->dels >> key % WATCH_TAG_KEYS & 1) != 0;
    }
    return w->maybe_dels[key] < row;
}

/* Is it a change that was made, at this revision? */
static void judge_change(struct watch *w, const int64_t *e, const uint64_t rows[2])
{
    uint64_t row = pairs_find(&w->writes, (uint64_t)e[2], 0);
    uint32_t key = (uint32_t)e[0];
    const struct history_op *op;
    const struct history_op *end;

    if (e[1] == WATCH_DEL && e[2] == WATCH_NONE &&
        was_deleted(w, key, (uint64_t)e[3], rows[1])) {
        return;
    }
    if (e[1] != WATCH_PUT || e[2] < 0 || row == PAIRS_NONE || row > rows[1] ||
        w->h->ops[row].key != key / WATCH_TAG_KEYS ||
        (history_ints(w->h, &w->h->ops[row].value)[1] >> key % WATCH_TAG_KEYS & 1) ==
            0) {
        blame(w, "not-written", rows,
              "row %" PRIu64 " tells of key %" PRIu32 " a %s (write %" PRId64
              ") at revision %" PRId64 " that nobody made",
              rows[1], key, e[1] == WATCH_DEL ? "delete" : "change", e[2], e[3]);
        return;
    }
    op = &w->h->ops[row];
    end = completion(w, op);
    if (end != NULL && end->type == HISTORY_FAIL) {
        blame(w, "failed", (uint64_t[2]){row, rows[1]},
              "row %" PRIu64 " tells write %" PRId64
              ", which certainly failed (row %" PRIu64 ")",
              rows[1], e[2], end->index);
    } else if ((end != NULL && end->type == HISTORY_OK && end->group != 0 &&
                end->rev != (uint64_t)e[3]) ||
               pairs_find(&w->revs, (uint64_t)e[2], 0) != (uint64_t)e[3]) {
        blame(w, "wrong-revision", (uint64_t[2]){row, rows[1]},
              "row %" PRIu64 " tells write %" PRId64 " at revision %" PRId64
              ", elsewhere it is at %" PRIu64,
              rows[1], e[2], e[3],
              end != NULL && end->type == HISTORY_OK
                  ? end->rev
                  : pairs_find(&w->revs, (uint64_t)e[2], 0));
    }
}

/* Does it come where it has to? `newest` is the last revision of the group that this
 * note told. */
static int judge_place(struct watch *w, struct chain *c, const int64_t *e,
                       uint64_t newest, const uint64_t rows[2])
{
    uint32_t group = w->groups[e[0] / WATCH_TAG_KEYS];
    uint64_t rev = (uint64_t)e[3];
    uint64_t before = pairs_find(&c->told, (uint64_t)e[0], rev);

    if (before != PAIRS_NONE) {
        blame(w, "repeated", (uint64_t[2]){before, rows[1]},
              "row %" PRIu64 " tells revision %" PRIu64 " of key %" PRId64
              " again, row %" PRIu64 " did",
              rows[1], rev, e[0], before);
    } else if (group != 0 && (rev < newest || rev <= c->pos[group])) {
        blame(w, "out-of-order", rows,
              "row %" PRIu64 " tells revision %" PRIu64 " of key %" PRId64
              ", but everything up to %" PRIu64 " of group %" PRIu32 " was told",
              rows[1], rev, e[0], KV_MAX(newest, c->pos[group]), group);
    }
    return pairs_put(&c->told, (uint64_t)e[0], rev, rows[1]);
}

static void judge_prev(struct watch *w, struct chain *c, const int64_t *e,
                       const uint64_t rows[2])
{
    int64_t *last = &c->last[e[0]];

    if (c->scope.prev && c->scope.only == WATCH_ALL && *last != WATCH_NOT_ASKED &&
        e[4] != *last) {
        blame(w, "wrong-prev", rows,
              "row %" PRIu64 " tells that key %" PRId64 " was %" PRId64
              " before revision %" PRId64 ", but this watch told %" PRId64 " last",
              rows[1], e[0], e[4], e[3], *last);
    }
    *last = e[1] == WATCH_PUT ? e[2] : WATCH_NONE;
}

static int judge_events(struct watch *w, struct chain *c, const struct watch_note *note,
                        uint64_t *newest, const uint64_t rows[2])
{
    int rc = 0;

    for (uint32_t i = 0; i < note->events_count && rc == 0; i++) {
        const int64_t *e = note->events + (size_t)i * WATCH_EVENT_INTS;
        bool is_put = e[1] == WATCH_PUT;
        uint32_t group;

        w->events++;
        if (e[0] < c->scope.begin || e[0] >= c->scope.end ||
            (c->scope.only == WATCH_PUTS && !is_put) ||
            (c->scope.only == WATCH_DELS && is_put)) {
            blame(w, "not-watched", rows,
                  "row %" PRIu64 " tells of key %" PRId64 ", which was not asked for",
                  rows[1], e[0]);
            continue;
        }
        group = w->groups[e[0] / WATCH_TAG_KEYS];
        judge_change(w, e, rows);
        judge_prev(w, c, e, rows);
        rc = judge_place(w, c, e, newest[group], rows);
        newest[group] = KV_MAX(newest[group], (uint64_t)e[3]);
    }
    return rc;
}

/* ---- positions ---- */

static void judge_positions(struct watch *w, struct chain *c,
                            const struct watch_note *note, uint64_t *newest,
                            const uint64_t rows[2])
{
    for (uint32_t i = 0; i < note->ats_count; i++) {
        const int64_t *at = note->ats + (size_t)i * WATCH_POS_INTS;
        uint64_t rev = (uint64_t)at[1];

        if (at[0] < 1 || at[0] >= WATCH_GROUPS_MAX) {
            verdict_doubt(w->v, "row %" PRIu64 " names group %" PRId64, rows[1], at[0]);
            continue;
        }
        if (rev < c->pos[at[0]]) {
            blame(w, "position-back", rows,
                  "row %" PRIu64 " has position %" PRIu64 " of group %" PRId64
                  " behind %" PRIu64,
                  rows[1], rev, at[0], c->pos[at[0]]);
        }
        if (c->begin[at[0]] == 0) { /* Heard of for the first time. */
            c->begin[at[0]] = rev;
        }
        c->pos[at[0]] = KV_MAX(c->pos[at[0]], rev);
    }
    for (uint32_t i = 0; i < note->events_count; i++) {
        const int64_t *e = note->events + (size_t)i * WATCH_EVENT_INTS;
        uint32_t group =
            e[0] >= 0 && e[0] < WATCH_KEYS_MAX ? w->groups[e[0] / WATCH_TAG_KEYS] : 0;

        if (group != 0 && newest[group] > c->pos[group]) {
            blame(w, "position-short", rows,
                  "row %" PRIu64 " tells revision %" PRIu64 " of group %" PRIu32
                  " and then position %" PRIu64,
                  rows[1], newest[group], group, c->pos[group]);
        }
        newest[group] = 0; /* Said once. */
    }
}

/* ---- watches ---- */

/* What lies between where it began and its position was told. */
static void chain_end(struct watch *w, struct chain *c)
{
    for (uint32_t g = 1; c->has_begun && g < WATCH_GROUPS_MAX; g++) {
        size_t at = c->begin[g] == c->pos[g] ? w->commits_count
                                             : commit_from(w, g, c->begin[g] + 1);

        for (; at < w->commits_count && w->commits[at].group == g &&
               w->commits[at].rev <= c->pos[g];
             at++) {
            const struct commit *commit = &w->commits[at];
            uint64_t keys = (c->scope.only == WATCH_DELS ? 0 : commit->puts) |
                            (c->scope.only == WATCH_PUTS ? 0 : commit->dels);
            uint32_t first = w->h->ops[commit->row].key * WATCH_TAG_KEYS;

            for (uint32_t key = first; key < first + WATCH_TAG_KEYS; key++) {
                if ((keys >> (key - first) & 1) == 0 || key < c->scope.begin ||
                    key >= c->scope.end ||
                    pairs_find(&c->told, key, commit->rev) != PAIRS_NONE) {
                    continue;
                }
                blame(w, "missed", (uint64_t[2]){commit->row, c->end_row},
                      "row %" PRIu64 " changed key %" PRIu32 " at revision %" PRIu64
                      " of group %" PRIu32 ": a watch from row %" PRIu64
                      " on was at %" PRIu64 " there, at %" PRIu64 " at row %" PRIu64
                      ", and was not told",
                      commit->row, key, commit->rev, g, c->begin_row, c->begin[g],
                      c->pos[g], c->end_row);
            }
        }
    }
    pairs_close(&c->told);
    c->has_begun = false;
}

static void chain_begin(struct watch *w, struct chain *c,
                        const struct watch_scope *scope, uint64_t row)
{
    chain_end(w, c);
    pairs_init(&c->told);
    memset(c->begin, 0, WATCH_GROUPS_MAX * sizeof *c->begin);
    memset(c->pos, 0, WATCH_GROUPS_MAX * sizeof *c->pos);
    for (uint32_t i = 0; i < WATCH_KEYS_MAX; i++) {
        c->last[i] = WATCH_NOT_ASKED;
    }
    c->scope = *scope;
    c->has_begun = true;
    c->begin_row = row;
    w->watches++;
}

static int chain_memory(struct chain *c)
{
    if (c->begin == NULL) {
        pairs_init(&c->told);
        c->begin = kv_mem_zalloc(WATCH_GROUPS_MAX * sizeof *c->begin);
        c->pos = kv_mem_zalloc(WATCH_GROUPS_MAX * sizeof *c->pos);
        c->last = kv_mem_zalloc(WATCH_KEYS_MAX * sizeof *c->last);
    }
    return c->begin == NULL || c->pos == NULL || c->last == NULL ? KV_ENOMEM : 0;
}

/* One completed operation of a watcher. */
static int judge_watch(struct watch *w, const struct history_op *end, uint64_t *newest)
{
    const struct history_op *op = &w->h->ops[end->mate];
    struct chain *c = &w->chains[end->key];
    const uint64_t rows[2] = {op->index, end->index};
    struct watch_scope scope;
    struct watch_note note;
    uint32_t at = 0;
    int rc;

    if (!watch_scope_get(w->h, op, &scope)) {
        verdict_doubt(w->v, "row %" PRIu64 " is no watch", op->index);
        return 0;
    }
    rc = chain_memory(c);
    if (rc != 0) {
        return rc;
    }
    if (!scope.resumes || !c->has_begun) {
        chain_begin(w, c, &scope, op->index);
    } else {
        w->resumes++;
    }
    c->end_row = end->index;
    w->gaps +=
        end->value.count > 0 && history_ints(w->h, &end->value)[0] == WATCH_COMPACTED;
    while (rc == 0 && watch_note_next(w->h, end, &at, &note)) {
        w->notes++;
        w->marks += note.events_count == 0;
        rc = judge_events(w, c, &note, newest, rows);
        if (rc == 0) {
            judge_positions(w, c, &note, newest, rows);
        }
    }
    if (at != end->value.count) {
        verdict_doubt(w->v, "row %" PRIu64 " is not well formed", end->index);
    }
    return rc;
}

static int judge_all(struct watch *w)
{
    uint64_t *newest = kv_mem_zalloc(WATCH_GROUPS_MAX * sizeof *newest);
    int rc = newest == NULL ? KV_ENOMEM : 0;

    for (size_t i = 0; i < w->h->count && rc == 0; i++) {
        const struct history_op *op = &w->h->ops[i];

        if (op->f == HISTORY_WATCH && op->type == HISTORY_OK &&
            op->key < WATCH_WATCHERS_MAX) {
            rc = judge_watch(w, op, newest);
        }
    }
    for (uint32_t i = 0; i < WATCH_WATCHERS_MAX && rc == 0; i++) {
        chain_end(w, &w->chains[i]);
    }
    kv_mem_free(newest);
    return rc;
}

/* ---- life ---- */

static int watch_open(struct watch *w)
{
    size_t rows = w->h->count + 1;

    pairs_init(&w->writes);
    pairs_init(&w->revs);
    w->commits = kv_mem_zalloc(2 * rows * sizeof *w->commits);
    w->groups = kv_mem_zalloc(WATCH_KEYS_MAX * sizeof *w->groups);
    w->maybe_dels = kv_mem_zalloc(WATCH_KEYS_MAX * sizeof *w->maybe_dels);
    w->chains = kv_mem_zalloc(WATCH_WATCHERS_MAX * sizeof *w->chains);
    if (w->commits == NULL || w->groups == NULL || w->maybe_dels == NULL ||
        w->chains == NULL) {
        return KV_ENOMEM;
    }
    memset(w->maybe_dels, 0xff, WATCH_KEYS_MAX * sizeof *w->maybe_dels);
    return 0;
}

static void watch_close(struct watch *w)
{
    for (uint32_t i = 0; w->chains != NULL && i < WATCH_WATCHERS_MAX; i++) {
        pairs_close(&w->chains[i].told);
        kv_mem_free(w->chains[i].begin);
        kv_mem_free(w->chains[i].pos);
        kv_mem_free(w->chains[i].last);
    }
    pairs_close(&w->writes);
    pairs_close(&w->revs);
    kv_mem_free(w->commits);
    kv_mem_free(w->groups);
    kv_mem_free(w->maybe_dels);
    kv_mem_free(w->chains);
}

void watch_check(const struct history *h, struct verdict *out)
{
    struct watch w = {.h = h, .v = out};
    int rc = watch_open(&w);

    verdict_init(out, "watch");
    rc = rc == 0 ? writes_collect(&w) : rc;
    for (size_t i = 0; i < h->count && rc == 0; i++) {
        if (h->ops[i].f == HISTORY_WATCH && h->ops[i].type == HISTORY_OK) {
            rc = told_collect(&w, &h->ops[i]);
        }
    }
    if (rc == 0) {
        qsort(w.commits, w.commits_count, sizeof *w.commits, commit_order);
        rc = judge_all(&w);
    }
    if (rc != 0) {
        verdict_doubt(out, "out of memory");
    } else if (w.events == 0) {
        verdict_doubt(out, "watches heard nothing");
    } else if (w.resumes == 0) {
        verdict_doubt(out, "no watch went on from a position");
    }
    verdict_fact(out, "events", (double)w.events);
    verdict_fact(out, "notes", (double)w.notes);
    verdict_fact(out, "marks", (double)w.marks);
    verdict_fact(out, "watches", (double)w.watches);
    verdict_fact(out, "resumes", (double)w.resumes);
    verdict_fact(out, "gaps", (double)w.gaps);
    verdict_fact(out, "writes", (double)w.acked);
    watch_close(&w);
}
