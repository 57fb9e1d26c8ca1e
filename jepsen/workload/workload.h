/* jepsen/workload/workload.h - what clients do in a run: the registry of workloads.
 *
 * A workload says which operation a worker begins next, which requests carry it out,
 * and what their answers mean. It knows neither time nor nodes nor files: worker.c
 * sends, keeps time, sorts outcomes and writes the history. So a new workload is one
 * file and one line in workload.c.
 *
 * Outcomes are sorted in one place: an answer with an error never comes here. Certainly
 * not done ends the operation as fail, unknown as info. So an operation of several
 * requests must change something only by its last one, or by the one behind which it
 * says is_settled.
 *
 * Keys are numbers that count up: each of `keys` lanes works on a key until it has had
 * its share of operations, then on a fresh one, so that checking a key stays cheap.
 *
 * A HISTORY_WATCH operation is no request: worker.c keeps its watch open for watch_ms,
 * or until heard() says that it is over.
 *
 * Needs:    jepsen/history.h, client/kv.h, rpc/limits.h, raft/base/prng.h.
 * Used by:  jepsen/worker.c, run.c, judge.c.
 * Threads:  one.
 * Source:   jepsen.independent's concurrent-generator; reliability.md 2.1, 2.3.
 */
#ifndef KV_JEPSEN_WORKLOAD_WORKLOAD_H
#define KV_JEPSEN_WORKLOAD_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/kv.h"
#include "jepsen/history.h"
#include "raft/base/prng.h"
#include "rpc/limits.h"

enum {
    WORKLOAD_KEY_BYTES = 64,
    WORKLOAD_LANES_MAX = 64,
    WORKLOAD_CHECKERS_MAX = 8,
    WORKLOAD_ROOM = 128,   /* Bytes left behind a text, for a transaction's elements. */
    WORKLOAD_TXN_KEYS = 5, /* Of one transaction. */
    WORKLOAD_BANK_TOTAL = 50, /* In all accounts of a bank, always. */
    WORKLOAD_WATCHERS = 15,
    WORKLOAD_POS_BYTES = 2048, /* Of a position; more groups than a run has. */
};

/* What checkers a workload wants; judge.c knows how to call them. */
enum workload_check {
    WORKLOAD_CHECK_END = 0,
    WORKLOAD_CHECK_LINEAR,  /* Register per key, against every order in time. */
    WORKLOAD_CHECK_REPLAY,  /* Every reply in the order of its position. */
    WORKLOAD_CHECK_SET,     /* set-full, stale reads are errors. */
    WORKLOAD_CHECK_COUNTER, /* Reads within what was added. */
    WORKLOAD_CHECK_APPEND,  /* Cycles of list-append. */
    WORKLOAD_CHECK_IDS,     /* No id twice. */
    WORKLOAD_CHECK_ONCE,    /* In the end exactly what was acknowledged. */
    WORKLOAD_CHECK_SESSION, /* Nobody sees less than was seen before him. */
    WORKLOAD_CHECK_BANK,    /* Each look at all accounts adds up. */
    WORKLOAD_CHECK_WATCH,   /* Each change is told once, in order, and whole. */
};

/* A key of a transaction, as its first request found it. */
struct work_key {
    char name[WORKLOAD_KEY_BYTES];
    uint64_t rev;   /* 0: it did not exist. */
    int64_t number; /* The workload's own: a balance. */
    size_t at, len; /* bytes: where its value lies in `expected` or `text`. */
};

/* What a workload sends by kv.txn; the request points into it. */
struct work_txn {
    struct kv_txn txn;
    struct kv_compare compares[WORKLOAD_TXN_KEYS];
    struct kv_txn_op ops[WORKLOAD_TXN_KEYS];
    struct work_key keys[WORKLOAD_TXN_KEYS];
    uint32_t keys_count;
};

/* One operation under way. The runner makes it zero but for worker and prng; next()
 * fills f, key and the value asked; result() may replace the value by the one that was
 * answered. */
struct work {
    uint32_t worker;   /* 0..workers-1 */
    struct prng *prng; /* The run's. */
    enum history_f f;  /* What is done. */
    uint32_t key;      /* To what. */
    uint32_t stage;    /* Requests already answered. */
    enum history_kind kind;
    int64_t *ints; /* The value; workload_push(). Owned by the runner. */
    uint32_t ints_count, ints_cap;
    int64_t extra;                 /* The workload's own: an element, a delta. */
    char name[WORKLOAD_KEY_BYTES]; /* Key of the request. */
    char end[WORKLOAD_KEY_BYTES];  /* End of a range. */
    char *text;                    /* Value bytes; workload_text(). Owned as ints. */
    size_t text_len, text_cap;     /* bytes */
    char *expected;                /* cas: what must be there; workload_expect(). */
    size_t expected_len, expected_cap; /* bytes */
    struct work_txn txn;
    uint64_t token;    /* Of a lock that was taken for the operation. */
    uint32_t sleep_ms; /* Set by result(): WORK_MORE waits so long before it goes on. */
    uint32_t watch_ms; /* HISTORY_WATCH: how long. */
    bool is_settled;   /* Set by result(): it is done, whatever comes of the rest. */
    bool failed;       /* No memory; the run ends as a harness error. */
};

enum work_step {
    WORK_OK,   /* Done; the value is the answer. */
    WORK_FAIL, /* Certainly not done: a cas that did not match. */
    WORK_MORE, /* Another request: request() is asked again, stage counted up. */
    WORK_BAD,  /* The answer makes no sense: a judge must see it (invalid). */
};

/* How a run is shaped for its workload. */
struct workload_setup {
    uint32_t keys;    /* Lanes, 1..WORKLOAD_LANES_MAX. */
    uint32_t workers; /* >= keys */
    uint32_t nodes;
    uint32_t ops_per_key; /* About; then a fresh key. */
};

struct workload_state;

struct workload {
    const char *name;              /* --workload NAME */
    const char *what;              /* One line for `list`. */
    enum history_workload history; /* How its rows read in files. */
    enum workload_check checks[WORKLOAD_CHECKERS_MAX];
    enum history_f fs[4]; /* Operations that must succeed at least once... */
    uint32_t fs_count;
    bool retries;       /* Clients know all nodes, and send again what got no answer. */
    bool knows_all;     /* Clients know all nodes, and send each request once. */
    bool passes_tokens; /* Before some reads a client is given another one's token; its
                          * process is the value that the read begins with. */
    enum kv_level level; /* Of reads, where --read-level does not say another one. */

    /* Chooses the next operation of w->worker. */
    void (*next)(struct workload_state *s, struct work *w);
    /* The request of w->stage; it may point into *w. */
    struct kv_request (*request)(struct workload_state *s, struct work *w);
    /* What an operation HISTORY_WATCH watches, but for its callback; the options may
     * point into both. */
    struct kv_watch_options (*watch)(struct workload_state *s, struct work *w);
    /* Takes what a watch told; NULL: its time is over. WORK_MORE: it goes on, unless
     * the batch has an error. */
    enum work_step (*heard)(struct workload_state *s, struct work *w,
                            const struct kv_watch_batch *batch);
    /* Takes an answer without error. */
    enum work_step (*result)(struct workload_state *s, struct work *w,
                             const struct kv_result *r);
    /* The at-th final read, done through every node when all is healed; false when
     * there are no more. NULL: no final reads. */
    bool (*last)(struct workload_state *s, uint32_t at, struct work *w);
};

/* ---- registry ---- */

/* The at-th workload; NULL behind the last. */
const struct workload *workload_at(uint32_t at);

/* Finds a workload by name; NULL when there is none. */
const struct workload *workload_find(const char *name);

/* ---- state: lanes and keys ---- */

/* A lane: the key it works on now. */
struct workload_lane {
    uint32_t key;
    uint32_t ops;     /* Begun on this key. */
    uint32_t ops_max; /* Then a fresh key: ops_per_key +- 10 %. */
    int64_t counter;  /* The workload's own, reset with the key: the next element. */
};

/* Where a watcher stands. */
struct workload_place {
    uint64_t revs[KV_GROUPS_MAX]; /* 0: not a group of its watch. */
    size_t len;
    uint8_t pos[WORKLOAD_POS_BYTES]; /* [len] */
};

/* Somebody who watches, goes away, and goes on from its position at another node. */
struct workload_watcher {
    bool is_busy;
    bool is_slow;              /* Stays away for long. */
    bool resumes;              /* Goes on from `at`. */
    uint32_t refused;          /* Nodes in a row that do not keep it. */
    uint64_t rest;             /* Away until so many operations were begun. */
    struct workload_place at;  /* When its last operation ended. */
    struct workload_place now; /* Of the one under way. */
};

struct workload_state {
    struct workload_setup setup;
    struct workload_lane lanes[WORKLOAD_LANES_MAX];
    uint32_t keys_count; /* Keys ever used are 0..keys_count-1. */
    uint64_t begun;      /* watch: operations. */
    struct workload_watcher watchers[WORKLOAD_WATCHERS];
    uint64_t acked[KV_GROUPS_MAX]; /* watch: the last revision of a group that a writer
                                    * knows of. */
};

/* Puts each lane onto a key of its own. */
void workload_state_init(struct workload_state *s, const struct workload_setup *setup,
                         struct prng *prng);

/* The lane of a worker, moved on to a fresh key where its share is used up; counts one
 * operation. */
struct workload_lane *workload_lane(struct workload_state *s, struct work *w);

/* True for half of a lane's workers: they only read, so that reads go on while every
 * writer waits for an unknown outcome. */
bool workload_is_reader(const struct workload_state *s, uint32_t worker);

/* The node that a worker talks to, 1..nodes: each lane has readers and writers on
 * every node where there are enough workers. */
uint32_t workload_node(const struct workload_setup *setup, uint32_t worker);

/* ---- values ---- */

/* Appends to the value; sets w->failed without memory. */
void workload_push(struct work *w, int64_t v);

/* Sets value or expected bytes (copied), with WORKLOAD_ROOM bytes left behind them;
 * sets w->failed without memory. */
void workload_text(struct work *w, const void *data, size_t len);
void workload_expect(struct work *w, const void *data, size_t len);

/* Adds to the expected bytes; `first` begins them anew. */
void workload_expect_more(struct work *w, struct kv_view v, bool first);

/* Reads a whole decimal int64. False when the bytes are none. */
bool workload_number(struct kv_view v, int64_t *out);

/* Reads a list "1 2 3" and appends its numbers to the value; false when it is none. */
bool workload_list(struct work *w, struct kv_view v);

/* Makes the value micro-operations; `ids` of their reads may lie in the value as it is.
 * Sets w->failed without memory. */
void workload_micros(struct work *w, const struct history_micro *micros,
                     uint32_t count);

/* ---- transactions ---- */

/* A kv.txn that reads w->txn.keys, and one that changes nothing unless they all are as
 * they were then: `ops` are the caller's to fill, behind it. Both point into *w. */
struct kv_request workload_txn_read(struct work *w);
struct kv_request workload_txn_write(struct work *w, uint32_t ops_count);

/* Gives the memory of a work back. */
void workload_work_close(struct work *w);

/* ---- the workloads, one per file ---- */

extern const struct workload workload_register;
extern const struct workload workload_set;
extern const struct workload workload_counter;
extern const struct workload workload_append;
extern const struct workload workload_ids;
extern const struct workload workload_txn;
extern const struct workload workload_bank;
extern const struct workload workload_once;
extern const struct workload workload_session;
extern const struct workload workload_watch; /* Both in watch.c. */
extern const struct workload workload_watch_ring;
extern const struct workload workload_lockset; /* Both in lockset.c. */
extern const struct workload workload_lockset_unfenced;

#endif
