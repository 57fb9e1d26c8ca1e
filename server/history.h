/* server/history.h - what a group's last entries changed, so that watches can resume.
 *
 * One batch per applied entry that changed keys, in the order of apply: key, new
 * value, value before, and why. A key appears once in a batch, however often the
 * entry wrote it.
 * The oldest batches go when the bytes are used up; history_floor() says from where on
 * nothing is missing. It lives in memory only: a replica that restarts or installs a
 * snapshot begins a new one there, and answers COMPACTED for what came before.
 *
 *   floor <= rev of the first batch - 1;  revs ascend
 *
 * Needs:    storage/state.h (rows), rpc/buf.h.
 * Used by:  server/apply.c (makes batches), group*.c (owns), watch.c (reads).
 * Threads:  loop thread.
 */
#ifndef KV_SERVER_HISTORY_H
#define KV_SERVER_HISTORY_H

#include "rpc/buf.h"
#include "storage/store.h"

enum history_cause {
    HISTORY_PUT,
    HISTORY_DEL,
    HISTORY_EXPIRE,   /* Its time to live ended. */
    HISTORY_DELRANGE, /* One of a range that was deleted. */
};

struct history_chunk;

/* A place between two batches; valid until a batch behind it is dropped. */
struct history_place {
    const struct history_chunk *chunk; /* NULL: not looked for yet. */
    size_t at;
};

/* One batch, as history_next() shows it; views into the history. */
struct history_batch {
    uint64_t rev;
    uint32_t count;
    uint32_t bytes;      /* Of all its keys and values, */
    uint32_t prev_bytes; /* and of the values before. */
    struct kv_bytes changes;
};

struct history_change {
    enum history_cause cause;
    bool has_prev; /* There was a value before. */
    struct kv_bytes key;
    struct kv_bytes value; /* put */
    struct kv_bytes prev;
};

/* taken_bytes <= bytes_max, or there is one chunk only. */
struct history {
    struct history_chunk *first, *last;
    size_t bytes_max;
    size_t chunk_bytes;
    size_t taken_bytes;
    uint64_t floor;       /* All changes behind this revision are here. */
    uint64_t added_bytes; /* Of all batches ever added. */
    /* The batch that is being made. */
    bool is_open;
    bool is_lost; /* No memory for it. */
    uint64_t rev;
    enum history_cause cause;
    uint32_t count;
    struct buf batch;
};

/* ---- life ---- */

/* Prepares an empty one that takes no memory yet. */
void history_init(struct history *h, size_t bytes_max);
void history_close(struct history *h);
/* Forgets everything: what comes behind `rev` will be here, nothing else. */
void history_reset(struct history *h, uint64_t rev);

/* ---- making ---- */

/* Another bound: what is too much goes at once. */
void history_limit(struct history *h, size_t bytes_max);
/* An entry begins; `cause` is that of what it deletes. */
void history_begin(struct history *h, uint64_t rev, enum history_cause cause);
/* A row is about to change (struct state_observer); ctx is the history. Rows that are
 * no keys of clients are passed over. */
void history_changing(void *ctx, const struct row *before, const struct row *after);
/* The entry ended. 1: its batch is in; 0: it changed no key; KV_ENOMEM: no memory for
 * the batch, all of the history is given up, so that nobody misses it unknowingly. */
int history_commit(struct history *h);
/* It changed nothing after all. */
void history_abort(struct history *h);

/* ---- reading ---- */

/* The place of the first batch behind `rev`. Needs rev >= floor. */
struct history_place history_find(const struct history *h, uint64_t rev);
/* The place of the batch added last; there must be one. */
struct history_place history_newest(const struct history *h);
/* Reads the batch behind the place and steps over it. False: there is none yet. */
bool history_next(struct history_place *io, struct history_batch *out);
/* Takes the next change off the front of batch->changes. False: no more. */
bool history_take(struct kv_bytes *io_changes, struct history_change *out);

#endif
